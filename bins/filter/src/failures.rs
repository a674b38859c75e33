//! Filters that exceed a limit or kill the process: said once a minute, quarantined when they go on, switched off when
//! they are deadly, until their text changes. The only memory of `filter`, kept in its state; each beginning and end is
//! told by an event.

use std::collections::HashMap;

use event::{Event, Time, json, printable};
use registry::db::{Db, DbError, Home, Row, Schema, Tx};
use serde_json::value::RawValue;

use crate::tried::is_plain;

/// After so many exceeded limits within [`WINDOW_MS`] a filter is quarantined until its text changes.
pub(crate) const QUARANTINE_AFTER: i64 = 10;
/// Milliseconds of `received` in which exceeded limits are counted together: one a day is no reason for a quarantine.
const WINDOW_MS: i64 = 3_600_000;
/// Milliseconds of `received` for which a failure is said once.
const SAY_MS: i64 = 60_000;

/// Its table: the probes that failed of late.
pub const SCHEMA: Schema = Schema {
    name: "filter",
    migrations: &[
        "CREATE TABLE failures (
        probe TEXT PRIMARY KEY, rev TEXT NOT NULL, exceeded BIGINT NOT NULL, said BIGINT NOT NULL, off TEXT);",
        "ALTER TABLE failures ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
        ALTER TABLE failures ADD COLUMN event TEXT NOT NULL DEFAULT '';",
        "ALTER TABLE failures ADD COLUMN reason TEXT NOT NULL DEFAULT '';",
    ],
};

/// What is known of failing filters, by probe.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<String, Entry>);

/// Exceeded limits of one filter, as they are counted together: what goes on within an hour of `received` is a reason
/// for a quarantine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strikes {
    /// How often since `since`, milliseconds of `received`.
    exceeded: i64,
    since: i64,
}

impl Strikes {
    /// One more, at an event of this `received`; whether it is enough.
    pub fn add(&mut self, received: Time) -> bool {
        if received.ms().abs_diff(self.since) >= WINDOW_MS.unsigned_abs() {
            (self.since, self.exceeded) = (received.ms(), 0);
        }
        self.exceeded += 1;
        self.exceeded >= QUARANTINE_AFTER
    }
}

#[derive(Debug, Clone)]
struct Entry {
    rev: String,
    strikes: Strikes,
    /// The minute of `received` in which it was last said.
    said: i64,
    off: Option<String>,
    /// Id of the event at which it was switched off.
    event: String,
    /// What was said of the limit that it exceeded there.
    reason: String,
}

impl Entry {
    fn new(rev: &str) -> Self {
        let strikes = Strikes::default();
        let (event, reason) = (String::new(), String::new());
        Self { rev: rev.to_owned(), strikes, said: i64::MIN, off: None, event, reason }
    }
}

/// What happened to a filter, as its event tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Type of the event.
    pub(crate) kind: &'static str,
    pub(crate) probe: String,
    pub(crate) rev: String,
    /// Id of the event at which it failed.
    pub(crate) event: String,
    pub(crate) reason: String,
}

impl Failures {
    pub(crate) fn load(tx: &mut Tx<'_>) -> Result<Self, DbError> {
        let rows = tx.query("SELECT probe, rev, exceeded, said, off, since, event, reason FROM failures", &[])?;
        let entry = |r: &Row| Entry {
            rev: r.text(1).to_owned(),
            strikes: Strikes { exceeded: r.int(2), since: r.int(5) },
            said: r.int(3),
            off: r.opt_text(4).map(str::to_owned),
            event: r.text(6).to_owned(),
            reason: r.text(7).to_owned(),
        };
        Ok(Self(rows.iter().map(|r| (r.text(0).to_owned(), entry(r))).collect()))
    }

    /// Whether the filter is not to run; a changed text gets a new chance.
    pub(crate) fn is_off(&self, probe: &str, rev: &str) -> bool {
        self.0.get(probe).is_some_and(|e| e.rev == rev && e.off.is_some())
    }

    /// It exceeded a limit, as `reason` says, at an event. What is to be said of it, if anything: `filter_failed` at most
    /// once a minute of `received`, `filter_quarantined` when it goes on.
    pub(crate) fn exceeded(
        &mut self,
        tx: &mut Tx<'_>,
        (probe, rev): (&str, &str),
        reason: &str,
        event: &str,
        received: Time,
    ) -> Result<Option<&'static str>, DbError> {
        let entry = self.0.entry(probe.to_owned()).or_insert_with(|| Entry::new(rev));
        if entry.rev != rev {
            *entry = Entry::new(rev);
        }
        let enough = entry.strikes.add(received);
        let minute = received.ms().div_euclid(SAY_MS);
        let say = if enough && entry.off.is_none() {
            entry.off = Some("quarantined".into());
            (entry.event, entry.reason) = (event.to_owned(), reason.to_owned());
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

    /// It killed the process twice at the same event: it runs no more from now on; [`Failures::keep`] writes it down.
    pub(crate) fn switch_off(&mut self, probe: &str, rev: &str, event: &str) -> Told {
        let entry = Entry { off: Some("crash".into()), event: event.to_owned(), ..Entry::new(rev) };
        self.0.insert(probe.to_owned(), entry);
        let (probe, rev, event) = (probe.to_owned(), rev.to_owned(), event.to_owned());
        Told { kind: "filter_switched_off", probe, rev, event, reason: "crash".into() }
    }

    /// Forgets filters that were off and whose text is another now; `revs` are the probes and revs that run.
    pub(crate) fn resumed<'a>(&mut self, revs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Told> {
        let mut all = Vec::new();
        for (probe, rev) in revs {
            let Some(entry) = self.0.get(probe).filter(|e| e.rev != rev) else { continue };
            if let Some(reason) = entry.off.clone() {
                let (event, rev) = (entry.event.clone(), rev.to_owned());
                all.push(Told { kind: "filter_resumed", probe: probe.to_owned(), rev, event, reason });
                self.0.remove(probe);
            }
        }
        all
    }

    /// Brings the state up to date with what is told.
    pub(crate) fn keep(&self, tx: &mut Tx<'_>, told: &Told) -> Result<(), DbError> {
        match self.0.get(&told.probe) {
            Some(entry) => save(tx, &told.probe, entry),
            None => tx.execute("DELETE FROM failures WHERE probe = $1", &[told.probe.as_str().into()]).map(|_| ()),
        }
    }
}

/// A filter that does not run any more, as the state of a stage has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Off {
    /// Its probe.
    pub probe: String,
    /// Its text: another one runs.
    pub rev: String,
    /// `quarantined` or `crash`.
    pub why: String,
    /// Id of the event at which that happened.
    pub event: String,
    /// What was said of the limit that it exceeded there: `exceeded its limit of …`; empty if it is not known.
    pub reason: String,
}

impl Off {
    /// Why it is off.
    pub fn words(&self) -> String {
        let event = printable(&self.event);
        match (self.why.as_str(), self.reason.as_str()) {
            ("crash", _) => format!("it killed the process at event {event}"),
            (why, "") => format!("{why} at event {event}"),
            (why, reason) => {
                format!("{why}, it {reason} {QUARANTINE_AFTER} times within an hour, last at event {event}")
            }
        }
    }

    /// What can be done about it.
    pub fn remedy(&self) -> String {
        match self.event.as_str() {
            // A look at it would be the next crash.
            id if self.why != "crash" && is_plain(id) => {
                format!("change its text; `zentral explain {id} {}` shows where", self.probe)
            }
            _ => "change its text".to_owned(),
        }
    }
}

/// The filters that are off, by name, as another process reads them; none if nothing of `filter` is in the file.
///
/// # Errors
/// The file cannot be read.
pub fn off(state: impl Into<Home>) -> Result<Vec<Off>, DbError> {
    let Some(db) = Db::open_read_only(state)? else { return Ok(Vec::new()) };
    if !db.has_table("failures")? {
        return Ok(Vec::new());
    }
    // The file may be of a version before; whoever owns it brings it up to date.
    let told = db.has_column("failures", "reason")?;
    let reason = if told { "reason" } else { "''" };
    let sql = format!("SELECT probe, rev, off, event, {reason} FROM failures WHERE off IS NOT NULL ORDER BY probe");
    let rows = db.query(&sql, &[])?;
    let off = |row: &Row| {
        let [probe, rev, why, event, reason] = [0, 1, 2, 3, 4].map(|i| row.text(i).to_owned());
        Off { probe, rev, why, event, reason }
    };
    Ok(rows.iter().map(off).collect())
}

fn save(tx: &mut Tx<'_>, probe: &str, entry: &Entry) -> Result<(), DbError> {
    let sql = "INSERT INTO failures (probe, rev, exceeded, said, off, since, event, reason) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
               ON CONFLICT (probe) DO UPDATE SET rev = excluded.rev, exceeded = excluded.exceeded, \
               said = excluded.said, off = excluded.off, since = excluded.since, event = excluded.event, \
               reason = excluded.reason";
    let values = [
        probe.into(),
        entry.rev.as_str().into(),
        entry.strikes.exceeded.into(),
        entry.said.into(),
        entry.off.clone().into(),
        entry.strikes.since.into(),
        entry.event.as_str().into(),
        entry.reason.as_str().into(),
    ];
    tx.execute(sql, &values).map(|_| ())
}

/// When an event was received; 1970 where it does not say.
pub(crate) fn received(event: &[u8]) -> Time {
    json::get(event, "received").and_then(json::parse_str).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The event that tells it; the same at the same time has the same id.
pub(crate) fn event(told: &Told, received: Time) -> Vec<u8> {
    let Told { kind, probe, rev, event: at, reason } = told;
    let payload = serde_json::json!({"probe": probe, "rev": rev, "event": at, "reason": reason}).to_string();
    let id = event::id::event_id(received.ms(), "zentral", probe, format!("{kind}{payload}").as_bytes(), 0);
    let event = Event {
        v: event::VERSION,
        id,
        type_: (*kind).to_owned(),
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_on_within_an_hour_is_quarantined() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filter.db");
        let mut db = Db::open(&path, &[SCHEMA]).unwrap();
        let mut failures = Failures::default();
        let at = |db: &mut Db, failures: &mut Failures, ms: i64| {
            let mut tx = db.begin().unwrap();
            let say =
                failures.exceeded(&mut tx, ("p", "r1"), "exceeded its limit of 9 x", "e", Time::from_ms(ms)).unwrap();
            tx.commit().unwrap();
            say
        };
        let day = 86_400_000;
        for i in 0..50 {
            assert_eq!(at(&mut db, &mut failures, i * day), Some("filter_failed"), "once a day is no quarantine");
        }
        let said: Vec<_> = (0..9).map(|i| at(&mut db, &mut failures, 60 * day + i * 1000)).collect();
        assert_eq!((said[0], said[1], said[8]), (Some("filter_failed"), None, None));
        assert!(!failures.is_off("p", "r1"));
        assert_eq!(at(&mut db, &mut failures, 60 * day + 3_599_999), Some("filter_quarantined"));

        let mut tx = db.begin().unwrap();
        let mut failures = Failures::load(&mut tx).unwrap();
        assert!(failures.is_off("p", "r1") && !failures.is_off("p", "r2"));
        tx.commit().unwrap();
        let told = off(&path).unwrap();
        let [probe, rev, why, event, reason] =
            ["p", "r1", "quarantined", "e", "exceeded its limit of 9 x"].map(str::to_owned);
        assert_eq!(told, [Off { probe, rev, why, event, reason }]);
        assert_eq!(
            told[0].words(),
            "quarantined, it exceeded its limit of 9 x 10 times within an hour, last at event e"
        );
        assert_eq!(told[0].remedy(), "change its text; `zentral explain e p` shows where");
        assert_eq!(off(&dir.path().join("none")).unwrap(), []);
        let mut tx = db.begin().unwrap();
        assert_eq!(failures.resumed([("p", "r1"), ("q", "r2")].into_iter()), []);
        let told = failures.resumed([("p", "r2")].into_iter());
        assert_eq!(
            (told[0].kind, told[0].event.as_str(), told[0].reason.as_str()),
            ("filter_resumed", "e", "quarantined")
        );
        failures.keep(&mut tx, &told[0]).unwrap();
        assert!(Failures::load(&mut tx).unwrap().0.is_empty());
    }

    #[test]
    fn a_file_of_the_version_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filter.db");
        let before = Schema { name: "filter", migrations: &SCHEMA.migrations[..2] };
        let mut db = Db::open(&path, &[before]).unwrap();
        let mut tx = db.begin().unwrap();
        let row = "INSERT INTO failures (probe, rev, exceeded, said, off, since, event) VALUES ('p', 'r', 1, 0, $1, 0, '$(e)')";
        tx.execute(row, &["quarantined".into()]).unwrap();
        tx.commit().unwrap();
        let told = off(&path).unwrap();
        assert_eq!(
            (told[0].words().as_str(), told[0].remedy().as_str()),
            ("quarantined at event $(e)", "change its text")
        );
    }
}
