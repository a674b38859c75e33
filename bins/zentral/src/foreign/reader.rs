//! The threads that read what a program says: its lines, and the end of its stderr.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use event::LINE_MAX;
use pipe::Waker;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::secrets::Secrets;

/// Bytes of a batch.
const BATCH_MAX: usize = 64 << 20;
/// Lines of a batch.
const BATCH_LINES_MAX: usize = 1_000_000;
/// Pieces that wait to be taken, each of one read; the program is held up then.
const WAITING_MAX: usize = 16;
/// How much of stderr is kept.
const ERROR_MAX: usize = 4 << 10;
/// Lines of stderr that are said.
const LINES_SAID: usize = 3;

/// A line that a program printed.
#[derive(Debug)]
pub enum Told {
    /// Without its newline.
    Line(Vec<u8>),
    /// One of so many bytes, which is too long.
    TooLong(usize),
    /// The last one, and its newline is missing.
    Torn(Vec<u8>),
}

/// What the reader hands over.
#[derive(Debug)]
pub enum Piece {
    /// Lines in order.
    Lines(Vec<Told>),
    /// A batch has no end.
    TooMuch,
}

/// What a program says, until all who hold the other end have closed it, or nobody listens any more: what outlived the
/// run may hold it for ever.
pub struct Input<R> {
    from: R,
    /// Its other end is closed when nobody listens any more.
    stop: Arc<OwnedFd>,
}

impl<R: Read + AsFd> Input<R> {
    /// Reads `from` until the other end of `stop` is closed.
    pub fn new(from: R, stop: Arc<OwnedFd>) -> Self {
        Self { from, stop }
    }
}

impl<R: Read + AsFd> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut ready = [PollFd::new(&self.stop, PollFlags::IN), PollFd::new(&self.from, PollFlags::IN)];
        while let Err(e) = poll(&mut ready, None) {
            if e != Errno::INTR {
                return Err(e.into());
            }
        }
        if ready.first().is_some_and(|stop| !stop.revents().is_empty()) {
            return Ok(0);
        }
        self.from.read(buffer)
    }
}

/// Reads lines until the other end is closed, and rings. Of a batch they are handed over at the end, all together.
pub fn lines(from: impl Read + Send + 'static, batch: bool, waker: Waker) -> std::io::Result<Receiver<Piece>> {
    let (tell, told) = channel(WAITING_MAX);
    std::thread::Builder::new().name("stdout".into()).spawn(move || {
        let mut reader = Reader { tell, batch, held: Vec::new(), bytes: 0, waker, open: Vec::new(), skipped: 0 };
        reader.read(from);
        let Reader { tell, waker, .. } = reader;
        // The end is known by the sender's.
        drop(tell);
        waker.ring();
    })?;
    Ok(told)
}

struct Reader {
    tell: Sender<Piece>,
    batch: bool,
    held: Vec<Told>,
    /// Of what is held.
    bytes: usize,
    waker: Waker,
    /// The line whose newline has not come yet.
    open: Vec<u8>,
    /// Bytes of it that were not kept: it is too long.
    skipped: usize,
}

impl Reader {
    fn read(&mut self, mut from: impl Read) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => buffer.get(..n).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            for piece in read.split_inclusive(|byte| *byte == b'\n') {
                self.take(piece);
            }
            let much = self.bytes > BATCH_MAX || self.held.len() > BATCH_LINES_MAX;
            if self.batch && much {
                self.held.clear();
                self.hand_over(Piece::TooMuch);
                return;
            }
            if !self.batch && !self.give() {
                return;
            }
        }
        if self.skipped > 0 {
            self.end_line();
        } else if !self.open.is_empty() {
            let torn = std::mem::take(&mut self.open);
            self.held.push(Told::Torn(torn));
        }
        self.give();
    }

    fn take(&mut self, piece: &[u8]) {
        let (text, ends) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        self.bytes += text.len() + 1;
        if self.skipped > 0 || self.open.len() + text.len() > LINE_MAX {
            self.skipped += self.open.len() + text.len();
            self.open = Vec::new();
        } else {
            self.open.extend_from_slice(text);
        }
        if ends {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.open);
        self.held.push(match std::mem::take(&mut self.skipped) {
            0 => Told::Line(line),
            length => Told::TooLong(length),
        });
    }

    /// Hands over what is held; false: nobody listens any more.
    fn give(&mut self) -> bool {
        if self.held.is_empty() {
            return true;
        }
        let lines = std::mem::take(&mut self.held);
        self.bytes = self.open.len();
        self.hand_over(Piece::Lines(lines))
    }

    fn hand_over(&self, piece: Piece) -> bool {
        let heard = self.tell.blocking_send(piece).is_ok();
        self.waker.ring();
        heard
    }
}

/// The end of what a program says on stderr.
#[derive(Clone)]
pub struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    secrets: Secrets,
    /// Bytes that are kept, of which [`ERROR_MAX`] are said: a value whose begin is cut off lies before them.
    most: usize,
}

impl Tail {
    /// Nothing yet; `secrets` are never told.
    pub fn new(secrets: Secrets) -> Self {
        let most = ERROR_MAX + secrets.longest();
        Self { kept: Arc::default(), secrets, most }
    }

    /// Reads until the other end is closed.
    pub fn follow(&self, mut from: impl Read + Send + 'static) -> std::io::Result<()> {
        let (kept, most) = (self.kept.clone(), self.most);
        std::thread::Builder::new().name("stderr".into()).spawn(move || {
            let mut buffer = vec![0; 4 << 10];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(buffer.iter().take(n));
                let over = kept.len().saturating_sub(most);
                kept.drain(..over);
            }
        })?;
        Ok(())
    }

    /// What is there, as text in one line.
    pub fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let said = self.secrets.without(&kept, kept.len().saturating_sub(ERROR_MAX));
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.get(lines.len().saturating_sub(LINES_SAID)..).unwrap_or_default().join(" / ")
    }
}
