//! Steps with `sam`, on each platform.

use super::*;

const STACKED: &str =
    "[targets.aws]\ncredentials = [\"aws\"]\ntraces = \"xray\"\n[targets.local]\ntraces = \"local\"\n";

/// A benchmark with a template, on AWS and on this machine.
fn with_stack(steps: &str) -> Checked<Arc<Benchmark>> {
    let files = Snapshot::new([
        ("/repo/app/benchmark.toml", format!("{HEAD}{STACKED}{steps}")),
        ("/repo/app/template.yaml", format!("{TEMPLATE}  Endpoint:\n    Value: y\n")),
        ("/repo/app/src/handler.py", "def main(event, context): return {}\n".to_owned()),
    ]);
    benchmark(&files, Path::new("/repo/app/benchmark.toml"))
}

#[track_caller]
fn valid(steps: &str) -> Arc<Benchmark> {
    let checked = with_stack(steps);
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    checked.value.unwrap()
}

#[test]
fn a_sam_step_is_a_stack_or_the_local_target_and_brings_its_cleanup() {
    let benchmark = valid(
        "[[deploy]]\nname = \"stack\"\nsam = { template = \"template.yaml\" }\n\
         [[deploy]]\nname = \"ready\"\nwait_for = { http = \"{{outputs.endpoint}}/x\" }\n\
         [[cleanup]]\nname = \"other\"\nrun = \"true\"\n",
    );
    let (aws, local) = (&benchmark.targets["aws"], &benchmark.targets["local"]);
    assert!(matches!(&aws.deploy[0].action, Action::StackUp(up) if up.template.ends_with("template.yaml")));
    assert_eq!(aws.deploy[0].environment.credentials, ["aws"]);
    assert!(matches!(local.deploy[0].action, Action::LocalUp(_)));
    let cleanup = |steps: &[Arc<ManifestStep>]| {
        steps.iter().map(|step| (step.name.clone(), step.needs.clone())).collect::<Vec<_>>()
    };
    let expected = [("other".to_owned(), Vec::new()), ("stack".to_owned(), vec!["other".to_owned()])];
    assert_eq!(cleanup(&aws.cleanup), expected);
    assert_eq!(cleanup(&local.cleanup), expected);
    assert_eq!(aws.cleanup[1].action, Action::StackDown);
    assert_eq!(aws.cleanup[1].retry.attempts, 3);
    assert_eq!(local.cleanup[1].action, Action::LocalDown { failures: 0 });
}

#[test]
fn a_written_cleanup_of_the_same_name_replaces_the_implied_one() {
    let benchmark = valid(
        "[[deploy]]\nname = \"stack\"\nsam = { template = \"template.yaml\" }\n\
         [[cleanup]]\nname = \"stack\"\ntarget = \"aws\"\nrun = \"make delete\"\n",
    );
    let [only] = benchmark.targets["aws"].cleanup.as_slice() else { panic!("{benchmark:?}") };
    assert!(matches!(only.action, Action::Run(_)));
    assert_eq!(benchmark.targets["local"].cleanup[0].action, Action::LocalDown { failures: 0 });
}

#[test]
fn sam_steps_that_cannot_work_are_refused() {
    #[track_caller]
    fn check(steps: &str, expected: &str) {
        let checked = with_stack(steps);
        let found: Vec<_> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(found.contains(&expected), "{expected:?} is not among {found:#?}");
    }
    let sam = "sam = { template = \"template.yaml\" }";
    check(
        &format!("[targets.other]\n[[deploy]]\nname = \"stack\"\n{sam}\n"),
        "`sam` deploys to AWS or to the local target, and `other` is neither",
    );
    check(
        &format!("[targets.other]\nplatform = \"aws\"\n[[deploy]]\nname = \"stack\"\n{sam}\n"),
        "the target `other` does not allow `aws` credentials",
    );
    check(
        &format!("[[deploy]]\nname = \"stack\"\n{sam}\nrun = \"true\"\n"),
        "the step `stack` has both `run` and `sam`",
    );
    check(
        &format!("[[cleanup]]\nname = \"stack\"\ntarget = \"aws\"\n{sam}\n"),
        "`sam = { template = … }` belongs to deploy steps",
    );
    check(
        "[[cleanup]]\nname = \"stack\"\ntarget = \"aws\"\nsam = { down = true }\n",
        "no deploy step called `stack` makes a stack on the target `aws`",
    );
    check(
        "[[deploy]]\nname = \"stack\"\nsam = { template = \"template.yaml\", parameters = { Size = \"1\" } }\n",
        "the template has no parameter `Size`",
    );
    check(
        &format!("[[deploy]]\nname = \"stack\"\n{sam}\noutputs.x = {{ line = 1 }}\n"),
        "a `sam` step has the outputs of its template",
    );
}

#[test]
fn a_parameter_without_a_value_is_found_before_anything_is_deployed() {
    let manifest = format!(
        "{HEAD}[targets.aws]\ncredentials = [\"aws\"]\n[[deploy]]\nname = \"stack\"\nsam = {{ template = \"template.yaml\" }}\n"
    );
    let files = Snapshot::new([
        ("/repo/app/benchmark.toml", manifest),
        (
            "/repo/app/template.yaml",
            "Parameters:\n  Must:\n    Type: String\nResources:\n  B:\n    Type: AWS::S3::Bucket\n"
                .to_owned(),
        ),
    ]);
    let checked = benchmark(&files, Path::new("/repo/app/benchmark.toml"));
    let said = rendered(&checked.problems);
    assert!(said.contains("parameter `Must` has no value"), "{said}");
}
