//! A file of another kind than is meant is one problem.

use super::*;

const PLAN: &str = "[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"benchmark.toml\"\n[matrix]\nmemory = [1, 2]\n[load]\nconstant = 3\n";
const TEMPLATE_WITH_TAGS: &str = "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    \
                                  Properties: {Handler: !Ref H, Role: !GetAtt R.Arn}\n";
const TEMPLATE_OF_JSON: &str = "{\n  \"AWSTemplateFormatVersion\": \"2010-09-09\",\n  \"Resources\": {}\n}\n";

#[derive(Clone, Copy, Debug)]
enum As {
    Manifest,
    Plan,
    Load,
}

fn problems(name: &str, text: &str, wanted: As) -> Vec<Problem> {
    let path = format!("/repo/a b/{name}");
    let files = Snapshot::new([("/repo/.git/HEAD", ""), (path.as_str(), text)]);
    let path = Path::new(&path);
    match wanted {
        As::Manifest => benchmark(&files, path).problems,
        As::Plan => plan(&files, path, &Overrides::default()).problems,
        As::Load => load_file(&files, path).problems,
    }
}

#[test]
fn a_file_of_another_kind_is_named_and_nothing_else_is_said() {
    let mut shown = String::new();
    for (name, text, wanted) in [
        ("p.toml", PLAN, As::Manifest),
        ("p.toml", "[plan]\nname = \n[[applications]\n", As::Manifest),
        ("p.yaml", "plan: {name: p}\napplications: []\n", As::Manifest),
        ("benchmark.toml", &with_local("[[deploy]]\nname = 1\nfoo = 2\n"), As::Plan),
        ("template.yaml", TEMPLATE, As::Manifest),
        ("template.yaml", TEMPLATE_WITH_TAGS, As::Plan),
        ("template.json", TEMPLATE_OF_JSON, As::Manifest),
        ("upload.toml", "[[requests]]\nname = \"r\"\nurl = \"x\"\n", As::Manifest),
        ("load.toml", "constant = 3\nduration = \"10s\"\n", As::Plan),
        ("p.toml", PLAN, As::Load),
        ("benchmark.toml", HEAD, As::Load),
        ("benchmark.py", "class Shop(Benchmark):\n    pass\n", As::Manifest),
    ] {
        let found = problems(name, text, wanted);
        let [problem] = found.as_slice() else { panic!("{name} as {wanted:?}: {}", rendered(&found)) };
        assert_eq!(problem.code, "wrong-file", "{name} as {wanted:?}");
        shown += &rendered(&found);
    }
    insta::assert_snapshot!("other_kinds", shown);
}

#[test]
fn a_file_that_has_something_of_its_kind_is_checked_as_such() {
    for (text, wanted) in [
        (format!("{HEAD}[plan]\nname = \"p\"\n"), As::Manifest),
        (format!("{PLAN}[targets.local]\n"), As::Plan),
        ("[targets.local]\n[[requests]]\n".to_owned(), As::Manifest),
        ("[benchmrk]\nname = \"x\"\n".to_owned(), As::Manifest),
        ("iterations = 1\nrequests = 2\n".to_owned(), As::Load),
        (String::new(), As::Plan),
        ("= \n".to_owned(), As::Plan),
    ] {
        let found = problems("x.toml", &text, wanted);
        assert!(!found.is_empty() && found.iter().all(|problem| problem.code != "wrong-file"), "{text}");
    }
}

#[test]
fn a_manifest_that_a_plan_names_and_a_workload_that_a_manifest_names_are_told_apart() {
    let plan_text = "[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"other.toml\"\n";
    let manifest = format!("workload = \"other.toml\"\n{HEAD}[targets.local]\n");
    let files = Snapshot::new([
        ("/repo/.git/HEAD", ""),
        ("/repo/p.toml", plan_text),
        ("/repo/other.toml", PLAN),
        ("/repo/benchmark.toml", manifest.as_str()),
    ]);
    for found in [
        plan(&files, Path::new("/repo/p.toml"), &Overrides::default()).problems,
        benchmark(&files, Path::new("/repo/benchmark.toml")).problems,
    ] {
        let [problem] = found.as_slice() else { panic!("{}", rendered(&found)) };
        assert_eq!(problem.code, "wrong-file");
        assert_eq!(problem.source.as_ref().unwrap().path, Path::new("/repo/other.toml"));
    }
}
