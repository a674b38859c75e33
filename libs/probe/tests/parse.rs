//! Our reading of JSON against the event library's, over honest lines and broken ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use proptest::prelude::*;

const LINE: &str = r#"{"v":1,"id":"01","type":"osquery_result","n":[0,-0,1.50,-12e+3,12345678901234567890],"machine":{"tags":["a\u0041","\ud83d\ude00é"],"user":null},"payload":{"a":true,"b":false,"\"":{"c":[[],{}]}}} "#;

/// Accepts what `canonical` accepts, and writes the same text.
fn check(text: &[u8]) -> Result<(), TestCaseError> {
    let mut canonical = Vec::new();
    let accepted = event::json::canonical(text, &mut canonical);
    match (accepted, probe::parse(text)) {
        (Ok(()), Ok(value)) => prop_assert_eq!(value.to_json().unwrap(), String::from_utf8(canonical).unwrap()),
        (Err(_), Err(_)) => {}
        (canonical, ours) => prop_assert!(
            false,
            "{:?}: canonical says {:?}, we say {:?}",
            String::from_utf8_lossy(text),
            canonical,
            ours.map(|_| ())
        ),
    }
    Ok(())
}

#[test]
fn honest() {
    check(LINE.as_bytes()).unwrap();
}

#[test]
fn as_deep() {
    for n in [event::DEPTH_MAX, event::DEPTH_MAX + 1] {
        for inner in ["", "1", "{}"] {
            check(format!("{}{inner}{}", "[".repeat(n), "]".repeat(n)).as_bytes()).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn broken(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..4)) {
        let mut text = LINE.as_bytes().to_vec();
        for (at, byte, what) in changes {
            let at = at.index(text.len());
            match what {
                0 => text[at] = byte,
                1 => text[at] = b"{}[]\":,\\u0e-. \n"[usize::from(byte) % 15],
                2 => { text.remove(at); }
                _ => text.insert(at, byte),
            }
        }
        check(&text)?;
    }

    #[test]
    fn values_come_back(text in r#"(\{"a":[0-9]{1,22}(\.[0-9]{1,3})?,"b":\["[a-zé\\\\n]{0,30}"\]\}|\["[ -!#-\[\]-~]{0,40}", (null|true|-?[1-9][0-9]{0,19})\])"#) {
        check(text.as_bytes())?;
    }
}
