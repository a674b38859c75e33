//! A machine with Santa, as it speaks today and as it spoke in 2023: a clean sync, rules, something that is blocked, what is
//! confirmed. It dies between any two stages of a sync, and the next sync brings what it lacks.

use crate::support::agent::Client;
use crate::support::hub::Hub;
use crate::{end, event, secret, start};

pub use santad::Santad;
use serde_json::{Value, json};

#[path = "../../bins/receive/tests/common/santad.rs"]
mod santad;

/// What is said to Santa.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// The connection that the agent of `receive`'s tests speaks over.
pub struct Conn {
    client: Client,
    answer: Option<Answer>,
}

impl Conn {
    pub fn new(hub: &Hub) -> Self {
        Self { client: Client::new(&hub.ca(), hub.port), answer: None }
    }

    pub fn send(&mut self, request: &[u8]) {
        let end = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&request[..end]).unwrap();
        let (line, headers) = head.split_once("\r\n").unwrap();
        let [method, path, _] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        // The client says these itself.
        let own =
            |header: &&str| !["Host:", "User-Agent:", "Content-Length:"].iter().any(|name| header.starts_with(name));
        let headers: String = headers.split("\r\n").filter(own).map(|header| format!("{header}\r\n")).collect();
        let (status, body) = self.client.request(method, path, &headers, &request[end + 4..]).unwrap();
        self.answer = Some(Answer { status, body: serde_json::from_slice(&body).unwrap() });
    }

    pub fn answer(&mut self) -> Answer {
        self.answer.take().unwrap()
    }
}

fn rules(ids: &[u32]) -> String {
    let rule = |id: &u32| format!("{{ type = \"BINARY\", id = \"{id:064x}\", policy = \"BLOCKLIST\" }}");
    let all: Vec<String> = ids.iter().map(rule).collect();
    format!("rules = [ {} ] # end of rules", all.join(", "))
}

/// How far the agent comes before it dies.
const STAGES: [&str; 4] = ["preflight", "a page", "all rules, not applied", "applied, not confirmed"];

fn dies_after(santad: &mut Santad, conn: &mut Conn, stage: &str) {
    santad.preflight(conn);
    match stage {
        "preflight" => {}
        "a page" => assert!(!santad.page(conn), "there are more"),
        "all rules, not applied" => while !santad.page(conn) {},
        _ => assert!(santad.apply(conn) > 0),
    }
}

fn lives(version: &str, number: u32) {
    let tables = |ids: &[u32]| format!("\n[source.santa]\nbatch_size = 2\n[rules.r]\n{}\n", rules(ids));
    let probe =
        "[probe.blocked]\nfilter = '.type == \"santa_event\" and (.payload.decision | startswith(\"BLOCK\"))'\n";
    let mut hub = Hub::new(&(tables(&[1, 2, 3]) + probe));
    start(&mut hub);
    let mut conn = Conn::new(&hub);
    let mut santad = Santad::new(&secret(&hub, "santa"), number, version);
    // A rule of before the hub: a clean sync removes it.
    santad.rules.insert(("BINARY".into(), format!("{:064x}", 99)), "BLOCKLIST".into());
    santad.preflight(&mut conn);
    assert!(santad.clean, "the first sync is a clean one");
    assert_eq!(santad.apply(&mut conn), 3);
    santad.postflight(&mut conn, 3);
    let has =
        |santad: &Santad| santad.rules.keys().map(|(_, id)| u32::from_str_radix(id, 16).unwrap()).collect::<Vec<_>>();
    assert_eq!(has(&santad), [1, 2, 3]);
    assert_eq!(santad.sync(&mut conn), 0, "nothing is new");

    let event_id = |n: u32| format!("{n:064x}");
    let blocked = json!({"events": [{"decision": "BLOCK_BINARY", "file_sha256": event_id(1), "file_name": "evil", "file_path": "/tmp",
        "executing_user": "ada", "execution_time": jiff::Timestamp::now().as_millisecond() as f64 / 1000.0, "pid": 7, "ppid": 1}]});
    let answer = santad.ask(&mut conn, "eventupload", &blocked);
    assert_eq!((answer.status, answer.body), (200, json!({})));
    let told = event(&hub, "the blocked execution", |event| event["type"] == "santa_event");
    assert_eq!((&told["payload"], &told["machine"]["serial_number"]), (&blocked["events"][0], &json!(santad.serial)));
    assert_eq!((&told["probes"][0]["name"], &told["machine"]["user"]), (&json!("blocked"), &json!("ada")));
    assert_eq!(told["objects"][0], format!("file:sha256:{}", event_id(1)));

    // Rules change; the agent dies after each stage in turn. Nothing counts that it has not confirmed.
    let mut wanted = vec![1, 2, 3];
    for (n, stage) in STAGES.into_iter().enumerate() {
        let before = rules(&wanted);
        let n = n as u32 * 10;
        wanted = vec![2, 11 + n, 12 + n, 13 + n];
        let after = rules(&wanted);
        let reloaded = || hub.log().matches("reloaded").count();
        let so_far = reloaded();
        hub.edit(|text| text.replace(&before, &after));
        hub.wait("receive to have the new rules", 30, || reloaded() > so_far);
        hub.wait("rules of now", 30, || {
            santad.preflight(&mut conn);
            santad.page(&mut conn);
            !santad.told.is_empty()
        });
        dies_after(&mut santad, &mut conn, stage);
        let held = has(&santad);
        assert!(santad.sync(&mut conn) > 0, "after {stage} it is told again");
        assert_eq!(has(&santad), wanted, "after {stage}; it held {held:?}");
        assert_eq!(santad.sync(&mut conn), 0, "and it is known that it has them");
    }
    // The last reply was lost: the agent has confirmed, and is not told again.
    assert_eq!(santad.sync(&mut conn), 0);
    end(hub);
}

#[test]
fn today() {
    lives("2025.6", 1);
}

#[test]
fn in_2023() {
    lives("2023.9", 2);
}

/// What was blocked on one machine as unknown is blocked there by a rule with its next sync, and nowhere else.
#[test]
fn a_match_makes_a_rule_for_its_machine() {
    let mut hub = Hub::new(
        "\n[probe.unknown]\nfilter = '.type == \"santa_event\" and .payload.decision == \"ALLOW_UNKNOWN\"'\nact = [\"block\"]\n\
         [action.block]\nkind = \"santa\"\n\
         rule = '{rule_type: \"BINARY\", identifier: .event.payload.file_sha256, policy: \"BLOCKLIST\", custom_msg: \"Ask the help desk.\"}'\nmax = \"20/h\"\n",
    );
    start(&mut hub);
    let mut conn = Conn::new(&hub);
    let secret = secret(&hub, "santa");
    let (mut ada, mut bob) = (Santad::new(&secret, 1, "2025.6"), Santad::new(&secret, 2, "2025.6"));
    for santad in [&mut ada, &mut bob] {
        santad.sync(&mut conn);
        assert_eq!(santad.sync(&mut conn), 0);
    }
    let now = || jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
    let seen = |n: u32, more: Value| {
        let mut seen = json!({"decision": "ALLOW_UNKNOWN", "file_sha256": format!("{n:064x}"), "file_name": "x",
            "file_path": "/Users/ada/Downloads", "executing_user": "ada", "execution_time": now(), "pid": 7, "ppid": 1});
        seen.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"events": [seen]})
    };
    let begun = std::time::Instant::now();
    assert_eq!(ada.ask(&mut conn, "eventupload", &seen(7, json!({}))).status, 200);
    let key = ("BINARY".to_owned(), format!("{:064x}", 7));
    hub.wait("the rule", 30, || ada.sync(&mut conn) > 0);
    eprintln!("from upload to rule: {:?}", begun.elapsed());
    assert_eq!(ada.rules.get(&key).map(String::as_str), Some("BLOCKLIST"));
    assert_eq!(ada.told[0]["custom_msg"], "Ask the help desk.");
    assert_eq!((bob.sync(&mut conn), bob.rules.len()), (0, 0), "another machine has nothing of it");
    // What is macOS's own is never blocked, and that is told.
    assert_eq!(ada.ask(&mut conn, "eventupload", &seen(8, json!({"signing_id": "platform:com.apple.ls"}))).status, 200);
    let refused = event(&hub, "the refusal", |event| event["type"] == "action_failed");
    assert!(refused["payload"]["error"].as_str().unwrap().contains("macOS"), "{refused}");
    assert_eq!(ada.sync(&mut conn), 0);
    let told = event(&hub, "the change", |event| event["type"] == "santa_rule_update");
    assert_eq!(
        (&told["payload"]["result"], &told["machine"]["serial_number"]),
        (&json!("created"), &json!(ada.serial))
    );
    assert_eq!(told["cause"]["action"], "block");
    // By hand it goes again.
    let rule: Value = serde_json::from_str(hub.ok(&["act", "rules"]).trim()).unwrap();
    assert_eq!(rule["machine"], json!(ada.serial));
    hub.ok(&["act", "rules", "--remove", rule["id"].as_str().unwrap()]);
    assert_eq!((ada.sync(&mut conn), ada.rules.len()), (1, 0));
    let gone = event(&hub, "its end", |event| event["payload"]["result"] == "deleted");
    assert_eq!((&gone["payload"]["why"], gone.get("cause")), (&json!("by hand"), None));
    end(hub);
}
