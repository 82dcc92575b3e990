//! What must hold for any input of the trace readers. The targets in `fuzz_targets/` differ only in how they make an
//! input from the fuzzer's bytes.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a finding is a panic")]

use sb_analysis::{
    Activity, Analysis, BREAKDOWN_HEADER, Method, Rejected, Source, analyze, analyze_text, read_breakdown,
    read_otlp,
};

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
