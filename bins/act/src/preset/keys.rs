//! The keys that a preset adds to an action's table: declared in its `[keys]`, seen by its programs as `.set` and
//! `.secret`, filled into its headers and its login as `{key}`.

use std::collections::BTreeMap;

use pipe::config::{Config, EMAIL, PHONE, PUSH, Person, Secret, Settings};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Channel, Preset};

/// Keys that every HTTP action has: none of them can be a preset's own.
const TAKEN: [&str; 32] = [
    "kind",
    "repeatable",
    "max_age",
    "give_up",
    "timeout",
    "parallel",
    "rate",
    "dry_run",
    "digest",
    "quiet",
    "max",
    "never",
    "url",
    "method",
    "headers",
    "body",
    "ok",
    "later",
    "after",
    "ref",
    "path",
    "query",
    "form",
    "basic",
    "hmac",
    "ca",
    "changed",
    "closed",
    "online",
    "to",
    "limits",
    "throttle",
];

/// One key of the action's table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// What it holds.
    pub kind: Holds,
    /// It must be there.
    #[serde(default)]
    pub required: bool,
    /// It must be there unless this one is: another key, or `to`.
    #[serde(default)]
    pub or: Option<String>,
    /// What holds where it is not there.
    #[serde(default)]
    pub default: Option<Value>,
    /// Of a text: the words that it may be.
    #[serde(default)]
    pub words: Vec<String>,
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// A string.
    Text,
    /// A string, `{ env = … }` or `{ file = … }`; shown to nobody.
    Secret,
    /// A list of strings; one string counts as a list.
    List,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A table of strings.
    Table,
}

/// What an action says for the keys of its preset.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The plain ones.
    pub set: Map<String, Value>,
    /// The secret ones, not looked up.
    pub secret: Vec<(String, Secret)>,
    /// Whom it goes to, by name, with where that person is reached; empty: one nameless target.
    pub people: Vec<(String, Secret)>,
}

/// The names in `{}`.
pub fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0))
}

/// `text` with the values in it; none if one of them is not there.
pub fn filled(text: &str, values: &BTreeMap<String, String>) -> Option<String> {
    let mut pieces = text.split('{');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}')?;
        out.push_str(values.get(name)?);
        out.push_str(rest);
    }
    Some(out)
}

/// What is wrong with the declarations: the key and why.
pub(super) fn fault(keys: &BTreeMap<String, Key>, to: bool) -> Option<(String, String)> {
    for (name, key) in keys {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let wrong = if TAKEN.contains(&name.as_str()) {
            format!("`{name}` is a key of every action")
        } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(sound) {
            format!("`{name}` is no name of a key: a letter, then letters, digits and _")
        } else if key.default.as_ref().is_some_and(|value| !key.kind.fits(value)) {
            format!("the default of `{name}` is no {}", key.kind.word())
        } else if let Some(other) = key.or.as_ref().filter(|o| !(keys.contains_key(*o) || to && *o == "to")) {
            format!("`{other}` is no key of this preset")
        } else {
            continue;
        };
        return Some((name.clone(), wrong));
    }
    None
}

impl Holds {
    fn word(self) -> &'static str {
        match self {
            Self::Text | Self::Secret => "string",
            Self::List => "list of strings",
            Self::Int => "whole number",
            Self::Bool => "truth value",
            Self::Table => "table of strings",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Secret => false,
            Self::List => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            Self::Int => value.is_i64(),
            Self::Bool => value.is_boolean(),
            Self::Table => value.as_object().is_some_and(|all| all.values().all(Value::is_string)),
        }
    }
}

/// Reads the keys of `preset` from an action's table.
pub fn read(settings: &mut Settings, preset: &Preset, config: &Config) -> Said {
    let mut said = Said::default();
    for (name, key) in &preset.keys {
        let other = key.or.as_deref();
        if !settings.has(name) && (key.required || other.is_some_and(|other| !settings.has(other))) {
            let or = other.map(|other| format!(" or `{other}`")).unwrap_or_default();
            settings.fail("", format!("needs the key `{name}`{or}"));
        }
        if key.kind == Holds::Secret {
            said.secret.extend(settings.secret(name).map(|secret| (name.clone(), secret)));
        } else if let Some(value) = plain(settings, name, key).or_else(|| key.default.clone()) {
            said.set.insert(name.clone(), value);
        }
    }
    if let Some(channel) = preset.to {
        let optional = preset.keys.values().any(|key| key.or.as_deref() == Some("to"));
        if settings.has("to") || !optional {
            said.people = people(settings, config, channel);
        }
    }
    said
}

fn plain(settings: &mut Settings, name: &str, key: &Key) -> Option<Value> {
    // Whether it is there or not: it is known.
    if !settings.has(name) {
        settings.str(name);
        return None;
    }
    match key.kind {
        Holds::Text => {
            let text = settings.str(name)?;
            if !key.words.is_empty() && !key.words.contains(&text) {
                settings.fail(name, format!("`{text}` is none of {}", key.words.join(", ")));
            }
            Some(text.into())
        }
        Holds::List => Some(settings.strings(name).into()),
        Holds::Int => settings.int(name).map(Value::from),
        Holds::Bool => settings.bool(name).map(Value::from),
        Holds::Table => {
            let mut table = settings.table(name)?;
            let all = table.keys().into_iter().filter_map(|key| Some((key.clone(), table.str(&key)?.into()))).collect();
            settings.absorb(table);
            Some(Value::Object(all))
        }
        Holds::Secret => None,
    }
}

/// The people of `to`, each with where they are reached.
fn people(settings: &mut Settings, config: &Config, channel: Channel) -> Vec<(String, Secret)> {
    let open =
        |person: Person<String>| (person.contact.unwrap_or_else(|| person.at.clone()), Secret::Literal(person.at));
    match channel {
        Channel::Email => config.people(settings, &EMAIL).into_iter().map(open).collect(),
        Channel::Phone => config.people(settings, &PHONE).into_iter().map(open).collect(),
        // A key is never written out, so that each has a contact's name.
        Channel::Push => {
            config.people(settings, &PUSH).into_iter().filter_map(|person| Some((person.contact?, person.at))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let values = BTreeMap::from([("token".to_owned(), "t{x}".to_owned())]);
        assert_eq!(filled("Bearer {token}!", &values).as_deref(), Some("Bearer t{x}!"), "a value is no template");
        assert_eq!(filled("{email}/token", &values), None);
        assert_eq!(filled("plain", &values).as_deref(), Some("plain"));
        assert_eq!(named("{a}/{b}").collect::<Vec<_>>(), ["a", "b"]);
    }
}
