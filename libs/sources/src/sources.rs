//! The sources there are. A test keeps the list in step with the files of this folder.

use crate::Source;

// sources: begin
pub mod jamf;
pub mod munki;
pub mod osquery;
pub mod sal;
pub mod santa;
pub mod watchman;
pub mod webhook;
// sources: end

/// Every source, by name.
pub const ALL: &[&dyn Source] = &[
    // list: begin
    &jamf::SOURCE,
    &munki::SOURCE,
    &osquery::SOURCE,
    &sal::SOURCE,
    &santa::SOURCE,
    &watchman::SOURCE,
    &webhook::SOURCE,
    // list: end
];

/// The source of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Source> {
    ALL.iter().copied().find(|source| source.name() == name)
}
