//! Latency against load.

use std::collections::BTreeMap;

use sb_figures::{Axis, Chart, Curve, Figure, Mark, Panel, Panels, Shape, Tone, number};
use sb_report::Report;

use crate::shown::{Rows, shown};

/// What is drawn against the load, and how.
const DRAWN: [(&str, &str, u8); 3] = [
    ("trace_duration_p50_ms", "trace, p50", 0),
    ("trace_duration_mean_ms", "trace, mean", 1),
    ("http_req_duration_p50_ms", "request, p50", 2),
];

/// One level of load: values of its executions, and what was wrong with them.
#[derive(Default)]
struct Level {
    values: [Vec<f64>; DRAWN.len()],
    issues: Vec<String>,
}

/// Executions at several levels of load, by application.
pub(crate) fn levels(report: &Report) -> Option<Figure> {
    let rows = Rows::of(report, "exp2_load_levels")?;
    // The label of a level names the level: what it has before that is the experiment.
    let labels: std::collections::BTreeSet<_> =
        (0..rows.count()).map(|row| experiment(&rows.text(row, "label")).to_owned()).collect();
    // In thousandths, so that levels have an order and can be compared.
    let mut applications: BTreeMap<String, BTreeMap<i64, Level>> = BTreeMap::new();
    let mut without = 0;
    for row in 0..rows.count() {
        let target = rows.number(row, "target_invocations_per_second").filter(|target| *target > 0.0);
        let Some(target) = target else {
            without += 1;
            continue;
        };
        let mut name = rows.text(row, "app_name");
        if labels.len() > 1 {
            name = format!("{name} · {}", experiment(&rows.text(row, "label")));
        }
        let level =
            applications.entry(name).or_default().entry((target * 1000.0).round() as i64).or_default();
        for ((column, _, _), values) in DRAWN.iter().zip(&mut level.values) {
            values.extend(rows.number(row, column).filter(|value| *value > 0.0));
        }
        // An application that got more than planned did not break.
        let has_more = rows.number(row, "actual_target_ratio").is_some_and(|ratio| ratio > 1.0);
        let issues = rows.text(row, "issues");
        let issues = issues.split(',').filter(|issue| !(has_more && *issue == "actual_target_ratio"));
        level.issues.push(issues.collect::<Vec<_>>().join(","));
    }
    if applications.is_empty() {
        return None;
    }
    let panels = applications.into_iter().map(|(name, levels)| {
        let curves = DRAWN.iter().enumerate().filter_map(|(at, (_, called, tone))| {
            let known = levels.iter().filter(|(_, level)| !level.values[at].is_empty());
            let (points, intervals): (Vec<_>, Vec<_>) = known
                .map(|(level, found)| {
                    let values = &found.values[at];
                    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let middle = median(values.clone());
                    ((*level as f64 / 1000.0, middle), (values.len() > 1).then_some((low, high)))
                })
                .unzip();
            let (name, note) = ((*called).to_owned(), String::new());
            let (tone, shape) = (Tone::Series(*tone), Shape::LineAndPoints);
            (!points.is_empty()).then_some(Curve { name, note, tone, shape, points, intervals })
        });
        let curves = curves.collect();
        let marks = breaks(&levels).into_iter().collect();
        Panel { name, curves, marks }
    });
    let panels = Panels {
        x: Axis::logarithmic("load", "1/s"),
        y: Axis::linear("latency", "ms"),
        panels: panels.collect(),
    };
    let table = report.table("exp2_load_levels").map(shown).unwrap_or_default();
    let description = "Latency at each level of load. The dashed line marks where the application breaks.";
    let mut figure = Figure::new(
        "latency-against-load",
        "Latency against load",
        description,
        Chart::Panels(panels),
        table,
    );
    figure.notes.push(
        "An application breaks at the lowest level from which on every level has an issue in most of its executions: errors, \
         invalid or missing traces, or a lower rate than planned. A dot is the median of the executions of a level. The \
         band goes from the lowest to the highest."
            .to_owned(),
    );
    if without > 0 {
        figure.notes.push(format!("{without} executions have no planned level, and are not drawn."));
    }
    Some(figure)
}

/// A label without the level at its end: `exp2_load_levels` of `exp2_load_levels_50`.
fn experiment(label: &str) -> &str {
    let without = label.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let without = without.trim_end_matches(['_', '-', ' ']);
    if without.is_empty() { label } else { without }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// The lowest level from which on each level has an issue in most of its executions.
fn breaks(levels: &BTreeMap<i64, Level>) -> Option<Mark> {
    let is_bad = |level: &Level| {
        let bad = level.issues.iter().filter(|issues| !issues.is_empty()).count();
        bad * 2 > level.issues.len()
    };
    let (level, found) = levels.iter().rev().take_while(|(_, level)| is_bad(level)).last()?;
    let issue = found.issues.iter().find(|issues| !issues.is_empty())?;
    let x = *level as f64 / 1000.0;
    Some(Mark { x, text: format!("breaks at {}/s: {issue}", number(x)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_breaks_where_all_further_levels_have_issues() {
        let check = |issues: &[(i64, &[&str])], expected: Option<f64>| {
            let level = |all: &&[&str]| Level {
                issues: all.iter().map(|one| (*one).to_owned()).collect(),
                ..Level::default()
            };
            let levels = issues.iter().map(|(at, all)| (*at * 1000, level(all))).collect();
            assert_eq!(breaks(&levels).map(|mark| mark.x), expected, "{issues:?}");
        };
        check(&[(1, &[""]), (10, &[""])], None);
        check(&[(1, &[""]), (10, &["error_rate"]), (100, &["error_rate"])], Some(10.0));
        check(&[(1, &["error_rate"]), (10, &[""]), (100, &["error_rate"])], Some(100.0));
        check(&[(1, &[""]), (10, &["error_rate", "", ""])], None);
        check(&[(1, &["x"])], Some(1.0));
    }

    #[test]
    fn the_levels_of_an_experiment_are_one_curve() {
        for (label, expected) in [
            ("exp2_load_levels_50", "exp2_load_levels"),
            ("exp2_load_levels_0.5", "exp2_load_levels"),
            ("exp2_load_levels", "exp2_load_levels"),
            ("load-5", "load"),
            ("50", "50"),
            ("", ""),
        ] {
            assert_eq!(experiment(label), expected, "{label}");
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
    }
}
