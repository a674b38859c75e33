//! `kind = "opensearch"`: a cluster of OpenSearch, with the same keys as Elasticsearch.

use super::{Kind, elasticsearch};
use crate::cluster::Flavour;

/// This kind.
pub const KIND: Kind =
    Kind { name: "opensearch", open: |settings, reading| elasticsearch::open(settings, reading, Flavour::OpenSearch) };
