//! Enrolments that contradict what is known of a machine and wait for somebody's leave: a table in `state/receive.db`.

use event::Time;

use crate::db::{Db, DbError, Row, Schema, Tx};
use crate::machines::{Enrolled, Machine};

/// The table.
pub const SCHEMA: Schema = Schema {
    name: "pending",
    migrations: &["CREATE TABLE pending (
            source TEXT NOT NULL, machine TEXT NOT NULL, hardware TEXT NOT NULL, why TEXT NOT NULL,
            first BIGINT NOT NULL, last BIGINT NOT NULL, approved BIGINT, PRIMARY KEY (source, machine, hardware));"],
};
/// Enrolments that wait for one machine at a time; of more the one that was tried longest ago goes, but none that
/// somebody approved of: whoever has a secret could undo that.
const OF_ONE_MAX: usize = 8;
/// Enrolments that wait altogether.
const ALL_MAX: usize = 1000;
/// What is neither tried nor approved again in this time goes, in ms.
const KEPT_MS: i64 = 7 * 86_400_000;
/// Another try of the same is written down only after this time, in ms.
const AGAIN_MS: i64 = 60_000;

/// Which machines may enrol although they are known with other hardware, in another unit or with a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reenrol {
    /// None.
    #[default]
    SameHardware,
    /// Those that somebody approves of, each once.
    Approve,
    /// All.
    Always,
}

/// An enrolment that waits, or waits no longer and has not come again yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The source.
    pub source: String,
    /// What tries to enrol: `SERIAL/UUID@UNIT`, and ` without certificate` behind it where the known one must show one.
    pub hardware: String,
    /// `certificate`, `hardware` or `unit`.
    pub why: String,
    /// When it was first tried.
    pub first: Time,
    /// When it was last tried.
    pub last: Time,
    /// When somebody approved of it.
    pub approved: Option<Time>,
}

/// Takes a machine in by `enrol`, which is told whether it may be taken in whatever is known of it. Where only somebody's
/// leave helps and there is none, the conflict is pending. `now` in ms since 1970.
pub fn decide(
    tx: &mut Tx<'_>,
    reenrol: Reenrol,
    source: &str,
    claim: &Machine,
    now: i64,
    mut enrol: impl FnMut(&mut Tx<'_>, bool) -> Result<Enrolled, DbError>,
) -> Result<Enrolled, DbError> {
    let done = enrol(tx, reenrol == Reenrol::Always)?;
    let Enrolled::Conflict { known, why, .. } = done else { return Ok(done) };
    if reenrol != Reenrol::Approve {
        return Ok(Enrolled::Conflict { known, why, pending: false });
    }
    let hardware = hardware(claim, claim.lacks_certificate(&known));
    let of = [source.into(), known.key().into(), hardware.as_str().into()];
    tx.execute("DELETE FROM pending WHERE COALESCE(approved, last) < $1", &[(now - KEPT_MS).into()])?;
    let sql = "SELECT last, approved FROM pending WHERE source = $1 AND machine = $2 AND hardware = $3";
    let found = tx.query(sql, &of)?.first().map(|row| (row.int(0), row.opt_int(1)));
    if let Some((_, Some(_))) = found {
        let done = enrol(tx, true)?;
        if matches!(done, Enrolled::Done { .. }) {
            tx.execute("DELETE FROM pending WHERE source = $1 AND machine = $2 AND hardware = $3", &of)?;
        }
        return Ok(done);
    }
    if found.is_none_or(|(last, _)| !(0..AGAIN_MS).contains(&(now - last))) {
        hold(tx, source, known.key(), &hardware, why, now)?;
    }
    Ok(Enrolled::Conflict { known, why, pending: true })
}

fn hold(tx: &mut Tx<'_>, source: &str, machine: &str, hardware: &str, why: &str, now: i64) -> Result<(), DbError> {
    let sql = "INSERT INTO pending (source, machine, hardware, why, first, last) VALUES ($1, $2, $3, $4, $5, $5) \
               ON CONFLICT (source, machine, hardware) DO UPDATE SET why = excluded.why, last = excluded.last";
    tx.execute(sql, &[source.into(), machine.into(), hardware.into(), why.into(), now.into()])?;
    let rows = tx.query(
        "SELECT source, hardware FROM pending WHERE machine = $1 ORDER BY approved IS NULL, last DESC LIMIT 100",
        &[machine.into()],
    )?;
    for row in rows.iter().skip(OF_ONE_MAX) {
        let sql = "DELETE FROM pending WHERE machine = $1 AND source = $2 AND hardware = $3 AND approved IS NULL";
        tx.execute(sql, &[machine.into(), row.text(0).into(), row.text(1).into()])?;
    }
    let all = tx.query("SELECT COUNT(*) FROM pending", &[])?.first().map_or(0, |row| row.uint(0));
    if all > ALL_MAX as u64 {
        let sql = "DELETE FROM pending WHERE approved IS NULL AND \
                   last = (SELECT MIN(last) FROM pending WHERE approved IS NULL)";
        tx.execute(sql, &[])?;
    }
    Ok(())
}

/// What tries to enrol, in words that hold for this hardware and this unit only, and for a `bare` one only if they say so.
fn hardware(claim: &Machine, bare: bool) -> String {
    let bare = if bare { " without certificate" } else { "" };
    let serial = claim.serial.as_deref().unwrap_or("-");
    let uuid = claim.uuid.as_deref().map_or_else(|| "-".to_owned(), str::to_ascii_uppercase);
    match (&claim.serial, &claim.uuid, &claim.hostname) {
        (None, None, Some(host)) => format!("{host}@{}{bare}", claim.unit),
        _ => format!("{serial}/{uuid}@{}{bare}", claim.unit),
    }
}

/// The next try of this hardware to enrol as this machine succeeds. Of one that waits no longer nothing is approved.
pub fn approve(tx: &mut Tx<'_>, source: &str, machine: &str, hardware: &str, now: i64) -> Result<(), DbError> {
    let sql = "UPDATE pending SET approved = $4 WHERE source = $1 AND machine = $2 AND hardware = $3";
    tx.execute(sql, &[source.into(), machine.into(), hardware.into(), now.into()]).map(|_| ())
}

/// Nothing waits for this machine any more.
pub fn forget(tx: &mut Tx<'_>, machine: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM pending WHERE machine = $1", &[machine.into()]).map(|_| ())
}

/// What waits for this machine (machine key). A file of an older version has no such table.
pub fn of(db: &Db, machine: &str) -> Result<Vec<Pending>, DbError> {
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT source, hardware, why, first, last, approved FROM pending WHERE machine = $1 \
               ORDER BY source, first, hardware";
    let pending = |row: &Row| Pending {
        source: row.text(0).to_owned(),
        hardware: row.text(1).to_owned(),
        why: row.text(2).to_owned(),
        first: Time::from_ms(row.int(3)),
        last: Time::from_ms(row.int(4)),
        approved: row.opt_int(5).map(Time::from_ms),
    };
    Ok(db.query(sql, &[machine.into()])?.iter().map(pending).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::machines;

    struct Hub(Db);

    impl Hub {
        fn new() -> Self {
            Self(Db::memory(&[machines::SCHEMA, SCHEMA]).unwrap())
        }

        /// The machine `S` with this UUID, at this time.
        fn enrol(&mut self, reenrol: Reenrol, uuid: &str, unit: &str, now: i64) -> &'static str {
            let claim = Machine {
                serial: Some("S".into()),
                uuid: Some(uuid.into()),
                unit: unit.into(),
                enrolment: "e".into(),
                ..Machine::default()
            };
            let mut tx = self.0.begin().unwrap();
            let key = [u8::try_from(now % 251).unwrap(); 32];
            let done = decide(&mut tx, reenrol, "osquery", &claim, now, |tx, always| {
                machines::enrol(tx, "osquery", claim.clone(), None, always, &key, now)
            });
            tx.commit().unwrap();
            match done.unwrap() {
                Enrolled::Done { retired, .. } => retired.map_or("new", |_| "again"),
                Enrolled::Conflict { pending: true, .. } => "pending",
                Enrolled::Conflict { .. } => "conflict",
                Enrolled::UsedUp => "used up",
            }
        }

        fn approve(&mut self, hardware: &str, now: i64) {
            let mut tx = self.0.begin().unwrap();
            approve(&mut tx, "osquery", "S", hardware, now).unwrap();
            tx.commit().unwrap();
        }
    }

    #[test]
    fn an_approval_lets_one_hardware_in_once() {
        let mut hub = Hub::new();
        assert_eq!(hub.enrol(Reenrol::Approve, "a", "u", 1), "new");
        assert_eq!(hub.enrol(Reenrol::SameHardware, "b", "u", 2), "conflict");
        assert!(of(&hub.0, "S").unwrap().is_empty());
        assert_eq!(hub.enrol(Reenrol::Approve, "b", "u", 3), "pending");
        assert_eq!(hub.enrol(Reenrol::Approve, "c", "u", 4), "pending");
        assert_eq!(hub.enrol(Reenrol::Approve, "a", "v", 5), "pending");
        let waits = of(&hub.0, "S").unwrap();
        let words: Vec<_> = waits.iter().map(|p| (p.hardware.as_str(), p.why.as_str())).collect();
        assert_eq!(words, [("S/B@u", "hardware"), ("S/C@u", "hardware"), ("S/A@v", "unit")]);
        hub.approve("S/B@u", 6);
        assert_eq!(hub.enrol(Reenrol::Approve, "c", "u", 7), "pending", "another hardware");
        assert_eq!(hub.enrol(Reenrol::Approve, "b", "v", 8), "pending", "from another unit");
        assert_eq!(hub.enrol(Reenrol::SameHardware, "b", "u", 9), "conflict", "nobody asks for approvals any more");
        assert_eq!(hub.enrol(Reenrol::Approve, "B", "u", 10), "again");
        assert_eq!(hub.enrol(Reenrol::Approve, "b", "u", 11), "again", "it is the known one now");
        assert_eq!(hub.enrol(Reenrol::Approve, "a", "u", 12), "pending");
        assert_eq!(hub.enrol(Reenrol::Always, "a", "u", 13), "again");
        hub.approve("S/B@u", 14);
        assert_eq!(hub.enrol(Reenrol::Approve, "b", "u", 15), "pending", "once");
    }

    #[test]
    fn an_approval_lifts_no_certificate_unless_it_says_so() {
        let mut hub = Hub::new();
        let mut enrol = |uuid: &str, client_certificate, approved: Option<&str>| {
            let claim =
                Machine { serial: Some("S".into()), uuid: Some(uuid.into()), client_certificate, ..Machine::default() };
            let mut tx = hub.0.begin().unwrap();
            if let Some(hardware) = approved {
                approve(&mut tx, "osquery", "S", hardware, 1).unwrap();
            }
            let done = decide(&mut tx, Reenrol::Approve, "osquery", &claim, 2, |tx, always| {
                machines::enrol(tx, "osquery", claim.clone(), None, always, &[7; 32], 2)
            });
            tx.commit().unwrap();
            matches!(done.unwrap(), Enrolled::Done { .. })
        };
        assert!(enrol("a", true, None));
        assert!(!enrol("b", true, None) && !enrol("b", false, None));
        assert!(!enrol("b", false, Some("S/B@")), "that was for one with a certificate");
        assert!(enrol("b", false, Some("S/B@ without certificate")));
    }

    #[test]
    fn what_is_approved_is_not_pushed_out() {
        let mut hub = Hub::new();
        hub.enrol(Reenrol::Approve, "a", "u", 1);
        assert_eq!(hub.enrol(Reenrol::Approve, "b", "u", 2), "pending");
        hub.approve("S/B@u", 3);
        for n in 0..20 {
            assert_eq!(hub.enrol(Reenrol::Approve, &format!("x{n}"), "u", 10 + n), "pending");
        }
        assert_eq!(of(&hub.0, "S").unwrap().len(), OF_ONE_MAX);
        let mut tx = hub.0.begin().unwrap();
        for n in 0..i64::try_from(ALL_MAX).unwrap() + 20 {
            hold(&mut tx, "osquery", &format!("m{n}"), "h", "hardware", 50 + n).unwrap();
        }
        tx.commit().unwrap();
        assert_eq!(hub.enrol(Reenrol::Approve, "b", "u", 2000), "again");
    }

    #[test]
    fn what_waits_is_bounded_and_goes() {
        let mut hub = Hub::new();
        hub.enrol(Reenrol::Approve, "a", "u", 1);
        for n in 0..20 {
            assert_eq!(hub.enrol(Reenrol::Approve, &format!("x{n}"), "u", 10 + n), "pending");
        }
        let waits = of(&hub.0, "S").unwrap();
        assert_eq!((waits.len(), waits[0].hardware.as_str()), (OF_ONE_MAX, "S/X12@u"));
        hub.approve("S/X19@u", 40);
        assert_eq!(hub.enrol(Reenrol::Approve, "y", "u", 41 + KEPT_MS), "pending");
        assert_eq!(hub.enrol(Reenrol::Approve, "x19", "u", 42 + KEPT_MS), "pending", "nobody came in time");
        assert_eq!(of(&hub.0, "S").unwrap().len(), 2);
        // Of many machines, too, each without a serial number.
        for n in 0..i64::try_from(ALL_MAX).unwrap() + 50 {
            let mut tx = hub.0.begin().unwrap();
            hold(&mut tx, "osquery", &format!("m{n}"), "h", "hardware", 50 + KEPT_MS + n).unwrap();
            tx.commit().unwrap();
        }
        let rows = hub.0.query("SELECT COUNT(*) FROM pending", &[]).unwrap();
        assert_eq!(rows[0].int(0), i64::try_from(ALL_MAX).unwrap());
    }
}
