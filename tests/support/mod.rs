//! What end-to-end tests share: a hub in a scratch folder, an agent that speaks as osquery does, a receiver of actions, a
//! database on a real server, a data folder that a recorded run left behind.
#![allow(dead_code, reason = "each test uses its part")]

pub mod agent;
pub mod chance;
pub mod database;
pub mod fleet;
pub mod hub;
pub mod lines;
pub mod plain;
pub mod receiver;
pub mod recorded;
pub mod services;
