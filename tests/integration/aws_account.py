"""What of AWS a preflight asks: STS, Lambda's account settings (their signature is checked) and X-Ray's sampling rules.

Usage: aws_account.py STATE. STATE is a JSON file: {"limit": N, "rules": [...], "deny": [...], "silent": bool}; rules that are
created are written back. The port is printed.
"""

import hashlib
import hmac
import http.server
import json
import sys
import time
import urllib.parse

SECRET = "secret-of-the-test"
PATH = sys.argv[1]


def state():
    with open(PATH) as file:
        return json.load(file)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def signature_holds(request):
    """Signature version 4, as AWS documents it."""
    words = dict(part.split("=", 1) for part in request.headers["authorization"].split(" ", 1)[1].split(", "))
    _, day, region, service, last = words["Credential"].split("/")
    names = words["SignedHeaders"].split(";")
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
    path = urllib.parse.quote(urllib.parse.urlsplit(request.path).path)
    canonical = "\n".join([request.command, path, "", headers, ";".join(names), digest("")])
    scope = "/".join([day, region, service, last])
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, digest(canonical)])
    key = ("AWS4" + SECRET).encode()
    for part in [day, region, service, last]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return service == "lambda" and hmac.compare_digest(expected, words["Signature"])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, text, kind="application/json"):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        now = state()
        if now.get("silent"):
            time.sleep(60)
        if not signature_holds(self):
            self.answer(403, '{"message": "the signature does not match"}')
        elif "lambda" in now.get("deny", []):
            self.answer(403, '{"Message": "not authorized to perform lambda:GetAccountSettings"}')
        else:
            limit = {"ConcurrentExecutions": now["limit"] + 100, "UnreservedConcurrentExecutions": now["limit"]}
            self.answer(200, json.dumps({"AccountLimit": limit, "AccountUsage": {}}))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        now = state()
        if now.get("silent"):
            time.sleep(60)
        if "Action=GetCallerIdentity" in body:
            if "sts" in now.get("deny", []):
                error = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>"
                return self.answer(403, error, "text/xml")
            return self.answer(
                200,
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::210987654321:user/me</Arn>"
                "<UserId>U</UserId><Account>210987654321</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
                "text/xml",
            )
        if "xray" in now.get("deny", []):
            return self.answer(403, '{"__type": "AccessDeniedException", "message": "no"}')
        given = json.loads(body or "{}")
        if self.path == "/GetSamplingRules":
            # One to a page.
            at = int(given.get("NextToken") or 0)
            page = {"SamplingRuleRecords": [{"SamplingRule": rule} for rule in now["rules"][at : at + 1]]}
            if at + 1 < len(now["rules"]):
                page["NextToken"] = str(at + 1)
            return self.answer(200, json.dumps(page))
        if self.path == "/CreateSamplingRule":
            rule = given["SamplingRule"]
            now["rules"].append(rule)
        elif self.path == "/UpdateSamplingRule":
            update = given["SamplingRuleUpdate"]
            rule = next(rule for rule in now["rules"] if rule["RuleName"] == update["RuleName"])
            rule.update(update)
        else:
            return self.answer(404, "{}")
        with open(PATH, "w") as file:
            json.dump(now, file)
        return self.answer(200, json.dumps({"SamplingRuleRecord": {"SamplingRule": rule}}))


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
