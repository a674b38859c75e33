//! A Mac with Munki: enrolled, a failed installation, one that works, a removal. With reports as today's scripts send them, and
//! with Munki's own property list, of Munki 6 and 7.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::agent::Client;
use crate::support::hub::Hub;
use crate::{end, event, events, secret, start};

const TABLES: &str = "\n[source.munki]\nscripts = [ { name = \"wide\", source = \"wide.zsh\", expect = true } ]\n\
    [probe.failed]\nfilter = '.type == \"munki_install_failed\" | if . then {title: \"failed\"} else empty end'\n";

struct Mac<'h> {
    hub: &'h Hub,
    client: Client,
    serial: &'static str,
    token: String,
}

impl<'h> Mac<'h> {
    fn new(hub: &'h Hub, serial: &'static str, uuid: &str) -> Self {
        let secret = secret(hub, "munki");
        let mut client = Client::new(&hub.ca(), hub.port);
        let header = format!("Authorization: ZtlEnrollmentSecret {secret}\r\n");
        let (status, _) = client.request("GET", "/public/munki/enrollment/", &header, b"").unwrap();
        assert_eq!(status, 200);
        let body = json!({"secret": secret, "serial_number": serial, "uuid": uuid});
        let (status, answer) = client.post("/public/munki/enroll/", &body).unwrap();
        assert_eq!(status, 200, "{answer}");
        Self { hub, client, serial, token: answer["token"].as_str().unwrap().to_owned() }
    }

    fn ask(&mut self, call: &str, body: &Value) -> Value {
        let headers = format!("Authorization: MunkiEnrolledMachine {}\r\n", self.token);
        let path = format!("/public/munki/{call}/");
        let (status, answer) = self.client.request("POST", &path, &headers, body.to_string().as_bytes()).unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap()
    }

    fn job(&mut self) -> Value {
        let body = json!({"machine_serial_number": self.serial, "os_version": "15.2", "arch": "arm64"});
        self.ask("job_details", &body)
    }

    fn post(&mut self, apps: &[(&str, &str)], more: Value) {
        let apps: Vec<Value> = apps
            .iter()
            .map(|(id, version)| json!({"app": {"bundle_id": id, "bundle_version_str": version}, "bundle_path": format!("/Applications/{id}.app")}))
            .collect();
        let snapshot = json!({"serial_number": self.serial, "system_info": {"computer_name": "mac"},
            "os_version": {"name": "macOS", "major": 15, "minor": 2}, "osx_app_instances": apps});
        let mut body = json!({"machine_snapshot": snapshot});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(self.ask("post_job", &body), json!({}));
    }

    /// Waits for an event of this machine.
    fn event(&self, type_: &str, is: impl Fn(&Value) -> bool) -> Value {
        event(self.hub, type_, |e| {
            e["type"] == type_ && e["machine"]["serial_number"] == self.serial && is(&e["payload"])
        })
    }
}

fn now(minutes: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
    at.strftime("%Y-%m-%d %H:%M:%S +0000").to_string()
}

fn report(sha1: char, minutes: i64, row: Value) -> Value {
    json!([{"basename": "r", "sha1sum": sha1.to_string().repeat(40), "run_type": "auto", "start_time": now(minutes),
        "end_time": now(minutes), "events": [[now(minutes), row]]}])
}

#[test]
fn install_failure_removal() {
    let mut hub = Hub::new(TABLES);
    std::fs::write(hub.path("wide.zsh"), "print true\n").unwrap();
    start(&mut hub);
    let mut mac = Mac::new(&hub, "C02MUNKI1", "4C4C4544-0031-4A10-8052-000000000001");
    let told = mac.job();
    let check = told["script_checks"][0]["pk"].as_str().unwrap().to_owned();
    assert_eq!((told.get("last_seen_sha1sum"), &told["script_checks"][0]["source"]), (None, &json!("print true\n")));
    let install = |version: &str, status: i64| json!({"type": "install", "name": "Firefox", "version": version, "status": status});
    mac.post(
        &[("a", "1")],
        json!({"reports": report('1', -9, install("128", 1)), "managed_installs": [],
        "script_check_results": [{"pk": check, "version": 1, "status": 300, "time": 1}]}),
    );
    let failed = mac.event("munki_install_failed", |p| p["version"] == "128");
    assert_eq!(failed["probes"][0]["name"], "failed");
    mac.event("munki_script_check_status_updated", |p| p["status"] == "FAILED");
    assert_eq!(mac.job()["incidents"], json!(["wide"]));
    assert_eq!(mac.job()["last_seen_sha1sum"], "1".repeat(40));

    // The next run tells the last report again, and a new one.
    let mut both = report('1', -9, install("128", 1));
    both.as_array_mut().unwrap().extend(report('2', -6, install("129", 0)).as_array().unwrap().clone());
    mac.post(
        &[("a", "1"), ("org.mozilla.firefox", "129")],
        json!({"reports": both, "last_seen_report_found": true,
        "managed_installs": [["Firefox", "129", "Firefox", now(-6)]],
        "script_check_results": [{"pk": check, "version": 1, "status": 0, "time": 1}]}),
    );
    let installed = mac.event("munki_install", |p| p["version"] == "129" && p["status"] == 0);
    assert_eq!(
        (&installed["machine"]["os_version"], &installed["machine"]["hostname"]),
        (&json!("15.2"), &json!("mac"))
    );
    mac.event("munki_script_check_status_updated", |p| p["status"] == "OK" && p["previous_status"] == "FAILED");
    mac.event("inventory_osx_app_update", |p| {
        p["action"] == "added" && p["object"]["bundle_id"] == "org.mozilla.firefox"
    });
    mac.event("inventory_managed_install_update", |p| p["action"] == "added" && p["object"]["version"] == "129");

    mac.post(
        &[("a", "1")],
        json!({"reports": report('3', -3, json!({"type": "removal", "name": "Firefox", "version": "129", "status": 0})),
        "last_seen_report_found": true, "managed_installs": []}),
    );
    mac.event("munki_removal", |p| p["name"] == "Firefox");
    mac.event("inventory_osx_app_update", |p| {
        p["action"] == "removed" && p["object"]["bundle_id"] == "org.mozilla.firefox"
    });
    mac.event("inventory_managed_install_update", |p| p["action"] == "removed");
    let failures = events(&hub).iter().filter(|event| event["type"] == "munki_install_failed").count();
    assert_eq!((failures, hub.matched("failed")), (1, 1), "a report that comes again is no news");
    end(hub);
}

#[test]
fn reports_as_munki_writes_them() {
    let mut hub = Hub::new("");
    start(&mut hub);
    // The binary one of Munki 7 is what `plutil -convert xml1` makes of it, which is what the script sends.
    let lists = [
        include_str!("../../libs/sources/tests/data/munki6.plist"),
        include_str!("../../libs/sources/tests/data/munki7-xml.plist"),
    ];
    let serials = ["C02MUNKI6", "C02MUNKI7"];
    for (n, (serial, list)) in serials.into_iter().zip(lists).enumerate() {
        let mut mac = Mac::new(&hub, serial, &format!("4C4C4544-0031-4A10-8052-0000000000{n}6"));
        mac.job();
        let list = base64::engine::general_purpose::STANDARD.encode(list);
        let report = json!([{"basename": "ManagedInstallReport", "sha1sum": n.to_string().repeat(40), "plist": list}]);
        mac.post(&[], json!({"reports": report}));
        assert_eq!(mac.job()["last_seen_sha1sum"], n.to_string().repeat(40));
        event(&hub, serial, |event| {
            event["source"] == "munki"
                && event["machine"]["serial_number"] == serial
                && event["payload"]["sha1sum"].is_string()
        });
    }
    let of: Vec<Value> = events(&hub).into_iter().filter(|event| event["payload"]["sha1sum"].is_string()).collect();
    assert!(
        of.iter().any(|event| event["type"] == "munki_install" && event["machine"]["serial_number"] == "C02MUNKI6"),
        "{of:?}"
    );
    end(hub);
}
