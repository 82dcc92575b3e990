//! The programs in `examples/`: what they print is what their readers see first.

use std::path::Path;

#[path = "../../examples/plan.rs"]
#[expect(dead_code, reason = "its `main` only prints what `describe` returns")]
mod plan;

#[test]
fn the_example_of_a_plan_shows_its_deployments_trials_and_steps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = plan::describe(&root.join("plans/quickstart.toml")).unwrap();
    for part in [
        "quickstart: ",
        "executor host",
        "\nhello-http.1 (hello-http on local)\n  load: 100 invocations in 10s\n  trial hello-http.1/t1\n",
        "  step async-pipeline.1/deploy/stack (local up), waits for 0\n",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn the_example_of_a_plan_shows_every_problem_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.toml");
    std::fs::write(
        &path,
        "[plan]\nname = \"a b\"\nexecutor = \"hots\"\n[[applications]]\nmanifest = \"b.toml\"\n",
    )
    .unwrap();
    let text = plan::describe(&path).unwrap_err();
    for (line, part) in
        [(2, "cannot be the name of a plan"), (3, "unknown value `hots`"), (3, "did you mean `host`?")]
    {
        assert!(
            text.contains(&format!("wrong.toml:{line}:")) && text.contains(part),
            "{part} is not in:\n{text}"
        );
    }
}
