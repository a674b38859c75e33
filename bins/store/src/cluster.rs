//! Elasticsearch and OpenSearch: the same calls to both, and the differences in one place ([`Flavour`]).
//!
//! [`document`] makes what is stored of an event, over the [`terms`] that [`compile`] searches and [`list`] writes; [`bulk`] sends it, [`find`]
//! answers questions, [`template`] is the mapping, [`keeper`] puts them together as a store. [`objects`] is what Kibana and
//! OpenSearch Dashboards show, [`import`] brings it there, [`setup`] does both. [`stream`] is what a data stream needs besides.

pub mod bulk;
pub mod compile;
pub mod connection;
pub mod document;
pub mod find;
pub mod import;
pub mod keeper;
pub mod list;
pub mod names;
pub mod objects;
pub mod setup;
pub mod stream;
pub mod template;
pub mod terms;

use serde_json::{Value, json};

/// Where the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Elasticsearch 8 and later.
    Elasticsearch,
    /// OpenSearch 2.7 and later.
    OpenSearch,
}

impl Flavour {
    /// The type of a field that takes any keys without a mapping of each.
    pub fn any_keys(self) -> Value {
        match self {
            // Deeper than any line is.
            Self::Elasticsearch => json!({"type": "flattened", "depth_limit": event::DEPTH_MAX + 2}),
            Self::OpenSearch => json!({"type": "flat_object"}),
        }
    }

    /// What says that a template makes a data stream, with what the cluster adds to it.
    pub fn data_stream(self) -> Value {
        match self {
            Self::Elasticsearch => json!({"hidden": false, "allow_custom_routing": false}),
            Self::OpenSearch => json!({"timestamp_field": {"name": "@timestamp"}}),
        }
    }

    /// What people call its pages.
    pub fn dashboards(self) -> &'static str {
        match self {
            Self::Elasticsearch => "Kibana",
            Self::OpenSearch => "OpenSearch Dashboards",
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Elasticsearch => "Elasticsearch",
            Self::OpenSearch => "OpenSearch",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
pub(crate) mod tests;
