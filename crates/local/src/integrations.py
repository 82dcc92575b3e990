"""API Gateway's integrations with Step Functions: checks of the body, mapping templates, and which answer stands for which."""

import base64
import functools
import json
import re
import sys
import urllib.parse

PATH = "/_sb/integration"
JSON = "application/json"


def escape(text):
    """As Velocity's escapeJavaScript, by which the text fits into quotation marks."""
    named = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "'": "\\'", "\\": "\\\\", "/": "\\/"}
    return "".join(named.get(c) or (c if " " <= c <= "~" else "".join(f"\\u{u:04X}" for u in units(c))) for c in str(text))


def units(character):
    code = character.encode("utf-16-be")
    return [int.from_bytes(code[at:at + 2], "big") for at in range(0, len(code), 2)]


class Util:
    """`$util` of a mapping template."""

    escapeJavaScript = staticmethod(escape)
    parseJson = staticmethod(json.loads)
    urlEncode = staticmethod(urllib.parse.quote_plus)
    urlDecode = staticmethod(urllib.parse.unquote_plus)

    @staticmethod
    def base64Encode(text):
        return base64.b64encode(str(text).encode()).decode()

    @staticmethod
    def base64Decode(text):
        return base64.b64decode(text).decode()


class Input:
    """`$input` of a mapping template."""

    def __init__(self, body, call):
        self.body, self.call = body, call

    def path(self, expression):
        return self.find(expression)

    def json(self, expression):
        return json.dumps(self.find(expression), separators=(",", ":"))

    def params(self, name=None):
        groups = {"path": self.call["path"], "querystring": self.call["query"], "header": self.call["headers"]}
        if name is None:
            return groups
        return next((group[name] for group in groups.values() if name in group), "")

    def find(self, expression):
        try:
            value = json.loads(self.body) if self.body else {}
        except ValueError:
            return self.body
        if expression == "$":
            return value
        from jsonpath_ng import parse

        found = [match.value for match in parse(expression).find(value)]
        return found[0] if len(found) == 1 else found or ""


@functools.lru_cache(maxsize=256)
def template(text):
    import airspeed

    return airspeed.Template(text)


def render(text, body, call, **context):
    names = {"requestId": call["request_id"], "httpMethod": call["method"], "resourcePath": call["resource"], **context}
    return template(text).merge({"input": Input(body, call), "util": Util, "context": names})


@functools.lru_cache(maxsize=64)
def validator(schema):
    import jsonschema

    return jsonschema.Draft4Validator(json.loads(schema))


def complaints(schema, body):
    try:
        value = json.loads(body)
    except ValueError:
        return ["the body is not JSON"]
    # As API Gateway quotes: an apostrophe would be escaped in a way that JSON does not know.
    return [error.message.replace("'", '"') for error in validator(json.dumps(schema)).iter_errors(value)]


def answer(call, ask):
    """Status and body. `ask(action, input, trace)` calls Step Functions and gives status and body."""
    integration, body = call["integration"], call["body"]
    schema = integration.get("schema")
    wrong = complaints(schema, body) if schema else []
    if wrong:
        refusal = integration["bad_request"]
        said = {"validationErrorString": f"[{', '.join(wrong)}]", "message": "Invalid request body"}
        return refusal["status"], render(refusal["template"], body, call, error=said)
    request = integration.get("template")
    if request is None:
        machine = integration.get("machine")
        input = json.dumps({"input": body or "{}", "stateMachineArn": machine}) if machine else body
    else:
        kind = next((value for name, value in call["headers"].items() if name.lower() == "content-type"), JSON)
        if kind.split(";")[0].strip().lower() != JSON and integration["passthrough"] != "when_no_match":
            return 415, json.dumps({"message": "Unsupported Media Type"})
        input = render(request, body, call)
    status, said = ask(integration["action"], input, call["trace"])
    responses = integration["responses"]
    chosen = next((what for pattern, what in responses.items() if pattern != "default" and re.fullmatch(pattern, str(status))), None)
    chosen = chosen or responses.get("default")
    if chosen is None:
        return 500, json.dumps({"message": "Internal server error"})
    given = chosen.get("template")
    if given is None:
        return chosen["status"], said
    override = {"header": {}}
    said = render(given, said, call, responseOverride=override)
    return int(override.get("status", chosen["status"])), said


def application(moto, region):
    """Before moto: calls of the runtime's gateway are answered here."""
    from werkzeug.test import Client
    from werkzeug.wrappers import Request, Response

    scope = f"AWS4-HMAC-SHA256 Credential=local/20260101/{region}/states/aws4_request, SignedHeaders=host, Signature=none"
    states = Client(moto, Response)

    def ask(action, input, trace):
        headers = {"Authorization": scope, "X-Amz-Target": f"AWSStepFunctions.{action}", "X-Amzn-Trace-Id": trace,
                   "Content-Type": "application/x-amz-json-1.0"}
        said = states.post("/", headers=headers, data=input.encode())
        return said.status_code, said.get_data(as_text=True)

    def serve(environ, start_response):
        if environ["PATH_INFO"] != PATH:
            return moto(environ, start_response)
        try:
            status, body = answer(json.loads(Request(environ).get_data()), ask)
        except Exception as error:
            print(f"an integration failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status, body = 500, json.dumps({"message": "Internal server error"})
        return Response(body, status, content_type=JSON)(environ, start_response)

    return serve
