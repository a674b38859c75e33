//! One machine out of what several sources say of it.
//!
//! Each field, and each kind of things, is told by the first source in an order of precedence that tells it at all; kinds
//! in [`ADDS_UP`] and groups are those of all sources. A source that last saw the machine [`STALE_MS`] before another did
//! comes after all that are fresh: what an agent said a year ago does not hide what is said today.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::kinds::ADDS_UP;
use super::{Snapshot, text};
use crate::{Machine, Time};

/// A source that is so much behind the last one that saw the machine is stale, in ms: 7 days.
pub const STALE_MS: i64 = 7 * 86_400_000;

/// Who is believed first: agents, which look at the machine itself, then what is pulled. Others come after them.
const ORDER: [&str; 6] = ["osquery", "munki", "santa", "jamf", "sal", "watchman"];
/// Of the user: who it was given to is known where machines are managed.
const ORDER_OF_USERS: [&str; 6] = ["jamf", "munki", "santa", "sal", "watchman", "osquery"];

/// What one source says, and when it last saw the machine.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The kind of the source: `jamf` for `[source.jamf-prod]`.
    pub kind: &'a str,
    /// When it last saw the machine.
    pub seen: Time,
    /// What it says.
    pub snapshot: &'a Snapshot,
}

/// A machine as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Merged {
    /// The machine.
    pub machine: Machine,
    /// The source of each of its fields.
    pub fields: BTreeMap<&'static str, String>,
    /// What it has, by kind.
    pub parts: BTreeMap<String, Part>,
}

/// What a machine has of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Part {
    /// The sources that told it.
    pub sources: Vec<String>,
    /// The things.
    pub objects: Vec<Map<String, Value>>,
}

/// The kind of things that the field `user` goes with; the kind `user` is another, the accounts of the machine.
const PRINCIPAL_USER: &str = "principal_user";

/// The place of a kind of source among those that tell a field or a kind of things; the lowest is believed. (The field
/// `user` has the order of the kind `principal_user`.)
pub fn precedence(field: &str, kind: &str) -> usize {
    let order = if field == PRINCIPAL_USER { &ORDER_OF_USERS } else { &ORDER };
    order.iter().position(|known| *known == kind).unwrap_or(order.len())
}

/// The machine that these are about. Of the same sources the result is the same, in whatever order they come.
pub fn merge(told: &[Told<'_>]) -> Merged {
    let newest = told.iter().map(|t| t.seen).max().unwrap_or_default();
    let ranked = |field: &str| {
        let mut all: Vec<&Told<'_>> = told.iter().collect();
        all.sort_by_key(|t| {
            let stale = newest.ms().saturating_sub(t.seen.ms()) > STALE_MS;
            (stale, precedence(field, t.kind), std::cmp::Reverse(t.snapshot.taken), &t.snapshot.source)
        });
        all.into_iter().map(|t| t.snapshot)
    };
    let mut merged = Merged::default();
    type Field = fn(&Machine) -> &Option<String>;
    let fields: [(&'static str, Field); 7] = [
        ("serial_number", |m| &m.serial_number),
        ("hardware_uuid", |m| &m.hardware_uuid),
        ("hostname", |m| &m.hostname),
        ("platform", |m| &m.platform),
        ("os_version", |m| &m.os_version),
        ("unit", |m| &m.unit),
        ("user", |m| &m.user),
    ];
    let m = &mut merged.machine;
    let places = [
        &mut m.serial_number,
        &mut m.hardware_uuid,
        &mut m.hostname,
        &mut m.platform,
        &mut m.os_version,
        &mut m.unit,
        &mut m.user,
    ];
    for ((name, of), place) in fields.into_iter().zip(places) {
        let order = if name == "user" { PRINCIPAL_USER } else { name };
        if let Some((source, value)) = ranked(order).find_map(|s| Some((&s.source, of(&s.machine).as_ref()?))) {
            *place = Some(value.clone());
            merged.fields.insert(name, source.clone());
        }
    }
    merged.machine.groups = told.iter().flat_map(|t| groups(t.snapshot)).collect::<BTreeSet<_>>().into_iter().collect();
    let kinds: BTreeSet<&String> = told.iter().flat_map(|t| t.snapshot.parts.keys()).collect();
    for kind in kinds {
        let mut tell = ranked(kind).filter(|s| s.parts.contains_key(kind));
        let part =
            if ADDS_UP.contains(&kind.as_str()) { all_of(tell, kind) } else { tell.next().map(|s| part(s, kind)) };
        merged.parts.extend(part.map(|part| (kind.clone(), part)));
    }
    merged
}

/// The names of the groups that a source puts the machine in.
fn groups(snapshot: &Snapshot) -> Vec<String> {
    match snapshot.parts.get("group") {
        Some(told) => told.iter().filter_map(|g| g.get("name")?.as_str()).map(str::to_owned).collect(),
        None => snapshot.machine.groups.clone(),
    }
}

fn part(snapshot: &Snapshot, kind: &str) -> Part {
    Part { sources: vec![snapshot.source.clone()], objects: snapshot.parts.get(kind).cloned().unwrap_or_default() }
}

fn all_of<'a>(tell: impl Iterator<Item = &'a Snapshot>, kind: &str) -> Option<Part> {
    let (mut sources, mut seen, mut objects) = (Vec::new(), BTreeSet::new(), Vec::new());
    for snapshot in tell {
        sources.push(snapshot.source.clone());
        let new = snapshot.parts.get(kind).into_iter().flatten().filter(|object| seen.insert(text(object)));
        objects.extend(new.cloned());
    }
    (!sources.is_empty()).then_some(Part { sources, objects })
}
