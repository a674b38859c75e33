//! Every preset against a service that refuses what the real one refuses, and what a service may do.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::search::suite::{DAY, event, now};
use pipe::config::Settings;

const TOKEN: &str = "11112222-secret-token";

/// What a service gets.
struct Request {
    path: String,
    head: String,
    /// Unpacked.
    body: String,
    /// As it came.
    packed: bool,
}

type Service = fn(&Request, &mut Vec<Value>) -> (u16, String);

struct Fake {
    url: String,
    kept: Arc<Mutex<Vec<Value>>>,
    /// Statuses that come in place of the service, last one first.
    trouble: Arc<Mutex<Vec<u16>>>,
}

fn fake(service: Service) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (kept, trouble) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (to, next) = (kept.clone(), trouble.clone());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (mut bytes, mut part) = (Vec::new(), [0; 65536]);
            let mut more = |bytes: &mut Vec<u8>| match client.read(&mut part) {
                Ok(n) if n > 0 => {
                    bytes.extend_from_slice(&part[..n]);
                    true
                }
                _ => false,
            };
            let end = |bytes: &[u8]| bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
            while end(&bytes).is_none() && more(&mut bytes) {}
            let Some(start) = end(&bytes) else { continue };
            let head = String::from_utf8_lossy(&bytes[..start]).into_owned();
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            while bytes.len() < start + length && more(&mut bytes) {}
            let packed = head.to_lowercase().contains("content-encoding: gzip");
            let mut body = String::new();
            match packed {
                true => flate2::read::GzDecoder::new(&bytes[start..]).read_to_string(&mut body).unwrap(),
                false => (&bytes[start..]).read_to_string(&mut body).unwrap(),
            };
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, said) = match next.lock().unwrap().pop() {
                Some(status) => (status, format!("no, {TOKEN}")),
                None => service(&Request { path, head, body, packed }, &mut to.lock().unwrap()),
            };
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", said.len());
            let _ = client.write_all((head + &said).as_bytes());
        }
    });
    Fake { url, kept, trouble }
}

fn no(status: u16, said: &str) -> (u16, String) {
    (status, said.to_owned())
}

/// HEC: a token, objects one after the other, each with an event; all or nothing.
fn splunk(request: &Request, kept: &mut Vec<Value>) -> (u16, String) {
    if request.path != "/services/collector/event" {
        return no(404, "");
    }
    if !request.head.contains(&format!("Splunk {TOKEN}")) {
        return no(403, r#"{"text":"Invalid token","code":4}"#);
    }
    let mut all = Vec::new();
    for one in serde_json::Deserializer::from_str(&request.body).into_iter::<Value>() {
        let Ok(one) = one else { return no(400, r#"{"text":"Invalid data format","code":6}"#) };
        match (&one["event"], &one["time"]) {
            (Value::Null, _) => {
                return no(400, r#"{"text":"Event field is required","code":12,"invalid-event-number":0}"#);
            }
            (_, time) if !time.is_number() => return no(400, r#"{"text":"Invalid data format","code":6}"#),
            _ => all.push(one),
        }
    }
    if all.is_empty() {
        return no(400, r#"{"text":"No data","code":5}"#);
    }
    kept.extend(all);
    no(200, r#"{"text":"Success","code":0}"#)
}

/// Loki: streams with labels, values of nanoseconds and line; lines of at most 256 KB; what is good is kept in spite of a 400.
fn loki(request: &Request, kept: &mut Vec<Value>) -> (u16, String) {
    let Ok(body) = serde_json::from_str::<Value>(&request.body) else { return no(400, "not JSON") };
    if request.path != "/loki/api/v1/push" {
        return no(404, "");
    }
    let mut long = false;
    for stream in body["streams"].as_array().into_iter().flatten() {
        if stream["stream"].as_object().is_none_or(|labels| labels.is_empty() || !labels.values().all(Value::is_string))
        {
            return no(400, "error at least one label pair is required per stream");
        }
        for value in stream["values"].as_array().unwrap() {
            let (time, line) = (value[0].as_str().unwrap(), value[1].as_str().unwrap());
            if time.len() != 19 || !time.bytes().all(|b| b.is_ascii_digit()) {
                return no(400, "timestamp");
            }
            if line.len() > 256 << 10 {
                long = true;
            } else if !kept.contains(value) {
                kept.push(value.clone());
            }
        }
    }
    if long { no(400, "max entry size 262144 bytes exceeded") } else { no(204, "") }
}

/// Datadog: a key, a list of at most 1,000 logs and 5 MB, a log of at most 1 MB.
fn datadog(request: &Request, kept: &mut Vec<Value>) -> (u16, String) {
    if request.path != "/api/v2/logs" || !request.head.to_lowercase().contains(&format!("dd-api-key: {TOKEN}")) {
        return no(403, r#"{"errors":[{"status":"403","title":"Forbidden"}]}"#);
    }
    let Ok(Value::Array(logs)) = serde_json::from_str(&request.body) else { return no(400, "{}") };
    if logs.len() > 1000 || request.body.len() > 5_000_000 || logs.iter().any(|l| l.to_string().len() > 1_000_000) {
        return no(413, r#"{"errors":[{"status":"413","title":"Payload Too Large"}]}"#);
    }
    if !logs.iter().all(|log| log["message"].is_string() && log["ddsource"].is_string()) {
        return no(400, "{}");
    }
    kept.extend(logs);
    no(202, "{}")
}

/// Sumo Logic: the secret is in the path, lines are messages.
fn sumo(request: &Request, kept: &mut Vec<Value>) -> (u16, String) {
    if request.path != format!("/receiver/v1/http/{TOKEN}") {
        return no(401, "");
    }
    kept.extend(request.body.lines().map(Value::from));
    no(if request.packed { 200 } else { 400 }, "")
}

fn store(words: &[(&str, &str)]) -> Result<Forward, String> {
    let words: Vec<_> = words.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut settings = Settings::from_words("stage.siem", "siem", &words).unwrap();
    let to = preset::read(&mut settings);
    let found = settings.finish();
    match to {
        Some(to) if found.is_empty() => Ok(Forward::new(to, 365 * DAY)),
        _ => Err(pipe::config::render(&found)),
    }
}

fn events(n: usize) -> Vec<String> {
    let of = |i: usize| {
        let machine = if i.is_multiple_of(2) { r#""machine":{"hostname":"ada-mbp","unit":"berlin"},"# } else { "" };
        event(
            &format!("n{i:04}"),
            "2026-11-21T10:00:00.123Z",
            &format!("{machine}\"payload\":{{\"n\":{i},\"t\":\"\\\"ü\"}}"),
        )
    };
    (0..n).map(of).collect()
}

fn send(store: &mut Forward, lines: &[String]) -> Vec<Verdict> {
    store.store(&lines.iter().map(String::as_bytes).collect::<Vec<_>>(), now()).unwrap()
}

#[test]
fn every_preset_as_its_service_wants_it() {
    let services: [(&str, Service, &str); 4] = [
        ("splunk-hec", splunk, ""),
        ("loki", loki, ""),
        ("datadog", datadog, ""),
        ("sumo-logic", sumo, "/receiver/v1/http/"),
    ];
    for (name, service, path) in services {
        let fake = fake(service);
        let url = if path.is_empty() { fake.url.clone() } else { format!("{}{path}{TOKEN}", fake.url) };
        let mut words = vec![("preset", name), ("url", url.as_str())];
        if matches!(name, "splunk-hec" | "datadog") {
            words.push(("token", TOKEN));
        }
        let mut store = store(&words).unwrap();
        fake.trouble.lock().unwrap().extend([503, 429, 425, 401]);
        let lines = events(2500);
        assert!(send(&mut store, &lines).iter().all(|v| *v == Verdict::Stored), "{name}");
        let kept = std::mem::take(&mut *fake.kept.lock().unwrap());
        assert_eq!(kept.len(), 2500, "{name}");
        let first: Value = serde_json::from_str(&lines[0]).unwrap();
        let parsed = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();
        match name {
            "splunk-hec" => {
                assert_eq!(kept[0]["event"], first);
                assert_eq!(
                    (kept[0]["time"].as_f64(), kept[0]["host"].as_str()),
                    (Some(1_795_255_200.123), Some("ada-mbp"))
                );
                assert_eq!(kept[0]["sourcetype"], "zentral:osquery_result");
            }
            "loki" => assert_eq!((kept[0][0].as_str(), parsed(&kept[0][1])), (Some("1795255200123000000"), first)),
            "datadog" => {
                assert_eq!((parsed(&kept[0]["message"]), kept[0]["hostname"].as_str()), (first, Some("ada-mbp")));
            }
            _ => assert_eq!(parsed(&kept[0]), first),
        }
    }
}

#[test]
fn the_one_that_a_service_does_not_take_is_found_and_the_others_are_there() {
    let mut lines = events(40);
    lines[17] = event("big", "2026-11-21T10:00:00.123Z", &format!("\"payload\":\"{}\"", "x".repeat(1_100_000)));
    for (name, service) in [("loki", loki as Service), ("datadog", datadog)] {
        let fake = fake(service);
        let mut store = store(&[("preset", name), ("url", &fake.url), ("token", TOKEN)]).unwrap();
        let verdicts = send(&mut store, &lines);
        assert!(
            matches!(&verdicts[17], Verdict::NotTaken(why) if why.contains("the service answers 4")),
            "{:?}",
            verdicts[17]
        );
        assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Stored).count(), 39, "{name}");
        assert_eq!(fake.kept.lock().unwrap().len(), 39, "{name}");
    }
}

#[test]
fn secrets_are_told_to_nobody_and_a_store_that_waits_stops() {
    let fake = fake(splunk);
    let mut one = store(&[("preset", "splunk-hec"), ("url", &fake.url), ("token", TOKEN)]).unwrap();
    fake.trouble.lock().unwrap().push(400);
    let verdicts = send(&mut one, &events(1));
    assert!(
        matches!(&verdicts[0], Verdict::NotTaken(why) if why.contains("400") && !why.contains(TOKEN)),
        "{verdicts:?}"
    );
    // No token is no secret.
    let mut none = store(&[("url", &fake.url), ("token", "")]).unwrap();
    fake.trouble.lock().unwrap().push(400);
    let verdicts = send(&mut none, &events(1));
    assert!(matches!(&verdicts[0], Verdict::NotTaken(why) if why.contains("answers 400: no, 1111")), "{verdicts:?}");
    // The address of a collector is its secret.
    let collector = self::fake(sumo);
    let url = format!("{}/receiver/v1/http/{TOKEN}", collector.url);
    let mut of = store(&[("preset", "sumo-logic"), ("url", &url)]).unwrap();
    collector.trouble.lock().unwrap().push(400);
    let verdicts = send(&mut of, &events(1));
    assert!(matches!(&verdicts[0], Verdict::NotTaken(why) if why.contains("no, ***")), "{verdicts:?}");
    let stopping = Arc::new(AtomicBool::new(false));
    let seen = stopping.clone();
    let metrics = pipe::Metrics::new("siem");
    let stop = Arc::new(move || seen.load(Ordering::SeqCst));
    one.start(&Around { metrics, stop });
    fake.trouble.lock().unwrap().extend([503; 50]);
    let lines = events(3);
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| one.store(&[lines[0].as_bytes()], now()).unwrap_err());
        std::thread::sleep(Duration::from_millis(500));
        stopping.store(true, Ordering::SeqCst);
        let error = waiting.join().unwrap();
        assert_eq!(error.exit, Exit::Done, "{error}");
    });
    // A wrong address is said without what it holds.
    let mut nobody = store(&[("url", &format!("http://127.0.0.1:1/{TOKEN}"))]).unwrap();
    nobody.ready().unwrap();
    let Told::Later(label, why) = nobody.post(b"x".to_vec()).unwrap() else { panic!("taken by nobody") };
    assert!(label == "lost" && !why.contains(TOKEN), "{why}");
}

/// Events of foreign programs have whatever RFC 3339 allows.
#[test]
fn a_time_is_what_it_says_however_it_is_written() {
    let times = [
        ("2026-11-21T10:00:00Z", 1_795_255_200_000_i64),
        ("2026-11-21T10:00:00.5Z", 1_795_255_200_500),
        ("2026-11-21T10:00:00.25Z", 1_795_255_200_250),
        ("2026-11-21T10:00:00.0625Z", 1_795_255_200_062),
        ("2026-11-21T10:00:00.123456Z", 1_795_255_200_123),
        ("2026-11-21T12:00:00.007+02:00", 1_795_255_200_007),
    ];
    let lines: Vec<String> = times.iter().map(|(time, ms)| event(&format!("n{ms}"), time, "\"payload\":{}")).collect();
    for (name, service) in [("splunk-hec", splunk as Service), ("loki", loki)] {
        let fake = fake(service);
        let mut store = store(&[("preset", name), ("url", &fake.url), ("token", TOKEN)]).unwrap();
        assert!(send(&mut store, &lines).iter().all(|v| *v == Verdict::Stored), "{name}");
        let kept = std::mem::take(&mut *fake.kept.lock().unwrap());
        let told = |one: &Value| match name {
            "loki" => one[0].as_str().unwrap().parse::<i64>().unwrap() / 1_000_000,
            _ => (one["time"].as_f64().unwrap() * 1000.0).round() as i64,
        };
        let mut told: Vec<i64> = kept.iter().map(told).collect();
        let mut expected: Vec<i64> = times.iter().map(|(_, ms)| *ms).collect();
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected, "{name}");
    }
}

/// A proxy's page is no answer of the service: its status says whether it passes.
#[test]
fn programs_that_fail_on_an_answer_refuse_nothing() {
    let fake = fake(|_, kept| {
        kept.push(json!(1));
        (200, json!({"code": 0}).to_string())
    });
    let mut own = store(&[("url", &fake.url), ("ok", ".body.code == 0"), ("later", ".body.code == 9")]).unwrap();
    fake.trouble.lock().unwrap().push(502);
    assert_eq!(send(&mut own, &events(3)), [Verdict::Stored, Verdict::Stored, Verdict::Stored]);
    assert_eq!(fake.kept.lock().unwrap().len(), 1);
}

/// A batch that is cut by its bytes is made once.
#[test]
fn a_batch_has_so_many_bytes() {
    fn size(request: &Request, kept: &mut Vec<Value>) -> (u16, String) {
        kept.push(json!(request.body.len()));
        (200, String::new())
    }
    let fake = fake(size);
    let lines = events(200);
    let all: usize = lines.iter().map(String::len).sum();
    let mut own = store(&[("url", &fake.url), ("bytes", "4 KiB")]).unwrap();
    assert!(send(&mut own, &lines).iter().all(|v| *v == Verdict::Stored));
    let kept = fake.kept.lock().unwrap();
    assert!(kept.iter().all(|bytes| bytes.as_u64().unwrap() <= 4096), "{kept:?}");
    assert!(kept.len() > 1 && kept.len() <= all.div_ceil(2048), "{} requests for {all} bytes", kept.len());
}

#[test]
fn keys_win_over_a_preset_and_mistakes_are_named() {
    fn lines(request: &Request, kept: &mut Vec<Value>) -> (u16, String) {
        kept.extend([
            json!(request.body.lines().count()),
            json!(request.packed),
            json!(request.head.contains("x-me: 7")),
        ]);
        no(299, "")
    }
    let fake = fake(lines);
    let url = format!("{}/in", fake.url);
    let mut own = store(&[
        ("url", &url),
        ("body", ".events[] | .id"),
        ("ok", ".status == 299"),
        ("lines", "10"),
        ("gzip", "false"),
        ("headers", "{ X-Me = \"7\" }"),
    ])
    .unwrap();
    assert!(send(&mut own, &events(20)).iter().all(|v| *v == Verdict::Stored));
    assert_eq!(
        *fake.kept.lock().unwrap(),
        [json!(10), json!(false), json!(true), json!(10), json!(false), json!(true)]
    );
    for (words, what) in [
        (&[][..], "url"),
        (&[("url", "http://siem.example.com")], "https://"),
        (&[("url", "https://siem.example.com"), ("preset", "splunk")], "splunk-hec"),
        (&[("url", "https://siem.example.com"), ("preset", "datadog")], "needs a token"),
        (&[("url", "https://siem.example.com"), ("body", ".events[")], "body"),
        (&[("url", "https://siem.example.com"), ("bytes", "1 B")], "from 1 KiB"),
        (&[("url", "https://siem.example.com"), ("bytes", "5 MiB")], "to 4 MiB"),
        (&[("url", "https://siem.example.com"), ("lines", "0")], "lines"),
    ] {
        let said = store(words).err().unwrap();
        assert!(said.contains(what), "{words:?}: {said}");
    }
}
