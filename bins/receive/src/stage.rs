//! The process: what is opened in which order, what is looked after now and then, and how it ends.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event::Time;
use pipe::cli::{Global, Process, complain};
use pipe::config::{Config, StageKind, render};

use pipe::fs::RealFs;
use pipe::listen::{self, Stop};
use pipe::tls::Files;
use pipe::{Exit, StageError, state};
use registry::db::{Db, Schema};
use registry::{carves, changes, live, machines, munki, pending, santa, server_key};
use rustls::server::ProducesTickets;
use tokio::sync::watch;

use crate::Args;
use crate::agents::Agents;
use crate::carves::Carves;
use crate::conf::Conf;
use crate::desk::santa::Served;
use crate::heard::Heard;
use crate::hub::{Hub, Live, Remembered};
use crate::known::Known;
use crate::meters::Meters;
use crate::queries::Queries;
use crate::tickets::Tickets;
use crate::{serve, tls};

/// How often `last_seen` is written down.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// How long requests in flight may take to finish when the stage is stopped.
const FINISH: Duration = Duration::from_secs(15);

/// Files open beside the connections: topic, state, side door.
const FILES_BESIDE: usize = 64;

/// See [`crate::run`].
pub fn run(global: &Global, args: &Args) -> Exit {
    if !args.stage.from.is_empty() {
        complain("receive listens and reads nothing: --from does not belong here");
        return Exit::Usage;
    }
    let process = match Process::start(StageKind::Receive, global, &args.stage) {
        Ok(process) => process,
        Err(exit) => return exit,
    };
    match Stage::open(process, args).and_then(Stage::run) {
        Ok(exit) => exit,
        // Whoever read our stdout has gone: a polite end.
        Err(e) if e.exit == Exit::Done => Exit::Done,
        Err(e) => {
            tracing::error!("{e}");
            e.exit
        }
    }
}

struct Stage {
    process: Process,
    args: Args,
    hub: Arc<Hub>,
    tickets: Option<Arc<Tickets>>,
    /// Why lines can't be written any more.
    failed: Arc<Mutex<Option<StageError>>>,
    _lock: Option<pipe::fs::Guard>,
}

impl Stage {
    fn open(process: Process, args: &Args) -> Result<Self, StageError> {
        let config = process.config.clone();
        let conf = configured(&config, &process, args)?;
        let (lock, mut db) = open_state(&process)?;
        let now = Time::now().ms();
        let tickets = Tickets::load(&mut db, now)?.map(Arc::new);
        let live = live(config.clone(), conf, args.plain, tickets.clone())?;
        if live.conf.listen.is_none() {
            return Err(StageError::usage("receive needs --listen ADDR"));
        }
        let heard = Heard::default();
        heard.load(&db, now)?;
        let queries = Queries::default();
        queries.load(&db, now)?;
        let carves = Carves::new(process.state().map(|_| config.data.join("carves")));
        carves.load(&db)?;
        let known = Known::new(db, process.state())?;
        let failed = Arc::new(Mutex::new(None));
        let (why, signals) = (failed.clone(), process.signals.clone());
        let to = process.to();
        let state = process.state().cloned().filter(|_| to.is_topic());
        let sink = pipe::Sink::open(&process.name, to, &config, state, process.metrics.clone(), move |e| {
            *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            signals.stop();
        })?;
        let key = server_key(&process)
            .map_err(|e| StageError::state(format!("{}: {e}", config.data.join(server_key::FILE).display())))?;
        let meters = Meters::new(&process.metrics);
        let hub = Hub::new(sink, Remembered { known, heard, queries, carves }, key, meters, live)
            .map_err(|e| StageError::state(format!("no random numbers: {e}")))?;
        Ok(Self { process, args: args.clone(), hub: hub.into(), tickets, failed, _lock: lock })
    }

    fn run(self) -> Result<Exit, StageError> {
        self.process.open_side_door(None)?;
        allow_files(self.hub.limits().connections);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("receive")
            .build()
            .map_err(|e| StageError::state(format!("cannot start threads: {e}")))?;
        let (stop, stopping) = watch::channel(false);
        let address = self
            .process
            .conf
            .as_ref()
            .map(|_| self.process.config.data.join("run").join(format!("{}.addr", self.process.name)));
        let hub = self.hub.clone();
        let signals = self.process.signals.clone();
        let mut serving = runtime.spawn(async move {
            let done = listen(hub, stopping, address.as_deref()).await;
            signals.stop(); // it ends only when it is told to, or when it can't go on
            done
        });
        let mut flushed = Instant::now();
        while !self.process.signals.stopping() {
            self.process.signals.waker.wait(Duration::from_secs(1));
            if self.process.signals.take_reload() {
                self.reload();
            }
            self.hub.look();
            if self.hub.known.db().is_lost() {
                // Another may have had the state meanwhile: what is remembered of it here holds no longer.
                let why = StageError::unreachable("the connection to the state was lost");
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                break;
            }
            if flushed.elapsed() >= FLUSH_EVERY {
                flushed = Instant::now();
                self.flush();
            }
        }
        let _ = stop.send(true);
        let finished = runtime.block_on(async { tokio::time::timeout(FINISH, &mut serving).await });
        self.flush();
        runtime.shutdown_background();
        if let Some(e) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(e);
        }
        match finished {
            Ok(Ok(done)) => done.map(|()| Exit::Done),
            Ok(Err(e)) => Err(StageError::state(format!("the server ended: {e}"))),
            Err(_) => {
                tracing::warn!("some requests did not finish in time");
                Ok(Exit::Done)
            }
        }
    }

    /// All new or all old.
    fn reload(&self) {
        let fail = |why: String| {
            tracing::error!("not reloaded, the last good configuration goes on: {why}");
            self.process.metrics.reload_refused(&why);
        };
        let Some(path) = &self.process.path else { return };
        let config = match Config::load(path, Some(&self.process.config.data)) {
            Ok((config, _)) => Arc::new(config),
            Err(findings) => return fail(format!("\n{}", render(&findings))),
        };
        let conf = configured(&config, &self.process, &self.args);
        match conf.and_then(|conf| live(config.clone(), conf, self.args.plain, self.tickets.clone())) {
            Ok(live) => {
                self.hub.sink.reload(config);
                let before = self.hub.live().conf.listen;
                if live.conf.listen != before {
                    tracing::warn!("`listen` has changed: that takes effect when the stage starts again");
                }
                self.hub.change(live);
                self.process.metrics.reloaded();
                tracing::info!("reloaded");
            }
            Err(e) => fail(e.text),
        }
    }

    fn flush(&self) {
        let (mut db, now) = (self.hub.known.db(), Time::now().ms());
        let flushed = self.hub.heard.flush(&mut db, now);
        let flushed = flushed.and(self.hub.queries.flush(&mut db, now)).and(self.hub.carves.flush(&mut db, now));
        let turned = self.tickets.as_ref().map_or(Ok(()), |tickets| tickets.turn(&mut db, now));
        let tidied = self.hub.santa.tidy(&mut db, now);
        if let Err(e) = flushed.and(turned).and(tidied) {
            tracing::warn!("what was heard is not written down: {e}");
        }
    }
}

/// Every connection is a file; most systems let a process have 1,024 unless it asks for more.
fn allow_files(connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let wanted = connections.saturating_add(FILES_BESIDE) as u64;
    if let Some(files) = getrlimit(Resource::Nofile).current.filter(|files| *files < wanted) {
        tracing::warn!("{connections} connections need {wanted} open files, and the system allows {files}");
    }
}

async fn listen(hub: Arc<Hub>, stop: Stop, file: Option<&Path>) -> Result<(), StageError> {
    let live = hub.live();
    let Some(address) = live.conf.listen else { return Ok(()) };
    if let Some(file) = file {
        let _ = std::fs::remove_file(file); // of a predecessor
    }
    let Some(listener) = listen::bind(address, stop.clone()).await? else { return Ok(()) };
    let bound = listener.local_addr().map_err(|e| StageError::unreachable(format!("{address}: {e}")))?;
    let scheme = if live.tls.is_some() { "https" } else { "http" };
    drop(live);
    if let Some(file) = file {
        listen::write_address(file, bound)?;
    }
    tracing::info!("listens on {scheme}://{bound}");
    serve::run(listener, hub, stop).await;
    if let Some(file) = file {
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

/// The tables, and over them the flags.
fn configured(config: &Config, process: &Process, args: &Args) -> Result<Conf, StageError> {
    let stage = process.conf.as_ref().and_then(|conf| config.stage(&conf.name));
    if process.conf.is_some() && stage.is_none() {
        return Err(StageError::usage(format!("the configuration has no stage `{}` any more", process.name)));
    }
    let wrong = |findings: &[pipe::config::Finding]| StageError::usage(render(findings));
    let mut conf = Conf::read(config, stage.map(|s| &s.settings)).map_err(|f| wrong(&f))?;
    conf.listen = args.listen.or(conf.listen);
    if let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let client_ca = conf.tls.and_then(|files| files.client_ca);
        conf.tls = Some(Files { cert: cert.clone(), key: key.clone(), client_ca });
    }
    if args.plain && conf.listen.is_some_and(|address| !address.ip().is_loopback()) {
        return Err(StageError::usage(
            "--plain is for loopback addresses only: node keys and results would cross the network in the clear",
        ));
    }
    if !args.plain && conf.tls.is_none() {
        return Err(StageError::usage("receive needs --tls-cert and --tls-key, or --plain on a loopback address"));
    }
    Ok(conf)
}

fn live(config: Arc<Config>, conf: Conf, plain: bool, tickets: Option<Arc<Tickets>>) -> Result<Live, StageError> {
    let agents = Agents::new(&config, &conf).map_err(|f| StageError::usage(render(&[f])))?;
    let callers = conf.hooks.open().map_err(|f| StageError::usage(render(&f)))?;
    let tickets = tickets.map(|tickets| tickets as Arc<dyn ProducesTickets>);
    let tls = match &conf.tls {
        Some(files) if !plain => Some(tls::config(files, tickets).map_err(|e| StageError::usage(format!("tls: {e}")))?),
        _ => None,
    };
    let rules = Served::new(&conf.santa);
    Ok(Live { config, conf, agents, rules, callers, tls })
}

/// The tables of `receive.db`, beside those of what it wrote.
pub const SCHEMAS: &[Schema] = &[
    machines::SCHEMA,
    changes::OBEYED,
    live::DELIVERIES,
    carves::SCHEMA,
    munki::SCHEMA,
    santa::SCHEMA,
    pending::SCHEMA,
];

fn open_state(process: &Process) -> Result<(Option<pipe::fs::Guard>, Db), StageError> {
    let Some(home) = process.state() else { return Ok((None, Db::memory(SCHEMAS)?)) };
    let stop = || process.signals.stopping();
    let lock = state::lock(&RealFs::shared(), &process.config.state_lock(home), Some(state::LOCK_WAIT), &stop)?;
    let db = state::open(home, &[&[state::SCHEMA], SCHEMAS].concat(), Some(state::LOCK_WAIT), &stop)?;
    Ok((Some(lock), db))
}

/// A tool at a shell that keeps no state makes no files either: without a key in the data folder nobody can enrol.
fn server_key(process: &Process) -> std::io::Result<registry::enrolments::ServerKey> {
    let data = &process.config.data;
    match process.state() {
        Some(_) => server_key::read_or_make(data),
        None => server_key::read(data)?.map_or_else(server_key::random, Ok),
    }
}
