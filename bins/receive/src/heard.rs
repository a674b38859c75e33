//! When each machine spoke last. A line about a request is due once per machine, source, kind and 10 minutes; both
//! are written to `receive.db` now and then, so that a restart does not say it all again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use registry::db::{Db, DbError};
use registry::machines;

/// Time between two lines about the same, in ms.
const SAY_EVERY_MS: i64 = 600_000;
/// Machines remembered; only enrolled ones get here, so more than that is a fleet of another size.
const MACHINES_MAX: usize = 500_000;

/// Who spoke.
#[derive(Default)]
pub struct Heard(Mutex<HashMap<&'static str, HashMap<String, Spoke>>>);

#[derive(Default)]
struct Spoke {
    at: i64,
    /// `at` is not in the database yet.
    moved: bool,
    said: Vec<Said>,
}

struct Said {
    kind: Cow<'static, str>,
    at: i64,
    kept: bool,
}

impl Heard {
    /// Notes a request; true if a line about it is due, which counts as said then. Without `room` none is.
    pub fn note(&self, source: &'static str, machine: &str, kind: &'static str, now: i64, room: bool) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let machines = all.entry(source).or_default();
        if machines.len() >= MACHINES_MAX && !machines.contains_key(machine) {
            machines.clear();
        }
        let spoke = match machines.get_mut(machine) {
            Some(spoke) => spoke,
            None => machines.entry(machine.to_owned()).or_default(),
        };
        (spoke.at, spoke.moved) = (now, true);
        if !room {
            return false;
        }
        match spoke.said.iter_mut().find(|said| said.kind == kind) {
            // A clock that was set back must not silence a machine.
            Some(said) if (0..SAY_EVERY_MS).contains(&(now - said.at)) => false,
            Some(said) => {
                (said.at, said.kept) = (now, false);
                true
            }
            None => {
                spoke.said.push(Said { kind: kind.into(), at: now, kept: false });
                true
            }
        }
    }

    /// The line that was due was not taken, so it is due again.
    pub fn unsay(&self, source: &str, machine: &str, kind: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spoke) = all.get_mut(source).and_then(|machines| machines.get_mut(machine)) {
            spoke.said.retain(|said| said.kind != kind);
        }
    }

    /// What the state remembers of the last 10 minutes.
    pub fn load(&self, db: &Db, now: i64) -> Result<(), DbError> {
        let limit = u64::try_from(MACHINES_MAX).unwrap_or(u64::MAX);
        let rows = machines::said_since(db, now - SAY_EVERY_MS, limit)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            let Some(source) = sources::by_name(&row.source) else { continue };
            let spoke = all.entry(source.name()).or_default().entry(row.machine).or_default();
            spoke.said.push(Said { kind: row.kind.into(), at: row.said, kept: true });
        }
        Ok(())
    }

    /// Writes down what is new, and forgets who has been silent.
    pub fn flush(&self, db: &mut Db, now: i64) -> Result<(), DbError> {
        let (mut seen, mut said) = (Vec::new(), Vec::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, machines) in all.iter_mut() {
            for (machine, spoke) in machines.iter_mut() {
                if std::mem::take(&mut spoke.moved) {
                    seen.push(((*source).to_owned(), machine.clone(), spoke.at));
                }
                for line in spoke.said.iter_mut().filter(|line| !line.kept) {
                    line.kept = true;
                    said.push(machines::Heard {
                        source: (*source).to_owned(),
                        machine: machine.clone(),
                        kind: line.kind.clone().into_owned(),
                        said: line.at,
                    });
                }
                spoke.said.retain(|line| now - line.at < SAY_EVERY_MS);
            }
            machines.retain(|_, spoke| now - spoke.at < SAY_EVERY_MS || !spoke.said.is_empty());
        }
        drop(all);
        if seen.is_empty() && said.is_empty() {
            return Ok(());
        }
        let mut tx = db.begin()?;
        machines::seen(&mut tx, &seen)?;
        machines::said(&mut tx, &said, now - SAY_EVERY_MS)?;
        tx.commit()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn said_once_in_ten_minutes_also_over_a_restart() {
        let mut db = Db::memory(&[machines::SCHEMA]).unwrap();
        let heard = Heard::default();
        let say = |heard: &Heard, machine, kind, now| heard.note("osquery", machine, kind, now, true);
        assert!(say(&heard, "a", "log", 1000) && say(&heard, "a", "config", 1000) && say(&heard, "b", "log", 1000));
        assert!(!say(&heard, "a", "log", 1000 + SAY_EVERY_MS - 1));
        assert!(say(&heard, "a", "log", 1000 + SAY_EVERY_MS));
        assert!(!heard.note("osquery", "d", "log", 1000, false), "no room for it");
        assert!(say(&heard, "d", "log", 1001) && !say(&heard, "d", "log", 1002));
        heard.unsay("osquery", "d", "log");
        assert!(say(&heard, "d", "log", 1003), "it was not taken");
        heard.flush(&mut db, 1000 + SAY_EVERY_MS).unwrap();

        let again = Heard::default();
        again.load(&db, 2000 + SAY_EVERY_MS / 2).unwrap();
        assert!(!say(&again, "a", "log", 1001 + SAY_EVERY_MS), "said before the restart");
        assert!(say(&again, "a", "log", 5), "the clock was set back");
        assert!(!say(&again, "b", "log", 1500));
        assert!(say(&again, "c", "log", 1500));
        again.flush(&mut db, 9 * SAY_EVERY_MS).unwrap();
        assert!(again.0.lock().unwrap().get("osquery").unwrap().is_empty(), "who is silent is forgotten");
    }
}
