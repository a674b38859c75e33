//! `zentral enrol`: secrets by which machines come in, and the packages that carry them.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use enrol::{Format, Refused, Wanted};
use event::Time;
use pipe::cli::Global;
use pipe::config::Config;
use pipe::{Exit, StageError};
use registry::db::{Db, DbError, Tx};
use registry::enrolments::{self, Enrolment};
use registry::live;
use registry::users::By;
use serde_json::json;

/// What is asked of `enrol`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Make a secret for machines of one unit
    New(NewArgs),
    /// List enrolments, without their secrets
    List(ListArgs),
    /// Make every copy of a secret worthless; machines that are enrolled stay
    Revoke {
        /// The enrolment
        id: String,
    },
    /// Print what enrols a machine
    Package(PackageArgs),
}

/// Command line of `enrol new`.
#[derive(Debug, Clone, clap::Args)]
pub struct NewArgs {
    /// Unit of the machines [default: the only one]
    #[arg(long, value_name = "U")]
    pub unit: Option<String>,
    /// Who speaks
    #[arg(long, value_name = "S", default_value = sources::osquery::NAME)]
    pub source: String,
    /// How many distinct machines may come
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub quota: Option<u64>,
    /// When it ends: an age from now on, such as 30d
    #[arg(long, value_name = "AGE")]
    pub expires: Option<String>,
    /// Tags of the machines
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// The machines must show a certificate of `tls.client_ca`, with every request
    #[arg(long)]
    pub client_certificate: bool,
    /// JSON, even on a terminal
    #[arg(long)]
    pub json: bool,
}

/// Command line of `enrol list`.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// JSON, even on a terminal
    #[arg(long)]
    pub json: bool,
}

/// Command line of `enrol package`.
#[derive(Debug, Clone, clap::Args)]
pub struct PackageArgs {
    /// The enrolment
    pub id: String,
    /// Form of the package
    #[arg(long, value_parser = formats())]
    pub format: Format,
    /// Write to this file [default: stdout, unless it is a terminal]
    #[arg(short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let values = Format::ALL.map(|format| PossibleValue::new(format.name()).help(format.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| format!("there is no {name}"))
    })
}

/// Does it.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("enrol");
    let config = match global.load_or_last_good() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    crate::finish(
        match args {
            Args::New(args) => new(&config, args),
            Args::List(args) => list(&config, args),
            Args::Revoke { id } => revoke(&config, id),
            Args::Package(args) => package(&config, args),
        }
        .map(|()| Exit::Done),
    )
}

fn state(error: DbError) -> StageError {
    let StageError { exit, text } = error.into();
    StageError { exit, text: format!("registry: {text}") }
}

/// For the command line: a part of what was asked for is a flag.
fn refused(why: Refused) -> StageError {
    match why {
        Refused::Asked(flag, why) => StageError::usage(format!("--{flag}: {why}")),
        Refused::Unknown(id) => unknown(&id),
        Refused::Key(why) => StageError::state(why),
        Refused::Db(error) => state(error),
        other => StageError::usage(other.to_string()),
    }
}

/// Opens `registry.db` beside a running `up`, or before the first one.
pub fn open(config: &Config) -> Result<Db, StageError> {
    let fail = |e: std::io::Error| StageError::state(format!("{}: {e}", config.data.display()));
    registry::folder::make_private(&config.data).map_err(fail)?;
    Db::open(config.registry(), &[&enrol::SCHEMAS[..], &[live::QUERIES]].concat()).map_err(state)
}

/// Changes it: all of it, or nothing.
fn change<T>(config: &Config, what: impl FnOnce(&mut Tx<'_>, &By) -> Result<T, Refused>) -> Result<T, StageError> {
    let mut db = open(config)?;
    let mut tx = db.begin().map_err(state)?;
    let made = what(&mut tx, &By::command_line()).map_err(refused)?;
    tx.commit().map_err(state)?;
    Ok(made)
}

/// Makes an enrolment; its secret comes back beside it.
pub fn create(config: &Config, args: &NewArgs) -> Result<(Enrolment, String), StageError> {
    let NewArgs { unit, source, quota, expires, tags, client_certificate, .. } = args.clone();
    let wanted = Wanted { unit, source, quota, expires, tags, client_certificate };
    let made = change(config, |tx, by| enrol::make(config, tx, wanted, by, Time::now()))?;
    let secret = enrol::secret(config, &made).map_err(refused)?;
    Ok((made, secret))
}

fn new(config: &Config, args: &NewArgs) -> Result<(), StageError> {
    let (made, secret) = create(config, args)?;
    if args.json || !std::io::stdout().is_terminal() {
        let mut line = object(&made);
        line.insert("secret".into(), secret.into());
        return print(&line_of(&line));
    }
    print(&format!("id      {}\nsecret  {secret}\nunit    {}\nsource  {}\n", made.id, made.unit, made.source))
}

/// The fields of an enrolment, in the order of contract § 3.
fn object(e: &Enrolment) -> serde_json::Map<String, serde_json::Value> {
    let mut map = serde_json::Map::new();
    let expires = e.expires.map(|ms| Time::from_ms(ms).to_string());
    for (key, value) in [
        ("id", json!(e.id)),
        ("secret", json!(null)),
        ("unit", json!(e.unit)),
        ("source", json!(e.source)),
        ("quota", json!(e.quota)),
        ("expires", json!(expires)),
        ("tags", json!(e.tags)),
    ] {
        map.insert(key.into(), value);
    }
    if e.client_certificate {
        map.insert("client_certificate".into(), true.into());
    }
    map
}

fn line_of(map: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::Value::Object(map.clone()).to_string() + "\n"
}

fn print(text: &str) -> Result<(), StageError> {
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)
}

fn list(config: &Config, args: &ListArgs) -> Result<(), StageError> {
    let all = enrolments::list(&open(config)?).map_err(state)?;
    if args.json || !std::io::stdout().is_terminal() {
        let line = |e: &Enrolment| {
            let mut map = object(e);
            map.shift_remove("secret");
            map.insert("revoked".into(), e.revoked.into());
            line_of(&map)
        };
        return print(&all.iter().map(line).collect::<String>());
    }
    let mut text = format!(
        "{:<12} {:<16} {:<10} {:>6}  {:<24}  {:<8} TAGS\n",
        "ID", "UNIT", "SOURCE", "QUOTA", "EXPIRES", "STATE"
    );
    let now = Time::now().ms();
    for e in &all {
        let quota = e.quota.map_or("-".to_owned(), |n| n.to_string());
        let expires = e.expires.map_or("-".to_owned(), |ms| Time::from_ms(ms).to_string());
        let state = match e {
            e if e.revoked => "revoked",
            e if e.expires.is_some_and(|end| end <= now) => "expired",
            _ => "open",
        };
        let tags = e.tags.join(",");
        text.push_str(&format!(
            "{:<12} {:<16} {:<10} {quota:>6}  {expires:<24}  {state:<8} {tags}\n",
            e.id, e.unit, e.source
        ));
    }
    print(&text)
}

fn find(config: &Config, id: &str) -> Result<Enrolment, StageError> {
    enrolments::get(&open(config)?, id).map_err(state)?.ok_or_else(|| unknown(id))
}

fn revoke(config: &Config, id: &str) -> Result<(), StageError> {
    let found = find(config, id)?;
    change(config, |tx, by| enrol::revoke(tx, &found, by, Time::now()))
}

fn unknown(id: &str) -> StageError {
    StageError::usage(format!("there is no enrolment `{id}`; see `zentral enrol list`"))
}

fn package(config: &Config, args: &PackageArgs) -> Result<(), StageError> {
    if args.output.is_none() && std::io::stdout().is_terminal() {
        return Err(StageError::usage("the package holds a secret and does not go to a terminal; use -o FILE"));
    }
    let found = find(config, &args.id)?;
    let made = change(config, |tx, by| enrol::package(config, tx, &found, args.format, by, Time::now()))?;
    if let Some(path) = &made.no_authority {
        pipe::cli::complain(&format!("no {}: the package trusts the authorities of each machine", path.display()));
    }
    let bytes = &made.package.bytes;
    let Some(path) = &args.output else { return pipe::write_stdout(bytes).map_err(crate::stdout_error) };
    let fail = |e: std::io::Error| StageError::usage(format!("{}: {e}", path.display()));
    write_private(path, bytes).map_err(fail)
}

/// Writes a file that only this user can read, whatever lay there before: beside it, then in its place.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        // A pipe or a device has no place that could be taken.
        return std::fs::write(path, bytes);
    }
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let mut name = path.file_name().ok_or(std::io::ErrorKind::IsADirectory)?.to_owned();
    name.push(format!(".{:016x}", u64::from_ne_bytes(random)));
    let beside = path.with_file_name(name);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
