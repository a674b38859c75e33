//! The store as a stage: which lines are kept, and the verdict on each. How they are kept is the store's business.

mod forgotten;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Time, json};
use pipe::config::{Config, Settings, render};
use pipe::{Context, Line, Out, Stage, StageError};
use probe::{Decision, Limits, Program};
use prometheus::{Histogram, IntCounterVec};
use registry::db::Tx;

use crate::cluster::bulk::Stop;
use crate::conf::{Chosen, Conf};
use crate::index::{Gone, Head, Verdict};
use crate::search::{Finder, Search};
use crate::stores::{Answers, Around, Store};

/// A batch of fewer lines that is not full comes this long after the one before at the earliest, so that a trickle is
/// gathered.
const SMALL: usize = 1000;
/// See [`SMALL`].
const PAUSE: Duration = Duration::from_millis(200);
/// How often days that are past retention are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// What "now" is, for retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The wall clock.
    #[default]
    Wall,
    /// The newest `received` that was read: recorded lines are judged as on their own day.
    Recorded,
}

/// The stage.
pub struct Keeper {
    name: String,
    store: Box<dyn Store>,
    kind: &'static str,
    chosen: Chosen,
    clock: Clock,
    newest: Time,
    tidied: Option<Instant>,
    stored: Option<Instant>,
    forgotten: forgotten::Machines,
    metrics: Option<OwnMetrics>,
    stop: Stop,
}

struct OwnMetrics {
    delay: Histogram,
    failures: IntCounterVec,
}

impl Keeper {
    /// A store by its settings: a table of the configuration, or words of the command line.
    pub fn new(settings: &Settings, config: &Config, clock: Clock) -> Result<Self, StageError> {
        let Conf { store, kind, chosen, .. } =
            Conf::read(settings, config).map_err(|f| StageError::usage(render(&f)))?;
        let name = settings.name().to_owned();
        Ok(Self {
            name,
            store,
            kind,
            chosen,
            clock,
            newest: Time::default(),
            tidied: None,
            stored: None,
            forgotten: forgotten::Machines::default(),
            metrics: None,
            stop: Arc::new(|| false),
        })
    }

    /// What answers for this store.
    pub fn answers(&self) -> Answers {
        let finder = self.store.finder();
        Arc::new(move |path, query| crate::ask::answer(finder.as_deref()?, path, query))
    }

    /// Writes what the store needs on its other side, or, with a folder, the files of it.
    pub fn setup(&mut self, to: Option<&Path>) -> Result<Vec<String>, StageError> {
        self.store.setup(to)
    }

    /// Looks at `stop` where it has to wait for another side.
    pub fn stops_with(&mut self, stop: Stop) {
        self.stop = stop;
    }

    fn now(&self) -> Time {
        match self.clock {
            Clock::Wall => Time::now(),
            Clock::Recorded => self.newest,
        }
    }

    /// Why a line is not wanted; a filter that fails does not match.
    fn unwanted(&self, line: &[u8]) -> Result<Option<&'static str>, String> {
        let Chosen { include, exclude } = &self.chosen;
        if include.is_none() && exclude.is_none() {
            return Ok(None);
        }
        let event = probe::parse(line).map_err(|e| e.to_string())?;
        let received = event.get("received").and_then(|r| r.as_str()).and_then(|r| r.parse::<Time>().ok());
        let now = received.unwrap_or_default().ms();
        if include.as_ref().is_some_and(|program| !self.matches("include", program, &event, now)) {
            return Ok(Some("not_included"));
        }
        Ok(exclude.as_ref().filter(|program| self.matches("exclude", program, &event, now)).map(|_| "excluded"))
    }

    fn matches(&self, which: &str, program: &Program, event: &probe::Val, now: i64) -> bool {
        let reason = match program.decide(event, now, &Limits::default()) {
            Decision::Yes(_) => return true,
            Decision::No => return false,
            Decision::Failed(why) => {
                tracing::debug!("{which}: {why}");
                "error"
            }
            Decision::Exceeded(limit) => limit.as_str(),
        };
        if let Some(metrics) = &self.metrics {
            metrics.failures.with_label_values(&[which, reason]).inc();
        }
        false
    }

    fn refuse(out: &mut Out, line: &Line<'_>, verdict: Verdict) {
        match verdict {
            Verdict::Stored => out.done(),
            Verdict::TooOld => out.refused(line, "too_old", "older than what is kept"),
            Verdict::TooNew => out.refused(line, "too_new", "more than a day ahead"),
            Verdict::NotTaken(why) => out.refused(line, "not_taken", why),
            Verdict::Bad(why) => out.refused(line, "not_an_event", format!("not an event: {why}")),
        }
    }

    /// Drops what is about machines that are gone, then stores lines, a verdict each.
    fn keep(&mut self, gone: &[Gone], wanted: Vec<&Line<'_>>, out: &mut Out) -> Result<(), StageError> {
        if !gone.is_empty() {
            let keys: Vec<&str> = gone.iter().filter_map(|gone| gone.machine.key()).collect();
            tracing::info!("drops the events of {}, which was forgotten", keys.join(", "));
            self.store.forget(gone)?;
        }
        let bytes: Vec<&[u8]> = wanted.iter().map(|line| line.bytes).collect();
        if self.clock == Clock::Recorded {
            let newest = bytes.iter().filter_map(|line| Head::read(line).ok()).map(|head| head.received).max();
            self.newest = self.newest.max(newest.unwrap_or_default());
        }
        let verdicts = self.store.store(&bytes, self.now())?;
        for (line, verdict) in wanted.into_iter().zip(verdicts) {
            if verdict == Verdict::Stored {
                self.observe_delay(line.bytes);
            }
            Self::refuse(out, line, verdict);
        }
        Ok(())
    }

    fn observe_delay(&self, line: &[u8]) {
        if let Some(metrics) = &self.metrics
            && let Some(received) = received(line)
        {
            metrics.delay.observe((Time::now().ms().saturating_sub(received.ms()).max(0)) as f64 / 1000.0);
        }
    }
}

fn received(line: &[u8]) -> Option<Time> {
    json::parse_str(json::get(line, "received")?)?.parse().ok()
}

impl Stage for Keeper {
    fn outputs(&self) -> &'static [&'static str] {
        &[]
    }

    fn start(&mut self, context: &Context, _: &mut Tx<'_>) -> Result<(), StageError> {
        self.forgotten.read(&context.config, self.now());
        self.store.start(&Around { metrics: context.metrics.clone(), stop: self.stop.clone() });
        self.metrics = Some(OwnMetrics {
            delay: context.metrics.seconds("zentral_event_delay_seconds", "From received to stored."),
            failures: context.metrics.counters(
                "zentral_store_filter_failures_total",
                "Runs of include or exclude that failed, which is no match.",
                &["filter", "reason"],
            ),
        });
        Ok(())
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        // Half of it is enough to be full: a line is read whole or not at all.
        let full = lines.iter().map(|line| line.bytes.len() + 1).sum::<usize>() > self.store.batch_bytes() / 2;
        if lines.len() < SMALL
            && !full
            && let Some(left) = self.stored.and_then(|at| PAUSE.checked_sub(at.elapsed()))
        {
            std::thread::sleep(left);
        }
        let orders: Vec<Option<Gone>> = lines.iter().map(|line| forgotten::order(line.bytes)).collect();
        self.forgotten.learn(orders.iter().flatten());
        let mut wanted = Vec::with_capacity(lines.len());
        for (line, order) in lines.iter().zip(&orders) {
            // Not kept among the refused either. The order itself tells that it was given.
            if order.is_none() && self.forgotten.hold(line.bytes) {
                out.ignored("forgotten");
                continue;
            }
            match self.unwanted(line.bytes) {
                Ok(None) => wanted.push(line),
                Ok(Some(reason)) => out.ignored(reason),
                Err(why) => Self::refuse(out, line, Verdict::Bad(why)),
            }
        }
        let gone: Vec<Gone> = orders.into_iter().flatten().collect();
        self.keep(&gone, wanted, out)?;
        self.stored = Some(Instant::now());
        Ok(())
    }

    fn due(&self) -> bool {
        self.tidied.is_none_or(|at| at.elapsed() > TIDY_EVERY)
    }

    fn idle(&mut self, _: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        self.tidied = Some(Instant::now());
        self.store.tidy(self.now())
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        let Some(conf) = config.stage(&self.name) else { return Ok(()) };
        let new = Conf::read(&conf.settings, config).map_err(|f| StageError::usage(render(&f)))?;
        if new.kind != self.kind {
            return Err(StageError::usage(format!("stage `{}`: another kind takes a restart", self.name)));
        }
        self.store.keep(new.keep);
        self.chosen = new.chosen;
        self.tidied = None;
        Ok(())
    }

    /// Its state is where it stands in each partition.
    fn takes_turns(&self) -> bool {
        false
    }

    fn batch_bytes(&self) -> usize {
        self.store.batch_bytes()
    }
}

/// The folder of the embedded index that this configuration has, for readers.
pub fn index_dir(config: &Config) -> Option<PathBuf> {
    crate::conf::index_dir(config)
}

/// What finds the events of a store without the process that writes it.
pub fn finder(settings: &Settings, config: &Config) -> Result<Option<Box<dyn Finder>>, StageError> {
    if settings.peek("kind").is_none_or(|kind| kind == crate::stores::embedded::KIND.name) {
        return Ok(index_dir(config).map(|dir| Box::new(Search::new(dir)) as Box<dyn Finder>));
    }
    let conf = Conf::read(settings, config).map_err(|f| StageError::usage(render(&f)))?;
    Ok(conf.store.finder())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
