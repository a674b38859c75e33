//! stdin as blocks of whole lines, stdout in large writes; flushed whenever no whole line is waiting.

use std::io::{self, Read, Write};

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;
/// Bytes gathered before a write.
const GATHER: usize = 256 << 10;

/// Hands each block of whole lines to `work`, with a buffer for what is to be printed.
pub fn pump(mut work: impl FnMut(&[u8], &mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    // Both hand large pieces through without a copy of their own.
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let (mut buffer, mut filled, mut out) = (vec![0; BLOCK], 0, Vec::with_capacity(GATHER));
    loop {
        if filled == buffer.len() {
            buffer.resize(2 * filled, 0);
        }
        let read = input.read(&mut buffer[filled..])?;
        let asked = buffer.len() - filled;
        filled += read;
        let whole = match memchr::memrchr(b'\n', &buffer[..filled]) {
            _ if read == 0 => filled,
            Some(end) => end + 1,
            None => 0,
        };
        work(&buffer[..whole], &mut out)?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
        // A short read: nothing more is waiting.
        if out.len() >= GATHER || read < asked {
            output.write_all(&out)?;
            output.flush()?;
            out.clear();
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// The lines of a block, without their newlines.
pub fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends =
        memchr::memchr_iter(b'\n', block).chain((!block.ends_with(b"\n") && !block.is_empty()).then_some(block.len()));
    ends.map(move |end| {
        let line = &block[start..end];
        start = end + 1;
        line
    })
}

/// A line with its newline.
pub fn put(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.push(b'\n');
}
