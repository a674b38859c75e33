//! For `scripts/bench`: agents that send as fast as they are answered, or at a rate, over TLS with verified
//! certificates on kept connections. Every reply must be 200 with a JSON object that is no error, or the run fails.
//!
//! No two bodies are the same: they are made before the clock starts and kept in a file (`--pool`), or, at a rate, made
//! as they are sent. One thread. Prints one JSON object.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for measuring"
)]

use std::cell::{Cell, RefCell};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

mod support;
use support::{body, connect, now, post, tls};

/// Time of the records of a pool; those made as they are sent are of now.
const POOL_TIME: u64 = 1_767_686_405;

#[derive(Parser)]
struct Cli {
    /// Where the server listens
    #[arg(long)]
    address: String,
    /// Whose certificates are believed
    #[arg(long)]
    ca: PathBuf,
    /// Enrol with this secret, print {"node_key"} and end
    #[arg(long)]
    secret: Option<String>,
    /// Who speaks
    #[arg(long, default_value = "k")]
    node_key: String,
    /// Results in a body
    #[arg(long, default_value_t = 50)]
    results: u64,
    /// File of bodies, made if it is not there
    #[arg(long)]
    pool: Option<PathBuf>,
    /// Bodies in the pool
    #[arg(long, default_value_t = 8000)]
    posts: u64,
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// Seconds before counting starts
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// Seconds that count
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// In place of a pool: this many POSTs …
    #[arg(long, default_value_t = 0)]
    total: u64,
    /// … and at most so many a second; a busy server is asked again
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
}

struct Run {
    cli: Cli,
    tls: TlsConnector,
    pool: Vec<Bytes>,
    began: Instant,
    next: Cell<u64>,
    counted: Cell<u64>,
    busy: Cell<u64>,
    waits: RefCell<Vec<u32>>,
}

fn main() {
    let cli = Cli::parse();
    let pool = match &cli.pool {
        Some(path) => pool(path, &cli),
        None => Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let tls = tls(&cli.ca);
    local.block_on(&runtime, async move {
        if let Some(secret) = &cli.secret {
            return enrol(&cli, &tls, secret).await;
        }
        let (next, counted, busy) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let run = Run { tls, pool, began: Instant::now(), next, counted, busy, waits: RefCell::default(), cli };
        let run = Rc::new(run);
        let mut agents = Vec::new();
        for _ in 0..run.cli.connections {
            agents.push(tokio::task::spawn_local(agent(run.clone())));
        }
        for agent in agents {
            agent.await.expect("an agent failed");
        }
        report(&run);
    });
}

async fn enrol(cli: &Cli, tls: &TlsConnector, secret: &str) {
    let mut to = connect(&cli.address, tls).await.expect("a connection");
    let body = json!({"enroll_secret": secret, "host_identifier": "bench-1", "platform_type": "9", "host_details": {
        "system_info": {"hardware_serial": "BENCH0000001", "hostname": "bench-1", "uuid": "4C4C4544-0031-4A10-8052-B5C04F4E3132"},
        "os_version": {"name": "Debian", "platform": "debian", "major": "12", "version": "12"}}});
    let (status, reply) =
        post(&mut to, "/public/osquery/enroll", Bytes::from(body.to_string()), false).await.expect("a reply");
    let key = reply.get("node_key").and_then(Value::as_str).unwrap_or_else(|| panic!("not enrolled: {status} {reply}"));
    println!("{}", json!({ "node_key": key }));
}

/// One connection, one request at a time.
async fn agent(run: Rc<Run>) {
    let cli = &run.cli;
    let mut to = connect(&cli.address, &run.tls).await.expect("a connection");
    let from = Duration::from_secs_f64(cli.warm);
    let until = from + Duration::from_secs_f64(cli.seconds);
    loop {
        let n = run.next.get();
        let body = if cli.total > 0 {
            if n >= cli.total {
                return;
            }
            run.next.set(n + 1);
            tokio::time::sleep_until((run.began + Duration::from_secs_f64(n as f64 / cli.rate)).into()).await;
            Bytes::from(gzip(&body(n, now(), &cli.node_key, cli.results), Compression::fast()))
        } else {
            if run.began.elapsed() >= until {
                return;
            }
            run.next.set(n + 1);
            run.pool[usize::try_from(n % run.pool.len() as u64).unwrap()].clone()
        };
        let asked = Instant::now();
        loop {
            let (status, reply) = post(&mut to, "/public/osquery/log", body.clone(), true).await.expect("a reply");
            if cli.total > 0 && status == 503 {
                run.busy.set(run.busy.get() + 1);
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            let good = status == 200 && reply.as_object().is_some_and(|o| o.is_empty());
            assert!(good, "POST {n}: {status} {reply}");
            break;
        }
        let at = run.began.elapsed();
        if cli.total > 0 || (at >= from && at < until) {
            run.counted.set(run.counted.get() + 1);
            run.waits.borrow_mut().push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
}

fn report(run: &Run) {
    let mut waits = run.waits.borrow_mut();
    waits.sort_unstable();
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).map_or(0.0, |us| f64::from(*us) / 1000.0);
    let seconds = if run.cli.total > 0 { run.began.elapsed().as_secs_f64() } else { run.cli.seconds };
    let posts = run.counted.get();
    // More POSTs than the pool has would be the same records again.
    let rounds = if run.pool.is_empty() { 0.0 } else { run.next.get() as f64 / run.pool.len() as f64 };
    println!(
        "{}",
        json!({"posts": posts, "results": posts * run.cli.results, "sent": run.next.get(), "seconds": seconds,
            "posts_s": posts as f64 / seconds, "busy": run.busy.get(), "pool_rounds": rounds,
            "ms_p50": at(0.5), "ms_p99": at(0.99)})
    );
}

/// The bodies of a file: each its length (u32, little-endian) and its bytes.
fn pool(path: &Path, cli: &Cli) -> Vec<Bytes> {
    if !path.exists() {
        let half = path.with_extension("tmp");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&half).expect("the pool"));
        for n in 0..cli.posts {
            let packed = gzip(&body(n, POOL_TIME, &cli.node_key, cli.results), Compression::default());
            file.write_all(&u32::try_from(packed.len()).unwrap().to_le_bytes()).expect("room");
            file.write_all(&packed).expect("room");
        }
        file.flush().expect("room");
        std::fs::rename(half, path).expect("the pool");
    }
    let mut all = Vec::new();
    std::fs::File::open(path).and_then(|mut f| f.read_to_end(&mut all)).expect("the pool");
    let mut all = Bytes::from(all);
    let mut bodies = Vec::new();
    while !all.is_empty() {
        let length = u32::from_le_bytes(all.split_to(4).as_ref().try_into().unwrap());
        bodies.push(all.split_to(length as usize));
    }
    bodies
}

fn gzip(plain: &[u8], level: Compression) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), level);
    to.write_all(plain).expect("memory");
    to.finish().expect("memory")
}
