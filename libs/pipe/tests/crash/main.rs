//! Histories of a topic on a disk that stops at any operation and loses power: nothing acknowledged is lost, nothing is
//! doubled or torn, and no reader ever saw what its writer takes back.
//!
//! A history is a random course of appends, commits, seals, compressions, deletions, reads, stops, power cuts and
//! recoveries. At **every** operation that changes the disk (create, write, cut, fsync, rename, removal, folder fsync) and
//! at every transaction, the disk is copied as a stop there leaves it: with the operation done, not done or half done.
//! From each copy the story goes on by itself: a kill or a power cut, recovery, checks of every byte, another commit and
//! upkeep, a reader to the end. Of every twentieth recovery each operation is stopped at in the same way, and so on.
//!
//! 8,000 histories are 973,000 stops, 609,000 more within recoveries, and 1,614,000 recoveries that are checked: five
//! minutes of CPU in a debug build, shared among all cores.
//!
//! `ZENTRAL_CRASH_HISTORIES` sets how many, `ZENTRAL_CRASH_SEED` runs one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod check;
mod lines;
mod reader;
mod stops;
mod world;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lines::Counts;
use stops::history;

const HISTORIES: u64 = 8_000;

#[test]
fn every_stop_of_every_history_recovers() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    if let Some(seed) = number("ZENTRAL_CRASH_SEED") {
        eprintln!("seed {seed}: {:?}", history(seed, false));
        return;
    }
    let want = number("ZENTRAL_CRASH_HISTORIES").unwrap_or(HISTORIES);
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Counts::default()));
    let work = || {
        let mut counts = Counts::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= want {
                break;
            }
            // A failure ends the others, too.
            match catch_unwind(|| history(seed, false)) {
                Ok(done) => counts.add(&done),
                Err(failure) => {
                    next.store(want, Ordering::Relaxed);
                    std::panic::resume_unwind(failure);
                }
            }
        }
        sum.lock().unwrap().add(&counts);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let counts = sum.into_inner().unwrap();
    eprintln!("{want} histories: {counts:?}");
    assert!(counts.recoveries >= counts.stops + counts.stops_again, "each stop ends in a recovery");
    let kinds = [counts.stops / 50, counts.stops_again, counts.sealed, counts.compressed, counts.deleted];
    assert!(want < 100 || kinds.iter().all(|n| *n > want), "histories have become too dull: {kinds:?}");
}

#[test]
fn a_disk_that_lies_about_fsync_is_found_out() {
    let failed = (1..=100).filter(|seed| catch_unwind(|| history(*seed, true)).is_err()).count();
    assert!(failed > 90, "only {failed} of 100 histories noticed");
}
