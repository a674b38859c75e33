//! From an event's line to what the index takes.

use std::collections::HashMap;

use event::{Time, json};
use tantivy::TantivyDocument;
use tantivy::schema::document::{ReferenceValue, ReferenceValueLeaf, Value};

use super::scan::{self, Leaf};
use super::schema::{Fields, is_key};
use crate::words::GAP;

/// Bytes of a value that its column holds: field searches and counts see no more of it, bare words see all.
pub const VALUE_MAX: usize = 8 << 10;
/// Bytes of a field's dotted name; the values of longer ones are found by bare words only.
pub(crate) const NAME_MAX: usize = 512;
/// Distinct dotted names of one day that have columns; the values of any more are found by bare words only.
pub const NAMES_MAX: usize = 5000;
/// The same for the envelope's names ([`is_key`]), which are counted apart: agents choose the names below `payload`, and
/// one that uses up those must not hide machines, tags and probes.
pub const KEYS_MAX: usize = 500;
/// Bytes of an event's id.
const ID_MAX: usize = 256;

/// What the store must know of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The event's id.
    pub id: String,
    /// When it happened.
    pub time: Time,
    /// When it arrived.
    pub received: Time,
}

impl Head {
    /// From a line in canonical form; the error is why it is no event.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        let (mut id, mut time, mut received) = (None, None, None);
        for member in json::members(line) {
            let (key, value) = member.map_err(|e| e.to_string())?;
            match key {
                b"id" => id = json::parse_str(value),
                b"time" => time = Some(read_time("time", value)?),
                b"received" => received = Some(read_time("received", value)?),
                _ => {}
            }
        }
        let id = id.ok_or("no id")?.into_owned();
        if id.is_empty() || id.len() > ID_MAX {
            return Err(format!("id of {} bytes, expected 1 to {ID_MAX}", id.len()));
        }
        Ok(Self { id, time: time.ok_or("no time")?, received: received.ok_or("no received")? })
    }
}

fn read_time(name: &str, value: &[u8]) -> Result<Time, String> {
    let text = json::parse_str(value).ok_or_else(|| format!("{name} is no string"))?;
    text.parse().map_err(|e| format!("{name}: {e}"))
}

/// An id as two numbers in the order of its text. A UUID fits whole; of any other id, the first eight bytes and a
/// hash, which still is one order for all.
pub fn id_order(id: &str) -> (u64, u64) {
    let hex: String = id.chars().filter(|&c| c != '-').collect();
    if id.len() == 36
        && hex.len() == 32
        && let Ok(n) = u128::from_str_radix(&hex, 16)
    {
        return ((n >> 64) as u64, n as u64);
    }
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(id.bytes()) {
        *to = from;
    }
    // FNV-1a
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    (u64::from_be_bytes(head), hash)
}

/// The dotted names that have columns in a day's index, at most [`NAMES_MAX`] and [`KEYS_MAX`].
#[derive(Default)]
pub struct Names {
    numbers: HashMap<Box<str>, usize>,
    names: Vec<Box<str>>,
    /// How many of them are the envelope's.
    keys: usize,
    /// A name found no room.
    pub full: bool,
}

impl Names {
    /// The number of a name; `None` if it may have no column.
    pub fn number(&mut self, name: &str) -> Option<usize> {
        if let Some(&n) = self.numbers.get(name) {
            return Some(n);
        }
        if name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return None;
        }
        let key = is_key(name);
        let room = if key { self.keys < KEYS_MAX } else { self.names.len() - self.keys < NAMES_MAX };
        if !room {
            self.full = true;
            return None;
        }
        self.keys += usize::from(key);
        self.numbers.insert(name.into(), self.names.len());
        self.names.push(name.into());
        Some(self.names.len() - 1)
    }
}

/// Makes documents, keeping its memory from one to the next.
#[derive(Default)]
pub struct Builder {
    text: String,
    arena: String,
    fields: Vec<Item>,
    keys: Vec<Item>,
}

struct Item {
    name: usize,
    value: Stored,
}

pub(crate) enum Stored {
    Text { from: usize, to: usize },
    I64(i64),
    U64(u64),
    F64(f64),
    Bool(bool),
}

impl Builder {
    /// The document of `line`, which is canonical and whose head is `head`.
    pub fn document(&mut self, to: &Fields, names: &mut Names, head: &Head, line: &[u8]) -> TantivyDocument {
        self.text.clear();
        self.arena.clear();
        self.fields.clear();
        self.keys.clear();
        let mut name = String::new();
        for (key, value) in json::members(line).flatten() {
            if matches!(key, b"v" | b"id" | b"time" | b"received") {
                continue;
            }
            let Ok(key) = std::str::from_utf8(key) else { continue };
            name.clear();
            name.push_str(key);
            scan::walk(value, &mut name, &mut |name, leaf| self.leaf(names, name, leaf));
        }
        let (hi, lo) = id_order(&head.id);
        let mut doc = TantivyDocument::with_capacity(line.len() * 3);
        doc.add_text(to.id, &head.id);
        doc.add_u64(to.hi, hi);
        doc.add_u64(to.lo, lo);
        doc.add_i64(to.time, head.time.ms());
        doc.add_i64(to.received, head.received.ms());
        doc.add_text(to.text, &self.text);
        doc.add_field_value(to.keys, Flat::Object { items: &self.keys, names: &names.names, arena: &self.arena });
        doc.add_field_value(to.fields, Flat::Object { items: &self.fields, names: &names.names, arena: &self.arena });
        doc.add_bytes(to.line, line);
        doc
    }

    fn leaf(&mut self, names: &mut Names, name: &str, leaf: Leaf<'_>) {
        let typed = match leaf {
            Leaf::Number(text) => read_number(text),
            Leaf::Bool(value) => Some(Stored::Bool(value)),
            Leaf::Text(_) => None,
        };
        let text = match &leaf {
            Leaf::Text(text) => text,
            Leaf::Number(text) => *text,
            Leaf::Bool(true) => "true",
            Leaf::Bool(false) => "false",
        };
        self.text.push(GAP);
        if text.contains(GAP) {
            self.text.push_str(&text.replace(GAP, " "));
        } else {
            self.text.push_str(text);
        }
        let Some(column) = names.number(name) else { return };
        let from = self.arena.len();
        let value = typed.unwrap_or_else(|| {
            self.arena.push_str(text.get(..text.floor_char_boundary(VALUE_MAX)).unwrap_or(text));
            Stored::Text { from, to: self.arena.len() }
        });
        if is_key(name) {
            if !matches!(value, Stored::Text { .. }) {
                self.arena.push_str(text);
            }
            self.keys.push(Item { name: column, value: Stored::Text { from, to: self.arena.len() } });
        }
        self.fields.push(Item { name: column, value });
    }
}

/// A number that a column holds without loss of order; `None` for what only its text can say (1e400, 30 digits).
pub(crate) fn read_number(text: &str) -> Option<Stored> {
    if let Ok(n) = text.parse() {
        return Some(Stored::I64(n));
    }
    if let Ok(n) = text.parse() {
        return Some(Stored::U64(n));
    }
    let fraction = text.contains(['.', 'e', 'E']);
    text.parse().ok().filter(|n: &f64| fraction && n.is_finite()).map(Stored::F64)
}

/// Items by name, the way Tantivy reads an object: nothing is copied before it writes its own form.
#[derive(Clone)]
enum Flat<'a> {
    Object { items: &'a [Item], names: &'a [Box<str>], arena: &'a str },
    Leaf { value: &'a Stored, arena: &'a str },
}

impl std::fmt::Debug for Flat<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flat")
    }
}

impl<'a> Value<'a> for Flat<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = FlatItems<'a>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        match *self {
            Self::Object { items, names, arena } => {
                ReferenceValue::Object(FlatItems { items: items.iter(), names, arena })
            }
            Self::Leaf { value, arena } => ReferenceValue::Leaf(match *value {
                Stored::Text { from, to } => ReferenceValueLeaf::Str(arena.get(from..to).unwrap_or_default()),
                Stored::I64(n) => n.into(),
                Stored::U64(n) => n.into(),
                Stored::F64(n) => n.into(),
                Stored::Bool(b) => b.into(),
            }),
        }
    }
}

struct FlatItems<'a> {
    items: std::slice::Iter<'a, Item>,
    names: &'a [Box<str>],
    arena: &'a str,
}

impl<'a> Iterator for FlatItems<'a> {
    type Item = (&'a str, Flat<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.next()?;
        let name = self.names.get(item.name).map_or("", |n| n);
        Some((name, Flat::Leaf { value: &item.value, arena: self.arena }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_head_needs_id_and_times() {
        let times = r#""time":"2026-11-21T19:00:00.123Z","received":"2026-11-21T19:00:01Z""#;
        let head = Head::read(format!(r#"{{"id":"a\"b",{times},"payload":{{"id":"no"}}}}"#).as_bytes()).unwrap();
        assert_eq!((head.id.as_str(), head.received.ms() - head.time.ms()), ("a\"b", 877));
        for (line, why) in [
            ("{}", "no id"),
            ("[]", "not an object"),
            (r#"{"id":"a"}"#, "no time"),
            (r#"{"id":"","time":"2026-11-21T19:00:00Z","received":"2026-11-21T19:00:00Z"}"#, "id of 0 bytes"),
            (r#"{"id":7,"time":"2026-11-21T19:00:00Z","received":"2026-11-21T19:00:00Z"}"#, "no id"),
            (r#"{"id":"a","time":1}"#, "time is no string"),
            (r#"{"id":"a","time":"now"}"#, "not an RFC 3339 time"),
            (r#"{"id":"a","time":"2026-11-21T19:00:00Z"}"#, "no received"),
        ] {
            assert!(Head::read(line.as_bytes()).unwrap_err().contains(why), "{line}");
        }
    }

    #[test]
    fn the_order_of_ids_is_the_order_of_their_text() {
        let a = "01a19b7c-a680-8f8b-8090-4f6c61370ecc";
        let b = "01a19b7c-a680-8f8b-8090-4f6c61370ecd";
        assert!(id_order(a) < id_order(b));
        assert!(id_order("ape") < id_order("bee"));
        assert_ne!(id_order("same-prefix-1"), id_order("same-prefix-2"));
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        let numbers: Vec<_> = (0..=NAMES_MAX).map(|i| names.number(&format!("payload.k{i}"))).collect();
        assert_eq!(numbers.iter().flatten().count(), NAMES_MAX);
        assert!(names.full);
        assert_eq!(names.number("payload.k7"), Some(7));
        let keys = (0..=KEYS_MAX).filter_map(|i| names.number(&format!("machine.k{i}"))).count();
        assert_eq!(keys, KEYS_MAX);
        assert_eq!(Names::default().number("a\u{1}b"), None);
        assert_eq!(Names::default().number(&"x".repeat(NAME_MAX + 1)), None);
    }
}
