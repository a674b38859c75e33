//! Constants of a filter.

use std::cmp::Ordering;
use std::sync::Arc;

use event::json;
use rustc_hash::FxHashSet;

use super::{Mask, NO, YES};
use crate::value::{Num, Val};

/// A constant that may be shared between threads.
#[derive(Debug, Clone)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Num(Num),
    Str(Arc<str>),
    Arr(Arc<[Literal]>),
}

impl Literal {
    pub(crate) fn number(text: &str) -> Self {
        Val::literal(text).num().map_or(Self::Null, Self::Num)
    }

    /// The constant that imported data is; `None` if it is an object somewhere.
    pub(crate) fn from_val(value: &Val) -> Option<Self> {
        Some(match value {
            Val::Null => Self::Null,
            Val::Bool(b) => Self::Bool(*b),
            Val::Str(s) => Self::Str(s.as_str().into()),
            Val::Arr(items) => Self::Arr(items.as_slice().iter().map(Self::from_val).collect::<Option<_>>()?),
            Val::Obj(_) => return None,
            number => Self::Num(number.num()?),
        })
    }

    pub(crate) fn mask(&self) -> Mask {
        match self {
            Self::Null | Self::Bool(false) => NO,
            _ => YES,
        }
    }

    /// Its JSON text in canonical form, if there is only one that equals it: not of numbers.
    pub(crate) fn text(&self) -> Option<Box<[u8]>> {
        Some(match self {
            Self::Bool(true) => b"true"[..].into(),
            Self::Bool(false) => b"false"[..].into(),
            Self::Str(s) => {
                let mut text = Vec::with_capacity(s.len() + 2);
                json::write_str(s, &mut text);
                text.into()
            }
            _ => return None,
        })
    }
}

/// Numbers are equal by their doubles, as in jq.
pub(crate) fn bits(n: Num) -> u64 {
    let float = n.f64();
    // Both zeros are one number.
    if float == 0.0 { 0 } else { float.to_bits() }
}

/// How two numbers stand to each other; JSON has none that is not a number.
pub(crate) fn order(l: Num, r: Num) -> Ordering {
    match (l, r) {
        (Num::Int(l), Num::Int(r)) => l.cmp(&r),
        (l, r) => l.f64().partial_cmp(&r.f64()).unwrap_or(Ordering::Equal),
    }
}

/// Constants to be equal to: what `IN` gets.
#[derive(Debug, Default)]
pub(crate) struct Set {
    /// Canonical JSON texts of strings and truth values.
    pub(crate) texts: FxHashSet<Box<[u8]>>,
    /// [`bits`] of numbers.
    pub(crate) numbers: FxHashSet<u64>,
    pub(crate) null: bool,
}

impl Set {
    /// `None` if one of them is an array or object, or a number that only an exact comparison tells from others.
    pub(crate) fn new(all: &[Literal]) -> Option<Self> {
        let mut set = Self::default();
        for literal in all {
            match literal {
                Literal::Null => set.null = true,
                Literal::Num(n) if exact(*n) => {
                    set.numbers.insert(bits(*n));
                }
                _ => {
                    set.texts.insert(literal.text()?);
                }
            }
        }
        Some(set)
    }
}

/// Whether equality with this number is equality of doubles, whatever it is compared with.
pub(crate) fn exact(n: Num) -> bool {
    match n {
        Num::Int(i) => i.unsigned_abs() < 1 << 53,
        Num::Float(f) => f.is_finite(),
    }
}
