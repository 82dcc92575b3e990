//! With the host executor, credentials are the user's own: the provider's command line of this machine is asked.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::pseudo_terminal::{answer, play};
use crate::workspace::{Ran, Workspace};

/// A workspace with a stand-in for the command line of AWS, and a home of its own.
fn desk() -> Workspace {
    let work = Workspace::new();
    let script = include_str!("stand_in.sh");
    let tool = work.write("bin/aws", script);
    std::fs::set_permissions(tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(work.path().join("home/.aws")).unwrap();
    work
}

fn command(work: &Workspace, arguments: &[&str]) -> Command {
    let mut command = work.command(arguments);
    let path = std::env::var("PATH").unwrap();
    command
        .env("PATH", format!("{}:{path}", work.path().join("bin").display()))
        .env("HOME", work.path().join("home"))
        .env("SHELL", "/bin/sh")
        .env("SB_EXECUTOR", "host");
    command
}

fn sb(work: &Workspace, arguments: &[&str]) -> Ran {
    Ran::of(command(work, arguments).output().unwrap())
}

#[test]
fn the_providers_own_command_line_logs_in_and_is_asked() {
    let work = desk();
    let nobody = sb(&work, &["check-credentials", "aws"]).expect(1);
    assert!(
        nobody.stderr.contains("nobody is logged in") && nobody.stderr.contains("aws configure"),
        "{}",
        nobody.stderr
    );
    let script = [answer("Key ID [None]: ", "AKIA\r"), answer("Secret: ", "hush\r")];
    let seen = play(&command(&work, &["login", "aws"]), &script);
    assert_eq!((seen.code, seen.restored), (0, true), "{}", seen.text);
    assert!(work.read("home/.aws/credentials").contains("aws_secret_access_key = hush"));
    let who = sb(&work, &["check-credentials", "aws", "--format", "json"]).expect(0);
    let who: Value = serde_json::from_str(&who.stdout).unwrap();
    assert_eq!(
        (&who["executor"], &who["identity"]["Account"]),
        (&json!("host"), &json!("123456789012")),
        "{who:#}"
    );

    // Ctrl-C is the tool's: it ends of it, and nothing of sb stays behind.
    let seen = play(&command(&work, &["login", "aws"]), &[answer("Key ID [None]: ", "\u{3}")]);
    assert_eq!(seen.code, 130, "{}", seen.text);
    let refused = sb(&work, &["login", "aws", "--prompt"]).expect(2);
    assert!(refused.stderr.contains("~/.aws"), "{}", refused.stderr);
    sb(&work, &["logout", "aws"]).expect(2);
    assert!(work.path().join("home/.aws/credentials").exists(), "the user's files are left alone");
    let missing = sb(&work, &["check-credentials", "ibm"]).expect(1);
    assert!(missing.stderr.contains("`ibmcloud` cannot be started"), "{}", missing.stderr);
}

#[test]
fn a_shell_on_the_host_has_what_a_step_has() {
    let work = desk();
    work.write(
        "benchmark.toml",
        r#"
[benchmark]
name = "near"
[params]
size = 7
[targets.here]
[[deploy]]
name = "look"
workdir = "sub"
env = { SIZE = "{{params.size}}" }
run = "pwd > ../step; echo $SIZE >> ../step"
[[cleanup]]
name = "none"
run = "true"
"#,
    );
    std::fs::create_dir(work.path().join("sub")).unwrap();
    sb(&work, &["prepare"]).expect(0);
    let shown =
        sb(&work, &["shell", "--step", "look", "--", "sh", "-c", "pwd; echo $SIZE; exit 5"]).expect(5);
    assert_eq!(shown.stdout, work.read("step"));
    let script = [answer("", "stty size; tty; exit 4\r"), answer("24 80", ""), answer("/dev/pts/", "")];
    let seen = play(&command(&work, &["shell", "--step", "look"]), &script);
    assert_eq!((seen.code, seen.restored), (4, true), "{}", seen.text);
    let gone = sb(&work, &["shell", "--step", "look", "--", "no-such-program"]).expect(1);
    assert!(gone.stderr.contains("cannot start `no-such-program`"), "{}", gone.stderr);
    sb(&work, &["cleanup"]).expect(0);
}
