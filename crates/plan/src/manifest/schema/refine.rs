//! What the declarations do not say: patterns, ranges, words, and which keys exclude each other. So an editor marks a
//! mistake and nothing else. The parts of a union differ by the type of the value or by its keys. None is tried after
//! the other.

use serde_json::{Map, Value, json};

use super::SchemaKind;
use crate::benchmark::CREDENTIALS;
use crate::plan::Prices;
use sb_workload::http::METHODS;

const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$";
const LOCK: &str = "^[A-Za-z0-9_][A-Za-z0-9_-]*(/[A-Za-z0-9_][A-Za-z0-9_-]*)*$";
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const URL: &str = r"^(https?://[^/\s]|\{\{)";
const POINTER: &str = "^(/|$)";
const PATH: &str = r"^([^{]|\{[^{])+$";
const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
/// Something above zero, or a value that is filled in.
const ABOVE_ZERO: &str = r"[1-9]|\{\{";

/// A schema as it is stored.
pub(super) fn refined(kind: SchemaKind, schema: Value) -> Value {
    let mut schema = schema;
    for (place, more) in additions() {
        add(&mut schema, place, &more);
    }
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    let mut schema = without_unions(schema, &definitions);
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        definitions.retain(|name, _| !is_union(name));
    }
    schema["$id"] = format!("urn:sb:schema:{}", kind.name()).into();
    schema
}

/// Whether a definition is a union, which stands in the place of each reference to it.
fn is_union(name: &str) -> bool {
    [
        "ParamFile",
        "ImageFile",
        "TracesFile",
        "DelayFile",
        "RunFile",
        "WorkloadOrPath",
        "LoadOrName",
        "OptionsFile",
        "StatusFile",
        "ThinkTimeFile",
    ]
    .contains(&name)
}

/// Puts the keywords of a union's parts beside each other: each concerns values of one type. Words become an enumeration.
fn without_unions(value: Value, definitions: &Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| without_unions(item, definitions)).collect(),
        Value::Object(mut object) => {
            let name =
                object.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
            if let Some(Value::Object(union)) =
                name.filter(|name| is_union(name)).and_then(|name| definitions.get(name))
            {
                object.remove("$ref");
                for (key, value) in union {
                    object.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            let object = object.into_iter().map(|(key, value)| (key, without_unions(value, definitions)));
            let mut object: Map<String, Value> = object.collect();
            if let Some(words) = words(&object) {
                object.remove("oneOf");
                object.insert("type".to_owned(), "string".into());
                object.insert("enum".to_owned(), words.into());
            }
            if let Some(Value::Array(parts)) = object.remove("anyOf") {
                merge(&mut object, parts, definitions);
            }
            names_as_patterns(&mut object);
            // Beside a reference, older validators read nothing.
            if object.keys().any(|key| !["$ref", "description"].contains(&key.as_str()))
                && let Some(reference) = object.remove("$ref")
            {
                let all = object.entry("allOf").or_insert_with(|| json!([]));
                all.as_array_mut().into_iter().for_each(|all| all.insert(0, json!({ "$ref": reference })));
            }
            Value::Object(object)
        }
        other => other,
    }
}

/// A key that must not be there is wrong where it stands: tools mark the whole table for `additionalProperties: false` and for
/// `propertyNames`.
fn names_as_patterns(object: &mut Map<String, Value>) {
    let refused = json!({ "not": {}, "errorMessage": "This key is not known here." });
    if object.get("additionalProperties") == Some(&Value::Bool(false)) {
        object.insert("additionalProperties".to_owned(), refused.clone());
    }
    let Some(names) = object.remove("propertyNames") else { return };
    let values = object.insert("additionalProperties".to_owned(), refused).unwrap_or_else(|| json!({}));
    if let Some(pattern) = names["pattern"].as_str() {
        object.insert("patternProperties".to_owned(), json!({ pattern: values }));
    }
}

/// The words of a closed set, which have a description each.
fn words(object: &Map<String, Value>) -> Option<Vec<Value>> {
    object.get("oneOf")?.as_array()?.iter().map(|one| one.get("const").cloned()).collect()
}

fn merge(union: &mut Map<String, Value>, parts: Vec<Value>, definitions: &Value) {
    let mut types: Vec<Value> = Vec::new();
    let mut patterns: Vec<String> = Vec::new();
    let mut any_string = false;
    for part in parts {
        let part = resolved(part, definitions);
        let Value::Object(part) = without_unions(part, definitions) else { continue };
        let of_part = match part.get("type") {
            Some(Value::Array(types)) => types.clone(),
            Some(one) => vec![one.clone()],
            None => vec![],
        };
        if of_part.contains(&"string".into()) {
            let words = part.get("enum").and_then(Value::as_array).map(|words| {
                let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
                format!("^({})$", words.join("|"))
            });
            let pattern = part.get("pattern").and_then(Value::as_str).map(str::to_owned).or(words);
            any_string |= pattern.is_none();
            patterns.extend(pattern);
        }
        types.extend(of_part.into_iter().filter(|name| !types.contains(name)).collect::<Vec<_>>());
        for (key, value) in part {
            if !["type", "pattern", "enum", "description"].contains(&key.as_str())
                && !union.contains_key(&key)
            {
                union.insert(key, value);
            }
        }
    }
    if !any_string && !patterns.is_empty() {
        union.insert("pattern".to_owned(), patterns.join("|").into());
    }
    union.insert("type".to_owned(), types.into());
}

fn resolved(part: Value, definitions: &Value) -> Value {
    let name = part.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    name.and_then(|name| definitions.get(name)).cloned().unwrap_or(part)
}

/// Adds keywords to a definition, or to a key of it. `*` stands for the root.
fn add(schema: &mut Value, place: &str, more: &Value) {
    let (table, key) = place.split_once('.').unwrap_or((place, ""));
    let table = if table == "*" { String::new() } else { format!("/$defs/{table}") };
    let key = if key.is_empty() { String::new() } else { format!("/properties/{key}") };
    // Not every schema has all of them.
    let Some(Value::Object(target)) = schema.pointer_mut(&format!("{table}{key}")) else { return };
    for (keyword, value) in more.as_object().into_iter().flatten() {
        match (target.get_mut(keyword), value) {
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new.clone()),
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new.clone()),
            _ => drop(target.insert(keyword.clone(), value.clone())),
        }
    }
}

/// Where a key is given, these have no place beside it.
fn excludes(key: &str, others: &[&str]) -> Value {
    let others: Map<String, Value> = others
        .iter()
        .filter(|other| **other != key)
        .map(|other| ((*other).to_owned(), false.into()))
        .collect();
    json!({ "if": { "required": [key] }, "then": { "properties": others } })
}

/// One of these keys at most. They are told apart by the first that is given, so that the second is marked.
fn one_of(keys: &[&str]) -> Value {
    let rules: Vec<Value> = keys
        .iter()
        .enumerate()
        .take(keys.len() - 1)
        .map(|(index, key)| excludes(key, &keys[index + 1..]))
        .collect();
    json!({ "allOf": rules })
}

fn range(least: f64, most: f64) -> Value {
    let number = |number: f64| if number.fract() == 0.0 { json!(number as i64) } else { json!(number) };
    json!({ "minimum": number(least), "maximum": number(most) })
}

fn above_zero(most: f64) -> Value {
    json!({ "exclusiveMinimum": 0, "maximum": most as i64 })
}

fn pattern(text: &str) -> Value {
    json!({ "pattern": text })
}

fn keys(text: &str) -> Value {
    json!({ "propertyNames": { "pattern": text } })
}

fn items(of: &Value) -> Value {
    json!({ "items": of })
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn additions() -> Vec<(&'static str, Value)> {
    let prices = Prices::built_in();
    let prices: Vec<&str> = prices.names().collect();
    let usage = json!({ "propertyNames": { "pattern": format!("^({})$", prices.join("|")) }, "additionalProperties": { "type": "number", "minimum": 0 } });
    let positive = json!({ "allOf": [{ "pattern": ABOVE_ZERO }] });
    let credentials = items(&json!({ "type": "string", "enum": CREDENTIALS }));
    let generators = json!({ "minItems": 1, "uniqueItems": true, "items": { "type": "string", "pattern": "^(unix|ssh|tcp)://." } });
    let steps = |without: Value| items(&json!({ "allOf": [{ "properties": without }] }));
    let no_template = json!({ "properties": { "template": false, "parameters": false, "services": false } });
    let no_dir = json!({ "properties": { "dir": false } });
    let not_true = json!({ "const": false });
    let is_background =
        json!({ "properties": { "background": { "const": true } }, "required": ["background"] });
    let lacks = |key: &str| json!({ "not": { "required": [key] } });
    let no_down = json!({ "properties": { "down": false } });
    let command = ["image", "shell", "workdir", "env", "credentials"];
    let without_command = |action: &str| {
        let mut rule = excludes(action, &command);
        rule["if"]["not"] = json!({ "required": ["run"] });
        rule
    };
    vec![
        (
            "*.targets",
            json!({ "minProperties": 1, "maxProperties": 50, "propertyNames": { "pattern": NAME } }),
        ),
        ("*.params", keys(NAME)),
        ("*.images", keys(NAME)),
        ("*.labels", keys(NAME)),
        (
            "*.locks",
            json!({ "propertyNames": { "pattern": LOCK }, "additionalProperties": { "minimum": 1, "maximum": 10_000 } }),
        ),
        ("*.applications", json!({ "minItems": 1 })),
        (
            "*.deploy",
            steps(
                json!({ "load": false, "local": no_down, "sam": no_down, "bicep": no_down, "cdk": no_down, "terraform": no_down }),
            ),
        ),
        (
            "*.invoke",
            steps(
                json!({ "local": false, "sam": false, "bicep": false, "cdk": false, "terraform": false, "background": not_true, "ready": false }),
            ),
        ),
        (
            "*.cleanup",
            steps(
                json!({ "load": false, "local": no_template, "sam": no_template, "bicep": no_template, "cdk": no_dir, "terraform": no_dir, "background": not_true, "ready": false }),
            ),
        ),
        ("*.requests", json!({ "minItems": 1 })),
        ("HeaderFile.name", pattern(NAME)),
        ("HeaderFile.root", pattern(PATH)),
        ("BuildFile.dockerfile", pattern(PATH)),
        ("BuildFile.context", pattern(PATH)),
        ("ParamSourceFile", one_of(&["env", "random_hex"])),
        ("ParamSourceFile.env", pattern("^.")),
        ("ParamSourceFile.random_hex", range(1.0, 64.0)),
        ("ParamSourceFile", json!({ "allOf": [excludes("random_hex", &["default"])] })),
        ("TargetFile.credentials", credentials.clone()),
        ("TargetFile.usage", usage.clone()),
        ("TargetFile.usage_per_deployment", usage),
        ("TargetFile.concurrency", range(1.0, 10_000.0)),
        ("TargetFile.keep_alive", positive.clone()),
        ("TargetFile.seed", json!({ "minimum": 0 })),
        ("TracesSourceFile", one_of(&["app_insights", "google", "otlp"])),
        (
            "TracesSourceFile",
            json!({ "allOf": [excludes("otlp", &["api_key", "token", "endpoint"]), excludes("google", &["api_key"]), excludes("api_key", &["token"])] }),
        ),
        ("FaultsFile.function_error", range(0.0, 1.0)),
        ("FaultsFile.throttle", range(0.0, 1.0)),
        ("FaultsFile.lost_message", range(0.0, 1.0)),
        ("FaultsFile.slow_service", range(0.0, 1.0)),
        ("FaultsFile.deploy", range(0.0, 1000.0)),
        ("FaultsFile.cleanup", range(0.0, 1000.0)),
        ("DistributionFile.median", positive.clone()),
        ("DistributionFile.p99", positive.clone()),
        ("StepFile.name", pattern(NAME)),
        ("StepFile.load", json!({ "const": true })),
        ("StepFile.shell", json!({ "minItems": 1 })),
        ("StepFile.env", keys(VARIABLE)),
        ("StepFile.credentials", credentials.clone()),
        ("StepFile.timeout", positive.clone()),
        ("StepFile.outputs", keys(NAME)),
        ("StepFile.locks", items(&json!({ "type": "string", "pattern": LOCK }))),
        (
            "StepFile",
            one_of(&["run", "wait", "wait_for", "load", "local", "sam", "bicep", "cdk", "terraform"]),
        ),
        (
            "StepFile",
            json!({ "allOf": [without_command("wait"), without_command("wait_for"), without_command("load"), without_command("local"), without_command("sam"), excludes("bicep", &["shell", "workdir", "outputs"]), excludes("cdk", &["shell", "workdir"]), excludes("terraform", &["shell", "workdir", "outputs"])] }),
        ),
        (
            "StepFile",
            json!({ "allOf": [
                { "if": is_background, "then": { "properties": { "timeout": false, "wait": false, "wait_for": false, "load": false, "local": false, "sam": false, "bicep": false, "cdk": false, "terraform": false } } },
                { "if": { "allOf": [is_background, lacks("ready")] }, "then": { "properties": { "background": false } } },
                { "if": { "not": is_background }, "then": { "properties": { "ready": false } } },
            ] }),
        ),
        ("ReadyConditionFile", one_of(&["http", "port", "log"])),
        (
            "ReadyConditionFile",
            json!({ "allOf": [{ "if": lacks("http"), "then": { "properties": { "status": false } } }] }),
        ),
        ("ReadyConditionFile.http", pattern(URL)),
        ("ReadyConditionFile.status", range(100.0, 599.0)),
        ("ReadyConditionFile.log", pattern("^.")),
        ("ReadyConditionFile.timeout", positive.clone()),
        ("PortFile", json!({ "minimum": 1, "maximum": 65535, "pattern": r"^[1-9]\d{0,4}$|\{\{" })),
        ("WaitForFile.http", pattern(URL)),
        ("WaitForFile.status", range(100.0, 599.0)),
        ("WaitForFile.timeout", positive.clone()),
        ("SamFile.template", pattern(PATH)),
        ("SamFile.down", json!({ "const": true })),
        ("SamFile", one_of(&["template", "down"])),
        ("BicepFile.template", pattern(PATH)),
        ("BicepFile.down", json!({ "const": true })),
        ("BicepFile", one_of(&["template", "down"])),
        ("BicepFile", json!({ "allOf": [excludes("down", &["group", "location", "parameters"])] })),
        ("BicepFile.group", json!({ "pattern": r"\{\{" })),
        ("CdkFile.dir", pattern(PATH)),
        ("CdkFile.down", json!({ "const": true })),
        ("CdkFile", one_of(&["dir", "down"])),
        ("CdkFile", json!({ "allOf": [excludes("down", &["app", "stack", "context", "parameters"])] })),
        ("TerraformFile.dir", pattern(PATH)),
        ("TerraformFile.down", json!({ "const": true })),
        ("TerraformFile", one_of(&["dir", "down"])),
        ("TerraformFile", json!({ "allOf": [excludes("down", &["variables", "program"])] })),
        ("LocalFile.template", pattern(PATH)),
        ("LocalFile.down", json!({ "const": true })),
        ("LocalFile", one_of(&["template", "down"])),
        ("LimitsFile.cpus", range(0.01, 1024.0)),
        ("LimitsFile.memory", json!({ "minimum": 6 << 20 })),
        ("RetryFile.attempts", range(1.0, 100.0)),
        ("RetryFile.backoff", range(1.0, 100.0)),
        ("RecoverFile.shell", json!({ "minItems": 1 })),
        ("RecoverFile.env", keys(VARIABLE)),
        ("RecoverFile.credentials", credentials),
        ("OutputFile", one_of(&["regex", "line", "stdout", "file"])),
        (
            "OutputFile",
            json!({ "allOf": [excludes("regex", &["json"]), excludes("line", &["json"]), excludes("stdout", &["json"])] }),
        ),
        ("OutputFile.json", pattern(POINTER)),
        ("OutputFile.line", json!({ "not": { "const": 0 } })),
        ("OutputFile.stdout", json!({ "const": true })),
        ("OutputFile.file", pattern(PATH)),
        ("WorkloadFile.script", pattern(PATH)),
        ("WorkloadFile.timeout", positive.clone()),
        ("WorkloadFile.env", keys("^(?!K6_)[A-Za-z_][A-Za-z0-9_]*$")),
        ("WorkloadFile.load_generators", generators.clone()),
        (
            "WorkloadFile",
            json!({ "allOf": [excludes("script", &["requests", "sequences", "timeout", "http_version", "connection_reuse", "tls", "trace_header", "cookies", "k6_metrics"])] }),
        ),
        ("SequenceFile.name", pattern(NAME)),
        ("SequenceFile.weight", above_zero(1e9)),
        (
            "SequenceFile.requests",
            json!({ "minItems": 1, "items": { "allOf": [{ "properties": { "weight": false } }] } }),
        ),
        ("RequestFile.name", pattern(NAME)),
        ("RequestFile.weight", above_zero(1e9)),
        ("RequestFile.method", pattern(&format!("^({})$", METHODS.join("|")))),
        ("RequestFile.url", pattern(URL)),
        (
            "RequestFile.headers",
            json!({ "propertyNames": { "pattern": TOKEN }, "additionalProperties": { "type": "string", "pattern": "^[^\r\n\\u0000]*$" } }),
        ),
        ("RequestFile.body_file", pattern(PATH)),
        ("RequestFile.timeout", positive.clone()),
        ("RequestFile.extract", keys(NAME)),
        ("RequestFile", one_of(&["body", "body_file"])),
        ("ExtractFile.json", pattern(POINTER)),
        ("ExtractFile.header", pattern(TOKEN)),
        ("ExtractFile", json!({ "allOf": [excludes("json", &["regex", "header"])] })),
        (
            "ExpectFile.status",
            json!({ "minimum": 100, "maximum": 599, "items": { "type": "integer", "minimum": 100, "maximum": 599 } }),
        ),
        ("ExpectFile.json", keys(POINTER)),
        ("PlanHeaderFile.name", pattern(NAME)),
        ("PlanHeaderFile.load_generators", generators),
        ("ApplicationFile.name", pattern(NAME)),
        ("ApplicationFile.manifest", pattern(PATH)),
        ("ApplicationFile.locks", items(&json!({ "type": "string", "pattern": LOCK }))),
        ("TrialsFile.repetitions", range(1.0, 10_000.0)),
        ("TrialsFile.per_deployment", range(1.0, 10_000.0)),
        ("TrialsFile", json!({ "allOf": [excludes("until", &["per_deployment"])] })),
        ("UntilFile.relative_width", json!({ "exclusiveMinimum": 0, "maximum": 1 })),
        ("UntilFile.confidence", range(0.5, 0.999)),
        ("UntilFile.min", range(2.0, 10_000.0)),
        ("UntilFile.max", range(2.0, 10_000.0)),
        ("ConcurrencyFile.deploy", range(1.0, 10_000.0)),
        ("ConcurrencyFile.invoke", range(1.0, 10_000.0)),
        ("BudgetFile.errors", range(1.0, 1e6)),
        ("BudgetFile.duration", positive.clone()),
        ("BudgetFile.cost_usd", json!({ "exclusiveMinimum": 0 })),
        ("LoadFile.iterations", range(1.0, 1e9)),
        ("LoadFile.constant", above_zero(1e6)),
        ("LoadFile.users", range(1.0, 10_000.0)),
        ("LoadFile.duration", positive.clone()),
        ("LoadFile.start", range(0.0, 1e6)),
        ("LoadFile.repeat", range(1.0, 100_000.0)),
        ("LoadFile.stages", json!({ "minItems": 1 })),
        (
            "LoadFile.pattern",
            pattern(r"^((steady|fluctuating|spikes|jump)(-20rps)?|bursty|(steady|fluctuating)-72rps)$|\{\{"),
        ),
        ("LoadFile.rate", above_zero(1e6)),
        ("LoadFile.scale_factor", above_zero(1e6)),
        ("LoadFile.scale_type", pattern(r"^(linear|compound)$|\{\{")),
        ("LoadFile.arrivals", pattern(r"^(even|uniform|poisson)$|\{\{")),
        ("LoadFile.speed", above_zero(1e6)),
        ("LoadFile.max_error_rate", range(0.0, 1.0)),
        ("LoadFile.max_dropped", range(0.0, 1.0)),
        (
            "LoadFile",
            one_of(&[
                "iterations",
                "constant",
                "users",
                "stages",
                "pattern",
                "csv",
                "trace",
                "bursts",
                "k6_options",
            ]),
        ),
        (
            "LoadFile",
            json!({ "allOf": [{ "if": { "required": ["constant"] }, "then": { "required": ["duration"] } }] }),
        ),
        (
            "LoadFile",
            json!({ "allOf": [{ "if": { "required": ["users"] }, "then": { "required": ["duration"] } }] }),
        ),
        ("LoadFile", json!({ "allOf": [excludes("users", &["max_lateness"])] })),
        ("ThinkDistributionFile", json!({ "minProperties": 1 })),
        ("ThinkDistributionFile", json!({ "allOf": [excludes("mean", &["min", "max", "median", "p99"])] })),
        ("ThinkDistributionFile.mean", positive.clone()),
        ("ThinkDistributionFile.median", positive.clone()),
        ("ThinkDistributionFile.p99", positive),
        ("LoadFile", json!({ "allOf": [excludes("rate", &["scale_factor"])] })),
        ("StageFile.target", range(0.0, 1e6)),
        ("BurstsFile.size", range(1.0, 1e6)),
        ("BurstsFile.at", json!({ "minItems": 1 })),
    ]
}
