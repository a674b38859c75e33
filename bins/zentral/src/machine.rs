//! `zentral machine`: what is known of machines, the tags that people give them, what is ordered of them, and how one is
//! forgotten.

mod print;

use std::io::IsTerminal as _;

use event::Time;
use pipe::cli::{Global, complain};
use pipe::config::{Config, Place, StageKind, is_name};
use pipe::{Exit, StageError};
use registry::by_hand::{self, Change};
use registry::db::{Db, DbError, Tx};
use registry::known::{Found, Known, Unread};
use registry::users::By;
use serde_json::{Map, Value, json};

/// What is asked of `machine`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// List machines
    List(ListArgs),
    /// Show all that is known of a machine
    Show {
        /// Serial number, hardware UUID or host name
        key: String,
        /// JSON, even on a terminal
        #[arg(long)]
        json: bool,
    },
    /// Give a machine tags, or take them away
    Tag(TagArgs),
    /// Order a clean sync of a machine's Santa: it throws its rules away and gets all of them
    Sync {
        /// Serial number, hardware UUID or host name
        key: String,
        /// Which rules go
        #[arg(value_enum)]
        kind: SyncKind,
    },
    /// Let a machine enrol once although it is known with other hardware, in another unit or with a certificate (`reenrol = "approve"`)
    Approve {
        /// Serial number, hardware UUID or host name
        key: String,
        /// Which of them, if several wait: SERIAL/UUID@UNIT, as `machine show` tells
        #[arg(long, value_name = "HARDWARE")]
        hardware: Option<String>,
    },
    /// Forget a machine: its node keys, its inventory, its tags
    Forget {
        /// Serial number, hardware UUID or host name
        key: String,
    },
}

/// What becomes of the rules that a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SyncKind {
    /// The rules that the hub gave
    Clean,
    /// Those that the machine made itself (transitive rules), too
    CleanAll,
}

/// Command line of `machine list`.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// Only those that this jq program chooses; it sees what `machine show` tells, but for the history
    #[arg(long = "where", value_name = "JQ")]
    pub where_: Option<String>,
    /// As a table for spreadsheets
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// One JSON object a line, also on a terminal
    #[arg(long)]
    pub json: bool,
}

/// Command line of `machine tag`.
#[derive(Debug, Clone, clap::Args)]
pub struct TagArgs {
    /// Serial number, hardware UUID or host name
    pub key: String,
    /// Tags to give; a `+` before one is allowed
    #[arg(value_name = "TAG", required_unless_present = "remove")]
    pub add: Vec<String>,
    /// Tags to take away that were given by hand
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub remove: Vec<String>,
}

/// Does it.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("machine");
    let config = match global.load_or_last_good() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let done = probe::with_stack(|| match args {
        Args::List(args) => list(&config, args),
        Args::Show { key, json } => show(&config, key, *json),
        Args::Tag(args) => tag(&config, args),
        Args::Sync { key, kind } => sync(&config, key, *kind),
        Args::Approve { key, hardware } => approve(&config, key, hardware.as_deref()),
        Args::Forget { key } => forget(&config, key),
    });
    crate::finish(done.unwrap_or_else(|e| Err(StageError::state(format!("cannot start a thread: {e}")))))
}

fn everything(config: &Config) -> Result<Known, StageError> {
    Known::open(&config.homes(), &|unit| config.unit_tags(unit)).map_err(unread)
}

fn unread(why: Unread) -> StageError {
    StageError::of(&why.home, why.error)
}

fn find(known: &Known, name: &str) -> Result<Option<String>, StageError> {
    match known.find(name) {
        Found::None => Ok(None),
        Found::One(key) => Ok(Some(key)),
        Found::Several(a, b) => Err(StageError::usage(format!("several machines are called `{name}`: {a}, {b}"))),
    }
}

fn list(config: &Config, args: &ListArgs) -> Result<Exit, StageError> {
    let known = everything(config)?;
    let modules = |path: &str| config.module(path);
    let compile = |text: &String| {
        probe::compile(text, "--where", &modules).map_err(|e| StageError::usage(format!("\n{}", e.render())))
    };
    let program = args.where_.as_ref().map(compile).transpose()?;
    let mut printer = print::Printer::new(args.csv, std::io::stdout().is_terminal() && !args.json)?;
    let details = known.details().map_err(unread)?;
    let mut found = false;
    for key in known.keys() {
        let line = known.line(key);
        if let Some(program) = &program {
            let mut whole = line.clone();
            whole.extend(details.parts(key).map_err(unread)?);
            let text = Value::Object(whole).to_string();
            let Ok(whole) = probe::parse(text.as_bytes()) else { continue };
            let decision = program.decide(&whole, Time::now().ms(), &probe::Limits::default());
            if !matches!(decision, probe::Decision::Yes(_)) {
                continue;
            }
        }
        found = true;
        printer.line(&line)?;
    }
    Ok(if found { Exit::Done } else { Exit::No })
}

fn show(config: &Config, key: &str, json: bool) -> Result<Exit, StageError> {
    let known = everything(config)?;
    let Some(key) = find(&known, key)? else { return Ok(unknown(key)) };
    let whole = known.whole(&key).map_err(unread)?;
    let text = if json || !std::io::stdout().is_terminal() {
        Value::Object(whole).to_string() + "\n"
    } else {
        print::shown(&whole)
    };
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)?;
    Ok(Exit::Done)
}

fn tag(config: &Config, args: &TagArgs) -> Result<Exit, StageError> {
    let add: Vec<String> = args.add.iter().map(|tag| tag.strip_prefix('+').unwrap_or(tag).to_owned()).collect();
    if let Some(odd) = add.iter().chain(&args.remove).find(|tag| !is_name(tag)) {
        return Err(StageError::usage(format!("`{odd}` is no tag ([a-z0-9][a-z0-9-]{{0,62}})")));
    }
    let known = everything(config)?;
    let Some(key) = find(&known, &args.key)? else { return Ok(unknown(&args.key)) };
    change(config, &known, &key, |change, tx| change.tag(tx, &add, &args.remove).map(|_| ()))?;
    let line = everything(config)?.line(&key);
    let line: Map<String, Value> = line.into_iter().filter(|(key, _)| matches!(key.as_str(), "key" | "tags")).collect();
    pipe::write_stdout(format!("{}\n", Value::Object(line)).as_bytes()).map_err(crate::stdout_error)?;
    Ok(Exit::Done)
}

fn sync(config: &Config, key: &str, kind: SyncKind) -> Result<Exit, StageError> {
    let known = everything(config)?;
    let Some(key) = find(&known, key)? else { return Ok(unknown(key)) };
    if !known.has_source(&key, sources::santa::NAME) {
        complain(&format!("no Santa of the machine `{key}` has synced yet"));
        return Ok(Exit::No);
    }
    let kind = match kind {
        SyncKind::Clean => sources::santa::Kind::Clean,
        SyncKind::CleanAll => sources::santa::Kind::CleanAll,
    };
    change(config, &known, &key, |change, tx| change.sync(tx, kind.name()))?;
    let line = json!({"key": key, "sync": kind.name()});
    pipe::write_stdout(format!("{line}\n").as_bytes()).map_err(crate::stdout_error)?;
    Ok(Exit::Done)
}

fn approve(config: &Config, key: &str, hardware: Option<&str>) -> Result<Exit, StageError> {
    let known = everything(config)?;
    let Some(key) = find(&known, key)? else { return Ok(unknown(key)) };
    let mut waits = known.details().and_then(|details| details.pending(&key)).map_err(unread)?;
    waits.retain(|one| one.approved.is_none() && hardware.is_none_or(|own| own == one.hardware));
    let one = match waits.as_slice() {
        [] => {
            complain(&format!("nothing that claims to be `{key}` waits for leave; see `zentral machine show {key}`"));
            return Ok(Exit::No);
        }
        [one] => one,
        several => {
            let all: Vec<&str> = several.iter().map(|one| one.hardware.as_str()).collect();
            return Err(StageError::usage(format!("several wait: say --hardware with one of {}", all.join(", "))));
        }
    };
    change(config, &known, &key, |change, tx| change.approve(tx, one))?;
    let line = json!({"key": key, "source": one.source, "hardware": one.hardware});
    pipe::write_stdout(format!("{line}\n").as_bytes()).map_err(crate::stdout_error)?;
    Ok(Exit::Done)
}

fn forget(config: &Config, key: &str) -> Result<Exit, StageError> {
    let known = everything(config)?;
    let Some(key) = find(&known, key)? else { return Ok(unknown(key)) };
    change(config, &known, &key, |change, tx| change.forget(tx))?;
    let mut normalize = config.stages.iter().filter(|stage| stage.runs(StageKind::Normalize));
    if !normalize.any(|stage| stage.from.contains(&Place::Changes)) {
        complain("no stage that normalizes reads `registry:changes`: what the inventory knows of the machine stays");
    }
    Ok(Exit::Done)
}

fn unknown(key: &str) -> Exit {
    complain(&format!("there is no machine `{key}`; see `zentral machine list`"));
    Exit::No
}

/// Changes something about a machine in `registry.db`, beside a running `up` or without one.
fn change(
    config: &Config,
    known: &Known,
    key: &str,
    what: impl FnOnce(Change<'_>, &mut Tx<'_>) -> Result<(), DbError>,
) -> Result<(), StageError> {
    let home = config.registry();
    let fail = |e: DbError| StageError::of(&home, e);
    registry::folder::make_private(&config.data)
        .map_err(|e| StageError::state(format!("{}: {e}", config.data.display())))?;
    let mut db = Db::open(&home, &by_hand::SCHEMAS).map_err(fail)?;
    let mut tx = db.begin().map_err(fail)?;
    let (machine, by) = (known.block(key), By::command_line());
    what(Change { key, machine: &machine, by: &by, now: Time::now() }, &mut tx).map_err(fail)?;
    tx.commit().map_err(fail)
}
