"""A server that counts what it is asked for: what has arrived is known apart from what `sb` says it has sent."""

import collections
import http.server
import threading


class Cloud(http.server.ThreadingHTTPServer):
    """Counts the requests by path."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.arrived, self.lock = collections.Counter(), threading.Lock()

    def handle_error(self, *_):
        """Loads are killed: their connections break."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # the name that the library wants
        with self.server.lock:
            self.server.arrived[self.path] += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass
