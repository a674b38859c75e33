//! What a node does at an event, from the bytes of its line alone.

use std::borrow::Cow;
use std::cmp::Ordering;

use jaq_core::ops::Cmp;

use super::scan::{At, Places};
use super::text::{Elements, Members, Values, string};
use crate::analyse::{
    self, ANY, CONTEXT, ERROR, Each, Literal, Making, Mask, NO, NONE, Node, PathId, PathRef, Paths, TRUE, Text, YES,
    bits, kinds, order,
};
use crate::value::{Num, Val};

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

/// The value of a node that has at most one.
enum Value<'e> {
    /// No value: an error, nothing, or anything.
    Not(Mask),
    Raw(&'e [u8]),
    Literal(&'e Literal),
    Text(Cow<'e, [u8]>),
    Num(Num),
    Bool(bool),
}

/// A value as comparisons see it.
enum Seen<'e> {
    Null,
    Bool(bool),
    Num(Num),
    Str(Cow<'e, [u8]>),
    Arr,
    Obj,
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
                value => truth(match self.see(&value) {
                    Seen::Null => set.null,
                    Seen::Num(n) => set.numbers.contains(&bits(n)),
                    Seen::Bool(true) => set.texts.contains(&b"true"[..]),
                    Seen::Bool(false) => set.texts.contains(&b"false"[..]),
                    Seen::Str(_) if let Value::Raw(raw) = value => set.texts.contains(raw),
                    Seen::Str(text) => {
                        let text = Literal::Str(String::from_utf8_lossy(&text).into()).text();
                        text.is_some_and(|text| set.texts.contains(&text))
                    }
                    Seen::Arr | Seen::Obj => false,
                }),
            },
            Node::Text(of, text) => match self.value(of) {
                Value::Not(mask) => unclear(mask),
                value => match self.see(&value) {
                    Seen::Str(found) => {
                        self.counted.bytes += found.len();
                        text.holds(&found).map_or(YES | NO, truth)
                    }
                    _ => ERROR,
                },
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
                Value::Raw(object @ [b'{', ..]) => {
                    self.counted.looked += object.len();
                    truth(member(object, key).is_some())
                }
                value => {
                    if matches!(self.see(&value), Seen::Null) {
                        NO
                    } else {
                        ERROR
                    }
                }
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

    fn value(&mut self, node: &'e Node) -> Value<'e> {
        if self.counted.looked > LOOKED_MAX {
            return Value::Not(ANY);
        }
        match node {
            Node::Path(path) => match self.look(*path) {
                At::Nothing => Value::Raw(b"null"),
                At::Broken(depth) => Value::Not(path.failure(depth)),
                At::Value(value) => Value::Raw(value),
            },
            Node::Literal(literal) => Value::Literal(literal),
            Node::Made(of, how) => match self.value(of) {
                Value::Not(mask) => Value::Not(mask),
                value => self.make(value, *how),
            },
            Node::Else(l, r) => match self.value(l) {
                Value::Not(NONE) => self.value(r),
                Value::Not(ERROR) => Value::Not(ERROR),
                Value::Not(_) => Value::Not(ANY),
                value if value.mask() & TRUE != 0 => value,
                _ => self.value(r),
            },
            Node::Try(of, None) => match self.value(of) {
                Value::Not(mask) => Value::Not(analyse::attempt(mask, || NONE)),
                value => value,
            },
            Node::Compare(..)
            | Node::In(..)
            | Node::Text(..)
            | Node::Contains(..)
            | Node::Has(..)
            | Node::And(..)
            | Node::Or(..)
            | Node::Not(_)
            | Node::Any(_) => match self.mask(node) {
                YES => Value::Bool(true),
                NO => Value::Bool(false),
                mask => Value::Not(mask),
            },
            _ => Value::Not(ANY),
        }
    }

    fn make(&mut self, value: Value<'e>, how: Making) -> Value<'e> {
        let seen = self.see(&value);
        match how {
            Making::Type => Value::Text(Cow::Borrowed(seen.kind().0)),
            Making::IsKind(kind) => Value::Bool(seen.kind().1 & kind != 0),
            Making::Lower | Making::Upper => match seen {
                Seen::Str(text) => {
                    self.counted.bytes += text.len();
                    let made = if how == Making::Lower { text.to_ascii_lowercase() } else { text.to_ascii_uppercase() };
                    Value::Text(Cow::Owned(made))
                }
                _ => Value::Not(ERROR),
            },
            Making::ToString => match seen {
                Seen::Str(_) => value,
                Seen::Null => Value::Text(Cow::Borrowed(b"null")),
                Seen::Bool(true) => Value::Text(Cow::Borrowed(b"true")),
                Seen::Bool(false) => Value::Text(Cow::Borrowed(b"false")),
                Seen::Num(Num::Int(i)) => Value::Text(Cow::Owned(i.to_string().into_bytes())),
                _ => Value::Not(YES),
            },
            Making::ToNumber => match seen {
                Seen::Num(n) => Value::Num(n),
                Seen::Str(text) => plain_integer(&text).map_or(Value::Not(YES | ERROR), |i| Value::Num(Num::Int(i))),
                _ => Value::Not(ERROR),
            },
            Making::Length => self.length(&seen, &value),
        }
    }

    fn length(&mut self, seen: &Seen<'_>, value: &Value<'e>) -> Value<'e> {
        let count = match (seen, value) {
            (Seen::Null, _) => 0,
            (Seen::Str(text), _) => {
                self.counted.bytes += text.len();
                text.iter().filter(|b| !(0x80..0xc0).contains(*b)).count()
            }
            (Seen::Arr, Value::Raw(array)) => {
                self.counted.looked += array.len();
                Elements::new(array).count()
            }
            (Seen::Arr, Value::Literal(Literal::Arr(all))) => all.len(),
            (Seen::Obj, Value::Raw(object)) => {
                self.counted.looked += object.len();
                Members::new(object).count()
            }
            (Seen::Bool(_), _) => return Value::Not(ERROR),
            _ => return Value::Not(YES),
        };
        i64::try_from(count).map_or(Value::Not(YES), |count| Value::Num(Num::Int(count)))
    }

    fn compare(&mut self, l: &'e Node, op: Cmp, r: &'e Node) -> Mask {
        let l = match self.value(l) {
            Value::Not(mask) => return unclear(mask),
            value => value,
        };
        let r = match self.value(r) {
            Value::Not(mask) => return unclear(mask),
            value => value,
        };
        let (left, right) = (self.see(&l), self.see(&r));
        let equal = match (&left, &right) {
            (Seen::Null, Seen::Null) => Some(true),
            (Seen::Bool(l), Seen::Bool(r)) => Some(l == r),
            (Seen::Str(l), Seen::Str(r)) => {
                self.counted.bytes += l.len().min(r.len());
                Some(l == r)
            }
            (Seen::Num(l), Seen::Num(r)) => Some(match (l, r) {
                (Num::Int(l), Num::Int(r)) => l == r,
                (l, r) => l.f64() == r.f64(),
            }),
            (Seen::Arr, Seen::Arr) => empties(&l, &r),
            (Seen::Obj, Seen::Obj) => None,
            _ => Some(false),
        };
        let Some(equal) = equal else { return YES | NO };
        match op {
            Cmp::Eq => return truth(equal),
            Cmp::Ne => return truth(!equal),
            _ => {}
        }
        let order = match (&left, &right) {
            (Seen::Bool(l), Seen::Bool(r)) => l.cmp(r),
            (Seen::Str(l), Seen::Str(r)) => l.cmp(r),
            (Seen::Num(l), Seen::Num(r)) => order(*l, *r),
            (Seen::Arr, Seen::Arr) | (Seen::Obj, Seen::Obj) => return YES | NO,
            (l, r) => l.rank().cmp(&r.rank()),
        };
        truth(match op {
            Cmp::Lt => order == Ordering::Less,
            Cmp::Le => order != Ordering::Greater,
            Cmp::Gt => order == Ordering::Greater,
            Cmp::Ge => order != Ordering::Less,
            Cmp::Eq | Cmp::Ne => equal,
        })
    }

    fn contains(&mut self, value: &Value<'e>, part: &Literal) -> Mask {
        match (self.see(value), part) {
            (Seen::Str(text), Literal::Str(part)) => {
                self.counted.bytes += text.len();
                truth(memchr::memmem::find(&text, part.as_bytes()).is_some())
            }
            (Seen::Null, Literal::Null) => YES,
            (Seen::Bool(l), Literal::Bool(r)) if l == *r => YES,
            (Seen::Num(_), Literal::Num(_)) => YES | NO,
            (Seen::Arr, Literal::Arr(parts)) => match value {
                Value::Raw(array) => self.array_contains(array, parts),
                _ => YES | NO,
            },
            _ => ERROR,
        }
    }

    /// Each of the parts in one of the elements.
    fn array_contains(&mut self, array: &'e [u8], parts: &[Literal]) -> Mask {
        for part in parts {
            let Literal::Str(part) = part else { return YES | NO };
            let mut found = false;
            for element in Elements::new(array) {
                self.counted.seen += 1;
                self.counted.bytes += element.len();
                self.counted.looked += element.len();
                if self.counted.seen > ELEMENTS_MAX || self.counted.looked > LOOKED_MAX {
                    return YES | NO;
                }
                found = string(element).is_some_and(|text| memchr::memmem::find(&text, part.as_bytes()).is_some());
                if found {
                    break;
                }
            }
            if !found {
                return NO;
            }
        }
        YES
    }

    fn index(&mut self, value: &Value<'e>, part: &Literal) -> Mask {
        match (self.see(value), part) {
            (Seen::Null, _) => NO,
            (Seen::Str(text), Literal::Str(part)) => {
                // jq goes through it letter by letter.
                self.counted.bytes += text.len() * 4;
                truth(memchr::memmem::find(&text, part.as_bytes()).is_some())
            }
            (Seen::Arr, part) => match value {
                Value::Raw(array) => {
                    let equal = |element: &[u8]| match part {
                        Literal::Str(part) => string(element).is_some_and(|s| *s == *part.as_bytes()),
                        Literal::Bool(part) => element == if *part { &b"true"[..] } else { b"false" },
                        Literal::Null => element == b"null",
                        Literal::Num(part) => number(element).is_some_and(|n| n.f64() == part.f64()),
                        _ => false,
                    };
                    self.counted.bytes += array.len();
                    self.counted.looked += array.len();
                    match part {
                        Literal::Num(n) if !analyse::exact(*n) => YES | NO,
                        _ => truth(Elements::new(array).any(equal)),
                    }
                }
                _ => YES | NO,
            },
            _ => ERROR,
        }
    }

    fn see<'v>(&mut self, value: &'v Value<'e>) -> Seen<'v> {
        match value {
            Value::Not(_) => Seen::Null,
            Value::Raw(raw) => match raw.first() {
                Some(b'"') => {
                    self.counted.looked += raw.len();
                    string(raw).map_or(Seen::Null, Seen::Str)
                }
                Some(b'{') => Seen::Obj,
                Some(b'[') => Seen::Arr,
                Some(b't') => Seen::Bool(true),
                Some(b'f') => Seen::Bool(false),
                Some(b'n') | None => Seen::Null,
                Some(_) => number(raw).map_or(Seen::Null, Seen::Num),
            },
            Value::Literal(literal) => match literal {
                Literal::Null => Seen::Null,
                Literal::Bool(b) => Seen::Bool(*b),
                Literal::Num(n) => Seen::Num(*n),
                Literal::Str(s) => Seen::Str(Cow::Borrowed(s.as_bytes())),
                Literal::Arr(_) => Seen::Arr,
            },
            Value::Text(text) => Seen::Str(Cow::Borrowed(text)),
            Value::Num(n) => Seen::Num(*n),
            Value::Bool(b) => Seen::Bool(*b),
        }
    }
}

impl Value<'_> {
    fn mask(&self) -> Mask {
        match self {
            Self::Not(mask) => *mask,
            Self::Raw(raw) => raw_mask(raw),
            Self::Literal(literal) => literal.mask(),
            Self::Bool(false) => NO,
            Self::Text(_) | Self::Num(_) | Self::Bool(true) => YES,
        }
    }
}

impl Seen<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Num(_) => 2,
            Self::Str(_) => 3,
            Self::Arr => 4,
            Self::Obj => 5,
        }
    }

    fn kind(&self) -> (&'static [u8], u8) {
        match self {
            Self::Null => (b"null", kinds::NULL),
            Self::Bool(_) => (b"boolean", kinds::BOOLEAN),
            Self::Num(_) => (b"number", kinds::NUMBER),
            Self::Str(_) => (b"string", kinds::STRING),
            Self::Arr => (b"array", kinds::ARRAY),
            Self::Obj => (b"object", kinds::OBJECT),
        }
    }
}

impl Text {
    /// `None`: not known.
    fn holds(&self, text: &[u8]) -> Option<bool> {
        match self {
            Self::Starts(part) => Some(text.starts_with(part.as_bytes())),
            Self::Ends(part) => Some(text.ends_with(part.as_bytes())),
            Self::Matches(pattern) => pattern.is_match(text),
        }
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

fn raw_mask(raw: &[u8]) -> Mask {
    match raw.first() {
        Some(b'n' | b'f') | None => NO,
        Some(b'{') => CONTEXT,
        Some(_) => YES,
    }
}

fn number(raw: &[u8]) -> Option<Num> {
    std::str::from_utf8(raw).ok().and_then(|text| Val::literal(text).num())
}

/// Digits that everybody reads alike.
fn plain_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => digits.len() <= 15 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// The member of an object with this key, as it stands between quotes.
fn member<'t>(object: &'t [u8], key: &[u8]) -> Option<&'t [u8]> {
    Members::new(object).find(|(k, _)| *k == key).map(|(_, value)| value)
}

/// Two arrays, if one of them is empty.
fn empties(l: &Value<'_>, r: &Value<'_>) -> Option<bool> {
    let empty = |value: &Value<'_>| match value {
        Value::Raw(raw) => Some(*raw == b"[]"),
        Value::Literal(Literal::Arr(all)) => Some(all.is_empty()),
        _ => None,
    };
    match (empty(l)?, empty(r)?) {
        (false, false) => None,
        (l, r) => Some(l == r),
    }
}
