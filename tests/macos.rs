//! The scripts that a Mac runs, under dash and with stand-ins for the tools of macOS, against the real hub.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "support/hub.rs"]
mod hub;
#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "support/mac.rs"]
mod mac;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use hub::Hub;
use mac::Mac;
use serde_json::Value;

/// A package of the hub's for this source.
fn package(hub: &Hub, source: &str) -> PathBuf {
    let made: Value = serde_json::from_str(&hub.ok(&["enrol", "new", "--source", source])).unwrap();
    hub.ok(&["enrol", "package", made["id"].as_str().unwrap(), "--format", "sh", "-o", "enrol.sh"]);
    hub.path("enrol.sh")
}

fn events(hub: &Hub, filter: &str) -> Vec<Value> {
    let lines = hub.ok(&["cat", "events", "--where", filter]);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn raws(hub: &Hub, kind: &str) -> Vec<Value> {
    let lines = hub.ok(&["cat", "raw", "--where", &format!(".kind == \"{kind}\"")]);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const SCRIPTS: &str = "[source.munki]\ncollected_condition_keys = [\"machine_type\"]\n\
    principal_user_detection = { sources = [\"logged_in_user\"] }\nscripts = [\n\
    { name = \"text\", source = \"text.zsh\", expect = \"two\\nlines\" }, { name = \"number\", source = \"number.zsh\", expect = 7 },\n\
    { name = \"truth\", source = \"truth.zsh\", expect = true }, { name = \"broken\", source = \"broken.zsh\", expect = \"\" } ]\n";

const REPORT: &str = include_str!("../libs/sources/tests/data/munki6.plist");

#[test]
fn munki_tells_what_it_does() {
    let mut hub = Hub::new(SCRIPTS);
    for (name, text) in
        [("text", "printf 'two\\nlines\\n'"), ("number", "echo ' 8'"), ("truth", "echo 1"), ("broken", "exit 3")]
    {
        fs::write(hub.path(&format!("{name}.zsh")), text).unwrap();
    }
    hub.start();
    hub.wait("a port", 60, || std::net::TcpStream::connect(("127.0.0.1", hub.port)).is_ok());
    let script = package(&hub, "munki");
    let mac = Mac::new();
    // What was there is called, with its argument; what it says is what Munki hears.
    mac.program("root/usr/local/munki/preflight", "echo \"$1\" >>\"$ZENTRAL_ROOT/before\"");
    assert!(mac.run(&script, &[]).contains("the preflight of before"));
    let archived = REPORT.replace("2026-01-06", "2026-01-05").replace("Firefox", "Editor");
    mac.report("Archives/ManagedInstallReport-2026-01-05-080000.plist", archived.as_bytes());
    mac.report("Archives/ManagedInstallReport-2026-01-06-080000.plist", REPORT.as_bytes());
    // Munki 7 writes binary lists and dates that are dates.
    let binary = include_bytes!("../libs/sources/tests/data/munki7.plist");
    mac.report("ManagedInstallReport.plist", binary);
    let apps = "<plist version=\"1.0\"><array><dict><key>path</key><string>/Applications/Firefox.app</string>\
        <key>bundleid</key><string>org.mozilla.firefox</string></dict></array></plist>";
    mac.report("ApplicationInventory.plist", apps.as_bytes());
    mac.hooks();
    assert_eq!(fs::read_to_string(mac.path("root/before")).unwrap(), "auto\n");
    hub.wait("the events", 60, || events(&hub, ".type == \"munki_removal\"").len() == 2);
    let installed: Vec<Value> =
        events(&hub, ".type == \"munki_install\"").iter().map(|e| e["payload"]["name"].clone()).collect();
    assert_eq!(installed, ["Firefox", "Editor"]);
    let errors = events(&hub, ".type == \"munki_error\"");
    assert_eq!(errors[0]["payload"]["message"], "Download of Big failed: -1001");
    let statuses: Vec<String> = events(&hub, ".type == \"munki_script_check_status_updated\"")
        .iter()
        .map(|e| format!("{} {}", e["payload"]["name"].as_str().unwrap(), e["payload"]["status"].as_str().unwrap()))
        .collect();
    assert_eq!(statuses, ["text OK", "number FAILED", "truth OK", "broken UNKNOWN"]);
    let snapshot = raws(&hub, "snapshot").remove(0)["body"].clone();
    assert_eq!(snapshot["system_info"]["computer_name"], "Ada\u{2019}s \"Mac\" \\ 1");
    assert_eq!(
        (&snapshot["os_version"]["patch"], &snapshot["disks"][0]["size"]),
        (&2.into(), &994_662_584_320_i64.into())
    );
    assert_eq!(snapshot["network_interfaces"][0]["address"], "10.0.0.7");
    assert_eq!(snapshot["osx_app_instances"][0]["bundleid"], "org.mozilla.firefox");
    assert_eq!(
        (&snapshot["principal_user"]["principal_name"], &snapshot["managed_installs"][0][0]),
        (&"ada".into(), &"Firefox".into())
    );

    // The next run tells only what is new: nothing, then the report that is. One that is cut off in the middle waits.
    mac.hooks();
    mac.report("Archives/ManagedInstallReport-2026-01-06-090000.plist", binary);
    mac.report("ManagedInstallReport.plist", REPORT.replace("2026-01-06", "2026-01-07").as_bytes());
    mac.hooks();
    mac.report(
        "Archives/ManagedInstallReport-2026-01-07-080000.plist",
        REPORT.replace("2026-01-06", "2026-01-07").as_bytes(),
    );
    mac.report("ManagedInstallReport.plist", &REPORT.as_bytes()[..500]);
    mac.hooks();
    hub.wait("all posts", 60, || raws(&hub, "snapshot").len() == 4);
    assert_eq!(raws(&hub, "report").len(), 4);
    assert!(raws(&hub, "item").is_empty());

    // A clone of the disk is another machine: it enrols anew.
    let out = mac
        .command(&mac.path("root/usr/local/munki/preflight"))
        .arg("auto")
        .env("MAC_SERIAL", "C02MAC0002")
        .output()
        .unwrap();
    assert_eq!((out.status.code(), out.stderr.len()), (Some(0), 0), "{out:?}");
    assert_eq!(raws(&hub, "enroll").len(), 2);

    // Again: nothing more is kept aside, the token stays; and all of it goes away again.
    let token = fs::read(mac.path("root/usr/local/zentral/munki/token")).unwrap();
    assert!(!mac.run(&script, &[]).contains("of before"));
    assert_eq!(fs::read(mac.path("root/usr/local/zentral/munki/token")).unwrap(), token);
    mac.run(&script, &["--uninstall"]);
    assert!(fs::read_to_string(mac.path("root/usr/local/munki/preflight")).unwrap().contains("before"));
    let left: Vec<_> = fs::read_dir(mac.path("root/usr/local/munki/x").parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["preflight"]);
    assert!(!mac.path("root/usr/local/zentral/munki").exists());
}

#[test]
fn munki_never_waits_for_the_hub() {
    let hub = Hub::new(""); // not started: nobody listens
    let script = package(&hub, "munki");
    let mac = Mac::new();
    mac.program("root/usr/local/munki/preflight", "exit 7");
    mac.run(&script, &[]);
    let begun = std::time::Instant::now();
    let out = mac.hook("preflight");
    assert_eq!(out.status.code(), Some(7), "what was there says no");
    assert!(String::from_utf8_lossy(&out.stderr).contains("does not enrol"), "{out:?}");
    assert_eq!(mac.hook("postflight").status.code(), Some(0));
    assert!(begun.elapsed().as_secs() < 30);
    for (name, does) in [("ioreg", "exit 1"), ("curl", "exit 2"), ("plutil", "exit 1"), ("mktemp", "exit 1")] {
        mac.program(&format!("bin/{name}"), does);
        for hook in ["preflight", "postflight"] {
            let out = mac.hook(hook);
            assert_eq!(out.status.code(), Some(if hook == "preflight" { 7 } else { 0 }), "{name} {hook} {out:?}");
        }
    }
    // A secret of a hub that is not this one is said to nobody else: its authority is pinned.
    let pinned = fs::read_to_string(mac.path("root/usr/local/zentral/munki/ca.pem")).unwrap();
    assert_eq!(pinned.replace('\r', ""), fs::read_to_string(hub.path("tls/ca.pem")).unwrap().replace('\r', ""));
    let mode =
        |name: &str| fs::metadata(mac.path(&format!("root/usr/local/{name}"))).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("zentral/munki"), mode("zentral/munki/secret"), mode("munki/preflight")), (0o700, 0o600, 0o755));
}

/// An enrolment of Santa's, also where this hub does not speak with Santa.
fn santa(hub: &Hub) -> (PathBuf, bool) {
    let made = hub.run(&["enrol", "new", "--source", "santa"]);
    let id = match made.status.success() {
        true => serde_json::from_slice::<Value>(&made.stdout).unwrap()["id"].as_str().unwrap().to_owned(),
        false => {
            let schemas = [registry::enrolments::SCHEMA];
            let mut db = registry::db::Db::open(&hub.path("data/registry.db"), &schemas).unwrap();
            registry::enrolments::create(&mut db, "default", "santa", None, None, &[], 0).unwrap().id
        }
    };
    hub.ok(&["enrol", "package", &id, "--format", "sh", "-o", "enrol.sh"]);
    (hub.path("enrol.sh"), made.status.success())
}

#[test]
fn santa_gets_a_profile() {
    let mut hub = Hub::new("");
    hub.ok(&["enrol", "new"]); // the folder and the key
    let (script, spoken) = santa(&hub);
    let mac = Mac::new();
    mac.run(&script, &[]);
    let file = mac.path("root/usr/local/zentral/santa/zentral-santa.mobileconfig");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "it holds a secret");
    let value = |key: &str| {
        let out = Command::new("python3")
            .arg(mac.path("bin/plist.py"))
            .args(["buddy", "-c"])
            .arg(format!("Print :PayloadContent:{key}"))
            .arg(&file)
            .output()
            .unwrap();
        assert!(out.status.success(), "{key}: {out:?}");
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    };
    for payload in ["0", "1"] {
        assert_eq!(
            value(&format!("{payload}:SyncBaseURL")),
            format!("https://localhost:{}/public/santa/sync/", hub.port)
        );
        assert!(value(&format!("{payload}:SyncExtraHeaders:Zentral-Authorization")).starts_with("Bearer zs1."));
        assert!(value(&format!("{payload}:ServerAuthRootsData")).contains("BEGIN CERTIFICATE"));
    }
    assert_eq!(
        (value("0:PayloadType"), value("1:PayloadType")),
        ("com.northpolesec.santa".into(), "com.google.santa".into())
    );
    assert_ne!(value("0:PayloadUUID"), value("1:PayloadUUID"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains('@'), "{text}");
    if spoken {
        // As santactl would: the stage and the machine behind the address, the header with it.
        hub.start();
        hub.wait("a port", 60, || std::net::TcpStream::connect(("127.0.0.1", hub.port)).is_ok());
        let uuid = "4C4C4544-0031-4A10-8052-B5C04F4E3132";
        let body = format!(
            "{{\"serial_num\":\"C02SANTA0001\",\"hostname\":\"mac\",\"os_version\":\"14.1\",\"os_build\":\"23B92\",\"santa_version\":\"2025.6\",\"machine_id\":\"{uuid}\"}}"
        );
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--write-out", "%{http_code}", "--output", "/dev/null", "--cacert"])
            .arg(hub.path("tls/ca.pem"));
        curl.args([
            "--header",
            &format!("Zentral-Authorization: {}", value("0:SyncExtraHeaders:Zentral-Authorization")),
        ]);
        curl.args([
            "--header",
            "Content-Type: application/json",
            "--data",
            &body,
            &format!("{}preflight/{uuid}", value("0:SyncBaseURL")),
        ]);
        assert_eq!(String::from_utf8(curl.output().unwrap().stdout).unwrap(), "200");
    }

    // A Santa that syncs with somebody else is left alone.
    let other =
        "<plist version=\"1.0\"><dict><key>SyncBaseURL</key><string>https://other.example.com/</string></dict></plist>";
    fs::write(mac.path("root/Library/Managed Preferences/com.google.santa.plist"), other).unwrap();
    let out = mac.command(&script).output().unwrap();
    assert!(
        out.status.code() == Some(1) && String::from_utf8_lossy(&out.stderr).contains("other.example.com"),
        "{out:?}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    mac.run(&script, &["--uninstall"]);
    assert!(!file.exists());
}
