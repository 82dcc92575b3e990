//! The state under stress: disks that are full or cannot be written, torn and damaged files, very many steps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::workspace::{Ran, Workspace};

/// A small file system of its own, in memory.
struct Disk {
    place: PathBuf,
}

impl Disk {
    /// Mounts a disk of so many megabytes.
    fn mount(place: PathBuf, megabytes: u32) -> Self {
        fs::create_dir_all(&place).unwrap();
        let disk = Self { place };
        disk.run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]);
        disk
    }

    fn remount(&self, option: &str) {
        self.run("mount", &["-o", &format!("remount,{option}")]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let ran = Command::new(program).args(arguments).arg(&self.place).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Fills it up to so many bytes; returns the file to be removed.
    fn fill(&self, left: u64) -> PathBuf {
        let file = self.place.join("filler");
        let disk = rustix::fs::statvfs(&self.place).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        fs::write(&file, vec![1; usize::try_from(free - left).unwrap()]).unwrap();
        file
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.place).output();
    }
}

/// Two steps side by side: one is a pause, the other a command that takes longer.
const STEPS: &str = r#"
[benchmark]
name = "stressed"

[targets.local]
traces = "none"

[[deploy]]
name = "pause"
needs = []
wait = "1s"

[[deploy]]
name = "work"
needs = []
run = "echo begin work >> trail; sleep 2; echo end work >> trail"

[[deploy]]
name = "after"
needs = ["pause"]
run = "echo begin after >> trail; echo end after >> trail"

[[cleanup]]
name = "remove"
run = "echo cleaned >> trail"
"#;

struct Stressed {
    work: Workspace,
    disk: Disk,
}

impl Stressed {
    fn new() -> Self {
        let work = Workspace::new();
        work.write("benchmark.toml", STEPS);
        let disk = Disk::mount(work.path().join("disk"), 8);
        Self { work, disk }
    }

    fn sb(&self, arguments: &[&str]) -> Ran {
        self.work.sb(&[arguments, &["--state-dir", "disk/.sb"]].concat())
    }

    /// Runs until the work has begun, makes the state unwritable, and checks what becomes of the run.
    #[track_caller]
    fn check(&self, spoil: impl FnOnce(), mend: impl FnOnce()) {
        let mut runner = self.work.start(&["test", "--executor", "host", "--state-dir", "disk/.sb"]);
        assert!(self.work.appears("trail", "begin work"), "{}", self.work.read("runner.log"));
        spoil();
        let code = runner.wait().unwrap().code();
        let log = self.work.read("runner.log");
        assert_eq!(code, Some(7), "{log}");
        for text in ["nothing new is started", "the disk is full", "sb resume"] {
            assert!(log.contains(text), "no `{text}` in {log}");
        }
        let refused = self.sb(&["resume"]).expect(7);
        assert!(refused.stderr.contains("must be writable"), "{}", refused.stderr);
        assert!(self.work.appears("trail", "end work"), "what was running goes on");
        assert!(!self.work.read("trail").contains("after"), "nothing new was started");
        mend();
        self.finish();
    }

    /// The state can be written again: the run goes on, and nothing of it is done twice.
    #[track_caller]
    fn finish(&self) {
        self.sb(&["leaks"]).expect(4);
        self.sb(&["resume"]).expect(0);
        let trail = self.work.read("trail");
        assert_eq!(trail, "begin work\nend work\nbegin after\nend after\ncleaned\n");
        self.sb(&["leaks"]).expect(0);
        assert_eq!(self.work.processes(), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs: root"]
fn on_a_full_disk_nothing_new_starts_and_with_room_again_the_run_goes_on() {
    let stressed = Stressed::new();
    let filler = stressed.disk.place.join("filler");
    stressed.check(|| drop(stressed.disk.fill(300 * 1024)), || fs::remove_file(filler).unwrap());
}

/// A disk with open files cannot be made read-only, so it happens between two runners.
#[test]
#[ignore = "needs: root"]
fn where_the_state_is_read_only_nothing_starts_and_the_run_goes_on_later() {
    let stressed = Stressed::new();
    let mut runner = stressed.work.start(&["test", "--executor", "host", "--state-dir", "disk/.sb"]);
    assert!(stressed.work.appears("trail", "begin work"), "{}", stressed.work.read("runner.log"));
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert!(stressed.work.appears("trail", "end work"));
    let begun = Instant::now();
    while !stressed.work.processes().is_empty() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    stressed.disk.remount("ro");
    for arguments in [&["resume"][..], &["test", "--executor", "host"]] {
        let refused = stressed.sb(arguments).expect(7);
        assert!(
            refused.stderr.contains("/disk/.sb/") && refused.stderr.contains("--state-dir"),
            "{}",
            refused.stderr
        );
    }
    // The log that the killed runner left is read, too.
    assert!(stressed.sb(&["leaks"]).expect(4).stdout.contains("stressed@local"));
    stressed.disk.remount("rw");
    stressed.finish();
    let log = stressed.disk.place.join(".sb/state.db-wal");
    assert!(!log.exists(), "a runner that ends leaves everything in one file");
    stressed.disk.remount("ro");
    assert!(stressed.sb(&["leaks"]).expect(0).stderr.contains("nothing is owed"));
    assert!(stressed.sb(&["status"]).expect(0).stdout.contains("complete"));
}

/// A run of quick steps that lost its runner in the middle.
fn killed_run() -> Workspace {
    let work = Workspace::new();
    let manifest = STEPS.replace("sleep 2", "sleep 0.1").replace("\"1s\"", "\"100ms\"");
    work.write("benchmark.toml", &manifest);
    work.write(
        "plans/p.toml",
        "[plan]\nname = \"p\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"../benchmark.toml\"\n",
    );
    work.sb(&["run", "plans/p.toml"]).expect(0);
    // All of it into the one file. From here on the log is too short for SQLite to do so by itself: what it has moved is
    // safe in the log before, and a log that is torn there is no crash.
    let state = Connection::open(work.path().join(".sb/state.db")).unwrap();
    state.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(state);
    let mut runner = work.start(&["run", "plans/p.toml"]);
    assert!(work.appears("runner.log", "started    stressed.1/deploy/after"), "{}", work.read("runner.log"));
    runner.kill().unwrap();
    runner.wait().unwrap();
    work
}

/// Numbers that look random, and are the same each time.
fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn a_journal_whose_last_writes_are_torn_opens_and_its_run_is_resumed() {
    let work = killed_run();
    let state = work.path().join(".sb/state.db");
    let wal = work.path().join(".sb/state.db-wal");
    let (whole, log) = (fs::read(&state).unwrap(), fs::read(&wal).unwrap());
    assert!(log.len() > 20_000, "{}", log.len());
    let mut seed = 7;
    let (mut resumed, mut lost) = (0, 0);
    for round in 0..50 {
        let _ = fs::remove_file(work.path().join(".sb/state.db-shm"));
        fs::write(&state, &whole).unwrap();
        let mut torn = log.clone();
        // Mostly near the end, where the last write is.
        let reach = if round % 3 == 0 { log.len() } else { 12_000 };
        torn.truncate(log.len() - usize::try_from(draw(&mut seed)).unwrap() % reach);
        if round % 2 == 0 {
            torn.extend((0..draw(&mut seed) % 6000).map(|_| draw(&mut seed).to_le_bytes()[0]));
        }
        fs::write(&wal, &torn).unwrap();
        let ran = work.sb(&["resume"]);
        if ran.stderr.contains("every run has ended") {
            // So much is gone that the run itself is.
            lost += 1;
        } else if round == 0 {
            assert!(ran.stderr.contains(": complete; cleanup complete"), "{}", ran.stderr);
            resumed += 1;
        } else {
            // What was cleaned up in an earlier round is deployed again only if so much is gone that nothing is known of it.
            let anew = ran.stderr.contains("; cleanup complete");
            // Else nothing is begun: what had ended is taken up from its folder, and what had not is given up.
            let ended = ran.stderr.contains(": cancelled") || ran.stderr.contains(": complete");
            let over = ended && !ran.stderr.contains("started ");
            assert!(anew || over, "round {round}: {}", ran.stderr);
            resumed += 1;
        }
        work.sb(&["leaks"]).expect(0);
    }
    assert!(resumed >= 30, "{resumed} resumed, {lost} lost");
}

#[test]
fn a_damaged_database_is_called_so_with_a_way_out() {
    let work = killed_run();
    work.sb(&["resume"]).expect(0);
    let state = work.path().join(".sb/state.db");
    // All of it into the one file.
    Connection::open(&state).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let whole = fs::read(&state).unwrap();
    let damaged = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0xa5);
        fs::write(&state, bytes).unwrap();
    };
    damaged(0, 100);
    check_damaged(&work, &["status"]);
    // Behind the first page everything is gone: it opens, and cannot be read.
    damaged(4096, whole.len());
    check_damaged(&work, &["status"]);
    check_damaged(&work, &["resume"]);
    check_damaged(&work, &["run", "plans/p.toml"]);
}

#[track_caller]
fn check_damaged(work: &Workspace, arguments: &[&str]) {
    let refused = work.sb(arguments).expect(7);
    for text in ["is damaged", "state.db", "move it away"] {
        assert!(refused.stderr.contains(text), "no `{text}` in {}", refused.stderr);
    }
}

/// Puts a run of so many steps into the state, each begun and ended.
fn write_many(state: &Path, run: &str, steps: u32, ended: bool) {
    let mut connection = Connection::open(state).unwrap();
    let transaction = connection.transaction().unwrap();
    let source = "INSERT INTO runs (id, created_ms, request, measurement, cleanup)
                  SELECT ?1, created_ms + 1, request, ?2, ?2 FROM runs LIMIT 1";
    transaction.execute(source, (run, ended.then_some("complete"))).unwrap();
    let numbers = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)";
    for (offset, event) in [
        (1, r#"'{"event":"step_started","step":"app.' || i || '/deploy/make","attempt":1}'"#),
        (
            2,
            r#"'{"event":"step_ended","step":"app.' || i || '/deploy/make","attempt":1,"outcome":{"outcome":"succeeded"}}'"#,
        ),
    ] {
        let sql = format!(
            "{numbers} INSERT INTO events SELECT ?1, 2 * i + {offset}, 1700000000000 + i, {event} FROM n"
        );
        transaction.execute(&sql, (run, steps)).unwrap();
    }
    if ended {
        let end = r#"{"event":"run_ended","measurement":"complete","cleanup":"complete"}"#;
        transaction
            .execute("INSERT INTO events VALUES (?1, ?2, 1700000000000, ?3)", (run, 2 * steps + 1, end))
            .unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn a_finished_run_of_very_many_steps_is_known_at_once() {
    let work = killed_run();
    work.sb(&["resume"]).expect(0);
    write_many(&work.path().join(".sb/state.db"), "big", 200_000, true);
    for arguments in [&["resume", "big"][..], &["resume"], &["status"], &["leaks"]] {
        let begun = Instant::now();
        let ran = work.sb(arguments).expect(0);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "{arguments:?} took {took:?}");
        if arguments.len() == 2 {
            assert!(ran.stderr.contains("big has ended (complete; cleanup complete)"), "{}", ran.stderr);
        }
    }
}

/// Runs `sb` under a limit of open files.
fn limited(work: &Workspace, files: u32, arguments: &str) -> Ran {
    let program = work.command(&[]).get_program().to_string_lossy().into_owned();
    let mut shell = Command::new("sh");
    let line = format!("ulimit -n {files} && exec '{program}' {arguments}");
    shell.args(["-c", &line]).current_dir(work.path()).env("SB_LOCKS", work.path().join(".runtime"));
    Ran::of(shell.output().unwrap())
}

#[test]
fn under_too_few_open_files_nothing_is_begun_and_the_limit_is_named() {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        "[benchmark]\nname = \"app\"\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"d\"\nrun = \"echo d >> trail\"\n\
         [[cleanup]]\nname = \"c\"\nrun = \"echo c >> trail\"\n",
    );
    for files in [10, 20, 63] {
        let refused = limited(&work, files, "test --executor host").expect(1);
        assert!(refused.stderr.contains(&format!("only {files} open files")), "{}", refused.stderr);
        assert!(refused.stderr.contains("ulimit -n 1024"), "{}", refused.stderr);
    }
    assert_eq!(work.read("trail"), "");
    limited(&work, 64, "test --executor host").expect(0);
    assert_eq!(work.read("trail"), "d\nc\n");
}
