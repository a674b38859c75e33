//! Carves of files, against the real program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, Hub, body, log_body};
use serde_json::{Value, json};

struct Carver<'h> {
    hub: &'h Hub,
    key: String,
}

impl Carver<'_> {
    fn schedule(&self, guid: &str) {
        let row = json!({"carve": "1", "status": "SCHEDULED", "carve_guid": guid, "path": "/a,/b", "request_id": "r"});
        let record = json!({"name": "pack/a/b", "action": "added", "unixTime": 1_480_605_737, "columns": row});
        assert_eq!(self.hub.ask("", "log", &log_body(&self.key, [record])).body, json!({}));
    }

    fn start(&self, guid: &str, count: u64, block_size: u64, size: u64) -> Answer {
        let announced = json!({"node_key": self.key, "carve_id": guid, "request_id": "r", "block_count": count,
            "block_size": block_size, "carve_size": size});
        self.hub.ask("", "carver/start", &announced)
    }

    fn session(&self, guid: &str, count: u64, block_size: u64, size: u64) -> String {
        let answer = self.start(guid, count, block_size, size);
        answer.body["session_id"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    }
}

fn block(hub: &Hub, session: &str, number: u64, data: &[u8]) -> u16 {
    let answer = hub.ask(
        "",
        "carver/continue",
        &json!({"session_id": session, "block_id": number, "request_id": "r", "data": STANDARD.encode(data)}),
    );
    assert_eq!(answer.status == 200, answer.body == json!({}), "{}", answer.body);
    answer.status
}

fn finished(hub: &Hub) -> Vec<Value> {
    let carves = hub.lines().into_iter().filter(|line| line.kind == "carve");
    carves.map(|line| body(&line)).filter(|body| body["action"] == "finish").collect()
}

#[test]
fn blocks_in_any_order_and_twice_become_the_file_also_over_a_restart() {
    let mut hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let data: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let blocks: Vec<&[u8]> = data.chunks(65_536).collect();
    let (count, size) = (blocks.len() as u64, data.len() as u64);
    let carver = Carver { hub: &hub, key: key.clone() };
    assert_eq!(carver.start("g1", count, 65_536, size).status, 404, "nothing was scheduled");
    carver.schedule("g1");
    carver.schedule("g1");
    let session = carver.session("g1", count, 65_536, size);
    assert_eq!(carver.session("g1", count, 65_536, size), session, "a reply that was lost");
    assert_eq!(carver.start("g1", count, 65_536, size - 1).status, 400, "announced otherwise");
    for number in [3, 0, 3] {
        assert_eq!(block(&hub, &session, number, blocks[number as usize]), 200);
    }
    hub.kill();
    hub.start();
    for number in [5, 1, 0, 2, 6, 4, 4] {
        assert_eq!(block(&hub, &session, number, blocks[number as usize]), 200);
    }
    let [done] = finished(&hub).try_into().unwrap();
    assert_eq!((&done["carve_id"], &done["path"], &done["size"]), (&json!("g1"), &json!("/a,/b"), &json!(size)));
    let file = done["file"].as_str().unwrap();
    assert!(file != session);
    let folder = hub.dir.path().join("data/carves");
    assert_eq!(std::fs::read(folder.join(file)).unwrap(), data);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
    let actions: Vec<Value> =
        hub.lines().iter().filter(|line| line.kind == "carve").map(|line| body(line)["action"].clone()).collect();
    assert_eq!(actions, ["schedule", "start", "finish"]);
    assert!(!std::fs::read_dir(hub.dir.path().join("data/topics/raw")).unwrap().any(|entry| {
        std::fs::read(entry.unwrap().path()).unwrap_or_default().windows(session.len()).any(|w| w == session.as_bytes())
    }));
}

#[test]
fn what_was_not_announced_is_not_taken() {
    let hub = Hub::new("", "[source.osquery]\ncarves = { max = \"1 MiB\", quota = \"1500 KiB\" }\n");
    let carver = Carver { hub: &hub, key: hub.node_key("C02") };
    let other = Carver { hub: &hub, key: hub.enrol(&hub.enrolment("berlin", "osquery", None, None).1, "C04") };
    for guid in ["g1", "g2", "g3"] {
        carver.schedule(guid);
    }
    assert_eq!(carver.start("g1", 2, 1 << 20, (1 << 20) + 1).status, 413, "over max");
    for (count, block_size, size) in [(2, 10, 21), (2, 10, 10), (0, 10, 0), (1, 0, 0), (1, 1 << 30, 5)] {
        assert_eq!(carver.start("g1", count, block_size, size).status, 400, "{count} {block_size} {size}");
    }
    let session = carver.session("g1", 2, 800 << 10, 900 << 10);
    assert_eq!(carver.start("g2", 1, 1 << 20, 800 << 10).status, 413, "over quota");
    let small = carver.session("g2", 2, 10, 15);
    for (number, data, status) in
        [(0, &b"12345678901"[..], 400), (1, b"1234567890", 400), (2, b"12345", 400), (1, b"12345", 200)]
    {
        assert_eq!(block(&hub, &small, number, data), status, "{number} {}", data.len());
    }
    assert_eq!(block(&hub, "00000000", 0, b"x"), 403);
    let short = carver.session("g3", 2, 10, 15);
    assert_eq!(block(&hub, &short, 0, b"123456789"), 200);
    assert_eq!(block(&hub, &short, 1, b"12345"), 400, "all are there, and it is shorter than was announced");
    assert_eq!(block(&hub, &short, 0, b"1234567890"), 200, "now it is whole");
    assert_eq!(finished(&hub).len(), 1);
    let mut conn = hub.connect();
    let body = json!({"session_id": small, "block_id": 0, "data": STANDARD.encode(b"1234567890")}).to_string();
    let with = |key: &str| format!("Authorization: NodeKey {key}\r\n");
    assert_eq!(conn.post("carver/continue", body.as_bytes(), &with(&other.key)).status, 403, "another machine's key");
    assert_eq!(conn.post("carver/continue", body.as_bytes(), &with("x")).status, 403);
    assert_eq!(conn.post("carver/continue", body.as_bytes(), &with(&carver.key)).status, 200);
    assert_eq!(finished(&hub).len(), 2);
    assert_eq!(block(&hub, &session, 0, &vec![7; 800 << 10]), 200, "a block of many bytes");
    assert_eq!(other.start("g3", 1, 10, 5).status, 404, "another machine's carve");
}
