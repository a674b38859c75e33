//! Dead letters: listed, tried again, dropped; and `act try`.

use std::sync::Arc;

use event::Time;
use pipe::Exit;
use registry::db::Db;
use registry::orders::{self, Trial};
use registry::{changes, enrolments};

use crate::fake::{Http, say, wait};
use crate::hub::{How, Hub, fresh, new_id};

#[test]
fn retry_and_drop() {
    let fake = Http::start(vec![say(400, "no")]);
    let hub = Hub::new(&format!("[action.a]\nkind = \"http\"\nurl = \"{}/\"\n", fake.url));
    assert!(hub.dead().is_empty());
    let (one, two) = (new_id(), new_id());
    hub.feed(&[fresh(&one, &["a"]), fresh(&two, &["a"])]);
    hub.run();
    let dead = hub.dead();
    assert_eq!(dead.len(), 2);
    let id = |event: &str| {
        let letter = dead.iter().find(|d| d["event"] == event).unwrap();
        letter["id"].as_str().unwrap().to_owned()
    };
    assert!(act::dead::list(hub.state(), Some("b"), 0).unwrap().is_empty());
    assert!(act::dead::find(hub.state(), &["zz".into()]).unwrap().is_err());
    let found = act::dead::find(hub.state(), &[id(&one)[..8].to_owned()]).unwrap().unwrap();
    assert_eq!(found, [id(&one)]);

    fake.script(vec![say(200, "")]);
    let now = Time::from_ms(hub.now());
    act::dead::order(hub.registry(), "retry", &found, now).unwrap();
    let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
    wait("the retry", || hub.dead().len() == 1);
    act::dead::order(hub.registry(), "drop", &[id(&two)], now).unwrap();
    wait("the drop", || hub.dead().is_empty());
    assert_eq!(running.join(), Exit::Done);
    let got = fake.got();
    assert_eq!(got.len(), 3);
    let mine: Vec<_> = got.iter().filter(|g| g.body.contains(&format!("\"{one}\""))).collect();
    assert_eq!((mine.len(), mine[0].key()), (2, mine[1].key()), "the same delivery, the same key");
    let told: Vec<String> = hub.told().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(told, ["action_failed", "action_failed", "action_done", "action_dropped"]);
    let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
    std::thread::sleep(std::time::Duration::from_millis(1_300));
    running.join();
    assert_eq!(fake.got().len(), 3, "an order is carried out once");
}

#[test]
fn a_try_is_marked_and_not_remembered() {
    let fake = Http::start(vec![say(200, "ok"), say(404, "no_service"), say(503, "")]);
    let hub = Hub::new(&format!("[action.s]\nkind = \"slack\"\nurl = \"{}/x\"\n", fake.url));
    let line = fresh(&new_id(), &["s"]);
    for (line, exit, outcome) in [
        (None, Exit::Done, "done"),
        (Some(line.as_bytes()), Exit::No, "dead"),
        (Some(line.as_bytes()), Exit::Unreachable, "later"),
    ] {
        let (code, told) = act::trial::run(&hub.config, &hub.texts(), "s", line).unwrap();
        assert_eq!((code, told[0]["outcome"].as_str()), (exit, Some(outcome)), "{told:?}");
    }
    let got = fake.got();
    assert!(got.iter().all(|g| g.json()["text"].as_str().unwrap().starts_with("*[test] ")), "{got:?}");
    assert_ne!(got[1].key(), got[2].key());
    let dry = Hub::new(&format!("[action.s]\nkind = \"slack\"\nurl = \"{}/x\"\ndry_run = true\n", fake.url));
    let (code, told) = act::trial::run(&dry.config, &dry.texts(), "s", None).unwrap();
    assert_eq!((code, &told[0]["outcome"], &told[0]["dry_run"]), (Exit::Done, &"done".into(), &true.into()));
    assert!(told[0].pointer("/would_send/body/text").unwrap().as_str().unwrap().starts_with("*[test] "));
    assert_eq!(fake.got().len(), 3, "a dry run sends nothing");
    assert!(Db::open_read_only(hub.state()).unwrap().is_none());
    assert!(act::trial::run(&hub.config, &hub.texts(), "nobody", None).is_err());
}

#[test]
fn a_try_by_order_is_sent_now_and_soon_given_up() {
    let fake = Http::start(vec![say(200, "ok")]);
    let hub = Hub::new(&format!("[action.s]\nkind = \"slack\"\nurl = \"{}/x\"\ndigest = \"2m\"\n", fake.url));
    let event = serde_json::value::RawValue::from_string(fresh(&new_id(), &["s"]).trim().to_owned()).unwrap();
    for (n, event) in [(1, None), (2, Some(event))] {
        let trial = orders::target(&Trial { action: "s".into(), event }).unwrap();
        act::orders::give(&hub.registry(), "try", &[trial], hub.now()).unwrap();
        let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
        fake.wait_for(n);
        running.join();
    }
    assert!(fake.got().iter().all(|g| g.json()["text"].as_str().unwrap().starts_with("*[test] ")));
    act::orders::give(&hub.registry(), "try", &["no trial".to_owned()], hub.now()).unwrap();
    fake.script(vec![say(503, "")]);
    let trial = orders::target(&Trial { action: "s".into(), event: None }).unwrap();
    act::orders::give(&hub.registry(), "try", &[trial], hub.now()).unwrap();
    let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
    fake.wait_for(3);
    running.join();
    let db = Db::open_read_only(hub.state()).unwrap().unwrap();
    let rows = db.query("SELECT expires - created FROM ledger WHERE state IN ('pending', 'trying')", &[]).unwrap();
    assert_eq!(rows.iter().map(|row| row.int(0)).collect::<Vec<_>>(), [60_000], "nobody waits for it until tomorrow");
}

fn forget(hub: &Hub, key: &str, at: i64) {
    let mut db = Db::open(hub.registry(), &[enrolments::SCHEMA, changes::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    let machine = event::Machine { serial_number: Some(key.into()), ..event::Machine::default() };
    changes::say(&mut tx, changes::FORGOTTEN, machine, &().into(), Time::from_ms(at)).unwrap();
    tx.commit().unwrap();
}

#[test]
fn nothing_is_sent_about_a_machine_that_was_forgotten_before() {
    let fake = Http::start(vec![say(503, "later")]);
    let hub = Hub::new(&format!("[action.a]\nkind = \"http\"\nurl = \"{}/\"\n", fake.url));
    let (waits, unread, other) = (new_id(), new_id(), new_id());
    hub.feed(&[fresh(&waits, &["a"])]);
    let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
    fake.wait_for(1);
    running.kill();
    // While nobody is there.
    forget(&hub, "C02", hub.now());
    let sent = fake.got().len();
    let unread = fresh(&unread, &["a"]).replace("\"probes\"", "\"objects\":[\"user:ada\"],\"probes\"");
    hub.feed(&[unread, fresh(&other, &["a"]).replace("\"C02\",\"hostname\"", "\"C03\",\"hostname\"")]);
    fake.script(vec![say(200, "")]);
    hub.run();
    let got = fake.got();
    assert!(got.len() == sent + 1 && got[sent].body.contains(&format!("\"{other}\"")), "{got:?}");
    let outcomes = hub.outcomes();
    let of = |type_: &str| outcomes.iter().filter(|o| o.type_ == type_).collect::<Vec<_>>();
    assert_eq!((of("action_dropped").len(), of("action_done").len()), (2, 1), "{outcomes:?}");
    for dropped in of("action_dropped") {
        assert!(dropped.machine.is_none() && dropped.objects.is_empty(), "it must not come back: {dropped:?}");
    }
}

#[test]
fn what_is_held_about_a_machine_goes_when_it_is_forgotten() {
    let fake = Http::start(vec![say(400, "no"), say(400, "no"), say(503, "later")]);
    let hub = Hub::new(&format!("[action.a]\nkind = \"http\"\nurl = \"{}/\"\n", fake.url));
    let (dead, other, waits) = (new_id(), new_id(), new_id());
    hub.feed(&[fresh(&dead, &["a"]), fresh(&other, &["a"]).replace("\"C02\",\"hostname\"", "\"C03\",\"hostname\"")]);
    hub.run();
    assert_eq!(hub.dead().len(), 2);
    // Long before any of it: these are about one that came back.
    forget(&hub, "C02", hub.now() - 86_400_000);
    hub.feed(&[fresh(&waits, &["a"])]);
    let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
    fake.wait_for(3);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(hub.dead().len(), 2, "what came after it stays");
    forget(&hub, "C02", hub.now());
    let dropped = || hub.told().iter().filter(|(kind, _)| kind == "action_dropped").count();
    wait("both to be dropped", || dropped() == 2);
    assert_eq!(running.join(), Exit::Done);
    let left = hub.dead();
    assert_eq!((left.len(), left[0]["event"].as_str()), (1, Some(other.as_str())));
    let known = fake.got().len();
    hub.feed(&[fresh(&waits, &["a"])]);
    hub.run();
    assert_eq!(fake.got().len(), known, "a repeat does not act");
}
