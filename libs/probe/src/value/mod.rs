//! Values of the engine.
//!
//! Strings of an event are slices of its line, so that reading one copies the line once and allocates per container
//! only. Every operation whose work is not bounded by evaluated terms counts it, and nothing here recurses without
//! looking at the stack or at [`event::DEPTH_MAX`]: values can share parts and so be far bigger than they look.

mod index;
mod map;
mod num;
mod ops;
mod order;
mod parse;
mod str;
mod write;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub(crate) use index::sublists;
pub(crate) use map::Map;
pub(crate) use num::Num;
pub(crate) use ops::split;
pub(crate) use order::sort_total;
pub use parse::{ParseError, parse};
pub(crate) use parse::{parse_str_value, parse_text};
pub(crate) use str::Str;
pub(crate) use write::{Mode as WriteMode, WriteError};

/// A JSON value.
#[derive(Clone, Default)]
pub enum Val {
    /// `null`
    #[default]
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer that fits.
    #[doc(hidden)]
    Int(i64),
    /// The result of a calculation.
    #[doc(hidden)]
    Float(f64),
    /// Any other number literal, its text kept.
    #[doc(hidden)]
    Dec(Rc<str>),
    /// A string.
    #[doc(hidden)]
    Str(Str),
    /// An array.
    #[doc(hidden)]
    Arr(Rc<Items>),
    /// An object.
    #[doc(hidden)]
    Obj(Rc<Map>),
}

pub(crate) type Error = jaq_core::Error<Val>;
pub(crate) type ValR = Result<Val, Error>;

impl Val {
    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Val> {
        match self {
            Self::Obj(map) => map.get(key.as_bytes()),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) => Some(s.as_str()),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Val]> {
        match self {
            Self::Arr(items) => Some(items.as_slice()),
            _ => None,
        }
    }

    /// The value as canonical JSON text.
    ///
    /// # Errors
    /// It cannot be written as JSON (a number that is not finite, too deep, longer than a line).
    pub fn to_json(&self) -> Result<String, String> {
        self.json(write::Mode::Strict, event::LINE_MAX).map_err(|e| e.to_string())
    }

    pub(crate) fn as_bool(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    pub(crate) fn str(s: &str) -> Self {
        Self::Str(Str::from(s))
    }

    pub(crate) fn arr(items: Vec<Val>) -> Self {
        Self::Arr(Rc::new(Items(items)))
    }

    pub(crate) fn obj(map: Map) -> Self {
        Self::Obj(Rc::new(map))
    }

    /// jq's name of the type.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) | Self::Float(_) | Self::Dec(_) => "number",
            Self::Str(_) => "string",
            Self::Arr(_) => "array",
            Self::Obj(_) => "object",
        }
    }

    /// What `tostring` gives, as text.
    pub(crate) fn text(&self) -> Str {
        match self {
            Self::Str(s) => s.clone(),
            v => Str::from(v.to_text()),
        }
    }

    /// What `tojson` gives.
    pub(crate) fn to_text(&self) -> String {
        // Lenient mode has no errors, and a limit unwinds.
        self.json(write::Mode::Lenient, usize::MAX).unwrap_or_default()
    }
}

/// Elements of an array. A type of its own for the sake of its `Drop`.
#[derive(Clone, Default)]
pub struct Items(Vec<Val>);

impl Items {
    pub(crate) fn as_slice(&self) -> &[Val] {
        &self.0
    }

    pub(crate) fn vec(&mut self) -> &mut Vec<Val> {
        &mut self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The elements, moved out if nobody else holds them.
    pub(crate) fn take(items: Rc<Self>) -> Vec<Val> {
        match Rc::try_unwrap(items) {
            Ok(mut items) => std::mem::take(&mut items.0),
            Err(items) => {
                copying(items.len());
                items.0.clone()
            }
        }
    }

    /// For changing in place; copied if somebody else holds them too.
    pub(crate) fn make_mut(items: &mut Rc<Self>) -> &mut Vec<Val> {
        if Rc::strong_count(items) > 1 {
            copying(items.len());
        }
        Rc::make_mut(items).vec()
    }
}

/// Counts the copying of `n` elements, and refuses it if it would exceed the limit.
pub(crate) fn copying(n: usize) {
    crate::budget::work(n / 4);
    crate::budget::room(n.saturating_mul(size_of::<Val>()));
}

impl Drop for Items {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            bury(std::mem::take(&mut self.0), |items| items);
        }
    }
}

/// Nesting up to which values are dropped by recursion; deeper ones go through a list, so that no depth overflows.
const SHALLOW: u32 = 64;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static DEEP: RefCell<Vec<Val>> = const { RefCell::new(Vec::new()) };
}

/// Drops the content of a container; `flatten` turns it into values where that has to wait.
pub(crate) fn bury<T, I: IntoIterator<Item = Val>>(content: T, flatten: impl FnOnce(T) -> I) {
    let depth = DEPTH.get();
    if depth >= SHALLOW {
        // A thread that ends has no list any more; nothing deep is left by then.
        let _ = DEEP.try_with(|deep| deep.borrow_mut().extend(flatten(content)));
        return;
    }
    DEPTH.set(depth + 1);
    drop(content);
    if depth == 0 {
        // Taking one at a time keeps the list borrowed only for a moment: dropping may add to it.
        while let Ok(Some(value)) = DEEP.try_with(|deep| deep.borrow_mut().pop()) {
            drop(value);
        }
    }
    DEPTH.set(depth);
}

impl std::fmt::Debug for Val {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
