//! `receive`: listens to agents and writes one raw line for each of their records. It answers 200 only when the lines
//! of a request are durable (one fsync for all requests that wait), and never with an empty body.

mod agents;
mod body;
mod by_query;
mod carves;
mod conf;
mod desk;
mod gauges;
mod groups;
mod guard;
mod hand;
mod heard;
mod hub;
mod known;
mod made;
mod meters;
mod queries;
mod request;
mod serve;
mod stage;
mod store;
mod tickets;
mod tls;
mod whom;

use std::net::SocketAddr;
use std::path::PathBuf;

use pipe::Exit;
use pipe::cli::{Global, StageArgs};
use pipe::config::{Config, Finding, StageKind};

pub use conf::{check, check_secrets};
pub use stage::SCHEMAS;
pub use whom::machines;

/// Flags of `receive`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Flags that every stage takes.
    #[command(flatten)]
    pub stage: StageArgs,
    /// Address to listen on, such as 0.0.0.0:443; port 0: any free one
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Speak HTTP without TLS; on loopback addresses only
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"])]
    pub plain: bool,
}

/// Runs the stage until it is stopped. Errors have been said on stderr.
pub fn run(global: &Global, args: &Args) -> Exit {
    stage::run(global, args)
}

/// Whether certificate and key of the configuration can be read and belong together. The files are no part of the
/// configuration: this is for `check`, on the machine that they lie on.
pub fn check_tls(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Receive)) {
        let Ok(conf) = conf::Conf::read(config, Some(&stage.settings)) else { continue };
        let wrong = conf.tls.map(|files| pipe::tls::check(&stage.settings, &files, pipe::tls::Clients::Asked));
        found.extend(wrong.unwrap_or_default());
    }
    found
}
