//! Raw lines and log lines into events: one event a record; a batch record gives one event per row.

use std::borrow::Cow;

use event::inventory::Snapshot;
use event::{Body, Cause, Event, Machine, Raw, Time, VERSION, id, json};
use serde_json::value::RawValue;

use super::{NAME, facts, inventory, time};
use crate::scan::{self, Flaw, Scan};
use crate::{Plain, RECORD_DEPTH_MAX, RECORD_MAX, Refusal, Run};

/// The source's time is believed if it lies this long before the receipt …
const BEFORE_MS: i64 = 31 * 86_400_000;
/// … or this long after it (design § 2).
const AFTER_MS: i64 = 10 * 60_000;
/// Rows of one batch record.
const ROWS_MAX: usize = 65_536;
/// Bytes of all the events of one batch record: each row repeats what the record says around it.
const BATCH_MAX: usize = 64 << 20;
/// Longer names of objects are left out.
const OBJECT_MAX: usize = 128;

/// The events of a raw line.
pub(super) fn raw(raw: &Raw) -> Result<Vec<Event>, Refusal> {
    let text = match &raw.body {
        Body::Json(text) => text.get().as_bytes(),
        Body::Base64 { base64 } => return Err(flawed(base64)),
        Body::Cut { cut } => {
            return Err(Refusal::new("too_long", format!("record of {} bytes is over the limit", cut.bytes)));
        }
    };
    let text = canonical(text)?;
    let record = Record::read(&text)?;
    let cause = if raw.kind == "answer" { record.cause() } else { None };
    let made = match raw.kind.as_str() {
        "enroll" => vec![record.whole("osquery_enrollment", &raw.id)?],
        "request" => vec![record.whole("osquery_request", &raw.id)?],
        "carve" => vec![record.whole("osquery_file_carving", &raw.id)?],
        "answer" => vec![record.answer(&raw.id)?],
        "refused" => vec![record.whole("osquery_body_refused", &raw.id)?],
        "conflict" => vec![record.whole("enrolment_conflict", &raw.id)?],
        // It becomes the machine's inventory, whose changes are events.
        "result" if record.inventory && record.snapshot.is_some() => return Ok(Vec::new()),
        "result" | "status" => record.events(&raw.id, None)?,
        kind => match kind.strip_prefix("log:") {
            Some(label) => record.events(&raw.id, Some(label))?,
            None => return Err(Refusal::new("kind", format!("{kind:?} is no kind of record of osquery"))),
        },
    };
    let (time, clock) = believed(record.ms, raw.received);
    let machine = (raw.machine != Machine::default()).then_some(&raw.machine);
    let events = made.into_iter().map(|mut made| {
        if clock {
            made.tags.push("clock".to_owned());
        }
        let (request, extra) = (raw.request.clone(), raw.extra.clone());
        Event { request, extra, cause: cause.clone(), ..made.event(time, raw.received, machine) }
    });
    Ok(events.collect())
}

/// The inventory that a raw line tells.
pub(super) fn snapshot(raw: &Raw) -> Option<Result<Snapshot, Refusal>> {
    inventory::snapshot(raw, |said| {
        let said = said.map(ToString::to_string);
        believed(time::ms(said.as_deref().map(str::as_bytes), None), raw.received).0
    })
}

/// The event of a record that is one as it stands.
pub(super) fn plain<'a>(kind: &[u8], received: Time, members: json::Object<'a>) -> Option<Plain<'a>> {
    const TAGS: &[&str] = &[NAME, "clock"];
    if !matches!(kind, b"result" | b"status") {
        return None;
    }
    let mut columns = None;
    let seen = members.members().map(|(member, within)| {
        if member.0 == b"columns" {
            columns = Some(within);
        }
        member
    });
    let record = Record::of(b"", seen);
    let type_ = match &record {
        // It becomes the machine's inventory.
        Record { snapshot: Some(_), inventory: true, .. } => return None,
        Record { columns: None, snapshot: None, diff_results: Some(_), .. } => return None,
        Record { columns: None, snapshot: None, status_marks: 0..=1, .. } => return None,
        Record { columns: None, snapshot: None, .. } => "osquery_status",
        _ => "osquery_result",
    };
    let (time, clock) = believed(record.ms, received);
    let tags = TAGS.get(..if clock { 2 } else { 1 }).unwrap_or_default();
    let objects = objects(columns.into_iter().flat_map(json::Object::members).map(|(member, _)| member));
    let snapshot = record.snapshot.is_some();
    let run = record.name.map(|query| Run { query, snapshot, epoch: record.epoch, counter: record.counter });
    Some(Plain { type_, time, tags, objects, run })
}

/// The events of a line of the agent's own log.
pub(super) fn log_line(line: &[u8], now: Time) -> Result<Vec<Event>, Refusal> {
    if line.len() > RECORD_MAX {
        return Err(Refusal::new("too_long", format!("record of {} bytes is over the limit", line.len())));
    }
    let text = canonical(line)?;
    let record = Record::read(&text)?;
    let machine = facts::of_record(record.host_identifier, record.hostname, record.decorations);
    // A line without a time takes its content alone: the millisecond is 0, not the moment of reading.
    let record_id = id::event_id(record.ms.unwrap_or(0), NAME, machine.key().unwrap_or_default(), &text, 0);
    let time = record.ms.map_or(now, Time::from_ms);
    let machine = (machine != Machine::default()).then_some(&machine);
    Ok(record.events(&record_id, None)?.into_iter().map(|made| made.event(time, time, machine)).collect())
}

/// The time of an event, and whether the source's clock was not believed.
pub fn believed(ms: Option<i64>, received: Time) -> (Time, bool) {
    let Some(ms) = ms else { return (received, false) };
    let believable = received.ms().saturating_sub(BEFORE_MS)..=received.ms().saturating_add(AFTER_MS);
    if believable.contains(&ms) { (Time::from_ms(ms), false) } else { (received, true) }
}

pub(crate) fn canonical(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let text = text.trim_ascii();
    match scan::value(text, 0, true) {
        Scan::Whole(found) if found.end == text.len() => {}
        Scan::Bad(Flaw::Deep) => return Err(deep()),
        _ if std::str::from_utf8(text).is_err() => return Err(Refusal::new("not_utf8", "record is not UTF-8")),
        _ => return Err(Refusal::new("not_json", "record is not JSON")),
    }
    let mut out = Vec::with_capacity(text.len());
    json::canonical(text, &mut out).map_err(|e| match e.what {
        "invalid UTF-8" => Refusal::new("not_utf8", format!("record is not UTF-8 at byte {}", e.at)),
        _ => Refusal::new("not_json", format!("record is not JSON: {e}")),
    })?;
    Ok(out)
}

/// Why a record came as bytes.
pub(crate) fn flawed(bytes: &[u8]) -> Refusal {
    canonical(bytes).err().unwrap_or_else(|| Refusal::new("not_json", "record came as bytes"))
}

fn deep() -> Refusal {
    Refusal::new("too_deep", format!("record is nested deeper than {RECORD_DEPTH_MAX} levels"))
}

/// A record in canonical form and those of its members that matter here; everything else passes untouched.
struct Record<'a> {
    text: &'a [u8],
    ms: Option<i64>,
    host_identifier: Option<&'a [u8]>,
    hostname: Option<&'a [u8]>,
    decorations: Option<&'a [u8]>,
    columns: Option<&'a [u8]>,
    snapshot: Option<&'a [u8]>,
    diff_results: Option<&'a [u8]>,
    /// How many of the four marks of a status line it bears.
    status_marks: usize,
    /// The name of its query.
    name: Option<&'a [u8]>,
    /// How often its count has begun anew.
    epoch: &'a [u8],
    /// The number of its run.
    counter: &'a [u8],
    /// It has the name of the inventory query.
    inventory: bool,
}

impl<'a> Record<'a> {
    fn read(text: &'a [u8]) -> Result<Self, Refusal> {
        if !text.starts_with(b"{") {
            return Err(Refusal::new("not_object", "record is not a JSON object"));
        }
        Ok(Self::of(text, json::members(text).filter_map(Result::ok)))
    }

    fn of(text: &'a [u8], members: impl Iterator<Item = json::Member<'a>>) -> Self {
        let mut record = Record {
            text,
            ms: None,
            host_identifier: None,
            hostname: None,
            decorations: None,
            columns: None,
            snapshot: None,
            diff_results: None,
            status_marks: 0,
            name: None,
            epoch: b"",
            counter: b"",
            inventory: false,
        };
        let (mut unix_time, mut calendar_time) = (None, None);
        for (key, value) in members {
            match key {
                b"unixTime" => unix_time = Some(value),
                b"calendarTime" => calendar_time = Some(value),
                b"hostIdentifier" => record.host_identifier = Some(value),
                b"hostname" => record.hostname = Some(value),
                b"decorations" => record.decorations = Some(value),
                b"columns" => record.columns = Some(value),
                b"name" => {
                    record.inventory = inventory::is_inventory(value);
                    record.name = Some(value);
                }
                b"epoch" => record.epoch = value,
                b"counter" => record.counter = value,
                b"snapshot" => record.snapshot = Some(value),
                b"diffResults" => record.diff_results = Some(value),
                b"severity" | b"message" | b"filename" | b"line" => record.status_marks += 1,
                _ => {}
            }
        }
        record.ms = time::ms(unix_time, calendar_time);
        record
    }

    /// What it is goes by its shape, whatever the log was called that brought it.
    fn events(&self, record_id: &str, label: Option<&str>) -> Result<Vec<Made>, Refusal> {
        let mut made = if self.columns.is_some() || self.snapshot.is_some() {
            vec![self.whole("osquery_result", record_id)?]
        } else if let Some(diff) = self.diff_results {
            self.rows(diff, record_id)?
        } else if self.status_marks >= 2 {
            vec![self.whole("osquery_status", record_id)?]
        } else if label.is_some() {
            vec![self.whole("osquery_log", record_id)?]
        } else {
            return Err(Refusal::new("shape", "record is neither a result nor a status line"));
        };
        if let Some(label) = label {
            made.iter_mut().for_each(|made| made.tags.push(format!("log_type:{label}")));
        }
        Ok(made)
    }

    /// The record itself as one event.
    fn whole(&self, type_: &'static str, id: &str) -> Result<Made, Refusal> {
        Made::new(type_, id.to_owned(), self.columns, self.text.to_vec())
    }

    /// What led an action to ask this query.
    fn cause(&self) -> Option<Cause> {
        serde_json::from_slice(json::get(self.text, "cause")?).ok()
    }

    /// The answer to a live query; what led to it stands beside the payload, not in it.
    fn answer(&self, id: &str) -> Result<Made, Refusal> {
        let mut text = b"{".to_vec();
        for (key, value) in json::members(self.text).filter_map(Result::ok).filter(|(key, _)| *key != b"cause") {
            text.extend_from_slice(if text.len() > 1 { b",\"" } else { b"\"" });
            text.extend_from_slice(key);
            text.extend_from_slice(b"\":");
            text.extend_from_slice(value);
        }
        text.push(b'}');
        Made::new("osquery_distributed_query_result", id.to_owned(), self.columns, text)
    }

    /// One event per row of a batch, removed ones first, as the agent does in its event form. `""` stands for an
    /// empty list in old versions.
    fn rows(&self, diff: &[u8], record_id: &str) -> Result<Vec<Made>, Refusal> {
        if diff != b"\"\"" && !diff.starts_with(b"{") {
            return Err(Refusal::new("shape", "diffResults is not an object"));
        }
        let around = self.around();
        let (mut made, mut bytes) = (Vec::new(), 0usize);
        let mut copies = id::Occurrences::default();
        for action in ["removed", "added"] {
            let list = match json::get(diff, action) {
                None | Some(b"\"\"" | b"null") => continue,
                Some(list) if list.starts_with(b"[") => list,
                Some(_) => return Err(Refusal::new("shape", format!("diffResults.{action} is not a list"))),
            };
            for row in scan::items(list) {
                bytes = bytes.saturating_add(around.len() + row.len());
                if made.len() >= ROWS_MAX || bytes > BATCH_MAX {
                    return Err(Refusal::new("too_long", "batch of too many rows"));
                }
                let mut payload = Vec::with_capacity(around.len() + row.len() + 40);
                payload.extend_from_slice(&around);
                payload.extend_from_slice(b"\"columns\":");
                payload.extend_from_slice(row);
                payload.extend_from_slice(b",\"action\":\"");
                payload.extend_from_slice(action.as_bytes());
                payload.extend_from_slice(b"\"}");
                let row_id = id::part_id(record_id, &payload, copies.next(&payload));
                made.push(Made::new("osquery_result", row_id, Some(row), payload)?);
            }
        }
        Ok(made)
    }

    /// The record up to its rows: its members without `diffResults` and what takes its place.
    fn around(&self) -> Vec<u8> {
        let mut out = b"{".to_vec();
        for (key, value) in json::members(self.text).filter_map(Result::ok) {
            if !matches!(key, b"diffResults" | b"columns" | b"action") {
                out.push(b'"');
                out.extend_from_slice(key);
                out.extend_from_slice(b"\":");
                out.extend_from_slice(value);
                out.push(b',');
            }
        }
        out
    }
}

/// An event in the making: what differs between the events of one record.
struct Made {
    type_: &'static str,
    id: String,
    tags: Vec<String>,
    objects: Vec<String>,
    payload: Box<RawValue>,
}

impl Made {
    fn new(type_: &'static str, id: String, columns: Option<&[u8]>, payload: Vec<u8>) -> Result<Self, Refusal> {
        let payload = String::from_utf8(payload).ok().and_then(|text| RawValue::from_string(text).ok());
        // Canonical text is valid; this is for the type system only.
        let payload = payload.ok_or_else(|| Refusal::new("not_json", "record is not JSON"))?;
        let columns = columns.filter(|columns| columns.starts_with(b"{")).map(json::members);
        let objects = objects(columns.into_iter().flatten().filter_map(Result::ok));
        Ok(Self { type_, id, tags: vec![NAME.to_owned()], objects, payload })
    }

    fn event(self, time: Time, received: Time, machine: Option<&Machine>) -> Event {
        Event {
            v: VERSION,
            id: self.id,
            type_: self.type_.to_owned(),
            time,
            received,
            source: NAME.to_owned(),
            tags: self.tags,
            machine: machine.cloned(),
            request: None,
            objects: self.objects,
            cause: None,
            probes: Vec::new(),
            extra: serde_json::Map::new(),
            payload: self.payload,
        }
    }
}

/// The things that a row is about, as far as its columns say so plainly.
fn objects<'a>(columns: impl Iterator<Item = json::Member<'a>>) -> Vec<String> {
    let mut objects = Vec::new();
    for (key, value) in columns {
        let kind = match key {
            b"sha256" => "file:sha256",
            b"username" | b"user" => "user",
            b"team_identifier" => "team",
            _ => continue,
        };
        let Some(name) = json::parse_str(value).filter(|name| (1..=OBJECT_MAX).contains(&name.len())) else { continue };
        let hash = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
        if kind == "file:sha256" && !hash {
            continue;
        }
        let name: Cow<'_, str> = if hash { name.to_ascii_lowercase().into() } else { name };
        let object = format!("{kind}:{name}");
        if !objects.contains(&object) {
            objects.push(object);
        }
    }
    objects
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn line(kind: &str, body: &str) -> Event {
        let line = format!(
            r#"{{"v":1,"id":"i","source":"osquery","kind":"{kind}","received":"2026-11-21T19:00:00.000Z","machine":{{"serial_number":"C02"}},"body":{body}}}"#
        );
        raw(&Raw::parse(line.as_bytes()).unwrap()).unwrap().remove(0)
    }

    /// Only of what the hub has asked: an agent that says so in a result has made no action do anything.
    #[test]
    fn an_answer_that_an_action_asked_for_names_its_cause() {
        let cause = r#""cause":{"event":"e","probe":"p","action":"a"}"#;
        let asked = line("answer", &format!(r#"{{"query":"q",{cause},"status":0,"rows":[{{"a":"1"}}]}}"#));
        assert_eq!(asked.payload.get(), r#"{"query":"q","status":0,"rows":[{"a":"1"}]}"#);
        let found = asked.cause.unwrap();
        assert_eq!((found.event.as_str(), found.probe.as_str(), found.action.as_str()), ("e", "p", "a"));
        assert_eq!(line("answer", r#"{"query":"q","rows":[]}"#).cause, None);
        let said = line("result", &format!(r#"{{"name":"n",{cause},"columns":{{"a":"1"}},"action":"added"}}"#));
        assert_eq!(said.cause, None);
    }
}
