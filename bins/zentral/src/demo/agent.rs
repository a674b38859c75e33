//! Simulated osquery agents: they enrol, fetch their configuration, and send what is in `lines`, as osquery 5 does.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use event::Time;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, Way};
use super::inventory;
use super::lines::{Platform, Record, Sender};
use super::scratch::UNITS;

/// Records of one body.
const BODY_RECORDS: usize = 40;
/// The pause between two bodies: an agent has other things to do.
const PAUSE: Duration = Duration::from_millis(150);
/// The pause between two bodies of an agent that has caught up.
const LIVE_PAUSE: Duration = Duration::from_secs(4);
/// How often a request is made before the agent gives up, and the longest pause before it is made again.
const TRIES: u32 = 20;
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

const ENROLL: &str = "/public/osquery/enroll";
const CONFIG: &str = "/public/osquery/config";
const LOG: &str = "/public/osquery/log";

/// The machines: name, what it runs, its unit (an index of [`UNITS`]).
const FLEET: [(&str, Platform, usize); 6] = [
    ("ada-mbp", Platform::Mac, 0),
    ("grace-mbp", Platform::Mac, 0),
    ("bench-mini", Platform::Mac, 1),
    ("web-01", Platform::Linux, 0),
    ("build-01", Platform::Linux, 0),
    ("laser-cutter", Platform::Linux, 1),
];

/// What all agents did so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Agents that got a node key.
    pub enrolled: AtomicU64,
    /// Requests that were answered.
    pub posts: AtomicU64,
    /// Events that must be stored: of distinct records that were answered with success.
    pub events: AtomicU64,
    /// Records without a time that were sent again because no answer came: each may be stored twice (design § 2).
    pub unsure: AtomicU64,
}

impl Tally {
    fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The value of a counter.
    pub fn of(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// One agent.
pub struct Agent {
    host: &'static str,
    serial: String,
    secret: String,
    node_key: String,
    client: Client,
    sender: Sender,
    tally: Arc<Tally>,
}

impl Agent {
    /// All of them; `secrets` by unit.
    pub fn fleet(way: &Way, secrets: &[(&str, String)], tally: &Arc<Tally>) -> Vec<Self> {
        let made = FLEET.iter().zip(1..).filter_map(|((host, platform, unit), n)| {
            let unit = UNITS.get(*unit)?;
            let (_, secret) = secrets.iter().find(|(name, _)| name == unit)?;
            let uuid = format!("6B1F0E52-93C4-5D11-8E27-0A4F3B0C9D{n:02X}");
            Some(Self {
                host,
                serial: format!("ZDEMO{n:05}"),
                secret: secret.clone(),
                node_key: String::new(),
                client: Client::new(way),
                sender: Sender { uuid, platform: *platform, queries: HashMap::new() },
                tally: tally.clone(),
            })
        });
        made.collect()
    }

    /// How many matches all of them will bring about with what they have to send at first.
    pub fn matches_expected() -> usize {
        FLEET.iter().map(|(_, platform, _)| platform.matches()).sum()
    }

    /// Enrols and sends all there is.
    pub async fn catch_up(&mut self) -> Result<(), String> {
        self.try_to_catch_up().await.map_err(|why| format!("agent {}: {why}", self.host))
    }

    async fn try_to_catch_up(&mut self) -> Result<(), String> {
        self.enrol().await?;
        self.configure().await?;
        let records = self.sender.all(Time::now())?;
        for (i, body) in records.chunks(BODY_RECORDS).enumerate() {
            self.log("result", body).await?;
            if i == 0 {
                // The answer was lost on its way, as far as this agent knows: the same records come once more.
                self.repeat("result", body).await?;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let status = self.sender.status(Time::now());
        self.log("status", &status).await?;
        let (_, os) = self.system();
        let inventory = inventory::record(&self.sender, self.host, &self.serial, &os, Time::now());
        self.log("result", &[inventory]).await
    }

    /// Goes on with a few records every few seconds, until it is dropped or the hub knows it no more.
    pub async fn go_on(&mut self) -> Result<(), String> {
        // Each begins somewhere else, so that they do not all say the same.
        let mut n = self.serial.bytes().last().map_or(0, usize::from);
        loop {
            tokio::time::sleep(LIVE_PAUSE).await;
            n += 1;
            let records = self.sender.some(n, Time::now())?;
            self.log("result", &records).await.map_err(|why| format!("agent {}: {why}", self.host))?;
        }
    }

    /// What the machine is called.
    pub fn host(&self) -> &str {
        self.host
    }

    /// Sends one more result of now, of a probe's query or the one of this name.
    pub async fn tell(&mut self, query: &str, mut result: Value) -> Result<(), String> {
        let name = self.sender.queries.get(query).map_or(query, String::as_str);
        if let Some(result) = result.as_object_mut() {
            result.insert("name".to_owned(), name.into());
            result.insert("hostIdentifier".to_owned(), self.sender.uuid.as_str().into());
            result.insert("unixTime".to_owned(), (Time::now().ms() / 1000).into());
        }
        let record = Record { text: result.to_string(), events: 1, timed: true };
        self.log("result", &[record]).await.map_err(|why| format!("agent {}: {why}", self.host))
    }

    /// The mask of its platform, and its system.
    fn system(&self) -> (&'static str, Value) {
        match self.sender.platform {
            Platform::Mac => {
                ("21", json!({"name": "macOS", "version": "15.1.1", "platform": "darwin", "platform_like": "darwin"}))
            }
            Platform::Linux => {
                ("9", json!({"name": "Ubuntu", "version": "24.04", "platform": "ubuntu", "platform_like": "debian"}))
            }
        }
    }

    async fn enrol(&mut self) -> Result<(), String> {
        let (mask, os) = self.system();
        let request = json!({
            "enroll_secret": self.secret, "host_identifier": self.sender.uuid, "platform_type": mask,
            "host_details": {
                "os_version": os,
                "osquery_info": {"version": "5.23.0"},
                "system_info": {
                    "hardware_serial": self.serial, "uuid": self.sender.uuid, "hostname": self.host,
                    "computer_name": self.host,
                },
            },
        });
        let (answer, _) = self.post(ENROLL, false, request.to_string().into()).await?;
        let key = answer.get("node_key").and_then(Value::as_str).ok_or_else(|| format!("not enrolled: {answer}"))?;
        self.node_key = key.to_owned();
        Tally::add(&self.tally.enrolled, 1);
        Ok(())
    }

    /// Learns the names of the queries it is to run.
    async fn configure(&mut self) -> Result<(), String> {
        let request = json!({"node_key": self.node_key}).to_string();
        let (answer, _) = self.post(CONFIG, false, request.into()).await?;
        let schedule = answer.get("schedule").and_then(Value::as_object).ok_or("a configuration without a schedule")?;
        let probe_of =
            |name: &String| Some((name.strip_prefix("zentral/")?.split('/').next()?.to_owned(), name.clone()));
        self.sender.queries = schedule.keys().filter_map(probe_of).collect();
        Ok(())
    }

    async fn log(&mut self, kind: &str, records: &[Record]) -> Result<(), String> {
        let resent = self.send(kind, records).await?;
        let untimed = records.iter().filter(|r| !r.timed).map(|r| r.events).sum::<usize>();
        Tally::add(&self.tally.unsure, untimed * resent);
        Tally::add(&self.tally.events, records.iter().map(|r| r.events).sum());
        Ok(())
    }

    async fn repeat(&mut self, kind: &str, records: &[Record]) -> Result<(), String> {
        if records.iter().any(|r| !r.timed) {
            return Err("the first body holds records without a time: those would be stored twice".into());
        }
        self.send(kind, records).await.map(drop)
    }

    /// One log body; how often it was sent again because no answer came.
    async fn send(&mut self, kind: &str, records: &[Record]) -> Result<usize, String> {
        // Built by hand: the records go as they are, as an agent sends them.
        let data: Vec<&str> = records.iter().map(|r| r.text.as_str()).collect();
        let body = format!(
            "{{\"node_key\":{},\"log_type\":\"{kind}\",\"data\":[{}]}}",
            Value::from(self.node_key.as_str()),
            data.join(",")
        );
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let body = gzip.write_all(body.as_bytes()).and_then(|()| gzip.finish()).map_err(|e| e.to_string())?;
        self.post(LOG, true, body.into()).await.map(|(_, resent)| resent)
    }

    /// Asks until the answer is a success: a JSON object without `error` (protocols § 1.1). How often nothing was heard
    /// before comes back, too.
    async fn post(&mut self, path: &str, gzip: bool, body: Bytes) -> Result<(Value, usize), String> {
        let (mut why, mut unheard) = (String::new(), 0);
        for n in 1..=TRIES {
            match self.client.send(Method::POST, path, gzip, body.clone()).await {
                Ok((status, answer)) => {
                    Tally::add(&self.tally.posts, 1);
                    match serde_json::from_slice::<Value>(&answer) {
                        Ok(said) if said.get("node_invalid").and_then(Value::as_bool) == Some(true) => {
                            return Err(format!("{path}: the hub does not know this agent"));
                        }
                        Ok(said) if said.is_object() && said.get("error").is_none() => return Ok((said, unheard)),
                        _ => why = format!("{path}: {status} {}", String::from_utf8_lossy(&answer)),
                    }
                }
                Err(error) => {
                    unheard += 1;
                    why = format!("{path}: {error}");
                }
            }
            tokio::time::sleep((Duration::from_millis(50) * n * n).min(RETRY_PAUSE_MAX)).await;
        }
        Err(why)
    }
}
