//! `zentral explain`: the way of a stored event, and clause by clause why a probe did or did not match.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::time::{Duration, UNIX_EPOCH};

use event::Time;
use registry::db::Db;
use serde_json::{Value, json};
use support::recorded::{QUERY, Recorded, id, raw};

const PROBES: &str = r#"
[probe.usb]
scope = { platforms = ["macos"], units = ["berlin"] }
query = { sql = "select vendor, model from usb_devices", interval = "30s" }
filter = "filters/usb.jq"
severity = "major"
act = ["note"]
[probe.linux]
scope = { platforms = ["linux"], not_units = ["berlin"] }
filter = 'true'
[probe.number]
filter = '.payload.columns.model | tonumber > 5'
[probe.other]
query = { sql = "select 1 as x", interval = "30s" }
filter = 'true'
[probe.quiet]
shadow = true
filter = '.payload.columns.vendor == "C-Media" and .payload.columns.model != "Hub"'
act = ["note"]
[probe.slow]
filter = '[limit(1000000; repeat(1))] | length > 5'
"#;

const USB: &str = "# C-Media\n.payload\n| select(.action == \"added\")\n| .columns\n\
                   | select(.vendor == \"C-Media\" and (.model | startswith(\"USB\")))\n| {title: .model}\n";

fn recorded() -> Recorded {
    let hub = Recorded::new(PROBES, &[("usb.jq", USB)]);
    let row = |vendor: &str, model: Value| json!({"action": "added", "columns": {"vendor": vendor, "model": model}});
    let mut lines = vec![
        raw(1, QUERY, &row("C-Media", json!("USB Audio"))),
        raw(2, QUERY, &row("SanDisk\u{1b}[31m\u{202e}", json!("USB Stick"))),
        raw(3, QUERY, &json!({"diffResults": {"added": [{"vendor": "C-Media", "model": "Hub"}], "removed": []}})),
        raw(4, QUERY, &json!({"action": "added", "counter": 0, "columns": {"vendor": "C-Media", "model": "USB"}})),
    ];
    // Ten exceeded limits within an hour quarantine a filter.
    lines.extend((5..15).map(|n| raw(n, "noise", &row("x", json!(7)))));
    hub.record(&lines);
    hub
}

/// The explanation of each probe, by name; the exit code, and the event's way.
fn explained(hub: &Recorded, words: &[&str], stdin: &str) -> (i32, Value, Vec<Value>) {
    let words: Vec<&str> = ["explain", "--json"].iter().chain(words).copied().collect();
    let (code, out, err) = hub.says(&words, stdin);
    let mut lines = out.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let way = lines.next().unwrap_or_else(|| panic!("{err}"));
    (code, way, lines.collect())
}

fn of<'v>(probes: &'v [Value], name: &str) -> &'v Value {
    probes.iter().find(|p| p["probe"] == name).unwrap()
}

fn clause<'v>(probe: &'v Value, text: &str) -> &'v Value {
    probe["clauses"].as_array().unwrap().iter().find(|c| c["text"] == text).unwrap_or_else(|| panic!("{text}: {probe}"))
}

#[test]
fn a_stored_event_and_every_probe() {
    let hub = recorded();

    let (code, way, probes) = explained(&hub, &[&id(1)], "");
    assert_eq!((code, &way["found"], &way["request"]["ip"]), (0, &json!("the store"), &json!("203.0.113.9")));
    assert_eq!((&way["raw"]["topic"], &way["raw"]["line"]["id"]), (&json!("raw"), &json!(id(1))));
    assert_eq!(way["raw"]["offset"], 0);
    let usb = of(&probes, "usb");
    assert_eq!((&usb["verdict"], &usb["key"]), (&json!("matched"), &json!("C02")));
    assert_eq!(usb["context"], json!({"title": "USB Audio"}));
    assert_eq!(usb["matched_as"], usb["rev"]);
    assert_eq!((&usb["actions"][0]["action"], &usb["actions"][0]["state"]), (&json!("note"), &json!("done")));
    assert_eq!(usb["actions"][0]["dry_run"], true);
    let vendor = clause(usb, ".vendor == \"C-Media\"");
    assert_eq!((&vendor["line"], &vendor["column"], &vendor["came"]), (&json!(5), &json!(10), &json!("true")));
    assert_eq!(vendor["operands"], json!([{"text": ".vendor", "values": ["\"C-Media\""]}]));
    let linux = of(&probes, "linux");
    assert_eq!(linux["verdict"], "out_of_scope");
    let outside = json!([
        {"list": "platforms", "wanted": ["linux"], "is": ["macos"]},
        {"list": "not_units", "wanted": ["berlin"], "is": ["berlin"]},
    ]);
    assert_eq!(linux["scope"], outside);
    let number = of(&probes, "number");
    assert_eq!((&number["verdict"], &number["decided"]["came"]), (&json!("failed"), &json!("error")));
    let other = of(&probes, "other");
    assert_eq!((&other["verdict"], &other["query"]["seen"]), (&json!("other_query"), &json!(QUERY)));
    let quiet = of(&probes, "quiet");
    assert_eq!((&quiet["verdict"], &quiet["shadow"], &quiet["actions"]), (&json!("matched"), &json!(true), &json!([])));
    let slow = of(&probes, "slow");
    assert_eq!((&slow["verdict"], &slow["off"]["why"]), (&json!("off"), &json!("quarantined")));
    assert_eq!(slow["off"]["event"], json!(id(10)), "{slow}");
    let said = format!(
        "the filter of probe slow is off: quarantined, it exceeded its limit of 100,000 steps 10 times within an hour, \
         last at event {id}; change its text; `zentral explain {id} slow` shows where",
        id = id(10)
    );
    let (code, status, _) = hub.says(&["status"], "");
    assert!(code == 1 && status.lines().last().is_some_and(|health| health.contains(&said)), "{status}");

    let (code, _, probes) = explained(&hub, &[&id(2), "usb"], "");
    assert_eq!((code, probes.len(), &probes[0]["verdict"]), (1, 1, &json!("no")));
    assert_eq!((&probes[0]["decided"]["line"], &probes[0]["decided"]["column"]), (&json!(5), &json!(10)));
    assert_eq!(clause(&probes[0], ".model | startswith(\"USB\")")["came"], "not_reached");
    let (_, _, probes) = explained(&hub, &[&id(4), "usb"], "");
    assert_eq!((&probes[0]["verdict"], &probes[0]["filter_says"]), (&json!("first_run"), &json!(true)));

    // A row of a batch has an id of its own; the raw line is found all the same. So is what an action did.
    let events = hub.events();
    let row = events.iter().find(|e| e["payload"]["columns"]["model"] == "Hub").unwrap();
    let (_, way, _) = explained(&hub, &[row["id"].as_str().unwrap()], "");
    assert_eq!(way["raw"]["line"]["id"], json!(id(3)));
    let done = events.iter().find(|e| e["type"] == "action_done").unwrap();
    let (_, way, _) = explained(&hub, &[done["id"].as_str().unwrap()], "");
    assert_eq!((&way["cause"]["event"], &way["raw"]), (&json!(id(1)), &Value::Null));

    // The clock of files is coarse: they may be older than what was received.
    let received: Time = "2026-11-18T11:06:41.001Z".parse().unwrap();
    let before = UNIX_EPOCH + Duration::from_millis(received.ms() as u64);
    for file in std::fs::read_dir(hub.path("data/topics/raw")).unwrap() {
        let file = std::fs::File::options().write(true).open(file.unwrap().path()).unwrap();
        file.set_modified(before - Duration::from_secs(60)).unwrap();
    }
    let (_, way, _) = explained(&hub, &[&id(1)], "");
    assert_eq!(way["raw"]["offset"], 0);

    // Where the store is gone, the topics have it.
    std::fs::remove_dir_all(hub.path("data/index")).unwrap();
    let (code, way, probes) = explained(&hub, &[&id(1), "usb"], "");
    assert_eq!((code, &way["found"]), (0, &json!("topic:events")));
    assert_eq!(probes[0]["actions"][0]["state"], "done");
}

#[test]
fn text_for_people() {
    let hub = recorded();
    let (code, out, _) = hub.says(&["explain", &id(2), "usb"], "");
    assert_eq!(code, 1);
    let want = "✗ usb the filter says no
  ./filters/usb.jq  rev REV  major
  decided at 5:10: .vendor == \"C-Media\"   .vendor = \"SanDisk\\u001b[31m\"
  2 │ .payload
";
    let (head, tail) = out.split_once("\n\n").unwrap();
    let rev = tail.split("rev ").nth(1).unwrap().get(..8).unwrap();
    assert!(tail.starts_with(&want.replace("REV", rev)), "{tail}");
    assert!(
        head.contains("\n  request   203.0.113.9  osquery/5.23.0\n") && head.contains("\n  raw       topic:raw at ")
    );
    let lines = "  5 │ | select(.vendor == \"C-Media\" and (.model | startswith(\"USB\")))
    │          ──────────────────── ✗ .vendor = \"SanDisk\\u001b[31m\"
    │                                    ────────────────────────── · not reached\n";
    assert!(out.contains(lines), "{out}");
    assert!(!out.contains(['\u{1b}', '\u{202e}']), "an event steers no terminal: {out}");

    let (_, all, _) = hub.says(&["explain", &id(1)], "");
    let order =
        ["✓ quiet matched, in shadow", "✓ usb matched", "! number", "· linux: out of scope", "· other: not its query"];
    let places: Vec<usize> = order.iter().map(|o| all.find(o).unwrap_or_else(|| panic!("{o}\n{all}"))).collect();
    assert!(places.is_sorted(), "{all}");
    let manual = include_str!("../docs/explain.md");
    assert!(manual.contains(&all), "the manual shows what it prints: {all}");
    let event = "{\"payload\": {\"action\": \"added\", \"columns\": {\"vendor\": \"C-Media\", \"model\": \"Hub\"}}}";
    let (_, out, _) = hub.says(&["explain", "filters/usb.jq"], event);
    assert!(manual.contains(&out) && manual.contains(event), "{out}");
    let coloured = hub.says(&["explain", "--color", "always", &id(1)], "").1;
    assert!(coloured.contains("\u{1b}[32m✓\u{1b}[0m"), "{coloured}");
}

#[test]
fn an_event_on_stdin_and_words_that_are_wrong() {
    let hub = Recorded::new(PROBES, &[("usb.jq", USB), ("none.jq", ".a == 2\n")]);
    let event = r#"{"type": "osquery_result",
        "machine": {"platform": "macos", "unit": "berlin", "serial_number": "X"},
        "payload": {"name": "zentral/usb/b2a32581", "action": "added", "columns": {"vendor": "C-Media", "model": "USB"}}}"#;
    let ways: [&[&str]; 4] = [&[], &["-", "usb"], &["usb", "-"], &["usb"]];
    for words in ways {
        let (code, way, probes) = explained(&hub, words, event);
        assert_eq!((code, &way["found"], &of(&probes, "usb")["verdict"]), (0, &json!("stdin"), &json!("matched")));
    }
    // A file that no probe has yet.
    let (code, _, probes) = explained(&hub, &["filters/none.jq"], r#"{"a": 1}"#);
    assert_eq!((code, &probes[0]["clauses"][0]["operands"][0]["values"]), (1, &json!(["1"])));

    for (words, stdin, want, says) in [
        (&["nosuch"][..], "", 1, "no event with the id `nosuch`"),
        (&["usbb"], "", 1, "and the configuration has no probe of that name; did you mean `usb`?"),
        (&["quite", &id(1)], "", 2, "no probe `quite`; did you mean `quiet`?"),
        (
            &["usb"],
            "{\"name\":\"a\",\"hostIdentifier\":\"b\"}",
            2,
            "stdin line 1: a line of osquery's log, not an event",
        ),
        (&[&id(1), "nosuch"], "", 2, "no probe `nosuch`"),
        (&[""], "", 1, "no event with the id ``"),
        (
            &["usb"],
            "",
            2,
            "on stdin; what it matched last: zentral search probes.name:usb -n 1 | zentral explain usb; ",
        ),
        (
            &["filters/none.jq"],
            "",
            2,
            "on stdin; a stored one: zentral search '*' -n 1 | zentral explain filters/none.jq",
        ),
        (&["usb"], "{\"a\"", 2, "stdin is no JSON"),
        (&["usb"], "[]", 2, "no JSON object"),
        (&["filters/gone.jq"], "{}", 2, "gone.jq"),
    ] {
        let all: Vec<&str> = ["explain"].iter().chain(words).copied().collect();
        let (code, out, err) = hub.says(&all, stdin);
        assert_eq!((code, out.as_str()), (want, ""), "{words:?}: {err}");
        assert!(err.contains(says), "{words:?}: {err}");
    }
    // What takes too long is marked where it was stopped.
    std::fs::write(hub.path("filters/long.jq"), ".a == 1 and ([range(1e9)] | length > 3)\n").unwrap();
    let (code, out, _) = hub.says(&["explain", "filters/long.jq"], r#"{"a": 1}"#);
    let why = "exceeded its limit of 100,000 steps";
    let lines = [
        format!("! long the filter failed: {why}\n"),
        format!("\n  decided at 1:14: [range(1e9)] | length > 3   {why}\n"),
        format!("\n    │              ───────────────────────── ! {why}\n"),
    ];
    assert!(code == 1 && lines.iter().all(|line| out.contains(line)), "{out}");
    std::fs::write(hub.path("filters/none.jq"), ".a ==\n").unwrap();
    let (code, _, err) = hub.says(&["explain", "filters/none.jq"], "{}");
    assert!(code == 2 && err.contains("none.jq:1:"), "{err}");
}

const CONDITIONS: &str = r#"
[action.list]
kind = "file"
path = "list.ndjson"
digest = "2m"
[action.night]
kind = "file"
path = "night.ndjson"
quiet = { from = "00:00", to = "23:59", except = "major" }
[probe.burst]
filter = '.payload.columns.vendor == "burst"'
window = { count = 3, within = "10m" }
act = ["note"]
[probe.disk]
filter = 'select(.payload.columns.vendor == "off") | {title: "off"}'
until  = '.payload.columns.vendor == "on"'
severity = "major"
act = ["list", "note", "night"]
[probe.often]
filter = '.payload.columns.vendor == "often"'
throttle = "1h"
act = ["list", "note"]
"#;

/// The vendors of eleven results, one a second.
fn remembered() -> Recorded {
    let hub = Recorded::new(CONDITIONS, &[]);
    let vendors = ["burst", "burst", "off", "off", "often", "often", "burst", "burst", "on", "off", "other"];
    let line = |(n, vendor): (u32, &&str)| raw(n, "x", &json!({"action": "added", "columns": {"vendor": vendor}}));
    hub.record(&(1..).zip(&vendors).map(line).collect::<Vec<_>>());
    hub
}

/// The lines under a probe that tell what became of its match.
fn became(text: &str) -> Vec<&str> {
    let labels = ["key", "incident", "held", "now", "action"];
    let line = |line: &&str| labels.iter().any(|label| line.starts_with(&format!("  {label} ")));
    text.lines().filter(line).map(str::trim).collect()
}

#[test]
fn what_held_a_match_back() {
    let hub = remembered();
    let said = |n: u32, probe: &str| {
        let (code, out, err) = hub.says(&["explain", &id(n), probe], "");
        assert_eq!(code, 0, "{out}{err}");
        out
    };
    let first = format!("held     1 of 3 within 600 s; told with event {}", id(7));
    assert_eq!(became(&said(1, "burst")), ["key      C02", first.as_str()]);
    assert_eq!(became(&said(8, "burst")), ["key      C02", "held     1 of 3 within 600 s"]);
    let full = said(7, "burst");
    assert!(full.contains("\n  action   note: done, as 3 matches  2026-11-18T11:06:"), "{full}");
    let held = said(6, "often");
    assert_eq!(became(&held), ["key      C02", "held     throttled until 2026-11-18T12:06:45.001Z"]);
    let (_, _, probes) = explained(&hub, &[&id(6), "often"], "");
    assert_eq!(probes[0]["held"], "throttled until 2026-11-18T12:06:45.001Z");

    let opened = said(3, "disk");
    let incident = opened.split("  incident ").nth(1).unwrap().split("  ").next().unwrap().to_owned();
    let rows = became(&opened);
    let times = "opened 2026-11-18T11:06:43.001Z  last 2026-11-18T11:06:49.001Z  2 matches";
    assert_eq!(rows[1], format!("incident {incident}  closed  {times}"));
    assert!(opened.contains(&format!("action   note: done, opened incident {incident}  2026-11-18")), "{opened}");
    assert!(
        opened.contains(&format!("action   night: done, opened incident {incident}  ")),
        "what is urgent is told at night: {opened}"
    );
    assert_eq!(became(&said(4, "disk"))[2], format!("held     counted into incident {incident}"));
    let closed = said(9, "disk");
    assert!(
        closed.contains("\n✓ disk `until` matched: that ends an incident\n")
            && closed.contains(&format!("note: done, closed incident {incident}")),
        "{closed}"
    );
    // A digest keeps the ids of its members, whatever probe they are of, and whichever came first.
    for (n, probe) in [(3, "disk"), (5, "often"), (9, "disk")] {
        assert!(said(n, probe).contains("\n  action   list: done in a digest of 4  "), "{}", said(n, probe));
        let (_, _, probes) = explained(&hub, &[&id(n), probe], "");
        let list = probes[0]["actions"].as_array().unwrap().iter().find(|a| a["action"] == "list").unwrap();
        assert_eq!((&list["digest"], &list["count"]), (&json!(true), &json!(4)));
    }

    // What waits at a brake, and in a digest that is not over.
    let mut db = Db::open(&hub.path("data/state/act.db"), &[]).unwrap();
    let mut tx = db.begin().unwrap();
    for sql in [
        "INSERT INTO stopped (action, since, why) VALUES ('note', 1795000000000, '2 machines within an hour')",
        "UPDATE ledger SET state = 'pending', due = 1795000600000 WHERE action = 'note' AND probe = 'often'",
        "UPDATE ledger SET state = 'pending', due = 1795000600000, error = 'quiet hours' WHERE action = 'night'",
        "UPDATE digests SET sealed = 0",
    ] {
        assert!(tx.execute(sql, &[]).unwrap() > 0, "{sql}");
    }
    tx.commit().unwrap();
    let waits = said(5, "often");
    assert!(waits.contains("\n  action   list: gathering in a digest of 4  due 2026-11-18T11:08:43.001Z\n"), "{waits}");
    let brake = "\n  action   note: pending  due 2026-11-18T11:16:40.000Z  dry run  stopped since 2026-11-18T11:06:40.000Z at its brake, \
                 2 machines within an hour; `zentral act resume note`\n";
    assert!(waits.contains(brake), "{waits}");
    let night = said(10, "disk");
    assert!(night.contains("  due 2026-11-18T11:16:40.000Z  dry run  quiet hours\n"), "{night}");
}

#[test]
fn what_the_conditions_would_say_of_an_event_on_stdin() {
    let hub = remembered();
    let event = |vendor: &str, second: u32| {
        let received = format!("2026-11-18T11:07:{second:02}Z");
        json!({"received": received, "machine": {"serial_number": "C02"}, "payload": {"columns": {"vendor": vendor}}})
            .to_string()
    };
    let would = |probe: &str, event: &str| {
        let (code, _, probes) = explained(&hub, &[probe], event);
        assert_eq!(code, 0, "{event}");
        probes[0]["would"].clone()
    };
    let before = std::fs::read(hub.path("data/state/act.db")).unwrap();
    // One of the window is left over.
    assert_eq!(would("burst", &event("burst", 0)), json!({"act": false, "why": "2 of 3 within 600 s", "actions": []}));
    assert_eq!(would("often", &event("often", 0))["why"], "throttled until 2026-11-18T12:06:45.001Z");
    assert_eq!(would("often", &event("often", 0).replace("C02", "C03"))["act"], true);
    // The second incident is open; a word of its own is told.
    assert!(would("disk", &event("off", 0))["why"].as_str().unwrap().starts_with("counted into incident "));
    let closed = would("disk", &event("on", 0));
    assert_eq!((&closed["act"], &closed["state"], &closed["count"]), (&json!(true), &json!("closed"), &json!(1)));
    let other = would("disk", &event("off", 0).replace("C02", "C04"));
    assert_eq!((&other["state"], &other["actions"][0]["action"]), (&json!("opened"), &json!("list")));
    assert_eq!(other["actions"][0]["waits"], "gathered into a digest until 2026-11-18T11:09:00.000Z");
    let (_, out, _) = hub.says(&["explain", "disk"], &event("on", 0));
    assert!(
        out.contains("\n  now      it would be acted upon: incident ") && out.contains(" closed, 1 match\n"),
        "{out}"
    );

    let mut db = Db::open(&hub.path("data/state/act.db"), &[]).unwrap();
    assert_eq!(std::fs::read(hub.path("data/state/act.db")).unwrap(), before, "looking changes nothing");
    let mut tx = db.begin().unwrap();
    for sql in [
        "INSERT INTO mutes (name, since, until) VALUES ('burst', 1795000000000, 1795003600000), ('note', 1795000000000, 1795003600000)",
        "INSERT INTO stopped (action, since, why) VALUES ('list', 1795000000000, '2 machines within an hour')",
    ] {
        tx.execute(sql, &[]).unwrap();
    }
    tx.commit().unwrap();
    assert_eq!(would("burst", &event("burst", 0))["why"], "muted until 2026-11-18T12:06:40.000Z");
    let waits = would("often", &event("often", 0).replace("C02", "C03"))["actions"].clone();
    let waits: Vec<String> =
        waits.as_array().unwrap().iter().map(|w| format!("{} {}", w["action"], w["waits"])).collect();
    assert_eq!(waits.len(), 3);
    assert!(
        waits[0].starts_with("\"list\" \"stopped since 2026-11-18T11:06:40.000Z at its brake, 2 machines"),
        "{waits:?}"
    );
    assert!(waits[1].starts_with("\"list\" \"gathered into a digest until"), "{waits:?}");
    assert_eq!(waits[2], "\"note\" \"muted until 2026-11-18T12:06:40.000Z\"");

    // Without anything that anybody remembers, and where the program that ends it is asked in vain.
    std::fs::remove_dir_all(hub.path("data")).unwrap();
    assert_eq!(would("burst", &event("burst", 0))["why"], "1 of 3 within 600 s");
    assert_eq!(would("disk", &event("on", 0))["why"], "no incident is open");
    let (code, out, _) = hub.says(&["explain", "disk"], &event("other", 0));
    let rev = out.split("rev ").nth(1).unwrap().get(..8).unwrap();
    let want = r#"✗ disk the filter says no, and so does `until`
  probe disk  rev REV  major
  decided at 1:8: .payload.columns.vendor == "off"   .payload.columns.vendor = "other"
  1 │ select(.payload.columns.vendor == "off") | {title: "off"}
    │        ──────────────────────────────── ✗ .payload.columns.vendor = "other"
    │                                            ────────────── · not reached
  until  probe disk, until
  decided at 1:1: .payload.columns.vendor == "on"   .payload.columns.vendor = "other"
  1 │ .payload.columns.vendor == "on"
    │ ─────────────────────────────── ✗ .payload.columns.vendor = "other"
"#;
    assert!(code == 1 && out.ends_with(&want.replace("REV", rev)), "{out}");
    assert!(include_str!("../docs/explain.md").contains(want.trim_end()), "the manual shows what it prints");
    let (_, _, probes) = explained(&hub, &["disk"], &event("on", 0));
    let until = &probes[0]["until"];
    assert_eq!(
        (&until["says"], &until["clauses"][0]["came"], &probes[0]["closes"]),
        (&json!(true), &json!("true"), &json!(true))
    );
}
