//! Probes in the console of a running hub: the list, one of them, a filter that is tried, saved, and whose events become tests.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::browser::{Browser, Reply};
use super::support::agent::{Agent, record};
use super::support::hub::Hub;
use super::{api, person, quoted, token, up};

const ABOVE_TWO: &str = "# Numbers above two\n# They are large.\n\n.type == \"osquery_result\" and .payload.name == \"t\"\n\tand .payload.columns.n > 2\n";
const ABOVE_THREE: &str =
    "# Numbers above three\n.type == \"osquery_result\" and .payload.name == \"t\" and .payload.columns.n > 3\n";

/// A hub on which five numbers have been told, three of them above two.
fn numbers(more: &str) -> (Hub, u16) {
    let (hub, port) = up(more);
    let table = "[probe.numbers]\nfilter = \"numbers.jq\"\nseverity = \"minor\"\n\n[probe.inline]\nfilter = '.type == \"none\"' # stays\n";
    std::fs::write(hub.path("probes/numbers.jq"), ABOVE_TWO).unwrap();
    std::fs::write(hub.path("probes/numbers.ndjson"), "{\"match\":true,\"why\":\"it is large\",\"event\":{\"type\":\"osquery_result\",\"payload\":{\"name\":\"t\",\"columns\":{\"n\":9}}}}\n").unwrap();
    std::fs::write(hub.path("probes/numbers.toml"), table).unwrap();
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret_of("default"), "S1");
    agent.enrol().unwrap();
    hub.wait("the probe in force", 60, || in_force(&hub).contains("Numbers above two"));
    // The filter reads its files a moment after the copy is there.
    std::thread::sleep(Duration::from_secs(2));
    let data: Vec<Value> = (1..=5).map(record).collect();
    let log = json!({"node_key": agent.node_key, "log_type": "result", "data": data});
    let (status, answer) = agent.client.post("/public/osquery/log", &log).unwrap();
    assert_eq!(status, 200, "{answer}");
    hub.wait("the events in the store", 60, || hub.events("payload.name:t").len() == 5);
    hub.wait("three matches", 60, || hub.events("probes.name:numbers").len() == 3);
    (hub, port)
}

/// All filters of the copy that stages read.
fn in_force(hub: &Hub) -> String {
    let Ok(files) = std::fs::read_dir(hub.path("data/config/current")) else { return String::new() };
    files.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok()).collect()
}

fn tried(browser: &mut Browser, path: &str, filter: &str, more: &str) -> Reply {
    let csrf = browser.get("/status").csrf();
    browser.post(path, &csrf, &format!("filter={}&since=24h&{more}", quoted(filter)))
}

/// What the form says it has seen.
fn seen(page: &Reply) -> String {
    let (_, rest) = page.body.split_once("name=\"seen\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

fn id_of(hub: &Hub, n: u64) -> String {
    let found = hub.events("payload.name:t");
    let event = found.iter().find(|event| event["payload"]["columns"]["n"] == n).unwrap();
    event["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_filter_is_looked_at_tried_and_saved() {
    let (hub, port) = numbers("edit = true\n");
    let mut vera = person(&hub, port, "vera", &[]);
    let list = vera.get("/probes?q=numb&sort=-matches");
    for word in ["Numbers above two", "minor", ">3</td>", "/probes/numbers\""] {
        assert!(list.body.contains(word), "{word}: {}", list.body);
    }
    assert!(!list.body.contains("usb-device") && !list.body.contains("/playground"), "{}", list.body);
    let all = api(port, &token(&hub, &["--scopes", "probes"]), "/probes?sort=-matches&n=1").json();
    assert_eq!((&all["probes"][0]["name"], &all["probes"][0]["matches"]), (&json!("numbers"), &json!(3)), "{all}");
    assert_eq!((&all["probes"][0]["state"], &all["total"], &all["hub_away"]), (&json!("on"), &json!(3), &Value::Null));
    assert!(all["next"].is_string(), "{all}");
    let one = vera.get("/probes/numbers");
    for word in [
        "They are large.",
        "&#9;and .payload.columns.n &gt; 2",
        "it is large",
        "1 hold",
        "class=\"chart\"",
        "probes/numbers.jq",
    ] {
        assert!(one.body.contains(word), "{word}: {}", one.body);
    }
    assert_eq!(vera.get("/probes/nobody").status, 404);
    assert_eq!(vera.get("/probes/numbers/edit").status, 403, "it costs the server");

    let mut ed = person(&hub, port, "ed", &["--role", "editor"]);
    let form = ed.get("/probes/numbers/edit");
    assert!(form.status == 200 && form.body.contains("formaction=\"/probes/numbers/save\""), "{}", form.body);
    let came = tried(&mut ed, "/probes/numbers/try", &ABOVE_THREE.replace('\n', "\r\n"), "");
    for word in
        ["0 new", "1 lost", "2 the same", "all there are", "payload.name:&#34;t&#34;", "Near misses", "✗", "1 hold"]
    {
        assert!(came.status == 200 && came.body.contains(word), "{word}: {}", came.body);
    }
    let wrong = tried(&mut ed, "/probes/numbers/try", ".type ==\n  nothing(1)", "");
    assert!(wrong.status == 400 && wrong.body.contains("numbers:2:3: unknown function"), "{}", wrong.body);
    assert!(wrong.body.contains("2 |   nothing(1)\n  |   ^"), "{}", wrong.body);
    // A word that no event has: what is near is found all the same.
    let typo = tried(&mut ed, "/playground", ".type == \"osquery_result\" and .payload.name == \"tt\"", "");
    assert!(typo.status == 200 && typo.body.contains("<strong>0 match</strong>"), "{}", typo.body);
    assert!(typo.body.contains(".payload.name = &#34;t&#34;"), "{}", typo.body);
    // Nobody is held up for long, whatever somebody tries.
    let begun = Instant::now();
    for hostile in [
        "[range(1e12)] | length > 1",
        "def f: f; f",
        "[limit(1e9; repeat(\"x\"))] | add",
        "\"x\" * 1e9 | test(\"(x+)+$\")",
    ] {
        let reply = tried(&mut ed, "/playground", hostile, "");
        assert!(reply.status == 200 && reply.body.contains("it failed on"), "{hostile}: {}", reply.body);
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(tried(&mut ed, "/playground", &"#".repeat(20_000), "").status, 413);
    let file = tried(&mut ed, "/playground/file", ABOVE_THREE, "probe=numbers");
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"numbers.jq\""));
    assert_eq!(file.body, ABOVE_THREE);

    // Two have it open: the second is told, and loses nothing.
    let mut eve = person(&hub, port, "eve", &["--role", "editor"]);
    let (of_ed, of_eve) = (seen(&form), seen(&eve.get("/probes/numbers/edit")));
    let saved = tried(&mut ed, "/probes/numbers/save", ABOVE_THREE, &format!("seen={of_ed}"));
    assert_eq!((saved.status, saved.header("location")), (303, Some("/probes/numbers?saved=1")), "{}", saved.body);
    assert_eq!(std::fs::read_to_string(hub.path("probes/numbers.jq")).unwrap(), ABOVE_THREE);
    let mine = ABOVE_TWO.replace("> 2", "> 4");
    let told = tried(&mut eve, "/probes/numbers/save", &mine, &format!("seen={of_eve}"));
    assert_eq!(told.status, 409, "{}", told.body);
    for word in ["Somebody else has saved", "n &gt; 4", "Numbers above three"] {
        assert!(told.body.contains(word), "{word}: {}", told.body);
    }
    assert_eq!(std::fs::read_to_string(hub.path("probes/numbers.jq")).unwrap(), ABOVE_THREE);
    let broken = tried(&mut eve, "/probes/numbers/save", ".type ==", &format!("seen={}", seen(&told)));
    assert!(broken.status == 400 && broken.body.contains("do not compile"), "{}", broken.body);
    let again = tried(&mut eve, "/probes/numbers/save", &mine, &format!("seen={}", seen(&told)));
    assert_eq!(again.status, 303, "{}", again.body);
    assert_eq!(std::fs::read_to_string(hub.path("probes/numbers.jq")).unwrap(), mine);
    hub.wait("the saved filter in force", 60, || eve.get("/probes/numbers").body.contains("n &gt; 4"));
    // A program in a table is written there, and all else of the file stays.
    let table = eve.get("/probes/inline/edit");
    let one = ".type == \"it's one\"";
    assert_eq!(tried(&mut eve, "/probes/inline/save", one, &format!("seen={}", seen(&table))).status, 303);
    let text = std::fs::read_to_string(hub.path("probes/numbers.toml")).unwrap();
    assert!(text.contains("[probe.numbers]\nfilter = \"numbers.jq\"") && text.ends_with(" # stays\n"), "{text}");
    assert!(text.contains("it's one"), "{text}");
    // Who is kept to a unit tries, and changes nothing that is about others.
    let mut roy = person(&hub, port, "roy", &["--role", "editor", "--units", "rome"]);
    let page = roy.get("/probes/numbers/edit");
    assert!(page.status == 200 && !page.body.contains("formaction=\"/probes/numbers/save\""), "{}", page.body);
    assert_eq!(tried(&mut roy, "/probes/numbers/save", &mine, &format!("seen={}", seen(&page))).status, 403);
    let nothing = tried(&mut roy, "/probes/numbers/try", ABOVE_TWO, "");
    assert!(nothing.body.contains("0 were looked at") && !nothing.body.contains("it is large"), "{}", nothing.body);
    assert!(!roy.get("/probes/numbers").body.contains("it is large"), "examples are of machines of any unit");
    hub.wait("the audit", 60, || hub.events("type:audit AND payload.action:probe_saved").len() == 3);
}

#[test]
fn an_event_is_explained() {
    let (hub, port) = numbers("");
    let (two, five) = (id_of(&hub, 2), id_of(&hub, 5));
    let mut vera = person(&hub, port, "vera", &[]);
    assert!(vera.get(&format!("/events/{two}")).body.contains(&format!("/events/{two}/explain")));
    let missed = vera.get(&format!("/events/{two}/explain"));
    for word in ["does not match", "✗", "clause by clause", "not its query: t, not zentral/usb-device/"] {
        assert!(missed.status == 200 && missed.body.contains(word), "{word}: {}", missed.body);
    }
    let all = token(&hub, &["--scopes", "probes"]);
    let told = |event: &str, more: &str| api(port, &all, &format!("/events/{event}/explain{more}"));
    let says = |told: &Value| -> Vec<(String, String)> {
        let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        told["probes"].as_array().unwrap().iter().map(|one| (word(one, "probe"), word(one, "says"))).collect()
    };
    let pair = |probe: &str, says: &str| (probe.to_owned(), says.to_owned());
    let of_five = told(&five, "").json();
    assert_eq!(says(&of_five), [pair("numbers", "matched"), pair("inline", "no"), pair("usb-device", "kept")]);
    assert_eq!((&of_five["probes"][0]["then"], &of_five["id"]), (&json!(true), &json!(five)));
    assert_eq!(says(&told(&two, "?probe=numbers").json()), [pair("numbers", "no")]);
    assert_eq!((told(&two, "?probe=nobody").status, told("nobody", "").status), (404, 404));
    // Whoever is kept to another unit sees nothing of it.
    let rome = token(&hub, &["--units", "rome"]);
    assert_eq!(api(port, &rome, &format!("/events/{five}/explain")).status, 404);
}

#[test]
fn events_become_tests() {
    let (hub, port) = numbers("edit = true\n");
    let mut ed = person(&hub, port, "ed", &["--role", "editor"]);
    let (two, five) = (id_of(&hub, 2), id_of(&hub, 5));
    let event = ed.get(&format!("/events/{five}"));
    assert!(
        event.body.contains("<option>numbers</option>") && event.body.contains("/probes/numbers\""),
        "{}",
        event.body
    );
    let page = ed.get(&format!("/examples?probe=numbers&event={five}"));
    assert!(
        page.status == 200 && page.body.contains("a match") && page.body.contains("It should match"),
        "{}",
        page.body
    );
    let mut add =
        |event: &str, more: &str| ed.post("/examples", &page.csrf(), &format!("probe=numbers&event={event}&{more}"));
    assert_eq!(add(&five, "match=maybe").status, 400);
    assert_eq!(add("nobody", "match=yes").status, 404);
    let added = add(&five, "match=yes&why=the+largest");
    assert_eq!((added.status, added.header("location")), (303, Some("/probes/numbers?added=1")), "{}", added.body);
    let twice = add(&five, "match=yes");
    assert!(twice.status == 409 && twice.body.contains("has this event already"), "{}", twice.body);
    let otherwise = add(&two, "match=yes");
    assert!(otherwise.status == 409 && otherwise.body.contains("The filter says otherwise"), "{}", otherwise.body);
    assert_eq!(add(&two, "match=yes&force=1").status, 303);
    let lines = std::fs::read_to_string(hub.path("probes/numbers.ndjson")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["why"], &lines[1]["event"]["id"]), (3, &json!("the largest"), &json!(five)));
    assert!(lines[1]["event"].get("probes").is_none(), "what filters wrote is not part of it");
    let probe = ed.get("/probes/numbers");
    assert!(probe.body.contains("2 hold") && probe.body.contains("1 fail"), "{}", probe.body);
    assert_eq!(hub.run(&["test", "numbers"]).status.code(), Some(1), "and `zentral test` says the same");
    // Nothing is left beside the files.
    let left: Vec<String> =
        std::fs::read_dir(hub.path("probes")).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

#[test]
fn without_leave_nothing_is_written() {
    let (hub, port) = numbers("");
    let mut ada = person(&hub, port, "ada", &["--role", "admin"]);
    let page = ada.get("/probes/numbers/edit");
    assert!(
        page.body.contains("edit = true") && !page.body.contains("formaction=\"/probes/numbers/save\""),
        "{}",
        page.body
    );
    assert_eq!(tried(&mut ada, "/probes/numbers/save", ABOVE_THREE, &format!("seen={}", seen(&page))).status, 403);
    let id = id_of(&hub, 5);
    let ask = ada.get(&format!("/examples?probe=numbers&event={id}"));
    assert!(ask.body.contains(&format!("zentral test add numbers {id} yes")), "{}", ask.body);
    let csrf = page.csrf();
    assert_eq!(ada.post("/examples", &csrf, &format!("probe=numbers&event={id}&match=yes")).status, 403);
    assert_eq!(std::fs::read_to_string(hub.path("probes/numbers.jq")).unwrap(), ABOVE_TWO);
    // As JSON, for an editor's token of this scope.
    let secret = token(&hub, &["--role", "editor", "--scopes", "probes"]);
    let headers =
        format!("Authorization: Bearer {secret}\r\nAccept: application/json\r\nContent-Type: application/json\r\n");
    let body = json!({"filter": ABOVE_THREE, "since": "24h"}).to_string();
    let came = Browser::new(port).send("POST", "/probes/numbers/try", &headers, &body).json();
    assert_eq!(
        (&came["new"], &came["lost"], &came["same"], &came["whole"]),
        (&json!(0), &json!(1), &json!(2), &json!(true)),
        "{came}"
    );
    assert_eq!(came["near"][0]["line"], 2, "{came}");
    assert_eq!(came["lost_hits"].as_array().unwrap().len(), 1);
}
