//! What people change about a machine, at the command line and in the console. Each change is an event of the machine, and
//! beside it an `audit` event that says who made it, in one transaction.

use event::{Machine, Time};
use serde_json::json;

use crate::db::{DbError, Schema, Tx};
use crate::pending::Pending;
use crate::users::{By, audit};
use crate::{changes, enrolments, made_rules, tags};

/// The tables that all of this needs.
pub const SCHEMAS: [Schema; 4] = [enrolments::SCHEMA, tags::SCHEMA, changes::SCHEMA, made_rules::SCHEMA];

/// A machine, and who changes something about it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The machine key.
    pub key: &'a str,
    /// What is known of it.
    pub machine: &'a Machine,
    /// Who.
    pub by: &'a By,
    /// When.
    pub now: Time,
}

impl Change<'_> {
    /// Gives tags and takes tags away. What it has already, or was not given by hand, is passed over; false: all was.
    pub fn tag(&self, tx: &mut Tx<'_>, add: &[String], remove: &[String]) -> Result<bool, DbError> {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for tag in add {
            if tags::add(tx, self.key, tag, self.machine.clone(), self.now)? {
                added.push(tag);
            }
        }
        for tag in remove {
            if tags::remove(tx, self.key, tag, self.machine.clone(), self.now)? {
                removed.push(tag);
            }
        }
        let done = !(added.is_empty() && removed.is_empty());
        if done {
            let what = json!({"machine": self.key, "added": added, "removed": removed});
            audit(tx, self.by, "machine_tag", what, self.now)?;
        }
        Ok(done)
    }

    /// Orders a clean sync of its Santa; `kind` is the word of the protocol.
    pub fn sync(&self, tx: &mut Tx<'_>, kind: &str) -> Result<(), DbError> {
        changes::say(tx, changes::SYNC_ORDERED, self.machine.clone(), &json!({"kind": kind}), self.now)?;
        audit(tx, self.by, "santa_sync_ordered", json!({"machine": self.key, "kind": kind}), self.now)
    }

    /// Lets what waits enrol as this machine, once.
    pub fn approve(&self, tx: &mut Tx<'_>, one: &Pending) -> Result<(), DbError> {
        let what = json!({"source": one.source, "hardware": one.hardware, "why": one.why});
        changes::say(tx, changes::APPROVED, self.machine.clone(), &what, self.now)?;
        let what = json!({"machine": self.key, "source": one.source, "hardware": one.hardware, "why": one.why});
        audit(tx, self.by, "enrolment_approved", what, self.now)
    }

    /// Forgets it: its tags and the rules that actions made for it go at once, all else where the event about it is read.
    pub fn forget(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        tags::forget(tx, self.key)?;
        made_rules::forget(tx, self.key)?;
        let machine = Machine { tags: Vec::new(), ..self.machine.clone() };
        changes::say(tx, changes::FORGOTTEN, machine, &json!({"key": self.key}), self.now)?;
        audit(tx, self.by, "machine_forgotten", json!({"machine": self.key}), self.now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::db::Db;

    #[test]
    fn each_change_is_told_with_who_made_it() {
        let mut db = Db::memory(&SCHEMAS).unwrap();
        let machine = Machine { serial_number: Some("C02".into()), tags: vec!["vip".into()], ..Machine::default() };
        let by = By { who: "user:ada".into(), ip: Some("192.0.2.7".into()) };
        let now = Time::from_ms(1_760_000_000_000);
        let change = Change { key: "C02", machine: &machine, by: &by, now };
        let one = Pending {
            source: "osquery".into(),
            hardware: "C02/U@rome".into(),
            why: "unit".into(),
            first: now,
            last: now,
            approved: None,
        };
        let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut tx = db.begin().unwrap();
        assert!(change.tag(&mut tx, &words(&["lab", "spare"]), &[]).unwrap());
        assert!(!change.tag(&mut tx, &words(&["lab"]), &words(&["vip"])).unwrap(), "neither is a change");
        assert!(change.tag(&mut tx, &[], &words(&["spare", "vip"])).unwrap());
        change.sync(&mut tx, "CLEAN").unwrap();
        change.approve(&mut tx, &one).unwrap();
        change.forget(&mut tx).unwrap();
        tx.commit().unwrap();
        assert!(tags::all(&db).unwrap().is_empty());
        let lines = changes::since(&db, 0, 99).unwrap();
        let events: Vec<Value> = lines.iter().map(|(_, line)| serde_json::from_slice(line).unwrap()).collect();
        let told: Vec<String> = events
            .iter()
            .map(|e| match e["type"].as_str().unwrap() {
                "audit" => format!("audit {}", e["payload"]["action"].as_str().unwrap()),
                other => other.to_owned(),
            })
            .collect();
        assert_eq!(
            told,
            [
                "machine_tag",
                "machine_tag",
                "audit machine_tag",
                "machine_tag",
                "audit machine_tag",
                "santa_sync_ordered",
                "audit santa_sync_ordered",
                "enrolment_approved",
                "audit enrolment_approved",
                "machine_forgotten",
                "audit machine_forgotten"
            ]
        );
        let audits: Vec<&Value> = events.iter().filter(|e| e["type"] == "audit").map(|e| &e["payload"]).collect();
        assert_eq!(audits[0]["added"], json!(["lab", "spare"]));
        assert_eq!((&audits[1]["added"], &audits[1]["removed"]), (&json!([]), &json!(["spare"])));
        assert!(
            audits.iter().all(|one| one["machine"] == "C02" && one["by"] == "user:ada" && one["ip"] == "192.0.2.7")
        );
        assert!(events[9]["machine"].get("tags").is_none(), "its tags go with it: {}", events[9]);
    }
}
