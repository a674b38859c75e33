//! What the console says of itself in `/openapi.json` is what it does: schemathesis asks everything that is described, in
//! every way it can think of, over the hub of the demo; and the examples, there and in the documents, are run.
//! `scripts/api` gets what the first needs and runs it; `cargo test` leaves it out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "console/browser.rs"]
mod browser;
#[path = "browser/demo.rs"]
mod demo;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use browser::{Browser, PASSWORD, api, hub, start, token};
use demo::Demo;
use serde_json::{Value, json};

/// How long schemathesis may take.
const SECONDS_MAX: u64 = 300;

/// A program that asks the console.
struct Program {
    port: u16,
    token: String,
}

impl Program {
    fn get(&self, path: &str) -> Value {
        let reply = api(self.port, &self.token, path);
        assert_eq!(reply.status, 200, "{path}: {}\n{}", reply.head, reply.body);
        reply.json()
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let headers = format!(
            "Authorization: Bearer {}\r\nAccept: application/json\r\nContent-Type: application/json\r\n",
            self.token
        );
        let reply = Browser::new(self.port).send("POST", path, &headers, &body.to_string());
        (reply.status, reply.json())
    }

    fn made(&self, path: &str, body: &Value) -> Value {
        let (status, told) = self.post(path, body);
        assert_eq!(status, 201, "{path}: {told}");
        told
    }

    /// Some words of a list.
    fn all(&self, path: &str, list: &str, word: &str) -> Vec<Value> {
        let told = self.get(path);
        told[list]
            .as_array()
            .unwrap_or_else(|| panic!("{path}: no {list}"))
            .iter()
            .map(|one| one[word].clone())
            .collect()
    }
}

/// The admin of the demo, as a program.
fn admin(demo: &Demo) -> Program {
    let mut person = Browser::new(demo.port);
    person.take(&demo.link, PASSWORD);
    let csrf = person.get("/users").csrf();
    let headers = "Accept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let made = person.send("POST", "/tokens", headers, &format!("csrf={csrf}&name=api&role=admin"));
    Program { port: demo.port, token: made.json()["token"].as_str().unwrap().to_owned() }
}

/// By path the values of its first variable part that lead somewhere. What is removed by a request is there for that: neither the
/// token that asks nor most of the machines may go.
fn there(admin: &Program) -> Vec<(&'static str, Vec<Value>)> {
    let mut machines = admin.all("/machines", "machines", "key");
    let forgotten = machines.split_off(machines.len() - 1);
    let events = admin.all("/events?n=20", "events", "id");
    let probes = admin.all("/probes", "probes", "name");
    let actions = admin.all("/actions", "actions", "action");
    let mut incidents = admin.all("/incidents", "incidents", "id");
    incidents.extend(admin.all("/incidents?state=closed", "incidents", "id"));
    let sources = admin.all("/sources", "sources", "name");
    let mut shipped = admin.all("/shipped", "probes", "name");
    shipped.truncate(3);
    let (mut enrolments, mut revoked, mut users, mut gone) = (vec![], vec![], vec![], vec![]);
    let (mut tokens, mut queries) = (vec![], vec![]);
    for (n, source) in ["osquery", "santa", "munki"].into_iter().enumerate() {
        let enrol = json!({"unit": "default", "source": source});
        enrolments.push(admin.made("/enrol", &enrol)["id"].clone());
        revoked.push(admin.made("/enrol", &enrol)["id"].clone());
        let name = format!("fuzz-{n}");
        admin.made("/users", &json!({"name": name, "role": "viewer"}));
        users.push(json!(name));
        let name = format!("gone-{n}");
        admin.made("/users", &json!({"name": name, "role": "viewer"}));
        gone.push(json!(name));
        tokens.push(admin.made("/tokens", &json!({"name": name, "role": "viewer"}))["id"].clone());
        queries.push(admin.made("/query", &json!({"sql": "select 1", "sure": true}))["query"].clone());
    }
    assert!([&machines, &events, &probes, &actions, &sources].iter().all(|all| !all.is_empty()), "the demo is empty");
    vec![
        ("/machines/{key}/forget", forgotten),
        ("/machines/", machines),
        ("/events/", events),
        ("/probes/", probes),
        ("/incidents/", incidents),
        ("/actions/", actions),
        ("/shipped/{name}/files/{file}", vec![json!("usb-device")]),
        ("/shipped/", shipped),
        ("/connect/", vec![json!("slack"), json!("email")]),
        ("/query/{id}/cancel", queries.split_off(1)),
        ("/query/", queries),
        ("/sources/", sources),
        ("/enrol/{id}/revoke", revoked),
        ("/enrol/", enrolments),
        ("/users/{name}/remove", gone),
        ("/users/", users),
        ("/tokens/", tokens),
    ]
}

/// Nothing is called like this.
const NOTHING: &str = "nothing-like-it";

/// The description as it is tested: its words lead to what there is, and an answer that says more than its schema is wrong.
fn strict(mut description: Value, there: &[(&str, Vec<Value>)]) -> Value {
    let of = |path: &str| there.iter().find(|(begin, _)| path.starts_with(begin)).map(|(_, known)| known);
    let some = |known: &[Value]| -> Value { known.iter().cloned().chain([json!(NOTHING)]).collect() };
    // Of paths with two.
    let second = [
        ("{file}", vec![json!("usb-device.jq"), json!("usb-device.toml")]),
        ("{kind}", vec![json!("os_version"), json!("system_info")]),
    ];
    let named = [
        ("unit", vec![json!("default")]),
        ("probe", of("/probes/").unwrap().clone()),
        ("event", of("/events/").unwrap().clone()),
    ];
    for (path, operations) in description["paths"].as_object_mut().unwrap() {
        if let Some(part) = operations["parameters"].get_mut(0) {
            let known = of(path).unwrap_or_else(|| panic!("{path}: what is there?"));
            part["schema"]["enum"] = some(known);
            part["examples"] =
                known.iter().enumerate().map(|(n, one)| (n.to_string(), json!({"value": one}))).collect();
        }
        let of_two = second.iter().find(|(word, _)| path.ends_with(word));
        if let Some(((_, known), part)) = of_two.zip(operations["parameters"].get_mut(1)) {
            part["schema"]["enum"] = some(known);
            part["examples"] = json!({"0": {"value": known[0]}});
        }
        for (word, known) in &named {
            for asked in operations.pointer_mut("/get/parameters").and_then(Value::as_array_mut).into_iter().flatten() {
                if asked["name"] == *word {
                    // Others are looked for in vain, which is no mistake.
                    asked["example"] = known[0].clone();
                }
            }
            let bodies = operations.pointer_mut("/post/requestBody/content").and_then(Value::as_object_mut);
            for body in bodies.into_iter().flat_map(|all| all.values_mut()) {
                if body.pointer(&format!("/schema/properties/{word}/type")).is_some_and(|kind| kind == "string") {
                    body["schema"]["properties"][word]["enum"] = some(known);
                    body["example"][word] = known[0].clone();
                }
            }
        }
    }
    for (name, schema) in description["components"]["schemas"].as_object_mut().unwrap() {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() && name != "Refused" {
            schema["additionalProperties"] = json!(false);
        }
    }
    description
}

/// Runs schemathesis in a folder of its own; whether it found nothing, and all that was asked and answered.
fn run(program: &Program, description: &Value, words: &[&str]) -> (bool, Value) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("openapi.json"), description.to_string()).unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/schemathesis.toml");
    std::fs::copy(config, dir.path().join("schemathesis.toml")).unwrap();
    let schemathesis = std::env::var("SCHEMATHESIS").expect("scripts/api says where it is");
    let mut command = Command::new("timeout");
    command.args([&SECONDS_MAX.to_string(), &schemathesis, "run", "openapi.json", "--report-har-path", "all.har"]);
    command.args(["--url", &format!("http://127.0.0.1:{}", program.port)]).args(words);
    let out = command.current_dir(dir.path()).env("ZENTRAL_TOKEN", &program.token).output().unwrap();
    eprintln!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let asked = std::fs::read(dir.path().join("all.har")).unwrap();
    (out.status.success(), serde_json::from_slice(&asked).unwrap())
}

/// What was done for somebody: method and path as the description has it.
fn done(description: &Value, all: &Value) -> BTreeSet<String> {
    let like = |template: &str, path: &str| {
        let (a, b) = (template.split('/'), path.split('/'));
        a.clone().count() == b.clone().count() && a.zip(b).all(|(a, b)| a == b || a.starts_with('{'))
    };
    let mut done = BTreeSet::new();
    for entry in all["log"]["entries"].as_array().unwrap() {
        if !(200..300).contains(&entry["response"]["status"].as_u64().unwrap()) {
            continue;
        }
        let url = entry["request"]["url"].as_str().unwrap();
        let path = url.splitn(4, '/').nth(3).unwrap_or_default().split('?').next().unwrap();
        let paths = description["paths"].as_object().unwrap().keys();
        let mut fit: Vec<&String> = paths.filter(|template| like(template, &format!("/{path}"))).collect();
        fit.sort_by_key(|template| template.matches('{').count());
        done.extend(fit.first().map(|template| format!("{} {template}", entry["request"]["method"].as_str().unwrap())));
    }
    done
}

/// What the demo has nothing for, so that nothing but refusals come: no Santa has synced and nothing waits for leave, its
/// incidents are over and its dead letters few, the text that is to be replaced is nothing to be guessed, and it has every
/// probe that ships.
const REFUSED: [&str; 9] = [
    "POST /machines/{key}/sync",
    "POST /machines/{key}/approve",
    "POST /probes/{name}/save",
    "POST /shipped/{name}/take",
    "POST /incidents/{id}/take",
    "POST /incidents/{id}/comment",
    "POST /incidents/{id}/close",
    "POST /actions/{name}/retry",
    "POST /actions/{name}/drop",
];

#[test]
#[ignore = "needs schemathesis: scripts/api"]
fn schemathesis() {
    let demo = Demo::start();
    let admin = admin(&demo);
    let description = strict(admin.get("/openapi.json"), &there(&admin));
    let (sound, all) = run(&admin, &description, &[]);
    assert!(sound, "schemathesis found what it says above");
    let done = done(&description, &all);
    for (path, operations) in description["paths"].as_object().unwrap() {
        for verb in operations.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let one = format!("{} {path}", verb.to_uppercase());
            assert!(done.contains(&one) || REFUSED.contains(&one.as_str()), "{one} was only refused");
        }
    }
    // Whatever was asked, the hub still has what it had.
    admin.get("/status");
    assert!(!admin.all("/machines", "machines", "key").is_empty());
}

/// It finds what is not as it is described.
#[test]
#[ignore = "needs schemathesis: scripts/api"]
fn schemathesis_finds_what_is_wrong() {
    let (_hub, admin) = small();
    let description = strict(
        admin.get("/openapi.json"),
        &[("/probes/", vec![json!("x")]), ("/events/", vec![json!("x")]), ("/", vec![])],
    );
    let words = ["--include-path", "/users"];
    assert!(run(&admin, &description, &words).0, "it is right as it is");
    let mut wrong = description.clone();
    wrong["components"]["schemas"]["Access"]["properties"]["users"]["type"] = json!("string");
    assert!(!run(&admin, &wrong, &words).0, "a word of another type");
    let mut wrong = description.clone();
    wrong["components"]["schemas"]["Access"]["properties"].as_object_mut().unwrap().remove("tokens");
    wrong["components"]["schemas"]["Access"]["required"] = json!(["users"]);
    assert!(!run(&admin, &wrong, &words).0, "a word that nobody told of");
    let mut wrong = description.clone();
    wrong["paths"]["/users"]["post"]["responses"].as_object_mut().unwrap().remove("400");
    assert!(!run(&admin, &wrong, &words).0, "a refusal that nobody told of");
}

/// A hub with nothing in it but what `zentral init` would write, and its admin.
fn small() -> (support::hub::Hub, Program) {
    let (hub, port) = start(hub("", ""));
    let token = token(&hub, &["--role", "admin"]);
    (hub, Program { port, token })
}

/// The words of an operation, each with its example.
fn examples(words: &Value) -> Vec<(String, Value)> {
    let of = |word: &Value| Some((word["name"].as_str()?.to_owned(), word.get("example")?.clone()));
    words.as_array().into_iter().flatten().filter_map(of).collect()
}

/// What the description gives as examples is taken as it stands.
#[test]
fn examples_of_the_description() {
    let (hub, admin) = small();
    hub.wait("the store", 60, || api(admin.port, &admin.token, "/events").status == 200);
    let description = admin.get("/openapi.json");
    let (mut asked, mut sent) = (0, 0);
    for (path, operations) in description["paths"].as_object().unwrap() {
        // What a path names is there in the demo, where schemathesis asks for it.
        if path.contains('{') {
            continue;
        }
        if let Some(get) = operations.get("get") {
            // One by one: all of them at once find nothing.
            for (name, value) in examples(&get["parameters"]) {
                let needed = get["parameters"].as_array().unwrap().iter().filter(|word| word["required"] == true);
                let mut words: Vec<(String, Value)> = examples(&needed.cloned().collect());
                words.retain(|(word, _)| *word != name);
                words.push((name, value));
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let query: Vec<String> =
                    words.iter().map(|(name, value)| format!("{name}={}", encoded(&text(value)))).collect();
                let reply = api(admin.port, &admin.token, &format!("{path}?{}", query.join("&")));
                assert_eq!(reply.status, 200, "GET {path} {words:?}: {}", reply.body);
                asked += 1;
            }
        }
        let Some(body) = operations.get("post").and_then(|post| post["requestBody"]["content"].get("application/json"))
        else {
            continue;
        };
        let needs = body["schema"]["required"].as_array().unwrap();
        let example = body["example"].as_object().unwrap_or_else(|| panic!("POST {path} has no example"));
        // A name or an id of the hub's own is nothing that an example can say.
        if needs.iter().any(|word| !example.contains_key(word.as_str().unwrap())) {
            continue;
        }
        let (status, told) = admin.post(path, &body["example"]);
        assert!([200, 201].contains(&status), "POST {path} {}: {status} {told}", body["example"]);
        sent += 1;
    }
    assert!(asked >= 20 && sent >= 3, "{asked} {sent}");
}

/// As a word of a query has it.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The commands that docs/console.md gives to programs are run as they stand there.
#[test]
fn examples_of_the_page() {
    let (hub, admin) = small();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/console.md");
    let page = std::fs::read_to_string(file).unwrap();
    let (_, part) = page.split_once("\n## For programs\n").expect("the part for programs");
    let part = part.split("\n## ").next().unwrap();
    let (mut token, mut curls) = (String::new(), 0);
    for line in part.split("```sh\n").skip(1).flat_map(|rest| rest.split("```").next().unwrap().lines()) {
        // What follows is a remark.
        let line = line.split("  # ").next().unwrap();
        if let Some(words) = line.strip_prefix("zentral ") {
            let words: Vec<&str> = words.split_whitespace().collect();
            let made: Value = serde_json::from_str(&hub.ok(&words)).unwrap();
            token = made["token"].as_str().unwrap().to_owned();
            continue;
        }
        let words = line.strip_prefix("curl ").unwrap_or_else(|| panic!("neither zentral nor curl: {line}"));
        let words = words.replace("zt1.…", &token).replace("127.0.0.1:8080", &format!("127.0.0.1:{}", admin.port));
        let out = Command::new("sh").arg("-c").arg(format!("curl -sS --fail-with-body {words}")).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{line}: {said}");
        let told: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {said}"));
        assert!(told.is_object() && told.get("error").is_none(), "{line}: {said}");
        curls += 1;
    }
    assert!(curls >= 3, "{curls}");
}

/// Whatever is asked wrongly is refused as JSON, with the status that is told of.
#[test]
fn odd_requests() {
    let (_hub, admin) = small();
    let ask = |method: &str, path: &str, kind: &str, body: &str| {
        let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let headers = format!("Authorization: Bearer {}\r\nAccept: application/json\r\n{kind}", admin.token);
        Browser::new(admin.port).send(method, path, &headers, body)
    };
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    for (method, path, kind, body, status, says) in [
        ("GET", "/machines?nothing=1", "", "", 400, "no word `nothing`"),
        ("GET", "/machines?q=a&q=b", "", "", 400, "q is said twice"),
        ("GET", "/machines?q=a%00", "", "", 400, "q: a text"),
        ("GET", "/machines?n=99999999999999999999", "", "", 400, "n: a whole number from 1 to 500"),
        ("GET", "/machines?n=0", "", "", 400, "n: a whole number"),
        ("GET", "/machines?sort=--name", "", "", 400, "sort: one of name"),
        ("GET", "/users?a=1", "", "", 400, "no word `a` here, nor any other"),
        ("GET", "/machines/%00", "", "", 404, "no such"),
        ("GET", "/machines/%FF", "", "", 400, "no text"),
        ("GET", "/nothing", "", "", 404, "no such page"),
        ("DELETE", "/users", "", "", 405, "not asked in this way"),
        ("POST", "/users", "text/plain", "name=a", 415, "neither"),
        ("POST", "/users", "", "name=a", 415, "neither"),
        ("POST", "/users", json, "[1]", 400, "no JSON object"),
        ("POST", "/users", json, "{", 400, "no JSON object"),
        ("POST", "/users", json, "", 400, "name is missing"),
        (
            "POST",
            "/users",
            "Application/JSON; charset=utf-8",
            "{\"name\": 1, \"role\": \"viewer\"}",
            400,
            "name: a text",
        ),
        ("POST", "/users", json, "{\"name\": \"a\", \"role\": null}", 400, "role: one of"),
        ("POST", "/users", json, "{\"name\": \"a\", \"role\": \"viewer\", \"units\": [1]}", 400, "units: texts"),
        ("POST", "/users", form, "name=a&name=b&role=viewer", 400, "name is said twice"),
        ("POST", "/enrol", json, "{\"source\": \"osquery\", \"quota\": 1.5}", 400, "quota: a whole number"),
        ("POST", "/tokens", form, "name=a&role=viewer&expires=9+d", 400, "expires: a time"),
        ("POST", "/query", json, "{\"sql\": \"select 1\", \"sure\": \"no\"}", 400, "sure: true or false"),
    ] {
        let reply = ask(method, path, kind, body);
        assert_eq!(reply.status, status, "{method} {path} {body}: {}", reply.body);
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(says), "{method} {path} {body}: {error}");
    }
    let large = ask("POST", "/users", form, &"a".repeat(100_000));
    assert!(large.status == 413 && large.json()["error"].is_string(), "{}", large.body);
    // What is not sure is not done.
    let (status, told) = admin.post("/query", &json!({"sql": "select 1", "sure": false}));
    assert_eq!((status, told), (200, json!({"machines": 0})));
    assert_eq!(admin.made("/enrol", &json!({"source": "osquery", "quota": 2.0}))["quota"], 2);
}
