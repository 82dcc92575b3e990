"""Rekognition's stand-in of a deployment's own on this machine, on a free port of 127.0.0.1.

    python3 local/stand_in.py [COLLECTION…]    prints its URL, and serves until SIGTERM

It is a background step: `sb` starts it, watches it and stops it. What it keeps is in memory, and goes with it.
"""

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rekognition import Refusal, Rekognition

# Room for an image in base64.
MOST_REQUEST = 8 * 1024 * 1024


def serve(collections):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("127.0.0.1", 0), Handler) as server:
        server.service = Rekognition(collections)
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    service = None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The head and the body of an answer are written one after the other.
    disable_nagle_algorithm = True

    def do_POST(self):
        kind = None
        try:
            status, answer = 200, self.server.service.answer(self.headers["X-Amz-Target"] or "", self.given(), self.headers["Host"])
        except Refusal as refusal:
            status, kind = 400, refusal.kind
            answer = {"__type": kind, "Code": kind, "Message": refusal.message}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        if kind:
            self.send_header("x-amzn-errortype", kind)
        self.end_headers()
        self.wfile.write(body)

    def given(self):
        body = self.body()
        if len(body) > MOST_REQUEST:
            raise Refusal("ImageTooLargeException", f"the request must be whole, and at most {MOST_REQUEST} bytes")
        try:
            return json.loads(body)
        except ValueError as error:
            raise Refusal("InvalidParameterException", f"Request has invalid parameters: {error}") from None

    def body(self):
        """The body of the request, or so much of it that it is seen to be too large; the rest is read and dropped, since who sends it reads no answer before."""
        if "chunked" not in (self.headers["Transfer-Encoding"] or ""):
            return self.part(int(self.headers["Content-Length"] or 0), MOST_REQUEST + 1)
        whole = bytearray()
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            whole += self.part(size, MOST_REQUEST + 1 - len(whole))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(whole)

    def part(self, size, most):
        kept = self.rfile.read(min(size, most))
        left = size - len(kept)
        while left > 0 and (dropped := self.rfile.read(min(left, 1 << 16))):
            left -= len(dropped)
        return kept

    def log_request(self, code="-", size="-"):
        """Nothing: one line a request would be the most of what it does."""


if __name__ == "__main__":
    serve(sys.argv[1:])
