//! stdin and stdout as lines: the only place that reads the one and writes the other.
//!
//! A block is handed on as soon as whole lines are there, and output is flushed after each block: prompt when the
//! input is slow, fast when it is not.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};

use event::LINE_MAX;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Waker;

/// Bytes of a block, if so many are there.
const BLOCK: usize = 256 << 10;
/// Room that a read has at least.
const READ: usize = 64 << 10;
/// What a pipe is asked to hold, so that its writer and we take turns less often.
#[cfg(target_os = "linux")]
const PIPE: usize = 1 << 20;

/// Whole lines as they came, with the lines that were too long to be taken.
#[derive(Debug, Default)]
pub struct Block {
    /// The first `end` bytes are whole lines; the rest is left from before.
    bytes: Vec<u8>,
    end: usize,
    /// Lines longer than [`LINE_MAX`] that came before these: their lengths.
    pub too_long: Vec<usize>,
}

impl Block {
    /// Whole lines, each with its newline.
    pub fn lines(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    fn join(&mut self, next: &Self) {
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(next.lines());
        self.end = self.bytes.len();
    }
}

/// stdin, read by a thread of its own.
#[derive(Debug)]
pub struct Stdin {
    blocks: Receiver<io::Result<Block>>,
    /// Memory of blocks that have been worked off, to be read into again.
    spent: Sender<Vec<u8>>,
    /// Came after a block that it may not be joined to.
    held: Option<io::Result<Block>>,
    /// Bytes that are joined to one block, if they are there.
    most: usize,
    ended: bool,
}

impl Stdin {
    /// Starts reading; the waker rings for each block and at the end. Blocks that are there already are joined up to `most`
    /// bytes, for whom each block is dear; 0: none are.
    pub fn open(waker: Waker, most: usize) -> io::Result<Self> {
        let (send, blocks) = sync_channel((most / BLOCK).max(1));
        let (spent, fresh) = channel();
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let stdin = io::stdin();
            // Not every stdin is a pipe, and not every pipe may grow.
            #[cfg(target_os = "linux")]
            let _ = rustix::pipe::fcntl_setpipe_size(&stdin, PIPE);
            let more = || {
                let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
                matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
                    && fds.iter().any(|f| f.revents().contains(PollFlags::IN))
            };
            let result = read_blocks(stdin.lock(), &more, &send, &fresh, &waker);
            if let Err(e) = result {
                let _ = send.send(Err(e));
            }
            drop(send);
            waker.ring();
        })?;
        Ok(Self { blocks, spent, held: None, most, ended: false })
    }

    /// The next block, if one is there; an error is told once. `old` has been worked off.
    pub fn next(&mut self, old: Option<Block>) -> io::Result<Option<Block>> {
        // What a very long line has needed is not kept.
        if let Some(old) = old.filter(|old| old.bytes.len() <= 2 * BLOCK) {
            // At the end nobody reads into it any more.
            let _ = self.spent.send(old.bytes);
        }
        let Some(first) = self.take() else { return Ok(None) };
        let mut block = first?;
        while block.end + BLOCK <= self.most {
            match self.take() {
                // Lines that were too long stand before the lines of their block.
                Some(Ok(next)) if next.too_long.is_empty() => {
                    block.join(&next);
                    let _ = self.spent.send(next.bytes);
                }
                other => {
                    self.held = other;
                    break;
                }
            }
        }
        Ok(Some(block))
    }

    fn take(&mut self) -> Option<io::Result<Block>> {
        self.held.take().or_else(|| match self.blocks.try_recv() {
            Ok(block) => Some(block),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.ended = true;
                None
            }
        })
    }

    /// One that gives these lines, block by block, or errors.
    #[cfg(test)]
    pub(crate) fn of(most: usize, blocks: impl IntoIterator<Item = io::Result<&'static str>>) -> Self {
        let (send, all) = sync_channel(100);
        for block in blocks {
            let block = block.map(|text| Block { bytes: text.into(), end: text.len(), too_long: Vec::new() });
            let _ = send.try_send(block);
        }
        Self { blocks: all, spent: channel().0, held: None, most, ended: false }
    }

    /// Whether there will be no more.
    pub fn ended(&self) -> bool {
        self.ended && self.held.is_none()
    }
}

/// `more` says whether another read would give something at once.
fn read_blocks(
    mut from: impl Read,
    more: &dyn Fn() -> bool,
    to: &SyncSender<io::Result<Block>>,
    fresh: &Receiver<Vec<u8>>,
    waker: &Waker,
) -> io::Result<()> {
    let mut cut = Cutter::default();
    loop {
        let mut n = 0;
        // What is there already makes one block, up to its size; nobody waits for what is not.
        while n == 0 || (cut.filled < BLOCK && more()) {
            match cut.fill(&mut from) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
                Ok(0) => break,
                Ok(read) => n += read,
            }
        }
        let spare = fresh.try_recv().unwrap_or_default();
        let block = if n == 0 { cut.end(spare) } else { cut.block(spare) };
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
    /// The first `filled` bytes have been read.
    buffer: Vec<u8>,
    filled: usize,
    /// Bytes dropped of a line that is too long.
    dropped: usize,
    too_long: Vec<usize>,
}

impl Cutter {
    fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        let room = (self.filled + READ).next_multiple_of(READ).max(BLOCK + READ);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let read = from.read(self.buffer.get_mut(self.filled..).unwrap_or_default())?;
        self.filled += read;
        Ok(read)
    }

    fn read(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Forgets the first `n` bytes.
    fn pass(&mut self, n: usize) {
        self.buffer.copy_within(n.min(self.filled)..self.filled, 0);
        self.filled = self.filled.saturating_sub(n);
    }

    fn block(&mut self, spare: Vec<u8>) -> Option<Block> {
        if self.dropped > 0 {
            match memchr::memchr(b'\n', self.read()) {
                Some(end) => {
                    self.too_long.push(self.dropped + end);
                    self.dropped = 0;
                    self.pass(end + 1);
                }
                None => {
                    self.dropped += self.filled;
                    self.filled = 0;
                    return None;
                }
            }
        }
        // Only the first line began in an earlier read, so only it can be too long.
        let first = memchr::memchr(b'\n', self.read()).filter(|first| *first > LINE_MAX);
        if let Some(first) = first {
            self.too_long.push(first);
            self.pass(first + 1);
        }
        let end = memchr::memrchr(b'\n', self.read()).map_or(0, |i| i + 1);
        let mut rest = spare;
        if end > 0 {
            // The line that has only begun goes into the next block.
            let begun = self.buffer.get(end..self.filled).unwrap_or_default();
            if rest.len() < begun.len() {
                rest.resize(begun.len().next_multiple_of(READ), 0);
            }
            if let Some(place) = rest.get_mut(..begun.len()) {
                place.copy_from_slice(begun);
            }
            let begun = begun.len();
            let block = std::mem::replace(&mut self.buffer, rest);
            self.filled = begun;
            self.drop_if_too_long();
            return self.hand_on(block, end);
        }
        self.drop_if_too_long();
        self.hand_on(Vec::new(), 0)
    }

    fn drop_if_too_long(&mut self) {
        if self.filled > LINE_MAX {
            self.dropped = self.filled;
            self.filled = 0;
        }
    }

    fn end(&mut self, spare: Vec<u8>) -> Option<Block> {
        if self.dropped > 0 {
            self.too_long.push(self.dropped);
            self.dropped = 0;
        }
        let mut bytes = std::mem::replace(&mut self.buffer, spare);
        bytes.truncate(std::mem::take(&mut self.filled));
        if !bytes.is_empty() {
            bytes.push(b'\n');
        }
        let end = bytes.len();
        self.hand_on(bytes, end)
    }

    fn hand_on(&mut self, bytes: Vec<u8>, end: usize) -> Option<Block> {
        if end == 0 && self.too_long.is_empty() {
            return None;
        }
        Some(Block { bytes, end, too_long: std::mem::take(&mut self.too_long) })
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
        let (_spent, fresh) = channel();
        read_blocks(Slow(input, step), &|| false, &send, &fresh, &Waker::default()).unwrap();
        drop(send);
        let (mut lines, mut long, mut number) = (Vec::new(), Vec::new(), 0);
        for block in blocks {
            let block = block.unwrap();
            for _ in &block.too_long {
                number += 1;
                long.push(number);
            }
            for line in block.lines().split_inclusive(|b| *b == b'\n') {
                number += 1;
                lines.push((number, String::from_utf8_lossy(line).trim_end().to_owned()));
            }
        }
        (lines, long)
    }

    #[test]
    fn blocks_that_are_there_are_joined_up_to_a_size() {
        let all = |most| {
            let (mut stdin, mut seen) =
                (Stdin::of(most, [Ok("a\n"), Ok("bb\n"), Ok("c\n"), Err(io::Error::other("torn"))]), Vec::new());
            while !stdin.ended() {
                match stdin.next(None) {
                    Ok(block) => seen.extend(block.map(|block| String::from_utf8_lossy(block.lines()).into_owned())),
                    Err(e) => seen.push(e.to_string()),
                }
            }
            seen
        };
        assert_eq!(all(0), ["a\n", "bb\n", "c\n", "torn"]);
        assert_eq!(all(BLOCK + 3), ["a\nbb\n", "c\n", "torn"]);
        assert_eq!(all(1 << 20), ["a\nbb\nc\n", "torn"], "what came before an error is not lost");
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
