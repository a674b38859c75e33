//! What Jamf servers and webhooks send: whatever a body holds, there is an answer, and what is taken is a raw line and a
//! canonical event.
//!
//! The input: a body as it comes, JSON or XML.

use std::cell::RefCell;
use std::io::BufReader;
use std::sync::Arc;

use event::{Machine, Raw, Time};
use sources::jamf::Caller;
use sources::secret::Word;
use sources::{Desk, Enrolment, MachineFacts, NoRoom, Request, Sink, Source, Speaker, Unavailable, jamf};

use super::{raw, show};

const PATH: &str = "/jamf/post_event/s3cret/";

/// `data` is a body.
pub fn run(data: &[u8]) {
    let hub = Hub {
        callers: vec![Caller {
            name: "jamf-prod".into(),
            secret: Word::new("s3cret"),
            header: "authorization".into(),
            own_users: vec!["hub".into()],
        }],
        lines: RefCell::default(),
    };
    let Some((_, route)) = sources::route(PATH) else { return };
    let parts = route.parts(PATH).unwrap_or_default();
    let request = Request {
        id: "r",
        received: Time::from_ms(1_767_686_410_000),
        method: "POST",
        route,
        parts: &parts,
        query: None,
        headers: &(&[] as &[(&str, &str)]),
        encoding: None,
        ip: None,
        user_agent: None,
        inflated_max: 1 << 20,
    };
    let reply = jamf::SOURCE.answer(&request, &mut BufReader::new(data), &hub, &mut Topic(&hub));
    let json: serde_json::Value = serde_json::from_slice(reply.body.as_bytes()).unwrap_or_default();
    assert!(json.is_object() && matches!(reply.status, 200 | 400 | 413), "{}: {}", reply.status, show(data));
    let lines = hub.lines.take();
    for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let Ok(raw) = Raw::parse(line) else { panic!("no raw line: {}", show(line)) };
        for event in jamf::SOURCE.translate(&raw).unwrap_or_default() {
            let mut line = Vec::new();
            event.write(&mut line);
            assert!(raw::event(&line).is_some(), "unreadable event: {}", show(&line));
            assert!(event::json::is_canonical(&line), "not canonical: {}", show(&line));
        }
    }
}

struct Hub {
    callers: Vec<Caller>,
    lines: RefCell<Vec<u8>>,
}

impl Desk for Hub {
    fn enrol(&self, _: &'static str, _: &str, _: &MachineFacts) -> Enrolment {
        Enrolment::Unavailable
    }

    fn speaker(&self, _: &'static str, _: &str) -> Speaker {
        Speaker::Unknown
    }

    fn osquery_config(&self, _: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        Err(Unavailable)
    }

    fn heard(&self, _: &'static str, _: &Machine, _: &'static str) -> bool {
        false
    }

    fn jamf(&self) -> &[Caller] {
        &self.callers
    }
}

struct Topic<'a>(&'a Hub);

impl Sink for Topic<'_> {
    fn lines(&mut self, lines: Vec<u8>, _: usize) -> Result<(), NoRoom> {
        self.0.lines.borrow_mut().extend_from_slice(&lines);
        Ok(())
    }
}
