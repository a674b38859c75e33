//! The one date format: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970-01-01 00:00 UTC, between the years 0000 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

const MS_MIN: i64 = -62_167_219_200_000; // 0000-01-01T00:00:00.000Z
const MS_MAX: i64 = 253_402_207_200_000; // the end of jiff's range, 9999-12-30T22:00:00.000Z

/// The text is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeError(String);

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an RFC 3339 time: {}", self.0)
    }
}

impl std::error::Error for TimeError {}

impl Time {
    /// The wall clock now.
    pub fn now() -> Self {
        Self::from_ms(Timestamp::now().as_millisecond())
    }

    /// From milliseconds since 1970; values outside the years 0000 to 9999 are moved to the border.
    pub fn from_ms(ms: i64) -> Self {
        Self(ms.clamp(MS_MIN, MS_MAX))
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// The UTC day as `2026-11-21`.
    pub fn day(self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

/// Bytes of a time as it is written.
const LEN: usize = "2026-11-21T19:00:00.123Z".len();
const DAY_MS: i64 = 86_400_000;

impl Time {
    /// The text. Every line has two, so it is made by hand.
    pub fn text(self) -> [u8; LEN] {
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let parts = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, ms / 3_600_000),
            (14, 2, ms / 60_000 % 60),
            (17, 2, ms / 1000 % 60),
            (20, 3, ms % 1000),
        ];
        for (at, digits, mut n) in parts {
            for place in text.iter_mut().skip(at).take(digits).rev() {
                *place = b'0' + (n % 10) as u8;
                n /= 10;
            }
        }
        text
    }

    /// A time in the one form that we write; all others are jiff's to read.
    fn read(text: &[u8]) -> Option<Self> {
        let text: &[u8; LEN] = text.try_into().ok()?;
        let mut parts = [0_i64; 7];
        let mut part = parts.iter_mut();
        let mut number = part.next()?;
        for (byte, form) in text.iter().zip(b"0000-00-00T00:00:00.000Z") {
            if *form != b'0' {
                if byte != form {
                    return None;
                }
                number = part.next().unwrap_or(number);
            } else if byte.is_ascii_digit() {
                *number = *number * 10 + i64::from(byte - b'0');
            } else {
                return None;
            }
        }
        let [year, month, day, hour, minute, second, ms] = parts;
        let days = days(year, month, day);
        // A leap second, or a day that the month has not, is left to jiff.
        let sound = hour < 24 && minute < 60 && second < 60 && civil(days) == (year, month, day);
        let at = days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms;
        (sound && (MS_MIN..=MS_MAX).contains(&at)).then_some(Self(at))
    }
}

/// Year, month and day of a day since 1970 in the Gregorian calendar, counted from a March so that the leap day is last
/// (400 years have 146,097 days).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since the first of March of the year 0
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since 1970 of a date; of one that is none, some day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        if let Some(time) = Self::read(text.as_bytes()) {
            return Ok(time);
        }
        // jiff floors towards zero with as_millisecond; canonical text has whole milliseconds, so nothing is lost.
        let at: Timestamp = text.parse().map_err(|_| TimeError(text.chars().take(40).collect()))?;
        Ok(Self::from_ms(at.as_millisecond()))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
            "description": "RFC 3339, UTC, milliseconds"
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_jiff_says(ms in MS_MIN..=MS_MAX) {
            let text = format!("{:.3}", Timestamp::from_millisecond(ms).unwrap());
            prop_assert_eq!(Time::from_ms(ms).to_string(), text.clone());
            prop_assert_eq!(Time::read(text.as_bytes()), Some(Time::from_ms(ms)));
        }
    }

    #[test]
    fn text_and_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_763_751_600_123, "2025-11-21T19:00:00.123Z"),
            (i64::MAX, "9999-12-30T22:00:00.000Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Time::from_ms(ms).to_string(), text);
            assert_eq!(text.parse::<Time>().unwrap(), Time::from_ms(ms));
        }
        for odd in [
            "2025-02-29T00:00:00.000Z",
            "2025-13-01T00:00:00.000Z",
            "2025-01-01T24:00:00.000Z",
            "2025-01-01 00:00:00.000Z",
        ] {
            assert_eq!(Time::read(odd.as_bytes()), None, "{odd}");
        }
        assert!("2025-02-29T00:00:00.000Z".parse::<Time>().is_err());
        assert!("yesterday".parse::<Time>().is_err());
        assert_eq!("2025-11-21T20:00:00+01:00".parse::<Time>().unwrap().day(), "2025-11-21");
    }
}
