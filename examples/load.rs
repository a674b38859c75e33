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
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Time of the records of a pool; those made as they are sent are of now.
const POOL_TIME: u64 = 1_767_686_405;
/// Of so many records one is a USB device that was plugged in.
const ONE_IN: u64 = 100;

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
    let mut to = connect(&cli.address, tls).await;
    let body = json!({"enroll_secret": secret, "host_identifier": "bench-1", "platform_type": "9", "host_details": {
        "system_info": {"hardware_serial": "BENCH0000001", "hostname": "bench-1", "uuid": "4C4C4544-0031-4A10-8052-B5C04F4E3132"},
        "os_version": {"name": "Debian", "platform": "debian", "major": "12", "version": "12"}}});
    let (status, reply) = post(&mut to, "/public/osquery/enroll", Bytes::from(body.to_string()), false).await;
    let key = reply.get("node_key").and_then(Value::as_str).unwrap_or_else(|| panic!("not enrolled: {status} {reply}"));
    println!("{}", json!({ "node_key": key }));
}

/// One connection, one request at a time.
async fn agent(run: Rc<Run>) {
    let cli = &run.cli;
    let mut to = connect(&cli.address, &run.tls).await;
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
            Bytes::from(gzip(&body(n, now(), cli), Compression::fast()))
        } else {
            if run.began.elapsed() >= until {
                return;
            }
            run.next.set(n + 1);
            run.pool[usize::try_from(n % run.pool.len() as u64).unwrap()].clone()
        };
        let asked = Instant::now();
        loop {
            let (status, reply) = post(&mut to, "/public/osquery/log", body.clone(), true).await;
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

fn tls(ca: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(ca).expect("the CA") {
        roots.add(cert.expect("PEM")).expect("a CA");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn connect(address: &str, tls: &TlsConnector) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = tls.connect(name, stream).await.expect("a TLS handshake");
    let (send, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::task::spawn_local(connection);
    send
}

async fn post(to: &mut SendRequest<Full<Bytes>>, path: &str, body: Bytes, gzip: bool) -> (u16, Value) {
    to.ready().await.expect("the server hung up");
    let mut request = Request::post(path)
        .header("host", "localhost")
        .header("user-agent", "osquery/5.23.0")
        .header("content-type", "application/json");
    if gzip {
        request = request.header("content-encoding", "gzip");
    }
    let reply = to.send_request(request.body(Full::new(body)).expect("a request")).await.expect("a reply");
    let status = reply.status().as_u16();
    let bytes = reply.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// The bodies of a file: each its length (u32, little-endian) and its bytes.
fn pool(path: &Path, cli: &Cli) -> Vec<Bytes> {
    if !path.exists() {
        let half = path.with_extension("tmp");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&half).expect("the pool"));
        for n in 0..cli.posts {
            let packed = gzip(&body(n, POOL_TIME, cli), Compression::default());
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

/// The n-th body: about 700 bytes a result, as a fleet's process listing looks: numbers and hashes differ, names repeat.
fn body(n: u64, time: u64, cli: &Cli) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_7f4a_7c15 ^ (n + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut out = format!(r#"{{"node_key":"{}","log_type":"result","data":["#, cli.node_key).into_bytes();
    for i in 0..cli.results {
        let count = n * cli.results + i;
        let (name, more) = if count.is_multiple_of(ONE_IN) {
            ("usb_devices", format!(r#""vendor":"C-Media","model":"USB Audio {}","removable":"1","#, random() % 100))
        } else {
            ("pack_incident-response_process_events", String::new())
        };
        if i > 0 {
            out.push(b',');
        }
        write!(
            out,
            r#"{{"name":"{name}","hostIdentifier":"bench-1","calendarTime":"Tue Jan  6 08:00:05 2026 UTC","unixTime":{time},"epoch":0,"counter":{},"numerics":false,"decorations":{{"host_uuid":"4C4C4544-0031-4A10-8052-B5C04F4E3132","username":"ada"}},"columns":{{{more}"auid":"501","cmdline":"/usr/bin/ssh -o ServerAliveInterval={} -i /Users/ada/.ssh/{:x} {:016x}.example.com","cwd":"\"/Users/ada/src\"","parent":"{}","path":"/usr/bin/ssh","pid":"{}","sha256":"{:016x}{:016x}{:016x}{:016x}","md5":"{:016x}{:016x}","cdhash":"{:016x}{:016x}{:08x}","uid":"501","uptime":"{}"}},"action":"added"}}"#,
            count + 1,
            random() % 1000,
            random(),
            random(),
            random() % 100_000,
            random() % 100_000,
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
            random() >> 32,
            random() % 10_000_000,
        )
        .expect("memory");
    }
    out.extend_from_slice(b"]}");
    out
}
