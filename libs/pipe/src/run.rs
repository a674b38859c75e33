//! The stage loop: read, work, write, commit (design § 3, "Commit on disk").

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::db::{Db, Schema};

use crate::config::{Config, Place, StageConf, StageKind};
use crate::fs::{Fs, Guard, RealFs};
use crate::input::{Input, Read, parse_start};
use crate::output::Output;
use crate::refused::Refused;
use crate::stage::{Context, Line, Out, Stage};
use crate::topic::{Class, Mark, Room, Start};
use crate::{Exit, Metrics, Signals, StageError, state};

/// How often a reader without lines looks at its topics.
const POLL: Duration = Duration::from_millis(20);
/// How often lags are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Complaints about refused lines that are logged each second; all are counted and kept.
const COMPLAINTS_LOGGED: usize = 20;

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
    /// State file; none: memory, for a stage between pipes.
    pub state: Option<PathBuf>,
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
        tracing::error!("{e}");
        e.exit
    })
}

struct Loop {
    job: Job,
    db: Db,
    inputs: Vec<Input>,
    refused: Option<Refused>,
    out: Out,
    refused_any: bool,
    logged: (Instant, usize),
    measured: Option<Instant>,
    /// Of each input: a line that was there and not read, and since when.
    behind: Vec<Option<(u64, Instant)>>,
    /// Whether there is room for state, as last looked.
    state_room: bool,
    next: usize,
    _lock: Option<Guard>,
}

impl Loop {
    fn open(stage: &mut dyn Stage, job: Job) -> Result<Self, StageError> {
        let fs = RealFs::shared();
        let schemas: Vec<Schema> = [state::SCHEMA].into_iter().chain(stage.schema()).collect();
        let (lock, mut db) = open_state(&fs, &job, &schemas)?;
        let mut outputs = Vec::new();
        for place in &job.to {
            outputs.push(match place {
                None => Output::None,
                Some(Place::Standard) => Output::Stdout,
                Some(Place::Topic(name)) => Output::topic(&fs, &job.config, &db, name, job.kind.class())?,
            });
        }
        let refused = match &job.state {
            None => None,
            Some(_) => {
                let path = job.config.data.join("refused").join(format!("{}.ndjson", job.name));
                let recorded = state::output(&db, REFUSED)?.map(|m| m.offset);
                Some(Refused::open(&fs, &path, recorded).map_err(|e| refused_error(&e))?)
            }
        };
        let mut inputs = Vec::new();
        for place in &job.from {
            inputs.push(open_input(&fs, &job, &db, place)?);
        }
        let mut tx = db.begin()?;
        for input in inputs.iter().filter(|i| i.name != "-") {
            state::set_position(&mut tx, &input.name, &input.position)?;
        }
        let context = Context {
            name: job.name.clone(),
            waker: job.signals.waker.clone(),
            metrics: job.metrics.clone(),
            config: job.config.clone(),
        };
        stage.start(&context, &mut tx)?;
        for output in &mut outputs {
            output.record(&mut tx)?;
        }
        if let Some(refused) = &refused {
            state::set_output(&mut tx, REFUSED, Mark { offset: refused.length(), line: 0 })?;
        }
        tx.commit()?;
        stage.committed()?;
        for output in &mut outputs {
            if let Output::Topic(topic) = output {
                topic.publish()?;
            }
        }
        let (out, behind) = (Out::new(outputs), inputs.iter().map(|_| None).collect());
        Ok(Self {
            job,
            db,
            inputs,
            refused,
            out,
            refused_any: false,
            logged: (Instant::now(), 0),
            measured: None,
            behind,
            state_room: true,
            next: 0,
            _lock: lock,
        })
    }

    fn run(&mut self, stage: &mut dyn Stage) -> Result<Exit, StageError> {
        loop {
            if self.job.signals.take_reload() {
                self.reload(stage);
            }
            if self.job.signals.stopping() {
                while stage.drain() {
                    if !self.idle(stage)? {
                        self.job.signals.waker.wait(POLL);
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
            if !worked {
                self.job.signals.waker.wait(POLL);
            }
        }
    }

    /// Work that is due without input, committed like a batch; whether there was any.
    fn idle(&mut self, stage: &mut dyn Stage) -> Result<bool, StageError> {
        if !stage.due() {
            return Ok(false);
        }
        let mut tx = self.db.begin()?;
        stage.idle(&mut self.out, &mut tx)?;
        commit(&mut self.out, tx)?;
        self.publish(stage)?;
        Ok(true)
    }

    /// One batch from one input.
    fn batch(&mut self, stage: &mut dyn Stage, index: usize) -> Result<Step, StageError> {
        let Some(input) = self.inputs.get_mut(index) else { return Ok(Step::Nothing) };
        let name = input.name.clone();
        let (bytes, first, too_long) = match input.read(stage.batch_bytes())? {
            Read::Nothing => return Ok(Step::Nothing),
            Read::End => return Ok(Step::End),
            Read::Skipped(lines) => {
                let topic = name.trim_start_matches("topic:");
                self.job.metrics.skipped.with_label_values(&[topic, &self.job.name]).inc_by(lines);
                let mut tx = self.db.begin()?;
                state::set_position(&mut tx, &name, &input.position)?;
                tx.commit()?;
                return Ok(Step::Worked);
            }
            Read::Lines { bytes, first, too_long } => (bytes, first, too_long),
        };
        let mut lines = Vec::with_capacity(bytes.len() / 512);
        let mut at = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = bytes.get(at..end).unwrap_or_default();
            lines.push(Line { bytes: line, input: index, number: first + lines.len() as u64 });
            at = end + 1;
        }
        for (number, length) in too_long {
            let line = Line { bytes: b"", input: index, number: *number };
            self.out.refused(&line, "too_long", format!("line of {length} bytes is too long"));
        }
        let taken = (lines.len() + too_long.len()) as u64;
        let mut tx = self.db.begin()?;
        stage.batch(&lines, &mut self.out, &mut tx)?;
        let verdicts = self.out.verdicts();
        if verdicts != taken {
            // The stage sum would be off for ever: better to stop and say so.
            return Err(StageError::state(format!(
                "{taken} lines read, {verdicts} verdicts given: a fault of the stage"
            )));
        }
        drop(lines);
        if let Some(input) = self.inputs.get(index).filter(|i| i.name != "-") {
            state::set_position(&mut tx, &input.name, &input.position)?;
        }
        state::count(&mut tx, "in", "", taken)?;
        state::count(&mut tx, "done", "", self.out.done)?;
        for (what, counts) in [("ignored", &self.out.ignored), ("refused", &self.out.refused)] {
            for (reason, n) in counts {
                state::count(&mut tx, what, reason, *n)?;
            }
        }
        self.job.metrics.lines_in.inc_by(taken);
        if !self.out.complaints.is_empty() {
            self.refused_any = true;
            let now = Instant::now();
            if now.duration_since(self.logged.0) > Duration::from_secs(1) || self.job.state.is_none() {
                self.logged = (now, 0);
            }
            for c in &self.out.complaints {
                if self.logged.1 < COMPLAINTS_LOGGED || self.job.state.is_none() {
                    let at = if name == "-" { "stdin" } else { &name };
                    tracing::warn!("{at} line {}: {}", c.number, c.text);
                }
                self.logged.1 += 1;
            }
            if let Some(refused) = &mut self.refused {
                refused.write(&name, &self.out.complaints).map_err(|e| refused_error(&e))?;
                state::set_output(&mut tx, REFUSED, Mark { offset: refused.length(), line: 0 })?;
            }
        }
        commit(&mut self.out, tx)?;
        self.publish(stage)?;
        Ok(Step::Worked)
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
        for (reason, n) in &self.out.ignored {
            self.job.metrics.ignored.with_label_values(&[reason]).inc_by(*n);
        }
        for (reason, n) in &self.out.refused {
            self.job.metrics.refused.with_label_values(&[reason]).inc_by(*n);
        }
        self.out.clear();
        stage.committed()
    }

    /// Looks after topics, refused lines and lags; whether there is room for outputs and state.
    fn look_after(&mut self) -> Result<bool, StageError> {
        let mut room = true;
        for output in &mut self.out.outputs {
            if let Output::Topic(topic) = output {
                topic.maintain(&self.job.metrics)?;
                topic.record_sealed(&mut self.db)?;
                room &= topic.has_room(&self.job.metrics);
            }
        }
        if let Some(refused) = self.refused.as_mut().filter(|r| r.is_full()) {
            refused.rotate().map_err(|e| refused_error(&e))?;
            let mut tx = self.db.begin()?;
            state::set_output(&mut tx, REFUSED, Mark { offset: refused.length(), line: 0 })?;
            tx.commit()?;
        }
        if self.measured.is_none_or(|at| at.elapsed() > MEASURE_EVERY) {
            self.measured = Some(Instant::now());
            self.state_room = self.has_state_room();
            self.measure();
        }
        Ok(room && self.state_room)
    }

    /// Whether state may grow: it is the last to stop (design § 3).
    fn has_state_room(&self) -> bool {
        let Some(dir) = self.job.state.as_deref().and_then(Path::parent) else { return true };
        let free = RealFs.free_space(dir).unwrap_or(u64::MAX);
        let reserve = self.job.config.topics.defaults.reserve;
        let room = Room { bytes: 0, limit: u64::MAX, free, reserve }.allows(Class::Outcome);
        if room != self.state_room {
            let what = if room { "goes on" } else { "waits" };
            tracing::warn!("{} bytes are free for {}: the stage {what}", free, dir.display());
        }
        room
    }

    fn measure(&mut self) {
        for (input, behind) in self.inputs.iter_mut().zip(&mut self.behind) {
            let Some((_, lines)) = input.lag() else { continue };
            let at = input.position.mark.line;
            // The age of the oldest line known to wait: a reader that keeps up passes it within a look or two.
            if behind.is_none_or(|(line, _)| at >= line) {
                *behind = (lines > 0).then(|| (at + lines, Instant::now()));
            }
            let labels = [input.name.trim_start_matches("topic:"), &self.job.name];
            let metrics = &self.job.metrics;
            metrics.lag_lines.with_label_values(&labels).set(i64::try_from(lines).unwrap_or(i64::MAX));
            let seconds = behind.map_or(0, |(_, since)| since.elapsed().as_secs());
            metrics.lag_seconds.with_label_values(&labels).set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
    }

    /// All new or all old: a broken configuration leaves the last good one in force.
    fn reload(&mut self, stage: &mut dyn Stage) {
        let Some(path) = &self.job.reload else { return };
        match Config::load(path, Some(&self.job.config.data)) {
            Ok((config, _)) => {
                let config = Arc::new(config);
                match stage.reload(&config) {
                    Ok(()) => {
                        for output in &mut self.out.outputs {
                            if let Output::Topic(topic) = output {
                                topic.reload(&config);
                            }
                        }
                        self.job.config = config;
                        tracing::info!("reloaded");
                    }
                    Err(e) => tracing::error!("not reloaded, the last good configuration goes on: {e}"),
                }
            }
            Err(findings) => {
                let text = crate::config::render(&findings);
                tracing::error!("not reloaded, the last good configuration goes on:\n{text}");
            }
        }
    }

    fn exit(&self, stage: &dyn Stage) -> Exit {
        let exit = stage.exit();
        // Whoever is looked after by a supervisor is not to be judged by its lines.
        let told = self.job.state.is_none() || self.job.once;
        if self.refused_any && told { Exit::Refused } else { exit }
    }
}

/// The name under which the length of the refused lines is recorded; no topic can be called so.
const REFUSED: &str = "(refused)";

enum Step {
    Worked,
    Nothing,
    End,
}

/// Append, fsync, then one transaction with positions, output lengths and the stage's own tables.
fn commit(out: &mut Out, mut tx: registry::db::Tx<'_>) -> Result<(), StageError> {
    out.write()?;
    for output in &mut out.outputs {
        output.record(&mut tx)?;
    }
    Ok(tx.commit()?)
}

fn refused_error(e: &io::Error) -> StageError {
    let text = format!("refused lines: {e}");
    match e.kind() {
        // A full disk passes: the supervisor starts the stage again, with growing pauses.
        io::ErrorKind::StorageFull => StageError::unreachable(text),
        _ => StageError::state(text),
    }
}

fn open_state(fs: &Arc<dyn Fs>, job: &Job, schemas: &[Schema]) -> Result<(Option<Guard>, Db), StageError> {
    let Some(file) = &job.state else { return Ok((None, Db::memory(schemas)?)) };
    let wait = (job.kind != StageKind::Act).then_some(state::LOCK_WAIT);
    let guard = state::lock(fs, file, wait, &|| job.signals.stopping())?;
    let db = Db::open(file, schemas).map_err(|e| StageError::state(format!("{}: {e}", file.display())))?;
    Ok((Some(guard), db))
}

fn open_input(fs: &Arc<dyn Fs>, job: &Job, db: &Db, place: &Place) -> Result<Input, StageError> {
    let mut input = match place {
        Place::Standard => Input::stdin(job.signals.waker.clone())?,
        Place::Topic(topic) => {
            let name = place.to_string();
            let start = job.start.as_deref().unwrap_or("first");
            let start = parse_start(start)
                .ok_or_else(|| StageError::usage(format!("`{start}` is neither first, last nor an age such as 7d")))?;
            let recorded = state::position(db, &name)?;
            Input::topic(fs, &job.config.topic_dir(topic), name, recorded, start)?
        }
    };
    if job.once {
        input.stop_at_end()?;
    }
    Ok(input)
}

/// Records where the readers of a stage start, before any writer appends; what is recorded already stays.
///
/// A new `act` starts at the end as it stands, every other stage at the first line kept; `start` overrides. Where
/// nothing is to be recorded nobody is waited for; else the state's lock is, for `wait` (none: for ever) or until `stop`.
pub fn record_start(
    config: &Config,
    stage: &StageConf,
    wait: Option<Duration>,
    stop: &dyn Fn() -> bool,
) -> Result<(), StageError> {
    let inputs: Vec<String> = stage.from.iter().filter(|p| p.topic().is_some()).map(Place::to_string).collect();
    let fs = RealFs::shared();
    let file = config.state_file(stage);
    if stage.kind == StageKind::Receive || state::recorded(&file, &inputs) {
        return Ok(());
    }
    // Whoever holds the lock may be about to record the very same.
    let known = || state::recorded(&file, &inputs);
    let _lock = match state::lock(&fs, &file, wait, &|| stop() || known()) {
        Err(e) if e.exit == Exit::Done && known() => return Ok(()),
        other => other?,
    };
    let mut db =
        Db::open(&file, &[state::SCHEMA]).map_err(|e| StageError::state(format!("{}: {e}", file.display())))?;
    let default = if stage.kind == StageKind::Act { "last" } else { "first" };
    let start = stage.start.as_deref().unwrap_or(default);
    let start = parse_start(start).unwrap_or(Start::First);
    for place in &stage.from {
        let Some(topic) = place.topic() else { continue };
        let name = place.to_string();
        if state::position(&db, &name)?.is_none() {
            let input = Input::topic(&fs, &config.topic_dir(topic), name.clone(), None, start)?;
            let mut tx = db.begin()?;
            state::set_position(&mut tx, &name, &input.position)?;
            tx.commit()?;
        }
    }
    Ok(())
}
