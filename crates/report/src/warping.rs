//! The distance between two series as the study prints it: an approximation of dynamic time warping. Any other use takes the exact
//! distance, [`sb_statistics::warping_distance`].

/// Up to this many values in either series, the search is over all cells.
const SHORT: usize = 2;

/// Which cells of a row are searched, both ends included.
type Band = (usize, usize);

/// FastDTW with radius 1 (Salvador and Chan, 2007), with the absolute difference as cost and the study's choice among equally cheap
/// predecessors. `None`: a series is empty. It can be many times the true distance.
pub(crate) fn approximate_distance(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    Some(approximate(first, second).0)
}

/// The distance, and the path from the first cell to the last.
fn approximate(first: &[f64], second: &[f64]) -> (f64, Vec<(usize, usize)>) {
    if first.len().min(second.len()) <= SHORT {
        return cheapest(first, second, &vec![(0, second.len() - 1); first.len()]);
    }
    let (_, path) = approximate(&halved(first), &halved(second));
    cheapest(first, second, &around(&path, first.len(), second.len()))
}

/// The means of neighbours; an odd last value is dropped.
fn halved(series: &[f64]) -> Vec<f64> {
    series.chunks_exact(2).map(|pair| f64::midpoint(pair[0], pair[1])).collect()
}

/// The cells within one step of a path at half the resolution, each as a block of two by two.
fn around(path: &[(usize, usize)], rows: usize, columns: usize) -> Vec<Band> {
    // A path is connected, so the cells around it have no gap within a row.
    let mut coarse: Vec<Option<Band>> = vec![None; rows / 2 + 2];
    for &(row, column) in path {
        for near in row.saturating_sub(1)..=row + 1 {
            let Some(band) = coarse.get_mut(near) else { continue };
            let (from, to) = (column.saturating_sub(1), column + 1);
            *band = Some(band.map_or((from, to), |(low, high)| (low.min(from), high.max(to))));
        }
    }
    let mut bands = Vec::with_capacity(rows);
    for row in 0..rows {
        let (low, high) = coarse[row / 2].unwrap_or((0, columns));
        bands.push(((low * 2).min(columns - 1), (high * 2 + 1).min(columns - 1)));
    }
    bands
}

/// The cheapest path through some cells, and its cost.
fn cheapest(first: &[f64], second: &[f64], bands: &[Band]) -> (f64, Vec<(usize, usize)>) {
    #[derive(Clone, Copy)]
    enum From {
        Above,
        Left,
        Diagonal,
    }
    let mut before: (Band, Vec<f64>) = ((0, 0), Vec::new());
    let mut ways: Vec<Vec<From>> = Vec::with_capacity(first.len());
    for (row, &(low, high)) in bands.iter().enumerate() {
        let mut costs = Vec::with_capacity(high - low + 1);
        let mut came_from = Vec::with_capacity(high - low + 1);
        let above = |column: Option<usize>| match column {
            Some(column) if row > 0 && (before.0.0..=before.0.1).contains(&column) => {
                before.1[column - before.0.0]
            }
            _ => f64::INFINITY,
        };
        for (column, value) in second.iter().enumerate().take(high + 1).skip(low) {
            let cost = (first[row] - value).abs();
            let left = costs.last().copied().unwrap_or(f64::INFINITY);
            let (from_above, diagonal) = (above(Some(column)), above(column.checked_sub(1)));
            let (base, from) = if row == 0 && column == 0 {
                (0.0, From::Diagonal)
            } else if from_above <= left && from_above <= diagonal {
                (from_above, From::Above)
            } else if left <= diagonal {
                (left, From::Left)
            } else {
                (diagonal, From::Diagonal)
            };
            costs.push(base + cost);
            came_from.push(from);
        }
        before = ((low, high), costs);
        ways.push(came_from);
    }
    let (mut row, mut column) = (first.len() - 1, second.len() - 1);
    let cost = before.1.last().copied().unwrap_or(f64::INFINITY);
    let mut path = vec![(row, column)];
    while (row, column) != (0, 0) {
        let from = column.checked_sub(bands[row].0).and_then(|at| ways[row].get(at));
        match from {
            Some(From::Above) => row = row.saturating_sub(1),
            Some(From::Left) => column = column.saturating_sub(1),
            Some(From::Diagonal) | None => (row, column) = (row.saturating_sub(1), column.saturating_sub(1)),
        }
        path.push((row, column));
    }
    path.reverse();
    (cost, path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_series_are_compared_exactly() {
        assert_eq!(approximate_distance(&[1.0], &[4.0, 4.0]), Some(6.0));
        assert_eq!(approximate_distance(&[0.0, 5.0], &[0.0, 0.0, 5.0, 5.0]), Some(0.0));
        assert_eq!(approximate_distance(&[], &[1.0]), None);
    }

    proptest! {
        /// An approximation is a path, and no path is cheaper than the cheapest.
        #[test]
        fn it_is_never_below_the_exact_distance(
            first in prop::collection::vec(0_u8..9, 1..70), second in prop::collection::vec(0_u8..9, 1..70),
        ) {
            let [first, second] = [first, second].map(|series| series.into_iter().map(f64::from).collect::<Vec<_>>());
            let found = approximate_distance(&first, &second).unwrap();
            let exact = sb_statistics::warping_distance(&first, &second).unwrap();
            prop_assert!(found >= exact && found.is_finite(), "{found} {exact}");
        }
    }
}
