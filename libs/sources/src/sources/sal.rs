//! Sal: a server that knows what Munki knows of its machines. It is asked by `pull`; nobody calls.
//!
//! A raw line of the kind `machine` holds `{"machine", "machine_group", "business_unit"}` as its API (`/api/v2/`) says them.

use std::collections::BTreeMap;

use event::inventory::Snapshot;
use event::{Machine, Raw, Time};
use serde_json::{Value, json};

use crate::Refusal;
use crate::osquery::facts;
use crate::osquery::translate::believed;
use crate::pulled::{self, Object, Pulled};

/// The kind of these sources.
pub const NAME: &str = "sal";
/// This source.
pub static SOURCE: Pulled = Pulled { name: NAME, snapshot };

/// The machine of a record; `units` names the unit of a business unit.
pub fn machine(body: &Value, units: &BTreeMap<String, String>) -> Machine {
    let said = |key: &str| body.pointer(&format!("/machine/{key}")).and_then(Value::as_str);
    let platform = match said("os_family") {
        Some("Darwin") | None => Some("macos"),
        Some("Windows") => Some("windows"),
        Some("Linux") => Some("linux"),
        Some(_) => None,
    };
    let group = body.pointer("/machine_group/name").and_then(Value::as_str).and_then(facts::name);
    Machine {
        serial_number: said("serial").and_then(facts::serial),
        hostname: said("hostname").and_then(facts::name),
        platform: platform.map(str::to_owned),
        os_version: said("operating_system").and_then(facts::name),
        unit: body.pointer("/business_unit/name").and_then(Value::as_str).and_then(|name| units.get(name)).cloned(),
        groups: group.into_iter().collect(),
        user: said("console_user").and_then(facts::name),
        ..Machine::default()
    }
}

/// When the machine was seen last, in ms since 1970.
pub fn taken(body: &Value) -> Option<i64> {
    body.pointer("/machine/last_checkin")?.as_str()?.parse::<Time>().ok().map(Time::ms)
}

fn snapshot(raw: &Raw) -> Result<Snapshot, Refusal> {
    let body = pulled::body(raw)?;
    let machine = body.get("machine").filter(|machine| machine.is_object());
    let machine = machine.ok_or_else(|| Refusal::new("shape", "record holds no machine"))?;
    let mut parts = BTreeMap::new();
    let mut tell = |kind: &str, object: Object| {
        parts.insert(kind.to_owned(), if object.is_empty() { Vec::new() } else { vec![object] });
    };
    tell("os_version", pulled::pick(machine, &[("operating_system", "version")]));
    let mut info = pulled::pick(
        machine,
        &[("machine_model", "hardware_model"), ("cpu_type", "cpu_brand"), ("hostname", "computer_name")],
    );
    if let Some(kb) = machine.get("memory_kb").and_then(Value::as_i64).filter(|kb| *kb > 0) {
        info.insert("physical_memory".into(), kb.saturating_mul(1024).into());
    }
    tell("system_info", info);
    tell("extra_facts", pulled::pick(machine, &[("munki_version", "munki_version"), ("manifest", "manifest")]));
    for (kind, key) in [("group", "machine_group"), ("business_unit", "business_unit")] {
        let Some(named) = body.get(key).filter(|named| named.is_object()) else { continue };
        let mut object = pulled::pick(named, &[("name", "name")]);
        if let Some(id) = named.get("id").and_then(Value::as_i64) {
            object.insert("reference".into(), json!(id.to_string()));
        }
        tell(kind, object);
    }
    let taken = believed(taken(&body), raw.received).0;
    Ok(Snapshot { source: raw.source.clone(), taken, machine: raw.machine.clone(), parts })
}
