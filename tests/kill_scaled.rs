//! The kill test beyond one machine: topics in Kafka, state in PostgreSQL, events in Elasticsearch, two instances of
//! normalize and of filter. SIGKILL to whatever runs, the servers among it, and SIGSTOP for longer than a session lasts.
//!
//! At the end every record that was answered 200 is stored exactly once, every match was acted on exactly once, and both
//! sums hold. `ZENTRAL_KILLS_SCALED` (30) and `ZENTRAL_SEED` are read. The servers are this test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::chance::{Chance, from_env};
use support::fleet::{Fleet, receiver, tables};
use support::hub::{Hub, signal};
use support::services::{Own, address};

const SERVERS: [&str; 3] = ["kafka", "postgres", "elasticsearch"];
/// Of so many kills one hits a server; each in its turn.
const SERVER_EVERY: u64 = 5;
/// Of so many one is no kill but a long sleep.
const SLEEP_EVERY: u64 = 7;

/// `zentral init`'s pipeline with other names in it.
fn scaled(text: &str, own: &Own) -> String {
    let [kafka, postgres, search] = SERVERS.map(|name| own.address(name));
    let text = text.replace("topic:", "kafka:").replace("kind   = \"embedded\"", "kind   = \"elasticsearch\"");
    let text = text.replace("[stage.normalize]\n", "[stage.normalize]\nreplicas = 2\n");
    let text = text.replace("[stage.filter]\n", "[stage.filter]\nreplicas = 2\n");
    let text = text.replace("[stage.store]\n", &format!("[stage.store]\nhosts = [\"http://{search}\"]\n"));
    format!(
        "{text}\n[kafka]\nbrokers = [\"{kafka}\"]\npartitions = 3\nproperties = {{ \"session.timeout.ms\" = \"6000\" }}\n\
         [registry]\npostgres = \"postgres://zentral@{postgres}/zentral\"\n"
    )
}

#[test]
fn no_kill_loses_or_doubles_anything_on_kafka_postgres_and_elasticsearch() {
    // Where the others are these can be started.
    let known = ["ZENTRAL_TEST_KAFKA", "ZENTRAL_TEST_POSTGRES", "ZENTRAL_TEST_ELASTICSEARCH"];
    if known.iter().any(|variable| address(variable).is_none()) {
        return;
    }
    let kills = from_env("ZENTRAL_KILLS_SCALED", 30);
    let seed = from_env("ZENTRAL_SEED", 20_261_123);
    eprintln!("scaled kill test: ZENTRAL_KILLS_SCALED={kills} ZENTRAL_SEED={seed}");
    let mut chance = Chance(seed);
    let own = Own::start(&SERVERS, "kill");

    let receiver = receiver();
    let mut hub = Hub::new(&tables(&receiver));
    hub.edit(|text| scaled(&text, &own));
    hub.start();
    hub.wait("the hub", 120, || hub.stages().len() == 7);
    let fleet = Fleet::start(&hub, seed, Duration::from_millis(150));

    let mut by_target: BTreeMap<String, u32> = BTreeMap::new();
    let mut asleep: Option<(i32, Instant)> = None;
    let mut restarting: Option<std::thread::JoinHandle<()>> = None;
    let (mut done, mut servers) = (0, 0);
    let begun = Instant::now();
    while done < kills {
        std::thread::sleep(Duration::from_millis(300 + chance.below(2500)));
        assert!(begun.elapsed() < Duration::from_secs(120 + kills * 15), "kills take too long\n{}", hub.log());
        if let Some((pid, since)) = asleep.filter(|(_, since)| since.elapsed() > Duration::from_secs(12)) {
            eprintln!("scaled kill test: wakes {pid} after {:?}", since.elapsed());
            signal(pid, Signal::CONT);
            asleep = None;
        }
        let picked = if done % SERVER_EVERY == SERVER_EVERY - 1 {
            // One at a time, beside whatever else is killed.
            if restarting.as_ref().is_some_and(|one| !one.is_finished()) {
                continue;
            }
            if let Some(before) = restarting.take() {
                before.join().unwrap();
            }
            let name = SERVERS[servers % SERVERS.len()];
            servers += 1;
            restarting = Some(own.restart_killed(name));
            name.to_owned()
        } else if chance.below(8) == 0 {
            assert!(signal(hub.up_pid().unwrap(), Signal::KILL));
            assert_eq!(hub.reap().signal(), Some(9), "zentral up had ended by itself\n{}", hub.log());
            hub.start();
            "up".to_owned()
        } else {
            let stages = hub.stages();
            if stages.is_empty() {
                continue;
            }
            let (name, pid) = stages[chance.below(stages.len() as u64) as usize].clone();
            if asleep.is_none() && done % SLEEP_EVERY == SLEEP_EVERY - 1 && name.contains('-') {
                if !signal(pid, Signal::STOP) {
                    continue;
                }
                asleep = Some((pid, Instant::now()));
                format!("{name} sleeps")
            } else if signal(pid, Signal::KILL) {
                name
            } else {
                continue;
            }
        };
        eprintln!("scaled kill test: {picked}, {} records taken", fleet.taken());
        done += 1;
        *by_target.entry(picked).or_default() += 1;
    }
    if let Some((pid, _)) = asleep {
        std::thread::sleep(Duration::from_secs(10));
        signal(pid, Signal::CONT);
    }
    if let Some(last) = restarting {
        last.join().unwrap();
    }
    eprintln!("scaled kill test: {done} kills in {:?}: {by_target:?}", begun.elapsed());
    assert!(kills < 15 || SERVERS.iter().all(|name| by_target.contains_key(*name)), "{by_target:?}");
    fleet.finish(&mut hub, &receiver);
}
