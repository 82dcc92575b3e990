#!/usr/bin/env python3
"""Chooses functions of a dataset with `sb dataset mix`, and as the sampler of InVitro does, and compares both with all functions.

    just bench mix [--functions 20000] [--sizes 10,50,200] [--seeds 5] [--draws 30]

Makes a day in the form of Azure Functions 2019, with durations and memory. Rates span six powers of ten, as production's do.
InVitro (vhive-serverless/invitro, docs/sampler.md) keeps the best of many random draws. Its measure is the mean of two
Wasserstein distances, each the mean over the minutes: of the functions' counts, and of count x duration x memory. Both
choices are judged by this measure. Needs numpy and scipy (PyPI).
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
from scipy.stats import wasserstein_distance

ROOT = Path(__file__).resolve().parent.parent
FIRST, MINUTES, DAY = 600, 20, 1440
APPLICATION = """[benchmark]
name = "any"
[targets.local]
[[deploy]]
name = "up"
run = "true"
[[workload.requests]]
name = "get"
url = "http://127.0.0.1:1/"
[[cleanup]]
name = "up"
run = "true"
"""


def generate(folder, count, seed):
    """Writes a day; gives names, the window's counts, mean durations [ms] and memory [MB] of the functions."""
    draw = numpy.random.default_rng(seed)
    rates = draw.lognormal(-3, 3, count)  # a minute
    names = [f"{number:064x}" for number in range(count)]
    durations = numpy.maximum(draw.lognormal(6, 1.8, count).round(), 1)
    memory = draw.choice([64, 128, 170, 256, 512], count)
    counts = numpy.empty((count, DAY), dtype=numpy.int64)
    busy = draw.random((count, 1)) < 0.3
    for first in range(0, count, 1000):
        part = slice(first, first + 1000)
        shape = draw.gamma(1.5, 1 / 1.5, (len(rates[part]), DAY))
        counts[part] = draw.poisson(numpy.minimum(rates[part, None] * numpy.where(busy[part], shape, 1.0), 1e6))
    header = "HashOwner,HashApp,HashFunction,Trigger,"
    with open(folder / "invocations_per_function_md.anon.d01.csv", "w") as out:
        out.write(header + ",".join(str(minute) for minute in range(1, DAY + 1)) + "\n")
        for name, row in zip(names, counts):
            out.write(f"o,{name},{name},http,{','.join(map(str, row))}\n")
    with open(folder / "function_durations_percentiles.anon.d01.csv", "w") as out:
        out.write("HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum\n")
        for name, duration, row in zip(names, durations, counts):
            out.write(f"o,{name},{name},{duration:.0f},{max(row.sum(), 1)},{duration:.1f},{duration:.1f}\n")
    with open(folder / "app_memory_percentiles.anon.d01.csv", "w") as out:
        out.write("HashOwner,HashApp,SampleCount,AverageAllocatedMb\n")
        for name, megabytes in zip(names, memory):
            out.write(f"o,{name},100,{megabytes}\n")
    window = counts[:, FIRST - 1:FIRST - 1 + MINUTES]
    invoked = window.sum(axis=1) > 0
    return numpy.array(names)[invoked], window[invoked], durations[invoked], memory[invoked]


def invitro(window, usage, chosen):
    """The measure of InVitro's sampler."""
    minutes = range(window.shape[1])
    counts = [wasserstein_distance(window[:, minute], window[chosen, minute]) for minute in minutes]
    used = [wasserstein_distance(usage[:, minute], usage[chosen, minute]) for minute in minutes]
    return numpy.mean(counts) / window.mean(), numpy.mean(used) / usage.mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, default=20_000)
    parser.add_argument("--sizes", default="10,50,200")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=30, help="random draws of which InVitro's way keeps the best")
    parser.add_argument("--sb", type=Path, default=ROOT / "target" / "release" / "sb")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for folder in ("trace", "app", "plans"):
            (work / folder).mkdir()
        (work / "app/benchmark.toml").write_text(APPLICATION)
        names, window, durations, memory = generate(work / "trace", given.functions, 1)
        usage = window * durations[:, None] * memory[:, None]
        places = {name: place for place, name in enumerate(names)}
        print(f"{len(names)} of {given.functions} functions are invoked in {MINUTES} minutes, {window.sum()} times\n")
        print("| functions | chosen by | counts | count x duration x memory | both | time |\n|---|---|---|---|---|---|")
        worse = 0
        for size in map(int, given.sizes.split(",")):
            found = {"sb dataset mix": [], "best of random draws": []}
            for seed in range(given.seeds):
                begun = time.perf_counter()
                command = [given.sb.resolve(), "dataset", "mix", "trace", "--days", "1", "--functions", str(size), "--at", str(FIRST),
                           "--for", f"{MINUTES}m", "--seed", str(seed), "--applications", "app", "--output",
                           "plans/mix.toml", "--format", "json"]
                answer = json.loads(subprocess.run(command, cwd=work, check=True, capture_output=True).stdout)
                took = time.perf_counter() - begun
                with open(work / "plans/mix/mix.csv") as file:
                    chosen = [places[row["HashFunction"]] for row in csv.DictReader(file)]
                assert len(chosen) == size and answer["candidates"] == len(names)
                found["sb dataset mix"].append((*invitro(window, usage, chosen), took))
                draw = numpy.random.default_rng(seed)
                begun = time.perf_counter()
                draws = [draw.choice(len(names), size, replace=False) for _ in range(given.draws)]
                best = min((invitro(window, usage, one) for one in draws), key=sum)
                found["best of random draws"].append((*best, time.perf_counter() - begun))
            means = {name: numpy.mean(rows, axis=0) for name, rows in found.items()}
            for name, (counts, used, took) in means.items():
                both = (counts + used) / 2
                print(f"| {size} | {name} | {counts:.3f} | {used:.3f} | {both:.3f} | {took:.2f} s |")
            ours, theirs = (sum(means[name][:2]) for name in found)
            worse += ours > theirs
        print("\nDistances are in units of the mean of all functions.")
        if worse:
            sys.exit(f"sb's choice is further away at {worse} sizes")


if __name__ == "__main__":
    main()
