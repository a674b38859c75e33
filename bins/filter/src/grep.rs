//! At the shell with a jq program: grep. Matching lines go out byte for byte as they came.

use std::sync::Arc;

use event::Mistaken;
use pipe::{Exit, Line, Out, Stage, StageError};
use probe::{FilterSet, Limits, Outcome, Spec, Why};
use registry::db::Tx;

use crate::ask::{Answer, Manner, Purpose};
use crate::note::CrashNote;
use crate::pool::Pool;
use crate::tried::{Failing, Room, Sample, Shared};
use crate::{Args, mistaken};

/// What a program of the command line is called.
const EXPR: &str = "-e";

/// The programs of `-e` and of files, as probes without anything else.
pub(crate) fn programs(
    config: &pipe::config::Config,
    exprs: &[String],
    files: &[&String],
) -> Result<FilterSet, StageError> {
    let mut specs: Vec<Spec> = exprs.iter().map(|expr| Spec::bare(EXPR, expr.as_str())).collect();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|e| StageError::usage(format!("{file}: {e}")))?;
        specs.push(Spec::bare(file, text));
    }
    let modules = |path: &str| config.module(path);
    FilterSet::build(specs, &modules).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(probe::CompileError::render).collect();
        StageError::usage(format!("\n{}", texts.concat()))
    })
}

/// Prints the lines that any program chooses.
pub(crate) struct Grep {
    set: Arc<FilterSet>,
    pool: Pool,
    manner: Manner,
    all: bool,
    invert: bool,
    count: bool,
    max: u64,
    /// Matches go to a second output too.
    matches: bool,
    found: u64,
    failed: u64,
    said: u64,
    exceeded_said: u64,
    /// The first lines, while nothing matches.
    first: Sample,
    room: Room,
    /// What the first line is, if it is no event.
    mistaken: Option<Mistaken>,
}

/// Runtime errors that are told, and exceeded limits; the rest is counted.
const FAILURES_SAID: u64 = 3;

impl Grep {
    pub(crate) fn new(set: FilterSet, args: &Args, matches: bool) -> Result<Self, StageError> {
        let notes = (0..Pool::threads()).map(|_| CrashNote::default()).collect();
        Ok(Self {
            set: Arc::new(set),
            pool: Pool::new(notes).map_err(|e| StageError::state(format!("cannot start a thread: {e}")))?,
            manner: Manner { trusted: args.trusted, purpose: Purpose::Choose },
            all: args.all,
            invert: args.invert,
            count: args.count,
            max: args.max.unwrap_or(u64::MAX),
            matches,
            found: 0,
            failed: 0,
            said: 0,
            exceeded_said: 0,
            first: Sample::default(),
            room: Room::default(),
            mistaken: None,
        })
    }

    /// A runtime error is no match, and is told.
    fn tell(&mut self, outcome: &Outcome, number: u64) {
        for failure in &outcome.failures {
            self.failed += 1;
            match &failure.why {
                Why::Failed(why) if self.said < FAILURES_SAID => {
                    self.said += 1;
                    tracing::debug!("line {number}: {why}");
                }
                Why::Exceeded(limit) if self.exceeded_said < FAILURES_SAID => {
                    self.exceeded_said += 1;
                    tracing::warn!("line {number}: filter_failed: {}", Limits::default().exceeded(*limit));
                }
                _ => {}
            }
        }
    }

    /// Programs that fail, by name, where events were given and nothing matched.
    fn failing(&self) -> Vec<(&str, Failing)> {
        let silent = self.found == 0 && !self.invert && self.mistaken.is_none();
        let asked = 0..if silent { self.set.len() } else { 0 };
        let name = |program| self.set.spec(program).map(|spec| spec.name.as_str());
        asked.filter_map(|program| Some((name(program)?, self.first.failing(&self.set, program)?))).collect()
    }

    fn give(&mut self, line: &Line<'_>, chosen: bool, out: &mut Out) {
        let hit = chosen != self.invert;
        self.found += u64::from(hit);
        let (mut gave, mut fits) = (hit && self.count, true);
        for (output, wanted) in [(0, (hit || self.all) && !self.count), (1, hit && self.matches)] {
            if wanted {
                gave = true;
                fits &= out.line(output, line.bytes).is_ok();
            }
        }
        if !fits {
            out.refused(line, "too_long", "the line is longer than a line may be");
        } else if gave {
            out.done();
        } else {
            out.ignored("no_match");
        }
    }
}

impl Stage for Grep {
    fn outputs(&self) -> &'static [&'static str] {
        &["to", "matches"]
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        self.mistaken = mistaken(lines).or(self.mistaken);
        for line in lines {
            if self.first.is_full() {
                break;
            }
            self.first.add(&mut Shared::new(line.bytes), &mut self.room);
        }
        let mut asked = self.pool.ask(&self.set, self.manner, lines);
        while self.found < self.max
            && let Some((line, answer)) = self.pool.next(&mut asked)
        {
            match answer {
                Answer::No => self.give(line, false, out),
                Answer::Refused(reason, text) => out.refused(line, reason, text),
                Answer::Line(answered) => {
                    self.tell(&answered.outcome, line.number);
                    self.give(line, !answered.outcome.found.is_empty(), out);
                }
            }
        }
        asked.leave(out);
        self.pool.rest();
        Ok(())
    }

    fn committed(&mut self) -> Result<(), StageError> {
        if self.found >= self.max {
            return Err(StageError { exit: Exit::Done, text: "enough".into() });
        }
        Ok(())
    }

    fn exit(&self) -> Exit {
        if self.count {
            let _ = pipe::write_stdout(format!("{}\n", self.found).as_bytes());
        }
        let failing = self.failing();
        for (name, failing) in &failing {
            let shown = if *name == EXPR { String::new() } else { format!("; {} shows where", failing.advice(name)) };
            tracing::info!("{name}: {failing}{shown}");
        }
        if self.failed > 0 && failing.is_empty() {
            let runs = if self.failed == 1 { "run" } else { "runs" };
            tracing::info!("{} {runs} of a filter failed (no match; --log debug shows why)", self.failed);
        }
        if let Some(what) = self.mistaken.filter(|_| self.found == 0 && !self.invert) {
            tracing::info!("line 1 is {}", what.advice("FILE"));
        }
        if self.found > 0 { Exit::Done } else { Exit::No }
    }
}
