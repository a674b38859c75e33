//! Every probe by jq on the parsed event: for lines that are not in canonical form, and what the index is held against.

use event::Time;

use super::runner::{Asked, NO_OBJECT, Runner};
use crate::context;
use crate::spec::{Note, Outcome, Spec};
use crate::value::{ParseError, Val, parse};

impl Runner<'_> {
    /// Asks every probe about a line in any form, without the index.
    ///
    /// # Errors
    /// The line is no JSON object, or too long or deep: no filter ran.
    pub fn naive(&mut self, line: &[u8], now_ms: i64, note: &mut dyn Note) -> Result<Outcome, ParseError> {
        let event = parse(line)?;
        let Val::Obj(_) = event else {
            return Err(ParseError { at: 0, what: NO_OBJECT });
        };
        let seen = Seen::new(&event, now_ms);
        let room = context::CONTEXTS_MAX;
        let mut asked = Asked { id: seen.id, now_ms: seen.now_ms, room, carried: self.carried };
        let mut outcome = Outcome::default();
        for (i, probe) in self.set.inner.probes.iter().enumerate() {
            if seen.pass(&probe.spec, &event) && note.before(i, seen.id) {
                outcome.runs += 1;
                self.set.ask_jq(i, probe, &event, &mut asked, &mut outcome);
                note.after(i);
            }
        }
        Ok(outcome)
    }
}

/// Whether what must hold before a probe's filter is asked holds for this event.
pub(super) fn passes(spec: &Spec, event: &Val) -> bool {
    Seen::new(event, 0).pass(spec, event)
}

/// What is looked at once for all probes.
struct Seen<'e> {
    id: &'e str,
    now_ms: i64,
    /// Name of the query, if the event is a result of one.
    query: Option<&'e str>,
    /// It comes from the first run of a differential query, when everything is "added".
    first_run: bool,
}

impl<'e> Seen<'e> {
    fn new(event: &'e Val, now_ms: i64) -> Self {
        let text = |key: &str| event.get(key).and_then(Val::as_str);
        let payload = event.get("payload");
        let query = if text("type") == Some("osquery_result") {
            payload.and_then(|p| p.get("name")).and_then(Val::as_str)
        } else {
            None
        };
        let counter = payload.and_then(|p| p.get("counter"));
        let zero = counter.is_some_and(|c| c.as_str() == Some("0") || c.num().is_some_and(|n| n.f64() == 0.0));
        let snapshot = payload
            .is_some_and(|p| p.get("snapshot").is_some() || p.get("action").and_then(Val::as_str) == Some("snapshot"));
        let received = text("received").and_then(|t| t.parse::<Time>().ok()).map(Time::ms);
        Self {
            id: text("id").unwrap_or_default(),
            now_ms: received.unwrap_or(now_ms),
            query,
            first_run: zero && !snapshot,
        }
    }

    /// Query, first run and scope.
    fn pass(&self, spec: &Spec, event: &Val) -> bool {
        let query = spec.query_name.as_deref();
        let passed = query.is_none_or(|name| self.query == Some(name) && (spec.first_run || !self.first_run));
        passed && spec.scope.holds(event)
    }
}

/// The event's machine: serial number, else hardware UUID, else host name.
pub(super) fn machine_key(event: &Val) -> Option<&str> {
    let machine = event.get("machine")?;
    ["serial_number", "hardware_uuid", "hostname"].iter().find_map(|key| machine.get(key).and_then(Val::as_str))
}
