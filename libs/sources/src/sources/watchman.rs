//! Watchman Monitoring: a service that knows how machines fare. It is asked by `pull`; nobody calls.
//!
//! A raw line of the kind `machine` holds `{"machine"}`, a computer as its API (`/v2.5/computers`) says it.

use std::collections::BTreeMap;

use event::inventory::Snapshot;
use event::{Machine, Raw, Time};
use serde_json::Value;

use crate::Refusal;
use crate::osquery::facts;
use crate::osquery::translate::believed;
use crate::pulled::{self, Object, Pulled};

/// The kind of these sources.
pub const NAME: &str = "watchman";
/// This source.
pub static SOURCE: Pulled = Pulled { name: NAME, snapshot };

/// The machine of a record; `units` names the unit of a group.
pub fn machine(body: &Value, units: &BTreeMap<String, String>) -> Machine {
    let said = |key: &str| body.pointer(&format!("/machine/{key}")).and_then(Value::as_str);
    let platform = match said("platform") {
        Some("mac") => Some("macos"),
        Some("linux") => Some("linux"),
        Some("windows") => Some("windows"),
        _ => None,
    };
    let groups = body.get("machine").map(warnings).unwrap_or_default();
    Machine {
        serial_number: said("serial_number").and_then(facts::serial),
        hostname: said("computer_name").and_then(facts::name),
        platform: platform.map(str::to_owned),
        os_version: said("os_version").and_then(facts::name),
        unit: said("group").and_then(|group| units.get(group)).cloned(),
        groups,
        ..Machine::default()
    }
}

/// When the machine reported last, in ms since 1970.
pub fn taken(body: &Value) -> Option<i64> {
    body.pointer("/machine/last_report")?.as_str()?.parse::<Time>().ok().map(Time::ms)
}

/// A group for each plugin that warns, so that a scope can name it.
fn warnings(machine: &Value) -> Vec<String> {
    let results = machine.get("plugin_results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let warns = |result: &&Value| {
        result.get("status").and_then(Value::as_str).is_some_and(|status| status.to_ascii_lowercase().contains("warn"))
    };
    let name = |result: &Value| result.get("name")?.as_str().and_then(facts::name);
    let mut names: Vec<String> =
        results.iter().filter(warns).filter_map(name).map(|name| format!("{name} - Warning")).collect();
    names.sort();
    names.dedup();
    names
}

fn snapshot(raw: &Raw) -> Result<Snapshot, Refusal> {
    let body = pulled::body(raw)?;
    let machine = body.get("machine").filter(|machine| machine.is_object());
    let machine = machine.ok_or_else(|| Refusal::new("shape", "record holds no machine"))?;
    let mut parts = BTreeMap::new();
    let mut tell = |kind: &str, object: Object| {
        parts.insert(kind.to_owned(), if object.is_empty() { Vec::new() } else { vec![object] });
    };
    tell("os_version", pulled::pick(machine, &[("os_version", "version")]));
    tell(
        "system_info",
        pulled::pick(
            machine,
            &[
                ("model_identifier", "hardware_model"),
                ("processor", "cpu_brand"),
                ("ram_installed_in_bytes", "physical_memory"),
                ("computer_name", "computer_name"),
            ],
        ),
    );
    tell("network_interface", pulled::pick(machine, &[("active_mac_address", "mac"), ("primary_ip", "address")]));
    tell("business_unit", pulled::pick(machine, &[("group", "name")]));
    let named = |name: String| Object::from_iter([("name".to_owned(), name.into())]);
    if machine.get("plugin_results").is_some() {
        parts.insert("group".to_owned(), warnings(machine).into_iter().map(named).collect());
    }
    let taken = believed(taken(&body), raw.received).0;
    Ok(Snapshot { source: raw.source.clone(), taken, machine: raw.machine.clone(), parts })
}
