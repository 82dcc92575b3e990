import http.client
import http.server
import json
import subprocess
import sys
import threading
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
    def start(self):
        """The address of one with a collection."""
        self.program = subprocess.Popen([sys.executable, "-B", PROGRAM, "people"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.program.stdout.close)
        self.addCleanup(self.program.wait)
        self.addCleanup(self.program.kill)
        return urlsplit(self.program.stdout.readline().strip()).netloc

    def ask(self, address, operation, call, **headers):
        """Status, kind of error and content of the answer; what is no call is sent as it is."""
        connection = http.client.HTTPConnection(address, timeout=20)
        body = json.dumps(call) if isinstance(call, dict) else call
        connection.request("POST", "/", body, {"X-Amz-Target": f"RekognitionService.{operation}"} | headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, answer.headers["x-amzn-errortype"], content

    def test_it_serves_until_it_is_told_to_stop(self):
        address = self.start()
        status, kind, described = self.ask(address, "DescribeCollection", {"CollectionId": "people"})
        self.assertEqual((status, kind, described["FaceCount"]), (200, None, 0))
        self.program.terminate()
        self.assertEqual(self.program.wait(timeout=60), 0)
        with self.assertRaises(ConnectionRefusedError):
            self.ask(address, "DescribeCollection", {})

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


if __name__ == "__main__":
    unittest.main()
