//! A webhook as an event: `jamf_` and the words of its name.

use event::{Body, Event, Machine, Raw, VERSION, json};
use serde_json::value::RawValue;

use super::{NAME, body::Webhook, said};
use crate::Refusal;
use crate::osquery::translate::{believed, canonical};

/// Longer names of objects are left out.
const OBJECT_MAX: usize = 128;

/// The event of a raw line of the kind `webhook`. Its payload is what the server said of the event, unchanged.
pub(super) fn webhook(raw: &Raw) -> Result<Event, Refusal> {
    let text = text(raw)?;
    let shape = |_| Refusal::new("shape", "record is no webhook of Jamf");
    let webhook = Webhook::read(&text).map_err(shape)?;
    let name = webhook.type_().unwrap_or_default();
    let event = event(raw, type_name(&name), webhook.ms(), webhook.event)?;
    Ok(Event { objects: objects(webhook.event), ..event })
}

/// The record of a raw line.
pub(super) fn text(raw: &Raw) -> Result<Vec<u8>, Refusal> {
    match &raw.body {
        Body::Json(text) => canonical(text.get().as_bytes()),
        Body::Base64 { .. } => Err(Refusal::new("not_json", "record came as bytes")),
        Body::Cut { cut } => Err(Refusal::new("too_long", format!("record of {} bytes is over the limit", cut.bytes))),
    }
}

/// An event of a raw line; `ms` is when the server says that it was.
pub(super) fn event(raw: &Raw, type_: String, ms: Option<i64>, payload: &[u8]) -> Result<Event, Refusal> {
    let (time, clock) = believed(ms, raw.received);
    let mut tags = vec![NAME.to_owned(), "jamf_webhook".to_owned()];
    if clock {
        tags.push("clock".to_owned());
    }
    let payload = std::str::from_utf8(payload).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
    Ok(Event {
        v: VERSION,
        id: raw.id.clone(),
        type_,
        time,
        received: raw.received,
        source: raw.source.clone(),
        tags,
        machine: (raw.machine != Machine::default()).then(|| raw.machine.clone()),
        request: raw.request.clone(),
        objects: Vec::new(),
        cause: None,
        probes: Vec::new(),
        extra: raw.extra.clone(),
        payload: payload.ok_or_else(|| Refusal::new("not_json", "record is not JSON"))?,
    })
}

/// `jamf_computer_inventory_completed` of `ComputerInventoryCompleted`; a run of capitals is one word, and a check-in has
/// always been one.
pub(super) fn type_name(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "jssstartup" => return "jamf_startup".into(),
        "jssshutdown" => return "jamf_shutdown".into(),
        "computercheckin" => return "jamf_computer_checkin".into(),
        "mobiledevicecheckin" => return "jamf_mobile_device_checkin".into(),
        "mobiledeviceunenrolled" => return "jamf_mobile_device_unenrolled".into(),
        _ => {}
    }
    let bytes = name.as_bytes();
    let mut out = "jamf".to_owned();
    for (i, byte) in bytes.iter().enumerate() {
        let upper = |at: Option<&u8>| at.is_some_and(u8::is_ascii_uppercase);
        let before = i.checked_sub(1).and_then(|i| bytes.get(i));
        let after = bytes.get(i + 1);
        let begins =
            byte.is_ascii_uppercase() && (!upper(before) || after.is_some_and(u8::is_ascii_lowercase)) || i == 0;
        if begins {
            out.push('_');
        }
        out.push(char::from(byte.to_ascii_lowercase()));
    }
    out
}

/// The user, and the group whose members changed.
fn objects(event: &[u8]) -> Vec<String> {
    let nested = json::get(event, "computer").filter(|part| part.starts_with(b"{")).unwrap_or(event);
    let user = said(nested, "username").or_else(|| said(event, "authorizedUsername"));
    let group = json::get(event, "smartGroup").and_then(|_| said(event, "name"));
    [("user", user), ("group", group)]
        .into_iter()
        .filter_map(|(kind, name)| Some(format!("{kind}:{}", name.filter(|name| name.len() <= OBJECT_MAX)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_called_as_they_always_were() {
        for (name, want) in [
            ("ComputerAdded", "jamf_computer_added"),
            ("ComputerCheckIn", "jamf_computer_checkin"),
            ("ComputerCheckin", "jamf_computer_checkin"),
            ("ComputerInventoryCompleted", "jamf_computer_inventory_completed"),
            ("ComputerPatchPolicyCompleted", "jamf_computer_patch_policy_completed"),
            ("ComputerPolicyFinished", "jamf_computer_policy_finished"),
            ("ComputerPushCapabilityChanged", "jamf_computer_push_capability_changed"),
            ("DeviceAddedToDEP", "jamf_device_added_to_dep"),
            ("DeviceRateLimited", "jamf_device_rate_limited"),
            ("JSSShutdown", "jamf_shutdown"),
            ("JSSStartup", "jamf_startup"),
            ("MobileDeviceCheckIn", "jamf_mobile_device_checkin"),
            ("MobileDeviceCommandCompleted", "jamf_mobile_device_command_completed"),
            ("MobileDeviceEnrolled", "jamf_mobile_device_enrolled"),
            ("MobileDeviceInventoryCompleted", "jamf_mobile_device_inventory_completed"),
            ("MobileDevicePushSent", "jamf_mobile_device_push_sent"),
            ("MobileDeviceUnEnrolled", "jamf_mobile_device_unenrolled"),
            ("PatchSoftwareTitleUpdated", "jamf_patch_software_title_updated"),
            ("PushSent", "jamf_push_sent"),
            ("RestAPIOperation", "jamf_rest_api_operation"),
            ("SCEPChallenge", "jamf_scep_challenge"),
            ("SmartGroupComputerMembershipChange", "jamf_smart_group_computer_membership_change"),
            ("SmartGroupMobileDeviceMembershipChange", "jamf_smart_group_mobile_device_membership_change"),
            ("SmartGroupUserMembershipChange", "jamf_smart_group_user_membership_change"),
            ("ComputerTeleported", "jamf_computer_teleported"),
        ] {
            assert_eq!(type_name(name), want);
        }
    }
}
