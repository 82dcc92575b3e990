//! Logging in, checking, using and logging out, with stand-ins for the command lines of the providers, on an engine of the
//! test's own: no secret may be found anywhere but in the volume.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::engines::{Dockerd, User};
use crate::pseudo_terminal::{Seen, answer, play};
use crate::workspace::{Ran, Workspace};

pub(crate) const IMAGE: &str = "sb-stand-in:1";
const TOOLS: [(&str, &str); 5] =
    [("aws", "aws"), ("azure", "az"), ("google", "gcloud"), ("ibm", "ibmcloud"), ("pulumi", "pulumi")];

/// Writes what an image with the stand-ins is built of, and a table that names it for every provider (`images.toml`).
pub(crate) fn stand_ins(work: &Workspace) -> std::path::PathBuf {
    let image = work.path().join("image");
    std::fs::create_dir(&image).unwrap();
    std::fs::copy("/bin/busybox", image.join("busybox")).expect("/bin/busybox, of busybox-static");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/stand_in.sh");
    let mut recipe = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nENV PATH=/bin\n".to_owned();
    let mut table = format!("[step]\nimage = \"{IMAGE}\"\n");
    for (provider, tool) in TOOLS {
        std::fs::copy(script, image.join(tool)).unwrap();
        recipe += &format!("COPY {tool} /bin/{tool}\n");
        table += &format!("[{provider}]\nimage = \"{IMAGE}\"\n");
    }
    // As the real images have one.
    recipe += "ENTRYPOINT [\"aws\"]\n";
    work.write("image/Dockerfile", &recipe);
    work.write("images.toml", &table);
    image
}

struct Lab {
    engine: Dockerd,
    work: Workspace,
}

impl Lab {
    fn new() -> Self {
        let (engine, work) = (Dockerd::start(), Workspace::new());
        let folder = stand_ins(&work).display().to_string();
        engine.docker(&["build", "--quiet", "--network", "none", "--tag", IMAGE, &folder]);
        Self { engine, work }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.work.command(arguments);
        command.env("DOCKER_HOST", self.engine.host()).env("SB_IMAGES", self.work.path().join("images.toml"));
        command
    }

    fn sb(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    fn piped(&self, arguments: &[&str], text: &str) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Ran::of(child.wait_with_output().unwrap())
    }

    fn play(&self, arguments: &[&str], script: &[Value]) -> Seen {
        play(&self.command(arguments), script)
    }

    fn volumes(&self) -> String {
        self.engine.docker(&["volume", "ls", "--quiet"])
    }

    /// Everything that may be looked at later: files of the workspace, what the engine keeps outside of volumes, its images.
    #[track_caller]
    fn holds_nowhere(&self, secret: &str) {
        assert_eq!(self.work.files_with(secret), Vec::<std::path::PathBuf>::new());
        let history = self.engine.docker(&["history", "--no-trunc", IMAGE]);
        assert!(!history.contains(secret), "{history}");
        let saved = self.work.path().join("saved.tar");
        let images = self.engine.docker(&["images", "--all", "--quiet", "--no-trunc"]);
        let images: Vec<&str> = images.lines().collect();
        self.engine
            .docker(&[&["save", "--output", &saved.display().to_string()], images.as_slice()].concat());
        assert!(std::fs::metadata(&saved).unwrap().len() > 500_000, "the layers are there");
        assert_eq!(self.work.files_with(secret), Vec::<std::path::PathBuf>::new(), "image layers");
        std::fs::remove_file(saved).unwrap();
        let found = grep(&self.engine.data().join("containers"), secret);
        assert_eq!(found, "", "what the engine keeps of containers");
        assert_eq!(self.engine.docker(&["ps", "--all", "--quiet"]), "", "no container is left");
    }
}

fn grep(folder: &Path, text: &str) -> String {
    // The text is no argument: it is looked for there, too.
    let mut grep = Command::new("grep");
    grep.args(["-r", "-l", "-F", "-f", "-"]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut grep = grep.spawn().unwrap();
    grep.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8_lossy(&grep.wait_with_output().unwrap().stdout).into_owned()
}

/// Looks at the arguments of every process of the machine, again and again.
struct Sampled {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(u64, Vec<String>)>,
}

impl Sampled {
    fn start(secret: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut seen, mut found) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                for item in std::fs::read_dir("/proc").unwrap().flatten() {
                    let Ok(arguments) = std::fs::read(item.path().join("cmdline")) else { continue };
                    let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
                    seen += u64::from(!arguments.is_empty());
                    if arguments.contains(secret) {
                        found.push(arguments);
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            (seen, found)
        });
        Self { stop, thread }
    }

    #[track_caller]
    fn found_nothing(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (seen, found) = self.thread.join().unwrap();
        assert!(seen > 100, "processes were looked at");
        assert_eq!(found, Vec::<String>::new());
    }
}

fn manifest() -> String {
    let mut text = "[benchmark]\nname = \"kept\"\n\n[images]\ntool = \"sb-stand-in:1\"\n\n".to_owned();
    text += "[targets.cloud]\ncredentials = [\"aws\", \"azure\", \"google\", \"ibm\", \"pulumi\"]\n";
    let uses = [
        ("aws", ".aws", "", "aws sts get-caller-identity --output json"),
        ("azure", ".azure", "AZURE_CONFIG_DIR", "az account show --output json"),
        ("google", ".config/gcloud", "CLOUDSDK_CONFIG", "gcloud auth list"),
        ("ibm", ".bluemix", "", "ls ~/.bluemix"),
        ("pulumi", ".pulumi", "PULUMI_HOME", "pulumi whoami"),
    ];
    for (name, folder, variable, identity) in uses {
        let copy = if variable.is_empty() {
            String::new()
        } else {
            format!("cp -R ~/{folder} /tmp/copy && export {variable}=/tmp/copy && ")
        };
        text += &format!(
            "\n[[deploy]]\nname = \"{name}\"\nimage = \"tool\"\nnetwork = \"none\"\ncredentials = [\"{name}\"]\n\
             run = \"mkdir -p /tmp; {copy}{identity} > {name}.who && ls -ln ~/{folder} > {name}.list; \
             if touch ~/{folder}/x 2> {name}.denied; then echo writable > {name}.denied; fi; ls -a ~ > {name}.home\"\n"
        );
    }
    text
}

const SECRET: &str = "hush0hush1hush2hush3";

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn credentials_typed_into_a_terminal_serve_steps_and_are_found_nowhere() {
    let lab = Lab::new();
    lab.work.write("benchmark.toml", &manifest());
    let sampled = Sampled::start(SECRET);
    for (provider, _) in TOOLS {
        let missing = lab.sb(&["check-credentials", provider]).expect(1);
        assert!(missing.stderr.contains(&format!("sb login {provider}")), "{}", missing.stderr);
        let secret = format!("{SECRET}\r");
        let mut script = vec![answer("Secret: ", &secret)];
        if provider == "aws" {
            script.insert(0, json!({ "expect": "Key ID [None]: ", "size": [33, 111], "send": "AKIAME\r" }));
            // The size of the window as the tool in the container sees it.
            script.push(answer("33 111", ""));
        }
        let seen = lab.play(&["login", provider], &script);
        assert_eq!((seen.code, seen.restored), (0, true), "{}", seen.text);
        assert!(!seen.text.contains(SECRET), "the tool asked for no echo: {}", seen.text);
        let who = lab.sb(&["check_credentials", provider, "--format", "json"]).expect(0);
        let who: Value = serde_json::from_str(&who.stdout).unwrap();
        assert_eq!((&who["logged_in"], &who["executor"]), (&json!(true), &json!("docker")), "{who:#}");
    }
    lab.sb(&["prepare"]).expect(0);
    for (provider, _) in TOOLS {
        assert!(lab.work.read(&format!("{provider}.denied")).contains("Read-only file system"), "{provider}");
        assert!(!lab.work.read(&format!("{provider}.who")).is_empty(), "{provider}");
        let list = lab.work.read(&format!("{provider}.list"));
        let files: Vec<&str> = list.lines().filter(|line| line.starts_with('-')).collect();
        assert!(!files.is_empty() && files.iter().all(|line| line.starts_with("-rw-------")), "{list}");
    }
    let home = lab.work.read("ibm.home");
    assert!(home.contains(".bluemix") && !home.contains(".aws"), "only what the step asked for: {home}");
    let refused = lab.sb(&["logout", "aws"]).expect(2);
    assert!(refused.stderr.contains("may still need"), "{}", refused.stderr);
    lab.sb(&["cleanup"]).expect(0);
    sampled.found_nothing();
    lab.holds_nowhere(SECRET);
    for (provider, _) in TOOLS {
        lab.sb(&["logout", provider]).expect(0);
    }
    assert_eq!(lab.volumes(), "");
    lab.sb(&["logout", "aws"]).expect(0);
    let missing = lab.sb(&["prepare"]).expect(1);
    assert!(missing.stderr.contains("sb login aws"), "{}", missing.stderr);
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn credentials_from_a_file_are_checked_taken_up_and_found_nowhere() {
    let lab = Lab::new();
    let files = [
        ("aws", format!("[default]\naws_access_key_id = AKIA\naws_secret_access_key = {SECRET}\n")),
        ("azure", format!(r#"{{"appId":"0a","password":"{SECRET}","tenant":"1b"}}"#)),
        (
            "google",
            format!(
                r#"{{"type":"service_account","project_id":"p","client_email":"a@b","private_key":"-----BEGIN {SECRET}"}}"#
            ),
        ),
        ("ibm", format!(r#"{{"apikey":"{SECRET}"}}"#)),
        ("pulumi", format!("pul-{SECRET}")),
    ];
    let sampled = Sampled::start(SECRET);
    for (provider, file) in &files {
        let wrong = lab.piped(&["login", provider, "--prompt"], &format!("{SECRET} {file}")).expect(2);
        assert!(!wrong.stderr.contains(SECRET) && wrong.stderr.contains("nothing was"), "{}", wrong.stderr);
        assert!(!lab.volumes().contains(provider), "{provider}");
        let kept = lab.piped(&["login", provider], file).expect(0);
        assert!(!kept.stderr.contains(SECRET) && kept.stdout.is_empty(), "{}", kept.stderr);
        lab.sb(&["check-credentials", provider]).expect(0);
        lab.sb(&["logout", provider]).expect(0);
        assert!(!lab.volumes().contains(provider), "{provider}");

        // As it is pasted: with carriage returns, and nothing shown.
        let pasted = format!("{}\u{4}", file.replace('\n', "\r"));
        let seen = lab.play(&["login", provider, "--prompt"], &[answer("nothing is shown", &pasted)]);
        assert_eq!((seen.code, seen.restored), (0, true), "{}", seen.text);
        assert!(!seen.text.contains(SECRET), "{}", seen.text);
        lab.sb(&["check-credentials", provider]).expect(0);
    }
    let data = lab.engine.data().join("volumes");
    let left = grep(&data, SECRET);
    assert!(left.contains("apikey.json") && !left.contains("service-principal-password"), "{left}");
    sampled.found_nothing();
    lab.holds_nowhere(SECRET);
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn a_login_that_is_broken_off_gives_the_terminal_back_and_keeps_nothing() {
    let lab = Lab::new();
    let ask = "Key ID [None]: ";
    for number in [1, 2, 3, 15] {
        let seen = lab.play(&["login", "aws"], &[json!({ "expect": ask, "signal": number })]);
        assert_eq!((seen.code, seen.restored), (130, true), "signal {number}: {}", seen.text);
    }
    // Ctrl-C is for the tool, which dies of it.
    let seen = lab.play(&["login", "aws"], &[answer(ask, "\u{3}")]);
    assert_eq!((seen.code, seen.restored), (130, true), "{}", seen.text);
    let given_up = [answer("nothing is shown", "[a]\r\u{3}")];
    let seen = lab.play(&["login", "aws", "--prompt"], &given_up);
    assert_eq!((seen.code, seen.restored), (130, true), "{}", seen.text);
    let terminated = [json!({ "expect": "nothing is shown", "signal": 15 })];
    let seen = lab.play(&["login", "aws", "--prompt"], &terminated);
    assert_eq!((seen.code, seen.restored), (130, true), "{}", seen.text);
    // What a tool answers with is the end of it all: here, it knows no such folder.
    lab.work.write("images.toml", "[aws]\nimage = \"sb-stand-in:2\"\n");
    lab.work.write("image/Dockerfile", &format!("FROM {IMAGE}\nCOPY broken /bin/aws\n"));
    let broken = lab.work.write("image/broken", "#!/bin/sh\nexit 9\n");
    std::fs::set_permissions(broken, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = lab.work.path().join("image").display().to_string();
    lab.engine.docker(&["build", "--quiet", "--network", "none", "--tag", "sb-stand-in:2", &folder]);
    let seen = lab.play(&["login", "aws"], &[answer("did not succeed", "")]);
    assert_eq!((seen.code, seen.restored), (9, true), "{}", seen.text);
    assert_eq!(lab.volumes(), "");
    assert_eq!(lab.engine.docker(&["ps", "--all", "--quiet"]), "");
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn an_ordinary_user_logs_in_and_has_a_folder_that_is_theirs() {
    let (lab, user) = (Lab::new(), User::new());
    let program = user.home().join("sb");
    std::fs::copy(env!("CARGO_BIN_EXE_sb"), &program).unwrap();
    let images = user.home().join("images.toml");
    std::fs::copy(lab.work.path().join("images.toml"), &images).unwrap();
    let readable = Command::new("chmod").arg("a+r").arg(&images).status().unwrap();
    assert!(readable.success());
    let command = |arguments: &[&str]| {
        let mut command = user.command(&program, arguments);
        command.env("DOCKER_HOST", lab.engine.host()).env("SB_IMAGES", &images).current_dir("/tmp");
        command
    };
    let seen = play(&command(&["login", "google"]), &[answer("Secret: ", &format!("{SECRET}\r"))]);
    assert_eq!((seen.code, seen.restored), (0, true), "{}", seen.text);
    let mut pasted = command(&["login", "ibm", "--prompt"]).stdin(Stdio::piped()).spawn().unwrap();
    pasted.stdin.take().unwrap().write_all(format!(r#"{{"apikey":"{SECRET}"}}"#).as_bytes()).unwrap();
    assert!(pasted.wait().unwrap().success());
    for provider in ["google", "ibm"] {
        Ran::of(command(&["check-credentials", provider]).output().unwrap()).expect(0);
        let folder = lab.engine.data().join(format!("volumes/{provider}-secrets/_data")).metadata().unwrap();
        let owner = user.home().metadata().unwrap().uid();
        assert_eq!((folder.uid(), folder.permissions().mode() & 0o777), (owner, 0o700), "{provider}");
    }
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn a_shell_has_what_a_step_has() {
    let lab = Lab::new();
    let look = "pwd; id -u; id -g; echo ~; ls -a ~; ls -ld ~/.aws; env | grep -v -e ^SB_ -e ^HOSTNAME | sort; cat /proc/net/dev | wc -l; \
                grep -c . /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null; ls -A ../.sb ..; :";
    lab.work.write(
        "benchmark.toml",
        &format!(
            r#"
[benchmark]
name = "kept"

[params]
size = 7

[images]
tool = "sb-stand-in:1"

[targets.cloud]
credentials = ["aws"]

[[deploy]]
name = "look"
image = "tool"
network = "none"
workdir = "sub"
limits = {{ memory = "64MiB" }}
credentials = ["aws"]
env = {{ LOOK = "{look}", SIZE = "{{{{params.size}}}}", MADE = "a b" }}
run = 'id -u > ../id; sh -c "$LOOK" > ../step.txt 2>&1'
outputs.id = {{ file = "id" }}

[[deploy]]
name = "after"
image = "tool"
env = {{ ID = "{{{{outputs.id}}}}" }}
run = "true"

[[cleanup]]
name = "nothing"
image = "tool"
run = "true"
"#
        ),
    );
    std::fs::create_dir(lab.work.path().join("sub")).unwrap();
    let aws = format!("[default]\naws_access_key_id = A\naws_secret_access_key = {SECRET}\n");
    lab.piped(&["login", "aws"], &aws).expect(0);
    let early = lab.sb(&["shell", "--step", "after", "--", "true"]).expect(1);
    assert!(early.stderr.contains("sb prepare"), "{}", early.stderr);
    lab.sb(&["prepare"]).expect(0);

    let shown =
        lab.sb(&["shell", "--step", "deploy/look", "--", "sh", "-c", "sh -c \"$LOOK\" 2>&1"]).expect(0);
    assert_eq!(shown.stdout, lab.work.read("step.txt"));
    assert!(shown.stdout.contains("SIZE=7") && shown.stdout.contains(".aws"), "{}", shown.stdout);
    let id = lab.sb(&["shell", "--step", "after", "--", "sh", "-c", "echo $ID; exit 3"]).expect(3);
    assert_eq!(id.stdout, lab.work.read("id"));
    // Streams that are no terminal stay apart.
    let piped =
        lab.piped(&["shell", "tool", "--", "sh", "-c", "cat; echo error >&2; tty"], "given\n").expect(1);
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str()), ("given\nnot a tty\n", "error\n"));
    let denied = lab.sb(&["shell", "--", "touch", "/sb-home/.aws/x"]).expect(1);
    assert!(denied.stderr.contains("Read-only file system"), "{}", denied.stderr);

    // What is sent is what the shell shows that it was sent: the keys come through as they are.
    let script = [
        answer("# ", "stty size; tty\r"),
        json!({ "expect": "/dev/pts/0", "size": [40, 123] }),
        answer("# ", "sleep 0.3; stty size; sleep 60\r"),
        // Ctrl-C ends the sleep, not the shell.
        answer("40 123", "\u{3}"),
        answer("# ", "exit 7\r"),
    ];
    let seen = lab.play(&["shell"], &script);
    assert_eq!((seen.code, seen.restored), (7, true), "{}", seen.text);
    assert!(seen.text.contains("24 80"), "{}", seen.text);
    let killed = lab.play(&["shell"], &[json!({ "expect": "# ", "signal": 15 })]);
    assert_eq!((killed.code, killed.restored), (130, true), "{}", killed.text);

    assert_eq!(lab.engine.docker(&["ps", "--all", "--quiet"]), "");
    assert_eq!(std::fs::read_dir(lab.work.path().join(".sb/shells")).unwrap().count(), 0);
    lab.sb(&["shell", "--step", "none"]).expect(2);
    lab.sb(&["shell", "a b"]).expect(2);
    lab.sb(&["cleanup"]).expect(0);
    lab.holds_nowhere(SECRET);
}

#[test]
#[ignore = "needs: docker, dockerd, root"]
fn images_are_made_ready_before_they_are_needed() {
    let lab = Lab::new();
    lab.work.write("app/Dockerfile", &format!("FROM {IMAGE}\nCOPY Dockerfile /x\n"));
    lab.work.write("app/k6.Dockerfile", &format!("FROM {IMAGE}\nCOPY k6.Dockerfile /x\n"));
    lab.work.write("app/workload.js", "export default function () {}\n");
    lab.work.write(
        "app/benchmark.toml",
        r#"
[benchmark]
name = "app"
[images]
own = { dockerfile = "Dockerfile" }
k6 = { dockerfile = "k6.Dockerfile" }
[workload]
script = "workload.js"
[targets.cloud]
credentials = ["google"]
[[deploy]]
name = "build"
image = "own"
run = "true"
recover = [ { image = "pulumi", run = "true" } ]
[[deploy]]
name = "plain"
run = "true"
[[cleanup]]
name = "build"
image = "own"
run = "true"
"#,
    );
    let init = |code| {
        let ran = lab.sb(&["init", "--format", "json"]).expect(code);
        let all: Value = serde_json::from_str(&ran.stdout).unwrap();
        let images = all["images"].as_array().unwrap().clone();
        images
            .into_iter()
            .map(|image| (image["state"].as_str().unwrap().to_owned(), image["for"].to_string()))
            .collect::<Vec<_>>()
    };
    let first = init(0);
    assert_eq!(
        first.iter().map(|image| image.0.as_str()).collect::<Vec<_>>(),
        ["built", "there", "built"],
        "{first:?}"
    );
    assert_eq!(first[0].1, r#"["app@cloud: step `build`"]"#);
    for purpose in ["recovery of step `build`", "step `plain`", "the command line of Google Cloud"] {
        assert!(first[1].1.contains(purpose), "{first:?}");
    }
    assert_eq!(first[2].1, r#"["app@cloud: script of load `load`"]"#);
    assert!(init(0).iter().all(|image| image.0 == "there"));
    let shown = lab.sb(&["init"]).expect(0);
    assert!(shown.stdout.contains("there   app@cloud: step `build`"), "{}", shown.stdout);

    lab.work.write("images.toml", "[google]\nimage = \"127.0.0.1:9/nothing:1\"\n[step]\nimage = \"sb-stand-in:1\"\n[pulumi]\nimage = \"sb-stand-in:1\"\n");
    let failed = init(1);
    assert_eq!(failed.last().unwrap().0, "failed", "{failed:?}");
    assert!(
        failed.iter().take(failed.len() - 1).all(|image| image.0 == "there"),
        "the others are looked at: {failed:?}"
    );
}
