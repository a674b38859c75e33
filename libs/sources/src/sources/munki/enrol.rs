//! Enrolment: what a secret opens, and a token for a secret.

use std::io::BufRead;

use event::Machine;
use serde_json::json;

use super::{Asked, NAME, SECRET_MAX, Secret, conflict, object, refused, text};
use crate::osquery::facts;
use crate::{Enrolment, Lines, MachineFacts, Reply, ReplyBody, Sink};

/// `GET enrollment/`: the enrolment of a secret and its version; a package grows old when that grows.
pub(super) fn info(asked: &Asked<'_>, sink: &mut dyn Sink) -> Result<Reply, Reply> {
    let (id, generation) = match asked.munki.secret(asked.shown("ZtlEnrollmentSecret")?) {
        Secret::Good { id, generation } => (id, generation),
        Secret::Refused(reason) => return Err(refused(reason, "this secret lets nobody in")),
        Secret::Unavailable => return Err(Reply::busy()),
    };
    if let Some(serial) = asked.request.headers.get("x-zentral-serial-number").and_then(facts::serial) {
        let machine = Machine { serial_number: Some(serial), ..Machine::default() };
        asked.heard(&machine, "enrollment", sink);
    }
    let body = json!({ "pk": id, "version": generation });
    Ok(Reply::ok(ReplyBody::Own(body.to_string().into_bytes())))
}

/// `POST enroll/`: a secret, a serial number and a hardware UUID for a token.
pub(super) fn answer(asked: &Asked<'_>, body: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Reply, Reply> {
    let object = object(&asked.read(body, sink)?)?;
    let wanted = |key: &'static str| {
        text(&object, key).ok_or_else(|| Reply::error(400, "missing_key", &format!("{key} is missing or no string")))
    };
    let (secret, serial) = (wanted("secret")?, wanted("serial_number")?);
    let secret = secret.trim();
    let serial_number = facts::serial(&serial);
    if serial_number.is_none() {
        return Err(Reply::error(400, "serial_number", "serial_number is none"));
    }
    if secret.is_empty() || secret.len() > SECRET_MAX {
        return Err(Reply::error(400, "secret", "this secret lets nobody in"));
    }
    let claim = MachineFacts {
        serial_number,
        hardware_uuid: text(&object, "uuid").and_then(|uuid| facts::uuid(&uuid)),
        platform: Some("macos".to_owned()),
        ..MachineFacts::default()
    };
    let (_, token) = take_in(asked, secret, &claim, sink)?;
    let body = json!({ "token": token }).to_string().into_bytes();
    Ok(Reply { records: 1, ..Reply::ok(ReplyBody::Own(body)) })
}

/// Takes a machine in: as it is known from now on, and its token.
pub(super) fn take_in(
    asked: &Asked<'_>,
    secret: &str,
    claim: &MachineFacts,
    sink: &mut dyn Sink,
) -> Result<(Machine, String), Reply> {
    match asked.desk.enrol(NAME, secret, claim) {
        Enrolment::Unavailable => Err(Reply::busy()),
        Enrolment::Refused(reason) => Err(Reply::error(400, reason, "this secret lets nobody in")),
        Enrolment::Conflict { known, why, pending } => {
            let mut lines = Lines::new(NAME, asked.request, &known);
            lines.own("conflict", &conflict(&claim.machine(), why, pending));
            lines.flush(sink, true).map_err(|_| Reply::busy())?;
            Err(Reply::error(400, "conflict", "this machine is known as another"))
        }
        Enrolment::Accepted { node_key, machine, again } => {
            let mut lines = Lines::new(NAME, asked.request, &machine);
            let action = if again { "re-enrollment" } else { "enrollment" };
            let line = json!({ "action": action, "serial_number": claim.serial_number, "uuid": claim.hardware_uuid });
            lines.own("enroll", line.to_string().as_bytes());
            lines.flush(sink, true).map_err(|_| Reply::busy())?;
            asked.desk.heard(NAME, &machine, "enroll");
            Ok((machine, node_key))
        }
    }
}
