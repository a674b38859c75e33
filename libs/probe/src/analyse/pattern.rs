//! A regular expression of a filter, compiled when it is first asked.

use std::sync::OnceLock;

use ::regex::bytes::Regex;

use super::needed::Needed;
use crate::regex::{self, Flags};

/// A literal pattern with its flags.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: Box<str>,
    flags: Flags,
    pub(crate) needed: Option<Needed>,
    /// `None` where it cannot be compiled after all: then only jq knows.
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// `None` if it is no pattern.
    pub(crate) fn new(text: &str, flags: &str) -> Option<Self> {
        let flags = Flags::parse(flags).ok()?;
        let needed = regex::syntax(text, flags).ok()?;
        Some(Self { text: text.into(), flags, needed: Needed::of(&needed), compiled: OnceLock::new() })
    }

    /// Whether it matches somewhere; not known if it cannot be compiled.
    pub(crate) fn is_match(&self, text: &[u8]) -> Option<bool> {
        let compiled = self.compiled.get_or_init(|| regex::compile(&self.text, self.flags).ok());
        compiled.as_ref().map(|regex| regex::is_match(regex, self.flags, text))
    }
}
