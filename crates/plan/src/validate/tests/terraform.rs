//! Steps with `terraform`: what they are written out as.

use super::*;
use crate::benchmark::{Command, Tool, ToolStep};

const TARGETS: &str = "[params]\nregion = \"eu-west-1\"\nmemory = 512\nkey = { env = \"KEY\", secret = true }\n\
                       deploy_id = { random_hex = 10 }\n[targets.aws]\ncredentials = [\"aws\"]\n[targets.azure]\ncredentials = [\"azure\"]\n[targets.here]\n";

const FOLDER: &str = "variable \"region\" {}\nvariable \"memory\" {\n  type = number\n}\nvariable \"key\" {\n  type = string\n  sensitive = true\n}\n\
                      variable \"names\" {\n  type = list(string)\n  default = []\n}\n\
                      output \"url\" {\n  value = \"https://x\"\n}\noutput \"token\" {\n  value = var.key\n  sensitive = true\n}\n";

const STEP: &str = "[[deploy]]\nname = \"cloud\"\nterraform = { dir = \"infra\" }\n";

fn with_folder(folder: &str, steps: &str) -> Checked<Arc<Benchmark>> {
    let files = Snapshot::new([
        ("/repo/app/benchmark.toml", format!("{HEAD}{TARGETS}{steps}")),
        ("/repo/app/infra/main.tf", folder.to_owned()),
        ("/repo/app/empty/README.md", "none".to_owned()),
    ]);
    aside(benchmark(&files, Path::new("/repo/app/benchmark.toml")))
}

#[track_caller]
fn valid(steps: &str) -> Arc<Benchmark> {
    let checked = with_folder(FOLDER, steps);
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    checked.value.unwrap()
}

#[track_caller]
fn tool(step: &ManifestStep) -> (&ToolStep, &str) {
    match &step.action {
        Action::Tool(tool) => match &tool.command {
            Command::Shell(script) => (tool, script.source()),
            Command::Argv(words) => panic!("{words:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_is_applied_and_the_implied_cleanup_destroys_it() {
    let benchmark = valid(&format!(
        "{STEP}timeout = \"20m\"\n[[deploy]]\nname = \"ready\"\nwait_for = {{ http = \"{{{{outputs.url}}}}/x\" }}\n"
    ));
    for (name, credentials) in [("aws", vec!["aws"]), ("azure", vec!["azure"]), ("here", vec![])] {
        let target = &benchmark.targets[name];
        let [deploy, _] = target.deploy.as_slice() else { panic!("{target:#?}") };
        let [cleanup] = target.cleanup.as_slice() else { panic!("{target:#?}") };
        for step in [deploy, cleanup] {
            assert_eq!(step.environment.credentials, credentials, "{name}");
            assert_eq!(
                step.environment.image,
                Some(crate::benchmark::Image::Default("terraform".to_owned()))
            );
            assert_eq!(tool(step).0.tool, Tool::Terraform);
        }
        assert_eq!((cleanup.name.as_str(), cleanup.retry.attempts), ("cloud", 3));
    }
    let target = &benchmark.targets["here"];
    insta::assert_snapshot!("terraform_up", tool(&target.deploy[0]).1);
    insta::assert_snapshot!("terraform_down", tool(&target.cleanup[0]).1);
    let outputs = &target.deploy[0].outputs;
    let secrets: Vec<_> = outputs.iter().map(|(name, output)| (name.as_str(), output.secret)).collect();
    assert_eq!(secrets, [("token", true), ("url", false)]);
}

#[test]
fn values_of_a_step_come_before_those_of_the_benchmark_and_secrets_are_allowed() {
    let given = STEP.replace(
        " }\n",
        ", program = \"tofu\", variables = { memory = \"{{params.memory}}0\", names = '[\"{{params.deploy_id}}\"]' } }\n",
    );
    let benchmark = valid(&given);
    let step = &benchmark.targets["here"].deploy[0];
    let (tool, script) = tool(step);
    let values: Vec<_> = tool
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.value.source(), value.is_expression))
        .collect();
    assert_eq!(
        values,
        [
            ("key", "{{params.key}}", false),
            ("memory", "{{params.memory}}0", false),
            ("names", "[\"{{params.deploy_id}}\"]", true),
            ("region", "{{params.region}}", false),
        ]
    );
    assert!(script.contains("\ntool=tofu\nfolder=infra\n") && !script.contains("params.key"), "{script}");
    assert_eq!(step.environment.image, Some(crate::benchmark::Image::Default("tofu".to_owned())));
}

#[test]
fn a_written_cleanup_of_the_same_name_replaces_the_implied_one() {
    let benchmark = valid(&format!(
        "{STEP}[[cleanup]]\nname = \"cloud\"\nterraform = {{ down = true }}\nretry = {{ attempts = 7 }}\n"
    ));
    let [only] = benchmark.targets["aws"].cleanup.as_slice() else { panic!("{benchmark:?}") };
    assert!(tool(only).1.contains("apply -destroy"), "{}", tool(only).1);
    assert_eq!((only.retry.attempts, only.environment.credentials.as_slice()), (7, &["aws".to_owned()][..]));
    let benchmark = valid(&format!("{STEP}[[cleanup]]\nname = \"cloud\"\nrun = \"make delete\"\n"));
    let [only] = benchmark.targets["aws"].cleanup.as_slice() else { panic!("{benchmark:?}") };
    assert!(matches!(only.action, Action::Run(_)));
}

#[test]
fn terraform_steps_that_cannot_work_are_refused() {
    #[track_caller]
    fn check(folder: &str, steps: &str, expected: &str) {
        let checked = with_folder(folder, steps);
        let found: Vec<_> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(found.contains(&expected), "{expected:?} is not among {found:#?}");
    }
    let changed = |from: &str, to: &str| {
        let steps = STEP.replace(from, to);
        assert_ne!(steps, STEP);
        steps
    };
    check(FOLDER, &changed("infra", "other"), "the Terraform folder `other` does not exist");
    check(
        FOLDER,
        &changed("infra", "infra/main.tf"),
        "the Terraform folder `infra/main.tf` is a file, not a folder",
    );
    check(
        FOLDER,
        &changed("infra", "empty"),
        "the Terraform folder `empty` has no file that ends with `.tf`",
    );
    let backend = format!("{FOLDER}terraform {{\n  backend \"s3\" {{}}\n}}\n");
    check(&backend, STEP, "`backend \"s3\"` in `main.tf` keeps the state elsewhere");
    check(&format!("{FOLDER}variable \"more\" {{}}\n"), STEP, "the variable `more` has no value");
    check(
        FOLDER,
        &changed(" }\n", ", variables = { nmaes = \"1\" } }\n"),
        "the Terraform folder has no variable `nmaes`",
    );
    check(
        FOLDER,
        &changed(" }\n", ", variables = { names = \"{{params.x}}\" } }\n"),
        "`{{params.x}}` is not defined here",
    );
    check(FOLDER, &format!("{STEP}run = \"true\"\n"), "the step `cloud` has both `run` and `terraform`");
    let both = "bicep = { template = \"main.bicep\" }\n";
    check(FOLDER, &format!("{STEP}{both}"), "the step `cloud` has both `bicep` and `terraform`");
    check(FOLDER, &format!("{STEP}workdir = \"azure\"\n"), "`workdir` belongs to steps with `run`");
    check(
        FOLDER,
        &format!("{STEP}outputs.x = {{ line = 1 }}\n"),
        "a `terraform` step has the outputs of what it deploys",
    );
    check(
        FOLDER,
        &STEP.replace("[[deploy]]", "[[cleanup]]"),
        "`terraform = { dir = … }` belongs to deploy steps",
    );
    let down = "name = \"cloud\"\nterraform = { down = true }\n";
    check(FOLDER, &format!("[[deploy]]\n{down}"), "`terraform = { down = true }` belongs to cleanup steps");
    check(
        FOLDER,
        &format!("[[cleanup]]\n{down}"),
        "no deploy step called `cloud` deploys a Terraform folder on the target `aws`",
    );
    check(
        FOLDER,
        &format!("{STEP}[[cleanup]]\n{}", down.replace("true }", "true, program = \"tofu\" }")),
        "`terraform` takes either `dir`, with values for it, or `down = true`",
    );
}

#[test]
fn a_mistake_that_an_implied_cleanup_repeats_is_said_once() {
    let checked = with_folder(
        FOLDER,
        &format!("{STEP}credentials = [\"aws\", \"awz\"]\ntarget = \"aws\"\nimage = \"nosuch\"\n"),
    );
    let said: Vec<_> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
    for part in ["awz", "nosuch"] {
        assert_eq!(said.iter().filter(|message| message.contains(part)).count(), 1, "{part}: {said:#?}");
    }
}
