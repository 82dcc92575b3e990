//! What follows from failures and from edits: retries, kept deployments, changed files, and why.

use std::process::Child;

use crate::workspace::Workspace;

fn kill(runner: &mut Child) {
    runner.kill().unwrap();
    runner.wait().unwrap();
}

/// An application whose steps note that they ran; steps that wait go on when the file `go` is there.
fn manifest(deploy: &str) -> String {
    format!(
        r#"
[benchmark]
name = "app"

[params]
size = 1
tag = {{ random_hex = 6 }}

[targets.local]
traces = "none"

{deploy}

[[invoke]]
name = "call"
run = "echo call {{{{trial.number}}}} size {{{{params.size}}}} >> trail; echo {{{{params.tag}}}} >> tags; while [ ! -e go ]; do sleep 0.05; done"

[[cleanup]]
name = "stack"
run = "echo cleanup size {{{{params.size}}}} >> trail"
"#
    )
}

const ONE: &str = "[[deploy]]\nname = \"one\"\nrun = \"echo one >> trail\"\n";

/// A plan over applications in folders of these names.
fn plan(applications: &[&str], more: &str) -> String {
    let mut text = "[plan]\nname = \"p\"\nexecutor = \"host\"\n".to_owned();
    for name in applications {
        text += &format!("[[applications]]\nname = \"{name}\"\nmanifest = \"{name}/benchmark.toml\"\n");
    }
    text + more
}

fn lines(work: &Workspace, name: &str) -> Vec<String> {
    work.read(name).lines().map(str::to_owned).collect()
}

#[test]
fn a_throttled_deploy_step_is_tried_again_without_being_asked_to() {
    let work = Workspace::new();
    let throttled = "echo try >> trail; [ $(wc -l < trail) -gt 1 ] || { echo 'An error occurred (ThrottlingException)' >&2; exit 254; }";
    let deploy = format!(
        "[[deploy]]\nname = \"one\"\nrun = \"{throttled}\"\nretry = {{ attempts = 3, delay = \"200ms\", backoff = 2, on = \"throttled\" }}\n"
    );
    work.write("app/benchmark.toml", &manifest(&deploy));
    work.write("app/go", "");
    work.write("p.toml", &plan(&["app"], ""));
    let ran = work.sb(&["run", "p.toml"]).expect(0);
    assert!(ran.stderr.contains("it was throttled (AWS: `ThrottlingException`)"), "{}", ran.stderr);
    assert_eq!(lines(&work, "app/trail"), ["try", "try", "call 1 size 1", "cleanup size 1"]);
    let why = work.sb(&["why", "deploy/one"]).expect(0).stdout;
    assert!(why.contains("attempt 2 of 3"), "{why}");
    assert!(why.contains("throttled"), "{why}");
}

#[test]
fn a_failure_of_another_kind_is_not_tried_again() {
    let work = Workspace::new();
    let deploy = "[[deploy]]\nname = \"one\"\nrun = \"echo try >> trail; exit 3\"\nretry = { attempts = 5, on = [\"throttled\", \"timed_out\"] }\n";
    work.write("app/benchmark.toml", &manifest(deploy));
    work.write("p.toml", &plan(&["app"], ""));
    work.sb(&["run", "p.toml"]).expect(1);
    assert_eq!(lines(&work, "app/trail"), ["try", "cleanup size 1"]);
    let why = work.sb(&["why", "invoke/call"]).expect(0).stdout;
    assert!(why.contains("skipped") && why.contains("app.1/deploy/one"), "{why}");
    let why = work.sb(&["why", "deploy/one"]).expect(0).stdout;
    assert!(why.contains("not tried again"), "{why}");
}

const BROKEN: &str = "[[deploy]]\nname = \"one\"\nrun = \"echo one >> trail; test -e fixed\"\n";

#[test]
fn a_kept_deployment_stays_until_its_cleanup_is_asked_for() {
    let work = Workspace::new();
    work.write("app/benchmark.toml", &manifest(BROKEN));
    work.write("good/benchmark.toml", &manifest(ONE));
    work.write("good/go", "");
    work.write("p.toml", &plan(&["app", "good"], ""));
    let ran = work.sb(&["run", "p.toml", "--keep-on-failure"]).expect(4);
    assert!(ran.stderr.contains("sb cleanup"), "{}", ran.stderr);
    assert_eq!(lines(&work, "app/trail"), ["one"]);
    assert_eq!(lines(&work, "good/trail"), ["one", "call 1 size 1", "cleanup size 1"]);

    let leaks = work.sb(&["leaks"]).expect(4).stdout;
    assert!(leaks.contains("kept on failure: app.1/deploy/one failed"), "{leaks}");
    assert!(!leaks.contains("good"), "{leaks}");
    let run = leaks.split_whitespace().last().unwrap().to_owned();
    assert!(leaks.contains(&format!("sb cleanup {run}")), "{leaks}");

    // A resumed run keeps what it has kept.
    let resumed = work.sb(&["resume", &run]).expect(4);
    assert!(resumed.stderr.contains("sb cleanup"), "{}", resumed.stderr);
    assert_eq!(lines(&work, "app/trail"), ["one"]);
    let why = work.sb(&["why", "app.1/cleanup/stack"]).expect(0).stdout;
    assert!(why.contains("kept"), "{why}");

    work.sb(&["cleanup", &run]).expect(0);
    assert_eq!(lines(&work, "app/trail"), ["one", "cleanup size 1"]);
    work.sb(&["leaks"]).expect(0);
    assert!(work.sb(&["cleanup", &run]).expect(0).stderr.contains("owes no cleanup"));
}

#[test]
fn a_test_that_failed_is_kept_for_the_single_commands() {
    let work = Workspace::new();
    work.write("benchmark.toml", &manifest(BROKEN));
    work.sb(&["test", "--executor", "host", "--keep-on-failure"]).expect(4);
    assert_eq!(lines(&work, "trail"), ["one"]);
    assert!(work.sb(&["leaks"]).expect(4).stdout.contains("kept on failure"));
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    assert_eq!(lines(&work, "trail"), ["one", "cleanup size 1"]);
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn a_killed_run_that_keeps_is_resumed_and_still_keeps() {
    let work = Workspace::new();
    let deploy = format!(
        "{BROKEN}\n[[deploy]]\nname = \"side\"\nneeds = []\nrun = \"echo side >> trail; while [ ! -e go ]; do sleep 0.05; done\"\n"
    );
    work.write("app/benchmark.toml", &manifest(&deploy));
    work.write("p.toml", &plan(&["app"], "[concurrency]\ndeploy = 2\n"));
    let mut runner = work.start(&["run", "p.toml", "--keep-on-failure"]);
    assert!(work.appears("runner.log", "failed     app.1/deploy/one"), "{}", work.read("runner.log"));
    assert!(work.appears("app/trail", "side"));
    kill(&mut runner);
    work.write("app/go", "");
    work.sb(&["resume"]).expect(4);
    assert!(!work.read("app/trail").contains("cleanup"), "{}", work.read("app/trail"));
    assert!(work.sb(&["leaks"]).expect(4).stdout.contains("kept on failure"));
}

/// A run that was killed while its first trial waits for the file `go`.
fn killed_in_a_trial(more: &str) -> Workspace {
    let work = Workspace::new();
    work.write("app/benchmark.toml", &manifest(ONE));
    work.write("p.toml", &plan(&["app"], more));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("app/tags", "\n"), "{}", work.read("runner.log"));
    kill(&mut runner);
    work
}

#[test]
fn a_comment_is_no_edit() {
    let work = killed_in_a_trial("");
    work.write("p.toml", &("# a word\n".to_owned() + &plan(&["app"], "\n[trials]\nseed = 0\n")));
    work.write("app/go", "");
    let resumed = work.sb(&["resume"]).expect(0);
    assert!(resumed.stderr.contains("in a way that does not matter to the run"), "{}", resumed.stderr);
    assert_eq!(lines(&work, "app/trail"), ["one", "call 1 size 1", "cleanup size 1"]);
}

#[test]
fn an_edited_run_is_refused_with_the_difference_and_goes_on_as_it_was_started() {
    let work = killed_in_a_trial("");
    work.write("app/benchmark.toml", &manifest(ONE).replace("size = 1", "size = 2"));
    work.write("app/go", "");
    let refused = work.sb(&["resume"]).expect(1).stderr;
    assert!(refused.contains("-size = 1") && refused.contains("+size = 2"), "{refused}");
    assert!(refused.contains("app.1/t1/invoke/call"), "{refused}");
    assert!(refused.contains("cleaned up first"), "{refused}");
    assert!(refused.contains("--accept-changes") && refused.contains("--as-started"), "{refused}");
    work.sb(&["resume", "--as-started"]).expect(0);
    assert_eq!(lines(&work, "app/trail"), ["one", "call 1 size 1", "cleanup size 1"]);
}

#[test]
fn files_that_are_not_valid_any_more_can_only_be_left_alone() {
    let work = killed_in_a_trial("");
    work.write("p.toml", "[plan]\nname = 7\n");
    work.write("app/go", "");
    let refused = work.sb(&["resume", "--accept-changes"]).expect(3).stderr;
    assert!(refused.contains("--as-started"), "{refused}");
    work.sb(&["resume", "--as-started"]).expect(0);
}

#[test]
fn changed_parameters_are_cleaned_up_as_they_were_and_deployed_anew() {
    let work = killed_in_a_trial("");
    work.write("app/benchmark.toml", &manifest(ONE).replace("size = 1", "size = 2"));
    // The invocation that still runs is stopped: it never sees the file.
    let mut runner = work.start(&["resume", "--accept-changes"]);
    assert!(work.appears("app/trail", "size 2"), "{}", work.read("runner.log"));
    work.write("app/go", "");
    assert!(runner.wait().unwrap().success(), "{}", work.read("runner.log"));
    assert_eq!(
        lines(&work, "app/trail"),
        ["one", "call 1 size 1", "cleanup size 1", "one", "call 1 size 2", "cleanup size 2"]
    );
    let tags = lines(&work, "app/tags");
    assert_ne!(tags[0], tags[1], "it is another deployment");
    let why = work.sb(&["why", "invoke/call"]).expect(0).stdout;
    assert!(why.contains("change of the files was accepted"), "{why}");
    work.sb(&["leaks"]).expect(0);
    // What was accepted is what the run is made of from here on.
    assert!(work.sb(&["resume", "p-"]).expect(0).stderr.contains("nothing to resume"));
}

#[test]
fn a_stop_while_a_change_is_taken_up_starts_nothing_of_it() {
    let work = Workspace::new();
    let slow = |size: u32| {
        manifest(ONE).replace("size = 1", &format!("size = {size}")).replace(
            "name = \"stack\"\nrun = \"",
            "name = \"stack\"\nrun = \"echo begun > cleaning; while [ ! -e go ]; do sleep 0.05; done; ",
        )
    };
    work.write("app/benchmark.toml", &slow(1));
    work.write("p.toml", &plan(&["app"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("app/tags", "\n"), "{}", work.read("runner.log"));
    kill(&mut runner);
    work.write("app/benchmark.toml", &slow(2));
    let mut runner = work.start(&["resume", "--accept-changes"]);
    assert!(work.appears("app/cleaning", "begun"), "{}", work.read("runner.log"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // Whoever reads the signal has done so before the cleanup can end.
    std::thread::sleep(std::time::Duration::from_millis(500));
    work.write("app/go", "");
    assert_eq!(runner.wait().unwrap().code(), Some(130), "{}", work.read("runner.log"));
    assert_eq!(lines(&work, "app/trail"), ["one", "call 1 size 1", "cleanup size 1"]);
    let ran = work.sb(&["resume", "--accept-changes"]).expect(0);
    assert!(ran.stderr.contains("complete; cleanup complete"), "{}", ran.stderr);
    assert_eq!(lines(&work, "app/trail")[3..], ["one", "call 1 size 2", "cleanup size 2"]);
}

#[test]
fn a_changed_step_runs_again_with_all_that_needs_it_and_the_rest_is_kept() {
    let work = Workspace::new();
    let two = "[[deploy]]\nname = \"two\"\nrun = \"echo two >> trail\"\n";
    work.write("app/benchmark.toml", &manifest(&format!("{ONE}{two}")));
    work.write("p.toml", &plan(&["app"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("app/tags", "\n"));
    kill(&mut runner);
    work.write("app/benchmark.toml", &manifest(&format!("{ONE}{}", two.replace("echo two", "echo TWO"))));
    let mut runner = work.start(&["resume", "--accept-changes"]);
    assert!(work.appears("app/trail", "TWO\ncall"), "{}", work.read("runner.log"));
    work.write("app/go", "");
    assert!(runner.wait().unwrap().success(), "{}", work.read("runner.log"));
    assert_eq!(
        lines(&work, "app/trail"),
        ["one", "two", "call 1 size 1", "TWO", "call 1 size 1", "cleanup size 1"]
    );
    let tags = lines(&work, "app/tags");
    assert_eq!(tags[0], tags[1], "it is the same deployment");
}

#[test]
fn a_step_that_is_added_runs_and_what_follows_it_runs_again() {
    let work = killed_in_a_trial("");
    let two = "[[deploy]]\nname = \"two\"\nrun = \"echo two >> trail\"\n";
    work.write("app/benchmark.toml", &manifest(&format!("{ONE}{two}")));
    work.write("app/go", "");
    // The call may or may not have ended when it is stopped; it runs again in any case.
    let ran = work.sb(&["resume", "--accept-changes"]).expect(0);
    assert!(ran.stderr.contains("new steps:\n    app.1/deploy/two"), "{}", ran.stderr);
    assert_eq!(lines(&work, "app/trail"), ["one", "call 1 size 1", "two", "call 1 size 1", "cleanup size 1"]);
}

#[test]
fn more_trials_are_added_to_those_that_were_measured() {
    let work = Workspace::new();
    work.write("app/benchmark.toml", &manifest(ONE));
    work.write("app/go", "");
    let trials = |count: u32| plan(&["app"], &format!("[trials]\nper_deployment = {count}\n"));
    work.write("p.toml", &trials(3));
    work.sb(&["run", "p.toml"]).expect(0);
    work.write("p.toml", &trials(5));
    assert!(work.sb(&["resume", "p-"]).expect(0).stderr.contains("nothing to resume"));
    let ran = work.sb(&["resume", "p-", "--accept-changes"]).expect(0);
    assert!(ran.stderr.contains("deployed again:\n    app.1"), "{}", ran.stderr);
    let calls = |numbers: &[u32]| numbers.iter().map(|n| format!("call {n} size 1")).collect::<Vec<_>>();
    let expected = [
        vec!["one".to_owned()],
        calls(&[1, 2, 3]),
        vec!["cleanup size 1".to_owned(), "one".to_owned()],
        calls(&[4, 5]),
        vec!["cleanup size 1".to_owned()],
    ];
    assert_eq!(lines(&work, "app/trail"), expected.concat());
}

#[test]
fn more_trials_of_a_deployment_that_stands_run_on_it() {
    let work = killed_in_a_trial("");
    work.write("p.toml", &plan(&["app"], "[trials]\nper_deployment = 2\n"));
    work.write("app/go", "");
    work.sb(&["resume", "--accept-changes"]).expect(0);
    assert_eq!(lines(&work, "app/trail"), ["one", "call 1 size 1", "call 2 size 1", "cleanup size 1"]);
}

#[test]
fn an_application_that_is_gone_is_cleaned_up_first_and_a_new_one_runs() {
    let work = Workspace::new();
    let mark = |name: &str| manifest(ONE).replace("trail", &format!("../{name}"));
    work.write("old/benchmark.toml", &mark("all").replace("cleanup size", "cleanup of old"));
    work.write("new/benchmark.toml", &mark("all").replace("cleanup size", "cleanup of new"));
    work.write("new/go", "");
    work.write("p.toml", &plan(&["old"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("old/tags", "\n"));
    kill(&mut runner);
    work.write("p.toml", &plan(&["new"], ""));
    // What it was made of is kept with the run: the manifest itself may be gone.
    std::fs::remove_file(work.path().join("old/benchmark.toml")).unwrap();
    let ran = work.sb(&["resume", "--accept-changes"]).expect(0);
    assert!(
        ran.stderr.contains("cleaned up first, as they were defined before:\n    old.1"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        lines(&work, "all"),
        ["one", "call 1 size 1", "cleanup of old 1", "one", "call 1 size 1", "cleanup of new 1"]
    );
    work.sb(&["leaks"]).expect(0);
    assert_eq!(work.processes(), Vec::<String>::new());
}

#[test]
fn a_cleanup_that_failed_is_corrected_by_an_edit() {
    let work = Workspace::new();
    let broken = manifest(ONE).replace("echo cleanup", "false && echo cleanup");
    work.write("app/benchmark.toml", &broken);
    work.write("app/go", "");
    work.write("p.toml", &plan(&["app"], ""));
    work.sb(&["run", "p.toml"]).expect(4);
    work.write("app/benchmark.toml", &manifest(ONE));
    work.sb(&["resume", "p-"]).expect(1);
    work.sb(&["resume", "p-", "--accept-changes"]).expect(0);
    assert_eq!(lines(&work, "app/trail"), ["one", "call 1 size 1", "cleanup size 1"]);
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn a_change_whose_cleanup_fails_is_not_complete_and_can_be_tried_again() {
    let work = Workspace::new();
    let fussy = manifest(ONE).replace("echo cleanup", "test -e allowed && echo cleanup");
    work.write("app/benchmark.toml", &fussy);
    work.write("p.toml", &plan(&["app"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("app/tags", "\n"));
    kill(&mut runner);
    work.write("app/benchmark.toml", &fussy.replace("size = 1", "size = 2"));
    work.write("app/go", "");
    work.sb(&["resume", "--accept-changes"]).expect(4);
    assert!(work.sb(&["leaks"]).expect(4).stdout.contains("--accept-changes"));
    let refused = work.sb(&["resume", "--as-started"]).expect(1).stderr;
    assert!(refused.contains("not complete"), "{refused}");
    work.write("app/allowed", "");
    work.sb(&["resume", "--accept-changes"]).expect(0);
    let trail = lines(&work, "app/trail");
    assert_eq!(trail[2..], ["cleanup size 1", "one", "call 1 size 2", "cleanup size 2"], "{trail:?}");
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn a_runner_that_is_killed_while_it_ends_the_old_definition_leaves_a_change_that_can_be_completed() {
    let work = Workspace::new();
    let slow = manifest(ONE).replace("echo cleanup", "echo begin >> begun; sleep 0.7; echo cleanup");
    work.write("app/benchmark.toml", &slow);
    work.write("p.toml", &plan(&["app"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("app/tags", "\n"));
    kill(&mut runner);
    work.write("app/benchmark.toml", &slow.replace("size = 1", "size = 2"));
    let mut runner = work.start(&["resume", "--accept-changes"]);
    assert!(work.appears("app/begun", "begin"), "{}", work.read("runner.log"));
    kill(&mut runner);
    work.write("app/go", "");
    assert!(work.sb(&["resume"]).expect(1).stderr.contains("--accept-changes"));
    work.sb(&["resume", "--accept-changes"]).expect(0);
    assert_eq!(
        lines(&work, "app/trail"),
        ["one", "call 1 size 1", "cleanup size 1", "one", "call 1 size 2", "cleanup size 2"]
    );
    assert_eq!(lines(&work, "app/begun").len(), 2, "the cleanup that ran on was taken as it ended");
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn a_run_that_was_stopped_goes_on_with_changed_files() {
    let work = Workspace::new();
    work.write("app/benchmark.toml", &manifest(ONE));
    work.write("p.toml", &plan(&["app"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("app/tags", "\n"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130), "{}", work.read("runner.log"));
    work.write("app/go", "");
    work.write("p.toml", &plan(&["app"], "[concurrency]\ndeploy = 3\n"));
    let ran = work.sb(&["resume", "p-", "--accept-changes"]).expect(0);
    assert!(ran.stderr.contains("settings of the plan:\n    concurrency"), "{}", ran.stderr);
    assert_eq!(
        lines(&work, "app/trail"),
        ["one", "call 1 size 1", "cleanup size 1", "one", "call 1 size 1", "cleanup size 1"]
    );
}

#[test]
fn an_invocation_that_runs_again_after_a_change_has_a_folder_of_its_own() {
    let work = Workspace::new();
    let into = "echo $PWD {{logs_dir}} >> folders; while";
    let text = manifest(ONE).replace("while", into);
    work.write("app/benchmark.toml", &text);
    work.write("p.toml", &plan(&["app"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("app/folders", "\n"));
    kill(&mut runner);
    work.write("app/benchmark.toml", &text.replace("echo call", "echo CALL"));
    let mut runner = work.start(&["resume", "--accept-changes"]);
    assert!(work.appears("app/trail", "CALL"), "{}", work.read("runner.log"));
    work.write("app/go", "");
    assert!(runner.wait().unwrap().success());
    let folders = lines(&work, "app/folders");
    assert_eq!(folders.len(), 2);
    assert_ne!(folders[0], folders[1]);
}

#[test]
fn recovery_follows_failures_and_not_changes() {
    let work = Workspace::new();
    let deploy = |word: &str| {
        manifest(&format!(
            "[[deploy]]\nname = \"one\"\nrun = \"echo {word} >> trail; test -e fixed\"\nretry = {{ attempts = 2 }}\nrecover = [{{ run = \"echo recover >> trail\" }}]\n"
        ))
    };
    work.write("app/benchmark.toml", &deploy("one"));
    work.write("app/go", "");
    work.write("p.toml", &plan(&["app"], ""));
    work.sb(&["run", "p.toml", "--keep-on-failure"]).expect(4);
    work.write("app/fixed", "");
    work.write("app/benchmark.toml", &deploy("ONE"));
    work.sb(&["resume", "p-", "--accept-changes"]).expect(0);
    assert_eq!(
        lines(&work, "app/trail"),
        ["one", "recover", "one", "ONE", "call 1 size 1", "cleanup size 1"]
    );
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn why_tells_what_a_step_waits_for_and_what_becomes_of_it() {
    let work = Workspace::new();
    let deploy = "[[deploy]]\nname = \"one\"\nrun = \"while [ ! -e go ]; do sleep 0.05; done\"\nlocks = [\"region\"]\n\n[[deploy]]\nname = \"flaky\"\nneeds = []\nrun = \"echo try >> trail; test -e go\"\nretry = { attempts = 3, delay = \"1h\" }\n\n[[deploy]]\nname = \"other\"\nneeds = []\nrun = \"true\"\nlocks = [\"region\"]\n\n[[deploy]]\nname = \"last\"\nneeds = [\"one\", \"other\", \"flaky\"]\nrun = \"true\"\n";
    work.write("app/benchmark.toml", &manifest(deploy));
    work.write("p.toml", &plan(&["app"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("runner.log", "retrying   app.1/deploy/flaky"), "{}", work.read("runner.log"));

    let flaky = work.sb(&["why", "flaky"]).expect(0).stdout;
    assert!(flaky.contains("attempt 2 of 3 follows in 59m"), "{flaky}");
    let other = work.sb(&["why", "other"]).expect(0).stdout;
    assert!(other.contains("the lock `region` (1 at once) is held by app.1/deploy/one"), "{other}");
    let last = work.sb(&["why", "last", "--format", "json"]).expect(0).stdout;
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["state"], "waiting");
    let mut waits: Vec<_> = last["waits_for"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["step"].as_str().unwrap(), one["state"].as_str().unwrap()))
        .collect();
    waits.sort();
    assert_eq!(
        waits,
        ["app.1/deploy/flaky retrying", "app.1/deploy/one running", "app.1/deploy/other waiting"]
    );
    kill(&mut runner);
    let one = work.sb(&["why", "one"]).expect(0).stdout;
    assert!(one.contains("`sb resume` takes up"), "{one}");
    assert!(work.sb(&["why", "flaky"]).expect(0).stdout.contains("when the run is resumed"));
    assert!(work.sb(&["why", "deploy"]).expect(2).stderr.contains("has no step"));

    // Stopped: the pause ends, and the cleanup is paid.
    work.write("app/go", "");
    let mut runner = work.start(&["resume"]);
    assert!(work.appears("runner.log", "done       app.1/deploy/other"), "{}", work.read("runner.log"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130), "{}", work.read("runner.log"));
    let flaky = work.sb(&["why", "flaky"]).expect(0).stdout;
    assert!(flaky.contains("cancelled: stopped by a signal"), "{flaky}");
    let one = work.sb(&["why", "one"]).expect(0).stdout;
    assert!(one.contains("the runner was gone; another one took it up"), "{one}");
    let last = work.sb(&["why", "last"]).expect(0).stdout;
    assert!(last.contains("app.1/deploy/flaky, which was cancelled"), "{last}");
}

#[test]
fn a_step_that_ended_while_nobody_watched_took_as_long_as_it_ran() {
    let work = Workspace::new();
    work.write("app/benchmark.toml", &manifest("[[deploy]]\nname = \"one\"\nrun = \"sleep 1\"\n"));
    work.write("app/go", "");
    work.write("p.toml", &plan(&["app"], ""));
    let mut runner = work.start(&["run", "p.toml"]);
    assert!(work.appears("runner.log", "started    app.1/deploy/one"), "{}", work.read("runner.log"));
    kill(&mut runner);
    std::thread::sleep(std::time::Duration::from_secs(4));
    work.sb(&["resume"]).expect(0);
    let why = work.sb(&["why", "deploy/one", "--format", "json"]).expect(0).stdout;
    let why: serde_json::Value = serde_json::from_str(&why).unwrap();
    let attempt = &why["attempts"][0];
    let took = attempt["took_ms"].as_u64().unwrap();
    assert!((900..2500).contains(&took), "{why:#}");
    let by_journal = attempt["ended_ms"].as_i64().unwrap() - attempt["started_ms"].as_i64().unwrap();
    assert!(by_journal >= 4000, "it was found later: {why:#}");
    let told = work.sb(&["why", "deploy/one"]).expect(0).stdout;
    assert!(told.contains("another one took it up") && told.contains("succeeded, after 1s"), "{told}");
}

#[test]
fn a_run_that_waits_for_a_lock_of_another_run_says_so_instead_of_an_end() {
    let work = Workspace::new();
    let deploy = "[[deploy]]\nname = \"one\"\nrun = \"while [ ! -e ../go ]; do sleep 0.05; done\"\nlocks = [\"region\"]\n";
    for name in ["first", "second"] {
        work.write(
            &format!("{name}/benchmark.toml"),
            &manifest(deploy).replace("\"app\"", &format!("\"{name}\"")),
        );
        work.write(&format!("{name}/go"), "");
        let text = plan(&[name], "").replace("name = \"p\"", &format!("name = \"{name}\""));
        work.write(&format!("{name}.toml"), &text);
    }
    let mut first = work.start(&["run", "first.toml"]);
    assert!(work.appears("runner.log", "started    first.1/deploy/one"), "{}", work.read("runner.log"));
    let holder = work.read("runner.log").split_whitespace().nth(1).unwrap().trim_end_matches(':').to_owned();
    let mut second = work.start(&["run", "second.toml"]);
    assert!(work.appears("runner.log", "waiting    second.1/deploy/one"), "{}", work.read("runner.log"));
    let waits = format!("for lock `region`, held by run {holder}");
    let status = work.sb(&["status", "second"]).expect(0).stdout;
    let head = status.lines().next().unwrap();
    assert!(head.contains(&format!("waiting {waits}")) && !head.contains(" left"), "{status}");
    assert!(status.lines().any(|line| line.contains("deploy/one") && line.contains(&waits)), "{status}");
    let json = work.sb(&["status", "second", "--format", "json"]).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(
        json["remaining_ms"].is_null() && json["waits_for"].as_str().unwrap().starts_with(&waits),
        "{json:#}"
    );
    let why = work.sb(&["why", "deploy/one", "--run", "second"]).expect(0).stdout;
    assert!(why.contains(&format!("it waits {waits}")), "{why}");
    // The lists of all runs say so, too.
    let all = work.sb(&["status"]).expect(0).stdout;
    let [other, own] = ["first", "second"].map(|name| {
        let is_of = |line: &&str| line.split_whitespace().next().is_some_and(|run| run.contains(name));
        all.lines().find(is_of).unwrap()
    });
    assert!(own.contains(&format!("waiting {waits}")) && other.contains("running (process"), "{all}");
    let runs = work.sb(&["runs", "--format", "json"]).expect(0).stdout;
    let runs: serde_json::Value = serde_json::from_str(&runs).unwrap();
    let state = |name: &str| {
        let all = runs["runs"].as_array().unwrap().iter();
        let run = all.clone().find(|run| run["id"].as_str().unwrap().contains(name)).unwrap();
        (run["state"].as_str().unwrap().to_owned(), run["waits_for"].as_str().map(str::to_owned))
    };
    assert_eq!(state("first"), ("running".to_owned(), None));
    assert_eq!(state("second").0, "waiting");
    assert!(state("second").1.unwrap().starts_with(&waits));
    assert!(work.sb(&["runs"]).expect(0).stdout.contains(&format!(", waiting {waits}")));
    // The one that holds it does not wait.
    assert!(!work.sb(&["status", "first"]).expect(0).stdout.contains("for lock"));
    work.write("go", "");
    assert!(first.wait().unwrap().success());
    assert!(second.wait().unwrap().success(), "{}", work.read("runner.log"));
    let status = work.sb(&["status", "second"]).expect(0).stdout;
    assert!(!status.contains("waiting"), "{status}");
}
