//! The tags that people give machines by hand, in `registry.db`.

use std::collections::{BTreeMap, BTreeSet};

use event::{Cause, Machine, Time};
use serde_json::json;

use crate::changes;
use crate::db::{Db, DbError, Schema, Tx};

/// The table of tags.
pub const SCHEMA: Schema = Schema {
    name: "tags",
    migrations: &["CREATE TABLE machine_tags (
            machine TEXT NOT NULL, tag TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (machine, tag));"],
};

/// Tags by machine key.
pub type Tags = BTreeMap<String, Vec<String>>;

/// Gives a machine a tag; false: it has it already. Who is told of the change knows it as `machine`.
pub fn add(tx: &mut Tx<'_>, key: &str, tag: &str, machine: Machine, now: Time) -> Result<bool, DbError> {
    add_for(tx, key, tag, machine, now, None)
}

/// The same by an action: what led to it.
pub fn add_for(
    tx: &mut Tx<'_>,
    key: &str,
    tag: &str,
    machine: Machine,
    now: Time,
    cause: Option<Cause>,
) -> Result<bool, DbError> {
    let sql = "INSERT INTO machine_tags (machine, tag, at) VALUES ($1, $2, $3) ON CONFLICT (machine, tag) DO NOTHING";
    let done = tx.execute(sql, &[key.into(), tag.into(), now.ms().into()])? > 0;
    if done {
        changes::say_for(tx, changes::TAGGED, machine, &json!({"action": "added", "tag": tag}), now, cause)?;
    }
    Ok(done)
}

/// Takes a tag from a machine; false: it was not given by hand.
pub fn remove(tx: &mut Tx<'_>, key: &str, tag: &str, machine: Machine, now: Time) -> Result<bool, DbError> {
    remove_for(tx, key, tag, machine, now, None)
}

/// The same by an action: what led to it.
pub fn remove_for(
    tx: &mut Tx<'_>,
    key: &str,
    tag: &str,
    machine: Machine,
    now: Time,
    cause: Option<Cause>,
) -> Result<bool, DbError> {
    let done = tx.execute("DELETE FROM machine_tags WHERE machine = $1 AND tag = $2", &[key.into(), tag.into()])? > 0;
    if done {
        changes::say_for(tx, changes::TAGGED, machine, &json!({"action": "removed", "tag": tag}), now, cause)?;
    }
    Ok(done)
}

/// Takes all of them from a machine that is forgotten.
pub fn forget(tx: &mut Tx<'_>, key: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM machine_tags WHERE machine = $1", &[key.into()]).map(|_| ())
}

/// The tags of one machine (machine key).
pub fn of(db: &Db, key: &str) -> Result<Vec<String>, DbError> {
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let rows = db.query("SELECT tag FROM machine_tags WHERE machine = $1 ORDER BY tag", &[key.into()])?;
    Ok(rows.iter().map(|row| row.text(0).to_owned()).collect())
}

/// The tags of all machines that have any.
pub fn all(db: &Db) -> Result<Tags, DbError> {
    let mut all = Tags::new();
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(all);
    }
    for row in db.query("SELECT machine, tag FROM machine_tags ORDER BY machine, tag", &[])? {
        all.entry(row.text(0).to_owned()).or_default().push(row.text(1).to_owned());
    }
    Ok(all)
}

/// The machines whose tags are not the same in both.
pub fn others(before: &Tags, now: &Tags) -> BTreeSet<String> {
    before.keys().chain(now.keys()).filter(|machine| before.get(*machine) != now.get(*machine)).cloned().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.db");
        let mut db = Db::open(&path, &[]).unwrap();
        assert_eq!((all(&db).unwrap(), changes::last(&db).unwrap()), (Tags::new(), 0), "an older file");
        drop(db);
        db = Db::open(&path, &[SCHEMA, changes::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let machine = || Machine { serial_number: Some("C02".into()), ..Machine::default() };
        let now = Time::from_ms(1_760_000_000_000);
        assert!(add(&mut tx, "C02", "vip", machine(), now).unwrap());
        assert!(!add(&mut tx, "C02", "vip", machine(), now).unwrap());
        assert!(add(&mut tx, "C02", "lab", machine(), now).unwrap());
        assert!(remove(&mut tx, "C02", "vip", machine(), now).unwrap());
        assert!(!remove(&mut tx, "C03", "vip", machine(), now).unwrap());
        changes::say(&mut tx, changes::FORGOTTEN, machine(), &json!({}), now).unwrap();
        tx.commit().unwrap();
        assert_eq!((of(&db, "C02").unwrap(), of(&db, "C03").unwrap()), (vec!["lab".to_owned()], Vec::new()));
        assert_eq!(all(&db).unwrap(), [("C02".to_owned(), vec!["lab".to_owned()])].into());
        let lines = changes::since(&db, 0, 3).unwrap();
        let payloads: Vec<_> = lines
            .iter()
            .map(|(n, line)| (*n, Machine::clone(&event::Event::parse(line).unwrap().machine.unwrap())))
            .collect();
        assert_eq!(payloads, [(1, machine()), (2, machine()), (3, machine())]);
        let rest = changes::since(&db, 3, 9).unwrap();
        assert_eq!((rest.len(), changes::last(&db).unwrap()), (1, 4));
        assert_eq!(
            changes::orders(&db, 0).unwrap().into_iter().map(|o| (o.n, o.type_, o.machine)).collect::<Vec<_>>(),
            [(4, changes::FORGOTTEN.to_owned(), "C02".to_owned())]
        );
        assert!(changes::orders(&db, 4).unwrap().is_empty());
    }
}
