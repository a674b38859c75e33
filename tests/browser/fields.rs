//! Events of which every field is hostile, whatever source may write such a one some day: made from the schema that is
//! checked in, so that a field that is new is among them. And the proof that one value that is not escaped is seen.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::bad;
use crate::chromium::Chromium;
use crate::hostile::{TEXTS, quoted};
use crate::look;
use crate::plain::Browser;
use crate::support::hub::Hub;

/// Bytes of the longest value: a hundred fields and keys of it are still a line.
const LONG: usize = 8 << 10;
/// The page that is shown with a value that is not escaped.
const PAGE: &str = "/page";

/// What every event holds: all that may be said, and what is longer than any page.
pub fn texts() -> Vec<String> {
    let long = ["W", "<b>wide</b> ", "ﷺ", "\"", "\u{10ffff}"].map(|text| text.repeat(LONG / text.len()));
    TEXTS.iter().map(|text| (*text).to_owned()).chain(long).collect()
}

fn schema() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("libs/event/schemas/event.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Keys that nobody knows, and values of every shape below them.
fn odd(text: &str) -> Map<String, Value> {
    let of = json!({text: text, "list": [text, [text], {text: text}], "none": null, "number": 1e300});
    [(text.to_owned(), json!(text)), ("odd".to_owned(), of)].into_iter().collect()
}

/// A value of this schema, every text of which is this. A time is one, and an id.
fn filled(root: &Value, schema: &Value, text: &str) -> Value {
    if let Some(to) = schema["$ref"].as_str() {
        return filled(root, root.pointer(to.trim_start_matches('#')).unwrap(), text);
    }
    if let Some(first) = schema["anyOf"].get(0) {
        return filled(root, first, text);
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str());
    match kind {
        Some("string") if schema["format"] == "date-time" => json!(now()),
        Some("string") => json!(text),
        Some("integer") => json!(1),
        Some("array") => json!([filled(root, &schema["items"], text)]),
        Some("object") => {
            let known = schema["properties"].as_object().into_iter().flatten();
            let mut all: Map<String, Value> = known.map(|(name, of)| (name.clone(), filled(root, of, text))).collect();
            if schema["additionalProperties"] == true {
                all.extend(odd(text));
            }
            Value::Object(all)
        }
        None => payload(text),
        Some(other) => panic!("a schema of {other}"),
    }
}

/// A payload with the names that pages look for.
fn payload(text: &str) -> Value {
    let mut all = odd(text);
    for name in [
        "name",
        "action",
        "decision",
        "status",
        "title",
        "executing_user",
        "primary_user",
        "file_path",
        "file_name",
        "team_id",
    ] {
        all.insert(name.to_owned(), json!(text));
    }
    for name in ["logged_in_users", "object", "columns", "was", "decorations"] {
        all.insert(name.to_owned(), json!({"path": text, "username": text, text: text}));
    }
    all.insert("logged_in_users".to_owned(), json!([text, text]));
    Value::Object(all)
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// How the ids of these events begin.
const ID: &str = "01c1ff7a-0000-8000-8000-";

fn id(n: usize) -> String {
    format!("{ID}{n:012x}")
}

/// Whether it is one of them: the hub tells some of its own.
pub fn is_one(event: &Value) -> bool {
    event["id"].as_str().is_some_and(|id| id.starts_with(ID))
}

/// Dotted names of all fields of an event but for the payload.
fn names(value: &Value, before: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, of)| {
            let dot = if before.is_empty() { "" } else { "." };
            names(of, &format!("{before}{dot}{key}"), all);
        }),
        Value::Array(list) => list.iter().for_each(|of| names(of, before, all)),
        _ => all.push(before.to_owned()),
    }
}

/// Puts an event for each text into the store of a hub that does not run yet. The pages that show them.
pub fn store(hub: &Hub) -> Vec<String> {
    let schema = schema();
    let mut lines = String::new();
    let texts = texts();
    for (n, text) in texts.iter().enumerate() {
        let mut event = filled(&schema, &schema, text);
        event["id"] = json!(id(n));
        event["source"] = json!(text);
        lines.push_str(&format!("{event}\n"));
    }
    let aside = hub.path("aside");
    let out = hub.feed(&["--data", aside.to_str().unwrap(), "store", "--kind", "embedded"], lines.as_bytes());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::create_dir_all(hub.path("data")).unwrap();
    std::fs::rename(aside.join("index"), hub.path("data/index")).unwrap();
    // Each event, as an example, too; every page that can be asked without a name; counts by every field there is.
    let mut pages: Vec<String> = (0..texts.len()).map(|n| format!("/events/{}", id(n))).collect();
    pages.extend((0..texts.len()).map(|n| format!("/examples?probe=hostile&event={}", id(n))));
    let routes = console::routes();
    let bare =
        routes.iter().filter(|(method, path, _, area)| *method == "GET" && !path.contains('{') && *area != "files");
    pages.extend(
        bare.map(|(_, path, ..)| (*path).to_owned()).filter(|path| path != "/examples" && path != "/machines.csv"),
    );
    let mut fields = Vec::new();
    names(&filled(&schema, &schema, "x"), "", &mut fields);
    for text in &TEXTS[..3] {
        names(&filled(&schema, &schema, text), "", &mut fields);
    }
    fields.sort();
    fields.dedup();
    pages.extend(fields.iter().map(|name| format!("/events?by={}&since=30d", quoted(name))));
    pages.push("/probes/hostile".to_owned());
    pages
}

/// Serves a page of the console with one value of it as the machine wrote it, value after value: each is to be seen.
pub fn unescaped(chromium: &Chromium, plain: &mut Browser) {
    let mut files = BTreeMap::new();
    for path in ["/assets/console.css", "/assets/console.js", "/assets/icon.svg"] {
        let reply = plain.get(path);
        files.insert(path.to_owned(), (reply.header("content-type").unwrap().to_owned(), reply.body));
    }
    let server = bad::Pages::serve(files);
    let mut tried = BTreeMap::<&str, usize>::new();
    let shown = |page: String, policy: &str| {
        server.show(PAGE, page, policy);
        chromium.open(&format!("{}{PAGE}", server.base));
        look::wrong(chromium, &server.base)
    };
    for (at, context) in [(1, "attribute"), (1, "text"), (2, "text"), (2, "title")] {
        let (raw, safe) = (TEXTS[at], escaped(TEXTS[at]));
        let search = format!("/events?q={}&by=source", quoted(raw));
        for path in [format!("/events/{}", id(at)), "/events?by=source".into(), search] {
            let reply = plain.get(&path);
            let policy = reply.header("content-security-policy").unwrap().to_owned();
            // As the console serves it nothing is wrong, so whatever is wrong is what was changed.
            assert_eq!(shown(reply.body.clone(), &policy), [""; 0], "{path}");
            for (place, _) in reply.body.match_indices(&safe).filter(|(place, _)| of(&reply.body[..*place]) == context)
            {
                let page = format!("{}{raw}{}", &reply.body[..place], &reply.body[place + safe.len()..]);
                let wrong = shown(page, &policy);
                let near = &reply.body[reply.body[..place].rfind('\n').unwrap_or(0)..place];
                assert!(!wrong.is_empty(), "{path}: {raw} after {near} is not seen");
                *tried.entry(context).or_default() += 1;
            }
        }
    }
    let reply = plain.get(&format!("/events/{}", id(3)));
    let policy = reply.header("content-security-policy").unwrap().to_owned();
    for (place, start) in reply.body.match_indices("href=\"/events?") {
        let page = format!("{}href=\"{}\" x=\"{}", &reply.body[..place], TEXTS[3], &reply.body[place + start.len()..]);
        let wrong = shown(page, &policy).join("\n");
        assert!(wrong.contains("leads elsewhere"), "a link that is script is not seen: {wrong}");
        *tried.entry("link").or_default() += 1;
    }
    let page = reply.body.replacen("<h1>", &format!("<h1>{}", TEXTS[11]), 1);
    assert!(shown(page, &policy).contains(&"holds odd characters".to_owned()), "a text that turns round is not seen");
    eprintln!("{tried:?}");
    for context in ["attribute", "text", "title", "link"] {
        assert!(tried.get(context).is_some_and(|n| *n >= 1), "{context} was not tried: {tried:?}");
    }
    assert!(tried["text"] >= 10, "{tried:?}");
}

/// As the templates write it.
fn escaped(text: &str) -> String {
    let of = |c: char| match c {
        '&' | '<' | '>' | '"' | '\'' => format!("&#{};", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(of).collect()
}

/// Where the text that comes next stands. What is escaped has no bracket of its own.
fn of(before: &str) -> &'static str {
    if before.rfind('<') > before.rfind('>') {
        "attribute"
    } else if before.ends_with("<title>") || before.rfind("<title>") > before.rfind("</title>") {
        "title"
    } else {
        "text"
    }
}
