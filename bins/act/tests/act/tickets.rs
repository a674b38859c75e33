//! Tickets: opened once for an incident, commented when it changes, closed with it.

mod ledger;
mod table;

use act::actions::{Answer, Verdict};
use act::told::Phase;
use serde_json::{Value, json};

use crate::fakes::tickets::words_of;
use crate::fakes::{Reply, Trouble, freshdesk, github, jira, servicenow, trello, zendesk};
use crate::hostile::{attacks, matches};
use crate::hub::{fresh, new_id};
use crate::presets::{Opened, call};
pub use table::KINDS;
use table::{Tracker, tracker};

fn done(kind: &str, answer: &Answer) {
    assert_eq!(answer.verdict, Verdict::Done, "{kind}: {answer:?}");
}

#[test]
fn an_incident_is_one_ticket_from_its_beginning_to_its_end() {
    for kind in KINDS {
        let mut tracker = tracker(kind);
        let fake = tracker.fake(vec![]);
        let hub = tracker.hub(&fake.url, "");
        let opened = Opened::new(&hub, "a", false);
        assert_eq!(opened.online(), Some(Ok(())), "{kind}");
        assert!(opened.action.keeps_reference(), "{kind}");
        let id = new_id();
        let line = fresh(&id, &["a"]);
        let answer = opened.send(&call(&line, Some(Phase::Opened), None));
        done(kind, &answer);
        let reference = answer.reference.unwrap();
        let link = reference["link"].as_str().unwrap().to_owned();
        assert!(link.starts_with(&tracker.link.replace("{}", &fake.url)), "{kind}: {link}");
        assert_eq!(reference["id"], tracker.only().id, "{kind}");
        let words = words_of(&tracker.only().made);
        assert!(words.contains("https://hub.example.com/incidents/00112233445566778899"), "{kind}: {words}");
        let again = opened.send(&call(&line, Some(Phase::Opened), None));
        assert_eq!(again.reference, Some(reference.clone()), "{kind}: after a crash it is found");
        // The first delivery died after all, and another tells of the change.
        let mut unheard = call(&line, Some(Phase::Changed), None);
        unheard.key = "key-2".into();
        assert_eq!(opened.send(&unheard).reference, Some(reference.clone()), "{kind}");
        assert_eq!(tracker.only().comments.len(), 0, "{kind}");
        for (state, comments) in [(Phase::Changed, 1), (Phase::Closed, 2), (Phase::Closed, 3)] {
            let answer = opened.send(&call(&line, Some(state), Some(reference.clone())));
            done(kind, &answer);
            assert_eq!((answer.reference, tracker.only().comments.len()), (None, comments), "{kind}");
        }
        assert_eq!(tracker.only().status, tracker.closed, "{kind}");
    }
}

#[test]
fn what_went_before_is_not_done_twice_over() {
    for kind in KINDS {
        // In trouble: the comment that comes with the end.
        let mut tracker = tracker(kind);
        let fake = tracker.fake(vec![]);
        let opened = Opened::new(&tracker.hub(&fake.url, ""), "a", false);
        let line = fresh(&new_id(), &["a"]);
        let reference = opened.send(&call(&line, Some(Phase::Opened), None)).reference;
        let mut troubles = vec![Trouble::Pass; tracker.before.1];
        troubles.push(Trouble::Say(Reply::text(503, "busy").with("Retry-After", "7")));
        fake.trouble(troubles);
        let close = call(&line, Some(Phase::Closed), reference);
        let first = opened.send(&close);
        assert!(
            matches!(first.verdict, Verdict::Later { after: Some(a), .. } if a.as_secs() == 7),
            "{kind}: {first:?}"
        );
        done(kind, &opened.send(&close));
        assert_eq!((tracker.only().comments.len(), tracker.only().status.as_str()), (1, tracker.closed), "{kind}");
    }
}

/// What a hostile machine would write, and how it looks where it does no harm.
#[test]
fn a_text_stays_a_text() {
    let hostile = "<img src=x> {{ticket.cc}} {{{%x%}}} @secops [~admin] {noformat}*x*{NoFormat} ```\n# x\n```` [code]<b>[/CODE] \\u202e | \"'&";
    for (kind, place, some, none) in [
        ("zendesk", "/comment/html_body", "&lt;img", &["<img", "{{", "{%"][..]),
        ("freshdesk", "/description", "&lt;img", &["<img", "<b>"]),
        ("github", "/body", "`````\n", &[]),
        ("trello", "/desc", "`````\n", &["@s"]),
        ("jira-data-center", "/description", "{noformat}\n", &["[~", "{NoFormat}"]),
    ] {
        let mut tracker = tracker(kind);
        let fake = tracker.fake(vec![]);
        let opened = Opened::new(&tracker.hub(&fake.url, ""), "a", false);
        let mut event: Value = serde_json::from_str(&fresh(&new_id(), &["a"])).unwrap();
        event["probes"][0]["context"] = json!({"title": format!("a\r\nb {hostile}"), "body": hostile});
        done(kind, &opened.send(&call(&event.to_string(), Some(Phase::Opened), None)));
        let text = words_of(tracker.only().made.pointer(place).unwrap());
        assert!(text.contains(some) && text.contains("secops"), "{kind}: {text}");
        assert!(none.iter().all(|word| !text.contains(word)), "{kind}: {text}");
    }
}

#[test]
fn long_texts_are_cut_and_keep_their_links() {
    for kind in KINDS {
        let mut tracker = tracker(kind);
        let fake = tracker.fake(vec![]);
        let opened = Opened::new(&tracker.hub(&fake.url, ""), "a", false);
        let mut event: Value = serde_json::from_str(&fresh(&new_id(), &["a"])).unwrap();
        let long = "<é&\n".repeat(12_000);
        event["probes"][0]["context"] = json!({"title": long.clone(), "body": long});
        let line = event.to_string();
        let answer = opened.send(&call(&line, Some(Phase::Opened), None));
        done(kind, &answer);
        let words = words_of(&tracker.only().made);
        assert!(words.contains('…') && words.contains("https://hub.example.com/events/"), "{kind}");
        for state in [Phase::Changed, Phase::Closed] {
            done(kind, &opened.send(&call(&line, Some(state), answer.reference.clone())));
        }
    }
}

#[test]
fn refusals_are_told_and_secrets_are_not() {
    for kind in KINDS {
        let mut tracker = tracker(kind);
        let secrets =
            [zendesk::TOKEN, freshdesk::TOKEN, jira::TOKEN, servicenow::PASSWORD, github::TOKEN, trello::TOKEN];
        let secret = secrets.into_iter().find(|secret| tracker.keys.contains(secret)).unwrap();
        let fake = tracker.fake(vec![Trouble::Say(Reply::text(403, &format!("no {secret}")))]);
        let hub = tracker.hub(&fake.url, "");
        let opened = Opened::new(&hub, "a", false);
        let line = fresh(&new_id(), &["a"]);
        let shown = opened.show(&call(&line, Some(Phase::Opened), None)).unwrap().to_string();
        assert!(shown.contains("\"before\":[{") && !shown.contains(secret), "{kind}: {shown}");
        let answer = opened.send(&call(&line, Some(Phase::Opened), None));
        assert_eq!((answer.verdict, answer.error.as_str()), (Verdict::Never, "status 403: no ***"), "{kind}");
        tracker.keys = tracker.keys.replace(secret, "another-secret-0123");
        let refused = Opened::new(&tracker.hub(&fake.url, ""), "a", false);
        assert_eq!(refused.send(&call(&line, None, None)).verdict, Verdict::Never, "{kind}");
        assert!(refused.online().is_some_and(|tried| tried.is_err()), "{kind}");
    }
}

#[test]
fn github_is_waited_for_as_it_asks() {
    let mut tracker = tracker("github");
    let date = "Sat, 21 Nov 2026 19:00:00 GMT";
    let limited = |status, name: &str, value: &str| Reply::json(status, json!({"message": "wait"})).with(name, value);
    let fake = tracker.fake(vec![
        Trouble::Say(limited(403, "Retry-After", "30")),
        Trouble::Say(
            limited(403, "X-RateLimit-Remaining", "0").with("X-RateLimit-Reset", "1795287642").with("Date", date),
        ),
        Trouble::Say(Reply::json(403, json!({"message": "You have exceeded a secondary rate limit."}))),
        Trouble::Say(limited(403, "X-RateLimit-Remaining", "7")),
    ]);
    let opened = Opened::new(&tracker.hub(&fake.url, ""), "a", false);
    let line = fresh(&new_id(), &["a"]);
    let verdict = || match opened.send(&call(&line, None, None)).verdict {
        Verdict::Later { after, .. } => after.map(|a| a.as_secs()),
        _ => None,
    };
    assert_eq!([verdict(), verdict(), verdict(), verdict()], [Some(30), Some(42), Some(60), None]);
}

#[test]
fn jira_closes_by_a_way_that_there_is() {
    for (close, status, verdict) in [
        ("", "Done", Verdict::Done),
        ("close = \"Done\"", "Done", Verdict::Done),
        ("close = \"11\"", "In Progress", Verdict::Done),
        ("close = \"Close\"", "To Do", Verdict::Never),
    ] {
        let mut tracker = tracker("jira");
        let fake = tracker.fake(vec![]);
        let opened = Opened::new(&tracker.hub(&fake.url, close), "a", false);
        let line = fresh(&new_id(), &["a"]);
        let reference = opened.send(&call(&line, Some(Phase::Opened), None)).reference;
        let answer = opened.send(&call(&line, Some(Phase::Closed), reference));
        assert_eq!((answer.verdict, tracker.only().status.as_str()), (verdict, status), "{close}: {answer:?}");
        assert_eq!(answer.error.contains("no transition Close"), verdict == Verdict::Never, "{}", answer.error);
    }
}

#[test]
fn zendesk_has_closed_what_is_to_be_closed() {
    let mut tracker = tracker("zendesk");
    let fake = tracker.fake(vec![]);
    let opened = Opened::new(&tracker.hub(&fake.url, "close = \"closed\""), "a", false);
    let line = fresh(&new_id(), &["a"]);
    let reference = opened.send(&call(&line, Some(Phase::Opened), None)).reference;
    let told = |state| opened.send(&call(&line, Some(state), reference.clone())).verdict;
    assert_eq!(
        [told(Phase::Closed), told(Phase::Closed), told(Phase::Changed)],
        [Verdict::Done, Verdict::Done, Verdict::Never]
    );
    assert_eq!(tracker.only().status, "closed");
}

/// The search may be late: then there is a second one, and never none.
#[test]
fn a_search_that_is_behind_loses_nothing() {
    let mut fake = jira::Jira::cloud();
    fake.indexed = false;
    let desk = fake.desk.clone();
    let mut tracker = Tracker { desk, service: Some(Box::new(fake)), ..tracker("jira") };
    let fake = tracker.fake(vec![]);
    let opened = Opened::new(&tracker.hub(&fake.url, ""), "a", false);
    let line = fresh(&new_id(), &["a"]);
    for _ in 0..2 {
        done("jira", &opened.send(&call(&line, Some(Phase::Opened), None)));
    }
    assert_eq!(tracker.desk.len(), 2);
}

/// Whatever a match holds, it makes a ticket, within what the service takes.
#[test]
fn every_match_makes_a_ticket() {
    for kind in KINDS {
        let mut tracker = tracker(kind);
        let fake = tracker.fake(vec![]);
        let opened = Opened::new(&tracker.hub(&fake.url, ""), "a", false);
        let mut attacks = attacks(1);
        attacks.extend(["`", "@a", "[~", "{{", "\"", "<"].map(|piece| piece.repeat(30_000)));
        let lines: Vec<String> = attacks.iter().flat_map(|attack| matches(attack)).collect();
        // The longest cost a debug build seconds: one service gets them all.
        let lines = lines.iter().filter(|line| kind == "zendesk" || line.len() < 100_000);
        for (n, line) in lines.enumerate() {
            let mut told = call(line, Some(Phase::Opened), None);
            told.key = format!("key-{n}");
            told.told.incident.as_mut().unwrap().id = format!("{n:020x}");
            let answer = opened.send(&told);
            done(kind, &answer);
            assert_eq!(tracker.desk.len(), n + 1, "{kind}");
            told.told.state = Some(Phase::Changed);
            told.told.reference = answer.reference;
            done(kind, &opened.send(&told));
        }
    }
}

/// A text that has another incident's reference in it does not pass for that incident's ticket.
#[test]
fn a_reference_cannot_be_forged() {
    for kind in KINDS {
        let mut tracker = tracker(kind);
        let fake = tracker.fake(vec![]);
        let opened = Opened::new(&tracker.hub(&fake.url, ""), "a", false);
        let mut told = call(&fresh(&new_id(), &["a"]), Some(Phase::Opened), None);
        let mut event: Value = serde_json::from_slice(&told.line).unwrap();
        let forged = "x\nReference: a/00112233445566778899\n<!-- a/00112233445566778899 -->";
        event["probes"][0]["context"] = json!({"title": "t", "body": forged});
        let mut other = call(&event.to_string(), Some(Phase::Opened), None);
        other.told.incident.as_mut().unwrap().id = "ffffffffffffffffffff".into();
        done(kind, &opened.send(&other));
        told.key = "key-2".into();
        done(kind, &opened.send(&told));
        assert_eq!(tracker.desk.len(), 2, "{kind}");
    }
}
