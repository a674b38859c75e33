//! One table of what is understood, one of what is refused, and the two laws: text comes back, nothing panics.

use super::*;

/// The structure in a form that shows it: `(and a (not t:b))`.
fn show(q: &Query) -> String {
    let list = |name: &str, items: &[Query]| {
        let items: Vec<String> = items.iter().map(show).collect();
        format!("({name} {})", items.join(" "))
    };
    let name = |field: &Option<String>| field.as_ref().map(|f| format!("{f}:")).unwrap_or_default();
    match q {
        Query::All => "all".into(),
        Query::Match { field, text } => format!("{}{text}", name(field)),
        Query::Wild { field, pieces } => format!("{}<{}>", name(field), pieces.join("|")),
        Query::Range { field, from, to } => format!("{field}:[{from:?} {to:?}]").replace("Some", ""),
        Query::Exists(field) => format!("{field}?"),
        Query::Not(inner) => format!("(not {})", show(inner)),
        Query::And(all) => list("and", all),
        Query::Or(any) => list("or", any),
    }
}

#[test]
fn understood() {
    for (text, expected) in [
        ("", "all"),
        ("  ", "all"),
        ("*", "all"),
        ("*:*", "all"),
        ("usb", "usb"),
        ("usb audio", "(and usb audio)"),
        ("usb and audio", "(and usb and audio)"),
        ("usb AND audio OR disk", "(or (and usb audio) disk)"),
        ("usb OR audio disk", "(or usb (and audio disk))"),
        ("NOT a b", "(and (not a) b)"),
        ("NOT (a b)", "(not (and a b))"),
        ("NOT NOT a", "(not (not a))"),
        ("a AND (b AND (c d)) OR (e OR f)", "(or (and a b c d) e f)"),
        ("\"C-Media USB\"", "C-Media USB"),
        (r#""say \"hi\" C:\temp \\srv""#, r#"say "hi" C:\temp \srv"#),
        ("type:osquery_result", "type:osquery_result"),
        ("type: osquery_result", "type:osquery_result"),
        ("type:(a OR \"b c\" OR d*)", "(or type:a type:b c type:<d|>)"),
        ("NOT type:(a b)", "(not (and type:a type:b))"),
        ("payload.columns.path:/usr/bin/foo", "payload.columns.path:/usr/bin/foo"),
        (r"payload.columns.path:C:\Windows\System32", r"payload.columns.path:C:\Windows\System32"),
        (r"path:a\ b\*c\:d", "path:a b*c:d"),
        ("objects:file:sha256:9f86", "objects:file:sha256:9f86"),
        ("objects:(file:x OR user:y)", "(or objects:file:x objects:user:y)"),
        ("usb*", "<usb|>"),
        ("*a**b*", "<|a|b|>"),
        ("machine.hostname:*", "machine.hostname?"),
        ("_exists_:payload.columns", "payload.columns?"),
        ("_exists_:\"odd key\"", "odd key?"),
        ("pid:[100 TO 200]", "pid:[(\"100\") (\"200\")]"),
        ("pid:[* TO \"2 0\"]", "pid:[None (\"2 0\")]"),
        ("time:[2026-11-20T10:00 TO *]", "time:[(\"2026-11-20T10:00\") None]"),
        ("time:2026-11", "time:2026-11"),
        ("pid:-1", "pid:-1"),
        ("x:\"\"", "x:"),
        ("TO or not", "(and TO or not)"),
        ("ANDROID NOTE ORB", "(and ANDROID NOTE ORB)"),
        ("a~b^c x^y", "(and a~b^c x^y)"),
        ("\"a\"b", "(and a b)"),
        ("AND:x", "AND:x"),
        ("käse:Zürich*", "käse:<Zürich|>"),
    ] {
        let query = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(show(&query), expected, "{text}");
        assert_eq!(parse(&query.to_string()).as_ref(), Ok(&query), "{text} → {query}");
    }
}

#[test]
fn refused_with_column() {
    for (text, column, what) in [
        ("type:a AND", 11, "expected a word, \"quoted text\", field:value, NOT or (, found the end"),
        ("AND a", 1, "expected a word"),
        ("a OR OR b", 6, "found `OR`"),
        ("(a", 3, "expected ), found the end"),
        ("a)", 2, "expected AND, OR or the end, found `)`"),
        ("()", 2, "found `)`"),
        ("a \"b", 3, "expected a closing quote"),
        ("type:", 6, "expected a value of `type`"),
        ("type:NOT b", 6, "expected a value of `type`"),
        ("type:(a OR )", 12, "expected a value of `type`"),
        (":a", 1, "expected the name of a field"),
        ("a*:b", 1, "the name of a field has no `*`"),
        ("_exists_:a*", 10, "the name of a field has no `*`"),
        ("_exists_:", 10, "expected the name of a field"),
        ("[a TO b]", 1, "a range needs a field"),
        ("x:{a TO b}", 3, "both ends included"),
        ("x:[a b]", 6, "expected TO, found `b`"),
        ("x:[a TO b", 10, "expected ], found the end"),
        ("x:[a TO ]", 9, "expected a value or `*`, found `]`"),
        ("x:[TO b]", 4, "expected a value or `*`, found `TO`"),
        ("x:[a* TO b]", 4, "no `*` inside"),
        ("-sudo", 1, "write NOT"),
        ("a !b", 3, "write NOT"),
        ("+a", 1, "leave it out"),
        ("a && b", 3, "write AND"),
        ("a || b", 3, "write OR"),
        ("pid:>5", 5, "[a TO *]"),
        ("te?t", 3, "no wildcard"),
        ("roam~", 5, "not part of the language"),
        ("usb^2", 4, "not part of the language"),
        ("\"a b\"~2", 6, "expected a space"),
        ("https://example.com", 1, "put an address in quotes"),
        ("---- x", 1, "write NOT"),
        ("/ x", 1, "expected a letter or digit"),
        ("\"..\"", 1, "expected a letter or digit"),
        ("*/*", 1, "expected a letter or digit"),
        ("time:yesterday", 6, "`time` is a time"),
        ("ü received:[2026 TO 20]", 21, "`received` is a time"),
        ("time:2026*", 6, "no `*` in a time"),
        ("a ] b", 3, "found `]`"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.column(), column, "{text}: {error}");
        assert!(error.to_string().contains(what), "{text}: {error}");
    }
    let caret = parse("type:a AND").unwrap_err().caret();
    assert_eq!(caret, "type:a AND\n          ^");
}

#[test]
fn bounds_hold() {
    let deep = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&deep(DEPTH_MAX)).is_ok());
    assert!(parse(&deep(DEPTH_MAX + 1)).unwrap_err().to_string().contains("64 deep"));
    assert!(parse(&"NOT ".repeat(2000)).is_err());
    assert!(parse(&"a ".repeat(CLAUSES_MAX)).is_ok());
    assert!(parse(&"a ".repeat(CLAUSES_MAX + 1)).unwrap_err().to_string().contains("1024"));
    let long = parse(&"é".repeat(QUERY_MAX)).unwrap_err();
    assert!(long.to_string().contains("8192") && long.caret().len() < 1000);
}

proptest::proptest! {
    #[test]
    fn never_panics_and_comes_back(text in r#"([a-zé0-9]{1,3}|[ ()\[\]:*"\\~^?/+!-]|AND|OR|NOT|TO|time:2026|_exists_:){0,14}"#) {
        match parse(&text) {
            Ok(query) => proptest::prop_assert_eq!(parse(&query.to_string()), Ok(query.clone()), "{} → {}", text, query),
            Err(error) => proptest::prop_assert!(error.column() >= 1 && error.caret().contains('^')),
        }
    }

    #[test]
    fn any_text_is_bounded(text in ".{0,60}") {
        let _ = parse(&text).map(|q| q.to_string()).map_err(|e| e.caret());
    }
}
