//! What stands between the network and the HTTP parser: a client that trickles its header or does not read its answer
//! is cut off, and the parser's own answers, which have no body, get one. To osquery an empty body means success.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The patience that clients meet.
pub const PATIENCE: Patience = Patience { header: Duration::from_secs(10), write: Duration::from_secs(30) };

/// What is said in place of the parser's empty answers.
const SORRY: &[u8] = b"{\"error\":\"not an HTTP/1.1 request that is understood, or its header is too long\"}";

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// While it takes nothing of its answer.
    pub write: Duration,
}

/// Whose turn it is: odd while a request is answered, when what is read is no header.
#[derive(Debug, Clone, Default)]
pub struct Turn(Arc<AtomicUsize>);

impl Turn {
    /// Ours, until the answer is dropped.
    pub fn take(&self) -> Answering {
        self.0.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }
}

/// A request is being answered.
#[derive(Debug)]
pub struct Answering(Turn);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection with its guards.
pub struct Guard<S> {
    stream: S,
    patience: Patience,
    turn: Turn,
    turns: usize,
    /// Runs while a header has begun and not ended.
    header: Option<Pin<Box<Sleep>>>,
    begun: bool,
    /// Runs while nothing can be written.
    stuck: Option<Pin<Box<Sleep>>>,
    /// An answer in place of the parser's, and how much of it is written.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Guard<S> {
    /// Around a stream.
    pub fn new(stream: S, turn: Turn, patience: Patience) -> Self {
        Self { stream, patience, turn, turns: 0, header: None, begun: false, stuck: None, instead: None }
    }
}

fn expired(timer: &mut Option<Pin<Box<Sleep>>>, after: Duration, cx: &mut Context<'_>) -> bool {
    timer.get_or_insert_with(|| Box::pin(sleep(after))).as_mut().poll(cx).is_ready()
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = to.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, to);
        let turns = this.turn.0.load(Ordering::Relaxed);
        if turns != this.turns {
            (this.turns, this.begun, this.header) = (turns, false, None);
        }
        if turns % 2 == 1 {
            return polled;
        }
        if to.filled().len() > before {
            this.begun = true;
        } else if polled.is_pending() && this.begun && expired(&mut this.header, this.patience.header, cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stuck = None;
        } else if expired(&mut self.stuck, self.patience.write, cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }

    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((answer, written)) = &mut self.instead {
            let left = answer.get(*written..).unwrap_or_default();
            if left.is_empty() {
                self.instead = None;
                break;
            }
            let polled = Pin::new(&mut self.stream).poll_write(cx, left);
            match ready!(self.watch(cx, polled))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    if let Some((_, written)) = &mut self.instead {
                        *written += n;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_instead(cx))?;
        if let Some(answer) = with_a_body(bytes) {
            this.instead = Some((answer, 0));
            return Poll::Ready(Ok(bytes.len()));
        }
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_instead(cx))?;
        if let Some(first) = parts.first()
            && let Some(answer) = with_a_body(first)
        {
            this.instead = Some((answer, 0));
            return Poll::Ready(Ok(first.len()));
        }
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_instead(cx))?;
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_instead(cx))?;
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.watch(cx, polled)
    }
}

/// The answer to write in place of one that the parser made itself: an error status and an empty body, which none of
/// ours ever has. It closes the connection behind it.
fn with_a_body(head: &[u8]) -> Option<Vec<u8>> {
    let status = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..5)).filter(|s| s.starts_with(b" 4"))?;
    memchr::memmem::find(head.get(..256.min(head.len()))?, b"\r\ncontent-length: 0\r\n")?;
    let mut answer = b"HTTP/1.1".to_vec();
    answer.extend_from_slice(status);
    answer.extend_from_slice(b" Refused\r\ncontent-type: application/json\r\nconnection: close\r\n");
    answer.extend_from_slice(format!("content-length: {}\r\n\r\n", SORRY.len()).as_bytes());
    answer.extend_from_slice(SORRY);
    Some(answer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn an_empty_refusal_gets_a_body_and_nothing_else_is_touched() {
        for (written, changed) in [
            (
                &b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"[..],
                true,
            ),
            (b"HTTP/1.0 400 Bad Request\r\ncontent-length: 0\r\n\r\n", true),
            (b"HTTP/1.1 404 Not Found\r\ncontent-length: 20\r\n\r\n{\"error\":\"not found\"}", false),
            (b"HTTP/1.1 100 Continue\r\n\r\n", false),
            (b"data that says HTTP/1.1 431 content-length: 0", false),
        ] {
            for step in [1, 7, 4096] {
                let (here, mut there) = duplex(step);
                let mut guard = Guard::new(here, Turn::default(), PATIENCE);
                let writing = async move {
                    guard.write_all(written).await.unwrap();
                    guard.shutdown().await.unwrap();
                };
                let mut got = Vec::new();
                let (_, read) = tokio::join!(writing, there.read_to_end(&mut got));
                read.unwrap();
                assert_eq!(got != written, changed, "{}", String::from_utf8_lossy(&got));
                if changed {
                    assert!(got.starts_with(b"HTTP/1.1 4") && got.ends_with(SORRY));
                }
            }
        }
    }

    #[tokio::test]
    async fn who_trickles_or_does_not_read_is_cut_off() {
        let (here, mut there) = duplex(64);
        let turn = Turn::default();
        let short = Duration::from_millis(50);
        let mut guard = Guard::new(here, turn.clone(), Patience { header: short, write: short });
        let mut bytes = [0; 64];
        let wait = short * 4;
        // Nothing at all is no header yet: the idle timeout is the parser's.
        assert!(tokio::time::timeout(wait, guard.read(&mut bytes)).await.is_err());
        there.write_all(b"POST").await.unwrap();
        assert_eq!(guard.read(&mut bytes).await.unwrap(), 4);
        let answering = turn.take();
        assert!(tokio::time::timeout(wait, guard.read(&mut bytes)).await.is_err(), "a body has its own time");
        drop(answering);
        there.write_all(b"POST").await.unwrap();
        assert_eq!(guard.read(&mut bytes).await.unwrap(), 4);
        drop(turn.take());
        assert!(tokio::time::timeout(wait, guard.read(&mut bytes)).await.is_err(), "idle after an answer");
        there.write_all(b"P").await.unwrap();
        assert_eq!(guard.read(&mut bytes).await.unwrap(), 1);
        let cut = tokio::time::timeout(wait, guard.read(&mut bytes)).await.unwrap();
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::TimedOut);

        let written = tokio::time::timeout(wait, guard.write_all(&[b'x'; 1000])).await.unwrap();
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
