//! Engines other than the one at hand: over ssh, through a context, of another version, one that dies, one that an ordinary user
//! talks to.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::docker::Boxed;
use crate::workspace::Ran;

/// One step in a container, and its cleanup.
pub(crate) const SHORT: &str = r#"
[[deploy]]
name = "one"
image = "box"
network = "none"
run = "echo one >> trail"

[[cleanup]]
name = "remove"
image = "box"
network = "none"
run = "echo cleanup >> trail"
"#;

/// A Docker engine of a test's own, which may die. In a network namespace of its own: an engine without a bridge
/// removes that of the machine.
pub(crate) struct Dockerd {
    folder: tempfile::TempDir,
    process: Child,
    arguments: Vec<String>,
    /// What comes before the command, so that it runs in the right namespace.
    place: Vec<String>,
}

impl Dockerd {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    #[track_caller]
    pub(crate) fn start_with(arguments: &[String]) -> Self {
        Self::start_in(vec!["unshare".to_owned(), "--net".to_owned()], arguments)
    }

    /// Another one in the network of this one.
    #[track_caller]
    pub(crate) fn start_beside(&self) -> Self {
        Self::start_in(self.beside(), &[])
    }

    /// What runs a command in the network of this engine.
    pub(crate) fn beside(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.process.id())]
    }

    #[track_caller]
    fn start_in(place: Vec<String>, arguments: &[String]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "starting a Docker engine needs root");
        let folder = tempfile::Builder::new().prefix("sb-dockerd-").tempdir_in("/tmp").unwrap();
        // Others than root may talk to it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let process = Self::launch(folder.path(), &place, arguments);
        Self { folder, process, arguments: arguments.to_owned(), place }
    }

    #[track_caller]
    fn launch(folder: &Path, place: &[String], arguments: &[String]) -> Child {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut process = Command::new(&place[0])
            .args(&place[1..])
            .args(["sh", "-c", "/bin/busybox ip link set lo up && exec dockerd \"$@\"", "sh"])
            .args(["--bridge=none", "--iptables=false", "--group=docker"])
            .arg(format!("--data-root={}", folder.join("data").display()))
            .arg(format!("--exec-root={}", folder.join("exec").display()))
            .arg(format!("--pidfile={}", folder.join("pid").display()))
            .arg(format!("--host={}", host_in(folder)))
            .args([
                format!("--containerd-namespace={name}"),
                format!("--containerd-plugins-namespace={name}-plugins"),
            ])
            .args(arguments)
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("unshare, of util-linux");
        let begun = Instant::now();
        while !docker(&host_in(folder), &["version"]).status.success() {
            let ended = process.try_wait().unwrap();
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_mins(1), "no engine: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        process
    }

    /// Where it keeps images, containers and volumes.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn host(&self) -> String {
        host_in(self.folder.path())
    }

    /// Of the engine, in whose network namespace it listens.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    fn die(&mut self, signal: Signal) {
        let _ = kill_process(Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap(), signal);
        self.process.wait().unwrap();
    }

    #[track_caller]
    fn restart(&mut self) {
        // Their processes died with it, and may not be reaped yet: the new engine would wait for them.
        for file in ["pid", "exec/containerd/containerd.pid"] {
            let _ = std::fs::remove_file(self.folder.path().join(file));
        }
        self.process = Self::launch(self.folder.path(), &self.place, &self.arguments);
    }

    #[track_caller]
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let output = docker(&self.host(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    fn sb(&self, boxed: &Boxed, arguments: &[&str]) -> Ran {
        Ran::of(boxed.work.command(arguments).env("DOCKER_HOST", self.host()).output().unwrap())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.die(Signal::TERM);
        // What an engine leaves that was killed before.
        let containerd = self.folder.path().join("exec/containerd/containerd.pid");
        if let Some(pid) = std::fs::read_to_string(containerd).ok().and_then(|text| text.trim().parse().ok())
        {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(place).starts_with(self.folder.path()) {
                let _ = Command::new("umount").args(["-l", place]).output();
            }
        }
    }
}

fn host_in(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}

fn docker(host: &str, arguments: &[&str]) -> std::process::Output {
    Command::new("docker").arg("--host").arg(host).args(arguments).output().expect("the docker command")
}

/// An engine that dies under a step: nobody knows what the step would have done, whatever its exit says.
#[track_caller]
fn check_engine_dies(signal: Signal, trails: &[&str]) {
    let boxed = Boxed::new(
        r#"
[[invoke]]
name = "long"
image = "box"
network = "none"
run = "trap 'echo told >> trail; exit 0' TERM; echo begin >> trail; echo printed; i=0; while [ $(grep -c begin trail) = 1 ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; echo end >> trail"
"#,
    );
    let mut dockerd = Dockerd::start();
    let log = File::create(boxed.work.path().join("runner.log")).unwrap();
    let mut runner = boxed
        .work
        .command(&["test", "--executor", "docker"])
        .env("DOCKER_HOST", dockerd.host())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    boxed.appears("trail", "begin");
    // An engine that is killed before it has noted a start forgets the container, and leaves its process behind.
    while dockerd.docker(&["ps", "-q"]).is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    dockerd.die(signal);
    std::thread::sleep(Duration::from_secs(1));
    dockerd.restart();
    let code = runner.wait().unwrap().code();
    let told = boxed.work.read("runner.log");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("interrupted"), "{told}");
    let trail = boxed.work.read("trail");
    assert!(trails.contains(&trail.as_str()), "{trail}{told}");
    let mut folders: Vec<_> = std::fs::read_dir(boxed.work.path().join("logs"))
        .unwrap()
        .map(|folder| folder.unwrap().path())
        .collect();
    folders.sort();
    assert_eq!(folders.len(), 2, "each attempt of an invocation has a folder of its own");
    for folder in folders {
        assert_eq!(std::fs::read_to_string(folder.join("long.log")).unwrap(), "printed\n");
    }
    assert_eq!(dockerd.docker(&["ps", "-aq"]), "", "no container is left");
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn docker_a_step_whose_engine_is_killed_is_interrupted_and_runs_again() {
    // Its next life kills or stops what it finds.
    check_engine_dies(Signal::KILL, &["begin\nbegin\nend\n", "begin\ntold\nbegin\nend\n"]);
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn docker_a_step_that_ends_well_because_its_engine_stops_is_interrupted_all_the_same() {
    check_engine_dies(Signal::TERM, &["begin\ntold\nbegin\nend\n"]);
}

/// Asks for credentials in one step, and not in the other; shows what it can of them.
const ASKING: &str = r#"
[[deploy]]
name = "asks"
image = "box"
network = "none"
credentials = ["aws", "google"]
run = "cat $HOME/.aws/credentials > /dev/null && echo read >> trail; echo x > $HOME/.aws/x || echo read-only >> trail; ls -A $HOME >> trail; ls $HOME/.config/gcloud >> trail; touch made; id -u >> trail"

[[deploy]]
name = "asks-not"
image = "box"
network = "none"
run = "ls -A $HOME | wc -l >> trail"

[[cleanup]]
name = "as-another"
image = "box"
network = "none"
user = "0:0"
credentials = ["aws"]
run = "echo $HOME >> trail; wc -l < $HOME/.aws/credentials >> trail"
"#;

fn asking() -> Boxed {
    let boxed = Boxed::new(ASKING);
    let manifest = boxed.work.read("benchmark.toml");
    let ceiling = "traces = \"none\"\ncredentials = [\"aws\", \"google\"]";
    boxed.work.write("benchmark.toml", &manifest.replace("traces = \"none\"", ceiling));
    boxed
}

/// Makes the two volumes, with files that only `user` may read.
fn fill_volumes(dockerd: &Dockerd, boxed: &Boxed, user: u32) {
    let image = boxed.work.path().join("image");
    dockerd.docker(&["build", "-q", "-t", "box", &image.to_string_lossy()]);
    for (volume, file) in [("aws-secrets", "credentials"), ("google-secrets", "token")] {
        dockerd.docker(&["volume", "create", volume]);
        let script = format!("echo hush-hush > /s/{file}; chmod 600 /s/{file}; chown -R {user} /s");
        let mount = format!("{volume}:/s");
        dockerd.docker(&["run", "--rm", "--net=none", "-v", &mount, "box", "sh", "-c", &script]);
    }
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn docker_credentials_are_in_the_containers_of_steps_that_ask_for_them_and_nowhere_else() {
    let boxed = asking();
    let dockerd = Dockerd::start();
    let missing = dockerd.sb(&boxed, &["test", "--executor", "docker"]).expect(1);
    for words in ["no volume `aws-secrets`", "sb login aws"] {
        assert!(missing.stderr.contains(words), "no `{words}` in:\n{}", missing.stderr);
    }
    assert_eq!(boxed.work.read("trail"), "", "nothing was deployed");
    assert_eq!(dockerd.docker(&["volume", "ls", "-q"]), "", "nor was a volume made");
    dockerd.sb(&boxed, &["leaks"]).expect(0);
    dockerd.sb(&boxed, &["resume"]).expect(0);

    fill_volumes(&dockerd, &boxed, 0);
    dockerd.sb(&boxed, &["test", "--executor", "docker"]).expect(0);
    let expected = "read\nread-only\n.aws\n.config\ntoken\n0\n0\n/sb-home\n1\n";
    assert_eq!(boxed.work.read("trail"), expected);
    assert_eq!(boxed.work.files_with("hush-hush"), Vec::<PathBuf>::new());
    assert_eq!(dockerd.docker(&["ps", "-aq"]), "");
}

/// A user of this machine for the time of a test.
pub(crate) struct User {
    name: String,
}

impl User {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sb-test-{}-{number}", std::process::id());
        let made =
            Command::new("useradd").args(["--create-home", "--groups", "docker", &name]).output().unwrap();
        assert!(made.status.success(), "useradd (needs root): {}", String::from_utf8_lossy(&made.stderr));
        Self { name }
    }

    pub(crate) fn home(&self) -> PathBuf {
        PathBuf::from("/home").join(&self.name)
    }

    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &self.name, "--regid", &self.name, "--init-groups", "--"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["--remove", &self.name]).output();
    }
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn docker_an_ordinary_user_owns_what_containers_write_and_reads_credentials() {
    let boxed = asking();
    let dockerd = Dockerd::start();
    let user = User::new();
    let home = user.home();
    let owner = home.metadata().unwrap().uid();
    assert_ne!(owner, 0);
    fill_volumes(&dockerd, &boxed, owner);
    let copied = Command::new("cp").arg("-r").arg(boxed.work.path()).arg(home.join("work")).status().unwrap();
    assert!(copied.success());
    std::fs::copy(env!("CARGO_BIN_EXE_sb"), home.join("sb")).unwrap();
    let owned =
        Command::new("chown").arg("-R").arg(format!("{0}:{0}", user.name)).arg(&home).status().unwrap();
    assert!(owned.success());

    let ran = user
        .command(&home.join("sb"), &["test", "--executor", "docker"])
        .current_dir(home.join("work"))
        .env("DOCKER_HOST", dockerd.host())
        .output()
        .unwrap();
    Ran::of(ran).expect(0);
    let trail = std::fs::read_to_string(home.join("work/trail")).unwrap();
    assert_eq!(trail, format!("read\nread-only\n.aws\n.config\ntoken\n{owner}\n0\n/sb-home\n1\n"));
    let mut folders = vec![home.join("work")];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = item.metadata().unwrap();
            assert_eq!(metadata.uid(), owner, "{}", item.path().display());
            if metadata.is_dir() {
                folders.push(item.path());
            }
        }
    }
    assert!(home.join("work/made").exists());
}

/// A folder with an `ssh` that does what the test says.
fn fake_ssh(boxed: &Boxed, script: &str) -> String {
    let ssh = boxed.work.write("bin/ssh", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", ssh.parent().unwrap().display(), std::env::var("PATH").unwrap())
}

#[test]
#[ignore = "needs: docker"]
fn docker_an_engine_is_reached_over_ssh() {
    let boxed = Boxed::new(SHORT);
    let path = fake_ssh(
        &boxed,
        "echo \"$@\" >> \"$(dirname \"$0\")/called\"; unset DOCKER_HOST; exec docker system dial-stdio",
    );
    let sb = |arguments: &[&str], path: &str| {
        let mut command = boxed.work.command(arguments);
        Ran::of(command.env("DOCKER_HOST", "ssh://me@far:2222").env("PATH", path).output().unwrap())
    };
    sb(&["test", "--executor", "docker"], &path).expect(0);
    assert_eq!(boxed.work.read("trail"), "one\ncleanup\n");
    let called = boxed.work.read("bin/called");
    let words = "-o BatchMode=yes -o ConnectTimeout=30 -T -l me -p 2222 -- far docker system dial-stdio";
    assert!(called.lines().all(|line| line == words), "{called}");
    assert!(called.lines().count() < 10, "connections are used again: {called}");
    boxed.leaves_nothing();

    let path = fake_ssh(&boxed, "echo 'me@far: Permission denied (publickey).' >&2; exit 255");
    let refused = sb(&["test", "--executor", "docker"], &path).expect(1);
    for words in ["ssh://me@far:2222", "Permission denied (publickey)"] {
        assert!(
            refused.stderr.replace("\n  │ ", " ").contains(words),
            "no `{words}` in:\n{}",
            refused.stderr
        );
    }
}

#[test]
#[ignore = "needs: docker"]
fn docker_contexts_that_the_docker_command_made_are_used() {
    let boxed = Boxed::new(SHORT);
    let config = boxed.work.path().join("config");
    let docker = |arguments: &[&str]| {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_CONFIG", &config).env_remove("DOCKER_HOST");
        assert!(command.env_remove("DOCKER_CONTEXT").output().unwrap().status.success(), "{arguments:?}");
    };
    docker(&["context", "create", "near", "--docker", "host=unix:///var/run/docker.sock"]);
    docker(&["context", "create", "nowhere", "--docker", "host=unix:///nowhere.sock"]);
    docker(&["context", "use", "nowhere"]);
    let sb = |variables: &[(&str, &str)]| {
        let mut command = boxed.work.command(&["test", "--executor", "docker"]);
        command.env("DOCKER_CONFIG", &config).env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        Ran::of(command.envs(variables.iter().copied()).output().unwrap())
    };
    let current = sb(&[]).expect(1);
    assert!(current.stderr.contains("context `nowhere`"), "{}", current.stderr);
    let missing = sb(&[("DOCKER_CONTEXT", "gone")]).expect(1);
    assert!(missing.stderr.contains("no Docker context `gone`"), "{}", missing.stderr);
    sb(&[("DOCKER_CONTEXT", "near")]).expect(0);
    sb(&[("DOCKER_CONTEXT", "nowhere"), ("DOCKER_HOST", "unix:///var/run/docker.sock")]).expect(0);
    sb(&[("DOCKER_CONTEXT", "near"), ("DOCKER_API_VERSION", "1.40")]).expect(0);
    assert_eq!(boxed.work.read("trail"), "one\ncleanup\n".repeat(3));
    boxed.leaves_nothing();
}

#[test]
#[ignore = "needs: docker"]
fn docker_containers_that_nobody_drives_are_listed_and_removed() {
    let boxed = Boxed::new(
        "\n[[deploy]]\nname = \"long\"\nimage = \"box\"\nnetwork = \"none\"\n\
         run = \"echo begin >> trail; while [ $(grep -c begin trail) = 1 ]; do sleep 0.1; done\"\n",
    );
    let mut runner = boxed.start();
    boxed.appears("trail", "begin");
    let driven = boxed.work.sb(&["leaks", "--remove", "--force"]).expect(0);
    assert!(driven.stdout.is_empty(), "what a live runner drives is not leaked: {}", driven.stdout);
    let _ = kill_process(Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap(), Signal::KILL);
    runner.wait().unwrap();

    let listed = boxed.work.sb(&["leaks", "--remove"]).expect(4);
    assert!(listed.stdout.contains("which can be resumed: sb resume"), "{}", listed.stdout);
    assert_eq!(boxed.containers().len(), 1, "it is for `sb resume` to take up");
    let json = boxed.work.sb(&["leaks", "--format", "json"]).expect(4).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let one = &json["containers"][0];
    assert_eq!(
        (&one["run_is"], &one["step"]),
        (&"resumable".into(), &"boxed.1/deploy/long".into()),
        "{json}"
    );
    let run = one["run"].as_str().unwrap().to_owned();

    let elsewhere = Boxed::new(SHORT);
    elsewhere.work.sb(&["test", "--executor", "docker"]).expect(0);
    elsewhere.work.sb(&["leaks", "--remove", "--force"]).expect(0);
    assert_eq!(boxed.containers().len(), 1, "another workspace's");

    // The deployment is still owed; its container is not there any more.
    let removed = boxed.work.sb(&["leaks", "--remove", "--force"]).expect(4);
    assert!(removed.stderr.contains("removed container"), "{}", removed.stderr);
    assert_eq!(boxed.containers(), Vec::<String>::new());
    boxed.work.sb(&["resume"]).expect(0);
    assert_eq!(boxed.work.read("trail"), "begin\nbegin\n", "gone means: again");
    boxed.leaves_nothing();

    // A container of a run that has ended, and one of a run that the state does not know.
    let label = format!("sb.run={run}");
    let image =
        String::from_utf8(Command::new("docker").args(["images", "-q", "sb-build"]).output().unwrap().stdout);
    let image = image.unwrap().lines().next().unwrap().to_owned();
    let created =
        Command::new("docker").args(["create", "--label", &label, &image, "true"]).output().unwrap();
    assert!(created.status.success());
    let ended = boxed.work.sb(&["leaks"]).expect(4);
    assert!(ended.stdout.contains("has ended; remove it with: sb leaks --remove"), "{}", ended.stdout);
    boxed.work.sb(&["leaks", "--remove"]).expect(0);
    assert_eq!(boxed.containers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn docker_a_run_stays_with_its_engine() {
    let boxed = Boxed::new(
        "\n[[deploy]]\nname = \"long\"\nimage = \"box\"\nnetwork = \"none\"\nrun = \"echo begin >> trail; sleep 3; echo end >> trail\"\n",
    );
    let mut runner = boxed.start();
    boxed.appears("trail", "begin");
    let _ = kill_process(Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap(), Signal::KILL);
    runner.wait().unwrap();
    let dockerd = Dockerd::start();
    let other = dockerd.sb(&boxed, &["resume"]).expect(1);
    assert!(other.stderr.contains("unix:///var/run/docker.sock"), "{}", other.stderr);
    let blind = dockerd.sb(&boxed, &["leaks"]).expect(4);
    assert!(blind.stderr.contains("on another container engine"), "{}", blind.stderr);
    boxed.work.sb(&["resume"]).expect(0);
    assert_eq!(boxed.work.read("trail"), "begin\nend\n");
    boxed.leaves_nothing();
}

#[test]
#[ignore = "needs: docker"]
fn docker_output_without_end_needs_little_memory() {
    const MEGABYTES: u64 = 2000;
    let boxed = Boxed::new(&format!(
        "\n[[deploy]]\nname = \"loud\"\nimage = \"box\"\nnetwork = \"none\"\nrun = 'yes \"$(printf %4000d 7)\" | head -c {MEGABYTES}000000'\n"
    ));
    let mut runner = boxed.start();
    let status = format!("/proc/{}/status", runner.id());
    let mut most_kib = 0;
    while runner.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most_kib = most_kib.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(runner.wait().unwrap().success(), "{}", boxed.work.read("runner.log"));
    assert!((1..100 * 1024).contains(&most_kib), "{most_kib} KiB");
    let steps =
        Command::new("find").arg(boxed.work.path().join(".sb/runs")).args(["-name", "output.log"]).output();
    let logs = String::from_utf8(steps.unwrap().stdout).unwrap();
    assert_eq!(logs.lines().count(), 1, "{logs}");
    assert_eq!(Path::new(logs.trim()).metadata().unwrap().len(), MEGABYTES * 1_000_000);
    boxed.leaves_nothing();
}
