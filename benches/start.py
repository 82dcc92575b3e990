#!/usr/bin/env python3
"""How long `sb` takes to start and to check manifests: whole processes, in milliseconds.

    just bench start
"""

import statistics
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SB = str(ROOT / "target/release/sb")


def measure(arguments, count=50):
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        subprocess.run([SB, *arguments], cwd=ROOT, capture_output=True, check=True)
        times.append((time.perf_counter() - begun) * 1000)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.95)]


for arguments in (["--version"], ["validate"], ["plan", "show", "plans/quickstart.toml"]):
    middle, high = measure(arguments)
    print(f"sb {' '.join(arguments):<36} median {middle:6.1f} ms   p95 {high:6.1f} ms")
