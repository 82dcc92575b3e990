//! Loads of virtual users in a closed loop: `users` with `duration`, and how long they think.

use std::time::Duration;

use crate::manifest::load::{LoadFile, ThinkDistributionFile, ThinkTimeFile};
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Or, Period};
use crate::validate::load::{Values, out_of_range, period, value};
use sb_workload::LoadShape;
use sb_workload::users::ThinkTime;

/// Each may have a connection of its own: as many as other loads have requests under way.
const MOST_USERS: u64 = 10_000;

const DISTRIBUTIONS: &str = "use `{ min = \"1s\", max = \"3s\" }` (uniform), `{ mean = \"2s\" }` (exponential), \
                             `{ median = \"1s\", p99 = \"10s\" }` (log-normal), or one duration: `\"2s\"`";

pub(super) fn users(
    load: &LoadFile,
    count: &Spanned<Or<u64>>,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<LoadShape> {
    let users = value(count, values, report).and_then(|users: u64| {
        if (1..=MOST_USERS).contains(&users) {
            return Some(users);
        }
        let range = format!("from 1 to {MOST_USERS}");
        report.push(out_of_range(&count.span, "the number of users", &range, values));
        None
    });
    let think_time = match &load.think_time {
        None => Some(ThinkTime::Fixed(Duration::ZERO)),
        Some(think_time) => self::think_time(&think_time.value, &think_time.span, values, report),
    };
    if let Some(lateness) = &load.max_lateness {
        report.push(
            Problem::error("invalid-load", "`max_lateness` means nothing to `users`")
                .at(&lateness.span, "nothing is due at a planned time")
                .help("remove it, or use a load with a rate, such as `constant`"),
        );
    }
    let Some(duration) = &load.duration else {
        report.push(
            Problem::error("invalid-load", "users need a duration")
                .at(&count.span, "for how long?")
                .help("add `duration = \"90s\"`"),
        );
        return None;
    };
    let duration = period(duration, true, values, report)?;
    Some(LoadShape::Users { users: users?, duration, think_time: think_time? })
}

fn think_time(
    file: &ThinkTimeFile,
    span: &Span,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<ThinkTime> {
    let ThinkDistributionFile { min, max, mean, median, p99 } = &**match file {
        ThinkTimeFile::Fixed(time) => {
            let time = Spanned { value: time.clone(), span: span.clone() };
            return period(&time, false, values, report).map(ThinkTime::Fixed);
        }
        ThinkTimeFile::Distribution(distribution) => distribution,
    };
    let mut read = |time: &Spanned<Or<Period>>, above_zero| period(time, above_zero, values, report);
    match (min, max, mean, median, p99) {
        (Some(min), Some(max), None, None, None) => {
            let (shortest, longest) = (read(min, false), read(max, false));
            let (min, max, span) = (shortest?, longest?, &max.span);
            ordered(min, max, "`max` is below `min`", span, values, report)?;
            Some(ThinkTime::Uniform { min, max })
        }
        (None, None, Some(mean), None, None) => read(mean, true).map(|mean| ThinkTime::Exponential { mean }),
        (None, None, None, Some(median), Some(p99)) => {
            let (half, most) = (read(median, true), read(p99, true));
            let (median, p99, span) = (half?, most?, &p99.span);
            ordered(median, p99, "the 99th percentile is below the median", span, values, report)?;
            Some(ThinkTime::LogNormal { median, p99 })
        }
        _ => {
            report.push(
                Problem::error("invalid-load", "the think time has no known distribution")
                    .at(span, "these keys do not go together")
                    .help(DISTRIBUTIONS),
            );
            None
        }
    }
}

fn ordered(
    low: Duration,
    high: Duration,
    message: &str,
    span: &Span,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<()> {
    if low <= high {
        return Some(());
    }
    report.push(
        Problem::error("out-of-range", format!("{message}{}", values.point))
            .at(span, "too short")
            .help("exchange the two, or write one duration for a time that is always the same"),
    );
    None
}
