//! Stacks on AWS: deployed, failing in every way, interrupted, removed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::cloudformation_server::{Manners, Server};
use crate::moto::Moto;
use crate::workspace::{Ran, Workspace};

const MANIFEST: &str = "[benchmark]\nname = \"demo\"\n[targets.aws]\ncredentials = [\"aws\"]\n\
                        [[deploy]]\nname = \"stack\"\nsam = { template = \"template.yaml\" }\n";

const TEMPLATE: &str = "Resources:\n  News:\n    Type: AWS::SNS::Topic\n  Table:\n    Type: AWS::DynamoDB::Table\n\
                        Outputs:\n  Endpoint:\n    Value: https://x.execute-api.us-east-1.amazonaws.com/v1\n";

struct OnAws {
    work: Workspace,
    endpoint: String,
}

impl OnAws {
    fn new(endpoint: &str) -> Self {
        let work = Workspace::new();
        work.write("benchmark.toml", MANIFEST);
        work.write("template.yaml", TEMPLATE);
        Self { work, endpoint: endpoint.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.work.command(arguments);
        command
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "y")
            .env("AWS_REGION", "us-east-1")
            .env("SB_PREFLIGHT", "off");
        command
    }

    #[track_caller]
    fn sb(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// What the first attempts of all runs logged.
    fn logs(&self) -> String {
        let logs = self.work.files().into_iter().filter(|path| path.ends_with("output.log"));
        logs.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// Where it is written down how the stack is called.
    fn record(&self) -> PathBuf {
        self.work.path().join(".sb/stacks/demo@aws/stack.json")
    }

    fn tries_cleanup_once(&self) {
        let cleanup = "[[cleanup]]\nname = \"stack\"\nsam = { down = true }\nretry = { attempts = 1 }\n";
        self.work.write("benchmark.toml", &format!("{MANIFEST}{cleanup}"));
    }

    fn remember(&self, stack: &str) {
        let text = format!(
            "{{\"version\":1,\"stack\":\"{stack}\",\"bucket\":\"sb-code-1\",\"region\":null,\"deployment\":\"demo@aws/1\"}}"
        );
        self.work.write(".sb/stacks/demo@aws/stack.json", &text);
    }
}

#[test]
fn a_stack_is_followed_through_throttling_pages_and_late_events_and_is_removed() {
    let manners = Manners { throttles: true, events_late: 2, ..Manners::default() };
    let server = Server::start(manners);
    let aws = OnAws::new(&server.endpoint);
    let ran = aws.sb(&["prepare"]).expect(0);
    assert!(ran.stderr.contains("done       demo.1/deploy/stack"), "{}", ran.stderr);
    assert_eq!(server.begun("create"), 1);
    let log = aws.logs();
    assert!(log.contains("Table (AWS::DynamoDB::Table): CREATE_COMPLETE after 3.0 s"), "{log}");
    assert!(aws.record().exists());
    let stack = server.account.lock().unwrap().stacks[0].tags.clone();
    for tag in ["sb:deployment", "sb:run", "sb:benchmark", "sb:workspace"] {
        assert!(stack.iter().any(|(key, value)| key == tag && !value.is_empty()), "{tag}: {stack:?}");
    }
    // Nothing has changed: nothing is begun.
    aws.sb(&["prepare"]).expect(0);
    assert_eq!(server.begun("create"), 1);
    aws.sb(&["cleanup"]).expect(0);
    assert_eq!((server.begun("delete"), server.left()), (1, vec![]));
    assert!(!aws.record().exists());
    aws.sb(&["leaks"]).expect(0);
}

#[test]
fn a_failure_names_the_first_cause_with_its_line_and_the_next_attempt_begins_anew() {
    let server = Server::start(Manners { failing_creations: 1, events_late: 3, ..Manners::default() });
    let aws = OnAws::new(&server.endpoint);
    let ran = aws.sb(&["prepare"]).expect(1);
    let expected = "could not be created: `Table` (AWS::DynamoDB::Table, line 4 of template.yaml): Subscriber limit \
                    exceeded for tables (Service: DynamoDb, Status Code: 400); remove what is not needed, or have the quota raised";
    assert!(ran.stderr.replace('\n', " ").contains(expected), "{}", ran.stderr);
    assert!(server.left()[0].ends_with("ROLLBACK_COMPLETE"), "{:?}", server.left());
    aws.sb(&["prepare"]).expect(0);
    assert_eq!((server.begun("create"), server.begun("delete")), (2, 1));
    assert!(server.left()[0].ends_with(" CREATE_COMPLETE"), "{:?}", server.left());
    aws.sb(&["cleanup"]).expect(0);
    let paths = &server.account.lock().unwrap().paths;
    assert!(paths.iter().any(|path| path.starts_with("/sb-code-")), "{paths:?}");
    assert!(!paths.iter().any(|path| path.starts_with("/theirs")), "{paths:?}");
}

#[test]
fn a_stack_of_someone_else_is_left_alone_by_deploy_and_cleanup() {
    for (tags, whose) in [
        (vec![], "was not made by `sb`"),
        (vec![("sb:deployment", "demo@aws/2")], "belongs to the deployment `demo@aws/2`"),
    ] {
        let server = Server::start(Manners::default());
        let aws = OnAws::new(&server.endpoint);
        aws.tries_cleanup_once();
        aws.sb(&["prepare"]).expect(0);
        server.has("theirs", "CREATE_COMPLETE", &tags);
        aws.remember("theirs");
        for command in ["prepare", "cleanup"] {
            let ran = aws.sb(&[command]);
            assert_ne!(ran.code, 0);
            assert!(
                ran.stderr.contains("the stack `theirs`") && ran.stderr.contains(whose),
                "{}",
                ran.stderr
            );
        }
        assert!(server.left().contains(&"theirs CREATE_COMPLETE".to_owned()));
        assert_eq!(server.begun("delete theirs"), 0);
        let paths = &server.account.lock().unwrap().paths;
        assert!(paths.iter().any(|path| path.starts_with("/sb-code-1")), "our bucket is removed: {paths:?}");
    }
}

#[test]
fn a_deletion_that_fails_says_which_resource_and_why_and_stays_owed() {
    let server = Server::start(Manners { failing_deletions: 3, ..Manners::default() });
    let aws = OnAws::new(&server.endpoint);
    aws.tries_cleanup_once();
    aws.sb(&["prepare"]).expect(0);
    let ran = aws.sb(&["cleanup"]).expect(4);
    let expected =
        "could not be deleted: `News` (AWS::SNS::Topic): it is still used by the subscription of team B";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    aws.sb(&["leaks"]).expect(4);
    assert!(aws.record().exists());
    aws.sb(&["cleanup"]).expect(0);
    assert_eq!(server.left(), Vec::<String>::new());
    aws.sb(&["leaks"]).expect(0);
}

#[test]
fn executions_that_wait_are_stopped_before_their_stack_is_deleted() {
    for throttles in [false, true] {
        let server = Server::start(Manners { waiting_executions: 5, throttles, ..Manners::default() });
        let aws = OnAws::new(&server.endpoint);
        aws.tries_cleanup_once();
        aws.sb(&["prepare"]).expect(0);
        assert_eq!(server.account.lock().unwrap().stopped.len(), 0);
        aws.sb(&["cleanup"]).expect(0);
        assert_eq!(server.account.lock().unwrap().stopped.len(), 5);
        assert_eq!((server.begun("delete"), server.left()), (1, vec![]));
        assert!(aws.logs().contains("stopped 5 executions of arn:aws:states:"), "{}", aws.logs());
    }
}

#[test]
fn a_stack_that_someone_deletes_meanwhile_is_said_to_be_gone() {
    let server = Server::start(Manners { deleted_meanwhile: true, ..Manners::default() });
    let aws = OnAws::new(&server.endpoint);
    let ran = aws.sb(&["prepare"]).expect(1);
    assert!(ran.stderr.contains("was deleted by someone else while it was deployed"), "{}", ran.stderr);
    aws.sb(&["cleanup"]).expect(0);
}

#[test]
fn a_stack_that_cannot_be_updated_is_named_with_its_state_and_the_cleanup_removes_it() {
    let server = Server::start(Manners::default());
    let aws = OnAws::new(&server.endpoint);
    aws.sb(&["prepare"]).expect(0);
    server.account.lock().unwrap().stacks[0].status = "UPDATE_ROLLBACK_FAILED".to_owned();
    let ran = aws.sb(&["prepare"]).expect(1);
    let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "is UPDATE_ROLLBACK_FAILED, from which it cannot be updated",
        "continue-update-rollback --stack-name sb-demo-",
    ] {
        assert!(said.contains(part), "{part}: {}", ran.stderr);
    }
    aws.sb(&["cleanup"]).expect(0);
    assert_eq!(server.left(), Vec::<String>::new());
}

#[test]
fn what_a_lost_state_folder_has_left_is_found_in_the_account_and_removed() {
    let server = Server::start(Manners { looks_per_change: 3, ..Manners::default() });
    let aws = OnAws::new(&server.endpoint);
    server.has("theirs", "CREATE_COMPLETE", &[("team", "b")]);
    let mut runner = aws.command(&["prepare"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    while server.begun("create") == 0 {
        assert!(runner.try_wait().unwrap().is_none(), "it ended before the stack was begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = runner.kill();
    let _ = runner.wait();
    std::fs::remove_dir_all(aws.work.path().join(".sb")).unwrap();
    let found = aws.sb(&["leaks", "--account"]).expect(4);
    let workspace = aws.work.path().join(".sb");
    assert!(found.stdout.contains(&format!("workspace {}", workspace.display())), "{}", found.stdout);
    assert!(found.stdout.contains("demo@aws/") && !found.stdout.contains("theirs"), "{}", found.stdout);
    let asked = aws.sb(&["leaks", "--account", "--remove"]).expect(2);
    assert!(asked.stderr.contains("there is no terminal to ask on"), "{}", asked.stderr);
    assert_eq!(server.begun("delete"), 0);
    aws.sb(&["leaks", "--account", "--remove", "--yes"]).expect(0);
    assert_eq!(server.left(), ["theirs CREATE_COMPLETE"]);
    aws.sb(&["leaks", "--account"]).expect(0);
}

#[test]
fn what_someone_may_work_on_is_left_in_the_account() {
    let server = Server::start(Manners::default());
    let aws = OnAws::new(&server.endpoint);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let other = Workspace::new();
    let state = other.path().join(".sb");
    let run = state.join("runs/r1");
    std::fs::create_dir_all(&run).unwrap();
    let tags = |deployment, host, workspace| {
        [("sb:deployment", deployment), ("sb:host", host), ("sb:workspace", workspace), ("sb:target", "aws")]
    };
    server.has("afar", "CREATE_COMPLETE", &tags("shop@aws/1", "elsewhere", "/w/.sb"));
    server.has("beside", "CREATE_COMPLETE", &tags("news@aws/2", host.trim(), state.to_str().unwrap()));
    let lock = std::fs::File::create(run.join("lock")).unwrap();
    lock.lock().unwrap();

    let found = aws.sb(&["leaks", "--account"]).expect(4);
    assert!(found.stdout.contains("workspace /w/.sb on the machine elsewhere"), "{}", found.stdout);
    assert!(found.stdout.contains("costs while unused: nothing by the hour"), "{}", found.stdout);
    assert!(!found.stdout.contains("news"), "{}", found.stdout);
    let spared = aws.sb(&["leaks", "--account", "--remove", "--yes"]).expect(4);
    assert!(spared.stderr.contains("a run on the machine `elsewhere` may work on it"), "{}", spared.stderr);
    assert_eq!(server.begun("delete"), 0);

    lock.unlock().unwrap();
    for asked in [["leaks", "--account", "--target", "local"], ["leaks", "--account", "paper", "shop@local"]]
    {
        let none = aws.sb(&asked).expect(0);
        assert!(
            none.stderr.contains("carries the tag of a deployment that was asked for"),
            "{}",
            none.stderr
        );
    }
    aws.sb(&["leaks", "--account", "news@aws", "--target", "aws", "--remove", "--yes"]).expect(0);
    assert_eq!(server.left(), ["afar CREATE_COMPLETE"]);
    aws.sb(&["leaks", "--account", "--remove", "--yes", "--force"]).expect(0);
    assert_eq!(server.left(), Vec::<String>::new());
}

#[test]
fn without_credentials_or_an_answer_nothing_is_made_and_nothing_is_owed() {
    let aws = OnAws::new("http://127.0.0.1:9");
    let mut command = aws.command(&["prepare"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", aws.work.path());
    let ran = Ran::of(command.output().unwrap()).expect(1);
    assert!(ran.stderr.contains("there are no AWS credentials here"), "{}", ran.stderr);
    assert!(!aws.record().exists());
    aws.sb(&["cleanup"]).expect(0);
    // A region that nobody answers for is not asked again at the cleanup.
    let ran = aws.sb(&["prepare"]).expect(1);
    assert!(ran.stderr.contains("us-east-1"), "{}", ran.stderr);
    assert!(!aws.record().exists());
    aws.sb(&["cleanup"]).expect(0);
    aws.sb(&["leaks"]).expect(0);
}

/// A runner is killed at many moments of a deployment and of a cleanup: the next one goes on with the same stack.
#[test]
fn a_killed_runner_begins_no_second_stack_and_loses_no_debt() {
    const MOMENTS: u64 = 12;
    for moment in 0..MOMENTS {
        let server = Server::start(Manners { looks_per_change: 1, ..Manners::default() });
        let aws = OnAws::new(&server.endpoint);
        for (command, lasts_ms) in [("prepare", 2_400), ("cleanup", 1_500)] {
            let mut runner = aws.command(&[command]).stderr(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(60 + moment * lasts_ms / MOMENTS));
            let _ = runner.kill();
            let _ = runner.wait();
            aws.sb(&["resume"]);
            // Where the runner had not begun, there is nothing to resume.
            let is_done = match command {
                "prepare" => server.left().iter().any(|stack| stack.ends_with(" CREATE_COMPLETE")),
                _ => server.left().is_empty(),
            };
            if !is_done {
                aws.sb(&[command]).expect(0);
            }
            if command == "prepare" {
                assert_eq!((server.begun("create"), server.left().len()), (1, 1), "{:?}", server.left());
            }
        }
        assert_eq!(
            (server.begun("create"), server.begun("delete"), server.left()),
            (1, 1, vec![]),
            "moment {moment}"
        );
        aws.sb(&["leaks"]).expect(0);
    }
}

#[test]
#[ignore = "needs: moto"]
fn code_is_uploaded_and_everything_is_removed_again_against_moto() {
    let aws = OnAws::new("");
    let moto = Moto::start(&aws.work);
    let aws = OnAws { endpoint: moto.endpoint.clone(), ..aws };
    aws.work.write("src/app.py", "def handler(event, context):\n    return {}\n");
    let code = "  Role:\n    Type: AWS::IAM::Role\n    Properties:\n      AssumeRolePolicyDocument: {Version: '2012-10-17', \
                Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: 'sts:AssumeRole'}]}\n  \
                Code:\n    Type: AWS::Lambda::Function\n    Properties:\n      Code: src\n      Handler: app.handler\n      \
                Runtime: python3.12\n      Role: !GetAtt Role.Arn\n  Files:\n    Type: AWS::S3::Bucket\nOutputs:\n";
    let plain =
        TEMPLATE.replace("Table:\n    Type: AWS::DynamoDB::Table\n", "Jobs:\n    Type: AWS::SQS::Queue\n");
    aws.work.write("template.yaml", &plain.replace("Outputs:\n", code));
    aws.sb(&["prepare"]).expect(0);
    let record = aws.work.read(".sb/stacks/demo@aws/stack.json");
    let names: serde_json::Value = serde_json::from_str(&record).unwrap();
    let lists = |path: &str| {
        let listed = Command::new("curl").args(["-s", &format!("{}{path}", moto.endpoint)]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    let bucket = names["bucket"].as_str().unwrap();
    assert!(
        lists(&format!("/{bucket}?list-type=2")).contains(".zip</Key>"),
        "{}",
        lists(&format!("/{bucket}"))
    );
    assert_eq!(names["had"]["buckets"].as_array().unwrap().len(), 1);
    // What an application leaves in its bucket is no hindrance.
    let files = names["had"]["buckets"][0].as_str().unwrap();
    let put = ["-s", "-X", "PUT", "-d", "x", &format!("{}/{files}/left", moto.endpoint)];
    assert!(Command::new("curl").args(put).status().unwrap().success());
    aws.sb(&["cleanup"]).expect(0);
    assert!(!lists("/").contains("<Name>"), "{}", lists("/"));
    aws.sb(&["leaks"]).expect(0);
}
