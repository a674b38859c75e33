//! Tags that queries give, in the state of `normalize`, which decides about them. Looked at now and then, so that the next
//! answer an agent gets is another.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use registry::db::{DbError, Home, Version, Watched};
use registry::results;
use registry::tags::{self, Tags};

/// Time between two looks, in ms: `normalize` commits all the time.
const LOOK_EVERY_MS: i64 = 1000;

/// Those tags as they are now.
pub struct ByQuery {
    open: Mutex<Open>,
    /// Before they were read for the first time nobody is answered without them.
    read: AtomicBool,
    tags: RwLock<Arc<Tags>>,
}

/// The state, which may not be there yet, and which may be put back from a backup.
struct Open {
    state: Watched,
    looked: Option<i64>,
    /// Which it was when they were last read, and how often they had become others.
    moved: Option<(Version, i64)>,
}

impl ByQuery {
    /// In the state of `normalize`.
    pub fn new(home: &Home) -> Self {
        let open = Mutex::new(Open { state: Watched::new(home), looked: None, moved: None });
        Self { open, read: AtomicBool::default(), tags: RwLock::default() }
    }

    /// The machines whose tags are others since the last look.
    pub fn look(&self, now: i64) -> Result<BTreeSet<String>, DbError> {
        let Some(mut open) = self.open() else { return Ok(BTreeSet::new()) };
        let others = self.read(&mut open, now);
        self.read.store(true, Ordering::Release);
        others
    }

    /// None: another request looks, and this one takes what was known so far.
    fn open(&self) -> Option<MutexGuard<'_, Open>> {
        match self.open.try_lock() {
            Ok(open) => Some(open),
            Err(TryLockError::Poisoned(open)) => Some(open.into_inner()),
            Err(TryLockError::WouldBlock) if self.read.load(Ordering::Acquire) => None,
            Err(TryLockError::WouldBlock) => Some(self.open.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn read(&self, open: &mut Open, now: i64) -> Result<BTreeSet<String>, DbError> {
        if open.looked.is_some_and(|looked| (0..LOOK_EVERY_MS).contains(&(now - looked))) {
            return Ok(BTreeSet::new());
        }
        open.looked = Some(now);
        let Some((db, version)) = open.state.look()? else {
            open.moved = None;
            return Ok(BTreeSet::new());
        };
        let moved = results::tags_moved(db)?;
        if open.moved.is_some_and(|(before, n)| n == moved && !before.is_of_another(version)) {
            return Ok(BTreeSet::new());
        }
        // Read after the number: at worst it is read once more.
        let told = Arc::new(results::all_tags(db)?);
        open.moved = Some((version, moved));
        let before = std::mem::replace(&mut *self.tags.write().unwrap_or_else(PoisonError::into_inner), told.clone());
        Ok(tags::others(&before, &told))
    }

    /// The tags that queries give the machine of this key.
    pub fn tags(&self, key: &str) -> Vec<String> {
        self.tags.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use event::Time;
    use registry::inventory;
    use registry::results::When;

    use registry::db::Db;

    use super::*;

    #[test]
    fn tags_are_those_of_now() {
        let dir = tempfile::tempdir().unwrap();
        let tags = ByQuery::new(&(&dir.path().join("state/normalize.db")).into());
        let look = |at: i64| {
            registry::db::proof::rest();
            tags.look(at).unwrap()
        };
        assert!(look(0).is_empty(), "there is no state yet");
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let file = dir.path().join("state/normalize.db");
        let put_of = |machine: &str, at: i64, held: bool| {
            let mut db = Db::open(&file, &[results::SCHEMA, inventory::SCHEMA]).unwrap();
            let mut tx = db.begin().unwrap();
            let at = When { taken: Time::from_ms(at), said: at };
            results::put_tag(&mut tx, machine, "pack/p/q", "vip", at, held).unwrap();
            tx.commit().unwrap();
        };
        let put = |at, held| put_of("C02", at, held);
        put(1, true);
        put_of("C01", 1, true);
        assert!(look(LOOK_EVERY_MS - 1).is_empty(), "looked of late");
        assert_eq!(look(LOOK_EVERY_MS), ["C01".to_owned(), "C02".to_owned()].into());
        assert_eq!((tags.tags("C02"), tags.tags("C03")), (vec!["vip".to_owned()], vec![]));
        put(2, true);
        assert!(look(2 * LOOK_EVERY_MS).is_empty(), "the same again");
        put(3, false);
        let reading = tags.open.lock().unwrap();
        assert!(look(3 * LOOK_EVERY_MS).is_empty(), "nobody waits for another who reads");
        drop(reading);
        assert_eq!(look(3 * LOOK_EVERY_MS), ["C02".to_owned()].into(), "no other machine's are");
        assert!(tags.tags("C02").is_empty());
        if registry::db::proof::is_on() {
            // On a server no stage runs while a state is put back.
            return;
        }
        std::fs::remove_file(&file).unwrap();
        put(4, true);
        assert_eq!(look(4 * LOOK_EVERY_MS), ["C01".to_owned(), "C02".to_owned()].into(), "another file");
    }
}
