//! A load from the command line: `sb invoke fluctuating --rate 20`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::manifest::LoadArguments;
use crate::manifest::load::{LoadFile, ThinkDistributionFile, ThinkTimeFile};
use crate::manifest::problem::{Checked, Problem, Report, Source, did_you_mean};
use crate::manifest::read::Files;
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Or, Period};
use crate::validate::load::{Values, resolve};
use sb_workload::Load;
use sb_workload::pattern::Pattern;
use sb_workload::template::Template;

const USAGE: &str = "use a number of invocations (`10`), `constant --rate 20 --duration 90s`, `users --users 20 --duration 90s`, \
                     a pattern (`fluctuating --rate 20`), \
                     a CSV file, `--k6-options FILE`, or `--load FILE`";

/// A load from the command line: `10`, `constant --rate 20 --duration 90s`, `fluctuating --rate 20`, `trace.csv`.
pub fn load_arguments(files: &dyn Files, arguments: &LoadArguments) -> Checked<Load> {
    let raw = match raw(arguments) {
        Ok(raw) => raw,
        Err(problem) => return Checked::new(None, vec![*problem]),
    };
    let mut report = Report::new(Arc::new(Source::new(Path::new("command line"), "")));
    let values = Values { lookup: &|_| None, point: "", files, folder: &arguments.folder, boundary: None };
    let load = resolve(&raw, &(0..0), &values, &mut report);
    let problems = report.problems.into_iter().map(|problem| Problem {
        source: None,
        labels: Vec::new(),
        message: format!("{} on the command line", problem.message),
        ..problem
    });
    Checked::new(load, problems.collect())
}

fn raw(arguments: &LoadArguments) -> Result<LoadFile, Box<Problem>> {
    fn spanned<T>(value: T) -> Spanned<Or<T>> {
        Spanned { value: Or::Value(value), span: 0..0 }
    }
    let fail = |message: String| Box::new(Problem::error("invalid-arguments", message).help(USAGE));
    let lasting = |value: Duration| spanned(Period(value));
    let word = |text: &str| {
        let template = Template::parse(text).ok().filter(Template::is_literal);
        let template = template.ok_or_else(|| fail(format!("`{text}` holds a placeholder")))?;
        Ok::<_, Box<Problem>>(Spanned { value: template, span: 0..0 })
    };
    let mut raw = LoadFile {
        iterations: None,
        constant: None,
        users: None,
        think_time: None,
        duration: None,
        stages: None,
        start: None,
        repeat: None,
        pattern: None,
        csv: None,
        trace: None,
        rate: arguments.rate.map(spanned),
        scale_factor: arguments.scale_factor.map(spanned),
        scale_type: arguments.scale_type.as_deref().map(word).transpose()?,
        skip: arguments.skip.map(lasting),
        seed: arguments.seed.map(spanned),
        arrivals: arguments.arrivals.as_deref().map(word).transpose()?,
        bursts: None,
        k6_options: arguments.k6_options.as_deref().map(|path| word(&path.to_string_lossy())).transpose()?,
        expected_latency: arguments.expected_latency.map(lasting),
        speed: arguments.speed.map(spanned),
        max_error_rate: arguments.max_error_rate.map(spanned),
        max_dropped: arguments.max_dropped.map(spanned),
        max_lateness: arguments.max_lateness.map(lasting),
    };
    if raw.k6_options.is_some() && arguments.load.is_none() {
        return Ok(raw);
    }
    let given = arguments.load.as_deref().unwrap_or("1");
    if arguments.duration.is_some() && !matches!(given, "constant" | "users") {
        return Err(fail("`--duration` belongs to `constant` and `users`".to_owned()));
    }
    if given != "users" && (arguments.users.is_some() || arguments.think_time.is_some()) {
        return Err(fail("`--users` and `--think-time` belong to `users`".to_owned()));
    }
    if given == "constant" {
        let (Some(rate), Some(duration)) = (raw.rate.take(), arguments.duration) else {
            return Err(fail("a constant load needs `--rate` and `--duration`".to_owned()));
        };
        raw.constant = Some(rate);
        raw.duration = Some(lasting(duration));
    } else if given == "users" {
        let (Some(users), Some(duration)) = (arguments.users, arguments.duration) else {
            return Err(fail("users need `--users` and `--duration`".to_owned()));
        };
        if arguments.rate.is_some() {
            return Err(fail("users have no `--rate`: each sends when it was answered".to_owned()));
        }
        raw.users = Some(spanned(users));
        raw.duration = Some(lasting(duration));
        raw.think_time = arguments.think_time.as_deref().map(think_time).transpose().map_err(fail)?;
    } else if Pattern::by_name(given).is_some() {
        raw.pattern = Some(word(given)?);
    } else if Path::new(given).extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) {
        raw.csv = Some(word(given)?);
    } else if let Ok(iterations) = given.parse() {
        if arguments.rate.is_some() {
            return Err(fail("`--rate` belongs to `constant`, to patterns and to CSV files".to_owned()));
        }
        raw.iterations = Some(spanned(iterations));
    } else if matches!(given, "bursts" | "stages") || given.to_ascii_lowercase().ends_with(".json") {
        return Err(fail(format!("`{given}` cannot be given on the command line: describe it in a file")));
    } else {
        let known = Pattern::ALL.map(Pattern::name).into_iter().chain(["constant"]);
        let problem = fail(format!("`{given}` is not a load"));
        return Err(match did_you_mean(given, known) {
            Some(near) => Box::new(problem.help(format!("did you mean `{near}`? Else {USAGE}"))),
            None => problem,
        });
    }
    Ok(raw)
}

/// `2s`, or the keys of a distribution: `min=1s,max=3s`, `mean=2s`, `median=1s,p99=10s`.
fn think_time(text: &str) -> Result<Spanned<ThinkTimeFile>, String> {
    let time =
        |text: &str| Period::parse(text.trim()).map(|time| Spanned { value: Or::Value(time), span: 0..0 });
    let spanned = |value| Spanned { value, span: 0..0 };
    if !text.contains('=') {
        return Ok(spanned(ThinkTimeFile::Fixed(time(text)?.value)));
    }
    let mut file = ThinkDistributionFile { min: None, max: None, mean: None, median: None, p99: None };
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let place = match key.trim() {
            "min" => &mut file.min,
            "max" => &mut file.max,
            "mean" => &mut file.mean,
            "median" => &mut file.median,
            "p99" => &mut file.p99,
            other => {
                let known = "`min` and `max`, `mean`, or `median` and `p99`";
                return Err(format!("`--think-time` has no key `{other}`: it knows {known}"));
            }
        };
        *place = Some(time(value)?);
    }
    Ok(spanned(ThinkTimeFile::Distribution(Box::new(file))))
}
