//! The pages of sources, of a running hub whose machines speak Santa, Munki and Jamf; and a rule that is tried on what
//! machines ran before it is served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "console/browser.rs"]
mod browser;
mod support;

use browser::{api, hub, person, start};
use serde_json::{Value, json};
use support::agent::Client;
use support::hub::Hub;

const TEAM: &str = "EQHXZ8M8AV";
const TABLES: &str = r#"
[unit.rome]
[source.santa]
units.rome = { client_mode = "LOCKDOWN" }
[source.munki]
scripts = [ { name = "firewall", source = "firewall.zsh", expect = "1" } ]
[source.jamf-prod]
kind = "jamf"
url = "https://127.0.0.1:9"
client = { id = "x", secret = "of-the-client" }
webhook = { secret = "of-the-webhooks" }
[rules.browsers]
scope = { units = ["rome"] }
rules = [ { type = "TEAMID", id = "BBBBBBBBBB", policy = "BLOCKLIST", description = "An old browser" } ]
"#;

fn up() -> (Hub, u16) {
    let (made, port) = hub(TABLES, "");
    std::fs::write(made.path("firewall.zsh"), "print 1\n").unwrap();
    start((made, port))
}

fn secret(hub: &Hub, source: &str, unit: &str) -> String {
    let made: Value = serde_json::from_str(&hub.ok(&["enrol", "new", "--source", source, "--unit", unit])).unwrap();
    made["secret"].as_str().unwrap().to_owned()
}

/// A Mac that has synced its Santa and told what it ran: (decision, team, file).
fn santa(hub: &Hub, secret: &str, serial: &str, ran: &[(&str, &str, &str)]) {
    let mut client = Client::new(&hub.ca(), hub.port);
    let bearer = format!("Zentral-Authorization: Bearer {secret}\r\n");
    let mut ask = |stage: &str, body: Value| {
        let path = format!("/public/santa/sync/{stage}/4C4C4544-0000-4000-8000-{:0>12}", serial.len() + ran.len());
        let (status, told) = client.request("POST", &path, &bearer, body.to_string().as_bytes()).unwrap();
        assert_eq!(status, 200, "{stage}: {}", String::from_utf8_lossy(&told));
    };
    ask(
        "preflight",
        json!({"serial_num": serial, "hostname": format!("{serial}.local"), "os_version": "15.5", "os_build": "24F74",
        "santa_version": "2025.6", "client_mode": "MONITOR"}),
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let event = |(n, (decision, team, file)): (usize, &(&str, &str, &str))| {
        json!({"execution_time": now - 60 + n as u64, "decision": decision, "team_id": team, "file_name": file,
            "file_sha256": format!("{:064x}", n + 1), "file_path": "/Applications", "executing_user": "ada"})
    };
    ask("eventupload", json!({"events": ran.iter().enumerate().map(event).collect::<Vec<_>>()}));
}

fn munki(hub: &Hub, secret: &str, serial: &str) {
    let mut client = Client::new(&hub.ca(), hub.port);
    let (status, told) =
        client.post("/public/munki/enroll/", &json!({"secret": secret, "serial_number": serial})).unwrap();
    assert_eq!(status, 200, "{told}");
    let headers = format!("Authorization: MunkiEnrolledMachine {}\r\n", told["token"].as_str().unwrap());
    let mut ask = |call: &str, body: Value| -> Value {
        let path = format!("/public/munki/{call}/");
        let (status, told) = client.request("POST", &path, &headers, body.to_string().as_bytes()).unwrap();
        assert_eq!(status, 200, "{call}: {}", String::from_utf8_lossy(&told));
        serde_json::from_slice(&told).unwrap()
    };
    let job = ask("job_details", json!({"machine_serial_number": serial, "os_version": "15.5", "arch": "arm64"}));
    let pk = job["script_checks"][0]["pk"].as_str().unwrap().to_owned();
    let at = event::Time::now().to_string();
    let at = format!("{} {} +0000", &at[..10], &at[11..19]);
    let failed = json!([at, {"type": "install", "name": "Firefox", "version": "128", "status": -1}]);
    let error = json!([at, {"type": "error", "message": "no room"}]);
    ask(
        "post_job",
        json!({"machine_snapshot": {"serial_number": serial, "system_info": {"computer_name": "munki-mac"}},
            "reports": [{"basename": "r", "sha1sum": "1".repeat(40), "run_type": "auto", "start_time": at, "end_time": at,
                "events": [failed, error]}],
            "script_check_results": [{"pk": pk, "version": 1, "status": 300, "time": 1}]}),
    );
}

#[test]
fn santa_munki_and_jamf() {
    let (hub, port) = up();
    let ran = [
        ("ALLOW_UNKNOWN", TEAM, "Chrome"),
        ("ALLOW_SCOPE", TEAM, "Chrome"),
        ("ALLOW_BINARY", TEAM, "Updater"),
        ("BLOCK_TEAMID", TEAM, "Chrome"),
        ("ALLOW_UNKNOWN", "AAAAAAAAAA", "Other"),
    ];
    santa(&hub, &secret(&hub, "santa", "default"), "C02SANTA1", &ran);
    santa(&hub, &secret(&hub, "santa", "rome"), "C02SANTA22", &ran[..1]);
    munki(&hub, &secret(&hub, "munki", "default"), "C02MUNKI1");
    let webhook = json!({"webhook": {"webhookEvent": "ComputerCheckIn", "id": 1, "name": "x"},
        "event": {"computer": {"serialNumber": "C02JAMF1", "deviceName": "jamf-mac", "udid": "U"}}});
    let (status, _) = Client::new(&hub.ca(), hub.port).post("/jamf/post_event/of-the-webhooks/", &webhook).unwrap();
    assert_eq!(status, 200);
    hub.wait("all of it in the store", 90, || {
        hub.events("type:santa_event").len() == 6
            && !hub.events("type:munki_error").is_empty()
            && !hub.events("type:jamf_computer_checkin").is_empty()
            && hub.events("type:santa_preflight").len() == 2
    });

    let mut vera = person(&hub, port, "vera", &[]);
    hub.wait("the machines", 30, || vera.get("/sources").body.matches("never").count() == 1);
    let list = vera.get("/sources").body;
    for name in ["santa", "munki", "jamf-prod", "osquery"] {
        assert!(list.contains(&format!("<a href=\"/sources/{name}\">{name}</a>")), "{name}: {list}");
    }
    let all: Value = serde_json::from_str(&hub.ok(&["token", "new", "all", "--scopes", "sources"])).unwrap();
    let rome: Value = serde_json::from_str(&hub.ok(&["token", "new", "rome", "--units", "rome"])).unwrap();
    let (all, rome) = (all["token"].as_str().unwrap(), rome["token"].as_str().unwrap());

    // Santa: modes, rules of files, and what a rule would have blocked.
    let page = vera.get("/sources/santa").body;
    for says in ["LOCKDOWN", "MONITOR", "An old browser", "units rome: 1 machines", "action=\"/sources/santa/try\""] {
        assert!(page.contains(says), "{says}: {page}");
    }
    let told = api(port, all, "/sources/santa").json();
    assert_eq!((&told["machines"], &told["within"]), (&json!(2), &json!([2, 2, 2])));
    let modes = json!([{"value": "LOCKDOWN", "count": 1}, {"value": "MONITOR", "count": 1}]);
    assert_eq!((&told["santa"]["modes"], &told["santa"]["said"]), (&modes, &json!([{"value": "MONITOR", "count": 2}])));
    let tried = format!("/sources/santa/try?type=TEAMID&id={TEAM}");
    let page = vera.get(&tried).body;
    for says in [
        "blocked 3 executions",
        "1 were blocked as it is",
        "1 are allowed by a rule",
        "/machines/C02SANTA22",
        "Chrome",
        "[rules.NAME]",
    ] {
        assert!(page.contains(says), "{says}: {page}");
    }
    let told = api(port, all, &tried).json();
    let sums = ["blocked", "already", "allowed", "unclear"].map(|key| told[key].as_u64().unwrap());
    assert_eq!(sums, [3, 1, 1, 0], "{told}");
    assert_eq!(told["machines"], json!([{"value": "C02SANTA1", "count": 2}, {"value": "C02SANTA22", "count": 1}]));
    assert_eq!(told["programs"], json!([{"value": "Chrome", "count": 3}]));
    let of = |query: &str| {
        let told = api(port, all, &format!("/sources/santa/try?{query}")).json();
        ["blocked", "already", "allowed"].map(|key| told[key].as_u64().unwrap_or(99))
    };
    assert_eq!(of(&format!("type=TEAMID&id={TEAM}&unit=rome")), [1, 0, 0]);
    assert_eq!(
        of(&format!("type=BINARY&id={:064X}", 3)),
        [1, 0, 0],
        "a hash in capitals; another rule for the same gives way"
    );
    assert_eq!(of("type=SIGNINGID&id=platform:com.apple.curl"), [0, 0, 0]);
    assert_eq!(api(port, rome, &tried).json()["blocked"], 1, "another unit's executions are not theirs to see");
    assert!(
        vera.get("/sources/santa/try?type=TEAMID&id=%22)+OR+(*").body.contains("blocked nothing"),
        "an id is no query"
    );
    let empty = vera.get("/sources/santa/try?type=TEAMID&id=");
    assert!(empty.status == 200 && !empty.body.contains("It would have blocked"), "{}", empty.body);
    assert_eq!(api(port, rome, "/sources/santa/try?type=TEAMID&id=").status, 400, "a program says what it means");
    for (query, says) in [("type=TEAM&id=x", "type: say one of"), ("type=BINARY&id=x", "64 hex digits")] {
        let wrong = vera.get(&format!("/sources/santa/try?{query}"));
        assert!(wrong.status == 400 && wrong.body.contains(says), "{query}: {}", wrong.body);
    }

    // Munki: when it ran, what failed, how checks stand.
    let told = api(port, all, "/sources/munki").json();
    let munki = &told["munki"];
    assert_eq!((&munki["within"], &munki["never"]), (&json!([1, 1, 1]), &json!(0)), "{munki}");
    assert_eq!(munki["failed"], json!([{"value": "Firefox", "count": 1}]));
    assert_eq!(munki["errors"].as_array().unwrap().len(), 1);
    assert_eq!(munki["checks"], json!([{"name": "firewall", "ok": 0, "failed": 1, "unknown": 0}]));
    assert_eq!(munki["overdue"][0]["key"], "C02MUNKI1");
    assert!(vera.get("/sources/munki").body.contains("Firefox"));
    let told = api(port, rome, "/sources/munki").json();
    assert_eq!(
        (&told["machines"], &told["munki"]["within"], &told["munki"]["overdue"]),
        (&json!(0), &json!([0, 0, 0]), &json!([]))
    );

    // What one of them is given.
    let both: Value = serde_json::from_str(&hub.ok(&["token", "new", "both", "--scopes", "machines"])).unwrap();
    let given = api(port, both["token"].as_str().unwrap(), "/machines/C02SANTA22").json()["given"].clone();
    assert_eq!((&given["rules"], &given["made"]), (&json!([{"name": "browsers", "rules": 1}]), &json!([])), "{given}");
    assert!(given["probes"].as_array().unwrap().iter().any(|one| one["name"] == "usb-device"), "{given}");
    let page = vera.get("/machines/C02SANTA22").body;
    assert!(page.contains("Probes that are about it") && page.contains("browsers"), "{page}");

    // Jamf: its webhooks, and that nobody asks it.
    let told = api(port, all, "/sources/jamf-prod").json();
    assert_eq!((&told["kind"], &told["pulled"]["stage"]), (&json!("jamf"), &Value::Null));
    assert!(told["events"].as_array().unwrap().iter().any(|one| one["value"] == "jamf_computer_checkin"), "{told}");
    let page = vera.get("/sources/jamf-prod").body;
    assert!(page.contains("No stage asks it") && page.contains("pull jamf-prod"), "{page}");
    assert_eq!(vera.get("/sources/nobody").status, 404);
}
