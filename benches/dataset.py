#!/usr/bin/env python3
"""Counts the functions of a dataset of full size with `sb dataset summarize`, and with polars and DuckDB beside it.

    just bench dataset [--functions 72390] [--days 14] [--rounds 3] [--data DIR]

Makes a dataset in the form of Azure Functions 2019 (by default 14 files and 2.1 GB; it stays in DIR, if one is named). What it plants
is known: how many functions there are, how many are listed every day, are not called by a timer, and have one invocation a
second on the first day. Each program must find these four numbers, or the bench fails.

Each program runs in a process of its own. Processor time, clock and peak memory are those of the process; files are in the
cache of the system. `wc -l` shows what reading alone takes. Programs that are not installed (PyPI: polars, duckdb) are left out,
and named.
"""

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SB = ROOT / "target" / "release" / "sb"
MINUTES = 1440
HOT = 60 * MINUTES
TRIGGERS = ["http", "queue", "event", "orchestration", "storage", "others"]
STEPS = ["total", "available", "no_timer", "rate"]


def template(draw, kind):
    """Cells of a day, and their sum."""
    if kind == "hot":
        mean = draw.choice([70, 120, 400, 2500])
        cells = [draw.randint(mean - mean // 8, mean + mean // 4) for _ in range(MINUTES)]
    elif kind == "busy":
        mean = draw.choice([3, 12, 40])
        cells = [draw.randint(0, 2 * mean) for _ in range(MINUTES)]
        cells = cells if sum(cells) < HOT else [cell // 2 for cell in cells]
    elif kind == "timer":
        every = draw.choice([1, 5, 10, 15, 30, 60])
        cells = [int(minute % every == 0) for minute in range(MINUTES)]
    else:
        cells = [0] * MINUTES
        for _ in range(draw.randint(0, 60)):
            cells[draw.randrange(MINUTES)] += draw.randint(1, 9)
    return cells, sum(cells)


def generate(folder, functions, days, seed):
    """Writes the files, and gives what was planted. A function has a template that is turned by some minutes each day."""
    draw = random.Random(seed)
    kinds = {kind: [template(draw, kind) for _ in range(count)]
             for kind, count in [("hot", 40), ("busy", 200), ("timer", 40), ("rare", 600)]}
    texts, places = {}, {}
    for kind, made in kinds.items():
        for number, (cells, _) in enumerate(made):
            parts = [str(cell) for cell in cells]
            at, starts = 0, []
            for part in parts:
                starts.append(at)
                at += len(part) + 1
            texts[kind, number], places[kind, number] = ",".join(parts), starts
    planted = dict.fromkeys(STEPS, 0)
    rows = []
    for _ in range(functions):
        every_day = draw.random() < 0.39
        timer = draw.random() < (0.53 if every_day else 0.13)
        hot = draw.random() < (0.04 if not timer else 0.002)
        kind = "hot" if hot else "timer" if timer else draw.choices(["rare", "busy"], [0.9, 0.1])[0]
        number = draw.randrange(len(kinds[kind]))
        listed = [every_day or draw.random() < 0.42 for _ in range(days)]
        if not any(listed):
            listed[draw.randrange(days)] = True
        names = ",".join(f"{draw.getrandbits(256):064x}" for _ in range(3))
        key = f"{names},{'timer' if timer else draw.choice(TRIGGERS)},"
        rows.append((key, (kind, number), draw.randrange(MINUTES), listed))
        planted["total"] += 1
        if all(listed):
            planted["available"] += 1
            planted["no_timer"] += not timer
            planted["rate"] += not timer and kinds[kind][number][1] >= HOT
    header = "HashOwner,HashApp,HashFunction,Trigger," + ",".join(str(minute) for minute in range(1, MINUTES + 1))
    for day in range(days):
        with open(folder / f"invocations_per_function_md.anon.d{day + 1:02}.csv", "w", buffering=1 << 20) as out:
            out.write(header + "\n")
            for key, kept, turn, listed in rows:
                if listed[day]:
                    text, at = texts[kept], places[kept][(turn + 17 * day) % MINUTES]
                    out.write(f"{key}{text[at:]},{text[:at - 1]}\n" if at else f"{key}{text}\n")
    (folder / "planted.json").write_text(json.dumps(planted))
    return planted


def with_polars(folder, days):
    """The totals of every key and day, and the funnel of them."""
    import polars

    keys = ["HashOwner", "HashApp", "HashFunction", "Trigger"]
    minutes = [str(minute) for minute in range(1, MINUTES + 1)]
    schema = {**dict.fromkeys(keys, polars.String), **dict.fromkeys(minutes, polars.Int64)}
    frames = []
    for day in range(1, days + 1):
        file = folder / f"invocations_per_function_md.anon.d{day:02}.csv"
        frame = polars.scan_csv(file, schema=schema)
        total = polars.sum_horizontal(minutes).alias("total")
        frames.append(frame.select(*keys, total, polars.lit(day).alias("day")))
    totals = polars.concat(frames).collect(engine="streaming")
    functions = totals.group_by(keys).agg(
        polars.col("day").n_unique().alias("days"),
        polars.col("total").filter(polars.col("day") == 1).sum().alias("first"))
    available = functions.filter(polars.col("days") == days)
    kept = available.filter(polars.col("Trigger") != "timer")
    return [functions.height, available.height, kept.height, kept.filter(polars.col("first") >= HOT).height]


def with_duckdb(folder, days):
    """As with polars."""
    import duckdb

    connection = duckdb.connect()
    names = {name: "VARCHAR" for name in ["HashOwner", "HashApp", "HashFunction", "Trigger"]}
    columns = {**names, **{str(minute): "BIGINT" for minute in range(1, MINUTES + 1)}}
    # An expression of 1,440 terms is too deep for it.
    parts = [" + ".join(f'"{minute}"' for minute in range(first, first + 60)) for first in range(1, MINUTES, 60)]
    total = " + ".join(f"({part})" for part in parts)
    files = str(folder / "invocations_per_function_md.anon.d*.csv")
    connection.execute(
        f"CREATE TABLE totals AS SELECT HashOwner, HashApp, HashFunction, Trigger, {total} AS total, "
        f"CAST(regexp_extract(filename, 'd([0-9][0-9]).csv', 1) AS INTEGER) AS day "
        f"FROM read_csv('{files}', header = true, auto_detect = false, delim = ',', quote = '', escape = '', filename = true, "
        f"columns = {columns})")
    return list(connection.execute(
        "WITH functions AS (SELECT Trigger, count(DISTINCT day) AS days, sum(CASE WHEN day = 1 THEN total ELSE 0 END) AS first "
        "FROM totals GROUP BY HashOwner, HashApp, HashFunction, Trigger), "
        f"available AS (SELECT * FROM functions WHERE days = {days}) "
        "SELECT (SELECT count(*) FROM functions), (SELECT count(*) FROM available), "
        "(SELECT count(*) FROM available WHERE Trigger <> 'timer'), "
        f"(SELECT count(*) FROM available WHERE Trigger <> 'timer' AND first >= {HOT})").fetchone())


def measured(command):
    """Output, processor time [s], clock [s] and peak memory [MiB] of a command."""
    with tempfile.TemporaryFile() as out:
        begun = time.perf_counter()
        child = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        clock = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"{command[0]} ended with {child.returncode}")
        out.seek(0)
        return out.read().decode(), usage.ru_utime + usage.ru_stime, clock, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, default=72390)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--data", type=Path, help="where the dataset is kept; made if it is not there")
    parser.add_argument("--sb", type=Path, default=SB)
    parser.add_argument("--example", type=Path, help="the crate's example `summarize` instead of sb; it needs 14 days")
    parser.add_argument("--with", dest="program", choices=["polars", "duckdb"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.program:
        found = (with_polars if given.program == "polars" else with_duckdb)(given.data, given.days)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "planted.json"
        planted = json.loads(kept.read_text()) if kept.exists() else generate(
            folder, given.functions, given.days, given.seed)
        files = sorted(folder.glob("invocations_per_function_md.anon.d*.csv"))
        size = sum(file.stat().st_size for file in files)
        print(f"{len(files)} files, {size / 1e9:.2f} GB; planted: {planted}")
        commands = {
            "sb dataset summarize": [str(given.sb), "dataset", "summarize", str(folder), "--days", f"1-{given.days}",
                                     "--format", "json"],
        }
        if given.example:
            commands = {"the crate's example": [str(given.example), str(folder)]}
        for program in ["polars", "duckdb"]:
            if importlib.util.find_spec(program):
                commands[program] = [sys.executable, __file__, "--with", program, "--data", str(folder),
                                     "--days", str(given.days)]
            else:
                print(f"left out: {program} is not installed (PyPI)")
        commands["wc -l"] = ["wc", "-l", *map(str, files)]
        measured(commands["wc -l"])
        expected = [planted[step] for step in STEPS]
        rounds = {name: [] for name in commands}
        for _ in range(given.rounds):
            for name, command in commands.items():
                text, *figures = measured(command)
                rounds[name].append(figures)
                if name == "wc -l":
                    continue
                found = json.loads(text)
                if name in ("sb dataset summarize", "the crate's example"):
                    found = [step["functions"] for step in found["funnel"]]
                if found != expected:
                    sys.exit(f"{name} counts {found}, and {expected} were planted")
        print("\n| program | processor time | clock | peak memory |\n|---|---|---|---|")
        for name, all_rounds in rounds.items():
            processor, clock, memory = sorted(all_rounds)[len(all_rounds) // 2]
            print(f"| {name} | {processor:.2f} s | {clock:.2f} s | {memory:.0f} MiB |")


if __name__ == "__main__":
    main()
