//! Profiles of macOS.

use std::fs;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::hub::Hub;
use crate::{enrolment, mode, package, post, read, started};

/// What Santa would send first, by this profile.
#[track_caller]
pub fn santa_syncs(hub: &Hub, profile: &Value) {
    let uuid = "4C4C4544-0031-4A10-8052-B5C04F4E3132";
    let body = json!({ "serial_num": "C02SANTA0002", "hostname": "mac", "os_version": "14.1", "os_build": "23B92",
        "santa_version": "2025.6", "machine_id": uuid })
    .to_string();
    for payload in profile["PayloadContent"].as_array().unwrap() {
        let roots = payload["ServerAuthRootsData"]["data"].as_str().unwrap();
        let ca = hub.path("santa-ca.pem");
        fs::write(&ca, base64::engine::general_purpose::STANDARD.decode(roots).unwrap()).unwrap();
        let url = format!("{}preflight/{uuid}", payload["SyncBaseURL"].as_str().unwrap());
        let header = payload["SyncExtraHeaders"]["Zentral-Authorization"].as_str().unwrap();
        let (status, answer) = post(&url, &ca, &[format!("Zentral-Authorization: {header}")], &body);
        assert_eq!((status.as_str(), &answer["client_mode"]), ("200", &"MONITOR".into()), "{answer}");
    }
}

#[test]
fn profiles() {
    let hub = started("");
    for (source, types) in
        [("munki", &["io.zentral.munki"][..]), ("santa", &["com.northpolesec.santa", "com.google.santa"])]
    {
        let (id, _) = enrolment(&hub, source);
        let file = package(&hub, &id, "mobileconfig");
        assert_eq!(mode(&file) & 0o077, 0, "it holds a secret");
        let profile = read("plist", &file, None);
        assert_eq!(profile["PayloadType"], "Configuration");
        assert_eq!((&profile["PayloadScope"], &profile["PayloadRemovalDisallowed"]), (&json!("System"), &json!(false)));
        let payloads = profile["PayloadContent"].as_array().unwrap();
        assert_eq!(payloads.iter().map(|p| p["PayloadType"].as_str().unwrap()).collect::<Vec<_>>(), types);
        let all: Vec<&Value> = payloads.iter().chain([&profile]).collect();
        for key in ["PayloadUUID", "PayloadIdentifier"] {
            let values: std::collections::BTreeSet<_> = all.iter().map(|p| p[key].as_str().unwrap()).collect();
            assert_eq!(values.len(), all.len(), "{key}: each its own: {values:?}");
        }
        for payload in &all {
            assert_eq!(payload["PayloadVersion"], 1);
            assert!(payload["PayloadDisplayName"].is_string());
            // RFC 9562: version 8, variant 10.
            let uuid = payload["PayloadUUID"].as_str().unwrap();
            let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
            let bits = (&uuid[14..15], "89AB".contains(&uuid[19..20]));
            assert!(lengths == [8, 4, 4, 4, 12] && bits == ("8", true), "{uuid}");
            assert!(uuid.chars().all(|c| c == '-' || c.is_ascii_digit() || ('A'..='F').contains(&c)), "{uuid}");
        }
        if source == "santa" {
            santa_syncs(&hub, &profile);
        }
    }
}
