//! What a writer does with the folder it finds: finish or undo what a crash interrupted, cut what was not committed.

use std::collections::VecDeque;
use std::path::Path;

use crate::fs::{Fs, Mode};

use super::chain::{self, Hash};
use super::head;
use super::pack;
use super::segment::{self, Listed, Segment, UNFINISHED, scan};
use super::writer::Open;
use super::{Error, Kept, Mark, Sealed};

/// The topic as recovery leaves it; everything up to `end` is durable.
pub(super) struct Recovered {
    pub segments: VecDeque<Segment>,
    pub open: Option<Open>,
    pub first: Mark,
    pub end: Mark,
    pub chain: Hash,
    /// Complete segments that the state did not know.
    pub fresh: Vec<Sealed>,
}

/// Puts the topic right. The caller holds the lock.
pub(super) fn recover(fs: &dyn Fs, dir: &Path, kept: Kept, known: &[Sealed]) -> Result<Recovered, Error> {
    // After a kill the names found may not be durable yet. Whoever removes a file because of another (`first`, a compressed
    // segment) would lose both to a power cut that takes that one's name back.
    fs.sync_dir(dir).map_err(Error::io(dir, "sync"))?;
    let mut files = tidy(fs, dir)?;
    let head = head::load(fs, dir)?;
    let floor = head::load_first(fs, dir)?;
    let first = floor.into_iter().chain(head.as_ref().map(|h| h.first)).max().unwrap_or_default();
    drop_deleted(fs, dir, &mut files, first.offset)?;
    let end = match kept {
        Kept::Recorded(mark) if mark.offset < first.offset => {
            return Err(corrupt(dir, mark.offset, "the recorded end lies before the first line kept"));
        }
        Kept::Recorded(mark) => cut_to(fs, dir, &mut files, mark.offset)?,
        Kept::WholeLines => cut_torn(fs, dir, &files)?,
    };
    // Durable before anything is written: a removed segment that comes back would stand in the way of new lines.
    fs.sync_dir(dir).map_err(Error::io(dir, "sync"))?;

    let mut anchors = vec![Mark::START, first];
    anchors.extend(known.iter().flat_map(|s| [s.first, s.end]));
    match kept {
        // What is recorded is right; a head that says otherwise is damaged.
        Kept::Recorded(mark) => anchors.push(mark),
        Kept::WholeLines => anchors.extend(head.as_ref().map(|h| h.end)),
    }
    let promised = anchors.iter().map(|m| m.offset).max().unwrap_or(0);
    if kept == Kept::WholeLines && promised > end {
        return Err(Error::Beyond { dir: dir.to_path_buf(), at: promised, end, recovered: true });
    }
    anchors.retain(|m| m.offset <= end);
    let mut found = Numbering { fs, dir, files: &files, known, anchors, end }.run()?;
    if let Kept::Recorded(mark) = kept {
        if found.end != mark {
            tracing::error!("topic {}: {} lines counted, {} recorded", dir.display(), found.end.line, mark.line);
        }
        found.end = mark;
    }
    Ok(found)
}

/// Removes what was being made when the process ended. Of a segment in both forms the compressed one is complete, for it
/// was durable before it got its name.
fn tidy(fs: &dyn Fs, dir: &Path) -> Result<Vec<Listed>, Error> {
    for entry in fs.list(dir).map_err(Error::io(dir, "list"))? {
        if entry.name.ends_with(UNFINISHED) {
            remove(fs, &dir.join(entry.name))?;
        }
    }
    let all = segment::list(fs, dir)?;
    let doubled = |s: &Listed| !s.packed && all.iter().any(|o| o.packed && o.first == s.first);
    let mut files = Vec::with_capacity(all.len());
    for file in &all {
        if doubled(file) {
            remove(fs, &segment::path(dir, file.first, false))?;
        } else {
            files.push(file.clone());
        }
    }
    Ok(files)
}

/// Deletes again what was deleted before the power cut: segments that end before the first line kept.
fn drop_deleted(fs: &dyn Fs, dir: &Path, files: &mut Vec<Listed>, first: u64) -> Result<(), Error> {
    let gone = files.iter().skip(1).take_while(|next| next.first <= first).count();
    for file in files.drain(..gone) {
        remove(fs, &segment::path(dir, file.first, file.packed))?;
    }
    Ok(())
}

/// Cuts the topic to `end` bytes, newest segment first, so that a crash meanwhile leaves no hole.
fn cut_to(fs: &dyn Fs, dir: &Path, files: &mut Vec<Listed>, end: u64) -> Result<u64, Error> {
    while let Some(last) = files.pop_if(|s| s.first > end || (s.first == end && s.packed)) {
        remove(fs, &segment::path(dir, last.first, last.packed))?;
    }
    let beyond = |have| Error::Beyond { dir: dir.to_path_buf(), at: end, end: have, recovered: true };
    let Some(last) = files.last_mut() else { return if end == 0 { Ok(0) } else { Err(beyond(0)) } };
    let want = end - last.first;
    let have = if last.packed { scan(fs, dir, last.first, last.first, u64::MAX, false)?.len } else { last.disk };
    if have < want {
        return Err(beyond(last.first + have));
    }
    if want > 0 && segment_byte(fs, dir, last.first, end - 1)? != Some(b'\n') {
        return Err(corrupt(dir, end, "the recorded end is not between two lines"));
    }
    if have > want && last.packed {
        pack::unpack(fs, dir, last.first, want)?;
        last.packed = false;
        last.disk = want;
    } else if !last.packed {
        cut_file(fs, dir, last, want)?;
        last.disk = want;
    }
    Ok(end)
}

fn segment_byte(fs: &dyn Fs, dir: &Path, first: u64, at: u64) -> Result<Option<u8>, Error> {
    let mut byte = None;
    segment::each_piece(fs, dir, first, at, at + 1, |piece| {
        byte = piece.first().copied();
        true
    })?;
    Ok(byte)
}

/// Cuts a torn last line. Only the newest segment can have one: each is durable before the next one begins.
fn cut_torn(fs: &dyn Fs, dir: &Path, files: &[Listed]) -> Result<u64, Error> {
    let Some(last) = files.last() else { return Ok(0) };
    if last.packed {
        return Ok(last.first + scan(fs, dir, last.first, last.first, u64::MAX, false)?.len);
    }
    let whole = segment::whole_lines(fs, dir, last.first)?;
    if whole < last.disk {
        tracing::info!(
            "topic {}: {} bytes of a torn line cut at {}",
            dir.display(),
            last.disk - whole,
            last.first + whole
        );
    }
    cut_file(fs, dir, last, whole)?;
    Ok(last.first + whole)
}

/// Cuts a plain segment and makes it durable; after a kill even what is kept may not be, and `head` is about to name it.
fn cut_file(fs: &dyn Fs, dir: &Path, file: &Listed, len: u64) -> Result<(), Error> {
    let path = segment::path(dir, file.first, false);
    let cut = || {
        let open = fs.open(&path, Mode::Write)?;
        if len < file.disk {
            open.set_len(len)?;
        }
        open.sync()
    };
    cut().map_err(Error::io(&path, "cut"))
}

/// Gives every segment its line numbers and the unknown ones their hashes, reading as few of them as possible.
struct Numbering<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    files: &'a [Listed],
    known: &'a [Sealed],
    /// Places whose line number is known.
    anchors: Vec<Mark>,
    end: u64,
}

impl Numbering<'_> {
    fn run(self) -> Result<Recovered, Error> {
        let (fs, dir) = (self.fs, self.dir);
        let known_end = self.known.last().map_or(0, |s| s.end.offset);
        let (mut chain, mut fresh) = (chain::after(self.known)?, Vec::new());
        let (mut segments, mut open) = (VecDeque::with_capacity(self.files.len()), None);
        let mut at = match self.files.first() {
            Some(file) => Mark { offset: file.first, line: self.first_line(file.first)? },
            None => Mark { offset: self.end, line: self.exact(self.end).unwrap_or(0) },
        };
        let first = at;
        for (i, file) in self.files.iter().enumerate() {
            let next = self.files.get(i + 1).map(|n| n.first);
            let end = next.unwrap_or(self.end);
            at.line = self.exact(file.first).unwrap_or(at.line);
            let len = end - file.first;
            if next.is_some() && !file.packed && file.disk != len {
                return Err(corrupt(dir, file.first + file.disk.min(len), "a hole between two segments"));
            }
            let begun = Mark { offset: file.first, line: at.line };
            let record = self.known.iter().find(|s| s.first.offset == file.first && s.end.offset > file.first);
            at.offset = end;
            match record {
                Some(record) if record.end.offset != end => {
                    return Err(corrupt(dir, file.first, "a sealed segment has another length than recorded"));
                }
                Some(record) => at.line = record.end.line,
                None if next.is_none() && !file.packed => {
                    let read = scan(fs, dir, file.first, file.first, end, true)?;
                    at.line += read.lines;
                    let path = segment::path(dir, file.first, false);
                    let handle = fs.open(&path, Mode::Write).map_err(Error::io(&path, "open"))?;
                    open = Some(Open {
                        file: handle,
                        first: begun,
                        len,
                        hash: read.hash,
                        since_ms: file.modified_ms,
                        last_ms: file.modified_ms,
                    });
                    continue;
                }
                None if file.first < known_end && self.exact(end).is_some() => {}
                None => {
                    let read = scan(fs, dir, file.first, file.first, end, true)?;
                    at.line += read.lines;
                    if file.first >= known_end {
                        fresh.push(chain::seal(&mut chain, begun, at, read.hash));
                    }
                }
            }
            segments.push_back(Segment {
                first: begun,
                end: Mark { offset: end, line: self.exact(end).unwrap_or(at.line) },
                packed: file.packed,
                disk: file.disk,
                last_ms: file.modified_ms,
            });
        }
        Ok(Recovered { segments, open, first, end: at, chain, fresh })
    }

    fn exact(&self, offset: u64) -> Option<u64> {
        self.anchors.iter().find(|m| m.offset == offset).map(|m| m.line)
    }

    /// The lines before the first segment found: known, or counted back from the nearest place that is.
    fn first_line(&self, offset: u64) -> Result<u64, Error> {
        if let Some(line) = self.exact(offset) {
            return Ok(line);
        }
        let Some(anchor) = self.anchors.iter().filter(|m| m.offset > offset).min() else {
            tracing::error!("topic {}: nothing says how many lines lay before {offset}", self.dir.display());
            return Ok(0);
        };
        Ok(anchor.line.saturating_sub(count_between(self.fs, self.dir, self.files, offset, anchor.offset)?))
    }
}

/// Lines between two offsets, over as many segments as it takes.
pub(super) fn count_between(fs: &dyn Fs, dir: &Path, files: &[Listed], from: u64, to: u64) -> Result<u64, Error> {
    let mut lines = 0;
    for (i, file) in files.iter().enumerate() {
        let end = files.get(i + 1).map_or(u64::MAX, |next| next.first);
        let (from, to) = (from.max(file.first), to.min(end));
        if from < to {
            lines += scan(fs, dir, file.first, from, to, false)?.lines;
        }
    }
    Ok(lines)
}

fn remove(fs: &dyn Fs, path: &Path) -> Result<(), Error> {
    fs.remove(path).map_err(Error::io(path, "remove"))
}

fn corrupt(dir: &Path, offset: u64, what: &'static str) -> Error {
    Error::CorruptAt { dir: dir.to_path_buf(), offset, what }
}
