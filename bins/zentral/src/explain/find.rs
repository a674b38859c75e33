//! Where an event is found, and the raw line that it came from.

use std::io::{IsTerminal as _, Read as _};

use event::{LINE_MAX, Mistaken, Raw, Time, json};
use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use pipe::config::{Config, Place, StageKind};
use pipe::{Spot, StageError, Window};
use serde::Serialize;
use serde_json::Value;

/// The place of an event that was given.
pub const STDIN: &str = "stdin";

/// An event and where it was.
pub struct Found {
    /// Its line, without a newline.
    pub line: String,
    /// `the store`, `topic:NAME` or `stdin`.
    pub place: String,
}

/// A raw line and where it was.
#[derive(Debug, Serialize)]
pub struct RawLine {
    /// The topic.
    pub topic: String,
    /// Its partition, if the topic is one of Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// Its offset there.
    pub offset: u64,
    /// The line.
    pub line: Box<serde_json::value::RawValue>,
}

/// The event of this id: asks the store, and looks through the topics where that does not have it (yet).
pub fn by_id(config: &Config, id: &str) -> Result<Option<Found>, StageError> {
    if id.is_empty() {
        return Ok(None);
    }
    if let Ok(client) = crate::search::client(config)
        && let Ok(Some(line)) = client.event(id)
    {
        return Ok(Some(Found { line, place: "the store".into() }));
    }
    for kind in [StageKind::Filter, StageKind::Normalize, StageKind::Act] {
        for place in config.stages.iter().filter(|s| s.runs(kind)).flat_map(|s| s.outputs()) {
            let mut found = None;
            scan(config, place, (None, None), id, |_, line| {
                if is(line, "id", id) {
                    found = std::str::from_utf8(line).ok().map(str::to_owned);
                }
                found.is_none()
            })?;
            if let Some(line) = found {
                return Ok(Some(Found { line, place: place.to_string() }));
            }
        }
    }
    Ok(None)
}

/// The event on stdin: the first JSON object there. `advice` is what to do where there is none, to stand behind that.
pub fn on_stdin(advice: &str) -> Result<Found, StageError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(StageError::usage(format!("give the id of an event, or an event on stdin{advice}")));
    }
    let mut bytes = Vec::new();
    let broken = |e: std::io::Error| StageError::unreachable(format!("stdin: {e}"));
    stdin.lock().take(LINE_MAX as u64 + 2).read_to_end(&mut bytes).map_err(broken)?;
    let mut values = serde_json::Deserializer::from_slice(&bytes).into_iter::<Box<serde_json::value::RawValue>>();
    let event = match values.next() {
        None => return Err(StageError::usage(format!("there is no event on stdin{advice}"))),
        Some(Err(e)) => return Err(StageError::usage(format!("stdin is no JSON: {e}"))),
        Some(Ok(event)) => event,
    };
    if bytes.get(values.byte_offset()..).is_some_and(|rest| !rest.trim_ascii().is_empty()) {
        pipe::cli::complain("more follows on stdin; this is about the first event alone");
    }
    if !event.get().starts_with('{') {
        return Err(StageError::usage("what is on stdin is no JSON object"));
    }
    if let Some(what) = Mistaken::of(event.get().as_bytes()) {
        return Err(StageError::usage(format!("stdin line 1: {}", what.advice("FILE"))));
    }
    // One line, as everything that reads events expects.
    let line = event.get().replace(['\n', '\r'], " ");
    Ok(Found { line, place: STDIN.into() })
}

/// The raw line that gave this event: the one that was received at the same moment and translates to it.
pub fn raw(config: &Config, event: &Value) -> Result<Option<RawLine>, StageError> {
    let text = |key: &str| event.get(key).and_then(Value::as_str);
    let id = text("id").filter(|id| !id.is_empty());
    let (Some(id), Some(received)) = (id, text("received")) else { return Ok(None) };
    let Ok(at) = received.parse::<Time>() else { return Ok(None) };
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Receive)) {
        let Some(place) = stage.to.as_ref() else { continue };
        let mut found = None;
        scan(config, place, (Some(at), Some(at)), &at.to_string(), |spot, line| {
            if is(line, "received", received) && gives(config, line, id) {
                let text = String::from_utf8_lossy(line).into_owned();
                found = serde_json::value::RawValue::from_string(text).ok().map(|line| (spot, line));
            }
            found.is_none()
        })?;
        if let Some((spot, line)) = found {
            let topic = place.topic().or(place.kafka()).unwrap_or_default().to_owned();
            return Ok(Some(RawLine { topic, partition: spot.partition, offset: spot.offset, line }));
        }
    }
    Ok(None)
}

/// Does this raw line become the event, or one of several?
fn gives(config: &Config, line: &[u8], id: &str) -> bool {
    let Ok(raw) = Raw::parse(line) else { return false };
    let source = || sources::by_name(config.source_kind(&raw.source));
    let translated = || source().and_then(|source| source.translate(&raw).ok()).unwrap_or_default();
    raw.id == id || translated().iter().any(|event| event.id == id)
}

/// Calls `each` with place and text of every committed line that was received in this time and has these words in it,
/// until it says false. No words are in no line.
pub fn scan(
    config: &Config,
    place: &Place,
    (since, until): (Option<Time>, Option<Time>),
    words: &str,
    mut each: impl FnMut(Spot, &[u8]) -> bool,
) -> Result<(), StageError> {
    if words.is_empty() {
        return Ok(());
    }
    let Some(mut window) = Window::open(config, place, since, until, false)? else { return Ok(()) };
    let finder = Finder::new(words);
    while let Some(lines) = window.read()? {
        let mut from = 0;
        while let Some(at) = lines.bytes.get(from..).and_then(|rest| finder.find(rest)) {
            let hit = from + at;
            let begin = lines.bytes.get(..hit).and_then(|b| memrchr(b'\n', b)).map_or(0, |i| i + 1);
            let rest = lines.bytes.get(hit..).unwrap_or_default();
            let end = memchr(b'\n', rest).map_or(lines.bytes.len(), |i| hit + i);
            if !each(lines.spot(begin), lines.bytes.get(begin..end).unwrap_or_default()) {
                return Ok(());
            }
            from = end + 1;
        }
    }
    Ok(())
}

/// Has a line this text under a key?
pub fn is(line: &[u8], key: &str, text: &str) -> bool {
    json::get(line, key).and_then(json::parse_str).is_some_and(|value| value == text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use pipe::fs::RealFs;
    use pipe::topic::{Kept, Options, TopicWriter};

    use super::*;

    #[test]
    fn lines_are_found_behind_a_damaged_one_and_no_words_are_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("pipeline.toml");
        std::fs::write(
            &main,
            "version = 1\n[stage.filter]\nfrom = \"topic:n\"\nto = \"topic:e\"\n[stage.receive]\nto = \"topic:n\"\n",
        )
        .unwrap();
        let (config, _) = Config::load(&main, None).map_err(|found| pipe::config::render(&found)).unwrap();
        let topic = config.topic_dir("e");
        let mut writer = TopicWriter::open(RealFs::shared(), &topic, Kept::WholeLines, Options::default()).unwrap();
        let (first, last) = (r#"{"id":"a","received":"2026-11-21T00:00:00Z"}"#, r#"{"id":"b"}"#);
        let lines = format!("{first}\n{}\n{last}\n{{\"id\":\"\"}}\n", "x".repeat(2 * LINE_MAX));
        writer.append(lines.as_bytes(), 4).unwrap();
        writer.sync().unwrap();
        writer.publish().unwrap();

        let found = |id: &str| by_id(&config, id).unwrap().map(|found| found.line);
        assert_eq!([found("a"), found("b"), found("c")], [Some(first.to_owned()), Some(last.to_owned()), None]);
        assert_eq!(found(""), None);
        let mut offsets = Vec::new();
        let place = Place::Topic("e".into());
        scan(&config, &place, (None, None), "\n", |spot, _| {
            offsets.push(spot.offset);
            true
        })
        .unwrap();
        assert_eq!(offsets.len(), 3, "one hit a line, and an end: {offsets:?}");
        scan(&config, &place, (None, None), "", |_, _| unreachable!("no words are in no line")).unwrap();
        assert!(raw(&config, &serde_json::json!({"id": "", "received": "2026-11-21T00:00:00Z"})).unwrap().is_none());
    }
}
