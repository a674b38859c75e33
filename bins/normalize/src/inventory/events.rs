//! The events of the inventory.

use event::inventory::{Change, MACHINE, Merged, Snapshot, things};
use event::{Event, LINE_MAX, Machine, Raw, Time, VERSION, id};
use registry::inventory::Sighting;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

/// Who speaks when it is the hub itself.
const HUB: &str = "zentral";
/// A payload is not longer, so that the line around it has room.
const PAYLOAD_MAX: usize = LINE_MAX - (256 << 10);
/// Longer names of objects are left out.
const OBJECT_MAX: usize = 128;

/// A source tells of a machine for the first time. If all it tells does not fit into a line, each thing is told alone.
pub(super) fn added(raw: &Raw, new: &Snapshot, events: &mut Vec<Event>) {
    let mut payload = json!({"source": new.source, "taken": new.taken, "machine": new.machine, "counts": new.counts()});
    let whole = serde_json::to_value(&new.parts).ok();
    let fits = whole.as_ref().is_some_and(|parts| parts.to_string().len() <= PAYLOAD_MAX);
    if let (Some(payload), Some(parts), true) = (payload.as_object_mut(), whole, fits) {
        payload.insert("parts".to_owned(), parts);
    }
    events.extend(of_line(raw, "inventory_machine_added", &payload, Vec::new()));
    if fits {
        return;
    }
    let things = things(new).into_iter().filter(|(kind, _)| kind != MACHINE);
    for (kind, object) in things.flat_map(|(kind, of)| of.into_values().map(move |object| (kind.clone(), object))) {
        let change = Change { kind, action: event::inventory::Action::Added, object, was: None, first: true };
        events.extend(changed(raw, &change));
    }
}

/// A thing is another than before.
pub(super) fn changed(raw: &Raw, change: &Change) -> Option<Event> {
    let mut payload = json!({
        "source": raw.source, "kind": change.kind, "action": change.action.word(), "object": change.object,
    });
    let map = payload.as_object_mut()?;
    if let Some(was) = &change.was {
        map.insert("was".to_owned(), was.clone().into());
    }
    if change.first {
        map.insert("first".to_owned(), true.into());
    }
    let type_ = format!("inventory_{}_update", change.kind);
    of_line(raw, &type_, &payload, objects(&change.kind, &change.object))
}

/// An event that comes of a raw line beside its own.
pub(crate) fn of_line(raw: &Raw, type_: &str, payload: &Value, objects: Vec<String>) -> Option<Event> {
    let payload = to_raw_value(payload).ok()?;
    let content = format!("{type_}{}", payload.get());
    Some(Event {
        id: id::part_id(&raw.id, content.as_bytes(), 0),
        source: raw.source.clone(),
        machine: Some(raw.machine.clone()).filter(|machine| machine.key().is_some()),
        request: raw.request.clone(),
        objects,
        ..event(type_, raw.received, raw.received, payload)
    })
}

/// The machine as a whole. If it does not fit into a line, the longest kinds are only counted.
pub(super) fn machine(key: &str, block: Machine, merged: &Merged, sightings: &[Sighting], now: Time) -> Option<Event> {
    let seen = |s: &Sighting| json!({"source": s.source, "first_seen": s.first, "last_seen": s.seen});
    let counts: Map<String, Value> =
        merged.parts.iter().map(|(kind, part)| (kind.clone(), part.objects.len().into())).collect();
    let mut parts = serde_json::to_value(&merged.parts).ok()?;
    let parts = parts.as_object_mut()?;
    let length = |part: &Value| part.to_string().len();
    while parts.values().map(length).sum::<usize>() > PAYLOAD_MAX {
        let longest = parts.iter().max_by_key(|(_, part)| length(part)).map(|(kind, _)| kind.clone())?;
        parts.remove(&longest);
    }
    let payload = json!({
        "machine": merged.machine,
        "fields": merged.fields,
        "sources": sightings.iter().map(seen).collect::<Vec<_>>(),
        "first_seen": sightings.iter().map(|s| s.first).min(),
        "last_seen": sightings.iter().map(|s| s.seen).max(),
        "counts": counts,
        "parts": parts,
    });
    of_hub(key, "inventory_machine", block, now, now, &payload)
}

/// A machine has not been heard by a source for long. It has been silent since then, whenever that was noticed.
pub(super) fn silent(sighting: &Sighting, block: Machine, after_ms: i64, now: Time) -> Option<Event> {
    let payload = json!({"source": sighting.source, "last_seen": sighting.seen});
    let since = Time::from_ms(sighting.seen.ms().saturating_add(after_ms));
    of_hub(&sighting.machine, "machine_silent", block, since, now, &payload)
}

/// An event that the hub says of a machine that did not speak itself.
pub(crate) fn of_hub(key: &str, type_: &str, block: Machine, time: Time, now: Time, payload: &Value) -> Option<Event> {
    let payload = to_raw_value(payload).ok()?;
    let content = format!("{type_}{}", payload.get());
    Some(Event {
        id: id::event_id(time.ms(), HUB, key, content.as_bytes(), 0),
        machine: Some(block),
        ..event(type_, time, now, payload)
    })
}

fn event(type_: &str, time: Time, received: Time, payload: Box<RawValue>) -> Event {
    Event {
        v: VERSION,
        id: String::new(),
        type_: type_.to_owned(),
        time,
        received,
        source: HUB.to_owned(),
        tags: vec!["inventory".to_owned()],
        machine: None,
        request: None,
        objects: Vec::new(),
        cause: None,
        probes: Vec::new(),
        extra: Map::new(),
        payload,
    }
}

/// What a thing is, for whoever searches all that is about it.
fn objects(kind: &str, object: &Map<String, Value>) -> Vec<String> {
    let of = |key: &str| object.get(key).and_then(Value::as_str).filter(|name| name.len() <= OBJECT_MAX);
    let named: &[(&str, &str)] = match kind {
        "osx_app" => &[("app", "bundle_id"), ("team", "team_id"), ("file:sha256", "sha_256")],
        "certificate" => &[("certificate", "sha_256")],
        "profile" => &[("profile", "identifier")],
        "user" => &[("user", "username")],
        "principal_user" => &[("user", "principal_name")],
        "deb_package" | "rpm_package" => &[("package", "name")],
        "program" => &[("program", "name")],
        "extension" => &[("extension", "identifier")],
        _ => &[],
    };
    named.iter().filter_map(|(word, key)| Some(format!("{word}:{}", of(key)?))).collect()
}
