//! What `receive` knows of machines from Munki's posts: tables in `state/receive.db`.

use crate::db::{Db, DbError, Row, Schema, Tx};

/// The tables.
pub const SCHEMA: Schema = Schema {
    name: "munki",
    migrations: &["CREATE TABLE munki (
            machine TEXT PRIMARY KEY, report TEXT, report_at BIGINT, installs_at BIGINT);
        CREATE TABLE munki_checks (
            machine TEXT NOT NULL, name TEXT NOT NULL, rev TEXT NOT NULL, status BIGINT, ran BIGINT NOT NULL,
            PRIMARY KEY (machine, name));"],
};

/// What is known of a machine. Times are ms since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posted {
    /// SHA-1 of the newest report.
    pub report: Option<String>,
    /// When that ended.
    pub report_at: Option<i64>,
    /// When all managed installs were told last.
    pub installs_at: Option<i64>,
    /// The script checks that it has run.
    pub checks: Vec<Check>,
}

/// A script check that a machine has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The revision that was run.
    pub rev: String,
    /// What came of it last, as the number that agents send.
    pub status: Option<i64>,
    /// When.
    pub ran: i64,
}

/// What is known of a machine (by its key); none: it has not posted yet.
pub fn get(db: &Db, machine: &str) -> Result<Option<Posted>, DbError> {
    let sql = "SELECT report, report_at, installs_at FROM munki WHERE machine = $1";
    let rows = db.query(sql, &[machine.into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let sql = "SELECT name, rev, status, ran FROM munki_checks WHERE machine = $1 ORDER BY name";
    let check = |row: &Row| Check {
        name: row.text(0).to_owned(),
        rev: row.text(1).to_owned(),
        status: row.opt_int(2),
        ran: row.int(3),
    };
    Ok(Some(Posted {
        report: row.opt_text(0).map(str::to_owned),
        report_at: row.opt_int(1),
        installs_at: row.opt_int(2),
        checks: db.query(sql, &[machine.into()])?.iter().map(check).collect(),
    }))
}

/// Puts this in its place.
pub fn put(tx: &mut Tx<'_>, machine: &str, posted: &Posted) -> Result<(), DbError> {
    let sql = "INSERT INTO munki (machine, report, report_at, installs_at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (machine) DO UPDATE SET report = excluded.report, report_at = excluded.report_at, \
               installs_at = excluded.installs_at";
    let Posted { report, report_at, installs_at, checks } = posted;
    tx.execute(sql, &[machine.into(), report.clone().into(), (*report_at).into(), (*installs_at).into()])?;
    tx.execute("DELETE FROM munki_checks WHERE machine = $1", &[machine.into()])?;
    let sql = "INSERT INTO munki_checks (machine, name, rev, status, ran) VALUES ($1, $2, $3, $4, $5)";
    for check in checks {
        let Check { name, rev, status, ran } = check;
        tx.execute(sql, &[machine.into(), name.into(), rev.into(), (*status).into(), (*ran).into()])?;
    }
    Ok(())
}

/// Nothing is known of this machine any more.
pub fn forget(tx: &mut Tx<'_>, machine: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM munki WHERE machine = $1", &[machine.into()])?;
    tx.execute("DELETE FROM munki_checks WHERE machine = $1", &[machine.into()]).map(|_| ())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_there() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        assert_eq!(get(&db, "C02").unwrap(), None);
        let check = |name: &str, status| Check { name: name.into(), rev: "r".into(), status, ran: 7 };
        let full = Posted {
            report: Some("a".into()),
            report_at: Some(5),
            installs_at: None,
            checks: vec![check("a", Some(300)), check("b", None)],
        };
        for posted in [Posted::default(), full.clone(), Posted { checks: vec![check("b", Some(0))], ..full }] {
            let mut tx = db.begin().unwrap();
            put(&mut tx, "C02", &posted).unwrap();
            tx.commit().unwrap();
            assert_eq!(get(&db, "C02").unwrap(), Some(posted));
        }
        assert_eq!(get(&db, "C03").unwrap(), None);
        let mut tx = db.begin().unwrap();
        forget(&mut tx, "C02").unwrap();
        assert!(tx.query("SELECT 1 FROM munki_checks", &[]).unwrap().is_empty());
        tx.commit().unwrap();
        assert_eq!(get(&db, "C02").unwrap(), None);
    }
}
