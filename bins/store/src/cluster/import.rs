//! Saved objects to Kibana or OpenSearch Dashboards, by the import that both have.
//!
//! `POST /api/saved_objects/_import?overwrite=true`: a form with one file, whose name ends in `.ndjson`, and a header that no
//! page of another site can send (<https://www.elastic.co/docs/api/doc/kibana/operation/operation-post-saved-objects-import>;
//! OpenSearch Dashboards calls it `osd-xsrf`). What could not be taken is told in an answer with status 200.

use std::time::Duration;

use elasticsearch::http::Method;
use elasticsearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::Flavour;
use super::connection::{Connection, Trouble, send_with};

/// How long it may take: some hundred objects, each of which is brought up to date.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Objects that are named of those that were not taken.
const NAMED: usize = 5;
/// Stands between the parts of the form, and nowhere in an object: their text is all JSON.
const BOUNDARY: &str = "----zentral-saved-objects";

/// Writes the objects, over those of the same ids; how many there are now. The error is a fragment for people.
pub fn import(connection: &Connection, flavour: Flavour, objects: &str) -> Result<u64, String> {
    let mut headers = HeaderMap::new();
    let form = HeaderValue::from_str(&format!("multipart/form-data; boundary={BOUNDARY}"));
    headers.insert(CONTENT_TYPE, form.map_err(|e| e.to_string())?);
    let name = match flavour {
        Flavour::Elasticsearch => "kbn-xsrf",
        Flavour::OpenSearch => "osd-xsrf",
    };
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static("true"));
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"zentral.ndjson\"\r\n\
                Content-Type: application/ndjson";
    let body = format!("--{BOUNDARY}\r\n{file}\r\n\r\n{objects}\r\n--{BOUNDARY}--\r\n");
    let (client, runtime) = connection.get().map_err(|e| e.text)?;
    let path = "/api/saved_objects/_import?overwrite=true";
    let sent = send_with(client, Method::Post, path, headers, Some(body.into()), TIMEOUT);
    let reply = runtime.block_on(sent).map_err(|e| e.to_string())?;
    let told = serde_json::from_slice::<Value>(&reply.body).map_err(|_| {
        // A page to log in by, a proxy's own.
        format!("status {}, and no JSON: is this the address of {}?", reply.status, flavour.dashboards())
    })?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if !(200..=299).contains(&reply.status) {
        return Err(Trouble::Refused(reply.status, text(&told, "error"), text(&told, "message")).to_string());
    }
    let taken = told.get("successCount").and_then(Value::as_u64).unwrap_or_default();
    if told.get("success").and_then(Value::as_bool) == Some(true) && taken == objects.lines().count() as u64 {
        return Ok(taken);
    }
    let errors = told.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
    let named: Vec<String> = errors
        .iter()
        .take(NAMED)
        .map(|one| {
            let why = one.pointer("/error/type").and_then(Value::as_str).unwrap_or("?");
            format!("{} {} ({why})", text(one, "type"), text(one, "id"))
        })
        .collect();
    Err(format!("took {taken} of {} objects; not {}", objects.lines().count(), named.join(", ")))
}
