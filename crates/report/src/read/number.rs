//! Numbers as they are written in files, without a detour through floating point.

const DAY: i64 = 86_400_000_000;

/// A decimal number as a whole number of units, of which ten to the power of `places` make one. Further digits must be
/// zeros. `None`: it is no such number, or too large.
pub(super) fn fixed(text: &[u8], places: u32) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let mut value: i64 = 0;
    let mut at = 0;
    while let Some(digit) = digits.get(at).filter(|byte| byte.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        at += 1;
    }
    let whole = at;
    let mut missing = places;
    if digits.get(at) == Some(&b'.') {
        at += 1;
        while let Some(digit) = digits.get(at).filter(|byte| byte.is_ascii_digit()) {
            if missing > 0 {
                value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
                missing -= 1;
            } else if *digit != b'0' {
                return None;
            }
            at += 1;
        }
        if at == whole + 1 {
            return None;
        }
    }
    if whole == 0 || at != digits.len() {
        return None;
    }
    let value = value.checked_mul(10_i64.pow(missing))?;
    Some(if negative { -value } else { value })
}

/// As [`fixed`]; what has more digits, or an exponent, is rounded to the nearest unit.
pub(super) fn rounded(text: &[u8], places: u32) -> Option<i64> {
    if let Some(exact) = fixed(text, places) {
        return Some(exact);
    }
    let number: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    let units = number * 10_f64.powi(places.cast_signed());
    (units.abs() < 9e18).then_some(units.round() as i64)
}

/// A count, 0 and up.
pub(super) fn count(text: &[u8]) -> Option<u32> {
    let number = fixed(text, 0)?;
    u32::try_from(number).ok()
}

/// A duration as Python prints it, in microseconds: `0:00:01.5`, `1 day, 0:00:00`, `-1 day, 23:59:59.997` (which is minus
/// three milliseconds). pandas' notation (`0 days 00:00:01.5`) means the same.
pub(super) fn duration(text: &[u8]) -> Option<i64> {
    let (days, clock) = match text.iter().position(|byte| *byte == b'd') {
        None => (0, text),
        Some(at) => {
            let days = fixed(text[..at].trim_ascii(), 0)?;
            let rest = &text[at..];
            let rest = rest.strip_prefix(b"days").or_else(|| rest.strip_prefix(b"day"))?;
            let rest = rest.strip_prefix(b",").unwrap_or(rest);
            let rest = rest.strip_prefix(b" ")?;
            (days, rest.strip_prefix(b"+").unwrap_or(rest))
        }
    };
    let first = clock.iter().position(|byte| *byte == b':')?;
    let second = first + 1 + clock[first + 1..].iter().position(|byte| *byte == b':')?;
    let two = |text: &[u8]| -> Option<i64> {
        (text.len() <= 2 && !text.is_empty() && text.iter().all(u8::is_ascii_digit))
            .then(|| fixed(text, 0))?
    };
    let (hours, minutes) = (two(&clock[..first])?, two(&clock[first + 1..second])?);
    let seconds = &clock[second + 1..];
    if !seconds.first()?.is_ascii_digit() {
        return None;
    }
    let micros = fixed(seconds, 6)?;
    if hours >= 24 || minutes >= 60 || micros >= 60_000_000 {
        return None;
    }
    days.checked_mul(DAY)?.checked_add((hours * 60 + minutes) * 60_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_to_the_microsecond() {
        for (text, expected) in [
            ("0:00:01.5", Some(1_500_000)),
            ("0:00:00.045000", Some(45_000)),
            ("23:59:59", Some(86_399_000_000)),
            ("1 day, 0:00:00", Some(DAY)),
            ("-1 day, 23:59:59.997", Some(-3_000)),
            ("2 days, 1:00:00.000001", Some(2 * DAY + 3_600_000_001)),
            ("0 days 00:00:01.5", Some(1_500_000)),
            ("-1 days +23:59:59.997", Some(-3_000)),
            ("", None),
            ("1.5", None),
            ("0:00", None),
            ("0:60:00", None),
            ("0:00:60", None),
            ("24:00:00", None),
            ("0:00:-1", None),
            ("0:00:00.0000001", None),
            ("x day, 0:00:00", None),
            ("9223372036854775807 days, 0:00:00", None),
        ] {
            assert_eq!(duration(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        for (text, places, expected) in [
            ("1642626739.989", 6, Some(1_642_626_739_989_000)),
            ("421.603016", 6, Some(421_603_016)),
            ("-0.5", 1, Some(-5)),
            ("1.50", 1, Some(15)),
            ("1.55", 1, None),
            ("1.", 1, None),
            (".5", 1, None),
            ("", 0, None),
            ("1e3", 0, None),
            ("9223372036854775808", 0, None),
        ] {
            assert_eq!(fixed(text.as_bytes(), places), expected, "{text}");
        }
        assert_eq!(rounded(b"1.6e3", 1), Some(16_000));
        assert_eq!(rounded(b"0.26", 1), Some(3));
        assert_eq!(rounded(b"inf", 1), None);
        assert_eq!(rounded(b"nan", 1), None);
    }
}
