//! `sb validate` in CI: what other programs read, what is corrected, and that nothing is run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::workspace::{Ran, Workspace};

const WRONG: &str = "# shop\n[benchmark]\nnmae = \"shop\" # kept\n\n[targets.local]\ntraces = \"lokal\"\n\n[[deply]]\nname = \"a\"\n\
    run = \"touch made\"\n\n[[deply]]\nname = \"b, 100%\"\nrun = \"x\"\n\n[workload]\nrequests = [{ name = \"r\", method = \"PSOT\", url = \"http://x:1/\" }]\n";
const DOUBTFUL: &str =
    "[benchmark]\nname = \"shop\"\n\n[targets.local]\n\n[[deploy]]\nname = \"a\"\nrun = \"touch made\"\n";
const GOOD: &str = "[benchmark]\nname = \"shop\"\n\n[targets.local]\n";

/// Three applications: a wrong one, one with a warning, a good one.
fn repository() -> Workspace {
    let work = Workspace::new();
    work.write("wrong, a b/benchmark.toml", WRONG);
    work.write("doubtful/benchmark.toml", DOUBTFUL);
    work.write("good/benchmark.toml", GOOD);
    work
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a script prints that gets this text, and that it was content.
#[track_caller]
fn python(script: &str, input: &str) -> String {
    let work = Workspace::new();
    let file = work.write("input", input);
    let done = Command::new("python3").args(["-c", script]).arg(file).output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{error}\n{input}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn nothing_is_run_and_nothing_is_written() {
    let work = repository();
    work.sb(&["validate"]).expect(3);
    work.sb(&["validate", "--format", "sarif"]).expect(3);
    for folder in ["wrong, a b", "doubtful", ""] {
        assert!(
            !work.path().join(folder).join("made").exists() && !work.path().join(folder).join(".sb").exists()
        );
    }
}

#[test]
fn manifests_and_plans_are_searched_for_where_people_write_them() {
    let work = Workspace::new();
    let found =
        ["a/benchmark.toml", "a/deep/er/other.benchmark.yaml", "corpus/benchmark.toml", "plans/p.yml"];
    let passed_over = [
        "a/benchmark.txt",
        "a/cargo.toml",
        "target/benchmark.toml",
        "a/node_modules/benchmark.toml",
        ".hidden/benchmark.toml",
        "fuzz/corpus/benchmark.toml",
        "fuzz/artifacts/plans/p.toml",
    ];
    for name in found.iter().chain(&passed_over) {
        work.write(name, "");
    }
    std::fs::create_dir(work.path().join("plans/folder.toml")).unwrap();
    std::os::unix::fs::symlink("a/benchmark.toml", work.path().join("benchmark.toml")).unwrap();
    let told = work.sb(&["validate", "--format", "json"]).expect(3).stdout;
    let files = serde_json::from_str::<Value>(&told).unwrap()["files"].clone();
    let names: Vec<&str> = files.as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    // The link has the name of what it leads to.
    let mut expected: Vec<String> =
        ["a/benchmark.toml"].iter().chain(&found).map(|name| below(&work, name)).collect();
    expected.sort();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn a_folder_that_cannot_be_read_is_named_and_the_others_are_checked() {
    let work = repository();
    work.write("closed/benchmark.toml", GOOD);
    work.write("deep/er/closed/benchmark.toml", GOOD);
    let closed = ["closed", "deep/er/closed"].map(|name| work.path().join(name));
    let open = |mode| {
        for folder in &closed {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    open(0o000);
    let ran = |arguments: &[&str]| {
        let command = work.command(arguments);
        // Permissions do not hold root up, unless it gives up the right to pass over them.
        let mut careful = Command::new("setpriv");
        careful.args(["--bounding-set", "-dac_override,-dac_read_search"]);
        careful.arg(command.get_program()).args(arguments).current_dir(work.path());
        let mut command = if rustix::process::geteuid().is_root() { careful } else { command };
        Ran::of(command.output().unwrap())
    };
    let [all, json, alone, laid_out] = [
        ran(&["validate"]),
        ran(&["validate", "--format", "json"]),
        ran(&["validate", "closed"]),
        ran(&["fmt", "--check", "good", "closed"]),
    ];
    open(0o755);
    for ran in [&all, &json, &alone, &laid_out] {
        assert_eq!(ran.code, 3, "{}", ran.stderr);
    }
    let found: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(found["files"].as_array().unwrap().len(), 3, "{found}");
    let unreadable = |problem: &&Value| problem["code"] == "unreadable-file";
    let unreadable: Vec<&Value> = found["problems"].as_array().unwrap().iter().filter(unreadable).collect();
    let folders: Vec<&str> = unreadable.iter().map(|problem| problem["file"].as_str().unwrap()).collect();
    assert_eq!(folders, ["closed", "deep/er/closed"].map(|name| below(&work, name)));
    assert!(all.stderr.contains("closed`: Permission denied") && all.stderr.contains("unknown-key"));
    assert!(alone.stderr.contains("cannot read the folder") && alone.stderr.contains("1 error"));
    assert!(laid_out.stderr.contains("cannot read the folder"), "{}", laid_out.stderr);
}

#[test]
fn what_has_the_name_of_a_manifest_and_cannot_be_read_is_an_error() {
    let work = repository();
    let at = |name: &str| work.path().join(name);
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
    for folder in ["dangling", "pipe", "socket", "loop", "good/plans", "folder/benchmark.toml"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    link("gone.toml", "dangling/benchmark.toml");
    link("benchmark.toml", "loop/benchmark.toml");
    link("nowhere.toml", "good/plans/small.toml");
    assert!(Command::new("mkfifo").arg(at("pipe/benchmark.toml")).status().unwrap().success());
    let socket = std::os::unix::net::UnixListener::bind(at("socket/benchmark.yaml")).unwrap();
    let found =
        work.sb(&["validate", "dangling", "pipe", "socket", "loop", "good", "folder", "--format", "json"]);
    let json: Value = serde_json::from_str(&found.expect(3).stdout).unwrap();
    drop(socket);
    let mut problems: Vec<(&str, &str)> = Vec::new();
    for problem in json["problems"].as_array().unwrap() {
        assert_eq!(problem["code"], "unreadable-file", "{problem}");
        problems.push((problem["file"].as_str().unwrap(), problem["message"].as_str().unwrap()));
    }
    problems.sort_unstable();
    let expected = [
        ("dangling/benchmark.toml", "it is a link to `gone.toml`, and there is no such file"),
        ("folder/benchmark.toml", "it is a folder"),
        ("good/plans/small.toml", "it is a link to `nowhere.toml`, and there is no such file"),
        ("loop/benchmark.toml", "it is a link to `benchmark.toml`, and the links lead back to each other"),
        ("pipe/benchmark.toml", "it is not a regular file"),
        ("socket/benchmark.yaml", "it is not a regular file"),
    ];
    assert_eq!(problems.len(), expected.len(), "{json:#}");
    for ((file, message), (name, reason)) in problems.into_iter().zip(expected) {
        let file_below = below(&work, name);
        assert_eq!((file, message), (file_below.as_str(), &*format!("cannot read `{file_below}`: {reason}")));
    }
    for name in ["dangling/benchmark.toml", "loop/benchmark.toml"] {
        let alone = work.sb(&["validate", name]).expect(3);
        assert!(
            alone.stderr.contains("it is a link to") && !alone.stderr.contains("did you mean"),
            "{}",
            alone.stderr
        );
    }
}

/// A path in a workspace, as `sb` names it.
fn below(work: &Workspace, name: &str) -> String {
    work.path().canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
}

#[test]
fn warnings_fail_only_when_it_is_strict() {
    let work = repository();
    let told = work.sb(&["validate", "doubtful"]).expect(0);
    assert!(told.stderr.contains("no-cleanup") && told.stderr.contains("no errors"), "{}", told.stderr);
    assert!(told.stderr.contains("1 file checked, no errors, 1 warning\n"), "{}", told.stderr);
    let strict = work.sb(&["validate", "doubtful", "--strict"]).expect(3);
    assert!(strict.stderr.contains("1 warning; with `--strict`, warnings fail, too"), "{}", strict.stderr);
    work.sb(&["validate", "good", "--strict"]).expect(0);
}

#[test]
fn annotations_are_those_of_github_actions() {
    let work = repository();
    let told = work.sb(&["validate", "--format", "github"]).expect(3);
    // ::COMMAND NAME=VALUE,NAME=VALUE::DATA, where values escape `%`, line ends, `:` and `,`.
    let grammar = r"^::(error|warning|notice) (?:[A-Za-z]+=(?:[^%\r\n:,]|%25|%0D|%0A|%3A|%2C)*)(?:,[A-Za-z]+=(?:[^%\r\n:,]|%25|%0D|%0A|%3A|%2C)*)*::(?:[^%\r\n]|%25|%0D|%0A)*$";
    let line = regex::Regex::new(grammar).unwrap();
    assert!(told.stdout.lines().count() >= 6, "{}", told.stdout);
    for text in told.stdout.lines() {
        assert!(line.is_match(text), "{text}");
    }
    let start =
        "::error file=wrong%2C a b/benchmark.toml,line=3,endLine=3,col=1,endColumn=5,title=unknown-key::";
    assert!(told.stdout.lines().any(|line| line.starts_with(start)), "{}", told.stdout);
    assert!(told.stdout.contains("`b, 100%25`"), "{}", told.stdout);
    assert_eq!(work.sb(&["validate", "good", "--format", "github"]).expect(0).stdout, "");
}

#[test]
fn junit_has_a_test_for_each_file() {
    let work = repository();
    let script = "import sys, xml.etree.ElementTree as tree\n\
        root = tree.parse(sys.argv[1]).getroot()\n\
        assert root.tag == 'testsuites'\n\
        for suite in root:\n    print(suite.get('tests'), suite.get('failures'), len(suite))\n    \
        for case in suite:\n        print(case.get('name'), [(part.tag, part.get('type')) for part in case])";
    let plain = work.sb(&["validate", "--format", "junit"]).expect(3);
    assert_eq!(
        python(script, &plain.stdout),
        "3 1 3\ndoubtful/benchmark.toml [('system-out', None)]\ngood/benchmark.toml []\nwrong, a b/benchmark.toml [('failure', 'unknown-key')]\n"
    );
    let strict = work.sb(&["validate", "--format", "junit", "--strict"]).expect(3);
    assert!(
        python(script, &strict.stdout)
            .starts_with("3 2 3\ndoubtful/benchmark.toml [('failure', 'no-cleanup')]")
    );
    // Characters that XML does not have.
    work.write("wrong, a b/benchmark.toml", "[benchmark]\nname = \"a\\u0001<&\\uFFFF\"\n[targets.local]\n");
    python(script, &work.sb(&["validate", "--format", "junit"]).expect(3).stdout);
}

#[test]
fn sarif_names_rules_and_places() {
    let work = repository();
    let told = work.sb(&["validate", "--format", "sarif"]).expect(3);
    let log: Value = serde_json::from_str(&told.stdout).unwrap();
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= 6 && rules.len() > 60);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uriBaseId"], "%SRCROOT%");
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(["wrong%2C%20a%20b/benchmark.toml", "doubtful/benchmark.toml"].contains(&uri), "{uri}");
        assert!(place["region"]["startLine"].as_u64().unwrap() > 0);
    }
}

#[test]
#[ignore = "needs: jsonschema, sarif"]
fn sarif_fits_its_schema() {
    let work = repository();
    let told = work.sb(&["validate", "--format", "sarif"]).expect(3);
    let script = "import json, os, sys, jsonschema\n\
        schema = json.load(open(os.environ['SARIF_SCHEMA']))\n\
        kind = jsonschema.validators.validator_for(schema)\n\
        kind.check_schema(schema)\n\
        kind(schema, format_checker=kind.FORMAT_CHECKER).validate(json.load(open(sys.argv[1])))";
    python(script, &told.stdout);
}

#[test]
fn what_is_certain_is_corrected_and_the_rest_is_kept() {
    let work = repository();
    let file = work.path().join("wrong, a b/benchmark.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let told = work.sb(&["validate", "--fix"]).expect(3);
    for part in [
        "-nmae = \"shop\" # kept",
        "+name = \"shop\" # kept",
        "+[[deploy]]",
        "+traces = \"local\"",
        "method = \"POST\"",
    ] {
        assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
    }
    let expected = WRONG
        .replace("nmae", "name")
        .replace("lokal", "local")
        .replace("deply", "deploy")
        .replace("PSOT", "POST");
    assert_eq!(work.read("wrong, a b/benchmark.toml"), expected);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    // A name is nobody's to choose.
    assert!(told.stderr.contains("`b, 100%` cannot be the name"), "{}", told.stderr);
    let again = work.sb(&["validate", "--fix"]).expect(3);
    assert!(!again.stderr.contains("+++"), "{}", again.stderr);
}

#[test]
fn files_are_laid_out_and_yaml_is_left_alone() {
    let work = Workspace::new();
    let untidy = GOOD.replace(" = ", "  =").replace("[targets", "\n\n\n  [targets");
    work.write("benchmark.toml", &untidy);
    work.write("other/benchmark.yaml", "benchmark:   {name: x}\n");
    work.write("plans/broken.toml", "[plan\n");
    let told = work.sb(&["fmt", "--check", "benchmark.toml"]).expect(1).stderr;
    assert!(told.contains("+name = ") && told.contains("`sb fmt` does it"), "{told}");
    assert_eq!(work.read("benchmark.toml"), untidy, "nothing is written");
    let told = work.sb(&["fmt"]).expect(3).stderr;
    let summary =
        "1 of 2 files changed; 1 file left as found, because of errors; 1 file of YAML left as it is";
    assert!(told.contains(summary), "{told}");
    assert!(told.contains("this is not TOML"), "{told}");
    assert_eq!(work.read("other/benchmark.yaml"), "benchmark:   {name: x}\n");
    assert_eq!(work.read("plans/broken.toml"), "[plan\n");
    let told = work.sb(&["fmt", "--check", "benchmark.toml"]).expect(0).stderr;
    assert!(told.contains("1 file checked, nothing to change"), "{told}");
    assert_eq!(
        work.sb(&["validate", "benchmark.toml"]).expect(0).code,
        0,
        "what it says is the same: {}",
        work.read("benchmark.toml")
    );
    let told = work.sb(&["fmt", "other/benchmark.yaml"]).expect(0).stderr;
    assert!(told.contains("other/benchmark.yaml: not TOML, left as it is"), "{told}");
    work.sb(&["fmt", "nowhere"]).expect(2);
    // A file that leads out of its repository is not written.
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("benchmark.toml"), &untidy).unwrap();
    std::fs::create_dir(work.path().join("link")).unwrap();
    std::os::unix::fs::symlink(
        outside.path().join("benchmark.toml"),
        work.path().join("link/benchmark.toml"),
    )
    .unwrap();
    let told = work.sb(&["fmt", "link"]).expect(3).stderr;
    assert!(told.contains("leads out of"), "{told}");
    assert_eq!(std::fs::read_to_string(outside.path().join("benchmark.toml")).unwrap(), untidy);
}

#[test]
fn a_file_that_cannot_be_laid_out_is_described_as_validate_describes_it() {
    let work = Workspace::new();
    let large = format!("[benchmark]\nname = \"shop\"\n#{}\n", "x".repeat(3 << 20));
    for (name, bytes, words) in [
        ("open.toml", b"[benchmark]\r\nname = [\r\n".to_vec(), "open.toml:2:9]"),
        ("latin.toml", b"[benchmark]\nname = \"a\xff\"\n".to_vec(), "latin.toml:2:10]"),
        ("large.toml", large.into_bytes(), "larger than 2048 KiB"),
    ] {
        std::fs::write(work.path().join(name), &bytes).unwrap();
        let formatted = work.sb(&["fmt", name]).expect(3).stderr;
        let validated = work.sb(&["validate", name]).expect(3).stderr;
        let problem = validated.split("1 file checked").next().unwrap();
        assert!(problem.contains(words), "{validated}");
        assert!(formatted.starts_with(problem), "{formatted}\n{validated}");
        assert!(formatted.contains("1 file left as found"), "{formatted}");
        assert_eq!(std::fs::read(work.path().join(name)).unwrap(), bytes);
    }
}

#[test]
fn a_file_of_another_kind_is_named_with_the_command_that_takes_it() {
    let work = Workspace::new();
    work.write("benchmark.toml", GOOD);
    work.write(
        "plans/p.toml",
        "[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"../benchmark.toml\"\n[matrix]\nsize = [1, 2]\n",
    );
    work.write(
        "template.yaml",
        "Resources:\n  F: {Type: AWS::Serverless::Function, Properties: {Handler: !Ref H}}\n",
    );
    let path = |name: &str| work.path().canonicalize().unwrap().join(name).display().to_string();
    for (arguments, suggested) in [
        (&["test", "--file", "plans/p.toml"][..], format!("`sb run {}`", path("plans/p.toml"))),
        (&["prepare", "--file", "template.yaml"], format!("`sb new --from {}`", path("template.yaml"))),
        (&["run", "benchmark.toml"], format!("`sb test --file {}`", path("benchmark.toml"))),
        (&["plan", "show", "template.yaml"], format!("`sb new --from {}`", path("template.yaml"))),
        (
            &["local", "up", "--template", "benchmark.toml"],
            format!("`sb prepare --file {}`", path("benchmark.toml")),
        ),
        (&["new", "--from", "plans/p.toml"], format!("`sb run {}`", path("plans/p.toml"))),
    ] {
        let told = work.sb(arguments).expect(3).stderr;
        assert!(told.contains(&suggested) && told.contains("wrong-file"), "{arguments:?}: {told}");
        assert!(told.ends_with("1 error\n"), "{arguments:?}: {told}");
    }
}

#[test]
fn what_is_shipped_and_what_is_written_has_the_layout() {
    let work = Workspace::new();
    let mut command = work.command(&["fmt", "--check", "applications", "examples", "plans"]);
    let shipped = Ran::of(command.current_dir(root()).output().unwrap()).expect(0);
    assert!(shipped.stderr.contains("nothing to change"), "{}", shipped.stderr);
    work.sb(&["new", "shop"]).expect(0);
    work.sb(&["fmt", "--check", "shop"]).expect(0);
}

#[test]
fn every_rule_that_a_problem_names_is_explained() {
    let work = repository();
    let told = work.sb(&["validate", "--format", "json"]).expect(3);
    let found: Value = serde_json::from_str(&told.stdout).unwrap();
    for problem in found["problems"].as_array().unwrap() {
        let code = problem["code"].as_str().unwrap();
        let explained = work.sb(&["explain", code]).expect(0);
        assert!(
            explained.stdout.starts_with(code) && explained.stdout.contains("Right:"),
            "{}",
            explained.stdout
        );
        assert!(problem["end_column"].is_number() && problem["label"].is_string(), "{problem:#}");
    }
    let list = work.sb(&["explain"]).expect(0);
    assert!(list.stdout.lines().count() > 60, "{}", list.stdout);
    let refused = work.sb(&["explain", "unknown-kye"]).expect(2);
    assert!(refused.stderr.contains("`sb explain unknown-key`"), "{}", refused.stderr);
}

#[test]
#[ignore = "needs: taplo"]
fn taplo_marks_mistakes_at_their_key() {
    check_editor("taplo");
}

#[test]
#[ignore = "needs: yaml-language-server"]
fn yaml_language_server_marks_mistakes_at_their_key() {
    check_editor("yaml");
}

#[track_caller]
fn check_editor(tool: &str) {
    let script = root().join("tests/schemas.py");
    let done = Command::new("python3").arg(script).args([env!("CARGO_BIN_EXE_sb"), tool]).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{text}");
}

/// A folder with `sb` in it comes first.
fn path() -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_sb")).parent().unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

/// The block of a script in YAML that begins after the `index`-th of these lines.
fn block(text: &str, start: &str, index: usize) -> String {
    let mut lines = text.lines();
    for _ in 0..=index {
        lines.find(|line| line.trim() == start).expect("a script");
    }
    let mut script = String::new();
    let mut depth = None;
    for line in lines {
        let indent = line.len() - line.trim_start().len();
        let depth = *depth.get_or_insert(indent);
        if !line.is_empty() && indent < depth {
            break;
        }
        script += line.get(depth..).unwrap_or_default();
        script.push('\n');
    }
    script
}

#[test]
fn the_action_marks_problems() {
    let text = std::fs::read_to_string(root().join("action.yml")).unwrap();
    let work = repository();
    let run = |script: &str, strict: &str, paths: &str| {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).current_dir(work.path());
        command.env("PATH", path()).env("VALIDATE_PATHS", paths).env("VALIDATE_STRICT", strict);
        command
            .env("VALIDATE_LAYOUT", "true")
            .env("VALIDATE_SARIF", "found.sarif")
            .env("RUNNER_TEMP", work.path());
        command.env("GITHUB_PATH", work.path().join("paths")).env("GITHUB_ACTION_PATH", root());
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    // `sb` is there: nothing is built.
    assert_eq!(run(&block(&text, "run: |", 0), "", ""), (Some(0), String::new()));
    assert!(!work.path().join("paths").exists());
    let validate = block(&text, "run: |", 1);
    let (code, told) = run(&validate, "true", "doubtful good");
    assert!(
        code == Some(3) && told.starts_with("::warning file=doubtful/benchmark.toml,line=4"),
        "{code:?} {told}"
    );
    assert!(work.read("found.sarif").contains("no-cleanup"));
    assert_eq!(run(&validate, "false", "doubtful good").0, Some(0));
    assert_eq!(run(&validate, "true", "good"), (Some(0), String::new()));
    assert_eq!(run(&validate, "true", "$(touch made) good").0, Some(2));
    work.write("good/benchmark.toml", &format!("\n\n{GOOD}"));
    assert_eq!(run(&validate, "true", "good").0, Some(1));
    assert!(!work.path().join("made").exists());
}

#[test]
fn the_snippet_for_gitlab_reports_tests() {
    let text = std::fs::read_to_string(root().join("docs/ci.md")).unwrap();
    let script = block(&text, "script:", 0);
    let script: Vec<&str> = script.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
    let work = repository();
    let run = || {
        let mut command = Command::new("sh");
        command.args(["-ec", &script.join("\n")]).current_dir(work.path()).env("PATH", path());
        command.output().unwrap().status.code()
    };
    assert_eq!(run(), Some(3));
    assert!(
        work.read("sb-validate.xml").contains("<testsuite name=\"sb validate\" tests=\"3\" failures=\"2\"")
    );
    std::fs::remove_dir_all(work.path().join("wrong, a b")).unwrap();
    std::fs::remove_dir_all(work.path().join("doubtful")).unwrap();
    assert_eq!(run(), Some(0));
}

#[test]
#[ignore = "needs: pre-commit"]
fn the_hook_of_pre_commit_refuses_a_wrong_manifest() {
    let work = Workspace::new();
    std::fs::remove_dir(work.path().join(".git")).unwrap();
    // Of the project's repository the hook's definition alone, as one of its own.
    let hooks = work.path().join("hooks");
    std::fs::create_dir(&hooks).unwrap();
    std::fs::copy(root().join(".pre-commit-hooks.yaml"), hooks.join(".pre-commit-hooks.yaml")).unwrap();
    let run = |folder: &Path, words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(folder).env("PATH", path());
        command.env("PRE_COMMIT_HOME", work.path().join("cache")).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let done = command.output().unwrap();
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr),
        )
    };
    let commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"];
    for folder in [&hooks, &work.path().join("shop")] {
        std::fs::create_dir_all(folder).unwrap();
        assert_eq!(run(folder, &["git", "init", "-q"]).0, Some(0));
    }
    assert_eq!(run(&hooks, &["git", "add", "-A"]).0, Some(0));
    assert_eq!(run(&hooks, &commit).0, Some(0));
    let shop = work.path().join("shop");
    work.write("shop/benchmark.toml", GOOD);
    run(&shop, &["git", "add", "-A"]);
    let hook = ["pre-commit", "try-repo", "../hooks", "sb-validate", "--all-files"];
    let (code, told) = run(&shop, &hook);
    assert_eq!(code, Some(0), "{told}");
    work.write("shop/benchmark.toml", WRONG);
    run(&shop, &["git", "add", "-A"]);
    let (code, told) = run(&shop, &hook);
    assert!(code == Some(1) && told.contains("unknown key `nmae`"), "{told}");
    // Files that it changes are for the next commit.
    work.write("shop/benchmark.toml", &GOOD.replace(" = ", "="));
    run(&shop, &["git", "add", "-A"]);
    let layout = ["pre-commit", "try-repo", "../hooks", "sb-fmt", "--all-files"];
    let (code, told) = run(&shop, &layout);
    assert_eq!((code, work.read("shop/benchmark.toml").as_str()), (Some(1), GOOD), "{told}");
    run(&shop, &["git", "add", "-A"]);
    assert_eq!(run(&shop, &layout).0, Some(0));
}
