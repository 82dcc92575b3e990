#!/usr/bin/env python3
"""How long `sb` takes to start and to check manifests: whole processes, in milliseconds.

    just bench start

The processor time tells most on a machine that has other work: it hardly depends on it.
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SB = str(ROOT / "target/release/sb")


# What `sb validate` of this repository, and of 1,000 generated manifests, must not take longer than on two processors.
LIMITS = {"here": 20, "generated": 1000}


def measure(arguments, count=50, folder=ROOT):
    """Median and 95th percentile of the durations, and the median of the processor times."""
    times, worked = [], []
    for _ in range(count):
        begun = time.perf_counter()
        process = subprocess.Popen([SB, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        times.append((time.perf_counter() - begun) * 1000)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"sb {' '.join(arguments)} ended with {process.returncode}")
        worked.append((used.ru_utime + used.ru_stime) * 1000)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.95)], statistics.median(worked)


def show(name, middle, high, worked, limit=None):
    judged = "" if limit is None else f"   limit {limit} ms: {'kept' if middle <= limit else 'MISSED'}"
    print(f"{name:<39} median {middle:6.1f} ms   p95 {high:6.1f} ms   processor {worked:6.1f} ms{judged}")


def generate(folder, count):
    """Applications like the shipped ones, each with its template, and a plan for every ten."""
    sources = sorted(path for path in (ROOT / "applications").iterdir() if (path / "template.yaml").exists())
    for index in range(count):
        source = sources[index % len(sources)]
        manifest = (source / "benchmark.toml").read_text()
        into = folder / f"app-{index}"
        into.mkdir()
        for path in source.rglob("*"):
            # What tools have fetched or built beside it may have gigabytes.
            if not {"node_modules", "target", ".aws-sam", "dist"}.isdisjoint(path.relative_to(source).parts):
                continue
            # Code is not read, but must be there.
            if path.is_dir() and path.name not in ("logs", ".sb"):
                (into / path.relative_to(source)).mkdir(parents=True, exist_ok=True)
            elif path.is_file() and path.stat().st_size < 200_000:
                (into / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                (into / path.relative_to(source)).write_bytes(path.read_bytes())
        (into / "benchmark.toml").write_text(manifest)


for arguments in (["--version"], ["validate"], ["plan", "show", "plans/quickstart.toml"]):
    show(f"sb {' '.join(arguments)}", *measure(arguments), limit=LIMITS["here"] if arguments == ["validate"] else None)
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    (folder / ".git").mkdir()
    generate(folder, 1000)
    show("sb validate (1,000 manifests)", *measure(["validate"], 5, folder), limit=LIMITS["generated"])
