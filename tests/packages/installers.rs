//! Installers of macOS.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::hub::Hub;
use crate::mac::Mac;
use crate::profiles::santa_syncs;
use crate::{enrolment, files, osqueryd_enrols, package, ran, read, started, text, tool};

/// A Mac with osquery's flags of before, and this package's files on it.
fn mac_with(hub: &Hub, source: &str) -> (Mac, PathBuf, Value) {
    let mac = Mac::new();
    let file = package(hub, &enrolment(hub, source).0, "pkg");
    if let Some(out) = tool(Command::new("file").arg("-b").arg(&file), false) {
        assert!(String::from_utf8_lossy(&out.stdout).contains("xar archive"), "{out:?}");
    }
    fs::create_dir_all(mac.path("root/private/var/osquery")).unwrap();
    symlink("private/var", mac.path("root/var")).unwrap();
    let said = read("pkg", &file, Some(mac.dir.path()));
    assert_eq!(said["identifier"], format!("io.zentral.enrol.{source}"));
    assert_eq!(said["location"], "/");
    for entry in said["payload"].as_array().unwrap().iter().chain(said["scripts"].as_array().unwrap()) {
        assert_eq!(entry["owner"], "0:0", "{entry}");
    }
    (mac, file, said)
}

/// Runs a script of the package as Installer does for another disk: the package, where to, the disk.
fn install(mac: &Mac, script: &str) -> Output {
    let mut command = mac.command(&mac.path(&format!("scripts/{script}")));
    command.env_remove("ZENTRAL_ROOT").arg("zentral.pkg").arg("/").arg(mac.path("root/x").parent().unwrap());
    command.output().unwrap()
}

fn paths(said: &Value) -> Vec<String> {
    let all = said["payload"].as_array().unwrap().iter();
    all.map(|e| format!("{} {}", e["mode"].as_str().unwrap(), e["path"].as_str().unwrap())).collect()
}

#[test]
fn osquery_on_a_mac() {
    let hub = started("");
    let (mac, _, said) = mac_with(&hub, "osquery");
    let wanted = [
        "755 .",
        "755 ./private",
        "755 ./private/var",
        "755 ./private/var/osquery",
        "644 ./private/var/osquery/zentral-ca.pem",
        "644 ./private/var/osquery/zentral.flags",
        "600 ./private/var/osquery/zentral.secret",
        "755 ./usr",
        "755 ./usr/local",
        "755 ./usr/local/zentral",
        "755 ./usr/local/zentral/osquery",
        "755 ./usr/local/zentral/osquery/uninstall",
    ];
    assert_eq!(paths(&said), wanted);
    let flags = mac.path("root/private/var/osquery/osquery.flags");
    fs::write(&flags, "--verbose\n").unwrap();
    let told = ran(&install(&mac, "postinstall"));
    assert!(told.contains("kept in") && told.contains("osqueryd is not installed there"), "{told}");
    assert_eq!(text(&flags.with_extension("flags.before-zentral")), "--verbose\n");
    osqueryd_enrols(&mac.path("root"), "var/osquery", "C02PKG0001");

    // Again, with an osqueryd, changes nothing.
    mac.program("root/opt/osquery/lib/osquery.app/Contents/MacOS/osqueryd", "");
    let told = ran(&install(&mac, "postinstall"));
    assert!(!told.contains("kept in") && !told.contains("not installed"), "{told}");
    osqueryd_enrols(&mac.path("root"), "var/osquery", "C02PKG0001");
    mac.run(&mac.path("root/usr/local/zentral/osquery/uninstall"), &[]);
    assert_eq!(files(&mac.path("root/private")), ["var/osquery/osquery.flags"]);
    assert_eq!(text(&flags), "--verbose\n");
    assert!(!mac.path("root/usr/local/zentral/osquery").exists());
}

#[test]
fn munki_on_a_mac() {
    let hub = started("");
    let (mac, file, said) = mac_with(&hub, "munki");
    let wanted = [
        "755 .",
        "755 ./usr",
        "755 ./usr/local",
        "755 ./usr/local/zentral",
        "700 ./usr/local/zentral/munki",
        "700 ./usr/local/zentral/munki/agent",
        "600 ./usr/local/zentral/munki/ca.pem",
        "600 ./usr/local/zentral/munki/hub",
        "600 ./usr/local/zentral/munki/secret",
        "700 ./usr/local/zentral/munki/uninstall",
    ];
    assert_eq!(paths(&said), wanted);
    mac.program("root/usr/local/munki/postflight", "echo \"$1\" >>\"$ZENTRAL_ROOT/before\"");
    ran(&install(&mac, "preinstall"));
    assert!(!mac.path("root/usr/local/zentral/munki/ca.pem").exists(), "an authority of before is not believed");
    read("pkg", &file, Some(mac.dir.path()));
    let told = ran(&install(&mac, "postinstall"));
    assert!(told.contains("the postflight of before") && told.contains("Munki is not installed here"), "{told}");
    mac.hooks();
    assert_eq!(text(&mac.path("root/before")), "auto\n");
    assert!(mac.path("root/usr/local/zentral/munki/token").exists(), "the hub has let it in");
    let raws = hub.ok(&["cat", "raw", "--where", ".source == \"munki\" and .kind == \"enroll\""]);
    assert_eq!(raws.lines().count(), 1, "{raws}");

    // What a profile says holds: another hub is another enrolment, and its token is not shown to the first.
    let other = started("");
    let (id, secret) = enrolment(&other, "munki");
    let profile = read("plist", &package(&other, &id, "mobileconfig"), None);
    let settings = &profile["PayloadContent"][0];
    assert_eq!(settings["Secret"], secret.as_str());
    let plist: String = ["Hub", "Secret", "Authorities"]
        .map(|key| format!("<key>{key}</key><string>{}</string>", settings[key].as_str().unwrap()))
        .concat();
    let managed = mac.path("root/Library/Managed Preferences/io.zentral.munki.plist");
    fs::write(&managed, format!("<plist version=\"1.0\"><dict>{plist}</dict></plist>")).unwrap();
    mac.hooks();
    let raws = other.ok(&["cat", "raw", "--where", ".source == \"munki\" and .kind == \"enroll\""]);
    assert_eq!(raws.lines().count(), 1, "{raws}");
    assert_eq!(text(&mac.path("root/usr/local/zentral/munki/token-of")), format!("https://localhost:{}\n", other.port));
    fs::remove_file(&managed).unwrap();
    mac.hooks();
    assert_eq!(text(&mac.path("root/usr/local/zentral/munki/token-of")), format!("https://localhost:{}\n", hub.port));

    mac.run(&mac.path("root/usr/local/zentral/munki/uninstall"), &[]);
    assert_eq!(files(&mac.path("root/usr/local")), ["munki/postflight"]);
    assert!(text(&mac.path("root/usr/local/munki/postflight")).contains("before"));
}

#[test]
fn santa_on_a_mac() {
    let hub = started("");
    let (mac, _, said) = mac_with(&hub, "santa");
    let wanted = [
        "755 .",
        "755 ./usr",
        "755 ./usr/local",
        "755 ./usr/local/zentral",
        "700 ./usr/local/zentral/santa",
        "700 ./usr/local/zentral/santa/uninstall",
        "600 ./usr/local/zentral/santa/zentral-santa.mobileconfig",
    ];
    assert_eq!(paths(&said), wanted);
    ran(&install(&mac, "preinstall"));
    let told = ran(&install(&mac, "postinstall"));
    assert!(told.contains("Santa is not installed here"), "{told}");
    santa_syncs(&hub, &read("plist", &mac.path("root/usr/local/zentral/santa/zentral-santa.mobileconfig"), None));

    // A Santa that syncs with somebody else is left alone: Installer stops where preinstall fails.
    let other =
        "<plist version=\"1.0\"><dict><key>SyncBaseURL</key><string>https://other.example.com/</string></dict></plist>";
    let managed = mac.path("root/Library/Managed Preferences/com.northpolesec.santa.plist");
    fs::write(&managed, other).unwrap();
    let out = install(&mac, "preinstall");
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("other.example.com"), "{out:?}");
    fs::remove_file(managed).unwrap();
    mac.run(&mac.path("root/usr/local/zentral/santa/uninstall"), &[]);
    assert!(files(&mac.path("root/usr")).is_empty());
}
