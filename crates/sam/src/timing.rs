//! When schedules fire: `rate(…)` and `cron(…)` of EventBridge.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// When a schedule fires.
#[derive(Clone, Debug, PartialEq)]
pub enum Timing {
    /// So long after the start, and again and again after that.
    Every(Duration),
    /// At times of the calendar.
    Cron {
        /// Which times.
        when: Box<Cron>,
        /// Whose calendar.
        zone: TimeZone,
    },
}

impl Timing {
    /// Reads an expression as templates hold it; says why it is none that the local target has.
    /// `zone` is that of a `cron(…)`, UTC without one.
    ///
    /// Fields of `cron(…)` are those of
    /// [EventBridge](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html): minutes, hours, day of the month,
    /// month, day of the week (1 is Sunday), year. One of the two days is `?`.
    pub(super) fn read(text: &str, zone: Option<&str>) -> Result<Self, String> {
        let inner = |kind: &str| text.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')').map(str::trim);
        if let Some(inner) = inner("rate") {
            return rate(inner).map(Self::Every).ok_or_else(|| {
                format!(
                    "`{text}`: a rate is a whole number of minutes, hours or days, such as `rate(5 minutes)` and `rate(1 minute)`"
                )
            });
        }
        let Some(inner) = inner("cron") else {
            return Err(format!(
                "`{text}`: the local target has schedules such as `rate(1 minute)` and `cron(0 12 * * ? *)`"
            ));
        };
        let fields: Vec<&str> = inner.split_whitespace().collect();
        let &[_, _, day, _, weekday, _] = fields.as_slice() else {
            return Err(format!(
                "`{text}`: a cron expression has six fields: minutes, hours, day of the month, month, day of the week and year"
            ));
        };
        if (day == "?") == (weekday == "?") {
            return Err(format!(
                "`{text}`: one of day of the month and day of the week is `?`, the other says which days"
            ));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Required)
            .alternative_weekdays(true)
            .sloppy_ranges(true)
            .build();
        let when = parser.parse(&format!("0 {inner}")).map_err(|error| format!("`{text}`: {error}"))?;
        let zone = match zone {
            Some(name) => TimeZone::get(name).map_err(|_| {
                format!(
                    "`{name}` is no time zone that this machine knows (they are called as `Europe/Vienna`)"
                )
            })?,
            None => TimeZone::UTC,
        };
        Ok(Self::Cron { when: Box::new(when), zone })
    }

    /// The first time after `last`; none if there is none any more.
    pub fn after(&self, last: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(period) => last.checked_add(*period).ok(),
            Self::Cron { when, zone } => {
                let next = when.find_next_occurrence(&last.to_zoned(zone.clone()), false);
                next.ok().map(|next| next.timestamp())
            }
        }
    }
}

/// `5 minutes`
fn rate(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_once(' ')?;
    let count = count.parse::<u64>().ok().filter(|count| *count > 0)?;
    // One minute, two minutes: EventBridge refuses anything else.
    let unit = unit.trim();
    let singular = if count == 1 { unit } else { unit.strip_suffix('s')? };
    let seconds = match singular {
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    count.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times after a moment, in UTC.
    fn next(text: &str, zone: Option<&str>, after: &str, count: usize) -> Vec<String> {
        let timing = Timing::read(text, zone).unwrap();
        let mut times = Vec::new();
        let mut last: Timestamp = after.parse().unwrap();
        while let Some(time) = timing.after(last).filter(|_| times.len() < count) {
            times.push(time.strftime("%a %F %H:%M:%S").to_string());
            last = time;
        }
        times
    }

    #[test]
    fn schedules_fire_when_eventbridge_says() {
        for (text, expected) in [
            ("rate(5 minutes)", ["Sat 2026-11-28 10:12:30", "Sat 2026-11-28 10:17:30"]),
            ("rate(1 day)", ["Sun 2026-11-29 10:07:30", "Mon 2026-11-30 10:07:30"]),
            ("cron(* * * * ? *)", ["Sat 2026-11-28 10:08:00", "Sat 2026-11-28 10:09:00"]),
            ("cron(0/10 * ? * * *)", ["Sat 2026-11-28 10:10:00", "Sat 2026-11-28 10:20:00"]),
            ("cron(*/20 8-10 * * ? *)", ["Sat 2026-11-28 10:20:00", "Sat 2026-11-28 10:40:00"]),
            ("cron(15 12 * * ? *)", ["Sat 2026-11-28 12:15:00", "Sun 2026-11-29 12:15:00"]),
            ("cron(0 18 ? * MON-FRI *)", ["Mon 2026-11-30 18:00:00", "Tue 2026-12-01 18:00:00"]),
            // 1 is Sunday, 7 is Saturday.
            ("cron(0 9 ? * 1,7 *)", ["Sun 2026-11-29 09:00:00", "Sat 2026-12-05 09:00:00"]),
            ("cron(0 8 1 * ? *)", ["Tue 2026-12-01 08:00:00", "Fri 2027-01-01 08:00:00"]),
            ("cron(0 8 L * ? *)", ["Mon 2026-11-30 08:00:00", "Thu 2026-12-31 08:00:00"]),
            // Of May 2027 the first is a Saturday: the nearest weekday in that month is the third.
            ("cron(0 8 1W 5 ? *)", ["Mon 2027-05-03 08:00:00", "Mon 2028-05-01 08:00:00"]),
            // The last Friday, and the second Tuesday.
            ("cron(15 10 ? * 6L *)", ["Fri 2026-12-25 10:15:00", "Fri 2027-01-29 10:15:00"]),
            ("cron(0 0 ? * 3#2 *)", ["Tue 2026-12-08 00:00:00", "Tue 2027-01-12 00:00:00"]),
            ("cron(0 0 ? FEB SUN#1 2030-2031)", ["Sun 2030-02-03 00:00:00", "Sun 2031-02-02 00:00:00"]),
        ] {
            assert_eq!(next(text, None, "2026-11-28T10:07:30Z", 2), expected, "{text}");
        }
        assert_eq!(
            next("cron(0 0 1 1 ? 2027)", None, "2026-11-28T10:00:00Z", 2),
            ["Fri 2027-01-01 00:00:00"],
            "it ends"
        );
        let vienna = next("cron(30 8 * * ? *)", Some("Europe/Vienna"), "2027-03-27T00:00:00Z", 2);
        assert_eq!(vienna, ["Sat 2027-03-27 07:30:00", "Sun 2027-03-28 06:30:00"], "summer time begins");
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_reason() {
        for (text, expected) in [
            ("every day", "schedules such as `rate(1 minute)`"),
            ("at(2027-01-01T00:00:00)", "schedules such as"),
            ("rate(0 minutes)", "a rate is a whole number"),
            ("rate(5 weeks)", "a rate is a whole number"),
            ("rate(5 minute)", "a rate is a whole number"),
            ("rate(1 minutes)", "a rate is a whole number"),
            ("rate(99999999999999999999 days)", "a rate is a whole number"),
            ("cron(0 12 * * ?)", "six fields"),
            ("cron(0 0 12 * * ? *)", "six fields"),
            ("cron(0 12 * * * *)", "is `?`"),
            ("cron(0 12 ? * ? *)", "is `?`"),
            ("cron(0 24 * * ? *)", "24"),
            ("cron(60 12 * * ? *)", "60"),
            ("cron(0 12 32 * ? *)", "32"),
            ("cron(0 12 ? * 0 *)", "0"),
            ("cron(0 12 ? * 8 *)", "8"),
            ("cron(0 12 ? * NODAY *)", "`cron(0 12 ? * NODAY *)`: "),
        ] {
            let error = Timing::read(text, None).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let error = Timing::read("cron(0 12 * * ? *)", Some("Europe/Nowhere")).unwrap_err();
        assert!(error.contains("`Europe/Nowhere` is no time zone"), "{error}");
    }
}
