//! The one writer of a topic: append, make durable, tell the readers.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::fs::{File, Fs, Guard, Mode};

use super::chain::{self, Hash};
use super::head::{self, Head};
use super::packer::Packer;
use super::recover::recover;
use super::segment::{self, Segment, count_lines};
use super::{Error, Kept, Mark, Options, Sealed};

/// The largest offset and line number: what a database's BIGINT holds.
const END_MAX: u64 = i64::MAX as u64;

/// Appends lines to a topic. Holds its lock.
///
/// A commit is: [`append`](Self::append), [`sync`](Self::sync), the owner's transaction with the synced mark and the
/// [`sealed`](Self::sealed) segments, [`publish`](Self::publish). Without state the transaction falls away.
pub struct TopicWriter {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) id: String,
    seal_bytes: u64,
    pub(super) seal_age_ms: i64,
    /// Sealed segments kept, oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// The segment that takes lines; none until the first append after a seal.
    pub(super) open: Option<Open>,
    pub(super) first: Mark,
    pub(super) end: Mark,
    pub(super) synced: Mark,
    pub(super) published: Mark,
    chain: Hash,
    /// Sealed and not yet told.
    fresh: Vec<Sealed>,
    /// Up to here sealed segments have been told; and up to here the owner has recorded them, for it has published since.
    told: u64,
    pub(super) recorded: u64,
    dir_dirty: bool,
    poisoned: bool,
    pub(super) packing: Option<Packer>,
    pub(super) pack_beside: bool,
    pub(super) pack_from_ms: i64,
    _lock: Guard,
}

/// The segment that takes lines.
pub(super) struct Open {
    pub file: Box<dyn File>,
    pub first: Mark,
    pub len: u64,
    pub hash: Sha256,
    /// When its first line came, and its last; ms since 1970.
    pub since_ms: i64,
    pub last_ms: i64,
}

impl TopicWriter {
    /// Takes the topic's lock and puts right what a crash left. `Locked` if another writer has it; `Beyond` if less is on
    /// disk than was recorded (or, without state, than readers were told).
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, kept: Kept, options: Options) -> Result<Self, Error> {
        fs.create_dir(dir).map_err(Error::io(dir, "make"))?;
        let path = dir.join(head::LOCK);
        let lock = fs.lock(&path).map_err(Error::io(&path, "lock"))?;
        let lock = lock.ok_or_else(|| Error::Locked(dir.to_path_buf()))?;
        let found = recover(fs.as_ref(), dir, kept, &options.sealed)?;
        let told = options.sealed.last().map_or(0, |s| s.end.offset);
        let writer = Self {
            id: fresh_id(fs.as_ref()),
            dir: dir.to_path_buf(),
            seal_bytes: options.seal_bytes.max(1),
            seal_age_ms: options.seal_age_ms,
            segments: found.segments,
            open: found.open,
            first: found.first,
            end: found.end,
            synced: found.end,
            published: found.end,
            chain: found.chain,
            fresh: found.fresh,
            told,
            recorded: told,
            dir_dirty: false,
            poisoned: false,
            packing: None,
            pack_beside: options.pack_beside,
            pack_from_ms: i64::MIN,
            _lock: lock,
            fs,
        };
        writer.write_head()?;
        head::save_recovered(writer.fs.as_ref(), &writer.dir, &writer.id)?;
        Ok(writer)
    }

    /// Appends `count` whole lines, not durable before [`sync`](Self::sync). Seals the open segment first if it is too
    /// old or these lines would overfill it; they span segments only if they are longer than one. On an error nothing
    /// was appended, unless a later call says `Poisoned`.
    pub fn append(&mut self, lines: &[u8], count: u64) -> Result<(), Error> {
        self.check_usable()?;
        if lines.is_empty() && count == 0 {
            return Ok(());
        }
        if lines.last() != Some(&b'\n') || count_lines(lines) != count {
            return Err(Error::Refused("not that many whole lines"));
        }
        if memchr::memchr(0, lines).is_some() {
            return Err(Error::Refused("a NUL byte"));
        }
        // Only a folder that no writer left (a segment named by an absurd offset) gets there.
        let room = [(self.end.offset, lines.len() as u64), (self.end.line, count)];
        if room.iter().any(|(end, more)| end.checked_add(*more).is_none_or(|end| end > END_MAX)) {
            return Err(Error::Refused("offsets have come to their end"));
        }
        let now = self.fs.now_ms();
        if let Some(open) = self.open.as_ref().filter(|o| o.len > 0) {
            let full = open.len.saturating_add(lines.len() as u64) > self.seal_bytes;
            if full || now.saturating_sub(open.since_ms) >= self.seal_age_ms {
                self.seal()?;
            }
        }
        let mut rest = lines;
        loop {
            let (piece, later) = cut_piece(rest, self.seal_bytes);
            let lines_in = if later.is_empty() && rest.len() == lines.len() { count } else { count_lines(piece) };
            if let Err(e) = self.write(piece, lines_in, now) {
                // Earlier pieces are written and sealed: this append can no longer not have happened.
                self.poisoned |= rest.len() != lines.len();
                return Err(e);
            }
            if later.is_empty() {
                return Ok(());
            }
            self.seal()?;
            rest = later;
        }
    }

    fn write(&mut self, piece: &[u8], count: u64, now: i64) -> Result<(), Error> {
        self.begin_segment(now)?;
        let Some(open) = &mut self.open else { return Ok(()) };
        let path = segment::path(&self.dir, open.first.offset, false);
        if open.len == 0 {
            open.since_ms = now;
        }
        if let Err(e) = open.file.write_at(piece, open.len) {
            // A full disk writes half of it. Take that back, or the next append would stand before the rest of it; durably,
            // or whole lines in it would come back after a power cut although they were refused.
            self.poisoned = open.file.set_len(open.len).and_then(|()| open.file.sync()).is_err();
            return Err(Error::io(&path, "write")(e));
        }
        open.last_ms = now;
        open.len += piece.len() as u64;
        open.hash.update(piece);
        self.end.offset += piece.len() as u64;
        self.end.line += count;
        Ok(())
    }

    /// Makes sure that there is an open segment.
    pub(super) fn begin_segment(&mut self, now: i64) -> Result<(), Error> {
        if self.open.is_none() {
            let path = segment::path(&self.dir, self.end.offset, false);
            let file = self.fs.open(&path, Mode::Fresh).map_err(Error::io(&path, "make"))?;
            self.dir_dirty = true;
            self.open = Some(Open { file, first: self.end, len: 0, hash: Sha256::new(), since_ms: now, last_ms: now });
        }
        Ok(())
    }

    /// Makes all that was appended durable; returns where it ends. After a failure the writer is unusable.
    pub fn sync(&mut self) -> Result<Mark, Error> {
        self.check_usable()?;
        let done = self.sync_files();
        self.poisoned |= done.is_err(); // the kernel may have dropped the dirty pages: trying again would lie
        done
    }

    fn sync_files(&mut self) -> Result<Mark, Error> {
        if self.synced != self.end
            && let Some(open) = &self.open
        {
            let path = segment::path(&self.dir, open.first.offset, false);
            open.file.sync().map_err(Error::io(&path, "sync"))?;
        }
        if self.dir_dirty {
            self.fs.sync_dir(&self.dir).map_err(Error::io(&self.dir, "sync"))?;
            self.dir_dirty = false;
        }
        self.synced = self.end;
        Ok(self.synced)
    }

    /// Tells the readers of the lines up to the last [`sync`](Self::sync). Only to be called when the owner has recorded
    /// that mark and the [`sealed`](Self::sealed) segments told so far.
    pub fn publish(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        if self.published != self.synced {
            let before = std::mem::replace(&mut self.published, self.synced);
            self.write_head().inspect_err(|_| self.published = before)?;
        }
        self.recorded = self.told;
        Ok(())
    }

    /// The segments sealed since the last call, to be recorded in the owner's state before the next
    /// [`publish`](Self::publish). [`maintain`](Self::maintain) leaves a segment alone until then.
    pub fn sealed(&mut self) -> Vec<Sealed> {
        let fresh = std::mem::take(&mut self.fresh);
        self.told = fresh.last().map_or(self.told, |s| s.end.offset);
        fresh
    }

    /// Closes the open segment: durable first, because recovery trusts every segment but the newest.
    pub(super) fn seal(&mut self) -> Result<(), Error> {
        self.sync()?;
        if let Some(open) = self.open.take() {
            let sealed = chain::seal(&mut self.chain, open.first, self.end, open.hash);
            self.fresh.push(sealed);
            self.segments.push_back(Segment {
                first: open.first,
                end: self.end,
                packed: false,
                disk: open.len,
                last_ms: open.last_ms,
            });
        }
        Ok(())
    }

    pub(super) fn write_head(&self) -> Result<(), Error> {
        let head = Head { end: self.published, first: self.first, writer: self.id.clone() };
        head.publish(self.fs.as_ref(), &self.dir)
    }

    pub(super) fn check_usable(&self) -> Result<(), Error> {
        if self.poisoned { Err(Error::Poisoned(self.dir.clone())) } else { Ok(()) }
    }

    /// After the last line appended.
    pub fn end(&self) -> Mark {
        self.end
    }

    /// After the last line that is durable.
    pub fn synced(&self) -> Mark {
        self.synced
    }

    /// Before the first line kept.
    pub fn first(&self) -> Mark {
        self.first
    }

    /// Bytes that the topic's segments take on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.disk).sum::<u64>() + self.open.as_ref().map_or(0, |o| o.len)
    }
}

/// As many whole lines as fit into a segment (at least one), and the rest.
fn cut_piece(lines: &[u8], seal_bytes: u64) -> (&[u8], &[u8]) {
    let fit = usize::try_from(seal_bytes).unwrap_or(usize::MAX);
    let Some(front) = lines.get(..fit).filter(|front| front.len() < lines.len()) else { return (lines, &[]) };
    let last = memchr::memrchr(b'\n', front).or_else(|| memchr::memchr(b'\n', lines));
    lines.split_at(last.map_or(lines.len(), |i| i + 1))
}

/// A name for this start of the writer, different each time.
fn fresh_id(fs: &dyn Fs) -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one((std::process::id(), fs.now_ms()));
    format!("{:016x}{:016x}", random(), random())
}
