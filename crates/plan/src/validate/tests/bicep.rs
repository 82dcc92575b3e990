//! Steps with `bicep`: what they are written out as.

use super::*;
use crate::benchmark::Command;

const ON_AZURE: &str = "[params]\nregion = \"eastus\"\nmax_side = 160\nmore = \"it's\"\nkey = { env = \"KEY\", secret = true }\n\
                        deploy_id = { random_hex = 10 }\n[targets.azure]\ncredentials = [\"azure\"]\n[targets.local]\ntraces = \"local\"\n";

const BICEP: &str = "// param notThis string
/* param norThis string
output orThis string = 'x' */
@description('Part of every name, with a quote: \\' and // no comment')
param deployId string
param maxSide int
param more string = 'a${toLower('b')}c'
param nothing string?
param location string = resourceGroup().location

var text = '''
param inText string
'''

output endpoint string = 'https://x'
output app_insights_id string = text
";

const STEP: &str = "[[deploy]]\nname = \"cloud\"\ntarget = \"azure\"\nbicep = { template = \"azure/main.bicep\", \
                    group = \"sb-demo-{{params.deploy_id}}\", location = \"{{params.region}}\" }\n";

fn with_bicep(steps: &str) -> Checked<Arc<Benchmark>> {
    let files = Snapshot::new([
        ("/repo/app/benchmark.toml", format!("{HEAD}{ON_AZURE}{steps}")),
        ("/repo/app/azure/main.bicep", BICEP.to_owned()),
    ]);
    aside(benchmark(&files, Path::new("/repo/app/benchmark.toml")))
}

#[track_caller]
fn valid(steps: &str) -> Arc<Benchmark> {
    let checked = with_bicep(steps);
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    checked.value.unwrap()
}

fn script(step: &ManifestStep) -> &str {
    match &step.action {
        Action::Tool(tool) => match &tool.command {
            Command::Shell(template) => template.source(),
            Command::Argv(words) => panic!("{words:?}"),
        },
        Action::Run(Command::Shell(template)) => template.source(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_template_is_deployed_into_a_group_that_the_implied_cleanup_deletes() {
    let benchmark = valid(&format!(
        "{STEP}timeout = \"20m\"\n[[deploy]]\nname = \"ready\"\ntarget = \"azure\"\nwait_for = {{ http = \"{{{{outputs.endpoint}}}}/x/{{{{outputs.app_insights_id}}}}\" }}\n"
    ));
    let target = &benchmark.targets["azure"];
    let [deploy, _] = target.deploy.as_slice() else { panic!("{target:#?}") };
    let [cleanup] = target.cleanup.as_slice() else { panic!("{target:#?}") };
    insta::assert_snapshot!("bicep_up", script(deploy));
    insta::assert_snapshot!("bicep_down", script(cleanup));
    assert_eq!(
        deploy.outputs.keys().map(String::as_str).collect::<Vec<_>>(),
        ["app_insights_id", "endpoint"]
    );
    assert_eq!((cleanup.name.as_str(), cleanup.retry.attempts, deploy.retry.attempts), ("cloud", 3, 3));
    for step in [deploy, cleanup] {
        assert_eq!(step.environment.credentials, ["azure"]);
        assert!(step.environment.image.is_some());
    }
    assert!(benchmark.targets["local"].cleanup.is_empty());
}

#[test]
fn values_of_a_step_come_before_those_of_the_benchmark() {
    let given = STEP.replace(
        " }\n",
        ", parameters = { maxSide = \"{{params.max_side}}\", more = \"a b'c $(x) {{params.more}}\", nothing = \"\" } }\n",
    );
    let benchmark = valid(&given);
    let script = script(&benchmark.targets["azure"].deploy[0]);
    for expected in [
        "deployId={{params.deploy_id}}",
        "maxSide={{params.max_side}}",
        "more='a b'\\''c $(x) '{{params.more}}",
        " nothing=\n",
    ] {
        assert!(script.contains(expected), "{expected} is not in {script}");
    }
}

#[test]
fn a_written_cleanup_of_the_same_name_replaces_the_implied_one() {
    let benchmark = valid(&format!(
        "{STEP}[[cleanup]]\nname = \"cloud\"\ntarget = \"azure\"\nbicep = {{ down = true }}\nretry = {{ attempts = 7 }}\ntimeout = \"1h\"\n"
    ));
    let [only] = benchmark.targets["azure"].cleanup.as_slice() else { panic!("{benchmark:?}") };
    assert!(script(only).contains("az group delete --name \"$group\" --yes"), "{}", script(only));
    assert_eq!((only.retry.attempts, only.timeout), (7, Some(Duration::from_hours(1))));
    let benchmark =
        valid(&format!("{STEP}[[cleanup]]\nname = \"cloud\"\ntarget = \"azure\"\nrun = \"make delete\"\n"));
    let [only] = benchmark.targets["azure"].cleanup.as_slice() else { panic!("{benchmark:?}") };
    assert_eq!(script(only), "make delete");
    let own = "image = \"me/az:1\"\nenv = { AZURE_CORE_OUTPUT = \"none\" }\n";
    let benchmark = valid(&format!("{STEP}{own}"));
    let target = &benchmark.targets["azure"];
    assert_eq!(target.cleanup[0].environment, target.deploy[0].environment);
}

#[test]
fn bicep_steps_that_cannot_work_are_refused() {
    #[track_caller]
    fn check(steps: &str, expected: &str) {
        let checked = with_bicep(steps);
        let found: Vec<_> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(found.contains(&expected), "{expected:?} is not among {found:#?}");
    }
    let changed = |from: &str, to: &str| {
        let steps = STEP.replace(from, to);
        assert_ne!(steps, STEP);
        steps
    };
    check(&changed("target = \"azure\"\n", ""), "`bicep` deploys to Azure, and `local` is another platform");
    check(&changed("target = \"azure\"", "target = \"azur\""), "unknown target `azur`");
    check(&changed("main.bicep", "other.bicep"), "the Bicep template `azure/other.bicep` does not exist");
    let same = "deployments would have the same resource group";
    check(&changed("-{{params.deploy_id}}", ""), same);
    // Two deployments of one plan have these alike: the first that is cleaned up would delete the other's group.
    check(&changed("params.deploy_id", "params.more"), same);
    check(&changed("params.deploy_id", "target"), same);
    check(&changed("sb-demo-", "sb/demo-"), "the name of a resource group cannot hold `/`");
    let long = "a".repeat(81);
    check(&changed("sb-demo-", &long), "the name of the resource group has 91 characters or more");
    check(
        &format!("{STEP}{}", STEP.replace("\"cloud\"", "\"more\"")),
        "the steps `cloud` and `more` deploy into the same resource group",
    );
    check(&changed("params.deploy_id", "params.deploy_di"), "`{{params.deploy_di}}` is not defined here");
    check(&changed(", location = \"{{params.region}}\"", ""), "a `bicep` step needs `location`");
    check(&changed("group = \"sb-demo-{{params.deploy_id}}\", ", ""), "a `bicep` step needs `group`");
    check(&changed(" }\n", ", parameters = { max = \"1\" } }\n"), "the template has no parameter `max`");
    check(
        &changed(" }\n", ", parameters = { more = \"{{params.key}}\" } }\n"),
        "the secret `{{params.key}}` would land in an argument list, which every process can read",
    );
    check(&format!("{STEP}run = \"true\"\n"), "the step `cloud` has both `run` and `bicep`");
    check(&format!("{STEP}workdir = \"azure\"\n"), "`workdir` belongs to steps with `run`");
    check(
        &format!("{STEP}outputs.x = {{ line = 1 }}\n"),
        "a `bicep` step has the outputs of what it deploys",
    );
    check(&STEP.replace("[[deploy]]", "[[cleanup]]"), "`bicep = { template = … }` belongs to deploy steps");
    let down = "name = \"cloud\"\ntarget = \"azure\"\nbicep = { down = true }\n";
    check(&format!("[[deploy]]\n{down}"), "`bicep = { down = true }` belongs to cleanup steps");
    check(
        &format!("[[cleanup]]\n{down}"),
        "no deploy step called `cloud` deploys a Bicep template on the target `azure`",
    );
    check(
        &format!(
            "{STEP}[[cleanup]]\nname = \"cloud\"\ntarget = \"azure\"\nbicep = {{ down = true, location = \"x\" }}\n"
        ),
        "`bicep` takes either `template`, with values for it, or `down = true`",
    );
}

#[test]
fn a_parameter_without_a_value_is_found_before_anything_is_deployed() {
    let files = Snapshot::new([
        ("/repo/app/benchmark.toml", format!("{HEAD}{ON_AZURE}{STEP}")),
        (
            "/repo/app/azure/main.bicep",
            "param deployId string\nparam key string\nparam size int\n".to_owned(),
        ),
    ]);
    let said = rendered(&benchmark(&files, Path::new("/repo/app/benchmark.toml")).problems);
    // A secret goes to no command line, also not by its name.
    assert!(said.contains("parameter `key` has no value"), "{said}");
    assert!(said.contains("parameter `size` has no value"), "{said}");
    assert!(!said.contains("parameter `deployId` has no value"), "{said}");
}
