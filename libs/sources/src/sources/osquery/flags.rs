//! Flags of osquery that a configuration may and may not name.

use serde_json::{Map, Value};

/// What agents are told where nothing else is said. The delimiter is said in any case: names of results depend on it.
const DEFAULTS: [(&str, DefaultFlag); 3] = [
    (PACK_DELIMITER, DefaultFlag::Text("/")),
    ("distributed_interval", DefaultFlag::Number(60)),
    ("logger_tls_period", DefaultFlag::Number(10)),
];
/// The flag that says what stands between `pack`, the name of a pack and the name of its query.
pub const PACK_DELIMITER: &str = "pack_delimiter";

enum DefaultFlag {
    Text(&'static str),
    Number(u64),
}

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

/// The name under which the result of a pack's query is reported.
pub fn pack_query_name(options: &Map<String, Value>, pack: &str, query: &str) -> String {
    let delimiter = options.get(PACK_DELIMITER).and_then(Value::as_str).unwrap_or("/");
    format!("pack{delimiter}{pack}{delimiter}{query}")
}

/// The options that an agent gets, in the order of their names; what osquery would not take is an error.
pub(super) fn options(own: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut all = std::collections::BTreeMap::new();
    for (flag, value) in DEFAULTS {
        let value = match value {
            DefaultFlag::Text(text) => Value::from(text),
            DefaultFlag::Number(n) => Value::from(n),
        };
        all.insert(flag.to_owned(), value);
    }
    for (flag, value) in own {
        if !(value.is_boolean() || value.is_string() || value.is_i64() || value.is_u64()) {
            return Err(format!("option {flag}: neither a boolean, a whole number nor a string"));
        }
        all.insert(flag.clone(), value.clone());
    }
    Ok(all.into_iter().collect())
}
