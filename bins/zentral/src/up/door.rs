//! What answers for the whole pipeline: `/metrics` of all stages under one address, and the socket that `status` asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pipe::config::{Config, Metrics, StageKind, is_name};
use pipe::ops::{self, Answer, Ask, At};
use registry::db::Db;
use sha2::{Digest as _, Sha256};

use super::merge::Families;
use super::shown::{self, State, Up};
use crate::status;

/// How long a stage may take to tell its metrics.
const STAGE_TIMEOUT: Duration = Duration::from_secs(3);
/// After what time an address that is taken is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How old what `status` found may be.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How old what the console is told may be: a person who looks again wants to see what has changed.
const TELL_AGAIN: Duration = Duration::from_secs(2);
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; version=0.0.4";

/// A report, and when it was made.
type Told = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

/// What the answering threads see.
#[derive(Debug, Default)]
struct Picture {
    up: Option<Up>,
    /// The configuration in force, for sockets and the bearer.
    config: Option<Arc<Config>>,
    /// What `status` found last, and when.
    found: Arc<Mutex<Option<(Instant, String)>>>,
    /// What it told the console last, and when.
    told: Told,
    /// The same of the probes.
    probes: Told,
}

/// The supervisor's side of it.
#[derive(Debug)]
pub struct Door {
    picture: Arc<Mutex<Picture>>,
    /// Addresses that answer; one that the configuration no longer names answers 404.
    open: BTreeSet<String>,
    opened: Option<(String, String)>,
    try_at: Option<Instant>,
    said: bool,
}

impl Door {
    /// Opens the socket.
    pub fn open(config: &Config) -> std::io::Result<Self> {
        let picture = Arc::new(Mutex::new(Picture::default()));
        let seen = picture.clone();
        ops::serve(&At::Unix(shown::socket(&config.data)), Arc::new(move |ask| private(&look(&seen), ask)))?;
        Ok(Self { picture, open: BTreeSet::new(), opened: None, try_at: None, said: false })
    }

    /// The address of the metrics, once it is open.
    pub fn address(&self) -> Option<String> {
        self.opened.as_ref().map(|(_, name)| name.clone())
    }

    /// Shows what is the case now.
    pub fn show(&self, up: Up, config: &Arc<Config>) {
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        (picture.up, picture.config) = (Some(up), Some(config.clone()));
    }

    /// Opens the address of the metrics if it is not open yet; when to call again, if that failed.
    pub fn keep(&mut self, wanted: Option<&Metrics>) -> Option<Instant> {
        let Some(wanted) = wanted else {
            self.opened = None;
            return None;
        };
        if self.opened.as_ref().is_some_and(|(address, _)| *address == wanted.listen) {
            return None;
        }
        if self.open.contains(&wanted.listen) {
            // It was left and is taken up again.
            self.opened = Some((wanted.listen.clone(), wanted.listen.clone()));
            return None;
        }
        if self.try_at.is_some_and(|at| at > Instant::now()) {
            return self.try_at;
        }
        let (seen, address) = (self.picture.clone(), wanted.listen.clone());
        match ops::serve(&At::Tcp(address.clone()), Arc::new(move |ask| public(&look(&seen), &address, ask))) {
            Ok(name) => {
                tracing::info!("metrics on http://{name}/metrics");
                self.open.insert(wanted.listen.clone());
                self.opened = Some((wanted.listen.clone(), name));
                (self.try_at, self.said) = (None, false);
            }
            Err(e) => {
                if !self.said {
                    let every = TRY_AGAIN.as_secs();
                    tracing::error!("metrics on {}: {e}; tried again every {every} s", wanted.listen);
                }
                (self.try_at, self.said) = (Some(Instant::now() + TRY_AGAIN), true);
            }
        }
        self.try_at
    }
}

fn look(picture: &Mutex<Picture>) -> Picture {
    let picture = picture.lock().unwrap_or_else(PoisonError::into_inner);
    Picture {
        up: picture.up.clone(),
        config: picture.config.clone(),
        found: picture.found.clone(),
        told: picture.told.clone(),
        probes: picture.probes.clone(),
    }
}

/// On the socket, which only this user can open.
fn private(picture: &Picture, ask: &Ask) -> Option<Answer> {
    match ask.path.as_str() {
        "/status" => {
            let up = picture.up.as_ref()?;
            Some((200, JSON, serde_json::to_vec(up).ok()?))
        }
        "/metrics" => Some((200, TEXT, metrics(picture))),
        "/report" => Some((200, JSON, told(&picture.told, TELL_AGAIN, picture, status::told)?)),
        "/probes" => Some((200, JSON, told(&picture.probes, LOOK_AGAIN, picture, status::told_of_probes)?)),
        "/ready" => Some(health(picture)),
        _ => None,
    }
}

/// What `zentral status --json` prints, or with `--probes` adds, for the console: `{"records":[…]}`. Whoever asks again
/// within `again` is told the same.
fn told(told: &Told, again: Duration, picture: &Picture, tell: fn(&Config, Option<&Up>) -> Vec<u8>) -> Option<Vec<u8>> {
    let (up, config) = (picture.up.as_ref()?, picture.config.as_ref()?);
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, text)) = told.as_ref().filter(|(at, _)| at.elapsed() < again) {
        return Some(text.clone());
    }
    let text = tell(config, Some(up));
    *told = Some((Instant::now(), text.clone()));
    Some(text)
}

/// On the address of the metrics.
fn public(picture: &Picture, address: &str, ask: &Ask) -> Option<Answer> {
    let wanted = picture.config.as_ref()?.metrics.as_ref().filter(|m| m.listen == address)?;
    match ask.path.as_str() {
        "/healthz" => Some(health(picture)),
        "/metrics" => {
            if let Some(bearer) = &wanted.bearer {
                match bearer.resolve() {
                    Err(why) => {
                        tracing::error!("metrics: the bearer: {why}");
                        return Some((503, JSON, b"{\"error\":\"the bearer cannot be read\"}".to_vec()));
                    }
                    Ok(bearer) => match &ask.bearer {
                        None => return Some((401, JSON, b"{\"error\":\"a bearer is needed\"}".to_vec())),
                        Some(shown) if !same(shown, &bearer) => {
                            return Some((403, JSON, b"{\"error\":\"another bearer is needed\"}".to_vec()));
                        }
                        Some(_) => {}
                    },
                }
            }
            Some((200, TEXT, metrics(picture)))
        }
        _ => None,
    }
}

/// Whether two secrets are equal, in a time that does not tell where they differ: their hashes are compared.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.iter().zip(b.iter()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// 200 while every stage runs or starts again by itself.
fn health(picture: &Picture) -> Answer {
    let stages = picture.up.as_ref().map(|up| up.stages.as_slice()).unwrap_or_default();
    let ill = |s: &&shown::Stage| s.state == State::Failed || (s.state == State::Waiting && s.next.is_none());
    let ill: Vec<&str> = stages.iter().filter(ill).map(|s| s.name.as_str()).collect();
    let ready = ill.is_empty() && !stages.is_empty();
    let body = serde_json::json!({"ready": ready, "failed": ill});
    (if ready { 200 } else { 503 }, JSON, format!("{body}\n").into_bytes())
}

/// The metrics of all stages that run, asked at the same time, and the supervisor's own.
fn metrics(picture: &Picture) -> Vec<u8> {
    let (Some(up), Some(config)) = (&picture.up, &picture.config) else { return Vec::new() };
    let mut all = Families::default();
    std::thread::scope(|threads| {
        let running = up.stages.iter().filter(|s| s.pid.is_some());
        let asked: Vec<_> =
            running.map(|s| threads.spawn(|| ops::get(&config.socket(&s.name), "/metrics", STAGE_TIMEOUT))).collect();
        for answer in asked {
            if let Ok(Ok((200, body))) = answer.join() {
                all.add(&String::from_utf8_lossy(&body));
            }
        }
    });
    all.drop(STAGE_UP); // of a stage that does not answer nobody else would say so
    all.add(&own(up));
    all.add(&machines(config));
    let found = found(picture, up, config);
    if found.contains(&format!("\n{}{{", status::LAG_LINES)) {
        all.drop(status::LAG_LINES);
    }
    all.add(&found);
    all.text()
}

/// What `status` finds. Looking costs as much as `zentral status` does, so whoever asks more often is told the same again.
fn found(picture: &Picture, up: &Up, config: &Config) -> String {
    let mut found = picture.found.lock().unwrap_or_else(PoisonError::into_inner);
    match found.as_ref().filter(|(at, _)| at.elapsed() < LOOK_AGAIN) {
        Some((_, text)) => text.clone(),
        None => {
            let text = status::gauges(config, up);
            *found = Some((Instant::now(), text.clone()));
            text
        }
    }
}

/// Series of [`machines`] at most; what agents say of their platform must not fill the memory of whoever asks.
const MACHINES_MAX: i64 = 500;

/// How many machines have enrolled, from the state of `receive`: this family is told where all stages are.
fn machines(config: &Config) -> String {
    let name = "zentral_machines";
    let mut text = format!("# HELP {name} Machines that have enrolled.\n# TYPE {name} gauge\n");
    let Some(stage) = config.stages.iter().find(|s| s.runs(StageKind::Receive)) else { return text };
    let sql = "SELECT source, COALESCE(platform, ''), unit, COUNT(*) FROM machines GROUP BY source, platform, unit \
               ORDER BY COUNT(*) DESC LIMIT $1";
    let rows = match Db::open_read_only(config.state(stage)) {
        // Before the first machine there is neither file nor table.
        Ok(Some(db)) => db.query(sql, &[MACHINES_MAX.into()]).unwrap_or_default(),
        _ => Vec::new(),
    };
    let mut counts: BTreeMap<[String; 3], u64> = BTreeMap::new();
    for row in &rows {
        let word = |i| match row.text(i) {
            "" => "unknown".to_owned(),
            text if is_name(text) => text.to_owned(),
            _ => "other".to_owned(),
        };
        *counts.entry([word(0), word(1), word(2)]).or_default() += row.uint(3);
    }
    for ([source, platform, unit], n) in counts {
        text.push_str(&format!("{name}{{source=\"{source}\",platform=\"{platform}\",unit=\"{unit}\"}} {n}\n"));
    }
    text
}

const STAGE_UP: &str = "zentral_stage_up";

fn own(up: &Up) -> String {
    let mut text = format!("# HELP {STAGE_UP} 1 while the stage runs.\n# TYPE {STAGE_UP} gauge\n");
    for s in &up.stages {
        let running = u8::from(s.state == State::Running);
        text.push_str(&format!("{STAGE_UP}{{stage=\"{}\"}} {running}\n", s.name));
    }
    let name = "zentral_stage_restarts_total";
    text.push_str(&format!("# HELP {name} Starts after an end nobody asked for.\n# TYPE {name} counter\n"));
    for s in &up.stages {
        text.push_str(&format!("{name}{{stage=\"{}\"}} {}\n", s.name, s.restarts));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use event::Time;

    fn stage(name: &str, state: State, next: Option<Time>) -> shown::Stage {
        let (kind, since) = ("act".to_owned(), None);
        shown::Stage { name: name.into(), kind, state, pid: None, restarts: 3, since, next, last_exit: None }
    }

    fn picture(bearer: &str, stages: Vec<shown::Stage>) -> Picture {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("pipeline.toml");
        std::fs::write(&main, format!("version = 1\n[metrics]\nlisten = \"here:1\"\n{bearer}")).unwrap();
        let (config, _) = Config::load(&main, Some(dir.path())).expect("it is right");
        let up = Up { pid: 1, since: Time::from_ms(0), config: String::new(), refused: None, metrics: None, stages };
        Picture {
            up: Some(up),
            config: Some(config.into()),
            found: Arc::default(),
            told: Arc::default(),
            probes: Arc::default(),
        }
    }

    #[test]
    fn who_may_see_metrics() {
        let check = |bearer: &str, address: &str, shown: Option<&str>, want: u16| {
            let picture = picture(bearer, vec![stage("a", State::Failed, None)]);
            let ask = Ask {
                method: "GET".into(),
                path: "/metrics".into(),
                query: String::new(),
                bearer: shown.map(str::to_owned),
            };
            let answer = public(&picture, address, &ask).unwrap_or((404, "", Vec::new()));
            assert_eq!(answer.0, want, "{bearer} {shown:?}");
            let text = String::from_utf8(answer.2).unwrap();
            assert_eq!(text.contains("zentral_stage_restarts_total{stage=\"a\"} 3"), want == 200, "{text}");
        };
        check("", "here:1", None, 200);
        check("", "there:1", None, 404);
        check("bearer = \"s3cret\"", "here:1", None, 401);
        check("bearer = \"s3cret\"", "here:1", Some("s3creu"), 403);
        check("bearer = \"s3cret\"", "here:1", Some("s3cret"), 200);
        check("bearer = { file = \"/nonexistent\" }", "here:1", Some("x"), 503);
    }

    #[test]
    fn machines_are_counted_by_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("pipeline.toml");
        std::fs::write(&main, "version = 1\n[stage.receive]\nto = \"topic:raw\"\n").unwrap();
        let (config, _) = Config::load(&main, None).unwrap();
        let series = || machines(&config).lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
        assert!(series().is_empty(), "nobody has enrolled");
        std::fs::create_dir_all(dir.path().join("data/state")).unwrap();
        let mut db = Db::open(&dir.path().join("data/state/receive.db"), &[registry::machines::SCHEMA]).unwrap();
        let sql = "INSERT INTO machines (source, key, platform, unit, tags, enrolment, node_key, enrolled, last_seen) \
                   VALUES ('osquery', $1, $2, 'berlin', '', 'e', $3, 0, 0)";
        let mut tx = db.begin().unwrap();
        for (key, platform) in [("a", "macos"), ("b", "macos"), ("c", "x\"}\n"), ("d", "")] {
            tx.execute(sql, &[key.into(), platform.into(), key.as_bytes().into()]).unwrap();
        }
        tx.commit().unwrap();
        let line = |platform: &str, n: u32| {
            format!("zentral_machines{{source=\"osquery\",platform=\"{platform}\",unit=\"berlin\"}} {n}")
        };
        assert_eq!(series(), [line("macos", 2), line("other", 1), line("unknown", 1)]);
    }

    #[test]
    fn health_is_about_what_does_not_heal() {
        let check = |stages: Vec<shown::Stage>, want: u16| assert_eq!(health(&picture("", stages)).0, want);
        let soon = Some(Time::from_ms(1));
        check(vec![stage("a", State::Running, None), stage("b", State::Waiting, soon)], 200);
        check(vec![stage("a", State::Running, None), stage("b", State::Waiting, None)], 503);
        check(vec![stage("a", State::Failed, None)], 503);
        check(vec![], 503);
    }
}
