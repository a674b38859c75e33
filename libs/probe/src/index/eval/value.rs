//! The value of a node, and how it compares with others.

use std::borrow::Cow;
use std::cmp::Ordering;

use jaq_core::ops::Cmp;

use super::super::scan::At;
use super::super::text::string;
use super::{Eval, LOOKED_MAX, truth, unclear};
use crate::analyse::{self, ANY, CONTEXT, ERROR, Literal, Mask, NO, NONE, Node, TRUE, YES, kinds, order};
use crate::value::{Num, Val};

/// The value of a node that has at most one.
pub(super) enum Value<'e> {
    /// No value: an error, nothing, or anything.
    Not(Mask),
    Raw(&'e [u8]),
    Literal(&'e Literal),
    Text(Cow<'e, [u8]>),
    Num(Num),
    Bool(bool),
}

/// A value as comparisons see it.
pub(super) enum Seen<'e> {
    Null,
    Bool(bool),
    Num(Num),
    Str(Cow<'e, [u8]>),
    Arr,
    Obj,
}

impl<'e> Eval<'e> {
    pub(super) fn value(&mut self, node: &'e Node) -> Value<'e> {
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
                Value::Not(mask) => Value::Not(how.of_unclear(mask)),
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

    pub(super) fn compare(&mut self, l: &'e Node, op: Cmp, r: &'e Node) -> Mask {
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

    pub(super) fn see<'v>(&mut self, value: &'v Value<'e>) -> Seen<'v> {
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
    pub(super) fn mask(&self) -> Mask {
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

    pub(super) fn kind(&self) -> (&'static [u8], u8) {
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

pub(super) fn raw_mask(raw: &[u8]) -> Mask {
    match raw.first() {
        Some(b'n' | b'f') | None => NO,
        Some(b'{') => CONTEXT,
        Some(_) => YES,
    }
}

pub(super) fn number(raw: &[u8]) -> Option<Num> {
    std::str::from_utf8(raw).ok().and_then(|text| Val::literal(text).num())
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
