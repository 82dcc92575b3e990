//! What changed between two runs: by how much, how sure that is, and where on the path.

use std::collections::{BTreeMap, BTreeSet};

use sb_statistics::{
    Bootstrap, Change, EffectSize, Estimate, Judgement, Level, NotFinite, Outliers, Sorted, Statistic, Trial,
    Trials, judge,
};
use serde::Serialize;

use crate::path::breakdown::Activity;

/// What belongs together in both runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ComparedGroup {
    /// The name of the application.
    pub application: String,
    /// Levels of the plan's factors, and labels.
    pub factors: BTreeMap<String, String>,
    /// The type of request. `None`: the folders do not say.
    pub request: Option<String>,
}

/// How a trace began. Where both runs have the traces themselves, the functions on the critical path say it. Otherwise the number of
/// cold starts is compared with the most that any trace of its group has, in both runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Without a cold start.
    Warm,
    /// Some functions were cold.
    Partial,
    /// All functions were cold.
    Cold,
}

/// Where a value was measured. Trials of one deployment share its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrialPlace {
    pub(crate) deployment: usize,
    pub(crate) trial: usize,
}

/// The requests of a trial.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestColumn {
    /// Of those that were answered as expected.
    pub(crate) latencies_ms: Vec<f64>,
    /// Answered as expected in a trial whose times must not be used.
    pub(crate) answered_in_vain: u64,
    /// Answered otherwise, not at all, or never sent.
    pub(crate) failed: u64,
}

/// The traces of a trial whose requests did not fail. Columns have the same length.
#[derive(Clone, Debug, Default)]
pub(crate) struct TraceColumns {
    pub(crate) cold_starts: Vec<u64>,
    /// Functions on the critical path; 0 where it is not known. May be shorter than the others.
    pub(crate) functions: Vec<u64>,
    pub(crate) duration_ms: Vec<f64>,
    /// In the order of [`Activity::ALL`]; 0 where an activity is not on the path.
    pub(crate) parts_ms: [Vec<f64>; Activity::ALL.len()],
}

/// What the folders of one run hold, ready to be compared.
#[derive(Clone, Debug, Default)]
pub struct RunMeasurements {
    pub(crate) name: String,
    pub(crate) folders: usize,
    /// The same, by levels of factors, and labels.
    pub(crate) folders_at: BTreeMap<BTreeMap<String, String>, usize>,
    pub(crate) left_out: usize,
    pub(crate) requests: BTreeMap<ComparedGroup, BTreeMap<TrialPlace, RequestColumn>>,
    pub(crate) traces: BTreeMap<ComparedGroup, BTreeMap<TrialPlace, TraceColumns>>,
    pub(crate) notes: Vec<String>,
}

impl RunMeasurements {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.traces.is_empty()
    }

    /// The levels of a factor (or the values of a label) at which something was measured.
    pub fn levels(&self, factor: &str) -> BTreeSet<String> {
        let groups = self.requests.keys().chain(self.traces.keys());
        groups.filter_map(|group| group.factors.get(factor).cloned()).collect()
    }

    /// What was measured at one level of a factor. Groups no longer tell the factor, so that they have a counterpart at its
    /// other levels.
    #[must_use]
    pub fn at_level(&self, factor: &str, level: &str) -> Self {
        fn chosen<T: Clone>(
            all: &BTreeMap<ComparedGroup, T>,
            factor: &str,
            level: &str,
        ) -> BTreeMap<ComparedGroup, T> {
            let of_level =
                all.iter().filter(|(group, _)| group.factors.get(factor).is_some_and(|own| own == level));
            let without_factor = |(group, trials): (&ComparedGroup, &T)| {
                let mut group = group.clone();
                group.factors.remove(factor);
                (group, trials.clone())
            };
            of_level.map(without_factor).collect()
        }
        Self {
            name: format!("{}, {factor}={level}", self.name),
            folders: self
                .folders_at
                .iter()
                .filter(|(factors, _)| factors.get(factor).is_some_and(|own| own == level))
                .map(|(_, count)| count)
                .sum(),
            requests: chosen(&self.requests, factor, level),
            traces: chosen(&self.traces, factor, level),
            ..self.clone()
        }
    }

    /// Adds what was read of another folder.
    pub(crate) fn add_all(&mut self, other: Self) {
        for (key, trials) in other.requests {
            let own = self.requests.entry(key).or_default();
            for (place, column) in trials {
                let into = own.entry(place).or_default();
                into.latencies_ms.extend(column.latencies_ms);
                into.answered_in_vain += column.answered_in_vain;
                into.failed += column.failed;
            }
        }
        for (key, trials) in other.traces {
            let own = self.traces.entry(key).or_default();
            for (place, columns) in trials {
                let into = own.entry(place).or_default();
                into.cold_starts.extend(columns.cold_starts);
                into.functions.extend(columns.functions);
                into.duration_ms.extend(columns.duration_ms);
                for (into, part) in into.parts_ms.iter_mut().zip(columns.parts_ms) {
                    into.extend(part);
                }
            }
        }
    }
}

/// A quantity of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The share of requests that were not answered as expected, dropped ones included; 0 to 1.
    Failed,
    /// From sending a request to its answer, of those answered as expected. Milliseconds.
    Latency,
    /// From the start of a trace to its end, of requests that did not fail. Milliseconds.
    Duration,
    /// The part of the duration that an activity has on the critical path. Milliseconds.
    Part(Activity),
}

impl Quantity {
    /// An interval of a difference without what cannot be: a share changes by at most all of it.
    fn possible(self, difference: Ranged) -> Ranged {
        match self {
            Self::Failed => {
                Ranged { low: difference.low.max(-1.0), high: difference.high.min(1.0), ..difference }
            }
            _ => difference,
        }
    }

    /// As files and tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Latency => "latency",
            Self::Duration => "duration",
            Self::Part(activity) => activity.name(),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What can be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The second run takes longer.
    Slower,
    /// The second run takes less time.
    Faster,
    /// More requests of the second run failed.
    MoreFailures,
    /// Fewer requests of the second run failed.
    FewerFailures,
    /// There may be a difference, but a smaller one than the interval shows.
    NoDifferenceSeen,
    /// A side has fewer than three trials, or fewer than three of several deployments: nothing says how much they differ by
    /// themselves.
    TooFewTrials,
    /// A side has fewer than ten values beyond the quantile.
    TooFewRequests,
}

impl Finding {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::MoreFailures => "more failures",
            Self::FewerFailures => "fewer failures",
            Self::NoDifferenceSeen => "no difference seen",
            Self::TooFewTrials => "too few trials",
            Self::TooFewRequests => "too few requests",
        }
    }

    /// Whether it says that something changed.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Slower | Self::Faster | Self::MoreFailures | Self::FewerFailures)
    }

    /// Whether nothing can be said.
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::TooFewTrials | Self::TooFewRequests)
    }
}

/// A number with its interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ranged {
    /// The number.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl From<Estimate> for Ranged {
    fn from(estimate: Estimate) -> Self {
        Self { value: estimate.value, low: estimate.interval.low, high: estimate.interval.high }
    }
}

/// One figure of a quantity, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FigureChange {
    /// `p50`, `p99` or `mean`.
    pub statistic: &'static str,
    /// Of the first run.
    pub first: f64,
    /// Of the second run.
    pub second: f64,
    /// Second less first; `None` with fewer than three trials, or three of several deployments, on a side.
    pub difference: Option<Ranged>,
    /// Second divided by first; `None`, too, where a figure can be 0.
    pub ratio: Option<Ranged>,
    /// Of the change alone, not corrected for the number of figures that are looked at.
    pub p_value: Option<f64>,
    /// Corrected for that number.
    pub finding: Finding,
}

/// Values that lie far outside the middle half of a side. They are counted, and stay in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FarOut {
    /// Below.
    pub low: usize,
    /// Above.
    pub high: usize,
}

/// A quantity of a group, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantityChange {
    /// Which one.
    pub quantity: Quantity,
    /// How many values each side has.
    pub values: [usize; 2],
    /// How many values of each side lie far out.
    pub far_out: [FarOut; 2],
    /// The probability that a value of the second run is above one of the first, 0 to 1 (Vargha and Delaney's A).
    pub above: f64,
    /// Cliff's delta, -1 to 1.
    pub delta: f64,
    /// Its figures.
    pub figures: Vec<FigureChange>,
}

impl QuantityChange {
    /// One of its figures.
    pub fn figure(&self, statistic: &str) -> Option<&FigureChange> {
        self.figures.iter().find(|figure| figure.statistic == statistic)
    }
}

/// A group that both runs have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupChange {
    /// Which one.
    #[serde(rename = "group")]
    pub key: ComparedGroup,
    /// How its traces began; `None` for what the client measured.
    pub start: Option<Start>,
    /// How many trials each side has.
    pub trials: [usize; 2],
    /// How many deployments these are of. A side with two or more is resampled by deployment, otherwise by trial.
    pub deployments: [usize; 2],
    /// Failures and latency, or the duration.
    pub quantities: Vec<QuantityChange>,
    /// The activities on the path, those whose mean changed most first. Empty for what the client measured.
    pub path: Vec<QuantityChange>,
}

/// A group that only one run has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LoneGroup {
    /// Which one.
    #[serde(rename = "group")]
    pub key: ComparedGroup,
    /// How its traces began; `None` for what the client measured.
    pub start: Option<Start>,
}

/// What is compared with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunSide {
    /// The run or the folder, as it was named.
    pub name: String,
    /// How many folders of invocations it has.
    pub folders: usize,
    /// How many further folders were left out, as a file of each is damaged.
    pub left_out: usize,
    /// What else to know about it.
    pub notes: Vec<String>,
}

/// Two runs, compared group by group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The version of this shape: [`Comparison::VERSION`].
    pub version: u32,
    /// Before.
    pub first: RunSide,
    /// After.
    pub second: RunSide,
    /// How sure each interval is, and all findings together: 0.95.
    pub confidence: f64,
    /// Groups that both have.
    pub groups: Vec<GroupChange>,
    /// Groups whose amount of data changed by more than 20 %, or that lack traces.
    pub notes: Vec<String>,
    /// Groups that only the first has.
    pub only_first: Vec<LoneGroup>,
    /// Groups that only the second has.
    pub only_second: Vec<LoneGroup>,
}

/// A figure that got worse by more than is allowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Regression {
    /// The group, in words.
    pub group: String,
    /// The quantity's name.
    pub quantity: &'static str,
    /// `p50`, `p99` or `mean`.
    pub statistic: &'static str,
    /// Of the first run.
    pub first: f64,
    /// Of the second run.
    pub second: f64,
}

/// A group that has requests or traces before, and none after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VanishedGroup {
    /// The group, in words.
    pub group: String,
    /// Whether its requests are gone.
    pub requests: bool,
    /// Whether its traces are gone, however they began.
    pub traces: bool,
}

impl Comparison {
    /// The version that is written.
    pub const VERSION: u32 = 1;

    /// Compares two runs. Whole deployments, or else whole trials, are drawn; never single requests.
    ///
    /// # Errors
    ///
    /// A value is infinite or not a number.
    pub fn of(first: &RunMeasurements, second: &RunMeasurements) -> Result<Self, NotFinite> {
        // The error of a resampled error is 2 % with so many.
        let bootstrap = Bootstrap { resamples: 1000, ..Bootstrap::default() };
        let sides = [first, second];
        let mut groups = Vec::new();
        let mut lone = [Vec::new(), Vec::new()];
        let mut notes = Vec::new();
        let keys: BTreeSet<&ComparedGroup> =
            sides.iter().flat_map(|side| side.requests.keys().chain(side.traces.keys())).collect();
        for key in keys {
            note_amounts(&mut notes, key, sides);
            let requests = sides.map(|side| side.requests.get(key));
            match requests {
                [Some(first), Some(second)] => {
                    groups.push(client_group(&bootstrap, key, [first, second])?);
                }
                _ => note_lone(&mut lone, key, None, requests.map(|found| found.is_some())),
            }
            let traces = sides.map(|side| side.traces.get(key));
            let beginnings = beginnings(&traces);
            for start in [Start::Warm, Start::Partial, Start::Cold] {
                let chosen = traces
                    .map(|trials| trials.map_or_else(Vec::new, |trials| of_start(trials, start, beginnings)));
                let found = [0, 1].map(|side: usize| !chosen[side].is_empty());
                if found == [true, true] {
                    groups.push(trace_group(&bootstrap, key, start, &chosen)?);
                } else {
                    note_lone(&mut lone, key, Some(start), found);
                }
            }
        }
        find_together(&mut groups);
        let [only_first, only_second] = lone;
        let side = |run: &RunMeasurements| RunSide {
            name: run.name.clone(),
            folders: run.folders,
            left_out: run.left_out,
            notes: run.notes.clone(),
        };
        Ok(Self {
            version: Self::VERSION,
            first: side(first),
            second: side(second),
            confidence: bootstrap.confidence.get(),
            groups,
            notes,
            only_first,
            only_second,
        })
    }

    /// What got worse by more than a share of itself, such as 0.05, and surely did. Failures count when one more in a hundred
    /// requests failed. Activities on the path do not count: they are part of the duration.
    pub fn regressions(&self, allowed: f64) -> Vec<Regression> {
        let mut found = Vec::new();
        for group in &self.groups {
            for quantity in &group.quantities {
                for figure in &quantity.figures {
                    let worse = match figure.finding {
                        Finding::Slower => figure.second > figure.first * (1.0 + allowed),
                        Finding::MoreFailures => figure.second - figure.first >= 0.01,
                        _ => false,
                    };
                    if worse {
                        found.push(Regression {
                            group: group.words(),
                            quantity: quantity.quantity.name(),
                            statistic: figure.statistic,
                            first: figure.first,
                            second: figure.second,
                        });
                    }
                }
            }
        }
        found
    }

    /// Groups of which the second run has nothing. That a run has no cold starts any more is none of these: its other
    /// traces are there.
    pub fn vanished(&self) -> Vec<VanishedGroup> {
        let after: BTreeSet<(&ComparedGroup, bool)> = self
            .groups
            .iter()
            .map(|group| (&group.key, group.start.is_some()))
            .chain(self.only_second.iter().map(|lone| (&lone.key, lone.start.is_some())))
            .collect();
        let mut gone: BTreeMap<&ComparedGroup, [bool; 2]> = BTreeMap::new();
        for lone in &self.only_first {
            let traced = lone.start.is_some();
            if !after.contains(&(&lone.key, traced)) {
                gone.entry(&lone.key).or_default()[usize::from(traced)] = true;
            }
        }
        gone.into_iter()
            .map(|(key, [requests, traces])| VanishedGroup { group: key.words(), requests, traces })
            .collect()
    }

    /// Whether at least one figure could be judged.
    pub fn says_anything(&self) -> bool {
        let mut figures = self.groups.iter().flat_map(|group| &group.quantities).flat_map(|of| &of.figures);
        figures.any(|figure| !figure.finding.is_unknown())
    }

    /// The groups of which nothing can be said, because a side has too few trials or requests.
    pub fn unjudged(&self) -> impl Iterator<Item = &GroupChange> {
        self.groups.iter().filter(|group| {
            let mut figures = group.quantities.iter().flat_map(|quantity| &quantity.figures);
            figures.all(|figure| figure.finding.is_unknown())
        })
    }
}

impl ComparedGroup {
    /// `shop buy rate=5`.
    pub fn words(&self) -> String {
        let mut words = vec![self.application.clone()];
        words.extend(self.request.clone());
        words.extend(self.factors.iter().map(|(name, value)| format!("{name}={value}")));
        words.join(" ")
    }
}

impl VanishedGroup {
    /// `shop buy rate=5: requests and traces`.
    pub fn words(&self) -> String {
        let what = match (self.requests, self.traces) {
            (true, true) => "requests and traces",
            (true, false) => "requests",
            (false, _) => "traces",
        };
        format!("{}: {what}", self.group)
    }
}

impl GroupChange {
    /// `shop buy rate=5, warm`.
    pub fn words(&self) -> String {
        words_of(&self.key, self.start)
    }
}

impl LoneGroup {
    /// `shop buy rate=5, warm`.
    pub fn words(&self) -> String {
        words_of(&self.key, self.start)
    }
}

impl Start {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Partial => "partial",
            Self::Cold => "cold",
        }
    }
}

fn words_of(key: &ComparedGroup, start: Option<Start>) -> String {
    match start {
        Some(start) => format!("{}, {}", key.words(), start.name()),
        None => key.words(),
    }
}

/// Says where a group has much less or more data than before, and where requests left no trace.
fn note_amounts(notes: &mut Vec<String>, key: &ComparedGroup, sides: [&RunMeasurements; 2]) {
    /// One part in so many is a change of 20 %.
    const PARTS: u64 = 5;
    let requests = sides.map(|side| side.requests.get(key).map(|trials| trials.values()));
    let answered = requests
        .clone()
        .map(|columns| columns.map(|columns| columns.map(|of| of.latencies_ms.len() as u64).sum::<u64>()));
    let sent = requests.map(|columns| {
        let count = |of: &RequestColumn| of.latencies_ms.len() as u64 + of.answered_in_vain + of.failed;
        columns.map(|columns| columns.map(count).sum::<u64>())
    });
    let traces = sides.map(|side| {
        let trials = side.traces.get(key)?;
        Some(trials.values().map(|columns| columns.duration_ms.len() as u64).sum::<u64>())
    });
    for (what, counts) in [("requests", sent), ("traces of requests that did not fail", traces)] {
        if let [Some(first), Some(second)] = counts
            && first.abs_diff(second) * PARTS > first
        {
            notes.push(format!("{}: {first} {what} before and {second} after", key.words()));
        }
    }
    for (when, (answered, traces)) in ["before", "after"].into_iter().zip(answered.into_iter().zip(traces)) {
        if let (Some(answered), Some(traces)) = (answered, traces)
            && traces < answered
        {
            let missing = answered - traces;
            notes.push(format!(
                "{}: {missing} of {answered} answered requests {when} have no valid trace",
                key.words()
            ));
        }
    }
}

fn note_lone(lone: &mut [Vec<LoneGroup>; 2], key: &ComparedGroup, start: Option<Start>, found: [bool; 2]) {
    for (side, found) in found.into_iter().enumerate() {
        if found {
            lone[side].push(LoneGroup { key: key.clone(), start });
        }
    }
}

/// Trials by deployment, with values of one quantity.
type Columns = Vec<(TrialPlace, Vec<f64>)>;

fn trials_of(columns: &Columns) -> Result<Trials, NotFinite> {
    let trials: Vec<Trial<'_>> =
        columns.iter().map(|(place, values)| Trial { deployment: place.deployment, values }).collect();
    Trials::new(&trials)
}

/// The same of times in milliseconds. Some clocks count whole milliseconds.
fn times_of(columns: &Columns) -> Result<Trials, NotFinite> {
    Ok(trials_of(columns)?.measured_in(1.0))
}

fn deployments<'p>(places: impl Iterator<Item = &'p TrialPlace>) -> usize {
    places.map(|place| place.deployment).collect::<BTreeSet<_>>().len()
}

const MEAN: (&str, Statistic) = ("mean", Statistic::Mean);
const P50: (&str, Statistic) = ("p50", Statistic::Quantile(Level::MEDIAN));
const P99: (&str, Statistic) = ("p99", Statistic::Quantile(Level::P99));

/// `None` where a side has no values.
fn quantity_change(
    bootstrap: &Bootstrap,
    quantity: Quantity,
    trials: &[Trials; 2],
    statistics: &[(&'static str, Statistic)],
) -> Option<QuantityChange> {
    let [first, second] = trials;
    let effect = EffectSize::of(first, second)?;
    let figures = statistics.iter().filter_map(|&(statistic, of)| {
        let change = bootstrap.change(first, second, of)?;
        let enough = first.suffice(of) && second.suffice(of);
        Some(FigureChange {
            statistic,
            first: change.first,
            second: change.second,
            difference: change.difference.map(|difference| quantity.possible(difference.into())),
            ratio: change.ratio.map(Ranged::from),
            p_value: change.p_value,
            finding: match change.p_value {
                None => Finding::TooFewTrials,
                Some(_) if !enough => Finding::TooFewRequests,
                // Until all figures are judged together.
                Some(_) => Finding::NoDifferenceSeen,
            },
        })
    });
    Some(QuantityChange {
        quantity,
        values: [first.len(), second.len()],
        far_out: [far_out(first), far_out(second)],
        above: effect.above,
        delta: effect.delta,
        figures: figures.collect(),
    })
}

fn far_out(trials: &Trials) -> FarOut {
    let values: Vec<f64> = trials.values().collect();
    let outliers = Sorted::of(&values).map(|sample| Outliers::of(&sample)).unwrap_or_default();
    FarOut { low: outliers.low, high: outliers.high }
}

fn client_group(
    bootstrap: &Bootstrap,
    key: &ComparedGroup,
    sides: [&BTreeMap<TrialPlace, RequestColumn>; 2],
) -> Result<GroupChange, NotFinite> {
    let columns = |values: fn(&RequestColumn) -> Vec<f64>| {
        sides.map(|trials| trials.iter().map(|(place, column)| (*place, values(column))).collect::<Columns>())
    };
    let [first, second] = columns(|column| {
        let mut outcomes = vec![0.0; column.latencies_ms.len() + column.answered_in_vain as usize];
        outcomes.resize(outcomes.len() + column.failed as usize, 1.0);
        outcomes
    });
    let failed = [trials_of(&first)?, trials_of(&second)?];
    let [first, second] = columns(|column| column.latencies_ms.clone());
    let latency = [times_of(&first)?, times_of(&second)?];
    let quantities = [
        quantity_change(bootstrap, Quantity::Failed, &failed, &[MEAN]),
        quantity_change(bootstrap, Quantity::Latency, &latency, &[P50, P99, MEAN]),
    ];
    Ok(GroupChange {
        key: key.clone(),
        start: None,
        trials: [failed[0].trials(), failed[1].trials()],
        deployments: sides.map(|trials| deployments(trials.keys())),
        quantities: quantities.into_iter().flatten().collect(),
        path: Vec::new(),
    })
}

/// By what it is told how traces began: the same for both runs, as they could not be compared otherwise.
#[derive(Clone, Copy)]
enum Beginnings {
    /// By the functions on each path.
    Functions,
    /// By the most cold starts.
    Most(u64),
}

fn beginnings(sides: &[Option<&BTreeMap<TrialPlace, TraceColumns>>; 2]) -> Beginnings {
    let trials = || sides.iter().flatten().flat_map(|trials| trials.values());
    let is_known = |columns: &TraceColumns| {
        columns.functions.len() == columns.cold_starts.len()
            && columns.functions.iter().all(|count| *count > 0)
    };
    if trials().all(is_known) {
        return Beginnings::Functions;
    }
    Beginnings::Most(trials().flat_map(|columns| &columns.cold_starts).copied().max().unwrap_or(0))
}

impl Beginnings {
    fn of(self, cold_starts: u64, functions: u64) -> Start {
        let all = match self {
            Self::Functions => functions,
            Self::Most(most) => most,
        };
        match cold_starts {
            0 => Start::Warm,
            count if count < all => Start::Partial,
            _ => Start::Cold,
        }
    }
}

/// The traces of each trial that began so, in the columns of [`TraceColumns`]; trials without any are left out.
fn of_start(
    trials: &BTreeMap<TrialPlace, TraceColumns>,
    start: Start,
    beginnings: Beginnings,
) -> Vec<(TrialPlace, TraceColumns)> {
    let began = |columns: &TraceColumns, row: usize| {
        beginnings.of(columns.cold_starts[row], columns.functions.get(row).copied().unwrap_or(0))
    };
    let chosen = trials.iter().map(|(place, columns)| {
        let rows: Vec<usize> =
            (0..columns.duration_ms.len()).filter(|&row| began(columns, row) == start).collect();
        let pick = |column: &Vec<f64>| rows.iter().map(|&row| column[row]).collect::<Vec<f64>>();
        let picked = TraceColumns {
            cold_starts: Vec::new(),
            functions: Vec::new(),
            duration_ms: pick(&columns.duration_ms),
            parts_ms: columns.parts_ms.each_ref().map(pick),
        };
        (*place, picked)
    });
    chosen.filter(|(_, columns)| !columns.duration_ms.is_empty()).collect()
}

fn trace_group(
    bootstrap: &Bootstrap,
    key: &ComparedGroup,
    start: Start,
    sides: &[Vec<(TrialPlace, TraceColumns)>; 2],
) -> Result<GroupChange, NotFinite> {
    let trials = |values: &dyn Fn(&TraceColumns) -> &Vec<f64>| -> Result<[Trials; 2], NotFinite> {
        let columns = sides
            .each_ref()
            .map(|side| side.iter().map(|(place, columns)| (*place, values(columns).clone())).collect());
        Ok([times_of(&columns[0])?, times_of(&columns[1])?])
    };
    let durations = trials(&|columns| &columns.duration_ms)?;
    let duration = quantity_change(bootstrap, Quantity::Duration, &durations, &[P50, P99, MEAN]);
    let mut path = Vec::new();
    for (at, activity) in Activity::ALL.into_iter().enumerate() {
        let parts = trials(&|columns| &columns.parts_ms[at])?;
        let absent = parts.iter().all(|side| side.values().all(|value| value == 0.0));
        if !absent {
            path.extend(quantity_change(bootstrap, Quantity::Part(activity), &parts, &[P50, P99, MEAN]));
        }
    }
    let moved =
        |change: &QuantityChange| change.figure("mean").map_or(0.0, |mean| (mean.second - mean.first).abs());
    path.sort_by(|one, other| moved(other).total_cmp(&moved(one)));
    Ok(GroupChange {
        key: key.clone(),
        start: Some(start),
        trials: [durations[0].trials(), durations[1].trials()],
        deployments: sides.each_ref().map(|trials| deployments(trials.iter().map(|(place, _)| place))),
        quantities: duration.into_iter().collect(),
        path,
    })
}

/// Judges what is looked at together: all durations, latencies and failures of all groups, and the path of each group.
fn find_together(groups: &mut [GroupChange]) {
    let mut all = Vec::new();
    for group in groups {
        settle(figures_of(&mut group.path));
        all.extend(figures_of(&mut group.quantities));
    }
    settle(all);
}

fn figures_of(quantities: &mut [QuantityChange]) -> Vec<(Quantity, &mut FigureChange)> {
    let figures = quantities.iter_mut().flat_map(|change| {
        let quantity = change.quantity;
        change.figures.iter_mut().map(move |figure| (quantity, figure))
    });
    figures.collect()
}

/// Decides the findings of figures that are looked at together.
fn settle(figures: Vec<(Quantity, &mut FigureChange)>) {
    // Figures that never vary and are the same, such as no failures at all, cannot be a false alarm, and make none less sure.
    let can_differ = |figure: &FigureChange| {
        (figure.first - figure.second).abs() > 0.0
            || figure.difference.is_some_and(|range| range.low < range.high)
    };
    let mut open: Vec<(Quantity, &mut FigureChange)> = figures
        .into_iter()
        .filter(|(_, figure)| !figure.finding.is_unknown() && can_differ(figure))
        .collect();
    let changes: Vec<Change> = open
        .iter()
        .map(|(_, figure)| Change {
            first: figure.first,
            second: figure.second,
            difference: None,
            ratio: None,
            p_value: figure.p_value,
        })
        .collect();
    for ((quantity, figure), judged) in open.iter_mut().zip(judge(&changes, Level::P95)) {
        figure.finding = match (judged, *quantity) {
            (Judgement::Up, Quantity::Failed) => Finding::MoreFailures,
            (Judgement::Down, Quantity::Failed) => Finding::FewerFailures,
            (Judgement::Up, _) => Finding::Slower,
            (Judgement::Down, _) => Finding::Faster,
            (Judgement::Unseen, _) => Finding::NoDifferenceSeen,
            (Judgement::Unknown, _) => Finding::TooFewTrials,
        };
    }
}

#[cfg(test)]
mod tests;
