//! The kill test: the real programs under `zentral up`, agents sending all the time, SIGKILL to whatever runs.
//!
//! At the end every record that was answered 200 is stored exactly once, every match was acted on exactly once at a
//! receiver that honours the idempotency key, and both sums hold. `ZENTRAL_KILLS` (200) and `ZENTRAL_SEED` are read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::chance::{Chance, from_env};
use support::fleet::{Fleet, receiver, tables};
use support::hub::{Hub, signal};

#[test]
fn no_kill_loses_or_doubles_anything() {
    let kills = from_env("ZENTRAL_KILLS", 200);
    let seed = from_env("ZENTRAL_SEED", 20_261_122);
    eprintln!("kill test: ZENTRAL_KILLS={kills} ZENTRAL_SEED={seed}");
    let mut chance = Chance(seed);

    let receiver = receiver();
    let mut hub = Hub::new(&tables(&receiver));
    hub.start();
    let fleet = Fleet::start(&hub, seed, Duration::ZERO);

    let mut by_target: HashMap<String, u32> = HashMap::new();
    let mut soon: Option<String> = None;
    let mut done = 0;
    let begun = Instant::now();
    while done < kills {
        let wait = if soon.is_some() { chance.below(50) } else { 30 + chance.below(300) };
        std::thread::sleep(Duration::from_millis(wait));
        let stages = hub.stages();
        let again = soon.is_some();
        let pick = match soon.take() {
            // Every tenth kill hits what has just been started again.
            Some(name) => name,
            None if chance.below(8) == 0 || stages.is_empty() => "up".to_owned(),
            None => stages[chance.below(stages.len() as u64) as usize].0.clone(),
        };
        assert!(begun.elapsed() < Duration::from_secs(60 + kills * 3), "kills take too long\n{}", hub.log());
        // Only a kill that hits counts.
        if pick == "up" {
            assert!(signal(hub.up_pid().unwrap(), Signal::KILL));
            assert_eq!(hub.reap().signal(), Some(9), "zentral up had ended by itself\n{}", hub.log());
            hub.start();
        } else if !stages.iter().any(|(n, pid)| *n == pick && signal(*pid, Signal::KILL)) {
            // Not started again yet: it is hit as soon as it is.
            soon = again.then_some(pick);
            continue;
        }
        done += 1;
        *by_target.entry(pick.clone()).or_default() += 1;
        if done % 10 == 9 {
            soon = Some(pick);
        }
    }
    eprintln!("kill test: {done} kills in {:?}: {by_target:?}", begun.elapsed());

    fleet.finish(&mut hub, &receiver);
}
