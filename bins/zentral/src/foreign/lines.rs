//! What a foreign program prints, as lines of a topic: an event or a raw line, canonical, what the hub knows filled in.

use event::id::{Occurrences, event_id, event_id_without_time};
use event::{Event, Machine, Raw, Time, VERSION, json};
use pipe::config::Config;
use registry::changes::{FORGOTTEN, TAGGED};

/// Why a line is refused: a word to count it under, and a text.
pub type Wrong = (&'static str, String);

/// The lines of one run.
pub struct Lines {
    /// The stage: who speaks, if a line does not say so.
    name: String,
    /// What tells this run from all others.
    run: String,
    /// Of a batch: its equal lines are told apart. What comes by and by is told apart by its time.
    seen: Option<Occurrences>,
    /// Whether raw lines have a reader.
    raw: bool,
}

impl Lines {
    /// Of a run that begins now.
    pub fn new(name: &str, config: &Config, batch: bool, run: String) -> Self {
        Self { name: name.to_owned(), run, seen: batch.then(Occurrences::default), raw: takes_raw(config, name) }
    }

    /// Whether they are kept together or not at all.
    pub fn is_batch(&self) -> bool {
        self.seen.is_some()
    }

    /// A line as it is written to the topic.
    pub fn take(&mut self, line: &[u8], number: u64, now: Time) -> Result<Vec<u8>, Wrong> {
        let mut text = Vec::with_capacity(line.len() + 128);
        json::canonical(line, &mut text).map_err(|e| ("not_json", e.to_string()))?;
        if !text.starts_with(b"{") {
            return Err(("not_an_object", "a line is a JSON object".into()));
        }
        let has = |key: &str| json::get(&text, key).is_some();
        let told = Told { id: has("id"), time: has("time") };
        let is_raw = has("body");
        let needs: &[&str] = if is_raw { &["kind"] } else { &["type", "payload"] };
        if let Some(missing) = needs.iter().find(|key| !has(key)) {
            let what = if is_raw { "a raw line" } else { "an event" };
            return Err((wrong(is_raw), format!("{what} needs `{missing}`")));
        }
        let now_text = now.to_string();
        let version = VERSION.to_string();
        let mut whole = b"{".to_vec();
        for (key, value) in
            [("v", version.as_str()), ("id", ""), ("source", &self.name), ("received", &now_text), ("time", &now_text)]
        {
            if has(key) || (key == "time" && is_raw) {
                continue;
            }
            json::write_str(key, &mut whole);
            whole.push(b':');
            match key {
                "v" => whole.extend_from_slice(value.as_bytes()),
                _ => json::write_str(value, &mut whole),
            }
            whole.push(b',');
        }
        whole.extend_from_slice(text.get(1..).unwrap_or_default());
        let read = Read { whole: &whole, text: &text, told, number, now };
        if is_raw { self.raw(&read) } else { self.event(&read) }
    }

    fn event(&mut self, read: &Read<'_>) -> Result<Vec<u8>, Wrong> {
        let mut event = Event::parse(read.whole).map_err(|e| ("not_an_event", e.to_string()))?;
        if [FORGOTTEN, TAGGED].contains(&event.type_.as_str()) {
            return Err(("reserved", format!("`{}` is an order of the hub's own", event.type_)));
        }
        event.received = event.received.min(read.now);
        let own = read.told.time.then(|| event.time.ms());
        if !read.told.id {
            let machine = event.machine.clone().unwrap_or_default();
            event.id = self.id(own, &event.source, &machine, read);
        }
        let (time, clock) = sources::believed(own, event.received);
        event.time = time;
        if clock && !event.tags.iter().any(|tag| tag == "clock") {
            event.tags.push("clock".to_owned());
        }
        let mut out = Vec::with_capacity(read.whole.len());
        event.write(&mut out);
        Ok(out)
    }

    fn raw(&mut self, read: &Read<'_>) -> Result<Vec<u8>, Wrong> {
        if !self.raw {
            let why = "a raw line is for a topic that only stages with `normalize` read; print events";
            return Err(("raw_line", why.to_owned()));
        }
        let mut raw = Raw::parse(read.whole).map_err(|e| ("not_raw", e.to_string()))?;
        raw.received = raw.received.min(read.now);
        if !read.told.id {
            // Its time is in its body, which only its source understands.
            raw.id = self.id(None, &raw.source, &raw.machine, read);
        }
        let mut out = Vec::with_capacity(read.whole.len());
        raw.write(&mut out);
        Ok(out)
    }

    /// The same for what is told again with its time; what has none is another each time it is told.
    fn id(&mut self, own: Option<i64>, source: &str, machine: &Machine, read: &Read<'_>) -> String {
        let key = machine.key().unwrap_or_default();
        let occurrence = self.seen.as_mut().map_or(0, |seen| seen.next(read.text));
        match (own, &self.seen) {
            (Some(ms), _) => event_id(ms, source, key, read.text, occurrence),
            (None, Some(_)) => event_id_without_time(read.now, &self.run, source, key, read.text, occurrence),
            (None, None) => {
                let told = format!("{}:{}", self.run, read.number);
                event_id_without_time(read.now, &told, source, key, read.text, 0)
            }
        }
    }
}

/// A line that is being taken.
struct Read<'a> {
    /// With what was missing.
    whole: &'a [u8],
    /// As it came, canonical.
    text: &'a [u8],
    told: Told,
    number: u64,
    now: Time,
}

/// What the program said itself.
struct Told {
    id: bool,
    time: bool,
}

fn wrong(is_raw: bool) -> &'static str {
    if is_raw { "not_raw" } else { "not_an_event" }
}

/// Whether whoever reads what the stage writes understands raw lines.
fn takes_raw(config: &Config, name: &str) -> bool {
    let topics = config.stage(name).into_iter().flat_map(|stage| stage.writes());
    let mut readers = topics.flat_map(|topic| config.readers(topic));
    readers.all(|reader| reader.kinds.first() == Some(&pipe::config::StageKind::Normalize))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    fn lines(batch: bool, run: &str) -> Lines {
        let seen = batch.then(Occurrences::default);
        Lines { name: "badges".into(), run: run.into(), seen, raw: true }
    }

    fn event(of: &mut Lines, line: &str) -> Event {
        Event::parse(&of.take(line.as_bytes(), 1, Time::from_ms(NOW)).unwrap()).unwrap()
    }

    #[test]
    fn what_is_missing_is_filled_in() {
        let made = event(&mut lines(true, "r"), r#" {"type":"badge", "payload":{"b":1.50,"a":"\u0041"}} "#);
        assert_eq!((made.source.as_str(), made.received.ms(), made.time.ms()), ("badges", NOW, NOW));
        assert_eq!(made.payload.get(), r#"{"b":1.50,"a":"A"}"#, "canonical, and the number as it was written");
        let own = r#"{"v":1,"id":"x","type":"badge","time":"2026-11-18T00:00:00Z","received":"2026-11-18T00:00:01Z","source":"door","payload":{}}"#;
        let made = event(&mut lines(true, "r"), own);
        assert_eq!((made.id.as_str(), made.source.as_str()), ("x", "door"));
        assert_eq!(made.time.to_string(), "2026-11-18T00:00:00.000Z");
        let future = event(&mut lines(true, "r"), r#"{"type":"b","time":"2099-01-01T00:00:00Z","payload":{}}"#);
        assert_eq!((future.time.ms(), future.tags), (NOW, vec!["clock".to_owned()]));
    }

    #[test]
    fn a_repeat_has_the_same_id() {
        let timed = r#"{"type":"badge","time":"2026-11-18T00:00:00Z","payload":{"n":1}}"#;
        let plain = r#"{"type":"badge","payload":{"n":1}}"#;
        let id = |lines: &mut Lines, line: &str| event(lines, line).id;
        let (mut one, mut two) = (lines(true, "one"), lines(true, "two"));
        let first = id(&mut one, timed);
        assert_eq!(first, id(&mut two, &timed.replace('{', "{ ")), "told again by the next run");
        assert_ne!(first, id(&mut one, timed), "twice in one batch: two events");
        assert_ne!(id(&mut one, plain), id(&mut two, plain), "without a time each is one of its own");
        let mut on = lines(false, "on");
        assert_eq!(id(&mut on, timed), id(&mut on, timed));
        let of = |on: &mut Lines, number| on.take(plain.as_bytes(), number, Time::from_ms(NOW)).unwrap();
        assert_ne!(of(&mut on, 1), of(&mut on, 2));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, reason) in [
            ("{", "not_json"),
            ("{} {}", "not_json"),
            ("[]", "not_an_object"),
            ("{}", "not_an_event"),
            (r#"{"type":"a"}"#, "not_an_event"),
            (r#"{"type":1,"payload":{}}"#, "not_an_event"),
            (r#"{"type":"a","time":"yesterday","payload":{}}"#, "not_an_event"),
            (r#"{"v":99,"type":"a","payload":{}}"#, "not_an_event"),
            (r#"{"type":"machine_forgotten","machine":{"serial_number":"A"},"payload":{}}"#, "reserved"),
            (r#"{"type":"machine_\u0066orgotten","payload":{}}"#, "reserved"),
            (r#"{"body":{}}"#, "not_raw"),
            (r#"{"kind":7,"body":{}}"#, "not_raw"),
        ] {
            let found = lines(true, "r").take(line.as_bytes(), 1, Time::from_ms(NOW));
            assert_eq!(found.unwrap_err().0, reason, "{line}");
        }
        let raw = r#"{"source":"osquery","kind":"result","body":{"name":"a"}}"#;
        let made = lines(true, "r").take(raw.as_bytes(), 1, Time::from_ms(NOW)).unwrap();
        assert_eq!(Raw::parse(&made).unwrap().source, "osquery");
        let mut events = Lines { raw: false, ..lines(true, "r") };
        assert_eq!(events.take(raw.as_bytes(), 1, Time::from_ms(NOW)).unwrap_err().0, "raw_line");
    }
}
