//! The kinds of things that machines have, and by what a thing is known again when something in it changes.

use serde_json::{Map, Value};

use super::text;

/// The kind that holds what a source says of the machine itself; made of [`Snapshot::machine`](super::Snapshot::machine).
pub const MACHINE: &str = "machine";

/// The kinds by name, each with the keys that a thing of it is known again by. No keys: there is one of it.
///
/// A source may tell other kinds; their things are only ever added and removed.
pub const KINDS: &[(&str, &[&str])] = &[
    (MACHINE, &[]),
    ("os_version", &[]),
    ("system_info", &[]),
    ("network_interface", &["interface", "mac"]),
    ("disk", &["name"]),
    ("mount", &["path", "device"]),
    ("osx_app", &["bundle_id", "bundle_path", "path"]),
    ("program", &["name", "install_location"]),
    ("deb_package", &["name", "arch"]),
    ("rpm_package", &["name", "arch"]),
    ("ios_app", &["bundle_id", "name"]),
    ("android_app", &["package_name", "name"]),
    ("certificate", &["sha_256", "sha_1", "sha1"]),
    ("profile", &["identifier"]),
    ("extension", &["browser", "identifier", "profile", "user"]),
    ("user", &["username"]),
    ("local_group", &["groupname"]),
    ("group", &["reference", "name"]),
    ("principal_user", &["source", "unique_id"]),
    ("business_unit", &["reference", "name"]),
    ("reference", &[]),
    ("link", &["url"]),
    ("teamviewer", &["teamviewer_id"]),
    ("extension_attribute", &["name"]),
    ("extra_facts", &[]),
    ("managed_install", &["name"]),
    ("ec2_instance_metadata", &[]),
    ("ec2_instance_tag", &["key"]),
];

/// What is another at each look, and therefore no change: of a kind these keys are not kept; no keys: nothing of it is.
const RESTLESS: &[(&str, &[&str])] = &[
    ("uptime", &[]),
    ("disk", &["free_space", "available", "percentage_used"]),
    ("mount", &["blocks_available", "blocks_free", "inodes_free"]),
];

/// The keys of a kind that are not kept, if there are any.
pub(super) fn restless(kind: &str) -> Option<&'static [&'static str]> {
    RESTLESS.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys)
}

/// Kinds of which each source knows its own: of the machine as a whole it is all of them. Of every other kind the source
/// that comes first tells all.
pub const ADDS_UP: &[&str] =
    &["group", "principal_user", "business_unit", "reference", "link", "extension_attribute", "extra_facts"];

/// What a thing of a kind is known again by: equal for the same thing before and after a change.
pub fn identity(kind: &str, object: &Map<String, Value>) -> String {
    match KINDS.iter().find(|(name, _)| *name == kind) {
        Some((_, [])) => String::new(),
        Some((_, keys)) => {
            let known: Map<String, Value> =
                keys.iter().filter_map(|key| Some(((*key).to_owned(), object.get(*key)?.clone()))).collect();
            if known.is_empty() { text(object) } else { text(&known) }
        }
        None => text(object),
    }
}
