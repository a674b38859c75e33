//! `console`: what people see of the hub, in a browser, and the same as JSON for programs. It keeps
//! nothing of its own: it asks the state for machines, the store for events and `up` for the stages, and what people change
//! goes into `registry.db` or, with `edit`, the files of probes. Whichever of them does not answer, the page says so and the
//! rest works.

mod answer;
mod api;
mod app;
mod ask;
mod conf;
mod cookies;
mod door;
mod edit;
mod events;
mod examples;
mod fleet;
mod headers;
mod hub;
mod ledger;
mod lent;
mod live;
mod machines;
mod pages;
mod password;
mod play;
mod probes;
mod routes;
mod serve;
mod sorting;
mod specs;
mod stage;
mod text;
mod tls;

use std::net::SocketAddr;

use pipe::Exit;
use pipe::cli::{Global, StageArgs};
use pipe::config::{Config, Finding, StageConf};
use registry::users::Role;

pub use lent::{Lent, lend};

/// Flags of `console`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Flags that every stage takes.
    #[command(flatten)]
    pub stage: StageArgs,
    /// Address to listen on; port 0: any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// Runs it until it is stopped. Errors have been said on stderr.
pub fn run(global: &Global, args: &Args) -> Exit {
    stage::run(global, args)
}

/// What is wrong with the table of a console.
pub fn check(stage: &StageConf) -> Vec<Finding> {
    conf::Conf::read(Some(&stage.settings)).err().unwrap_or_default()
}

/// Where people reach the console of this configuration, without a `/` at the end: the address of one that runs, else
/// what its table says, else the default.
pub fn address(config: &Config) -> String {
    conf::address(config)
}

/// The address of a link by which somebody chooses a password; `base` is [`address`].
pub fn link(base: &str, secret: &str) -> String {
    pages::login::address(base, secret)
}

/// All that can be asked: method, path with the names of its variable parts in braces, the least role (none: anybody),
/// the part of the console. The router is made of the same table.
pub fn routes() -> Vec<(&'static str, &'static str, Option<Role>, &'static str)> {
    let method = |method| if method == routes::Method::Get { "GET" } else { "POST" };
    routes::ROUTES.iter().map(|r| (method(r.method), r.path, r.least, r.area.word())).collect()
}

/// The parts of the console, which are the scopes of a token.
pub fn scopes() -> Vec<&'static str> {
    routes::Area::SCOPES.iter().map(|area| area.word()).collect()
}
