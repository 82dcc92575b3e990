//! What a target says of the local target: how much runs at once, and the delays and faults that it imitates.

use std::sync::Arc;
use std::time::Duration;

use super::check;
use crate::benchmark::{Action, Target, Traces};
use crate::manifest::benchmark::{DelayFile, TargetFile};
use crate::manifest::problem::{Problem, Report};
use crate::manifest::tree::Spanned;
use crate::manifest::values::Period;
use sb_sam::dynamics::{Delay, Dynamics};
use sb_sam::{Containers, LocalSettings};

/// As long as a function may run.
const LONGEST: Duration = Duration::from_mins(15);

/// Gives the settings to the target's steps; a target without such a step can have none.
pub(super) fn settle(raw: &TargetFile, target: &mut Target, report: &mut Report) {
    let places = [
        raw.concurrency.as_ref().map(|value| &value.span),
        raw.keep_alive.as_ref().map(|value| &value.span),
        raw.containers.as_ref().map(|value| &value.span),
        raw.function_images.as_ref().map(|value| &value.span),
        raw.seed.as_ref().map(|value| &value.span),
        raw.delays.as_ref().map(|value| &value.span),
        raw.faults.as_ref().map(|value| &value.span),
    ];
    let Some(place) = places.into_iter().flatten().next() else { return };
    let settings = checked(raw, report);
    let (failing_deploys, failing_cleanups) = failures(raw, report);
    let mut used = false;
    for step in &mut target.deploy {
        if let Action::LocalUp(up) = &mut Arc::make_mut(step).action {
            up.settings.clone_from(&settings);
            up.failures = failing_deploys;
            used = true;
        }
    }
    for step in &mut target.cleanup {
        if let Action::LocalDown { failures } = &mut Arc::make_mut(step).action {
            *failures = failing_cleanups;
        }
    }
    if !used {
        report.push(
            Problem::error("local-settings", "only the local target has such settings")
                .at(place, "this target does not use it")
                .help("deploy with `local = { template = \"template.yaml\" }`, or remove the settings"),
        );
    }
}

/// Functions of the local target report to it, and nothing to a cloud.
pub(super) fn expect_traces(raw: &TargetFile, target: &Target, report: &mut Report) {
    let Some(traces) = &raw.traces else { return };
    let service = match target.traces {
        Traces::Xray => "X-Ray",
        Traces::TransactionSearch => "Transaction Search",
        Traces::AppInsights(_) => "Application Insights",
        Traces::Google(_) => "Cloud Trace",
        Traces::Local | Traces::Otlp(_) | Traces::None => return,
    };
    let is_local = target.deploy.iter().any(|step| matches!(step.action, Action::LocalUp(_)));
    // A command may deploy something else, somewhere else.
    if is_local && !target.deploy.iter().any(|step| step.action.command().is_some()) {
        report.push(
            Problem::warning("invalid-traces", format!("the local target sends no traces to {service}"))
                .at(&traces.span, "none would be found")
                .help("write `traces = \"local\"`"),
        );
    }
}

fn checked(raw: &TargetFile, report: &mut Report) -> LocalSettings {
    let mut settings = LocalSettings::default();
    if let Some(concurrency) = &raw.concurrency {
        let count = check::count(concurrency, 1..=10_000, "the concurrency", report);
        settings.concurrency = u32::try_from(count).ok();
    }
    if let Some(period) = &raw.keep_alive {
        settings.keep_alive = check::duration(period, true, report);
    }
    if raw.containers.as_ref().is_some_and(|containers| containers.value) {
        let images = raw.function_images.as_ref().into_iter().flat_map(|images| images.value.iter());
        let images = images.map(|(runtime, image)| (runtime.value.clone(), image.value.clone())).collect();
        settings.containers = Some(Containers { images, client: None });
    } else if let Some(images) = &raw.function_images {
        report.push(
            Problem::error("local-settings", "these functions run in no containers")
                .at(&images.span, "has no effect")
                .help("add `containers = true`, or remove the images"),
        );
    }
    let dynamics = &mut settings.dynamics;
    if let Some(seed) = &raw.seed {
        dynamics.seed = u64::try_from(check::count(seed, 0..=i64::MAX, "the seed", report)).unwrap_or(0);
    }
    if let Some(delays) = &raw.delays {
        let mut read = |file: &Option<Spanned<DelayFile>>| file.as_ref().and_then(|file| delay(file, report));
        dynamics.cold_start = read(&delays.value.cold_start);
        dynamics.trigger = read(&delays.value.trigger);
        dynamics.service = read(&delays.value.service);
    }
    if let Some(faults) = &raw.faults {
        let Dynamics { function_error, throttle, lost_message, slow_service, .. } = dynamics;
        for (file, rate) in [
            (&faults.value.function_error, function_error),
            (&faults.value.throttle, throttle),
            (&faults.value.lost_message, lost_message),
            (&faults.value.slow_service, slow_service),
        ] {
            let Some(file) = file else { continue };
            if (0.0..=1.0).contains(&file.value) {
                *rate = file.value;
            } else {
                report.push(
                    Problem::error("out-of-range", format!("{} is no rate", file.value))
                        .at(&file.span, "not from 0 to 1")
                        .help("write the share of cases that shall go wrong: 0.01 is one in a hundred"),
                );
            }
        }
    }
    settings
}

/// How many first attempts to deploy, and to clean up, fail on purpose.
fn failures(raw: &TargetFile, report: &mut Report) -> (u32, u32) {
    let Some(faults) = &raw.faults else { return (0, 0) };
    let mut times = |file: &Option<Spanned<i64>>| {
        file.as_ref().map_or(0, |file| {
            let count = check::count(file, 0..=1_000, "the number of failures", report);
            u32::try_from(count).unwrap_or(0)
        })
    };
    (times(&faults.value.deploy), times(&faults.value.cleanup))
}

fn delay(file: &Spanned<DelayFile>, report: &mut Report) -> Option<Delay> {
    let mut read = |period: &Spanned<Period>, positive: bool| {
        let duration = check::duration(period, positive, report);
        if duration <= LONGEST {
            return Some(duration);
        }
        report.push(
            Problem::error("out-of-range", "a delay is at most 15 minutes")
                .at(&period.span, "too long")
                .help("a function runs no longer"),
        );
        None
    };
    match &file.value {
        DelayFile::Fixed(period) => {
            read(&Spanned { value: *period, span: file.span.clone() }, false).map(Delay::Fixed)
        }
        DelayFile::Distribution(shape) => {
            let (median, p99) = (read(&shape.median, true)?, read(&shape.p99, true)?);
            if p99 < median {
                report.push(
                    Problem::error("out-of-range", "the 99th percentile is below the median")
                        .at(&shape.p99.span, "shorter than the median")
                        .help("exchange them, or write one duration for a delay that is always the same"),
                );
                return None;
            }
            Some(Delay::LogNormal { median, p99 })
        }
    }
}
