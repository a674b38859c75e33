//! Old and new matches side by side, event after event: gained, lost, changed, samples of each, and what they ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use event::json;
use serde::Serialize;

use super::messages::Messages;
use super::pairs::{Pairs, Side};
use super::source::Block;
use super::worker::{Hit, Told};

/// Characters of a text of an event in a sample.
const TEXT_MAX: usize = 160;

/// How the matches of one probe differ.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    /// Only in the new configuration.
    pub gained: Few,
    /// Only in the old one.
    pub lost: Few,
    /// In both, with another key, context, severity or other actions.
    pub changed: Few,
}

impl Difference {
    /// Whether there is one.
    pub fn any(&self) -> bool {
        self.gained.count + self.lost.count + self.changed.count > 0
    }
}

/// Some matches: how many, and the first of them.
#[derive(Debug, Clone, Default)]
pub struct Few {
    /// How many.
    pub count: u64,
    /// The first.
    pub samples: Vec<Sample>,
}

/// A match as people recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Id of the event.
    pub event: String,
    /// When it happened.
    pub time: String,
    /// Host name of the machine, else its serial number or hardware UUID.
    pub machine: String,
    /// Title of the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The title that it had, of a match that has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

/// The matches of one side, block after block.
struct Hits<'r> {
    told: &'r Receiver<Told>,
    hits: std::vec::IntoIter<Hit>,
    ended: bool,
}

impl<'r> Hits<'r> {
    fn new(told: &'r Receiver<Told>) -> Self {
        Self { told, hits: Vec::new().into_iter(), ended: true }
    }

    /// The next match of this block.
    fn peek(&mut self) -> Option<&Hit> {
        while self.hits.as_slice().is_empty() && !self.ended {
            match self.told.recv() {
                Ok(Told::Hits(hits)) => self.hits = hits.into_iter(),
                Ok(Told::End) | Err(_) => self.ended = true,
            }
        }
        self.hits.as_slice().first()
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Compared {
    /// By pair.
    pub differences: BTreeMap<usize, Difference>,
    /// What the matches ask for.
    pub messages: Messages,
}

/// Compares the matches of all blocks, by pair; keeps so many samples of each kind. What is told is of the probes that are
/// the same, of the old and of the new ones.
pub fn run(blocks: &Receiver<Arc<Block>>, told: [&Receiver<Told>; 3], pairs: &Pairs, samples: usize) -> Compared {
    let [mut shared, mut old, mut new] = told.map(Hits::new);
    let mut all: BTreeMap<usize, Difference> = BTreeMap::new();
    let mut messages = Messages::new(&pairs.digests);
    for block in blocks {
        (shared.ended, old.ended, new.ended) = (false, false, false);
        loop {
            let places = [&mut shared, &mut old, &mut new].map(|hits| hits.peek().map(Hit::place));
            let Some(first) = places.into_iter().flatten().min() else { break };
            let [is_shared, was_old, is_new] = places.map(|place| place == Some(first));
            let (line, pair) = first;
            let (event, received) = block.line(line);
            let mut ask = |side: &Side, hit: &Hit, of| {
                if let Some(acts) = side.acts.get(hit.probe).filter(|_| hit.acts) {
                    messages.ask(acts, received, of);
                }
            };
            if let Some(hit) = if is_shared { shared.hits.next() } else { None } {
                ask(&pairs.shared, &hit, [true, true]);
                continue;
            }
            let was = if was_old { old.hits.next() } else { None };
            let is = if is_new { new.hits.next() } else { None };
            was.iter().for_each(|hit| ask(&pairs.old, hit, [true, false]));
            is.iter().for_each(|hit| ask(&pairs.new, hit, [false, true]));
            let mut note = |of: fn(&mut Difference) -> &mut Few, title, was| {
                of(all.entry(pair).or_default()).add(samples, || Sample::of(event, title, was));
            };
            match (was, is) {
                (Some(was), Some(is)) if was.digest == is.digest => {}
                (Some(was), Some(is)) => note(|d| &mut d.changed, is.title, was.title),
                (None, Some(is)) => note(|d| &mut d.gained, is.title, None),
                (Some(was), None) => note(|d| &mut d.lost, was.title, None),
                (None, None) => break,
            }
        }
    }
    Compared { differences: all, messages }
}

impl Few {
    fn add(&mut self, samples: usize, sample: impl FnOnce() -> Sample) {
        self.count += 1;
        if self.samples.len() < samples {
            self.samples.push(sample());
        }
    }
}

impl Sample {
    fn of(event: &[u8], title: Option<String>, was: Option<String>) -> Self {
        let text = |of: &[u8], key: &str| -> Option<String> {
            let text = json::parse_str(json::get(of, key)?)?;
            Some(text.chars().take(TEXT_MAX).collect())
        };
        let machine = json::get(event, "machine").unwrap_or_default();
        let machine = ["hostname", "serial_number", "hardware_uuid"].iter().find_map(|key| text(machine, key));
        let own = |key| text(event, key).unwrap_or_default();
        Self { event: own("id"), time: own("time"), machine: machine.unwrap_or_default(), title, was }
    }
}
