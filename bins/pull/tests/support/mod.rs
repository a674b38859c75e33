//! A Jamf server that is as strict as the real one: it checks tokens, content types and how much it is asked at a time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code, missing_docs, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

pub const CLIENT: &str = "grant_type=client_credentials&client_id=6b1c&client_secret=s3cret%20of%2Bthe-client";

/// How it behaves.
#[derive(Clone)]
pub struct Manner {
    /// It has only the Classic API, and the token's old place.
    pub old: bool,
    /// Requests that a token is good for.
    pub token_uses: usize,
    /// Every so many requests it is busy.
    pub busy_every: usize,
    /// Every page is the first one.
    pub endless: bool,
    /// It sends whoever asks for computers elsewhere.
    pub elsewhere: Option<String>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { old: false, token_uses: usize::MAX, busy_every: usize::MAX, endless: false, elsewhere: None }
    }
}

#[derive(Default)]
pub struct Seen {
    pub requests: Vec<String>,
    pub tokens: BTreeMap<String, usize>,
    pub at_a_time: usize,
    pub most_at_a_time: usize,
    pub busy: usize,
    pub webhooks: BTreeMap<u64, String>,
    /// Numbers of computers by group; [`STATIC`] is one that takes them, [`SMART`] decides itself.
    pub groups: BTreeMap<u64, BTreeSet<u64>>,
    /// What extension attributes say, by computer and attribute; [`ATTRIBUTE`] is there.
    pub values: BTreeMap<(u64, u64), String>,
    /// What was sent by MDM.
    pub commands: Vec<Value>,
}

pub const STATIC: (u64, &str) = (3, "Quarantine & Co");
pub const SMART: (u64, &str) = (5, "All Managed Clients");
pub const ATTRIBUTE: (u64, &str) = (4, "Hub state");
/// What may be sent; the PIN goes with the last two.
const COMMANDS: [&str; 7] = [
    "RESTART_DEVICE",
    "SHUT_DOWN_DEVICE",
    "LOG_OUT_USER",
    "ENABLE_REMOTE_DESKTOP",
    "DISABLE_REMOTE_DESKTOP",
    "DEVICE_LOCK",
    "ERASE_DEVICE",
];

impl Seen {
    pub fn count(&self, what: &str) -> usize {
        self.requests.iter().filter(|r| r.contains(what)).count()
    }
}

pub struct Jamf {
    pub url: String,
    pub seen: Arc<Mutex<Seen>>,
    pub computers: Arc<Mutex<BTreeMap<u64, Value>>>,
}

impl Jamf {
    /// With so many computers, made of the records that are known.
    pub fn start(manner: Manner, computers: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let all: BTreeMap<u64, Value> = (1..=computers).map(|id| (id, computer(id))).collect();
        let jamf = Self { url, seen: Arc::default(), computers: Arc::new(Mutex::new(all)) };
        let (seen, computers) = (jamf.seen.clone(), jamf.computers.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (manner, seen, computers) = (manner.clone(), seen.clone(), computers.clone());
                std::thread::spawn(move || speak(stream, &manner, &seen, &computers));
            }
        });
        jamf
    }
}

/// The record of the SDK's tests for odd numbers, that of Zentral's for even ones.
pub fn computer(id: u64) -> Value {
    let files = ["zentral/jamf_computer_response.json", "jamf-sdk/computer_json.json"];
    // It is used by tests of the root package too.
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("tests/data/jamf"));
    let path = here.filter(|folder| folder.exists()).last().unwrap().join(files[usize::from(id % 2 == 1)]);
    let read: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut computer = read.get("computer").unwrap_or(&read).clone();
    computer["general"]["id"] = id.into();
    computer["general"]["serial_number"] = format!("C02X{id:05}").into();
    computer["general"]["udid"] = format!("54F50251-7D34-470E-98D1-{id:012X}").into();
    computer["general"]["site"] = json!({"id": 3, "name": "Berlin HQ"});
    computer
}

fn speak(stream: TcpStream, manner: &Manner, seen: &Mutex<Seen>, computers: &Mutex<BTreeMap<u64, Value>>) {
    let mut from = BufReader::new(stream.try_clone().unwrap());
    let mut to = stream;
    loop {
        let (mut line, mut headers) = (String::new(), BTreeMap::new());
        if from.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            from.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        from.read_exact(&mut body).unwrap();
        let request = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.requests.push(request.clone());
            seen.at_a_time += 1;
            seen.most_at_a_time = seen.most_at_a_time.max(seen.at_a_time);
            seen.requests.len()
        };
        std::thread::sleep(Duration::from_millis(2));
        let (status, more, answer) = if number.is_multiple_of(manner.busy_every) {
            let mut seen = seen.lock().unwrap();
            seen.busy += 1;
            let status = if seen.busy.is_multiple_of(2) { 503 } else { 429 };
            (status, "Retry-After: 0\r\n".to_owned(), json!({}))
        } else {
            answer(&request, &headers, &body, manner, seen, computers)
        };
        seen.lock().unwrap().at_a_time -= 1;
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\r\n",
            answer.len()
        );
        if to.write_all(&[head.as_bytes(), answer.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

pub type Answer = (u16, String, Value);

/// What the MDM calls a computer.
pub fn management(id: u64) -> String {
    format!("aaaaaaaa-3f1e-4b3a-a5b3-{id:012x}")
}

/// What stands between the two, as text; none: it is another XML.
fn within<'a>(xml: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let text = xml.strip_prefix(before)?.strip_suffix(after)?;
    (!text.contains('<')).then_some(text)
}

fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn decoded(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
        bytes.push(if byte == b'%' { digit() << 4 | digit() } else { byte });
    }
    String::from_utf8(bytes).unwrap()
}

/// The Classic API changes by XML: 415 for anything else, 404 for what is not there, 409 for what cannot be.
fn written(path: &str, kind: &str, body: &[u8], seen: &Mutex<Seen>, known: &dyn Fn(u64) -> bool) -> Answer {
    let plain = |status: u16| (status, String::new(), json!({}));
    let (Ok(xml), true) = (std::str::from_utf8(body), matches!(kind, "text/xml" | "application/xml")) else {
        return plain(415);
    };
    let mut seen = seen.lock().unwrap();
    if let Some(id) = path.strip_prefix("/JSSResource/computergroups/id/") {
        let Ok(group) = id.parse::<u64>() else { return plain(400) };
        if group == SMART.0 {
            return plain(409);
        }
        if group != STATIC.0 {
            return plain(404);
        }
        for (word, into) in [("computer_additions", true), ("computer_deletions", false)] {
            let (before, after) = (
                format!("<computer_group><{word}><computer><id>"),
                format!("</id></computer></{word}></computer_group>"),
            );
            let Some(id) = within(xml, &before, &after) else { continue };
            let Some(id) = id.parse().ok().filter(|id| known(*id)) else { return plain(409) };
            let members = seen.groups.entry(group).or_default();
            let _ = if into { members.insert(id) } else { members.remove(&id) };
            return plain(201);
        }
        return plain(400);
    }
    let computer = path.strip_prefix("/JSSResource/computers/id/").and_then(|id| id.parse::<u64>().ok());
    let Some(computer) = computer.filter(|id| known(*id)) else { return plain(404) };
    let before = "<computer><extension_attributes><extension_attribute><id>";
    let after = "</value></extension_attribute></extension_attributes></computer>";
    let inner = xml.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let Some((id, value)) = inner.and_then(|rest| rest.split_once("</id><value>")) else { return plain(400) };
    let bad = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if value.contains('<') || value.contains(bad) {
        return plain(400);
    }
    if id.parse() != Ok(ATTRIBUTE.0) {
        return plain(409);
    }
    seen.values.insert((computer, ATTRIBUTE.0), unescaped(value));
    plain(201)
}

/// The Pro API takes commands as JSON, for computers as the MDM knows them.
fn commanded(path: &str, kind: &str, body: &[u8], seen: &Mutex<Seen>, known: &dyn Fn(u64) -> bool) -> Answer {
    let odd = |status: u16, field: &str| {
        let errors = json!([{"code": "INVALID_FIELD", "description": "invalid", "id": "0", "field": field}]);
        (status, String::new(), json!({"httpStatus": status, "errors": errors}))
    };
    if kind != "application/json" {
        return odd(415, "content-type");
    }
    let Ok(said) = serde_json::from_slice::<Value>(body) else { return odd(400, "body") };
    let is_known = |id: &Value| (1..=300).any(|n| known(n) && *id == management(n));
    let mut seen = seen.lock().unwrap();
    if path == "/api/v2/mdm/blank-push" {
        let Some(ids) = said["clientManagementIds"].as_array().filter(|ids| !ids.is_empty()) else {
            return odd(400, "clientManagementIds");
        };
        let failed: Vec<&Value> = ids.iter().filter(|id| !is_known(id)).collect();
        let answer = json!({ "errorUuids": failed });
        seen.commands.push(said.clone());
        return (200, String::new(), answer);
    }
    let client = &said["clientData"][0]["managementId"];
    let command = said["commandData"]["commandType"].as_str().unwrap_or_default();
    let pin = said["commandData"]["pin"].as_str();
    if !is_known(client) {
        return odd(400, "clientData");
    }
    if !COMMANDS.contains(&command) {
        return odd(400, "commandType");
    }
    let six = pin.is_some_and(|pin| pin.len() == 6 && pin.bytes().all(|b| b.is_ascii_digit()));
    if (command == "DEVICE_LOCK" || pin.is_some()) && !six {
        return odd(400, "pin");
    }
    seen.commands.push(said.clone());
    let id = seen.commands.len();
    (201, String::new(), json!([{"id": id.to_string(), "href": format!("/api/v2/mdm/commands/{id}")}]))
}

pub fn answer(
    request: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
    manner: &Manner,
    seen: &Mutex<Seen>,
    computers: &Mutex<BTreeMap<u64, Value>>,
) -> Answer {
    let plain = |status: u16, value: Value| (status, String::new(), value);
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    let tokens = if manner.old { "POST /api/oauth/token" } else { "POST /api/v1/oauth/token" };
    if request.starts_with("POST /api/") && request.contains("/token") {
        return match request {
            _ if request != tokens => plain(404, json!({})),
            _ if header("content-type") != "application/x-www-form-urlencoded" => plain(415, json!({})),
            _ if body != CLIENT.as_bytes() => plain(401, json!({"error": "invalid_client"})),
            _ => {
                let mut seen = seen.lock().unwrap();
                let token = format!("token-{}", seen.tokens.len());
                seen.tokens.insert(token.clone(), manner.token_uses);
                plain(200, json!({"access_token": token, "expires_in": 1200, "scope": "", "token_type": "Bearer"}))
            }
        };
    }
    {
        let mut seen = seen.lock().unwrap();
        let token = header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        match seen.tokens.get_mut(token) {
            Some(0) | None => return plain(401, json!({"httpStatus": 401, "errors": []})),
            Some(uses) => *uses -= 1,
        }
    }
    if let Some((method, id)) = request.split_once(" /JSSResource/webhooks/id/") {
        let (id, webhooks) = (id.parse().unwrap(), &mut seen.lock().unwrap().webhooks);
        if method == "DELETE" {
            return plain(if webhooks.remove(&id).is_some() { 200 } else { 404 }, json!({}));
        }
        let text = String::from_utf8(body.to_vec()).unwrap();
        let id = if method == "POST" { webhooks.len() as u64 + 1 } else { id };
        assert!(method == "POST" || webhooks.contains_key(&id), "{request}");
        if header("content-type") != "text/xml" || !text.starts_with("<webhook><name>") {
            return plain(415, json!({}));
        }
        webhooks.insert(id, text);
        return plain(201, json!({}));
    }
    let known = |id: u64| computers.lock().unwrap().contains_key(&id);
    if let Some(path) = request.strip_prefix("PUT ") {
        return written(path, header("content-type"), body, seen, &known);
    }
    if let Some(path) = request.strip_prefix("POST ").filter(|path| path.starts_with("/api/v2/mdm/") && !manner.old) {
        return commanded(path, header("content-type"), body, seen, &known);
    }
    if header("accept") != "application/json" {
        return plain(406, json!("the Classic API speaks XML to whoever does not ask for JSON"));
    }
    if let Some(elsewhere) = &manner.elsewhere {
        return (302, format!("Location: {elsewhere}/api/v4/computers-inventory\r\n"), json!({}));
    }
    let computers = computers.lock().unwrap();
    let path = request.strip_prefix("GET ").unwrap_or_default();
    let (path, subset) = match path.strip_suffix("/subset/General") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let found = |computer: Option<&Value>| match computer {
        Some(computer) if subset => plain(200, json!({"computer": {"general": computer["general"]}})),
        Some(computer) => plain(200, json!({"computer": computer})),
        None => plain(404, json!({})),
    };
    if let Some(id) = path.strip_prefix("/JSSResource/computers/id/") {
        return found(computers.get(&id.parse().unwrap()));
    }
    if let Some(serial) = path.strip_prefix("/JSSResource/computers/serialnumber/") {
        return found(computers.values().find(|c| c["general"]["serial_number"] == serial));
    }
    if let Some(udid) = path.strip_prefix("/JSSResource/computers/udid/") {
        return found(computers.values().find(|c| c["general"]["udid"] == udid));
    }
    if path == "/JSSResource/computergroups" {
        let one = |(id, name): (u64, &str), smart: bool| json!({"id": id, "name": name, "is_smart": smart});
        return plain(200, json!({"computer_groups": [one(SMART, true), one(STATIC, false)]}));
    }
    if let Some(id) = path.strip_prefix("/JSSResource/computergroups/id/") {
        let Some(id) = id.parse().ok().filter(|id| *id == STATIC.0) else { return plain(404, json!({})) };
        let seen = seen.lock().unwrap();
        let members = seen.groups.get(&id).into_iter().flatten();
        let members: Vec<Value> =
            members.map(|id| json!({"id": id, "serial_number": format!("C02X{id:05}")})).collect();
        return plain(
            200,
            json!({"computer_group": {"id": id, "name": STATIC.1, "is_smart": false, "computers": members}}),
        );
    }
    if let Some(name) = path.strip_prefix("/JSSResource/computerextensionattributes/name/") {
        let about = json!({"id": ATTRIBUTE.0, "name": ATTRIBUTE.1, "data_type": "String"});
        return match decoded(name) == ATTRIBUTE.1 {
            true => plain(200, json!({ "computer_extension_attribute": about })),
            false => plain(404, json!({})),
        };
    }
    if let Some(id) = path.strip_prefix("/api/v2/computers-inventory-detail/").filter(|_| !manner.old) {
        return match id.parse().ok().filter(|id| computers.contains_key(id)) {
            Some(id) => plain(200, json!({"id": id.to_string(), "general": {"managementId": management(id)}})),
            None => plain(404, json!({})),
        };
    }
    if path == "/JSSResource/webhooks" {
        let name = |xml: &String| xml.split_once("<name>").unwrap().1.split_once("</name>").unwrap().0.to_owned();
        let webhooks = &seen.lock().unwrap().webhooks;
        let all: Vec<Value> = webhooks.iter().map(|(id, xml)| json!({"id": id, "name": name(xml)})).collect();
        return plain(200, json!({"webhooks": all}));
    }
    if path == "/JSSResource/computers" {
        let all: Vec<Value> = computers.keys().map(|id| json!({"id": id, "name": "x"})).collect();
        return plain(200, json!({"computers": all}));
    }
    if let Some(query) =
        path.strip_prefix("/api/v2/computers-inventory?").filter(|q| q.contains("filter=") && !manner.old)
    {
        let said: BTreeMap<&str, String> =
            query.split('&').map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k, decoded(v))).collect();
        // RSQL: another than this is refused, as a text that is not closed.
        let Some((field, rest)) = said["filter"].split_once("==\"") else { return plain(400, json!({})) };
        let Some(id) = rest.strip_suffix('"').filter(|id| !id.contains('"')) else { return plain(400, json!({})) };
        let is_it = |c: &&Value| match field {
            "hardware.serialNumber" => c["general"]["serial_number"] == id,
            _ => c["general"]["udid"] == id,
        };
        // Only the sections that were asked for.
        let hardware = |c: &Value| match said.get("section").map(String::as_str) {
            Some("HARDWARE") => json!({"serialNumber": c["general"]["serial_number"]}),
            _ => Value::Null,
        };
        let found: Vec<Value> = computers
            .values()
            .filter(is_it)
            .map(|c| json!({"id": c["general"]["id"].to_string(), "udid": c["general"]["udid"], "hardware": hardware(c)}))
            .collect();
        return plain(200, json!({"totalCount": found.len(), "results": found}));
    }
    match path.strip_prefix("/api/v2/computers-inventory?page=") {
        Some(rest) if !manner.old => {
            let page: usize = if manner.endless { 0 } else { rest.split('&').next().unwrap().parse().unwrap() };
            assert!(rest.contains("&page-size=100&section=GENERAL"), "{rest}");
            let ids: Vec<Value> =
                computers.keys().skip(page * 100).take(100).map(|id| json!({"id": id.to_string()})).collect();
            let total = if manner.endless { usize::MAX } else { computers.len() };
            plain(200, json!({"totalCount": total, "results": ids}))
        }
        _ => plain(404, json!({})),
    }
}
