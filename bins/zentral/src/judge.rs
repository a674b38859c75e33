//! An event as `act` judges it, made of a line.

use event::{Event, Machine, Time, json};
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
