//! `scripts/`: what is written for bash is sound, and what ends servers ends those that are named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let in_bash = |path: &PathBuf| std::fs::read(path).unwrap().starts_with(b"#!/usr/bin/env bash\n");
    files.filter(in_bash).collect()
}

#[test]
fn scripts_for_bash_are_sound() {
    let all = scripts();
    assert!(all.iter().any(|path| path.ends_with("fakes")) && all.iter().any(|path| path.ends_with("test")), "{all:?}");
    for path in all {
        assert!(Command::new("bash").arg("-n").arg(&path).status().unwrap().success(), "{}", path.display());
        match Command::new("shellcheck").args(["-S", "warning"]).arg(&path).output() {
            Ok(out) => assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout)),
            Err(_) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "shellcheck is not installed");
                eprintln!("{}: left out, as shellcheck is not installed", path.display());
            }
        }
    }
}

#[test]
fn fakes_says_what_it_does() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fakes");
    let out = Command::new(script).arg("--help").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && text.contains("scripts/fakes NAME [PORT]"), "{text}");
}

/// A test whose servers did not start once killed everybody's.
#[test]
fn services_kills_nobody_who_is_not_named() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new(script).args(["stop", "--kill", "--wipe"]).env("ZENTRAL_SERVICES", dir.path()).output();
    let out = out.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("--kill takes names"), "{said}");
}
