//! Times of a load, in the one definition that every file and every screen has.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use crate::{Invocation, InvocationReader, Lateness, MeasurementError, Outcome, Percentiles};

/// The rank ⌈q·n⌉ among `count` sorted values, counted from 1; `q` in 0..=1. The value there is the smallest such that at
/// least the share `q` of all values is not above it: a value that was measured. It picks the trace that stands for a quantile.
pub fn nearest_rank(count: usize, q: f64) -> usize {
    // A product that should be whole may come out a trifle above it, which is not the next rank.
    (q * count as f64 - 1e-9).ceil().max(1.0) as usize
}

/// Where a quantile is among `count` values in ascending order: the place of the value below it, from 0, and the share of
/// the way from there to the next value; `q` in 0..=1. Without values, the first place.
///
/// Every quantile of the project is this one: type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages" (1996),
/// the default of NumPy, pandas and R. The place is q·(n − 1).
pub fn quantile_place(count: usize, q: f64) -> (usize, f64) {
    let position = q * count.saturating_sub(1) as f64;
    let below = position.floor();
    (below as usize, position - below)
}

/// Values in microseconds. Memory grows with the number of different ones, and so with their spread, not with the load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: BTreeMap<i64, usize>,
    count: usize,
}

impl Distribution {
    /// Counts a value.
    pub fn add(&mut self, micros: i64) {
        *self.counts.entry(micros).or_default() += 1;
        self.count += 1;
    }

    /// In milliseconds, at the [`quantile_place`]; `None` where there are no values.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let [p50, p90, p95, p99, max] = self.at([0.5, 0.9, 0.95, 0.99, 1.0])?;
        Some(Percentiles { p50, p90, p95, p99, max })
    }

    /// As [`percentiles`](Self::percentiles), of how late invocations were sent.
    pub fn lateness(&self) -> Option<Lateness> {
        let [p50, p99, max] = self.at([0.5, 0.99, 1.0])?;
        Some(Lateness { p50, p99, max })
    }

    /// At ascending shares.
    fn at<const N: usize>(&self, shares: [f64; N]) -> Option<[f64; N]> {
        let mut values = self.counts.iter();
        let (first, count) = values.next()?;
        let (mut value, mut up_to) = (*first, *count);
        let mut found = [0.0; N];
        for (found, share) in found.iter_mut().zip(shares) {
            let (place, fraction) = quantile_place(self.count, share);
            while up_to <= place {
                let (next, count) = values.next()?;
                (value, up_to) = (*next, up_to + count);
            }
            // The next value is the same one, unless this is the last of its kind.
            let above = match values.clone().next() {
                Some((next, _)) if up_to == place + 1 => *next,
                _ => value,
            };
            // Whole nanoseconds, so that a file reads back as the same number.
            *found = ((value as f64 + (above - value) as f64 * fraction) * 1e3).round() / 1e6;
        }
        Some(found)
    }
}

/// The times of a load. An answer that is not as expected is often faster than any that is, and would make the load look
/// good: its time counts apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Of answers as expected, from the moment of sending.
    pub latency: Distribution,
    /// Of answers as expected, from the planned time.
    pub latency_from_planned: Distribution,
    /// Of complete answers that were not as expected, from the moment of sending.
    pub failed_latency: Distribution,
    /// Sent minus planned, of all that were sent; never below 0.
    pub lateness: Distribution,
}

impl Times {
    /// Counts the times of a request.
    pub fn add(&mut self, row: &Invocation) {
        if row.outcome == Outcome::Ok {
            row.latency_micros().into_iter().for_each(|time| self.latency.add(time));
            row.latency_from_planned_micros()
                .into_iter()
                .for_each(|time| self.latency_from_planned.add(time));
        } else {
            row.latency_micros().into_iter().for_each(|time| self.failed_latency.add(time));
        }
        if let (Some(sent), Some(planned)) = (row.sent, row.planned) {
            self.lateness.add((sent.micros() - planned.micros()).max(0));
        }
    }

    /// Of an `invocations.csv`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(invocations: impl Read + Seek) -> Result<Self, MeasurementError> {
        let mut times = Self::default();
        for row in InvocationReader::new(invocations)? {
            times.add(&row?);
        }
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn percentiles_are_between_their_neighbours() {
        #[track_caller]
        fn check(values: impl Iterator<Item = i64>, expected: [f64; 5]) {
            let mut distribution = Distribution::default();
            values.for_each(|value| distribution.add(value * 1000));
            let found = distribution.percentiles().unwrap();
            let found = [found.p50, found.p90, found.p95, found.p99, found.max];
            let is_near = |(found, expected): (&f64, &f64)| (found - expected).abs() < 1e-9;
            assert!(found.iter().zip(&expected).all(is_near), "{found:?}");
        }
        check(1..=1, [1.0, 1.0, 1.0, 1.0, 1.0]);
        // As numpy.percentile has them.
        check((1..=2).rev(), [1.5, 1.9, 1.95, 1.99, 2.0]);
        check(1..=100, [50.5, 90.1, 95.05, 99.01, 100.0]);
        check((1..=101).rev(), [51.0, 91.0, 96.0, 100.0, 101.0]);
        check([7; 1000].into_iter().chain([9]), [7.0, 7.0, 7.0, 7.0, 9.0]);
        check([1, 1, 1, 3].into_iter(), [1.0, 2.4, 2.7, 2.94, 3.0]);
        assert_eq!(Distribution::default().percentiles(), None);
    }

    #[test]
    fn the_times_of_failures_count_apart() {
        let at = |micros| Some(Timestamp::from_micros(micros));
        let row = |outcome, answered| Invocation {
            invocation: 1,
            request: "r".to_owned(),
            trace_id: String::new(),
            planned: at(0),
            sent: at(5),
            answered,
            status: None,
            outcome,
        };
        let mut times = Times::default();
        for row in
            [row(Outcome::Ok, at(2005)), row(Outcome::FailedCheck, at(105)), row(Outcome::Timeout, None)]
        {
            times.add(&row);
        }
        let p50 = |of: &Distribution| of.percentiles().map(|of| of.p50);
        assert_eq!(p50(&times.latency), Some(2.0));
        assert_eq!(p50(&times.latency_from_planned), Some(2.005));
        assert_eq!(p50(&times.failed_latency), Some(0.1));
        assert_eq!(times.lateness.lateness().map(|of| of.max), Some(0.005));
    }
}
