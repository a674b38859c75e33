//! The time of a record, read leniently: numbers were strings in old agents (`unixTime`), and some writers give only
//! `calendarTime` (C `asctime` in UTC).

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Milliseconds since 1970 that a record names by the texts of its `unixTime` and `calendarTime`. Impossible times
/// are taken as they are, so that a retry gets the same id.
pub(crate) fn ms(unix_time: Option<&[u8]>, calendar_time: Option<&[u8]>) -> Option<i64> {
    unix_time.and_then(unix).or_else(|| calendar_time.and_then(calendar))
}

/// Seconds, as a number or a string.
fn unix(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(unquoted(value)).ok()?.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds.saturating_mul(1000));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return None; // "inf" and "NaN" are numbers to Rust
    }
    let ms = text.parse::<f64>().ok()? * 1000.0;
    // Beyond 2^53 a double has no milliseconds left, and 1e400 no value at all.
    (ms.abs() < 9_007_199_254_740_992.0).then_some(ms as i64)
}

/// `Tue Jan  6 08:00:05 2026 UTC`.
fn calendar(value: &[u8]) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = std::str::from_utf8(unquoted(value)).ok()?.split_ascii_whitespace();
    let (_weekday, month, day, clock, year) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let mut clock = clock.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let at =
        DateTime::new(year.parse().ok()?, month.try_into().ok()?, day.parse().ok()?, hour, minute, second, 0).ok()?;
    Some(TimeZone::UTC.to_timestamp(at).ok()?.as_millisecond())
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient() {
        for (unix, calendar, want) in [
            ("1767686405", "", Some(1_767_686_405_000)),
            ("\"1767686405\"", "", Some(1_767_686_405_000)),
            ("\" 7 \"", "", Some(7_000)),
            ("1.5", "", Some(1_500)),
            ("1e3", "", Some(1_000_000)),
            ("0", "\"Tue Jan  6 08:00:05 2026 UTC\"", Some(0)),
            ("-5", "", Some(-5_000)),
            ("9223372036854775807", "", Some(i64::MAX)),
            ("9223372036854775808", "", None),
            ("1e400", "", None),
            ("\"inf\"", "", None),
            ("\"<expr>\"", "\"Tue Jan  6 08:00:05 2026 UTC\"", Some(1_767_686_405_000)),
            ("\"\"", "\"Wed Feb 29 21:38:11 2020 UTC\"", Some(1_583_012_291_000)),
            ("null", "\"Sat Feb 31 21:38:11 2020 UTC\"", None),
            ("{}", "\"\"", None),
            ("", "\"Tue Jan 6 25:00:05 2026 UTC\"", None),
        ] {
            assert_eq!(ms(Some(unix.as_bytes()), Some(calendar.as_bytes())), want, "{unix} {calendar}");
        }
        assert_eq!(ms(None, None), None);
    }
}
