//! `[trials] until`: trials end once they are precise enough, and say why.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::workspace::Workspace;

/// Answers each request after a while, which depends on how many came before it.
fn serve(delay: impl Fn(u32) -> Duration + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (delay, count) = (Arc::new(delay), Arc::new(AtomicU32::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (delay, count) = (Arc::clone(&delay), Arc::clone(&count));
            thread::spawn(move || answer(stream, |number| thread::sleep(delay(number)), &count));
        }
    });
    port
}

fn answer(mut stream: TcpStream, wait: impl Fn(u32), count: &AtomicU32) {
    let mut buffer = [0; 4096];
    // A request without a body fits in one packet.
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {
        wait(count.fetch_add(1, Ordering::SeqCst));
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// Trials of 30 requests, one after another.
fn write(work: &Workspace, port: u16, until: &str) {
    let manifest = format!(
        "[benchmark]\nname = \"steady\"\n[targets.here]\ntraces = \"none\"\n\
         [[workload.requests]]\nname = \"get\"\nurl = \"http://127.0.0.1:{port}/\"\n"
    );
    work.write("benchmark.toml", &manifest);
    let plan = format!(
        "[plan]\nname = \"precise\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"benchmark.toml\"\n\
         [trials]\nuntil = {{ {until} }}\n[load]\niterations = 30\n"
    );
    work.write("plan.toml", &plan);
}

fn trials(work: &Workspace) -> usize {
    let folders = std::fs::read_dir(work.path().join("logs")).unwrap();
    folders.filter(|folder| folder.as_ref().unwrap().path().join("invocations.csv").is_file()).count()
}

#[test]
fn trials_end_when_they_are_precise_enough_and_say_why() {
    let work = Workspace::new();
    let port = serve(|_| Duration::from_millis(20));
    write(&work, port, "of = \"p50\", relative_width = 0.8, min = 3, max = 8");

    let shown = work.sb(&["plan", "show", "plan.toml", "--summary"]).expect(0);
    assert!(shown.stdout.contains("3 to 8 trials"), "{}", shown.stdout);
    let estimate = work.sb(&["plan", "estimate", "plan.toml", "--format", "json"]).expect(0);
    let estimate: serde_json::Value = serde_json::from_str(&estimate.stdout).unwrap();
    assert_eq!((&estimate["trials"], &estimate["fewest_trials"]["trials"]), (&8.into(), &3.into()));
    assert!(estimate["fewest_trials"]["predicted_s"].as_f64() < estimate["predicted_s"].as_f64());
    let text = work.sb(&["plan", "estimate", "plan.toml"]).expect(0);
    assert!(
        text.stdout.contains("after the fewest trials (`until`): 3 trials, 90 invocations"),
        "{}",
        text.stdout
    );

    work.sb(&["run", "plan.toml", "--yes"]).expect(0);
    // A slow machine may need another trial or two.
    let done = trials(&work);
    assert!((3..8).contains(&done), "{done} trials");
    let next = format!("steady.1/t{}/invoke/load", done + 1);
    let why = work.sb(&["why", &next]).expect(0);
    assert!(
        why.stdout.contains("found no further trial necessary: p50 of `get` has an interval of"),
        "{}",
        why.stdout
    );
    let decision = work.sb(&["why", &format!("steady.1/t{done}/decide")]).expect(0);
    assert!(decision.stdout.contains("80 % is asked for"), "{}", decision.stdout);
    let log = work.sb(&["logs", &format!("steady.1/t{done}/decide")]).expect(0);
    assert!(log.stdout.contains("80 % is asked for"), "{}", log.stdout);
}

#[test]
fn trials_that_never_become_precise_end_at_the_most() {
    let work = Workspace::new();
    // Each trial is twice as slow as the one before.
    let port = serve(|number| Duration::from_millis(5 << (number / 30).min(4)));
    write(&work, port, "of = \"p50\", relative_width = 0.1, min = 2, max = 4");
    work.sb(&["run", "plan.toml", "--yes"]).expect(0);
    assert_eq!(trials(&work), 4);
    let log = work.sb(&["logs", "steady.1/t3/decide"]).expect(0);
    assert!(log.stdout.contains("10 % is asked for: about"), "{}", log.stdout);
}

/// Folders of trials whose load has ended, in their order.
fn ended(work: &Workspace) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(work.path().join("logs")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders
        .map(|folder| folder.path())
        .filter(|folder| folder.join("load_summary.json").is_file())
        .collect();
    folders.sort();
    folders
}

/// The folder of a step of the only run.
fn step(work: &Workspace, name: &str) -> Option<PathBuf> {
    let runs = std::fs::read_dir(work.path().join(".sb/runs")).ok()?;
    runs.flatten().map(|run| run.path().join("steps").join(name)).find(|folder| folder.is_dir())
}

#[track_caller]
fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_there() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("waited for {what} for a minute");
}

/// The decision reads the summaries of all trials. One that is a pipe holds it up at the very moment.
#[test]
fn a_runner_that_is_killed_while_it_decides_decides_when_it_is_resumed() {
    let work = Workspace::new();
    let port = serve(|_| Duration::from_millis(60));
    write(&work, port, "of = \"p50\", relative_width = 0.8, min = 2, max = 4");
    let mut runner = work.start(&["run", "plan.toml", "--yes"]);
    // The second trial has begun, so the decision after the first one is over.
    wait_for("the first trial", || ended(&work).len() == 1 && trials(&work) == 2);
    let summary = ended(&work)[0].join("load_summary.json");
    let text = std::fs::read(&summary).unwrap();
    std::fs::remove_file(&summary).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&summary).status().unwrap().success());
    wait_for("the decision", || step(&work, "steady.1/t2/decide").is_some());
    thread::sleep(Duration::from_millis(500));
    assert!(runner.try_wait().unwrap().is_none(), "it waits for the pipe: {}", work.read("runner.log"));
    runner.kill().unwrap();
    runner.wait().unwrap();
    let said = |name: &str| work.sb(&["logs", name]);
    assert!(!said("steady.1/t2/decide").stdout.contains("no interval"), "nothing was decided");
    std::fs::remove_file(&summary).unwrap();
    std::fs::write(&summary, text).unwrap();

    work.sb(&["resume"]).expect(0);
    // Two trials give no interval. Three that are alike are enough, unless the machine is busy.
    let done = trials(&work);
    assert!((3..=4).contains(&done), "{done} trials");
    let decision = said("steady.1/t2/decide").expect(0).stdout;
    assert!(decision.contains("no interval after 2 trials"), "{decision}");
    let decision = said("steady.1/t3/decide").expect(0).stdout;
    assert!(decision.contains("after 3 trials, and 80 % is asked for"), "{decision}");
    assert_eq!(done == 3, !decision.contains("more trial"), "{done} trials: {decision}");
    if done == 3 {
        let why = work.sb(&["why", "steady.1/t4/invoke/load"]).expect(0);
        assert!(why.stdout.contains("found no further trial necessary"), "{}", why.stdout);
    }
    // What is decided once stays so: nothing is left to do.
    assert!(work.sb(&["resume"]).expect(0).stderr.contains("nothing to resume"));
    assert_eq!(trials(&work), done);
    assert_eq!(work.processes(), Vec::<String>::new());
}
