//! Work on the ledger: what ended is written down, what is due is prepared, what is over is forgotten. Everything
//! happens inside the loop's transaction; nothing is sent in here.

mod digest;
mod ends;
mod fill;
mod forget;
mod happened;
mod obey;
mod ready;

use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Event, Time};
use pipe::{Out, StageError, Waker};
use registry::db::Tx;

use crate::brakes::Brakes;
use crate::conf::Ready;
use crate::digests;
use crate::lanes::{Lanes, ms};
use crate::ledger::{self, Delivery, KeptLine, State};
use crate::metrics::Counts;
use crate::orders::Watch;
use crate::outcome::{Details, Outcome};
use crate::retry::Chance;
use crate::told::Kept;

/// How often old rows are looked for.
const FORGET_EVERY_MS: i64 = 600_000;
/// How often rows that should give up are looked for.
const SWEEP_EVERY_MS: i64 = 1_000;
/// How long a test is tried: nobody wants to hear of it tomorrow.
const TEST_MS: i64 = 60_000;
/// What is said of a match that is too old.
const STALE: &str = "older than max_age";

/// The time in ms since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How this `act` works.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// Nothing is sent; what would be goes to the output.
    pub dry_run: bool,
    /// Nothing is remembered.
    pub no_ledger: bool,
    /// The clock is the newest `received`: recorded lines are judged as on their own day, and nothing is sent.
    pub recorded: bool,
}

/// The ledger and its lanes.
pub struct Queue {
    /// The actions that are in force.
    pub actions: BTreeMap<String, Ready>,
    /// Base of the hub's URLs.
    pub url: Option<String>,
    mode: Mode,
    /// It works between pipes: nobody can give it orders.
    alone: bool,
    clock: Clock,
    chance: Chance,
    counts: Counts,
    /// Actions that cannot be made ready, and why, as last told.
    waiting: BTreeMap<String, String>,
    lanes: Lanes,
    watch: Option<Watch>,
    forgotten: forget::Machines,
    brakes: Brakes,
    open: BTreeMap<String, u64>,
    /// Digests that gather, and when the first of them is due.
    gathering: u64,
    digest_at: i64,
    seq: i64,
    newest: i64,
    wake_at: i64,
    forget_at: i64,
    sweep_at: i64,
    /// Rows whose try was cut off by the end of the last process have not been looked at yet.
    recovering: bool,
    /// Waiting rows may be for actions that are gone.
    look_for_gone: bool,
    stopping: bool,
    /// Deliveries that went to the dead letters.
    pub died: u64,
}

/// What a queue is made of.
pub struct Parts {
    /// The actions.
    pub actions: BTreeMap<String, Ready>,
    /// Base of the hub's URLs.
    pub url: Option<String>,
    /// How it works.
    pub mode: Mode,
    /// The time.
    pub clock: Clock,
    /// Random numbers for pauses.
    pub chance: Chance,
    /// What is counted.
    pub counts: Counts,
    /// It works between pipes: nobody can give it orders.
    pub alone: bool,
    /// Orders, if there is a registry.
    pub watch: Option<Watch>,
    /// Rung when there is something to do.
    pub waker: Waker,
}

impl Queue {
    /// Takes up the ledger as the last process left it.
    pub fn start(parts: Parts, tx: &mut Tx<'_>) -> Result<Self, StageError> {
        let lanes = Lanes::start(parts.waker).map_err(|e| StageError::state(format!("cannot start threads: {e}")))?;
        let mut open = BTreeMap::new();
        for (action, n) in ledger::open(tx)? {
            *open.entry(action).or_default() += n;
        }
        let brakes = Brakes::load(tx)?;
        let (gathering, digest_at) = digests::open(tx)?;
        let mut queue = Self {
            actions: parts.actions,
            url: parts.url,
            mode: parts.mode,
            alone: parts.alone,
            clock: parts.clock,
            chance: parts.chance,
            counts: parts.counts,
            waiting: BTreeMap::new(),
            lanes,
            watch: parts.watch,
            forgotten: forget::Machines::default(),
            brakes,
            open,
            gathering,
            digest_at,
            seq: ledger::last_seq(tx)?,
            newest: i64::MIN,
            wake_at: i64::MIN,
            forget_at: i64::MIN,
            sweep_at: i64::MIN,
            recovering: true,
            look_for_gone: true,
            stopping: false,
            died: 0,
        };
        for action in queue.open.keys() {
            queue.gauge(action);
        }
        queue.tell_waiting();
        if let Some(before) = queue.watch.as_mut().map(Watch::before) {
            queue.learn_forgotten(before, tx)?;
        }
        Ok(queue)
    }

    /// What counts as now.
    pub fn now(&self) -> i64 {
        if self.mode.recorded { self.newest } else { (self.clock)() }
    }

    /// A line of this age was read.
    pub fn saw(&mut self, received: Time) {
        self.newest = self.newest.max(received.ms());
    }

    /// Whether [`Queue::turn`] has something to do.
    pub fn due(&self) -> bool {
        let now = self.now();
        self.recovering
            || self.lanes.has_ended()
            || self.watch.as_ref().is_some_and(Watch::rang)
            || self.forgotten.is_busy()
            || (self.gathering > 0 && (self.digest_at <= now || self.mode.recorded))
            || (self.is_open()
                && (self.look_for_gone || self.wake_at <= now || (!self.mode.recorded && self.sweep_at <= now)))
    }

    /// Whether deliveries wait or are being tried.
    pub fn is_open(&self) -> bool {
        self.gathering > 0 || self.open.values().any(|n| *n > 0)
    }

    /// How many deliveries wait or are being tried.
    pub fn open(&self) -> u64 {
        self.open.values().sum()
    }

    /// Begins nothing more; whether tries are still under way.
    pub fn stop(&mut self) -> bool {
        self.stopping = true;
        self.lanes.stop();
        self.lanes.under_way() > 0
    }

    /// Tries that were begun and whose end was not taken.
    #[cfg(test)]
    pub fn under_way(&self) -> usize {
        self.lanes.under_way()
    }

    /// Of those, how many have ended.
    #[cfg(test)]
    pub fn ended(&self) -> usize {
        self.lanes.ended()
    }

    /// Lets an action go on.
    #[cfg(test)]
    pub fn resume(&mut self, name: &str, tx: &mut Tx<'_>) -> Result<(), StageError> {
        self.brakes.resume(name, tx)?;
        self.wake_at = i64::MIN;
        Ok(())
    }

    /// Waits a little for a try to end.
    pub fn wait(&self) {
        self.lanes.wait(std::time::Duration::from_millis(100));
    }

    /// After the commit: the tries that were prepared begin.
    pub fn launch(&mut self) {
        self.lanes.launch();
    }

    /// A new delivery of `event` (which carries the one probe it is about). `false`: it is in the ledger already.
    /// `nonce` tells what was done by hand apart; else 0.
    #[expect(clippy::too_many_arguments, reason = "what a delivery is made of, and where it goes")]
    pub fn add(
        &mut self,
        event: &Event,
        line: &KeptLine,
        action: &str,
        kept_of: &Kept,
        nonce: u64,
        out: &mut Out,
        tx: &mut Tx<'_>,
    ) -> Result<bool, StageError> {
        let (now, ready) = (self.now(), self.actions.get(action).cloned());
        let targets = ready.as_ref().map_or_else(|| vec![String::new()], |r| r.targets.clone());
        let probe = event.probes.first().map_or("", |p| p.name.as_str());
        let (mut any, mut kept) = (false, false);
        for target in if targets.is_empty() { vec![String::new()] } else { targets.clone() } {
            self.seq = now.saturating_mul(1 << 20).max(self.seq + 1);
            // What is done by hand is done now, however old the match is.
            let by_hand = nonce != 0;
            let nonce = if self.mode.no_ledger { self.seq.unsigned_abs() } else { nonce };
            let mut row = Delivery::new(event, probe, action, &target, nonce);
            row.told.clone_from(kept_of);
            if by_hand {
                row.received = now;
            }
            row.incident = kept_of.incident.as_ref().map(|incident| incident.id.clone()).unwrap_or_default();
            // By hand and of no incident: somebody tries the action, and waits for what comes of it.
            let is_test = by_hand && row.incident.is_empty();
            let mut kind = String::new();
            let muted = self.muted(action, row.received);
            let ended = match &ready {
                _ if muted.is_some() && !row.told.ends() => {
                    Some((Outcome::Dropped, muted.as_deref().unwrap_or_default()))
                }
                _ if self.forgotten.hold(event.machine.as_ref(), row.received) => Some((Outcome::Dropped, forget::WHY)),
                None => Some((Outcome::Dead, "there is no action of this name (action_gone)")),
                Some(ready) => {
                    kind.clone_from(&ready.kind);
                    let give_up = if is_test { TEST_MS } else { ms(ready.common.give_up) };
                    row.expires = now.saturating_add(give_up);
                    if targets.is_empty() {
                        Some((Outcome::Dead, "there is nobody to tell"))
                    } else if is_stale(&row, ready, now) {
                        Some((Outcome::Stale, STALE))
                    } else {
                        None
                    }
                }
            };
            match (&ended, &ready) {
                (Some((_, error)), _) => row.error = (*error).to_owned(),
                (None, Some(ready)) if !is_test && self.gather(event, &row, ready, tx)? => {
                    any = true;
                    continue;
                }
                (None, _) => {}
            }
            let state = ended.map_or(State::Pending, |(outcome, _)| outcome.state());
            let of = state.keeps_line().then_some(line.id.as_str());
            if !ledger::insert(tx, &row, of, state, self.seq, now)? {
                continue;
            }
            any = true;
            if of.is_some() && !std::mem::replace(&mut kept, true) {
                ledger::keep(tx, line)?;
            }
            match ended {
                None => {
                    self.count_open(action, 1);
                    self.wake_at = i64::MIN;
                }
                Some((outcome, error)) => {
                    let details = Details { kind, error: error.to_owned(), ..Details::default() };
                    self.tell(&row, event, outcome, &details, out);
                }
            }
        }
        Ok(any)
    }

    /// One round: ends, orders, what is over, what is due.
    pub fn turn(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        if std::mem::take(&mut self.recovering) {
            self.recover(out, tx)?;
        }
        for ended in self.lanes.take() {
            self.settle(ended, out, tx)?;
        }
        self.obey(out, tx)?;
        self.drop_forgotten(out, tx)?;
        self.seal_due(tx)?;
        let now = self.now();
        if !self.mode.recorded {
            if now >= self.sweep_at {
                self.sweep_at = now.saturating_add(SWEEP_EVERY_MS);
                self.sweep(out, tx)?;
            }
            if now >= self.forget_at {
                self.forget_at = now.saturating_add(FORGET_EVERY_MS);
                self.forget(tx)?;
            }
        }
        if std::mem::take(&mut self.look_for_gone) {
            self.bury_gone(out, tx)?;
        }
        self.fill(out, tx)
    }

    fn count_open(&mut self, action: &str, n: u64) {
        *self.open.entry(action.to_owned()).or_default() += n;
        self.gauge(action);
    }

    fn uncount_open(&mut self, action: &str) {
        if let Some(n) = self.open.get_mut(action) {
            *n = n.saturating_sub(1);
        }
        self.gauge(action);
    }

    fn gauge(&self, action: &str) {
        let n = self.open.get(action).copied().unwrap_or(0);
        self.counts.pending.with_label_values(&[action]).set(i64::try_from(n).unwrap_or(i64::MAX));
    }
}

/// Whether a match is too old to be acted upon. What was tried has been acted upon, and an order to try a dead letter
/// again holds whatever its age.
fn is_stale(row: &Delivery, ready: &Ready, now: i64) -> bool {
    // What was begun is ended, however late.
    row.tries == 0 && row.round == 0 && !row.told.ends() && now.saturating_sub(row.received) > ms(ready.common.max_age)
}
