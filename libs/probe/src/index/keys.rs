//! Which values an event must have for a filter to match: what filters are filed under.

use std::cmp::Ordering;

use jaq_core::ops::Cmp;

use crate::analyse::{Each, Literal, Making, NO, Needed, Node, PathId, PathRef, TRUE, Text, bits, exact, order};

/// One of these keys is in every event that the filter matches. Without any it matches none.
pub(crate) type Clause = Vec<Key>;

/// Clauses that are kept of one part of a filter; each of them alone is enough.
const CLAUSES_MAX: usize = 12;
/// Clauses of each side of an `or` that are combined.
const COMBINED_MAX: usize = 4;
/// Keys of a clause; longer ones are no use.
const KEYS_MAX: usize = 1 << 16;
/// Shorter parts of a string are in too many.
const PART_MIN: usize = 3;

/// A value at a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) place: KeyPlace,
    pub(crate) test: KeyTest,
}

/// Where a key is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyPlace {
    /// Of each element of the array or object here; without it of the event.
    pub(crate) over: Option<PathId>,
    pub(crate) path: PathId,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum KeyTest {
    /// A canonical JSON text of a string or truth value.
    Exact(Box<[u8]>),
    /// The bits of a number.
    Number(u64),
    /// A string in lower case.
    Lower(Box<[u8]>),
    /// A part of a string.
    Part(Box<[u8]>),
    /// A part of a string, its ASCII letters in either case.
    PartFolded(Box<[u8]>),
    /// Anything but null.
    Present,
}

/// The clauses of a filter: each holds wherever it matches.
pub(crate) fn clauses(node: &Node) -> Vec<Clause> {
    let mut reader = Reader { levels: Vec::new() };
    reader.clauses(node, true)
}

struct Reader {
    /// What each `.[]` around goes through.
    levels: Vec<PathRef>,
}

impl Reader {
    /// What holds where an output of `node` is true, or (`want` is false) where one is false.
    fn clauses(&mut self, node: &Node, want: bool) -> Vec<Clause> {
        match (node, want) {
            (Node::And(l, r), true) => all(self.clauses(l, true), self.clauses(r, true)),
            (Node::And(l, r), false) => either(self.clauses(l, false), self.clauses(r, false)),
            (Node::Or(l, r), true) => either(self.clauses(l, true), self.clauses(r, true)),
            (Node::Or(l, r), false) => all(self.clauses(l, false), self.clauses(r, false)),
            (Node::Not(n), want) => self.clauses(n, !want),
            (Node::Then(_, n) | Node::Label(n) | Node::First(n), want) => self.clauses(n, want),
            (Node::When(c, n), want) => all(self.clauses(c, true), self.clauses(n, want)),
            (Node::If(c, t, e), want) => {
                let then = all(self.clauses(c, true), self.clauses(t, want));
                let otherwise = all(self.clauses(c, false), self.clauses(e, want));
                either(then, otherwise)
            }
            (Node::Else(l, r), true) => either(self.clauses(l, true), self.clauses(r, true)),
            (Node::Else(_, r), false) => self.clauses(r, false),
            (Node::Try(n, None), want) => self.clauses(n, want),
            (Node::Try(n, Some(c)), want) => either(self.clauses(n, want), self.clauses(c, want)),
            (Node::Both(l, r), want) => either(self.clauses(l, want), self.clauses(r, want)),
            (Node::Any(n), true) => self.clauses(n, true),
            (Node::Each(each, n), want) => self.each(each, n, want),
            (Node::Unknown(mask), want) => {
                if mask & (if want { TRUE } else { NO }) == 0 {
                    vec![Vec::new()]
                } else {
                    Vec::new()
                }
            }
            (Node::Literal(literal), want) => {
                if literal.mask() & (if want { TRUE } else { NO }) == 0 {
                    vec![Vec::new()]
                } else {
                    Vec::new()
                }
            }
            (node, want) => self.leaf(node, want).into_iter().collect(),
        }
    }

    fn each(&mut self, each: &Each, inner: &Node, want: bool) -> Vec<Clause> {
        let level = usize::from(each.level);
        let outer = self.levels.clone();
        self.levels.truncate(level.saturating_sub(1));
        self.levels.resize(level.saturating_sub(1), PathRef::EVENT);
        self.levels.push(each.over);
        let mut found = self.clauses(inner, want);
        self.levels = outer;
        // Without elements there is no output at all.
        found.extend(self.present(each.over));
        found
    }

    /// A condition on one value.
    fn leaf(&mut self, node: &Node, want: bool) -> Option<Clause> {
        match (node, want) {
            (Node::Path(path), true) => self.present(*path),
            (Node::Compare(l, op, r), want) => self.compare(l, *op, r, want),
            (Node::In(of, set), true) => {
                if set.null {
                    return None;
                }
                let tests = set.texts.iter().map(|t| KeyTest::Exact(t.clone()));
                let tests: Vec<KeyTest> = tests.chain(set.numbers.iter().map(|n| KeyTest::Number(*n))).collect();
                let holds = |literal: &Literal| match literal {
                    Literal::Num(n) => !exact(*n) || set.numbers.contains(&bits(*n)),
                    literal => literal.text().is_none_or(|text| set.texts.contains(&text)),
                };
                self.on(of, &tests, &holds)
            }
            (Node::Text(of, text), true) => {
                let needed = match text {
                    Text::Starts(part) | Text::Ends(part) => Needed::text(part),
                    Text::Matches(pattern) => match &pattern.needed {
                        Some(needed) => needed.clone(),
                        None => return self.on(of, &[KeyTest::Present], &|other| text.may_hold(other)),
                    },
                };
                self.on(of, &parts(&needed), &|other| text.may_hold(other))
            }
            (Node::Contains(of, Literal::Str(part)), true) => {
                let holds = |other: &Literal| !matches!(other, Literal::Str(other) if !other.contains(&**part));
                self.on(of, &parts(&Needed::text(part)), &holds)
            }
            (Node::Index(of, part), true) => self.index(of, part),
            (Node::Has(of, _), true) => self.on(of, &[KeyTest::Present], &|_| true),
            (Node::Made(of, Making::ToNumber | Making::Lower | Making::Upper | Making::IsKind(_)), true) => {
                // Of null none of them is true.
                self.on(of, &[KeyTest::Present], &|_| true)
            }
            _ => None,
        }
    }

    fn compare(&mut self, l: &Node, op: Cmp, r: &Node, want: bool) -> Option<Clause> {
        let (value, op, literal) = match (l, r) {
            (value, Node::Literal(literal)) => (value, op, literal),
            (Node::Literal(literal), value) => (value, turned(op), literal),
            _ => return None,
        };
        let op = if want { op } else { opposite(op) };
        let tests = match (op, literal) {
            (Cmp::Eq, Literal::Num(n)) if exact(*n) => vec![KeyTest::Number(bits(*n))],
            (Cmp::Eq, literal) => match literal.text() {
                Some(text) => vec![KeyTest::Exact(text)],
                None if matches!(literal, Literal::Null) => return None,
                None => vec![KeyTest::Present],
            },
            // Null is less than anything else.
            (Cmp::Gt, _) => vec![KeyTest::Present],
            (Cmp::Ge, literal) if !matches!(literal, Literal::Null) => vec![KeyTest::Present],
            (Cmp::Ne, Literal::Null) => vec![KeyTest::Present],
            _ => return None,
        };
        let holds = |other: &Literal| match (op, other, literal) {
            (Cmp::Eq, Literal::Str(l), Literal::Str(r)) => l == r,
            (Cmp::Eq, Literal::Str(_), Literal::Num(_) | Literal::Bool(_))
            | (Cmp::Eq, Literal::Null, Literal::Str(_) | Literal::Num(_) | Literal::Bool(_))
            | (Cmp::Eq, Literal::Bool(_), Literal::Str(_) | Literal::Num(_))
            | (Cmp::Eq, Literal::Num(_), Literal::Str(_) | Literal::Bool(_)) => false,
            (Cmp::Gt, Literal::Num(l), Literal::Num(r)) => order(*l, *r) == Ordering::Greater,
            _ => true,
        };
        self.on(value, &tests, &holds)
    }

    fn index(&mut self, of: &Node, part: &Literal) -> Option<Clause> {
        let Node::Path(path) = of else { return None };
        // Of an array an element, of a string a part.
        let test = match part {
            Literal::Num(n) if exact(*n) => KeyTest::Number(bits(*n)),
            part => KeyTest::Exact(part.text()?),
        };
        let mut clause = match self.place(*path) {
            Some(KeyPlace { over: None, path }) => vec![Key { place: KeyPlace { over: Some(path), path: 0 }, test }],
            _ => return self.present(*path),
        };
        if let Literal::Str(part) = part {
            clause.extend(self.on(of, &parts(&Needed::text(part)), &|_| true)?);
        }
        Some(clause)
    }

    /// The keys of a value that has to pass one of `tests`; `holds` says whether a constant in its place may.
    fn on(&mut self, value: &Node, tests: &[KeyTest], holds: &dyn Fn(&Literal) -> bool) -> Option<Clause> {
        match value {
            Node::Path(path) => match self.place(*path) {
                Some(place) => Some(tests.iter().map(|test| Key { place, test: test.clone() }).collect()),
                None => self.present(*path),
            },
            Node::Literal(literal) => {
                if holds(literal) {
                    None
                } else {
                    Some(Vec::new())
                }
            }
            Node::Else(l, r) => {
                let mut keys = self.on(l, tests, holds)?;
                keys.extend(self.on(r, tests, holds)?);
                Some(keys)
            }
            Node::Try(of, None) => self.on(of, tests, holds),
            Node::Made(of, Making::Lower | Making::Upper) => {
                let folded: Option<Vec<KeyTest>> = tests.iter().map(folded).collect();
                self.on(of, &folded?, &|_| true)
            }
            Node::Made(of, Making::ToNumber) => self.on(of, &[KeyTest::Present], &|_| true),
            _ => None,
        }
    }

    fn present(&self, path: PathRef) -> Option<Clause> {
        let place = self.place(path).or_else(|| self.levels.first().and_then(|over| self.place(*over)))?;
        if place == (KeyPlace { over: None, path: 0 }) {
            return None;
        }
        Some(vec![Key { place, test: KeyTest::Present }])
    }

    /// `None` where it is deeper than keys go.
    fn place(&self, path: PathRef) -> Option<KeyPlace> {
        match usize::from(path.base).checked_sub(1) {
            None => Some(KeyPlace { over: None, path: path.path }),
            Some(level) => {
                let over = self.levels.get(level).filter(|over| over.base == 0)?;
                Some(KeyPlace { over: Some(over.path), path: path.path })
            }
        }
    }
}

/// The tests of a string in which one of the texts must be.
fn parts(needed: &Needed) -> Vec<KeyTest> {
    if needed.weight() < PART_MIN {
        return vec![KeyTest::Present];
    }
    let part = |text: &[u8]| {
        if needed.folded { KeyTest::PartFolded(text.into()) } else { KeyTest::Part(text.into()) }
    };
    needed.texts.iter().map(|text| part(text)).collect()
}

/// The test of a string whose lower- or upper-case form has to pass this one.
fn folded(test: &KeyTest) -> Option<KeyTest> {
    Some(match test {
        KeyTest::Exact(text) => {
            let text = super::text::string(text)?;
            KeyTest::Lower(text.to_ascii_lowercase().into())
        }
        KeyTest::Part(text) | KeyTest::PartFolded(text) => KeyTest::PartFolded(text.to_ascii_lowercase().into()),
        KeyTest::Lower(text) => KeyTest::Lower(text.clone()),
        KeyTest::Number(_) | KeyTest::Present => KeyTest::Present,
    })
}

fn turned(op: Cmp) -> Cmp {
    match op {
        Cmp::Lt => Cmp::Gt,
        Cmp::Le => Cmp::Ge,
        Cmp::Gt => Cmp::Lt,
        Cmp::Ge => Cmp::Le,
        op => op,
    }
}

fn opposite(op: Cmp) -> Cmp {
    match op {
        Cmp::Lt => Cmp::Ge,
        Cmp::Le => Cmp::Gt,
        Cmp::Gt => Cmp::Le,
        Cmp::Ge => Cmp::Lt,
        Cmp::Eq => Cmp::Ne,
        Cmp::Ne => Cmp::Eq,
    }
}

/// All clauses of two conditions that both hold.
fn all(mut l: Vec<Clause>, r: Vec<Clause>) -> Vec<Clause> {
    l.extend(r);
    best(&mut l, CLAUSES_MAX);
    l
}

/// Clauses where one of two conditions holds: a clause of the one or a clause of the other.
fn either(mut l: Vec<Clause>, mut r: Vec<Clause>) -> Vec<Clause> {
    // What never holds leaves the other.
    if l.iter().any(Vec::is_empty) {
        return r;
    }
    if r.iter().any(Vec::is_empty) {
        return l;
    }
    best(&mut l, COMBINED_MAX);
    best(&mut r, COMBINED_MAX);
    let mut both = Vec::new();
    for l in &l {
        for r in &r {
            let mut keys = l.clone();
            keys.extend(r.iter().filter(|key| !l.contains(key)).cloned());
            if keys.len() <= KEYS_MAX {
                both.push(keys);
            }
        }
    }
    best(&mut both, CLAUSES_MAX);
    both
}

fn best(clauses: &mut Vec<Clause>, most: usize) {
    if clauses.len() > most {
        clauses.sort_by_key(|clause| clause.iter().map(Key::weight).sum::<usize>());
        clauses.truncate(most);
    }
}

impl Key {
    /// How common it is likely to be, before anything is known of the events.
    pub(crate) fn weight(&self) -> usize {
        match &self.test {
            KeyTest::Exact(text) if text.first() == Some(&b'"') => 1,
            KeyTest::Number(_) | KeyTest::Lower(_) => 2,
            KeyTest::Part(text) | KeyTest::PartFolded(text) => 2 + 24 / text.len().max(1),
            KeyTest::Exact(_) => 40,
            KeyTest::Present => 60,
        }
    }
}
