//! Stores keep every event and answer searches.

pub mod index;
pub mod query;
pub mod search;
mod words;
