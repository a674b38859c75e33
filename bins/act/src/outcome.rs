//! Outcomes: what became of a delivery, as an event.
//!
//! `type` is `action_done`, `action_failed` (in the dead letters), `action_stale` or `action_dropped`; no name of
//! Zentral's exists for them. `payload` is {action, kind, target?, outcome, tries, status?, error?, ms?, dry_run?},
//! with `outcome` one of done, dead, unknown (cut off, may have been done; in the dead letters), stale, dropped.
//! `state` and `incident` say what it told of an incident, `count` of how many matches, `ref` what the other side calls it.
//! `cause` is {event, probe, action}, `machine` that of the event that led to it, unless it was forgotten.

use event::{Cause, Event, Time, VERSION, id};
use serde_json::{Map, Value};

use crate::ledger::{Delivery, State};

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done.
    Done,
    /// It will never work, or did not within `give_up`.
    Dead,
    /// Cut off; nobody knows whether it was done.
    Unknown,
    /// Too old to be acted upon.
    Stale,
    /// Dropped by order.
    Dropped,
}

impl Outcome {
    /// The word in payload and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
            Self::Stale => "stale",
            Self::Dropped => "dropped",
        }
    }

    /// The type of the event.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Done => "action_done",
            Self::Dead | Self::Unknown => "action_failed",
            Self::Stale => "action_stale",
            Self::Dropped => "action_dropped",
        }
    }

    /// What the row says then.
    pub fn state(self) -> State {
        match self {
            Self::Done => State::Done,
            Self::Dead | Self::Unknown => State::Dead,
            Self::Stale => State::Stale,
            Self::Dropped => State::Dropped,
        }
    }
}

/// More about an outcome.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// Kind of the action; empty if there is no such action.
    pub kind: String,
    /// Why; empty if there is nothing to say.
    pub error: String,
    /// The other side's number.
    pub status: Option<i64>,
    /// How long the last try took.
    pub ms: Option<u64>,
    /// Nothing was sent.
    pub dry_run: bool,
    /// Whom it is about is not told: the machine was forgotten.
    pub nameless: bool,
    /// What the action noted of the incident.
    pub reference: Option<Value>,
}

/// Appends the event about it. `of` is the match. The id is the same for the same (event, probe, action, target,
/// outcome); a dead letter that was raised and dies again gives another.
pub fn write(row: &Delivery, of: &Event, outcome: Outcome, details: &Details, now: Time, out: &mut Vec<u8>) {
    let machine_key = of.machine.as_ref().and_then(|m| m.key()).unwrap_or("");
    let mut content = Vec::new();
    for part in [&row.event, &row.probe, &row.action, &row.target, outcome.word()] {
        event::json::write_str(part, &mut content);
    }
    if row.nonce != 0 {
        content.extend_from_slice(&row.nonce.to_be_bytes());
    }
    let mut payload = Map::new();
    let mut put = |key: &str, value: Value| payload.insert(key.to_owned(), value);
    put("action", row.action.clone().into());
    put("kind", details.kind.clone().into());
    if !row.target.is_empty() {
        put("target", row.target.clone().into());
    }
    put("outcome", outcome.word().into());
    put("tries", row.tries.into());
    if let Some(status) = details.status {
        put("status", status.into());
    }
    if !details.error.is_empty() {
        put("error", details.error.clone().into());
    }
    if let Some(ms) = details.ms {
        put("ms", ms.into());
    }
    if details.dry_run {
        put("dry_run", true.into());
    }
    if let Some(state) = row.told.state {
        put("state", state.word().into());
    }
    if !row.incident.is_empty() {
        put("incident", row.incident.clone().into());
    }
    if row.told.count > 1 {
        put("count", row.told.count.into());
    }
    if let Some(reference) = &details.reference {
        put("ref", reference.clone());
    }
    let id = id::event_id(row.received, "zentral", machine_key, &content, row.round);
    let cause =
        Cause { event: row.event.clone(), probe: row.probe.clone(), action: row.action.clone(), extra: Map::new() };
    let made = Made { id, type_: outcome.event_type(), tag: "action", cause, payload, now, nameless: details.nameless };
    made.write(of, out);
}

/// An event of ours about another one.
pub struct Made {
    /// Its id.
    pub id: String,
    /// Its type.
    pub type_: &'static str,
    /// Word to find it by.
    pub tag: &'static str,
    /// What led to it.
    pub cause: Cause,
    /// What it says.
    pub payload: Map<String, Value>,
    /// When it is made.
    pub now: Time,
    /// Whom it is about is not told.
    pub nameless: bool,
}

impl Made {
    /// Appends the line. `of` is the event that it is about.
    pub fn write(self, of: &Event, out: &mut Vec<u8>) {
        let Ok(payload) = serde_json::value::to_raw_value(&Value::Object(self.payload)) else { return };
        Event {
            v: VERSION,
            id: self.id,
            type_: self.type_.to_owned(),
            time: self.now,
            received: self.now,
            source: "zentral".to_owned(),
            tags: vec![self.tag.to_owned()],
            machine: of.machine.clone().filter(|_| !self.nameless),
            request: None,
            objects: if self.nameless { Vec::new() } else { of.objects.clone() },
            cause: Some(self.cause),
            probes: Vec::new(),
            extra: Map::new(),
            payload,
        }
        .write(out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_names_its_cause() {
        let of = crate::call::tests::call(r#"{"v":1,"id":"e1","type":"t","time":"2026-11-21T19:00:00.123Z","received":"2026-11-21T19:00:03.001Z","source":"s","machine":{"serial_number":"C02"},"payload":{}}"#).event;
        let mut row = Delivery::new(&of, "usb", "slack", "", 0);
        row.tries = 2;
        let details = Details { kind: "slack".into(), status: Some(200), ms: Some(7), ..Details::default() };
        let line = |row: &Delivery, outcome| {
            let mut out = Vec::new();
            write(row, &of, outcome, &details, Time::from_ms(1_763_751_600_123), &mut out);
            String::from_utf8(out).unwrap()
        };
        let done = line(&row, Outcome::Done);
        let event = Event::parse(done.as_bytes()).unwrap();
        assert_eq!(event.type_, "action_done");
        assert_eq!(event.cause.unwrap().probe, "usb");
        assert_eq!(event.machine.unwrap().key(), Some("C02"));
        assert_eq!(
            event.payload.get(),
            r#"{"action":"slack","kind":"slack","outcome":"done","tries":2,"status":200,"ms":7}"#
        );
        assert_eq!(done, line(&row, Outcome::Done), "the same again");
        let id = |line: &str| Event::parse(line.as_bytes()).unwrap().id;
        assert_ne!(id(&done), id(&line(&row, Outcome::Dead)));
        let dead = line(&row, Outcome::Dead);
        row.round = 1;
        assert_ne!(id(&dead), id(&line(&row, Outcome::Dead)));
    }
}
