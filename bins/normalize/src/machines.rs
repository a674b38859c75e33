//! What is known of each machine, learned from its enrolments, so that its events carry more than its key.

use std::collections::HashMap;

use event::{Machine, Raw};
use registry::db::{DbError, Schema, Tx};
use sources::MachineFacts;

pub(crate) const SCHEMA: Schema = Schema {
    name: "normalize",
    migrations: &["CREATE TABLE machines (key TEXT PRIMARY KEY, machine TEXT NOT NULL, received BIGINT NOT NULL);"],
};

/// Machines kept in memory; beyond it the cache starts again from the state.
const CACHE_MAX: usize = 20_000;

/// The machines, by key; a cache over the table.
#[derive(Debug, Default)]
pub(crate) struct Machines(HashMap<String, Option<Machine>>);

impl Machines {
    /// Takes in what a raw line tells of its machine. An older line than the one held changes nothing.
    pub(crate) fn learn(&mut self, tx: &mut Tx<'_>, raw: &Raw, facts: Option<&MachineFacts>) -> Result<(), DbError> {
        let (Some(facts), Some(key)) = (facts, raw.machine.key().map(str::to_owned)) else { return Ok(()) };
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
        let text = serde_json::to_string(&machine).map_err(|e| DbError::Other(format!("machine {key}: {e}")))?;
        let sql = "INSERT INTO machines (key, machine, received) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET \
                   machine = excluded.machine, received = excluded.received \
                   WHERE machines.received <= excluded.received";
        if tx.execute(sql, &[key.as_str().into(), text.into(), raw.received.ms().into()])? > 0 {
            self.put(key, Some(machine));
        }
        Ok(())
    }

    /// Fills in what the event's machine block does not say itself.
    pub(crate) fn complete(&mut self, tx: &mut Tx<'_>, machine: &mut Machine) -> Result<(), DbError> {
        let Some(key) = machine.key().map(str::to_owned) else { return Ok(()) };
        if !self.0.contains_key(&key) {
            let rows = tx.query("SELECT machine FROM machines WHERE key = $1", &[key.as_str().into()])?;
            let known = rows.first().and_then(|r| serde_json::from_str(r.text(0)).ok());
            self.put(key.clone(), known);
        }
        let Some(Some(known)) = self.0.get(&key) else { return Ok(()) };
        for (have, known) in [
            (&mut machine.serial_number, &known.serial_number),
            (&mut machine.hardware_uuid, &known.hardware_uuid),
            (&mut machine.hostname, &known.hostname),
            (&mut machine.platform, &known.platform),
            (&mut machine.os_version, &known.os_version),
            (&mut machine.unit, &known.unit),
        ] {
            if have.is_none() {
                have.clone_from(known);
            }
        }
        for tag in &known.tags {
            if !machine.tags.contains(tag) {
                machine.tags.push(tag.clone());
            }
        }
        Ok(())
    }

    fn put(&mut self, key: String, machine: Option<Machine>) {
        if self.0.len() >= CACHE_MAX {
            self.0.clear();
        }
        self.0.insert(key, machine);
    }
}
