//! Engines that want certificates, and those that are not Docker's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::docker::Boxed;
use crate::docker_credentials::{IMAGE, stand_ins};
use crate::engines::{Dockerd, SHORT};
use crate::pseudo_terminal::{answer, play};
use crate::workspace::{Ran, Workspace};

/// Two authorities, `good` and `bad`, and from each a server of this machine (`NAME/server`) and a client (`NAME/client`), with
/// file names as Docker wants them.
const CERTIFICATES: &str = r#"
set -e
for name in good bad; do
    mkdir -p "$name/server" "$name/client"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$name" -keyout "$name/key.pem" -out "$name/ca.pem"
    for side in server client; do
        printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=%sAuth\n' "$side" > "$name/extensions"
        openssl req -newkey rsa:2048 -nodes -subj "/CN=$side" -keyout "$name/$side/key.pem" -out "$name/request"
        openssl x509 -req -days 2 -in "$name/request" -CA "$name/ca.pem" -CAkey "$name/key.pem" -CAcreateserial \
            -extfile "$name/extensions" -out "$name/$side/cert.pem"
        cp "$name/ca.pem" "$name/$side/ca.pem"
    done
done
# One that trusts the wrong authority, and one that the right one does not know.
mkdir suspicious stranger
cp good/client/cert.pem good/client/key.pem bad/ca.pem suspicious
cp bad/client/cert.pem bad/client/key.pem good/ca.pem stranger
"#;

#[test]
#[ignore = "needs: docker, dockerd, openssl, root"]
fn docker_an_engine_behind_tls_and_its_clients_prove_who_they_are() {
    let boxed = Boxed::new(SHORT);
    let folder = boxed.work.path().join("certificates");
    std::fs::create_dir(&folder).unwrap();
    let made = Command::new("sh").args(["-c", CERTIFICATES]).current_dir(&folder).output().unwrap();
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    let server = |name: &str| folder.join("good/server").join(name).display().to_string();
    let dockerd = Dockerd::start_with(&[
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", server("ca.pem")),
        format!("--tlscert={}", server("cert.pem")),
        format!("--tlskey={}", server("key.pem")),
        "--host=tcp://127.0.0.1:2376".to_owned(),
    ]);
    let sb = |client: Option<&str>| {
        let inner = boxed.work.command(&["test", "--executor", "docker"]);
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", dockerd.pid())).arg(inner.get_program());
        command.args(inner.get_args()).current_dir(boxed.work.path()).stdin(Stdio::null());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("DOCKER_HOST", "tcp://127.0.0.1:2376").env_remove("DOCKER_CONTEXT");
        if let Some(client) = client {
            command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", folder.join(client));
        }
        Ran::of(command.output().expect("nsenter, of util-linux"))
    };
    sb(Some("good/client")).expect(0);
    assert_eq!(boxed.work.read("trail"), "one\ncleanup\n");
    // With TLS 1.3 the engine refuses a stranger after the handshake: the connection may be closed before its alert is read.
    for (client, words) in [
        (None, &["HTTPS"][..]),
        (Some("suspicious"), &["certificate"]),
        (Some("stranger"), &["fatal alert", "connection was not ready"]),
        (Some("nowhere"), &["nowhere"]),
    ] {
        let refused = sb(client).expect(1).stderr.replace("\n  │ ", " ");
        assert!(
            words.iter().any(|word| refused.contains(word)),
            "{client:?}: none of {words:?} in {refused}"
        );
    }
    assert_eq!(boxed.work.read("trail"), "one\ncleanup\n");
}

/// Podman's service with a store of its own.
struct Podman {
    folder: tempfile::TempDir,
    process: Child,
}

impl Podman {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("sb-podman-").tempdir_in("/tmp").unwrap();
        // Limits that need no right to raise them, and an init that is there where Docker is.
        let configuration = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                             [engine]\ninit_path = \"/usr/bin/docker-init\"\n";
        std::fs::write(folder.path().join("containers.conf"), configuration).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut service = Self::command(folder.path());
        service.args(["system", "service", "--time=0"]).arg(Self::host_in(folder.path()));
        let process = service.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let mut podman = Self { process: process.expect("podman, of Debian's package podman"), folder };
        let begun = Instant::now();
        while !podman.socket().exists() {
            let ended = podman.process.try_wait().unwrap();
            let log = || std::fs::read_to_string(podman.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_mins(1), "no service: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        podman
    }

    fn command(folder: &Path) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(folder.join("root")).arg("--runroot").arg(folder.join("run"));
        command.env("CONTAINERS_CONF", folder.join("containers.conf")).stdin(Stdio::null());
        command
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("podman.sock")
    }

    fn host_in(folder: &Path) -> String {
        format!("unix://{}", folder.join("podman.sock").display())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = Self::command(self.folder.path()).args(["rm", "-fa"]).output();
        let _ = kill_process(Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap(), Signal::TERM);
        let _ = self.process.wait();
        // What its storage mounted on itself.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path().join("root/overlay")).output();
    }
}

#[test]
#[ignore = "needs: docker, podman"]
fn docker_podman_s_socket_does_what_an_engine_of_docker_does() {
    let boxed = Boxed::new(
        r#"
[[deploy]]
name = "one"
image = "box"
run = "echo one $SB_ATTEMPT_NUMBER >> trail; echo made; exit $((2 - $SB_ATTEMPT_NUMBER))"
retry = { attempts = 2, delay = "10ms" }
outputs.made = { line = -1 }

[[deploy]]
name = "slow"
image = "box"
timeout = "1s"
allow_failure = true
run = "echo slow {{outputs.made}} >> trail; sleep 60"

[[cleanup]]
name = "remove"
image = "box"
run = "echo cleanup >> trail; i=0; while [ ! -e go ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; echo end >> trail"
"#,
    );
    let podman = Podman::start();
    let mut sb = boxed.work.command(&["test", "--executor", "docker"]);
    let log = std::fs::File::create(boxed.work.path().join("runner.log")).unwrap();
    sb.env("DOCKER_HOST", Podman::host_in(podman.folder.path())).stdout(log.try_clone().unwrap()).stderr(log);
    let mut runner = sb.spawn().unwrap();
    boxed.appears("trail", "cleanup");
    runner.kill().unwrap();
    runner.wait().unwrap();
    boxed.work.write("go", "");
    let mut resume = boxed.work.command(&["resume"]);
    Ran::of(resume.env("DOCKER_HOST", Podman::host_in(podman.folder.path())).output().unwrap()).expect(0);
    assert_eq!(boxed.work.read("trail"), "one 1\none 2\nslow made\ncleanup\nend\n");
    assert!(boxed.work.read("runner.log").contains("timeout of 1s"), "{}", boxed.work.read("runner.log"));
    let left = Podman::command(podman.folder.path()).args(["ps", "-aq"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "no container is left");
}

#[test]
#[ignore = "needs: docker, podman"]
fn docker_credentials_lie_in_a_volume_of_podman_s_as_in_one_of_docker_s() {
    const SECRET: &str = "hush4hush5hush6";
    let (work, podman) = (Workspace::new(), Podman::start());
    let folder = stand_ins(&work);
    let built = Podman::command(podman.folder.path())
        .args(["build", "--quiet", "--network", "none", "--tag", IMAGE])
        .arg(folder)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let command = |arguments: &[&str]| {
        let mut command = work.command(arguments);
        command.env("DOCKER_HOST", Podman::host_in(podman.folder.path()));
        command.env("SB_IMAGES", work.path().join("images.toml"));
        command
    };
    let sb = |arguments: &[&str]| Ran::of(command(arguments).output().unwrap());
    work.write(
        "benchmark.toml",
        "[benchmark]\nname = \"kept\"\n[images]\ntool = \"sb-stand-in:1\"\n[targets.cloud]\ncredentials = [\"aws\"]\n\
         [[deploy]]\nname = \"use\"\nimage = \"tool\"\nnetwork = \"none\"\ncredentials = [\"aws\"]\n\
         run = \"aws sts get-caller-identity --output json > who; ls -ln ~/.aws > list; touch ~/.aws/x 2> denied; id -u > id\"\n",
    );
    sb(&["check-credentials", "aws"]).expect(1);
    let script = [
        json!({ "expect": "Key ID [None]: ", "size": [33, 111], "send": "AKIAME\r" }),
        answer("Secret: ", &format!("{SECRET}\r")),
        answer("33 111", ""),
    ];
    let seen = play(&command(&["login", "aws"]), &script);
    assert_eq!((seen.code, seen.restored), (0, true), "{}", seen.text);
    assert!(!seen.text.contains(SECRET), "{}", seen.text);
    sb(&["check-credentials", "aws"]).expect(0);
    sb(&["prepare"]).expect(0);
    assert!(work.read("who").contains("Arn"), "{}", work.read("who"));
    assert!(work.read("list").contains("-rw-------"), "{}", work.read("list"));
    assert!(work.read("denied").contains("Read-only file system"), "{}", work.read("denied"));
    sb(&["cleanup"]).expect(0);
    sb(&["logout", "aws"]).expect(0);
    sb(&["check-credentials", "aws"]).expect(1);
    let volumes = Podman::command(podman.folder.path()).args(["volume", "ls", "--quiet"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&volumes.stdout), "");
    assert_eq!(work.files_with(SECRET), Vec::<PathBuf>::new());
}
