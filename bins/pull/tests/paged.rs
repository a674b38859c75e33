//! The real program against servers that tell all of a machine in a list: Sal and Watchman Monitoring.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

#[path = "support/plain.rs"]
mod plain;

use std::path::Path;
use std::process::{Command, Stdio};

use event::Raw;
use serde_json::{Value, json};

fn pull(tables: &str, args: &[&str]) -> (Option<i32>, Vec<Raw>, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), format!("version = 1\n[unit.berlin]\n{tables}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pull"));
    command.arg("--config").arg(dir.path().join("pipeline.toml")).args(["--log", "debug", "--color", "never"]);
    let out = command.args(args).stdin(Stdio::null()).output().unwrap();
    let log = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!log.contains("k3y"), "{log}");
    let lines = out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Raw::parse(l).unwrap()).collect();
    (out.status.code(), lines, log)
}

/// What Sal's tests hold, as its API says it.
fn fixtures(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/sal").join(name);
    let read: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let flat = |one: Value| {
        let mut fields = one["fields"].clone();
        fields["id"] = one["pk"].clone();
        fields
    };
    read.into_iter().map(flat).collect()
}

fn sal(url: &str) -> String {
    format!(
        "[source.sal]\nurl = \"{url}\"\nkeys = {{ public = \"public-k3y\", private = \"private-k3y\" }}\n\
         units = {{ \"Gandalf\" = \"berlin\" }}\n"
    )
}

/// A page of one machine each.
fn sal_server(next: impl Fn(&str, usize) -> Value + Send + Sync + 'static) -> String {
    let (machines, units) = (fixtures("machine_fixtures.json"), fixtures("business_unit_fixtures.json"));
    plain::start(move |own, path, headers| {
        let key = |name: &str| headers.get(name).map(String::as_str);
        if (key("publickey"), key("privatekey")) != (Some("public-k3y"), Some("private-k3y")) {
            return (403, json!({"detail": "no"}));
        }
        let whole = |results: Value| (200, json!({"count": 1, "next": null, "previous": null, "results": results}));
        match path {
            "/api/v2/machine_groups/" => whole(json!([{"id": 1, "name": "Fellowship", "business_unit": 1}])),
            "/api/v2/business_units/" => whole(json!(units)),
            _ => {
                let page: usize = path.split_once("page=").map_or(1, |(_, page)| page.parse().unwrap());
                assert!(path.starts_with("/api/v2/machines/"), "{path}");
                let results = machines.get((page - 1) % machines.len()).unwrap();
                (200, json!({"count": 2, "next": next(own, page), "results": [results]}))
            }
        }
    })
}

#[test]
fn sal_tells_its_machines_page_by_page() {
    let url =
        sal_server(
            |own, page| if page < 2 { json!(format!("{own}/api/v2/machines/?page={}", page + 1)) } else { Value::Null },
        );
    let (code, lines, log) = pull(&sal(&url), &["sal", "--now"]);
    assert_eq!((code, lines.len()), (Some(0), 2), "{log}");
    let first = &lines[0];
    assert_eq!((first.source.as_str(), first.kind.as_str()), ("sal", "machine"));
    assert_eq!(first.machine.serial_number.as_deref(), Some("C0DEADBEEF"));
    assert_eq!((first.machine.platform.as_deref(), first.machine.unit.as_deref()), (Some("macos"), Some("berlin")));
    assert_eq!(first.machine.groups, ["Fellowship"]);
    let source = sources::by_name("sal").unwrap();
    assert!(source.translate(first).unwrap().is_empty());
    let parts = source.snapshot(first).unwrap().unwrap().parts;
    assert_eq!(
        json!(parts["system_info"][0]),
        json!({"hardware_model": "MacBookPro11,5", "cpu_brand": "Intel Core i7",
        "computer_name": "mla680", "physical_memory": 17_179_869_184_i64})
    );
    assert_eq!(json!(parts["business_unit"]), json!([{"name": "Gandalf", "reference": "1"}]));
    assert_eq!(json!(parts["os_version"]), json!([{"version": "10.12"}]));
    assert!(!parts.contains_key("osx_app"), "of applications it says nothing");

    let (code, lines, _) = pull(&sal(&url), &["sal", "--machine", "C0DEADBEEF"]);
    assert_eq!((code, lines.len()), (Some(0), 1));
    let (code, lines, log) = pull(&sal(&url), &["sal", "--machine", "nobody"]);
    assert_eq!((code, lines.len()), (Some(2), 0), "{log}");
}

#[test]
fn the_keys_of_sal_go_to_its_server_only_and_a_list_without_end_ends() {
    let url = sal_server(|_, _| json!("https://elsewhere.invalid/api/v2/machines/?page=2"));
    let (code, _, log) = pull(&sal(&url), &["sal", "--now"]);
    assert!(code == Some(4) && log.contains("on another server"), "{log}");
    let url = sal_server(|own, page| json!(format!("{own}/api/v2/machines/?page={}", page + 1)));
    let (code, lines, log) = pull(&sal(&url), &["sal", "--now"]);
    assert!(code == Some(4) && log.contains("there before"), "{log}");
    assert_eq!(lines.len(), 2, "what was told before stays told");
    let (code, _, log) = pull(&sal(&url).replace("private-k3y", "wrong-k3y"), &["sal", "--now"]);
    assert!(code == Some(4) && log.contains("answers 403"), "{log}");
}

#[test]
fn watchman_tells_its_computers_until_a_page_is_short() {
    let url = plain::start(|_, path, _| {
        let page: usize = path.split_once("&page=").unwrap().1.split('&').next().unwrap().parse().unwrap();
        let want = format!("/v2.5/computers?api_key=api-k3y&page={page}&expand%5B%5D=computer.plugin_results");
        if path != want {
            return (401, json!({"error": path}));
        }
        let computer = |n: usize| {
            json!({"watchman_id": format!("w{n}"), "serial_number": format!("C02W{n:04}"), "computer_name": format!("mac-{n}"),
                "platform": "mac", "os_version": "15.1", "last_report": "2026-01-06T08:00:00Z", "group": "Berlin HQ",
                "model_identifier": "Mac15,6", "ram_installed_in_bytes": 17_179_869_184_i64, "hidden": n == 3,
                "plugin_results": [{"name": "Disk", "slug": "disk", "status": "warning"}, {"name": "Up", "status": "ok"}]})
        };
        let from = (page - 1) * 50;
        (200, json!((from..(from + 50).min(70)).map(computer).collect::<Vec<_>>()))
    });
    let table = format!(
        "[source.fare]\nkind = \"watchman\"\nurl = \"{url}\"\napi_key = \"api-k3y\"\nunits = {{ \"Berlin HQ\" = \"berlin\" }}\n"
    );
    let (code, lines, log) = pull(&table, &["fare", "--now"]);
    assert_eq!((code, lines.len()), (Some(0), 69), "one is hidden: {log}");
    assert_eq!(lines[0].machine.unit.as_deref(), Some("berlin"));
    assert_eq!(lines[0].machine.groups, ["Disk - Warning"]);
    let parts = sources::by_name("watchman").unwrap().snapshot(&lines[0]).unwrap().unwrap().parts;
    assert_eq!(json!(parts["group"]), json!([{"name": "Disk - Warning"}]));
    assert_eq!(parts["system_info"][0]["physical_memory"], 17_179_869_184_i64);
    let (code, lines, log) = pull(&table.replace("api-k3y", "other-k3y"), &["fare", "--now"]);
    assert_eq!((code, lines.len()), (Some(4), 0), "{log}");
    let (code, _, log) = pull(&table.replace("api_key", "api_kee"), &["fare", "--now"]);
    assert!(code == Some(2) && log.contains("needs the keys `url` and `api_key`"), "{log}");
}
