//! The way out of a problem is one that leads out.

use super::*;

/// The message and the help of the only problem of a manifest.
#[track_caller]
fn check(rest: &str, message: &str, help: &str) {
    let problems = read(&with_local(rest)).problems;
    let found: Vec<(&str, &str)> =
        problems.iter().map(|it| (it.message.as_str(), it.help.as_deref().unwrap_or_default())).collect();
    assert_eq!(found, [(message, help)], "{rest}");
}

#[test]
fn a_step_that_uses_its_own_output_is_told_so() {
    check(
        "[[deploy]]\nname = \"one\"\nrun = \"echo {{outputs.url}}\"\noutputs.url = { line = -1 }\n",
        "the step `one` uses `url`, which is its own output",
        "a step cannot use its own output: it is known when the step has ended",
    );
}

#[test]
fn quotes_around_a_value_are_part_of_what_is_replaced() {
    let check = |run: &str, written: &str| {
        check(
            &format!("[params]\nn = 5\n[[deploy]]\nname = \"one\"\nrun = {run}\n"),
            if run.starts_with('\'') {
                "`{{params.n}}` stands inside double quotes, where its value cannot be quoted"
            } else {
                "`{{params.n}}` stands inside single quotes, where its value cannot be quoted"
            },
            &format!("pass it by environment: `env = {{ N = \"{{{{params.n}}}}\" }}`, and write {written}"),
        );
    };
    check("\"echo '{{params.n}}'\"", "`echo \"$N\"`: no single quotes around it");
    check("\"echo '{{params.n}}' | sort\"", "`echo \"$N\" | sort`: no single quotes around it");
    check(
        "\"echo 'x {{params.n}}'\"",
        "`'\"$N\"'` in its place: the quotes around it end the text before it, and begin the text after it",
    );
    check("'echo \"x {{params.n}}\"'", "`${N}` here");
}

#[test]
fn help_does_not_name_what_cannot_help() {
    check(
        "[[deploy]]\nname = \"one\"\nneeds = [\"two\"]\nrun = \"true\"\n",
        "the step `one` needs `two`, but no deploy step of that name runs on the target `local`",
        "there is no other deploy step on `local`: remove the name from `needs`, or add the step",
    );
    let up =
        |name: &str| format!("[[deploy]]\nname = \"{name}\"\nlocal = {{ template = \"template.yaml\" }}\n");
    let problems = read(&with_local(&format!("{}{}", up("one"), up("two")))).problems;
    let help = "limit `one` or `two` to another target with `target`, or use one template";
    let twice = problems.iter().filter(|it| it.code == "duplicate-name");
    assert!(twice.clone().count() > 0);
    assert!(twice.clone().all(|it| it.help.as_deref() == Some(help)), "{}", rendered(&problems));
    let made =
        |name: &str| format!("[[deploy]]\nname = \"{name}\"\nrun = \"x\"\noutputs.a = {{ line = -1 }}\n");
    check(
        &format!("{}{}", made("one"), made("two")),
        "the output `a` is made by both `one` and `two` on the target `local`",
        "give the output another name in `two`",
    );
}

#[test]
fn requests_that_cannot_be_sent_are_told_apart() {
    let check = |request: &str, message: &str, help: &str| {
        check(&format!("[[workload.requests]]\nname = \"r\"\n{request}\n"), message, help);
    };
    let url = "url = \"http://127.0.0.1:9/\"\n";
    check(
        &format!("{url}headers = {{ a = \"x\\u0000y\" }}"),
        "a header cannot hold a NUL byte",
        "remove the NUL byte (`\\u0000` in the file)",
    );
    check(
        &format!("{url}headers = {{ a = \"x\\ny\" }}"),
        "a header cannot hold a line break",
        "write the value on one line",
    );
    check(
        "url = \"http://[::1/x\"",
        "the URL has a `[` without its `]`",
        "close the address of IPv6: \"http://[::1]:8080/path\"",
    );
    for empty in ["http://", "http:///x", "http://?a=b"] {
        check(
            &format!("url = \"{empty}\""),
            "the URL has no host",
            "write the host after `://`: \"http://127.0.0.1:8080/path\"",
        );
    }
    check(
        &format!("{url}expect = {{ status = \"200\" }}"),
        "expected a status (a number) or a list of them, found a string",
        "write it without quotes if that is what is meant: 200",
    );
    check(
        &format!("{url}expect = {{ status = [] }}"),
        "no status counts as a success",
        "list at least one status, or remove `status`: then every 2xx and 3xx counts",
    );
}

#[test]
fn a_parameter_is_given_once_on_the_command_line() {
    let manifest = with_local("[params]\nn = 1\n[[deploy]]\nname = \"d\"\nrun = \"echo {{params.n}}\"\n");
    let text = "[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"../app/benchmark.toml\"\n";
    let found = |params: &[(&str, &str)]| -> Vec<String> {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let files = Kept::new([("/repo/plans/p.toml".into(), text.to_owned())].into(), files(&manifest));
        let overrides = Overrides { params, ..Overrides::default() };
        let checked = plan(&files, Path::new("/repo/plans/p.toml"), &overrides);
        checked.problems.into_iter().map(|it| it.message).collect()
    };
    assert_eq!(found(&[("n", "5")]), [""; 0]);
    assert_eq!(found(&[("n", "5"), ("n", "6")]), ["`-p n=…` is given twice"]);
}

#[test]
fn a_runtime_in_other_letters_is_told_its_name() {
    let manifest = with_local("[[deploy]]\nname = \"d\"\nlocal = { template = \"template.yaml\" }\n");
    let template = TEMPLATE.replace("python3.12", "Python3.12");
    let files = Kept::new([("/repo/app/template.yaml".into(), template)].into(), files(&manifest));
    let problems = benchmark(&files, Path::new("/repo/app/benchmark.toml")).problems;
    let help: Vec<_> = problems.iter().filter_map(|it| it.help.as_deref()).collect();
    assert_eq!(help, ["write `python3.12`: names of runtimes are in lower case"]);
}
