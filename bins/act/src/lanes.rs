//! One lane per action, so that a slow receiver holds up nobody else.
//!
//! A lane has a few places, pauses while its receiver is in trouble, and keeps its distance if it has a rate. One failure
//! is an accident and delays its own delivery; from the second in a row on it is trouble. Tries are prepared first and
//! started only by [`Lanes::launch`], after the commit that says so. Since a commit takes longer than most tries, a place
//! takes a run of them: one after the other, until one fails or the run has taken its time; the rest goes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event::Event;
use pipe::Waker;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::actions::{Answer, Verdict};
use crate::call::Call;
use crate::conf::{Common, Ready};
use crate::desk;
use crate::ledger::Delivery;

/// Tries of a run, at most.
const RUN_TRIES: usize = 64;
/// A run begins nothing more after so long: what a crash makes uncertain stays little.
const RUN_TIME: Duration = Duration::from_millis(100);
/// A lane with a rate may be so much behind its times and make up for it.
const LATE: Duration = Duration::from_millis(20);

/// A try that is to begin.
pub struct Try {
    /// Its row.
    pub row: Delivery,
    /// What the action sees.
    pub call: Call,
}

/// Tries that begin one after the other.
struct Run {
    tries: Vec<Try>,
    ready: Ready,
    /// Show instead of sending.
    dry_run: bool,
    /// Failures of its lane in a row when it was prepared.
    failures: u32,
    pace: Arc<Mutex<Instant>>,
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
    /// The last of its run: the rows that were not begun.
    pub rest: Option<Vec<Delivery>>,
    /// Failures of its lane in a row when it was prepared.
    failures: u32,
}

impl Ended {
    /// How many tries are under way no more.
    fn tries(&self) -> usize {
        1 + self.rest.as_ref().map_or(0, Vec::len)
    }
}

struct Lane {
    /// Runs whose end has not been taken, and their tries.
    runs: usize,
    under_way: usize,
    /// Failures in a row; those of tries that ran side by side are one.
    failures: u32,
    /// Nothing begins before, in ms since 1970.
    paused_until: i64,
    /// When the next try may begin, if there is a rate.
    pace: Arc<Mutex<Instant>>,
}

impl Default for Lane {
    fn default() -> Self {
        let pace = Arc::new(Mutex::new(Instant::now()));
        Self { runs: 0, under_way: 0, failures: 0, paused_until: 0, pace }
    }
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
    stopping: Arc<AtomicBool>,
    lanes: BTreeMap<String, Lane>,
    prepared: Vec<Run>,
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
        let (waiting, stopping) = (Arc::default(), Arc::default());
        let (lanes, prepared) = (BTreeMap::new(), Vec::new());
        Ok(Self { runtime: Some(runtime), waker, to, ended, waiting, stopping, lanes, prepared })
    }

    fn lane(&mut self, name: &str) -> &mut Lane {
        if !self.lanes.contains_key(name) {
            self.lanes.insert(name.to_owned(), Lane::default());
        }
        self.lanes.entry(name.to_owned()).or_default()
    }

    /// How many runs may begin now. While the receiver is in trouble it gets one try at a time.
    pub fn places(&mut self, name: &str, common: &Common, now: i64) -> usize {
        let lane = self.lane(name);
        if lane.paused_until > now {
            return 0;
        }
        lane.most(common).saturating_sub(lane.runs)
    }

    /// How many tries a run may have. What may not be repeated is tried alone: after a crash nobody would know which of
    /// them were begun.
    pub fn run_length(&mut self, name: &str, common: &Common) -> usize {
        if self.lane(name).failures > 0 || !common.repeatable {
            return 1;
        }
        let fit = |spacing: Duration| RUN_TIME.as_nanos().checked_div(spacing.as_nanos()).unwrap_or(u128::MAX);
        let fit = common.spacing.map_or(RUN_TRIES, |spacing| usize::try_from(fit(spacing)).unwrap_or(RUN_TRIES));
        fit.clamp(1, RUN_TRIES)
    }

    /// The earliest time at which places may become free by time alone; none: it waits for a try to end.
    pub fn opens_at(&mut self, name: &str, common: &Common) -> Option<i64> {
        let lane = self.lane(name);
        (lane.runs < lane.most(common)).then_some(lane.paused_until)
    }

    /// Prepares tries of one action, at most so many runs of them; a dry run shows instead of sending.
    pub fn prepare(&mut self, name: &str, mut tries: Vec<Try>, runs: usize, ready: &Ready, dry_run: bool, now: i64) {
        let length = tries.len().div_ceil(runs.max(1)).max(1);
        while !tries.is_empty() {
            let rest = tries.split_off(length.min(tries.len()));
            let lane = self.lane(name);
            lane.runs += 1;
            lane.under_way += tries.len();
            if let Some(spacing) = ready.common.spacing {
                let all = spacing.saturating_mul(u32::try_from(tries.len()).unwrap_or(u32::MAX));
                lane.paused_until = now.saturating_add(ms(all));
            }
            let (failures, pace) = (lane.failures, lane.pace.clone());
            let tries = std::mem::replace(&mut tries, rest);
            self.prepared.push(Run { tries, ready: ready.clone(), dry_run, failures, pace });
        }
    }

    /// Begins what was prepared; its rows are committed.
    pub fn launch(&mut self) {
        let Some(runtime) = &self.runtime else { return };
        for run in self.prepared.drain(..) {
            let (to, waker, waiting) = (self.to.clone(), self.waker.clone(), self.waiting.clone());
            runtime.spawn(run.go(self.stopping.clone(), move |ended| {
                let tries = ended.tries();
                if to.send(ended).is_ok() {
                    waiting.fetch_add(tries, Ordering::AcqRel);
                    waker.ring();
                }
            }));
        }
    }

    /// Runs begin no further try.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
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
            lane.under_way = lane.under_way.saturating_sub(ended.tries());
            lane.runs = lane.runs.saturating_sub(usize::from(ended.rest.is_some()));
        }
        all
    }

    /// The receiver works: there are no failures in a row any more. How many there were.
    pub fn went_well(&mut self, name: &str) -> u32 {
        std::mem::take(&mut self.lane(name).failures)
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

impl Run {
    /// Tries one after the other, and tells how each ended.
    async fn go(self, stopping: Arc<AtomicBool>, tell: impl Fn(Ended)) {
        let Self { tries, ready, dry_run, failures, pace } = self;
        let (begun, mut tries) = (Instant::now(), tries.into_iter());
        while let Some(Try { row, call }) = tries.next() {
            if let Some(spacing) = ready.common.spacing {
                wait_for_turn(&pace, spacing).await;
            }
            let (event, at, own) = (call.event.clone(), Instant::now(), ready.clone());
            // A fault inside an action ends its task, not the lane.
            let tried = tokio::spawn(async move { attempt(&own, &call, dry_run).await }).await;
            let (answer, shown) = tried.unwrap_or_else(|_| (Answer::unsure("internal fault of the action"), None));
            let ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            let failed = matches!(answer.verdict, Verdict::Later { .. });
            let over = failed || begun.elapsed() >= RUN_TIME || stopping.load(Ordering::Acquire) || tries.len() == 0;
            let rest = over.then(|| tries.by_ref().map(|not_begun| not_begun.row).collect());
            let (kind, common) = (ready.kind.clone(), ready.common.clone());
            tell(Ended { row, event, kind, common, answer, shown, ms, rest, failures });
        }
    }
}

/// Waits until a lane with a rate may begin its next try.
async fn wait_for_turn(pace: &Mutex<Instant>, spacing: Duration) {
    let at = {
        let mut next = pace.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = Instant::now().checked_sub(LATE).unwrap_or(*next);
        let at = earliest.max(*next);
        *next = at.checked_add(spacing).unwrap_or(at);
        at
    };
    tokio::time::sleep_until(at.into()).await;
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
