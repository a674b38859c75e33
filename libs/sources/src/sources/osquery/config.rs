//! The configuration that an agent gets: built once per platform and unit, checked against the agent's own limits.
//!
//! An agent drops its schedule *before* it refuses a configuration that is too big or too deep, so nothing unchecked
//! may be served; and it reloads everything when one byte differs, so the same input gives the same bytes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Bytes of a configuration that osquery accepts.
pub const CONFIG_MAX: usize = 4 << 20;
/// Levels of nesting that osquery accepts.
pub const CONFIG_DEPTH_MAX: usize = 32;
/// Seconds between two runs of a query that osquery accepts.
pub const INTERVALS: std::ops::RangeInclusive<u32> = 1..=604_800;
/// How a query of the hub's own is called in a schedule: `zentral/PROBE/REV`.
pub const QUERY_PREFIX: &str = "zentral/";

/// Flags that osquery takes from its command line only (`CLI_FLAG` in its source); in a configuration it ignores them
/// with a warning.
const CLI_ONLY: &[&str] = &[
    "carver_continue_endpoint",
    "carver_disable_function",
    "carver_start_endpoint",
    "config_path",
    "config_plugin",
    "config_tls_endpoint",
    "database_path",
    "disable_carver",
    "disable_extensions",
    "disable_watchdog",
    "enroll_secret_env",
    "enroll_secret_path",
    "enroll_tls_endpoint",
    "extensions_autoload",
    "extensions_socket",
    "flagfile",
    "force",
    "logger_plugin",
    "pidfile",
    "tls_client_cert",
    "tls_client_key",
    "tls_hostname",
    "tls_server_certs",
];

/// Whether osquery takes this flag from its command line only, so that naming it in `options` is in vain.
pub fn is_cli_only(flag: &str) -> bool {
    CLI_ONLY.contains(&flag)
}

/// A probe's query as an agent runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySpec {
    /// Name of the probe.
    pub probe: String,
    /// 8 hex digits of the SQL.
    pub rev: String,
    /// The query.
    pub sql: String,
    /// Seconds between two runs.
    pub interval_s: u32,
    /// All rows each time, in place of what changed.
    pub snapshot: bool,
    /// Rows that went away are told, too.
    pub removed: bool,
    /// The oldest agent that can run it.
    pub version: Option<String>,
}

/// The name of a probe's query in a schedule.
pub fn query_name(probe: &str, rev: &str) -> String {
    format!("{QUERY_PREFIX}{probe}/{rev}")
}

/// The bytes of a configuration, or what an agent would not take, as a fragment naming the place.
pub fn build_config(
    probes: &[QuerySpec],
    options: &Map<String, Value>,
    decorators: &[String],
) -> Result<Vec<u8>, String> {
    let mut schedule = BTreeMap::new();
    for spec in probes {
        let name = query_name(&spec.probe, &spec.rev);
        let query = query(spec).map_err(|why| format!("query of probe {}: {why}", spec.probe))?;
        if schedule.insert(name, query).is_some() {
            return Err(format!("query of probe {}: is there twice", spec.probe));
        }
    }
    let mut chosen = BTreeMap::new();
    for (flag, value) in options {
        if !(value.is_boolean() || value.is_string() || value.is_i64() || value.is_u64()) {
            return Err(format!("option {flag}: neither a boolean, a whole number nor a string"));
        }
        chosen.insert(flag.as_str(), value.clone());
    }
    let mut config = Map::new();
    config.insert("options".into(), json!(chosen));
    config.insert("schedule".into(), json!(schedule));
    if !decorators.is_empty() {
        if let Some(at) = decorators.iter().position(|sql| sql.trim().is_empty()) {
            return Err(format!("decorator {}: is empty", at + 1));
        }
        config.insert("decorators".into(), json!({ "load": decorators }));
    }
    checked(&Value::Object(config))
}

fn query(spec: &QuerySpec) -> Result<Value, String> {
    if spec.sql.trim().is_empty() {
        return Err("is empty".into());
    }
    if spec.sql.contains('\0') {
        return Err("holds a NUL".into());
    }
    if !INTERVALS.contains(&spec.interval_s) {
        return Err(format!(
            "interval {} s is not within {} to {} s",
            spec.interval_s,
            INTERVALS.start(),
            INTERVALS.end()
        ));
    }
    let mut query = Map::new();
    query.insert("query".into(), spec.sql.as_str().into());
    query.insert("interval".into(), spec.interval_s.into());
    if spec.snapshot {
        query.insert("snapshot".into(), true.into());
    } else if !spec.removed {
        query.insert("removed".into(), false.into());
    }
    if let Some(version) = &spec.version {
        let numbers = version.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        if !numbers {
            return Err(format!("version {version:?} is not of the form 5.12.1"));
        }
        query.insert("version".into(), version.as_str().into());
    }
    Ok(Value::Object(query))
}

fn checked(config: &Value) -> Result<Vec<u8>, String> {
    let bytes = serde_json::to_vec(config).map_err(|e| e.to_string())?;
    if bytes.len() > CONFIG_MAX {
        return Err(format!("{} bytes are more than the {CONFIG_MAX} that osquery takes", bytes.len()));
    }
    if depth(config) > CONFIG_DEPTH_MAX {
        return Err(format!("{} levels are more than the {CONFIG_DEPTH_MAX} that osquery takes", depth(config)));
    }
    Ok(bytes)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn spec(probe: &str) -> QuerySpec {
        QuerySpec {
            probe: probe.into(),
            rev: "1f6c09aa".into(),
            sql: "select vendor from usb_devices".into(),
            interval_s: 30,
            snapshot: false,
            removed: true,
            version: None,
        }
    }

    fn options(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn same_bytes_in_any_order() {
        let a = QuerySpec { snapshot: true, version: Some("5.12.1".into()), ..spec("a") };
        let b = QuerySpec { removed: false, ..spec("b") };
        let one = build_config(&[a.clone(), b.clone()], &options(r#"{"x":1,"a":"b"}"#), &["select 1".into()]);
        let two = build_config(&[b, a], &options(r#"{"a":"b","x":1}"#), &["select 1".into()]);
        assert_eq!(one, two);
        let want = r#"{"options":{"a":"b","x":1},"schedule":{"zentral/a/1f6c09aa":{"query":"select vendor from usb_devices","interval":30,"snapshot":true,"version":"5.12.1"},"zentral/b/1f6c09aa":{"query":"select vendor from usb_devices","interval":30,"removed":false}},"decorators":{"load":["select 1"]}}"#;
        assert_eq!(String::from_utf8(one.unwrap()).unwrap(), want);
        assert_eq!(build_config(&[], &Map::new(), &[]).unwrap(), br#"{"options":{},"schedule":{}}"#);
    }

    #[test]
    fn refuses_what_an_agent_would_not_take() {
        let check = |probes: &[QuerySpec], opts: &str, decorators: &[String], word: &str| {
            let error = build_config(probes, &options(opts), decorators).unwrap_err();
            assert!(error.contains(word), "{error}");
        };
        check(&[QuerySpec { interval_s: 0, ..spec("a") }], "{}", &[], "probe a: interval 0");
        check(&[QuerySpec { interval_s: 604_801, ..spec("a") }], "{}", &[], "interval");
        check(&[QuerySpec { sql: " ".into(), ..spec("a") }], "{}", &[], "empty");
        check(&[QuerySpec { version: Some("1.x-y".into()), ..spec("a") }], "{}", &[], "1.x-y");
        check(&[spec("a"), spec("a")], "{}", &[], "twice");
        check(&[], r#"{"x":{"a":1}}"#, &[], "option x");
        check(&[], r#"{"x":1.5}"#, &[], "option x");
        check(&[], "{}", &["".into()], "decorator 1");
        check(&[QuerySpec { sql: "x".repeat(CONFIG_MAX), ..spec("a") }], "{}", &[], "bytes");
    }
}
