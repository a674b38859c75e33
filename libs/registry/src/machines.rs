//! The tables of `state/receive.db`: the machines that may speak and the hashes of their node keys, which enrolment
//! let them in, when they were last heard, and the keys of TLS session tickets.

use crate::db::{Db, DbError, Row, Schema, Tx};
use crate::{munki, pending, santa};

/// SHA-256 of a node key.
pub type KeyHash = [u8; 32];

/// The tables of `receive`'s own.
pub const SCHEMA: Schema = Schema {
    name: "receive",
    migrations: &[
        "CREATE TABLE machines (
            source TEXT NOT NULL, key TEXT NOT NULL, serial TEXT, uuid TEXT, hostname TEXT, platform TEXT,
            os_version TEXT, agent_version TEXT, unit TEXT NOT NULL, tags TEXT NOT NULL, enrolment TEXT NOT NULL,
            node_key BYTEA NOT NULL, enrolled BIGINT NOT NULL, last_seen BIGINT NOT NULL, PRIMARY KEY (source, key));
        CREATE UNIQUE INDEX machines_node_key ON machines (node_key);
        CREATE INDEX machines_uuid ON machines (source, lower(uuid));
        CREATE TABLE enrolled (enrolment TEXT NOT NULL, machine TEXT NOT NULL, PRIMARY KEY (enrolment, machine));
        CREATE TABLE heard (
            source TEXT NOT NULL, machine TEXT NOT NULL, kind TEXT NOT NULL, said BIGINT NOT NULL,
            PRIMARY KEY (source, machine, kind));
        CREATE TABLE ticket_keys (id BYTEA PRIMARY KEY, secret BYTEA NOT NULL, made BIGINT NOT NULL);",
        "ALTER TABLE machines ADD COLUMN client_certificate BIGINT NOT NULL DEFAULT 0;",
    ],
};

/// A machine of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Hardware serial number.
    pub serial: Option<String>,
    /// Hardware UUID.
    pub uuid: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// `macos`, `linux`, …
    pub platform: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Version of the agent.
    pub agent_version: Option<String>,
    /// Business unit.
    pub unit: String,
    /// Tags that its enrolment gave it.
    pub tags: Vec<String>,
    /// Id of the enrolment that let it in.
    pub enrolment: String,
    /// Whether it must show a client certificate; not told where machines are only listed.
    pub client_certificate: bool,
}

impl Machine {
    /// The machine key: serial number, else hardware UUID, else host name.
    pub fn key(&self) -> &str {
        [&self.serial, &self.uuid, &self.hostname].into_iter().flatten().next().map_or("", String::as_str)
    }

    /// What this machine says of itself, and what is known where it is silent. Only for the same hardware.
    fn or(self, known: &Self) -> Self {
        let or = |own: Option<String>, known: &Option<String>| own.or_else(|| known.clone());
        Self {
            serial: or(self.serial, &known.serial),
            uuid: or(self.uuid, &known.uuid),
            hostname: or(self.hostname, &known.hostname),
            platform: or(self.platform, &known.platform),
            os_version: or(self.os_version, &known.os_version),
            agent_version: or(self.agent_version, &known.agent_version),
            ..self
        }
    }

    /// Whether this may be the hardware that is known under the same key: UUIDs that differ say no; where one is
    /// missing, the key must at least be of the same kind (a host called like another's serial number is not it).
    fn same_hardware(&self, known: &Self) -> bool {
        match (&self.uuid, &known.uuid) {
            (Some(own), Some(known)) => own.eq_ignore_ascii_case(known),
            _ => self.serial.is_some() == known.serial.is_some(),
        }
    }

    /// Whether this would come in without the certificate that the known one must show: its enrolment asks for none, so
    /// whoever has that one's secret and a serial number could take the machine over.
    pub(crate) fn lacks_certificate(&self, known: &Self) -> bool {
        known.client_certificate && !self.client_certificate
    }
}

/// What came of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolled {
    /// It may speak now.
    Done {
        /// As it is kept.
        machine: Machine,
        /// The hash of the key that it had before, which is worthless now.
        retired: Option<KeyHash>,
    },
    /// The enrolment has let in as many distinct machines as it may.
    UsedUp,
    /// The machine is known with other hardware, in another unit or with a certificate.
    Conflict {
        /// As it is kept.
        known: Machine,
        /// `certificate`, `hardware` or `unit`.
        why: &'static str,
        /// Somebody may approve of it ([`pending`]).
        pending: bool,
    },
}

/// Takes a machine in under a fresh node key, in the caller's transaction. `always`: also one that is known with other
/// hardware, in another unit or with a certificate. `now` in ms since 1970.
pub fn enrol(
    tx: &mut Tx<'_>,
    source: &str,
    claim: Machine,
    quota: Option<u64>,
    always: bool,
    node_key: &KeyHash,
    now: i64,
) -> Result<Enrolled, DbError> {
    let known = find(tx, source, &claim)?;
    let same = known.as_ref().is_some_and(|(known, _)| claim.same_hardware(known));
    if let Some((known, _)) = &known
        && !always
    {
        // The gravest first: whoever is to approve of it hears no other.
        let whys =
            [(claim.lacks_certificate(known), "certificate"), (!same, "hardware"), (claim.unit != known.unit, "unit")];
        if let Some((_, why)) = whys.into_iter().find(|(holds, _)| *holds) {
            return Ok(Enrolled::Conflict { known: known.clone(), why, pending: false });
        }
    }
    let machine = match &known {
        Some((known, _)) if same => claim.or(known),
        _ => claim,
    };
    let old = known.as_ref().map(|(known, _)| known.key()).filter(|old| *old != machine.key());
    if !counted(tx, &machine, old, quota)? {
        return Ok(Enrolled::UsedUp);
    }
    if let Some(old) = old {
        // It has told its serial number since: the same machine under a better key.
        tx.execute("DELETE FROM machines WHERE source = $1 AND key = $2", &[source.into(), old.into()])?;
    }
    put(tx, source, &machine, node_key, now)?;
    Ok(Enrolled::Done { machine, retired: known.map(|(_, hash)| hash) })
}

/// The machine under the key of `claim`; else the one of its UUID, if one of the two has never told a serial number.
fn find(tx: &mut Tx<'_>, source: &str, claim: &Machine) -> Result<Option<(Machine, KeyHash)>, DbError> {
    let by_key = format!("{OWN_COLUMNS} WHERE source = $1 AND key = $2");
    if let Some(row) = tx.query(&by_key, &[source.into(), claim.key().into()])?.first() {
        return Ok(Some((read_own(row), hash(row))));
    }
    let Some(uuid) = &claim.uuid else { return Ok(None) };
    let by_uuid = format!("{OWN_COLUMNS} WHERE source = $1 AND lower(uuid) = lower($2) ORDER BY last_seen DESC");
    let rows = tx.query(&by_uuid, &[source.into(), uuid.into()])?;
    let mut rows = rows.iter().map(|row| (read_own(row), hash(row)));
    Ok(rows.find(|(known, _)| known.serial.is_none() || claim.serial.is_none()))
}

/// Counts the machine into the enrolment, once; false if there is no room.
fn counted(tx: &mut Tx<'_>, machine: &Machine, old: Option<&str>, quota: Option<u64>) -> Result<bool, DbError> {
    let enrolment = machine.enrolment.as_str();
    if let Some(old) = old {
        let sql = "DELETE FROM enrolled WHERE enrolment = $1 AND machine = $2";
        if tx.execute(sql, &[enrolment.into(), old.into()])? > 0 {
            return count(tx, enrolment, machine.key()).map(|()| true);
        }
    }
    let sql = "SELECT 1 FROM enrolled WHERE enrolment = $1 AND machine = $2";
    if !tx.query(sql, &[enrolment.into(), machine.key().into()])?.is_empty() {
        return Ok(true);
    }
    if let Some(quota) = quota {
        let rows = tx.query("SELECT COUNT(*) FROM enrolled WHERE enrolment = $1", &[enrolment.into()])?;
        if rows.first().map_or(0, |row| row.uint(0)) >= quota {
            return Ok(false);
        }
    }
    count(tx, enrolment, machine.key()).map(|()| true)
}

fn count(tx: &mut Tx<'_>, enrolment: &str, machine: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO enrolled (enrolment, machine) VALUES ($1, $2) ON CONFLICT (enrolment, machine) DO NOTHING";
    tx.execute(sql, &[enrolment.into(), machine.into()]).map(|_| ())
}

fn put(tx: &mut Tx<'_>, source: &str, machine: &Machine, node_key: &KeyHash, now: i64) -> Result<(), DbError> {
    let sql = "INSERT INTO machines (source, key, serial, uuid, hostname, platform, os_version, agent_version, unit, \
               tags, enrolment, node_key, enrolled, last_seen, client_certificate) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14) \
               ON CONFLICT (source, key) DO UPDATE SET serial = excluded.serial, uuid = excluded.uuid, \
               hostname = excluded.hostname, platform = excluded.platform, os_version = excluded.os_version, \
               agent_version = excluded.agent_version, unit = excluded.unit, tags = excluded.tags, \
               enrolment = excluded.enrolment, node_key = excluded.node_key, enrolled = excluded.enrolled, \
               last_seen = excluded.last_seen, client_certificate = excluded.client_certificate";
    let m = machine;
    let values = [
        source.into(),
        m.key().into(),
        m.serial.clone().into(),
        m.uuid.clone().into(),
        m.hostname.clone().into(),
        m.platform.clone().into(),
        m.os_version.clone().into(),
        m.agent_version.clone().into(),
        m.unit.as_str().into(),
        m.tags.join(",").into(),
        m.enrolment.as_str().into(),
        node_key.as_slice().into(),
        now.into(),
        m.client_certificate.into(),
    ];
    tx.execute(sql, &values).map(|_| ())
}

/// The machine that this node key was given to.
pub fn by_node_key(db: &Db, source: &str, node_key: &KeyHash) -> Result<Option<Machine>, DbError> {
    let sql = format!("{OWN_COLUMNS} WHERE node_key = $1 AND source = $2");
    Ok(db.query(&sql, &[node_key.as_slice().into(), source.into()])?.first().map(read_own))
}

/// The same within a transaction.
pub fn by_key_hash(tx: &mut Tx<'_>, source: &str, node_key: &KeyHash) -> Result<Option<Machine>, DbError> {
    let sql = format!("{OWN_COLUMNS} WHERE node_key = $1 AND source = $2");
    Ok(tx.query(&sql, &[node_key.as_slice().into(), source.into()])?.first().map(read_own))
}

/// The machine of this key.
pub fn by_key(db: &Db, source: &str, key: &str) -> Result<Option<Machine>, DbError> {
    let sql = format!("{OWN_COLUMNS} WHERE source = $1 AND key = $2");
    Ok(db.query(&sql, &[source.into(), key.into()])?.first().map(read_own))
}

/// The machine of this key is no more: its node keys open nothing, it counts in no quota, and nothing is known of what it
/// was given or has posted.
pub fn forget(tx: &mut Tx<'_>, key: &str) -> Result<(), DbError> {
    santa::forget(tx, key)?;
    munki::forget(tx, key)?;
    pending::forget(tx, key)?;
    tx.execute("DELETE FROM machines WHERE key = $1", &[key.into()])?;
    tx.execute("DELETE FROM enrolled WHERE machine = $1", &[key.into()])?;
    tx.execute("DELETE FROM heard WHERE machine = $1", &[key.into()]).map(|_| ())
}

/// A machine of one source, and when that heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The source.
    pub source: String,
    /// The machine.
    pub machine: Machine,
    /// When it enrolled, in ms since 1970.
    pub enrolled: i64,
    /// When it was last heard, in ms since 1970.
    pub last_seen: i64,
}

/// All machines that may speak.
pub fn list(db: &Db) -> Result<Vec<Listed>, DbError> {
    let sql = COLUMNS.replace("node_key FROM", "node_key, source, enrolled, last_seen FROM") + " ORDER BY key, source";
    let listed = |row: &Row| Listed {
        source: row.text(10).to_owned(),
        machine: read(row),
        enrolled: row.int(11),
        last_seen: row.int(12),
    };
    Ok(db.query(&sql, &[])?.iter().map(listed).collect())
}

/// Every machine of a source, by key.
pub fn all(db: &Db, source: &str) -> Result<Vec<Machine>, DbError> {
    let sql = format!("{COLUMNS} WHERE source = $1 ORDER BY key");
    Ok(db.query(&sql, &[source.into()])?.iter().map(read).collect())
}

/// When a machine was last heard, and when a line about a kind of its requests was last written (ms since 1970).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The source.
    pub source: String,
    /// The machine key.
    pub machine: String,
    /// The kind of request.
    pub kind: String,
    /// When the line was written.
    pub said: i64,
}

/// Moves `last_seen` of machines (source, machine key, ms since 1970).
pub fn seen(tx: &mut Tx<'_>, machines: &[(String, String, i64)]) -> Result<(), DbError> {
    let sql = "UPDATE machines SET last_seen = $3 WHERE source = $1 AND key = $2 AND last_seen < $3";
    for (source, machine, at) in machines {
        tx.execute(sql, &[source.into(), machine.into(), (*at).into()])?;
    }
    Ok(())
}

/// Writes down which lines about requests were written; what is older than `since` is forgotten.
pub fn said(tx: &mut Tx<'_>, lines: &[Heard], since: i64) -> Result<(), DbError> {
    let sql = "INSERT INTO heard (source, machine, kind, said) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (source, machine, kind) DO UPDATE SET said = excluded.said";
    for h in lines {
        let values = [h.source.as_str().into(), h.machine.as_str().into(), h.kind.as_str().into(), h.said.into()];
        tx.execute(sql, &values)?;
    }
    tx.execute("DELETE FROM heard WHERE said < $1", &[since.into()]).map(|_| ())
}

/// The lines about requests since `since`, at most `limit`.
pub fn said_since(db: &Db, since: i64, limit: u64) -> Result<Vec<Heard>, DbError> {
    let sql = "SELECT source, machine, kind, said FROM heard WHERE said >= $1 ORDER BY said DESC LIMIT $2";
    let heard = |row: &Row| Heard {
        source: row.text(0).to_owned(),
        machine: row.text(1).to_owned(),
        kind: row.text(2).to_owned(),
        said: row.int(3),
    };
    Ok(db.query(sql, &[since.into(), limit.into()])?.iter().map(heard).collect())
}

/// A key that TLS session tickets are sealed with.
#[derive(Clone)]
pub struct TicketKey {
    /// Its name, which tickets carry.
    pub id: [u8; 16],
    /// The key itself.
    pub secret: [u8; 32],
    /// When it was made, in ms since 1970.
    pub made: i64,
}

/// The ticket keys made since `since`, newest first.
pub fn ticket_keys(db: &Db, since: i64) -> Result<Vec<TicketKey>, DbError> {
    let sql = "SELECT id, secret, made FROM ticket_keys WHERE made >= $1 ORDER BY made DESC, id";
    let key = |row: &Row| {
        Some(TicketKey { id: row.blob(0).try_into().ok()?, secret: row.blob(1).try_into().ok()?, made: row.int(2) })
    };
    Ok(db.query(sql, &[since.into()])?.iter().filter_map(key).collect())
}

/// Keeps a new ticket key; those made before `since` are erased.
pub fn add_ticket_key(tx: &mut Tx<'_>, key: &TicketKey, since: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM ticket_keys WHERE made < $1", &[since.into()])?;
    let values = [key.id.as_slice().into(), key.secret.as_slice().into(), key.made.into()];
    tx.execute("INSERT INTO ticket_keys (id, secret, made) VALUES ($1, $2, $3)", &values).map(|_| ())
}

const COLUMNS: &str = "SELECT serial, uuid, hostname, platform, os_version, agent_version, unit, tags, enrolment, \
                       node_key FROM machines";
/// What only the owner of the file asks for: others may find a file of an older version.
const OWN_COLUMNS: &str = "SELECT serial, uuid, hostname, platform, os_version, agent_version, unit, tags, enrolment, \
                           node_key, client_certificate FROM machines";

fn read_own(row: &Row) -> Machine {
    Machine { client_certificate: row.int(10) != 0, ..read(row) }
}

fn read(row: &Row) -> Machine {
    let text = |i| row.opt_text(i).map(str::to_owned);
    Machine {
        serial: text(0),
        uuid: text(1),
        hostname: text(2),
        platform: text(3),
        os_version: text(4),
        agent_version: text(5),
        unit: row.text(6).to_owned(),
        tags: row.text(7).split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect(),
        enrolment: row.text(8).to_owned(),
        client_certificate: false,
    }
}

fn hash(row: &Row) -> KeyHash {
    row.blob(9).try_into().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use super::*;

    /// `serial/uuid/host@unit`, `-` for nothing.
    fn machine(text: &str) -> Machine {
        let (names, unit) = text.split_once('@').unwrap();
        let mut names = names.split('/').map(|n| (n != "-").then(|| n.to_owned()));
        let (serial, uuid, hostname) = (names.next().unwrap(), names.next().unwrap(), names.next().unwrap());
        Machine { serial, uuid, hostname, unit: unit.into(), enrolment: "e".into(), ..Machine::default() }
    }

    struct Hub(Db, u8);

    impl Hub {
        fn enrol(&mut self, text: &str, quota: Option<u64>, always: bool) -> String {
            self.1 += 1;
            let mut tx = self.0.begin().unwrap();
            let done = enrol(&mut tx, "osquery", machine(text), quota, always, &[self.1; 32], 7).unwrap();
            tx.commit().unwrap();
            match done {
                Enrolled::Done { machine, retired: None } => format!("new {}", machine.key()),
                Enrolled::Done { machine, retired: Some(old) } => {
                    assert_eq!(by_node_key(&self.0, "osquery", &old).unwrap(), None, "the old key is worthless");
                    let now = by_node_key(&self.0, "osquery", &[self.1; 32]).unwrap();
                    assert_eq!(now.as_ref(), Some(&machine));
                    assert_eq!(by_node_key(&self.0, "santa", &[self.1; 32]).unwrap(), None);
                    format!("again {}", machine.key())
                }
                Enrolled::UsedUp => "used up".into(),
                Enrolled::Conflict { known, why, .. } => format!("{why} {}", known.key()),
            }
        }
    }

    #[test]
    fn a_machine_is_known_again_and_no_other_is_taken_for_it() {
        let mut hub = Hub(Db::memory(&[SCHEMA]).unwrap(), 0);
        for (claim, want) in [
            ("S1/U1/a@berlin", "new S1"),
            ("S1/u1/b@berlin", "again S1"),
            ("S1/-/b@berlin", "again S1"),
            ("S1/U2/b@berlin", "hardware S1"),
            ("S1/U1/b@paris", "unit S1"),
            ("-/U1/b@berlin", "again S1"), // it has forgotten its serial number
            ("-/-/S1@berlin", "hardware S1"),
            ("S2/U1/c@berlin", "new S2"), // a copied disk image: same UUID, another serial number
            ("-/U3/d@berlin", "new U3"),
            ("S3/U3/d@berlin", "again S3"), // a better key
            ("-/-/e@berlin", "new e"),
            ("-/-/e@berlin", "again e"),
            ("-/-/e@paris", "unit e"),
        ] {
            assert_eq!(hub.enrol(claim, None, false), want, "{claim}");
        }
        assert_eq!(hub.0.query("SELECT 1 FROM machines", &[]).unwrap().len(), 4);
        assert_eq!(hub.enrol("S1/U9/x@paris", None, true), "again S1");
        let mut tx = hub.0.begin().unwrap();
        let found = find(&mut tx, "osquery", &machine("S1/-/-@x")).unwrap().unwrap().0;
        assert_eq!((found.uuid.as_deref(), found.unit.as_str()), (Some("U9"), "paris"), "nothing of the other is kept");
    }

    #[test]
    fn nobody_lifts_the_certificate_of_another() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let mut key = 0;
        let mut enrol = |claim: &str, client_certificate, always| {
            key += 1;
            let mut tx = db.begin().unwrap();
            let claim = Machine { client_certificate, ..machine(claim) };
            let done = enrol(&mut tx, "munki", claim, None, always, &[key; 32], 7).unwrap();
            tx.commit().unwrap();
            match done {
                Enrolled::Done { machine, .. } => {
                    if machine.client_certificate {
                        "certified"
                    } else {
                        "bare"
                    }
                }
                Enrolled::UsedUp => "used up",
                Enrolled::Conflict { known, why, .. } => {
                    assert!(known.client_certificate || why != "certificate");
                    why
                }
            }
        };
        for (claim, certificate, always, want) in [
            ("S1/U1/a@berlin", false, false, "bare"),
            ("S1/U1/a@berlin", true, false, "certified"),
            ("S1/U1/a@berlin", false, false, "certificate"),
            ("S1/-/a@berlin", false, false, "certificate"),
            ("-/U1/a@berlin", false, false, "certificate"),
            ("S1/U2/a@paris", false, false, "certificate"),
            ("S1/U2/a@berlin", true, false, "hardware"),
            ("S1/U1/a@berlin", true, false, "certified"),
            ("S1/U1/a@berlin", false, true, "bare"),
        ] {
            assert_eq!(enrol(claim, certificate, always), want, "{claim} {certificate}");
        }
    }

    #[test]
    fn a_quota_counts_distinct_machines() {
        let mut hub = Hub(Db::memory(&[SCHEMA]).unwrap(), 0);
        for (claim, want) in [
            ("A/-/a@u", "new A"),
            ("A/-/a@u", "again A"),
            ("-/B/b@u", "new B"),
            ("S/B/b@u", "again S"), // the same under a better key
            ("C/-/c@u", "used up"),
            ("A/-/a@u", "again A"),
        ] {
            assert_eq!(hub.enrol(claim, Some(2), false), want, "{claim}");
        }
        assert_eq!(hub.enrol("C/-/c@u", Some(3), false), "new C");
        assert_eq!(hub.enrol("D/-/d@u", Some(0), false), "used up");
    }

    #[test]
    fn what_was_heard_is_kept() {
        let mut hub = Hub(Db::memory(&[SCHEMA]).unwrap(), 0);
        hub.enrol("A/-/a@u", None, false);
        let line = |kind: &str, said| Heard { source: "osquery".into(), machine: "A".into(), kind: kind.into(), said };
        let mut tx = hub.0.begin().unwrap();
        seen(&mut tx, &[("osquery".into(), "A".into(), 99), ("osquery".into(), "B".into(), 99)]).unwrap();
        seen(&mut tx, &[("osquery".into(), "A".into(), 50)]).unwrap();
        said(&mut tx, &[line("log", 10), line("config", 20)], 0).unwrap();
        said(&mut tx, &[line("log", 30)], 20).unwrap();
        let key = |n, made| TicketKey { id: [n; 16], secret: [n; 32], made };
        add_ticket_key(&mut tx, &key(1, 10), 0).unwrap();
        add_ticket_key(&mut tx, &key(2, 20), 0).unwrap();
        tx.commit().unwrap();
        assert_eq!(hub.0.query("SELECT last_seen FROM machines", &[]).unwrap().first().unwrap().int(0), 99);
        assert_eq!(said_since(&hub.0, 20, 9).unwrap(), [line("log", 30), line("config", 20)]);
        let made = |db: &Db, since| ticket_keys(db, since).unwrap().iter().map(|k| k.made).collect::<Vec<_>>();
        assert_eq!((made(&hub.0, 0), made(&hub.0, 11)), (vec![20, 10], vec![20]));
        let mut tx = hub.0.begin().unwrap();
        add_ticket_key(&mut tx, &key(3, 30), 15).unwrap();
        tx.commit().unwrap();
        assert_eq!(made(&hub.0, 0), [30, 20]);
    }
}
