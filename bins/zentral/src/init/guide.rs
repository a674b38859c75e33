//! The files that the guide to filters works with.

macro_rules! files {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("../../../../tests/data/guide/", $name)))),*] };
}

/// Paths in the folder that is made, and texts.
pub const FILES: [(&str, &str); 23] = files! {
    "filters/bad-hash.jq"
    "filters/bad-hash.ndjson"
    "filters/bad-hashes.json"
    "filters/bad-rows.jq"
    "filters/bad-rows.ndjson"
    "filters/disk-full.jq"
    "filters/disk-full.ndjson"
    "filters/expiring.jq"
    "filters/expiring.ndjson"
    "filters/new-port.jq"
    "filters/new-port.ndjson"
    "filters/night-login.jq"
    "filters/night-login.ndjson"
    "filters/odd-path.jq"
    "filters/odd-path.ndjson"
    "filters/old-browser.jq"
    "filters/old-browser.ndjson"
    "filters/plain-disks.jq"
    "filters/plain-disks.ndjson"
    "filters/root-login.jq"
    "filters/root-login.ndjson"
    "osqueryd.results.log"
    "rows.json"
};
