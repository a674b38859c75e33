//! `kafka:NAME` on real brokers (`ZENTRAL_TEST_KAFKA=HOST:PORT`), and what only a broker of the client's own can play.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::exit, reason = "tests may panic")]

mod again;
mod deaths;
mod expired;
mod hub;
mod login;
mod mock;
mod odd;
mod server;
mod share;
mod window;
