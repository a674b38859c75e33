//! From an event's line to what a cluster's index takes.
//!
//! The document is ours from end to end: the line as it came (`zentral.line`, which is what searches give back), what
//! searches read, and a copy of what dashboards show, in which every field has the type that the template says. So no event can
//! be at odds with the mapping, whatever an agent puts into it.

use event::json;

use super::list::List;
use super::terms::Terms;
use crate::index::Head;
use crate::index::id_order;
use crate::index::scan::{self, Leaf};
use crate::words;

/// Bytes of a value as dashboards see it; searches see more.
const SHOWN_MAX: usize = 1024;

/// Fields of the envelope that dashboards see, by the object that holds them.
pub const SHOWN: [(&str, &[&str]); 4] = [
    (
        "machine",
        &["serial_number", "hardware_uuid", "hostname", "platform", "os_version", "unit", "tags", "groups", "user"],
    ),
    ("request", &["ip", "user_agent"]),
    ("probes", &["name", "rev", "severity", "act", "key", "context.title"]),
    ("cause", &["event", "probe", "action"]),
];
/// The same of those that stand for themselves.
pub const SHOWN_ALONE: [&str; 4] = ["type", "source", "tags", "objects"];

/// Keys of the payload that dashboards count by. The payload itself is one field, whose keys they neither see nor, in
/// OpenSearch, can count: these have fields of their own beside it, in `shown`.
pub const SHOWN_OF_PAYLOAD: [&str; 25] = [
    "action",
    "decision",
    "error",
    "executing_user",
    "file_name",
    "file_path",
    "file_sha256",
    "kind",
    "message",
    "name",
    "outcome",
    "parent_name",
    "previous_status",
    "query",
    "request_type",
    "rule_name",
    "run_type",
    "severity",
    "source",
    "state",
    "status",
    "team_id",
    "tries",
    "version",
    "why",
];

/// Makes documents, keeping its memory from one to the next.
#[derive(Default)]
pub struct Builder {
    terms: Terms,
    words: List,
    /// Memory for the words of one value.
    text: String,
    shown: Vec<(String, String)>,
    of_payload: Vec<(String, String)>,
    /// Events of which not all found room.
    pub cut: u64,
    timestamp: bool,
}

impl Builder {
    /// For a data stream, which asks for the time as `@timestamp`, or for daily indices.
    pub fn new(stream: bool) -> Self {
        Self { timestamp: stream, ..Self::default() }
    }

    /// Appends the document of `line`, which is canonical and whose head is `head`, as one line of JSON.
    pub fn document(&mut self, head: &Head, line: &[u8], out: &mut Vec<u8>) {
        self.terms.clear();
        self.words.clear();
        out.extend_from_slice(b"{\"id\":");
        json::write_str(&head.id, out);
        out.extend_from_slice(format!(",\"time\":{},\"received\":{}", head.time.ms(), head.received.ms()).as_bytes());
        if self.timestamp {
            out.extend_from_slice(format!(",\"@timestamp\":{}", head.time.ms()).as_bytes());
        }
        let mut name = String::new();
        for (key, value) in json::members(line).flatten() {
            if matches!(key, b"v" | b"id" | b"time" | b"received") {
                continue;
            }
            let Ok(key) = std::str::from_utf8(key) else { continue };
            name.clear();
            name.push_str(key);
            scan::walk(value, &mut name, &mut |name, leaf| self.leaf(key, name, &leaf));
            write_shown(key, &mut self.shown, out);
            write_shown("shown", &mut self.of_payload, out);
        }
        self.cut += u64::from(self.terms.full());
        let (hi, lo) = id_order(&head.id);
        out.extend_from_slice(
            format!(",\"zentral\":{{\"order\":\"{hi:016x}{lo:016x}\",\"bytes\":{}", line.len()).as_bytes(),
        );
        self.words.write("words", out);
        self.terms.terms.write("terms", out);
        self.terms.fields.write("fields", out);
        self.terms.values.write("values", out);
        out.extend_from_slice(b",\"line\":");
        json::write_str(&String::from_utf8_lossy(line), out);
        out.extend_from_slice(b"}}\n");
    }

    fn leaf(&mut self, key: &str, name: &str, leaf: &Leaf<'_>) {
        let text = match leaf {
            Leaf::Text(text) => text.as_ref(),
            Leaf::Number(text) => *text,
            Leaf::Bool(true) => "true",
            Leaf::Bool(false) => "false",
        };
        self.text.clear();
        words::each(text, |word| self.text.extend([word, "\n"]));
        if let Some(words) = self.text.strip_suffix('\n') {
            self.words.push(&[words]);
        }
        let Some(value) = self.terms.leaf(name, leaf) else { return };
        let rest = name.strip_prefix(key).unwrap_or_default().strip_prefix('.').unwrap_or_default();
        let shown = match SHOWN.iter().find(|(object, _)| *object == key) {
            Some((_, fields)) => fields.contains(&rest),
            None if key == "payload" => !rest.is_empty() && rest.split('.').all(|part| !part.trim().is_empty()),
            None => rest.is_empty() && SHOWN_ALONE.contains(&key),
        };
        if shown {
            let value = value.get(..value.floor_char_boundary(SHOWN_MAX)).unwrap_or_default();
            self.shown.push((rest.to_owned(), value.to_owned()));
            if key == "payload" && SHOWN_OF_PAYLOAD.contains(&rest) {
                self.of_payload.push((rest.to_owned(), value.to_owned()));
            }
        }
    }
}

/// Appends the values under one key, and forgets them: a list, or an object of lists by the rest of their names.
fn write_shown(key: &str, values: &mut Vec<(String, String)>, out: &mut Vec<u8>) {
    // Values of one name stand together, in their order.
    values.sort_by(|a, b| a.0.cmp(&b.0));
    let mut groups = values.chunk_by(|a, b| a.0 == b.0).peekable();
    let Some(first) = groups.peek() else { return };
    if first.first().is_some_and(|(rest, _)| rest.is_empty()) {
        write_list(key, values.iter().map(|(_, value)| value.as_str()), out);
        values.clear();
        return;
    }
    out.extend_from_slice(b",");
    json::write_str(key, out);
    let mut between = b":{";
    for group in groups {
        let Some((rest, _)) = group.first() else { continue };
        out.extend_from_slice(between);
        between = b", ";
        json::write_str(rest, out);
        out.extend_from_slice(b":[");
        for (i, (_, value)) in group.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"" } else { b"," });
            json::write_str(value, out);
        }
        out.extend_from_slice(b"]");
    }
    out.extend_from_slice(b"}");
    values.clear();
}

fn write_list<'a>(key: &str, items: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",");
    json::write_str(key, out);
    out.extend_from_slice(b":[");
    for (i, item) in items.enumerate() {
        out.extend_from_slice(if i == 0 { b"" } else { b"," });
        json::write_str(item, out);
    }
    out.extend_from_slice(b"]");
}
