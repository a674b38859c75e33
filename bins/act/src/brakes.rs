//! Brakes: how many machines an action may change within an hour, which it never touches, and what people muted.

use pipe::StageError;
use registry::db::{DbError, Tx};
use std::collections::BTreeMap;

use crate::conditions::short;

/// Machines are counted over this time, in ms.
const HOUR_MS: i64 = 3_600_000;

/// What holds actions and probes back, as the state says.
#[derive(Debug, Default)]
pub struct Brakes {
    /// Actions whose lane stands still, and why.
    stopped: BTreeMap<String, String>,
    /// From when to when an action or probe is muted, in ms since 1970.
    mutes: BTreeMap<String, (i64, i64)>,
}

impl Brakes {
    /// As the last process left them.
    pub fn load(tx: &mut Tx<'_>) -> Result<Self, DbError> {
        let stopped = tx.query("SELECT action, why FROM stopped", &[])?;
        let mutes = tx.query("SELECT name, since, until FROM mutes", &[])?;
        Ok(Self {
            stopped: stopped.iter().map(|row| (row.text(0).to_owned(), row.text(1).to_owned())).collect(),
            mutes: mutes.iter().map(|row| (row.text(0).to_owned(), (row.int(1), row.int(2)))).collect(),
        })
    }

    /// Whether the lane of an action stands still.
    pub fn is_stopped(&self, action: &str) -> bool {
        self.stopped.contains_key(action)
    }

    /// Until when an action or probe is muted for what was received then.
    pub fn muted(&self, name: &str, received: i64) -> Option<i64> {
        self.mutes.get(name).filter(|(since, until)| (*since..*until).contains(&received)).map(|(_, until)| *until)
    }

    /// Counts a machine (or a match that is about none, or many) that is about to be changed. `false`: it would be one too
    /// many, and the lane stands still from now on.
    pub fn admit(
        &mut self,
        action: &str,
        max: u64,
        machine: &str,
        now: i64,
        tx: &mut Tx<'_>,
    ) -> Result<bool, StageError> {
        let (machine, since) = (&short(machine), now.saturating_sub(HOUR_MS));
        tx.execute("DELETE FROM changed_machines WHERE action = $1 AND at <= $2", &[action.into(), since.into()])?;
        let sql = "SELECT COUNT(*) FROM changed_machines WHERE action = $1 AND machine <> $2";
        let others = tx.query(sql, &[action.into(), machine.as_str().into()])?.first().map_or(0, |row| row.uint(0));
        if others >= max {
            let why = format!("{max} machines within an hour");
            let sql = "INSERT INTO stopped (action, since, why) VALUES ($1, $2, $3) ON CONFLICT (action) DO NOTHING";
            tx.execute(sql, &[action.into(), now.into(), why.as_str().into()])?;
            self.stopped.insert(action.to_owned(), why);
            return Ok(false);
        }
        let sql = "INSERT INTO changed_machines (action, machine, at) VALUES ($1, $2, $3) \
                   ON CONFLICT (action, machine) DO UPDATE SET at = excluded.at";
        tx.execute(sql, &[action.into(), machine.as_str().into(), now.into()])?;
        Ok(true)
    }

    /// Lets the lane of an action go on, with a fresh count, and ends its mute. `false`: nothing held it.
    pub fn resume(&mut self, name: &str, tx: &mut Tx<'_>) -> Result<bool, DbError> {
        tx.execute("DELETE FROM stopped WHERE action = $1", &[name.into()])?;
        tx.execute("DELETE FROM changed_machines WHERE action = $1", &[name.into()])?;
        tx.execute("DELETE FROM mutes WHERE name = $1", &[name.into()])?;
        let stopped = self.stopped.remove(name).is_some();
        Ok(self.mutes.remove(name).is_some() || stopped)
    }

    /// Lets the lane of an action go on; what was counted stays.
    pub fn resume_one(&mut self, action: &str, tx: &mut Tx<'_>) -> Result<(), DbError> {
        tx.execute("DELETE FROM stopped WHERE action = $1", &[action.into()])?;
        self.stopped.remove(action);
        Ok(())
    }

    /// Mutes an action or probe from now on.
    pub fn mute(&mut self, name: &str, now: i64, until: i64, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let sql = "INSERT INTO mutes (name, since, until) VALUES ($1, $2, $3) \
                   ON CONFLICT (name) DO UPDATE SET since = excluded.since, until = excluded.until";
        tx.execute(sql, &[name.into(), now.into(), until.into()])?;
        self.mutes.insert(name.to_owned(), (now, until));
        Ok(())
    }

    /// Forgets mutes that ended before.
    pub fn forget(&mut self, tx: &mut Tx<'_>, before: i64) -> Result<(), DbError> {
        tx.execute("DELETE FROM mutes WHERE until < $1", &[before.into()])?;
        self.mutes.retain(|_, (_, until)| *until >= before);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use registry::db::Db;

    use super::*;

    #[test]
    fn so_many_machines_an_hour() {
        let mut db = Db::memory(&[crate::ledger::SCHEMA]).unwrap();
        let tx = &mut db.begin().unwrap();
        let mut brakes = Brakes::load(tx).unwrap();
        let mut admit = |brakes: &mut Brakes, n: u32, now| brakes.admit("a", 2, &format!("C{n}"), now, tx).unwrap();
        assert!(admit(&mut brakes, 1, 0) && admit(&mut brakes, 2, 10));
        assert!(admit(&mut brakes, 1, 20), "the same machine again is no further one");
        assert!(admit(&mut brakes, 3, 10 + HOUR_MS), "an hour later the first is over");
        assert!(!brakes.is_stopped("a"));
        assert!(!admit(&mut brakes, 4, 11 + HOUR_MS) && brakes.is_stopped("a"));
        assert!(Brakes::load(tx).unwrap().is_stopped("a"), "it outlives the process");
        assert!(brakes.resume("a", tx).unwrap() && !brakes.resume("a", tx).unwrap());
        assert!(brakes.admit("a", 2, "C4", 12 + HOUR_MS, tx).unwrap());
        brakes.mute("a", 100, 200, tx).unwrap();
        let muted = Brakes::load(tx).unwrap();
        assert_eq!([99, 100, 199, 200].map(|at| muted.muted("a", at).is_some()), [false, true, true, false]);
    }
}
