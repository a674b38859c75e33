//! The sources there are. A test keeps the list in step with the files of this folder.

use crate::Source;

// sources: begin
pub mod munki;
pub mod osquery;
// sources: end

/// Every source, by name.
pub const ALL: &[&dyn Source] = &[
    // list: begin
    &munki::SOURCE,
    &osquery::SOURCE,
    // list: end
];

/// The source of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Source> {
    ALL.iter().copied().find(|source| source.name() == name)
}
