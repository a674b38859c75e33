//! Filters grown from a grammar. It leans to what an analysis would try to understand, and to the borders of that.

use super::chance::Chance;
use super::tree::{HOLE, STYLES, Tree, lit, path, string, text};
use super::value::J;
use super::words::Words;

/// Templates, one a line: in them `P` is a place, `V` what one may say there, `W` the same as a string, `R` a pattern,
/// `N` a number and `C` a condition.
const CONDITIONS: &str = include_str!("grammar/conditions.jq");
/// What holds conditions together, errors and nothing among them.
const JOINTS: &str = include_str!("grammar/joints.jq");
/// What a filter says of an event.
const OUTCOMES: &str = include_str!("grammar/outcomes.jq");
/// Whole filters that import something.
const IMPORTED: &str = include_str!("grammar/imported.jq");

/// What filters here may import.
pub fn modules(path: &str) -> Option<String> {
    let text = match path {
        "common.jq" => {
            "def is_added: .payload.action == \"added\"; def named($n): .payload.name == $n; def either(f; g): f or g;
             def column($n): .payload.columns[$n];"
        }
        "deep/more.jq" => {
            "import \"list\" as $l; def both(f; g): f and g;
             def known: .payload.columns.name as $x | any($l[][]; . == $x);"
        }
        "names.json" => "[\"sshd\", \"curl\", \"usb_devices\", null, 22]",
        "deep/list.json" => "[\"sshd\", \"\\u0000\", \"launchd\"]",
        _ => return None,
    };
    Some(text.to_owned())
}

/// How deep conditions nest.
const DEPTH: usize = 4;

pub struct Grower {
    pub words: Words,
    conditions: Vec<&'static str>,
    joints: Vec<&'static str>,
    outcomes: Vec<&'static str>,
    imported: Vec<&'static str>,
}

impl Grower {
    pub fn new() -> Self {
        let lines = |text: &'static str| text.lines().collect();
        Self {
            words: Words::new(),
            conditions: lines(CONDITIONS),
            joints: lines(JOINTS),
            outcomes: lines(OUTCOMES),
            imported: lines(IMPORTED),
        }
    }

    /// A whole filter.
    pub fn filter(&self, c: &mut Chance) -> Tree {
        let template = if c.percent(4) { *c.one(&self.imported) } else { *c.one(&self.outcomes) };
        let depth = c.below(DEPTH);
        self.fill(template, depth, c)
    }

    pub fn condition(&self, depth: usize, c: &mut Chance) -> Tree {
        let template = if depth > 0 && c.percent(75) { *c.one(&self.joints) } else { *c.one(&self.conditions) };
        self.fill(template, depth, c)
    }

    /// Puts something in the place of every capital letter of a template that stands alone.
    fn fill(&self, template: &'static str, depth: usize, c: &mut Chance) -> Tree {
        let mut out = String::with_capacity(template.len());
        let mut kids = Vec::new();
        // One place for a template, mostly: `P > N and P < N` is about one thing.
        let place = self.words.place(c);
        let (mut first, chars) = (true, template.as_bytes());
        for (i, b) in chars.iter().enumerate() {
            let near = |at: Option<usize>| {
                at.and_then(|at| chars.get(at)).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$')
            };
            let alone = !near(i.checked_sub(1)) && !near(Some(i + 1));
            let place = if first || c.percent(70) { place } else { self.words.place(c) };
            let kid = match b {
                b'P' if alone => {
                    let other = !std::mem::take(&mut first) && c.percent(30);
                    let place = if other { self.words.place(c) } else { place };
                    self.place(&place.keys, c)
                }
                b'V' if alone => lit(self.words.at(place, c).clone()),
                b'W' if alone => self.word(&place.words, c),
                b'R' if alone => string(&c.one(&self.words.patterns).text),
                b'N' if alone => lit(J::Num(self.number(c))),
                b'C' if alone => self.condition(depth.saturating_sub(1), c),
                b => {
                    out.push(char::from(*b));
                    continue;
                }
            };
            out.push(HOLE);
            kids.push(kid);
        }
        text(out, kids)
    }

    /// A path to a place; sometimes beyond it, before it, or from elsewhere.
    fn place(&self, keys: &[String], c: &mut Chance) -> Tree {
        let mut keys = keys.to_vec();
        match c.below(40) {
            0 => keys.push("name".to_owned()),
            1 => drop(keys.pop()),
            2 => drop(keys.remove(0)),
            3 => keys.push(c.pick(&["", "a b", "length", "type", "0"]).to_owned()),
            _ => {}
        }
        path(keys, *c.one(&STYLES))
    }

    /// A string of the place, or a part of one.
    fn word(&self, words: &[J], c: &mut Chance) -> Tree {
        let from = if c.percent(10) { c.one(&self.words.odd) } else { c.one(words) };
        let word = match from {
            J::Str(s) => s.clone(),
            J::Arr(items) => items
                .iter()
                .find_map(|i| if let J::Str(s) = i { Some(s.clone()) } else { None })
                .unwrap_or_else(|| "name".to_owned()),
            J::Num(n) => n.clone(),
            _ => "name".to_owned(),
        };
        let chars: Vec<char> = word.chars().collect();
        let cut = c.below(chars.len() + 1);
        match c.below(8) {
            0 => string(&chars[..cut].iter().collect::<String>()),
            1 => string(&chars[cut..].iter().collect::<String>()),
            2 => string(&word.to_ascii_lowercase()),
            3 if c.percent(30) => string(&word.to_uppercase()),
            _ => string(&word),
        }
    }

    fn number(&self, c: &mut Chance) -> String {
        const SMALL: &[&str] = &["0", "1", "2", "3", "5", "22", "80", "1000", "1024"];
        const ODD: &[&str] = &[
            "0.0",
            "-1",
            "1.0",
            "1e3",
            "1e0",
            "1.5",
            "100000000000000000000",
            "9007199254740993",
            "9223372036854775807",
            "1793703433",
            "65536",
            "1e1000",
            "0.1",
        ];
        if c.percent(70) { c.pick(SMALL).to_owned() } else { c.pick(ODD).to_owned() }
    }
}
