//! The filters that are filed under the values of one path.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use rustc_hash::FxHashMap;

use super::keys::{Key, KeyTest};
use super::scan::{At, lookup};
use super::text::{self, Members, Values, string};
use crate::analyse::{Paths, bits};
use crate::value::{Num, Val};

/// Elements of an array that are looked up; of a longer one every filter that wants an element is a candidate.
const ELEMENTS_MAX: usize = 4_096;

/// Places of filters.
#[derive(Debug, Default)]
struct Posting(Vec<u32>);

/// Filters by the value of a path.
#[derive(Debug, Default)]
pub(super) struct Column {
    exact: FxHashMap<Box<[u8]>, Posting>,
    numbers: FxHashMap<u64, Posting>,
    lower: FxHashMap<Box<[u8]>, Posting>,
    parts: Parts,
    folded: Parts,
    present: Posting,
    elements: Option<Box<Elements>>,
}

/// Filters by what is in an element of an array or object.
#[derive(Debug, Default)]
struct Elements {
    /// By the element itself.
    own: Column,
    /// By its members: by the key, and the path from there on.
    below: FxHashMap<Box<[u8]>, Vec<Below>>,
}

type Below = (Vec<Box<[u8]>>, Column);

/// Texts to look for in a string.
#[derive(Debug, Default)]
struct Parts {
    texts: FxHashMap<Box<[u8]>, u32>,
    postings: Vec<Posting>,
    search: Option<AhoCorasick>,
}

impl Parts {
    fn add(&mut self, text: &[u8], filter: u32) {
        let next = u32::try_from(self.postings.len()).unwrap_or(u32::MAX);
        let place = *self.texts.entry(text.into()).or_insert(next);
        if place == next {
            self.postings.push(Posting::default());
        }
        if let Some(posting) = self.postings.get_mut(place as usize) {
            posting.0.push(filter);
        }
    }

    /// `false`: the texts are too many for an automaton.
    fn finish(&mut self, folded: bool) -> bool {
        if self.texts.is_empty() {
            return true;
        }
        let mut texts: Vec<(&Box<[u8]>, u32)> = self.texts.iter().map(|(t, i)| (t, *i)).collect();
        texts.sort_by_key(|(_, i)| *i);
        let built = AhoCorasickBuilder::new().ascii_case_insensitive(folded).build(texts.iter().map(|(t, _)| t));
        self.texts = FxHashMap::default();
        self.search = built.ok();
        self.search.is_some()
    }

    #[inline]
    fn look(&self, text: &[u8], found: &mut dyn FnMut(u32)) {
        let Some(search) = &self.search else { return };
        for hit in search.find_overlapping_iter(text) {
            if let Some(posting) = self.postings.get(hit.pattern().as_usize()) {
                posting.0.iter().for_each(|filter| found(*filter));
            }
        }
    }
}

impl Column {
    /// Files a filter under a key of this path.
    pub(super) fn add(&mut self, paths: &Paths, key: &Key, filter: u32) {
        let column = match key.place.over {
            None => self,
            Some(_) => self.elements.get_or_insert_default().column(&paths.keys(key.place.path)),
        };
        column.add_test(&key.test, filter);
    }

    fn add_test(&mut self, test: &KeyTest, filter: u32) {
        match test {
            KeyTest::Exact(text) => self.exact.entry(text.clone()).or_default().0.push(filter),
            KeyTest::Number(bits) => self.numbers.entry(*bits).or_default().0.push(filter),
            KeyTest::Lower(text) => self.lower.entry(text.clone()).or_default().0.push(filter),
            KeyTest::Part(text) => self.parts.add(text, filter),
            KeyTest::PartFolded(text) => self.folded.add(text, filter),
            KeyTest::Present => self.present.0.push(filter),
        }
    }

    /// Nothing more is added. `false`: it could not be built.
    pub(super) fn finish(&mut self) -> bool {
        let own = self.parts.finish(false) && self.folded.finish(true);
        let built = self.elements.as_mut().is_none_or(|elements| elements.columns_mut().all(Self::finish));
        own && built
    }

    /// The filters that this value makes candidates, perhaps several times.
    pub(super) fn look(&self, value: &[u8], found: &mut dyn FnMut(u32)) {
        let first = value.first().copied().unwrap_or(b'n');
        if first != b'n' {
            self.present.0.iter().for_each(|filter| found(*filter));
        }
        let mut posted = |posting: Option<&Posting>| {
            if let Some(posting) = posting {
                posting.0.iter().for_each(|filter| found(*filter));
            }
        };
        match first {
            b'"' => {
                if !self.exact.is_empty() {
                    posted(self.exact.get(value));
                }
                if self.lower.is_empty() && self.parts.search.is_none() && self.folded.search.is_none() {
                    return;
                }
                let text = string(value).unwrap_or(Cow::Borrowed(b""));
                if !self.lower.is_empty() {
                    posted(self.lower.get(text.to_ascii_lowercase().as_slice()));
                }
                self.parts.look(&text, found);
                self.folded.look(&text, found);
            }
            b't' | b'f' => posted(self.exact.get(value)),
            b'{' | b'[' => self.look_into(value, found),
            b'n' => {}
            _ => {
                if !self.numbers.is_empty() {
                    let number = std::str::from_utf8(value).ok().and_then(|text| Val::literal(text).num());
                    posted(number.and_then(|n: Num| self.numbers.get(&bits(n))));
                }
            }
        }
    }

    fn look_into(&self, value: &[u8], found: &mut dyn FnMut(u32)) {
        let Some(elements) = &self.elements else { return };
        let values = match value.first() {
            Some(b'[') => Values::Elements(text::Elements::new(value)),
            _ => Values::Members(Members::new(value)),
        };
        for (i, element) in values.enumerate() {
            if i >= ELEMENTS_MAX {
                return elements.everything(found);
            }
            elements.look(element, found);
        }
    }

    /// All filters of the column.
    pub(super) fn everything(&self, found: &mut dyn FnMut(u32)) {
        let maps = self.exact.values().chain(self.numbers.values()).chain(self.lower.values());
        let parts = self.parts.postings.iter().chain(&self.folded.postings);
        maps.chain(parts).chain([&self.present]).for_each(|p| p.0.iter().for_each(|filter| found(*filter)));
        if let Some(elements) = &self.elements {
            elements.everything(found);
        }
    }
}

impl Elements {
    fn column(&mut self, keys: &[&[u8]]) -> &mut Column {
        let Some((first, rest)) = keys.split_first() else { return &mut self.own };
        let below = self.below.entry(Box::from(*first)).or_default();
        let known = below.iter().position(|(keys, _)| keys.iter().map(|k| &**k).eq(rest.iter().copied()));
        let place = known.unwrap_or(below.len());
        if known.is_none() {
            below.push((rest.iter().copied().map(Box::from).collect(), Column::default()));
        }
        below.get_mut(place).map_or(&mut self.own, |(_, column)| column)
    }

    fn columns_mut(&mut self) -> impl Iterator<Item = &mut Column> {
        std::iter::once(&mut self.own).chain(self.below.values_mut().flatten().map(|(_, column)| column))
    }

    fn everything(&self, found: &mut dyn FnMut(u32)) {
        self.own.everything(found);
        self.below.values().flatten().for_each(|(_, column)| column.everything(found));
    }

    fn look(&self, element: &[u8], found: &mut dyn FnMut(u32)) {
        self.own.look(element, found);
        if self.below.is_empty() || element.first() != Some(&b'{') {
            return;
        }
        for (key, member) in Members::new(element) {
            for (rest, column) in self.below.get(key).into_iter().flatten() {
                if let At::Value(value) = lookup(member, rest) {
                    column.look(value, found);
                }
            }
        }
    }
}
