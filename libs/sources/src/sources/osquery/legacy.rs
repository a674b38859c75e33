//! The paths of 2017 (see [`crate::legacy`]): the same conversation, but for how a machine enrols, what the query of the
//! inventory is called, and how errors are said.

use std::sync::Arc;

use event::{Machine, json};

use super::config::CONFIG_MAX;
use super::distributed::{Given, whole};
use super::inventory::{LEGACY, NAME as OURS};
use super::{NO_NODE_KEY, enrol, facts, node_invalid, own};
use crate::legacy::{Said, machine, plain};
use crate::santa::Denied;
use crate::{Lines, MachineFacts, Reply, ReplyBody, Request, Sink};

/// Answers an enrolment: the serial number stands behind the secret, and what else is known of the machine in the body.
pub(super) fn enrol(
    request: &Request<'_>,
    object: &[u8],
    desk: &dyn crate::Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let text = enrol::secret(object)?;
    let said = Said::of(&text)?;
    if said.serial.is_none() {
        // That something is missing is for those to know who have the rest.
        own(desk).admits(said.secret).map_err(|denied| match denied {
            Denied::Refused(reason) => node_invalid(reason),
            Denied::Unavailable => Reply::busy(),
        })?;
    }
    let (named, told) = (machine(said.serial()?), facts::of_enrolment(object));
    let facts = MachineFacts {
        serial_number: named.serial_number.or_else(|| told.serial_number.clone()),
        hostname: told.hostname.clone().or(named.hostname),
        ..told
    };
    enrol::take_in(request, object, said.secret, &facts, desk, sink)
}

/// The configuration with the name of then for the query of the inventory.
pub(super) fn config(config: &Arc<[u8]>) -> ReplyBody {
    let named = rename(config, |key, value, out| match key {
        b"schedule" => out.extend(rename(value, |_, value, out| out.extend_from_slice(value))),
        _ => out.extend_from_slice(value),
    });
    // What an agent would not take is told as it was: results under our name are understood as well.
    if named.len() > CONFIG_MAX { ReplyBody::Shared(config.clone()) } else { ReplyBody::Own(named) }
}

/// An object with its keys as they were called then, and what `value` makes of its values.
fn rename(object: &[u8], value: impl Fn(&[u8], &[u8], &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + LEGACY.len());
    out.push(b'{');
    for (key, told) in json::members(object).filter_map(Result::ok) {
        if out.len() > 1 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(if key == OURS.as_bytes() { LEGACY.as_bytes() } else { key });
        out.extend_from_slice(b"\":");
        value(key, told, &mut out);
    }
    out.push(b'}');
    out
}

/// The query of the inventory for a machine that has not told it yet: then it was not waited for until its schedule came.
pub(super) fn inventory(machine: &Machine, desk: &dyn crate::Desk) -> Result<Option<Given>, Reply> {
    let config = desk.osquery_config(machine).map_err(|_| Reply::busy())?;
    let query = json::get(&config, "schedule").and_then(|schedule| json::get(schedule, OURS));
    let Some(sql) = query.and_then(|query| json::get(query, "query")).and_then(json::parse_str) else {
        return Ok(None);
    };
    let due = own(desk).inventory_due(machine);
    Ok(due.then(|| Given { name: LEGACY.to_owned(), sql: sql.into_owned() }))
}

/// What came of it is a snapshot like that of the schedule; of a query that failed nothing is. How many records it was.
pub(super) fn snapshot(
    queries: &[u8],
    statuses: &[u8],
    machine: &Machine,
    desk: &dyn super::Desk,
    lines: &mut Lines<'_>,
) -> usize {
    let failed = json::get(statuses, LEGACY).and_then(whole).is_some_and(|status| status != 0);
    let rows = json::get(queries, LEGACY).filter(|rows| rows.starts_with(b"[") && *rows != b"[]");
    let Some(rows) = rows.filter(|_| !failed) else { return 0 };
    let head = format!("{{\"name\":\"{LEGACY}\",\"action\":\"snapshot\",\"snapshot\":");
    lines.timed("result", None, &[head.as_bytes(), rows, b"}"].concat());
    desk.inventory_came(machine);
    1
}

/// The reply as it was said then. Nobody is sent to enrol again.
pub(super) fn worded(reply: Reply) -> Reply {
    let missing = reply.status == 400
        && json::get(reply.body.as_bytes(), "error").and_then(json::parse_str).as_deref() == Some(NO_NODE_KEY);
    match reply.reason {
        "node_invalid" => Reply::text(403, reply.reason, "Wrong node_key"),
        _ if missing => Reply::text(403, reply.reason, "Missing node_key"),
        // Who is not let in is told so by a status of 200 elsewhere.
        reason => match crate::legacy::denied(reason) {
            Some(text) => Reply::text(403, reason, text),
            None => plain(reply),
        },
    }
}
