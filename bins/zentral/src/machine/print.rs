//! Machines for people, for programs and for spreadsheets.

use event::printable;
use pipe::StageError;
use registry::known::csv::{self, text};
use serde_json::{Map, Value};

/// Prints machines, one after the other.
pub enum Printer {
    /// One JSON object a line.
    Json,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// For a terminal.
    Table,
}

impl Printer {
    /// Begins.
    pub fn new(csv: bool, table: bool) -> Result<Self, StageError> {
        let (printer, head) = match (csv, table) {
            (true, _) => (Self::Csv, csv::head()),
            (_, true) => {
                (Self::Table, row(["KEY", "HOST NAME", "PLATFORM", "OS", "UNIT", "LAST SEEN", "SOURCES", "TAGS"]))
            }
            _ => (Self::Json, String::new()),
        };
        put(&head)?;
        Ok(printer)
    }

    /// A machine.
    pub fn line(&mut self, line: &Map<String, Value>) -> Result<(), StageError> {
        let of = |key: &str| line.get(key).map(text).unwrap_or_default();
        put(&match self {
            Self::Json => format!("{}\n", Value::Object(line.clone())),
            Self::Csv => csv::row(line),
            Self::Table => {
                let seen: String = of("last_seen").chars().take(19).collect();
                let columns = ["key", "hostname", "platform", "os_version", "unit"].map(of);
                let [key, name, platform, os, unit] = &columns;
                row([key, name, platform, os, unit, &seen, &of("sources"), &of("tags")])
            }
        })
    }
}

fn put(text: &str) -> Result<(), StageError> {
    if text.is_empty() { Ok(()) } else { pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error) }
}

fn row(columns: [&str; 8]) -> String {
    let [key, name, platform, os, unit, seen, sources, tags] =
        columns.map(|text| printable(if text.is_empty() { "-" } else { text }));
    format!("{key:<20} {name:<24} {platform:<8} {os:<10} {unit:<12} {seen:<19}  {sources:<16} {tags}\n")
}

/// All that is known of a machine, for a terminal: its fields, how many things it has, and what changed of late.
pub fn shown(whole: &Map<String, Value>) -> String {
    let mut out = String::new();
    let fields = whole.get("fields").and_then(Value::as_object);
    for (key, value) in whole.iter().filter(|(_, value)| !value.is_object() && !has_objects(value)) {
        let by = fields.and_then(|fields| fields.get(key)).map(|by| format!("  ({})", text(by))).unwrap_or_default();
        out += &printable(&format!("{key:<16} {}{by}", text(value)));
        out.push('\n');
    }
    for one in whole.get("pending").and_then(Value::as_array).into_iter().flatten() {
        let of = |key: &str| one.get(key).map(text).unwrap_or_default();
        let leave = if one.get("approved").is_some_and(Value::is_null) { "waits" } else { "approved" };
        let line = format!("{leave:<16} {} {} ({}), last {}", of("source"), of("hardware"), of("why"), of("last"));
        out += &printable(&line);
        out.push('\n');
    }
    for check in whole.get("checks").and_then(Value::as_array).into_iter().flatten() {
        let of = |key: &str| check.get(key).map(text).unwrap_or_default();
        out += &printable(&format!("{:<24} {:<12}  ({})", of("check"), of("status"), of("time")));
        out.push('\n');
    }
    for (kind, things) in whole.get("parts").and_then(Value::as_object).into_iter().flatten() {
        let by = whole.get("told_by").and_then(|told| told.get(kind)).map(text).unwrap_or_default();
        let n = things.as_array().map_or(0, Vec::len);
        out += &printable(&format!("{kind:<24} {n:>6}  ({by})"));
        out.push('\n');
    }
    for past in whole.get("history").and_then(Value::as_array).into_iter().flatten() {
        let of = |key: &str| past.get(key).map(text).unwrap_or_default();
        for change in past.get("changes").and_then(Value::as_array).into_iter().flatten() {
            let what = |key: &str| change.get(key).map(text).unwrap_or_default();
            let line =
                format!("{}  {}  {} {} {}", of("received"), of("source"), what("kind"), what("action"), what("object"));
            out += &printable(&line.chars().take(160).collect::<String>());
            out.push('\n');
        }
    }
    out
}

fn has_objects(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().any(Value::is_object) || list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_shown_one_by_one() {
        let check = serde_json::json!({"check": "disk", "status": "FAILED", "time": "2026-01-06T08:00:00.000Z"});
        let whole = serde_json::json!({"compliance": "FAILED", "checks": [check]});
        let shown = whole.as_object().map(shown).unwrap_or_default();
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        let want = [vec!["compliance", "FAILED"], vec!["disk", "FAILED", "(2026-01-06T08:00:00.000Z)"]];
        assert_eq!(lines, want);
    }
}
