//! How Windows is called by the number of its build.

use serde_json::{Map, Value};

/// Builds and what they are: Microsoft's release information of Windows 10 and 11.
const RELEASES: [(&str, &str, &str); 16] = [
    ("10240", "Windows 10", "1507"),
    ("10586", "Windows 10", "1511"),
    ("14393", "Windows 10", "1607"),
    ("15063", "Windows 10", "1703"),
    ("16299", "Windows 10", "1709"),
    ("17134", "Windows 10", "1803"),
    ("17763", "Windows 10", "1809"),
    ("18362", "Windows 10", "1903"),
    ("18363", "Windows 10", "1909"),
    ("19041", "Windows 10", "2004"),
    ("19042", "Windows 10", "20H2"),
    ("19043", "Windows 10", "21H1"),
    ("19044", "Windows 10", "21H2"),
    ("19045", "Windows 10", "22H2"),
    ("22000", "Windows 11", "21H2"),
    ("22621", "Windows 11", "22H2"),
];

/// Completes what osquery says of the system by the registry's words about its build. A server is no Windows 10, though
/// their builds are the same.
pub(super) fn name(os: &mut Map<String, Value>, registry: &Map<String, Value>) {
    let text = |object: &Map<String, Value>, key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let Some(called) = text(os, "name").filter(|name| name.contains("Windows")) else { return };
    let Some(build) = text(registry, "CurrentBuild").or_else(|| text(os, "build")) else { return };
    if let (Some(own), Some(revision)) = (text(registry, "CurrentBuild"), text(registry, "UBR")) {
        os.insert("build".into(), format!("{own}.{revision}").into());
    }
    let release = RELEASES.iter().find(|(number, ..)| *number == build && !called.contains("Server"));
    if let Some((_, name, version)) = release {
        os.insert("name".into(), (*name).into());
        os.insert("version".into(), (*version).into());
        for key in ["minor", "patch"] {
            os.remove(key);
        }
    }
}
