//! Undoes `Content-Encoding`, a bounded piece at a time.
//!
//! Up to the caller's limit a body may grow as it likes, since that much memory is granted anyway; beyond it the ratio
//! of inflated to compressed bytes must stay at [`RATIO_MAX`], or it is a bomb.

use std::io::BufRead;

use flate2::{Decompress, FlushDecompress, Status};

/// The highest ratio of inflated to compressed bytes beyond the limit; honest logs reach about 30.
pub const RATIO_MAX: u64 = 200;
/// Room made at once for what comes out.
const STEP: usize = 64 << 10;

/// Why a body can't be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// An encoding that we don't know.
    Unknown,
    /// Not what the encoding says, or it ends too early.
    Broken,
    /// Grows too much.
    Bomb,
    /// The body stopped coming.
    Gone,
}

enum Coding {
    Plain,
    /// The first byte is still to come; it tells gzip from zlib, whatever the label says (agents mix them up).
    Start {
        raw_too: bool,
    },
    Packed(Decompress),
    /// A gzip member has ended; another may follow.
    Ended,
}

/// A body on its way to being plain.
pub struct Inflate<'a> {
    from: &'a mut dyn BufRead,
    coding: Coding,
    compressed: u64,
    inflated: u64,
}

impl<'a> Inflate<'a> {
    /// Reads `from`, which is coded as `encoding` says (`gzip`, `deflate`, `zlib`, `identity` or nothing).
    pub fn new(from: &'a mut dyn BufRead, encoding: Option<&str>) -> Result<Self, InflateError> {
        let coding = match encoding.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            _ if Self::is_plain(encoding) => Coding::Plain,
            "gzip" | "x-gzip" | "zlib" => Coding::Start { raw_too: false },
            "deflate" => Coding::Start { raw_too: true },
            _ => return Err(InflateError::Unknown),
        };
        Ok(Self { from, coding, compressed: 0, inflated: 0 })
    }

    /// Whether a body of this encoding is as it was before.
    pub fn is_plain(encoding: Option<&str>) -> bool {
        let name = encoding.unwrap_or_default().trim();
        name.is_empty() || name.eq_ignore_ascii_case("identity")
    }

    /// Bytes taken in and given out so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.compressed, self.inflated)
    }

    /// Too much came out for what went in.
    pub fn is_bomb(&self) -> bool {
        self.inflated > self.compressed.saturating_mul(RATIO_MAX)
    }

    /// Appends to `out` until it holds `upto` bytes or the body ends; true at its end.
    pub fn read(&mut self, out: &mut Vec<u8>, upto: usize) -> Result<bool, InflateError> {
        while out.len() < upto {
            let piece = self.from.fill_buf().map_err(|_| InflateError::Gone)?;
            let Some(&first) = piece.first() else {
                return if matches!(self.coding, Coding::Plain | Coding::Ended) {
                    Ok(true)
                } else {
                    Err(InflateError::Broken)
                };
            };
            let taken = match &mut self.coding {
                Coding::Plain => {
                    let taken = piece.len().min(upto - out.len());
                    out.extend_from_slice(piece.get(..taken).unwrap_or_default());
                    self.inflated += taken as u64;
                    taken
                }
                Coding::Start { raw_too } => {
                    self.coding = Coding::Packed(match first {
                        0x1f => Decompress::new_gzip(15),
                        // zlib: method 8, window of at most 32 KiB (RFC 1950)
                        _ if first & 0x0f == 8 && first >> 4 <= 7 => Decompress::new(true),
                        _ if *raw_too => Decompress::new(false),
                        _ => return Err(InflateError::Broken),
                    });
                    // A guess at the size saves growing step by step; a lie costs no more than the piece is long.
                    out.reserve_exact(piece.len().saturating_mul(6).clamp(4096, STEP * 4).min(upto - out.len()));
                    0
                }
                Coding::Ended if first == 0x1f => {
                    self.coding = Coding::Packed(Decompress::new_gzip(15));
                    0
                }
                Coding::Ended => return Err(InflateError::Broken),
                Coding::Packed(state) => {
                    if out.len() == out.capacity() {
                        out.reserve_exact(out.len().max(4096).min(upto - out.len()).max(1));
                    }
                    let (taken_before, given_before) = (state.total_in(), state.total_out());
                    let status = state.decompress_vec(piece, out, FlushDecompress::None);
                    let status = status.map_err(|_| InflateError::Broken)?;
                    let taken = state.total_in() - taken_before;
                    let given = state.total_out() - given_before;
                    self.inflated += given;
                    match status {
                        Status::StreamEnd => self.coding = Coding::Ended,
                        // There was input and there was room, and nothing moved.
                        _ if taken == 0 && given == 0 => return Err(InflateError::Broken),
                        _ => {}
                    }
                    usize::try_from(taken).unwrap_or(piece.len())
                }
            };
            self.compressed += taken as u64;
            self.from.consume(taken);
        }
        Ok(false)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::{BufReader, Read};

    fn packed(kind: &str, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let level = Compression::default();
        match kind {
            "gzip" => GzEncoder::new(text, level).read_to_end(&mut out),
            "zlib" => ZlibEncoder::new(text, level).read_to_end(&mut out),
            "raw" => DeflateEncoder::new(text, level).read_to_end(&mut out),
            _ => (&text[..]).read_to_end(&mut out),
        }
        .unwrap();
        out
    }

    fn inflate(bytes: &[u8], encoding: &str, piece: usize, max: usize) -> Result<(bool, Vec<u8>), InflateError> {
        let mut from = BufReader::with_capacity(piece, bytes);
        let mut inflate = Inflate::new(&mut from, Some(encoding))?;
        let mut out = Vec::new();
        let ended = inflate.read(&mut out, max)?;
        Ok((ended, out))
    }

    #[test]
    fn every_coding_in_any_pieces() {
        let text: Vec<u8> = (0..30_000u32).flat_map(|i| i.to_string().into_bytes()).collect();
        for (kind, label) in [
            ("gzip", "gzip"),
            ("gzip", "GZIP "),
            ("gzip", "deflate"),
            ("zlib", "gzip"),
            ("zlib", "deflate"),
            ("zlib", "zlib"),
            ("raw", "deflate"),
            ("none", "identity"),
            ("none", ""),
        ] {
            for piece in [1, 7, 4096, 1 << 20] {
                let got = inflate(&packed(kind, &text), label, piece, text.len() + 1).unwrap();
                assert!(got == (true, text.clone()), "{kind} as {label} by {piece}");
            }
        }
        let two = [packed("gzip", b"one"), packed("gzip", b"two")].concat();
        assert_eq!(inflate(&two, "gzip", 5, 99).unwrap(), (true, b"onetwo".to_vec()));
    }

    #[test]
    fn stops_at_the_bound() {
        let text = vec![b'a'; 100_000];
        let (ended, out) = inflate(&packed("gzip", &text), "gzip", 4096, 1000).unwrap();
        assert_eq!((ended, out.len()), (false, 1000));
        assert!(out.capacity() <= 4096 * 2, "{}", out.capacity());
    }

    #[test]
    fn lies_and_bombs() {
        let text = vec![b'a'; 100_000];
        let good = packed("gzip", &text);
        let mut crc = good.clone();
        let n = crc.len();
        crc[n - 6] ^= 1;
        for (bytes, label, want) in [
            (&b"{}"[..], "gzip", InflateError::Broken),
            (b"", "gzip", InflateError::Broken),
            (b"{}", "br", InflateError::Unknown),
            (&good[..n - 1], "gzip", InflateError::Broken),
            (&crc, "gzip", InflateError::Broken),
            (&[&good[..], b"trailing"].concat(), "gzip", InflateError::Broken),
            (&good[1..], "deflate", InflateError::Broken),
        ] {
            assert_eq!(inflate(bytes, label, 4096, 1 << 20).unwrap_err(), want);
        }
        let bomb = packed("gzip", &vec![0; 10 << 20]);
        let mut from = &bomb[..];
        let mut inflate = Inflate::new(&mut from, Some("gzip")).unwrap();
        let mut out = Vec::new();
        assert!(!inflate.read(&mut out, 5 << 20).unwrap());
        assert!(inflate.is_bomb());
    }
}
