//! Histories by chance: matches, pauses, orders, and the process killed at any point of a turn. Whatever the kills, the
//! receivers get what they get of an undisturbed run: nothing more, nothing less, nothing else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use pipe::config::Config;
use pipe::{Context, Line, Metrics, Out, Stage, Waker};
use registry::db::{Db, Tx};
use serde_json::{Value, json};

use crate::actions::{Action, Answer, Sending, Showing, texts_at};
use crate::call::Call;
use crate::ledger::SCHEMA;
use crate::stage::{Act, Options};

/// Histories of one run; `ZENTRAL_HISTORIES` makes it longer, `ZENTRAL_SEED` begins elsewhere.
const HISTORIES: u64 = 2_000;

/// `braked` may not be repeated once it was tried; all others may. Their receivers are replaced by one that notes.
const CONFIG: &str = r#"
version = 1
[action.plain]
kind = "file"
path = "never-written"
parallel = 3
[action.calm]
kind = "file"
path = "never-written"
digest = "2m"
[action.ticket]
kind = "file"
path = "never-written"
quiet = { from = "19:10", to = "19:20", except = "critical" }
[action.braked]
kind = "exec"
run = ["/bin/true"]
max = "2/h"
never = { machines = ["C4"] }
[probe.slow]
filter = "true"
act = ["plain"]
throttle = "5m"
[probe.many]
filter = "true"
act = ["plain", "calm"]
window = { count = 3, within = "4m" }
[probe.state]
filter = "true"
act = ["ticket", "calm", "braked"]
until = "true"
throttle = "1m"
[probe.loud]
filter = "true"
act = ["calm", "braked"]
"#;

/// Chance that can be had again (splitmix64).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// 2026-11-21T19:00:00Z.
const START: i64 = 1_795_287_600_000;

enum Step {
    Lines(Vec<String>),
    Pause(i64),
    Resume,
}

fn history(seed: u64) -> Vec<Step> {
    let mut chance = Seeded(seed);
    let (mut now, mut n, mut said) = (START, 0, Vec::new());
    let mut steps = Vec::new();
    for _ in 0..8 + chance.below(12) {
        match chance.below(8) {
            0 => {
                let pause = i64::try_from(chance.below(300_000)).unwrap();
                now += pause;
                steps.push(Step::Pause(pause));
            }
            1 => steps.push(Step::Resume),
            _ => {
                let mut lines = Vec::new();
                for _ in 0..=chance.below(4) {
                    // An agent that sends again, now and then.
                    if !said.is_empty() && chance.below(8) == 0 {
                        let at = usize::try_from(chance.below(said.len() as u64)).unwrap();
                        lines.push(String::clone(&said[at]));
                        continue;
                    }
                    n += 1;
                    let late = i64::try_from(chance.below(40_000)).unwrap();
                    let line = a_match(&format!("e{n}"), now - late, &mut chance);
                    said.push(line.clone());
                    lines.push(line);
                }
                steps.push(Step::Lines(lines));
            }
        }
    }
    // Until all that gathers or waits for the morning is told.
    steps.extend([Step::Resume, Step::Pause(1_300_000), Step::Resume, Step::Pause(200_000)]);
    steps.extend((0..6).map(|_| Step::Resume));
    steps
}

fn a_match(id: &str, received: i64, chance: &mut Seeded) -> String {
    let received = event::Time::from_ms(received);
    let key = format!("C{}", chance.below(5));
    let title = format!("t{}", chance.below(3));
    let mut probe = |name: &str, act: Value| {
        let closes = name == "state" && chance.below(3) == 0;
        let severity = ["minor", "critical"][usize::from(chance.below(4) == 0)];
        let mut all = json!({"name": name, "rev": "1", "severity": severity, "act": act, "key": key, "context": {"title": title}});
        if closes {
            all["closes"] = true.into();
        }
        all
    };
    let all = [
        probe("slow", json!(["plain"])),
        probe("many", json!(["plain", "calm"])),
        probe("state", json!(["ticket", "calm", "braked"])),
        probe("loud", json!(["calm", "braked"])),
    ];
    let some: Vec<&Value> = all.iter().filter(|_| chance.below(2) == 0).collect();
    let probes = if some.is_empty() { json!(all) } else { json!(some) };
    format!(
        r#"{{"v":1,"id":"{id}","type":"t","time":"{received}","received":"{received}","source":"s","machine":{{"serial_number":"{key}"}},"probes":{probes},"payload":{{}}}}"#
    )
}

/// What the receivers got: by action and key the content, and how often.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Got(BTreeMap<(String, String), (String, u32)>);

/// Notes every call.
struct Receiver(Arc<Mutex<Got>>);

impl Action for Receiver {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        let told = &call.told;
        // What was cut off and may not be repeated told nobody what it would have noted.
        let reference = told.reference.as_ref().filter(|_| call.action != "braked");
        let said = json!({
            "event": call.event.id, "probe": call.event.probes.first().map(|p| p.name.clone()), "count": told.count,
            "ids": told.ids, "state": told.state, "incident": told.incident, "ref": reference,
            "events": told.events.iter().map(|event| event.id.clone()).collect::<Vec<_>>(),
        })
        .to_string();
        let mut got = self.0.lock().unwrap();
        let entry = got.0.entry((call.action.clone(), call.key.clone())).or_default();
        assert!(entry.1 == 0 || said == entry.0, "the same key with another content");
        *entry = (said, entry.1 + 1);
        let reference = told.incident.as_ref().map(|incident| json!({"id": format!("T-{}", incident.id)}));
        let answer = Answer { reference, ..Answer::done(Some(200)) };
        Box::pin(async move { answer })
    }

    fn show<'a>(&'a self, _: &'a Call) -> Showing<'a> {
        Box::pin(async { Ok(Value::Null) })
    }
}

/// One life of the stage after the other, over one state.
struct World {
    config: Arc<Config>,
    dir: std::path::PathBuf,
    clock: Arc<AtomicI64>,
    got: Arc<Mutex<Got>>,
    db: Db,
}

impl World {
    fn new(config: &Arc<Config>, dir: &std::path::Path) -> Self {
        let (config, dir) = (config.clone(), dir.to_owned());
        let db = Db::memory(&[SCHEMA]).unwrap();
        Self { config, dir, clock: Arc::new(START.into()), got: Arc::default(), db }
    }

    fn start(&mut self) -> Act {
        let clock = self.clock.clone();
        let mut options = Options::new(texts_at(self.dir.join("pipeline.toml")));
        options.clock = Arc::new(move || clock.load(Ordering::Acquire));
        let mut act = Act::new(options);
        let context = Context {
            name: "act".to_owned(),
            waker: Waker::default(),
            metrics: Metrics::new("act"),
            config: self.config.clone(),
        };
        let mut tx = self.db.begin().unwrap();
        act.start(&context, &mut tx).unwrap();
        tx.commit().unwrap();
        for ready in act.queue().unwrap().actions.values_mut() {
            ready.action = Arc::new(Receiver(self.got.clone()));
        }
        act
    }

    /// One transaction of the loop; what is killed before the commit has not been.
    fn transact(&mut self, act: &mut Act, kill: Kill, work: impl FnOnce(&mut Act, &mut Tx<'_>)) -> bool {
        let mut tx = self.db.begin().unwrap();
        work(act, &mut tx);
        if kill == Kill::BeforeCommit {
            return false;
        }
        tx.commit().unwrap();
        if kill == Kill::BeforeLaunch {
            return false;
        }
        act.committed().unwrap();
        if kill == Kill::AfterLaunch {
            // What was sent is sent; nobody heard the answer.
            while act.queue().unwrap().under_way() > act.queue().unwrap().ended() {
                std::thread::yield_now();
            }
            return false;
        }
        true
    }

    /// Goes on until nothing is under way and nothing is due.
    fn settle(&mut self, act: &mut Act, kills: &mut dyn FnMut() -> Kill) -> bool {
        loop {
            while act.queue().unwrap().under_way() > 0 && act.queue().unwrap().ended() == 0 {
                std::thread::yield_now();
            }
            if !act.due() {
                return true;
            }
            if !self.transact(act, kills(), |act, tx| act.idle(&mut Out::default(), tx).unwrap()) {
                return false;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    No,
    BeforeCommit,
    BeforeLaunch,
    AfterLaunch,
}

/// Runs a history; `kills` is chance 1 in so many at each commit, 0: none. Gives what was received, and what is in the
/// state at the end.
fn live(world: &mut World, steps: &[Step], kills: u64, seed: u64) -> (Got, Vec<String>, u32) {
    let (mut chance, mut killed) = (Seeded(seed ^ 0xdead), 0);
    let mut act = world.start();
    for step in steps {
        if let Step::Pause(ms) = step {
            world.clock.fetch_add(*ms, Ordering::AcqRel);
        }
        let mut done = false;
        loop {
            let mut kill = || {
                let hit = kills > 0 && chance.below(kills) == 0;
                killed += u32::from(hit);
                match (hit, chance.below(3)) {
                    (false, _) => Kill::No,
                    (true, 0) => Kill::BeforeCommit,
                    (true, 1) => Kill::BeforeLaunch,
                    (true, _) => Kill::AfterLaunch,
                }
            };
            let mut alive = true;
            if !done {
                let kill = kill();
                alive = world.transact(&mut act, kill, |act, tx| take(step, act, tx));
                // Position and state are committed together.
                done = kill != Kill::BeforeCommit;
            }
            if alive && world.settle(&mut act, &mut kill) {
                break;
            }
            drop(act);
            act = world.start();
        }
    }
    drop(act);
    (world.got.lock().unwrap().clone(), state(&mut world.db), killed)
}

fn take(step: &Step, act: &mut Act, tx: &mut Tx<'_>) {
    match step {
        Step::Pause(_) => act.idle(&mut Out::default(), tx).unwrap(),
        Step::Resume => {
            act.queue().unwrap().resume("braked", tx).unwrap();
            act.idle(&mut Out::default(), tx).unwrap();
        }
        Step::Lines(lines) => {
            let lines: Vec<Line<'_>> =
                lines.iter().map(|line| Line { bytes: line.as_bytes(), input: 0, number: 0 }).collect();
            act.batch(&lines, &mut Out::default(), tx).unwrap();
        }
    }
}

/// What is remembered, but for what a try more or less changes.
fn state(db: &mut Db) -> Vec<String> {
    let tables = [
        "SELECT probe || key || since FROM throttles ORDER BY 1",
        "SELECT probe || key || event FROM windows ORDER BY 1",
        "SELECT id || status || severity || title || count || told || last FROM incidents ORDER BY 1",
        "SELECT incident || action || reference FROM noted WHERE action <> 'braked' ORDER BY 1",
        "SELECT event || probe || why FROM taken ORDER BY 1",
        "SELECT action || machine FROM changed_machines ORDER BY 1",
        "SELECT action || why FROM stopped ORDER BY 1",
        "SELECT id || hash FROM digests ORDER BY 1",
        "SELECT action || event || probe || state FROM ledger WHERE state <> 'dead' AND action <> 'braked' ORDER BY 1",
    ];
    tables.iter().flat_map(|sql| db.query(sql, &[]).unwrap()).map(|row| row.text(0).to_owned()).collect()
}

#[test]
fn kills_change_nothing_of_what_is_done() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (histories, first) = (number("ZENTRAL_HISTORIES", HISTORIES), number("ZENTRAL_SEED", 1));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), CONFIG).unwrap();
    let config = Arc::new(Config::load(&dir.path().join("pipeline.toml"), None).unwrap().0);
    let halves = std::thread::scope(|scope| {
        let half = |which: u64| {
            let (config, dir) = (&config, dir.path());
            scope.spawn(move || lives(config, dir, (first..first + histories).filter(|seed| seed % 2 == which)))
        };
        [half(0), half(1)].map(|half| half.join().unwrap())
    });
    let (mut all, mut sums) = (0, BTreeMap::<String, u64>::new());
    for (killed, of) in halves {
        all += killed;
        of.into_iter().for_each(|(what, n)| *sums.entry(what).or_default() += n);
    }
    println!("{histories} histories from seed {first}, {all} kills: {sums:?}");
    assert!(histories < 100 || sums.len() == 8 && sums.values().all(|n| *n > histories / 10), "{sums:?}");
}

/// Each of these histories undisturbed and killed: how many kills, and how often what was told.
fn lives(
    config: &Arc<Config>,
    dir: &std::path::Path,
    seeds: impl Iterator<Item = u64>,
) -> (u32, BTreeMap<String, u64>) {
    let (mut all, mut sums) = (0, BTreeMap::<String, u64>::new());
    for seed in seeds {
        let steps = history(seed);
        let (want, remembered, _) = live(&mut World::new(config, dir), &steps, 0, seed);
        assert!(want.0.values().all(|(_, n)| *n == 1), "seed {seed}: an undisturbed run repeats nothing");
        let mut world = World::new(config, dir);
        let (got, still, killed) = live(&mut world, &steps, 6, seed);
        all += killed;
        let contents = |of: &Got, braked: bool| -> BTreeSet<(String, String, String)> {
            let of = of.0.iter().filter(|((action, _), _)| (action == "braked") == braked);
            of.map(|((action, key), (said, _))| (action.clone(), key.clone(), said.clone())).collect()
        };
        let (told, wanted) = (contents(&got, false), contents(&want, false));
        let more: Vec<_> = told.symmetric_difference(&wanted).collect();
        assert!(more.is_empty(), "seed {seed}: told in one of the runs only: {more:#?}");
        assert_eq!(still, remembered, "seed {seed}: what is remembered");
        // What must not be repeated is done at most once; where nobody knows, a dead letter says so.
        let (done, wanted) = (contents(&got, true), contents(&want, true));
        assert!(done.is_subset(&wanted), "seed {seed}: {done:?} {wanted:?}");
        let once = got.0.iter().filter(|((action, _), _)| action == "braked").all(|(_, (_, n))| *n == 1);
        assert!(once, "seed {seed}: what may not be repeated was");
        let unknown = "SELECT COUNT(*) FROM ledger WHERE state = 'dead' AND error LIKE '%nobody knows%'";
        let unknown = world.db.query(unknown, &[]).unwrap()[0].uint(0);
        assert!((wanted.len() - done.len()) as u64 <= unknown, "seed {seed}: {unknown} are unknown");
        for ((action, _), (said, _)) in &want.0 {
            *sums.entry(action.clone()).or_default() += 1;
            let said: Value = serde_json::from_str(said).unwrap();
            if let Some(state) = said["state"].as_str() {
                *sums.entry(state.to_owned()).or_default() += 1;
            }
            *sums.entry("several".to_owned()).or_default() += u64::from(said["count"].as_u64() > Some(1));
        }
    }
    (all, sums)
}
