#!/usr/bin/env python3
"""How well `sb trace what-if` predicts: three applications on the local target, whose functions sleep for a time that each request says.

    just bench what_if [--seeds 10] [--requests 60] [--delay 1] [--only chain,parallel,handover] [--json]

- `chain`: three steps one after another; the second one sleeps.
- `parallel`: a step that sleeps beside one that always takes the same time, and a step after both.
- `handover`: a function hands over to a second one, which sleeps, and does not wait for it.

For each application and seed, requests are sent with the delay D, with D/2 and with 2D. Each request has its own delay: from 1 to 1.5 times the one
that was declared, drawn with the seed, and the same draw for all three. From the traces with D, `--operation work=0.5` and `work=2` predict p50
and p99. They are compared with those of the traces that were measured with D/2 and 2D. Functions are warm before.

It fails if the error of a median is above 5 %, or that of a p99 above 8 %, for the median of the seeds' errors or for more than one seed
in twenty. With `--json` it prints what it found, and no limit is checked.
"""

import argparse
import concurrent.futures
import json
import os
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from load import ROOT, temporary  # noqa: E402

# Requests at once; the local target runs at most 20 functions at once, and a handover needs two.
AT_ONCE = 8
LIMITS = {"p50": 0.05, "p99": 0.08}
FACTORS = {"D/2": 0.5, "2D": 2.0}

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 60, MemorySize: 128, Tracing: Active, CodeUri: src/}
Resources:
  Chain:
    Type: AWS::Serverless::Function
    Properties: {Handler: steps.chain, Events: {Get: {Type: Api, Properties: {Path: /chain, Method: get}}}}
  Parallel:
    Type: AWS::Serverless::Function
    Properties: {Handler: steps.parallel, Events: {Get: {Type: Api, Properties: {Path: /parallel, Method: get}}}}
  Handover:
    Type: AWS::Serverless::Function
    Properties:
      Handler: steps.handover
      Environment: {Variables: {WORKER: !Ref Worker}}
      Policies: [{LambdaInvokePolicy: {FunctionName: !Ref Worker}}]
      Events: {Get: {Type: Api, Properties: {Path: /handover, Method: get}}}
  Worker:
    Type: AWS::Serverless::Function
    Properties: {Handler: steps.worker}
"""

HANDLERS = '''
import os
import threading
import time

import receive
import tracing


def step(name, seconds):
    with tracing.subsegment(name):
        time.sleep(seconds)


def of(event, name):
    return float(event["queryStringParameters"][name])


def chain(event, context):
    fixed = of(event, "fixed")
    step("read", fixed / 4)
    step("work", of(event, "delay"))
    step("write", fixed / 2)
    return {"statusCode": 200, "body": "done"}


def parallel(event, context):
    steps = [threading.Thread(target=step, args=arguments)
             for arguments in [("work", of(event, "delay")), ("beside", of(event, "fixed"))]]
    for thread in steps:
        thread.start()
    for thread in steps:
        thread.join()
    step("write", of(event, "fixed") / 4)
    return {"statusCode": 200, "body": "done"}


def handover(event, context):
    step("read", of(event, "fixed") / 4)
    with tracing.subsegment("hand over") as header:
        receive.invoke(os.environ["WORKER"], {"delay": of(event, "delay"), "fixed": of(event, "fixed")}, header)
    return {"statusCode": 202, "body": "accepted"}


def worker(event, context):
    step("work", event["delay"])
    step("write", event["fixed"] / 2)
'''

# By application: the name of a span without which a trace is not complete.
APPLICATIONS = {"chain": "write", "parallel": "write", "handover": "write"}


def make(folder):
    source = folder / "src"
    source.mkdir()
    for name in ["tracing.py", "receive.py"]:
        shutil.copy(ROOT / "examples/async-pipeline/src" / name, source)
    (source / "steps.py").write_text(HANDLERS)
    (folder / "template.yaml").write_text(TEMPLATE)


def names(part):
    yield part["name"]
    for inner in part.get("subsegments", []):
        yield from names(inner)


class Target:
    def __init__(self, runtime):
        self.runtime = runtime

    def send(self, application, delays, fixed, at_once=AT_ONCE):
        """One request per delay; returns the ids of their traces, in the order of the delays."""
        def one(delay):
            trace = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
            url = f"{self.runtime['endpoint']}/{application}?delay={delay:.6f}&fixed={fixed:.6f}"
            request = urllib.request.Request(url, headers={"X-Amzn-Trace-Id": f"Root={trace};Sampled=1"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            if application == "handover":
                # It is answered at once. The next request waits for what it set off: otherwise there would be a queue.
                time.sleep(1.5 * (delay + fixed / 2))
            return trace

        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(one, delays))

    def ask(self, path, body):
        request = urllib.request.Request(
            self.runtime["xray_endpoint"] + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=60))

    def traces(self, ids, wanted):
        """The traces as one line each, when all have ended."""
        found, end = {}, time.monotonic() + 120
        while len(found) < len(ids):
            missing = [one for one in ids if one not in found]
            for at in range(0, len(missing), 5):
                for trace in self.ask("/Traces", {"TraceIds": missing[at:at + 5]})["Traces"]:
                    documents = [json.loads(segment["Document"]) for segment in trace["Segments"]]
                    seen = {name for document in documents for name in names(document)}
                    if wanted in seen and not any(document.get("in_progress") for document in documents):
                        found[trace["Id"]] = json.dumps(trace)
            if time.monotonic() > end:
                sys.exit(f"{len(missing)} of {len(ids)} traces have not ended after two minutes")
            time.sleep(0.3)
        # What is around the last part ends a little later: the traces are read again when nothing changes any more.
        time.sleep(1)
        lines = []
        for at in range(0, len(ids), 5):
            lines += [json.dumps(trace) for trace in self.ask("/Traces", {"TraceIds": ids[at:at + 5]})["Traces"]]
        return lines


def figures(arguments, file, factor):
    options = ["--operation", f"work={factor}"]
    command = [arguments.sb, "trace", "what-if", str(file), "--format", "json", *options]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    if told["invalid"]:
        sys.exit(f"{told['invalid']} traces of {file} are invalid: `sb trace list {file}` says why")
    return told["groups"][0]


def measure(arguments, target, folder, application, seed):
    """Predicted and measured milliseconds, by case and figure."""
    draw = random.Random(f"{application} {seed}")
    shares = [draw.uniform(1, 1.5) for _ in range(arguments.requests)]
    fixed = arguments.delay * 0.6
    # Instances start beforehand, and more of them than are needed: none may start cold later.
    target.send(application, [arguments.delay] * 3 * AT_ONCE, fixed, at_once=2 * AT_ONCE)
    time.sleep(2 * arguments.delay)
    files = {}
    for name, factor in {"D": 1.0, **FACTORS}.items():
        ids = target.send(application, [arguments.delay * factor * share for share in shares], fixed)
        files[name] = folder / f"{application}-{seed}-{name.replace('/', '-')}.json"
        files[name].write_text("\n".join(target.traces(ids, APPLICATIONS[application])) + "\n")
    rows = []
    for name, factor in FACTORS.items():
        told = figures(arguments, files["D"], factor)
        then = figures(arguments, files[name], 1)["recorded"]
        for figure in LIMITS:
            rows.append({
                "application": application, "seed": seed, "case": name, "figure": figure,
                "traces": told["traces"], "recorded_ms": told["recorded"][figure]["ms"],
                "predicted_ms": told["predicted"][figure]["ms"], "measured_ms": then[figure]["ms"],
            })
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--delay", type=float, default=1.0, help="D in seconds")
    parser.add_argument("--only", default=",".join(APPLICATIONS), help="applications, separated by commas")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    arguments = parser.parse_args()
    with temporary() as folder:
        folder = Path(folder)
        make(folder)
        name = ["--name", f"what-if-{os.getpid()}"]
        up = subprocess.run(
            [arguments.sb, "local", "up", *name, "--format", "json"], cwd=folder, stdout=subprocess.PIPE, check=True)
        try:
            target = Target(json.loads(up.stdout))
            rows = []
            for seed in range(arguments.seeds):
                for application in arguments.only.split(","):
                    rows += measure(arguments, target, folder, application, seed)
                    print(f"seed {seed}: {application} is done; load average {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        finally:
            subprocess.run([arguments.sb, "local", "down", *name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{arguments.seeds} seeds, {arguments.requests} requests each, D = {arguments.delay} s, {os.cpu_count()} processors")
    print("\n| application | case | figure | with D, ms | predicted, ms | measured, ms | median error | largest error | limit |\n"
          "|---|---|---|---|---|---|---|---|---|")
    failed = False
    for application in arguments.only.split(","):
        for case in FACTORS:
            for figure, limit in LIMITS.items():
                of = [row for row in rows if (row["application"], row["case"], row["figure"]) == (application, case, figure)]
                errors = [row["predicted_ms"] / row["measured_ms"] - 1 for row in of]
                middle = {key: statistics.median(row[key] for row in of) for key in ["recorded_ms", "predicted_ms", "measured_ms"]}
                size = [abs(error) for error in errors]
                failed |= statistics.median(size) > limit or sum(error > limit for error in size) > len(size) / 20
                print(f"| {application} | {case} | {figure} | {middle['recorded_ms']:.1f} | {middle['predicted_ms']:.1f} | "
                      f"{middle['measured_ms']:.1f} | {statistics.median(size):.2%} | {max(size):.2%} | {limit:.0%} |")
    if failed:
        sys.exit("a prediction is outside of its limit")


if __name__ == "__main__":
    main()
