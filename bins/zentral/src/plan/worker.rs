//! One side over all events: counts what matched and failed, and tells its matches.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use event::json;
use filter::{Failing, Gates, Stopped};
use pipe::StageError;
use probe::{Found, Spec, Why};

use super::judge::{self, Judge};
use super::off::{Gate, Off};
use super::pairs::Side;
use super::source::Block;

/// Matches that are handed on together.
const HITS: usize = 1024;
/// Characters of a title that are kept.
const TITLE_MAX: usize = 160;

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Place of the event in its block.
    pub line: usize,
    /// The pair.
    pub pair: usize,
    /// Place of the probe in the set of its side.
    pub probe: usize,
    /// Whether its actions are told.
    pub acts: bool,
    /// Of everything that is written on the event, but for `rev`.
    pub digest: u64,
    /// Title of the context.
    pub title: Option<String>,
}

impl Hit {
    /// In this order they are told.
    pub fn place(&self) -> (usize, usize) {
        (self.line, self.pair)
    }
}

/// What a worker hands on.
pub enum Told {
    /// Matches in the order of events, and of pairs within one event.
    Hits(Vec<Hit>),
    /// The block is done.
    End,
}

/// What a probe did on one side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that matched.
    pub matches: u64,
    /// Matches whose actions are told.
    pub acted: u64,
    /// There are conditions on that.
    pub judged: bool,
    /// Runtime errors.
    pub errors: u64,
    /// Exceeded limits.
    pub limits: u64,
    /// It did not run over all of them.
    pub off: Option<Off>,
    /// No event reached it.
    pub stopped: Option<Stopped>,
    /// It chose nothing, and its filter fails.
    pub failing: Option<Failing>,
}

/// What a side did.
#[derive(Debug, Default)]
pub struct Tally {
    /// By pair.
    pub probes: BTreeMap<usize, Counts>,
    /// Events that are none to the engine.
    pub refused: u64,
}

/// Runs a side over all blocks; `to` is where its matches are compared and what they ask for is counted. Of a side that
/// is `shared` only those that are acted upon are told. On a thread with a big stack.
pub fn run(
    side: &Side,
    shared: bool,
    honours: bool,
    blocks: Receiver<Arc<Block>>,
    to: &SyncSender<Told>,
) -> Result<Tally, StageError> {
    let mut memory = judge::memory()?;
    let mut judge = Judge::new(side, &mut memory)?;
    let mut gate = Gate::new(&side.set, honours);
    let mut tally = Tally::default();
    let judged = |i| side.set.spec(i).is_some_and(|spec| side.conditions.has(&spec.name));
    let mut probes: Vec<Counts> =
        (0..side.set.len()).map(|i| Counts { judged: judged(i), ..Counts::default() }).collect();
    // Of probes that are the same in both nothing is told.
    let told = (0..side.set.len()).filter_map(|i| Some((i, side.set.spec(i)?))).filter(|_| !shared);
    let mut gates = Gates::new(told, u64::MAX);
    for block in blocks {
        gates.see((0..block.len()).map(|i| block.line(i).0));
        if let Some(before) = &block.fresh {
            gate.fresh(before);
        }
        let mut words = block.words.iter().peekable();
        let mut told = Vec::new();
        // A side without probes has nothing to say, and reading events for it would cost as much as for one with them.
        for i in 0..if side.set.is_empty() { 0 } else { block.len() } {
            while let Some((_, word)) = words.next_if(|(at, _)| *at <= i) {
                gate.word(word);
            }
            let (event, received) = block.line(i);
            gate.next(event);
            let Ok(outcome) = side.set.run(event, 0, &mut gate) else {
                tally.refused += 1;
                continue;
            };
            gate.passed();
            for failure in &outcome.failures {
                let Some(counts) = probes.get_mut(failure.probe) else { continue };
                match failure.why {
                    Why::Failed(_) => counts.errors += 1,
                    Why::Exceeded(_) => {
                        counts.limits += 1;
                        gate.exceeded(failure.probe, event, received);
                    }
                }
            }
            for found in &outcome.found {
                let acts = judge.acts(found, event, received)?;
                if let Some(counts) = probes.get_mut(found.probe) {
                    counts.matches += 1;
                    counts.acted += u64::from(acts);
                    if counts.matches == 1 {
                        gates.matched(found.probe);
                    }
                }
                if let (Some(spec), Some(pair)) = (side.set.spec(found.probe), side.pairs.get(found.probe))
                    && (acts || !shared)
                {
                    let (digest, title) = if shared { (0, None) } else { (digest(spec, found), title(found)) };
                    told.push(Hit { line: i, pair: *pair, probe: found.probe, acts, digest, title });
                }
            }
            if told.len() >= HITS && to.send(Told::Hits(std::mem::take(&mut told))).is_err() {
                return Ok(tally);
            }
        }
        for (_, word) in words {
            gate.word(word);
        }
        // Whoever does not listen any more wants no more blocks either.
        if !told.is_empty() && to.send(Told::Hits(told)).is_err() || to.send(Told::End).is_err() {
            break;
        }
    }
    for (place, stopped) in gates.stopped() {
        if let Some(counts) = probes.get_mut(place) {
            counts.stopped = Some(stopped);
        }
    }
    for (place, failing) in gates.failing(&side.set) {
        if let Some(counts) = probes.get_mut(place) {
            counts.failing = Some(failing);
        }
    }
    for ((counts, pair), off) in probes.into_iter().zip(&side.pairs).zip(gate.told) {
        tally.probes.insert(*pair, Counts { off, ..counts });
    }
    Ok(tally)
}

fn digest(spec: &Spec, found: &Found) -> u64 {
    let mut hash = DefaultHasher::new();
    (&spec.severity, &spec.act, &found.key, &found.context, found.closes).hash(&mut hash);
    hash.finish()
}

fn title(found: &Found) -> Option<String> {
    let title = json::parse_str(json::get(found.context.as_deref()?.as_bytes(), "title")?)?;
    Some(title.chars().take(TITLE_MAX).collect())
}
