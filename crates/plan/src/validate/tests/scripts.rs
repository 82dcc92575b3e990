//! Workloads that are a k6 script.

use super::*;

fn files(workload: &str) -> Snapshot {
    let manifest = format!(
        "{HEAD}[params]\nkey = {{ env = \"KEY\", secret = true }}\n[images]\nk6 = {{ dockerfile = \"deploy.Dockerfile\" }}\n\
         [targets.aws]\n[[deploy]]\nname = \"a\"\nrun = \"true\"\noutputs.url = {{ line = 1 }}\n[workload]\n{workload}\n"
    );
    Snapshot::new([
        ("/repo/.git/HEAD", ""),
        ("/repo/app/benchmark.toml", manifest.as_str()),
        ("/repo/app/deploy.Dockerfile", "FROM alpine"),
        ("/repo/app/workload.js", "export default function () {}"),
        ("/repo/app/options.json", r#"{"thresholds": {"checks": ["rate>0.9"]}}"#),
        ("/repo/app/empty.js", "// nothing yet"),
        ("/repo/app/named.js", "export function browse() {}"),
        ("/repo/app/gone.js.js", "import './gone.js';\nexport default () => open('made.json');"),
        ("/repo/app/list.json", "[1]"),
        ("/repo/app/broken.json", "{"),
        ("/repo/app/full.json", r#"{"scenarios": {"a": {"executor": "shared-iterations"}}}"#),
    ])
}

fn read(workload: &str) -> Checked<Arc<Benchmark>> {
    benchmark(&files(workload), Path::new("/repo/app/benchmark.toml"))
}

/// The text that each problem points at, and what it says in all.
#[track_caller]
fn refuses(workload: &str, place: &str, words: &str) {
    let checked = read(workload);
    let text = rendered(&checked.problems);
    assert!(checked.value.is_none(), "{workload} is accepted");
    let pointed = checked.problems.iter().any(|problem| {
        let source = problem.source.as_ref().unwrap();
        problem.labels.iter().any(|(span, _)| source.text().get(span.clone()) == Some(place))
    });
    assert!(pointed, "nothing points at `{place}`:\n{text}");
    assert!(text.replace("\n  │ ", " ").contains(words), "no `{words}` in:\n{text}");
}

fn script(workload: &str) -> Arc<Script> {
    let checked = read(workload);
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    match checked.value.unwrap().workload.clone() {
        Some(Sent::Script(script)) => script,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_script_says_what_is_sent_and_the_rest_has_defaults() {
    let plain = script("script = \"workload.js\"");
    assert_eq!(plain.path, Path::new("/repo/app/workload.js"));
    assert_eq!((&plain.options, plain.generators.len()), (&serde_json::json!({}), 0));
    assert!(matches!(plain.image, Image::Build { .. }), "an alias `k6` is the default for its application");
    let full = script(
        "engine = \"k6\"\nscript = \"workload.js\"\nenv = { URL = \"{{outputs.url}}\", KEY = \"{{params.key}}\" }\nimage = \"k6\"\n\
         options = \"options.json\"\nload_generators = [\"ssh://me@lg1\", \"tcp://lg2:2375\"]",
    );
    assert_eq!(full.env["URL"].source(), "{{outputs.url}}");
    assert!(matches!(full.image, Image::Build { .. }));
    assert_eq!(full.options["thresholds"]["checks"][0], "rate>0.9");
    assert_eq!(full.generators, ["ssh://me@lg1", "tcp://lg2:2375"]);
    let inline =
        script("script = \"workload.js\"\noptions = { batch = 3, tags = { a = \"b\" }, list = [1.5, true] }");
    assert_eq!(inline.options, serde_json::json!({ "batch": 3, "tags": { "a": "b" }, "list": [1.5, true] }));
}

#[test]
fn a_script_may_lack_a_default_function_only_where_a_scenario_names_another() {
    let found = read("script = \"named.js\"");
    assert!(found.value.is_some());
    let text = rendered(&found.problems);
    assert!(text.contains("has no default function") && text.contains("exec: \"browse\""), "{text}");
    let options = "options = { scenarios = { a = { executor = \"shared-iterations\", exec = \"browse\" } } }";
    let found = read(&format!("script = \"named.js\"\n{options}"));
    assert!(found.value.is_some() && found.problems.is_empty(), "{}", rendered(&found.problems));
}

#[test]
fn what_a_step_names_may_be_written_by_it() {
    let made = "env = { DATA = \"made.json\", LIB = \"./gone.js\" }";
    let found = read(&format!("script = \"gone.js.js\"\n{made}"));
    assert!(found.value.is_some(), "{}", rendered(&found.problems));
}

#[test]
fn what_does_not_go_with_a_script_is_refused_at_its_place() {
    let with = |rest: &str| format!("script = \"workload.js\"\n{rest}");
    refuses("script = \"empty.js\"", "\"empty.js\"", "the script `empty.js` is empty");
    refuses("script = \"gone.js.js\"", "./gone.js", "the script uses `./gone.js`, which does not exist");
    refuses("script = \"gone.js.js\"", "made.json", "create /repo/app/made.json");
    refuses("", "[workload]", "the workload has no requests");
    refuses("engine = \"k6\"", "\"k6\"", "needs a script");
    refuses("engine = \"k6\"\nrequests = []", "\"k6\"", "needs a script");
    refuses("script = \"gone.js\"", "\"gone.js\"", "does not exist");
    refuses("script = \"../../x.js\"", "\"../../x.js\"", "outside of the root");
    refuses(&with("engine = \"native\""), "\"native\"", "runs no scripts");
    refuses(&with("timeout = \"3s\""), "\"3s\"", "both `script` and `timeout`");
    refuses(&with("requests = []"), "[]", "both `script` and `requests`");
    refuses(&with("sequences = []"), "[]", "both `script` and `sequences`");
    refuses(&with("cookies = true"), "\"workload.js\"", "`cookies` is not for scripts");
    refuses(&with("env = { K6_VUS = \"3\" }"), "K6_VUS", "would change how k6 runs");
    refuses(&with("env = { A = \"{{outputs.nothing}}\" }"), "{{outputs.nothing}}", "outputs.nothing");
    refuses(&with("env = { A = \"{{request.uuid}}\" }"), "{{request.uuid}}", "request.uuid");
    refuses(&with("env = { \"A=\" = \"x\" }"), "\"A=\"", "environment variable");
    refuses(&with("image = \"k7\""), "\"k7\"", "no alias `k7`");
    refuses(&with("options = { vus = 3 }"), "{ vus = 3 }", "would replace the load");
    refuses(&with("options = \"list.json\""), "\"list.json\"", "no table of options");
    refuses(&with("options = \"broken.json\""), "\"broken.json\"", "is not JSON");
    refuses(&with("options = 3"), "3", "a table of options or the path of a JSON file");
    refuses(&with("load_generators = []"), "[]", "no load generators");
    refuses(&with("load_generators = [\"lg1\"]"), "\"lg1\"", "not the address of a Docker engine");
    refuses(&with("load_generators = [\"ssh://\"]"), "\"ssh://\"", "not the address of a Docker engine");
    refuses(&with("load_generators = [\"ssh://a\", \"ssh://a\"]"), "\"ssh://a\"", "named twice");
    let request = "[[workload.requests]]\nname = \"a\"\nurl = \"http://a\"";
    refuses(&format!("image = \"k6\"\n{request}"), "\"k6\"", "`image` belongs to a script");
    refuses(&format!("env = {{ A = \"b\" }}\n{request}"), "A", "`env` belongs to a script");
}

/// A plan with this load; its problems.
fn plan_with(workload: &str, header: &str, load: &str) -> Checked<Plan> {
    let text = format!(
        "[plan]\nname = \"p\"\n{header}\n[[applications]]\nmanifest = \"../app/benchmark.toml\"\n[load]\n{load}\n"
    );
    let benchmark = files(workload).read(Path::new("/repo/app/benchmark.toml")).unwrap();
    let files = Snapshot::new([
        ("/repo/.git/HEAD".to_owned(), Vec::new()),
        ("/repo/plans/p.toml".to_owned(), text.into_bytes()),
        (
            "/repo/plans/full.json".to_owned(),
            br#"{"scenarios": {"a": {"executor": "shared-iterations"}}}"#.to_vec(),
        ),
        ("/repo/app/benchmark.toml".to_owned(), benchmark),
        ("/repo/app/deploy.Dockerfile".to_owned(), Vec::new()),
        ("/repo/app/workload.js".to_owned(), b"export default function () {}".to_vec()),
    ]);
    plan(&files, Path::new("/repo/plans/p.toml"), &Overrides::default())
}

#[test]
fn a_load_must_suit_what_it_drives() {
    const SCRIPT: &str = "script = \"workload.js\"";
    const REQUESTS: &str = "requests = [{ name = \"a\", url = \"http://a\" }]";
    #[track_caller]
    fn check(workload: &str, header: &str, load: &str, words: Option<&str>) {
        let checked = plan_with(workload, header, load);
        let text = rendered(&checked.problems);
        match words {
            None => assert!(checked.value.is_some(), "{text}"),
            Some(words) => {
                assert!(checked.value.is_none(), "{load} is accepted");
                assert!(text.replace("\n  │ ", " ").contains(words), "no `{words}` in:\n{text}");
                assert!(checked.problems.iter().all(|problem| problem.line_column().is_some()), "{text}");
            }
        }
    }
    let two = "load_generators = [\"ssh://a\", \"ssh://b\"]";
    check(SCRIPT, "", "k6_options = \"full.json\"", None);
    check(SCRIPT, "", "k6_options = \"full.json\"\nmax_error_rate = 0.1", None);
    check(REQUESTS, "", "k6_options = \"full.json\"", Some("options for k6 drive scripts only"));
    check(SCRIPT, "", "k6_options = \"gone.json\"", Some("gone.json"));
    check(SCRIPT, "", "k6_options = \"full.json\"\nspeed = 2", Some("`speed` means nothing"));
    check(SCRIPT, "", "k6_options = \"full.json\"\nrate = 2", Some("`rate` belongs to"));
    check(
        SCRIPT,
        "",
        "k6_options = \"full.json\"\niterations = 2",
        Some("both `iterations` and `k6_options`"),
    );
    check(SCRIPT, "", "iterations = 2\nmax_lateness = \"1s\"", Some("`max_lateness` cannot be checked"));
    check(SCRIPT, two, "iterations = 2", Some("cannot be shared by several load generators"));
    check(SCRIPT, "", "users = 2\nduration = \"3s\"", None);
    check(
        SCRIPT,
        "",
        "users = 2\nduration = \"3s\"\nthink_time = \"1s\"",
        Some("`think_time` has no effect"),
    );
    check(SCRIPT, two, "users = 1\nduration = \"3s\"", Some("fewer users than load generators"));
    check(REQUESTS, "", "users = 1\nduration = \"3s\"\nthink_time = \"1s\"", None);
    check(SCRIPT, two, "constant = 2\nduration = \"3s\"", None);
    check(SCRIPT, "load_generators = [\"a\"]", "iterations = 2", Some("not the address of a Docker engine"));

    let plan = plan_with(SCRIPT, two, "constant = 2\nduration = \"3s\"").value.unwrap();
    let Some(Sent::Script(script)) = &plan.entries[0].benchmark.workload else { panic!("no script") };
    assert_eq!(script.generators, ["ssh://a", "ssh://b"], "the plan knows where its loads leave from");
}

#[test]
fn a_shared_workload_may_be_a_script_beside_itself() {
    let text = "[benchmark]\nname = \"a\"\nroot = \"..\"\n[targets.here]\n";
    let files = Snapshot::new([
        ("/repo/.git/HEAD", ""),
        ("/repo/app/benchmark.toml", &format!("workload = \"../shared/w.toml\"\n{text}")),
        ("/repo/shared/w.toml", "script = \"w.js\"\noptions = \"o.json\""),
        ("/repo/shared/w.js", "export default () => {};"),
        ("/repo/shared/o.json", "{}"),
    ]);
    let checked = benchmark(&files, Path::new("/repo/app/benchmark.toml"));
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    let Some(Sent::Script(script)) = &checked.value.unwrap().workload else { panic!("no script") };
    assert_eq!(script.path, Path::new("/repo/shared/w.js"));
}
