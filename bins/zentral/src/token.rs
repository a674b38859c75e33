//! `zentral token`: by which programs ask the console.

use std::io::IsTerminal as _;

use event::Time;
use pipe::cli::Global;
use pipe::config::{Config, is_name, parse_duration};
use pipe::{Exit, StageError};
use registry::users::By;
use registry::users::tokens::{self, Token, Wanted};
use serde_json::{Map, Value, json};

use crate::user::{May, change, open};

/// What is asked of `token`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Make a token; its secret is printed this once
    New(NewArgs),
    /// List tokens, without their secrets
    List {
        /// JSON, even on a terminal
        #[arg(long)]
        json: bool,
    },
    /// Make a token worthless
    Revoke {
        /// Its id
        id: String,
    },
}

/// Command line of `token new`.
#[derive(Debug, Clone, clap::Args)]
pub struct NewArgs {
    /// What it is for, in a word
    pub name: String,
    #[command(flatten)]
    pub may: May,
    /// Only for these parts of the console: status, machines, events, users [default: all that the role may see]
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    pub scopes: Vec<String>,
    /// When it ends: an age from now on, such as 90d [default: when it is revoked]
    #[arg(long, value_name = "AGE")]
    pub expires: Option<String>,
    /// JSON, even on a terminal
    #[arg(long)]
    pub json: bool,
}

/// Does it.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("token");
    let config = match global.load_or_last_good() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let done = match args {
        Args::New(args) => new(&config, args),
        Args::List { json } => list(&config, *json),
        Args::Revoke { id } => change(&config, id, |tx, now| tokens::revoke(tx, id, &By::command_line(), now)),
    };
    crate::finish(done.map(|()| Exit::Done))
}

fn new(config: &Config, args: &NewArgs) -> Result<(), StageError> {
    let NewArgs { name, may, scopes, .. } = args;
    if !is_name(name) {
        return Err(StageError::usage(format!("`{name}` is no name ([a-z0-9][a-z0-9-]{{0,62}})")));
    }
    let known = console::scopes();
    if let Some(odd) = scopes.iter().find(|scope| !known.contains(&scope.as_str())) {
        return Err(StageError::usage(format!("--scopes: there is no `{odd}`; there is {}", known.join(", "))));
    }
    let expires = args.expires.as_deref().map(end).transpose()?;
    let units = may.units(config)?.to_vec();
    let wanted = Wanted { name: name.clone(), role: may.role, units, scopes: scopes.clone(), expires };
    let (token, secret) = change(config, name, |tx, now| tokens::make(tx, wanted, &By::command_line(), now))?;
    if args.json || !std::io::stdout().is_terminal() {
        let mut line = object(&token);
        line.insert("token".into(), secret.into());
        return print(&format!("{}\n", Value::Object(line)));
    }
    print(&format!("id     {}\ntoken  {secret}\n", token.id))
}

fn end(text: &str) -> Result<i64, StageError> {
    let age = parse_duration(text).filter(|age| !age.is_zero()).and_then(|age| i64::try_from(age.as_millis()).ok());
    let end = age.and_then(|age| Time::now().ms().checked_add(age));
    end.ok_or_else(|| StageError::usage(format!("--expires: `{text}` is no age such as 90d or 12h")))
}

fn object(token: &Token) -> Map<String, Value> {
    let Token { id, name, role, units, scopes, created, expires } = token;
    let (created, expires) = (Time::from_ms(*created), expires.map(Time::from_ms));
    let all = json!({"id": id, "name": name, "role": role.word(), "units": units, "scopes": scopes,
        "created": created, "expires": expires});
    match all {
        Value::Object(all) => all,
        _ => Map::new(),
    }
}

fn print(text: &str) -> Result<(), StageError> {
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)
}

fn list(config: &Config, json: bool) -> Result<(), StageError> {
    let home = config.registry();
    let all = tokens::list(&open(config)?).map_err(|e| StageError::of(&home, e))?;
    if json || !std::io::stdout().is_terminal() {
        return print(&all.iter().map(|token| format!("{}\n", Value::Object(object(token)))).collect::<String>());
    }
    let mut text = format!("{:<12} {:<20} {:<8} {:<24} {:<20} SCOPES\n", "ID", "FOR", "ROLE", "EXPIRES", "UNITS");
    let words = |words: &[String]| if words.is_empty() { "all".to_owned() } else { words.join(",") };
    for token in &all {
        let Token { id, name, role, units, scopes, expires, .. } = token;
        let expires = expires.map_or("-".to_owned(), |end| Time::from_ms(end).to_string());
        let (units, scopes) = (words(units), words(scopes));
        text.push_str(&format!("{id:<12} {name:<20} {:<8} {expires:<24} {units:<20} {scopes}\n", role.word()));
    }
    print(&text)
}
