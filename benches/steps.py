#!/usr/bin/env python3
"""What a no-op step costs, the durable journal included.

    just bench steps [--steps 200]

One plan with a chain of steps that run `true` (argv form, no shell), on the host executor: every step waits for the one before, so the
time from step to step is the whole price of one: two durable journal transactions, a supervisor process, its durable claim and exit, and
the program itself. In the same run: the same chain for GNU make where it is installed, `true` started from Python, and one durable
write (fsync), which is what the machine's disk asks for. All figures are medians in milliseconds.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def manifest(steps):
    text = '[benchmark]\nname = "noop"\n\n[targets.local]\ntraces = "none"\n'
    for number in range(steps):
        text += f'\n[[deploy]]\nname = "s{number:05}"\nrun = ["true"]\n'
    return text


def plan(name):
    return f'[plan]\nname = "{name}"\nexecutor = "host"\n\n[[applications]]\nmanifest = "../benchmark.toml"\n'


def measure_sb(sb, steps):
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as folder:
        work = Path(folder)
        subprocess.run(["git", "init", "-q", folder], check=True)
        (work / "benchmark.toml").write_text(manifest(steps))
        (work / "plans").mkdir()
        (work / "plans/noop.toml").write_text(plan("noop"))
        begun = time.perf_counter()
        ran = subprocess.run([sb, "run", "plans/noop.toml"], cwd=work, capture_output=True, text=True)
        total = time.perf_counter() - begun
        if ran.returncode != 0:
            sys.exit(f"sb run ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
        status = subprocess.run(
            [sb, "status", "noop", "--format", "json"], cwd=work, capture_output=True, text=True, check=True
        )
        rows = [row for row in json.loads(status.stdout)["steps"] if row["started_ms"]]
        starts = sorted(row["started_ms"] for row in rows)
        if len(starts) != steps:
            sys.exit(f"{len(starts)} of {steps} steps ran")
        span = (starts[-1] - starts[0]) / (len(starts) - 1)
        return span, total


def measure_make(steps):
    if shutil.which("make") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as folder:
        rules = "".join(
            f"s{number}: {'s' + str(number - 1) if number else ''}\n\t@true\n" for number in range(steps)
        )
        (Path(folder) / "Makefile").write_text(f"all: s{steps - 1}\n{rules}")
        begun = time.perf_counter()
        subprocess.run(["make", "-s"], cwd=folder, check=True)
        return (time.perf_counter() - begun) * 1000 / steps


def measure_spawn(count=200):
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        subprocess.run(["true"], check=True)
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def measure_fsync(count=200):
    with tempfile.TemporaryDirectory(prefix="sb-bench-", dir=ROOT / "target") as folder:
        times = []
        with open(Path(folder) / "file", "wb") as file:
            for _ in range(count):
                begun = time.perf_counter()
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
                times.append((time.perf_counter() - begun) * 1000)
        return statistics.median(times)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    given = arguments.parse_args()
    sb_times, make_times = [], []
    for _ in range(given.rounds):
        sb_times.append(measure_sb(given.sb, given.steps)[0])
        make_times.append(measure_make(given.steps))
    spawn, fsync = measure_spawn(), measure_fsync()
    sb = statistics.median(sb_times)
    print(f"a chain of {given.steps} no-op steps, median of {given.rounds} rounds (lowest to highest), ms per step")
    print(f"  sb, host executor     {sb:6.2f}  ({min(sb_times):.2f} to {max(sb_times):.2f})")
    if None not in make_times:
        make = statistics.median(make_times)
        print(f"  make                  {make:6.2f}  ({min(make_times):.2f} to {max(make_times):.2f})  sb/make {sb / make:.1f}")
    print(f"  `true` from Python    {spawn:6.2f}")
    print(f"  one fsync of 4 KiB    {fsync:6.2f}")
    print(f"  overhead of sb over starting the program: {sb - spawn:.2f} ms")


if __name__ == "__main__":
    main()
