//! Loads after traces of production (`pattern`, `csv`), and `bursts`.

use std::time::Duration;

use crate::manifest::load::{BurstsFile, LoadFile};
use crate::manifest::problem::{Problem, Report, Span, suggest};
use crate::manifest::tree::Spanned;
use crate::validate::load::{HIGHEST_RATE, SHAPES, Values, out_of_range, period, positive, value};
use sb_measurement::counted;
use sb_workload::pattern::Pattern;
use sb_workload::template::{Context, Template};
use sb_workload::upscale::Scaling;
use sb_workload::{ArrivalProcess, LoadShape, Origin, ReplayLoad, TraceLoad};

/// The first minutes of a fluctuation that starts at zero are no steady state: the study left out three.
const DEFAULT_SKIP: Duration = Duration::from_mins(3);

/// Ten weeks.
const MOST_MINUTES: usize = 100_000;

pub(super) const COLUMN: &str = "InvocationsPerMinute";

/// Whose functions the patterns are stretches of.
const PATTERNS_OF: &str = "Azure Functions 2019";

/// `rate` and its like mean nothing in other loads.
pub(super) fn refuse_scaling(load: &LoadFile, report: &mut Report) {
    let keys = [
        ("rate", load.rate.as_ref().map(|value| &value.span)),
        ("scale_factor", load.scale_factor.as_ref().map(|value| &value.span)),
        ("scale_type", load.scale_type.as_ref().map(|value| &value.span)),
        ("skip", load.skip.as_ref().map(|value| &value.span)),
        ("seed", load.seed.as_ref().map(|value| &value.span)),
        ("arrivals", load.arrivals.as_ref().map(|value| &value.span)),
    ];
    for (key, span) in keys {
        let Some(span) = span else { continue };
        let help = match key {
            "rate" => "the rate of an even load is `constant = 20` with `duration = \"90s\"`",
            _ => SHAPES,
        };
        report.push(
            Problem::error("invalid-load", format!("`{key}` belongs to `pattern` and `csv`"))
                .at(span, "there is no trace to scale")
                .help(help),
        );
    }
}

pub(super) fn pattern(
    load: &LoadFile,
    name: &Spanned<Template>,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<LoadShape> {
    let text = text(name, values, report)?;
    let Some(pattern) = Pattern::by_name(&text) else {
        report.push(
            Problem::error("invalid-load", format!("there is no pattern `{text}`{}", values.point))
                .at(&name.span, "not a pattern")
                .help(suggest(&text, "patterns", Pattern::ALL.map(Pattern::name))),
        );
        return None;
    };
    let per_minute: Vec<f64> = pattern.per_minute().iter().copied().map(f64::from).collect();
    let facts = vec![format!("dataset: {PATTERNS_OF}"), format!("pattern: {text}")];
    let origin = Origin { facts, per_minute: per_minute.clone(), factor: None };
    scaled(load, text, (per_minute, origin), &name.span, values, report)
}

pub(super) fn csv(
    load: &LoadFile,
    path: &Spanned<Template>,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<LoadShape> {
    let name = text(path, values, report)?;
    let minutes = read_file(path, &name, read_minutes, HELP, values, report)?;
    scaled(load, name, minutes, &path.span, values, report)
}

/// Every invocation of a recorded trace at its own time.
pub(super) fn replay(
    path: &Spanned<Template>,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<LoadShape> {
    let name = text(path, values, report)?;
    let (at, origin) = read_file(path, &name, read_starts, STARTS_HELP, values, report)?;
    Some(LoadShape::Replay(ReplayLoad { name, at, origin }))
}

/// What a file holds, by one of the readers below; its help says what the file should be.
fn read_file<T>(
    path: &Spanned<Template>,
    name: &str,
    reader: fn(&[u8]) -> Result<T, String>,
    help: &'static str,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<T> {
    let file = match values.file(name) {
        Ok(file) => file,
        Err(problem) => {
            report.push(problem.at(&path.span, "is not read"));
            return None;
        }
    };
    let read = values
        .files
        .read(&file)
        .map_err(|error| (format!("cannot read `{}`: {error}", file.display()), "check the path"))
        .and_then(|bytes| reader(&bytes).map_err(|error| (format!("`{name}`: {error}"), help)));
    match read {
        Ok(found) => Some(found),
        Err((message, help)) => {
            report.push(
                Problem::error("invalid-csv", format!("{message}{}", values.point))
                    .at(&path.span, "this trace")
                    .help(help),
            );
            None
        }
    }
}

const HELP: &str = "write a first line with the names of the columns, one of them InvocationsPerMinute, and a line per minute";

const STARTS: &str = "start_s";
/// A run keeps the time of each.
const MOST_STARTS: usize = 100_000;
/// Ten weeks, as for minutes.
const LATEST_START: f64 = MOST_MINUTES as f64 * 60.0;
const STARTS_HELP: &str = "write a first line with the names of the columns, one of them start_s, and a line per invocation, in the order of \
                           their times in seconds";

/// The column of the times of a CSV file, and what stands above it. The message says what is wrong.
fn read_starts(bytes: &[u8]) -> Result<(Vec<Duration>, Origin), String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(bytes);
    let column = column(reader.headers().map_err(|error| error.to_string())?, STARTS)?;
    let origin = origin(bytes)?;
    let minutes = origin.per_minute.len();
    let mut starts: Vec<Duration> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = record.get(column).unwrap_or_default();
        let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=LATEST_START).contains(seconds));
        let Some(start) = seconds.map(Duration::from_secs_f64) else {
            return Err(format!("line {line}: `{}` is not a time in seconds from the start", brief(text)));
        };
        // The report would compare minutes with none.
        if minutes > 0 && start.as_secs() / 60 >= minutes as u64 {
            return Err(format!(
                "line {line}: `{}` is past the {minutes} min above it after `# {ORIGINAL}`: export it anew, or remove these lines",
                brief(text)
            ));
        }
        if starts.last().is_some_and(|last| start < *last) {
            return Err(format!("line {line}: `{}` is before the time in the line above", brief(text)));
        }
        if starts.len() == MOST_STARTS {
            return Err(format!("it has more than {MOST_STARTS} invocations"));
        }
        starts.push(start);
    }
    if starts.is_empty() { Err("it has no invocations".to_owned()) } else { Ok((starts, origin)) }
}

/// The place of a column by its name.
fn column(headers: &csv::StringRecord, wanted: &str) -> Result<usize, String> {
    let names = || headers.iter().map(brief).take(MOST_NAMED).collect::<Vec<_>>().join(", ");
    headers.iter().position(|name| name == wanted).ok_or_else(|| {
        let more = headers.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        format!("there is no column `{wanted}`, only: {}{more}", names())
    })
}

/// As many columns are named in a message.
const MOST_NAMED: usize = 20;

/// The start of a cell, for a message: a cell may be as long as the file.
fn brief(cell: &str) -> &str {
    const LONGEST: usize = 80;
    cell.char_indices().nth(LONGEST).map_or(cell, |(end, _)| &cell[..end])
}

/// Lines of a file that say where its numbers are from. Runs keep them, so there is an end to their number and length.
const MOST_FACTS: usize = 50;
const LONGEST_FACT: usize = 1000;

/// How a line begins that has minutes of the dataset as they were before the export scaled them: `sb-dataset` writes it.
const ORIGINAL: &str = "original per minute:";
/// As many fit into the numbers that `sb-dataset` writes.
const MOST_ORIGINAL: f64 = u64::MAX as f64;

/// How the line begins that says by what they were multiplied.
const FACTOR: &str = "factor:";
/// One invocation of the dataset is at most a whole minute of a load.
const HIGHEST_FACTOR: f64 = 60.0 * HIGHEST_RATE;

/// What the lines say that begin with `#` above the column.
fn origin(bytes: &[u8]) -> Result<Origin, String> {
    let mut origin = Origin::default();
    let mut factor = None;
    let lines = bytes.split(|byte| *byte == b'\n').map_while(|line| line.strip_prefix(b"#"));
    for (number, line) in (1..).zip(lines) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if let Some(counts) = line.strip_prefix(ORIGINAL) {
            for count in counts.split(',').map(str::trim) {
                let found = count.parse::<f64>().ok().filter(|count| (0.0..=MOST_ORIGINAL).contains(count));
                let Some(found) = found else {
                    return Err(format!(
                        "line {number}: `{}` is not a number of invocations per minute",
                        brief(count)
                    ));
                };
                if origin.per_minute.len() == MOST_MINUTES {
                    return Err(format!("line {number}: it has more than {MOST_MINUTES} original minutes"));
                }
                origin.per_minute.push(found);
            }
            continue;
        }
        if let Some(text) = line.strip_prefix(FACTOR) {
            factor = factor.or(Some((number, text.trim().to_owned())));
        }
        if origin.facts.len() < MOST_FACTS {
            origin.facts.push(line.chars().take(LONGEST_FACT).collect());
        }
    }
    // Of no use, and perhaps of another meaning, without the numbers that it multiplies.
    if let Some((number, text)) = factor.filter(|_| !origin.per_minute.is_empty()) {
        let found = text.parse::<f64>().ok().filter(|factor| *factor > 0.0 && *factor <= HIGHEST_FACTOR);
        origin.factor = Some(found.ok_or_else(|| {
            format!("line {number}: `{}` is not a factor above 0, up to {HIGHEST_FACTOR}", brief(&text))
        })?);
    }
    Ok(origin)
}

/// The column of a CSV file, and what stands above it in lines that begin with `#`. The message says what is wrong.
fn read_minutes(bytes: &[u8]) -> Result<(Vec<f64>, Origin), String> {
    // Spreadsheets begin a file with a mark that is not part of the first name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // `sb dataset export` writes into such lines where the numbers are from.
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(bytes);
    let column = column(reader.headers().map_err(|error| error.to_string())?, COLUMN)?;
    let mut minutes = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = record.get(column).unwrap_or_default();
        let count = text.parse::<f64>().ok().filter(|count| (0.0..=60.0 * HIGHEST_RATE).contains(count));
        let Some(count) = count else {
            return Err(format!("line {line}: `{}` is not a number of invocations per minute", brief(text)));
        };
        if minutes.len() == MOST_MINUTES {
            return Err(format!("it has more than {MOST_MINUTES} minutes"));
        }
        minutes.push(count);
    }
    if minutes.is_empty() {
        return Err("it has no minutes".to_owned());
    }
    let origin = origin(bytes)?;
    // Minutes that were removed or added by hand would be compared with others than their own.
    if !origin.per_minute.is_empty() && origin.per_minute.len() != minutes.len() {
        return Err(format!(
            "it has {}, and {} above them after `# {ORIGINAL}`: export it anew, or remove these lines",
            counted(minutes.len(), "minute"),
            origin.per_minute.len()
        ));
    }
    Ok((minutes, origin))
}

fn scaled(
    load: &LoadFile,
    name: String,
    (per_minute, origin): (Vec<f64>, Origin),
    span: &Span,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<LoadShape> {
    if let (Some(_), Some(factor)) = (&load.rate, &load.scale_factor) {
        report.push(
            Problem::error("invalid-load", "the load has both `rate` and `scale_factor`")
                .at(&factor.span, "a second scale")
                .help("keep one of them"),
        );
        return None;
    }
    let compound = match &load.scale_type {
        None => false,
        Some(word) => match text(word, values, report)?.as_str() {
            "linear" => false,
            "compound" => true,
            other => {
                report.push(not_one_of(other, word, &["linear", "compound"], values));
                return None;
            }
        },
    };
    let arrivals = match &load.arrivals {
        None => ArrivalProcess::Even,
        Some(word) => match text(word, values, report)?.as_str() {
            "even" => ArrivalProcess::Even,
            "uniform" => ArrivalProcess::Uniform,
            "poisson" => ArrivalProcess::Poisson,
            other => {
                report.push(not_one_of(other, word, &["even", "uniform", "poisson"], values));
                return None;
            }
        },
    };
    let scaling = match (&load.rate, &load.scale_factor) {
        (Some(rate), _) => {
            let rate = positive(rate, HIGHEST_RATE, "the mean rate", values, report)?;
            if compound { Scaling::CompoundRate(rate) } else { Scaling::Rate(rate) }
        }
        (None, Some(factor)) => {
            let factor = positive(factor, HIGHEST_RATE, "the scale factor", values, report)?;
            if compound { Scaling::CompoundFactor(factor) } else { Scaling::Factor(factor) }
        }
        (None, None) => {
            if let Some(word) = load.scale_type.as_ref().filter(|_| compound) {
                report.push(
                    Problem::error("invalid-load", "`scale_type` needs `rate` or `scale_factor`")
                        .at(&word.span, "scaled by how much?")
                        .help("add `scale_factor = 2`"),
                );
                return None;
            }
            Scaling::None
        }
    };
    let skip = load.skip.as_ref().map_or(Some(DEFAULT_SKIP), |skip| period(skip, false, values, report))?;
    let skip_span = load.skip.as_ref().map_or(span, |skip| &skip.span);
    if skip.subsec_nanos() != 0 {
        report.push(out_of_range(skip_span, "the part that is skipped", "a number of whole seconds", values));
        return None;
    }
    if skip.as_secs() >= per_minute.len() as u64 * 60 {
        let message = format!(
            "the trace lasts {} min, and {} of it are skipped{}",
            per_minute.len(),
            humantime::format_duration(skip),
            values.point
        );
        report.push(
            Problem::error("invalid-load", message)
                .at(skip_span, "nothing is left")
                .help("set a shorter `skip`, for example \"0s\" (the default is \"3m\")"),
        );
        return None;
    }
    let seed = load.seed.as_ref().map_or(Some(0), |seed| value(seed, values, report))?;
    let trace = TraceLoad { name, per_minute, skip, scaling, seed, arrivals, origin };
    // Drawing every second is the most expensive part of the check of a plan. Chance does not double a mean of that size.
    let highest = if trace.most_per_second() <= HIGHEST_RATE / 2.0 {
        0
    } else {
        trace.per_second().into_iter().max().unwrap_or(0)
    };
    if f64::from(highest) > HIGHEST_RATE {
        report.push(
            Problem::error(
                "invalid-load",
                format!("the load reaches {highest} invocations per second{}", values.point),
            )
            .at(span, "scaled too far")
            .help(format!("at most {HIGHEST_RATE} are possible: use a lower `rate` or `scale_factor`")),
        );
        return None;
    }
    Some(LoadShape::Trace(trace))
}

pub(super) fn bursts(bursts: &BurstsFile, values: &Values<'_>, report: &mut Report) -> Option<LoadShape> {
    let size = value(&bursts.size, values, report)?;
    if !(1..=1_000_000).contains(&size) {
        report.push(out_of_range(&bursts.size.span, "the size of a burst", "from 1 to 1000000", values));
        return None;
    }
    let times = bursts.at.value.iter().map(|time| period(time, false, values, report)).collect::<Vec<_>>();
    let mut at = times.into_iter().collect::<Option<Vec<_>>>()?;
    if at.is_empty() {
        report.push(
            Problem::error("invalid-load", "the bursts have no times")
                .at(&bursts.at.span, "empty")
                .help("say when each is sent: `at = [\"0s\", \"60s\"]`"),
        );
        return None;
    }
    at.sort_unstable();
    Some(LoadShape::Bursts { size, at })
}

fn text(word: &Spanned<Template>, values: &Values<'_>, report: &mut Report) -> Option<String> {
    word.value
        .render(Context::Plain, values.lookup)
        .map_err(|error| {
            report.push(
                Problem::error("invalid-value", format!("{error}{}", values.point))
                    .at(&word.span, "this template")
                    .help("give the factor or variable a value"),
            );
        })
        .ok()
}

fn not_one_of(found: &str, word: &Spanned<Template>, known: &[&str], values: &Values<'_>) -> Problem {
    Problem::error("invalid-load", format!("`{found}` is none of {}{}", known.join(", "), values.point))
        .at(&word.span, "not known")
        .help(suggest(found, "words", known.iter().copied()))
}
