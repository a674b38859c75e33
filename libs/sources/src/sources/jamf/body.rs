//! The body of a webhook: JSON or XML, in UTF-8 or else in Latin-1, becomes canonical JSON.

use std::borrow::Cow;

use event::{Machine, json};

use super::{said, xml};
use crate::Reply;
use crate::osquery::facts;

/// The platforms whose devices Jamf calls mobile.
const MOBILE: &str = "ios";

/// The body as a JSON object.
pub(super) fn json(bytes: &[u8]) -> Result<Vec<u8>, Reply> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // Old servers send Latin-1 whatever they say: each byte is the character of that number.
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let text = text.trim_start_matches('\u{feff}').trim();
    let from_xml;
    let text = if text.starts_with('<') {
        from_xml = xml::object(text).map_err(|e| Reply::error(400, "not_xml", &format!("body is not XML: {e}")))?;
        from_xml.as_bytes()
    } else {
        text.as_bytes()
    };
    let mut object = Vec::with_capacity(text.len());
    json::canonical(text, &mut object).map_err(|e| Reply::error(400, "not_json", &format!("body is not JSON: {e}")))?;
    if object.starts_with(b"{") {
        Ok(object)
    } else {
        Err(Reply::error(400, "not_object", "body is not a JSON object"))
    }
}

/// What matters of a webhook: canonical JSON.
#[derive(Clone, Copy)]
pub(super) struct Webhook<'a> {
    about: &'a [u8],
    /// What happened, in the words of the server.
    pub event: &'a [u8],
}

impl<'a> Webhook<'a> {
    /// Of the whole body.
    pub fn read(text: &'a [u8]) -> Result<Self, Reply> {
        let part = |key: &str| {
            let part = json::get(text, key).filter(|part| part.starts_with(b"{"));
            part.ok_or_else(|| Reply::error(400, "missing_key", &format!("{key} is missing or no object")))
        };
        let webhook = Self { about: part("webhook")?, event: part("event")? };
        match webhook.type_() {
            Some(_) => Ok(webhook),
            None => Err(Reply::error(400, "missing_key", "webhook.webhookEvent is missing or no name")),
        }
    }

    /// `ComputerCheckIn`, …
    pub fn type_(&self) -> Option<String> {
        let plain = |name: &String| name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric());
        said(self.about, "webhookEvent").filter(plain)
    }

    /// When it happened, in ms since 1970; old servers do not say.
    pub fn ms(&self) -> Option<i64> {
        std::str::from_utf8(json::get(self.about, "eventTimestamp")?).ok()?.trim_matches('"').parse().ok()
    }

    /// Who used the API of the server, if it tells of that.
    pub fn user(&self) -> Option<String> {
        if self.type_().is_some_and(|name| name.eq_ignore_ascii_case("RestAPIOperation")) {
            said(self.event, "authorizedUsername")
        } else {
            None
        }
    }

    /// The machine that it is about: the computer, nested or not, or the mobile device.
    pub fn machine(&self) -> Machine {
        let nested = json::get(self.event, "computer").filter(|part| part.starts_with(b"{"));
        let device = nested.unwrap_or(self.event);
        let of = |key: &str| said(device, key);
        let mut machine = Machine {
            serial_number: of("serialNumber").and_then(|text| facts::serial(&text)),
            hardware_uuid: of("udid").and_then(|text| facts::uuid(&text)),
            ..Machine::default()
        };
        let name = self.type_().unwrap_or_default();
        machine.platform = if name.starts_with("Computer") {
            Some("macos".to_owned())
        } else if name.starts_with("MobileDevice") {
            Some(MOBILE.to_owned())
        } else {
            None
        };
        // Without a device of its own the record is about a group, the server, an account.
        if machine.key().is_none() && machine.platform.is_none() {
            return Machine::default();
        }
        machine.hostname = of("deviceName").and_then(|text| facts::name(&text));
        machine.os_version = of("osVersion").and_then(|text| facts::name(&text));
        if machine.key().is_none() { Machine::default() } else { machine }
    }
}
