use super::*;
use crate::{FilterSet, Scope, Spec, Standing};

fn modules(path: &str) -> Option<String> {
    Some(match path {
        "people.json" => r#"[{"name": "ada"}]"#.into(),
        "names.json" => r#"["ada", "grace"]"#.into(),
        "lib.jq" => "def deep: .. | strings; def name: .payload.name;".into(),
        _ => return None,
    })
}

fn spec(filter: &str) -> Spec {
    Spec::bare("p.jq", filter)
}

fn set(filter: &str) -> FilterSet {
    FilterSet::build(vec![spec(filter)], &modules).unwrap_or_else(|e| panic!("{filter}: {e:?}"))
}

#[track_caller]
fn advised(filter: &str) -> Advice {
    let set = set(filter);
    assert_eq!(set.standing(0), Some(Standing::Always), "{filter}");
    set.advice(0).unwrap()
}

#[track_caller]
fn is_indexed(filter: &str) {
    let set = set(filter);
    assert!(matches!(set.standing(0), Some(Standing::Native | Standing::Indexed)), "{filter}: {:?}", set.advice(0));
    assert_eq!(set.advice(0), None);
}

const REASONS: [Reason; 21] = [
    Reason::NoKey,
    Reason::Long,
    Reason::Paths,
    Reason::Recursion,
    Reason::Function,
    Reason::Operator,
    Reason::Argument,
    Reason::Text,
    Reason::List,
    Reason::Change,
    Reason::Everywhere,
    Reason::Fold,
    Reason::Number,
    Reason::Key,
    Reason::Slice,
    Reason::Each,
    Reason::KeyOf,
    Reason::Pattern,
    Reason::Choice,
    Reason::Values,
    Reason::Data,
];

/// Words that have a rewriting of their own.
const WORDS: [&str; 23] = [
    "",
    "match",
    "map",
    "capture",
    "scan",
    "split",
    "ltrimstr",
    "rtrimstr",
    "trimstr",
    "trim",
    "ltrim",
    "rtrim",
    "explode",
    "keys",
    "to_entries",
    "getpath",
    "tojson",
    "contains",
    "inside",
    "test",
    "has",
    "in",
    "startswith",
];

#[test]
fn what_is_advised_is_true() {
    stack::with_stack(every_rewriting).unwrap();
}

fn every_rewriting() {
    let long = format!(".payload.n | {}", vec![". == 1"; 3000].join(" or "));
    let path = format!(".{} == 1", vec!["a"; 40].join("."));
    let mut told = 0;
    for reason in REASONS {
        for word in WORDS {
            let way = reason.rewriting(word);
            let before = match reason {
                Reason::Long => &long,
                Reason::Paths => &path,
                _ => way.before,
            };
            let advice = advised(before);
            assert_eq!(advice.unclear[0].reason, reason, "{before}: {advice:?}");
            is_indexed(&match before.strip_prefix("import \"people\" as $people; ") {
                Some(_) if !way.after.contains('…') => way.after.to_owned(),
                _ => way.after.replace('…', before),
            });
            // What is said of the example is the very rewriting that was tried.
            let own = reason.rewriting(&advice.unclear[0].word);
            told += usize::from(own == way);
            assert!(advice.unclear[0].advice().contains(own.after));
        }
    }
    assert!(told >= REASONS.len(), "{told}");
}

#[test]
fn the_general_way_helps_every_filter() {
    for filter in [
        "(.payload.columns.n | tonumber) % 2 == 1",
        "..",
        "[.payload.columns[] | length] | add > 100",
        ". as [$a, $b] | $a == $b",
        "reduce .payload.columns[] as $c (0; . + 1)",
        ".payload | with_entries(.value |= tostring) | .a == \"x\"",
    ] {
        advised(filter);
        is_indexed(&FIRST.replace('…', filter));
        is_indexed(&format!("select(.type == \"osquery_result\") | {filter}"));
    }
}

const FIRST: &str = r#".type == "osquery_result" and (…)"#;

#[test]
fn places_are_exact_and_only_what_matters_is_told() {
    for (filter, places) in [
        ("# title\n\n  .payload.n + 1 > 3", "3:3 Operator +"),
        (".a != \"x\" and (\n  .b | sqrt) > 2", "2:8 Function sqrt"),
        ("any(..; . == \"x\")", "1:5 Everywhere .."),
        ("import \"lib\" as lib;\n.type != \"x\" and (lib::deep == \"y\")", "2:19 Function deep"),
        (".payload.columns.path | inside(\"abc\")", "1:25 Argument inside"),
        ("column(.payload.name) == \"1\"", "1:1 Key column"),
        (".payload.columns.version | version_lt(\"1.2\")", "1:28 Function version_lt"),
        // Each is in the way of the other.
        ("(.n | sqrt) > 2 or (.m + 1) > 2", "1:7 Function sqrt, 1:21 Operator +"),
        // One is enough.
        ("((.n | sqrt) > 2) and ((.m + 1) > 2)", "1:8 Function sqrt"),
        // What is made for people decides nothing.
        ("select(.a != \"x\") | {title: \"\\(.b + 1)\", n: (.c | sqrt)}", "1:1 NoKey "),
        ("if .a != 1 then (.b | sqrt) > 1 else .c - 1 > 1 end", "1:23 Function sqrt"),
        ("(.b | sqrt | floor) > 1", "1:7 Function sqrt"),
        ("[.payload.columns.path | split(\"/\")[1] | ascii_downcase] == [\"tmp\"]", "1:26 Function split"),
        ("-.payload.n < -3", "1:1 Operator -"),
        (".payload.snapshot | map(.name) | any(. == \"sshd\")", "1:21 Function map"),
        (".payload.columns.path[0:5] == \"/tmp/\"", "1:1 Slice "),
    ] {
        let advice = advised(filter);
        let text = |u: &Unclear| format!("{}:{} {:?} {}", u.place.line, u.place.column, u.reason, u.word);
        assert_eq!(advice.unclear.iter().map(text).collect::<Vec<_>>().join(", "), places, "{filter}");
    }
}

#[test]
fn a_filter_that_rules_events_out_is_not_run_everywhere() {
    for (filter, everywhere) in [
        (".n + 1 > 3", true),
        (".type != \"x\" and .n + 1 > 3", false),
        (".type != \"x\" or .n + 1 > 3", true),
        (".payload.snapshot | map(.name == \"sshd\") | any", true),
        ("select(.type != \"x\") | .n + 1", false),
        ("if .type != \"x\" then .n + 1 else empty end", false),
        ("if .n + 1 > 3 then .type != \"x\" else true end", true),
        (".payload.snapshot[] | .n + 1 > 3 | not", true),
    ] {
        if let Some(advice) = set(filter).advice(0) {
            assert_eq!(advice.everywhere, everywhere, "{filter}");
        }
    }
    let scoped = Spec { scope: Scope { not_tags: vec!["lab".into()], ..Scope::default() }, ..spec(".n + 1 > 3") };
    let set = FilterSet::build(vec![scoped], &modules).unwrap();
    assert!(!set.advice(0).unwrap().everywhere);
    // What the index finds by the probe's query or scope is no trouble.
    let scoped = Spec { query_name: Some("zentral/p/1".into()), ..spec(".n + 1 > 3") };
    assert_eq!(FilterSet::build(vec![scoped], &modules).unwrap().standing(0), Some(Standing::Indexed));
}

#[test]
fn a_finding_reads_well() {
    let advice = advised("# t\n.payload.n > 1 or (.payload.columns.uid | ltrimstr(\"x\")) == \"0\"");
    assert_eq!(
        advice.unclear[0].place.to_string(),
        "p.jq:2:43: `ltrimstr` makes a value that is not followed; ask about the text as it is, with `startswith`, \
         `endswith` or `test`: `.payload.columns.path | IN(\"x\", \"/tmp/x\")` instead of `(.payload.columns.path | \
         ltrimstr(\"/tmp/\")) == \"x\"`\n  |\n2 | .payload.n > 1 or (.payload.columns.uid | ltrimstr(\"x\")) == \"0\"\n  \
         |                                           ^^^^^^^^^^^^^"
    );
}
