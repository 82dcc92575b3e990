//! Repositories that mean harm, or are only very large: read in time and memory that grow with them, and not beyond them.

use std::time::Instant;

use super::*;

const TARGET: &str = "[targets.local]\ntraces = \"none\"\n";

/// How long it takes, in a build that is several times slower than a release; the square of these would take minutes.
#[track_caller]
fn quickly(what: &str, text: &str, errors: bool) -> Checked<Arc<Benchmark>> {
    let began = Instant::now();
    let checked = read(text);
    assert!(began.elapsed() < Duration::from_secs(20), "{what}: {:?}", began.elapsed());
    assert_eq!(checked.problems.iter().any(Problem::is_error), errors, "{what}");
    checked
}

fn steps(count: usize, more: impl Fn(usize) -> String) -> String {
    let steps =
        (0..count).map(|step| format!("[[deploy]]\nname = \"s{step}\"\nrun = \"true\"\n{}\n", more(step)));
    format!("{HEAD}{TARGET}{}", steps.collect::<String>())
}

#[test]
fn thousands_of_steps_needs_and_mistakes_are_checked_quickly() {
    let chain = quickly("a chain", &steps(8000, |_| String::new()), false).value.unwrap();
    assert_eq!(chain.targets["local"].deploy[7999].needs, ["s7998"]);
    quickly(
        "backwards",
        &steps(4000, |step| {
            if step == 3999 { "needs = []".to_owned() } else { format!("needs = \"s{}\"", step + 1) }
        }),
        false,
    );
    quickly("a circle", &steps(4000, |step| format!("needs = \"s{}\"", (step + 1) % 4000)), true);
    quickly("unknown needs", &steps(2000, |step| format!("needs = \"x{step}\"")), true);
    quickly(
        "undefined values",
        &steps(1000, |step| format!("env = {{ A = \"{{{{params.q{step}}}}}\" }}")),
        true,
    );
    let both = steps(5000, |step| format!("zz = 1\nenv = {{ A = \"{{{{params.q{step}}}}}\" }}"));
    let checked = quickly("unknown keys beside undefined values", &both, true);
    let of = |code: &str| checked.problems.iter().filter(|problem| problem.code == code).count();
    assert_eq!((of("unknown-key"), of("undefined-value")), (5000, 5000));
    let keys: String = (0..8000).map(|key| format!("k{key} = 1\n")).collect();
    quickly("unknown keys", &format!("{HEAD}{keys}{TARGET}"), true);
    let many = "{{params.a}} ".repeat(8000);
    let text = format!("{HEAD}[params]\na = 1\n{TARGET}[[deploy]]\nname = \"s\"\nrun = \"echo {many}\"\n");
    quickly("placeholders", &text, false);
    let targets: String = (0..8000).map(|target| format!("[targets.t{target}]\n")).collect();
    let checked = quickly("targets", &format!("{HEAD}{targets}"), true);
    assert_eq!(checked.problems.len(), 1, "{}", rendered(&checked.problems[..1]));
}

/// Whatever is wrong with a template, its text is in memory once.
#[test]
fn problems_of_a_template_share_its_text() {
    let count = 3000;
    let template = "Transform: AWS::Serverless-2016-10-31\nResources:\n".to_owned()
        + &(0..count).map(|it| format!("  F{it}:\n    Type: AWS::Foo::Bar{it}\n")).collect::<String>()
        + "Outputs:\n"
        + &(0..count).map(|it| format!("  O{it}: {{Value: !Sub \"${{Q{it}}}\"}}\n")).collect::<String>();
    let manifest = format!(
        "{HEAD}{TARGET}[[deploy]]\nname = \"s\"\nlocal = {{ template = \"t.yaml\" }}\n[[cleanup]]\nname = \"s\"\nlocal = {{ down = true }}\n"
    );
    let files = Snapshot::new([("/repo/benchmark.toml", manifest), ("/repo/t.yaml", template)]);
    let began = Instant::now();
    let checked = benchmark(&files, Path::new("/repo/benchmark.toml"));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let mut sources: Vec<_> = checked
        .problems
        .iter()
        .filter(|problem| problem.code == "invalid-template")
        .filter_map(|problem| problem.source.clone())
        .collect();
    assert!(sources.len() >= count, "{}", sources.len());
    sources.dedup_by(|one, other| Arc::ptr_eq(one, other));
    assert_eq!(sources.len(), 1);
}

#[test]
fn many_keys_of_yaml_are_read_quickly() {
    let keys: String = (0..20_000).map(|key| format!("  k{key}: 1\n")).collect();
    let text = format!("benchmark: {{name: d}}\ntargets: {{local: {{traces: none}}}}\nparams:\n{keys}");
    let files = Snapshot::new([("/repo/benchmark.yaml", text)]);
    let began = Instant::now();
    assert!(benchmark(&files, Path::new("/repo/benchmark.yaml")).value.is_some());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn what_is_no_regular_file_or_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(std::process::Command::new("mkfifo").arg(at("fifo.toml")).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", at("zero.toml")).unwrap();
    std::os::unix::fs::symlink("fifo.toml", at("pipe.toml")).unwrap();
    std::fs::File::create(at("large.toml")).unwrap().set_len(crate::manifest::read::LARGEST + 1).unwrap();
    std::fs::write(at("long.toml"), format!("{HEAD}#{}\n", "x".repeat(3 << 20))).unwrap();
    for (name, words) in [
        ("fifo.toml", "not a regular file"),
        ("zero.toml", "leads out of"),
        ("pipe.toml", "not a regular file"),
        ("large.toml", "larger than 2048 KiB"),
        ("long.toml", "larger than 2048 KiB"),
    ] {
        let checked = benchmark(&Disk, &at(name));
        let [problem] = checked.problems.as_slice() else { panic!("{name}: {:?}", checked.problems) };
        assert!(problem.message.contains(words), "{name}: {}", problem.message);
    }
}

#[test]
fn a_pipe_that_a_run_would_wait_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for pipe in ["deploy.sh", "lib.js"] {
        assert!(std::process::Command::new("mkfifo").arg(at(pipe)).status().unwrap().success());
    }
    std::fs::write(at("load.js"), "import { a } from './lib.js'; export default a").unwrap();
    let deploy = format!("{HEAD}{TARGET}[[deploy]]\nname = \"d\"\nrun = ");
    for (text, pipe) in [
        (format!("{deploy}\"sh deploy.sh\"\n"), "deploy.sh"),
        (format!("{deploy}\"true\"\n[workload]\nscript = \"load.js\"\n"), "lib.js"),
    ] {
        std::fs::write(at("benchmark.toml"), text).unwrap();
        let checked = benchmark(&Disk, &at("benchmark.toml"));
        let [problem] = checked.problems.as_slice() else { panic!("{:?}", checked.problems) };
        assert!(problem.is_error() && problem.message.contains(pipe), "{}", problem.message);
        assert!(problem.message.ends_with("is no regular file"), "{}", problem.message);
    }
}

#[test]
fn a_load_reads_no_file_outside_of_its_work_tree() {
    let manifest = format!(
        "{HEAD}{TARGET}[[deploy]]\nname = \"d\"\nrun = \"true\"\n[[workload.requests]]\nname = \"r\"\nurl = \"http://a/\"\n"
    );
    let check = |load: &str, allowed: bool| {
        let plan_text = format!(
            "[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"../app/benchmark.toml\"\n[load]\n{load}\n"
        );
        let files = Snapshot::new([
            ("/a/plans/p.toml", plan_text.as_str()),
            ("/a/load.toml", load),
            ("/a/app/benchmark.toml", manifest.as_str()),
            ("/b/secret", "root:secret"),
            ("/a/t.csv", "InvocationsPerMinute\n60\n60\n60\n60\n"),
        ]);
        let checked = plan(&files, Path::new("/a/plans/p.toml"), &Overrides::default());
        let text = rendered(&checked.problems);
        assert_eq!(checked.value.is_some(), allowed, "{load} {text}");
        assert!(!text.contains("root:secret") && (allowed || text.contains("lies outside of /a")), "{text}");
    };
    check("csv = \"../t.csv\"", true);
    check("csv = \"../../b/secret\"", false);
    check("csv = \"/b/secret\"", false);
    check("k6_options = \"../../b/secret\"", false);
}

#[test]
fn a_plan_reads_no_manifest_outside_of_its_work_tree() {
    let manifest = format!("{HEAD}{TARGET}[[deploy]]\nname = \"d\"\nrun = \"true\"\n");
    let check = |plan_path: &str, manifest_path: &str, more: &[(&str, &str)], allowed: bool| {
        let plan_text = format!("[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"{manifest_path}\"\n");
        let all = [
            (plan_path, plan_text.as_str()),
            ("/etc/shadow", "root:secret"),
            ("/a/b/app/benchmark.toml", &manifest),
        ];
        let files = Snapshot::new(all.into_iter().chain(more.iter().copied()));
        let checked = plan(&files, Path::new(plan_path), &Overrides::default());
        assert_eq!(checked.value.is_some(), allowed, "{plan_path} {}", rendered(&checked.problems));
        assert!(!rendered(&checked.problems).contains("root:secret"));
    };
    check("/a/b/plans/p.toml", "/etc/shadow", &[], false);
    check("/a/b/plans/p.toml", "../../../etc/shadow", &[("/a/.git/HEAD", "")], false);
    check("/a/b/plans/p.toml", "../app/benchmark.toml", &[], true);
    check("/a/b/p.toml", "app/benchmark.toml", &[], true);
    check("/a/c/p.toml", "../b/app/benchmark.toml", &[], false);
    check("/a/c/p.toml", "../b/app/benchmark.toml", &[("/a/.git/HEAD", "")], true);
    check("/a/c/p.toml", "../b/app/benchmark.toml", &[("/a/.sb/state.db", "")], true);
    check("/a/b/plans/p.toml", "../app/benchmark.toml", &[("/a/b/plans/.sb/state.db", "")], true);
}
