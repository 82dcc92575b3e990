#!/usr/bin/env python3
"""How well `sb plan estimate` predicts: a plan with scaled-down times is predicted, run, and compared.

    just bench estimate [--rounds 3]

Four applications (examples/hello-http on the local target, host executor) x 2 repetitions x 3 trials, each trial 0.1 s of settling,
1 s of load and 0.7 s until its traces are fetched; loads one at a time, and nothing else while one runs. The first run is predicted by
assumptions alone; each later one also by the durations of those before it. Beside it, the same for the whole study whose times these
are scaled from (10 x 12 x 10 trials of 10 s, 180 s and 120 s), which is only predicted.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def plan(name, applications, repetitions, trials, settle, load, wait):
    text = f'[plan]\nname = "{name}"\nexecutor = "host"\n\n'
    for number in range(applications):
        text += f'[[applications]]\nname = "app{number}"\nmanifest = "../hello-http/benchmark.toml"\n\n'
    return text + (
        f'[trials]\nrepetitions = {repetitions}\nper_deployment = {trials}\norder = "interleaved"\n\n'
        f'[load]\nconstant = 10\nduration = "{load}"\n\n'
        f'[timing]\nbefore_invoke = "{settle}"\nbefore_traces = "{wait}"\n\n'
        "[concurrency]\ndeploy = 4\n"
    )


def call(sb, work, *arguments):
    ran = subprocess.run([sb, *arguments, "--format", "json"], cwd=work, capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"sb {' '.join(arguments)} ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout)


def show(what, found):
    predicted, bound = found["predicted_s"], found["lower_bound_s"]
    print(
        f"{what}: predicted {predicted:.1f} s, lower bound {bound:.1f} s ({predicted / bound:.2f}), "
        f"one after another {found['sequential_s']:.1f} s ({found['sequential_s'] / predicted:.2f})"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--verbose", action="store_true", help="durations by kind of step")
    arguments.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as folder:
        work = Path(folder)
        subprocess.run(["git", "init", "-q", folder], check=True)
        shutil.copytree(ROOT / "examples/hello-http", work / "hello-http", ignore=shutil.ignore_patterns("logs", "__pycache__"))
        (work / "plans").mkdir()
        (work / "plans/small.toml").write_text(plan("small", 4, 2, 3, "100ms", "1s", "700ms"))
        (work / "plans/study.toml").write_text(plan("study", 10, 12, 10, "10s", "180s", "120s"))
        show("the study", call(given.sb, work, "plan", "estimate", "plans/study.toml"))
        for number in range(given.rounds):
            predicted = call(given.sb, work, "plan", "estimate", "plans/small.toml")
            call(given.sb, work, "run", "plans/small.toml")
            newest = max(row["id"] for row in call(given.sb, work, "status")["runs"])
            steps = [step for step in call(given.sb, work, "status", newest)["steps"] if step["started_ms"]]
            real = (max(step["ended_ms"] for step in steps) - min(step["started_ms"] for step in steps)) / 1000
            basis = "assumptions" if number == 0 else f"{number} earlier run" + ("s" if number > 1 else "")
            show(f"run {number + 1}, by {basis}", predicted)
            print(f"    took {real:.1f} s: {real / predicted['predicted_s']:.3f} of the prediction")
            for kind in predicted["kinds"] if given.verbose else []:
                print(f"    {kind['what']:<28} {kind['count']:>5}  {kind['total_s'] / kind['count']:8.3f} s  {kind['basis']}")


if __name__ == "__main__":
    main()
