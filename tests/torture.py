#!/usr/bin/env python3
"""Does to runs what happens to them in bad weeks, and checks what is left.

    python3 tests/torture.py plan                    kill -9 at 200 moments of a plan of 60 steps, half of them in Docker
    python3 tests/torture.py plan --executor host    one half alone
    python3 tests/torture.py quickstart --count 30   the same for loads, traces and the local target
    python3 tests/torture.py damage                  one kill each, and then a damaged state: 200 times
    python3 tests/torture.py signals                 random signals to step trees, supervisors, loads and runners: 40 runs
    python3 tests/torture.py limits                  runs under few descriptors and processes: 40
    python3 tests/torture.py mutate                  20,000 changed manifests, plans and templates through `sb validate`
    python3 tests/torture.py week                    a week of a researcher in about 20 minutes

What is expected is written in tests/torturing/, in the file of that name. Only the standard library is used. Exit code 0 when all passed.
"""

import argparse
import os
import sys
from pathlib import Path

from torturing import damage, limits, mutate, plan, quickstart, signals, week
from torturing.runner import ROOT

COUNTS = {"plan": 200, "quickstart": 30, "damage": 200, "signals": 40, "limits": 40, "mutate": 20_000, "week": 7}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=COUNTS)
    arguments.add_argument("--count", type=int, help="kills, runs, damages, files or days; see above")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--executor", choices=["host", "docker"], help="of `plan`: both by default")
    arguments.add_argument("--seconds", type=int, default=10, help="length of each load of the quickstart")
    arguments.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    given = arguments.parse_args()
    sb, count, seed = str(Path(given.sb).resolve()), given.count or COUNTS[given.what], given.seed
    at_once = len(os.sched_getaffinity(0))
    if given.what == "plan":
        passed = plan.torture(sb, count, seed, [given.executor] if given.executor else ["host", "docker"])
    elif given.what == "quickstart":
        passed = quickstart.torture(sb, count, seed, given.seconds)
    elif given.what == "damage":
        passed = damage.torture(sb, count, seed, at_once)
    elif given.what == "signals":
        passed = signals.torture(sb, count, seed)
    elif given.what == "limits":
        passed = limits.torture(sb, count, seed)
    elif given.what == "mutate":
        passed = mutate.torture(sb, count, seed, at_once)
    else:
        passed = week.torture(sb, count, seed)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
