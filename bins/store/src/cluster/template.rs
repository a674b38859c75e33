//! The template of the daily indices: a fixed mapping, so that no event can change it.

use elasticsearch::http::Method;
use serde_json::{Map, Value, json};

use super::Flavour;
use super::connection::{Connection, Trouble};
use super::document::{SHOWN, SHOWN_ALONE, SHOWN_OF_PAYLOAD};
use super::names::Names;

/// The version of what the template says; a change of it is a higher number.
const VERSION: u64 = 2;
/// Bytes of a keyword that an index takes; none is longer, as documents are made.
const KEYWORD_MAX: u64 = 8191;

/// What the template is to say besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Shards of a day; the cluster's own number if none is given.
    pub shards: Option<u32>,
    /// Copies of each; the cluster's own number if none is given.
    pub copies: Option<u32>,
}

/// What was found of the template.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It is as it should be.
    Same,
    /// It was not there, or of an older version: it was written.
    Written,
    /// Somebody changed it: what differs. It is left as it is.
    Changed(Vec<String>),
    /// A newer version of this program wrote it. It is left as it is.
    Newer(u64),
}

/// The name of the template of these indices; a data stream's is another one, so that neither stands in the other's way.
pub fn name(names: &Names) -> String {
    format!("{}-{}", names.stem(), if names.is_stream() { "stream" } else { "events" })
}

/// The template.
pub fn template(names: &Names, flavour: Flavour, shape: Shape) -> Value {
    let mut settings = Map::new();
    let mut set = |key: &str, value: &str| settings.insert(format!("index.{key}"), value.into());
    set("codec", "best_compression");
    for (key, number) in [("number_of_shards", shape.shards), ("number_of_replicas", shape.copies)] {
        if let Some(number) = number {
            set(key, &number.to_string());
        }
    }
    let mut template = json!({
        "index_patterns": [names.all()],
        "priority": 500,
        "version": VERSION,
        "_meta": {"written_by": "zentral store"},
        "template": {"settings": settings, "mappings": mappings(flavour, names.is_stream())}
    });
    if let Some(template) = template.as_object_mut().filter(|_| names.is_stream()) {
        template.insert("data_stream".into(), flavour.data_stream());
    }
    template
}

fn mappings(flavour: Flavour, stream: bool) -> Value {
    let keyword = || json!({"type": "keyword", "ignore_above": KEYWORD_MAX});
    // The words are cut already: any analyzer that leaves them as they are will do, and this one every cluster has.
    let words = || json!({"type": "text", "analyzer": "whitespace", "norms": false});
    let mut properties = Map::new();
    properties.insert("id".into(), json!({"type": "keyword"}));
    for time in ["time", "received", "@timestamp"].into_iter().take(if stream { 3 } else { 2 }) {
        properties.insert(time.into(), json!({"type": "date", "format": "strict_date_optional_time||epoch_millis"}));
    }
    for name in SHOWN_ALONE {
        properties.insert(name.into(), keyword());
    }
    for (object, fields) in SHOWN {
        let mut inner = Map::new();
        for field in fields {
            match *field {
                "ip" => inner.insert("ip".into(), json!({"type": "ip", "ignore_malformed": true})),
                "context.title" => {
                    inner.insert("context".into(), json!({"properties": {"title": {"type": "text", "norms": false}}}))
                }
                "user_agent" => inner.insert("user_agent".into(), keyword()),
                other => inner.insert(other.into(), keyword()),
            };
        }
        properties.insert(object.into(), json!({"properties": inner}));
    }
    properties.insert("payload".into(), flavour.any_keys());
    let of_payload: Map<String, Value> = SHOWN_OF_PAYLOAD.iter().map(|key| ((*key).to_owned(), keyword())).collect();
    properties.insert("shown".into(), json!({"properties": of_payload}));
    properties.insert(
        "zentral".into(),
        json!({"properties": {
            "order": {"type": "keyword"},
            "bytes": {"type": "integer", "index": false},
            "line": {"type": "keyword", "index": false, "doc_values": false},
            "words": words(),
            "fields": words(),
            "terms": {"type": "keyword", "doc_values": false, "norms": false, "index_options": "docs"},
            "values": {"type": "keyword", "index": false},
        }}),
    );
    json!({
        // What is not said here is kept and not indexed: no event can make the mapping grow.
        "dynamic": "false",
        "_source": {"excludes": ["zentral.words", "zentral.fields", "zentral.terms", "zentral.values"]},
        "properties": properties,
    })
}

/// Looks whether the template is there and as it should be. One that is missing or of an older version is written;
/// another one only if `anew`.
pub fn ensure(
    connection: &Connection,
    names: &Names,
    flavour: Flavour,
    shape: Shape,
    anew: bool,
) -> Result<Found, Trouble> {
    let path = format!("/_index_template/{}", name(names));
    let wanted = template(names, flavour, shape);
    let found = match connection.json(Method::Get, &path, None) {
        Ok(found) => found.pointer("/index_templates/0/index_template").cloned().map(|mut template| {
            if let Some(settings) = template.pointer_mut("/template/settings") {
                *settings = flat(settings);
            }
            template
        }),
        Err(Trouble::Refused(404, ..)) => None,
        Err(trouble) => return Err(trouble),
    };
    if let Some(found) = found {
        let version = found.get("version").and_then(Value::as_u64).unwrap_or_default();
        let mut differs = Vec::new();
        compare("", &wanted, &found, &mut differs);
        match version {
            _ if anew => {}
            _ if version > VERSION => return Ok(Found::Newer(version)),
            VERSION if differs.is_empty() => return Ok(Found::Same),
            VERSION => return Ok(Found::Changed(differs)),
            _ => {}
        }
    }
    connection.json(Method::Put, &path, Some(&wanted))?;
    Ok(Found::Written)
}

/// Settings by their dotted names: some clusters give them so, others not.
fn flat(settings: &Value) -> Value {
    fn walk(name: &str, value: &Value, all: &mut Map<String, Value>) {
        match value {
            Value::Object(inner) => inner.iter().for_each(|(key, value)| {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                walk(&name, value, all);
            }),
            value => {
                all.insert(name.to_owned(), value.clone());
            }
        }
    }
    let mut all = Map::new();
    walk("", settings, &mut all);
    Value::Object(all)
}

/// The places at which `found` does not say what `wanted` says, or says more. Clusters leave out what is the default
/// and write scalars as text.
fn compare(place: &str, wanted: &Value, found: &Value, differs: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for key in wanted.keys().chain(found.keys().filter(|key| !wanted.contains_key(*key))) {
                let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                match (wanted.get(key), found.get(key)) {
                    (Some(wanted), Some(found)) => compare(&inner, wanted, found, differs),
                    // Said by newer clusters of every template.
                    _ if inner.starts_with("created_date") || inner.starts_with("modified_date") => {}
                    (None, Some(Value::Array(list))) if list.is_empty() => {}
                    _ => differs.push(inner),
                }
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted == found => {}
        (wanted, found) => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if text(wanted) != text(found) {
                differs.push(place.to_owned());
            }
        }
    }
}
