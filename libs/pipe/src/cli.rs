//! What every command line has: the global flags, the flags of a stage, and how a stage's process is set up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ColorChoice};
use registry::db::Home;

use crate::config::{Config, Files, Finding, Place, StageConf, StageKind, process_name, render};
use crate::log::LogFormat;
use crate::run::Job;
use crate::{Exit, Metrics, Signals, StageError, log, notify, ops, wrong};

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration [default: ./pipeline.toml, else /etc/zentral/pipeline.toml]
    #[arg(short, long, global = true, value_name = "FILE", env = "ZENTRAL_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Data folder, in place of the configuration's
    #[arg(long, global = true, value_name = "DIR", env = "ZENTRAL_DATA", hide_env_values = true)]
    pub data: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "ZENTRAL_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    pub log: String,
    /// How it is logged
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Colour on a terminal (also off with NO_COLOR)
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub color: ColorChoice,
    /// State and topics stay in files, whatever the configuration says: for a try on a data folder of its own.
    #[arg(long, global = true, hide = true)]
    pub state_in_files: bool,
}

impl Global {
    /// Starts logging under this name.
    pub fn start_log(&self, name: &str) {
        let color = match self.color {
            ColorChoice::Always => Some(true),
            ColorChoice::Never => Some(false),
            ColorChoice::Auto => std::env::var_os("NO_COLOR").filter(|v| !v.is_empty()).map(|_| false),
        };
        log::init(name, &self.log, self.log_format, color);
    }

    /// The configuration file that holds, if there is one.
    pub fn config_path(&self) -> Option<PathBuf> {
        let standard = ["pipeline.toml", "/etc/zentral/pipeline.toml"];
        self.config.clone().or_else(|| standard.into_iter().map(PathBuf::from).find(|p| p.exists()))
    }

    /// The configuration; none is as good as an empty one. Findings are printed.
    pub fn load(&self) -> Result<Config, Exit> {
        self.load_with_files().map(|(config, _)| config)
    }

    /// The configuration for whoever asks or orders a hub that runs: of the files or, where they are broken, the last
    /// good copy of them, which is what `up` runs meanwhile. What judges or runs the files takes [`Global::load`].
    pub fn load_or_last_good(&self) -> Result<Config, Exit> {
        let last_good = |path: &Path, findings: &[Finding]| {
            let (config, _) = Config::last_good(path, self.data.as_deref()).filter(|_| !self.state_in_files)?;
            // One line: who is in the middle of something else hears where it is, and `check` draws it.
            let first = findings.first().map(Finding::to_string).unwrap_or_default();
            let first = first.lines().next().unwrap_or_default();
            tracing::warn!("the configuration is wrong, so the last good copy of it answers: {first}");
            Some(config)
        };
        self.read(last_good).map(|(config, _)| config)
    }

    /// The configuration and the files that it was read from.
    pub fn load_with_files(&self) -> Result<(Config, Option<Files>), Exit> {
        self.read(|_, _| None)
    }

    /// The same; `instead` may have another configuration where the files are wrong.
    fn read(&self, instead: impl FnOnce(&Path, &[Finding]) -> Option<Config>) -> Result<(Config, Option<Files>), Exit> {
        let Some(path) = self.config_path() else { return Ok((Config::empty(self.data.as_deref()), None)) };
        match Config::load(&path, self.data.as_deref()) {
            Ok((mut config, files)) => {
                if self.state_in_files {
                    config.keep_to_files().map_err(|why| {
                        complain(&why);
                        Exit::Usage
                    })?;
                }
                Ok((config, Some(files)))
            }
            Err(findings) => match instead(&path, &findings) {
                Some(config) => Ok((config, None)),
                None => {
                    complain(&render(&findings));
                    Err(Exit::Usage)
                }
            },
        }
    }
}

/// Text for people, on stderr.
pub fn complain(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Flags that every stage takes.
#[derive(Debug, Clone, Default, Args)]
pub struct StageArgs {
    /// Read from: -, topic:NAME or kafka:NAME; may be repeated [default: -]
    #[arg(long, value_name = "IN")]
    pub from: Vec<String>,
    /// Write to: -, topic:NAME or kafka:NAME [default: -]
    #[arg(long, value_name = "OUT")]
    pub to: Option<String>,
    /// Keep position and state under this name in the data folder
    #[arg(long = "as", value_name = "NAME")]
    pub as_: Option<String>,
    /// Where to start without a position: first, last or an age such as 7d [default: first]
    #[arg(long, value_name = "first|last|AGE")]
    pub start: Option<String>,
    /// Stop at the end of the input that exists now
    #[arg(long)]
    pub once: bool,
    /// Serve Prometheus metrics on this address
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// Run this stage of the configuration
    #[arg(long, hide = true, value_name = "NAME")]
    pub stage: Option<String>,
    /// Which of several instances of the stage this is
    #[arg(long, hide = true, value_name = "N", requires = "stage")]
    pub instance: Option<u32>,
    /// End when stdin ends: the supervisor holds its other end
    #[arg(long, hide = true)]
    pub supervised: bool,
}

/// A stage's process as far as it is the same for all stages.
pub struct Process {
    /// Name of the stage.
    pub name: String,
    /// Its table, if it runs as a stage of the configuration.
    pub conf: Option<StageConf>,
    /// The configuration.
    pub config: Arc<Config>,
    /// The file (or copy) that it was read from.
    pub path: Option<PathBuf>,
    /// Stop and reload.
    pub signals: Signals,
    /// Its metrics.
    pub metrics: Metrics,
    from: Vec<Place>,
    to: Option<Place>,
    state: Option<Home>,
    args: StageArgs,
}

impl Process {
    /// Reads flags and configuration, starts log and signals. What is wrong has been said when an exit code comes back.
    pub fn start(kind: StageKind, global: &Global, args: &StageArgs) -> Result<Self, Exit> {
        let name = args.stage.clone().or_else(|| args.as_.clone()).unwrap_or_else(|| kind.word().to_owned());
        Self::of(&[kind], name, global, args)
    }

    /// The same for a stage of the configuration that runs several programs joined.
    pub fn start_joined(kinds: &[StageKind], name: &str, global: &Global, args: &StageArgs) -> Result<Self, Exit> {
        Self::of(kinds, name.to_owned(), global, args)
    }

    fn of(kinds: &[StageKind], name: String, global: &Global, args: &StageArgs) -> Result<Self, Exit> {
        global.start_log(&process_name(&name, args.instance));
        let config = global.load()?;
        Self::with(kinds, name, config, global, args).map_err(|e| {
            tracing::error!("{e}");
            e.exit
        })
    }

    fn with(
        kinds: &[StageKind],
        name: String,
        config: Config,
        global: &Global,
        args: &StageArgs,
    ) -> Result<Self, StageError> {
        let (mut state, mut conf) = (None, None);
        let (mut from, to);
        if let Some(stage) = &args.stage {
            let missing = || StageError::usage(format!("the configuration has no stage `{stage}`"));
            let found = config.stage(stage).ok_or_else(missing)?.clone();
            if found.kinds != kinds {
                let words = crate::config::words(kinds);
                return Err(StageError::usage(format!("stage `{stage}` is no `{words}`")));
            }
            state = Some(config.state(&found));
            (from, to) = (found.from.clone(), found.to.clone());
            conf = Some(found);
        } else {
            let place = |text: &String| Place::parse(text).map_err(StageError::usage);
            from = args.from.iter().map(place).collect::<Result<_, _>>()?;
            if from.is_empty()
                && !kinds.iter().any(|kind| matches!(kind, StageKind::Receive | StageKind::Pull | StageKind::Console))
            {
                from.push(Place::Standard);
            }
            let output = |text: &String| Place::output(text).map_err(StageError::usage);
            to = Some(args.to.as_ref().map_or(Ok(Place::Standard), output)?);
            if let Some(name) = &args.as_ {
                if !crate::config::is_name(name) {
                    return Err(StageError::usage(format!("`{name}` is no name ([a-z0-9][a-z0-9-]{{0,62}})")));
                }
                state = Some(config.homes().state(name));
            }
        }
        let touches_disk = state.is_some() || from.iter().chain(&to).any(|p| p.topic().is_some());
        if touches_disk {
            registry::folder::make_private(&config.data)
                .map_err(|e| StageError::state(format!("{}: {e}", config.data.display())))?;
            if crate::is_network(&config.data) {
                return Err(StageError::state(format!("{} lies on a network file system", config.data.display())));
            }
        }
        let signals = Signals::listen().map_err(|e| StageError::state(format!("signals: {e}")))?;
        if args.supervised {
            signals.follow_stdin().map_err(|e| StageError::state(format!("stdin: {e}")))?;
        }
        let (config, path) = (Arc::new(config), global.config_path());
        let metrics = Metrics::new(&process_name(&name, args.instance));
        Ok(Self { name, conf, config, path, signals, metrics, from, to, state, args: args.clone() })
    }

    /// Opens the side door: the socket of a stage of the configuration, and the address of `--metrics`. `extra`
    /// answers what is none of `/ready`, `/metrics` and `/wrong`.
    pub fn open_side_door(&self, extra: Option<ops::Handler>) -> Result<(), StageError> {
        let metrics = self.metrics.clone();
        let handler: ops::Handler = Arc::new(move |ask| match ask.path.as_str() {
            "/metrics" => Some((200, "text/plain; version=0.0.4", metrics.text())),
            "/ready" => Some((200, "application/json", b"{\"ready\":true}\n".to_vec())),
            wrong::PATH => {
                Some((200, "application/json", serde_json::to_vec(&metrics.wrong.all()).unwrap_or_default()))
            }
            _ => extra.as_ref().and_then(|extra| extra(ask)),
        });
        let mut doors = Vec::new();
        if self.conf.is_some() {
            doors.push(ops::At::Unix(self.config.socket(&self.shown())));
        }
        doors.extend(self.args.metrics.clone().map(ops::At::Tcp));
        for door in doors {
            let name = ops::serve(&door, handler.clone())
                .map_err(|e| StageError::unreachable(format!("side door {door:?}: {e}")))?;
            tracing::debug!("metrics on {name}");
        }
        if !self.args.supervised {
            notify::tell("READY=1");
        }
        Ok(())
    }

    /// What it is called in metrics, logs and at its socket: of one of several instances `STAGE-N`.
    pub fn shown(&self) -> String {
        process_name(&self.name, self.args.instance)
    }

    /// Where `receive` writes to.
    pub fn to(&self) -> &Place {
        self.to.as_ref().unwrap_or(&Place::Standard)
    }

    /// Its state, if it keeps one.
    pub fn state(&self) -> Option<&Home> {
        self.state.as_ref()
    }

    /// Whether it stops at the end of what is there now.
    pub fn once(&self) -> bool {
        self.args.once
    }

    /// What the loop is to run on; `outputs` are the places of the stage's outputs after the main one.
    pub fn job(&self, kind: StageKind, main: Option<Place>, others: &[Option<Place>]) -> Job {
        // Without --as a reader of a topic commits nothing: its state is memory.
        Job {
            name: self.name.clone(),
            kind,
            instance: self.args.instance,
            from: self.from.clone(),
            to: std::iter::once(main).chain(others.iter().cloned()).collect(),
            state: self.state.clone(),
            start: self.args.start.clone().or_else(|| self.conf.as_ref().and_then(|c| c.start.clone())),
            once: self.args.once,
            config: self.config.clone(),
            reload: self.path.clone(),
            signals: self.signals.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// The place of the main output: of the stage's table (may be none), or `--to`, or stdout.
    pub fn main_output(&self) -> Option<Place> {
        self.to.clone()
    }
}
