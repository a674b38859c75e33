//! Times as people write them in a query: a year, a month, a day, an hour … each stands for all of it. UTC unless said.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Span, Timestamp, ToSpan};

/// The first and the last millisecond since 1970 of `2026`, `2026-11`, `2026-11-21`, `2026-11-21T19`, `…T19:00`,
/// `…T19:00:03` or `…T19:00:03.001`; a time of day may end in `Z` or `+01:00`.
pub fn parse(text: &str) -> Option<(i64, i64)> {
    let (date, clock) = match text.split_once(['T', 't', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4)?;
    let month = parts.next().map(|p| number(p, 2));
    let day = parts.next().map(|p| number(p, 2));
    if parts.next().is_some() || (clock.is_some() && day.is_none()) {
        return None;
    }
    let mut unit = match (month, day) {
        (None, _) => 1.year(),
        (_, None) => 1.month(),
        _ => 1.day(),
    };
    let (mut hms, mut offset) = ([0i16; 3], Offset::UTC);
    let mut milli = 0;
    if let Some(clock) = clock {
        let (clock, zone) = split_zone(clock)?;
        offset = zone;
        (hms, milli, unit) = parse_clock(clock)?;
    }
    let month = month.unwrap_or(Some(1))?;
    let day = day.unwrap_or(Some(1))?;
    let [hour, minute, second] = hms.map(|n| i8::try_from(n).ok());
    let start = DateTime::new(
        year,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
        hour?,
        minute?,
        second?,
        milli * 1_000_000,
    )
    .ok()?;
    let ms = |at: DateTime| offset.to_timestamp(at).ok().map(|t| t.as_millisecond());
    // The last year that jiff knows has no year after it: it ends with the last millisecond there is.
    let end = start.checked_add(unit).ok().and_then(ms).unwrap_or(Timestamp::MAX.as_millisecond());
    Some((ms(start)?, end - 1))
}

fn number(text: &str, digits: usize) -> Option<i16> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Hours, minutes, seconds; milliseconds; and what the last part given stands for.
fn parse_clock(clock: &str) -> Option<([i16; 3], i32, Span)> {
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let mut hms = [0; 3];
    let mut given = 0;
    for part in clock.split(':') {
        *hms.get_mut(given)? = number(part, 2)?;
        given += 1;
    }
    let Some(fraction) = fraction else {
        return Some((hms, 0, [1.hour(), 1.minute(), 1.second()].into_iter().nth(given - 1)?));
    };
    if given != 3 || fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: String = fraction.chars().chain("00".chars()).take(3).collect();
    let step = match fraction.len() {
        1 => 100,
        2 => 10,
        _ => 1,
    };
    Some((hms, thousandths.parse().ok()?, step.milliseconds()))
}

fn split_zone(clock: &str) -> Option<(&str, Offset)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, Offset::UTC));
    }
    let Some(at) = clock.find(['+', '-']) else { return Some((clock, Offset::UTC)) };
    let (clock, zone) = clock.split_at_checked(at)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let seconds = i32::from(number(hours, 2)?) * 3600 + i32::from(number(minutes, 2)?) * 60;
    let seconds = if zone.starts_with('-') { -seconds } else { seconds };
    Some((clock, Offset::from_seconds(seconds).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::parse;

    #[test]
    fn each_precision_stands_for_all_of_it() {
        for (text, from, to) in [
            ("2026", "2026-01-01T00:00:00.000Z", "2026-12-31T23:59:59.999Z"),
            ("2024-02", "2024-02-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z"),
            ("2026-11-21", "2026-11-21T00:00:00.000Z", "2026-11-21T23:59:59.999Z"),
            ("2026-11-21T19", "2026-11-21T19:00:00.000Z", "2026-11-21T19:59:59.999Z"),
            ("2026-11-21 19:05", "2026-11-21T19:05:00.000Z", "2026-11-21T19:05:59.999Z"),
            ("2026-11-21T19:05:06Z", "2026-11-21T19:05:06.000Z", "2026-11-21T19:05:06.999Z"),
            ("2026-11-21T19:05:06.1", "2026-11-21T19:05:06.100Z", "2026-11-21T19:05:06.199Z"),
            ("2026-11-21T19:05:06.123456Z", "2026-11-21T19:05:06.123Z", "2026-11-21T19:05:06.123Z"),
            ("2026-11-21T19:05+02:00", "2026-11-21T17:05:00.000Z", "2026-11-21T17:05:59.999Z"),
            ("1969-12-31", "1969-12-31T00:00:00.000Z", "1969-12-31T23:59:59.999Z"),
        ] {
            let (a, b) = parse(text).unwrap();
            let show = |ms| event::Time::from_ms(ms).to_string();
            assert_eq!((show(a), show(b)), (from.into(), to.into()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "26",
            "2026-13",
            "2026-02-30",
            "2026-11-21T",
            "2026-11-21T25",
            "2026T10",
            "2026-11-21T1:2",
            "2026-1-1",
            "2026-11-21T10:00:00.",
            "2026-11-21T10.5",
            "2026-11-21T10:00+2",
            "99999",
            "2026-11-21-01",
            "2026-11-21T10:00:00:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse("9999").is_some());
    }
}
