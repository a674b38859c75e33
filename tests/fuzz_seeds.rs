//! The seeds of the fuzz targets, and inputs that once were findings, through the same functions: on stable, in seconds.
//!
//! Fuzzing itself needs a nightly compiler: `scripts/soak fuzz 10m`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::{Path, PathBuf};

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

/// Fewer seeds than this are no beginning.
const SEEDS_MIN: usize = 20;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

/// Runs every seed of a target, whole and cut short (what a fuzzer tries first); all findings are named.
fn replay(name: &str) {
    let run = targets::ALL.iter().find(|(n, _)| *n == name).unwrap().1;
    let (mut count, mut findings) = (0, Vec::new());
    for file in std::fs::read_dir(seeds().join(name)).unwrap() {
        let path = file.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        for end in [data.len(), data.len() / 3, data.len().saturating_sub(1)] {
            if std::panic::catch_unwind(|| run(&data[..end])).is_err() {
                findings.push(format!("{}, its first {end} bytes", path.display()));
            }
        }
        count += 1;
    }
    assert!(findings.is_empty(), "findings:\n{}", findings.join("\n"));
    assert!(count >= SEEDS_MIN, "{name} has {count} seeds");
}

#[test]
fn every_target_has_seeds_and_the_other_way_round() {
    let mut folders: Vec<String> =
        std::fs::read_dir(seeds()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    assert_eq!(folders, targets::ALL.map(|(name, _)| name));
}

#[test]
fn engine() {
    replay("engine");
}

#[test]
fn filter() {
    replay("filter");
}

#[test]
fn jamf_body() {
    replay("jamf_body");
}

#[test]
fn munki_body() {
    replay("munki_body");
}

#[test]
fn osquery_body() {
    replay("osquery_body");
}

#[test]
fn raw() {
    replay("raw");
}

#[test]
fn santa_body() {
    replay("santa_body");
}

#[test]
fn search() {
    replay("search");
}

#[test]
fn topic_recovery() {
    replay("topic_recovery");
}
