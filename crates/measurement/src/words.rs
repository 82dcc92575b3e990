//! Numbers in sentences.

use std::fmt::Display;

/// A number with what it counts, as English has it: `1 step`, `2 steps`, `0 steps`. Of words whose plural ends in `s`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let end = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_thing_is_singular() {
        assert_eq!(counted(1_u64, "valid trace"), "1 valid trace");
        assert_eq!(counted(0_usize, "request"), "0 requests");
        assert_eq!(counted(21_u64, "request"), "21 requests");
    }
}
