//! Decides after a trial whether its deployment needs another one: `[trials] until`.
//!
//! The decision is a step like any other. Its end is durable before the next trial begins, and a runner that was killed
//! meanwhile decides again, from the same files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::{Attempt, Finished};
use crate::attempt::LOG_FILE;
use crate::printable::counted;
use sb_measurement::{
    INVOCATIONS_FILE, InvocationReader, LoadSummary, Outcome as RequestOutcome, SUMMARY_FILE,
};
use sb_plan::event::{FailureClass, Outcome};
use sb_plan::plan::{LatencyFigure, Until};
use sb_statistics::{Bootstrap, FEWEST_UNITS, Level, Precision, Statistic, Trial, Trials};

/// What a decision is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evidence {
    /// What is asked for.
    pub until: Until,
    /// The folders of the deployment's trials so far that count.
    pub folders: Vec<PathBuf>,
}

/// What the trials so far say.
#[derive(Debug, PartialEq)]
enum Decision {
    Enough(String),
    More(String),
}

pub(super) async fn decide(attempt: &Attempt, folder: &Path) -> Finished {
    let Some(evidence) = attempt.evidence.clone() else {
        let message = "there are no trials to decide on: the plan has no `until`";
        return Outcome::failed(FailureClass::Step, message).into();
    };
    let judged = tokio::task::spawn_blocking(move || judge(&evidence)).await;
    let decision = match judged {
        Ok(Ok(decision)) => decision,
        Ok(Err(message)) => return Outcome::failed(FailureClass::Step, message).into(),
        Err(error) => return Outcome::failed(FailureClass::NotStarted, error.to_string()).into(),
    };
    let (Decision::Enough(why) | Decision::More(why)) = &decision;
    let line = format!("{}\n", attempt.secrets.redactor.text(why));
    if let Err(error) = std::fs::write(folder.join(LOG_FILE), line) {
        let message = format!("cannot write to `{}`: {error}", folder.display());
        return Outcome::failed(FailureClass::NotStarted, message).into();
    }
    attempt.tell(why);
    match decision {
        Decision::Enough(why) => Outcome::Enough { why }.into(),
        Decision::More(_) => Outcome::Succeeded.into(),
    }
}

/// Looks at every type of requests: the one that is known least decides. What cannot be told is never enough.
fn judge(evidence: &Evidence) -> Result<Decision, String> {
    let Until { of, relative_width, confidence, min } = evidence.until;
    let mut usable = 0;
    let mut by_request: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for folder in &evidence.folders {
        if let Some(latencies) = latencies(folder)? {
            usable += 1;
            for (request, values) in latencies {
                by_request.entry(request).or_default().push(values);
            }
        }
    }
    if usable < min {
        return Ok(Decision::More(format!("{usable} of {} that can be used so far", counted(min, "trial"))));
    }
    let statistic = statistic(of);
    let confidence = Level::new(confidence).unwrap_or(Level::P95);
    let (of, asked) = (of.name(), relative_width * 100.0);
    let mut widest: Option<(String, f64)> = None;
    for (request, values) in &by_request {
        let trials: Vec<Trial<'_>> = values.iter().map(|values| Trial { deployment: 0, values }).collect();
        let trials = Trials::new(&trials).map_err(|error| format!("cannot judge `{request}`: {error}"))?;
        // Milliseconds: an interval is no narrower than the clock allows.
        let trials = trials.measured_in(1.0);
        if !trials.suffice(statistic) {
            let count = trials.len();
            return Ok(Decision::More(format!(
                "{} of `{request}` after {} {} too few for {of}",
                counted(count, "answer"),
                counted(usable, "trial"),
                if count == 1 { "is" } else { "are" }
            )));
        }
        let bootstrap = Bootstrap { confidence, ..Bootstrap::default() };
        let estimate = bootstrap.estimate(&trials, statistic);
        match Precision::of(estimate.as_ref(), trials.units(), confidence, relative_width) {
            Precision::Enough { relative_width } => {
                if widest.as_ref().is_none_or(|(_, width)| *width < relative_width) {
                    widest = Some((request.clone(), relative_width));
                }
            }
            Precision::More { relative_width, units } => {
                let more = match units {
                    Some(units) => format!("about {} would do", counted(units, "more trial")),
                    None => "no number of trials would do".to_owned(),
                };
                let width = relative_width * 100.0;
                return Ok(Decision::More(format!(
                    "{of} of `{request}` has an interval of {width:.1} % after {}, and {asked} % is asked for: {more}",
                    counted(usable, "trial")
                )));
            }
            Precision::Unknown => {
                return Ok(Decision::More(format!(
                    "{of} of `{request}` has no interval after {}, since one needs {FEWEST_UNITS}",
                    counted(usable, "trial")
                )));
            }
        }
    }
    Ok(match widest {
        Some((request, width)) => Decision::Enough(format!(
            "{of} of `{request}` has an interval of {:.1} % after {}, and {asked} % is asked for",
            width * 100.0,
            counted(usable, "trial")
        )),
        None => {
            Decision::More(format!("no request of {} was answered as expected", counted(usable, "trial")))
        }
    })
}

/// The latencies in milliseconds of requests that were answered as expected, by type. `None`: the trial left no
/// measurement, or one that must not be used.
fn latencies(folder: &Path) -> Result<Option<BTreeMap<String, Vec<f64>>>, String> {
    let Some(summary) = open(&folder.join(SUMMARY_FILE))? else { return Ok(None) };
    let summary: LoadSummary = serde_json::from_reader(BufReader::new(summary))
        .map_err(|error| format!("cannot read {}: {error}", folder.join(SUMMARY_FILE).display()))?;
    if !summary.invalid.is_empty() || summary.cancelled {
        return Ok(None);
    }
    let path = folder.join(INVOCATIONS_FILE);
    let Some(file) = open(&path)? else { return Ok(None) };
    let broken = |error| format!("{}: {error}", path.display());
    let mut by_request: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in InvocationReader::new(file).map_err(broken)? {
        let row = row.map_err(broken)?;
        if let Some(latency) = row.latency_micros().filter(|_| row.outcome == RequestOutcome::Ok) {
            by_request.entry(row.request).or_default().push(latency as f64 / 1e3);
        }
    }
    Ok(Some(by_request))
}

fn statistic(of: LatencyFigure) -> Statistic {
    match of {
        LatencyFigure::Mean => Statistic::Mean,
        LatencyFigure::P50 => Statistic::Quantile(Level::MEDIAN),
        LatencyFigure::P90 => Statistic::Quantile(Level::P90),
        LatencyFigure::P95 => Statistic::Quantile(Level::P95),
        LatencyFigure::P99 => Statistic::Quantile(Level::P99),
    }
}

fn open(path: &Path) -> Result<Option<File>, String> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sb_measurement::{Invocation, InvocationWriter, Timestamp};

    use super::*;

    /// A trial of requests that take 100 ms, times `factor`, and up to 20 ms more; `failed` of them fail, at once.
    fn trial(folder: &Path, factor: f64, requests: u32, failed: u32, invalid: &[&str]) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let mut writer = InvocationWriter::new(File::create(folder.join(INVOCATIONS_FILE)).unwrap()).unwrap();
        let sent = 1_700_000_000_000_000;
        for number in 0..requests {
            let fails = number < failed;
            let latency = if fails { 1.0 } else { factor * (100.0 + f64::from(number % 21)) };
            let row = Invocation {
                invocation: u64::from(number) + 1,
                request: "get".to_owned(),
                trace_id: String::new(),
                planned: Some(Timestamp::from_micros(sent)),
                sent: Some(Timestamp::from_micros(sent)),
                answered: Some(Timestamp::from_micros(sent + (latency * 1000.0) as i64)),
                status: Some(if fails { 500 } else { 200 }),
                outcome: if fails { RequestOutcome::FailedCheck } else { RequestOutcome::Ok },
            };
            writer.write(&row).unwrap();
        }
        writer.flush().unwrap();
        let summary = LoadSummary {
            version: LoadSummary::VERSION,
            planned: Some(u64::from(requests)),
            sent: u64::from(requests),
            answered: u64::from(requests),
            failed: u64::from(failed),
            not_sent: 0,
            dropped: 0,
            outcomes: BTreeMap::new(),
            failed_statuses: BTreeMap::new(),
            failed_checks: BTreeMap::new(),
            latency_ms: None,
            latency_from_planned_ms: None,
            failed_latency_ms: None,
            lateness_ms: None,
            started: Timestamp::from_micros(sent),
            ended: Timestamp::from_micros(sent + 1),
            cancelled: false,
            iterations: None,
            closed_loop: None,
            notes: vec![],
            invalid: invalid.iter().map(|&reason| reason.to_owned()).collect(),
        };
        fs::write(folder.join(SUMMARY_FILE), serde_json::to_string(&summary).unwrap()).unwrap();
        folder.to_owned()
    }

    fn until(of: LatencyFigure, relative_width: f64) -> Until {
        Until { of, relative_width, confidence: 0.95, min: 3 }
    }

    fn decide_on(until: Until, folders: &[PathBuf]) -> Decision {
        judge(&Evidence { until, folders: folders.to_vec() }).unwrap()
    }

    #[track_caller]
    fn check_more(until: Until, folders: &[PathBuf], expected: &str) {
        match decide_on(until, folders) {
            Decision::More(why) => assert!(why.contains(expected), "{why}"),
            Decision::Enough(why) => panic!("enough: {why}"),
        }
    }

    /// A plan is refused by the same counts by which trials are judged.
    #[test]
    fn as_many_answers_are_needed_as_a_plan_is_checked_for() {
        use LatencyFigure::{Mean, P50, P90, P95, P99};
        for of in [Mean, P50, P90, P95, P99] {
            let suffice = |answers: u64| {
                let values = vec![1.0; answers as usize];
                let trials = [Trial { deployment: 0, values: &values }];
                Trials::new(&trials).unwrap().suffice(statistic(of))
            };
            assert!(suffice(of.answers()), "{of:?}");
            assert!(of == Mean || !suffice(of.answers() - 1), "{of:?}");
        }
    }

    #[test]
    fn trials_are_enough_once_the_interval_is_narrow() {
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> = [0.98, 1.0, 1.02, 1.0, 0.99, 1.01, 1.0, 1.0]
            .iter()
            .enumerate()
            .map(|(number, &factor)| trial(&root.path().join(number.to_string()), factor, 50, 0, &[]))
            .collect();
        let p50 = until(LatencyFigure::P50, 0.05);
        check_more(p50, &folders[..2], "2 of 3 trials that can be used so far");
        // A deviation of 2 % between three trials: 2 * 4.3 * 2 % / sqrt(3) is some 10 %.
        check_more(p50, &folders[..3], "after 3 trials, and 5 % is asked for: about");
        let Decision::Enough(why) = decide_on(p50, &folders) else { panic!("more") };
        assert!(why.starts_with("p50 of `get` has an interval of "), "{why}");
        assert!(why.ends_with(" % after 8 trials, and 5 % is asked for"), "{why}");
        // 400 answers leave four beyond the 99th percentile.
        check_more(
            until(LatencyFigure::P99, 1.0),
            &folders,
            "400 answers of `get` after 8 trials are too few for p99",
        );
    }

    #[test]
    fn what_failed_or_must_not_be_used_makes_nothing_precise() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let good = [trial(&at("1"), 1.0, 50, 0, &[]), trial(&at("2"), 1.0, 50, 0, &[])];
        let mean = until(LatencyFigure::Mean, 0.5);
        let with = |folder: PathBuf| [good.as_slice(), &[folder]].concat();
        check_more(mean, &with(trial(&at("3"), 1.0, 50, 0, &["It was late."])), "2 of 3 trials");
        check_more(mean, &with(at("nothing")), "2 of 3 trials");
        assert!(matches!(decide_on(mean, &with(trial(&at("4"), 1.0, 50, 20, &[]))), Decision::Enough(_)));
        let failing: Vec<PathBuf> =
            (5..8).map(|number| trial(&at(&number.to_string()), 1.0, 50, 50, &[])).collect();
        check_more(mean, &failing, "no request of 3 trials was answered as expected");
        fs::write(good[0].join(INVOCATIONS_FILE), "a,b\n").unwrap();
        let wrong = judge(&Evidence { until: mean, folders: good.to_vec() }).unwrap_err();
        assert!(wrong.contains("invocations.csv"), "{wrong}");
    }
}
