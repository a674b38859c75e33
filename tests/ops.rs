//! Incidents, actions and live queries on the console of a running hub: who sees them, what a form does to the hub, and
//! that what machines say stays text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "console/browser.rs"]
mod browser;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use browser::{Browser, Reply, hub, person, start};
use serde_json::{Value, json};
use support::agent::Agent;
use support::hub::Hub;
use support::receiver::{self, Receiver};

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}gpj";

fn up(more: &str, env: &[(&str, &str)]) -> (Hub, u16) {
    let (mut made, port) = hub("\n[unit.rome]", more);
    env.iter().for_each(|(name, value)| made.env(name, value));
    start((made, port))
}

fn agent(hub: &Hub, unit: &str, serial: &str) -> Agent {
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret_of(unit), serial);
    hub.wait("the agent to enrol", 30, || agent.enrol().is_ok());
    agent
}

fn record(columns: &Value) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({"name": "t", "hostIdentifier": "h", "unixTime": now, "counter": 3, "action": "added", "columns": columns})
}

/// A receiver that answers this status, whatever it is at the time.
fn receiver(status: &Arc<AtomicU16>) -> Receiver {
    let status = status.clone();
    Receiver::start(move |_, _| receiver::Reply::Answer(status.load(Ordering::SeqCst), "", "ok"))
}

fn bodies(receiver: &Receiver) -> Vec<Value> {
    let seen = receiver.seen.lock().unwrap();
    seen.requests.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
}

fn json_of(browser: &mut Browser, path: &str) -> Value {
    let reply = browser.send("GET", path, "Accept: application/json\r\n", "");
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.json()
}

/// Fills in a form of this page.
fn send(browser: &mut Browser, page: &str, path: &str, form: &str) -> Reply {
    let csrf = browser.get(page).csrf();
    browser.post(path, &csrf, form)
}

fn is_text(page: &Reply, place: &str) {
    assert!(page.body.len() < 200_000, "{place}");
    for word in ["<script>alert", "<img", "\u{202e}"] {
        assert!(!page.body.contains(word), "{place} holds {word}:\n{}", page.body);
    }
}

fn audited(hub: &Hub, actions: &[&str], by: &str) {
    hub.wait("the audit in the store", 60, || {
        let told = hub.events("type:audit");
        let has = |action: &&str| told.iter().any(|e| e["payload"]["action"] == **action && e["payload"]["by"] == by);
        actions.iter().all(has)
    });
}

#[test]
fn an_incident_is_taken_and_closed() {
    let told = receiver(&Arc::new(AtomicU16::new(200)));
    let (hub, port) = up(
        &format!(
            "[action.siem]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/\"\n\
             body = '{{state, by: .incident.by, comment: .incident.comment}}'\n\
             [probe.bad]\nfilter = '.payload.columns.bad | strings | {{title: .}}'\nuntil = '.payload.columns.good'\nact = [\"siem\"]\n\
             [probe.of-user]\nfilter = '.payload.columns.user'\nby = '.payload.columns.user'\nuntil = 'false'\n",
            told.port
        ),
        &[],
    );
    let (mut ed, mut vera) = (person(&hub, port, "ed", &["--role", "editor"]), person(&hub, port, "vera", &[]));
    assert!(vera.get("/incidents").body.contains("Nothing is open"));
    assert_eq!(vera.get("/incidents/0123456789abcdef0123").status, 404);
    let (mut here, mut there) = (agent(&hub, "default", "HERE1"), agent(&hub, "rome", "THERE1"));
    assert!(here.log(&[record(&json!({"bad": HOSTILE})), record(&json!({"user": "ada"}))]).unwrap());
    assert!(there.log(&[record(&json!({"bad": "in rome"}))]).unwrap());
    hub.wait("three incidents", 60, || json_of(&mut vera, "/incidents")["incidents"].as_array().unwrap().len() == 3);
    let all = json_of(&mut vera, "/incidents?q=bad");
    assert_eq!(all["incidents"].as_array().unwrap().len(), 2, "by the name of the probe: {all}");
    let mut cursor = String::new();
    let mut seen = Vec::new();
    loop {
        let page = json_of(&mut vera, &format!("/incidents?n=1&after={cursor}"));
        seen.extend(page["incidents"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        next.clone_into(&mut cursor);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "each on one page");
    let of = |machine: &str| {
        all["incidents"].as_array().unwrap().iter().find(|one| one["machine"] == machine).unwrap().clone()
    };
    let (mine, romes) = (
        format!("/incidents/{}", of("HERE1")["id"].as_str().unwrap()),
        format!("/incidents/{}", of("THERE1")["id"].as_str().unwrap()),
    );

    // Who is kept to a unit sees what is about its machines, and nothing that may tell of others.
    let mut rosa = person(&hub, port, "rosa", &["--role", "editor", "--units", "rome"]);
    hub.wait("the machine of rome", 30, || {
        json_of(&mut rosa, "/incidents")["incidents"].as_array().unwrap().len() == 1
    });
    assert_eq!((rosa.get(&romes).status, rosa.get(&mine).status), (200, 404));
    assert_eq!(send(&mut rosa, "/incidents", &format!("{mine}/close"), "").status, 404);

    for path in ["/incidents", "/incidents?state=closed&q=%3Cscript%3E&severity=x&after=x", &mine, "/"] {
        is_text(&vera.get(path), path);
    }
    assert!(vera.get("/incidents").body.contains("&#60;script&#62;alert(1)"), "it is shown, as text");
    for (path, follows) in [("/events", false), ("/events?live=1", true), ("/events?live=1&q=type:a+AND", false)] {
        assert_eq!(vera.get(path).body.contains("data-live="), follows, "{path}");
    }
    let page = vera.get(&mine);
    assert!(!page.body.contains("<form method=\"post\" action=\"/incidents"), "a viewer looks");
    assert_eq!(vera.post(&format!("{mine}/take"), &page.csrf(), "").status, 403);

    assert_eq!(send(&mut ed, &mine, &format!("{mine}/comment"), "comment=+").status, 400);
    let taken = send(&mut ed, &mine, &format!("{mine}/take"), &format!("comment={}", "on%20my%20way%20%3Cb%3E"));
    assert_eq!((taken.status, taken.header("location")), (303, Some(format!("{mine}?asked=take").as_str())));
    assert!(ed.get(&format!("{mine}?asked=take")).body.contains("data-live=\"2\""));
    hub.wait("that it is taken", 30, || json_of(&mut ed, &mine)["status"] == "taken");
    assert_eq!(
        (&json_of(&mut ed, &mine)["by"], &json_of(&mut ed, "/incidents?state=taken")["incidents"][0]["by"]),
        (&json!("ed"), &json!("ed"))
    );
    assert_eq!(send(&mut ed, &mine, &format!("{mine}/comment"), "comment=rebooted").status, 303);
    assert_eq!(send(&mut ed, &mine, &format!("{mine}/close"), "comment=done").status, 303);
    hub.wait("that it is closed", 30, || json_of(&mut ed, &mine)["status"] == "closed");
    assert_eq!(send(&mut ed, "/incidents", &format!("{mine}/close"), "").status, 409);
    let closed = json_of(&mut ed, "/incidents?state=closed");
    assert_eq!(
        (closed["incidents"].as_array().unwrap().len(), &closed["incidents"][0]["machine"]),
        (1, &json!("HERE1"))
    );
    hub.wait("the outcomes", 60, || bodies(&told).len() == 5);
    let said: Vec<Value> = bodies(&told).into_iter().filter(|body| body["by"] == "ed").collect();
    assert_eq!(
        said,
        [
            json!({"state": "changed", "by": "ed", "comment": "on my way <b>"}),
            json!({"state": "changed", "by": "ed", "comment": "rebooted"}),
            json!({"state": "closed", "by": "ed", "comment": "done"}),
        ]
    );
    // Its history, and who was told, as the store knows them.
    hub.wait("its history", 60, || {
        let history = json_of(&mut ed, &mine)["history"].as_array().unwrap().clone();
        let count = |word: &str| history.iter().filter(|e| e["type"].as_str().unwrap().starts_with(word)).count();
        (count("incident_"), count("action_done")) == (4, 4)
    });
    let page = ed.get(&mine);
    for says in ["on my way &#60;b&#62;", "commented", "rebooted", "HERE1", ">siem</td>"] {
        assert!(page.body.contains(says), "{says}: {}", page.body);
    }
    is_text(&page, &mine);
    audited(&hub, &["act_take", "act_comment", "act_close"], "user:ed");
}

#[test]
fn an_action_is_looked_after() {
    let status = Arc::new(AtomicU16::new(400));
    let siem = receiver(&status);
    let (hub, port) = up(
        "[action.siem]\nkind = \"http\"\nurl = { env = \"SIEM_URL\" }\nbody = '{title, n: .event.payload.columns.n}'\n\
         [probe.hit]\nfilter = '.payload.columns.n'\nact = [\"siem\"]\n",
        &[("SIEM_URL", &format!("http://127.0.0.1:{}/hunter2", siem.port))],
    );
    let (mut ed, mut vera) = (person(&hub, port, "ed", &["--role", "editor"]), person(&hub, port, "vera", &[]));
    let mut rosa = person(&hub, port, "rosa", &["--role", "editor", "--units", "rome"]);
    let mut agent = agent(&hub, "default", "ACT1");
    let fresh = json_of(&mut vera, "/actions");
    assert_eq!((&fresh["actions"][0]["action"], &fresh["actions"][0]["done"]), (&json!("siem"), &json!(0)));
    let hits: Vec<Value> = (1..=3).map(|n| record(&json!({"n": n.to_string()}))).collect();
    assert!(agent.log(&hits).unwrap());
    hub.wait("three dead letters", 60, || json_of(&mut vera, "/actions")["actions"][0]["dead_letters"] == 3);
    let first = json_of(&mut vera, "/actions/siem?n=2");
    assert_eq!(
        (first["dead"].as_array().unwrap().len(), &first["failed"], first["next"].is_string()),
        (2, &json!(3), true)
    );
    let second = json_of(&mut vera, &format!("/actions/siem?n=2&after={}", first["next"].as_str().unwrap()));
    assert_eq!((second["dead"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    let page = vera.get("/actions/siem");
    assert!(page.body.contains("400") && !page.body.contains("action=\"/actions/siem"), "{}", page.body);
    for path in ["/actions", "/actions/siem"] {
        assert_eq!(rosa.get(path).status, 403, "who is kept to units sees no action");
        assert!(!ed.get(path).body.contains("hunter2"), "a secret on {path}");
    }
    assert!(!rosa.get("/incidents").body.contains("href=\"/actions\""));
    let csrf = rosa.get("/incidents").csrf();
    assert_eq!(rosa.post("/actions/siem/mute", &csrf, "time=1h").status, 403);
    assert_eq!((ed.get("/actions/nobody").status, ed.get("/actions/hit").status), (404, 404));
    for (path, form, want) in [
        ("mute", "time=never", 400),
        ("mute", "time=32d", 400),
        ("retry", "", 400),
        ("retry", "id=nothing", 404),
        ("retry", "until=1", 409),
        ("try", "event=nothing", 400),
    ] {
        assert_eq!(
            send(&mut ed, "/actions/siem", &format!("/actions/siem/{path}"), form).status,
            want,
            "{path} {form}"
        );
    }

    // Asked for first, with how many messages go out; then one, then the rest.
    let page = ed.get("/actions/siem");
    assert!(page.body.contains("Send 3 messages"), "{}", page.body);
    status.store(200, Ordering::SeqCst);
    let id = first["dead"][0]["id"].as_str().unwrap();
    let sent = ed.post("/actions/siem/retry", &page.csrf(), &format!("id={id}"));
    assert_eq!((sent.status, sent.header("location")), (303, Some("/actions/siem?asked=retry")));
    hub.wait("one to be sent again", 30, || json_of(&mut ed, "/actions")["actions"][0]["dead_letters"] == 2);
    let until = page.body.split("name=\"until\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(ed.post("/actions/siem/retry", &page.csrf(), &format!("until={until}")).status, 303);
    hub.wait("all to be sent again", 30, || json_of(&mut ed, "/actions")["actions"][0]["done"] == 3);

    let before = bodies(&siem).len();
    assert_eq!(send(&mut ed, "/actions/siem", "/actions/siem/try", "").status, 303);
    hub.wait("the test", 30, || bodies(&siem).len() == before + 1);
    assert!(bodies(&siem)[before]["title"].as_str().unwrap().starts_with("[test] "));
    hub.wait("the match in the store", 60, || !hub.events("payload.columns.n:2").is_empty());
    let event = hub.events("payload.columns.n:2")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(send(&mut ed, "/actions/siem", "/actions/siem/try", &format!("event={event}")).status, 303);
    hub.wait("the test with an event", 30, || bodies(&siem).len() == before + 2);
    assert_eq!(bodies(&siem)[before + 1]["n"], "2");

    assert_eq!(send(&mut ed, "/actions/siem", "/actions/siem/mute", "time=2h").status, 303);
    hub.wait("the mute", 30, || json_of(&mut ed, "/actions")["muted"]["siem"].is_string());
    assert!(ed.get("/actions/siem").body.contains("Muted until"));
    assert!(agent.log(&[record(&json!({"n": "9"}))]).unwrap());
    hub.wait("the drop", 30, || json_of(&mut ed, "/actions")["actions"][0]["dropped"] == 1);
    assert_eq!(send(&mut ed, "/actions/siem", "/actions/siem/resume", "").status, 303);
    hub.wait("the end of the mute", 30, || json_of(&mut ed, "/actions")["muted"] == json!({}));
    assert_eq!(bodies(&siem).len(), before + 2, "what was muted is not sent later");
    hub.ok(&["act", "mute", "hit", "1h"]);
    hub.wait("the probe's mute", 30, || ed.get("/actions").body.contains("hit until"));
    assert_eq!(send(&mut ed, "/actions", "/actions/hit/resume", "").status, 303);
    audited(&hub, &["act_retry", "act_try", "act_mute", "act_resume"], "user:ed");
    audited(&hub, &["act_mute"], "command line");
    let told = serde_json::to_string(&hub.events("type:audit")).unwrap();
    assert!(!told.contains("hunter2") && !hub.log().contains("hunter2"), "a secret is told");
}

/// What an agent of osquery is asked, as name and SQL.
fn asked(hub: &Hub, agent: &mut Agent) -> (String, String) {
    let mut found = None;
    hub.wait("a query", 30, || {
        let key = json!({"node_key": agent.node_key});
        let (_, answer) = agent.client.post("/public/osquery/distributed/read", &key).unwrap();
        let first = answer["queries"].as_object().and_then(|all| all.iter().next());
        found = first.map(|(name, sql)| (name.clone(), sql.as_str().unwrap().to_owned()));
        found.is_some()
    });
    found.unwrap()
}

fn answer(agent: &mut Agent, mut body: Value) {
    body["node_key"] = json!(agent.node_key);
    let (status, _) = agent.client.post("/public/osquery/distributed/write", &body).unwrap();
    assert_eq!(status, 200);
}

#[test]
fn machines_are_asked_now() {
    let (hub, port) = up("", &[]);
    let mut ed = person(&hub, port, "ed", &["--role", "editor"]);
    let mut vera = person(&hub, port, "vera", &[]);
    let mut rosa = person(&hub, port, "rosa", &["--role", "editor", "--units", "rome"]);
    assert_eq!(vera.get("/query").status, 403, "a viewer asks nobody");
    let nobody = send(&mut ed, "/query", "/query", "sql=select+1");
    assert!(nobody.status == 200 && nobody.body.contains("Nobody would be asked"), "{}", nobody.body);
    let (mut here, mut there) = (agent(&hub, "default", "HERE1"), agent(&hub, "rome", "THERE1"));
    hub.wait("both machines", 30, || json_of(&mut ed, "/machines")["total"] == 2);
    for (form, says, status) in [
        ("sql=drop+table+x", "The SQL is wrong", 400),
        ("sql=", "The SQL is wrong", 400),
        ("sql=select+1&unit=atlantis", "no unit `atlantis`", 400),
        ("sql=select+1&scope=tag%3Da", "did you mean `tags`", 400),
        ("sql=select+1&wait=8d", "at most 7d", 400),
        ("sql=select+1&max=0", "a number from 1", 400),
    ] {
        let reply = send(&mut ed, "/query", "/query", form);
        assert!(reply.status == status && reply.body.contains(says), "{form}: {} {}", reply.status, reply.body);
    }
    assert_eq!(send(&mut rosa, "/query", "/query", "sql=select+1&unit=default&sure=yes").status, 403);

    // Nothing is sent before somebody has seen whom it reaches.
    let sure = send(&mut ed, "/query", "/query", "sql=select+1+as+%22%3Cb%3E%22&wait=1h");
    assert!(sure.status == 200 && sure.body.contains("2 machines would be asked"), "{}", sure.body);
    assert_eq!(json_of(&mut ed, "/query")["queries"], json!([]));
    let sent = ed.post("/query", &sure.csrf(), "sql=select+1+as+%22%3Cb%3E%22&wait=1h&sure=yes&scope=");
    let path = sent.header("location").unwrap().to_owned();
    assert!(sent.status == 303 && path.starts_with("/query/"), "{}", sent.head);
    let page = ed.get(&path);
    assert!(page.body.contains("data-live=\"3\"") && page.body.contains("No answer has come yet"), "{}", page.body);
    let (name, sql) = asked(&hub, &mut here);
    assert_eq!(sql, "select 1 as \"<b>\"");
    answer(
        &mut here,
        json!({"queries": {&name: [{HOSTILE: HOSTILE, "f": "=cmd|' /c calc'!A0"}]}, "statuses": {&name: 0}}),
    );
    let (name, _) = asked(&hub, &mut there);
    answer(&mut there, json!({"queries": {&name: []}, "statuses": {&name: 1}, "messages": {&name: "no such table"}}));
    hub.wait("the row", 60, || json_of(&mut ed, &path)["rows"].as_array().unwrap().len() == 1);
    hub.wait("who was asked", 60, || json_of(&mut ed, &path)["answered"] == 2);
    assert_eq!(json_of(&mut ed, &path)["rows"][0]["columns"][HOSTILE], HOSTILE);
    hub.wait("who could not", 60, || ed.get(&path).body.contains("could not: no such table"));
    for path in [&path, "/query", "/query?sql=%3Cscript%3Ealert(1)", &format!("{path}?after=x")] {
        is_text(&ed.get(path), path);
    }
    let sheet = ed.get(&format!("{path}/rows.csv"));
    assert_eq!(sheet.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(sheet.body.contains("'=cmd|' /c calc'!A0") && !sheet.body.contains(",=cmd"), "{}", sheet.body);
    assert_eq!((rosa.get(&path).status, vera.get(&path).status), (404, 403), "another's query");

    // Who is kept to a unit asks its machines, whatever the form says.
    let sure = send(&mut rosa, "/query", "/query", "sql=select+2");
    assert!(sure.body.contains("1 machine would be asked"), "{}", sure.body);
    let sent = rosa.post("/query", &sure.csrf(), "sql=select+2&sure=yes&wait=1h");
    let theirs = sent.header("location").unwrap().to_owned();
    assert_eq!(asked(&hub, &mut there).1, "select 2");
    let key = json!({"node_key": here.node_key});
    let (_, none) = here.client.post("/public/osquery/distributed/read", &key).unwrap();
    assert!(none["queries"].as_object().is_none_or(serde_json::Map::is_empty), "{none}");
    assert_eq!(json_of(&mut rosa, "/query")["queries"].as_array().unwrap().len(), 1);
    assert_eq!(json_of(&mut ed, "/query")["queries"].as_array().unwrap().len(), 2);
    assert_eq!(send(&mut rosa, "/query", &format!("{path}/cancel"), "").status, 404);
    assert_eq!(send(&mut ed, "/query", &format!("{theirs}/cancel"), "").status, 303);
    assert_eq!(json_of(&mut rosa, &theirs)["state"], "cancelled");
    assert_eq!(send(&mut ed, "/query", &format!("{theirs}/cancel"), "").status, 409);

    // A program says `sure` at once.
    let made: Value =
        serde_json::from_str(&hub.ok(&["token", "new", "ci", "--role", "editor", "--scopes", "query"])).unwrap();
    let bearer = format!(
        "Authorization: Bearer {}\r\nAccept: application/json\r\nContent-Type: application/json\r\n",
        made["token"].as_str().unwrap()
    );
    let mut ci = Browser::new(port);
    let would = ci.send("POST", "/query", &bearer, "{\"sql\":\"select 3\",\"machines\":[\"HERE1\"]}");
    assert_eq!((would.status, &would.json()["machines"]), (200, &json!(1)));
    let sent = ci.send("POST", "/query", &bearer, "{\"sql\":\"select 3\",\"machines\":[\"HERE1\"],\"sure\":true}");
    assert_eq!(sent.status, 201, "{}", sent.body);
    assert_eq!(asked(&hub, &mut here).1, "select 3");
    audited(&hub, &["query_asked"], "user:rosa");
    audited(&hub, &["query_asked", "query_cancelled"], "user:ed");
}
