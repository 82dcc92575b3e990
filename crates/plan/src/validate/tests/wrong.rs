//! Files with one mistake each: its rule, place and way out.

use super::super::{benchmark, plan};
use super::*;

/// `tests/schemas.py` reads the same files with editors' tools.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong")
}

fn problems(kind: &str, path: &Path) -> Vec<Problem> {
    match kind {
        "plan" => plan(&Disk, path, &Overrides::default()).problems,
        _ => benchmark(&Disk, path).problems,
    }
}

#[test]
fn each_mistake_is_reported_once_with_its_place_and_a_way_out() {
    let (mut all, mut panics) = (String::new(), String::new());
    let mut count = 0;
    for kind in ["benchmark", "plan"] {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder().join(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
        paths.sort();
        for path in paths {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let found = problems(if name == "good" { "benchmark" } else { kind }, &path);
            if name.starts_with("good") {
                assert!(found.is_empty(), "{}", rendered(&found));
                continue;
            }
            count += 1;
            let [problem] = found.as_slice() else {
                panics += &format!(
                    "{kind}/{name} {:?}\n",
                    found.iter().map(|it| (it.code, it.line_column())).collect::<Vec<_>>()
                );
                continue;
            };
            let (line, column) = problem.line_column().unwrap_or_default();
            let help = problem.help.as_deref().unwrap_or_default();
            assert!(line > 0 && !help.is_empty(), "{kind}/{name}\n{}", rendered(&found));
            let help = help.replace(&*folder().to_string_lossy(), "…");
            let Problem { code, message, .. } = problem;
            let _ = writeln!(all, "{kind}/{name}:{line}:{column} {code}\n  {message}\n  {help}");
        }
    }
    assert!(panics.is_empty(), "not one problem:\n{panics}");
    assert!(count >= 100, "{count} files");
    insta::assert_snapshot!("wrong", all);
}
