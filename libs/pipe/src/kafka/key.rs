//! The key of a line: lines of one machine go to one partition, so that their order is kept.

use std::borrow::Cow;

use event::json;

/// The machine key, else the source's name, of a raw line or an event; none: the line says neither, and goes anywhere.
///
/// What follows `payload` or `body` is not looked at: canonical lines have them last.
pub(super) fn key(line: &[u8]) -> Option<Cow<'_, str>> {
    let mut source = None;
    for (name, value) in json::members(line).map_while(Result::ok) {
        match name {
            b"source" => source = text(value),
            b"machine" => {
                if let Some(key) = machine(value) {
                    return Some(key);
                }
            }
            b"payload" | b"body" => break,
            _ => {}
        }
    }
    source
}

fn machine(value: &[u8]) -> Option<Cow<'_, str>> {
    let (mut uuid, mut name) = (None, None);
    for (key, value) in json::members(value).map_while(Result::ok) {
        match key {
            b"serial_number" => {
                if let Some(serial) = text(value) {
                    return Some(serial);
                }
            }
            b"hardware_uuid" => uuid = text(value),
            b"hostname" => name = text(value),
            _ => {}
        }
    }
    uuid.or(name)
}

fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    json::parse_str(value).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_else_the_source() {
        for (line, want) in [
            (
                r#"{"v":1,"source":"osquery","machine":{"hostname":"ada","serial_number":"C02"},"payload":{}}"#,
                Some("C02"),
            ),
            (r#"{"source":"osquery","machine":{"hostname":"ada","hardware_uuid":"U-1"},"body":{}}"#, Some("U-1")),
            (r#"{"source":"osquery","machine":{"serial_number":"","hostname":"a\u0064a"}}"#, Some("ada")),
            (r#"{"source":"door","machine":{},"payload":{"machine":{"serial_number":"no"}}}"#, Some("door")),
            (r#"{"payload":{},"source":"late"}"#, None),
            (r#"{"source":"","machine":7}"#, None),
            ("not json", None),
            ("", None),
        ] {
            assert_eq!(key(line.as_bytes()).as_deref(), want, "{line}");
        }
    }
}
