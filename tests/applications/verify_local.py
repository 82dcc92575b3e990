"""Takes the target `local` of applications once through everything, and looks at what came of it.

    python3 tests/applications/verify_local.py [NAME…]

`sb test` deploys the application on this machine, loads it, fetches and analyses its traces, and cleans it up. Every request type must have been sent and
answered as expected, every trace be valid, every service of the template have its place in the traces, and every function that the workload reaches be on
the critical path of some trace; nothing that the application started may be left. Where k6 is, the application's script then sends its requests to
a second deployment: every request type of the manifest, and no other, answered as the script expects.
"""

import argparse
import ast
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

import environment

environment.enter()

from stand_in import read_template  # noqa: E402

APPLICATIONS = environment.ROOT / "applications"
# Invocations per second, and for how long: enough for every request type, and few enough for two processors.
LOADS = {
    "event-processing": (6, 5),
    "facial-recognition": (3, 15),
    "hello-retail": (6, 8),
    "matrix-multiplication": (0.5, 8),
    "model-training": (1, 3),
    # Its twenty functions start at once: at 10/s a slow machine reaches the limit of executions.
    "realworld-backend": (4, 62),
    "thumbnail-generator": (0.4, 8),
    "video-processing": (1, 6),
}
OTHERS = (10, 5)
# How X-Ray calls a service, by the start of its resources' type.
ORIGINS = {
    "AWS::DynamoDB": "AWS::DynamoDB",
    "AWS::RDS": "Database::SQL",
    "AWS::Rekognition": "AWS::Rekognition",
    "AWS::S3::Bucket": "AWS::S3",
    "AWS::SNS::Topic": "AWS::SNS",
    "AWS::SQS::Queue": "AWS::SQS::Queue",
    "AWS::Serverless::Api": "AWS::ApiGateway::Stage",
    "AWS::Serverless::Function": "AWS::Lambda::Function",
    "AWS::Serverless::StateMachine": "AWS::StepFunctions::StateMachine",
}
# Iterations of the k6 script.
ITERATIONS = {"realworld-backend": 300, "matrix-multiplication": 6, "model-training": 2, "thumbnail-generator": 2, "video-processing": 6}
OTHER_ITERATIONS = 50
# Only failed events come to its queue.
ELSEWHERE = {"thumbnail-generator": {"AWS::SQS::Queue"}}
# Functions that no critical path crosses: index-face runs beside make-thumbnail, which takes longer; release is for photos that come too late; the others
# are called before the load, or by no request of the workload.
OFF_PATH = {
    "facial-recognition": {"-index-face", "-users"},
    "hello-retail": {"-photographer", "-process-photographers", "-release"},
    "realworld-backend": {"-delete-article", "-delete-comment", "-unfavorite", "-unfollow", "-update-article"},
}


FUNCTION = "AWS::Serverless::Function"


class Failed(Exception):
    """An application does not do what it must."""


def verify(name, sb):
    folder = APPLICATIONS / name
    logs = folder / "logs"
    before = set(logs.glob("*")) if logs.exists() else set()
    rate, seconds = LOADS.get(name, OTHERS)
    words = ["test", "--target", "local", "--executor", "host", "constant", "--rate", str(rate), "--duration", f"{seconds}s"]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sb-local-") as state:
        done = subprocess.run(
            [sb, *words], cwd=folder, env=os.environ | {"SB_STATE_DIR": state}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        left = processes_of(state) + processes_of(str(folder))
    if done.returncode != 0:
        raise Failed(f"`sb {' '.join(words)}` ended with {done.returncode}:\n{done.stdout}")
    if left:
        raise Failed(f"still running: {left}")
    [written] = set(logs.glob("*")) - before
    answered, traces = judge(folder, written)
    scripted = k6(folder, sb) if shutil.which("k6") else 0
    for file in written.iterdir():
        file.unlink()
    written.rmdir()
    print(
        f"{name}: {answered} requests answered, {traces} traces valid, {scripted} requests of k6 answered, {time.monotonic() - begun:.0f} s",
        flush=True,
    )


def k6(folder, sb):
    """Runs the k6 script against a deployment of its own; gives how many requests it sent."""
    with tempfile.TemporaryDirectory(prefix="sb-k6-") as state:
        variables = os.environ | {"SB_STATE_DIR": state}

        def run(*words):
            done = subprocess.run(words, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                raise Failed(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
            return done.stdout

        target = ["--target", "local", "--executor", "host"]
        try:
            run(sb, "prepare", *target)
            endpoint = json.loads(run(sb, "local", "status", "--format", "json"))["runtimes"][0]["endpoint"]
            iterations = str(ITERATIONS.get(folder.name, OTHER_ITERATIONS))
            out = f"{state}/k6.csv"
            run("k6", "run", "--quiet", "--no-usage-report", "--no-color", "-e", f"BASE_URL={endpoint}", "--iterations", iterations, "--out", f"csv={out}", "workload.js")
        finally:
            run(sb, "cleanup", *target)
        with open(out, newline="") as rows:
            metrics = list(csv.DictReader(rows))
    failed = {one["check"] for one in metrics if one["metric_name"] == "checks" and float(one["metric_value"]) == 0}
    if failed:
        raise Failed(f"checks of the k6 script failed: {', '.join(sorted(failed))}")
    sent = [one["name"] for one in metrics if one["metric_name"] == "http_reqs" and one["name"] != "setup"]
    # The script draws, so that a rare one may not have come: it must be there at least.
    script = (folder / "workload.js").read_text()
    types = request_types(folder)
    if not set(sent) <= types or any(not says(script, name) for name in types - set(sent)):
        raise Failed(f"the k6 script sends {', '.join(sorted(set(sent)))}, the manifest {', '.join(sorted(types))}")
    return len(sent)


def says(script, name):
    """Whether a script has requests of this name, which may be made of a number that is drawn."""
    return f'"{name}"' in script or re.sub(r"\d+$", "${", name) in script


def request_types(folder):
    workload = tomllib.loads((folder / "benchmark.toml").read_text())["workload"]
    parts = [workload, *workload.get("sequences", [])]
    return {request["name"] for part in parts for request in part.get("requests", [])}


def judge(folder, written):
    with open(written / "invocations.csv", newline="") as rows:
        requests = list(csv.DictReader(rows))
    if wrong := [f"{one['request']}: {one['outcome']} {one['status']}" for one in requests if one["outcome"] != "ok"]:
        raise Failed(f"{len(wrong)} of {len(requests)} requests failed: {', '.join(sorted(set(wrong)))}")
    if missing := request_types(folder) - {one["request"] for one in requests}:
        raise Failed(f"never sent: {', '.join(sorted(missing))}")
    with open(written / "invalid_traces.csv", newline="") as rows:
        if invalid := list(csv.DictReader(rows)):
            raise Failed(f"{len(invalid)} traces are invalid, such as {invalid[0]}")
    with open(written / "trace_breakdown.csv", newline="") as rows:
        traces = list(csv.DictReader(rows))
    if len(traces) != len(requests):
        raise Failed(f"{len(requests)} requests have {len(traces)} traces")
    seen = " ".join(one["services"] for one in traces)
    template = read_template((folder / "template.yaml").read_text())
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    expected = {origin for start, origin in ORIGINS.items() if any(kind.startswith(start) for kind in kinds)}
    if missing := {origin for origin in expected - ELSEWHERE.get(folder.name, set()) if origin.lower() not in seen.lower()}:
        raise Failed(f"not in any trace: {', '.join(sorted(missing))}")
    crossed = {name for one in traces for name in ast.literal_eval(one["longest_path_names"])}
    names = {resource["Properties"]["FunctionName"]["Fn::Sub"].rsplit("}", 1)[1] for resource in template["Resources"].values() if resource["Type"] == FUNCTION}
    if missing := {name for name in names - OFF_PATH.get(folder.name, set()) if not any(one.endswith(name) for one in crossed)}:
        raise Failed(f"on no critical path: {', '.join(sorted(missing))}; on some are {', '.join(sorted(crossed))}")
    return len(requests), len(traces)


def processes_of(state):
    """Command lines of processes that have the folder among their arguments."""
    found = []
    for process in os.listdir("/proc"):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as line:
                words = line.read().decode(errors="replace").split("\0")
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            continue
        if process.isdigit() and any(word.startswith(state) for word in words):
            found.append(" ".join(words))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="applications; default: all that have the target")
    parser.add_argument("--sb", default=str(environment.ROOT / "target" / "debug" / "sb"), help="the program")
    arguments = parser.parse_args()
    every = sorted(path.parent.name for path in APPLICATIONS.glob("*/benchmark.toml") if "[targets.local]" in path.read_text())
    if unknown := set(arguments.names) - set(every):
        parser.error(f"no such application with a target local: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    failed = []
    for name in arguments.names or every:
        try:
            verify(name, arguments.sb)
        except Failed as error:
            failed.append(name)
            print(f"{name}: FAILED\n{error}", file=sys.stderr, flush=True)
    names = arguments.names or every
    print(f"verified: {len(names) - len(failed)} of {len(names)} applications")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
