//! What agents send: however a body is cut into pieces, it is the same body; whatever it holds, the raw lines are lines,
//! the events are events and the reply is one that the agent understands.
//!
//! The input: a byte that chooses path, encoding and size of the pieces, then the body as it comes.

use std::cell::RefCell;
use std::io::BufReader;
use std::sync::Arc;

use event::{Machine, Raw, Time};
use serde_json::Value;
use sources::{
    BodyError, Desk, Enrolment, Head, Inflate, InflateError, MachineFacts, NoRoom, Record, Request, Sink, Source,
    Speaker, Splitter, Take, Unavailable, osquery,
};

use super::{raw, show};

const PATHS: [&str; 5] = [
    "/public/osquery/log",
    "/public/osquery/enroll",
    "/public/osquery/config",
    "/public/osquery/distributed/read",
    "/public/osquery/distributed/write",
];
const ENCODINGS: [Option<&str>; 3] = [None, Some("gzip"), Some("deflate")];
/// Sizes of the pieces that a body comes in.
const PIECES: [usize; 4] = [1, 3, 17, 4096];
/// Inflated bytes that are held: everything, and so little that a log is split while it streams.
const HELD: [usize; 2] = [1 << 20, 64];

/// `data` is a choice and a body.
pub fn run(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else { return };
    let piece = PIECES[usize::from(choice >> 6)];
    let encoding = ENCODINGS[usize::from(choice >> 4 & 3) % ENCODINGS.len()];
    // The log is what most bodies are.
    let path = PATHS.get(usize::from(choice & 15)).copied().unwrap_or(PATHS[0]);

    split(body, piece);
    inflate(body, encoding, piece);
    let (whole, streamed) =
        (answer(path, encoding, body, piece, HELD[0]), answer(path, encoding, body, piece, HELD[1]));
    if let (Some(whole), Some(streamed)) = (whole, streamed) {
        assert_eq!(whole, streamed, "whole and streamed differ: {}", show(body));
    }
    for line in body.split(|b| *b == b'\n') {
        for event in osquery::SOURCE.read_log(line, now()).unwrap_or_default() {
            written(&event);
        }
    }
}

fn now() -> Time {
    Time::from_ms(1_767_686_410_000)
}

/// An event of ours is one that everybody can read, in canonical form.
fn written(event: &event::Event) {
    let mut line = Vec::new();
    event.write(&mut line);
    assert!(raw::event(&line).is_some(), "unreadable event: {}", show(&line));
    assert!(event::json::is_canonical(&line), "not canonical: {}", show(&line));
}

/// The splitter gives the same for a whole body and for pieces of it.
fn split(body: &[u8], piece: usize) {
    for list in [false, true] {
        let splitter = || if list { Splitter::list() } else { Splitter::default() };
        let mut whole = Records::default();
        let at_once = splitter().whole(body, &mut whole);
        let mut pieces = Records::default();
        let in_pieces = feed(splitter(), body, piece, &mut pieces);
        assert_eq!(at_once, in_pieces, "by {piece}: {}", show(body));
        if at_once.is_ok() {
            assert_eq!(whole.0, pieces.0, "by {piece}: {}", show(body));
            // What is taken as a body is JSON, but for records that are marked as flawed.
            let flawed = whole.0.iter().any(|r| !r.starts_with("json "));
            let json = serde_json::from_slice::<serde::de::IgnoredAny>(body);
            assert!(flawed || json.is_ok() || std::str::from_utf8(body).is_err(), "no JSON: {}", show(body));
        }
    }
}

fn feed(mut splitter: Splitter, body: &[u8], piece: usize, take: &mut Records) -> Result<Head, BodyError> {
    let mut held = Vec::new();
    for piece in body.chunks(piece) {
        held.extend_from_slice(piece);
        let done = splitter.feed(&held, take)?;
        held.drain(..done);
    }
    splitter.end()
}

/// Records as text, so that they can be compared and kept.
#[derive(Default)]
struct Records(Vec<String>);

impl<'t> Take<'t> for Records {
    fn data(&mut self, head: &Head) -> Result<(), BodyError> {
        self.0.push(format!("json data {head:?}"));
        Ok(())
    }

    fn record(&mut self, _: &Head, record: Record<'t>) -> Result<(), BodyError> {
        self.0.push(match record {
            Record::Json { text, spaces, unix_time, calendar_time } => {
                let value = serde_json::from_slice::<serde::de::IgnoredAny>(text);
                assert!(value.is_ok(), "a record that is no JSON: {}", show(text));
                let show_time = |time: Option<&[u8]>| time.map(show);
                format!("json {} {spaces} {:?} {:?}", show(text), show_time(unix_time), show_time(calendar_time))
            }
            Record::Bytes { text, flaw } => format!("bytes {flaw:?} {}", show(text)),
            Record::Cut { bytes, sha256, head } => format!("cut {bytes} {sha256} {head}"),
        });
        Ok(())
    }
}

/// Inflating gives the same however the bytes come.
fn inflate(body: &[u8], encoding: Option<&str>, piece: usize) {
    let inflate = |piece: usize| -> Result<(bool, Vec<u8>), InflateError> {
        let mut from = BufReader::with_capacity(piece, body);
        let mut inflate = Inflate::new(&mut from, encoding)?;
        let mut out = Vec::new();
        let ended = inflate.read(&mut out, HELD[0])?;
        assert!(out.len() <= HELD[0], "more than was wanted");
        assert_eq!(inflate.counts().1, out.len() as u64);
        Ok((ended, out))
    };
    assert_eq!(inflate(piece), inflate(1 << 16), "as {encoding:?} by {piece}: {}", show(body));
}

/// Answers a request and looks at all that comes of it. The raw lines, if it was a log that was taken and that has one
/// list of records.
fn answer(
    path: &'static str,
    encoding: Option<&'static str>,
    body: &[u8],
    piece: usize,
    held: usize,
) -> Option<Vec<u8>> {
    let request = Request {
        id: "0b9c5d1e-0000-4000-8000-000000000001",
        received: now(),
        method: "POST",
        route: sources::route(path).expect("one of ours").1,
        parts: &[],
        query: None,
        headers: &(&[] as &[(&str, &str)]),
        encoding,
        ip: Some("203.0.113.9"),
        user_agent: Some("osquery/5.23.0"),
        inflated_max: held,
    };
    let mut topic = Topic::default();
    let desk = Fleet::default();
    let reply = osquery::SOURCE.answer(&request, &mut BufReader::with_capacity(piece, body), &desk, &mut topic);
    let text = reply.body.as_bytes();
    let said: Value = serde_json::from_slice(text).unwrap_or_else(|e| panic!("{e}: {}", show(text)));
    assert!(said.is_object(), "an agent takes {} for success", show(text));
    assert!(reply.status == 200 || said.get("error").is_some(), "{} {}", reply.status, show(text));
    lines(&topic);
    // Lines go out as they come when a log streams; a second `data` or key then counts too, which a whole body drops.
    let plain = path == PATHS[0] && reply.status == 200 && reply.records > 0;
    (plain && desk.asked.borrow().len() == 1).then_some(topic.lines).filter(|_| one_data(body, encoding))
}

/// Whether the body names `data` once, as far as can be told without reading it.
fn one_data(body: &[u8], encoding: Option<&str>) -> bool {
    let mut from = body;
    let mut text = Vec::new();
    let inflated = Inflate::new(&mut from, encoding).and_then(|mut inflate| inflate.read(&mut text, HELD[0]));
    let mut records = Records::default();
    inflated.is_ok()
        && Splitter::default().whole(&text, &mut records).is_ok()
        && records.0.iter().filter(|r| r.starts_with("json data ")).count() == 1
        && event::json::members(&text).filter_map(Result::ok).count() == 3
}

/// Every line that goes out is a raw line in its written form, and gives events or a reason.
fn lines(topic: &Topic) {
    let mut count = 0;
    for line in topic.lines.split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or_else(|| panic!("half a line: {}", show(line)));
        assert!(!line.contains(&0), "a NUL byte: {}", show(line));
        let parsed: Raw = raw::raw(line).unwrap_or_else(|| panic!("no raw line: {}", show(line)));
        let mut again = Vec::new();
        parsed.write(&mut again);
        assert_eq!(show(&again), show(line));
        let _ = osquery::SOURCE.facts(&parsed);
        match osquery::SOURCE.translate(&parsed) {
            Ok(events) => events.iter().for_each(written),
            Err(refusal) => assert!(!refusal.reason.is_empty() && !refusal.text.is_empty()),
        }
        count += 1;
    }
    assert_eq!(count, topic.count, "lines and their number");
}

/// A fleet of one machine that has every node key but the empty one and `no`.
#[derive(Default)]
struct Fleet {
    asked: RefCell<Vec<String>>,
}

impl Desk for Fleet {
    fn enrol(&self, _: &'static str, secret: &str, facts: &MachineFacts) -> Enrolment {
        match secret {
            "s" => Enrolment::Accepted { node_key: "k".into(), machine: facts.machine(), again: false },
            "c" => Enrolment::Conflict { known: facts.machine(), why: "hardware", pending: false },
            "" => Enrolment::Unavailable,
            _ => Enrolment::Refused("secret_bad"),
        }
    }

    fn speaker(&self, _: &'static str, node_key: &str) -> Speaker {
        self.asked.borrow_mut().push(node_key.to_owned());
        match node_key {
            "" => Speaker::Unavailable,
            "no" => Speaker::Unknown,
            _ => Speaker::Known(Machine { serial_number: Some("C02XL0AAJGH5".into()), ..Machine::default() }),
        }
    }

    fn osquery_config(&self, _: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        Ok(Arc::from(&b"{}"[..]))
    }

    fn heard(&self, _: &'static str, _: &Machine, _: &'static str) -> bool {
        true
    }
}

#[derive(Default)]
struct Topic {
    lines: Vec<u8>,
    count: usize,
}

impl Sink for Topic {
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom> {
        self.lines.extend_from_slice(&lines);
        self.count += count;
        Ok(())
    }
}
