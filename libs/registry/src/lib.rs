//! State: who may speak, machines, the ledger. What decides is in files; what is learned is in here.
//!
//! One owner a file (only `registry.db` has several writers). Each statement is written once, in SQL that SQLite and
//! PostgreSQL both take; no type of the database driver leaves this crate.

pub mod by_hand;
pub mod carves;
pub mod changes;
pub mod columns;
pub mod db;
pub mod enrolments;
pub mod folder;
pub mod forgotten;
pub mod inventory;
pub mod known;
pub mod ledger;
pub mod live;
pub mod machines;
pub mod made_rules;
pub mod munki;
pub mod orders;
pub mod pending;
pub mod prices;
pub mod pulled;
pub mod results;
pub mod santa;
pub mod server_key;
pub mod syntax;
pub mod tags;
pub mod tally;
pub mod users;
