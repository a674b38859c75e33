//! For `scripts/bench`: Santa's clients, each in sync with the rules that are for it, that ask for one stage as fast as
//! they are answered. Bodies are zlib streams as Santa sends them. Every reply must be 200 and hold what that stage
//! gives, or the run fails; with `--bare` any 200 will do. One thread. Prints one JSON object.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for measuring"
)]

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

#[allow(dead_code, reason = "others use the rest")]
mod support;
use support::{Connection, connect, now, post_as, tls};

/// Bodies of `eventupload` that a client has; after the last one comes the first again.
const UPLOADS: usize = 200;

#[derive(Parser)]
struct Cli {
    /// Where the server listens
    #[arg(long)]
    address: String,
    /// Whose certificates are believed
    #[arg(long)]
    ca: PathBuf,
    /// Of an enrolment for Santa
    #[arg(long)]
    secret: String,
    /// What is asked for
    #[arg(long)]
    stage: Stage,
    /// Rules that are for everybody
    #[arg(long, default_value_t = 10)]
    rules: usize,
    /// Events of an upload
    #[arg(long, default_value_t = 50)]
    events: usize,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds before counting starts
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// Seconds that count
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The server knows nothing of Santa
    #[arg(long)]
    bare: bool,
}

#[derive(Clone, Copy, ValueEnum, PartialEq)]
enum Stage {
    Preflight,
    Ruledownload,
    Eventupload,
}

struct Run {
    cli: Cli,
    tls: TlsConnector,
    began: Cell<Instant>,
    ready: Cell<usize>,
    counted: Cell<u64>,
    sent: Cell<u64>,
    waits: RefCell<Vec<u32>>,
}

fn main() {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let tls = tls(&cli.ca);
    local.block_on(&runtime, async move {
        let (ready, counted, sent) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let began = Cell::new(Instant::now());
        let run = Rc::new(Run { tls, began, ready, counted, sent, waits: RefCell::default(), cli });
        let clients: Vec<_> =
            (0..run.cli.connections).map(|n| tokio::task::spawn_local(client(run.clone(), n))).collect();
        for client in clients {
            client.await.expect("a client failed");
        }
        report(&run);
    });
}

/// One machine on one connection.
async fn client(run: Rc<Run>, n: usize) {
    let cli = &run.cli;
    let mut to = connect(&cli.address, &run.tls).await.expect("a connection");
    let id = format!("4C4C4544-0031-4A10-8052-{n:012X}");
    let path = |stage: &str| format!("/public/santa/sync/{}/{stage}/{id}", cli.secret);
    if !cli.bare {
        sync(&mut to, &path, n, cli).await;
    }
    let (stage, bodies) = match cli.stage {
        Stage::Preflight => ("preflight", vec![packed(&preflight(n, cli.rules, false))]),
        Stage::Ruledownload => ("ruledownload", vec![packed(&json!({"machine_id": id}))]),
        Stage::Eventupload => {
            ("eventupload", (0..UPLOADS).map(|k| packed(&upload(&id, n * UPLOADS + k, cli.events))).collect())
        }
    };
    if cli.stage == Stage::Ruledownload && !cli.bare {
        // All of them are due again, and again after each time that nobody says that they have come.
        ask(&mut to, &path("preflight"), packed(&preflight(n, cli.rules, true))).await;
    }
    let path = path(stage);
    run.ready.set(run.ready.get() + 1);
    while run.ready.get() < cli.connections {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if n == 0 {
        run.began.set(Instant::now());
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let from = Duration::from_secs_f64(cli.warm);
    let until = from + Duration::from_secs_f64(cli.seconds);
    for body in bodies.iter().cycle() {
        let asked = Instant::now();
        let reply = ask(&mut to, &path, body.clone()).await;
        if !cli.bare {
            check(cli, &reply);
        }
        run.sent.set(run.sent.get() + 1);
        let at = run.began.get().elapsed();
        if at >= until {
            return;
        }
        if at >= from {
            run.counted.set(run.counted.get() + 1);
            run.waits.borrow_mut().push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
}

/// A whole sync, after which the machine has all the rules and the hub knows it.
async fn sync(to: &mut Connection, path: &impl Fn(&str) -> String, n: usize, cli: &Cli) {
    ask(to, &path("preflight"), packed(&preflight(n, 0, true))).await;
    let (mut got, mut cursor) = (0, Value::Null);
    loop {
        let page = ask(to, &path("ruledownload"), packed(&json!({ "cursor": cursor }))).await;
        got += page["rules"].as_array().map_or(0, Vec::len);
        cursor = page["cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(got, cli.rules, "rules of the first sync");
    ask(to, &path("postflight"), packed(&json!({"rules_received": got, "rules_processed": got}))).await;
}

async fn ask(to: &mut Connection, path: &str, body: Bytes) -> Value {
    let (status, reply) = post_as(to, path, body, Some("deflate"), "santactl-sync/2025.6").await.expect("a reply");
    assert_eq!(status, 200, "{path}: {reply}");
    reply
}

fn check(cli: &Cli, reply: &Value) {
    let good = match cli.stage {
        Stage::Preflight => reply.get("sync_type").is_some_and(|kind| kind == "NORMAL"),
        Stage::Ruledownload => reply["rules"].as_array().is_some_and(|rules| rules.len() == cli.rules),
        Stage::Eventupload => reply.is_object(),
    };
    assert!(good, "{reply}");
}

fn preflight(n: usize, rules: usize, clean: bool) -> Value {
    json!({"serial_num": format!("SNTB{n:08}"), "hostname": format!("mac-{n}.example.com"), "os_version": "15.5", "os_build": "24F74",
        "model_identifier": "Mac15,12", "santa_version": "2025.6", "primary_user": "ada", "client_mode": "MONITOR",
        "binary_rule_count": rules, "request_clean_sync": clean, "machine_id": format!("4C4C4544-0031-4A10-8052-{n:012X}")})
}

/// As Santa tells of programs that ran: paths, hashes and times differ, signers repeat.
fn upload(id: &str, n: usize, events: usize) -> Value {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ (n as u64 + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut hash = move || format!("{:016x}{:016x}{:016x}{:016x}", random(), random(), random(), random());
    let certificate = |name: &str, digit: char| {
        json!({"sha256": digit.to_string().repeat(64), "cn": name, "org": "Example Corp", "ou": "ABCDE12345",
            "valid_from": 1_719_792_000, "valid_until": 1_877_558_400})
    };
    let time = now() as f64;
    let event = |i: usize| {
        let sha = hash();
        json!({"file_sha256": sha, "file_path": format!("/Applications/Tool {}.app/Contents/MacOS", &sha[..6]), "file_name": "tool",
            "executing_user": "ada", "execution_time": time + i as f64 / 1000.0, "loggedin_users": ["ada"], "current_sessions": ["ada@console"],
            "decision": "ALLOW_UNKNOWN", "pid": 500 + i, "ppid": 1, "parent_name": "launchd", "team_id": "ABCDE12345",
            "signing_id": "ABCDE12345:com.example.tool", "cdhash": &hash()[..40], "file_bundle_id": "com.example.tool",
            "file_bundle_name": "Tool", "file_bundle_version": "1.2", "file_bundle_version_string": "1.2",
            "quarantine_timestamp": 0, "signing_chain": [certificate("Developer ID Application: Example Corp", 'a'),
                certificate("Developer ID Certification Authority", 'b'), certificate("Apple Root CA", 'c')]})
    };
    json!({"events": (0..events).map(event).collect::<Vec<_>>(), "machine_id": id})
}

fn packed(body: &Value) -> Bytes {
    let mut to = ZlibEncoder::new(Vec::new(), Compression::default());
    to.write_all(body.to_string().as_bytes()).expect("memory");
    Bytes::from(to.finish().expect("memory"))
}

fn report(run: &Run) {
    let mut waits = run.waits.borrow_mut();
    waits.sort_unstable();
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).map_or(0.0, |us| f64::from(*us) / 1000.0);
    println!(
        "{}",
        json!({"requests": run.counted.get(), "sent": run.sent.get(), "requests_s": run.counted.get() as f64 / run.cli.seconds,
            "ms_p50": at(0.5), "ms_p99": at(0.99)})
    );
}
