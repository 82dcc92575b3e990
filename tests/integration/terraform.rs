//! A Terraform folder as a step, by the real program. Its resources are of the provider that it brings, `terraform_data`; what they
//! make is made by commands: files in a folder, or buckets of moto.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::moto::Moto;
use crate::workspace::{Ran, Workspace};

const MANIFEST: &str = r#"
[benchmark]
name = "shop"

[params]
size = 3
key = { env = "SHOP_KEY", secret = true }

[targets.cloud]
traces = "none"

[[deploy]]
name = "stack"
terraform = { dir = "infra", variables = { account = "{{params.account}}", names = '["one", "two"]', note = 'say "${x}"' } }

[[deploy]]
name = "look"
run = "echo {{outputs.url}} {{outputs.size}} > seen"

[params.account]
env = "ACCOUNT"

[[cleanup]]
name = "stack"
terraform = { down = true }
retry = { attempts = 1 }
"#;

/// What is made and removed is written down in `$ACCOUNT/log`, and is a file there.
const FOLDER: &str = r#"
variable "account" { type = string }
variable "names" { type = list(string) }
variable "note" {}
variable "size" { type = number }
variable "key" {
  type      = string
  sensitive = true
}
resource "terraform_data" "thing" {
  for_each = toset(var.names)
  input    = { account = var.account, name = each.key }
  provisioner "local-exec" {
    command = "cd ${self.input.account} && sleep 0.2 && echo made ${self.input.name} >> log && touch thing-${self.input.name} && [ ! -e refuse ]"
  }
  provisioner "local-exec" {
    when    = destroy
    command = "cd ${self.input.account} && [ ! -e keep ] && sleep 0.1 && echo removed ${self.input.name} >> log && rm thing-${self.input.name}"
  }
}
output "url" { value = "https://${length(terraform_data.thing)}.example/${var.note}" }
output "size" { value = var.size + 1 }
output "token" {
  value     = "${var.key}-made-longer"
  sensitive = true
}
output "nothing" { value = null }
"#;

struct Desk(Workspace);

impl Desk {
    fn new() -> Self {
        let work = Workspace::new();
        work.write("benchmark.toml", MANIFEST);
        work.write("infra/main.tf", FOLDER);
        work.write("account/log", "");
        Self(work)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command(arguments);
        command.env("ACCOUNT", self.0.path().join("account")).env("SB_EXECUTOR", "host");
        command.env("SHOP_KEY", "key-of-the-shop").env("TF_WORKSPACE", "elsewhere");
        command
    }

    #[track_caller]
    fn sb(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    fn things(&self) -> usize {
        let entries = std::fs::read_dir(self.0.path().join("account")).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("thing-")).count()
    }

    fn count(&self, what: &str) -> usize {
        self.0.read("account/log").matches(what).count()
    }
}

#[test]
#[ignore = "needs: terraform"]
fn a_folder_is_applied_once_and_destroyed_with_its_state() {
    let desk = Desk::new();
    let prepared = desk.sb(&["prepare", "--format", "json"]).expect(0);
    assert!(prepared.stderr.contains("deploy/stack (terraform)"), "{}", prepared.stderr);
    let prepared: Value = serde_json::from_str(&prepared.stdout).unwrap();
    let url = r#"https://2.example/say "${x}""#;
    assert_eq!(prepared["outputs"]["url"], url, "{prepared:#}");
    assert_eq!(prepared["outputs"]["size"], 4, "{prepared:#}");
    assert_eq!(desk.0.read("seen"), format!("{url} 4\n"));
    assert_eq!((desk.things(), desk.count("made")), (2, 2));
    let resources = desk.0.files().into_iter().find(|path| path.ends_with("resources.json")).unwrap();
    let resources: Value = serde_json::from_slice(&std::fs::read(resources).unwrap()).unwrap();
    assert_eq!(resources["resources"].as_array().unwrap().len(), 2, "{resources:#}");
    assert!(resources["resources"][0]["milliseconds"].as_u64().unwrap() >= 200, "{resources:#}");

    // Secrets are where states and secrets are, and nowhere else.
    let state = desk.0.path().join(".sb");
    let holds = desk.0.files_with("key-of-the-shop");
    assert!(holds.iter().any(|path| path.ends_with("terraform.tfstate")), "{holds:?}");
    let is_kept = |path: &Path| ["tools", "secrets"].iter().any(|name| path.starts_with(state.join(name)));
    assert!(holds.iter().all(|path| is_kept(path)), "{holds:?}");
    let folder = std::fs::metadata(state.join("tools/shop@cloud/stack")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o077, 0);
    for path in &holds {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{path:?}");
    }

    // Again: nothing is to be changed.
    desk.sb(&["prepare"]).expect(0);
    assert_eq!((desk.things(), desk.count("made")), (2, 2));

    desk.sb(&["cleanup"]).expect(0);
    for said in
        ["thing[\\\"one\\\"]: Creation complete after", "thing[\\\"two\\\"]: Destruction complete after"]
    {
        assert!(desk.0.files_with(said).iter().any(|path| path.ends_with("output.log")), "{said}");
    }
    assert_eq!((desk.things(), desk.count("removed")), (0, 2));
    assert!(!state.join("tools/shop@cloud").exists());
    desk.sb(&["leaks"]).expect(0);
}

#[test]
#[ignore = "needs: terraform"]
fn a_failure_names_the_resource_its_place_and_the_words_and_is_cleaned_up() {
    let desk = Desk::new();
    desk.0.write("account/refuse", "");
    let failed = desk.sb(&["prepare"]);
    assert_ne!(failed.code, 0);
    let said = failed.stderr.replace('\n', " ");
    for part in
        ["`terraform_data.thing[", "(main.tf, line 13): local-exec provisioner error: Error running command"]
    {
        assert!(said.contains(part), "{part}: {}", failed.stderr);
    }
    desk.sb(&["cleanup"]).expect(0);
    // A provisioner of destruction is not run for what was never whole.
    desk.sb(&["leaks"]).expect(0);

    // What cannot be destroyed stays owed, with its state.
    std::fs::remove_file(desk.0.path().join("account/refuse")).unwrap();
    desk.sb(&["prepare"]).expect(0);
    desk.0.write("account/keep", "");
    let kept = desk.sb(&["cleanup"]).expect(4);
    assert!(kept.stderr.replace('\n', " ").contains("local-exec provisioner error"), "{}", kept.stderr);
    desk.sb(&["leaks"]).expect(4);
    std::fs::remove_file(desk.0.path().join("account/keep")).unwrap();
    desk.sb(&["cleanup"]).expect(0);
    desk.sb(&["leaks"]).expect(0);

    // A folder that cannot be read by the program has made nothing.
    desk.0.write("infra/more.tf", "resource \"nosuch_thing\" \"x\" {\n  provider = nosuch\n}\n");
    let failed = desk.sb(&["prepare"]);
    assert_ne!(failed.code, 0);
    let said = failed.stderr.replace('\n', " ");
    assert!(!said.contains("exit code 1"), "{}", failed.stderr);
    desk.sb(&["cleanup"]).expect(0);
}

#[test]
#[ignore = "needs: terraform"]
fn two_deployments_of_one_folder_have_a_state_each() {
    let desk = Desk::new();
    let other =
        MANIFEST.replace("name = \"shop\"", "name = \"other\"").replace("\"one\", \"two\"", "\"three\"");
    desk.0.write(
        "other/benchmark.toml",
        &other
            .replace("dir = \"infra\"", "dir = \"../infra\"")
            .replace("name = \"other\"\n", "name = \"other\"\nroot = \"..\"\n"),
    );
    let mut beside = desk.command(&["prepare", "--file", "other/benchmark.toml"]);
    let mut beside = beside.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    desk.sb(&["prepare"]).expect(0);
    assert!(beside.wait().unwrap().success());
    assert_eq!(desk.things(), 3);
    desk.sb(&["cleanup"]).expect(0);
    assert_eq!(desk.things(), 1);
    desk.sb(&["cleanup", "--file", "other/benchmark.toml"]).expect(0);
    assert_eq!((desk.things(), desk.count("made"), desk.count("removed")), (0, 3, 3));
}

/// A runner is killed at many moments of a deployment and of a cleanup, 30 in all: the next one goes on with the same state.
#[test]
#[ignore = "needs: terraform"]
fn a_killed_runner_makes_nothing_twice_and_loses_no_debt() {
    const MOMENTS: u64 = 15;
    for moment in 0..MOMENTS {
        let desk = Desk::new();
        for (command, lasts_ms) in [("prepare", 1_500), ("cleanup", 900)] {
            let mut runner =
                desk.command(&[command]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(40 + moment * lasts_ms / MOMENTS));
            let _ = runner.kill();
            let _ = runner.wait();
            desk.sb(&["resume"]);
            // Where the runner had not begun, there is nothing to resume.
            let is_done = match command {
                "prepare" => desk.0.path().join("seen").exists(),
                _ => desk.things() == 0,
            };
            if !is_done {
                desk.sb(&[command]).expect(0);
            }
            if command == "prepare" {
                assert_eq!((desk.things(), desk.count("made")), (2, 2), "moment {moment}");
            }
        }
        desk.sb(&["cleanup"]);
        assert_eq!((desk.things(), desk.count("made"), desk.count("removed")), (0, 2, 2), "moment {moment}");
        desk.sb(&["leaks"]).expect(0);
        assert_eq!(desk.0.processes(), Vec::<String>::new(), "moment {moment}");
    }
}

/// The program itself is killed, with its supervisor and its runner, while a resource is made that no state knows of.
#[test]
#[ignore = "needs: terraform"]
fn what_a_killed_program_may_have_made_is_named_and_stays_owed() {
    let desk = Desk::new();
    let hangs = FOLDER.replace("sleep 0.2", "[ ! -e hang ] || { echo hangs >> log; sleep 60; }");
    desk.0.write(
        "infra/main.tf",
        &hangs.replace("for_each", "depends_on = [terraform_data.first]\n  for_each"),
    );
    desk.0.write("infra/first.tf", "resource \"terraform_data\" \"first\" {}\n");
    desk.0.write("account/hang", "");
    let mut runner = desk.command(&["prepare"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(desk.0.appears("account/log", "hangs"));
    for process in desk.0.processes() {
        let number = process.split(':').next().unwrap();
        let _ = Command::new("kill").args(["-9", number]).status();
    }
    let _ = runner.wait();
    std::fs::remove_file(desk.0.path().join("account/hang")).unwrap();
    let expected = "it was killed while it made `terraform_data.thing[\"";
    let again = desk.sb(&["resume"]);
    assert_ne!(again.code, 0);
    assert!(again.stderr.replace('\n', " ").contains(expected), "{}", again.stderr);
    assert_eq!(desk.count("made"), 0, "nothing is made a second time");
    // The first one destroys what the state has, and the program ends well: that settles nothing.
    for _ in 0..2 {
        let owed = desk.sb(&["cleanup"]).expect(4);
        assert!(owed.stderr.replace('\n', " ").contains(expected), "{}", owed.stderr);
        desk.sb(&["leaks"]).expect(4);
    }
    let doubts = desk.0.files().into_iter().find(|path| path.ends_with("doubts.json")).unwrap();
    std::fs::remove_file(doubts).unwrap();
    desk.sb(&["cleanup"]).expect(0);
    desk.sb(&["leaks"]).expect(0);
}

/// A step that is called otherwise after it has deployed something, is gone, or has lost its state: the debt stays.
#[test]
#[ignore = "needs: terraform"]
fn what_no_cleanup_step_finds_stays_owed() {
    let desk = Desk::new();
    desk.sb(&["prepare"]).expect(0);
    let renamed = MANIFEST.replace("name = \"stack\"", "name = \"other\"");
    let gone = "[benchmark]\nname = \"shop\"\n[targets.cloud]\ntraces = \"none\"\n";
    for manifest in [&renamed, gone] {
        desk.0.write("benchmark.toml", manifest);
        let owed = desk.sb(&["cleanup"]).expect(4);
        let said = owed.stderr.replace('\n', " ");
        assert!(said.contains("what its step `stack` has deployed is still there"), "{said}");
        assert_eq!(desk.things(), 2);
        desk.sb(&["leaks"]).expect(4);
    }
    desk.0.write("benchmark.toml", MANIFEST);
    let state = desk.0.files().into_iter().find(|path| path.ends_with("terraform.tfstate")).unwrap();
    let kept = std::fs::read(&state).unwrap();
    std::fs::write(&state, "").unwrap();
    let lost = desk.sb(&["cleanup"]).expect(4);
    let said = lost.stderr.replace('\n', " ");
    assert!(said.contains("resources were made, and there is no state of them"), "{said}");
    std::fs::write(&state, kept).unwrap();
    desk.sb(&["cleanup"]).expect(0);
    assert_eq!((desk.things(), desk.count("removed")), (0, 2));
    desk.sb(&["leaks"]).expect(0);
}

/// A run that is stopped waits for what is being made, so that the state has it.
#[test]
#[ignore = "needs: terraform"]
fn a_run_that_is_stopped_leaves_nothing_that_no_state_knows() {
    let desk = Desk::new();
    desk.0.write("infra/main.tf", &FOLDER.replace("sleep 0.2", "echo slow >> log; sleep 2"));
    let mut runner = desk.command(&["test"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(desk.0.appears("account/log", "slow"));
    let stopped = Command::new("kill").args(["-INT", &runner.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    let _ = runner.wait();
    desk.sb(&["resume"]);
    desk.sb(&["leaks"]).expect(0);
    assert!(!desk.0.path().join(".sb/tools").read_dir().is_ok_and(|mut entries| entries.next().is_some()));
}

#[test]
#[ignore = "needs: moto, terraform"]
fn buckets_of_moto_are_made_and_removed() {
    let desk = Desk::new();
    let moto = Moto::start(&desk.0);
    let folder = FOLDER
        .replace("cd ${self.input.account} && sleep 0.2 && echo made ${self.input.name} >> log && touch thing-${self.input.name} && [ ! -e refuse ]", "curl -fsS -X PUT ${self.input.account}/sb-${self.input.name}")
        .replace("cd ${self.input.account} && [ ! -e keep ] && sleep 0.1 && echo removed ${self.input.name} >> log && rm thing-${self.input.name}", "curl -fsS -X DELETE ${self.input.account}/sb-${self.input.name}");
    assert!(!folder.contains("touch") && !folder.contains("rm thing"));
    desk.0.write("infra/main.tf", &folder);
    let sb = |arguments: &[&str]| {
        Ran::of(desk.command(arguments).env("ACCOUNT", &moto.endpoint).output().unwrap())
    };
    let buckets = || {
        let listed = Command::new("curl").args(["-s", &format!("{}/", moto.endpoint)]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().matches("<Bucket>").count()
    };
    sb(&["prepare"]).expect(0);
    assert_eq!(buckets(), 2);
    sb(&["cleanup"]).expect(0);
    assert_eq!(buckets(), 0);
}
