//! Lines of santad's own log: pairs of a key and a value, or a telemetry message as JSON.
//!
//! `[2026-01-06T08:00:05.001Z] I santad: action=EXEC|decision=ALLOW|…`. The order of the keys has changed over the years, so
//! nothing goes by place. A value may hold `=`; in it `|` is written `<pipe>`, a newline `\n` and a carriage return `\r`.

use event::{Machine, Time, id, json};

use super::translate::{Made, add};
use super::{NAME, fields};
use crate::osquery::{facts, translate::canonical};
use crate::{RECORD_MAX, Refusal};

/// What stands before the pairs.
const PROCESS: &str = "santad: ";

/// The event of a line.
pub(super) fn line(line: &[u8], now: Time) -> Result<Made, Refusal> {
    if line.len() > RECORD_MAX {
        return Err(Refusal::new("too_long", format!("line of {} bytes is over the limit", line.len())));
    }
    let line = line.trim_ascii();
    if line.starts_with(b"{") { message(line, now) } else { pairs(line, now) }
}

/// A telemetry message, as it is.
fn message(line: &[u8], now: Time) -> Result<Made, Refusal> {
    let payload = canonical(line)?;
    let time = fields::text(&payload, "event_time").and_then(|time| time.parse::<Time>().ok());
    let machine = fields::text(&payload, "machine_id").map(|id| machine(&id)).unwrap_or_default();
    let mut objects = Vec::new();
    let execution = fields::field(&payload, "execution").unwrap_or(b"{}");
    let target = fields::field(execution, "target").unwrap_or(b"{}");
    let executable = fields::field(target, "executable").unwrap_or(b"{}");
    let digest = fields::field(executable, "hash").unwrap_or(b"{}");
    add("file:sha256", fields::text(digest, "hash").as_deref(), &mut objects);
    let signature = fields::field(target, "code_signature").unwrap_or(b"{}");
    add("team", fields::text(signature, "team_id").as_deref(), &mut objects);
    let effective = fields::field(target, "effective_user").unwrap_or(b"{}");
    add("user", fields::text(effective, "name").as_deref(), &mut objects);
    Ok(made(time, now, machine, objects, payload))
}

/// A line of pairs.
fn pairs(line: &[u8], now: Time) -> Result<Made, Refusal> {
    let text = std::str::from_utf8(line).map_err(|_| Refusal::new("not_utf8", "line is not UTF-8"))?;
    let (time, text) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((time, rest)) => (time.parse::<Time>().ok(), rest),
        None => (None, text),
    };
    let text = text.split_once(PROCESS).filter(|(before, _)| !before.contains('=')).map_or(text, |(_, pairs)| pairs);
    let text = text.trim_start();
    if !text.starts_with("action=") {
        return Err(Refusal::new("not_santa", "line is no record of santad: it has no action"));
    }
    let pairs: Vec<(&str, String)> = text
        .split('|')
        .map(|pair| pair.split_once('=').map_or((pair, String::new()), |(key, value)| (key, unescaped(value))))
        .collect();
    let value = |name: &str| pairs.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let mut objects = Vec::new();
    add("file:sha256", value("sha256"), &mut objects);
    add("team", value("teamid"), &mut objects);
    add("certificate:sha256", value("cert_sha256"), &mut objects);
    add("user", value("user"), &mut objects);
    let machine = value("machineid").map(machine).unwrap_or_default();
    Ok(made(time, now, machine, objects, object(&pairs)?))
}

/// There is no receipt: the record's own time is when it was received, too.
fn made(time: Option<Time>, now: Time, machine: Machine, objects: Vec<String>, payload: Vec<u8>) -> Made {
    let key = machine.key().unwrap_or_default();
    // A line without a time takes its content alone: the millisecond is 0, not the moment of reading.
    let id = id::event_id(time.map_or(0, Time::ms), NAME, key, &payload, 0);
    let (time, machine) = (time.unwrap_or(now), (machine != Machine::default()).then_some(machine));
    Made { id, type_: "santa_log", time, received: time, tags: vec![NAME.to_owned()], machine, objects, payload }
}

/// The machine of an id, which is its hardware's UUID unless somebody chose the serial number for it. Of other ids nobody
/// knows what they are.
fn machine(id: &str) -> Machine {
    let hardware_uuid = facts::uuid(id);
    let serial =
        |id: &str| (8..=14).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let serial_number = if hardware_uuid.is_none() && serial(id) { facts::serial(id) } else { None };
    Machine { serial_number, hardware_uuid, ..Machine::default() }
}

/// The backslash itself is not escaped, so of `\\n` nobody can say what it was: only what santad writes is undone.
fn unescaped(value: &str) -> String {
    value.replace("<pipe>", "|").replace("\\n", "\n").replace("\\r", "\r")
}

/// An object of these pairs; of equal keys the last one counts.
fn object(pairs: &[(&str, String)]) -> Result<Vec<u8>, Refusal> {
    let mut text = b"{".to_vec();
    for (key, value) in pairs {
        if text.len() > 1 {
            text.push(b',');
        }
        json::write_str(key, &mut text);
        text.push(b':');
        json::write_str(value, &mut text);
    }
    text.push(b'}');
    canonical(&text)
}
