//! Compressing a sealed segment in small steps, and taking it back.

use std::io::{self, Write};
use std::path::Path;

use crate::fs::{File, Fs, Mode};

use super::Error;
use super::segment::{self, Segment, UNFINISHED};

/// Bytes compressed in one step: some 20 ms, so that the thread that appends is never held up for long.
pub const STEP_BYTES: u64 = 8 << 20;
/// zstd's own default: a third of the size of these lines, at hundreds of MB/s.
const LEVEL: i32 = 3;
/// Bytes read and compressed at once.
const PIECE_BYTES: usize = 256 << 10;

/// A segment being compressed.
pub(super) struct Packing {
    first: u64,
    end: u64,
    last_ms: i64,
    source: Box<dyn File>,
    done: u64,
    out: zstd::stream::write::Encoder<'static, Sink>,
    piece: Vec<u8>,
}

/// A file written from front to back.
struct Sink {
    file: Box<dyn File>,
    at: u64,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.file.write_at(data, self.at)?;
        self.at += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Packing {
    /// Begins; nothing is visible until the last step.
    pub fn begin(fs: &dyn Fs, dir: &Path, segment: &Segment) -> Result<Self, Error> {
        let (first, end) = (segment.first.offset, segment.end.offset);
        let (plain, tmp) = (segment::path(dir, first, false), unfinished(dir, first, true));
        let source = fs.open(&plain, Mode::Read).map_err(Error::io(&plain, "open"))?;
        let encoder = || {
            let mut out = zstd::stream::write::Encoder::new(Sink { file: fs.open(&tmp, Mode::Fresh)?, at: 0 }, LEVEL)?;
            out.include_checksum(true)?;
            out.set_pledged_src_size(Some(end - first))?;
            Ok(out)
        };
        let out = encoder().map_err(Error::io(&tmp, "make"))?;
        Ok(Self { first, end, last_ms: segment.last_ms, source, done: 0, out, piece: vec![0; PIECE_BYTES] })
    }

    /// The segment's first offset.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Compresses the next bytes; true when all are.
    pub fn step(&mut self, dir: &Path) -> Result<bool, Error> {
        let len = self.end - self.first;
        let until = len.min(self.done + STEP_BYTES);
        let path = segment::path(dir, self.first, false);
        while self.done < until {
            let want = usize::try_from(until - self.done).map_or(PIECE_BYTES, |n| n.min(PIECE_BYTES));
            let buf = self.piece.get_mut(..want).unwrap_or_default();
            let n = self.source.read_at(buf, self.done).map_err(Error::io(&path, "read"))?;
            if n == 0 {
                let (dir, offset) = (dir.to_path_buf(), self.first + self.done);
                return Err(Error::CorruptAt { dir, offset, what: "a sealed segment is too short" });
            }
            let piece = buf.get(..n).unwrap_or_default();
            self.out.write_all(piece).map_err(Error::io(&unfinished(dir, self.first, true), "write"))?;
            self.done += n as u64;
        }
        Ok(self.done == len)
    }

    /// All is compressed: makes it durable, not visible yet.
    pub fn seal(self, dir: &Path) -> Result<Packed, Error> {
        let tmp = unfinished(dir, self.first, true);
        let seal = || {
            let sink = self.out.finish()?;
            sink.file.set_modified(self.last_ms)?; // `keep` and `start` ask for the age of the lines
            sink.file.sync()?;
            Ok(Packed { first: self.first, disk: sink.at })
        };
        seal().map_err(Error::io(&tmp, "compress to"))
    }
}

/// A segment that is compressed and durable, beside the plain one.
pub(super) struct Packed {
    /// The segment's first offset.
    pub first: u64,
    /// Its bytes on disk.
    pub disk: u64,
}

impl Packed {
    /// Puts it in the place of the plain one.
    pub fn place(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let tmp = unfinished(dir, self.first, true);
        let place = || {
            fs.rename(&tmp, &segment::path(dir, self.first, true))?;
            fs.sync_dir(dir)?;
            fs.remove(&segment::path(dir, self.first, false))
        };
        place().map_err(Error::io(&tmp, "compress to"))
    }
}

/// Makes a plain segment of the first `len` bytes of a compressed one again, in its place: a state restored from a backup
/// records an earlier end. Durable when it returns.
pub(super) fn unpack(fs: &dyn Fs, dir: &Path, first: u64, len: u64) -> Result<(), Error> {
    let (tmp, plain) = (unfinished(dir, first, false), segment::path(dir, first, false));
    let packed = segment::path(dir, first, true);
    let mut out = Sink { file: fs.open(&tmp, Mode::Fresh).map_err(Error::io(&tmp, "make"))?, at: 0 };
    let mut written = Ok(());
    // Opening by offset would find the plain form first, but there is none: recovery has removed it.
    segment::each_piece(fs, dir, first, first, first + len, |piece| {
        written = out.write_all(piece);
        written.is_ok()
    })?;
    let finish = || {
        written?;
        out.file.sync()?;
        fs.rename(&tmp, &plain)?;
        fs.sync_dir(dir)?;
        fs.remove(&packed)?;
        fs.sync_dir(dir)
    };
    finish().map_err(Error::io(&tmp, "write"))
}

/// Removes what an interrupted compression left.
pub(super) fn abandon(fs: &dyn Fs, dir: &Path, first: u64) {
    let tmp = unfinished(dir, first, true);
    if let Err(e) = fs.remove(&tmp) {
        tracing::warn!("cannot remove {}: {e}", tmp.display()); // the next start does
    }
}

fn unfinished(dir: &Path, first: u64, packed: bool) -> std::path::PathBuf {
    let mut path = segment::path(dir, first, packed).into_os_string();
    path.push(UNFINISHED);
    path.into()
}
