//! The rows of the inventory query: what they say of the machine, kind by kind.

use std::collections::BTreeMap;

use event::inventory::Snapshot;
use event::{Body, Machine, Raw, Time};
use serde_json::{Map, Value};

use super::windows;
use super::{LEGACY, NAME, TABLE, platform_tables};
use crate::Refusal;
use crate::osquery::facts;

/// Rows that are looked at.
const ROWS_MAX: usize = 200_000;

type Row = Map<String, Value>;

/// Whether a record is a snapshot of the inventory, by the text of its name.
pub fn is_inventory(name: &[u8]) -> bool {
    let own = |own: &str| name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\"")) == Some(own.as_bytes());
    own(NAME) || own(LEGACY)
}

/// The kind of thing that the rows of a table are; none: nothing that is kept.
fn kind(table: &str) -> Option<&'static str> {
    Some(match table {
        "os_version" => "os_version",
        "system_info" => "system_info",
        "network_interface" => "network_interface",
        "users" => "user",
        "groups" => "local_group",
        "mounts" => "mount",
        "disks" => "disk",
        "apps" => "osx_app",
        "certificates" => "certificate",
        "company_portal" => "principal_user",
        "deb_packages" => "deb_package",
        "rpm_packages" => "rpm_package",
        "programs" => "program",
        "ec2_instance_metadata" => "ec2_instance_metadata",
        "ec2_instance_tags" => "ec2_instance_tag",
        _ => return None,
    })
}

/// Columns that are numbers. What is none, or below zero, is left out.
const NUMBERS: [&str; 11] = [
    "cpu_physical_cores",
    "cpu_logical_cores",
    "physical_memory",
    "size",
    "free_space",
    "blocks",
    "blocks_size",
    "blocks_available",
    "major",
    "minor",
    "patch",
];

/// The snapshot that a raw line is; none: it is something else. `taken` is the time that its events would have.
pub fn snapshot(raw: &Raw, taken: impl FnOnce(Option<&Value>) -> Time) -> Option<Result<Snapshot, Refusal>> {
    let Body::Json(body) = &raw.body else { return None };
    let text = body.get().as_bytes();
    // Nearly no line is one, and most of those that are not need no parsing to be told.
    if raw.kind != "result" || memchr::memmem::find(text, b"\"snapshot\"").is_none() {
        return None;
    }
    if !event::json::get(text, "name").is_some_and(is_inventory) {
        return None;
    }
    let record: Row = match serde_json::from_str(body.get()) {
        Ok(record) => record,
        Err(e) => return Some(Err(Refusal::new("shape", format!("inventory: {e}")))),
    };
    let Some(Value::Array(rows)) = record.get("snapshot") else {
        return Some(Err(Refusal::new("shape", "the inventory has no list of rows")));
    };
    if rows.len() > ROWS_MAX {
        return Some(Err(Refusal::new("too_long", format!("the inventory has more than {ROWS_MAX} rows"))));
    }
    let parts = parts(rows, raw.machine.platform.as_deref());
    if parts.is_empty() {
        return Some(Err(Refusal::new("shape", "the inventory has no row of a table that is known")));
    }
    let taken = taken(record.get("unixTime"));
    Some(Ok(Snapshot { source: raw.source.clone(), taken, machine: machine(raw, rows, &parts), parts }))
}

/// The machine as its rows say it today, and who uses it; the line says it as it was when it enrolled.
fn machine(raw: &Raw, rows: &[Value], parts: &BTreeMap<String, Vec<Row>>) -> Machine {
    let table = |name: &str| rows.iter().find(|row| row.get(TABLE).and_then(Value::as_str) == Some(name));
    let (system, os) = (table("system_info").map(facts::hostname), table("os_version").map(facts::os_version));
    let mut machine = raw.machine.clone();
    for (have, said) in [(&mut machine.hostname, system.flatten()), (&mut machine.os_version, os.flatten())] {
        if said.is_some() {
            *have = said;
        }
    }
    let user = parts.get("principal_user").and_then(|users| users.first()?.get("principal_name")?.as_str());
    if let Some(user) = user {
        machine.user = Some(user.to_owned());
    }
    machine
}

/// The rows by kind. A row that is none, or of a table that nobody asked for, is passed over alone.
fn parts(rows: &[Value], platform: Option<&str>) -> BTreeMap<String, Vec<Row>> {
    let mut parts: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let (mut build, mut portal, mut own) = (Row::new(), Row::new(), false);
    let asked = platform_tables(platform);
    for row in rows.iter().filter_map(Value::as_object) {
        let Some(table) = row.get(TABLE).and_then(Value::as_str) else { continue };
        own |= asked.contains(&table);
        match table {
            "windows_build" => pair(row, "name", "data", &mut build),
            "company_portal" => pair(row, "key", "value", &mut portal),
            _ => {
                let (Some(kind), object) = (kind(table), clean(row)) else { continue };
                if !object.is_empty() {
                    parts.entry(kind.into()).or_default().push(object);
                }
            }
        }
    }
    if let Some(user) = principal_user(&portal) {
        parts.entry("principal_user".into()).or_default().push(user);
    }
    for os in parts.get_mut("os_version").into_iter().flatten() {
        windows::name(os, &build);
    }
    // The platform's own tables were asked, all in one query that fails as a whole: those without rows are empty.
    for kind in asked.iter().filter(|_| own).filter_map(|table| kind(table)) {
        parts.entry(kind.into()).or_default();
    }
    parts
}

fn pair(row: &Row, key: &str, value: &str, to: &mut Row) {
    let of = |key| row.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    if let (Some(key), Some(value)) = (of(key), of(value)) {
        to.insert(key.to_owned(), value.into());
    }
}

fn principal_user(portal: &Row) -> Option<Row> {
    let mut user = Row::new();
    user.insert("source".into(), "company_portal".into());
    user.insert("unique_id".into(), portal.get("aadUserId")?.clone());
    user.insert("principal_name".into(), portal.get("aadUPN")?.clone());
    Some(user)
}

/// A row without what says nothing: its table, empty columns, NULs that some tables leave in.
fn clean(row: &Row) -> Row {
    let mut object = Row::new();
    for (key, value) in row.iter().filter(|(key, _)| *key != TABLE) {
        let text = match value {
            Value::String(text) => text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned(),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        let value = match NUMBERS.contains(&key.as_str()) {
            true => text.parse::<u64>().ok().map(Value::from),
            false => (!text.is_empty()).then_some(Value::String(text)),
        };
        object.extend(value.map(|value| (key.clone(), value)));
    }
    object
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(name: &str, platform: &str, rows: Value) -> Raw {
        let body = json!({"name": name, "action": "snapshot", "snapshot": rows, "unixTime": "1767686405"});
        let line = json!({"v": 1, "id": "01a1ff7a-cbfb-8000-8000-000000000000", "source": "osquery", "kind": "result",
            "received": "2026-01-06T08:00:10.000Z", "machine": {"serial_number": "C02", "platform": platform}, "body": body});
        Raw::parse(line.to_string().as_bytes()).unwrap()
    }

    fn told(platform: &str, rows: Value) -> Snapshot {
        snapshot(&raw("ztl-inv", platform, rows), |_| Time::from_ms(5)).unwrap().unwrap()
    }

    #[test]
    fn rows_become_things_of_their_kinds() {
        let told = told(
            "macos",
            json!([
                {"table_name": "os_version", "name": "macOS", "version": "11.5", "major": "11", "minor": "5", "patch": "", "build": "20G80"},
                {"table_name": "system_info", "hostname": "x\u{0}", "cpu_logical_cores": "-1", "cpu_physical_cores": "many", "physical_memory": "8"},
                {"table_name": "apps", "bundle_id": "a", "bundle_path": "/Applications/A.app"},
                7, {"no": "table"}, {"table_name": "moons", "a": "b"}, {"table_name": "uptime", "total_seconds": "5"},
                {"table_name": "company_portal", "key": "aadUserId", "value": "u-1"},
                {"table_name": "company_portal", "key": "aadUPN", "value": "ada@example.com"},
            ]),
        );
        assert_eq!(told.machine.user.as_deref(), Some("ada@example.com"));
        let parts = serde_json::to_value(&told.parts).unwrap();
        assert_eq!(
            parts["os_version"],
            json!([{"name": "macOS", "version": "11.5", "major": 11, "minor": 5, "build": "20G80"}])
        );
        assert_eq!(parts["system_info"], json!([{"hostname": "x", "physical_memory": 8}]));
        assert_eq!(parts["osx_app"], json!([{"bundle_id": "a", "bundle_path": "/Applications/A.app"}]));
        assert_eq!(
            parts["principal_user"],
            json!([{"source": "company_portal", "unique_id": "u-1", "principal_name": "ada@example.com"}])
        );
        assert_eq!((&parts["certificate"], &parts["deb_package"]), (&json!([]), &Value::Null), "asked, and not asked");
        assert_eq!((told.taken.ms(), told.source.as_str()), (5, "osquery"));
        let said = (told.machine.hostname.as_deref(), told.machine.os_version.as_deref());
        assert_eq!(said, (Some("x"), Some("11.5")), "as it is now");
    }

    #[test]
    fn before_the_platform_is_known_nothing_is_gone() {
        let rows = json!([{"table_name": "os_version", "name": "Debian", "patch": "0"}]);
        assert_eq!(told("linux", rows.clone()).parts.keys().collect::<Vec<_>>(), ["os_version"]);
        let ec2 = told(
            "linux",
            json!([{"table_name": "ec2_instance_metadata", "instance_id": "i-1", "iam_arn": ""},
            {"table_name": "ec2_instance_tags", "key": "role", "value": "web"}]),
        );
        assert_eq!(ec2.parts["ec2_instance_metadata"][0].len(), 1);
        assert_eq!(ec2.parts["ec2_instance_tag"][0]["value"], "web");
    }

    #[test]
    fn windows_is_told_by_its_build() {
        let os = json!({"table_name": "os_version", "name": "Microsoft Windows 10 Pro", "build": "19044", "major": "10", "minor": "0", "patch": ""});
        let ubr = json!({"table_name": "windows_build", "name": "UBR", "data": "1766"});
        let current = json!({"table_name": "windows_build", "name": "CurrentBuild", "data": "19044"});
        let of = |rows: Value| serde_json::to_value(&told("windows", rows).parts["os_version"][0]).unwrap();
        let whole = json!({"name": "Windows 10", "build": "19044.1766", "major": 10, "version": "21H2"});
        assert_eq!(of(json!([os, ubr, current])), whole);
        let bare = json!({"name": "Windows 10", "build": "19044", "major": 10, "version": "21H2"});
        assert_eq!(of(json!([os])), bare);
        assert_eq!(of(json!([os, ubr])), bare);
    }

    #[test]
    fn only_snapshots_of_this_name_count() {
        let none = |raw: &Raw| snapshot(raw, |_| Time::from_ms(0)).is_none();
        assert!(none(&raw("ztl-inv2", "macos", json!([]))) && none(&raw("pack/ztl-inv", "macos", json!([]))));
        let mut other = raw("ztl-inv", "macos", json!([]));
        assert!(snapshot(&other, |_| Time::from_ms(0)).unwrap().is_err(), "no rows at all tell nothing");
        other.kind = "status".into();
        assert!(none(&other));
    }
}
