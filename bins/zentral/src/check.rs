//! `zentral check`: everything static that can be wrong with a configuration, and what it costs.

mod agent;
mod doubtful;
mod online;
mod signing;
mod slow;
mod sql;
mod untold;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use pipe::Exit;
use pipe::cli::{Global, complain};
use pipe::config::{Config, Files, Finding, Level, StageKind, once, render};
use serde_json::json;
use store::stores::embedded;

/// Command line of `check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Configurations [default: the one that the other commands use]
    pub files: Vec<PathBuf>,
    /// One JSON object a finding, also on a terminal
    #[arg(long)]
    pub json: bool,
    /// End with 1 for warnings and notes too: what is most likely not meant, filters that jq runs at every event
    #[arg(long)]
    pub strict: bool,
    /// Ask the database, the brokers, the clusters behind stores, the services of actions and single sign-on whether they
    /// answer and let us in, without telling anybody
    #[arg(long)]
    pub online: bool,
    /// Play an osquery agent that nobody knows against this URL, through whatever stands before the hub
    #[arg(long, value_name = "URL")]
    pub agent: Option<String>,
    /// Certificates that the agent trusts, PEM [default: ca.pem beside the hub's own, else those of the system]
    #[arg(long, value_name = "FILE", requires = "agent")]
    pub ca: Option<PathBuf>,
}

/// Checks; exit 1 if anything is wrong. A warning or a note alone is nothing wrong, unless it is asked to be.
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
    let (mut all, mut decided, mut played) = (Vec::new(), Vec::new(), Vec::new());
    for file in &files {
        match judged(file, global.data.as_deref()) {
            Ok((config, files, warnings)) => {
                all.extend(warnings);
                if let Some(url) = &args.agent {
                    let (findings, answered) = agent::look(&config, url, args.ca.as_deref());
                    all.extend(findings);
                    played.extend(answered.map(|answered| (url, answered)));
                }
                all.extend(act::check(&config, &act::texts_through(files.clone()), true));
                if args.online {
                    all.extend(online::look(&config, &act::texts_through(files.clone())));
                }
                all.extend(of_brokers(&config, file));
                all.extend(receive::check_tls(&config));
                all.extend(console::check_here(&config));
                all.extend(receive::check_secrets(&config));
                all.extend(signing::look(&config));
                all.extend(pull::check_secrets(&config));
                all.extend(crate::foreign::check_here(&config));
                all.extend(doubtful::look(&config));
                all.extend(untold::look(&config));
                let (how, notes) = slow::look(&config);
                all.extend(notes);
                decided.push((file, how));
            }
            Err(mut findings) => all.append(&mut findings),
        }
    }
    let all = in_order(once(all));
    let people = std::io::stdout().is_terminal() && !args.json;
    let mut out: String = all.iter().map(|f| if people { format!("{f}\n") } else { line(f) }).collect();
    let wrong = all.iter().any(|f| args.strict || f.level == Level::Error);
    let begin = if wrong { "" } else { "ok: " };
    let mut summary: String = decided.iter().map(|(_, how)| format!("{begin}{}\n", how.text())).collect();
    summary.extend(played.iter().map(|(url, answered)| format!("{begin}{}\n", answered.text(url))));
    if people {
        out.push_str(&summary);
    } else if args.json {
        out.extend(decided.iter().map(|(file, how)| format!("{}\n", how.record(file))));
        out.extend(played.iter().map(|(url, answered)| format!("{}\n", answered.record(url))));
    }
    if let Err(e) = pipe::write_stdout(out.as_bytes()) {
        return crate::finish(Err(crate::stdout_error(e)));
    }
    // Who pipes the records, or keeps them in a log, still sees the places drawn.
    let drawn = if all.is_empty() { String::new() } else { render(&all) + "\n" };
    let said = drawn + &summary;
    if !people && !args.json && !said.is_empty() {
        complain(said.trim_end());
    }
    if wrong { Exit::No } else { Exit::Done }
}

/// File by file as they were met, from the first line to the last.
fn in_order(mut all: Vec<Finding>) -> Vec<Finding> {
    let mut files: Vec<PathBuf> = Vec::new();
    for finding in &all {
        if !files.contains(&finding.file) {
            files.push(finding.file.clone());
        }
    }
    all.sort_by_key(|f| (files.iter().position(|file| *file == f.file), f.line, f.column));
    all
}

/// A secret for the brokers that is not there.
fn of_brokers(config: &Config, file: &std::path::Path) -> Option<Finding> {
    let why = config.kafka.as_ref()?.missing()?;
    Some(Finding::file(file, format!("kafka: {why}")))
}

fn line(f: &Finding) -> String {
    let (level, file, line, column, key, text) = (f.level.word(), &f.file, f.line, f.column, &f.key, &f.text);
    let record = json!({"level": level, "file": file, "line": line, "column": column, "key": key, "text": text});
    format!("{record}\n")
}

/// Reads a configuration and everything it names, and checks every table of it.
pub fn load(path: &std::path::Path, data: Option<&std::path::Path>) -> Result<(Config, Files), Vec<Finding>> {
    judged(path, data).map(|(config, files, _)| (config, files))
}

/// The same, with what is odd and not wrong.
fn judged(
    path: &std::path::Path,
    data: Option<&std::path::Path>,
) -> Result<(Config, Files, Vec<Finding>), Vec<Finding>> {
    let (config, files) = Config::load(path, data)?;
    let findings = whole(&config);
    let wrong = findings.iter().any(|finding| finding.level == Level::Error);
    if wrong { Err(findings) } else { Ok((config, files, findings)) }
}

/// What is right and most likely not meant, in a configuration that was found right; `up` tells it, too.
pub fn doubts(config: &Config) -> Vec<Finding> {
    once(doubtful::look(config))
}

/// What the programs of all stages find wrong with their tables; what they read on the way is remembered by the files
/// of the configuration, so that `up` copies it.
pub fn whole(config: &Config) -> Vec<Finding> {
    let shared = Arc::new(config.clone());
    let mut all = receive::check(config);
    all.append(&mut normalize::check_sources(config));
    all.append(&mut pull::check_sources(config));
    let mut filters_checked = false;
    for stage in &config.stages {
        // Stages that may be joined have no keys of their own, so none of them calls another's key unknown.
        for kind in &stage.kinds {
            all.append(&mut match kind {
                StageKind::Receive => Vec::new(),
                StageKind::Pull => pull::check(config, stage),
                StageKind::Foreign => crate::foreign::check(stage),
                StageKind::Normalize => normalize::check(config, stage),
                StageKind::Filter => {
                    filters_checked = true;
                    filter::check(&shared, stage)
                }
                StageKind::Act => stage.settings.clone().finish(),
                StageKind::Store => store::check(&shared, stage),
                StageKind::Console => console::check(&shared, stage),
            });
        }
    }
    if !filters_checked {
        all.append(&mut filter::findings(config));
    }
    if let Some(files) = &config.files {
        all.append(&mut act::check(config, &act::texts_through(files.clone()), false));
    }
    all.extend(shared_indexes(config));
    all.extend(sql::look(config));
    once(all)
}

/// Two embedded stores must not write one index.
fn shared_indexes(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut owners = BTreeMap::new();
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Store)) {
        let mut table = stage.settings.clone();
        if table.str("kind").is_some_and(|kind| kind != embedded::KIND.name) {
            continue;
        }
        let dir = table.path("path").unwrap_or_else(|| embedded::default_dir(config));
        // As the paths are written: folders that do not exist yet have no other name.
        let dir = std::path::absolute(&dir).unwrap_or(dir).components().collect::<PathBuf>();
        if let Some(other) = owners.insert(dir, &stage.name) {
            table.fail("path", format!("store `{other}` keeps its index in the same folder; give one another `path`"));
            found.extend(table.finish().into_iter().filter(|f| !f.text.starts_with("unknown key")));
        }
    }
    found
}
