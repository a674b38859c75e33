//! Times and lengths of time, as agents and authors write them.

use event::Time;
use jaq_core::native::{bome, v};

use super::{Run, fail, float};
use crate::budget;
use crate::value::{Error, Val, ValR};

pub(super) fn natives() -> Vec<Run> {
    vec![
        ("unix_time", v(0), |cv| bome(unix_time(&cv.1))),
        ("duration", v(0), |cv| bome(duration(&cv.1))),
        ("between", v(2), |mut cv| {
            let (to, from) = (cv.0.pop_var(), cv.0.pop_var());
            bome(between(&cv.1, &from, &to))
        }),
    ]
}

const DAY: i64 = 86_400;

/// Seconds since 1970: of a number these are they, of a text its digits, or a date.
fn unix_time(value: &Val) -> ValR {
    let no = || fail(format_args!("{value} is no time"));
    match value {
        Val::Str(text) => {
            let text = text.as_str().trim();
            budget::work_bytes(text.len());
            seconds(text).map_or_else(no, Ok)
        }
        number if float(number).is_some_and(f64::is_finite) => Ok(value.clone()),
        _ => no(),
    }
}

/// Longest text that can be a time.
const TIME_MAX: usize = 64;

fn seconds(text: &str) -> Option<Val> {
    if text.len() > TIME_MAX {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')) && !is_date(text) {
        let number: f64 = text.parse().ok()?;
        return Some(text.parse().map_or(Val::Float(number), Val::Int));
    }
    // Without a zone it is UTC; a date is its first moment.
    let zoned = [text.to_owned(), format!("{text}Z"), format!("{text}T00:00:00Z")];
    let ms = zoned.iter().find_map(|text| text.parse::<Time>().ok())?.ms();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of the years 0000 to 9999 are below 2^53")]
    Some(if ms % 1000 == 0 { Val::Int(ms / 1000) } else { Val::Float(ms as f64 / 1000.0) })
}

/// `2026-11-21`
fn is_date(text: &str) -> bool {
    matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _])
}

/// Seconds: `"90s"`, `"15m"`, `"1h"`, `"7d"`, `"2w"`; a number is its own.
fn duration(value: &Val) -> ValR {
    let no = || fail(format_args!("{value} is no length of time such as \"15m\" or \"7d\""));
    match value {
        Val::Str(text) => length(text.as_str()).map_or_else(no, |seconds| Ok(Val::Int(seconds))),
        number if float(number).is_some_and(|n| n.is_finite() && n >= 0.0) => Ok(value.clone()),
        _ => no(),
    }
}

/// Whether this may be a length of time.
pub(super) fn judge_length(value: &Val) -> Result<(), Error> {
    duration(value).map(drop)
}

/// Whether this may be a time of day.
pub(super) fn judge_clock(value: &Val) -> Result<(), Error> {
    clock(value).map(drop)
}

fn length(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => DAY,
        "w" => 7 * DAY,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// From `from` on and before `to`, each a time of day; over midnight if `to` is not after `from`.
fn between(value: &Val, from: &Val, to: &Val) -> ValR {
    let time = unix_time(value)?.num().map_or(0, crate::value::Num::floor).rem_euclid(DAY);
    let (from, to) = (clock(from)?, clock(to)?);
    let inside = if from < to { from <= time && time < to } else { from <= time || time < to };
    Ok(Val::Bool(inside))
}

/// Seconds since midnight of `"22:00"` or `"22:00:30"`.
fn clock(value: &Val) -> Result<i64, Error> {
    let no = || fail(format_args!("{value} is no time of day such as \"22:00\""));
    let Some(text) = value.as_str() else { return no() };
    let part = |part: &str, max: i64| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|n: &i64| digits && *n <= max)
    };
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let seconds = match parts.as_slice() {
        ["24", "00"] => Some(DAY),
        [h, m] => part(h, 23).zip(part(m, 59)).map(|(h, m)| h * 3_600 + m * 60),
        [h, m, s] => part(h, 23).zip(part(m, 59)).zip(part(s, 59)).map(|((h, m), s)| h * 3_600 + m * 60 + s),
        _ => None,
    };
    seconds.map_or_else(no, Ok)
}
