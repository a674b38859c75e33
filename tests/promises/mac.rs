//! A Mac with osquery: it does what its schedule says.

use serde_json::{Value, json};

use crate::support::agent::Client;
use crate::support::hub::Hub;

pub struct Mac {
    client: Client,
    key: Value,
    /// Second of its clock, which goes on with each record.
    now: i64,
}

impl Mac {
    /// Enrolled; if somebody uses it, its inventory says so.
    pub fn new(hub: &Hub, serial: &str, user: Option<&str>) -> Self {
        let mut client = Client::new(&hub.ca(), hub.port);
        let body = json!({"enroll_secret": hub.secret(), "host_identifier": serial, "platform_type": "21",
            "host_details": {"system_info": {"hardware_serial": serial, "hostname": "ada-mbp",
                "uuid": format!("4C4C4544-0031-4A10-8052-{:0>12}", serial.trim_start_matches(|c: char| !c.is_ascii_digit()))},
                "os_version": {"platform": "darwin", "version": "15.1"}}});
        let (status, answer) = client.post("/public/osquery/enroll", &body).unwrap();
        assert!(status == 200 && answer["node_key"].is_string(), "{status} {answer}");
        let now = jiff::Timestamp::now().as_second() - 600;
        let mut mac = Self { client, key: answer["node_key"].clone(), now };
        if let Some(user) = user {
            let rows = json!([
                {"table_name": "os_version", "name": "macOS", "version": "15.1", "major": "15", "minor": "1"},
                {"table_name": "company_portal", "key": "aadUserId", "value": "u-1"},
                {"table_name": "company_portal", "key": "aadUPN", "value": user}]);
            mac.log(json!({"name": "ztl-inv", "action": "snapshot", "snapshot": rows}));
        }
        mac
    }

    /// What it is told.
    pub fn config(&mut self) -> Value {
        let body = json!({"node_key": self.key});
        // The hub may have been started anew, and the connection is gone with the old one.
        let answered = self.client.post("/public/osquery/config", &body);
        let answered = answered.or_else(|_| self.client.post("/public/osquery/config", &body));
        let (status, answer) = answered.unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Name and SQL of a probe's query, as scheduled.
    pub fn scheduled(&mut self, probe: &str) -> (String, String) {
        let config = self.config();
        let of = format!("zentral/{probe}/");
        let (name, query) =
            config["schedule"].as_object().unwrap().iter().find(|(name, _)| name.starts_with(&of)).unwrap();
        (name.clone(), query["query"].as_str().unwrap().to_owned())
    }

    /// A row that came or went, of the n-th run of a probe's query.
    pub fn row(&mut self, probe: &str, n: u64, action: &str, columns: Value) {
        let (name, _) = self.scheduled(probe);
        self.log(json!({"name": name, "epoch": 0, "counter": n, "action": action, "columns": columns}));
    }

    /// All rows of a probe's query.
    pub fn snapshot(&mut self, probe: &str, rows: Value) {
        let (name, _) = self.scheduled(probe);
        self.log(json!({"name": name, "epoch": 0, "counter": 0, "action": "snapshot", "snapshot": rows}));
    }

    fn log(&mut self, mut record: Value) {
        self.now += 1;
        record["unixTime"] = self.now.into();
        record["hostIdentifier"] = "h".into();
        let body = json!({"node_key": self.key, "log_type": "result", "data": [record]});
        let (status, answer) = self.client.post("/public/osquery/log", &body).unwrap();
        assert!(status == 200 && answer.get("node_invalid").is_none() && answer["error"].is_null(), "{answer}");
    }
}
