//! The three promises of `docs/promises`, shown on one machine: a rogue USB device, FileVault switched off and on, software
//! that nobody uses. The repository of Munki lies in the scratch folder; whose access is revoked is written into a file.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agent::Agent;
use super::screen::{BOLD, DIM, Screen};

/// The machine, and who uses it.
pub const HOST: &str = "ada-mbp";
const SERIAL: &str = "ZDEMO00001";
const USER: &str = "ada@example.com";
/// The item that deletes files, as the page has it.
const PKGINFO: &str = include_str!("../../../../docs/promises/DeleteConfidential-1.0.plist");
/// What was revoked.
const REVOKED: &str = "revoked.ndjson";
/// How long an effect may take.
const WAIT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// The actions, behind those of the other probes.
pub const ACTIONS: &str = r#"
[action.revoke-demo]
kind = "exec"
run  = ["/bin/sh", "revoke.sh"]

[action.delete-demo]
kind = "munki"
repo = "munki"
list = "managed_installs"
item = '"DeleteConfidential"'
undo = true
max  = "5/h"

[action.slate-demo]
kind      = "munki"
repo      = "munki"
bundle_id = '.probe.context.bundle_id'
undo      = true
max       = "20/h"
"#;

/// What the probes of the promises do besides telling Slack.
const ACTS: [(&str, &str); 4] = [
    ("rogue-usb-device.toml", "\"revoke-demo\", "),
    ("filevault-off.toml", "\"delete-demo\", "),
    ("unused-application.toml", "\"slate-demo\", "),
    ("removal-slated.toml", ""),
];

/// The text of a probe's file, with what it does if it is one of the promises.
pub fn acting(name: &str, text: &str) -> String {
    match ACTS.iter().find(|(file, _)| *file == name) {
        Some((_, act)) => text.replacen("\nseverity", &format!("\nact = [{act}\"slack-demo\"]\nseverity"), 1),
        None => text.to_owned(),
    }
}

/// Files of the scratch folder: Munki's repository, and the program that revokes.
pub fn files() -> [(String, String); 3] {
    let plist = |inner: &str| {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n{inner}\n</plist>\n")
    };
    let manifest = "<dict>\n\t<key>catalogs</key>\n\t<array>\n\t\t<string>production</string>\n\t</array>\n</dict>";
    let between = |text: &'static str, begin: &str, end: &str| {
        text.split_once(begin).and_then(|(_, rest)| rest.rsplit_once(end)).map_or("", |(inner, _)| inner)
    };
    let painter = "<dict><key>name</key><string>Painter</string><key>uninstallable</key><true/><key>uninstall_method</key>\
        <string>removecopieditems</string><key>installs</key><array><dict><key>CFBundleIdentifier</key>\
        <string>com.example.Painter</string></dict></array></dict>";
    let delete = between(PKGINFO, "<plist version=\"1.0\">", "</plist>");
    [
        (format!("munki/manifests/{SERIAL}"), plist(manifest)),
        ("munki/catalogs/production".to_owned(), plist(&format!("<array>{delete}{painter}</array>"))),
        ("revoke.sh".to_owned(), format!("cat >> {REVOKED}\n")),
    ]
}

/// Plays them, one after the other; the error says which effect did not come.
pub async fn play(agent: &mut Agent, folder: &Path, screen: &Screen) -> Result<(), String> {
    let revoked = folder.join(REVOKED);
    let manifest = folder.join("munki/manifests").join(SERIAL);
    let holds = |list: &str, item: &str| {
        let text = std::fs::read_to_string(&manifest).unwrap_or_default();
        let list = text.split_once(&format!("<key>{list}</key>")).and_then(|(_, rest)| rest.split_once("</array>"));
        list.is_some_and(|(items, _)| items.contains(&format!("<string>{item}</string>")))
    };
    let say = |what: &str| screen.line(&format!("  {} {what}", screen.paint(BOLD, "done")));
    let note = |what: &str| screen.line(&screen.paint(DIM, what));

    note("a USB stick that nobody gave out (docs/promises/rogue-usb.md)");
    let rows = json!([
        {"table_name": "os_version", "name": "macOS", "version": "15.1.1", "major": "15", "minor": "1"},
        {"table_name": "company_portal", "key": "aadUserId", "value": "u-1"},
        {"table_name": "company_portal", "key": "aadUPN", "value": USER},
    ]);
    agent.tell("ztl-inv", json!({"action": "snapshot", "snapshot": rows})).await?;
    let columns = json!({"vendor": "SanDisk", "vendor_id": "0781", "model": "Ultra", "model_id": "5581", "serial": "4C53", "class": "0",
        "removable": "1"});
    agent.tell("rogue-usb-device", json!({"counter": 7, "action": "added", "columns": columns})).await?;
    effect("the access to be revoked", || users(&revoked).iter().any(|user| user == USER)).await?;
    say(&format!("the access of {USER} is revoked: {}", revoked.display()));

    note("FileVault is switched off, and on again (docs/promises/filevault.md)");
    let filevault =
        |status: &str| json!({"action": "snapshot", "snapshot": [{"mount": "/", "filevault_status": status}]});
    agent.tell("filevault-off", filevault("off")).await?;
    effect("the item in the manifest", || holds("managed_installs", "DeleteConfidential")).await?;
    say(&format!("Munki will delete the confidential files: {}", manifest.display()));
    agent.tell("filevault-off", filevault("on")).await?;
    effect("the item to be taken out", || !holds("managed_installs", "DeleteConfidential")).await?;
    say("FileVault is on, the incident is over, the item is out of the manifest again");

    note("an application that nobody has used for 30 days, and then somebody does (docs/promises/unused-software.md)");
    let row = |action: &str| {
        let columns = json!({"bundle_id": "com.example.Painter", "name": "Painter.app", "last_used": "2026-01-06"});
        json!({"counter": 7, "action": action, "columns": columns})
    };
    agent.tell("unused-application", row("added")).await?;
    effect("the application to be slated", || holds("managed_uninstalls", "Painter")).await?;
    say("Munki will remove Painter on this machine");
    agent.tell("unused-application", row("removed")).await?;
    effect("the application to stay", || !holds("managed_uninstalls", "Painter")).await?;
    say("Painter is in use again and stays");
    Ok(())
}

async fn effect(what: &str, is_there: impl Fn() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !is_there() {
        if begun.elapsed() > WAIT {
            return Err(format!("waited {} s for {what}", WAIT.as_secs()));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Whose access was revoked: the users of the matches that the program was given.
fn users(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let matches = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    matches.filter_map(|event| event.pointer("/machine/user")?.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promise_acts() {
        for (name, act) in ACTS {
            let probe = shipped::probes::probe(name.trim_end_matches(".toml"));
            let text = probe.map_or_else(String::new, |probe| acting(name, probe.table));
            assert_eq!(text.matches(&format!("\nact = [{act}\"slack-demo\"]\n")).count(), 1, "{name}");
        }
    }
}
