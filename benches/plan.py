#!/usr/bin/env python3
"""What planning costs: whole processes that read, check, expand and order a generated plan, with their highest memory.

    just bench plan [--rounds 5]

Ten applications with a matrix of three factors, two parameters and a label from them, one trial per deployment; a trial has seven
steps (deploy, settle, load, wait for traces, get traces, analyse, cleanup). `sb plan show --summary` does all of the planning and prints
one line; `sb plan estimate` also runs the plan on a simulated clock.

`sb resume` then finds a run of the plan in its state: one that has ended, and one of which all but the last step has (a cleanup that
is not owed), so that it reads the whole journal, plans anew and ends. Such runs take weeks: this one is begun, killed, and the rest
of its journal is written here, two events for each step. Every round begins with the same state.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MANIFEST = """[benchmark]
name = "app"

[params]
size = 1
region = "here"

[targets.local]
traces = "local"

[[deploy]]
name = "stack"
run = "true {{params.size}} {{params.region}}"

[[workload.requests]]
name = "get"
url = "http://127.0.0.1:9/"

[[cleanup]]
name = "stack"
run = "true"
"""


def plan(trials):
    """So many trials, or as many as ten applications and three factors allow below that."""
    points = trials // 10
    first = max(1, points // 100)
    levels = lambda count: ", ".join(str(level) for level in range(count))
    applications = "".join(
        f'[[applications]]\nname = "app{number}"\nmanifest = "../benchmark.toml"\n\n' for number in range(10)
    )
    return (
        f'[plan]\nname = "large"\n\n{applications}'
        f"[matrix]\nsize = [{levels(first)}]\nrate = [{levels(11)[3:]}]\nkind = [{levels(10)}]\n\n"
        '[params]\nsize = "{{matrix.size}}"\nregion = "region-{{matrix.kind}}"\n\n'
        '[labels]\nlabel = "{{application}}_{{matrix.size}}_{{matrix.rate}}"\n\n'
        '[trials]\norder = "interleaved"\n\n'
        '[load]\nconstant = "{{matrix.rate}}"\nduration = "60s"\n\n'
        '[timing]\nbefore_invoke = "10s"\nbefore_traces = "60s"\n\n'
        "[concurrency]\ndeploy = 4\n"
    )


def measure(command, folder):
    """Seconds, seconds of processor time, and MiB at most; in that folder."""
    out = os.open(folder / "out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    begun = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
    os.chdir(folder)
    child = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status, used = os.wait4(child, 0)
    took = time.perf_counter() - begun
    os.close(out)
    if os.waitstatus_to_exitcode(status) != 0:
        told = (folder / "out").read_text()[-2000:]
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}:\n{told}")
    return took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def begin(sb, folder):
    """Begins a run of the plan and kills the runner; returns the run's id and the ids of its steps."""
    runner = subprocess.Popen(
        [sb, "run", "plans/large.toml", "--executor", "host", "--yes"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    while not list(folder.glob(".sb/runs/*/steps")):
        if runner.poll() is not None:
            sys.exit(f"sb run ended with {runner.returncode}")
        time.sleep(0.01)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    # The steps that have begun end in a moment, under their supervisors.
    time.sleep(0.5)
    run = next(folder.glob(".sb/runs/*")).name
    status = [sb, "status", run, "--all", "--format", "json"]
    told = subprocess.run(status, cwd=folder, capture_output=True, check=True).stdout
    return run, [step["id"] for step in json.loads(told)["steps"]]


def write_journal(state, run, steps, ended):
    """Of a run whose steps have all succeeded, but for the last one when it has not ended."""
    database = sqlite3.connect(state)
    database.execute("DELETE FROM deployments")
    # Nothing is owed: neither by the journal, nor by the records beside it.
    for record in (state.parent / "owed").glob("*.json"):
        record.unlink()
    database.execute("DELETE FROM events WHERE number > 1")

    def events():
        for step in steps if ended else steps[:-1]:
            begun = {"event": "step_started", "step": step, "attempt": 1}
            if "/t1/" in step:
                begun["logs"] = "/home/someone/applications/app/logs/2026-11-01_12-00-00"
            yield begun
            yield {"event": "step_ended", "step": step, "attempt": 1, "outcome": {"outcome": "succeeded"}}
        if ended:
            yield {"event": "run_ended", "measurement": "complete", "cleanup": "complete"}

    keys = dict.fromkeys(step.split("/")[0] for step in steps)
    deployments = ((f"{run}.{key}", run, "app", "local", "/home/someone/applications/app/benchmark.toml", 1700000000000,
                    "paid", json.dumps({"size": 1, "region": "here"}), "{}", "/home/someone/applications/app/logs/1")
                   for key in keys)
    database.executemany("INSERT INTO deployments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)", deployments)
    rows = ((run, number, 1700000000000 + number, json.dumps(event)) for number, event in enumerate(events(), 2))
    database.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
    end = "complete" if ended else None
    database.execute("UPDATE runs SET measurement = ?, cleanup = ?", (end, end))
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def prepare(sb, folder):
    """Leaves a state for each measurement in the folder."""
    run, steps = begin(sb, folder)
    for name, ended in [("ended", True), ("open", False)]:
        write_journal(folder / ".sb/state.db", run, steps, ended)
        shutil.copy(folder / ".sb/state.db", folder / name)


def measure_resume(sb, folder, rounds):
    # In a process of its own: what this one holds would count as memory of those that it starts.
    preparing = multiprocessing.Process(target=prepare, args=(sb, folder))
    preparing.start()
    preparing.join()
    run, state = next(folder.glob(".sb/runs/*")).name, folder / ".sb/state.db"
    for what, name in [("all ended", "ended"), ("one step left", "open")]:
        kept = folder / name
        found = []
        for _ in range(rounds):
            for file in folder.glob(".sb/state.db*"):
                file.unlink()
            shutil.copy(kept, state)
            found.append(measure([sb, "resume", run], folder))
        report(f"sb resume, {what}", found)
        print(f"    with a state of {kept.stat().st_size / 2**20:.0f} MiB")


def report(what, found):
    times, busy, memory = ([one[place] for one in found] for place in range(3))
    print(
        f"  {what:<24} {statistics.median(times):6.2f} s "
        f"({min(times):.2f} to {max(times):.2f})   processor {statistics.median(busy):5.2f} s   {max(memory):5.0f} MiB"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as name:
        folder = Path(name)
        (folder / ".git").mkdir()
        (folder / "plans").mkdir()
        (folder / "benchmark.toml").write_text(MANIFEST)
        for trials in (14_000, 100_000):
            file = folder / "plans/large.toml"
            file.write_text(plan(trials))
            measure([given.sb, "plan", "show", "--summary", str(file)], folder)
            print((folder / "out").read_text().strip())
            for what in (["show", "--summary"], ["estimate"]):
                found = [measure([given.sb, "plan", *what, str(file)], folder) for _ in range(given.rounds)]
                report(f"sb plan {' '.join(what)}", found)
        measure_resume(given.sb, folder, given.rounds)


if __name__ == "__main__":
    main()
