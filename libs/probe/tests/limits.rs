//! Hostile programs end with a limit: no abort, no overflow, nothing swallowed, nothing left over for the next run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::time::{Duration, Instant};

use probe::{Decision, Limit, Limits, NoModules, compile, parse, with_stack};

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn decide(filter: &str, limits: &Limits) -> Decision {
    let program = compile(filter, "t", &NoModules).unwrap();
    program.decide(&parse(br#"[{"a":1}]"#).unwrap(), 0, limits)
}

const DOUBLE: &str = r#"reduce range(60) as $i ("a"; . + .) | length"#;
const SHARED: &str = "reduce range(60) as $i (1; [., .])";

#[test]
fn hostile_programs_exceed_the_right_limit() {
    use Limit::{Bytes, Depth, Outputs, Steps};
    let table = [
        ("def f: f; f", Steps),
        ("def f: 1 + f; f", Depth),
        ("def f: [f]; f", Depth),
        ("def f(g): f(g | g); f(.)", Steps),
        ("[repeat(1)]", Steps),
        ("last(repeat(1))", Steps),
        ("while(true; .) | empty", Steps),
        ("reduce range(1e12) as $i (0; . + 1)", Steps),
        ("[range(1e9)] | length", Steps),
        ("[range(1e8)] | sort", Steps),
        ("last(range(1e12))", Steps),
        (r#""a" * 1e9 | length"#, Bytes),
        (r#""x" * 3e8 | explode"#, Bytes),
        (r#""x" * 4e18 | length"#, Bytes),
        (r#""x" * 1e6 | explode | length"#, Bytes),
        (r#""x" * 1e6 | split("") | length"#, Bytes),
        (r#"("[" + "1," * 1e6 + "1]") | fromjson | length"#, Bytes),
        (r#""x" * 9e6 | tojson | length"#, Bytes),
        (DOUBLE, Bytes),
        (".[1e8] = 1", Bytes),
        ("reduce range(1e6) as $i (null; [.])", Steps),
        ("try (def f: f; f) catch true", Steps),
        ("def f: (f)? // 1; f", Depth),
        ("last(range(10; 0; 0))", Steps),
        ("repeat(false)", Outputs),
        ("range(1000) | false", Outputs),
        ("reduce range(30000) as $i ({}; .[$i | tostring] = $i) | length", Steps),
    ];
    for (filter, limit) in table {
        let start = Instant::now();
        // Deeper than the thread's own stack, so that a test without the big one would not pass.
        let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
        let decided = decide(filter, &limits);
        let fine = decided == Decision::Exceeded(limit);
        // Stack frames differ between builds: what runs out first, depth or steps, may too.
        let other = matches!((limit, &decided), (Depth, Decision::Exceeded(Steps)));
        assert!(fine || other, "{filter}: {decided:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{filter} took {:?}", start.elapsed());
        // Nothing is left of it.
        assert_eq!(decide("true", &limits), Decision::Yes(None), "after {filter}");
    }
}

/// Values that share parts are far bigger than their memory; whatever walks them counts.
#[test]
fn shared_values_are_walked_within_the_limits() {
    for walk in [
        "tojson",
        ". == (.[0] | [., .])",
        "[..] | length",
        "flatten",
        "@text",
        "[tostream] | length",
        "sort",
        "walk(.)",
        "[paths] | length",
        "{a: .}",
    ] {
        let start = Instant::now();
        let decided =
            decide(&format!("{SHARED} | {walk}"), &Limits { cpu: Duration::from_secs(60), ..Limits::default() });
        let bounded = match walk {
            // Sorting two elements compares them once; equal parts are equal at a glance or by a limit.
            "{a: .}" => matches!(decided, Decision::Failed(_) | Decision::Exceeded(_)),
            _ => matches!(decided, Decision::Exceeded(Limit::Steps | Limit::Bytes)),
        };
        assert!(bounded, "{walk}: {decided:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{walk} took {:?}", start.elapsed());
    }
}

/// Deep values, contexts and iterators are freed without overflowing, even where the limits are generous.
#[test]
fn deep_things_are_dropped() {
    let limits = Limits { steps: 3_000_000, bytes: 64 << 20, cpu: Duration::from_secs(60), ..Limits::default() };
    for filter in [
        "reduce range(200000) as $i (null; [.]) | true",
        "reduce range(100000) as $i (null; {a: .}) | true",
        "reduce range(100000) as $i (null; [., {b: .}]) | true",
        "def f(g; $n): if $n == 0 then g else f(g | g; $n - 1) end; f(.; 12) | true",
        "def f($n): if $n == 0 then true else f($n - 1) end; f(50000)",
        "def f($n): if $n == 0 then true else . as $x | f($n - 1) end; f(50000)",
        "def f(g; $n): if $n == 0 then g else f(g; $n - 1) end; f(true; 30000)",
        "reduce range(100000) as $i (.; .) | true",
        "[foreach range(100000) as $i (null; [.])] | true",
        "label $out | foreach range(100000) as $i (null; [.]; if $i > 99990 then true, break $out else empty end)",
    ] {
        let decided = decide(filter, &limits);
        assert!(matches!(decided, Decision::Yes(None) | Decision::Exceeded(_)), "{filter}: {decided:?}");
    }
}

#[test]
fn limits_are_the_same_in_every_run() {
    with_stack(|| {
        let event = parse(br#"{"a":"x","n":[1,2,3]}"#).unwrap();
        // The pattern is compiled, and the data cached, by whichever run comes first.
        let program = compile(r#"[range(200) | tostring | test("^[0-9]+\\w*é?$")] | all"#, "t", &NoModules).unwrap();
        let outcomes = |limits: &dyn Fn(u64) -> Limits| {
            let mut border = None;
            for n in (0..40_000).step_by(500) {
                match program.decide(&event, 0, &limits(n)) {
                    Decision::Yes(None) => border = border.or(Some(n)),
                    Decision::Exceeded(_) => assert_eq!(border, None, "more is never less"),
                    other => panic!("{other:?}"),
                }
            }
            border
        };
        let steps = |n| Limits { steps: n, ..Limits::default() };
        let bytes = |n| Limits { bytes: usize::try_from(n).unwrap(), ..Limits::default() };
        for limits in [&steps as &dyn Fn(u64) -> Limits, &bytes] {
            let first = outcomes(limits);
            assert!(first.is_some());
            assert_eq!(first, outcomes(limits));
        }
    })
    .unwrap();
}

#[test]
fn a_small_stack_is_no_danger() {
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(|| {
            let decided = decide("def f: 1 + f; f", &Limits { steps: 10_000_000, ..Limits::default() });
            assert_eq!(decided, Decision::Exceeded(Limit::Depth));
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn cpu_time_is_a_backstop() {
    let limits = Limits { steps: u64::MAX, cpu: Duration::from_millis(20), ..Limits::default() };
    assert_eq!(decide("def f: f; f", &limits), Decision::Exceeded(Limit::Cpu));
}

/// One search is not interrupted, but whatever comes after it, the end included, sees that it took too long.
#[test]
fn a_long_search_is_no_way_around_the_backstop() {
    let line = format!(r#"{{"a":"{}"}}"#, "ac".repeat(500_000));
    with_stack(|| {
        let event = parse(line.as_bytes()).unwrap();
        let limits = Limits { cpu: Duration::from_millis(1), ..Limits::default() };
        for filter in [
            r#".a | test("[ab][^z]{0,150}[cd][^z]{0,150}z")"#,
            r#".a | [match("[ab][^z]{0,150}[cd][^z]{0,150}z"; "g")] | length > 0"#,
            r#".a | test("[ab][^z]{0,150}[cd][^z]{0,150}z", "z")"#,
            r#".a | test("x*"; "n")"#,
        ] {
            let program = compile(filter, "t", &NoModules).unwrap();
            let decided = program.decide(&event, 0, &limits);
            assert!(matches!(decided, Decision::Exceeded(Limit::Cpu)), "{filter}: {decided:?}");
        }
    })
    .unwrap();
}

/// Texts that would make parser or compiler recurse without end.
#[test]
fn hostile_texts_are_refused_or_compiled() {
    let many = |s: &str, n: usize| s.repeat(n);
    for (text, fine) in [
        (many("(", 100_000), false),
        (many("[", 300) + &many("]", 300), false),
        (many("[", 200) + "1" + &many("]", 200), true),
        (many("- ", 19_000) + "1", true),
        (many("1+", 9_000) + "1", true),
        (many("1,", 9_000) + "1", true),
        (many(".|", 9_000) + "1", true),
        (many("try ", 19_000) + "1", true),
        (many("def f: ", 9_000), false),
        (many("if . then ", 5_000), false),
        (many(".a", 19_000), true),
        (many("1+", 20_000) + "1", false),
        (many("\"\\(", 300) + "1" + &many(")\"", 300), false),
        (many(" ", 2 << 20), false),
    ] {
        let program = compile(&text, "t", &NoModules);
        let start: String = text.chars().take(20).collect();
        assert_eq!(program.is_ok(), fine, "{start}");
        if let Ok(program) = program {
            let _ = program.decide(&parse(b"{}").unwrap(), 0, &Limits::default());
        }
    }
}
