//! What all who read a topic have in common.

use event::LINE_MAX;
use rdkafka::ClientConfig;

use super::client;
use crate::StageError;
use crate::config::Kafka;

/// Bytes that are fetched ahead, at most (KiB).
const AHEAD_KIB: &str = "16384";
/// Once there is that much, nothing is fetched for so long. A second, which librdkafka takes unless it is told, holds a
/// reader to so many bytes a second: what is ahead is read in a fraction of it.
const AHEAD_PAUSE_MS: &str = "10";
/// Bytes of one answer of a broker; a longer line comes alone.
const FETCH_MAX: &str = "8388608";
/// Of one partition in it.
const FETCH_PARTITION_MAX: &str = "2097152";
/// A member that has not been heard of for so long has lost its partitions.
const SESSION_MS: &str = "30000";
/// And one that has not asked for lines for so long: a batch may take its time.
const POLL_MAX_MS: &str = "300000";
/// How often lags are counted, in ms.
const LAG_MS: &str = "1000";
/// In place of a stage, of whoever is nobody's member: a client needs a group.
pub(super) const SHELL: &str = "shell";

/// How a client reads that says itself what is taken; with `ends` it is told where the partitions end.
pub(super) fn settings(kafka: &Kafka, group: &str, client: &str, ends: bool) -> Result<ClientConfig, StageError> {
    let mut common = client::common(kafka)?;
    common
        .set("client.id", client)
        .set("queued.max.messages.kbytes", AHEAD_KIB)
        .set("fetch.queue.backoff.ms", AHEAD_PAUSE_MS)
        .set("fetch.max.bytes", FETCH_MAX)
        .set("fetch.message.max.bytes", FETCH_PARTITION_MAX)
        .set("fetch.wait.max.ms", "100")
        .set("session.timeout.ms", SESSION_MS)
        .set("max.poll.interval.ms", POLL_MAX_MS)
        .set("statistics.interval.ms", LAG_MS);
    let own = [
        ("group.id", group),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // A position that is not there is for us to judge.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", if ends { "true" } else { "false" }),
    ];
    client::finish(common, kafka, &own)
}

/// A message as a line. One that a stranger wrote over several lines is one all the same: outside of strings JSON does not
/// mind, and within them it would not be JSON.
pub(super) fn put(payload: &[u8], chunk: &mut Vec<u8>, too_long: &mut Vec<usize>) {
    let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
    if payload.len() > LINE_MAX {
        too_long.push(payload.len());
        return;
    }
    let begin = chunk.len();
    chunk.extend_from_slice(payload);
    if memchr::memchr(b'\n', payload).is_some() {
        chunk.iter_mut().skip(begin).filter(|b| **b == b'\n').for_each(|b| *b = b' ');
    }
    chunk.push(b'\n');
}

/// What a partition has where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The next message, or it is yet to come.
    Next,
    /// So many messages of it are no longer kept, from there on.
    Gone(u64),
    /// It ends before that: the topic was made anew.
    Anew,
}

/// What is there of `next`, in a partition that begins at `low` and ends at `high`.
pub(super) fn still_kept(next: u64, low: u64, high: u64) -> Kept {
    match next {
        next if next > high => Kept::Anew,
        next if next < low => Kept::Gone(low - next),
        _ => Kept::Next,
    }
}
