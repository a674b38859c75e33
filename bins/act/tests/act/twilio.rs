//! SMS: what is sent, how it is cut, and what is made of Twilio's answers.

use act::actions::Verdict;
use act::told::Phase;
use pipe::Exit;
use serde_json::json;

use crate::fakes::twilio::{ACCOUNT, FROM, LOGIN, SERVICE, STOPPED, TOKEN, Twilio};
use crate::fakes::{Fake, Reply, Trouble};
use crate::hub::{How, Hub, fresh, new_id};
use crate::presets::{Opened, call};

fn hub(fake: &Fake, more: &str) -> Hub {
    Hub::new(&format!(
        "[contact.ada]\nphone = \"+491700000000\"\ngroups = [\"secops\"]\n\
         [contact.bob]\nphone = \"+491700000001\"\ngroups = [\"secops\"]\n[contact.eve]\ngroups = [\"secops\"]\n\
         [action.sms]\nkind = \"twilio\"\nurl = \"{}\"\nlogin = {{ account = \"{ACCOUNT}\", token = \"{TOKEN}\" }}\n{}{more}\n",
        fake.url,
        if more.contains("from =") { "" } else { "from = \"+4930000000\"\nto = [\"group:secops\"]\n" }
    ))
}

#[test]
fn one_message_each_whatever_goes_wrong() {
    let twilio = Twilio::default();
    let busy = Reply::json(429, json!({"code": 20429, "message": "Too many"})).with("Retry-After", "5");
    let full = Reply::json(400, json!({"code": 21611, "message": "queue full"}));
    let portal = Reply::text(200, "<html>please log in</html>");
    let troubles = [Trouble::Say(busy), Trouble::Say(Reply::text(503, "")), Trouble::Say(full), Trouble::Say(portal)];
    let fake = Fake::start(twilio.clone(), [&troubles[..], &[Trouble::Reset, Trouble::Hang, Trouble::Flood]].concat());
    let hub = hub(&fake, "timeout = \"300ms\"\nstatus_callback = \"https://hub.example.com/webhook/sms\"");
    let id = new_id();
    hub.feed(&[fresh(&id, &["sms"])]);
    assert_eq!(hub.run(), Exit::Done);
    let told = hub.told();
    assert!(told.len() == 2 && told.iter().all(|(kind, p)| kind == "action_done" && p["status"] == 201), "{told:?}");
    let mut queued = twilio.queued();
    queued.sort();
    assert_eq!(queued.iter().map(|form| form["To"].as_str()).collect::<Vec<_>>(), ["+491700000000", "+491700000001"]);
    let body = format!("USB <b> & *{id}*\nhttps://hub.example.com/events/{id}");
    for form in &queued {
        assert_eq!((form["From"].as_str(), form["Body"].as_str()), (FROM, body.as_str()));
        assert_eq!(form["StatusCallback"], "https://hub.example.com/webhook/sms");
    }
    for request in fake.got() {
        assert_eq!((request.header("authorization"), request.key().is_empty()), (LOGIN, false));
    }
    assert_eq!(fake.got().len(), 7 + 2);
}

/// Twilio knows no idempotency key: what was queued and not heard of comes again.
#[test]
fn an_answer_that_is_lost_means_twice() {
    let twilio = Twilio::default();
    let fake = Fake::start(twilio.clone(), vec![Trouble::Lost]);
    let hub = hub(&fake, "from = \"+4930000000\"\nto = \"ada\"");
    hub.feed(&[fresh(&new_id(), &["sms"])]);
    hub.run();
    assert_eq!((twilio.queued().len(), hub.dead().len()), (2, 0));
}

#[test]
fn a_crash_between_message_and_answer_loses_nothing() {
    let twilio = Twilio::default();
    let fake = Fake::start(twilio.clone(), vec![Trouble::Hang]);
    let hub = hub(&fake, "from = \"+4930000000\"\nto = \"ada\"");
    hub.feed(&[fresh(&new_id(), &["sms"])]);
    let running = hub.start(How::default());
    fake.wait_for(1);
    running.kill();
    assert_eq!(hub.run(), Exit::Done);
    let keys: Vec<String> = fake.got().iter().map(|request| request.key().to_owned()).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    assert_eq!((twilio.queued().len(), hub.told().len()), (1, 1));
}

#[test]
fn what_twilio_calls_wrong_is_dead_at_once_and_tells_no_secret() {
    let fake = Fake::start(Twilio::default(), vec![]);
    let stopped = hub(&fake, &format!("from = \"+4930000000\"\nto = [\"{STOPPED}\", \"ada\"]"));
    stopped.feed(&[fresh(&new_id(), &["sms"])]);
    stopped.run();
    let dead = stopped.dead();
    assert_eq!((dead.len(), dead[0]["target"].as_str()), (1, Some(STOPPED)));
    assert_eq!(dead[0]["error"], "status 400: 21610: Attempt to send to unsubscribed recipient");
    let echo = Reply::json(401, json!({"code": 20003, "message": format!("Authenticate {TOKEN} {LOGIN}")}));
    let fake = Fake::start(Twilio::default(), vec![Trouble::Say(echo)]);
    let hub = hub(&fake, "from = \"+4930000000\"\nto = \"ada\"");
    hub.feed(&[fresh(&new_id(), &["sms"])]);
    hub.run();
    let lines = hub.lines().join("\n");
    assert!(lines.contains("status 401: 20003: Authenticate *** "), "{lines}");
    assert!(!lines.contains(TOKEN) && !lines.contains("QUMwMTIz"), "{lines}");
}

#[test]
fn credentials_are_tried_without_a_message() {
    let twilio = Twilio::default();
    let fake = Fake::start(twilio.clone(), vec![]);
    assert_eq!(Opened::new(&hub(&fake, ""), "sms", false).online(), Some(Ok(())));
    let wrong = hub(&fake, "");
    let text = std::fs::read_to_string(wrong.dir.path().join("pipeline.toml")).unwrap();
    let mut wrong = wrong;
    wrong.set_actions(
        &text
            .split_once("[contact.ada]")
            .map(|(_, t)| format!("[contact.ada]{t}"))
            .unwrap()
            .replace(TOKEN, "wrongwrong"),
    );
    let said = Opened::new(&wrong, "sms", false).online();
    assert_eq!(said, Some(Err("status 401: 20003: Authenticate".to_owned())));
    assert!(twilio.queued().is_empty() && fake.got().iter().all(|request| request.method == "GET"));
}

#[test]
fn texts_are_cut_to_the_parts_that_were_asked_for() {
    let twilio = Twilio::default();
    let fake = Fake::start(twilio.clone(), vec![]);
    let more = format!("from = \"{SERVICE}\"\nto = \"ada\"\nsegments = 2\nbody = '\"\\(.title)\\n\\(.text)\"'");
    let opened = Opened::new(&hub(&fake, &more), "sms", false);
    let line = fresh("e-1", &["sms"]);
    for title in ["\\u202e</b>\\r\\nBcc: x \\u001b[31m ", "🦀👩\\u200d💻", "${IFS}`id`", "ß€{}[]~|^\\\\"] {
        let title = title.repeat(3_000);
        let mut call = call(&line.replace("USB <b>", &title), Some(Phase::Opened), None);
        call.target = "+491700000000".to_owned();
        let answer = opened.send(&call);
        assert_eq!(answer.verdict, Verdict::Done, "{}", answer.error);
        assert!(answer.reference.unwrap()["id"].as_str().unwrap().starts_with("SM"));
        let shown = opened.show(&call).unwrap();
        assert!(shown["segments"].as_u64().unwrap() <= 2 && !shown.to_string().contains(TOKEN), "{shown}");
    }
    let queued = twilio.queued();
    assert_eq!(queued.len(), 4);
    for form in &queued {
        let body = &form["Body"];
        assert_eq!((form["MessagingServiceSid"].as_str(), form.contains_key("From")), (SERVICE, false));
        assert!(!body.contains(['\u{202e}', '\r', '\u{1b}']), "{body:?}");
        assert!(body.ends_with("...\nhttps://hub.example.com/incidents/00112233445566778899"), "{body:?}");
        let units =
            if body.is_ascii() || body.contains('ß') { body.chars().count() } else { body.encode_utf16().count() };
        assert!(units <= 306 && (body.contains('ß') || body.is_ascii() || units <= 134), "{units}: {body:?}");
    }
}
