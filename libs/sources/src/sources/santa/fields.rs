//! Reading a body leniently: an absent field is zero, `null` is absent, numbers may be strings, enums numbers, and each
//! name comes as `snake_case` or `lowerCamelCase`.

use std::borrow::Cow;
use std::io::BufRead;

use event::json;

use crate::{Reply, Request, Sink, whole};

/// The largest count that is believed.
const COUNT_MAX: i64 = i32::MAX as i64;

/// A whole body as canonical JSON, which is an object.
pub(super) fn read(
    request: &Request<'_>,
    body: &mut dyn BufRead,
    most: usize,
    sink: &mut dyn Sink,
) -> Result<Vec<u8>, Reply> {
    let mut bytes = inflated(request, body, most, sink)?;
    if super::is_proto(request) {
        bytes = super::proto::request(request.route.kind, &bytes).map_err(|why| Reply::error(400, "not_proto", why))?;
    }
    let mut object = Vec::with_capacity(bytes.len());
    json::canonical(&bytes, &mut object)
        .map_err(|e| Reply::error(400, "not_json", &format!("body is not JSON: {e}")))?;
    if object.starts_with(b"{") {
        Ok(object)
    } else {
        Err(Reply::error(400, "not_object", "body is not a JSON object"))
    }
}

/// A whole body as it was before it was packed.
pub(super) fn inflated(
    request: &Request<'_>,
    body: &mut dyn BufRead,
    most: usize,
    sink: &mut dyn Sink,
) -> Result<Vec<u8>, Reply> {
    // Agents that compress nothing may say so in a word of their own.
    let encoding = request.encoding.filter(|name| !name.trim().eq_ignore_ascii_case("none"));
    whole::inflated(&Request { encoding, ..*request }, body, most, sink)
}

/// The value text of a field, by its name in snake case.
pub(super) fn field<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = json::get(object, name).or_else(|| json::get(object, &camel(name)));
    value.filter(|value| *value != b"null")
}

/// The text of a field; none if it is empty or no string.
pub(super) fn text<'a>(object: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    json::parse_str(field(object, name)?).filter(|text| !text.is_empty())
}

/// The elements of a list; none if it is something else. A list that is not there is empty.
pub(super) fn list<'a>(object: &'a [u8], name: &str) -> Option<Vec<&'a [u8]>> {
    match field(object, name) {
        None => Some(Vec::new()),
        Some(list) if list.starts_with(b"[") => Some(crate::scan::items(list).collect()),
        Some(_) => None,
    }
}

/// A number of things: never negative, and none where it is no number.
pub(super) fn count(object: &[u8], name: &str) -> i64 {
    let Some(value) = field(object, name) else { return 0 };
    let text = std::str::from_utf8(value).unwrap_or_default().trim_matches('"').trim();
    // What is beyond 64 bits is a number all the same.
    let number = text.parse::<i64>().ok().or_else(|| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        whole.then_some(if text.starts_with('-') { 0 } else { COUNT_MAX })
    });
    number.unwrap_or(0).clamp(0, COUNT_MAX)
}

/// Yes or no; no if it is neither.
pub(super) fn flag(object: &[u8], name: &str) -> bool {
    matches!(field(object, name), Some(b"true" | b"\"true\"" | b"1"))
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient() {
        let object = br#"{"a_b":null,"aB":"x","list":[1,{"y":[2]}],"n":"7","neg":-9,"big":99999999999999999999,"t":"many","f":1.5,"yes":true,"empty":""}"#;
        assert_eq!(text(object, "a_b").as_deref(), None, "the first spelling that is there counts");
        assert_eq!(text(br#"{"aB":"x"}"#, "a_b").as_deref(), Some("x"));
        assert_eq!(text(object, "empty"), None);
        assert_eq!(list(object, "list").map(|l| l.len()), Some(2));
        assert_eq!((list(object, "none"), list(object, "n")), (Some(Vec::new()), None));
        let counts = ["n", "neg", "big", "t", "f", "none"].map(|name| count(object, name));
        assert_eq!(counts, [7, 0, COUNT_MAX, 0, 0, 0]);
        assert!(flag(object, "yes") && !flag(object, "n") && !flag(object, "none"));
        assert_eq!(camel("request_clean_sync"), "requestCleanSync");
    }
}
