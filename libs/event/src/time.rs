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

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // MS_MIN..=MS_MAX lies within jiff's range, so the fallback is never seen.
        let at = Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH);
        write!(f, "{at:.3}")
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
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
        assert!("yesterday".parse::<Time>().is_err());
        assert_eq!("2025-11-21T20:00:00+01:00".parse::<Time>().unwrap().day(), "2025-11-21");
    }
}
