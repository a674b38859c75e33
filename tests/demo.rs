//! `zentral demo --once`: the whole pipeline that ships, from agents to Slack, mail and search, as users see it first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::Path;
use std::process::Command;

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
    ] {
        assert!(said.contains(part), "{part:?} is missing:\n{said}\n{errors}");
    }
    assert!(!said.contains('\u{1b}'), "no colours in a pipe");
    let left: Vec<_> = std::fs::read_dir(Path::new(tmp.path())).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
