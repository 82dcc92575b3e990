//! Whether enough was measured.

use sb_figures::{Item, Section, Table};
use sb_report::Group;

use crate::groups::Names;

/// One row per group whose status is not asked for: what each figure still needs.
pub(crate) fn section(groups: &[Group], names: &Names) -> Option<Section> {
    let mut table = Table::new(
        "Is it precise enough? How wide the interval of each figure is, as a part of the figure",
        &["group", "of", "#requests", "p50", "p99", "mean"],
    );
    for group in groups.iter().filter(|group| group.key.status.is_none() && !group.precision.is_empty()) {
        let words = |figure: &str| {
            let found = group.precision.iter().find(|found| found.figure == figure);
            found.map_or(String::new(), sb_report::FigurePrecision::words)
        };
        let (of, count) = match group.duration {
            Some(_) => ("durations", group.measured()),
            None => {
                let failed = group.failed_requests.unwrap_or_default();
                ("latencies", group.requests.unwrap_or_default().saturating_sub(failed))
            }
        };
        let name = match group.key.request_type {
            Some(_) => names.name(&group.key),
            None => format!("{} (all)", names.name(&group.key)),
        };
        table.rows.push(vec![
            name,
            of.to_owned(),
            count.to_string(),
            words("p50"),
            words("p99"),
            words("mean"),
        ]);
    }
    (!table.rows.is_empty()).then(|| Section {
        title: "Was enough measured?".to_owned(),
        text: vec![
            "A figure is precise enough if its interval of 95 % is at most 5 % of it wide. Whole deployments are resampled, or else \
             whole trials. The number of further trials supposes that they vary as those so far."
                .to_owned(),
        ],
        items: vec![Item::Table(table, None)],
    })
}
