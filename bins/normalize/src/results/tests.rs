use pipe::Stage as _;
use registry::db::Db;
use registry::results as state;
use serde_json::{Value, json};

use super::*;

/// 2026-01-06T08:00:00Z in seconds.
const T: i64 = 1_767_686_400;
const HOUR: i64 = 3600;

/// A hub that normalizes.
struct Hub {
    db: Db,
    results: Results,
    now: i64,
    lines: u32,
}

fn config(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipeline.toml");
    std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
    Config::load(&path, None).unwrap().0
}

fn probe(name: &str, query: &str) -> String {
    format!("[probe.{name}]\nfilter = \".\"\nquery = {{ {query} }}\n")
}

impl Hub {
    fn new(text: &str) -> Self {
        let db = Db::memory(&crate::Normalize::new(true).schemas()).unwrap();
        let mut hub = Self { db, results: Results::default(), now: T, lines: 0 };
        hub.configure(text);
        hub
    }

    fn configure(&mut self, text: &str) {
        self.results.configure(&config(text));
    }

    /// The name of a query's results.
    fn name(&self, check: &str) -> String {
        self.results.queries.all().iter().find(|query| query.check == check).unwrap().name.clone()
    }

    /// Events that a raw line brings beside its own: type, machine and payload.
    fn line(&mut self, kind: &str, serial: &str, agent: &str, body: Value) -> Vec<(String, String, Value)> {
        self.lines += 1;
        let line = json!({"v": 1, "id": format!("{:012x}-{}", T * 1000, self.lines), "source": "osquery", "kind": kind,
            "received": Time::from_ms(self.now * 1000), "machine": {"serial_number": serial, "tags": ["office"]},
            "request": {"user_agent": agent}, "body": body});
        let raw = Raw::parse(line.to_string().as_bytes()).unwrap();
        let mut tx = self.db.begin().unwrap();
        let mut events = self.results.settle(&mut tx, raw.received).unwrap();
        self.results.take(&mut tx, &raw, &raw.machine, &mut events).unwrap();
        self.results.flush(&mut tx).unwrap();
        tx.commit().unwrap();
        let key = |event: &Event| event.machine.as_ref().and_then(|m| m.key()).unwrap_or_default().to_owned();
        let payload = |event: &Event| serde_json::from_str(event.payload.get()).unwrap();
        events.iter().map(|event| (event.type_.clone(), key(event), payload(event))).collect()
    }

    fn snapshot(&mut self, name: &str, at: i64, rows: Value) -> Vec<Value> {
        let body = json!({"name": name, "unixTime": at, "action": "snapshot", "snapshot": rows});
        told(self.line("result", "C02", "osquery/5.23.0", body))
    }

    fn answer(&mut self, status: Option<i64>, means: Value, rows: Value) -> Vec<Value> {
        let mut body = json!({"query": "0123", "rows": rows});
        body.as_object_mut().unwrap().extend(means.as_object().unwrap().clone());
        body.as_object_mut().unwrap().extend(status.map(|status| ("status".to_owned(), status.into())));
        told(self.line("answer", "C02", "osquery/5.23.0", body))
    }

    fn row(&mut self, name: &str, at: i64, epoch: i64, counter: i64) -> Vec<Value> {
        let body = json!({"name": name, "unixTime": at, "epoch": epoch, "counter": counter, "action": "added",
            "columns": {"a": "1"}});
        told(self.line("result", "C02", "osquery/5.23.0", body))
    }

    fn tags(&mut self, serial: &str) -> Vec<String> {
        let mut tx = self.db.begin().unwrap();
        state::tags(&mut tx, serial).unwrap()
    }
}

/// Short: the type and what matters of the payload.
fn told(events: Vec<(String, String, Value)>) -> Vec<Value> {
    let short = |(type_, _, payload): (String, String, Value)| match type_.as_str() {
        "machine_tag" => json!([payload["action"], payload["tag"]]),
        "osquery_check_status_updated" => json!([payload["check"], payload["status"], payload["previous_status"]]),
        "machine_compliance_change" => json!(["machine", payload["status"], payload["previous_status"]]),
        "results_missing" => json!([payload["epoch"], payload["from"], payload["to"], payload["runs"]]),
        "query_silent" => json!(["silent", payload["probe"]]),
        other => json!(other),
    };
    events.into_iter().map(short).collect()
}

const TAG: &str = "sql = \"select 1 from users\", snapshot = true, tag = \"admins\"";
const CHECK: &str = "sql = \"select 'OK' as ztl_status\", snapshot = true, compliance = true";

#[test]
fn rows_give_a_tag_and_an_empty_snapshot_takes_it() {
    let two = format!("{}{}", probe("a", TAG), probe("b", TAG));
    let mut hub = Hub::new(&two);
    let (a, b) = (hub.name("a"), hub.name("b"));
    let added = [json!(["added", "admins"])];
    let removed = [json!(["removed", "admins"])];
    assert_eq!(hub.snapshot(&a, T - 10, json!([{"u": "x"}])), added);
    assert!(hub.snapshot(&a, T - 5, json!([{"u": "y"}])).is_empty(), "it has it");
    assert!(hub.snapshot(&a, T - 20, json!([])).is_empty(), "an older one");
    assert!(hub.snapshot(&b, T - 4, json!([{"u": "x"}])).is_empty(), "two say so");
    assert!(hub.snapshot(&a, T - 3, json!([])).is_empty(), "one still says so");
    assert_eq!(hub.tags("C02"), ["admins"]);
    assert_eq!(hub.snapshot(&b, T - 2, json!([])), removed);
    assert!(hub.snapshot("zentral/b/00000000", T - 1, json!([{"u": "x"}])).is_empty(), "another SQL");
    assert!(hub.snapshot("zentral/c/00000000", T - 1, json!([{"u": "x"}])).is_empty());
    assert!(hub.tags("C02").is_empty());
    assert_eq!(hub.snapshot(&a, T - 1, json!([{"u": "x"}])), added);
    // The query is no more: what it gave goes, and is said of the machine that had it.
    hub.configure(&probe("b", TAG));
    let said = hub.line("request", "C03", "osquery/5.23.0", json!({"request_type": "config"}));
    let gone = json!({"action": "removed", "tag": "admins", "by": "zentral/a"});
    assert_eq!(said, [("machine_tag".to_owned(), "C02".to_owned(), gone)]);
    assert!(hub.tags("C02").is_empty());
}

#[test]
fn a_live_query_gives_a_tag_if_it_went_well() {
    let mut hub = Hub::new(&probe("a", TAG));
    let tag = json!({"tag": "vip"});
    for status in [None, Some(1)] {
        assert!(hub.answer(status, tag.clone(), json!([{"a": "1"}])).is_empty(), "{status:?}");
    }
    assert_eq!(hub.answer(Some(0), tag.clone(), json!([{"a": "1"}])), [json!(["added", "vip"])]);
    hub.now += 1;
    assert!(hub.answer(Some(1), tag.clone(), json!([])).is_empty(), "it failed");
    assert_eq!(hub.answer(Some(0), tag, json!([])), [json!(["removed", "vip"])]);
    // A run of a query of the configuration means what its results mean.
    let of = json!({"of": hub.name("a")});
    assert_eq!(hub.answer(Some(0), of.clone(), json!([{"a": "1"}])), [json!(["added", "admins"])]);
    hub.now += 1;
    hub.configure(&probe("a", &TAG.replace("users", "groups")));
    assert!(hub.answer(Some(0), of, json!([])).is_empty(), "the SQL is another by now");
    assert_eq!(hub.tags("C02"), ["admins"]);
}

#[test]
fn a_check_stands_as_its_worst_row() {
    let pack = "[pack.cis.queries.disk]\nsql = \"select ztl_status from x\"\nsnapshot = true\ncompliance = true\n";
    let text = format!("{}{pack}", probe("a", CHECK));
    let mut hub = Hub::new(&text);
    let (a, disk) = (hub.name("a"), hub.name("cis/disk"));
    assert!(disk.starts_with("pack/cis/disk/"), "{disk}");
    let row = |status: &str| json!([{"ztl_status": status}]);
    let change = |check: &str, now: &str, before: Value| json!([check, now, before]);
    let mut at = T - 1000;
    let mut next = |hub: &mut Hub, name: &str, rows: Value| {
        at += 1;
        hub.snapshot(name, at, rows)
    };
    assert_eq!(
        next(&mut hub, &a, row("ok")),
        [change("a", "OK", Value::Null), change("machine", "OK", Value::Null)],
        "in capitals or not"
    );
    assert!(next(&mut hub, &a, row("OK")).is_empty());
    assert_eq!(
        next(&mut hub, &disk, json!([{"ztl_status": "OK"}, {"ztl_status": "PENDING"}])),
        [change("cis/disk", "PENDING", Value::Null), change("machine", "PENDING", json!("OK"))]
    );
    assert_eq!(
        next(&mut hub, &a, json!([{"ztl_status": "FAILED"}, {"ztl_status": "OK"}])),
        [change("a", "FAILED", json!("OK")), change("machine", "FAILED", json!("PENDING"))]
    );
    for odd in [json!([]), json!([{"a": "1"}]), json!([{"ztl_status": "fine"}, {"ztl_status": "OK"}]), json!([7])] {
        let said = next(&mut hub, &disk, odd.clone());
        assert!(said.is_empty() || said == [change("cis/disk", "UNKNOWN", json!("PENDING"))], "{odd}: {said:?}");
    }
    // A check that is not about the machine hides none that is.
    assert_eq!(next(&mut hub, &disk, row("OUT_OF_SCOPE")), [change("cis/disk", "OUT_OF_SCOPE", json!("UNKNOWN"))]);
    assert!(hub.snapshot(&a, T - 5000, row("OK")).is_empty(), "an older one");
    assert!(hub.snapshot(&format!("{a}0"), T, row("OK")).is_empty(), "another SQL");
    let of = json!({"of": a});
    assert!(hub.answer(Some(1), of.clone(), json!([])).is_empty(), "it failed");
    assert_eq!(
        hub.answer(Some(0), of, row("OK")),
        [change("a", "OK", json!("FAILED")), change("machine", "OK", json!("FAILED"))]
    );
    hub.configure("");
    let said = told(hub.line("request", "C03", "osquery/5.23.0", json!({})));
    assert_eq!(said, [json!(["machine", null, "OK"])]);
}

/// The agent's clock is wrong, so both have the time of their receipt.
#[test]
fn of_two_that_come_together_the_newer_counts_whatever_their_order() {
    for (first, second) in [(T - 90 * 86_400, T - 89 * 86_400), (T - 89 * 86_400, T - 90 * 86_400)] {
        let mut hub = Hub::new(&format!("{}{}", probe("a", CHECK), probe("t", TAG)));
        let (a, t) = (hub.name("a"), hub.name("t"));
        let newest = first.max(second);
        for at in [first, second] {
            let status = if at == newest { "FAILED" } else { "OK" };
            hub.snapshot(&a, at, json!([{"ztl_status": status}]));
            hub.snapshot(&t, at, if at == newest { json!([]) } else { json!([{"a": "1"}]) });
        }
        assert!(hub.tags("C02").is_empty());
        let mut tx = hub.db.begin().unwrap();
        assert_eq!(state::compliance(&mut tx, "C02").unwrap(), Some(state::Status::Failed));
    }
}

#[test]
fn runs_that_are_missing_are_told() {
    let text = format!(
        "{}{}{}",
        probe("a", "sql = \"select 1\""),
        probe("kept", "sql = \"select 2\", removed = false"),
        probe("s", TAG)
    );
    let mut hub = Hub::new(&text);
    let (a, kept, s) = (hub.name("a"), hub.name("kept"), hub.name("s"));
    for (counter, want) in [(7, None), (7, None), (8, None), (11, Some(json!([0, 9, 10, 2]))), (11, None), (10, None)] {
        let at = T + if counter == 10 { -1 } else { counter };
        assert_eq!(hub.row(&a, at, 0, counter), want.into_iter().collect::<Vec<_>>(), "{counter}");
    }
    assert!(hub.row(&a, T + 20, 1, 0).is_empty(), "a new epoch");
    assert!(hub.row(&a, T + 10, 0, 9).is_empty(), "a batch of the epoch before comes again");
    // After a restart what was counted is known.
    hub.configure(&text);
    assert_eq!(hub.row(&a, T + 30, 1, 3), [json!([1, 1, 2, 2])]);
    for name in [&kept, &s, &"zentral/other/0".to_owned()] {
        assert!(hub.row(name, T + 1, 0, 1).is_empty() && hub.row(name, T + 2, 0, 9).is_empty(), "{name}");
    }
    // What such an agent counts is no run that told anything.
    let mut old = |counter: i64| {
        let body = json!({"name": a, "unixTime": T + 40 + counter, "epoch": 1, "counter": counter, "columns": {}});
        hub.line("result", "C02", "osquery/2.8.0", body)
    };
    assert!(old(3).is_empty() && old(9).is_empty());
}

/// What another instance has counted is no gap.
#[test]
fn runs_that_another_instance_has_seen_are_not_missing() {
    let text = probe("a", "sql = \"select 1\"");
    let mut hub = Hub::new(&text);
    let a = hub.name("a");
    assert!(hub.row(&a, T + 7, 0, 7).is_empty());
    let mut other = Results::default();
    other.configure(&config(&text));
    std::mem::swap(&mut hub.results, &mut other);
    assert!(hub.row(&a, T + 8, 0, 8).is_empty() && hub.row(&a, T + 9, 0, 9).is_empty());
    std::mem::swap(&mut hub.results, &mut other);
    hub.results.others_wrote();
    assert!(hub.row(&a, T + 10, 0, 10).is_empty());
}

/// The way that most lines go knows what has to be looked at whole.
#[test]
fn the_short_way_passes_what_follows() {
    let mut hub = Hub::new(&format!("{}{}", probe("a", "sql = \"select 1\""), probe("t", TAG)));
    let (a, t) = (json!(hub.name("a")).to_string(), json!(hub.name("t")).to_string());
    let more = |hub: &mut Hub, name: &str, snapshot: bool, counter: &str, at: i64| {
        let run = Run { query: name.as_bytes(), snapshot, epoch: b"0", counter: counter.as_bytes() };
        hub.results.means_more(&run, Some("C02"), Time::from_ms((T + at) * 1000))
    };
    assert!(more(&mut hub, &a, true, "0", 0), "what is kept is read with the first line that is looked at whole");
    hub.line("request", "C03", "osquery/5.23.0", json!({}));
    assert!(more(&mut hub, &t, true, "0", 0) && !more(&mut hub, &t, false, "0", 0));
    assert!(!more(&mut hub, &a, true, "0", 0) && !more(&mut hub, "\"zentral/x/0\"", true, "0", 0));
    assert!(more(&mut hub, &a, false, "5", 1), "not known yet");
    let name = hub.name("a");
    assert!(hub.row(&name, T + 1, 0, 5).is_empty());
    assert!(
        !more(&mut hub, &a, false, "5", 1)
            && !more(&mut hub, &a, false, "6", 2)
            && !more(&mut hub, &a, false, "\"7\"", 3)
    );
    assert!(more(&mut hub, &a, false, "9", 4));
    let mut tx = hub.db.begin().unwrap();
    hub.results.flush(&mut tx).unwrap();
    assert_eq!(
        state::count(&mut tx, "C02", "zentral/a").unwrap().unwrap().counter,
        7,
        "what was passed is written down"
    );
}

#[test]
fn a_query_that_nobody_runs_is_said_once() {
    let silent = |name: &str| vec![json!(["silent", name])];
    let text = format!(
        "[unit.berlin]\n{}scope = {{ tags = [\"office\"] }}\n{}scope = {{ units = [\"berlin\"] }}\n{}",
        probe("s", &format!("{TAG}, interval = \"20m\"")),
        probe("elsewhere", &format!("{TAG}, interval = \"20m\"")),
        probe("d", "sql = \"select 1\", interval = \"10s\"")
    );
    let mut hub = Hub::new(&text);
    let speak = |hub: &mut Hub, minutes: i64| {
        hub.now += minutes * 60;
        told(hub.line("request", "C02", "osquery/5.23.0", json!({"request_type": "config"})))
    };
    let quiet = |hub: &mut Hub, times: u32| (0..times).for_each(|n| assert!(speak(hub, 10).is_empty(), "{n}"));
    assert!(speak(&mut hub, 0).is_empty());
    quiet(&mut hub, 5);
    assert!(speak(&mut hub, 12 * 60).is_empty(), "the machine slept");
    assert_eq!(speak(&mut hub, 10), silent("s"), "three intervals in which it was there");
    quiet(&mut hub, 5);
    let (s, now) = (hub.name("s"), hub.now);
    hub.snapshot(&s, now, json!([]));
    quiet(&mut hub, 5);
    hub.configure(&text);
    assert_eq!(speak(&mut hub, 10), silent("s"), "once a silence, whatever the hub was told meanwhile");
    // A query that tells what has changed may have nothing to tell: the inventory says whether it is run.
    let d = hub.name("d");
    let rows = json!([{"table_name": "osquery_schedule", "name": d, "last_executed": (hub.now - 10).to_string()},
        {"table_name": "osquery_schedule", "name": "zentral/x/0", "last_executed": "x"}, 7]);
    let now = hub.now;
    hub.snapshot("ztl-inv", now, rows);
    quiet(&mut hub, 17);
    assert_eq!(speak(&mut hub, 10), silent("d"));
    assert!(HOUR * 3 <= hub.now - now);
}

#[test]
fn a_query_without_a_way_to_know_is_not_judged() {
    for (inventory, judged) in [("\"off\"", false), ("\"10m\"", true), ("{ every = \"10m\" }", true)] {
        let text = format!("[source.osquery]\ninventory = {inventory}\n{}", probe("d", "sql = \"select 1\""));
        let mut hub = Hub::new(&text.replace("select 1\"", "select 1\", interval = \"1m\""));
        let mut said = 0;
        for _ in 0..20 {
            hub.now += 600;
            said += hub.line("request", "C02", "osquery/5.23.0", json!({})).len();
        }
        assert_eq!(said == 1, judged, "{inventory}");
    }
}

#[test]
fn what_is_forgotten_leaves_nothing() {
    let mut hub = Hub::new(&format!("{}{}{}", probe("t", TAG), probe("c", CHECK), probe("a", "sql = \"select 1\"")));
    let (t, c, a) = (hub.name("t"), hub.name("c"), hub.name("a"));
    hub.snapshot(&t, T, json!([{"a": "1"}]));
    hub.snapshot(&c, T, json!([]));
    hub.row(&a, T, 0, 4);
    let mut tx = hub.db.begin().unwrap();
    state::rename(&mut tx, "C02", "C03").unwrap();
    let known = |tx: &mut Tx<'_>, machine: &str| {
        let checks = state::checks(tx, machine).unwrap().len();
        let whole = usize::from(state::compliance(tx, machine).unwrap().is_some());
        let counts = usize::from(state::count(tx, machine, "zentral/a").unwrap().is_some());
        [state::tags(tx, machine).unwrap().len(), checks, whole, counts]
    };
    assert_eq!((known(&mut tx, "C02"), known(&mut tx, "C03")), ([0; 4], [1; 4]));
    state::forget(&mut tx, "C03").unwrap();
    assert_eq!(known(&mut tx, "C03"), [0; 4]);
}

/// An answer has the time of the hub, a scheduled result that of the agent.
#[test]
fn an_answer_and_a_scheduled_result_are_held_against_each_other_by_their_receipt() {
    for wrong in [-20 * 86_400, 0, 300] {
        let mut hub = Hub::new(&format!("{}{}", probe("a", CHECK), probe("t", TAG)));
        let (a, t) = (hub.name("a"), hub.name("t"));
        let row = |status: &str| json!([{"ztl_status": status}]);
        for round in 0..2 {
            hub.now += 60;
            let now = hub.now + wrong;
            assert!(!hub.snapshot(&a, now, row("FAILED")).is_empty(), "{wrong} {round}");
            assert_eq!(hub.snapshot(&t, now, json!([])), [json!(["removed", "admins"])][..round], "{wrong}");
            hub.now += 60;
            assert!(!hub.answer(Some(0), json!({"of": a}), row("OK")).is_empty(), "{wrong} {round}");
            let said = hub.answer(Some(0), json!({"of": t}), json!([{"a": "1"}]));
            assert_eq!(said, [json!(["added", "admins"])], "{wrong} {round}");
        }
    }
}

#[test]
fn an_answer_in_parts_decides_with_its_last() {
    let mut hub = Hub::new(&probe("a", CHECK));
    let a = hub.name("a");
    let now = hub.now;
    assert!(!hub.snapshot(&a, now, json!([{"ztl_status": "FAILED"}])).is_empty());
    let mut part = |seconds: i64, number: i64, status: &str| {
        hub.now += seconds;
        hub.answer(Some(0), json!({"of": a, "part": number, "parts": 3}), json!([{"ztl_status": status}]))
    };
    for (number, status) in [(1, "OK"), (2, "FAILED"), (3, "OK")] {
        assert!(part(0, number, status).is_empty(), "{number}: it stands as it stood");
    }
    assert!(part(60, 2, "OK").is_empty() && part(0, 3, "OK").is_empty(), "the first is missing");
    assert!(part(60, 1, "OK").is_empty() && part(0, 2, "OK").is_empty());
    assert_eq!(part(0, 3, "OK"), [json!(["a", "OK", "FAILED"]), json!(["machine", "OK", "FAILED"])]);
}

#[test]
fn a_machine_that_tells_a_better_key_keeps_its_counts_and_stands_as_all_its_checks() {
    let mut hub = Hub::new(&format!("{}{}{}", probe("a", "sql = \"select 1\""), probe("c", CHECK), probe("d", CHECK)));
    let (a, c, d) = (hub.name("a"), hub.name("c"), hub.name("d"));
    hub.snapshot(&c, T, json!([{"ztl_status": "FAILED"}]));
    let of_serial = json!({"name": d, "unixTime": T, "action": "snapshot", "snapshot": [{"ztl_status": "OK"}]});
    hub.line("result", "C03", "osquery/5.23.0", of_serial);
    hub.row(&a, T, 0, 4);
    let line = json!({"v": 1, "id": "x", "source": "osquery", "kind": "enroll", "received": "2026-01-06T08:00:00Z",
        "machine": {"serial_number": "C03"}, "body": {}});
    let raw = Raw::parse(line.to_string().as_bytes()).unwrap();
    // Counted since the last time that all was written down.
    let run = Run { query: json!(a).to_string().as_bytes(), snapshot: false, epoch: b"0", counter: b"5" }.count();
    let (number, _) = hub.results.queries.find_name(&a).unwrap();
    let (epoch, counter) = run.unwrap();
    assert!(hub.results.counts.follows("C02", number, epoch, counter, Time::from_ms((T + 1) * 1000)));
    let mut tx = hub.db.begin().unwrap();
    hub.results.write_counts(&mut tx).unwrap();
    state::rename(&mut tx, "C02", "C03").unwrap();
    let events = hub.results.renamed(&mut tx, &raw, "C02").unwrap();
    let said: Vec<Value> = events.iter().map(|e| serde_json::from_str(e.payload.get()).unwrap()).collect();
    assert_eq!(said, [json!({"status": "FAILED", "previous_status": "OK"})]);
    tx.commit().unwrap();
    let body = json!({"name": a, "unixTime": T + 2, "epoch": 0, "counter": 7, "action": "added", "columns": {}});
    let missing = hub.line("result", "C03", "osquery/5.23.0", body);
    assert_eq!(told(missing), [json!([0, 6, 6, 1])]);
}

#[test]
fn what_a_query_costs_is_kept_and_nothing_that_cannot_be() {
    let mut hub = Hub::new(&format!("{}{}", probe("a", "sql = \"select 1\""), probe("b", "sql = \"select 2\"")));
    let (a, b) = (hub.name("a"), hub.name("b"));
    let row = |name: &str, more: Value| {
        let mut row = json!({"table_name": "osquery_schedule", "name": name, "last_executed": "1767600000",
            "executions": "10", "user_time": "150", "system_time": "50", "average_memory": "4096", "output_size": "1000",
            "denylisted": "0"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let mut kept = |rows: Value| {
        hub.now += 3600;
        let now = hub.now;
        hub.snapshot("ztl-inv", now, rows);
        let mut tx = hub.db.begin().unwrap();
        hub.results.flush(&mut tx).unwrap();
        let kept = prices::of_machine(&mut tx, "C02").unwrap();
        tx.commit().unwrap();
        kept
    };
    let price = Price { cpu: Some(20_000), memory: 4096, output: 100, denied: false };
    let wanted = |price: Price| vec![(a.clone(), price)];
    // Of a query that the configuration does not have nothing is kept, nor of an agent that was asked less.
    let old = json!({"table_name": "osquery_schedule", "name": b, "last_executed": "1767600000"});
    assert_eq!(kept(json!([row(&a, json!({})), row("zentral/x/00000000", json!({})), old, 7])), wanted(price));
    // Denied at its first run, so it was never run to its end.
    let first =
        json!({"executions": "0", "last_executed": "0", "user_time": "0", "system_time": "0", "denylisted": "1"});
    let never = Price { cpu: None, output: 0, denied: true, ..price };
    assert_eq!(kept(json!([row(&a, first)])), wanted(never));
    for (more, cpu, output) in [
        (json!({"user_time": "-5"}), None, 0),
        (json!({"user_time": "1e30"}), None, 0),
        (json!({"user_time": {"a": 1}}), None, 0),
        (json!({"executions": "many"}), None, 0),
        (json!({"user_time": "18446744073709551615", "executions": "1"}), Some(86_400_000_000), 1000),
        (json!({"output_size": "18446744073709551615", "executions": 1}), Some(200_000), 1 << 40),
        (json!({"output_size": "x", "average_memory": "-1"}), Some(20_000), 0),
    ] {
        let told = kept(json!([row(&a, more.clone())]));
        assert_eq!(
            told.first().map(|(_, price)| (price.cpu, price.output)),
            cpu.map(|cpu| (Some(cpu), output)),
            "{more}"
        );
    }
    // What it tells no more goes, from the sums as well.
    assert!(kept(json!([])).is_empty());
    assert!(prices::all(&hub.db).unwrap().is_empty());
}
