//! `zentral query`: a query for osquery agents now, its rows as they come.

mod watch;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use event::Time;
use pipe::cli::Global;
use pipe::config::{Config, StageKind, Whom, is_name, parse_duration};
use pipe::{Exit, Signals, StageError, Window};
use registry::db::{Db, DbError};
use registry::users::By;
use registry::{live, results, syntax, tags};

use self::watch::{Form, Watch};
use crate::replay::missing;

/// How often it is looked for more.
const POLL: Duration = Duration::from_millis(20);
/// The longest time that may be waited.
const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Command line of `query`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The SQL
    #[arg(required_unless_present = "of", conflicts_with = "of")]
    pub sql: Option<String>,
    /// The query of this probe, or PACK/QUERY of a pack: answers mean what its results mean
    #[arg(long, value_name = "NAME")]
    pub of: Option<String>,
    /// Machines on which it gives rows get this tag, the others that answer lose it
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Machines that are asked: platforms, units, tags, not_platforms, not_units, not_tags or machines, such as tags=office,lab
    /// (repeats; all of it must hold) [default: all]
    #[arg(long, value_name = "LIST=A,B")]
    pub scope: Vec<String>,
    /// How long to wait for answers
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub wait: String,
    /// The most machines that are asked: the first that come
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// One JSON object a line, also on a terminal
    #[arg(long)]
    pub json: bool,
}

/// Asks, and prints what comes.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("query");
    match global.load_or_last_good() {
        Ok(config) => crate::finish(query(&config, args)),
        Err(exit) => exit,
    }
}

fn query(config: &Config, args: &Args) -> Result<Exit, StageError> {
    let wait = parse_duration(&args.wait).filter(|wait| *wait > Duration::ZERO && *wait <= WAIT_MAX);
    let wait = wait.ok_or_else(|| StageError::usage(format!("--wait `{}` is no time such as 30s or 5m", args.wait)))?;
    if args.max == Some(0) {
        return Err(StageError::usage("--max 0 asks nobody"));
    }
    let (sql, means) = meant_by(config, args)?;
    syntax::check(&sql).map_err(|e| StageError::usage(format!("the SQL is wrong: {}", e.text)))?;
    let whom = Whom::of_words(&args.scope, config).map_err(|why| StageError::usage(format!("--scope: {why}")))?;
    let receive = config.stages.iter().find(|stage| stage.runs(StageKind::Receive));
    let receive = receive.ok_or_else(|| StageError::usage("the pipeline has no `receive`: there is nobody to ask"))?;
    let Some(place) = receive.to.as_ref().filter(|place| place.is_topic()) else {
        return Err(StageError::usage("`receive` writes to no topic: its answers could not be read"));
    };
    let (state, mut registry) = (config.state(receive), crate::enrol::open(config)?);
    let at = |e: DbError| StageError::of(&state, e);
    let known = Db::open_read_only(&state).map_err(at)?;
    let mut given = tags::all(&registry).map_err(|e| StageError::of(&config.registry(), e))?;
    let inventory = config.homes().state("normalize");
    let by_query = Db::open_read_only(&inventory).and_then(|db| db.map(|db| results::all_tags(&db)).transpose());
    let by_query = by_query.map_err(|e| StageError::of(&inventory, e))?;
    for (machine, tags) in by_query.unwrap_or_default() {
        given.entry(machine).or_default().extend(tags);
    }
    let meant = known.map(|db| receive::machines(&whom, config, &db, &given, "osquery"));
    let meant = meant.transpose().map_err(at)?.unwrap_or_default();
    if meant.is_empty() {
        tracing::error!("no machine that osquery enrolled is in scope: nobody was asked");
        return Ok(Exit::No);
    }
    let meant_count = meant.len() as u64;
    let names: BTreeMap<String, Option<String>> =
        meant.into_iter().filter_map(|m| Some((m.key()?.to_owned(), m.hostname.clone()))).collect();
    let mut window = Window::from_now(config, place)?.ok_or_else(|| missing(config, place))?;
    let signals = Signals::listen().map_err(|e| StageError::state(e.to_string()))?;
    let now = Time::now().ms();
    let until = now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    let text = serde_json::to_string(&whom).map_err(|e| StageError::state(e.to_string()))?;
    let state_error = |e: DbError| StageError::of(&config.registry(), e);
    let asked = live::Ask { sql: &sql, means: &means, scope: &text, until, max: args.max };
    let id = ask(&mut registry, &asked, meant_count).map_err(state_error)?;
    let form = if args.json || !std::io::stdout().is_terminal() { Form::Lines } else { Form::People };
    let mut watch = Watch::new(id.clone(), names, args.max, form);
    let seen = follow(&mut window, &mut watch, &signals, Instant::now() + wait);
    // Nobody is asked for whom nobody waits, whatever ended it.
    live::cancel(&mut registry, &id, Time::now().ms()).map_err(state_error)?;
    seen?;
    let given = Db::open_read_only(&state).map_err(at)?.map(|db| live::deliveries(&db, now)).transpose().map_err(at)?;
    let given = given.unwrap_or_default().into_iter().filter(|one| one.query == id).map(|one| one.machine);
    watch.end(&given.collect())
}

fn ask(registry: &mut Db, asked: &live::Ask<'_>, machines: u64) -> Result<String, DbError> {
    let mut tx = registry.begin()?;
    let id = live::ask_by(&mut tx, asked, machines, &By::command_line(), Time::now())?;
    tx.commit()?;
    Ok(id)
}

/// What is asked, and what its answers mean.
fn meant_by(config: &Config, args: &Args) -> Result<(String, live::Means), StageError> {
    if let Some(odd) = args.tag.as_ref().filter(|tag| !is_name(tag)) {
        return Err(StageError::usage(format!("--tag `{odd}` is no tag ([a-z0-9][a-z0-9-]{{0,62}})")));
    }
    let Some(name) = &args.of else {
        let sql = args.sql.clone().unwrap_or_default();
        return Ok((sql, live::Means { tag: args.tag.clone(), ..live::Means::default() }));
    };
    let (sql, run_of) = normalize::configured(config, name)
        .ok_or_else(|| StageError::usage(format!("--of: no probe `{name}` has a query, and no pack such a one")))?;
    Ok((sql, live::Means { tag: args.tag.clone(), run_of: Some(run_of), cause: None }))
}

/// Until all have answered, time is up, or somebody has had enough.
fn follow(window: &mut Window, watch: &mut Watch, signals: &Signals, end: Instant) -> Result<(), StageError> {
    while !signals.stopping() && !watch.is_done() && Instant::now() < end {
        match window.read()? {
            Some(lines) => {
                for line in lines.bytes.split_inclusive(|b| *b == b'\n') {
                    watch.line(line.trim_ascii_end());
                }
                watch.flush()?;
            }
            None => {
                signals.waker.wait(POLL);
            }
        }
    }
    Ok(())
}
