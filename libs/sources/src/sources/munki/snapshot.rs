//! What a post says that a machine is and has, as a snapshot of the inventory.

use std::collections::BTreeMap;

use event::inventory::Snapshot;
use event::{Body, Machine, Raw};
use serde_json::{Map, Value};

use crate::osquery::facts;
use crate::{MachineFacts, Refusal};

/// Members of a snapshot and the kinds of things that they are.
const KINDS: [(&str, &str); 15] = [
    ("os_version", "os_version"),
    ("system_info", "system_info"),
    ("principal_user", "principal_user"),
    ("extra_facts", "extra_facts"),
    ("teamviewer", "teamviewer"),
    ("network_interfaces", "network_interface"),
    ("disks", "disk"),
    ("osx_app_instances", "osx_app"),
    ("certificates", "certificate"),
    ("profiles", "profile"),
    ("extensions", "extension"),
    ("users", "user"),
    ("groups", "group"),
    ("links", "link"),
    ("managed_installs", "managed_install"),
];

type Object = Map<String, Value>;

/// The snapshot of a `snapshot` line.
pub(super) fn of_raw(raw: &Raw) -> Option<Result<Snapshot, Refusal>> {
    (raw.kind == "snapshot").then(|| told(raw).map(|told| snapshot(raw, told)))
}

/// What it tells of the machine's names.
pub(super) fn facts(raw: &Raw) -> Option<MachineFacts> {
    let machine = of_raw(raw)?.ok()?.machine;
    machine.hostname.as_ref()?;
    Some(MachineFacts {
        hardware_uuid: machine.hardware_uuid,
        hostname: machine.hostname,
        platform: machine.platform,
        os_version: machine.os_version,
        ..MachineFacts::default()
    })
}

fn told(raw: &Raw) -> Result<Object, Refusal> {
    let Body::Json(text) = &raw.body else { return Err(Refusal::new("too_long", "a snapshot is not whole")) };
    let told = serde_json::from_str(text.get());
    told.map_err(|e| Refusal::new("shape", format!("a snapshot is not an object: {e}")))
}

fn snapshot(raw: &Raw, mut told: Object) -> Snapshot {
    let mut parts = BTreeMap::new();
    for (member, kind) in KINDS {
        let Some(value) = told.remove(member) else { continue };
        let things = match value {
            Value::Array(items) => items,
            Value::Object(_) => vec![value],
            _ => continue, // not told
        };
        let mut all: Vec<Object> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for mut thing in things {
            clean(&mut thing);
            let Some(object) = shaped(kind, thing).filter(|object| !object.is_empty()) else { continue };
            // The same profile twice is one.
            if seen.insert(Value::Object(object.clone()).to_string()) {
                all.push(object);
            }
        }
        parts.insert(kind.to_owned(), all);
    }
    let machine = machine(raw, &parts);
    Snapshot { source: raw.source.clone(), taken: raw.received, machine, parts }
}

/// The machine with what is known of it from the parts.
fn machine(raw: &Raw, parts: &BTreeMap<String, Vec<Object>>) -> Machine {
    let of = |kind: &str, key: &str| parts.get(kind)?.first()?.get(key)?.as_str().and_then(facts::name);
    let mut machine = raw.machine.clone();
    machine.platform = machine.platform.or_else(|| Some("macos".to_owned()));
    if let Some(hostname) = of("system_info", "hostname").or_else(|| of("system_info", "computer_name")) {
        machine.hostname = Some(hostname);
    }
    if let Some(version) = of("os_version", "version") {
        machine.os_version = Some(version);
    }
    if let Some(user) = of("principal_user", "principal_name") {
        machine.user = Some(user);
    }
    machine
}

/// A thing as the inventory knows its kind.
fn shaped(kind: &str, thing: Value) -> Option<Object> {
    match (kind, thing) {
        ("managed_install", Value::Array(row)) => {
            let keys = ["name", "version", "display_name", "installed_at"];
            Some(keys.into_iter().zip(row).filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.to_owned(), v)).collect())
        }
        ("osx_app", Value::Object(app)) => Some(application(app)),
        ("os_version", Value::Object(version)) => Some(os_version(version)),
        (_, Value::Object(thing)) => Some(thing),
        _ => None,
    }
}

/// An application as scripts of other hubs tell it (`app` within the instance), or as Munki's own inventory does.
fn application(mut told: Object) -> Object {
    let mut object = Object::new();
    if let Some(Value::Object(app)) = told.remove("app") {
        object.extend(app);
    }
    for (theirs, ours) in
        [("bundleid", "bundle_id"), ("path", "bundle_path"), ("version", "bundle_version_str"), ("name", "bundle_name")]
    {
        if let Some(value) = told.remove(theirs) {
            object.entry(ours).or_insert(value);
        }
    }
    told.remove("CFBundleName");
    object.extend(told);
    object
}

/// `version` is made of its parts where it is not said; a patch that is not said is 0.
fn os_version(mut told: Object) -> Object {
    if let Some(major) = told.get("major").and_then(Value::as_u64) {
        let part = |key: &str| told.get(key).and_then(Value::as_u64).unwrap_or(0);
        let (minor, patch) = (part("minor"), part("patch"));
        let version = if patch > 0 { format!("{major}.{minor}.{patch}") } else { format!("{major}.{minor}") };
        told.insert("minor".into(), minor.into());
        told.insert("patch".into(), patch.into());
        told.entry("version").or_insert_with(|| version.into());
    }
    told
}

/// Takes NUL out of all strings: no database keeps it, and no name has it.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => text.retain(|letter| letter != '\0'),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(members) => {
            if members.keys().any(|key| key.contains('\0')) {
                *members = std::mem::take(members).into_iter().map(|(k, v)| (k.replace('\0', ""), v)).collect();
            }
            members.values_mut().for_each(clean);
        }
        _ => {}
    }
}
