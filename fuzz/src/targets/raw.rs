//! Lines: the canonical form against serde_json, and what is read, written and read again.

use event::{Event, Raw, json, write_annotated};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::show;

/// Errors that only we have: serde_json does not look at surrogates it skips, and goes deeper.
const OURS_ALONE: [&str; 3] = ["nested too deeply", "lone surrogate in a string", "invalid UTF-8"];

/// `data` is a line.
pub fn run(data: &[u8]) {
    let canonical = canonical(data);
    members(data);
    let as_came = (raw(data), event(data));
    let Some(text) = canonical else {
        // Raw and Event read with serde, which takes what we have bounds for; nothing else.
        return;
    };
    members(&text);
    let rebuilt = (raw(&text), event(&text));
    assert!(as_came.0.is_none() || rebuilt.0.is_some(), "raw lost by its canonical form: {}", show(data));
    assert!(as_came.1.is_none() || rebuilt.1.is_some(), "event lost by its canonical form: {}", show(data));
    if rebuilt.1.is_some() {
        annotate(&text);
    }
}

fn canonical(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"kept".to_vec();
    let done = json::canonical(data, &mut out);
    assert!(out.starts_with(b"kept"), "canonical() touched what was there");
    let text = out.split_off(4);
    let serde = serde_json::from_slice::<IgnoredAny>(data);
    if let Err(error) = done {
        assert!(serde.is_err() || OURS_ALONE.contains(&error.what), "{error}, serde_json takes it: {}", show(data));
        return None;
    }
    assert!(serde.is_ok(), "serde_json does not take it: {}", show(data));
    assert!(text.len() <= data.len(), "canonical form grew: {}", show(data));
    assert!(json::is_canonical(&text), "not a fixed point: {}", show(&text));
    // Numbers beyond f64 are text to us and an error to serde_json.
    match (serde_json::from_slice::<Value>(data), serde_json::from_slice::<Value>(&text)) {
        (Ok(before), Ok(after)) => assert_eq!(before, after),
        (Ok(_), Err(e)) => panic!("canonical form unreadable, {e}: {}", show(&text)),
        _ => {}
    }
    Some(text)
}

/// By structure alone; a canonical object is exactly its members.
fn members(data: &[u8]) {
    let mut text = b"{".to_vec();
    let (mut count, mut failed) = (0usize, false);
    for member in json::members(data) {
        assert!(!failed, "went on after an error");
        match member {
            Ok((key, value)) => {
                text.extend_from_slice(if count == 0 { b"\"" } else { b",\"" });
                text.extend_from_slice(key);
                text.extend_from_slice(b"\":");
                text.extend_from_slice(value);
                let _ = json::parse_str(value);
                count += 1;
            }
            Err(e) => {
                assert!(e.at <= data.len() + 1, "error beyond the text");
                failed = true;
            }
        }
    }
    text.push(b'}');
    if data.starts_with(b"{") && json::is_canonical(data) {
        assert!(!failed && text == data, "members of {} are {}", show(data), show(&text));
    }
    let _ = json::get(data, "payload");
    let _ = json::parse_str(data);
}

/// What was written reads as the same line; `None` if the text is no raw line.
pub(super) fn raw(data: &[u8]) -> Option<Raw> {
    let raw = Raw::parse(data).ok()?;
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    raw.write(&mut once);
    let again = Raw::parse(&once).unwrap_or_else(|e| panic!("unreadable, {e}: {}", show(&once)));
    again.write(&mut twice);
    assert_eq!(show(&once), show(&twice));
    assert_eq!(raw.extra, again.extra);
    assert_eq!(raw.machine, again.machine);
    Some(raw)
}

/// The same for events.
pub(super) fn event(data: &[u8]) -> Option<Event> {
    let event = Event::parse(data).ok()?;
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    event.write(&mut once);
    let again = Event::parse(&once).unwrap_or_else(|e| panic!("unreadable, {e}: {}", show(&once)));
    again.write(&mut twice);
    assert_eq!(show(&once), show(&twice));
    assert_eq!(event.extra, again.extra);
    assert_eq!(event.machine, again.machine);
    Some(event)
}

/// Probes are put in and taken out again, and nothing else changes. `text` is an event in canonical form.
fn annotate(text: &[u8]) {
    let probe = br#"[{"name":"p","rev":"0","severity":"info","act":[]}]"#;
    let write = |line: &[u8], probes: &[u8]| {
        let mut out = Vec::new();
        write_annotated(line, probes, &mut out).unwrap_or_else(|e| panic!("{e}: {}", show(line)));
        out
    };
    let bare = write(text, b"");
    let with = write(text, probe);
    assert!(json::is_canonical(&bare) && json::is_canonical(&with), "{}", show(&with));
    let event = Event::parse(&with).unwrap_or_else(|e| panic!("{e}: {}", show(&with)));
    assert!(event.probes.len() == 1 && event.probes.iter().all(|p| p.name == "p"), "{}", show(&with));
    assert_eq!(show(&write(&with, b"")), show(&bare));
    assert_eq!(show(&write(&bare, probe)), show(&with));
    assert_eq!(show(&write(&with, probe)), show(&with));
}
