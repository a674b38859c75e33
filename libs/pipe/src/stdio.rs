//! stdin and stdout as lines: the only place that reads the one and writes the other.
//!
//! A block is handed on as soon as whole lines are there, and output is flushed after each block: prompt when the
//! input is slow, fast when it is not.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use event::LINE_MAX;

use crate::Waker;

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;
/// Blocks read ahead.
const AHEAD: usize = 3;

/// Whole lines as they came, with the lines that were too long to be taken.
#[derive(Debug, Default)]
pub struct Block {
    /// Whole lines, each with its newline.
    pub bytes: Vec<u8>,
    /// Number of the first line in `bytes`, from 1.
    pub first: u64,
    /// Lines longer than [`LINE_MAX`] that came before `bytes`: their numbers and lengths.
    pub too_long: Vec<(u64, usize)>,
}

/// stdin, read by a thread of its own.
#[derive(Debug)]
pub struct Stdin {
    blocks: Receiver<io::Result<Block>>,
    ended: bool,
}

impl Stdin {
    /// Starts reading; the waker rings for each block and at the end.
    pub fn open(waker: Waker) -> io::Result<Self> {
        let (send, blocks) = sync_channel(AHEAD);
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let result = read_blocks(io::stdin().lock(), &send, &waker);
            if let Err(e) = result {
                let _ = send.send(Err(e));
            }
            drop(send);
            waker.ring();
        })?;
        Ok(Self { blocks, ended: false })
    }

    /// The next block, if one is there; an error is told once.
    pub fn next(&mut self) -> io::Result<Option<Block>> {
        match self.blocks.try_recv() {
            Ok(block) => block.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                self.ended = true;
                Ok(None)
            }
        }
    }

    /// Whether there will be no more.
    pub fn ended(&self) -> bool {
        self.ended
    }
}

fn read_blocks(mut from: impl Read, to: &SyncSender<io::Result<Block>>, waker: &Waker) -> io::Result<()> {
    let mut cut = Cutter::default();
    loop {
        let n = match cut.fill(&mut from) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let block = if n == 0 { cut.end() } else { cut.block() };
        if let Some(block) = block {
            if to.send(Ok(block)).is_err() {
                return Ok(());
            }
            waker.ring();
        }
        if n == 0 {
            return Ok(());
        }
    }
}

/// Cuts what was read into whole lines.
#[derive(Debug, Default)]
struct Cutter {
    buffer: Vec<u8>,
    /// Lines handed on or dropped.
    lines: u64,
    /// Bytes dropped of a line that is too long.
    dropped: usize,
    too_long: Vec<(u64, usize)>,
}

impl Cutter {
    fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        let start = self.buffer.len();
        self.buffer.resize(start + BLOCK, 0);
        let read = from.read(self.buffer.get_mut(start..).unwrap_or_default());
        self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }

    fn block(&mut self) -> Option<Block> {
        if self.dropped > 0 {
            match memchr::memchr(b'\n', &self.buffer) {
                Some(end) => {
                    self.lines += 1;
                    self.too_long.push((self.lines, self.dropped + end));
                    self.dropped = 0;
                    self.buffer.drain(..=end);
                }
                None => {
                    self.dropped += self.buffer.len();
                    self.buffer.clear();
                    return None;
                }
            }
        }
        let end = memchr::memrchr(b'\n', &self.buffer).map_or(0, |i| i + 1);
        let rest = self.buffer.split_off(end);
        let mut bytes = std::mem::replace(&mut self.buffer, rest);
        // Only the first line began in an earlier read, so only it can be too long.
        let first = memchr::memchr(b'\n', &bytes).filter(|first| *first > LINE_MAX);
        if let Some(first) = first {
            self.lines += 1;
            self.too_long.push((self.lines, first));
            bytes.drain(..=first);
        }
        if self.buffer.len() > LINE_MAX {
            self.dropped = self.buffer.len();
            self.buffer.clear();
        }
        self.hand_on(bytes)
    }

    fn end(&mut self) -> Option<Block> {
        if self.dropped > 0 {
            self.lines += 1;
            self.too_long.push((self.lines, self.dropped));
            self.dropped = 0;
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        if !bytes.is_empty() {
            bytes.push(b'\n');
        }
        self.hand_on(bytes)
    }

    fn hand_on(&mut self, bytes: Vec<u8>) -> Option<Block> {
        if bytes.is_empty() && self.too_long.is_empty() {
            return None;
        }
        let first = self.lines + 1;
        self.lines += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Some(Block { bytes, first, too_long: std::mem::take(&mut self.too_long) })
    }
}

/// Writes whole lines to stdout and flushes. A closed stdout is `BrokenPipe`: a polite end.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    /// Lines as (number, text), and the numbers of those too long.
    fn check(input: &[u8], step: usize) -> (Vec<(u64, String)>, Vec<u64>) {
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let n = self.1.min(self.0.len());
                (&mut self.0).take(n as u64).read(buf)
            }
        }
        let (send, blocks) = sync_channel(1 << 20);
        read_blocks(Slow(input, step), &send, &Waker::default()).unwrap();
        drop(send);
        let (mut lines, mut long) = (Vec::new(), Vec::new());
        for block in blocks {
            let block = block.unwrap();
            long.extend(block.too_long.iter().map(|(n, _)| *n));
            for (i, line) in block.bytes.split_inclusive(|b| *b == b'\n').enumerate() {
                lines.push((block.first + i as u64, String::from_utf8_lossy(line).trim_end().to_owned()));
            }
        }
        (lines, long)
    }

    #[test]
    fn cuts_lines_however_they_come() {
        for step in [1, 3, 1000] {
            let (lines, long) = check(b"a\nbb\n\nlast", step);
            let want = [(1, "a"), (2, "bb"), (3, ""), (4, "last")];
            assert_eq!(lines, want.map(|(n, t)| (n, t.to_owned())));
            assert!(long.is_empty());
        }
        let mut input = b"a\n".to_vec();
        input.extend(vec![b'x'; LINE_MAX + BLOCK + 5]);
        input.extend(b"\nb\n");
        for step in [100_000, BLOCK] {
            let (lines, long) = check(&input, step);
            assert_eq!((lines, long), (vec![(1, "a".to_owned()), (3, "b".to_owned())], vec![2]));
        }
        input.truncate(input.len() - 3);
        assert_eq!(check(&input, BLOCK).1, [2]);
        // Whether it is too long does not depend on where the reads fall.
        for more in [0, 1, 2, BLOCK - 1, BLOCK] {
            let mut input = b"a\n".to_vec();
            input.extend(vec![b'x'; LINE_MAX + more]);
            input.extend(b"\nb\n");
            for step in [BLOCK - 7, BLOCK] {
                let (lines, long) = check(&input, step);
                assert_eq!((lines.len(), long), if more == 0 { (3, vec![]) } else { (2, vec![2]) }, "{more} {step}");
            }
        }
    }
}
