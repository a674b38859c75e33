//! The console's pages of one machine: what changed over time and two times compared, ten thousand things, everything about
//! what an event names; and what hostile words of an address or a header can do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "console/browser.rs"]
mod browser;
mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use browser::{Browser, Reply, api, hub, person, start, token};
use serde_json::{Value, json};
use support::agent::{Agent, Client};

/// Packages of a machine that has many.
const MANY: usize = 10_000;
/// What a page may have.
const HTML_MAX: usize = 200_000;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What osquery tells of a machine, some seconds ago.
fn inventory(agent: &mut Agent, ago: u64, rows: Vec<Value>) {
    let record = json!({"name": "ztl-inv", "hostIdentifier": "h", "unixTime": now() - ago, "action": "snapshot",
        "epoch": 0, "counter": 0, "numerics": false, "snapshot": rows});
    assert!(agent.log(&[record]).unwrap());
}

fn package(name: &str, version: &str) -> Value {
    json!({"table_name": "deb_packages", "name": name, "version": version, "arch": "amd64"})
}

fn system(host: &str) -> Value {
    json!({"table_name": "system_info", "computer_name": host, "hostname": host, "hardware_model": "Model"})
}

/// How many snapshots that changed something are known.
fn snapshots(port: u16, token: &str, key: &str) -> Vec<Value> {
    let reply = api(port, token, &format!("/machines/{key}/history"));
    let told = if reply.status == 200 { reply.json() } else { Value::Null };
    told["snapshots"].as_array().cloned().unwrap_or_default()
}

/// The addresses of its links that begin so.
fn links(page: &Reply, start: &str) -> Vec<String> {
    let begin = format!("href=\"{start}");
    let rests = page.body.split(&begin).skip(1);
    rests.map(|rest| format!("{start}{}", rest.split('"').next().unwrap().replace("&#38;", "&"))).collect()
}

#[test]
fn what_changed_and_two_times_compared() {
    let (hub, port) = start(hub("\n[unit.rome]", ""));
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret_of("default"), "S1");
    agent.enrol().unwrap();
    let all = token(&hub, &[]);
    let odd = "<img src=x onerror=alert(1)>\"'\u{202e}";
    inventory(&mut agent, 60, vec![system("one"), package("vim", "1"), package(odd, "1")]);
    hub.wait("the first snapshot", 60, || snapshots(port, &all, "S1").len() == 1);
    inventory(&mut agent, 40, vec![system("one"), package("vim", "2"), package(odd, "1"), package("nmap", "7")]);
    hub.wait("the second", 60, || snapshots(port, &all, "S1").len() == 2);
    inventory(&mut agent, 20, vec![system("one"), package("vim", "3"), package("nmap", "7")]);
    hub.wait("the third", 60, || snapshots(port, &all, "S1").len() == 3);

    let told = snapshots(port, &all, "S1");
    let counts = |one: &Value| ["added", "removed", "changed"].map(|key| one[key].as_u64().unwrap());
    assert_eq!(told.iter().map(counts).collect::<Vec<_>>(), [[0, 1, 1], [1, 0, 1], [0, 0, 0]], "{told:?}");
    assert_eq!(told.iter().map(|one| one["first"] == true).collect::<Vec<_>>(), [false, false, true]);
    let whole = api(port, &all, "/machines/S1/history").json();
    assert_eq!((&whole["sources"][0]["source"], &whole["sources"][0]["whole"]), (&json!("osquery"), &json!(true)));
    // Page by page nothing is left out.
    let mut after = String::new();
    for one in &told {
        let page = api(port, &all, &format!("/machines/S1/history?n=1&after={after}")).json();
        assert_eq!(
            (&page["snapshots"][0]["received"], page["snapshots"].as_array().unwrap().len()),
            (&one["received"], 1)
        );
        after = page["next"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(after, "");

    // From the first to now; from before anything was told; one snapshot alone.
    let at = |n: usize| told[n]["received"].as_str().unwrap().to_owned();
    let compared = |words: &str| api(port, &all, &format!("/machines/S1/compare?{words}")).json();
    let names = |reply: &Value| {
        let one = |change: &Value| {
            let name = change["object"]["name"].as_str().unwrap_or("-");
            format!("{} {name}", change["action"].as_str().unwrap())
        };
        reply["changes"].as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    let since_first = compared(&format!("from={}", at(2)));
    assert_eq!(names(&since_first), ["added nmap", "changed vim", &format!("removed {odd}")], "{since_first}");
    assert_eq!(
        (&since_first["changes"][1]["was"]["version"], &since_first["changes"][1]["object"]["version"]),
        (&json!("1"), &json!("3"))
    );
    assert_eq!(since_first["kinds"][0]["changed"], 1);
    let ever = compared("from=1d&kind=deb_package");
    assert_eq!(names(&ever), ["added nmap", "added vim"], "before the first it had told nothing: {ever}");
    let alone = compared(&format!("from={}&to={}&source=osquery", at(2), at(1)));
    assert_eq!(names(&alone), ["added nmap", "changed vim"]);
    assert_eq!(compared(&format!("from={}&source=munki", at(2)))["total"], 0);
    assert_eq!(compared("from=now")["total"], 0);
    let mut after = String::new();
    let mut paged = Vec::new();
    loop {
        let page = compared(&format!("from={}&n=1&after={after}", at(2)));
        assert_eq!(page["total"], 3);
        paged.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(paged, names(&since_first));
    for words in ["from=soon", "from=now&to=1d", "from=%00"] {
        assert_eq!(api(port, &all, &format!("/machines/S1/compare?{words}")).status, 400, "{words}");
    }

    // For people: every link of the pages leads on, and what is markup is text.
    let mut vera = person(&hub, port, "vera", &[]);
    let machine = vera.get("/machines/S1");
    assert!(machine.body.contains("href=\"/machines/S1/history\""), "{}", machine.body);
    let history = vera.get("/machines/S1/history");
    for word in ["it had told nothing", "The first that it told.", "version", "1</bdi> → <bdi>2", "/compare?from="] {
        assert!(history.body.contains(word), "{word}: {}", history.body);
    }
    let ways = links(&history, "/machines/S1/compare?");
    assert_eq!(ways.len(), 6, "{ways:?}");
    for way in &ways {
        let page = vera.get(way);
        assert!(
            page.status == 200 && !page.body.contains("<img") && !page.body.contains('\u{202e}'),
            "{way}: {}",
            page.body
        );
    }
    let page = vera.get(&ways[4]);
    assert!(page.body.contains("The only") || page.body.contains("added"), "{}", page.body);
    // Who is kept to another unit learns nothing.
    let rome = token(&hub, &["--units", "rome"]);
    for path in ["history", "compare", "things/deb_package"] {
        assert_eq!(api(port, &rome, &format!("/machines/S1/{path}")).status, 404, "{path}");
    }
    assert_eq!(api(port, &rome, "/probes?machine=S1").status, 404);
    assert_eq!(api(port, &token(&hub, &["--scopes", "probes"]), "/probes?machine=S1").status, 403);
    assert!(api(port, &all, "/probes?machine=S1").json()["total"].as_u64().unwrap() >= 1);
    assert_eq!(api(port, &all, "/machines/S1/things/nothing").status, 404);
}

#[test]
fn ten_thousand_things_are_pages() {
    let (hub, port) = start(hub("", ""));
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret_of("default"), "S2");
    agent.enrol().unwrap();
    // Every letter of a name takes five bytes of a page.
    let name = |n: usize| format!("{}{n:05}", "<\"&'>".repeat(6));
    let rows = (0..MANY).map(|n| package(&name(n), "1")).chain([system("many")]).collect();
    inventory(&mut agent, 60, rows);
    let all = token(&hub, &[]);
    hub.wait("the machine with its things", 120, || {
        let told = api(port, &all, "/machines/S2/things/deb_package?n=1");
        told.status == 200 && told.json()["total"] == MANY
    });
    inventory(&mut agent, 30, (0..MANY).map(|n| package(&name(n), "2")).chain([system("many")]).collect());
    hub.wait("the changes", 120, || snapshots(port, &all, "S2").len() == 2);
    let mut vera = person(&hub, port, "vera", &[]);
    let (mut path, mut seen) = ("/machines/S2/things/deb_package".to_owned(), 0);
    let mut pages = 0;
    loop {
        let page = vera.get(&path);
        assert!(page.status == 200 && page.body.len() < HTML_MAX, "{path}: {}", page.body.len());
        seen += page.body.matches("<tr>").count() - 1;
        pages += 1;
        let Some(next) = page.body.split("class=\"next\" href=\"").nth(1) else { break };
        path = format!("/machines/S2/things/deb_package{}", next.split('"').next().unwrap().replace("&#38;", "&"));
    }
    assert!(seen == MANY && pages > 10, "{seen} on {pages} pages");
    let one = vera.get("/machines/S2/things/deb_package?q=07777");
    assert_eq!(one.body.matches("<tr>").count(), 2, "{}", one.body);
    for path in [
        "/machines/S2",
        "/machines/S2/history",
        "/machines/S2/compare",
        "/machines/S2/compare?from=1m&kind=deb_package",
    ] {
        let page = vera.get(path);
        assert!(page.status == 200 && page.body.len() < HTML_MAX, "{path}: {}", page.body.len());
    }
    let told = api(port, &all, "/machines/S2/compare?from=45s&kind=deb_package&n=1000").json();
    assert_eq!(
        (told["changes"].as_array().unwrap().len(), told["next"].as_str()),
        (1000, Some("1000")),
        "{}",
        told["total"]
    );
}

/// From an event to all that is about what it names, whatever that is called.
#[test]
fn everything_about_what_an_event_names() {
    let (hub, port) = start(hub("\n[source.santa]", ""));
    let made: Value =
        serde_json::from_str(&hub.ok(&["enrol", "new", "--source", "santa", "--unit", "default"])).unwrap();
    let headers = format!(
        "Zentral-Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
        made["secret"].as_str().unwrap()
    );
    let names =
        ["ada", "a\" OR type:* OR \"b", "back\\slash \\\" end", "st*r ?", "tu\u{202e}rned", "AND (", "'<bold>'"];
    let mut client = Client::new(&hub.ca(), hub.port);
    for (n, name) in names.iter().enumerate() {
        let id = format!("0F2C7A6E-5B1D-5E0C-8D54-{n:012X}");
        let machine = json!({"serial_num": format!("SANTA{n}"), "hostname": "h", "os_version": "15.1", "os_build": "1",
            "santa_version": "2025.6", "client_mode": "MONITOR", "machine_id": id, "primary_user": format!("owner {name}")});
        let event = json!({"decision": "BLOCK_BINARY", "file_sha256": format!("{n:064x}"), "file_name": name,
            "file_path": format!("/opt/{name}"), "executing_user": name, "execution_time": now(), "logged_in_users": [format!("logged {name}")],
            "current_sessions": [], "pid": 7, "ppid": 1, "parent_name": "p", "team_id": "EQHXZ8M8AV", "signing_id": "EQHXZ8M8AV:org.a",
            "signing_chain": [{"sha256": format!("{:064x}", n + 100), "cn": "c", "org": "o", "ou": "u", "valid_from": 1, "valid_until": 2}]});
        for (stage, body) in [("preflight", machine), ("eventupload", json!({"events": [event]}))] {
            let path = format!("/public/santa/sync/{stage}/{id}");
            let (status, answer) = client.request("POST", &path, &headers, body.to_string().as_bytes()).unwrap();
            assert_eq!(status, 200, "{stage}: {}", String::from_utf8_lossy(&answer));
        }
    }
    hub.wait("the events in the store", 60, || hub.events("type:santa_event").len() == names.len());
    let mut vera = person(&hub, port, "vera", &[]);
    let all = token(&hub, &[]);
    for event in hub.events("type:santa_event") {
        let (id, name) = (event["id"].as_str().unwrap(), event["payload"]["executing_user"].as_str().unwrap());
        let page = vera.get(&format!("/events/{id}"));
        let section = page.body.split("id=\"objects\"").nth(1).unwrap().split("</section>").next().unwrap().to_owned();
        let section = Reply { status: 200, head: String::new(), body: section };
        let found = links(&section, "/events?");
        // The file by digest, by path; team, signing id, certificate; who ran it, who was there.
        assert!(found.len() >= 7, "{found:?}");
        for link in &found {
            let told = api(port, &all, link);
            assert_eq!(told.status, 200, "{link}: {}", told.body);
            let told = told.json();
            let events = told["events"].as_array().unwrap();
            assert!(events.iter().any(|one| one["id"] == id), "{name:?}: {link} finds {told}");
            // Only a team and its id are the same of all of them.
            let shared = link.contains("team%3A") || link.contains("signingid%3A");
            let others = events.iter().filter(|one| one["type"] == "santa_event" && one["id"] != id).count();
            assert!(shared || others == 0, "{name:?}: {link} finds {others} others");
        }
        for link in links(&page, "/events?").iter().take(8) {
            assert_eq!(api(port, &all, link).status, 200, "{link}");
        }
    }
}

/// Words in an address become no header, no other file, and no other line of an answer.
#[test]
fn no_header_and_no_file_of_somebody_elses_choice() {
    let (hub, port) = start(hub("", "edit = true\n"));
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret_of("default"), "S3");
    agent.enrol().unwrap();
    let mut ada = person(&hub, port, "ada", &["--role", "admin"]);
    let plain = |reply: &Reply, what: &str| {
        let head = reply.head.to_lowercase();
        assert!(!head.contains("injected") && !head.contains("owned"), "{what}: {}", reply.head);
        assert!(reply.status < 500 || reply.status == 503, "{what}: {}", reply.head);
    };
    let breaks = [
        "%0d%0aInjected:%201",
        "%0aInjected:1",
        "%E5%98%8D%E5%98%8AInjected:1",
        "%00",
        "x%0d%0a%0d%0a%3Cscript%3Eowned%3C/script%3E",
    ];
    let paths: Vec<&str> =
        console::routes().iter().filter(|(method, ..)| *method == "GET").map(|(_, path, ..)| *path).collect();
    for text in breaks {
        for path in &paths {
            let filled: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { text } else { part })
                .collect::<Vec<_>>()
                .join("/");
            for asked in [filled.clone(), format!("{filled}?q={text}&next={text}&after={text}&since={text}")] {
                plain(&ada.get(&asked), &asked);
            }
        }
        // What is sent back as the way on, or as the name of a file.
        let csrf = ada.get("/status").csrf();
        plain(&ada.post("/theme", &csrf, &format!("theme=dark&next=/{text}")), text);
        plain(&ada.post("/playground/file", &csrf, &format!("filter=true&probe={text}")), text);
        plain(&ada.post("/machines/S3/tags", &csrf, &format!("add={text}")), text);
        let mut fresh = Browser::new(port);
        let form = fresh.get(&format!("/login?next=/{text}"));
        plain(&form, text);
        let csrf = form.csrf();
        let reply = fresh.post("/login", &csrf, &format!("name=ada&password={}&next=/{text}", browser::PASSWORD));
        plain(&reply, text);
        if let Some(to) = reply.header("location") {
            assert!(to.starts_with('/') && !to.starts_with("//"), "{to}");
        }
    }
    // Files: only those of the console, whatever the path says, and none that a form names.
    let secret = std::fs::read(hub.path("data/secret.key")).unwrap();
    let pipeline = std::fs::read_to_string(hub.path("pipeline.toml")).unwrap();
    for path in [
        "/assets/../pipeline.toml",
        "/assets/..%2fpipeline.toml",
        "/assets/..%2f..%2fdata%2fsecret.key",
        "/assets/%2e%2e/%2e%2e/data/secret.key",
        "/assets/....//secret.key",
        "/assets/..%5c..%5cpipeline.toml",
        "/assets//etc/passwd",
        "/assets/%2Fetc%2Fpasswd",
        "/assets/console.css%00.html",
        "/machines/..%2f..%2fdata%2fsecret.key",
        "/machines/S3/things/..%2f..%2fusers",
        "/probes/..%2f..%2fpipeline.toml/edit",
        "/probes/..%2fpipeline/edit",
        "/sources/..%2f..%2fetc%2fpasswd",
        "/enrol/..%2f..%2fsecret.key",
        "/actions/..%2f..%2fetc%2fpasswd",
        "/events/..%2f..%2fmetrics",
        "/events/x%3funits%3d/raw",
        "/events/..%2fsearch%3fq%3d/raw",
        "/query/..%2f..%2f/rows.csv",
    ] {
        let reply = ada.get(path);
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.head);
        assert!(!reply.body.contains("root:") && !reply.body.contains(&pipeline), "{path}: {}", reply.body);
        assert!(!reply.body.as_bytes().windows(secret.len()).any(|part| part == secret), "{path}");
    }
    let csrf = ada.get("/status").csrf();
    for name in ["../../pipeline", "..%2F..%2Fpipeline", "/etc/passwd", "numbers%00"] {
        let path = format!("/probes/{}/save", name.replace('/', "%2F"));
        assert_eq!(ada.post(&path, &csrf, "filter=true&seen=x").status, 404, "{name}");
        assert_eq!(ada.post("/examples", &csrf, &format!("probe={name}&event=x&match=yes")).status, 404, "{name}");
    }
    assert_eq!(std::fs::read_to_string(hub.path("pipeline.toml")).unwrap(), pipeline);
}
