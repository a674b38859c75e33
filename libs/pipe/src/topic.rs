//! A topic on disk: a durable stream of lines in NDJSON segments, one locked writer, any number of readers.
//!
//! `topics/NAME/` holds the segments (`%020d.ndjson`, named by the offset of their first byte, `.ndjson.zst` once sealed
//! and read by all), `head` (where the committed lines end; renamed into place, not fsynced), `first` (where the kept
//! lines begin; durable, written before a segment is deleted) and `lock`. Readers stop at `head`, and `head` never leads
//! what its writer has made durable and, where it has state, recorded.

mod chain;
mod head;
mod maintain;
mod pack;
mod packer;
mod reader;
mod recover;
mod room;
pub(crate) mod segment;
#[doc(hidden)]
pub mod sim;
mod source;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::fs::Fs;

pub use head::Head;
pub use maintain::{Maintained, Policy};
pub use reader::{CHUNK_MAX, Chunk, Start, TopicReader};
pub use room::{Class, Room};
pub use verify::{Difference, Verified, verify};
pub use writer::TopicWriter;

/// A place between two lines of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Bytes of the topic before it, counted from the topic's first line ever.
    pub offset: u64,
    /// Lines of the topic before it.
    pub line: u64,
}

impl Mark {
    /// Where every topic begins.
    pub const START: Self = Self { offset: 0, line: 0 };
}

/// What the writer may keep of what it finds at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A stage with state: exactly the lines up to the mark that its state recorded.
    Recorded(Mark),
    /// A stage whose fsync is its commit: every whole line; a torn last one is cut.
    WholeLines,
}

/// A sealed segment, as its writer's state records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Before its first line.
    pub first: Mark,
    /// After its last line.
    pub end: Mark,
    /// SHA-256 of its lines (uncompressed), hex.
    pub sha256: String,
    /// SHA-256 of the chain before it (32 zero bytes at the topic's start) and `sha256`, both as bytes; hex.
    pub chain: String,
}

/// How a writer cuts its topic into segments, and what its state knows of them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes at which a segment is full.
    pub seal_bytes: u64,
    /// Age in milliseconds at which a segment takes no more lines.
    pub seal_age_ms: i64,
    /// The sealed segments that the state has recorded, in order; records of deleted segments may have gone, the last
    /// one may not: the chain goes on from it.
    pub sealed: Vec<Sealed>,
    /// Compress on a thread beside the one that appends.
    pub pack_beside: bool,
}

/// Bytes at which a segment is full.
pub const SEAL_BYTES: u64 = 64 << 20;
/// Milliseconds after which a segment takes no more lines.
pub const SEAL_AGE_MS: i64 = 3_600_000;

impl Default for Options {
    fn default() -> Self {
        Self { seal_bytes: SEAL_BYTES, seal_age_ms: SEAL_AGE_MS, sealed: Vec::new(), pack_beside: false }
    }
}

/// Bytes that a topic takes on disk; 0 if there is no such folder.
pub fn topic_bytes(fs: &dyn Fs, dir: &Path) -> Result<u64, Error> {
    Ok(segment::list(fs, dir)?.iter().map(|s| s.disk).sum())
}

/// Why a topic could not be used.
#[derive(Debug)]
pub enum Error {
    /// Another writer holds the topic.
    Locked(PathBuf),
    /// A position lies beyond the topic's end. For a reader: `recovered` says whether the topic's writer has put the end
    /// right since the machine started; if not, wait for it. For a writer it is always true.
    Beyond {
        /// The topic.
        dir: PathBuf,
        /// The position, an offset.
        at: u64,
        /// The end, an offset.
        end: u64,
        /// Whether waiting is useless.
        recovered: bool,
    },
    /// The reader's position lies before the first line kept, which is `first`.
    Gone {
        /// The first line kept.
        first: Mark,
    },
    /// The topic has no readable `head` yet; wait for its writer.
    NotReady(PathBuf),
    /// Something at this offset is not as a writer left it (a line too long, a hole, a damaged archive).
    CorruptAt {
        /// The topic.
        dir: PathBuf,
        /// Where, an offset.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// These bytes were not appended: not whole lines, miscounted, or with a NUL byte in them.
    Refused(&'static str),
    /// An earlier fsync failed; what is on disk is unknown and the process must end.
    Poisoned(PathBuf),
    /// The disk said no.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the disk said.
        source: io::Error,
    },
}

impl Error {
    fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), what, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(dir) => write!(f, "topic {} has another writer, and a topic has one", dir.display()),
            Self::Beyond { dir, at, end, recovered } => {
                write!(f, "position {at} lies beyond the end {end} of topic {}", dir.display())?;
                f.write_str(if *recovered { "" } else { ", whose writer has not recovered yet" })
            }
            Self::Gone { first } => write!(f, "the first line kept is line {} at {}", first.line, first.offset),
            Self::NotReady(dir) => write!(f, "topic {} has no readable head yet", dir.display()),
            Self::CorruptAt { dir, offset, what } => write!(f, "topic {} at {offset}: {what}", dir.display()),
            Self::Refused(what) => write!(f, "lines not appended: {what}"),
            Self::Poisoned(dir) => write!(f, "topic {} is unusable after a failed fsync", dir.display()),
            Self::Io { path, what, source } => write!(f, "cannot {what} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
