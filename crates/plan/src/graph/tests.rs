//! Graphs of small plans, as DOT; and properties that every graph has.

use std::path::Path;

use petgraph::visit::EdgeRef as _;

use super::{Format, Parts, RunGraph, Wait, build, render, tree};
use crate::manifest::read::Snapshot;
use crate::plan::{Overrides, Plan, expand};
use crate::validate;

const MANIFEST: &str = r#"
[benchmark]
name = "shop"
[params]
size = 1
[targets.aws]
traces = "xray"
[[deploy]]
name = "network"
run = "true {{params.size}}"
[[deploy]]
name = "database"
run = "true"
[[deploy]]
name = "stack"
needs = ["network", "database"]
run = "true"
[[workload.requests]]
name = "buy"
url = "http://127.0.0.1:1/"
[[cleanup]]
name = "stack"
run = "true"
[[cleanup]]
name = "network"
run = "true"
"#;

fn plan(text: &str) -> Plan {
    let files = Snapshot::new([
        ("/w/.git/HEAD", ""),
        ("/w/shop/benchmark.toml", MANIFEST),
        ("/w/plans/p.toml", text),
    ]);
    let checked = validate::plan(&files, Path::new("/w/plans/p.toml"), &Overrides::default());
    assert!(checked.value.is_some(), "{:#?}", checked.problems);
    checked.value.unwrap()
}

fn graph(text: &str, parts: Parts) -> RunGraph {
    let plan = plan(text);
    let expansion = expand(&plan);
    build(&plan, expansion, parts)
}

/// What a step waits for, and how.
fn waits_of(graph: &RunGraph, id: &str) -> Vec<(String, Wait)> {
    let node = graph.find(&crate::id::StepId::new(id)).unwrap();
    let edges = graph.graph.edges_directed(node, petgraph::Direction::Incoming);
    let mut waits: Vec<_> =
        edges.map(|edge| (graph.graph[edge.source()].id.to_string(), *edge.weight())).collect();
    waits.sort();
    waits
}

fn dot(graph: &RunGraph) -> String {
    let mut text = String::new();
    render(graph, Format::Dot, &mut text).unwrap();
    text
}

const ONE: &str = "[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"../shop/benchmark.toml\"\n";

const MANY: &str = r#"
[plan]
name = "p"
[[applications]]
name = "one"
manifest = "../shop/benchmark.toml"
[[applications]]
name = "two"
manifest = "../shop/benchmark.toml"
[matrix]
memory = [128, 256]
exclude = [ { memory = 256, application = "two" } ]
[params]
size = "{{matrix.memory}}"
[trials]
repetitions = 2
per_deployment = 2
[timing]
before_invoke = "1s"
before_traces = "2s"
"#;

#[test]
fn a_plan_of_one_application_as_dot() {
    insta::assert_snapshot!(dot(&graph(ONE, Parts::ALL)));
}

#[test]
fn a_plan_with_a_matrix_repetitions_and_trials_as_a_tree() {
    let mut text = String::new();
    tree(&graph(MANY, Parts::ALL), &mut text).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn a_trial_that_may_not_be_needed_waits_for_a_decision() {
    let until = "until = { of = \"mean\", relative_width = 0.1, min = 2, max = 4 }";
    let text = format!("{ONE}[trials]\n{until}\n");
    let graph = graph(&text, Parts::ALL);
    let decisions: Vec<&str> = graph
        .graph
        .node_weights()
        .filter(|step| step.action_name() == "decide")
        .map(|step| step.id.as_str())
        .collect();
    // Not before the second, and not after the last.
    assert_eq!(decisions, ["shop.1/t2/decide", "shop.1/t3/decide"]);
    let waits = |id: &str| waits_of(&graph, id);
    let of = |id: &str, wait| (format!("shop.1/{id}"), wait);
    assert_eq!(waits("shop.1/t2/decide"), [of("t2/analyze-traces", Wait::ForEnd)]);
    assert_eq!(
        waits("shop.1/t3/decide"),
        [of("t2/decide", Wait::ForSuccess), of("t3/analyze-traces", Wait::ForEnd)]
    );
    let load = "shop.1/t4/invoke/load";
    assert_eq!(waits(load), [of("deploy/stack", Wait::ForSuccess), of("t3/decide", Wait::ForSuccess)]);
    assert!(waits("shop.1/cleanup/stack").contains(&of("t3/decide", Wait::ForEnd)));
}

#[test]
fn single_commands_are_parts_of_the_same_graph() {
    let whole = graph(ONE, Parts::ALL);
    for parts in [
        Parts { deploy: true, ..Parts::NONE },
        Parts { invoke: true, ..Parts::NONE },
        Parts { get_traces: true, ..Parts::NONE },
        Parts { analyze: true, ..Parts::NONE },
        Parts { cleanup: true, ..Parts::NONE },
    ] {
        let part = graph(ONE, parts);
        assert!(part.graph.node_count() > 0, "{parts:?}");
        for step in part.graph.node_weights() {
            assert!(whole.find(&step.id).is_some(), "{}", step.id);
        }
    }
}

#[test]
fn the_same_plan_gives_the_same_graph_and_a_random_order_depends_on_the_seed_alone() {
    assert_eq!(dot(&graph(MANY, Parts::ALL)), dot(&graph(MANY, Parts::ALL)));
    let ranks = |seed: u32| {
        let text = MANY.replace("[trials]", &format!("[trials]\norder = \"random\"\nseed = {seed}"));
        let graph = graph(&text, Parts::ALL);
        graph
            .deployments
            .iter()
            .flat_map(|deployment| &deployment.trials)
            .map(|trial| trial.rank)
            .collect::<Vec<_>>()
    };
    assert_eq!(ranks(1), ranks(1));
    assert!((2..20).any(|seed| ranks(seed) != ranks(1)));
    let mut sorted = ranks(3);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..12).collect::<Vec<_>>(), "every trial has a rank of its own");
}

#[test]
fn orders_rank_trials_as_their_names_say() {
    let order = |order: &str| {
        let graph = graph(&MANY.replace("[trials]", &format!("[trials]\norder = \"{order}\"")), Parts::ALL);
        let mut trials: Vec<_> = graph.deployments.iter().flat_map(|deployment| &deployment.trials).collect();
        trials.sort_by_key(|trial| trial.rank);
        trials.iter().take(6).map(|trial| trial.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        order("sequential"),
        [
            "one.memory=128.1/t1",
            "one.memory=128.1/t2",
            "one.memory=256.1/t1",
            "one.memory=256.1/t2",
            "one.memory=128.2/t1",
            "one.memory=128.2/t2"
        ]
    );
    assert_eq!(
        order("interleaved"),
        [
            "one.memory=128.1/t1",
            "two.memory=128.1/t1",
            "one.memory=128.1/t2",
            "two.memory=128.1/t2",
            "one.memory=256.1/t1",
            "two.memory=128.2/t1"
        ]
    );
}

/// What every graph must be, however the plan looks.
#[track_caller]
fn check_shape(text: &str) {
    let run = graph(text, Parts::ALL);
    assert!(!petgraph::algo::is_cyclic_directed(&run.graph));
    for node in run.graph.node_indices() {
        let step = &run.graph[node];
        let incoming: Vec<_> = run.graph.edges_directed(node, petgraph::Direction::Incoming).collect();
        if step.is_cleanup() {
            assert!(incoming.iter().all(|edge| *edge.weight() == Wait::ForEnd), "{}", step.id);
            // Every other step of the deployment has ended before: it reaches the cleanup.
            for other in run.graph.node_indices() {
                let before = &run.graph[other];
                if before.deployment == step.deployment && !before.is_cleanup() {
                    assert!(
                        petgraph::algo::has_path_connecting(&run.graph, other, node, None),
                        "{} -> {}",
                        before.id,
                        step.id
                    );
                }
            }
        }
        if step.is_invoke() {
            let deploys =
                |edge: &petgraph::graph::EdgeReference<'_, Wait>| run.graph[edge.source()].is_deploy();
            let gated =
                incoming.iter().any(|edge| deploys(edge) || run.graph[edge.source()].pause().is_some());
            assert!(gated, "{}", step.id);
        }
    }
}

#[test]
fn cleanup_comes_after_everything_else_and_load_after_deployment() {
    check_shape(ONE);
    check_shape(MANY);
    check_shape(&MANY.replace("[trials]", "[trials]\norder = \"sequential\""));
    check_shape(&MANY.replace("[trials]", "[trials]\norder = \"random\""));
}

#[test]
fn levels_that_look_alike_have_deployments_of_their_own() {
    let text = MANY
        .replace("[128, 256]", "[\"a b\", \"a/b\"]")
        .replace("exclude = [ { memory = 256, application = \"two\" } ]\n", "")
        .replace("size = \"{{matrix.memory}}\"", "")
        .replace("[plan]", "load = \"{{matrix.memory}}\"\n[loads.\"a b\"]\niterations = 1\n[loads.\"a/b\"]\niterations = 2\n[plan]");
    let run = graph(&text, Parts::ALL);
    let mut ids: Vec<_> = run.graph.node_weights().map(|step| step.id.clone()).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(
        run.deployments.iter().any(|deployment| deployment.key == "one.memory=a_b.1~2"),
        "{:?}",
        run.deployments
    );
}

#[test]
fn loads_that_begin_together_wait_for_all_deployments_of_their_round() {
    let text = "plan = { name = \"p\" }\nload = { iterations = 1 }\n\
        [concurrency]\ndeploy = 2\ninvoke = 2\ntogether = true\n\
        [trials]\norder = \"interleaved\"\nrepetitions = 2\n\
        [[applications]]\nmanifest = \"../shop/benchmark.toml\"\nname = \"one\"\n\
        [[applications]]\nmanifest = \"../shop/benchmark.toml\"\nname = \"two\"\n";
    let graph = graph(text, Parts::ALL);
    assert!(!petgraph::algo::is_cyclic_directed(&graph.graph));
    let waits = |id: &str| waits_of(&graph, id);
    for (own, other) in [("one", "two"), ("two", "one")] {
        for repetition in 1..=2 {
            let mut expected = vec![
                (format!("{own}.{repetition}/deploy/stack"), Wait::ForSuccess),
                // A failed deployment of another application does not keep a load from beginning.
                (format!("{other}.{repetition}/deploy/stack"), Wait::ForEnd),
            ];
            expected.sort();
            assert_eq!(waits(&format!("{own}.{repetition}/t1/invoke/load")), expected);
        }
    }
    let written = |format| {
        let mut text = String::new();
        render(&graph, format, &mut text).unwrap();
        text
    };
    let edge = "\"two.1/deploy/stack\" -> \"one.1/t1/invoke/load\" [style = dotted, label = \"together\"];";
    assert!(written(Format::Dot).contains(edge), "{}", written(Format::Dot));
    assert_eq!(written(Format::Mermaid).matches("-. together .->").count(), 4);
    let json: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
    let together = json["edges"].as_array().unwrap().iter().filter(|edge| edge["together"] == true);
    assert!(
        together.clone().count() == 4 && together.clone().all(|edge| edge["wait"] == "for_end"),
        "{json:#}"
    );
    let mut text = String::new();
    tree(&graph, &mut text).unwrap();
    assert!(text.contains("load, together with two.1\n"), "{text}");
}
