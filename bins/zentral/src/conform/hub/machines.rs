//! Words of inventory, tags and probes.

use std::time::{Duration, Instant};

use serde_json::json;

use super::process::first_line;
use super::{Fixture, osquery};

/// How long a machine may take to be in the inventory.
const INVENTORY_WAIT: Duration = Duration::from_secs(15);
/// Between two looks.
const POLL: Duration = Duration::from_millis(200);

/// Does what a word says; whether it is known.
pub fn word(f: &mut Fixture<'_>, name: &str, option: &str) -> Result<bool, String> {
    match name {
        "machine_snapshot" => {
            f.hub.has("inventory")?;
            if f.get("NODE_KEY").is_err() {
                osquery::word(f, "osquery_enrolled_machine", "")?;
            }
            snapshot(f, "15")?;
            if option == "two_commits" {
                snapshot(f, "16")?;
            }
            known(f)?;
            let serial = f.serial.clone();
            f.set("INVENTORY_SERIAL", &serial);
        }
        "machine_has_tag" => {
            f.hub.run(&["machine", "tag", &f.serial, "conform-tagged"]).and_then(done)?;
        }
        "machine_tags" => {
            let (_, count) = option.rsplit_once(':').unwrap_or(("", option));
            for n in 0..count.parse::<u32>().map_err(|_| format!("machine_tags knows no `{option}`"))? {
                f.hub.run(&["machine", "tag", &f.serial, &format!("team-{n}")]).and_then(done)?;
            }
        }
        // It stands in the configuration from the start.
        "probe" => {
            f.hub.has("probe")?;
            f.set("PROBE_ID", "existing-probe");
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn done(out: std::process::Output) -> Result<(), String> {
    if out.status.success() { Ok(()) } else { Err(format!("zentral machine: {}", first_line(&out.stderr))) }
}

fn snapshot(f: &Fixture<'_>, major: &str) -> Result<(), String> {
    let rows = json!([
        {"table_name": "system_info", "computer_name": "mac-07", "hardware_serial": f.serial, "uuid": f.uuid},
        {"table_name": "os_version", "name": "macOS", "major": major, "minor": "0", "patch": "0"},
    ]);
    let now = event::Time::now().ms() / 1000;
    osquery::log(f, json!({"name": "ztl-inv", "action": "snapshot", "unixTime": now, "snapshot": rows}))
}

/// Waits until the inventory holds the machine of the case.
fn known(f: &Fixture<'_>) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match f.hub.run(&["machine", "show", &f.serial]).and_then(done) {
            Ok(()) => return Ok(()),
            Err(why) if begun.elapsed() > INVENTORY_WAIT || why.contains("unrecognized") => return Err(why),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
