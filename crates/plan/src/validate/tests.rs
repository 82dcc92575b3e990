//! Whole files through the public functions, and what their problems look like to a reader.

mod background;
mod bicep;
mod cdk;
mod code;
mod factors;
mod help;
mod hostile;
mod idle;
mod kind;
mod plans;
mod requests;
mod scripts;
mod stacks;
mod terraform;
mod wrong;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::benchmark::{
    Action, Benchmark, Image, Limits, ManifestStep, ParamSource, Retry, Script, Sent, Traces,
};
use crate::event::FailureClass;
use crate::manifest::LoadArguments;
use crate::manifest::problem::{Checked, Problem};
use crate::manifest::read::{Disk, Files, Kept, Recording, Snapshot};
use crate::plan::{LatencyFigure, Order, Overrides, Plan, Start, Until, describe};
use sb_sam::dynamics::{Delay, Dynamics};
use sb_workload::{Body, Load, LoadShape};

const HEAD: &str = "[benchmark]\nname = \"demo\"\n";
const TEMPLATE: &str = "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: handler.main\n      \
                        Runtime: python3.12\n      CodeUri: src/\n      Events: {Any: {Type: Api, Properties: {Path: '/{any+}', Method: ANY}}}\nOutputs:\n  QueueUrl:\n    Value: x\n";

/// Warnings about what has no effect or is never removed: the manifests of these tests are parts, and have such things. The
/// rules' own examples show them.
const ASIDE: [&str; 7] = [
    "no-cleanup",
    "unused-credentials",
    "unused-image",
    "unused-lock",
    "unused-param",
    "unused-var",
    "unused-workload",
];

/// Every finding of these tests has a severity that its rule states.
#[track_caller]
fn aside<T>(mut checked: Checked<T>) -> Checked<T> {
    for problem in &checked.problems {
        let rule = crate::rules::rule(problem.code).unwrap_or_else(|| panic!("no rule {}", problem.code));
        let is_stated = rule.severities().any(|severity| severity == problem.severity);
        assert!(is_stated, "{} is {}", problem.code, problem.severity.word());
    }
    checked.problems.retain(|problem| !ASIDE.contains(&problem.code));
    checked
}

fn benchmark(files: &dyn Files, path: &Path) -> Checked<Arc<Benchmark>> {
    aside(super::benchmark(files, path))
}

fn plan(files: &dyn Files, path: &Path, overrides: &Overrides) -> Checked<Plan> {
    aside(super::plan(files, path, overrides))
}

/// Problems as people see them.
fn rendered(problems: &[Problem]) -> String {
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false);
    let mut out = String::new();
    for problem in problems {
        handler.render_report(&mut out, problem).unwrap();
        let _ = writeln!(out);
    }
    out
}

fn files(manifest: &str) -> Snapshot {
    Snapshot::new([
        ("/repo/.git/HEAD", ""),
        ("/repo/app/benchmark.toml", manifest),
        ("/repo/app/template.yaml", TEMPLATE),
        ("/repo/app/src/handler.py", ""),
        ("/repo/app/images/cat.jpg", "cat"),
        ("/repo/app/deploy.Dockerfile", "FROM alpine"),
        ("/repo/other/Dockerfile", "FROM alpine"),
    ])
}

fn read(manifest: &str) -> Checked<Arc<Benchmark>> {
    benchmark(&files(manifest), Path::new("/repo/app/benchmark.toml"))
}

#[track_caller]
fn valid(manifest: &str) -> Arc<Benchmark> {
    let checked = read(manifest);
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    checked.value.unwrap()
}

/// Every error's code, in order, and the picture of all of them as a stored snapshot.
#[track_caller]
fn check(name: &str, manifest: &str, codes: &[&str]) {
    let checked = read(manifest);
    let found: Vec<&str> = checked.problems.iter().map(|problem| problem.code).collect();
    let codes: Vec<String> = codes.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(found, codes, "{}", rendered(&checked.problems));
    assert_eq!(checked.value.is_none(), checked.problems.iter().any(Problem::is_error));
    insta::assert_snapshot!(name, rendered(&checked.problems));
}

fn with_local(rest: &str) -> String {
    format!("{HEAD}[targets.local]\n{rest}")
}

#[test]
fn several_syntax_errors_are_all_reported() {
    check(
        "toml_syntax",
        "[benchmark]\nname = \"x\nroot = \n[targets.local]\na = 1\na = 2\nwhen = 2024-01-01\n",
        &["syntax", "syntax", "duplicate-key", "syntax"],
    );
}

#[test]
fn bytes_that_are_not_text_are_reported() {
    let files = Snapshot::new([("/b/benchmark.toml", b"[benchmark]\nname = \"a\xff\"\n".to_vec())]);
    let checked = benchmark(&files, Path::new("/b/benchmark.toml"));
    insta::assert_snapshot!("not_utf8", rendered(&checked.problems));
    assert_eq!(checked.problems[0].line_column(), Some((2, 10)));
}

#[test]
fn deep_nesting_is_refused() {
    for (path, open, close) in [("/b/x.toml", "a = ", "\n"), ("/b/x.yaml", "a: ", "\n")] {
        let text = format!("{open}{}{}{close}", "[".repeat(100_000), "]".repeat(100_000));
        let checked = benchmark(&Snapshot::new([(path, text)]), Path::new(path));
        assert_eq!(checked.problems[0].code, "syntax");
    }
    let text = format!("{}x = 1\n", "a.".repeat(50_000));
    assert!(benchmark(&Snapshot::new([("/b/x.toml", text)]), Path::new("/b/x.toml")).value.is_none());
}

#[test]
fn a_missing_file_is_reported() {
    let checked = benchmark(&Snapshot::default(), Path::new("/b/benchmark.toml"));
    assert_eq!(checked.problems[0].code, "unreadable-file");
}

#[test]
fn unknown_keys_types_and_missing_keys_are_reported_together() {
    check(
        "keys_and_types",
        "[benchmark]\ntitle = \"x\"\nnmae = \"y\"\n\n[targets.local]\ntrases = \"local\"\n\n[[deploy]]\nname = 7\ntimeout = 90\nretry = { attempts = \"2\" }\nrun = \"x\"\nlimits = { memory = \"5 apples\" }\n\n[[deploy]]\nname = \"b\"\nwait = \"soon\"\non_interrupt = \"retry\"\n",
        &[
            "unknown-key",
            "unknown-key",
            "unknown-key",
            "wrong-type",
            "wrong-type",
            "wrong-type",
            "invalid-size",
            "invalid-duration",
            "unknown-word",
        ],
    );
}

#[test]
fn a_wrong_type_does_not_hide_other_mistakes() {
    // The step without a command is not said to do nothing, nor the one that needs `b` to need the unknown.
    check(
        "mixed",
        &with_local(
            "[[deploy]]\nname = \"a b\"\nrun = 5\n[[deploy]]\nname = 6\nrun = \"x\"\n[[deploy]]\nname = \"c\"\nneeds = \"b\"\ntimeuot = \"1s\"\nretry = { attempts = 0 }\nrun = \"echo '{{target}}'\"\n",
        ),
        &["invalid-name", "wrong-type", "wrong-type", "unknown-key", "out-of-range", "unquotable-value"],
    );
}

#[test]
fn a_receiver_of_spans_is_there_before_the_first_step_and_after_the_last() {
    let benchmark = valid(&format!(
        "{HEAD}[targets.host]\ntraces = \"otlp\"\n[targets.other]\n\
         [[deploy]]\ntarget = \"host\"\nname = \"a\"\nrun = \"start {{{{outputs.otlp_endpoint}}}}\"\n\
         [[deploy]]\nname = \"b\"\nneeds = []\nrun = \"x\"\n[[cleanup]]\nname = \"c\"\nrun = \"x\"\n"
    ));
    let steps = |steps: &[Arc<ManifestStep>]| -> Vec<_> {
        steps.iter().map(|step| format!("{} after {}", step.name, step.needs.join(","))).collect()
    };
    let target = &benchmark.targets["host"];
    assert_eq!(
        steps(&target.deploy),
        ["otlp-receiver after ", "a after otlp-receiver", "b after otlp-receiver"]
    );
    assert_eq!(steps(&target.cleanup), ["c after ", "otlp-receiver after c"]);
    let other = &benchmark.targets["other"];
    assert_eq!(
        (steps(&other.deploy), steps(&other.cleanup)),
        (vec!["b after ".to_owned()], vec!["c after ".to_owned()])
    );
}

#[test]
fn settings_of_the_embedded_runtime_reach_its_steps_and_are_checked() {
    const STEPS: &str = "[[deploy]]\nname = \"up\"\nlocal = { template = \"template.yaml\" }\n[[cleanup]]\nname = \"down\"\nlocal = { down = true }\n";
    let with = |settings: &str, steps: &str| with_local(&format!("{settings}\n{steps}"));
    let benchmark = valid(&with(
        "concurrency = 7\nkeep_alive = \"30s\"\nseed = 42\n\
         delays = { cold_start = { median = \"200ms\", p99 = \"1s\" }, trigger = \"50ms\" }\n\
         faults = { throttle = 0.25, lost_message = 1, deploy = 2, cleanup = 1 }",
        STEPS,
    ));
    let target = &benchmark.targets["local"];
    let Action::LocalUp(up) = &target.deploy[0].action else { panic!("{target:?}") };
    let (settings, failures) = (&up.settings, &up.failures);
    assert_eq!((settings.concurrency, settings.keep_alive), (Some(7), Duration::from_secs(30)));
    assert_eq!(*failures, 2);
    let expected = Dynamics {
        seed: 42,
        cold_start: Some(Delay::LogNormal {
            median: Duration::from_millis(200),
            p99: Duration::from_secs(1),
        }),
        trigger: Some(Delay::Fixed(Duration::from_millis(50))),
        throttle: 0.25,
        lost_message: 1.0,
        ..Dynamics::default()
    };
    assert_eq!(settings.dynamics, expected);
    assert_eq!(target.cleanup[0].action, Action::LocalDown { failures: 1 });

    #[track_caller]
    fn check(manifest: &str, expected: &str) {
        let checked = read(manifest);
        let found: Vec<_> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(found.iter().any(|message| message.contains(expected)), "{found:?}");
    }
    check(&with("concurrency = 0", STEPS), "concurrency");
    check(&with("seed = -1", STEPS), "seed");
    check(&with("faults = { throttle = 1.5 }", STEPS), "1.5 is no rate");
    check(&with("faults = { throttle = nan }", STEPS), "not finite");
    check(&with("faults = { deploy = -1 }", STEPS), "number of failures");
    check(&with("delays = { cold_start = \"2h\" }", STEPS), "at most 15 minutes");
    check(&with("delays = { cold_start = 7 }", STEPS), "a duration or a table");
    check(&with("delays = { trigger = { median = \"2s\", p99 = \"1s\" } }", STEPS), "below the median");
    check(&with("function_images = { \"ruby3.4\" = \"i\" }", STEPS), "run in no containers");
    check(
        &with("containers = false\nfunction_images = { \"ruby3.4\" = \"i\" }", STEPS),
        "run in no containers",
    );
    check(&with("seed = 1", "[[deploy]]\nname = \"a\"\nrun = \"x\"\n"), "only the local target");
}

#[test]
fn a_source_of_traces_is_one_and_complete() {
    #[track_caller]
    fn check(traces: &str, expected: &str) {
        let checked = read(&format!(
            "{HEAD}[params]\nkey = {{ env = \"KEY\", secret = true }}\n[targets.x]\ntraces = {traces}\n\
             [[deploy]]\nname = \"a\"\nrun = \"x\"\noutputs.app_id = {{ line = 1 }}\n"
        ));
        let found: Vec<_> = checked.problems.iter().filter(|problem| problem.is_error()).collect();
        let found = found.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; ");
        assert!(
            if expected.is_empty() { found.is_empty() } else { found.contains(expected) },
            "{traces}: {found}"
        );
    }
    check("{ app_insights = \"{{outputs.app_id}}\", api_key = \"{{params.key}}\" }", "");
    check("{ otlp = \"spans.json\" }", "");
    check("\"app_insights\"", "outputs.app_insights_id");
    check("{ app_insights = \"{{outputs.none}}\" }", "outputs.none");
    check("{ otlp = \"a\", app_insights = \"b\" }", "exactly one");
    check("{ google = \"a\", app_insights = \"b\" }", "exactly one");
    check("{ google = \"my-project\", token = \"{{params.key}}\" }", "");
    check("{ google = \"a\", api_key = \"b\" }", "no API keys");
    check("\"google\"", "outputs.google_project");
    check("{}", "exactly one");
    check("{ otlp = \"a\", token = \"b\" }", "neither credentials");
    check("{ app_insights = \"a\", token = \"b\", api_key = \"c\" }", "an API key and a token");
    check("{ otlp = 7 }", "expected a string");
    check("\"jaeger\"", "jaeger");
}

#[test]
fn a_step_has_exactly_one_action_in_the_right_phase() {
    check(
        "actions",
        &with_local(
            "[[deploy]]\nname = \"a\"\nrun = \"x\"\nwait = \"1s\"\n[[deploy]]\nname = \"b\"\n[[deploy]]\nname = \"c\"\nload = true\n[[deploy]]\nname = \"d\"\nlocal = { down = true }\n[[deploy]]\nname = \"e\"\nwait = \"1s\"\nimage = \"x:1\"\n[[cleanup]]\nname = \"f\"\nlocal = { template = \"template.yaml\" }\n",
        ),
        &["step-action", "step-action", "step-action", "step-action", "step-action", "step-action"],
    );
}

#[test]
fn needs_are_known_and_have_no_cycles() {
    check(
        "needs",
        &with_local(
            "[[deploy]]\nname = \"a\"\nneeds = [\"c\"]\nrun = \"x\"\n[[deploy]]\nname = \"b\"\nrun = \"x\"\n[[deploy]]\nname = \"c\"\nneeds = \"b\"\nrun = \"x\"\n[[deploy]]\nname = \"d\"\nneeds = \"aa\"\nrun = \"x\"\n[[deploy]]\nname = \"d\"\nrun = \"x\"\n",
        ),
        &["needs-cycle", "unknown-step", "duplicate-name"],
    );
}

#[test]
fn names_targets_images_and_credentials_are_known() {
    check(
        "references",
        &format!(
            "{HEAD}[images]\ndeploy = {{ dockerfile = \"deploy.Dockerfile\" }}\nbad = \"a b\"\ngone = {{ dockerfile = \"nowhere\" }}\nfar = {{ dockerfile = \"../other/Dockerfile\" }}\n[targets.aws]\ncredentials = [\"aws\"]\n[targets.local]\n[[deploy]]\nname = \"a b\"\ntarget = [\"aws\", \"lokal\"]\nimage = \"deplyo\"\ncredentials = [\"azure\", \"awss\"]\nrun = \"x\"\n"
        ),
        &[
            "unknown-image",
            "missing-file",
            "outside-root",
            "invalid-name",
            "unknown-target",
            "unknown-image",
            "invalid-credentials",
            "invalid-credentials",
        ],
    );
}

#[test]
fn pulumi_credentials_stand_beside_those_of_a_cloud() {
    let warnings = |credentials: &str| {
        let checked = read(&with_local(&format!("credentials = [{credentials}]\n")));
        assert!(checked.value.is_some());
        checked.problems.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert_eq!(warnings("\"pulumi\""), ["invalid-credentials"]);
    assert_eq!(warnings("\"pulumi\", \"aws\""), Vec::<&str>::new());
    assert_eq!(warnings("\"aws\""), Vec::<&str>::new());
}

#[test]
fn values_lie_in_their_ranges() {
    check(
        "ranges",
        &with_local(
            "[params]\na = { random_hex = 0 }\nb = { secret = true }\n[[deploy]]\nname = \"a\"\nrun = \"x\"\ntimeout = \"0s\"\nretry = { attempts = 0, delay = \"900d\" }\nlimits = { cpus = 0, memory = 512 }\nenv = { \"A-B\" = \"x\" }\n[[deploy]]\nname = \"b\"\nwait_for = { http = \"localhost/x\", status = 99 }\n",
        ),
        &[
            "out-of-range",
            "invalid-param",
            "duration-out-of-range",
            "out-of-range",
            "duration-out-of-range",
            "out-of-range",
            "out-of-range",
            "invalid-variable",
            "invalid-url",
            "out-of-range",
        ],
    );
}

#[test]
fn outputs_have_one_source_that_works() {
    check(
        "outputs",
        &with_local(
            "[[deploy]]\nname = \"a\"\nrun = \"x\"\n[deploy.outputs]\na = { json = \"$.Stacks\" }\nb = { regex = \"(a)(b)\" }\nc = { regex = \"(a\" }\nd = { line = 0 }\ne = { stdout = true, line = 1 }\nf = { default = \"x\" }\ng = { file = \"../../x\" }\nh = { file = \"ok.json\", json = \"/a\" }\n",
        ),
        &[
            "invalid-pointer",
            "invalid-regex",
            "invalid-regex",
            "invalid-output",
            "invalid-output",
            "invalid-output",
            "outside-root",
        ],
    );
}

#[test]
fn placeholders_are_defined_where_they_stand() {
    check(
        "template_syntax",
        &with_local(
            "[[deploy]]\nname = \"a\"\nrun = \"echo {{target}}\"\nenv = { A = \"{{target}} {{#if x}}\", B = \"{{target\" }\n",
        ),
        &["template-syntax", "template-syntax"],
    );
    check(
        "undefined_paths",
        &with_local(
            "[params]\nregion = \"x\"\n[[deploy]]\nname = \"a\"\nrun = \"echo {{params.regoin}} {{region}} {{trial.number}} {{nothing}}\"\nenv = { A = \"{{request.uuid}}\" }\n",
        ),
        &["undefined-value", "undefined-value", "value-not-here", "undefined-value", "value-not-here"],
    );
}

#[test]
fn quoted_and_raw_placeholders_are_pointed_at() {
    check(
        "quoting",
        &with_local(
            "[params]\nregion = \"x\"\n[[deploy]]\nname = \"a\"\nrun = '''\necho \"region: {{params.region}}\"\ncat <<EOF\n{{ params.region }}\nEOF\necho {{params.region}} {{{params.region}}}\n'''\n[[deploy]]\nname = \"b\"\nshell = [\"python3\", \"-c\"]\nrun = \"print({{params.region}})\"\n",
        ),
        &["unquotable-value", "unquotable-value", "raw-value", "foreign-shell"],
    );
}

#[test]
fn secrets_stay_out_of_argument_lists_and_file_names() {
    check(
        "secrets",
        &with_local(
            "[params]\nkey = { env = \"KEY\", secret = true }\n[[deploy]]\nname = \"a\"\nrun = \"login {{params.key}}\"\nworkdir = \"{{params.key}}\"\nenv = { KEY = \"{{params.key}}\" }\noutputs.token = { stdout = true, secret = true }\n[[deploy]]\nname = \"b\"\nrun = [\"use\", \"{{outputs.token}}\"]\n",
        ),
        &["secret-exposed", "secret-exposed", "secret-exposed"],
    );
}

#[test]
fn outputs_are_made_before_they_are_used_on_every_target() {
    check(
        "output_order",
        &format!(
            "{HEAD}[targets.aws]\n[targets.local]\n
[[deploy]]
target = \"aws\"
name = \"stack\"
run = \"x\"
outputs.url = {{ stdout = true }}
outputs.id = {{ line = 1, default = \"\" }}
[[deploy]]
target = \"aws\"
name = \"early\"
needs = []
run = [\"use\", \"{{{{outputs.url}}}}\"]
[[deploy]]
target = \"aws\"
name = \"late\"
needs = [\"early\", \"stack\"]
run = [\"use\", \"{{{{outputs.url}}}}\"]
[[deploy]]
name = \"everywhere\"
needs = []
run = [\"use\", \"{{{{outputs.url}}}}\"]
[workload]
[[workload.requests]]
name = \"get\"
url = \"{{{{outputs.url}}}}/x\"
[[cleanup]]
name = \"stack\"
target = \"aws\"
run = [\"remove\", \"{{{{outputs.url}}}}\", \"{{{{outputs.id}}}}\"]
"
        ),
        &["output-order"; 5],
    );
}

#[test]
fn requests_are_checked() {
    check(
        "requests",
        &with_local(
            "[[workload.requests]]\nname = \"a\"\nurl = \"example.org\"\nweight = 0\nmethod = \"get\"\nexpect = { status = [200, 1000] }\n[[workload.requests]]\nname = \"a\"\nurl = \"http://x/{{request.uid}}\"\nbody = '{\"id\": {{request.uuid}}}'\nheaders = { \"A B\" = \"x\", a = \"1\", A = \"2\" }\n[[workload.requests]]\nname = \"c\"\nurl = \"http://x\"\nbody = \"x\"\nbody_file = \"y\"\n[[workload.requests]]\nname = \"d\"\nurl = \"http://x\"\nbody_file = \"images/dog.jpg\"\n",
        ),
        &[
            "invalid-url",
            "out-of-range",
            "invalid-method",
            "out-of-range",
            "duplicate-name",
            "undefined-value",
            "body-not-json",
            "invalid-header",
            "invalid-header",
            "two-bodies",
            "missing-file",
        ],
    );
}

#[test]
fn sequences_are_checked() {
    let sequence = |requests: &str| with_local(&format!("[[workload.sequences]]\nname = \"s\"\n{requests}"));
    let request = |name: &str, rest: &str| {
        format!("[[workload.sequences.requests]]\nname = \"{name}\"\nurl = \"http://x\"\n{rest}\n")
    };
    let first = request("a", "extract.token = { json = \"/token\" }");
    let benchmark =
        valid(&sequence(&(first.clone() + &request("b", "headers = { A = \"{{extracted.token}}\" }"))));
    let Some(Sent::Requests(workload)) = &benchmark.workload else { panic!("no requests") };
    assert_eq!((workload.requests.len(), workload.sequences[0].requests.len()), (0, 2));

    let before = request("b", "body = \"{{extracted.token}}\"") + &first;
    check("sequence_order", &sequence(&before), &["undefined-value"]);
    let slip = first.clone() + &request("b", "body = \"{{extracted.tokem}}\"");
    check("sequence_slip", &sequence(&slip), &["undefined-value"]);
    check(
        "sequence_requests",
        &sequence(
            &(request(
                "a",
                "weight = 2\nextract = { a = { json = \"x\" }, b = { regex = \"(\" }, c = {}, d = { header = \"a b\" } }",
            ) + &request("a", "timeout = \"0s\"\nexpect = { json = { status = 1 }, regex = \"(a)(b)\" }")),
        ),
        &[
            "sequence-weight",
            "invalid-pointer",
            "invalid-regex",
            "invalid-extract",
            "invalid-header",
            "duplicate-name",
            "duration-out-of-range",
            "invalid-pointer",
            "invalid-regex",
        ],
    );
    check("sequence_empty", &sequence("requests = []\n"), &["nothing-to-send"]);
    check(
        "sequence_settings",
        &with_local(
            "[workload]\ncookies = true\ntls = { ca_file = \"gone.pem\", verify = false }\n[[workload.requests]]\nname = \"a\"\nurl = \"http://x\"\nextract.a = { json = \"/a\" }\n",
        ),
        &["unused-cookies", "missing-file", "unused-certificate", "unused-extract"],
    );
}

#[test]
fn the_root_stays_inside_the_work_tree() {
    check(
        "root_outside",
        "[benchmark]\nname = \"demo\"\nroot = \"../..\"\n[targets.local]\n",
        &["outside-root"],
    );
    check(
        "root_below",
        "[benchmark]\nname = \"demo\"\nroot = \"images\"\n[targets.local]\n",
        &["outside-root"],
    );
    let inside = valid(
        "[benchmark]\nname = \"demo\"\nroot = \"..\"\n[targets.local]\n[images]\na = { dockerfile = \"../other/Dockerfile\" }\n",
    );
    assert_eq!(inside.root, Path::new("/repo"));
}

#[test]
fn a_link_does_not_lead_out_of_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("app");
    std::fs::create_dir(&app).unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM alpine").unwrap();
    std::os::unix::fs::symlink("../Dockerfile", app.join("link")).unwrap();
    std::fs::write(app.join("file"), "FROM alpine").unwrap();
    for (name, codes) in [("link", vec!["outside-root"]), ("file", vec![])] {
        let manifest = app.join("benchmark.toml");
        let text = with_local(&format!("[images]\na = {{ dockerfile = \"{name}\" }}\n"));
        std::fs::write(&manifest, text).unwrap();
        let checked = benchmark(&Disk, &manifest);
        let found: Vec<&str> = checked.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(found, codes);
    }
}

#[test]
fn a_benchmark_without_targets_is_refused() {
    check("no_target", &format!("{HEAD}[targets]\n"), &["no-target"]);
}

#[test]
fn what_is_not_closed_hides_no_other_placeholder() {
    check(
        "unclosed",
        &format!(
            "{HEAD}[targets.local]\n[[deploy]]\nname = \"a\"\nrun = \"echo {{{{params.x}}}} {{{{outputs.y}}}} {{{{\"\n\
             [[cleanup]]\nname = \"a\"\nrun = \"echo {{{{params.x {{{{params.z}}}}\"\n"
        ),
        &["template-syntax", "undefined-value", "undefined-value", "template-syntax", "undefined-value"],
    );
}

#[test]
fn names_and_brackets_of_others_are_known() {
    check(
        "others",
        "[benchmark]\nname = \"demo\"\n[parameters]\nsize = 1\n[targets.local]\n[[deploy]]\nname = \"a\"\n\
         command = \"echo {{params.size}}\"\nenvironment = { A = \"b\" }\n[cleanup]\nname = \"a\"\nrun = \"x\"\n",
        &["unknown-key", "unknown-key", "unknown-key", "wrong-type"],
    );
    let yaml = "benchmark: { name: demo }\ntargets: { local: {} }\ncleanup: { name: a, run: x }\nworkload: { requests: [] }\n";
    let path = Path::new("/repo/app/benchmark.yaml");
    let files = Kept::new([(path.to_owned(), yaml.to_owned())].into(), files(FULL));
    insta::assert_snapshot!("others_yaml", rendered(&benchmark(&files, path).problems));
}

const FULL: &str = r#"
[benchmark]
name = "demo"
description = "d"

[params]
region = "us-east-1"
memory_size = 1024
ratio = 0.5
debug = false
deploy_id = { random_hex = 10 }
api_key = { env = "MY_KEY", secret = true }

[images]
deploy = { dockerfile = "deploy.Dockerfile", context = ".", args = { V = "1" } }
aws_cli = "amazon/aws-cli:2.27.0"

[targets.aws]
credentials = ["aws"]
traces = "xray"
[targets.local]
traces = "local"

[[deploy]]
target = "aws"
name = "stack"
image = "deploy"
credentials = ["aws"]
run = "sam deploy --stack-name thumbs-{{params.deploy_id}} --region {{params.region}}"
env = { KEY = "{{params.api_key}}" }
timeout = "20m"
retry = { attempts = 2, delay = "30s" }
limits = { cpus = 1.5, memory = "512MiB" }
recover = [ { image = "aws_cli", run = "unlock" } ]
outputs.endpoint = { json = "/Stacks/0" }
outputs.id = { line = -1, default = "" }

[[deploy]]
target = "local"
name = "stack"
local = { template = "template.yaml" }

[[deploy]]
name = "ready"
wait_for = { http = "{{outputs.endpoint}}/health" }

[workload]
[[workload.requests]]
name = "upload"
url = "{{outputs.endpoint}}/images/{{request.uuid}}.jpg"
body_file = "images/cat.jpg"
expect = { status = [200, 201] }

[[cleanup]]
target = "aws"
name = "stack"
run = ["delete", "{{outputs.id}}"]
credentials = ["aws"]
[[cleanup]]
target = "local"
name = "stack"
local = { down = true }
"#;

#[test]
fn a_full_manifest_becomes_checked_types() {
    let benchmark = valid(FULL);
    let aws = &benchmark.targets["aws"];
    assert_eq!(aws.traces, Traces::Xray);
    let stack = &aws.deploy[0];
    assert_eq!(stack.environment.limits, Limits { cpus: Some(1.5), memory_bytes: Some(512 << 20) });
    assert_eq!(stack.retry, Retry::times(2, Duration::from_secs(30)));
    assert_eq!(stack.timeout, Some(Duration::from_mins(20)));
    assert_eq!(stack.environment.shell, ["sh", "-c"]);
    assert_eq!(stack.recover[0].environment.credentials, ["aws"]);
    assert_eq!(
        stack.recover[0].environment.image,
        Some(Image::Reference("amazon/aws-cli:2.27.0".to_owned()))
    );
    assert_eq!(aws.deploy[1].needs, ["stack"]);
    let local = &benchmark.targets["local"];
    assert!(
        matches!(&local.deploy[0].action, Action::LocalUp(up) if up.template == Path::new("/repo/app/template.yaml"))
    );
    assert!(matches!(local.cleanup[0].action, Action::LocalDown { failures: 0 }));
    assert!(matches!(local.invoke[0].action, Action::Load));
    let Some(Sent::Requests(workload)) = &benchmark.workload else { panic!("no requests") };
    let request = &workload.requests[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.body, Body::File("/repo/app/images/cat.jpg".into()));
    assert_eq!(benchmark.params["deploy_id"].source, ParamSource::RandomHex(10));
    assert!(benchmark.params["api_key"].secret);
}

#[test]
fn a_yaml_manifest_carries_the_same_model() {
    let yaml = r#"
benchmark: { name: demo, description: d }
params:
  region: us-east-1
  memory_size: 1024
  ratio: 0.5
  debug: false
  deploy_id: { random_hex: 10 }
  api_key: { env: MY_KEY, secret: true }
images:
  deploy: { dockerfile: deploy.Dockerfile, context: ., args: { V: "1" } }
  aws_cli: amazon/aws-cli:2.27.0
targets:
  aws: { credentials: [aws], traces: xray }
  local: { traces: local }
deploy:
  - target: aws
    name: stack
    image: deploy
    credentials: [aws]
    run: sam deploy --stack-name thumbs-{{params.deploy_id}} --region {{params.region}}
    env: { KEY: "{{params.api_key}}" }
    timeout: 20m
    retry: { attempts: 2, delay: 30s }
    limits: { cpus: 1.5, memory: 512MiB }
    recover: [{ image: aws_cli, run: unlock }]
    outputs:
      endpoint: { json: /Stacks/0 }
      id: { line: -1, default: "" }
  - target: local
    name: stack
    local: { template: template.yaml }
  - name: ready
    wait_for: { http: "{{outputs.endpoint}}/health" }
workload:
  requests:
    - name: upload
      url: "{{outputs.endpoint}}/images/{{request.uuid}}.jpg"
      body_file: images/cat.jpg
      expect: { status: [200, 201] }
cleanup:
  - target: aws
    name: stack
    run: [delete, "{{outputs.id}}"]
    credentials: [aws]
  - target: local
    name: stack
    local: { down: true }
"#;
    let with_yaml = Kept::new([("/repo/app/benchmark.yaml".into(), yaml.to_owned())].into(), files(FULL));
    let checked = benchmark(&with_yaml, Path::new("/repo/app/benchmark.yaml"));
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    let without_path =
        |benchmark: &Benchmark| format!("{benchmark:#?}").replace("benchmark.yaml", "benchmark.toml");
    assert_eq!(without_path(&checked.value.unwrap()), without_path(&valid(FULL)));
}

#[test]
fn a_shipped_example_reads_the_same_in_yaml() {
    let yaml = r#"
benchmark:
  name: hello-http
  description: "One function behind an HTTP API: the smallest benchmark that has a trace."
targets: { local: { traces: local } }
deploy:
  - { name: stack, local: { template: template.yaml } }
  - name: ready
    wait_for: { http: "{{outputs.endpoint}}/hello", status: 200, timeout: 30s }
workload:
  timeout: 10s
  requests:
    - { name: hello, url: "{{outputs.endpoint}}/hello", expect: { status: 200 } }
cleanup:
  - { name: stack, local: { down: true } }
"#;
    let toml = include_str!("../../../../examples/hello-http/benchmark.toml");
    let files = Kept::new([("/repo/app/benchmark.yaml".into(), yaml.to_owned())].into(), files(toml));
    let read = |name: &str| {
        let checked = benchmark(&files, &Path::new("/repo/app").join(name));
        assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
        format!("{:#?}", checked.value.unwrap()).replace(name, "")
    };
    assert_eq!(read("benchmark.yaml"), read("benchmark.toml"));
}

#[track_caller]
fn check_yaml(name: &str, yaml: &str, codes: &[&str]) {
    let files = Snapshot::new([("/b/benchmark.yaml", yaml)]);
    let checked = benchmark(&files, Path::new("/b/benchmark.yaml"));
    let found: Vec<&str> = checked.problems.iter().map(|problem| problem.code).collect();
    let codes: Vec<String> = codes.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(found, codes, "{}", rendered(&checked.problems));
    insta::assert_snapshot!(name, rendered(&checked.problems));
}

#[test]
fn yaml_problems_have_places() {
    check_yaml(
        "yaml_keys",
        "benchmark:\n  name: démo\n  nmae: x\n  root: yes\ntargets:\n  local: { traces: lokal }\n  local: {}\nparams:\n  n: 012\n  y: [1]\n",
        &["invalid-name", "unknown-key", "missing-file", "unknown-word", "duplicate-key", "wrong-type"],
    );
    check_yaml(
        "yaml_types",
        "benchmark:\n  name: demo\n  nmae: x\n  description: 7\ntargets:\n  local: { traces: lokal }\nparams:\n  n: 012\n  y: [1]\n",
        &["unknown-key", "wrong-type", "unknown-word", "wrong-type"],
    );
    check_yaml("yaml_syntax", "benchmark:\n  name: demo\n bad\n", &["syntax"]);
    check_yaml("yaml_huge", "benchmark: 99999999999999999999999\n", &["missing-key", "syntax"]);
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (one, next) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        let _ = writeln!(bomb, "{next}: &{next} [{}]", vec![format!("*{one}"); 10].join(", "));
    }
    let files = Snapshot::new([("/b/benchmark.yaml", bomb)]);
    let started = std::time::Instant::now();
    let checked = benchmark(&files, Path::new("/b/benchmark.yaml"));
    assert_eq!(checked.problems[0].code, "syntax");
    // Expanded, it would take longer than anybody waits; a busy machine may take its time.
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
}

#[test]
fn yaml_words_and_leading_zeros_stay_strings() {
    let yaml = "benchmark: { name: demo }\ntargets: { local: }\nparams: { a: no, b: 0123, c: 1_000, d: true, e: 7 }\n";
    let files = Snapshot::new([("/b/benchmark.yaml", yaml.replace("local: }", "local: {} }"))]);
    let checked = benchmark(&files, Path::new("/b/benchmark.yaml"));
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    let params = &checked.value.unwrap().params;
    for (name, value) in [
        ("a", Value::from("no")),
        ("b", Value::from("0123")),
        ("c", Value::from("1_000")),
        ("d", Value::from(true)),
        ("e", Value::from(7)),
    ] {
        assert_eq!(params[name].source, ParamSource::Value(value));
    }
}

#[test]
fn a_workload_file_is_checked_in_its_own_place() {
    let manifest = with_local("[[deploy]]\nname = \"a\"\nlocal = { template = \"template.yaml\" }\n")
        .replace("[targets.local]", "root = \"..\"\n[targets.local]");
    let manifest = format!("workload = \"../workloads/upload.toml\"\n{manifest}");
    let good = "[[requests]]\nname = \"a\"\nurl = \"{{outputs.endpoint}}/{{outputs.QueueUrl}}\"\nbody_file = \"cat.jpg\"\n";
    for (text, codes) in [
        (good.to_owned(), vec![]),
        (good.replace("cat", "dog"), vec!["missing-file"]),
        (good.replace("QueueUrl", "QueueUrk"), vec!["undefined-value"]),
        (good.replace("[[requests]]", "[[workload.requests]]"), vec!["unknown-key"]),
    ] {
        let files = Kept::new(
            [("/repo/workloads/upload.toml".into(), text), ("/repo/workloads/cat.jpg".into(), String::new())]
                .into(),
            files(&manifest),
        );
        let checked = benchmark(&files, Path::new("/repo/app/benchmark.toml"));
        let found: Vec<&str> = checked.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(found, codes, "{}", rendered(&checked.problems));
        assert!(checked.problems.iter().all(|problem| {
            problem.source.as_ref().is_some_and(|source| source.path.ends_with("upload.toml"))
        }));
    }
}

#[test]
fn problems_are_sorted_and_carry_json() {
    let checked = read(&with_local(
        "[[deploy]]\nname = \"a b\"\nwait = \"0s\"\nallow_failure = true\n\n[[deploy]]\nname = \"é\"\nrun = \"{{x}}\"\n",
    ));
    let json: Vec<String> = checked.problems.iter().map(|problem| problem.to_json().to_string()).collect();
    insta::assert_snapshot!("json", json.join("\n"));
}

#[test]
fn shipped_manifests_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut texts = BTreeMap::new();
    for name in ["hello-http", "async-pipeline"] {
        // The manifests can be checked without the applications beside them.
        let template = root.join(format!("examples/{name}/template.yaml"));
        if !template.exists() {
            texts.insert(template, TEMPLATE.to_owned());
        }
    }
    let files: &dyn Files = &Kept::new(texts, Disk);
    let checked = plan(files, &root.join("plans/quickstart.toml"), &Overrides::default());
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    let plan = checked.value.unwrap();
    assert_eq!(plan.entries.len(), 2);
    assert_eq!(plan.order, Order::Interleaved);
    assert_eq!(plan.entries[1].points[0].labels["label"], "quickstart_async-pipeline");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..proptest::prelude::ProptestConfig::default()
    })]

    /// A file that is being edited is cut off, doubled or strewn with odd characters.
    #[test]
    fn damaged_files_are_reported_and_never_panic(
        at in 0..FULL.len(),
        length in 0..40_usize,
        instead in r#"[\[\]{}"'=\n \\#a0é:&*|-]{0,6}"#,
        yaml in proptest::prelude::any::<bool>(),
    ) {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{instead}{}", &FULL[..at], &FULL[end..]);
        let name = if yaml { "/repo/app/benchmark.yaml" } else { "/repo/app/benchmark.toml" };
        let files = Kept::new([(name.into(), text)].into(), files(FULL));
        let checked = benchmark(&files, Path::new(name));
        proptest::prop_assert!(checked.value.is_some() || !checked.problems.is_empty());
        for problem in &checked.problems {
            let _ = (rendered(std::slice::from_ref(problem)), problem.to_json());
        }
    }
}

#[test]
fn what_the_local_target_does_not_provide_is_shown_in_the_template() {
    let manifest = with_local("[[deploy]]\nname = \"a\"\nlocal = { template = \"template.yaml\" }\n");
    let template = format!("{TEMPLATE}  Other: {{ Value: !Ref Nobody }}\n").replace(
        "Outputs:",
        "      Events:\n        Jobs:\n          Type: MSK\n  Role:\n    Type: AWS::IAM::Role\nOutputs:",
    );
    let files = Kept::new([("/repo/app/template.yaml".into(), template)].into(), files(&manifest));
    let checked = benchmark(&files, Path::new("/repo/app/benchmark.toml"));
    insta::assert_snapshot!(rendered(&checked.problems));
}

#[test]
fn parameters_of_a_local_step_are_those_of_its_template() {
    let step = |local: &str| with_local(&format!("[[deploy]]\nname = \"a\"\nlocal = {local}\n"));
    let template =
        format!("Parameters:\n  Database: {{ Type: String, AllowedPattern: \"[a-z]+\" }}\n{TEMPLATE}");
    let check = |manifest: &str| {
        let files = Kept::new([("/repo/app/template.yaml".into(), template.clone())].into(), files(manifest));
        benchmark(&files, Path::new("/repo/app/benchmark.toml"))
    };
    let checked =
        check(&step("{ template = \"template.yaml\", parameters = { Database = \"{{target}}\" } }"));
    let benchmark = checked.value.unwrap_or_else(|| panic!("{}", rendered(&checked.problems)));
    let Action::LocalUp(up) = &benchmark.targets["local"].deploy[0].action else { panic!() };
    assert_eq!(up.parameters["Database"].source(), "{{target}}");
    // Only what is known beforehand is held to the template's constraints.
    let refused = check(&step("{ template = \"template.yaml\", parameters = { Database = \"A\" } }"));
    let refused = rendered(&refused.problems);
    assert!(refused.contains("parameter `Database` is `A`: it must match `[a-z]+`"), "{refused}");
    let wrong =
        "{ template = \"template.yaml\", parameters = { Databse = \"x\", Database = \"{{outputs.none}}\" } }";
    let problems = [
        check(&step(wrong)).problems,
        check(&with_local(
            "[[cleanup]]\nname = \"a\"\nlocal = { down = true, parameters = { Database = \"x\" } }\n",
        ))
        .problems,
    ]
    .concat();
    insta::assert_snapshot!(rendered(&problems));
}

#[test]
fn stand_ins_of_a_local_step_are_services_with_urls() {
    let step = |local: &str| with_local(&format!("[[deploy]]\nname = \"a\"\nlocal = {local}\n"));
    let up = |services: &str| step(&format!("{{ template = \"template.yaml\", services = {services} }}"));
    let template = format!("{TEMPLATE}  Endpoint: {{ Value: !Ref Faces }}\n")
        .replace("Outputs:", "  Faces:\n    Type: AWS::Rekognition::Collection\nOutputs:");
    let check = |manifest: &str| {
        let files = Kept::new([("/repo/app/template.yaml".into(), template.clone())].into(), files(manifest));
        benchmark(&files, Path::new("/repo/app/benchmark.toml"))
    };
    // They have an address of AWS for later steps.
    let later = "[[deploy]]\nname = \"b\"\nrun = \"echo {{outputs.aws_endpoint}}\"\n";
    let good =
        up("{ rekognition = \"http://127.0.0.1:{{params.port}}\", translate = \"{{target}}\" }") + later;
    let checked = check(&format!("{good}[params]\nport = 8080\n"));
    let benchmark = checked.value.unwrap_or_else(|| panic!("{}", rendered(&checked.problems)));
    let Action::LocalUp(what) = &benchmark.targets["local"].deploy[0].action else { panic!() };
    assert_eq!(what.services["rekognition"].source(), "http://127.0.0.1:{{params.port}}");
    let problems = [
        check(&step("{ template = \"template.yaml\" }")).problems,
        check(&up(
            "{ rekognition = \"https://faces.example\", rekogniton = \"{{outputs.none}}\", s3 = \"\" }",
        ))
        .problems,
        check(&with_local(
            "[[cleanup]]\nname = \"a\"\nlocal = { down = true, services = { rekognition = \"http://x\" } }\n",
        ))
        .problems,
    ]
    .concat();
    insta::assert_snapshot!(rendered(&problems));
}

#[test]
fn what_the_local_target_does_not_provide_is_no_fault_of_a_manifest_with_other_targets() {
    let manifest = with_local(
        "[[deploy]]\nname = \"a\"\ntarget = \"local\"\nlocal = { template = \"template.yaml\" }\n",
    ) + "[targets.aws]\n";
    let with = |more: &str| {
        let template = TEMPLATE.replace("Outputs:", &format!("{more}\nOutputs:"));
        let files = Kept::new([("/repo/app/template.yaml".into(), template)].into(), files(&manifest));
        benchmark(&files, Path::new("/repo/app/benchmark.toml"))
    };
    let checked = with("  Items: { Type: AWS::MSK::Cluster }\n  Images: { Type: AWS::MSK::Cluster }");
    assert!(checked.value.is_some());
    insta::assert_snapshot!(rendered(&checked.problems));
    let wrong = with("  Items: { Type: AWS::MSK::Cluster }\n  Nothing: {}");
    assert!(wrong.value.is_none(), "{}", rendered(&wrong.problems));
}

#[test]
fn a_template_is_parsed_once_for_all_steps_and_manifests_until_it_is_edited() {
    const UP: &str = "target = \"local\"\nlocal = { template = \"template.yaml\" }\n";
    let manifest = with_local(&format!("[[deploy]]\nname = \"a\"\n{UP}"));
    let other = manifest.replace("name = \"demo\"", "name = \"other\"");
    assert_ne!(other, manifest);
    let plan_file = "[plan]\nname = \"p\"\n\
        [[applications]]\nmanifest = \"../app/benchmark.toml\"\ntarget = \"local\"\n\
        [[applications]]\nmanifest = \"../app/other.toml\"\ntarget = \"local\"\n";
    let kept = |template: &str| {
        let texts = [
            ("/repo/app/other.toml".into(), other.clone()),
            ("/repo/plans/p.toml".into(), plan_file.to_owned()),
            ("/repo/app/template.yaml".into(), template.to_owned()),
        ];
        Kept::new(texts.into(), files(&manifest))
    };
    let template = |text: &str, plan: &Plan| {
        let found = plan
            .entries
            .iter()
            .map(|entry| entry.benchmark.templates.get(Path::new("/repo/app/template.yaml"), text).unwrap());
        found.collect::<Vec<_>>()
    };
    let path = Path::new("/repo/plans/p.toml");
    let first = plan(&kept(TEMPLATE), path, &Overrides::default());
    assert!(first.problems.is_empty(), "{}", rendered(&first.problems));
    let first = first.value.unwrap();
    let parsed = template(TEMPLATE, &first);
    assert_eq!(parsed.len(), 2);
    assert!(Arc::ptr_eq(&parsed[0], &parsed[1]), "two manifests share it");

    let again = plan_with(&kept(TEMPLATE), path, &Overrides::default(), &first.templates()).value.unwrap();
    assert!(Arc::ptr_eq(&parsed[0], &template(TEMPLATE, &again)[0]), "checking again shares it");

    let edited = format!("{TEMPLATE}# edited\n");
    let changed = plan_with(&kept(&edited), path, &Overrides::default(), &first.templates()).value.unwrap();
    assert_eq!(template(&edited, &changed)[0].source(), edited);
    assert_eq!(changed, first, "what a run is made of is the same");
}

#[test]
fn retries_say_when_and_how_long() {
    let retry = |keys: &str| {
        let step = format!("[[deploy]]\nname = \"a\"\nrun = \"x\"\n{keys}\n");
        valid(&with_local(&step)).targets["local"].deploy[0].retry.clone()
    };
    let full = retry(
        "retry = { attempts = 4, delay = \"2s\", backoff = 1.5, max_delay = \"1m\", on = [\"throttled\", \"timed_out\", \"throttled\"] }",
    );
    assert_eq!(
        full,
        Retry {
            attempts: 4,
            delay: Duration::from_secs(2),
            backoff: 1.5,
            max_delay: Duration::from_mins(1),
            on: vec![FailureClass::Throttled, FailureClass::TimedOut],
        }
    );
    let long = retry("retry = { attempts = 2, delay = \"1h\", on = \"out_of_memory\" }");
    assert_eq!((long.max_delay, long.on), (Duration::from_hours(1), vec![FailureClass::OutOfMemory]));
    assert!(!retry("retry = { attempts = 2 }").on.contains(&FailureClass::OutOfMemory));
    assert_eq!(retry(""), Retry::when_throttled());
    assert_eq!(retry("retry = { attempts = 1 }"), Retry::once());
    assert_eq!(retry("on_interrupt = \"fail\""), Retry::once());
    let invoke = valid(&with_local("[[invoke]]\nname = \"a\"\nrun = \"x\"\n"));
    assert_eq!(invoke.targets["local"].invoke[0].retry, Retry::once());
}

#[test]
fn retries_that_make_no_sense_are_refused() {
    check(
        "retries",
        &with_local(
            "[[deploy]]\nname = \"a\"\nrun = \"x\"\nretry = { attempts = 2, backoff = 0.5 }\n[[deploy]]\nname = \"b\"\nrun = \"x\"\nretry = { attempts = 2, delay = \"1m\", max_delay = \"2s\", on = [] }\n[[deploy]]\nname = \"c\"\nrun = \"x\"\nretry = { attempts = 2, on = \"throtled\" }\n",
        ),
        &["out-of-range", "out-of-range", "out-of-range", "unknown-word"],
    );
}
