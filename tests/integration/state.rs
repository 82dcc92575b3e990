//! A state that is emptied, damaged, lost, put back from an old copy, or removed while it is in use: what stands is known
//! all the same, and can be removed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::workspace::{Ran, Workspace};

/// What is deployed is a folder in `cloud`.
const MANIFEST: &str = r#"
[benchmark]
name = "app"

[targets.local]
traces = "none"

[params]
id = { random_hex = 6 }

[[deploy]]
name = "stack"
run = "mkdir -p cloud/{{params.id}}; echo {{params.id}}"
outputs.made = { line = -1, default = "none" }

[[cleanup]]
name = "stack"
run = "rmdir cloud/{{outputs.made}}"
"#;

const PLAN: &str = "[plan]\nname = \"p\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"benchmark.toml\"\n[trials]\nrepetitions = 3\n";

fn workspace() -> Workspace {
    let work = Workspace::new();
    work.write("benchmark.toml", MANIFEST);
    work
}

/// Something is deployed.
fn deployed() -> Workspace {
    let work = workspace();
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work
}

fn standing(work: &Workspace) -> usize {
    fs::read_dir(work.path().join("cloud")).map_or(0, Iterator::count)
}

fn state(work: &Workspace, name: &str) -> PathBuf {
    work.path().join(".sb").join(name)
}

fn is_listed(ran: &Ran) -> bool {
    ran.code != 0 && ran.stdout.contains("app@local")
}

/// What stands is listed and removed, after the state was spoilt.
#[track_caller]
fn check_spoilt(spoil: impl FnOnce(&Workspace)) {
    let work = deployed();
    spoil(&work);
    let leaks = work.sb(&["leaks"]);
    assert!(is_listed(&leaks) && leaks.code == 4, "{leaks:?}");
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    assert_eq!(standing(&work), 0);
    assert!(work.sb(&["leaks"]).expect(0).stderr.contains("nothing is owed"));
}

#[test]
fn a_state_that_was_emptied_or_lost_is_written_anew_from_the_records_beside_it() {
    check_spoilt(|work| fs::write(state(work, "state.db"), "").unwrap());
    check_spoilt(|work| fs::remove_file(state(work, "state.db")).unwrap());
}

#[test]
fn a_run_that_had_ended_is_not_cancelled_in_a_state_that_is_written_anew() {
    let listed = |work: &Workspace| work.sb(&["status"]).expect(0).stdout;
    for (run, code, verdict) in [("true", 0, "complete"), ("exit 3", 1, "failed")] {
        let work = workspace();
        let manifest = format!("{MANIFEST}\n[[invoke]]\nname = \"call\"\nrun = \"{run}\"\n");
        work.write("benchmark.toml", &manifest);
        work.sb(&["test", "--executor", "host"]).expect(code);
        let before = listed(&work);
        assert!(before.contains(&format!("{verdict}; cleanup complete")), "{before}");
        fs::remove_file(state(&work, "state.db")).unwrap();
        assert_eq!(listed(&work), before);
        let steps = work.sb(&["status", "--all"]).expect(0).stdout;
        let call = steps.lines().find(|line| line.contains("invoke/call")).unwrap();
        let is_known = if code == 0 { call.contains("succeeded") } else { call.contains("exit code 3") };
        assert!(is_known && !steps.contains("running"), "{steps}");
        assert!(work.sb(&["resume"]).expect(0).stderr.contains("ended"));
    }
    // One that went on since it ended has not ended as the record says.
    let work = deployed();
    fs::remove_file(state(&work, "state.db")).unwrap();
    assert!(!listed(&work).contains("cancelled"), "{}", listed(&work));
}

#[test]
fn what_runs_have_measured_is_found_again_by_a_state_that_is_written_anew_even_elsewhere() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    fs::create_dir(work.path().join("examples/.sb")).unwrap();
    let there = "examples/hello-http";
    let ran = work.sb_in(there, &["test", "3"]);
    assert!(ran.code == 0 || ran.code == 5, "{}", ran.stderr);
    let shown = |folder: &str| {
        let report = work.sb_in(folder, &["report", "--format", "json"]).expect(0).stdout;
        serde_json::from_str::<Value>(&report).unwrap()["applications"].to_string()
    };
    let before = shown(there);
    assert!(before.contains("\"valid\":3") && before.contains("/examples/hello-http/logs/"), "{before}");
    fs::remove_file(work.path().join("examples/.sb/state.db")).unwrap();
    assert_eq!(shown(there), before);
    // The records name the folder as it was called when they were written.
    fs::rename(work.path().join("examples"), work.path().join("moved")).unwrap();
    fs::remove_file(work.path().join("moved/.sb/state.db")).unwrap();
    assert_eq!(shown("moved/hello-http"), before.replace("/examples/", "/moved/"));
}

#[test]
fn commands_go_on_with_the_last_invocation_of_a_deployment_when_the_state_is_written_anew() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let sb = |arguments: &[&str]| work.sb_in("examples/hello-http", arguments);
    sb(&["prepare"]).expect(0);
    let _ = sb(&["invoke", "1"]);
    let _ = sb(&["invoke", "2"]);
    fs::remove_file(state(&work, "state.db")).unwrap();
    let found = sb(&["get-traces", "--format", "json"]);
    sb(&["cleanup"]).expect(0);
    let found: Value = serde_json::from_str(&found.expect(0).stdout).unwrap();
    assert_eq!(found["invocations"][0]["retrieval"]["found"], 2, "{found:#}");
}

#[test]
fn an_old_copy_of_the_state_that_is_put_back_does_not_hide_what_was_deployed_since() {
    let work = deployed();
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    let old = fs::read(state(&work, "state.db")).unwrap();
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    fs::write(state(&work, "state.db"), old).unwrap();
    let leaks = work.sb(&["leaks"]).expect(4);
    assert!(leaks.stdout.contains("app@local") && leaks.stderr.contains("had lost run"), "{leaks:?}");
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    assert_eq!(standing(&work), 0);
}

#[test]
fn an_old_copy_of_the_state_that_is_put_back_does_not_have_what_was_cleaned_up_cleaned_up_again() {
    let work = deployed();
    let old = fs::read(state(&work, "state.db")).unwrap();
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    fs::write(state(&work, "state.db"), old).unwrap();
    let leaks = work.sb(&["leaks"]).expect(0);
    assert!(leaks.stderr.contains("it was cleaned up since"), "{}", leaks.stderr);
    assert!(leaks.stderr.contains("nothing is owed"), "{}", leaks.stderr);
    // Deployed again, it is owed again.
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    fs::remove_dir_all(state(&work, "owed")).unwrap();
    work.sb(&["leaks"]).expect(4);
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    assert_eq!(standing(&work), 0);
}

#[test]
fn a_damaged_state_is_refused_and_what_stands_is_listed_and_removed_once_it_was_moved_away() {
    let work = deployed();
    fs::write(state(&work, "state.db"), "this is not a database, it is a text of some length").unwrap();
    let leaks = work.sb(&["leaks"]).expect(4);
    assert!(is_listed(&leaks), "{leaks:?}");
    let refused = work.sb(&["cleanup", "--executor", "host"]).expect(7);
    assert!(refused.stderr.contains("is damaged"), "{}", refused.stderr);
    // The way out, as it can be pasted.
    let command = leaks.stderr.split('`').find(|part| part.starts_with("mkdir ")).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    work.sb(&["leaks"]).expect(4);
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    assert_eq!(standing(&work), 0);
}

#[test]
fn a_damaged_record_of_a_deployment_is_no_proof_that_nothing_is_owed() {
    let work = deployed();
    let record = state(&work, "owed/app@local.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, &text[..text.len() / 2]).unwrap();
    // The journal knows, and writes the record anew.
    assert!(is_listed(&work.sb(&["leaks"])));
    assert_eq!(fs::read_to_string(&record).unwrap(), text);
    fs::write(&record, &text[..text.len() / 2]).unwrap();
    fs::remove_file(state(&work, "state.db")).unwrap();
    let leaks = work.sb(&["leaks"]);
    assert!(is_listed(&leaks), "{leaks:?}");
}

#[test]
fn a_state_that_is_lost_with_its_records_is_refused() {
    let work = deployed();
    fs::remove_file(state(&work, "state.db")).unwrap();
    fs::remove_dir_all(state(&work, "owed")).unwrap();
    for arguments in [&["leaks"][..], &["status"], &["resume"], &["prepare", "--executor", "host"]] {
        let refused = work.sb(arguments).expect(7);
        assert!(refused.stderr.contains("has lost what it knew of run 2"), "{}", refused.stderr);
    }
    // The folder alone says nothing of what it has held.
    let work = deployed();
    fs::remove_file(state(&work, "state.db")).unwrap();
    fs::remove_file(state(&work, "owed/app@local.json")).unwrap();
    for arguments in [&["leaks"][..], &["status"], &["resume"]] {
        let refused = work.sb(arguments).expect(7);
        assert!(refused.stderr.contains("has lost what it knew of run 2"), "{}", refused.stderr);
    }
    // What was cleaned up has a record of that.
    let work = deployed();
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    fs::remove_file(state(&work, "state.db")).unwrap();
    assert!(work.sb(&["leaks"]).expect(0).stderr.contains("nothing is owed"));
    // With the journal, the records are written anew.
    let work = deployed();
    fs::remove_dir_all(state(&work, "owed")).unwrap();
    work.sb(&["leaks"]).expect(4);
    fs::remove_file(state(&work, "state.db")).unwrap();
    work.sb(&["leaks"]).expect(4);
}

#[test]
fn where_nothing_was_run_no_command_that_looks_makes_a_state() {
    let work = workspace();
    for arguments in [&["leaks"][..], &["runs"], &["status"], &["plan", "estimate", "plan.toml"]] {
        work.write("plan.toml", PLAN);
        work.sb(arguments).expect(0);
        assert!(!work.path().join(".sb").exists(), "{arguments:?}");
    }
    assert!(!work.sb(&["leaks"]).stderr.contains("nothing is owed"));
}

#[test]
fn a_run_whose_state_is_removed_starts_nothing_new_and_what_it_deployed_is_known() {
    let work = workspace();
    work.write("benchmark.toml", &MANIFEST.replace("mkdir -p", "sleep 0.5; mkdir -p"));
    work.write("plan.toml", PLAN);
    let mut runner = work.start(&["run", "plan.toml"]);
    assert!(work.appears("runner.log", "done       app.1/deploy/stack"), "{}", work.read("runner.log"));
    let begun = "started    app.2/deploy/stack";
    assert!(work.appears("runner.log", begun), "{}", work.read("runner.log"));
    // Steps that run make their folders at the same time.
    while fs::remove_dir_all(work.path().join(".sb")).is_err() {}
    work.sb(&["runs"]).expect(0);
    assert_eq!(runner.wait().unwrap().code(), Some(7), "{}", work.read("runner.log"));
    let log = work.read("runner.log");
    assert!(log.contains("was removed") && !log.contains("started    app.3/deploy"), "{log}");
    let leaks = work.sb(&["leaks"]).expect(4);
    assert!(leaks.stdout.contains("app.2  "), "{leaks:?}");
    std::thread::sleep(std::time::Duration::from_millis(700));
    let paid = work.sb(&["resume"]);
    assert!(paid.stderr.contains("app.2/cleanup/stack"), "{paid:?}");
}

/// In a folder that may not be entered, for example.
#[test]
fn a_state_that_cannot_be_looked_at_is_not_taken_for_none() {
    let work = workspace();
    for arguments in [&["resume"][..], &["cleanup", "20260101-000000-p-0000"], &["leaks"]] {
        let refused = work.sb(&[arguments, &["--state-dir", "benchmark.toml/.sb"]].concat());
        assert_ne!(refused.code, 0, "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("cannot read the state"), "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
#[ignore = "needs: root"]
fn the_state_of_another_user_is_refused_unless_it_is_named_and_so_is_one_that_others_may_write_to() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let work = deployed();
    let folder = state(&work, "");
    chown(&folder, Some(12_345), Some(12_345)).unwrap();
    fs::create_dir(work.path().join("below")).unwrap();
    for arguments in [&["resume"][..], &["leaks"], &["runs"], &["local", "down"]] {
        let refused = work.sb_in("below", arguments).expect(7);
        assert!(refused.stderr.contains("belongs to another user (12345)"), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    work.sb(&["leaks", "--state-dir", ".sb"]).expect(4);
    chown(&folder, Some(0), Some(0)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = work.sb_in("below", &["resume"]).expect(7);
    assert!(refused.stderr.contains("chmod go-w"), "{}", refused.stderr);
    let command = refused.stderr.split('`').find(|part| part.starts_with("chmod ")).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
    work.sb_in("below", &["leaks"]).expect(4);
}

/// Numbers that look random, and are the same each time.
fn draw(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

/// A run that was killed while something was deployed: most of its journal is in the log.
fn killed() -> Workspace {
    let work = workspace();
    work.write("benchmark.toml", &MANIFEST.replace("run = \"rmdir", "run = \"sleep 0.5; rmdir"));
    work.write("plan.toml", PLAN);
    work.sb(&["run", "plan.toml"]).expect(0);
    let mut runner = work.start(&["run", "plan.toml"]);
    assert!(work.appears("runner.log", "started    app.1/cleanup/stack"), "{}", work.read("runner.log"));
    runner.kill().unwrap();
    runner.wait().unwrap();
    work
}

#[test]
fn a_plan_of_which_a_run_was_left_is_not_run_beside_it_unasked() {
    let work = killed();
    let refused = work.sb(&["run", "plan.toml"]).expect(1);
    assert!(refused.stderr.contains("has not ended, and what it deployed"), "{}", refused.stderr);
    let command = refused.stderr.split('`').find(|part| part.starts_with("sb resume ")).unwrap().to_owned();
    let anew = work.sb(&["run", "plan.toml", "--anew"]).expect(0);
    assert!(anew.stderr.contains(&format!("`{command}` goes on with it")), "{}", anew.stderr);
    let words: Vec<_> = command.split(' ').skip(1).collect();
    work.sb(&words).expect(0);
    let again = work.sb(&["run", "plan.toml"]).expect(0);
    assert!(!again.stderr.contains("has not ended"), "{}", again.stderr);
    assert_eq!(standing(&work), 0);
}

#[test]
fn a_plan_of_which_a_run_goes_on_is_not_run_beside_it_unasked() {
    let work = workspace();
    work.write(
        "benchmark.toml",
        &MANIFEST.replace("mkdir -p", "while [ ! -e go ]; do sleep 0.05; done; mkdir -p"),
    );
    work.write("plan.toml", PLAN);
    let mut runner = work.start(&["run", "plan.toml"]);
    assert!(work.appears("runner.log", "started    app.1/deploy/stack"), "{}", work.read("runner.log"));
    let refused = work.sb(&["run", "plan.toml"]).expect(6);
    let refusal = refused.stderr.replace("\n  │ ", " ");
    assert!(refusal.contains("no other one is started"), "{refusal}");
    let command = refused.stderr.split('`').find(|part| part.starts_with("sb status ")).unwrap().to_owned();
    let anew = refused.stderr.split('`').find(|part| part.ends_with(" --anew")).unwrap().to_owned();
    let words = |command: &str| command.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let status: Vec<_> = words(&command).into_iter().filter(|word| word != "--watch").collect();
    work.sb(&status.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    work.write("go", "");
    work.sb(&words(&anew).iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    assert!(runner.wait().unwrap().success(), "{}", work.read("runner.log"));
    work.sb(&["run", "plan.toml"]).expect(0);
    assert_eq!(standing(&work), 0);
}

fn copy(from: &Path, to: &Path) {
    let ran = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(ran.success());
}

#[test]
fn that_nothing_is_owed_is_never_said_of_a_state_that_was_damaged_anywhere() {
    let work = killed();
    let kept = tempfile::tempdir().unwrap();
    copy(&work.path().join(".sb"), &kept.path().join("sb"));
    let mut seed = 11;
    for round in 0..60 {
        fs::remove_dir_all(work.path().join(".sb")).unwrap();
        copy(&kept.path().join("sb"), &work.path().join(".sb"));
        let file = state(&work, if round % 3 == 0 { "state.db" } else { "state.db-wal" });
        let mut bytes = fs::read(&file).unwrap();
        let at = draw(&mut seed) % bytes.len();
        match round % 5 {
            0 => bytes.truncate(at),
            1 => bytes.clear(),
            2 => bytes[at..].iter_mut().take(512).for_each(|byte| *byte = 0xa5),
            _ => bytes[at] ^= 1 << (draw(&mut seed) % 8),
        }
        fs::write(&file, bytes).unwrap();
        if round % 2 == 0 {
            fs::remove_file(state(&work, "state.db-shm")).unwrap();
        }
        let leaks = work.sb(&["leaks"]);
        assert!(leaks.code != 0 && leaks.stdout.contains("app.1  "), "round {round}, {at}: {leaks:?}");
    }
}

#[test]
fn a_state_below_the_folder_is_found_and_several_are_named() {
    let work = Workspace::new();
    // Outside of a git work tree, the state is beside the manifest.
    std::fs::remove_dir(work.path().join(".git")).unwrap();
    for name in ["one", "two"] {
        let manifest = format!(
            "[benchmark]\nname = \"{name}\"\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"d\"\nrun = \"true\"\n\
             [[cleanup]]\nname = \"c\"\nrun = \"true\"\n"
        );
        work.write(&format!("apps/{name}/benchmark.toml"), &manifest);
    }
    assert!(work.sb(&["resume"]).expect(0).stderr.contains("nothing was run yet in "));
    work.sb(&["prepare", "--executor", "host", "-f", "apps/one/benchmark.toml"]).expect(0);
    let leaks = work.sb(&["leaks"]).expect(4);
    assert!(leaks.stdout.contains("one@local"), "{} {}", leaks.stdout, leaks.stderr);
    assert!(leaks.stderr.contains("apps/one/.sb"), "{}", leaks.stderr);
    assert!(work.sb(&["runs"]).expect(0).stdout.contains("one"));
    work.sb(&["prepare", "--executor", "host", "-f", "apps/two/benchmark.toml"]).expect(0);
    for command in ["leaks", "status", "runs", "resume", "report"] {
        let refused = work.sb(&[command]).expect(2);
        for name in ["apps/one/.sb", "apps/two/.sb", "--state-dir"] {
            assert!(refused.stderr.contains(name), "{command}: no `{name}` in {}", refused.stderr);
        }
    }
    // Of many, some are named.
    for number in 0..6 {
        std::fs::create_dir_all(work.path().join(format!("more/{number}/.sb"))).unwrap();
    }
    let many = work.sb(&["leaks"]).expect(2);
    assert!(many.stderr.contains("3 more") && !many.stderr.contains("more/5"), "{}", many.stderr);
    // A state of this folder comes first.
    std::fs::create_dir(work.path().join(".sb")).unwrap();
    assert!(work.sb(&["leaks"]).expect(0).stderr.contains("nothing was run yet"));
}

#[test]
fn a_deployment_is_removed_with_the_tools_that_made_it_and_a_test_says_that_it_replaces_it() {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        "[benchmark]\nname = \"app\"\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"d\"\nrun = \"echo d >> trail\"\n\
         [[cleanup]]\nname = \"c\"\nrun = \"echo c >> trail\"\n",
    );
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work.sb(&["cleanup"]).expect(0);
    assert_eq!(work.read("trail"), "d\nc\n");
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    let tested = work.sb(&["test", "--executor", "host"]).expect(0);
    assert!(tested.stderr.contains("`app@local` is deployed already"), "{}", tested.stderr);
    assert!(!work.sb(&["test", "--executor", "host"]).expect(0).stderr.contains("is deployed already"));
}
