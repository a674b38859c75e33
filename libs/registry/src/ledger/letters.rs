//! Dead letters: deliveries that will not be tried again unless somebody says so.

use event::Time;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::db::{Db, DbError, Row};

const COLUMNS: &str = "id, event, probe, action, target, error, tries, received, updated";

/// A dead letter. All times are ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// 20 hex digits.
    pub id: String,
    /// Id of the event.
    pub event: String,
    /// The probe.
    pub probe: String,
    /// The action.
    pub action: String,
    /// Whom it was for; empty if the action has one nameless target.
    pub target: String,
    /// Why it is dead.
    pub error: String,
    /// How often it was tried.
    pub tries: u64,
    /// When the hub took the event.
    pub received: i64,
    /// Since when it is dead.
    pub since: i64,
}

impl Letter {
    /// As the command line and the console tell it.
    pub fn told(&self) -> Told {
        Told {
            id: self.id.clone(),
            event: self.event.clone(),
            probe: self.probe.clone(),
            action: self.action.clone(),
            error: self.error.clone(),
            tries: self.tries,
            received: Time::from_ms(self.received),
            since: Time::from_ms(self.since),
            target: Some(self.target.clone()).filter(|target| !target.is_empty()),
        }
    }

    /// The same as a line.
    pub fn line(&self) -> Value {
        serde_json::to_value(self.told()).unwrap_or_default()
    }
}

/// A dead letter as people and programs are told of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub struct Told {
    /// 20 hex digits.
    pub id: String,
    /// Id of the event.
    pub event: String,
    /// The probe.
    pub probe: String,
    /// The action.
    pub action: String,
    /// Why it is dead.
    pub error: String,
    /// How often it was tried.
    pub tries: u64,
    /// When the hub took the event.
    pub received: Time,
    /// Since when it is dead.
    pub since: Time,
    /// Whom it was for, if the action has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

fn read(row: &Row) -> Letter {
    let text = |i| row.text(i).to_owned();
    Letter {
        id: text(0),
        event: text(1),
        probe: text(2),
        action: text(3),
        target: text(4),
        error: text(5),
        tries: row.uint(6),
        received: row.int(7),
        since: row.int(8),
    }
}

/// Those of one action, or of all (an empty name), that died since then; oldest first.
pub fn list(db: &Db, action: &str, since: i64) -> Result<Vec<Letter>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM ledger WHERE state = 'dead' AND updated >= $1 AND ($2 = '' OR action = $2) \
         ORDER BY updated, seq"
    );
    Ok(db.query(&sql, &[since.into(), action.into()])?.iter().map(read).collect())
}

/// Where a page ended: when its last letter died, and its id.
pub type Cursor = (i64, String);

/// A page of those of one action, the last that died first; and where the next page begins.
pub fn page(db: &Db, action: &str, after: Option<Cursor>, n: usize) -> Result<(Vec<Letter>, Option<Cursor>), DbError> {
    let (updated, id) = after.unwrap_or((i64::MAX, String::new()));
    let sql = format!(
        "SELECT {COLUMNS} FROM ledger WHERE state = 'dead' AND action = $1 \
         AND (updated < $2 OR (updated = $2 AND id > $3)) ORDER BY updated DESC, id LIMIT $4"
    );
    let rows = db.query(&sql, &[action.into(), updated.into(), id.into(), (n as u64 + 1).into()])?;
    let mut letters: Vec<Letter> = rows.iter().map(read).collect();
    let more = letters.len() > n;
    letters.truncate(n);
    let next = letters.last().filter(|_| more).map(|last| (last.since, last.id.clone()));
    Ok((letters, next))
}

/// The ids of at most `n` of one action that died no later than `until`, the oldest first; and how many there are.
pub fn until(db: &Db, action: &str, until: i64, n: u64) -> Result<(Vec<String>, u64), DbError> {
    let whose = "FROM ledger WHERE state = 'dead' AND action = $1 AND updated <= $2";
    let count = db.query(&format!("SELECT COUNT(*) {whose}"), &[action.into(), until.into()])?;
    let sql = format!("SELECT id {whose} ORDER BY updated, seq LIMIT $3");
    let rows = db.query(&sql, &[action.into(), until.into(), n.into()])?;
    let ids = rows.iter().map(|row| row.text(0).to_owned()).collect();
    Ok((ids, count.first().map_or(0, |row| row.uint(0))))
}

/// Whether this is one of that action.
pub fn is_there(db: &Db, action: &str, id: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM ledger WHERE id = $1 AND action = $2 AND state = 'dead'";
    Ok(!db.query(sql, &[id.into(), action.into()])?.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::ledger::SCHEMA;

    #[test]
    fn each_stands_on_one_page() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        for (n, action, state, updated) in
            [(1, "a", "dead", 5i64), (2, "a", "dead", 5), (3, "b", "dead", 6), (4, "a", "done", 7), (5, "a", "dead", 8)]
        {
            let sql = "INSERT INTO ledger (id, idem, event, probe, action, target, state, due, seq, tries, round, received, \
                       created, updated, expires, error, nonce) \
                       VALUES ($1, 'k', $1, 'p', $2, '', $3, 1, 1, 2, 0, 1, 1, $4, 1, 'no', 0)";
            tx.execute(sql, &[format!("l{n}").into(), action.into(), state.into(), updated.into()]).unwrap();
        }
        tx.commit().unwrap();
        let ids = |letters: &[Letter]| letters.iter().map(|one| one.id.clone()).collect::<Vec<_>>().join(" ");
        let (first, next) = page(&db, "a", None, 2).unwrap();
        assert_eq!((ids(&first).as_str(), &next), ("l5 l1", &Some((5, "l1".to_owned()))));
        let (second, end) = page(&db, "a", next, 2).unwrap();
        assert_eq!((ids(&second).as_str(), end), ("l2", None));
        assert_eq!(until(&db, "a", 5, 1).unwrap(), (vec!["l1".to_owned()], 2), "what died later is not meant");
        assert_eq!(
            (ids(&list(&db, "", 6).unwrap()).as_str(), ids(&list(&db, "a", 0).unwrap()).as_str()),
            ("l3 l5", "l1 l2 l5")
        );
        assert!(
            is_there(&db, "a", "l1").unwrap()
                && !is_there(&db, "b", "l1").unwrap()
                && !is_there(&db, "a", "l4").unwrap()
        );
        let line = first.first().unwrap().line();
        assert_eq!((line["error"].as_str(), line.get("target")), (Some("no"), None));
    }
}
