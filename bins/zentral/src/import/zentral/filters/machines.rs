//! Inventory filters: the machines that a probe is about.

use std::collections::BTreeMap;

use pipe::config::is_name;
use serde_json::Value as Json;

use crate::import::cond::{Cond, path};
use crate::import::draft::{Import, Refusal, Scope, line, no};
use crate::import::node::Spot;

/// The machines of one filter.
pub fn machines(at: &Spot<'_>, import: &Import) -> Result<Scope, Refusal> {
    let mut scope = Scope::default();
    for (key, list) in at.members() {
        let Some(words) = list.words() else { return no(&list, "is no list of words") };
        match key {
            "meta_business_unit_ids" | "business_units" => {
                scope.units = named(&list, &words, &import.units, "unit")?;
                if let Some(lacking) = scope.units.iter().find(|unit| !import.known_units.contains(*unit)) {
                    return no(
                        &list,
                        format!("the configuration has no unit `{lacking}`: write [unit.{lacking}] first"),
                    );
                }
            }
            "tag_ids" | "tags" => scope.tags = named(&list, &words, &import.tags, "tag")?,
            "platforms" => {
                for word in words {
                    match word {
                        "MACOS" | "LINUX" | "WINDOWS" | "IOS" => scope.platforms.push(word.to_ascii_lowercase()),
                        other => return no(&list, format!("`{}` is no platform here", line(other))),
                    }
                }
            }
            _ => return no(&list, "cannot be said of a machine in this version"),
        }
    }
    Ok(scope)
}

/// Names for the numbers of Zentral's database.
fn named(at: &Spot<'_>, words: &[&str], names: &BTreeMap<String, String>, kind: &str) -> Result<Vec<String>, Refusal> {
    let mut all = Vec::new();
    for word in words {
        match names.get(*word) {
            Some(name) => all.push(name.clone()),
            None if word.parse::<u64>().is_err() && is_name(word) => all.push((*word).to_owned()),
            None => {
                let word = line(word);
                return no(at, format!("`{word}` is of Zentral's database: say its name with --{kind} {word}=NAME"));
            }
        }
    }
    Ok(all)
}

/// A scope as a condition on the event.
pub fn of_machine(scope: &Scope) -> Cond {
    let values = |list: &[String]| list.iter().map(|word| word.as_str().into()).collect::<Vec<Json>>();
    let mut conds = Vec::new();
    if !scope.platforms.is_empty() {
        conds.push(Cond::Is(path("machine", "platform"), values(&scope.platforms)));
    }
    if !scope.units.is_empty() {
        conds.push(Cond::Is(path("machine", "unit"), values(&scope.units)));
    }
    if !scope.tags.is_empty() {
        conds.push(Cond::Within(path("machine", "tags"), values(&scope.tags)));
    }
    Cond::All(conds)
}
