//! How large a thing may get about which the engine answers without jq: never so large that jq would exceed a limit.

use probe::{Decision, FilterSet, NoModules, Quiet, Spec, compile, parse};

use super::check::{NOW_MS, limits};

/// Filters over arrays of which only the last element is another one.
const ELEMENTS: &str = include_str!("grammar/elements.jq");
/// Filters that are long themselves, over `{"a":"y"}`: in them `"…"` stands for many constants.
const CONSTANTS: &str = include_str!("grammar/constants.jq");
/// Larger is nothing that the engine answers about.
const SIZE_MAX: usize = 12_000;

/// Of each filter the largest size at which the engine finds a match by itself; there jq must, too. Returns how many
/// filters have such a size, and how many have none.
pub fn within_limits() -> (usize, usize) {
    let elements = ELEMENTS.lines().map(|filter| largest(&|_| filter.to_owned(), &line));
    let constants = CONSTANTS.lines().map(|filter| {
        let sized = |n: usize| {
            let all: Vec<String> = (0..n).map(|i| format!("\"x{i}\"")).collect();
            filter.replace("\"…\"", &all.join(", ")).replace("false, …", &"false, ".repeat(n))
        };
        largest(&sized, &|_| r#"{"a":"y"}"#.to_owned())
    });
    let sizes: Vec<bool> = elements.chain(constants).collect();
    let natives = sizes.iter().filter(|native| **native).count();
    (natives, sizes.len() - natives)
}

fn line(n: usize) -> String {
    let long = |filler: &str, last: &str| format!("[{}{last}]", format!("{filler},").repeat(n));
    let row = |name: &str, list: &str| format!(r#"{{"name":"{name}","uid":"0","list":[{list}]}}"#);
    let (texts, rows) = (long("\"x\"", "\"y\""), long(&row("x", r#""a","b""#), &row("y", r#""a","b","c""#)));
    let snapshot = long(r#"{"name":"x"}"#, r#"{"name":"y"}"#);
    format!(r#"{{"l":{texts},"rows":{rows},"payload":{{"snapshot":{snapshot}}},"numbers":{}}}"#, long("1", "7"))
}

/// Whether the engine answers by itself at all.
fn largest(filter: &dyn Fn(usize) -> String, line: &dyn Fn(usize) -> String) -> bool {
    let native = |n: usize| {
        let spec = Spec::bare("p", filter(n));
        let set = FilterSet::build(vec![spec], &NoModules).unwrap_or_else(|e| panic!("{e:?}")).with_limits(limits());
        let outcome = set.run(line(n).as_bytes(), NOW_MS, &mut Quiet).unwrap();
        outcome.runs == 0 && !outcome.found.is_empty()
    };
    if !native(1) {
        return false;
    }
    let (mut size, mut end) = (1, 2);
    while end < SIZE_MAX && native(end) {
        (size, end) = (end, end * 2);
    }
    while end - size > 1 {
        let middle = usize::midpoint(size, end);
        if native(middle) {
            size = middle;
        } else {
            end = middle;
        }
    }
    let program = compile(&filter(size), "t", &NoModules).unwrap_or_else(|e| panic!("{e:?}"));
    let event = parse(line(size).as_bytes()).unwrap();
    let said = program.decide(&event, NOW_MS, &limits());
    let start: String = filter(size).chars().take(200).collect();
    assert!(matches!(said, Decision::Yes(_)), "{start}\nat {size}: the engine finds a match, jq says {said:?}");
    true
}
