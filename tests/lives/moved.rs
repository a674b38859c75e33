//! A hub that outgrows its machine: from files to Kafka, Elasticsearch and PostgreSQL, as docs/operations.md shows it. No
//! agent enrols anew, no event is lost, nothing is acted upon twice.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::santa::{Conn, Santad};
use crate::support::agent::{Agent, Client, numbers, record};
use crate::support::database::{Database, server};
use crate::support::hub::Hub;
use crate::support::receiver::{self, Receiver, Reply};
use crate::support::services::address;
use crate::{secret, start};

/// Records of before, of which every fifth is acted upon.
const BEFORE: usize = 50;
/// Records of after.
const AFTER: usize = 20;

fn tables(receiver: &Receiver) -> String {
    format!(
        "\n[source.santa]\n[source.munki]\n[rules.r]\n\
         rules = [ {{ type = \"BINARY\", id = \"{:064x}\", policy = \"BLOCKLIST\" }} ]\n\
         [action.hook]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/in\"\nbody = '{{n: .event.payload.columns.n}}'\n\
         [probe.fifth]\nfilter = '.payload.name == \"t\" and .payload.columns.n % 5 == 0'\nact = [\"hook\"]\n",
        7, receiver.port
    )
}

/// All stored events, by id.
fn stored(hub: &Hub) -> BTreeMap<String, Value> {
    let all = hub.events("*");
    let many = all.len();
    let by_id = |event: Value| (event["id"].as_str().unwrap().to_owned(), event);
    let all: BTreeMap<String, Value> = all.into_iter().map(by_id).collect();
    assert_eq!(all.len(), many, "an event twice");
    all
}

fn munki_job(client: &mut Client, token: &str) -> u16 {
    let body = json!({"machine_serial_number": "MOVEDM", "os_version": "15.2", "arch": "arm64"}).to_string();
    let headers = format!("Authorization: MunkiEnrolledMachine {token}\r\n");
    client.request("POST", "/public/munki/job_details/", &headers, body.as_bytes()).unwrap().0
}

/// What a reader has not read, over all topics.
fn lag(hub: &Hub) -> u64 {
    let status = String::from_utf8(hub.run(&["status", "--json"]).stdout).unwrap();
    let lines = status.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["lag"].as_u64()).sum()
}

#[test]
fn from_one_machine_to_a_fleet() {
    let servers = (address("ZENTRAL_TEST_KAFKA"), address("ZENTRAL_TEST_ELASTICSEARCH"), server());
    let (Some(kafka), Some(elasticsearch), Some(server)) = servers else { return };
    let receiver = Receiver::start(|_, _| Reply::Answer(200, "", "ok"));
    let acted = || receiver::numbers(receiver.seen.lock().unwrap().requests.iter().map(|(_, body)| body));
    let fifths = |end: usize| (0..end as u64).step_by(5).collect::<Vec<_>>();

    // On one machine: three agents.
    let mut hub = Hub::new(&tables(&receiver));
    start(&mut hub);
    let mut osquery = Agent::new(&hub.ca(), hub.port, &hub.secret(), "MOVED1");
    osquery.enrol().unwrap();
    let key = osquery.node_key.clone();
    let mut conn = Conn::new(&hub);
    let mut santad = Santad::new(&secret(&hub, "santa"), 1, "2025.6");
    assert_eq!(santad.sync(&mut conn), 1);
    let mut client = Client::new(&hub.ca(), hub.port);
    let body = json!({"secret": secret(&hub, "munki"), "serial_number": "MOVEDM", "uuid": "u"});
    let (status, answer) = client.post("/public/munki/enroll/", &body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let token = answer["token"].as_str().unwrap().to_owned();
    assert_eq!(munki_job(&mut client, &token), 200);
    let before: Vec<Value> = (0..BEFORE).map(record).collect();
    assert!(osquery.log(&before[..BEFORE / 2]).unwrap());
    hub.wait("actions", 30, || acted() == fifths(BEFORE / 2));
    // What was taken at the last moment is still in the topics.
    assert!(osquery.log(&before[BEFORE / 2..]).unwrap());
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());

    // Everything is read to its end. What actions made comes back once more.
    for _ in 0..2 {
        for stage in ["normalize", "filter", "act", "store"] {
            hub.ok(&["run", stage, "--once"]);
        }
    }
    assert_eq!(lag(&hub), 0, "all was read");
    let (old, index) = (stored(&hub), hub.ok(&["search", "*", "-n", "0"]));
    assert_eq!(numbers(old.values()), (0..BEFORE as u64).collect::<Vec<_>>());

    // The move.
    let database = Database::new(&server, "moved");
    hub.env("ZENTRAL_DATABASE_URL", &database.url("zentral"));
    std::fs::copy(hub.path("pipeline.toml"), hub.path("embedded.toml")).unwrap();
    let word = format!("moved{}", std::process::id());
    hub.edit(|text| {
        let store = format!("kind   = \"elasticsearch\"\nhosts  = [\"{elasticsearch}\"]\nindex  = \"{word}-%Y.%m.%d\"");
        let text = text.replace("\"topic:", "\"kafka:").replace("kind   = \"embedded\"", &store);
        let kafka = format!("[kafka]\nbrokers = [\"{kafka}\"]\nprefix = \"{word}.\"\n");
        text + &format!("{kafka}[registry]\npostgres = {{ env = \"ZENTRAL_DATABASE_URL\" }}\n")
    });
    hub.ok(&["check"]);
    let copied = hub.ok(&["state", "copy"]);
    assert!(["registry", "receive", "act"].iter().all(|name| copied.contains(&format!("\"{name}\""))), "{copied}");
    let again = hub.run(&["state", "copy"]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("there already"));
    let _ = std::fs::remove_file(hub.path("data/run/receive.addr"));
    hub.start();
    hub.wait("receive", 90, || hub.path("data/run/receive.addr").exists());

    // Nobody enrols anew: the agents are known, and the rules they have.
    let mut moved = Agent::new(&hub.ca(), hub.port, "none, it is enrolled", "MOVED1");
    moved.node_key = key.clone();
    hub.wait("receive to answer", 60, || moved.client.request("GET", "/healthz", "", b"").is_ok());
    let mut conn = Conn::new(&hub);
    assert_eq!(santad.sync(&mut conn), 0, "it has its rules");
    assert!(!santad.clean && santad.rules.len() == 1);
    assert_eq!(munki_job(&mut Client::new(&hub.ca(), hub.port), &token), 200);
    let after: Vec<Value> = (BEFORE..BEFORE + AFTER).map(record).collect();
    assert!(moved.log(&after).unwrap());
    // A retry of what was said before the move, whose answer was lost.
    assert!(moved.log(&before[BEFORE / 2..]).unwrap());
    assert_eq!(moved.node_key, key);

    // The past, from the old topics to the new store, while the hub runs.
    let past = hub.ok(&["--config", "embedded.toml", "replay", "--events"]);
    let annotated = hub.feed(&["filter", "--all"], past.as_bytes());
    assert!(annotated.status.success(), "{}", String::from_utf8_lossy(&annotated.stderr));
    // And from the index, which may go back further: the same events, so nothing is there twice.
    for lines in [annotated.stdout.as_slice(), index.as_bytes()] {
        let filled = hub.feed(&["store", "store"], lines);
        assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    }

    let all: Vec<u64> = (0..(BEFORE + AFTER) as u64).collect();
    hub.wait("old and new in the new store", 90, || numbers(stored(&hub).values()) == all);
    let new = stored(&hub);
    // The retry has the ids of what it repeats and a time of its own, and whichever came last is there.
    let timeless = |event: &Value| {
        let mut event = event.clone();
        event.as_object_mut().unwrap().remove("received");
        event
    };
    for (id, event) in &old {
        assert_eq!(new.get(id).map(timeless), Some(timeless(event)), "an event of before, as it was");
    }
    hub.wait("actions of after", 60, || acted() == fifths(BEFORE + AFTER));
    hub.wait("all is well", 60, || hub.run(&["status"]).status.success());
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    assert_eq!(acted(), fifths(BEFORE + AFTER), "none of the past was acted upon again");
}
