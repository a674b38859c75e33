use super::*;

fn data(path: &str) -> Option<String> {
    let text = match path {
        "array.json" => r#"["05ac", "046d"]"#,
        "object.json" => r#"{"05ac": "Apple"}"#,
        "none.json" => "\n",
        "lines.json" => "\"05ac\"\n\"046d\"\n",
        "single.json" => "\"05ac\"",
        "pairs.json" => "[\"05ac\", \"1\"]\n[\"046d\", \"2\"]\n",
        _ => return None,
    };
    Some(text.to_owned())
}

/// `line:column kind` of each doubt.
fn told(filter: &str, asked: Option<&Asked>) -> String {
    let source = Source { name: "p.jq".into(), text: filter.into() };
    crate::compile(filter, "p.jq", &data).unwrap_or_else(|e| panic!("{filter}: {e}"));
    let each = doubts(&source, &data, asked);
    let each = each.iter().map(|d| format!("{}:{} {:?}", d.place.line, d.place.column, d.what));
    each.collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    check_asked(None, table);
}

#[track_caller]
fn check_asked(asked: Option<&Asked>, table: &[(&str, &str)]) {
    for (filter, want) in table {
        assert_eq!(told(filter, asked), *want, "{filter}");
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
        ("def tmp: .path | under(\"/tmp\"); select(is_new) | tmp | {title: \"x\"}", "1:50 Dropped"),
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
        ("def t: .a == 1; def u: select(.a); u | {title: \"x\"}", ""),
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
        ("column(\"x\") as $c | if $c == \"1\" then {title: \"2\"} else null end", ""),
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
fn columns_that_are_compared_with_numbers() {
    check(&[
        (r#"column("port") > 1000"#, "1:1 Number"),
        (r#"column("port") == 22"#, "1:1 Number"),
        (r#"select(is_new and 1000 <= .payload.columns.port)"#, "1:19 Number"),
        (r#"columns | select(.port != -1) | {title: .port}"#, "1:18 Number"),
        (r#"any(rows; .port > 1000)"#, "1:11 Number"),
        (r#".payload.columns as $c | $c.port == 22"#, "1:26 Number"),
        (r#"[.payload.snapshot[] | select(.port > 1000)] | length > 2"#, "1:31 Number"),
        (r#"column("port") | IN(22, 80)"#, "1:18 Number"),
        (r#"column("port") | . > 1000"#, "1:18 Number"),
        (r#"(column("port") // "0") > 1000"#, "1:1 Number"),
        (r#"column("enabled") == true"#, "1:1 Number"),
        // Text, numbers, whatever else is known or not.
        (r#"column("port") | tonumber > 1000"#, ""),
        (r#"(column("port") | tonumber? // 0) == 22"#, ""),
        (r#"column("port") == "22""#, ""),
        (r#"column("on") == 1 or column("on") == "1""#, ""),
        (r#"column("on") | IN(1, "1")"#, ""),
        (r#"column("on") | if type == "number" then . > 5 else (tonumber > 5) end"#, ""),
        (r#"column("path") | length > 100"#, ""),
        (r#".payload.counter == 0"#, ""),
        (r#"def column(x): 5; column("port") > 1"#, ""),
        (r#"columns | map_values(tonumber) | .port > 22"#, ""),
        (r#"[columns[] | tonumber] | add > 5"#, ""),
        (r#"[rows] | length > 5"#, ""),
    ]);
}

#[test]
fn what_the_query_never_gives() {
    let columns = || Some(["port", "path", "Pid"].map(str::to_owned).to_vec());
    let rows = Asked { snapshot: false, removed: false, first_run: false, columns: columns() };
    check_asked(
        Some(&rows),
        &[
            (r#"column("pth") | under("/tmp")"#, "1:9 Never"),
            (r#"columns | select(.port == "1") | {title: "x", usr}"#, "1:47 Never"),
            (".payload.colums.path | under(\"/tmp\")", "1:10 Never"),
            (".columns.path | under(\"/tmp\")", "1:2 Never"),
            (".paylod.columns.path | under(\"/tmp\")", "1:2 Never"),
            (r#".payload.action == "snapshot""#, "1:1 Never"),
            (r#"select(.payload.action == "add") | {title: "x"}"#, "1:8 Never"),
            ("select(.payload.snapshot[] | .port == \"1\") | {title: \"x\"}", "1:17 Never"),
            ("select(is_removed and column(\"port\") == \"1\")", "1:8 Never"),
            ("if is_first_run then {title: \"x\"} else empty end", "1:4 Never"),
            (r#".type == "osquery_results""#, "1:1 Never"),
            // Or else, too, and as SQLite spells it.
            (r#"column("pid") == "1" and (column("user") // .payload.columns.uid? // "x") != "y""#, ""),
            (r#".payload.columns | select(.port == "1") | .title = "x""#, ""),
            (r#".payload | (.columns.gone // .columns.path) | under("/tmp")"#, ""),
            ("is_removed or is_new", ""),
            ("is_first_run | not", ""),
            (r#".payload.action == "added" or .payload.action == "snapshot""#, ""),
            ("any(.payload.snapshot[]?, .payload.columns; .port == \"1\")", ""),
            (".payload.snapshot? // [] | any(.port == \"1\")", ""),
            (r#".payload.decorations.hst == "x" or .machine.hots == "x""#, ""),
            (r#".type == "osquery_request" or .source == "osquery""#, ""),
        ],
    );
    let snapshot = Asked { snapshot: true, removed: true, first_run: true, columns: None };
    check_asked(
        Some(&snapshot),
        &[
            ("is_removed", "1:1 Never"),
            (r#"select(.payload.action == "added")"#, "1:8 Never"),
            (r#".payload.action == "snapshot" and is_first_run and (.payload.snapshot[] | .any == "x")"#, ""),
        ],
    );
    // Of other events not so much is known.
    check(&[(".payload.colums.path or .columns.x or .paylod or is_removed or .owner", "")]);
    check(&[(r#"select(.type == "osqery_result") | {title: "x"}"#, "1:8 Never")]);
}

#[test]
fn contexts_that_people_do_not_read() {
    check(&[
        (r#"select(is_new) | {titel: "x"}"#, "1:19 Unread"),
        (r#"select(is_new) | {titel: "x", titles: "y"}"#, "1:19 Unread, 1:31 Unread"),
        (r#"select(is_new) | {title: 5, body: null}"#, "1:19 Unread, 1:29 Unread"),
        (r#"if is_new then {Title: "x"} else empty end"#, "1:17 Unread"),
        (r#"select(is_new) | {title: "x", file: column("path"), titles: 5, key: 1}"#, ""),
        (r#"select(is_new) | {path: column("path"), file: 5, type: 3}"#, ""),
        (r#"{titel: 5} as $x | select(is_new) | {title: "\($x.titel)"}"#, ""),
    ]);
}

#[test]
fn data_among_which_nothing_is() {
    let of = |name: &str, rest: &str| format!("import \"{name}\" as $l; {rest}");
    for (name, wrong) in
        [("array", true), ("object", true), ("none", true), ("lines", false), ("single", false), ("pairs", false)]
    {
        let filter = of(name, "column(\"vendor_id\") | IN($l[])");
        let place = filter.find("$l[]").unwrap() + 1;
        let want = if wrong { format!("1:{place} Listed") } else { String::new() };
        assert_eq!(told(&filter, None), want, "{filter}");
    }
    let text = doubts(&Source { name: "p".into(), text: of("array", ".type | IN($l[])").into() }, &data, None);
    let want = "`array.json` holds one array, so nothing is ever among it; one value a line is wanted";
    assert_eq!(text.iter().map(|d| d.place.message.as_str()).collect::<Vec<_>>(), [want]);
    for filter in [
        of("array", "column(\"vendor_id\") | IN($l[][])"),
        of("array", "column(\"vendor_id\") | IN($l[0][])"),
        of("object", "column(\"vendor_id\") as $id | $l[0][$id]"),
        of("array", "[column(\"a\"), column(\"b\")] | IN($l[])"),
    ] {
        assert_eq!(told(&filter, None), "", "{filter}");
    }
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
            assert_eq!(doubts(&source, &modules, None), []);
            seen += 1;
        }
    }
    assert!(seen >= 30, "{seen}");
}
