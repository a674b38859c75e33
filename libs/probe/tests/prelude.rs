//! The helpers of the prelude: the manual says what they do, and every one of them is in the manual.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::collections::BTreeSet;

use probe::{EvalError, Limits, NoModules, Val, compile, parse, with_stack};

const MANUAL: &str = include_str!("../../../docs/prelude.md");
const PRELUDE: &str = include_str!("../src/prelude.jq");
/// Natives of the helpers; `text.rs` holds jq's own beside `line`.
const NATIVES: [&str; 4] = [
    include_str!("../src/natives/net.rs"),
    include_str!("../src/natives/path.rs"),
    include_str!("../src/natives/time.rs"),
    include_str!("../src/natives/version.rs"),
];
/// Names of jq 1.8, as `builtins` gives them, and those that it leaves out.
const JQ: &str = include_str!("../../../tests/data/jq18-names.txt");

/// Outputs with spaces between them; an error's text after `error`.
fn eval(filter: &str, input: &Val, now_ms: i64) -> String {
    let program = compile(filter, "t", &NoModules).unwrap_or_else(|e| panic!("{filter}: {}", e.render()));
    match program.eval(input, now_ms, &Limits::default()) {
        Ok(outputs) => outputs.join(" "),
        Err(EvalError::Failed(text)) => format!("error: {text}"),
        Err(EvalError::Exceeded(limit)) => format!("exceeded {limit}"),
    }
}

/// A table of (filter, input, outputs); `!` is any error.
fn check(table: &[(&str, &str, &str)]) {
    with_stack(|| {
        for (filter, input, want) in table {
            let got = eval(filter, &parse(input.as_bytes()).unwrap(), 0);
            let same = if *want == "!" { got.starts_with("error: ") } else { got == *want };
            assert!(same, "{filter} over {input}: {got}, not {want}");
        }
    })
    .unwrap();
}

/// An entry of the manual: name, arity, what stands below its heading.
fn entries() -> Vec<(&'static str, usize, &'static str)> {
    let each = MANUAL.split("\n### `").skip(1).map(|entry| {
        let (heading, body) = entry.split_once("`\n").unwrap();
        let (name, args) = heading.split_once('(').unwrap_or((heading, ""));
        let arity = if args.is_empty() { 0 } else { args.split(';').count() };
        (name, arity, body.split("\n## ").next().unwrap())
    });
    each.collect()
}

/// The text of the fenced blocks of one language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn versions() {
    // Each is older than the next one.
    let rising = [
        "0.9",
        "1.0~~a",
        "1.0~rc1",
        "1.0.dev3",
        "1.0a1",
        "1.0-alpha.2",
        "1.0-alpha.10",
        "1.0b1",
        "1.0-preview",
        "1.0.0-rc.1",
        "1.0",
        "1.0-ubuntu1",
        "1.0-1",
        "1.0-1-generic",
        "1.0-2",
        "1.0.1-rc1",
        "1.0.1",
        "1.0.1k",
        "1.0.1l",
        "1.0.2",
        "1.0.10",
        "1.1",
        "18446744073709551616.0",
        "18446744073709551617",
        "1:0",
    ];
    with_stack(|| {
        for (i, left) in rising.iter().enumerate() {
            for (j, right) in rising.iter().enumerate() {
                let input = parse(format!("[{left:?},{right:?}]").as_bytes()).unwrap();
                let want = (i.cmp(&j) as i8).to_string();
                assert_eq!(eval(". as [$l, $r] | $l | version_cmp($r)", &input, 0), want, "{left} and {right}");
            }
        }
    })
    .unwrap();
    check(&[
        ("version_cmp(\"1\")", r#""01.000""#, "0"),
        ("version_cmp(\"1.0-RC1\")", r#""1.0rc1""#, "0"),
        ("version_cmp(\"2\")", r#""١.٢""#, "!"),
        ("version_cmp(\"10.15.7\")", r#""10.15.7 (19H2)""#, "0"),
        ("version_cmp(\"1.0\")", r#"" 1.0\n""#, "0"),
        ("version_cmp(\"10.0.22631\")", r#""10.0.22631.2715""#, "1"),
        ("1 as $v | version_lt($v)", r#""1""#, "!"),
        ("\"\" as $v | version_lt($v)", r#""1""#, "!"),
        ("version_lt(\"1\")", "null", "!"),
        ("(\"1.\" * 501) | version_lt(\"1\")", "null", "!"),
        ("(\"1.\" * 400) | version_gt(\"1\")", "null", "true"),
    ]);
}

#[test]
fn addresses() {
    check(&[
        ("[.[] | in_cidr(\"10.1.2.3/8\")]", r#"["10.255.0.1", "11.0.0.0", "::ffff:a00:1"]"#, "[true,false,true]"),
        ("[.[] | in_cidr(\"0.0.0.0/0\")]", r#"["1.2.3.4", "::1"]"#, "[true,false]"),
        ("[.[] | in_cidr(\"::/0\")]", r#"["1.2.3.4", "::1", "::ffff:1.2.3.4"]"#, "[false,true,false]"),
        ("[.[] | in_cidr(\"::ffff:10.0.0.0/104\")]", r#"["10.9.9.9", "11.0.0.0"]"#, "[true,false]"),
        (
            "[.[] | in_cidr(\"10.0.0.1\", \"fe80::/10\")]",
            r#"["10.0.0.1", "10.0.0.2", "fe80::1%eth0"]"#,
            "[true,false,true]",
        ),
        ("in_cidr(\"2001:db8::/33\")", r#""2001:db8:8000::""#, "false"),
        ("5 as $net | in_cidr(\"10.0.0.0/8\", $net)", r#""10.0.0.1""#, "true"),
        ("in_cidr(empty)", r#""10.0.0.1""#, "false"),
        (
            "[.[] as $net | try (\"10.0.0.1\" | in_cidr($net)) catch 0]",
            r#"["10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/+8", "/8", "", 8, null, "::/129", "10.0.0.0/0008"]"#,
            "[0,0,0,0,0,0,0,0,0,0]",
        ),
        (
            "[.[] | try is_private_ip catch 0]",
            r#"["172.16.0.1", "172.32.0.1", "169.254.1.1", "100.127.255.255", "100.128.0.0", "0.0.0.0", "fd00::1", "::ffff:192.168.0.1", "1.2.3", "127.1", " 10.0.0.1", null, 7]"#,
            "[true,false,true,true,false,true,true,true,0,0,0,0,0]",
        ),
        (
            "[.[] | url_host]",
            r#"["HTTPS://A.b:1/x?y@z", "http://u:p@h.example.", "x://", "//a/b", "", "http://[::1]", "https://evil.example\\@good.example/", "a b://c", "https://a.example:pw@b.example:9#@c"]"#,
            r#"["a.b","h.example",null,null,null,"::1","evil.example","c","b.example"]"#,
        ),
        (
            "[.[] | in_domain(\"example.com\")]",
            r#"["example.com", "a.b.EXAMPLE.com", "example.com.evil.test", "xexample.com", "com", ""]"#,
            "[true,true,false,false,false,false]",
        ),
        ("\".\" as $domain | in_domain($domain)", r#""a""#, "!"),
        ("url_host", "null", "!"),
    ]);
}

#[test]
fn paths() {
    check(&[
        (
            "[.[] | [dirname, basename]]",
            r#"["", "a", "/", "//", "/a", "/a/", "//a//b//", "a/b", "C:\\", "C:\\a\\", "c:/a/b", "\\\\srv\\share\\x"]"#,
            r#"[[".",""],[".","a"],["/","/"],["/","/"],["/","a"],["/","a"],["//a","b"],["a","b"],["C:\\","C:\\"],["C:\\","a"],["c:/a","b"],["\\\\srv\\share","x"]]"#,
        ),
        (
            "[.[] | under(\"/a/b\")]",
            r#"["/a/b/c", "/a/b", "/a/bc", "/a/b/../c", "/a/./b//c", "/../a/b/c", "a/b/c", "/A/b/c", "/a/b/.."]"#,
            "[true,false,false,false,true,true,false,false,false]",
        ),
        (
            "[.[] | under(\"C:\\\\Temp\")]",
            r#"["c:\\temp\\x", "C:/TEMP/x/y", "\\\\?\\C:\\Temp\\x", "D:\\Temp\\x", "C:\\Temp\\..\\x", "/Temp/x"]"#,
            "[true,true,true,false,false,false]",
        ),
        ("[.[] | under(\"/\")]", r#"["/a", "/", "a"]"#, "[true,false,false]"),
        ("[.[] | under(\"a\")]", r#"["a/b", "a/../../a/b", "../a/b"]"#, "[true,false,false]"),
        (
            "[.[] | has_extension(\"tar.gz\", \"\", \"Z\")]",
            r#"["a.tar.gz", "b.z", "tar.gz", "a.", "a"]"#,
            "[true,true,false,false,false]",
        ),
        (
            "[.[] | in_home]",
            r#"["/Users/a", "/Users/a/b", "/users/a/b", "/home/a/../x", "C:\\Users\\Public\\x", "D:\\users\\a\\x", "/private/var/root/x", "home/a/b"]"#,
            "[false,true,false,false,false,true,true,false]",
        ),
        (
            "[.[] | in_temp]",
            r#"["/tmp", "/tmp/a", "/var/tmp/a", "/private/var/folders/x/y", "/tmpx/a", "c:\\windows\\TEMP\\a", "tmp/a", "/home/a/tmp/x"]"#,
            "[false,true,true,true,false,true,false,false]",
        ),
        (
            "[.[] | is_hidden]",
            r#"["/a/.b/c", ".x", "..", "../x", "/a/b", "/a/.b/../c"]"#,
            "[true,true,false,false,false,false]",
        ),
        ("under(\"/a\")", "null", "!"),
        ("1 as $dir | under($dir)", r#""/a""#, "!"),
        (
            "[.[] | under(\"/Users/*/Downloads\", \"/opt/py*3.*/lib\", \"C:\\\\Users\\\\*\\\\Desk*\")]",
            r#"["/Users/a/Downloads/x", "/Users/Downloads/x", "/Users/a/b/Downloads/x", "/Users/a/Downloads", "/opt/python3.11/lib/x", "/opt/py3.1/lib/x", "/opt/py3/lib/x", "c:\\users\\B\\DESKTOP\\x"]"#,
            "[true,false,false,false,true,true,false,true]",
        ),
        ("[.[] | under(\"/a*a\")]", r#"["/a/x", "/aa/x", "/aba/x", "/ab/x"]"#, "[false,true,true,false]"),
        (
            "[.[] | in_downloads]",
            r#"["/Users/a/Downloads/x.dmg", "/home/a/Downloads/d/x", "/root/Downloads/x", "/var/home/a/Downloads/x", "/private/var/root/Downloads/x", "C:\\Users\\A\\DOWNLOADS\\x", "/Users/a/Downloads", "/Users/a/downloads/x", "/Users/Shared/Downloads/x", "/Users/a/Downloads/../x", "/Downloads/x", "Users/a/Downloads/x"]"#,
            "[true,true,true,true,true,true,false,false,false,false,false,false]",
        ),
        ("basename", "[]", "!"),
        ("(\"/a\" * 32769) | under(\"/a\")", "null", "!"),
        ("(\"/a\" * 32768) | under(\"/a\"), in_temp, is_hidden", "null", "true false false"),
        ("(\"/a\" * 2000000) | in_temp", "null", "!"),
    ]);
}

#[test]
fn times() {
    check(&[
        (
            "[.[] | try unix_time catch \"no\"]",
            r#"["0", "-1", "1.5", 7, "2026-02-29", "2024-02-29", "2026-11-21T19:00:00.5Z", " 5 ", "1e5", "inf", "5-5", "", null, true, "Z"]"#,
            r#"[0,-1,1.5,7,"no",1709164800,1795287600.5,5,"no","no","no","no","no","no","no"]"#,
        ),
        (
            "[.[] | try duration catch \"no\"]",
            r#"["0s", "1 h", "007d", "1.5h", "-1h", "1h30m", "1y", "h", "", "99999999999999999999d", "9223372036854775807w", -5, null]"#,
            r#"[0,3600,604800,"no","no","no","no","no","no","no","no","no","no"]"#,
        ),
        (
            "[.[] | hour, weekday]",
            r#"[0, -1, 86399, "1969-12-31T00:00:00Z", 259200]"#,
            r#"[0,"Thu",23,"Wed",23,"Thu",0,"Wed",0,"Sun"]"#,
        ),
        (
            "[.[] | between(\"22:00\"; \"06:00\")]",
            "[79199, 79200, 0, 21599, 21600, -1]",
            "[false,true,true,true,false,true]",
        ),
        ("[.[] | between(\"08:00\"; \"08:00:01\")]", "[28799, 28800, 28801]", "[false,true,false]"),
        ("[.[] | between(\"08:00\"; \"08:00\")]", "[0, 28800]", "[true,true]"),
        (
            "[.[] as $t | try (0 | between($t; \"24:00\")) catch \"no\"]",
            r#"["00:00", "24:00", "24:01", "8:00", "08", "08:00:60", "", "08:00:00:00", null, "+8:00"]"#,
            r#"[true,true,"no","no","no","no","no","no","no","no"]"#,
        ),
        ("age, older_than(\"1s\"), within(\"1s\"), expires_within(0)", "-2", "2 true false true"),
        ("within(\"1s\"), expires_within(\"1s\"), older_than(0)", "1", "true true false"),
        ("\"soon\" as $t | older_than($t)", "0", "!"),
    ]);
}

#[test]
fn texts_and_events() {
    check(&[
        ("line", r#""\u0000a\u2067b\u200f c\u3000d""#, r#""a b c d""#),
        ("\"é\" * 200 | line | length, endswith(\"…\")", "null", "200 false"),
        ("\"é\" * 201 | line | length, endswith(\"…\")", "null", "201 true"),
        ("\"x \" * 200 | line | length, .[-2:]", "null", r#"200 "x…""#),
        ("\" \" * 100000 | line", "null", r#""""#),
        ("[.[] | line]", r#"[1.50, true, null, {}, []]"#, r#"["1.50","","","",""]"#),
        (
            "[.[] | is_on, is_off]",
            r#"["1", 1, 1.0, true, "TRUE", "yes", [], null]"#,
            "[true,false,true,false,true,false,true,false,false,false,false,false,false,false,false,false]",
        ),
        (
            "[.[] | is_new, is_removed]",
            r#"[{"payload":{"action":"snapshot"}}, {"payload":{"action":["added"]}}, {"payload":null}, {}]"#,
            "[true,false,false,false,false,false,false,false]",
        ),
        ("is_new", r#"{"payload":[]}"#, "!"),
        ("[rows]", r#"{"payload":{"columns":5,"snapshot":[{"a":1},null,[]]}}"#, r#"[{"a":1}]"#),
        ("machine_name", r#"{"machine":{"hostname":"a\n\u202eb","serial_number":"c"}}"#, r#""a b""#),
        ("machine_name", r#"{"machine":{"hostname":7}}"#, r#""unknown machine""#),
        ("machine_key", r#"{"machine":{"hardware_uuid":"u","hostname":"h"}}"#, r#""u""#),
        ("def under($x): \"mine\"; under(1)", "null", r#""mine""#),
    ]);
}

#[test]
fn every_example_of_the_manual_says_what_the_manual_says() {
    let event = blocks(MANUAL, "json").first().unwrap().replace('\n', " ");
    with_stack(|| {
        let event = parse(event.as_bytes()).unwrap();
        let now = event.get("received").and_then(Val::as_str).unwrap().parse::<event::Time>().unwrap();
        let mut count = 0;
        for (name, _, body) in entries() {
            for example in blocks(body, "jq").iter().flat_map(|block| block.lines()) {
                let (filter, want) = example.rsplit_once("     # ").unwrap_or_else(|| panic!("{name}: {example}"));
                // An argument that is written out and will never fit is an error before any event.
                let refused = compile(filter, "t", &NoModules).err();
                let got = match refused.as_ref().and_then(|e| e.problems.first()) {
                    Some(problem) => format!("error: {}", problem.message),
                    None => eval(filter, &event, now.ms()),
                };
                let same = if want == "error" { got.starts_with("error: ") } else { got == want };
                assert!(same, "{name}: {filter} gives {got}, the manual says {want}");
                count += 1;
            }
        }
        assert!(count > 80, "{count} examples found");
    })
    .unwrap();
}

#[test]
fn entries_are_whole() {
    for (name, arity, body) in entries() {
        let parts = (blocks(body, "jq").len(), body.contains("\nErrors: "), body.contains(name));
        assert_eq!(parts, (1, true, true), "entry of {name}/{arity}");
    }
}

/// Names and arities that the prelude defines for authors: everything above its part "Types", and the helpers' natives.
fn helpers() -> BTreeSet<(String, usize)> {
    let authors = PRELUDE.split("\n# Types\n").next().unwrap();
    let defined = authors.lines().filter_map(|line| line.strip_prefix("def ")).map(|def| {
        let head = def.split(": ").next().unwrap();
        let (name, args) = head.split_once('(').unwrap_or((head, ""));
        (name.to_owned(), if args.is_empty() { 0 } else { args.split(';').count() })
    });
    let natives = NATIVES.iter().flat_map(|file| file.lines()).filter_map(|line| {
        let (name, rest) = line.trim().trim_start_matches("vec![").strip_prefix("(\"")?.split_once("\", ")?;
        let arity =
            if rest.starts_with("f()") { 1 } else { rest.strip_prefix("v(")?.split(')').next()?.parse().ok()? };
        Some((name.to_owned(), arity))
    });
    defined.chain(natives).chain([("line".to_owned(), 0)]).collect()
}

#[test]
fn the_manual_has_every_helper_and_no_other() {
    let documented: BTreeSet<(String, usize)> =
        entries().iter().map(|(n, arity, _)| ((*n).to_owned(), *arity)).collect();
    assert_eq!(documented, helpers());
    for (name, arity) in &documented {
        let args = vec!["empty"; *arity].join("; ");
        let call = if *arity == 0 { name.clone() } else { format!("{name}({args})") };
        compile(&call, "t", &NoModules).unwrap_or_else(|e| panic!("{call}: {}", e.render()));
    }
}

#[test]
fn no_helper_has_a_name_of_jq() {
    let jq: BTreeSet<&str> = JQ.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(jq.len() > 200 && jq.contains("startswith"));
    for (name, arity) in helpers() {
        assert!(!jq.contains(name.as_str()), "{name}/{arity} is a function of jq");
    }
}
