//! How many machines enrolled, for whom and by which enrolment: counted in `state/receive.db` by the database.

use std::collections::BTreeMap;

use event::Time;

use crate::db::{Db, DbError, Row};

/// The machines of one unit that speak by one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The unit.
    pub unit: String,
    /// The source.
    pub source: String,
    /// How many may speak.
    pub machines: u64,
    /// When the last of them enrolled.
    pub enrolled: Time,
    /// When one of them was heard last.
    pub seen: Time,
}

/// What became of one enrolment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Distinct machines that it let in, as its quota counts them.
    pub machines: u64,
    /// When the last of those that still have its key came.
    pub last: Option<Time>,
}

/// A machine that came by an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// The machine key.
    pub key: String,
    /// Its host name.
    pub hostname: Option<String>,
    /// When it enrolled.
    pub enrolled: Time,
    /// When it was heard last.
    pub seen: Time,
}

/// By unit and source.
pub fn by_unit(db: &Db) -> Result<Vec<Tally>, DbError> {
    let sql = "SELECT unit, source, COUNT(*), MAX(enrolled), MAX(last_seen) FROM machines \
               GROUP BY unit, source ORDER BY unit, source";
    let tally = |row: &Row| Tally {
        unit: row.text(0).to_owned(),
        source: row.text(1).to_owned(),
        machines: row.uint(2),
        enrolled: Time::from_ms(row.int(3)),
        seen: Time::from_ms(row.int(4)),
    };
    Ok(db.query(sql, &[])?.iter().map(tally).collect())
}

/// By the id of the enrolment.
pub fn by_enrolment(db: &Db) -> Result<BTreeMap<String, Used>, DbError> {
    let mut all: BTreeMap<String, Used> = BTreeMap::new();
    for row in db.query("SELECT enrolment, COUNT(*) FROM enrolled GROUP BY enrolment", &[])? {
        all.entry(row.text(0).to_owned()).or_default().machines = row.uint(1);
    }
    for row in db.query("SELECT enrolment, MAX(enrolled) FROM machines GROUP BY enrolment", &[])? {
        all.entry(row.text(0).to_owned()).or_default().last = Some(Time::from_ms(row.int(1)));
    }
    Ok(all)
}

/// The machines whose key is of this enrolment, at most `limit`, the last first.
pub fn of_enrolment(db: &Db, id: &str, limit: u64) -> Result<Vec<Came>, DbError> {
    let sql = "SELECT key, hostname, enrolled, last_seen FROM machines WHERE enrolment = $1 \
               ORDER BY enrolled DESC, key LIMIT $2";
    let came = |row: &Row| Came {
        key: row.text(0).to_owned(),
        hostname: row.opt_text(1).map(str::to_owned),
        enrolled: Time::from_ms(row.int(2)),
        seen: Time::from_ms(row.int(3)),
    };
    Ok(db.query(sql, &[id.into(), limit.into()])?.iter().map(came).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::machines::{self, Enrolled, Machine};

    #[test]
    fn counted_by_unit_and_by_enrolment() {
        let mut db = Db::memory(&[machines::SCHEMA]).unwrap();
        let came = [
            ("S1", "berlin", "e1", "osquery", 10),
            ("S2", "berlin", "e1", "osquery", 30),
            ("S1", "berlin", "e2", "santa", 20),
            ("S3", "rome", "e3", "osquery", 40),
            // The same again by another enrolment: that of before still counts it.
            ("S1", "berlin", "e4", "osquery", 50),
        ];
        for (n, (serial, unit, enrolment, source, at)) in came.into_iter().enumerate() {
            let claim = Machine {
                serial: Some(serial.into()),
                hostname: Some(format!("{serial}-mac")),
                unit: unit.into(),
                enrolment: enrolment.into(),
                ..Machine::default()
            };
            let mut tx = db.begin().unwrap();
            let key = [u8::try_from(n).unwrap(); 32];
            let done = machines::enrol(&mut tx, source, claim, None, false, &key, at).unwrap();
            assert!(matches!(done, Enrolled::Done { .. }));
            tx.commit().unwrap();
        }
        let told: Vec<_> = by_unit(&db).unwrap();
        let told: Vec<_> =
            told.iter().map(|t| (t.unit.as_str(), t.source.as_str(), t.machines, t.enrolled.ms())).collect();
        assert_eq!(told, [("berlin", "osquery", 2, 50), ("berlin", "santa", 1, 20), ("rome", "osquery", 1, 40)]);
        let used = by_enrolment(&db).unwrap();
        let of = |id: &str| used.get(id).map(|used| (used.machines, used.last.map(Time::ms)));
        assert_eq!((of("e1"), of("e4"), of("e5")), (Some((2, Some(30))), Some((1, Some(50))), None));
        let names = |id: &str, n| of_enrolment(&db, id, n).unwrap().into_iter().map(|m| m.key).collect::<Vec<_>>();
        assert_eq!((names("e1", 9), names("e4", 9)), (vec!["S2".to_owned()], vec!["S1".to_owned()]));
        assert!(names("e1", 0).is_empty());
    }
}
