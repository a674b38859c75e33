//! The days of an index, opened for reading as they are needed, in the writer's process or in any other.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tantivy::{IndexReader, ReloadPolicy, Searcher, TantivyError};

use crate::index::day::{self, Day};
use crate::index::schema::{self, Fields};

/// Days held open; each costs its mapped files.
const DAYS_OPEN: usize = 64;

/// Blocks of lines that a day keeps unpacked: at least the one being read.
const BLOCKS_KEPT: usize = 4;

/// The days below one folder.
pub struct Days {
    dir: PathBuf,
    /// Most recently used last.
    open: Mutex<Vec<Opened>>,
}

#[derive(Clone)]
struct Opened {
    day: Day,
    stamp: Stamp,
    reader: IndexReader,
    fields: Fields,
}

/// What tells one commit from the next: each writes a new `meta.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    seconds: i64,
    nanos: i64,
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let meta = std::fs::metadata(path.join("meta.json"))?;
        Ok(Self { inode: meta.ino(), seconds: meta.mtime(), nanos: meta.mtime_nsec() })
    }
}

impl Days {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), open: Mutex::default() }
    }

    /// Newest first.
    pub fn list(&self) -> std::io::Result<Vec<Day>> {
        day::list(&self.dir)
    }

    /// The day as of its last commit; `None` if it has been deleted or nothing has been committed.
    pub fn get(&self, day: Day) -> tantivy::Result<Option<(Searcher, Fields)>> {
        let path = day.path(&self.dir);
        // Taken before the reader looks, so that a commit in between is seen next time.
        let Ok(stamp) = Stamp::of(&path) else {
            self.forget(day);
            return without_meta(&path);
        };
        let known = self.with(|open| open.iter().find(|o| o.day == day).cloned());
        let opened = match known {
            Some(known) if known.stamp == stamp => known,
            Some(mut known) => match known.reader.reload() {
                Ok(()) => {
                    known.stamp = stamp;
                    known
                }
                // The folder may be another one by now.
                Err(_) => open(&path, day, stamp)?,
            },
            None => open(&path, day, stamp)?,
        };
        let answer = (opened.reader.searcher(), opened.fields);
        self.with(|open| {
            open.retain(|o| o.day != day);
            if open.len() >= DAYS_OPEN {
                open.remove(0);
            }
            open.push(opened);
        });
        Ok(Some(answer))
    }

    fn forget(&self, day: Day) {
        self.with(|open| open.retain(|o| o.day != day));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Opened>) -> T) -> T {
        // A panic while it was held leaves a list that is as good as before.
        work(&mut self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn open(path: &Path, day: Day, stamp: Stamp) -> tantivy::Result<Opened> {
    let index = tantivy::Index::open_in_dir(path)?;
    schema::register(&index);
    let fields =
        Fields::of(&index.schema()).ok_or_else(|| TantivyError::SchemaError("written by another version".into()))?;
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .doc_store_cache_num_blocks(BLOCKS_KEPT)
        .try_into()?;
    Ok(Opened { day, stamp, reader, fields })
}

/// A day that is being made has no `meta.json` yet; one that has events but none is damaged.
fn without_meta(path: &Path) -> tantivy::Result<Option<(Searcher, Fields)>> {
    let Ok(files) = std::fs::read_dir(path) else { return Ok(None) };
    match files.flatten().any(|f| f.path().extension().is_some_and(|e| e == "store")) {
        true if !path.join("meta.json").exists() => Err(TantivyError::SystemError("meta.json is missing".into())),
        _ => Ok(None),
    }
}
