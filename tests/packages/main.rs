//! Installers, scripts and profiles of `zentral enrol package`: read back by a reader of their own (read.py), installed
//! below a folder, and what they make an agent send is sent to the running hub.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "../support/hub.rs"]
mod hub;
#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "../support/mac.rs"]
mod mac;

mod installers;
mod jail;
mod linux;
mod live;
mod profiles;
mod signed;
mod windows;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hub::Hub;
use serde_json::{Value, json};

/// An enrolment's id and secret.
fn enrolment(hub: &Hub, source: &str) -> (String, String) {
    let made: Value = serde_json::from_str(&hub.ok(&["enrol", "new", "--source", source])).unwrap();
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

/// The package in a file of the hub's folder.
fn package(hub: &Hub, id: &str, format: &str) -> PathBuf {
    let name = format!("{id}.{format}");
    hub.ok(&["enrol", "package", id, "--format", format, "-o", &name]);
    hub.path(&name)
}

/// What the reader says of it; its files are below `to`.
#[track_caller]
fn read(kind: &str, file: &Path, to: Option<&Path>) -> Value {
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packages/read.py");
    let out = Command::new("python3").arg(reader).arg(kind).arg(file).args(to).output().unwrap();
    assert!(out.status.success(), "{kind}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Runs it if this machine has it. Programs that scripts/test installs must be there in CI.
fn tool(command: &mut Command, needed: bool) -> Option<Output> {
    match command.output() {
        Ok(out) => Some(out),
        Err(_) => {
            let name = command.get_program().to_owned();
            assert!(!needed || std::env::var("CI").as_deref() != Ok("true"), "{name:?} is not installed");
            eprintln!("left out, as {name:?} is not installed");
            None
        }
    }
}

#[track_caller]
fn ran(out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}");
    said
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn started(more: &str) -> Hub {
    let mut hub = Hub::new(more);
    hub.start();
    hub.wait("a port", 60, || std::net::TcpStream::connect(("127.0.0.1", hub.port)).is_ok());
    hub
}

/// Posts as an agent would that believes this authority only: status and answer.
fn post(url: &str, ca: &Path, headers: &[String], body: &str) -> (String, Value) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--write-out", "\n%{http_code}", "--cacert"]).arg(ca);
    curl.args(["--header", "Content-Type: application/json", "--data", body, url]);
    for header in headers {
        curl.args(["--header", header]);
    }
    let out = String::from_utf8(curl.output().unwrap().stdout).unwrap();
    let (answer, status) = out.rsplit_once('\n').unwrap();
    (status.to_owned(), serde_json::from_str(answer).unwrap_or(Value::Null))
}

/// Enrols and asks for the configuration as osqueryd would that reads the flags below `root`.
#[track_caller]
fn osqueryd_enrols(root: &Path, dir: &str, serial: &str) {
    let flags = text(&root.join(dir).join("osquery.flags"));
    let flag = |name: &str| {
        let found = flags.lines().find_map(|line| line.strip_prefix(&format!("--{name}=")));
        found.unwrap_or_else(|| panic!("no --{name} in {flags}")).to_owned()
    };
    let below = |path: String| root.join(path.trim_start_matches('/'));
    let secret_file = below(flag("enroll_secret_path"));
    assert_eq!(mode(&secret_file), 0o600, "it holds a secret");
    let (ca, host) = (below(flag("tls_server_certs")), format!("https://{}", flag("tls_hostname")));
    let details =
        json!({ "system_info": { "hardware_serial": serial, "uuid": format!("{serial}-uuid"), "hostname": "m" } });
    let body = json!({
        "enroll_secret": text(&secret_file).trim(), "host_identifier": format!("{serial}-uuid"), "platform_type": "9",
        "host_details": details,
    });
    let (status, answer) = post(&format!("{host}{}", flag("enroll_tls_endpoint")), &ca, &[], &body.to_string());
    assert_eq!(status, "200", "{answer}");
    let key = answer["node_key"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let body = json!({ "node_key": key }).to_string();
    let (status, answer) = post(&format!("{host}{}", flag("config_tls_endpoint")), &ca, &[], &body);
    assert!(status == "200" && answer["schedule"].is_object(), "{status} {answer}");
}

/// All files in a folder, by their paths in it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path().strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn same_input_same_bytes() {
    let hub = Hub::new("");
    let all = [
        ("osquery", &["pkg", "deb", "rpm", "sh", "ps1", "zip"][..]),
        ("munki", &["pkg", "mobileconfig", "sh"]),
        ("santa", &["pkg", "mobileconfig", "sh"]),
    ];
    let made = all.map(|(source, formats)| (enrolment(&hub, source), source, formats));
    let build = |id: &str, format: &str| {
        let out = hub.run(&["enrol", "package", id, "--format", format]);
        assert!(out.status.success(), "{format}: {out:?}");
        out.stdout
    };
    let first: Vec<_> = made.iter().flat_map(|(e, _, formats)| formats.iter().map(|f| build(&e.0, f))).collect();
    // Whoever asks a clock says another second, and another two of a ZIP archive.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let second: Vec<_> = made.iter().flat_map(|(e, _, formats)| formats.iter().map(|f| build(&e.0, f))).collect();
    assert!(first == second);
    for ((id, _), source, formats) in &made {
        for format in ["pkg", "deb", "rpm", "sh", "ps1", "zip", "mobileconfig"] {
            if !formats.contains(&format) {
                let out = hub.run(&["enrol", "package", id, "--format", format]);
                let said = String::from_utf8_lossy(&out.stderr);
                let wanted = format!("there is no {format} for {source}");
                assert!(out.status.code() == Some(2) && said.contains(&wanted), "{said}");
                assert!(said.contains(&format!("there is {}", formats.join(", "))) && out.stdout.is_empty(), "{said}");
            }
        }
    }
    // Another enrolment, made later: another version, and all of the first one's names but the secret's.
    let other = enrolment(&hub, "osquery").0;
    let version = |id: &str, to: &str| read("pkg", &package(&hub, id, "pkg"), Some(&hub.path(to)))["version"].clone();
    let number = |v: Value| v.as_str().unwrap().strip_prefix("1.").unwrap().parse::<u64>().unwrap();
    assert!(number(version(&made[0].0.0, "a")) < number(version(&other, "b")));
}

#[test]
fn every_script_is_shell() {
    let hub = Hub::new("");
    let dir = tempfile::tempdir().unwrap();
    let mut scripts = Vec::new();
    for source in ["osquery", "munki", "santa"] {
        let (id, _) = enrolment(&hub, source);
        scripts.push(package(&hub, &id, "sh"));
        let to = dir.path().join(source);
        read("pkg", &package(&hub, &id, "pkg"), Some(&to));
        scripts.extend(files(&to).into_iter().map(|file| to.join(file)));
        if source == "osquery" {
            let to = dir.path().join("rpm");
            read("rpm", &package(&hub, &id, "rpm"), Some(&to));
            scripts.extend(files(&to.join("scripts")).into_iter().map(|file| to.join("scripts").join(file)));
            let to = dir.path().join("deb");
            let file = package(&hub, &id, "deb");
            if let Some(out) = tool(Command::new("dpkg-deb").arg("-e").arg(file).arg(&to), true) {
                ran(&out);
                assert!(to.join("postinst").exists() && to.join("prerm").exists());
                scripts.extend(files(&to).into_iter().map(|file| to.join(file)));
            }
        }
    }
    scripts.retain(|file| text(file).starts_with("#!/bin/sh\n"));
    scripts.push(concat!(env!("CARGO_MANIFEST_DIR"), "/libs/packages/src/munki/hook.sh").into());
    let ends = |end: &str| scripts.iter().filter(|file| file.ends_with(end)).count();
    assert_eq!((ends("postinstall"), ends("preinstall"), ends("uninstall"), ends("agent")), (3, 2, 3, 1));
    assert_eq!((ends("post"), ends("preun"), scripts.len()), (1, 1, 15 + ends("postinst") + ends("prerm")));
    for script in &scripts {
        ran(&Command::new("sh").arg("-n").arg(script).output().unwrap());
    }
    if let Some(out) = tool(Command::new("shellcheck").args(["-s", "sh"]).args(&scripts), true) {
        ran(&out);
    }
}
