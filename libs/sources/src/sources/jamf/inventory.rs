//! What a Jamf server knows of a computer: the record of its API (`/JSSResource/computers/id/N`) as a snapshot.
//!
//! A raw line of the kind `computer` holds `{"url", "computer"}`; `pull` writes it.

use std::collections::BTreeMap;

use event::inventory::Snapshot;
use event::{Machine, Raw};
use serde_json::{Value, json};

use crate::osquery::facts;
use crate::osquery::translate::believed;
use crate::pulled::{Object, body, pick};
use crate::{MachineFacts, Refusal};

/// The machine of a computer's record. `units` names the unit of a site.
pub fn machine(computer: &Value, units: &BTreeMap<String, String>) -> Machine {
    let general = |key: &str| computer.pointer(&format!("/general/{key}")).and_then(Value::as_str);
    let user =
        ["/location/email_address", "/location/username"].into_iter().find_map(|at| named(computer.pointer(at)?));
    let site = computer.pointer("/general/site/name").and_then(Value::as_str);
    let version = computer.pointer("/hardware/os_version");
    let platform = match general("platform").or(computer.pointer("/hardware/os_name").and_then(Value::as_str)) {
        Some("Windows") => "windows",
        _ => "macos",
    };
    Machine {
        serial_number: general("serial_number").and_then(facts::serial),
        hardware_uuid: general("udid").and_then(facts::uuid),
        hostname: general("name").and_then(facts::name),
        platform: Some(platform.to_owned()),
        os_version: version.and_then(named),
        unit: site.and_then(|site| units.get(site)).cloned(),
        groups: groups(computer),
        user,
        ..Machine::default()
    }
}

/// When the record was made, in ms since 1970.
pub fn taken(computer: &Value) -> Option<i64> {
    computer.pointer("/general/report_date_epoch").and_then(Value::as_i64).filter(|ms| *ms > 0)
}

fn groups(computer: &Value) -> Vec<String> {
    let names = list(computer, "/groups_accounts/computer_group_memberships");
    let mut groups: Vec<String> = names.iter().filter_map(named).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// The snapshot of a line. An application, a disk … that is no object is left out; the rest is kept.
pub(super) fn snapshot(raw: &Raw) -> Result<Snapshot, Refusal> {
    let body = body(raw)?;
    let computer = body.get("computer").filter(|computer| computer.is_object());
    let computer = computer.ok_or_else(|| Refusal::new("shape", "record holds no computer"))?;
    let taken = believed(taken(computer), raw.received).0;
    Ok(Snapshot { source: raw.source.clone(), taken, machine: raw.machine.clone(), parts: parts(&body, computer) })
}

/// What the record tells of the machine's names; nothing without a unit, for it would take away the one that an
/// enrolment gave.
pub(super) fn facts(raw: &Raw) -> Option<MachineFacts> {
    raw.machine.unit.as_ref()?;
    let Machine { serial_number, hardware_uuid, hostname, platform, os_version, .. } = raw.machine.clone();
    Some(MachineFacts { serial_number, hardware_uuid, hostname, platform, os_version, agent_version: None })
}

/// The things by kind. A section that the server did not send is not told.
fn parts(body: &Value, computer: &Value) -> BTreeMap<String, Vec<Object>> {
    let mut parts = BTreeMap::new();
    let mut tell = |kind: &str, things: Option<Vec<Object>>| {
        if let Some(things) = things {
            parts.insert(kind.to_owned(), things);
        }
    };
    let hardware = computer.get("hardware").filter(|hardware| hardware.is_object());
    let general = computer.get("general").filter(|general| general.is_object());
    tell("os_version", hardware.map(|from| one(pick(from, &OS_VERSION))));
    tell("system_info", hardware.map(|from| one(system_info(from, general))));
    tell("network_interface", general.map(interfaces));
    tell("disk", each(computer, "/hardware/storage", disk));
    tell("osx_app", each(computer, "/software/applications", |app| Some(pick(app, &APPLICATION))));
    tell("certificate", each(computer, "/certificates", |certificate| Some(pick(certificate, &CERTIFICATE))));
    tell("profile", each(computer, "/configuration_profiles", profile));
    tell("user", each(computer, "/groups_accounts/local_accounts", |user| Some(pick(user, &USER))));
    tell("extension_attribute", each(computer, "/extension_attributes", |attribute| Some(pick(attribute, &ATTRIBUTE))));
    if computer.pointer("/groups_accounts/computer_group_memberships").is_some() {
        let group = |name: String| Object::from_iter([("name".to_owned(), name.into())]);
        tell("group", Some(groups(computer).into_iter().map(group).collect()));
    }
    tell("principal_user", computer.get("location").map(|from| one(principal_user(from))));
    tell("business_unit", general.map(|from| one(from.get("site").and_then(site).unwrap_or_default())));
    tell("link", link(body, general).map(|link| vec![link]));
    parts
}

const OS_VERSION: [(&str, &str); 3] = [("os_name", "name"), ("os_version", "version"), ("os_build", "build")];
const SYSTEM_INFO: [(&str, &str); 5] = [
    ("model_identifier", "hardware_model"),
    ("model", "hardware_model_name"),
    ("processor_type", "cpu_brand"),
    ("processor_architecture", "cpu_type"),
    ("number_cores", "cpu_physical_cores"),
];
const APPLICATION: [(&str, &str); 4] =
    [("bundle_id", "bundle_id"), ("name", "bundle_name"), ("version", "bundle_version_str"), ("path", "bundle_path")];
const CERTIFICATE: [(&str, &str); 4] =
    [("common_name", "common_name"), ("expires_utc", "not_after"), ("identity", "identity"), ("name", "name")];
const USER: [(&str, &str); 6] = [
    ("name", "username"),
    ("realname", "description"),
    ("uid", "uid"),
    ("home", "directory"),
    ("administrator", "administrator"),
    ("filevault_enabled", "filevault_enabled"),
];
const ATTRIBUTE: [(&str, &str); 3] = [("name", "name"), ("type", "type"), ("value", "value")];

fn system_info(hardware: &Value, general: Option<&Value>) -> Object {
    let mut info = pick(hardware, &SYSTEM_INFO);
    if let Some(mb) = hardware.get("total_ram_mb").and_then(Value::as_i64).filter(|mb| *mb > 0) {
        info.insert("physical_memory".into(), mb.saturating_mul(1 << 20).into());
    }
    if let Some(name) = general.and_then(|general| named(general.get("name")?)) {
        info.insert("computer_name".into(), name.into());
    }
    info
}

fn interfaces(general: &Value) -> Vec<Object> {
    let of = |kind: &str, mac: &str, address: Option<&str>| {
        let mac = named(general.get(mac)?)?;
        let mut interface = Object::from_iter([("mac".to_owned(), mac.to_ascii_lowercase().into())]);
        interface.extend(pick(general, &[(kind, "interface")]));
        if let Some(address) = address.and_then(|key| named(general.get(key)?)) {
            interface.insert("address".into(), address.into());
        }
        Some(interface)
    };
    let first = of("network_adapter_type", "mac_address", Some("last_reported_ip"));
    first.into_iter().chain(of("alt_network_adapter_type", "alt_mac_address", None)).collect()
}

fn disk(storage: &Value) -> Option<Object> {
    let mut disk = pick(storage, &[("disk", "name"), ("model", "model"), ("serial_number", "serial_number")]);
    if let Some(mb) = storage.get("drive_capacity_mb").and_then(Value::as_i64) {
        disk.insert("size".into(), mb.saturating_mul(1_000_000).into());
    }
    let boot = |p: &&Value| p.get("type").and_then(Value::as_str) == Some("boot");
    let boot = storage.get("partitions").and_then(Value::as_array).and_then(|all| all.iter().find(boot));
    if let Some(status) = boot.and_then(|partition| named(partition.get("filevault2_status")?)) {
        disk.insert("filevault_status".into(), status.into());
    }
    Some(disk)
}

fn profile(profile: &Value) -> Option<Object> {
    let mut object = pick(profile, &[("name", "display_name"), ("uuid", "uuid"), ("is_removable", "is_removable")]);
    let id = profile
        .get("uuid")
        .and_then(named)
        .or_else(|| profile.get("id").and_then(Value::as_i64).map(|id| id.to_string()))?;
    object.insert("identifier".into(), id.into());
    Some(object)
}

fn principal_user(location: &Value) -> Object {
    let names = [("username", "unique_id"), ("email_address", "principal_name"), ("real_name", "display_name")];
    let mut user = pick(location, &names);
    if !user.is_empty() {
        user.insert("source".into(), super::NAME.into());
    }
    user
}

/// Jamf calls the site of whoever has none `None`, with the number -1.
fn site(site: &Value) -> Option<Object> {
    let id = site.get("id").and_then(Value::as_i64).filter(|id| *id > 0)?;
    Some(Object::from_iter([
        ("reference".to_owned(), id.to_string().into()),
        ("name".to_owned(), site.get("name")?.clone()),
    ]))
}

/// The computer's page on its server.
fn link(body: &Value, general: Option<&Value>) -> Option<Object> {
    let url = body.get("url").and_then(Value::as_str)?;
    let id = general?.get("id").and_then(Value::as_i64)?;
    let link = json!({"anchor_text": "Jamf", "url": format!("{}/computers.html?id={id}", url.trim_end_matches('/'))});
    link.as_object().cloned()
}

fn one(object: Object) -> Vec<Object> {
    if object.is_empty() { Vec::new() } else { vec![object] }
}

fn list<'a>(from: &'a Value, at: &str) -> &'a [Value] {
    from.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The things of a list that are objects, each once; none if there is no such list.
fn each(computer: &Value, at: &str, shape: impl Fn(&Value) -> Option<Object>) -> Option<Vec<Object>> {
    let items = computer.pointer(at)?.as_array()?;
    let mut seen = std::collections::HashSet::new();
    let things = items.iter().filter(|item| item.is_object()).filter_map(shape).filter(|thing| !thing.is_empty());
    Some(things.filter(|thing| seen.insert(Value::Object(thing.clone()).to_string())).collect())
}

fn named(value: &Value) -> Option<String> {
    value.as_str().and_then(facts::name)
}
