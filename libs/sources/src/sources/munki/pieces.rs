//! Cuts a post into pieces by structure alone, without a tree: it may be 64 MiB long, and one broken piece of it (a lone
//! surrogate, a byte that is no UTF-8) harms no other.

use std::collections::BTreeMap;

use event::json;

use crate::Reply;
use crate::scan::{self, Flaw, Scan};

/// Whether this is one JSON object, as far as its structure goes.
pub(super) fn object(text: &[u8]) -> Result<&[u8], Reply> {
    let text = text.trim_ascii();
    match scan::value(text, 0, true) {
        Scan::Whole(found) if found.end == text.len() && text.starts_with(b"{") => Ok(text),
        Scan::Whole(found) if found.end == text.len() => Err(Reply::error(400, "not_object", "body is no JSON object")),
        Scan::Bad(Flaw::Deep) => Err(Reply::error(400, "too_deep", "body is nested too deep")),
        _ => Err(Reply::error(400, "not_json", "body is not JSON")),
    }
}

/// The members of an object, by key; of equal keys the last one counts. Keys that are written with escapes are none of
/// those that mean something here.
pub(super) fn members(text: &[u8]) -> BTreeMap<&str, &[u8]> {
    let members = json::members(text).filter_map(Result::ok);
    members
        .filter(|(key, _)| !key.contains(&b'\\'))
        .filter_map(|(k, v)| Some((std::str::from_utf8(k).ok()?, v)))
        .collect()
}

/// The items of a list; none if it is no list.
pub(super) fn items(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text.strip_prefix(b"[").unwrap_or_default();
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        match scan::value(rest, 0, false) {
            Scan::Whole(found) => {
                let (item, behind) = rest.split_at_checked(found.end)?;
                rest = behind;
                Some(item)
            }
            _ => None,
        }
    })
}

/// The canonical form, if the piece is sound.
pub(super) fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    json::canonical(text, &mut out).ok().map(|()| out)
}

/// Whether a member is there and says something.
pub(super) fn said<'t>(members: &BTreeMap<&str, &'t [u8]>, key: &str) -> Option<&'t [u8]> {
    members.get(key).copied().filter(|value| *value != b"null")
}

/// The string that a member is.
pub(super) fn string(members: &BTreeMap<&str, &[u8]>, key: &str) -> Option<String> {
    json::parse_str(members.get(key)?).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn one_broken_piece_harms_no_other() {
        let text =
            b" { \"a\" : [ {\"n\": 1} , \"\\ud800\" , [ 2 ] ,\"\xff\", 3 ] , \"b\\u0062\": 1, \"a2\":{}, \"c\":null } ";
        let whole = object(text).unwrap();
        let members = members(whole);
        assert_eq!(members.keys().copied().collect::<Vec<_>>(), ["a", "a2", "c"]);
        assert_eq!((said(&members, "c"), said(&members, "a2")), (None, Some(&b"{}"[..])));
        let items: Vec<_> = items(said(&members, "a").unwrap()).map(canonical).collect();
        assert_eq!(items, [Some(b"{\"n\":1}".to_vec()), None, Some(b"[2]".to_vec()), None, Some(b"3".to_vec())]);
        assert_eq!(self::items(b"{}").count() + self::items(b"[ ]").count() + self::items(b"").count(), 0);
        for (bad, reason) in
            [(&b"[1]"[..], "not_object"), (b"{\"a\":", "not_json"), (b"\xff\xfe{", "not_json"), (b"{}x", "not_json")]
        {
            assert_eq!(object(bad).unwrap_err().reason, reason, "{}", String::from_utf8_lossy(bad));
        }
    }
}
