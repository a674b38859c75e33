//! Who calls without being asked: Jamf servers and webhooks, on a desk that answers from a table.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event::{Event, Machine, Raw, Time};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use sources::jamf::Caller;
use sources::secret::Word;
use sources::webhook::{Algorithm, Hook, Lock, Signature, Signs};
use sources::{Desk, Enrolment, MachineFacts, NoRoom, Reply, Request, Sink, Speaker, Unavailable};

#[derive(Default)]
struct Hub {
    full: bool,
    callers: Vec<Caller>,
    hooks: Vec<Hook>,
    lines: RefCell<Vec<u8>>,
}

impl Desk for Hub {
    fn enrol(&self, _: &'static str, _: &str, _: &MachineFacts) -> Enrolment {
        panic!("nobody enrols here")
    }

    fn speaker(&self, _: &'static str, _: &str) -> Speaker {
        panic!("nobody has a node key here")
    }

    fn osquery_config(&self, _: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        panic!("no osquery here")
    }

    fn heard(&self, _: &'static str, _: &Machine, _: &'static str) -> bool {
        panic!("callers are not machines")
    }

    fn jamf(&self) -> &[Caller] {
        &self.callers
    }

    fn webhook(&self, name: &str) -> Option<&Hook> {
        self.hooks.iter().find(|hook| hook.name == name)
    }
}

struct Topic<'a>(&'a Hub);

impl Sink for Topic<'_> {
    fn lines(&mut self, lines: Vec<u8>, _: usize) -> Result<(), NoRoom> {
        if self.0.full {
            return Err(NoRoom);
        }
        self.0.lines.borrow_mut().extend_from_slice(&lines);
        Ok(())
    }
}

const NOW: &str = "2026-01-01T00:00:01Z";
const SECRET: &str = "a longer secret";

impl Hub {
    fn jamf() -> Self {
        let caller = |name: &str, secret: &str, header: &str| Caller {
            name: name.into(),
            secret: Word::new(secret),
            header: header.into(),
            own_users: vec!["hub".into()],
        };
        let callers = vec![
            caller("jamf-prod", "s/1", "authorization"),
            caller("jamf-lab", "two", "x-hub"),
            caller("third", "s3", "authorization"),
        ];
        Self { callers, ..Self::default() }
    }

    fn webhooks() -> Self {
        let signed = |signs: &str, window: Option<u64>| {
            Lock::Signed(Signature {
                header: "x-signature".into(),
                algorithm: Algorithm::Sha256,
                key: SECRET.into(),
                signs: Signs::parse(signs, window.is_some()).unwrap(),
                moment: window.map(|seconds| ("x-time".into(), Duration::from_secs(seconds))),
            })
        };
        let hook = |name: &str, lock| Hook { name: name.into(), type_: "door_opened".into(), lock };
        let hooks = vec![
            hook("bearer", Lock::Bearer(Word::new(SECRET))),
            hook("door", signed("{body}", None)),
            hook("slack", signed("v0:{timestamp}:{body}", Some(300))),
        ];
        Self { hooks, ..Self::default() }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let (source, route) = sources::route(path).unwrap_or_else(|| panic!("nobody answers {path}"));
        let request = Request {
            id: "r-1",
            received: NOW.parse::<Time>().unwrap(),
            method,
            route,
            parts: &route.parts(path).unwrap(),
            query: None,
            headers: &headers,
            encoding: None,
            ip: Some("203.0.113.9"),
            user_agent: None,
            inflated_max: 8 << 20,
        };
        assert!(!source.comes_again(), "nobody who calls comes again");
        let reply = source.answer(&request, &mut BufReader::new(body), self, &mut Topic(self));
        let text: Value = serde_json::from_slice(reply.body.as_bytes()).unwrap();
        assert_eq!(reply.status >= 400, text.get("error").is_some(), "{text}");
        reply
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        self.ask("POST", path, headers, body).status
    }

    /// What was written, and what becomes of it.
    fn taken(&self) -> Vec<(Raw, Event)> {
        let lines = self.lines.take();
        let raws = lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Raw::parse(l).unwrap());
        let of = |raw: Raw| {
            let source = if ["bearer", "door", "slack"].contains(&raw.source.as_str()) { "webhook" } else { "jamf" };
            let mut events = sources::by_name(source).unwrap().translate(&raw).unwrap();
            assert_eq!(events.len(), 1);
            (raw, events.remove(0))
        };
        raws.map(of).collect()
    }
}

fn data(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/jamf").join(folder);
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn payload(event: &Event) -> Value {
    serde_json::from_str(event.payload.get()).unwrap()
}

#[test]
fn every_recorded_webhook_becomes_its_event_with_its_payload_unchanged() {
    let (hub, mut types) = (Hub::jamf(), BTreeMap::new());
    for file in data("chook").into_iter().chain(data("authored-jamf")) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&file).unwrap();
        let reply = hub.ask("POST", "/jamf/post_event/two/", &[("content-type", "application/json")], &bytes);
        assert_eq!((reply.status, reply.body.as_bytes()), (200, &b"{}"[..]), "{name}");
        let (raw, event) = hub.taken().remove(0);
        assert_eq!((raw.source.as_str(), event.source.as_str(), &raw.id), ("jamf-lab", "jamf-lab", &event.id));
        if let Ok(text) = std::str::from_utf8(&bytes)
            && !text.starts_with('<')
        {
            assert_eq!(payload(&event), serde_json::from_str::<Value>(text).unwrap()["event"], "{name}");
        }
        *types.entry(event.type_).or_insert(0) += 1;
    }
    assert!(types.len() >= 19, "{types:?}");
    assert_eq!(types["jamf_computer_checkin"], 4, "old, new, and both spellings");
    assert_eq!(types["jamf_computer_teleported"], 1, "of a type that nobody has heard of");
}

#[test]
fn the_machine_is_found_flat_and_nested() {
    let hub = Hub::jamf();
    let machine = |name: &str| {
        let file = data("authored-jamf").into_iter().find(|file| file.ends_with(name)).unwrap();
        assert_eq!(hub.post("/jamf/post_event/two", &[], &std::fs::read(file).unwrap()), 200);
        hub.taken().remove(0)
    };
    for name in ["ComputerCheckIn.json", "edge_flat_checkin.json", "ComputerInventoryCompleted.json"] {
        let want = Machine {
            serial_number: Some("ZTST0000A014".into()),
            hardware_uuid: Some("0F2C7A6E-5B1D-5E0C-8D54-3C1F7F0A0014".into()),
            hostname: Some("fin-mbp-014".into()),
            platform: Some("macos".into()),
            os_version: Some("15.2".into()),
            ..Machine::default()
        };
        let (raw, event) = machine(name);
        assert_eq!((&raw.machine, event.machine), (&want, Some(want.clone())), "{name}");
        assert!(event.objects.contains(&"user:ada.k".to_owned()), "{:?}", event.objects);
    }
    let (_, latin) = machine("edge_latin1.json");
    assert_eq!(latin.machine.as_ref().unwrap().hostname.as_deref(), Some("Büro-1"));
    assert_eq!(payload(&latin)["realName"], "Zoë Müller");
    let (_, mobile) = machine("MobileDeviceCheckIn.json");
    assert_eq!(mobile.machine.as_ref().unwrap().platform.as_deref(), Some("ios"));
    let (_, group) = machine("SmartGroupUserMembershipChange.json");
    assert_eq!((group.machine, group.objects), (None, vec!["group:Contractors".to_owned()]));
    let (_, xml) = machine("edge_xml.xml");
    assert_eq!((xml.type_.as_str(), payload(&xml)), ("jamf_scep_challenge", json!({"targetDevice": "fin-mbp-014"})));
    assert_eq!(xml.time.to_string(), "2026-01-01T00:00:00.000Z", "its own time");
}

#[test]
fn only_who_knows_the_secret_is_heard() {
    let hub = Hub::jamf();
    let body = br#"{"webhook":{"webhookEvent":"PushSent"},"event":{"type":"x"}}"#;
    for (path, header, want) in [
        ("/jamf/post_event/s%2F1/", None, Some("jamf-prod")),
        ("/jamf/post_event/", Some(("authorization", "Bearer s/1")), Some("jamf-prod")),
        ("/jamf/post_event", Some(("authorization", "Basic aHViOnMvMQ==")), Some("jamf-prod")),
        ("/jamf/post_event/", Some(("x-hub", "two")), Some("jamf-lab")),
        ("/jamf/post_event/", Some(("authorization", "s3")), Some("third")),
        ("/jamf/post_event/", Some(("authorization", "two")), None),
        ("/jamf/post_event/co/", Some(("authorization", "Bearer s/1")), None),
        ("/jamf/post_event/tw/", None, None),
        ("/jamf/post_event/", None, None),
    ] {
        let headers: Vec<(&str, &str)> = header.into_iter().collect();
        let status = hub.post(path, &headers, body);
        let by = hub.taken().pop().map(|(raw, _)| raw.source);
        assert_eq!((status, by.as_deref()), (if want.is_some() { 200 } else { 403 }, want), "{path} {headers:?}");
    }
    let deaf = Hub::default();
    assert_eq!(deaf.post("/jamf/post_event/two/", &[], body), 403, "no server is configured");
    assert_eq!(hub.ask("GET", "/jamf/post_event/two/", &[], b"").status, 405);
}

#[test]
fn what_is_no_webhook_is_refused_and_a_full_disk_is_busy() {
    let mut hub = Hub::jamf();
    let deep = format!("{{\"webhook\":{{\"webhookEvent\":\"A\"}},\"event\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("{}", 400),
        (r#"{"webhook":{},"event":{}}"#, 400),
        (r#"{"webhook":{"webhookEvent":"A B"},"event":{}}"#, 400),
        (r#"{"webhook":{"webhookEvent":"A"},"event":[]}"#, 400),
        (&deep, 400),
        ("<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><x><webhook>&a;</webhook></x>", 400),
        ("<x><webhook/>", 400),
        ("<x><a>1</a></x>", 400),
        (&format!("\"{}\"", "x".repeat(5 << 20)), 413),
        (r#"{"webhook":{"webhookEvent":"Ab"},"event":{"a":"\u0000"}}"#, 200),
    ] {
        assert_eq!(hub.post("/jamf/post_event/two/", &[], body.as_bytes()), status, "{body:.80}");
    }
    assert_eq!(hub.taken().len(), 1);
    hub.full = true;
    assert_eq!(hub.post("/jamf/post_event/two/", &[], br#"{"webhook":{"webhookEvent":"A"},"event":{}}"#), 503);
}

/// However a body is cut or damaged, it is a webhook or it is refused: nothing else happens.
#[test]
fn a_damaged_body_is_refused_at_every_byte() {
    let hub = Hub::jamf();
    for name in ["edge_xml.xml", "ComputerPolicyFinished.json"] {
        let file = data("authored-jamf").into_iter().find(|file| file.ends_with(name)).unwrap();
        let whole = std::fs::read(file).unwrap().trim_ascii_end().to_vec();
        for end in 0..whole.len() {
            assert_eq!(hub.post("/jamf/post_event/two/", &[], &whole[..end]), 400, "{name} cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in [0, b'<', b'&', b'"', b'}', 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let status = hub.post("/jamf/post_event/two/", &[], &damaged);
                assert!(matches!(status, 200 | 400), "{name} with {byte} at {at}: {status}");
                hub.taken();
            }
        }
    }
}

#[test]
fn the_hub_does_not_hear_of_itself() {
    let hub = Hub::jamf();
    let body = |user: &str, what: &str| {
        json!({"webhook": {"webhookEvent": what}, "event": {"authorizedUsername": user}}).to_string().into_bytes()
    };
    let reply = hub.ask("POST", "/jamf/post_event/two/", &[], &body("Hub", "RestAPIOperation"));
    assert_eq!((reply.status, reply.reason, hub.taken().len()), (200, "own_user", 0));
    assert_eq!(hub.post("/jamf/post_event/two/", &[], &body("ada", "RestAPIOperation")), 200);
    assert_eq!(hub.post("/jamf/post_event/two/", &[], &body("hub", "Other")), 200);
    assert_eq!(hub.taken().len(), 2);
}

/// Two equal webhooks are two events; one with a time of its own that is sent again is the same.
#[test]
fn a_retry_is_known_by_the_time_of_the_server() {
    let hub = Hub::jamf();
    let timed = br#"{"webhook":{"webhookEvent":"A","eventTimestamp":1767225600000},"event":{}}"#;
    for _ in 0..2 {
        hub.post("/jamf/post_event/two/", &[], timed);
    }
    let ids: Vec<String> = hub.taken().into_iter().map(|(raw, _)| raw.id).collect();
    assert_eq!(ids[0], ids[1]);
    let long_ago = br#"{"webhook":{"webhookEvent":"A","eventTimestamp":1},"event":{}}"#;
    hub.post("/jamf/post_event/two/", &[], long_ago);
    let (_, event) = hub.taken().remove(0);
    assert_eq!(
        (event.time.to_string().as_str(), event.tags.last().unwrap().as_str()),
        ("2026-01-01T00:00:01.000Z", "clock")
    );
}

fn sign(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_webhook_is_let_in_by_its_bearer() {
    let hub = Hub::webhooks();
    let right = format!("bearer {SECRET}");
    for (headers, status) in [
        (vec![("authorization", right.as_str())], 200),
        (vec![("authorization", "Bearer a longer")], 403),
        (vec![("authorization", SECRET)], 403),
        (vec![], 401),
    ] {
        assert_eq!(hub.post("/webhook/bearer", &headers, br#"{"a": 1}"#), status, "{headers:?}");
    }
    let (raw, event) = hub.taken().remove(0);
    assert_eq!(
        (raw.source.as_str(), raw.kind.as_str(), event.type_.as_str()),
        ("bearer", "door_opened", "door_opened")
    );
    assert_eq!((payload(&event), event.machine, event.tags), (json!({"a": 1}), None, vec!["webhook".to_owned()]));
    let headers = [("authorization", right.as_str())];
    for any in ["[1]", "\"é\"", "7", "null"] {
        assert_eq!(hub.post("/webhook/bearer/", &headers, any.as_bytes()), 200, "{any}");
    }
    for odd in ["", "{", "\u{feff}{}", "{}{}", "a=1&b=2"] {
        assert_eq!(hub.post("/webhook/bearer", &headers, odd.as_bytes()), 400, "{odd}");
    }
    assert_eq!(hub.post("/webhook/bearer", &headers, &[b'"', 0xff, b'"']), 400);
    assert_eq!(hub.post("/webhook/nobody", &headers, b"{}"), 404);
}

#[test]
fn a_webhook_is_let_in_by_a_signature_of_this_body() {
    let hub = Hub::webhooks();
    let body = r#"{"door": "north"}"#;
    let hex = sign(body);
    let base64 = {
        use base64::Engine as _;
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    for (said, status) in [
        (hex.clone(), 200),
        (hex.to_uppercase(), 200),
        (format!("sha256={hex}"), 200),
        (base64.clone(), 200),
        (format!("sha256={base64}"), 200),
        (sign("{\"door\":\"north\"}"), 403),
        (hex[..62].to_owned(), 403),
        (String::new(), 403),
        ("x".repeat(600), 401),
    ] {
        assert_eq!(hub.post("/webhook/door", &[("x-signature", &said)], body.as_bytes()), status, "{said}");
    }
    assert_eq!(hub.post("/webhook/door", &[], body.as_bytes()), 401);
    assert_eq!(hub.taken().len(), 5);
}

#[test]
fn a_signature_holds_for_a_while_and_a_repeat_is_the_same_event() {
    let hub = Hub::webhooks();
    let now = NOW.parse::<Time>().unwrap().ms() / 1000;
    let post = |at: i64, signed: i64| {
        let signature = format!("v0={}", sign(&format!("v0:{signed}:{{}}")));
        hub.post("/webhook/slack", &[("x-signature", &signature), ("x-time", &at.to_string())], b"{}")
    };
    assert_eq!([post(now, now), post(now, now), post(now - 300, now - 300), post(now + 300, now + 300)], [200; 4]);
    assert_eq!([post(now - 301, now - 301), post(now + 301, now + 301)], [403; 2], "out of the window");
    assert_eq!(post(now, now - 301), 403, "another moment than the one that was signed");
    let signature = format!("v0={}", sign(&format!("v0:{now}:{{}}")));
    assert_eq!(hub.post("/webhook/slack", &[("x-signature", &signature)], b"{}"), 401, "no moment");
    assert_eq!(hub.post("/webhook/slack", &[("x-signature", &signature), ("x-time", "now")], b"{}"), 403);
    let ids: Vec<String> = hub.taken().into_iter().map(|(raw, _)| raw.id).collect();
    assert_eq!((ids.len(), &ids[0]), (4, &ids[1]));
    assert_ne!(ids[0], ids[2]);
}

/// The records of the API that are known, as snapshots: what is expected lies beside them.
#[test]
fn a_computer_of_the_api_is_a_snapshot() {
    for (file, sizes) in [
        (
            "zentral/jamf_computer_response.json",
            [("osx_app", 54), ("certificate", 5), ("group", 2), ("disk", 1), ("user", 1)],
        ),
        ("jamf-sdk/computer_json.json", [("osx_app", 1), ("certificate", 1), ("group", 2), ("disk", 1), ("user", 1)]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/jamf").join(file);
        let read: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mut computer = read.get("computer").unwrap_or(&read).clone();
        computer["general"]["site"] = json!({"id": 3, "name": "Berlin HQ"});
        // One broken application among the others.
        computer["software"]["applications"].as_array_mut().unwrap().push(json!("broken"));
        let units = BTreeMap::from([("Berlin HQ".to_owned(), "berlin".to_owned())]);
        let machine = sources::jamf::inventory::machine(&computer, &units);
        let line = json!({"v": 1, "id": "x", "source": "jamf-prod", "kind": "computer", "received": "2022-12-23T00:00:00Z",
            "machine": machine, "body": {"url": "https://jss.example.com/", "computer": computer}});
        let raw = Raw::parse(line.to_string().as_bytes()).unwrap();
        let source = sources::by_name("jamf").unwrap();
        let snapshot = source.snapshot(&raw).unwrap().unwrap();
        for (kind, count) in sizes {
            assert_eq!(snapshot.parts[kind].len(), count, "{file}: {kind}");
        }
        let of = |kind: &str| Value::Object(snapshot.parts[kind][0].clone());
        assert_eq!(of("business_unit"), json!({"reference": "3", "name": "Berlin HQ"}));
        assert_eq!(machine.unit.as_deref(), Some("berlin"));
        assert_eq!((machine.platform.as_deref(), machine.groups.len()), (Some("macos"), 2));
        if file.starts_with("jamf-sdk") {
            assert_eq!(snapshot.taken.to_string(), "2022-12-22T21:31:48.190Z");
            assert_eq!(of("os_version"), json!({"name": "macOS", "version": "12.6.1", "build": "21G217"}));
            assert_eq!(
                of("link"),
                json!({"anchor_text": "Jamf", "url": "https://jss.example.com/computers.html?id=123"})
            );
            assert_eq!(of("disk")["filevault_status"], "Encrypted");
            assert_eq!(of("principal_user")["principal_name"], "admin@my.org");
            assert_eq!(
                of("extension_attribute"),
                json!({"name": "Find My Mac Enabled", "type": "String", "value": "FALSE"})
            );
            assert_eq!(
                of("network_interface"),
                json!({"mac": "a0:b1:c2:d3:e4:f5", "interface": "IEEE80211", "address": "192.168.100.101"})
            );
            assert_eq!(source.facts(&raw).unwrap().serial_number.as_deref(), Some("ABCDE12345"));
        } else {
            assert!(source.translate(&raw).unwrap().is_empty());
        }
        // What the server did not send is not told, and is not gone.
        let bare = json!({"v": 1, "id": "x", "source": "jamf-prod", "kind": "computer", "received": "2022-12-23T00:00:00Z",
            "machine": {"serial_number": "C02"}, "body": {"computer": {"general": {"id": 1}}}});
        let raw = Raw::parse(bare.to_string().as_bytes()).unwrap();
        let parts = source.snapshot(&raw).unwrap().unwrap().parts;
        assert!(!parts.contains_key("osx_app") && !parts.contains_key("group"), "{parts:?}");
        assert_eq!(source.facts(&raw), None, "no unit");
    }
}
