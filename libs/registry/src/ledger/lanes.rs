//! How it goes with each action: what became of its deliveries, what waits, what holds it.

use std::collections::BTreeMap;

use crate::db::{Db, DbError};

/// What is known of an action. All times are ms since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lane {
    /// Deliveries that wait or are being tried.
    pub waiting: u64,
    /// When the oldest of them was asked for.
    pub oldest: Option<i64>,
    /// What the last try of one that waits said.
    pub trouble: String,
    /// Dead letters.
    pub dead: u64,
    /// Of the deliveries that were asked for since some time: done.
    pub done: u64,
    /// … in the dead letters.
    pub failed: u64,
    /// … dropped by order, or too old when it was their turn.
    pub dropped: u64,
    /// Why the lane stands still, if it does.
    pub stopped: Option<String>,
}

/// The actions of which something is known, and of the deliveries that were asked for since then what became of them.
pub fn all(db: &Db, since: i64) -> Result<BTreeMap<String, Lane>, DbError> {
    let mut lanes: BTreeMap<String, Lane> = BTreeMap::new();
    let sql = "SELECT action, state, COUNT(*) FROM ledger WHERE created >= $1 GROUP BY action, state";
    for row in db.query(sql, &[since.into()])? {
        let lane = lanes.entry(row.text(0).to_owned()).or_default();
        match row.text(1) {
            "done" => lane.done += row.uint(2),
            "dead" => lane.failed += row.uint(2),
            "dropped" | "stale" => lane.dropped += row.uint(2),
            _ => {}
        }
    }
    for state in ["pending", "trying", "dead"] {
        // With the word in the statement the partial index of this state is found.
        let sql = format!("SELECT action, COUNT(*) FROM ledger WHERE state = '{state}' GROUP BY action");
        for row in db.query(&sql, &[])? {
            let lane = lanes.entry(row.text(0).to_owned()).or_default();
            *(if state == "dead" { &mut lane.dead } else { &mut lane.waiting }) += row.uint(1);
        }
    }
    for (action, lane) in lanes.iter_mut().filter(|(_, lane)| lane.waiting > 0) {
        (lane.oldest, lane.trouble) = oldest(db, action)?;
    }
    for (action, why) in stopped(db)? {
        lanes.entry(action).or_default().stopped = Some(why);
    }
    Ok(lanes)
}

/// Since when the oldest delivery waits, and what it waits for. What was never tried stands in the order in which it was
/// asked for; what was may be due later.
fn oldest(db: &Db, action: &str) -> Result<(Option<i64>, String), DbError> {
    let mut found: Vec<(i64, String)> = Vec::new();
    for sql in [
        "SELECT created, error FROM ledger WHERE state = 'pending' AND action = $1 ORDER BY due, seq LIMIT 1",
        "SELECT created, error FROM ledger WHERE state = 'pending' AND tries > 0 AND action = $1 ORDER BY created LIMIT 1",
        "SELECT created, error FROM ledger WHERE state = 'trying' AND action = $1 ORDER BY created LIMIT 1",
    ] {
        let rows = db.query(sql, &[action.into()])?;
        found.extend(rows.iter().map(|row| (row.int(0), row.text(1).to_owned())));
    }
    let trouble = found.iter().map(|(_, error)| error).find(|error| !error.is_empty()).cloned().unwrap_or_default();
    Ok((found.iter().map(|(created, _)| *created).min(), trouble))
}

/// Actions whose lane stands still, and why.
pub fn stopped(db: &Db) -> Result<Vec<(String, String)>, DbError> {
    let rows = db.query("SELECT action, why FROM stopped ORDER BY action", &[])?;
    Ok(rows.iter().map(|row| (row.text(0).to_owned(), row.text(1).to_owned())).collect())
}

/// A delivery that somebody asked for by hand, such as a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whom it is for; empty if the action has one nameless target.
    pub target: String,
    /// `pending`, `trying`, `done`, `dead`, `dropped` or `stale`.
    pub state: String,
    /// What its last try said, if that was not the end of it.
    pub error: String,
    /// How often it was tried.
    pub tries: u64,
    /// When it last changed, in ms since 1970.
    pub updated: i64,
}

/// The deliveries that were asked of an action by hand since then (ms since 1970), the oldest first; at most `n`.
pub fn asked(db: &Db, action: &str, since: i64, n: u64) -> Result<Vec<Asked>, DbError> {
    // What matches led to has no nonce.
    let sql = "SELECT target, state, error, tries, updated FROM ledger \
               WHERE created >= $2 AND action = $1 AND nonce <> 0 ORDER BY created, seq LIMIT $3";
    let one = |row: &crate::db::Row| Asked {
        target: row.text(0).to_owned(),
        state: row.text(1).to_owned(),
        error: row.text(2).to_owned(),
        tries: row.uint(3),
        updated: row.int(4),
    };
    Ok(db.query(sql, &[action.into(), since.into(), n.into()])?.iter().map(one).collect())
}

/// Whether any action has done anything that the ledger still knows of.
pub fn any_done(db: &Db) -> Result<bool, DbError> {
    Ok(!db.query("SELECT 1 FROM ledger WHERE state = 'done' LIMIT 1", &[])?.is_empty())
}

/// Actions and probes that are muted now, and until when (ms since 1970).
pub fn mutes(db: &Db, now: i64) -> Result<Vec<(String, i64)>, DbError> {
    let rows = db.query("SELECT name, until FROM mutes WHERE until > $1 ORDER BY name", &[now.into()])?;
    Ok(rows.iter().map(|row| (row.text(0).to_owned(), row.int(1))).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::ledger::SCHEMA;

    #[test]
    fn what_became_of_deliveries() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let rows = [
            ("done", 100i64, 0i64, ""),
            ("done", 5, 0, ""),
            ("dead", 6, 0, "no"),
            ("dropped", 101, 0, ""),
            ("stale", 102, 0, ""),
            // Tried, and due later than what came after it.
            ("pending", 7, 3, "503"),
            ("pending", 103, 0, ""),
            ("trying", 104, 1, ""),
        ];
        for (n, (state, created, tries, error)) in rows.into_iter().enumerate() {
            let sql = "INSERT INTO ledger (id, idem, event, probe, action, target, state, due, seq, tries, round, received, \
                       created, updated, expires, error, nonce) \
                       VALUES ($1, 'k', $1, 'p', 'a', '', $2, $3, $4, $5, 0, 1, $6, 1, 1, $7, 0)";
            let due = if tries > 0 { 900i64 } else { created };
            let values = [
                format!("l{n}").into(),
                state.into(),
                due.into(),
                (n as u64).into(),
                tries.into(),
                created.into(),
                error.into(),
            ];
            tx.execute(sql, &values).unwrap();
        }
        tx.execute("INSERT INTO stopped (action, since, why) VALUES ('b', 1, '5 machines')", &[]).unwrap();
        tx.execute("INSERT INTO mutes (name, since, until) VALUES ('a', 1, 500), ('b', 1, 100)", &[]).unwrap();
        tx.commit().unwrap();
        let lanes = all(&db, 50).unwrap();
        let a = Lane {
            waiting: 3,
            oldest: Some(7),
            trouble: "503".into(),
            dead: 1,
            done: 1,
            failed: 0,
            dropped: 2,
            stopped: None,
        };
        assert_eq!(lanes["a"], a);
        assert_eq!(lanes["b"], Lane { stopped: Some("5 machines".into()), ..Lane::default() });
        assert_eq!(mutes(&db, 200).unwrap(), [("a".to_owned(), 500)], "the other's is over");
        assert_eq!(all(&db, 0).unwrap()["a"].failed, 1);
        assert!(any_done(&db).unwrap());
    }

    #[test]
    fn what_was_asked_for_by_hand() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        assert!(!any_done(&db).unwrap());
        let mut tx = db.begin().unwrap();
        // As (action, nonce, created, state).
        let rows = [("a", 7i64, 5i64, "done"), ("a", 8, 10, "dead"), ("a", 0, 11, "done"), ("b", 9, 12, "pending")];
        for (n, (action, nonce, created, state)) in rows.into_iter().enumerate() {
            let sql = "INSERT INTO ledger (id, idem, event, probe, action, target, state, due, seq, tries, round, received, \
                       created, updated, expires, error, nonce) \
                       VALUES ($1, 'k', $1, 'p', $2, 't', $3, 1, $4, 2, 0, 1, $5, 20, 1, 'no', $6)";
            let id = format!("l{n}");
            let values = [id.into(), action.into(), state.into(), (n as u64).into(), created.into(), nonce.into()];
            tx.execute(sql, &values).unwrap();
        }
        tx.commit().unwrap();
        let one = Asked { target: "t".into(), state: "dead".into(), error: "no".into(), tries: 2, updated: 20 };
        assert_eq!(asked(&db, "a", 6, 10).unwrap(), [one]);
        assert_eq!(asked(&db, "a", 0, 10).unwrap().len(), 2, "what a match led to is none");
        assert_eq!(asked(&db, "a", 0, 1).unwrap().first().map(|one| one.state.as_str()), Some("done"));
    }
}
