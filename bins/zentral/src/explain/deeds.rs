//! What became of the actions that an event's matches asked for, and what held them back: from the state of `act`, and
//! from the events about it.

use std::collections::BTreeMap;

use act::ledger::SCHEMA;
use act::told::Kept;
use event::Time;
use pipe::StageError;
use pipe::config::{Config, StageConf, StageKind};
use registry::db::{Db, has_schema};
use serde::Serialize;
use serde_json::Value;
use store::client::Question;

use super::find;

/// Most events about actions that are asked for.
const OUTCOMES_MAX: u64 = 1000;

/// One delivery.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Deed {
    /// The action.
    pub action: String,
    /// Whom it goes to, if it has several targets.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// `pending`, `trying`, `done`, `dead`, `stale`, `dropped`, … or `gathering`, in a digest.
    pub state: String,
    /// Tries so far.
    pub tries: i64,
    /// Why the last one failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// When it came to be so, or when it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Nothing was sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// `opened`, `changed` or `closed`, of an incident.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tells: String,
    /// The incident.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub incident: String,
    /// Matches that it tells of, if there are several.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u64,
    /// They are those of a digest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub digest: bool,
    /// Why nothing of this action is done at present.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stopped: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(count: &u64) -> bool {
    *count <= 1
}

/// By probe.
pub type Deeds = BTreeMap<String, Vec<Deed>>;

/// What `act` knows of an event.
#[derive(Debug, Default, PartialEq)]
pub struct Known {
    /// Its deliveries, by probe.
    pub deeds: Deeds,
    /// The probes whose match was taken, each with what held it back; empty: nothing did.
    pub taken: BTreeMap<String, String>,
    /// The digests that it is in, whatever its probe.
    pub gathered: Vec<Deed>,
}

impl Known {
    /// The deliveries of one probe, those of digests included.
    pub fn of_probe(&mut self, probe: &str, act: &[String]) -> Vec<Deed> {
        let mut deeds = self.deeds.remove(probe).unwrap_or_default();
        if self.taken.get(probe).is_none_or(|why| why.is_empty()) {
            for digest in self.gathered.iter().filter(|deed| act.contains(&deed.action)) {
                if !deeds.iter().any(|deed| (&deed.action, &deed.target) == (&digest.action, &digest.target)) {
                    deeds.push(digest.clone());
                }
            }
        }
        deeds
    }
}

/// Everything that is known of what this event led to.
pub fn of(config: &Config, id: &str, received: Option<Time>) -> Result<Known, StageError> {
    let mut known = Known::default();
    let mut all: BTreeMap<(String, String, String), Deed> = BTreeMap::new();
    for event in outcomes(config, id, received)? {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        // Others name it as their cause as well: an incident that it opened, a window that it filled.
        if event.pointer("/payload/outcome").is_none() {
            continue;
        }
        let deed = Deed {
            action: text("/cause/action"),
            target: text("/payload/target"),
            state: text("/payload/outcome"),
            tries: event.pointer("/payload/tries").and_then(Value::as_i64).unwrap_or(0),
            error: text("/payload/error"),
            at: text("/received").parse().ok(),
            dry_run: event.pointer("/payload/dry_run").and_then(Value::as_bool).unwrap_or(false),
            tells: text("/payload/state"),
            incident: text("/payload/incident"),
            count: event.pointer("/payload/count").and_then(Value::as_u64).unwrap_or(1),
            ..Deed::default()
        };
        let key = (text("/cause/probe"), deed.action.clone(), deed.target.clone());
        // A dead letter that was raised has several; the last one tells how it is.
        if all.get(&key).is_none_or(|known| known.at <= deed.at) {
            all.insert(key, deed);
        }
    }
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Act)) {
        let Some(db) = state(config, stage)? else { continue };
        for (probe, deed) in rows(&db, "event = $1", id)? {
            let known = all.entry((probe, deed.action.clone(), deed.target.clone())).or_insert_with(|| deed.clone());
            *known = Deed { dry_run: known.dry_run, ..deed };
        }
        let taken = db.query("SELECT probe, why FROM taken WHERE event = $1", &[id.into()])?;
        for row in taken {
            let (probe, why) = (row.text(0).to_owned(), row.text(1).to_owned());
            let with = if why.is_empty() { None } else { told_with(&db, &probe, id)? };
            let with = with.map_or_else(String::new, |event| format!("; told with event {event}"));
            known.taken.insert(probe, why + &with);
        }
        known.gathered.extend(gathered(&db, id)?);
    }
    for ((probe, ..), deed) in all {
        known.deeds.entry(probe).or_default().push(deed);
    }
    Ok(known)
}

/// The state of `act`, if it holds what is looked for: a file that `act` never opened, or only before an update, does not.
pub fn state(config: &Config, stage: &StageConf) -> Result<Option<Db>, StageError> {
    let Some(db) = Db::open_read_only(config.state(stage))? else { return Ok(None) };
    if !has_schema(&db, &SCHEMA)? {
        return Ok(None);
    }
    let number = db.query("SELECT number FROM schemas WHERE name = $1", &[SCHEMA.name.into()])?;
    let is_now = number.first().is_some_and(|row| row.uint(0) >= SCHEMA.migrations.len() as u64);
    Ok(is_now.then_some(db))
}

/// Rows of the ledger.
fn rows(db: &Db, which: &str, value: &str) -> Result<Vec<(String, Deed)>, StageError> {
    let sql = format!(
        "SELECT probe, ledger.action, target, state, tries, error, due, updated, told, incident, digest, stopped.since, \
         stopped.why FROM ledger LEFT JOIN stopped ON stopped.action = ledger.action WHERE {which}"
    );
    let deed = |row: &registry::db::Row| {
        let state = row.text(3).to_owned();
        let waits = state == "pending";
        let told = Kept::read(row.text(8));
        let stopped = row.opt_int(11).filter(|_| waits).map(|since| stopped(since, row.text(12), row.text(1)));
        let deed = Deed {
            action: row.text(1).to_owned(),
            target: row.text(2).to_owned(),
            tries: row.int(4),
            error: if state == "done" { String::new() } else { row.text(5).to_owned() },
            state,
            at: Some(Time::from_ms(if waits { row.int(6) } else { row.int(7) })),
            dry_run: false,
            tells: told.state.map(|state| state.word().to_owned()).unwrap_or_default(),
            incident: row.text(9).to_owned(),
            count: told.count,
            digest: !row.text(10).is_empty(),
            stopped: stopped.unwrap_or_default(),
        };
        (row.text(0).to_owned(), deed)
    };
    Ok(db.query(&sql, &[value.into()])?.iter().map(deed).collect())
}

/// The event with which a match that was counted into a window was told: the one that filled it.
fn told_with(db: &Db, probe: &str, id: &str) -> Result<Option<String>, StageError> {
    let sql = "SELECT event, told FROM ledger WHERE probe = $1 AND told <> '' AND told LIKE '%' || $2 || '%'";
    let rows = db.query(sql, &[probe.into(), id.into()])?;
    let is_of = |told: &str| Kept::read(told).ids.iter().any(|one| one == id);
    Ok(rows.iter().find(|row| is_of(row.text(1))).map(|row| row.text(0).to_owned()))
}

/// What is said of an action whose lane stands still.
pub fn stopped(since: i64, why: &str, action: &str) -> String {
    format!("stopped since {} at its brake, {why}; `zentral act resume {action}`", Time::from_ms(since))
}

/// The digests that an event is in, as far as they know: each keeps the ids of its first matches.
fn gathered(db: &Db, id: &str) -> Result<Vec<Deed>, StageError> {
    let sql = "SELECT id, action, target, due, sealed, count, ids FROM digests WHERE ids LIKE '%' || $1 || '%'";
    let mut deeds = Vec::new();
    for row in db.query(sql, &[id.into()])? {
        let ids: Vec<String> = serde_json::from_str(row.text(6)).unwrap_or_default();
        if !ids.iter().any(|one| one == id) {
            continue;
        }
        let gathering = Deed {
            action: row.text(1).to_owned(),
            target: row.text(2).to_owned(),
            state: "gathering".to_owned(),
            at: Some(Time::from_ms(row.int(3))),
            count: row.uint(5),
            digest: true,
            ..Deed::default()
        };
        match row.int(4) {
            0 => deeds.push(gathering),
            _ => deeds.extend(rows(db, "digest = $1", row.text(0))?.into_iter().map(|(_, deed)| deed)),
        }
    }
    Ok(deeds)
}

/// The events that name this one as their cause: from the store, else from the topics that `act` writes.
fn outcomes(config: &Config, id: &str, received: Option<Time>) -> Result<Vec<Value>, StageError> {
    let mut events = Vec::new();
    let is_of = |event: &Value| event.pointer("/cause/event").and_then(Value::as_str) == Some(id);
    if let Ok(client) = crate::search::client(config) {
        let question = Question { query: format!("cause.event:\"{}\"", id.replace('"', "")), ..Question::default() };
        let _ = client.each(&question, OUTCOMES_MAX, None, |line| {
            events.extend(serde_json::from_str(line).ok().filter(is_of));
            true
        });
    }
    if !events.is_empty() {
        return Ok(events);
    }
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Act)) {
        let Some(place) = stage.to.as_ref() else { continue };
        find::scan(config, place, (received, None), id, |_, line| {
            events.extend(serde_json::from_slice(line).ok().filter(is_of));
            true
        })?;
    }
    Ok(events)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use act::ledger::{Delivery, KeptLine, State, end, insert, keep};

    use super::*;

    #[test]
    fn the_ledger_tells_what_waits_and_what_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("pipeline.toml");
        let stages = "version = 1\n[stage.normalize]\nfrom = \"topic:o\"\nto = \"topic:n\"\n\
                      [stage.filter]\nfrom = \"topic:n\"\nto = \"topic:e\"\nmatches = \"topic:m\"\n\
                      [stage.act]\nfrom = \"topic:m\"\nto = \"topic:o\"\n";
        std::fs::write(&main, stages).unwrap();
        let (config, _) = Config::load(&main, None).unwrap_or_else(|f| unreachable!("{f:?}"));
        let at = |ms| Some(Time::from_ms(ms));
        assert_eq!(of(&config, "e1", at(5)).unwrap(), Known::default(), "no file, no ledger");

        let line = br#"{"v":1,"id":"e1","type":"t","time":"2026-11-21T19:00:00Z","received":"2026-11-21T19:00:03Z","source":"s","payload":{}}"#;
        let event = event::Event::parse(line).unwrap();
        let kept = KeptLine::new(line.to_vec());
        std::fs::create_dir_all(dir.path().join("data/state")).unwrap();
        let act = config.stages.iter().find(|s| s.runs(StageKind::Act)).unwrap();
        let mut db = Db::open(config.state(act), &[SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        keep(&mut tx, &kept).unwrap();
        for (seq, (probe, action)) in (1..).zip([("p", "slack"), ("p", "mail"), ("q", "slack")]) {
            let row = Delivery::new(&event, probe, action, "ada", 0);
            assert!(insert(&mut tx, &row, Some(&kept.id), State::Pending, seq, 7).unwrap());
            if action == "mail" {
                end(&mut tx, &row.id, State::Dead, "no such user", 9).unwrap();
            }
        }
        tx.commit().unwrap();
        let deeds = of(&config, "e1", at(5)).unwrap().deeds;
        let told: Vec<_> = deeds["p"].iter().map(|d| (d.action.as_str(), d.state.as_str(), d.error.as_str())).collect();
        assert_eq!(told, [("mail", "dead", "no such user"), ("slack", "pending", "")]);
        assert_eq!((deeds["p"][0].at, deeds["q"][0].target.as_str(), deeds.len()), (at(9), "ada", 2));
        assert_eq!(of(&config, "e2", None).unwrap(), Known::default());
    }
}
