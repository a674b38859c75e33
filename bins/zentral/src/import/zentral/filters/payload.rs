//! Payload filters, in their three forms: a map of values (2016), a map of lists (2017), lists of items (today).

use serde_json::Value as Json;

use crate::import::cond::{Cond, alike, path};
use crate::import::draft::{Import, Refusal, line, no};
use crate::import::node::Spot;

/// Attributes of osquery's payloads that are never lists, so that a plain comparison says what Zentral's does.
const SCALARS: [&str; 11] =
    ["name", "action", "columns", "unixTime", "counter", "epoch", "severity", "filename", "line", "message", "version"];

/// Conditions on a payload that must hold together.
pub type Group = Vec<Item>;

/// A condition on one attribute.
#[derive(Debug, Clone)]
pub struct Item {
    pub attribute: String,
    pub words: Vec<String>,
    pub cond: Cond,
}

/// Reads one filter; `typed` tells 2017's maps from 2016's, `osquery` that only its events can pass.
pub fn group(at: &Spot<'_>, typed: bool, osquery: bool, import: &mut Import) -> Result<Group, Refusal> {
    if at.is_list() {
        // Today's form: items of attribute, operator and values.
        let mut group = Group::new();
        for item in at.items() {
            group.extend(operator(&item, osquery, import)?);
        }
        return Ok(group);
    }
    if at.get("attribute").is_some() {
        return Ok(operator(at, osquery, import)?.into_iter().collect());
    }
    if !at.is_map() {
        return no(at, "is no filter of a payload");
    }
    let item =
        |(key, said): (&str, Spot<'_>)| if typed { within(key, &said, false, osquery) } else { equal(key, &said) };
    at.members().into_iter().map(item).collect()
}

fn operator(at: &Spot<'_>, osquery: bool, import: &mut Import) -> Result<Option<Item>, Refusal> {
    let attribute = at.get("attribute").and_then(|a| a.text()).filter(|a| !a.trim().is_empty());
    let Some(attribute) = attribute else { return no(at, "has no `attribute`") };
    let not = match at.get("operator").map(|operator| operator.text().unwrap_or_default()) {
        None | Some("IN") => false,
        Some("NOT_IN") => true,
        Some(other) => return no(at, format!("the operator `{}` is not known", line(other))),
    };
    match at.get("values").filter(|values| !values.is_empty()) {
        Some(values) => within(attribute, &values, not, osquery).map(Some),
        None => {
            import.refuse(at, "has no values: Zentral passes over it, and so does the filter");
            Ok(None)
        }
    }
}

/// Zentral since 2017: the texts of the values that a dotted path leads to, through lists, against a list of texts.
fn within(attribute: &str, said: &Spot<'_>, not: bool, osquery: bool) -> Result<Item, Refusal> {
    let texts: Option<Vec<String>> = match said.truth().filter(|_| said.word().is_none()) {
        Some(truth) => Some(vec![if truth { "True" } else { "False" }.to_owned()]),
        None => said.words().map(|words| words.into_iter().map(str::to_owned).collect()),
    };
    let Some(words) = texts.filter(|words| !words.is_empty()) else { return no(said, "is no list of words") };
    let values: Vec<Json> = words.iter().flat_map(|word| alike(word)).collect();
    let way = path("payload", attribute);
    let first = attribute.split('.').next().unwrap_or_default();
    let cond = match (osquery && SCALARS.contains(&first), not) {
        (true, false) => Cond::Is(way, values),
        (true, true) => Cond::IsNot(way, values),
        (false, false) => Cond::Within(way, values),
        (false, true) => Cond::Without(way, values),
    };
    Ok(Item { attribute: attribute.to_owned(), words, cond })
}

/// Zentral of 2016: top-level keys only and strict equality, but of two lists the filter's must be in the event's.
fn equal(key: &str, said: &Spot<'_>) -> Result<Item, Refusal> {
    let way = vec!["payload".to_owned(), key.to_owned()];
    let words = said.words().unwrap_or_default().into_iter().map(str::to_owned).collect();
    let cond = match said.json() {
        Json::Array(values) => Cond::Holds(way, values),
        value => Cond::Is(way, vec![value]),
    };
    Ok(Item { attribute: key.to_owned(), words, cond })
}
