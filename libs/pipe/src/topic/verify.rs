//! Checks a topic's sealed segments against the chain in its writer's state.

use std::path::Path;

use sha2::Digest;

use crate::fs::Fs;

use super::chain::{self, Hash, hex, unhex};
use super::segment::{list, scan};
use super::{Error, Mark, Sealed, head};

/// What was found sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records whose place in the chain is right.
    pub records: u64,
    /// Segments still kept whose lines have the recorded hash.
    pub segments: u64,
    /// Bytes of their lines.
    pub bytes: u64,
}

/// The first difference between the records and the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where the segment begins.
    pub first: Mark,
    /// What is not as recorded.
    pub what: &'static str,
}

/// Recomputes the hashes of the kept segments and the chain of all records, which are in order. Segments without a record
/// are not looked at. The chain of the first record can only be checked if it is the topic's first.
pub fn verify(fs: &dyn Fs, dir: &Path, sealed: &[Sealed]) -> Result<Result<Verified, Difference>, Error> {
    let files = list(fs, dir)?;
    let first_kept = head::load_first(fs, dir)?.map_or(0, |m| m.offset);
    let mut good = Verified::default();
    let mut before: Option<(Mark, Hash)> = Some((Mark::START, chain::START));
    for (i, record) in sealed.iter().enumerate() {
        let differs = |what| Ok(Err(Difference { first: record.first, what }));
        let (Some(sha256), Some(link)) = (unhex(&record.sha256), unhex(&record.chain)) else {
            return differs("the record is no hash");
        };
        if i == 0 && record.first.offset > 0 {
            before = None;
        }
        if let Some((end, previous)) = before {
            if end != record.first {
                return differs("the record does not begin where the one before ends");
            }
            if chain::link(&previous, &sha256) != link {
                return differs("the chain is broken");
            }
        }
        before = Some((record.end, link));
        good.records += 1;
        if record.first.offset < first_kept {
            continue;
        }
        if !files.iter().any(|f| f.first == record.first.offset) {
            return differs("the segment is missing");
        }
        let (from, to) = (record.first.offset, record.end.offset);
        let read = match scan(fs, dir, from, from, u64::MAX, true) {
            Err(Error::CorruptAt { what, .. }) => return differs(what),
            other => other?,
        };
        if read.len != to - from {
            return differs("the segment has another length");
        }
        if read.lines != record.end.line - record.first.line {
            return differs("the segment has another number of lines");
        }
        let hash: Hash = read.hash.finalize().into();
        if hex(&hash) != record.sha256 {
            return differs("the segment has another hash");
        }
        good.segments += 1;
        good.bytes += read.len;
    }
    Ok(Ok(good))
}
