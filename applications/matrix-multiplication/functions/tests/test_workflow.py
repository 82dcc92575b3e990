"""The state machine of the template, run step by step with the functions' own code: what leads where, and with which data."""

import io
import json
import os
import unittest
from pathlib import Path
from typing import Any

# Without Lambda there is no segment to hang subsegments on.
os.environ["AWS_XRAY_SDK_ENABLED"] = "false"

try:
    import yaml
except ImportError:
    yaml = None

from steps import Steps, Storage

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
JOB = "execution-1"


class MemoryS3:
    def __init__(self, failing: str) -> None:
        self.objects: dict[str, bytes] = {}
        self.failing = failing

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        if self.failing and Key.endswith(self.failing):
            raise RuntimeError("slow down")
        self.objects[Key] = Body

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[Key])}


def resources() -> dict[str, Any]:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda _loader, name, node: {name: getattr(node, "value", None)})
    return yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader)["Resources"]


def value_at(path: str, state: Any) -> Any:
    if path.startswith("$$."):
        path, state = path[1:], {"Execution": {"Name": JOB}}
    for key in path.split(".")[1:]:
        state = state[key]
    return state


class Machine:
    """As much of the Amazon States Language as the template uses; without retries."""

    def __init__(self, steps: Steps) -> None:
        found = resources()
        self.definition = found["Multiplication"]["Properties"]["Definition"]
        self.steps = steps
        self.visited: list[str] = []
        self.functions = {
            f"{name}.Arn": getattr(steps, resource["Properties"]["Handler"].removeprefix("handlers."))
            for name, resource in found.items()
            if resource["Type"] == "AWS::Serverless::Function"
        }

    def run(self, state: Any, definition: Any = None) -> Any:
        definition = definition or self.definition
        name = definition["StartAt"]
        while True:
            self.visited.append(name)
            step = definition["States"][name]
            if step["Type"] == "Fail":
                return {"failed": value_at(step["ErrorPath"], state), "cause": value_at(step["CausePath"], state)}
            if step["Type"] == "Choice":
                chosen = [one for one in step["Choices"] if value_at(one["Variable"], state) == one["StringEquals"]]
                name = chosen[0]["Next"] if chosen else step["Default"]
                continue
            try:
                output = self.output(step, state)
            except Exception as error:
                if "Catch" not in step:
                    raise
                caught = step["Catch"][0]
                cause = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
                state = put(state, caught["ResultPath"], {"Error": type(error).__name__, "Cause": cause})
                name = caught["Next"]
                continue
            state = put(state, step.get("ResultPath", "$"), output)
            if step.get("End"):
                return state
            name = step["Next"]

    def output(self, step: dict[str, Any], state: Any) -> Any:
        given = state
        if "Parameters" in step:
            given = {key.removesuffix(".$"): value_at(path, state) for key, path in step["Parameters"].items()}
        if step["Type"] == "Pass":
            return given
        if step["Type"] == "Map":
            return [self.run(item, step["ItemProcessor"]) for item in value_at(step["ItemsPath"], given)]
        # What a function gets and gives is JSON.
        return json.loads(json.dumps(self.functions[step["Resource"]["GetAtt"]](json.loads(json.dumps(given)))))


def put(state: Any, path: str, value: Any) -> Any:
    return value if path == "$" else {**state, path.removeprefix("$."): value}


@unittest.skipUnless(yaml, "PyYAML is not installed")
class Workflow(unittest.TestCase):
    def execute(self, request: Any, failing: str = "") -> tuple[Machine, dict[str, Any], dict[str, Any]]:
        s3 = MemoryS3(failing)
        machine = Machine(Steps(Storage(s3, "bucket"), serial_limit=12))
        result = machine.run(request)
        return machine, result, json.loads(s3.objects[f"jobs/{JOB}/report.json"])

    def test_a_small_product_is_computed_at_once(self):
        machine, result, report = self.execute({"size": 12})
        self.assertEqual(machine.visited, ["NameJob", "CreateMatrices", "Choose", "Multiply", "Report"])
        self.assertEqual((result["status"], result["mode"]), ("succeeded", "serial"))
        self.assertEqual(report, result)

    def test_a_large_product_is_distributed(self):
        machine, result, report = self.execute({"size": 13, "grid": 2})
        self.assertEqual(
            machine.visited,
            ["NameJob", "CreateMatrices", "Choose", "Schedule", "Workers", *["Work"] * 4, "Build", "Report"],
        )
        self.assertEqual((result["status"], result["mode"], result["workers"]), ("succeeded", "parallel", 4))
        self.assertEqual(report, result)

    def test_failures_are_reported_and_fail_the_execution(self):
        for request, failing, state, error, cause in (
            ({"size": 0}, "", "CreateMatrices", "InvalidRequest", "size must be a whole number from 1 to 600"),
            ("no object", "", "CreateMatrices", "InvalidRequest", "the request must be a JSON object"),
            ({"size": 5}, "result", "Multiply", "RuntimeError", "slow down"),
            ({"size": 20}, "strips/b-1", "Schedule", "RuntimeError", "slow down"),
            ({"size": 20}, "blocks/0-0", "Work", "RuntimeError", "slow down"),
            ({"size": 20}, "result", "Build", "RuntimeError", "slow down"),
        ):
            with self.subTest(request=request, failing=failing):
                machine, result, report = self.execute(request, failing)
                self.assertEqual(machine.visited[-3:], [state, "ReportFailure", "Failed"])
                self.assertEqual(result, {"failed": error, "cause": cause})
                self.assertEqual(report, {"job": JOB, "status": "failed", "error": error, "cause": cause})
