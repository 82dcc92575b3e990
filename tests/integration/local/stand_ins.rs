//! Stand-ins of AWS services: calls go there, are in the trace, and fail clearly when nobody answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sb_daemon::DaemonError;
use sb_local::LocalError;
use serde_json::{Value, json};

use super::harness::{App, here, sb, spec};
use crate::workspace::Workspace;

const TEMPLATE: &str = "tests/integration/local/stand_ins.yaml";

/// A program that answers each call with what it was asked, until it is dropped.
struct StandIn {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl StandIn {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push(line.trim().to_owned());
                }
                let header = |name: &str| {
                    let named = head.iter().filter_map(|line| line.split_once(": "));
                    named.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
                };
                let mut body = vec![0; header("content-length").unwrap_or("0").parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                let said = json!({
                    "request": head[0], "host": header("host"), "target": header("x-amz-target"),
                    "input": serde_json::from_slice::<Value>(&body).unwrap(),
                })
                .to_string();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{said}",
                    said.len()
                )
                .unwrap();
            }
        });
        Self { address, stopping, thread: Some(thread) }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_service_go_to_its_stand_in_and_are_in_the_trace() {
    let stand_in = StandIn::start();
    let app = App::with(TEMPLATE, |options| {
        options.stand_ins.insert("rekognition".to_owned(), format!("http://{}/of-faces/", stand_in.address));
    })
    .await;
    let call = async |service: &str| {
        app.invoke("app-Call", &json!({ "service": service, "input": { "a": 1 } }), &[]).await
    };
    let answer = call("rekognition").await;
    let host = app.runtime.aws_endpoint.as_deref().unwrap().strip_prefix("http://");
    let asked = json!({ "request": "POST /of-faces/ HTTP/1.1", "host": host, "target": "Service.Do", "input": { "a": 1 } });
    assert_eq!(answer.json(), json!({ "status": 200, "answer": asked }), "{answer:?}");

    // As X-Ray sees it: the call in the function, and the service inferred from it.
    let header = answer.header("x-amzn-trace-id").unwrap().to_owned();
    let id = header.strip_prefix("Root=").unwrap().split(';').next().unwrap().to_owned();
    let (_, traces) = app.traces(&[id], Duration::from_secs(10)).await;
    let documents: Vec<Value> = traces[0]["Segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| serde_json::from_str(segment["Document"].as_str().unwrap()).unwrap())
        .collect();
    let inferred: Vec<&Value> = documents.iter().filter(|document| document["inferred"] == true).collect();
    let [service] = inferred.as_slice() else { panic!("{documents:?}") };
    assert_eq!(
        (&service["origin"], &service["name"], &service["aws"]["operation"]),
        (&json!("AWS::rekognition"), &json!("rekognition"), &json!("Do"))
    );

    // Another service is not there.
    let other = call("translate").await.json();
    assert_eq!(
        (&other["status"], &other["kind"]),
        (&json!(400), &json!("UnknownOperationException")),
        "{other}"
    );
    assert!(other["answer"]["message"].as_str().unwrap().contains("nothing for `translate`"), "{other}");

    // One that has ended is named, to the function and in the log.
    let address = stand_in.address;
    drop(stand_in);
    let failed = call("rekognition").await.json();
    assert_eq!((&failed["status"], &failed["kind"]), (&json!(502), &json!("BadGateway")), "{failed}");
    let message = failed["answer"]["message"].as_str().unwrap();
    let expected = format!("the stand-in for `rekognition` at http://{address}/of-faces does not answer: ");
    assert!(message.starts_with(&expected), "{message}");
    let log = std::fs::read_to_string(app.state_dir().join("runtime.log")).unwrap();
    assert!(log.contains(message), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_needs_a_stand_in_is_refused_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let template = std::fs::read_to_string(here(TEMPLATE))
        .unwrap()
        .replace("CodeUri: .", &format!("CodeUri: {}", here("tests/integration/local").display()));
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, template + "  People: { Type: AWS::Rekognition::Collection }\n").unwrap();
    let mut wanted = spec(&path, &folder.path().join("state"));
    let refused = async |spec| {
        let error = sb_local::up(spec, None, sb()).await.unwrap_err();
        let LocalError::Daemon(DaemonError::NotReady { tail, .. }) = error else { panic!("{error}") };
        tail
    };
    let missing = refused(wanted.clone()).await;
    assert!(missing.contains("resource `People`: the local target has no `rekognition`"), "{missing}");
    wanted.options.stand_ins.insert("rekognition".to_owned(), "https://127.0.0.1:1".to_owned());
    let wrong = refused(wanted.clone()).await;
    assert!(wrong.contains("the stand-in for `rekognition` cannot be at `https://127.0.0.1:1`"), "{wrong}");
    // With one it starts, whether or not that answers yet, and needs no moto.
    wanted.options.stand_ins.insert("rekognition".to_owned(), "http://127.0.0.1:1".to_owned());
    let runtime = sb_local::up(wanted.clone(), None, sb()).await.unwrap();
    assert!(runtime.aws_endpoint.is_some());
    // One with another stand-in is another.
    wanted.options.stand_ins.clear();
    let error = sb_local::up(wanted, None, sb()).await.unwrap_err();
    assert!(error.to_string().contains("other stand-ins"), "{error}");
    sb_local::down(&folder.path().join("state")).await.unwrap();
}

#[test]
fn stand_ins_of_the_command_line_are_checked() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let check = |services: &[&str], code: i32, part: &str| {
        let mut words = vec!["local", "up", "--template", "examples/hello-http/template.yaml"];
        for service in services {
            words.extend(["--service", service]);
        }
        let ran = work.sb(&words).expect(code);
        assert!(
            ran.stderr.contains(part) || ran.stdout.contains(part),
            "{services:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
    };
    check(&["s3=http://127.0.0.1:1"], 2, "the local target has `s3` itself");
    check(&["rekogniton=http://127.0.0.1:1"], 2, "did you mean `rekognition`?");
    check(&["rekognition=https://127.0.0.1:1"], 2, "does not begin with `http://`");
    check(&["rekognition"], 2, "write NAME=URL");
    let one = "rekognition=http://127.0.0.1:1";
    check(&[one, "rekognition=http://127.0.0.1:2"], 2, "given twice");
    check(&[one, "translate=http://127.0.0.1:1"], 0, "aws_endpoint = http://127.0.0.1:");
    work.sb(&["local", "down"]).expect(0);
}
