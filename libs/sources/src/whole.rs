//! A body that is taken whole, for sources whose requests are one record.

use std::io::BufRead;

use crate::{Inflate, InflateError, RECORD_MAX, Reply, Request, Sink};

/// The body of a request that must have one, inflated, at most as long as its route says. `Err` is the reply to whoever
/// sent another.
pub(crate) fn read(request: &Request<'_>, body: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Vec<u8>, Reply> {
    if body.fill_buf().is_ok_and(<[u8]>::is_empty) {
        return Err(Reply::error(400, "empty_body", "body is empty"));
    }
    inflated(request, body, request.route.body_max.unwrap_or(RECORD_MAX), sink)
}

/// The body, inflated, at most so long.
pub(crate) fn inflated(
    request: &Request<'_>,
    body: &mut dyn BufRead,
    most: usize,
    sink: &mut dyn Sink,
) -> Result<Vec<u8>, Reply> {
    let max = most.min(request.inflated_max);
    let mut bytes = Vec::new();
    let ended = Inflate::new(body, request.encoding).and_then(|mut from| from.read(&mut bytes, max.saturating_add(1)));
    if ended.map_err(unreadable)? && bytes.len() <= max {
        return Ok(bytes);
    }
    if max < most {
        sink.long().map_err(|_| Reply::busy())?;
    }
    Err(Reply::error(413, "too_large", &format!("body is longer than {max} bytes")))
}

/// What is said of a body that cannot be inflated.
pub(crate) fn unreadable(error: InflateError) -> Reply {
    match error {
        InflateError::Unknown => Reply::error(415, "bad_encoding", "content encoding is neither gzip nor deflate"),
        InflateError::Broken => Reply::error(400, "bad_encoding", "body is not what its content encoding says"),
        InflateError::Bomb => Reply::error(413, "bomb", "body inflates beyond all measure"),
        InflateError::Gone => Reply::error(408, "gone", "body ends too early"),
    }
}
