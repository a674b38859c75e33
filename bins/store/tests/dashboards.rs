//! `store setup`: what Kibana and OpenSearch Dashboards are sent, against a stand-in that refuses what they refuse. Neither
//! can be had from a package registry, so none runs here; that each picture shows something is asked of real clusters, in
//! `tests/dashboards.rs` of the root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const KEY: &str = "c2VjcmV0LWtleQ";

/// Which of the two it plays, and what has become of it.
struct Fake {
    url: String,
    kept: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Paths that were asked.
    asked: Arc<Mutex<Vec<String>>>,
    /// The next import is answered so.
    trouble: Arc<Mutex<Option<(u16, String)>>>,
}

fn fake(header: &'static str) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fake = Fake { url, kept: Arc::default(), asked: Arc::default(), trouble: Arc::default() };
    let (kept, asked, trouble) = (fake.kept.clone(), fake.asked.clone(), fake.trouble.clone());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let Some((head, body)) = read(&mut client) else { continue };
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            asked.lock().unwrap().push(format!("{method} {path}"));
            let (status, said) = match (method.as_str(), path.as_str()) {
                ("GET", path) if path.starts_with("/_index_template/") => (404, json!({"status": 404}).to_string()),
                ("PUT", path) if path.starts_with("/_index_template/") => (200, r#"{"acknowledged":true}"#.into()),
                ("POST", "/s/secops/api/saved_objects/_import?overwrite=true") => {
                    match trouble.lock().unwrap().take() {
                        Some(trouble) => trouble,
                        None => import(header, &head, &body, &mut kept.lock().unwrap()),
                    }
                }
                _ => (404, r#"{"statusCode":404,"error":"Not Found","message":"Not Found"}"#.into()),
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                said.len()
            );
            let _ = client.write_all((head + &said).as_bytes());
        }
    });
    fake
}

fn read(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut part) = (Vec::new(), [0; 65536]);
    let mut more = |bytes: &mut Vec<u8>| {
        let n = client.read(&mut part).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&part[..n]);
        Some(())
    };
    let end = loop {
        match bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(&mut bytes)?,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = header(&head, "content-length").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        more(&mut bytes)?;
    }
    Some((head, bytes.split_off(end)))
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn no(status: u16, message: &str) -> (u16, String) {
    (status, json!({"statusCode": status, "error": "Bad Request", "message": message}).to_string())
}

/// What both do with an import.
fn import(xsrf: &str, head: &str, body: &[u8], kept: &mut BTreeMap<String, Value>) -> (u16, String) {
    if header(head, "authorization").as_deref() != Some(&format!("ApiKey {KEY}")) {
        return no(401, "unable to authenticate");
    }
    if header(head, xsrf).is_none() {
        return no(400, &format!("Request must contain a {xsrf} header."));
    }
    let form = header(head, "content-type").unwrap_or_default();
    let Some(boundary) = form.strip_prefix("multipart/form-data; boundary=") else {
        return no(415, "Unsupported Media Type");
    };
    let body = String::from_utf8(body.to_vec()).unwrap();
    let inner = body.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let inner = inner.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let (about, file) = inner.split_once("\r\n\r\n").unwrap();
    assert!(!file.contains(boundary));
    if !about.contains("name=\"file\"") {
        return no(400, "[request body.file]: expected value of type [Stream] but got [undefined]");
    }
    let name = about.split_once("filename=\"").unwrap().1.split('"').next().unwrap();
    if !name.ends_with(".ndjson") {
        return no(400, "Invalid file extension");
    }
    let mut objects: BTreeMap<String, Value> = BTreeMap::new();
    for line in file.lines() {
        let Ok(object) = serde_json::from_str::<Value>(line) else { return no(400, "Unexpected token in JSON") };
        let id = format!("{}:{}", object["type"].as_str().unwrap(), object["id"].as_str().unwrap());
        if objects.insert(id, object).is_some() {
            return no(400, "Non-unique import objects detected");
        }
    }
    let mut errors = Vec::new();
    for (id, object) in &objects {
        let known = match object["type"].as_str().unwrap() {
            "visualization" => "7.10.0",
            "dashboard" | "search" => "7.9.3",
            "index-pattern" => "7.6.0",
            _ => {
                errors.push(json!({"id": id, "type": object["type"], "error": {"type": "unsupported_type"}}));
                continue;
            }
        };
        // Of a version that it does not know nothing is taken, whole imports are refused.
        if object["migrationVersion"][object["type"].as_str().unwrap()] != known {
            return no(422, &format!("Document \"{id}\" belongs to a more recent version"));
        }
        // Searches and views are referred to by those that show them; whatever is missing here may be there already.
        let missing = object["references"].as_array().unwrap().iter().any(|refers| {
            let id = format!("{}:{}", refers["type"].as_str().unwrap(), refers["id"].as_str().unwrap());
            !objects.contains_key(&id) && !kept.contains_key(&id)
        });
        if missing {
            errors.push(json!({"id": object["id"], "type": object["type"], "error": {"type": "missing_references"}}));
        }
    }
    let taken = objects.len() - errors.len();
    kept.extend(objects);
    let mut told = json!({"successCount": taken, "success": errors.is_empty(), "successResults": []});
    if !errors.is_empty() {
        told["errors"] = errors.into();
    }
    (200, told.to_string())
}

fn setup(dir: &Path, fake: &Fake, kind: &str, more: &str, words: &[&str]) -> Output {
    let text = format!(
        "version = 1\nurl = \"https://hub.example.com\"\n[stage.told]\nrun = [\"true\"]\nto = \"topic:events\"\n[stage.elastic]\nrun = \"store\"\nfrom = \"topic:events\"\n\
         kind = \"{kind}\"\nhosts = [\"{}\"]\nlogin = {{ api_key = {{ env = \"ES_KEY\" }} }}\n{more}\n",
        fake.url
    );
    std::fs::write(dir.join("pipeline.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    command.args(["setup", "elastic"]).args(words).current_dir(dir).env_clear().env("ES_KEY", KEY);
    command.output().unwrap()
}

fn said(done: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(!text.contains(KEY), "{text}");
    text
}

#[test]
fn each_takes_its_import_and_takes_it_again() {
    for (kind, xsrf, who) in
        [("elasticsearch", "kbn-xsrf", "Kibana"), ("opensearch", "osd-xsrf", "OpenSearch Dashboards")]
    {
        let dir = tempfile::tempdir().unwrap();
        let fake = fake(xsrf);
        let pages = format!("dashboards = \"{}/s/secops/\"", fake.url);
        for _ in 0..2 {
            let done = setup(dir.path(), &fake, kind, &pages, &[]);
            let text = said(&done);
            assert_eq!(done.status.code(), Some(0), "{text}");
            let kept = fake.kept.lock().unwrap();
            assert!(text.contains(&format!("wrote {} saved objects to {who}", kept.len())), "{text}");
            for (kind, least) in [("index-pattern", 1), ("search", 7), ("visualization", 50), ("dashboard", 5)] {
                let n = kept.keys().filter(|id| id.starts_with(&format!("{kind}:"))).count();
                assert!(n >= least, "{n} of {kind}");
            }
            kept.values().for_each(well_formed);
            let links = kept["index-pattern:zentral-events"]["attributes"]["fieldFormatMap"].as_str().unwrap();
            assert!(links.contains("https://hub.example.com/events/{{rawValue}}"), "{links}");
        }
        assert!(fake.asked.lock().unwrap().iter().any(|ask| ask == "PUT /_index_template/zentral-events"));
    }
}

/// Text within JSON is JSON, and what a dashboard shows is what it refers to.
fn well_formed(object: &Value) {
    let inner = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();
    let attributes = &object["attributes"];
    let refers: Vec<&str> =
        object["references"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    if object["type"] != "index-pattern" {
        let source = inner(&attributes["kibanaSavedObjectMeta"]["searchSourceJSON"]);
        assert_eq!(source["query"]["language"], "lucene");
        assert!(source["indexRefName"].as_str().is_none_or(|name| refers.contains(&name)));
    }
    match object["type"].as_str().unwrap() {
        "dashboard" => {
            let mut taken = std::collections::HashSet::new();
            for panel in inner(&attributes["panelsJSON"]).as_array().unwrap() {
                assert!(refers.contains(&panel["panelRefName"].as_str().unwrap()));
                let side = |name: &str| panel["gridData"][name].as_u64().unwrap();
                assert!(side("x") + side("w") <= 48, "{panel}");
                for (x, y) in (side("x")..side("x") + side("w"))
                    .flat_map(|x| (side("y")..side("y") + side("h")).map(move |y| (x, y)))
                {
                    assert!(taken.insert((x, y)), "one over the other: {panel}");
                }
            }
        }
        "visualization" => {
            let state = inner(&attributes["visState"]);
            let allowed: &[&str] = match state["type"].as_str().unwrap() {
                "metric" => &["metric"],
                "pie" => &["metric", "segment"],
                "table" => &["metric", "bucket"],
                "histogram" => &["metric", "segment", "group"],
                other => panic!("{other}"),
            };
            for (i, agg) in state["aggs"].as_array().unwrap().iter().enumerate() {
                assert_eq!(agg["id"], (i + 1).to_string());
                assert!(allowed.contains(&agg["schema"].as_str().unwrap()), "{state}");
            }
        }
        _ => {}
    }
}

#[test]
fn what_they_refuse_is_said_and_nothing_is_taken_for_done() {
    let dir = tempfile::tempdir().unwrap();
    let kibana = fake("kbn-xsrf");
    let pages = format!("dashboards = \"{}/s/secops\"", kibana.url);
    let refused = json!({"success": false, "successCount": 3, "errors": [
        {"id": "zentral-fleet", "type": "dashboard", "error": {"type": "conflict"}}]});
    for (trouble, what) in [
        ((503, "Kibana server is not ready yet".to_owned()), "status 503, and no JSON"),
        ((200, "<html>Log in</html>".to_owned()), "is this the address of Kibana"),
        (no(403, "Unable to bulk_create index-pattern"), "Unable to bulk_create"),
        ((200, refused.to_string()), "dashboard zentral-fleet (conflict)"),
        // Half of an answer.
        ((200, r#"{"success":true,"succ"#.to_owned()), "no JSON"),
    ] {
        *kibana.trouble.lock().unwrap() = Some(trouble);
        let done = setup(dir.path(), &kibana, "elasticsearch", &pages, &[]);
        let text = said(&done);
        assert_eq!(done.status.code(), Some(4), "{text}");
        assert!(text.contains(what), "{what}: {text}");
    }
    // The other one, and nobody.
    let other = fake("osd-xsrf");
    let pages = format!("dashboards = \"{}/s/secops\"", other.url);
    let done = setup(dir.path(), &other, "elasticsearch", &pages, &[]);
    assert!(done.status.code() == Some(4) && said(&done).contains("must contain a osd-xsrf header"), "{}", said(&done));
    let done = setup(dir.path(), &other, "elasticsearch", "dashboards = \"http://127.0.0.1:1\"", &[]);
    assert_eq!(done.status.code(), Some(4), "{}", said(&done));
    let done = setup(dir.path(), &other, "elasticsearch", "dashboards = \"http://kibana:5601\"", &[]);
    assert!(done.status.code() == Some(2) && said(&done).contains("https://"), "{}", said(&done));
}

#[test]
fn without_an_address_they_are_files() {
    let dir = tempfile::tempdir().unwrap();
    let fake = fake("kbn-xsrf");
    let done = setup(dir.path(), &fake, "elasticsearch", "", &[]);
    assert!(done.status.success() && said(&done).contains("--to DIR"), "{}", said(&done));
    fake.asked.lock().unwrap().clear();

    let done = setup(dir.path(), &fake, "elasticsearch", "index = \"hub-%Y.%m.%d\"", &["--to", "out/files"]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(fake.asked.lock().unwrap().is_empty(), "files need no cluster");
    let file = |name: &str| std::fs::read_to_string(dir.path().join("out/files").join(name)).unwrap();
    let template: Value = serde_json::from_str(&file("template.json")).unwrap();
    assert_eq!(template["index_patterns"], json!(["hub-*.*.*"]));
    let objects = file("dashboards.ndjson");
    assert!(objects.contains("hub-*.*.*") && !objects.contains("zentral-"), "named after its indices");
    // Where it cannot be written.
    std::fs::write(dir.path().join("taken"), "").unwrap();
    let done = setup(dir.path(), &fake, "elasticsearch", "", &["--to", "taken"]);
    assert!(done.status.code() == Some(2) && said(&done).contains("cannot write taken"), "{}", said(&done));
}
