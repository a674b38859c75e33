//! `zentral demo --once`: the whole pipeline that ships, from agents to Slack, mail and search, as users see it first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn everything_comes_out_as_it_went_in() {
    let tmp = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    // What is set for a hub of the user's own must not touch the demo, nor the demo it.
    command.args(["demo", "--once"]).env("TMPDIR", tmp.path()).env("ZENTRAL_DATA", tmp.path().join("own"));
    let out = command.current_dir(tmp.path()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(0), "{said}\n{errors}");
    for part in [
        "6 agents, ",
        " 66 matches of 12 probes, 66 deliveries to Slack (1 put off and made again), 66 by mail",
        "Everything sent is stored once, every match was acted on once, both sums hold.",
        "critical sip-or-gatekeeper-off",
        "  slack *",
        "  mail  to ada@example.com: ",
        "search probes.severity:critical",
        "/metrics",
        "done the access of ada@example.com is revoked",
        "done Munki will delete the confidential files",
        "done FileVault is on, the incident is over",
        "done Munki will remove Painter on this machine",
        "slack *Unknown USB device on ada-mbp: SanDisk Ultra*",
        "done Painter is in use again and stays",
    ] {
        assert!(said.contains(part), "{part:?} is missing:\n{said}\n{errors}");
    }
    assert!(!said.contains('\u{1b}'), "no colours in a pipe");
    let left: Vec<_> = std::fs::read_dir(Path::new(tmp.path())).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Programs whose command line names this folder.
fn programs(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = entries.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(folder)).collect()
}

#[track_caller]
fn wait(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_behind() {
    let tmp = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.arg("demo").env("TMPDIR", tmp.path()).current_dir(tmp.path());
    let mut demo = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait("six stages", || programs(tmp.path()).iter().filter(|line| line.contains("--stage ")).count() == 6);
    demo.kill().unwrap();
    demo.wait().unwrap();
    wait("their end", || programs(tmp.path()).is_empty());
    wait("an empty folder", || std::fs::read_dir(tmp.path()).unwrap().next().is_none());
}
