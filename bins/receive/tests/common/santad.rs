//! A Santa with a rule database of its own, that speaks as the real one does.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Map, Value, json};

use super::{Answer, Conn};

/// What it does to one hub under one id.
pub struct Santad {
    pub secret: String,
    pub id: String,
    pub serial: String,
    pub version: String,
    /// Its rules: policy by type and identifier.
    pub rules: BTreeMap<(String, String), String>,
    /// What the preflight under way said.
    pub clean: bool,
    pub settings: Value,
    /// What came of the download so far, and whether that is all.
    pub told: Vec<Value>,
    pub cursor: Value,
    pub whole: bool,
    /// It asks for a clean sync.
    pub asks_clean: bool,
}

impl Santad {
    pub fn new(secret: &str, n: u32, version: &str) -> Self {
        Self {
            secret: secret.into(),
            id: format!("0F2C7A6E-5B1D-5E0C-8D54-{n:012X}"),
            serial: format!("ZTST{n:08}"),
            version: version.into(),
            rules: BTreeMap::new(),
            clean: false,
            settings: Value::Null,
            told: Vec::new(),
            cursor: Value::Null,
            whole: false,
            asks_clean: false,
        }
    }

    /// One request, zlib-compressed as agents do.
    pub fn ask(&self, hub: &mut Conn, stage: &str, body: &Value) -> Answer {
        let packed = zlib(body.to_string().as_bytes());
        self.send(hub, stage, &packed, "Content-Encoding: deflate\r\nContent-Type: application/json\r\n")
    }

    pub fn send(&self, hub: &mut Conn, stage: &str, body: &[u8], headers: &str) -> Answer {
        let bearer = format!("Zentral-Authorization: Bearer {}\r\n{headers}", self.secret);
        send(hub, "POST", &format!("/public/santa/sync/{stage}/{}", self.id), body, &bearer)
    }

    pub fn said(&self) -> Value {
        let mut said = json!({"serial_num": self.serial, "hostname": format!("{}.local", self.serial), "os_version": "15.5",
            "os_build": "24F74", "santa_version": self.version, "client_mode": "MONITOR", "machine_id": self.id,
            "primary_user": "ada"});
        // Zeros are left out.
        for (name, kind) in [("binary", "BINARY"), ("teamid", "TEAMID"), ("signingid", "SIGNINGID")] {
            let count = self.rules.keys().filter(|(own, _)| own == kind).count();
            if count > 0 {
                said[format!("{name}_rule_count")] = count.into();
            }
        }
        if self.asks_clean {
            said["request_clean_sync"] = true.into();
        }
        said
    }

    pub fn preflight(&mut self, hub: &mut Conn) {
        let answer = self.ask(hub, "preflight", &self.said());
        assert_eq!(answer.status, 200, "{}", answer.body);
        let old = self.version.as_str() < "2024";
        self.clean = if old {
            answer.body["clean_sync"].as_bool().unwrap()
        } else {
            !answer.body["sync_type"].as_str().unwrap().eq_ignore_ascii_case("normal")
        };
        self.settings = answer.body;
        (self.told, self.cursor, self.whole) = (Vec::new(), Value::Null, false);
    }

    /// The next page; true if it was the last.
    pub fn page(&mut self, hub: &mut Conn) -> bool {
        let body = if self.cursor.is_null() { json!({}) } else { json!({"cursor": self.cursor}) };
        let answer = self.ask(hub, "ruledownload", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.told.extend(answer.body["rules"].as_array().unwrap().iter().cloned());
        self.cursor = answer.body["cursor"].clone();
        self.cursor.is_null()
    }

    /// All pages that are left, applied in one transaction. Without a rule nothing happens, not even in a clean sync.
    pub fn apply(&mut self, hub: &mut Conn) -> usize {
        while !self.whole {
            self.whole = self.page(hub);
        }
        if self.told.is_empty() {
            return 0;
        }
        if std::mem::take(&mut self.clean) {
            self.rules.clear();
            self.asks_clean = false;
        }
        for rule in &self.told {
            let identifier = rule.get("identifier").or_else(|| rule.get("sha256")).unwrap();
            let key = (text(&rule["rule_type"]), text(identifier));
            match text(&rule["policy"]).as_str() {
                "REMOVE" => drop(self.rules.remove(&key)),
                policy => drop(self.rules.insert(key, policy.replace("BLACK", "BLOCK").replace("WHITE", "ALLOW"))),
            }
        }
        self.told.len()
    }

    pub fn postflight(&self, hub: &mut Conn, rules: usize) {
        let mut body = Map::new();
        body.insert("machine_id".into(), self.id.as_str().into());
        if rules > 0 {
            body.insert("rules_received".into(), rules.into());
            body.insert("rules_processed".into(), rules.into());
        }
        let answer = self.ask(hub, "postflight", &body.into());
        assert_eq!((answer.status, answer.body), (200, json!({})));
    }

    /// A whole sync; how many rules it brought.
    pub fn sync(&mut self, hub: &mut Conn) -> usize {
        self.preflight(hub);
        let count = self.apply(hub);
        self.postflight(hub, count);
        count
    }
}

pub fn send(hub: &mut Conn, method: &str, path: &str, body: &[u8], headers: &str) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: santactl-sync/2025.6\r\n{headers}\
         Content-Length: {length}\r\n\r\n"
    );
    hub.send(&[head.as_bytes(), body].concat());
    hub.answer()
}

pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::ZlibEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
