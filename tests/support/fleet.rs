//! A fleet that sends all the time while something is killed, and what must hold at the end: nothing is lost, nothing is
//! there twice.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::agent::Agent;
use super::chance::Chance;
use super::hub::{Hub, wait_for};
use super::receiver::{Receiver, Reply};

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
fn run_agent(mut agent: Agent, index: usize, seed: u64, slowly: Duration, stop: &AtomicBool, ledger: &Mutex<Ledger>) {
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
        std::thread::sleep(slowly + Duration::from_millis(chance.below(25)));
    }
}

/// The one exception to once: an event whose own time is not believed is stored by when it arrived, so one that is sent
/// again after midnight stands under both days.
fn over_midnight(events: &[Value]) -> bool {
    let day = |event: &Value| event["time"].as_str().unwrap()[..10].to_owned();
    let clock = |event: &Value| event["tags"].as_array().unwrap().iter().any(|tag| tag == "clock");
    matches!(events, [a, b] if clock(a) && clock(b) && a["id"] == b["id"] && day(a) != day(b))
}

/// The action and the probe of the fleet's matches, to be appended to pipeline.toml.
pub fn tables(receiver: &Receiver) -> String {
    format!(
        "\n[action.hook]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/in\"\nparallel = 8\n\
         body = '{{marker: .event.payload.columns.marker}}'\n\
         \n[probe.hit]\nfilter = '.payload.columns.hit == \"1\"'\nact = [\"hook\"]\n",
        receiver.port
    )
}

/// A part of its answers is trouble; what it has taken counts once by its key.
pub fn receiver() -> Receiver {
    Receiver::start(|n, _| match Chance(n as u64).below(40) {
        0 | 1 => Reply::TakeAndDie,
        2 => Reply::Answer(500, "", "later"),
        3 => Reply::Die,
        4 => Reply::Answer(429, "Retry-After: 1\r\n", ""),
        // Long enough that a kill finds tries under way.
        5..=9 => Reply::Hang(400),
        _ => Reply::Answer(200, "", "ok"),
    })
}

/// Agents at work.
pub struct Fleet {
    stop: Arc<AtomicBool>,
    ledger: Arc<Mutex<Ledger>>,
    running: Arc<AtomicUsize>,
}

impl Fleet {
    /// Agents of a hub that runs; `slowly`: so much longer they rest between two posts.
    pub fn start(hub: &Hub, seed: u64, slowly: Duration) -> Self {
        let (secret, ca) = (hub.secret(), hub.ca());
        let fleet = Self { stop: Arc::default(), ledger: Arc::default(), running: Arc::new(AtomicUsize::new(AGENTS)) };
        for index in 0..AGENTS {
            let agent = Agent::new(&ca, hub.port, &secret, &format!("KILL{index}"));
            let (stop, ledger, running) = (fleet.stop.clone(), fleet.ledger.clone(), fleet.running.clone());
            std::thread::spawn(move || {
                run_agent(agent, index, seed, slowly, &stop, &ledger);
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        fleet
    }

    /// How many records were taken so far.
    pub fn taken(&self) -> usize {
        self.ledger.lock().unwrap().acknowledged.len()
    }

    /// Lets the agents finish what they have, and the hub as well; then nothing is lost, and nothing doubled.
    pub fn finish(&self, hub: &mut Hub, receiver: &Receiver) {
        self.stop.store(true, Ordering::Relaxed);
        let idle = || self.running.load(Ordering::Relaxed) == 0;
        wait_for("agents to be done", Duration::from_secs(120), || hub.log(), idle);
        let (acknowledged, sent) = {
            let held = self.ledger.lock().unwrap();
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
            for event in hub.events("type:osquery_result") {
                events
                    .entry(event["payload"]["columns"]["marker"].as_str().unwrap().to_owned())
                    .or_default()
                    .push(event);
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
}
