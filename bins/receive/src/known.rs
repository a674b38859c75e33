//! The machines that may speak: `receive.db`, and in front of it the ones that spoke of late, so that a log POST
//! touches no database.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event::Machine;
use registry::changes::{self, Order};
use registry::db::{Db, DbError, Home};
use registry::machines::{self, Enrolled, KeyHash};
use registry::pending::{self, Reenrol};
use registry::santa;

/// Machines remembered in each of the two generations of the cache.
const GENERATION_MAX: usize = 100_000;

/// Machines by node key.
pub struct Known {
    writer: Mutex<Db>,
    /// Looks keys up while an enrolment waits for the disk; none for state that lies in memory.
    reader: Option<Mutex<Db>>,
    cache: Mutex<Cache>,
    /// How often a key was retired: what was looked up before that is not to be remembered after it.
    retired: AtomicU64,
}

/// A machine that may speak.
#[derive(Debug, Default)]
pub struct Speaking {
    /// The machine block of its raw lines.
    pub machine: Machine,
    /// It must show a client certificate.
    pub client_certificate: bool,
    /// The source whose key it has.
    source: &'static str,
}

#[derive(Default)]
struct Cache {
    young: HashMap<KeyHash, Arc<Speaking>>,
    old: HashMap<KeyHash, Arc<Speaking>>,
}

impl Cache {
    fn get(&mut self, key: &KeyHash) -> Option<Arc<Speaking>> {
        if let Some(machine) = self.young.get(key) {
            return Some(machine.clone());
        }
        let machine = self.old.remove(key)?;
        self.put(*key, machine.clone());
        Some(machine)
    }

    fn put(&mut self, key: KeyHash, machine: Arc<Speaking>) {
        if self.young.len() >= GENERATION_MAX {
            // Whoever has not spoken for a whole generation is forgotten; the database still knows it.
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, machine);
    }
}

impl Known {
    /// Over an open state; `home` is where it is, if others can read it there.
    pub fn new(db: Db, home: Option<&Home>) -> Result<Self, DbError> {
        let reader = home.map(Db::open_read_only).transpose()?.flatten().map(Mutex::new);
        Ok(Self { writer: Mutex::new(db), reader, cache: Mutex::default(), retired: AtomicU64::new(0) })
    }

    /// The machine of this key; `block` makes the machine block of its raw lines.
    pub fn by_key(
        &self,
        source: &'static str,
        key: &KeyHash,
        block: impl FnOnce(machines::Machine) -> Machine,
    ) -> Result<Option<Arc<Speaking>>, DbError> {
        if let Some(machine) = self.cache().get(key) {
            // A key is of one source, and to the others it is none.
            return Ok(Some(machine).filter(|machine| machine.source == source));
        }
        let retired = self.retired.load(Ordering::Acquire);
        let reader = self.reader();
        let found = machines::by_node_key(&reader, source, key)?;
        drop(reader);
        let speaking = |found: machines::Machine| Speaking {
            client_certificate: found.client_certificate,
            machine: block(found),
            source,
        };
        let Some(machine) = found.map(|found| Arc::new(speaking(found))) else { return Ok(None) };
        let mut cache = self.cache();
        if self.retired.load(Ordering::Acquire) == retired {
            cache.put(*key, machine.clone());
        }
        Ok(Some(machine))
    }

    /// Takes a machine in, durably; see [`machines::enrol`] and [`pending::decide`].
    pub fn enrol(
        &self,
        source: &str,
        claim: machines::Machine,
        quota: Option<u64>,
        reenrol: Reenrol,
        key: &KeyHash,
        now: i64,
    ) -> Result<Enrolled, DbError> {
        let mut db = lock(&self.writer);
        let mut tx = db.begin()?;
        let done = pending::decide(&mut tx, reenrol, source, &claim, now, |tx, always| {
            machines::enrol(tx, source, claim.clone(), quota, always, key, now)
        })?;
        tx.commit()?;
        drop(db);
        if let Enrolled::Done { retired: Some(old), .. } = &done {
            let mut cache = self.cache();
            self.retired.fetch_add(1, Ordering::AcqRel);
            cache.young.remove(old);
            cache.old.remove(old);
        }
        Ok(done)
    }

    /// Does, durably, what was ordered by hand since the last time; `last` is the number of the last change that there is,
    /// `orders` tells the orders after a number. The keys of the machines that they were about come back.
    pub fn obey(
        &self,
        last: u64,
        orders: impl FnOnce(u64) -> Result<Vec<Order>, DbError>,
    ) -> Result<Vec<String>, DbError> {
        let mut db = lock(&self.writer);
        let mut tx = db.begin()?;
        let done = changes::obeyed(&mut tx)?;
        if done == last {
            return Ok(Vec::new());
        }
        // Of a registry that was put back: what it has was obeyed.
        let orders = if done < last { orders(done)? } else { Vec::new() };
        for Order { n, type_, at, machine, payload } in &orders {
            let said = |key: &str| payload.get(key).and_then(|value| value.as_str()).unwrap_or_default();
            match type_.as_str() {
                changes::FORGOTTEN => machines::forget(&mut tx, machine)?,
                changes::SYNC_ORDERED => santa::order(&mut tx, machine, said("kind"), *n)?,
                changes::APPROVED => pending::approve(&mut tx, said("source"), machine, said("hardware"), *at)?,
                _ => {}
            }
        }
        changes::set_obeyed(&mut tx, last)?;
        tx.commit()?;
        drop(db);
        if orders.iter().any(|order| order.type_ == changes::FORGOTTEN) {
            self.forget();
        }
        Ok(orders.into_iter().map(|order| order.machine).collect())
    }

    /// Forgets what was remembered: units have other tags now.
    pub fn forget(&self) {
        let mut cache = self.cache();
        self.retired.fetch_add(1, Ordering::AcqRel);
        *cache = Cache::default();
    }

    /// Forgets what was remembered of the machines of these keys: they have other tags now.
    pub fn forget_those(&self, machines: &BTreeSet<String>) {
        if machines.is_empty() {
            return;
        }
        let is_other = |known: &Arc<Speaking>| known.machine.key().is_none_or(|key| machines.contains(key));
        let mut cache = self.cache();
        self.retired.fetch_add(1, Ordering::AcqRel);
        cache.young.retain(|_, known| !is_other(known));
        cache.old.retain(|_, known| !is_other(known));
    }

    /// The state, to be looked at.
    pub fn reader(&self) -> MutexGuard<'_, Db> {
        lock(self.reader.as_ref().unwrap_or(&self.writer))
    }

    /// The state, for what is written to it now and then.
    pub fn db(&self) -> MutexGuard<'_, Db> {
        lock(&self.writer)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        lock(&self.cache)
    }
}

/// A panic elsewhere leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use super::*;

    fn claim() -> machines::Machine {
        machines::Machine { serial: Some("S".into()), unit: "u".into(), ..machines::Machine::default() }
    }

    #[test]
    fn a_retired_key_is_forgotten_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receive.db");
        for file in [Some(path.as_path()), None] {
            let db = match file {
                Some(path) => Db::open(path, &[machines::SCHEMA]).unwrap(),
                None => Db::memory(&[machines::SCHEMA]).unwrap(),
            };
            let known = Known::new(db, file.map(Home::from).as_ref()).unwrap();
            let of = |source, n: u8| {
                let block = |m: machines::Machine| Machine { serial_number: m.serial, ..Machine::default() };
                known.by_key(source, &[n; 32], block).unwrap()
            };
            let find = |n: u8| of("osquery", n);
            assert!(find(1).is_none());
            known.enrol("osquery", claim(), None, Reenrol::default(), &[1; 32], 1).unwrap();
            assert_eq!(find(1).unwrap().machine.serial_number.as_deref(), Some("S"));
            assert!(Arc::ptr_eq(&find(1).unwrap(), &find(1).unwrap()), "remembered");
            assert!(of("munki", 1).is_none(), "for its source");
            known.enrol("osquery", claim(), None, Reenrol::default(), &[2; 32], 1).unwrap();
            assert!(find(1).is_none() && find(2).is_some());
            known.forget();
            assert!(find(2).is_some());
        }
    }

    #[test]
    fn those_whose_tags_are_others_are_looked_up_again_and_no_others() {
        let known = Known::new(Db::memory(&[machines::SCHEMA]).unwrap(), None).unwrap();
        let find = |n: u8| {
            let block = |m: machines::Machine| Machine { serial_number: m.serial, ..Machine::default() };
            known.by_key("osquery", &[n; 32], block).unwrap().unwrap()
        };
        for (n, serial) in [(1, "S"), (2, "T")] {
            let claim = machines::Machine { serial: Some(serial.into()), ..claim() };
            known.enrol("osquery", claim, None, Reenrol::default(), &[n; 32], 1).unwrap();
        }
        let before = (find(1), find(2));
        known.forget_those(&["S".to_owned()].into());
        assert!(!Arc::ptr_eq(&before.0, &find(1)) && Arc::ptr_eq(&before.1, &find(2)));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = Cache::default();
        let key = |n: usize| {
            let mut key = [0; 32];
            key.iter_mut().zip(n.to_le_bytes()).for_each(|(k, b)| *k = b);
            key
        };
        for n in 0..GENERATION_MAX * 3 {
            cache.put(key(n), Arc::default());
            assert!(cache.get(&key(0)).is_some(), "who speaks all the time is kept");
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION_MAX);
        assert!(cache.get(&key(1)).is_none());
    }
}
