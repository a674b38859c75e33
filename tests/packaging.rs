//! `packaging/`: what it names is there, its files are well formed, its configurations are right, and the stages of
//! `packaging/kubernetes` run and answer their probes. The packages themselves: `scripts/package --check`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use support::hub::{Hub, free_port, signal, wait_for};
use support::plain::ask;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn files(folder: PathBuf, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(path, end));
        } else if path.extension().is_some_and(|found| found == end) {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_yaml_is_one() {
    let all = files(root().join("packaging"), "yml");
    assert!(all.len() >= 8, "{all:?}");
    for file in all {
        let text = std::fs::read_to_string(&file).unwrap();
        let events = saphyr_parser::Parser::new_from_str(&text).map(|event| event.map(drop));
        let events: Vec<_> = events.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(events.len() > 10, "{}", file.display());
    }
}

/// What a package is made of lies in the source tree, but for what the build and scripts/package make.
#[test]
fn packages_hold_what_there_is() {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let metadata = &manifest["package"]["metadata"];
    let deb = metadata["deb"]["assets"].as_array().unwrap().iter();
    let deb: Vec<&str> = deb.map(|asset| asset[0].as_str().unwrap()).collect();
    let rpm = metadata["generate-rpm"]["assets"].as_array().unwrap().iter();
    let rpm: Vec<&str> = rpm.map(|asset| asset["source"].as_str().unwrap()).collect();
    let script = text("scripts/package");
    for source in deb.iter().chain(&rpm) {
        if let Some(program) = source.strip_prefix("target/release/") {
            let known = program == "zentral" || root().join("bins").join(program).is_dir();
            assert!(known, "{source}");
        } else if let Some(made) = source.strip_prefix("target/package/") {
            assert!(script.contains(&format!("$made/{made}")), "{source} is made by nobody");
        } else if let Some((folder, end)) = source.split_once('*') {
            let mut entries = std::fs::read_dir(root().join(folder)).unwrap();
            let fits = |name: String| name.ends_with(end);
            assert!(entries.any(|e| fits(e.unwrap().file_name().into_string().unwrap())), "{source}");
        } else {
            assert!(root().join(source).is_file(), "{source}");
        }
    }
    // Both hold every stage.
    for folder in std::fs::read_dir(root().join("bins")).unwrap().map(|entry| entry.unwrap().file_name()) {
        let program = format!("target/release/{}", folder.to_str().unwrap());
        assert!(deb.contains(&program.as_str()) && rpm.contains(&program.as_str()), "{program} is in no package");
    }
}

/// What compose mounts lies beside it, and the hub that it starts has a right configuration.
#[test]
fn compose_names_what_there_is() {
    let compose = text("packaging/compose/compose.yml");
    let folder = root().join("packaging/compose");
    let words =
        compose.split([' ', '"', '[', ',', ':', '\n']).filter(|word| word.starts_with("./") || word.starts_with("../"));
    let mounted: Vec<&str> = words.collect();
    assert!(mounted.len() >= 6, "{mounted:?}");
    for path in mounted {
        assert!(folder.join(path).exists(), "{path}");
    }
    let (_, configuration) = configured(&text("packaging/compose/pipeline.toml"));
    assert!(
        configuration.contains("0.0.0.0:9473") && text("packaging/compose/prometheus.yml").contains("zentral:9473")
    );
}

/// A hub's folder with this configuration, its certificate and its data there; it is right. Its text as it was checked.
fn configured(toml: &str) -> (Hub, String) {
    let hub = Hub::new("");
    let folder = hub.dir.path().to_str().unwrap();
    let here = toml.replace("/var/lib/zentral", &format!("{folder}/data"));
    let here =
        here.replace("/etc/zentral-tls/tls.crt", "tls/hub.pem").replace("/etc/zentral-tls/tls.key", "tls/hub.key");
    let here = here.replace("0.0.0.0:8443", &format!("127.0.0.1:{}", free_port()));
    hub.edit(|_| here.clone());
    hub.ok(&["check"]);
    (hub, here)
}

fn ready(port: u16) -> bool {
    ask(&format!("127.0.0.1:{port}"), "GET", "/ready", b"").is_ok_and(|(status, _)| status == 200)
}

#[test]
fn the_stages_of_kubernetes_run_beside_each_other_and_answer_their_probes() {
    let manifest = text("packaging/kubernetes/zentral.yml");
    let (_, after) = manifest.split_once("  pipeline.toml: |\n").unwrap();
    let (toml, _) = after.split_once("---\n").unwrap();
    let (hub, configuration) = configured(&toml.replace("\n    ", "\n").replacen("    ", "", 1));
    // As it is in a new volume.
    std::fs::remove_dir_all(hub.path("data")).unwrap();

    let mut running = Vec::new();
    for line in manifest.lines().filter_map(|line| line.trim().strip_prefix("args: [")) {
        let words: Vec<&str> = line.trim_end_matches(']').split(", ").map(|word| word.trim_matches('"')).collect();
        let [run, stage, metrics, address] = words.as_slice() else { panic!("{line}") };
        let (port, told) = (free_port(), address.strip_prefix("0.0.0.0:").unwrap());
        assert!(manifest.contains(&format!("{{name: m-{stage}, containerPort: {told}}}")), "{stage}");
        assert!(manifest.contains(&format!("readinessProbe: {{httpGet: {{path: /ready, port: m-{stage}}}")), "{stage}");
        let mut command: Command = hub.command(&[run, stage, metrics, &format!("127.0.0.1:{port}")]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        running.push((stage.to_string(), port, process));
    }
    let stages: Vec<&str> = running.iter().map(|(stage, ..)| stage.as_str()).collect();
    let wanted = configuration.lines().filter_map(|line| line.strip_prefix("[stage.")?.strip_suffix(']'));
    assert_eq!(stages, wanted.collect::<Vec<_>>(), "a container each");
    for (stage, port, _) in &running {
        wait_for(stage, Duration::from_secs(60), || hub.log(), || ready(*port));
    }
    for (stage, _, process) in &mut running {
        assert!(signal(i32::try_from(process.id()).unwrap(), Signal::TERM));
        assert_eq!(process.wait().unwrap().code(), Some(0), "{stage}");
    }
}
