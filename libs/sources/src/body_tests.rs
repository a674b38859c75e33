//! Tests of the splitter.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::cut::HEAD_MAX;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// A record with no borrow, for comparing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Json(String, bool, Option<String>),
    Bytes(Vec<u8>, Flaw),
    Cut(u64, String, String),
}

#[derive(Default)]
struct Collect(Vec<Owned>);

impl<'t> Take<'t> for Collect {
    fn data(&mut self, _: &Head) -> Result<(), BodyError> {
        self.0.clear();
        Ok(())
    }

    fn record(&mut self, _: &Head, record: Record<'t>) -> Result<(), BodyError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.0.push(match record {
            Record::Json { text: json, spaces, unix_time, .. } => Owned::Json(text(json), spaces, unix_time.map(text)),
            Record::Bytes { text, flaw } => Owned::Bytes(text.to_vec(), flaw),
            Record::Cut { bytes, sha256, head } => Owned::Cut(bytes, sha256, head),
        });
        Ok(())
    }
}

type Split = Result<(Head, Vec<Owned>), BodyError>;

fn whole(body: &[u8]) -> Split {
    let mut taken = Collect::default();
    let head = Splitter::default().whole(body, &mut taken)?;
    Ok((head, taken.0))
}

fn pieces(body: &[u8], size: usize) -> Split {
    let mut taken = Collect::default();
    let (mut splitter, mut held) = (Splitter::default(), Vec::new());
    for piece in body.chunks(size) {
        held.extend_from_slice(piece);
        let done = splitter.feed(&held, &mut taken)?;
        held.drain(..done);
    }
    Ok((splitter.end()?, taken.0))
}

fn json(text: &str) -> Owned {
    Owned::Json(text.into(), false, None)
}

fn body(data: &str) -> Vec<u8> {
    format!(r#"{{"node_key":"k","log_type":"result","data":{data}}}"#).into_bytes()
}

fn check(body: &[u8], want: Result<Vec<Owned>, BodyError>) {
    let got = whole(body);
    let shown = String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned();
    assert_eq!(got.clone().map(|(_, records)| records), want, "{shown}");
    for size in [1, 3, 1000] {
        if body.len() / size < 100_000 {
            assert_eq!(pieces(body, size), got, "{shown} by {size}");
        }
    }
}

#[test]
fn cuts_records() {
    check(&body("[]"), Ok(vec![]));
    check(
        &body(r#"[{"a":"}]"},{"b":[1,{"c":"\""}]} , 1,"x",null]"#),
        Ok(vec![json(r#"{"a":"}]"}"#), json(r#"{"b":[1,{"c":"\""}]}"#), json("1"), json("\"x\""), json("null")]),
    );
    check(
        &body(r#"[{"unixTime":"12","a":{"unixTime":3}},{"unixTime" : 5}]"#),
        Ok(vec![
            Owned::Json(r#"{"unixTime":"12","a":{"unixTime":3}}"#.into(), false, Some("\"12\"".into())),
            Owned::Json(r#"{"unixTime" : 5}"#.into(), true, Some("5".into())),
        ]),
    );
    check(b" { \"data\" : [ {} ] , \"x\":[[1],{\"data\":[2]}], \"node_key\":\"k\" } \n", Ok(vec![json("{}")]));
    check(br#"{"data":[1],"node_key":"a","data":[2],"node_key":"b"}"#, Ok(vec![json("2")]));
    check(b"{}", Ok(vec![]));
}

#[test]
fn a_bad_record_harms_no_other() {
    for (bad, flaw) in [
        (&b"{\"a\":tru}"[..], Flaw::Json),
        (b"{\"a\":1,}", Flaw::Json),
        (b"01", Flaw::Json),
        (b"nul", Flaw::Json),
        (b"{\"a\":\"\x00\"}", Flaw::Json),
        (b"{\"a\":\"line\nfeed\"}", Flaw::Json),
        (b"{\"a\":\"\xff\"}", Flaw::Utf8),
        (b"{\"a\":\"\\q\"}", Flaw::Json),
        (b"{'a':1}", Flaw::Json),
    ] {
        let text = [b"{\"node_key\":\"k\",\"data\":[{\"x\":1},".as_slice(), bad, b",{\"y\":2}]}"].concat();
        check(&text, Ok(vec![json("{\"x\":1}"), Owned::Bytes(bad.to_vec(), flaw), json("{\"y\":2}")]));
    }
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    check(&body(&format!("[{deep},1]")), Ok(vec![Owned::Bytes(deep.clone().into_bytes(), Flaw::Deep), json("1")]));
    check(format!(r#"{{"x":{deep},"data":[1]}}"#).as_bytes(), Ok(vec![json("1")]));
}

#[test]
fn long_records_are_cut_and_counted() {
    let long = format!("{{\"a\":\"{}\"}}", "é".repeat(RECORD_MAX / 2));
    let Ok((_, records)) = whole(&body(&format!("[{long},1]"))) else { panic!("refused") };
    let [Owned::Cut(bytes, sha256, head), one] = &records[..] else { panic!("{} records", records.len()) };
    assert_eq!((*bytes, one), (long.len() as u64, &json("1")));
    let digest: String = Sha256::digest(long.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(sha256, &digest);
    assert!(long.starts_with(head.as_str()) && head.len() >= HEAD_MAX - 1);
    check(&body(&format!("[{long},1]")), Ok(records));
    let longest = format!("\"{}\"", "a".repeat(RECORD_MAX - 2));
    check(&body(&format!("[{longest}]")), Ok(vec![json(&longest)]));
    let bad = format!("\"{}\n\"", "a".repeat(RECORD_MAX / 4 * 3));
    assert!(matches!(&whole(&body(&format!("[{bad}]"))).unwrap().1[..], [Owned::Cut(..)]));
}

#[test]
fn refuses_broken_bodies() {
    for (text, error) in [
        ("", BodyError::NotJson),
        ("this is not json", BodyError::NotObject),
        ("[]", BodyError::NotObject),
        ("null", BodyError::NotObject),
        ("{", BodyError::NotJson),
        ("{\"data\":[1", BodyError::NotJson),
        ("{\"data\":[1,]}", BodyError::NotJson),
        ("{\"data\":[,1]}", BodyError::NotJson),
        ("{\"data\":[1 2]}", BodyError::NotJson),
        ("{\"data\":[1]}}", BodyError::NotJson),
        ("{\"data\":[1]},", BodyError::NotJson),
        ("{\"a\":}", BodyError::NotJson),
        ("{\"a\":tru}", BodyError::NotJson),
        ("{\"node_key\":tru}", BodyError::NotJson),
        ("{a:1}", BodyError::NotJson),
        ("{1:1}", BodyError::NotJson),
        ("{\"a\" 1}", BodyError::NotJson),
        ("{\"data\":[\"x]}", BodyError::NotJson),
    ] {
        check(text.as_bytes(), Err(error));
    }
    let many = body(&format!("[{}1]", "1,".repeat(RECORDS_MAX)));
    assert_eq!(whole(&many), Err(BodyError::TooMany));
    let long = format!("{{\"{}\":1}}", "k".repeat(RECORD_MAX));
    assert_eq!(whole(long.as_bytes()), Err(BodyError::TooLong));
}

#[test]
fn the_head_takes_the_last_of_equal_keys_and_escaped_ones() {
    let (head, _) = whole(br#"{"node_key":1,"node\u005fkey":"k\n","log_type":[],"data":"[]"}"#).unwrap();
    assert_eq!(head.node_key, Member::Text("k\n".into()));
    assert_eq!(head.log_type, Member::Wrong);
    assert_eq!(head.data, Member::Text("[]".into()));
}

/// JSON-like text that often is a body of ours.
fn body_like() -> impl Strategy<Value = Vec<u8>> {
    const BITS: &[&[u8]] = &[
        b"{\"a\":1}",
        b"\"x\\\"\"",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"\"",
        b"\\",
        b" ",
        b"12",
        b"tru",
        b"null",
        b"\xff",
        b"\"data\":[",
        b"\"unixTime\":1",
        b"\"node_key\":\"k\"",
    ];
    let bit = proptest::sample::select(BITS);
    (any::<bool>(), proptest::collection::vec(bit, 0..14)).prop_map(|(framed, bits)| {
        let middle = bits.concat();
        if framed { [&b"{\"node_key\":\"k\",\"data\":["[..], &middle, b"]}"].concat() } else { middle }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Byte by byte or in any pieces, the result is that of the whole.
    #[test]
    fn framing_does_not_matter(text in body_like(), size in 1usize..9) {
        let at_once = whole(&text);
        let in_pieces = pieces(&text, size);
        match (&at_once, &in_pieces) {
            (Err(_), Err(_)) => {}
            _ => prop_assert_eq!(at_once, in_pieces),
        }
    }

    /// What serde_json takes for a body is one, with the same records.
    #[test]
    fn agrees_with_serde(items in proptest::collection::vec("[a-z\\[\\]{}\"\\\\:,é \n]{0,12}", 0..5), pretty in any::<bool>()) {
        let value = serde_json::json!({"node_key": "k", "data": items.iter().map(|s| serde_json::json!({"s": s})).collect::<Vec<_>>()});
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let (_, records) = whole(&text).unwrap();
        let got: Vec<serde_json::Value> = records.iter().map(|r| match r {
            Owned::Json(text, ..) => serde_json::from_str(text).unwrap(),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(&got, value["data"].as_array().unwrap());
    }
}
