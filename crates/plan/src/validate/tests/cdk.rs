//! Steps with `cdk`: a synthesis, and then a stack.

use super::*;
use crate::benchmark::{Command, Image, StackUp};

const TARGETS: &str = "[params]\nmemory = 512\nkey = { env = \"KEY\", secret = true }\n\
                       [targets.aws]\ncredentials = [\"aws\"]\n[targets.local]\ntraces = \"local\"\n";

const STEP: &str = "[[deploy]]\nname = \"cloud\"\ntarget = \"aws\"\n\
                    cdk = { dir = \"infra\", app = \"node app.js\", stack = \"Shop\", context = { memory = \"{{params.memory}}\" } }\n\
                    outputs.url = { json = \"/Url\" }\n";

fn with_app(steps: &str) -> Checked<Arc<Benchmark>> {
    let files = Snapshot::new([
        ("/repo/app/benchmark.toml", format!("{HEAD}{TARGETS}{steps}")),
        ("/repo/app/infra/app.js", String::new()),
    ]);
    aside(benchmark(&files, Path::new("/repo/app/benchmark.toml")))
}

#[track_caller]
fn valid(steps: &str) -> Arc<Benchmark> {
    let checked = with_app(steps);
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    checked.value.unwrap()
}

fn stack(step: &ManifestStep) -> (&StackUp, &str) {
    match &step.action {
        Action::StackUp(up) => match &up.synthesis.as_ref().unwrap().command {
            Command::Shell(script) => (up, script.source()),
            Command::Argv(words) => panic!("{words:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_application_is_synthesized_and_its_stack_is_removed_by_the_implied_cleanup() {
    let benchmark = valid(&format!(
        "{STEP}[[deploy]]\nname = \"ready\"\ntarget = \"aws\"\nwait_for = {{ http = \"{{{{outputs.url}}}}/x\" }}\n"
    ));
    let target = &benchmark.targets["aws"];
    let [deploy, _] = target.deploy.as_slice() else { panic!("{target:#?}") };
    let [cleanup] = target.cleanup.as_slice() else { panic!("{target:#?}") };
    let (up, script) = stack(deploy);
    insta::assert_snapshot!("cdk_up", script);
    assert_eq!(up.synthesis.as_ref().unwrap().stack.as_deref(), Some("Shop"));
    assert!(up.template.ends_with("app/infra"), "{up:?}");
    assert_eq!(deploy.environment.image, Some(Image::Default("cdk".to_owned())));
    assert_eq!(deploy.environment.credentials, ["aws"]);
    assert_eq!((&cleanup.action, cleanup.name.as_str()), (&Action::StackDown, "cloud"));
    assert!(benchmark.targets["local"].cleanup.is_empty());
    let written = format!(
        "{STEP}[[cleanup]]\nname = \"cloud\"\ntarget = \"aws\"\ncdk = {{ down = true }}\nretry = {{ attempts = 7 }}\n"
    );
    let benchmark = valid(&written);
    let [only] = benchmark.targets["aws"].cleanup.as_slice() else { panic!("{benchmark:?}") };
    assert_eq!((&only.action, only.retry.attempts), (&Action::StackDown, 7));
}

#[test]
fn cdk_steps_that_cannot_work_are_refused() {
    #[track_caller]
    fn check(steps: &str, expected: &str) {
        let checked = with_app(steps);
        let found: Vec<_> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(found.contains(&expected), "{expected:?} is not among {found:#?}");
    }
    check(&STEP.replace("infra", "other"), "the folder of the CDK application `other` does not exist");
    check(&STEP.replace("target = \"aws\"\n", ""), "`cdk` deploys to AWS, and `local` is another platform");
    check(
        &STEP.replace("params.memory", "params.key"),
        "the secret `{{params.key}}` would land in an argument list, which every process can read",
    );
    check(&STEP.replace("[[deploy]]", "[[cleanup]]"), "`cdk = { dir = … }` belongs to deploy steps");
    check(&format!("{STEP}workdir = \"x\"\n"), "`workdir` belongs to steps with `run`");
    check(&format!("{STEP}wait = \"1s\"\n"), "the step `cloud` has both `wait` and `cdk`");
    check(
        "[[cleanup]]\nname = \"cloud\"\ntarget = \"aws\"\ncdk = { down = true }\n",
        "no deploy step called `cloud` deploys a CDK application on the target `aws`",
    );
}
