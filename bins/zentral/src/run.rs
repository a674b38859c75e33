//! `zentral run STAGE`: one stage of the configuration by name, for containers and systemd.

use pipe::cli::{Global, StageArgs};
use pipe::config::{Config, StageConf, StageKind};
use pipe::state::LOCK_WAIT;
use pipe::{Exit, Signals, StageError};

/// Command line of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the stage
    pub stage: String,
    /// Serve Prometheus metrics on this address
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
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
    // Without a running `up` nobody has recorded where new readers start: this stage does it for itself.
    if let Err(e) = record(&config, stage) {
        global.start_log(&args.stage);
        return crate::finish(Err(e));
    }
    start(global, stage.kind, &args.stage, args.metrics.clone())
}

/// A second `act` waits for the first one to end, however long that takes; all others for a dying predecessor only.
fn record(config: &Config, stage: &StageConf) -> Result<(), StageError> {
    let signals = Signals::listen().map_err(|e| StageError::state(format!("signals: {e}")))?;
    let wait = (stage.kind != StageKind::Act).then_some(LOCK_WAIT);
    pipe::record_start(config, stage, wait, &|| signals.stopping())
}

fn start(global: &Global, kind: StageKind, name: &str, metrics: Option<String>) -> Exit {
    let stage = StageArgs { stage: Some(name.to_owned()), metrics, ..StageArgs::default() };
    match kind {
        StageKind::Normalize => normalize::run(global, &normalize::Args { stage, ..Default::default() }),
        StageKind::Filter => filter::run(global, &filter::Args { stage, ..Default::default() }),
        StageKind::Receive => receive::run(global, &receive::Args { stage, ..Default::default() }),
        StageKind::Act => act::run(global, &act::Args { stage, ..Default::default() }),
        StageKind::Store => store::run(global, &store::Args { stage, ..Default::default() }),
    }
}
