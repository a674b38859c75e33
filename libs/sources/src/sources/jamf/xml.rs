//! A webhook in XML as the JSON that the same server sends where it is set to JSON.
//!
//! XML has neither numbers nor lists, so which keys are such is known here. A document type is refused, and with it every
//! entity but the five that XML itself has: nothing is fetched and nothing grows.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};

/// Elements within elements.
const DEPTH_MAX: usize = 32;
/// Elements of one body.
const ELEMENTS_MAX: usize = 200_000;
/// Keys whose values are whole numbers.
const NUMBERS: &[&str] = &[
    "id",
    "jssID",
    "jssid",
    "eventTimestamp",
    "policyId",
    "patchPolicyId",
    "softwareTitleId",
    "lastUpdate",
    "deviceAssignedDate",
    "deviceEnrollmentProgramInstanceId",
    "objectID",
];
/// Keys whose values are true or false; `computer` may also be a computer.
const TRUTHS: &[&str] = &["isClusterMaster", "successful", "operationSuccessful", "smartGroup", "computer"];
/// Keys whose values are lists of names …
const LISTS: &[&str] = &["groupAddedDevices", "groupRemovedDevices", "reportUrls", "action"];
/// … and of numbers.
const NUMBER_LISTS: &[&str] =
    &["groupAddedDevicesIds", "groupRemovedDevicesIds", "groupAddedUserIds", "groupRemovedUserIds"];

/// An element that is still open.
struct Open {
    name: String,
    text: String,
    members: Map<String, Value>,
    /// The values of its children in order, for those that are lists.
    items: Vec<Value>,
}

impl Open {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), text: String::new(), members: Map::new(), items: Vec::new() }
    }

    fn value(self) -> Value {
        let text = self.text.trim();
        let is = |names: &[&str]| names.contains(&self.name.as_str());
        if is(LISTS) || is(NUMBER_LISTS) {
            let mut items = self.items;
            if items.is_empty() && !text.is_empty() {
                items.push(text.into());
            }
            if is(NUMBER_LISTS) {
                items = items.into_iter().map(number).collect();
            }
            return Value::Array(items);
        }
        if !self.members.is_empty() {
            return Value::Object(self.members);
        }
        match text {
            "true" | "false" if is(TRUTHS) => Value::Bool(text == "true"),
            _ if is(NUMBERS) => number(text.into()),
            _ => text.into(),
        }
    }

    /// Takes in a child; of several with one name there is a list.
    fn take(&mut self, name: String, value: Value) {
        self.items.push(value.clone());
        match (self.members.get_mut(&name), value) {
            (None, value) => {
                self.members.insert(name, value);
            }
            (Some(Value::Array(have)), Value::Array(more)) => have.extend(more),
            (Some(Value::Array(have)), value) => have.push(value),
            (Some(have), value) => *have = Value::Array(vec![have.take(), value]),
        }
    }
}

fn number(value: Value) -> Value {
    value.as_str().and_then(|text| text.trim().parse::<i64>().ok()).map_or(value, Value::from)
}

/// The content of the root element as the text of a JSON object. The error is a fragment for people.
pub(super) fn object(text: &str) -> Result<String, String> {
    let mut reader = Reader::from_str(text);
    let (mut open, mut elements, mut root): (Vec<Open>, usize, Option<Value>) = (Vec::new(), 0, None);
    loop {
        let event = reader.read_event().map_err(|e| format!("{e} at byte {}", reader.error_position()))?;
        match event {
            Event::Start(start) => {
                elements += 1;
                if open.len() >= DEPTH_MAX || elements > ELEMENTS_MAX {
                    return Err("too many elements".into());
                }
                open.push(Open::new(start.local_name().into_inner()));
            }
            Event::Empty(empty) => {
                elements += 1;
                let name = empty.local_name().into_inner();
                match open.last_mut() {
                    Some(parent) if elements <= ELEMENTS_MAX => parent.take(name.to_owned(), Open::new(name).value()),
                    Some(_) => return Err("too many elements".into()),
                    None => return Err("the root is empty".into()),
                }
            }
            Event::End(_) => match (open.pop(), open.last_mut()) {
                (Some(done), Some(parent)) => {
                    let name = done.name.clone();
                    parent.take(name, done.value());
                }
                (Some(done), None) if root.is_none() => root = Some(done.value()),
                _ => return Err("more than one root".into()),
            },
            Event::Text(words) => add(&mut open, &words.xml10_content())?,
            Event::CData(words) => add(&mut open, &words.xml10_content())?,
            Event::GeneralRef(name) => {
                let known = match name.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(character) => Some(character),
                    None => entity(&name.xml10_content()),
                };
                let known = known.ok_or("an entity that XML does not have itself")?;
                add(&mut open, known.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err("a document type is not taken".into()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match root {
        Some(root @ Value::Object(_)) if open.is_empty() => serde_json::to_string(&root).map_err(|e| e.to_string()),
        _ => Err("it ends too early, or the root has no elements".into()),
    }
}

fn add(open: &mut [Open], words: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(words),
        None if words.trim().is_empty() => {}
        None => return Err("text outside of the root".into()),
    }
    Ok(())
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        serde_json::from_str(&object(text).unwrap()).unwrap()
    }

    #[test]
    fn xml_says_what_json_says() {
        let text = "<?xml version=\"1.0\"?><!-- x --><JSSEvent><webhook><eventTimestamp>1767225600000</eventTimestamp><id>4</id>\
             <name>a &amp; b &#233; <![CDATA[<c>]]></name><webhookEvent>X</webhookEvent></webhook>\n<event><smartGroup>true</smartGroup>\
             <computer>false</computer><jssid>5</jssid><groupAddedDevicesIds><id>1</id><id>2</id></groupAddedDevicesIds>\
             <groupRemovedDevicesIds/><reportUrls>https://a</reportUrls><room> </room><osVersion>15</osVersion></event></JSSEvent>";
        let want = json!({
            "webhook": {"eventTimestamp": 1_767_225_600_000_i64, "id": 4, "name": "a & b é <c>", "webhookEvent": "X"},
            "event": {"smartGroup": true, "computer": false, "jssid": 5, "groupAddedDevicesIds": [1, 2],
                "groupRemovedDevicesIds": [], "reportUrls": ["https://a"], "room": "", "osVersion": "15"},
        });
        assert_eq!(read(text), want);
        let nested = "<e><event><computer><jssID>7</jssID></computer><eventActions><action>a</action><action>b</action>\
             </eventActions><x>1</x><x>2</x></event></e>";
        let want =
            json!({"event": {"computer": {"jssID": 7}, "eventActions": {"action": ["a", "b"]}, "x": ["1", "2"]}});
        assert_eq!(read(nested), want);
    }

    #[test]
    fn what_could_fetch_or_grow_is_refused() {
        let external = "<!DOCTYPE e [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><e><a>&x;</a></e>";
        let laughs = "<!DOCTYPE e [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><e><a>&b;</a></e>";
        let deep = format!("{}x{}", "<a>".repeat(100), "</a>".repeat(100));
        for (text, says) in [
            (external, "document type"),
            (laughs, "document type"),
            ("<e><a>&x;</a></e>", "entity"),
            (&deep, "too many"),
            ("<e><a>1</a>", "too early"),
            ("<e>1</e>", "no elements"),
            ("<e><a>1</b></e>", "byte"),
            ("<e><a>1</a></e><e><a>1</a></e>", "more than one root"),
            ("<e/>", "empty"),
            ("x<e><a/></e>", "outside"),
        ] {
            let error = object(text).unwrap_err();
            assert!(error.contains(says), "{text:.60}: {error}");
        }
    }
}
