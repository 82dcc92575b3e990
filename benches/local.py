#!/usr/bin/env python3
"""What the local target's function runtime can do: requests per second of trivial functions, and what it adds to each invocation.

    just bench local [--seconds 10] [--only compiled,python,node] [--start compiled=2000,python=1000]

One application with three functions that only answer, behind a REST API: a compiled one (Rust with the standard library alone, made
here with rustc), one in Python and one in Node.js, the latter two by the clients of the Runtime API that come with `sb`. The load comes
from `sb`'s own engine; load, runtime and functions share the processors of this machine. Every request is traced, as always.

- The highest rate that is held for so many seconds: every request sent and answered with 200 (the runtime answers 429 above its 20
  executions at once), and the 99th percentile of the lateness of sending below 10 ms. Rates grow by an eighth until one fails twice.
- The runtime's own time per invocation, at 100 requests per second, from the traces: the whole time at the gateway, less the time that the
  function had the event (its `Invocation`). Cold starts count for none.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from load import ROOT, Sb, highest, temporary  # noqa: E402

COMPILED = r"""
use std::io::{Read, Write};
use std::net::TcpStream;

fn main() {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap();
    let mut stream = TcpStream::connect(&api).unwrap();
    stream.set_nodelay(true).unwrap();
    let body = r#"{"statusCode":200,"body":"hello"}"#;
    loop {
        let next = ask(&mut stream, &format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n"));
        let name = "lambda-runtime-aws-request-id: ";
        let Some(at) = next.find(name) else { return };
        let id = next[at + name.len()..].lines().next().unwrap().to_owned();
        ask(&mut stream, &format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n{body}", body.len()
        ));
    }
}

fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut some) = (Vec::new(), [0; 65536]);
    loop {
        let read = stream.read(&mut some).unwrap();
        assert!(read > 0, "the runtime is gone");
        answer.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.find("content-length: ").map_or(0, |at| text[at + 16..].lines().next().unwrap().parse().unwrap());
            if answer.len() >= end + 4 + length {
                return text;
            }
        }
    }
}
"""
PYTHON = 'def handler(event, context):\n    return {"statusCode": 200, "body": "hello"}\n'
NODE = 'exports.handler = async () => ({ statusCode: 200, body: "hello" });\n'
RUNTIMES = {"compiled": ("provided.al2023", "bootstrap"), "python": ("python3.12", "index.handler"), "node": ("nodejs22.x", "index.handler")}


class Requests(Sb):
    """Only an answer with 200 is one."""

    def spec(self, folder, url, rate, seconds):
        spec = super().spec(folder, url, rate, seconds)
        spec["workload"]["requests"][0]["expect"] = {"status": [200]}
        return spec


def application(folder):
    for name, file, text in [("python", "index.py", PYTHON), ("node", "index.js", NODE), ("compiled", "main.rs", COMPILED)]:
        (folder / name).mkdir()
        (folder / name / file).write_text(text)
    source = folder / "compiled/main.rs"
    subprocess.run(["rustc", "--edition", "2021", "-O", "-o", folder / "compiled/bootstrap", source], check=True)
    resources = {
        name.capitalize(): {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "CodeUri": name, "Runtime": runtime, "Handler": handler, "MemorySize": 1024, "Timeout": 10,
                "Events": {"Get": {"Type": "Api", "Properties": {"Path": f"/{name}", "Method": "get"}}},
            },
        }
        for name, (runtime, handler) in RUNTIMES.items()
    }
    template = folder / "template.json"
    template.write_text(json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": resources}))
    return template


def overhead(generator, runtime, name):
    """The runtime's own milliseconds of each warm invocation, by the traces."""
    begun = time.time()
    generator.measure(f"{runtime['endpoint']}/{name}", 100, 10)

    def ask(path, body):
        request = urllib.request.Request(
            runtime["xray_endpoint"] + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))

    period = {"StartTime": begun, "EndTime": begun + 60}
    ids, token = [], {}
    while token is not None:
        page = ask("/TraceSummaries", {**period, **token})
        ids += [summary["Id"] for summary in page["TraceSummaries"]]
        token = {"NextToken": page["NextToken"]} if page.get("NextToken") else None
    found = []
    for at in range(0, len(ids), 5):
        for trace in ask("/Traces", {"TraceIds": ids[at:at + 5]})["Traces"]:
            segments = [json.loads(segment["Document"]) for segment in trace["Segments"]]
            whole = next(segment for segment in segments if segment["origin"] == "AWS::ApiGateway::Stage")
            function = next(segment for segment in segments if segment["origin"] == "AWS::Lambda::Function")
            parts = {part["name"]: part["end_time"] - part["start_time"] for part in function["subsegments"]}
            if "Initialization" not in parts:
                found.append((whole["end_time"] - whole["start_time"] - parts["Invocation"]) * 1e3)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--only", default=",".join(RUNTIMES))
    parser.add_argument("--start", default="", help="where the search begins: compiled=2000,python=1000")
    parser.add_argument("--sb", default=str(ROOT / "target/release/sb"))
    arguments = parser.parse_args()
    starts = dict(pair.split("=") for pair in arguments.start.split(",") if pair)
    generator = Requests(arguments.sb, False)
    with temporary() as folder:
        template = application(Path(folder))
        name = ["--name", "bench-local"]
        up = subprocess.run(
            [arguments.sb, "local", "up", "--template", template, *name, "--format", "json"], cwd=folder, stdout=subprocess.PIPE, check=True)
        try:
            runtime = json.loads(up.stdout)
            print(f"{os.cpu_count()} processors for load, runtime and functions; {arguments.seconds} s each", flush=True)
            rows = []
            for function in arguments.only.split(","):
                url = f"{runtime['endpoint']}/{function}"
                # Instances start beforehand.
                generator.measure(url, 50, 2)
                best = highest(function, generator, url, arguments.seconds, int(starts.get(function, 1000)))
                own = sorted(overhead(generator, runtime, function))
                rows.append((function, best, own))
            print("\n| function | held, requests/s | p50, ms | p99, ms | runtime's own time, median, ms | p99 | of traces |\n|---|---|---|---|---|---|---|")
            for function, best, own in rows:
                rate, result = best or ("none", None)
                latency = f"{result.p50:.2f} | {result.p99:.2f}" if result else "- | -"
                print(f"| {function} | {rate} | {latency} | {statistics.median(own):.3f} | {own[int(len(own) * 0.99)]:.3f} | {len(own)} |")
        finally:
            subprocess.run([arguments.sb, "local", "down", *name], cwd=folder, check=True)


if __name__ == "__main__":
    main()
