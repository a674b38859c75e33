//! What Santa's agents send, in JSON and in protobuf: whatever it holds, the raw lines are lines, the events are events, the
//! reply is one that the agent understands, nothing but a postflight confirms rules; and a sync that follows brings them all.
//!
//! The input: a byte that chooses stage, encoding and form, then the body as it comes, which an agent sends in the middle of
//! a sync. Its lines are read as those of santad's log, too.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::BufReader;
use std::sync::Arc;

use event::{Machine, Raw, Time};
use serde_json::{Value, json};
use sources::santa::{
    self, Bundle, Client, Denied, Enrolled, Ledger, Member, Policy, Rule, RuleType, Ruleset, SOURCE, Settings, Version,
};
use sources::{Desk, Enrolment, MachineFacts, NoRoom, Reply, Request, Sink, Source, Speaker, Unavailable};

use super::{raw, show};

const STAGES: [&str; 6] = ["preflight", "eventupload", "ruledownload", "postflight", "logupload", "xsrf"];
const ENCODINGS: [Option<&str>; 3] = [None, Some("deflate"), Some("gzip")];
const PROTO: &str = "application/x-protobuf";
const ID: &str = "0F2C7A6E-5B1D-5E0C-8D54-3C1F7F0A0014";
const SERIAL: &str = "ZTST0000A014";
/// Inflated bytes that are held.
const HELD: usize = 1 << 20;

/// `data` is a choice and a body.
pub fn run(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else { return };
    let stage = STAGES.get(usize::from(choice & 7)).copied().unwrap_or(STAGES[1]);
    let encoding = ENCODINGS[usize::from(choice >> 3 & 3) % ENCODINGS.len()];
    let form = if choice & 32 == 0 { "application/json" } else { PROTO };
    let hub = Hub::default();
    // A sync is under way, and half of its rules are given.
    hub.told("preflight", &said());
    let page = hub.told("ruledownload", &json!({}));
    assert!(page["cursor"].is_string(), "{page}");
    let before = hub.ledger.borrow().confirmed;

    let reply = hub.ask(stage, encoding, form, body);
    let text = reply.body.as_bytes();
    if reply.content_type == PROTO {
        assert!(reply.status == 200 && form == PROTO, "{}", reply.status);
    } else {
        let said: Value = serde_json::from_slice(text).unwrap_or_else(|e| panic!("{e}: {}", show(text)));
        assert!(said.is_object() && (reply.status == 200 || said.get("error").is_some()), "{}", show(text));
    }
    assert!(matches!(reply.status, 200 | 400 | 403 | 404 | 413 | 503), "{}", reply.status);
    assert!(stage == "postflight" || hub.ledger.borrow().confirmed == before, "confirmed at {stage}: {}", show(body));
    for line in body.split(|b| *b == b'\n') {
        for event in SOURCE.read_log(line, now()).unwrap_or_default() {
            written(&event);
        }
    }
    hub.whole_sync();
}

fn now() -> Time {
    Time::from_ms(1_767_686_410_000)
}

fn said() -> Value {
    json!({"serial_num": SERIAL, "hostname": "mac", "os_version": "15.5", "os_build": "24F74", "santa_version": "2025.6",
        "machine_id": ID, "client_mode": "MONITOR"})
}

/// An event of ours is one that everybody can read, in canonical form.
fn written(event: &event::Event) {
    let mut line = Vec::new();
    event.write(&mut line);
    assert!(raw::event(&line).is_some(), "unreadable event: {}", show(&line));
    assert!(event::json::is_canonical(&line), "not canonical: {}", show(&line));
}

/// A raw line in its written form gives events, a snapshot or a reason.
fn look(parsed: &Raw, line: &[u8]) {
    let mut again = Vec::new();
    parsed.write(&mut again);
    assert_eq!(show(&again), show(line));
    let _ = SOURCE.facts(parsed);
    if let Some(Ok(mut snapshot)) = SOURCE.snapshot(parsed) {
        snapshot.tidy();
        assert!(event::inventory::diff(&snapshot, &snapshot).is_empty());
    }
    match SOURCE.translate(parsed) {
        Ok(events) => events.iter().for_each(written),
        Err(refusal) => assert!(!refusal.reason.is_empty() && !refusal.text.is_empty()),
    }
}

/// A hub with three rules, in pages of two, and one machine.
struct Hub {
    rules: Arc<Ruleset>,
    sets: RefCell<HashMap<[u8; 32], Arc<Ruleset>>>,
    known: RefCell<Option<MachineFacts>>,
    ledger: RefCell<Ledger>,
    given: RefCell<Option<String>>,
    bundles: RefCell<HashMap<String, Bundle>>,
    requests: Cell<usize>,
}

impl Default for Hub {
    fn default() -> Self {
        let rule = |n: u8| Rule {
            rule_type: RuleType::Binary,
            identifier: format!("{n:064x}"),
            policy: Policy::Blocklist,
            custom_msg: None,
            custom_url: None,
            cel_expr: None,
        };
        Self {
            rules: Arc::new(Ruleset::new([1, 2, 3].map(rule).into())),
            sets: RefCell::default(),
            known: RefCell::default(),
            ledger: RefCell::default(),
            given: RefCell::default(),
            bundles: RefCell::default(),
            requests: Cell::new(0),
        }
    }
}

impl Hub {
    fn ask(&self, stage: &str, encoding: Option<&str>, form: &str, body: &[u8]) -> Reply {
        let path = format!("/public/santa/sync/{stage}/{ID}");
        let Some((_, route)) = sources::route(&path) else { panic!("no route to {path}") };
        let parts = route.parts(&path).unwrap_or_default();
        self.requests.set(self.requests.get() + 1);
        let request = Request {
            id: &format!("0b9c5d1e-0000-4000-8000-{:012}", self.requests.get()),
            received: now(),
            method: "POST",
            route,
            parts: &parts,
            query: None,
            headers: &(&[("zentral-authorization", "Bearer s"), ("content-type", form)] as &[(&str, &str)]),
            encoding,
            ip: Some("203.0.113.9"),
            user_agent: Some("santactl-sync/2025.6"),
            inflated_max: HELD,
        };
        let mut topic = Topic::default();
        let reply = SOURCE.answer(&request, &mut BufReader::new(body), self, &mut topic);
        let mut count = 0;
        for line in topic.lines.split_inclusive(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or_else(|| panic!("half a line: {}", show(line)));
            look(&raw::raw(line).unwrap_or_else(|| panic!("no raw line: {}", show(line))), line);
            count += 1;
        }
        assert_eq!(count, topic.count, "lines and their number");
        reply
    }

    /// What a request that is fine is told.
    fn told(&self, stage: &str, body: &Value) -> Value {
        let reply = self.ask(stage, None, "application/json", body.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{stage}: {}", show(reply.body.as_bytes()));
        serde_json::from_slice(reply.body.as_bytes()).expect("a reply is JSON")
    }

    /// Whatever was said before, a sync from beginning to end gives what is missing, and is believed.
    fn whole_sync(&self) {
        self.told("preflight", &said());
        let mut cursor = json!({});
        for _ in 0..=self.rules.rules().len() {
            let page = self.told("ruledownload", &cursor);
            match page.get("cursor") {
                Some(more) => cursor = json!({"cursor": more}),
                None => break,
            }
        }
        assert_eq!(self.told("postflight", &json!({"machine_id": ID})), json!({}));
        let ledger = self.ledger.borrow();
        assert_eq!((ledger.confirmed, ledger.session.is_none()), (Some(self.rules.hash()), true));
    }

    fn known(&self, facts: MachineFacts) -> Client {
        let machine = Machine { unit: Some("berlin".into()), ..facts.machine() };
        Client { key: [7; 32], machine, facts, ledger: self.ledger.borrow().clone() }
    }
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
        true
    }

    fn santa(&self) -> Option<&dyn santa::Desk> {
        Some(self)
    }
}

impl santa::Desk for Hub {
    fn admits(&self, secret: &str) -> Result<(), Denied> {
        if secret == "s" { Ok(()) } else { Err(Denied::Refused("secret_bad")) }
    }

    fn client(&self, secret: &str, _: &str) -> Result<Option<Client>, Denied> {
        santa::Desk::admits(self, secret)?;
        Ok(self.known.borrow().clone().map(|facts| self.known(facts)))
    }

    fn enrol(&self, _: &str, _: &str, facts: &MachineFacts) -> Result<Enrolled, Denied> {
        let before = self.known.borrow().clone();
        if let Some(known) = before.as_ref().filter(|known| known.serial_number != facts.serial_number) {
            return Ok(Enrolled::Conflict { known: known.machine(), why: "serial", pending: false });
        }
        *self.known.borrow_mut() = Some(facts.clone());
        Ok(Enrolled::Done { client: self.known(facts.clone()), new: before.is_none(), again: false })
    }

    fn settings(&self, _: &Machine) -> Settings {
        Settings { batch_size: 2, enable_bundles: Some(true), ..Settings::default() }
    }

    fn rules(&self, _: &Machine, _: Version) -> Arc<Ruleset> {
        self.rules.clone()
    }

    fn kept(&self, hash: &[u8; 32]) -> Result<Arc<Ruleset>, Unavailable> {
        self.sets.borrow().get(hash).cloned().ok_or(Unavailable)
    }

    fn keep(&self, _: &Client, ledger: &Ledger, rules: &[&Ruleset]) -> Result<(), Unavailable> {
        let mut sets = self.sets.borrow_mut();
        sets.extend(rules.iter().map(|set| (set.hash(), Arc::new((*set).clone()))));
        *self.ledger.borrow_mut() = ledger.clone();
        Ok(())
    }

    fn gave(&self, client: &Client) {
        *self.given.borrow_mut() = client.ledger.session.as_ref().map(|session| session.id.clone());
    }

    fn was_given(&self, client: &Client) -> bool {
        client.ledger.session.as_ref().is_some_and(|session| *self.given.borrow() == Some(session.id.clone()))
    }

    fn bundle(&self, hash: &str) -> Result<Option<bool>, Unavailable> {
        Ok(self.bundles.borrow().get(hash).map(|_| false))
    }

    fn await_bundle(&self, bundle: &Bundle) -> Result<(), Unavailable> {
        assert!(serde_json::from_str::<Value>(&bundle.about).is_ok_and(|about| about.is_object()), "{}", bundle.about);
        self.bundles.borrow_mut().insert(bundle.hash.clone(), bundle.clone());
        Ok(())
    }

    fn collect(&self, members: &[Member]) -> Result<Vec<(Bundle, Vec<String>)>, Unavailable> {
        let bundles = self.bundles.borrow();
        let whole = members
            .iter()
            .filter_map(|member| Some((bundles.get(&member.bundle)?.clone(), vec![member.about.clone()])));
        Ok(whole.collect())
    }

    fn told(&self, hashes: &[String]) -> Result<(), Unavailable> {
        self.bundles.borrow_mut().retain(|hash, _| !hashes.contains(hash));
        Ok(())
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
