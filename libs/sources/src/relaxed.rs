//! Files that osquery takes: JSON with comments and carried-on lines, as a tree that remembers where things stand.

pub mod json;
pub mod node;
