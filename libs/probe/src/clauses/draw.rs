//! A filter's source with each clause underlined, and what came of it at its side.

use std::fmt::Write as _;

use event::printable;

use super::{Clause, Clauses, Explained, Kind, Seen};

/// Longest piece of a source line drawn at once, in characters.
const WIDTH: usize = 100;
/// Pieces more that are drawn of the line of the clause that decided, where it is longer.
const MORE: usize = 2;

/// What a piece of a drawing is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Text.
    Plain,
    /// Beside the point.
    Dim,
    /// It holds.
    Good,
    /// It does not.
    Bad,
    /// An error, or some of each.
    Odd,
}

/// How it went with a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Some of each.
    Both,
    /// An error of jq, or a limit.
    Error,
    /// A value that goes on.
    Value,
    /// Something before it decided.
    NotReached,
}

impl Came {
    /// One word, for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Both => "both",
            Self::Error => "error",
            Self::Value => "value",
            Self::NotReached => "not_reached",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::True => "✓",
            Self::False => "✗",
            Self::Both => "✓✗",
            Self::Error => "!",
            Self::Value => "→",
            Self::NotReached => "·",
        }
    }

    /// What it is for whoever reads it.
    pub fn tone(self) -> Tone {
        match self {
            Self::True => Tone::Good,
            Self::False => Tone::Bad,
            Self::Both | Self::Error => Tone::Odd,
            Self::Value | Self::NotReached => Tone::Dim,
        }
    }
}

/// How it went with a clause.
pub fn came(clause: &Clause, seen: &Seen) -> Came {
    match (seen.truthy > 0, seen.falsy + seen.empty > 0) {
        _ if seen.runs == 0 => Came::NotReached,
        _ if seen.errors > 0 => Came::Error,
        (false, false) => Came::NotReached,
        _ if matches!(clause.kind, Kind::Step | Kind::Result) && seen.truthy + seen.falsy > 0 => Came::Value,
        (true, false) => Came::True,
        (false, true) => Came::False,
        (true, true) => Came::Both,
    }
}

/// The same in words, with the values seen.
pub fn words(clause: &Clause, seen: &Seen) -> String {
    let values = |text: &str, values: &[String]| format!("{text} = {}", values.join(", "));
    let operands = || -> Vec<String> {
        let each = clause.operands.iter().zip(&seen.operands).filter(|(_, v)| !v.is_empty());
        each.map(|(text, v)| values(&one_line(text), v)).collect()
    };
    let mut words = match came(clause, seen) {
        Came::NotReached => "not reached".to_owned(),
        Came::Error => {
            let error = seen.error.clone().unwrap_or_default();
            std::iter::once(error).chain(operands()).collect::<Vec<_>>().join("; ")
        }
        Came::Value => seen.values.join(", "),
        _ if clause.kind == Kind::Guard => {
            if seen.truthy > 0 { "lets it pass" } else { "lets nothing pass" }.to_owned()
        }
        Came::False if seen.falsy == 0 && clause.operands.is_empty() => "gives nothing".to_owned(),
        Came::False if seen.falsy == 0 => {
            std::iter::once("gives nothing".to_owned()).chain(operands()).collect::<Vec<_>>().join("; ")
        }
        _ if clause.operands.is_empty() => seen.values.join(", "),
        _ => operands().join("; "),
    };
    let outputs = seen.truthy + seen.falsy + seen.empty + seen.errors;
    if outputs > 1 {
        let _ = write!(words, " ({} of {outputs} true)", seen.truthy);
    }
    printable(&words)
}

/// That what came of a clause is turned round, if it is.
pub fn negation(clause: &Clause, seen: &Seen) -> &'static str {
    if clause.negated && came(clause, seen) != Came::NotReached { " (negated by `not`)" } else { "" }
}

/// The source lines that hold clauses, each clause underlined below; a line is made of pieces, each of one tone.
pub fn draw(source: &str, clauses: &Clauses, explained: &Explained) -> Vec<Vec<(Tone, String)>> {
    let clauses: Vec<(&Clause, &Seen)> = clauses.clauses().iter().zip(&explained.seen).collect();
    let gutter = clauses.iter().map(|(c, _)| c.line).max().unwrap_or(0).to_string().len();
    let margin = || (Tone::Dim, format!("{:gutter$} │", ""));
    let plain = |text: String| (Tone::Plain, text);
    let decided = explained.decided.and_then(|i| clauses.get(i));
    let mut more = MORE;
    let mut out = Vec::new();
    for (number, line) in (1..).zip(source.lines()) {
        let here: Vec<_> = clauses.iter().filter(|(c, _)| c.line == number).collect();
        if here.is_empty() {
            continue;
        }
        let mut label = number.to_string();
        let mut left_out = false;
        for (from, piece) in pieces(line) {
            let to = from + piece.chars().count();
            let begins = |c: &Clause| (from..to).contains(&(c.column - 1));
            let goes_on = |c: &Clause| c.line == number && c.column <= from && from < end(c);
            let rest = decided.filter(|(c, _)| goes_on(c) && more > 0);
            // The rest of a long clause says no more than its beginning, unless it decided.
            if from > 0 && rest.is_none() && !here.iter().any(|(c, _)| begins(c)) {
                if !std::mem::replace(&mut left_out, true) {
                    out.push(vec![margin(), plain(" …".into())]);
                }
                continue;
            }
            left_out = false;
            let text = format!(" {}", printable(piece.trim_end()));
            out.push(vec![(Tone::Dim, format!("{label:>gutter$} │")), plain(text)]);
            label.clear();
            if let Some((clause, seen)) = rest {
                more -= 1;
                let under = "─".repeat(end(clause).min(from + piece.trim_end().chars().count()) - from);
                out.push(vec![margin(), plain(" ".into()), (came(clause, seen).tone(), under)]);
            }
            for (clause, seen) in here.iter().filter(|(c, _)| begins(c)) {
                let width = (end(clause).min(to) + 1 - clause.column).max(1);
                let came = came(clause, seen);
                let space = " ".repeat(clause.column - from);
                let under = format!("{} {}", "─".repeat(width), came.mark());
                let mut line = vec![margin(), plain(space), (came.tone(), under)];
                let words = words(clause, seen) + negation(clause, seen);
                if !words.is_empty() {
                    line.push(plain(" ".into()));
                    line.push((if came == Came::NotReached { Tone::Dim } else { Tone::Plain }, words));
                }
                out.push(line);
            }
        }
    }
    out
}

/// The column (from 0) behind what a clause has of its first line.
fn end(clause: &Clause) -> usize {
    clause.column - 1 + clause.text.lines().next().unwrap_or_default().chars().count()
}

/// A long line in pieces that fit, each with the column (from 0) at which it begins; broken at spaces where there are any.
fn pieces(line: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let (mut from, mut all) = (0, Vec::new());
    while let Some(rest) = chars.get(from..).filter(|rest| !rest.is_empty()) {
        let room = rest.get(..WIDTH.min(rest.len())).unwrap_or_default();
        let space = room.iter().rposition(|c| *c == ' ').map(|i| i + 1).filter(|i| *i > WIDTH / 2);
        let length = if rest.len() > WIDTH { space.unwrap_or(WIDTH) } else { rest.len() };
        all.push((from, rest.iter().take(length).collect()));
        from += length;
    }
    all
}

/// A clause in one line, shortened.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    cut(&words.join(" "), WIDTH)
}

/// A text of at most so many characters; of a longer one the beginning.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::{Limits, NoModules, parse};

    fn drawn(source: &str, event: &str) -> String {
        let clauses = Clauses::new(source, "t.jq", &NoModules).unwrap();
        let explained = clauses.explain(&parse(event.as_bytes()).unwrap(), 0, &Limits::default());
        let line =
            |line: Vec<(Tone, String)>| format!("  {}\n", line.into_iter().map(|(_, text)| text).collect::<String>());
        draw(source, &clauses, &explained).into_iter().map(line).collect()
    }

    #[test]
    fn a_line_under_each_clause() {
        let source = "# title\n\tselect(.a == 1 and (.b | startswith(\"x\")))\n| objects\n| {t: .b}";
        let want = "  2 │  select(.a == 1 and (.b | startswith(\"x\")))\n    \
                    │         ─────── ✓ .a = 1\n    \
                    │                      ──────────────────── ✗ .b = \"y\"\n  \
                    3 │ | objects\n    │   ─────── · not reached\n  4 │ | {t: .b}\n    │   ─────── · not reached\n";
        assert_eq!(drawn(source, r#"{"a":1,"b":"y"}"#), want);
        let want = "  1 │ any(.[]; . == 2)\n    │     ─── → 1, 2 (2 of 2 true)\n    \
                    │          ────── ✓✗ . = 1, 2 (1 of 2 true)\n";
        assert_eq!(drawn("any(.[]; . == 2)", "[1,2,3]"), want);
        let want = "  1 │ .a | startswith(\"x\") | not\n    │ ──────────────────── ✓ .a = \"xy\" (negated by `not`)\n";
        assert_eq!(drawn(".a | startswith(\"x\") | not", r#"{"a":"xy"}"#), want);
        assert!(drawn(".a | tonumber > 1", r#"{"a":"\u001b[31m\u202ex"}"#).contains("! "));
    }

    #[test]
    fn of_a_long_clause_the_beginning_is_drawn() {
        let list: Vec<String> = (0..100).map(|n| format!("\"ü{n:06}\"")).collect();
        let drawn = drawn(&format!(".a | IN({}) and .b == 1", list.join(", ")), r#"{"a":"x"}"#);
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines.len() <= 10 && lines.iter().all(|l| l.chars().count() < 120), "{drawn}");
        assert_eq!(lines.iter().filter(|l| l.ends_with("│ …")).count(), 1, "{drawn}");
        let [above, last] = lines.last_chunk().unwrap();
        let column = last.chars().position(|c| c == '─').unwrap();
        assert_eq!(above.chars().skip(column).collect::<String>(), ".b == 1", "{drawn}");
        assert_eq!([cut("äöü", 3), cut("äöü", 2)], ["äöü", "äö…"]);
    }

    #[test]
    fn of_the_clause_that_decided_more_is_drawn() {
        let calls: Vec<String> = (0..16).map(|n| format!("ltrimstr(\"ü{n:06}\")")).collect();
        let source = format!(".b == 1 and (.a | {} | tonumber > 5)", calls.join(" | "));
        let lines = |event: &str| -> Vec<String> {
            let drawn = drawn(&source, event);
            drawn.lines().map(|line| line.chars().skip(6).collect()).collect()
        };
        let all = lines(r#"{"a":"x","b":1}"#);
        assert_eq!(all.iter().filter(|l| l.starts_with("ltrimstr")).count(), MORE, "{all:#?}");
        for rows in all.windows(2).filter(|rows| rows[0].starts_with("ltrimstr")) {
            assert_eq!(rows[1], "─".repeat(rows[0].chars().count()), "{all:#?}");
        }
        assert_eq!(all.last().unwrap(), "…");
        let all = lines(r#"{"a":"x","b":2}"#);
        assert_eq!((all.len(), all.last().unwrap().as_str()), (4, "…"), "it was not reached: {all:#?}");
    }

    #[test]
    fn long_lines_are_drawn_in_pieces_and_nothing_of_an_event_steers_the_terminal() {
        let source = format!("{} or .last == 2", vec![".abcdefgh == 1"; 20].join(" or "));
        let drawn = drawn(&source, r#"{"last":"\u001b]0;x\u0007\u202e\u009b31m"}"#);
        assert!(drawn.lines().all(|l| l.chars().count() < 200), "{drawn}");
        assert_eq!(drawn.matches('✗').count(), 21, "{drawn}");
        let last = drawn.lines().last().unwrap();
        assert!(last.contains("✗ .last = ") && !drawn.contains(['\u{1b}', '\u{202e}', '\u{9b}', '\u{7}']), "{drawn}");
        let above: Vec<&str> = drawn.lines().collect();
        let column = last.chars().position(|c| c == '─').unwrap();
        let piece = above.iter().rfind(|l| l.contains(".last ==") && !l.contains('─')).unwrap();
        assert_eq!(piece.chars().skip(column).take(5).collect::<String>(), ".last");
    }
}
