//! The events of the past, newest first, page by page, no more than are wanted.

use std::time::Instant;

use probe::{FilterSet, Need};
use serde_json::value::RawValue;

use super::STORE_MAX;
use crate::events::{Events, NoAnswer, Question};
use crate::text;

/// Events that the store is asked for at once.
const PAGE: usize = 500;
/// The most values of one field, and letters of a value, that a search names: beyond them it asks for more events.
const VALUES_MAX: usize = 20;
const VALUE_MAX: usize = 200;
/// Keys of a path: further down an event may have more fields than a store keeps names of.
const DEPTH_MAX: usize = 3;

/// What is left to look at.
pub struct Reel<'a> {
    events: &'a Events<'a>,
    query: &'a str,
    since: &'a str,
    left: usize,
    after: Option<String>,
    begun: Instant,
    whole: bool,
}

impl<'a> Reel<'a> {
    pub fn new(events: &'a Events<'a>, query: &'a str, since: &'a str, most: usize) -> Self {
        Self { events, query, since, left: most, after: Some(String::new()), begun: Instant::now(), whole: false }
    }

    /// The next events; none: there are no more, or there was no more time.
    pub fn next(&mut self) -> Result<Option<Vec<Box<RawValue>>>, NoAnswer> {
        let Some(after) = self.after.take() else { return Ok(None) };
        let time = STORE_MAX.saturating_sub(self.begun.elapsed());
        if self.left == 0 || time.is_zero() {
            return Ok(None);
        }
        let question = Question { query: self.query, since: self.since, until: "" };
        let page = match self.events.lines(&question, PAGE.min(self.left), &after, time) {
            Ok(page) => page,
            // What was found so far is worth more than nothing.
            Err(NoAnswer::Away(_)) if !after.is_empty() => return Ok(None),
            Err(why) => return Err(why),
        };
        self.left = self.left.saturating_sub(page.events.len());
        self.whole = page.next.is_none() && page.skipped.is_empty();
        self.after = page.next;
        Ok(Some(page.events))
    }

    /// Whether all there are were given.
    pub fn is_whole(&self) -> bool {
        self.whole
    }
}

/// The search that finds every event that one of these filters may match; empty: all events. It may find others.
pub fn narrowed(set: &FilterSet, probes: &[usize]) -> String {
    let each: Vec<String> = probes.iter().map(|probe| all_of(&set.needs(*probe))).collect();
    if each.iter().any(String::is_empty) {
        return String::new();
    }
    let mut each = each;
    each.sort();
    each.dedup();
    match each.as_slice() {
        [one] => one.clone(),
        several => several.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(" OR "),
    }
}

fn all_of(needs: &[Vec<Need>]) -> String {
    let mut all: Vec<String> = needs.iter().filter_map(|any| any_of(any)).collect();
    all.sort();
    all.dedup();
    all.join(" AND ")
}

fn any_of(any: &[Need]) -> Option<String> {
    if any.is_empty() || any.len() > VALUES_MAX {
        return None;
    }
    let words: Option<Vec<String>> = any.iter().map(word).collect();
    let mut words = words?;
    words.sort();
    Some(if words.len() == 1 { words.concat() } else { format!("({})", words.join(" OR ")) })
}

/// Only what every store finds as it is written: plain names, and values that have letters.
fn word(need: &Need) -> Option<String> {
    let plain = |key: &String| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let value = &need.value;
    let fits = need.path.len() <= DEPTH_MAX && need.path.iter().all(plain) && value.len() <= VALUE_MAX;
    let letters = value.bytes().any(|b| b.is_ascii_alphanumeric()) && value.bytes().all(|b| (0x20..0x7f).contains(&b));
    (fits && letters).then(|| text::is(&need.path.join("."), value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use probe::{NoModules, Spec};

    use super::*;

    fn search(filters: &[&str]) -> String {
        let specs = filters.iter().map(|text| Spec::bare("p", *text)).collect();
        let set = FilterSet::build(specs, &NoModules).unwrap();
        narrowed(&set, &(0..filters.len()).collect::<Vec<_>>())
    }

    #[test]
    fn no_wider_than_it_must_be_and_never_narrower() {
        assert_eq!(
            search(&[r#".type == "a" and .payload.name == "b c" and .payload.n > 1"#]),
            r#"payload.name:"b c" AND type:"a""#
        );
        assert_eq!(search(&[r#".type == "a""#]), r#"type:"a""#);
        assert_eq!(search(&[r#".type == "a""#, r#".type == "b""#]), r#"(type:"a") OR (type:"b")"#);
        assert_eq!(search(&[r#".type == "a""#, ".n > 1"]), "", "the other one may match anything");
        assert_eq!(search(&[r#".type | IN("a", "b")"#]), r#"(type:"a" OR type:"b")"#);
        for odd in [r#".type == "ü""#, r#".type == "--""#, r#".["a b"] == "c""#, r#".a.b.c.d == "e""#, "false"] {
            assert_eq!(search(&[odd]), "", "{odd}");
        }
        assert_eq!(search(&[r#".type == "a\"b""#]), r#"type:"a\"b""#);
        let long = format!(".type == \"{}\"", "a".repeat(VALUE_MAX + 1));
        assert_eq!(search(&[&long]), "");
    }
}
