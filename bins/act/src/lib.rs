//! `act` tells people and machines: a ledger that is the queue, a lane per action, and a file per kind of action.
//!
//! Matches come in, outcomes go out. A match is data, never code: bodies are built by jq as JSON, nothing of a match
//! becomes a host, a header name, a shell word. At least once; once where the receiver honours the idempotency key;
//! never silently none. What is *not* here: choosing matches (`filter`), and the loop that commits (`pipe`).

pub mod actions;
pub mod brakes;
pub mod call;
mod cli;
pub mod conditions;
pub mod conf;
pub mod dead;
mod desk;
mod digests;
mod hash;
#[cfg(test)]
mod histories;
pub mod incidents;
pub mod jq;
pub mod lanes;
pub mod ledger;
pub mod metrics;
pub mod munki;
mod noted;
pub mod orders;
pub mod outcome;
pub mod preset;
mod protected;
pub mod queue;
mod quiet;
pub mod retry;
pub mod rules;
pub mod stage;
pub mod told;
pub mod trial;
mod waiting;

pub use actions::{Texts, texts_at, texts_through};
pub use cli::{Args, run};
pub use conf::{check, check_online};
pub use queue::Mode;
pub use stage::{Act, Options};
