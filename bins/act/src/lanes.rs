//! One lane per action, so that a slow receiver holds up nobody else.
//!
//! A lane has a few places, pauses while its receiver is in trouble, and keeps its distance if it has a rate. One failure
//! is an accident and delays its own delivery; from the second in a row on it is trouble. Tries are prepared first and
//! started only by [`Lanes::launch`], after the commit that says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use event::Event;
use pipe::Waker;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::actions::Answer;
use crate::call::Call;
use crate::conf::{Common, Ready};
use crate::desk;
use crate::ledger::Delivery;

/// A try that is to begin.
struct Job {
    row: Delivery,
    /// What the action sees.
    call: Call,
    ready: Ready,
    /// Show instead of sending.
    dry_run: bool,
    /// Failures of its lane in a row when it was prepared.
    failures: u32,
}

/// A try that has ended.
pub struct Ended {
    /// Its row.
    pub row: Delivery,
    /// The match.
    pub event: Event,
    /// Kind of the action.
    pub kind: String,
    /// The action's settings when the try began.
    pub common: Common,
    /// What came of it.
    pub answer: Answer,
    /// What would have been sent.
    pub shown: Option<Value>,
    /// How long it took, in ms.
    pub ms: u64,
    /// Failures of its lane in a row when it was prepared.
    failures: u32,
}

#[derive(Default)]
struct Lane {
    under_way: usize,
    /// Failures in a row; those of tries that ran side by side are one.
    failures: u32,
    /// Nothing begins before, in ms since 1970.
    paused_until: i64,
}

impl Lane {
    fn most(&self, common: &Common) -> usize {
        if self.failures > 1 || common.spacing.is_some() { 1 } else { common.parallel }
    }
}

/// All lanes and the threads that work in them.
pub struct Lanes {
    runtime: Option<Runtime>,
    waker: Waker,
    to: Sender<Ended>,
    ended: Receiver<Ended>,
    waiting: Arc<AtomicUsize>,
    lanes: BTreeMap<String, Lane>,
    prepared: Vec<Job>,
}

impl Lanes {
    /// Starts the threads. `waker` is rung when a try has ended.
    pub fn start(waker: Waker) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(32)
            .thread_name("lanes")
            .enable_all()
            .build()?;
        let (to, ended) = channel();
        let (lanes, prepared) = (BTreeMap::new(), Vec::new());
        Ok(Self { runtime: Some(runtime), waker, to, ended, waiting: Arc::default(), lanes, prepared })
    }

    fn lane(&mut self, name: &str) -> &mut Lane {
        if !self.lanes.contains_key(name) {
            self.lanes.insert(name.to_owned(), Lane::default());
        }
        self.lanes.entry(name.to_owned()).or_default()
    }

    /// How many tries may begin now. While the receiver is in trouble it gets one at a time.
    pub fn places(&mut self, name: &str, common: &Common, now: i64) -> usize {
        let lane = self.lane(name);
        if lane.paused_until > now {
            return 0;
        }
        lane.most(common).saturating_sub(lane.under_way)
    }

    /// The earliest time at which places may become free by time alone; none: it waits for a try to end.
    pub fn opens_at(&mut self, name: &str, common: &Common) -> Option<i64> {
        let lane = self.lane(name);
        (lane.under_way < lane.most(common)).then_some(lane.paused_until)
    }

    /// Prepares a try; a dry run shows instead of sending.
    pub fn prepare(&mut self, row: Delivery, call: Call, ready: Ready, dry_run: bool, now: i64) {
        let lane = self.lane(&row.action);
        lane.under_way += 1;
        if let Some(spacing) = ready.common.spacing {
            lane.paused_until = now.saturating_add(ms(spacing));
        }
        let failures = lane.failures;
        self.prepared.push(Job { row, call, ready, dry_run, failures });
    }

    /// Begins what was prepared; its rows are committed.
    pub fn launch(&mut self) {
        let Some(runtime) = &self.runtime else { return };
        for job in self.prepared.drain(..) {
            let (to, waker, waiting) = (self.to.clone(), self.waker.clone(), self.waiting.clone());
            let handle = runtime.handle().clone();
            runtime.spawn(async move {
                let Job { row, call, ready, dry_run, failures } = job;
                let (event, begun) = (call.event.clone(), Instant::now());
                let (kind, common) = (ready.kind.clone(), ready.common.clone());
                // A fault inside an action ends its task, not the lane.
                let tried = handle.spawn(async move { attempt(&ready, &call, dry_run).await }).await;
                let (answer, shown) = tried.unwrap_or_else(|_| (Answer::unsure("internal fault of the action"), None));
                let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let ended = Ended { row, event, kind, common, answer, shown, ms, failures };
                if to.send(ended).is_ok() {
                    waiting.fetch_add(1, Ordering::AcqRel);
                    waker.ring();
                }
            });
        }
    }

    /// Whether a try has ended since [`Lanes::take`].
    pub fn has_ended(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// The tries that have ended.
    pub fn take(&mut self) -> Vec<Ended> {
        self.waiting.store(0, Ordering::Release);
        let all: Vec<Ended> = self.ended.try_iter().collect();
        for ended in &all {
            let lane = self.lane(&ended.row.action);
            lane.under_way = lane.under_way.saturating_sub(1);
        }
        all
    }

    /// The receiver works: there are no failures in a row.
    pub fn went_well(&mut self, name: &str) -> u32 {
        self.lane(name).failures = 0;
        0
    }

    /// A try failed in a way that says something about the receiver: how many that makes in a row. What failed beside
    /// another was begun before anybody knew, so it is no further one.
    pub fn failed(&mut self, ended: &Ended) -> u32 {
        let lane = self.lane(&ended.row.action);
        lane.failures = lane.failures.max(ended.failures.saturating_add(1));
        lane.failures
    }

    /// Nothing begins in this lane before `until`.
    pub fn pause(&mut self, name: &str, until: i64) {
        let lane = self.lane(name);
        lane.paused_until = lane.paused_until.max(until);
    }

    /// Tries begun or prepared whose end has not been taken.
    pub fn under_way(&self) -> usize {
        self.lanes.values().map(|lane| lane.under_way).sum()
    }

    /// Tries that have ended since [`Lanes::take`].
    #[cfg(test)]
    pub fn ended(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits a little for a try to end.
    pub fn wait(&self, timeout: Duration) {
        if !self.has_ended() {
            self.waker.wait(timeout);
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One try; a dry run shows what would be sent, beside an answer that says whether anything could be.
pub async fn attempt(ready: &Ready, call: &Call, dry_run: bool) -> (Answer, Option<Value>) {
    let limit = ready.common.timeout;
    let over = || Answer::unsure(format!("no answer within {} s", limit.as_secs_f64()));
    if dry_run {
        return match tokio::time::timeout(limit, ready.action.show(call)).await {
            Ok(Ok(shown)) => (Answer::done(None), Some(shown)),
            Ok(Err(why)) => (Answer::never(None, why), None),
            Err(_) => (over(), None),
        };
    }
    let answer = desk::within(limit, ready.action.send(call)).await.unwrap_or_else(|begun| {
        let not_yet = || Answer::later(None, format!("its turn did not come within {} s", limit.as_secs_f64()));
        if begun { over() } else { not_yet() }
    });
    (answer, None)
}

/// Whole milliseconds.
pub fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
