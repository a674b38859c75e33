//! How lines travel: stdin and stdout, disk topics, Kafka, the stage loop and its commit; and what makes a program a decent
//! process: configuration, signals, exit codes, log, metrics. It does not look inside a line.

mod chain;
pub mod cli;
pub mod config;
mod exit;
pub mod fs;
mod input;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(not(feature = "kafka"))]
#[path = "kafka/absent.rs"]
pub mod kafka;
mod lasting;
mod lean;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod ops;
mod out;
mod output;
mod proxies;
mod refused;
mod run;
mod signals;
mod sink;
mod stage;
pub mod state;
mod stdio;
#[cfg(feature = "tls")]
pub mod tls;
pub mod topic;
mod wake;
mod watch;
mod window;
pub mod wrong;

pub use chain::Chain;
pub use exit::{Exit, StageError};
pub use input::parse_start;
pub use lasting::Lasting;
pub use metrics::Metrics;
pub use out::{Out, TooLong};
pub use output::{TopicOutput, is_network};
pub use proxies::Proxies;
pub use refused::original as refused_original;
pub use run::{Job, record_start, run};
pub use signals::Signals;
pub use sink::{NoRoom, Sink};
pub use stage::{Context, Line, Preparation, Stage};
pub use stdio::write as write_stdout;
pub use wake::Waker;
pub use window::{Lines, Spot, Window};
