//! Raw lines into events: one per event of a report, one per change of a check.

use event::id::{Occurrences, part_id};
use event::{Body, Event, Machine, Raw, Time, VERSION, json};
use serde_json::value::RawValue;

use super::{NAME, time};
use crate::osquery::translate::believed;
use crate::scan;
use crate::{RECORD_MAX, Refusal};

/// Bytes of all the events of one raw line: each repeats what the report says around it.
const EVENTS_MAX: usize = 256 << 20;
/// Longer names of objects are left out.
const OBJECT_MAX: usize = 128;

/// The events of a raw line.
pub(super) fn raw(raw: &Raw) -> Result<Vec<Event>, Refusal> {
    let text = match &raw.body {
        Body::Json(text) => text.get().as_bytes(),
        Body::Base64 { .. } => return Err(Refusal::new("not_json", "a piece of a post is not JSON")),
        Body::Cut { cut } => {
            return Err(Refusal::new("too_long", format!("record of {} bytes is over the limit", cut.bytes)));
        }
    };
    let mut canonical = Vec::with_capacity(text.len());
    json::canonical(text, &mut canonical).map_err(|e| Refusal::new("not_json", format!("record is not JSON: {e}")))?;
    if !canonical.starts_with(b"{") {
        return Err(Refusal::new("not_object", "record is not a JSON object"));
    }
    let type_ = match raw.kind.as_str() {
        "enroll" => "munki_enrollment",
        "request" => "munki_request",
        "conflict" => "enrolment_conflict",
        "refused" => "munki_body_refused",
        "check" => "munki_script_check_status_updated",
        "report" => return report(raw, &canonical),
        // What the machine has is no event of its own: its changes are.
        "snapshot" => return Ok(Vec::new()),
        "item" => {
            let of = super::text(&canonical, "of").unwrap_or_default();
            return Err(Refusal::new("shape", format!("an item of {of} is not what it should be")));
        }
        kind => return Err(Refusal::new("kind", format!("{kind:?} is no kind of record of Munki"))),
    };
    Ok(vec![made(raw, type_, raw.id.clone(), None, canonical)?])
}

/// One event for each row of `events`: what the row says, and what the report says around it.
fn report(raw: &Raw, text: &[u8]) -> Result<Vec<Event>, Refusal> {
    let mut around = Vec::new();
    let (mut rows, mut start) = (&b"[]"[..], None);
    for (key, value) in json::members(text).filter_map(Result::ok) {
        match key {
            b"events" => rows = value,
            _ => {
                if key == b"start_time" {
                    start = time::of_value(value);
                }
                around.push((key, value));
            }
        }
    }
    if !rows.starts_with(b"[") {
        return Err(Refusal::new("shape", "the events of a report are no list"));
    }
    let (mut events, mut bytes, mut copies) = (Vec::new(), 0usize, Occurrences::default());
    for row in scan::items(rows) {
        let mut parts = scan::items(row);
        let (Some(at), Some(fields)) = (parts.next(), parts.next()) else {
            return Err(Refusal::new("shape", "an event of a report is no pair of a time and what happened"));
        };
        if !fields.starts_with(b"{") {
            return Err(Refusal::new("shape", "what happened is no JSON object"));
        }
        let payload = payload(at, fields, &around);
        bytes = bytes.saturating_add(payload.len());
        if bytes > EVENTS_MAX || payload.len() > RECORD_MAX {
            return Err(Refusal::new("too_long", "report of too many events"));
        }
        let id = part_id(&raw.id, &payload, copies.next(&payload));
        let ms = time::of_value(at).or(start);
        events.push(made(raw, type_of(fields), id, ms, payload)?);
    }
    Ok(events)
}

/// The fields of the event, its time, and of the report what the event does not say itself.
fn payload(at: &[u8], fields: &[u8], around: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = b"{".to_vec();
    let mut own = Vec::new();
    let put = |out: &mut Vec<u8>, key: &[u8], value: &[u8]| {
        if out.len() > 1 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    };
    for (key, value) in json::members(fields).filter_map(Result::ok) {
        put(&mut out, key, value);
        own.push(key);
    }
    if !own.contains(&&b"time"[..]) {
        put(&mut out, b"time", at);
        own.push(b"time");
    }
    for (key, value) in around.iter().filter(|(key, _)| !own.contains(key)) {
        put(&mut out, key, value);
    }
    out.push(b'}');
    out
}

/// What an event of a report is. A status other than 0 is a failure.
fn type_of(fields: &[u8]) -> &'static str {
    let failed = json::get(fields, "status").is_some_and(|status| !matches!(status, b"0" | b"null" | b"\"0\""));
    match (super::text(fields, "type").as_deref(), failed) {
        (Some("start"), _) => "munki_start",
        (Some("install"), false) => "munki_install",
        (Some("install"), true) => "munki_install_failed",
        (Some("removal"), false) => "munki_removal",
        (Some("removal"), true) => "munki_removal_failed",
        (Some("warning"), _) => "munki_warning",
        (Some("error"), _) => "munki_error",
        _ => "munki_event",
    }
}

fn made(raw: &Raw, type_: &str, id: String, ms: Option<i64>, payload: Vec<u8>) -> Result<Event, Refusal> {
    let (time, clock): (Time, bool) = believed(ms, raw.received);
    let mut tags = vec![NAME.to_owned()];
    if clock {
        tags.push("clock".to_owned());
    }
    let item = type_.strip_prefix("munki_").filter(|what| what.starts_with("install") || what.starts_with("removal"));
    let name = item.and_then(|_| super::text(&payload, "name")).filter(|name| (1..=OBJECT_MAX).contains(&name.len()));
    let objects = name.map(|name| format!("munki_item:{name}")).into_iter().collect();
    let payload = String::from_utf8(payload).ok().and_then(|text| RawValue::from_string(text).ok());
    // Canonical text is valid; this is for the type system only.
    let payload = payload.ok_or_else(|| Refusal::new("not_json", "record is not JSON"))?;
    Ok(Event {
        v: VERSION,
        id,
        type_: type_.to_owned(),
        time,
        received: raw.received,
        source: NAME.to_owned(),
        tags,
        machine: (raw.machine != Machine::default()).then(|| raw.machine.clone()),
        request: raw.request.clone(),
        objects,
        cause: None,
        probes: Vec::new(),
        extra: raw.extra.clone(),
        payload,
    })
}
