//! One function a target: it takes any bytes, and panics if a promise is broken.

mod big_stack;
pub mod engine;
pub mod filter;
pub mod jamf_body;
pub mod munki_body;
pub mod osquery_body;
pub mod raw;
pub mod santa_body;
pub mod search;
pub mod topic_recovery;

/// A name of a target, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 9] = [
    ("engine", engine::run),
    ("filter", filter::run),
    ("jamf_body", jamf_body::run),
    ("munki_body", munki_body::run),
    ("osquery_body", osquery_body::run),
    ("raw", raw::run),
    ("santa_body", santa_body::run),
    ("search", search::run),
    ("topic_recovery", topic_recovery::run),
];

/// Bytes for messages.
fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
