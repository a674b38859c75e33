//! What ships inside the programs: the probes of `filters/`, and what `docs/` says of the kinds of action. Texts alone;
//! whoever needs them reads them as it reads those of a user.

pub mod actions;
pub mod probes;
