//! Words of Santa.

use serde_json::{Value, json};

use super::process::word as text;
use super::{Fixture, Wish};

/// A program of a rule.
const CEL: &str = "target.signing_time >= timestamp('2025-01-01T00:00:00Z')";
/// SHA-256 of the file that rules are about.
const RULE_SHA256: &str = "8d3c4a0a2f5b7c9e1d0f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f70819";
/// Answers to ruledownload that one sync may have.
const PAGES_MAX: usize = 20;

pub fn wish(name: &str, option: &str) -> Option<Wish> {
    let (unit, pieces): (_, &'static [&'static str]) = match (name, option) {
        ("santa_enrollment", option) if option.starts_with("block_usb_mount") => (Some("usb"), &["santa", "santa-usb"]),
        ("santa_enrollment", "client_certificate_auth") => (None, &["santa", "client-ca"]),
        ("santa_enrolled_machine", "batch=2") => (Some("batch"), &["santa", "santa-batch"]),
        // Bundles are asked for by the settings that a preflight has brought.
        ("santa_enrolled_machine" | "santa_rule_confirmed", _) => (None, &["santa", "santa-bundles"]),
        (name, _) if name.starts_with("santa_") => (None, &["santa"]),
        _ => return None,
    };
    let now: &'static [&'static str] = if name == "santa_enrollment" { &["santa-again"] } else { &[] };
    Some(Wish { unit, pieces, now, ..Wish::default() })
}

/// Does what a word says; whether it is known.
pub fn word(f: &mut Fixture<'_>, name: &str, option: &str) -> Result<bool, String> {
    // The machines of a case have a tag that no others have.
    let own = format!("tags = [\"{}\"]", f.own_tag);
    match (name, option) {
        ("santa_enrollment", option) => {
            let more: &[&str] = if option == "client_certificate_auth" { &["--client-certificate"] } else { &[] };
            let secret = if option == "expired" { expired(f, "santa")? } else { f.enrolment("santa", more)? };
            f.set("SANTA_SECRET", &secret);
            if option == "revoked" {
                f.hub.run(&["enrol", "revoke", secret.split('.').nth(1).unwrap_or("")])?;
            }
        }
        ("santa_enrolled_machine", option) => {
            let secret = f.enrolment("santa", &[])?;
            let (uuid, serial) = (f.uuid.clone(), f.serial.clone());
            f.set("SANTA_SECRET", &secret);
            f.set("SANTA_UUID", &uuid);
            f.set("SANTA_SERIAL", &serial);
            let version = if option.is_empty() || option.starts_with("batch=") { "2026.2" } else { option };
            sync(f, version)?;
        }
        // A rule that the machine has not been told yet: it came into scope after its last sync.
        ("santa_rule", "BINARY,BLOCKLIST") => rule(f, &own, &[("BINARY", RULE_SHA256, "BLOCKLIST", "")])?,
        ("santa_rule", "BINARY,CEL") => rule(f, &own, &[("BINARY", RULE_SHA256, "CEL", CEL)])?,
        ("santa_rules", "5") => {
            let teams = ["AAAAAAAAA1", "AAAAAAAAA2", "AAAAAAAAA3", "AAAAAAAAA4", "AAAAAAAAA5"];
            rule(f, &own, &teams.map(|id| ("TEAMID", id, "ALLOWLIST", "")))?;
        }
        ("santa_rule_confirmed" | "santa_synced_rule", _) => {
            if f.get("SANTA_UUID").is_err() {
                word(f, "santa_enrolled_machine", "")?;
            }
            rule(f, &own, &[("BINARY", RULE_SHA256, "BLOCKLIST", "")])?;
            sync(f, "2026.2")?;
        }
        ("santa_rule_out_of_scope", _) => {
            rule(f, "tags = [\"conform-nobody\"]", &[("BINARY", RULE_SHA256, "BLOCKLIST", "")])?;
        }
        ("santa_rule_excludes_serial", _) => {
            rule(f, &format!("not_{own}"), &[("BINARY", RULE_SHA256, "BLOCKLIST", "")])?;
        }
        ("santa_forced_sync", kind) => {
            let kind = kind.to_lowercase().replace('_', "-");
            f.hub.says(&["machine", "sync", &f.serial, &kind])?;
        }
        ("santa_configuration" | "santa_two_configurations", _) => f.set("SANTA_CONFIGURATION", "conform"),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Puts a set of rules into force: type, identifier, policy and program of each.
fn rule(f: &mut Fixture<'_>, scope: &str, rules: &[(&str, &str, &str, &str)]) -> Result<(), String> {
    let one = |(kind, id, policy, cel): &(&str, &str, &str, &str)| {
        let cel = if cel.is_empty() { String::new() } else { format!(", cel_expr = \"{cel}\"") };
        format!("{{ type = \"{kind}\", id = \"{id}\", policy = \"{policy}\"{cel} }}")
    };
    let rules = rules.iter().map(one).collect::<Vec<_>>().join(", ");
    f.hub.now(&[], &format!("[rules.conform]\nscope = {{ {scope} }}\nrules = [ {rules} ]\n"))?;
    f.set("RULE_SHA256", RULE_SHA256);
    Ok(())
}

/// A secret whose time is over.
pub fn expired(f: &Fixture<'_>, source: &str) -> Result<String, String> {
    let secret = f.enrolment(source, &["--expires", "1s"])?;
    std::thread::sleep(std::time::Duration::from_millis(1100));
    Ok(secret)
}

/// A whole sync, as santad does it.
fn sync(f: &Fixture<'_>, version: &str) -> Result<(), String> {
    let auth = format!("Bearer {}", f.get("SANTA_SECRET")?);
    let headers = [("Content-Type", "application/json"), ("Zentral-Authorization", auth.as_str())];
    let uuid = f.get("SANTA_UUID")?.to_owned();
    let stage = |stage: &str, body: Value| f.hub.post(&format!("/public/santa/sync/{stage}/{uuid}"), &headers, body);
    stage(
        "preflight",
        json!({"serial_number": f.serial, "machine_id": uuid, "hostname": "mac-07", "os_version": "15.5", "os_build": "24F74",
            "santa_version": version, "client_mode": "MONITOR", "primary_user": "jane@example.com"}),
    )?;
    let (mut cursor, mut received) = (None::<String>, 0);
    for _ in 0..PAGES_MAX {
        let body = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        let page = stage("ruledownload", body)?;
        received += page.get("rules").and_then(Value::as_array).map_or(0, Vec::len);
        match text(&page, "cursor") {
            "" => {
                return stage(
                    "postflight",
                    json!({"machine_id": uuid, "rules_received": received, "rules_processed": received}),
                )
                .map(drop);
            }
            more => cursor = Some(more.to_owned()),
        }
    }
    Err(format!("the rules had more than {PAGES_MAX} pages"))
}
