//! Who has not been heard for long. The clock is the greatest `received` read, by the minute, so that a replay, a test and
//! a run that was killed say the same.
//!
//! A pause in which nobody at all was heard is the hub's own, or the network's: silence is counted anew after it, or every
//! machine would be called silent when the hub comes back.

use event::Time;
use registry::db::{DbError, Tx};
use registry::inventory::{self as state, Sighting};

/// How long a machine may be unheard by default, in ms: 1 day.
pub(crate) const SILENT: i64 = 86_400_000;
/// The clock's step, in ms.
const MINUTE_MS: i64 = 60_000;
const MINUTES_OF_DAY: i64 = 1440;
/// So many minutes without any line are a pause. Every machine that speaks gives a line about it every 10 minutes.
const PAUSE: i64 = 15;

/// The clock.
#[derive(Debug)]
pub(super) struct Clock {
    /// A machine unheard for so long is silent, in ms.
    pub(super) silent_ms: i64,
    /// The minute up to which lines were read, and the one since when there was no pause.
    at: Option<(i64, i64)>,
}

impl Clock {
    pub(super) fn new(silent_ms: i64) -> Self {
        Self { silent_ms, at: None }
    }

    /// It is read from the state again.
    pub(super) fn forget(&mut self) {
        self.at = None;
    }

    /// A line was received then. The minute that has begun since the line before, if one has, and whether a day has.
    pub(super) fn turn(&mut self, tx: &mut Tx<'_>, received: Time) -> Result<Option<(Time, bool)>, DbError> {
        let minute = received.ms().div_euclid(MINUTE_MS);
        if self.at.is_none() {
            self.at = state::listening(tx)?;
        }
        let since = match self.at {
            Some((at, _)) if minute <= at => return Ok(None),
            Some((at, since)) if minute - at <= PAUSE => since,
            _ => minute,
        };
        let day = |minute: i64| minute.div_euclid(MINUTES_OF_DAY);
        let new_day = self.at.is_none_or(|(at, _)| day(at) != day(minute));
        self.at = Some((minute, since));
        state::listened(tx, minute, since)?;
        Ok(Some((Time::from_ms(minute.saturating_mul(MINUTE_MS)), new_day)))
    }

    /// Those who are silent since this minute.
    pub(super) fn silent(&self, tx: &mut Tx<'_>, minute: Time) -> Result<Vec<Sighting>, DbError> {
        let before = minute.ms().saturating_sub(self.silent_ms);
        match self.at {
            Some((_, since)) if since.saturating_mul(MINUTE_MS) <= before => {
                state::fall_silent(tx, Time::from_ms(before))
            }
            _ => Ok(Vec::new()),
        }
    }
}
