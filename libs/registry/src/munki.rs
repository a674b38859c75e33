//! What `receive` knows of machines from Munki's posts: tables in `state/receive.db`.

use event::Time;

use crate::db::{Db, DbError, Row, Schema, Tx, has_schema};
use crate::inventory::HEARD_WITHIN;

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

/// The machines of one unit by the age of their last run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// The unit.
    pub unit: String,
    /// Machines whose last run ended within each of [`HEARD_WITHIN`].
    pub within: [u64; HEARD_WITHIN.len()],
    /// Machines whose last run ended before.
    pub older: u64,
    /// Machines of which no run is known.
    pub never: u64,
}

/// A machine whose last run is long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The machine key.
    pub key: String,
    /// Its host name.
    pub hostname: Option<String>,
    /// When that run ended.
    pub run: Time,
}

/// Machines of one unit by what came of a script check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckCount {
    /// The check.
    pub name: String,
    /// The unit.
    pub unit: String,
    /// What came of it, as the number that agents send.
    pub status: Option<i64>,
    /// How many.
    pub machines: u64,
}

/// By unit: when machines ran Munki last.
pub fn runs(db: &Db, now: Time) -> Result<Vec<Runs>, DbError> {
    if !has_schema(db, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT m.unit, COUNT(CASE WHEN r.report_at >= $1 THEN 1 END), \
               COUNT(CASE WHEN r.report_at >= $2 THEN 1 END), COUNT(CASE WHEN r.report_at >= $3 THEN 1 END), \
               COUNT(r.report_at), COUNT(*) FROM machines m LEFT JOIN munki r ON r.machine = m.key \
               WHERE m.source = 'munki' GROUP BY m.unit ORDER BY m.unit";
    let since = HEARD_WITHIN.map(|(_, age)| now.ms().saturating_sub(age).into());
    let runs = |row: &Row| Runs {
        unit: row.text(0).to_owned(),
        within: std::array::from_fn(|i| row.uint(1 + i)),
        older: row.uint(4).saturating_sub(row.uint(3)),
        never: row.uint(5).saturating_sub(row.uint(4)),
    };
    Ok(db.query(sql, &since)?.iter().map(runs).collect())
}

/// The machines of these units (none: of all) whose last run is longest ago, at most `limit`.
pub fn overdue(db: &Db, units: &[String], limit: usize) -> Result<Vec<Overdue>, DbError> {
    if !has_schema(db, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT m.key, m.hostname, r.report_at, m.unit FROM machines m JOIN munki r ON r.machine = m.key \
               WHERE m.source = 'munki' AND r.report_at IS NOT NULL ORDER BY r.report_at, m.key";
    // A list of units has any length: who is kept to some reads all.
    let sql = if units.is_empty() { format!("{sql} LIMIT {limit}") } else { sql.to_owned() };
    let rows = db.query(&sql, &[])?;
    let seen = rows.iter().filter(|row| units.is_empty() || units.iter().any(|unit| unit == row.text(3)));
    let one = |row: &Row| Overdue {
        key: row.text(0).to_owned(),
        hostname: row.opt_text(1).map(str::to_owned),
        run: Time::from_ms(row.int(2)),
    };
    Ok(seen.take(limit).map(one).collect())
}

/// How script checks stand, by name.
pub fn check_counts(db: &Db) -> Result<Vec<CheckCount>, DbError> {
    if !has_schema(db, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT c.name, m.unit, c.status, COUNT(*) FROM munki_checks c JOIN machines m ON m.key = c.machine \
               WHERE m.source = 'munki' GROUP BY c.name, m.unit, c.status ORDER BY c.name, m.unit, c.status";
    let count = |row: &Row| CheckCount {
        name: row.text(0).to_owned(),
        unit: row.text(1).to_owned(),
        status: row.opt_int(2),
        machines: row.uint(3),
    };
    Ok(db.query(sql, &[])?.iter().map(count).collect())
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
    use crate::machines::{self, Machine};

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

    #[test]
    fn runs_and_checks_by_unit() {
        let mut db = Db::memory(&[machines::SCHEMA, SCHEMA]).unwrap();
        let day = 86_400_000;
        let now = Time::from_ms(100 * day);
        let fleet = [
            ("A", "berlin", Some(100 * day - 1), Some(0)),
            ("B", "berlin", Some(95 * day), Some(300)),
            ("C", "rome", Some(10 * day), Some(300)),
            ("D", "rome", None, None),
        ];
        for (n, (serial, unit, run, status)) in fleet.into_iter().enumerate() {
            let claim = Machine { serial: Some(serial.into()), unit: unit.into(), ..Machine::default() };
            let mut tx = db.begin().unwrap();
            machines::enrol(&mut tx, "munki", claim, None, false, &[u8::try_from(n).unwrap(); 32], 1).unwrap();
            let check = Check { name: "firewall".into(), rev: "r".into(), status, ran: 7 };
            put(&mut tx, serial, &Posted { report_at: run, checks: vec![check], ..Posted::default() }).unwrap();
            tx.commit().unwrap();
        }
        let told: Vec<_> = runs(&db, now).unwrap().into_iter().map(|r| (r.unit, r.within, r.older, r.never)).collect();
        assert_eq!(told, [("berlin".into(), [1, 2, 2], 0, 0), ("rome".into(), [0, 0, 0], 1, 1)]);
        let late = |units: &[&str], n| {
            let units: Vec<String> = units.iter().map(|unit| (*unit).to_owned()).collect();
            overdue(&db, &units, n).unwrap().into_iter().map(|one| one.key).collect::<Vec<_>>()
        };
        assert_eq!((late(&[], 2), late(&["berlin"], 9)), (vec!["C".into(), "B".into()], vec!["B".into(), "A".into()]));
        let told: Vec<_> = check_counts(&db).unwrap().into_iter().map(|c| (c.unit, c.status, c.machines)).collect();
        let want = [("berlin", Some(0), 1), ("berlin", Some(300), 1), ("rome", None, 1), ("rome", Some(300), 1)];
        let want: Vec<_> = want.into_iter().map(|(unit, status, n)| (unit.to_owned(), status, n)).collect();
        assert_eq!(told.len(), want.len());
        assert!(want.iter().all(|one| told.contains(one)), "{told:?}");
        assert!(runs(&Db::memory(&[machines::SCHEMA]).unwrap(), now).unwrap().is_empty(), "an older file");
    }
}
