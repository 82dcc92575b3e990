#!/usr/bin/env python3
"""How long a report of a large dataset takes, and how much memory: beside polars and DuckDB, on the same files.

    just bench report [--rows 1000000] [--rounds 3] [--with polars --with duckdb] [--tables target/release/examples/tables]

The dataset is made here, in the published layout: ten applications with ten executions each, and as many traces as asked for, each with
a row of `trace_breakdown.csv` and one of `k6_metrics.csv`. 7,500,000 traces are some 4 GB. It is removed afterwards.

`sb report DIR --output OUT` writes all its tables: overview, activities, penalties, cold starts, workloads, rates, distances, groups.
It also draws figures and a page. The example `tables` of sb-report (`cargo build --release -p sb-report --example tables`) does not.
polars and DuckDB compute one of them: per application, request type, and cold or warm, the number of traces, and mean, median and 99th
percentile of eight activities and the duration. For this they join the traces with their requests, as the study does. Their packages come
from PyPI (`polars`, `duckdb`). Each runs in a process of its own, one after the other in every round; the fastest round counts. The
figures of all three are compared.
"""

import argparse
import csv
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APPLICATIONS = {
    "apigw_node": ["/path"],
    "event_processing": ["/ingest"],
    "hello_retail": ["/event-writer", "/sms", "/categories", "/products?category=c", "/products?id=7"],
    "image_processing": ["/execute/"],
    "matrix_multiplication": ["/run"],
    "model_training": ["/train"],
    "realworld_backend": ["/api/users", "/api/users/login", "/api/tags", "/api/articles?author=me"],
    "thumbnail_generator": ["/upload?filename=a.jpg"],
    "todo_api": ["/put", "/lst", "/get?id=3", "/del?id=3"],
    "video_processing": ["/process"],
}
LABELS = ["exp1_latency_breakdown_4x_burst20"] * 4 + ["exp2_load_levels_5"] * 2 + ["exp3_workload_types_20min_constant"] * 4
# Of the columns from `orchestration` to `unclassified`; the two initializations are of cold traces only.
ACTIVITIES = ["computation", "external_service", "orchestration", "trigger", "queing", "overhead", "runtime_initialization", "container_initialization"]
K6_HEADER = "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,scenario,service,status,subproto,tls_version,url,extra_tags\n"
TRACE_HEADER = (
    "trace_id,start_time,end_time,duration,url,num_cold_starts,errors,throttles,faults,services,longest_path_names,orchestration,trigger,"
    "container_initialization,runtime_initialization,computation,queing,overhead,external_service,unclassified\r\n"
)


def execution(task):
    """Writes one execution."""
    folder, application, number, rows = task
    draw = random.Random(f"{application} {number}")
    folder.mkdir(parents=True)
    (folder / "sb_config.yml").write_text(
        f"sb:\n  host_system: Linux\n{application}:\n  label: {LABELS[number]}\n  load_level: 5\n  provider: aws\n  region: us-east-1\n"
        f"  workload_label: w{number % 4}\n  workload_type: custom\n"
    )
    (folder / "invalid_traces.csv").write_text("trace_id,message\n")
    start = 1_642_000_000 + number * 86_400
    urls = [f"https://a.execute-api.us-east-1.amazonaws.com/dev{path}" for path in APPLICATIONS[application]]
    parts = lambda micros: f"0:00:{micros // 1_000_000:02}.{micros % 1_000_000:06}"
    # Durations repeat, so that the files are made quickly; ids and times do not.
    durations = [int(draw.lognormvariate(10, 1)) % 5_000_000 for _ in range(4096)]
    with open(folder / "k6_metrics.csv", "w") as requests, open(folder / "trace_breakdown.csv", "w", newline="") as traces:
        requests.write(K6_HEADER)
        traces.write(TRACE_HEADER)
        for begin in range(0, rows, 1000):
            sent, analysed = [], []
            for row in range(begin, min(begin + 1000, rows)):
                bits = draw.getrandbits(128)
                id = f"1-{bits >> 96:08x}-{bits & (1 << 96) - 1:024x}"
                url = urls[bits % len(urls)]
                at = start + row // 100
                a, b, c, d = (durations[bits >> shift & 4095] for shift in (0, 12, 24, 36))
                cold = bits >> 48 & 15 == 0
                starts = f"{parts(c)},{parts(d)}" if cold else ","
                duration = a + b + c + 5000 + (c + d if cold else 0)
                millis = f"{duration // 1000}.{duration % 1000:03}000"
                sent.append(f"http_req_duration,{at},{millis},,,,true,,GET,{url},HTTP/2.0,default,,200,,tls1.3,{url},xray_header=Root={id}\n")
                analysed.append(
                    f"{id},{at}.{row % 1000:03},{at + 1}.{row % 1000:03},{parts(duration)},{url},{int(cold)},{int(bits >> 60 & 127 == 0)},0,0,"
                    f"\"['AWS::ApiGateway::Stage', 'AWS::Lambda']\",\"['dev-{application}', 'handler', 'handler', 'Invocation']\","
                    f"{parts(a)},,{starts},{parts(b)},,0:00:00.005000,{parts(c)},0:00:00\r\n"
                )
            requests.writelines(sent)
            traces.writelines(analysed)


def make(folder, rows):
    share = rows // 100
    tasks = [
        (folder / application / "logs" / f"2022-01-{number + 11}_08-00-00", application, number, share)
        for application in APPLICATIONS
        for number in range(10)
    ]
    with multiprocessing.Pool(os.cpu_count()) as pool:
        pool.map(execution, tasks, chunksize=1)


def measured(command, **options):
    """Seconds, seconds of processor time, and highest memory in MiB of a process."""
    begin = time.monotonic()
    process = subprocess.Popen(command, **options)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def show(name, found):
    took, processor, memory = found
    print(f"  {name:8} {took:6.1f} s {processor:6.1f} s of processor time {memory:6.0f} MiB", flush=True)


# How both libraries tell the types of requests: by the end of the URL, or a text in it.
TYPES = [("/event-writer", "registerPhotographer|newProduct"), ("/sms", "commitPhoto"), ("/categories", "listCategories"), ("/products?category=", "listProductsByCategory"),
         ("/products?id=", "listProductsByID"), ("/path", "getPath"), ("/ingest", "ingestEvent"), ("/execute/", "postImage"), ("/run", "multiplyMatrix"),
         ("/train", "trainModel"), ("/login", "loginUser"), ("/users", "createUser"), ("/tags", "getTags"), ("/api/articles?author=", "listArticlesByAuthor"),
         ("/upload?", "uploadImage"), ("/put", "createTodo"), ("/lst", "listTodos"), ("/get?id=", "getTodo"), ("/del?id=", "deleteTodo"), ("/process", "processVideo")]


def with_duckdb(data, out):
    import duckdb

    kind = "CASE " + " ".join(f"WHEN contains(k.url, '{text}') THEN '{name}'" for text, name in TYPES) + " END"
    micros = lambda column: f"coalesce(epoch_us(CAST({column} AS INTERVAL)), 0)"
    figures = ", ".join(
        f"avg({column}) AS {column}_mean, quantile_cont({column}, 0.5) AS {column}_p50, quantile_cont({column}, 0.99) AS {column}_p99"
        for column in [*ACTIVITIES, "duration"]
    )
    read = lambda file, columns: f"SELECT {columns} FROM read_csv('{data}/*/logs/*/{file}', header=true, all_varchar=true, filename=true)"
    query = f"""
        WITH t AS ({read('trace_breakdown.csv', 'split_part(filename, chr(47), -4) AS app, trace_id, CAST(num_cold_starts AS INTEGER) AS cold, '
                         + ', '.join(f'{micros(column)} AS {column}' for column in [*ACTIVITIES, 'duration']))}),
             k AS ({read('k6_metrics.csv', "replace(extra_tags, 'xray_header=Root=', '') AS trace_id, url")} WHERE metric_name = 'http_req_duration'),
             j AS (SELECT t.*, {kind} AS type FROM t LEFT JOIN k USING (trace_id)),
             s AS (SELECT *, CASE WHEN cold = 0 THEN false WHEN cold = max(cold) OVER (PARTITION BY app, type) THEN true END AS is_cold FROM j)
        SELECT app, type, is_cold, count(*) AS n, {figures} FROM s WHERE is_cold IS NOT NULL GROUP BY ALL"""
    duckdb.sql(query).write_csv(str(out))


def with_polars(data, out):
    import polars as pl

    def micros(column):
        part = lambda start, length: pl.col(column).str.slice(start, length).cast(pl.Int64)
        # H:MM:SS.ffffff, where the fraction may be missing.
        return (part(0, 1) * 3_600_000_000 + part(2, 2) * 60_000_000 + part(5, 2) * 1_000_000 + pl.col(column).str.slice(8, 6).cast(pl.Int64, strict=False).fill_null(0)).fill_null(0)

    read = lambda file: pl.scan_csv(f"{data}/*/logs/*/{file}", infer_schema=False, include_file_paths="path")
    traces = read("trace_breakdown.csv").select(
        pl.col("path").str.split("/").list.get(-4).alias("app"), "trace_id", pl.col("num_cold_starts").cast(pl.Int32).alias("cold"),
        *[micros(column).alias(column) for column in [*ACTIVITIES, "duration"]],
    )
    kind = pl.when(False).then(pl.lit(""))
    for text, name in TYPES:
        kind = kind.when(pl.col("url").str.contains(text, literal=True)).then(pl.lit(name))
    requests = read("k6_metrics.csv").filter(pl.col("metric_name") == "http_req_duration").select(
        pl.col("extra_tags").str.replace("xray_header=Root=", "", literal=True).alias("trace_id"), kind.alias("type")
    )
    joined = traces.join(requests, on="trace_id", how="left")
    most = pl.col("cold").max().over("app", "type")
    marked = joined.with_columns(pl.when(pl.col("cold") == 0).then(False).when(pl.col("cold") == most).then(True).alias("is_cold"))
    figures = []
    for column in [*ACTIVITIES, "duration"]:
        figures += [pl.col(column).mean().alias(f"{column}_mean"), pl.col(column).quantile(0.5, "linear").alias(f"{column}_p50"), pl.col(column).quantile(0.99, "linear").alias(f"{column}_p99")]
    found = marked.filter(pl.col("is_cold").is_not_null()).group_by("app", "type", "is_cold").agg(pl.len().alias("n"), *figures).collect(engine="streaming")
    found.write_csv(str(out))


def compare(name, theirs, ours):
    """Every figure of a library must be that of `group_activities` and `groups`, to a microsecond."""
    count = 0
    with open(theirs, newline="") as file:
        for row in csv.DictReader(file):
            status = "cold" if row["is_cold"] == "true" else "warm"
            mine = ours[row["app"], row["type"], status]
            if mine["n"] != int(row["n"]):
                sys.exit(f"{name}: {row['n']} traces instead of {mine['n']}")
            for column in [*ACTIVITIES, "duration"]:
                for figure in ["mean", "p50", "p99"]:
                    found, expected = float(row[f"{column}_{figure}"]), mine[f"{column}_{figure}"]
                    if abs(found - expected) > 1:
                        sys.exit(f"{name}: {row['app']} {row['type']} {status} {column} {figure} is {found} instead of {expected}")
                    count += 1
    return count


def figures_of(out):
    """The figures of `sb`, over all labels: in microseconds, of the table that has no label."""
    found = {}
    with open(out / "tables" / "exp1_activities.csv", newline="") as file:
        for row in csv.DictReader(file):
            status = "cold" if row["coldstart"] == "true" else "warm"
            entry = found.setdefault((row["app"], row["request_type"], status), {"n": int(row["n"])})
            for figure in ["mean", "p50", "p99"]:
                entry[f"{row['activity']}_{figure}"] = int(row[f"{figure}_ns"]) / 1000
                entry[f"duration_{figure}"] = int(row[f"duration_{figure}_ns"]) / 1000
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=7_500_000, help="traces (and as many requests)")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--with", dest="others", action="append", choices=["polars", "duckdb"], help="beside it [default: both, where they are installed]")
    arguments.add_argument("--one-experiment", action="store_true", help="all executions have the label of exp1, so that figures can be compared")
    arguments.add_argument("--folder", help="where the dataset is made [default: a temporary folder]")
    arguments.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    arguments.add_argument("--tables", help="beside it the crate's example of this path, which writes all tables and draws nothing")
    arguments.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.run:
        name, data, out = given.run
        {"duckdb": with_duckdb, "polars": with_polars}[name](data, out)
        return
    if given.one_experiment:
        LABELS[:] = [LABELS[0]] * 10
    free = shutil.disk_usage(given.folder or tempfile.gettempdir()).free
    if free < given.rows * 900:
        sys.exit(f"{given.rows} traces need {given.rows * 900 / 1e9:.0f} GB on the disk, and {free / 1e9:.0f} GB are free: name another --folder or fewer --rows")
    others = given.others or [name for name in ["polars", "duckdb"] if subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0]
    with tempfile.TemporaryDirectory(prefix="sb-bench-", dir=given.folder) as folder:
        data, out = Path(folder) / "data", Path(folder) / "out"
        begin = time.monotonic()
        make(data, given.rows)
        size = sum(file.stat().st_size for file in data.rglob("*.csv"))
        print(f"{given.rows:,} traces and requests, {size / 1e9:.2f} GB of CSV, made in {time.monotonic() - begin:.0f} s, {os.cpu_count()} processors")
        best = {}
        for _ in range(given.rounds):
            runs = {"sb": [given.sb, "report", str(data), "--output", str(out)]}
            if given.tables:
                runs["tables"] = [given.tables, str(Path(folder) / "tables"), str(data)]
            for name in others:
                runs[name] = [sys.executable, __file__, "--run", name, str(data), str(Path(folder) / f"{name}.csv")]
            for name, command in runs.items():
                found = measured(command, stderr=subprocess.DEVNULL)
                best[name] = min(best.get(name, found), found)
                show(name, found)
        print("fastest round:")
        for name, found in best.items():
            show(name, found)
        if given.one_experiment:
            ours = figures_of(out)
            for name in others:
                print(f"{compare(name, Path(folder) / f'{name}.csv', ours)} figures of {name} are ours")


if __name__ == "__main__":
    main()
