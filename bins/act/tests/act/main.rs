//! `act` in the real loop on real topics, against local servers that check what they get.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod conditions;
mod crash;
mod email;
mod fake;
mod http;
mod hub;
mod ledger;
mod orders;
mod programs;
mod santa;
