//! What queries cost machines, in the console of a running hub: the list of probes, one of them, one machine.

use serde_json::{Value, json};

use super::support::agent::{Agent, record};
use super::{api, person, token, up};

const PROBE: &str = "[probe.dear]\nfilter = 'false'\nquery = { sql = \"select 1\", interval = \"60s\" }\n";

#[test]
fn what_a_query_costs_is_shown_to_those_who_see_the_machine() {
    let (hub, port) = up("");
    std::fs::write(hub.path("probes/dear.toml"), PROBE).unwrap();
    let secret = hub.secret_of("default");
    let mut tell = |serial: &str, ms: &str, denied: &str| {
        let mut agent = Agent::new(&hub.ca(), hub.port, &secret, serial);
        agent.enrol().unwrap();
        let mut name = None;
        hub.wait("the query in the schedule", 60, || {
            let (_, answer) =
                agent.client.post("/public/osquery/config", &json!({"node_key": agent.node_key})).unwrap();
            let schedule = answer["schedule"].as_object().unwrap();
            name = schedule.keys().find(|name| name.starts_with("zentral/dear/")).cloned();
            name.is_some()
        });
        let row = json!({"table_name": "osquery_schedule", "name": name, "last_executed": "1767600000",
            "executions": "10", "user_time": ms, "system_time": "0", "average_memory": "2048", "output_size": "20480",
            "denylisted": denied});
        let inventory = json!({"name": "ztl-inv", "unixTime": record(1)["unixTime"], "action": "snapshot", "snapshot":
            [row, {"table_name": "system_info", "hostname": format!("<b>{serial}"), "uuid": "u"}]});
        assert!(agent.log(&[inventory]).unwrap());
    };
    tell("S1", "120", "0");
    tell("S2", "140", "0");
    tell("S3", "9e99", "0");
    tell("S4", "100000", "1");
    let program = token(&hub, &["--scopes", "probes,machines"]);
    let told = || api(port, &program, "/probes/dear").json();
    hub.wait("three machines", 60, || told()["dearest"].as_array().is_some_and(|all| all.len() == 3));
    let one = told();
    let order: Vec<&str> =
        one["dearest"].as_array().unwrap().iter().map(|one| one["machine"].as_str().unwrap()).collect();
    assert_eq!(order, ["S4", "S2", "S1"], "{one}");
    assert_eq!((&one["dearest"][1]["cpu_ms"], &one["dearest"][1]["output"]), (&json!(14.0), &json!(2048)));
    assert_eq!((&one["told"]["price"]["machines"], &one["told"]["price"]["denied"]), (&json!(3), &json!(1)), "{one}");
    let list = api(port, &program, "/probes?sort=-price&n=1").json();
    assert_eq!(
        (&list["probes"][0]["name"], &list["probes"][0]["price"]["denied"]),
        (&json!("dear"), &json!(1)),
        "{list}"
    );

    let mut vera = person(&hub, port, "vera", &[]);
    let page = vera.get("/probes/dear");
    for word in ["Price on machines", "One machine denies it", "10.0 s", "14 ms", "2 KiB", "&#60;b&#62;S4"] {
        assert!(page.body.contains(word), "{word}: {}", page.body);
    }
    assert!(vera.get("/probes").body.contains("worst"), "the list has the price");
    let machine = vera.get("/machines/S4");
    assert!(
        machine.body.contains("Its osquery denies a query") && machine.body.contains("/probes/dear\""),
        "{}",
        machine.body
    );
    assert!(!vera.get("/machines/S1").body.contains("denies a query"));
    // Who sees another unit sees none of these machines.
    let mut remo = person(&hub, port, "remo", &["--units", "rome"]);
    let kept = remo.get("/probes/dear");
    assert!(kept.status == 200 && !kept.body.contains("/machines/S"), "{}", kept.body);

    let shown: Value = serde_json::from_str(&hub.ok(&["machine", "show", "S1"])).unwrap();
    assert_eq!(shown["prices"][0]["cpu_ms"], json!(12.0), "{shown}");
    let status = hub.run(&["status", "--probes", "--json"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("\"median_us\""), "{status}");
}
