use super::*;
use crate::manifest::problem::Problem;
use crate::manifest::read::Snapshot;
use crate::plan::Overrides;
use crate::validate;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MANIFEST: &str = r#"
[benchmark]
name = "shop"
[params]
memory_size = 512
host = "localhost"
api_key = { env = "API_KEY", secret = true }
[targets.local]
traces = "xray"
[targets.local.usage]
lambda_requests = 1
[[deploy]]
name = "stack"
run = "make deploy SIZE={{params.memory_size}}"
env = { KEY = "{{params.api_key}}" }
[[cleanup]]
name = "stack"
run = "make delete"
[workload]
requests = [{ name = "read", url = "http://{{params.host}}:8080/" }]
"#;

const TEMPLATE: &str = "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
                        Handler: handler.main\n      Runtime: python3.12\n      CodeUri: src/\n";

/// What the examples name.
fn around(path: &str, text: &str) -> Snapshot {
    let no_traces = MANIFEST.replace("traces = \"xray\"", "traces = \"none\"");
    let aws = no_traces.replace("[targets.local.usage]\nlambda_requests = 1", "").replace("local", "aws");
    let aws = aws.replace("awshost", "localhost");
    let api = format!(
        "{TEMPLATE}      Events: {{Get: {{Type: Api, Properties: {{Path: /hello, Method: get}}}}}}\n"
    );
    let dear = MANIFEST.replace("lambda_requests = 1", "lambda_requests = 100e6");
    let no_workload = MANIFEST.split("[workload]").next().unwrap().replace("host = \"localhost\"\n", "");
    let no_load = format!("{no_workload}[[invoke]]\nname = \"measure\"\nrun = \"make measure\"\n");
    Snapshot::new([
        ("/repo/.git/HEAD", ""),
        ("/repo/benchmark.toml", MANIFEST),
        ("/repo/no-traces.toml", no_traces.as_str()),
        ("/repo/aws.toml", aws.as_str()),
        ("/repo/no-load.toml", no_load.as_str()),
        ("/repo/dear.toml", dear.as_str()),
        ("/repo/template.yaml", TEMPLATE),
        ("/repo/no-handler.yaml", TEMPLATE.replace("src/", "images/").as_str()),
        ("/repo/api.yaml", api.as_str()),
        ("/repo/src/handler.py", ""),
        ("/repo/deploy.sh", ""),
        ("/repo/deploy.Dockerfile", "FROM alpine"),
        ("/repo/images/cat.jpg", "cat"),
        ("/repo/ca.pem", ""),
        ("/repo/workload.js", "export default function () {}"),
        ("/repo/browse.js", "export function browse() {}"),
        ("/repo/trace.csv", "InvocationsPerMinute\n600\n"),
        ("/repo/columns.csv", "Minute\n600\n"),
        (path, text),
    ])
}

/// An example as a whole file, and what is wrong with it.
fn problems(about: About, example: &str) -> Vec<Problem> {
    let has = |table: &str| example.lines().any(|line| line.starts_with(table));
    let mut text = format!("{example}\n");
    if about == About::Plan {
        if !has("[plan]") {
            text += "[plan]\nname = \"sizes\"\n";
        }
        if !has("[[applications]]") && !has("applications") {
            text += "[[applications]]\nmanifest = \"../benchmark.toml\"\n";
        }
        let path = "/repo/plans/sizes.toml";
        return validate::plan(&around(path, &text), Path::new(path), &Overrides::default()).problems;
    }
    if !has("[benchmark]") {
        text += "[benchmark]\nname = \"shop\"\n";
    }
    if !has("[targets") {
        text += "[targets.local]\n";
    }
    let path = "/repo/shop.benchmark.toml";
    validate::benchmark(&around(path, &text), Path::new(path)).problems
}

#[test]
fn wrong_examples_break_their_rule_and_right_ones_none() {
    let mut faults = Vec::new();
    for rule in rules().filter(|rule| rule.about != About::Other) {
        let codes = |example| -> Vec<&str> {
            problems(rule.about, example).iter().map(|problem| problem.code).collect()
        };
        let (wrong, right) = (codes(rule.wrong), codes(rule.right));
        if wrong != [rule.code] || !right.is_empty() {
            faults.push(format!("{}: wrong gives {wrong:?}, right gives {right:?}", rule.code));
        }
        let severity = problems(rule.about, rule.wrong).first().map(|problem| problem.severity);
        if severity.is_some_and(|severity| !rule.severities().any(|stated| stated == severity)) {
            faults.push(format!("{} is {severity:?}", rule.code));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn codes_are_unique_words_and_every_rule_has_a_reason() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        assert!(seen.insert(rule.code), "{} twice", rule.code);
        assert!(
            rule.code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            rule.code
        );
        assert!(rule.why.ends_with('.'), "{}", rule.code);
        for sentence in rule.why.split(". ") {
            assert!(sentence.split_whitespace().count() <= 25, "{}: {sentence}", rule.code);
        }
        assert_eq!(rule.wrong.is_empty(), rule.about == About::Other, "{}", rule.code);
    }
}

#[test]
fn the_document_is_fresh() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
    if std::env::var_os("SB_UPDATE_RULES").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == document(), "docs/rules.md is stale: `just rules` writes it anew");
}
