//! Which matches are acted upon: by the conditions of their probe, as `act` judges them, each match of an event once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use act::conditions::{self, Decision};
use act::incidents;
use act::ledger::SCHEMA;
use event::{Time, json};
use pipe::StageError;
use probe::Found;
use registry::db::{Db, Tx};

use super::pairs::Side;
use crate::judge;

/// Matches that are remembered, so that a repeat is known; twice as many at most.
const SEEN_MAX: usize = 1 << 19;
/// Matches after which what can have no effect any more is forgotten.
const FORGET_EVERY: u64 = 4096;
/// No condition looks further back.
const BACK_MS: i64 = 31 * 86_400_000;

/// Judges the matches of one side, in the order of events. Nothing is known of what came before the first of them.
pub struct Judge<'s, 'd> {
    side: &'s Side,
    tx: Tx<'d>,
    seen: [HashSet<u64>; 2],
    judged: u64,
    newest: i64,
}

/// The memory that a judge needs.
pub fn memory() -> Result<Db, StageError> {
    Ok(Db::memory(&[SCHEMA])?)
}

impl<'s, 'd> Judge<'s, 'd> {
    /// Has judged nothing yet.
    pub fn new(side: &'s Side, db: &'d mut Db) -> Result<Self, StageError> {
        Ok(Self { side, tx: db.begin()?, seen: Default::default(), judged: 0, newest: i64::MIN })
    }

    /// Whether the actions of this match are told.
    pub fn acts(&mut self, found: &Found, line: &[u8], received: Time) -> Result<bool, StageError> {
        let Some(spec) = self.side.set.spec(found.probe) else { return Ok(false) };
        let actions = self.side.acts.get(found.probe).map_or(0, Vec::len);
        let remembers = self.side.conditions.remembers(&spec.name);
        if spec.shadow || (actions == 0 && !remembers) {
            return Ok(false);
        }
        let id = json::get(line, "id").and_then(json::parse_str).unwrap_or_default();
        if !id.is_empty() && self.is_repeat(found.probe, &id) {
            return Ok(false);
        }
        if !self.side.conditions.has(&spec.name) {
            return Ok(true);
        }
        let Some(matched) = self.side.set.annotation(found) else { return Ok(false) };
        let event = judge::event(line, id.into_owned(), received);
        let decision =
            self.side.conditions.decide(&event, &matched, &mut matched.act.clone(), &mut Vec::new(), &mut self.tx)?;
        self.judged += 1;
        self.newest = self.newest.max(received.ms());
        if self.judged.is_multiple_of(FORGET_EVERY) {
            conditions::forget(&mut self.tx, self.newest.saturating_sub(BACK_MS))?;
            incidents::forget(&mut self.tx, i64::MAX)?;
        }
        Ok(matches!(decision, Decision::Act(_)) && actions > 0)
    }

    fn is_repeat(&mut self, probe: usize, id: &str) -> bool {
        let mut hash = DefaultHasher::new();
        (probe, id).hash(&mut hash);
        let hash = hash.finish();
        let [seen, before] = &mut self.seen;
        if before.contains(&hash) || !seen.insert(hash) {
            return true;
        }
        if seen.len() >= SEEN_MAX {
            *before = std::mem::take(seen);
        }
        false
    }
}
