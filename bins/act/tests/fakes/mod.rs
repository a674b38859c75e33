//! Small servers that behave as a service documents: they check what they are sent, refuse what the documentation
//! refuses, and fail on purpose. Tests use them, and `examples/fakes.rs` runs one by hand.
//!
//! A file a service. Each tells its facts and where they are from, and shows three wrong requests refused.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests and a program share it, each uses a part; tests may panic"
)]

pub mod by_hand;
pub mod freshdesk;
pub mod github;
pub mod google_chat;
pub mod http;
pub mod jamf;
pub mod jira;
pub mod mail;
pub mod ntfy;
pub mod pagerduty;
pub mod pushover;
pub mod servicenow;
pub mod slack;
pub mod smtp;
pub mod teams;
pub mod tickets;
pub mod trello;
pub mod twilio;
pub mod zendesk;

use serde_json::Value;

pub use http::{Fake, Reply, Request, Service, Trouble};

/// Answers that services have in common.
impl Reply {
    /// Plain text.
    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: vec![("Content-Type".into(), "text/plain".into())], body: body.to_owned() }
    }

    /// JSON.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: vec![("Content-Type".into(), "application/json".into())], body: body.to_string() }
    }

    /// With one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body as JSON.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}
