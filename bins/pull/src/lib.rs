//! The stage `pull`: asks another server what it knows of machines, all of them every now and then, one at once when the
//! server's webhook says that it has changed. It holds the credentials and listens to nobody.

mod conf;
mod lines;
mod paged;
mod sal;
mod setup;
mod stage;
mod watchman;
mod worker;

use pipe::cli::{Global, Process, StageArgs};
use pipe::config::{Config, Finding, Secret, StageConf, StageKind, render};
use pipe::{Exit, StageError};
use remote::http::{Http, TRIES};
use remote::jamf::Jamf;

use conf::Conf;

pub use registry::pulled::SCHEMA;
pub use setup::setup;

/// Command line of `pull`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The source to ask: [source.NAME] of the configuration
    #[arg(value_name = "SOURCE", required_unless_present = "stage")]
    pub source: Option<String>,
    /// Ask for all machines at once, and end
    #[arg(long)]
    pub now: bool,
    /// Ask for this machine at once, and end
    #[arg(long, value_name = "SERIAL", conflicts_with = "now")]
    pub machine: Option<String>,
    /// Flags of every stage
    #[command(flatten)]
    pub stage: StageArgs,
}

/// Runs the stage to its end.
pub fn run(global: &Global, args: &Args) -> Exit {
    let process = match Process::start(StageKind::Pull, global, &args.stage) {
        Ok(process) => process,
        Err(exit) => return exit,
    };
    start(&process, args).unwrap_or_else(|e| {
        tracing::error!("{e}");
        e.exit
    })
}

fn start(process: &Process, args: &Args) -> Result<Exit, StageError> {
    let named = process.conf.as_ref().and_then(|stage| stage.source.clone()).or_else(|| args.source.clone());
    let name = named.ok_or_else(|| StageError::usage("pull needs the name of a source"))?;
    let conf = Conf::of(&process.config, &name)?;
    process.open_side_door(None)?;
    let errand = match &args.machine {
        Some(serial) => stage::Errand::One(serial.clone()),
        None if args.now || process.once() => stage::Errand::All,
        None => stage::Errand::Forever,
    };
    let mut stage = stage::Pull::new(conf, errand);
    Ok(pipe::run(&mut stage, process.job(StageKind::Pull, process.main_output(), &[])))
}

/// What is wrong with a `[stage.*]` table of this kind.
pub fn check(_: &Config, conf: &StageConf) -> Vec<Finding> {
    conf.settings.clone().finish()
}

/// What is wrong with the tables of sources that can be asked.
pub fn check_sources(config: &Config) -> Vec<Finding> {
    conf::check(config)
}

/// Which of their secrets cannot be looked up here; for `check`, on the machine that has them.
pub fn check_secrets(config: &Config) -> Vec<Finding> {
    conf::check_secrets(config)
}

/// A Jamf server, with the secret looked up.
fn jamf(conf: &Conf, id: &str, secret: &Secret) -> Result<Jamf, String> {
    let http = Http::new(conf.ca.as_deref(), TRIES)?;
    Ok(Jamf::new(http, &conf.url, id.to_owned(), secret.resolve()?))
}

fn wrong(findings: &[Finding]) -> StageError {
    StageError::usage(render(findings))
}
