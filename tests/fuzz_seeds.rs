//! The seeds of the fuzz targets, and inputs that once were findings, through the same functions: on stable, in seconds.
//!
//! Fuzzing itself needs a nightly compiler: `scripts/soak fuzz 10m`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::Path;

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

/// Every target has seeds, every folder of seeds has a target, and no seed is a finding.
#[test]
fn seeds_are_no_findings() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut folders: Vec<String> =
        std::fs::read_dir(&seeds).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    assert_eq!(folders, targets::ALL.map(|(name, _)| name));
    for (name, run) in targets::ALL {
        let mut count = 0;
        for file in std::fs::read_dir(seeds.join(name)).unwrap() {
            let path = file.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| run(&data)).is_err() {
                panic!("{} is a finding (see above)", path.display());
            }
            // A seed cut short anywhere is what a fuzzer tries first.
            for cut in [data.len() / 3, data.len().saturating_sub(1)] {
                run(&data[..cut]);
            }
            count += 1;
        }
        assert!(count >= 5, "{name} has {count} seeds");
    }
}
