//! Loads: from the raw table, or from the command line, to a checked [`Load`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::manifest::decode::Decode as _;
use crate::manifest::load::{LoadFile, ThinkTimeFile};
use crate::manifest::problem::Checked;
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::read::{Files, boundary, lies_in, normal};
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Or, Period};
use crate::validate::kind::{self, FileKind};
use crate::validate::{check, script, trace_load, users};
use sb_workload::schedule::total;
use sb_workload::template::{Template, plain_text};
use sb_workload::{Load, LoadShape, Stage, Tolerances};

/// Invocations per second that no machine of today sends.
pub(super) const HIGHEST_RATE: f64 = 1e6;

/// Of a load, repeated ones included.
const MOST_STAGES: u64 = 100_000;

pub(super) const SHAPES: &str = "use exactly one of `iterations = 10`, `constant = 20` with `duration = \"90s\"`, \
                      `users = 20` with `duration = \"90s\"`, \
                      `stages = [ { target = 10, duration = \"30s\" } ]`, `pattern = \"steady\"`, `csv = \"trace.csv\"`, \
                      `trace = \"starts.csv\"`,                       `bursts = { size = 20, at = [\"0s\"] }` and `k6_options = \"options.json\"`";

/// A value that a template may have given.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Result<Self, String>;
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_u64().ok_or_else(|| format!("expected a whole number of 0 or more, got {value}"))
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_f64().ok_or_else(|| format!("expected a number, got {value}"))
    }
}

impl FromValue for Period {
    fn from_value(value: &Value) -> Result<Self, String> {
        Self::parse(&plain_text(value))
    }
}

/// Where the values of templates come from, and how a point of the matrix is called in messages.
pub(super) struct Values<'a> {
    pub lookup: &'a dyn Fn(&str) -> Option<Value>,
    /// ` (at rate = 10)`, or empty.
    pub point: &'a str,
    pub files: &'a dyn Files,
    /// What relative paths count from.
    pub folder: &'a Path,
    /// Outside of this folder no file is read. None: a person names the file on the command line.
    pub boundary: Option<&'a Path>,
}

impl Values<'_> {
    /// The file that a load names, which lies inside.
    pub(super) fn file(&self, name: &str) -> Result<PathBuf, Box<Problem>> {
        let file = normal(&self.folder.join(name));
        match self.boundary {
            Some(boundary) if !lies_in(self.files, &file, boundary) => {
                let message = format!(
                    "the file `{name}` of the load lies outside of {}{}",
                    boundary.display(),
                    self.point
                );
                let problem = Problem::error("outside-root", message);
                Err(Box::new(problem.help("move it there, or name it on the command line of `sb invoke`")))
            }
            _ => Ok(file),
        }
    }
}

/// Every template in a load, with its place.
pub(super) fn templates(load: &LoadFile) -> Vec<Spanned<Template>> {
    fn add<T>(found: &mut Vec<Spanned<Template>>, value: Option<&Spanned<Or<T>>>) {
        if let Some(Spanned { value: Or::Template(template), span }) = value {
            found.push(Spanned { value: template.clone(), span: span.clone() });
        }
    }
    let mut found = Vec::new();
    add(&mut found, load.iterations.as_ref());
    add(&mut found, load.constant.as_ref());
    add(&mut found, load.users.as_ref());
    match load.think_time.as_ref().map(|think| (&think.value, &think.span)) {
        None => {}
        Some((ThinkTimeFile::Fixed(time), span)) => {
            add(&mut found, Some(&Spanned { value: time.clone(), span: span.clone() }));
        }
        Some((ThinkTimeFile::Distribution(of), _)) => {
            for time in [&of.min, &of.max, &of.mean, &of.median, &of.p99] {
                add(&mut found, time.as_ref());
            }
        }
    }
    add(&mut found, load.duration.as_ref());
    add(&mut found, load.start.as_ref());
    add(&mut found, load.repeat.as_ref());
    add(&mut found, load.rate.as_ref());
    add(&mut found, load.scale_factor.as_ref());
    add(&mut found, load.skip.as_ref());
    add(&mut found, load.seed.as_ref());
    add(&mut found, load.expected_latency.as_ref());
    add(&mut found, load.speed.as_ref());
    add(&mut found, load.max_error_rate.as_ref());
    add(&mut found, load.max_dropped.as_ref());
    add(&mut found, load.max_lateness.as_ref());
    for stage in load.stages.iter().flat_map(|stages| stages.value.iter()) {
        add(&mut found, Some(&stage.value.target));
        add(&mut found, Some(&stage.value.duration));
    }
    if let Some(bursts) = &load.bursts {
        add(&mut found, Some(&bursts.value.size));
        bursts.value.at.value.iter().for_each(|time| add(&mut found, Some(time)));
    }
    let words = [&load.pattern, &load.csv, &load.trace, &load.scale_type, &load.arrivals, &load.k6_options];
    found.extend(words.into_iter().flatten().filter(|word| !word.value.is_literal()).cloned());
    found
}

/// Gives a raw load its values. None: something was reported.
pub(super) fn resolve(
    load: &LoadFile,
    span: &Span,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<Load> {
    let before = report.problems.len();
    let shape = shape(load, span, values, report);
    let speed =
        load.speed.as_ref().map_or(Some(1.0), |speed| positive(speed, 1e6, "the speed", values, report));
    let expected_latency =
        load.expected_latency.as_ref().and_then(|latency| period(latency, true, values, report));
    let default = Tolerances::default();
    let mut share = |given: Option<&Spanned<Or<f64>>>, default: f64| {
        given.and_then(|share| fraction(share, values, report)).unwrap_or(default)
    };
    let tolerances = Tolerances {
        max_error_rate: share(load.max_error_rate.as_ref(), default.max_error_rate),
        max_dropped: share(load.max_dropped.as_ref(), default.max_dropped),
        max_lateness: load.max_lateness.as_ref().and_then(|limit| period(limit, false, values, report)),
    };
    if report.problems.len() > before {
        return None;
    }
    let resolved = Load { speed: speed?, expected_latency, tolerances, ..Load::new(shape?) };
    if total(&resolved) == Some(0) {
        report.push(
            Problem::error("invalid-load", format!("the load is too short to send anything{}", values.point))
                .at(&first_line(span, report), "not one invocation")
                .help(
                    "let it last longer, or send more per second: their product is the number of invocations",
                ),
        );
        return None;
    }
    Some(resolved)
}

fn shape(load: &LoadFile, span: &Span, values: &Values<'_>, report: &mut Report) -> Option<LoadShape> {
    let mut given: Vec<(&str, &Span)> = Vec::new();
    given.extend(load.iterations.as_ref().map(|value| ("iterations", &value.span)));
    given.extend(load.constant.as_ref().map(|value| ("constant", &value.span)));
    given.extend(load.users.as_ref().map(|value| ("users", &value.span)));
    given.extend(load.stages.as_ref().map(|value| ("stages", &value.span)));
    given.extend(load.pattern.as_ref().map(|value| ("pattern", &value.span)));
    given.extend(load.csv.as_ref().map(|value| ("csv", &value.span)));
    given.extend(load.trace.as_ref().map(|value| ("trace", &value.span)));
    given.extend(load.bursts.as_ref().map(|value| ("bursts", &value.span)));
    given.extend(load.k6_options.as_ref().map(|value| ("k6_options", &value.span)));
    if let [(first, _), .., (second, at)] = given.as_slice() {
        report.push(
            Problem::error("invalid-load", format!("the load has both `{first}` and `{second}`"))
                .at(at, "a second kind of load")
                .help(SHAPES),
        );
        return None;
    }
    if let (Some(duration), None, None) = (&load.duration, &load.constant, &load.users) {
        report.push(
            Problem::error("invalid-load", "`duration` belongs to `constant` and `users`")
                .at(&duration.span, "nothing lasts this long")
                .help(SHAPES),
        );
    }
    if let (Some(think_time), None) = (&load.think_time, &load.users) {
        report.push(
            Problem::error("invalid-load", "`think_time` belongs to `users`")
                .at(&think_time.span, "nobody thinks")
                .help(SHAPES),
        );
    }
    if let (Some(start), None) = (&load.start, &load.stages) {
        report.push(
            Problem::error("invalid-load", "`start` belongs to `stages`")
                .at(&start.span, "nothing starts here")
                .help(SHAPES),
        );
    }
    if let (Some(repeat), None) = (&load.repeat, &load.stages) {
        report.push(
            Problem::error("invalid-load", "`repeat` belongs to `stages`")
                .at(&repeat.span, "nothing is repeated")
                .help(SHAPES),
        );
    }
    if load.pattern.is_none() && load.csv.is_none() {
        trace_load::refuse_scaling(load, report);
    }
    if let Some(pattern) = &load.pattern {
        return trace_load::pattern(load, pattern, values, report);
    }
    if let Some(csv) = &load.csv {
        return trace_load::csv(load, csv, values, report);
    }
    if let Some(trace) = &load.trace {
        return trace_load::replay(trace, values, report);
    }
    if let Some(bursts) = &load.bursts {
        return trace_load::bursts(&bursts.value, values, report);
    }
    if let Some(path) = &load.k6_options {
        return script::load(load, path, values, report);
    }
    if let Some(iterations) = &load.iterations {
        let number = value(iterations, values, report)?;
        if !(1..=1_000_000_000).contains(&number) {
            report.push(out_of_range(
                &iterations.span,
                "the number of iterations",
                "from 1 to 1000000000",
                values,
            ));
        }
        return Some(LoadShape::Iterations { iterations: number });
    }
    if let Some(constant) = &load.constant {
        let rate = positive(constant, HIGHEST_RATE, "the rate", values, report);
        let Some(duration) = &load.duration else {
            report.push(
                Problem::error("invalid-load", "a constant load needs a duration")
                    .at(&constant.span, "for how long?")
                    .help("add `duration = \"90s\"`"),
            );
            return None;
        };
        let duration = period(duration, true, values, report)?;
        let rate = rate?;
        return Some(LoadShape::Constant { rate, duration });
    }
    if let Some(count) = &load.users {
        return users::users(load, count, values, report);
    }
    if let Some(stages) = &load.stages {
        let start_rate = load.start.as_ref().map_or(Some(0.0), |start| rate_from_zero(start, values, report));
        let checked: Vec<Option<Stage>> = stages
            .value
            .iter()
            .map(|stage| {
                let target = rate_from_zero(&stage.value.target, values, report);
                let duration = period(&stage.value.duration, false, values, report);
                Some(Stage { target: target?, duration: duration? })
            })
            .collect();
        let stages_checked: Vec<Stage> = checked.into_iter().collect::<Option<_>>()?;
        let start_rate = start_rate?;
        let rounds = load.repeat.as_ref().map_or(Some(1), |repeat| value(repeat, values, report))?;
        let most = MOST_STAGES / (stages_checked.len() as u64).max(1);
        if let Some(repeat) = load.repeat.as_ref().filter(|_| !(1..=most).contains(&rounds)) {
            let what = "the number of rounds";
            report.push(out_of_range(&repeat.span, what, &format!("from 1 to {most}"), values));
            return None;
        }
        if start_rate <= 0.0 && stages_checked.iter().all(|stage| stage.target <= 0.0) {
            report.push(
                Problem::error("invalid-load", format!("the stages send nothing{}", values.point))
                    .at(&stages.span, "no stage has a target above 0")
                    .help("add a stage: `{ target = 10, duration = \"30s\" }`"),
            );
        }
        let count = stages_checked.len().saturating_mul(usize::try_from(rounds).unwrap_or(usize::MAX));
        let stages = stages_checked.iter().cycle().take(count).cloned().collect();
        return Some(LoadShape::Stages { start_rate, stages });
    }
    report.push(
        Problem::error("invalid-load", "the load does not say when to send")
            .at(&first_line(span, report), "a load without a shape")
            .help(SHAPES),
    );
    None
}

pub(super) fn first_line(span: &Span, report: &Report) -> Span {
    let text = report.source.text().get(span.clone()).unwrap_or_default();
    span.start..span.start + text.find('\n').unwrap_or(text.len())
}

pub(super) fn value<T: FromValue + Clone>(
    given: &Spanned<Or<T>>,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<T> {
    let template = match &given.value {
        Or::Value(value) => return Some(value.clone()),
        Or::Template(template) => template,
    };
    let result = template
        .evaluate(values.lookup)
        .map_err(|error| error.to_string())
        .and_then(|value| T::from_value(&value));
    match result {
        Ok(value) => Some(value),
        Err(message) => {
            report.push(
                Problem::error("invalid-value", format!("{message}{}", values.point))
                    .at(&given.span, "this template gives it")
                    .help("give the factor or variable a level of the right type"),
            );
            None
        }
    }
}

/// `range`: "from 0 to 1".
pub(super) fn out_of_range(span: &Span, what: &str, range: &str, values: &Values<'_>) -> Problem {
    Problem::error("out-of-range", format!("{what} is out of range{}", values.point))
        .at(span, format!("must be {range}"))
        .help(format!("use a value {range}"))
}

pub(super) fn positive(
    given: &Spanned<Or<f64>>,
    limit: f64,
    what: &str,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<f64> {
    let number = value(given, values, report)?;
    if number > 0.0 && number <= limit {
        return Some(number);
    }
    let message = format!("{what} cannot be {number}{}", values.point);
    report.push(
        Problem::error("out-of-range", message)
            .at(&given.span, format!("must be above 0 and at most {limit}"))
            .help(format!("use a value above 0 and at most {limit}")),
    );
    None
}

fn rate_from_zero(given: &Spanned<Or<f64>>, values: &Values<'_>, report: &mut Report) -> Option<f64> {
    let number = value(given, values, report)?;
    if (0.0..=HIGHEST_RATE).contains(&number) {
        return Some(number);
    }
    report.push(out_of_range(&given.span, "the rate", &format!("from 0 to {HIGHEST_RATE}"), values));
    None
}

fn fraction(given: &Spanned<Or<f64>>, values: &Values<'_>, report: &mut Report) -> Option<f64> {
    let number = value(given, values, report)?;
    if (0.0..=1.0).contains(&number) {
        return Some(number);
    }
    report.push(out_of_range(&given.span, "the share", "from 0 to 1 (0.01 is one percent)", values));
    None
}

pub(super) fn period(
    given: &Spanned<Or<Period>>,
    above_zero: bool,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<Duration> {
    let duration = value(given, values, report)?.0;
    Some(check::duration_value(duration, &given.span, above_zero, values.point, report))
}

/// One invocation: what happens when nothing is said.
pub(super) fn default_load() -> Load {
    Load::new(LoadShape::Iterations { iterations: 1 })
}

/// A load file for `--load`: the keys of `[load]` at the top. There is no matrix, so no templates.
pub fn load_file(files: &dyn Files, path: &Path) -> Checked<Load> {
    let path = check::absolute(path);
    let (node, mut report) = kind::expect(&path, FileKind::Load, check::open_named(files, &path));
    let load = node.and_then(|node| {
        let raw = LoadFile::decode(&node, &mut report)?;
        if report.problems.iter().any(Problem::is_error) {
            return None;
        }
        let folder = path.parent().unwrap_or(&path);
        let boundary = boundary(files, &path);
        let values = Values { lookup: &|_| None, point: "", files, folder, boundary: Some(&boundary) };
        resolve(&raw, &node.span, &values, &mut report)
    });
    Checked::new(load, report.problems)
}
