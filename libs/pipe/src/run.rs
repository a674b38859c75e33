//! The stage loop: read, work, write, commit (design § 3, "Commit on disk").

mod open;
mod reload;
mod share;
mod start;
pub(crate) mod told;
mod upkeep;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::db::{Db, Home, Tx};

use crate::config::{Config, Place, StageKind};
use crate::fs::Guard;
use crate::input::{Input, Read};
use crate::lean::Lean;
use crate::out::Out;
use crate::output::Output;
use crate::stage::{Line, Stage};
use crate::watch::{PAUSE, Watch};
use crate::{Exit, Metrics, Signals, StageError};

pub use start::record_start;
use told::Complaints;

/// The longest that batches are gathered for one commit.
const COMMIT_TIME: Duration = Duration::from_millis(100);

/// So long a commit to brokers waits for lines where none are there at this moment: their answers take longer, and what
/// was read is on its way meanwhile.
const MORE_FOR_BROKERS: Duration = Duration::from_millis(5);

/// What a loop is to run on.
pub struct Job {
    /// Name of the stage: of its metrics, its refused lines.
    pub name: String,
    /// What it is.
    pub kind: StageKind,
    /// Inputs, in order.
    pub from: Vec<Place>,
    /// Outputs, as the stage names them; none: thrown away.
    pub to: Vec<Option<Place>>,
    /// Which of several instances of the stage it is, if there are several.
    pub instance: Option<u32>,
    /// Its state; none: memory, for a stage between pipes.
    pub state: Option<Home>,
    /// Where a reader without a position starts; none: the first line kept.
    pub start: Option<String>,
    /// End when everything that is there now has been read.
    pub once: bool,
    /// The configuration, and where to read it again at a reload.
    pub config: Arc<Config>,
    /// See [`Job::config`].
    pub reload: Option<PathBuf>,
    /// Stop and reload.
    pub signals: Signals,
    /// Its metrics.
    pub metrics: Metrics,
}

/// Runs a stage until it is stopped or its input ends. Errors have been logged.
pub fn run(stage: &mut dyn Stage, job: Job) -> Exit {
    let done = Loop::open(stage, job).and_then(|mut running| match running.run(stage) {
        // stdout was closed by its reader, or a stage has had enough: a polite end.
        Err(e) if e.exit == Exit::Done => Ok(running.exit(stage)),
        other => other,
    });
    done.unwrap_or_else(|e| {
        match e.exit {
            Exit::Done => tracing::info!("{e}"),
            _ => tracing::error!("{e}"),
        }
        e.exit
    })
}

struct Loop {
    job: Job,
    db: Db,
    inputs: Vec<Input>,
    out: Out,
    complaints: Complaints,
    measured: Option<Instant>,
    /// Of each input: a line that was there and not read, and since when.
    behind: Vec<Option<(u64, Instant)>>,
    /// Whether there is room for state, as last looked.
    state_room: bool,
    next: usize,
    reloading: Option<reload::Reload>,
    /// A configuration was refused: what was said of it, and when it is tried again.
    refused: Option<(String, Instant)>,
    /// Of several instances: up to where the changes of the registry were known.
    changes_seen: Option<u64>,
    watch: Watch,
    _lock: Option<Guard>,
}

impl Loop {
    fn run(&mut self, stage: &mut dyn Stage) -> Result<Exit, StageError> {
        let mut lean = Lean::default();
        loop {
            let begun = Instant::now();
            lean.look();
            self.reload(stage);
            if self.job.signals.stopping() {
                while stage.drain() {
                    if !self.idle(stage)? {
                        self.job.signals.waker.wait(PAUSE);
                    }
                }
                self.idle(stage)?;
                // Being stopped is no "no".
                return Ok(Some(self.exit(stage)).filter(|exit| *exit != Exit::No).unwrap_or(Exit::Done));
            }
            let room = self.look_after()?;
            // Without room nothing is begun either: its end could not be written down.
            let mut worked = room && self.idle(stage)?;
            let mut ended = 0;
            if room {
                for _ in 0..self.inputs.len() {
                    self.next = (self.next + 1) % self.inputs.len();
                    match self.batch(stage, self.next)? {
                        Step::Worked => worked = true,
                        Step::Nothing => {}
                        Step::End => ended += 1,
                    }
                }
            }
            if ended == self.inputs.len() && room && !stage.due() && !stage.busy() {
                return Ok(self.exit(stage));
            }
            if worked {
                self.watch.worked(begun.elapsed());
            } else {
                self.job.signals.waker.wait(PAUSE);
            }
        }
    }

    /// Work that is due without input, committed like a batch; whether there was any.
    fn idle(&mut self, stage: &mut dyn Stage) -> Result<bool, StageError> {
        if !stage.due() {
            return Ok(false);
        }
        let mut tx = share::begin(&mut self.db, &self.job, stage, &mut self.changes_seen)?;
        stage.idle(&mut self.out, &mut tx)?;
        self.out.write()?;
        // Lines that came by no input: what a program printed.
        let printed = self.out.verdicts.lines();
        told::count(&self.out, printed, &mut tx)?;
        self.job.metrics.lines_in.inc_by(printed);
        self.complaints.tell("program", &self.out.complaints, &mut tx)?;
        commit(&mut self.out, &mut self.complaints, tx)?;
        self.publish(stage)?;
        Ok(true)
    }

    /// A commit of what there is to read from one input: one batch, or more if the stage lets them share it.
    fn batch(&mut self, stage: &mut dyn Stage, index: usize) -> Result<Step, StageError> {
        share::settle(stage, &mut self.inputs, index, &self.job, &mut self.db)?;
        self.tell_lag(index);
        let Some(input) = self.inputs.get_mut(index) else { return Ok(Step::Nothing) };
        let name = input.name.clone();
        let mut read = input.read(stage.batch_bytes())?;
        match read {
            Read::Nothing => return Ok(Step::Nothing),
            Read::End => return Ok(Step::End),
            Read::Lines { .. } | Read::Skipped(_) => {}
        }
        // Between pipes we are prompt: what was given is flushed before the next block is taken.
        let prompt = name == "-" && self.out.outputs.iter().any(Output::is_pipe);
        let share = if prompt { 0 } else { stage.commit_bytes() };
        let (begun, mut taken, mut bytes_read) = (Instant::now(), 0, 0);
        let mut heard = begun;
        let mut tx = share::begin(&mut self.db, &self.job, stage, &mut self.changes_seen)?;
        if self.job.instance.is_some() && self.job.from.get(index) == Some(&Place::Changes) {
            input.catch_up(&mut tx)?;
            read = input.read(stage.batch_bytes())?;
        }
        let mut step = Ok(Step::Worked);
        loop {
            match read {
                Read::Nothing if share > 0 && heard.elapsed() < MORE_FOR_BROKERS && self.out.send_on() => {
                    self.job.signals.waker.wait(MORE_FOR_BROKERS.saturating_sub(heard.elapsed()));
                }
                // If it is the end, the next look will tell.
                Read::Nothing | Read::End => break,
                Read::Skipped(lines) => {
                    self.job.metrics.passed_over(&name, &self.job.name, lines);
                    break;
                }
                Read::Lines { bytes, first, too_long } => {
                    bytes_read += bytes.len();
                    let lines = through(stage, index, (bytes, first, too_long), &mut self.out, &mut tx)?;
                    input.count(lines);
                    taken += lines;
                    heard = Instant::now();
                }
            }
            let enough = bytes_read >= share || begun.elapsed() >= COMMIT_TIME;
            if enough || self.job.signals.stopping() {
                break;
            }
            read = match input.read(stage.batch_bytes()) {
                Ok(read) => read,
                Err(e) => {
                    // What came before it counts.
                    step = Err(e);
                    break;
                }
            };
        }
        input.record(&mut tx)?;
        // Brokers are waited for before anything is written that all instances write.
        self.out.write()?;
        told::count(&self.out, taken, &mut tx)?;
        self.job.metrics.lines_in.inc_by(taken);
        self.complaints.tell(&name, &self.out.complaints, &mut tx)?;
        commit(&mut self.out, &mut self.complaints, tx)?;
        input.committed();
        self.publish(stage)?;
        step
    }

    /// After a commit: heads, outward effects, metrics.
    fn publish(&mut self, stage: &mut dyn Stage) -> Result<(), StageError> {
        for i in 0..self.out.outputs.len() {
            let written = self.out.lines(i);
            if written > 0 {
                let name = stage.outputs().get(i).copied().unwrap_or("to");
                self.job.metrics.lines_out.with_label_values(&[name]).inc_by(written);
                if let Some(Output::Topic(topic)) = self.out.outputs.get_mut(i) {
                    topic.publish()?;
                }
            }
        }
        told::measure(&self.out, &self.job.metrics);
        self.out.clear();
        stage.committed()
    }

    fn exit(&self, stage: &dyn Stage) -> Exit {
        let exit = stage.exit();
        // Whoever is looked after by a supervisor is not to be judged by its lines.
        let told = self.job.state.is_none() || self.job.once;
        if self.complaints.any && told { Exit::Refused } else { exit }
    }
}

enum Step {
    Worked,
    Nothing,
    End,
}

/// As [`Read::Lines`].
type Lines<'a> = (&'a [u8], u64, &'a [usize]);

/// A batch through the stage; how many lines it had.
fn through(
    stage: &mut dyn Stage,
    input: usize,
    (bytes, first, too_long): Lines<'_>,
    out: &mut Out,
    tx: &mut Tx<'_>,
) -> Result<u64, StageError> {
    let lines = crate::stage::lines(bytes, |before| (input, first + (too_long.len() + before) as u64));
    let before = out.verdicts.lines();
    for (number, length) in (first..).zip(too_long) {
        let line = Line { bytes: b"", input, number };
        out.refused(&line, "too_long", format!("line of {length} bytes is too long"));
    }
    stage.batch(&lines, out, tx)?;
    let (taken, verdicts) = ((lines.len() + too_long.len()) as u64, out.verdicts.lines() - before);
    if verdicts != taken {
        // The stage sum would be off for ever: better to stop and say so.
        return Err(StageError::state(format!("{taken} lines read, {verdicts} verdicts given: a fault of the stage")));
    }
    Ok(taken)
}

/// What was appended is durable: the transaction with positions, output lengths and the stage's own tables.
fn commit(out: &mut Out, complaints: &mut Complaints, mut tx: Tx<'_>) -> Result<(), StageError> {
    for output in &mut out.outputs {
        let not_taken = output.record(&mut tx)?;
        complaints.not_taken(&output.name(), not_taken, &mut tx)?;
    }
    Ok(tx.commit()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests;
