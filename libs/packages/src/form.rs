//! How the forms are written.

mod archive;
mod bom;
pub mod deb;
pub mod pkg;
pub mod rpm;
mod xar;
pub mod zip;
