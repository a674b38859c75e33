//! What became of the actions that an event's matches asked for: from the ledger of `act`, and from the events about it.

use std::collections::BTreeMap;

use event::Time;
use pipe::StageError;
use pipe::config::{Config, Place, StageConf, StageKind};
use pipe::topic::Start;
use registry::db::Db;
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
    /// `pending`, `trying`, `done`, `dead`, `stale`, `dropped` …
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
}

/// By probe.
pub type Deeds = BTreeMap<String, Vec<Deed>>;

/// Everything that is known of what this event led to.
pub fn of(config: &Config, id: &str, received: Option<Time>) -> Result<Deeds, StageError> {
    let mut all: BTreeMap<(String, String, String), Deed> = BTreeMap::new();
    for event in outcomes(config, id, received)? {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let deed = Deed {
            action: text("/cause/action"),
            target: text("/payload/target"),
            state: text("/payload/outcome"),
            tries: event.pointer("/payload/tries").and_then(Value::as_i64).unwrap_or(0),
            error: text("/payload/error"),
            at: text("/received").parse().ok(),
            dry_run: event.pointer("/payload/dry_run").and_then(Value::as_bool).unwrap_or(false),
        };
        let key = (text("/cause/probe"), deed.action.clone(), deed.target.clone());
        // A dead letter that was raised has several; the last one tells how it is.
        if all.get(&key).is_none_or(|known| known.at <= deed.at) {
            all.insert(key, deed);
        }
    }
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Act)) {
        for (probe, deed) in ledger(config, stage, id)? {
            let known = all.entry((probe, deed.action.clone(), deed.target.clone())).or_insert_with(|| deed.clone());
            *known = Deed { dry_run: known.dry_run, ..deed };
        }
    }
    let mut deeds = Deeds::new();
    for ((probe, ..), deed) in all {
        deeds.entry(probe).or_default().push(deed);
    }
    Ok(deeds)
}

/// The rows of the ledger. A file that `act` never opened has none.
fn ledger(config: &Config, stage: &StageConf, id: &str) -> Result<Vec<(String, Deed)>, StageError> {
    let Some(db) = Db::open_read_only(&config.state_file(stage))? else { return Ok(Vec::new()) };
    if db.query("SELECT 1 FROM sqlite_master WHERE name = 'ledger'", &[])?.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT probe, action, target, state, tries, error, due, updated FROM ledger WHERE event = $1";
    let deed = |row: &registry::db::Row| {
        let state = row.text(3).to_owned();
        let at = if state == "pending" { row.int(6) } else { row.int(7) };
        let deed = Deed {
            action: row.text(1).to_owned(),
            target: row.text(2).to_owned(),
            tries: row.int(4),
            error: if state == "done" { String::new() } else { row.text(5).to_owned() },
            state,
            at: Some(Time::from_ms(at)),
            dry_run: false,
        };
        (row.text(0).to_owned(), deed)
    };
    Ok(db.query(sql, &[id.into()])?.iter().map(deed).collect())
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
    let age = received.map_or(Start::First, |at| Start::Age(Time::now().ms().saturating_sub(at.ms()).max(0)));
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Act)) {
        let Some(topic) = stage.to.as_ref().and_then(Place::topic) else { continue };
        find::scan(config, topic, age, id, |_, line| {
            events.extend(serde_json::from_slice(line).ok().filter(is_of));
            true
        })?;
    }
    Ok(events)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use act::ledger::{Delivery, KeptLine, SCHEMA, State, end, insert, keep};

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
        assert_eq!(of(&config, "e1", at(5)).unwrap(), Deeds::new(), "no file, no ledger");

        let line = br#"{"v":1,"id":"e1","type":"t","time":"2026-11-21T19:00:00Z","received":"2026-11-21T19:00:03Z","source":"s","payload":{}}"#;
        let event = event::Event::parse(line).unwrap();
        let kept = KeptLine::new(line.to_vec());
        std::fs::create_dir_all(dir.path().join("data/state")).unwrap();
        let act = config.stages.iter().find(|s| s.runs(StageKind::Act)).unwrap();
        let mut db = Db::open(&config.state_file(act), &[SCHEMA]).unwrap();
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
        let deeds = of(&config, "e1", at(5)).unwrap();
        let told: Vec<_> = deeds["p"].iter().map(|d| (d.action.as_str(), d.state.as_str(), d.error.as_str())).collect();
        assert_eq!(told, [("mail", "dead", "no such user"), ("slack", "pending", "")]);
        assert_eq!((deeds["p"][0].at, deeds["q"][0].target.as_str(), deeds.len()), (at(9), "ada", 2));
        assert_eq!(of(&config, "e2", None).unwrap(), Deeds::new());
    }
}
