//! What Munki's clients send: whatever it holds, the raw lines are lines, the events are events, a snapshot is one, the
//! reply is JSON, and nothing is remembered of a post that was not taken.
//!
//! The input: a byte that chooses path and encoding, then the body as it comes; or, for a fourth path, a property list
//! that is put into a post as a report.

use std::any::Any;
use std::cell::RefCell;
use std::io::BufReader;
use std::sync::Arc;

use event::{Machine, Raw, Time};
use serde_json::Value;
use sources::munki::{self, Bound, Check, Expected, SOURCE, Secret, Settings, State};
use sources::{Desk, Enrolment, MachineFacts, NoRoom, Request, Sink, Source, Speaker, Unavailable};

use super::{raw, show};

const PATHS: [&str; 4] =
    ["/public/munki/post_job/", "/public/munki/job_details/", "/public/munki/enroll/", "/public/munki/post_job/"];
const ENCODINGS: [Option<&str>; 3] = [None, Some("gzip"), Some("deflate")];
const SERIAL: &str = "C02XL0AAJGH5";
/// Inflated bytes that are held.
const HELD: usize = 1 << 20;

/// `data` is a choice and a body.
pub fn run(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else { return };
    let path = PATHS[usize::from(choice & 3)];
    let encoding = ENCODINGS[usize::from(choice >> 4 & 3) % ENCODINGS.len()];
    if choice & 3 == 3 {
        answer(path, None, &with_report(body));
    } else {
        answer(path, encoding, body);
    }
}

/// A post with this property list as its one report.
fn with_report(list: &[u8]) -> Vec<u8> {
    let mut body =
        format!("{{\"machine_snapshot\":{{\"serial_number\":\"{SERIAL}\"}},\"reports\":[{{\"plist\":\"").into_bytes();
    for three in list.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | u32::from(three.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let sextet = (bits >> (18 - 6 * i) & 63) as usize;
            let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            body.push(if i > three.len() { b'=' } else { letters[sextet] });
        }
    }
    body.extend_from_slice(b"\"}]}");
    body
}

/// Answers a request and looks at all that comes of it.
fn answer(path: &'static str, encoding: Option<&'static str>, body: &[u8]) {
    let headers: &[(&str, &str)] = &[("authorization", "MunkiEnrolledMachine t")];
    let request = Request {
        id: "0b9c5d1e-0000-4000-8000-000000000001",
        received: Time::from_ms(1_767_686_410_000),
        method: "POST",
        route: sources::route(path).expect("one of ours").1,
        parts: &[],
        query: None,
        headers: &headers,
        encoding,
        ip: Some("203.0.113.9"),
        user_agent: Some("zentral-munki/1"),
        inflated_max: HELD,
    };
    let (mut topic, desk) = (Topic::default(), Fleet::default());
    let reply = SOURCE.answer(&request, &mut BufReader::new(body), &desk, &mut topic);
    let text = reply.body.as_bytes();
    let said: Value = serde_json::from_slice(text).unwrap_or_else(|e| panic!("{e}: {}", show(text)));
    assert!(
        said.is_object() && (reply.status == 200 || said.get("error").is_some()),
        "{} {}",
        reply.status,
        show(text)
    );
    assert!(matches!(reply.status, 200 | 400 | 403 | 413 | 503), "{}", reply.status);
    assert!(desk.kept.borrow().is_none() || reply.status == 200, "remembered, and not taken: {}", show(body));
    let mut count = 0;
    for line in topic.lines.split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or_else(|| panic!("half a line: {}", show(line)));
        look(raw::raw(line).unwrap_or_else(|| panic!("no raw line: {}", show(line))), line);
        count += 1;
    }
    assert_eq!(count, topic.count, "lines and their number");
}

/// A raw line in its written form gives events, a snapshot or a reason.
fn look(parsed: Raw, line: &[u8]) {
    let mut again = Vec::new();
    parsed.write(&mut again);
    assert_eq!(show(&again), show(line));
    let _ = SOURCE.facts(&parsed);
    if let Some(Ok(snapshot)) = SOURCE.snapshot(&parsed) {
        let text = serde_json::to_string(&snapshot.parts).expect("a snapshot is JSON");
        assert!(!text.contains("\\u0000"), "a NUL byte: {text}");
    }
    match SOURCE.translate(&parsed) {
        Ok(events) => {
            for event in events {
                let mut line = Vec::new();
                event.write(&mut line);
                assert!(raw::event(&line).is_some(), "unreadable event: {}", show(&line));
                assert!(event::json::is_canonical(&line), "not canonical: {}", show(&line));
            }
        }
        Err(refusal) => assert!(!refusal.reason.is_empty() && !refusal.text.is_empty()),
    }
}

/// A fleet of one machine and one script check.
struct Fleet {
    settings: Settings,
    check: Check,
    kept: RefCell<Option<State>>,
}

impl Default for Fleet {
    fn default() -> Self {
        let settings = Settings { collected_condition_keys: vec!["machine_type".into()], ..Settings::default() };
        let check = Check {
            name: "firewall".into(),
            rev: "1f6c09aa".into(),
            source: "print 1".into(),
            expected: Expected::Int(1),
            every_ms: 86_400_000,
            arch: vec!["arm64".into()],
            os: Bound::list(">=14,<15").expect("a bound"),
        };
        Self { settings, check, kept: RefCell::default() }
    }
}

impl Desk for Fleet {
    fn enrol(&self, _: &'static str, secret: &str, facts: &MachineFacts) -> Enrolment {
        match secret {
            "s" => Enrolment::Accepted { node_key: "k".into(), machine: facts.machine(), again: false },
            "c" => Enrolment::Conflict { known: facts.machine(), why: "hardware", pending: false },
            _ => Enrolment::Refused("secret_bad"),
        }
    }

    fn speaker(&self, _: &'static str, _: &str) -> Speaker {
        Speaker::Known(Machine { serial_number: Some(SERIAL.into()), ..Machine::default() })
    }

    fn osquery_config(&self, _: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        Err(Unavailable)
    }

    fn heard(&self, _: &'static str, _: &Machine, _: &'static str) -> bool {
        true
    }

    fn munki(&self) -> Option<&dyn munki::Desk> {
        Some(self)
    }
}

impl munki::Desk for Fleet {
    fn secret(&self, _: &str) -> Secret {
        Secret::Refused("secret_bad")
    }

    fn is_ours(&self, _: &str) -> bool {
        true
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn checks(&self, _: &Machine) -> Vec<&Check> {
        vec![&self.check]
    }

    fn state(&self, _: &str) -> Result<Option<State>, Unavailable> {
        Ok(self.kept.borrow().clone())
    }

    fn keep(&self, _: &str, state: &State) -> Result<(), Unavailable> {
        *self.kept.borrow_mut() = Some(state.clone());
        Ok(())
    }

    fn alone(&self, _: &str) -> Option<Box<dyn Any>> {
        Some(Box::new(()))
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
