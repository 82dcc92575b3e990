//! `sb remote` against a real sshd on loopback, with keys, configuration and a home folder of its own.

use std::io::BufRead as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::workspace::{Ran, Workspace};

/// A host to log in to: `lg`, with the home folder `home` of the workspace.
struct Host {
    work: Workspace,
    sshd: Child,
}

impl Host {
    fn new() -> Self {
        let work = Workspace::new();
        let path = |name: &str| work.path().join(name).display().to_string();
        std::fs::create_dir_all(work.path().join("home/bin")).unwrap();
        for name in ["host_key", "key"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &path(name)])
                .status();
            assert!(made.expect("ssh-keygen, of openssh-client").success());
        }
        std::fs::copy(path("key.pub"), path("authorized_keys")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        // Logs in to a home of the test's, not to the user's own.
        let enter = format!(
            "#!/bin/sh\nHOME={0}\nexport HOME\ncd \"$HOME\" || exit 1\nPATH=$HOME/bin:${{REMOTE_PATH:-/usr/bin:/bin}}\n\
             [ ! -r path ] || PATH=$(cat path)\nexport PATH\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            path("home")
        );
        work.write("enter", &enter);
        std::fs::set_permissions(path("enter"), std::fs::Permissions::from_mode(0o755)).unwrap();
        work.write(
            "sshd_config",
            &format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\n\
                 AuthorizedKeysFile {}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
                 ForceCommand {}\n",
                path("host_key"),
                path("authorized_keys"),
                path("enter"),
            ),
        );
        work.write(
            "ssh_config",
            &format!(
                "Host lg\n  HostName 127.0.0.1\n  Port {port}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n\
                 \x20 UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n",
                user.trim(),
                path("key"),
                path("known_hosts"),
            ),
        );
        work.write("known_hosts", &format!("[127.0.0.1]:{port} {}", work.read("host_key.pub")));
        // Of Debian's: where sshd locks itself in.
        let _ = std::fs::create_dir_all("/run/sshd");
        let log = std::fs::File::create(work.path().join("sshd.log")).unwrap();
        let sshd = Command::new(sshd())
            .args(["-D", "-e", "-f", &path("sshd_config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd, of openssh-server");
        let host = Self { work, sshd };
        assert!(host.work.appears("sshd.log", "Server listening"), "{}", host.work.read("sshd.log"));
        host
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.work.command(arguments);
        command.env("SB_SSH", format!("ssh -F {}", self.work.path().join("ssh_config").display()));
        command
    }

    #[track_caller]
    fn sb(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// A program of the host's own.
    fn program(&self, name: &str, script: &str) {
        let path = self.work.write(&format!("home/bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Names of files below a folder of the workspace, sorted.
    fn files(&self, folder: &str) -> Vec<String> {
        let found = Command::new("find")
            .args([".", "-type", "f"])
            .current_dir(self.work.path().join(folder))
            .output();
        let mut names: Vec<_> = found.unwrap().stdout.lines().map(|line| line.unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_raw(i32::try_from(self.sshd.id()).unwrap()).unwrap(), Signal::TERM);
        let _ = self.sshd.wait();
    }
}

/// sshd insists on its full path.
fn sshd() -> PathBuf {
    let places = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
    places.iter().map(Path::new).find(|path| path.exists()).expect("sshd, of openssh-server").to_owned()
}

#[test]
#[ignore = "needs: sshd"]
fn sshd_logs_folders_and_nothing_else_are_fetched_once() {
    let host = Host::new();
    for name in [
        "apps/thumbs/logs/2026-01-31_12-00-00/traces.json",
        "apps/thumbs/logs/2026-01-31_12-00-00/deep/er.csv",
        "apps/thumbs/logs/2026-01-31_13-00-00/run.json",
        "apps/with space/logs/2026-01-31_14-00-00/run.json",
        "apps/thumbs/benchmark.toml",
        "apps/thumbs/catalogs/x",
        "apps/thumbs/.git/logs/HEAD",
        "apps/node_modules/a/logs/x/y",
        "apps/.sb/runs/logs/x",
    ] {
        host.work.write(&format!("home/{name}"), name);
    }
    let expected = [
        "./thumbs/logs/2026-01-31_12-00-00/deep/er.csv",
        "./thumbs/logs/2026-01-31_12-00-00/traces.json",
        "./thumbs/logs/2026-01-31_13-00-00/run.json",
        "./with space/logs/2026-01-31_14-00-00/run.json",
    ];
    let seen = host.sb(&["remote", "fetch", "lg:apps", "--into", "here", "--dry-run"]).expect(0);
    assert!(seen.stdout.contains("traces.json"), "{}", seen.stdout);
    assert_eq!(host.files("here"), Vec::<String>::new());
    let fetched = host.sb(&["remote", "fetch", "lg:apps", "--into", "here"]).expect(0);
    assert!(fetched.stderr.contains("3 invocations in here"), "{}", fetched.stderr);
    assert_eq!(host.files("here"), expected);
    let again = host.sb(&["remote", "fetch", "lg:apps", "--into", "here", "--dry-run"]).expect(0);
    assert!(!again.stdout.contains("traces.json"), "what is here does not come again: {}", again.stdout);

    // As the environment says it; `~` is the home folder there.
    let mut command = host.command(&["remote", "fetch"]);
    command.env("SB_DATA_SOURCE", "lg:~/apps").env("SB_DATA_DIR", "data dir");
    Ran::of(command.output().unwrap()).expect(0);
    assert_eq!(host.files("data dir"), expected);
    host.sb(&["remote", "fetch", "lg"]).expect(0);
    assert_eq!(host.files("data/lg/raw/apps"), expected);

    let missing = host.sb(&["remote", "fetch", "lg:nowhere", "--into", "here"]).expect(23);
    assert!(missing.stderr.contains("code 23"), "{}", missing.stderr);
    host.sb(&["remote", "fetch", "-oProxyCommand=touch x"]).expect(2);
    host.sb(&["remote", "fetch"]).expect(2);
}

#[test]
#[ignore = "needs: sshd"]
fn sshd_a_fetch_that_was_broken_off_goes_on_where_it_was() {
    let host = Host::new();
    let name = "logs/2026-01-31_12-00-00/traces.json";
    host.work.write(&format!("home/{name}"), "");
    // Nothing that compresses, slowly.
    let mut noise = std::fs::File::open("/dev/urandom").unwrap();
    let mut file = std::fs::File::create(host.work.path().join("home").join(name)).unwrap();
    std::io::copy(&mut std::io::Read::take(&mut noise, 12 << 20), &mut file).unwrap();
    host.program("rsync", "a=$1 b=$2; shift 2; exec /usr/bin/rsync \"$a\" \"$b\" --bwlimit=4096 \"$@\"");
    let mut runner = host
        .command(&["remote", "fetch", "lg", "--into", "here"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = host.work.path().join("here/logs/2026-01-31_12-00-00");
    let begun = Instant::now();
    let arriving = || {
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).max().unwrap_or(0)
    };
    while arriving() < 2 << 20 {
        assert!(begun.elapsed() < Duration::from_mins(1), "nothing arrives");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(20), "rsync's code for a signal");
    assert!(!folder.join("traces.json").exists(), "a part has not the name of the whole");
    let kept = folder.join(".rsync-partial/traces.json").metadata().expect("what had arrived is kept").len();
    assert!(kept >= 1 << 20, "{kept}");

    host.sb(&["remote", "fetch", "lg", "--into", "here"]).expect(0);
    let same = Command::new("cmp")
        .arg(folder.join("traces.json"))
        .arg(host.work.path().join("home").join(name))
        .status();
    assert!(same.unwrap().success());
    assert_eq!(host.files("here"), [format!("./{name}")], "and no part is left");
}

#[test]
#[ignore = "needs: sshd"]
fn sshd_a_host_is_set_up_once_and_told_what_it_misses() {
    let host = Host::new();
    host.program("docker", "[ \"$1\" = version ] && echo 28.5.1");
    let setup = |arguments: &[&str], code| {
        let ran = host.sb(&[&["remote", "setup", "lg", "--format", "json"], arguments].concat()).expect(code);
        serde_json::from_str::<Value>(&ran.stdout).unwrap()
    };
    let place = host.work.path().join("home/.local/bin/sb");
    let looked = setup(&["--dry-run"], 0);
    assert_eq!(
        (&looked["ready"], &looked["found"]["engine"]),
        (&true.into(), &"28.5.1".into()),
        "{looked:#}"
    );
    assert!(!place.exists(), "a dry run changes nothing");
    assert_eq!(setup(&[], 0)["changed"], serde_json::json!(["copied sb"]));
    let version = Command::new(&place).arg("version").output().unwrap();
    assert!(version.status.success() && version.stdout == host.sb(&["version"]).stdout.as_bytes());
    let inode = || std::os::unix::fs::MetadataExt::ino(&place.metadata().unwrap());
    let before = inode();
    assert_eq!(setup(&[], 0)["changed"], serde_json::json!([]));
    assert_eq!(inode(), before, "the same program is not copied again");
    std::fs::write(&place, "another").unwrap();
    assert_eq!(setup(&[], 0)["changed"], serde_json::json!(["copied sb"]));

    // A host that has a shell and little else.
    let bare = host.work.path().join("home/bare");
    std::fs::create_dir(&bare).unwrap();
    for tool in ["sh", "uname", "id", "sed", "cat", "mkdir", "chmod", "mv"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), bare.join(tool)).unwrap();
    }
    host.work.write("home/path", &bare.display().to_string());
    let missing = setup(&[], 1);
    let problems = missing["problems"].to_string();
    assert!(problems.contains("no rsync") && problems.contains("no Docker"), "{missing:#}");

    let refused = host.sb(&["remote", "setup", "nobody@127.0.0.1"]).expect(1);
    assert!(refused.stderr.contains("cannot log in"), "{}", refused.stderr);
}
