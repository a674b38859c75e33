//! One thread's part of the work: what the probes say of each line.

use std::time::{Duration, Instant};

use event::json;
use probe::{FilterSet, Note, Outcome, ParseError, Runner, Scratch};

use crate::note::CrashNote;

/// How lines are to be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Lines are canonical: whoever says so has checked them.
    pub(crate) trusted: bool,
    /// Lines in another form go on in canonical form; else they stay as they are.
    pub(crate) rewrite: bool,
    /// What a match carries is wanted.
    pub(crate) contexts: bool,
}

/// What came of a line.
#[derive(Debug)]
pub(crate) enum Answer {
    /// No probe chose it, and it goes on as it is, if it goes on.
    No,
    /// Probes chose it or failed, or it has another form now.
    Line(Box<Answered>),
    /// It was not understood: reason and text.
    Refused(&'static str, String),
    /// Nobody has asked: see [`Asker::ask_all`].
    Open,
}

#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) outcome: Outcome,
    /// The line in canonical form, where it came in another.
    pub(crate) canonical: Option<Vec<u8>>,
}

/// What the probes did since it was last asked. Of many probes few do anything in a while.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By their place in the set.
    work: Vec<Work>,
    /// Those that did something.
    busy: Vec<usize>,
    begun: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) runs: u64,
    pub(crate) matches: u64,
    pub(crate) took: Duration,
}

impl Tally {
    fn add(&mut self, probe: usize, more: Work) {
        if probe >= self.work.len() {
            self.work.resize(probe + 1, Work::default());
        }
        let Some(work) = self.work.get_mut(probe) else { return };
        if work.runs + work.matches == 0 {
            self.busy.push(probe);
        }
        work.runs += more.runs;
        work.matches += more.matches;
        work.took += more.took;
    }

    /// All that was done, and nothing from now on.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (usize, Work)> {
        let Self { work, busy, .. } = self;
        busy.drain(..).map(|probe| (probe, work.get_mut(probe).map(std::mem::take).unwrap_or_default()))
    }

    /// Takes over what another thread counted.
    pub(crate) fn take_over(&mut self, other: &mut Self) {
        other.take().for_each(|(probe, work)| self.add(probe, work));
    }
}

/// Asks about lines, noting what jq is about to run.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    pub(crate) note: CrashNote,
    pub(crate) tally: Tally,
    scratch: Scratch,
}

impl Asker {
    pub(crate) fn new(note: CrashNote) -> Self {
        Self { note, ..Self::default() }
    }

    /// Answers for lines in order. After the first filter that exceeded a limit the rest stays open: whether it is to run
    /// again is not for one thread to say.
    pub(crate) fn ask_all<'l>(
        &mut self,
        set: &FilterSet,
        off: &[bool],
        manner: Manner,
        lines: impl Iterator<Item = &'l [u8]>,
        answers: &mut Vec<Answer>,
    ) {
        let Self { note, tally, scratch } = self;
        let mut runner = set.runner(scratch);
        if !manner.contexts {
            runner = runner.without_contexts();
        }
        let mut gate = Gate { set, off, note, tally };
        let mut open = false;
        for line in lines {
            if open {
                answers.push(Answer::Open);
                continue;
            }
            let answer = one(&mut runner, &mut gate, manner, line);
            if let Answer::Line(answered) = &answer {
                for found in &answered.outcome.found {
                    gate.tally.add(found.probe, Work { matches: 1, ..Work::default() });
                }
                open = answered.outcome.failures.iter().any(|f| matches!(f.why, probe::Why::Exceeded(_)));
            }
            answers.push(answer);
        }
    }
}

fn one(runner: &mut Runner<'_>, gate: &mut Gate<'_>, manner: Manner, line: &[u8]) -> Answer {
    let mut canonical = None;
    let outcome = if manner.trusted || json::is_canonical(line) {
        runner.run(line, 0, gate)
    } else if manner.rewrite {
        let mut text = Vec::with_capacity(line.len());
        if let Err(e) = json::canonical(line, &mut text) {
            return Answer::Refused("not_json", e.to_string());
        }
        let outcome = runner.run(&text, 0, gate);
        canonical = Some(text);
        outcome
    } else {
        runner.naive(line, 0, gate)
    };
    match outcome {
        Ok(outcome) if canonical.is_none() && outcome.found.is_empty() && outcome.failures.is_empty() => Answer::No,
        Ok(outcome) => Answer::Line(Box::new(Answered { outcome, canonical })),
        Err(e) => refused(&e, manner),
    }
}

fn refused(e: &ParseError, manner: Manner) -> Answer {
    let reason = match e.what {
        _ if manner.rewrite => "not_an_event",
        probe::NO_OBJECT => "not_an_object",
        _ => "not_json",
    };
    Answer::Refused(reason, e.to_string())
}

/// Keeps filters that are off from running, notes what runs and takes its time.
struct Gate<'a> {
    set: &'a FilterSet,
    off: &'a [bool],
    note: &'a mut CrashNote,
    tally: &'a mut Tally,
}

impl Note for Gate<'_> {
    fn before(&mut self, probe: usize, event_id: &str) -> bool {
        if self.is_off(probe) {
            return false;
        }
        if let Some(spec) = self.set.spec(probe) {
            self.note.before(&spec.name, &spec.rev, event_id);
        }
        self.tally.begun = Some(Instant::now());
        true
    }

    fn is_off(&self, probe: usize) -> bool {
        self.off.get(probe).copied().unwrap_or(false)
    }

    fn after(&mut self, probe: usize) {
        let took = self.tally.begun.take().map_or(Duration::ZERO, |begun| begun.elapsed());
        self.tally.add(probe, Work { runs: 1, took, ..Work::default() });
        if let Some(spec) = self.set.spec(probe) {
            self.note.after(&spec.name);
        }
    }
}
