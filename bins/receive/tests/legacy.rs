//! The paths of 2017 against the real program: off unless the configuration says so, the same machines as by the other
//! paths, the same limits on secrets, errors as texts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use std::io::{Read as _, Write as _};

use common::santad::Santad;
use common::{Hub, body, enrol_body, wait};
use registry::enrolments;
use rustix::process::Signal;
use serde_json::{Value, json};
use sources::Source as _;

const ON: &str = "legacy_paths = true";
const TABLES: &str = "[unit.berlin]\n[unit.paris]\n[source.osquery]\n[source.munki]\n\
    [source.santa]\nbatch_size = 30\n[rules.r]\nrules = [ { type = \"BINARY\", id = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", policy = \"BLOCKLIST\" }, \
    { type = \"TEAMID\", id = \"AAAAAAAAA1\", policy = \"ALLOWLIST\" } ]\n\
    [source.jss]\nkind = \"jamf\"\nwebhook = { secret = \"jss-secret-1\" }\n\
    [source.zendesk]\nkind = \"webhook\"\ntype = \"zendesk\"\nbearer = \"zendesk-secret-1\"\n";
const INVENTORY: &str = "__default_zentral_inventory_query__";
/// Every path, and who answers it.
const PATHS: [(&str, &str); 14] = [
    ("POST", "/osquery/enroll"),
    ("POST", "/osquery/config"),
    ("POST", "/osquery/log"),
    ("POST", "/osquery/distributed/read"),
    ("POST", "/osquery/distributed/write"),
    ("POST", "/santa/preflight/s$SERIAL$x"),
    ("POST", "/santa/eventupload/s$SERIAL$x"),
    ("POST", "/santa/ruledownload/s$SERIAL$x"),
    ("POST", "/santa/logupload/s$SERIAL$x"),
    ("POST", "/santa/postflight/s$SERIAL$x"),
    ("POST", "/munki/job_details/"),
    ("POST", "/munki/post_job/"),
    ("POST", "/jss/post_event/"),
    ("POST", "/zendesk/post_event/"),
];

/// What was answered: status, whether as text, and the body.
type Said = (u16, bool, String);

fn ask(hub: &Hub, method: &str, path: &str, headers: &str, body: &[u8]) -> Said {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    let mut conn = hub.connect();
    conn.0.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut text = Vec::new();
    let _ = conn.0.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {text}"));
    assert!(!body.is_empty(), "{method} {path}: agents take that for success");
    (head[9..12].parse().unwrap(), head.to_lowercase().contains("content-type: text/plain"), body.to_owned())
}

fn post(hub: &Hub, path: &str, body: &Value) -> Said {
    ask(hub, "POST", path, "", body.to_string().as_bytes())
}

/// The object of an answer that must be 200.
fn fine(said: Said) -> Value {
    assert_eq!((said.0, said.1), (200, false), "{}", said.2);
    serde_json::from_str(&said.2).unwrap()
}

fn text(status: u16, said: &str) -> Said {
    (status, true, said.to_owned())
}

fn munki(hub: &Hub, secret: &str, call: &str, body: &Value) -> Said {
    let header = format!("Zentral-API-Secret: {secret}\r\n");
    ask(hub, "POST", &format!("/munki/{call}/"), &header, body.to_string().as_bytes())
}

fn secret(hub: &Hub, source: &str) -> String {
    hub.enrolment("berlin", source, None, None).1
}

/// Nothing of a secret is in the log or in a line, and all lines of a source are of one machine.
fn one_machine(hub: &Hub, serial: &str) {
    for raw in hub.lines() {
        assert_eq!(raw.machine.serial_number.as_deref(), Some(serial), "{raw:?}");
        assert_eq!(raw.machine.unit.as_deref(), Some("berlin"), "{raw:?}");
    }
    nothing_secret(hub, "zs1.");
}

fn nothing_secret(hub: &Hub, secret: &str) {
    let log = hub.log();
    assert!(!log.contains(secret) && !log.contains("SERIAL"), "{log}");
    for raw in hub.lines() {
        let mut line = Vec::new();
        raw.write(&mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(!line.contains(secret), "{line}");
    }
}

#[test]
fn nobody_answers_them_unless_they_are_switched_on() {
    let hub = Hub::new("", TABLES);
    let gone = |hub: &Hub| {
        for (method, path) in
            PATHS.into_iter().chain([("GET", "/health_check/"), ("GET", "/inventory/prometheus_metrics/")])
        {
            let said = ask(hub, method, path, "Zentral-API-Secret: jss-secret-1\r\n", b"{}");
            assert_eq!(said, (404, false, "{\"error\":\"no such path\"}".to_owned()), "{path}");
        }
    };
    gone(&hub);
    assert_eq!(hub.metric("zentral_requests_total", &["source=\"none\""]), 16.0);
    hub.configure(ON, TABLES);
    hub.signal(Signal::HUP);
    wait("the paths", || (ask(&hub, "GET", "/health_check/", "", b"") == text(200, "OK")).then_some(()));
    for (method, path) in PATHS {
        assert_ne!(ask(&hub, method, path, "", b"{}").0, 404, "{path}");
    }
    assert_eq!(ask(&hub, "GET", "/inventory/prometheus_metrics/", "", b"").0, 403, "without the bearer");
    assert_eq!(ask(&hub, "POST", "/health_check/", "", b"{}").0, 405);
    hub.configure("", TABLES);
    hub.signal(Signal::HUP);
    wait("them to go", || (ask(&hub, "GET", "/health_check/", "", b"").0 == 404).then_some(()));
    gone(&hub);
}

#[test]
fn osquery_is_one_machine_before_and_after() {
    let hub = Hub::new(ON, TABLES);
    let (enrolment, secret) = hub.enrolment("berlin", "osquery", Some(1), None);
    let enrol = |serial: &str| {
        post(
            &hub,
            "/osquery/enroll",
            &json!({"enroll_secret": format!("{secret}$SERIAL${serial}"), "host_identifier": "old-mac"}),
        )
    };
    let key = fine(enrol("C02OLD"))["node_key"].as_str().unwrap().to_owned();
    assert_eq!(enrol("C02MORE"), text(403, "Invalid secret"), "the quota holds");
    let who = json!({"node_key": key});

    let config = fine(post(&hub, "/osquery/config", &who));
    assert!(
        config["schedule"][INVENTORY]["query"].is_string() && config["schedule"].get("ztl-inv").is_none(),
        "{config}"
    );
    let read = || fine(post(&hub, "/osquery/distributed/read", &who))["queries"].clone();
    assert_eq!(read()[INVENTORY], config["schedule"][INVENTORY]["query"]);
    assert_eq!(read(), json!({}), "it was asked a moment ago");
    let rows = json!([{"table_name": "os_version", "name": "OS X", "major": "10", "minor": "11", "patch": "5"}]);
    let write = |rows: &Value, status: &str| {
        let answer = json!({"node_key": key, "queries": {INVENTORY: rows, "q_1": [{"a": "b"}]}, "statuses": {INVENTORY: status}});
        assert_eq!(fine(post(&hub, "/osquery/distributed/write", &answer)), json!({}));
    };
    write(&json!([]), "0");
    write(&rows, "1");
    assert!(hub.records().is_empty(), "what failed is no inventory");
    write(&rows, "0");
    let scheduled = json!({"name": INVENTORY, "action": "snapshot", "snapshot": rows, "unixTime": "1466500000"});
    let list = Value::from(json!([scheduled]).to_string());
    assert_eq!(
        fine(post(&hub, "/osquery/log", &json!({"node_key": key, "log_type": "result", "data": list}))),
        json!({})
    );
    let records = hub.records();
    assert_eq!(records.len(), 2);
    for raw in &records {
        let told = sources::osquery::SOURCE.snapshot(raw).unwrap().unwrap();
        assert_eq!(told.parts["os_version"][0]["name"], "OS X");
        assert!(sources::osquery::SOURCE.translate(raw).unwrap().is_empty());
    }

    // Its quota is used up by this machine, which may come again.
    let new = enrol_body(&secret, "C02OLD", "U-1");
    let again = hub.ask("C02OLD", "enroll", &new).body["node_key"].as_str().unwrap().to_owned();
    assert_eq!(post(&hub, "/osquery/config", &who), text(403, "Wrong node_key"));
    let config = hub.ask("C02OLD", "config", &json!({"node_key": again})).body;
    assert!(config["schedule"]["ztl-inv"].is_object() && config["schedule"].get(INVENTORY).is_none());
    let enrolled: Vec<Value> = hub.lines().iter().filter(|raw| raw.kind == "enroll").map(body).collect();
    let actions: Vec<&str> = enrolled.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["enrollment", "re-enrollment"]);
    // A node key that was given on the one path opens the other as well.
    assert_eq!(post(&hub, "/osquery/config", &json!({"node_key": again})).0, 200);
    enrolments::revoke(&mut hub.registry(), &enrolment.id).unwrap();
    assert_eq!(enrol("C02OLD"), text(403, "Invalid secret"), "revoked");
    assert_eq!(post(&hub, "/osquery/config", &json!({"node_key": again})).0, 200, "who is in stays");
    one_machine(&hub, "C02OLD");
}

#[test]
fn osquery_hears_texts() {
    let hub = Hub::new(ON, TABLES);
    let own = secret(&hub, "osquery");
    let expired = hub.enrolment("berlin", "osquery", None, Some(1)).1;
    let paris = hub.enrolment("paris", "osquery", None, None).1;
    let enrol = |secret: String| post(&hub, "/osquery/enroll", &json!({"enroll_secret": secret}));
    assert_eq!(enrol(format!("{own}$SERIAL$C02TEXTS")).0, 200);
    assert_eq!(enrol(format!("{own}$SERIAL$123456789")).0, 200, "a filler is all that there is");
    for (secret, want) in [
        (own.clone(), text(400, "The secret comes without a serial number")),
        ("no".to_owned(), text(403, "Bad secret signature")),
        (format!("{own}$SERIAL"), text(403, "Malformed secret")),
        (format!("{own}$UDID$x"), text(403, "Invalid secret method")),
        (format!("{own}$SERIAL$ "), text(403, "Invalid secret value")),
        (format!("{own}x$SERIAL$C02"), text(403, "Bad secret signature")),
        (format!("{}$SERIAL$C02", "x".repeat(2000)), text(403, "Bad secret signature")),
        (format!("{expired}$SERIAL$C02"), text(403, "Invalid secret")),
        (format!("{}$SERIAL$C02", self::secret(&hub, "santa")), text(403, "Invalid module")),
        (format!("{paris}$SERIAL$C02TEXTS"), text(403, "Machine conflict")),
    ] {
        assert_eq!(enrol(secret.clone()), want, "{secret}");
    }
    for path in ["config", "log", "distributed/read", "distributed/write"] {
        let path = format!("/osquery/{path}");
        let with = |key: Value| json!({"node_key": key, "log_type": "result", "data": []});
        assert_eq!(
            post(&hub, &path, &json!({"log_type": "result", "data": []})),
            text(403, "Missing node_key"),
            "{path}"
        );
        assert_eq!(post(&hub, &path, &with("no".into())), text(403, "Wrong node_key"), "{path}");
        assert_eq!(post(&hub, &path, &with(7.into())), text(400, "node_key is not a string"), "{path}");
        for bad in [&b""[..], b"nonsense", b"[1]", b"{\"node_key\":", b"\xff\xfe"] {
            let said = ask(&hub, "POST", &path, "", bad);
            assert_eq!((said.0, said.1), (400, true), "{path} {bad:?} {}", said.2);
        }
        assert_eq!(ask(&hub, "GET", &path, "", b"").0, 405);
    }
    assert_eq!(ask(&hub, "POST", "/osquery/config", "Content-Encoding: gzip\r\n", b"{}").0, 400);
}

#[test]
fn santa_is_one_machine_before_and_after() {
    let hub = Hub::new(ON, TABLES);
    let secret = secret(&hub, "santa");
    let stage = |stage: &str, secret: &str, serial: &str, body: &Value| {
        post(&hub, &format!("/santa/{stage}/{secret}$SERIAL${serial}"), body)
    };
    let first = |serial: &str, hostname: &str| json!({"serial_num": serial, "os_version": "10.11.5", "os_build": "15F34", "hostname": hostname});
    // It may begin with any stage.
    let rules = fine(stage("ruledownload", &secret, "ZTST00000007", &json!({})));
    assert_eq!(rules, json!({"rules": [{"rule_type": "BINARY", "policy": "BLACKLIST", "sha256": "a".repeat(64)}]}));
    let told = fine(stage("preflight", &secret, "ZTST00000007", &first("ZTST00000007", "old-mac")));
    assert_eq!((&told["BatchSize"], &told["batch_size"], &told["clean_sync"]), (&json!(20), &json!(20), &json!(true)));
    let upload = told["UploadLogsUrl"].as_str().unwrap().strip_prefix("https://localhost").unwrap().to_owned();
    assert_eq!(upload, format!("/santa/logupload/{secret}$SERIAL$ZTST00000007"));
    assert_eq!(fine(post(&hub, &upload, &json!({}))), json!({}));
    let event = json!({"file_sha256": "b".repeat(64), "execution_time": 1_466_500_000.5, "decision": "BLOCK_BINARY"});
    let encoded = format!("/santa/eventupload/{secret}%24SERIAL%24ZTST00000007");
    assert_eq!(fine(post(&hub, &encoded, &json!({"events": [event]}))), json!({}));
    fine(stage("ruledownload", &secret, "ZTST00000007", &json!({})));
    assert_eq!(fine(stage("postflight", &secret, "ZTST00000007", &json!({}))), json!({}));
    assert_eq!(hub.lines().iter().filter(|raw| raw.kind == "event").count(), 1);

    assert_eq!(stage("preflight", &secret, "ZTST00000007", &first("ZTST00000008", "x")), text(403, "Machine conflict"));
    let osquery = self::secret(&hub, "osquery");
    for call in ["preflight", "ruledownload", "eventupload", "logupload", "postflight"] {
        let at = |secret: &str, rest: &str| post(&hub, &format!("/santa/{call}/{secret}{rest}"), &first("C1", "x"));
        assert_eq!(at(&osquery, "$SERIAL$C1"), text(403, "Invalid module"), "{call}");
        assert_eq!(at("zs1.a.1.b", "$SERIAL$C1"), text(403, "Bad secret signature"), "{call}");
        assert_eq!(at(&secret, "$SERIAL$%20"), text(403, "Invalid secret value"), "{call}");
        assert_eq!(at(&secret, "$SERIAL"), text(403, "Malformed secret"), "{call}");
        assert_eq!(at(&secret, ""), text(400, "The secret comes without a serial number"), "{call}");
        assert_eq!(at(&secret, "%24SERIAL%24%ff%fe").0, 400, "{call}");
    }
    let said = post(&hub, &format!("/santa/preflight/{secret}$SERIAL$C1"), &json!({"serial_num": "C1"}));
    assert_eq!(said, text(400, "os_build is missing"));

    // Later it has an id of its own, and is told everything.
    let mut new = Santad::new(&self::secret(&hub, "santa"), 7, "2025.6");
    let mut conn = hub.connect();
    new.preflight(&mut conn);
    assert!(new.clean, "its rules are nobody's to know");
    assert_eq!(new.apply(&mut conn), 2);
    new.postflight(&mut conn, 2);
    let before = stage("preflight", &secret, "ZTST00000007", &first("ZTST00000007", "old-mac"));
    assert_eq!(before, text(403, "Machine conflict"), "it is another one now");
    one_machine(&hub, "ZTST00000007");
}

#[test]
fn munki_is_one_machine_before_and_after() {
    let hub = Hub::new(ON, TABLES);
    let (enrolment, secret) = hub.enrolment("berlin", "munki", Some(1), None);
    let who = |serial: &str| json!({"machine_serial_number": serial});
    let job = |secret: &str, serial: &str| munki(&hub, secret, "job_details", &who(serial));
    let told = fine(job(&secret, "C02MUNKI"));
    assert_eq!((&told["include_santa_fileinfo"], told.get("last_seen_sha1sum")), (&json!(true), None));
    let report = json!({"basename": "r", "sha1sum": "1".repeat(40), "run_type": "auto", "start_time": "2026-01-06 08:00:00 +0000",
        "end_time": "2026-01-06 08:00:00 +0000", "events": [["2026-01-06T08:00:00Z", {"type": "install", "name": "Editor", "status": 0}]]});
    let run = json!({"machine_snapshot": {"machine": {"serial_number": "C02MUNKI"}, "system_info": {"computer_name": "old-mac"}}, "reports": [report]});
    let named = format!("{secret}$SERIAL$C02MUNKI");
    assert_eq!(fine(munki(&hub, &named, "post_job", &run)), json!({}));
    assert_eq!(fine(job(&named, "C02MUNKI"))["last_seen_sha1sum"], "1".repeat(40));
    assert_eq!(job(&secret, "C02OTHER"), text(403, "Invalid secret"), "the quota holds");
    let enrolled = || hub.lines().iter().filter(|raw| raw.kind == "enroll").count();
    assert_eq!(enrolled(), 1, "with its first request");

    // With a token of its own it is the same machine, and the old scripts do not take that token away.
    let (_, other) = hub.enrolment("berlin", "munki", None, None);
    let new = json!({"secret": other, "serial_number": "C02MUNKI", "uuid": "4C4C4544-0031-4A10-8052-B7C04F4E4B32"});
    let token = fine(post(&hub, "/public/munki/enroll/", &new))["token"].as_str().unwrap().to_owned();
    let by_token = || {
        let header = format!("Authorization: MunkiEnrolledMachine {token}\r\n");
        fine(ask(&hub, "POST", "/public/munki/job_details/", &header, who("C02MUNKI").to_string().as_bytes()))
    };
    assert_eq!(by_token()["last_seen_sha1sum"], "1".repeat(40));
    fine(job(&named, "C02MUNKI"));
    by_token();
    assert_eq!(enrolled(), 2);
    enrolments::revoke(&mut hub.registry(), &enrolment.id).unwrap();
    assert_eq!(job(&named, "C02MUNKI"), text(403, "Invalid secret"), "it is no longer in by this one");
    fine(job(&other, "C02MUNKI"));
    enrolments::revoke(&mut hub.registry(), &other[4..14]).unwrap();
    fine(job(&other, "C02MUNKI"));
    assert_eq!(job(&other, "C02FRESH"), text(403, "Invalid secret"), "who is in stays, nobody else comes in");
    one_machine(&hub, "C02MUNKI");
}

#[test]
fn munki_hears_texts() {
    let hub = Hub::new(ON, TABLES);
    let (own, osquery) = (secret(&hub, "munki"), secret(&hub, "osquery"));
    let paris = hub.enrolment("paris", "munki", None, None).1;
    let who = json!({"machine_serial_number": "C02MUNKI"});
    fine(munki(&hub, &own, "job_details", &who));
    for (call, body) in
        [("job_details", who.clone()), ("post_job", json!({"machine_snapshot": {"serial_number": "C02MUNKI"}}))]
    {
        let said = |secret: &str| munki(&hub, secret, call, &body);
        assert_eq!(said(""), text(403, "Bad secret signature"), "{call}");
        assert_eq!(said("zs1.a.1.b"), text(403, "Bad secret signature"), "{call}");
        assert_eq!(said(&osquery), text(403, "Invalid module"), "{call}");
        assert_eq!(said(&paris), text(403, "Machine conflict"), "{call}");
        assert_eq!(said(&format!("{own}$SERIAL")), text(403, "Malformed secret"), "{call}");
        assert_eq!(said(&format!("{own}$SERIAL$C02OTHER")), text(403, "Machine conflict"), "{call}");
        let foreign = "Zentral-API-Secret: zs1.a.1.b\r\n";
        let unread = ask(&hub, "POST", &format!("/munki/{call}/"), foreign, b"nonsense");
        assert_eq!(unread, text(403, "Bad secret signature"), "{call}: not even read");
        let without = ask(&hub, "POST", &format!("/munki/{call}/"), "", body.to_string().as_bytes());
        assert_eq!((without.0, without.1), (403, true), "{call}");
        for bad in [&b"nonsense"[..], b"[1]", b"\xff"] {
            let header = format!("Zentral-API-Secret: {own}\r\n");
            let said = ask(&hub, "POST", &format!("/munki/{call}/"), &header, bad);
            assert_eq!((said.0, said.1), (400, true), "{call} {bad:?}: {}", said.2);
        }
    }
    assert_eq!(munki(&hub, &own, "job_details", &json!({})), text(403, "the serial number is missing"));
    let filler = json!({"machine_serial_number": "unknown"});
    assert_eq!(munki(&hub, &own, "job_details", &filler), text(403, "the serial number is none"));
}

#[test]
fn jss_and_zendesk_call() {
    let hub = Hub::new(ON, TABLES);
    let jss = |secret: &str, body: &[u8]| {
        ask(&hub, "POST", "/jss/post_event/", &format!("Zentral-API-Secret: {secret}\r\n"), body)
    };
    let old = br#"{"eventType": {"eventObject": {"serialNumber": "C02JSS", "udid": 7}}}"#;
    assert_eq!(fine(jss("jss-secret-1", old)), json!({}));
    let new = br#"{"webhook": {"webhookEvent": "ComputerCheckIn"}, "event": {"serialNumber": "C02JSS"}}"#;
    assert_eq!(fine(jss("jss-secret-1", new)), json!({}));
    assert_eq!(fine(jss("jss-secret-1", b"{\"eventObject\": []}")), json!({}));
    assert_eq!(jss("jss-secret-2", old), text(403, "Bad secret signature"));
    assert_eq!(jss("", old), text(403, "Bad secret signature"));
    for bad in [&b""[..], b"nonsense", b"[]"] {
        assert_eq!((jss("jss-secret-1", bad).0, jss("jss-secret-1", bad).1), (400, true));
    }
    let events: Vec<_> = hub.lines().iter().flat_map(|raw| sources::jamf::SOURCE.translate(raw).unwrap()).collect();
    let types: Vec<&str> = events.iter().map(|event| event.type_.as_str()).collect();
    assert_eq!(types, ["jss_event", "jamf_computer_checkin", "jss_event"]);
    assert_eq!(
        serde_json::from_str::<Value>(events[0].payload.get()).unwrap(),
        serde_json::from_slice::<Value>(old).unwrap()
    );
    let serials: Vec<_> = events.iter().map(|e| e.machine.as_ref().and_then(|m| m.serial_number.as_deref())).collect();
    assert_eq!(serials, [Some("C02JSS"), Some("C02JSS"), None]);

    let zendesk = |body: Value| post(&hub, "/zendesk/post_event/", &body);
    let comment = |public: bool| {
        json!({"zentral_api_secret": "zendesk-secret-1", "type": "comment",
        "data": {"is_public": public, "value": "thanks\nzentral$tag$C02Z$C02Y#vip", "ticket": {"url": "x/7"}}})
    };
    assert_eq!(fine(zendesk(comment(true))), json!({"status": "OK"}));
    assert_eq!(fine(zendesk(comment(false))), json!({"status": "OK"}));
    let ticket =
        |secret: &str, type_: &str, data: Value| json!({"zentral_api_secret": secret, "type": type_, "data": data});
    assert_eq!(fine(zendesk(ticket("zendesk-secret-1", "ticket", json!({"id": "7"})))), json!({"status": "OK"}));
    assert_eq!(zendesk(ticket("zendesk-secret-2", "ticket", json!({}))), text(403, "Bad secret signature"));
    assert_eq!(zendesk(json!({"type": "ticket", "data": {}})), text(403, "Bad secret signature"));
    assert_eq!(zendesk(ticket("zendesk-secret-1", "call", json!({}))), text(400, "type is neither ticket nor comment"));
    assert_eq!(zendesk(ticket("zendesk-secret-1", "ticket", json!([]))), text(400, "data is missing or no object"));
    let lines = hub.lines();
    let events: Vec<_> = lines
        .iter()
        .filter(|raw| raw.source == "zendesk")
        .flat_map(|raw| sources::webhook::SOURCE.translate(raw).unwrap())
        .collect();
    let types: Vec<&str> = events.iter().map(|event| event.type_.as_str()).collect();
    let comment = "zendesk_comment_creation";
    assert_eq!(types, [comment, comment, "zentral_command", "zentral_command", "zendesk_ticket_creation"]);
    let order: Value = serde_json::from_str(events[3].payload.get()).unwrap();
    assert_eq!(order, json!({"command": "tag", "source": "x/7", "args": ["vip"]}));
    assert_eq!(events[3].machine.as_ref().unwrap().serial_number.as_deref(), Some("C02Y"));
    for secret in ["zendesk-secret", "jss-secret"] {
        nothing_secret(&hub, secret);
    }
}
