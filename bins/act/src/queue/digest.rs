//! Digests on their way into the ledger.

use event::Event;
use pipe::StageError;
use registry::db::Tx;

use super::Queue;
use crate::conf::Ready;
use crate::digests::{self, Digest, Member};
use crate::lanes::ms;
use crate::ledger::{self, Delivery, KeptLine, State};

/// Digests that are sealed in one turn.
const AT_ONCE: u64 = 100;

impl Queue {
    /// Takes a match into the digest of its action and target, if the action gathers. `false`: it does not.
    pub(super) fn gather(
        &mut self,
        event: &Event,
        row: &Delivery,
        ready: &Ready,
        tx: &mut Tx<'_>,
    ) -> Result<bool, StageError> {
        let Some(time) = ready.common.digest.filter(|_| !self.mode.no_ledger) else { return Ok(false) };
        let mut event = event.clone();
        if let (Some(state), Some(probe)) = (row.told.state, event.probes.first_mut()) {
            probe.extra.insert("state".to_owned(), state.word().into());
        }
        let mut line = Vec::new();
        event.write(&mut line);
        let (line, probe, told) = (line.as_slice(), row.probe.as_str(), row.told.text());
        let member = Member { event: &event, line, probe, nonce: row.nonce, told };
        let added = digests::add(&row.action, &row.target, ms(time), &member, self.now(), tx)?;
        if let Some(over) = added.over {
            self.gathering = self.gathering.saturating_sub(1);
            self.enter(&over, tx)?;
        }
        if added.begun {
            self.gathering += 1;
        }
        self.digest_at = self.digest_at.min(added.tell);
        Ok(true)
    }

    /// Seals what has gathered for long enough.
    pub(super) fn seal_due(&mut self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        self.seal_until(self.now(), tx)
    }

    /// Seals all that gathers: of recorded lines, whose clock stands still with the last of them.
    pub fn seal_all(&mut self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        self.seal_until(i64::MAX, tx)
    }

    fn seal_until(&mut self, until: i64, tx: &mut Tx<'_>) -> Result<(), StageError> {
        if self.gathering == 0 || self.digest_at > until {
            return Ok(());
        }
        for digest in digests::due(tx, until, AT_ONCE)? {
            digests::seal(&digest, tx)?;
            self.enter(&digest, tx)?;
        }
        (self.gathering, self.digest_at) = digests::open(tx)?;
        Ok(())
    }

    /// A sealed digest becomes a delivery.
    fn enter(&mut self, digest: &Digest, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let Some(first) = digests::events(tx, &digest.id)?.into_iter().next() else {
            tracing::info!("a digest of {} was about machines that were forgotten", digest.action);
            return Ok(());
        };
        let mut first = first;
        let probe = first.probes.pop();
        let now = self.now();
        self.seq = now.saturating_mul(1 << 20).max(self.seq + 1);
        let mut row = Delivery::new(&first, &digest.probe, &digest.action, &digest.target, digest.nonce());
        row.digest.clone_from(&digest.id);
        row.told = digest.kept();
        // Its age counts from when it was to be told: who came late is not stale for the first one's sake.
        row.received = digest.due.min(now).max(digest.received);
        let give_up = self.actions.get(&digest.action).map_or(0, |ready| ms(ready.common.give_up));
        row.expires = now.saturating_add(give_up);
        let line = KeptLine::new(ledger::line_for(&mut first, probe));
        if ledger::insert(tx, &row, Some(&line.id), State::Pending, self.seq, now)? {
            ledger::keep(tx, &line)?;
            self.count_open(&digest.action, 1);
            (self.wake_at, self.look_for_gone) = (i64::MIN, true);
        } else {
            tracing::error!("action {}: a digest of {} matches was there before", digest.action, digest.count);
        }
        Ok(())
    }
}
