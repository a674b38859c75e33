//! Windows, throttles, digests, incidents and brakes under kills: the real programs, the same input, SIGKILL to whatever
//! runs. Each run does what an undisturbed one does: nothing less, nothing more, nothing else.
//!
//! `ZENTRAL_RUNS` (20), `ZENTRAL_RUN_KILLS` (8 a run) and `ZENTRAL_SEED` are read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use registry::db::Db;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::agent::Agent;
use support::chance::{Chance, from_env};
use support::hub::{Hub, signal, wait_for};
use support::receiver::{Receiver, Reply};

const MACHINES: u64 = 5;
const POSTS: usize = 60;
/// Machines an hour that `braked` may change: fewer than there are.
const MAX: usize = 2;
/// Requests among which some end in trouble.
const TROUBLE: usize = 80;
/// Runs side by side: most of a run is waiting.
const SIDE_BY_SIDE: u64 = 4;

/// What holds back by time holds back for longer than a run lasts, so only the order of the matches decides.
const CONFIG: &str = r#"
[action.plain]
kind = "http"
url = "http://127.0.0.1:{port}/"
parallel = 3
body = '{body}'
[action.ticket]
kind = "http"
url = "http://127.0.0.1:{port}/"
parallel = 3
ref = '{id: "T-1"}'
body = '{body}'
[action.calm]
kind = "http"
url = "http://127.0.0.1:{port}/"
digest = "1s"
body = '{action, ids: (.ids // [.event.id]), count: (.count // 1)}'
[action.braked]
kind = "http"
url = "http://127.0.0.1:{sure}/"
max = "2/h"
body = '{body}'
[probe.slow]
filter = '.payload.columns | select(.hit | contains("s")) | {title: .title}'
act = ["plain"]
throttle = "1h"
[probe.many]
filter = '.payload.columns | select(.hit | contains("m")) | {title: .title}'
act = ["plain", "calm"]
window = { count = 3, within = "1h" }
[probe.state]
filter = '.payload.columns | select(.hit | contains("o")) | {title: .title}'
until = '.payload.columns.hit | contains("x")'
act = ["ticket", "calm"]
[probe.loud]
filter = '.payload.columns | select(.hit | contains("l")) | {title: .title}'
act = ["calm", "braked"]
"#;
const BODY: &str = "{action, probe: .probe.name, machine: .event.machine.serial_number, id: .event.id, state, count, \
                    ids: ((.ids // []) | sort), title, status: .incident.status, matches: .incident.count}";

/// Posts in order: whose, and the lines.
fn history(seed: u64, now: u64) -> Vec<(usize, Vec<Value>)> {
    let mut chance = Chance(seed);
    let mut n = 0;
    let mut line = |chance: &mut Chance| {
        n += 1;
        let mut hit: String = ["s", "m", "m", "l"].into_iter().filter(|_| chance.below(3) == 0).collect();
        hit += ["o", "o", "x", "", "", ""][chance.below(6) as usize];
        json!({"name": "conditions", "hostIdentifier": "h", "unixTime": now, "epoch": 0, "counter": 3, "action": "added",
            "columns": {"marker": n.to_string(), "hit": hit, "title": format!("t{}", chance.below(3))}})
    };
    let mut post = |post: usize| {
        let whose = if post < MACHINES as usize { post } else { chance.below(MACHINES) as usize };
        (whose, (0..=chance.below(3)).map(|_| line(&mut chance)).collect())
    };
    (0..POSTS).map(&mut post).collect()
}

/// What the receivers got and what is remembered, without what the clock decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Effects {
    /// Messages, each once by its key.
    told: BTreeMap<String, u32>,
    /// Matches told in digests: which digest holds one is a matter of when it was received.
    gathered: BTreeMap<String, u32>,
    braked: BTreeMap<String, u32>,
}

fn effects(receiver: &Receiver, sure: &Receiver) -> Effects {
    let mut all = Effects::default();
    for body in receiver.seen.lock().unwrap().taken.values() {
        let value: Value = serde_json::from_str(body).unwrap();
        if value["action"] != "calm" {
            *all.told.entry(body.clone()).or_default() += 1;
            continue;
        }
        let ids = value["ids"].as_array().unwrap();
        assert_eq!(value["count"], ids.len(), "a digest names all that it holds");
        for id in ids {
            *all.gathered.entry(id.as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    for body in sure.seen.lock().unwrap().taken.values() {
        *all.braked.entry(body.clone()).or_default() += 1;
    }
    all
}

/// What is remembered at the end, but for times and tries.
fn state(hub: &Hub) -> Vec<String> {
    let db = Db::open_read_only(&hub.path("data/state/act.db")).unwrap().unwrap();
    let tables = [
        "SELECT 'throttle ' || probe || ' ' || key FROM throttles ORDER BY 1",
        "SELECT 'window ' || probe || ' ' || key || ' ' || event FROM windows ORDER BY 1",
        "SELECT 'incident ' || id || ' ' || status || ' ' || severity || ' ' || title || ' ' || count FROM incidents ORDER BY 1",
        "SELECT 'noted ' || incident || ' ' || action || ' ' || reference FROM noted ORDER BY 1",
        "SELECT 'taken ' || event || ' ' || probe FROM taken ORDER BY 1",
        "SELECT action || ' ' || event || ' ' || probe || ' ' || state FROM ledger WHERE digest = '' ORDER BY 1",
    ];
    tables.iter().flat_map(|sql| db.query(sql, &[]).unwrap()).map(|row| row.text(0).to_owned()).collect()
}

/// One of the processes, or all of them, now and then, until `over`. Gives how often.
fn kill(hub: &mut Hub, chance: &mut Chance, kills: u64, over: &AtomicBool) -> u64 {
    let mut done = 0;
    while done < kills && !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50 + chance.below(350)));
        let stages = hub.stages();
        // Every other one hits act.
        let pick = match chance.below(8) {
            0 => None,
            1..=4 => stages.iter().find(|(name, _)| name == "act"),
            _ if stages.is_empty() => continue,
            _ => stages.get(chance.below(stages.len() as u64) as usize),
        };
        if let Some((_, pid)) = pick {
            done += u64::from(signal(*pid, Signal::KILL));
        } else if stages.iter().any(|(name, _)| name == "receive") {
            assert!(signal(hub.up_pid().unwrap(), Signal::KILL));
            assert_eq!(hub.reap().signal(), Some(9), "zentral up had ended by itself\n{}", hub.log());
            hub.start();
            done += 1;
        }
    }
    done
}

/// Runs a history. `want`: the effects of the undisturbed run.
fn run(
    posts: &[(usize, Vec<Value>)],
    kills: u64,
    seed: u64,
    want: Option<&(Effects, Vec<String>)>,
) -> (Effects, Vec<String>, u64) {
    let mut chance = Chance(seed);
    let trouble = kills > 0;
    let receiver = Receiver::start(move |n, _| match Chance(seed ^ n as u64).below(40) {
        // Pauses grow with every failure, so there is an end to trouble.
        _ if !trouble || n > TROUBLE => Reply::Answer(200, "", "ok"),
        0 | 1 => Reply::TakeAndDie,
        2 => Reply::Answer(500, "", "later"),
        3 => Reply::Die,
        // Long enough that a kill finds tries under way.
        4..=6 => Reply::Hang(150),
        _ => Reply::Answer(200, "", "ok"),
    });
    let sure = Receiver::start(|_, _| Reply::Answer(200, "", "ok"));
    let config = CONFIG.replace("{body}", BODY).replace("{port}", &receiver.port.to_string());
    let mut hub = Hub::new(&config.replace("{sure}", &sure.port.to_string()));
    let (secret, ca, port) = (hub.secret(), hub.ca(), hub.port);
    hub.start();
    let over = AtomicBool::new(false);
    let killed = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut agents: Vec<Agent> =
                (0..MACHINES).map(|n| Agent::new(&ca, port, &secret, &format!("COND{n}"))).collect();
            let begun = Instant::now();
            for (whose, lines) in posts {
                // One after the other, again and again until it is taken: so the order is the same in every run.
                while !matches!(agents[*whose].log(lines), Ok(true)) {
                    if begun.elapsed() > Duration::from_secs(90) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(30));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            over.store(true, Ordering::Relaxed);
        });
        let done = kill(&mut hub, &mut chance, kills, &over);
        wait_for("the agents", Duration::from_secs(120), || hub.log(), || over.load(Ordering::Relaxed));
        done
    });
    let db = hub.path("data/state/act.db");
    let stopped = || {
        let told = registry::ledger::look(&db).map(|db| db.map(|db| registry::ledger::lanes::stopped(&db)));
        told.is_ok_and(|told| {
            told.is_some_and(|told| told.is_ok_and(|all| all.iter().any(|(action, _)| action == "braked")))
        })
    };
    hub.wait("the brake", 60, stopped);
    let machines = |effects: &Effects| -> BTreeSet<String> {
        let machine =
            |body: &String| serde_json::from_str::<Value>(body).unwrap()["machine"].as_str().unwrap().to_owned();
        effects.braked.keys().map(machine).collect()
    };
    let touched = machines(&effects(&receiver, &sure));
    assert!(touched.len() <= MAX, "seed {seed}: {touched:?}");
    let settled = |want: Option<&Effects>| {
        let deadline = Instant::now() + Duration::from_secs(60);
        let (mut last, mut since) = (effects(&receiver, &sure), Instant::now());
        while Instant::now() < deadline {
            if stopped() {
                hub.ok(&["act", "resume", "braked"]);
                // It is heard at the next turn; the lane may stop again at once.
                std::thread::sleep(Duration::from_millis(800));
            }
            std::thread::sleep(Duration::from_millis(200));
            let now = effects(&receiver, &sure);
            match want {
                Some(want) if now == *want => return now,
                None if now == last && since.elapsed() > Duration::from_secs(5) && !stopped() => return now,
                _ if now != last => (last, since) = (now, Instant::now()),
                _ => {}
            }
        }
        last
    };
    let got = settled(want.map(|(effects, _)| effects));
    let log = hub.log();
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    // Nothing more came meanwhile.
    assert_eq!(got, effects(&receiver, &sure), "seed {seed}: told at the end");
    if let Some((want, _)) = want {
        differ(seed, "messages", &got.told, &want.told, &log);
        differ(seed, "matches in digests", &got.gathered, &want.gathered, &log);
        differ(seed, "braked messages", &got.braked, &want.braked, &log);
    }
    let state = state(&hub);
    (got, state, killed)
}

fn differ(seed: u64, what: &str, got: &BTreeMap<String, u32>, want: &BTreeMap<String, u32>, log: &str) {
    let more: Vec<_> = got.iter().filter(|(key, n)| want.get(*key) != Some(n)).collect();
    let less: Vec<_> = want.iter().filter(|(key, n)| got.get(*key) != Some(n)).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "seed {seed}, {what}: only here {more:#?}, only there {less:#?}\n{log}"
    );
}

#[test]
fn kills_change_nothing_of_what_is_done() {
    let (runs, kills) = (from_env("ZENTRAL_RUNS", 20), from_env("ZENTRAL_RUN_KILLS", 8));
    let seed = from_env("ZENTRAL_SEED", 20_261_122);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let posts = history(seed, now);
    let begun = Instant::now();
    let (effects, remembered, _) = run(&posts, 0, seed, None);
    assert!(effects.braked.len() > 5 && effects.gathered.len() > 20 && effects.told.len() > 20, "{effects:?}");
    for word in ["throttle ", "window ", "incident ", "noted ", "taken "] {
        assert!(remembered.iter().any(|line| line.starts_with(word)), "no {word}: {remembered:?}");
    }
    for word in ["\"opened\"", "\"changed\"", "\"closed\"", "\"count\":3"] {
        assert!(effects.told.keys().any(|body| body.contains(word)), "nothing {word}: {effects:#?}");
    }
    let want = (effects, remembered);
    let (next, all) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= runs {
                        return;
                    }
                    let (_, state, killed) = run(&posts, kills, seed + 1 + n, Some(&want));
                    let more: Vec<_> = state.iter().filter(|line| !want.1.contains(line)).collect();
                    let less: Vec<_> = want.1.iter().filter(|line| !state.contains(line)).collect();
                    assert!(more.is_empty() && less.is_empty(), "run {n}: {more:#?} for {less:#?}");
                    all.fetch_add(killed, Ordering::Relaxed);
                }
            });
        }
    });
    let all = all.into_inner();
    eprintln!(
        "{runs} runs, {all} kills in {:?}: {} messages, {} matches in digests, {} braked",
        begun.elapsed(),
        want.0.told.len(),
        want.0.gathered.len(),
        want.0.braked.len()
    );
    assert!(kills == 0 || all >= runs * kills / 2, "only {all} kills");
}
