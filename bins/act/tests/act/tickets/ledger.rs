//! Tickets through the real `act`: what is counted at the service when things go wrong.

use pipe::Exit;
use serde_json::Value;

use super::table::{Tracker, each};
use crate::fakes::{Reply, Trouble};
use crate::hub::{How, Hub, fresh, new_id};

const PROBE: &str = "\n[probe.usb]\nfilter = \"true\"\nact = [\"a\"]\nuntil = \"false\"\n";

/// This trouble with the request that makes the ticket.
fn when_making(tracker: &Tracker, trouble: Trouble) -> Vec<Trouble> {
    let mut troubles = vec![Trouble::Pass; tracker.before.0];
    troubles.push(trouble);
    troubles
}

/// Nothing that the hub says of it holds a secret.
fn tells_no_secret(tracker: &Tracker, hub: &Hub) {
    let said = format!("{}{:?}", hub.lines().join("\n"), hub.dead());
    let secrets = tracker.keys.lines().filter(|line| ["token", "password", "key"].iter().any(|k| line.starts_with(k)));
    for secret in secrets.filter_map(|line| line.split('"').nth(1)) {
        assert!(!said.contains(secret), "a secret is told: {said}");
    }
}

fn outcomes(hub: &Hub) -> Vec<Value> {
    hub.told().into_iter().filter(|(kind, _)| kind.starts_with("action_")).map(|(_, payload)| payload).collect()
}

#[test]
fn an_incident_and_its_ticket() {
    each(|mut tracker| {
        let fake = tracker.fake(vec![]);
        let hub = tracker.hub(&fake.url, PROBE);
        let line = |title: &str| fresh(&new_id(), &["a"]).replace("USB <b>", title);
        let closing = fresh(&new_id(), &["a"]).replace("\"key\":\"C02\"", "\"key\":\"C02\",\"closes\":true");
        hub.feed(&[line("first"), line("worse"), closing]);
        assert_eq!(hub.run(), Exit::Done);
        let ticket = tracker.only();
        assert_eq!((ticket.comments.len(), ticket.status.as_str()), (2, tracker.closed), "{ticket:?}");
        assert!(ticket.comments[0].contains("worse"), "{ticket:?}");
        let told = outcomes(&hub);
        assert!(told.len() == 3 && told.iter().all(|p| p["outcome"] == "done"), "{told:?}");
        assert_eq!(told[0]["ref"]["id"], ticket.id, "{told:?}");
        assert!(told[0]["ref"]["link"].is_string(), "{told:?}");
        tells_no_secret(&tracker, &hub);
    });
}

#[test]
fn whatever_happens_there_is_one_ticket_a_match() {
    each(|mut tracker| {
        let busy = || Trouble::Say(Reply::text(429, "slow down").with("Retry-After", "7"));
        let mut troubles = vec![busy(), Trouble::Reset];
        let html = Reply::text(503, "<html>down</html>");
        for trouble in [busy(), Trouble::Say(html), Trouble::Reset, Trouble::Hang, Trouble::Flood, Trouble::Lost] {
            troubles.extend(when_making(&tracker, trouble));
        }
        let fake = tracker.fake(troubles);
        let hub = tracker.hub(&fake.url, "timeout = \"2s\"");
        hub.feed(&[fresh(&new_id(), &["a"]), fresh(&new_id(), &["a"])]);
        assert_eq!(hub.run(), Exit::Done);
        assert_eq!(tracker.desk.len(), 2, "{:?}", hub.told());
        let told = outcomes(&hub);
        assert!(told.len() == 2 && told.iter().all(|p| p["outcome"] == "done"), "{told:?}");
        let tries: u64 = told.iter().filter_map(|p| p["tries"].as_u64()).sum();
        assert_eq!(tries, 8 + 2, "{told:?}");
        tells_no_secret(&tracker, &hub);
    });
}

#[test]
fn what_is_refused_is_dead_at_once() {
    each(|mut tracker| {
        let echo = format!("no such thing: {}", tracker.keys.replace('\n', " "));
        let fake = tracker.fake(when_making(&tracker, Trouble::Say(Reply::text(422, &echo))));
        let hub = tracker.hub(&fake.url, "");
        hub.feed(&[fresh(&new_id(), &["a"]), fresh(&new_id(), &["a"])]);
        assert_eq!(hub.run(), Exit::Done);
        let dead = hub.dead();
        assert_eq!((dead.len(), tracker.desk.len()), (1, 1), "{dead:?}");
        let error = dead[0]["error"].as_str().unwrap_or_default();
        assert!(dead[0]["tries"] == 1 && error.starts_with("status 422: no such thing: "), "{error}");
        tells_no_secret(&tracker, &hub);
    });
}

#[test]
fn a_crash_between_the_request_and_the_answer() {
    each(|mut tracker| {
        let fake = tracker.fake(when_making(&tracker, Trouble::Mute));
        let hub = tracker.hub(&fake.url, PROBE);
        hub.feed(&[fresh(&new_id(), &["a"])]);
        let running = hub.start(How::default());
        fake.wait_for(tracker.before.0 + 1);
        running.kill();
        assert!(outcomes(&hub).is_empty());
        assert_eq!(hub.run(), Exit::Done);
        let told = outcomes(&hub);
        assert_eq!((told.len(), &told[0]["tries"], &told[0]["ref"]["id"]), (1, &2.into(), &tracker.only().id.into()));
        tells_no_secret(&tracker, &hub);
    });
}
