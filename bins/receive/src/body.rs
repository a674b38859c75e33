//! The body of a request on its way into memory: bounded in bytes and in time, and in what all bodies hold together.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use sources::Reply;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::conf::Limits;

/// Bytes of a body that every connection may hold; what is more comes out of a common store.
const FREE: usize = 64 << 10;
/// How long a body waits for room in the common store.
const ROOM_TIMEOUT: Duration = Duration::from_secs(2);
/// Pieces kept as they came; further ones are joined, or a body in tiny pieces would cost many times its length.
const PIECES_MAX: usize = 16;
/// What is read and thrown away behind an answer that did not wait for the body, so that the client, which may read
/// only after it has written all, gets it.
const DRAIN_MAX: u64 = 128 << 20;
/// For how long it is.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A whole body as it came.
#[derive(Debug, Default)]
pub struct Packed {
    pieces: Vec<Bytes>,
    next: usize,
    joined: Vec<u8>,
    read: usize,
    len: usize,
    _held: Option<OwnedSemaphorePermit>,
}

impl Packed {
    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.len
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
        while self.pieces.get(self.next).is_some_and(Bytes::is_empty) {
            self.next += 1;
        }
        Ok(match self.pieces.get(self.next) {
            Some(piece) => piece,
            None => self.joined.get(self.read..).unwrap_or_default(),
        })
    }

    fn consume(&mut self, n: usize) {
        match self.pieces.get_mut(self.next) {
            Some(piece) => piece.advance(n.min(piece.len())),
            None => self.read += n,
        }
    }
}

/// Reads a body within the limits. `Err`: the answer; what is left of the body is seen off.
pub async fn read(mut body: Incoming, limits: &Limits, store: &Arc<Semaphore>) -> Result<Packed, Reply> {
    let max = limits.compressed;
    let told = body.size_hint().lower();
    let read = async {
        if told > max as u64 {
            return Err(too_large(max));
        }
        let mut packed = Packed::default();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(Reply::error(408, "gone", "body ends too early")) };
            // What is no data is trailers, and nobody asks for them.
            let Ok(piece) = frame.into_data() else { continue };
            if packed.len + piece.len() > max {
                return Err(too_large(max));
            }
            hold(&mut packed, piece.len(), store).await?;
            packed.push(piece);
        }
        Ok(packed)
    };
    let done = timeout(limits.body_timeout, read).await;
    match done {
        Ok(Ok(packed)) => Ok(packed),
        Ok(Err(reply)) => {
            see_off(body);
            Err(reply)
        }
        Err(_) => Err(Reply::error(408, "slow", &format!("body took longer than {:?}", limits.body_timeout))),
    }
}

/// Takes from the common store what this body needs more of.
async fn hold(packed: &mut Packed, more: usize, store: &Arc<Semaphore>) -> Result<(), Reply> {
    let kib = |bytes: usize| u32::try_from(bytes.saturating_sub(FREE).div_ceil(1024)).unwrap_or(u32::MAX);
    let needed = kib(packed.len + more) - kib(packed.len);
    if needed == 0 {
        return Ok(());
    }
    let permit = timeout(ROOM_TIMEOUT, store.clone().acquire_many_owned(needed)).await;
    let Ok(Ok(permit)) = permit else { return Err(Reply::busy()) };
    match &mut packed._held {
        Some(held) => held.merge(permit),
        None => packed._held = Some(permit),
    }
    Ok(())
}

fn too_large(max: usize) -> Reply {
    Reply::error(413, "too_large", &format!("body is longer than {max} bytes"))
}

/// Reads on and throws away, beside the answer.
pub fn see_off(mut body: Incoming) {
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
        }
    }

    #[tokio::test]
    async fn the_common_store_is_taken_from_and_given_back() {
        let store = Arc::new(Semaphore::new(10));
        let mut packed = Packed::default();
        hold(&mut packed, FREE, &store).await.unwrap();
        packed.push(vec![0; FREE].into());
        assert_eq!(store.available_permits(), 10);
        for _ in 0..2 {
            hold(&mut packed, 4000, &store).await.unwrap();
            packed.push(vec![0; 4000].into());
        }
        assert_eq!(store.available_permits(), 2);
        assert_eq!(hold(&mut packed, 4000, &store).await.unwrap_err().status, 503);
        drop(packed);
        assert_eq!(store.available_permits(), 10);
    }
}
