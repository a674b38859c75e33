//! Tags that queries give, in the state of `normalize`, which decides about them. Looked at now and then, so that the next
//! answer an agent gets is another.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use registry::db::{Db, DbError};
use registry::results;
use registry::tags::Tags;

/// Time between two looks, in ms: `normalize` commits all the time.
const LOOK_EVERY_MS: i64 = 1000;

/// Those tags as they are now.
pub struct ByQuery {
    file: PathBuf,
    open: Mutex<Open>,
    tags: RwLock<Arc<Tags>>,
}

/// The file, which may not be there yet, and which may be put back from a backup.
#[derive(Default)]
struct Open {
    db: Option<(Db, u64)>,
    looked: Option<i64>,
    moved: Option<i64>,
}

impl ByQuery {
    /// In the state of this folder.
    pub fn new(data: &Path) -> Self {
        let file = data.join("state").join("normalize.db");
        Self { file, open: Mutex::default(), tags: RwLock::default() }
    }

    /// Looks whether tags are others. True: they are.
    pub fn look(&self, now: i64) -> Result<bool, DbError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.looked.is_some_and(|looked| (0..LOOK_EVERY_MS).contains(&(now - looked))) {
            return Ok(false);
        }
        open.looked = Some(now);
        let inode = std::fs::metadata(&self.file).map(|file| file.ino()).ok();
        if open.db.as_ref().map(|(_, inode)| *inode) != inode {
            open.moved = None;
            open.db = match inode {
                Some(inode) => Db::open_read_only(&self.file)?.map(|db| (db, inode)),
                None => None,
            };
        }
        let Some((db, _)) = &open.db else { return Ok(false) };
        let moved = results::tags_moved(db)?;
        if open.moved == Some(moved) {
            return Ok(false);
        }
        // Read after the number: at worst it is read once more.
        let told = Arc::new(results::all_tags(db)?);
        open.moved = Some(moved);
        let before = std::mem::replace(&mut *self.tags.write().unwrap_or_else(PoisonError::into_inner), told.clone());
        Ok(before != told)
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

    use super::*;

    #[test]
    fn tags_are_those_of_now() {
        let dir = tempfile::tempdir().unwrap();
        let tags = ByQuery::new(dir.path());
        assert!(!tags.look(0).unwrap(), "there is no state yet");
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let file = dir.path().join("state/normalize.db");
        let put = |at: i64, held: bool| {
            let mut db = Db::open(&file, &[results::SCHEMA, inventory::SCHEMA]).unwrap();
            let mut tx = db.begin().unwrap();
            let at = When { taken: Time::from_ms(at), said: at };
            results::put_tag(&mut tx, "C02", "pack/p/q", "vip", at, held).unwrap();
            tx.commit().unwrap();
        };
        put(1, true);
        assert!(!tags.look(LOOK_EVERY_MS - 1).unwrap(), "looked of late");
        assert!(tags.look(LOOK_EVERY_MS).unwrap());
        assert_eq!((tags.tags("C02"), tags.tags("C03")), (vec!["vip".to_owned()], vec![]));
        put(2, true);
        assert!(!tags.look(2 * LOOK_EVERY_MS).unwrap(), "the same again");
        put(3, false);
        assert!(tags.look(3 * LOOK_EVERY_MS).unwrap() && tags.tags("C02").is_empty());
        std::fs::remove_file(&file).unwrap();
        put(4, true);
        assert!(tags.look(4 * LOOK_EVERY_MS).unwrap(), "another file");
    }
}
