#!/usr/bin/env python3
"""Kills runners with -9 at random moments, resumes, and checks what is left.

    python3 tests/torture.py --kills 200 --seed 1               a plan of 60 steps, half of the kills on this machine, half in Docker
    python3 tests/torture.py --kills 60 --executor host         one half alone
    python3 tests/torture.py --quickstart --kills 30            the quickstart: loads, traces, the local target
    python3 tests/torture.py --damage --kills 200               one kill each, and then a damaged state
    python3 tests/torture.py --mutate 20000                     changed manifests, plans and templates through `sb validate`

What is expected is written in tests/torturing/: plan.py, quickstart.py, damage.py and mutate.py. Only the standard library is used. Exit code 0 when every
run passed.
"""

import argparse
import os
import sys
from pathlib import Path

from torturing import damage, mutate, plan, quickstart
from torturing.runner import ROOT


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", "--runs", type=int, default=200, help="kills; with --quickstart: runs")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--executor", choices=["host", "docker"], help="both by default")
    arguments.add_argument("--quickstart", action="store_true")
    arguments.add_argument("--damage", action="store_true", help="damage the state of killed runs")
    arguments.add_argument("--mutate", type=int, metavar="FILES", help="validate files that were changed at random")
    arguments.add_argument("--seconds", type=int, default=10, help="length of each load of the quickstart")
    arguments.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    given = arguments.parse_args()
    sb = str(Path(given.sb).resolve())
    at_once = len(os.sched_getaffinity(0))
    if given.quickstart:
        passed = quickstart.torture(sb, given.kills, given.seed, given.seconds)
    elif given.damage:
        passed = damage.torture(sb, given.kills, given.seed, at_once)
    elif given.mutate:
        passed = mutate.torture(sb, given.mutate, given.seed, at_once)
    else:
        executors = [given.executor] if given.executor else ["host", "docker"]
        passed = plan.torture(sb, given.kills, given.seed, executors)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
