//! The arrows of the house (ARCHITECTURE.md): bins → libs → `event`; no bin links a bin, except `zentral`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each package of the workspace may link of the others.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("event", &[]),
    ("registry", &["event"]),
    ("sources", &["event"]),
    ("probe", &["event"]),
    ("pipe", &["event", "registry"]),
    ("remote", &[]),
    ("packages", &[]),
    ("shipped", &[]),
    ("enrol", &["event", "registry", "sources", "packages", "pipe"]),
    ("receive", &["event", "registry", "sources", "pipe"]),
    ("pull", &["event", "registry", "sources", "remote", "pipe"]),
    ("normalize", &["event", "registry", "sources", "probe", "pipe"]),
    ("filter", &["event", "registry", "probe", "pipe"]),
    ("act", &["event", "registry", "sources", "probe", "remote", "pipe"]),
    ("store", &["event", "registry", "probe", "remote", "pipe"]),
    ("console", &["event", "registry", "probe", "remote", "enrol", "shipped", "pipe"]),
    (
        "zentral",
        &[
            "event",
            "registry",
            "sources",
            "probe",
            "packages",
            "enrol",
            "shipped",
            "pipe",
            "receive",
            "pull",
            "normalize",
            "filter",
            "act",
            "store",
            "console",
        ],
    ),
];

/// Crates that only one room may know.
const OWNED: [(&str, &[&str]); 13] = [
    ("rusqlite", &["registry"]),
    ("tokio-postgres", &["registry"]),
    ("jaq-core", &["probe"]),
    ("axum", &["console"]),
    ("askama", &["console"]),
    ("argon2", &["console"]),
    ("tantivy", &["store"]),
    ("elasticsearch", &["store"]),
    ("lettre", &["act"]),
    ("reqwest", &["act", "console", "pull", "remote", "store"]),
    ("jsonwebtoken", &["console"]),
    ("rcgen", &["zentral"]),
    ("maxminddb", &["normalize"]),
];

fn manifests() -> BTreeMap<String, toml::Table> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("Cargo.toml")];
    for street in ["bins", "libs"] {
        for entry in std::fs::read_dir(root.join(street)).unwrap() {
            paths.push(entry.unwrap().path().join("Cargo.toml"));
        }
    }
    let mut all = BTreeMap::new();
    for path in paths.iter().filter(|p| p.exists()) {
        let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        all.insert(table["package"]["name"].as_str().unwrap().to_owned(), table);
    }
    all
}

fn links(manifest: &toml::Table) -> BTreeSet<String> {
    let tables = ["dependencies", "build-dependencies"];
    tables.iter().filter_map(|t| manifest.get(*t)?.as_table()).flat_map(|t| t.keys().cloned()).collect()
}

#[test]
fn arrows_point_down_only() {
    let manifests = manifests();
    let ours: BTreeSet<&String> = manifests.keys().collect();
    assert_eq!(ours, ALLOWED.iter().map(|(n, _)| n.to_string()).collect::<BTreeSet<_>>().iter().collect());
    for (name, allowed) in ALLOWED {
        for linked in links(&manifests[name]) {
            let fine = !ours.contains(&linked) || allowed.contains(&linked.as_str());
            assert!(fine, "`{name}` must not link `{linked}`");
        }
    }
}

#[test]
fn some_crates_live_in_one_room() {
    for (name, manifest) in manifests() {
        for (owned, rooms) in OWNED {
            let fine = !links(&manifest).contains(owned) || rooms.contains(&name.as_str());
            assert!(fine, "`{name}` links `{owned}`, which only {rooms:?} may know");
        }
    }
}

#[test]
fn versions_stand_once() {
    for (name, manifest) in manifests() {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(table).and_then(|t| t.as_table()) else { continue };
            for (dependency, value) in table {
                let inherited = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "`{name}`: the version of `{dependency}` belongs into [workspace.dependencies]");
            }
        }
    }
}

#[test]
fn what_faces_the_internet_links_only_what_it_needs() {
    let out = std::process::Command::new(env!("CARGO"))
        .args(["tree", "-p", "receive", "-e", "normal", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("rustls v"), "cargo tree said: {text}{}", String::from_utf8_lossy(&out.stderr));
    for absent in [
        "jaq-core v",
        "tantivy v",
        "lettre v",
        "reqwest v",
        "remote v",
        "act v",
        "store v",
        "probe v",
        "axum v",
        "argon2 v",
    ] {
        assert!(!text.lines().any(|l| l.starts_with(absent)), "receive links {absent}");
    }
}
