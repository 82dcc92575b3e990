//! Code of functions that is not there.

use super::*;

const TARGET: &str = "[targets.local]\ntraces = \"local\"\n";
const UP: &str = "[[deploy]]\nname = \"up\"\nlocal = { template = \"t.yaml\" }\n";

fn template(runtime: &str, handler: &str, code: &str) -> String {
    format!(
        "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: {handler}\n      \
         Runtime: {runtime}\n      CodeUri: {code}\n"
    )
}

/// `missing`: what the warning says of it; None: nothing is said.
#[track_caller]
fn check(template: &str, steps: &str, missing: Option<&str>) {
    let manifest = format!("{HEAD}{TARGET}{steps}");
    let files = Snapshot::new([
        ("/repo/.git/HEAD", ""),
        ("/repo/app/benchmark.toml", manifest.as_str()),
        ("/repo/app/t.yaml", template),
        ("/repo/app/src/app.ts", ""),
        ("/repo/app/src/built/app.mjs", ""),
        ("/repo/app/src/app.py", ""),
        ("/repo/app/src/pack/__init__.py", ""),
        ("/repo/app/code.zip", ""),
    ]);
    let checked = benchmark(&files, Path::new("/repo/app/benchmark.toml"));
    let found: Vec<&str> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(checked.value.is_some(), "it may be built before the run: {found:?}");
    assert_eq!(found.len(), usize::from(missing.is_some()), "{template} {found:?}");
    assert!(found.concat().contains(missing.unwrap_or_default()), "{found:?}");
}

#[test]
fn code_that_nothing_builds_is_told() {
    check(&template("python3.12", "app.handler", "src"), UP, None);
    check(&template("python3.12", "pack.handler", "src/"), UP, None);
    check(&template("python3.12", "gone.handler", "src"), UP, Some("needs `gone.py` in `src`"));
    check(&template("nodejs22.x", "app.handler", "src"), UP, Some("needs `app.js` in `src`"));
    check(&template("nodejs22.x", "built/app.handler", "src"), UP, None);
    check(&template("provided.al2023", "any", "src"), UP, Some("needs `bootstrap` in `src`"));
    check(&template("java21", "a.B::c", "src"), UP, None);
    check(&template("python3.12", "app.handler", "gone"), UP, Some("there is no CodeUri `gone`"));
    check(&template("python3.12", "app.handler", "code.zip"), UP, None);
    let built = format!("[[deploy]]\nname = \"build\"\nrun = \"make\"\n{UP}");
    check(&template("nodejs22.x", "app.handler", "src"), &built, None);
}
