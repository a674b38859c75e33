//! A reader of a topic: whole lines from its own position up to `head`, never further.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::{LINE_MAX, Time};

use crate::fs::Fs;

use super::head::{self, Head};
use super::recover::count_between;
use super::segment::{self, count_lines};
use super::source::Source;
use super::{Error, Mark};

/// Bytes of the longest line with its newline, and of the largest chunk: a longer line cannot hide in one.
pub const CHUNK_MAX: usize = LINE_MAX + 1;
/// How often a segment that changes its form or goes is looked for again.
const LOCATE_TRIES: usize = 4;
/// Bytes read at once while a line is skipped.
const SKIP_BYTES: usize = 64 << 10;

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At a recorded position.
    At(Mark),
    /// At the first line kept.
    First,
    /// After the last committed line.
    Last,
    /// At the first segment with lines at most this old (ms); it begins with older ones, which the caller passes over.
    Age(i64),
}

/// Whole lines, newlines included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The lines, one after the other.
    pub bytes: &'a [u8],
    /// How many.
    pub lines: u64,
    /// Before the first of them.
    pub from: Mark,
    /// After the last of them.
    pub to: Mark,
}

/// Reads a topic from a position of its own. Takes no lock and leaves no trace.
pub struct TopicReader {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    at: Mark,
    head: Option<Head>,
    /// The bytes of `head` as last seen, to see cheaply that nothing changed; and a place to read them to.
    seen: Vec<u8>,
    look: Vec<u8>,
    /// The segment that holds `at`: its first offset, and its lines.
    segment: Option<(u64, Source)>,
    buf: Vec<u8>,
}

impl TopicReader {
    /// Begins to read. `NotReady` if the start cannot be told because `head` is unreadable (never for [`Start::At`]); a
    /// topic that does not exist yet begins at [`Mark::START`].
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, start: Start) -> Result<Self, Error> {
        let (seen, look, buf) = (Vec::new(), Vec::new(), Vec::new());
        let mut reader =
            Self { fs, dir: dir.to_path_buf(), at: Mark::START, head: None, seen, look, segment: None, buf };
        reader.refresh()?;
        reader.at = match (start, &reader.head) {
            (Start::At(mark), _) => mark,
            (Start::First, Some(head)) => head.first,
            (Start::Last, Some(head)) => head.end,
            (Start::Age(ms), Some(head)) => reader.first_since(head, ms)?,
            (_, None) if segment::list(reader.fs.as_ref(), dir)?.is_empty() => Mark::START,
            (_, None) => return Err(Error::NotReady(dir.to_path_buf())),
        };
        Ok(reader)
    }

    /// The next whole lines, about `max_bytes` of them (at least one line, at most [`CHUNK_MAX`] bytes); `None` if there
    /// are none now. The position moves behind them. After `CorruptAt` over a line that is too long see
    /// [`skip_line`](Self::skip_line), after `Gone` [`seek`](Self::seek).
    pub fn read(&mut self, max_bytes: usize) -> Result<Option<Chunk<'_>>, Error> {
        let left = self.left()?;
        if left == 0 {
            return Ok(None);
        }
        let most = usize::try_from(left).map_or(CHUNK_MAX, |n| n.min(CHUNK_MAX));
        let mut want = max_bytes.clamp(1, most);
        let whole = loop {
            let got = self.fetch(self.at.offset, want)?;
            let read = self.buf.get(..got).unwrap_or_default();
            let whole = memchr::memrchr(b'\n', read).map_or(0, |i| i + 1);
            if let Some((_, source)) = &mut self.segment {
                source.unread(read.get(whole..).unwrap_or_default());
            }
            if whole > 0 {
                break whole;
            }
            if got < want {
                return Err(self.corrupt("a segment ends within a line"));
            }
            if want == most {
                return Err(self.corrupt(if want == CHUNK_MAX {
                    "a line is too long"
                } else {
                    "the end is within a line"
                }));
            }
            want = want.saturating_mul(2).min(most);
        };
        let bytes = self.buf.get(..whole).unwrap_or_default();
        let (from, lines) = (self.at, count_lines(bytes));
        self.at = Mark { offset: from.offset + whole as u64, line: from.line + lines };
        Ok(Some(Chunk { bytes, lines, from, to: self.at }))
    }

    /// Passes over one line of any length; returns its bytes, newline included. 0 if there is none now.
    pub fn skip_line(&mut self) -> Result<u64, Error> {
        let left = self.left()?;
        let mut skipped = 0;
        while skipped < left {
            let want = usize::try_from(left - skipped).map_or(SKIP_BYTES, |n| n.min(SKIP_BYTES));
            let got = self.fetch(self.at.offset + skipped, want)?;
            let read = self.buf.get(..got).unwrap_or_default();
            if let Some(i) = memchr::memchr(b'\n', read) {
                if let Some((_, source)) = &mut self.segment {
                    source.unread(read.get(i + 1..).unwrap_or_default());
                }
                skipped += i as u64 + 1;
                break;
            }
            skipped += got as u64;
        }
        if skipped > 0 {
            self.at = Mark { offset: self.at.offset + skipped, line: self.at.line + 1 };
        }
        Ok(skipped)
    }

    /// Goes on from another position.
    pub fn seek(&mut self, mark: Mark) {
        self.at = mark;
        self.segment = None;
    }

    /// Goes to the first segment that may hold lines received since then; of the lines that are committed now, the offsets
    /// there and at the end.
    pub(crate) fn seek_since(&mut self, since: Option<Time>) -> Result<(u64, u64), Error> {
        let Some(head) = self.head()?.cloned() else { return Ok((self.at.offset, self.at.offset)) };
        if let Some(since) = since {
            let files = segment::list(self.fs.as_ref(), &self.dir)?;
            let young = segment::since(&files, head.first.offset, since.ms());
            // Nobody asks for the numbers of lines here, and to count them would be to read them.
            let offset = young.map_or(head.end.offset, |first| first.min(head.end.offset));
            self.seek(Mark { offset, line: 0 });
        }
        Ok((self.at.offset, head.end.offset))
    }

    /// After the last line read.
    pub fn mark(&self) -> Mark {
        self.at
    }

    /// Where the topic's committed lines begin and end now; `None` before its writer first opened it.
    pub fn head(&mut self) -> Result<Option<&Head>, Error> {
        self.refresh()?;
        Ok(self.head.as_ref())
    }

    /// Bytes and lines between the position and the end of the committed lines.
    pub fn lag(&mut self) -> Result<(u64, u64), Error> {
        self.refresh()?;
        let end = self.head.as_ref().map_or(self.at, |h| h.end);
        Ok((end.offset.saturating_sub(self.at.offset), end.line.saturating_sub(self.at.line)))
    }

    /// Bytes that may be read; looks at `head` again only when all it told before is read.
    fn left(&mut self) -> Result<u64, Error> {
        let known = self.head.as_ref().map_or(0, |h| h.end.offset);
        if known > self.at.offset {
            return Ok(known - self.at.offset);
        }
        self.refresh()?;
        let Some(head) = &self.head else { return Ok(0) };
        head.end.offset.checked_sub(self.at.offset).map_or_else(
            || {
                let recovered = head::recovered(self.fs.as_ref(), &self.dir, head)?;
                Err(Error::Beyond { dir: self.dir.clone(), at: self.at.offset, end: head.end.offset, recovered })
            },
            Ok,
        )
    }

    /// Looks at `head`. One that cannot be read counts as not yet there: the last good one stays.
    fn refresh(&mut self) -> Result<(), Error> {
        head::read(self.fs.as_ref(), &self.dir, &mut self.look)?;
        if self.look != self.seen {
            std::mem::swap(&mut self.look, &mut self.seen);
            self.head = Head::parse(&self.seen).or(self.head.take());
        }
        Ok(())
    }

    /// Reads up to `want` bytes at an offset, all from one segment, to the front of the buffer.
    fn fetch(&mut self, at: u64, want: usize) -> Result<usize, Error> {
        if self.buf.len() < want {
            self.buf.resize(want, 0);
        }
        // Twice: the segment at hand may be used up, then the next one begins here.
        for _ in 0..2 {
            let (first, source) = match self.segment.take() {
                Some(segment) => segment,
                None => self.locate(at)?,
            };
            let (first, source) = self.segment.insert((first, source));
            let buf = self.buf.get_mut(..want).unwrap_or_default();
            let got = source.read_at(at - *first, buf).map_err(|e| {
                tracing::error!("topic {}: segment {first}: {e}", self.dir.display());
                Error::CorruptAt { dir: self.dir.clone(), offset: at, what: "the segment cannot be read" }
            })?;
            if got > 0 {
                return Ok(got);
            }
            self.segment = None;
        }
        Err(self.corrupt("committed lines are missing"))
    }

    /// Opens the segment that holds an offset before `head`.
    fn locate(&mut self, at: u64) -> Result<(u64, Source), Error> {
        let fs = Arc::clone(&self.fs);
        for _ in 0..LOCATE_TRIES {
            // Mostly the next segment is wanted, and its name is known.
            if let Some(source) = Source::open(fs.as_ref(), &self.dir, at)? {
                return Ok((at, source));
            }
            self.refresh()?;
            if let Some(head) = self.head.as_ref().filter(|h| at < h.first.offset) {
                return Err(Error::Gone { first: head.first });
            }
            let files = segment::list(fs.as_ref(), &self.dir)?;
            let Some(first) = files.iter().map(|f| f.first).take_while(|first| *first <= at).last() else { continue };
            if let Some(source) = Source::open(fs.as_ref(), &self.dir, first)? {
                return Ok((first, source));
            }
        }
        Err(self.corrupt("no segment holds this position"))
    }

    /// The beginning of the first segment whose last line may have come at most `ms` ago.
    fn first_since(&self, head: &Head, ms: i64) -> Result<Mark, Error> {
        let files = segment::list(self.fs.as_ref(), &self.dir)?;
        let young = segment::since(&files, head.first.offset, self.fs.now_ms().saturating_sub(ms));
        let Some(offset) = young.filter(|first| *first < head.end.offset) else { return Ok(head.end) };
        let count = |from, to| count_between(self.fs.as_ref(), &self.dir, &files, from, to);
        let line = if offset - head.first.offset <= head.end.offset - offset {
            head.first.line + count(head.first.offset, offset)?
        } else {
            head.end.line.saturating_sub(count(offset, head.end.offset)?)
        };
        Ok(Mark { offset, line })
    }

    fn corrupt(&self, what: &'static str) -> Error {
        Error::CorruptAt { dir: self.dir.clone(), offset: self.at.offset, what }
    }
}
