//! What a node does at an event, from the bytes of its line alone.

mod make;
mod part;
mod value;

use std::borrow::Cow;

use super::scan::{At, Places};
use super::text::{Elements, Members, Values, string};
use crate::analyse::{self, ANY, ERROR, Each, Mask, NO, NONE, Node, PathId, PathRef, Paths, TRUE, YES};
use part::member;
use value::{Value, raw_mask};

/// Elements that are gone through at one event; beyond it jq decides, within its own bounds.
const ELEMENTS_MAX: usize = 10_000;
/// Bytes that are looked at for one filter at one event, one looked at twice being two; beyond it jq decides, too.
const LOOKED_MAX: usize = 16 << 20;
/// Outputs before the one that decides: where there may be more, jq counts them.
const OUTPUTS_MAX: usize = 64;
/// As [`Eval::decide`] counts. What counts as one here is up to a dozen steps of jq's (constants of `IN`), which may have
/// 100,000.
const STEPS_MAX: usize = 5_000;
/// `.[]` within each other, as the analysis follows them.
const LEVELS: usize = 5;

/// An event, and how much has been looked at.
pub(crate) struct Eval<'e> {
    line: &'e [u8],
    places: &'e Places,
    paths: &'e Paths,
    elements: [&'e [u8]; LEVELS],
    counted: Counted,
    /// There may be outputs before and after what is looked at, and they count: not so inside `any`.
    streams: bool,
}

/// What deciding about one filter took.
#[derive(Default)]
struct Counted {
    /// Elements gone through.
    seen: usize,
    /// Bytes that jq would look at.
    bytes: usize,
    /// Bytes that were looked at here.
    looked: usize,
    /// Outputs that did not decide.
    outputs: usize,
}

impl<'e> Eval<'e> {
    pub(super) fn new(line: &'e [u8], places: &'e Places, paths: &'e Paths) -> Self {
        Self { line, places, paths, elements: [b"null"; LEVELS], counted: Counted::default(), streams: false }
    }

    /// What a filter of so many terms decides: a mask to be read up to its first true output.
    pub(crate) fn decide(&mut self, node: &'e Node, terms: usize) -> Mask {
        self.counted = Counted::default();
        let mask = self.first(node);
        // A filter that comes near its limits may exceed them: then it does not match, and only jq can tell.
        let Counted { seen, bytes, outputs, .. } = self.counted;
        let steps = terms.saturating_mul(1 + seen).saturating_add(bytes / 16);
        if mask & TRUE != 0 && (steps > STEPS_MAX || outputs > OUTPUTS_MAX) { mask | NO } else { mask }
    }

    /// Whether a condition of one output holds; `None` where that is not certain.
    pub(crate) fn holds(&mut self, node: &'e Node) -> Option<bool> {
        self.counted = Counted::default();
        match self.mask(node) {
            mask if mask & TRUE == 0 => Some(false),
            mask if mask & !TRUE == 0 => Some(true),
            _ => None,
        }
    }

    /// The string at a path, escapes undone.
    pub(crate) fn string_at(&self, path: PathRef) -> Option<Cow<'e, [u8]>> {
        match self.at(path) {
            At::Value(value) => string(value),
            _ => None,
        }
    }

    fn at(&self, path: PathRef) -> At<'e> {
        match path.base {
            0 => self.places.at(path.path, self.paths, self.line),
            base => self.below(self.elements.get(usize::from(base)).copied().unwrap_or(b"null"), path.path),
        }
    }

    /// What is at a path below an element.
    fn below(&self, element: &'e [u8], path: PathId) -> At<'e> {
        let Some(part) = self.paths.part(path).filter(|_| path != 0) else { return At::Value(element) };
        match self.below(element, part.parent) {
            At::Value(object @ [b'{', ..]) => member(object, &part.key).map_or(At::Nothing, At::Value),
            At::Value([b'n', ..]) => At::Nothing,
            At::Value(_) => At::Broken(part.depth - 1),
            broken => broken,
        }
    }

    /// What is at a path, and what that took. An element is searched for a key from its start.
    fn look(&mut self, path: PathRef) -> At<'e> {
        if path.base > 0 && path.path != 0 {
            self.counted.looked += self.elements.get(usize::from(path.base)).map_or(0, |element| element.len());
        }
        self.at(path)
    }

    /// All that its outputs may be.
    fn mask(&mut self, node: &'e Node) -> Mask {
        if self.counted.looked > LOOKED_MAX {
            return ANY;
        }
        match node {
            Node::Path(path) => match self.look(*path) {
                At::Nothing => NO,
                At::Broken(depth) => path.failure(depth),
                At::Value(value) => raw_mask(value),
            },
            Node::Literal(literal) => literal.mask(),
            Node::OneOf(_) => node.bounds(),
            Node::Unknown(mask) => *mask,
            Node::Compare(l, op, r) => self.compare(l, *op, r),
            Node::In(of, set) => match self.value(of) {
                Value::Not(mask) => unclear(mask),
                value => self.within(&value, set),
            },
            Node::Text(of, text) => match self.value(of) {
                Value::Not(mask) => unclear(mask),
                value => self.text(&value, text),
            },
            Node::Contains(of, part) => match self.value(of) {
                Value::Not(mask) => unclear(mask),
                value => self.contains(&value, part),
            },
            Node::Index(of, part) => match self.value(of) {
                Value::Not(mask) => unclear(mask),
                value => self.index(&value, part),
            },
            Node::Has(of, key) => match self.value(of) {
                Value::Not(mask) => unclear(mask),
                value => self.has(&value, key),
            },
            Node::Made(..) => {
                let value = self.value(node);
                value.mask()
            }
            Node::And(l, r) => analyse::and(self.mask(l), || self.mask(r)),
            Node::Or(l, r) => analyse::or(self.mask(l), || self.mask(r)),
            Node::Not(of) => analyse::not(self.mask(of)),
            Node::Then(l, r) => analyse::then(self.mask(l), || self.mask(r)),
            Node::When(c, n) => analyse::when(self.mask(c), || self.mask(n)),
            Node::If(c, t, e) => self.choose(c, t, e, Self::mask),
            Node::Else(l, r) => analyse::otherwise(self.mask(l), || self.mask(r)),
            Node::Try(n, catch) => analyse::attempt(self.mask(n), || catch.as_ref().map_or(NONE, |c| self.mask(c))),
            Node::Label(n) => analyse::label(self.mask(n)),
            Node::First(n) => self.mask(n),
            Node::Both(l, r) => analyse::both(self.mask(l), self.mask(r)),
            Node::Any(n) => {
                let streams = std::mem::replace(&mut self.streams, false);
                let outputs = self.counted.outputs;
                let first = self.first(n);
                (self.streams, self.counted.outputs) = (streams, outputs);
                let found = if first & TRUE != 0 { YES } else { 0 };
                found | (first & ERROR) | if first & (NO | NONE) != 0 { NO } else { 0 }
            }
            Node::Each(each, n) => self.each(each, n, |s, n| (s.mask(n), false)),
        }
    }

    fn choose(&mut self, c: &'e Node, t: &'e Node, e: &'e Node, of: impl Fn(&mut Self, &'e Node) -> Mask) -> Mask {
        let c = self.mask(c);
        let mut out = c & (ERROR | NONE);
        if c & TRUE != 0 {
            out |= of(self, t);
        }
        if c & NO != 0 {
            out |= of(self, e);
        }
        out
    }

    /// As [`Eval::mask`], of the outputs up to the first true one: `NO` and `NONE` say that there may be no true one.
    fn first(&mut self, node: &'e Node) -> Mask {
        match node {
            Node::Then(l, r) => {
                let mask = analyse::then(self.mask(l), || self.first(r));
                self.again(l, mask)
            }
            Node::When(c, n) => {
                let mask = analyse::when(self.mask(c), || self.first(n));
                self.again(c, mask)
            }
            Node::If(c, t, e) => {
                let mask = self.choose(c, t, e, Self::first);
                self.again(c, mask)
            }
            Node::Else(l, r) => analyse::otherwise(self.first(l), || self.first(r)),
            Node::Try(n, catch) => analyse::attempt(self.first(n), || catch.as_ref().map_or(NONE, |c| self.first(c))),
            Node::Both(l, r) => {
                let streams = std::mem::replace(&mut self.streams, true);
                let mask = match self.first(l) {
                    l if is_last(l) => l,
                    l => (l & (TRUE | ERROR)) | self.first(r),
                };
                self.streams = streams;
                mask
            }
            Node::Each(each, n) => {
                let streams = std::mem::replace(&mut self.streams, true);
                let mask = self.each(each, n, |s, n| {
                    let first = s.first(n);
                    (first, is_last(first))
                });
                self.streams = streams;
                mask
            }
            node => {
                let mask = self.mask(node);
                if self.streams && mask & NO != 0 {
                    self.counted.outputs = self.counted.outputs.saturating_add(node.outputs());
                }
                mask
            }
        }
    }

    /// What comes after `l` comes again for each of its outputs.
    fn again(&mut self, l: &Node, mask: Mask) -> Mask {
        if self.streams && mask & NO != 0 && l.outputs() > 1 {
            self.counted.outputs = usize::MAX;
        }
        mask
    }

    /// Of the elements one after the other, until `of` says that what follows does not count.
    fn each(&mut self, each: &'e Each, inner: &'e Node, of: impl Fn(&mut Self, &'e Node) -> (Mask, bool)) -> Mask {
        let failed = if each.optional || each.arrays_only { NONE } else { ERROR };
        let values = match self.look(each.over) {
            At::Broken(depth) => return if each.arrays_only { NONE } else { each.over.failure(depth) },
            At::Value(array @ [b'[', ..]) => Values::Elements(Elements::new(array)),
            At::Value(object @ [b'{', ..]) if !each.arrays_only => Values::Members(Members::new(object)),
            At::Nothing | At::Value(_) => return failed,
        };
        let level = usize::from(each.level);
        let outer = self.elements.get(level).copied().unwrap_or(b"null");
        let (mut mask, mut empty, mut ended) = (0, true, false);
        for value in values {
            empty = false;
            self.counted.seen += 1;
            self.counted.looked += value.len();
            if self.counted.seen > ELEMENTS_MAX {
                mask = ANY;
                break;
            }
            if let Some(element) = self.elements.get_mut(level) {
                *element = value;
            }
            let (of, last) = of(self, inner);
            if last {
                // What came before may have been it, or have failed.
                mask = (mask & (TRUE | ERROR)) | of;
                ended = true;
                break;
            }
            mask |= of;
        }
        if let Some(element) = self.elements.get_mut(level) {
            *element = outer;
        }
        if empty || (mask == 0 && !ended) { NONE } else { mask }
    }
}

fn truth(holds: bool) -> Mask {
    if holds { YES } else { NO }
}

/// A condition on something that is not there, or that may be anything.
fn unclear(mask: Mask) -> Mask {
    if mask & (TRUE | NO) != 0 { YES | NO | ERROR | (mask & NONE) } else { mask }
}

/// The first true output is certain, or an error that ends the outputs.
fn is_last(mask: Mask) -> bool {
    mask != 0 && (mask & !TRUE == 0 || mask == ERROR)
}
