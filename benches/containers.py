#!/usr/bin/env python3
"""What a no-op step in a container costs, beside `docker run --rm` of the same command.

    just bench containers [--steps 10] [--rounds 3] [--sb PROGRAM]

A chain of steps that run `true` in an image that the engine has (alpine's part is played by busybox, in an image built FROM scratch), each
waiting for the one before, so that the time from step to step is the whole price of one: journal, creation, start, output, end. Rounds
of sb and of `docker run --rm` take turns on the same engine. All figures are medians in milliseconds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nENV PATH=/bin\n'
IMAGE = "sb-bench:busybox"


def build():
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as folder:
        (Path(folder) / "Dockerfile").write_text(DOCKERFILE)
        (Path(folder) / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
        os.chmod(Path(folder) / "busybox", 0o755)
        subprocess.run(
            ["docker", "build", "-q", "-t", IMAGE, folder],
            check=True,
            capture_output=True,
            env={**os.environ, "DOCKER_BUILDKIT": "0"},
        )


def measure_sb(sb, steps):
    """Milliseconds from one step's start to the next one's."""
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as folder:
        work = Path(folder)
        subprocess.run(["git", "init", "-q", folder], check=True)
        text = '[benchmark]\nname = "noop"\n\n[targets.local]\ntraces = "none"\n'
        for number in range(steps + 1):
            text += f'\n[[deploy]]\nname = "s{number:05}"\nimage = "{IMAGE}"\nrun = ["true"]\n'
        (work / "benchmark.toml").write_text(text)
        ran = subprocess.run([sb, "prepare", "--executor", "docker"], cwd=work, capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(f"sb prepare ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
        status = subprocess.run([sb, "status", "noop", "--format", "json"], cwd=work, capture_output=True, text=True, check=True)
        starts = sorted(row["started_ms"] for row in json.loads(status.stdout)["steps"] if row["started_ms"])
        subprocess.run([sb, "cleanup", "--executor", "docker"], cwd=work, capture_output=True)
        return [after - before for before, after in zip(starts, starts[1:])]


def measure_docker(count):
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        subprocess.run(["docker", "run", "--rm", IMAGE, "true"], check=True)
        times.append((time.perf_counter() - begun) * 1000)
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    arguments = parser.parse_args()
    build()
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        theirs += measure_docker(arguments.steps)
        ours += measure_sb(arguments.sb, arguments.steps)
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    print(f"container step {ours:7.0f} ms")
    print(f"docker run --rm {theirs:6.0f} ms")
    print(f"ratio           {ours / theirs:6.2f}")


if __name__ == "__main__":
    main()
