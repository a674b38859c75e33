//! Cuts the records out of a body `{"node_key":…, "log_type":…, "data":[record, …]}` without building a tree.
//!
//! The splitter is fed with as much of the body as there is and says how far it came: a whole body in one call, or
//! piece by piece. Records are cut by structure alone, so one bad record harms no other; each is then checked in one
//! pass (`scan`). What is too long to keep passes through with its length, digest and beginning.

use event::json;

use crate::cut::Cutting;
use crate::line::RECORD_MAX;
use crate::scan::{self, Flaw, Scan};
use crate::skip::Skip;

/// Records taken from one body. osquery sends at most 1,024 lines a POST unless told otherwise
/// (`logger_tls_max_lines`); and each record of two bytes becomes a line of several hundred.
pub const RECORDS_MAX: usize = 65_536;

/// One record of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'t> {
    /// Valid JSON, not deeper than [`crate::RECORD_DEPTH_MAX`].
    Json {
        /// As it came.
        text: &'t [u8],
        /// It has white space outside strings.
        spaces: bool,
        /// Value text of its own `unixTime`.
        unix_time: Option<&'t [u8]>,
        /// Value text of its own `calendarTime`.
        calendar_time: Option<&'t [u8]>,
    },
    /// Not JSON, too deep or not UTF-8.
    Bytes {
        /// As it came.
        text: &'t [u8],
        /// What is wrong.
        flaw: Flaw,
    },
    /// Longer than [`RECORD_MAX`].
    Cut {
        /// Its length.
        bytes: u64,
        /// SHA-256, hex.
        sha256: String,
        /// Its first bytes, as UTF-8.
        head: String,
    },
}

/// What a body says of itself before or behind its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Who speaks.
    pub node_key: Member,
    /// What the records are.
    pub log_type: Member,
    /// The records: `List` if they were handed out, `Text` if they lie in a JSON string (osquery 1.6.4).
    pub data: Member,
}

/// A top-level member; of equal keys the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Member {
    /// Not there.
    #[default]
    Absent,
    /// A string.
    Text(String),
    /// A list.
    List,
    /// Something else.
    Wrong,
}

/// Why a body is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// Not JSON.
    NotJson,
    /// JSON, but no object.
    NotObject,
    /// More than [`RECORDS_MAX`] records.
    TooMany,
    /// A key or value of the body itself is longer than [`RECORD_MAX`].
    TooLong,
    /// The taker said stop; it knows why.
    Stopped,
}

/// Takes records as they are cut.
pub trait Take<'t> {
    /// `data` begins; what an earlier `data` of the same body held counts no more.
    fn data(&mut self, head: &Head) -> Result<(), BodyError>;
    /// A record of `data`.
    fn record(&mut self, head: &Head, record: Record<'t>) -> Result<(), BodyError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    FirstKey,
    Key,
    Colon,
    Value,
    AfterValue,
    OpenList,
    FirstItem,
    Item,
    AfterItem,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Node,
    LogType,
    Data,
    Other,
}

/// A value or record that is longer than what there is of the text.
#[derive(Default)]
struct Open {
    skip: Skip,
    /// Bytes of the text, from the value's beginning, that `skip` has seen.
    passed: usize,
    /// It has grown too long: its bytes are counted and dropped.
    cut: Option<Cutting>,
}

/// The state between two pieces of a body.
pub struct Splitter {
    state: State,
    /// Within a top-level object, not a bare list.
    object: bool,
    key: Key,
    head: Head,
    open: Option<Open>,
    records: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Self { state: State::Open, object: true, key: Key::Other, head: Head::default(), open: None, records: 0 }
    }
}

impl Splitter {
    /// A splitter for a bare list of records.
    pub fn list() -> Self {
        Self { state: State::OpenList, object: false, ..Self::default() }
    }

    /// What is known of the body so far.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Cuts a whole body.
    pub fn whole<'t>(mut self, body: &'t [u8], take: &mut dyn Take<'t>) -> Result<Head, BodyError> {
        self.feed(body, take)?;
        self.end()
    }

    /// No more comes: the body must be complete.
    pub fn end(self) -> Result<Head, BodyError> {
        if self.state == State::End { Ok(self.head) } else { Err(BodyError::NotJson) }
    }

    /// Goes on with `text`, which begins where the last call ended; returns how many of its bytes are done with. The
    /// caller keeps the rest and puts more behind it.
    pub fn feed<'t>(&mut self, text: &'t [u8], take: &mut dyn Take<'t>) -> Result<usize, BodyError> {
        let mut at = 0;
        loop {
            if self.open.is_none() {
                while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
                    at += 1;
                }
            }
            let Some(&byte) = text.get(at) else { return Ok(at) };
            let next = match (self.state, byte) {
                _ if self.open.is_some() => None,
                (State::Open, b'{') => Some(State::FirstKey),
                (State::Open, b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                    return Err(BodyError::NotObject);
                }
                (State::FirstKey, b'}') | (State::AfterValue, b'}') => Some(State::End),
                (State::FirstKey | State::Key, b'"') => None,
                (State::Colon, b':') => Some(State::Value),
                (State::AfterValue, b',') => Some(State::Key),
                (State::Value, b'[') if self.key == Key::Data => {
                    take.data(&self.head)?;
                    self.head.data = Member::List;
                    Some(State::FirstItem)
                }
                (State::OpenList, b'[') => {
                    take.data(&self.head)?;
                    Some(State::FirstItem)
                }
                (State::FirstItem | State::AfterItem, b']') if self.object => Some(State::AfterValue),
                (State::FirstItem | State::AfterItem, b']') => Some(State::End),
                (State::AfterItem, b',') => Some(State::Item),
                // A value must not begin with what ends or divides values.
                (State::Value | State::FirstItem | State::Item, b',' | b':' | b']' | b'}') => {
                    return Err(BodyError::NotJson);
                }
                (State::Value | State::FirstItem | State::Item, _) => None,
                _ => return Err(BodyError::NotJson),
            };
            if let Some(next) = next {
                self.state = next;
                at += 1;
            } else if let Some(token) = self.token(text, &mut at) {
                self.take(token, take)?;
            } else {
                return Ok(at);
            }
        }
    }

    /// A key, value or record is complete.
    fn take<'t>(&mut self, token: Record<'t>, take: &mut dyn Take<'t>) -> Result<(), BodyError> {
        self.state = match self.state {
            State::FirstKey | State::Key => {
                self.key = match text_of(&token)?.as_deref() {
                    Some("node_key") => Key::Node,
                    Some("log_type") => Key::LogType,
                    Some("data") => Key::Data,
                    Some(_) => Key::Other,
                    None => return Err(BodyError::NotJson),
                };
                State::Colon
            }
            State::Value => {
                // What nobody asks for may be as deep or long as it likes.
                if self.key != Key::Other {
                    let value = text_of(&token)?.map_or(Member::Wrong, |text| Member::Text(text.into_owned()));
                    match self.key {
                        Key::Node => self.head.node_key = value,
                        Key::LogType => self.head.log_type = value,
                        _ => self.head.data = value,
                    }
                } else if let Record::Bytes { flaw: Flaw::Json | Flaw::Utf8, .. } = token {
                    return Err(BodyError::NotJson);
                }
                State::AfterValue
            }
            _ => {
                self.records += 1;
                if self.records > RECORDS_MAX {
                    return Err(BodyError::TooMany);
                }
                take.record(&self.head, token)?;
                State::AfterItem
            }
        };
        Ok(())
    }

    /// The value at `at`, once it is complete; `at` then stands behind it.
    fn token<'t>(&mut self, text: &'t [u8], at: &mut usize) -> Option<Record<'t>> {
        if self.open.is_none() {
            // The usual case, in one pass. A flaw, or a value that goes on, is left to the structural scan.
            if let Scan::Whole(found) = scan::value(text, *at, false) {
                let start = std::mem::replace(at, found.end);
                return Some(record(text, start, found));
            }
        }
        let open = self.open.get_or_insert_default();
        let rest = text.get(*at..).unwrap_or_default();
        let Some(end) = open.skip.feed(rest.get(open.passed..).unwrap_or_default()) else {
            open.passed = rest.len();
            if open.passed > RECORD_MAX || open.cut.is_some() {
                open.cut.get_or_insert_default().feed(rest);
                open.passed = 0;
                *at = text.len();
            }
            return None;
        };
        let whole = rest.get(..open.passed + end).unwrap_or_default();
        *at += whole.len();
        let cut = self.open.take().and_then(|open| open.cut);
        Some(match (cut, scan::value(whole, 0, true)) {
            (Some(mut cut), _) => {
                cut.feed(whole);
                cut.record()
            }
            (None, Scan::Whole(found)) if found.end == whole.len() => record(whole, 0, found),
            (None, Scan::Bad(flaw)) => flawed(whole, flaw),
            (None, _) => flawed(whole, Flaw::Json),
        })
    }
}

fn record<'t>(text: &'t [u8], start: usize, found: scan::Found) -> Record<'t> {
    let whole = text.get(start..found.end).unwrap_or_default();
    if whole.len() > RECORD_MAX {
        return Cutting::whole(whole);
    }
    if !found.ascii && std::str::from_utf8(whole).is_err() {
        return flawed(whole, Flaw::Utf8);
    }
    let part = |range: Option<std::ops::Range<usize>>| range.and_then(|range| text.get(range));
    Record::Json {
        text: whole,
        spaces: found.spaces,
        unix_time: part(found.unix_time),
        calendar_time: part(found.calendar_time),
    }
}

fn flawed<'t>(text: &'t [u8], flaw: Flaw) -> Record<'t> {
    // As base64 a record grows by a third.
    if text.len() > RECORD_MAX / 4 * 3 { Cutting::whole(text) } else { Record::Bytes { text, flaw } }
}

/// The string that a key or value of the body itself is, if it is one.
fn text_of<'t>(token: &Record<'t>) -> Result<Option<std::borrow::Cow<'t, str>>, BodyError> {
    match token {
        Record::Json { text, .. } => Ok(json::parse_str(text)),
        Record::Bytes { flaw: Flaw::Deep, .. } => Ok(None),
        Record::Bytes { .. } => Err(BodyError::NotJson),
        Record::Cut { .. } => Err(BodyError::TooLong),
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
