//! A case: a request, what must be answered, and what must have come of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of a file of cases.
const FILE_MAX: u64 = 64 << 20;
/// What a word of `needs` begins with if it names a case that has to run before.
pub const PREVIOUS: &str = "previous:";

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name; no other case of a run has it.
    pub name: String,
    /// What it belongs to. One ending in `-api` is translated: no request is sent to the hub, its owner does by other
    /// means what the request asks for.
    pub area: String,
    /// What it shows; without it the note says it.
    #[serde(default)]
    pub proves: Option<String>,
    /// Where the fact comes from.
    #[serde(alias = "source_test")]
    pub source: String,
    /// What must be there before.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What is sent.
    pub request: Request,
    /// What must be answered.
    pub expect: Expect,
    /// Values of the answer that later steps use: name of the placeholder and path.
    #[serde(default)]
    pub take: BTreeMap<String, String>,
    /// What follows, in order, by which the consequences are judged.
    #[serde(default)]
    pub then: Vec<Step>,
}

/// What follows in a case: one more request, or a look at the events.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is sent.
    pub request: Option<Request>,
    /// What must be answered to it.
    pub expect: Option<Expect>,
    /// As in a case.
    #[serde(default)]
    pub take: BTreeMap<String, String>,
    /// Events that the server must have made of what it was told.
    #[serde(default)]
    pub events: Vec<Wanted>,
}

/// A request.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `POST`, …
    pub method: String,
    /// Path of the URL, with its query.
    pub path: String,
    /// Headers besides `Host` and `Content-Length`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A body of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// A body as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_raw: Option<String>,
    /// A body of any bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// What is done to the body before it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
}

/// What must be answered. Of JSON, `path=value` compares as text, a list has it if one of its items does, and
/// a number in a path is the place in a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// HTTP status.
    pub status: u16,
    /// Other statuses that will do.
    #[serde(default)]
    pub status_any: Vec<u16>,
    /// For people.
    #[serde(default)]
    pub note: String,
    /// Headers whose words must be these, in any order.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
    /// The whole body.
    pub json: Option<Value>,
    /// What must be in it.
    #[serde(default)]
    pub json_has: Vec<String>,
    /// What must not be in it.
    #[serde(default)]
    pub json_lacks: Vec<String>,
}

/// Events that must be there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Their type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Serial number of the machine that they are of.
    #[serde(default)]
    pub machine: Option<String>,
    /// How many of them there must be; without it at least one.
    pub count: Option<usize>,
    /// What must be in each that counts.
    #[serde(default)]
    pub json_has: Vec<String>,
}

impl Case {
    /// Whether it asks for what our users do with files or the command line.
    pub fn is_translated(&self) -> bool {
        self.area.ends_with("-api")
    }

    /// What it shows, in one line.
    pub fn proves(&self) -> &str {
        self.proves.as_deref().unwrap_or(&self.expect.note)
    }
}

/// The cases of a file; what is wrong comes back with its place.
pub fn read(path: &Path) -> Result<Vec<Case>, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    if std::fs::metadata(path).map_err(fail)?.len() > FILE_MAX {
        return Err(format!("{}: is longer than {} MiB", path.display(), FILE_MAX >> 20));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let cases: Vec<Case> = serde_json::from_str(&text).map_err(|e| {
        let text = e.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text);
        format!("{}:{}:{}: {text}", path.display(), e.line(), e.column())
    })?;
    match cases.iter().find(|case| case.then.iter().any(|step| step.request.is_some() != step.expect.is_some())) {
        Some(case) => {
            Err(format!("{}: {}: a request in `then` and its `expect` belong together", path.display(), case.name))
        }
        None => Ok(cases),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_is_none_is_named_by_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cases.json");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map(|cases| cases.len()).unwrap_err().replace(&dir.path().display().to_string(), "")
        };
        assert_eq!(of("[\n{\"nmae\": 1}]").split(": ").next(), Some("/cases.json:2:7"));
        let case =
            r#"{"name":"a","area":"b","source":"c","request":{"method":"GET","path":"/"},"expect":{"status":200}"#;
        assert!(
            of(&format!("[{case},\"then\":[{{\"request\":{{\"method\":\"GET\",\"path\":\"/\"}}}}]}}]"))
                .contains("/cases.json: a: a request")
        );
        std::fs::write(&path, format!("[{case}}}]")).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
    }
}
