//! Logging in, checking, using and logging out, with stand-ins for the command lines of the providers, on an engine of the
//! test's own: no secret may be found anywhere but in the volume.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::engines::Dockerd;
use crate::pseudo_terminal::{Seen, answer, play};
use crate::workspace::{Ran, Workspace};

const IMAGE: &str = "sb-stand-in:1";
const TOOLS: [(&str, &str); 5] =
    [("aws", "aws"), ("azure", "az"), ("google", "gcloud"), ("ibm", "ibmcloud"), ("pulumi", "pulumi")];

struct Lab {
    engine: Dockerd,
    work: Workspace,
}

impl Lab {
    fn new() -> Self {
        let (engine, work) = (Dockerd::start(), Workspace::new());
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
        let folder = image.display().to_string();
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
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
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
        self.engine.docker(&[&["save", "--output", &saved.display().to_string()], images.as_slice()].concat());
        assert!(std::fs::metadata(&saved).unwrap().len() > 500_000, "the layers are there");
        assert_eq!(self.work.files_with(secret), Vec::<std::path::PathBuf>::new(), "image layers");
        std::fs::remove_file(saved).unwrap();
        let found = grep(&self.engine.data().join("containers"), secret);
        assert_eq!(found, "", "what the engine keeps of containers");
        assert_eq!(self.engine.docker(&["ps", "--all", "--quiet"]), "", "no container is left");
    }
}

fn grep(folder: &Path, text: &str) -> String {
    let found = Command::new("grep").args(["-r", "-l", "-F", text]).arg(folder).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
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
#[ignore = "needs a Docker engine"]
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
#[ignore = "needs a Docker engine"]
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
        assert!(!wrong.stderr.contains(SECRET) && wrong.stderr.contains("nothing was kept"), "{}", wrong.stderr);
        assert_eq!(lab.volumes(), "", "{provider}");
        let kept = lab.piped(&["login", provider], file).expect(0);
        assert!(!kept.stderr.contains(SECRET) && kept.stdout.is_empty(), "{}", kept.stderr);
        lab.sb(&["check-credentials", provider]).expect(0);
        lab.sb(&["logout", provider]).expect(0);
        assert_eq!(lab.volumes(), "", "{provider}");

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
#[ignore = "needs a Docker engine"]
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
    std::fs::set_permissions(broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let folder = lab.work.path().join("image").display().to_string();
    lab.engine.docker(&["build", "--quiet", "--network", "none", "--tag", "sb-stand-in:2", &folder]);
    let seen = lab.play(&["login", "aws"], &[answer("did not succeed", "")]);
    assert_eq!((seen.code, seen.restored), (9, true), "{}", seen.text);
    assert_eq!(lab.volumes(), "");
    assert_eq!(lab.engine.docker(&["ps", "--all", "--quiet"]), "");
}
