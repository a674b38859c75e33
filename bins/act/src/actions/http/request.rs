//! What a request is made of: the address, the body, the signature. What comes from a match is percent-encoded or JSON.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::call::{cut, lines, quoted};
use crate::preset::Limit;

/// The longest URL that is sent, in bytes: what servers commonly take.
const URL_MAX: usize = 8_000;

/// `url` with these segments after its path and this query after its own.
pub fn address(url: &Url, path: Option<&[u8]>, query: Option<&[u8]>) -> Result<Url, String> {
    let mut url = url.clone();
    if let Some(path) = path {
        let Ok(Value::Array(all)) = serde_json::from_slice(path) else { return Err("`path` gave no list".into()) };
        let mut whole = url.path().trim_end_matches('/').to_owned();
        for segment in &all {
            // `.` and `..` lead elsewhere, in whatever form a server takes them.
            let text = plain(segment).filter(|text| !matches!(text.as_str(), "" | "." | ".."));
            let Some(text) = text else { return Err(format!("`path` holds {segment}")) };
            whole.push('/');
            whole.push_str(&quoted(&text));
        }
        url.set_path(&whole);
    }
    if let Some(query) = query {
        let Ok(Value::Object(all)) = serde_json::from_slice(query) else { return Err("`query` gave no object".into()) };
        let more = pairs(&all).map_err(|key| format!("`query`: `{key}` is no string"))?;
        let whole = url.query().into_iter().chain([more.as_str()]).filter(|q| !q.is_empty()).collect::<Vec<_>>();
        url.set_query(Some(whole.join("&")).as_deref().filter(|q| !q.is_empty()));
    }
    if url.as_str().len() > URL_MAX {
        return Err(format!("the URL is longer than {URL_MAX} bytes"));
    }
    Ok(url)
}

/// The body as JSON or as a form; that of a preset without characters that steer, cut at the service's limits.
pub fn body(made: Vec<u8>, limits: Option<&BTreeMap<String, Limit>>, form: bool) -> Result<Vec<u8>, String> {
    if made == b"null" {
        return Err("`body` gave null".into());
    }
    if limits.is_none() && !form {
        return Ok(made);
    }
    let mut value: Value = serde_json::from_slice(&made).map_err(|e| format!("`body`: {e}"))?;
    if limits.is_some() {
        value = tame(value);
    }
    let limits = limits.into_iter().flatten();
    for (key, limit) in limits {
        if let Some(Value::String(text)) = inside(&mut value, key) {
            *text = match limit {
                Limit::Chars(max) => cut(text, *max),
                Limit::Bytes { bytes } => cut_bytes(text, *bytes),
            };
        }
    }
    match (form, &value) {
        (false, _) => serde_json::to_vec(&value).map_err(|e| format!("`body`: {e}")),
        (true, Value::Object(all)) => {
            pairs(all).map(String::into_bytes).map_err(|key| format!("`body`: `{key}` is no string"))
        }
        (true, _) => Err("`body` gave no object, which a form is made of".into()),
    }
}

/// What a preset sends is for people to read: nothing in it steers a terminal or turns the direction of writing.
fn tame(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains(event::steers) => Value::String(lines(&text)),
        Value::Array(all) => all.into_iter().map(tame).collect(),
        Value::Object(all) => Value::Object(all.into_iter().map(|(key, value)| (lines(&key), tame(value))).collect()),
        other => other,
    }
}

/// `a.b.0` in it.
fn inside<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(value, |value, part| match value {
        Value::Object(all) => all.get_mut(part),
        Value::Array(all) => all.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// `k=v&…`; null is left out. The error is the key of what is no string, number or truth value.
fn pairs(all: &Map<String, Value>) -> Result<String, String> {
    let mut pairs = Vec::new();
    for (key, value) in all.iter().filter(|(_, value)| !value.is_null()) {
        let text = plain(value).ok_or_else(|| key.clone())?;
        pairs.push(format!("{}={}", quoted(key), quoted(&text)));
    }
    Ok(pairs.join("&"))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// At most `max` bytes; what is cut ends in `…`.
fn cut_bytes(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max.saturating_sub('…'.len_utf8())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned() + "…"
}

/// `sha256=` and the HMAC-SHA256 of the body in hex, the form that GitHub made common.
pub fn sign(key: &[u8], body: &[u8]) -> String {
    // A key of any length is taken by HMAC, so the empty fallback is never used.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn signatures() {
        // RFC 4231, test case 2.
        let want = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(sign(b"Jefe", b"what do ya want for nothing?"), want);
    }

    #[test]
    fn a_match_cannot_leave_the_address() {
        let base = Url::parse("https://h/base/?k=1").unwrap();
        let made = |path: &str, query: &str| {
            address(&base, Some(path.as_bytes()), Some(query.as_bytes())).map(|url| url.to_string())
        };
        for (path, query, want) in [
            (r#"["a","b c",7]"#, "{}", "https://h/base/a/b%20c/7?k=1"),
            (r#"["a/../../x","%2e%2e","?#\\@"]"#, "{}", "https://h/base/a%2F..%2F..%2Fx/%252e%252e/%3F%23%5C%40?k=1"),
            (r#"["a",".\n."]"#, "{}", "https://h/base/a/.%0A.?k=1"),
            (r#"[]"#, r#"{"a":"x&y=z#é","n":2,"no":null}"#, "https://h/base?k=1&a=x%26y%3Dz%23%C3%A9&n=2"),
        ] {
            assert_eq!(made(path, query).as_deref(), Ok(want));
        }
        for (path, query, why) in [
            (r#"["..","x"]"#, "{}", "`path` holds \"..\""),
            (r#"["a",""]"#, "{}", "`path` holds \"\""),
            (r#"["a",null]"#, "{}", "`path` holds null"),
            (r#""a""#, "{}", "`path` gave no list"),
            ("[]", "[1]", "`query` gave no object"),
            ("[]", r#"{"a":[1]}"#, "`query`: `a` is no string"),
        ] {
            assert_eq!(made(path, query), Err(why.to_owned()));
        }
        assert!(made(&format!(r#"["{}"]"#, "x".repeat(9_000)), "{}").unwrap_err().contains("longer"));
    }

    #[test]
    fn bodies_are_cut_and_written() {
        let limits = BTreeMap::from([
            ("a.b".to_owned(), Limit::Chars(3)),
            ("c.1".to_owned(), Limit::Bytes { bytes: 6 }),
            ("d".to_owned(), Limit::Chars(1)),
        ]);
        let text = |made: &str, form| body(made.into(), Some(&limits), form).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(
            text(r#"{"a":{"b":"äöüß"},"c":["xxxxxxx","éééé"]}"#, false).unwrap(),
            r#"{"a":{"b":"äö…"},"c":["xxxxxxx","é…"]}"#
        );
        assert_eq!(
            text(r#"{"d":"xyz","e f":"1&2 é","n":null,"i":5}"#, true).unwrap(),
            "d=%E2%80%A6&e%20f=1%262%20%C3%A9&i=5"
        );
        assert_eq!(text("{\"x\":[\"a\\u202eb\\r\\nc\"]}", false).unwrap(), "{\"x\":[\"ab\\nc\"]}");
        assert_eq!(text("[1]", true).unwrap_err(), "`body` gave no object, which a form is made of");
        assert_eq!(text("null", false).unwrap_err(), "`body` gave null");
    }
}
