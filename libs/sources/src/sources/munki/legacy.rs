//! The paths of 2017 (see [`crate::legacy`]): every request shows the secret of an enrolment in place of a token, and the
//! body says which machine it is.

use event::Machine;
use serde_json::{Map, Value};

use super::{Asked, SECRET_MAX, enrol, refused};
use crate::legacy::Said;
use crate::osquery::facts;
use crate::{MachineFacts, Reply, Sink, Speaker};

/// Where the secret stands.
const HEADER: &str = "zentral-api-secret";

/// The secret, with or without a serial number behind it. It is one of ours, or nobody reads on: a post may be long.
pub(super) fn who<'a>(asked: &Asked<'a>) -> Result<Said<'a>, Reply> {
    let said = asked.request.headers.get(HEADER).unwrap_or_default();
    let said = Said::of(said)?;
    if said.secret.is_empty() || said.secret.len() > SECRET_MAX {
        return Err(refused("secret", "a secret is needed"));
    }
    if !asked.munki.is_ours(said.secret) {
        return Err(refused("secret_bad", "the secret is none of this hub's"));
    }
    Ok(said)
}

/// The machine of this serial number, which comes in with its first request.
pub(super) fn machine(asked: &Asked<'_>, said: &Said<'_>, serial: &str, sink: &mut dyn Sink) -> Result<Machine, Reply> {
    if said.serial.is_some_and(|own| own != serial) {
        return Err(refused("conflict", "the serial number is not the one of the secret"));
    }
    let serial = facts::serial(serial).ok_or_else(|| refused("serial_number", "the serial number is none"))?;
    match asked.munki.bearer(said.secret, &serial) {
        Speaker::Known(machine) => return Ok(machine),
        // To be taken in anew would make the token worthless that it has.
        Speaker::Uncertified => return Err(Reply::no_certificate()),
        Speaker::Unavailable => return Err(Reply::busy()),
        Speaker::Unknown => {}
    }
    sink.long().map_err(|_| Reply::busy())?; // what follows waits for the disk
    let platform = Some("macos".to_owned());
    let claim = MachineFacts { serial_number: Some(serial), platform, ..MachineFacts::default() };
    let taken_in = enrol::take_in(asked, said.secret, &claim, sink);
    // Whoever is not let in may not speak: that is no mistake in what it says.
    taken_in.map(|(machine, _)| machine).map_err(|reply| Reply { status: reply.status.max(403), ..reply })
}

/// What was always wanted then: the hashes and signatures of applications, by which what Santa sees is recognised.
pub(super) fn wanted() -> Map<String, Value> {
    [("include_santa_fileinfo".to_owned(), Value::Bool(true))].into_iter().collect()
}
