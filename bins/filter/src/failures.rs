//! Filters that exceed a limit or kill the process: said once a minute, quarantined when they go on, switched off when
//! they are deadly. The only memory of `filter`, kept in its state and told by events.

use std::collections::HashMap;

use event::{Event, Time};
use registry::db::{DbError, Schema, Tx};
use serde_json::value::RawValue;

/// After so many exceeded limits a filter is quarantined until its text changes.
pub(crate) const QUARANTINE_AFTER: i64 = 10;

pub(crate) const SCHEMA: Schema = Schema {
    name: "filter",
    migrations: &["CREATE TABLE failures (
        probe TEXT PRIMARY KEY, rev TEXT NOT NULL, exceeded BIGINT NOT NULL, said BIGINT NOT NULL, off TEXT);"],
};

/// What is known of failing filters, by probe.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<String, Entry>);

#[derive(Debug, Clone)]
struct Entry {
    rev: String,
    exceeded: i64,
    /// The minute of `received` in which it was last said.
    said: i64,
    off: Option<String>,
}

impl Failures {
    pub(crate) fn load(tx: &mut Tx<'_>) -> Result<Self, DbError> {
        let rows = tx.query("SELECT probe, rev, exceeded, said, off FROM failures", &[])?;
        let entry = |r: &registry::db::Row| Entry {
            rev: r.text(1).to_owned(),
            exceeded: r.int(2),
            said: r.int(3),
            off: r.opt_text(4).map(str::to_owned),
        };
        Ok(Self(rows.iter().map(|r| (r.text(0).to_owned(), entry(r))).collect()))
    }

    /// Whether the filter is not to run; a changed text gets a new chance.
    pub(crate) fn is_off(&self, probe: &str, rev: &str) -> bool {
        self.0.get(probe).is_some_and(|e| e.rev == rev && e.off.is_some())
    }

    /// It exceeded a limit at an event. What is to be said of it, if anything: `filter_failed` at most once a minute of
    /// `received`, `filter_quarantined` when it goes on.
    pub(crate) fn exceeded(
        &mut self,
        tx: &mut Tx<'_>,
        probe: &str,
        rev: &str,
        received: Time,
    ) -> Result<Option<&'static str>, DbError> {
        let fresh = Entry { rev: rev.to_owned(), exceeded: 0, said: i64::MIN, off: None };
        let entry = self.0.entry(probe.to_owned()).or_insert_with(|| fresh.clone());
        if entry.rev != rev {
            *entry = fresh;
        }
        entry.exceeded += 1;
        let minute = received.ms().div_euclid(60_000);
        let say = if entry.exceeded == QUARANTINE_AFTER {
            entry.off = Some("quarantined".into());
            Some("filter_quarantined")
        } else if entry.said != minute {
            entry.said = minute;
            Some("filter_failed")
        } else {
            None
        };
        let entry = entry.clone();
        save(tx, probe, &entry)?;
        Ok(say)
    }

    /// It killed the process twice at the same event.
    pub(crate) fn switch_off(&mut self, tx: &mut Tx<'_>, probe: &str, rev: &str) -> Result<(), DbError> {
        let entry = Entry { rev: rev.to_owned(), exceeded: 0, said: 0, off: Some("crash".into()) };
        save(tx, probe, &entry)?;
        self.0.insert(probe.to_owned(), entry);
        Ok(())
    }
}

fn save(tx: &mut Tx<'_>, probe: &str, entry: &Entry) -> Result<(), DbError> {
    let sql = "INSERT INTO failures (probe, rev, exceeded, said, off) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (probe) DO UPDATE SET rev = excluded.rev, exceeded = excluded.exceeded, \
               said = excluded.said, off = excluded.off";
    let values =
        [probe.into(), entry.rev.as_str().into(), entry.exceeded.into(), entry.said.into(), entry.off.clone().into()];
    tx.execute(sql, &values).map(|_| ())
}

/// The event that tells of a failing filter; the same failure has the same id.
pub(crate) fn event(kind: &str, probe: &str, rev: &str, at: &str, reason: &str, received: Time) -> Vec<u8> {
    let payload = serde_json::json!({"probe": probe, "rev": rev, "event": at, "reason": reason}).to_string();
    let id = event::id::event_id(received.ms(), "zentral", probe, format!("{kind}{payload}").as_bytes(), 0);
    let event = Event {
        v: event::VERSION,
        id,
        type_: kind.to_owned(),
        time: received,
        received,
        source: "zentral".into(),
        tags: vec!["zentral".into()],
        machine: None,
        request: None,
        objects: vec![format!("probe:{probe}")],
        cause: None,
        probes: Vec::new(),
        extra: serde_json::Map::new(),
        payload: RawValue::from_string(payload).unwrap_or_default(),
    };
    let mut line = Vec::new();
    event.write(&mut line);
    line
}
