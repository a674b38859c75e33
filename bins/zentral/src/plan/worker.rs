//! One side over all events: counts what matched and failed, and tells each match of a side that is compared.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use event::{Time, json};
use filter::{Failing, Gates, Stopped};
use probe::{Found, Spec, Why};

use super::off::{Gate, Off};
use super::pairs::Side;
use super::source::Block;

/// Matches that are handed on together.
const HITS: usize = 1024;
/// Characters of a title that are kept.
const TITLE_MAX: usize = 160;
/// Days that are counted one by one: events of a file may be of any day.
const DAYS_MAX: usize = 400;

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Place of the event in its block.
    pub line: usize,
    /// The pair.
    pub pair: usize,
    /// Of everything that is written on the event, but for `rev`.
    pub digest: u64,
    /// Title of the context.
    pub title: Option<String>,
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
    /// Messages by action.
    pub messages: Vec<u64>,
    /// Messages by UTC day of `received` (days since 1970), by action.
    pub days: BTreeMap<i64, Vec<u64>>,
    /// Events that are none to the engine.
    pub refused: u64,
}

/// Runs a side over all blocks; `hits` is where its matches are compared. On a thread with a big stack.
pub fn run(
    side: &Side,
    actions: usize,
    honours: bool,
    blocks: Receiver<Arc<Block>>,
    hits: Option<SyncSender<Told>>,
) -> Tally {
    let hits = hits.as_ref();
    let mut gate = Gate::new(&side.set, honours);
    let mut tally = Tally { messages: vec![0; actions], ..Tally::default() };
    let mut probes = vec![Counts::default(); side.set.len()];
    // Of probes that are the same in both nothing is told.
    let told = (0..side.set.len()).filter_map(|i| Some((i, side.set.spec(i)?))).filter(|_| hits.is_some());
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
                if let Some(counts) = probes.get_mut(found.probe) {
                    counts.matches += 1;
                    if counts.matches == 1 {
                        gates.matched(found.probe);
                    }
                }
                if let Some(acts) = side.acts.get(found.probe) {
                    tally.ask(acts, received, actions);
                }
                if hits.is_some()
                    && let (Some(spec), Some(pair)) = (side.set.spec(found.probe), side.pairs.get(found.probe))
                {
                    told.push(Hit { line: i, pair: *pair, digest: digest(spec, found), title: title(found) });
                }
            }
            if told.len() >= HITS && !hand_on(hits, Told::Hits(std::mem::take(&mut told))) {
                return tally;
            }
        }
        for (_, word) in words {
            gate.word(word);
        }
        if !(told.is_empty() || hand_on(hits, Told::Hits(told))) || !hand_on(hits, Told::End) {
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
    tally
}

/// False: nobody listens any more.
fn hand_on(to: Option<&SyncSender<Told>>, told: Told) -> bool {
    to.is_none_or(|to| to.send(told).is_ok())
}

impl Tally {
    /// A match asks for these actions.
    fn ask(&mut self, acts: &[usize], received: Time, actions: usize) {
        if acts.is_empty() {
            return;
        }
        let day = received.ms().div_euclid(86_400_000);
        let room = self.days.len() < DAYS_MAX || self.days.contains_key(&day);
        let mut on_day = room.then(|| self.days.entry(day).or_insert_with(|| vec![0; actions]));
        for act in acts {
            let of_day = on_day.as_mut().and_then(|day| day.get_mut(*act));
            for count in self.messages.get_mut(*act).into_iter().chain(of_day) {
                *count += 1;
            }
        }
    }
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
