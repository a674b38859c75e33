//! A match as `act` judges it, made of an event's line and of what its filter found.

use event::{Event, Machine, ProbeMatch, Time, json};
use probe::{Found, Spec};
use serde_json::Map;
use serde_json::value::RawValue;

/// What conditions look at: an event without its payload.
pub fn event(line: &[u8], id: String, received: Time) -> Event {
    let machine = json::get(line, "machine").and_then(|text| serde_json::from_slice::<Machine>(text).ok());
    Event {
        v: event::VERSION,
        id,
        type_: String::new(),
        time: received,
        received,
        source: String::new(),
        tags: Vec::new(),
        machine,
        request: None,
        objects: Vec::new(),
        cause: None,
        probes: Vec::new(),
        extra: Map::new(),
        payload: RawValue::NULL.to_owned(),
    }
}

/// What `filter` writes on the event.
pub fn probe_match(spec: &Spec, found: &Found) -> ProbeMatch {
    let mut extra = Map::new();
    if found.closes {
        extra.insert("closes".to_owned(), true.into());
    }
    ProbeMatch {
        name: spec.name.clone(),
        rev: spec.rev.clone(),
        severity: spec.severity.clone(),
        act: spec.act.clone(),
        key: found.key.clone(),
        context: found.context.clone().and_then(|text| RawValue::from_string(text).ok()),
        extra,
    }
}
