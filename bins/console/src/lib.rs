//! `console`: what people see of the hub, in a browser, and the same as JSON for programs. It keeps
//! nothing of its own: it asks the state for machines, the store for events and `up` for the stages, and what people change
//! goes into `registry.db` or, with `edit`, the files of probes. Whichever of them does not answer, the page says so and the
//! rest works.

mod answer;
mod api;
mod app;
mod ask;
mod beside;
mod conf;
mod cookies;
mod door;
mod edit;
mod events;
mod examples;
mod headers;
mod hub;
mod kinds;
mod lately;
mod ledger;
mod lent;
mod live;
mod machines;
mod oidc;
mod pages;
mod password;
mod play;
mod probes;
mod room;
mod routes;
mod serve;
mod shelf;
mod sorting;
mod specs;
mod stage;
mod text;

use std::net::SocketAddr;

use pipe::Exit;
use pipe::cli::{Global, StageArgs};
use pipe::config::{Config, Finding, StageConf, StageKind};
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
pub fn check(config: &Config, stage: &StageConf) -> Vec<Finding> {
    match conf::Conf::read(Some(&stage.settings)) {
        Ok(conf) => conf.unknown_units(config, &stage.settings),
        Err(found) => found,
    }
}

/// Whether certificate, key and authority can be read and belong together, and whether the secret of single sign-on is
/// there. They are no part of the configuration: this is for `check`, on the machine that has them.
pub fn check_here(config: &Config) -> Vec<Finding> {
    let wrong = consoles(config).map(|(stage, conf)| {
        let files = conf.tls.map(|files| pipe::tls::check(&stage.settings, &files, conf::CLIENTS)).unwrap_or_default();
        let secret = conf.oidc.and_then(|oidc| oidc.secret.resolve().err());
        files.into_iter().chain(secret.and_then(|why| stage.settings.finding("oidc", format!("`secret`: {why}"))))
    });
    wrong.flatten().collect()
}

/// What single sign-on says when it is asked for its metadata and keys, which everybody may; for `check --online`.
pub fn check_online(config: &Config) -> Vec<Finding> {
    let asked = consoles(config).filter_map(|(stage, conf)| {
        let (oidc, host) = (conf.oidc.clone()?, conf.oidc?.host().to_owned());
        match oidc::Provider::new(oidc).and_then(|provider| provider.look()) {
            Ok(()) => {
                tracing::info!("single sign-on: {host} answers");
                None
            }
            Err(why) => stage.settings.finding("oidc", format!("tried online: {why}")),
        }
    });
    asked.collect()
}

fn consoles(config: &Config) -> impl Iterator<Item = (&StageConf, conf::Conf)> {
    let stages = config.stages.iter().filter(|stage| stage.runs(StageKind::Console));
    stages.filter_map(|stage| Some((stage, conf::Conf::read(Some(&stage.settings)).ok()?)))
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
