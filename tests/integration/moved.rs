//! Workspaces that were moved or copied: a move goes on where it is, a copy is not taken for its original.

use std::path::Path;
use std::process::Command;

use crate::workspace::{Ran, Workspace};

/// What is deployed is a folder in `cloud` beside the manifest. Every step says that it runs.
const MANIFEST: &str = r#"
[benchmark]
name = "app"

[targets.local]
traces = "none"

[[deploy]]
name = "stack"
run = "mkdir -p cloud/it; echo deploy >> trail"

[[deploy]]
name = "slow"
run = "echo begin >> trail; sleep 2; echo end >> trail"

[[cleanup]]
name = "stack"
run = "rmdir cloud/it; echo cleanup >> trail"
"#;

const PLAN: &str =
    "[plan]\nname = \"p\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"benchmark.toml\"\n";

/// The folder `name`, which is the whole workspace.
fn workspace(name: &str) -> Workspace {
    let work = Workspace::new();
    work.write(&format!("{name}/benchmark.toml"), MANIFEST);
    work.write(&format!("{name}/plan.toml"), PLAN);
    std::fs::create_dir(work.path().join(name).join(".sb")).unwrap();
    work
}

fn shell(folder: &Path, command: &str) {
    assert!(
        Command::new("sh").args(["-c", command]).current_dir(folder).status().unwrap().success(),
        "{command}"
    );
}

/// Does what a message suggests, from another folder.
#[track_caller]
fn paste(work: &Workspace, command: &str) -> Ran {
    let program = Path::new(env!("CARGO_BIN_EXE_sb")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir("/").env("PATH", path);
    shell.env("XDG_RUNTIME_DIR", work.path().join(".runtime"));
    Ran::of(shell.output().unwrap())
}

fn suggested(leaks: &Ran) -> String {
    leaks.stdout.split_once("with: ").unwrap().1.lines().next().unwrap().to_owned()
}

/// Starts a run in `one`, and kills its runner: the step goes on.
fn kill_while_a_step_runs(work: &Workspace) {
    let log = std::fs::File::create(work.path().join("runner.log")).unwrap();
    let mut runner =
        work.command(&["run", "plan.toml"]).current_dir(work.path().join("one")).stderr(log).spawn().unwrap();
    assert!(work.appears("one/trail", "begin"), "{}", work.read("runner.log"));
    runner.kill().unwrap();
    runner.wait().unwrap();
}

#[test]
fn what_a_moved_workspace_owes_is_paid_by_the_command_that_is_suggested() {
    let work = workspace("old place");
    work.sb_in("old place", &["prepare", "--executor", "host"]).expect(0);
    shell(&work.path(), "mv 'old place' 'new place'");
    let state = work.path().join("new place/.sb").display().to_string();
    let leaks = work.sb(&["leaks", "--state-dir", &state]).expect(4);
    assert!(leaks.stdout.contains("new place/benchmark.toml"), "{leaks:?}");
    let command = suggested(&leaks);
    paste(&work, &command).expect(0);
    assert!(work.read("new place/trail").ends_with("cleanup\n"));
    work.sb_in("new place", &["leaks"]).expect(0);
}

#[test]
fn a_run_goes_on_in_a_workspace_that_was_moved_twice() {
    let work = workspace("one");
    kill_while_a_step_runs(&work);
    assert!(work.appears("one/trail", "end"));
    shell(&work.path(), "mv one two");
    work.sb_in("two", &["runs"]).expect(0);
    shell(&work.path(), "mv two three");
    let leaks = work.sb(&["leaks", "--state-dir", "three/.sb"]).expect(4);
    paste(&work, &suggested(&leaks)).expect(0);
    assert_eq!(work.read("three/trail"), "deploy\nbegin\nend\ncleanup\n");
}

#[test]
fn a_step_that_runs_while_its_workspace_is_moved_is_not_run_again() {
    let work = workspace("one");
    kill_while_a_step_runs(&work);
    shell(&work.path(), "mv one two");
    // The command's own folder has moved with it.
    work.sb_in("two", &["resume"]).expect(0);
    assert_eq!(work.read("two/trail"), "deploy\nbegin\nend\ncleanup\n");
    assert!(!work.path().join("one").exists());
}

#[test]
fn a_copy_leaves_what_its_original_runs_and_owes_alone() {
    let work = workspace("one");
    kill_while_a_step_runs(&work);
    shell(&work.path(), "cp -a one two");
    for arguments in [&["resume"][..], &["run", "plan.toml"], &["prepare", "--executor", "host"]] {
        let refused = work.sb_in("two", arguments).expect(7);
        assert!(
            refused.stderr.contains("is a copy of") && refused.stderr.contains("touch "),
            "{}",
            refused.stderr
        );
    }
    let leaks = work.sb_in("two", &["leaks"]).expect(4);
    assert!(leaks.stderr.contains("is a copy of"), "{leaks:?}");
    // Though it is told to take over, it does not touch a step of the original that runs.
    std::fs::write(work.path().join("two/.sb/take-over"), "").unwrap();
    let _ = work.sb_in("two", &["resume"]);
    assert!(work.appears("one/trail", "end"), "{}", work.read("one/trail"));
    work.sb_in("one", &["resume"]).expect(0);
    assert_eq!(work.read("one/trail"), "deploy\nbegin\nend\ncleanup\n");
}

#[test]
fn what_a_copy_says_of_a_debt_is_what_can_be_done() {
    let work = workspace("one");
    work.sb_in("one", &["prepare", "--executor", "host"]).expect(0);
    shell(&work.path(), "cp -a one two");
    for arguments in [&["cleanup", "--executor", "host"][..], &["prepare", "--executor", "host"]] {
        let refused = work.sb_in("two", arguments).expect(7);
        assert!(refused.stderr.contains("is a copy of"), "{}", refused.stderr);
    }
    let leaks = work.sb_in("two", &["leaks"]).expect(4);
    let command = leaks.stdout.split_once("owed by the original: ").unwrap().1.trim();
    let leaks = paste(&work, command).expect(4);
    paste(&work, &suggested(&leaks)).expect(0);
    assert!(work.read("one/trail").ends_with("cleanup\n"));
    // The way out in which the copy takes its place.
    let refused = work.sb_in("two", &["cleanup", "--executor", "host"]).expect(7);
    let command = refused.stderr.split('`').find(|part| part.starts_with("touch ")).unwrap();
    paste(&work, command).expect(0);
    work.sb_in("two", &["cleanup", "--executor", "host"]).expect(0);
    assert!(work.read("two/trail").ends_with("cleanup\n"));
}

#[test]
fn a_copy_is_none_less_when_its_original_is_moved_while_a_runner_drives_it() {
    let work = workspace("one");
    let log = std::fs::File::create(work.path().join("runner.log")).unwrap();
    let mut runner =
        work.command(&["run", "plan.toml"]).current_dir(work.path().join("one")).stderr(log).spawn().unwrap();
    assert!(work.appears("one/trail", "begin"), "{}", work.read("runner.log"));
    shell(&work.path(), "cp -a one two && mv one three");
    let refused = work.sb_in("two", &["resume"]).expect(7);
    assert!(
        refused.stderr.contains("is a copy of") && refused.stderr.contains("/three/.sb"),
        "{}",
        refused.stderr
    );
    let command = refused.stderr.split('`').find(|part| part.starts_with("sb leaks ")).unwrap();
    assert!(!paste(&work, command).stderr.contains("is a copy"));
    // The runner finds that its state was moved, and another one goes on there.
    assert!(!runner.wait().unwrap().success());
    work.sb_in("three", &["resume"]).expect(0);
    assert_eq!(work.read("three/trail"), "deploy\nbegin\nend\ncleanup\n");
    assert!(!work.read("two/trail").contains("cleanup"));
}

#[test]
fn a_copy_whose_original_was_moved_is_not_taken_for_it() {
    let work = workspace("one");
    work.sb_in("one", &["prepare", "--executor", "host"]).expect(0);
    shell(&work.path(), "cp -a one two && mv one three");
    for arguments in [&["cleanup", "--executor", "host"][..], &["prepare", "--executor", "host"]] {
        let refused = work.sb_in("two", arguments).expect(7);
        assert!(refused.stderr.contains("which was moved or removed since"), "{}", refused.stderr);
    }
    let state = work.path().join("two/.sb").display().to_string();
    let leaks = work.sb(&["leaks", "--state-dir", &state]).expect(4);
    let take_over = leaks.stdout.split_once("if it is gone: ").unwrap().1.lines().next().unwrap().to_owned();
    // The original was only moved, so it goes on where it is.
    work.sb_in("three", &["cleanup", "--executor", "host"]).expect(0);
    assert!(work.read("three/trail").ends_with("cleanup\n"));
    assert!(!work.read("two/trail").contains("cleanup"));
    // It is gone: the copy takes its place.
    shell(&work.path(), "rm -r three");
    let leaks = paste(&work, &take_over).expect(4);
    paste(&work, &suggested(&leaks)).expect(0);
    assert!(work.read("two/trail").ends_with("cleanup\n"));
}

#[test]
fn a_copy_of_a_workspace_that_has_ended_everything_begins_runs_of_its_own() {
    let work = workspace("one");
    work.sb_in("one", &["run", "plan.toml"]).expect(0);
    shell(&work.path(), "cp -a one two");
    work.sb_in("two", &["run", "plan.toml"]).expect(0);
    assert_eq!(work.read("two/trail").matches("cleanup").count(), 2);
    assert_eq!(work.read("one/trail").matches("cleanup").count(), 1);
}

/// Whoever holds the lock of an attempt works on it, though its process cannot be seen: it may be in another container.
#[test]
fn an_attempt_whose_lock_is_held_is_never_gone() {
    use sb::command_exit::Found;
    let folder = tempfile::tempdir().unwrap();
    let claim = r#"{"version":1,"boot_id":"another","supervisor":{"pid":1,"start_time":1},"child":null}"#;
    std::fs::write(folder.path().join("claim.json"), claim).unwrap();
    let lock = std::fs::File::create(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(sb::host::look(folder.path()).unwrap(), Found::Running);
    drop(lock);
    assert_eq!(sb::host::look(folder.path()).unwrap(), Found::Gone);
}
