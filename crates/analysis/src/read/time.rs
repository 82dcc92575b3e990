//! Times of tracers as seconds since the epoch.
//!
//! Comparisons are made between doubles, so whole microseconds are taken first: their double reads back exactly.

use jiff::Timestamp;

/// Nanoseconds since the epoch as seconds, to the nearest microsecond; half a microsecond goes to the even neighbour.
pub(crate) fn seconds_of_nanoseconds(nanoseconds: i128) -> f64 {
    let (whole, rest) = (nanoseconds.div_euclid(1_000), nanoseconds.rem_euclid(1_000));
    let up = rest > 500 || (rest == 500 && whole % 2 != 0);
    (whole + i128::from(up)) as f64 / 1e6
}

/// Nanoseconds since the epoch of a time such as `2022-04-15T21:58:52.1234567Z`. Without an offset it is UTC.
pub(crate) fn parse_nanoseconds(text: &str) -> Option<i128> {
    let text = text.trim();
    let time: Result<Timestamp, _> = text.parse();
    time.ok()
        .or_else(|| {
            let local: jiff::civil::DateTime = text.parse().ok()?;
            Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        })
        .map(Timestamp::as_nanosecond)
}

/// Milliseconds, which may have fractions, in whole nanoseconds.
pub(crate) fn nanoseconds_of_milliseconds(milliseconds: f64) -> i128 {
    (milliseconds * 1e6).round() as i128
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::microseconds;

    #[test]
    fn every_microsecond_reads_back_exactly() {
        for (nanoseconds, expected) in [
            (1_606_220_832_123_456_000, 1_606_220_832_123_456),
            (1_606_220_832_123_456_499, 1_606_220_832_123_456),
            (1_606_220_832_123_456_500, 1_606_220_832_123_456),
            (1_606_220_832_123_457_500, 1_606_220_832_123_458),
            (1_606_220_832_123_456_501, 1_606_220_832_123_457),
            (-1_500, -2),
            (-500, 0),
        ] {
            assert_eq!(microseconds(seconds_of_nanoseconds(nanoseconds)), expected, "{nanoseconds}");
        }
    }

    #[test]
    fn a_time_has_up_to_nine_digits_and_any_offset() {
        for (text, expected) in [
            ("1970-01-01T00:00:01.1234567Z", Some(1_123_456_700)),
            ("1970-01-01T02:00:00+02:00", Some(0)),
            ("1970-01-01 00:00:00.5", Some(500_000_000)),
            ("yesterday", None),
        ] {
            assert_eq!(parse_nanoseconds(text), expected, "{text}");
        }
        assert_eq!(nanoseconds_of_milliseconds(0.0001), 100);
    }
}
