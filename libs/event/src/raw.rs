//! The raw line: one record as received, before anybody understood it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::event::Writer;
use crate::{LineError, Machine, Request, Time, VERSION, json, read};

/// A line as received: who spoke, when, and the record untouched.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "raw", description = "A line as received: who spoke, when, and the record untouched")]
pub struct Raw {
    /// Version of the line.
    pub v: u32,
    /// The id that the event will have (UUIDv8).
    pub id: String,
    /// Who spoke: the name of the source.
    pub source: String,
    /// What kind of record of that source this is.
    pub kind: String,
    /// When the hub took it.
    pub received: Time,
    /// The machine as far as `receive` knows it.
    #[schemars(default)]
    pub machine: Machine,
    /// The request that brought it.
    #[schemars(default)]
    pub request: Option<Request>,
    /// The record.
    pub body: Body,
    /// Keys of a newer writer.
    #[schemars(flatten)]
    pub extra: Map<String, Value>,
}

/// The record of a raw line. Anything that is not one of the two marked forms is the record itself.
#[derive(Debug, Clone, JsonSchema)]
#[serde(untagged)]
pub enum Body {
    /// The record's own JSON.
    Json(#[schemars(with = "Value")] Box<RawValue>),
    /// A record that is not JSON, or not UTF-8.
    Base64 {
        /// The bytes as they came.
        #[schemars(with = "String")]
        base64: Vec<u8>,
    },
    /// A record over the limit: counted and accepted, its text not kept.
    Cut {
        /// What is left of it.
        cut: Cut,
    },
}

/// What is kept of a record that was too long.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Deserialize)]
pub struct Cut {
    /// Length of the record in bytes.
    pub bytes: u64,
    /// SHA-256 of the record, hex.
    pub sha256: String,
    /// Its beginning.
    pub head: String,
}

impl Raw {
    /// Reads a raw line.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let raw: Self = read(line)?;
        if raw.v > VERSION { Err(LineError::Version(raw.v)) } else { Ok(raw) }
    }

    /// Appends the line, without a newline, `body` last.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut to = Writer::open(out);
        to.key("v").raw(self.v.to_string().as_bytes());
        to.key("id").str(&self.id);
        to.key("source").str(&self.source);
        to.key("kind").str(&self.kind);
        to.key("received").str(&self.received.to_string());
        to.key("machine").json(&self.machine);
        if let Some(request) = &self.request {
            to.key("request").json(request);
        }
        to.extra(&self.extra);
        to.key("body");
        match &self.body {
            Body::Json(text) => to.raw(text.get().as_bytes()),
            Body::Base64 { base64 } => to.raw(b"{\"base64\":\"").raw(STANDARD.encode(base64).as_bytes()).raw(b"\"}"),
            Body::Cut { cut } => {
                to.raw(format!("{{\"cut\":{{\"bytes\":{},\"sha256\":", cut.bytes).as_bytes());
                to.str(&cut.sha256).raw(b",\"head\":").str(&cut.head).raw(b"}}")
            }
        };
        to.close();
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(from)?;
        Ok(marked(&text).unwrap_or(Self::Json(text)))
    }
}

/// The two marked forms are objects of exactly one key.
fn marked(text: &RawValue) -> Option<Body> {
    let bytes = text.get().as_bytes();
    if !(bytes.starts_with(b"{\"base64\"") || bytes.starts_with(b"{\"cut\"")) {
        return None;
    }
    let mut members = json::members(bytes);
    let (key, value) = members.next()?.ok()?;
    if members.next().is_some() {
        return None;
    }
    match key {
        b"base64" => Some(Body::Base64 { base64: STANDARD.decode(json::parse_str(value)?.as_bytes()).ok()? }),
        b"cut" => Some(Body::Cut { cut: serde_json::from_slice(value).ok()? }),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a raw line (a JSON object)")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let (mut v, mut id, mut source, mut kind) = (None, None, None, None);
                let (mut received, mut machine, mut request, mut body) = (None, Machine::default(), None, None);
                let mut extra = Map::new();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "v" => v = Some(map.next_value()?),
                        "id" => id = Some(map.next_value()?),
                        "source" => source = Some(map.next_value()?),
                        "kind" => kind = Some(map.next_value()?),
                        "received" => received = Some(map.next_value()?),
                        "machine" => machine = map.next_value()?,
                        "request" => request = map.next_value()?,
                        "body" => body = Some(map.next_value()?),
                        _ => {
                            extra.insert(key, map.next_value()?);
                        }
                    }
                }
                let need = |key: &str| A::Error::custom(format!("a raw line needs `{key}`"));
                Ok(Raw {
                    v: v.ok_or_else(|| need("v"))?,
                    id: id.ok_or_else(|| need("id"))?,
                    source: source.ok_or_else(|| need("source"))?,
                    kind: kind.ok_or_else(|| need("kind"))?,
                    received: received.ok_or_else(|| need("received"))?,
                    machine,
                    request,
                    body: body.ok_or_else(|| need("body"))?,
                    extra,
                })
            }
        }
        from.deserialize_map(Keys)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn check(line: &str) {
        let raw = Raw::parse(line.as_bytes()).unwrap();
        let mut out = Vec::new();
        raw.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), line);
    }

    #[test]
    fn round_trips_keep_unknown_keys() {
        let head = r#"{"v":1,"id":"x","source":"osquery","kind":"result","received":"2026-11-21T19:00:00.123Z""#;
        check(&format!(r#"{head},"machine":{{}},"body":{{"a":1e400}}}}"#));
        check(&format!(
            r#"{head},"machine":{{"serial_number":"C02","rack":7}},"request":{{"ip":"::1","via":"x"}},"new":[1],"body":[]}}"#
        ));
        check(&format!(r#"{head},"machine":{{}},"body":{{"base64":"/w=="}}}}"#));
        check(&format!(r#"{head},"machine":{{}},"body":{{"base64":"/w==","b":1}}}}"#));
        check(&format!(r#"{head},"machine":{{}},"body":{{"cut":{{"bytes":5,"sha256":"ab","head":"\"x"}}}}}}"#));
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, word) in [("", "EOF"), ("[]", "raw line"), ("{\"v\":1}", "needs `id`"), ("{\"v\":\"1\"}", "u32")] {
            let error = Raw::parse(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
