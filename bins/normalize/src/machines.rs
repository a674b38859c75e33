//! What is known of each machine, learned from its enrolments and its inventory, so that its events carry more than its
//! key. Of the version of the operating system and the host name the younger of the two holds.
//!
//! Tags, and groups that a line says, are not remembered: they change, every line says those of its own time, and a tag
//! that was taken away must not come back.

use std::collections::HashMap;

use event::{Machine, Raw};
use registry::db::{DbError, Schema, Tx};
use registry::{inventory, results};
use sources::MachineFacts;

pub(crate) const SCHEMA: Schema = Schema {
    name: "normalize",
    migrations: &["CREATE TABLE machines (key TEXT PRIMARY KEY, machine TEXT NOT NULL, received BIGINT NOT NULL);"],
};

/// Machines kept in memory; beyond it the cache starts again from the state.
const CACHE_MAX: usize = 20_000;

/// The machines, by key; a cache over the tables.
#[derive(Debug, Default)]
pub(crate) struct Machines(HashMap<String, Option<Known>>);

/// What is known of a machine.
#[derive(Debug, Default, PartialEq)]
struct Known {
    machine: Machine,
    /// Its inventory is younger than its enrolment, from which its lines have what they say.
    inventory: Option<Machine>,
}

impl Machines {
    /// Takes in what a raw line tells of its machine. An older line than the one held changes nothing. True: its events say
    /// something else from now on.
    pub(crate) fn learn(&mut self, tx: &mut Tx<'_>, raw: &Raw, facts: Option<&MachineFacts>) -> Result<bool, DbError> {
        let (Some(facts), Some(key)) = (facts, raw.machine.key().map(str::to_owned)) else { return Ok(false) };
        let mut machine = Machine { tags: Vec::new(), groups: Vec::new(), ..raw.machine.clone() };
        let fill = |have: &mut Option<String>, new: &Option<String>| {
            if let Some(new) = new {
                *have = Some(new.clone());
            }
        };
        fill(&mut machine.hardware_uuid, &facts.hardware_uuid);
        fill(&mut machine.hostname, &facts.hostname);
        fill(&mut machine.platform, &facts.platform);
        fill(&mut machine.os_version, &facts.os_version);
        let text = serde_json::to_string(&machine).map_err(|e| DbError::Other(format!("machine {key}: {e}")))?;
        let sql = "INSERT INTO machines (key, machine, received) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET \
                   machine = excluded.machine, received = excluded.received \
                   WHERE machines.received <= excluded.received";
        let before = Self::load(tx, &key)?;
        tx.execute(sql, &[key.as_str().into(), text.into(), raw.received.ms().into()])?;
        if before == Self::load(tx, &key)? {
            return Ok(false);
        }
        self.0.remove(&key);
        if let (Some(_), Some(old)) = (&machine.serial_number, &machine.hardware_uuid) {
            // It may have been known by this before it told its serial number.
            tx.execute("DELETE FROM machines WHERE key = $1", &[old.into()])?;
            inventory::rename(tx, old, &key)?;
            results::rename(tx, old, &key)?;
            self.0.remove(old);
        }
        Ok(true)
    }

    /// What is known of this machine is another now.
    pub(crate) fn renewed(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Nothing is known of it any more.
    pub(crate) fn forget(&mut self, tx: &mut Tx<'_>, key: &str) -> Result<(), DbError> {
        self.0.remove(key);
        tx.execute("DELETE FROM machines WHERE key = $1", &[key.into()])?;
        results::forget(tx, key)?;
        inventory::forget(tx, key)
    }

    fn load(tx: &mut Tx<'_>, key: &str) -> Result<Option<Known>, DbError> {
        let rows = tx.query("SELECT machine, received FROM machines WHERE key = $1", &[key.into()])?;
        let enrolled = rows.first().map(|row| (serde_json::from_str::<Machine>(row.text(0)).ok(), row.int(1)));
        let whole = inventory::whole(tx, key)?;
        Ok(match (enrolled, whole) {
            (None, None) => None,
            (Some((machine, _)), None) => machine.map(|machine| Known { machine, inventory: None }),
            (None, Some(whole)) => Some(Known { machine: whole.block, inventory: None }),
            (Some((machine, received)), Some(whole)) => {
                let mut machine = machine.unwrap_or_default();
                machine.user = whole.block.user.clone();
                machine.groups = whole.block.groups.clone();
                let younger = whole.learned.ms() >= received;
                Some(Known { inventory: younger.then_some(whole.block), machine })
            }
        })
    }

    /// Fills in what the event's machine block does not say itself.
    pub(crate) fn complete(&mut self, tx: &mut Tx<'_>, machine: &mut Machine) -> Result<(), DbError> {
        let Some(key) = machine.key().map(str::to_owned) else { return Ok(()) };
        if !self.0.contains_key(&key) {
            let known = Self::load(tx, &key)?;
            self.put(key.clone(), known);
        }
        let Some(Some(Known { machine: known, inventory })) = self.0.get(&key) else { return Ok(()) };
        if let Some(younger) = inventory {
            for (have, known) in
                [(&mut machine.hostname, &younger.hostname), (&mut machine.os_version, &younger.os_version)]
            {
                if known.is_some() && !is_key(have.as_ref(), &key) {
                    have.clone_from(known);
                }
            }
        }
        for (have, known) in [
            (&mut machine.serial_number, &known.serial_number),
            (&mut machine.hardware_uuid, &known.hardware_uuid),
            (&mut machine.hostname, &known.hostname),
            (&mut machine.platform, &known.platform),
            (&mut machine.os_version, &known.os_version),
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

    fn put(&mut self, key: String, machine: Option<Known>) {
        if self.0.len() >= CACHE_MAX {
            self.0.clear();
        }
        self.0.insert(key, machine);
    }
}

/// Whether this is what the machine is known by.
fn is_key(name: Option<&String>, key: &str) -> bool {
    name.is_some_and(|name| name == key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
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
            machines.learn(&mut tx, &raw(received, block.clone()), Some(&facts(name))).unwrap();
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
        again.learn(&mut tx, &raw("2026-01-07T08:00:00Z", block), Some(&facts("new"))).unwrap();
        assert_eq!(completed(&mut again, &mut tx).hostname.as_deref(), Some("new"));
    }

    #[test]
    fn what_a_line_says_itself_is_kept_and_others_are_left_alone() {
        let mut db = Db::memory(&[SCHEMA, inventory::SCHEMA, results::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let mut machines = Machines::default();
        let known = raw("2026-01-06T08:00:00Z", json!({"serial_number": "C02", "unit": "berlin"}));
        machines.learn(&mut tx, &known, Some(&facts("mac"))).unwrap();
        machines.learn(&mut tx, &raw("2026-01-06T08:00:00Z", json!({"serial_number": "C03"})), None).unwrap();
        let mut said =
            Machine { serial_number: Some("C02".into()), hostname: Some("lab".into()), ..Machine::default() };
        machines.complete(&mut tx, &mut said).unwrap();
        assert_eq!((said.hostname.as_deref(), said.unit.as_deref()), (Some("lab"), Some("berlin")));
        for key in ["C03", "C04"] {
            let mut other = Machine { serial_number: Some(key.into()), ..Machine::default() };
            let before = other.clone();
            machines.complete(&mut tx, &mut other).unwrap();
            assert_eq!(other, before);
        }
    }
}
