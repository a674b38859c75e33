//! Small changes to filters that work: what a person writes by mistake, on purpose, or the long way round.

use super::chance::Chance;
use super::grow::Grower;
use super::tree::{Form, STYLES, Tree, lit, path, string, text};
use super::value::J;

const COMPARISONS: [&str; 6] = ["§ == §", "§ != §", "§ < §", "§ <= §", "§ > §", "§ >= §"];
/// Templates of two children that may stand for each other.
const PAIRS: [&str; 9] = [
    "§ and §",
    "§ or §",
    "§ // §",
    "§ | §",
    "§, §",
    "select(§) | §",
    "if § then § else false end",
    "§ as $o | §",
    "(§ | not) or §",
];
/// What may be put around any part of a filter.
const WRAPS: &[&str] = &[
    "§ | not",
    "§ | not | not",
    "(§)?",
    "try § catch .",
    "try § catch false",
    "select(§)",
    "first(§)",
    "[§][0]",
    "[§] | any",
    "[§] | .[]",
    "§ // false",
    "§ // empty",
    "§ and true",
    "§ or false",
    "§ | .",
    ". | §",
    ". as $w | $w | §",
    "§ as $w | $w",
    "def w: §; w",
    "def w(f): f; w(§)",
    "def w($x): $x; w(§)",
    "if § then true else false end",
    "if true then § else empty end",
    "if § then . else empty end",
    "§, empty",
    "false, §",
    "label $w | § | ., break $w",
    "reduce § as $w (null; $w)",
    "limit(1; §)",
    "any(§; .)",
    "all(§; .)",
    "isempty(§)",
    "isempty(select(§)) | not",
    "{w: §} | .w",
    "{w: §}",
    "§ == true",
    "§ | tostring",
    "§ | tojson | fromjson",
    "§ | ascii_downcase",
    "§ | strings",
    "§ | select(. != null)",
    "§ | length",
    "\"\\(§)\"",
    "-§",
    "(§ | error)?",
    "§ | type",
    "§[]?",
    "§?",
    "(§, §)",
];

/// Changes a filter in one to four places.
pub fn mutate(tree: &Tree, grower: &Grower, c: &mut Chance) -> Tree {
    let mut tree = tree.clone();
    for _ in 0..c.between(1, 4) {
        let count = tree.count();
        // The first nodes are the outer ones, where a change says more.
        let n = if c.percent(20) { c.below(count.min(4)) } else { c.below(count) };
        if let Some(node) = tree.nth(n) {
            once(node, grower, c);
        }
    }
    tree
}

/// Two filters as one.
pub fn combine(l: Tree, r: Tree, c: &mut Chance) -> Tree {
    text(c.pick(&PAIRS), vec![l, r])
}

fn once(node: &mut Tree, grower: &Grower, c: &mut Chance) {
    let literal_or_path = !matches!(node.form, Form::Text(_));
    match c.below(10) {
        0 => wrap(node, c),
        1 => *node = grower.condition(1, c),
        // A part in place of the whole.
        2 if !node.kids.is_empty() => *node = node.kids[c.below(node.kids.len())].clone(),
        3 if node.kids.len() > 1 => {
            let (a, b) = (c.below(node.kids.len()), c.below(node.kids.len()));
            node.kids.swap(a, b);
        }
        4 if node.kids.len() == 2 => {
            // The same twice, or the other way round.
            let kid = node.kids[c.below(2)].clone();
            *node = text(c.pick(&PAIRS), vec![node.clone(), kid]);
        }
        5 => {
            let more = grower.condition(1, c);
            let both = if c.percent(50) { vec![node.clone(), more] } else { vec![more, node.clone()] };
            *node = text(c.pick(&PAIRS), both);
        }
        _ if literal_or_path || c.percent(70) => swap(node, grower, c),
        _ => wrap(node, c),
    }
}

fn wrap(node: &mut Tree, c: &mut Chance) {
    let template = c.pick(WRAPS);
    let kids = vec![node.clone(); template.matches('§').count()];
    *node = text(template, kids);
}

/// Another literal, place or operator for this one.
fn swap(node: &mut Tree, grower: &Grower, c: &mut Chance) {
    let words = &grower.words;
    match &node.form {
        Form::Lit(J::Str(s)) => {
            *node = match c.below(8) {
                0 => string(""),
                1 => string(&s.to_uppercase()),
                2 => string(&s.chars().skip(1).collect::<String>()),
                3 => string(&format!("{s}{s}")),
                4 => string(&c.one(&words.patterns).text),
                5 => lit(c.one(&words.odd).clone()),
                _ => lit(words.at(words.place(c), c).clone()),
            };
        }
        Form::Lit(J::Num(n)) => {
            *node = match c.below(5) {
                0 => string(n),
                1 => lit(J::Num(format!("{n}.0"))),
                2 => lit(J::Num("0".into())),
                3 => lit(c.one(&words.odd).clone()),
                _ => lit(J::Num(c.below(70_000).to_string())),
            };
        }
        Form::Lit(_) => *node = lit(c.one(&words.odd).clone()),
        Form::Path(keys, style) => {
            let (mut keys, mut style) = (keys.clone(), *style);
            match c.below(4) {
                0 => style = *c.one(&STYLES),
                1 => drop(keys.pop()),
                2 => keys.clone_from(&words.place(c).keys),
                _ => {
                    let last = words.place(c).keys.last().cloned();
                    keys.pop();
                    keys.extend(last);
                }
            }
            *node = path(keys, style);
        }
        Form::Text(template) => {
            let all: &[&str] = if COMPARISONS.contains(&template.as_ref()) { &COMPARISONS } else { &PAIRS };
            match template.as_ref() {
                "startswith(§)" | "endswith(§)" | "contains(§)" | "test(§)" | "inside(§)" | "ltrimstr(§)"
                | "index(§)" | "has(§)" => {
                    let other = c.pick(&[
                        "startswith(§)",
                        "endswith(§)",
                        "contains(§)",
                        "test(§)",
                        "inside(§)",
                        "ltrimstr(§)",
                        "index(§)",
                        "has(§)",
                        "test(§; \"i\")",
                        "IN(§)",
                    ]);
                    node.form = Form::Text(other.into());
                }
                _ if node.kids.len() == 2 && all.contains(&template.as_ref()) => {
                    node.form = Form::Text(c.pick(all).into())
                }
                _ => wrap(node, c),
            }
        }
    }
}
