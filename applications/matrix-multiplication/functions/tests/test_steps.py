import io
import json
import os
import unittest
from typing import Any

# Without Lambda there is no segment to hang subsegments on.
os.environ["AWS_XRAY_SDK_ENABLED"] = "false"

import matrices
from matrices import Matrix
from steps import InvalidRequest, Steps, Storage, WrongResult


class MemoryS3:
    """S3 as far as the steps use it."""

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.reads: list[str] = []

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        assert Bucket == "bucket"
        self.objects[Key] = Body

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        assert Bucket == "bucket"
        self.reads.append(Key)
        return {"Body": io.BytesIO(self.objects[Key])}


class StepsTest(unittest.TestCase):
    def setUp(self):
        self.s3 = MemoryS3()
        ticks = iter(range(1000))
        self.steps = Steps(Storage(self.s3, "bucket"), serial_limit=10, clock=lambda: float(next(ticks)))

    def run_job(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the state machine does, as far as data goes."""
        state = self.steps.create({"job": "j1", "request": request})
        if state["mode"] == "serial":
            state["multiplied"] = self.steps.multiply(state)
        else:
            state["scheduled"] = self.steps.schedule(state)
            state["workers"] = [self.steps.work(block) for block in state["scheduled"]["blocks"]]
            state["built"] = self.steps.build(state)
        return self.steps.report(state)

    def stored(self, key: str) -> Matrix:
        return Matrix.from_bytes(self.s3.objects[f"jobs/j1/{key}"])

    def test_both_ways_give_the_product(self):
        for size, mode, workers in ((1, "serial", 1), (10, "serial", 1), (11, "parallel", 9), (25, "parallel", 9)):
            with self.subTest(size=size):
                report = self.run_job({"size": size, "seed": 5})
                self.assertEqual((report["mode"], report["workers"]), (mode, workers))
                self.assertEqual(self.stored("result"), matrices.product(self.stored("input/a"), self.stored("input/b")))
                self.assertEqual(json.loads(self.s3.objects["jobs/j1/report.json"]), report)

    def test_the_result_does_not_depend_on_the_way(self):
        hashes = set()
        for grid in (1, 2, 5, 8):
            hashes.add(self.run_job({"size": 12, "seed": 3, "grid": grid})["result_sha256"])
        self.steps.serial_limit = 12
        hashes.add(self.run_job({"size": 12, "seed": 3})["result_sha256"])
        self.assertEqual(len(hashes), 1)

    def test_workers_read_only_their_strips(self):
        state = self.steps.create({"job": "j1", "request": {"size": 12, "grid": 2}})
        blocks = self.steps.schedule(state)["blocks"]
        self.assertEqual([(b["row"], b["column"]) for b in blocks], [(0, 0), (0, 1), (1, 0), (1, 1)])
        self.s3.reads.clear()
        self.steps.work(blocks[1])
        self.assertEqual(self.s3.reads, ["jobs/j1/strips/a-0", "jobs/j1/strips/b-1"])

    def test_a_step_that_is_repeated_changes_nothing(self):
        state = self.steps.create({"job": "j1", "request": {"size": 12, "grid": 2}})
        block = self.steps.schedule(state)["blocks"][0]
        self.steps.work(block)
        before = dict(self.s3.objects)
        self.steps.create({"job": "j1", "request": {"size": 12, "grid": 2}})
        self.steps.schedule(state)
        self.steps.work(block)
        self.assertEqual(self.s3.objects, before)

    def test_every_step_tells_how_long_it_took(self):
        parallel = self.run_job({"size": 12, "grid": 2})["seconds"]
        self.assertEqual(list(parallel), ["create", "schedule", "workers", "build", "report"])
        self.assertEqual(parallel["workers"], [1.0] * 4)
        serial = self.run_job({"size": 2})["seconds"]
        self.assertEqual(list(serial), ["create", "multiply", "report"])

    def test_defaults(self):
        for request, expected in (
            ({"size": 1}, (1, 1, 1)),
            ({"size": 2}, (2, 1, 2)),
            ({"size": 600}, (600, 1, 3)),
            ({"size": 5, "seed": 0, "grid": 5}, (5, 0, 5)),
        ):
            state = self.steps.create({"job": "j1", "request": request})
            self.assertEqual((state["size"], state["seed"], state["grid"]), expected)

    def test_requests_that_make_no_sense_are_refused(self):
        for request in (
            None, [], "10", {}, {"size": 0}, {"size": 601}, {"size": 2.5}, {"size": "10"}, {"size": True}, {"size": None},
            {"size": 10, "seed": -1}, {"size": 10, "seed": 2**32}, {"size": 10, "grid": 0}, {"size": 10, "grid": 9},
            {"size": 2, "grid": 3}, {"size": 10, "sed": 1},
        ):  # fmt: skip
            with self.subTest(request=request), self.assertRaises(InvalidRequest):
                self.steps.create({"job": "j1", "request": request})
        self.assertEqual(self.s3.objects, {})

    def test_names_of_jobs_stay_in_their_folder(self):
        for job in (None, "", "../x", "a/b", "x" * 81, 1):
            with self.subTest(job=job), self.assertRaises(InvalidRequest):
                self.steps.create({"job": job, "request": {"size": 2}})

    def test_a_wrong_result_is_not_reported_as_one(self):
        state = self.steps.create({"job": "j1", "request": {"size": 3}})
        state["multiplied"] = self.steps.multiply(state)
        rows = [list(row) for row in self.stored("result").rows]
        rows[1][2] -= 1
        self.s3.objects["jobs/j1/result"] = Matrix(tuple(map(tuple, rows))).to_bytes()
        with self.assertRaises(WrongResult):
            self.steps.report(state)
        self.assertNotIn("jobs/j1/report.json", self.s3.objects)

    def test_a_missing_block_fails_the_step(self):
        state = self.steps.create({"job": "j1", "request": {"size": 12, "grid": 2}})
        self.steps.schedule(state)
        with self.assertRaises(KeyError):
            self.steps.build(state)

    def test_failures_are_reported(self):
        raised = json.dumps({"errorMessage": "size must be a whole number", "errorType": "InvalidRequest"})
        for failure, cause in (
            ({"Error": "InvalidRequest", "Cause": raised}, "size must be a whole number"),
            ({"Error": "States.Timeout", "Cause": ""}, ""),
            ({"Error": "Lambda.Unknown", "Cause": "out of memory"}, "out of memory"),
            ({"Error": "X", "Cause": "[1]"}, "[1]"),
            ({"Error": "States.Timeout"}, ""),
        ):
            report = self.steps.report({"job": "j1", "failure": failure})
            self.assertEqual(report, {"job": "j1", "status": "failed", "error": failure["Error"], "cause": cause})
            self.assertEqual(json.loads(self.s3.objects["jobs/j1/report.json"]), report)
