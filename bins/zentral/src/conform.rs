//! `zentral conform`: what agents say, as request cases, against any server that claims to understand them.
//!
//! A case is a request and what must be answered; words say what must be there before, and a driver sees to it. Without
//! `--url` a hub of our own is started in a scratch folder and driven by its command line and files.

mod body;
mod case;
mod client;
mod driver;
mod fill;
mod hub;
mod judge;
mod report;
mod runner;

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipe::cli::Global;
use pipe::{Exit, StageError};

use case::Case;
use client::Client;
use driver::{Driver, Nobody, Program};
use hub::Hub;
use report::Report;
use runner::Runner;

/// Command line of `conform`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Files of cases (JSON)
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// One JSON object a line instead of TAP
    #[arg(long)]
    pub json: bool,
    /// Run only the cases of these names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// The server [default: a hub in a scratch folder]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The authority that its certificate is of
    #[arg(long, value_name = "PEM", requires = "url")]
    pub ca: Option<PathBuf>,
    /// The program that prepares what a case needs, started by a shell
    #[arg(long, value_name = "CMD", requires = "url")]
    pub driver: Option<String>,
}

/// Runs them.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("conform");
    crate::finish(conform(args).map_err(StageError::usage))
}

fn conform(args: &Args) -> Result<Exit, String> {
    let mut cases = Vec::new();
    for file in &args.files {
        cases.extend(case::read(file)?);
    }
    let by_name = names(&cases)?;
    if let Some(odd) = args.only.iter().find(|name| !by_name.contains_key(name.as_str())) {
        return Err(format!("--only: there is no case `{odd}`"));
    }
    let chosen: Vec<&Case> =
        cases.iter().filter(|case| args.only.is_empty() || args.only.contains(&case.name)).collect();
    let mut report = Report::new(args.json);
    let (client, mut driver) = server(args)?;
    let mut runner = Runner { cases: by_name, client: &client, driver: &mut *driver };
    for case in chosen {
        let outcome = runner.run(case);
        report.add(case, &outcome);
    }
    let exit = if report.all_ok() { Exit::Done } else { Exit::No };
    pipe::write_stdout(report.end().as_bytes()).map_err(|e| crate::stdout_error(e).text)?;
    Ok(exit)
}

fn names(cases: &[Case]) -> Result<BTreeMap<&str, &Case>, String> {
    let mut named = BTreeMap::new();
    for case in cases {
        if named.insert(case.name.as_str(), case).is_some() {
            return Err(format!("two cases are called `{}`", case.name));
        }
    }
    if named.is_empty() { Err("the files hold no case".to_owned()) } else { Ok(named) }
}

/// The server, and who prepares it.
fn server(args: &Args) -> Result<(Client, Box<dyn Driver>), String> {
    let Some(url) = &args.url else {
        let hub = Hub::start()?;
        return Ok((hub.client()?, Box::new(hub)));
    };
    let ca = args.ca.as_ref().map(|path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display())));
    let client = Client::new(url, ca.transpose()?.as_deref())?;
    let driver: Box<dyn Driver> = match &args.driver {
        Some(command) => Box::new(Program::start(command)?),
        None => Box::new(Nobody),
    };
    Ok((client, driver))
}
