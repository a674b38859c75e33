//! Machines for spreadsheets (RFC 4180).

use serde_json::{Map, Value};

/// The columns.
const COLUMNS: [&str; 13] = [
    "key",
    "serial_number",
    "hardware_uuid",
    "hostname",
    "platform",
    "os_version",
    "unit",
    "tags",
    "groups",
    "user",
    "sources",
    "first_seen",
    "last_seen",
];

/// The first line.
pub fn head() -> String {
    COLUMNS.join(",") + "\r\n"
}

/// The line of a machine, of what [`super::Known::line`] tells of it.
pub fn row(line: &Map<String, Value>) -> String {
    COLUMNS.map(|key| cell(&line.get(key).map(text).unwrap_or_default())).join(",") + "\r\n"
}

/// A value as people read it: lists stand as words in one cell.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A cell: quoted where it must be. What a spreadsheet would take for a formula is text: names of machines come from
/// outside.
pub fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_text_and_nothing_else() {
        for (text, want) in [
            ("mac", "mac"),
            ("Ada's \"Mac\", old", "\"Ada's \"\"Mac\"\", old\""),
            ("=cmd|' /c calc'!A0", "'=cmd|' /c calc'!A0"),
            ("-1", "'-1"),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(cell(text), want);
        }
    }
}
