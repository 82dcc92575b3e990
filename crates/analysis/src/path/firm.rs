//! The critical path of FIRM, for synchronous traces: a reference to compare with.
//!
//! The path has a span, its last returned child, and each other child that happens before that one. This is algorithm
//! 1 of "FIRM: An Intelligent Fine-grained Resource Management Framework for SLO-Oriented Microservices" (Qiu et al.,
//! OSDI 2020).
//!
//! As printed, two children that overlap are both on the path when both happen before the last one. Here, as in the
//! corrected form, children are taken by their ends, the last first. Each must happen before the one that was taken
//! before it. The path is then listed in the order in which it is walked.
//!
//! It does not know asynchronous invocations. It follows a chain of them, since each is the only child, or the last one to
//! end. But a child that starts early and ends late hides the siblings that the trace really waits for. And the siblings of
//! a span whose asynchronous work ends last are walked although they delay nothing. Such traces get no breakdown, or a path
//! that leaves out what matters.

use crate::span::{SpanIndex, Trace};

/// The spans of the path, from the root; each at most once.
pub(crate) fn critical_path(trace: &Trace<'_>) -> Vec<SpanIndex> {
    let mut path = Vec::new();
    // Traces may be deep: a stack instead of a recursion.
    let mut open = vec![trace.root()];
    while let Some(span) = open.pop() {
        path.push(span);
        let mut taken: Option<SpanIndex> = None;
        // By end, then start, the last first: so the one to be walked first comes onto the stack last.
        for &child in trace.children(span).iter().rev() {
            let happens_before = taken.is_none_or(|later| trace.node(child).end <= trace.node(later).start);
            if happens_before {
                open.push(child);
                taken = Some(child);
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::invalid::Invalid;
    use crate::path::activities::Activities;
    use crate::path::breakdown::{self, Algorithm, Analysis};
    use crate::path::critical_path::{Rule, critical_path};
    use crate::read::xray::{self, Documents};
    use crate::span::SpanIndex;

    type TimedSpan = (&'static str, &'static str, &'static str, f64, f64);

    /// The paths of the study's algorithm and of FIRM's, by ids, and FIRM's breakdown.
    fn both(spans: &[TimedSpan]) -> (String, String, Result<Analysis, Invalid>) {
        let end = spans.iter().map(|span| span.4).fold(0.0, f64::max);
        let segments: Vec<Value> = spans
            .iter()
            .map(|&(id, parent, origin, start, end)| {
                let parent = (!parent.is_empty()).then_some(parent);
                let document = json!({ "id": id, "parent_id": parent, "name": id, "origin": origin,
                                       "start_time": start, "end_time": end });
                json!({ "Document": document.to_string() })
            })
            .collect();
        let text = json!({ "Id": "1-a", "Duration": end, "Segments": segments }).to_string();
        let mut documents = Documents::default();
        let trace = xray::record(&text, &mut documents).unwrap().join().unwrap();
        let ids = |path: Vec<SpanIndex>| {
            path.iter().map(|&span| &*trace.span(span).id).collect::<Vec<_>>().join(" ")
        };
        let study = ids(critical_path(&trace, Rule::Published).unwrap());
        let firm = ids(super::critical_path(&trace));
        let analysis = breakdown::analyze(&trace, &Activities::default(), Algorithm::Firm);
        (study, firm, analysis)
    }

    #[track_caller]
    fn check(spans: &[TimedSpan], study: &str, firm: &str) -> Result<Analysis, Invalid> {
        let (found_study, found_firm, analysis) = both(spans);
        assert_eq!((found_study.as_str(), found_firm.as_str()), (study, firm));
        analysis
    }

    const GATEWAY: &str = "AWS::ApiGateway::Stage";
    const LAMBDA: &str = "AWS::Lambda";
    const TABLE: &str = "AWS::DynamoDB::Table";

    #[test]
    fn agrees_on_synchronous_traces() {
        let spans = [
            ("r", "", GATEWAY, 0.0, 100.0),
            ("a", "r", LAMBDA, 10.0, 40.0),
            ("x", "a", TABLE, 15.0, 35.0),
            ("b", "r", LAMBDA, 45.0, 90.0),
            ("y", "b", TABLE, 50.0, 60.0),
            ("z", "b", TABLE, 65.0, 80.0),
        ];
        let analysis = check(&spans, "r a x b y z", "r a x b y z").unwrap();
        assert_eq!(analysis.rule, None);
        assert_eq!(analysis.row.parts.sum(), 100_000_000);
    }

    #[test]
    fn of_children_that_overlap_one_is_on_the_path() {
        let spans = [
            ("r", "", GATEWAY, 0.0, 100.0),
            ("a", "r", TABLE, 10.0, 40.0),
            ("b", "r", TABLE, 20.0, 50.0),
            ("c", "r", TABLE, 60.0, 90.0),
        ];
        // As printed, FIRM's algorithm walks a too. So does the study's, which asks only about the last child.
        check(&spans, "r a b c", "r b c").unwrap();
    }

    #[test]
    fn fails_on_asynchronous_traces() {
        // The work that a sets off ends last; b, its later sibling, delays nothing.
        let spans = [
            ("r", "", GATEWAY, 0.0, 50.0),
            ("a", "r", LAMBDA, 5.0, 40.0),
            ("m", "a", LAMBDA, 60.0, 200.0),
            ("b", "r", TABLE, 42.0, 48.0),
        ];
        let refused = check(&spans, "r a m", "r a m b").unwrap_err();
        assert_eq!(refused.code(), "parts_mismatch");
        // What is set off early but ends late is taken for the child that returned last; a is lost.
        let spans = [
            ("r", "", GATEWAY, 0.0, 50.0),
            ("m", "r", LAMBDA, 6.0, 60.0),
            ("a", "r", LAMBDA, 5.0, 45.0),
            ("n", "a", LAMBDA, 70.0, 300.0),
        ];
        let refused = check(&spans, "r", "r m").unwrap_err();
        assert_eq!(refused.code(), "ends_nowhere");
    }
}
