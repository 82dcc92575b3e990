import base64
import io
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

# Without Lambda there is no segment to hang subsegments on.
os.environ["AWS_XRAY_SDK_ENABLED"] = "false"
sys.path.insert(0, str(Path(__file__).parents[2] / "data"))

from botocore.exceptions import ClientError, EndpointConnectionError

import api
import make_video
from api import Api

CLIP = make_video.video([make_video.frame(number) for number in range(3)])


class MemoryS3:
    """S3 as far as the function uses it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.get_error: Exception | None = None
        self.put_error: Exception | None = None
        self.length: int | None = None

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        assert Bucket == "bucket"
        if self.get_error:
            raise self.get_error
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "GetObject")
        content = self.objects[Key]
        return {"Body": io.BytesIO(content), "ContentLength": self.length or len(content)}

    def put_object(self, Bucket: str, Key: str, Body: Any, ContentType: str) -> None:
        assert Bucket == "bucket"
        if self.put_error:
            raise self.put_error
        self.objects[Key] = Body.read()
        self.types[Key] = ContentType


class ApiTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.scratch = Path(folder.name)
        self.s3 = MemoryS3()
        self.s3.objects["input/sample.avi"] = CLIP
        self.api = Api(self.s3, "bucket", self.scratch)

    def post(self, body: Any) -> tuple[int, dict[str, Any]]:
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        answer = self.api.process({"body": text, "isBase64Encoded": False}, "r1")
        self.assertEqual(answer["headers"], {"Content-Type": "application/json"})
        self.assertEqual(list(self.scratch.iterdir()), [], "nothing stays on the disk")
        return answer["statusCode"], json.loads(answer["body"])

    def outputs(self) -> list[str]:
        return [key for key in self.s3.objects if key.startswith("output/")]

    def test_a_video_is_processed_and_kept(self):
        for form, kind in (("mp4", "video/mp4"), ("avi", "video/x-msvideo")):
            status, content = self.post({"video": "sample.avi", "format": form})
            key = f"output/r1.{form}"
            self.assertEqual(status, 201)
            self.assertEqual((content["video"], content["frames"], content["width"]), (key, 3, 480))
            self.assertEqual(content["bytes"], {"read": len(CLIP), "written": len(self.s3.objects[key])})
            self.assertEqual(self.s3.types[key], kind)

    def test_defaults(self):
        status, content = self.post({"video": "sample.avi"})
        self.assertEqual((status, content["video"], content["height"]), (201, "output/r1.mp4", 272))

    def test_bodies_in_base64(self):
        body = base64.b64encode(b'{"video": "sample.avi", "scale": 0.5}').decode()
        self.assertEqual(self.api.process({"body": body, "isBase64Encoded": True}, "r1")["statusCode"], 201)
        self.assertEqual(self.api.process({"body": "%", "isBase64Encoded": True}, "r1")["statusCode"], 400)

    def test_requests_that_make_no_sense_are_refused(self):
        for body in (
            None, "", "{", "[]", "1", {}, {"video": 1}, {"video": "../sample.avi"}, {"video": "a/b.avi"}, {"video": "a.exe"},
            {"video": "sample.avi\n"}, {"video": "sample.avi", "sale": 1}, {"video": "sample.avi", "format": "gif"},
            {"video": "sample.avi", "format": ["mp4"]}, {"video": "sample.avi", "scale": 0}, {"video": "sample.avi", "scale": 2},
            {"video": "sample.avi", "scale": True}, {"video": "sample.avi", "scale": "1"},
            '{"video": "sample.avi", "scale": NaN}', {"video": "sample.avi", "scale": None},
        ):  # fmt: skip
            with self.subTest(body=body):
                status, content = self.post(body)
                self.assertEqual((status, list(content)), (400, ["error"]))
        self.assertEqual(self.outputs(), [])

    def test_a_video_that_is_not_there(self):
        self.assertEqual(self.post({"video": "other.avi"}), (404, {"error": "there is no video other.avi"}))

    def test_a_video_that_cannot_be_processed(self):
        self.s3.objects["input/broken.avi"] = b"hello"
        status, content = self.post({"video": "broken.avi"})
        self.assertEqual(status, 422)
        self.assertIn("broken.avi", content["error"])
        self.assertEqual(self.outputs(), [])

    def test_a_video_that_is_too_large_is_not_read(self):
        self.s3.length = api.LARGEST_VIDEO + 1
        self.assertEqual(self.post({"video": "sample.avi"})[0], 413)

    def test_storage_that_fails_is_told_without_its_details(self):
        denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "secret-name"}}, "GetObject")
        unreachable = EndpointConnectionError(endpoint_url="https://secret-name")
        for error in (denied, unreachable):
            for failing in ("get_error", "put_error"):
                with self.subTest(failing=failing, error=error), self.assertLogs("api", "ERROR") as logs:
                    setattr(self.s3, failing, error)
                    status, content = self.post({"video": "sample.avi"})
                    setattr(self.s3, failing, None)
                    self.assertEqual(status, 502)
                    self.assertNotIn("secret-name", content["error"])
                    self.assertIn("secret-name", logs.output[0])
        self.assertEqual(self.outputs(), [])
