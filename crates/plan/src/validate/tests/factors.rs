//! Factors and labels say what was in force.

use super::*;

const MANIFEST: &str = "[benchmark]\nname = \"demo\"\n[params]\nmemory = 128\nidle = 1\n[targets.local]\ntraces = \"none\"\n\
                        [[deploy]]\nname = \"d\"\nrun = \"echo {{params.memory}}\"\n\
                        [[workload.requests]]\nname = \"r\"\nurl = \"http://127.0.0.1:9/\"\n";
const HEAD: &str = "[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"../app/benchmark.toml\"\n[matrix]\nmemory = [128, 256]\n";

fn read(plan_text: &str, overrides: &Overrides) -> Checked<Plan> {
    let files = Kept::new([("/repo/plans/p.toml".into(), plan_text.to_owned())].into(), files(MANIFEST));
    plan(&files, Path::new("/repo/plans/p.toml"), overrides)
}

/// What is wrong with a plan: the message of its only problem, or nothing.
#[track_caller]
fn check(text: &str, params: &[(&str, &str)], expected: Option<&str>) {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let checked = read(text, &Overrides { params, ..Overrides::default() });
    let messages: Vec<&str> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, expected.into_iter().collect::<Vec<_>>(), "{text}");
    assert_eq!(checked.value.is_some(), expected.is_none());
}

#[test]
fn a_factor_that_changes_nothing_is_an_error() {
    const NOTHING: Option<&str> = Some("the factor `memory` changes nothing");
    check(HEAD, &[], NOTHING);
    check(&format!("{HEAD}[labels]\nm = \"{{{{matrix.memory}}}}\"\n"), &[], NOTHING);
    check(&format!("{HEAD}[params]\nidle = \"{{{{matrix.memory}}}}\"\n"), &[], NOTHING);
    check(&HEAD.replace("[128, 256]", "[128]"), &[], NOTHING);
    check(&format!("{HEAD}[params]\nmemory = \"{{{{matrix.memory}}}}\"\n"), &[], None);
    check(&format!("{HEAD}[load]\niterations = \"{{{{matrix.memory}}}}\"\n"), &[], None);
    let named = |second: u64| {
        let loads = format!(
            "load = \"{{{{matrix.memory}}}}\"\n[loads.128]\niterations = 1\n[loads.256]\niterations = {second}\n[plan]"
        );
        HEAD.replace("[plan]", &loads)
    };
    check(&named(2), &[], None);
    check(&named(1), &[], NOTHING);
}

#[test]
fn a_factor_is_wired_for_each_application_that_has_several_levels_of_it() {
    let two = HEAD.replace(
        "[matrix]",
        "params = { memory = \"{{matrix.memory}}\" }\n[[applications]]\nname = \"other\"\nmanifest = \"../app/benchmark.toml\"\n[matrix]",
    );
    check(&two, &[], Some("the factor `memory` changes nothing of `other`"));
    let narrowed =
        two.replace("[128, 256]", "[128, 256]\nexclude = [ { application = \"other\", memory = 256 } ]");
    check(&narrowed, &[], None);
    // What an application says comes before what the plan says.
    let hidden = HEAD.replace("[matrix]", "params = { memory = 1 }\n[matrix]");
    check(
        &format!("{hidden}[params]\nmemory = \"{{{{matrix.memory}}}}\"\n"),
        &[],
        Some("the factor `memory` changes nothing"),
    );
}

#[test]
fn a_load_that_no_step_sends_is_told_and_is_no_use_of_a_factor() {
    let silent = format!("{MANIFEST}[[invoke]]\nname = \"i\"\nrun = \"true\"\n");
    let sent = silent.replace("run = \"true\"", "load = true");
    let found = |manifest: &str, text: &str| -> Vec<String> {
        let plan_file = ("/repo/plans/p.toml".into(), text.to_owned());
        let app = ("/repo/app/silent.toml".into(), silent.clone());
        let files = Kept::new([plan_file, app].into(), files(manifest));
        let checked = plan(&files, Path::new("/repo/plans/p.toml"), &Overrides::default());
        checked.problems.iter().map(|it| format!("{}: {}", it.severity.word(), it.message)).collect()
    };
    let load = "[load]\nconstant = \"{{matrix.memory}}\"\nduration = \"10s\"\n";
    let whole = format!("{HEAD}{load}");
    assert_eq!(
        found(&silent, &whole),
        ["error: the factor `memory` changes nothing", "warning: no invoke step of `demo` sends this load"]
    );
    assert_eq!(found(&sent, &whole), [""; 0]);
    assert_eq!(found(MANIFEST, &whole), [""; 0], "a benchmark without invoke steps sends it by itself");
    let own = HEAD.replace("[matrix]", "load = { iterations = 2 }\n[matrix]").replace("[128, 256]", "[128]");
    assert!(found(&silent, &own).contains(&"warning: no invoke step of `demo` sends this load".to_owned()));
    // A load of the whole plan may be for the others.
    let one = "[[applications]]\nmanifest = \"../app/silent.toml\"\nname = \"other\"\n[matrix]";
    let both = HEAD.replace("[matrix]", one);
    assert_eq!(
        found(MANIFEST, &format!("{both}{load}")),
        [
            "error: the factor `memory` changes nothing of `other`",
            "warning: no invoke step of `other` sends this load"
        ]
    );
    let fixed = both.replace("[matrix]\nmemory = [128, 256]\n", "[load]\niterations = 1\n");
    assert_eq!(found(MANIFEST, &fixed), ["warning: no invoke step of `other` sends this load"]);
}

#[test]
fn the_command_line_cannot_make_a_factor_or_a_label_a_lie() {
    let wired = format!("{HEAD}[params]\nmemory = \"{{{{matrix.memory}}}}\"\n");
    check(
        &wired,
        &[("memory", "512")],
        Some("`-p memory=…` overrides a parameter that follows `matrix.memory` in the plan"),
    );
    check(&wired, &[("idle", "2")], None);
    let plain = HEAD.replace(
        "[matrix]\nmemory = [128, 256]\n",
        "vars = { size = 64 }\n[params]\nmemory = \"{{vars.size}}\"\n",
    );
    check(&plain, &[("memory", "512")], None);
    check(
        &format!("{plain}[labels]\nsize = \"{{{{vars.size}}}}\"\n"),
        &[("memory", "512")],
        Some("`-p memory=…` overrides a parameter that follows `vars.size` in the plan"),
    );
}
