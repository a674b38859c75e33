//! Filters grown from a grammar. It leans to what an analysis would try to understand, and to the borders of that.

use super::chance::Chance;
use super::tree::{HOLE, STYLES, Style, Tree, lit, path, string, text};
use super::value::J;
use super::words::{PATTERNS, Words};

/// Templates; in them `P` is a place, `V` what one may say there, `W` the same as a string, `R` a pattern, `N` a number,
/// `C` a condition.
const CONDITIONS: &[&str] = &[
    "P == V", "P == V", "P == V", "P == V", "V == P", "P != V", "P == P", "P < V", "P <= V", "P > V", "P >= V", "V < P",
    "P | . == V", "P as $x | $x == V", "P as $x | V as $y | $x == $y", "[P] == [V]", "{a: P} == {a: V}", "P == V and P == V",
    "P == V or P == V", "P == (V, V)", "(P, P) == V", "P == W",
    "P", "P | not", "P == null", "P != null", "P == false", "P == true", "P == []", "P == {}", "P == \"\"", "null == P", "P < null", "P > {}",
    // membership
    "P | IN(V, V)", "P | IN(V, V, V)", "P | IN()", "P | IN(empty)", "IN(P; V, V)", "P | IN(P)", "P | IN(V[])", "P as $x | [V, V] | index($x)", "P as $x | [V, V] | any(. == $x)",
    "P as $x | any(V, V; . == $x)", "[V, V] | contains([P])", "[P] | inside([V, V])", "P | . == V or . == V", "[V, V] | index([P]) != null", "P as $x | V | has($x)", "{(W): 1, (W): 2}[P]", "{(W): true}[P | strings]", "P | in({(W): 0})",
    // strings
    "P | startswith(W)", "P | startswith(W)", "P | endswith(W)", "P | contains(W)", "P | contains(W)", "P | startswith(\"\")", "P | endswith(\"\")", "P | contains(\"\")", "P | contains(V)", "P | inside(W)",
    "W | startswith(P)", "W | contains(P)", "W | endswith(P)", "P | ltrimstr(W) != .", "P | ltrimstr(W) == W", "P | rtrimstr(W) | startswith(W)", "P | ascii_downcase == W", "P | ascii_upcase == W", "P | ascii_downcase | contains(W)",
    "P | tostring == W", "P | tojson | contains(W)", "tojson | contains(W)", "tostring | test(R)", "P | split(\"/\") | .[-1] == W", "P | split(W) | length > N", "P | .[0:N] == W", "P | .[N:] == W", "P | .[-N:] | endswith(W)", "P | explode | .[0] == N",
    "\"\\(P)\" == W", "\"\\(P)/\\(P)\" | test(R)", "\"x\\(P)\" | startswith(\"x\" + W)", "P + \"x\" == W", "(W + P) | contains(W)", "P | length > N", "P | length == 0", "P | utf8bytelength >= N", "P | index(W)", "P | index(W) == 0", "P | indices(W) | length > 0", "P | @text == W", "P | @base64 | contains(W)", "P | join(\",\") | contains(W)", "P | ascii_downcase | test(R)", "P * 2 | contains(W)", "P | ascii_downcase == (P | ascii_downcase)",
    // regular expressions
    "P | test(R)", "P | test(R)", "P | test(R)", "P | test(R; \"i\")", "P | test(R; \"ix\")", "P | test(R; null)", "P | test(R; \"n\")", "P | test([R, \"i\"])", "P | test(W)", "P | test(\"^\" + R)", "P | test(\"(\" + R + \")|x\")", "P | test(R) | not", "P | match(R).string == W", "P | [match(R; \"g\")] | length > N", "P | capture(R) | length > 0", "P | [scan(R)] | length > 0", "P | sub(R; \"\") == W", "P | gsub(R; \"-\") | contains(\"-\")", "P as $p | [R, R] | any(. as $r | $p | test($r))", "P | test(R; \"x\")", "P | test(R; \"p\")", "P | splits(R) == W", "P | test(\"^\\(W)\")",
    // numbers
    "P > N", "P >= N", "P < N", "P <= N", "P == N", "P != N", "P > N and P < N", "P >= N and P <= N", "N < P", "P + 1 > N", "-P < N", "P % 2 == 0", "P * 2 == N", "P / 2 > N", "P - 1 == N", "P | tonumber > N", "P | tonumber? // 0 | . > N", "(P | tonumber? // 0) as $n | $n > N and $n < N", "P | floor == N", "P | tostring | tonumber == N", "P == nan", "P < nan", "nan < P", "[P] == [nan]", "P | . > W", "P > \"a\" and P < \"n\"", "P >= W", "P | length < N", "P == N or P == \"N\"",
    // types, members
    "P | type == \"string\"", "P | type == \"number\"", "P | type != \"object\"", "P | type | IN(\"array\", \"object\")", "P | isstring", "P | isarray", "P | isobject", "P | isnumber", "P | isboolean", "P | strings == W", "(P | strings) as $s | $s | startswith(W)", "P | numbers > N", "P | objects | length > N", "P | arrays | length > N", "P | scalars", "P | values == V", "P | nulls", "P | booleans", "P | iterables | length == 0", "type == \"object\" and P == V",
    "P | has(W)", "has(W)", "has(\"payload\")", "W | in(P)", "P | has(N)", "P | keys | index(W)", "P | keys[] | startswith(W)", "P | to_entries | any(.value == V)", "P | with_entries(select(.key == W)) | length > 0", "P | map_values(. == V) | any", "P | keys == [W]", "P | del(.name) == P", "P | paths == [W]", "P | [leaf_paths] | length > N", "P | any", "P | all", "P | add == V", "P | to_entries[] | select(.value == V) | .key == W", "P[W] == V", "P[W]? == V", "P | .[W]", "P[P] == V", "P[P]? == V", "P | getpath([W, W])",
    // arrays
    "any(P[]; . == V)", "any(P[]?; . == V)", "P | any(. == V)", "P | any(.[]; . == V)", "P | any(C)", "all(P[]; . != V)", "P | all(. == V)", "all(P[]?; . == V)", "[P[] | . == V] | any", "P | map(. == V) | any", "P | map(select(. == V)) | length > 0", "P | index(V)", "P | index(V) != null", "P | contains([V])", "P | contains([W])", "P | inside([V, V, V])", "[P[]?] | length > N", "[P[]? | select(. == V)] | length > 0", "first(P[]?) == V", "first(P[] | select(. == V))", "P[0] == V", "P[-1] == V", "P[N] == V", "P[0:1] == [V]", "P[] == V", "P[]? == V", "P[]?.name? == W", "any(P[]?; .name? == W)", "any(P[]; .name == W and .uid == W)", "any(P[]; startswith(W))", "any(P[]?; strings | test(R))", "P | sort | .[0] == V", "P | unique | length == 1", "P | reverse | .[0] == V", "P | flatten | index(V)", "P | min == V", "P | last == V", "P | first == V", "P | group_by(.) | length > N", "isempty(P[])", "isempty(P[]? | select(. == V)) | not", "P - [V] != P", "P + [V] == P", "[P[]?, V] | unique | length < N", "any(P[], P[]; . == V)", "any(P; . == V)", "all(P; . == V)", "any((P, P); . == V)", "all((P, P); . == V)", "any(empty; true)", "all(empty; false)", "[limit(N; P[]?)] | contains([V])", "P | nth(N) == V", "any(P[]?; any(.[]?; . == V))", "P | any(.[]?; type == \"string\" and contains(W))",
    // everywhere
    ".. == V", ".. | select(. == V)", "[..] | index(V)", "[.. | strings] | any(. == W)", "any(..; . == V)", "[.. | strings | select(startswith(W))] | length > 0", "any(.. | strings; test(R))", "[.[]?] | length > N", "any(.[]; . == V)", ".[] == V", "[paths] | length > N", "P | .. | .name? == W", "..|.name? == W", "first(.. | select(. == V))", "[recurse(.payload? | objects)] | length > N", "any(.payload[]?; . == V)", "any(.payload.columns[]?; contains(W)?)", ".payload.columns | any(.[]; . == V)", "any(.payload.columns | .[]?; tostring == W)",
    // alternatives
    "P // V", "(P // V) == V", "(P // \"\") == W", "(P // \"\" | contains(W))", "P // empty | . == V", "(P // P) == V", "(P // empty) as $x | $x == V", "P // false", "first(P, P | values) == V", "(P? // \"none\") != V", "(P | startswith(W))? // false", "[P, P | values][0] == V", "[P, P | select(. != null and . != \"\")][0] == V",
    // the prelude's own
    "machine_key == W", "machine_key | startswith(W)", "machine_key", "[machine_key] | inside([W, W])", ".machine | .serial_number // .hostname | . == W",
    // other ways round
    "P as {name: $n} | $n == W", ". as {type: $t} | $t == W", ". as {payload: {name: $n, action: $a}} | $n == W and $a == W", "P as [$a, $b] | $a == V or $b == V", ". as {$type, $source} | $type == W and $source == W", "[P, P] as [$a, $b] | $a == V and $b == V", "P as $x | ($x == V) as $c | $c and C", "reduce P[]? as $x (false; . or $x == V)", "reduce (P, P) as $x (0; . + 1) | . > N", "foreach P[]? as $x (0; . + 1; $x == V)", "label $f | (P[]? | if . == V then true, break $f else empty end)", "label $f | P == V | ., break $f", "def f: P; f == V", "def f: C; f", "def f: C; f and f", "def f($x): P == $x; f(V)", "def f(g): g; f(C)", "def f(g): P | g; f(. == V)", "def f(x): . == x; P | f(V)", "def is($x; $y): $x == $y; is(P; V)", "def f: def g: P; g == V; f", "def f: if . == null then false else . == V end; P | f", "def contains($x): . == $x; P | contains(W)", "def test(f): f; test(P == V)",
    // in the midst of changes
    "(P = V) | P == V", "(P |= 1) | P == 1", "del(P) | P == null", ". + {type: W} | .type == W", "P |= V | . == .", "{t: P, s: P} | .t == V and .s == V", "{a: P} | .a == V", "[P] | .[0] == V", "{type: P} | .type == V", "[P, P] | .[1] == V", "P + P == V", "(P | tojson | fromjson) == V", "P as $p | $p.name? == W", "with_entries(.) | P == V", "to_entries | map(select(.key == W)) | .[0].value == V", "{\"type\": .type} == {\"type\": W}", "{type, source} == {type: W, source: W}", "input_line_number? // true", "P | limit(1; .) == V", "P | first(., .) == V", "P | (., .) == V", "P | [., .] | .[0] == V",
    "now > N", "P | fromdate? // 0 | . > N", "(P | now) > N", "P == (now | todate)",
];

/// What holds conditions together.
const JOINTS: &[&str] = &[
    "C and C", "C and C", "C and C", "C and C", "C and C and C", "C or C", "C or C", "C or C or C", "C | not", "(C and C) | not", "(C or C) | not", "C and (C | not)", "C or (C | not)", "(C | not) and (C | not)", "(C | not | not)",
    "if C then C else C end", "if C then true else false end", "if C then false else true end", "if C then C else empty end", "if C then empty else C end", "if C then C elif C then C else false end", "if C then C end", "if (C, C) then C else C end", "if empty then C else C end", "if C then error else C end",
    "select(C)", "select(C) | C", "select(C) | select(C)", "select(C) | true", "select(C and C) | C", "select(C | not) | C", "select(C, C) | C", "(select(C), select(C)) | C", "select(C) // C", "select(select(C))", "[select(C)] | length > 0", "[select(C)] | length == 0", "isempty(select(C)) | not", "isempty(select(C))", "first(select(C))", "select(C) | not", "select(C) == .", "select(C) | P == V", "any(select(C); true)",
    "C // C", "(C)? // C", "C // error", "C // empty", "(C)?", "(C)? and C", "try C", "try C catch C", "try C catch false", "try C catch true", "try error catch C", "try error(P) catch . == V", "(C)?, C", "try (C and C) catch true", "try (C | not) catch C", "(C | not)?", "[C]  | any", "[C, C] | all", "[C, C] | any", "(C, C)", "(C, C) and (C, C)", "C and (C, C)", "(C, C) | not", "(C, C) or C", "first(C, C)", "last(C, C)", "limit(1; C, C)", "false, C", "null, C", "C, empty", "empty, C", "C, false", "C | ., .", "C | . and true", "C == true", "C == false", "C != true", "C | . == true", "C as $c | $c", "C as $c | C as $d | $c and $d", "C as $c | $c | not", ". as $e | $e | C", ". as $e | P | $e | C", "C as $c | if $c then C else false end", "[C] == [true]", "[C][0]", "[.] | .[0] | C", "[.][] | C", "{e: .} | .e | C", "{e: .} | .e.type == W", "reduce (C, C) as $c (false; . or $c)", "reduce (C, C) as $c (true; . and $c)", "label $f | if C then true, break $f else C end", "label $f | (C, C) | ., break $f", "def f: C; def g: C; f and g", "def f: C; f or (f | not)", "def f: C; . as $x | f", "def f(g): select(g); f(C) | C", "def f(g; h): g and h; f(C; C)", "(. | C) and (. | C)", ". | C", "C | tostring == \"true\"", "C | type == \"boolean\"", "any(C, C; .)", "all(C, C; .)", "any(.; C)", "all(.; C)", "map_values(.) | C", "del(.v) | C", "with_entries(.) | C", "P | tojson | fromjson | . == V",
    // errors and nothing, in places where they may or may not be seen
    "error or C", "C or error", "error and C", "C and error", "C and error(\"x\")", "empty and C", "C and empty", "empty or C", "C or empty", "error | not", "empty | not", "(error)? or C", "(error)? // C", "(P | error) or C", "(P | keys) and C", "C or (P | keys)", "C and (P | keys)", "(P | startswith(W)) or C", "(P | test(R)) or (P | test(R))", "(P | test(R)) and C", "C and (P | test(R))", "(P | startswith(W) | not) and C", "(P | tonumber) > N or C", "(P[] == V) or C", "(P[] == V) and C", "(P | .name) and C", "(P | .name | .name) or C", "(P.name == V) or C", "(P | not) or C", "(P | empty) // C", "(P | select(. == V)) and C", "(P | select(. == V)) or C", "C and true", "C or false", "C and false", "C or true", "true and C", "false or C", "null or C", "0 and C", "\"\" and C", "[] and C", "C and null", "1 | C", "null | C", "P | C",
];

/// What a filter says of an event.
const OUTCOMES: &[&str] = &[
    "C", "C", "C", "C", "C", "C", "select(C)", "select(C) | {title: P}", "select(C) | {title: \"\\(P) on \\(P)\", body: W}", "if C then {title: W} else empty end", "if C then {a: P} else null end", "select(C) | P", "select(C), (select(C) | {b: P})", "(select(C) | {a: 1}), (select(C) | {b: 2})",
    "P as $x | select(C) | {x: $x, y: P}", "select(C) | {key: machine_key}", "C | if . then {c: .} else . end", "select(C) | [P]", "select(C) | false", "select(C) | null, {late: true}", "{c: C} | select(.c)", "{title: P} | select(.title == V)", "select(C) | . as {type: $t} | {$t}", "C and C | select(.) | {and: .}", "select(C) | tojson | fromjson", "(select(C) | {a: P}) // (select(C) | {b: P})", "[C, C] | select(all) | {n: length}", "first(select(C) | {a: 1}, {b: 2})", "select(C) | {n: nan}", "select(C) | error({a: 1})", "try (select(C) | error({a: 1})) catch .", "select(C) | {e: .}", "select(C) | .payload", "select(C) | .payload.columns", "select(C) | .machine", "import", "select(C) | {now: now}", "if C then {a: 1} elif C then {b: 2} else false end", "P | objects | select(.name == W) | {n: .name}", "P | objects | select(.action == \"added\") | .columns | objects | select(C) | {t: .name}", ".payload? | objects | select(.action == \"added\") | .columns | objects | select(.path // \"\" | test(R)) | {p: .path}", "[.payload.columns[]? | select(. == V)] | select(length > 0) | {found: .}", "select(C) | {(P | tostring): 1}", "select(C) | {a: P, b: P, c: {d: [P]}}",
];

/// Definitions before a filter and what stands for them: imported modules and data. See `modules`.
const IMPORTED: &[&str] = &[
    "include \"common\"; C and is_added", "include \"common\"; column(\"name\") == W", "import \"common\" as c; c::is_added and C", "import \"common\" as c; c::named(W) | select(C) | {a: 1}", "import \"names\" as $n; P | IN($n[][])", "import \"names\" as $n; any($n[][]; . == \"sshd\") and C", "import \"names\" as $n; P as $x | $n[0] | index($x) | . != null", "include \"common\"; select(either(C; C))", "import \"deep/more\" as m; m::both(C; C)", "import \"deep/more\" as m; m::known and C",
];

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

pub struct Grower<'w> {
    pub words: &'w Words,
}

impl Grower<'_> {
    /// A whole filter.
    pub fn filter(&self, c: &mut Chance) -> Tree {
        let template = if c.percent(3) { c.pick(IMPORTED) } else { c.pick(OUTCOMES) };
        let template = if template == "import" { c.pick(IMPORTED) } else { template };
        let depth = c.below(DEPTH);
        self.fill(template, depth, c)
    }

    pub fn condition(&self, depth: usize, c: &mut Chance) -> Tree {
        let template = if depth > 0 && c.percent(75) { c.pick(JOINTS) } else { c.pick(CONDITIONS) };
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
            let near = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$');
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
                b'R' if alone => string(PATTERNS[c.below(PATTERNS.len())].0),
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
        let style = *c.one(&STYLES);
        path(keys, if style == Style::LastOptional && c.percent(50) { Style::Dots } else { style })
    }

    /// A string of the place, or a part of one.
    fn word(&self, words: &[J], c: &mut Chance) -> Tree {
        let from = if c.percent(10) { c.one(&self.words.odd) } else { c.one(words) };
        let word = match from {
            J::Str(s) => s.clone(),
            J::Arr(items) => items.iter().find_map(|i| if let J::Str(s) = i { Some(s.clone()) } else { None }).unwrap_or_else(|| "name".to_owned()),
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
        const ODD: &[&str] = &["0.0", "-1", "1.0", "1e3", "1e0", "1.5", "100000000000000000000", "9007199254740993", "9223372036854775807", "1793703433", "65536", "1e1000", "0.1"];
        if c.percent(70) { c.pick(SMALL).to_owned() } else { c.pick(ODD).to_owned() }
    }
}
