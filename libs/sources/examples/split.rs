//! What a log POST costs from compressed body to raw lines, against the plain way without ids, checks or times:
//! gunzip, `&RawValue` items by serde_json, a constant prefix and the record. `cargo run --release -p sources --example split`
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench for people")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Machine, Time};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use sources::{Desk, Enrolment, MachineFacts, NoRoom, Request, Sink, Source, Speaker, Unavailable, osquery};

const RECORDS: usize = 50;
const ROUNDS: usize = 10;
const BEST_OF: usize = 2_000;

fn main() {
    let plain = body();
    let packed = gzip(&plain);
    println!("{RECORDS} records, {} bytes, {} compressed", plain.len(), packed.len());
    let only = best(|| gunzip(&packed).len());
    let naive = best(|| naive(&gunzip(&packed)).len());
    let (desk, mut sink) = (Fleet, Topic(Vec::new()));
    let ours = best(|| {
        let reply = osquery::SOURCE.answer(&request(), &mut &packed[..], &desk, &mut sink);
        assert_eq!(reply.records, RECORDS);
        sink.0.len()
    });
    let ids = best(|| {
        let text = &plain[..670];
        (0..RECORDS as i64).map(|i| event::id::event_id(i, "osquery", "C02XL0AAJGH5", black_box(text), 0).len()).sum()
    });
    for (name, time) in
        [("ids alone", ids), ("gunzip alone", only), ("gunzip, serde_json RawValue, lines", naive), ("ours", ours)]
    {
        let us = time.as_secs_f64() * 1e6;
        println!(
            "{name:36} {us:7.1} µs a POST {:6.2} µs a record {:5.2} ×",
            us / RECORDS as f64,
            us / (naive.as_secs_f64() * 1e6)
        );
    }
}

/// The best of several: the machine is shared, and whatever else runs only adds.
fn best(mut run: impl FnMut() -> usize) -> Duration {
    let times = (0..BEST_OF).map(|_| {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(run());
        }
        start.elapsed() / ROUNDS as u32
    });
    times.min().unwrap()
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

fn naive(plain: &[u8]) -> Vec<u8> {
    let body: Body<'_> = serde_json::from_slice(plain).unwrap();
    let prefix = br#"{"v":1,"id":"01a1ff7a-cbfb-8000-8000-000000000000","source":"osquery","kind":"result","received":"2026-11-21T19:00:03.001Z","machine":{"serial_number":"C02XL0AAJGH5","unit":"berlin"},"request":{"ip":"203.0.113.9","user_agent":"osquery/5.23.0"},"body":"#;
    let mut out = Vec::with_capacity(plain.len() + body.data.len() * (prefix.len() + 2));
    for record in body.data {
        out.extend_from_slice(prefix);
        out.extend_from_slice(record.get().as_bytes());
        out.extend_from_slice(b"}\n");
    }
    out
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(packed.len() * 6);
    GzDecoder::new(packed).read_to_end(&mut out).unwrap();
    out
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::default());
    to.write_all(plain).unwrap();
    to.finish().unwrap()
}

/// About 35 KB, as a fleet's process listing looks: numbers and hashes differ, names repeat.
fn body() -> Vec<u8> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let records: Vec<String> = (0..RECORDS)
        .map(|i| {
            let hash: String = (0..4).map(|_| format!("{:016x}", random())).collect();
            format!(
                r#"{{"name":"pack_incident-response_process_events","hostIdentifier":"mac-07.local","calendarTime":"Tue Jan  6 08:00:05 2026 UTC","unixTime":{},"epoch":0,"counter":{},"numerics":false,"decorations":{{"host_uuid":"4C4C4544-0031-4A10-8052-B5C04F4E3132","username":"ada"}},"columns":{{"auid":"501","cmdline":"/usr/bin/ssh -o ServerAliveInterval={} -i /Users/ada/.ssh/{:x} {:016x}.example.com","cwd":"\"/Users/ada/src\"","parent":"{}","path":"/usr/bin/ssh","pid":"{}","sha1":"{:016x}{:016x}{:08x}","sha256":"{hash}","time":"{}","uid":"501","md5":"{:016x}{:016x}","cdhash":"{:016x}{:016x}{:08x}","uptime":"{}"}},"action":"added"}}"#,
                1_767_686_405 + i,
                i,
                random() % 1000,
                random(),
                random(),
                random() % 100_000,
                random() % 100_000,
                random(),
                random(),
                random() % (1 << 32),
                random() % 10_000_000_000,
                random(),
                random(),
                random(),
                random(),
                random() % (1 << 32),
                random() % 10_000_000,
            )
        })
        .collect();
    format!(r#"{{"node_key":"n-0001","log_type":"result","data":[{}]}}"#, records.join(",")).into_bytes()
}

fn request() -> Request<'static> {
    Request {
        id: "0b9c5d1e-0000-4000-8000-000000000001",
        received: Time::from_ms(1_767_686_410_000),
        method: "POST",
        path: "/public/osquery/log",
        encoding: Some("gzip"),
        ip: Some("203.0.113.9"),
        user_agent: Some("osquery/5.23.0"),
        inflated_max: 64 << 20,
    }
}

struct Fleet;

impl Desk for Fleet {
    fn enrol(&self, _: &'static str, _: &str, _: &MachineFacts) -> Enrolment {
        Enrolment::Unavailable
    }

    fn speaker(&self, _: &'static str, _: &str) -> Speaker {
        let machine =
            Machine { serial_number: Some("C02XL0AAJGH5".into()), unit: Some("berlin".into()), ..Machine::default() };
        Speaker::Known(machine)
    }

    fn osquery_config(&self, _: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        Err(Unavailable)
    }

    fn heard(&self, _: &'static str, _: &Machine, _: &'static str) -> bool {
        false
    }
}

struct Topic(Vec<u8>);

impl Sink for Topic {
    fn lines(&mut self, lines: Vec<u8>, _: usize) -> Result<(), NoRoom> {
        self.0 = lines;
        Ok(())
    }
}
