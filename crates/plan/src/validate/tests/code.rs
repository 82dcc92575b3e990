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
        // Something builds `gone.py` of it.
        ("/repo/app/src/gone.pyx", ""),
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

#[test]
fn a_runtime_that_has_no_client_needs_containers() {
    let ruby = template("ruby3.2", "app.handler", "src");
    let check = |target: &str, more: &str| {
        let manifest = format!("{HEAD}{target}{UP}{more}");
        let files = Snapshot::new([
            ("/repo/app/benchmark.toml", manifest.as_str()),
            ("/repo/app/t.yaml", ruby.as_str()),
            ("/repo/app/src/app.rb", ""),
        ]);
        benchmark(&files, Path::new("/repo/app/benchmark.toml"))
    };
    let refused = check(TARGET, "");
    let [problem] = refused.problems.as_slice() else { panic!("{}", rendered(&refused.problems)) };
    assert!(problem.is_error() && problem.message.contains("`F` cannot start"), "{problem}");
    assert!(problem.help.as_ref().unwrap().contains("containers = true"), "{problem:?}");
    let contained = check(&format!("{TARGET}containers = true\n"), "");
    assert!(contained.value.is_some() && contained.problems.is_empty(), "{}", rendered(&contained.problems));
    // A build does not change what runs it.
    assert!(check(TARGET, "[[deploy]]\nname = \"build\"\nrun = \"make\"\n").value.is_none());
    // Another target may have it.
    let other = "[targets.aws]\n[[deploy]]\nname = \"a\"\ntarget = \"aws\"\nrun = \"true\"\n";
    let up = UP.replace("name = \"up\"", "name = \"up\"\ntarget = \"local\"");
    let manifest = format!("{HEAD}{TARGET}{other}{up}");
    let files =
        Snapshot::new([("/repo/app/benchmark.toml", manifest.as_str()), ("/repo/app/t.yaml", ruby.as_str())]);
    let noted = benchmark(&files, Path::new("/repo/app/benchmark.toml"));
    assert!(noted.value.is_some(), "{}", rendered(&noted.problems));
}

#[test]
fn a_handler_that_nothing_makes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("benchmark.toml", &format!("{HEAD}{TARGET}{UP}"));
    for (runtime, handler, present, error) in [
        ("python3.12", "ap.handler", "src/app.py", true),
        ("nodejs22.x", "ap.handler", "src/app.js", true),
        // It is built from TypeScript, or compiled, or installed with a package.
        ("nodejs22.x", "app.handler", "src/app.ts", false),
        ("python3.12", "app.handler", "src/app.pyx", false),
        ("python3.12", "pack.app.handler", "src/app.py", false),
        // Nothing lies there yet.
        ("python3.12", "app.handler", "src/requirements.txt", false),
    ] {
        let _ = std::fs::remove_dir_all(folder.path().join("src"));
        write("t.yaml", &template(runtime, handler, "src"));
        write(present, "");
        let checked = benchmark(&Disk, &folder.path().join("benchmark.toml"));
        let [problem] =
            checked.problems.iter().filter(|it| it.code == "missing-handler").collect::<Vec<_>>()[..]
        else {
            panic!("{handler}: {}", rendered(&checked.problems));
        };
        assert_eq!(problem.is_error(), error, "{runtime} {handler} {present}");
    }
}

#[test]
fn the_local_target_sends_no_traces_to_a_cloud() {
    let check = |traces: &str, more: &str, told: bool| {
        let manifest = format!("{HEAD}[targets.local]\ntraces = \"{traces}\"\n{UP}{more}");
        let template = template("python3.12", "app.handler", "src");
        let files = Snapshot::new([
            ("/repo/app/benchmark.toml", manifest.as_str()),
            ("/repo/app/t.yaml", template.as_str()),
            ("/repo/app/src/app.py", ""),
        ]);
        let checked = benchmark(&files, Path::new("/repo/app/benchmark.toml"));
        let found = checked.problems.iter().any(|problem| problem.code == "invalid-traces");
        assert_eq!(found, told, "{traces} {more}: {}", rendered(&checked.problems));
    };
    check("xray", "", true);
    check("xray", "[[deploy]]\nname = \"cloud\"\nrun = \"sam deploy\"\n", false);
    check("local", "", false);
    check("none", "", false);
}
