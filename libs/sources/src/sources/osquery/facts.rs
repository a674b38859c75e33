//! What a record says about its machine, and what is too good to be true.

use event::{Machine, Raw, json};
use serde_json::Value;

use crate::MachineFacts;

/// Longer texts are no names.
const NAME_MAX: usize = 255;

/// Fillers that firmware makers leave in place of a serial number, in small letters (dmidecode output of many boards).
const NO_SERIALS: &[&str] = &[
    "none",
    "null",
    "n/a",
    "na",
    "default string",
    "default_string",
    "empty",
    "invalid",
    "no asset information",
    "not applicable",
    "not available",
    "not provided",
    "not specified",
    "o.e.m.",
    "oem",
    "serial",
    "serial number",
    "system serial number",
    "chassis serial number",
    "to be filled by o.e.m.",
    "to be filled by o.e.m",
    "tobefilledbyo.e.m.",
    "unknown",
    "unspecified",
    "xxxxxxx",
    "123456789",
    "0123456789",
    "1234567890",
];

/// UUIDs that whole batches of boards share, in small letters.
const NO_UUIDS: &[&str] = &[
    "03000200-0400-0500-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "fefefefe-fefe-fefe-fefe-fefefefefefe",
];

/// The serial number, if this is one.
pub(crate) fn serial(text: &str) -> Option<String> {
    let name = name(text)?;
    let small = name.to_ascii_lowercase();
    let filler = NO_SERIALS.contains(&small.as_str()) || small.starts_with("to be filled");
    (!filler && !one_letter(&small)).then_some(name)
}

/// The hardware UUID, if this is one.
pub(crate) fn uuid(text: &str) -> Option<String> {
    let name = name(text)?;
    let small = name.to_ascii_lowercase();
    let digits = small.bytes().filter(u8::is_ascii_hexdigit).count();
    let shaped = digits == 32 && small.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (shaped && !NO_UUIDS.contains(&small.as_str()) && !one_letter(&small)).then_some(name)
}

/// A host name or version: trimmed, not empty, not endless, without control characters.
pub(crate) fn name(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// `0`, `00000000`, `ffffffff-ffff-…`: one letter and dividers.
fn one_letter(text: &str) -> bool {
    let mut letters = text.chars().filter(|c| c.is_alphanumeric());
    let first = letters.next();
    letters.all(|c| Some(c) == first)
}

/// The facts of an enrolment request (canonical JSON): `host_identifier`, `platform_type`, `host_details`.
pub(crate) fn of_enrolment(request: &[u8]) -> MachineFacts {
    let details = json::get(request, "host_details").unwrap_or(b"{}");
    let of = |table: &str, column: &str| json::get(details, table).and_then(|row| text(json::get(row, column)?));
    let system = |column| of("system_info", column);
    let os = |column| of("os_version", column);
    let identifier = json::get(request, "host_identifier").and_then(text);
    let version = os("version").and_then(|v| name(&v)).or_else(|| {
        let parts: Vec<String> =
            ["major", "minor", "patch"].into_iter().filter_map(os).filter(|p| !p.is_empty()).collect();
        name(&parts.join("."))
    });
    let platform = json::get(request, "platform_type").and_then(text).and_then(|mask| platform_of_mask(&mask));
    MachineFacts {
        serial_number: system("hardware_serial").and_then(|s| serial(&s)),
        hardware_uuid: [system("uuid"), of("osquery_info", "uuid"), identifier.clone()]
            .into_iter()
            .flatten()
            .find_map(|text| uuid(&text)),
        hostname: [system("hostname"), system("computer_name"), identifier]
            .into_iter()
            .flatten()
            .find_map(|t| name(&t)),
        platform: platform.or_else(|| platform_of_os(&os("platform")?, &os("platform_like").unwrap_or_default())),
        os_version: version,
        agent_version: of("osquery_info", "version").and_then(|v| name(&v)),
    }
}

/// The version that a row of `os_version` says as a whole: what its parts add up to is less than an enrolment says.
pub(super) fn os_version(row: &Value) -> Option<String> {
    name(&column_of(row, "version")?)
}

/// The host name that a row of `system_info` says.
pub(super) fn hostname(row: &Value) -> Option<String> {
    ["hostname", "computer_name"].into_iter().find_map(|column| name(&column_of(row, column)?))
}

fn column_of(row: &Value, column: &str) -> Option<String> {
    match row.get(column)? {
        Value::String(text) => Some(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The facts of an `enroll` raw line.
pub(crate) fn of_raw(raw: &Raw) -> Option<MachineFacts> {
    match &raw.body {
        event::Body::Json(body) if raw.kind == "enroll" => Some(of_enrolment(body.get().as_bytes())),
        _ => None,
    }
}

/// The machine block of a record in the agent's own log, which only its decorations and identifier name.
pub(crate) fn of_record(
    host_identifier: Option<&[u8]>,
    hostname: Option<&[u8]>,
    decorations: Option<&[u8]>,
) -> Machine {
    let decoration = |key: &str| json::get(decorations?, key).and_then(text);
    let said = [host_identifier, hostname].into_iter().flatten().filter_map(text).collect::<Vec<_>>();
    Machine {
        serial_number: ["serial_number", "hardware_serial"].into_iter().find_map(|k| serial(&decoration(k)?)),
        hardware_uuid: ["host_uuid", "uuid"]
            .into_iter()
            .filter_map(decoration)
            .chain(said.iter().cloned())
            .find_map(|text| uuid(&text)),
        hostname: decoration("hostname").into_iter().chain(said).find_map(|text| name(&text)),
        ..Machine::default()
    }
}

/// The text of a string, or of a number as it is written.
pub(crate) fn text(value: &[u8]) -> Option<String> {
    match value.first()? {
        b'"' => json::parse_str(value).map(std::borrow::Cow::into_owned),
        b'-' | b'0'..=b'9' => std::str::from_utf8(value).ok().map(str::to_owned),
        _ => None,
    }
}

/// The bit mask of `platform_type`: 1 POSIX, 2 Windows, 8 Linux, 16 macOS, 32 FreeBSD (4 is BSD of any kind).
fn platform_of_mask(mask: &str) -> Option<String> {
    let mask: u32 = mask.trim().parse().ok()?;
    let named = [(16, "macos"), (8, "linux"), (2, "windows"), (32, "freebsd")];
    named.iter().find(|(bit, _)| mask & bit != 0).map(|(_, name)| (*name).to_owned())
}

fn platform_of_os(platform: &str, like: &str) -> Option<String> {
    let name = match (platform, like) {
        ("darwin", _) | (_, "darwin") => "macos",
        ("windows", _) | (_, "windows") => "windows",
        ("freebsd", _) => "freebsd",
        ("", "") => return None,
        _ => "linux", // osquery names the distribution here
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fillers_are_not_names() {
        for bad in [
            "",
            "0",
            " 0 ",
            "00000000",
            "None",
            "To be filled by O.E.M.",
            "To Be Filled By Somebody",
            "Default string",
            "System Serial Number",
            "...",
            "x\u{0}y",
        ] {
            assert_eq!(serial(bad), None, "{bad}");
        }
        for good in ["C02XL0AAJGH5", "VMware-56 4d", " 8Q394Y2 ", "0000-0001"] {
            assert_eq!(serial(good).as_deref(), Some(good.trim()));
        }
        for bad in [
            "lab-1",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
        ] {
            assert_eq!(uuid(bad), None, "{bad}");
        }
        assert!(uuid("4C4C4544-0031-4A10-8052-B5C04F4E3132").is_some());
        assert_eq!(name(&"x".repeat(256)), None);
    }

    #[test]
    fn facts_of_an_enrolment() {
        let check = |request: &str, want: [Option<&str>; 6]| {
            let f = of_enrolment(request.as_bytes());
            let got = [&f.serial_number, &f.hardware_uuid, &f.hostname, &f.platform, &f.os_version, &f.agent_version];
            assert_eq!(got.map(|o| o.as_deref()), want, "{request}");
        };
        check(
            r#"{"host_identifier":"h","platform_type":"21","host_details":{"os_version":{"version":"15.2"},"osquery_info":{"version":"5.13.1"},"system_info":{"hardware_serial":"C02","uuid":"4C4C4544-0031-4A10-8052-B5C04F4E3132","hostname":"mac.local"}}}"#,
            [
                Some("C02"),
                Some("4C4C4544-0031-4A10-8052-B5C04F4E3132"),
                Some("mac.local"),
                Some("macos"),
                Some("15.2"),
                Some("5.13.1"),
            ],
        );
        check(
            r#"{"host_identifier":"lab-1","platform_type":9,"host_details":{"os_version":{"major":"12","minor":"","patch":"4"},"system_info":{"hardware_serial":"0"}}}"#,
            [None, None, Some("lab-1"), Some("linux"), Some("12.4"), None],
        );
        check(
            r#"{"host_identifier":"4C4C4544-0031-4A10-8052-B5C04F4E3132","host_details":{"os_version":{"platform":"ubuntu","platform_like":"debian"}}}"#,
            [
                None,
                Some("4C4C4544-0031-4A10-8052-B5C04F4E3132"),
                Some("4C4C4544-0031-4A10-8052-B5C04F4E3132"),
                Some("linux"),
                None,
                None,
            ],
        );
        for odd in [
            r#"{"host_details":[1]}"#,
            r#"{"host_details":{"system_info":"x","os_version":{"version":{}}}}"#,
            r#"{"platform_type":"99999999999999"}"#,
            "{}",
        ] {
            check(odd, [None; 6]);
        }
        check(r#"{"platform_type":"37"}"#, [None, None, None, Some("freebsd"), None, None]);
        check(r#"{"platform_type":"2"}"#, [None, None, None, Some("windows"), None, None]);
    }
}
