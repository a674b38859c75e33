//! What the engine understands, when jq runs, and what a reload takes over. That its answers are right is what
//! `differential.rs` shows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
#![allow(missing_docs, reason = "tests")]

use probe::{FilterSet, NoModules, Note, Quiet, Scratch, Spec, Standing, with_stack};

fn spec(name: &str, filter: &str) -> Spec {
    Spec { rev: probe::rev(filter, ""), severity: "major".into(), ..Spec::bare(name, filter) }
}

fn standing(filter: &str) -> &'static str {
    let set = FilterSet::build(vec![spec("p", filter)], &NoModules).unwrap();
    match set.standing(0).unwrap() {
        Standing::Native => "native",
        Standing::Indexed => "indexed",
        Standing::Always => "always",
    }
}

#[test]
fn what_is_understood() {
    for (filter, want) in [
        (r#".type == "a""#, "native"),
        (r#""a" == .type"#, "native"),
        (r#".type == "a" and .payload.name == "b""#, "native"),
        (r#".a.b == "x" or .c == 3 or .d == true"#, "native"),
        (r#".payload.action | IN("added", "snapshot")"#, "native"),
        (r#"IN(.machine.tags[]?; "vip", "lab")"#, "native"),
        (r#".p | startswith("/tmp/")"#, "native"),
        (r#".p | endswith(".app") and (contains("evil") | not)"#, "native"),
        (r#".p | test("^/Users/[^/]+/Downloads/"; "i")"#, "native"),
        (r#".p // "" | test("evil")"#, "native"),
        (r#".a as $x | $x == "b""#, "native"),
        (r#"any(.payload.snapshot[]; .name == "a" and .path == "b")"#, "native"),
        (r#".payload.snapshot | all(.encrypted == "1") | not"#, "native"),
        (r#".machine.tags | index("vip")"#, "native"),
        (r#".payload.columns | has("path")"#, "native"),
        (r#"(.payload.columns.uid | tonumber) > 500"#, "native"),
        (r#".n > 5 and .n <= 7.5"#, "native"),
        (r#".p | ascii_downcase == "x""#, "native"),
        (r#"try (.a.b | test("abc")) catch false"#, "native"),
        (r#"if .type == "a" then .b == "c" else empty end"#, "native"),
        (r#"def f(x): x == "a"; f(.type)"#, "native"),
        (r#"select(.type == "a") | {title: .b}"#, "native"),
        (r#".type == "a" and (.n + 1 > 3)"#, "indexed"),
        (r#".a == .b"#, "native"),
        (r#".n + 1 > 3"#, "always"),
        (r#"[..] | length > 3"#, "always"),
        (r#"reduce .a[] as $x (0; . + $x) > 3"#, "always"),
        ("true", "native"),
    ] {
        let got = standing(filter);
        assert_eq!(got, want, "{filter}");
    }
}

/// Counts how often jq runs.
#[derive(Default)]
struct Runs(usize);

impl Note for Runs {
    fn before(&mut self, _: usize, _: &str) -> bool {
        self.0 += 1;
        true
    }
}

#[test]
fn jq_runs_only_where_it_must() {
    with_stack(|| {
        let set = FilterSet::build(
            vec![
                spec("native", r#".type == "t" and .n == "7""#),
                spec("context", r#"select(.type == "t" and .n == "7") | {title: .n}"#),
                spec("other", r#"select(.type == "u") | {title: .n}"#),
            ],
            &NoModules,
        )
        .unwrap();
        let mut runs = Runs::default();
        let mut scratch = Scratch::default();
        let mut runner = set.runner(&mut scratch);
        for line in [r#"{"type":"t","n":"8"}"#, r#"{"type":"v"}"#, "{}", r#"{"n":"7","type":"t "}"#] {
            assert_eq!(runner.run(line.as_bytes(), 0, &mut runs).unwrap().found.len(), 0, "{line}");
        }
        assert_eq!((runs.0, set.compiled()), (0, 0), "nothing was a candidate, nothing was compiled");
        let outcome = runner.run(br#"{"type":"t","n":"7"}"#, 0, &mut runs).unwrap();
        let found: Vec<_> = outcome.found.iter().map(|f| (f.probe, f.context.as_deref())).collect();
        assert_eq!(found, [(0, None), (1, Some(r#"{"title":"7"}"#))]);
        assert_eq!((runs.0, set.compiled()), (1, 1));
    })
    .unwrap();
}

#[test]
fn nothing_is_certain_behind_what_jq_must_run() {
    with_stack(|| {
        let matches = |filter: &str, line: &str| {
            let set = FilterSet::build(vec![spec("p", filter)], &NoModules).unwrap();
            let mut scratch = Scratch::default();
            let mut runner = set.runner(&mut scratch).without_contexts();
            !runner.run(line.as_bytes(), 0, &mut Runs::default()).unwrap().found.is_empty()
        };
        // A limit that is exceeded is caught by nothing.
        for endless in ["f // false", "f?", "try f catch 1", "(try error(f) catch .) // 1", "first(f)?"] {
            assert!(!matches(&format!("def f: f; {{w: ({endless})}}"), "{}"), "{endless}");
            assert!(!matches(&format!("def f: f; ({endless}), true"), "{}"), "{endless}");
        }
        // The `?` of `[]?` is not that of the path before it.
        let hidden = r#"any(.a?.b.c[]?; .d? == "") // .yes"#;
        assert!(matches(hidden, r#"{"a":{"b":""},"yes":true}"#) && !matches(hidden, r#"{"a":{},"yes":null}"#));
    })
    .unwrap();
}

#[test]
fn an_error_beside_nothing_is_none() {
    with_stack(|| {
        let matches = |filter: &str, line: &str| {
            let set = FilterSet::build(vec![spec("p", filter)], &NoModules).unwrap();
            let mut scratch = Scratch::default();
            let mut runner = set.runner(&mut scratch).without_contexts();
            !runner.run(line.as_bytes(), 0, &mut Runs::default()).unwrap().found.is_empty()
        };
        let line = r#"{"a":"x","b":[],"yes":true}"#;
        for nothing in [
            "(.a.c == .a.c?)",
            "(.a.c == .b[])",
            "((.a | has(\"c\")) == (.a.c? | length))",
            "{k: .a.c, l: .a.c?}",
            "\"\\(.a.c) \\(.b[])\"",
        ] {
            assert!(matches(&format!("{nothing}, .yes"), line), "{nothing}");
        }
        assert!(!matches("(.a.c == .a), .yes", line));
        assert!(matches("IN(.a.c; .b[]) or .yes", line) && !matches("IN(.a.c; .a) or .yes", line));
        // What is made of an unclear value is true, whatever that is.
        let unclear = "((all(.b | getpath([\"c\"])?; .) and false) | tostring)";
        assert!(matches(unclear, line));
    })
    .unwrap();
}

#[test]
fn a_reload_takes_over_what_has_not_changed() {
    with_stack(|| {
        let specs = |changed: &str| -> Vec<Spec> {
            let old = (0..300).map(|i| spec(&format!("p{i}"), &format!("select(.n == {i}) | {{i: {i}}}")));
            old.chain([spec("changed", changed)]).collect()
        };
        let says = |set: &FilterSet, line: &str| {
            let outcome = set.run(line.as_bytes(), 0, &mut Quiet).unwrap();
            outcome.found.iter().map(|f| set.spec(f.probe).unwrap().name.clone()).collect::<Vec<_>>()
        };
        let old = FilterSet::build(specs("select(.n == 7) | {old: 1}"), &NoModules).unwrap();
        assert_eq!(says(&old, r#"{"n":7}"#), ["p7", "changed"]);
        assert_eq!(old.compiled(), 2, "two segments have been needed");
        let new = FilterSet::rebuild(&old, specs("select(.n == 8) | {new: 1}"), &NoModules).unwrap();
        // What was compiled is taken over; the changed filter alone has a segment of its own, compiled when needed.
        assert_eq!(new.compiled(), 2);
        assert_eq!(says(&new, r#"{"n":7}"#), ["p7"]);
        assert_eq!(says(&new, r#"{"n":8}"#), ["p8", "changed"]);
        assert_eq!(new.compiled(), 3);
        assert!(FilterSet::rebuild(&new, specs("select(.n == ) | {new: 1}"), &NoModules).is_err());
        assert_eq!(says(&new, r#"{"n":8}"#), ["p8", "changed"], "the old one goes on");
    })
    .unwrap();
}

#[test]
fn imported_lists_are_looked_up() {
    let modules = |path: &str| (path == "bad.json").then(|| r#"["1.2.3.4","evil.example"]"#.to_owned());
    let filter = r#"import "bad" as $bad; .payload.host | IN($bad[0][])"#;
    let set = FilterSet::build(vec![spec("p", filter)], &modules).unwrap();
    assert_eq!(set.standing(0), Some(Standing::Native));
    for (line, found) in
        [(r#"{"payload":{"host":"evil.example"}}"#, 1), (r#"{"payload":{"host":"fine"}}"#, 0), ("{}", 0)]
    {
        assert_eq!(set.run(line.as_bytes(), 0, &mut Quiet).unwrap().found.len(), found, "{line}");
    }
}
