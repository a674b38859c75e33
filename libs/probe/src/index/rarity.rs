//! How rare keys are: guessed from how many filters share them, then learned from what passes.

use std::cmp::{Ordering, Reverse};

use rustc_hash::FxHashMap;

use super::keys::{Clause, Key};
use super::{Index, Places, Trie, column::Column};
use crate::analyse::{PathId, Paths};

/// What is known of keys.
#[derive(Debug, Default)]
pub(crate) struct Rarity<'c> {
    /// How many clauses name a key.
    shared: FxHashMap<&'c Key, u32>,
    /// How many keys there are of a path.
    apart: FxHashMap<PathId, u32>,
    /// In how many of `lines` lines a key was seen.
    seen: FxHashMap<&'c Key, u32>,
    lines: usize,
}

impl<'c> Rarity<'c> {
    /// Before any event.
    pub(crate) fn of(filed: &[&'c [Clause]]) -> Self {
        let mut shared: FxHashMap<&Key, u32> = FxHashMap::default();
        let mut apart: FxHashMap<PathId, u32> = FxHashMap::default();
        for key in filed.iter().flat_map(|clauses| clauses.iter().flatten()) {
            let n = shared.entry(key).or_default();
            *n += 1;
            if *n == 1 {
                *apart.entry(key.place.path).or_default() += 1;
            }
        }
        Self { shared, apart, seen: FxHashMap::default(), lines: 0 }
    }

    /// Counts the keys in lines that passed.
    pub(crate) fn learn(&mut self, lines: &[Box<[u8]>], paths: &Paths) {
        let keys: Vec<&'c Key> = self.shared.keys().copied().collect();
        let mut columns: FxHashMap<PathId, Column> = FxHashMap::default();
        for (i, key) in (0..).zip(&keys) {
            let path = key.place.over.unwrap_or(key.place.path);
            columns.entry(path).or_default().add(paths, key, i);
        }
        columns.values_mut().for_each(|column| {
            column.finish();
        });
        let trie = Trie::new(paths, columns.keys().copied());
        let mut places = Places::default();
        let mut counts = vec![(0u32, 0u32); keys.len()];
        for (number, line) in (1..).zip(lines) {
            places.scan(&trie, paths, line);
            for (path, column) in &columns {
                if let super::At::Value(value) = places.at(*path, paths, line) {
                    column.look(value, &mut |key| {
                        if let Some((count, last)) = counts.get_mut(key as usize)
                            && *last != number
                        {
                            (*count, *last) = (*count + 1, number);
                        }
                    });
                }
            }
        }
        self.seen = keys.into_iter().zip(counts).map(|(key, (count, _))| (key, count)).collect();
        self.lines = lines.len();
    }

    /// The clause to file a filter under; `None` if it has none.
    pub(crate) fn choose(&self, clauses: &[Clause]) -> Option<usize> {
        let costs = clauses.iter().map(|clause| self.cost(clause));
        let rank = |i: usize| clauses.get(i).map_or(0, |clause| self.telling_apart(clause));
        let costs = costs.enumerate();
        costs.min_by(|(i, l), (j, r)| l.total_cmp(r).then_with(|| rank(*j).cmp(&rank(*i)))).map(|(i, _)| i)
    }

    /// The one of these clauses that fewest events fulfil.
    pub(crate) fn rarest<'a>(&self, clauses: impl Iterator<Item = &'a Clause>) -> Option<&'a Clause> {
        let costs = clauses.map(|clause| (self.cost(clause), Reverse(self.telling_apart(clause)), clause));
        let order = |l: &(f64, Reverse<u32>, &Clause), r: &(f64, Reverse<u32>, &Clause)| -> Ordering {
            l.0.total_cmp(&r.0).then_with(|| l.1.cmp(&r.1))
        };
        costs.min_by(order).map(|(.., clause)| clause)
    }

    /// Of clauses that cost the same the one whose paths tell most filters apart is taken, in whatever order they are
    /// written: what is asked at every event stays on few paths.
    fn telling_apart(&self, clause: &Clause) -> u32 {
        clause.iter().filter_map(|key| self.apart.get(&key.place.path).copied()).max().unwrap_or(0)
    }

    /// Candidates per event that a clause makes, and a little for what is not known.
    fn cost(&self, clause: &Clause) -> f64 {
        clause.iter().map(|key| self.key_cost(key)).sum()
    }

    fn key_cost(&self, key: &Key) -> f64 {
        let shared = f64::from(self.shared.get(key).copied().unwrap_or(1));
        let guess = shared.ln_1p() + key.weight_f64() / 8.0;
        if self.lines == 0 {
            return guess;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few hundred lines")]
        let share = f64::from(self.seen.get(key).copied().unwrap_or(0)) / self.lines as f64;
        share * 1000.0 + guess / 100.0
    }

    /// Candidates per event if filters are filed so.
    pub(crate) fn candidates(&self, filed: &[&'c [Clause]], chosen: &[Option<usize>]) -> f64 {
        let each = filed.iter().zip(chosen).map(|(clauses, chosen)| match chosen.and_then(|c| clauses.get(c)) {
            Some(clause) => self.cost(clause) / 1000.0,
            None => 1.0,
        });
        each.sum()
    }

    /// Whether filing anew would spare enough of the work.
    pub(crate) fn beats(&self, filed: &[&'c [Clause]], index: &Index) -> bool {
        let chosen: Vec<Option<usize>> = filed.iter().map(|clauses| self.choose(clauses)).collect();
        let (new, old) = (self.candidates(filed, &chosen), self.candidates(filed, &index.chosen));
        new < old * 0.9 - 0.0005
    }
}

impl Key {
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn weight_f64(&self) -> f64 {
        self.weight() as f64
    }
}
