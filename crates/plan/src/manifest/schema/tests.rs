use super::generate::generated;
use super::*;
use crate::manifest::problem::Report;
use crate::manifest::tree::{self, Kind, Node};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn stored_schemas_are_fresh() {
    for kind in SchemaKind::ALL {
        let path = repository().join(format!("schemas/{}.schema.json", kind.name()));
        if std::env::var_os("SB_UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, generated(kind)).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == generated(kind),
            "{} is stale: run the tests with SB_UPDATE_SCHEMAS=1",
            path.display()
        );
    }
}

fn to_json(node: &Node) -> Value {
    match &node.value {
        Kind::Table(entries) => {
            entries.iter().map(|(key, value)| (key.value.clone(), to_json(value))).collect()
        }
        Kind::Array(items) => items.iter().map(to_json).collect(),
        Kind::String(text) => json!(text),
        Kind::Integer(integer) => json!(integer),
        Kind::Float(float) => json!(float),
        Kind::Boolean(boolean) => json!(boolean),
        Kind::Null => Value::Null,
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Value {
    let (node, report): (_, Report) = tree::parse(path, bytes);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    to_json(&node.unwrap())
}

fn validator(kind: SchemaKind) -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(&generated(kind)).unwrap()).unwrap()
}

fn files_below(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, name, found);
        } else if path.file_name().is_some_and(|file| file.to_string_lossy().ends_with(name)) {
            found.push(path);
        }
    }
}

#[test]
fn shipped_manifests_fit_the_schemas() {
    for (folder, name, kind) in [
        ("examples", "benchmark.toml", SchemaKind::Benchmark),
        ("applications", "benchmark.toml", SchemaKind::Benchmark),
        ("plans", ".toml", SchemaKind::Plan),
    ] {
        let mut found = Vec::new();
        files_below(&repository().join(folder), name, &mut found);
        assert!(!found.is_empty() || folder == "applications", "nothing in {folder}");
        for path in found {
            let json = parse(&path, &std::fs::read(&path).unwrap());
            let errors: Vec<String> =
                validator(kind).iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        }
    }
}

#[track_caller]
fn check(kind: SchemaKind, toml: &str, fits: bool) {
    let json = parse(Path::new("x.toml"), toml.as_bytes());
    let errors: Vec<String> = validator(kind).iter_errors(&json).map(|error| error.to_string()).collect();
    assert_eq!(errors.is_empty(), fits, "{toml}: {errors:?}");
}

#[test]
fn unknown_keys_and_wrong_types_do_not_fit() {
    let benchmark = "targets.local = {}\nbenchmark.name = 'x'\n";
    check(SchemaKind::Benchmark, benchmark, true);
    check(SchemaKind::Benchmark, &format!("{benchmark}benchmark.title = 'x'"), false);
    check(SchemaKind::Benchmark, &format!("{benchmark}deploy = [{{ name = 'a', wiat = '1s' }}]"), false);
    check(SchemaKind::Benchmark, &format!("{benchmark}deploy = [{{ name = 'a', wait = '1s' }}]"), true);
    check(SchemaKind::Benchmark, &format!("{benchmark}deploy = [{{ name = 'a', wait = 1 }}]"), false);
    check(SchemaKind::Benchmark, "targets.local = { traces = 'jaeger' }\nbenchmark.name = 'x'", false);
    let plan = "plan.name = 'x'\napplications = [{ manifest = 'b.toml' }]\n";
    check(SchemaKind::Plan, plan, true);
    check(
        SchemaKind::Plan,
        &format!("{plan}load = {{ constant = '{{{{vars.r}}}}', duration = '1s' }}"),
        true,
    );
    check(SchemaKind::Plan, &format!("{plan}load = {{ constant = 'fast', duration = '1s' }}"), false);
    check(SchemaKind::Plan, &format!("{plan}load = {{ pattern = 'jump' }}"), true);
    check(SchemaKind::Plan, &format!("{plan}load = 'burst'"), true);
    check(SchemaKind::Plan, &format!("{plan}matrix.rate = [1, 2]\nmatrix.exclude = [{{ rate = 1 }}]"), true);
    check(SchemaKind::Plan, &format!("{plan}matrix.target = ['a']"), false);
    check(SchemaKind::Plan, &format!("{plan}budget.cost_usd = 1"), true);
    check(SchemaKind::Plan, &format!("{plan}budget.cost = 1"), false);
    check(SchemaKind::Workload, "requests = [{ name = 'a', url = 'http://x' }]", true);
    check(SchemaKind::Workload, "engine = 'k7'\nrequests = []", false);
    check(SchemaKind::Workload, "engine = 'k6'\nscript = 'a.js'\noptions = { batch = 3 }", true);
    check(SchemaKind::Workload, "script = 'a.js'\noptions = 'o.json'\nload_generators = ['ssh://a']", true);
    check(SchemaKind::Workload, "script = 3", false);
}

#[test]
fn every_key_is_described() {
    fn walk(value: &Value, path: &str, missing: &mut Vec<String>) {
        let Value::Object(object) = value else { return };
        if let Some(Value::Object(properties)) = object.get("properties") {
            for (name, property) in properties {
                if property.is_object() && property.get("description").is_none() {
                    missing.push(format!("{path}.{name}"));
                }
            }
        }
        for (key, value) in object {
            walk(value, &format!("{path}.{key}"), missing);
        }
    }
    let mut missing = Vec::new();
    for kind in SchemaKind::ALL {
        walk(&serde_json::from_str(&generated(kind)).unwrap(), kind.name(), &mut missing);
    }
    assert!(missing.is_empty(), "{missing:?}");
}
