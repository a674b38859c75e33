//! Enrolment: a secret and what the machine says of itself for a node key.

use std::borrow::Cow;

use event::json;

use super::{NAME, facts, node_invalid};
use crate::line::conflict;
use crate::{Desk, Enrolment, Lines, MachineFacts, Reply, ReplyBody, Request, Sink};

/// A longer secret is none of ours.
const SECRET_MAX: usize = 1024;

/// What an enrolment says of its secret; `object` is canonical.
pub(super) fn secret(object: &[u8]) -> Result<Cow<'_, str>, Reply> {
    let value = json::get(object, "enroll_secret")
        .ok_or_else(|| Reply::error(400, "missing_key", "enroll_secret is missing"))?;
    json::parse_str(value).ok_or_else(|| Reply::error(400, "wrong_type", "enroll_secret is not a string"))
}

/// Answers an enrolment; `object` is canonical.
pub(super) fn answer(
    request: &Request<'_>,
    object: &[u8],
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let secret = secret(object)?;
    let facts = facts::of_enrolment(object);
    if facts.key().is_none() {
        let text = "neither a serial number, a hardware uuid nor a host_identifier";
        return Err(Reply::error(400, "missing_key", text));
    }
    take_in(request, object, &secret, &facts, desk, sink)
}

/// Takes the machine of these facts in; `object` is what it said.
pub(super) fn take_in(
    request: &Request<'_>,
    object: &[u8],
    secret: &str,
    facts: &MachineFacts,
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let secret = secret.trim();
    if secret.is_empty() || secret.len() > SECRET_MAX {
        return Err(node_invalid("secret"));
    }
    match desk.enrol(NAME, secret, facts) {
        Enrolment::Unavailable => Err(Reply::busy()),
        Enrolment::Refused(reason) => Err(node_invalid(reason)),
        Enrolment::Conflict { known, why, pending } => {
            let mut lines = Lines::new(NAME, request, &known);
            lines.own("conflict", &conflict(&facts.machine(), why, pending));
            lines.flush(sink, true).map_err(|_| Reply::busy())?;
            Err(node_invalid("conflict"))
        }
        Enrolment::Accepted { node_key, machine, again } => {
            let mut lines = Lines::new(NAME, request, &machine);
            lines.own("enroll", &line(object, again));
            lines.flush(sink, true).map_err(|_| Reply::busy())?;
            desk.heard(NAME, &machine, "enroll");
            let mut body = b"{\"node_key\":".to_vec();
            json::write_str(&node_key, &mut body);
            body.push(b'}');
            Ok(Reply { records: 1, ..Reply::ok(ReplyBody::Own(body)) })
        }
    }
}

/// The request as it came, but for the secret, behind what was done with it.
fn line(object: &[u8], again: bool) -> Vec<u8> {
    let mut out = b"{\"action\":\"".to_vec();
    out.extend_from_slice(if again { b"re-enrollment\"" } else { b"enrollment\"" });
    let kept = json::members(object).filter_map(Result::ok);
    for (key, value) in kept.filter(|(key, _)| !matches!(*key, b"enroll_secret" | b"action")) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    }
    out.push(b'}');
    out
}
