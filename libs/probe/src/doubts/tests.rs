use super::*;
use crate::NoModules;

/// `line:column kind` of each doubt.
fn told(filter: &str) -> String {
    let source = Source { name: "p.jq".into(), text: filter.into() };
    crate::compile(filter, "p.jq", &NoModules).unwrap_or_else(|e| panic!("{filter}: {e}"));
    let each = doubts(&source, &NoModules);
    let each = each.iter().map(|d| format!("{}:{} {:?}", d.place.line, d.place.column, d.what));
    each.collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (filter, want) in table {
        assert_eq!(told(filter), *want, "{filter}");
    }
}

#[test]
fn assignments_that_are_conditions() {
    check(&[
        (r#".payload.action = "added""#, "1:17 Assigned"),
        (r#".payload.action = "added" and .b == 1"#, "1:17 Assigned"),
        (r#"select(.payload.action = "added") | {title: "x"}"#, "1:24 Assigned"),
        (r#"select(.type == "x") | .payload.action="added""#, "1:39 Assigned"),
        ("select(\n  .a == 1 and (.b = 2))", "2:19 Assigned"),
        ("if .a=1 then true else empty end", "1:6 Assigned"),
        ("(.a = 1) | not", "1:5 Assigned"),
        ("any(.l[]; .x = 1) or all(.l[]; .y = 1)", "1:14 Assigned, 1:35 Assigned"),
        ("def f: select(.a = 1); f | .a", "1:18 Assigned"),
        (".columns | select(.path | .x = \"=\")", "1:30 Assigned"),
        // A context that is made of the event, and values that are changed on the way.
        (r#"select(.a == 1) | .title = "x""#, ""),
        (r#"select(.a == 1) | {title: "x"} | .payload = 1"#, ""),
        (r#"(.payload.name |= ascii_downcase) | .payload.name == "usb""#, ""),
        (r#"[.l[] | .x = 1] | length > 2"#, ""),
        ("select(.a == 1 and .b != 2)", ""),
    ]);
}

#[test]
fn conditions_that_nothing_asks() {
    check(&[
        (r#".payload.action == "added" | {title: "x"}"#, "1:1 Dropped"),
        (r#"is_new | {title: "x \(column("path"))"}"#, "1:1 Dropped"),
        (r#"select(is_new) | column("path") | startswith("/tmp") | {title: "in tmp"}"#, "1:35 Dropped"),
        (r#"(column("path") | startswith("/tmp")) | {title: "in tmp"}"#, "1:19 Dropped"),
        ("is_new | column(\"path\") | under(\"/tmp\")", "1:1 Dropped"),
        (r#".a == 1 and .b == 2 | {a, n: (.b | length)} | select(.a)"#, "1:1 Dropped"),
        (r#"machine_name as $host | .a | test("x") | {title: $host, b: ($host | length)}"#, "1:30 Dropped"),
        (".a == 1 | not | true", "1:11 Dropped"),
        ("if .a then .b == 1 | {title: \"x\"} else empty end", "1:12 Dropped"),
        (r#"is_new, {title: "x"}"#, "1:1 Dropped"),
        (r#"select(is_new), {title: "x \(column("path") | line)"}"#, "1:1 Dropped"),
        (r#"if is_new then {title: "x"} end"#, "1:1 Dropped"),
        (r#"column("a") | if . == "1" then {title: "x"} elif . == "2" then "y" end"#, "1:15 Dropped"),
        (r#"select(.a) | if .b then {title: "x"} end"#, "1:14 Dropped"),
        // Its answer is asked for, or part of what is given.
        (r#".a == 1 | {title: "x", first: .}"#, "1:11 Always"),
        (".a == 1 | not", ""),
        (".a == 1 | select(.)", ""),
        (".a == 1 | if . then {title: \"x\"} else empty end", ""),
        ("(.a == 1) as $new | {title: \"x\", $new} | select($new)", ""),
        ("[.l[] | .a == 1 | tostring] | join(\",\") == \"true\"", ""),
        ("def is_new: select(.a); is_new | {title: \"x\"}", ""),
        ("def f(is_new): is_new | {title: \"x\"}; f(select(.a))", ""),
        (".a == 1 | error(\"x\")", ""),
        // What is listed may give nothing, or what comes in is the context.
        ("is_new, {title: (column(\"path\") | strings)}", ""),
        ("is_new, is_removed", ""),
        ("select(is_new) | {title: \"x\"} | if .title == \"x\" then .body = \"y\" end", ""),
        ("select(is_new) | columns | if .a == \"1\" then {title: \"x\"} end", ""),
        ("if .a == 1 then empty end", ""),
        ("if .a == 1 then {title: \"x\"} else empty end", ""),
    ]);
}

#[test]
fn filters_that_never_say_no() {
    check(&[
        ("true", "1:1 Always"),
        (r#""added""#, "1:1 Always"),
        (r#"{title: "x"}"#, "1:1 Always"),
        ("# t\n.payload.columns\n| {title: \"path \\(.path)\"}", "3:3 Always"),
        (r#"{title: "\(.payload.columns.path | line) on \(machine_name)", n: (column("n") // "none")}"#, "1:1 Always"),
        (r#"machine_name as $host | columns | {title: "\($host): \(.path)"}"#, "1:35 Always"),
        ("if .a == 1 then {title: \"a\"} else {title: \"b\"} end", "1:1 Always"),
        (".a // true", "1:1 Always"),
        ("{n: (.a | tonumber)}", "1:1 Always"),
        // They may say no, or nobody knows.
        ("select(.a) | {title: \"x\"}", ""),
        ("if .a == 1 then {title: \"a\"} else empty end", ""),
        ("if .a == 1 then true else error(\"no\") end", ""),
        (".payload.columns[]? | {title: .}", ""),
        ("{title: (.a | strings)}", ""),
        ("def line: empty; {title: (.a | line)}", ""),
        ("column(\"x\") as $c | $c", ""),
        ("column(\"x\") as $c | if $c == 1 then {title: 2} else null end", ""),
        (".a.b? | {title: \"x\"}", ""),
        ("rows | {title: .name}", ""),
        (".payload.action == \"added\"", ""),
        (".a", ""),
        ("false", ""),
        ("is_new", ""),
    ]);
}

#[test]
fn wildcards_of_other_languages() {
    check(&[
        (r#".a | under("/Users/*/Downloads")"#, ""),
        (r#".a | under("/tmp", "/Users/%/x")"#, "1:21 Wildcard"),
        (r#".a | under("/Users/%%")"#, "1:13 Wildcard"),
        (r#".a | under("/Users/**/x")"#, "1:13 Wildcard"),
        (r#".a | under("/Users/?/x")"#, "1:13 Wildcard"),
        (r#".a | under("/tmp/100%")"#, ""),
        (r#".a | has_extension("*.exe")"#, "1:21 Wildcard"),
        (r#".a | has_extension("exe", ".msi")"#, ""),
    ]);
}

#[test]
fn the_filters_that_ship_are_beyond_doubt() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters");
    let modules = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "jq") && path.with_extension("ndjson").exists() {
            let text = std::fs::read_to_string(&path).unwrap();
            let source = Source { name: path.display().to_string().into(), text: text.into() };
            assert_eq!(doubts(&source, &modules), []);
            seen += 1;
        }
    }
    assert!(seen >= 30, "{seen}");
}
