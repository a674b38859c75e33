//! A cluster that fails in every way: nothing is lost, nothing stands twice, and it goes on by itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Order};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pipe::Exit;

use super::*;
use crate::stores::Around;

/// What becomes of one request with events.
#[derive(Clone, Copy)]
enum Fault {
    /// The connection is closed before an answer.
    Drop,
    /// The server gets it, and half of its answer comes back.
    Cut,
    /// This status in place of the server.
    Status(u16),
    /// The server gets it, and of every three documents one is told to be 429 and one 503.
    Parts,
}

/// Stands before a server; requests with events meet these faults, one after the other, then none.
struct Proxy {
    address: String,
    faults: Arc<Mutex<Vec<Fault>>>,
    bulks: Arc<AtomicUsize>,
    /// Whether nothing is answered.
    down: Arc<AtomicBool>,
}

impl Proxy {
    fn before(server: &Server, faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let faults: Arc<Mutex<Vec<Fault>>> = Arc::new(Mutex::new(faults.iter().rev().copied().collect()));
        let bulks = Arc::new(AtomicUsize::new(0));
        let to = server.target.hosts[0].strip_prefix("http://").unwrap().to_owned();
        let (left, seen) = (faults.clone(), bulks.clone());
        let down = Arc::new(AtomicBool::new(false));
        let is_down = down.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten().filter(|_| !is_down.load(Order::SeqCst)) {
                let (to, left, seen) = (to.clone(), left.clone(), seen.clone());
                std::thread::spawn(move || one(client, &to, &left, &seen));
            }
        });
        Self { address, faults, bulks, down }
    }
}

/// One request; the connection ends with it.
fn one(mut client: TcpStream, to: &str, faults: &Mutex<Vec<Fault>>, bulks: &AtomicUsize) -> Option<()> {
    let mut request = Vec::new();
    let head = loop {
        let mut part = [0; 65536];
        let n = client.read(&mut part).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&part[..n]);
        if let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length =
        text.lines().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse::<usize>().ok()).unwrap_or(0);
    while request.len() < head + length {
        let mut part = [0; 65536];
        let n = client.read(&mut part).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&part[..n]);
    }
    let bulk = text.lines().next().is_some_and(|first| first.contains("/_bulk"));
    bulks.fetch_add(usize::from(bulk), Order::SeqCst);
    let fault = if bulk { faults.lock().unwrap().pop() } else { None };
    match fault {
        Some(Fault::Drop) => return None,
        Some(Fault::Status(status)) => {
            let body = r#"{"error":{"type":"made_up","reason":"a test"},"status":0}"#;
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            client.write_all(answer.as_bytes()).ok()?;
            return None;
        }
        Some(Fault::Cut | Fault::Parts) | None => {}
    }
    let mut server = TcpStream::connect(to).ok()?;
    let head_text = String::from_utf8_lossy(&request[..head]).into_owned();
    let closing = head_text.trim_end().to_owned() + "\r\nConnection: close\r\n\r\n";
    server.write_all(closing.as_bytes()).ok()?;
    server.write_all(&request[head..]).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    if matches!(fault, Some(Fault::Parts)) {
        let documents = request[head..].iter().filter(|byte| **byte == b'\n').count() / 2;
        let item = |i: usize| match i % 3 {
            0 => r#"{"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}}"#,
            1 => r#"{"index":{"status":503,"error":{"type":"unavailable_shards_exception","reason":"red"}}}"#,
            _ => r#"{"index":{"status":201}}"#,
        };
        let body = format!("{{\"items\":[{}]}}", (0..documents).map(item).collect::<Vec<_>>().join(","));
        let told = format!(
            "HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        return client.write_all(told.as_bytes()).ok();
    }
    let whole = if fault.is_some() { answer.len() * 2 / 3 } else { answer.len() };
    client.write_all(&answer[..whole]).ok()
}

fn lines(n: usize) -> Vec<String> {
    (0..n)
        .map(|i| event(&format!("n{i:04}"), "2026-11-21T10:00:00.000Z", &format!("\"payload\":{{\"n\":{i}}}")))
        .collect()
}

fn store(cluster: &mut Cluster, lines: &[String]) -> Vec<Verdict> {
    cluster.store(&lines.iter().map(String::as_bytes).collect::<Vec<_>>(), now()).unwrap()
}

fn count(server: &Server) -> u64 {
    server.refresh();
    server.store().finder().unwrap().count(&all("")).unwrap().0
}

#[test]
fn what_fails_is_sent_again_and_stands_once() {
    use Fault::{Cut, Drop, Parts, Status};
    for server in servers().chain(streams()) {
        let faults = [
            Drop,
            Cut,
            Status(429),
            Parts,
            Status(503),
            Parts,
            Status(502),
            Status(401),
            Status(413),
            Status(413),
            Cut,
            Drop,
            Status(500),
        ];
        let proxy = Proxy::before(&server, &faults);
        let mut cluster = server.store_at(&Target { hosts: vec![proxy.address.clone()], ..server.target.clone() });
        let metrics = pipe::Metrics::new("elastic");
        cluster.start(&Around { metrics: metrics.clone(), stop: Arc::new(|| false) });
        assert!(store(&mut cluster, &lines(700)).iter().all(|v| *v == Verdict::Stored));
        assert!(proxy.faults.lock().unwrap().is_empty() && proxy.bulks.load(Order::SeqCst) > faults.len());
        assert_eq!(count(&server), 700);
        let shown = String::from_utf8(metrics.text()).unwrap();
        for metric in
            ["zentral_store_waiting{", "reason=\"lost\"", "reason=\"busy\"", "reason=\"denied\"", "status=\"429\""]
        {
            assert!(shown.contains(metric), "{metric}: {shown}");
        }
        let waiting = shown.lines().find(|l| l.starts_with("zentral_store_waiting{")).unwrap();
        assert!(waiting.ends_with(" 0"), "{waiting}");
        // A single document that is too large for the cluster is refused, not tried for ever.
        proxy.faults.lock().unwrap().push(Status(413));
        let verdicts = store(&mut cluster, &[event("big", "2026-11-21T10:00:00.000Z", "\"payload\":{}")]);
        assert!(matches!(&verdicts[0], Verdict::NotTaken(why) if why.contains("longer")), "{verdicts:?}");
    }
}

/// Minutes, shortened: whatever is asked, nobody answers. People see it, and it goes on by itself.
#[test]
fn a_cluster_that_is_down_is_waited_for_and_seen() {
    for server in servers() {
        let proxy = Proxy::before(&server, &[]);
        let target = Target { hosts: vec![proxy.address.clone()], ..server.target.clone() };
        let metrics = pipe::Metrics::new("elastic");
        let waiting = |metrics: &pipe::Metrics| {
            let shown = String::from_utf8(metrics.text()).unwrap();
            shown.lines().any(|line| line.starts_with("zentral_store_waiting{") && line.ends_with(" 1"))
        };
        let mut cluster = server.store_at(&target);
        let finder = cluster.finder().unwrap();
        cluster.start(&Around { metrics: metrics.clone(), stop: Arc::new(|| false) });
        // Before the template is there, and in the middle.
        for round in 1..=2 {
            proxy.down.store(true, Order::SeqCst);
            let done = AtomicBool::new(false);
            std::thread::scope(|threads| {
                let storing = threads.spawn(|| {
                    let verdicts = store(&mut cluster, &lines(round * 300));
                    done.store(true, Order::SeqCst);
                    verdicts
                });
                std::thread::sleep(Duration::from_secs(4));
                assert!(!done.load(Order::SeqCst) && waiting(&metrics));
                assert!(matches!(finder.count(&all("")), Err(SearchError::Io(_))), "a search says so at once");
                proxy.down.store(false, Order::SeqCst);
                assert!(storing.join().unwrap().iter().all(|v| *v == Verdict::Stored));
            });
            assert!(!waiting(&metrics));
            assert_eq!(count(&server), round as u64 * 300);
        }
    }
}

/// What somebody wrote into the template is theirs; what it does not take is refused with the cluster's reason.
#[test]
fn a_template_changed_by_hand_costs_what_it_does_not_take() {
    for server in servers() {
        let mut cluster = server.store();
        cluster.setup(None).unwrap();
        let path = format!("/_index_template/{}", template::name(&server.names));
        let mut body = template::template(&server.names, server.flavour, Shape::default());
        body["template"]["mappings"]["properties"]["machine"]["properties"]["unit"] = json!({"type": "integer"});
        server.json(Method::Put, &path, Some(&body));
        let mut given = lines(500);
        given[77] = event("odd", "2026-11-21T10:00:00.000Z", r#""machine":{"unit":"berlin"}"#);
        let verdicts = store(&mut cluster, &given);
        let refused: Vec<_> = verdicts.iter().enumerate().filter(|(_, v)| **v != Verdict::Stored).collect();
        assert!(matches!(refused.as_slice(), [(77, Verdict::NotTaken(why))] if why.contains("unit")), "{refused:?}");
        assert_eq!(count(&server), 499);
        let left = server.json(Method::Get, &path, None).to_string();
        assert!(left.contains("\"integer\""), "it is left as it is: {left}");
    }
}

#[test]
fn one_in_a_thousand_at_odds_with_a_mapping_is_refused_with_its_reason() {
    for server in servers() {
        let mapping = json!({"mappings": {"properties": {"machine": {"properties": {"unit": {"type": "integer"}}}}}});
        let mut cluster = server.store();
        cluster.setup(None).unwrap();
        // The template gives the rest of the index; this is what somebody did by hand.
        server.json(Method::Put, &format!("/{}", server.names.of(now())), Some(&mapping));
        let about = |i: usize, unit: &str| {
            event(&format!("n{i:04}"), "2026-11-21T10:00:00.000Z", &format!(r#""machine":{{"unit":"{unit}"}}"#))
        };
        let given: Vec<String> = (0..1000).map(|i| about(i, if i == 617 { "berlin" } else { "7" })).collect();
        let verdicts = store(&mut cluster, &given);
        let refused: Vec<_> = verdicts.iter().enumerate().filter(|(_, v)| **v != Verdict::Stored).collect();
        assert!(matches!(refused.as_slice(), [(617, Verdict::NotTaken(why))] if why.contains("unit")), "{refused:?}");
        assert_eq!(count(&server), 999);
    }
}

#[test]
fn a_read_only_index_and_a_red_one_are_waited_for() {
    for server in servers() {
        let index = server.names.of(now());
        let mut cluster = server.store();
        cluster.setup(None).unwrap();
        let settings = |name: &str, value: Value| {
            server.json(Method::Put, &format!("/{index}/_settings"), Some(&json!({name: value})));
        };
        // No node has this name: the index has no shards that work.
        let nowhere = json!({"settings": {"index.routing.allocation.require._name": "nobody"}});
        server.json(Method::Put, &format!("/{index}?wait_for_active_shards=0"), Some(&nowhere));
        let waits = |cluster: &mut Cluster, lines: &[String], name: &str| {
            let done = AtomicBool::new(false);
            std::thread::scope(|threads| {
                let storing = threads.spawn(|| {
                    let verdicts = store(cluster, lines);
                    done.store(true, Order::SeqCst);
                    verdicts
                });
                std::thread::sleep(Duration::from_millis(1500));
                assert!(!done.load(Order::SeqCst), "{name}: it cannot have been stored");
                settings(name, Value::Null);
                assert!(storing.join().unwrap().iter().all(|v| *v == Verdict::Stored));
            });
        };
        waits(&mut cluster, &lines(10), "index.routing.allocation.require._name");
        assert_eq!(count(&server), 10);
        // What a full disk does to every index.
        settings("index.blocks.read_only_allow_delete", json!(true));
        waits(&mut cluster, &lines(20), "index.blocks.read_only_allow_delete");
        assert_eq!(count(&server), 20);
    }
}

#[test]
fn a_store_that_waits_stops_when_it_is_told_to() {
    // Nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = Target { hosts: vec![format!("http://{free}")], login: Login::Nobody, ca: None, client: None };
    let names = Names::parse("t-%Y.%m.%d").unwrap();
    let mut cluster = Cluster::new(target, Flavour::Elasticsearch, names, Shape::default(), 365 * DAY);
    let begun = Instant::now();
    let stop = move || begun.elapsed() > Duration::from_secs(3);
    cluster.start(&Around { metrics: pipe::Metrics::new("elastic"), stop: Arc::new(stop) });
    let error = cluster.store(&[lines(1)[0].as_bytes()], now()).unwrap_err();
    assert_eq!(error.exit, Exit::Done, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(matches!(cluster.finder().unwrap().count(&all("")), Err(SearchError::Io(_))));
}
