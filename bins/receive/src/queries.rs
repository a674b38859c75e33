//! Live queries: which of them a machine is to be given, and who was given what. That is written to `receive.db` now and
//! then: after a crash a machine may be asked again, and its answers have the same ids.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event::Machine;
use pipe::config::Whom;
use registry::db::{Db, DbError, Home};
use registry::live::{self, Delivery, Means};
use sources::osquery;

/// Time between two looks at what is asked, in ms.
const LOOK_EVERY_MS: i64 = 1000;
/// A machine that has not answered in this time is given a query once more: the reply may have been lost on its way.
const AGAIN_MS: i64 = 120_000;
/// How long deliveries are remembered, in ms.
const KEPT_MS: i64 = 86_400_000;

/// What is asked, and who was asked.
#[derive(Default)]
pub struct Queries(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the registry was looked at.
    looked: Option<i64>,
    open: Vec<Open>,
    /// By query and machine.
    given: HashMap<String, HashMap<String, Told>>,
    /// What the answers to those that were given mean.
    means: HashMap<String, Means>,
}

struct Open {
    query: live::Query,
    whom: Whom,
}

struct Told {
    at: i64,
    answered: Option<i64>,
    /// It is not in the database yet.
    moved: bool,
}

impl Queries {
    /// What the state remembers.
    pub fn load(&self, db: &Db, now: i64) -> Result<(), DbError> {
        let mut state = self.state();
        for Delivery { query, machine, given, answered } in live::deliveries(db, now - KEPT_MS)? {
            let told = Told { at: given, answered, moved: false };
            state.given.entry(query).or_default().insert(machine, told);
        }
        Ok(())
    }

    /// Whether one of them asks in which groups a machine is.
    pub fn ask_for_groups(&self, registry: &Home, now: i64) -> Result<bool, DbError> {
        let mut state = self.state();
        state.look(registry, now)?;
        Ok(state.open.iter().any(|one| one.whom.asks_for_groups()))
    }

    /// Ids and texts of the queries that this machine is to be given, oldest first; they count as given.
    pub fn due(
        &self,
        registry: &Home,
        machine: &Machine,
        most: usize,
        now: i64,
    ) -> Result<Vec<(String, String)>, DbError> {
        let mut state = self.state();
        state.look(registry, now)?;
        let State { open, given, .. } = &mut *state;
        let key = machine.key().unwrap_or_default();
        let mut due = Vec::new();
        for one in open.iter().filter(|one| one.query.until > now && one.whom.holds(machine)) {
            if due.len() >= most {
                break;
            }
            let told = given.entry(one.query.id.clone()).or_default();
            let waits = match told.get(key) {
                Some(told) => told.answered.is_none() && !(0..AGAIN_MS).contains(&(now - told.at)),
                None => one.query.max.is_none_or(|max| (told.len() as u64) < max),
            };
            if waits {
                told.insert(key.to_owned(), Told { at: now, answered: None, moved: true });
                due.push((one.query.id.clone(), one.query.sql.clone()));
            }
        }
        Ok(due)
    }

    /// Whether a machine of 2017 is to be asked for its inventory before its schedule tells it, which counts as done: once
    /// a day, and again if it does not answer.
    pub fn inventory_due(&self, machine: &Machine, now: i64) -> bool {
        let key = machine.key().unwrap_or_default();
        let mut state = self.state();
        let told = state.given.entry(osquery::INVENTORY.to_owned()).or_default();
        let due = told.get(key).is_none_or(|told| match told.answered {
            Some(_) => !(0..KEPT_MS).contains(&(now - told.at)),
            None => !(0..AGAIN_MS).contains(&(now - told.at)),
        });
        if due {
            told.insert(key.to_owned(), Told { at: now, answered: None, moved: true });
        }
        due
    }

    /// It has answered.
    pub fn inventory_came(&self, machine: &Machine, now: i64) {
        self.answered(osquery::INVENTORY, machine, now);
    }

    /// What the answers to a query mean.
    pub fn means(&self, registry: &Home, query: &str) -> Result<Means, DbError> {
        let mut state = self.state();
        if let Some(means) = state.means.get(query) {
            return Ok(means.clone());
        }
        let means = Db::open_read_only(registry)?.map(|db| live::means(&db, query)).transpose()?.unwrap_or_default();
        if state.given.contains_key(query) {
            state.means.insert(query.to_owned(), means.clone());
        }
        Ok(means)
    }

    /// Notes an answer.
    pub fn answered(&self, query: &str, machine: &Machine, now: i64) {
        let key = machine.key().unwrap_or_default();
        let mut state = self.state();
        let told = state.given.get_mut(query).and_then(|machines| machines.get_mut(key));
        if let Some(told) = told.filter(|told| told.answered.is_none()) {
            (told.answered, told.moved) = (Some(now), true);
        }
    }

    /// Writes down what is new, and forgets what is old.
    pub fn flush(&self, db: &mut Db, now: i64) -> Result<(), DbError> {
        let mut fresh = Vec::new();
        let mut state = self.state();
        for (query, machines) in &mut state.given {
            machines.retain(|_, told| told.at >= now - KEPT_MS);
            for (machine, told) in machines.iter_mut().filter(|(_, told)| told.moved) {
                told.moved = false;
                let (query, machine) = (query.clone(), machine.clone());
                fresh.push(Delivery { query, machine, given: told.at, answered: told.answered });
            }
        }
        state.given.retain(|_, machines| !machines.is_empty());
        let State { given, means, .. } = &mut *state;
        means.retain(|query, _| given.contains_key(query));
        drop(state);
        if fresh.is_empty() {
            return Ok(());
        }
        let mut tx = db.begin()?;
        live::deliver(&mut tx, &fresh, now - KEPT_MS)?;
        tx.commit()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn of(query: live::Query) -> Option<Self> {
        // Of a newer version: nobody is asked who might not be meant.
        let whom = serde_json::from_str(&query.scope).ok()?;
        Some(Self { query, whom })
    }
}

impl State {
    /// Looks what is asked, now and then.
    fn look(&mut self, registry: &Home, now: i64) -> Result<(), DbError> {
        if self.looked.is_none_or(|looked| !(0..LOOK_EVERY_MS).contains(&(now - looked))) {
            self.open = look(registry, now)?;
            self.looked = Some(now);
        }
        Ok(())
    }
}

/// Opened anew each time, so a file that was put back is seen.
fn look(registry: &Home, now: i64) -> Result<Vec<Open>, DbError> {
    let Some(db) = Db::open_read_only(registry)? else { return Ok(Vec::new()) };
    Ok(live::open(&db, now)?.into_iter().filter_map(Open::of).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn machine(serial: &str, platform: &str) -> Machine {
        Machine { serial_number: Some(serial.into()), platform: Some(platform.into()), ..Machine::default() }
    }

    #[test]
    fn the_inventory_is_asked_for_once_a_day() {
        let queries = Queries::default();
        let due = |queries: &Queries, serial, now| queries.inventory_due(&machine(serial, "macos"), now);
        assert!(due(&queries, "a", 0) && due(&queries, "b", 0) && !due(&queries, "a", 1));
        assert!(due(&queries, "a", AGAIN_MS), "it has not answered");
        queries.inventory_came(&machine("a", "macos"), AGAIN_MS + 1);
        let mut state = Db::memory(&[live::DELIVERIES]).unwrap();
        queries.flush(&mut state, AGAIN_MS + 2).unwrap();
        let after = Queries::default();
        after.load(&state, AGAIN_MS + 3).unwrap();
        assert!(!due(&after, "a", 3 * AGAIN_MS), "a restart asks nobody again");
        assert!(due(&after, "b", 3 * AGAIN_MS));
        assert!(due(&after, "a", AGAIN_MS + KEPT_MS) && due(&after, "a", 0), "also after the clock was set back");
    }

    #[test]
    fn each_machine_in_scope_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = Home::from(&dir.path().join("registry.db"));
        let queries = Queries::default();
        let due = |queries: &Queries, serial, platform, most, now| {
            let due = queries.due(&path, &machine(serial, platform), most, now).unwrap();
            due.into_iter().map(|(_, sql)| sql).collect::<Vec<_>>()
        };
        assert!(due(&queries, "a", "linux", 10, 0).is_empty(), "nobody has asked yet");
        let mut db = Db::open(&path, &[live::QUERIES]).unwrap();
        let mut ask = |sql, scope, max| live::ask(&mut db, sql, scope, 1_000_000, max, 1).unwrap();
        let all = ask("all", "{}", None);
        ask("linux", r#"{"platforms":["linux"]}"#, None);
        ask("b only", r#"{"machines":["b"]}"#, None);
        ask("one", "{}", Some(1));
        ask("newer", r#"{"moons":[1]}"#, None);
        let sorted = |queries: &Queries, serial, platform, now| {
            let mut all = due(queries, serial, platform, 10, now);
            all.sort();
            all
        };
        assert_eq!(sorted(&queries, "a", "linux", 500), [""; 0], "not looked again yet");
        assert_eq!(sorted(&queries, "a", "linux", 2000), ["all", "linux", "one"]);
        assert_eq!(sorted(&queries, "a", "linux", 2001), [""; 0]);
        assert_eq!(sorted(&queries, "b", "macos", 2002), ["all", "b only"]);
        queries.answered(&all, &machine("a", "linux"), 3000);
        let mut state = Db::memory(&[live::DELIVERIES]).unwrap();
        queries.flush(&mut state, 4000).unwrap();
        let after = Queries::default();
        after.load(&state, 5000).unwrap();
        assert_eq!(sorted(&after, "a", "linux", 6000), [""; 0], "a restart asks nobody again");
        assert_eq!(sorted(&after, "a", "linux", 2000 + AGAIN_MS), ["linux", "one"], "what was lost is given again");
        assert_eq!(due(&after, "c", "linux", 1, 7000).len(), 1, "no more than are taken");
        assert!(due(&after, "c", "linux", 10, 1_000_001).is_empty(), "it has ended");
    }
}
