//! `act` in the real loop on real topics, against local servers that check what they get.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod by_hand;
mod conditions;
mod crash;
mod email;
mod every;
mod fake;
#[path = "../fakes/mod.rs"]
mod fakes;
mod hostile;
mod http;
mod hub;
mod jamf;
mod ledger;
mod machines;
mod orders;
mod people;
mod presets;
mod programs;
mod registry;
mod santa;
mod tickets;
mod twilio;
mod waits;
