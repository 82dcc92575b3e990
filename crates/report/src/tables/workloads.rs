//! Loads beside the minutes of the datasets that they were made of.

use super::rates::folder;
use crate::execution::Execution;
use crate::parallel;
use crate::table::{Cell, Kind, Table};
use crate::workload::{Beside, Workload};

/// Without the rounding of sums of doubles, which is not of the load. A zero has no sign.
fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9 + 0.0
}

/// One row per execution, and one per minute of each.
pub(super) fn tables(all: &[&Execution]) -> [Table; 2] {
    let all: Vec<(&Execution, &Workload)> =
        all.iter().filter_map(|execution| Some((*execution, execution.workload.as_ref()?))).collect();
    [totals(&all), minutes(&all)]
}

fn totals(all: &[(&Execution, &Workload)]) -> Table {
    let texts =
        ["app", "execution", "logs_path", "workload", "dataset", "source"].map(|name| (name, Kind::Text));
    let whole = ["first_minute", "minutes"].map(|name| (name, Kind::Integer));
    let numbers = [
        "original",
        "upscaled",
        "planned",
        "upscaled_factor",
        "planned_factor",
        "upscaled_moved_share",
        "planned_moved_share",
        "upscaled_dtw",
        "planned_dtw",
    ]
    .map(|name| (name, Kind::Float));
    let mut table = Table::new(
        "workloads",
        "One row per execution whose load is of a dataset: invocations of the dataset, upscaled and planned, and how far apart their \
         minutes are.",
        &[&texts[..], &whole[..], &numbers[..]].concat(),
    );
    let rows = parallel::map(all, |_, (execution, workload)| {
        let beside = [&workload.upscaled, &workload.planned].map(|series| workload.beside(series));
        let mut row: Vec<Cell> = vec![
            execution.application.clone().into(),
            folder(execution),
            execution.logs_path.as_str().into(),
            execution.config.workload().into(),
            workload.fact("dataset").into(),
            workload.facts.join("; ").into(),
            workload.first.into(),
            workload.minutes().into(),
            workload.original.iter().sum::<f64>().into(),
        ];
        let figures: [fn(&Beside) -> Option<f64>; 4] =
            [|of| Some(of.total), |of| of.times, |of| of.moved, |of| of.distance];
        row.extend(figures.iter().flat_map(|figure| beside.iter().map(|of| figure(of).map(rounded).into())));
        row
    });
    for row in rows {
        table.push(row);
    }
    table
}

fn minutes(all: &[(&Execution, &Workload)]) -> Table {
    let texts = ["app", "execution", "workload"].map(|name| (name, Kind::Text));
    let numbers = ["original", "upscaled", "planned", "upscaled_vs_original", "planned_vs_original"]
        .map(|name| (name, Kind::Float));
    let mut table = Table::new(
        "workload_minutes",
        "One row per minute of a load of a dataset: invocations of the dataset, upscaled and planned, and by how much their shares of \
         the whole differ from the dataset's.",
        &[&texts[..], &[("minute", Kind::Integer)], &numbers[..]].concat(),
    );
    for (execution, workload) in all {
        let name = folder(execution);
        let called = Cell::from(execution.config.workload());
        // The totals behind the differences, once for all minutes.
        let differences = [&workload.upscaled, &workload.planned].map(|series| workload.differences(series));
        for minute in 0..workload.minutes() {
            let mut row: Vec<Cell> = vec![
                execution.application.clone().into(),
                name.clone(),
                called.clone(),
                (workload.first + minute).into(),
            ];
            let series = [&workload.original, &workload.upscaled, &workload.planned];
            row.extend(series.map(|series| Cell::from(series.get(minute).copied().map(rounded))));
            row.extend(
                differences.iter().map(|all| Cell::from(all.get(minute).copied().flatten().map(rounded))),
            );
            table.push(row);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn noise_is_rounded_away_and_leaves_no_sign() {
        for noise in [-1.1e-16, 1.1e-16, -4e-10, -0.0] {
            assert_eq!(rounded(noise).to_bits(), 0.0_f64.to_bits(), "{noise}");
        }
        assert_eq!((rounded(26.000_000_000_3), rounded(-0.25)), (26.0, -0.25));
    }
}
