"""POST /videos: makes a video of the bucket grey and keeps the result there."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

import processing

LARGEST_VIDEO = 100_000_000
VIDEO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.(avi|mp4|mkv|webm)")
KEYS = {"video", "format", "scale"}

log = logging.getLogger(__name__)


class Refused(Exception):
    """An answer other than success, with a reason that the caller may know."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Request:
    video: str
    format: str
    scale: float


@dataclass(frozen=True)
class Api:
    client: Any
    bucket: str
    scratch: Path

    def process(self, event: dict[str, Any], request_id: str) -> dict[str, Any]:
        """The answer to one request. What is not foreseen is raised, and is a fault of the function."""
        try:
            request = checked_request(event)
            # An instance serves many invocations: what one leaves on the disk would fill it for the next.
            with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
                source, target = Path(folder, request.video), Path(folder, f"grey.{request.format}")
                read_bytes = self.fetch(request.video, source)
                result = processing.greyscale(source, target, request.format, request.scale)
                key = f"output/{request_id}.{request.format}"
                written_bytes = target.stat().st_size
                self.keep(key, target, processing.FORMATS[request.format][1])
        except Refused as refused:
            return answer(refused.status, {"error": str(refused)})
        except processing.UnusableVideo as error:
            return answer(422, {"error": f"the video {request.video} cannot be processed: {error}"})
        return answer(
            201,
            {
                "video": key,
                "frames": result.frames,
                "width": result.width,
                "height": result.height,
                "frames_per_second": result.frames_per_second,
                "bytes": {"read": read_bytes, "written": written_bytes},
            },
        )

    def fetch(self, name: str, file: Path) -> int:
        """Copies a video to a file; gives its length."""
        try:
            found = self.client.get_object(Bucket=self.bucket, Key=f"input/{name}")
            length = found["ContentLength"]
            if length > LARGEST_VIDEO:
                raise Refused(413, f"the video {name} has {length} bytes; {LARGEST_VIDEO} are allowed")
            with file.open("wb") as output:
                while part := found["Body"].read(1 << 20):
                    output.write(part)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise Refused(404, f"there is no video {name}") from error
            raise unavailable("read the video", error) from error
        except BotoCoreError as error:
            raise unavailable("read the video", error) from error
        return length

    def keep(self, key: str, file: Path, content_type: str) -> None:
        try:
            with file.open("rb") as content:
                self.client.put_object(Bucket=self.bucket, Key=key, Body=content, ContentType=content_type)
        except (ClientError, BotoCoreError) as error:
            raise unavailable("keep the result", error) from error


def unavailable(what: str, error: Exception) -> Refused:
    """The caller learns that storage failed; how it failed is for the log."""
    log.error("cannot %s: %s", what, error)
    return Refused(502, f"storage failed to {what}; try again")


def checked_request(event: dict[str, Any]) -> Request:
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
    video, form, scale = request.get("video"), request.get("format", "mp4"), request.get("scale", 1.0)
    if not isinstance(video, str) or not VIDEO.fullmatch(video):
        raise Refused(400, "video must be the name of a file such as sample.avi")
    if not isinstance(form, str) or form not in processing.FORMATS:
        raise Refused(400, f"format must be one of {', '.join(processing.FORMATS)}")
    # True is a number to Python, but not to JSON; NaN compares as nothing.
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not math.isfinite(scale) or not 0.1 <= scale <= 1:
        raise Refused(400, "scale must be a number from 0.1 to 1")
    return Request(video, form, float(scale))


def answer(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(content)}
