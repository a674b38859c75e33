//! What the clauses of a running filter give, written down while it runs.

use std::cell::RefCell;

use jaq_core::{Exn, ValX, ValXs};

use crate::budget;
use crate::value::Val;

/// The native that runs its second argument and writes down what comes of it; no program can spell it.
pub(crate) const SEEN: &str = "!seen";
/// Values that are kept of one place, and the characters of each.
const VALUES_MAX: usize = 5;
const TEXT_MAX: usize = 160;

/// What came of one clause or operand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// How often it was evaluated.
    pub(super) runs: u64,
    /// Outputs that are neither `false` nor `null`, and those that are.
    pub(super) truthy: u64,
    pub(super) falsy: u64,
    /// Evaluations that ended without an output.
    pub(super) empty: u64,
    pub(super) errors: u64,
    /// The first error's text.
    pub(super) error: Option<String>,
    /// The first distinct outputs as text.
    pub(super) values: Vec<String>,
    /// When anything came of it last, and what.
    pub(super) last: Option<(u64, Came)>,
    /// The run was stopped while this was evaluated: how deep it lay among others of which that is true, from 1. 0: no.
    pub(super) stopped: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    True,
    False,
    Nothing,
    Error,
}

#[derive(Default)]
struct Recorder {
    records: Vec<Record>,
    clock: u64,
    /// What is being evaluated, each within the one before.
    open: Vec<usize>,
}

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// Writes down what `run` does with so many places.
pub(super) fn record<T>(places: usize, run: impl FnOnce() -> T) -> (T, Vec<Record>) {
    let recorder = Recorder { records: vec![Record::default(); places], ..Recorder::default() };
    RECORDER.with(|r| *r.borrow_mut() = Some(recorder));
    let done = run();
    let Recorder { mut records, open, .. } = RECORDER.with(|r| r.borrow_mut().take()).unwrap_or_default();
    for (depth, place) in (1..).zip(open) {
        if let Some(record) = records.get_mut(place) {
            record.stopped = depth;
        }
    }
    (done, records)
}

/// Evaluates a place. A run that is stopped does not come back from here.
fn within<T>(place: usize, run: impl FnOnce() -> T) -> T {
    note_open(|open| open.push(place));
    let done = run();
    note_open(|open| open.truncate(open.len().saturating_sub(1)));
    done
}

fn note_open(change: impl FnOnce(&mut Vec<usize>)) {
    budget::exempt(|| {
        RECORDER.with(|r| {
            if let Some(recorder) = r.borrow_mut().as_mut() {
                change(&mut recorder.open);
            }
        });
    });
}

/// Runs uncounted: looking at a filter does not make it dearer.
fn note(place: usize, write: impl FnOnce(&mut Record) -> Option<Came>) {
    budget::exempt(|| {
        RECORDER.with(|r| {
            let mut r = r.borrow_mut();
            let Some(Recorder { records, clock, .. }) = r.as_mut() else { return };
            let Some(record) = records.get_mut(place) else { return };
            *clock += 1;
            if let Some(came) = write(record) {
                record.last = Some((*clock, came));
            }
        });
    });
}

/// The outputs of `run` as they are, each written down on its way.
pub(crate) fn seen<'a>(place: &Val, run: impl FnOnce() -> ValXs<'a, Val>) -> ValXs<'a, Val> {
    let Val::Int(place) = place else { return run() };
    let place = usize::try_from(*place).unwrap_or(usize::MAX);
    note(place, |record| {
        record.runs += 1;
        None
    });
    Box::new(Seen { place, outputs: within(place, run), came: false })
}

struct Seen<'a> {
    place: usize,
    outputs: ValXs<'a, Val>,
    /// Something came already.
    came: bool,
}

impl<'a> Iterator for Seen<'a> {
    type Item = ValX<'a, Val>;

    fn next(&mut self) -> Option<Self::Item> {
        let output = within(self.place, || self.outputs.next());
        match &output {
            Some(Ok(value)) => note(self.place, |record| Some(record.output(value))),
            Some(Err(e)) => note(self.place, |record| record.error(e)),
            None if !self.came => note(self.place, |record| {
                record.empty += 1;
                Some(Came::Nothing)
            }),
            None => {}
        }
        self.came = true;
        output
    }

    // jaq looks at it to see what it need not copy.
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.outputs.size_hint()
    }
}

impl Record {
    fn output(&mut self, value: &Val) -> Came {
        if self.values.len() < VALUES_MAX {
            let text = short(value);
            if !self.values.contains(&text) {
                self.values.push(text);
            }
        }
        if value.as_bool() {
            self.truthy += 1;
            Came::True
        } else {
            self.falsy += 1;
            Came::False
        }
    }

    /// A `break` is no error.
    fn error(&mut self, e: &Exn<'_, Val>) -> Option<Came> {
        let value = e.clone().get_err().ok()?.into_val();
        self.errors += 1;
        self.error.get_or_insert_with(|| match &value {
            Val::Str(text) => cut(text.as_str().chars()),
            value => short(value),
        });
        Some(Came::Error)
    }
}

/// A value as JSON, cut. Looks at no more of it than it shows.
fn short(value: &Val) -> String {
    let mut text = String::new();
    write(value, &mut text);
    cut(text.chars())
}

fn cut(mut chars: impl Iterator<Item = char>) -> String {
    let mut text: String = chars.by_ref().take(TEXT_MAX).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

fn write(value: &Val, out: &mut String) {
    if out.len() > TEXT_MAX * 4 {
        return;
    }
    match value {
        Val::Str(s) => string(s.as_str(), out),
        Val::Arr(items) => {
            out.push('[');
            for (i, item) in items.as_slice().iter().take(TEXT_MAX).enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        Val::Obj(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().take(TEXT_MAX).enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                string(key.as_str(), out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        value => out.push_str(&value.to_string()),
    }
}

fn string(text: &str, out: &mut String) {
    let start: String = text.chars().take(TEXT_MAX + 1).collect();
    let mut bytes = Vec::new();
    event::json::write_str(&start, &mut bytes);
    out.push_str(&String::from_utf8_lossy(&bytes));
}
