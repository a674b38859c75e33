//! What must hold for a filter to match, read from its syntax tree.
//!
//! A filter becomes a [`Node`]: a description of its outputs over the paths of an event. Whoever evaluates a node gets
//! a [`Mask`] of what the filter *may* do at this event. What the analysis does not understand is [`Node::Unknown`], which
//! may do anything: so a mask without [`YES`] and [`CONTEXT`] proves that the filter does not match, and a mask that is
//! [`YES`] alone proves that it does. Nothing here guesses.

mod calls;
mod literal;
mod mask;
mod names;
mod needed;
mod paths;
mod pattern;
mod reason;
mod term;

pub(crate) use literal::{Literal, Set, bits, exact, order};
pub(crate) use mask::{
    ANY, CONTEXT, ERROR, Mask, NO, NONE, TRUE, YES, and, attempt, both, choose, label, not, or, otherwise, then, when,
};
pub(crate) use names::Definitions;
pub(crate) use needed::Needed;
pub(crate) use paths::{PathId, PathRef, Paths, between_quotes};
pub(crate) use pattern::{Pattern, Patterns};
pub use reason::Reason;
pub(crate) use term::{Analyst, Unclear};

use std::sync::Arc;

use jaq_core::ops::Cmp;

/// The outputs of a part of a filter.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// The value at a path of the event or of an element.
    Path(PathRef),
    /// A constant.
    Literal(Literal),
    /// One output for each of these constants.
    OneOf(Arc<[Literal]>),
    /// Not understood, but no more than this.
    Unknown(Mask),
    /// A comparison of two values.
    Compare(Box<Node>, Cmp, Box<Node>),
    /// Equal to one of these.
    In(Box<Node>, Arc<Set>),
    /// `startswith`, `endswith`, `test` … on a string.
    Text(Box<Node>, Text),
    /// `contains` of a constant.
    Contains(Box<Node>, Literal),
    /// `index` of a constant: true or null.
    Index(Box<Node>, Literal),
    /// `has` of a key, as it stands between quotes in canonical JSON.
    Has(Box<Node>, Box<[u8]>),
    /// A value made of a value.
    Made(Box<Node>, Making),
    /// Both, as jq's `and`.
    And(Box<Node>, Box<Node>),
    /// Either, as jq's `or`.
    Or(Box<Node>, Box<Node>),
    /// The opposite.
    Not(Box<Node>),
    /// The right outputs once for each left one, whatever that is.
    Then(Box<Node>, Box<Node>),
    /// `select`: the right outputs if the left one is true.
    When(Box<Node>, Box<Node>),
    /// `if`.
    If(Box<Node>, Box<Node>, Box<Node>),
    /// `//`; what hides errors on its left is a [`Node::Try`] there.
    Else(Box<Node>, Box<Node>),
    /// `try`, with what an error becomes.
    Try(Box<Node>, Option<Box<Node>>),
    /// Outputs from the first one on, maybe none: of `label`, which a `break` ends anywhere. Below it a `break` counts as an
    /// error, so what follows a `try` that seems to catch it is followed in vain.
    Label(Box<Node>),
    /// The first output, or more; none only where there is none at all.
    First(Box<Node>),
    /// The outputs of both.
    Both(Box<Node>, Box<Node>),
    /// `any`: whether an output is true, up to the first one.
    Any(Box<Node>),
    /// `.[]`: the inner outputs for each element of what the path names.
    Each(Each, Box<Node>),
}

/// What is gone through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Each {
    /// The base of paths within it: how many `.[]` are around, itself included.
    pub(crate) level: u8,
    /// The array or object.
    pub(crate) over: PathRef,
    /// With `?`: anything else has no elements.
    pub(crate) optional: bool,
    /// Only of arrays, as scopes want it: anything else has no elements.
    pub(crate) arrays_only: bool,
}

/// A condition on the text of a string; anything else is an error.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Starts(Box<str>),
    Ends(Box<str>),
    Matches(Arc<Pattern>),
}

impl Text {
    /// Whether it may hold for a constant; anything but a string is an error.
    pub(crate) fn may_hold(&self, value: &Literal) -> bool {
        let Literal::Str(text) = value else { return false };
        match self {
            Self::Starts(part) => text.starts_with(&**part),
            Self::Ends(part) => text.ends_with(&**part),
            Self::Matches(pattern) => pattern.is_match(text.as_bytes()).unwrap_or(true),
        }
    }
}

/// What is made of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Making {
    Type,
    Lower,
    Upper,
    ToString,
    ToNumber,
    Length,
    /// Whether it is of one of these kinds: see [`kinds`].
    IsKind(u8),
}

/// Kinds of values as bits, for [`Making::IsKind`].
pub(crate) mod kinds {
    pub(crate) const NULL: u8 = 1;
    pub(crate) const BOOLEAN: u8 = 2;
    pub(crate) const NUMBER: u8 = 4;
    pub(crate) const STRING: u8 = 8;
    pub(crate) const ARRAY: u8 = 16;
    pub(crate) const OBJECT: u8 = 32;
}

impl Node {
    /// The whole event.
    pub(crate) const EVENT: Self = Self::Path(PathRef::EVENT);
    pub(crate) const NOTHING_KNOWN: Self = Self::Unknown(ANY);
    pub(crate) const FALSE: Self = Self::Literal(Literal::Bool(false));

    pub(crate) fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }

    pub(crate) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    pub(crate) fn made(self, how: Making) -> Self {
        Self::Made(Box::new(self), how)
    }

    /// Parts of the node, itself included.
    pub(crate) fn size(&self) -> usize {
        1 + self.parts().into_iter().flatten().map(Self::size).sum::<usize>()
    }

    /// What it is made of.
    pub(crate) fn parts(&self) -> [Option<&Self>; 3] {
        match self {
            Self::Path(_) | Self::Literal(_) | Self::OneOf(_) | Self::Unknown(_) => [None; 3],
            Self::In(n, _)
            | Self::Text(n, _)
            | Self::Contains(n, _)
            | Self::Index(n, _)
            | Self::Has(n, _)
            | Self::Made(n, _)
            | Self::Not(n)
            | Self::Label(n)
            | Self::First(n)
            | Self::Any(n)
            | Self::Each(_, n) => [Some(n), None, None],
            Self::Compare(l, _, r)
            | Self::And(l, r)
            | Self::Or(l, r)
            | Self::Then(l, r)
            | Self::When(l, r)
            | Self::Else(l, r)
            | Self::Both(l, r) => [Some(l), Some(r), None],
            Self::Try(n, catch) => [Some(n), catch.as_deref(), None],
            Self::If(c, t, e) => [Some(c), Some(t), Some(e)],
        }
    }

    /// All paths that it looks at.
    pub(crate) fn paths(&self, found: &mut impl FnMut(PathRef)) {
        match self {
            Self::Path(path) => found(*path),
            Self::Each(each, _) => found(each.over),
            _ => {}
        }
        self.parts().into_iter().flatten().for_each(|part| part.paths(found));
    }

    /// Whether it has at most one output, whose value can be asked for again and again.
    pub(crate) fn is_single(&self) -> bool {
        match self {
            Self::Path(_)
            | Self::Literal(_)
            | Self::Compare(..)
            | Self::In(..)
            | Self::Text(..)
            | Self::Contains(..)
            | Self::Has(..)
            | Self::Made(..)
            | Self::Any(_) => true,
            Self::And(l, r) | Self::Or(l, r) | Self::Else(l, r) => l.is_single() && r.is_single(),
            Self::Not(n) | Self::Try(n, None) => n.is_single(),
            _ => false,
        }
    }

    /// How many outputs it has at most, as far as that can be told without an event.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Path(_) | Self::Literal(_) | Self::Any(_) => 1,
            Self::OneOf(all) => all.len(),
            Self::Unknown(mask) if mask & (TRUE | NO) == 0 => 0,
            Self::Unknown(_) | Self::Each(..) => usize::MAX,
            Self::In(n, _)
            | Self::Text(n, _)
            | Self::Contains(n, _)
            | Self::Index(n, _)
            | Self::Has(n, _)
            | Self::Made(n, _)
            | Self::Not(n)
            | Self::Label(n)
            | Self::First(n) => n.outputs(),
            Self::Compare(l, _, r) | Self::And(l, r) | Self::Or(l, r) | Self::Then(l, r) | Self::When(l, r) => {
                l.outputs().saturating_mul(r.outputs())
            }
            Self::If(c, t, e) => c.outputs().saturating_mul(t.outputs().max(e.outputs())),
            Self::Else(l, r) => l.outputs().max(r.outputs()),
            Self::Both(l, r) => l.outputs().saturating_add(r.outputs()),
            Self::Try(n, catch) => n.outputs().saturating_add(catch.as_ref().map_or(0, |c| c.outputs())),
        }
    }

    /// Whether a part of it is not understood.
    pub(crate) fn is_unclear(&self) -> bool {
        let own = matches!(self, Self::Unknown(mask) if mask & (mask - 1) != 0);
        own || self.parts().into_iter().flatten().any(Self::is_unclear)
    }

    /// What it may do at any event.
    pub(crate) fn bounds(&self) -> Mask {
        match self {
            Self::Path(path) => YES | NO | CONTEXT | path.may_fail(),
            Self::Literal(l) => l.mask(),
            Self::OneOf(all) => all.iter().fold(if all.is_empty() { NONE } else { 0 }, |m, l| m | l.mask()),
            Self::Unknown(mask) => *mask,
            Self::Compare(l, _, r) => YES | NO | ((l.bounds() | r.bounds()) & (ERROR | NONE)),
            Self::In(n, _) => YES | NO | (n.bounds() & (ERROR | NONE)),
            Self::Text(n, _) | Self::Contains(n, _) | Self::Index(n, _) | Self::Has(n, _) => {
                YES | NO | ERROR | (n.bounds() & NONE)
            }
            Self::Made(n, how) => how.bounds() | (n.bounds() & (ERROR | NONE)),
            Self::And(l, r) => and(l.bounds(), || r.bounds()),
            Self::Or(l, r) => or(l.bounds(), || r.bounds()),
            Self::Not(n) => not(n.bounds()),
            Self::Then(l, r) => then(l.bounds(), || r.bounds()),
            Self::When(c, n) => when(c.bounds(), || n.bounds()),
            Self::If(c, t, e) => choose(c.bounds(), || t.bounds(), || e.bounds()),
            Self::Else(l, r) => otherwise(l.bounds(), || r.bounds()),
            Self::Try(n, catch) => attempt(n.bounds(), || catch.as_ref().map_or(NONE, |c| c.bounds())),
            Self::Label(n) => label(n.bounds()),
            Self::First(n) => n.bounds(),
            Self::Both(l, r) => both(l.bounds(), r.bounds()),
            Self::Any(n) => YES | NO | (n.bounds() & ERROR),
            Self::Each(each, n) => n.bounds() | NONE | each.may_fail(),
        }
    }
}

impl Each {
    fn may_fail(&self) -> Mask {
        match self {
            Self { arrays_only: true, .. } => NONE,
            // The `?` is of the `[]` alone: the path before it may fail all the same.
            Self { optional: true, over, .. } => NONE | over.may_fail(),
            _ => ERROR | NONE,
        }
    }
}

impl Making {
    /// What it makes of something of which no more is known than this.
    pub(crate) fn of_unclear(self, mask: Mask) -> Mask {
        if mask & (TRUE | NO) != 0 { self.bounds() | (mask & (ERROR | NONE)) } else { mask }
    }

    fn bounds(self) -> Mask {
        match self {
            Self::Type => YES,
            Self::ToString => YES,
            Self::Lower | Self::Upper | Self::ToNumber | Self::Length => YES | ERROR,
            Self::IsKind(_) => YES | NO,
        }
    }
}
