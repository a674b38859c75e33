//! Upkeep of a topic: sealing what rests, deleting what is read and old, compressing what is read.

use std::io::ErrorKind;

use super::head;
use super::pack::{self, Packing};
use super::packer::{Packer, Step};
use super::segment;
use super::{Error, TopicWriter};

/// Segments deleted in one call at most: a removal of 64 MiB takes milliseconds.
pub const DELETIONS_MAX: usize = 16;

/// Milliseconds until compression is tried again after it failed.
pub const PACK_PAUSE_MS: i64 = 60_000;

/// What a topic may keep, and the room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Segments that every stage has read go when their last line is older than this (ms) …
    pub keep_age_ms: i64,
    /// … or when the topic takes more than these bytes on disk.
    pub keep_size: u64,
    /// Bytes at which writers are stopped.
    pub limit: u64,
    /// Bytes of free space below which `keep` gives way.
    pub reserve: u64,
    /// Bytes free now ([`crate::fs::Fs::free_space`]).
    pub free_space: u64,
    /// Milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// What one round of upkeep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    /// The open segment was sealed.
    pub sealed: bool,
    /// Segments deleted.
    pub deleted: u64,
    /// Bytes on disk that they took.
    pub freed: u64,
    /// The first offset of the segment whose compression was finished.
    pub compressed: Option<u64>,
    /// Compression goes on: call again soon rather than at the next turn.
    pub more: bool,
    /// Bytes that the topic takes now.
    pub bytes: u64,
}

impl TopicWriter {
    /// One bounded round of upkeep, to be called between commits: at most [`DELETIONS_MAX`] deletions and one step of
    /// compression (`pack::STEP_BYTES` of lines, some 20 ms; a segment takes several calls), unless a thread beside does it.
    ///
    /// `claims` are the offsets up to which the configured readers have read and committed; none means nobody holds
    /// anything. A segment is touched only if every claim has passed it, it is published, and [`sealed`](Self::sealed)
    /// told it before the last [`publish`](Self::publish). The newest segment is never touched; it is sealed (and an
    /// empty one begun) when it is too old, or when it is read and the room it takes is wanted. Compression that fails
    /// is no error; it is tried again after [`PACK_PAUSE_MS`].
    pub fn maintain(&mut self, claims: &[u64], policy: &Policy) -> Result<Maintained, Error> {
        self.check_usable()?;
        let read = claims.iter().copied().min().unwrap_or(u64::MAX).min(self.published.offset);
        let mut done = Maintained { sealed: self.seal_resting(read, policy)?, ..Maintained::default() };
        let free_to_go = read.min(self.recorded);
        self.delete_old(free_to_go, policy, &mut done)?;
        if policy.now_ms >= self.pack_from_ms
            && let Err(e) = self.pack_step(free_to_go, &mut done)
        {
            // Mostly there is no room. Nothing is lost by waiting, and the topic works as well uncompressed.
            tracing::warn!("topic {} is not compressed: {e}", self.dir.display());
            self.pack_from_ms = policy.now_ms.saturating_add(PACK_PAUSE_MS);
            self.abandon_packing();
            done.more = false;
        }
        done.bytes = self.bytes();
        Ok(done)
    }

    /// Waits until nobody compresses any more; the next round takes what came of it. For tests.
    #[doc(hidden)]
    pub fn wait_for_packing(&self) {
        while self.packing.as_ref().is_some_and(Packer::is_under_way_beside) {
            std::thread::yield_now();
        }
    }

    fn seal_resting(&mut self, read: u64, policy: &Policy) -> Result<bool, Error> {
        let Some(open) = self.open.as_ref().filter(|o| o.len > 0) else { return Ok(false) };
        if self.synced != self.end || self.published != self.end {
            return Ok(false); // between an append and its commit
        }
        let old = policy.now_ms.saturating_sub(open.since_ms) >= self.seal_age_ms;
        let wanted = self.bytes() >= policy.limit || policy.free_space < policy.reserve;
        if !(old || wanted && read >= self.end.offset) {
            return Ok(false);
        }
        self.seal()?;
        // The newest segment's name tells where the topic ends: there must be one before the others may go.
        self.begin_segment(policy.now_ms)?;
        self.sync()?;
        Ok(true)
    }

    fn delete_old(&mut self, free_to_go: u64, policy: &Policy, done: &mut Maintained) -> Result<(), Error> {
        let (mut bytes, mut free, mut count) = (self.bytes(), policy.free_space, 0_usize);
        for segment in self.segments.iter().take(DELETIONS_MAX) {
            let newest = segment.end == self.end && self.open.is_none();
            let old = policy.now_ms.saturating_sub(segment.last_ms) > policy.keep_age_ms;
            let wanted = old || bytes > policy.keep_size || bytes >= policy.limit || free < policy.reserve;
            if newest || segment.end.offset > free_to_go || !wanted {
                break;
            }
            // A thread that is at it gives way to others: it is told, not waited for; the next round finds it gone.
            if self.packing.as_ref().is_some_and(|p| p.first() == segment.first.offset && !p.stop()) {
                break;
            }
            bytes -= segment.disk;
            free = free.saturating_add(segment.disk);
            count += 1;
        }
        if self.packing.as_ref().is_some_and(|p| self.segments.iter().take(count).any(|s| s.first.offset == p.first()))
        {
            self.abandon_packing();
        }
        let Some(last) = self.segments.get(count.wrapping_sub(1)) else { return Ok(()) };
        // First the durable word that they are gone, then the readers', then the deed; recovery repeats it.
        let first = last.end;
        match head::save_first(self.fs.as_ref(), &self.dir, first) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::StorageFull => {
                // Not even room for these few bytes: the oldest segment makes it. One alone leaves no hole.
                let oldest = self.segments.front().map(|s| segment::path(&self.dir, s.first.offset, s.packed));
                let oldest = oldest.unwrap_or_default();
                self.fs.remove(&oldest).map_err(Error::io(&oldest, "remove"))?;
                self.fs.sync_dir(&self.dir).map_err(Error::io(&self.dir, "sync"))?;
                head::save_first(self.fs.as_ref(), &self.dir, first)?;
            }
            other => other?,
        }
        self.first = first;
        self.write_head()?;
        for segment in self.segments.drain(..count) {
            let path = segment::path(&self.dir, segment.first.offset, segment.packed);
            match self.fs.remove(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    tracing::warn!("cannot remove {}: {e}", path.display()); // the next start does
                }
                _ => {}
            }
            done.deleted += 1;
            done.freed += segment.disk;
        }
        Ok(())
    }

    fn abandon_packing(&mut self) {
        if let Some(packer) = self.packing.take() {
            let first = packer.first();
            drop(packer);
            pack::abandon(self.fs.as_ref(), &self.dir, first);
        }
    }

    fn pack_step(&mut self, free_to_go: u64, done: &mut Maintained) -> Result<(), Error> {
        if self.packing.is_none() {
            let next = self.segments.iter().find(|s| !s.packed && s.end.offset <= free_to_go);
            let Some(segment) = next else { return Ok(()) };
            let packing = Packing::begin(self.fs.as_ref(), &self.dir, segment)?;
            self.packing = Some(Packer::new(packing, &self.dir, self.pack_beside));
        }
        let Some(packer) = self.packing.take() else { return Ok(()) };
        let first = packer.first();
        let step = packer.step(&self.dir).inspect_err(|_| pack::abandon(self.fs.as_ref(), &self.dir, first))?;
        match step {
            Step::Under(packer) => {
                // A thread beside gets on by itself.
                done.more = matches!(packer, Packer::Here(_));
                self.packing = Some(packer);
            }
            Step::Stopped => pack::abandon(self.fs.as_ref(), &self.dir, first),
            Step::Lost => return Err(Error::Refused("the thread that compresses has ended")),
            Step::Done(packed) => {
                packed.place(self.fs.as_ref(), &self.dir)?;
                if let Some(segment) = self.segments.iter_mut().find(|s| s.first.offset == first) {
                    (segment.packed, segment.disk) = (true, packed.disk);
                }
                done.compressed = Some(first);
                done.more = self.segments.iter().any(|s| !s.packed && s.end.offset <= free_to_go);
            }
        }
        Ok(())
    }
}
