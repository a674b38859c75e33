//! A filter over events of the past: what it matches, what it nearly matches, and what that changes. Bounded in time, in
//! events and in what is kept; what was left out is told.

mod found;
mod reel;

use std::time::{Duration, Instant};

use pipe::config::Config;
use probe::clauses::{Clauses, now};
use probe::{CompileError, FilterSet, Limits, Quiet, Spec, Val};
use schemars::JsonSchema;
use serde::Serialize;

use crate::events::{Events, NoAnswer};
use crate::specs::Gate;
use found::Misses;
pub use found::{Drawn, Hit, Near, drawn};
use reel::{Reel, narrowed};

/// Events that one run looks at.
pub const EVENTS_MAX: usize = 5000;
/// Of these, where nothing is like what the filter wants: near misses are looked for among all events.
const OTHERS_MAX: usize = 1000;
/// How long one run may take: the store has one half of it at most, and filters what is left.
pub const RUN_MAX: Duration = Duration::from_secs(4);
/// How long the store may take.
const STORE_MAX: Duration = Duration::from_secs(2);
/// Matches of each kind that are kept to be shown.
pub const HITS_MAX: usize = 20;

/// What is tried.
pub struct Trial<'a> {
    /// What the filter is about.
    pub gate: &'a Gate,
    /// The filter.
    pub filter: &'a str,
    /// The one that runs; none: there is none to compare with.
    pub running: Option<&'a str>,
    /// How far back: an age.
    pub since: &'a str,
}

/// Why nothing was tried.
#[derive(Debug)]
pub enum Untried {
    /// The filter is wrong: each mistake with its line, column and caret.
    Wrong(CompileError),
    /// The store does not answer.
    Away(NoAnswer),
    /// A thread cannot be started.
    Broken(String),
}

/// What came of it.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "TrialRan")]
pub struct Ran {
    /// Events that were looked at.
    pub looked: usize,
    /// Those of them that the filter was asked about: in scope, and results of its query.
    pub asked: usize,
    /// What the store was asked for, in the language of searches; empty: all events.
    pub search: String,
    /// All of them were looked at, none was left out for want of time or room.
    pub whole: bool,
    /// Time of the oldest event that was looked at.
    pub back_to: Option<String>,
    /// Whether there was a filter to compare with.
    pub compared: bool,
    /// How many matched now and not before.
    pub new: usize,
    /// How many matched before and do not now.
    pub lost: usize,
    /// How many match with both; without comparison all that match.
    pub same: usize,
    /// Events on which the filter failed, and how the first time.
    pub failed: usize,
    pub failure: Option<String>,
    pub new_hits: Vec<Hit>,
    pub lost_hits: Vec<Hit>,
    pub same_hits: Vec<Hit>,
    /// Events that it does not match, the nearest first.
    pub near: Vec<Near>,
}

/// Places of the filters in the set.
const NEW: usize = 0;
const ALL: usize = 1;
const OLD: usize = 2;

/// Runs it.
pub fn run(config: &Config, events: &Events<'_>, trial: &Trial<'_>) -> Result<Ran, Untried> {
    probe::with_stack(|| on_stack(config, events, trial)).unwrap_or_else(|e| Err(Untried::Broken(e.to_string())))
}

fn on_stack(config: &Config, events: &Events<'_>, trial: &Trial<'_>) -> Result<Ran, Untried> {
    let modules = |path: &str| config.module(path);
    let Trial { gate, filter, running, since } = trial;
    let clauses = Clauses::new(filter, &gate.name, &modules).map_err(Untried::Wrong)?;
    let named = |name: &str, text: &str| Spec { name: name.to_owned(), ..gate.spec(text) };
    let mut specs = vec![named("new", filter), named("all", "true")];
    // One that does not compile, of a console without `up`, is no one to compare with.
    let compared = running.filter(|text| probe::compile(text, &gate.name, &modules).is_ok());
    specs.extend(compared.map(|text| named("old", text)));
    let set = FilterSet::build(specs, &modules)
        .map_err(|mut errors| Untried::Wrong(errors.pop().unwrap_or(CompileError { problems: Vec::new() })))?;
    let mut play = Play {
        set,
        clauses,
        filter,
        begun: Instant::now(),
        misses: Misses::default(),
        ran: Ran { compared: compared.is_some(), ..Ran::default() },
    };
    let mut wanted = vec![NEW];
    wanted.extend(compared.map(|_| OLD));
    play.ran.search = narrowed(&play.set, &wanted);
    let search = play.ran.search.clone();
    play.show(Reel::new(events, &search, since, EVENTS_MAX))?;
    // A word that is mistyped is in no event: what is near is then among the others.
    if play.ran.asked == 0 {
        let others = narrowed(&play.set, &[ALL]);
        if others != search {
            play.ran = Ran { compared: play.ran.compared, search: others.clone(), ..Ran::default() };
            play.show(Reel::new(events, &others, since, OTHERS_MAX))?;
        }
    }
    Ok(play.done())
}

struct Play<'a> {
    set: FilterSet,
    clauses: Clauses,
    filter: &'a str,
    begun: Instant,
    misses: Misses,
    ran: Ran,
}

impl Play<'_> {
    fn show(&mut self, mut reel: Reel<'_>) -> Result<(), Untried> {
        while let Some(lines) = reel.next().map_err(Untried::Away)? {
            for line in lines {
                if self.begun.elapsed() > RUN_MAX {
                    return Ok(());
                }
                self.one(line.get());
            }
        }
        self.ran.whole = reel.is_whole();
        Ok(())
    }

    fn one(&mut self, line: &str) {
        self.ran.looked += 1;
        self.ran.back_to = found::text(line, "time").or(self.ran.back_to.take());
        let Ok(val) = probe::parse(line.as_bytes()) else { return };
        let at = now(&val, 0);
        let Ok(outcome) = self.set.run(line.as_bytes(), at, &mut Quiet) else { return };
        let matched = |probe: usize| outcome.found.iter().find(|found| found.probe == probe);
        if matched(ALL).is_none() {
            return;
        }
        self.ran.asked += 1;
        let (new, old) = (matched(NEW), matched(OLD));
        if let Some(failure) = outcome.failures.iter().find(|failure| failure.probe == NEW) {
            self.ran.failed += 1;
            let words = || match &failure.why {
                probe::Why::Failed(text) => text.clone(),
                probe::Why::Exceeded(limit) => Limits::default().exceeded(*limit),
            };
            self.ran.failure.get_or_insert_with(words);
        }
        let context = new.or(old).and_then(|found| found.context.as_deref());
        let (count, hits) = match (new.is_some(), old.is_some()) {
            (true, false) if self.ran.compared => (&mut self.ran.new, &mut self.ran.new_hits),
            (true, _) => (&mut self.ran.same, &mut self.ran.same_hits),
            (false, true) => (&mut self.ran.lost, &mut self.ran.lost_hits),
            (false, false) => return self.miss(line, &val, at),
        };
        *count += 1;
        if hits.len() < HITS_MAX {
            hits.push(Hit::new(line, context));
            // Of what is lost people want to know by which clause.
            if new.is_none() {
                self.miss(line, &val, at);
            }
        }
    }

    fn miss(&mut self, line: &str, val: &Val, at: i64) {
        if self.misses.has_room() {
            self.misses.add(line, &self.clauses, self.clauses.explain(val, at, &Limits::default()));
        }
    }

    fn done(mut self) -> Ran {
        self.ran.near = self.misses.drawn(self.filter, &self.clauses);
        self.ran
    }
}
