//! `{"acts": [false, true, …], "why": "…", "events": [{"at": "0s", "event": {…}}, {"at": "+30s", "event": {…}}, …]}`: events
//! one after the other, and what a probe with `throttle`, `window` or `until` does about each.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{json, place};
use crate::value::{Val, parse};

/// The most events of one list.
const EVENTS_MAX: usize = 10_000;
/// What may become of an incident.
const STATES: [&str; 3] = ["opened", "changed", "closed"];

/// One line of an examples file that holds several events.
#[derive(Debug)]
pub struct List {
    /// Line number, from 1.
    pub line: usize,
    /// Why, in the author's words; may be empty.
    pub why: String,
    /// Whose conditions hold; none: those of the one probe that has this filter.
    pub probe: Option<String>,
    /// What has to be done, about each event.
    pub acts: Vec<Act>,
    /// The events, in the order in which they come.
    pub events: Vec<Step>,
}

/// One event of a list.
#[derive(Debug)]
pub struct Step {
    /// When it is received, as it is written: `30s` after the first one, `+30s` after the one before.
    pub at: Option<String>,
    /// JSON text of the event.
    pub event: String,
}

/// What has to be done about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing: it is no match, or it is held back.
    Nothing,
    /// Actions are told, whatever it is.
    Anything,
    /// They are told that so many matches came.
    Count(u64),
    /// They are told what has become of an incident.
    State(String),
    /// Both.
    Both {
        /// What has become of the incident.
        state: String,
        /// How many matches came.
        count: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    acts: Vec<Box<RawValue>>,
    #[serde(default)]
    why: String,
    #[serde(default)]
    probe: Option<String>,
    events: Vec<StepLine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepLine {
    #[serde(default)]
    at: Option<String>,
    event: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BothLine {
    state: String,
    count: u64,
}

/// A list, or at which byte the line goes wrong, and how.
pub(super) fn read(number: usize, text: &str) -> Result<List, (usize, String)> {
    let line: Line = json(text)?;
    let (acts_at, events_at) = (place(text, "acts"), place(text, "events"));
    let wrong = |n: usize| {
        let what = "is true, false, a count, \"opened\", \"changed\", \"closed\" or {\"state\", \"count\"}";
        (acts_at, format!("`acts`: number {} {what}", n + 1))
    };
    let acts: Vec<Act> =
        line.acts.iter().enumerate().map(|(n, act)| Act::read(act.get()).ok_or(wrong(n))).collect::<Result<_, _>>()?;
    if acts.len() != line.events.len() {
        return Err((acts_at, format!("`acts` has {} and `events` {}", acts.len(), line.events.len())));
    }
    if !(1..=EVENTS_MAX).contains(&acts.len()) {
        return Err((events_at, format!("`events` are 1 to {EVENTS_MAX}")));
    }
    for (n, step) in line.events.iter().enumerate() {
        match parse(step.event.get().as_bytes()) {
            Ok(Val::Obj(_)) => {}
            Ok(_) => return Err((events_at, format!("`events`: number {} must be an object", n + 1))),
            Err(e) => return Err((events_at, format!("`events`: number {}: {}", n + 1, e.what))),
        }
    }
    let step = |step: StepLine| Step { at: step.at, event: step.event.get().to_owned() };
    let events = line.events.into_iter().map(step).collect();
    Ok(List { line: number, why: line.why, probe: line.probe, acts, events })
}

impl Act {
    fn read(text: &str) -> Option<Self> {
        let state = |word: &str| STATES.contains(&word).then(|| word.to_owned());
        match text.as_bytes().first()? {
            b't' => Some(Self::Anything),
            b'f' => Some(Self::Nothing),
            b'"' => serde_json::from_str::<String>(text).ok().and_then(|word| state(&word)).map(Self::State),
            b'{' => {
                let both: BothLine = serde_json::from_str(text).ok()?;
                Some(Self::Both { state: state(&both.state)?, count: both.count })
            }
            _ => serde_json::from_str::<u64>(text).ok().filter(|n| *n > 0).map(Self::Count),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn lists_and_what_is_none() {
        let text = r#"{"acts":[false,true,3,"opened",{"state":"changed","count":2}],"why":"w","probe":"p","events":[{"event":{}},{"at":"+30s","event":{"a":1}},{"event":{}},{"event":{}},{"event":{}}]}"#;
        let list = read(7, text).unwrap();
        let both = Act::Both { state: "changed".into(), count: 2 };
        assert_eq!(list.acts, [Act::Nothing, Act::Anything, Act::Count(3), Act::State("opened".into()), both]);
        assert_eq!((list.line, list.why.as_str(), list.probe.as_deref()), (7, "w", Some("p")));
        let second = list.events.get(1).unwrap();
        assert_eq!((second.at.as_deref(), second.event.as_str()), (Some("+30s"), r#"{"a":1}"#));
        for (text, at, said) in [
            (r#"{"acts":[true],"events":[]}"#, 8, "`acts` has 1 and `events` 0"),
            (r#"{"acts":[],"events":[]}"#, 20, "`events` are 1 to 10000"),
            (r#"{"acts":[0],"events":[{"event":{}}]}"#, 8, "`acts`: number 1 is true, false, a count"),
            (r#"{"acts":["open"],"events":[{"event":{}}]}"#, 8, "`acts`: number 1 is true"),
            (r#"{"acts":[{"count":1}],"events":[{"event":{}}]}"#, 8, "`acts`: number 1 is true"),
            (r#"{"acts":[true],"events":[{"event":[]}]}"#, 24, "`events`: number 1 must be an object"),
            (r#"{"acts":[true],"events":[{}]}"#, 26, "missing field `event`"),
            (r#"{"match":true,"events":[]}"#, 7, "unknown field `match`"),
            (r#"{"events":[]}"#, 12, "missing field `acts`"),
        ] {
            let (byte, what) = read(1, text).unwrap_err();
            assert!(byte == at && what.starts_with(said), "{text}: {byte} {what}");
        }
    }
}
