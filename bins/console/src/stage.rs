//! The process: what is opened in which order, and how it ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipe::cli::{Global, Process, complain};
use pipe::config::{Config, StageKind, render};
use pipe::listen::{self, Stop};
use pipe::{Exit, StageError};
use tokio::sync::watch;

use crate::app::{App, Live};
use crate::conf::Conf;
use crate::oidc::Provider;
use crate::{Args, conf, serve};

/// How long requests in flight may take to finish when it is stopped.
const FINISH: Duration = Duration::from_secs(15);
/// Requests that may wait for the state, the store or a password's hash at the same time.
const THREADS_MAX: usize = 32;

/// See [`crate::run`].
pub fn run(global: &Global, args: &Args) -> Exit {
    if !args.stage.from.is_empty() || args.stage.to.is_some() {
        complain("no line passes the console: --from and --to do not belong here");
        return Exit::Usage;
    }
    let process = match Process::start(StageKind::Console, global, &args.stage) {
        Ok(process) => process,
        Err(exit) => return exit,
    };
    match serving(&process, args) {
        Ok(()) => Exit::Done,
        Err(e) => {
            tracing::error!("{e}");
            e.exit
        }
    }
}

fn serving(process: &Process, args: &Args) -> Result<(), StageError> {
    let live = live(process.config.clone(), process, args)?;
    let address = live.conf.listen.ok_or_else(|| StageError::usage("the console needs --listen ADDR"))?;
    let app = Arc::new(App::new(live));
    process.open_side_door(None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("console")
        .max_blocking_threads(THREADS_MAX)
        .build()
        .map_err(|e| StageError::state(format!("cannot start threads: {e}")))?;
    let (stop, stopping) = watch::channel(false);
    let file = process.config.data.join("run").join(format!("{}.addr", process.name));
    // Whoever tries a console at a shell has no folder that must be written.
    let file = process.conf.is_some().then_some(file);
    let signals = process.signals.clone();
    let (shown, path) = (app.clone(), file.clone());
    let mut served = runtime.spawn(async move {
        let done = listen(shown, address, path.as_deref(), stopping).await;
        signals.stop(); // it ends only when it is told to, or when it can't go on
        done
    });
    while !process.signals.stopping() {
        process.signals.waker.wait(Duration::from_secs(1));
        if process.signals.take_reload() {
            reload(process, args, &app);
        }
    }
    let _ = stop.send(true);
    let ended = runtime.block_on(async { tokio::time::timeout(FINISH, &mut served).await });
    runtime.shutdown_background();
    if let Some(file) = file {
        let _ = std::fs::remove_file(file);
    }
    match ended {
        Ok(Ok(done)) => done,
        Ok(Err(e)) => Err(StageError::state(format!("the server ended: {e}"))),
        Err(_) => Ok(()),
    }
}

async fn listen(
    app: Arc<App>,
    address: std::net::SocketAddr,
    file: Option<&Path>,
    stop: Stop,
) -> Result<(), StageError> {
    let Some(listener) = listen::bind(address, stop.clone()).await? else { return Ok(()) };
    let bound = listener.local_addr().map_err(|e| StageError::unreachable(format!("{address}: {e}")))?;
    if let Some(file) = file {
        listen::write_address(file, bound)?;
    }
    let scheme = if app.live().tls.is_some() { "https" } else { "http" };
    tracing::info!("listens on {scheme}://{bound}");
    if app.registry(registry::users::list).is_ok_and(|users| users.is_empty()) {
        tracing::info!("nobody may sign in yet: `zentral user add NAME` makes a link");
    }
    serve::run(listener, app, stop).await;
    Ok(())
}

/// The table, and over it the flags.
fn live(config: Arc<Config>, process: &Process, args: &Args) -> Result<Live, StageError> {
    let name = process.conf.as_ref().map_or(process.name.as_str(), |conf| conf.name.as_str());
    let table = config.stage(name).filter(|stage| stage.runs(StageKind::Console)).map(|stage| &stage.settings);
    let mut conf = Conf::read(table).map_err(|found| StageError::usage(render(&found)))?;
    if let Some(listen) = args.listen {
        if !listen.ip().is_loopback() && !conf.secure() {
            return Err(StageError::usage(
                "--listen: passwords would cross the network in the clear: give [stage.console] `tls`, or the https `url` of a proxy",
            ));
        }
        conf.listen = Some(listen);
    }
    let tls = conf.tls.as_ref().map(|files| pipe::tls::config(files, conf::CLIENTS)).transpose();
    let tls = tls.map_err(|why| StageError::usage(format!("tls: {why}")))?.map(|(config, _)| Arc::new(config));
    if let Some(Err(why)) = conf.oidc.as_ref().map(|oidc| oidc.secret.resolve()) {
        // It is looked up for each sign-in, so that it may come later; passwords do without.
        tracing::warn!("single sign-on lets nobody in: `secret`: {why}");
    }
    let provider = conf.oidc.clone().map(Provider::new).transpose();
    let provider = provider.map_err(|why| StageError::usage(format!("oidc: {why}")))?.map(Arc::new);
    Ok(Live { config, tls, conf, provider })
}

/// All new or all old.
fn reload(process: &Process, args: &Args, app: &App) {
    let fail = |why: String| {
        tracing::error!("not reloaded, the last good configuration goes on: {why}");
        process.metrics.reload_refused(&why);
    };
    let Some(path) = &process.path else { return };
    let config = match Config::load(path, Some(&process.config.data)) {
        Ok((config, _)) => Arc::new(config),
        Err(findings) => return fail(format!("\n{}", render(&findings))),
    };
    match live(config, process, args) {
        Ok(live) => {
            app.change(live);
            process.metrics.reloaded();
            tracing::info!("reloaded");
        }
        Err(e) => fail(e.text),
    }
}
