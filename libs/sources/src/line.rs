//! Raw lines of one request, written by hand: what is the same for all its records is made once.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::{LINE_MAX, Machine, Time, VERSION, id, json};

use crate::cut::Cutting;
use crate::{NoRoom, Record, Request, Sink};

/// Room that a line leaves for what stands around a record.
pub const ENVELOPE_MAX: usize = 64 << 10;
/// The longest record that travels whole.
pub const RECORD_MAX: usize = LINE_MAX - ENVELOPE_MAX;
/// A longer user agent is cut.
const USER_AGENT_MAX: usize = 256;
/// Lines are handed to the sink in pieces of about this size.
const PIECE: usize = 1 << 20;

/// Writes the raw lines of one request.
pub struct Lines<'a> {
    source: &'a str,
    machine_key: String,
    received: Time,
    request_id: &'a str,
    /// From `","source":` to `"kind":`.
    before_kind: Vec<u8>,
    /// From `,"received":` to `"body":`.
    before_body: Vec<u8>,
    /// How often an id was given out: two equal records of one body differ by their occurrence.
    seen: HashMap<[u8; 36], u32>,
    out: Vec<u8>,
    count: usize,
    scratch: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// For a request of `machine`.
    pub fn new(source: &'a str, request: &Request<'a>, machine: &Machine) -> Self {
        let mut before_kind = b"\",\"source\":".to_vec();
        json::write_str(source, &mut before_kind);
        before_kind.extend_from_slice(b",\"kind\":");
        let by = event::Request {
            ip: request.ip.map(str::to_owned),
            user_agent: request.user_agent.map(|agent| agent.chars().take(USER_AGENT_MAX).collect()),
            ..event::Request::default()
        };
        let mut before_body = before_body(request.received, machine, &by);
        if before_body.len() > ENVELOPE_MAX / 2 {
            // A machine with that many tags: its names are enough to find them again.
            let bare =
                Machine { tags: Vec::new(), groups: Vec::new(), extra: serde_json::Map::new(), ..machine.clone() };
            before_body = self::before_body(request.received, &bare, &by);
        }
        Self {
            source,
            machine_key: machine.key().unwrap_or_default().to_owned(),
            received: request.received,
            request_id: request.id,
            before_kind,
            before_body,
            seen: HashMap::new(),
            out: Vec::new(),
            count: 0,
            scratch: Vec::new(),
        }
    }

    /// Makes room for `records` of `bytes` together.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        let around = self.before_kind.len() + self.before_body.len() + 80;
        self.out.reserve(bytes.saturating_add(records.saturating_mul(around)).min(PIECE * 2));
        self.seen.reserve(records.min(2048));
    }

    /// A line for a record of the agent.
    pub fn record(&mut self, kind: &str, record: &Record<'_>) {
        match *record {
            Record::Json { text, spaces, unix_time, calendar_time } => {
                let ms = crate::osquery::time::ms(unix_time, calendar_time);
                if spaces {
                    let mut minified = std::mem::take(&mut self.scratch);
                    minified.clear();
                    minify(text, &mut minified);
                    self.line(kind, ms, &minified, &[&minified]);
                    self.scratch = minified;
                } else {
                    self.line(kind, ms, text, &[text]);
                }
            }
            Record::Bytes { text, .. } => {
                let base64 = STANDARD.encode(text);
                self.line(kind, None, text, &[b"{\"base64\":\"", base64.as_bytes(), b"\"}"]);
            }
            Record::Cut { bytes, ref sha256, ref head } => {
                let mut body = format!("{{\"cut\":{{\"bytes\":{bytes},\"sha256\":\"{sha256}\",\"head\":").into_bytes();
                json::write_str(head, &mut body);
                body.extend_from_slice(b"}}");
                self.line(kind, None, sha256.as_bytes(), &[&body]);
            }
        }
    }

    /// A line for a record whose time (ms since 1970), if it has one, the source has read; `text` is canonical JSON.
    pub fn timed(&mut self, kind: &str, ms: Option<i64>, text: &[u8]) {
        if text.len() > RECORD_MAX {
            self.record(kind, &Cutting::whole(text));
        } else {
            self.line(kind, ms, text, &[text]);
        }
    }

    /// A line of our own about this request; `body` is minified JSON. It may hold what the agent said, so it is cut like
    /// a record if it is too long.
    pub fn own(&mut self, kind: &str, body: &[u8]) {
        self.timed(kind, None, body);
    }

    /// How many lines there were.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Hands over what there is, if it is much; `all`: in any case.
    pub fn flush(&mut self, sink: &mut dyn Sink, all: bool) -> Result<(), NoRoom> {
        if !self.out.is_empty() && (all || self.out.len() >= PIECE) {
            sink.lines(std::mem::take(&mut self.out), std::mem::take(&mut self.count))?;
        }
        Ok(())
    }

    fn line(&mut self, kind: &str, ms: Option<i64>, content: &[u8], body: &[&[u8]]) {
        let mut id = self.id(ms, content, 0);
        let mut key = [0; 36];
        for (to, from) in key.iter_mut().zip(id.bytes()) {
            *to = from;
        }
        let copies = self.seen.entry(key).or_insert(0);
        let occurrence = *copies;
        *copies += 1;
        if occurrence > 0 {
            id = self.id(ms, content, occurrence);
        }
        let out = &mut self.out;
        out.extend_from_slice(b"{\"v\":1,\"id\":\"");
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&self.before_kind);
        json::write_str(kind, out);
        out.extend_from_slice(&self.before_body);
        for part in body {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b"}\n");
        self.count += 1;
    }

    fn id(&self, ms: Option<i64>, content: &[u8], occurrence: u32) -> String {
        match ms {
            Some(ms) => id::event_id(ms, self.source, &self.machine_key, content, occurrence),
            None => id::event_id_without_time(
                self.received,
                self.request_id,
                self.source,
                &self.machine_key,
                content,
                occurrence,
            ),
        }
    }
}

fn before_body(received: Time, machine: &Machine, by: &event::Request) -> Vec<u8> {
    let mut out = format!(",\"received\":\"{received}\",\"machine\":").into_bytes();
    // Plain structs into a Vec: this cannot fail, and a line without them would be refused by its reader.
    let _ = serde_json::to_writer(&mut out, machine);
    out.extend_from_slice(b",\"request\":");
    let _ = serde_json::to_writer(&mut out, by);
    out.extend_from_slice(b",\"body\":");
    out
}

const _: () = assert!(VERSION == 1, "the version is written as text above");

/// Appends valid JSON without the white space outside its strings.
fn minify(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let outside = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(outside);
        out.extend(plain.iter().filter(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')));
        let mut end = 1;
        while let Some(n) = memchr::memchr2(b'"', b'\\', tail.get(end..).unwrap_or_default()) {
            end += n + 1;
            if tail.get(end - 1) == Some(&b'"') {
                break;
            }
            end += 1; // what the backslash escapes
        }
        let (string, tail) = tail.split_at(end.min(tail.len()));
        out.extend_from_slice(string);
        rest = tail;
    }
}

/// The record of an enrolment that contradicts what is known: what differs, and what the machine claims to be. `pending`:
/// somebody may approve of it.
pub(crate) fn conflict(claimed: &Machine, why: &str, pending: bool) -> Vec<u8> {
    let mut record = serde_json::json!({ "why": why, "claimed": claimed });
    if let Some(record) = record.as_object_mut().filter(|_| pending) {
        record.insert("pending".to_owned(), true.into());
    }
    record.to_string().into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use event::Raw;

    static ROUTE: crate::Route = crate::Route::new("/public/osquery/log", "log", None);

    fn request() -> Request<'static> {
        Request {
            id: "r-1",
            received: Time::from_ms(1_767_686_410_000),
            method: "POST",
            route: &ROUTE,
            parts: &[],
            query: None,
            headers: &(&[] as &[(&str, &str)]),
            encoding: None,
            ip: Some("203.0.113.9"),
            user_agent: Some("osquery/5.23.0 \"x\""),
            inflated_max: 1 << 20,
        }
    }

    fn machine() -> Machine {
        Machine { serial_number: Some("C02".into()), unit: Some("berlin".into()), ..Machine::default() }
    }

    fn json(text: &str) -> Record<'_> {
        Record::Json { text: text.as_bytes(), spaces: true, unix_time: Some(b"12"), calendar_time: None }
    }

    #[test]
    fn lines_are_what_raw_writes() {
        let mut lines = Lines::new("osquery", &request(), &machine());
        lines.record("result", &json("{ \"a\" : \"x \\\" y\\\\\" ,\n\"b\":[1, 2]}"));
        lines.record("result", &Record::Bytes { text: b"\xff{", flaw: crate::scan::Flaw::Json });
        lines.record("log:a\"b", &Record::Cut { bytes: 9, sha256: "ab".into(), head: "\"x\u{1}".into() });
        lines.own("request", br#"{"request_type":"log"}"#);
        let out = String::from_utf8(lines.out.clone()).unwrap();
        assert_eq!((out.lines().count(), lines.count()), (4, 4));
        for line in out.lines() {
            let raw = Raw::parse(line.as_bytes()).unwrap();
            let mut again = Vec::new();
            raw.write(&mut again);
            assert_eq!(String::from_utf8(again).unwrap(), line);
            assert_eq!(raw.machine, machine());
        }
        assert!(out.lines().next().unwrap().ends_with(r#""body":{"a":"x \" y\\","b":[1,2]}}"#), "{out}");
    }

    #[test]
    fn ids_do_not_depend_on_place_but_on_copies() {
        let ids = |texts: &[&str], request: &Request<'_>| {
            let mut lines = Lines::new("osquery", request, &machine());
            texts.iter().for_each(|text| lines.record("result", &json(text)));
            let out = String::from_utf8(lines.out).unwrap();
            out.lines().map(|l| Raw::parse(l.as_bytes()).unwrap().id).collect::<Vec<_>>()
        };
        let later = Request { id: "r-2", received: Time::from_ms(1_767_686_499_000), ..request() };
        let first = ids(&["{\"a\":1}", "{\"a\":2}", "{\"a\":1}"], &request());
        let again = ids(&["{\"b\":0}", "{\"a\":2}", "{\"a\": 1}", "{\"a\":1}"], &later);
        assert_eq!(first, [again[2].clone(), again[1].clone(), again[3].clone()]);
        assert_ne!(first[0], first[2]);

        let untimed = Record::Json { text: b"{}", spaces: false, unix_time: None, calendar_time: None };
        let id = |request: &Request<'_>| {
            let mut lines = Lines::new("osquery", request, &machine());
            lines.record("result", &untimed);
            Raw::parse(lines.out.trim_ascii_end()).unwrap().id
        };
        assert_eq!(id(&request()), id(&request()));
        assert_ne!(id(&request()), id(&later));
    }

    #[test]
    fn a_line_of_our_own_is_no_longer_than_a_line_may_be() {
        for (bytes, cut) in [(RECORD_MAX - 2, false), (RECORD_MAX - 1, true), (5 << 20, true)] {
            let mut lines = Lines::new("osquery", &request(), &machine());
            lines.own("enroll", format!("\"{}\"", "x".repeat(bytes)).as_bytes());
            let line = lines.out.trim_ascii_end();
            assert!(line.len() <= LINE_MAX);
            assert_eq!(matches!(Raw::parse(line).unwrap().body, event::Body::Cut { .. }), cut, "{bytes}");
        }
    }

    #[test]
    fn an_envelope_stays_small() {
        let mut machine = machine();
        machine.tags = (0..20_000).map(|i| format!("tag-{i}")).collect();
        let lines = Lines::new("osquery", &request(), &machine);
        assert!(lines.before_body.len() < 1024);
    }
}
