//! Rules of Santa's that actions made, in `registry.db`: which rule, for whom, and until when. `act` writes them, people
//! take them away, `receive` gives them to the machines beside the rules of the files. Each change is an event.

use event::{Cause, Machine, Time};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::changes;
use crate::db::{Db, DbError, Row, Schema, Tx};

/// The table of them.
pub const SCHEMA: Schema = Schema {
    name: "made_rules",
    migrations: &[
        "CREATE TABLE made_rules (
            id TEXT PRIMARY KEY, machine TEXT NOT NULL, block TEXT NOT NULL, scope TEXT NOT NULL, target TEXT NOT NULL,
            rule TEXT NOT NULL, action TEXT NOT NULL, probe TEXT NOT NULL, incident TEXT NOT NULL, event TEXT NOT NULL,
            at BIGINT NOT NULL, until BIGINT);",
        "CREATE TABLE made_rules_moved (one BIGINT PRIMARY KEY, n BIGINT NOT NULL);",
    ],
};

/// As many there may be; each machine's next answer is made of all of them.
pub const RULES_MAX: u64 = 10_000;

/// A rule, and who made it for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeRule {
    /// The machine key; empty: it is for all machines in `scope`.
    pub machine: String,
    /// Whom it is for if it is for more than one machine, and whom it is never for: a scope as JSON.
    pub scope: String,
    /// What it is about, type and identifier: of one maker there is one rule for it.
    pub target: String,
    /// The rule as JSON.
    pub rule: String,
    /// The action that made it.
    pub action: String,
    /// The probe that chose the event.
    pub probe: String,
    /// The incident with which it goes; empty: it stays.
    pub incident: String,
    /// Id of the event.
    pub event: String,
    /// When it was made, in ms since 1970.
    pub at: i64,
    /// Until when it holds; none: until it is taken away.
    pub until: Option<i64>,
}

impl MadeRule {
    /// Its name: the same for the same rule of the same maker for the same machines.
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.machine, &self.scope, &self.target, &self.action, &self.probe, &self.incident] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it holds at this time, in ms since 1970.
    pub fn holds_at(&self, now: i64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn cause(&self) -> Cause {
        let (event, probe, action) = (self.event.clone(), self.probe.clone(), self.action.clone());
        Cause { event, probe, action, extra: serde_json::Map::new() }
    }

    fn payload(&self, result: &str, why: &str) -> Json {
        let read = |text: &str| serde_json::from_str(text).unwrap_or(Json::Null);
        let mut payload = json!({"id": self.id(), "result": result, "rule": read(&self.rule), "why": why});
        let more = [
            ("scope", (!self.scope.is_empty()).then(|| read(&self.scope))),
            ("until", self.until.and_then(|until| serde_json::to_value(Time::from_ms(until)).ok())),
            ("incident", (!self.incident.is_empty()).then(|| self.incident.as_str().into())),
        ];
        if let Some(map) = payload.as_object_mut() {
            map.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        }
        payload
    }
}

/// What came of a rule that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It is new, or says something else than before.
    Changed,
    /// It was there already; it holds until the later time of both.
    Renewed,
    /// There are [`RULES_MAX`] already.
    Full,
}

/// Makes a rule. `about` is what is known of its machine.
pub fn make(tx: &mut Tx<'_>, made: &MadeRule, about: Option<&Machine>, now: Time) -> Result<Made, DbError> {
    let id = made.id();
    let known = tx.query("SELECT rule, until FROM made_rules WHERE id = $1", &[id.as_str().into()])?;
    let count = tx.query("SELECT COUNT(*) FROM made_rules", &[])?;
    if known.is_empty() && count.first().is_some_and(|row| row.uint(0) >= RULES_MAX) {
        return Ok(Made::Full);
    }
    let before = known.first().map(|row| (row.text(0).to_owned(), row.opt_int(1)));
    let until = match &before {
        // What holds for ever, or longer, is not cut short by another event.
        Some((rule, until)) if *rule == made.rule => until.zip(made.until).map(|(a, b)| a.max(b)),
        _ => made.until,
    };
    let block = about.and_then(|machine| serde_json::to_string(machine).ok()).unwrap_or_default();
    let sql = "INSERT INTO made_rules (id, machine, block, scope, target, rule, action, probe, incident, event, at, until) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
               ON CONFLICT (id) DO UPDATE SET rule = excluded.rule, event = excluded.event, until = excluded.until";
    let texts = [
        &id,
        &made.machine,
        &block,
        &made.scope,
        &made.target,
        &made.rule,
        &made.action,
        &made.probe,
        &made.incident,
        &made.event,
    ];
    let values: Vec<_> = texts.into_iter().map(Into::into).chain([made.at.into(), until.into()]).collect();
    tx.execute(sql, &values)?;
    if before.as_ref().is_none_or(|(rule, known)| *rule != made.rule || *known != until) {
        move_on(tx)?;
    }
    let result = match &before {
        Some((rule, _)) if *rule == made.rule => return Ok(Made::Renewed),
        Some(_) => "updated",
        None => "created",
    };
    let payload = MadeRule { until, ..made.clone() }.payload(result, "match");
    changes::say_of(tx, changes::RULE_CHANGED, about.cloned(), &payload, now, Some(made.cause()))?;
    Ok(Made::Changed)
}

/// Takes away what this action made for an incident; how many rules went.
pub fn close(tx: &mut Tx<'_>, action: &str, incident: &str, now: Time) -> Result<usize, DbError> {
    let rows = tx.query(
        &format!("DELETE FROM made_rules WHERE action = $1 AND incident = $2 AND incident <> '' RETURNING {COLUMNS}"),
        &[action.into(), incident.into()],
    )?;
    say_gone(tx, &rows, "incident closed", now)
}

/// Takes away what any action made for an incident; how many rules went.
pub fn close_all(tx: &mut Tx<'_>, incident: &str, now: Time) -> Result<usize, DbError> {
    let sql = format!("DELETE FROM made_rules WHERE incident = $1 AND incident <> '' RETURNING {COLUMNS}");
    let rows = tx.query(&sql, &[incident.into()])?;
    say_gone(tx, &rows, "incident closed", now)
}

/// Takes rules away by hand, by id; how many went.
pub fn remove(tx: &mut Tx<'_>, id: &str, now: Time) -> Result<usize, DbError> {
    let rows = tx.query(&format!("DELETE FROM made_rules WHERE id = $1 RETURNING {COLUMNS}"), &[id.into()])?;
    say_gone(tx, &rows, "by hand", now)
}

/// Takes away what holds no longer; how many rules went. Until then it is merely given to nobody.
pub fn expire(tx: &mut Tx<'_>, now: Time) -> Result<usize, DbError> {
    let rows = tx.query(
        &format!("DELETE FROM made_rules WHERE until IS NOT NULL AND until <= $1 RETURNING {COLUMNS}"),
        &[now.ms().into()],
    )?;
    say_gone(tx, &rows, "expired", now)
}

/// Forgets the rules of a machine that is forgotten.
pub fn forget(tx: &mut Tx<'_>, machine: &str) -> Result<(), DbError> {
    if tx.execute("DELETE FROM made_rules WHERE machine = $1", &[machine.into()])? > 0 {
        move_on(tx)?;
    }
    Ok(())
}

/// The rules are others now.
fn move_on(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let sql = "INSERT INTO made_rules_moved (one, n) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET n = made_rules_moved.n + 1";
    tx.execute(sql, &[]).map(|_| ())
}

/// How often the rules have become others: as long as it is the same they are. None: a file of an older version, which
/// does not count.
pub fn moved(db: &Db) -> Result<Option<u64>, DbError> {
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(None);
    }
    if db.query("SELECT 1 FROM schemas WHERE name = $1 AND number >= 2", &[SCHEMA.name.into()])?.is_empty() {
        return Ok(None);
    }
    let rows = db.query("SELECT n FROM made_rules_moved", &[])?;
    Ok(Some(rows.first().map_or(0, |row| row.uint(0))))
}

fn say_gone(tx: &mut Tx<'_>, rows: &[Row], why: &str, now: Time) -> Result<usize, DbError> {
    if !rows.is_empty() {
        move_on(tx)?;
    }
    for row in rows {
        let made = read(row);
        let about: Option<Machine> = serde_json::from_str(row.text(BLOCK)).ok();
        // What people or the clock take away is no action's doing; what an incident takes away is.
        let cause = (why == "incident closed").then(|| made.cause());
        changes::say_of(tx, changes::RULE_CHANGED, about, &made.payload("deleted", why), now, cause)?;
    }
    Ok(rows.len())
}

const COLUMNS: &str = "machine, scope, target, rule, action, probe, incident, event, at, until, block";
const BLOCK: usize = 10;

fn read(row: &Row) -> MadeRule {
    let text = |i| row.text(i).to_owned();
    MadeRule {
        machine: text(0),
        scope: text(1),
        target: text(2),
        rule: text(3),
        action: text(4),
        probe: text(5),
        incident: text(6),
        event: text(7),
        at: row.int(8),
        until: row.opt_int(9),
    }
}

/// All of them, oldest first; those that hold no longer, too. A file of an older version has none.
pub fn all(db: &Db) -> Result<Vec<MadeRule>, DbError> {
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let rows = db.query(&format!("SELECT {COLUMNS} FROM made_rules ORDER BY at, id"), &[])?;
    Ok(rows.iter().map(read).collect())
}

/// The incidents for which there are rules.
pub fn incidents(db: &Db) -> Result<Vec<String>, DbError> {
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let rows = db.query("SELECT DISTINCT incident FROM made_rules WHERE incident <> ''", &[])?;
    Ok(rows.iter().map(|row| row.text(0).to_owned()).collect())
}

/// Whether one has come to its end by this time, in ms since 1970.
pub fn is_due(db: &Db, now: i64) -> Result<bool, DbError> {
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(false);
    }
    Ok(!db.query("SELECT 1 FROM made_rules WHERE until IS NOT NULL AND until <= $1 LIMIT 1", &[now.into()])?.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use event::Event;

    use super::*;

    const NOW: i64 = 1_760_000_000_000;

    fn rule(policy: &str, incident: &str, until: Option<i64>) -> MadeRule {
        MadeRule {
            machine: "C02".into(),
            scope: String::new(),
            target: "BINARY ab".into(),
            rule: format!(r#"{{"policy":"{policy}"}}"#),
            action: "block".into(),
            probe: "p".into(),
            incident: incident.into(),
            event: "e1".into(),
            at: NOW,
            until,
        }
    }

    #[test]
    fn what_is_made_is_told_once_and_goes_as_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.db");
        assert!(all(&Db::open(&path, &[]).unwrap()).unwrap().is_empty(), "an older file");
        let mut db = Db::open(&path, &[SCHEMA, changes::SCHEMA]).unwrap();
        let machine = Machine { serial_number: Some("C02".into()), hostname: Some("mac".into()), ..Machine::default() };
        let now = Time::from_ms(NOW);
        let mut tx = db.begin().unwrap();
        for (made, want) in [
            (rule("BLOCKLIST", "", Some(NOW + 10)), Made::Changed),
            (rule("BLOCKLIST", "", Some(NOW + 5)), Made::Renewed),
            (rule("SILENT_BLOCKLIST", "", Some(NOW + 7)), Made::Changed),
            (rule("BLOCKLIST", "i1", None), Made::Changed),
            (rule("BLOCKLIST", "i2", None), Made::Changed),
        ] {
            assert_eq!(make(&mut tx, &made, Some(&machine), now).unwrap(), want);
        }
        tx.commit().unwrap();
        let of = |db: &Db| all(db).unwrap().into_iter().map(|m| (m.incident, m.until)).collect::<Vec<_>>();
        let mut left = of(&db);
        left.sort();
        assert_eq!(left, [(String::new(), Some(NOW + 7)), ("i1".into(), None), ("i2".into(), None)]);
        assert!(!is_due(&db, NOW + 6).unwrap() && is_due(&db, NOW + 7).unwrap());
        let mut tx = db.begin().unwrap();
        assert_eq!(close(&mut tx, "block", "i1", now).unwrap(), 1);
        assert_eq!(close(&mut tx, "block", "", now).unwrap(), 0, "no incident is not all of them");
        assert_eq!(expire(&mut tx, Time::from_ms(NOW + 7)).unwrap(), 1);
        assert_eq!(remove(&mut tx, &rule("x", "i2", None).id(), now).unwrap(), 1);
        tx.commit().unwrap();
        assert!(of(&db).is_empty());
        let told: Vec<String> = changes::since(&db, 0, 99)
            .unwrap()
            .iter()
            .map(|(_, line)| {
                let event = Event::parse(line).unwrap();
                assert_eq!(event.machine.as_ref().unwrap().hostname.as_deref(), Some("mac"));
                let payload: Json = serde_json::from_str(event.payload.get()).unwrap();
                format!("{} {} {}", payload["result"], payload["why"], event.cause.is_some()).replace('"', "")
            })
            .collect();
        assert_eq!(
            told,
            [
                "created match true",
                "updated match true",
                "created match true",
                "created match true",
                "deleted incident closed true",
                "deleted expired false",
                "deleted by hand false"
            ]
        );
    }
}
