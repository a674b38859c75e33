//! Shapes of answers that several routes give, and of those that the registry makes of maps: there the shape is all that
//! there is of a type, and `scripts/api` holds the answers against it.

use std::collections::BTreeMap;

use event::{Machine, Time};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// It is done, or on its way to whoever does it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Done {
    done: bool,
}

/// Why it is not.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Refused {
    /// For people, and for the log of a program.
    pub error: String,
}

/// A machine in a line, as [`registry::known::Known::line`] makes it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MachineLine {
    /// What programs call it by.
    key: String,
    #[serde(flatten)]
    block: Machine,
    /// The sources that told of it.
    sources: Vec<String>,
    /// When the first of them did.
    first_seen: Option<Time>,
    /// When the last of them did.
    last_seen: Option<Time>,
}

/// All that is known of a machine, as [`registry::known::Known::whole`] makes it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MachineKnown {
    #[serde(flatten)]
    line: MachineLine,
    /// The clean sync of its Santa that is ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    sync: Option<String>,
    /// What tries to enrol as it and waits for leave, or has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Vec<Pending>>,
    /// By source when it was heard, when its snapshot was taken, and how much that holds.
    seen: BTreeMap<String, Seen>,
    /// How all its checks stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    compliance: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
    /// By field the source that told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Map<String, Value>>,
    /// By kind of thing the sources that told of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    told_by: Option<Map<String, Value>>,
    /// Applications, certificates, users and more, by kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<BTreeMap<String, Vec<Value>>>,
    /// What changed on it in the last 30 days, oldest first.
    history: Vec<Past>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Pending {
    source: String,
    hardware: String,
    why: String,
    first: Time,
    last: Time,
    approved: Option<Time>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Seen {
    first_seen: Time,
    last_seen: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CheckTold")]
struct Check {
    check: String,
    status: String,
    time: Time,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Past {
    source: String,
    taken: Time,
    received: Time,
    changes: Vec<Value>,
}
