//! What must hold for any input of the trace readers, and for any manifest, plan and template. The targets in `fuzz_targets/` differ only in how they make an
//! input from the fuzzer's bytes.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a finding is a panic")]

use std::path::Path;

use miette::{GraphicalReportHandler, GraphicalTheme};
use sb_analysis::{
    Activity, Analysis, BREAKDOWN_HEADER, Method, Rejected, Source, analyze, analyze_text,
    otlp_json_of_protobuf, read_breakdown, read_otlp,
};

use sb_plan::graph::{Parts, build};
use sb_plan::manifest::problem::Problem;
use sb_plan::manifest::read::Snapshot;
use sb_plan::plan::{Overrides, expand};
use sb_plan::validate;
use sb_sam::Template;

/// One trace, in whatever format it looks like.
pub fn check_text(text: &str) {
    check_outcome(analyze_text(text));
}

/// One trace of Application Insights.
pub fn check_app_insights(text: &str) {
    let method = Method { source: Source::AppInsights, ..Method::default() };
    check_outcome(method.analyze_text(text));
}

/// The traces of an OpenTelemetry export.
pub fn check_otlp(text: &str) {
    let method = Method::default();
    for recorded in read_otlp(text) {
        check_outcome(recorded.and_then(|recorded| method.explain(recorded)));
    }
}

/// It is explained without gaps, and its row reads back as it was written, or it is rejected with a sentence.
fn check_outcome(outcome: Result<Analysis, Rejected>) {
    let analysis = match outcome {
        Ok(analysis) => analysis,
        Err(rejected) => {
            assert!(rejected.reason.message().starts_with(rejected.reason.code()));
            return;
        }
    };
    for pair in analysis.pieces.windows(2) {
        assert_eq!(pair[0].end, pair[1].start, "pieces follow each other");
    }
    let (first, last) = (analysis.pieces.first().unwrap(), analysis.pieces.last().unwrap());
    let sum: i64 = Activity::ALL.iter().filter_map(|&activity| analysis.row.part(activity)).sum();
    assert_eq!(last.end - first.start, sum, "the parts are the pieces");
    assert!((sum - analysis.row.duration).abs() <= 1_001, "the parts are the duration");
    let mut file = String::from(BREAKDOWN_HEADER);
    analysis.row.write(&mut file);
    assert_eq!(read_breakdown(file.as_bytes()).unwrap(), [analysis.row], "{file}");
}

/// A file of traces: as many rows as the summary says, each readable.
pub fn check_file(bytes: &[u8]) {
    let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
    let summary =
        analyze(std::io::Cursor::new(bytes.to_vec()), &mut breakdown, &mut invalid, &|_| {}).unwrap();
    assert_eq!(read_breakdown(&*breakdown).unwrap().len() as u64, summary.valid);
    let mut reader = csv::Reader::from_reader(&*invalid);
    assert_eq!(reader.records().map(Result::unwrap).count() as u64, summary.invalid);
    assert_eq!(summary.reasons.values().sum::<u64>(), summary.invalid);
}

/// A file of OTLP in protobuf: it is read, or there is a reason why not; and each request that is read is JSON.
pub fn check_otlp_protobuf(bytes: &[u8]) {
    if let Ok(json) = otlp_json_of_protobuf(bytes.to_vec().into()) {
        check_otlp(&json);
    }
    let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
    let input = std::io::Cursor::new(bytes.to_vec());
    if let Ok(summary) = analyze(input, &mut breakdown, &mut invalid, &|_| {}) {
        assert_eq!(read_breakdown(&*breakdown).unwrap().len() as u64, summary.valid);
    }
}

/// A manifest is checked, or has problems that can be shown.
pub fn check_manifest(name: &str, bytes: &[u8]) {
    let path = Path::new("/w").join(name);
    let files = Snapshot::new([(path.as_path(), bytes), (Path::new("/w/template.yaml"), TEMPLATE.as_bytes())]);
    let checked = validate::benchmark(&files, &path);
    show(&checked.problems);
    assert_eq!(checked.value.is_none(), checked.problems.iter().any(Problem::is_error));
}

/// A plan is checked and expands into a graph, or has problems that can be shown.
pub fn check_plan(bytes: &[u8]) {
    /// More would only be slow.
    const MOST: u64 = 200;
    let path = Path::new("/w/plan.toml");
    let manifest = (Path::new("/w/benchmark.toml"), MANIFEST.as_bytes());
    let checked = validate::plan(&Snapshot::new([(path, bytes), manifest]), path, &Overrides::default());
    show(&checked.problems);
    let has_errors = checked.problems.iter().any(Problem::is_error);
    match checked.value {
        None => assert!(has_errors),
        Some(plan) if plan.trials() <= MOST => {
            let graph = build(&plan, expand(&plan), Parts::ALL);
            assert!(graph.graph.node_count() > 0);
        }
        Some(_) => {}
    }
}

/// A template is a model, or has problems that can be shown.
pub fn check_template(text: &str) {
    match Template::parse(text) {
        Err(problem) => drop(problem.to_string()),
        Ok(template) => {
            let (parameters, place) = (std::collections::BTreeMap::new(), sb_sam::Place {
                region: "us-east-1".to_owned(),
                account: "123456789012".to_owned(),
                stack: "s".to_owned(),
                api_base: "http://127.0.0.1:1".to_owned(),
                aws_base: "http://127.0.0.1:2".to_owned(),
            });
            let problems = match template.application(&parameters, &place) {
                Ok(application) => application.warnings,
                Err(problems) => problems,
            };
            problems.iter().for_each(|problem| drop(problem.to_string()));
            template.output_names();
        }
    }
}

/// All problems lie in their text, and one of them is drawn: drawing takes a hundred times as long as finding.
fn show(problems: &[Problem]) {
    for problem in problems {
        problem.to_json();
        for (span, _) in &problem.labels {
            assert!(problem.source.as_ref().unwrap().text().get(span.clone()).is_some(), "{span:?} is a place");
        }
    }
    let length = |problem: &Problem| problem.message.len();
    if let Some(drawn) = problems.get(problems.iter().map(length).sum::<usize>() % problems.len().max(1)) {
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
        handler.render_report(&mut String::new(), drawn).unwrap();
    }
}

const MANIFEST: &str = r#"
[benchmark]
name = "b"
[params]
size = 128
[targets.local]
[[deploy]]
name = "d"
run = "make SIZE={{params.size}}"
[workload]
[[workload.requests]]
name = "r"
url = "http://127.0.0.1:8080/"
[[cleanup]]
name = "c"
run = "make clean"
"#;

const TEMPLATE: &str = "
Resources:
  F: {Type: 'AWS::Serverless::Function', Properties: {Runtime: python3.12, Handler: a.b, CodeUri: .}}
Outputs: {Url: {Value: http://example.org}}
";
