//! The order of answers, and a place in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::Time;

/// An event's place: by time, then by id. Answers are newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Milliseconds since 1970.
    pub time: i64,
    /// First half of the id's order.
    pub hi: u64,
    /// Second half of the id's order.
    pub lo: u64,
}

/// Where a page ended. The next one begins after it, whatever has been stored or deleted since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(crate) Place);

impl Cursor {
    /// The time at which the page ended.
    pub fn time(&self) -> Time {
        Time::from_ms(self.0.time)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { time, hi, lo } = self.0;
        let bytes: Vec<u8> = [time.to_be_bytes(), hi.to_be_bytes(), lo.to_be_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl std::str::FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| "not a cursor")?;
        let mut parts = bytes.chunks_exact(8).filter_map(|c| c.try_into().ok());
        match (parts.next(), parts.next(), parts.next()) {
            (Some(time), Some(hi), Some(lo)) if bytes.len() == 24 => Ok(Self(Place {
                time: i64::from_be_bytes(time),
                hi: u64::from_be_bytes(hi),
                lo: u64::from_be_bytes(lo),
            })),
            _ => Err("not a cursor"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let cursor = Cursor(Place { time: -5, hi: u64::MAX, lo: 7 });
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for text in ["", "AAAA", "not base64!", &"A".repeat(33), &"A".repeat(1000)] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
