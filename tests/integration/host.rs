//! Steps as host processes: real processes, real signals.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use sb::attempt::ExitRecord;
use sb::command_exit::{CommandExit, Found};
use sb::host::{self, HostCommand, HostError, Supervisors};
use tempfile::TempDir;

const SB: &str = env!("CARGO_BIN_EXE_sb");

fn shell(script: &str) -> HostCommand {
    command(&["sh", "-c", script])
}

fn command(argv: &[&str]) -> HostCommand {
    HostCommand {
        log_limit: None,
        ends_sessions: false,
        asks_leader: false,
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: BTreeMap::new(),
        clear_env: false,
        workdir: PathBuf::from("/"),
        timeout: None,
        grace: Duration::from_millis(200),
    }
}

fn run(command: &HostCommand) -> (TempDir, CommandExit) {
    let dir = tempfile::tempdir().unwrap();
    let exit = runtime().block_on(async {
        host::start(dir.path(), command, Path::new(SB)).await.unwrap();
        host::wait(dir.path()).await.unwrap()
    });
    (dir, exit)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

/// The processes whose arguments hold `word`.
fn processes_with(word: &str) -> Vec<i32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
        })
        .collect()
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < give_up, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn supervisor_of(dir: &Path) -> Pid {
    let claim: serde_json::Value = serde_json::from_str(&read(dir, "claim.json")).unwrap();
    Pid::from_raw(claim["supervisor"]["pid"].as_i64().unwrap() as i32).unwrap()
}

#[track_caller]
fn check(command: &HostCommand, expected: CommandExit, log: &str, stdout: &str) {
    let (dir, exit) = run(command);
    assert_eq!(exit, expected);
    assert_eq!(read(dir.path(), "output.log"), log);
    assert_eq!(read(dir.path(), "stdout"), stdout);
    assert_eq!(host::look(dir.path()).unwrap(), Found::Ended(expected));
}

#[test]
fn the_exit_is_the_programs_own() {
    check(&command(&["true"]), CommandExit::Code(0), "", "");
    check(&shell("echo out; echo err >&2; exit 3"), CommandExit::Code(3), "out\nerr\n", "out\n");
    check(&shell("exit 137"), CommandExit::Code(137), "", "");
    check(&shell("kill -SEGV $$"), CommandExit::Signal(11), "", "");
    check(&shell("kill -9 $$"), CommandExit::Signal(9), "", "");
    check(&shell("kill -35 $$"), CommandExit::Signal(35), "", "");
}

#[test]
fn the_command_sees_its_folder_its_environment_and_default_signals() {
    let work = tempfile::tempdir().unwrap();
    let workdir = work.path().canonicalize().unwrap();
    let mut told =
        shell("pwd; echo $GREETING; cat; grep -E 'SigIgn|SigBlk' /proc/$$/status | grep -o '.\\{7\\}$'");
    told.workdir.clone_from(&workdir);
    told.env.insert("GREETING".to_owned(), "a 'quoted' $word".to_owned());
    let expected = format!(
        // None of the first 28 signals is blocked or ignored, even if the tests were started in the background.
        "{}\na 'quoted' $word\n0000000\n0000000\n",
        workdir.display()
    );
    check(&told, CommandExit::Code(0), &expected, &expected);

    let mut bare = command(&["env"]);
    bare.clear_env = true;
    bare.env.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    let (dir, _) = run(&bare);
    let names: Vec<String> =
        read(dir.path(), "stdout").lines().map(|line| line.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["PATH", "SB_ATTEMPT"]);
}

#[test]
fn a_program_that_cannot_start_is_named() {
    let not_executable = tempfile::NamedTempFile::new().unwrap();
    let mut no_folder = command(&["true"]);
    no_folder.workdir = PathBuf::from("/no/such/folder");
    for (command, is_missing, words) in [
        (command(&["no-such-program-x"]), true, "`no-such-program-x`"),
        (command(&[not_executable.path().to_str().unwrap()]), true, "is not executable"),
        (no_folder, false, "`/no/such/folder` does not exist"),
        (command(&[]), false, "is empty"),
    ] {
        let (_dir, exit) = run(&command);
        let (CommandExit::NoCommand { message } | CommandExit::SpawnFailed { message }) = &exit else {
            panic!("{exit:?}")
        };
        assert!(message.contains(words), "{message}");
        assert_eq!(matches!(exit, CommandExit::NoCommand { .. }), is_missing, "{exit:?}");
    }
}

#[test]
fn a_program_that_ignores_the_polite_signal_is_killed_after_the_grace_period() {
    let mut stubborn = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    stubborn.timeout = Some(Duration::from_millis(300));
    let before = Instant::now();
    check(&stubborn, CommandExit::TimedOut, "ready\n", "ready\n");
    let took = before.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_program_may_tidy_up_when_its_time_is_over() {
    let mut tidy = shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done");
    tidy.timeout = Some(Duration::from_millis(200));
    tidy.grace = Duration::from_secs(20);
    let (dir, exit) = run(&tidy);
    assert_eq!((exit, read(dir.path(), "stdout").as_str()), (CommandExit::TimedOut, "ready\nbye\n"));
}

#[test]
fn what_a_program_leaves_in_its_group_or_session_is_killed_and_what_left_on_purpose_lives() {
    // The second is in a group of its own, as job control makes them; the third in a session of its own.
    let script = "sleep 987651 & \
                  bash -c 'set -m; sleep 987652 & disown' & \
                  setsid sleep 987653 >/dev/null 2>&1 & \
                  sleep 0.3; echo done";
    let (dir, exit) = run(&shell(script));
    assert_eq!((exit, read(dir.path(), "stdout").as_str()), (CommandExit::Code(0), "done\n"));
    assert_eq!(processes_with("987651"), [0; 0]);
    assert_eq!(processes_with("987652"), [0; 0]);
    let free = processes_with("987653");
    assert_eq!(free.len(), 1);
    kill_process(Pid::from_raw(free[0]).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_daemon_that_keeps_the_pipe_does_not_hold_the_step() {
    let before = Instant::now();
    let (dir, exit) = run(&shell("setsid sleep 123450 & echo $!; sleep 0.3"));
    assert_eq!(exit, CommandExit::Code(0));
    assert!(before.elapsed() < Duration::from_secs(5));
    let daemon = read(dir.path(), "stdout").trim().parse().unwrap();
    kill_process(Pid::from_raw(daemon).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn two_hundred_megabytes_pass_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let script = "head -c 200000000 /dev/zero; echo end >&2";
    let highest = runtime().block_on(async {
        host::start(dir.path(), &shell(script), Path::new(SB)).await.unwrap();
        let status = format!("/proc/{}/status", supervisor_of(dir.path()));
        let watch = thread::spawn(move || {
            let mut highest = 0;
            while let Ok(text) = fs::read_to_string(&status) {
                let line = text.lines().find(|line| line.starts_with("VmHWM:"));
                let Some(line) = line else { break };
                highest = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
                thread::sleep(Duration::from_millis(5));
            }
            highest
        });
        assert_eq!(host::wait(dir.path()).await.unwrap(), CommandExit::Code(0));
        watch.join().unwrap()
    });
    assert!(highest > 0 && highest < 40_000, "{highest} kB resident at most");
    assert_eq!(fs::metadata(dir.path().join("stdout")).unwrap().len(), 200_000_000);
    assert_eq!(fs::metadata(dir.path().join("output.log")).unwrap().len(), 200_000_004);
}

#[test]
fn secrets_reach_the_program_and_nothing_else() {
    const SECRET: &str = "c0rrect-h0rse-battery";
    let mut command = shell("test -n \"$KEY\" && touch $FLAG && sleep 0.3; env | grep -c $KEY");
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("flag");
    command.env.insert("KEY".to_owned(), SECRET.to_owned());
    command.env.insert("FLAG".to_owned(), flag.to_str().unwrap().to_owned());
    runtime().block_on(async {
        host::start(dir.path(), &command, Path::new(SB)).await.unwrap();
        eventually("the program runs", || flag.exists());
        assert_eq!(processes_with(SECRET), [0; 0]);
        assert_eq!(host::wait(dir.path()).await.unwrap(), CommandExit::Code(0));
    });
    assert_eq!(read(dir.path(), "stdout"), "1\n");
    let mut files = 0;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        assert!(!String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(SECRET), "{path:?}");
        if path != flag {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        }
        files += 1;
    }
    assert_eq!(files, 6, "flag, lock, claim.json, output.log, stdout, exit.json");
    assert!(!format!("{command:?}").contains(SECRET));
}

#[test]
fn an_attempt_is_started_once() {
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    let script = format!("echo x >> {}; sleep 0.3", count.display());
    runtime().block_on(async {
        assert_eq!(host::look(dir.path()).unwrap(), Found::NotStarted);
        let error = host::wait(dir.path()).await.unwrap_err();
        assert!(matches!(error, HostError::NotStarted { .. }), "{error}");
        // Both meet before either is claimed, as a runner that was killed while starting and its successor would.
        let (command, binary) = (shell(&script), Path::new(SB));
        let all =
            futures_util::future::join_all((0..4).map(|_| host::start(dir.path(), &command, binary))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert_eq!(host::look(dir.path()).unwrap(), Found::Running);
        let error = host::start(dir.path(), &shell(&script), Path::new(SB)).await.unwrap_err();
        assert!(matches!(error, HostError::AlreadyStarted { .. }), "{error}");
        assert_eq!(host::wait(dir.path()).await.unwrap(), CommandExit::Code(0));
        let error = host::start(dir.path(), &shell(&script), Path::new(SB)).await.unwrap_err();
        assert!(matches!(error, HostError::AlreadyStarted { .. }), "{error}");
    });
    assert_eq!(fs::read_to_string(count).unwrap(), "x\n");
}

#[test]
fn cancelling_stops_the_program_and_a_second_request_shortens_the_grace_period() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let stubborn = shell("trap '' TERM; echo ready; while :; do sleep 0.02; done");
        host::start(dir.path(), &stubborn, Path::new(SB)).await.unwrap();
        eventually("the program is ready", || read(dir.path(), "stdout") == "ready\n");
        host::cancel(dir.path(), Duration::from_hours(1)).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(200), host::wait(dir.path())).await;
        assert!(waited.is_err(), "it ignores the polite signal");
        host::cancel(dir.path(), Duration::ZERO).await.unwrap();
        assert_eq!(host::wait(dir.path()).await.unwrap(), CommandExit::Cancelled);
        // A request that comes after the end changes nothing.
        host::cancel(dir.path(), Duration::ZERO).await.unwrap();
        assert_eq!(host::wait(dir.path()).await.unwrap(), CommandExit::Cancelled);
    });
}

#[test]
fn a_request_to_stop_that_comes_before_the_start_keeps_the_program_from_running() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        host::cancel(dir.path(), Duration::ZERO).await.unwrap();
        host::start(dir.path(), &shell("echo ran"), Path::new(SB)).await.unwrap();
        assert_eq!(host::wait(dir.path()).await.unwrap(), CommandExit::Cancelled);
    });
    assert_eq!(read(dir.path(), "output.log"), "");
}

#[test]
fn a_killed_supervisor_leaves_no_process_and_no_invented_end() {
    let dir = tempfile::tempdir().unwrap();
    let script = "sleep 867541 & bash -c 'set -m; sleep 867542 & sleep 867543' & echo ready; wait";
    runtime().block_on(async {
        host::start(dir.path(), &shell(script), Path::new(SB)).await.unwrap();
        eventually("everything runs", || {
            ["867541", "867542", "867543"]
                .iter()
                .all(|word| !processes_with(&format!("sleep\0{word}")).is_empty())
        });
        let waiting = host::wait(dir.path());
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        kill_process(supervisor_of(dir.path()), Signal::KILL).unwrap();
        let error = waiting.await.unwrap_err();
        assert!(matches!(error, HostError::Gone { .. }), "{error}");
    });
    assert_eq!(host::look(dir.path()).unwrap(), Found::Gone);
    assert_eq!(processes_with("86754"), [0; 0]);
    assert!(ExitRecord::read(dir.path()).unwrap().is_none());
    let again = runtime().block_on(host::start(dir.path(), &shell("true"), Path::new(SB)));
    assert!(matches!(again, Err(HostError::AlreadyStarted { .. })), "{again:?}");
}

#[test]
fn a_supervisor_killed_while_it_starts_leaves_nothing_running() {
    let seconds = format!("7{}", std::process::id());
    for round in 0..30 {
        let dir = tempfile::tempdir().unwrap();
        let order = serde_json::json!({ "dir": dir.path(), "command": command(&["sleep", &seconds]) });
        fs::write(dir.path().join("spec"), format!("{order}\n")).unwrap();
        let mut supervisor = Command::new(SB)
            .args([host::SUPERVISE_ARGUMENT, dir.path().to_str().unwrap()])
            .stdin(fs::File::open(dir.path().join("spec")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(150 * round));
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        let found = host::look(dir.path()).unwrap();
        assert!(matches!(found, Found::NotStarted | Found::Gone), "{found:?}");
    }
    eventually("nothing is left", || processes_with(&seconds).is_empty());
}

#[test]
fn an_attempt_of_before_a_restart_of_the_machine_is_gone_and_no_stranger_is_killed() {
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let claim = format!(
        r#"{{"version":1,"boot_id":"another","supervisor":{{"pid":{0},"start_time":1}},"child":{{"pid":{0},"start_time":1}}}}"#,
        stranger.id()
    );
    // The second: the machine went down before the content reached the disk.
    for content in [claim.as_str(), ""] {
        fs::write(dir.path().join("claim.json"), content).unwrap();
        assert_eq!(host::look(dir.path()).unwrap(), Found::Gone);
        let again = runtime().block_on(host::start(dir.path(), &shell("true"), Path::new(SB)));
        assert!(matches!(again, Err(HostError::AlreadyStarted { .. })), "{again:?}");
    }
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_folder_that_cannot_hold_the_attempt_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for dir in [Path::new("/no/such/folder"), file.path(), Path::new("/proc/self")] {
        let error = runtime().block_on(host::start(dir, &shell("true"), Path::new(SB))).unwrap_err();
        assert!(matches!(&error, HostError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let error = runtime().block_on(host::start(dir.path(), &shell("true"), Path::new("/no/sb"))).unwrap_err();
    assert!(matches!(&error, HostError::Supervisor { .. }), "{error}");
    assert_eq!(host::look(dir.path()).unwrap(), Found::NotStarted);
}

#[test]
fn output_that_cannot_be_kept_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    // A supervisor whose files can have 2 KiB each.
    let limited = dir.path().join("limited-sb");
    fs::write(&limited, format!("#!/bin/sh\ntrap '' XFSZ; ulimit -f 4; exec {SB} \"$@\"\n")).unwrap();
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).unwrap();
    let exit = runtime().block_on(async {
        host::start(dir.path(), &shell("seq 5000; exit 0"), &limited).await.unwrap();
        host::wait(dir.path()).await.unwrap()
    });
    assert!(matches!(&exit, CommandExit::OutputLost { message } if message.contains("large")), "{exit:?}");
}

fn pids(dirs: &[&TempDir]) -> Vec<Pid> {
    dirs.iter().map(|dir| supervisor_of(dir.path())).collect()
}

/// Supervisors whose name in the list of processes tells them from those of other tests.
fn supervisors(home: &TempDir) -> Supervisors {
    Supervisors::new(PathBuf::from(SB), home.path().to_owned())
}

fn supervisors_of(home: &TempDir) -> Vec<i32> {
    processes_with(home.path().to_str().unwrap())
}

/// Runs it to its end, and until its supervisor is free (or has ended).
async fn run_under(supervisors: &Supervisors, command: &HostCommand) -> (TempDir, CommandExit) {
    let dir = tempfile::tempdir().unwrap();
    let exit = supervisors.start(dir.path(), command).await.unwrap().wait().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    (dir, exit)
}

#[test]
fn one_supervisor_runs_attempts_one_after_another_and_ends_with_its_runner() {
    let home = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let all = supervisors(&home);
        let show = shell("echo $SB_ATTEMPT; pwd; cat; exec ls /proc/self/fd");
        let (one, first) = run_under(&all, &show).await;
        let (two, second) = run_under(&all, &show).await;
        let (three, third) = run_under(&all, &shell("exit 3")).await;
        assert_eq!(
            (first, second, third),
            (CommandExit::Code(0), CommandExit::Code(0), CommandExit::Code(3))
        );
        let pids = pids(&[&one, &two, &three]);
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
        let [first, second] = [&one, &two].map(|dir| read(dir.path(), "stdout"));
        let (marker, rest) = first.split_once('\n').unwrap();
        let (other_marker, other_rest) = second.split_once('\n').unwrap();
        assert_ne!(marker, other_marker, "what is left of one command is not taken for the other's");
        // No descriptor of ours: 0 to 2, one of its own, and what this test itself was started with.
        let plain = Command::new("ls").arg("/proc/self/fd").stdin(Stdio::null()).output().unwrap();
        let expected = format!("/\n{}", String::from_utf8(plain.stdout).unwrap());
        assert_eq!((rest, other_rest), (expected.as_str(), expected.as_str()));
        assert_eq!(supervisors_of(&home).len(), 1);
    });
    eventually("it ends", || supervisors_of(&home).is_empty());
}

#[test]
fn a_supervisor_that_was_killed_while_it_had_no_work_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let all = supervisors(&home);
        let (one, _) = run_under(&all, &shell("true")).await;
        kill_process(supervisor_of(one.path()), Signal::KILL).unwrap();
        let (two, exit) = run_under(&all, &shell("echo ran")).await;
        assert_eq!((exit, read(two.path(), "stdout").as_str()), (CommandExit::Code(0), "ran\n"));
        assert_ne!(supervisor_of(one.path()), supervisor_of(two.path()));
    });
}

#[test]
fn a_supervisor_whose_command_left_a_daemon_takes_no_further_attempt() {
    let home = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let all = supervisors(&home);
        let (one, _) =
            run_under(&all, &shell("setsid sleep 123451 >/dev/null 2>&1 & echo $!; sleep 0.3")).await;
        let (two, exit) = run_under(&all, &shell("true")).await;
        assert_eq!(exit, CommandExit::Code(0));
        assert_ne!(supervisor_of(one.path()), supervisor_of(two.path()));
        let daemon = Pid::from_raw(read(one.path(), "stdout").trim().parse().unwrap()).unwrap();
        kill_process(daemon, Signal::KILL).expect("it lives");
    });
}

#[test]
fn a_request_to_stop_that_comes_too_late_does_not_reach_the_next_attempt() {
    let home = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let all = supervisors(&home);
        let (one, _) = run_under(&all, &shell("true")).await;
        // As if it had been on its way when the attempt ended.
        kill_process(supervisor_of(one.path()), Signal::TERM).unwrap();
        let two = tempfile::tempdir().unwrap();
        let mut running = all.start(two.path(), &shell("sleep 0.3")).await.unwrap();
        host::cancel(one.path(), Duration::ZERO).await.unwrap();
        assert_eq!(running.wait().await.unwrap(), CommandExit::Code(0));
        assert_eq!(pids(&[&one]), pids(&[&two]));
        // One that is in time does.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let three = tempfile::tempdir().unwrap();
        let mut running = all.start(three.path(), &shell("sleep 60")).await.unwrap();
        running.cancel(Duration::ZERO).await.unwrap();
        assert_eq!(running.wait().await.unwrap(), CommandExit::Cancelled);
        assert_eq!(pids(&[&one]), pids(&[&three]));
    });
}

#[test]
fn a_supervisor_that_dies_at_work_is_seen_by_who_started_it() {
    let home = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let all = supervisors(&home);
        let dir = tempfile::tempdir().unwrap();
        let mut running = all.start(dir.path(), &command(&["sleep", "867544"])).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), running.wait()).await;
        assert!(waited.is_err(), "a wait may be dropped");
        kill_process(supervisor_of(dir.path()), Signal::KILL).unwrap();
        let error = running.wait().await.unwrap_err();
        assert!(matches!(error, HostError::Gone { .. }), "{error}");
    });
    assert_eq!(processes_with("867544"), [0; 0]);
}

#[test]
fn runners_side_by_side_with_many_attempts_at_once_do_not_mix_them_up() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    runtime().block_on(async {
        let all = homes.each_ref().map(supervisors);
        let attempt = async |number: i32| {
            let dir = tempfile::tempdir().unwrap();
            let script = shell(&format!("sleep 0.0{}; echo {number}; exit {number}", number % 5));
            let mut running = all[number as usize % 2].start(dir.path(), &script).await.unwrap();
            assert_eq!(running.wait().await.unwrap(), CommandExit::Code(number));
            assert_eq!(read(dir.path(), "stdout"), format!("{number}\n"));
        };
        for round in 0..3 {
            futures_util::future::join_all((0..16).map(|number| attempt(16 * round + number))).await;
        }
    });
    for home in &homes {
        eventually("its supervisors end", || supervisors_of(home).is_empty());
    }
}

#[test]
fn an_end_whose_content_was_lost_with_the_machine_is_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let claim = r#"{"version":1,"boot_id":"another","supervisor":{"pid":1,"start_time":1},"child":null}"#;
    fs::write(dir.path().join("claim.json"), claim).unwrap();
    for torn in ["", "\0\0\0", r#"{"version":1,"exit":{"co"#] {
        fs::write(dir.path().join("exit.json"), torn).unwrap();
        assert_eq!(host::look(dir.path()).unwrap(), Found::Gone, "{torn:?}");
    }
    // One of a later sb is whole: it did end.
    let later = r#"{"version":2,"exit":{"code":0},"started_unix_ms":1,"ended_unix_ms":2,"more":3}"#;
    fs::write(dir.path().join("exit.json"), later).unwrap();
    assert!(matches!(host::look(dir.path()), Err(HostError::Folder { .. })));
}

#[test]
fn a_killed_runner_takes_its_idle_supervisors_along_and_leaves_those_at_work() {
    const NAME: &str = "host::a_killed_runner_takes_its_idle_supervisors_along_and_leaves_those_at_work";
    if let Ok(home) = std::env::var("SB_TEST_HOME") {
        let home = Path::new(&home);
        let all = Supervisors::new(PathBuf::from(SB), home.to_owned());
        runtime().block_on(async {
            let mut three = Vec::new();
            for (name, script) in [("one", "sleep 0.1"), ("two", "sleep 0.1"), ("work", "sleep 1; echo done")]
            {
                fs::create_dir(home.join(name)).unwrap();
                three.push(all.start(&home.join(name), &shell(script)).await.unwrap());
            }
            for running in &mut three[..2] {
                running.wait().await.unwrap();
            }
            fs::write(home.join("ready"), "").unwrap();
            std::future::pending::<()>().await;
        });
    }
    let home = tempfile::tempdir().unwrap();
    let mut runner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env("SB_TEST_HOME", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("two are idle", || home.path().join("ready").exists());
    assert_eq!(supervisors_of(&home).len(), 3);
    runner.kill().unwrap();
    runner.wait().unwrap();
    let work = home.path().join("work");
    let worker = supervisor_of(&work).as_raw_pid();
    eventually("the idle ones end", || supervisors_of(&home) == [worker]);
    assert_eq!(host::look(&work).unwrap(), Found::Running, "the other goes on");
    assert_eq!(runtime().block_on(host::wait(&work)).unwrap(), CommandExit::Code(0));
    assert_eq!(read(&work, "stdout"), "done\n");
    eventually("it ends with its attempt", || supervisors_of(&home).is_empty());
}

/// The body of a runner that gets killed: starts the attempt that the environment names and waits for it. False in
/// the test itself.
fn is_helper() -> bool {
    let Ok(dir) = std::env::var("SB_TEST_DIR") else { return false };
    let script = std::env::var("SB_TEST_SCRIPT").unwrap();
    runtime().block_on(async {
        host::start(Path::new(&dir), &shell(&script), Path::new(SB)).await.unwrap();
        host::wait(Path::new(&dir)).await.unwrap();
    });
    true
}

/// This test once more, as a process of its own that can be killed.
fn helper(dir: &Path, script: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host::a_runner_killed_at_any_point_loses_nothing_and_repeats_nothing"])
        .env("SB_TEST_DIR", dir)
        .env("SB_TEST_SCRIPT", script)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_runner_killed_at_any_point_loses_nothing_and_repeats_nothing() {
    if is_helper() {
        return;
    }
    let mut random = rand::rng();
    let mut seen = [0; 3];
    for _ in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        let script = format!("echo x >> {}; sleep 0.01; echo out; exit 5", count.display());
        let mut runner = helper(dir.path(), &script);
        thread::sleep(Duration::from_micros(random.random_range(0..25_000)));
        runner.kill().unwrap();
        runner.wait().unwrap();
        let exit = runtime().block_on(async {
            match host::look(dir.path()).unwrap() {
                Found::NotStarted => {
                    seen[0] += 1;
                    // A start of the killed runner may still be under way: it and ours run the command once.
                    host::start(dir.path(), &shell(&script), Path::new(SB)).await.or_else(|error| match error
                    {
                        HostError::AlreadyStarted { .. } => Ok(()),
                        other => Err(other),
                    })
                }
                Found::Running => {
                    seen[1] += 1;
                    Ok(())
                }
                Found::Ended(_) => {
                    seen[2] += 1;
                    Ok(())
                }
                Found::Gone => panic!("the supervisor was not killed"),
            }
            .unwrap();
            host::wait(dir.path()).await.unwrap()
        });
        assert_eq!(exit, CommandExit::Code(5));
        assert_eq!(read(dir.path(), "output.log"), "out\n");
        assert_eq!(fs::read_to_string(count).unwrap(), "x\n");
    }
    assert!(seen[0] > 0 && seen[1] > 0, "the kills did not spread over the attempt's life: {seen:?}");
}

#[test]
fn waiting_ends_at_once_and_a_wait_that_is_dropped_leaves_no_thread() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        host::start(dir.path(), &shell("sleep 1"), Path::new(SB)).await.unwrap();
        let threads = || fs::read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        for _ in 0..50 {
            let waited = tokio::time::timeout(Duration::from_millis(1), host::wait(dir.path())).await;
            assert!(waited.is_err());
        }
        // Other tests of this process come and go on threads of their own: fifty leaked ones would stand out.
        assert!(threads() < before + 40);
        assert_eq!(host::wait(dir.path()).await.unwrap(), CommandExit::Code(0));
    });
    let ended = ExitRecord::read(dir.path()).unwrap().unwrap();
    assert!((1000..4000).contains(&(ended.ended_unix_ms - ended.started_unix_ms)), "{ended:?}");
}

/// `exit.json` cannot be written as long as something that is no file has its name.
#[test]
fn an_end_that_cannot_be_recorded_is_told_at_once_and_recorded_when_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("exit.json");
    let told = shell(&format!("mkdir '{}'; echo done", in_the_way.display()));
    let begun = Instant::now();
    runtime().block_on(async {
        let supervisors = Supervisors::new(PathBuf::from(SB), home.path().to_owned());
        let mut running = supervisors.start(dir.path(), &told).await.unwrap();
        assert_eq!(running.wait().await.unwrap(), CommandExit::Code(0));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
    // The runner is gone; the supervisor still has something to do.
    fs::remove_dir(&in_the_way).unwrap();
    eventually("the end is recorded", || in_the_way.is_file());
    assert_eq!(host::look(dir.path()).unwrap(), Found::Ended(CommandExit::Code(0)));
}
