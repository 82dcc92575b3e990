//! What an AWS account allows, before anything is sent to it: looked up where the user's credentials allow, and never a reason
//! not to start.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::provider::account::{Account, AccountError, account};
use crate::provider::sampling::{self, SamplingError, Verdict};
use crate::terminal::{Style, Terminal};
use sb_plan::benchmark::{ParamSource, Traces};
use sb_plan::graph::Parts;
use sb_plan::plan::{Entry, Plan, Point};

/// For all questions together: a machine without credentials, or without a network, starts as well.
const PATIENCE: Duration = Duration::from_secs(5);
/// Set to `off`, nothing is asked.
const SWITCH: &str = "SB_PREFLIGHT";

/// What a plan wants of one region of the account.
struct Wanted<'a> {
    /// None: whichever the environment or the profile says.
    region: Option<String>,
    /// The highest number of invocations under way at once, of the loads that may be sent together, and the applications
    /// that have the highest.
    peak: f64,
    applications: Vec<&'a str>,
    xray: bool,
}

/// What was found out about one region.
pub(super) struct Finding {
    region: Option<String>,
    peak: f64,
    applications: Vec<String>,
    account: Result<Account, AccountError>,
    /// None: the plan needs no traces of X-Ray, or it was not asked for.
    sampling: Option<Result<Verdict, SamplingError>>,
}

/// Asks about every region that the plan's AWS targets use. Empty: there is none, or there was no answer in time.
pub(super) async fn look(plan: &Plan, sampling: bool) -> Vec<Finding> {
    if std::env::var(SWITCH).is_ok_and(|value| value == "off") {
        return vec![];
    }
    let asked = wanted(plan).into_iter().map(|wanted| async move {
        let region = wanted.region.as_deref();
        let rules =
            async { if sampling && wanted.xray { Some(sampling::verdict(region).await) } else { None } };
        let (account, rules) = tokio::join!(account(region), rules);
        Finding {
            peak: wanted.peak,
            applications: wanted.applications.iter().map(|name| (*name).to_owned()).collect(),
            account,
            sampling: rules,
            region: wanted.region,
        }
    });
    tokio::time::timeout(PATIENCE, join_all(asked)).await.unwrap_or_default()
}

/// Before a run: says only what must be known.
pub(super) async fn warn(terminal: &Terminal, plan: &Plan, parts: Parts) {
    if !parts.deploy && !parts.invoke {
        return;
    }
    // Once per deployment: a load on one that stands was warned about when it was deployed.
    for found in look(plan, parts.deploy).await {
        for warning in found.warnings() {
            terminal.say(&format!("{} {warning}", terminal.paint(Style::Warning, "warning:")));
        }
    }
}

fn is_aws(entry: &Entry) -> bool {
    entry.benchmark.targets.get(&entry.target).is_some_and(|target| {
        target.traces == Traces::Xray
            || entry.target == "aws"
            || target.credentials.iter().any(|name| name == "aws")
    })
}

fn region(entry: &Entry, point: &Point) -> Option<String> {
    let declared = entry.benchmark.params.get("region").and_then(|param| match &param.source {
        ParamSource::Value(value) => Some(value),
        ParamSource::RandomHex(_) | ParamSource::Env { .. } => None,
    });
    let region = point.params.get("region").or(declared)?.as_str()?;
    (!region.is_empty()).then(|| region.to_owned())
}

fn wanted(plan: &Plan) -> Vec<Wanted<'_>> {
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    let mut peaks: BTreeMap<Option<String>, Vec<(f64, &str)>> = BTreeMap::new();
    for entry in plan.entries.iter().filter(|entry| is_aws(entry)) {
        let target = entry.benchmark.targets.get(&entry.target);
        let xray = target.is_some_and(|target| target.traces == Traces::Xray);
        let mut own: BTreeMap<Option<String>, f64> = BTreeMap::new();
        for point in &entry.points {
            let peak = own.entry(region(entry, point)).or_default();
            *peak = peak.max(point.load.peak_concurrency());
        }
        for (region, peak) in own {
            match wanted.iter_mut().find(|wanted| wanted.region == region) {
                Some(known) => known.xray |= xray,
                None => wanted.push(Wanted { region: region.clone(), peak: 0.0, applications: vec![], xray }),
            }
            peaks.entry(region).or_default().push((peak, &entry.application));
        }
    }
    // Deployments of one application follow each other: of each, one load is sent at a time.
    let together = usize::try_from(plan.concurrency.invoke).unwrap_or(usize::MAX).max(1);
    for wanted in &mut wanted {
        let mut peaks = peaks.remove(&wanted.region).unwrap_or_default();
        peaks.sort_by(|a, b| b.0.total_cmp(&a.0));
        peaks.truncate(together);
        wanted.peak = peaks.iter().map(|(peak, _)| peak).sum();
        wanted.applications = peaks.into_iter().map(|(_, name)| name).collect();
    }
    wanted
}

impl Finding {
    fn place(&self) -> String {
        let known = self.account.as_ref().ok().map(|account| account.region.clone());
        known.or_else(|| self.region.clone()).unwrap_or_else(|| "the default region".to_owned())
    }

    fn limit(&self) -> Option<u64> {
        self.account.as_ref().ok()?.concurrency.as_ref().ok().copied()
    }

    /// What will go wrong.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(limit) = self.limit()
            && self.peak > limit as f64
        {
            warnings.push(format!(
                "Lambda will throttle: at its peak the load of {} has {:.0} invocations under way at once (highest rate × \
                 expected_latency), and the account may run {limit} in {}. Lower the rate, correct expected_latency, or \
                 have the quota \"Concurrent executions\" of Lambda raised",
                self.applications.join(" and "),
                self.peak.ceil(),
                self.place(),
            ));
        }
        if let Some(Ok(Verdict::Loses { rule, rate, narrow })) = &self.sampling {
            let some =
                if *narrow { "requests that it matches" } else { "requests that bring no decision along" };
            warnings.push(format!(
                "X-Ray may lose traces in {}: by the sampling rule `{rule}`, {} % of {some} are traced. \
                 `sb init aws --xray-sampling` creates a rule that keeps all",
                self.place(),
                rate * 100.0,
            ));
        }
        warnings
    }

    /// For `sb plan estimate`.
    pub(super) fn to_text(&self) -> String {
        let mut text = match &self.account {
            Ok(account) => format!("AWS account {} in {}, as {}\n", account.id, account.region, account.arn),
            Err(error) => format!("AWS in {}: not looked up: {error}\n", self.place()),
        };
        if let Ok(account) = &self.account {
            let peak = self.peak.ceil();
            text += &match &account.concurrency {
                Ok(limit) => format!("  {peak:.0} of {limit} concurrent executions of Lambda at the peak\n"),
                Err(reason) => format!(
                    "  {peak:.0} concurrent executions at the peak; the limit is not known: {reason}\n"
                ),
            };
        }
        match &self.sampling {
            Some(Ok(Verdict::Complete)) => text += "  X-Ray keeps every trace\n",
            Some(Err(error)) => text += &format!("  {error}\n"),
            Some(Ok(Verdict::Loses { .. })) | None => {}
        }
        for warning in self.warnings() {
            text += &format!("  warning: {warning}\n");
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let account = self.account.as_ref().ok();
        json!({
            "region": self.place(),
            "account": account.map(|account| &account.id),
            "arn": account.map(|account| &account.arn),
            "peak_concurrency": self.peak,
            "concurrency_limit": self.limit(),
            "sampling": match &self.sampling {
                Some(Ok(Verdict::Complete)) => json!({ "complete": true }),
                Some(Ok(Verdict::Loses { rule, rate, .. })) => json!({ "complete": false, "rule": rule, "rate": rate }),
                Some(Err(_)) | None => Value::Null,
            },
            "problem": self.account.as_ref().err().map(ToString::to_string),
            "warnings": self.warnings(),
        })
    }
}
