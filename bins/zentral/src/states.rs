//! `zentral state`: copies, checks and drops of what stages have learned, in files or in a database.

mod roles;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipe::cli::Global;
use pipe::config::Config;
use pipe::fs::{Guard, RealFs};
use pipe::{Exit, StageError, state};
use registry::db::{self, Copied, Db, Home, Homes, Schema};
use registry::{changes, enrolments, folder, live, made_rules, server_key, tags, users};
use serde_json::json;

/// Subcommands of `state`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum State {
    /// Recompute the chain of sealed segments of every topic
    Verify,
    /// Read every state, and say what is in it
    Check,
    /// Copy all state and the key of the enrolment secrets to a new folder, beside a running `up` or without one
    Backup {
        /// Folder to make
        dir: PathBuf,
    },
    /// Put back what `backup` wrote, in place of what is there; `up` must be stopped
    Restore {
        /// Folder that `backup` made
        dir: PathBuf,
    },
    /// Copy the files of the data folder to the database of `[registry]`; `up` must be stopped
    Copy,
    /// Forget a state, such as that of a stage which is no more; `up` must be stopped
    Drop {
        /// Its name: that of the stage
        name: String,
        /// Also if the configuration has such a stage, which then begins anew
        #[arg(long)]
        force: bool,
    },
    /// Bring the tables of the registry up to date, where no role of a stage may
    Migrate,
    /// Print the SQL that makes schemas, and a role for each stage that may write no more than it must
    Roles,
}

/// Does it.
pub fn run(global: &Global, what: &State) -> Exit {
    global.start_log("state");
    // A nightly copy does not stop for a typo; what changes states waits until the files are right.
    let loaded = match what {
        State::Verify | State::Check | State::Backup { .. } => global.load_or_last_good(),
        _ => global.load(),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    crate::finish(match what {
        State::Verify => crate::verify::verify(&config),
        State::Check => check(&config),
        State::Backup { dir } => backup(&config, dir),
        State::Restore { dir } => restore(&config, dir),
        State::Copy => copy(&config),
        State::Drop { name, force } => forget(&config, name, *force),
        State::Migrate => migrate(&config),
        State::Roles => say(&roles::script(&config)).map(|()| Exit::Done),
    })
}

/// How long the server may take to see that an owner's connection has ended.
const GONE: Duration = Duration::from_secs(3);

/// What the registry holds.
const REGISTRY: [Schema; 7] = [
    enrolments::SCHEMA,
    enrolments::CERTIFICATES,
    tags::SCHEMA,
    changes::SCHEMA,
    made_rules::SCHEMA,
    live::QUERIES,
    users::SCHEMA,
];

/// Every schema that a state may hold: tables are made by their migrations.
fn schemas() -> Vec<Schema> {
    let stages = [state::SCHEMA, act::ledger::SCHEMA, filter::SCHEMA, pull::SCHEMA, crate::foreign::SCHEMA];
    [&REGISTRY[..], &stages, receive::SCHEMAS, normalize::SCHEMAS].concat()
}

fn migrate(config: &Config) -> Result<Exit, StageError> {
    folder::make_private(&config.data).map_err(|e| StageError::state(format!("{}: {e}", config.data.display())))?;
    let home = config.registry();
    Db::open(&home, &REGISTRY).map_err(|e| StageError::of(&home, e))?;
    roles::grant(config).map(|()| Exit::Done)
}

fn check(config: &Config) -> Result<Exit, StageError> {
    let mut exit = Exit::Done;
    for home in config.homes().all()? {
        let (place, name) = (home.to_string(), home.name());
        say(&match db::check(&home).and_then(|tables| db::known(&home, &schemas()).map(|()| tables)) {
            Ok(tables) => {
                let rows: u64 = tables.iter().map(|table| table.rows).sum();
                format!("{}\n", json!({"state": name, "at": place, "ok": true, "tables": tables.len(), "rows": rows}))
            }
            Err(why @ db::DbError::Unreachable(_)) => return Err(StageError::of(&home, why)),
            Err(why) => {
                exit = Exit::No;
                format!("{}\n", json!({"state": name, "at": place, "ok": false, "why": why.to_string()}))
            }
        })?;
    }
    Ok(exit)
}

fn backup(config: &Config, dir: &Path) -> Result<Exit, StageError> {
    let fail = |e: std::io::Error| StageError::state(format!("{}: {e}", dir.display()));
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StageError::usage(format!("{} is not empty", dir.display())));
    }
    folder::make_private(dir).map_err(fail)?;
    folder::make_private(&dir.join("state")).map_err(fail)?;
    let files = Homes::new(dir, None);
    for home in config.homes().all()? {
        move_one(&home, &files)?;
    }
    let key = config.data.join(server_key::FILE);
    if key.exists() {
        std::fs::copy(key, dir.join(server_key::FILE)).map_err(fail)?;
    }
    Ok(Exit::Done)
}

fn restore(config: &Config, dir: &Path) -> Result<Exit, StageError> {
    let from = Homes::new(dir, None).all()?;
    if from.is_empty() {
        return Err(StageError::usage(format!("{} holds no state", dir.display())));
    }
    if dir.canonicalize().is_ok_and(|dir| config.data.canonicalize().is_ok_and(|data| data == dir)) {
        return Err(StageError::usage(format!("{} is the data folder itself, no backup of it", dir.display())));
    }
    // What cannot be read must not cost what is there.
    for home in &from {
        db::check(home).and_then(|_| db::known(home, &schemas())).map_err(|e| StageError::of(home, e))?;
    }
    let homes = config.homes();
    let there = homes.all()?;
    let held = Held::take(config, there.iter().cloned().chain(from.iter().map(|home| target(home, &homes))).collect())?;
    for home in there {
        db::drop(&home).map_err(|e| StageError::of(&home, e))?;
    }
    for home in &from {
        move_one(home, &homes)?;
    }
    let (from, to) = (dir.join(server_key::FILE), config.data.join(server_key::FILE));
    if from.exists() {
        std::fs::copy(&from, &to).map_err(|e| StageError::state(format!("{}: {e}", to.display())))?;
    }
    drop(held);
    roles::grant(config).map(|()| Exit::Done)
}

fn copy(config: &Config) -> Result<Exit, StageError> {
    if config.server.is_none() {
        return Err(StageError::usage("the configuration names no database: [registry] postgres"));
    }
    let from = Homes::new(&config.data, None).all()?;
    if from.is_empty() {
        return Err(StageError::usage(format!("{} holds no state", config.data.display())));
    }
    let homes = config.homes();
    let held = Held::take(config, from.iter().map(|home| target(home, &homes)).collect())?;
    for to in from.iter().map(|home| target(home, &homes)) {
        if db::is_used(&to).map_err(|e| StageError::of(&to, e))? {
            let text = format!("{to} is there already; `zentral state drop {} --force` takes it away", to.name());
            return Err(StageError::state(text));
        }
    }
    for (i, home) in from.iter().enumerate() {
        if let Err(why) = move_one(home, &homes) {
            // All or nothing, as far as the server lets us.
            from.iter().take(i).for_each(|home| drop(db::drop(&target(home, &homes))));
            return Err(why);
        }
    }
    drop(held);
    roles::grant(config).map(|()| Exit::Done)
}

fn target(home: &Home, homes: &Homes) -> Home {
    if home.is_registry() { homes.registry() } else { homes.state(home.name()) }
}

fn move_one(home: &Home, homes: &Homes) -> Result<(), StageError> {
    let to = target(home, homes);
    let copied = db::copy(home, &to, &schemas()).map_err(|e| StageError::of(home, e))?;
    report(&to, &copied)
}

fn forget(config: &Config, name: &str, force: bool) -> Result<Exit, StageError> {
    let all = config.homes().all()?;
    let Some(home) = all.iter().find(|home| home.name() == name) else {
        let text = format!("there is no state `{name}`");
        return Err(StageError { exit: Exit::No, text });
    };
    let used = home.is_registry() || config.stages.iter().any(|stage| config.state_name(stage) == name);
    if used && !force {
        return Err(StageError::usage(format!(
            "`{name}` is in use by this configuration; --force forgets it all the same"
        )));
    }
    let held = Held::take(config, vec![home.clone()])?;
    db::drop(home).map_err(|e| StageError::of(home, e))?;
    drop(held);
    Ok(Exit::Done)
}

/// Nobody works on the states meanwhile: neither `up` nor a stage of its own, here or on another host.
struct Held {
    _up: Guard,
    _states: Vec<(Guard, Option<Db>)>,
}

impl Held {
    fn take(config: &Config, homes: Vec<Home>) -> Result<Self, StageError> {
        let up = crate::up::lock(&config.data)?;
        let none = Some(Duration::ZERO);
        let lock = |home: &Home| -> Result<_, StageError> {
            let guard = state::lock(&RealFs::shared(), &config.state_lock(home), none, &|| false)?;
            if home.file().is_some() {
                return Ok((guard, None));
            }
            // What ended a moment ago may still be on its way out there.
            Ok((guard, Some(state::open(home, &[], Some(GONE), &|| false)?)))
        };
        let mut names: Vec<&Home> = homes.iter().filter(|home| !home.is_registry()).collect();
        names.sort_by_key(|home| home.name().to_owned());
        names.dedup_by_key(|home| home.name().to_owned());
        Ok(Self { _up: up, _states: names.into_iter().map(lock).collect::<Result<_, _>>()? })
    }
}

fn report(to: &Home, copied: &[Copied]) -> Result<(), StageError> {
    let rows: u64 = copied.iter().map(|table| table.rows).sum();
    say(&format!("{}\n", json!({"state": to.name(), "at": to.to_string(), "tables": copied.len(), "rows": rows})))
}

fn say(text: &str) -> Result<(), StageError> {
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)
}
