//! Traces that are typical for a quantile of the durations, in bounded memory.

use std::collections::BTreeMap;

use crate::what_if::traces::rank_of;

/// Durations whose logarithms differ by less than this share a place: two thousandths.
const RESOLUTION: f64 = 500.0;
/// So many traces of a place are kept, whichever come first in a random order.
const KEPT: usize = 3;

/// Some traces of each duration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typical {
    places: BTreeMap<i32, Vec<TypicalTrace>>,
}

/// A trace, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypicalTrace {
    /// The trace's id.
    pub id: String,
    /// Microseconds.
    pub duration: i64,
    /// The number that was given with the trace.
    pub file: u32,
}

impl Typical {
    pub(super) fn add(&mut self, id: &str, duration: i64, file: u32) {
        let place = ((duration.max(1) as f64).ln() * RESOLUTION) as i32;
        let kept = self.places.entry(place).or_default();
        let rank = |id: &str| (rank_of(id), id.to_owned());
        if kept.len() == KEPT {
            // The last one in the order of ids goes, so that the order of the file does not matter.
            let Some(last) = (0..KEPT).max_by_key(|&place| rank(&kept[place].id)) else { return };
            if rank(&kept[last].id) <= rank(id) {
                return;
            }
            kept.swap_remove(last);
        }
        kept.push(TypicalTrace { id: id.to_owned(), duration, file });
    }

    /// The traces whose durations are nearest to one in microseconds, the nearest first: within two thousandths of the nearest of
    /// all.
    pub(super) fn nearest(&self, duration: i64, count: usize) -> Vec<&TypicalTrace> {
        let place = ((duration.max(1) as f64).ln() * RESOLUTION) as i32;
        let below = self.places.range(..=place).rev().flat_map(|(_, kept)| kept).take(KEPT + count);
        let above = self.places.range(place + 1..).flat_map(|(_, kept)| kept).take(KEPT + count);
        let mut found: Vec<&TypicalTrace> = below.chain(above).collect();
        found.sort_by(|left, right| {
            let off = |trace: &TypicalTrace| (trace.duration - duration).abs();
            off(left).cmp(&off(right)).then_with(|| left.id.cmp(&right.id))
        });
        found.truncate(count);
        found
    }
}
