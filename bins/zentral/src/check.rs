//! `zentral check`: everything static that can be wrong with a configuration.

use std::path::PathBuf;
use std::sync::Arc;

use pipe::Exit;
use pipe::cli::{Global, complain};
use pipe::config::{Config, Files, Finding, StageKind, render};

/// Command line of `check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Configurations [default: the one that the other commands use]
    pub files: Vec<PathBuf>,
    /// One JSON object a finding
    #[arg(long)]
    pub json: bool,
}

/// Checks.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("check");
    let files = match (args.files.as_slice(), global.config_path()) {
        ([], Some(path)) => vec![path],
        ([], None) => {
            complain("zentral check: no pipeline.toml here; name one, or make one with `zentral init`");
            return Exit::Usage;
        }
        (files, _) => files.to_vec(),
    };
    let mut all = Vec::new();
    for file in &files {
        match load(file, global.data.as_deref()) {
            Ok((config, files)) => all.extend(act::check(&config, &act::texts_through(files), true)),
            Err(mut findings) => all.append(&mut findings),
        }
    }
    if args.json {
        for f in &all {
            let record =
                serde_json::json!({"file": f.file, "line": f.line, "column": f.column, "key": f.key, "text": f.text});
            if pipe::write_stdout(format!("{record}\n").as_bytes()).is_err() {
                return Exit::Done;
            }
        }
    } else if !all.is_empty() {
        complain(&render(&all));
    }
    if all.is_empty() { Exit::Done } else { Exit::No }
}

/// Reads a configuration and everything it names, and checks every table of it.
pub fn load(path: &std::path::Path, data: Option<&std::path::Path>) -> Result<(Config, Files), Vec<Finding>> {
    let (config, files) = Config::load(path, data)?;
    let findings = whole(&config);
    if findings.is_empty() { Ok((config, files)) } else { Err(findings) }
}

/// What the programs of all stages find wrong with their tables; what they read on the way is remembered by the files
/// of the configuration, so that `up` copies it.
pub fn whole(config: &Config) -> Vec<Finding> {
    let shared = Arc::new(config.clone());
    let mut all = receive::check(config);
    let mut filters_checked = false;
    for stage in &config.stages {
        all.append(&mut match stage.kind {
            StageKind::Receive => Vec::new(),
            StageKind::Normalize => normalize::check(config, stage),
            StageKind::Filter => {
                filters_checked = true;
                filter::check(&shared, stage)
            }
            StageKind::Act => stage.settings.clone().finish(),
            StageKind::Store => store::check(&shared, stage),
        });
    }
    if !filters_checked {
        all.append(&mut filter::findings(config));
    }
    if let Some(files) = &config.files {
        all.append(&mut act::check(config, &act::texts_through(files.clone()), false));
    }
    all
}
