//! The whole program with its steps in containers, against a real engine.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::workspace::Workspace;

/// What the manifests of these tests begin with.
const HEADER: &str = r#"
[benchmark]
name = "boxed"

[images]
box = { dockerfile = "image/Dockerfile", context = "image" }

[targets.local]
traces = "none"
"#;

const DOCKERFILE: &str = r#"FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV PATH=/bin
"#;

/// A workspace with an image around busybox; containers that a failed test leaves are removed at the end.
pub(crate) struct Boxed {
    pub work: Workspace,
}

impl Boxed {
    pub(crate) fn new(steps: &str) -> Self {
        let work = Workspace::new();
        work.write("benchmark.toml", &format!("{HEADER}{steps}"));
        work.write("image/Dockerfile", DOCKERFILE);
        std::fs::copy("/bin/busybox", work.path().join("image/busybox"))
            .expect("/bin/busybox, from Debian's package busybox-static");
        Self { work }
    }

    /// The containers of this workspace's runs, ended ones included.
    pub(crate) fn containers(&self) -> Vec<String> {
        let runs = std::fs::read_dir(self.work.path().join(".sb/runs")).into_iter().flatten().flatten();
        runs.flat_map(|run| {
            let label = format!("label=sb.run={}", run.file_name().to_string_lossy());
            let listed = Command::new("docker").args(["ps", "-aq", "--filter", &label]).output().unwrap();
            assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
            String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
    }

    pub(crate) fn start(&self) -> Child {
        self.work.start(&["test", "--executor", "docker"])
    }

    #[track_caller]
    pub(crate) fn appears(&self, name: &str, text: &str) {
        assert!(self.work.appears(name, text), "no `{text}` in {name}:\n{}", self.work.read("runner.log"));
    }

    #[track_caller]
    pub(crate) fn leaves_nothing(&self) {
        assert_eq!(self.containers(), Vec::<String>::new());
        assert_eq!(self.work.processes(), Vec::<String>::new());
        self.work.sb(&["leaks"]).expect(0);
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        let found = self.containers();
        if !found.is_empty() {
            let _ = Command::new("docker").args(["rm", "-fv"]).args(found).output();
        }
    }
}

fn signal(runner: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap(), signal).unwrap();
}

#[test]
#[ignore = "needs: docker"]
fn steps_in_containers_see_their_folder_their_environment_and_nothing_of_the_state() {
    let boxed = Boxed::new(
        r#"
[params]
greeting = "it's $HOME; `id`"
token = { env = "BOXED_TOKEN", secret = true }

[[deploy]]
name = "make"
image = "box"
workdir = "sub folder"
env = { TOKEN = "{{params.token}}" }
run = "test ${#TOKEN} = 9 && pwd; echo {{params.greeting}} > made; mkdir -p deep && echo deep > deep/er; echo '{\"url\": \"http://a\"}' > ../made.json; echo id: 7f; echo last"
outputs.id = { regex = 'id: (\w+)' }
outputs.last = { line = -1 }
outputs.folder = { line = 1 }
outputs.url = { file = "made.json", json = "/url" }

[[deploy]]
name = "look"
image = "box"
network = "none"
limits = { cpus = 0.5, memory = "64MiB" }
run = "ls -A .sb; ls -A .sb/secrets; touch .sb/x; ls /sys/class/net; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; exit 0"
outputs.seen = { stdout = true }

[[invoke]]
name = "call"
image = "box"
env = { LOGS = "{{logs_dir}}" }
run = ["sh", "-c", "echo \"$@\" > \"$LOGS/called\"", "sh", "{{outputs.id}}", "{{outputs.last}}", "{{outputs.url}}"]

[[cleanup]]
name = "remove"
image = "box"
run = "rm -r made.json 'sub folder/deep'; echo cleaned {{params.greeting}} > cleaned"
"#,
    );
    std::fs::create_dir(boxed.work.path().join("sub folder")).unwrap();
    let sb = |arguments: &[&str]| {
        let mut command = boxed.work.command(arguments);
        let output = command.env("BOXED_TOKEN", "hush-hush").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}");
        String::from_utf8(output.stdout).unwrap()
    };
    sb(&["prepare", "--executor", "docker"]);
    let get = |name: &str| sb(&["config", "get", name]).trim().to_owned();
    assert_eq!(Path::new(&get("folder")), boxed.work.path().join("sub folder"), "the same path as outside");
    assert_eq!((get("id"), get("last"), get("url")), ("7f".into(), "last".into(), "http://a".into()));
    assert_eq!(get("seen"), format!("lo\n{}", 64 << 20), "no state, no network but its own, and its limit");
    assert!(!boxed.work.path().join(".sb/empty/x").exists(), "the empty folder cannot be written");
    assert_eq!(boxed.work.read("sub folder/made"), "it's $HOME; `id`\n");
    for made in ["sub folder/made", "sub folder/deep", "sub folder/deep/er", "made.json"] {
        let metadata = std::fs::metadata(boxed.work.path().join(made)).unwrap();
        assert_eq!(metadata.uid(), rustix::process::getuid().as_raw(), "{made} belongs to the caller");
    }

    sb(&["invoke", "--executor", "docker"]);
    let logs = std::fs::read_dir(boxed.work.path().join("logs")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(logs.join("called")).unwrap(), "7f last http://a\n");
    sb(&["cleanup", "--executor", "docker"]);
    assert_eq!(boxed.work.read("cleaned"), "cleaned it's $HOME; `id`\n");

    for path in boxed.work.files_with("hush-hush") {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        assert!(path.starts_with(boxed.work.path().join(".sb/secrets")), "{}", path.display());
    }
    boxed.leaves_nothing();
}

#[test]
#[ignore = "needs: docker"]
fn a_failing_step_is_recovered_and_retried_and_a_slow_one_stopped() {
    let boxed = Boxed::new(
        r#"
[[deploy]]
name = "flaky"
image = "box"
run = "echo try >> trail; test -e repaired"
retry = { attempts = 3, delay = "10ms" }
recover = [ { run = "echo repair >> trail; touch repaired" } ]

[[deploy]]
name = "slow"
image = "box"
timeout = "1s"
run = "echo slow >> trail; sleep 3600; echo too late >> trail"

[[deploy]]
name = "after"
image = "box"
run = "echo after >> trail"

[[cleanup]]
name = "remove"
image = "box"
run = "echo cleanup >> trail"
"#,
    );
    let ran = boxed.work.sb(&["test", "--executor", "docker"]).expect(1);
    assert!(ran.stderr.contains("did not end within its timeout of 1s"), "{}", ran.stderr);
    assert_eq!(boxed.work.read("trail"), "try\nrepair\ntry\nslow\ncleanup\n");
    boxed.leaves_nothing();
}

/// One long step that notes its begin and end, and prints all the time.
const LONG: &str = r#"
[[deploy]]
name = "long"
image = "box"
run = "echo begin >> trail; i=0; while [ $i -lt 12 ]; do echo line $i; i=$((i+1)); sleep 0.1; done; echo made-by-long; echo end >> trail"
outputs.made = { line = -1 }

[[deploy]]
name = "after"
image = "box"
run = "echo after {{outputs.made}} >> trail"

[[cleanup]]
name = "remove"
image = "box"
run = "echo cleanup >> trail"
"#;

#[track_caller]
fn check_killed(runner_dies_at: &str, resumed_at: &str) {
    let boxed = Boxed::new(LONG);
    let mut runner = boxed.start();
    boxed.appears("trail", runner_dies_at);
    signal(&runner, Signal::KILL);
    runner.wait().unwrap();
    boxed.appears("trail", resumed_at);
    boxed.work.sb(&["resume"]).expect(0);
    assert_eq!(boxed.work.read("trail"), "begin\nend\nafter made-by-long\ncleanup\n", "nothing twice");
    let expected: String = (0..12).map(|i| format!("line {i}\n")).chain(["made-by-long\n".into()]).collect();
    assert_eq!(boxed.work.sb(&["logs", "deploy/long"]).expect(0).stdout, expected, "nothing lost");
    boxed.leaves_nothing();
}

#[test]
#[ignore = "needs: docker"]
fn a_container_that_runs_on_after_its_runner_was_killed_is_taken_up_again() {
    check_killed("begin", "begin");
}

#[test]
#[ignore = "needs: docker"]
fn a_container_that_ended_while_no_runner_lived_is_not_run_again() {
    check_killed("begin", "end");
}

#[test]
#[ignore = "needs: docker"]
fn a_container_that_was_removed_while_no_runner_lived_runs_again_as_a_new_attempt() {
    let boxed = Boxed::new(LONG);
    let mut runner = boxed.start();
    boxed.appears("trail", "begin");
    signal(&runner, Signal::KILL);
    runner.wait().unwrap();
    let containers = boxed.containers();
    assert_eq!(containers.len(), 1);
    assert!(Command::new("docker").args(["rm", "-f"]).args(containers).output().unwrap().status.success());
    boxed.work.sb(&["resume"]).expect(0);
    assert_eq!(boxed.work.read("trail"), "begin\nbegin\nend\nafter made-by-long\ncleanup\n");
    boxed.leaves_nothing();
}

#[test]
#[ignore = "needs: docker"]
fn a_container_that_somebody_stops_by_hand_is_interrupted_and_runs_again_as_a_new_attempt() {
    let boxed = Boxed::new(&LONG.replace("echo begin >> trail", "trap 'exit 0' TERM; echo begin >> trail"));
    let mut runner = boxed.start();
    boxed.appears("trail", "begin");
    let containers = boxed.containers();
    assert_eq!(containers.len(), 1);
    assert!(Command::new("docker").arg("stop").args(containers).output().unwrap().status.success());
    assert!(runner.wait().unwrap().success(), "{}", boxed.work.read("runner.log"));
    assert!(boxed.work.read("runner.log").contains("interrupted"), "{}", boxed.work.read("runner.log"));
    assert_eq!(boxed.work.read("trail"), "begin\nbegin\nend\nafter made-by-long\ncleanup\n");
    boxed.leaves_nothing();
}

/// A step that ends only when it is told to.
const ENDLESS: &str = r#"
[[deploy]]
name = "endless"
image = "box"
run = "trap 'echo stopped >> trail; exit 0' TERM; echo begin >> trail; while :; do sleep 0.05; done"

[[deploy]]
name = "after"
image = "box"
run = "echo after >> trail"

[[cleanup]]
name = "remove"
image = "box"
run = "echo cleanup >> trail; sleep 1"
"#;

#[test]
#[ignore = "needs: docker"]
fn a_signal_stops_the_container_and_cleans_up() {
    let boxed = Boxed::new(ENDLESS);
    let mut runner = boxed.start();
    boxed.appears("trail", "begin");
    signal(&runner, Signal::TERM);
    assert_eq!(runner.wait().unwrap().code(), Some(130), "{}", boxed.work.read("runner.log"));
    assert_eq!(boxed.work.read("trail"), "begin\nstopped\ncleanup\n");
    boxed.leaves_nothing();
}

#[test]
#[ignore = "needs: docker"]
fn what_a_second_signal_leaves_behind_is_paid_by_resume() {
    let boxed = Boxed::new(ENDLESS);
    let mut runner = boxed.start();
    boxed.appears("trail", "begin");
    signal(&runner, Signal::TERM);
    boxed.appears("trail", "cleanup");
    signal(&runner, Signal::TERM);
    assert_eq!(runner.wait().unwrap().code(), Some(130), "{}", boxed.work.read("runner.log"));
    boxed.work.sb(&["leaks"]).expect(4);
    boxed.work.sb(&["resume"]).expect(130);
    assert_eq!(boxed.work.read("trail"), "begin\nstopped\ncleanup\n", "the cleanup ran once");
    boxed.leaves_nothing();
}

#[track_caller]
fn check_failure(step: &str, words: &[&str]) {
    let boxed = Boxed::new(&format!("\n[[deploy]]\nname = \"wrong\"\n{step}\n"));
    let ran = boxed.work.sb(&["test", "--executor", "docker"]).expect(1);
    for word in words {
        assert!(ran.stderr.contains(word), "no `{word}` in:\n{}", ran.stderr);
    }
    boxed.leaves_nothing();
}

#[test]
#[ignore = "needs: docker"]
fn what_cannot_start_is_named() {
    check_failure("image = \"box\"\nrun = [\"no-such-program\"]", &["no-such-program", "in the image"]);
    check_failure(
        "image = \"localhost:1/no/such:1\"\nrun = \"true\"",
        &["localhost:1/no/such:1", "registry"],
    );
    check_failure("image = \"box\"\nworkdir = \"gone\"\nrun = \"true\"", &["/gone`", "does not exist"]);
    check_failure("image = \"box\"\nnetwork = \"no-such-net\"\nrun = \"true\"", &["no-such-net"]);
    check_failure("image = \"box\"\nuser = \"nobody-here\"\nrun = \"true\"", &["nobody-here"]);
}

#[test]
#[ignore = "needs: docker"]
fn a_container_reaches_the_application_on_the_embedded_runtime() {
    let boxed = Boxed::new(
        r#"
[[deploy]]
name = "stack"
local = { template = "examples/hello-http/template.yaml" }

[[invoke]]
name = "call"
image = "box"
run = "wget -qO- {{outputs.endpoint}}/hello > answer"

[[cleanup]]
name = "stack"
local = { down = true }
"#,
    );
    boxed.work.copy("examples/hello-http");
    boxed.work.sb(&["test", "--executor", "docker"]).expect(0);
    assert!(!boxed.work.read("answer").is_empty());
    boxed.leaves_nothing();
}

#[test]
fn an_application_without_commands_needs_no_engine() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let mut command = work.command(&["test", "3", "--executor", "docker"]);
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let output = command.current_dir(work.path().join("examples/hello-http")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(work.processes(), Vec::<String>::new());
}
