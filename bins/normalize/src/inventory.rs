//! What sources tell of machines: the last snapshot of each is kept, and what changed becomes events, in the transaction
//! of the line that told it.

mod events;
mod silence;

use event::inventory::{Merged, Snapshot, diff};
use event::{Event, Machine, Raw, Time};
use registry::db::{DbError, Tx};
use registry::inventory::{self as state, Kept, Past, Whole};

use crate::machines;
pub(crate) use events::{of_hub, of_line};
use silence::Clock;
pub(crate) use silence::SILENT;

/// The whole machine is said at most this often, in ms.
const SAY_EVERY_MS: i64 = 3_600_000;
/// A snapshot is never younger than its receipt by more than this, in ms; what says so has a wrong clock.
const AHEAD_MS: i64 = 600_000;
/// How long what changed is kept, in ms.
const PAST_MS: i64 = registry::inventory::past::KEPT_MS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inventory {
    clock: Clock,
}

/// What came of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Something is new.
    New,
    /// It says what the one before said.
    Same,
    /// A younger one was there before.
    Older,
    /// It does not name its machine.
    Nobody,
}

impl Inventory {
    /// `silent_ms`: a machine of which a source has not heard for so long is silent.
    pub(crate) fn new(silent_ms: i64) -> Self {
        Self { clock: Clock::new(silent_ms) }
    }

    /// From now on machines are silent after so long.
    pub(crate) fn silent_after(&mut self, ms: i64) {
        self.clock.silent_ms = ms;
    }

    /// Another instance may have moved the clock.
    pub(crate) fn turn(&mut self) {
        self.clock.forget();
    }

    /// A line was received then: what has become due since the one before is said.
    pub(crate) fn tick(&mut self, tx: &mut Tx<'_>, received: Time) -> Result<Vec<Event>, DbError> {
        let Some((minute, new_day)) = self.clock.turn(tx, received)? else { return Ok(Vec::new()) };
        let mut events = Vec::new();
        for sighting in self.clock.silent(tx, minute)? {
            let block = block(tx, &sighting.machine)?;
            events.extend(events::silent(&sighting, block, self.clock.silent_ms, minute));
        }
        for key in state::due(tx, minute)? {
            let learned = state::whole(tx, &key)?.map_or(minute, |whole| whole.learned);
            let merged = state::merged(tx, &key)?;
            events.extend(say(tx, &key, &merged, learned, minute)?);
        }
        if new_day {
            state::forget_past(tx, Time::from_ms(minute.ms() - PAST_MS))?;
        }
        Ok(events)
    }

    /// A line of the machine was read that holds no snapshot.
    pub(crate) fn sight(&self, tx: &mut Tx<'_>, raw: &Raw) -> Result<(), DbError> {
        let Some(key) = raw.machine.key() else { return Ok(()) };
        state::sight(tx, key, &raw.source, raw.received, &raw.machine.tags)
    }

    /// Takes in a snapshot; `kind` is that of its source. What is new is added to `events`. With it comes the key of the
    /// machine, if anything was told of it.
    pub(crate) fn take(
        &self,
        tx: &mut Tx<'_>,
        raw: &Raw,
        kind: &str,
        mut new: Snapshot,
        events: &mut Vec<Event>,
    ) -> Result<(Taken, Option<String>), DbError> {
        named(&mut new, raw);
        let Some(key) = new.machine.key().map(str::to_owned) else { return Ok((Taken::Nobody, None)) };
        if new.taken.ms() > raw.received.ms().saturating_add(AHEAD_MS) {
            new.taken = raw.received;
        }
        new.tidy();
        let (hash, source) = (new.hash(), new.source.clone());
        state::sight(tx, &key, &source, new.taken.min(raw.received), &raw.machine.tags)?;
        let old = match state::last(tx, &key, &source)? {
            Some((taken, _)) if taken > new.taken => return Ok((Taken::Older, None)),
            Some((_, before)) if before == hash => {
                state::again(tx, &key, &source, new.taken, &hash)?;
                machines::tell(tx, &key, (&source, kind), new.taken, &new.machine)?;
                return Ok((Taken::Same, Some(key)));
            }
            Some(_) => state::snapshot(tx, &key, &source)?.map(|kept| kept.snapshot),
            None => None,
        };
        let before = events.len();
        let (snapshot, changes) = match &old {
            None => {
                events::added(raw, &new, events);
                (new, Vec::new())
            }
            Some(old) => {
                let new = new.over(old);
                let changes = diff(old, &new);
                events.extend(changes.iter().filter_map(|change| events::changed(raw, change)));
                (new, changes)
            }
        };
        machines::tell(tx, &key, (&source, kind), snapshot.taken, &snapshot.machine)?;
        let past = Past { source, taken: snapshot.taken, received: raw.received, changes };
        state::keep(tx, &key, &Kept { kind: kind.to_owned(), hash: hash.to_vec(), snapshot })?;
        if events.len() == before {
            return Ok((Taken::Same, Some(key)));
        }
        state::remember(tx, &key, &past)?;
        self.renew(tx, &key, raw.received, events)?;
        Ok((Taken::New, Some(key)))
    }

    /// Puts the machine together anew and says it, or notes that it is to be said.
    fn renew(&self, tx: &mut Tx<'_>, key: &str, now: Time, events: &mut Vec<Event>) -> Result<(), DbError> {
        let (merged, known) = (state::merged(tx, key)?, state::whole(tx, key)?);
        let said = known.map_or(i64::MIN, |known| known.said);
        let next = said.saturating_add(SAY_EVERY_MS);
        if next <= now.ms() {
            events.extend(say(tx, key, &merged, now, now)?);
        } else {
            state::put_whole(tx, key, &Whole { block: merged.machine, learned: now, said, due: next })?;
        }
        Ok(())
    }
}

/// Says the whole machine, as it was `learned` to be.
fn say(tx: &mut Tx<'_>, key: &str, merged: &Merged, learned: Time, now: Time) -> Result<Option<Event>, DbError> {
    let whole = Whole { block: merged.machine.clone(), learned, said: now.ms(), due: 0 };
    state::put_whole(tx, key, &whole)?;
    let block = Machine { tags: state::tags(tx, key)?, ..merged.machine.clone() };
    Ok(events::machine(key, block, merged, &state::sightings(tx, Some(key))?, now))
}

/// The snapshot is the line's: its source is, and so is its machine, whose key is the one that all its lines have.
fn named(new: &mut Snapshot, raw: &Raw) {
    new.source.clone_from(&raw.source);
    let (of, line) = (&mut new.machine, &raw.machine);
    if line.key().is_some() {
        of.serial_number.clone_from(&line.serial_number);
        if line.hardware_uuid.is_some() || line.serial_number.is_none() {
            of.hardware_uuid.clone_from(&line.hardware_uuid);
        }
        if line.serial_number.is_none() && line.hardware_uuid.is_none() {
            of.hostname.clone_from(&line.hostname);
        }
    }
    if of.unit.is_none() {
        of.unit.clone_from(&line.unit);
    }
    of.tags = Vec::new();
}

/// The block of a machine that did not speak itself.
pub(crate) fn block(tx: &mut Tx<'_>, key: &str) -> Result<Machine, DbError> {
    let block = state::whole(tx, key)?.map_or_else(|| of_key(key), |whole| whole.block);
    Ok(Machine { tags: state::tags(tx, key)?, ..block })
}

/// A machine of which nothing but its key is known.
fn of_key(key: &str) -> Machine {
    Machine { serial_number: Some(key.to_owned()), ..Machine::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
