//! `zentral run STAGE`: one stage of the configuration by name, for containers and systemd.

use pipe::cli::{Global, StageArgs};
use pipe::config::{Config, StageConf, StageKind};
use pipe::state::LOCK_WAIT;
use pipe::{Exit, Signals, StageError};

use crate::{foreign, joined, lent};

/// Command line of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the stage
    pub stage: String,
    /// Serve Prometheus metrics on this address
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// Which of the stage's `replicas` this is, from 1
    #[arg(long, value_name = "N")]
    pub instance: Option<u32>,
    /// Stop at the end of the input that exists now
    #[arg(long, hide = true)]
    pub once: bool,
    /// End when stdin ends: the supervisor holds its other end
    #[arg(long, hide = true)]
    pub supervised: bool,
}

/// Runs it.
pub fn run(global: &Global, args: &Args) -> Exit {
    let config = match global.load() {
        Ok(config) => config,
        Err(exit) => {
            return exit;
        }
    };
    let Some(stage) = config.stage(&args.stage) else {
        global.start_log("run");
        let names: Vec<&str> = config.stages.iter().map(|s| s.name.as_str()).collect();
        let text = format!("the configuration has no stage `{}`; it has {}", args.stage, names.join(", "));
        return crate::finish(Err(StageError::usage(text)));
    };
    if let Some(n) = args.instance.filter(|n| !(1..=stage.replicas).contains(n)) {
        global.start_log(&args.stage);
        let text = format!("stage `{}` has no instance {n}: `replicas` is {}", stage.name, stage.replicas);
        return crate::finish(Err(StageError::usage(text)));
    }
    // Without a running `up` nobody has recorded where new readers start: this stage does it for itself.
    if let Err(e) = record(&config, stage) {
        global.start_log(&args.stage);
        return crate::finish(Err(e));
    }
    start(global, stage, args)
}

/// A second `act` waits for the first one to end, however long that takes; all others for a dying predecessor only.
fn record(config: &Config, stage: &StageConf) -> Result<(), StageError> {
    let signals = Signals::listen().map_err(|e| StageError::state(format!("signals: {e}")))?;
    let wait = (!stage.runs(StageKind::Act)).then_some(LOCK_WAIT);
    pipe::record_start(config, stage, wait, &|| signals.stopping())
}

fn start(global: &Global, conf: &StageConf, args: &Args) -> Exit {
    let (metrics, once, supervised) = (args.metrics.clone(), args.once, args.supervised);
    // One of one has its state for itself.
    let instance = args.instance.filter(|_| conf.replicas > 1);
    let stage =
        StageArgs { stage: Some(conf.name.clone()), instance, metrics, once, supervised, ..StageArgs::default() };
    let [kind] = conf.kinds.as_slice() else { return joined::run(global, conf, &stage) };
    match kind {
        StageKind::Normalize => normalize::run(global, &normalize::Args { stage, ..Default::default() }),
        StageKind::Filter => filter::run(global, &filter::Args { stage, ..Default::default() }),
        StageKind::Receive => receive::run(global, &receive::Args { stage, ..Default::default() }),
        StageKind::Pull => pull::run(global, &pull::Args { stage, ..Default::default() }),
        StageKind::Foreign => foreign::run(global, &stage),
        StageKind::Act => act::run(global, &act::Args { stage, ..Default::default() }),
        StageKind::Store => store::run(global, &store::Args { stage, ..Default::default() }),
        StageKind::Console => {
            lent::lend();
            console::run(global, &console::Args { stage, ..Default::default() })
        }
    }
}
