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

/// The value text of a field of canonical JSON, by its name in snake case; that spelling counts where both are there.
pub(super) fn field<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut found = None;
    for (key, value) in json::members(object).filter_map(Result::ok) {
        if key == name.as_bytes() {
            found = Some(value);
            break;
        }
        if is_camel(key, name) {
            found = Some(value);
        }
    }
    found.filter(|value| *value != b"null")
}

/// The text of a field; none if it is empty or no string.
pub(super) fn text<'a>(object: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    json::parse_str(field(object, name)?).filter(|text| !text.is_empty())
}

/// The elements of a list; none if it is something else. A list that is not there is empty.
pub(super) fn list<'a>(object: &'a [u8], name: &str) -> Option<Vec<&'a [u8]>> {
    lists(object, [name]).ok().map(|[list]| list)
}

/// The elements of each of these lists, in one pass over the object.
///
/// # Errors
/// The name of one that is something else.
pub(super) fn lists<'a, 'n, const N: usize>(
    object: &'a [u8],
    names: [&'n str; N],
) -> Result<[Vec<&'a [u8]>; N], &'n str> {
    let (mut lists, mut named) = ([None; N], [false; N]);
    for (key, value) in json::members(object).filter_map(Result::ok) {
        for ((list, named), name) in lists.iter_mut().zip(&mut named).zip(names) {
            let snake = key == name.as_bytes();
            if snake || (!*named && is_camel(key, name)) {
                (*list, *named) = (Some(value), snake);
            }
        }
    }
    let mut elements = [const { Vec::new() }; N];
    for ((elements, list), name) in elements.iter_mut().zip(lists).zip(names) {
        match list.filter(|list| *list != b"null") {
            None => {}
            Some(list) if list.starts_with(b"[") => elements.extend(crate::scan::items(list)),
            Some(_) => return Err(name),
        }
    }
    Ok(elements)
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

/// Whether `key` is `name`, which is in snake case, in lower camel case.
fn is_camel(key: &[u8], name: &str) -> bool {
    let mut letters = key.iter();
    let mut upper = false;
    for byte in name.bytes() {
        if byte == b'_' {
            upper = true;
            continue;
        }
        let want = if upper { byte.to_ascii_uppercase() } else { byte };
        upper = false;
        if letters.next() != Some(&want) {
            return false;
        }
    }
    letters.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient() {
        let object = br#"{"a_b":null,"aB":"x","aList":[3],"list":[1,{"y":[2]}],"a_list":[],"bList":[4],"n":"7","neg":-9,"big":99999999999999999999,"t":"many","f":1.5,"yes":true,"empty":""}"#;
        assert_eq!(text(object, "a_b").as_deref(), None, "the first spelling that is there counts");
        assert_eq!(text(br#"{"aB":"x"}"#, "a_b").as_deref(), Some("x"));
        assert_eq!(text(object, "empty"), None);
        let lens = lists(object, ["list", "none", "a_b", "a_list", "b_list"]).map(|lists| lists.map(|list| list.len()));
        assert_eq!((lens, lists(object, ["list", "n"])), (Ok([2, 0, 0, 0, 1]), Err("n")));
        let counts = ["n", "neg", "big", "t", "f", "none"].map(|name| count(object, name));
        assert_eq!(counts, [7, 0, COUNT_MAX, 0, 0, 0]);
        assert!(flag(object, "yes") && !flag(object, "n") && !flag(object, "none"));
        assert!(
            is_camel(b"requestCleanSync", "request_clean_sync") && !is_camel(b"requestClean", "request_clean_sync")
        );
        assert!(
            !is_camel(b"request_clean_sync", "request_clean_sync")
                && !is_camel(b"requestCleanSyncs", "request_clean_sync")
        );
    }
}
