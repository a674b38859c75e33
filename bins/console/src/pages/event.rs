//! One event: its envelope, the things that it is about, the probes that matched, what the agent said.

mod links;

use askama::Template;
use hyper::header::CONTENT_DISPOSITION;
use pipe::config::ProbeConf;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use self::links::Link;
use super::Head;
use super::probes::may_try;
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::Asked;
use crate::events::Events;
use crate::room;
use crate::text;

/// Bytes of the page for the payload; the whole of it is a file.
const SHOWN_MAX: usize = 100_000;
/// The source of events that the hub makes itself.
const OURS: &str = "zentral";
/// Bytes of a value that a link searches for.
const FIELD_MAX: usize = 1024;
/// Probes that matched, of which a page tells.
const PROBES_MAX: usize = 100;
/// Probes that a page offers an event to as a test.
const TESTS_MAX: usize = 500;

/// A probe that matched.
struct Probe {
    name: String,
    link: String,
    severity: String,
    title: String,
    act: String,
}

/// A field of the envelope, and the search for all that have it.
struct Field {
    name: &'static str,
    value: String,
    to: Option<String>,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "event.html")]
#[schemars(rename = "StoredEvent")]
pub struct Event {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    #[schemars(with = "::event::Event")]
    event: Value,
    #[serde(skip)]
    id: String,
    #[serde(skip)]
    fields: Vec<Field>,
    #[serde(skip)]
    machine: Option<Link>,
    #[serde(skip)]
    cause: Option<Link>,
    #[serde(skip)]
    objects: Vec<Link>,
    #[serde(skip)]
    probes: Vec<Probe>,
    /// Whose words the payload is.
    #[serde(skip)]
    said: &'static str,
    #[serde(skip)]
    payload: String,
    #[serde(skip)]
    cut: bool,
    #[serde(skip)]
    raw_link: String,
    /// Probes that it may become a test of; none for those who change none.
    #[serde(skip)]
    tests: Vec<String>,
}

/// Probes that see such an event and whose filter is a file, beside which examples are; those that matched first.
fn tests(app: &App, event: &Value) -> Vec<String> {
    let config = app.live().config.clone();
    let probes = event.get("probes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let matched = |name: &String| probes.iter().any(|probe| text::at(probe, "/name") == name);
    // A probe with a query sees its results alone, whatever the text of that query was then.
    let of = |name: &str| text::at(event, "/payload/name").starts_with(&format!("zentral/{name}/"));
    let sees = |conf: &&ProbeConf| conf.query.is_none() || of(&conf.name) || matched(&conf.name);
    let files = config.probes.values().filter(|conf| conf.filter.file.is_some()).filter(sees);
    let mut names: Vec<String> = files.map(|conf| conf.name.clone()).collect();
    names.sort_by_key(|name| !matched(name));
    names.truncate(TESTS_MAX);
    names
}

fn find(app: &App, asked: &Asked) -> Result<Vec<u8>, Wrong> {
    let config = app.live().config.clone();
    let found = Events::of(&config, asked.who.as_ref()).event(asked.part("id"))?;
    found.ok_or_else(|| Wrong::not_found("event"))
}

/// The line as it is stored.
pub fn raw(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let line = find(app, asked)?;
    Ok(Answer::file("application/json", line).header(CONTENT_DISPOSITION, "attachment; filename=\"event.json\""))
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let line = find(app, asked)?;
    let event: Value =
        serde_json::from_slice(&line).map_err(|e| Wrong::new(500, format!("The event cannot be read: {e}"), ""))?;
    let at = |pointer: &str| text::at(&event, pointer).to_owned();
    let tags = event.get("tags").map(text::value).unwrap_or_default();
    let fields = [
        ("Time", "", text::time(&at("/time"))),
        ("Received", "", text::time(&at("/received"))),
        ("Type", "type", at("/type")),
        ("Source", "source", at("/source")),
        ("Tags", "", tags),
        ("Unit", "machine.unit", at("/machine/unit")),
        ("Platform", "", format!("{} {}", at("/machine/platform"), at("/machine/os_version")).trim().to_owned()),
        ("User", "machine.user", at("/machine/user")),
        ("Address", "request.ip", at("/request/ip")),
        ("User agent", "request.user_agent", at("/request/user_agent")),
    ];
    let field = |(name, field, value): (&'static str, &str, String)| Field {
        name,
        to: (!field.is_empty() && value.len() <= FIELD_MAX).then(|| links::search(&text::is(field, &value))),
        value: text::short(&value),
    };
    let key = ["/machine/serial_number", "/machine/hardware_uuid", "/machine/hostname"].map(at);
    let key = key.into_iter().find(|key| !key.is_empty());
    let machine = key.map(|key| {
        let name = if at("/machine/hostname").is_empty() { key.clone() } else { at("/machine/hostname") };
        Link { text: text::short(&name), to: text::to(&key, || format!("/machines/{}", text::part(&key))) }
    });
    let cause = Some(at("/cause/event")).filter(|id| !id.is_empty());
    let array = |key: &str| event.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let probe = |probe: &Value| Probe {
        link: text::to(text::at(probe, "/name"), || format!("/probes/{}", text::part(text::at(probe, "/name")))),
        name: text::short(text::at(probe, "/name")),
        severity: text::short(text::at(probe, "/severity")),
        title: text::short(text::at(probe, "/context/title")),
        act: text::short(&probe.get("act").map(text::value).unwrap_or_default()),
    };
    let payload =
        event.get("payload").and_then(|payload| serde_json::to_string_pretty(payload).ok()).unwrap_or_default();
    let shown = room::fitting(&payload, SHOWN_MAX).to_owned();
    let id = at("/id");
    let page = Event {
        head: Head::new(asked, format!("{} {}", text::short(&at("/type")), text::time(&at("/time")))),
        fields: fields.into_iter().filter(|(.., value)| !value.is_empty()).map(field).collect(),
        machine,
        cause: cause
            .map(|id| Link { to: text::to(&id, || format!("/events/{}", text::part(&id))), text: text::short(&id) }),
        objects: links::of(&event),
        probes: array("probes").iter().take(PROBES_MAX).map(probe).collect(),
        cut: shown.len() < payload.len(),
        said: if at("/source") == OURS { "What zentral noted" } else { "What the agent said" },
        payload: shown,
        tests: if may_try(asked.who.as_ref()) { tests(app, &event) } else { Vec::new() },
        raw_link: format!("/events/{}/raw", text::part(&id)),
        id,
        event,
    };
    Answer::page(asked, &page)
}
