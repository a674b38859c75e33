//! `zentral status`: what runs, how far each reader is, and whether the two sums hold.

mod gauges;
mod health;
mod probes;
pub mod report;
pub mod sums;
pub mod table;

use pipe::cli::{Global, complain};
use pipe::config::{Config, render};
use pipe::{Exit, StageError};
use serde_json::{Value, json};

use crate::up::{self, shown};
pub use gauges::{LAG_LINES, gauges};
use health::Health;
use probes::Probes;
pub use sums::{Sums, sums};

/// Command line of `status`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// One JSON object a line, also on a terminal. In a pipe or a file it is that anyway, on a terminal tables
    #[arg(long)]
    pub json: bool,
    /// Show what each probe costs and how often it matched or failed
    #[arg(long)]
    pub probes: bool,
}

/// Prints it; exit 1 if a stage is not running, goes on with an older configuration or has an action that waits, a sum is off, a topic is at its limit, a filter is quarantined, the
/// configuration on disk is refused or the database of the state does not answer.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("status");
    crate::finish(look(global, args))
}

fn look(global: &Global, args: &Args) -> Result<Exit, StageError> {
    let config = configuration(global)?;
    let up = shown::ask(&config.data).ok();
    let config = in_force(config, up.is_some());
    let (sums, health) = known(&config, up.as_ref())?;
    let probes = args.probes.then(|| Probes::of(&config, &health));
    let ill = ill(&sums, &health);
    let text = if table::for_people(args.json) {
        let mut text = health.for_people(up.as_ref());
        text.push('\n');
        text.push_str(&report::for_people(&sums));
        if let Some(probes) = &probes {
            text.push('\n');
            text.push_str(&probes.for_people());
        }
        text.push('\n');
        text.push_str(&if ill.is_empty() { "all is well\n".to_owned() } else { format!("{}\n", ill.join("\n")) });
        text
    } else {
        let mut records = all(&sums, &health, up.as_ref());
        let verdict = records.pop();
        records.extend(probes.iter().flat_map(Probes::records));
        records.extend(verdict);
        table::lines(&records)
    };
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)?;
    Ok(if ill.is_empty() { Exit::Done } else { Exit::No })
}

/// The records for the console, which may not be wrong for want of a database: what cannot be told is said among them.
pub fn told(config: &Config, up: Option<&up::shown::Up>) -> Vec<u8> {
    let (sums, health) =
        known(config, up).unwrap_or_else(|e| (Sums::default(), Health::without_state(config, up, Some(e.to_string()))));
    json!({"records": table::tagged(&all(&sums, &health, up))}).to_string().into_bytes()
}

/// The records of `--probes` for the console.
pub fn told_of_probes(config: &Config, up: Option<&up::shown::Up>) -> Vec<u8> {
    let health = Health::of(config, up);
    let health = health.unwrap_or_else(|e| Health::without_state(config, up, Some(e.to_string())));
    json!({"records": table::tagged(&Probes::of(config, &health).records())}).to_string().into_bytes()
}

fn all(sums: &Sums, health: &Health, up: Option<&up::shown::Up>) -> Vec<(&'static str, Value)> {
    let ill = ill(sums, health);
    let mut records = health.records(up);
    records.extend(report::records(sums));
    records.push(("health", json!({"ok": ill.is_empty(), "why": ill})));
    records
}

/// The sums and what else is known. Where the database does not answer, that is what there is to say, beside how the
/// stages are.
fn known(config: &Config, up: Option<&up::shown::Up>) -> Result<(Sums, Health), StageError> {
    let all = sums(config).and_then(|sums| Ok((sums, Health::of(config, up)?)));
    match all {
        Err(e) if e.exit == Exit::Unreachable => {
            Ok((Sums::default(), Health::without_state(config, up, Some(e.to_string()))))
        }
        other => other,
    }
}

/// All that makes it unhealthy.
fn ill(sums: &Sums, health: &Health) -> Vec<String> {
    let mut ill = sums.off();
    ill.extend(sums.topics.iter().filter(|t| t.full).map(|t| format!("topic {} is at its limit", t.topic)));
    ill.extend(health.ill());
    ill
}

/// The configuration of the files or, if they are broken, the last good copy.
fn configuration(global: &Global) -> Result<Config, StageError> {
    let source = up::source(global, |_, _| Vec::new())?;
    match Config::load(&source.main, source.data.as_deref()) {
        Ok((config, _)) => Ok(config),
        Err(findings) => {
            complain(&render(&findings));
            let none = || StageError::usage("the configuration is wrong, and there is no good copy of it");
            source.last_good().map(|loaded| loaded.config).ok_or_else(none)
        }
    }
}

/// What a running `up` has in force may be older than the files.
fn in_force(config: Config, running: bool) -> Config {
    let copy = up::Copies::of(&config.data).current();
    let loaded = if running { Config::load(&copy, Some(&config.data)).ok() } else { None };
    loaded.map_or(config, |(config, _)| config)
}
