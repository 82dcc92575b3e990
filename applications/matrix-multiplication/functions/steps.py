"""What each state of the state machine does. Storage is handed in; steps may be repeated, for they write the same again.

A job's objects, below `jobs/JOB/`: `input/a`, `input/b`, `strips/a-I`, `strips/b-J`, `blocks/I-J`, `result`, `report.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aws_xray_sdk.core import xray_recorder

import matrices
from matrices import Matrix

MAX_SIZE = 600
MAX_GRID = 8
DEFAULT_GRID = 3
JOB = re.compile(r"[A-Za-z0-9_-]{1,80}")


class InvalidRequest(Exception):
    """The request cannot be served, now or later. The state machine knows this name and does not try again."""


class WrongResult(Exception):
    """The product does not stand the check: a defect of ours, and no reason to try again."""


class Storage:
    """Objects of one bucket."""

    def __init__(self, client: Any, bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put_matrix(self, key: str, matrix: Matrix) -> None:
        self.put(key, matrix.to_bytes())

    def get_matrix(self, key: str) -> Matrix:
        return Matrix.from_bytes(self.get(key))


@dataclass
class Steps:
    storage: Storage
    serial_limit: int
    clock: Callable[[], float] = field(default=time.perf_counter)

    def create(self, event: dict[str, Any]) -> dict[str, Any]:
        """Checks the request and makes the two matrices."""
        started = self.clock()
        job = checked_job(event.get("job"))
        request = checked_request(event.get("request"))
        size, seed = request["size"], request["seed"]
        for name in ("a", "b"):
            with xray_recorder.in_subsegment(f"make {name}"):
                matrix = matrices.random_matrix(size, f"{seed}/{name}")
            self.storage.put_matrix(f"jobs/{job}/input/{name}", matrix)
        return {
            "job": job,
            **request,
            "mode": "serial" if size <= self.serial_limit else "parallel",
            "seconds": self.since(started),
        }

    def multiply(self, event: dict[str, Any]) -> dict[str, Any]:
        """The whole product at once, where there is little to do."""
        started = self.clock()
        job = checked_job(event["job"])
        left, right = self.inputs(job)
        with xray_recorder.in_subsegment("multiply"):
            result = matrices.product(left, right)
        self.storage.put_matrix(f"jobs/{job}/result", result)
        return {"seconds": self.since(started)}

    def schedule(self, event: dict[str, Any]) -> dict[str, Any]:
        """Cuts the matrices into strips, and says which pairs of strips give which block."""
        started = self.clock()
        job, grid = checked_job(event["job"]), event["grid"]
        left, right = self.inputs(job)
        with xray_recorder.in_subsegment("cut"):
            strips = {"a": matrices.row_strips(left, grid), "b": matrices.column_strips(right, grid)}
        for name, parts in strips.items():
            for number, strip in enumerate(parts):
                self.storage.put_matrix(f"jobs/{job}/strips/{name}-{number}", strip)
        blocks = [{"job": job, "row": row, "column": column} for row in range(grid) for column in range(grid)]
        return {"blocks": blocks, "seconds": self.since(started)}

    def work(self, event: dict[str, Any]) -> dict[str, Any]:
        """One block of the product."""
        started = self.clock()
        job, row, column = checked_job(event["job"]), event["row"], event["column"]
        left = self.storage.get_matrix(f"jobs/{job}/strips/a-{row}")
        right = self.storage.get_matrix(f"jobs/{job}/strips/b-{column}")
        with xray_recorder.in_subsegment("multiply"):
            block = matrices.product(left, right)
        self.storage.put_matrix(f"jobs/{job}/blocks/{row}-{column}", block)
        return {"row": row, "column": column, "seconds": self.since(started)}

    def build(self, event: dict[str, Any]) -> dict[str, Any]:
        """Joins the blocks."""
        started = self.clock()
        job, grid = checked_job(event["job"]), event["grid"]
        blocks = [
            [self.storage.get_matrix(f"jobs/{job}/blocks/{row}-{column}") for column in range(grid)] for row in range(grid)
        ]
        with xray_recorder.in_subsegment("join"):
            result = matrices.joined(blocks)
        self.storage.put_matrix(f"jobs/{job}/result", result)
        return {"seconds": self.since(started)}

    def report(self, event: dict[str, Any]) -> dict[str, Any]:
        """Checks the result and says how it came about; or, after a failure, what failed."""
        started = self.clock()
        job = checked_job(event["job"])
        if "failure" in event:
            failure = event["failure"]
            report = {"job": job, "status": "failed", "error": failure.get("Error"), "cause": cause_of(failure)}
        else:
            left, right = self.inputs(job)
            content = self.storage.get(f"jobs/{job}/result")
            result = Matrix.from_bytes(content)
            with xray_recorder.in_subsegment("check"):
                correct = matrices.is_product(left, right, result, job)
            if not correct:
                raise WrongResult(f"the result of job {job} is not the product")
            seconds = {"create": event["seconds"]}
            if event["mode"] == "parallel":
                seconds["schedule"] = event["scheduled"]["seconds"]
                seconds["workers"] = [worker["seconds"] for worker in event["workers"]]
                seconds["build"] = event["built"]["seconds"]
            else:
                seconds["multiply"] = event["multiplied"]["seconds"]
            seconds["report"] = self.since(started)
            report = {
                "job": job,
                "status": "succeeded",
                "size": event["size"],
                "seed": event["seed"],
                "mode": event["mode"],
                "workers": len(event["workers"]) if event["mode"] == "parallel" else 1,
                "result_sha256": hashlib.sha256(content).hexdigest(),
                "seconds": seconds,
            }
        self.storage.put(f"jobs/{job}/report.json", json.dumps(report, indent=2).encode())
        return report

    def inputs(self, job: str) -> tuple[Matrix, Matrix]:
        return self.storage.get_matrix(f"jobs/{job}/input/a"), self.storage.get_matrix(f"jobs/{job}/input/b")

    def since(self, started: float) -> float:
        return round(self.clock() - started, 6)


def checked_job(job: Any) -> str:
    """The name of the execution, which becomes part of keys."""
    if not isinstance(job, str) or not JOB.fullmatch(job):
        raise InvalidRequest("a job's name is 1 to 80 letters, digits, `-` and `_`")
    return job


def checked_request(request: Any) -> dict[str, int]:
    """The request with its defaults filled in."""
    if not isinstance(request, dict):
        raise InvalidRequest("the request must be a JSON object")
    unknown = sorted(set(request) - {"size", "seed", "grid"})
    if unknown:
        raise InvalidRequest(f"unknown key {unknown[0]!r}; there are size, seed and grid")
    size = whole_number(request, "size", None, 1, MAX_SIZE)
    return {
        "size": size,
        "seed": whole_number(request, "seed", 1, 0, 2**32 - 1),
        "grid": whole_number(request, "grid", min(DEFAULT_GRID, size), 1, min(MAX_GRID, size)),
    }


def whole_number(request: dict[str, Any], key: str, default: int | None, least: int, most: int) -> int:
    value = request.get(key, default)
    # True is an int to Python, but not to JSON.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidRequest(f"{key} must be a whole number from {least} to {most}")
    return value


def cause_of(failure: dict[str, Any]) -> str:
    """The message of an error that a function raised; Step Functions gives it as JSON within a string."""
    cause = failure.get("Cause") or ""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, TypeError, KeyError):
        return cause
