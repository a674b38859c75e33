//! What `receive` remembers of Santa's machines: the ids that they gave themselves, the rules that they were given and have
//! confirmed, and the bundles whose binaries it waits for.

use crate::db::{Db, DbError, Row, Schema, Tx, Value};
use crate::machines::{self, Enrolled, KeyHash, Machine};

/// The tables, beside those of [`machines`]. A set of rules lies there once, however many machines have it.
pub const SCHEMA: Schema = Schema {
    name: "santa",
    migrations: &[
        "CREATE TABLE santa_machines (
            node_key BYTEA PRIMARY KEY, id TEXT NOT NULL, session TEXT NOT NULL, kind TEXT NOT NULL, staged BYTEA,
            plan BYTEA, confirmed BYTEA);
        CREATE TABLE santa_rulesets (hash BYTEA PRIMARY KEY, rules TEXT NOT NULL);
        CREATE TABLE santa_bundles (
            hash TEXT PRIMARY KEY, binaries BIGINT NOT NULL, about TEXT NOT NULL, told BIGINT NOT NULL);
        CREATE TABLE santa_binaries (
            bundle TEXT NOT NULL, file TEXT NOT NULL, about TEXT NOT NULL, PRIMARY KEY (bundle, file));",
        "ALTER TABLE santa_machines ADD COLUMN obeys BIGINT;
        CREATE TABLE santa_orders (machine TEXT PRIMARY KEY, kind TEXT NOT NULL, n BIGINT NOT NULL);",
    ],
};

/// The name of the source.
const SOURCE: &str = "santa";

/// What a machine was given, and what of that it has confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The sync that is under way.
    pub session: Option<Session>,
    /// The digest of the rules that it has.
    pub confirmed: Option<[u8; 32]>,
    /// A clean sync that somebody has ordered and that has not been yet: its kind, and the number of the order.
    pub ordered: Option<(String, u64)>,
}

/// A sync that gives something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The digest of the rules to be.
    pub staged: [u8; 32],
    /// The digest of what is given.
    pub plan: [u8; 32],
    /// The number of the order that is obeyed by it.
    pub obeys: Option<u64>,
}

/// Takes a machine in, or takes down what it says of itself now; also whether it has never come by this key. The id that it
/// gives itself and its serial number belong together from the first time on.
pub fn enrol(
    tx: &mut Tx<'_>,
    claim: Machine,
    id: &str,
    quota: Option<u64>,
    always: bool,
    node_key: &KeyHash,
    now: i64,
) -> Result<(Enrolled, bool), DbError> {
    let own = tx.query("SELECT id FROM santa_machines WHERE node_key = $1", &[node_key.as_slice().into()])?;
    if !always && let Some(known) = other(tx, &claim, id, node_key)? {
        let why = if claim.lacks_certificate(&known) { "certificate" } else { "hardware" };
        return Ok((Enrolled::Conflict { known, why, pending: false }, false));
    }
    // The same machine under a better key, or under another by leave: one key of the state has one machine. Of one that
    // does not come in nothing is moved.
    tx.execute("SAVEPOINT moved", &[])?;
    let sql = "DELETE FROM machines WHERE source = $1 AND node_key = $2 AND key <> $3 RETURNING key";
    for old in tx.query(sql, &[SOURCE.into(), node_key.as_slice().into(), claim.key().into()])? {
        let sql = "DELETE FROM enrolled WHERE enrolment = $1 AND machine = $2";
        tx.execute(sql, &[claim.enrolment.as_str().into(), old.text(0).into()])?;
    }
    let done = machines::enrol(tx, SOURCE, claim, quota, always, node_key, now)?;
    if let Enrolled::Done { retired, .. } = &done {
        if let Some(retired) = retired.filter(|retired| retired != node_key) {
            tx.execute("DELETE FROM santa_machines WHERE node_key = $1", &[retired.as_slice().into()])?;
        }
        let sql = "INSERT INTO santa_machines (node_key, id, session, kind) VALUES ($1, $2, '', '') \
                   ON CONFLICT (node_key) DO NOTHING";
        tx.execute(sql, &[node_key.as_slice().into(), id.into()])?;
    } else {
        tx.execute("ROLLBACK TO moved", &[])?;
    }
    tx.execute("RELEASE moved", &[])?;
    Ok((done, own.is_empty()))
}

/// The machine whose id or serial number this one claims.
fn other(tx: &mut Tx<'_>, claim: &Machine, id: &str, node_key: &KeyHash) -> Result<Option<Machine>, DbError> {
    let sql = "SELECT s.id, m.node_key FROM machines m JOIN santa_machines s ON s.node_key = m.node_key \
               WHERE m.source = $1 AND m.key = $2";
    let rows = tx.query(sql, &[SOURCE.into(), claim.key().into()])?;
    // A machine that had no id but its serial number has one of its own now; the other way round it is another machine.
    let nameless = claim.serial.as_ref().map(|serial| format!("SERIAL${serial}"));
    let moved = |row: &Row| nameless.as_ref().is_some_and(|id| row.text(0).eq_ignore_ascii_case(id));
    if let Some(row) = rows.first().filter(|row| !row.text(0).eq_ignore_ascii_case(id) && !moved(row)) {
        return machines::by_key_hash(tx, SOURCE, &row.blob(1).try_into().unwrap_or_default());
    }
    let known = machines::by_key_hash(tx, SOURCE, node_key)?;
    Ok(known.filter(|known| known.serial.is_some() && claim.serial.is_some() && known.serial != claim.serial))
}

/// What is kept of the machine with this key.
pub fn ledger(db: &Db, node_key: &KeyHash) -> Result<Ledger, DbError> {
    let sql = "SELECT s.session, s.kind, s.staged, s.plan, s.obeys, s.confirmed, o.kind, o.n FROM santa_machines s \
               LEFT JOIN machines m ON m.node_key = s.node_key AND m.source = $2 \
               LEFT JOIN santa_orders o ON o.machine = m.key WHERE s.node_key = $1";
    let rows = db.query(sql, &[node_key.as_slice().into(), SOURCE.into()])?;
    Ok(rows.first().map(read).unwrap_or_default())
}

fn read(row: &Row) -> Ledger {
    let hash = |i| row.blob(i).try_into().ok();
    let number = |i| row.opt_int(i).and_then(|n| u64::try_from(n).ok());
    let id = Some(row.text(0).to_owned()).filter(|id| !id.is_empty());
    let session = id.and_then(|id| {
        Some(Session { id, kind: row.text(1).to_owned(), staged: hash(2)?, plan: hash(3)?, obeys: number(4) })
    });
    let ordered = row.opt_text(6).map(str::to_owned).zip(number(7));
    Ledger { session, confirmed: hash(5), ordered }
}

/// Keeps the ledger of a machine, whose session was `before`, and these sets of rules (digest and text); the order of
/// the number `obeyed` is done with. False: another request of the machine was faster, and nothing is kept.
pub fn keep(
    tx: &mut Tx<'_>,
    node_key: &KeyHash,
    before: &str,
    ledger: &Ledger,
    obeyed: Option<u64>,
    rules: &[([u8; 32], &str)],
) -> Result<bool, DbError> {
    let sql = "UPDATE santa_machines SET session = $3, kind = $4, staged = $5, plan = $6, obeys = $7, confirmed = $8 \
               WHERE node_key = $1 AND session = $2";
    let (session, kind, staged, plan, obeys) = match &ledger.session {
        Some(s) => (s.id.as_str(), s.kind.as_str(), blob(&s.staged), blob(&s.plan), s.obeys),
        None => ("", "", Value::Null, Value::Null, None),
    };
    let confirmed = ledger.confirmed.as_ref().map_or(Value::Null, blob);
    let values =
        [node_key.as_slice().into(), before.into(), session.into(), kind.into(), staged, plan, obeys.into(), confirmed];
    if tx.execute(sql, &values)? == 0 {
        return Ok(false);
    }
    if let Some(n) = obeyed {
        let sql = "DELETE FROM santa_orders WHERE n = $1 AND machine IN \
                   (SELECT key FROM machines WHERE source = $2 AND node_key = $3)";
        tx.execute(sql, &[n.into(), SOURCE.into(), node_key.as_slice().into()])?;
    }
    for (hash, text) in rules {
        let sql = "INSERT INTO santa_rulesets (hash, rules) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
        tx.execute(sql, &[hash.as_slice().into(), (*text).into()])?;
    }
    Ok(true)
}

fn blob(hash: &[u8; 32]) -> Value {
    hash.as_slice().into()
}

/// Nothing is known any more of the machine with this machine key; to be called while [`machines`] still knows it.
pub fn forget(tx: &mut Tx<'_>, machine: &str) -> Result<(), DbError> {
    let sql = "DELETE FROM santa_machines WHERE node_key IN \
               (SELECT node_key FROM machines WHERE source = $1 AND key = $2)";
    tx.execute(sql, &[SOURCE.into(), machine.into()])?;
    tx.execute("DELETE FROM santa_orders WHERE machine = $1", &[machine.into()]).map(|_| ())
}

/// The next sync of this machine (machine key) is to be of this kind, and those after it until one was confirmed. An
/// order that is there already gives way.
pub fn order(tx: &mut Tx<'_>, machine: &str, kind: &str, n: u64) -> Result<(), DbError> {
    let sql = "INSERT INTO santa_orders (machine, kind, n) VALUES ($1, $2, $3) \
               ON CONFLICT (machine) DO UPDATE SET kind = excluded.kind, n = excluded.n";
    tx.execute(sql, &[machine.into(), kind.into(), n.into()]).map(|_| ())
}

/// The kind of sync that is ordered for this machine (machine key). A file of an older version knows no orders.
pub fn ordered(db: &Db, machine: &str) -> Result<Option<String>, DbError> {
    if db.query("SELECT 1 FROM schemas WHERE name = $1 AND number >= 2", &[SCHEMA.name.into()])?.is_empty() {
        return Ok(None);
    }
    let rows = db.query("SELECT kind FROM santa_orders WHERE machine = $1", &[machine.into()])?;
    Ok(rows.first().map(|row| row.text(0).to_owned()))
}

/// The text of a set of rules.
pub fn rules(db: &Db, hash: &[u8; 32]) -> Result<Option<String>, DbError> {
    let rows = db.query("SELECT rules FROM santa_rulesets WHERE hash = $1", &[hash.as_slice().into()])?;
    Ok(rows.first().map(|row| row.text(0).to_owned()))
}

/// Forgets the sets of rules that no machine has any more.
pub fn tidy(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let sql = "DELETE FROM santa_rulesets WHERE hash NOT IN (\
               SELECT staged FROM santa_machines WHERE staged IS NOT NULL UNION \
               SELECT plan FROM santa_machines WHERE plan IS NOT NULL UNION \
               SELECT confirmed FROM santa_machines WHERE confirmed IS NOT NULL)";
    tx.execute(sql, &[]).map(|_| ())
}

/// Whether a bundle has been told; none: it is not waited for.
pub fn bundle(db: &Db, hash: &str) -> Result<Option<bool>, DbError> {
    let rows = db.query("SELECT told FROM santa_bundles WHERE hash = $1", &[hash.into()])?;
    Ok(rows.first().map(|row| row.int(0) != 0))
}

/// From now on the binaries of this bundle are kept.
pub fn await_bundle(tx: &mut Tx<'_>, hash: &str, binaries: i64, about: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO santa_bundles (hash, binaries, about, told) VALUES ($1, $2, $3, 0) \
               ON CONFLICT (hash) DO NOTHING";
    tx.execute(sql, &[hash.into(), binaries.into(), about.into()]).map(|_| ())
}

/// A bundle that is whole: its hash, how many binaries it has, what is known of it and of each of them.
pub type Whole = (String, i64, String, Vec<String>);

/// Keeps binaries (bundle, hash, what is known of it) of bundles that are waited for; those that are whole now.
pub fn collect(tx: &mut Tx<'_>, members: &[(&str, &str, &str)]) -> Result<Vec<Whole>, DbError> {
    let sql = "INSERT INTO santa_binaries (bundle, file, about) SELECT hash, $2, $3 FROM santa_bundles \
               WHERE hash = $1 AND told = 0 AND (SELECT COUNT(*) FROM santa_binaries WHERE bundle = $1) < binaries \
               ON CONFLICT (bundle, file) DO NOTHING";
    let mut bundles: Vec<&str> = members.iter().map(|(bundle, ..)| *bundle).collect();
    bundles.sort_unstable();
    bundles.dedup();
    for (bundle, file, about) in members {
        tx.execute(sql, &[(*bundle).into(), (*file).into(), (*about).into()])?;
    }
    let mut whole = Vec::new();
    for bundle in bundles {
        let rows =
            tx.query("SELECT binaries, about FROM santa_bundles WHERE hash = $1 AND told = 0", &[bundle.into()])?;
        let Some(row) = rows.first() else { continue };
        let sql = "SELECT about FROM santa_binaries WHERE bundle = $1 ORDER BY file";
        let binaries: Vec<String> = tx.query(sql, &[bundle.into()])?.iter().map(|row| row.text(0).to_owned()).collect();
        if i64::try_from(binaries.len()).is_ok_and(|n| n >= row.int(0)) {
            whole.push((bundle.to_owned(), row.int(0), row.text(1).to_owned(), binaries));
        }
    }
    Ok(whole)
}

/// A bundle has been told.
pub fn told(tx: &mut Tx<'_>, hash: &str) -> Result<(), DbError> {
    tx.execute("UPDATE santa_bundles SET told = 1 WHERE hash = $1", &[hash.into()])?;
    tx.execute("DELETE FROM santa_binaries WHERE bundle = $1", &[hash.into()]).map(|_| ())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use super::*;

    struct Hub(Db);

    impl Hub {
        /// `serial/enrolment/id@unit`.
        fn enrol(&mut self, text: &str, always: bool) -> String {
            let (names, unit) = text.split_once('@').unwrap();
            let names: Vec<&str> = names.split('/').collect();
            let [serial, enrolment, id] = *names else { panic!("{text}") };
            let claim = Machine {
                serial: (serial != "-").then(|| serial.to_owned()),
                hostname: Some("mac".into()),
                unit: unit.into(),
                enrolment: enrolment.into(),
                ..Machine::default()
            };
            let mut node_key = [0; 32];
            node_key
                .iter_mut()
                .zip(format!("{enrolment}{}", id.to_lowercase()).bytes())
                .for_each(|(to, from)| *to = from);
            let mut tx = self.0.begin().unwrap();
            let (done, new) = enrol(&mut tx, claim, id, Some(2), always, &node_key, 1).unwrap();
            tx.commit().unwrap();
            match done {
                Enrolled::Done { machine, retired } => {
                    format!(
                        "{} {}{}",
                        if new { "new" } else { "known" },
                        machine.key(),
                        if retired.is_some() { " again" } else { "" }
                    )
                }
                Enrolled::UsedUp => "used up".into(),
                Enrolled::Conflict { known, why, .. } => format!("{why} {}", known.key()),
            }
        }
    }

    #[test]
    fn an_id_and_a_serial_number_belong_together() {
        let mut hub = Hub(Db::memory(&[machines::SCHEMA, SCHEMA]).unwrap());
        for (claim, always, want) in [
            ("S1/e/a@berlin", false, "new S1"),
            ("S1/e/A@berlin", false, "known S1 again"),
            ("S1/e/b@berlin", false, "hardware S1"),
            ("S2/e/a@berlin", false, "hardware S1"),
            ("S1/f/a@paris", false, "unit S1"),
            ("S1/f/a@berlin", false, "new S1 again"),
            ("-/e/c@berlin", false, "new mac"),
            ("S3/e/c@berlin", false, "known S3"),
            ("S4/e/d@berlin", false, "used up"),
            ("S3/e/x@berlin", true, "new S3 again"),
        ] {
            assert_eq!(hub.enrol(claim, always), want, "{claim}");
        }
        let left = hub.0.query("SELECT COUNT(*) FROM santa_machines", &[]).unwrap();
        assert_eq!(left.first().unwrap().int(0), 2, "what retired is gone");
    }

    #[test]
    fn who_is_not_let_in_has_moved_nothing() {
        let mut hub = Hub(Db::memory(&[machines::SCHEMA, SCHEMA]).unwrap());
        for (claim, want) in [
            ("-/e/a@berlin", "new mac"),
            ("S1/f/SERIAL$S1@paris", "new S1"),
            // The id is that of `mac`, which had no serial number; but `S1` is known, and in another unit.
            ("S1/e/a@berlin", "unit S1"),
            ("S2/e/c@berlin", "new S2"),
        ] {
            assert_eq!(hub.enrol(claim, false), want, "{claim}");
        }
        // Its quota was made smaller since.
        hub.0
            .begin()
            .and_then(|mut tx| {
                tx.execute("INSERT INTO enrolled (enrolment, machine) VALUES ('e', 'x')", &[])?;
                tx.commit()
            })
            .unwrap();
        assert_eq!(hub.enrol("S3/e/a@berlin", false), "used up");
        let keys = hub.0.query("SELECT key FROM machines ORDER BY key", &[]).unwrap();
        assert_eq!(keys.iter().map(|row| row.text(0)).collect::<Vec<_>>(), ["S1", "S2", "mac"]);
        assert_eq!(hub.0.query("SELECT 1 FROM enrolled WHERE enrolment = 'e'", &[]).unwrap().len(), 3);
    }

    #[test]
    fn a_ledger_is_kept_by_who_knew_the_last() {
        let mut hub = Hub(Db::memory(&[machines::SCHEMA, SCHEMA]).unwrap());
        hub.enrol("S1/e/a@berlin", false);
        let mut key = [0; 32];
        key.iter_mut().zip(*b"ea").for_each(|(to, from)| *to = from);
        let mut tx = hub.0.begin().unwrap();
        let session = Session { id: "s1".into(), kind: "CLEAN".into(), staged: [1; 32], plan: [2; 32], obeys: Some(7) };
        let open = Ledger { session: Some(session), ..Ledger::default() };
        assert!(keep(&mut tx, &key, "", &open, None, &[([1; 32], "[]"), ([2; 32], "[2]")]).unwrap());
        assert!(!keep(&mut tx, &key, "", &open, None, &[]).unwrap(), "somebody was faster");
        order(&mut tx, "S1", "CLEAN", 7).unwrap();
        order(&mut tx, "S1", "CLEAN_ALL", 8).unwrap();
        tx.commit().unwrap();
        assert_eq!(ordered(&hub.0, "S1").unwrap().as_deref(), Some("CLEAN_ALL"));
        assert_eq!(ledger(&hub.0, &key).unwrap(), Ledger { ordered: Some(("CLEAN_ALL".into(), 8)), ..open });
        assert_eq!(rules(&hub.0, &[2; 32]).unwrap().as_deref(), Some("[2]"));
        let done = Ledger { confirmed: Some([1; 32]), ..Ledger::default() };
        let mut tx = hub.0.begin().unwrap();
        assert!(keep(&mut tx, &key, "s1", &done, Some(7), &[]).unwrap());
        tidy(&mut tx).unwrap();
        tx.commit().unwrap();
        assert!(ordered(&hub.0, "S1").unwrap().is_some(), "another order came in between");
        let mut tx = hub.0.begin().unwrap();
        assert!(keep(&mut tx, &key, "", &done, Some(8), &[]).unwrap());
        tx.commit().unwrap();
        assert_eq!(ledger(&hub.0, &key).unwrap(), done);
        assert_eq!(rules(&hub.0, &[2; 32]).unwrap(), None);
        assert_eq!(rules(&hub.0, &[1; 32]).unwrap().as_deref(), Some("[]"));
    }

    #[test]
    fn who_is_forgotten_begins_anew() {
        let mut hub =
            Hub(Db::memory(&[machines::SCHEMA, crate::munki::SCHEMA, crate::pending::SCHEMA, SCHEMA]).unwrap());
        assert_eq!(hub.enrol("S1/e/a@berlin", false), "new S1");
        assert_eq!(hub.enrol("S2/e/b@berlin", false), "new S2");
        let mut tx = hub.0.begin().unwrap();
        machines::forget(&mut tx, "S1").unwrap();
        tx.commit().unwrap();
        assert_eq!(hub.enrol("S1/e/c@berlin", false), "new S1", "its old id binds it no more");
        assert_eq!(hub.enrol("S2/e/b@berlin", false), "known S2 again");
    }

    #[test]
    fn a_bundle_is_whole_when_all_its_binaries_came() {
        let mut hub = Hub(Db::memory(&[machines::SCHEMA, SCHEMA]).unwrap());
        let mut tx = hub.0.begin().unwrap();
        assert!(collect(&mut tx, &[("b", "1", "{}")]).unwrap().is_empty(), "nobody waits for it");
        await_bundle(&mut tx, "b", 2, "{about}").unwrap();
        assert!(collect(&mut tx, &[("b", "1", "{1}"), ("b", "1", "{1}")]).unwrap().is_empty());
        let whole = collect(&mut tx, &[("b", "2", "{2}"), ("b", "3", "{3}"), ("x", "1", "{}")]).unwrap();
        assert_eq!(whole, [("b".into(), 2, "{about}".into(), vec!["{1}".into(), "{2}".into()])]);
        told(&mut tx, "b").unwrap();
        assert!(collect(&mut tx, &[("b", "2", "{2}")]).unwrap().is_empty());
        tx.commit().unwrap();
        assert_eq!((bundle(&hub.0, "b").unwrap(), bundle(&hub.0, "x").unwrap()), (Some(true), None));
    }
}
