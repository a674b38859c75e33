//! `zentral test`: examples that are kept true, made of stored events, and what they leave out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use serde_json::{Value, json};
use support::recorded::{QUERY, Recorded, id, raw};

const USB: &str = "# C-Media\n.payload | objects\n| select(.action == \"added\")\n| .columns\n\
                   | select(.vendor == \"C-Media\" and (.model | startswith(\"USB\")))\n| {title: .model}\n";
const PROBES: &str = "\n[probe.usb]\nfilter = \"filters/usb.jq\"\n[probe.inline]\nfilter = '.a == 1'\n";
const EXAMPLES: &str = "
{ \"match\" : true, \"why\": \"the device\", \"event\": {\"payload\": {\"action\": \"added\", \"columns\": {\"vendor\": \"C-Media\", \"model\": \"USB Audio\"}}} }
{\"match\":true,\"why\":\"ü\",\"event\":{\"payload\":{\"action\":\"added\",\"columns\":{\"vendor\":\"SanDisk\",\"model\":\"USB\"}}}}\r
{\"why\":\"context\",\"event\":{\"payload\":{\"action\":\"added\",\"columns\":{\"vendor\":\"C-Media\",\"model\":\"USB 2\"}}},\"match\":{\"title\":\"USB 1\"}}";

fn hub(examples: &str) -> Recorded {
    Recorded::new(PROBES, &[("usb.jq", USB), ("usb.ndjson", examples)])
}

/// What the manual shows is what is printed.
const MANUAL: &str = include_str!("../docs/test.md");

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn a_failing_example_names_the_clause_that_decided() {
    let hub = hub(EXAMPLES);
    let (code, out, _) = hub.says(&["test"], "");
    let want = r#"not ok 2 - ./filters/usb.ndjson:3 ü
  ---
  want: "match"
  got: "no match"
  decided: "./filters/usb.jq:5:10 .vendor == \"C-Media\" is false (.vendor = \"SanDisk\")"
  ...
"#;
    assert!(MANUAL.contains(want));
    assert!(
        code == 1 && out.contains(want) && out.ends_with("1..3\n# 1 passed, 2 failed, 1 without examples\n"),
        "{out}"
    );
    let records = lines(&hub.says(&["test", "--json", "filters/usb.jq"], "").1);
    assert_eq!(records[1]["decided"]["place"], "filters/usb.jq:5:10");
    assert_eq!((&records[0]["decided"], &records[1]["ok"]), (&Value::Null, &json!(false)));
}

#[test]
fn update_writes_what_the_filter_says_and_nothing_else() {
    let hub = hub(EXAMPLES);
    let file = hub.path("filters/usb.ndjson");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let (code, out, _) = hub.says(&["test", "--update"], "");
    let updated = "# updated ./filters/usb.ndjson:3: match was asked for, now false\n";
    assert!(code == 0 && out.contains(updated) && MANUAL.contains(updated), "{out}");
    assert!(out.ends_with("# 1 passed, 0 failed, 2 updated, 1 without examples\n"), "{out}");
    let want = EXAMPLES.replace("{\"match\":true,", "{\"match\":false,").replace("USB 1", "USB 2");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), want);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(hub.path("filters")).unwrap().count(), 2, "nothing is left behind");
    assert_eq!(hub.says(&["test"], "").0, 0);

    // What fails with an error, and what is no example, stays as it is.
    let broken =
        "{\"match\":false,\"event\":{\"payload\":{\"action\":\"added\",\"columns\":{\"vendor\":\"C-Media\"}}}}\n";
    std::fs::write(&file, broken).unwrap();
    let (code, out, _) = hub.says(&["test", "--update"], "");
    assert!(code == 1 && out.contains("got: \"error: ") && out.contains("startswith"), "{out}");
    std::fs::write(&file, format!("{broken}nothing\n")).unwrap();
    assert_eq!(hub.says(&["test", "--update"], "").0, 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{broken}nothing\n"));
}

#[test]
fn a_stored_event_becomes_an_example() {
    let hub = Recorded::new(PROBES, &[("usb.jq", USB)]);
    let row = |vendor: &str| json!({"action": "added", "columns": {"vendor": vendor, "model": "USB Audio"}});
    hub.record(&[raw(1, QUERY, &row("C-Media")), raw(2, QUERY, &row("SanDisk"))]);
    let file = hub.path("filters/usb.ndjson");
    let add = |words: &[&str], stdin: &str| {
        let words: Vec<&str> = ["test", "add"].iter().chain(words).copied().collect();
        hub.says(&words, stdin)
    };

    let (code, _, err) = add(&["usb", &id(1), "no"], "");
    assert!(code == 1 && err.contains("the filter says yes: ") && err.contains("--force"), "{err}");
    assert!(!file.exists());
    let (code, out, _) = add(&["usb", &id(1), "yes", "--why", "a \"real\" one"], "");
    assert_eq!((code, out.as_str()), (0, "./filters/usb.ndjson:1 yes\n"));
    assert_eq!(add(&["filters/usb.jq", &id(2), "no"], "").0, 0);
    let text = std::fs::read_to_string(&file).unwrap();
    let examples = lines(&text);
    assert_eq!((&examples[0]["match"], &examples[0]["why"]), (&json!(true), &json!("a \"real\" one")));
    assert_eq!((&examples[1]["match"], &examples[1]["why"]), (&json!(false), &json!("")));
    let mut event = hub.events()[0].clone();
    assert!(event.as_object_mut().unwrap().remove("probes").is_some());
    assert_eq!(examples[0]["event"], event);
    assert!(text.contains(&event.to_string()), "byte for byte");

    let (code, _, err) = add(&["usb", &id(1), "yes", "--force"], "");
    assert!(code == 1 && err.contains("usb.ndjson:1 has this event already"), "{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    // A file that ends without a newline; an event on stdin; an opinion against the filter's.
    std::fs::write(&file, text.trim_end()).unwrap();
    let (code, out, err) = add(&["filters/usb.ndjson", "-", "yes", "--force"], "{\"payload\": {}}\n");
    assert_eq!((code, out.as_str()), (0, "filters/usb.ndjson:3 yes\n"), "{err}");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        format!("{text}{{\"match\": true, \"why\": \"\", \"event\": {{\"payload\":{{}}}}}}\n")
    );
    assert!(hub.says(&["test"], "").1.contains("not ok 3"));

    for (words, want, says) in [
        (
            &["usb", &id(1), "false"][..],
            1,
            "usb.ndjson:1 has this event already and asks for a match; change that line",
        ),
        (&["usb", "0", "yes"], 1, "no event with the id `0`"),
        (&["usb", "", "yes"], 1, "no event with the id ``"),
        (
            &["inline", &id(1), "yes"],
            2,
            "only a file has examples: move it to inline.jq and write filter = \"inline.jq\"",
        ),
        (&["usbb", &id(1), "yes"], 2, "neither a file NAME.jq nor a probe of the configuration; did you mean `usb`?"),
        (&["filters/nosuch.jq", &id(1), "yes"], 2, "nosuch.jq"),
        (&["usb", &id(1), "maybe"], 2, "maybe"),
        (&["usb", &id(1)], 2, "yes|no"),
    ] {
        let (code, out, err) = add(words, "");
        assert!(code == want && out.is_empty() && err.contains(says), "{words:?}: {code} {err}");
    }
}

#[test]
fn coverage_names_clauses_that_no_example_exercises() {
    let hub = hub(EXAMPLES.lines().nth(1).unwrap());
    let (code, out, _) = hub.says(&["test", "--coverage"], "");
    let want = "ok 1 - ./filters/usb.ndjson:1 the device
# coverage ./filters/usb.jq: 63 % (7 of 11 outcomes)
#   ./filters/usb.jq:2:12 no example makes false: objects
#   ./filters/usb.jq:3:10 no example makes false: .action == \"added\"
#   ./filters/usb.jq:5:10 no example makes false: .vendor == \"C-Media\"
#   ./filters/usb.jq:5:36 no example makes false: .model | startswith(\"USB\")
# probe inline: no examples (its filter is in no file of its own)
# coverage probe inline: 0 % (0 of 2 outcomes)
#   probe inline:1:1 no example reaches: .a == 1
1..1
# 1 passed, 0 failed, 1 without examples
# coverage 53 % (7 of 13 outcomes)
";
    assert_eq!((code, out.as_str()), (0, want));
    assert!(MANUAL.contains(want));
    let more = "\n{\"match\":false,\"event\":{}}\n{\"match\":false,\"event\":{\"payload\":{\"action\":\"removed\"}}}\n\
                {\"match\":false,\"event\":{\"payload\":{\"action\":\"added\",\"columns\":{\"vendor\":\"x\"}}}}\n\
                {\"match\":false,\"event\":{\"payload\":{\"action\":\"added\",\"columns\":{\"vendor\":\"C-Media\",\"model\":\"Hub\"}}}}\n";
    let file = hub.path("filters/usb.ndjson");
    let text = std::fs::read_to_string(&file).unwrap() + more;
    std::fs::write(&file, text).unwrap();
    let records = lines(&hub.says(&["test", "--coverage", "--json", "usb"], "").1);
    let last = records.last().unwrap();
    assert_eq!((&last["percent"], &last["gaps"]), (&json!(100), &json!([])), "{last}");
}

#[test]
fn probes_by_name_and_filters_without_examples() {
    let hub = hub(EXAMPLES.lines().nth(1).unwrap());
    std::fs::write(hub.path("filters/lone.jq"), ".a == 2\n").unwrap();
    let says = |words: &[&str]| hub.says(&[&["test"], words].concat(), "");
    let ok = "ok 1 - ./filters/usb.ndjson:1 the device\n1..1\n# 1 passed, 0 failed\n";
    assert_eq!(says(&["usb"]), (0, ok.to_owned(), String::new()));
    // A file that is there wins over the probe of its name.
    std::fs::create_dir(hub.path("inline")).unwrap();
    assert_eq!(says(&["inline"]).1, "1..0\n# 0 passed, 0 failed\n");
    std::fs::remove_dir(hub.path("inline")).unwrap();
    for (words, note) in [
        (&["inline", "usb"][..], "# probe inline: no examples (its filter is in no file of its own)\n"),
        (&["filters/lone.jq", "usb"], "# filters/lone.jq: no examples (filters/lone.ndjson)\n"),
    ] {
        let (code, out, _) = says(words);
        assert!(
            code == 0 && out.contains(note) && out.ends_with("# 1 passed, 0 failed, 1 without examples\n"),
            "{out}"
        );
    }
    // Nothing to run is two, as before; and what there is not is said.
    let (code, out, err) = says(&["inline", "--json"]);
    let want = json!({"without": "probe inline", "filter": null, "examples": null});
    assert!(code == 2 && lines(&out) == [want] && err.contains("no examples found"), "{out}{err}");
    let (code, out, err) = says(&["uusb"]);
    let want = "`uusb` is neither a file nor a folder, and the configuration has no probe `uusb`; did you mean `usb`?";
    assert!(code == 2 && out.is_empty() && err.contains(want), "{err}");
}

#[test]
fn a_line_that_is_no_example_stops_no_other() {
    let good = EXAMPLES.lines().nth(1).unwrap();
    let hub = hub(&format!("{good}\n{{ \"match\" : true }}\n{{\"match\":true,\"event\":{{}}}}\nx\n"));
    let (code, out, _) = hub.says(&["test", "usb"], "");
    let want = r#"not ok 2 - ./filters/usb.ndjson:2:18 is no example
  ---
  error: "missing field `event`"
  ...
"#;
    assert!(code == 1 && out.contains(want) && MANUAL.contains(want), "{out}");
    let file = "./filters/usb.ndjson";
    let ran: Vec<&str> = out.lines().filter(|l| l.contains("ok ")).collect();
    let want = [
        ("ok 1", ":1 the device"),
        ("not ok 2", ":2:18 is no example"),
        ("not ok 3", ":3"),
        ("not ok 4", ":4:1 is no example"),
    ];
    assert_eq!(ran, want.map(|(word, rest)| format!("{word} - {file}{rest}")), "{out}");
    assert!(out.ends_with("1..4\n# 1 passed, 3 failed\n"), "{out}");
    assert!(out.lines().all(|line| line == line.trim_end()), "{out:?}");
    // What can be updated is.
    let (_, out, _) = hub.says(&["test", "--update", "usb"], "");
    assert!(out.ends_with("# 1 passed, 2 failed, 1 updated\n"), "{out}");
    let records = lines(&hub.says(&["test", "--json", "usb"], "").1);
    assert_eq!((&records[3]["place"], &records[3]["error"]), (&json!(format!("{file}:4:1")), &json!("expected value")));
}

#[test]
fn a_probe_that_was_named_says_why_no_event_reached_it() {
    let probes = "\n[probe.usb]\nscope = { platforms = [\"linux\"] }\nfilter = 'true'\n\
                  query = { sql = \"select vendor, model from usb_devices\" }\n[probe.free]\nfilter = '.a == 1'\n\
                  [probe.wrong]\nfilter = 'wrong.jq'\n";
    let wrong = r#".payload.counter == 3 and (.payload.columns.nope | startswith("x"))"#;
    let hub = Recorded::new(probes, &[]);
    std::fs::write(hub.path("wrong.jq"), wrong).unwrap();
    let event = |name: &str| json!({"type": "osquery_result", "payload": {"name": name, "counter": 3}});
    let own = event(QUERY);
    let other = event("zentral/usb/00000000");
    let said = "zentral filter: probe usb: 2 events, none reached the filter: 1 not its query's result, 1 out of scope; \
                its query has changed: 1 result recorded as zentral/usb/00000000 is not given to it\n";
    let input = format!("{own}\n{other}\n");
    assert_eq!(hub.says(&["filter", "usb"], &input), (1, String::new(), said.to_owned()));
    assert_eq!(hub.says(&["filter", "--count", "usb", "free"], &input), (1, "0\n".to_owned(), said.to_owned()));
    // Nothing is said of probes that were not named, of a filter that was asked, and where there was no event.
    for (words, input) in [(&["filter"][..], input.as_str()), (&["filter", "free"], &input), (&["filter", "usb"], "")] {
        assert_eq!(hub.says(words, input), (1, String::new(), String::new()), "{words:?}");
    }
    // A filter that fails is asked what ails it, though jq never ran: no text makes it match.
    let fails = "its filter failed at 2 of 2 events that reached it: ";
    let said = [("wrong", "probe wrong"), ("wrong.jq", "wrong.jq")];
    for (what, name) in said {
        let (code, out, err) = hub.says(&["filter", what], &input);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.starts_with(&format!("zentral filter: {name}: {fails}")), "{err}");
        assert!(err.ends_with(&format!("; `zentral explain {what} < FILE` shows where\n")), "{err}");
        assert_eq!(hub.says(&["filter", what], "{\"payload\":{\"counter\":4}}\n").2, "");
    }
    let (_, _, err) = hub.says(&["filter", "-e", wrong], &input);
    assert!(err.starts_with(&format!("zentral filter: -e: {fails}")) && err.lines().count() == 1, "{err}");
    let mut linux = own.clone();
    linux["machine"] = json!({"platform": "linux"});
    let (code, _, err) = hub.says(&["filter", "usb"], &format!("{input}{linux}\n"));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(hub.says(&["filter", "usbb"], "").2.contains("no probe `usbb`; did you mean `usb`?"));
    // What is no event may match all the same; if it does not, it is said what it is.
    let log = "{\"name\":\"a\",\"hostIdentifier\":\"b\"}\n";
    let (code, _, err) = hub.says(&["filter", "-e", ".name == \"x\""], log);
    assert!(code == 1 && err.contains("line 1 is a line of osquery's log, not an event; `zentral normalize "), "{err}");
    for words in [["filter", "-e", ".name == \"a\""], ["filter", "-ve", ".name == \"x\""]] {
        assert_eq!(hub.says(&words, log), (0, log.to_owned(), String::new()));
    }
}

#[test]
fn a_log_is_no_run_of_the_pipeline() {
    let hub = Recorded::new("[probe.p]\nfilter = '.payload.columns.a == \"1\"'\n", &[]);
    let log = json!({"name": "x", "hostIdentifier": "h", "unixTime": 1_794_523_651, "columns": {"a": "1"}, "action": "added"});
    std::fs::write(hub.path("log"), format!("{log}\n")).unwrap();
    let test = |file: &str| hub.says(&["up", "--test", file, "--data", "week"], "");
    let said = "zentral up: error: log line 1: a line of osquery's log, not an event; `zentral normalize osquery < log` \
                makes events of it\n";
    assert_eq!(test("log"), (2, String::new(), said.to_owned()));
    assert!(!hub.path("week").exists(), "nothing is in the way of the next try");
    let events = hub.says(&["normalize", "osquery"], &format!("{log}\n")).1;
    std::fs::write(hub.path("events"), events).unwrap();
    let (code, out, err) = test("events");
    assert_eq!((code, lines(&out).iter().any(|l| l["probe"] == "p" && l["matches"] == 1)), (0, true), "{out}{err}");
}

const LOGINS: &str = "
[probe.failed-logins]
filter = \"filters/failed-logins.jq\"
by     = \".payload.columns.user\"
window = { count = 3, within = \"10m\" }
until  = '.payload.name == \"unlocked\"'
act    = [\"note\"]
shadow = true
";
const FAILED: &str = "# failed\n.payload | select(.name == \"failed\") | {title: (.columns.user | ascii_downcase)}\n";

/// A list of events, each of (at, name, user).
fn list(acts: &Value, why: &str, events: &[(&str, &str, &str)]) -> String {
    let event = |(at, name, user): &(&str, &str, &str)| {
        let event = json!({"payload": {"name": name, "columns": {"user": user}}});
        if at.is_empty() { json!({"event": event}) } else { json!({"at": at, "event": event}) }
    };
    let events: Vec<Value> = events.iter().map(event).collect();
    format!("{}\n", json!({"acts": acts, "why": why, "events": events}))
}

#[test]
fn a_list_is_judged_by_the_conditions_of_its_probe() {
    let manual = MANUAL.split("```json\n").nth(2).unwrap().split("```").next().unwrap();
    let slow = list(
        &json!([false, false, 3]),
        "too slow for a window",
        &[("", "failed", "ada"), ("+6m", "failed", "ada"), ("12m", "failed", "ada")],
    );
    let hub =
        Recorded::new(LOGINS, &[("failed-logins.jq", FAILED), ("failed-logins.ndjson", &format!("{manual}{slow}"))]);
    let (code, out, err) = hub.says(&["test"], "");
    let want = MANUAL.split("```\n").find(|part| part.starts_with("not ok 2 - ./filters/failed-logins")).unwrap();
    assert!(
        code == 1 && out.contains(&format!("ok 1 - ./filters/failed-logins.ndjson:1 three within ten minutes\n{want}")),
        "{out}{err}"
    );

    let records = lines(&hub.says(&["test", "--json"], "").1);
    let differs = json!({"event": 3, "came": "held back: 2 of 3 within 600 s"});
    assert_eq!((&records[1]["probe"], &records[1]["differs"]), (&json!("failed-logins"), &differs));
    assert_eq!((&records[0]["ok"], &records[0]["differs"]), (&json!(true), &Value::Null));
    // Each event of a list is one that the filter was asked about.
    let (_, out, _) = hub.says(&["test", "--coverage"], "");
    assert!(out.contains("# coverage ./filters/failed-logins.jq: 100 % "), "{out}");

    let (code, out, _) = hub.says(&["test", "--update"], "");
    let updated =
        "# updated ./filters/failed-logins.ndjson:2: [false,false,3] was asked for, now [false,false,false]\n";
    assert!(code == 0 && out.contains(updated), "{out}");
    let text = std::fs::read_to_string(hub.path("filters/failed-logins.ndjson")).unwrap();
    assert_eq!(text, format!("{manual}{}", slow.replace("[false,false,3]", "[false,false,false]")));
}

#[test]
fn what_is_asked_of_a_list() {
    let hub = Recorded::new(LOGINS, &[("failed-logins.jq", FAILED)]);
    let three = [("", "failed", "ada"), ("1m", "failed", "ada"), ("+1m", "failed", "ada")];
    let other = [&three[..2], &[("+1m", "failed", "ADA")]].concat();
    let four = [&three[..], &[("+1s", "unlocked", "ada")]].concat();
    let mixed = [&three[..2], &[("", "failed", "bob"), ("3m", "failed", "ada")]].concat();
    for (acts, events, differs) in [
        (json!([false, false, true]), &three[..], Value::Null),
        (json!([false, false, false]), &three, json!("event 3: acted upon, opened, 3 matches")),
        // Another key is another window.
        (json!([false, false, false]), &other, Value::Null),
        (json!([false, false, "opened", "closed"]), &four, Value::Null),
        (json!([false, false, {"state": "opened", "count": 3}, {"state": "closed", "count": 3}]), &four, Value::Null),
        (json!([false, false, 3, 4]), &four, json!("event 4: acted upon, closed, 3 matches")),
        (json!([true, false, 3, true]), &four, json!("event 1: held back: 1 of 3 within 600 s")),
        (json!([false, false, false, 3]), &mixed, Value::Null),
        (json!([false]), &[("", "other", "ada")], Value::Null),
        (json!([true]), &[("", "other", "ada")], json!("event 1: no match")),
        (json!([true]), &[("", "unlocked", "ada")], json!("event 1: held back: no incident is open")),
    ] {
        std::fs::write(hub.path("filters/failed-logins.ndjson"), list(&acts, "", events)).unwrap();
        let (code, out, err) = hub.says(&["test", "--json", "failed-logins"], "");
        let record = &lines(&out)[0];
        let said =
            record["differs"]["came"].as_str().map(|came| format!("event {}: {came}", record["differs"]["event"]));
        assert_eq!((code, json!(said)), (i32::from(!differs.is_null()), differs), "{acts} {out}{err}");
    }
}

#[test]
fn a_list_needs_a_probe_and_good_times() {
    let hub = Recorded::new("", &[("failed-logins.jq", FAILED)]);
    let file = hub.path("filters/failed-logins.ndjson");
    let says = |acts: Value, more: &str, events: &[(&str, &str, &str)]| {
        std::fs::write(&file, list(&acts, "", events).replacen("{", &format!("{{{more}"), 1)).unwrap();
        let (code, out, _) = hub.says(&["test", "--json", "filters"], "");
        let record = lines(&out).remove(0);
        (code, if record["error"].is_null() { record["got"].clone() } else { record["error"].clone() })
    };
    let one = [("", "failed", "ada")];
    let told = |got: (i32, Value), words: &str| {
        assert!(got.0 == 1 && got.1.as_str().unwrap().contains(words), "{got:?}");
    };
    told(says(json!([true]), "", &one), "none is in the configuration, nor in filters/failed-logins.toml");
    // The table that lies beside the filter; it names an action of somebody's configuration.
    let beside = |text: &str| std::fs::write(hub.path("filters/failed-logins.toml"), text).unwrap();
    let probe =
        |name: &str| format!("[probe.{name}]\nfilter = \"failed-logins.jq\"\nact = [\"x\"]\nthrottle = \"1m\"\n");
    beside(&probe("a"));
    let twice = [("", "failed", "ada"), ("59s", "failed", "ada"), ("60s", "failed", "ada")];
    assert_eq!(says(json!([true, false, true]), "", &twice), (0, json!("[true,false,true]")));
    beside(&format!("{}{}", probe("a"), probe("b").replace("1m", "10s")));
    told(says(json!([true, false, true]), "", &twice), "several probes have this filter (a, b): name one of them");
    assert_eq!(says(json!([true, true, false]), "\"probe\":\"b\",", &twice), (0, json!("[true,true,false]")));
    told(says(json!([true]), "\"probe\":\"c\",", &one), "no probe `c` with this filter");
    beside("[probe.a]\nfilter = \"failed-logins.jq\"\nthrotle = \"1m\"\n");
    told(says(json!([true]), "", &one), "unknown key; did you mean `throttle`?");
    beside(&probe("a"));
    told(says(json!([true]), "", &[("soon", "failed", "ada")]), "event 1: `at` is a time such as 30s");
    let odd = r#"{"acts":[true],"events":[{"event":{"received":"today"}}]}"#;
    std::fs::write(&file, odd).unwrap();
    assert!(hub.says(&["test", "filters"], "").1.contains("event 1: `received` is no time such as"));
    told(says(json!([true, true]), "", &one), "`acts` has 2 and `events` 1");
    told(says(json!(["open"]), "", &one), "`acts`: number 1 is true, false, a count");
    // An event that is told twice, by its id, and times that the events have.
    let event = |id: &str, second: u32| json!({"event": {"id": id, "received": format!("2026-11-21T19:00:{second:02}Z"), "payload": {"name": "failed", "columns": {"user": "ada"}}}});
    let text = json!({"acts": [true, false, false], "events": [event("e1", 0), event("e1", 0), event("e2", 59)]});
    std::fs::write(&file, format!("{text}\n")).unwrap();
    assert_eq!(hub.says(&["test", "filters"], "").0, 0);
    let text = text.to_string().replace("[true,false,false]", "[true,true,false]");
    std::fs::write(&file, format!("{text}\n")).unwrap();
    let (_, out, _) = hub.says(&["test", "filters"], "");
    assert!(out.contains("differs: \"event 2: held back: the same event again, by its id e1\""), "{out}");
    // A filter that fails is asked for by nothing, and is not updated.
    let text = json!({"acts": [false], "events": [{"event": {"payload": {"name": "failed", "columns": {"user": 1}}}}]});
    std::fs::write(&file, format!("{text}\n")).unwrap();
    let (code, out, _) = hub.says(&["test", "--update", "filters"], "");
    assert!(code == 1 && out.contains("got: [\"error: ") && out.contains("decided: "), "{out}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{text}\n"));
}
