//! The body of a request on its way into memory: bounded in bytes and in time, and in what all bodies hold together.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use sources::Reply;
use tokio::time::timeout;

use crate::store::Held;

/// Nothing of a body may come for so long; agents send a whole request within 16 s.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Pieces kept as they came; further ones are joined, or a body in tiny pieces would cost many times its length.
const PIECES_MAX: usize = 16;
/// What is read and thrown away behind an answer that did not wait for the body, so that the client, which may read
/// only after it has written all, gets it.
const DRAIN_MAX: u64 = 128 << 20;
/// For how long it is.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a body is held to.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes, as they come.
    pub bytes: usize,
    /// From its first byte to its last.
    pub time: Duration,
    /// Between two pieces of it.
    pub stall: Duration,
}

/// A whole body as it came. It can be read more than once.
#[derive(Debug, Default)]
pub struct Packed {
    pieces: Vec<Bytes>,
    joined: Vec<u8>,
    len: usize,
    /// The piece that is read next, and how much of it (or of what is joined behind the last) has been read.
    next: usize,
    read: usize,
}

impl Packed {
    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// It is read from the beginning again.
    pub fn rewind(&mut self) {
        (self.next, self.read) = (0, 0);
    }

    fn piece(&self) -> &[u8] {
        self.pieces.get(self.next).map_or(&self.joined, |piece| piece)
    }

    fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if self.pieces.len() < PIECES_MAX && self.joined.is_empty() {
            self.pieces.push(piece);
        } else {
            self.joined.extend_from_slice(&piece);
        }
    }
}

impl Read for Packed {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(to)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Packed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.next < self.pieces.len() && self.read >= self.piece().len() {
            (self.next, self.read) = (self.next + 1, 0);
        }
        Ok(self.piece().get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, n: usize) {
        self.read += n;
    }
}

/// Reads a body within its bounds. `Err`: the answer; what is left of the body is seen off.
pub async fn read<B>(mut body: B, bounds: Bounds, held: &mut Held) -> Result<Packed, Reply>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    let max = bounds.bytes;
    let told = body.size_hint().lower();
    let read = async {
        if told > max as u64 {
            return Err(too_large(max));
        }
        let mut packed = Packed::default();
        loop {
            let Ok(frame) = timeout(bounds.stall, body.frame()).await else {
                return Err(slow(&format!("nothing of the body came for {:?}", bounds.stall)));
            };
            let Some(frame) = frame else { return Ok(packed) };
            let Ok(frame) = frame else { return Err(Reply::error(408, "gone", "body ends too early")) };
            // What is no data is trailers, and nobody asks for them.
            let Ok(piece) = frame.into_data() else { continue };
            if packed.len + piece.len() > max {
                return Err(too_large(max));
            }
            held.take(piece.len()).await.map_err(|_| Reply::busy())?;
            packed.push(piece);
        }
    };
    let done = timeout(bounds.time, read).await;
    match done {
        Ok(Ok(packed)) => Ok(packed),
        Ok(Err(reply)) => {
            see_off(body);
            Err(reply)
        }
        Err(_) => Err(slow(&format!("body took longer than {:?}", bounds.time))),
    }
}

fn slow(text: &str) -> Reply {
    Reply::error(408, "slow", text)
}

fn too_large(max: usize) -> Reply {
    Reply::error(413, "too_large", &format!("body is longer than {max} bytes"))
}

/// Reads on and throws away, beside the answer.
pub fn see_off<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let mut left = DRAIN_MAX;
        let drain = async {
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, |piece| piece.len() as u64));
                if left == 0 {
                    break;
                }
            }
        };
        let _ = timeout(DRAIN_TIMEOUT, drain).await;
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::store::{FREE, Store};

    #[test]
    fn pieces_read_as_one() {
        for pieces in [0, 1, PIECES_MAX, PIECES_MAX + 1, 1000] {
            let mut packed = Packed::default();
            let mut want = Vec::new();
            for i in 0..pieces {
                let piece = vec![b'a' + u8::try_from(i % 26).unwrap(); i % 7];
                want.extend_from_slice(&piece);
                packed.push(piece.into());
            }
            assert_eq!(packed.len(), want.len());
            assert!(packed.pieces.len() <= PIECES_MAX);
            let mut got = Vec::new();
            let mut one = [0];
            packed.read_exact(&mut one[..want.len().min(1)]).unwrap();
            got.extend_from_slice(&one[..want.len().min(1)]);
            packed.read_to_end(&mut got).unwrap();
            assert_eq!(got, want);
            packed.rewind();
            got.clear();
            packed.read_to_end(&mut got).unwrap();
            assert_eq!(got, want, "again");
        }
    }

    /// Gives its pieces, and then nothing any more.
    struct Stalled(Vec<Bytes>);

    impl Body for Stalled {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            match self.0.pop() {
                Some(piece) => std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(piece)))),
                None => std::task::Poll::Pending,
            }
        }
    }

    const LONG: Duration = Duration::from_secs(3600);

    fn bounds(stall: Duration) -> Bounds {
        Bounds { bytes: 1 << 20, time: LONG, stall }
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_given_up() {
        let store = Store::new(1 << 20, 1 << 20);
        let mut held = store.held([192, 0, 2, 1].into());
        let body = Stalled(vec![vec![b' '; FREE * 2].into(); 2]);
        let reply = read(body, bounds(Duration::from_millis(10)), &mut held).await.unwrap_err();
        assert_eq!((reply.status, reply.reason), (408, "slow"));
        assert!(String::from_utf8_lossy(reply.body.as_bytes()).contains("nothing of the body came"));
        assert!(store.left() < 1024);
        drop(held);
        assert_eq!(store.left(), 1024);
    }

    #[tokio::test]
    async fn what_one_client_stalls_leaves_room_for_others() {
        let store = Store::new(4 * FREE, FREE);
        let stalled: Vec<_> = (0..8)
            .map(|_| {
                let mut held = store.held([192, 0, 2, 1].into());
                let body = Stalled(vec![vec![b' '; FREE * 3 / 2].into()]);
                tokio::spawn(async move { read(body, bounds(LONG), &mut held).await })
            })
            .collect();
        while store.left() > 3 * FREE / 1024 {
            tokio::task::yield_now().await;
        }
        let mut held = store.held([192, 0, 2, 2].into());
        let good = http_body_util::Full::new(Bytes::from(vec![b' '; FREE * 2]));
        let packed = read(good, bounds(LONG), &mut held).await.unwrap();
        assert_eq!((packed.len(), store.left()), (FREE * 2, 2 * FREE / 1024));
        stalled.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
