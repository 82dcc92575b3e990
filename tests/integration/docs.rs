//! The documentation says what the program takes.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all properties of a schema, at any depth; and all words that a value can be.
fn keys_and_words(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                found.extend(properties.keys().cloned());
            }
            found.extend(object.get("const").and_then(Value::as_str).map(str::to_owned));
            let words = object.get("enum").and_then(Value::as_array).into_iter().flatten();
            found.extend(words.filter_map(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| keys_and_words(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| keys_and_words(item, found)),
        _ => {}
    }
}

#[test]
fn every_key_and_word_of_the_schemas_is_documented() {
    let text = read("docs/manifests.md");
    let mut code = BTreeSet::new();
    // Words within backticks; fenced blocks do not count.
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if !fenced {
            let quoted = line.split('`').skip(1).step_by(2);
            for part in quoted {
                code.insert(part.trim_matches('"'));
                code.extend(part.split(|c: char| !(c.is_alphanumeric() || c == '_')));
            }
        }
    }
    let mut missing = BTreeSet::new();
    for kind in ["benchmark", "plan", "workload"] {
        let schema = serde_json::from_str(&read(&format!("schemas/{kind}.schema.json"))).unwrap();
        let mut found = BTreeSet::new();
        keys_and_words(&schema, &mut found);
        assert!(found.len() > 5, "the schema of {kind} has keys");
        missing.extend(found.into_iter().filter(|key| !code.contains(key.as_str())));
    }
    assert_eq!(missing, BTreeSet::new(), "not in docs/manifests.md");
}

#[test]
fn the_examples_in_the_documentation_are_valid() {
    let text = read("docs/manifests.md");
    let work = crate::workspace::Workspace::new();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let named = |start: &str| blocks.iter().find(|block| block.starts_with(start)).expect("an example");
    work.write("applications/thumbnails/benchmark.toml", named("[benchmark]"));
    work.write("applications/thumbnails/deploy.Dockerfile", "FROM scratch\n");
    work.write("applications/thumbnails/images/cat.jpg", "not really");
    work.write("plans/memory.toml", named("[plan]"));
    let sequence = named("[workload]\ncookies");
    work.write(
        "applications/shop/benchmark.toml",
        &format!("[benchmark]\nname = \"shop\"\n[targets.local]\n[[deploy]]\nname = \"up\"\nrun = \"./up\"\noutputs.endpoint = {{ line = 1 }}\n[[cleanup]]\nname = \"up\"\nrun = \"rm -f state\"\n{sequence}"),
    );
    work.write("applications/shop/up", "");
    work.write("applications/thumbnails/deploy.sh", "");
    work.write("applications/thumbnails/remove.sh", "");
    let database = named("[[deploy]]\nname = \"database\"\nbackground");
    work.write(
        "applications/store/benchmark.toml",
        &format!("[benchmark]\nname = \"store\"\n[params]\nport = 5432\n[targets.local]\n{database}"),
    );
    let trials = named("[trials]");
    work.write(
        "plans/precise.toml",
        &format!("[plan]\nname = \"precise\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"../applications/shop/benchmark.toml\"\n[load]\nconstant = 5\nduration = \"10s\"\n{trials}"),
    );
    let stack = named("[targets.aws]");
    work.write(
        "applications/stacked/benchmark.toml",
        &format!("[benchmark]\nname = \"stacked\"\n[params]\nmemory_size = 256\n{stack}"),
    );
    let topic = "Parameters:\n  MemorySize: {Type: Number}\nResources:\n  News: {Type: AWS::SNS::Topic}\n";
    work.write("applications/stacked/template.yaml", topic);
    let group = named("[params]\ndeploy_id");
    work.write("applications/grouped/benchmark.toml", &format!("[benchmark]\nname = \"grouped\"\n{group}"));
    work.write("applications/grouped/azure/main.bicep", "param deployId string\n");
    let head = "[params]\nmemory_size = 256\n[targets.aws]\ncredentials = [\"aws\"]\n";
    let of_cdk = named("[[deploy]]\nname = \"stack\"\ncdk");
    work.write(
        "applications/synthesized/benchmark.toml",
        &format!("[benchmark]\nname = \"synthesized\"\n{head}{of_cdk}"),
    );
    work.write("applications/synthesized/infra/cdk.json", "{}");
    let of_terraform = named("[[deploy]]\nname = \"stack\"\nterraform");
    work.write(
        "applications/applied/benchmark.toml",
        &format!("[benchmark]\nname = \"applied\"\n{head}{of_terraform}"),
    );
    work.write("applications/applied/infra/main.tf", "variable \"memory\" {}\n");
    assert_eq!(blocks.len(), 9, "every example is checked");
    let checked = work.sb(&["validate"]).expect(0);
    assert!(checked.stderr.contains("9 files checked, no errors"), "{}", checked.stderr);
    assert!(!checked.stderr.contains("warning") && !checked.stderr.contains('⚠'), "{}", checked.stderr);
}
