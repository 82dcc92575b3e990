//! Against a real engine: the tests whose names start with `docker_`, which `cargo test -- --ignored` runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FileType, Mode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use super::*;
use crate::attempt::ExitRecord;
use crate::command_exit::{CommandExit, Found};

/// Runs a test with an engine and an image that holds busybox.
fn with_engine<F: Future<Output = ()>>(test: impl FnOnce(Engine, String) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Engine::connect().await.unwrap_or_else(|error| panic!("{error}"));
        let image = busybox(&engine).await;
        test(engine, image).await;
    });
}

async fn connect_to(host: &str) -> Result<Engine, ContainerError> {
    let endpoint = Endpoint { host: host.to_owned(), from: "from DOCKER_HOST".to_owned(), tls: None };
    Engine::connect_to(endpoint, None).await
}

async fn busybox(engine: &Engine) -> String {
    let dir = context(
        "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nENV PATH=/bin\n",
        &[],
    );
    fs::copy("/bin/busybox", dir.path().join("busybox"))
        .expect("/bin/busybox, from Debian's package busybox-static");
    engine.ensure_image(&build(dir.path()), &|_| {}).await.unwrap()
}

fn context(dockerfile: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn build(dir: &Path) -> Image {
    Image::Build { dockerfile: dir.join("Dockerfile"), context: dir.to_owned(), args: BTreeMap::new() }
}

fn shell(image: &str, script: &str) -> ContainerCommand {
    ContainerCommand {
        log_limit: None,
        image: image.to_owned(),
        entrypoint: None,
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::new(),
        workdir: None,
        mounts: Vec::new(),
        volumes: Vec::new(),
        in_memory: Vec::new(),
        user: None,
        network: Some("none".to_owned()),
        cpus: None,
        memory_bytes: None,
        labels: BTreeMap::from([("sb.run".to_owned(), "test".to_owned())]),
        timeout: None,
        grace: Duration::from_millis(300),
    }
}

/// An attempt with its folder; its container is removed at the end, even of a failed test.
struct Attempt {
    dir: tempfile::TempDir,
    name: String,
}

impl Attempt {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("sb-test-{:016x}", rand::random::<u64>());
        Self { dir, name }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path().join(name)).unwrap()).into_owned()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rm", "-fv", &self.name]).output();
    }
}

async fn run(engine: &Engine, command: &ContainerCommand) -> (Attempt, CommandExit) {
    let attempt = Attempt::new();
    engine.start(attempt.path(), command, &attempt.name).await.unwrap();
    let exit = engine.wait(attempt.path(), &attempt.name).await.unwrap();
    engine.settle().await;
    assert!(engine.inspect_state(&attempt.name).await.is_none(), "the container is removed");
    assert_eq!(ExitRecord::read(attempt.path()).unwrap().unwrap().exit, exit);
    assert_eq!(engine.look(attempt.path(), &attempt.name).await.unwrap(), Found::Ended(exit.clone()));
    (attempt, exit)
}

impl Engine {
    async fn inspect_state(&self, name: &str) -> Option<bollard::models::ContainerState> {
        self.docker.inspect_container(name, None).await.ok()?.state
    }
}

async fn until_output(attempt: &Attempt, text: &str) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while fs::read_to_string(attempt.path().join("output.log")).is_ok_and(|log| !log.contains(text)) {
        assert!(Instant::now() < give_up, "no `{text}` within 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
#[ignore = "needs: docker"]
fn docker_an_exit_is_told_apart_from_other_ends() {
    with_engine(async |engine, image| {
        for (script, expected, log, stdout) in [
            ("true", CommandExit::Code(0), "", ""),
            ("echo out; sleep 0.1; echo err >&2; exit 3", CommandExit::Code(3), "out\nerr\n", "out\n"),
            ("kill -SEGV $$", CommandExit::Signal(11), "", ""),
        ] {
            let (attempt, exit) = run(&engine, &shell(&image, script)).await;
            assert_eq!(exit, expected, "{script}");
            assert_eq!(attempt.read("output.log"), log, "{script}");
            assert_eq!(attempt.read("stdout"), stdout, "{script}");
        }
        let mut missing = shell(&image, "");
        missing.argv = vec!["no-such-program".to_owned()];
        let (_attempt, exit) = run(&engine, &missing).await;
        let named = |message: &str| message.contains("no-such-program");
        assert!(matches!(&exit, CommandExit::NoCommand { message } if named(message)), "{exit:?}");

        let mut hungry = shell(&image, "");
        hungry.argv = ["tail", "/dev/zero"].map(str::to_owned).to_vec();
        hungry.memory_bytes = Some(16 << 20);
        let mut ends = Vec::new();
        // On a busy machine the engine misses the reason of about one in ten; five in a row it does not.
        while ends.len() < 5 && !ends.contains(&CommandExit::OutOfMemory) {
            ends.push(run(&engine, &hungry).await.1);
        }
        assert_eq!(ends.pop(), Some(CommandExit::OutOfMemory));
        assert!(ends.iter().all(|end| *end == CommandExit::Signal(9)), "{ends:?}");
        // Killed by hand, with a limit that was not reached.
        let mut killed = shell(&image, "kill -9 $$");
        killed.memory_bytes = Some(64 << 20);
        assert_eq!(run(&engine, &killed).await.1, CommandExit::Signal(9));
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_the_time_limit_ends_polite_and_stubborn_programs() {
    with_engine(async |engine, image| {
        let mut polite =
            shell(&image, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        polite.timeout = Some(Duration::from_millis(700));
        polite.grace = Duration::from_secs(30);
        let (attempt, exit) = run(&engine, &polite).await;
        assert_eq!((exit, attempt.read("stdout").as_str()), (CommandExit::TimedOut, "ready\nbye\n"));

        let mut stubborn = shell(&image, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
        stubborn.timeout = Some(Duration::from_millis(700));
        let before = Instant::now();
        let (attempt, exit) = run(&engine, &stubborn).await;
        assert_eq!((exit, attempt.read("stdout").as_str()), (CommandExit::TimedOut, "ready\n"));
        assert!((1..15).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());

        // It passes while nobody waits.
        let attempt = Attempt::new();
        engine.start(attempt.path(), &stubborn, &attempt.name).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let later = Engine::connect().await.unwrap();
        assert_eq!(later.wait(attempt.path(), &attempt.name).await.unwrap(), CommandExit::TimedOut);
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_output_is_kept_byte_for_byte() {
    with_engine(async |engine, image| {
        let dir = tempfile::tempdir().unwrap();
        let script =
            "head -c 3000000 /dev/urandom > /mnt/bytes; cat /mnt/bytes; printf '\\n\\nend'; echo err >&2";
        let mut command = shell(&image, script);
        let source = dir.path().to_owned();
        command.mounts.push(Mount { source, target: "/mnt".to_owned(), read_only: false });
        let (attempt, exit) = run(&engine, &command).await;
        assert_eq!(exit, CommandExit::Code(0));
        let mut expected = fs::read(dir.path().join("bytes")).unwrap();
        expected.extend_from_slice(b"\n\nend");
        assert!(fs::read(attempt.path().join("stdout")).unwrap() == expected, "the bytes differ");
        assert_eq!(fs::metadata(attempt.path().join("output.log")).unwrap().len(), 3_000_009);

        let (attempt, _) =
            run(&engine, &shell(&image, "printf %20000d 7; echo; echo next; printf last")).await;
        assert_eq!(attempt.read("stdout"), format!("{:020000}\nnext\nlast", 7).replace('0', " ").as_str());
    });
}

#[test]
#[ignore = "needs: docker, root"]
fn docker_a_container_whose_output_cannot_be_kept_is_ended() {
    with_engine(async |engine, image| {
        let attempt = Attempt::new();
        engine
            .start(attempt.path(), &shell(&image, "while :; do echo x; sleep 0.05; done"), &attempt.name)
            .await
            .unwrap();
        // The device `full`: every write fails, as on a full disk.
        let (log, device) = (attempt.path().join("output.log"), rustix::fs::makedev(1, 7));
        rustix::fs::mknodat(rustix::fs::CWD, log, FileType::CharacterDevice, Mode::from(0o600), device)
            .unwrap();
        let exit = engine.wait(attempt.path(), &attempt.name).await.unwrap();
        assert!(
            matches!(&exit, CommandExit::OutputLost { message } if message.contains("space")),
            "{exit:?}"
        );
        assert!(engine.inspect_state(&attempt.name).await.is_none(), "the container is removed");
        assert_eq!(engine.look(attempt.path(), &attempt.name).await.unwrap(), Found::Ended(exit));
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_a_wait_that_is_broken_off_again_and_again_loses_nothing_and_repeats_nothing() {
    with_engine(async |engine, image| {
        let attempt = Attempt::new();
        let script =
            "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; sleep 0.5; echo end; exit 4";
        engine.start(attempt.path(), &shell(&image, script), &attempt.name).await.unwrap();
        let again = engine.start(attempt.path(), &shell(&image, script), &attempt.name).await.unwrap_err();
        assert!(matches!(again, ContainerError::AlreadyStarted { .. }), "{again}");
        let mut exit = None;
        for round in 0..600_u64 {
            // Another engine handle each time, as after a crash.
            let engine = Engine::connect().await.unwrap();
            // Short at first, and later as long as a busy machine needs.
            let late = round.saturating_sub(300) * 10;
            let patience = Duration::from_millis(1 + round % 25 + round / 10 + late);
            let waiting = engine.wait(attempt.path(), &attempt.name);
            if let Ok(result) = tokio::time::timeout(patience, waiting).await {
                exit = Some(result.unwrap());
                break;
            }
        }
        assert_eq!(exit, Some(CommandExit::Code(4)));
        let expected: String = (0..3000).map(|i| format!("line {i}\n")).chain(["end\n".to_owned()]).collect();
        assert!(attempt.read("stdout") == expected, "{}", attempt.read("stdout").len());
        assert!(attempt.read("output.log") == expected);
        let error = engine.start(attempt.path(), &shell(&image, script), &attempt.name).await.unwrap_err();
        assert!(matches!(error, ContainerError::AlreadyStarted { .. }), "{error}");
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_looking_tells_what_became_of_an_attempt() {
    with_engine(async |engine, image| {
        let attempt = Attempt::new();
        let (dir, name) = (attempt.path(), attempt.name.as_str());
        assert_eq!(engine.look(dir, name).await.unwrap(), Found::NotStarted);
        let error = engine.wait(dir, name).await.unwrap_err();
        assert!(matches!(error, ContainerError::NotStarted { .. }), "{error}");
        engine.start(dir, &shell(&image, "echo begun; sleep 0.7; exit 6"), name).await.unwrap();
        assert_eq!(engine.look(dir, name).await.unwrap(), Found::Running);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        // Ended while nobody waited.
        assert_eq!(engine.look(dir, name).await.unwrap(), Found::Ended(CommandExit::Code(6)));
        assert_eq!(attempt.read("output.log"), "begun\n");

        let lost = Attempt::new();
        engine.start(lost.path(), &shell(&image, "sleep 60"), &lost.name).await.unwrap();
        engine.remove(&lost.name).await.unwrap();
        assert_eq!(engine.look(lost.path(), &lost.name).await.unwrap(), Found::Gone);
        let error = engine.wait(lost.path(), &lost.name).await.unwrap_err();
        assert!(matches!(error, ContainerError::Gone { .. }), "{error}");
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_a_container_that_was_created_but_never_started_is_started() {
    with_engine(async |engine, image| {
        let attempt = Attempt::new();
        let created = std::process::Command::new("docker")
            .args(["create", "--name", &attempt.name, &image, "true"])
            .output()
            .unwrap();
        assert!(created.status.success(), "{created:?}");
        assert_eq!(engine.look(attempt.path(), &attempt.name).await.unwrap(), Found::NotStarted);
        engine.start(attempt.path(), &shell(&image, "exit 2"), &attempt.name).await.unwrap();
        assert_eq!(engine.wait(attempt.path(), &attempt.name).await.unwrap(), CommandExit::Code(2));
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_cancelling_stops_with_and_without_someone_waiting() {
    with_engine(async |engine, image| {
        let stubborn = shell(&image, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
        let attempt = Attempt::new();
        let (dir, name) = (attempt.path(), attempt.name.as_str());
        engine.start(dir, &stubborn, name).await.unwrap();
        let asking = async {
            until_output(&attempt, "ready").await;
            engine.cancel(dir, name, Duration::from_hours(1)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(ExitRecord::read(dir).unwrap().is_none(), "it ignores the polite signal");
            engine.cancel(dir, name, Duration::ZERO).await.unwrap();
        };
        let (exit, ()) = tokio::join!(engine.wait(dir, name), asking);
        assert_eq!(exit.unwrap(), CommandExit::Cancelled);

        let attempt = Attempt::new();
        let (dir, name) = (attempt.path(), attempt.name.as_str());
        engine.start(dir, &stubborn, name).await.unwrap();
        engine.cancel(dir, name, Duration::from_millis(200)).await.unwrap();
        let later = Engine::connect().await.unwrap();
        assert_eq!(later.wait(dir, name).await.unwrap(), CommandExit::Cancelled);

        let attempt = Attempt::new();
        let (dir, name) = (attempt.path(), attempt.name.as_str());
        engine.cancel(dir, name, Duration::ZERO).await.unwrap();
        engine.start(dir, &shell(&image, "echo ran"), name).await.unwrap();
        assert_eq!(engine.wait(dir, name).await.unwrap(), CommandExit::Cancelled);
        assert!(!dir.join("stdout").exists());
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_files_belong_to_the_caller_and_home_is_writable_and_short_lived() {
    use std::os::unix::fs::MetadataExt as _;
    with_engine(async |engine, image| {
        let dir = tempfile::tempdir().unwrap();
        let script =
            "echo $HOME $GREETING $(pwd); touch $HOME/x && touch made; touch /ro/x || echo read-only";
        let mut command = shell(&image, script);
        command.env.insert("GREETING".to_owned(), "a 'quoted' $word".to_owned());
        command.workdir = Some("/mnt".to_owned());
        for (target, read_only) in [("/mnt", false), ("/ro", true)] {
            command.mounts.push(Mount {
                source: dir.path().to_owned(),
                target: target.to_owned(),
                read_only,
            });
        }
        let (attempt, exit) = run(&engine, &command).await;
        assert_eq!(exit, CommandExit::Code(0));
        assert_eq!(attempt.read("stdout"), "/sb-home a 'quoted' $word /mnt\nread-only\n");
        let owner = fs::metadata(dir.path().join("made")).unwrap().uid();
        assert_eq!(owner, fs::metadata(dir.path()).unwrap().uid());
        assert!(!attempt.path().join("home").exists());
        assert!(!format!("{command:?}").contains("quoted"), "values of the environment may be secret");

        let mut with_credentials = shell(&image, "cat $HOME/.config/x/made-here $HOME/.one; ls -A $HOME");
        fs::write(dir.path().join("made-here"), "credentials\n").unwrap();
        for (source, target) in [("", ".config/x"), ("made-here", ".one")] {
            let source = dir.path().join(source);
            with_credentials.mounts.push(Mount {
                source,
                target: format!("{HOME}/{target}"),
                read_only: true,
            });
        }
        let (attempt, _) = run(&engine, &with_credentials).await;
        assert_eq!(attempt.read("output.log"), "credentials\ncredentials\n.config\n.one\n");

        command.user = Some("1234:1234".to_owned());
        command.argv = ["sh", "-c", "id -u; exit 0"].map(str::to_owned).to_vec();
        let (attempt, _) = run(&engine, &command).await;
        assert_eq!(attempt.read("stdout"), "1234\n");
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_orphans_are_listed_by_run_and_removed() {
    with_engine(async |engine, image| {
        let attempt = Attempt::new();
        let mut command = shell(&image, "sleep 60");
        command.labels.insert("sb.run".to_owned(), attempt.name.clone());
        engine.start(attempt.path(), &command, &attempt.name).await.unwrap();
        let found = engine.list_orphans(RUN_LABEL, Some(&attempt.name)).await.unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].running && found[0].name == attempt.name, "{found:?}");
        assert!(
            engine.list_orphans(RUN_LABEL, None).await.unwrap().iter().any(|orphan| orphan.id == found[0].id)
        );
        engine.remove(&found[0].id).await.unwrap();
        engine.remove(&found[0].id).await.unwrap();
        assert!(engine.list_orphans(RUN_LABEL, Some(&attempt.name)).await.unwrap().is_empty());
    });
}

/// Of a container that asks for no network: which network namespace it is in.
async fn namespace(engine: &Engine, image: &str, run_label: &str) -> String {
    let (attempt, exit) = run(engine, &networked(image, "readlink /proc/self/ns/net", run_label)).await;
    assert_eq!(exit, CommandExit::Code(0));
    attempt.read("stdout")
}

fn networked(image: &str, script: &str, run_label: &str) -> ContainerCommand {
    let mut command = shell(image, script);
    command.network = None;
    command.labels.insert(RUN_LABEL.to_owned(), run_label.to_owned());
    command
}

#[test]
#[ignore = "needs: docker"]
fn docker_containers_take_turns_in_a_network_namespace() {
    with_engine(async |engine, image| {
        let label = format!("sb-test-{:016x}", rand::random::<u64>());
        let of_run = async || engine.list_orphans(RUN_LABEL, Some(&label)).await.unwrap();
        namespace(&engine, &image, &label).await;
        assert_eq!(of_run().await, [], "one alone needs nobody to keep it");
        // The number of a namespace that is gone may come again: that the second is another one shows its keeper.
        let second = namespace(&engine, &image, &label).await;
        assert_eq!(of_run().await.len(), 1, "somebody keeps the second");
        assert_eq!(namespace(&engine, &image, &label).await, second);
        let asking = run(&engine, &shell(&image, "readlink /proc/self/ns/net")).await.0.read("stdout");
        assert_ne!(asking, second, "one that asks for a network has it");

        // Two at once never share one, and each is used again.
        let meet = |number: u32| {
            let (engine, command) =
                (&engine, networked(&image, "readlink /proc/self/ns/net; sleep 2", &label));
            async move {
                tokio::time::sleep(Duration::from_millis(number.into())).await;
                run(engine, &command).await.0.read("stdout")
            }
        };
        let (one, other) = tokio::join!(meet(0), meet(1));
        assert_ne!(one, other);
        assert!([&one, &other].contains(&&second));
        assert_eq!(of_run().await.len(), 2);

        // A program that is not there keeps none.
        let mut missing = networked(&image, "", &label);
        missing.argv = vec!["no-such-program".to_owned()];
        missing.workdir = Some("/proc/nowhere".to_owned());
        let (_, exit) = run(&engine, &missing).await;
        assert!(matches!(exit, CommandExit::SpawnFailed { .. } | CommandExit::NoCommand { .. }), "{exit:?}");
        let (one, other) = tokio::join!(meet(0), meet(1));
        assert_ne!(one, other);
        assert_eq!(of_run().await.len(), 2);

        engine.sweep(&label).await.unwrap();
        assert_eq!(of_run().await, []);
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_a_network_namespace_that_somebody_removed_is_replaced() {
    with_engine(async |engine, image| {
        let label = format!("sb-test-{:016x}", rand::random::<u64>());
        for how in [&["rm", "-f"][..], &["stop"]] {
            namespace(&engine, &image, &label).await;
            namespace(&engine, &image, &label).await;
            let holders = engine.list_orphans(RUN_LABEL, Some(&label)).await.unwrap();
            let begun = Instant::now();
            let removed =
                std::process::Command::new("docker").args(how).arg(&holders[0].id).output().unwrap();
            assert!(removed.status.success(), "{removed:?}");
            assert!(begun.elapsed() < Duration::from_secs(8), "it does not wait to be killed");
            // The number of a namespace that is gone may come again: who keeps the next one tells.
            namespace(&engine, &image, &label).await;
            namespace(&engine, &image, &label).await;
            let next = engine.list_orphans(RUN_LABEL, Some(&label)).await.unwrap();
            assert!(next.iter().any(|one| one.running && one.id != holders[0].id), "{how:?}: {next:?}");
        }
        engine.sweep(&label).await.unwrap();
        assert_eq!(engine.list_orphans(RUN_LABEL, Some(&label)).await.unwrap(), []);
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_an_image_is_built_once_and_again_when_its_context_changes() {
    with_engine(async |engine, image| {
        let unique = format!("{:016x}", rand::random::<u64>());
        let dockerfile = format!(
            "FROM {image}\nARG WORD=none\nLABEL test={unique}\nCOPY . /app\nRUN echo $WORD > /word\n"
        );
        let dir = context(&dockerfile, &[(".dockerignore", "secret\n"), ("a", "1"), ("secret", "s")]);
        let lines = Mutex::new(Vec::new());
        let progress = |event: ImageProgress| lines.lock().unwrap().push(event);
        let first = engine.ensure_image(&build(dir.path()), &progress).await.unwrap();
        let told = lines.lock().unwrap().len();
        assert!(told > 3, "a build tells its steps");
        fs::write(dir.path().join("secret"), "t").unwrap();
        assert_eq!(engine.ensure_image(&build(dir.path()), &progress).await.unwrap(), first);
        assert_eq!(lines.lock().unwrap().len(), told, "nothing was built");
        let (attempt, _) = run(&engine, &shell(&first, "ls /app; cat /word")).await;
        assert_eq!(attempt.read("stdout"), "Dockerfile\na\nnone\n");

        fs::write(dir.path().join("a"), "2").unwrap();
        let second = engine.ensure_image(&build(dir.path()), &progress).await.unwrap();
        assert_ne!(second, first);
        let with_args = Image::Build {
            dockerfile: dir.path().join("Dockerfile"),
            context: dir.path().to_owned(),
            args: BTreeMap::from([("WORD".to_owned(), "spoken".to_owned())]),
        };
        let third = engine.ensure_image(&with_args, &progress).await.unwrap();
        let (attempt, _) = run(&engine, &shell(&third, "cat /word")).await;
        assert_eq!(attempt.read("stdout"), "spoken\n");

        // A large context, and a Dockerfile outside of it.
        let big = tempfile::tempdir().unwrap();
        fs::write(big.path().join("big"), vec![7; 30_000_000]).unwrap();
        let outside = Image::Build {
            dockerfile: dir.path().join("Dockerfile"),
            context: big.path().to_owned(),
            args: BTreeMap::new(),
        };
        let fourth = engine.ensure_image(&outside, &progress).await.unwrap();
        let (attempt, _) = run(&engine, &shell(&fourth, "ls -a /app; wc -c < /app/big")).await;
        assert_eq!(attempt.read("stdout"), ".\n..\nbig\n30000000\n");
        for made in [first, second, third, fourth] {
            let _ = std::process::Command::new("docker").args(["rmi", "-f", &made]).output();
        }
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_failures_say_what_to_do() {
    with_engine(async |engine, image| {
        let dir = context(&format!("FROM {image}\nRUN echo before && false\n"), &[]);
        let error = engine.ensure_image(&build(dir.path()), &|_| {}).await.unwrap_err().to_string();
        for words in ["Dockerfile` failed", "before", "non-zero code: 1"] {
            assert!(error.contains(words), "no `{words}` in: {error}");
        }
        let dir = context("FROM scratch\nNONSENSE\n", &[]);
        let error = engine.ensure_image(&build(dir.path()), &|_| {}).await.unwrap_err().to_string();
        assert!(error.to_lowercase().contains("nonsense"), "{error}");

        let absent = Image::Reference("localhost:1/no/such".to_owned());
        let error = engine.ensure_image(&absent, &|_| {}).await.unwrap_err();
        assert!(matches!(&error, ContainerError::Pull { .. }), "{error}");
        assert!(error.to_string().contains("localhost:1/no/such:latest"), "{error}");
        assert_eq!(engine.ensure_image(&Image::Reference(image.clone()), &|_| {}).await.unwrap(), image);

        let mut command = shell(&image, "true");
        let source = PathBuf::from("/no/such/folder");
        command.mounts.push(Mount { source, target: "/x".to_owned(), read_only: true });
        let attempt = Attempt::new();
        let error = engine.start(attempt.path(), &command, &attempt.name).await.unwrap_err();
        assert!(matches!(&error, ContainerError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
        assert_eq!(engine.look(attempt.path(), &attempt.name).await.unwrap(), Found::NotStarted);
    });
}

#[test]
fn a_missing_engine_is_one_error_that_names_the_way_out() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for host in ["unix:///no/such.sock", "tcp://127.0.0.1:1", "gopher://x"] {
        let error = runtime.block_on(connect_to(host)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ContainerError::NoEngine { .. }), "{text}");
        assert!(text.contains(host) && text.contains("--executor host"), "{text}");
    }
}

/// A server that answers every request with these bytes, or with silence.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = client.read(&mut request).await;
            client.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
        }
    });
    host
}

#[test]
fn what_answers_and_is_no_engine_is_told_in_a_few_words() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = |answer| {
        runtime.block_on(async {
            let host = answering(answer).await;
            connect_to(&host).await.unwrap_err().to_string()
        })
    };
    let page =
        told("HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<html>\n</html>\n");
    assert!(page.contains("answers 404, as no Docker engine does") && !page.contains("html"), "{page}");
    let words =
        told("HTTP/1.1 403 No\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{\"message\":\"ask\"}");
    assert!(words.contains("answers 403: ask"), "{words}");
    let silence = told("");
    assert!(silence.contains("no answer within 10 s"), "{silence}");
}

/// Passes what arrives on a port of this machine to the engine's socket, until it is dropped.
struct Proxy {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                });
            }
        });
        Self { port, task }
    }

    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

#[test]
#[ignore = "needs: docker"]
fn docker_a_connection_that_breaks_while_waiting_loses_nothing() {
    with_engine(async |_engine, image| {
        let proxy = Proxy::start(0).await;
        let port = proxy.port;
        let engine = connect_to(&format!("tcp://127.0.0.1:{port}")).await.unwrap();
        let attempt = Attempt::new();
        let script = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done; exit 5";
        engine.start(attempt.path(), &shell(&image, script), &attempt.name).await.unwrap();
        let breaking = async {
            until_output(&attempt, "2\n").await;
            proxy.stop().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            Proxy::start(port).await
        };
        let told = AtomicU32::new(0);
        let tell = || {
            told.fetch_add(1, Ordering::Relaxed);
        };
        let waiting = async {
            loop {
                match engine.wait(attempt.path(), &attempt.name).await {
                    Err(error) if error.is_connection() => engine.until_it_answers(&tell).await.unwrap(),
                    other => return other,
                }
            }
        };
        let (exit, proxy) = tokio::join!(waiting, breaking);
        assert_eq!(exit.unwrap(), CommandExit::Code(5));
        assert!(told.load(Ordering::Relaxed) > 0, "the wait for the engine is told");
        assert_eq!(attempt.read("output.log"), "1\n2\n3\n4\n5\n6\n7\n8\n");
        proxy.stop().await;
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_an_engine_that_stays_away_is_waited_for_and_then_given_up() {
    with_engine(async |_engine, image| {
        let proxy = Proxy::start(0).await;
        let mut engine = connect_to(&format!("tcp://127.0.0.1:{}", proxy.port)).await.unwrap();
        engine.patience = Duration::from_millis(200);
        let attempt = Attempt::new();
        engine.start(attempt.path(), &shell(&image, "sleep 30"), &attempt.name).await.unwrap();
        let (broken, ()) = tokio::join!(engine.wait(attempt.path(), &attempt.name), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.stop().await;
        });
        let broken = broken.unwrap_err();
        assert!(broken.is_connection() && broken.is_unreachable(), "{broken}");
        let given_up = engine.until_it_answers(&|| {}).await.unwrap_err();
        assert!(given_up.is_unreachable() && !given_up.is_connection(), "{given_up}");
        assert!(given_up.to_string().contains("within 200ms"), "{given_up}");
        assert!(ExitRecord::read(attempt.path()).unwrap().is_none(), "how it ended is not known");
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_who_stops_a_container_from_outside_has_not_let_it_end() {
    with_engine(async |engine, image| {
        // One that takes the signal for a reason to end well, and one that does not.
        for script in ["trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done", "echo ready; sleep 60"]
        {
            let attempt = Attempt::new();
            engine.start(attempt.path(), &shell(&image, script), &attempt.name).await.unwrap();
            let stopping = async {
                until_output(&attempt, "ready").await;
                let stop = std::process::Command::new("docker").args(["stop", &attempt.name]).output();
                assert!(stop.unwrap().status.success());
            };
            let (ended, ()) = tokio::join!(engine.wait(attempt.path(), &attempt.name), async {
                tokio::task::yield_now().await;
                stopping.await;
            });
            assert!(matches!(ended, Err(ContainerError::Gone { .. })), "{script}: {ended:?}");
            assert_eq!(attempt.read("output.log"), "ready\n");
            assert_eq!(engine.look(attempt.path(), &attempt.name).await.unwrap(), Found::Gone);
        }
    });
}

#[test]
#[ignore = "needs: docker"]
fn docker_the_version_of_the_interface_is_the_one_that_was_asked_for() {
    with_engine(async |_engine, image| {
        let endpoint =
            || Endpoint { host: "unix:///var/run/docker.sock".to_owned(), from: String::new(), tls: None };
        let old = Engine::connect_to(endpoint(), Some((1, 40))).await.unwrap();
        let (attempt, exit) = run(&old, &shell(&image, "echo as in Docker 19.03; exit 3")).await;
        assert_eq!((exit, attempt.read("stdout").as_str()), (CommandExit::Code(3), "as in Docker 19.03\n"));
        let error = Engine::connect_to(endpoint(), Some((1, 99))).await.unwrap_err().to_string();
        assert!(error.contains("1.99"), "the engine saw the version: {error}");
    });
}

/// An engine that has no image until it was told to pull it; it can do nothing else.
async fn engine_that_pulls(listener: TcpListener) {
    let mut pulled = false;
    while let Ok((mut client, _)) = listener.accept().await {
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            if client.read_buf(&mut request).await.unwrap() == 0 {
                break;
            }
        }
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        let (status, body) = if line.contains("/version") {
            ("200 OK", r#"{"ApiVersion":"1.41","Version":"20.10"}"#)
        } else if line.starts_with("POST") && line.contains("/images/create?fromImage=a%2Fb%3Alatest") {
            pulled = true;
            (
                "200 OK",
                "{\"status\":\"Pulling from a/b\",\"id\":\"latest\"}\n\
                 {\"status\":\"Downloading\",\"progressDetail\":{\"current\":10,\"total\":20},\"id\":\"l1\"}\n",
            )
        } else if line.contains("/images/a/b:latest/json") && pulled {
            ("200 OK", r#"{"Id":"sha256:feed"}"#)
        } else {
            ("404 Not Found", r#"{"message":"no such image"}"#)
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        client.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[test]
fn an_absent_image_is_pulled_once_with_progress_per_layer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(engine_that_pulls(listener));
        let engine = connect_to(&host).await.unwrap();
        let told = Mutex::new(Vec::new());
        let progress = |event: ImageProgress| told.lock().unwrap().push(event);
        let image = Image::Reference("a/b".to_owned());
        for _ in 0..2 {
            assert_eq!(engine.ensure_image(&image, &progress).await.unwrap(), "sha256:feed");
        }
        let layer = |layer: &str, status: &str, current, total| ImageProgress::Pulling {
            layer: layer.to_owned(),
            status: status.to_owned(),
            current,
            total,
        };
        let expected =
            [layer("latest", "Pulling from a/b", None, None), layer("l1", "Downloading", Some(10), Some(20))];
        assert_eq!(*told.lock().unwrap(), expected);
        server.abort();
    });
}
