//! One report of a run: its head and its events, as JSON or as the property list that Munki wrote.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::post::Post;
use super::{pieces, plist, time};
use crate::{NoRoom, RECORD_MAX};

/// A report of more events travels as several lines: each row of a line repeats the report's head as an event.
const CHUNK: usize = 1 << 20;
/// So does one of more events than this.
const CHUNK_ROWS: usize = 4096;
/// A longer head stands in the first line only, and what is short of it in the others.
const HEAD_MAX: usize = 64 << 10;
/// What is short.
const SHORT_MAX: usize = 4 << 10;
/// Members that stand in every line.
const NAMES: [&str; 6] = ["basename", "sha1sum", "run_type", "start_time", "end_time", "munki_version"];

/// A report that was understood.
pub(super) struct Report<'t> {
    /// Members but for its events: key and canonical value.
    head: Vec<(String, Vec<u8>)>,
    /// Its events, a time and what happened each.
    pub rows: Vec<Cow<'t, [u8]>>,
    start: Option<i64>,
    /// SHA-1 of the file.
    pub sha1sum: Option<String>,
    /// When it ended, or began, in ms since 1970.
    pub at: Option<i64>,
    /// The managed installs that it lists, as rows `[name, version, display_name]`.
    pub installs: Option<Vec<u8>>,
}

impl<'t> Report<'t> {
    /// Reads one. `keys`: the conditions that are wanted of a property list. The error is a word.
    pub(super) fn read(text: &'t [u8], keys: &[String]) -> Result<Self, &'static str> {
        if !text.starts_with(b"{") {
            return Err("shape");
        }
        let members = pieces::members(text);
        let mut report =
            Self { head: Vec::new(), rows: Vec::new(), start: None, sha1sum: None, at: None, installs: None };
        for (key, value) in &members {
            if !matches!(*key, "events" | "plist") {
                let value = pieces::canonical(value).ok_or("not_json")?;
                report.head.push(((*key).to_owned(), value));
            }
        }
        if let Some(base64) = pieces::string(&members, "plist") {
            let bytes = STANDARD.decode(base64).map_err(|_| "plist")?;
            let Ok(Value::Object(list)) = plist::parse(&bytes) else { return Err("plist") };
            report.take(list, keys);
        } else if let Some(events) = pieces::said(&members, "events") {
            if !events.starts_with(b"[") {
                return Err("shape");
            }
            report.rows = pieces::items(events).map(Cow::Borrowed).collect();
        }
        report.start = report.time("start_time");
        report.at = report.time("end_time").or(report.start);
        report.sha1sum = report.of("sha1sum").and_then(|text| sha1(&event::json::parse_str(text)?));
        Ok(report)
    }

    fn of(&self, key: &str) -> Option<&[u8]> {
        self.head.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_slice())
    }

    fn time(&self, key: &str) -> Option<i64> {
        self.of(key).and_then(time::of_value)
    }

    /// What Munki wrote down (`ManagedInstallReport.plist`), under the names of the wire.
    fn take(&mut self, mut list: Map<String, Value>, keys: &[String]) {
        let names = [
            ("StartTime", "start_time"),
            ("EndTime", "end_time"),
            ("RunType", "run_type"),
            ("ManagedInstallVersion", "munki_version"),
            ("ManifestName", "manifest"),
            ("ConsoleUser", "console_user"),
        ];
        for (theirs, ours) in names {
            if let Some(value) = list.remove(theirs).filter(|value| value != "<None>") {
                self.head.push((ours.to_owned(), value.to_string().into_bytes()));
            }
        }
        if let Some(Value::Object(conditions)) = list.remove("Conditions") {
            let wanted: Map<String, Value> = conditions.into_iter().filter(|(key, _)| keys.contains(key)).collect();
            if !wanted.is_empty() {
                self.head.push(("conditions".to_owned(), Value::Object(wanted).to_string().into_bytes()));
            }
        }
        let text = |report: &Self, key| report.of(key).and_then(|text| serde_json::from_slice::<Value>(text).ok());
        let begun = text(self, "start_time").unwrap_or(Value::Null);
        let ended = text(self, "end_time").unwrap_or_else(|| begun.clone());
        let mut rows = vec![json!([begun, {"type": "start"}])];
        for (key, type_) in [("InstallResults", "install"), ("RemovalResults", "removal")] {
            for result in items(list.remove(key)) {
                let Value::Object(mut result) = result else { continue };
                let at = result.remove("time").unwrap_or_else(|| ended.clone());
                result.insert("type".into(), type_.into());
                rows.push(json!([at, result]));
            }
        }
        for (key, type_) in [("Warnings", "warning"), ("Errors", "error")] {
            rows.extend(items(list.remove(key)).map(|message| json!([ended, {"type": type_, "message": message}])));
        }
        self.rows = rows.into_iter().map(|row| Cow::Owned(row.to_string().into_bytes())).collect();
        self.installs = list.remove("ManagedInstalls").map(|all| {
            let installed = items(Some(all)).filter(|item| item.get("installed") == Some(&Value::Bool(true)));
            let row = |item: Value| json!([item.get("name"), item.get("installed_version"), item.get("display_name")]);
            Value::Array(installed.map(row).collect()).to_string().into_bytes()
        });
    }

    /// Its raw lines: one, unless there is much of it.
    pub(super) fn write(&self, post: &mut Post<'_>) -> Result<(), NoRoom> {
        let all = head(self.head.iter());
        let short = if all.len() <= HEAD_MAX {
            all.clone()
        } else {
            let short = |(key, value): &&(String, Vec<u8>)| NAMES.contains(&key.as_str()) && value.len() <= SHORT_MAX;
            head(self.head.iter().filter(short))
        };
        let (mut line, mut rows) = (all, 0);
        if line.len() > RECORD_MAX / 2 {
            self.end(line, post)?;
            line = short.clone();
        }
        for row in &self.rows {
            let Some(row) = pieces::canonical(row).filter(|row| row.starts_with(b"[")) else {
                post.broken("events", row)?;
                continue;
            };
            if rows > 0 && (line.len() + row.len() > CHUNK || rows == CHUNK_ROWS) {
                self.end(std::mem::replace(&mut line, short.clone()), post)?;
                rows = 0;
            }
            if rows > 0 {
                line.push(b',');
            }
            line.extend_from_slice(&row);
            rows += 1;
        }
        self.end(line, post)
    }

    fn end(&self, mut line: Vec<u8>, post: &mut Post<'_>) -> Result<(), NoRoom> {
        line.extend_from_slice(b"]}");
        post.line("report", self.start.or(self.at), &line)
    }
}

/// `{"basename":…,"events":[`
fn head<'h>(members: impl Iterator<Item = &'h (String, Vec<u8>)>) -> Vec<u8> {
    let mut out = b"{".to_vec();
    for (key, value) in members {
        event::json::write_str(key, &mut out);
        out.push(b':');
        out.extend_from_slice(value);
        out.push(b',');
    }
    out.extend_from_slice(b"\"events\":[");
    out
}

fn items(value: Option<Value>) -> impl Iterator<Item = Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
    .into_iter()
}

/// The SHA-1 that a text is, in small letters.
fn sha1(text: &str) -> Option<String> {
    (text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}
