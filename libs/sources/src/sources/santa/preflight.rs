//! Preflight: the machine says what it is, and hears its settings and what kind of sync this will be.

use std::io::BufRead;

use event::inventory::Snapshot;
use event::{Body, Machine, Raw, json};
use serde_json::{Map, Value};

use super::desk::{Client, Enrolled};
use super::{Asking, NAME, PREFLIGHT_MAX, denied, fields, legacy, proto, sync};
use crate::line::conflict;
use crate::osquery::facts;
use crate::{Lines, MachineFacts, Reply, Sink};

/// Answers a preflight.
pub(super) fn answer(asking: &Asking<'_>, body: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Reply, Reply> {
    // Whose secret opens nothing is told so before anything of the body is read.
    let known = asking.desk.client(asking.secret, asking.id).map_err(denied)?;
    if known.is_none() {
        asking.desk.admits(asking.secret).map_err(denied)?;
    }
    let object = fields::read(asking.request, body, PREFLIGHT_MAX, sink)?;
    let facts = said(&object, asking.id)?;
    if asking.request.route.legacy {
        legacy::speaks_for_itself(asking, &object)?;
    }
    let (client, changed) = match known {
        Some(client) if tells_nothing(&facts, &client.facts) => (client, false),
        _ => (enrol(asking, &object, &facts, sink)?, true),
    };
    if let Some(mut lines) = asking.said(&client.machine, &object, changed) {
        lines.flush(sink, true).map_err(|_| Reply::busy())?;
    }
    let confirmed = client.ledger.confirmed.filter(|_| sync::has_none(&object));
    let confirmed = confirmed.map(|hash| asking.desk.kept(&hash)).transpose().map_err(|_| Reply::busy())?;
    let kind = sync::kind(&client, &object, confirmed.as_deref());
    let (client, _) = sync::begin(asking, client, kind, sink)?;
    let settings = asking.desk.settings(&client.machine);
    let told = || {
        let told = settings.told(client.version(), kind);
        if asking.request.route.legacy { legacy::told(asking, told) } else { told }
    };
    let reply = asking.ok(|| told().into(), || proto::preflight(&settings, kind));
    Ok(Reply { records: 1, ..reply })
}

/// What the machine says of itself; four of these no agent leaves out.
fn said(object: &[u8], id: &str) -> Result<MachineFacts, Reply> {
    let required = |names: &[&str]| {
        let found = names.iter().find_map(|name| fields::text(object, name));
        let missing = || format!("{} is missing", names.first().unwrap_or(&""));
        found.ok_or_else(|| Reply::error(400, "missing_key", &missing()))
    };
    required(&["serial_number", "serial_num"])?;
    required(&["os_build"])?;
    required(&["os_version"])?;
    required(&["hostname"])?;
    let facts = of(object, Some(id));
    if facts.key().is_none() {
        return Err(Reply::error(400, "missing_key", "neither a serial number, a hardware uuid nor a hostname"));
    }
    Ok(facts)
}

/// The facts of a preflight; the machine's id is its hardware's UUID unless somebody chose another.
fn of(object: &[u8], id: Option<&str>) -> MachineFacts {
    let text = |name| fields::text(object, name);
    let id = text("machine_id").or(id.map(Into::into));
    MachineFacts {
        serial_number: text("serial_number").or_else(|| text("serial_num")).and_then(|s| facts::serial(&s)),
        hardware_uuid: id.and_then(|id| facts::uuid(&id)),
        hostname: text("hostname").and_then(|name| facts::name(&name)),
        platform: Some("macos".to_owned()),
        os_version: text("os_version").and_then(|version| facts::name(&version)),
        agent_version: text("santa_version").and_then(|version| facts::name(&version)),
    }
}

/// Whether a machine says of itself what is known. Where it is silent, that stays.
fn tells_nothing(said: &MachineFacts, known: &MachineFacts) -> bool {
    let same = |said: &Option<String>, known: &Option<String>| said.is_none() || said == known;
    same(&said.serial_number, &known.serial_number)
        && same(&said.hardware_uuid, &known.hardware_uuid)
        && same(&said.hostname, &known.hostname)
        && same(&said.platform, &known.platform)
        && same(&said.os_version, &known.os_version)
        && same(&said.agent_version, &known.agent_version)
}

/// The facts of a raw line.
pub(super) fn of_raw(raw: &Raw) -> Option<MachineFacts> {
    match &raw.body {
        Body::Json(body) if matches!(raw.kind.as_str(), "preflight" | "enroll") => {
            Some(of(body.get().as_bytes(), None))
        }
        _ => None,
    }
}

/// What a preflight tells of the machine itself.
pub(super) fn snapshot(raw: &Raw) -> Option<Snapshot> {
    let Body::Json(body) = &raw.body else { return None };
    let (object, facts) = (body.get().as_bytes(), of_raw(raw)?);
    fields::text(object, "os_version")?; // of a machine that began with another stage nothing is told yet
    let part = |pairs: &[(&str, &str)]| {
        let told = pairs.iter().filter_map(|(name, field)| {
            Some(((*name).to_owned(), Value::from(facts::name(&fields::text(object, field)?)?)))
        });
        told.collect::<Map<String, Value>>()
    };
    let mut system = part(&[("computer_name", "hostname"), ("hardware_model", "model_identifier")]);
    system.extend(facts.serial_number.clone().map(|serial| ("hardware_serial".to_owned(), serial.into())));
    let mut version = part(&[("version", "os_version"), ("build", "os_build")]);
    version.insert("name".to_owned(), "macOS".into());
    let user = part(&[("unique_id", "primary_user"), ("principal_name", "primary_user")]);
    let name = user.get("principal_name").and_then(Value::as_str).map(str::to_owned);
    let mut parts = vec![("os_version", version), ("system_info", system)];
    // Whoever has none configured tells none: what was known stays.
    if name.is_some() {
        let source = std::iter::once(("source".to_owned(), Value::from(NAME)));
        parts.push(("principal_user", source.chain(user).collect()));
    }
    Some(Snapshot {
        source: raw.source.clone(),
        taken: raw.received,
        machine: Machine { unit: raw.machine.unit.clone(), user: name, ..facts.machine() },
        parts: parts.into_iter().map(|(kind, part)| (kind.to_owned(), vec![part])).collect(),
    })
}

/// Takes the machine in, or takes down what is new about it.
pub(super) fn enrol(
    asking: &Asking<'_>,
    object: &[u8],
    facts: &MachineFacts,
    sink: &mut dyn Sink,
) -> Result<Client, Reply> {
    sink.long().map_err(|_| Reply::busy())?; // what follows waits for the disk
    match asking.desk.enrol(asking.secret, asking.id, facts).map_err(denied)? {
        Enrolled::Conflict { known, why, pending } => {
            let mut lines = Lines::new(NAME, asking.request, &known);
            lines.own("conflict", &conflict(&facts.machine(), why, pending));
            lines.flush(sink, true).map_err(|_| Reply::busy())?;
            Err(Reply::error(403, "conflict", "not admitted"))
        }
        Enrolled::Done { client, new, again } => {
            if new {
                let mut lines = Lines::new(NAME, asking.request, &client.machine);
                lines.own("enroll", &enrolment(object, again));
                lines.flush(sink, true).map_err(|_| Reply::busy())?;
            }
            Ok(client)
        }
    }
}

/// The preflight as it came, behind what was done with it.
fn enrolment(object: &[u8], again: bool) -> Vec<u8> {
    let mut out = b"{\"action\":\"".to_vec();
    out.extend_from_slice(if again { b"re-enrollment\"" } else { b"enrollment\"" });
    for (key, value) in json::members(object).filter_map(Result::ok).filter(|(key, _)| *key != b"action") {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    }
    out.push(b'}');
    out
}
