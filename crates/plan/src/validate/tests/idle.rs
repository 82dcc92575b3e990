//! What a plan or manifest holds and nothing uses.

use super::*;

const MANIFEST: &str = "[benchmark]\nname = \"demo\"\n[targets.local]\n[[deploy]]\nname = \"d\"\nrun = \"true\"\nlocks = [\"of-step\"]\n\
                        [[cleanup]]\nname = \"d\"\nrun = \"true\"\n[[workload.requests]]\nname = \"r\"\nurl = \"http://127.0.0.1:9/\"\n";
const APPLICATION: &str = "[[applications]]\nmanifest = \"../app/benchmark.toml\"\n";

/// The messages about a plan of two applications; `own` stands in the second.
fn of_plan(top: &str, own: &str, rest: &str) -> Vec<String> {
    let text = format!(
        "{top}[plan]\nname = \"p\"\n{APPLICATION}name = \"one\"\n{APPLICATION}name = \"two\"\n{own}{rest}"
    );
    let files = Kept::new([("/repo/plans/p.toml".into(), text)].into(), files(MANIFEST));
    let checked = super::super::plan(&files, Path::new("/repo/plans/p.toml"), &Overrides::default());
    checked.problems.iter().map(|problem| format!("{}: {}", problem.code, problem.message)).collect()
}

#[test]
fn a_load_that_nothing_names_is_told() {
    let loads = "[loads.a]\niterations = 1\n[loads.b]\niterations = 2\n";
    let unused = |name: &str| format!("unused-load: no application sends the load `{name}`");
    assert_eq!(of_plan("", "", loads), [unused("a"), unused("b")]);
    assert_eq!(of_plan("", "load = \"b\"\n", loads), [unused("a")]);
    assert_eq!(of_plan("load = \"a\"\n", "load = \"b\"\n", loads), [""; 0]);
    // The matrix chooses among all of them.
    let chosen = format!("[matrix]\nload = [\"a\", \"b\"]\n{loads}");
    assert_eq!(of_plan("load = \"{{matrix.load}}\"\n", "", &chosen), [""; 0]);
    // A misspelt name is one mistake.
    assert_eq!(of_plan("load = \"c\"\n", "load = \"a\"\n", loads).len(), 1);
}

#[test]
fn a_load_of_the_plan_that_every_application_replaces_is_told() {
    let text = |first: &str| {
        let first = format!(
            "{APPLICATION}name = \"one\"\n{first}{APPLICATION}name = \"two\"\nload = {{ iterations = 2 }}\n"
        );
        let text = format!("load = {{ iterations = 1 }}\n[plan]\nname = \"p\"\n{first}");
        let files = Kept::new([("/repo/plans/p.toml".into(), text)].into(), files(MANIFEST));
        let problems =
            super::super::plan(&files, Path::new("/repo/plans/p.toml"), &Overrides::default()).problems;
        problems.iter().map(|problem| (problem.code, problem.line_column())).collect::<Vec<_>>()
    };
    assert_eq!(text("load = { iterations = 3 }\n"), [("unused-load", Some((1, 8)))]);
    assert_eq!(text(""), []);
}

#[test]
fn a_lock_that_nothing_takes_and_a_value_that_nothing_reads_are_told() {
    let locks = "[locks]\nof-step = 1\nof-application = 1\nidle = 1\n";
    let own = "locks = [\"of-application\"]\n";
    assert_eq!(of_plan("", own, locks), ["unused-lock: no step takes the lock `idle`"]);
    assert_eq!(of_plan("", "locks = [\"idle2\"]\n", locks).len(), 1, "a misspelt name is one mistake");
    let vars = "vars = { rate = 1, idle = 2 }\n";
    let unused = "unused-var: nothing reads the value `idle`";
    let places = ["[labels]\nl = \"{{vars.rate}}\"\n", "[load]\niterations = \"{{vars.rate}}\"\n"];
    for place in places {
        // The first application does not have it, which is another mistake.
        let told = of_plan("", vars, place);
        assert!(told.iter().any(|one| one == unused), "{place}: {told:?}");
        assert!(!told.iter().any(|one| one.contains("reads the value `rate`")), "{place}: {told:?}");
    }
    let inline = "vars = { rate = 1 }\nload = { iterations = \"{{vars.rate}}\" }\n";
    assert_eq!(of_plan("", inline, ""), [""; 0]);
}

#[test]
fn a_workload_that_no_target_sends_is_told() {
    let check = |invoke: &str, told: bool| {
        let checked = super::super::benchmark(
            &files(&format!("{MANIFEST}{invoke}")),
            Path::new("/repo/app/benchmark.toml"),
        );
        let codes: Vec<&str> = checked.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, if told { vec!["unused-workload"] } else { vec![] }, "{invoke}");
    };
    check("", false);
    check("[[invoke]]\nname = \"i\"\nload = true\n", false);
    check("[[invoke]]\nname = \"i\"\nrun = \"make measure\"\n", true);
    // Another target sends it.
    let targets = "[[invoke]]\nname = \"i\"\ntarget = \"local\"\nrun = \"x\"\n[targets.aws]\n[[invoke]]\nname = \"j\"\ntarget = \"aws\"\nload = true\n";
    let checked = super::super::benchmark(
        &files(&format!("{MANIFEST}{targets}")),
        Path::new("/repo/app/benchmark.toml"),
    );
    assert!(!checked.problems.iter().any(|problem| problem.code == "unused-workload"));
}
