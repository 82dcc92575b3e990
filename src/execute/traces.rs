//! Traces of an invocation: fetched by the ids that were sent with the load, then analysed.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::command::manifest_folder;
use super::step::StepPerformer;
use super::{Attempt, Finished};
use crate::attempt::hide_in_file;
use crate::printable::counted;
use crate::provider::app_insights::{self, Credential, InsightsConfig};
use crate::provider::aws::{self, XrayConfig};
use crate::provider::collect::{FetchError, FetchProgress};
use crate::provider::google::{self, GoogleConfig};
use crate::provider::otlp;
use crate::provider::retrieval::Retrieval;
use sb_analysis::{
    AnalyzeOptions, BREAKDOWN_FILE, BreakdownRow, Method, Source, analyze_file, read_breakdown,
};
use sb_durable::Options;
use sb_measurement::{INVOCATIONS_FILE, InvocationReader, Timestamp};
use sb_plan::benchmark::{AppInsights, CloudTrace, Target, Traces};
use sb_plan::event::{FailureClass, Outcome};
use sb_workload::template::{Context, Template, lookup_in};

pub(super) const TRACES_FILE: &str = "traces.json";

/// How long traces may take to become complete, after the plan's own wait.
const DEADLINE: Duration = Duration::from_mins(2);
/// The local target has its traces at once; only asynchronous work may still be under way.
const LOCAL_DEADLINE: Duration = Duration::from_secs(20);
/// It knows a trace from its first request on. One that is given up by who sent it may still reach it.
const LOCAL_ABSENCE: Duration = Duration::from_secs(1);
/// CloudWatch shows spans within minutes, and each retrieval takes some time.
const SEARCH_DEADLINE: Duration = Duration::from_mins(5);
/// Azure shows rows after some minutes.
const INSIGHTS_DEADLINE: Duration = Duration::from_mins(10);

/// Seconds by which the clocks of a load generator and of a cloud may differ.
const CLOCKS_DIFFER: f64 = 2.0;

const API_KEY_VARIABLE: &str = "SB_APP_INSIGHTS_API_KEY";
const GOOGLE_TOKEN_VARIABLE: &str = "SB_GOOGLE_TOKEN";
const TOKEN_VARIABLE: &str = "SB_APP_INSIGHTS_TOKEN";

pub(super) async fn get(performer: &StepPerformer, attempt: &Attempt) -> Finished {
    let Some(logs) = &attempt.logs else {
        let message = "there is no invocation to get traces of: run `sb invoke` first";
        return Outcome::failed(FailureClass::Step, message).into();
    };
    let sent = match sent(&logs.join(INVOCATIONS_FILE)) {
        Ok(sent) => sent,
        Err(error) => return Outcome::failed(FailureClass::Step, error).into(),
    };
    let progress = |now: FetchProgress| {
        attempt.tell(&format!("{} of {}", now.complete, counted(now.expected, "trace")));
    };
    let file = logs.join(TRACES_FILE);
    let fetched = tokio::select! {
        fetched = fetch(performer, attempt, &sent, &file, &progress) => fetched,
        () = attempt.cancel.cancelled() => return Outcome::Cancelled.into(),
    };
    match fetched {
        Ok(Some(report)) => match hide(attempt, &file).await {
            Ok(()) => judge(attempt, &report),
            Err(message) => Outcome::failed(FailureClass::Step, message).into(),
        },
        Ok(None) => Outcome::Succeeded.into(),
        Err((class, message)) => Outcome::failed(class, message).into(),
    }
}

/// Takes secrets out of fetched traces: requests have them in their URLs, services in their names and errors.
async fn hide(attempt: &Attempt, file: &Path) -> Result<(), String> {
    let (path, secrets) = (file.to_owned(), Arc::clone(&attempt.secrets));
    let hidden = tokio::task::spawn_blocking(move || hide_in_file(&path, &secrets.redactor, Options::new()));
    let hidden = hidden.await.map_err(std::io::Error::other).flatten();
    hidden.map_err(|error| format!("cannot take secrets out of `{}`: {error}", file.display()))
}

/// From where the target says; none where it has no traces.
async fn fetch(
    performer: &StepPerformer,
    attempt: &Attempt,
    sent: &Sent,
    file: &Path,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Option<Retrieval>, (FailureClass, String)> {
    let failed = |message: String| (FailureClass::Step, message);
    let ids = &sent.ids;
    let fetched = match source(attempt) {
        Traces::None => return Ok(None),
        Traces::Xray => {
            let region = attempt.values["params"]["region"].as_str().map(str::to_owned);
            let config = XrayConfig { region, ..XrayConfig::default() };
            from_xray(&config, sent, joins_linked(attempt), DEADLINE, file, progress).await
        }
        Traces::TransactionSearch => {
            let region = attempt.values["params"]["region"].as_str().map(str::to_owned);
            let config = XrayConfig { region, ..XrayConfig::default() };
            let since = sent.since - CLOCKS_DIFFER;
            aws::search_traces(&config, ids, since, SEARCH_DEADLINE, file, progress).await
        }
        Traces::Local => {
            let state = performer.local_state(attempt);
            let kept;
            let (endpoint, deadline) = match sb_local::find(&state) {
                Some(runtime) => (runtime.xray_endpoint, LOCAL_DEADLINE),
                // One that was killed has left the traces of what had ended.
                None => {
                    kept = sb_local::kept_traces(&state).await.map_err(|error| failed(error.to_string()))?;
                    let Some(kept) = &kept else {
                        let message = "the local target is not running, and has left no traces: deploy and invoke again";
                        return Err(failed(message.to_owned()));
                    };
                    // Nothing is added to them; only who looks for links asks several times.
                    let deadline = if joins_linked(attempt) { LOCAL_DEADLINE } else { Duration::ZERO };
                    (kept.endpoint.clone(), deadline)
                }
            };
            let config =
                XrayConfig { endpoint: Some(endpoint), region: None, absent_for: Some(LOCAL_ABSENCE) };
            from_xray(&config, sent, joins_linked(attempt), deadline, file, progress).await
        }
        Traces::AppInsights(insights) => {
            let config = insights_config(attempt, insights).map_err(failed)?;
            app_insights::fetch_traces(&config, ids, INSIGHTS_DEADLINE, file, progress).await
        }
        Traces::Google(trace) => {
            let config = google_config(attempt, trace).map_err(failed)?;
            google::fetch_traces(&config, ids, SEARCH_DEADLINE, file, progress).await
        }
        Traces::Otlp(exported) => {
            let spans = match exported {
                Some(path) => manifest_folder(attempt).join(rendered(attempt, path).map_err(failed)?),
                None => otlp::spans_file(&performer.receiver_state(attempt)),
            };
            let selected = otlp::select_traces(&spans, ids, LOCAL_DEADLINE, file, progress).await;
            return selected.map(Some).map_err(|error| failed(error.to_string()));
        }
    };
    fetched.map(Some).map_err(|error| {
        let class = match error {
            FetchError::Throttled { .. } => FailureClass::Throttled,
            _ => FailureClass::Step,
        };
        (class, error.to_string())
    })
}

/// By the ids that were sent, and, where invocations have none, all that began while those were under way; with what links to
/// those, where that is wanted.
async fn from_xray(
    config: &XrayConfig,
    sent: &Sent,
    join_linked: bool,
    deadline: Duration,
    file: &Path,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Retrieval, FetchError> {
    let fetch = async |ids: &[String]| {
        if join_linked && sent.since.is_finite() {
            let since = sent.since - CLOCKS_DIFFER;
            return aws::fetch_linked_traces(config, ids, since, deadline, file, progress).await;
        }
        aws::fetch_traces(config, ids, deadline, file, progress).await
    };
    let Some(window) = &sent.without_id else { return fetch(&sent.ids).await };
    let mut ids: BTreeSet<String> = sent.ids.iter().cloned().collect();
    let known = ids.len();
    ids.extend(aws::list_traces(config, window.clone(), deadline).await?);
    let by_time = ids.len() - known;
    let report = fetch(&Vec::from_iter(ids)).await?;
    let report = Retrieval { by_time, ..report };
    report.write(file).map_err(|source| FetchError::Write { path: file.to_owned(), source })?;
    Ok(report)
}

fn source(attempt: &Attempt) -> &Traces {
    target(attempt).map_or(&Traces::None, |target| &target.traces)
}

fn joins_linked(attempt: &Attempt) -> bool {
    target(attempt).is_some_and(|target| target.join_linked)
}

fn target(attempt: &Attempt) -> Option<&Target> {
    attempt.deployment.benchmark.targets.get(&attempt.deployment.target)
}

fn rendered(attempt: &Attempt, template: &Template) -> Result<String, String> {
    let lookup = |path: &str| lookup_in(&attempt.values, path);
    template.render(Context::Plain, &lookup).map_err(|error| error.to_string())
}

fn insights_config(attempt: &Attempt, insights: &AppInsights) -> Result<InsightsConfig, String> {
    let optional = |template: &Option<Template>| {
        template.as_ref().map(|template| rendered(attempt, template)).transpose()
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let key = |key: String| Credential::ApiKey(key.trim().to_owned());
    let token = |token: String| Credential::Token(token.trim().to_owned());
    let given = optional(&insights.api_key)?.map(key).or(optional(&insights.token)?.map(token));
    let found = || variable(API_KEY_VARIABLE).map(key).or_else(|| variable(TOKEN_VARIABLE).map(token));
    let credential = given.or_else(found).ok_or_else(|| {
        format!(
            "there is no credential for Application Insights: set {API_KEY_VARIABLE}, or {TOKEN_VARIABLE} to what \
             `az account get-access-token --resource https://api.applicationinsights.io --query accessToken -o tsv` \
             prints, or give `api_key` in the target's `traces`"
        )
    })?;
    Ok(InsightsConfig {
        endpoint: optional(&insights.endpoint)?.unwrap_or_else(|| app_insights::ENDPOINT.to_owned()),
        application: rendered(attempt, &insights.application)?.trim().to_owned(),
        credential,
    })
}

fn google_config(attempt: &Attempt, trace: &CloudTrace) -> Result<GoogleConfig, String> {
    let optional = |template: &Option<Template>| {
        template.as_ref().map(|template| rendered(attempt, template)).transpose()
    };
    let found = || std::env::var(GOOGLE_TOKEN_VARIABLE).ok().filter(|value| !value.is_empty());
    let token = optional(&trace.token)?.or_else(found).ok_or_else(|| {
        format!(
            "there is no token for Cloud Trace: set {GOOGLE_TOKEN_VARIABLE} to what `gcloud auth print-access-token` prints, or \
             give `token` in the target's `traces`"
        )
    })?;
    Ok(GoogleConfig {
        endpoint: optional(&trace.endpoint)?.unwrap_or_else(|| google::ENDPOINT.to_owned()),
        project: rendered(attempt, &trace.project)?.trim().to_owned(),
        token: token.trim().to_owned(),
    })
}

/// Some missing traces are told, a lack of all is a failure.
fn judge(attempt: &Attempt, report: &Retrieval) -> Finished {
    let Some(shortfall) = report.shortfall() else { return Outcome::Succeeded.into() };
    if report.expected > 0 && report.found == 0 {
        let message = format!("none of {} was found: {shortfall}", counted(report.expected, "trace"));
        return Outcome::failed(FailureClass::Step, message).into();
    }
    attempt.tell(&shortfall);
    Outcome::Succeeded.into()
}

/// What of the invocations tells which traces are theirs.
struct Sent {
    /// The trace ids of those that were sent, in the order of the file.
    ids: Vec<String>,
    /// When the first was sent, in seconds since 1970; infinite where none was.
    since: f64,
    /// When those were under way that were sent without an id, in seconds since 1970, as the clocks of two machines see it.
    without_id: Option<Range<f64>>,
}

fn sent(invocations: &Path) -> Result<Sent, String> {
    let read = || -> Result<Sent, sb_measurement::MeasurementError> {
        let mut sent = Sent { ids: Vec::new(), since: f64::INFINITY, without_id: None };
        let seconds = |time: Timestamp| time.micros() as f64 / 1e6;
        for row in InvocationReader::new(std::fs::File::open(invocations)?)? {
            let row = row?;
            let Some(begun) = row.sent else { continue };
            sent.since = sent.since.min(seconds(begun));
            if row.trace_id.is_empty() {
                let (from, to) =
                    (seconds(begun) - CLOCKS_DIFFER, seconds(row.answered.unwrap_or(begun)) + CLOCKS_DIFFER);
                let window = sent.without_id.get_or_insert(from..to);
                *window = window.start.min(from)..window.end.max(to);
            } else {
                sent.ids.push(row.trace_id);
            }
        }
        Ok(sent)
    };
    read().map_err(|error| format!("`{}`: {error}", invocations.display()))
}

pub(super) async fn analyze(attempt: &Attempt) -> Finished {
    let Some(logs) = attempt.logs.clone() else {
        let message = "there is no invocation to analyse: run `sb invoke` and `sb get-traces` first";
        return Outcome::failed(FailureClass::Step, message).into();
    };
    let file = logs.join(TRACES_FILE);
    let number = attempt.step.trial.map_or(1, |trial| trial as u32 + 1);
    let must_be_cold = attempt.deployment.start.map(|start| start.is_cold(number));
    let source = match source(attempt) {
        Traces::Xray | Traces::TransactionSearch | Traces::Local => Source::Xray,
        Traces::AppInsights(_) => Source::AppInsights,
        Traces::Otlp(_) | Traces::Google(_) => Source::Otlp,
        Traces::None => Source::Auto,
    };
    let method = Method { source, join_linked: joins_linked(attempt), ..Method::default() };
    let analysed = tokio::task::spawn_blocking(move || {
        let options = AnalyzeOptions { method, ..AnalyzeOptions::default() };
        let summary = analyze_file(&file, &options)?;
        let Some(must_be_cold) = must_be_cold else { return Ok((summary, None)) };
        let breakdown = std::fs::File::open(file.with_file_name(BREAKDOWN_FILE))?;
        let rows = read_breakdown(breakdown).map_err(std::io::Error::other)?;
        std::io::Result::Ok((summary, start_mismatch(must_be_cold, &rows)))
    });
    let analysed = analysed.await;
    match analysed {
        Ok(Ok((summary, _))) if summary.valid == 0 && summary.invalid > 0 => {
            let reasons: Vec<_> =
                summary.reasons.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
            let message =
                format!("none of {} is valid: {}", counted(summary.invalid, "trace"), reasons.join(", "));
            Outcome::failed(FailureClass::Step, message).into()
        }
        Ok(Ok((_, mismatch))) => {
            Finished { invalid: mismatch.into_iter().collect(), ..Outcome::Succeeded.into() }
        }
        Ok(Err(error)) => {
            let message = format!("cannot analyse the traces in `{}`: {error}", logs.display());
            Outcome::failed(FailureClass::Step, message).into()
        }
        Err(error) => Outcome::failed(FailureClass::NotStarted, error.to_string()).into(),
    }
}

/// Why a trial is not what the plan declares: cold is one whose earliest valid trace holds a cold start, warm one in
/// which no valid trace does.
fn start_mismatch(must_be_cold: bool, rows: &[BreakdownRow]) -> Option<String> {
    if must_be_cold {
        let Some(first) = rows.iter().min_by(|a, b| a.start_time.total_cmp(&b.start_time)) else {
            return Some("the trial was to be cold, and no trace shows whether it was".to_owned());
        };
        let met = first.num_cold_starts > 0;
        return (!met).then(|| {
            format!("the trial was to be cold, and its first trace {} met no cold start", first.trace_id)
        });
    }
    let with_cold = rows.iter().filter(|row| row.num_cold_starts > 0).count();
    (with_cold > 0).then(|| {
        format!(
            "the trial was to be warm, and {with_cold} of {} met a cold start",
            counted(rows.len(), "trace")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_analysis::Parts;

    fn row(start_time: f64, num_cold_starts: u64) -> BreakdownRow {
        BreakdownRow {
            trace_id: format!("at-{start_time}"),
            start_time,
            end_time: start_time + 1.0,
            duration: 1_000_000,
            url: String::new(),
            num_cold_starts,
            errors: 0,
            throttles: 0,
            faults: 0,
            services: vec![],
            longest_path_names: vec![],
            parts: Parts::default(),
        }
    }

    #[track_caller]
    fn check(must_be_cold: bool, rows: &[(f64, u64)], expected: Option<&str>) {
        let rows: Vec<_> = rows.iter().map(|&(start, colds)| row(start, colds)).collect();
        let found = start_mismatch(must_be_cold, &rows);
        assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
        assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()));
    }

    #[test]
    fn a_cold_trial_begins_with_a_cold_start_whatever_the_order_of_the_rows() {
        check(true, &[(10.0, 1)], None);
        check(true, &[(10.0, 0)], Some("at-10 met no cold start"));
        check(true, &[(11.0, 0), (9.5, 2), (10.0, 0)], None);
        check(true, &[(11.0, 1), (9.5, 0)], Some("at-9.5"));
        check(true, &[], Some("no trace"));
    }

    #[test]
    fn a_warm_trial_meets_no_cold_start_at_all() {
        check(false, &[(10.0, 0), (11.0, 0)], None);
        check(false, &[(10.0, 0), (11.0, 1)], Some("1 of 2"));
        check(false, &[], None);
    }
}
