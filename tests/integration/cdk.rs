//! An application of the AWS CDK, synthesized by the real program and deployed to moto.

use std::process::Command;

use serde_json::Value;

use crate::cloudformation_server::{Manners, Server};
use crate::moto::Moto;
use crate::workspace::{Ran, Workspace};

const MANIFEST: &str = r#"
[benchmark]
name = "shop"
[params]
memory = 512
[targets.aws]
credentials = ["aws"]
[[deploy]]
name = "stack"
cdk = { dir = "infra", app = "node app.js", context = { memory = "{{params.memory}}" } }
outputs.endpoint = { json = "/Endpoint", default = "none" }
[[deploy]]
name = "look"
run = "echo {{outputs.endpoint}} > seen"
"#;

const APP: &str = r"
const cdk = require('aws-cdk-lib');
const lambda = require('aws-cdk-lib/aws-lambda');
const s3 = require('aws-cdk-lib/aws-s3');
const app = new cdk.App();
const stack = new cdk.Stack(app, 'Shop');
new s3.Bucket(stack, 'Files');
const code = new lambda.Function(stack, 'Code', {
    runtime: lambda.Runtime.PYTHON_3_12,
    handler: 'app.handler',
    code: lambda.Code.fromAsset(__dirname + '/src'),
    memorySize: Number(app.node.getContext('memory')),
});
new cdk.CfnOutput(stack, 'Endpoint', { value: code.functionName });
";

/// By the service that a signature names, moto knows whose a path is.
fn curl(service: &str, url: &str) -> String {
    let signed =
        format!("Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request");
    let answer = Command::new("curl").args(["-s", "-H", &signed, url]).output().unwrap();
    String::from_utf8(answer.stdout).unwrap()
}

struct Desk(Workspace);

impl Desk {
    fn new() -> Self {
        let work = Workspace::new();
        work.write("benchmark.toml", MANIFEST);
        work.write("infra/app.js", APP);
        work.write("infra/src/app.py", "def handler(event, context):\n    return {}\n");
        Self(work)
    }

    #[track_caller]
    fn sb(&self, endpoint: &str, arguments: &[&str]) -> Ran {
        let global = Command::new("npm").args(["root", "--global"]).output().unwrap();
        let global = String::from_utf8(global.stdout).unwrap().trim().to_owned();
        let mut command = self.0.command(arguments);
        command
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "y")
            .env("AWS_REGION", "us-east-1")
            .env("SB_EXECUTOR", "host")
            .env("SB_PREFLIGHT", "off")
            .env("NODE_PATH", std::env::var("NODE_PATH").unwrap_or(global));
        Ran::of(command.output().unwrap())
    }
}

#[test]
#[ignore = "needs: aws-cdk, moto"]
fn a_cdk_application_is_synthesized_deployed_and_removed() {
    let desk = Desk::new();
    let moto = Moto::start(&desk.0);
    let prepared = desk.sb(&moto.endpoint, &["prepare"]).expect(0);
    assert!(prepared.stderr.contains("deploy/stack (cdk)"), "{}", prepared.stderr);
    let names: Value = serde_json::from_str(&desk.0.read(".sb/stacks/shop@aws/stack.json")).unwrap();
    let code = names["bucket"].as_str().unwrap();
    let listed = curl("s3", &format!("{}/{code}?list-type=2", moto.endpoint));
    assert!(listed.contains(".zip</Key>"), "{listed}");
    let functions = curl("lambda", &format!("{}/2015-03-31/functions/", moto.endpoint));
    let functions: Value = serde_json::from_str(&functions).unwrap();
    let [function] = functions["Functions"].as_array().unwrap().as_slice() else { panic!("{functions:#}") };
    assert_eq!(function["MemorySize"], 512, "{function:#}");
    // What was synthesized is uploaded, and not kept.
    assert!(!desk.0.files().iter().any(|path| path.ends_with("manifest.json")));
    desk.sb(&moto.endpoint, &["cleanup"]).expect(0);
    let left = curl("s3", &format!("{}/", moto.endpoint));
    assert!(left.contains("ListAllMyBucketsResult") && !left.contains("<Name>"), "{left}");
    desk.sb(&moto.endpoint, &["leaks"]).expect(0);

    // An application that cannot be synthesized has made nothing, and its words are told.
    desk.0.write("infra/app.js", "throw new Error('no such shop');\n");
    let failed = desk.sb(&moto.endpoint, &["prepare"]);
    assert_ne!(failed.code, 0);
    let said = failed.stderr.replace('\n', " ");
    assert!(said.contains("the CDK's synthesis failed: Error: no such shop"), "{}", failed.stderr);
    assert!(!desk.0.path().join(".sb/stacks/shop@aws/stack.json").exists());
    desk.sb(&moto.endpoint, &["cleanup"]).expect(0);
}

/// Moto leaves a stack that a change set has made without outputs.
#[test]
#[ignore = "needs: aws-cdk"]
fn the_outputs_of_a_stack_are_those_of_the_step() {
    let desk = Desk::new();
    // Without code, nothing is uploaded: this server has no buckets.
    let plain: String =
        APP.lines().filter(|line| !line.contains("s3")).map(|line| format!("{line}\n")).collect();
    let (before, rest) = plain.split_once("const code").unwrap();
    let (_, after) = rest.split_once("});\n").unwrap();
    let topic = "const code = new cdk.CfnResource(stack, 'News', { type: 'AWS::SNS::Topic' });\n";
    desk.0.write("infra/app.js", &format!("{before}{topic}{after}").replace("code.functionName", "code.ref"));
    let server = Server::start(Manners::default());
    desk.sb(&server.endpoint, &["prepare"]).expect(0);
    assert_eq!(desk.0.read("seen"), "https://x.execute-api.us-east-1.amazonaws.com/v1/\n");
    desk.sb(&server.endpoint, &["cleanup"]).expect(0);
    assert_eq!((server.begun("create"), server.begun("delete"), server.left()), (1, 1, vec![]));
}
