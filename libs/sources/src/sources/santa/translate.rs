//! Raw lines into events: one event a record, the record its payload.

use event::{Body, Event, Machine, Raw, Time, VERSION, json};
use serde_json::value::RawValue;

use super::{NAME, events, fields};
use crate::Refusal;
use crate::osquery::translate::{believed, canonical, flawed};

/// Longer names of objects are left out.
const OBJECT_MAX: usize = 255;

/// The events of a raw line.
pub(super) fn raw(raw: &Raw) -> Result<Vec<Event>, Refusal> {
    let text = match &raw.body {
        Body::Json(text) => canonical(text.get().as_bytes())?,
        Body::Base64 { base64 } => return Err(flawed(base64)),
        Body::Cut { cut } => {
            return Err(Refusal::new("too_long", format!("record of {} bytes is over the limit", cut.bytes)));
        }
    };
    if raw.kind == "log" {
        return logged(raw, &text);
    }
    if !text.starts_with(b"{") {
        return Err(Refusal::new("not_object", "record is not a JSON object"));
    }
    let (type_, time) = match raw.kind.as_str() {
        "event" => ("santa_event", "execution_time"),
        "file_access" => ("santa_file_access_event", "access_time"),
        "audit" => ("santa_audit_event", "timestamp"),
        "bundle" => ("santa_bundle", ""),
        "preflight" => ("santa_preflight", ""),
        "postflight" => ("santa_postflight", ""),
        "enroll" => ("santa_enrollment", ""),
        "conflict" => ("enrolment_conflict", ""),
        kind => return Err(Refusal::new("kind", format!("{kind:?} is no kind of record of Santa"))),
    };
    let ms = if time.is_empty() { None } else { events::at(&text, time) };
    let (time, clock) = believed(ms, raw.received);
    let mut tags = vec![NAME.to_owned()];
    if clock {
        tags.push("clock".to_owned());
    }
    let objects = objects(&raw.kind, &text);
    let machine = (raw.machine != Machine::default()).then(|| raw.machine.clone());
    let made = Made { id: raw.id.clone(), type_, time, received: raw.received, tags, machine, objects, payload: text };
    let event = made.event()?;
    Ok(vec![Event { request: raw.request.clone(), extra: raw.extra.clone(), ..event }])
}

/// The event of a line of a log that was uploaded; the text is a string.
fn logged(raw: &Raw, text: &[u8]) -> Result<Vec<Event>, Refusal> {
    let line = json::parse_str(text).ok_or_else(|| Refusal::new("wrong_type", "a line of a log is a string"))?;
    let made = super::log::line(line.as_bytes(), raw.received)?;
    let (time, clock) = believed(Some(made.time.ms()), raw.received);
    let mut tags = made.tags.clone();
    if clock {
        tags.push("clock".to_owned());
    }
    // It is the machine that uploads that the log is of, whatever its lines say.
    let machine = (raw.machine != Machine::default()).then(|| raw.machine.clone());
    let event = Made { id: raw.id.clone(), time, received: raw.received, tags, machine, ..made }.event()?;
    Ok(vec![Event { request: raw.request.clone(), extra: raw.extra.clone(), ..event }])
}

/// What differs between the events of Santa.
pub(super) struct Made {
    pub(super) id: String,
    pub(super) type_: &'static str,
    pub(super) time: Time,
    pub(super) received: Time,
    pub(super) tags: Vec<String>,
    pub(super) machine: Option<Machine>,
    pub(super) objects: Vec<String>,
    /// Canonical.
    pub(super) payload: Vec<u8>,
}

impl Made {
    pub(super) fn event(self) -> Result<Event, Refusal> {
        let payload = String::from_utf8(self.payload).ok().and_then(|text| RawValue::from_string(text).ok());
        // Canonical text is valid; this is for the type system only.
        let payload = payload.ok_or_else(|| Refusal::new("not_json", "record is not JSON"))?;
        Ok(Event {
            v: VERSION,
            id: self.id,
            type_: self.type_.to_owned(),
            time: self.time,
            received: self.received,
            source: NAME.to_owned(),
            tags: self.tags,
            machine: self.machine,
            request: None,
            objects: self.objects,
            cause: None,
            probes: Vec::new(),
            extra: serde_json::Map::new(),
            payload,
        })
    }
}

/// The things that a record is about.
fn objects(kind: &str, record: &[u8]) -> Vec<String> {
    let mut objects = Vec::new();
    match kind {
        "event" => {
            file(record, &mut objects);
            add("bundle:sha256", fields::text(record, "file_bundle_hash").as_deref(), &mut objects);
            add("user", fields::text(record, "executing_user").as_deref(), &mut objects);
        }
        "file_access" => {
            for process in fields::list(record, "process_chain").unwrap_or_default().into_iter().take(1) {
                file(process, &mut objects);
            }
        }
        "bundle" => add("bundle:sha256", fields::text(record, "file_bundle_hash").as_deref(), &mut objects),
        "preflight" | "enroll" => add("user", fields::text(record, "primary_user").as_deref(), &mut objects),
        _ => {}
    }
    objects
}

/// A file and who signed it.
fn file(record: &[u8], objects: &mut Vec<String>) {
    let named =
        [("file:sha256", "file_sha256"), ("file:cdhash", "cdhash"), ("team", "team_id"), ("signingid", "signing_id")];
    for (kind, name) in named {
        add(kind, fields::text(record, name).as_deref(), objects);
    }
    let chain = fields::list(record, "signing_chain").unwrap_or_default();
    for certificate in chain.into_iter().take(1) {
        add("certificate:sha256", fields::text(certificate, "sha256").as_deref(), objects);
    }
}

/// `kind:name`, if the name is one; digests in small letters.
pub(super) fn add(kind: &str, name: Option<&str>, objects: &mut Vec<String>) {
    let Some(name) = name.filter(|name| (1..=OBJECT_MAX).contains(&name.len())) else { return };
    let digest = match kind.rsplit_once(':').map(|(_, digest)| digest) {
        Some("sha256") => 64,
        Some("cdhash") => 40,
        _ => 0,
    };
    if digest > 0 && (name.len() != digest || !name.bytes().all(|b| b.is_ascii_hexdigit())) {
        return;
    }
    let object = if digest > 0 { format!("{kind}:{}", name.to_ascii_lowercase()) } else { format!("{kind}:{name}") };
    if !objects.contains(&object) {
        objects.push(object);
    }
}
