#![allow(clippy::unwrap_used, reason = "tests may panic")]

use registry::db::Db;

use super::*;
use crate::ledger::SCHEMA;

/// What was decided about matches of probe `p`: (key, second, title), `closes` where the title is empty.
fn decide(rules: Rules, matches: &[(&str, i64, &str)]) -> (Vec<String>, Vec<String>) {
    let conditions = Conditions([("p".to_owned(), rules)].into());
    let mut db = Db::memory(&[SCHEMA]).unwrap();
    let tx = &mut db.begin().unwrap();
    let (mut decided, mut told) = (Vec::new(), Vec::new());
    for (n, (key, second, title)) in matches.iter().enumerate() {
        let received = event::Time::from_ms(1_795_287_600_000 + second * 1000);
        let mark = if title.is_empty() {
            r#""closes":true"#.to_owned()
        } else {
            format!(r#""context":{{"title":"{title}"}}"#)
        };
        let line = format!(
            r#"{{"v":1,"id":"e{n}","type":"t","time":"{received}","received":"{received}","source":"s","probes":[{{"name":"p","rev":"1","severity":"major","act":["a"],"key":"{key}",{mark}}}],"payload":{{}}}}"#
        );
        let event = Event::parse(line.as_bytes()).unwrap();
        let mut happened = Vec::new();
        let probe = event.probes.first().unwrap();
        let decision = conditions.decide(&event, probe, &mut vec!["a".to_owned()], &mut happened, tx).unwrap();
        decided.push(match decision {
            Decision::Act(kept) => {
                format!("act{}", kept.state.map(|s| format!(" {}", s.word())).unwrap_or_default())
                    + &if kept.count > 1 { format!(" {}", kept.count) } else { String::new() }
            }
            Decision::Held(reason, _) => reason.to_owned(),
        });
        told.extend(happened.into_iter().map(|one| match one {
            Happened::Fired { key, ids, .. } => format!("fired {key} {}", ids.join(" ")),
            Happened::Incident(phase, row) => format!("{} {} {} {}", phase.word(), row.key, row.count, row.status),
        }));
    }
    (decided, told)
}

fn throttle(seconds: u64) -> Rules {
    Rules { throttle: Some(Duration::from_secs(seconds)), ..Rules::default() }
}

fn window(count: u64, seconds: u64) -> Rules {
    Rules { window: Some(Window { count, within: Duration::from_secs(seconds) }), ..Rules::default() }
}

#[test]
fn a_throttle_holds_back_by_key_and_time_received() {
    let (decided, _) = decide(
        throttle(60),
        &[
            ("a", 100, "x"),
            ("a", 159, "x"),
            ("b", 110, "x"),
            ("a", 50, "x"),
            ("a", 160, "x"),
            ("a", 10, "x"),
            ("a", 219, "x"),
        ],
    );
    // 50 is within a minute of what was acted upon at 100; 10 is of long before it.
    assert_eq!(decided, ["act", "throttled", "act", "throttled", "act", "throttled", "throttled"]);
}

#[test]
fn a_window_fires_at_its_last_match_and_starts_again_empty() {
    let (decided, told) = decide(
        window(3, 60),
        &[
            ("a", 0, "x"),
            ("a", 60, "x"),
            ("b", 61, "x"),
            ("a", 70, "x"),
            ("a", 65, "x"),
            ("a", 71, "x"),
            ("a", 72, "x"),
            ("a", 73, "x"),
        ],
    );
    // 0 is out when 60 comes: exactly a minute is too far.
    assert_eq!(decided, ["window", "window", "window", "window", "act 3", "window", "window", "act 3"]);
    assert_eq!(told, ["fired a e1 e4 e3", "fired a e5 e6 e7"]);
}

#[test]
fn an_incident_is_told_when_it_opens_changes_and_ends() {
    let rules = Rules { until: true, ..Rules::default() };
    let (decided, told) = decide(
        rules,
        &[
            ("a", 0, ""),
            ("a", 1, "x"),
            ("a", 2, "x"),
            ("a", 3, "y"),
            ("b", 4, "x"),
            ("a", 5, ""),
            ("a", 6, ""),
            ("a", 7, "x"),
        ],
    );
    assert_eq!(
        decided,
        [
            "no_incident",
            "act opened",
            "incident",
            "act changed 3",
            "act opened",
            "act closed 3",
            "no_incident",
            "act opened"
        ]
    );
    assert_eq!(
        told,
        ["opened a 1 open", "changed a 3 open", "opened b 1 open", "closed a 3 closed", "opened a 1 open"]
    );
}

#[test]
fn conditions_go_together() {
    let rules = Rules { until: true, ..throttle(60) };
    let (decided, _) = decide(rules, &[("a", 0, "x"), ("a", 10, "y"), ("a", 60, "z"), ("a", 61, "")]);
    assert_eq!(decided, ["act opened", "incident", "act changed 3", "act closed 3"], "the end is always told");
    let rules = Rules { until: true, ..window(2, 60) };
    let (decided, _) = decide(rules, &[("a", 0, "x"), ("a", 1, "x"), ("a", 2, "y"), ("a", 3, "y"), ("a", 4, "")]);
    assert_eq!(decided, ["window", "act opened 2", "window", "act changed 4", "act closed 4"]);
}

#[test]
fn a_long_key_is_kept_short() {
    let long = "k".repeat(1_000_000);
    let (decided, told) = decide(window(2, 60), &[(&long, 0, "x"), (&long, 1, "x")]);
    assert_eq!(decided, ["window", "act 2"]);
    assert!(told.first().unwrap().starts_with("fired sha256:"));
}
