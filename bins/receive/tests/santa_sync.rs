//! Santa's agents against the real program: whoever dies between whichever stages, in the end each machine has the rules
//! that are for it, and the hub knows it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use std::collections::BTreeMap;

use common::santad::Santad;
use common::{Conn, Hub, body, wait};
use event::Time;
use registry::db::{Db, Tx};
use registry::made_rules::{self, MadeRule};
use registry::{changes, tags};
use rustix::process::Signal;
use serde_json::{Value, json};

/// How far a machine comes, and whether it dies there or goes on after the rules have changed.
#[derive(Debug, Clone, Copy)]
struct Way {
    upto: Stage,
    dies: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Nothing,
    Preflight,
    Page,
    Downloaded,
    Applied,
    Postflight,
}

fn ways() -> Vec<Way> {
    let between = [Stage::Preflight, Stage::Page, Stage::Downloaded, Stage::Applied];
    let mut ways = vec![Way { upto: Stage::Nothing, dies: true }, Way { upto: Stage::Postflight, dies: true }];
    ways.extend(between.iter().flat_map(|upto| [true, false].map(|dies| Way { upto: *upto, dies })));
    ways
}

struct Machine {
    santad: Santad,
    /// Where it has stopped and goes on.
    at: Stage,
    ways: Vec<Way>,
}

impl Machine {
    fn go(&mut self, hub: &mut Conn, way: Way) {
        if way.upto == Stage::Nothing {
            return;
        }
        if self.at == Stage::Nothing {
            self.santad.preflight(hub);
            self.at = Stage::Preflight;
        }
        if self.at < Stage::Page && way.upto >= Stage::Page {
            self.santad.whole = self.santad.page(hub);
        }
        if self.at < Stage::Downloaded && way.upto >= Stage::Downloaded {
            while !self.santad.whole {
                self.santad.whole = self.santad.page(hub);
            }
        }
        if self.at < Stage::Applied && way.upto >= Stage::Applied {
            self.santad.apply(hub);
        }
        if way.upto == Stage::Postflight {
            self.santad.postflight(hub, self.santad.told.len());
        }
        self.at = if way.dies { Stage::Nothing } else { self.at.max(way.upto) };
    }
}

fn hex(n: u32) -> String {
    format!("{n:064x}")
}

/// `a` blocks the rule with the number 10, `A` allows it.
fn rules(words: &str) -> (String, BTreeMap<(String, String), String>) {
    let mut wanted = BTreeMap::new();
    let rule = |letter: char| {
        let id = hex(letter.to_digit(36).unwrap());
        let policy = if letter.is_ascii_uppercase() { "ALLOWLIST" } else { "BLOCKLIST" };
        wanted.insert(("BINARY".to_owned(), id.clone()), policy.to_owned());
        format!("{{ type = \"BINARY\", id = \"{id}\", policy = \"{policy}\" }}")
    };
    let all: Vec<String> = words.chars().map(rule).collect();
    (format!("[rules.r]\nrules = [ {} ]\n", all.join(", ")), wanted)
}

struct Changing {
    hub: Hub,
    reloads: usize,
}

impl Changing {
    fn new(words: &str) -> Self {
        Self { hub: Hub::new("", &Self::text(words)), reloads: 0 }
    }

    fn text(words: &str) -> String {
        format!("[unit.berlin]\n[source.santa]\nbatch_size = 2\n{}", rules(words).0)
    }

    fn reload(&mut self, words: &str) {
        self.hub.configure("", &Self::text(words));
        self.hub.signal(Signal::HUP);
        self.reloads += 1;
        wait("a reload", || (self.hub.log().matches("reloaded").count() >= self.reloads).then_some(()));
    }
}

#[test]
fn whoever_dies_whenever_has_the_right_rules_in_the_end() {
    let mut changing = Changing::new("aBc");
    let (_, secret) = changing.hub.enrolment("berlin", "santa", None, None);
    let mut machines = Vec::new();
    for first in [Stage::Nothing, Stage::Postflight] {
        for second in ways() {
            for third in ways() {
                let n = u32::try_from(machines.len()).unwrap();
                let version = if n % 2 == 0 { "2026.2" } else { "2023.9" };
                let ways = vec![Way { upto: first, dies: true }, second, third];
                machines.push(Machine { santad: Santad::new(&secret, n, version), at: Stage::Nothing, ways });
            }
        }
    }
    // A rule changes, one goes, one comes; then it is all the other way round, and back again.
    for (phase, words) in ["aBc", "Acd", "BE"].into_iter().enumerate() {
        match phase {
            0 => {}
            1 => changing.reload(words),
            _ => {
                changing.hub.kill();
                changing.hub.configure("", &Changing::text(words));
                changing.hub.start();
            }
        }
        let mut hub = changing.hub.connect();
        machines.iter_mut().for_each(|machine| machine.go(&mut hub, machine.ways[phase]));
    }
    for words in ["aBc", ""] {
        changing.hub.kill();
        changing.hub.configure("", &Changing::text(words));
        changing.hub.start();
        let mut hub = changing.hub.connect();
        let wanted = rules(words).1;
        for machine in &mut machines {
            // Whoever had stopped goes on and ends where it was led; then comes the next sync.
            machine.go(&mut hub, Way { upto: Stage::Postflight, dies: true });
            machine.santad.sync(&mut hub);
            assert_eq!(machine.santad.rules, wanted, "{:?} {words}", machine.ways);
            assert_eq!(machine.santad.sync(&mut hub), 0, "{:?}: the hub knows that it has them", machine.ways);
            assert!(!machine.santad.clean);
        }
    }
}

#[test]
fn a_clean_sync_gives_all_even_if_that_is_nothing() {
    let mut changing = Changing::new("aBcd");
    let (_, secret) = changing.hub.enrolment("berlin", "santa", None, None);
    let mut santad = Santad::new(&secret, 1, "2025.6");
    santad.rules.insert(("BINARY".into(), hex(1)), "BLOCKLIST".into()); // of another server
    assert_eq!(santad.sync(&mut changing.hub.connect()), 4);
    assert_eq!(santad.rules, rules("aBcd").1);
    // Its database is lost: it says so by saying nothing.
    santad.rules.clear();
    assert_eq!(santad.sync(&mut changing.hub.connect()), 4);
    assert_eq!(santad.rules, rules("aBcd").1);
    changing.reload("");
    santad.asks_clean = true;
    assert_eq!(santad.sync(&mut changing.hub.connect()), 1, "one rule that takes away what nobody has");
    assert!(santad.rules.is_empty() && !santad.asks_clean);
    assert_eq!(santad.sync(&mut changing.hub.connect()), 0);
    // Another's cursor, or one of yesterday, begins again.
    changing.reload("aBcd");
    santad.preflight(&mut changing.hub.connect());
    santad.cursor = json!("0123456789abcdef-0.2");
    assert!(!santad.page(&mut changing.hub.connect()));
    assert_eq!(santad.told.len(), 2);
    santad.apply(&mut changing.hub.connect());
    assert_eq!(santad.rules, rules("aBcd").1);
}

#[test]
fn a_machine_is_who_it_was() {
    let hub = Hub::new("", "[unit.berlin]\n[unit.paris]\n");
    let (enrolment, secret) = hub.enrolment("berlin", "santa", Some(2), None);
    let (_, paris) = hub.enrolment("paris", "santa", None, None);
    let (_, osquery) = hub.enrolment("berlin", "osquery", None, None);
    let conn = &mut hub.connect();
    let mut ada = Santad::new(&secret, 1, "2025.6");
    ada.sync(conn);
    let mut status = |santad: &Santad| santad.ask(conn, "preflight", &santad.said()).status;
    let with = |secret: &str, n: u32, serial: u32| {
        let serial = Santad::new(secret, serial, "2025.6").serial;
        Santad { serial, ..Santad::new(secret, n, "2025.6") }
    };
    assert_eq!(status(&with(&secret, 1, 2)), 403, "its id with another serial number");
    assert_eq!(status(&with(&secret, 2, 1)), 403, "its serial number with another id");
    assert_eq!(status(&with(&paris, 1, 1)), 403, "from another unit");
    assert_eq!(status(&with(&osquery, 1, 1)), 403, "the secret of another source");
    assert_eq!(status(&with(&secret, 2, 2)), 200);
    assert_eq!(status(&with(&secret, 3, 3)), 403, "used up");
    // Whoever is in stays in; the secret that it has is all it will ever have.
    registry::enrolments::revoke(&mut hub.registry(), &enrolment.id).unwrap();
    assert_eq!(status(&with(&secret, 1, 1)), 200);
    assert_eq!(status(&with(&secret, 4, 4)), 403, "revoked");
    let lines = hub.lines();
    let of = |kind: &str| lines.iter().filter(|line| line.kind == kind).collect::<Vec<_>>();
    let why: Vec<Value> = of("conflict").iter().map(|line| body(line)["why"].clone()).collect();
    assert_eq!(why, ["hardware", "hardware", "unit"]);
    assert!(of("conflict").iter().all(|line| line.machine.serial_number.as_deref() == Some("ZTST00000001")));
    assert_eq!(of("enroll").len(), 2);
    assert_eq!(of("preflight").len(), 2, "said once in ten minutes");
    assert_eq!(of("postflight").len(), 1);
    let text = std::fs::read_to_string(hub.path("data/topics/raw/00000000000000000000.ndjson")).unwrap_or_default();
    for secret in [&secret, &paris, &osquery] {
        assert!(!text.contains(secret.as_str()) && !hub.log().contains(secret.as_str()), "a secret is in a log");
    }
}

#[test]
fn who_is_in_no_more_needs_leave_whatever_is_remembered() {
    let hub = Hub::new("", "[unit.berlin]\n");
    let (enrolment, secret) = hub.enrolment("berlin", "santa", None, None);
    let conn = &mut hub.connect();
    let mut ada = Santad::new(&secret, 1, "2025.6");
    ada.sync(conn);
    registry::enrolments::revoke(&mut hub.registry(), &enrolment.id).unwrap();
    // It is forgotten between the look into memory and the one into the state.
    let mut state = Db::open(&hub.path("data/state/receive.db"), &[]).unwrap();
    let mut tx = state.begin().unwrap();
    assert_eq!(tx.execute("DELETE FROM machines WHERE source = 'santa'", &[]).unwrap(), 1);
    tx.commit().unwrap();
    ada.version = "2025.7".into();
    assert_eq!(ada.ask(conn, "preflight", &ada.said()).status, 403);
    assert_eq!(hub.refused("secret_revoked"), 1.0);
}

/// As the command line does it.
fn by_hand(hub: &Hub, change: impl FnOnce(&mut Tx<'_>)) {
    let mut db = Db::open(&hub.path("data/registry.db"), &[tags::SCHEMA, changes::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    change(&mut tx);
    tx.commit().unwrap();
    if registry::db::proof::is_on() {
        // A server is asked no more often than every 20 ms whether somebody wrote.
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
}

fn machine(serial: &str) -> event::Machine {
    event::Machine { serial_number: Some(serial.into()), ..event::Machine::default() }
}

#[test]
fn a_machine_that_is_forgotten_is_so_at_once() {
    let hub = Hub::new("", &Changing::text("aBc"));
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let conn = &mut hub.connect();
    let (mut ada, mut bob) = (Santad::new(&secret, 1, "2025.6"), Santad::new(&secret, 2, "2025.6"));
    assert_eq!((ada.sync(conn), bob.sync(conn), ada.sync(conn)), (3, 3, 0));
    let forget = |tx: &mut Tx<'_>| {
        tags::forget(tx, &ada.serial).unwrap();
        changes::say(tx, changes::FORGOTTEN, machine(&ada.serial), &json!({"key": ada.serial}), Time::now()).unwrap();
    };
    by_hand(&hub, forget);
    for stage in ["ruledownload", "eventupload", "postflight"] {
        assert_eq!(ada.ask(conn, stage, &json!({})).status, 403, "{stage}");
    }
    assert_eq!(bob.sync(conn), 0);
    assert_eq!(ada.sync(conn), 3, "it may come back, and nobody knows what it has");
    assert_eq!((ada.sync(conn), hub.lines().iter().filter(|line| line.kind == "enroll").count()), (0, 3));
}

#[test]
fn an_ordered_sync_is_clean_until_one_is_confirmed() {
    let mut hub = Hub::new("", &Changing::text("aBc"));
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let mut ada = Santad::new(&secret, 1, "2025.6");
    let mut bob = Santad::new(&secret, 2, "2025.6");
    let order = |hub: &Hub, kind: &str| {
        let what = json!({ "kind": kind });
        by_hand(hub, |tx| {
            changes::say(tx, changes::SYNC_ORDERED, machine("ZTST00000001"), &what, Time::now()).unwrap();
        });
    };
    let kind = |santad: &Santad| santad.settings["sync_type"].clone();
    let conn = &mut hub.connect();
    assert_eq!((ada.sync(conn), bob.sync(conn), ada.sync(conn)), (3, 3, 0));
    order(&hub, "CLEAN_ALL");
    // A download alone is what it was.
    assert_eq!(ada.ask(conn, "ruledownload", &json!({})).body, json!({"rules": []}));
    ada.preflight(conn);
    assert_eq!(kind(&ada), "CLEAN_ALL");
    bob.preflight(conn);
    assert_eq!(kind(&bob), "NORMAL", "another machine");
    // The session breaks off, and the hub dies, too.
    hub.kill();
    hub.start();
    let conn = &mut hub.connect();
    ada.rules.insert(("BINARY".into(), hex(1)), "ALLOWLIST".into()); // made by itself
    assert_eq!(ada.sync(conn), 3);
    assert_eq!((kind(&ada), &ada.rules), (json!("CLEAN_ALL"), &rules("aBc").1));
    assert_eq!((ada.sync(conn), kind(&ada)), (0, json!("NORMAL")), "once");
    // What is ordered while a sync is under way is not done by that.
    order(&hub, "CLEAN");
    ada.preflight(conn);
    assert_eq!(kind(&ada), "CLEAN");
    order(&hub, "CLEAN_ALL");
    let told = ada.apply(conn);
    ada.postflight(conn, told);
    assert_eq!((ada.sync(conn), kind(&ada)), (3, json!("CLEAN_ALL")));
    assert_eq!((ada.sync(conn), kind(&ada)), (0, json!("NORMAL")));
    // An old one knows only that it is clean.
    let mut old = Santad::new(&secret, 1, "2023.9");
    old.rules = ada.rules.clone();
    assert_eq!(old.sync(conn), 0);
    order(&hub, "CLEAN_ALL");
    old.preflight(conn);
    assert_eq!(old.settings["clean_sync"], true);
}

#[test]
fn a_tag_by_hand_chooses_the_rules_of_the_next_sync() {
    let scoped = rules("aBc").0.replace("[rules.r]\n", "[rules.r]\nscope = { tags = [\"vip\"] }\n");
    let hub = Hub::new("", &format!("[unit.berlin]\n{scoped}"));
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let conn = &mut hub.connect();
    let (mut ada, mut bob) = (Santad::new(&secret, 1, "2025.6"), Santad::new(&secret, 2, "2025.6"));
    let (nobodys, none) = (1, 0);
    assert_eq!((ada.sync(conn), bob.sync(conn), ada.sync(conn)), (nobodys, nobodys, none));
    by_hand(&hub, |tx| assert!(tags::add(tx, &ada.serial, "vip", machine(&ada.serial), Time::now()).unwrap()));
    assert_eq!((ada.sync(conn), bob.sync(conn)), (3, none));
    assert_eq!(ada.rules, rules("aBc").1);
    by_hand(&hub, |tx| assert!(tags::remove(tx, &ada.serial, "vip", machine(&ada.serial), Time::now()).unwrap()));
    assert_eq!(ada.sync(conn), 3);
    assert!(ada.rules.is_empty());
}

#[test]
fn a_rule_of_an_action_is_in_the_next_sync_of_its_machine_and_of_no_other() {
    let mut hub = Hub::new("", &Changing::text("aBc"));
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let (mut ada, mut bob) = (Santad::new(&secret, 1, "2025.6"), Santad::new(&secret, 2, "2025.6"));
    let conn = &mut hub.connect();
    assert_eq!((ada.sync(conn), bob.sync(conn), ada.sync(conn)), (3, 3, 0));
    let made = |n: u32, incident: &str, until: Option<i64>| MadeRule {
        machine: ada.serial.clone(),
        scope: String::new(),
        target: format!("BINARY {}", hex(n)),
        rule: json!({"rule_type": "BINARY", "identifier": hex(n), "policy": "BLOCKLIST"}).to_string(),
        action: "block".into(),
        probe: "p".into(),
        incident: incident.into(),
        event: "e".into(),
        at: 1,
        until,
    };
    let soon = Time::now().ms() + 3_000;
    let (kept, own, ends) = (made(77, "", None), made(11, "i1", None), made(78, "", Some(soon)));
    let by_action = |hub: &Hub, change: &dyn Fn(&mut Tx<'_>)| {
        let mut db = Db::open(&hub.path("data/registry.db"), &[made_rules::SCHEMA, changes::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        change(&mut tx);
        tx.commit().unwrap();
    };
    by_action(&hub, &|tx| {
        for rule in [&kept, &own, &ends] {
            made_rules::make(tx, rule, Some(&machine("ZTST00000001")), Time::now()).unwrap();
        }
    });
    assert_eq!((ada.sync(conn), bob.sync(conn)), (3, 0));
    let of = |santad: &Santad, n: u32| santad.rules.get(&("BINARY".to_owned(), hex(n))).cloned();
    assert_eq!(of(&ada, 77).as_deref(), Some("BLOCKLIST"));
    assert_eq!(of(&ada, 11).as_deref(), Some("BLOCKLIST"), "it comes before that of a file");
    assert!(bob.rules == rules("aBc").1 && ada.sync(conn) == 0);
    // A hub that starts again knows it, too, and the clock takes what was for a time.
    hub.kill();
    hub.start();
    let conn = &mut hub.connect();
    let wait = u64::try_from(soon - Time::now().ms()).unwrap_or(0);
    std::thread::sleep(std::time::Duration::from_millis(wait + 5));
    assert_eq!((ada.sync(conn), of(&ada, 78), of(&ada, 77).as_deref()), (1, None, Some("BLOCKLIST")));
    by_action(&hub, &|tx| assert_eq!(made_rules::close(tx, "block", "i1", Time::now()).unwrap(), 1));
    by_action(&hub, &|tx| assert_eq!(made_rules::remove(tx, &kept.id(), Time::now()).unwrap(), 1));
    assert_eq!((ada.sync(conn), bob.sync(conn)), (2, 0));
    assert_eq!(ada.rules, rules("aBc").1, "what the file says holds again");
}

#[test]
fn events_are_lines_and_bundles_are_joined() {
    let hub = Hub::new("", "[unit.berlin]\n[source.santa]\nenable_bundles = true\n");
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let conn = &mut hub.connect();
    let mut ada = Santad::new(&secret, 1, "2025.6");
    let (bundle, hash) = ("ef".repeat(32), |n: u32| hex(n));
    let blocked = json!({"events": [
        {"file_sha256": hash(1), "decision": "BLOCK_UNKNOWN", "execution_time": 1_767_686_405.25, "file_bundle_hash": bundle,
            "file_bundle_binary_count": 2, "file_bundle_name": "Ex"},
        {"file_sha256": hash(9), "decision": "ALLOW_BINARY", "execution_time": 1_767_686_406}],
        "file_access_events": [{"rule_name": "r", "access_time": 1_767_686_407.5}],
        "auditEvents": [{"standalone_mode_rule_creation": {"timestamp": 1_767_686_408}}]});
    ada.preflight(conn);
    assert_eq!(ada.ask(conn, "eventupload", &blocked).body, json!({}), "it does not know yet that bundles are wanted");
    ada.apply(conn);
    ada.postflight(conn, ada.told.len());
    let wanted = json!({"event_upload_bundle_binaries": [bundle]});
    assert_eq!(ada.ask(conn, "eventupload", &blocked).body, wanted);
    let binary = |n: u32| json!({"decision": "BUNDLE_BINARY", "file_sha256": hash(n), "file_bundle_hash": bundle, "file_name": "x"});
    assert_eq!(ada.ask(conn, "eventupload", &json!({"events": [binary(1)]})).body, json!({}));
    assert_eq!(ada.ask(conn, "eventupload", &blocked).body, wanted, "one is missing");
    assert_eq!(ada.ask(conn, "eventupload", &json!({"events": [binary(2), binary(1)]})).body, json!({}));
    assert_eq!(ada.ask(conn, "eventupload", &blocked).body, json!({}), "all are known");
    let lines = hub.lines();
    let of = |kind: &str| lines.iter().filter(|line| line.kind == kind).collect::<Vec<_>>();
    assert_eq!([of("event").len(), of("file_access").len(), of("audit").len()], [11, 4, 4]);
    let ids: std::collections::BTreeSet<&str> = of("event").iter().map(|line| line.id.as_str()).collect();
    // Those of bundles have no time: sent again they are events of their own.
    assert_eq!(ids.len(), 5, "what is sent again is the same event");
    let whole: Vec<Value> = of("bundle").iter().map(|line| body(line)).collect();
    let binary = |n: u32| json!({"file_sha256": hash(n), "file_name": "x"});
    let want = json!({"file_bundle_hash": bundle, "file_bundle_name": "Ex", "file_bundle_binary_count": 2,
        "binaries": [binary(1), binary(2)]});
    assert_eq!(whole, [want]);
}

#[test]
fn a_sync_that_changes_nothing_writes_nothing() {
    let hub = Hub::new("", &Changing::text("aBc"));
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let conn = &mut hub.connect();
    let mut santad = Santad::new(&secret, 1, "2025.6");
    let state = registry::db::Db::open_read_only(&hub.path("data/state/receive.db")).unwrap().unwrap();
    let mut version = || {
        let before = state.version().unwrap();
        assert!(matches!(santad.sync(conn), 0 | 3));
        state.version().unwrap() != before
    };
    assert!(version(), "the first one writes");
    // Who was heard when is written down every ten seconds, whatever happens; not twice in a row.
    assert!(!version() || !version());
    // What is new about the machine is written, and is no enrolment.
    santad.version = "2025.7".into();
    santad.sync(conn);
    let lines = hub.lines();
    let of = |kind: &str| lines.iter().filter(|line| line.kind == kind).collect::<Vec<_>>();
    assert_eq!((of("enroll").len(), of("preflight").len()), (1, 2));
    assert_eq!(body(of("preflight")[1])["santa_version"], "2025.7");
}

#[test]
fn a_log_that_is_uploaded_is_its_lines() {
    let hub = Hub::new("", "[unit.berlin]\n");
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let conn = &mut hub.connect();
    let mut santad = Santad::new(&secret, 1, "0.9.36");
    assert_eq!(santad.send(conn, "logupload", b"action=EXIT|pid=1", "").status, 403, "nobody knows it yet");
    santad.sync(conn);
    let log = "--santa-sync-upload-boundary\r\nContent-Disposition: form-data; name=\"files\"; filename=\"santa.log\"\r\n\r\n\
        [2026-01-06T08:00:05.001Z] I santad: action=EXEC|path=/bin/\"x\"<pipe>\n\
        [2026-01-06T08:00:06.001Z] E santad: not a record\n\
        [2026-01-06T08:00:07.001Z] I santad: action=EXIT|pid=1\r\n--santa-sync-upload-boundary--\r\n";
    for _ in 0..2 {
        let answer =
            santad.send(conn, "logupload", &common::santad::zlib(log.as_bytes()), "Content-Encoding: zlib\r\n");
        assert_eq!((answer.status, answer.body), (200, json!({})));
    }
    let lines: Vec<_> = hub.lines().into_iter().filter(|line| line.kind == "log").collect();
    assert_eq!((lines.len(), &lines[0].id, &lines[1].id), (4, &lines[2].id, &lines[3].id), "sent again it is the same");
    let events = sources::Source::translate(&sources::santa::SOURCE, &lines[0]).unwrap();
    assert_eq!((events[0].type_.as_str(), &events[0].id), ("santa_log", &lines[0].id));
    let payload: Value = serde_json::from_str(events[0].payload.get()).unwrap();
    assert_eq!(payload, json!({"action": "EXEC", "path": "/bin/\"x\"|"}));
    assert_eq!(events[0].machine.as_ref().unwrap().serial_number.as_deref(), Some("ZTST00000001"));
}
