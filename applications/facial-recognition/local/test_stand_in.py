import http.client
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path
from urllib.parse import urlsplit

from stand_in import MOST_REQUEST
from test_picture import png

PROGRAM = Path(__file__).with_name("stand_in.py")


class Buckets(http.server.BaseHTTPRequestHandler):
    """The local target's services, as far as a stand-in asks them."""

    def do_GET(self):
        found = self.path == "/photos/a%20b.png" and "/s3/aws4_request" in self.headers["Authorization"]
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(png("shows: 2 faces") if found else b"")

    def log_message(self, *_):
        pass


class Program(unittest.TestCase):
    def setUp(self):
        self.id = f"test-{os.getpid()}-{time.monotonic_ns()}"
        self.folder = Path(f"/tmp/sb-faces-{self.id}")
        self.addCleanup(self.run_it, "stop", self.id)

    def run_it(self, *words, code=0):
        done = subprocess.run([sys.executable, "-B", PROGRAM, *words], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done)
        return done.stderr if code else done.stdout

    def start(self):
        return urlsplit(json.loads(self.run_it("start", self.id, "people"))["url"]).netloc

    def pid(self):
        return int((self.folder / "lock").read_text().split()[0])

    def ask(self, address, operation, call, **headers):
        """Status, kind of error and content of the answer; what is no call is sent as it is."""
        connection = http.client.HTTPConnection(address, timeout=20)
        body = json.dumps(call) if isinstance(call, dict) else call
        connection.request("POST", "/", body, {"X-Amz-Target": f"RekognitionService.{operation}"} | headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, answer.headers["x-amzn-errortype"], content

    def test_it_runs_once_until_it_is_stopped_and_leaves_nothing(self):
        address = self.start()
        pid = self.pid()
        self.assertEqual((self.start(), self.pid()), (address, pid), "the one that runs")
        status, kind, described = self.ask(address, "DescribeCollection", {"CollectionId": "people"})
        self.assertEqual((status, kind, described["FaceCount"]), (200, None, 0))
        self.run_it("stop", self.id)
        with self.assertRaises(ConnectionRefusedError):
            self.ask(address, "DescribeCollection", {})
        self.assertFalse(self.folder.exists())
        self.run_it("stop", self.id)

    def test_one_that_was_killed_is_started_anew_where_it_was(self):
        address = self.start()
        self.ask(address, "CreateCollection", {"CollectionId": "more"})
        os.kill(self.pid(), signal.SIGKILL)
        self.assertEqual(self.start(), address)
        self.assertEqual(self.ask(address, "DescribeCollection", {"CollectionId": "more"})[1], "ResourceNotFoundException")
        os.kill(self.pid(), signal.SIGKILL)
        self.run_it("stop", self.id)
        self.assertFalse(self.folder.exists())

    def test_one_that_does_not_listen_to_sigterm_is_killed(self):
        self.start()
        os.kill(self.pid(), signal.SIGSTOP)
        self.run_it("stop", self.id)
        self.assertFalse(self.folder.exists())

    def test_starts_at_once_are_one(self):
        words = [sys.executable, "-B", PROGRAM, "start", self.id]
        both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        said = {process.communicate(timeout=60)[0] for process in both}
        self.assertEqual((len(said), {process.returncode for process in both}), (1, {0}), said)

    def test_images_in_buckets_are_read_at_the_host_that_was_asked(self):
        address = self.start()
        services = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Buckets)
        self.addCleanup(services.server_close)
        threading.Thread(target=services.serve_forever, daemon=True).start()
        self.addCleanup(services.shutdown)
        host = f"127.0.0.1:{services.server_port}"

        def ask(name, host):
            return self.ask(address, "DetectFaces", {"Image": {"S3Object": {"Bucket": "photos", "Name": name}}}, Host=host)

        status, _, seen = ask("a b.png", host)
        self.assertEqual((status, len(seen["FaceDetails"])), (200, 2))
        status, kind, refused = ask("c.png", host)
        self.assertEqual((status, kind, refused["__type"]), (400, "InvalidS3ObjectException", "InvalidS3ObjectException"))
        self.assertIn("photos/c.png: 404", refused["Message"])
        self.assertEqual(ask("a b.png", "127.0.0.1:1")[1], "InvalidS3ObjectException")

    def test_requests_may_come_in_parts_and_may_not_be_too_large(self):
        address = self.start()
        call = json.dumps({"CollectionId": "people"}).encode()
        self.assertEqual(self.ask(address, "DescribeCollection", iter([call[:5], call[5:]]))[0], 200)
        status, kind, refused = self.ask(address, "DescribeCollection", bytes(MOST_REQUEST + 1))
        self.assertEqual((status, kind), (400, "ImageTooLargeException"), refused)
        self.assertEqual(self.ask(address, "DescribeCollection", b"{")[1], "InvalidParameterException")

    def test_what_cannot_be_is_said(self):
        self.assertIn("usage", self.run_it("begin", code=1))
        self.assertIn("no id of a deployment", self.run_it("start", "../x", code=1))
        self.folder.symlink_to("/tmp")
        self.addCleanup(self.folder.unlink)
        self.assertIn("somebody else", self.run_it("start", self.id, code=1))


if __name__ == "__main__":
    unittest.main()
