import base64
import io
import json
import os
import sys
import unittest
from pathlib import Path
from typing import Any

# Without Lambda there is no segment to hang subsegments on.
os.environ["AWS_XRAY_SDK_ENABLED"] = "false"
sys.path.insert(0, str(Path(__file__).parents[2] / "data"))

from botocore.exceptions import ClientError, EndpointConnectionError

import api
import make_reviews
from api import Api


class MemoryS3:
    """S3 as far as the function uses it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.get_error: Exception | None = None
        self.put_error: Exception | None = None

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        assert Bucket == "bucket"
        if self.get_error:
            raise self.get_error
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Key]), "ContentLength": len(self.objects[Key])}

    def put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str, ContentEncoding: str) -> None:
        assert (Bucket, ContentType, ContentEncoding) == ("bucket", "application/json", "gzip")
        if self.put_error:
            raise self.put_error
        self.objects[Key] = Body


def reviews_file() -> bytes:
    lines = [f'{label},"{text}"' for label, text in make_reviews.reviews(200, 1)]
    return ("label,text\n" + "\n".join(lines) + "\n").encode()


class ApiTest(unittest.TestCase):
    def setUp(self) -> None:
        self.s3 = MemoryS3()
        self.s3.objects["datasets/reviews.csv"] = reviews_file()
        self.api = Api(self.s3, "bucket")

    def post(self, body: Any) -> tuple[int, dict[str, Any]]:
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        answer = self.api.train({"body": text, "isBase64Encoded": False}, "r1")
        self.assertEqual(answer["headers"], {"Content-Type": "application/json"})
        return answer["statusCode"], json.loads(answer["body"])

    def models(self) -> list[str]:
        return [key for key in self.s3.objects if key.startswith("models/")]

    def test_a_model_is_kept_and_measured(self):
        status, content = self.post({"dataset": "reviews.csv", "max_features": 500})
        self.assertEqual(status, 201)
        self.assertEqual(self.models(), ["models/r1.json.gz"])
        self.assertEqual(content["model"], "models/r1.json.gz")
        self.assertEqual(content["bytes"], len(self.s3.objects["models/r1.json.gz"]))
        self.assertEqual(content["features"], 500)
        self.assertEqual(content["rows"], {"learned": 150, "tested": 50})
        self.assertEqual(list(content["metrics"]), ["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"])
        self.assertGreater(content["metrics"]["accuracy"], 0.7)

    def test_bodies_in_base64(self):
        body = base64.b64encode(b'{"dataset": "reviews.csv"}').decode()
        self.assertEqual(self.api.train({"body": body, "isBase64Encoded": True}, "r1")["statusCode"], 201)
        self.assertEqual(self.api.train({"body": "%", "isBase64Encoded": True}, "r1")["statusCode"], 400)

    def test_requests_that_make_no_sense_are_refused(self):
        for body in (
            None, "", "{", "[]", "1", {}, {"dataset": 1}, {"dataset": "../reviews.csv"}, {"dataset": "a/b.csv"},
            {"dataset": "reviews.txt"}, {"dataset": "reviews.csv", "sed": 1}, {"dataset": "reviews.csv", "max_features": 0},
            {"dataset": "reviews.csv", "max_features": 10.5}, {"dataset": "reviews.csv", "max_features": True},
            {"dataset": "reviews.csv", "regularization": 0}, {"dataset": "reviews.csv", "regularization": "1"},
            '{"dataset": "reviews.csv", "regularization": NaN}', {"dataset": "reviews.csv", "test_share": 1.0},
            {"dataset": "reviews.csv", "seed": -1}, {"dataset": "reviews.csv", "seed": None},
        ):  # fmt: skip
            with self.subTest(body=body):
                status, content = self.post(body)
                self.assertEqual((status, list(content)), (400, ["error"]))
        self.assertEqual(self.models(), [])

    def test_a_dataset_that_is_not_there(self):
        self.assertEqual(self.post({"dataset": "other.csv"}), (404, {"error": "there is no dataset other.csv"}))

    def test_a_dataset_that_cannot_be_used(self):
        self.s3.objects["datasets/broken.csv"] = b"hello"
        status, content = self.post({"dataset": "broken.csv"})
        self.assertEqual(status, 422)
        self.assertIn("columns", content["error"])
        self.assertEqual(self.models(), [])

    def test_a_dataset_that_is_too_large_is_not_read(self):
        self.s3.objects["datasets/large.csv"] = bytes(api.LARGEST_DATASET + 1)
        self.assertEqual(self.post({"dataset": "large.csv"})[0], 413)

    def test_storage_that_fails_is_told_without_its_details(self):
        denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "secret-name"}}, "GetObject")
        unreachable = EndpointConnectionError(endpoint_url="https://secret-name")
        for error in (denied, unreachable):
            for failing in ("get_error", "put_error"):
                with self.subTest(failing=failing, error=error), self.assertLogs("api", "ERROR") as logs:
                    setattr(self.s3, failing, error)
                    status, content = self.post({"dataset": "reviews.csv"})
                    setattr(self.s3, failing, None)
                    self.assertEqual(status, 502)
                    self.assertNotIn("secret-name", content["error"])
                    self.assertIn("secret-name", logs.output[0])
        self.assertEqual(self.models(), [])
