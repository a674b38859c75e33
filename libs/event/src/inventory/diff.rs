//! What changed between two looks at one machine by one source.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kinds::{MACHINE, identity};
use super::{Snapshot, text, tidy};

/// What became of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "WhatBecame")]
pub enum Action {
    /// It was not there before.
    Added,
    /// It is gone.
    Removed,
    /// It is another than it was.
    Changed,
}

impl Action {
    /// The word in events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// One thing that is another than before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// The kind of thing.
    pub kind: String,
    /// What became of it.
    pub action: Action,
    /// The thing; of a removed one, as it was.
    pub object: Map<String, Value>,
    /// What a changed one was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Map<String, Value>>,
    /// Its kind is told for the first time, so it may have been there for long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

/// All things of a machine by kind and text.
pub type Things = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

/// The things of a tidy snapshot. What it says of the machine itself is a thing too, but for what it tells as things of
/// their own: a version of the operating system that changes is one change.
pub fn things(snapshot: &Snapshot) -> Things {
    let mut all: Things = BTreeMap::new();
    for (kind, objects) in &snapshot.parts {
        let of = all.entry(kind.clone()).or_default();
        of.extend(objects.iter().map(|object| (text(object), object.clone())));
    }
    if let Some(machine) = machine(snapshot) {
        all.entry(MACHINE.to_owned()).or_insert_with(|| [(text(&machine), machine)].into());
    }
    all
}

fn machine(snapshot: &Snapshot) -> Option<Map<String, Value>> {
    let Ok(Value::Object(mut said)) = serde_json::to_value(&snapshot.machine) else { return None };
    said.remove("tags"); // the hub's own
    for (kind, key) in [("os_version", "os_version"), ("group", "groups"), ("principal_user", "user")] {
        if snapshot.parts.contains_key(kind) {
            said.remove(key);
        }
    }
    Some(tidy(said)).filter(|said| !said.is_empty())
}

/// What changed from `old` to `new`, both tidy and `new` laid over `old` ([`Snapshot::over`]). The order is by kind, of
/// each first what was added and changed, then what was removed.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Vec<Change> {
    between(&things(old), &things(new))
}

/// The same of the things themselves.
pub fn between(old: &Things, new: &Things) -> Vec<Change> {
    let none = BTreeMap::new();
    let kinds: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for kind in kinds {
        let first = !old.contains_key(kind) && kind != MACHINE;
        of_kind(kind, old.get(kind).unwrap_or(&none), new.get(kind).unwrap_or(&none), first, &mut changes);
    }
    changes
}

fn of_kind(
    kind: &str,
    old: &BTreeMap<String, Map<String, Value>>,
    new: &BTreeMap<String, Map<String, Value>>,
    first: bool,
    changes: &mut Vec<Change>,
) {
    /// What is known by the same: things that are gone, things that are new.
    type Both<'a> = (Vec<&'a Map<String, Value>>, Vec<&'a Map<String, Value>>);
    let mut known: BTreeMap<String, Both<'_>> = BTreeMap::new();
    for (_, object) in old.iter().filter(|(text, _)| !new.contains_key(*text)) {
        known.entry(identity(kind, object)).or_default().0.push(object);
    }
    for (_, object) in new.iter().filter(|(text, _)| !old.contains_key(*text)) {
        known.entry(identity(kind, object)).or_default().1.push(object);
    }
    let change = |action, object: &Map<String, Value>, was: Option<&Map<String, Value>>| Change {
        kind: kind.to_owned(),
        action,
        object: object.clone(),
        was: was.cloned(),
        first,
    };
    let mut removed = Vec::new();
    for (gone, come) in known.into_values() {
        match (gone.as_slice(), come.as_slice()) {
            ([was], [object]) => changes.push(change(Action::Changed, object, Some(was))),
            _ => {
                changes.extend(come.into_iter().map(|object| change(Action::Added, object, None)));
                removed.extend(gone.into_iter().map(|object| change(Action::Removed, object, None)));
            }
        }
    }
    changes.extend(removed);
}

/// Carries a change out. False: it does not fit what is there, and nothing was done.
pub fn apply(things: &mut Things, change: &Change) -> bool {
    let of = things.entry(change.kind.clone()).or_default();
    let new = text(&change.object);
    match change.action {
        Action::Removed => of.remove(&new).is_some(),
        Action::Added => of.insert(new, change.object.clone()).is_none(),
        Action::Changed => {
            let fits = change.was.as_ref().is_some_and(|was| of.remove(&text(was)).is_some());
            fits && of.insert(new, change.object.clone()).is_none()
        }
    }
}

/// Takes a change back: what is there afterwards was there before it. False: it does not fit what is there, and nothing was
/// done.
pub fn undo(things: &mut Things, change: &Change) -> bool {
    let of = things.entry(change.kind.clone()).or_default();
    let new = text(&change.object);
    match (change.action, &change.was) {
        (Action::Removed, _) => of.insert(new, change.object.clone()).is_none(),
        (Action::Added, _) => of.remove(&new).is_some(),
        (Action::Changed, None) => false,
        (Action::Changed, Some(was)) => {
            let before = text(was);
            let fits = of.contains_key(&new) && !of.contains_key(&before);
            fits && of.remove(&new).is_some() && of.insert(before, was.clone()).is_none()
        }
    }
}
