//! What stands in the place of Kafka in a program that was built without it: the words are known, nothing can be opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use registry::db::{Db, Tx};

use crate::config::{Config, Kafka};
use crate::input::{Read, Reader};
use crate::topic::Start;
use crate::{Metrics, Signals, StageError};

/// A topic as the brokers have it; never seen here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {}

impl Found {
    /// What is wrong with it, for people.
    pub fn doubt(&self) -> Option<String> {
        match *self {}
    }
}

/// A topic as it is now.
///
/// # Errors
/// Always.
pub fn look(_: &Config, name: &str) -> Result<Option<Found>, StageError> {
    absent(name)
}

/// Of each partition of a topic: its number, its first offset kept, and its end.
///
/// # Errors
/// Always.
pub fn ends(_: &Config, name: &str) -> Result<Vec<(i32, u64, u64)>, StageError> {
    absent(name)
}

pub(crate) fn record_start(_: &Config, name: &str, _: &mut Db, _: Start) -> Result<usize, StageError> {
    absent(name)
}

pub(crate) fn check(_: &Kafka) -> Result<(), String> {
    Err(ABSENT.to_owned())
}

const ABSENT: &str = "this program was built without Kafka (cargo feature `kafka`)";

fn absent<T>(name: &str) -> Result<T, StageError> {
    Err(StageError::usage(format!("kafka:{name}: {ABSENT}")))
}

pub(crate) enum KafkaInput {}

impl KafkaInput {
    pub(crate) fn open(_: &Arc<Config>, name: &str, _: &mut Db, _: &Reader<'_>) -> Result<Self, StageError> {
        absent(name)
    }

    pub(crate) fn settle(&mut self, _: &mut [&mut Self], _: &mut Db) -> Result<bool, StageError> {
        match *self {}
    }

    pub(crate) fn follows(&self) -> bool {
        match *self {}
    }

    pub(crate) fn name(&self) -> String {
        match *self {}
    }

    pub(crate) fn take_passed_over(&mut self) -> u64 {
        match *self {}
    }

    pub(crate) fn partitions(&self) -> usize {
        match *self {}
    }

    pub(crate) fn read(&mut self, _: usize) -> Result<Read<'_>, StageError> {
        match *self {}
    }

    pub(crate) fn record(&self, _: &mut Tx<'_>) -> Result<bool, StageError> {
        match *self {}
    }

    pub(crate) fn committed(&mut self) {
        match *self {}
    }

    pub(crate) fn lag(&self) -> Option<u64> {
        match *self {}
    }

    pub(crate) fn line(&self) -> u64 {
        match *self {}
    }
}

pub(crate) struct Message {
    pub(crate) offset: u64,
    pub(crate) line: Vec<u8>,
}

pub(crate) enum View {}

impl View {
    pub(crate) fn open(_: &Config, name: &str, _: Start, _: bool) -> Result<Option<Self>, StageError> {
        absent(name)
    }

    pub(crate) fn next(&mut self) -> Result<Option<(i32, Message)>, StageError> {
        match *self {}
    }

    pub(crate) fn total(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn done(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn end_here(&mut self) {
        match *self {}
    }
}

pub(crate) enum KafkaOutput {}

impl KafkaOutput {
    pub(crate) fn open(_: &Arc<Config>, name: &str, _: Signals, _: Metrics) -> Result<Self, StageError> {
        absent(name)
    }

    pub(crate) fn of_source(_: &Arc<Config>, name: &str, _: Metrics) -> Result<Self, StageError> {
        absent(name)
    }

    pub(crate) fn append(&mut self, _: &[u8], _: usize) -> Result<(), StageError> {
        match *self {}
    }

    pub(crate) fn is_dirty(&self) -> bool {
        match *self {}
    }

    pub(crate) fn sync(&mut self) -> Result<(), StageError> {
        match *self {}
    }

    pub(crate) fn settle(&mut self) -> BTreeSet<usize> {
        match *self {}
    }

    pub(crate) fn ask(&mut self) -> Result<(), StageError> {
        match *self {}
    }

    pub(crate) fn place(&self) -> String {
        match *self {}
    }

    pub(crate) fn record(&mut self, _: &mut Tx<'_>) -> Result<(), StageError> {
        match *self {}
    }

    pub(crate) fn take_refused(&mut self) -> Vec<(Vec<u8>, String)> {
        match *self {}
    }
}
