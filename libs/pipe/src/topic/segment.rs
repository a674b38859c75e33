//! Segments: their names, what a folder holds of them, counting and hashing them.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::fs::Fs;

use super::source::Source;
use super::{Error, Mark};

/// Ending of a segment as it is written.
const PLAIN: &str = ".ndjson";
/// Ending of a compressed one.
const PACKED: &str = ".ndjson.zst";
/// Ending of a file that is not finished.
pub(super) const UNFINISHED: &str = ".tmp";
/// Digits of the offset in a name: any `u64` fits, so names sort as offsets do.
const DIGITS: usize = 20;
/// Bytes read at once by a scan.
const SCAN_BYTES: usize = 512 << 10;
/// How much earlier than its lines say a segment may have been written: the clock of files is coarse, and clocks are put
/// right.
pub(super) const MARGIN_MS: i64 = 3_600_000;

/// A segment file as the folder lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Offset of its first byte in the topic.
    pub first: u64,
    /// Compressed.
    pub packed: bool,
    /// Bytes on disk.
    pub disk: u64,
    /// Last change, ms since 1970.
    pub modified_ms: i64,
}

/// A sealed segment that is kept.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub first: Mark,
    pub end: Mark,
    pub packed: bool,
    pub disk: u64,
    /// When its last line came, ms since 1970; the file's time of change says so too.
    pub last_ms: i64,
}

/// The path of a segment.
pub(crate) fn path(dir: &Path, first: u64, packed: bool) -> PathBuf {
    dir.join(format!("{first:0DIGITS$}{}", if packed { PACKED } else { PLAIN }))
}

/// What a file name says: the segment's first offset, and whether it is compressed.
fn parse(name: &str) -> Option<(u64, bool)> {
    let (digits, ending) = name.split_at_checked(DIGITS)?;
    let packed = match ending {
        PLAIN => false,
        PACKED => true,
        _ => return None,
    };
    let first = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((first, packed))
}

/// The offset of the first segment that may hold lines received since then, of those from `first` on.
pub(super) fn since(files: &[Listed], first: u64, since_ms: i64) -> Option<u64> {
    let oldest = since_ms.saturating_sub(MARGIN_MS);
    files.iter().find(|f| f.modified_ms >= oldest && f.first >= first).map(|f| f.first)
}

/// The segment files of a topic by first offset, the plain one of two before the compressed one; none if there is no
/// such folder.
pub(crate) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<Listed>, Error> {
    let entries = match fs.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io(dir, "list"))?,
    };
    let mut found: Vec<Listed> = entries
        .iter()
        .filter_map(|e| {
            let (first, packed) = parse(&e.name)?;
            Some(Listed { first, packed, disk: e.len, modified_ms: e.modified_ms })
        })
        .collect();
    found.sort_by_key(|s| (s.first, s.packed));
    Ok(found)
}

/// What reading the front of a segment told.
pub(super) struct Scan {
    /// Bytes read, less than asked for if the segment ended.
    pub len: u64,
    pub lines: u64,
    /// SHA-256 so far (of nothing if not asked for).
    pub hash: Sha256,
}

/// Counts, and if wanted hashes, the bytes from `from` to `to` of the segment that begins at `first` (all three offsets in
/// the topic).
pub(super) fn scan(fs: &dyn Fs, dir: &Path, first: u64, from: u64, to: u64, hashed: bool) -> Result<Scan, Error> {
    let mut scan = Scan { len: 0, lines: 0, hash: Sha256::new() };
    each_piece(fs, dir, first, from, to, |piece| {
        scan.len += piece.len() as u64;
        scan.lines += count_lines(piece);
        if hashed {
            scan.hash.update(piece);
        }
        true
    })?;
    Ok(scan)
}

/// Where, in bytes from its start, the whole lines of the segment end: after the last newline before the first NUL. No
/// line holds a NUL byte, so one stands for data that a power cut took although the length was kept.
pub(super) fn whole_lines(fs: &dyn Fs, dir: &Path, first: u64) -> Result<u64, Error> {
    let (mut whole, mut at) = (0, 0);
    each_piece(fs, dir, first, first, u64::MAX, |piece| {
        let nul = memchr::memchr(0, piece);
        let sound = piece.get(..nul.unwrap_or(piece.len())).unwrap_or_default();
        if let Some(last) = memchr::memrchr(b'\n', sound) {
            whole = at + last as u64 + 1;
        }
        at += piece.len() as u64;
        nul.is_none()
    })?;
    Ok(whole)
}

/// Shows a segment's bytes between two offsets piece by piece until `see` says false.
pub(super) fn each_piece(
    fs: &dyn Fs,
    dir: &Path,
    first: u64,
    from: u64,
    to: u64,
    mut see: impl FnMut(&[u8]) -> bool,
) -> Result<(), Error> {
    let corrupt = |offset| Error::CorruptAt { dir: dir.to_path_buf(), offset, what: "the segment cannot be read" };
    let mut source = Source::open(fs, dir, first)?.ok_or_else(|| corrupt(first))?;
    let left = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut buf = vec![0; SCAN_BYTES.min(left)];
    let mut at = from;
    while at < to {
        let want = usize::try_from(to - at).map_or(buf.len(), |n| n.min(buf.len()));
        let n = source.read_at(at - first, buf.get_mut(..want).unwrap_or_default()).map_err(|e| {
            tracing::error!("segment {}: {e}", path(dir, first, matches!(source, Source::Packed(_))).display());
            corrupt(at)
        })?;
        at += n as u64;
        if n == 0 || !see(buf.get(..n).unwrap_or_default()) {
            break;
        }
    }
    Ok(())
}

/// Newlines in `bytes`.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_offsets_of_twenty_digits() {
        for (name, want) in [
            ("00000000000000000000.ndjson", Some((0, false))),
            ("00000000000000000123.ndjson.zst", Some((123, true))),
            ("18446744073709551615.ndjson", Some((u64::MAX, false))),
            ("99999999999999999999.ndjson", None),
            ("00000000000000000123.ndjson.zst.tmp", None),
            ("+0000000000000000123.ndjson", None),
            ("123.ndjson", None),
            ("héad", None),
        ] {
            assert_eq!(parse(name), want, "{name}");
        }
        assert_eq!(path(Path::new("t"), 7, true), Path::new("t/00000000000000000007.ndjson.zst"));
    }
}
