//! What invokes functions on the local target: queues, topics and buckets, by moto's server. Ignored, since they need it.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sb::provider::aws::{XrayConfig, fetch_linked_traces};
use sb_analysis::{Activity, AnalyzeOptions, Method, analyze_file, read_breakdown};
use sb_local::LocalError;
use sb_sam::dynamics::Delay;
use serde_json::{Value, json};

use super::harness::{App, here, kill, sb, spec, wait_until};

const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";
const SENDER: &str = "53995c3f42cd8ad8";

/// A call that a function makes, within the trace above.
async fn call(app: &App, service: &str, method: &str, path: &str, body: Value, headers: Value) -> String {
    let trace = format!("Root={ROOT};Parent={SENDER};Sampled=1");
    let event =
        json!({ "service": service, "method": method, "path": path, "body": body, "headers": headers });
    let answer = app.invoke("app-Call", &event, &[("x-amzn-trace-id", &trace)]).await;
    assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, None), "{answer:?}");
    answer.text
}

async fn sqs(app: &App, operation: &str, body: Value) -> String {
    let headers = json!({ "X-Amz-Target": format!("AmazonSQS.{operation}"), "Content-Type": "application/x-amz-json-1.0" });
    call(app, "sqs", "POST", "/", body, headers).await
}

/// The lines that functions wrote, when there are as many.
async fn noted(app: &App, count: usize) -> Vec<Value> {
    let read = || {
        let text = std::fs::read_to_string(app.note()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    wait_until(&format!("{count} records"), || read().len() >= count).await;
    // Nothing comes twice, and nothing comes that should not.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(read().len(), count, "{:#?}", read());
    read()
}

fn root(line: &Value) -> String {
    let header = line["trace"].as_str().unwrap();
    header.split(';').next().unwrap().trim_start_matches("Root=").to_owned()
}

async fn segments(app: &App, trace: &str) -> Vec<Value> {
    let (_, traces) = app.traces(&[trace.to_owned()], Duration::from_secs(10)).await;
    let segments = traces[0]["Segments"].as_array().unwrap();
    segments
        .iter()
        .map(|segment| serde_json::from_str(segment["Document"].as_str().unwrap()).unwrap())
        .collect()
}

fn of_origin<'a>(segments: &'a [Value], origin: &str) -> Vec<&'a Value> {
    segments.iter().filter(|segment| segment["origin"] == origin).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn messages_of_a_queue_come_in_batches_and_those_that_fail_end_among_the_dead_letters() {
    let app = App::of("tests/integration/local/sources.yaml").await;
    let url = &app.runtime.outputs["Jobs"];
    let body = |fail: bool| json!({ "note": app.note(), "fail": fail }).to_string();
    let kind = json!({ "kind": { "DataType": "String", "StringValue": "x" } });
    let entries = json!([
        { "Id": "a", "MessageBody": body(false), "MessageAttributes": kind },
        { "Id": "b", "MessageBody": body(true) },
        { "Id": "c", "MessageBody": body(false) },
    ]);
    sqs(&app, "SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
    // Three, and once again the one that failed.
    let lines = noted(&app, 4).await;
    assert!(lines.iter().all(|line| line["function"] == "app-TakeJobs"));
    assert_eq!(lines[0]["batch"], 3);
    assert_eq!(lines[3]["batch"], 1);
    assert_eq!(lines[3]["record"]["messageId"], lines[1]["record"]["messageId"]);
    let counts: Vec<_> = lines
        .iter()
        .map(|line| line["record"]["attributes"]["ApproximateReceiveCount"].as_str().unwrap())
        .collect();
    assert_eq!(counts, ["1", "1", "1", "2"]);
    let record = &lines[0]["record"];
    assert_eq!(record["eventSource"], "aws:sqs");
    assert_eq!(record["eventSourceARN"], "arn:aws:sqs:us-east-1:000000000000:app-Jobs");
    assert_eq!(
        record["messageAttributes"],
        json!({ "kind": { "stringValue": "x", "dataType": "String", "stringListValues": [], "binaryListValues": [] } })
    );
    let receive = || sqs(&app, "ReceiveMessage", json!({ "QueueUrl": "app-Failed" }));
    let mut dead = receive().await;
    for _ in 0..50 {
        if dead.contains("Messages") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        dead = receive().await;
    }
    let dead: Value = serde_json::from_str(&serde_json::from_str::<String>(&dead).unwrap()).unwrap();
    assert_eq!(dead["Messages"][0]["MessageId"], lines[1]["record"]["messageId"], "{dead}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn an_event_that_failed_for_good_reaches_its_queue_and_its_topic_in_lambdas_shapes() {
    let app = App::of("tests/integration/local/failures.yaml").await;
    let event = json!({ "note": app.note() });
    let answer = app.invoke("app-Fail", &event, &[("x-amz-invocation-type", "Event")]).await;
    let lines = noted(&app, 3).await;
    let of = |name: &str| lines.iter().find(|line| line["function"] == name).unwrap();

    let dead = &of("app-TakeDead")["record"];
    assert_eq!(serde_json::from_str::<Value>(dead["body"].as_str().unwrap()).unwrap(), event);
    let attribute = |name: &str, kind: &str| {
        let attribute = &dead["messageAttributes"][name];
        assert_eq!(attribute["dataType"], kind, "{dead}");
        attribute["stringValue"].as_str().unwrap().to_owned()
    };
    assert_eq!(Some(attribute("RequestID", "String").as_str()), answer.header("x-amzn-requestid"));
    assert_eq!(attribute("ErrorCode", "Number"), "200");
    assert_eq!(attribute("ErrorMessage", "String"), "asked to fail");

    let told = of("app-TakeTold");
    let record: Value = serde_json::from_str(told["record"]["Sns"]["Message"].as_str().unwrap()).unwrap();
    assert_eq!((&record["version"], &record["requestPayload"]), (&json!("1.0"), &event));
    let context = &record["requestContext"];
    assert_eq!(context["condition"], "RetriesExhausted");
    assert_eq!(context["functionArn"], "arn:aws:lambda:us-east-1:000000000000:function:app-Fail:$LATEST");
    assert_eq!(record["responseContext"]["functionError"], "Unhandled");
    assert_eq!(record["responsePayload"]["errorMessage"], "asked to fail");
    assert!(record["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{record}");
    // Both that hear of it are part of the event's trace.
    let trace = answer.header("x-amzn-trace-id").unwrap();
    for line in [told, of("app-AlsoTold")] {
        assert!(trace.contains(&root(line)), "{trace}: {line}");
    }
}

/// Its dead-letter queue and its topic are told after the function has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_trace_is_in_progress_until_everybody_is_told_of_a_failure() {
    let app = App::of("tests/integration/local/failures.yaml").await;
    let event = json!({ "note": app.note() });
    let answer = app.invoke("app-Fail", &event, &[("x-amz-invocation-type", "Event")]).await;
    let header = answer.header("x-amzn-trace-id").unwrap();
    let id = header.strip_prefix("Root=").unwrap().split(';').next().unwrap();
    let url = format!("{}/Traces", app.runtime.xray_endpoint);
    let ask = json!({ "TraceIds": [id] }).to_string();
    let deadline = Instant::now() + Duration::from_secs(30);
    let whole = loop {
        let seen = app.request("POST", &url, &ask, &[]).await.text;
        if seen.contains("app-Fail") && !seen.contains("in_progress") {
            break seen;
        }
        assert!(Instant::now() < deadline, "{seen}");
    };
    for name in ["app-TakeTold", "app-AlsoTold"] {
        assert!(whole.contains(name), "no {name} in {whole}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn what_a_call_without_a_trace_sets_off_has_one_beginning_each() {
    let app = App::of("tests/integration/local/failures.yaml").await;
    let message = json!({ "note": app.note() }).to_string();
    let form = format!(
        "Action=Publish&Version=2010-03-31&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A000000000000%3Aapp-Told&Message={}",
        message.replace('"', "%22").replace('/', "%2F")
    );
    let scope = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=none";
    let headers = [("authorization", scope), ("content-type", "application/x-www-form-urlencoded")];
    let answer = app.request("POST", app.runtime.aws_endpoint.as_ref().unwrap(), &form, &headers).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = noted(&app, 2).await;
    assert_ne!(root(&lines[0]), root(&lines[1]));
    for line in &lines {
        let segments = segments(&app, &root(line)).await;
        let roots = segments.iter().filter(|segment| segment["parent_id"].is_null());
        assert_eq!(roots.count(), 1, "{segments:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn without_its_services_it_is_broken_and_says_so() {
    let app = App::of("tests/integration/local/failures.yaml").await;
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", app.runtime.pid));
    let is_services = |pid: &i64| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.contains("services.py")
    };
    // A thread has started it, and that may be any of the runtime's.
    let threads = std::fs::read_dir(format!("/proc/{}/task", app.runtime.pid)).unwrap().flatten();
    let children: Vec<i64> = threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .chain(children)
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i64>>())
        .collect();
    let services = children.into_iter().find(is_services).expect("the services' process");
    kill(services);
    let broken = || sb_local::find(&app.state_dir()).and_then(|runtime| runtime.broken);
    wait_until("the runtime to notice", || broken().is_some()).await;
    assert!(broken().unwrap().contains("the services have ended"), "{:?}", broken());
    let template = here("tests/integration/local/failures.yaml");
    let error = sb_local::up(spec(&template, &app.state_dir()), None, sb()).await.unwrap_err();
    assert!(matches!(error, LocalError::Broken { .. }), "{error}");
    sb_local::down(&app.state_dir()).await.unwrap();
    let again = sb_local::up(spec(&template, &app.state_dir()), None, sb()).await.unwrap();
    assert_eq!(again.broken, None);
    sb_local::down(&app.state_dir()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_message_begins_a_trace_that_is_linked_with_its_senders_and_shows_its_wait() {
    let app = App::of("tests/integration/local/sources.yaml").await;
    let body = json!({ "note": app.note() }).to_string();
    sqs(&app, "SendMessage", json!({ "QueueUrl": app.runtime.outputs["Jobs"], "MessageBody": body })).await;
    let lines = noted(&app, 1).await;
    assert_ne!(root(&lines[0]), ROOT);
    let header = lines[0]["record"]["attributes"]["AWSTraceHeader"].as_str().unwrap();
    assert!(header.contains(ROOT), "{header}");
    let sender = header.split("Parent=").nth(1).unwrap().split(';').next().unwrap();

    let segments = segments(&app, &root(&lines[0])).await;
    let link = json!([{ "trace_id": ROOT, "id": sender, "attributes": {} }]);
    let [queue] = of_origin(&segments, "AWS::SQS::Queue")[..] else { panic!("{segments:#?}") };
    assert_eq!((&queue["name"], &queue["links"]), (&json!("app-Jobs"), &link));
    assert_eq!(queue["subsegments"][0]["name"], "Dwell Time");
    let [lambda] = of_origin(&segments, "AWS::Lambda")[..] else { panic!("{segments:#?}") };
    assert_eq!((&lambda["parent_id"], &lambda["links"]), (&queue["id"], &link));
    assert!(queue["end_time"].as_f64() <= lambda["start_time"].as_f64());
    assert_eq!(of_origin(&segments, "AWS::Lambda::Function").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_batch_of_messages_comes_later_where_that_is_declared_and_its_trace_is_valid_alone() {
    let template = "tests/integration/local/sources.yaml";
    let delay = Duration::from_millis(700);
    let app = App::with(template, |options| options.dynamics.trigger = Some(Delay::Fixed(delay))).await;
    let body = json!({ "note": app.note() }).to_string();
    let url = &app.runtime.outputs["Jobs"];
    // All within the same millisecond.
    let entry = |id: &str| json!({ "Id": id, "MessageBody": body });
    let entries = json!([entry("a"), entry("b"), entry("c")]);
    sqs(&app, "SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
    let lines = noted(&app, 3).await;
    assert_eq!(lines[0]["batch"], 3);
    let trace = root(&lines[0]);
    let segments = segments(&app, &trace).await;
    let waits = of_origin(&segments, "AWS::SQS::Queue");
    assert_eq!(waits.len(), 3);
    let [lambda] = of_origin(&segments, "AWS::Lambda")[..] else { panic!("{segments:#?}") };
    let gap = lambda["start_time"].as_f64().unwrap() - waits[0]["end_time"].as_f64().unwrap();
    assert!(gap >= delay.as_secs_f64(), "{gap}");

    let out = app.note().with_file_name("traces.json");
    let summary = analyze_file(&out, &AnalyzeOptions::default()).unwrap();
    assert_eq!((summary.valid, summary.invalid), (1, 0), "{summary:?}");
    let rows = std::fs::File::open(out.with_file_name("trace_breakdown.csv")).unwrap();
    let [row] = &read_breakdown(rows).unwrap()[..] else { panic!() };
    assert!(row.longest_path_names.iter().any(|name| name == "app-TakeJobs"), "{row:?}");
    assert!(row.part(Activity::Trigger).is_some_and(|time| time >= 700_000), "{row:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn messages_are_lost_where_that_is_declared() {
    let template = "tests/integration/local/sources.yaml";
    let app = App::with(template, |options| options.dynamics.lost_message = 1.0).await;
    let body = json!({ "note": app.note() }).to_string();
    let url = &app.runtime.outputs["Jobs"];
    sqs(&app, "SendMessage", json!({ "QueueUrl": url, "MessageBody": body })).await;
    let log = app.state_dir().join("runtime.log");
    let told =
        || std::fs::read_to_string(&log).unwrap().contains("1 messages of `app-Jobs` were lost on purpose");
    wait_until("the loss to be told", told).await;
    // Longer than the queue's visibility timeout: it does not come back.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert!(!app.note().exists());
    let counts = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
    let counts = sqs(&app, "GetQueueAttributes", counts).await;
    for name in ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"] {
        assert!(counts.contains(&format!("{name}\\\": \\\"0\\\"")), "{counts}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn what_gets_the_messages_of_an_invocation_is_fetched_with_its_trace_and_analysed_as_one() {
    let app = App::of("tests/integration/local/sources.yaml").await;
    let send = |body: Value| {
        json!({ "service": "sqs", "method": "POST", "path": "/", "body": body,
                "headers": { "X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": "application/x-amz-json-1.0" } })
    };
    let message = json!({ "note": app.note() }).to_string();
    let event = send(json!({ "QueueUrl": app.runtime.outputs["Jobs"], "MessageBody": message }));
    // Somebody else's work at the same time is not of interest.
    for trace in [ROOT, "1-5759e988-bd862e3fe1be46a994272794"] {
        let header = format!("Root={trace};Sampled=1");
        let answer = app.invoke("app-Call", &event, &[("x-amzn-trace-id", &header)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    noted(&app, 2).await;

    let config = XrayConfig { endpoint: Some(app.runtime.xray_endpoint.clone()), ..XrayConfig::default() };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let wanted = [ROOT.to_owned()];
    let fetched = fetch_linked_traces(&config, &wanted, now - 60.0, Duration::from_secs(20), &out, &|_| {});
    let report = fetched.await.unwrap();
    assert_eq!((report.expected, report.linked, report.found), (2, 1, 2), "{report:?}");
    assert_eq!(report.shortfall(), None);

    let method = Method { join_linked: true, ..Method::default() };
    let summary = analyze_file(&out, &AnalyzeOptions { method, ..AnalyzeOptions::default() }).unwrap();
    assert_eq!((summary.valid, summary.invalid), (1, 0), "{summary:?}");
    let rows = std::fs::File::open(folder.path().join("trace_breakdown.csv")).unwrap();
    let [row] = &read_breakdown(rows).unwrap()[..] else { panic!() };
    assert_eq!(row.trace_id, ROOT);
    assert!(row.part(Activity::Queueing).is_some_and(|waited| waited > 0), "{row:?}");
    assert!(row.longest_path_names.iter().any(|name| name == "app-TakeJobs"), "{row:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_topic_reaches_functions_and_queues_and_carries_the_trace_on() {
    let app = App::of("tests/integration/local/sources.yaml").await;
    let message = json!({ "note": app.note() }).to_string().replace('"', "%22");
    let form = format!(
        "Action=Publish&Version=2010-03-31&TopicArn=arn:aws:sns:us-east-1:000000000000:app-News&Subject=all&Message={message}\
         &MessageAttributes.entry.1.Name=kind&MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=x"
    );
    let headers = json!({ "Content-Type": "application/x-www-form-urlencoded" });
    call(&app, "sns", "POST", "/", json!(form), headers).await;
    let lines = noted(&app, 2).await;
    let of = |name: &str| lines.iter().find(|line| line["function"] == name).unwrap();
    let news = of("app-TakeNews");
    assert_eq!(root(news), ROOT);
    let notification = &news["record"]["Sns"];
    assert_eq!((&notification["Subject"], &notification["Type"]), (&json!("all"), &json!("Notification")));
    assert_eq!(notification["MessageAttributes"], json!({ "kind": { "Type": "String", "Value": "x" } }));
    // Raw: the message itself, and its attributes as the queue's own.
    let inbox = of("app-TakeInbox");
    assert_ne!(root(inbox), ROOT);
    assert_eq!(inbox["record"]["messageAttributes"]["kind"]["stringValue"], "x");

    let segments = segments(&app, ROOT).await;
    let [topic] = of_origin(&segments, "AWS::SNS")[..] else { panic!("{segments:#?}") };
    let below = of_origin(&segments, "AWS::Lambda");
    assert!(below.iter().any(|lambda| lambda["parent_id"] == topic["id"]), "{segments:#?}");
    assert!(
        inbox["record"]["attributes"]["AWSTraceHeader"]
            .as_str()
            .unwrap()
            .contains(topic["subsegments"][0]["id"].as_str().unwrap())
    );
    // The other queue got the message in its envelope.
    let archived = sqs(&app, "ReceiveMessage", json!({ "QueueUrl": "app-Failed" })).await;
    assert!(archived.contains("UnsubscribeURL") && archived.contains("TopicArn"), "{archived}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_bucket_tells_of_objects_that_its_filter_lets_through() {
    let app = App::of("tests/integration/local/sources.yaml").await;
    let body = json!({ "note": app.note() });
    let headers = json!({ "Content-Type": "application/json" });
    for key in ["in/a%20b.json", "in/other.text", "out/a.json"] {
        call(&app, "s3", "PUT", &format!("/app-files/{key}"), body.clone(), headers.clone()).await;
    }
    let copy = json!({ "x-amz-copy-source": "/app-files/in/a%20b.json" });
    call(&app, "s3", "PUT", "/app-files/in/copy.json", json!(""), copy).await;
    let lines = noted(&app, 2).await;
    // Not a change that anybody waits for.
    call(&app, "s3", "DELETE", "/app-files/in/copy.json", json!(""), json!({})).await;
    assert_eq!(noted(&app, 2).await, lines);
    // The function writes it with a space.
    let size = body.to_string().len() as u64 + 1;
    let mut names = Vec::new();
    for line in &lines {
        let record = &line["record"];
        assert_eq!(record["s3"]["bucket"]["name"], "app-files");
        assert_eq!(record["s3"]["object"]["size"].as_u64(), Some(size), "{record}");
        assert_eq!(record["s3"]["object"]["eTag"].as_str().map(str::len), Some(32));
        let version = record["s3"]["object"]["versionId"].as_str().unwrap_or_default();
        assert!(!version.is_empty() && version != "null", "{record}");
        assert_eq!(root(line), ROOT);
        names.push((record["eventName"].clone(), record["s3"]["object"]["key"].clone()));
    }
    names.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(
        names,
        [
            (json!("ObjectCreated:Copy"), json!("in/copy.json")),
            (json!("ObjectCreated:Put"), json!("in/a+b.json"))
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn records_of_streams_come_in_order_and_are_given_up_after_their_attempts() {
    let app = App::of("tests/integration/local/sources.yaml").await;
    let json_call =
        |target: &str| json!({ "X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1" });
    let order = json!({ "note": app.note() }).to_string();
    for id in ["one", "two"] {
        let item =
            json!({ "TableName": "app-Items", "Item": { "id": { "S": id }, "order": { "S": order } } });
        call(&app, "dynamodb", "POST", "/", item, json_call("DynamoDB_20120810.PutItem")).await;
    }
    let lines = noted(&app, 2).await;
    let ids: Vec<_> =
        lines.iter().map(|line| line["record"]["dynamodb"]["Keys"]["id"]["S"].as_str().unwrap()).collect();
    assert_eq!(ids, ["one", "two"]);
    assert_eq!(lines[0]["record"]["eventName"], "INSERT");
    assert_eq!(
        lines[0]["record"]["eventSourceARN"],
        "arn:aws:dynamodb:us-east-1:000000000000:table/app-Items/stream/local"
    );
    assert_ne!(root(&lines[0]), ROOT);

    let order = |fail: bool| STANDARD.encode(json!({ "note": app.note(), "fail": fail }).to_string());
    let records = json!([
        { "Data": order(false), "PartitionKey": "a" },
        { "Data": order(true), "PartitionKey": "a" },
        { "Data": order(false), "PartitionKey": "a" },
    ]);
    let put = json!({ "StreamName": "app-Clicks", "Records": records });
    call(&app, "kinesis", "POST", "/", put, json_call("Kinesis_20131202.PutRecords")).await;
    // All three; from the one that failed on, twice more: what comes after it has to wait for it.
    let lines = noted(&app, 2 + 3 + 2 + 2).await.split_off(2);
    let numbers: Vec<u64> = lines
        .iter()
        .map(|line| line["record"]["kinesis"]["sequenceNumber"].as_str().unwrap().parse().unwrap())
        .collect();
    let first = numbers[0];
    assert_eq!(numbers.iter().map(|number| number - first).collect::<Vec<_>>(), [0, 1, 2, 1, 2, 1, 2]);
    assert!(lines[0]["record"]["eventID"].as_str().unwrap().starts_with("shardId-"));
    let log = std::fs::read_to_string(app.state_dir().join("runtime.log")).unwrap();
    assert!(
        log.contains("2 records of `arn:aws:kinesis:us-east-1:000000000000:stream/app-Clicks` were given up"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn filters_say_which_messages_and_records_reach_whom() {
    let app = App::of("tests/integration/local/filters.yaml").await;
    let order = |kind: &str, size: u32| json!({ "note": app.note(), "kind": kind, "size": size }).to_string();
    let kinds = ["a", "c", "bc"].map(|kind| json!({ "Id": kind, "MessageBody": order(kind, 1) }));
    let other = json!({ "Id": "x", "MessageBody": "no JSON" });
    let entries: Vec<_> = kinds.into_iter().chain([other]).collect();
    sqs(&app, "SendMessageBatch", json!({ "QueueUrl": "app-Jobs", "Entries": entries })).await;
    let publish = |kind: Option<&str>, size: u32| {
        let message = order("", size).replace('"', "%22");
        let attribute = kind.map_or_else(String::new, |kind| {
            format!(
                "&MessageAttributes.entry.1.Name=kind&MessageAttributes.entry.1.Value.DataType=String\
                 &MessageAttributes.entry.1.Value.StringValue={kind}"
            )
        });
        format!(
            "Action=Publish&Version=2010-03-31&TopicArn=arn:aws:sns:us-east-1:000000000000:app-News&Message={message}{attribute}"
        )
    };
    let headers = json!({ "Content-Type": "application/x-www-form-urlencoded" });
    for form in [publish(Some("loud"), 5), publish(Some("quiet"), 11), publish(None, 12)] {
        call(&app, "sns", "POST", "/", json!(form), headers.clone()).await;
    }
    let record =
        |kind: &str, key: &str| json!({ "Data": STANDARD.encode(order(kind, 1)), "PartitionKey": key });
    let records = json!([record("a", "p"), record("a", "q"), record("b", "p")]);
    let headers = json!({ "X-Amz-Target": "Kinesis_20131202.PutRecords", "Content-Type": "application/x-amz-json-1.1" });
    let put = json!({ "StreamName": "app-Clicks", "Records": records });
    call(&app, "kinesis", "POST", "/", put, headers).await;

    let lines = noted(&app, 4).await;
    let mut got: Vec<String> = lines
        .iter()
        .map(|line| {
            let record = &line["record"];
            let kind = |text: &str| serde_json::from_str::<Value>(text).unwrap()["kind"].to_string();
            match record["body"].as_str() {
                Some(body) => format!("queue {}", kind(body)),
                None if record["Sns"].is_object() => {
                    format!("topic {}", record["Sns"]["MessageAttributes"]["kind"]["Value"])
                }
                None => {
                    let data = STANDARD.decode(record["kinesis"]["data"].as_str().unwrap()).unwrap();
                    let key = record["kinesis"]["partitionKey"].as_str().unwrap();
                    format!("stream {} {key}", kind(std::str::from_utf8(&data).unwrap()))
                }
            }
        })
        .collect();
    got.sort();
    assert_eq!(got, [r#"queue "a""#, r#"queue "bc""#, r#"stream "a" p"#, r#"topic "loud""#]);
    // What no filter lets through does not wait in the queue.
    let attributes = json!({ "QueueUrl": "app-Jobs", "AttributeNames": ["All"] });
    // The answer is a text in the function's answer.
    let read = |answer: String| -> Value {
        serde_json::from_str(&serde_json::from_str::<String>(&answer).unwrap()).unwrap()
    };
    let left = read(sqs(&app, "GetQueueAttributes", attributes).await);
    for count in ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"] {
        assert_eq!(left["Attributes"][count], "0", "{left}");
    }
    let input = json!({ "QueueUrl": "app-Inbox", "MaxNumberOfMessages": 10 });
    let inbox = read(sqs(&app, "ReceiveMessage", input).await);
    let sizes = inbox["Messages"].as_array().unwrap().iter().map(|message| {
        serde_json::from_str::<Value>(message["Body"].as_str().unwrap()).unwrap()["size"].as_u64().unwrap()
    });
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [11, 12]);
}
