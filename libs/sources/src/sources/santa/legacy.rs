//! The paths of 2017 (see [`crate::legacy`]): `/santa/STAGE/SECRET$SERIAL$sn`. The machine has no id but its serial number,
//! and may begin with any stage.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::desk::Client;
use super::{Asking, ID_MAX, fields, preflight};
use crate::jamf::decoded;
use crate::legacy::{Said, machine};
use crate::{MachineFacts, Reply, Request, Sink};

/// What the ids of these machines begin with: no hardware has such a UUID, so whoever comes later under one of its own
/// with the same serial number is the same machine.
const ID: &str = "SERIAL$";
/// Events in one upload: more than this nobody was told then.
const BATCH: u64 = 20;

/// The secret, and the id of the machine.
pub(super) fn who<'a>(request: &Request<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), Reply> {
    let part = request.parts.first().copied().unwrap_or_default();
    let text = String::from_utf8(decoded(part)).unwrap_or_default();
    let said = Said::of(&text)?;
    let id = format!("{ID}{}", said.serial()?);
    if id.len() > ID_MAX {
        return Err(Reply::text(403, "secret_value", "Invalid secret value"));
    }
    Ok((said.secret.to_owned().into(), id.into()))
}

/// The serial number that stands behind the secret.
fn serial<'a>(asking: &Asking<'a>) -> &'a str {
    asking.id.strip_prefix(ID).unwrap_or(asking.id)
}

/// Takes a machine in that begins with another stage than preflight.
pub(super) fn enrol(asking: &Asking<'_>, sink: &mut dyn Sink) -> Result<Client, Reply> {
    let facts = MachineFacts { platform: Some("macos".to_owned()), ..machine(serial(asking)) };
    let said = serde_json::json!({ "serial_num": serial(asking) }).to_string();
    preflight::enrol(asking, said.as_bytes(), &facts, sink)
}

/// The serial number of the preflight must be the one that stands behind the secret.
pub(super) fn speaks_for_itself(asking: &Asking<'_>, object: &[u8]) -> Result<(), Reply> {
    let said = ["serial_number", "serial_num"].into_iter().find_map(|name| fields::text(object, name));
    match said {
        Some(said) if said.trim() == serial(asking) => Ok(()),
        _ => Err(Reply::text(403, "conflict", "The serial number is not the one of the secret")),
    }
}

/// The settings, and the two that had names of their own then.
pub(super) fn told(asking: &Asking<'_>, mut told: Map<String, Value>) -> Map<String, Value> {
    let batch = told.get("batch_size").and_then(Value::as_u64).map_or(BATCH, |own| own.min(BATCH));
    for name in ["BatchSize", "batch_size"] {
        told.insert(name.to_owned(), batch.into());
    }
    let host = asking.request.headers.get("host").unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    // It tells the machine alone where it is already.
    if !host.is_empty() && host.bytes().all(plain) {
        let part = asking.request.parts.first().copied().unwrap_or_default();
        told.insert("UploadLogsUrl".to_owned(), format!("https://{host}/santa/logupload/{part}").into());
    }
    told
}
