//! `sb new` for applications that are there, and `sb doctor`.

use crate::workspace::Workspace;

const ORDERS: &str = r#"AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters: {Stage: {Type: String}}
Resources:
  Orders:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.11
      CodeUri: src/
      Handler: app.handler
      Environment: {Variables: {STAGE: !Ref Stage}}
      Events:
        List: {Type: Api, Properties: {Path: /orders, Method: get}}
        Make: {Type: Api, Properties: {Path: /orders, Method: post}}
        One: {Type: Api, Properties: {Path: "/orders/{id}", Method: get}}
"#;

const ORDERS_CODE: &str = r#"import json

def handler(event, context):
    if event["httpMethod"] == "POST":
        return {"statusCode": 201, "body": json.loads(event["body"])["article"]}
    return {"statusCode": 200, "body": json.dumps(event["pathParameters"])}
"#;

/// A schedule and no route.
const TICK: &str = r#"AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Tick:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.11
      CodeUri: src/
      Handler: app.handler
      Events: {Daily: {Type: Schedule, Properties: {Schedule: rate(1 day)}}}
"#;

const WEB: &str = r#"AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Web:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: nodejs22.x
      CodeUri: src/
      Handler: app.handler
      Events: {Any: {Type: HttpApi, Properties: {Path: /any, Method: ANY}}}
"#;

#[test]
fn each_route_of_a_template_becomes_a_request_that_works() {
    let work = Workspace::new();
    work.write("orders/template.yaml", ORDERS);
    work.write("orders/src/app.py", ORDERS_CODE);
    let sample = r#"{"httpMethod": "POST", "path": "/orders", "body": "{\"article\": \"it's\"}"}"#;
    work.write("orders/events/make.json", sample);
    let made = work.sb_in("orders", &["new"]).expect(0);
    assert!(made.stderr.contains("3 requests") && made.stderr.contains("Stage"), "{}", made.stderr);
    // Editors find the schema by the first line.
    assert!(work.read("orders/benchmark.toml").starts_with("#:schema benchmark.schema.json\n"));
    assert_eq!(work.read("orders/benchmark.schema.json"), work.sb(&["schema", "benchmark"]).expect(0).stdout);
    work.sb_in("orders", &["fmt", "--check"]).expect(0);
    let checked = work.sb_in("orders", &["validate"]).expect(0);
    assert!(!checked.stderr.contains("warning"), "{}", checked.stderr);
    let tested = work.sb_in("orders", &["test", "--executor", "host"]).expect(0);
    assert_eq!(sent(&work, "orders"), ["get-orders", "get-orders-id", "post-orders"]);
    for request in ["get-orders", "post-orders", "get-orders-id"] {
        assert!(
            work.read("orders/benchmark.toml").contains(&format!("name = \"{request}\"")),
            "{}",
            tested.stdout
        );
    }
    let refused = work.sb_in("orders", &["new"]).expect(2);
    assert!(refused.stderr.contains("nothing is overwritten"), "{}", refused.stderr);
}

/// The names of the requests of the only load that was sent, in alphabetical order.
fn sent(work: &Workspace, folder: &str) -> Vec<String> {
    let logs = std::fs::read_dir(work.path().join(folder).join("logs")).unwrap();
    let logs: Vec<_> = logs.map(|item| item.unwrap().path().join("invocations.csv")).collect();
    let [only] = &logs[..] else { panic!("{logs:?}") };
    let mut rows = csv::Reader::from_path(only).unwrap();
    let column = rows.headers().unwrap().iter().position(|name| name == "request").unwrap();
    let mut names: Vec<_> = rows.records().map(|row| row.unwrap()[column].to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_test_sends_each_request_and_each_function_without_a_route_once() {
    let work = Workspace::new();
    let worker = "  Worker:\n    Type: AWS::Serverless::Function\n    Properties: {Runtime: python3.11, CodeUri: src/, \
                  Handler: app.work}\n";
    let jobs = "  Jobs: {Type: AWS::SQS::Queue}\n  Consumer:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
                Runtime: python3.11\n      CodeUri: src/\n      Handler: app.work\n      Events: {Job: {Type: SQS, \
                Properties: {Queue: !GetAtt Jobs.Arn}}}\n";
    work.write("orders/template.yaml", &format!("{ORDERS}{worker}{jobs}"));
    let made = work.sb_in("orders", &["new"]).expect(0);
    assert!(made.stderr.contains("4 requests"), "{}", made.stderr);
    assert!(made.stderr.contains("no request invokes Consumer directly"), "{}", made.stderr);
    work.write("orders/template.yaml", &format!("{ORDERS}{worker}"));
    work.write("orders/src/app.py", &format!("{ORDERS_CODE}\ndef work(event, context):\n    return 1\n"));
    work.write(
        "orders/events/make.json",
        r#"{"httpMethod": "POST", "path": "/orders", "body": "{\"article\": \"one\"}"}"#,
    );
    std::fs::remove_file(work.path().join("orders/benchmark.toml")).unwrap();
    work.sb_in("orders", &["new"]).expect(0);
    work.sb_in("orders", &["test", "--executor", "host"]).expect(0);
    assert_eq!(sent(&work, "orders"), ["Worker", "get-orders", "get-orders-id", "post-orders"]);
}

#[test]
fn functions_without_a_route_are_invoked_themselves() {
    let work = Workspace::new();
    work.write("tick/template.yaml", TICK);
    work.write("tick/src/app.py", "def handler(event, context):\n    return {\"got\": event[\"source\"]}\n");
    work.write("tick/events/daily.json", "{\"source\": \"aws.events\"}");
    let made = work.sb(&["new", "--from", "tick/template.yaml"]).expect(0);
    assert!(made.stderr.contains("no HTTP route"), "{}", made.stderr);
    work.sb_in("tick", &["test", "--executor", "host"]).expect(0);
}

#[test]
#[ignore = "needs: node"]
fn a_template_of_a_node_function_becomes_a_manifest_that_works() {
    let work = Workspace::new();
    work.write("web/template.yaml", WEB);
    work.write(
        "web/src/app.js",
        "exports.handler = async (event) => ({statusCode: 200, body: event.rawPath})\n",
    );
    work.sb(&["new", "--from", "web/template.yaml"]).expect(0);
    work.sb_in("web", &["test", "--executor", "host"]).expect(0);
}

#[test]
fn a_folder_without_a_template_and_one_that_cannot_be_used_say_what_to_do() {
    let work = Workspace::new();
    let none = work.sb(&["new"]).expect(2);
    assert!(none.stderr.contains("sb new --from") && none.stderr.contains("sb new shop"), "{}", none.stderr);
    work.write("template.yaml", "Resources:\n  Q: {Type: AWS::SQS::Queue}\n");
    assert!(work.sb(&["new"]).expect(1).stderr.contains("AWS::Serverless::Function"));
    work.write("template.yaml", "Resources: [");
    assert!(work.sb(&["new"]).expect(1).stderr.contains("cannot be used"));
    assert!(!work.path().join("benchmark.toml").exists());
}

/// Answers with what it got, and fails unless that is what the sample events hold.
const STRICT: &str = r#"import json

def handler(event, context):
    method, path, body = event["httpMethod"], event["path"], event["body"]
    if method == "POST":
        right = json.loads(body) == {"a": "{{x}}"} and event["headers"]["Content-Type"] == "application/vnd.it+json"
    else:
        right = path == "/orders/42" and event["queryStringParameters"] == {"q": "a b"}
    return {"statusCode": 200 if right else 500, "body": json.dumps([method, path, body])}
"#;

const PLAIN: &str = r#"Transform: AWS::Serverless-2016-10-31
Resources:
  Orders:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.11
      CodeUri: src/
      Handler: app.handler
      Events:
        Make: {Type: Api, Properties: {Path: /orders, Method: post}}
        One: {Type: Api, Properties: {Path: "/orders/{id}", Method: get}}
"#;

#[test]
fn requests_send_what_the_sample_events_hold() {
    let work = Workspace::new();
    work.write("orders/template.yaml", PLAIN);
    work.write("orders/src/app.py", STRICT);
    // {"a":"{{x}}"}
    let make = r#"{"resource": "/orders", "httpMethod": "POST", "path": "/orders", "body": "eyJhIjoie3t4fX0ifQ==",
        "isBase64Encoded": true, "headers": {"content-type": "application/vnd.it+json"}}"#;
    work.write("orders/events/make.json", make);
    work.write(
        "orders/events/one.json",
        r#"{"httpMethod": "GET", "path": "/orders/42", "queryStringParameters": {"q": "a b"}}"#,
    );
    let made = work.sb_in("orders", &["new"]).expect(0);
    assert!(made.stderr.contains("/orders/42?q=a%20b") && !made.stderr.contains("note:"), "{}", made.stderr);
    work.sb_in("orders", &["test", "--executor", "host"]).expect(0);
    // What is no text cannot be written into the manifest.
    std::fs::remove_file(work.path().join("orders/benchmark.toml")).unwrap();
    work.write("orders/events/make.json", &make.replace("eyJhIjoie3t4fX0ifQ==", "//79"));
    let made = work.sb_in("orders", &["new"]).expect(0);
    assert!(made.stderr.contains("`post-orders` has no body: that of events/make.json"), "{}", made.stderr);
    assert!(!work.read("orders/benchmark.toml").contains("body ="), "{}", work.read("orders/benchmark.toml"));
}

#[test]
fn a_manifest_that_would_have_errors_is_not_left_behind() {
    let work = Workspace::new();
    work.write("orders/template.yaml", PLAIN);
    work.write("orders/src/other.py", "");
    let refused = work.sb_in("orders", &["new"]).expect(3);
    assert!(
        refused.stderr.contains("app.py") && refused.stderr.contains("was not written"),
        "{}",
        refused.stderr
    );
    assert!(!work.path().join("orders/benchmark.toml").exists());
    assert!(!work.path().join("orders/benchmark.schema.json").exists());
}

#[test]
fn what_the_local_target_does_not_have_keeps_no_manifest_from_being_written() {
    let work = Workspace::new();
    work.write("orders/src/app.py", STRICT);
    for (part, named) in [
        ("      Layers: [arn:aws:lambda:us-east-1:1:layer:a:1]\n", "`Layers`"),
        ("      InlineCode: x\n", "`InlineCode`"),
        ("      LoggingConfig: {}\n      Layers: [a]\n", "`Layers`"),
    ] {
        let template =
            PLAIN.replace("      Runtime: python3.11\n", &format!("      Runtime: python3.11\n{part}"));
        work.write("orders/template.yaml", &template);
        let made = work.sb_in("orders", &["new"]).expect(0);
        let told = made.stderr.split("cannot deploy template.yaml yet:").nth(1).unwrap_or_default();
        assert!(told.contains(named) && !told.contains("LoggingConfig"), "{}", made.stderr);
        assert!(made.stderr.contains("2 requests"), "{}", made.stderr);
        // The local target refuses it until the template is changed.
        assert!(work.sb_in("orders", &["validate"]).expect(3).stderr.contains(named));
        work.write("orders/template.yaml", PLAIN);
        work.sb_in("orders", &["validate"]).expect(0);
        std::fs::remove_file(work.path().join("orders/benchmark.toml")).unwrap();
    }
    let image = PLAIN.replace(
        "      Runtime: python3.11\n      CodeUri: src/\n      Handler: app.handler\n",
        "      PackageType: Image\n",
    );
    work.write("orders/template.yaml", &image);
    let made = work.sb_in("orders", &["new"]).expect(0);
    assert!(
        made.stderr.contains("container image") && !made.stderr.contains("is missing"),
        "{}",
        made.stderr
    );
    // What CloudFormation would refuse, too, is an error, and warnings are no reason.
    work.write("bad/template.yaml", &PLAIN.replace("Handler: app.handler", "Architectures: [arm64]"));
    let refused = work.sb_in("bad", &["new"]).expect(1);
    assert!(refused.stderr.contains("`Handler` is missing"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("Architectures"), "{}", refused.stderr);
}

#[test]
fn only_a_regular_file_of_a_reasonable_size_is_a_template() {
    let work = Workspace::new();
    let pipe = work.path().join("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let refused = work.sb(&["new", "--from", "pipe.yaml"]).expect(1);
    assert!(refused.stderr.contains("not a regular file"), "{}", refused.stderr);
    std::fs::File::create(work.path().join("large.yaml")).unwrap().set_len((16 << 20) + 1).unwrap();
    let refused = work.sb(&["new", "--from", "large.yaml"]).expect(1);
    assert!(refused.stderr.contains("larger than 16 MiB"), "{}", refused.stderr);
}

#[test]
fn a_new_application_and_a_manifest_for_a_template_are_not_mixed() {
    let work = Workspace::new();
    work.write("template.yaml", PLAIN);
    let check = |arguments: &[&str], said: &str| {
        let refused = work.sb(&[&["new"], arguments].concat()).expect(2);
        let text = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
        assert!(text.contains(said), "{}", refused.stderr);
    };
    check(
        &["shop", "--from", "template.yaml"],
        "`sb new --from template.yaml`; for a new application: `sb new shop`",
    );
    check(
        &["--from", "template.yaml", "--target", "aws"],
        "leave `--target` out: `sb new --from template.yaml`",
    );
    check(&["--target", "aws"], "`sb new shop --target aws`");
    let help = work.sb(&["new", "--help"]).expect(0).stdout;
    assert!(
        help.contains("sb new NAME [--target TARGETS]") && help.contains("sb new [--from TEMPLATE]"),
        "{help}"
    );
}

#[test]
fn the_doctor_names_what_manifests_need_and_this_machine_does_not_have() {
    let work = Workspace::new();
    work.sb(&["doctor"]).expect(0);
    work.write(
        "benchmark.toml",
        "[benchmark]\nname = \"it\"\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"it\"\nrun = \"true\"\n\
         [[cleanup]]\nname = \"it\"\nrun = \"true\"\n",
    );
    let doctor = |more: &[&str]| {
        let mut command = work.command(&[&["doctor", "--format", "json"], more].concat());
        let output = command.env("DOCKER_HOST", "unix:///nonexistent.sock").output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), told)
    };
    let (code, told) = doctor(&[]);
    assert_eq!((code, &told["missing"]), (1, &1.into()), "{told}");
    assert_eq!(told["tools"][0]["needed_by"][0], "it@local");
    assert!(told["tools"][0]["install"].as_str().is_some_and(|way| !way.is_empty()), "{told}");
    // A target that no manifest has needs nothing, which says nothing.
    let wrong = work.sb(&["doctor", "--target", "locl"]).expect(2);
    assert!(wrong.stderr.contains("did you mean `local`?"), "{}", wrong.stderr);
    // What it found is told to its end, wherever it has looked for an engine.
    let mut command = work.command(&["doctor", "--format", "json"]);
    let told = command.env_remove("DOCKER_HOST").env("HOME", work.path()).output().unwrap().stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let engine = told["tools"][0].to_string();
    assert_eq!(engine.matches('(').count(), engine.matches(')').count(), "{engine}");
    // On this machine no engine is needed.
    let (code, told) = doctor(&["--executor", "host"]);
    assert_eq!((code, &told["missing"]), (0, &0.into()), "{told}");
    assert!(!work.path().join(".sb").exists());
}

#[test]
fn a_long_load_says_how_long_it_takes_before_it_begins_and_while_it_runs() {
    let work = Workspace::new();
    work.write("orders/template.yaml", TICK);
    work.write("orders/src/app.py", "def handler(event, context):\n    return {}\n");
    work.sb(&["new", "--from", "orders/template.yaml"]).expect(0);
    let manifest = "orders/benchmark.toml";
    work.sb(&["prepare", "--file", manifest, "--executor", "host"]).expect(0);
    let mut running =
        work.start(&["invoke", "fluctuating", "--rate", "1", "--file", manifest, "--executor", "host"]);
    assert!(work.appears("runner.log", "predicted to take about 17 min"), "{}", work.read("runner.log"));
    assert!(work.appears("runner.log", "started"), "{}", work.read("runner.log"));
    let run = work.sb(&["runs", "--limit", "1", "--format", "json"]).expect(0);
    let run: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let id = run["runs"][0]["id"].as_str().unwrap();
    let status = work.sb(&["status", id]).expect(0);
    assert!(status.stdout.contains("about 17 min left"), "{}", status.stdout);
    let process = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    running.wait().unwrap();
    work.sb(&["cleanup", "--file", manifest, "--executor", "host"]).expect(0);
}
