//! `zentral user`: who may use the console. Whoever may run this on the machine of the hub may let anybody in.

use std::io::IsTerminal as _;

use event::Time;
use pipe::cli::{Global, complain};
use pipe::config::{Config, is_name};
use pipe::{Exit, StageError};
use registry::db::{Db, Tx};
use registry::users::{self, By, Refused, Role, User, links, sign_on};
use serde_json::json;

/// What is asked of `user`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Let somebody in: prints a link, good for one hour, by which they choose a password
    Add {
        /// What they sign in as
        name: String,
        #[command(flatten)]
        may: May,
        /// The verified address by which single sign-on knows them
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
    },
    /// List who may sign in
    List {
        /// JSON, even on a terminal
        #[arg(long)]
        json: bool,
    },
    /// Give somebody another role
    Role {
        /// Who
        name: String,
        #[command(flatten)]
        may: May,
    },
    /// Print a link, good for one hour, by which somebody chooses a new password
    Link {
        /// Who
        name: String,
    },
    /// Say by which verified address single sign-on knows somebody; whoever comes with it first is them
    Email {
        /// Who
        name: String,
        /// The address; left out: none
        address: Option<String>,
    },
    /// Remove somebody; their sessions end at once
    Remove {
        /// Who
        name: String,
    },
}

/// What somebody may do and see.
#[derive(Debug, Clone, clap::Args)]
pub struct May {
    /// viewer: looks; editor: looks, for the console changes nothing else yet; admin: gives access
    #[arg(long, value_name = "ROLE", default_value = "viewer", value_parser = role)]
    pub role: Role,
    /// Only the machines and events of these units [default: all]
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    pub units: Vec<String>,
}

impl May {
    /// The units, each of which there must be.
    pub fn units(&self, config: &Config) -> Result<&[String], StageError> {
        match self.units.iter().find(|unit| !config.units.contains_key(*unit)) {
            Some(odd) => Err(StageError::usage(format!("--units: the configuration has no unit `{odd}`"))),
            None => Ok(&self.units),
        }
    }
}

fn role(word: &str) -> Result<Role, String> {
    Role::of(word).ok_or_else(|| format!("one of {}", Role::ALL.map(Role::word).join(", ")))
}

/// Does it.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("user");
    let config = match global.load_or_last_good() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let by = By::command_line();
    let done = match args {
        Args::Add { name, may, email } => add(&config, name, may, email.as_deref()),
        Args::List { json } => list(&config, *json),
        Args::Role { name, may } => may
            .units(&config)
            .and_then(|units| change(&config, name, |tx, now| users::set_role(tx, name, may.role, units, &by, now))),
        Args::Link { name } => {
            let link = change(&config, name, |tx, now| links::make(tx, name, &by, now));
            link.and_then(|secret| tell(&config, &secret))
        }
        Args::Email { name, address } => {
            change(&config, name, |tx, now| sign_on::set_email(tx, name, address.as_deref(), &by, now))
        }
        Args::Remove { name } => change(&config, name, |tx, now| users::remove(tx, name, &by, now)),
    };
    crate::finish(done.map(|()| Exit::Done))
}

/// Opens the registry beside a running `up`, or before the first one.
pub fn open(config: &Config) -> Result<Db, StageError> {
    let fail = |e: std::io::Error| StageError::state(format!("{}: {e}", config.data.display()));
    registry::folder::make_private(&config.data).map_err(fail)?;
    let home = config.registry();
    Db::open(&home, users::SCHEMAS).map_err(|e| StageError::of(&home, e))
}

/// Changes it; `name` is whom an error is about.
pub fn change<T>(
    config: &Config,
    name: &str,
    what: impl FnOnce(&mut Tx<'_>, Time) -> Result<T, Refused>,
) -> Result<T, StageError> {
    let home = config.registry();
    let fail = |why: Refused| match why {
        Refused::Db(e) => StageError::of(&home, e),
        why => StageError::usage(format!("`{name}`: {why}")),
    };
    let mut db = open(config)?;
    let mut tx = db.begin().map_err(|e| StageError::of(&home, e))?;
    let made = what(&mut tx, Time::now()).map_err(fail)?;
    tx.commit().map_err(|e| StageError::of(&home, e))?;
    Ok(made)
}

fn add(config: &Config, name: &str, may: &May, email: Option<&str>) -> Result<(), StageError> {
    if !is_name(name) {
        return Err(StageError::usage(format!("`{name}` is no name ([a-z0-9][a-z0-9-]{{0,62}})")));
    }
    let (units, by) = (may.units(config)?, By::command_line());
    let secret = change(config, name, |tx, now| {
        users::add(tx, name, may.role, units, &by, now)?;
        if email.is_some() {
            sign_on::set_email(tx, name, email, &by, now)?;
        }
        links::make(tx, name, &by, now)
    })?;
    tell(config, &secret)
}

/// The link alone, so that it can be handed on by a pipe.
fn tell(config: &Config, secret: &str) -> Result<(), StageError> {
    let link = link(config, secret);
    let (here, elsewhere) = (["http://127.", "http://[::1]"], ["https://localhost", "https://127.", "https://[::1]"]);
    let is = |url: &str, all: &[&str]| all.iter().any(|begin| url.starts_with(begin));
    if is(&link, &here) && config.url.as_deref().is_some_and(|url| !is(url, &elsewhere)) {
        let at = link.split('/').nth(2).unwrap_or_default();
        let port = at.rsplit(':').next().unwrap_or_default();
        complain(&format!(
            "the console listens on this machine only; from another: `ssh -L {port}:{at} HOST`, or give [stage.console] `listen`, `tls` and `url`"
        ));
    }
    print(&format!("{link}\n"))
}

/// The address of a link.
pub fn link(config: &Config, secret: &str) -> String {
    console::link(&console::address(config), secret)
}

fn print(text: &str) -> Result<(), StageError> {
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)
}

fn list(config: &Config, json: bool) -> Result<(), StageError> {
    let home = config.registry();
    let all = users::list(&open(config)?).map_err(|e| StageError::of(&home, e))?;
    if json || !std::io::stdout().is_terminal() {
        let line = |user: &User| {
            let User { name, role, units, active, created, email, by_group, .. } = user;
            let created = Time::from_ms(*created);
            let line = json!({"name": name, "role": role.word(), "units": units, "active": active, "created": created,
                              "email": email, "by_group": by_group});
            format!("{line}\n")
        };
        return print(&all.iter().map(line).collect::<String>());
    }
    let mut text = format!("{:<24} {:<8} {:<12} {:<28} UNITS\n", "NAME", "ROLE", "PASSWORD", "SIGN-ON");
    for user in &all {
        let units = if user.units.is_empty() { "all".to_owned() } else { user.units.join(",") };
        let chosen = if user.active { "chosen" } else { "not yet" };
        let sign_on = if user.by_group { "by group" } else { user.email.as_deref().unwrap_or("-") };
        text.push_str(&format!("{:<24} {:<8} {chosen:<12} {sign_on:<28} {units}\n", user.name, user.role.word()));
    }
    print(&text)
}
