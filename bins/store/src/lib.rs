//! The stage `store`: keeps every event and makes it searchable. The process that stores also answers.
//!
//! [`query`] is the language for people, the same for every store; [`index`] writes the embedded index, [`search`]
//! reads it, [`cluster`] does both on Elasticsearch and OpenSearch, [`ask`] answers over HTTP, [`client`] asks. A store of
//! another kind is a file in [`stores`].

pub mod ask;
pub mod client;
pub mod cluster;
pub mod conf;
pub mod forward;
mod hint;
pub mod index;
pub mod query;
pub mod search;
mod stage;
pub mod stores;
mod words;

use std::path::Path;
use std::sync::Arc;

use pipe::cli::{Global, Process, StageArgs};
use pipe::config::{Config, Finding, Settings, StageConf, StageKind};
use pipe::{Exit, StageError};

pub use stage::{Clock, Keeper, finder, index_dir};

/// Command line of `store`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// A store of the configuration; events are read from --from. `setup NAME` writes what it needs on its other side: the
    /// template, dashboards; with `--to DIR` into files
    #[arg(value_name = "NAME", conflicts_with = "kind")]
    pub name: Option<String>,
    /// The store that `setup` is for
    #[arg(value_name = "NAME", hide = true, requires = "name")]
    pub set_up: Option<String>,
    /// Kind of the store, without configuration: embedded, elasticsearch, opensearch or http
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// A setting of that store: path=DIR, keep=90d; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "kind")]
    pub set: Vec<String>,
    /// Take the newest `received` for now: recorded events are kept as on their own day
    #[arg(long, hide = true)]
    pub recorded: bool,
    /// Flags of every stage
    #[command(flatten)]
    pub stage: StageArgs,
}

/// Runs the stage to its end.
pub fn run(global: &Global, args: &Args) -> Exit {
    if let (Some("setup"), Some(name)) = (args.name.as_deref(), &args.set_up) {
        return set_up(global, name, args.stage.to.as_deref());
    }
    let process = match Process::start(StageKind::Store, global, &args.stage) {
        Ok(process) => process,
        Err(exit) => return exit,
    };
    // Filters run on a big stack; the whole loop does, so that no line pays for a thread.
    let ran = probe::with_stack(|| match start(&process, args) {
        Ok(exit) => exit,
        Err(e) => {
            tracing::error!("{e}");
            e.exit
        }
    });
    ran.unwrap_or_else(|e| {
        tracing::error!("cannot start a thread: {e}");
        Exit::State
    })
}

/// `store setup NAME`: templates and dashboards, whatever is there already; with `--to DIR` files of them.
fn set_up(global: &Global, name: &str, to: Option<&str>) -> Exit {
    global.start_log("store");
    let config = match global.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let done = || -> Result<Vec<String>, StageError> {
        let found = config.stage(name).filter(|s| s.runs(StageKind::Store));
        let found = found.ok_or_else(|| StageError::usage(format!("the configuration has no store `{name}`")))?;
        Keeper::new(&found.settings, &config, Clock::Wall)?.setup(to.map(Path::new))
    };
    match done() {
        Ok(lines) => {
            lines.iter().for_each(|line| tracing::info!("{line}"));
            Exit::Done
        }
        Err(error) => {
            tracing::error!("{error}");
            error.exit
        }
    }
}

fn start(process: &Process, args: &Args) -> Result<Exit, StageError> {
    let settings = settings(process, args)?;
    let clock = if args.recorded { Clock::Recorded } else { Clock::Wall };
    let mut stage = Keeper::new(&settings, &process.config, clock)?;
    let signals = process.signals.clone();
    stage.stops_with(Arc::new(move || signals.stopping()));
    let answers = stage.answers();
    process.open_side_door(Some(Arc::new(move |ask| answers(&ask.path, &ask.query))))?;
    Ok(pipe::run(&mut stage, process.job(StageKind::Store, None, &[])))
}

fn settings(process: &Process, args: &Args) -> Result<Settings, StageError> {
    if let Some(conf) = &process.conf {
        return Ok(conf.settings.clone());
    }
    if let Some(name) = &args.name {
        if let Some(extra) = &args.set_up {
            return Err(StageError::usage(format!("what is `{extra}`? Only `setup` takes the name of a store")));
        }
        let found = process.config.stage(name).filter(|s| s.runs(StageKind::Store));
        let found = found.ok_or_else(|| StageError::usage(format!("the configuration has no store `{name}`")))?;
        return Ok(found.settings.clone());
    }
    let kind = args.kind.clone().ok_or_else(|| StageError::usage("name a store of the configuration, or a --kind"))?;
    let mut words = vec![("kind".to_owned(), kind)];
    for word in &args.set {
        let (key, value) =
            word.split_once('=').ok_or_else(|| StageError::usage(format!("--set {word}: expected KEY=VALUE")))?;
        words.push((key.to_owned(), value.to_owned()));
    }
    Settings::from_words("store", "store", &words).map_err(|finding| StageError::usage(finding.to_string()))
}

/// What is wrong with a `[stage.*]` table of this kind.
pub fn check(config: &Arc<Config>, stage: &StageConf) -> Vec<Finding> {
    conf::Conf::read(&stage.settings, config).err().unwrap_or_default()
}
