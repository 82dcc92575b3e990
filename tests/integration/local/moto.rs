//! Tables and buckets of the local target, with moto's server. Ignored, since they need it: `tests/run.sh` runs them where it is.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sb_daemon::DaemonError;
use sb_local::LocalError;
use sb_sam::dynamics::Delay;
use serde_json::json;

use super::harness::{App, here, sb, spec, wait_until};

const TEMPLATE: &str = "tests/integration/local/services.yaml";

/// The stand-in for Rekognition of applications/facial-recognition, stopped with the test.
struct Faces {
    server: Child,
    url: String,
}

impl Faces {
    fn start() -> Self {
        let program = here("applications/facial-recognition/local/stand_in.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(program).arg("people").stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { server, url: line.trim().to_owned() }
    }
}

impl Drop for Faces {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn functions_use_tables_and_buckets_of_the_template_and_all_ends_with_the_runtime() {
    let app = App::of(TEMPLATE).await;
    let endpoint = app.runtime.aws_endpoint.clone().expect("there are services");
    for text in ["one", "a longer one, ü"] {
        let kept = app.invoke("app-Keep", &json!({ "id": "x", "text": text }), &[]).await;
        assert_eq!((kept.status, kept.header("x-amz-function-error")), (200, None), "{kept:?}");
        assert_eq!(kept.json(), json!({ "item": text, "object": text }));
    }
    // The index that the template gives the table; and what is not there is an error of the service's own.
    let found = app.invoke("app-Keep", &json!({ "find": "a longer one, ü" }), &[]).await;
    assert_eq!(found.json(), json!({ "found": ["x"] }));
    let missing = app.invoke("app-Keep", &json!({ "table": "nobody" }), &[]).await.json();
    assert!(missing["error"].as_str().unwrap().contains("ResourceNotFoundException"), "{missing}");
    // Calls of Lambda at the same address reach the runtime.
    let called = app.invoke("app-Keep", &json!({ "invoke": "app-Keep" }), &[]).await.json();
    assert_eq!(called, json!({ "answer": { "found": [] } }));
    // From outside, as a step that fills a bucket does.
    let scope = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none";
    let put = app
        .request("PUT", &format!("{endpoint}/app-files/given"), "by a step", &[("authorization", scope)])
        .await;
    assert_eq!(put.status, 200, "{put:?}");
    let seen =
        app.request("GET", &format!("{endpoint}/app-files/given"), "", &[("authorization", scope)]).await;
    assert_eq!((seen.status, seen.text.as_str()), (200, "by a step"));

    let services = || {
        let listed = std::fs::read_dir("/proc").unwrap().flatten();
        let script = app.state_dir().join("services.py");
        listed
            .filter(|item| {
                let line = std::fs::read(item.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(script.to_str().unwrap())
            })
            .count()
    };
    assert_eq!(services(), 1);
    // Even when nobody can tidy up.
    kill_process(Pid::from_raw(i32::try_from(app.runtime.pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    wait_until("the services to end", || services() == 0).await;
    let again = sb_local::up(spec(&here(TEMPLATE), &app.state_dir()), None, sb()).await.unwrap();
    assert_eq!(services(), 1, "{again:?}");
    tokio::time::timeout(Duration::from_secs(30), sb_local::down(&app.state_dir())).await.unwrap().unwrap();
    assert_eq!(services(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn transactions_that_meet_leave_the_tables_as_if_they_had_followed_each_other() {
    const ROUNDS: usize = 5;
    const TOGETHER: usize = 24;
    let app = App::of(TEMPLATE).await;
    let endpoint = app.runtime.aws_endpoint.clone().unwrap();
    let scope = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none";
    let ask = async |operation: &str, input: serde_json::Value| {
        let target = format!("DynamoDB_20120810.{operation}");
        let headers = [
            ("authorization", scope),
            ("x-amz-target", target.as_str()),
            ("content-type", "application/x-amz-json-1.0"),
        ];
        app.request("POST", &endpoint, &input.to_string(), &headers).await
    };
    let key = |id: &str| json!({ "id": { "S": id } });
    // In a table of some size a transaction takes moto long enough for others to come between.
    for part in 0..20 {
        let put =
            |index: usize| json!({ "PutRequest": { "Item": key(&format!("other {}", part * 25 + index)) } });
        let puts: Vec<_> = (0..25).map(put).collect();
        let filled = ask("BatchWriteItem", json!({ "RequestItems": { "app-Items": puts } })).await;
        assert_eq!(filled.status, 200, "{filled:?}");
    }
    for round in 0..ROUNDS {
        let prize = format!("prize {round}");
        let update = |id: &str, expression: &str, condition: &str, value: serde_json::Value| {
            json!({
                "TableName": "app-Items", "Key": key(id), "UpdateExpression": expression, "ConditionExpression": condition,
                "ExpressionAttributeNames": { "#a": "amount" }, "ExpressionAttributeValues": { ":v": value },
            })
        };
        let each = (0..TOGETHER).map(|who| {
            let take =
                update(&prize, "SET #a = :v", "attribute_not_exists(#a)", json!({ "N": who.to_string() }));
            let mine = update(
                &format!("{prize} {who}"),
                "ADD #a :v",
                "attribute_not_exists(#a)",
                json!({ "N": "1" }),
            );
            let mut count = update("count", "ADD #a :v", "", json!({ "N": "1" }));
            count.as_object_mut().unwrap().remove("ConditionExpression");
            let ask = &ask;
            async move {
                let both = json!({ "TransactItems": [{ "Update": mine }, { "Update": take }] });
                let (taken, counted) =
                    tokio::join!(ask("TransactWriteItems", both), ask("UpdateItem", count));
                assert_eq!(counted.status, 200, "{counted:?}");
                assert!(taken.status == 200 || taken.text.contains("ConditionalCheckFailed"), "{taken:?}");
                taken.status == 200
            }
        });
        let taken: Vec<bool> = futures_util::future::join_all(each).await;
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
        let winner = taken.iter().position(|taken| *taken).unwrap();
        let item =
            async |id: &str| ask("GetItem", json!({ "TableName": "app-Items", "Key": key(id) })).await.json();
        assert_eq!(item(&prize).await["Item"]["amount"]["N"], winner.to_string());
        for who in 0..TOGETHER {
            let has = !item(&format!("{prize} {who}")).await["Item"].is_null();
            assert_eq!(has, who == winner, "{who}");
        }
        let counted = item("count").await["Item"]["amount"]["N"].clone();
        assert_eq!(counted, ((round + 1) * TOGETHER).to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_table_that_the_service_refuses_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let template = std::fs::read_to_string(here(TEMPLATE))
        .unwrap()
        .replace("AttributeName: id, AttributeType: S", "AttributeName: other, AttributeType: S");
    let path = folder.path().join("template.yaml");
    std::fs::write(
        &path,
        template.replace("CodeUri: .", &format!("CodeUri: {}", here("tests/integration/local").display())),
    )
    .unwrap();
    let error = sb_local::up(spec(&path, &folder.path().join("state")), None, sb()).await.unwrap_err();
    let LocalError::Daemon(DaemonError::NotReady { tail, .. }) = &error else { panic!("{error}") };
    assert!(tail.contains("resource `Items` (line "), "{tail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn functions_ask_a_stand_in_about_faces_in_a_bucket() {
    let faces = Faces::start();
    let app = App::with("tests/integration/local/faces.yaml", |options| {
        options.stand_ins.insert("rekognition".to_owned(), faces.url.clone());
    })
    .await;
    let ask = async |operation: &str, picture: &str| {
        let event = json!({ "operation": operation, "picture": picture });
        app.invoke("app-Faces", &event, &[]).await.json()
    };
    let seen = ask("DetectFaces", "below/person ada, ü.jpg").await;
    assert_eq!(seen["FaceDetails"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(ask("DetectFaces", "no-face.jpg").await, json!({ "FaceDetails": [] }));
    let indexed = ask("IndexFaces", "person-ada.jpg").await;
    let found = ask("SearchFacesByImage", "person-ada-turned.jpg").await;
    assert_eq!(found["FaceMatches"][0]["Face"], indexed["FaceRecords"][0]["Face"], "{found}");
    let none = ask("SearchFacesByImage", "no-face.jpg").await;
    assert_eq!(
        (&none["kind"], &none["error"]["__type"]),
        (&json!("InvalidParameterException"), &none["kind"])
    );
    let missing = json!({ "operation": "DetectFaces", "picture": "a.jpg", "ask for": "b.jpg" });
    let missing = app.invoke("app-Faces", &missing, &[]).await.json();
    assert_eq!(missing["kind"], "InvalidS3ObjectException", "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn calls_of_services_take_longer_where_that_is_declared() {
    let seconds = async |service: Option<Delay>, slow: f64| {
        let app = App::with(TEMPLATE, |options| {
            options.dynamics.service = service;
            options.dynamics.slow_service = slow;
        })
        .await;
        app.invoke("app-Keep", &json!({ "find": "nothing" }), &[]).await;
        let begun = Instant::now();
        // Warm, and one call of the table.
        let found = app.invoke("app-Keep", &json!({ "find": "nothing" }), &[]).await;
        assert_eq!(found.json(), json!({ "found": [] }));
        begun.elapsed().as_secs_f64()
    };
    let late = seconds(Some(Delay::Fixed(Duration::from_millis(700))), 0.0).await;
    assert!((0.7..1.9).contains(&late), "{late}");
    let slow = seconds(None, 1.0).await;
    assert!((2.0..4.0).contains(&slow), "{slow}");
}
