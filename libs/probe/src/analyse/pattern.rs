//! A regular expression of a filter, compiled when it is first asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use ::regex::bytes::Regex;

use super::needed::Needed;
use crate::regex::{self, Flags};

/// Bytes that the compiled patterns of a process may hold, as far as they can be guessed. Patterns that come later are
/// left to jq, which keeps few of them at a time.
const COMPILED_MAX: usize = 128 << 20;
/// What a pattern holds at least, with the room that it searches in.
const LEAST: usize = 16 << 10;
/// And for each unit of [`regex::size`].
const EACH: usize = 24;

/// Bytes that are held now.
static COMPILED: AtomicUsize = AtomicUsize::new(0);

/// A literal pattern with its flags.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: Box<str>,
    flags: Flags,
    pub(crate) needed: Option<Needed>,
    /// Bytes that it will hold.
    bytes: usize,
    /// `None` where it is not compiled after all: then only jq knows.
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// `None` if it is no pattern.
    fn new(text: &str, flags: &str) -> Option<Self> {
        let flags = Flags::parse(flags).ok()?;
        let read = regex::syntax(text, flags).ok()?;
        let bytes = regex::size(&read).saturating_mul(EACH).saturating_add(LEAST);
        Some(Self { text: text.into(), flags, needed: Needed::of(&read), bytes, compiled: OnceLock::new() })
    }

    /// Whether it matches somewhere; not known if it cannot be compiled.
    pub(crate) fn is_match(&self, text: &[u8]) -> Option<bool> {
        let compiled = self.compiled.get_or_init(|| self.compile(COMPILED_MAX));
        compiled.as_ref().map(|regex| regex::is_match(regex, self.flags, text))
    }

    fn compile(&self, most: usize) -> Option<Regex> {
        let more = |held: usize| held.checked_add(self.bytes).filter(|sum| *sum <= most);
        COMPILED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let compiled = regex::compile(&self.text, self.flags).ok();
        if compiled.is_none() {
            COMPILED.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        compiled
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        if let Some(Some(_)) = self.compiled.get() {
            COMPILED.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Patterns in use, by text and flags: equal ones are compiled once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patterns(HashMap<(String, String), Weak<Pattern>>);

impl Patterns {
    pub(crate) fn get(&mut self, text: &str, flags: &str) -> Option<Arc<Pattern>> {
        let known = self.0.entry((text.to_owned(), flags.to_owned())).or_default();
        if let Some(pattern) = known.upgrade() {
            return Some(pattern);
        }
        let new = Arc::new(Pattern::new(text, flags)?);
        *known = Arc::downgrade(&new);
        Some(new)
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets those that nobody uses any more.
    pub(crate) fn forget_unused(&mut self) {
        self.0.retain(|_, pattern| pattern.strong_count() > 0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn compiled_patterns_are_bounded_and_unused_ones_forgotten() {
        let mut patterns = Patterns::default();
        let one = patterns.get("^a+$", "").unwrap();
        assert!(Arc::ptr_eq(&one, &patterns.get("^a+$", "").unwrap()));
        assert!(!Arc::ptr_eq(&one, &patterns.get("^a+$", "i").unwrap()));
        assert!(patterns.get("(", "").is_none() && patterns.get("a", "?").is_none());
        let big = patterns.get(r"^\w{100}$", "").unwrap();
        assert!(big.bytes > 100 * one.bytes, "{} {}", big.bytes, one.bytes);
        assert_eq!(one.is_match(b"aaa"), Some(true));
        // Other tests of this process compile patterns, too.
        assert!(big.compile(big.bytes - 1).is_none());
        assert_eq!(big.is_match(&[b'w'; 100]), Some(true));
        assert!(COMPILED.load(Ordering::Relaxed) >= big.bytes + one.bytes);
        drop((one, big));
        patterns.forget_unused();
        assert!(patterns.0.is_empty());
    }
}
