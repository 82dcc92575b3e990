//! Times as they are written, without the error of binary fractions: an invocation at 60.0 s is in the second minute.

/// Parts of a second.
pub(crate) const ATTO: i128 = 1_000_000_000_000_000_000;
const DECIMALS: i32 = 18;
/// Whole seconds have at most this many digits.
const MOST_DIGITS: i32 = 12;

/// A number of seconds as 10⁻¹⁸ s; `5.2e-05` is read, too. What is finer is cut off.
pub(crate) fn seconds(cell: &[u8]) -> Option<i128> {
    let (cell, is_negative) = match cell {
        [b'-', rest @ ..] => (rest, true),
        _ => (cell, false),
    };
    let (mantissa, exponent) = match cell.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        None => (cell, 0),
        Some(at) => {
            let exponent: i32 = std::str::from_utf8(&cell[at + 1..]).ok()?.parse().ok()?;
            (&cell[..at], exponent)
        }
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        None => (mantissa, &[][..]),
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
    };
    let is_number = !whole.is_empty() && whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !is_number || !(-DECIMALS..=MOST_DIGITS).contains(&exponent) {
        return None;
    }
    i32::try_from(whole.len()).ok().filter(|length| *length <= MOST_DIGITS)?;
    let fraction = &fraction[..fraction.len().min(DECIMALS as usize)];
    let digits = whole.iter().chain(fraction).fold(0_i128, |sum, digit| 10 * sum + i128::from(digit - b'0'));
    let shift = DECIMALS - i32::try_from(fraction.len()).ok()? + exponent;
    let value = match u32::try_from(shift) {
        Ok(up) => digits.checked_mul(10_i128.checked_pow(up)?)?,
        Err(_) => digits / 10_i128.checked_pow(shift.unsigned_abs())?,
    };
    Some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<f64>) {
        let found = seconds(text.as_bytes()).map(|value| value as f64 / ATTO as f64);
        let is_same = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() <= 1e-15 * expected.abs(),
            (found, expected) => found == expected,
        };
        assert!(is_same, "{text}: {found:?}");
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        check("0", Some(0.0));
        check("0.1", Some(0.1));
        check("1209599.7", Some(1_209_599.7));
        check("5.2e-05", Some(5.2e-5));
        check("1.5e3", Some(1500.0));
        check("-0.25", Some(-0.25));
        check("5.684234635682671234567", Some(5.684_234_635_682_671));
        for wrong in ["", ".", ".5", "1e", "1e99", "nan", "inf", "1,5", "1 ", "--1", "9999999999999"] {
            check(wrong, None);
        }
        let start = |end: &str, duration: &str| {
            seconds(end.as_bytes()).unwrap() - seconds(duration.as_bytes()).unwrap()
        };
        assert_eq!(start("60.3", "0.3"), 60 * ATTO);
    }
}
