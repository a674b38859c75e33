//! What becomes of an incident where people read of it: one thread, one alert, one line of messages each.

use act::actions::{Answer, Verdict};
use act::told::Phase;
use serde_json::{Value, json};

use crate::every::rows::rows;
use crate::fakes::{Fake, Request, pagerduty, slack, twilio};
use crate::hub::{Hub, fresh};
use crate::presets::{Opened, call};

/// Tells an action of this preset what becomes of an incident; what it sent.
fn told(name: &str, states: &[(Phase, &str)]) -> (Vec<Request>, Vec<Answer>) {
    let row = rows().into_iter().find(|row| row.name == name).unwrap();
    let fake = Fake::start((row.service)(), vec![]);
    let hub = Hub::new(&row.action(&fake.url, ""));
    let action = Opened::new(&hub, "a", false);
    let (line, mut reference, mut answers) = (fresh("e-1", &["a"]), None, Vec::new());
    for (state, status) in states {
        let mut call = call(&line, Some(*state), reference.clone());
        call.target = action.targets[0].clone();
        call.told.incident.as_mut().unwrap().status = (*status).to_owned();
        let answer = action.send(&call);
        assert_eq!(answer.verdict, Verdict::Done, "{name}: {}", answer.error);
        reference = answer.reference.clone().or(reference);
        answers.push(answer);
    }
    (fake.got(), answers)
}

const WHOLE: [(Phase, &str); 4] =
    [(Phase::Opened, "open"), (Phase::Changed, "open"), (Phase::Changed, "taken"), (Phase::Closed, "closed")];

#[test]
fn slack_has_a_thread_for_each_incident() {
    let (got, answers) = told("slack-bot", &WHOLE);
    let ts = "1700000000.000000";
    assert_eq!(answers[0].reference, Some(json!({"id": ts, "channel": slack::CHANNEL})));
    assert!(answers[1..].iter().all(|answer| answer.reference.is_none()), "a reply is no thread");
    let threads: Vec<Value> = got.iter().map(|request| request.json()["thread_ts"].clone()).collect();
    assert_eq!(threads, [Value::Null, ts.into(), ts.into(), ts.into()]);
    let broadcast: Vec<bool> = got.iter().map(|request| request.json()["reply_broadcast"] == true).collect();
    assert_eq!(broadcast, [false, false, false, true], "the end is told in the channel, too");
    assert!(got[3].json()["text"].as_str().unwrap().starts_with("*Closed: USB"), "{}", got[3].json());
    let (got, _) = told("slack-bot", &[(Phase::Closed, "closed")]);
    assert!(got.is_empty(), "of what nobody heard nothing is closed");
}

#[test]
fn google_chat_has_a_thread_for_each_incident() {
    let (got, answers) = told("google-chat", &WHOLE);
    for request in &got {
        assert_eq!(request.json()["thread"]["threadKey"], "00112233445566778899");
        assert_eq!(request.query["messageReplyOption"], "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD");
    }
    assert_eq!((got.len(), answers.len()), (4, 4));
}

#[test]
fn pagerduty_has_an_alert_for_each_incident() {
    let fake = pagerduty::PagerDuty::default();
    let alerts = fake.alerts.clone();
    let server = Fake::start(fake, vec![]);
    let hub = Hub::new(&format!(
        "[action.a]\nkind = \"pagerduty\"\nurl = \"{}\"\nrouting_key = \"{}\"\n",
        server.url,
        pagerduty::KEY
    ));
    let action = Opened::new(&hub, "a", false);
    let line = fresh("e-1", &["a"]);
    for ((state, status), want) in WHOLE.iter().zip(["triggered error", "triggered error", "acknowledged", "resolved"])
    {
        let mut call = call(&line, Some(*state), None);
        call.told.incident.as_mut().unwrap().status = (*status).to_owned();
        assert_eq!(action.send(&call).verdict, Verdict::Done);
        let alerts: Vec<(String, String)> = alerts.lock().unwrap().clone().into_iter().collect();
        assert_eq!(alerts, [("00112233445566778899".to_owned(), want.to_owned())]);
    }
    assert!(action.action.keeps_reference(), "its end is another request: each incident is told alone");
}

#[test]
fn credentials_are_tried_where_a_service_has_a_way() {
    for row in rows() {
        let fake = Fake::start((row.service)(), vec![]);
        let tried = Opened::new(&Hub::new(&row.action(&fake.url, "")), "a", false).online();
        let told: Vec<String> = fake.got().iter().map(Request::line).collect();
        match row.name {
            "slack-bot" => assert_eq!(told, ["POST /api/auth.test"]),
            "ntfy" => assert_eq!(told, ["GET /v1/account"]),
            "pushover" => assert_eq!(told, ["POST /1/users/validate.json"]),
            "twilio" => assert_eq!(told, [format!("GET /2010-04-01/Accounts/{}/Messages.json", twilio::ACCOUNT)]),
            _ => assert!(tried.is_none() && told.is_empty(), "{}", row.name),
        }
        let Some(tried) = tried else { continue };
        assert_eq!(tried, Ok(()), "{}", row.name);
        let keys = row.action(&fake.url, "").replace("token = \"", "token = \"wrong");
        let wrong = Opened::new(&Hub::new(&keys), "a", false).online().unwrap().unwrap_err();
        assert!(wrong.starts_with("status ") && !wrong.contains("wrong"), "{}: {wrong}", row.name);
    }
}

#[test]
fn urgency_follows_severity() {
    for (name, pointer, wants) in [
        ("ntfy", "/priority", ["5", "4", "3", "2"]),
        ("pushover", "/priority", ["1", "0", "0", "-1"]),
        ("pagerduty", "/payload/severity", ["critical", "error", "warning", "info"]),
    ] {
        let row = rows().into_iter().find(|row| row.name == name).unwrap();
        let fake = Fake::start((row.service)(), vec![]);
        let action = Opened::new(&Hub::new(&row.action(&fake.url, "")), "a", false);
        for (severity, want) in ["critical", "major", "minor", "info"].iter().zip(wants) {
            let line = fresh("e-1", &["a"]).replace("\"major\"", &format!("\"{severity}\""));
            let mut call = call(&line, None, None);
            call.target = action.targets[0].clone();
            assert_eq!(action.send(&call).verdict, Verdict::Done);
            let sent = fake.got().pop().unwrap();
            let body =
                sent.form().filter(|_| name == "pushover").map(|form| json!(form)).unwrap_or_else(|| sent.json());
            let found = body.pointer(pointer).unwrap();
            assert_eq!(found.as_str().map_or_else(|| found.to_string(), str::to_owned), want, "{name}");
        }
    }
    let row = rows().into_iter().find(|row| row.name == "pushover").unwrap();
    let fake = Fake::start((row.service)(), vec![]);
    let action = Opened::new(&Hub::new(&row.action(&fake.url, "emergency = true\n")), "a", false);
    let mut call = call(&fresh("e-1", &["a"]).replace("\"major\"", "\"critical\""), None, None);
    call.target = "ada".into();
    assert_eq!(action.send(&call).verdict, Verdict::Done);
    let form = fake.got()[0].form().unwrap();
    assert_eq!((form["priority"].as_str(), form["retry"].as_str(), form["expire"].as_str()), ("2", "60", "3600"));
}
