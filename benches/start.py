#!/usr/bin/env python3
"""How long `sb` takes to start and to check manifests: whole processes, in milliseconds.

    just bench start
"""

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
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        subprocess.run([SB, *arguments], cwd=folder, capture_output=True, check=True)
        times.append((time.perf_counter() - begun) * 1000)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.95)]


def show(name, middle, high, limit=None):
    judged = "" if limit is None else f"   limit {limit} ms: {'kept' if middle <= limit else 'MISSED'}"
    print(f"{name:<39} median {middle:6.1f} ms   p95 {high:6.1f} ms{judged}")


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
    show(f"sb {' '.join(arguments)}", *measure(arguments), LIMITS["here"] if arguments == ["validate"] else None)
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    (folder / ".git").mkdir()
    generate(folder, 1000)
    show("sb validate (1,000 manifests)", *measure(["validate"], 5, folder), LIMITS["generated"])
