//! The stage `normalize`: raw lines, events, or an agent's own log become events of one shape.

mod direct;
mod geo;
mod given;
mod inventory;
mod log;
mod machines;
mod programs;
mod results;
mod rows;
mod stage;

use pipe::cli::{Global, Process, StageArgs};
use pipe::config::{Config, Finding, StageConf, StageKind};
use pipe::{Exit, StageError};

pub use given::Given;
pub use stage::{Normalize, SCHEMAS};

/// Command line of `normalize`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Read this source's own log instead of raw lines: osquery
    #[arg(value_name = "SOURCE")]
    pub source: Option<String>,
    /// Do not remember machines between lines
    #[arg(long)]
    pub no_state: bool,
    /// Read what osqueryi --json printed for the query of this probe: events as if osqueryd had run it now, for a filter behind
    /// a pipe
    #[arg(
        long,
        value_name = "PROBE",
        requires = "source",
        conflicts_with_all = ["from", "to", "as_", "start", "once", "metrics", "stage"]
    )]
    pub probe: Option<String>,
    /// Flags of every stage
    #[command(flatten)]
    pub stage: StageArgs,
    /// What is known of the machines of a log
    #[command(flatten)]
    pub given: Given,
}

/// Runs the stage to its end.
pub fn run(global: &Global, args: &Args) -> Exit {
    let process = match Process::start(StageKind::Normalize, global, &args.stage) {
        Ok(process) => process,
        Err(exit) => return exit,
    };
    start(&process, args).unwrap_or_else(|e| {
        tracing::error!("{e}");
        e.exit
    })
}

fn start(process: &Process, args: &Args) -> Result<Exit, StageError> {
    process.open_side_door(None)?;
    let job = process.job(StageKind::Normalize, process.main_output(), &[]);
    let Some(name) = &args.source else {
        return Ok(pipe::run(&mut Normalize::new(!args.no_state), job));
    };
    let known = || sources::ALL.iter().map(|s| s.name()).collect::<Vec<_>>().join(", ");
    let source = sources::by_name(name)
        .ok_or_else(|| StageError::usage(format!("there is no source `{name}`; there is {}", known())))?;
    let machine = args.given.machine(&process.config)?;
    match &args.probe {
        Some(probe) if name == sources::osquery::NAME => rows::run(&process.config, probe, machine),
        Some(_) => Err(StageError::usage(format!("--probe: queries are osquery's, not `{name}`'s"))),
        None => Ok(pipe::run(&mut log::Log::new(source, machine), job)),
    }
}

/// What is wrong with a `[stage.*]` table of this kind.
pub fn check(_: &Config, conf: &StageConf) -> Vec<Finding> {
    let mut table = conf.settings.clone();
    if let Some(Err(why)) = conf.geo.as_deref().map(geo::Geo::open) {
        table.fail("geo", why);
    }
    table.finish()
}

/// The SQL of a query of the configuration and the name of its results: `PROBE`, or `PACK/QUERY`.
pub fn configured(config: &Config, name: &str) -> Option<(String, String)> {
    results::configured(config, name)
}

/// What is wrong with the programs of `[source.*]` tables that this stage runs.
pub fn check_sources(config: &Config) -> Vec<Finding> {
    programs::Programs::read(config).err().unwrap_or_default()
}
