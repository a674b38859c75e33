//! `zentral init`: everything that a hub needs to start, and never anything twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

fn zentral(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.current_dir(dir).args(args).env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
    command.output().unwrap()
}

#[track_caller]
fn check(dir: &Path, args: &[&str], code: i32, says: &str) -> String {
    let out = zentral(dir, args);
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains(says), "{args:?} does not say {says:?}: {text}");
    text
}

/// Every file below a folder with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.insert(path.strip_prefix(dir).unwrap().display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    all
}

#[test]
fn a_folder_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let said = check(dir.path(), &["init", "my hub", "--url", "https://hub.example.com:8443/"], 0, "Next:");
    let commands: Vec<&str> = said.lines().skip_while(|l| *l != "Next:").filter(|l| l.contains("zentral ")).collect();
    assert_eq!(commands.len(), 4, "{said}");
    assert!(commands.iter().all(|c| c.contains("-c 'my hub/pipeline.toml'")), "{said}");

    let hub = dir.path().join("my hub");
    let made = files(&hub);
    for name in ["pipeline.toml", "tls/ca.pem", "tls/hub.pem", "tls/hub.key", "data/secret.key"] {
        assert!(made.contains_key(name), "{name} is missing");
    }
    assert!(!made.keys().any(|name| name.contains("ca.key")), "the authority's key is kept nowhere");
    for (name, mode) in [("tls/hub.key", 0o600), ("data/secret.key", 0o600), ("data", 0o700)] {
        assert_eq!(fs::metadata(hub.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    let text = String::from_utf8(made["pipeline.toml"].clone()).unwrap();
    assert!(text.contains("\"https://hub.example.com:8443\"") && text.contains("listen = \"0.0.0.0:8443\""), "{text}");

    check(&hub, &["check"], 0, "");
    check(&hub, &["test", "probes"], 0, "");
    check(&hub, &["test"], 0, "probes/usb-device.ndjson:1");

    // Tables that are appended work at once.
    let more = r#"
[action.note]
kind = "file"
path = "noted.ndjson"
[probe.anything]
filter = "true"
act = ["note"]
[unit.berlin]
"#;
    fs::write(hub.join("pipeline.toml"), text + more).unwrap();
    check(&hub, &["check"], 0, "");
    check(&hub, &["enrol", "new", "--unit", "berlin"], 0, "zs1.");
}

#[test]
fn examples_run_as_the_pipeline_would_run_them() {
    let dir = tempfile::tempdir().unwrap();
    check(dir.path(), &["init"], 0, "");
    check(dir.path(), &["check"], 0, "");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // Wherever a filter lies, what it imports lies in filters/.
    write("probes/own.toml", "[probe.own]\nfilter = \"own.jq\"\n[probe.again]\nfilter = \"../probes/own.jq\"\n");
    write("probes/own.jq", "import \"lib\" as lib;\nlib::odd(.n)\n");
    write("probes/own.ndjson", "{\"match\": true, \"event\": {\"n\": 3}}\n");
    write("probes/lib.jq", "def odd(f): false;\n");
    check(dir.path(), &["test"], 2, "lib");
    write("filters/lib.jq", "def odd(f): f % 2 == 1;\n");
    write("filters/later.jq", ".n == 1\n");
    write("filters/later.ndjson", "{\"match\": true, \"event\": {\"n\": 1}}\n");
    check(dir.path(), &["check"], 0, "");
    let said = check(dir.path(), &["test"], 0, "filters/later.ndjson:1");
    assert_eq!(said.matches("own.ndjson:1").count(), 1, "{said}");
    check(dir.path(), &["test", "probes/own.jq"], 0, "1 passed, 0 failed");
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    check(dir.path(), &["init"], 0, "");
    let before = files(dir.path());
    check(dir.path(), &["init"], 2, "pipeline.toml is there already");
    check(dir.path(), &["init", "."], 2, "pipeline.toml");
    check(dir.path(), &["init", "--guide"], 2, "--guide needs a new folder");
    assert_eq!(files(dir.path()), before);

    // A folder of somebody else's: as long as no file has the same name it is fine.
    for (there, code) in
        [("README", 0), ("probes/own.toml", 0), ("tls/hub.key", 2), ("data/secret.key", 2), ("probes/usb-device.jq", 2)]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(there);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        check(dir.path(), &["init"], code, if code == 2 { there } else { "Next:" });
        assert!(fs::read(&path).unwrap().is_empty());
        assert_eq!(files(dir.path()).len() == 1, code == 2, "all or nothing: {:?}", files(dir.path()).keys());
    }
}

#[test]
fn wrong_words_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, value, says) in [
        ("--url", "http://hub.example.com", "https"),
        ("--url", "https://hub.example.com/?a", "plain path"),
        ("--url", "https://x\"y", "URL"),
        ("--listen", "443", "address"),
        ("--listen", "0.0.0.0:http", "address"),
        ("--listen", "0.0.0.0:443\"\n[x]", "address"),
    ] {
        check(dir.path(), &["init", "hub", flag, value], 2, says);
    }
    assert!(files(dir.path()).is_empty() && !dir.path().join("hub").exists());
}

/// The pipeline that ships runs after one command.
#[test]
fn the_pipeline_that_ships_is_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    fs::copy(root.join("pipeline.toml"), dir.path().join("pipeline.toml")).unwrap();
    std::os::unix::fs::symlink(root.join("filters"), dir.path().join("filters")).unwrap();
    check(dir.path(), &["check"], 1, "tls/hub.key");

    let said = check(dir.path(), &["init", "."], 0, "Kept as it is:\n  ./pipeline.toml\n");
    for name in ["tls/ca.pem", "tls/hub.pem", "tls/hub.key", "data/secret.key"] {
        assert!(said.contains(&format!("  ./{name}\n")), "{name}: {said}");
    }
    check(dir.path(), &["check"], 0, "");
    assert_eq!(
        fs::read(dir.path().join("pipeline.toml")).unwrap(),
        fs::read(root.join("pipeline.toml")).unwrap(),
        "left as it was"
    );
    for (name, mode) in [("tls/hub.key", 0o600), ("data/secret.key", 0o600), ("data", 0o700)] {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }

    // What is there stays: only the rest is made, and a half of a pair is nothing to go on with.
    let cert = fs::read(dir.path().join("tls/hub.pem")).unwrap();
    fs::remove_file(dir.path().join("data/secret.key")).unwrap();
    check(dir.path(), &["init"], 0, "./tls/hub.key\n");
    assert_eq!(fs::read(dir.path().join("tls/hub.pem")).unwrap(), cert);
    fs::remove_file(dir.path().join("tls/hub.key")).unwrap();
    check(dir.path(), &["init"], 2, "tls/hub.pem is there, but");
    check(dir.path(), &["init", "--url", "https://x"], 2, "says what --listen and --url would");
}

#[test]
fn the_probe_in_the_readme_works() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let start = readme.find("[probe.usb-c-media]").unwrap();
    let probe = readme[start..].split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    check(dir.path(), &["init"], 0, "");
    let config = dir.path().join("pipeline.toml");
    fs::write(&config, fs::read_to_string(&config).unwrap() + "\n" + probe).unwrap();
    fs::write(dir.path().join("slack.url"), "https://hooks.example.com/T0\n").unwrap();
    check(dir.path(), &["check"], 0, "");

    let sql = probe.split("sql = \"").nth(1).unwrap().split('"').next().unwrap();
    let rev: String = Sha256::digest(sql).iter().take(4).map(|b| format!("{b:02x}")).collect();
    let event = |vendor: &str| {
        serde_json::json!({"type": "osquery_result", "machine": {"hostname": "ada-mbp", "platform": "macos"},
            "payload": {"name": format!("zentral/usb-c-media/{rev}"), "action": "added", "counter": 1,
                "columns": {"vendor": vendor, "model": "Dongle"}}})
    };
    let lines = dir.path().join("events");
    fs::write(&lines, format!("{}\n{}\n", event("Other"), event("C-Media"))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.current_dir(dir.path()).args(["filter", "usb-c-media"]).stdin(fs::File::open(&lines).unwrap());
    let out = command.output().unwrap();
    let matched: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(matched["probes"][0]["context"]["title"], "Dongle on ada-mbp");
}
