//! The pattern of a window: a few features of its minutes, and rules that can be read.

use serde::Serialize;

use crate::model::Key;

/// How the invocations of a window are spread over its minutes. The first four are the study's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatternClass {
    /// Hardly changes.
    Steady,
    /// Goes up and down all the time.
    Fluctuating,
    /// Short peaks, with little in between.
    Spikes,
    /// Changes its level once.
    Jump,
    /// There are no invocations.
    Idle,
}

impl PatternClass {
    /// The study's four patterns.
    pub const STUDY: [Self; 4] = [Self::Steady, Self::Fluctuating, Self::Spikes, Self::Jump];

    /// The word in files and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Fluctuating => "fluctuating",
            Self::Spikes => "spikes",
            Self::Jump => "jump",
            Self::Idle => "idle",
        }
    }

    /// The pattern of a word.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::STUDY.into_iter().chain([Self::Idle]).find(|pattern| pattern.name() == name)
    }
}

/// What the rules look at. Counts are invocations per minute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Features {
    /// The mean.
    pub mean: f64,
    /// Standard deviation over mean: the dispersion. 0 where there are no invocations.
    pub dispersion: f64,
    /// The dispersion that is left when a straight line is taken out: a trend alone is no fluctuation.
    pub detrended: f64,
    /// The dispersion that chance alone gives to independent invocations at this mean: one over the root of the mean.
    pub chance: f64,
    /// The busiest minute over the mean.
    pub peak_to_mean: f64,
    /// Share of minutes without invocations, 0 to 1.
    pub zero_share: f64,
    /// The level that at least a quarter of the minutes do not exceed.
    pub base: f64,
    /// Runs of minutes that are nearer to the level of peaks than to the base.
    pub peaks: usize,
    /// Minutes of the longest of these runs.
    pub longest_peak: usize,
    /// Share of the minutes that are in these runs, 0 to 1.
    pub peak_share: f64,
    /// Share of the minutes that are well above the base and well below the level of peaks, 0 to 1: few, where peaks are.
    pub between_share: f64,
    /// The first minute (from 0) of the second of two levels, where two levels fit best. None below eight minutes.
    pub change_at: Option<usize>,
    /// Share of the variance that these two levels explain, 0 to 1.
    pub change_explains: f64,
    /// Share of the variance that a straight line explains, 0 to 1.
    pub trend_explains: f64,
    /// The higher of the two levels over the lower, 1 or more; the lower counts as at least one invocation a minute.
    pub change_ratio: f64,
    /// The difference of the levels over the standard deviation within them.
    pub change_step: f64,
}

/// A level lasts at least this many minutes.
const SHORTEST_LEVEL: usize = 4;

impl Features {
    /// The features of a window, in time that grows with the number of its minutes.
    pub fn of(minutes: &[u64]) -> Self {
        let values: Vec<f64> = minutes.iter().map(|count| *count as f64).collect();
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let relative = |squares: f64| if mean > 0.0 { (squares / count).sqrt() / mean } else { 0.0 };
        let trend = trend_squares(&values, mean);
        let explained = |left: f64| if squares > 0.0 { (1.0 - left / squares).clamp(0.0, 1.0) } else { 0.0 };
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted.get(((count - 1.0) * share) as usize).copied().unwrap_or_default();
        let highest = at(1.0);
        let (base, top) = (at(0.25), at(0.95));
        let runs = runs_above(&values, f64::midpoint(base, top).max(base + 1.0));
        let change = best_change(&values);
        Self {
            mean,
            dispersion: relative(squares),
            detrended: relative(trend),
            chance: if mean > 0.0 { 1.0 / mean.sqrt() } else { 0.0 },
            peak_to_mean: if mean > 0.0 { highest / mean } else { 0.0 },
            zero_share: values.iter().filter(|value| **value == 0.0).count() as f64 / count,
            base,
            peaks: runs.len(),
            longest_peak: runs.iter().copied().max().unwrap_or_default(),
            peak_share: runs.iter().sum::<usize>() as f64 / count,
            between_share: between(&values, base, top) / count,
            change_at: change.as_ref().map(|change| change.at),
            change_explains: change.as_ref().map_or(0.0, |change| explained(change.squares)),
            trend_explains: explained(trend),
            change_ratio: change.as_ref().map_or(1.0, Change::ratio),
            change_step: change.as_ref().map_or(0.0, |change| {
                let within = (change.squares / count).sqrt();
                // Counts are whole numbers: levels are no sharper than that.
                (change.levels[1] - change.levels[0]).abs() / within.max(0.3)
            }),
        }
    }
}

/// Squares around the best straight line.
fn trend_squares(values: &[f64], mean: f64) -> f64 {
    let middle = (values.len().max(1) - 1) as f64 / 2.0;
    let (mut both, mut own, mut all) = (0.0, 0.0, 0.0);
    for (place, value) in values.iter().enumerate() {
        let away = place as f64 - middle;
        both += away * (value - mean);
        own += away * away;
        all += (value - mean).powi(2);
    }
    if own > 0.0 { (all - both * both / own).max(0.0) } else { all }
}

/// How many values are at 15 to 60 % of the way from a base to a top: the height of peaks scatters more than the base.
fn between(values: &[f64], base: f64, top: f64) -> f64 {
    let at = |share: f64| base + share * (top - base);
    values.iter().filter(|value| **value > at(0.15) && **value < at(0.6)).count() as f64
}

/// Lengths of the runs of values above a limit.
fn runs_above(values: &[f64], limit: f64) -> Vec<usize> {
    values.split(|value| *value < limit).map(<[f64]>::len).filter(|length| *length > 0).collect()
}

struct Change {
    at: usize,
    levels: [f64; 2],
    /// Squares around the levels.
    squares: f64,
}

impl Change {
    fn ratio(&self) -> f64 {
        let [low, high] =
            if self.levels[0] < self.levels[1] { self.levels } else { [self.levels[1], self.levels[0]] };
        (high / low.max(1.0)).max(1.0)
    }
}

/// The two levels that leave the least squares.
fn best_change(values: &[f64]) -> Option<Change> {
    if values.len() < 2 * SHORTEST_LEVEL {
        return None;
    }
    let (mut sums, mut squares) = (vec![0.0], vec![0.0]);
    for value in values {
        sums.push(sums[sums.len() - 1] + value);
        squares.push(squares[squares.len() - 1] + value * value);
    }
    let part = |from: usize, to: usize| {
        let mean = (sums[to] - sums[from]) / (to - from) as f64;
        (mean, (squares[to] - squares[from] - mean * mean * (to - from) as f64).max(0.0))
    };
    let all = values.len();
    let changes = (SHORTEST_LEVEL..=all - SHORTEST_LEVEL).map(|at| {
        let ((before, first), (after, second)) = (part(0, at), part(at, all));
        Change { at, levels: [before, after], squares: first + second }
    });
    changes.min_by(|a, b| a.squares.total_cmp(&b.squares))
}

/// A pattern, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classified {
    /// The pattern.
    pub pattern: PatternClass,
    /// The rule that decided, with the values it looked at.
    pub rule: String,
    /// What the rules looked at.
    pub features: Features,
}

/// Below this mean, the scatter of single invocations hides whether a rate fluctuates: chance is taken out first.
const FEW: f64 = 30.0;
/// Peaks leave at most this share of the minutes between themselves and the base.
const BETWEEN: f64 = 0.15;
/// A steady rate scatters at most this much.
const STEADY: f64 = 0.06;

/// Names the pattern of a window. The rules are tried in this order:
///
/// 1. No invocation: idle.
/// 2. Peaks of at most three minutes, apart from each other, that fill at most half of the window and rise to 2.5 times the
///    base, with at most 15 % of the minutes between base and peaks: spikes.
/// 3. Two levels that explain the minutes better than a straight line does, and differ by a fifth and by 2.5 standard
///    deviations: jump.
/// 4. A scatter around a straight line of at most 6 %, or, below 30 invocations a minute, one that chance explains: steady.
/// 5. Anything else: fluctuating.
pub fn classify(minutes: &[u64]) -> Classified {
    let features = Features::of(minutes);
    let (pattern, rule) = decide(&features, minutes.len());
    Classified { pattern, rule, features }
}

fn decide(features: &Features, minutes: usize) -> (PatternClass, String) {
    let Features { mean, peaks, longest_peak, peak_share, base, peak_to_mean, between_share, .. } = *features;
    if mean == 0.0 {
        return (PatternClass::Idle, "there are no invocations".to_owned());
    }
    let peak = peak_to_mean * mean;
    // Chance alone gives few invocations a high peak: it must stand out of the base by more than that.
    let stands_out = peak > base + 6.0 * (base + 1.0).sqrt();
    let is_short = longest_peak <= 3.min(minutes / 5).max(1);
    if peaks >= 1
        && is_short
        && peak_share <= 0.5
        && between_share <= BETWEEN
        && peak >= 2.5 * base.max(1.0)
        && stands_out
    {
        let rule = format!(
            "{peaks} peaks of at most {longest_peak} min up to {peak:.0} a minute, at least 2.5 times the base of {base:.0}"
        );
        return (PatternClass::Spikes, rule);
    }
    let Features { change_explains, trend_explains, change_ratio, change_step, change_at, .. } = *features;
    let beats_trend = 1.0 - change_explains <= 0.75 * (1.0 - trend_explains);
    // What single invocations scatter by chance, of the mean of a level.
    let is_beyond_chance = mean >= FEW || (change_ratio - 1.0) * mean.sqrt() > 1.5;
    if change_explains >= 0.6 && beats_trend && change_ratio >= 1.2 && change_step >= 2.5 && is_beyond_chance
    {
        let rule = format!(
            "one change of level by a factor of {change_ratio:.2} before minute {}, which explains {:.0} % of the variance",
            change_at.unwrap_or_default() + 1,
            100.0 * change_explains
        );
        return (PatternClass::Jump, rule);
    }
    let (detrended, chance) = (features.detrended, features.chance);
    if detrended <= STEADY {
        let rule = format!("the minutes scatter by {:.1} % around a line, at most 6 %", 100.0 * detrended);
        return (PatternClass::Steady, rule);
    }
    if mean < FEW && detrended <= 1.25 * chance {
        let rule = format!(
            "the minutes scatter by {:.1} %, and {:.1} % is what chance gives at this rate",
            100.0 * detrended,
            100.0 * chance
        );
        return (PatternClass::Steady, rule);
    }
    (
        PatternClass::Fluctuating,
        format!("the minutes scatter by {:.1} % around a line, above 6 %", 100.0 * detrended),
    )
}

/// How often a pattern was recognized as which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// True pattern, recognized pattern, how often.
    pub counts: std::collections::BTreeMap<(PatternClass, PatternClass), u64>,
}

impl Confusion {
    /// Counts one window.
    pub fn add(&mut self, truth: PatternClass, found: PatternClass) {
        *self.counts.entry((truth, found)).or_default() += 1;
    }

    /// How often a pattern was recognized as another.
    pub fn count(&self, truth: PatternClass, found: PatternClass) -> u64 {
        self.counts.get(&(truth, found)).copied().unwrap_or_default()
    }

    /// All windows, and those that were recognized.
    pub fn totals(&self) -> (u64, u64) {
        let right =
            self.counts.iter().filter(|((truth, found), _)| truth == found).map(|(_, count)| count).sum();
        (self.counts.values().sum(), right)
    }
}

/// Labels by hand of one function: its hash, and a pattern for each window. None where nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The function.
    pub function: String,
    /// Its owner. None: not said, as in the study's form.
    pub owner: Option<String>,
    /// Its application. None: not said, as in the study's form.
    pub app: Option<String>,
    /// What calls it. None: not said, as in the study's form.
    pub trigger: Option<String>,
    /// In the order of the windows.
    pub patterns: Vec<Option<PatternClass>>,
}

impl Label {
    /// Whether the label is about a function.
    pub fn is_of(&self, key: &Key) -> bool {
        // Spaces around a cell are none of its name.
        let is = |said: &Option<String>, found: &str| said.as_ref().is_none_or(|said| said == found.trim());
        self.function == key.function().trim()
            && is(&self.owner, key.owner())
            && is(&self.app, key.app())
            && is(&self.trigger, key.trigger())
    }
}

/// What a line may say of its function.
const KEY_COLUMNS: [&str; 4] = ["HashOwner", "HashApp", "HashFunction", "Trigger"];

/// Reads labels in the study's form: a first line `HashFunction,time1,time2`, then a line for each function with its
/// patterns. An empty cell is a window without a label. Before `time1` there may also be `HashOwner`, `HashApp` and `Trigger`, in any
/// order, for datasets in which a function is known by these alone.
///
/// # Errors
/// What is wrong, and in which line.
pub fn read_labels(text: &str) -> Result<Vec<Label>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header: Vec<String> =
        reader.headers().map_err(|error| error.to_string())?.iter().map(str::to_owned).collect();
    let names = header.iter().take_while(|name| KEY_COLUMNS.contains(&name.as_str())).count();
    let place = |wanted: &str| header[..names].iter().position(|name| name == wanted);
    let are_different = (1..names).all(|at| !header[..at].contains(&header[at]));
    let are_windows = header.len() > names
        && header[names..].iter().zip(1..).all(|(name, number)| *name == format!("time{number}"));
    let Some(function) = place("HashFunction").filter(|_| are_different && are_windows) else {
        return Err("line 1: the columns are not HashFunction,time1,time2".to_owned());
    };
    let [owner, app, trigger] = ["HashOwner", "HashApp", "Trigger"].map(place);
    let mut labels: Vec<Label> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let number = record.position().map_or(0, csv::Position::line);
        let cells: Vec<String> = record.iter().map(str::to_owned).collect();
        if cells.len() == 1 && cells[0].is_empty() {
            continue;
        }
        if cells.len() != header.len() {
            return Err(format!(
                "line {number}: it has {} cells, and the first line {}",
                cells.len(),
                header.len()
            ));
        }
        if !seen.insert(cells[..names].to_vec()) {
            return Err(format!("line {number}: `{}` has a label in a line above", cells[function]));
        }
        let patterns: Result<Vec<Option<PatternClass>>, String> = cells[names..]
            .iter()
            .map(|cell| match cell.as_str() {
                "" => Ok(None),
                word => PatternClass::by_name(word).map(Some).ok_or_else(|| {
                    format!("line {number}: `{word}` is none of steady, fluctuating, spikes, jump, idle")
                }),
            })
            .collect();
        let cell = |place: Option<usize>| place.map(|place| cells[place].clone());
        labels.push(Label {
            function: cells[function].clone(),
            owner: cell(owner),
            app: cell(app),
            trigger: cell(trigger),
            patterns: patterns?,
        });
    }
    Ok(labels)
}
