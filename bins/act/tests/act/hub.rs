//! A data folder, a configuration, and `act` running on them in the real loop. The clock runs a hundred times as fast.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use act::retry::Chance;
use act::{Act, Mode, Options};
use event::Event;
use pipe::config::{Config, Place, StageKind};
use pipe::fs::RealFs;
use pipe::topic::{Kept, Options as TopicOptions, TopicWriter};
use pipe::{Context, Exit, Job, Line, Metrics, Out, Signals, Stage, StageError};
use registry::db::{Db, Home, Schema, Tx};

/// 2026-11-21T19:00:00Z.
pub const START: i64 = 1_795_287_600_000;
/// How much faster the clock runs.
pub const SPEED: i64 = 100;

pub struct Hub {
    pub dir: tempfile::TempDir,
    pub config: Config,
    begun: Instant,
}

/// How a run differs from the usual one.
#[derive(Default, Clone)]
pub struct How {
    pub names: Vec<String>,
    pub mode: Mode,
    /// No state file: between pipes.
    pub memory: bool,
    /// An action that cannot be made ready waits alone.
    pub patient: bool,
    /// Goes on when all is done.
    pub stay: Arc<AtomicBool>,
    /// A configuration to go on with.
    pub reload: Arc<Mutex<Option<Config>>>,
    /// Ends the loop with an error, as a crash would.
    pub kill: Arc<AtomicBool>,
}

pub struct Running {
    pub how: How,
    thread: JoinHandle<Exit>,
    pub metrics: Metrics,
}

impl Running {
    /// Everything is done.
    pub fn join(self) -> Exit {
        self.how.stay.store(false, Ordering::Release);
        self.thread.join().unwrap()
    }

    /// Without goodbye.
    pub fn kill(self) {
        self.how.kill.store(true, Ordering::Release);
        assert_eq!(self.thread.join().unwrap(), Exit::State);
    }

    /// Value of a metric's line that begins so.
    pub fn metric(&self, line: &str) -> f64 {
        let text = String::from_utf8(self.metrics.text()).unwrap();
        let found = text.lines().find(|l| l.starts_with(line) && !l.starts_with('#'));
        found.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }
}

impl Hub {
    /// A configuration of these actions.
    pub fn new(actions: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Self::load(dir.path(), actions);
        Self { dir, config, begun: Instant::now() }
    }

    fn load(dir: &Path, actions: &str) -> Config {
        let path = dir.join("pipeline.toml");
        std::fs::write(&path, format!("version = 1\nurl = \"https://hub.example.com\"\n{actions}")).unwrap();
        match Config::load(&path, None) {
            Ok((config, _)) => config,
            Err(findings) => panic!("{}", pipe::config::render(&findings)),
        }
    }

    pub fn set_actions(&mut self, actions: &str) {
        self.config = Self::load(self.dir.path(), actions);
    }

    pub fn texts(&self) -> act::Texts {
        act::texts_at(self.dir.path().join("pipeline.toml"))
    }

    pub fn now(&self) -> i64 {
        START + i64::try_from(self.begun.elapsed().as_millis()).unwrap() * SPEED
    }

    pub fn state(&self) -> Home {
        self.config.homes().state("act")
    }

    pub fn registry(&self) -> Home {
        self.config.registry()
    }

    /// Appends matches to `topic:matches`.
    pub fn feed(&self, lines: &[String]) {
        let dir = self.config.topic_dir("matches");
        std::fs::create_dir_all(&dir).unwrap();
        let mut topic = TopicWriter::open(RealFs::shared(), &dir, Kept::WholeLines, TopicOptions::default()).unwrap();
        for line in lines {
            topic.append(format!("{line}\n").as_bytes(), 1).unwrap();
        }
        topic.sync().unwrap();
        topic.publish().unwrap();
    }

    pub fn start(&self, how: How) -> Running {
        let begun = self.begun;
        let options = Options {
            names: how.names.clone(),
            memory: how.memory,
            patient: how.patient,
            mode: how.mode,
            registry: Some(self.registry()),
            state: (!how.memory).then(|| self.state()),
            texts: self.texts(),
            clock: Arc::new(move || START + i64::try_from(begun.elapsed().as_millis()).unwrap() * SPEED),
            chance: Chance::seeded(7),
        };
        let metrics = Metrics::new("act");
        let job = Job {
            name: "act".into(),
            kind: StageKind::Act,
            from: vec![Place::Topic("matches".into())],
            // A topic goes with its state: what a memory wrote, no other may go on with.
            to: vec![(!how.memory || self.lines().is_empty()).then(|| Place::Topic("outcomes".into()))],
            state: (!how.memory).then(|| self.state()),
            start: Some("first".into()),
            once: true,
            config: Arc::new(self.config.clone()),
            instance: None,
            reload: None,
            signals: Signals::default(),
            metrics: metrics.clone(),
        };
        let ran = how.clone();
        let thread = std::thread::spawn(move || {
            let mut stage = Watched { act: Act::new(options), how: ran };
            pipe::run(&mut stage, job)
        });
        Running { how, thread, metrics }
    }

    /// Runs until everything is done.
    pub fn run(&self) -> Exit {
        self.start(How::default()).join()
    }

    /// The outcomes so far, oldest first.
    pub fn outcomes(&self) -> Vec<Event> {
        self.lines().iter().map(|line| Event::parse(line.as_bytes()).unwrap()).collect()
    }

    /// What was written, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.config.topic_dir("outcomes"))
            .map(|d| d.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "ndjson")).collect())
            .unwrap_or_default();
        files.sort();
        let text: String = files.iter().map(|f| std::fs::read_to_string(f).unwrap()).collect();
        text.lines().map(str::to_owned).collect()
    }

    /// The outcomes as (type, payload).
    pub fn told(&self) -> Vec<(String, serde_json::Value)> {
        let told = |e: Event| (e.type_.clone(), serde_json::from_str(e.payload.get()).unwrap());
        self.outcomes().into_iter().map(told).collect()
    }

    pub fn dead(&self) -> Vec<serde_json::Value> {
        act::dead::list(self.state(), None, i64::MIN).unwrap()
    }

    /// Counters of the stage's sum: `done`, `ignored repeat`, …
    pub fn sums(&self) -> Vec<(String, u64)> {
        let db = Db::open_read_only(self.state()).unwrap().unwrap();
        let all = pipe::state::counters(&db).unwrap();
        all.into_iter().map(|(name, reason, n)| (format!("{name} {reason}").trim().to_owned(), n)).collect()
    }
}

/// A match: event `id` of probe `usb`, for these actions, received `age_ms` before the start.
pub fn a_match(id: &str, act: &[&str], age_ms: i64) -> String {
    let received = event::Time::from_ms(START - age_ms);
    let act = serde_json::to_string(act).unwrap();
    format!(
        r#"{{"v":1,"id":"{id}","type":"osquery_result","time":"{received}","received":"{received}","source":"osquery","machine":{{"serial_number":"C02","hostname":"ada-mbp","unit":"berlin"}},"probes":[{{"name":"usb","rev":"1f6c09aa","severity":"major","act":{act},"key":"C02","context":{{"title":"USB <b> & *{id}*"}}}}],"payload":{{"name":"usb_devices"}}}}"#
    )
}

/// The same, received just now.
pub fn fresh(id: &str, act: &[&str]) -> String {
    a_match(id, act, 0)
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// An id that no other test has.
pub fn new_id() -> String {
    format!("e-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

struct Watched {
    act: Act,
    how: How,
}

impl Watched {
    fn alive(&self) -> Result<(), StageError> {
        match self.how.kill.load(Ordering::Acquire) {
            true => Err(StageError::state("killed by the test")),
            false => Ok(()),
        }
    }
}

impl Stage for Watched {
    fn schema(&self) -> Option<Schema> {
        self.act.schema()
    }
    fn start(&mut self, context: &Context, state: &mut Tx<'_>) -> Result<(), StageError> {
        self.act.start(context, state)
    }
    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        self.alive()?;
        self.act.batch(lines, out, state)
    }
    fn due(&self) -> bool {
        self.act.due() || self.alive().is_err() || self.how.reload.lock().unwrap().is_some()
    }
    fn idle(&mut self, out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        self.alive()?;
        if let Some(config) = self.how.reload.lock().unwrap().take() {
            self.act.reload(&Arc::new(config))?;
        }
        self.act.idle(out, state)
    }
    fn committed(&mut self) -> Result<(), StageError> {
        self.act.committed()
    }
    fn busy(&self) -> bool {
        self.act.busy() || self.how.stay.load(Ordering::Acquire)
    }
    fn exit(&self) -> Exit {
        self.act.exit()
    }
}
