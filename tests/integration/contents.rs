//! Files that a run depends on besides its manifests: edited while a run is interrupted, they are not taken up unasked.

use crate::workspace::Workspace;

const MANIFEST: &str = r#"
[benchmark]
name = "app"

[targets.local]
traces = "none"

[[deploy]]
name = "functions"
local = { template = "template.yaml" }

[[deploy]]
name = "slow"
run = "echo begin >> trail; sleep 1; sh setup.sh"

[[deploy]]
name = "after"
run = "sh setup.sh"

[[workload.requests]]
name = "r"
url = "{{outputs.endpoint}}/"
method = "POST"
body_file = "body.txt"

[[cleanup]]
name = "functions"
local = { down = true }
"#;

const TEMPLATE: &str = "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
    Handler: app.handler\n      Runtime: python3.13\n      CodeUri: src\n      Events:\n        Api:\n          Type: HttpApi\n          Properties: {Path: /, Method: post}\n";

/// Writes what it is sent beside the manifest.
const CODE: &str = "import base64, os\ndef handler(event, context):\n    body = event.get('body') or ''\n    \
    body = base64.b64decode(body).decode() if event.get('isBase64Encoded') else body\n    \
    open(os.path.join(os.path.dirname(__file__), '../received'), 'w').write(body)\n    \
    return {'statusCode': 200, 'body': 'ok'}\n";

/// A run that was killed when its functions were deployed, and the slow step had begun.
fn killed() -> Workspace {
    let work = Workspace::new();
    work.write("benchmark.toml", MANIFEST);
    work.write("template.yaml", TEMPLATE);
    work.write("src/app.py", CODE);
    work.write("body.txt", "ONE\n");
    work.write("setup.sh", "echo set up >> trail\n");
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin"), "{}", work.read("runner.log"));
    runner.kill().unwrap();
    runner.wait().unwrap();
    work
}

#[track_caller]
fn check(file: &str, text: &str, shown: &[&str], as_started: i32) {
    let work = killed();
    work.write(file, text);
    let refused = work.sb(&["resume"]).expect(1);
    assert!(refused.stderr.contains("have changed since it was started"), "{}", refused.stderr);
    for line in shown {
        assert!(refused.stderr.contains(line), "no `{line}` in {}", refused.stderr);
    }
    let refused = work.sb(&["resume", "--as-started"]);
    assert_eq!(refused.code, as_started, "{}", refused.stderr);
    if as_started != 0 {
        assert!(refused.stderr.contains(file), "{}", refused.stderr);
        work.sb(&["resume", "--accept-changes"]).expect(0);
    }
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn another_body_is_shown_and_sent_only_when_it_is_accepted() {
    check("body.txt", "TWO\n", &["-ONE", "+TWO", "app.1/t1/invoke/load"], 0);
}

#[test]
fn a_run_that_goes_on_as_it_was_started_sends_the_body_of_before() {
    let work = killed();
    work.write("body.txt", "TWO\n");
    work.sb(&["resume", "--as-started"]).expect(0);
    assert_eq!(work.read("received"), "ONE\n");
    let work = killed();
    work.write("body.txt", "TWO\n");
    work.sb(&["resume", "--accept-changes"]).expect(0);
    assert_eq!(work.read("received"), "TWO\n");
}

#[test]
fn a_script_that_a_step_still_needs_is_not_exchanged_unasked() {
    check("setup.sh", "echo another >> trail\n", &["-echo set up", "+echo another", "app.1/deploy/after"], 1);
}

#[test]
fn another_template_or_other_code_of_a_function_is_not_what_was_deployed() {
    check("template.yaml", &format!("{TEMPLATE}\n# more\n"), &["+# more", "app.1/deploy/functions"], 0);
    let other = CODE.replace("'ok'", "'no'");
    check("src/app.py", &other, &["(now)", "  app.py", "app.1/deploy/functions"], 0);
}

/// Beside code that people write, in folders that tools fill elsewhere.
#[test]
fn what_git_knows_is_compared_wherever_it_lies_and_what_it_ignores_is_a_product() {
    let work = Workspace::new();
    let git = |arguments: &[&str]| {
        let ran =
            std::process::Command::new("git").arg("-C").arg(work.path()).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    git(&["init", "-q"]);
    // It goes on without its runner: not before the last edit is taken back.
    let build = "run = \"echo begin >> trail; until [ -e open ]; do sleep 0.1; done; make -f rules; cd tools && ./y.sh\"";
    work.write(
        "benchmark.toml",
        &MANIFEST.replace("run = \"echo begin >> trail; sleep 1; sh setup.sh\"", build),
    );
    work.write("template.yaml", TEMPLATE);
    work.write("src/app.py", CODE);
    work.write("src/bin/tool.py", "1");
    work.write("src/dist/app.min.js", "1");
    work.write(".gitignore", "dist\n");
    work.write("body.txt", "ONE\n");
    work.write("setup.sh", "echo set up >> trail\n");
    work.write("rules", "all:\n\techo 2 > src/dist/app.min.js\n");
    work.write("tools/y.sh", "#!/bin/sh\ntrue\n");
    let runnable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(work.path().join("tools/y.sh"), runnable).unwrap();
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin"), "{}", work.read("runner.log"));
    runner.kill().unwrap();
    runner.wait().unwrap();
    for (file, text, shown) in [
        ("src/bin/tool.py", "2", "bin/tool.py"),
        ("rules", "all:\n\techo 3\n", "echo 3"),
        ("tools/y.sh", "#!/bin/sh\nfalse\n", "+false"),
    ] {
        let before = work.read(file);
        work.write(file, text);
        let refused = work.sb(&["resume"]).expect(1);
        assert!(
            refused.stderr.contains("have changed") && refused.stderr.contains(shown),
            "{}",
            refused.stderr
        );
        work.write(file, &before);
    }
    work.write("open", "");
    let resumed = work.sb(&["resume"]);
    assert!(!resumed.stderr.contains("have changed"), "{}", resumed.stderr);
    assert_eq!(work.read("src/dist/app.min.js"), "2\n");
}

#[test]
fn a_run_whose_files_are_what_they_were_goes_on() {
    let work = killed();
    // Of the folder of the code, but not of the code.
    work.write("src/__pycache__/app.pyc", "x");
    let resumed = work.sb(&["resume"]).expect(0);
    assert!(!resumed.stderr.contains("changed"), "{}", resumed.stderr);
    assert_eq!(work.read("trail"), "begin\nset up\nset up\n");
}
