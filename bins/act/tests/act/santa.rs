//! Rules for Santa: made, refused, gone with their incident, taken away by hand.

use std::sync::Arc;

use act::actions::{Action, Opening, Verdict};
use act::call::Call;
use act::conf::Configured;
use act::jq::Jq;
use act::told::{Incident, Phase, Told};
use event::{Event, Time};
use pipe::Exit;
use registry::db::Db;
use registry::{changes, made_rules};
use serde_json::{Value, json};

use crate::hub::{How, Hub, a_match, new_id};

const ACTION: &str = "[action.block]\nkind = \"santa\"\n\
    rule = '{rule_type: \"BINARY\", identifier: .event.payload.file_sha256, policy: \"BLOCKLIST\"}'\n";

fn blocked(id: &str, payload: &Value) -> String {
    let line = a_match(id, &["block"], 0);
    let (head, _) = line.split_once("\"payload\":").unwrap();
    format!("{head}\"payload\":{payload}}}")
}

fn hash(letter: &str) -> String {
    letter.repeat(64)
}

fn rules(hub: &Hub) -> Vec<Value> {
    act::rules::list(hub.registry(), Time::from_ms(hub.now())).unwrap()
}

#[test]
fn a_match_makes_a_rule_once_and_it_goes_by_hand() {
    let hub = Hub::new(ACTION);
    let (one, two) = (new_id(), new_id());
    let evil = json!({"file_sha256": hash("A"), "file_path": "/Users/ada/Downloads"});
    hub.feed(&[blocked(&one, &evil), blocked(&two, &evil)]);
    assert_eq!(hub.run(), Exit::Done);
    let made = rules(&hub);
    assert_eq!(made.len(), 1, "the same rule for the same machine: {made:?}");
    assert_eq!(made[0]["rule"], json!({"rule_type": "BINARY", "identifier": hash("a"), "policy": "BLOCKLIST"}));
    assert_eq!((&made[0]["machine"], &made[0]["probe"]), (&"C02".into(), &"usb".into()));
    assert!(hub.told().iter().all(|(kind, payload)| kind == "action_done" && payload["kind"] == "santa"));
    let db = Db::open_read_only(hub.registry()).unwrap().unwrap();
    let said = changes::since(&db, 0, 9).unwrap();
    let said: Vec<Event> = said.iter().map(|(_, line)| Event::parse(line).unwrap()).collect();
    assert_eq!((said.len(), said[0].type_.as_str()), (1, changes::RULE_CHANGED), "told as a change, once");
    assert_eq!(said[0].cause.as_ref().map(|cause| cause.action.as_str()), Some("block"));
    let id = made[0]["id"].as_str().unwrap();
    let remove = |word: &str| act::rules::remove(hub.registry(), &[word.to_owned()], Time::from_ms(hub.now())).unwrap();
    assert!(remove("zz").is_err() && remove("").is_err());
    assert_eq!(remove(&id[..6]).unwrap().len(), 1);
    assert!(rules(&hub).is_empty());
}

#[test]
fn what_must_not_be_blocked_and_what_is_no_rule_are_dead_letters() {
    let hub = Hub::new(ACTION);
    let cases = [
        (json!({"file_sha256": hash("a"), "signing_id": "platform:com.apple.ls"}), "part of macOS"),
        (json!({"file_sha256": hash("a"), "team_id": "ZMCG7MLDV9"}), "an agent that manages the machine"),
        (json!({"file_sha256": "../../etc"}), "64 hex digits"),
        (json!({"file_sha256": "x".repeat(1 << 20)}), "longer than"),
        (json!({"file_sha256": [1]}), "no text"),
        (json!({"name": "usb_devices"}), "`identifier`: it is missing"),
    ];
    let lines: Vec<String> = cases.iter().map(|(payload, _)| blocked(&new_id(), payload)).collect();
    hub.feed(&lines);
    hub.run();
    let dead = hub.dead();
    assert_eq!(dead.len(), cases.len());
    for (_, says) in cases {
        let hit = dead.iter().any(|letter| letter["error"].as_str().unwrap().contains(says));
        assert!(hit, "{says}: {dead:?}");
    }
    assert!(dead.iter().all(|letter| letter["error"].as_str().unwrap().len() < 600));
    assert!(Db::open_read_only(hub.registry()).unwrap().is_none(), "nothing was written");
}

#[test]
fn a_rule_for_all_leaves_out_who_is_never_touched() {
    let hub = Hub::new(&format!("{ACTION}scope = \"all\"\nnever = {{ tags = [\"vip\"] }}\nmax = \"5/h\"\n"));
    hub.feed(&[blocked(&new_id(), &json!({"file_sha256": hash("a")}))]);
    hub.run();
    let made = rules(&hub);
    assert_eq!((made.len(), &made[0]["scope"]), (1, &json!({"never": {"tags": ["vip"]}})), "{:?}", hub.told());
}

#[test]
fn a_dry_run_writes_nothing() {
    let hub = Hub::new(&format!("{ACTION}dry_run = true\n"));
    let line = blocked(&new_id(), &json!({"file_sha256": hash("a")}));
    let (exit, told) = act::trial::run(&hub.config, &hub.texts(), "block", Some(line.as_bytes())).unwrap();
    assert_eq!((exit, &told[0]["would_send"]["for"]), (Exit::Done, &json!({"machine": "C02"})), "{told:?}");
    hub.feed(&[line]);
    hub.start(How::default()).join();
    assert!(Db::open_read_only(hub.registry()).unwrap().is_none());
}

fn open(hub: &Hub, jq: &Jq) -> Arc<dyn Action> {
    let configured =
        Configured::read(&hub.config.actions["block"], &hub.config, &hub.texts()).unwrap_or_else(|found| {
            panic!("{}", pipe::config::render(&found));
        });
    configured.open(Opening { jq, registry: &hub.registry(), dry_run: false }).unwrap().action
}

fn told(line: &str, state: Phase, incident: &str) -> Call {
    Call {
        key: "k".into(),
        action: "block".into(),
        target: String::new(),
        line: line.into(),
        event: Event::parse(line.as_bytes()).unwrap(),
        url: None,
        told: Told {
            state: Some(state),
            count: 1,
            incident: Some(Incident { id: incident.into(), ..Incident::default() }),
            ..Told::default()
        },
    }
}

#[test]
fn what_an_incident_brought_goes_with_it() {
    let hub = Hub::new(&format!("{ACTION}scope = \"unit\"\nexpires = \"7d\"\n"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let jq = Jq::start().unwrap();
    let action = open(&hub, &jq);
    let line = |letter: &str| blocked("e1", &json!({"file_sha256": hash(letter)}));
    let send = |line: &str, state, incident: &str| {
        let answer = runtime.block_on(action.send(&told(line, state, incident)));
        assert_eq!(answer.verdict, Verdict::Done, "{answer:?}");
        answer.reference
    };
    let noted = send(&line("a"), Phase::Opened, "i1").unwrap();
    send(&line("b"), Phase::Changed, "i1");
    send(&line("a"), Phase::Opened, "i2");
    let made = rules(&hub);
    assert!(made.iter().any(|rule| rule["id"] == noted["id"]), "{made:?} {noted}");
    assert_eq!((made.len(), &made[0]["scope"]), (3, &json!({"units": ["berlin"]})));
    assert!(
        made[0].get("machine").is_none() && made[0]["until"].as_str().unwrap() > made[0]["since"].as_str().unwrap()
    );
    assert_eq!(send(&line("a"), Phase::Closed, "i1"), None);
    send(&line("a"), Phase::Closed, "i1");
    let left = rules(&hub);
    assert_eq!((left.len(), &left[0]["incident"]), (1, &"i2".into()), "another incident's stays");
    act::rules::sweep(&hub.registry(), hub.now()).unwrap();
    assert_eq!(rules(&hub).len(), 1);
    act::rules::sweep(&hub.registry(), hub.now() + 8 * 86_400_000).unwrap();
    let db = Db::open_read_only(hub.registry()).unwrap().unwrap();
    assert!(made_rules::all(&db).unwrap().is_empty(), "what is over goes");
}

#[test]
fn a_rule_goes_with_its_incident_even_if_the_action_is_not_told() {
    let hub = Hub::new(ACTION);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let jq = Jq::start().unwrap();
    let action = open(&hub, &jq);
    for incident in ["over", "open", "unknown"] {
        let line = blocked("e1", &json!({"file_sha256": hash("a")}));
        let answer = runtime.block_on(action.send(&told(&line, Phase::Opened, incident)));
        assert_eq!(answer.verdict, Verdict::Done, "{answer:?}");
    }
    hub.run();
    let mut state = Db::open(hub.state(), &[act::ledger::SCHEMA]).unwrap();
    let mut tx = state.begin().unwrap();
    for (id, status) in [("over", "closed"), ("open", "taken")] {
        let sql = "INSERT INTO incidents VALUES ($1, 'usb', $1, 'high', $2, '', '', 'e1', '[\"block\"]', $3, $3, $3, $3, 1, '', '', '', NULL)";
        tx.execute(sql, &[id.into(), status.into(), hub.now().into()]).unwrap();
    }
    tx.commit().unwrap();
    drop(state);
    let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
    let begun = std::time::Instant::now();
    while rules(&hub).len() == 3 && begun.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    running.join();
    let mut left: Vec<Value> = rules(&hub).iter().map(|rule| rule["incident"].clone()).collect();
    left.sort_by_key(Value::to_string);
    assert_eq!(left, ["open", "unknown"]);
    let db = Db::open_read_only(hub.registry()).unwrap().unwrap();
    let said = changes::since(&db, 0, 9).unwrap();
    let last = Event::parse(&said.last().unwrap().1).unwrap();
    assert!(last.payload.get().contains("incident closed"), "{}", last.payload.get());
}

#[test]
fn mistakes_in_the_table_are_named() {
    for (more, says) in [
        ("scope = \"everybody\"\n", "none of machine, unit, all"),
        ("scope = { units = [\"paris\"] }\n", "there is no [unit.paris]"),
        ("scope = { unit = [\"paris\"] }\n", "units"),
        ("expires = \"0s\"\n", "expires"),
        ("digest = \"2m\"\n", "digest"),
        ("rule2 = \"\"\n", "rule"),
    ] {
        let hub = Hub::new(&format!("{ACTION}{more}"));
        let found = act::check(&hub.config, &hub.texts(), false);
        let text = pipe::config::render(&found);
        assert!(!found.is_empty() && text.contains(says), "{more}: {text}");
    }
    let hub = Hub::new("[action.block]\nkind = \"santa\"\n");
    assert!(pipe::config::render(&act::check(&hub.config, &hub.texts(), false)).contains("needs the key `rule`"));
}
