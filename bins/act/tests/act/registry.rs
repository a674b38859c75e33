//! The kinds that write into `registry.db` (`tag`, `osquery`, `santa`): what becomes of a delivery when another holds the
//! file, when the process ends in between, and when it can never be done.

use std::sync::Arc;
use std::time::Duration;

use act::retry::Chance;
use event::Time;
use pipe::Exit;
use registry::db::Db;
use registry::{changes, live, made_rules, tags};
use serde_json::Value;

use crate::fake::wait;
use crate::hub::{How, Hub, fresh, new_id};

/// A kind, what its table says, and the machines for which something was made, each as often as it was.
struct Row {
    name: &'static str,
    keys: &'static str,
    made: fn(&Hub) -> Vec<String>,
}

const ROWS: [Row; 3] = [
    Row { name: "tag", keys: "add = [\"rogue\"]", made: tagged },
    Row { name: "osquery", keys: "sql = \"select 1\"", made: asked },
    Row {
        name: "santa",
        keys: "rule = '{rule_type: \"BINARY\", identifier: (\"a\" * 64), policy: \"BLOCKLIST\"}'\nmax = \"500/h\"",
        made: ruled,
    },
];

fn open(hub: &Hub) -> Db {
    Db::open_read_only(hub.registry()).unwrap().unwrap()
}

fn tagged(hub: &Hub) -> Vec<String> {
    let is_tag = |line: &Vec<u8>| {
        let event = event::Event::parse(line.trim_ascii_end()).unwrap();
        (event.type_ == changes::TAGGED).then(|| event.machine.unwrap().key().unwrap().to_owned())
    };
    let told: Vec<String> = changes::since(&open(hub), 0, 999).unwrap().iter().filter_map(|(_, l)| is_tag(l)).collect();
    assert_eq!(tags::all(&open(hub)).unwrap().len(), told.len());
    told
}

fn asked(hub: &Hub) -> Vec<String> {
    let machine = |query: live::Query| {
        let scope: Value = serde_json::from_str(&query.scope).unwrap();
        scope["machines"][0].as_str().unwrap().to_owned()
    };
    live::open(&open(hub), Time::now().ms()).unwrap().into_iter().map(machine).collect()
}

fn ruled(hub: &Hub) -> Vec<String> {
    let rules = act::rules::list(hub.registry(), Time::from_ms(hub.now())).unwrap();
    rules.iter().map(|rule| rule["machine"].as_str().unwrap().to_owned()).collect()
}

fn hub(row: &Row, more: &str) -> Hub {
    let hub = Hub::new(&format!("[action.a]\nkind = \"{}\"\n{}\n{more}\n", row.name, row.keys));
    std::fs::create_dir_all(&hub.config.data).unwrap();
    hub
}

/// A match of a machine that no other has.
fn of(machine: &str) -> String {
    fresh(&new_id(), &["a"]).replace("\"serial_number\":\"C02\"", &format!("\"serial_number\":\"{machine}\""))
}

fn machines(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("C{n:03}")).collect()
}

fn outcomes(hub: &Hub) -> Vec<Value> {
    hub.told().into_iter().filter(|(kind, _)| kind.starts_with("action_")).map(|(_, payload)| payload).collect()
}

#[test]
fn a_registry_that_another_holds_is_waited_for() {
    for row in ROWS {
        let hub = hub(&row, "timeout = \"300ms\"");
        let mut db =
            Db::open(hub.registry(), &[tags::SCHEMA, changes::SCHEMA, live::QUERIES, made_rules::SCHEMA]).unwrap();
        let mut held = db.begin().unwrap();
        // A transaction begins with its first statement.
        held.query("SELECT 1", &[]).unwrap();
        hub.feed(&[of("C001"), of("C002")]);
        let running = hub.start(How::default());
        wait("tries", || running.metric("zentral_actions_total{action=\"a\",outcome=\"later\"") >= 2.0);
        assert!(outcomes(&hub).is_empty(), "{}", row.name);
        drop(held);
        assert_eq!(running.join(), Exit::Done);
        let told = outcomes(&hub);
        assert!(told.len() == 2 && told.iter().all(|p| p["outcome"] == "done"), "{}: {told:?}", row.name);
        let mut made = (row.made)(&hub);
        made.sort();
        assert_eq!(made, ["C001", "C002"], "{}: once each", row.name);
    }
}

#[test]
fn kills_lose_and_double_nothing() {
    for row in ROWS {
        let hub = hub(&row, "parallel = 2");
        let all = machines(30);
        let mut chance = Chance::seeded(13);
        for part in all.chunks(6) {
            hub.feed(&part.iter().map(|machine| of(machine)).collect::<Vec<_>>());
            let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
            std::thread::sleep(Duration::from_millis(chance.below(40)));
            running.kill();
        }
        hub.run();
        let mut made = (row.made)(&hub);
        made.sort();
        assert_eq!(made, all, "{}", row.name);
        assert_eq!((outcomes(&hub).len(), hub.dead().len()), (all.len(), 0), "{}", row.name);
    }
}

#[test]
fn a_match_without_a_machine_is_dead_at_once() {
    for row in ROWS {
        let hub = hub(&row, "");
        let line = of("C001");
        let (before, rest) = line.split_once("\"machine\":{").unwrap();
        let (_, after) = rest.split_once("},").unwrap();
        hub.feed(&[format!("{before}{after}"), of("C002")]);
        hub.run();
        let dead = hub.dead();
        assert!(dead.len() == 1 && dead[0]["tries"] == 1, "{}: {dead:?}", row.name);
        assert_eq!((row.made)(&hub), ["C002"], "{}", row.name);
    }
}
