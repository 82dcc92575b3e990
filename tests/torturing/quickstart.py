"""Kills the runner of the quickstart with -9 at random moments, resumes, and checks what is left.

Phases take turns (deploy, load, collection, analysis, cleanup), so each is hit every fifth run; within a phase the moment is random.
After the kill (or two: sometimes the resumed runner is killed as well) `sb resume` must end the run completely:

- exit code 0, every step succeeded, no cleanup owed;
- every attempt of an invocation has a folder of its own, and the last one has every planned invocation exactly once;
- no trace id occurs twice, in whatever folder;
- no process of the run is left, and its endpoints refuse connections.
"""

import csv
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

from .runner import ROOT, Check, Journal, processes_of, start

PHASES = {
    # what the ids of the phase's steps hold, and how long a random wait may last after one has begun, in seconds
    "deploy": ("/deploy/", 0.3),
    "load": ("/invoke/load", None),
    "collection": ("/get-traces", 0.06),
    "analysis": ("/analyze-traces", 0.006),
    "cleanup": ("/cleanup/", 0.03),
}
# A short phase may be over before the blow falls: then the run is done again.
TRIES = 8


def wait_for(log, marker, count, runner):
    """Until the runner has begun `count` steps whose line holds the marker."""
    while runner.poll() is None:
        lines = Path(log).read_text(errors="replace").splitlines()
        begun = [line for line in lines if line.startswith(("started", "reattached")) and marker in line]
        if len(begun) >= count:
            return True
        time.sleep(0.001)
    return False


def refuse_connections(outputs):
    for values in outputs:
        endpoint = values.get("endpoint")
        if endpoint is None:
            continue
        address = urllib.parse.urlsplit(endpoint)
        try:
            socket.create_connection((address.hostname, address.port), timeout=1).close()
        except OSError:
            continue
        raise Check(f"{endpoint} still accepts connections")


def check_run(sb, work):
    read = Journal(work)
    journal, outputs, debts = read.events, read.outputs, read.debts
    ends = {}
    folders = []
    for event in journal:
        if event["event"] == "step_ended":
            ends[event["step"]] = event
        if event["event"] == "step_started" and "/invoke/" in event["step"]:
            folders.append(event["logs"])
    for step, event in ends.items():
        if event["outcome"]["outcome"] != "succeeded" or event.get("retry") or event.get("invalid"):
            raise Check(f"{step} ended as {event}")
    if len(ends) != 13:
        raise Check(f"{len(ends)} steps ended instead of 13")
    if len(set(folders)) != len(folders):
        raise Check(f"two attempts share a folder: {folders}")
    if set(debts) != {"paid"} or len(debts) != 2:
        raise Check(f"debts: {debts}")
    on_disk = [str(folder) for folder in Path(work).glob("examples/*/logs/*")]
    unknown = [folder for folder in on_disk if folder not in folders and any(Path(folder).iterdir())]
    if unknown:
        raise Check(f"folders that the journal does not know: {unknown}")
    last = {}
    for event in journal:
        if event["event"] == "step_started" and "/invoke/" in event["step"]:
            last[event["step"]] = event["logs"]
    seen = set()
    for folder in folders:
        path = Path(folder) / "invocations.csv"
        if not path.exists():
            if folder in last.values():
                raise Check(f"{path} is missing")
            continue
        rows = list(csv.DictReader(path.read_text(errors="replace").splitlines()))
        ids = [row["trace_id"] for row in rows if row.get("outcome")]
        if len(set(ids)) != len(ids) or seen & set(ids):
            raise Check(f"{path}: a trace id occurs twice")
        seen |= set(ids)
        if folder in last.values():
            numbers = sorted(int(row["invocation"]) for row in rows)
            planned = json.loads((Path(folder) / "load_summary.json").read_text())["planned"]
            if numbers != list(range(1, planned + 1)):
                raise Check(f"{path}: {len(numbers)} rows for {planned} invocations")
            breakdown = list(csv.DictReader((Path(folder) / "trace_breakdown.csv").read_text().splitlines()))
            if len(breakdown) != planned:
                invalid = (Path(folder) / "invalid_traces.csv").read_text().splitlines()[1:4]
                raise Check(f"{folder}: {len(breakdown)} valid traces of {planned}; {invalid}")
    refuse_connections(outputs)
    left = processes_of(work)
    if left:
        raise Check(f"processes left: {left}")
    leaks = subprocess.run([sb, "leaks"], cwd=work, capture_output=True, text=True)
    if leaks.returncode != 0:
        raise Check(f"sb leaks: {leaks.stdout}{leaks.stderr}")


def one_run(sb, number, phase, random_, seconds):
    """True when all is well, False when it is not, None when the kill missed the phase."""
    work = Path(tempfile.mkdtemp(prefix=f"sb-torture-{number}-"))
    killed = []
    try:
        subprocess.run(["git", "init", "-q", str(work)], check=True)
        ignore = shutil.ignore_patterns("logs", "__pycache__")
        for name in ("examples", "plans"):
            shutil.copytree(ROOT / name, work / name, ignore=ignore)
        plan = work / "plans/quickstart.toml"
        plan.write_text(plan.read_text().replace('duration = "10s"', f'duration = "{seconds}s"'))
        log = work / "runner.log"
        runner = start(sb, work, ["run", "plans/quickstart.toml", "--executor", "host"], log)
        marker, longest = PHASES[phase]
        if wait_for(log, marker, random_.choice([1, 2]), runner):
            time.sleep(random_.uniform(0, longest if longest is not None else seconds))
        if runner.poll() is None:
            runner.send_signal(signal.SIGKILL)
        code = runner.wait()
        during = Journal(work).running()
        hit = code == -signal.SIGKILL and any(marker in step for step in during)
        if code not in (0, -signal.SIGKILL):
            raise Check(f"sb run ended with {code}:\n{log.read_text(errors='replace')[-2000:]}")
        killed.append(", ".join(during) or "between steps")
        while True:
            log = work / f"resume-{len(killed)}.log"
            runner = start(sb, work, ["resume"], log)
            if len(killed) == 1 and random_.random() < 0.3:
                try:
                    runner.wait(random_.uniform(0, 2))
                except subprocess.TimeoutExpired:
                    runner.send_signal(signal.SIGKILL)
                    runner.wait()
                    killed.append(", ".join(Journal(work).running()) or "between steps")
                    continue
            code = runner.wait(timeout=180)
            if code != 0:
                raise Check(f"sb resume ended with {code}:\n{log.read_text(errors='replace')[-2000:]}")
            break
        check_run(sb, work)
    except Check as problem:
        print(f"run {number} ({phase}): FAILED after kills during {killed}: {problem}\n  kept: {work}", flush=True)
        return False
    finally:
        for pid, _ in processes_of(work):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(work)
    if not hit:
        return None
    print(f"run {number} ({phase}): ok, killed during {' and then during '.join(killed)}", flush=True)
    return True


def torture(sb, runs, seed, seconds):
    """True when every run passed."""
    random_ = random.Random(seed)
    phases = list(PHASES)
    passed, missed = 0, 0
    for number in range(runs):
        for _ in range(TRIES):
            result = one_run(sb, number, phases[number % len(phases)], random_, seconds)
            if result is not None:
                break
            missed += 1
        else:
            print(f"run {number} ({phases[number % len(phases)]}): {TRIES} kills missed the phase; all were checked", flush=True)
            result = True
        passed += result
    print(f"torture: {passed} passed, {runs - passed} failed; {missed} more kills fell between phases (seed {seed})")
    return passed == runs
