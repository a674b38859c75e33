//! Slack and plain HTTP: what is sent, and what is made of the answers.

use std::time::{Duration, Instant};

use pipe::Exit;
use serde_json::json;

use crate::fake::{Http, Say, say};
use crate::hub::{How, Hub, SPEED, fresh, new_id};

fn slack(fake: &Http, more: &str) -> Hub {
    Hub::new(&format!("[action.slack]\nkind = \"slack\"\nurl = \"{}/services/T0/B0/secretsecret\"\n{more}\n", fake.url))
}

#[test]
fn a_slack_in_trouble_gets_each_message_once() {
    let later = Say::Http(429, "Retry-After: 7\r\n", String::new());
    let fake = Http::start(vec![later, say(500, "oops"), Say::Close, Say::Hang, say(200, "ok")]);
    let hub = slack(&fake, "timeout = \"250ms\"");
    let ids = [new_id(), new_id(), new_id()];
    hub.feed(&ids.iter().map(|id| fresh(id, &["slack"])).collect::<Vec<_>>());
    assert_eq!(hub.run(), Exit::Done);
    let got = fake.got();
    let text = |id: &str| format!("USB &lt;b&gt; &amp; *{id}*");
    for id in &ids {
        let mine: Vec<_> = got.iter().filter(|g| g.body.contains(&format!("*{id}*"))).collect();
        assert!(mine.iter().all(|g| g.key() == mine[0].key()), "one key for every try: {mine:?}");
        assert!(mine[0].json()["text"].as_str().unwrap().contains(&text(id)), "{}", mine[0].body);
    }
    assert_eq!(got.len(), 4 + 3, "four tries that failed, and each message once");
    let waited = got[1].at.duration_since(got[0].at).as_millis() as i64 * SPEED;
    assert!(waited >= 6_500, "Retry-After is honoured: {waited} ms");
    for g in &got {
        assert_eq!(g.line, "POST /services/T0/B0/secretsecret HTTP/1.1");
        assert_eq!(g.headers["content-type"], "application/json");
        assert!(g.headers["user-agent"].starts_with("zentral/"));
    }
    let told = hub.told();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|(kind, p)| kind == "action_done" && p["outcome"] == "done" && p["status"] == 200));
    let tries: u64 = told.iter().map(|(_, p)| p["tries"].as_u64().unwrap()).sum();
    assert_eq!(tries, 7);
    assert_eq!(hub.sums(), [("done".to_owned(), 3), ("in".to_owned(), 3)]);
}

#[test]
fn what_slack_calls_wrong_is_dead_at_once_and_tells_no_secret() {
    let fake =
        Http::start(vec![say(404, "no_service /services/T0/B0/secretsecret"), say(200, "not ok"), say(200, "ok")]);
    let hub = slack(&fake, "");
    hub.feed(&[fresh(&new_id(), &["slack"]), fresh(&new_id(), &["slack"]), fresh(&new_id(), &["slack"])]);
    assert_eq!(hub.run(), Exit::Done);
    assert_eq!(fake.got().len(), 3);
    let told = hub.told();
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["action_failed", "action_failed", "action_done"]);
    assert_eq!(told[0].1["error"], "status 404: no_service ***");
    assert_eq!(told[0].1["status"], 404);
    let dead = hub.dead();
    assert_eq!(dead.len(), 2);
    assert_eq!((dead[1]["error"].as_str(), dead[1]["tries"].as_u64()), (Some("status 200: not ok"), Some(1)));
    let closed = Http::start(vec![Say::Close]);
    let gone = format!("{}/secretsecret", closed.url);
    let hub = Hub::new(&format!("[action.a]\nkind = \"http\"\nurl = \"{gone}\"\ngive_up = \"2m\"\n"));
    hub.feed(&[fresh(&new_id(), &["a"])]);
    hub.run();
    let error = hub.dead()[0]["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("given up: ") && !error.contains("secretsecret"), "{error}");
    assert!(closed.got().len() >= 2, "it was tried more than once");
}

#[test]
fn plain_http_as_configured() {
    let fake = Http::start(vec![say(202, ""), say(200, ""), Say::Http(302, "Location: /elsewhere\r\n", String::new())]);
    let action = format!(
        "[action.siem]\nkind = \"http\"\nurl = \"{}/in?x=1\"\nmethod = \"PUT\"\nok = '.status == 202'\n\
         headers = {{ Authorization = \"Bearer t\" }}\nhmac = {{ header = \"X-Sum\", secret = \"Jefe\" }}\n\
         body = '{{title: .probe.context.title, host: .event.machine.hostname, url, action, id: .event.id}}'\n",
        fake.url
    );
    let hub = Hub::new(&action);
    let id = new_id();
    hub.feed(&[fresh(&id, &["siem"]), fresh(&new_id(), &["siem"]), fresh(&new_id(), &["siem"])]);
    hub.run();
    let got = fake.got();
    assert_eq!(got.len(), 3, "redirects are not followed");
    assert_eq!(got[0].line, "PUT /in?x=1 HTTP/1.1");
    assert_eq!(got[0].headers["authorization"], "Bearer t");
    assert!(got[0].headers["x-sum"].starts_with("sha256="));
    let want = json!({"title": format!("USB <b> & *{id}*"), "host": "ada-mbp", "url": "https://hub.example.com", "action": "siem", "id": id});
    assert_eq!(got[0].json(), want);
    assert_ne!(got[0].key(), got[1].key());
    let outcomes: Vec<String> = hub.told().iter().map(|(_, p)| p["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["done", "dead", "dead"]);
}

#[test]
fn a_program_that_fails_on_an_answer_decides_nothing() {
    let echo = "<html>Bearer tokentoken? tokentoken!</html>";
    let long = "x".repeat(50) + "tokentoken";
    for (programs, says, outcome, error) in [
        ("ok = '.body.done'", vec![say(502, echo), say(202, echo)], "dead", "status 202: `ok`: "),
        ("ok = '.status == 200'\nlater = '.body.busy'", vec![say(503, echo), say(200, "")], "done", ""),
        ("ok = '.body.done'", vec![say(404, &(long + "more"))], "dead", "status 404: `ok`: "),
        ("ok = '.status == 200'", vec![say(404, echo)], "dead", "status 404: <html>***? ***!</html>"),
        ("ok = '.status == 200'\nlater = '.body.busy'", vec![say(400, echo)], "dead", "status 400: `later`: "),
    ] {
        let fake = Http::start(says.clone());
        let hub = Hub::new(&format!(
            "[action.a]\nkind = \"http\"\nurl = \"{}/\"\nheaders = {{ Authorization = \"Bearer tokentoken\" }}\n{programs}\n",
            fake.url
        ));
        hub.feed(&[fresh(&new_id(), &["a"])]);
        hub.run();
        let told = hub.told();
        assert_eq!((told[0].1["outcome"].as_str(), fake.got().len()), (Some(outcome), says.len()), "{programs}");
        let said = told[0].1["error"].as_str().unwrap_or("");

        assert!(said.starts_with(error) && !said.contains("token"), "{programs}: {said}");
    }
}

#[test]
fn a_preset_of_ones_own_and_the_whole_event() {
    let fake = Http::start(vec![Say::Http(200, "Content-Type: application/json\r\n", r#"{"done":true}"#.into())]);
    let hub = Hub::new(&format!(
        "[action.a]\nkind = \"mine\"\nurl = \"{0}/a\"\n[action.b]\nkind = \"http\"\nurl = \"{0}/b\"\n",
        fake.url
    ));
    std::fs::create_dir(hub.dir.path().join("actions")).unwrap();
    let preset =
        "body = '{t: .probe.name}'\nok = '.body.done and .headers[\"content-type\"] != null'\n[limits]\nt = 2\n";
    std::fs::write(hub.dir.path().join("actions/mine.toml"), preset).unwrap();
    let id = new_id();
    hub.feed(&[fresh(&id, &["a", "b"])]);
    assert_eq!(hub.run(), Exit::Done);
    let mut got = fake.got();
    got.sort_by(|x, y| x.line.cmp(&y.line));
    assert_eq!(got[0].json(), json!({"t": "u…"}));
    assert_eq!(got[1].json()["id"], id);
    assert_ne!(got[0].key(), got[1].key(), "two deliveries, two keys");
    assert_eq!(hub.told().len(), 2);
}

#[test]
fn a_hanging_receiver_delays_nobody_else() {
    let (slow, quick) = (Http::start(vec![Say::Hang]), Http::start(vec![say(200, "ok")]));
    let hub = Hub::new(&format!(
        "[action.slow]\nkind = \"http\"\nurl = \"{}/\"\n[action.quick]\nkind = \"http\"\nurl = \"{}/\"\nparallel = 4\n",
        slow.url, quick.url
    ));
    hub.feed(&(0..40).map(|_| fresh(&new_id(), &["slow", "quick"])).collect::<Vec<_>>());
    let begun = Instant::now();
    let running = hub.start(How::default());
    quick.wait_for(40);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(slow.got().len(), 1, "one place in its lane");
    crate::fake::wait("the sum", || running.metric("zentral_actions_total{action=\"quick\",outcome=\"done\"") == 40.0);
    assert_eq!(running.metric("zentral_actions_pending{action=\"slow\""), 40.0);
    assert_eq!(running.metric("zentral_event_delay_seconds_count"), 40.0);
    running.kill();
}

#[test]
fn failures_side_by_side_are_one() {
    let mut says: Vec<Say> = (0..8).map(|_| Say::Close).collect();
    says.push(say(200, "ok"));
    let fake = Http::start(says);
    let hub = Hub::new(&format!("[action.a]\nkind = \"http\"\nurl = \"{}/\"\nparallel = 8\n", fake.url));
    hub.feed(&(0..20).map(|_| fresh(&new_id(), &["a"])).collect::<Vec<_>>());
    hub.run();
    let got = fake.got();
    assert_eq!((got.len(), hub.told().len()), (28, 20));
    let all = got[27].at.duration_since(got[0].at).as_millis() as i64 * SPEED;
    assert!(all < 30_000, "eight in a row would have been 128 s of pause: {all} ms");
}

#[test]
fn a_rate_keeps_its_distance() {
    let fake = Http::start(vec![say(200, "ok")]);
    let hub = slack(&fake, "rate = \"1/m\"\nparallel = 4");
    hub.feed(&(0..3).map(|_| fresh(&new_id(), &["slack"])).collect::<Vec<_>>());
    hub.run();
    let got = fake.got();
    let gap = |i: usize| got[i + 1].at.duration_since(got[i].at).as_millis() as i64 * SPEED;
    assert!(gap(0) >= 55_000 && gap(1) >= 55_000, "{} {}", gap(0), gap(1));
}
