//! Times in reports: with an offset or without, as Munki, plists and other hubs write them.

use event::json;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// A longer text is no time.
const LEN_MAX: usize = 64;

/// Milliseconds since 1970 of `2026-01-06 08:00:00 +0000`, `2026-01-06T08:00:00Z` and their like. A time without an
/// offset is one of UTC, which is what Munki means.
pub(super) fn ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() > LEN_MAX {
        return None;
    }
    let at = text.parse::<Timestamp>().ok();
    let at = at.or_else(|| strtime::parse("%Y-%m-%d %H:%M:%S %z", text).ok()?.to_timestamp().ok());
    let at = at.or_else(|| TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok());
    at.map(Timestamp::as_millisecond)
}

/// The same for a JSON value: a string, or seconds since 1970.
pub(super) fn of_value(value: &[u8]) -> Option<i64> {
    match value.first()? {
        b'"' => ms(&json::parse_str(value)?),
        b'-' | b'0'..=b'9' => {
            let seconds = std::str::from_utf8(value).ok()?.parse::<f64>().ok()?;
            // Beyond 2^53 a double has no milliseconds left.
            (seconds.abs() < 9_007_199_254_740.0).then_some((seconds * 1000.0) as i64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_one_time() {
        for text in [
            "2026-01-06T08:00:05Z",
            "2026-01-06 08:00:05 +0000",
            "2026-01-06 10:00:05 +0200",
            "2026-01-06T10:00:05+02:00",
            "2026-01-06 08:00:05",
            "2026-01-06T08:00:05",
            " 2026-01-06T08:00:05.000Z ",
        ] {
            assert_eq!(ms(text), Some(1_767_686_405_000), "{text}");
        }
        assert_eq!(of_value(b"1767686405"), Some(1_767_686_405_000));
        assert_eq!(of_value(b"\"2026-01-06 08:00:05 +0000\""), Some(1_767_686_405_000));
        for bad in ["", "yesterday", "2026-02-30 08:00:00 +0000", "2026-01-06", "12", &"2".repeat(100)] {
            let got = ms(bad);
            assert!(got.is_none() || bad == "2026-01-06", "{bad}: {got:?}");
        }
        for bad in [&b"{}"[..], b"1e400", b"true", b""] {
            assert_eq!(of_value(bad), None);
        }
    }
}
