#!/usr/bin/env python3
"""What planning costs: whole processes that read, check, expand and order a generated plan, with their highest memory.

    just bench plan [--rounds 5]

Ten applications with a matrix of three factors, two parameters and a label from them, one trial per deployment; a trial has seven
steps (deploy, settle, load, wait for traces, get traces, analyse, cleanup). `sb plan show --summary` does all of the planning and prints
one line; `sb plan estimate` also runs the plan on a simulated clock.
"""

import argparse
import os
import statistics
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
run = "true {{params.size}}"

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
    """Seconds, seconds of processor time, and MiB at most."""
    out = os.open(folder / "out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    begun = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, out, 1)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status, used = os.wait4(child, 0)
    took = time.perf_counter() - begun
    os.close(out)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


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
                times, busy, memory = ([one[place] for one in found] for place in range(3))
                print(
                    f"  sb plan {' '.join(what):<16} {statistics.median(times):6.2f} s "
                    f"({min(times):.2f} to {max(times):.2f})   processor {statistics.median(busy):5.2f} s   {max(memory):5.0f} MiB"
                )


if __name__ == "__main__":
    main()
