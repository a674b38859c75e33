//! What is due is prepared, lane by lane.

use event::Event;
use pipe::{Out, StageError};
use registry::db::Tx;

use super::forget::WHY;
use super::{Queue, STALE, is_stale};
use crate::call::Call;
use crate::conf::Ready;
use crate::lanes::Try;
use crate::ledger::{self, Delivery, Which};
use crate::outcome::{Details, Outcome};
use crate::told::Told;
use crate::{digests, incidents};

/// Rows of one lane that end in one turn without being tried; the rest waits for the next.
const UNTRIED_MAX: usize = 500;
/// Bytes of lines that the runs of a lane hold together, if each has more than one try.
const RUN_BYTES: usize = 1 << 20;

impl Queue {
    /// Prepares what is due, and finds out when to look again.
    pub(super) fn fill(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let now = self.now();
        self.wake_at = i64::MAX;
        if self.stopping {
            return Ok(());
        }
        let busy =
            |(name, ready): &(&String, &Ready)| ready.waits.is_none() && self.open.get(*name).is_some_and(|n| *n > 0);
        let ready: Vec<(String, Ready)> =
            self.actions.iter().filter(busy).map(|(name, ready)| (name.clone(), ready.clone())).collect();
        for (name, ready) in ready {
            self.fill_lane(&name, &ready, now, out, tx)?;
            if let Some(opens) = self.lanes.opens_at(&name, &ready.common)
                && let Some(due) = ledger::next_due(tx, &name, self.which(&name))?
            {
                self.wake_at = self.wake_at.min(due.max(opens));
            }
        }
        Ok(())
    }

    /// A lane that stands still lets only through what ends an incident.
    fn which(&self, name: &str) -> Which {
        if self.brakes.is_stopped(name) { Which::Ends } else { Which::All }
    }

    /// Fills the places of one lane with runs of tries. Rows that are not tried after all take none.
    fn fill_lane(
        &mut self,
        name: &str,
        ready: &Ready,
        now: i64,
        out: &mut Out,
        tx: &mut Tx<'_>,
    ) -> Result<(), StageError> {
        if self.which(name) == Which::Ends {
            self.drop_before_ends(name, out, tx)?;
        }
        let places = self.lanes.places(name, &ready.common, now);
        let wanted = places.saturating_mul(self.lanes.run_length(name, &ready.common));
        let (mut tries, mut bytes, mut untried) = (Vec::new(), 0, 0);
        // What is told of an incident waits for what was told before, and nothing of this run overtakes it.
        let mut barrier = (i64::MAX, i64::MAX);
        let is_full = |tries: &Vec<Try>, bytes| tries.len() >= wanted || (tries.len() >= places && bytes >= RUN_BYTES);
        'more: while untried < UNTRIED_MAX && !is_full(&tries, bytes) {
            let rows = ledger::due(tx, name, now, self.which(name), wanted - tries.len())?;
            if rows.is_empty() {
                break;
            }
            for (id, place) in rows {
                if place > barrier {
                    break 'more;
                }
                // One by one: each holds a line of up to 4 MiB.
                let Some(row) = ledger::row(tx, &id)? else { continue };
                let Ok(event) = Event::parse(&row.line) else {
                    // Written by us from an event: only a damaged file gets here.
                    self.end(&row, None, Outcome::Dead, "its line cannot be read", Details::default(), out, tx)?;
                    untried += 1;
                    continue;
                };
                // The clock of recorded lines leaps within a batch: they were judged when they were read.
                if !self.mode.recorded && is_stale(&row, ready, now) {
                    self.end(&row, Some(&event), Outcome::Stale, STALE, Details::default(), out, tx)?;
                    untried += 1;
                    continue;
                }
                // What is held is looked through by and by, and this may not have been its turn.
                if self.is_forgotten(&row, &event) {
                    if self.without_forgotten(&row, tx)? {
                        continue;
                    }
                    self.end(&row, Some(&event), Outcome::Dropped, WHY, Details::default(), out, tx)?;
                    untried += 1;
                    continue;
                }
                let quiet = ready.common.quiet.as_ref().filter(|_| !self.mode.recorded);
                let severity = match event.probes.first() {
                    _ if quiet.is_none() => String::new(),
                    _ if !row.digest.is_empty() => digests::severity(tx, &row.digest)?,
                    probe => probe.map(|probe| probe.severity.clone()).unwrap_or_default(),
                };
                if let Some(until) = quiet.and_then(|quiet| quiet.until(now, &severity)) {
                    ledger::postpone(tx, &row.id, until, "quiet hours")?;
                    untried += 1;
                    continue;
                }
                if !self.may_touch(&row, &event, ready, now, out, tx)? {
                    untried += 1;
                    if self.brakes.is_stopped(name) {
                        // The rest of these rows waits, but for what ends an incident.
                        break;
                    }
                    continue;
                }
                bytes += if row.digest.is_empty() { row.line.len() } else { RUN_BYTES };
                if wanted > places
                    && let Some(next) = ledger::next_of_incident(tx, &row)?
                {
                    barrier = barrier.min(next);
                }
                tries.push(self.begin(row, event, now, tx)?);
                if is_full(&tries, bytes) {
                    break 'more;
                }
            }
        }
        let dry_run = self.mode.dry_run || self.mode.recorded || ready.common.dry_run;
        self.lanes.prepare(name, tries, places, ready, dry_run, now);
        Ok(())
    }

    /// What a lane that stands still holds of an incident that is over is told no more: its end does not wait for it.
    fn drop_before_ends(&mut self, name: &str, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        for id in ledger::before_ends(tx, name, UNTRIED_MAX)? {
            if let Some(row) = ledger::row(tx, &id)? {
                self.end(&row, None, Outcome::Dropped, "its incident is over", Details::default(), out, tx)?;
            }
        }
        Ok(())
    }

    /// Whether the brakes let an action go on. What they never let through ends here. The end of an incident is told to
    /// whoever was told of it, whatever the brakes say: it undoes what was done.
    fn may_touch(
        &mut self,
        row: &Delivery,
        event: &Event,
        ready: &Ready,
        now: i64,
        out: &mut Out,
        tx: &mut Tx<'_>,
    ) -> Result<bool, StageError> {
        if row.told.ends() && !row.incident.is_empty() {
            let told = ledger::was_told(tx, row)?;
            if !told {
                let why = "it was not told of this incident before";
                self.end(row, Some(event), Outcome::Dropped, why, Details::default(), out, tx)?;
            }
            return Ok(told);
        }
        if ready.common.never.as_ref().is_some_and(|never| event.machine.as_ref().is_some_and(|m| never.names(m))) {
            self.end(row, Some(event), Outcome::Dead, "this machine is never touched", Details::default(), out, tx)?;
            return Ok(false);
        }
        // A further try within the hour counts once.
        let Some(max) = ready.common.max else { return Ok(true) };
        let machine = event.machine.as_ref().and_then(|machine| machine.key()).filter(|_| !ready.action.reaches_many());
        let admitted = self.brakes.admit(&row.action, max, machine.unwrap_or(&row.id), now, tx)?;
        if admitted {
            return Ok(true);
        }
        if self.alone || self.mode.recorded {
            // Nobody can give an order to go on.
            self.brakes.resume_one(&row.action, tx)?;
            let why = format!("{max} machines within an hour are the most (`max`)");
            self.end(row, Some(event), Outcome::Dead, &why, Details::default(), out, tx)?;
            return Ok(false);
        }
        self.tell_stopped(event, &row.action, max, out);
        Ok(false)
    }

    fn begin(&self, mut row: Delivery, event: Event, now: i64, tx: &mut Tx<'_>) -> Result<Try, StageError> {
        ledger::trying(tx, &row.id, now)?;
        row.tries = row.tries.saturating_add(1);
        let mut told = Told::from(row.told.clone());
        if !row.digest.is_empty() {
            told.events = digests::events(tx, &row.digest)?;
        }
        if !row.incident.is_empty() {
            told.reference = incidents::noted(tx, &row.incident, &row.action, &row.target)?;
        }
        let call = Call {
            key: row.key.clone(),
            action: row.action.clone(),
            target: row.target.clone(),
            line: std::mem::take(&mut row.line),
            event,
            url: self.url.clone(),
            told,
        };
        Ok(Try { row, call })
    }
}
