//! What happened to windows, incidents and brakes, told as events: `probe_fired`, `incident_opened`, `incident_changed`,
//! `incident_closed`, `action_stopped`. (No name of Zentral's exists for them.)

use event::{Cause, Event, Time, id};
use pipe::Out;
use serde_json::{Map, Value, json};

use super::Queue;
use crate::conditions::Happened;
use crate::outcome::Made;
use crate::told::Phase;

impl Queue {
    /// Until when a probe or action is muted, in words.
    pub fn muted(&self, name: &str, received: i64) -> Option<String> {
        self.brakes.muted(name, received).map(|until| format!("muted until {}", Time::from_ms(until)))
    }

    /// Tells what happened to the conditions of a probe by this event.
    pub fn tell_happened(&mut self, of: &Event, probe: &str, happened: Happened, out: &mut Out) {
        let (type_, payload) = match happened {
            Happened::Fired { key, count, ids } => {
                ("probe_fired", json!({"probe": probe, "key": key, "count": count, "ids": ids}))
            }
            Happened::Incident(phase, row) => {
                let type_ = match phase {
                    Phase::Opened => "incident_opened",
                    Phase::Changed => "incident_changed",
                    Phase::Closed => "incident_closed",
                };
                let mut payload = json!({"key": row.key, "severity": row.severity, "title": row.title, "probe": probe});
                let shown = serde_json::to_value(row.shown()).unwrap_or_default();
                if let (Some(payload), Value::Object(shown)) = (payload.as_object_mut(), shown) {
                    payload.extend(shown);
                }
                (type_, payload)
            }
        };
        self.emit(of, type_, "incident", probe, "", payload, out);
    }

    /// Tells that the lane of an action stands still.
    pub(super) fn tell_stopped(&mut self, of: &Event, action: &str, max: u64, out: &mut Out) {
        let probe = of.probes.first().map(|probe| probe.name.clone()).unwrap_or_default();
        tracing::warn!("action {action}: stopped at {max} machines an hour; go on with: zentral act resume {action}");
        self.counts.actions.with_label_values(&[action, "stopped"]).inc();
        let payload = json!({"action": action, "max": max, "resume": format!("zentral act resume {action}")});
        self.emit(of, "action_stopped", "action", &probe, action, payload, out);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an event")]
    fn emit(
        &mut self,
        of: &Event,
        type_: &'static str,
        tag: &'static str,
        probe: &str,
        action: &str,
        payload: Value,
        out: &mut Out,
    ) {
        // Every chain ends after one turn (design § 3).
        if of.cause.is_some() || self.mode.dry_run {
            return;
        }
        let now = self.now();
        let machine = of.machine.as_ref().and_then(|machine| machine.key()).unwrap_or("");
        let payload: Map<String, Value> = payload.as_object().cloned().unwrap_or_default();
        let content = format!("{} {probe} {action} {type_} {}", of.id, Value::Object(payload.clone()));
        let cause =
            Cause { event: of.id.clone(), probe: probe.to_owned(), action: action.to_owned(), extra: Map::new() };
        let nameless = self.forgotten.hold(of.machine.as_ref(), of.received.ms());
        let id = id::event_id(of.received.ms(), "zentral", machine, content.as_bytes(), 0);
        let made = Made { id, type_, tag, cause, payload, now: Time::from_ms(now), nameless };
        let mut line = Vec::new();
        made.write(of, &mut line);
        if out.line(0, &line).is_err() {
            tracing::error!("event {}: the event about it is longer than a line may be", of.id);
        }
    }
}
