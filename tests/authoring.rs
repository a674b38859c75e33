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
