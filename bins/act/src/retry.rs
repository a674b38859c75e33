//! When a delivery is tried again: pauses that grow, with chance in them, and what the other side asked for.

use std::time::Duration;

use jiff::Timestamp;

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause of ours (with chance: five minutes).
const PAUSE_MAX: Duration = Duration::from_secs(240);
/// The longest pause that another side may ask for.
const AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Random numbers that a test can repeat (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeded by the operating system.
    pub fn new() -> Self {
        // Without random numbers the pauses are merely the same after each start.
        Self(getrandom::u64().unwrap_or(0))
    }

    /// A number below `n`; 0 if `n` is.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(n).unwrap_or(0)
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}

/// The pause after the `failures`-th failure in a row: 1 s doubling to 4 min, and up to a quarter more.
pub fn pause(failures: u32, chance: &mut Chance) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX));
    let pause = doubled.min(PAUSE_MAX);
    let extra = u64::try_from(pause.as_millis() / 4).unwrap_or(0);
    pause + Duration::from_millis(chance.below(extra + 1))
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, § 10.2.3), from `now_ms` on, bounded by a day.
pub fn retry_after(value: &str, now_ms: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(AFTER_MAX));
    }
    let at: Timestamp = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    let ms = u64::try_from(at.as_millisecond().saturating_sub(now_ms)).unwrap_or(0);
    Some(Duration::from_millis(ms).min(AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds() {
        let mut chance = Chance::seeded(1);
        for (failures, min_s, max_ms) in
            [(1, 1, 1250), (2, 2, 2500), (5, 16, 20_000), (9, 240, 300_000), (99, 240, 300_000)]
        {
            let all: Vec<Duration> = (0..50).map(|_| pause(failures, &mut chance)).collect();
            assert!(all.iter().all(|p| (min_s * 1000..=max_ms).contains(&p.as_millis())), "{failures}: {all:?}");
            assert!(all.windows(2).any(|w| w.first() != w.last()), "chance is in it");
        }
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = 1_445_412_480_000; // Wed, 21 Oct 2015 07:28:00 GMT
        for (text, want) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:09 GMT", Some(9)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("Fri, 21 Oct 2044 07:28:00 GMT", Some(86_400)),
            ("99999999999", Some(86_400)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(text, now), want.map(Duration::from_secs), "{text}");
        }
    }
}
