//! A state that somebody else writes.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use super::home::Kind;
use super::{Db, DbError, Home};

/// A server is asked no more often than this whether somebody wrote; a file always.
pub(super) const ASKED_EVERY: Duration = Duration::from_millis(20);

/// Another's state to look at, which may come later, and may be put back from a backup.
#[derive(Debug)]
pub struct Watched {
    home: Home,
    open: Option<(Db, u64)>,
    asked: Option<(Instant, Version)>,
}

/// Another one whenever somebody wrote, or put another state in the place of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(u64, i64);

impl Version {
    /// Whether another file came between the two.
    pub fn is_of_another(self, later: Self) -> bool {
        self.0 != later.0
    }
}

impl Watched {
    /// Of this state; nothing is opened yet.
    pub fn new(home: impl Into<Home>) -> Self {
        Self { home: home.into(), open: None, asked: None }
    }

    /// Where it is.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The state as it is now, and which it is; none while it is not there.
    pub fn look(&mut self) -> Result<Option<(&Db, Version)>, DbError> {
        let stamp = self.stamp();
        if self.open.as_ref().map(|(_, stamp)| *stamp) != stamp {
            self.asked = None;
            self.open = match stamp {
                Some(stamp) => Db::open_read_only(&self.home)?.map(|db| (db, stamp)),
                None => None,
            };
        }
        let version = match (&self.open, self.asked) {
            (None, _) => return Ok(None),
            (_, Some((at, version))) if self.home.file().is_none() && at.elapsed() < ASKED_EVERY => Ok(version),
            (Some((db, stamp)), _) => db.version().map(|n| Version(*stamp, n)),
        };
        match version {
            Ok(version) => {
                let at =
                    self.asked.filter(|(at, _)| at.elapsed() < ASKED_EVERY).map_or_else(Instant::now, |(at, _)| at);
                self.asked = Some((at, version));
                Ok(self.open.as_ref().map(|(db, _)| (db, version)))
            }
            Err(why) => {
                (self.open, self.asked) = (None, None);
                Err(why)
            }
        }
    }

    /// Which file it is. A schema that was put back begins with a number of its own.
    fn stamp(&self) -> Option<u64> {
        match &self.home.kind {
            Kind::File(path) => std::fs::metadata(path).map(|file| file.ino()).ok(),
            Kind::Schema(..) => Some(0),
        }
    }
}
