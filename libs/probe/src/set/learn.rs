//! Which keys are rare is learned from lines that pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{FilterSet, Inner};
use crate::analyse::Paths;
use crate::index::{Index, Rarity};

/// Lines that are kept to learn from, and the longest of them in bytes.
const LINES: usize = 256;
const LINE_MAX: usize = 16 << 10;
/// After the first ones every so many lines one is kept.
const EVERY: u64 = 61;
/// Lines that have passed when first something is learned; then each time twice as many.
const FIRST: u64 = 192;
/// Filing a filter anew costs about as much as asking two: where filters were asked so often on an average, it costs little
/// beside what it may spare.
const ASKED: u64 = 32;
/// Sets with more probes learn beside the stream, not in it.
const INLINE_MAX: usize = 300;

/// What has passed.
#[derive(Default)]
pub(super) struct Learner {
    state: Mutex<State>,
    busy: Arc<AtomicBool>,
}

#[derive(Default, Clone)]
struct State {
    lines: Vec<Box<[u8]>>,
    /// The place of the line to be replaced next.
    next: usize,
    seen: u64,
    learned: u64,
    /// Candidates since it was learned last.
    asked: u64,
}

/// What one runner has seen.
#[derive(Default)]
pub(super) struct Samples {
    seen: u64,
    before: u64,
    pub(super) asked: u64,
    lines: Vec<Box<[u8]>>,
}

impl Samples {
    #[inline]
    pub(super) fn see(&mut self, line: &[u8]) {
        self.seen += 1;
        if (self.before + self.seen < FIRST || (self.before + self.seen).is_multiple_of(EVERY))
            && line.len() <= LINE_MAX
            && self.lines.len() < LINES
        {
            self.lines.push(line.into());
        }
    }
}

impl Learner {
    /// What has passed, for a set that takes the place of this one.
    pub(super) fn taken_over(&self) -> Self {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { state: Mutex::new(state), busy: Arc::default() }
    }

    /// What is known from the start.
    pub(super) fn teach(&self, rarity: &mut Rarity<'_>, paths: &Paths) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.lines.is_empty() {
            rarity.learn(&state.lines, paths);
        }
    }
}

impl FilterSet {
    pub(super) fn samples(&self) -> Samples {
        let state = self.learner.state.lock().unwrap_or_else(PoisonError::into_inner);
        Samples { before: state.seen, ..Samples::default() }
    }

    /// Takes in what a runner has seen, and files anew if that pays.
    pub(super) fn learn(&self, samples: Samples) {
        let mut state = self.learner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen += samples.seen;
        state.asked += samples.asked;
        for line in samples.lines {
            let next = state.next;
            match state.lines.get_mut(next) {
                Some(old) => *old = line,
                None => state.lines.push(line),
            }
            state.next = (next + 1) % LINES;
        }
        let due = FIRST.max(state.learned.saturating_mul(2));
        let pays = state.asked >= ASKED.saturating_mul(self.len() as u64);
        if state.seen < due || !pays || self.learner.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        (state.learned, state.asked) = (state.seen, 0);
        let (inner, index, busy) = (Arc::clone(&self.inner), Arc::clone(&self.index), Arc::clone(&self.learner.busy));
        let lines = state.lines.clone();
        drop(state);
        let learn = move || {
            file_anew(&inner, &index, &lines);
            busy.store(false, Ordering::Release);
        };
        if self.len() <= INLINE_MAX {
            learn();
        } else if std::thread::Builder::new().name("learn".into()).spawn(learn).is_err() {
            // It is not learned this time.
            self.learner.busy.store(false, Ordering::Release);
        }
    }
}

fn file_anew(inner: &Inner, index: &RwLock<Arc<Index>>, lines: &[Box<[u8]>]) {
    let filed = inner.filed();
    let mut rarity = Rarity::of(&filed);
    rarity.learn(lines, &inner.paths);
    let now = Arc::clone(&index.read().unwrap_or_else(PoisonError::into_inner));
    if rarity.beats(&filed, &now) {
        let new = Arc::new(inner.index(&filed, &rarity));
        *index.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}
