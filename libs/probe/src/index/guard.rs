//! A second condition of a filter, asked before the filter itself: most candidates fail it. Filters that share one share
//! its answer, and what is read for it lies close together, which the filters themselves do not.

use memchr::memmem::Finder;
use rustc_hash::FxHashMap;

use super::keys::{Clause, Key, KeyTest};
use super::rarity::Rarity;
use super::scan::At;
use super::text::string;
use crate::analyse::PathId;

/// Keys of a clause that are asked one after the other.
const KEYS_MAX: usize = 4;
/// Of a filter that has no guard.
const NONE: u32 = u32::MAX;

/// The guards of all filters.
#[derive(Debug, Default)]
pub(super) struct Guards {
    all: Vec<Guard>,
    /// Which one each filter has.
    of: Vec<u32>,
}

/// Holds if one of these does.
type Guard = Vec<(PathId, Test)>;

#[derive(Debug)]
enum Test {
    Exact(Box<[u8]>),
    Part(Box<Finder<'static>>),
    Present,
}

/// What the guards say of a line, as far as they were asked.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<(u32, bool)>);

impl Guards {
    /// Of filters by their clauses, each but the one that it is filed under.
    pub(super) fn new(filed: &[&[Clause]], chosen: &[Option<usize>], rarity: &Rarity<'_>) -> Self {
        let mut known: FxHashMap<&Clause, u32> = FxHashMap::default();
        let mut guards = Self::default();
        for (clauses, chosen) in filed.iter().zip(chosen) {
            let others = (0..).zip(clauses.iter()).filter(|(i, _)| chosen.is_some_and(|c| c != *i));
            let can = others.map(|(_, clause)| clause).filter(|c| c.len() <= KEYS_MAX && c.iter().all(Test::can));
            guards.of.push(rarity.rarest(can).map_or(NONE, |clause| {
                *known.entry(clause).or_insert_with(|| {
                    guards.all.push(clause.iter().filter_map(Test::of).collect());
                    u32::try_from(guards.all.len() - 1).unwrap_or(NONE)
                })
            }));
        }
        guards
    }

    /// The paths that they look at.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathId> {
        self.all.iter().flatten().map(|(path, _)| *path)
    }

    /// Whether the guard of a filter lets a line pass; `line` is told apart from others by its number.
    #[inline]
    pub(super) fn passes<'t>(
        &self,
        filter: u32,
        number: u32,
        answers: &mut Answers,
        at: impl Fn(PathId) -> At<'t>,
    ) -> bool {
        let Some(place) = self.of.get(filter as usize).map(|place| *place as usize) else { return true };
        let Some(guard) = self.all.get(place) else { return true };
        if answers.0.len() < self.all.len() {
            answers.0.resize(self.all.len(), (0, false));
        }
        match answers.0.get_mut(place) {
            Some((of, answer)) if *of == number => *answer,
            known => {
                let passes =
                    guard.iter().any(|(path, test)| matches!(at(*path), At::Value(value) if test.holds(value)));
                if let Some(known) = known {
                    *known = (number, passes);
                }
                passes
            }
        }
    }
}

impl Answers {
    /// Lines are numbered from the start again.
    pub(super) fn forget(&mut self) {
        self.0.fill((0, false));
    }
}

impl Test {
    fn can(key: &Key) -> bool {
        let test = matches!(key.test, KeyTest::Exact(_) | KeyTest::Part(_) | KeyTest::Present);
        test && key.place.over.is_none()
    }

    fn of(key: &Key) -> Option<(PathId, Self)> {
        let test = match &key.test {
            KeyTest::Exact(text) => Self::Exact(text.clone()),
            KeyTest::Part(text) => Self::Part(Box::new(Finder::new(text).into_owned())),
            KeyTest::Present => Self::Present,
            KeyTest::Number(_) | KeyTest::Lower(_) | KeyTest::PartFolded(_) => return None,
        };
        Some((key.place.path, test))
    }

    /// As a column finds the key.
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => **text == *value,
            Self::Part(part) => string(value).is_some_and(|text| part.find(&text).is_some()),
            Self::Present => value.first() != Some(&b'n'),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::super::keys::KeyPlace;
    use super::*;

    fn key(path: PathId, test: KeyTest) -> Key {
        Key { place: KeyPlace { over: None, path }, test }
    }

    #[test]
    fn the_rarest_other_clause_guards_and_filters_share_its_answer() {
        let name = |n: u8| vec![key(1, KeyTest::Exact([b'"', n, b'"'].into()))];
        let part = || vec![key(2, KeyTest::Part(b"x\ny"[..].into())), key(3, KeyTest::Present)];
        let deep = Key { place: KeyPlace { over: Some(4), path: 0 }, test: KeyTest::Present };
        let filters: Vec<Vec<Clause>> = vec![
            vec![name(b'a'), part()],
            vec![part(), name(b'b')],
            vec![name(b'c'), vec![deep.clone()], vec![key(5, KeyTest::Number(1))]],
            vec![vec![deep]],
        ];
        let filed: Vec<&[Clause]> = filters.iter().map(Vec::as_slice).collect();
        let guards = Guards::new(&filed, &[Some(0), Some(1), Some(0), None], &Rarity::of(&filed));
        assert_eq!((&guards.of[..], guards.all.len()), (&[0, 0, NONE, NONE][..], 1));
        assert_eq!(guards.paths().collect::<Vec<_>>(), [2, 3]);

        let mut answers = Answers::default();
        let mut ask = |filter, number, texts: [Option<&'static [u8]>; 2]| {
            let asked = std::cell::Cell::new(0);
            let passes = guards.passes(filter, number, &mut answers, |path| {
                asked.set(asked.get() + 1);
                texts[path as usize - 2].map_or(At::Nothing, At::Value)
            });
            (passes, asked.get())
        };
        assert_eq!(ask(0, 1, [Some(br#""..x\ny""#), None]), (true, 1));
        assert_eq!(ask(1, 1, [None, None]), (true, 0), "known of this line");
        assert_eq!(ask(1, 2, [Some(br#""xny""#), Some(b"null")]), (false, 2));
        assert_eq!(ask(0, 2, [None, Some(b"1")]), (false, 0));
        assert_eq!(ask(0, 3, [None, Some(b"1")]), (true, 2));
        assert_eq!(ask(2, 3, [None, None]), (true, 0), "no guard");
    }
}
