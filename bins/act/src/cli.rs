//! The command line of `act`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event::Time;
use pipe::cli::{Global, Process, StageArgs};
use pipe::config::{Config, Files, Settings, StageKind, parse_duration};
use pipe::{Exit, StageError, ops};
use registry::db::Home;
use registry::orders::{Hand, MUTE_MAX, muted_until, target};

use crate::actions::{Texts, texts_at, texts_through};
use crate::incidents;
use crate::queue::Mode;
use crate::stage::{Act, Options};
use crate::{dead, orders, rules, trial};

/// Command line of `act`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Actions of the configuration, done for every line; none: what the probes of each match say
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Kind of an action without configuration: email, twilio, exec, file, http, or a preset such as slack
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// A setting of that action; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "kind")]
    pub set: Vec<String>,
    /// Print what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Remember nothing: do it once, whatever was done before
    #[arg(long)]
    pub no_ledger: bool,
    /// Take the newest `received` for now and send nothing: recorded lines are judged as on their own day
    #[arg(long, hide = true)]
    pub recorded: bool,
    /// Flags of every stage
    #[command(flatten)]
    pub stage: StageArgs,
    /// What else `act` does
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `act` does besides acting.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// List dead letters: what will not be tried again
    Dead(Dead),
    /// Try dead letters again
    Retry(Ids),
    /// Forget dead letters
    Drop(Ids),
    /// Send once, marked as a test
    Try(Try),
    /// List the rules for Santa that actions made, or take some away
    Rules(Rules),
    /// Hold an action or a probe back for a while: what comes meanwhile is dropped, and said to be
    Mute(Mute),
    /// Let an action go on that was muted, or that stopped at its `max`
    Resume(Resume),
    /// List incidents; take, close or comment on one
    Incidents(Incidents),
}

/// Command line of `act mute`.
#[derive(Debug, Clone, clap::Args)]
pub struct Mute {
    /// An action or a probe
    #[arg(value_name = "NAME")]
    pub name: String,
    /// For how long
    #[arg(value_name = "TIME", default_value = "1h")]
    pub time: String,
}

/// Command line of `act resume`.
#[derive(Debug, Clone, clap::Args)]
pub struct Resume {
    /// An action or a probe
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Command line of `act incidents`.
#[derive(Debug, Clone, clap::Args)]
pub struct Incidents {
    /// Those that are closed as well
    #[arg(long, conflicts_with = "hand")]
    pub all: bool,
    /// Say that somebody takes care of this one: an id or its beginning
    #[arg(long, value_name = "ID", group = "hand")]
    pub take: Option<String>,
    /// Close this one
    #[arg(long, value_name = "ID", group = "hand")]
    pub close: Option<String>,
    /// Only comment on this one
    #[arg(long, value_name = "ID", group = "hand")]
    pub note: Option<String>,
    /// Who does it
    #[arg(long, value_name = "WHO", default_value = "", requires = "hand", hide_default_value = true)]
    pub by: String,
    /// What is said of it
    #[arg(long, value_name = "TEXT", default_value = "", requires = "hand", hide_default_value = true)]
    pub comment: String,
}

/// Command line of `act rules`.
#[derive(Debug, Clone, clap::Args)]
pub struct Rules {
    /// Take these away: ids, or their beginnings
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub remove: Vec<String>,
}

/// Command line of `act dead`.
#[derive(Debug, Clone, clap::Args)]
pub struct Dead {
    /// Of this action only
    #[arg(long, value_name = "NAME")]
    pub action: Option<String>,
    /// Dead since: an age such as 2h
    #[arg(long, value_name = "AGE")]
    pub since: Option<String>,
}

/// Command line of `act retry` and `act drop`.
#[derive(Debug, Clone, clap::Args)]
pub struct Ids {
    /// Ids of dead letters, or their beginnings
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// All of this action
    #[arg(long, value_name = "NAME")]
    pub action: Option<String>,
    /// All that died since: an age such as 2h
    #[arg(long, value_name = "AGE")]
    pub since: Option<String>,
}

/// Command line of `act try`.
#[derive(Debug, Clone, clap::Args)]
pub struct Try {
    /// The action
    #[arg(value_name = "NAME")]
    pub action: String,
    /// A stored event; none: an event on stdin, or a sample if stdin is a terminal
    #[arg(value_name = "EVENT-ID")]
    pub event: Option<String>,
}

/// Acts, or does what the subcommand says.
pub fn run(global: &Global, args: &Args) -> Exit {
    let ran = match &args.command {
        None => return stage(global, args),
        Some(command) => {
            global.start_log("act");
            // Something is tried as the files say it; everything else is about what runs.
            let loaded = match command {
                Command::Try(_) => global.load(),
                _ => global.load_or_last_good(),
            };
            match loaded {
                Ok(config) => side(&config, global, command),
                Err(exit) => return exit,
            }
        }
    };
    ran.unwrap_or_else(|e| {
        tracing::error!("{e}");
        e.exit
    })
}

fn stage(global: &Global, args: &Args) -> Exit {
    let started = Process::start(StageKind::Act, global, &args.stage);
    let ran = started.and_then(|process| {
        start(process, args).map_err(|e| {
            tracing::error!("{e}");
            e.exit
        })
    });
    ran.unwrap_or_else(|exit| exit)
}

fn start(mut process: Process, args: &Args) -> Result<Exit, StageError> {
    let mut options = Options::new(texts(process.path.as_deref()));
    options.names.clone_from(&args.names);
    options.memory = process.state().is_none();
    options.patient = process.conf.is_some() && !process.once();
    options.mode = Mode { dry_run: args.dry_run, no_ledger: args.no_ledger, recorded: args.recorded };
    options.registry = process.state().map(|_| process.config.registry());
    let tells = !args.dry_run && !args.recorded;
    options.state = process.state().filter(|_| tells).cloned();
    if let Some(kind) = &args.kind {
        process.config = Arc::new(with_action(&process.config, kind, &args.set)?);
        options.names = vec![kind.clone()];
    }
    if process.conf.is_none() && options.names.is_empty() && process.config.file.is_none() {
        return Err(StageError::usage("name an action of the configuration, or a --kind"));
    }
    process.open_side_door(None)?;
    let main = process.main_output();
    Ok(pipe::run(&mut Act::new(options), process.job(StageKind::Act, main, &[])))
}

/// The configuration with one action made of words.
fn with_action(config: &Config, kind: &str, set: &[String]) -> Result<Config, StageError> {
    let mut words = vec![("kind".to_owned(), kind.to_owned())];
    for word in set {
        let (key, value) =
            word.split_once('=').ok_or_else(|| StageError::usage(format!("--set {word}: expected KEY=VALUE")))?;
        words.push((key.to_owned(), value.to_owned()));
    }
    let settings = Settings::from_words(&format!("action.{kind}"), kind, &words);
    let settings = settings.map_err(|finding| StageError::usage(finding.to_string()))?;
    let mut config = config.clone();
    config.actions.insert(kind.to_owned(), settings);
    Ok(config)
}

fn texts(path: Option<&Path>) -> Texts {
    match path {
        Some(path) => texts_at(path.to_owned()),
        None => match Files::open(Path::new("pipeline.toml")) {
            Ok(files) => texts_through(files),
            Err(_) => Arc::new(|_| Ok(None)),
        },
    }
}

fn side(config: &Config, global: &Global, command: &Command) -> Result<Exit, StageError> {
    let (state, registry) = (config.homes().state("act"), config.registry());
    match command {
        Command::Dead(args) => print(&dead::list(&state, args.action.as_deref(), since(args.since.as_deref())?)?),
        Command::Retry(args) => order(&state, &registry, "retry", args),
        Command::Drop(args) => order(&state, &registry, "drop", args),
        Command::Rules(args) if args.remove.is_empty() => print(&rules::list(&registry, Time::now())?),
        Command::Rules(args) => match rules::remove(&registry, &args.remove, Time::now())? {
            Ok(gone) => print(&gone),
            Err(why) => Err(StageError { exit: Exit::No, text: why }),
        },
        Command::Mute(args) => {
            named(config, &args.name)?;
            let time = parse_duration(&args.time).filter(|time| !time.is_zero() && *time <= MUTE_MAX);
            let time =
                time.ok_or_else(|| StageError::usage(format!("`{}` is no time such as 2h, at most 31d", args.time)))?;
            let now = Time::now().ms();
            let until = now.saturating_add(crate::lanes::ms(time));
            orders::give(&registry, "mute", &[muted_until(&args.name, until)], now)?;
            tracing::info!(
                "{} is muted until {}; act obeys within a second, or when it runs next",
                args.name,
                Time::from_ms(until)
            );
            Ok(Exit::Done)
        }
        Command::Resume(args) => {
            named(config, &args.name)?;
            orders::give(&registry, "resume", std::slice::from_ref(&args.name), Time::now().ms())?;
            tracing::info!("{} goes on within a second, or when act runs next", args.name);
            Ok(Exit::Done)
        }
        Command::Incidents(args) => by_hand(&state, &registry, args),
        Command::Try(args) => {
            let line = event(config, args)?;
            let texts = texts(global.config_path().as_deref());
            let (exit, told) = trial::run(config, &texts, &args.action, line.as_deref())?;
            print(&told)?;
            Ok(exit)
        }
    }
}

/// Whether there is an action or a probe of this name.
fn named(config: &Config, name: &str) -> Result<(), StageError> {
    if config.actions.contains_key(name) || config.probes.contains_key(name) {
        return Ok(());
    }
    let near = pipe::config::nearest(name, config.actions.keys().chain(config.probes.keys()).map(String::as_str));
    Err(StageError::usage(format!("the configuration has no action and no probe `{name}`{near}")))
}

fn by_hand(state: &Home, registry: &Home, args: &Incidents) -> Result<Exit, StageError> {
    let hand = [("take", &args.take), ("close", &args.close), ("comment", &args.note)];
    let Some((verb, word)) = hand.iter().find_map(|(verb, id)| Some((*verb, id.as_ref()?))) else {
        return print(&incidents::list(state, args.all)?);
    };
    if verb == "comment" && args.comment.trim().is_empty() {
        return Err(StageError::usage("--note needs a --comment"));
    }
    let open = incidents::list(state, false)?;
    let ids = open.iter().filter_map(|one| one.get("id")?.as_str()).filter(|id| id.starts_with(word.as_str()));
    let ids: Vec<&str> = ids.collect();
    let no = |text: String| Err(StageError { exit: Exit::No, text });
    let id = match ids.as_slice() {
        [id] if !word.is_empty() => *id,
        [] => return no(format!("no open incident has the id `{word}`")),
        _ => return no(format!("several incidents' ids begin with `{word}`")),
    };
    let hand = Hand { incident: id.to_owned(), by: args.by.clone(), comment: args.comment.clone() };
    orders::give(registry, verb, &[target(&hand)?], Time::now().ms())?;
    tracing::info!("{verb} {id}: act does it within a second, or when it runs next");
    Ok(Exit::Done)
}

/// Ms since 1970 of an age counted from now; none: since ever.
fn since(age: Option<&str>) -> Result<i64, StageError> {
    let Some(text) = age else { return Ok(i64::MIN) };
    let age = parse_duration(text).ok_or_else(|| StageError::usage(format!("`{text}` is no age such as 2h")))?;
    Ok(Time::now().ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
}

fn order(state: &Home, registry: &Home, verb: &str, args: &Ids) -> Result<Exit, StageError> {
    let mut ids = match dead::find(state, &args.ids)? {
        Ok(ids) => ids,
        Err(why) => return Err(StageError { exit: Exit::No, text: why }),
    };
    if args.action.is_some() || args.since.is_some() {
        let letters = dead::list(state, args.action.as_deref(), since(args.since.as_deref())?)?;
        ids.extend(letters.iter().filter_map(|l| Some(l.get("id")?.as_str()?.to_owned())));
    } else if args.ids.is_empty() {
        return Err(StageError::usage("name dead letters by id, or all of an --action, or all --since an age"));
    }
    ids.sort();
    ids.dedup();
    dead::order(registry, verb, &ids, Time::now())?;
    tracing::info!("{verb}: {} dead letters; act carries it out within a second, or when it runs next", ids.len());
    Ok(if ids.is_empty() { Exit::No } else { Exit::Done })
}

/// The longest event on stdin, and how long a store may take to find one.
const EVENT_MAX: u64 = event::LINE_MAX as u64;
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

fn event(config: &Config, args: &Try) -> Result<Option<Vec<u8>>, StageError> {
    use std::io::{IsTerminal as _, Read as _};
    let Some(id) = &args.event else {
        let mut line = Vec::new();
        if !std::io::stdin().is_terminal() {
            let read = std::io::stdin().lock().take(EVENT_MAX).read_to_end(&mut line);
            read.map_err(|e| StageError::usage(format!("stdin: {e}")))?;
        }
        return Ok(Some(line.trim_ascii().to_vec()).filter(|l| !l.is_empty()));
    };
    if !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(StageError::usage(format!("`{id}` is no id of an event")));
    }
    let stores: Vec<PathBuf> =
        config.stages.iter().filter(|s| s.runs(StageKind::Store)).map(|s| config.socket(&s.first())).collect();
    for socket in &stores {
        match ops::get(socket, &format!("/event/{id}"), STORE_TIMEOUT) {
            Ok((200, line)) => return Ok(Some(line.trim_ascii().to_vec())),
            Ok((404, _)) => {
                return Err(StageError { exit: Exit::No, text: format!("no stored event has the id {id}") });
            }
            Ok(_) | Err(_) => {}
        }
    }
    Err(StageError::unreachable("no store answers; is `zentral up` running?"))
}

fn print(records: &[serde_json::Value]) -> Result<Exit, StageError> {
    let text: String = records.iter().map(|r| format!("{r}\n")).collect();
    pipe::write_stdout(text.as_bytes()).map_err(|e| StageError { exit: Exit::Done, text: e.to_string() })?;
    Ok(Exit::Done)
}
