//! `sb ui`, over HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::watch::GATED;
use crate::workspace::Workspace;

struct Page {
    process: Child,
    port: u16,
    /// `/TOKEN/`
    path: String,
    /// The run that is shown first.
    run: String,
}

impl Page {
    fn open(work: &Workspace, arguments: &[&str]) -> Self {
        let arguments = [&["ui", "--format", "json"], arguments].concat();
        let mut process =
            work.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let port = u16::try_from(said["port"].as_u64().unwrap()).unwrap();
        let url = said["url"].as_str().unwrap();
        let path = url.strip_prefix(&format!("http://127.0.0.1:{port}")).expect(url).to_owned();
        Self { process, port, path, run: said["run"].as_str().unwrap().to_owned() }
    }

    fn send(&self, method: &str, path: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
        stream
    }

    /// The status, the head and the body.
    fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String, String) {
        let mut text = String::new();
        self.send(method, path, headers).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
    }

    fn get(&self, page: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", &format!("{}{page}", self.path), "Host: 127.0.0.1\r\n");
        (status, body)
    }

    /// A page about the run that is shown first.
    fn get_of_run(&self, page: &str) -> (u16, String) {
        self.get(&format!("run/{}/{page}", self.run))
    }

    #[track_caller]
    fn json(&self, page: &str) -> Value {
        let (status, body) = self.get_of_run(page);
        assert_eq!(status, 200, "{page}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_page_is_for_who_knows_its_address_and_for_nobody_elses_site() {
    let work = Workspace::new();
    work.write("benchmark.toml", GATED);
    work.write("go-1", "");
    work.write("go-2", "");
    work.sb(&["test", "--executor", "host"]).expect(0);
    let mut page = Page::open(&work, &[]);
    assert_eq!(page.path.len(), 34, "128 bits: {}", page.path);
    let here = "Host: localhost:9000\r\n";
    let check = |method: &str, path: &str, headers: &str, expected: u16| {
        let (status, head, body) = page.ask(method, path, headers);
        assert_eq!(status, expected, "{method} {path} {headers}: {body}");
        for header in ["content-security-policy: default-src 'none'", "cache-control: no-store", "nosniff"] {
            assert!(head.contains(header), "{header}: {head}");
        }
        assert!(!head.contains("access-control"), "{head}");
        assert!(!body.contains("gated"), "nothing of the run is in the page itself");
    };
    let wrong = format!("/{}/", "0".repeat(32));
    check("GET", &page.path, here, 200);
    check("GET", &page.path, "Host: 127.0.0.1\r\nOrigin: http://localhost:9000\r\n", 200);
    check("GET", &page.path, "Host: evil.example\r\n", 403);
    check("GET", &page.path, &format!("{here}Origin: https://evil.example\r\n"), 403);
    check("GET", "/", here, 403);
    check("GET", &wrong, here, 403);
    check("GET", &page.path[..page.path.len() - 1], here, 403);
    check("GET", &format!("{wrong}graph"), here, 403);
    check("POST", &page.path, here, 405);
    check("GET", &format!("{}../secret", page.path), here, 404);
    let of_run = format!("{}run/{}/", page.path, page.run);
    check("GET", &format!("{of_run}step?step=999"), here, 404);
    check("GET", &format!("{of_run}traces?step=0"), here, 404);
    check("GET", &format!("{}run/20260101-000000-none-0000/graph", page.path), here, 404);
    check("GET", &format!("{}run/..%2f..%2fsecret/graph", page.path), here, 404);
    // What it loads is here too, and nothing names another place.
    for part in ["", "page.css", "page.js"] {
        let (status, body) = page.get(part);
        assert_eq!(status, 200);
        let elsewhere = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http:") && !elsewhere.contains("https:") && !body.contains("innerHTML"));
    }
    // Connections that say nothing keep nobody out.
    let silent: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(("127.0.0.1", page.port)).unwrap()).collect();
    assert_eq!(page.get("").0, 200);
    drop(silent);
    let pid = rustix::process::Pid::from_raw(i32::try_from(page.process.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(page.process.wait().unwrap().success());
}

#[test]
fn viewers_follow_a_run_to_its_end() {
    let work = Workspace::new();
    work.write("benchmark.toml", GATED);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("calls", "x"));
    let page = Page::open(&work, &["--run", "gated"]);
    let graph = page.json("graph");
    let names: Vec<_> = graph["steps"].as_array().unwrap().iter().map(|step| step[2].clone()).collect();
    assert_eq!(names, ["deploy/stack", "t1/invoke/call", "cleanup/stack"]);

    let stream = page.send("GET", &format!("{}run/{}/events", page.path, page.run), "Host: 127.0.0.1\r\n");
    let other = page.send(
        "GET",
        &format!("{}run/{}/events", page.path, page.run),
        "Host: 127.0.0.1\r\nLast-Event-ID: 3\r\n",
    );
    let mut marks: Vec<char> = Vec::new();
    let mut seen = Vec::new();
    let mut let_go = false;
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let data: Value = serde_json::from_str(data).unwrap();
        match data["marks"].as_str() {
            Some(all) => marks = all.chars().collect(),
            None => {
                for change in data["changed"].as_array().unwrap() {
                    let place = usize::try_from(change[0].as_u64().unwrap()).unwrap();
                    marks[place] = change[1].as_str().unwrap().chars().next().unwrap();
                }
            }
        }
        let now: String = marks.iter().collect();
        if !let_go && data["about"]["running"][0]["words"] == "begin 1" {
            let_go = true;
            assert_eq!(now, "srw");
            assert_eq!(data["about"]["state"], "running");
            assert_eq!(data["about"]["runner"], runner.id());
            let step = page.json("step?step=1");
            assert_eq!((&step["log"], &step["state"]), (&"begin 1\n".into(), &"running".into()));
            let (status, why) = page.get_of_run("report");
            assert!(status == 409 && why.contains("the run goes on"), "{status}: {why}");
            work.write("go-1", "");
            work.write("go-2", "");
        }
        seen.push(now);
        if data["about"]["state"] == "ended" {
            assert_eq!(data["about"]["measurement"], "complete");
            break;
        }
    }
    assert_eq!(seen.last().unwrap(), "sss", "{seen:?}");
    assert!(runner.wait().unwrap().success());
    // Who comes back is told everything anew, whatever was seen before.
    let first = BufReader::new(other).lines().map_while(Result::ok).find(|line| line.starts_with("data: "));
    assert!(first.unwrap().contains("\"marks\""));
    let step = page.json("step?step=1");
    assert_eq!(step["attempts"].as_array().unwrap().len(), 2, "{step}");
    assert_eq!(step["log"], "begin 2\nend 2\n");
    assert_eq!(page.json("step?step=1&attempt=1")["log"], "begin 1\nend 1\n");
}

#[test]
fn the_traces_of_a_run_are_listed_and_drawn() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let ran = work.sb_in("examples/hello-http", &["test", "3"]);
    assert!(ran.code == 0 || ran.code == 5, "{}", ran.stderr);
    let page = Page::open(&work, &[]);
    let graph = page.json("graph");
    let step = graph["steps"].as_array().unwrap().iter().position(|step| step[3] == "get traces").unwrap();
    let traces = page.json(&format!("traces?step={step}"));
    assert_eq!(traces["count"], 3, "{traces}");
    let slowest = traces["slowest"].as_array().unwrap();
    assert!(slowest.is_sorted_by_key(|trace| -trace["duration_us"].as_i64().unwrap()), "{traces}");
    let id = slowest[0]["id"].as_str().unwrap();
    let (status, image) = page.get_of_run(&format!("trace?step={step}&id={id}"));
    assert_eq!(status, 200);
    assert!(image.starts_with("<svg ") && image.contains(id), "{image}");
    assert_eq!(page.get_of_run(&format!("trace?step={step}&id=1-00")).0, 404);
    let load = graph["steps"].as_array().unwrap().iter().position(|step| step[3] == "load").unwrap();
    assert_eq!(page.json(&format!("step?step={load}"))["mark"], if ran.code == 0 { "s" } else { "i" });

    // What was sent stands there after the end, and is what the files say.
    let course = page.json(&format!("step?step={load}"))["course"].clone();
    let last = course.as_array().unwrap().last().unwrap();
    assert_eq!((&last[1], &last[2], &last[3]), (&3.into(), &3.into(), &3.into()), "{course}");
    let results = page.json("results");
    let reported = work.sb_in("examples/hello-http", &["report", "--format", "json"]);
    let reported: Value = serde_json::from_str(&reported.stdout).unwrap();
    assert_eq!(results["applications"], reported["applications"]);
    assert_eq!(results["applications"][0]["load"]["sent"], 3);

    // The report of the run, which may use its own style and script, and nothing else.
    let address = format!("{}run/{}/report", page.path, page.run);
    let (status, head, report) = page.ask("GET", &address, "Host: 127.0.0.1\r\n");
    assert_eq!(status, 200, "{report}");
    assert!(head.contains("default-src 'none'; style-src 'sha256-") && !head.contains("unsafe"), "{head}");
    assert!(report.contains("id=\"rates\"") && report.contains("id=\"timeline\""), "its figures");
    assert!(report.contains(&format!("<h1>Run {}</h1>", page.run)));
}

#[test]
fn one_page_shows_every_run_of_the_workspace() {
    let work = Workspace::new();
    work.write("benchmark.toml", "[benchmark]\nname = \"b\"\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"stack\"\nrun = \"true\"\n[[invoke]]\nname = \"call\"\nrun = \"true\"\n[[cleanup]]\nname = \"stack\"\nrun = \"true\"\n");
    work.sb(&["test", "--executor", "host"]).expect(0);
    let page = Page::open(&work, &[]);
    work.sb(&["test", "--executor", "host"]).expect(0);
    let (status, list) = page.get("runs");
    assert_eq!(status, 200, "{list}");
    let list: Value = serde_json::from_str(&list).unwrap();
    let runs = list["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &list["first"]), (2, &runs[1]["id"]), "{list}");
    for run in runs {
        assert_eq!((&run["state"], &run["measurement"]), (&"ended".into(), &"complete".into()), "{list}");
        let (status, graph) = page.get(&format!("run/{}/graph", run["id"].as_str().unwrap()));
        assert_eq!(status, 200);
        let graph: Value = serde_json::from_str(&graph).unwrap();
        assert_eq!((&graph["run"], graph["steps"].as_array().unwrap().len()), (&run["id"], 3));
    }
}

#[test]
#[ignore = "needs: chromium"]
fn the_page_works_in_a_browser() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    work.write("benchmark.toml", &GATED.replace("echo deploying", "false"));
    work.sb(&["test", "--executor", "host"]).expect(1);
    let ran = work.sb_in("examples/hello-http", &["test", "3"]);
    assert!(ran.code == 0 || ran.code == 5, "{}", ran.stderr);
    look(&Page::open(&work, &[]), &[]);
}

/// What `browser.py` sees in the page is what it must see.
#[track_caller]
fn look(page: &Page, arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/browser.py");
    let url = format!("http://127.0.0.1:{}{}", page.port, page.path);
    let looked = std::process::Command::new("python3").args([script, &url]).args(arguments).output().unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
}

#[test]
#[ignore = "needs: chromium"]
fn a_run_that_waits_for_a_lock_says_so_in_a_browser_until_it_has_it() {
    let work = Workspace::new();
    for name in ["first", "second"] {
        work.write(
            &format!("{name}/benchmark.toml"),
            &format!(
                "[benchmark]\nname = \"{name}\"\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"stack\"\n\
                 run = \"while [ ! -e ../go ]; do sleep 0.05; done\"\nlocks = [\"region\"]\n[[cleanup]]\nname = \"stack\"\nrun = \"true\"\n"
            ),
        );
    }
    let start = |name: &str| {
        let log = std::fs::File::create(work.path().join(format!("{name}.log"))).unwrap();
        let manifest = format!("{name}/benchmark.toml");
        let arguments = ["test", "--executor", "host", "--file", &manifest];
        work.command(&arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    };
    let appears = |name: &str, text: &str| {
        assert!(work.appears(&format!("{name}.log"), text), "{}", work.read(&format!("{name}.log")));
    };
    let mut first = start("first");
    appears("first", "started    first.1/deploy/stack");
    let mut second = start("second");
    appears("second", "waiting    second.1/deploy/stack");
    let holder = Page::open(&work, &["--run", "first"]).run.clone();
    let go = work.path().join("go");
    look(&Page::open(&work, &["--run", "second"]), &["waiting", &holder, go.to_str().unwrap()]);
    assert!(first.wait().unwrap().success(), "{}", work.read("first.log"));
    assert!(second.wait().unwrap().success(), "{}", work.read("second.log"));
}
