//! `just bench analyze`: how fast traces are analysed, beside loops that only parse the same file.
//!
//! The file is generated anew from a seed (200 MiB by default; `-- MIB` for another size) and removed at the end. So is a second one of half the size,
//! half of whose traces link to the other half: `--join-linked` against the analysis without it.
//! All measurements of a file alternate in one process, so that the ratios hold on a machine that others use too.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that fails may panic")]
#![expect(clippy::print_stdout, reason = "its results are what it prints")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use sb_analysis::{AnalyzeOptions, Method, analyze_file};
use serde::Deserialize;

const ROUNDS: usize = 7;
const SEED: u64 = 20_260_131;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mebibytes = arguments.iter().find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(200);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("traces.json");
    let traces = generate(&path, mebibytes << 20, false);
    let bytes = fs::metadata(&path).unwrap().len();
    println!("{traces} traces, {:.1} MB, seed {SEED}", bytes as f64 / 1e6);

    let analyse = |jobs: usize| {
        let options = AnalyzeOptions { jobs: NonZeroUsize::new(jobs), ..AnalyzeOptions::default() };
        let summary = analyze_file(&path, &options).expect("the analysis");
        assert_eq!(summary.valid + summary.invalid, traces);
        assert!(summary.valid * 100 >= traces * 90, "most of the generated traces are valid: {summary:?}");
    };
    analyse(1);
    let peak = peak_memory();
    println!("peak memory after one analysis: {peak:.0} MiB with 1 thread");
    analyse(2);
    println!("peak memory after another one:  {:.0} MiB with 2 threads", peak_memory());

    let medians = alternate(
        &path,
        traces,
        &[
            ("analysis, 1 thread", &|| analyse(1)),
            ("analysis, 2 threads", &|| analyse(2)),
            ("both levels parsed only, serde_json", &|| assert_eq!(parse_serde_json(&path), traces)),
            ("both levels parsed only, sonic-rs", &|| assert_eq!(parse_sonic(&path), traces)),
        ],
    );
    python(&path, bytes as f64 / traces as f64);
    let limit = medians[2].min(medians[3]);
    println!("1 thread against the faster parser:    {:.2}", limit / medians[0]);
    println!("2 threads against 1:                   {:.2}", medians[0] / medians[1]);

    let path = folder.path().join("linked.json");
    let traces = generate(&path, mebibytes << 19, true);
    println!("\n{traces} traces, of which each second one links to another");
    let analyse = |join_linked: bool| {
        let method = Method { join_linked, ..Method::default() };
        let options = AnalyzeOptions { jobs: NonZeroUsize::new(2), method, ..AnalyzeOptions::default() };
        let summary = analyze_file(&path, &options).expect("the analysis");
        assert_eq!(summary.valid + summary.invalid, if join_linked { traces / 2 } else { traces });
        assert!(summary.valid * 100 >= traces * 45, "most of the generated traces are valid: {summary:?}");
    };
    let medians = alternate(
        &path,
        traces,
        &[("apart, 2 threads", &|| analyse(false)), ("--join-linked, 2 threads", &|| analyse(true))],
    );
    println!("peak memory after all:                 {:.0} MiB", peak_memory());
    println!("joined against apart:                  {:.2}", medians[0] / medians[1]);
}

/// What is measured: its name and how it runs.
type Kind<'a> = (&'a str, &'a dyn Fn());

/// Each in turn, several times; prints their rates and returns their medians, in seconds.
fn alternate(path: &Path, traces: u64, kinds: &[Kind<'_>]) -> Vec<f64> {
    let bytes = fs::metadata(path).unwrap().len();
    let mut seconds = vec![Vec::new(); kinds.len()];
    for _ in 0..ROUNDS {
        for ((_, run), seconds) in kinds.iter().zip(&mut seconds) {
            let begun = Instant::now();
            run();
            seconds.push(begun.elapsed().as_secs_f64());
        }
    }
    let median = |((name, _), mut seconds): (&Kind<'_>, Vec<f64>)| {
        seconds.sort_by(f64::total_cmp);
        let median = seconds[ROUNDS / 2];
        let (traces, megabytes) = (traces as f64 / median, bytes as f64 / 1e6 / median);
        println!("{name:<38} {traces:>8.0} traces/s {megabytes:>7.0} MB/s");
        median
    };
    kinds.iter().zip(seconds).map(median).collect()
}

/// Mebibytes.
fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

/// The same levels parsed by Python's json module, for the order of magnitude.
fn python(path: &Path, bytes_per_trace: f64) {
    const SCRIPT: &str = "
import json, sys, time, itertools
begun, count = time.perf_counter(), 0
with open(sys.argv[1]) as lines:
    for line in itertools.islice(lines, 4000):
        for segment in json.loads(line)['Segments']:
            json.loads(segment['Document'])
        count += 1
print(count / (time.perf_counter() - begun))
";
    match Command::new("python3").args(["-c", SCRIPT]).arg(path).output() {
        Ok(output) if output.status.success() => {
            let rate: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0.0);
            let name = "both levels parsed only, Python's json";
            println!("{name:<38} {rate:>8.0} traces/s {:>7.0} MB/s (a sample)", rate * bytes_per_trace / 1e6);
        }
        _ => println!("python3 is not here: its json module was not measured"),
    }
}

/// What the analysis needs of a trace, borrowed where the parser can.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    duration: Option<f64>,
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Segment {
    document: String,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    start_time: f64,
    end_time: Option<f64>,
    #[serde(borrow)]
    parent_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    origin: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    subsegments: Vec<Document<'a>>,
    #[serde(default)]
    error: bool,
    #[serde(default)]
    fault: bool,
    #[serde(default)]
    throttle: bool,
}

impl Document<'_> {
    /// Uses all that was parsed.
    fn weigh(&self) -> u64 {
        let flags = u64::from(self.error) + u64::from(self.fault) + u64::from(self.throttle);
        let texts = self.id.len() + self.name.len();
        let optional =
            self.parent_id.as_ref().map_or(0, |id| id.len()) + self.origin.as_ref().map_or(0, |id| id.len());
        let times = (self.end_time.unwrap_or(0.0) - self.start_time).to_bits() & 1;
        flags + (texts + optional) as u64 + times + self.subsegments.iter().map(Document::weigh).sum::<u64>()
    }
}

fn parse(path: &Path, one: impl Fn(&str) -> u64) -> u64 {
    let mut input = BufReader::with_capacity(1 << 20, File::open(path).unwrap());
    let mut line = Vec::new();
    let (mut count, mut weight) = (0, 0_u64);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).unwrap() == 0 {
            break;
        }
        weight = weight.wrapping_add(one(std::str::from_utf8(&line).unwrap()));
        count += 1;
    }
    assert_ne!(std::hint::black_box(weight), 0);
    count
}

fn parse_serde_json(path: &Path) -> u64 {
    parse(path, |line| {
        let envelope: Envelope<'_> = serde_json::from_str(line).unwrap();
        let documents = envelope
            .segments
            .iter()
            .map(|segment| serde_json::from_str::<Document<'_>>(&segment.document).unwrap().weigh());
        documents.sum::<u64>() + envelope.id.len() as u64 + envelope.duration.map_or(0, |_| 1)
    })
}

fn parse_sonic(path: &Path) -> u64 {
    parse(path, |line| {
        let envelope: Envelope<'_> = sonic_rs::from_str(line).unwrap();
        let documents = envelope
            .segments
            .iter()
            .map(|segment| sonic_rs::from_str::<Document<'_>>(&segment.document).unwrap().weigh());
        documents.sum::<u64>() + envelope.id.len() as u64 + envelope.duration.map_or(0, |_| 1)
    })
}

/// So many traces lie between one and that which links to it: messages wait, and traces are listed by their time.
const BETWEEN_LINKED: usize = 1000;

/// Writes traces until the file has so many bytes; returns how many. Where they are linked, there is one more for each, which links to it.
fn generate(path: &Path, bytes: u64, linked: bool) -> u64 {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut draw = Draw {
        random: ChaCha8Rng::seed_from_u64(SEED),
        documents: Vec::new(),
        now: 1_619_793_031.0,
        ended: 0.0,
    };
    let (mut written, mut traces) = (0, 0);
    let mut later = VecDeque::new();
    while written < bytes || !later.is_empty() {
        let line = if written < bytes && later.len() < BETWEEN_LINKED {
            let line = draw.trace();
            if linked {
                later.push_back(draw.linked(&line));
            }
            line
        } else {
            later.pop_front().unwrap()
        };
        out.write_all(line.as_bytes()).unwrap();
        written += line.len() as u64;
        traces += 1;
    }
    out.flush().unwrap();
    traces
}

/// Draws traces in the shapes of the study's applications.
struct Draw {
    random: ChaCha8Rng,
    documents: Vec<String>,
    /// Seconds since the epoch.
    now: f64,
    /// When the last trace ended, after `now`.
    ended: Millis,
}

/// Milliseconds after the start of a trace.
type Millis = f64;

impl Draw {
    fn id(&mut self) -> String {
        format!("{:016x}", self.random.random::<u64>())
    }

    fn between(&mut self, low: Millis, high: Millis) -> Millis {
        (self.random.random_range(low..high) * 1e3).round() / 1e3
    }

    fn time(&self, at: Millis) -> f64 {
        ((self.now + at / 1e3) * 1e6).round() / 1e6
    }

    fn head(&self, id: &str, name: &str, start: Millis, end: Millis) -> String {
        format!(
            r#"{{"id":"{id}","name":"{name}","start_time":{},"end_time":{}"#,
            self.time(start),
            self.time(end)
        )
    }

    /// An API Gateway, a function behind it and what that calls; maybe functions set off one after the other.
    fn trace(&mut self) -> String {
        self.documents.clear();
        self.now += 0.05;
        let trace_id = format!("1-{:08x}-{:024x}", self.now as u64, self.random.random::<u128>() >> 32);
        let length = self.between(40.0, 900.0);
        let root = self.id();
        let stage = self.id();
        let failed = self.random.random_bool(0.03);
        let mut gateway = self.head(&root, "production-bench/production", 0.0, length);
        let status = if failed { 502 } else { 200 };
        let _ = write!(
            gateway,
            r#","trace_id":"{trace_id}","http":{{"request":{{"url":"https://abcdef1234.execute-api.eu-west-1.amazonaws.com/production/items/{:x}?size=large","method":"POST","user_agent":"k6/0.31.1 (https://k6.io/)","client_ip":"203.0.113.7","x_forwarded_for":true}},"response":{{"status":{status},"content_length":{}}}}},"aws":{{"api_gateway":{{"account_id":"123456789012","rest_api_id":"abcdef1234","stage":"production","request_id":"7a4f3c1e-0000-4000-8000-{:012x}"}}}},"annotations":{{"aws:api_id":"abcdef1234","aws:api_stage":"production"}},"metadata":{{"default":{{"note":"drawn, not measured","list":[1,2.5,null,true]}}}},"origin":"AWS::ApiGateway::Stage","resource_arn":"arn:aws:apigateway:eu-west-1::/restapis/abcdef1234/stages/production""#,
            self.random.random::<u32>(),
            self.random.random_range(10..5000),
            self.random.random::<u64>() >> 16,
        );
        if failed {
            gateway.push_str(r#","error":false,"fault":true"#);
        }
        let part = self.head(&stage, "Lambda", 2.0, length - 2.0);
        let _ = write!(
            gateway,
            r#","subsegments":[{part},"http":{{"request":{{"url":"https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:api/invocations","method":"POST"}},"response":{{"status":{status},"content_length":0}}}},"aws":{{"function_name":"api","region":"eu-west-1","operation":"Invoke","resource_names":["api"]}},"namespace":"aws"}}]}}"#
        );
        self.documents.push(gateway);
        let mut cause = self.function(&stage, "bench-api-handler", 4.0, length - 4.0);
        let mut end = length;
        for _ in 0..self.random.random_range(0..4_u32) {
            let start = end + self.between(5.0, 200.0);
            end = start + self.between(60.0, 1500.0);
            let dwell = self.between(1.0, 20.0);
            cause = self.asynchronous(&cause, start, dwell, end);
        }
        self.line(&trace_id, 0.0, end)
    }

    /// An invocation that a message waited for, in a trace of its own which links to that in the line.
    fn linked(&mut self, to: &str) -> String {
        self.documents.clear();
        let trace_id = format!("1-{:08x}-{:024x}", self.now as u64, self.random.random::<u128>() >> 32);
        let sent = self.ended;
        let received = sent + 10.0;
        let end = received + self.between(60.0, 900.0);
        let (wait, service) = (self.id(), self.id());
        let document = to.find(r#"{\"id\":\""#).unwrap() + 10;
        let links = format!(
            r#""links":[{{"trace_id":"{}","id":"{}","attributes":{{}}}}]"#,
            &to[7..42],
            &to[document..document + 16]
        );
        let head = self.head(&wait, "bench", sent, received);
        self.documents.push(format!(r#"{head},"origin":"AWS::SQS::Queue",{links}}}"#));
        let head = self.head(&service, "bench-receiver", received, end);
        self.documents.push(format!(r#"{head},"parent_id":"{wait}","origin":"AWS::Lambda",{links}}}"#));
        self.runtime(&service, "bench-receiver", received + 2.0, end - 2.0);
        self.line(&trace_id, sent, end)
    }

    /// The documents as one line of the file.
    fn line(&mut self, trace_id: &str, start: Millis, end: Millis) -> String {
        self.ended = end;
        let duration = ((end - start) * 1e3).round() / 1e6;
        let mut line =
            format!(r#"{{"Id":"{trace_id}","Duration":{duration},"LimitExceeded":false,"Segments":["#);
        for (place, document) in self.documents.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let text = serde_json::to_string(document).unwrap();
            let _ = write!(line, r#"{comma}{{"Id":"{}","Document":{text}}}"#, &document[7..23]);
        }
        line.push_str("]}\n");
        line
    }

    /// The service around a function, which waited in a queue before, and the function; returns what can set off more.
    fn asynchronous(&mut self, cause: &str, start: Millis, dwell: Millis, end: Millis) -> String {
        let (id, wait, attempt) = (self.id(), self.id(), self.id());
        let wait = self.head(&wait, "Dwell Time", start, start + dwell);
        let attempt_text = self.head(&attempt, "Attempt #1", start + dwell, end);
        let head = self.head(&id, "bench-worker", start, end);
        self.documents.push(format!(
            r#"{head},"parent_id":"{cause}","http":{{"response":{{"status":202}}}},"aws":{{"request_id":"{id}"}},"origin":"AWS::Lambda","resource_arn":"arn:aws:lambda:eu-west-1:123456789012:function:bench-worker","subsegments":[{wait}}},{attempt_text},"http":{{"response":{{"status":200}}}}}}]}}"#
        ));
        self.runtime(&attempt, "bench-worker", start + dwell + 2.0, end - 2.0)
    }

    fn function(&mut self, parent: &str, name: &str, start: Millis, end: Millis) -> String {
        let service = self.id();
        let head = self.head(&service, name, start, end);
        self.documents.push(format!(
            r#"{head},"parent_id":"{parent}","http":{{"response":{{"status":200}}}},"aws":{{"request_id":"{service}-4000"}},"origin":"AWS::Lambda","resource_arn":"arn:aws:lambda:eu-west-1:123456789012:function:{name}"}}"#
        ));
        self.runtime(&service, name, start + 1.0, end - 1.0)
    }

    /// The function's own segment with its calls; the called services have segments of their own.
    fn runtime(&mut self, service: &str, name: &str, start: Millis, end: Millis) -> String {
        let id = self.id();
        let cold = end - start > 30.0 && self.random.random_bool(0.2);
        let begin = if cold { start + (end - start) * 0.4 } else { start };
        let overhead = end - 2.0;
        let (invocation, after) = (self.id(), self.id());
        let mut parts = String::new();
        if cold {
            let initialization = self.id();
            let _ = write!(
                parts,
                "{}}},",
                self.head(&initialization, "Initialization", start + 3.0, begin - 2.0)
            );
        }
        let mut calls = Vec::new();
        let mut at = begin + 0.2;
        let mut last = id.clone();
        for _ in 0..self.random.random_range(0..9_u32) {
            let room = overhead - 1.0 - at;
            if room < 8.0 {
                break;
            }
            let from = at + self.between(0.3, room / 8.0);
            let to = from + self.between(0.5, room / 3.0);
            let (call, target) = (self.id(), self.id());
            let (kind, origin, detail) = [
                (
                    "S3",
                    "AWS::S3::Bucket",
                    r#""operation":"PutObject","bucket_name":"bench-results","key":"out/\"quoted\".png""#,
                ),
                (
                    "DynamoDB",
                    "AWS::DynamoDB::Table",
                    r#""operation":"GetItem","table_name":"bench-items","retries":0"#,
                ),
                (
                    "SQS",
                    "AWS::SQS::Queue",
                    r#""operation":"SendMessage","queue_url":"https://sqs.eu-west-1.amazonaws.com/1/bench""#,
                ),
                ("STEPFUNCTIONS", "AWS::STEPFUNCTIONS", r#""operation":"StartExecution""#),
            ][self.random.random_range(0..4_usize)];
            let wrong = if self.random.random_bool(0.02) {
                r#","error":true,"cause":{"working_directory":"/var/task","exceptions":[{"id":"0123456789abcdef","type":"ConditionalCheckFailedException","message":"The conditional request failed\nsee \"items\"","remote":true,"stack":[{"path":"/var/runtime/client.py","line":719,"label":"_make_api_call"}]}]}"#
            } else {
                ""
            };
            let common = format!(
                r#""http":{{"response":{{"status":200,"content_length":{}}}}},"aws":{{{detail},"region":"eu-west-1","request_id":"{target}","resource_names":["bench"]}},"namespace":"aws"{wrong}"#,
                self.random.random_range(0..9999)
            );
            calls.push(format!("{},{common}}}", self.head(&call, kind, from, to)));
            let head = self.head(&target, kind, from, to);
            self.documents.push(format!(r#"{head},"trace_id":"1-5759e988-bd862e3fe1be46a994272793","parent_id":"{call}",{common},"inferred":true,"origin":"{origin}"}}"#));
            at = to;
            last = target;
        }
        let _ = write!(
            parts,
            r#"{},"subsegments":[{}]}},{}}}"#,
            self.head(&invocation, "Invocation", begin + 0.1, overhead - 0.5),
            calls.join(","),
            self.head(&after, "Overhead", overhead, end - 0.5)
        );
        let head = self.head(&id, name, begin, end);
        self.documents.push(format!(
            r#"{head},"trace_id":"1-5759e988-bd862e3fe1be46a994272793","parent_id":"{service}","aws":{{"account_id":"123456789012","function_arn":"arn:aws:lambda:eu-west-1:123456789012:function:{name}","resource_names":["{name}"],"xray":{{"sdk":"X-Ray for Python","sdk_version":"2.6.0"}}}},"origin":"AWS::Lambda::Function","subsegments":[{parts}]}}"#
        ));
        last
    }
}
