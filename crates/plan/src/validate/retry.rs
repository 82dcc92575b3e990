//! When a failed step is tried again: the ranges of what a manifest says of it.

use std::time::Duration;

use crate::benchmark::Retry;
use crate::event::FailureClass;
use crate::manifest::benchmark::{RetryFile, RetryWord};
use crate::manifest::problem::{Problem, Report};
use crate::validate::check;

/// The factors that make sense: with a hundred, the fourth attempt comes a million delays after the first.
const BACKOFF: std::ops::RangeInclusive<f64> = 1.0..=100.0;

pub(super) fn retry(file: &RetryFile, report: &mut Report) -> Retry {
    let attempts = check::count(&file.attempts, 1..=100, "the number of attempts", report);
    let delay = file.delay.as_ref().map_or(Duration::ZERO, |delay| check::duration(delay, false, report));
    let mut retry = Retry::times(u32::try_from(attempts).unwrap_or(1), delay);
    if let Some(backoff) = &file.backoff {
        if BACKOFF.contains(&backoff.value) {
            retry.backoff = backoff.value;
        } else {
            report.push(
                Problem::error("out-of-range", format!("`backoff` cannot be {}", backoff.value))
                    .at(&backoff.span, "outside of 1 to 100")
                    .help("use 1 for pauses of the same length, 2 to double them"),
            );
        }
    }
    if let Some(longest) = &file.max_delay {
        retry.max_delay = check::duration(longest, false, report);
        if retry.max_delay < delay {
            let text = humantime::format_duration(delay);
            report.push(
                Problem::error("out-of-range", "`max_delay` is shorter than `delay`")
                    .at(&longest.span, format!("shorter than {text}"))
                    .help(format!("use {text} or more, or leave `max_delay` out")),
            );
        }
    }
    if let Some(on) = &file.on {
        retry.on.clear();
        for word in &on.value.0 {
            let class = class(*word);
            if !retry.on.contains(&class) {
                retry.on.push(class);
            }
        }
        if retry.on.is_empty() {
            report.push(
                Problem::error("out-of-range", "`on` names no failure")
                    .at(&on.span, "nothing would be tried again")
                    .help("name failures, or leave `on` out for all but `out_of_memory` and `no_command`"),
            );
        }
    }
    retry
}

fn class(word: RetryWord) -> FailureClass {
    match word {
        RetryWord::Failed => FailureClass::Step,
        RetryWord::TimedOut => FailureClass::TimedOut,
        RetryWord::OutOfMemory => FailureClass::OutOfMemory,
        RetryWord::NotStarted => FailureClass::NotStarted,
        RetryWord::NoCommand => FailureClass::NoCommand,
        RetryWord::EngineUnreachable => FailureClass::EngineUnreachable,
        RetryWord::Throttled => FailureClass::Throttled,
    }
}
