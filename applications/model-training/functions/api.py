"""POST /models: learns from a dataset in the bucket and keeps the model there."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from aws_xray_sdk.core import xray_recorder
from botocore.exceptions import BotoCoreError, ClientError

import training

LARGEST_DATASET = 20_000_000
DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.csv")
KEYS = {"dataset", "max_features", "regularization", "test_share", "seed"}

log = logging.getLogger(__name__)


class Refused(Exception):
    """An answer other than success, with a reason that the caller may know."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Api:
    client: Any
    bucket: str

    def train(self, event: dict[str, Any], request_id: str) -> dict[str, Any]:
        """The answer to one request. What is not foreseen is raised, and is a fault of the function."""
        try:
            name, settings = checked_request(event)
            texts, labels = training.read_reviews(self.dataset(name))
            trained = training.train(texts, labels, settings)
            with xray_recorder.in_subsegment("serialize"):
                model = trained.to_json()
            key = f"models/{request_id}.json.gz"
            self.keep(key, model)
        except Refused as refused:
            return answer(refused.status, {"error": str(refused)})
        except training.UnusableDataset as error:
            return answer(422, {"error": f"the dataset {name} cannot be used: {error}"})
        return answer(
            201,
            {
                "model": key,
                "bytes": len(model),
                "features": len(trained.vectorizer.vocabulary_),
                "rows": trained.rows,
                "converged": trained.converged,
                "metrics": trained.metrics,
            },
        )

    def dataset(self, name: str) -> bytes:
        try:
            found = self.client.get_object(Bucket=self.bucket, Key=f"datasets/{name}")
            if found["ContentLength"] > LARGEST_DATASET:
                raise Refused(
                    413, f"the dataset {name} has {found['ContentLength']} bytes; {LARGEST_DATASET} are allowed"
                )
            return found["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise Refused(404, f"there is no dataset {name}") from error
            raise unavailable("read the dataset", error) from error
        except BotoCoreError as error:
            raise unavailable("read the dataset", error) from error

    def keep(self, key: str, model: bytes) -> None:
        try:
            self.client.put_object(
                Bucket=self.bucket, Key=key, Body=model, ContentType="application/json", ContentEncoding="gzip"
            )
        except (ClientError, BotoCoreError) as error:
            raise unavailable("keep the model", error) from error


def unavailable(what: str, error: Exception) -> Refused:
    """The caller learns that storage failed; how it failed is for the log."""
    log.error("cannot %s: %s", what, error)
    return Refused(502, f"storage failed to {what}; try again")


def checked_request(event: dict[str, Any]) -> tuple[str, training.Settings]:
    body = event.get("body") or ""
    try:
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True).decode("utf-8")
        request = json.loads(body)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, "the body must be a JSON object") from error
    if not isinstance(request, dict):
        raise Refused(400, "the body must be a JSON object")
    unknown = sorted(set(request) - KEYS)
    if unknown:
        raise Refused(400, f"unknown key {unknown[0]!r}; there are {', '.join(sorted(KEYS))}")
    name = request.get("dataset")
    if not isinstance(name, str) or not DATASET.fullmatch(name):
        raise Refused(400, "dataset must be the name of a file such as reviews.csv")
    try:
        return name, training.settings_of(request)
    except ValueError as error:
        raise Refused(400, str(error)) from error


def answer(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(content)}
