//! The inventory that a simulated agent tells: what the machine is, and what the queries of probes cost it.

use event::Time;
use serde_json::{Value, json};

use super::lines::{Record, Sender};

/// Runs of each query since the agent was started.
const RUNS: u64 = 120;
/// The machine that denies a query, and the query's probe.
const SLOW: (&str, &str) = ("laser-cutter", "package-outside-manager");

/// The record of one run of the inventory's query. Its own events are the hub's to make, so it is none of those that must
/// be stored.
pub fn record(sender: &Sender, host: &str, serial: &str, os: &Value, now: Time) -> Record {
    let second = now.ms() / 1000;
    let mut rows = vec![
        json!({"table_name": "os_version", "name": os["name"], "version": os["version"], "platform": os["platform"]}),
        json!({"table_name": "system_info", "hostname": host, "computer_name": host, "hardware_serial": serial,
            "uuid": sender.uuid, "physical_memory": "17179869184", "cpu_logical_cores": "8"}),
    ];
    rows.extend(sender.queries.iter().map(|(probe, name)| {
        let denied = (host, probe.as_str()) == SLOW;
        // A query costs much the same wherever it runs, and a slow machine some more.
        let size = probe.bytes().map(u64::from).sum::<u64>() % 37 + 2;
        let each = if denied { 9_000 } else { size + serial.bytes().last().map_or(0, u64::from) % 7 };
        let of = |n: u64| (n * RUNS).to_string();
        json!({"table_name": "osquery_schedule", "name": name, "last_executed": (second - 30).to_string(),
            "executions": RUNS.to_string(), "user_time": of(each * 2 / 3), "system_time": of(each - each * 2 / 3),
            "average_memory": (size * 20_000).to_string(), "output_size": of(size * 90),
            "denylisted": if denied { "1" } else { "0" }})
    }));
    let text = json!({"name": "ztl-inv", "hostIdentifier": sender.uuid, "unixTime": second, "action": "snapshot",
        "snapshot": rows})
    .to_string();
    Record { text, events: 0, timed: true }
}
