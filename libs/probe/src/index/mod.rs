//! One structure over all filters: which of them may match an event.
//!
//! Every filter is filed under one of its clauses, the one whose keys are rarest. A canonical line is scanned once for
//! the paths that any filter looks at; the values found there name the candidates.

mod column;
mod eval;
mod glance;
mod guard;
mod keys;
mod prefilter;
mod rarity;
mod scan;
mod text;

pub(crate) use eval::Eval;
pub(crate) use keys::{Clause, Key, KeyTest, clauses};
pub(crate) use rarity::Rarity;

use std::cmp::Reverse;

use column::Column;
use glance::Glance;
use guard::{Answers, Guards};
use prefilter::Prefilter;
use scan::{At, Places, Trie};

use crate::analyse::{Node, PathId, PathRef, Paths};

/// Filters filed under their keys.
#[derive(Debug)]
pub(crate) struct Index {
    trie: Trie,
    /// By path.
    columns: Vec<Option<Box<Column>>>,
    /// Paths that have a column.
    filed: Vec<PathId>,
    /// Filters that are candidates at every event.
    pub(crate) always: Vec<u32>,
    prefilter: Option<Prefilter>,
    glance: Option<Glance>,
    guards: Guards,
    /// Which clause each filter is filed under.
    pub(crate) chosen: Vec<Option<usize>>,
}

/// What a thread needs to look lines up; used again for every line.
#[derive(Debug, Default)]
pub struct Scratch {
    places: Places,
    candidates: Vec<u32>,
    /// The line at which a filter was last made a candidate.
    stamps: Vec<u32>,
    stamp: u32,
    answers: Answers,
    worth: Worth,
}

/// Whether glances have spared scans of late.
#[derive(Debug, Default)]
struct Worth {
    /// The share of the last few glances that spared nothing, of 256.
    vain: u8,
    /// Lines since the start, to choose one in [`TRIED`].
    passed: u8,
}

/// A glance costs about a quarter of a scan: it has to spare one in so many.
const VAIN_MAX: u8 = 192;
/// While they are not worth it, one in so many lines is glanced at all the same.
const TRIED: u8 = 32;

impl Worth {
    fn is_due(&mut self) -> bool {
        self.passed = self.passed.wrapping_add(1);
        self.vain < VAIN_MAX || self.passed.is_multiple_of(TRIED)
    }

    fn learn(&mut self, spared: bool) {
        let goal = if spared { 0 } else { u8::MAX };
        self.vain = (u16::from(self.vain) * 7 / 8 + u16::from(goal) / 8) as u8;
    }
}

impl Index {
    /// Of filters by their clauses; `paths` are all that their nodes look at, `also` is looked for beside them.
    pub(crate) fn new<'n>(
        filed: &[&[Clause]],
        nodes: impl Iterator<Item = &'n Node>,
        also: &[PathRef],
        paths: &Paths,
        rarity: &Rarity,
    ) -> Self {
        let chosen: Vec<Option<usize>> = filed.iter().map(|clauses| rarity.choose(clauses)).collect();
        let mut columns: Vec<Option<Box<Column>>> = Vec::new();
        columns.resize_with(paths.len(), || None);
        let mut always = Vec::new();
        let mut sizes = vec![0usize; paths.len()];
        for (i, (clauses, chosen)) in filed.iter().zip(&chosen).enumerate() {
            let filter = u32::try_from(i).unwrap_or(u32::MAX);
            match chosen.and_then(|c| clauses.get(c)) {
                None => always.push(filter),
                Some(clause) => {
                    for key in clause {
                        let path = key.place.over.unwrap_or(key.place.path);
                        if let Some(column) = columns.get_mut(path as usize) {
                            column.get_or_insert_default().add(paths, key, filter);
                            sizes.get_mut(path as usize).into_iter().for_each(|size| *size += 1);
                        }
                    }
                }
            }
        }
        for column in columns.iter_mut().flatten() {
            if !column.finish() {
                column.everything(&mut |filter| always.push(filter));
            }
        }
        always.sort_unstable();
        always.dedup();
        let mut filed_paths: Vec<PathId> = (0..).zip(&columns).filter(|(_, c)| c.is_some()).map(|(i, _)| i).collect();
        // Where most filters are, something is found first, in whatever order conditions are written.
        filed_paths.sort_by_key(|path| (Reverse(sizes.get(*path as usize)), paths.keys(*path)));
        let guards = Guards::new(filed, &chosen, rarity);
        let mut wanted: Vec<PathId> = also.iter().map(|p| p.path).chain(filed_paths.iter().copied()).collect();
        wanted.extend(guards.paths());
        let mut of_event = |path: PathRef| wanted.extend((path.base == 0).then_some(path.path));
        nodes.for_each(|node| node.paths(&mut of_event));
        wanted.sort_unstable();
        wanted.dedup();
        Self {
            trie: Trie::new(paths, wanted.into_iter()),
            prefilter: Prefilter::new(filed, &chosen, paths),
            glance: if always.is_empty() { Glance::new(&filed_paths, paths) } else { None },
            columns,
            filed: filed_paths,
            always,
            guards,
            chosen,
        }
    }

    /// Whether no filter can match the line, as far as that can be told without a scan.
    #[inline]
    pub(crate) fn rules_out(&self, line: &[u8], scratch: &mut Scratch) -> bool {
        if let Some(prefilter) = &self.prefilter {
            return !prefilter.finds(line);
        }
        let Some(glance) = &self.glance else { return false };
        if !scratch.worth.is_due() {
            return false;
        }
        let out = glance.finds_nothing(&self.columns, line);
        scratch.worth.learn(out);
        out
    }

    /// Scans the line; afterwards `scratch` knows its places and candidates, these in rising order.
    pub(crate) fn look<'s>(&self, line: &[u8], paths: &Paths, filters: usize, scratch: &'s mut Scratch) -> Found<'s> {
        let Scratch { places, candidates, stamps, stamp, answers, .. } = scratch;
        places.scan(&self.trie, paths, line);
        stamps.resize(filters, 0);
        *stamp = stamp.wrapping_add(1);
        if *stamp == 0 {
            stamps.fill(0);
            answers.forget();
            *stamp = 1;
        }
        candidates.clear();
        candidates.extend_from_slice(&self.always);
        let mut asked = candidates.len() as u64;
        let mut found = |filter: u32| {
            if let Some(last) = stamps.get_mut(filter as usize)
                && *last != *stamp
            {
                *last = *stamp;
                asked += 1;
                if self.guards.passes(filter, *stamp, answers, |path| places.at(path, paths, line)) {
                    candidates.push(filter);
                }
            }
        };
        for path in &self.filed {
            if let (At::Value(value), Some(Some(column))) =
                (places.at(*path, paths, line), self.columns.get(*path as usize))
            {
                column.look(value, &mut found);
            }
        }
        if candidates.len() > 1 {
            candidates.sort_unstable();
            candidates.dedup();
        }
        Found { places, candidates, asked }
    }
}

/// What was found of a line.
pub(crate) struct Found<'s> {
    places: &'s Places,
    pub(crate) candidates: &'s [u32],
    /// Filters that the line has a key of, those included that are no candidates for all that.
    pub(crate) asked: u64,
}

impl<'s> Found<'s> {
    pub(crate) fn eval(&self, line: &'s [u8], paths: &'s Paths) -> Eval<'s> {
        Eval::new(line, self.places, paths)
    }
}
