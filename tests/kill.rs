//! The kill test: the real programs under `zentral up`, agents sending all the time, SIGKILL to whatever runs.
//!
//! At the end every record that was answered 200 is stored exactly once, every match was acted on exactly once at a
//! receiver that honours the idempotency key, and both sums hold. `ZENTRAL_KILLS` (200) and `ZENTRAL_SEED` are read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::collections::{HashMap, HashSet};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::agent::Agent;
use support::chance::{Chance, from_env};
use support::hub::{Hub, signal, wait_for};
use support::receiver::{Receiver, Reply};

const AGENTS: usize = 6;

/// A record that is found again by its marker; every twentieth one matches the probe.
fn record(agent: usize, n: usize, now: u64) -> Value {
    // A third of the agents have a clock of 1970 or 2040.
    let time = match agent % 6 {
        0 => n as u64,
        3 => 2_208_988_800 + n as u64,
        _ => now,
    };
    json!({"name": "kill_test", "hostIdentifier": format!("KILL{agent}"), "unixTime": time, "epoch": 0, "counter": 3,
        "columns": {"marker": format!("m{agent}x{n}"), "hit": if n.is_multiple_of(20) { "1" } else { "0" }}, "action": "added"})
}

#[derive(Default)]
struct Ledger {
    acknowledged: HashSet<String>,
    sent: HashSet<String>,
}

fn marker(record: &Value) -> String {
    record["columns"]["marker"].as_str().unwrap().to_owned()
}

/// Sends until told to stop, then until everything it has was taken. Retries hold old and new lines.
fn run_agent(mut agent: Agent, index: usize, seed: u64, stop: &AtomicBool, ledger: &Mutex<Ledger>) {
    let mut chance = Chance(seed ^ (index as u64 + 1).wrapping_mul(0x1234_5678_9abc_def1));
    let mut pending: Vec<Value> = Vec::new();
    let mut made = 0;
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        if stopping && pending.is_empty() {
            return;
        }
        if !stopping {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            for _ in 0..chance.below(5) {
                pending.push(record(index, made, now));
                made += 1;
            }
        }
        let many = pending.len().min(1 + chance.below(40) as usize);
        let body: Vec<Value> = pending[..many].to_vec();
        ledger.lock().unwrap().sent.extend(body.iter().map(marker));
        if chance.below(12) == 0 && agent.node_key.is_some() {
            let lost = json!({"node_key": agent.node_key, "log_type": "result", "data": body});
            agent.client.post_and_leave("/public/osquery/log", &lost);
        } else if matches!(agent.log(&body), Ok(true)) {
            ledger.lock().unwrap().acknowledged.extend(body.iter().map(marker));
            pending.drain(..many);
        } else {
            std::thread::sleep(Duration::from_millis(20 + chance.below(60)));
        }
        std::thread::sleep(Duration::from_millis(chance.below(25)));
    }
}

/// The one exception to once: an event whose own time is not believed is stored by when it arrived, so one that is sent
/// again after midnight stands under both days.
fn over_midnight(events: &[Value]) -> bool {
    let day = |event: &Value| event["time"].as_str().unwrap()[..10].to_owned();
    let clock = |event: &Value| event["tags"].as_array().unwrap().iter().any(|tag| tag == "clock");
    matches!(events, [a, b] if clock(a) && clock(b) && a["id"] == b["id"] && day(a) != day(b))
}

#[test]
fn no_kill_loses_or_doubles_anything() {
    let kills = from_env("ZENTRAL_KILLS", 200);
    let seed = from_env("ZENTRAL_SEED", 20_261_122);
    eprintln!("kill test: ZENTRAL_KILLS={kills} ZENTRAL_SEED={seed}");
    let mut chance = Chance(seed);

    // A part of the receiver's answers is trouble; what it has taken counts once by its key.
    let receiver = Receiver::start(|n, _| match Chance(n as u64).below(40) {
        0 | 1 => Reply::TakeAndDie,
        2 => Reply::Answer(500, "", "later"),
        3 => Reply::Die,
        4 => Reply::Answer(429, "Retry-After: 1\r\n", ""),
        // Long enough that a kill finds tries under way.
        5..=9 => Reply::Hang(400),
        _ => Reply::Answer(200, "", "ok"),
    });
    let mut hub = Hub::new(&format!(
        "\n[action.hook]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/in\"\nparallel = 8\n\
         body = '{{marker: .event.payload.columns.marker}}'\n\
         \n[probe.hit]\nfilter = '.payload.columns.hit == \"1\"'\nact = [\"hook\"]\n",
        receiver.port
    ));
    let (secret, ca) = (hub.secret(), hub.ca());
    hub.start();
    let stop = Arc::new(AtomicBool::new(false));
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let running = Arc::new(AtomicUsize::new(AGENTS));
    for index in 0..AGENTS {
        let agent = Agent::new(&ca, hub.port, &secret, &format!("KILL{index}"));
        let (stop, ledger, running) = (stop.clone(), ledger.clone(), running.clone());
        std::thread::spawn(move || {
            run_agent(agent, index, seed, &stop, &ledger);
            running.fetch_sub(1, Ordering::Relaxed);
        });
    }

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

    stop.store(true, Ordering::Relaxed);
    wait_for("agents to be done", Duration::from_secs(120), || hub.log(), || running.load(Ordering::Relaxed) == 0);
    let (acknowledged, sent) = {
        let held = ledger.lock().unwrap();
        (held.acknowledged.clone(), held.sent.clone())
    };
    assert!(acknowledged.len() > 100, "only {} records were taken", acknowledged.len());
    let hits: HashSet<&String> = acknowledged
        .iter()
        .filter(|m| m.split('x').nth(1).and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n.is_multiple_of(20)))
        .collect();
    let taken = || -> HashMap<String, usize> {
        let mut count = HashMap::new();
        for body in receiver.seen.lock().unwrap().taken.values() {
            let body: Value = serde_json::from_str(body).unwrap();
            *count.entry(body["marker"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        count
    };
    wait_for(
        "every match to be acted on",
        Duration::from_secs(180),
        || format!("{} of {}\n{}", taken().len(), hits.len(), hub.log()),
        || {
            let taken = taken();
            hits.iter().all(|m| taken.contains_key(*m))
        },
    );
    wait_for(
        "both sums to hold",
        Duration::from_secs(60),
        || format!("{}\n{}", String::from_utf8_lossy(&hub.run(&["status"]).stdout), hub.log()),
        || hub.run(&["status"]).status.success(),
    );

    let stored = || -> HashMap<String, Vec<Value>> {
        let mut events: HashMap<String, Vec<Value>> = HashMap::new();
        let found = hub.run(&["search", "type:osquery_result", "-n", "0"]);
        for line in String::from_utf8(found.stdout).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            events.entry(event["payload"]["columns"]["marker"].as_str().unwrap().to_owned()).or_default().push(event);
        }
        events
    };
    wait_for(
        "everything to be stored",
        Duration::from_secs(120),
        || format!("{} of {}\n{}", stored().len(), acknowledged.len(), hub.log()),
        || {
            let stored = stored();
            acknowledged.iter().all(|m| stored.contains_key(m))
        },
    );
    let stored = stored();
    let twice: Vec<_> = stored.values().filter(|events| events.len() > 1 && !over_midnight(events)).collect();
    assert!(twice.is_empty(), "stored more than once: {twice:?}");
    assert!(stored.keys().all(|m| sent.contains(m)), "stored what nobody sent");
    let doubled: Vec<_> = taken().into_iter().filter(|(_, n)| *n > 1).collect();
    assert!(doubled.is_empty(), "acted on more than once: {doubled:?}");
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    eprintln!(
        "kill test: {} records acknowledged, {} stored, {} matches acted on, {} requests to the receiver",
        acknowledged.len(),
        stored.len(),
        taken().len(),
        receiver.seen.lock().unwrap().requests.len()
    );
}
