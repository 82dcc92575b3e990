"""A shop: an order is stored, queued, and packed after the answer. It exports its spans as OTLP over HTTP.

Only the standard library is used; an application would use OpenTelemetry's SDK, which sends the same.
"""

import gzip
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
spans = queue.Queue()
orders = queue.Queue()


class Span:
    def __init__(self, name, kind, trace, parent, **attributes):
        self.trace, self.id = trace, secrets.token_hex(8)
        self.fields = {"traceId": trace, "spanId": self.id, "parentSpanId": parent, "name": name, "kind": kind}
        self.fields["attributes"] = [
            {"key": key.replace("_", "."), "value": {"stringValue": value}} for key, value in attributes.items()
        ]

    def __enter__(self):
        self.fields["startTimeUnixNano"] = str(time.time_ns())
        return self

    def __exit__(self, *_):
        self.fields["endTimeUnixNano"] = str(time.time_ns())
        spans.put(self.fields)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, b"well\n")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        # 00-TRACE-PARENT-FLAGS, as the load sends it.
        parts = self.headers.get("traceparent", "").split("-")
        trace, parent = parts[1:3] if len(parts) == 4 else (secrets.token_hex(16), "")
        with Span("POST /orders", SERVER, trace, parent) as span:
            with Span("insert order", CLIENT, trace, span.id, db_system="sqlite"):
                time.sleep(0.004)
            with Span("orders publish", PRODUCER, trace, span.id, messaging_system="queue") as sent:
                orders.put((trace, sent.id))
            self.answer(202, b"accepted\n")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def pack():
    while True:
        trace, cause = orders.get()
        time.sleep(0.01)
        with Span("pack order", CONSUMER, trace, cause, messaging_operation_type="process"):
            time.sleep(0.006)


def export():
    endpoint = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"].rstrip("/") + "/v1/traces"
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    while True:
        time.sleep(0.5)
        batch = [spans.get_nowait() for _ in range(spans.qsize())]
        if not batch:
            continue
        export = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {}, "spans": batch}]}]}
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        request = urllib.request.Request(endpoint, gzip.compress(json.dumps(export).encode()), headers)
        try:
            urllib.request.urlopen(request, timeout=10).read()
        except OSError:
            for span in batch:
                spans.put(span)


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    for work in (pack, export):
        threading.Thread(target=work, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    # Whoever started it reads this line and no more.
    sys.stdout = open(os.devnull, "w")
    server.serve_forever()


def start(pid_file):
    null = subprocess.DEVNULL
    child = [sys.executable, os.path.abspath(__file__), "serve"]
    server = subprocess.Popen(child, stdin=null, stdout=subprocess.PIPE, stderr=null, start_new_session=True)
    with open(pid_file, "w") as file:
        file.write(str(server.pid))
    print(server.stdout.readline().decode().strip())


def stop(pid_file):
    try:
        with open(pid_file) as file:
            os.kill(int(file.read()), signal.SIGTERM)
        os.remove(pid_file)
    except (FileNotFoundError, ProcessLookupError):
        pass


if __name__ == "__main__":
    {"serve": serve, "start": start, "stop": stop}[sys.argv[1]](*sys.argv[2:])
