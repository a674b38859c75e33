//! How deliveries end: tries that ended, orders, what waited too long, what was cut off, and what is told of it.

use std::time::Duration;

use event::{Event, Time};
use pipe::{Out, StageError};
use registry::db::Tx;
use serde_json::json;

use super::{Queue, STALE, is_stale};
use crate::actions::Verdict;
use crate::call::one_line;
use crate::conf::Ready;
use crate::lanes::{Ended, ms};
use crate::ledger::{self, Delivery};
use crate::orders::ORDER_AGE_MS;
use crate::outcome::{self, Details, Outcome};
use crate::retry::pause;
use crate::{conditions, digests, incidents};

/// Rows go this long after they can no longer be acted upon: an agent that sends again within a month acts once.
const KEPT_MS: i64 = ORDER_AGE_MS;
/// Rows dealt with at a time.
const ROWS: usize = 500;
/// While a receiver is in trouble its oldest delivery finds out whether it is over; after so many failures in a row
/// another one does, should that one be the trouble.
const ANOTHER_AFTER: u32 = 8;
/// The longest error that is kept, in characters.
const ERROR_MAX: usize = 500;

impl Queue {
    pub(super) fn recover(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let now = self.now();
        loop {
            let ids = ledger::found_trying(tx, ROWS)?;
            if ids.is_empty() {
                return Ok(());
            }
            for id in ids {
                let Some(row) = ledger::row(tx, &id)? else { continue };
                let repeatable = self.actions.get(&row.action).is_none_or(|ready| ready.common.repeatable);
                if repeatable {
                    ledger::in_turn(tx, &row.id, "cut off by the end of the process", now)?;
                } else {
                    let error = "cut off by the end of the process; nobody knows whether it was done";
                    self.end(&row, None, Outcome::Unknown, error, Details::default(), out, tx)?;
                }
            }
        }
    }

    pub(super) fn settle(&mut self, ended: Ended, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let now = self.now();
        for row in ended.rest.iter().flatten() {
            ledger::not_begun(tx, &row.id)?;
        }
        let failures = match ended.answer.verdict {
            Verdict::Later { .. } => self.lanes.failed(&ended),
            // An answer of whatever other kind says that the receiver is there.
            Verdict::Done | Verdict::Never => {
                if self.lanes.went_well(&ended.row.action) > 1 {
                    ledger::all_in_turn(tx, &ended.row.action)?;
                }
                0
            }
        };
        let Ended { row, event, kind, common, answer, shown, ms: took, .. } = ended;
        if let Some(reference) = answer.reference.as_ref().filter(|_| !row.incident.is_empty()) {
            incidents::note(tx, &row.incident, &row.action, &row.target, reference)?;
        }
        let name = row.action.clone();
        let error = one_line(&answer.error, ERROR_MAX);
        let dry_run = shown.is_some();
        if let (true, Some(shown)) = (self.mode.dry_run, &shown) {
            let mut head = json!({"action": row.action, "kind": kind, "event": row.event, "probe": row.probe});
            if let Some(map) = head.as_object_mut() {
                if !row.target.is_empty() {
                    map.insert("target".into(), row.target.clone().into());
                }
                map.insert("would_send".into(), shown.clone());
            }
            let _ = out.line(0, head.to_string().as_bytes());
        } else if let Some(shown) = &shown {
            tracing::info!("action {name}: would send {shown}");
        }
        let reference = answer.reference.clone();
        let details = Details { kind, status: answer.status, ms: Some(took), dry_run, reference, ..Details::default() };
        match answer.verdict {
            Verdict::Done => {
                let delay = now.saturating_sub(row.received).max(0);
                #[expect(clippy::cast_precision_loss, reason = "a delay in ms is below 2^53")]
                self.counts.delay.observe(delay as f64 / 1000.0);
                self.end(&row, Some(&event), Outcome::Done, "", details, out, tx)
            }
            // What the other side said may name it.
            _ if self.forgotten.hold(event.machine.as_ref(), row.received) => {
                self.end(&row, Some(&event), Outcome::Dropped, super::forget::WHY, details, out, tx)
            }
            Verdict::Never => self.end(&row, Some(&event), Outcome::Dead, &error, details, out, tx),
            Verdict::Later { unsure: true, .. } if !common.repeatable => {
                let error = format!("{error}; nobody knows whether it was done");
                self.end(&row, Some(&event), Outcome::Unknown, &error, details, out, tx)
            }
            Verdict::Later { after, .. } => {
                let asked = after.unwrap_or_default();
                let mine = pause(row.tries.max(1), &mut self.chance).max(asked);
                // What was asked for holds for all; a first failure of itself only for its own delivery.
                let ours = if failures > 1 { pause(failures - 1, &mut self.chance) } else { Duration::ZERO };
                let all = ours.max(asked);
                self.look_for_gone |= !self.actions.contains_key(&name);
                self.lanes.pause(&name, now.saturating_add(ms(all)));
                self.counts.actions.with_label_values(&[name.as_str(), "later"]).inc();
                tracing::info!(
                    "action {name}: event {}: {error}; again in {} s",
                    row.event,
                    mine.max(all).as_secs_f64()
                );
                let trouble = !all.is_zero();
                if trouble && failures % ANOTHER_AFTER != 0 {
                    // It is the receiver, not the delivery: all keep their order.
                    ledger::in_turn(tx, &row.id, &error, now)?;
                    return Ok(ledger::all_in_turn(tx, &name)?);
                }
                Ok(ledger::later(tx, &row.id, now.saturating_add(ms(mine)), &error, now)?)
            }
        }
    }

    /// What waited too long.
    pub(super) fn sweep(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        if !self.is_open() {
            return Ok(());
        }
        let now = self.now();
        let ids = ledger::expired(tx, now, ROWS)?;
        if ids.len() == ROWS {
            // There may be more: at once, in a transaction of their own.
            self.sweep_at = now;
        }
        for id in ids {
            let Some(row) = ledger::row(tx, &id)? else { continue };
            let ready = self.actions.get(&row.action);
            let (outcome, error) = if let Some(why) = ready.and_then(|ready| ready.waits.as_ref()) {
                // It is not too old of itself: it would have been sent in time.
                (Outcome::Dead, format!("given up: {why}"))
            } else if ready.is_some_and(|ready| is_stale(&row, ready, now)) {
                (Outcome::Stale, STALE.to_owned())
            } else if row.error.is_empty() {
                (Outcome::Dead, "not tried within give_up".to_owned())
            } else {
                (Outcome::Dead, format!("given up: {}", row.error))
            };
            self.end(&row, None, outcome, &error, Details::default(), out, tx)?;
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let age = |ready: &Ready| ms(ready.common.max_age.max(ready.common.give_up));
        let longest = self.actions.values().map(age).max().unwrap_or(0);
        let before = self.now().saturating_sub(longest).saturating_sub(KEPT_MS);
        ledger::forget(tx, before)?;
        conditions::forget(tx, before)?;
        digests::forget(tx, before)?;
        Ok(self.brakes.forget(tx, before)?)
    }

    /// Ends what waits for actions that are gone, so many rows a turn.
    pub(super) fn bury_gone(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let is_gone = |(name, n): (&String, &u64)| (*n > 0 && !self.actions.contains_key(name)).then(|| name.clone());
        let gone: Vec<String> = self.open.iter().filter_map(is_gone).collect();
        let mut room = ROWS;
        for name in gone {
            let ids = ledger::waiting(tx, &name, room)?;
            room = room.saturating_sub(ids.len());
            for id in ids {
                let Some(row) = ledger::row(tx, &id)? else { continue };
                let error = "there is no action of this name (action_gone)";
                self.end(&row, None, Outcome::Dead, error, Details::default(), out, tx)?;
            }
            if room == 0 {
                self.look_for_gone = true;
                break;
            }
        }
        Ok(())
    }

    /// Writes the end of a delivery and tells of it. `event` is the match if it is at hand.
    #[expect(clippy::too_many_arguments, reason = "one place writes every end")]
    pub(super) fn end(
        &mut self,
        row: &Delivery,
        event: Option<&Event>,
        outcome: Outcome,
        error: &str,
        mut details: Details,
        out: &mut Out,
        tx: &mut Tx<'_>,
    ) -> Result<(), StageError> {
        let now = self.now();
        if self.mode.no_ledger {
            ledger::remove(tx, &row.id)?;
        } else {
            ledger::end(tx, &row.id, outcome.state(), error, now)?;
        }
        self.uncount_open(&row.action);
        if details.kind.is_empty() {
            details.kind = self.actions.get(&row.action).map(|ready| ready.kind.clone()).unwrap_or_default();
        }
        details.error = error.to_owned();
        let read = if event.is_none() { Event::parse(&row.line).ok() } else { None };
        match event.or(read.as_ref()) {
            Some(event) => self.tell(row, event, outcome, &details, out),
            None => tracing::error!("dead letter {}: its line cannot be read", row.id),
        }
        Ok(())
    }

    /// Counts and logs an outcome, and emits it unless the match came from an action itself: every chain ends after
    /// one turn (design § 3).
    pub(super) fn tell(&mut self, row: &Delivery, event: &Event, outcome: Outcome, details: &Details, out: &mut Out) {
        // Names that are no actions come from outside: they make no series.
        let label = if self.actions.contains_key(&row.action) { row.action.as_str() } else { "other" };
        self.counts.actions.with_label_values(&[label, outcome.word()]).inc();
        let (action, id, probe, error) = (&row.action, &row.event, &row.probe, &details.error);
        match outcome {
            Outcome::Done => tracing::debug!("action {action}: event {id}, probe {probe}: done"),
            Outcome::Dead | Outcome::Unknown => {
                self.died += 1;
                tracing::warn!("action {action}: event {id}, probe {probe}: dead letter {}: {error}", row.id);
            }
            Outcome::Stale | Outcome::Dropped => {
                tracing::info!("action {action}: event {id}, probe {probe}: {}: {error}", outcome.word());
            }
        }
        if event.cause.is_some() || self.mode.dry_run {
            return;
        }
        let mut line = Vec::new();
        // The store has dropped what it knew of a machine that was forgotten: it does not come back by this.
        let nameless = self.forgotten.hold(event.machine.as_ref(), row.received);
        let details = &Details { nameless, ..details.clone() };
        outcome::write(row, event, outcome, details, Time::from_ms(self.now()), &mut line);
        if out.line(0, &line).is_err() {
            tracing::error!("action {action}: event {id}: the outcome is longer than a line may be");
        }
    }
}
