//! Topics of Kafka: `kafka:NAME` beside `topic:NAME`. The only place that knows the client.

mod admin;
mod client;
mod dates;
mod input;
mod key;
mod output;
mod reading;
mod view;

use std::time::Duration;

pub use admin::{Found, ends, look};
pub(crate) use client::check;
pub(crate) use input::{KafkaInput, record_start};
pub(crate) use output::KafkaOutput;
pub(crate) use view::View;

use crate::StageError;
use crate::config::{Config, Kafka};

/// How long a question to the brokers may take; a stage that is told to stop waits for it.
const ASK: Duration = Duration::from_secs(3);
/// The longest message that a topic takes: a line (4 MiB) with its key and frame, so that one limit holds everywhere.
const MESSAGE_MAX: u32 = 5 << 20;

/// The table `[kafka]`, without which there is no Kafka.
pub(crate) fn settings(config: &Config) -> Result<&Kafka, StageError> {
    config.kafka.as_ref().ok_or_else(|| StageError::usage("`kafka:NAME` needs the table [kafka] with `brokers`"))
}
