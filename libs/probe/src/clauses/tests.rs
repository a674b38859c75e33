use std::path::Path;

use jaq_core::load::parse::Term;

use super::tree::{self, Tree, children};
use super::*;
use crate::examples;
use crate::link::NoModules;
use crate::source::{parsed, tokens};
use crate::{parse, with_stack};

fn clauses(filter: &str) -> Clauses {
    Clauses::new(filter, "t.jq", &NoModules).unwrap_or_else(|e| panic!("{filter}: {e}"))
}

fn explain(clauses: &Clauses, event: &str) -> Explained {
    // How fast the machine is does not matter here.
    let limits = Limits { cpu: std::time::Duration::from_secs(60), ..Limits::default() };
    clauses.explain(&parse(event.as_bytes()).unwrap(), 1_500, &limits)
}

/// Filters that are hard to cut without changing them, and to find places in.
const HARD: &[&str] = &[
    ".a == 1 and .b == 2 or (.c | not)",
    ".a[] | select(. > 1)",
    "(.a, .b) | select(. == 1) | {title: \"x\\(.)\"}",
    ".a // .b // \"\" | . == \"x\"",
    "(.a // empty) as $x | $x == 1",
    "(.a | error) // true",
    "try error(\"x\") catch . == \"x\"",
    "(.a | tonumber)? == 1",
    "label $out | .a[] | if . == 2 then true, break $out else empty end",
    "label $f | (1, break $f, 2) | . == 2",
    "def f($n): if $n <= 0 then . == 0 else f($n - 1) end; .a | f(3)",
    "def go: if . > 100 then . == 128 else . * 2 | go end; .n | go",
    "reduce .a[] as $x (0; . + $x) > 3",
    "foreach .a[] as [$x, {b: $y}] (0; . + $x; [., $y]) | .[0] == 1",
    "any(.a[]; . == 2) and all(.a[]; . < 9)",
    ".a | any and (all | not)",
    "path(.a[] | select(. == 2)) == [\"a\", 1]",
    "[paths(. == 2)] | length > 0",
    "del(.a[] | select(. == 2)) | .a | length == 1",
    "(.a[] | select(. == 2)) |= 7 | .a | IN([1, 7])",
    ".a |= map(select(. == 1)) | .a == [1]",
    ".a += [3] | .a | contains([3])",
    ".b //= 5 | .b == 5",
    "to_entries | map(select(.key == \"a\")) | length == 1",
    "with_entries(select(.key == \"a\")) == {}",
    "[.a[] | if . == 1 then \"one\" elif . == 2 then \"two\" end] | index(\"two\")",
    ".x.y?.z[0]? == null",
    ".[\"a\"][0:1] == [1]",
    ".\"a\"[] == 2",
    ".a.[0] == 1",
    "..|numbers|select(. > 1)",
    "[..] | length > 2",
    ". == {} or . == []",
    "[] == .a or {} != .",
    "\"\" == .s or .s == \"\"",
    "\"\\(.a)\" == \"[1,2]\"",
    "\"\\(if .a then \"x\" else \"\" end)\" | length > 0",
    "@base64 \"x\\(.s)\" | startswith(\"x\")",
    "(.s | @text) == \"hay\"",
    "-(.n) == -4 and - .n < 0",
    "(.n + 1) * 2 - 3 % 2 >= 9",
    "if .a == null then empty elif (.n | . > 3) then {n} else . end",
    "if (.a) then (.n) else (.s) end == 4",
    "if . then [] else {} end | length == 0",
    "(if .n > 3 then .n else empty end) as $x | [$x] == [4]",
    "{a: (.n == 4), $__loc__: 1} | .a",
    "{(.s): .n, \"k\": 1, n, @text \"z\": (.a | length)} | .hay == 4",
    ". as {a: [$x, $y], s: $s} | $x < $y and $s == \"hay\"",
    ". as [$x] | $x",
    "first(.a[] | select(. > 1)) == 2",
    "last(.a[]) == 2 and ([limit(1; .a[])] == [1])",
    "isempty(.a[] | select(. > 5))",
    "([.a.b?] == []) | not",
    ".s | test(\"^h\"; \"i\") and (test(\"x\") | not)",
    "until(.n > 100; .n *= 2) | .n == 128",
    "[range(5)] | map(select(. % 2 == 0)) == [0, 2, 4]",
    "[.a[] as $x | .a[] as $y | select($x != $y) | [$x, $y]] | length == 2",
    ".a as $a | $a | .[0] == 1 | not | not",
    "(.a | .[0] == 1) | not",
    "not",
    ".a | not | not",
    "null, false, {title: \"late\"}",
    "empty",
    "true",
    ".n as $n | .a | map(. + $n) | add > 10",
    "(.a[0], .a[1]) as $x | select($x == 2) | {x: $x}",
    "def select(f): true; select(.a == 9)",
    "def test: .a; test == [1, 2]",
    "(.a) | (.[0]) == (1)",
    "((.a))[0] == 1",
    "(.a | .[])[0]?",
    "([.a[]])[1] == 2",
    "try (.a | error) catch (.[0] == 1)",
    "try error(\"\") catch \"\" == \"\"",
    ".a | try .[\"x\"] catch [] | . == []",
    "[.a[] | (. == 1) or error(\"e\")] | all",
    "[splits(\"a\")] == []",
    "def f: def g: . == 2; any(.[]; g); .a | f",
    "def any(x): false; any(.a)",
    "limit(3; repeat(.n == 5))",
    "error({a: 1}) // (.a | error) // false",
    ".a[1:] == [2] and .a[:1] == [1]",
    "[.[]?] != [] and ([.[] | objects] == [])",
    "walk(if . == 1 then 2 else . end) | .a == [2, 2]",
    "input_line_number? // true",
    "select(is_new or is_removed) | is_first_run",
    "is_new",
    "(.payload.action | tostring) as $a | $a | under(\"/\", $a) // is_off",
    ".s | strings | under(.s, \"/tmp\"), has_extension(\"x\"), version_lt(.n)",
    "(.a | arrays) as [$x] | ($x | numbers) as $y | $y > 0",
    "any((.a | arrays)[]; . == 2) // (.s | strings | startswith(.s))",
    "[.a[]? | is_on, is_off, in_temp?]",
];

const EVENTS: [&str; 8] = [
    r#"{"a":[1,2],"n":4,"s":"hay","b":null}"#,
    r#"{"a":[2,1,7],"n":0,"s":"","b":false,"c":true}"#,
    "{}",
    r#"{"a":"text","n":"4","s":[],"b":{}}"#,
    "[[1,2],4]",
    "null",
    r#"{"payload":{"action":"added","counter":0},"s":"/tmp/a.x","n":"1"}"#,
    r#"{"payload":[1],"s":5}"#,
];

#[test]
fn a_wrapped_filter_decides_the_same() {
    with_stack(|| {
        let mut compiled = 0;
        for filter in HARD {
            let Ok(clauses) = Clauses::new(filter, "t.jq", &NoModules) else { continue };
            compiled += 1;
            for event in EVENTS {
                same(&clauses, filter, event);
            }
        }
        assert!(compiled + 3 > HARD.len(), "{compiled} of {}", HARD.len());
    })
    .unwrap();
}

fn same(clauses: &Clauses, filter: &str, event: &str) {
    let value = parse(event.as_bytes()).unwrap();
    // Steps alone: how long a machine takes is no property of the filter.
    let limits = Limits { cpu: Duration::from_secs(60), steps: 30_000, ..Limits::default() };
    let more = Limits { steps: 200_000, ..limits.clone() };
    let decide = || clauses.wrapped.decide(0, &value, 1_500, &more);
    assert_eq!(clauses.plain.decide(&value, 1_500, &limits), decide(), "{filter} over {event}");
    // Written down or not, and not only the decision.
    let (recorded, _) = record::record(clauses.slots.len(), || clauses.wrapped.eval(0, &value, 1_500, &more));
    assert_eq!(clauses.plain.eval(&value, 1_500, &limits), recorded, "{filter} over {event}");
}

#[test]
fn the_filters_that_ship_decide_the_same_and_have_places() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters");
    let mut pairs = 0;
    with_stack(|| {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "jq") || !path.with_extension("ndjson").exists() {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let modules = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
            let clauses = Clauses::new(&text, "t.jq", &modules).unwrap();
            assert!(clauses.clauses().len() > 2, "{}", path.display());
            places(&text);
            let lines = std::fs::read_to_string(path.with_extension("ndjson")).unwrap();
            for example in examples::parse(&lines).unwrap() {
                same(&clauses, &path.display().to_string(), &example.event);
                pairs += 1;
            }
        }
    })
    .unwrap();
    assert!(pairs > 50, "{pairs}");
}

#[test]
fn every_term_has_its_place() {
    with_stack(|| HARD.iter().for_each(|filter| places(filter))).unwrap();
}

/// Each term's text, read by itself, is the same term.
fn places(text: &str) {
    let Ok(mut words) = tokens(text) else { panic!("{text}") };
    tree::mark(&mut words);
    let Ok(mut term) = parsed(text, &words, |p| p.term()) else { panic!("{text}") };
    let places = Places::new(text, &words);
    each(&term, &mut |part| {
        // Keys are strings without quotes; and these have no word of their own.
        if matches!(part, Term::Id | Term::Str(..) | Term::Arr(None)) || matches!(part, Term::Obj(o) if o.is_empty()) {
            return;
        }
        let place = places.of(part).unwrap_or_else(|| panic!("{text}: {part:?} has no place"));
        let alone = &text[place];
        let mut words = tokens(alone).unwrap_or_else(|_| panic!("{text}: `{alone}` for {part:?}"));
        tree::mark(&mut words);
        let read = parsed(alone, &words, |p| p.term()).unwrap_or_else(|_| panic!("{text}: `{alone}` for {part:?}"));
        assert_eq!(format!("{part:?}"), format!("{read:?}"), "{text}: `{alone}`");
    });
    tree::unmark(&mut term);
    let Ok(plain) = parsed(text, &tokens(text).unwrap_or_default(), |p| p.term()) else { panic!("{text}") };
    assert_eq!(format!("{plain:?}"), format!("{term:?}"), "{text}: marks are gone");
}

fn each<'s>(term: &Tree<'s>, look: &mut dyn FnMut(&Tree<'s>)) {
    look(term);
    children(term).into_iter().for_each(|t| each(t, look));
}

/// What is known of a clause, in a word or two.
fn told(clauses: &Clauses, explained: &Explained) -> Vec<String> {
    let one = |(c, s): (&Clause, &Seen)| {
        let counts = format!("{}t{}f{}e{}x", s.truthy, s.falsy, s.empty, s.errors);
        let operands: Vec<String> =
            c.operands.iter().zip(&s.operands).map(|(t, v)| format!("{t}={}", v.join("/"))).collect();
        format!("{}:{} {} {counts} [{}]", c.line, c.column, c.text, operands.join(" "))
    };
    clauses.clauses().iter().zip(&explained.seen).map(one).collect()
}

#[test]
fn what_each_clause_saw() {
    let filter = "# t\n.payload | objects\n| select(.action == \"added\" and (.columns.path | startswith(\"/tmp\")\n    \
                  | not))\n| select(.size > $__loc__.line or any(.tags[]; . == \"x\"))";
    let filter = filter.replace("$__loc__.line", "10");
    let clauses = clauses(&filter);
    let explained =
        explain(&clauses, r#"{"payload":{"action":"added","columns":{"path":"/bin/x"},"size":3,"tags":["a","b"]}}"#);
    assert_eq!(explained.decision, Decision::No);
    assert_eq!(
        told(&clauses, &explained),
        [
            r#"2:1 .payload 1t0f0e0x []"#,
            r#"2:12 objects 1t0f0e0x []"#,
            r#"3:10 .action == "added" 1t0f0e0x [.action="added"]"#,
            r#"3:34 .columns.path | startswith("/tmp") 0t1f0e0x [.columns.path="/bin/x"]"#,
            r#"5:10 .size > 10 0t1f0e0x [.size=3]"#,
            r#"5:28 .tags[] 2t0f0e0x []"#,
            r#"5:37 . == "x" 0t2f0e0x [.="a"/"b"]"#,
        ]
    );
    assert_eq!(explained.decided, Some(6));
    let none = explain(&clauses, r#"{"payload":7}"#);
    assert_eq!((none.decided, none.seen[1].empty, none.seen[2].runs), (Some(1), 1, 0));
    let failed = explain(&clauses, r#"{"payload":{"action":"added"}}"#);
    assert_eq!(failed.decided, Some(3));
    assert!(failed.seen[3].error.is_some() && matches!(failed.decision, Decision::Failed(_)), "{failed:?}");
}

#[test]
fn the_clause_that_decides() {
    for (filter, event, want) in [
        (".a == 1 and .b == 2", r#"{"a":1}"#, ".b == 2"),
        (".a == 1 or .b == 2", r#"{"a":1}"#, ".a == 1"),
        ("select(.a) | .b.c", r#"{"a":1,"b":{}}"#, ".b.c"),
        ("select(.a) | {x: (.b == 1)}", r#"{"a":1}"#, ".a"),
        ("if .a == 1 then empty else true end", r#"{"a":1}"#, ".a == 1"),
        (".a | objects | .x", r#"{"a":1}"#, "objects"),
        ("(.a | map(select(. > 1))) as $x | ($x | length) > 2", r#"{"a":[1,2]}"#, "($x | length) > 2"),
        ("[.a[] | tonumber] | length > 1", r#"{"a":["x"]}"#, "[.a[] | tonumber] | length > 1"),
        ("(.a | strings) as $x | $x == 1", r#"{"a":1}"#, "strings"),
        ("select(.a == 1) | (.b | strings) as $x | $x", r#"{"a":1}"#, "strings"),
        ("select(.a == 1) | (.b | select(.c == 2)) as $x | $x", r#"{"a":1}"#, ".c == 2"),
        ("select(.a == 1) | (.b // (.c | strings)) as $x | $x", r#"{"a":1}"#, "strings"),
        ("select(.a == 1) | ((.b | strings) // (.c | strings)) as $x | $x == 3", r#"{"a":1,"c":"x"}"#, "$x == 3"),
        ("select(.a == 1) | (.b | strings) // (.c | select(. > 2)) | . == 3", r#"{"a":1}"#, ". > 2"),
        ("select(.a == 1) | (.b == 1) // (.c == 2)", r#"{"a":1}"#, ".c == 2"),
        ("select(.a == 1) | (.b == 1) // false", r#"{"a":1}"#, ".b == 1"),
        ("select(.a == 1) | (.b // empty) as $x | $x", r#"{"a":1}"#, ".b // empty"),
        ("select(.a == 1) | any(.b[]; . == 2)", r#"{"a":1,"b":[]}"#, ".b[]"),
        ("select(.a == 1) | any(.b[]; . == 2)", r#"{"a":1,"b":[3]}"#, ". == 2"),
        ("(.b == 1) as $x | select(.a == 1) | {x: $x}", r#"{"a":2,"b":1}"#, ".a == 1"),
    ] {
        let clauses = clauses(filter);
        let explained = explain(&clauses, event);
        let decided = explained.decided.map(|i| clauses.clauses()[i].text.as_str());
        assert_eq!(decided, Some(want), "{filter} over {event}: {:?}", told(&clauses, &explained));
    }
}

#[test]
fn a_helper_is_shown_with_what_it_looked_at() {
    for (filter, event, want) in [
        ("select(is_new)", r#"{"payload":{"action":"removed"}}"#, r#".payload.action="removed""#),
        ("is_first_run | not", r#"{"payload":{"counter":0}}"#, ".payload.counter=0"),
        (".a | strings | under(\"/tmp\")", r#"{"a":"/var/x"}"#, r#".="/var/x""#),
        (".a | under(\"/tmp\")", r#"{"a":"/var/x"}"#, r#".a="/var/x""#),
        ("[\"10.0.0.0/8\"] as $nets | .a | in_cidr($nets[])", r#"{"a":"11.0.0.1"}"#, r#"$nets[]="10.0.0.0/8""#),
        (".min as $min | .a | strings | version_lt($min)", r#"{"a":"2","min":"1"}"#, r#"$min="1" .="2""#),
        (".p as $p | .a | startswith($p)", r#"{"a":"ab","p":"b"}"#, r#".a="ab" $p="b""#),
        ("def is_new: .a; is_new", r#"{"payload":{"action":"removed"}}"#, "[]"),
    ] {
        let clauses = clauses(filter);
        let told = told(&clauses, &explain(&clauses, event));
        assert!(told.iter().any(|line| line.contains(want)), "{filter}: {told:?}");
    }
}

#[test]
fn a_look_is_bounded_and_costs_the_filter_nothing() {
    let forever = clauses("def f: f; .a == 1 and f");
    let explained = explain(&forever, r#"{"a":1}"#);
    assert!(matches!(explained.decision, Decision::Exceeded(_)));
    assert_eq!((explained.seen[0].truthy, explained.seen[1].runs), (1, 1));
    assert_eq!(explained.decided, Some(1));
    // A filter that just fits is told of, though its wrapped form takes more steps.
    let tight = clauses("[range(6000)] | map(. == 5999) | any");
    let explained = explain(&tight, "{}");
    assert_eq!(explained.decision, Decision::Yes(None));
    assert_eq!(explained.seen.iter().map(|s| s.runs).max(), Some(6000));
    let alone = on_big_stack(&Val::Null, |null| tight.wrapped.decide(0, null, 0, &Limits::default()));
    assert!(matches!(alone, Ok(Decision::Exceeded(_))), "{alone:?}");
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20));
    let explained = explain(&clauses(".a | test(\"y\")"), &long);
    assert!(explained.seen[0].operands[0][0].len() < 1000);
    let many = explain(&clauses("any(.a[]; . == 0)"), &format!(r#"{{"a":{:?}}}"#, (1..500).collect::<Vec<_>>()));
    assert_eq!((many.seen[1].falsy, many.seen[1].operands[0].len()), (499, 5));
}

#[test]
fn what_a_not_turns_round() {
    for (filter, want) in [
        (".a == 1 and (.b | startswith(\"x\") | not)", &[".b | startswith(\"x\")"][..]),
        (".a | . == 1 or (. == 2 | not) | not", &[". == 1"]),
        ("select(.a == 1 | not) | not", &[".a == 1"]),
        ("select(.a == 1) | not", &[]),
        ("any(.a[]; . == 1) | not", &[". == 1"]),
        (".a | all(. == 1) | not", &[". == 1"]),
        ("if .a == 1 then .b == 2 else .c end | not", &[".b == 2", ".c"]),
        ("(.a == 1 | not) | not", &[]),
        ("{x: (.a == 1 | not)}", &[".a == 1"]),
        ("(.a == 1) as $x | $x | not", &["$x"]),
        (".a // (.b == 1 | not)", &[".b == 1"]),
        ("is_new | not", &["is_new"]),
    ] {
        let clauses = clauses(filter);
        let negated: Vec<&str> = clauses.clauses().iter().filter(|c| c.negated).map(|c| c.text.as_str()).collect();
        assert_eq!(negated, want, "{filter}");
    }
}

#[test]
fn the_clause_that_was_stopped() {
    for (filter, want, also) in [
        ("[range(1e9)] | length > 3", "[range(1e9)] | length > 3", &[][..]),
        ("def f: f; .a == 1 and f", "f", &[]),
        // In the loop between them: the one that gave something last.
        (".a == 1 and any(range(1e9); . == -1)", "range(1e9)", &[]),
        (
            ".a == 1 | {x: ([range(1e9)] | length > 3)}",
            "[range(1e9)] | length > 3",
            &["{x: ([range(1e9)] | length > 3)}"],
        ),
        ("(.b | until(. == 1; .)) == 1", "(.b | until(. == 1; .)) == 1", &[]),
    ] {
        let clauses = clauses(filter);
        let explained = explain(&clauses, r#"{"a":1,"b":2}"#);
        let text = |i: usize| clauses.clauses()[i].text.as_str();
        assert_eq!(explained.decided.map(text), Some(want), "{filter}: {:?}", told(&clauses, &explained));
        let stopped: Vec<&str> =
            (0..explained.seen.len()).filter(|i| explained.seen[*i].errors > 0).map(text).collect();
        assert!(stopped.contains(&want) && also.iter().all(|text| stopped.contains(text)), "{filter}: {stopped:?}");
        let why = explained.seen[explained.decided.unwrap()].error.as_deref();
        assert_eq!(why, Some("exceeded its limit of 100,000 steps"), "{filter}");
    }
}

#[test]
fn coverage_names_what_is_missing() {
    let clauses = clauses(
        "select(.a == 1)\n| select(.b == 2 or .c)\n| if .d == 3 then empty else {title: .s, n: (.n | numbers)} end",
    );
    let mut coverage = Coverage::new(&clauses);
    let gaps = |coverage: &Coverage<'_>| -> Vec<String> {
        let one =
            |g: Gap<'_>| format!("{}:{} {} {}", g.clause.line, g.clause.column, g.missing.as_str(), g.clause.text);
        coverage.gaps().into_iter().map(one).collect()
    };
    assert_eq!(coverage.share(), (0, 9));
    coverage.add(&explain(&clauses, r#"{"a":2}"#));
    coverage.add(&explain(&clauses, r#"{"a":1,"b":2}"#));
    assert_eq!(gaps(&coverage), ["2:10 makes false .b == 2", "2:21 reaches .c", "3:6 makes true .d == 3"]);
    assert_eq!(coverage.share(), (5, 9));
    coverage.add(&explain(&clauses, r#"{"a":1,"c":true,"d":3}"#));
    coverage.add(&explain(&clauses, r#"{"a":1}"#));
    assert_eq!((gaps(&coverage), coverage.share()), (Vec::new(), (9, 9)));
}
