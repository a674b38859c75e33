//! Distributed reading and writing: queries for one machine now, and what they gave.

use std::collections::BTreeSet;

use event::{Machine, json};

use super::{DONE, Desk, NAME, carve, inventory, legacy};
use crate::scan;
use crate::{Lines, Reply, ReplyBody, Request, Sink, Unavailable};

/// Queries given at a time: an agent runs them one after the other before it comes again.
pub const GIVEN_MAX: usize = 10;
/// Answers of one body that are looked at.
const ANSWERS_MAX: usize = 1000;
/// Bytes of rows in one raw line, about: the rows of an answer may be many lines.
const ROWS_BYTES: usize = 1 << 20;
/// Bytes of what an agent says about a query that failed.
const MESSAGE_MAX: usize = 4096;

/// A query for one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The name under which that machine answers it.
    pub name: String,
    /// The SQL.
    pub sql: String,
}

/// The query that an answer is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// When it was asked (ms since 1970): the same for each copy of an answer, so that a copy has the same id.
    pub made: i64,
    /// The tag of machines on which it gives rows.
    pub tag: Option<String>,
    /// The query, as it is called in schedules, of which this is a run.
    pub run_of: Option<String>,
    /// What led an action to ask, as the JSON of an event's `cause`.
    pub cause: Option<String>,
}

/// Answers a reading; `first` goes before what people ask.
pub(super) fn read(machine: &Machine, first: Option<Given>, desk: &dyn Desk) -> Result<Reply, Reply> {
    let given = desk.given(machine, GIVEN_MAX).map_err(|Unavailable| Reply::busy())?;
    let mut out = b"{\"queries\":{".to_vec();
    for (number, one) in first.iter().chain(&given).enumerate() {
        if number > 0 {
            out.push(b',');
        }
        json::write_str(&one.name, &mut out);
        out.push(b':');
        json::write_str(&one.sql, &mut out);
    }
    out.extend_from_slice(b"}}");
    Ok(Reply::ok(ReplyBody::Own(out)))
}

/// Takes answers; `object` is canonical.
pub(super) fn write(
    request: &Request<'_>,
    machine: &Machine,
    object: &[u8],
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let part = |key: &str| json::get(object, key).filter(|text| text.starts_with(b"{")).unwrap_or(b"{}");
    let (queries, statuses) = (part("queries"), part("statuses"));
    let names: BTreeSet<&[u8]> =
        [queries, statuses].into_iter().flat_map(json::members).filter_map(Result::ok).map(|(key, _)| key).collect();
    let mut lines = Lines::new(NAME, request, machine);
    let mut taken = 0;
    for name in names.iter().take(ANSWERS_MAX) {
        if request.route.legacy && *name == inventory::LEGACY.as_bytes() {
            taken += legacy::snapshot(queries, statuses, machine, desk, &mut lines);
            continue;
        }
        // A name of ours needs no escapes.
        let Some(asked) = std::str::from_utf8(name).ok().and_then(|name| desk.asked(machine, name)) else { continue };
        let of = |part: &'static str| {
            let part = json::get(object, part).filter(|text| text.starts_with(b"{"))?;
            json::get(part, std::str::from_utf8(name).ok()?)
        };
        let answer = Answer { asked: &asked, of: &of };
        answer.write(machine, desk, &mut lines, sink)?;
        taken += 1;
    }
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    Ok(Reply { records: taken, ..Reply::ok(DONE) })
}

struct Answer<'a> {
    asked: &'a Asked,
    of: &'a dyn Fn(&'static str) -> Option<&'a [u8]>,
}

impl Answer<'_> {
    /// One line, or several of which each has a part of the rows.
    fn write(
        &self,
        machine: &Machine,
        desk: &dyn Desk,
        lines: &mut Lines<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Reply> {
        let rows = (self.of)("queries").filter(|rows| rows.starts_with(b"[")).unwrap_or(b"[]");
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        for row in scan::items(rows) {
            if !part.is_empty() && part.len() + row.len() > ROWS_BYTES {
                parts.push(std::mem::take(&mut part));
            }
            if !part.is_empty() {
                part.push(b',');
            }
            part.extend_from_slice(row);
        }
        parts.push(part);
        let head = self.head();
        for (number, rows) in parts.iter().enumerate() {
            let mut body = head.clone();
            if parts.len() > 1 {
                body.extend_from_slice(format!("\"part\":{},\"parts\":{},", number + 1, parts.len()).as_bytes());
            }
            body.extend_from_slice(b"\"rows\":[");
            body.extend_from_slice(rows);
            body.extend_from_slice(b"]}");
            carve::look(&body, machine, desk, lines);
            lines.timed("answer", Some(self.asked.made), &body);
            lines.flush(sink, false).map_err(|_| Reply::busy())?;
        }
        Ok(())
    }

    /// From the beginning to the rows. An agent that says no status has none (osquery before 3).
    fn head(&self) -> Vec<u8> {
        let mut out = b"{\"query\":".to_vec();
        json::write_str(&self.asked.id, &mut out);
        for (key, means) in [("of", &self.asked.run_of), ("tag", &self.asked.tag)] {
            if let Some(means) = means {
                out.extend_from_slice(format!(",\"{key}\":").as_bytes());
                json::write_str(means, &mut out);
            }
        }
        if let Some(cause) = self.asked.cause.as_deref().filter(|cause| cause.starts_with('{')) {
            out.extend_from_slice(format!(",\"cause\":{cause}").as_bytes());
        }
        if let Some(status) = (self.of)("statuses").and_then(whole) {
            out.extend_from_slice(format!(",\"status\":{status}").as_bytes());
        }
        if let Some(message) = (self.of)("messages").and_then(json::parse_str).filter(|message| !message.is_empty()) {
            let message: String = message.chars().take(MESSAGE_MAX).collect();
            out.extend_from_slice(b",\"message\":");
            json::write_str(&message, &mut out);
        }
        let stats = (self.of)("stats").filter(|stats| stats.starts_with(b"{")).unwrap_or(b"{}");
        let said: Vec<String> = ["wall_time_ms", "user_time", "system_time", "memory"]
            .iter()
            .filter_map(|key| Some(format!("\"{key}\":{}", whole(json::get(stats, key)?)?)))
            .collect();
        if !said.is_empty() {
            out.extend_from_slice(format!(",\"stats\":{{{}}}", said.join(",")).as_bytes());
        }
        out.push(b',');
        out
    }
}

/// A whole number, also within quotes, or what stands before the point of another.
pub(super) fn whole(text: &[u8]) -> Option<i64> {
    let text = super::facts::text(text)?;
    let number = text.trim();
    number.parse().ok().or_else(|| number.split_once('.')?.0.parse().ok())
}
