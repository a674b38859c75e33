//! The event: one normalised line. A match is an event with `probes`, an outcome an event with `cause`.

mod texts;

use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{LineError, Time, VERSION, json, read};

pub use texts::EventTexts;

/// A normalised line. Fields stand in the order in which they are written; `payload` is last.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "event", description = "A normalised line; with `probes` a match, with `cause` an outcome")]
pub struct Event {
    /// Version of the line.
    pub v: u32,
    /// UUIDv8, the same for every repeat of the record.
    pub id: String,
    /// What happened; names follow Zentral's where one exists.
    #[schemars(rename = "type")]
    pub type_: String,
    /// When it happened: the source's own time if it is believable, else `received`.
    pub time: Time,
    /// When the hub took it.
    pub received: Time,
    /// Who spoke.
    pub source: String,
    /// Words to find it by.
    #[schemars(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The machine that it is about.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// The request that brought it.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// What it is about, as `kind:name`, so that all events of one file or user are one search.
    #[schemars(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// What led to it, if an action of the hub did.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The probes that chose it.
    #[schemars(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeMatch>,
    /// Keys of a newer writer.
    #[schemars(flatten)]
    pub extra: Map<String, Value>,
    /// The agent's own record, its names unchanged.
    #[schemars(with = "Value")]
    pub payload: Box<RawValue>,
}

/// What is known of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Machine {
    /// Hardware serial number; absent, never empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// Hardware UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_uuid: Option<String>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `macos`, `linux`, `windows`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Version of the operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Business unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Tags of the machine and its unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Groups that a source put it in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Principal user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Keys of a newer writer.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Machine {
    /// The machine key: serial number, else hardware UUID, else host name.
    pub fn key(&self) -> Option<&str> {
        [&self.serial_number, &self.hardware_uuid, &self.hostname]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .find(|key| !key.is_empty())
    }
}

/// The request that brought a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Request {
    /// Address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Its user agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Keys of a newer writer.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What led to an event that an action made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Id of the event that matched.
    pub event: String,
    /// The probe that chose it.
    pub probe: String,
    /// The action that was done.
    pub action: String,
    /// Keys of a newer writer.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One probe that chose an event, and what is to be done.
#[derive(Debug, Clone, Default, JsonSchema)]
pub struct ProbeMatch {
    /// Name of the probe.
    pub name: String,
    /// 8 hex digits of the filter's text and options.
    pub rev: String,
    /// `info`, `minor`, `major` or `critical`.
    pub severity: String,
    /// The actions to do.
    pub act: Vec<String>,
    /// Value of the probe's `by`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The object that the filter returned.
    #[schemars(with = "Option<Map<String, Value>>", skip_serializing_if = "Option::is_none")]
    pub context: Option<Box<RawValue>>,
    /// Keys of a newer writer.
    #[schemars(flatten)]
    pub extra: Map<String, Value>,
}

impl Event {
    /// Reads an event, match or outcome.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let event: Self = read(line)?;
        if event.v > VERSION { Err(LineError::Version(event.v)) } else { Ok(event) }
    }

    /// Appends the line in canonical order, without a newline. `payload` is written as it is.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut to = Writer::open(out);
        to.key("v").raw(self.v.to_string().as_bytes());
        to.key("id").str(&self.id);
        to.key("type").str(&self.type_);
        to.key("time").str(&self.time.to_string());
        to.key("received").str(&self.received.to_string());
        to.key("source").str(&self.source);
        to.list("tags", &self.tags);
        if let Some(machine) = &self.machine {
            to.key("machine").json(machine);
        }
        if let Some(request) = &self.request {
            to.key("request").json(request);
        }
        to.list("objects", &self.objects);
        if let Some(cause) = &self.cause {
            to.key("cause").json(cause);
        }
        to.extra(&self.extra);
        if !self.probes.is_empty() {
            to.key("probes").raw(b"[");
            for (i, probe) in self.probes.iter().enumerate() {
                if i > 0 {
                    to.raw(b",");
                }
                probe.write(to.out);
            }
            to.raw(b"]");
        }
        to.key("payload").raw(self.payload.get().as_bytes());
        to.close();
    }
}

impl ProbeMatch {
    /// Appends the object.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut to = Writer::open(out);
        to.key("name").str(&self.name);
        to.key("rev").str(&self.rev);
        to.key("severity").str(&self.severity);
        to.list("act", &self.act);
        if let Some(key) = &self.key {
            to.key("key").str(key);
        }
        if let Some(context) = &self.context {
            to.key("context").raw(context.get().as_bytes());
        }
        to.extra(&self.extra);
        to.close();
    }
}

/// Appends the event `line` with `probes` (a JSON array, empty: none) in place of any it had, before `payload`; every
/// other byte stays. `line` is a JSON object in canonical form.
pub fn write_annotated(line: &[u8], probes: &[u8], out: &mut Vec<u8>) -> Result<(), json::JsonError> {
    out.push(b'{');
    let mut first = true;
    let mut put = |key: &[u8], value: &[u8], out: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    };
    let mut pending = (!probes.is_empty()).then_some(probes);
    for member in json::members(line) {
        let (key, value) = member?;
        match key {
            b"probes" | b"probes_more" => continue,
            b"payload" => {
                if let Some(probes) = pending.take() {
                    put(b"probes", probes, out);
                }
            }
            _ => {}
        }
        put(key, value, out);
    }
    if let Some(probes) = pending {
        put(b"probes", probes, out);
    }
    out.push(b'}');
    Ok(())
}

/// Writes one object, key by key.
pub(crate) struct Writer<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    pub(crate) fn key(&mut self, key: &str) -> &mut Self {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        json::write_str(key, self.out);
        self.out.push(b':');
        self
    }

    pub(crate) fn raw(&mut self, text: &[u8]) -> &mut Self {
        self.out.extend_from_slice(text);
        self
    }

    pub(crate) fn str(&mut self, text: &str) -> &mut Self {
        json::write_str(text, self.out);
        self
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> &mut Self {
        // Writing a plain struct into a Vec cannot fail; if it ever did, the line would be refused by its reader.
        let _ = serde_json::to_writer(&mut *self.out, value);
        self
    }

    /// A list of strings, left out when empty.
    pub(crate) fn list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.key(key).json(&items);
        }
    }

    pub(crate) fn extra(&mut self, extra: &Map<String, Value>) {
        for (key, value) in extra {
            self.key(key).json(value);
        }
    }

    pub(crate) fn close(&mut self) {
        self.out.push(b'}');
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Event;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an event (a JSON object)")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
                let (mut v, mut id, mut type_, mut time, mut received) = (None, None, None, None, None);
                let (mut source, mut payload, mut machine, mut request, mut cause) = (None, None, None, None, None);
                let (mut tags, mut objects, mut probes) = (Vec::new(), Vec::new(), Vec::new());
                let mut extra = Map::new();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "v" => v = Some(map.next_value()?),
                        "id" => id = Some(map.next_value()?),
                        "type" => type_ = Some(map.next_value()?),
                        "time" => time = Some(map.next_value()?),
                        "received" => received = Some(map.next_value()?),
                        "source" => source = Some(map.next_value()?),
                        "tags" => tags = map.next_value()?,
                        "machine" => machine = map.next_value()?,
                        "request" => request = map.next_value()?,
                        "objects" => objects = map.next_value()?,
                        "cause" => cause = map.next_value()?,
                        "probes" => probes = map.next_value()?,
                        "payload" => payload = Some(map.next_value()?),
                        _ => {
                            extra.insert(key, map.next_value()?);
                        }
                    }
                }
                let need = |key: &str| A::Error::custom(format!("an event needs `{key}`"));
                Ok(Event {
                    v: v.ok_or_else(|| need("v"))?,
                    id: id.ok_or_else(|| need("id"))?,
                    type_: type_.ok_or_else(|| need("type"))?,
                    time: time.ok_or_else(|| need("time"))?,
                    received: received.ok_or_else(|| need("received"))?,
                    source: source.ok_or_else(|| need("source"))?,
                    payload: payload.ok_or_else(|| need("payload"))?,
                    tags,
                    machine,
                    request,
                    objects,
                    cause,
                    probes,
                    extra,
                })
            }
        }
        from.deserialize_map(Keys)
    }
}

impl<'de> Deserialize<'de> for ProbeMatch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = ProbeMatch;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a probe of a match (a JSON object)")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ProbeMatch, A::Error> {
                let mut probe = ProbeMatch::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "name" => probe.name = map.next_value()?,
                        "rev" => probe.rev = map.next_value()?,
                        "severity" => probe.severity = map.next_value()?,
                        "act" => probe.act = map.next_value()?,
                        "key" => probe.key = map.next_value()?,
                        "context" => probe.context = map.next_value()?,
                        _ => {
                            probe.extra.insert(key, map.next_value()?);
                        }
                    }
                }
                if probe.name.is_empty() {
                    return Err(A::Error::custom("a probe of a match needs `name`"));
                }
                Ok(probe)
            }
        }
        from.deserialize_map(Keys)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"v":1,"id":"01a1ff7a","type":"osquery_result","time":"2026-11-21T19:00:00.123Z","received":"2026-11-21T19:00:03.001Z","source":"osquery","tags":["osquery"],"machine":{"serial_number":"C02","hostname":"ada-mbp","unit":"berlin","tags":["vip"],"rack":1},"request":{"ip":"203.0.113.9"},"objects":["user:ada"],"cause":{"event":"e","probe":"p","action":"a"},"newer":{"x":[1]},"probes":[{"name":"usb","rev":"1f6c09aa","severity":"major","act":["slack"],"key":"C02","context":{"title":"x"},"closes":true}],"payload":{"n":1e400,"u":18446744073709551616}}"#;

    #[test]
    fn a_whole_line_survives_byte_for_byte() {
        let event = Event::parse(WHOLE.as_bytes()).unwrap();
        let mut out = Vec::new();
        event.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), WHOLE);
        assert_eq!(event.machine.unwrap().key(), Some("C02"));
    }

    #[test]
    fn annotations_replace_annotations() {
        let check = |line: &str, probes: &str, want: &str| {
            let mut out = Vec::new();
            write_annotated(line.as_bytes(), probes.as_bytes(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), want);
        };
        check(
            r#"{"v":1,"payload":{"a":1}}"#,
            r#"[{"name":"x"}]"#,
            r#"{"v":1,"probes":[{"name":"x"}],"payload":{"a":1}}"#,
        );
        check(r#"{"v":1,"probes":[1],"probes_more":2,"payload":3}"#, "", r#"{"v":1,"payload":3}"#);
        check("{}", "[1]", r#"{"probes":[1]}"#);
        assert!(write_annotated(b"[]", b"", &mut Vec::new()).is_err());
    }

    #[test]
    fn newer_versions_and_missing_keys_are_named() {
        let newer = WHOLE.replacen("\"v\":1", "\"v\":2", 1);
        assert_eq!(Event::parse(newer.as_bytes()).unwrap_err(), LineError::Version(2));
        let error = Event::parse(b"{\"v\":1,\"id\":\"x\"}").unwrap_err().to_string();
        assert!(error.contains("needs `type`"), "{error}");
        assert!(matches!(Event::parse(&vec![b' '; crate::LINE_MAX + 1]), Err(LineError::TooLong(_))));
    }
}
