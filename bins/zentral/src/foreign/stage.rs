//! The stage: when the program runs, and what of its lines is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event::Time;
use pipe::config::{Config, Foreign};
use pipe::{Context, Exit, Line, Out, Stage, StageError, Waker};
use prometheus::IntCounterVec;
use registry::db::{Schema, Tx};

use super::lines::Lines;
use super::program::{End, Launch, Program};
use super::reader::Told;
use super::state::{self, Run};

/// The pause after the first end of a program that is to run on.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// One that ran so long starts again after the shortest pause.
const STEADY: Duration = Duration::from_secs(60);

/// The stage.
pub struct Source {
    conf: Foreign,
    launch: Launch,
    /// One run, and the end.
    once: bool,
    around: Option<Around>,
    now: Now,
    /// Ends of a program that is to run on, one after the other.
    ends: u32,
    /// Nothing is begun any more.
    stopping: bool,
    failed: bool,
}

/// What the start gave.
struct Around {
    name: String,
    config: Arc<Config>,
    waker: Waker,
    runs: IntCounterVec,
}

enum Now {
    /// No run is under way; the next begins then.
    Resting(Instant),
    Running(Box<Running>),
    /// The one run is over.
    Over,
}

struct Running {
    program: Program,
    lines: Lines,
    /// Lines that it has printed.
    number: u64,
    begun: (Time, Instant),
    /// Of a batch: its lines, until its end tells whether they are kept.
    batch: Vec<Told>,
}

impl Source {
    /// Not started yet.
    pub fn new(conf: Foreign, launch: Launch, once: bool) -> Self {
        let now = Now::Resting(Instant::now());
        Self { conf, launch, once, around: None, now, ends: 0, stopping: false, failed: false }
    }

    fn begin(&mut self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let Some(around) = &self.around else { return Ok(()) };
        let begun = (Time::now(), Instant::now());
        let batch = self.conf.every.is_some();
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| StageError::state(format!("no random numbers: {e}")))?;
        let run = format!("run-{:016x}", u64::from_ne_bytes(random));
        match self.launch.start(batch.then_some(self.conf.timeout), &around.waker) {
            Ok(program) => {
                let lines = Lines::new(&around.name, &around.config, batch, run);
                self.now = Now::Running(Box::new(Running { program, lines, number: 0, begun, batch: Vec::new() }));
                Ok(())
            }
            Err(e) => self.ended(begun, Some(("not_started", format!("cannot start: {e}"))), 0, tx),
        }
    }

    /// Looks at the run that is under way.
    fn look(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let Now::Running(running) = &mut self.now else { return Ok(()) };
        let (told, end) = running.program.look();
        if self.conf.every.is_some() {
            running.batch.extend(told);
        } else {
            running.write(told, out, tx)?;
        }
        let Some(end) = end else { return Ok(()) };
        let failed = match end {
            End::Done => None,
            End::Failed(how) => Some(("failed", how)),
            End::Stopped => Some(("stopped", "stopped".to_owned())),
            End::Late => Some(("late", format!("ended after {} s", self.conf.timeout.as_secs()))),
            End::TooMuch => Some(("too_much", "ended: more than a batch may hold".to_owned())),
        };
        let failed = failed.map(|(word, how)| {
            let error = event::printable(&running.program.error()).to_string();
            (word, if error.is_empty() { how } else { format!("{how}: {error}") })
        });
        let (begun, batch) = (running.begun, std::mem::take(&mut running.batch));
        let lost = if failed.is_none() { 0 } else { batch.len() };
        if failed.is_none() {
            running.write(batch, out, tx)?;
        }
        self.ended(begun, failed, lost, tx)
    }

    /// A run is over: said, counted, remembered, and when the next begins.
    fn ended(
        &mut self,
        (begun, since): (Time, Instant),
        failed: Option<(&'static str, String)>,
        lost: usize,
        tx: &mut Tx<'_>,
    ) -> Result<(), StageError> {
        self.now = if self.once { Now::Over } else { Now::Resting(self.next(since)) };
        self.failed = failed.is_some();
        let Some(around) = &self.around else { return Ok(()) };
        let word = match &failed {
            _ if self.stopping && (failed.is_some() || self.conf.every.is_none()) => "stopped",
            None => "done",
            Some((word, _)) => word,
        };
        around.runs.with_label_values(&[word]).inc();
        if self.stopping {
            // What was cut short comes again at the next start.
            if failed.is_some() {
                return Ok(());
            }
        } else if let Now::Resting(at) = self.now {
            let pause = at.saturating_duration_since(Instant::now()).as_secs_f64();
            match (&failed, self.conf.every) {
                (Some((_, how)), Some(_)) => {
                    tracing::warn!("{how}; nothing of its {lost} lines is kept; it runs again in {pause:.0} s");
                }
                (Some((_, how)), None) => tracing::warn!("{how}; started again in {pause:.0} s"),
                (None, Some(_)) => {}
                (None, None) => tracing::warn!("it ended, and is to run on; started again in {pause:.0} s"),
            }
        } else if let Some((_, how)) = &failed {
            tracing::error!("{how}");
        }
        Ok(state::write(tx, &Run { begun, failed: failed.map(|(_, how)| how) })?)
    }

    /// When the run after one that began at `since` begins.
    fn next(&mut self, since: Instant) -> Instant {
        let now = Instant::now();
        if let Some(every) = self.conf.every {
            return (since + every).max(now);
        }
        self.ends = if since.elapsed() >= STEADY { 1 } else { self.ends + 1 };
        now + PAUSE_MIN.saturating_mul(1 << (self.ends - 1).min(10)).min(PAUSE_MAX)
    }
}

impl Running {
    /// Lines to the topic, a verdict each.
    fn write(&mut self, told: Vec<Told>, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let now = Time::now();
        for told in told {
            self.number += 1;
            let number = self.number;
            let line = |bytes| Line { bytes, input: 0, number };
            match &told {
                Told::TooLong(length) => {
                    out.refused(&line(&[]), "too_long", format!("line of {length} bytes is too long"));
                }
                // What was killed may have been in the middle of it.
                Told::Torn(bytes) if !self.lines.is_batch() => {
                    out.refused(&line(bytes), "torn", "the program ended within this line");
                }
                Told::Line(bytes) | Told::Torn(bytes) if bytes.trim_ascii().is_empty() => out.ignored("blank"),
                Told::Line(bytes) | Told::Torn(bytes) => match self.lines.take(bytes, number, now) {
                    Ok(whole) => match out.line(0, &whole) {
                        Ok(()) => out.done(),
                        Err(_) => out.refused(&line(bytes), "too_long", "longer than a line may be, as it is written"),
                    },
                    Err((reason, why)) => out.refused(&line(bytes), reason, why),
                },
            }
            out.relieve(tx)?;
        }
        Ok(())
    }
}

impl Stage for Source {
    fn schema(&self) -> Option<Schema> {
        Some(state::SCHEMA)
    }

    fn start(&mut self, context: &Context, tx: &mut Tx<'_>) -> Result<(), StageError> {
        if let (Some(every), false) = (self.conf.every, self.once)
            && let Some(last) = state::read(tx)?
        {
            // A clock that was set back must not silence a source.
            let gone = u64::try_from(Time::now().ms() - last.begun.ms()).unwrap_or(0);
            self.now = Now::Resting(Instant::now() + every.saturating_sub(Duration::from_millis(gone)));
        }
        self.around = Some(Around {
            name: context.name.clone(),
            config: context.config.clone(),
            waker: context.waker.clone(),
            runs: context.metrics.counters("zentral_foreign_runs_total", "Runs of the program.", &["outcome"]),
        });
        Ok(())
    }

    fn batch(&mut self, _: &[Line<'_>], _: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        Ok(()) // it has no input
    }

    fn due(&self) -> bool {
        match &self.now {
            Now::Resting(until) => !self.stopping && Instant::now() >= *until,
            Now::Running(running) => running.program.has_news(),
            Now::Over => false,
        }
    }

    fn idle(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        match self.now {
            Now::Resting(_) => self.begin(tx),
            Now::Running(_) => self.look(out, tx),
            Now::Over => Ok(()),
        }
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        if let Some(around) = &mut self.around {
            around.config = config.clone();
        }
        Ok(())
    }

    fn busy(&self) -> bool {
        !matches!(self.now, Now::Over)
    }

    fn drain(&mut self) -> bool {
        self.stopping = true;
        match &mut self.now {
            Now::Running(running) => {
                running.program.stop();
                true
            }
            Now::Resting(_) | Now::Over => false,
        }
    }

    fn exit(&self) -> Exit {
        if self.once && self.failed { Exit::Unreachable } else { Exit::Done }
    }
}
