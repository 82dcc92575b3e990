//! `sb new`, and the page that begins with it.

use std::path::Path;

use crate::workspace::{Ran, Workspace};

fn file_names(folder: &Path) -> Vec<String> {
    let items = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        items.map(|item| item.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_new_application_is_valid_for_every_choice_of_targets() {
    let work = Workspace::new();
    for (name, targets) in
        [("both", "aws,local"), ("cloud", "aws"), ("here_2", "local"), ("any", "local,aws")]
    {
        let made = work.sb(&["new", name, "--target", targets]).expect(0);
        assert!(made.stderr.contains(&format!("cd {name}")) && made.stdout.is_empty(), "{}", made.stderr);
        let checked = work.sb_in(name, &["validate"]).expect(0);
        assert!(
            !checked.stderr.contains("warning") && checked.stderr.contains("no errors"),
            "{}",
            checked.stderr
        );
        let manifest = work.read(&format!("{name}/benchmark.toml"));
        for target in ["aws", "local"] {
            let has = manifest.contains(&format!("[targets.{target}]"));
            assert_eq!(has, targets.contains(target), "{name}: {target}");
        }
    }
    assert!(work.read("here_2/template.yaml").contains("sb-here-2-${DeployId}"));
    let left: Vec<String> =
        file_names(&work.path()).into_iter().filter(|name| name.starts_with(".sb-new")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_function_that_cannot_start_is_named_where_its_endpoint_was_waited_for() {
    let work = Workspace::new();
    work.sb(&["new", "shop", "--target", "local"]).expect(0);
    let code = work.read("shop/functions/hello.py");
    work.write("shop/functions/hello.py", &format!("import nosuchmodule\n{code}"));
    let manifest = work.read("shop/benchmark.toml");
    work.write(
        "shop/benchmark.toml",
        &manifest.replace("status = 200 }\n\n# What", "status = 200, timeout = \"4s\" }\n\n# What"),
    );
    let failed = work.sb_in("shop", &["test", "--executor", "host"]).expect(1);
    let cause = "says first: ModuleNotFoundError: No module named 'nosuchmodule'";
    let of = |start: &str| {
        failed.stderr.lines().find(|line| line.trim_start().starts_with(start)).map(str::to_owned)
    };
    let end = of("failed ").unwrap_or_default();
    assert!(end.contains("did not answer 200 within 4s") && end.contains(cause), "{}", failed.stderr);
    // What it suggests works.
    let command = end.split('`').find(|part| part.starts_with("sb local logs ")).unwrap();
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let log = work.sb_in("shop", &arguments).expect(0);
    assert!(log.stdout.contains("nosuchmodule"), "{}", log.stdout);
    assert!(work.sb_in("shop", &["why", "deploy/ready"]).expect(0).stdout.contains(cause));
}

#[test]
fn nothing_is_overwritten() {
    let work = Workspace::new();
    work.write("taken/mine.txt", "mine");
    work.write("file", "mine");
    for name in ["taken", "file"] {
        let refused = work.sb(&["new", name]).expect(2);
        assert!(refused.stderr.contains("is there already"), "{}", refused.stderr);
    }
    assert_eq!(file_names(&work.path().join("taken")), ["mine.txt"]);
    assert_eq!(work.read("file"), "mine");
    // An empty folder is as good as none.
    std::fs::create_dir(work.path().join("empty")).unwrap();
    work.sb(&["new", "empty"]).expect(0);
}

#[test]
fn what_cannot_be_made_is_refused_with_a_reason() {
    let work = Workspace::new();
    let check = |arguments: &[&str], code: i32, part: &str| {
        let mut words = vec!["new"];
        words.extend(arguments);
        let refused = work.sb(&words).expect(code);
        assert!(refused.stderr.contains(part), "{arguments:?}: {}", refused.stderr);
    };
    check(&["my shop"], 2, "cannot be the name");
    check(&["."], 2, "cannot be the name");
    check(&["shop", "--target", "aws,mars"], 2, "no template for a target `mars`");
    check(&["shop", "--target", ""], 2, "no template for a target ``");
    check(&["nowhere/shop"], 1, "cannot write `nowhere/shop`");
    assert!(!work.path().join("shop").exists());
}

#[test]
fn the_walk_through_runs_as_it_is_written() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/add-your-application.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 3, "{blocks:?}");
    let work = Workspace::new();
    let program = Path::new(env!("CARGO_BIN_EXE_sb")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-exc", &blocks.concat()]).current_dir(work.path()).env("PATH", path);
    let ran = Ran::of(shell.env_remove("SB_STATE_DIR").output().unwrap()).expect(0);
    assert!(ran.stdout.contains("computation"), "the analysis is shown: {} {}", ran.stdout, ran.stderr);
    let folders = file_names(&work.path().join("shop/logs"));
    assert_eq!(folders.len(), 2, "{folders:?}");
    assert_eq!(work.processes(), Vec::<String>::new());
}
