//! For `scripts/bench`: a fleet of osquery hosts. Each has its own kept TLS connection, enrols, asks for its
//! configuration, and then sends a log POST of one result, asks for live queries and asks for its configuration, each at
//! its own pace from a random moment on. One thread. Prints one JSON object.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for measuring"
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

mod support;
use support::{Connection, body, connect, now, post, tls};

#[derive(Parser)]
struct Cli {
    /// Where the server listens
    #[arg(long)]
    address: String,
    /// Whose certificates are believed
    #[arg(long)]
    ca: PathBuf,
    /// The enrolment secret
    #[arg(long)]
    secret: String,
    #[arg(long, default_value_t = 10_000)]
    hosts: u64,
    /// Seconds within which all hosts start
    #[arg(long, default_value_t = 1.0)]
    storm: f64,
    /// Seconds that count, once all are enrolled
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Seconds between two log POSTs, two questions for live queries, two for the configuration
    #[arg(long, default_value_t = 10.0)]
    log: f64,
    #[arg(long, default_value_t = 60.0)]
    read: f64,
    #[arg(long, default_value_t = 300.0)]
    config: f64,
}

struct Fleet {
    cli: Cli,
    tls: TlsConnector,
    began: Instant,
    enrolled: Cell<u64>,
    /// When the last one was enrolled.
    ready: Cell<Option<Instant>>,
    results: Cell<u64>,
    again: Cell<u64>,
    waits: RefCell<BTreeMap<&'static str, Vec<u32>>>,
    random: Cell<u64>,
}

fn main() {
    let cli = Cli::parse();
    let (tls, began) = (tls(&cli.ca), Instant::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let fleet = Rc::new(Fleet {
        tls,
        began,
        enrolled: Cell::new(0),
        ready: Cell::new(None),
        results: Cell::new(0),
        again: Cell::new(0),
        waits: RefCell::default(),
        random: Cell::new(0x9e37_79b9_7f4a_7c15),
        cli,
    });
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let hosts: Vec<_> = (0..fleet.cli.hosts).map(|n| tokio::task::spawn_local(host(fleet.clone(), n))).collect();
        for host in hosts {
            host.await.expect("a host failed");
        }
    });
    fleet.report();
}

/// The life of one host.
async fn host(fleet: Rc<Fleet>, n: u64) {
    tokio::time::sleep(Duration::from_secs_f64(fleet.cli.storm * fleet.share())).await;
    let mut to = None;
    let details = json!({"system_info": {"hardware_serial": format!("FLEET{n:07}"), "hostname": format!("host-{n}"),
        "uuid": format!("4C4C4544-0031-4A10-8052-{n:012X}")}, "os_version": {"name": "Debian", "platform": "debian",
        "major": "12", "version": "12"}});
    let enrol = json!({"enroll_secret": fleet.cli.secret, "host_identifier": format!("host-{n}"), "platform_type": "9",
        "host_details": details});
    let told = fleet.ask(&mut to, "enroll", Bytes::from(enrol.to_string())).await;
    let key = told.get("node_key").and_then(Value::as_str).unwrap_or_else(|| panic!("not enrolled: {told}")).to_owned();
    let who = Bytes::from(json!({"node_key": key}).to_string());
    fleet.enrolled.set(fleet.enrolled.get() + 1);
    if fleet.enrolled.get() == fleet.cli.hosts {
        fleet.ready.set(Some(Instant::now()));
    }
    fleet.ask(&mut to, "config", who.clone()).await;
    let every = [fleet.cli.log, fleet.cli.read, fleet.cli.config];
    let mut due = every.map(|every| fleet.began.elapsed().as_secs_f64() + every * fleet.share());
    let mut posts = n << 24;
    loop {
        let (what, at) = (0..3).map(|i| (i, due[i])).min_by(|l, r| l.1.total_cmp(&r.1)).unwrap();
        tokio::time::sleep_until((fleet.began + Duration::from_secs_f64(at)).into()).await;
        if fleet.ready.get().is_some_and(|ready| ready.elapsed().as_secs_f64() > fleet.cli.seconds) {
            return;
        }
        due[what] = at + every[what];
        match what {
            0 => {
                posts += 1;
                let told = fleet.ask(&mut to, "log", Bytes::from(body(posts, now(), &key, 1))).await;
                assert!(told.as_object().is_some_and(|o| o.is_empty()), "log: {told}");
                fleet.results.set(fleet.results.get() + 1);
            }
            1 => _ = fleet.ask(&mut to, "distributed/read", who.clone()).await,
            _ => _ = fleet.ask(&mut to, "config", who.clone()).await,
        }
    }
}

impl Fleet {
    /// From 0 to 1.
    fn share(&self) -> f64 {
        let mut seed = self.random.get();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.random.set(seed);
        (seed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Asks until there is an answer, as an agent does; the time is of the request that was answered, with its connection
    /// if that had to be made.
    async fn ask(&self, to: &mut Option<Connection>, what: &'static str, body: Bytes) -> Value {
        loop {
            let asked = Instant::now();
            match self.try_ask(to, what, body.clone()).await {
                Some((200, told)) => {
                    if what == "enroll" || self.ready.get().is_some() {
                        let us = u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX);
                        self.waits.borrow_mut().entry(what).or_default().push(us);
                    }
                    return told;
                }
                Some((503, _)) => {}
                Some((status, told)) => panic!("{what}: {status} {told}"),
                None => *to = None,
            }
            self.again.set(self.again.get() + 1);
            tokio::time::sleep(Duration::from_secs_f64(0.5 + self.share())).await;
        }
    }

    async fn try_ask(&self, to: &mut Option<Connection>, what: &str, body: Bytes) -> Option<(u16, Value)> {
        if to.is_none() {
            *to = Some(connect(&self.cli.address, &self.tls).await.ok()?);
        }
        post(to.as_mut()?, &format!("/public/osquery/{what}"), body, false).await.ok()
    }

    fn report(&self) {
        let mut kinds = serde_json::Map::new();
        for (kind, waits) in self.waits.borrow_mut().iter_mut() {
            waits.sort_unstable();
            let at = |share: f64| {
                let place = ((waits.len() as f64 * share) as usize).min(waits.len() - 1);
                f64::from(waits[place]) / 1000.0
            };
            let told = json!({"requests": waits.len(), "ms_p50": at(0.5), "ms_p99": at(0.99), "ms_p999": at(0.999),
                "ms_max": at(1.0)});
            kinds.insert((*kind).to_owned(), told);
        }
        let ready = self.ready.get().map(|ready| (ready - self.began).as_secs_f64());
        println!(
            "{}",
            json!({"hosts": self.cli.hosts, "enrolled_s": ready, "again": self.again.get(),
                "results": self.results.get(), "kinds": kinds})
        );
    }
}
