//! What is still held about machines that were forgotten: deliveries that wait, and dead letters. They are dropped; that
//! they were asked for once stays known, so that a repeat does not act.

use std::collections::BTreeMap;

use event::{Event, Machine, json};
use pipe::{Out, StageError};
use registry::db::Tx;
use registry::forgotten::Forgotten;

use super::Queue;
use crate::ledger::{self, Delivery, State};
use crate::outcome::{Details, Outcome};

/// Rows looked at in a turn.
const ROWS: usize = 200;
/// What is said of what is dropped.
pub const WHY: &str = "the machine was forgotten";

/// The machines, and how far the ledger was looked through for them.
#[derive(Default)]
pub struct Machines {
    /// By key: until when what was received is about the one that was forgotten.
    until: BTreeMap<String, i64>,
    /// Rows that have not been looked at.
    rows: Vec<String>,
}

impl Machines {
    /// Whether there is something to be looked at.
    pub fn is_busy(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Takes in what was said so far; whether some of it is new.
    fn learn(&mut self, all: Vec<Forgotten>) -> bool {
        let until = all.into_iter().map(|one| (one.machine, one.at)).collect();
        let fresh = until != self.until && !BTreeMap::is_empty(&until);
        self.until = until;
        fresh
    }

    /// Whether what was received then about a machine is about one of them.
    pub fn hold(&self, machine: Option<&Machine>, received: i64) -> bool {
        let until = machine.and_then(Machine::key).and_then(|key| self.until.get(key));
        until.is_some_and(|until| received <= *until)
    }

    /// The same of a row with its line.
    fn hold_row(&self, row: &Delivery) -> bool {
        if self.until.is_empty() {
            return false;
        }
        let machine = json::get(&row.line, "machine").and_then(|text| serde_json::from_slice::<Machine>(text).ok());
        self.hold(machine.as_ref(), row.received)
    }
}

impl Queue {
    /// What is held is looked through when somebody was forgotten since.
    pub(super) fn learn_forgotten(&mut self, all: Vec<Forgotten>, tx: &mut Tx<'_>) -> Result<(), StageError> {
        if self.forgotten.learn(all) {
            self.forgotten.rows = ledger::held(tx)?;
            for (machine, until) in &self.forgotten.until {
                crate::incidents::forget_machine(tx, machine, *until)?;
                crate::digests::forget_machine(tx, machine, *until)?;
            }
        }
        Ok(())
    }

    /// Whether a delivery is about a machine that was forgotten. A digest says when it is told, its first match when that
    /// came.
    pub(super) fn is_forgotten(&self, row: &Delivery, event: &Event) -> bool {
        let received = if row.digest.is_empty() { row.received } else { event.received.ms() };
        self.forgotten.hold(event.machine.as_ref(), received)
    }

    /// Of a digest the matches of other machines are told all the same: its row gets the line of the first of them.
    /// `false`: there is none.
    pub(super) fn without_forgotten(&self, row: &Delivery, tx: &mut Tx<'_>) -> Result<bool, StageError> {
        if row.digest.is_empty() {
            return Ok(false);
        }
        let left = crate::digests::events(tx, &row.digest)?;
        let Some(mut first) = left.into_iter().find(|event| !self.is_forgotten(row, event)) else { return Ok(false) };
        let probe = first.probes.pop();
        let line = ledger::KeptLine::new(ledger::line_for(&mut first, probe));
        ledger::change_line(tx, &row.id, &line)?;
        Ok(true)
    }

    /// Drops what is about them, so many rows a turn. A try that is under way is looked at when it ends.
    pub(super) fn drop_forgotten(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let rest = self.forgotten.rows.len().saturating_sub(ROWS);
        for id in self.forgotten.rows.split_off(rest) {
            let Some(row) = ledger::row(tx, &id)?.filter(|row| self.forgotten.hold_row(row)) else { continue };
            if self.without_forgotten(&row, tx)? {
                continue;
            }
            match ledger::state(tx, &id)? {
                Some(State::Pending) => {}
                // It was no longer open: the end below takes one off.
                Some(State::Dead) => self.count_open(&row.action, 1),
                _ => continue,
            }
            self.end(&row, None, Outcome::Dropped, WHY, Details::default(), out, tx)?;
        }
        Ok(())
    }
}
