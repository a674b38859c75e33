//! A thing that came, went or became another, as pages show it.

use event::inventory::{Change as Changed, KINDS};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::room::Room;
use crate::text;

/// Fields of a thing that a page shows.
const FIELDS_MAX: usize = 6;

/// The change, and words for it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MachineChange")]
pub struct Change {
    /// The source that told it; empty where that stands elsewhere.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(flatten)]
    change: Changed,
    /// The kind, as people write it.
    #[serde(skip)]
    pub kind: String,
    /// `added`, `removed`, `changed`.
    #[serde(skip)]
    pub what: &'static str,
    /// What the thing is known by.
    #[serde(skip)]
    pub name: String,
    /// What of it is another now: the field, before, now; of one that came or went what it is.
    #[serde(skip)]
    pub fields: Vec<Field>,
    /// Fields that are not shown.
    #[serde(skip)]
    pub left: usize,
}

/// A field of a thing.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// Before; of what did not change empty.
    pub was: String,
    pub now: String,
}

impl Change {
    pub fn new(source: &str, change: &Changed) -> Self {
        let names = names(&change.kind, &change.object);
        let mut fields = match &change.was {
            Some(was) => other(was, &change.object),
            None => all(&change.object, &names),
        };
        let left = fields.len().saturating_sub(FIELDS_MAX);
        fields.truncate(FIELDS_MAX);
        let of = |key: &&str| change.object.get(*key).map(text::value);
        Self {
            source: source.to_owned(),
            kind: text::short(&change.kind.replace('_', " ")),
            what: change.action.word(),
            name: text::short(&names.iter().filter_map(of).collect::<Vec<_>>().join(", ")),
            fields,
            left,
            change: change.clone(),
        }
    }

    /// Takes the room that it needs on a page; false: there is not enough.
    pub fn takes(&self, room: &mut Room) -> bool {
        let fields = self.fields.iter().flat_map(|field| [&field.name, &field.was, &field.now]);
        room.row([&self.source, &self.kind, &self.name].into_iter().chain(fields).map(String::as_str))
    }
}

/// The keys that a thing is known by and has; of a kind that has none of its own, and of one that is the only one, none.
fn names(kind: &str, object: &Map<String, Value>) -> Vec<&'static str> {
    let keys = KINDS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys);
    keys.iter().copied().filter(|key| object.contains_key(*key)).collect()
}

fn other(was: &Map<String, Value>, now: &Map<String, Value>) -> Vec<Field> {
    let mut keys: Vec<&String> = was.keys().chain(now.keys()).filter(|key| was.get(*key) != now.get(*key)).collect();
    keys.sort_unstable();
    keys.dedup();
    let of = |object: &Map<String, Value>, key| object.get(key).map_or_else(|| "nothing".to_owned(), said);
    keys.into_iter().map(|key| Field { name: text::short(key), was: of(was, key), now: of(now, key) }).collect()
}

fn all(object: &Map<String, Value>, names: &[&str]) -> Vec<Field> {
    let fields = object.iter().filter(|(key, _)| !names.contains(&key.as_str()));
    fields.map(|(key, value)| Field { name: text::short(key), was: String::new(), now: said(value) }).collect()
}

fn said(value: &Value) -> String {
    text::short(&text::value(value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use event::inventory::Action;
    use serde_json::json;

    use super::*;

    fn change(kind: &str, object: Value, was: Option<Value>) -> Change {
        let map = |value: Value| value.as_object().unwrap().clone();
        let action = if was.is_some() { Action::Changed } else { Action::Added };
        Change::new("", &Changed { kind: kind.into(), action, object: map(object), was: was.map(map), first: false })
    }

    fn words(change: &Change) -> Vec<String> {
        change.fields.iter().map(|field| format!("{}: {} → {}", field.name, field.was, field.now)).collect()
    }

    #[test]
    fn what_of_it_is_another() {
        let was = json!({"bundle_id": "a.b", "version": "1", "signed": true});
        let one = change("osx_app", json!({"bundle_id": "a.b", "version": "2", "team": "T"}), Some(was));
        assert_eq!((one.kind.as_str(), one.what, one.name.as_str()), ("osx app", "changed", "a.b"));
        assert_eq!(words(&one), ["signed: true → nothing", "team: nothing → T", "version: 1 → 2"]);
        let one = change("user", json!({"username": "ada", "uid": 501}), None);
        assert_eq!((one.name.as_str(), words(&one)), ("ada", vec!["uid:  → 501".to_owned()]));
        let fields: Map<String, Value> = (0..50).map(|n| (format!("k{n:02}"), json!("x".repeat(500)))).collect();
        let one = change("of its own", Value::Object(fields), None);
        assert_eq!((one.name.as_str(), one.fields.len(), one.left), ("", FIELDS_MAX, 44));
        assert!(one.fields.iter().all(|field| field.now.chars().count() <= 121));
        let told = serde_json::to_value(&one).unwrap();
        assert_eq!(
            (&told["kind"], &told["action"], told["object"]["k49"].as_str().unwrap().len()),
            (&json!("of its own"), &json!("added"), 500)
        );
    }
}
