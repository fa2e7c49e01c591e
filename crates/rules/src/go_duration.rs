//! Durations in the syntax of Go's `time.ParseDuration`.
//!
//! `-session-ttl` is specified in it (`24h`, `1h30m`, `1.5h`). The crates that
//! parse durations accept other languages (`1 day`, `1d`), so this is our own.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: {reason}; write it like 24h, 1h30m or 90s")]
pub struct InvalidDuration {
    text: String,
    reason: &'static str,
}

/// Parses a positive Go duration: numbers, each with a unit of `ns`, `us`
/// (`µs`), `ms`, `s`, `m` or `h`, without spaces.
///
/// # Errors
///
/// [`InvalidDuration`] when the text is empty, has no unit or an unknown one,
/// is negative or zero, or overflows.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = |reason| InvalidDuration { text: text.chars().take(64).collect(), reason };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err(invalid("it must be positive"));
    }
    if rest.is_empty() {
        return Err(invalid("it is empty"));
    }
    let mut total_ns: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| invalid("a unit is missing"))?;
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let unit_ns = unit_nanoseconds(unit).ok_or_else(|| invalid("a unit is unknown"))?;
        let part = scaled(number, unit_ns).ok_or_else(|| invalid("a number is malformed"))?;
        total_ns = total_ns.checked_add(part).ok_or_else(|| invalid("it is too large"))?;
        rest = tail;
    }
    if total_ns == 0 {
        return Err(invalid("it must be positive"));
    }
    // Go counts nanoseconds in an int64; the limit is the same here.
    u64::try_from(total_ns)
        .ok()
        .filter(|ns| i64::try_from(*ns).is_ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| invalid("it is too large"))
}

fn unit_nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        // U+00B5 (micro sign) and U+03BC (Greek mu), as in Go.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Digits behind a point that count. An hour of 3.6 × 10¹² nanoseconds times a number of
/// this length still fits.
const FRACTION_DIGITS: usize = 24;

/// `number` (decimal digits with at most one point) times `unit_ns`, rounded down.
fn scaled(number: &str, unit_ns: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(fraction) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let (part, scale) = fraction
        .bytes()
        .take(FRACTION_DIGITS)
        .fold((0, 1), |(part, scale), digit| (part * 10 + u128::from(digit - b'0'), scale * 10));
    whole.checked_mul(unit_ns)?.checked_add(part * unit_ns / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_go_parses() {
        for (text, ns) in [
            ("24h", 86_400_000_000_000_u64),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+90s", 90_000_000_000),
            ("300ms", 300_000_000),
            ("1µs", 1_000),
            ("1μs", 1_000),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("0.000000000009h", 32),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_positive_go_duration() {
        for text in [
            "",
            "24",
            "h",
            "1d",
            "1 h",
            "-1h",
            "0s",
            "0",
            "1.2.3s",
            ".s",
            "1h ",
            "１h",
            "1H",
            "9999999999h",
            "99999999999999999999999999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_message_names_the_text_and_an_example() {
        let message = parse("1d").expect_err("a day is no Go unit").to_string();
        assert_eq!(
            message,
            "`1d` is not a duration: a unit is unknown; write it like 24h, 1h30m or 90s"
        );
    }
}
