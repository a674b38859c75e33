//! The short way of writing an event: its parts are texts already.

use crate::{Time, VERSION, json};

/// An event of parts that are canonical texts already; the lists are of plain words and names.
#[derive(Debug, Clone, Copy)]
pub struct EventTexts<'a> {
    /// The text of a string, without its quotes.
    pub id: &'a [u8],
    /// See [`Event`](super::Event).
    pub type_: &'a str,
    /// See [`Event`](super::Event).
    pub time: Time,
    /// See [`Event`](super::Event).
    pub received: Time,
    /// See [`Event`](super::Event).
    pub source: &'a str,
    /// See [`Event`](super::Event).
    pub tags: &'a [&'a str],
    /// The text of an object.
    pub machine: Option<&'a [u8]>,
    /// The text of an object.
    pub request: Option<&'a [u8]>,
    /// See [`Event`](super::Event).
    pub objects: &'a [String],
    /// Any text.
    pub payload: &'a [u8],
}

impl EventTexts<'_> {
    /// Appends the line that [`Event::write`](super::Event::write) writes of the same parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        let texts = [Some(self.payload), self.machine, self.request].into_iter().flatten().map(<[u8]>::len);
        out.reserve(texts.sum::<usize>() + 512);
        out.extend_from_slice(b"{\"v\":1,\"id\":\"");
        out.extend_from_slice(self.id);
        out.extend_from_slice(b"\",\"type\":");
        json::write_str(self.type_, out);
        out.extend_from_slice(b",\"time\":\"");
        out.extend_from_slice(&self.time.text());
        out.extend_from_slice(b"\",\"received\":\"");
        out.extend_from_slice(&self.received.text());
        out.extend_from_slice(b"\",\"source\":");
        json::write_str(self.source, out);
        strings(b",\"tags\":", self.tags.iter().copied(), out);
        for (key, text) in [(&b",\"machine\":"[..], self.machine), (b",\"request\":", self.request)] {
            if let Some(text) = text {
                out.extend_from_slice(key);
                out.extend_from_slice(text);
            }
        }
        strings(b",\"objects\":", self.objects.iter().map(String::as_str), out);
        out.extend_from_slice(b",\"payload\":");
        out.extend_from_slice(self.payload);
        out.push(b'}');
    }
}

/// A list of strings behind its key, left out when empty.
fn strings<'a>(key: &[u8], items: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    let start = out.len();
    for item in items {
        out.extend_from_slice(if out.len() == start { key } else { b"," });
        if out.len() == start + key.len() {
            out.push(b'[');
        }
        json::write_str(item, out);
    }
    if out.len() > start {
        out.push(b']');
    }
}

const _: () = assert!(VERSION == 1, "the version is written as text above");

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;
    use serde_json::value::RawValue;

    use super::*;
    use crate::{Event, Machine, Request};

    fn text(value: &impl serde::Serialize) -> Vec<u8> {
        serde_json::to_vec(value).unwrap()
    }

    proptest! {
        /// The same parts give the same line, however it is written.
        #[test]
        fn both_ways_write_the_same(
            id in "[0-9a-f-]{0,36}",
            type_ in "[a-z_\"\\\\é\u{1}]{0,12}",
            ms in -62_135_596_800_000..253_402_300_799_999_i64,
            source in "[a-z\"]{0,8}",
            tags in prop::collection::vec("[a-z\"\u{1f}ü]{0,6}", 0..4),
            objects in prop::collection::vec("(user|file:sha256):[a-z0-9\\\\\"]{0,9}", 0..4),
            machine in prop::option::of(("[A-Z0-9\"]{0,12}", prop::collection::vec("[a-z]{0,5}", 0..3))),
            request in prop::option::of(prop::option::of("[0-9.]{0,15}")),
            payload in r#"\{"a":(1e400|"x\\n"|\[\{\}\])\}|7|"é""#,
        ) {
            let machine = machine.map(|(serial, tags)| Machine { serial_number: Some(serial), tags, ..Machine::default() });
            let request = request.map(|ip| Request { ip, ..Request::default() });
            let (time, received) = (Time::from_ms(ms), Time::from_ms(ms / 2));
            let names: Vec<&str> = tags.iter().map(String::as_str).collect();
            let texts = (machine.as_ref().map(text), request.as_ref().map(text));
            let mut short = b"before ".to_vec();
            EventTexts {
                id: id.as_bytes(),
                type_: &type_,
                time,
                received,
                source: &source,
                tags: &names,
                machine: texts.0.as_deref(),
                request: texts.1.as_deref(),
                objects: &objects,
                payload: payload.as_bytes(),
            }
            .write(&mut short);
            let payload = RawValue::from_string(payload).unwrap();
            let (v, cause, probes, extra) = (VERSION, None, Vec::new(), Map::new());
            let event =
                Event { v, id, type_, time, received, source, tags, machine, request, objects, cause, probes, extra, payload };
            let mut long = b"before ".to_vec();
            event.write(&mut long);
            prop_assert_eq!(String::from_utf8(short).unwrap(), String::from_utf8(long).unwrap());
        }
    }
}
