//! One delivery as an action sees it.

mod plain;
mod words;

use event::{Cause, Event, ProbeMatch};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use crate::told::Told;
pub use plain::{cut, lines, one_line};
pub use remote::quoted;
use words::PAYLOAD_MAX;
pub use words::{Item, TEXT_MAX, TITLE_MAX};

/// What is to be done: the match and whom it goes to.
#[derive(Debug, Clone)]
pub struct Call {
    /// The same for every try of this delivery, different otherwise.
    pub key: String,
    /// Name of the action.
    pub action: String,
    /// Whom it goes to; empty if the action has one nameless target.
    pub target: String,
    /// The match: the event with the one probe that this delivery is about.
    pub line: Vec<u8>,
    /// The same, read.
    pub event: Event,
    /// Base of the hub's URLs.
    pub url: Option<String>,
    /// What is told beside the match.
    pub told: Told,
}

impl Call {
    /// What the jq of an action sees: `{event, probe, action, url, title, text, links, state?, count?, ids?, events?,
    /// incident?, ref?}` (contract § 4), and the fields of `more`.
    ///
    /// jq reads no more than a line may hold, and this is more than the line that came. Where it is too much, the payload
    /// and all of the context but `title` and `body` are left out, then what other programs added: such a message is
    /// better than none.
    pub fn input(&self, more: &Map<String, Value>) -> Vec<u8> {
        let probe = self.event.probes.first();
        let mut rest = self.fields();
        rest.extend(more.clone());
        let rest = &rest;
        let whole = self.input_of(&self.line, probe, rest, &self.told.events);
        if fits(&whole) {
            return whole;
        }
        let (mut event, mut probe, mut line) = (self.event.clone(), probe.cloned(), Vec::new());
        event.probes.clear();
        let cut = json!({"cut": {"bytes": event.payload.get().len()}});
        event.payload = to_raw_value(&cut).unwrap_or(event.payload);
        if let Some(probe) = &mut probe {
            probe.context = to_raw_value(&self.words()).ok();
        }
        event.write(&mut line);
        let short = self.input_of(&line, probe.as_ref(), rest, &[]);
        if fits(&short) {
            return short;
        }
        event.extra.clear();
        if let Some(machine) = &mut event.machine {
            machine.extra.clear();
        }
        if let Some(probe) = &mut probe {
            probe.extra.clear();
        }
        line.clear();
        event.write(&mut line);
        self.input_of(&line, probe.as_ref(), rest, &[])
    }

    /// The match as programs and files get it. What is told beside it stands in its probe: {state, count, ids, incident,
    /// ref}; of a plain match there is nothing, and the line is as it came.
    pub fn told_line(&self) -> Vec<u8> {
        let told = self.told.fields();
        let mut event = self.event.clone();
        let Some(probe) = event.probes.first_mut().filter(|_| !told.is_empty()) else { return self.line.clone() };
        probe.extra.extend(told);
        let mut line = Vec::new();
        event.write(&mut line);
        line
    }

    /// What is made for people, and what is told beside the match.
    fn fields(&self) -> Map<String, Value> {
        let mut all = self.told.fields();
        all.insert("title".into(), self.title().into());
        all.insert("text".into(), self.text().into());
        all.insert("links".into(), Value::Object(self.links()));
        all
    }

    fn input_of(
        &self,
        event: &[u8],
        probe: Option<&ProbeMatch>,
        rest: &Map<String, Value>,
        events: &[Event],
    ) -> Vec<u8> {
        let mut out = b"{\"event\":".to_vec();
        out.extend_from_slice(event);
        out.extend_from_slice(b",\"probe\":");
        match probe {
            Some(probe) => probe.write(&mut out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"action\":");
        event::json::write_str(&self.action, &mut out);
        out.extend_from_slice(b",\"url\":");
        match &self.url {
            Some(url) => event::json::write_str(url, &mut out),
            None => out.extend_from_slice(b"null"),
        }
        for (key, value) in rest {
            out.push(b',');
            event::json::write_str(key, &mut out);
            out.push(b':');
            out.extend_from_slice(value.to_string().as_bytes());
        }
        if !events.is_empty() {
            out.extend_from_slice(b",\"events\":[");
            for (i, event) in events.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                event.write(&mut out);
            }
            out.push(b']');
        }
        out.push(b'}');
        out
    }

    /// Of the context what people read, cut.
    fn words(&self) -> Value {
        let context = self.context();
        let word = |key: &str, max| Some((key.to_owned(), cut(context.get(key)?.as_str()?, max).into()));
        [word("title", TITLE_MAX), word("body", PAYLOAD_MAX)].into_iter().flatten().collect::<Map<_, _>>().into()
    }

    /// What led to whatever this delivery makes.
    pub fn cause(&self) -> Cause {
        let probe = self.event.probes.first().map(|probe| probe.name.clone()).unwrap_or_default();
        Cause { event: self.event.id.clone(), probe, action: self.action.clone(), extra: Map::new() }
    }

    /// What this delivery is, for `--dry-run` and `act try`.
    pub fn head(&self) -> Value {
        let probe = self.event.probes.first().map(|p| p.name.clone());
        let mut head = json!({"action": self.action, "event": self.event.id, "probe": probe});
        if let (Some(state), Some(map)) = (self.told.state, head.as_object_mut()) {
            map.insert("state".into(), state.word().into());
        }
        if let (false, Some(map)) = (self.target.is_empty(), head.as_object_mut()) {
            map.insert("target".into(), self.target.clone().into());
        }
        head
    }
}

/// Whether the jq engine reads this JSON text.
fn fits(text: &[u8]) -> bool {
    text.len() <= event::LINE_MAX && depth(text) <= event::DEPTH_MAX
}

/// How deep arrays and objects are nested in a JSON text.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn call(line: &str) -> Call {
        let event = Event::parse(line.as_bytes()).unwrap();
        let (key, action) = ("k-1".to_owned(), "a".to_owned());
        Call {
            key,
            action,
            target: String::new(),
            line: line.into(),
            event,
            url: Some("https://hub".into()),
            told: Told::plain(),
        }
    }

    pub(crate) const LINE: &str = r#"{"v":1,"id":"e1","type":"osquery_result","time":"2026-11-21T19:00:00.123Z","received":"2026-11-21T19:00:03.001Z","source":"osquery","machine":{"hostname":"ada-mbp"},"probes":[{"name":"usb","rev":"1","severity":"major","act":["a"],CONTEXT}],"payload":{"x":"\u001b[31m"}}"#;

    #[test]
    fn jq_sees_the_contract() {
        let seen: Value = serde_json::from_slice(&call(&LINE.replace(",CONTEXT", "")).input(&Map::new())).unwrap();
        let keys: Vec<&str> = seen.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["event", "probe", "action", "url", "title", "text", "links"]);
        assert_eq!(seen.pointer("/links/explain"), Some(&json!("https://hub/events/e1/explain")));
        assert_eq!(seen.pointer("/probe/name"), Some(&json!("usb")));
    }

    /// The longest and the deepest lines still give something that jq reads.
    #[test]
    fn what_jq_would_refuse_is_cut() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        let long = |n: usize| format!(r#""{}""#, "x".repeat(n));
        let context = |value: &str| format!(r#""context":{{"title":"a","body":"\"[{{","other":{value}}}"#);
        let line = |payload: &str, more: &str| LINE.replace(r#""\u001b[31m""#, payload).replace("CONTEXT", more);
        let plain = line("1", &context("1"));
        let rest = long(event::LINE_MAX - plain.len() - 10);
        for (n, fit) in [(event::DEPTH_MAX, true), (event::DEPTH_MAX + 1, false)] {
            assert_eq!((fits(deep(n).as_bytes()), probe::parse(deep(n).as_bytes()).is_ok()), (fit, fit));
        }
        for (line, cut) in [
            (line(&deep(event::DEPTH_MAX - 4), &context("1")), false),
            (line(&deep(event::DEPTH_MAX - 2), &context("1")), true),
            (line("1", &context(&deep(event::DEPTH_MAX - 4))), true),
            (line(&rest, &context("1")), true),
            (line("1", &context(&long(event::LINE_MAX * 3 / 4))), true),
            (plain.replace("\"machine\":{", &format!("\"machine\":{{\"m\":{},", rest)), true),
        ] {
            let what: String = line.chars().skip(300).take(200).collect();
            let call = call(&line);
            let input = call.input(&Map::new());
            assert!(probe::parse(&input).is_ok(), "{what}");
            let seen: Value = serde_json::from_slice(&input).unwrap();
            assert_eq!(seen.pointer("/event/payload/cut").is_some(), cut, "{what}");
            assert_eq!(seen.pointer("/event/probes").is_none(), cut, "{what}");
            assert_eq!(seen.pointer("/probe/context/other").is_none(), cut, "{what}");
            assert_eq!(seen.pointer("/probe/context/body"), Some(&json!("\"[{")), "{what}");
            assert_eq!(seen.pointer("/event/machine/hostname"), Some(&json!("ada-mbp")), "{what}");
        }
    }
}
