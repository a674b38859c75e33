//! `kind = "embedded"`: the index in this process, for one host and about 5,000 events a second.

use std::path::PathBuf;
use std::time::Duration;

use event::Time;
use pipe::StageError;
use pipe::config::{Config, Settings};

use super::{Kind, Reading, Store};
use crate::index::{Gone, Index, IndexError, Verdict};
use crate::search::{Finder, Search};

/// This kind.
pub const KIND: Kind = Kind { name: "embedded", open };

/// Where its index lies unless `path` says otherwise.
pub fn default_dir(config: &Config) -> PathBuf {
    config.data.join("index")
}

fn open(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Store>> {
    let dir = settings.path("path").unwrap_or_else(|| default_dir(reading.config));
    Some(Box::new(Embedded(Index::new(dir, reading.keep))))
}

struct Embedded(Index);

impl Store for Embedded {
    fn store(&mut self, lines: &[&[u8]], now: Time) -> Result<Vec<Verdict>, StageError> {
        self.0.store(lines, now).map_err(fail)
    }

    fn forget(&mut self, gone: &[Gone]) -> Result<(), StageError> {
        self.0.forget(gone).map_err(fail)
    }

    fn tidy(&mut self, now: Time) -> Result<(), StageError> {
        for day in self.0.expire(now).map_err(fail)? {
            tracing::info!("deleted the index of {day}, it is past retention");
        }
        Ok(())
    }

    fn keep(&mut self, keep: Duration) {
        self.0.keep(keep);
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        Some(Box::new(Search::new(self.0.dir())))
    }
}

/// A disk that is full has room again some time, so the stage is started again and again; a lock is another's.
fn fail(error: IndexError) -> StageError {
    match error {
        IndexError::Locked(_) => StageError::state(error.to_string()),
        IndexError::Io(..) => StageError::unreachable(error.to_string()),
    }
}
