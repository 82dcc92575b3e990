use augurs_dtw::Dtw;

/// How far two series are apart when time may be stretched: dynamic time warping, with the absolute difference as the cost of
/// a pair, summed along the cheapest path (Sakoe and Chiba, 1978). It is exact; `None` where a series is empty.
///
/// Time is the product of the lengths, memory their sum. The unit is that of the values.
pub fn warping_distance(first: &[f64], second: &[f64]) -> Option<f64> {
    (!first.is_empty() && !second.is_empty()).then(|| Dtw::manhattan().distance(first, second))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::oracle::expected;

    /// The definition, with the whole table.
    fn by_definition(first: &[f64], second: &[f64]) -> f64 {
        let mut costs = vec![vec![f64::INFINITY; second.len() + 1]; first.len() + 1];
        costs[0][0] = 0.0;
        for (row, one) in first.iter().enumerate() {
            for (column, other) in second.iter().enumerate() {
                let before = costs[row][column].min(costs[row][column + 1]).min(costs[row + 1][column]);
                costs[row + 1][column + 1] = before + (one - other).abs();
            }
        }
        costs[first.len()][second.len()]
    }

    #[test]
    fn a_shift_costs_only_its_ends() {
        assert_eq!(warping_distance(&[0.0, 5.0, 9.0, 5.0, 0.0], &[0.0, 0.0, 5.0, 9.0, 5.0]), Some(5.0));
        assert_eq!(warping_distance(&[1.0], &[4.0, 4.0]), Some(6.0));
        assert_eq!(warping_distance(&[], &[1.0]), None);
        assert_eq!(warping_distance(&[1.0], &[]), None);
    }

    /// The study's series per second of one application, and the exact distances between them.
    #[test]
    fn distances_are_those_of_the_study() {
        let (Some(series), Some(distances)) = (expected("per_second.csv"), expected("dtw.csv")) else {
            return;
        };
        let mut lines = series.lines();
        let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
        let mut by_execution: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            for (column, cell) in columns.iter().zip(&cells).skip(2).filter(|(_, cell)| !cell.is_empty()) {
                let name = column.strip_suffix("_ips").unwrap();
                by_execution.entry((cells[0], name)).or_default().push(cell.parse().unwrap());
            }
        }
        let mut compared = 0;
        for line in distances.lines().filter(|line| line.starts_with("faas-migration-go/aws/")) {
            let cells: Vec<&str> = line.split(',').collect();
            let execution = cells[0].rsplit('/').next().unwrap();
            let (one, other) = cells[1].split_once(' ').unwrap();
            let found =
                warping_distance(&by_execution[&(execution, one)], &by_execution[&(execution, other)]);
            let exact: f64 = cells[6].parse().unwrap();
            assert!((found.unwrap() - exact).abs() < 1e-9 * exact.max(1.0), "{line}: {found:?}");
            compared += 1;
        }
        assert!(compared > 10, "{compared}");
    }

    proptest! {
        #[test]
        fn the_distance_is_that_of_the_definition(
            first in prop::collection::vec(0_u8..20, 1..40),
            second in prop::collection::vec(0_u8..20, 1..40),
        ) {
            let first: Vec<f64> = first.into_iter().map(f64::from).collect();
            let second: Vec<f64> = second.into_iter().map(f64::from).collect();
            prop_assert_eq!(warping_distance(&first, &second), Some(by_definition(&first, &second)));
        }
    }
}
