//! The path of 2017 (see [`crate::legacy`]): the secret stands in a header, and what is no webhook of today is one event
//! as it stands.

use std::io::BufRead;

use event::{Event, Machine, Raw, json};

use super::{body, said, translate};
use crate::osquery::facts;
use crate::{Desk, Lines, Refusal, Reply, ReplyBody, Request, Sink, whole};

/// The kind of the raw lines of such a record.
pub(super) const KIND: &str = "jss";
/// The type of its event.
const TYPE: &str = "jss_event";
/// Where the secret stands.
const HEADER: &str = "zentral-api-secret";
/// The member that says which device it is about.
const DEVICE: &str = "eventObject";

/// `Err` is a reply, too: the one that ends the conversation early.
pub(super) fn post(
    request: &Request<'_>,
    body: &mut dyn BufRead,
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let secret = request.headers.get(HEADER).unwrap_or_default().trim();
    let callers = desk.jamf().iter();
    let caller =
        callers.fold(None, |found, caller| if caller.secret.is(secret.as_bytes()) { Some(caller) } else { found });
    let caller = caller.ok_or_else(|| Reply::error(403, "secret", "the secret is none of this hub's"))?;
    let text = body::json(&whole::read(request, body, sink)?)?;
    if body::Webhook::read(&text).is_ok() {
        return super::webhook(request, caller, &text, sink);
    }
    let mut lines = Lines::new(&caller.name, request, &machine(&text));
    lines.timed(KIND, None, &text);
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    Ok(Reply { records: 1, ..Reply::ok(ReplyBody::Fixed("{}")) })
}

/// The device, which stands at the top or one level below.
fn machine(text: &[u8]) -> Machine {
    let object = |value: &&[u8]| value.starts_with(b"{");
    let below = || json::members(text).filter_map(Result::ok).map(|(_, value)| value).filter(object);
    let device = json::get(text, DEVICE).or_else(|| below().find_map(|value| json::get(value, DEVICE)));
    let device = device.filter(object).unwrap_or(b"{}");
    let machine = Machine {
        serial_number: said(device, "serialNumber").and_then(|text| facts::serial(&text)),
        hardware_uuid: said(device, "udid").and_then(|text| facts::uuid(&text)),
        hostname: said(device, "deviceName").and_then(|text| facts::name(&text)),
        ..Machine::default()
    };
    // A name alone may be that of many.
    if machine.serial_number.is_none() && machine.hardware_uuid.is_none() { Machine::default() } else { machine }
}

/// The event of a raw line: the body as it stands.
pub(super) fn event(raw: &Raw) -> Result<Event, Refusal> {
    let text = translate::text(raw)?;
    if !text.starts_with(b"{") {
        return Err(Refusal::new("not_object", "record is not a JSON object"));
    }
    translate::event(raw, TYPE.to_owned(), None, &text)
}
