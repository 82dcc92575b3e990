//! What became of the minutes of a dataset on the way to a load, as `run.json` says.

use serde_json::Value;

use crate::series::MOST_CELLS;

/// The minutes of a dataset that a load was made of. Minutes are those of the dataset, whatever the speed of the load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workload {
    /// What the file of the load says of its numbers, a line for each fact.
    pub(crate) facts: Vec<String>,
    /// The number of the first minute, from 0.
    pub(crate) first: usize,
    /// Invocations in each minute of the dataset.
    pub(crate) original: Vec<f64>,
    /// After factors, and the fluctuation within minutes; not yet whole numbers.
    pub(crate) upscaled: Vec<f64>,
    /// As the planner planned them.
    pub(crate) planned: Vec<f64>,
}

/// A series of minutes beside the dataset's. Both are compared as shares of their totals, so a factor alone is no difference.
#[derive(Debug, PartialEq)]
pub(crate) struct Beside {
    pub(crate) total: f64,
    /// The total over the dataset's; `None`: the dataset's is zero.
    pub(crate) times: Option<f64>,
    /// Which share of its invocations would have to be in other minutes to lie as the dataset's do: half the sum of the differences of
    /// the shares (total variation distance). `None`: one of the totals is zero.
    pub(crate) moved: Option<f64>,
    /// By dynamic time warping, in invocations: the dataset's minutes times `times`. `None`: one of the totals is zero, or there
    /// are too many minutes.
    pub(crate) distance: Option<f64>,
}

impl Workload {
    /// Of the load of a `run.json`. `None`: the load is of no dataset.
    pub(crate) fn of(load: &Value) -> Option<Self> {
        let minutes = load.get("minutes")?;
        let counts = |name: &str| -> Option<Vec<f64>> {
            let all = minutes.get(name)?.as_array()?.iter();
            all.map(|count| count.as_f64().filter(|count| *count >= 0.0)).collect()
        };
        let facts = load.get("source").and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            facts: facts.filter_map(Value::as_str).map(str::to_owned).collect(),
            first: usize::try_from(minutes.get("first")?.as_u64()?).ok()?,
            original: counts("original")?,
            upscaled: counts("upscaled")?,
            planned: counts("planned")?,
        })
    }

    /// What a fact says: `Azure Functions 2019` of `dataset: Azure Functions 2019`.
    pub(crate) fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find_map(|fact| fact.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// How many minutes there are in any of the series.
    pub(crate) fn minutes(&self) -> usize {
        [&self.original, &self.upscaled, &self.planned].into_iter().map(Vec::len).max().unwrap_or_default()
    }

    /// A series beside the dataset's minutes.
    pub(crate) fn beside(&self, series: &[f64]) -> Beside {
        let (total, whole) = (sum(series), sum(&self.original));
        let times = (whole > 0.0).then(|| total / whole);
        let both = times.filter(|times| *times > 0.0);
        let moved = both.map(|_| {
            let at = |series: &[f64], minute: usize| series.get(minute).copied().unwrap_or(0.0);
            let length = series.len().max(self.original.len());
            let apart = (0..length)
                .map(|minute| (at(series, minute) / total - at(&self.original, minute) / whole).abs());
            apart.sum::<f64>() / 2.0
        });
        let is_short = series.len() as f64 * self.original.len() as f64 <= MOST_CELLS;
        let distance = both.filter(|_| is_short).and_then(|times| {
            let scaled: Vec<f64> = self.original.iter().map(|count| count * times).collect();
            sb_statistics::warping_distance(&scaled, series)
        });
        Beside { total, times, moved, distance }
    }

    /// By how much the share of each minute in its series differs from that of the dataset: 0.1 is a tenth more. `None`: the dataset
    /// has nothing in that minute, or one of the totals is zero. Minutes that the dataset or the series does not have are left out.
    pub(crate) fn differences(&self, series: &[f64]) -> Vec<Option<f64>> {
        let times = sum(series) / sum(&self.original);
        let minutes = series.iter().zip(&self.original);
        let differences = minutes.map(|(own, original)| own / (original * times) - 1.0);
        let is_known = times > 0.0 && times.is_finite();
        differences.map(|difference| Some(difference).filter(|found| is_known && found.is_finite())).collect()
    }
}

fn sum(series: &[f64]) -> f64 {
    series.iter().sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload() -> Workload {
        let load = json!({ "source": ["dataset: d", "factor: 2"], "minutes": {
            "first": 3, "original": [10, 0, 30, 0], "upscaled": [20.0, 0.0, 60.0, 0.0], "planned": [30, 0, 48, 2],
        } });
        Workload::of(&load).unwrap()
    }

    #[test]
    fn a_factor_alone_is_no_difference() {
        let all = workload();
        let beside = all.beside(&all.upscaled);
        assert_eq!(beside, Beside { total: 80.0, times: Some(2.0), moved: Some(0.0), distance: Some(0.0) });
        assert_eq!(all.differences(&all.upscaled), [Some(0.0), None, Some(0.0), None]);
        let found = all.differences(&all.planned);
        assert_eq!((found[0], found[1], found[3]), (Some(0.5), None, None), "nothing is a part of zero");
        assert!((found[2].unwrap() + 0.2).abs() < 1e-12, "{found:?}");
        assert_eq!((all.fact("dataset"), all.fact("data"), all.minutes()), (Some("d"), None, 4));
    }

    #[test]
    fn what_moved_is_counted_once() {
        let all = workload();
        let beside = all.beside(&all.planned);
        // 12 of 80 invocations would have to be in another minute.
        assert!((beside.moved.unwrap() - 0.15).abs() < 1e-12, "{beside:?}");
        // Ten more, then twelve fewer and two more: no shift in time helps.
        assert_eq!(beside.distance, Some(24.0));
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        let mut all = workload();
        let none = |of: &Workload| of.beside(&[0.0; 4]);
        let nothing = Beside { total: 0.0, times: Some(0.0), moved: None, distance: None };
        assert_eq!((none(&all), all.differences(&[0.0; 4])), (nothing, vec![None; 4]));
        all.original = vec![0.0; 4];
        let beside = all.beside(&all.planned);
        assert_eq!((beside.times, beside.moved, beside.distance), (None, None, None));
        assert_eq!(all.differences(&all.planned), [None; 4]);
    }

    #[test]
    fn a_load_of_no_dataset_or_with_wrong_numbers_has_none() {
        for load in [
            json!({ "kind": "constant" }),
            json!({ "minutes": { "first": 0, "original": [1], "upscaled": [1] } }),
            json!({ "minutes": { "first": 0, "original": [-1], "upscaled": [1], "planned": [1] } }),
            json!({ "minutes": { "first": "x", "original": [1], "upscaled": [1], "planned": [1] } }),
        ] {
            assert_eq!(Workload::of(&load), None, "{load}");
        }
    }
}
