//! Quiet hours: what is not urgent waits until they are over.

use jiff::civil::Time as Clock;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use pipe::config::{SEVERITIES, Settings};

/// From when to when nobody is to be told, each day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    from: Clock,
    to: Clock,
    /// Told all the same from this severity on.
    except: Option<String>,
    zone: TimeZone,
}

impl Quiet {
    /// The key `quiet` of an action: `{ from = "22:00", to = "07:00", except = "critical", zone = "Europe/Berlin" }`.
    pub fn read(settings: &mut Settings) -> Option<Self> {
        let mut table = settings.table("quiet")?;
        let mut clock = |key: &str| {
            let text = table.required_str(key)?;
            let clock = Clock::strptime("%H:%M", &text).ok();
            if clock.is_none() {
                table.fail(key, format!("`{text}` is no time of day such as 22:00"));
            }
            clock
        };
        let (from, to) = (clock("from"), clock("to"));
        let except = table.word("except", &SEVERITIES).map(str::to_owned);
        let zone = match table.str("zone") {
            None => Some(TimeZone::UTC),
            Some(name) => match TimeZone::get(&name) {
                Ok(zone) => Some(zone),
                Err(_) => {
                    table.fail("zone", format!("`{name}` is no time zone such as Europe/Berlin"));
                    None
                }
            },
        };
        if from.is_some() && from == to {
            table.fail("to", "is the same as `from`: nothing would ever be told");
        }
        settings.absorb(table);
        Some(Self { from: from?, to: to?, except, zone: zone? })
    }

    /// When what is due now may go out, in ms since 1970; none: at once.
    pub fn until(&self, now: i64, severity: &str) -> Option<i64> {
        let rank = |word: &str| SEVERITIES.iter().position(|known| *known == word);
        if self.except.as_deref().is_some_and(|except| rank(severity) >= rank(except)) {
            return None;
        }
        let here = Timestamp::from_millisecond(now).ok()?.to_zoned(self.zone.clone());
        let clock = here.time();
        let is_quiet = match self.from < self.to {
            true => (self.from..self.to).contains(&clock),
            false => clock >= self.from || clock < self.to,
        };
        if !is_quiet {
            return None;
        }
        let day = if clock < self.to { here.date() } else { here.date().checked_add(1.day()).ok()? };
        // An hour that comes twice: the first one may be over.
        let end = self.zone.to_ambiguous_zoned(day.to_datetime(self.to));
        let at = |end: jiff::Zoned| end.timestamp().as_millisecond();
        let (first, last) = (end.clone().earlier().ok().map(at), end.later().ok().map(at));
        let end = first.filter(|end| *end > now).or(last.filter(|end| *end > now));
        Some(end.unwrap_or_else(|| now.saturating_add(60_000)))
    }

    /// How long they are at most, in ms.
    pub fn longest_ms(&self) -> i64 {
        let minutes = |clock: Clock| i64::from(clock.hour()) * 60 + i64::from(clock.minute());
        (minutes(self.to) - minutes(self.from)).rem_euclid(24 * 60) * 60_000
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn quiet(from: &str, to: &str, zone: &str) -> Quiet {
        let clock = |text: &str| Clock::strptime("%H:%M", text).unwrap();
        Quiet { from: clock(from), to: clock(to), except: Some("major".into()), zone: TimeZone::get(zone).unwrap() }
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn over_midnight_and_within_a_day() {
        let night = quiet("22:00", "07:00", "UTC");
        for (now, until) in [
            ("2026-11-21T21:59:59.999Z", None),
            ("2026-11-21T22:00:00Z", Some("2026-11-22T07:00:00Z")),
            ("2026-11-22T06:59:59.999Z", Some("2026-11-22T07:00:00Z")),
            ("2026-11-22T07:00:00Z", None),
        ] {
            assert_eq!(night.until(at(now), "minor"), until.map(at), "{now}");
            assert_eq!(night.until(at(now), "major"), None);
        }
        assert_eq!(night.longest_ms(), 9 * 3_600_000);
        let noon = quiet("12:00", "13:00", "Europe/Berlin");
        assert_eq!(noon.until(at("2026-07-01T10:30:00Z"), "info"), Some(at("2026-07-01T11:00:00Z")));
        assert_eq!(noon.until(at("2026-07-01T12:30:00Z"), "info"), None);
    }

    /// The hour that a clock leaps over or repeats is no trap.
    #[test]
    fn when_clocks_change() {
        let early = quiet("01:30", "02:30", "Europe/Berlin");
        // 2026-03-29: 02:00 becomes 03:00 at 01:00Z.
        let now = at("2026-03-29T00:45:00Z");
        let until = early.until(now, "info").unwrap();
        assert!(until > now && until <= at("2026-03-29T01:30:00Z"), "{until}");
        // 2026-10-25: 03:00 becomes 02:00 at 01:00Z; the second 02:30 is at 01:30Z.
        let now = at("2026-10-25T01:10:00Z");
        assert_eq!(early.until(now, "info"), Some(at("2026-10-25T01:30:00Z")));
    }
}
