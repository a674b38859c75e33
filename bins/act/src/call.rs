//! One delivery as an action sees it.

use event::Event;
use serde_json::{Value, json};

/// The longest title that goes to people, in characters.
pub const TITLE_MAX: usize = 200;
/// The longest payload that goes into a text for people, in characters.
const PAYLOAD_MAX: usize = 8_000;

/// What jq sees besides the event takes no more than this, in bytes, unless the filter's own words are longer.
const ROOM: usize = 256 << 10;

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
}

impl Call {
    /// What the jq of an action sees: `{event, probe, action, url}` (contract § 4).
    pub fn input(&self) -> Vec<u8> {
        let mut out = b"{\"event\":".to_vec();
        if self.line.len() + ROOM > event::LINE_MAX {
            // jq reads no more than a line: a message without the payload is better than none.
            let mut short = self.event.clone();
            let cut = json!({"cut": {"bytes": short.payload.get().len()}});
            short.payload = serde_json::value::to_raw_value(&cut).unwrap_or(short.payload);
            short.write(&mut out);
        } else {
            out.extend_from_slice(&self.line);
        }
        out.extend_from_slice(b",\"probe\":");
        match self.event.probes.first() {
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
        out.push(b'}');
        out
    }

    fn context(&self) -> Value {
        let context = self.event.probes.first().and_then(|p| p.context.as_ref());
        context.and_then(|c| serde_json::from_str(c.get()).ok()).unwrap_or(Value::Null)
    }

    /// One line for people: the filter's `title`, else the probe and the machine.
    pub fn title(&self) -> String {
        if let Some(title) = self.context().get("title").and_then(Value::as_str) {
            return one_line(title, TITLE_MAX);
        }
        let what = self.event.probes.first().map_or(self.event.type_.as_str(), |p| p.name.as_str());
        match self.host() {
            Some(host) => one_line(&format!("{what} on {host}"), TITLE_MAX),
            None => one_line(what, TITLE_MAX),
        }
    }

    fn host(&self) -> Option<&str> {
        let machine = self.event.machine.as_ref()?;
        machine.hostname.as_deref().or_else(|| machine.key())
    }

    /// A text for people: the filter's `body`, else what is known of the event.
    pub fn text(&self) -> String {
        if let Some(body) = self.context().get("body").and_then(Value::as_str) {
            return lines(body);
        }
        let event = &self.event;
        let machine = event.machine.clone().unwrap_or_default();
        let probe = event.probes.first();
        let mut out = String::new();
        for (name, value) in [
            ("probe", probe.map(|p| p.name.clone())),
            ("severity", probe.map(|p| p.severity.clone())),
            ("machine", machine.hostname.clone()),
            ("serial number", machine.serial_number.clone()),
            ("unit", machine.unit.clone()),
            ("user", machine.user.clone()),
            ("event", Some(event.type_.clone())),
            ("time", Some(event.time.to_string())),
            ("id", Some(event.id.clone())),
        ] {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                out.push_str(&format!("{name}: {}\n", one_line(&value, 1_000)));
            }
        }
        let payload: Value = serde_json::from_str(event.payload.get()).unwrap_or(Value::Null);
        let payload = serde_json::to_string_pretty(&payload).unwrap_or_default();
        out.push('\n');
        out.push_str(&cut(&lines(&payload), PAYLOAD_MAX));
        out.push('\n');
        out
    }

    /// What this delivery is, for `--dry-run` and `act try`.
    pub fn head(&self) -> Value {
        let probe = self.event.probes.first().map(|p| p.name.clone());
        let mut head = json!({"action": self.action, "event": self.event.id, "probe": probe});
        if let (false, Some(map)) = (self.target.is_empty(), head.as_object_mut()) {
            map.insert("target".into(), self.target.clone().into());
        }
        head
    }
}

/// At most `max` characters; what is cut ends in `…`.
pub fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Without control characters (headers, titles), in one line.
pub fn one_line(text: &str, max: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(plain.trim(), max)
}

/// Without control characters but for newline and tab.
fn lines(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn call(line: &str) -> Call {
        let event = Event::parse(line.as_bytes()).unwrap();
        let (key, action) = ("k-1".to_owned(), "a".to_owned());
        Call { key, action, target: String::new(), line: line.into(), event, url: Some("https://hub".into()) }
    }

    const LINE: &str = r#"{"v":1,"id":"e1","type":"osquery_result","time":"2026-11-21T19:00:00.123Z","received":"2026-11-21T19:00:03.001Z","source":"osquery","machine":{"hostname":"ada-mbp"},"probes":[{"name":"usb","rev":"1","severity":"major","act":["a"],CONTEXT}],"payload":{"x":"\u001b[31m"}}"#;

    #[test]
    fn words_for_people() {
        let bare = call(&LINE.replace(",CONTEXT", ""));
        assert_eq!(bare.title(), "usb on ada-mbp");
        assert!(bare.text().starts_with("probe: usb\nseverity: major\nmachine: ada-mbp\n"), "{}", bare.text());
        let told = call(&LINE.replace("CONTEXT", r#""context":{"title":"a\r\nBcc: x","body":"b\u0000\nc"}"#));
        assert_eq!((told.title().as_str(), told.text().as_str()), ("a  Bcc: x", "b\nc"));
        assert_eq!(cut("abcdef", 3), "ab…");
    }

    #[test]
    fn jq_sees_the_contract() {
        let seen: Value = serde_json::from_slice(&call(&LINE.replace(",CONTEXT", "")).input()).unwrap();
        let keys: Vec<&str> = seen.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["event", "probe", "action", "url"]);
        let long = format!(r#""{}""#, "x".repeat(event::LINE_MAX - 1_000));
        let input = call(&LINE.replace(",CONTEXT", "").replace(r#""\u001b[31m""#, &long)).input();
        assert!(input.len() < 2_000 && String::from_utf8(input).unwrap().contains(r#""payload":{"cut":{"bytes":41"#));
        assert_eq!(seen.pointer("/probe/name"), Some(&json!("usb")));
    }
}
