//! Carves: an agent sends files in blocks. A row says that one is scheduled, then it announces how much there is, then
//! come the blocks, each under the session that it was given: they go to files, never into the stream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::{Machine, json};
use serde_json::{Map, Value};

use super::{DONE, Desk, NAME, facts};
use crate::{Lines, Reply, ReplyBody, Request, Sink, Speaker};

/// Bytes of a block.
pub const BLOCK_MAX: u64 = 16 << 20;
/// Bytes of a body with a block in it.
pub const BLOCK_BODY_MAX: usize = 24 << 20;
/// Blocks of a carve.
const BLOCKS_MAX: u64 = 1 << 20;
/// Longer ids and paths are none.
const ID_MAX: usize = 128;
const PATH_MAX: usize = 64 << 10;
/// What every row about a carve has, and hardly any other.
const MARK: &[u8] = b"\"carve_guid\"";

/// A carve that an agent has scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The agent's own id of it.
    pub carve: String,
    /// The query that asked for it, in the agent's words.
    pub request: String,
    /// Paths of the files, with commas between.
    pub path: String,
}

/// What an agent announces of a carve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Blocks.
    pub count: u64,
    /// Bytes of each but the last.
    pub block_size: u64,
    /// Bytes of all.
    pub size: u64,
}

impl Announced {
    /// The bytes of a block; none: there is no such block.
    pub fn bytes_of(&self, block: u64) -> Option<u64> {
        match block {
            _ if block >= self.count => None,
            _ if block + 1 == self.count => Some(self.size - block * self.block_size),
            _ => Some(self.block_size),
        }
    }

    fn of(count: u64, block_size: u64, size: u64) -> Result<Self, &'static str> {
        if !(1..=BLOCK_MAX).contains(&block_size) || !(1..=BLOCKS_MAX).contains(&count) {
            Err("block_size or block_count is out of bounds")
        } else if size > count * block_size || size <= (count - 1) * block_size {
            Err("carve_size is not block_count blocks of block_size")
        } else {
            Ok(Self { count, block_size, size })
        }
    }
}

/// A block that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Block<'a> {
    /// The session that it names.
    pub session: &'a str,
    /// Who sent it, if the agent says so (osquery from 5.23 on).
    pub by: Option<&'a Machine>,
    /// Its number, from 0.
    pub number: u64,
    /// What is in it.
    pub data: &'a [u8],
}

/// A carve that is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Whose files it holds.
    pub machine: Machine,
    /// What was scheduled.
    pub scheduled: Scheduled,
    /// Its bytes.
    pub size: u64,
    /// Its name in `data/carves`.
    pub file: String,
}

/// Why a carve is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// There is no such carve or session of this machine.
    Unknown,
    /// It is not as it was announced.
    Wrong(&'static str),
    /// It is too big, or there is no room for it.
    TooBig(&'static str),
    /// State or disk can't be read or written.
    Unavailable,
}

/// Looks for scheduled carves in a record or an answer: nearly always one look over its bytes.
pub(super) fn look(text: &[u8], machine: &Machine, desk: &dyn Desk, lines: &mut Lines<'_>) {
    if memchr::memmem::find(text, MARK).is_none() {
        return;
    }
    let Ok(record) = serde_json::from_slice::<Map<String, Value>>(text) else { return };
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let batch = record.get("diffResults").and_then(|diff| diff.get("added"));
    let lists = [list(record.get("snapshot")), list(record.get("rows")), list(batch)];
    let removed = record.get("action").and_then(Value::as_str) == Some("removed");
    let columns = record.get("columns").filter(|_| !removed);
    for row in columns.into_iter().chain(lists.iter().flatten()) {
        let Some(scheduled) = scheduled(row) else { continue };
        if desk.carve_scheduled(machine, &scheduled) {
            said("schedule", &scheduled, &[], lines);
        }
    }
}

fn scheduled(row: &Value) -> Option<Scheduled> {
    let of = |key: &str, most: usize| row.get(key)?.as_str().filter(|text| text.len() <= most).map(str::to_owned);
    let truth = row.get("carve").is_some_and(|carve| carve == "1" || carve == 1);
    (truth && of("status", ID_MAX)? == "SCHEDULED").then_some(())?;
    let carve = of("carve_guid", ID_MAX).filter(|carve| !carve.is_empty())?;
    let request = of("request_id", ID_MAX).unwrap_or_default();
    Some(Scheduled { carve, request, path: of("path", PATH_MAX).unwrap_or_default() })
}

fn said(action: &str, scheduled: &Scheduled, more: &[(&str, Value)], lines: &mut Lines<'_>) {
    let mut body = Map::new();
    body.insert("action".into(), action.into());
    body.insert("carve_id".into(), scheduled.carve.as_str().into());
    body.insert("request_id".into(), scheduled.request.as_str().into());
    body.insert("path".into(), scheduled.path.as_str().into());
    body.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    lines.own("carve", Value::Object(body).to_string().as_bytes());
}

/// Begins a carve.
pub(super) fn start(
    request: &Request<'_>,
    machine: &Machine,
    object: &[u8],
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let carve = text(object, "carve_id")?;
    let number = |key| number(object, key);
    let announced = Announced::of(number("block_count")?, number("block_size")?, number("carve_size")?)
        .map_err(|why| Reply::error(400, "carve_wrong", why))?;
    let (session, scheduled, again) = desk.carve_start(machine, &carve, announced).map_err(|why| refused(why, 404))?;
    if !again {
        let mut lines = Lines::new(NAME, request, machine);
        said("start", &scheduled, &[("size", announced.size.into())], &mut lines);
        lines.flush(sink, true).map_err(|_| Reply::busy())?;
    }
    let mut body = b"{\"session_id\":".to_vec();
    json::write_str(&session, &mut body);
    body.push(b'}');
    Ok(Reply::ok(ReplyBody::Own(body)))
}

/// Takes a block.
pub(super) fn go_on(
    request: &Request<'_>,
    object: &[u8],
    desk: &dyn crate::Desk,
    own: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let session = text(object, "session_id")?;
    let number = number(object, "block_id")?;
    let data = STANDARD.decode(text(object, "data")?.as_bytes());
    let data = data.map_err(|_| Reply::error(400, "carve_wrong", "data is not base64"))?;
    let said_by = request.headers.get("authorization").and_then(|value| value.strip_prefix("NodeKey "));
    let by = match said_by.map(|key| desk.speaker(NAME, key.trim())) {
        None => None,
        Some(Speaker::Known(machine)) => Some(machine),
        Some(Speaker::Unknown) => return Err(refused(NotTaken::Unknown, 403)),
        Some(Speaker::Uncertified) => return Err(Reply::no_certificate()),
        Some(Speaker::Unavailable) => return Err(Reply::busy()),
    };
    let block = Block { session: &session, by: by.as_ref(), number, data: &data };
    if let Some(finished) = own.carve_block(&block).map_err(|why| refused(why, 403))? {
        let mut lines = Lines::new(NAME, request, &finished.machine);
        let more = [("size", finished.size.into()), ("file", finished.file.as_str().into())];
        said("finish", &finished.scheduled, &more, &mut lines);
        lines.flush(sink, true).map_err(|_| Reply::busy())?;
    }
    Ok(Reply::ok(DONE))
}

fn refused(why: NotTaken, unknown: u16) -> Reply {
    match why {
        NotTaken::Unknown => Reply::error(unknown, "carve_unknown", "no such carve"),
        NotTaken::Wrong(why) => Reply::error(400, "carve_wrong", why),
        NotTaken::TooBig(why) => Reply::error(413, "carve_too_big", why),
        NotTaken::Unavailable => Reply::busy(),
    }
}

fn text(object: &[u8], key: &str) -> Result<String, Reply> {
    let value = json::get(object, key).ok_or_else(|| Reply::error(400, "missing_key", &format!("{key} is missing")))?;
    let text = json::parse_str(value).filter(|text| !text.is_empty());
    text.map(|text| text.into_owned()).ok_or_else(|| Reply::error(400, "wrong_type", &format!("{key} is not a string")))
}

/// Some agents send numbers within quotes.
fn number(object: &[u8], key: &str) -> Result<u64, Reply> {
    let value = json::get(object, key).ok_or_else(|| Reply::error(400, "missing_key", &format!("{key} is missing")))?;
    let number = facts::text(value).and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| Reply::error(400, "wrong_type", &format!("{key} is not a whole number")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_long_as_was_announced() {
        let announced = Announced::of(4455, 8192, 36_492_800).unwrap();
        assert_eq!(announced.bytes_of(0), Some(8192));
        assert_eq!(announced.bytes_of(4454), Some(36_492_800 - 4454 * 8192));
        assert_eq!(announced.bytes_of(4455), None);
        assert_eq!(Announced::of(1, 10, 10).unwrap().bytes_of(0), Some(10));
        for (count, block_size, size) in [(0, 1, 0), (1, 0, 1), (2, 10, 10), (2, 10, 21), (1, BLOCK_MAX + 1, 1)] {
            assert!(Announced::of(count, block_size, size).is_err(), "{count} {block_size} {size}");
        }
        assert!(Announced::of(u64::MAX, BLOCK_MAX, u64::MAX).is_err());
    }

    #[test]
    fn only_scheduled_rows_count() {
        let row = serde_json::json!({"carve": "1", "status": "SCHEDULED", "carve_guid": "g", "path": "/a,/b", "request_id": "r"});
        let want = Scheduled { carve: "g".into(), request: "r".into(), path: "/a,/b".into() };
        assert_eq!(scheduled(&row), Some(want));
        for (key, value) in
            [("carve", "0"), ("status", "SUCCESS"), ("carve_guid", ""), ("carve_guid", &"x".repeat(200))]
        {
            let mut odd = row.clone();
            odd.as_object_mut().unwrap().insert(key.into(), value.into());
            assert_eq!(scheduled(&odd), None, "{key}");
        }
    }
}
