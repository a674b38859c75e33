//! Conditions on acting, from the match to what the receiver sees.

use std::sync::Arc;

use event::Time;
use pipe::Exit;
use registry::db::Db;
use serde_json::{Value, json};

use crate::fake::{Http, Say, say, wait};
use crate::hub::{How, Hub, START, a_match, fresh, new_id};

const BODY: &str = "body = '{id: .event.id, state, count, ids, title, text, ref: .ref, incident: .incident.status}'";

fn hub(fake: &Http, action: &str, probe: &str) -> Hub {
    Hub::new(&format!(
        "[action.a]\nkind = \"http\"\nurl = \"{}/\"\n{BODY}\n{action}\n[probe.usb]\nfilter = \"true\"\nact = [\"a\"]\n{probe}\n",
        fake.url
    ))
}

pub fn titled(line: &str, title: &str) -> String {
    let (before, rest) = line.split_once("\"context\":").unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    format!("{before}\"context\":{{\"title\":\"{title}\"}}{after}")
}

pub fn closing(line: &str) -> String {
    line.replace("\"key\":\"C02\"", "\"key\":\"C02\",\"closes\":true")
}

/// What the receiver got, oldest first: one key of each body.
fn got(fake: &Http, key: &str) -> Vec<Value> {
    fake.got().iter().map(|g| g.json()[key].clone()).collect()
}

#[test]
fn a_throttle_and_a_window_hold_back_what_they_count() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "", "throttle = \"1h\"");
    let ids = [new_id(), new_id(), new_id()];
    hub.feed(&ids.iter().zip([7_200_000, 3_700_000, 0]).map(|(id, age)| a_match(id, &["a"], age)).collect::<Vec<_>>());
    hub.run();
    assert_eq!(got(&fake, "id"), [json!(ids[0]), json!(ids[2])]);
    assert_eq!(hub.sums(), [("done".to_owned(), 2), ("ignored throttled".to_owned(), 1), ("in".to_owned(), 3)]);

    let fake = Http::start(vec![say(200, "")]);
    let hub = self::hub(&fake, "", "window = { count = 3, within = \"10m\" }");
    let ids = [new_id(), new_id(), new_id(), new_id()];
    hub.feed(&ids.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
    hub.run();
    assert_eq!(got(&fake, "id"), [json!(ids[2])]);
    let mut want = ids[..3].to_vec();
    want.sort();
    assert_eq!((got(&fake, "count"), got(&fake, "ids")), (vec![json!(3)], vec![json!(want)]));
    let told = hub.told();
    let fired = told.iter().find(|(kind, _)| kind == "probe_fired").unwrap();
    assert_eq!((&fired.1["key"], &fired.1["ids"]), (&json!("C02"), &json!(want)));
    assert_eq!(hub.sums()[1], ("ignored window".to_owned(), 3));
}

#[test]
fn an_incident_from_opening_to_closing() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "", "until = \"false\"");
    let line = |title: &str| titled(&fresh(&new_id(), &["a"]), title);
    hub.feed(&[
        closing(&line("-")),
        line("off"),
        line("off"),
        line("worse"),
        closing(&line("on")),
        closing(&line("on")),
    ]);
    hub.run();
    assert_eq!(got(&fake, "state"), [json!("opened"), json!("changed"), json!("closed")]);
    assert_eq!(got(&fake, "incident"), [json!("open"), json!("open"), json!("closed")]);
    let kinds: Vec<String> = hub.told().into_iter().map(|(kind, _)| kind).filter(|k| k != "action_done").collect();
    assert_eq!(kinds, ["incident_opened", "incident_changed", "incident_closed"]);
    let done: Vec<Value> = hub.told().into_iter().filter(|(k, _)| k == "action_done").map(|(_, p)| p).collect();
    assert!(done.iter().all(|p| p["incident"] == done[0]["incident"] && p["incident"].is_string()));
}

/// What comes later about an incident waits for what was told first, however long that takes.
#[test]
fn an_incident_is_told_in_order() {
    let fake = Http::start(vec![say(503, ""), say(503, ""), say(200, "")]);
    let hub = hub(&fake, "parallel = 8", "until = \"false\"");
    let line = |title: &str| titled(&fresh(&new_id(), &["a"]), title);
    hub.feed(&[line("one"), line("two"), line("three"), closing(&line("over"))]);
    assert_eq!(hub.run(), Exit::Done);
    let states: Vec<Value> = got(&fake, "title");
    assert_eq!(states, ["one", "one", "one", "Changed: two", "Changed: three", "Closed: over"].map(Value::from));
}

#[test]
fn many_matches_are_one_message() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "digest = \"2m\"", "");
    let ids: Vec<String> = (0..200).map(|_| new_id()).collect();
    hub.feed(&ids.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
    hub.feed(&[fresh(&ids[7], &["a"])]);
    assert_eq!(hub.run(), Exit::Done);
    assert_eq!(fake.got().len(), 1);
    assert_eq!((got(&fake, "count"), got(&fake, "ids")), (vec![json!(200)], vec![json!(ids[..100])]));
    assert_eq!(hub.sums()[0], ("done".to_owned(), 200));
    // One that comes much later is told alone, and says so as a plain match does.
    hub.feed(&[fresh(&new_id(), &["a"])]);
    hub.run();
    assert_eq!((fake.got().len(), &got(&fake, "count")[1]), (2, &Value::Null));
    assert_ne!(fake.got()[0].key(), fake.got()[1].key());
}

#[test]
fn a_digest_says_what_became_of_incidents() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "digest = \"2m\"", "until = \"false\"");
    let line = |title: &str| titled(&fresh(&new_id(), &["a"]), title);
    hub.feed(&[line("off"), closing(&line("on"))]);
    hub.run();
    let text = got(&fake, "text");
    let text = text[0].as_str().unwrap();
    assert!(text.contains("major: off\n") && text.contains("major: Closed: on\n"), "{text}");
}

#[test]
fn quiet_hours_let_only_the_worst_through() {
    let fake = Http::start(vec![say(200, "")]);
    // START is 19:00; the clock runs a hundred times as fast.
    let hub = hub(&fake, "quiet = { from = \"18:30\", to = \"19:10\", except = \"critical\" }", "");
    let worst = new_id();
    hub.feed(&[fresh(&new_id(), &["a"]), fresh(&worst, &["a"]).replace("\"major\"", "\"critical\"")]);
    hub.run();
    let all = fake.got();
    assert_eq!((all.len(), &got(&fake, "id")[0]), (2, &json!(worst)));
    let waited = all[1].at.duration_since(all[0].at).as_millis() as i64 * crate::hub::SPEED;
    assert!(waited > 300_000, "until 19:10: {waited} ms");
}

#[test]
fn what_is_muted_is_said_to_be_dropped() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "", "");
    let until = START + 36_000_000;
    let obeyed = || {
        let db = Db::open_read_only(hub.state()).ok()??;
        Some(db.query("SELECT COUNT(*) FROM orders_done", &[]).ok()?.first()?.int(0))
    };
    let order = |verb: &str, target: String| {
        let before = obeyed().unwrap_or(0);
        act::orders::give(&hub.registry(), verb, &[target], hub.now()).unwrap();
        let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
        wait("the order", || obeyed() == Some(before + 1));
        running.join();
        hub.feed(&[a_match(&new_id(), &["a"], START - hub.now())]);
        hub.run();
    };
    order("mute", format!("a {until}"));
    let (kind, payload) = hub.told().remove(0);
    assert_eq!((kind.as_str(), payload["outcome"].as_str()), ("action_dropped", Some("dropped")));
    assert_eq!(payload["error"], format!("muted until {}", Time::from_ms(until)));
    assert!(fake.got().is_empty());
    order("resume", "a".to_owned());
    assert_eq!((fake.got().len(), hub.told().len()), (1, 2));
    order("mute", format!("usb {until}"));
    assert_eq!((fake.got().len(), hub.sums()[1].clone()), (1, ("ignored muted".to_owned(), 1)));
}

/// Orders by hand hold however old the incident is, and where matches are told together.
#[test]
fn orders_by_hand_reach_digests_and_old_incidents() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "digest = \"2m\"\nmax_age = \"1h\"", "until = \"false\"");
    hub.feed(&[fresh(&new_id(), &["a"])]);
    hub.run();
    let id = hub.told()[0].1["id"].as_str().unwrap().to_owned();
    assert_eq!(got(&fake, "state"), [json!("opened")]);
    for (n, verb) in [(2, "take"), (3, "comment"), (4, "close")] {
        let hand = json!({"incident": id, "by": "ada", "comment": verb}).to_string();
        act::orders::give(&hub.registry(), verb, &[hand], hub.now()).unwrap();
        // Much later than `max_age`.
        let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
        fake.wait_for(n);
        running.join();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(got(&fake, "state"), [json!("opened"), json!("changed"), json!("changed"), json!("closed")]);
    let keys: std::collections::BTreeSet<String> = fake.got().iter().map(|g| g.key().to_owned()).collect();
    assert_eq!(keys.len(), 4);
}

/// The brakes hold what changes machines; what ends an incident undoes it, and goes past them.
#[test]
fn an_end_passes_the_brakes_and_only_goes_where_something_began() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "max = \"1/h\"\nnever = { machines = [\"C9\"] }", "until = \"false\"");
    let of = |key: &str, line: String| line.replace("C02", key);
    let line = |key: &str| of(key, titled(&fresh(&new_id(), &["a"]), key));
    let over = |key: &str| of(key, closing(&titled(&fresh(&new_id(), &["a"]), key)));
    hub.feed(&[line("C9"), line("C1"), line("C2"), over("C9"), over("C1")]);
    let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
    fake.wait_for(2);
    crate::fake::wait("the end that nobody was told of", || {
        hub.told().iter().any(|(kind, _)| kind == "action_dropped")
    });
    running.kill();
    // C2 waits for somebody to say `resume`.
    assert_eq!(got(&fake, "title"), [json!("C1"), json!("Closed: C1")]);
    let told = hub.told();
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).filter(|k| k.starts_with("action_")).collect();
    for kind in ["action_failed", "action_stopped", "action_dropped"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

/// What a stopped lane holds of an incident does not hold up its end, and is not told after it.
#[test]
fn an_end_does_not_wait_for_what_the_brakes_hold() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "max = \"1/h\"", "until = \"false\"");
    let line = |title: &str| titled(&fresh(&new_id(), &["a"]), title);
    let of = |key: &str, line: &str| line.replace("C02", key);
    hub.feed(&[of("C1", &line("C1")), of("C2", &line("C2"))]);
    let stay = || How { stay: Arc::new(true.into()), ..How::default() };
    let running = hub.start(stay());
    // What was cut off would be tried again, once somebody lets the lane go on.
    let told = |what: &str| hub.told().iter().any(|(kind, _)| kind == what);
    wait("the brake", || told("action_stopped") && told("action_done"));
    running.kill();
    hub.feed(&[of("C1", &line("changed")), of("C1", &closing(&line("C1")))]);
    let running = hub.start(stay());
    fake.wait_for(2);
    running.kill();
    assert_eq!(got(&fake, "state"), [json!("opened"), json!("closed")]);
    let dropped: Vec<Value> = hub
        .told()
        .into_iter()
        .filter(|(kind, _)| kind == "action_dropped")
        .map(|(_, said)| said["error"].clone())
        .collect();
    assert_eq!(dropped, [json!("its incident is over")]);
}

/// Nor does what was tried before the lane stopped, of which nobody knows whether it was done: its receiver may have been
/// told, and is told the end.
#[test]
fn an_end_does_not_wait_for_what_was_tried_before_the_brakes() {
    for first in [Say::Hang, say(503, "")] {
        let fake = Http::start(vec![first, say(200, "")]);
        let hub = hub(&fake, "max = \"1/h\"", "until = \"false\"");
        let of = |key: &str, line: String| line.replace("C02", key);
        let line = |key: &str| of(key, titled(&fresh(&new_id(), &["a"]), key));
        hub.feed(&[line("C1"), line("C2")]);
        let stay = || How { stay: Arc::new(true.into()), ..How::default() };
        let running = hub.start(stay());
        wait("the brake", || hub.told().iter().any(|(kind, _)| kind == "action_stopped"));
        fake.wait_for(1);
        running.kill();
        hub.feed(&[of("C1", closing(&titled(&fresh(&new_id(), &["a"]), "C1")))]);
        let running = hub.start(stay());
        fake.wait_for(2);
        act::orders::give(&hub.registry(), "resume", &["a".to_owned()], hub.now()).unwrap();
        fake.wait_for(3);
        running.join();
        assert_eq!(got(&fake, "title"), [json!("C1"), json!("Closed: C1"), json!("C2")]);
        let dropped = hub.told().into_iter().find(|(kind, _)| kind == "action_dropped").unwrap().1;
        assert_eq!(dropped["error"], "its incident is over");
    }
}

#[test]
fn an_incident_is_taken_and_closed_by_hand() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "", "until = \"false\"");
    hub.feed(&[fresh(&new_id(), &["a"])]);
    hub.run();
    let id = hub.told()[0].1["id"].as_str().unwrap().to_owned();
    let order = |verb: &str, more: Value| {
        let mut hand = json!({"incident": id});
        hand.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        act::orders::give(&hub.registry(), verb, &[hand.to_string()], hub.now()).unwrap();
    };
    order("take", json!({"by": "ada"}));
    let running = hub.start(How { stay: Arc::new(true.into()), ..How::default() });
    fake.wait_for(2);
    order("close", json!({"by": "bob", "comment": "battery\nreplaced"}));
    fake.wait_for(3);
    running.join();
    assert_eq!(got(&fake, "state"), [json!("opened"), json!("changed"), json!("closed")]);
    assert_eq!(got(&fake, "incident"), [json!("open"), json!("taken"), json!("closed")]);
    let closed = hub.told().into_iter().find(|(kind, _)| kind == "incident_closed").unwrap().1;
    assert_eq!((closed["by"].as_str(), closed["comment"].as_str()), (Some("bob"), Some("battery replaced")));
    let open = act::incidents::list(hub.state(), false).unwrap();
    assert!(open.is_empty());
    assert_eq!(act::incidents::list(hub.state(), true).unwrap()[0]["status"], "closed");
}
