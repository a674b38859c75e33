//! What is known of each machine, told by its sources when it enrols and in their inventories, so that its events carry more
//! than its key. Who is believed is a matter of the one order that all of the inventory has ([`merge`]); of what one source
//! told, the youngest holds.
//!
//! Tags, and groups that a line says, are not remembered: they change, every line says those of its own time, and a tag
//! that was taken away must not come back.

use std::collections::{BTreeMap, HashMap};

use event::inventory::{Snapshot, Told, merge};
use event::{Machine, Raw, Time};
use registry::db::{DbError, Schema, Tx};
use registry::{inventory, results};
use sources::MachineFacts;

pub(crate) const SCHEMA: Schema = Schema {
    name: "normalize",
    migrations: &[
        "CREATE TABLE machines (key TEXT PRIMARY KEY, machine TEXT NOT NULL, received BIGINT NOT NULL);",
        // Who told what was known until then is not known: it comes after all others.
        "CREATE TABLE told (key TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, taken BIGINT NOT NULL,
            machine TEXT NOT NULL, PRIMARY KEY (key, source));
         INSERT INTO told (key, source, kind, taken, machine) SELECT key, '', '', received, machine FROM machines;
         DROP TABLE machines;",
    ],
};

/// Machines kept in memory in each of two generations.
const GENERATION_MAX: usize = 20_000;

/// The machines, by key; a cache over the tables.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    young: HashMap<String, Option<Machine>>,
    old: HashMap<String, Option<Machine>>,
}

/// What a line has made of what is known of its machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Its events say something else from now on.
    pub another: bool,
    /// The key under which it was known before it told a better one.
    pub renamed: Option<String>,
}

impl Machines {
    /// Takes in what a raw line tells of its machine; `kind` is that of its source.
    pub(crate) fn learn(
        &mut self,
        tx: &mut Tx<'_>,
        raw: &Raw,
        kind: &str,
        facts: Option<&MachineFacts>,
    ) -> Result<Learned, DbError> {
        let (Some(facts), Some(key)) = (facts, raw.machine.key().map(str::to_owned)) else {
            return Ok(Learned::default());
        };
        let mut machine = raw.machine.clone();
        let fill = |have: &mut Option<String>, new: &Option<String>| {
            if let Some(new) = new {
                *have = Some(new.clone());
            }
        };
        fill(&mut machine.hardware_uuid, &facts.hardware_uuid);
        fill(&mut machine.hostname, &facts.hostname);
        fill(&mut machine.platform, &facts.platform);
        fill(&mut machine.os_version, &facts.os_version);
        self.know(tx, &key)?;
        tell(tx, &key, (&raw.source, kind), raw.received, &machine)?;
        let another = self.renewed(tx, &key)?;
        match (&machine.serial_number, &machine.hardware_uuid) {
            // It may have been known by this before it told its serial number.
            (Some(_), Some(old)) if another && rename(tx, old, &key)? => {
                self.leave(old);
                self.leave(&key);
                Ok(Learned { another, renamed: Some(old.clone()) })
            }
            _ => Ok(Learned { another, renamed: None }),
        }
    }

    /// What is known of this machine, before something is told of it.
    pub(crate) fn know(&mut self, tx: &mut Tx<'_>, key: &str) -> Result<Option<&Machine>, DbError> {
        if !self.young.contains_key(key) {
            let known = match self.old.remove(key) {
                Some(known) => known,
                None => Self::load(tx, key)?,
            };
            self.put(key.to_owned(), known);
        }
        Ok(self.young.get(key).and_then(Option::as_ref))
    }

    /// Something was told of this machine, which [`Machines::know`] was asked for before. True: its events say something else
    /// from now on.
    pub(crate) fn renewed(&mut self, tx: &mut Tx<'_>, key: &str) -> Result<bool, DbError> {
        let known = Self::load(tx, key)?;
        let another = self.young.get(key) != Some(&known);
        self.leave(key);
        self.put(key.to_owned(), known);
        Ok(another)
    }

    fn leave(&mut self, key: &str) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Nothing is known of it any more.
    pub(crate) fn forget(&mut self, tx: &mut Tx<'_>, key: &str) -> Result<(), DbError> {
        self.leave(key);
        tx.execute("DELETE FROM told WHERE key = $1", &[key.into()])?;
        results::forget(tx, key)?;
        inventory::forget(tx, key)
    }

    fn load(tx: &mut Tx<'_>, key: &str) -> Result<Option<Machine>, DbError> {
        let rows = tx.query("SELECT source, kind, taken, machine FROM told WHERE key = $1", &[key.into()])?;
        let all = rows.iter().filter_map(|row| {
            let machine = serde_json::from_str(row.text(3)).ok()?;
            let (source, taken) = (row.text(0).to_owned(), Time::from_ms(row.int(2)));
            Some((row.text(1), Snapshot { source, taken, machine, parts: BTreeMap::new() }))
        });
        let all: Vec<_> = all.collect();
        let told: Vec<Told<'_>> =
            all.iter().map(|(kind, snapshot)| Told { kind, seen: snapshot.taken, snapshot }).collect();
        let whole = inventory::whole(tx, key)?.map(|whole| whole.block);
        if told.is_empty() {
            return Ok(whole);
        }
        let (user, groups) = whole.map(|whole| (whole.user, whole.groups)).unwrap_or_default();
        Ok(Some(Machine { user, groups, ..merge(&told).machine }))
    }

    /// Fills in what the event's machine block does not say itself. What its sources call a machine may differ; all events of
    /// it say the one that is believed.
    pub(crate) fn complete(&mut self, tx: &mut Tx<'_>, machine: &mut Machine) -> Result<(), DbError> {
        let Some(key) = machine.key().map(str::to_owned) else { return Ok(()) };
        let Some(known) = self.know(tx, &key)? else { return Ok(()) };
        for (have, known) in [(&mut machine.hostname, &known.hostname), (&mut machine.os_version, &known.os_version)] {
            if known.is_some() && !is_key(have.as_ref(), &key) {
                have.clone_from(known);
            }
        }
        for (have, known) in [
            (&mut machine.serial_number, &known.serial_number),
            (&mut machine.hardware_uuid, &known.hardware_uuid),
            (&mut machine.platform, &known.platform),
            (&mut machine.unit, &known.unit),
            (&mut machine.user, &known.user),
        ] {
            if have.is_none() {
                have.clone_from(known);
            }
        }
        let more: Vec<String> = known.groups.iter().filter(|g| !machine.groups.contains(g)).cloned().collect();
        machine.groups.extend(more);
        Ok(())
    }

    fn put(&mut self, key: String, machine: Option<Machine>) {
        if self.young.len() >= GENERATION_MAX {
            // Of whom nothing was heard for a whole generation is read from the state again.
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, machine);
    }
}

/// A source (its name and its kind) told this of a machine, as it was when that was `taken`. What was told later is held
/// against it; where it says nothing, what was known stays.
pub(crate) fn tell(
    tx: &mut Tx<'_>,
    key: &str,
    (source, kind): (&str, &str),
    taken: Time,
    machine: &Machine,
) -> Result<(), DbError> {
    let rows =
        tx.query("SELECT taken, machine FROM told WHERE key = $1 AND source = $2", &[key.into(), source.into()])?;
    let before = rows.first().map(|row| (row.int(0), serde_json::from_str(row.text(1)).unwrap_or_default()));
    let (before, older): (Machine, _) = match before {
        Some((before, known)) => (known, before > taken.ms()),
        None => (Machine::default(), false),
    };
    let (first, then) = if older { (&before, machine) } else { (machine, &before) };
    let or = |of: fn(&Machine) -> &Option<String>| of(first).clone().or_else(|| of(then).clone());
    let machine = Machine {
        serial_number: or(|m| &m.serial_number),
        hardware_uuid: or(|m| &m.hardware_uuid),
        hostname: or(|m| &m.hostname),
        platform: or(|m| &m.platform),
        os_version: or(|m| &m.os_version),
        unit: or(|m| &m.unit),
        ..Machine::default()
    };
    let text = serde_json::to_string(&machine).map_err(|e| DbError::Other(format!("machine {key}: {e}")))?;
    let sql = "INSERT INTO told (key, source, kind, taken, machine) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (key, source) DO UPDATE SET kind = excluded.kind, machine = excluded.machine, \
               taken = CASE WHEN told.taken < excluded.taken THEN excluded.taken ELSE told.taken END";
    tx.execute(sql, &[key.into(), source.into(), kind.into(), taken.ms().into(), text.into()]).map(|_| ())
}

/// What was known under the old key is known under the new one. False: there was nothing.
fn rename(tx: &mut Tx<'_>, old: &str, key: &str) -> Result<bool, DbError> {
    let sql = "UPDATE told SET key = $2 WHERE key = $1 AND NOT EXISTS \
               (SELECT 1 FROM told AS other WHERE other.key = $2 AND other.source = told.source)";
    let moved = tx.execute(sql, &[old.into(), key.into()])?;
    let left = tx.execute("DELETE FROM told WHERE key = $1", &[old.into()])?;
    if moved == 0 && left == 0 && !inventory::is_seen(tx, old)? {
        return Ok(false);
    }
    inventory::rename(tx, old, key)?;
    results::rename(tx, old, key)?;
    Ok(true)
}

/// Whether this is what the machine is known by.
fn is_key(name: Option<&String>, key: &str) -> bool {
    name.is_some_and(|name| name == key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use registry::db::Db;
    use serde_json::json;

    fn raw(received: &str, machine: serde_json::Value) -> Raw {
        let line = json!({"v": 1, "id": "x", "source": "osquery", "kind": "enroll", "received": received,
            "machine": machine, "body": {}});
        Raw::parse(line.to_string().as_bytes()).unwrap()
    }

    fn facts(hostname: &str) -> MachineFacts {
        MachineFacts { hostname: Some(hostname.into()), os_version: Some("15.2".into()), ..MachineFacts::default() }
    }

    /// What a line that says no more than the serial number and one tag becomes.
    fn completed(machines: &mut Machines, tx: &mut Tx<'_>) -> Machine {
        let mut machine = Machine { serial_number: Some("C02".into()), tags: vec!["own".into()], ..Machine::default() };
        machines.complete(tx, &mut machine).unwrap();
        machine
    }

    #[test]
    fn the_newest_enrolment_counts_and_survives_a_restart() {
        let mut db = Db::memory(&[SCHEMA, inventory::SCHEMA, results::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let mut machines = Machines::default();
        let block = json!({"serial_number": "C02", "unit": "berlin", "tags": ["old"], "groups": ["g"]});
        assert_eq!(completed(&mut machines, &mut tx).hostname, None, "nobody knows it yet");
        for (received, name) in [("2026-01-06T08:00:00Z", "mac"), ("2026-01-05T08:00:00Z", "older")] {
            machines.learn(&mut tx, &raw(received, block.clone()), "osquery", Some(&facts(name))).unwrap();
        }
        let want = Machine {
            serial_number: Some("C02".into()),
            unit: Some("berlin".into()),
            hostname: Some("mac".into()),
            os_version: Some("15.2".into()),
            tags: vec!["own".into()],
            ..Machine::default()
        };
        assert_eq!(completed(&mut machines, &mut tx), want, "tags and groups are those of the line");
        tx.commit().unwrap();
        let mut tx = db.begin().unwrap();
        let mut again = Machines::default();
        assert_eq!(completed(&mut again, &mut tx), want, "from the state");
        again.learn(&mut tx, &raw("2026-01-07T08:00:00Z", block), "osquery", Some(&facts("new"))).unwrap();
        assert_eq!(completed(&mut again, &mut tx).hostname.as_deref(), Some("new"));
    }

    #[test]
    fn a_machine_has_one_name_whatever_a_line_calls_it_and_others_are_left_alone() {
        let mut db = Db::memory(&[SCHEMA, inventory::SCHEMA, results::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let mut machines = Machines::default();
        let known = raw("2026-01-06T08:00:00Z", json!({"serial_number": "C02", "unit": "berlin"}));
        machines.learn(&mut tx, &known, "osquery", Some(&facts("mac"))).unwrap();
        machines
            .learn(&mut tx, &raw("2026-01-06T08:00:00Z", json!({"serial_number": "C03"})), "osquery", None)
            .unwrap();
        let mut said =
            Machine { serial_number: Some("C02".into()), hostname: Some("lab".into()), ..Machine::default() };
        machines.complete(&mut tx, &mut said).unwrap();
        assert_eq!((said.hostname.as_deref(), said.unit.as_deref()), (Some("mac"), Some("berlin")));
        for key in ["C03", "C04"] {
            let mut other = Machine { serial_number: Some(key.into()), ..Machine::default() };
            let before = other.clone();
            machines.complete(&mut tx, &mut other).unwrap();
            assert_eq!(other, before);
        }
    }

    /// osquery is believed before Santa (docs/inventory.md), however often Santa says its own.
    #[test]
    fn sources_that_call_a_machine_by_other_names_do_not_overwrite_each_other() {
        let mut db = Db::memory(&[SCHEMA, inventory::SCHEMA, results::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let mut machines = Machines::default();
        let mut say = |tx: &mut Tx<'_>, at: &str, source: &str, name: &str, os: Option<&str>| {
            let raw = Raw { source: source.into(), ..raw(at, json!({"serial_number": "C02"})) };
            let facts = MachineFacts { os_version: os.map(Into::into), ..facts(name) };
            let new = machines.learn(tx, &raw, source, Some(&facts)).unwrap().another;
            let known = completed(&mut machines, tx);
            (known.hostname.unwrap(), known.os_version, new)
        };
        let mac = |os: &str, new| ("mac.local".to_owned(), Some(os.to_owned()), new);
        assert_eq!(
            say(&mut tx, "2026-01-06T08:00:00Z", "santa", "Ada", Some("15.1")),
            ("Ada".into(), Some("15.1".into()), true)
        );
        assert_eq!(say(&mut tx, "2026-01-06T08:00:00Z", "osquery", "mac.local", None), mac("15.1", true));
        assert_eq!(say(&mut tx, "2026-01-06T08:10:00Z", "santa", "Ada", Some("15.2")), mac("15.2", true));
        assert_eq!(say(&mut tx, "2026-01-06T08:20:00Z", "santa", "Ada", Some("15.2")), mac("15.2", false));
        assert_eq!(
            say(&mut tx, "2026-01-06T07:00:00Z", "osquery", "before", Some("14")),
            mac("14", true),
            "older, but told"
        );
        // What an agent said when it enrolled does not hide for ever what is said today.
        let late = say(&mut tx, "2026-01-14T08:00:00Z", "santa", "Ada", Some("15.3"));
        assert_eq!(late, ("Ada".into(), Some("15.3".into()), true));
    }

    #[test]
    fn what_was_told_under_the_uuid_is_known_under_the_serial_number_and_said_once() {
        let mut db = Db::memory(&[SCHEMA, inventory::SCHEMA, results::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let mut machines = Machines::default();
        let uuid = "4C4C4544-0031-4A10-8052-B5C04F4E3132";
        let by_uuid = raw("2026-01-06T08:00:00Z", json!({"hardware_uuid": uuid, "unit": "berlin"}));
        machines.learn(&mut tx, &by_uuid, "osquery", Some(&facts("mac"))).unwrap();
        let santa = |machines: &mut Machines, tx: &mut Tx<'_>| {
            let raw = raw("2026-01-06T08:10:00Z", json!({"serial_number": "C02", "hardware_uuid": uuid}));
            let raw = Raw { source: "santa".into(), ..raw };
            let new = machines.learn(tx, &raw, "santa", Some(&facts("Ada"))).unwrap();
            assert_eq!(new.renamed.as_deref(), new.another.then_some(uuid));
            (new.another, completed(machines, tx))
        };
        let (new, known) = santa(&mut machines, &mut tx);
        assert_eq!((new, known.hostname.as_deref(), known.unit.as_deref()), (true, Some("mac"), Some("berlin")));
        assert!(!santa(&mut machines, &mut tx).0, "the same again");
        assert!(!santa(&mut Machines::default(), &mut tx).0, "also after a restart");
        let mut old = Machine { hardware_uuid: Some(uuid.into()), ..Machine::default() };
        machines.complete(&mut tx, &mut old).unwrap();
        assert_eq!(old.hostname, None);
    }

    #[test]
    fn whoever_was_not_heard_of_for_long_is_no_other_for_that() {
        let mut db = Db::memory(&[SCHEMA, inventory::SCHEMA, results::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let mut machines = Machines::default();
        let uuid = "4C4C4544-0031-4A10-8052-B5C04F4E3132";
        let enrol = raw("2026-01-06T08:00:00Z", json!({"serial_number": "C02", "hardware_uuid": uuid}));
        let again = |machines: &mut Machines, tx: &mut Tx<'_>| {
            machines.learn(tx, &enrol, "osquery", Some(&facts("mac"))).unwrap().another
        };
        assert!(again(&mut machines, &mut tx));
        for n in 0..3 * GENERATION_MAX {
            machines.put(n.to_string(), None);
        }
        assert!(machines.young.len() <= GENERATION_MAX && machines.old.len() <= GENERATION_MAX);
        assert!(!machines.young.contains_key("C02") && !machines.old.contains_key("C02"));
        assert!(!again(&mut machines, &mut tx), "it says what it said");
        for n in 0..GENERATION_MAX {
            machines.put(n.to_string(), None);
        }
        assert!(machines.old.contains_key("C02") && !again(&mut machines, &mut tx));
    }

    #[test]
    fn what_was_known_before_who_told_it_was_kept_comes_last() {
        let first = Schema { name: SCHEMA.name, migrations: &SCHEMA.migrations[..1] };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("normalize.db");
        let mut db = Db::open(&path, &[first, inventory::SCHEMA, results::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let sql = "INSERT INTO machines (key, machine, received) VALUES ('C02', $1, 1767686400000)";
        tx.execute(sql, &[r#"{"serial_number":"C02","hostname":"old","unit":"berlin"}"#.into()]).unwrap();
        tx.commit().unwrap();
        drop(db);
        let mut db = Db::open(&path, &[SCHEMA, inventory::SCHEMA, results::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let mut machines = Machines::default();
        assert_eq!(completed(&mut machines, &mut tx).hostname.as_deref(), Some("old"));
        let raw = raw("2026-01-06T08:00:00Z", json!({"serial_number": "C02"}));
        machines.learn(&mut tx, &raw, "santa", Some(&facts("mac"))).unwrap();
        let known = completed(&mut machines, &mut tx);
        assert_eq!((known.hostname.as_deref(), known.unit.as_deref()), (Some("mac"), Some("berlin")));
    }
}
