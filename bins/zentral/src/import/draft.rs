//! An imported probe before it is written, its name, and what was refused on the way.

use std::collections::{BTreeMap, BTreeSet};

use pipe::config::is_name;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::cond::Cond;
use super::node::Spot;

/// The most characters of a title, of a place in a file, and of a reason.
const TITLE_MAX: usize = 160;
const ORIGIN_MAX: usize = 400;
const WHY_MAX: usize = 4_000;

/// A probe to be.
#[derive(Debug, Clone)]
pub struct Draft {
    /// As it was called; a valid and unique name is made of it.
    pub name: String,
    /// One line: what it is about, with its original name.
    pub title: String,
    /// Descriptions and values, in their author's words.
    pub why: Vec<String>,
    /// File and place that it comes from.
    pub origin: String,
    pub scope: Scope,
    pub query: Option<Query>,
    pub cond: Cond,
    pub severity: &'static str,
    /// Actions that the configuration has.
    pub act: Vec<String>,
    /// Actions that it lacks.
    pub lacking: Vec<String>,
    pub first_run: bool,
}

impl Draft {
    /// With nothing decided yet.
    pub fn new(name: &str, at: &Spot<'_>) -> Self {
        let origin = at.place();
        Self {
            name: name.to_owned(),
            title: name.to_owned(),
            why: Vec::new(),
            origin,
            scope: Scope::default(),
            query: None,
            cond: Cond::All(Vec::new()),
            severity: "info",
            act: Vec::new(),
            lacking: Vec::new(),
            first_run: false,
        }
    }

    /// Adds what these keys say.
    pub fn explain(&mut self, at: &Spot<'_>, keys: &[&str]) {
        let texts = keys.iter().filter_map(|key| at.get(key)?.text());
        for text in texts.map(str::trim) {
            if !text.is_empty() && !self.title.ends_with(text) && !self.why.iter().any(|why| why == text) {
                self.why.push(text.chars().take(WHY_MAX).collect());
            }
        }
    }

    /// One line without control characters and marks of writing direction.
    pub fn title_line(&self) -> String {
        line(&self.title).chars().take(TITLE_MAX).collect()
    }

    /// The same of the place that it comes from.
    pub fn origin_line(&self) -> String {
        line(&self.origin).chars().take(ORIGIN_MAX).collect()
    }
}

/// Spaces in place of everything that does not belong into a line of a comment.
pub fn line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if event::steers(c) { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    // In newer jqs a `\` at the end of a line carries a comment on.
    words.join(" ").trim_end_matches(['\\', ' ']).to_owned()
}

/// The machines that it is about; empty lists say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    pub platforms: Vec<String>,
    pub units: Vec<String>,
    pub tags: Vec<String>,
}

/// What osquery runs for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub sql: String,
    pub interval_s: u64,
    pub snapshot: bool,
    pub removed: bool,
    pub version: Option<String>,
}

impl Query {
    /// The name under which osquery reports results of a probe of this name.
    pub fn name(&self, probe: &str) -> String {
        let rev: String = Sha256::digest(self.sql.as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect();
        format!("zentral/{probe}/{rev}")
    }
}

/// A probe that is ready: named, its program tested over its examples.
#[derive(Debug, Clone)]
pub struct Ready {
    pub name: String,
    pub draft: Draft,
    pub program: String,
    pub examples: Vec<Json>,
}

/// The longest name.
const NAME_MAX: usize = 63;
/// Bytes at the end of a longer one that are looked at.
const WANTED_MAX: usize = 1 << 10;

/// Names that were given away, and how many wanted each.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, u64>);

impl Names {
    /// A name like this one that may stand in a configuration and that nobody has.
    pub fn give(&mut self, wanted: &str) -> String {
        let base = slug(wanted, NAME_MAX);
        let mut name = base.clone();
        while self.0.contains_key(&name) {
            let count = self.0.entry(base.clone()).or_insert(1);
            *count += 1;
            let number = format!("-{count}");
            name = slug(&base, NAME_MAX - number.len()) + &number;
        }
        self.0.insert(name.clone(), 1);
        name
    }
}

/// Lower case, digits and single dashes. Of what is too long the end stays: there stands what tells a query of a pack
/// from the others.
fn slug(text: &str, most: usize) -> String {
    let text = text.get(text.ceil_char_boundary(text.len().saturating_sub(WANTED_MAX))..).unwrap_or_default();
    let dashed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let raw: String = text.chars().map(dashed).collect();
    let words: Vec<&str> = raw.split('-').filter(|word| !word.is_empty()).collect();
    let mut length = 0;
    let fits = |word: &&&str| {
        length += word.len() + 1;
        length <= most + 1
    };
    let fitting = words.iter().rev().take_while(fits).count().max(1);
    let words = words.get(words.len().saturating_sub(fitting)..).unwrap_or_default();
    let name: String = words.join("-").chars().take(most).collect();
    if is_name(&name) { name } else { "probe".into() }
}

/// What could not be imported: place and reason.
pub type Refusal = (String, String);

/// What was imported, what was refused, and what is needed for both.
#[derive(Default)]
pub struct Import {
    pub drafts: Vec<Draft>,
    pub refused: Vec<Refusal>,
    /// Names of units by the number of a business unit.
    pub units: BTreeMap<String, String>,
    /// Names of tags by their number.
    pub tags: BTreeMap<String, String>,
    /// Units of the configuration.
    pub known_units: BTreeSet<String>,
    /// Actions of the configuration.
    pub actions: BTreeSet<String>,
}

impl Import {
    /// Remembers that this is not imported.
    pub fn refuse(&mut self, at: &Spot<'_>, why: impl Into<String>) {
        self.refused.push((at.place(), why.into()));
    }

    /// Names keys that are not known, so that nothing goes missing silently.
    pub fn rest(&mut self, at: &Spot<'_>, known: &[&str]) {
        for (key, member) in at.members() {
            if !known.contains(&key) && !member.is_empty() {
                self.refuse(&member, "this key is not known; it was left out");
            }
        }
    }
}

/// A refusal of this place.
pub fn no<T>(at: &Spot<'_>, why: impl Into<String>) -> Result<T, Refusal> {
    Err((at.place(), why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_unique() {
        let mut names = Names::default();
        let long = "x".repeat(80);
        for (wanted, name) in [
            ("USB Stick", "usb-stick"),
            ("usb_stick", "usb-stick-2"),
            ("usb-stick-2", "usb-stick-2-2"),
            ("usb stick", "usb-stick-3"),
            ("usb stick", "usb-stick-4"),
            ("../../etc", "etc"),
            ("ä ö", "probe"),
            ("", "probe-2"),
            ("--a--", "a"),
        ] {
            assert_eq!(names.give(wanted), name);
        }
        assert_eq!(names.give(&long), "x".repeat(63));
        let second = names.give(&long);
        assert!(is_name(&second) && second.ends_with("x-2"), "{second}");
        let pack = format!("{} pack windows-update-settings", "word ".repeat(10));
        assert_eq!(names.give(&pack), "word-word-word-word-word-word-word-pack-windows-update-settings");
        assert_eq!(names.give(&format!("{}ü end", "a-".repeat(1 << 22))), format!("{}end", "a-".repeat(30)));
    }

    #[test]
    fn titles_are_one_line() {
        assert_eq!(line("a\r\n\tb \u{202e}c \\\\ \\"), "a b c");
        assert_eq!(line("a\u{0}\\b"), "a \\b");
    }
}
