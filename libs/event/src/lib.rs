//! What travels: one JSON object a line. Raw lines as received, events as normalised, matches and outcomes as events.
//!
//! No I/O and no async in here, and no knowledge of any agent or back end. Readers ignore keys they do not know and
//! writers keep them; the written form is canonical (documented key order, `payload` last, least escaping).

mod event;
pub mod id;
pub mod inventory;
pub mod json;
mod mistaken;
mod printable;
mod raw;
mod time;

pub use event::{Cause, Event, EventTexts, Machine, ProbeMatch, Request, write_annotated};
pub use mistaken::Mistaken;
pub use printable::{printable, steers};
pub use raw::{Body, Cut, Raw};
pub use time::{Time, TimeError};

/// The longest line, in bytes without its newline, that any stage accepts or writes.
pub const LINE_MAX: usize = 4 << 20;
/// The deepest nesting of arrays and objects in a line; the same bound that serde_json keeps.
pub const DEPTH_MAX: usize = 128;
/// The version of the line that this code writes.
pub const VERSION: u32 = 1;

/// Why a line could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineError {
    /// Longer than [`LINE_MAX`].
    TooLong(usize),
    /// Not a JSON object, or a key of the wrong type or missing: serde's words.
    Shape(String),
    /// Written by a newer version than this reader knows.
    Version(u32),
}

impl std::fmt::Display for LineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(n) => write!(f, "line of {n} bytes is longer than {LINE_MAX}"),
            Self::Shape(why) => f.write_str(why),
            Self::Version(v) => write!(f, "line has version {v}, this program reads up to {VERSION}"),
        }
    }
}

impl std::error::Error for LineError {}

/// When the hub took a raw line or an event, by the line itself; none if it does not say. The line is not checked beyond
/// that.
pub fn received(line: &[u8]) -> Option<Time> {
    let found = json::members(line).map_while(Result::ok).find(|(key, _)| *key == b"received");
    json::parse_str(found?.1)?.parse().ok()
}

/// Reads one line into `T`, bounded by [`LINE_MAX`].
fn read<'a, T: serde::Deserialize<'a>>(line: &'a [u8]) -> Result<T, LineError> {
    if line.len() > LINE_MAX {
        return Err(LineError::TooLong(line.len()));
    }
    serde_json::from_slice(line).map_err(|e| LineError::Shape(e.to_string()))
}
