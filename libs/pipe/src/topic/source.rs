//! Reading one segment, plain or compressed, from front to back.

use std::io::{self, Read};
use std::path::Path;

use crate::fs::{File, Fs, Mode};

use super::{Error, segment};

/// Reads one segment's lines, front to back; a jump ahead in a compressed one is paid for by decompressing.
pub(super) enum Source {
    Plain(Box<dyn File>),
    Packed(Packed),
}

/// A compressed segment and what was read of it but not used.
pub(super) struct Packed {
    decoder: zstd::stream::read::Decoder<'static, io::BufReader<Cursor>>,
    /// Bytes of the segment decompressed so far.
    at: u64,
    /// The last of them, which the caller has given back.
    unread: Vec<u8>,
}

/// A file read from a place of its own.
pub(super) struct Cursor {
    file: Box<dyn File>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Source {
    /// Opens the segment that begins at `first`, in whichever form it has; it may change form meanwhile. `None`: there is
    /// no such segment (any more).
    pub fn open(fs: &dyn Fs, dir: &Path, first: u64) -> Result<Option<Self>, Error> {
        for packed in [false, true, false] {
            let path = segment::path(dir, first, packed);
            match fs.open(&path, Mode::Read) {
                Ok(file) if packed => return Self::decode(file).map(Some).map_err(Error::io(&path, "read")),
                Ok(file) => return Ok(Some(Self::Plain(file))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io(&path, "open")(e)),
            }
        }
        Ok(None)
    }

    fn decode(file: Box<dyn File>) -> io::Result<Self> {
        let decoder = zstd::stream::read::Decoder::new(Cursor { file, at: 0 })?;
        Ok(Self::Packed(Packed { decoder, at: 0, unread: Vec::new() }))
    }

    /// Fills `buf` from `at` bytes into the segment; less than its length only at the segment's end. A compressed one
    /// cannot go back behind what was read and not given back.
    pub fn read_at(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => fill(buf, |buf, n| file.read_at(buf, at + n as u64)),
            Self::Packed(packed) => packed.read_at(at, buf),
        }
    }

    /// Gives back the end of what was read last: it will be asked for again.
    pub fn unread(&mut self, bytes: &[u8]) {
        if let Self::Packed(packed) = self {
            packed.unread.extend_from_slice(bytes);
        }
    }
}

impl Packed {
    fn read_at(&mut self, at: u64, mut buf: &mut [u8]) -> io::Result<usize> {
        let start = self.at - self.unread.len() as u64;
        let skip =
            at.checked_sub(start).ok_or_else(|| io::Error::other("a compressed segment cannot be read backwards"))?;
        let known = usize::try_from(skip).map_or(self.unread.len(), |n| n.min(self.unread.len()));
        self.unread.drain(..known);
        let ahead = skip - known as u64;
        if ahead > 0 {
            self.at += io::copy(&mut self.decoder.by_ref().take(ahead), &mut io::sink())?;
        }
        let again = (&*self.unread).read(buf)?;
        self.unread.drain(..again);
        buf = buf.get_mut(again..).unwrap_or_default();
        let new = fill(buf, |buf, _| self.decoder.read(buf))?;
        self.at += new as u64;
        Ok(again + new)
    }
}

/// Reads until `buf` is full or nothing more comes.
fn fill(buf: &mut [u8], mut read: impl FnMut(&mut [u8], usize) -> io::Result<usize>) -> io::Result<usize> {
    let mut n = 0;
    while let Some(rest) = buf.get_mut(n..).filter(|rest| !rest.is_empty()) {
        match read(rest, n)? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}
