//! Incidents: what is open about a probe and a key, from its first match until `until` matches or somebody closes it.
//!
//! A further match counts; people are told of it only if what they would read is different (title, body, a higher
//! severity). `received` is all that counts as time.

mod hand;
mod list;

use std::time::Duration;

use event::{Event, ProbeMatch, Time};
use pipe::StageError;
use pipe::config::SEVERITIES;
use registry::db::{Db, DbError, Row as DbRow, Tx};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use hand::by_hand;
pub use list::list;

use crate::call::one_line;
use crate::conditions::{Decision, Happened, short};
use crate::hash;
use crate::lanes::ms;
use crate::told::{Incident, Kept, Phase};

/// The longest payload that is kept with an open incident, in bytes.
const PAYLOAD_MAX: usize = 64 << 10;
/// The longest title that is kept, in characters.
const TITLE_MAX: usize = 200;

/// One incident.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// 20 hex digits.
    pub id: String,
    /// The probe.
    pub probe: String,
    /// What it is about.
    pub key: String,
    /// The highest so far.
    pub severity: String,
    /// `open`, `taken` or `closed`.
    pub status: String,
    /// What its last match was called.
    pub title: String,
    /// Key of the machine; empty if it is about none.
    pub machine: String,
    /// The event that opened it.
    pub event: String,
    /// Names of the actions that are told.
    pub act: Vec<String>,
    /// When its first match was received, in ms since 1970.
    pub opened: i64,
    /// When the last one was.
    pub last: i64,
    /// When people were last told.
    pub told: i64,
    /// Matches.
    pub count: u64,
    /// Hash of what people read.
    pub words: String,
    /// Who takes care; empty: nobody said so.
    pub owner: String,
    /// The last comment.
    pub comment: String,
}

const COLUMNS: &str =
    "id, probe, key, severity, status, title, machine, event, act, opened, last, told, count, words, owner, comment";

/// The columns of an open incident.
pub fn columns() -> &'static str {
    COLUMNS
}

fn read(row: &DbRow) -> Row {
    let text = |i| row.text(i).to_owned();
    Row {
        id: text(0),
        probe: text(1),
        key: text(2),
        severity: text(3),
        status: text(4),
        title: text(5),
        machine: text(6),
        event: text(7),
        act: serde_json::from_str(row.text(8)).unwrap_or_default(),
        opened: row.int(9),
        last: row.int(10),
        told: row.int(11),
        count: row.uint(12),
        words: text(13),
        owner: text(14),
        comment: text(15),
    }
}

impl Row {
    /// As a delivery tells of it.
    pub fn shown(&self) -> Incident {
        let said = |text: &String| (!text.is_empty()).then(|| text.clone());
        Incident {
            id: self.id.clone(),
            status: self.status.clone(),
            opened: Time::from_ms(self.opened).to_string(),
            last: Time::from_ms(self.last).to_string(),
            count: self.count,
            comment: said(&self.comment),
            by: said(&self.owner),
        }
    }

    fn kept(&self, phase: Phase) -> Kept {
        // What somebody said is told once, and who takes care is not who closes.
        let by = (phase != Phase::Closed && self.status == "taken").then(|| self.owner.clone());
        let incident = Incident { comment: None, by: by.filter(|by| !by.is_empty()), ..self.shown() };
        Kept { state: Some(phase), count: self.count, ids: Vec::new(), incident: Some(incident) }
    }

    fn write(&self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let sql = "UPDATE incidents SET severity = $2, status = $3, title = $4, act = $5, last = $6, told = $7, \
                   count = $8, words = $9, owner = $10, comment = $11 WHERE id = $1";
        let act = serde_json::to_string(&self.act).unwrap_or_default();
        tx.execute(
            sql,
            &[
                self.id.as_str().into(),
                self.severity.as_str().into(),
                self.status.as_str().into(),
                self.title.as_str().into(),
                act.into(),
                self.last.into(),
                self.told.into(),
                self.count.into(),
                self.words.as_str().into(),
                self.owner.as_str().into(),
                self.comment.as_str().into(),
            ],
        )?;
        Ok(())
    }

    /// It is over; its line is needed no more.
    fn close(&mut self, at: i64, tx: &mut Tx<'_>) -> Result<(), StageError> {
        self.status = "closed".to_owned();
        self.write(tx)?;
        let sql = "UPDATE incidents SET closed = $2, line = NULL WHERE id = $1";
        tx.execute(sql, &[self.id.as_str().into(), at.into()])?;
        Ok(())
    }
}

/// The one that is not closed.
pub fn open(tx: &mut Tx<'_>, probe: &str, key: &str) -> Result<Option<Row>, StageError> {
    let sql = format!("SELECT {COLUMNS} FROM incidents WHERE probe = $1 AND key = $2 AND status <> 'closed'");
    Ok(tx.query(&sql, &[probe.into(), key.into()])?.first().map(read))
}

/// The one of this id.
pub fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<Row>, StageError> {
    let sql = format!("SELECT {COLUMNS} FROM incidents WHERE id = $1");
    Ok(tx.query(&sql, &[id.into()])?.first().map(read))
}

/// One more match: it opens an incident, or counts into the one that is open.
#[expect(clippy::too_many_arguments, reason = "what a match is, and where it is counted")]
pub fn grow(
    throttle: Option<Duration>,
    kept: Kept,
    event: &Event,
    probe: &ProbeMatch,
    key: &str,
    actions: &[String],
    happened: &mut Vec<Happened>,
    tx: &mut Tx<'_>,
) -> Result<Decision, StageError> {
    let received = event.received.ms();
    let (title, words) = words(event, probe);
    let Some(mut row) = open(tx, &probe.name, key)? else {
        let row = Row {
            id: id_of(&probe.name, key, &event.id),
            probe: probe.name.clone(),
            key: key.to_owned(),
            severity: short(&probe.severity),
            status: "open".to_owned(),
            title,
            machine: short(event.machine.as_ref().and_then(|m| m.key()).unwrap_or_default()),
            event: event.id.clone(),
            act: actions.to_vec(),
            opened: received,
            last: received,
            told: received,
            count: kept.count,
            words,
            ..Row::default()
        };
        insert(&row, event, probe, tx)?;
        happened.push(Happened::Incident(Phase::Opened, Box::new(row.clone())));
        return Ok(Decision::Act(Kept { ids: kept.ids, ..row.kept(Phase::Opened) }));
    };
    row.count = row.count.saturating_add(kept.count);
    row.last = row.last.max(received);
    row.act.extend(actions.iter().filter(|name| !row.act.contains(name)).cloned().collect::<Vec<_>>());
    let worse = rank(&probe.severity) > rank(&row.severity);
    let told = throttle.is_some_and(|throttle| received.abs_diff(row.told) < ms(throttle).unsigned_abs());
    if (words == row.words && !worse) || told {
        row.write(tx)?;
        let why = if told { "throttled; " } else { "" };
        return Ok(Decision::Held("incident", format!("{why}counted into incident {}", row.id)));
    }
    if worse {
        row.severity.clone_from(&probe.severity);
    }
    (row.title, row.words, row.told) = (title, words, received.max(row.told));
    row.write(tx)?;
    happened.push(Happened::Incident(Phase::Changed, Box::new(row.clone())));
    Ok(Decision::Act(Kept { ids: kept.ids, ..row.kept(Phase::Changed) }))
}

/// `until` matched.
pub fn end(
    event: &Event,
    probe: &ProbeMatch,
    key: &str,
    actions: &mut Vec<String>,
    happened: &mut Vec<Happened>,
    tx: &mut Tx<'_>,
) -> Result<Decision, StageError> {
    let Some(mut row) = open(tx, &probe.name, key)? else {
        return Ok(Decision::Held("no_incident", "no incident is open".to_owned()));
    };
    if event.received.ms() < row.opened {
        return Ok(Decision::Held("no_incident", format!("older than incident {}", row.id)));
    }
    // Who was told of it hears of its end, whatever the probe asks for by now.
    actions.extend(row.act.iter().filter(|name| !actions.contains(name)).cloned().collect::<Vec<_>>());
    row.last = row.last.max(event.received.ms());
    row.close(event.received.ms(), tx)?;
    happened.push(Happened::Incident(Phase::Closed, Box::new(row.clone())));
    Ok(Decision::Act(row.kept(Phase::Closed)))
}

fn insert(row: &Row, event: &Event, probe: &ProbeMatch, tx: &mut Tx<'_>) -> Result<(), StageError> {
    let mut kept = event.clone();
    if kept.payload.get().len() > PAYLOAD_MAX {
        // It may be open for long; who wants all of it finds the event in the store.
        let cut = serde_json::json!({"cut": {"bytes": kept.payload.get().len()}});
        kept.payload = serde_json::value::to_raw_value(&cut).unwrap_or(kept.payload);
    }
    let line = crate::ledger::line_for(&mut kept, Some(probe.clone()));
    let sql = format!(
        "INSERT INTO incidents ({COLUMNS}, closed, line) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, $17)"
    );
    let act = serde_json::to_string(&row.act).unwrap_or_default();
    let texts = [&row.id, &row.probe, &row.key, &row.severity, &row.status, &row.title, &row.machine, &row.event, &act];
    let mut values: Vec<registry::db::Value> = texts.into_iter().map(|text| text.as_str().into()).collect();
    values.extend([row.opened.into(), row.last.into(), row.told.into(), row.count.into()]);
    values.extend([&row.words, &row.owner, &row.comment].into_iter().map(|text| text.as_str().into()));
    values.push(line.into());
    tx.execute(&sql, &values)?;
    Ok(())
}

/// What it is called, and the hash of what people read.
fn words(event: &Event, probe: &ProbeMatch) -> (String, String) {
    let context: Value =
        probe.context.as_ref().and_then(|context| serde_json::from_str(context.get()).ok()).unwrap_or_default();
    let word = |key: &str| context.get(key).and_then(Value::as_str).unwrap_or_default();
    let host = event.machine.as_ref().and_then(|m| m.hostname.as_deref().or(m.key()));
    let title = match (word("title"), host) {
        ("", Some(host)) => format!("{} on {host}", probe.name),
        ("", None) => probe.name.clone(),
        (title, _) => title.to_owned(),
    };
    let hash = Sha256::digest(format!("{}\n{}", word("title"), word("body")));
    (one_line(&title, TITLE_MAX), hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn id_of(probe: &str, key: &str, event: &str) -> String {
    hash::short(hash::of(&[probe, key, event]))
}

/// The place of a severity, the least first.
pub(crate) fn rank(severity: &str) -> usize {
    SEVERITIES.iter().position(|known| *known == severity).unwrap_or(0)
}

/// Forgets what was closed before.
pub fn forget(tx: &mut Tx<'_>, before: i64) -> Result<(), StageError> {
    let sql = "DELETE FROM noted WHERE incident IN (SELECT id FROM incidents WHERE status = 'closed' AND closed < $1)";
    tx.execute(sql, &[before.into()])?;
    tx.execute("DELETE FROM incidents WHERE status = 'closed' AND closed < $1", &[before.into()])?;
    Ok(())
}

/// What is known of a machine that was forgotten goes; its incidents are over.
pub fn forget_machine(tx: &mut Tx<'_>, machine: &str, until: i64) -> Result<(), StageError> {
    let sql = "UPDATE incidents SET status = 'closed', closed = $2, title = '', machine = '', comment = '', line = NULL, \
               key = CASE WHEN key = $1 THEN '' ELSE key END WHERE machine = $1 AND opened <= $2";
    tx.execute(sql, &[machine.into(), until.into()])?;
    tx.execute("DELETE FROM throttles WHERE key = $1 AND since <= $2", &[machine.into(), until.into()])?;
    tx.execute("DELETE FROM windows WHERE key = $1 AND received <= $2", &[machine.into(), until.into()])?;
    Ok(())
}

/// Those of these that are over. What this state does not know may be another's.
pub fn over(db: &Db, ids: Vec<String>) -> Result<Vec<String>, DbError> {
    let sql = "SELECT 1 FROM incidents WHERE id = $1 AND status = 'closed'";
    let mut over = Vec::new();
    for id in ids {
        if !db.query(sql, &[id.as_str().into()])?.is_empty() {
            over.push(id);
        }
    }
    Ok(over)
}

/// What an action noted of an incident.
pub fn noted(tx: &mut Tx<'_>, incident: &str, action: &str, target: &str) -> Result<Option<Value>, StageError> {
    let sql = "SELECT reference FROM noted WHERE incident = $1 AND action = $2 AND target = $3";
    let rows = tx.query(sql, &[incident.into(), action.into(), target.into()])?;
    Ok(rows.first().and_then(|row| serde_json::from_str(row.text(0)).ok()))
}

/// Remembers that.
pub fn note(tx: &mut Tx<'_>, incident: &str, action: &str, target: &str, reference: &Value) -> Result<(), StageError> {
    let sql = "INSERT INTO noted (incident, action, target, reference) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (incident, action, target) DO UPDATE SET reference = excluded.reference";
    tx.execute(sql, &[incident.into(), action.into(), target.into(), reference.to_string().into()])?;
    Ok(())
}
