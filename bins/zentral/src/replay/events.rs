//! Events as `filter` read them: its output without what it wrote on them, and without its own words between them.
//!
//! A filter's output holds every event that it read, in the order in which it read them, whether it stands alone or is
//! joined with `normalize`; and between them what became of its filters (`filter_failed`, `filter_quarantined` …).

use event::{Time, json, write_annotated};
use memchr::memmem;
use pipe::config::{Config, Place, StageConf, StageKind};
use serde::Deserialize;

/// A topic of events, and the stage that writes it.
pub struct EventTopic<'c> {
    /// The filter.
    pub stage: &'c StageConf,
    /// The topic.
    pub place: &'c Place,
}

/// The topics that together hold every event once: two filters may read the same events.
pub fn topics(config: &Config) -> Vec<EventTopic<'_>> {
    let (mut known, mut all) = (Vec::new(), Vec::new());
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Filter)) {
        let Some(place) = stage.to.as_ref() else { continue };
        let new = stage.from.iter().any(|from| !known.contains(from));
        known.extend(stage.from.iter().cloned());
        known.extend(stage.to.clone());
        if new {
            all.push(EventTopic { stage, place });
        }
    }
    all
}

/// What a line of a filter's output is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An event, received then.
    Event(Time),
    /// A word of the filter itself.
    Word(Word),
}

/// What a filter said of one of its probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What happened.
    pub kind: Kind,
    /// The probe.
    pub probe: String,
    /// Its text at that time; of `Resumed` the text that it has from now on.
    pub rev: String,
    /// Id of the event at which it happened; of `Resumed` the one at which it stopped.
    pub event: String,
}

/// The kinds of such words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It exceeded a limit; the next run may go well.
    Failed,
    /// It went on exceeding a limit: the event (the next line, if it is there) was the last one that it ran over.
    Quarantined,
    /// It killed the process: it does not run over the event any more.
    SwitchedOff,
    /// It runs again, with another text.
    Resumed,
}

impl Kind {
    fn of(type_: &[u8]) -> Option<Self> {
        match type_ {
            b"\"filter_failed\"" => Some(Self::Failed),
            b"\"filter_quarantined\"" => Some(Self::Quarantined),
            b"\"filter_switched_off\"" => Some(Self::SwitchedOff),
            b"\"filter_resumed\"" => Some(Self::Resumed),
            _ => None,
        }
    }
}

/// Appends the event that a canonical line holds to `out`, as the filter read it, without a newline; nothing for a word
/// of the filter's own.
///
/// # Errors
/// The line is no JSON object.
pub fn as_read(line: &[u8], out: &mut Vec<u8>) -> Result<Seen, json::JsonError> {
    let (mut received, mut kind) = (None, None);
    for member in json::members(line) {
        let (key, value) = member?;
        match key {
            b"type" => kind = Kind::of(value),
            b"received" => received = json::parse_str(value).and_then(|text| text.parse().ok()),
            b"source" if value != b"\"zentral\"" => kind = None,
            _ => {}
        }
        // In the documented order both stand before it, and nothing else is wanted.
        if key == b"source" && received.is_some() {
            break;
        }
    }
    if let Some(word) = kind.and_then(|kind| word(kind, line)) {
        return Ok(Seen::Word(word));
    }
    if memmem::find(line, b"\"probes").is_some() {
        write_annotated(line, b"", out)?;
    } else {
        out.extend_from_slice(line);
    }
    Ok(Seen::Event(received.unwrap_or_default()))
}

fn word(kind: Kind, line: &[u8]) -> Option<Word> {
    #[derive(Deserialize)]
    struct Payload {
        probe: String,
        rev: String,
        event: String,
    }
    let Payload { probe, rev, event } = serde_json::from_slice(json::get(line, "payload")?).ok()?;
    Some(Word { kind, probe, rev, event })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_as_it_came_and_words_are_apart() {
        let read = |line: &str| {
            let mut out = Vec::new();
            let seen = as_read(line.as_bytes(), &mut out).unwrap();
            (seen, String::from_utf8(out).unwrap())
        };
        let plain =
            r#"{"v":1,"id":"a","type":"t","received":"2026-11-21T00:00:00Z","source":"x","payload":{"probes":[1]}}"#;
        let time = Seen::Event("2026-11-21T00:00:00Z".parse().unwrap());
        assert_eq!(read(plain), (time.clone(), plain.to_owned()));
        let annotated = plain.replace(r#""payload""#, r#""probes":[{"name":"p"}],"probes_more":3,"payload""#);
        assert_eq!(read(&annotated), (time, plain.to_owned()));
        assert_eq!(read("{}"), (Seen::Event(Time::default()), "{}".to_owned()));
        assert!(as_read(b"[]", &mut Vec::new()).is_err());

        let word = r#"{"type":"filter_quarantined","received":"2026-11-21T00:00:00Z","source":"zentral","payload":{"probe":"p","rev":"r","event":"e","reason":"steps"}}"#;
        let want = Word { kind: Kind::Quarantined, probe: "p".into(), rev: "r".into(), event: "e".into() };
        assert_eq!(read(word), (Seen::Word(want), String::new()));
        // What an agent calls so is none of the filter's.
        let other = word.replace("zentral", "osquery");
        assert_eq!(read(&other).1, other);
    }

    #[test]
    fn every_event_is_in_one_topic() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        let stage = |run: &str, name: &str, from: &str, to: &str| {
            format!("[stage.{name}]\nrun = \"{run}\"\nfrom = \"topic:{from}\"\nto = \"topic:{to}\"\n")
        };
        let stages = [("one", "a", "b"), ("two", "a", "c"), ("three", "b", "d"), ("four", "raw", "f")];
        let mut text = "version = 1\n[stage.receive]\nlisten = \"127.0.0.1:0\"\nto = \"topic:raw\"\n".to_owned();
        text.push_str(&stage("normalize", "normalize", "raw", "a"));
        text.extend(stages.map(|(name, from, to)| stage("filter", name, from, to)));
        std::fs::write(&file, text).unwrap();
        let (config, _) = Config::load(&file, None).map_err(|found| pipe::config::render(&found)).unwrap();
        let names: Vec<String> = topics(&config).into_iter().map(|t| t.place.to_string()).collect();
        assert_eq!(names, ["topic:b", "topic:f"]);
    }
}
