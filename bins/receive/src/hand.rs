//! What people and actions say of machines, in `registry.db`: tags that they give them, machines that are to be forgotten,
//! and rules for Santa. Looked at with each request, so that the next answer an agent gets is another.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use registry::db::{DbError, Home, Version, Watched};
use registry::tags::{self, Tags};
use registry::{changes, made_rules};

use crate::known::Known;
use crate::made::Made;

/// Tags by hand, and rules by actions, as they are now.
pub struct ByHand {
    open: Mutex<Open>,
    tags: RwLock<Arc<Tags>>,
    rules: RwLock<Arc<Made>>,
}

/// The state, which others write, and which may be put back from a backup.
struct Open {
    state: Watched,
    /// As it was last read.
    version: Option<Version>,
    /// How often the rules of actions had become others when they were last read.
    rules: Option<u64>,
}

impl ByHand {
    /// Of this state, which may not be there yet.
    pub fn new(home: &Home) -> Self {
        let open = Open { state: Watched::new(home), version: None, rules: None };
        Self { open: Mutex::new(open), tags: RwLock::default(), rules: RwLock::default() }
    }

    /// Looks whether something was changed, and if so does what it asks for. The keys of the machines that an order was
    /// about come back: what is remembered of them elsewhere holds no longer.
    pub fn look(&self, known: &Known) -> Result<Vec<String>, DbError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { state, version: last, rules: made } = &mut *open;
        let Some((db, version)) = state.look()? else { return Ok(Vec::new()) };
        if *last == Some(version) {
            return Ok(Vec::new());
        }
        if last.is_none_or(|last| last.is_of_another(version)) {
            *made = None;
        }
        let told = Arc::new(tags::all(db)?);
        // There may be thousands, and most of what is written here is about something else.
        let moved = made_rules::moved(db)?;
        if moved.is_none() || moved != *made {
            let rules = Arc::new(Made::read(db)?);
            *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
            *made = moved;
        }
        let before = std::mem::replace(&mut *self.tags.write().unwrap_or_else(PoisonError::into_inner), told.clone());
        known.forget_those(&tags::others(&before, &told));
        let moved = known.obey(changes::last(db)?, |after| changes::orders(db, after))?;
        *last = Some(version);
        Ok(moved)
    }

    /// The rules that actions made.
    pub fn rules(&self) -> Arc<Made> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tags of the machine of this key.
    pub fn tags(&self, key: &str) -> Vec<String> {
        self.tags.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use event::{Machine, Time};
    use registry::db::Schema;
    use registry::pending::{self, Reenrol};
    use registry::{machines, munki, santa};

    use registry::db::Db;

    use super::*;

    const STATE: [Schema; 5] = [machines::SCHEMA, changes::OBEYED, munki::SCHEMA, santa::SCHEMA, pending::SCHEMA];

    #[test]
    fn what_is_said_by_hand_holds_at_once_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let (file, state) = (dir.path().join("registry.db"), dir.path().join("receive.db"));
        let known = || Known::new(Db::open(&state, &STATE).unwrap(), Some(&Home::from(&state))).unwrap();
        let mut hub = (known(), ByHand::new(&Home::from(&file)));
        let enrol = |known: &Known, key: u8| {
            let claim = machines::Machine { serial: Some("C02".into()), unit: "u".into(), ..Default::default() };
            known.enrol("osquery", claim, None, Reenrol::default(), &[key; 32], 1).unwrap();
        };
        let find = |(known, by_hand): &(Known, ByHand), key: u8| {
            registry::db::proof::rest();
            by_hand.look(known).unwrap();
            let block = |m: machines::Machine| Machine { tags: by_hand.tags(m.key()), ..Machine::default() };
            known.by_key("osquery", &[key; 32], block).unwrap().map(|found| found.machine.tags.clone())
        };
        let change = |what: &str| {
            let mut db = Db::open(&file, &[tags::SCHEMA, changes::SCHEMA]).unwrap();
            let mut tx = db.begin().unwrap();
            let machine = Machine { serial_number: Some("C02".into()), ..Machine::default() };
            match what {
                "forget" => changes::say(&mut tx, changes::FORGOTTEN, machine, &().into(), Time::now()).unwrap(),
                tag => assert!(tags::add(&mut tx, "C02", tag, machine, Time::now()).unwrap()),
            }
            tx.commit().unwrap();
        };
        enrol(&hub.0, 1);
        assert_eq!(find(&hub, 1), Some(vec![]), "there is no registry yet");
        change("vip");
        assert_eq!(find(&hub, 1), Some(vec!["vip".to_owned()]));
        change("forget");
        assert_eq!(find(&hub, 1), None);
        enrol(&hub.0, 2);
        assert!(find(&hub, 2).is_some(), "it may come back");
        hub = (known(), ByHand::new(&Home::from(&file)));
        assert!(find(&hub, 2).is_some(), "and is not forgotten again after a restart");
    }

    #[test]
    fn rules_are_read_again_when_they_are_others() {
        let dir = tempfile::tempdir().unwrap();
        let (file, state) = (dir.path().join("registry.db"), dir.path().join("receive.db"));
        let known = Known::new(Db::open(&state, &STATE).unwrap(), Some(&Home::from(&state))).unwrap();
        let by_hand = ByHand::new(&Home::from(&file));
        let made = |until: Option<i64>| made_rules::MadeRule {
            machine: "C02".into(),
            scope: String::new(),
            target: "TEAMID ABCDE12345".into(),
            rule: r#"{"rule_type":"TEAMID","identifier":"ABCDE12345","policy":"BLOCKLIST"}"#.into(),
            action: "block".into(),
            probe: "p".into(),
            incident: "i".into(),
            event: "e".into(),
            at: 1,
            until,
        };
        let machine = Machine { serial_number: Some("C02".into()), ..Machine::default() };
        let now = Time::from_ms(5);
        for (what, again, holds) in [
            ("make", true, true),
            ("tag", false, true),
            ("make", false, true),
            ("renew", true, true),
            ("close", true, false),
            ("close", false, false),
            ("make", true, true),
            ("forget", true, false),
            ("replace", true, false),
        ] {
            if what == "replace" {
                if registry::db::proof::is_on() {
                    // On a server no stage runs while a state is put back.
                    break;
                }
                std::fs::rename(&file, dir.path().join("old.db")).unwrap();
            }
            let mut db = Db::open(&file, &[tags::SCHEMA, changes::SCHEMA, made_rules::SCHEMA]).unwrap();
            let mut tx = db.begin().unwrap();
            match what {
                "make" => drop(made_rules::make(&mut tx, &made(Some(10)), Some(&machine), now).unwrap()),
                "renew" => drop(made_rules::make(&mut tx, &made(Some(20)), Some(&machine), now).unwrap()),
                "close" => drop(made_rules::close(&mut tx, "block", "i", now).unwrap()),
                "forget" => made_rules::forget(&mut tx, "C02").unwrap(),
                _ => drop(tags::add(&mut tx, "C02", "vip", machine.clone(), now).unwrap()),
            }
            tx.commit().unwrap();
            let before = by_hand.rules();
            registry::db::proof::rest();
            by_hand.look(&known).unwrap();
            let rules = by_hand.rules();
            assert_eq!(!Arc::ptr_eq(&before, &rules), again, "{what}");
            assert_eq!(!rules.of(&machine, false, 9).is_empty(), holds, "{what}");
        }
    }
}
