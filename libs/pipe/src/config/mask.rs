//! A line of the configuration as it may be shown: findings are printed and logged, so of the values on a line only the
//! one that is meant is drawn, and never that of a secret. A probe has no secrets, so its lines are shown but for what
//! looks as if it had gone astray.

use std::ops::Range;

/// What stands for a value that is not shown; always the same, so that it does not tell a length.
const HIDDEN: &str = "***";

/// What of a line may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// Keys, and the value under the caret.
    Meant,
    /// Keys, and values that nobody would keep secret: a line of a probe, be it TOML or not.
    Plain,
    /// Keys only: the value under the caret is a secret.
    Keys,
    /// Keys before the caret: there the line stops being TOML, so nobody knows what the rest of it is.
    Before,
}

/// The line that holds `span.start`, and its caret: both lines of the picture without their margins.
pub(super) fn draw(text: &str, span: Range<usize>, show: Show) -> (String, String) {
    let at = span.start.min(text.len());
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |i| i + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let caret = at - start..span.end.clamp(at, start + line.len()).saturating_sub(start);
    let open = open_string(text.get(..start).unwrap_or_default());
    let first = line.get(..caret.start).is_none_or(|before| before.trim().is_empty());
    let pieces = match show {
        Show::Before if first || open.is_some() || is_header(line) => first_key(line, open.is_some()),
        Show::Before => broken(line, caret.start),
        _ => pieces(line, open, caret.clone(), show),
    };
    let (mut drawn, mut left, mut right) = (String::new(), None, None);
    for (part, seen) in pieces.into_iter().filter(|(part, _)| !part.is_empty()) {
        let whole = line.get(part.clone()).unwrap_or_default();
        // Where a byte of the line comes to stand.
        let place = |byte: usize| match seen {
            true => drawn.chars().count() + line.get(part.start..byte).map_or(0, |t| t.chars().count()),
            false => drawn.chars().count(),
        };
        if left.is_none() && part.contains(&caret.start) {
            left = Some(place(caret.start));
        }
        if caret.end > caret.start && part.contains(&(caret.end - 1)) {
            right = Some(place(caret.end) + if seen { 0 } else { HIDDEN.len() });
        }
        drawn.push_str(if seen { whole } else { HIDDEN });
    }
    let left = left.unwrap_or_else(|| drawn.chars().count());
    let width = right.unwrap_or(left + 1).saturating_sub(left).max(1);
    let pad: String = drawn.chars().chain(std::iter::repeat(' ')).take(left).map(blank).collect();
    (drawn, pad + &"^".repeat(width))
}

fn blank(c: char) -> char {
    if c == '\t' { c } else { ' ' }
}

/// The line in pieces, each shown or not. `open`: the quotes of a string that began on an earlier line.
fn pieces(line: &str, open: Option<&'static str>, caret: Range<usize>, show: Show) -> Vec<(Range<usize>, bool)> {
    if open.is_none() && is_header(line) {
        return vec![(0..line.len(), true)];
    }
    let meant = line.get(caret.clone()).unwrap_or_default();
    // The caret under a whole table means the table, not what is in it; in a string it means the string.
    let inside = !(meant.starts_with('{') || (meant.starts_with('[') && meant.contains('{')));
    let mut all = Vec::new();
    let mut at = 0;
    // Whether values of the last key may be seen.
    let mut plainly = false;
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or_default();
        let (end, plain) = match (open, first) {
            (Some(quotes), _) if at == 0 => (rest.find(quotes).map_or(line.len(), |i| i + quotes.len()), false),
            (_, '#') => (line.len(), false),
            (_, '"' | '\'') => (at + string_len(rest), false),
            (_, c) if is_structure(c) => (at + c.len_utf8(), true),
            _ => (at + rest.find(|c| is_structure(c) || "#\"'".contains(c)).unwrap_or(rest.len()), false),
        };
        let after = line.get(end..).unwrap_or_default().trim_start();
        // `==` stands in no TOML, but in jq whose quotes have gone astray.
        let key = first != '#' && after.starts_with('=') && !(show == Show::Plain && after.starts_with("=="));
        let under = at < caret.end.max(caret.start + 1) && caret.start < end;
        let text = line.get(at..end).unwrap_or_default();
        if key && !plain {
            plainly = show == Show::Plain && is_of_probe(text);
        }
        let within = inside || (at..end).contains(&caret.start);
        let meant = under && within && matches!(show, Show::Meant | Show::Plain);
        let shown = meant || (plainly && !text.contains("://"));
        all.push((at..end, plain || key || (shown && first != '#')));
        at = end;
    }
    all
}

/// What a probe may say, its query and its scope too: no secret is among it.
const OF_PROBE: [&str; 30] = [
    "scope",
    "platforms",
    "units",
    "tags",
    "groups",
    "machines",
    "not_platforms",
    "not_units",
    "not_tags",
    "not_groups",
    "not_machines",
    "query",
    "sql",
    "interval",
    "snapshot",
    "removed",
    "version",
    "tag",
    "compliance",
    "filter",
    "severity",
    "act",
    "by",
    "until",
    "throttle",
    "window",
    "count",
    "within",
    "shadow",
    "first_run",
];

/// Whether it is a key of a probe, or a slip of the pen for one: what it holds is no secret.
fn is_of_probe(key: &str) -> bool {
    let slips = (key.chars().count() / 3).min(2);
    let last = last_part(key);
    OF_PROBE.iter().any(|known| strsim::damerau_levenshtein(last, known) <= slips)
}

fn last_part(key: &str) -> &str {
    key.trim_matches(['"', '\'']).rsplit('.').next().unwrap_or_default()
}

/// Whether the line at `at`, which is no TOML, is one of a probe all the same: it stands in its table, begins with a key
/// of a probe, nothing else on it is given a value, and it has no comment. Where its strings end nobody knows.
pub(super) fn is_line_of_probe(text: &str, at: usize) -> bool {
    let above = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |i| i + 1);
    let (above, line) = text.split_at_checked(above).unwrap_or_default();
    let line = line.lines().next().unwrap_or_default();
    let header = above.lines().map(str::trim).rfind(|line| line.starts_with('['));
    let begins = line.split_once('=').is_some_and(|(key, _)| OF_PROBE.contains(&last_part(key.trim())));
    let of_probe = header.is_some_and(|header| header.starts_with("[probe.") && is_header(header));
    of_probe
        && begins
        && !line.contains('#')
        && open_string(above).is_none()
        && given(line).all(|key| OF_PROBE.contains(&key))
}

/// The words before each `=` of a line that is no comparison: `a` of `a = 1`, `"a"=1` and `x.a = 1`.
fn given(line: &str) -> impl Iterator<Item = &str> {
    let signs = line.match_indices('=').map(|(at, _)| (line.get(..at).unwrap_or_default(), line.get(at + 1..)));
    let alone = signs.filter(|(before, after)| {
        !before.ends_with(['=', '!', '<', '>']) && !after.is_some_and(|after| after.starts_with('='))
    });
    let word = |c: char| !(c.is_alphanumeric() || "_-".contains(c));
    alone
        .map(move |(before, _)| before.trim_end().trim_end_matches(['"', '\'']).rsplit(word).next().unwrap_or_default())
}

fn first_key(line: &str, inside: bool) -> Vec<(Range<usize>, bool)> {
    if !inside && is_header(line) {
        return vec![(0..line.len(), true)];
    }
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-. \t".contains(c);
    let key = line.find('=').filter(|at| !inside && line.get(..*at).is_some_and(|key| key.chars().all(bare)));
    let seen = key.map_or(0, |at| at + 1);
    let space = line.get(seen..).map_or(0, |rest| rest.len() - rest.trim_start().len());
    vec![(0..seen + space, true), (seen + space..line.len(), false)]
}

/// A line that is TOML up to `until`: its keys and brackets until there. A key stands first, or in a table behind `{` or
/// `,`; a word before any other `=` may be a value that went astray.
fn broken(line: &str, until: usize) -> Vec<(Range<usize>, bool)> {
    let (mut all, mut tables, mut begins) = (Vec::new(), Vec::new(), true);
    for (part, plain) in pieces(line, None, 0..0, Show::Keys) {
        let part = part.start.min(until)..part.end.min(until);
        let text = line.get(part.clone()).unwrap_or_default();
        let structure = text.starts_with(is_structure);
        let named = line.get(part.end..).is_some_and(|after| after.trim_start().starts_with('='));
        all.push((part, plain && (structure || (begins && named))));
        match text.chars().next() {
            Some(bracket @ ('{' | '[')) => tables.push(bracket),
            Some('}' | ']') => drop(tables.pop()),
            _ => {}
        }
        begins = match text.trim() {
            "" => begins,
            "{" | "," => tables.last() == Some(&'{'),
            _ => false,
        };
    }
    all.push((until..line.len(), false));
    all
}

/// Where the string begins that has no end, if `text` stops being TOML for want of one.
pub(super) fn unclosed(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(next) = text.get(at..)?.find(['"', '\'', '#']) {
        at += next;
        let rest = text.get(at..)?;
        if rest.starts_with('#') {
            at += rest.find('\n')?;
            continue;
        }
        let length = string_len(rest);
        let string = rest.get(..length)?;
        let quotes = triple(rest).unwrap_or(rest.get(..1)?);
        if length < 2 * quotes.len() || !string.ends_with(quotes) || escaped(string, quotes) {
            return Some(at);
        }
        at += length;
    }
    None
}

/// Whether the quotes at the end of a string belong to what it holds: `"a\"`.
fn escaped(string: &str, quotes: &str) -> bool {
    let inner = string.strip_suffix(quotes).unwrap_or(string);
    quotes.starts_with('"') && inner.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

/// `[a.b]`, also while its end is missing.
fn is_header(line: &str) -> bool {
    let name = line.trim().trim_start_matches('[');
    let known = |c: char| c.is_ascii_alphanumeric() || "_-. ]".contains(c);
    line.trim_start().starts_with('[') && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(known)
}

fn is_structure(c: char) -> bool {
    c.is_whitespace() || ",=[]{}".contains(c)
}

/// The quotes of a string that has begun in `text` and not ended.
fn open_string(text: &str) -> Option<&'static str> {
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\'', '#']) {
        rest = rest.get(at..).unwrap_or_default();
        let skip = match rest.starts_with('#') {
            true => rest.find('\n').unwrap_or(rest.len()),
            false => string_len(rest),
        };
        if let Some(quotes) = triple(rest)
            && (skip < 6 || !rest.get(..skip).is_some_and(|s| s.ends_with(quotes)))
        {
            return Some(quotes);
        }
        rest = rest.get(skip..).unwrap_or_default();
    }
    None
}

fn triple(text: &str) -> Option<&'static str> {
    ["\"\"\"", "'''"].into_iter().find(|quotes| text.starts_with(quotes))
}

/// Bytes of the string that `text` begins with, to the end of the line (of the text for one of many lines) if it has no
/// end.
fn string_len(text: &str) -> usize {
    let (quotes, end) = match triple(text) {
        Some(quotes) => (quotes, text.len()),
        None => (text.get(..1).unwrap_or_default(), text.find('\n').unwrap_or(text.len())),
    };
    let mut at = quotes.len();
    while at < end {
        let Some(rest) = text.get(at..end) else { break };
        if rest.starts_with(quotes) {
            // Up to two more quotes may belong to the string itself.
            let more = rest.chars().skip(quotes.len()).take_while(|c| quotes.len() == 3 && quotes.starts_with(*c));
            return at + quotes.len() + more.count().min(2);
        }
        let escape = rest.starts_with('\\') && quotes.starts_with('"');
        at += rest.chars().take(if escape { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, meant: &str, show: Show, want: (&str, &str)) {
        let at = text.find(meant).unwrap_or(0);
        let (line, caret) = draw(text, at..at + meant.len(), show);
        assert_eq!((line.as_str(), caret.as_str()), want, "{text}");
    }

    #[test]
    fn only_what_is_meant_is_seen() {
        check(
            "smtp = { user = \"ada\", pasword = \"hunter2\", port = 25 } # hunter3",
            "pasword",
            Show::Meant,
            ("smtp = { user = ***, pasword = ***, port = *** } ***", "                     ^^^^^^^"),
        );
        check(
            "a = { run = \"nro\", b = 's' }",
            "\"nro\"",
            Show::Meant,
            ("a = { run = \"nro\", b = *** }", "            ^^^^^"),
        );
        check("a = [\"x\", \"y\"]\n", "[\"x\", \"y\"]", Show::Meant, ("a = [\"x\", \"y\"]", "    ^^^^^^^^^^"));
        check(
            "login = { token = \"s\" }",
            "{ token = \"s\" }",
            Show::Meant,
            ("login = { token = *** }", "        ^^^^^^^^^^^^^^^"),
        );
        check("password = 12345", "12345", Show::Keys, ("password = ***", "           ^^^"));
        check("\tü = 'é\\', x = 5", "x", Show::Meant, ("\tü = ***, x = ***", "\t         ^"));
        check("[stage.act]", "[stage.act]", Show::Meant, ("[stage.act]", "^^^^^^^^^^^"));
        // A line of a probe.
        check("severty = \"major\" # why", "severty", Show::Plain, ("severty = \"major\" ***", "^^^^^^^"));
        let query = "query = { sql = \"select 1\", interval = '1h', removd = false }";
        check(query, "removd", Show::Plain, (query, &format!("{}^^^^^^", " ".repeat(45))));
        let astray = "scope = { unit = 5, pasword = 'x', tags = ['y'] }";
        check(astray, "unit", Show::Plain, ("scope = { unit = 5, pasword = ***, tags = ['y'] }", "          ^^^^"));
        check("by = 'https://x/T0', act = 1", "act", Show::Plain, ("by = ***, act = 1", "          ^^^"));
        check("key = 'x', act = []", "act", Show::Plain, ("key = ***, act = []", "           ^^^"));
        check("x = '''\nsecret = 1\n''', bz = 2", "bz", Show::Plain, ("***, bz = ***", "     ^^"));
        // Inside a string of many lines everything is its value.
        check("a = '''\nsecret = 1\n''', b = 2", "cret", Show::Keys, ("***", "^^^"));
        check("a = '''\nfoo(.x) | y = 1\n'''", ".x", Show::Meant, ("foo(.x) | y = 1", "    ^^"));
        check("a = \"\"\"x\"\"\"\"\nb = 1", "b", Show::Meant, ("b = ***", "^"));
    }

    #[test]
    fn a_line_that_stops_being_toml_shows_its_keys_until_there() {
        check("password = hunter2\n", "hunter2", Show::Before, ("password = ***", "           ^^^"));
        check("password = \"hun\"ter2=x\"", "ter2", Show::Before, ("password = ******", "              ^^^"));
        check("password = hunter2=x", "=x", Show::Before, ("password = ******", "              ^^^"));
        check("a = [1, 4711 = 3]", "= 3", Show::Before, ("a = [***, *** ***", "              ^^^"));
        check("hunter2", "hunter2", Show::Before, ("***", "^^^"));
        check("[stage.receive\n", "\n", Show::Before, ("[stage.receive", "              ^"));
        check("a = \"\"\"\nAbcd=\n", "Abcd", Show::Before, ("***", "^^^"));
        check("a = 1\na = 2", "a = 2", Show::Before, ("a = ***", "^^^^^^^"));
        check("", "", Show::Before, ("", "^"));
        check(
            "query = { sql = \"select, interval = \"30s\" }",
            "30s",
            Show::Before,
            ("query = { sql = ******", "                   ^^^"),
        );
        check(
            "login = { user = 'a', token = \"hunter2, x = 1 }",
            "\"hunter2",
            Show::Before,
            ("login = { user = ***, token = ***", "                              ^^^"),
        );
        check("filter = '{title: .a}'", "{title", Show::Meant, ("filter = '{title: .a}'", "          ^^^^^^"));
    }

    #[test]
    fn a_string_without_an_end_is_found_where_it_begins() {
        for (text, want) in [
            ("a = \"x\"\nb = \"y\n", Some(12)),
            ("a = 'x\nb = 'y'", Some(4)),
            ("a = \"x\\\"\n", Some(4)),
            ("a = \"x\\\\\"\n", None),
            ("a = \"\"\"\nx\"\"\n", Some(4)),
            ("a = '''\nx''\n''''\nb = 2 # it's", None),
            ("a = \"\" # \"", None),
            ("a = \"", Some(4)),
        ] {
            assert_eq!(unclosed(text), want, "{text}");
        }
    }
}
