//! The language: what filters say, compared with jq 1.6 where that is installed and knows the function.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::io::Write;
use std::process::{Command, Stdio};

use probe::{Decision, EvalError, Limits, Modules, NoModules, compile, parse, with_stack};

/// All outputs, or the error's text after `!`.
fn eval(filter: &str, input: &str) -> String {
    match outputs(filter, input) {
        Ok(outputs) => outputs.join(" "),
        Err(text) => text,
    }
}

fn outputs(filter: &str, input: &str) -> Result<Vec<String>, String> {
    let program =
        compile(filter, "t", &NoModules).map_err(|e| format!("? {}", e.problems.first().map_or("", |p| &p.message)))?;
    program.eval(&parse(input.as_bytes()).unwrap(), 1_500, &Limits::default()).map_err(|e| match e {
        EvalError::Failed(text) => format!("! {text}"),
        EvalError::Exceeded(limit) => format!("! {limit}"),
    })
}

fn check(table: &[(&str, &str, &str)]) {
    let jq = jq_is_there();
    with_stack(|| {
        for (filter, input, want) in table {
            let got = eval(filter, input);
            // An error's words are not part of the contract unless they are spelled out.
            let same = if *want == "!" { got.starts_with('!') } else { got == *want };
            assert!(same, "{filter} over {input}: {got}, not {want}");
            if jq && !DIFFERENT.contains(filter) {
                as_jq_says(filter, input);
            }
        }
    })
    .unwrap();
}

/// Whether jq 1.6 is installed. By hand the comparison may be left out; in CI there must be a jq, and a Debian whose jq
/// is a later one has none to compare with.
fn jq_is_there() -> bool {
    let version = Command::new("jq").arg("--version").output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    assert!(version.is_ok() || std::env::var("CI").as_deref() != Ok("true"), "jq is not installed");
    let found = version.as_ref().is_ok_and(|v| v.trim() == "jq-1.6");
    if !found {
        eprintln!(
            "SKIPPED: nothing is compared with jq 1.6; installed: {}",
            version.unwrap_or_else(|_| "none".into()).trim()
        );
    }
    found
}

/// The same outputs as values, or an error where jq has one; what jq 1.6 cannot compile it does not know.
fn as_jq_says(filter: &str, input: &str) {
    let mut jq = Command::new("jq");
    jq.args(["-c", filter]).env("TZ", "UTC").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = jq.spawn().unwrap();
    // A program that it does not know ends it before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let said = child.wait_with_output().unwrap();
    let (ours, stdout) = (outputs(filter, input), String::from_utf8(said.stdout).unwrap());
    let list = |outputs: &str| parse(format!("[{outputs}]").as_bytes()).unwrap();
    let same = match (said.status.code(), &ours) {
        (Some(3), _) => true,
        (Some(0), Ok(ours)) => list(&ours.join(",")) == list(&stdout.trim().replace('\n', ",")),
        (_, ours) => said.status.code() == Some(5) && ours.is_err(),
    };
    assert!(same, "{filter} over {input}: {ours:?}, but jq: {stdout}{}", String::from_utf8_lossy(&said.stderr));
}

/// Rows that are not as in jq 1.6, on purpose.
const DIFFERENT: [&str; 23] = [
    // An error before `//` is no output, as from jq 1.7 on.
    "(.a | startswith(\"x\")) // \"d\"",
    "[(1, error(\"x\"), 2) // 9]",
    // From jq 1.7 on too: an index is cut to an integer, `limit(0; …)` has no output.
    ".[-1], .[1.7], .[9]",
    "[limit(0; 1, 2)]",
    // From jq 1.8 on: strings alone are trimmed, no blanks around a number, no negative counts, nothing is a string too.
    "ltrimstr(1)",
    "rtrimstr(\"a\")",
    "[.[] | tonumber?]",
    "limit(-1; 1, 2)",
    "\"ab\" * 2.7, \"a\" * 0, \"a\" * -1",
    // Literals keep their digits, integers are exact within 64 bits.
    ".",
    "tojson, (tojson | fromjson), tostring",
    // jq 1.6 dies of the last one.
    "5.5 % 2, -5 % 3, 5 % -2, (-9223372036854775807 - 1) % -1",
    // An event holds no such number.
    "infinite",
    "{a: [nan]}",
    // `now` is the event's; fractions of a second stay.
    "now, (now | todate)",
    "fromdate",
    // Keys that are false, code points that are none, an index in bytes, an empty match that never ends: faults of 1.6.
    "from_entries",
    "[-1] | implode",
    "indices(\"ü\"), index(\"b\"), rindex(\"ü\")",
    "sub(\"(?<x>.)\"; \"\\(.x)\\(.x)\"), gsub(\"B\"; \"-\"; \"i\"), gsub(\"\"; \"-\")",
    // From 1.7 on `@uri` escapes a quote.
    "@html, @sh, @uri, @base64, @json",
    // 1.6 has no `@base32d`; we have no look-ahead.
    "@base64d, (@base32 | @base32d)",
    "test(.)",
];

#[test]
fn paths_and_changes() {
    check(&[
        (".a.b", "null", "null"),
        (".a", "[]", "!"),
        ("[.[]?]", "1", "[]"),
        (".[-1], .[1.7], .[9]", "[1,2]", "2 2 null"),
        (".[1:], .[:-1], .[1:2]", r#""aüc""#, r#""üc" "aü" "ü""#),
        (".[1:3]", "[1,2,3,4]", "[2,3]"),
        (".[[2]]", "[1,2,2]", "[1,2]"),
        (".[{start: 1, end: null}]", "[1,2]", "[2]"),
        (".[{start: 1}]", "[1,2]", "!"),
        (".[{}]", "\"ab\"", "!"),
        (".[null]", "null", "!"),
        (".a.b = 1", "null", r#"{"a":{"b":1}}"#),
        (".a[2] = 1", "{}", r#"{"a":[null,null,1]}"#),
        (".[1:] = [9]", "null", "[9]"),
        (".[-3] = 1", "[1]", "!"),
        (".a |= empty", r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
        (".a += 1, .b //= 5", r#"{"a":1}"#, r#"{"a":2} {"a":1,"b":5}"#),
        ("(.a, .b) |= . + 1", r#"{"a":1,"b":2}"#, r#"{"a":2,"b":3}"#),
        ("del(.[1,2])", "[1,2,3,4]", "[1,4]"),
        ("del(.a, .x.y), del(.[]?)", r#"{"a":1,"b":2}"#, r#"{"b":2} {}"#),
        ("delpaths([[\"a\",\"b\"],[\"c\"]])", r#"{"a":{"b":1,"d":2},"c":3}"#, r#"{"a":{"d":2}}"#),
        ("[paths]", r#"{"a":[1,{"b":2}]}"#, r#"[["a"],["a",0],["a",1],["a",1,"b"]]"#),
        ("[leaf_paths], getpath([\"a\",\"x\"])", r#"{"a":{"b":1}}"#, r#"[["a","b"]] null"#),
        ("pick(.a.b)", r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"b":1}}"#),
        ("to_entries", r#"{"b":1,"a":2}"#, r#"[{"key":"b","value":1},{"key":"a","value":2}]"#),
        (
            "from_entries",
            r#"[{"name":"a","v":1},{"k":false},{"key":1,"value":null}]"#,
            r#"{"a":1,"false":null,"1":null}"#,
        ),
        ("with_entries(select(.value > 1))", r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
        ("keys, keys_unsorted", r#"{"b":1,"a":2}"#, r#"["a","b"] ["b","a"]"#),
        ("{(1): 2}", "null", "!"),
        ("walk(if type == \"number\" then . + 1 else . end)", "[1,[2]]", "[2,[3]]"),
        (". as {a: $x, b: [$y]} | [$x, $y]", r#"{"a":1,"b":[2]}"#, "[1,2]"),
        ("[tostream]", r#"{"a":[1,{}]}"#, r#"[[["a",0],1],[["a",1],{}],[["a",1]],[["a"]]]"#),
        ("fromstream(tostream)", r#"{"a":[1,{"b":[]}],"c":"d"}"#, r#"{"a":[1,{"b":[]}],"c":"d"}"#),
        ("[1 | truncate_stream([[0],1], [[1,0],2], [[1,0]], [[1]])]", "null", "[[[0],2],[[0]]]"),
        ("machine_key", r#"{"machine":{"serial_number":null,"hostname":"h"}}"#, r#""h""#),
    ]);
}

#[test]
fn numbers_and_order() {
    check(&[
        (
            ".",
            "[1.10,1e2,12345678901234567890,-0,9007199254740993]",
            "[1.10,1e2,12345678901234567890,-0,9007199254740993]",
        ),
        (". + 1", "9223372036854775807", "9.223372036854776e+18"),
        ("1.5 * 2, 7 / 2, 6 / 2, 0.1 + 0.2", "null", "3 3.5 3 0.30000000000000004"),
        ("1 / 0, 1 % 0", "null", "!"),
        ("5.5 % 2, -5 % 3, 5 % -2, (-9223372036854775807 - 1) % -1", "null", "1 -2 1 0"),
        ("nan < nan, nan == nan, ([nan, 1] | sort | .[1])", "null", "true false 1"),
        ("[nan] | sort | length", "null", "1"),
        ("infinite", "null", "! output holds a number that JSON has not (nan or infinite)"),
        ("{a: [nan]}", "null", "! output holds a number that JSON has not (nan or infinite)"),
        ("[infinite, nan] | tojson", "null", r#""[1.7976931348623157e+308,null]""#),
        (
            "sort, unique",
            r#"[{"a":1},[],"b",2,true,false,null,1.0,1]"#,
            r#"[null,false,true,1.0,1,2,"b",[],{"a":1}] [null,false,true,1.0,2,"b",[],{"a":1}]"#,
        ),
        (". == 1.0, 100000000000000000000 == 1e20", "1", "true true"),
        (
            "sort_by(.a), group_by(.a), unique_by(.a)",
            r#"[{"a":2},{"a":1,"b":1},{"a":1}]"#,
            r#"[{"a":1,"b":1},{"a":1},{"a":2}] [[{"a":1,"b":1},{"a":1}],[{"a":2}]] [{"a":1,"b":1},{"a":2}]"#,
        ),
        ("min, max, min_by(-.), max_by(-.)", "[3,1,2]", "1 3 3 1"),
        ("min, add", "[]", "null null"),
        ("add", r#"[[1],null,[2]]"#, "[1,2]"),
        ("[range(0; 10; 4)], [range(3; 0; -2)], [limit(2; range(9))]", "null", "[0,4,8] [3,1] [0,1]"),
        ("[limit(0; 1, 2)]", "null", "[]"),
        ("[limit(1; 1, 2)], [skip(1; 1, 2)], nth(1; 1, 2)", "null", "[1] [2] 2"),
        ("limit(-1; 1, 2)", "null", "!"),
        ("skip(-1; 1, 2)", "null", "!"),
        ("nth(-1; 1, 2)", "null", "!"),
        ("floor, sqrt, round, ceil", "2.25", "2 1.5 2 3"),
        ("abs, length, -.", "-3", "3 3 3"),
        ("tonumber", r#""12.50""#, "12.50"),
        ("[.[] | tonumber]", r#"["0755", "007", "+5", ".5", "5.", "-.5e1", "00"]"#, "[755,7,5,0.5,5,-5,0]"),
        ("[.[] | tonumber?]", r#"[" 7", "7\t", "\n.5", "5. "]"#, "[]"),
        (
            "[.[] | try tonumber catch \"no\"]",
            r#"["x", "", "-", "+", ".", "1e", "e5", "--5", "+-5", "0x10", "1.2.3", "5 6", "1_0", "[1]", "true"]"#,
            r#"["no","no","no","no","no","no","no","no","no","no","no","no","no","no","no"]"#,
        ),
        ("flatten, flatten(1)", "[1,[2,[3]]]", "[1,2,3] [1,2,[3]]"),
        ("flatten(-1)", "[]", "!"),
        ("transpose", "[[1],[2,3]]", "[[1,2],[null,3]]"),
        ("bsearch(2), bsearch(0)", "[1,2,3]", "1 -1"),
    ]);
}

#[test]
fn control_flow() {
    check(&[
        ("(.a | startswith(\"x\")) // \"d\"", "{}", r#""d""#),
        ("[(1, error(\"x\"), 2) // 9]", "null", "[1]"),
        ("(.a // .b) = 5", r#"{"b":1}"#, r#"{"b":5}"#),
        ("try error({a: 1}) catch .a", "null", "1"),
        ("try error(\"x\") catch ., (error(\"y\"))?", "null", r#""x""#),
        ("label $f | 1, break $f, 2", "null", "1"),
        ("[foreach .[] as $x (0; . + $x; [$x, .])]", "[1,2]", "[[1,1],[2,3]]"),
        ("reduce .[] as [$a, $b] (0; . + $a * $b)", "[[1,2],[3,4]]", "14"),
        ("def f(g; $x): g + $x; f(. * 2; 1)", "3", "7"),
        ("if . then 1 elif false then 2 end", "false", "false"),
        ("isempty(error)?, isempty(empty), any(.[]; . > 1), all(. > 0)", "[1,2]", "true true true"),
        ("IN(1, 2), IN(.; 3)", "2", "true false"),
        ("INDEX(.id)", r#"[{"id":1}]"#, r#"{"1":{"id":1}}"#),
        ("now, (now | todate)", "null", r#"1.5 "1970-01-01T00:00:01Z""#),
        ("gmtime == localtime, strftime(\"%H\") == strflocaltime(\"%H\")", "1425599621", "true true"),
        ("fromdate", r#""2026-11-21T19:00:00.123Z""#, "1795287600.123"),
        ("todate, (gmtime | mktime)", "1425599621", r#""2015-03-05T23:53:41Z" 1425599621"#),
        ("has(\"a\"), has(0)", r#"{"a":1}"#, "!"),
        ("has(\"a\"), (\"a\" | in({\"a\": 1})), ([0] | has(0))", r#"{"a":1}"#, "true true true"),
        ("contains({a: [\"b\"]}), (\"bar\" | inside(\"foobar\"))", r#"{"a":["abc"]}"#, "true true"),
        (".x | has(\"a\"), has(0)", "{}", "false false"),
        ("contains({a: \"x\"}), contains({b: {c: 1}})", r#"{"a":1,"b":{"c":"1"}}"#, "false false"),
        ("contains([\"b\", 1])", r#"[1,["b"],"abc"]"#, "true"),
        ("contains([false])", "[true]", "false"),
        ("contains(false)", "true", "!"),
        ("contains(1)", r#""a""#, "!"),
    ]);
}

#[test]
fn strings_and_formats() {
    check(&[
        ("ltrimstr(\"a\"), rtrimstr(\"a\"), trimstr(\"a\")", r#""aba""#, r#""ba" "ab" "b""#),
        ("ltrimstr(1)", r#""aba""#, "!"),
        ("rtrimstr(\"a\")", "null", "!"),
        ("explode, (explode | implode)", r#""aü""#, r#"[97,252] "aü""#),
        ("[-1] | implode", "null", "!"),
        ("split(\",\"), split(\"\"), split(\", *\"; null)", r#""a, b""#, r#"["a"," b"] ["a",","," ","b"] ["a","b"]"#),
        ("join(\",\")", r#"["a",1,null,true]"#, r#""a,1,,true""#),
        ("join(\",\")", "[[]]", "!"),
        ("indices(\"ü\"), index(\"b\"), rindex(\"ü\")", r#""üaüb""#, "[0,2] 3 2"),
        ("\"ab\" * 2.7, \"a\" * 0, \"a\" * -1", "null", r#""abab" "" null"#),
        ("length, utf8bytelength", r#""äö""#, "2 4"),
        ("@csv, @tsv", r#"[1,"a\"b","x\ty",null,true]"#, r#""1,\"a\"\"b\",\"x\ty\",,true" "1\ta\"b\tx\\ty\t\ttrue""#),
        ("@csv", "[[]]", "!"),
        (
            "@html, @sh, @uri, @base64, @json",
            r#""<a'é>""#,
            r#""&lt;a&apos;é&gt;" "'<a'\\''é>'" "%3Ca%27%C3%A9%3E" "PGEnw6k+" "\"<a'é>\"""#,
        ),
        ("@base64d, (@base32 | @base32d)", r#""Zm9v""#, r#""foo" "Zm9v""#),
        ("@text \"<\\(.)>\", @json \"x\\(.)\"", "[1]", r#""<[1]>" "x[1]""#),
        ("ascii_downcase, ascii_upcase, trim, reverse", r#"" aÄ ""#, r#"" aÄ " " AÄ " "aÄ" " Äa ""#),
        ("reverse", "-0.0", "[]"),
        ("reverse", "1", "!"),
        (
            "tojson, (tojson | fromjson), tostring",
            r#"{"a":[1.50,"é"]}"#,
            r#""{\"a\":[1.50,\"é\"]}" {"a":[1.50,"é"]} "{\"a\":[1.50,\"é\"]}""#,
        ),
        ("fromjson", r#""{a""#, "!"),
    ]);
}

#[test]
fn regular_expressions() {
    check(&[
        (
            "test(\"B\"; \"i\"), test([\"B\", \"i\"]), test(\"b\"; null), test(\"B\")",
            r#""abc""#,
            "true true true false",
        ),
        (
            "test(\"a . c\"; \"x\"), test(\"a.c\"), test(\"a.c\"; \"p\"), test(\"a.c\"; \"s\")",
            r#""a\nc""#,
            "false false true false",
        ),
        ("test(\"\"; \"p\"), test(\"\"; \"n\")", r#""a""#, "true false"),
        ("test(\"^b\"), test(\"b$\"), test(\"a$\")", r#""a\nb\n""#, "false true false"),
        (
            "[match(\"a(?<x>b)?\"; \"g\")]",
            r#""äabxa""#,
            r#"[{"offset":1,"length":2,"string":"ab","captures":[{"offset":2,"length":1,"string":"b","name":"x"}]},{"offset":4,"length":1,"string":"a","captures":[{"offset":-1,"length":0,"string":null,"name":"x"}]}]"#,
        ),
        ("capture(\"(?<y>\\\\d+)-(?<m>\\\\d+)(?<z>x)?\")", r#""2020-12""#, r#"{"y":"2020","m":"12","z":null}"#),
        ("[scan(\"[a-z]\")], [scan(\"(A)(x)?\"; \"i\")]", r#""a1b""#, r#"["a","b"] [["a",null]]"#),
        (
            "sub(\"(?<x>.)\"; \"\\(.x)\\(.x)\"), gsub(\"B\"; \"-\"; \"i\"), gsub(\"\"; \"-\")",
            r#""abc""#,
            r#""aabc" "a-c" "-a-b-c-""#,
        ),
        ("[sub(\"(?<a>.)\"; .a, \"x\")]", r#""ab""#, r#"["ab","xb"]"#),
        ("gsub(\"^\\\\s+|\\\\s+$\"; \"\")", r#""  a ""#, r#""a""#),
        ("[splits(\"a+\"; \"i\")], split(\"A\"; \"gi\")", r#""xaayab""#, r#"["x","y","b"] ["x","","y","b"]"#),
        ("[match(\"x*\"; \"gn\").string]", r#""xxa""#, r#"["xx"]"#),
        ("test(\"\\\\p{Lu}\"), test(\"[[:digit:]]\")", r#""aB""#, "true false"),
        (
            "[.[] | test(\"\\\\<b\\\\>\")], [.[] | test(\"[\\\\<]\")]",
            r#"["a b c", "a<b>c"]"#,
            "[false,true] [false,true]",
        ),
        ("[.[] | test(\"^\\\\\\\\<$\")], test(\"^\\\\w{32}$\")?", r#"["<", "\\<"]"#, "[false,true]"),
        ("test(\"a\")", "1", "! 1 cannot be matched, as it is not a string"),
        ("test(.)", r#""(?=x)""#, "!"),
        ("test(\"a\"; \"q\")", r#""a""#, "? q is no flag of a regular expression (g i x s n p l)"),
        ("test(\"(\")", r#""a""#, "? regular expression is refused: unclosed group"),
        ("def test($x): 1; test(\"(\")", r#""a""#, "1"),
    ]);
}

#[test]
fn what_filters_have_not() {
    for (filter, name) in [
        ("env", "`env` is not available in filters: a filter sees the event, not the environment"),
        ("$ENV.HOME", "`$ENV` is not available in filters: a filter sees the event, not the environment"),
        ("input", "`input` is not available in filters: a filter sees one event at a time"),
        ("[inputs]", "`inputs` is not available"),
        (". | debug", "`debug` is not available"),
        ("debug(\"x\")", "`debug` is not available"),
        ("stderr", "`stderr` is not available"),
        ("halt", "`halt` is not available"),
        ("halt_error(1)", "`halt_error` is not available"),
        ("input_filename", "`input_filename` is not available"),
        ("startwith(\"a\")", "unknown function `startwith/1`; did you mean `startswith`?"),
        ("test", "`test` takes 1 or 2 arguments, not 0"),
        ("$x", "unknown variable `$x`"),
        ("break $x", "unknown label `$x`"),
        ("matches(\"a\"; \"\")", "unknown function"),
        ("halt(0)", "`halt` is not available"),
        ("debug_empty", "unknown function"),
    ] {
        let error = compile(filter, "t", &NoModules).map(|_| ()).unwrap_err();
        let text = &error.problems.first().unwrap().message;
        assert!(text.starts_with(name), "{filter}: {text}");
    }
    // A name of its own is the filter's business.
    assert_eq!(eval("def env: 1; env", "null"), "1");
}

#[test]
fn errors_have_places() {
    for (filter, places) in [
        (". |", "1:4 expected term, but the program ends"),
        ("# c\n.a | foo | .b | bar(1)", "2:6 unknown function `foo/0`; 2:17 unknown function `bar/1`"),
        ("(.a", "1:4 closing parenthesis is missing"),
        ("\"abc", "1:5 closing quote is missing"),
        ("1 § 2", "1:3 character that no jq program has here"),
        ("if .a then 1 else 2", "1:20 expected end, but the program ends"),
        (".a b", "1:4 expected nothing, but found `b`"),
        ("\"\\x\"", "1:3 expected string escape sequence"),
        ("\n\n  test(\"a(\")", "3:9 regular expression is refused: unclosed group"),
        ("# only a comment", "1:17 expected term, but the program ends"),
    ] {
        let error = compile(filter, "f.jq", &NoModules).map(|_| ()).unwrap_err();
        let found: Vec<String> =
            error.problems.iter().map(|p| format!("{}:{} {}", p.line, p.column, p.message)).collect();
        assert_eq!(found.join("; "), places, "{filter}");
        let drawn = error.render();
        assert!(drawn.starts_with("f.jq:") && drawn.contains('^'), "{drawn}");
    }
}

#[test]
fn decisions() {
    let program = |filter| compile(filter, "t", &NoModules).unwrap();
    let event = parse(br#"{"a":1,"b":{"c":"d"}}"#).unwrap();
    for (filter, want) in [
        (".a == 1", Decision::Yes(None)),
        (".a == 2", Decision::No),
        ("empty", Decision::No),
        ("null, false, 0", Decision::Yes(None)),
        ("false, {x: .b}, true", Decision::Yes(Some(r#"{"x":{"c":"d"}}"#.into()))),
        (".b, error", Decision::Yes(Some(r#"{"c":"d"}"#.into()))),
        ("false, error(\"x\")", Decision::Failed("x".into())),
        (".a.b", Decision::Failed("cannot index 1 with \"b\"".into())),
        ("{a: nan}", Decision::Failed("output holds a number that JSON has not (nan or infinite)".into())),
        ("nan", Decision::Yes(None)),
    ] {
        assert_eq!(program(filter).decide(&event, 0, &Limits::default()), want, "{filter}");
    }
}

fn files(path: &str) -> Option<String> {
    Some(
        match path {
            "lib.jq" => "import \"deep/two\" as two; def f: g; def g: 1;",
            "ok.jq" => "import \"deep/two\" as t; import \"list\" as $l; def bad: t::two; def rec($n): if $n == 0 then \"done\" else rec($n - 1) end; def twice(f): f | f; def known: . as $x | any($l[][]; . == $x);",
            "deep/two.jq" => "def two: 2; def test($x): \"mine\";",
            "deep/user.jq" => "include \"two\"; def four: two + two;",
            "circle.jq" => "include \"circle\"; def c: 1;",
            "broken.jq" => "def x: (;",
            "list.json" => "[\"a\",\n\"b\"]",
            "lines.json" => "1\n2\n",
            "noise.json" => "{",
            "dir/dir.jq" => "def d: \"dir\";",
            _ => return None,
        }
        .to_owned(),
    )
}

#[test]
fn modules() {
    let run = |filter: &str| match compile(filter, "main.jq", &files as &dyn Modules) {
        Ok(program) => program.eval(&parse(b"\"a\"").unwrap(), 0, &Limits::default()).unwrap().join(" "),
        Err(e) => {
            let all: Vec<String> =
                e.problems.iter().map(|p| format!("{}:{}:{} {}", p.file, p.line, p.column, p.message)).collect();
            all.join("; ")
        }
    };
    for (filter, want) in [
        ("include \"ok\"; bad, rec(3), (1 | twice(. + 1)), known", "2 \"done\" 3 true"),
        ("import \"ok\" as ok; ok::known, ok::twice(. + .)", "true \"aaaa\""),
        ("include \"ok\"; def twice(f): 0; twice(1)", "0"),
        ("include \"deep/two\"; test(\"(\")", "\"mine\""),
        ("import \"two\" as t {search: \"./deep\"}; t::two", "2"),
        ("include \"user\" {\"search\": [\"x\", \"deep\"]}; four", "4"),
        ("import \"dir\" as dir; dir::d", "\"dir\""),
        ("import \"list\" as $l; import \"lines\" as $n; $l, $n, ([1] | map($n[1]))", "[[\"a\",\"b\"]] [1,2] [2]"),
        ("include \"lib\"; f", "lib.jq:1:34 unknown function `g/0`"),
        ("import \"ok\" as ok; ok::nothing", "main.jq:1:20 module `ok` has no function `nothing/0`"),
        ("ok::f", "main.jq:1:1 unknown module `ok`"),
        ("include \"gone\"; .", "main.jq:1:10 no file `gone.jq` among the filters"),
        ("include \"../ok\"; .", "main.jq:1:10 imports stay inside the folder of filters, `..` is not allowed"),
        ("include \"/etc/ok\"; .", "main.jq:1:10 imports are relative to the folder of filters"),
        (
            "import \"ok\" as ok {search: \"../\"}; .",
            "main.jq:1:9 imports stay inside the folder of filters, `..` is not allowed",
        ),
        ("include \"circle\"; .", "circle.jq:1:10 modules import each other in a circle"),
        ("include \"broken\"; .", "broken.jq:1:10 closing parenthesis is missing"),
        ("import \"noise\" as $n; .", "main.jq:1:9 noise.json is no JSON: no key at byte 1"),
        ("import ok; .", "main.jq:1:1 expected `import \"path\" as name;`"),
    ] {
        assert_eq!(run(filter), want, "{filter}");
    }
}

#[test]
fn imports_are_hashed_with_all_that_they_import() {
    let of = |text: &str, list: &str| {
        let list = list.to_owned();
        probe::imports(text, &move |path: &str| if path == "list.json" { Some(list.clone()) } else { files(path) })
    };
    let program = "include \"ok\"; known";
    assert_eq!(of(program, "[1]"), of(program, "[1]"));
    assert_ne!(of(program, "[1]"), of(program, "[2]"), "data of a module");
    assert_ne!(of(program, "[1]"), of("include \"deep/two\"; two", "[1]"));
    assert_eq!(of(".important", "[1]"), "");
}
