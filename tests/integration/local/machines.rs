//! State machines of the local target, by moto's interpreter. Ignored, since they need it.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::App;

const JSON: (&str, &str) = ("content-type", "application/json");

/// The outcome of an execution, when it has ended.
async fn ended(app: &App, run: &str) -> Value {
    for _ in 0..400 {
        let answer = app.request("GET", &format!("{}/v2/runs/{run}", app.runtime.endpoint), "", &[]).await;
        let state = answer.json();
        if state["status"] != "RUNNING" {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{run} does not end");
}

async fn trace(app: &App, root: &str) -> Vec<Value> {
    let (_, traces) = app.traces(&[root.to_owned()], Duration::from_secs(10)).await;
    let segments = traces[0]["Segments"].as_array().unwrap();
    segments
        .iter()
        .map(|segment| serde_json::from_str(segment["Document"].as_str().unwrap()).unwrap())
        .collect()
}

/// The names of the spans below, by their start.
fn names(span: &Value) -> Value {
    let mut children: Vec<&Value> = span["subsegments"].as_array().into_iter().flatten().collect();
    children.sort_by(|a, b| a["start_time"].as_f64().unwrap().total_cmp(&b["start_time"].as_f64().unwrap()));
    let names = children.iter().map(|child| (child["name"].as_str().unwrap(), names(child)));
    // Side by side, whichever comes first.
    let mut names: Vec<Value> = names.map(|(name, below)| json!([name, below])).collect();
    if span["name"] == "Both" || span["name"] == "Each" {
        names.sort_by_key(ToString::to_string);
    }
    names.into()
}

async fn start(app: &App, kind: &str) -> (String, String) {
    let url = format!("{}/v2/runs", app.runtime.endpoint);
    let answer = app.request("POST", &url, &json!({ "kind": kind }).to_string(), &[JSON]).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let header = answer.header("x-amzn-trace-id").unwrap().to_owned();
    let root = header.split(';').next().unwrap().trim_start_matches("Root=").to_owned();
    (answer.json()["run"].as_str().unwrap().to_owned(), root)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn an_execution_calls_the_functions_and_its_states_are_spans_of_the_callers_trace() {
    let app = App::of("tests/integration/local/machines.yaml").await;
    let (run, root) = start(&app, "good").await;
    let state = ended(&app, &run).await;
    assert_eq!(state["status"], "SUCCEEDED", "{state}");
    let output = &state["output"];
    // Numbers, texts and the like are what they are in the template.
    assert_eq!(
        (&output["count"], &output["text"], &output["flag"], &output["nothing"]),
        (&json!(2), &json!("2"), &json!(false), &Value::Null)
    );
    assert_eq!(output["name"], json!(run));
    assert_eq!(output["later"], json!({ "late": true }));
    assert_eq!(output["both"][0], 2);

    let segments = trace(&app, &root).await;
    let of = |origin: &str| segments.iter().filter(|segment| segment["origin"] == origin).collect::<Vec<_>>();
    let [stage] = of("AWS::ApiGateway::Stage")[..] else { panic!("{segments:#?}") };
    let [machine] = of("AWS::StepFunctions::StateMachine")[..] else { panic!("{segments:#?}") };
    assert_eq!(
        (&stage["subsegments"][0]["name"], &machine["parent_id"]),
        (&json!("STEPFUNCTIONS"), &stage["subsegments"][0]["id"])
    );
    let call = || json!([["Lambda", []]]);
    let item = |number: usize| json!([format!("Iteration {number}"), [["Item", call()]]]);
    assert_eq!(
        names(machine),
        json!([
            ["Begin", []],
            ["Which", []],
            ["Both", [["Branch 0", [["One", call()]]], ["Branch 1", [["Each", [item(0), item(1)]]]]]],
            ["Later", call()],
        ])
    );
    assert_eq!(of("AWS::Lambda").len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_failure_is_tried_again_caught_and_told_with_the_functions_own_error() {
    let app = App::of("tests/integration/local/machines.yaml").await;
    let (run, root) = start(&app, "bad").await;
    let state = ended(&app, &run).await;
    assert_eq!((&state["status"], &state["error"]), (&json!("FAILED"), &json!("ValueError")), "{state}");
    let segments = trace(&app, &root).await;
    let of = |origin: &str| segments.iter().filter(|segment| segment["origin"] == origin).collect::<Vec<_>>();
    let [machine] = of("AWS::StepFunctions::StateMachine")[..] else { panic!("{segments:#?}") };
    assert_eq!(
        (&machine["fault"], &machine["cause"]["exceptions"][0]["type"]),
        (&json!(true), &json!("ValueError"))
    );
    assert_eq!(of("AWS::Lambda").len(), 2);
    assert_eq!(
        names(machine),
        json!([["Begin", []], ["Which", []], ["Break", [["Lambda", []], ["Lambda", []]]], ["Failed", []]])
    );
}

/// What Step Functions itself says.
async fn asked(app: &App, action: &str, body: Value) -> Value {
    let url = app.runtime.aws_endpoint.clone().unwrap();
    let target = format!("AWSStepFunctions.{action}");
    let headers = [
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=none",
        ),
        ("x-amz-target", target.as_str()),
        ("content-type", "application/x-amz-json-1.0"),
    ];
    app.request("POST", &url, &body.to_string(), &headers).await.json()
}

async fn described(app: &App, arn: &str) -> Value {
    for _ in 0..400 {
        let answer = asked(app, "DescribeExecution", json!({ "executionArn": arn })).await;
        if answer["status"] != "RUNNING" {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{arn} does not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_definition_in_a_file_may_loop_with_retries_and_catches_refusals_by_their_names() {
    let app = App::of("tests/integration/local/machines.yaml").await;
    let started = app.request("POST", &format!("{}/v1/odd", app.runtime.endpoint), "{}", &[JSON]).await;
    let arn = started.json()["executionArn"].as_str().unwrap().to_owned();
    let state = described(&app, &arn).await;
    assert_eq!(state["status"], "SUCCEEDED", "{state}");
    let output: Value = serde_json::from_str(state["output"].as_str().unwrap()).unwrap();
    assert_eq!((&output["round"], &output["text"]), (&json!(2), &json!("üß")), "{output}");
    assert!(output["started"].as_str().unwrap().ends_with('Z'), "{output}");
    assert_eq!(output["refusal"]["Error"], "Lambda.TooManyRequestsException", "{output}");
    let cause = output["refusal"]["Cause"].as_str().unwrap();
    assert!(cause.contains("Service: AWSLambda; Status Code: 429"), "{cause}");

    let header = started.header("x-amzn-trace-id").unwrap();
    let root = header.split(';').next().unwrap().trim_start_matches("Root=").to_owned();
    let segments = trace(&app, &root).await;
    let machine =
        segments.iter().find(|segment| segment["origin"] == "AWS::StepFunctions::StateMachine").unwrap();
    let twice = json!([["Lambda", []], ["Lambda", []]]);
    assert_eq!(
        names(machine),
        json!([
            ["Begin", []],
            ["Again", twice],
            ["Whether", []],
            ["Count", []],
            ["Again", twice],
            ["Whether", []],
            ["Refused", [["Lambda", []]]],
            ["Done", []],
        ])
    );
    let states = machine["subsegments"].as_array().unwrap();
    let refused = states.iter().find(|state| state["name"] == "Refused").unwrap();
    assert_eq!(refused["subsegments"][0]["throttle"], true, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn an_api_with_a_document_checks_bodies_maps_answers_and_has_functions_too() {
    let app = App::of("tests/integration/local/machines.yaml").await;
    let endpoint = &app.runtime.endpoint;
    let post = |body: &'static str, headers: &'static [(&'static str, &'static str)]| {
        let app = &app;
        async move { app.request("POST", &format!("{endpoint}/v2/runs"), body, headers).await }
    };
    let long = post(r#"{"kind": "longer than nine"}"#, &[JSON]).await;
    assert_eq!(long.status, 422, "{long:?}");
    assert!(long.json()["wrong"].as_str().unwrap().contains("too long"), "{long:?}");
    assert_eq!(post("no JSON", &[JSON]).await.status, 422);
    assert_eq!(post(r#"{"kind": "x"}"#, &[("content-type", "text/plain")]).await.status, 415);
    let unknown = app.request("GET", &format!("{endpoint}/v2/runs/nobody"), "", &[]).await;
    assert_eq!(unknown.status, 404, "{unknown:?}");
    let echoed = app.request("GET", &format!("{endpoint}/v2/echo"), "", &[]).await;
    assert_eq!((echoed.status, echoed.text.as_str()), (200, "/echo"), "{echoed:?}");
    // SAM's own event of a state machine: the answer is that of Step Functions.
    let started = app.request("POST", &format!("{endpoint}/v1/flows"), r#"{"kind": "bad"}"#, &[JSON]).await;
    let arn = started.json()["executionArn"].as_str().unwrap().to_owned();
    assert!(arn.starts_with("arn:aws:states:us-east-1:000000000000:execution:app-Flow:"), "{arn}");
    let run = arn.rsplit(':').next().unwrap();
    assert_eq!(ended(&app, run).await["error"], "ValueError");
    let refused = app.request("POST", &format!("{endpoint}/v1/flows"), "no JSON", &[JSON]).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text.contains("InvalidExecutionInput"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_caller_waits_for_the_end_of_an_express_execution() {
    let app = App::of("tests/integration/local/machines.yaml").await;
    let url = format!("{}/v2/quick", app.runtime.endpoint);
    // The same name each time.
    for body in [r#"{"kind":"good","text":"a \"b\""}"#, r#"{"kind":"other"}"#] {
        let answer = app.request("POST", &url, body, &[JSON]).await;
        assert_eq!((answer.status, answer.text.trim()), (200, body), "{answer:?}");
    }
    let answer = app.request("POST", &url, r#"{"kind":"bad"}"#, &[JSON]).await;
    assert_eq!((answer.status, answer.json()), (502, json!({ "error": "ValueError" })), "{answer:?}");

    let arn = |name: &str| format!("arn:aws:states:us-east-1:000000000000:stateMachine:app-{name}");
    let body = json!({ "stateMachineArn": arn("Quick"), "input": r#"{"kind":"good"}"# });
    let said = asked(&app, "StartSyncExecution", body).await;
    assert_eq!(
        (&said["status"], &said["output"]),
        (&json!("SUCCEEDED"), &json!(r#"{"kind":"good"}"#)),
        "{said}"
    );
    let refused = asked(&app, "StartSyncExecution", json!({ "stateMachineArn": arn("Inner") })).await;
    assert_eq!(refused["__type"], "StateMachineTypeNotSupported", "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn an_execution_starts_others_and_waits_for_their_ends() {
    let app = App::of("tests/integration/local/machines.yaml").await;
    let started = app.request("POST", &format!("{}/v1/outer", app.runtime.endpoint), "{}", &[JSON]).await;
    let state = described(&app, started.json()["executionArn"].as_str().unwrap()).await;
    assert_eq!(state["status"], "SUCCEEDED", "{state}");
    let output: Value = serde_json::from_str(state["output"].as_str().unwrap()).unwrap();
    let parsed = &output["parsed"];
    assert_eq!(
        (&parsed["Status"], &parsed["Output"]),
        (&json!("SUCCEEDED"), &json!({ "fine": 1 })),
        "{output}"
    );
    assert!(parsed["StopDate"].as_i64().unwrap() >= parsed["StartDate"].as_i64().unwrap(), "{output}");
    let cause: Value = serde_json::from_str(output["failure"]["Cause"].as_str().unwrap()).unwrap();
    assert_eq!((&cause["Status"], &cause["Error"]), (&json!("FAILED"), &json!("ValueError")), "{output}");
    let last = output["started"]["ExecutionArn"].as_str().unwrap();
    assert_eq!(described(&app, last).await["status"], "SUCCEEDED");

    let header = started.header("x-amzn-trace-id").unwrap();
    let root = header.split(';').next().unwrap().trim_start_matches("Root=").to_owned();
    let segments = trace(&app, &root).await;
    let of = |name: &str| segments.iter().filter(|segment| segment["name"] == name).collect::<Vec<_>>();
    let [outer] = of("app-Outer")[..] else { panic!("{segments:#?}") };
    let call = json!([["STEPFUNCTIONS", []]]);
    assert_eq!(names(outer), json!([["Parsed", call], ["Broken", call], ["Started", call]]));
    let states = outer["subsegments"].as_array().unwrap();
    let parents: Vec<_> = states.iter().map(|state| &state["subsegments"][0]["id"]).collect();
    let inner = of("app-Inner");
    assert_eq!(inner.len(), 3, "{segments:#?}");
    assert!(inner.iter().all(|segment| parents.contains(&&segment["parent_id"])), "{segments:#?}");
    // The call lasts as long as what it waits for.
    let ends = |span: &Value| span["end_time"].as_f64().unwrap();
    let waited = &states.iter().find(|state| state["name"] == "Parsed").unwrap()["subsegments"][0];
    let inside = inner.iter().find(|segment| segment["parent_id"] == waited["id"]).unwrap();
    assert!(ends(waited) >= ends(inside), "{waited} {inside}");
}
