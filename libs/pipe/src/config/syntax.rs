//! A file that is no TOML: what is wrong, in the words of who writes it, and where that begins.

use std::ops::Range;

use super::finding::{Finding, SourceFile};
use super::mask;

pub(super) fn finding(file: &SourceFile, span: Range<usize>, message: &str) -> Finding {
    let before = file.text.get(..span.end).unwrap_or_default();
    // The parser notices at the end of the line, or of the file.
    if message.contains("string")
        && let Some(begin) = mask::unclosed(before)
    {
        let rest = file.text.get(begin..).unwrap_or_default();
        let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|q| rest.starts_with(q)).unwrap_or_default();
        return Finding::syntax(file, begin..begin + quotes.len(), format!("this text has no `{quotes}` at its end"));
    }
    let again = if message.starts_with("duplicate key") { first(&file.text, span.start) } else { None };
    match again {
        Some(line) => Finding::syntax(file, span, format!("duplicate key; line {line} has it already")),
        None => {
            let advice = ended(&file.text, span.start).unwrap_or_default();
            Finding::syntax(file, span, message.replace('\n', ", ") + advice)
        }
    }
}

/// What to do about a string that has ended right before `at`, where its line goes on with what must have been meant to be
/// in it: jq and SQL have quotes of their own.
fn ended(text: &str, at: usize) -> Option<&'static str> {
    let line = text.get(..at)?.rsplit('\n').next()?;
    if ["\"\"\"", "'''"].iter().any(|quotes| line.ends_with(quotes)) {
        return None;
    }
    let goes_on = text.get(at..)?.starts_with(|c: char| !c.is_whitespace() && !",]}#=".contains(c));
    match line.chars().next_back()? {
        '"' if goes_on => {
            Some("; the text ended at the `\"` before it: one that holds `\"` stands between `'` or `'''`")
        }
        '\'' if goes_on => Some("; the text ended at the `'` before it: one that holds `'` stands between `'''`"),
        _ => None,
    }
}

/// The line of the same header, or of the same key in the same table, above the one at `at`.
fn first(text: &str, at: usize) -> Option<usize> {
    let above = text.get(..at)?.matches('\n').count();
    let own = name(text.lines().nth(above)?)?;
    let header = |name: &str| name.starts_with('[');
    let lines: Vec<Option<&str>> = text.lines().take(above).map(name).collect();
    let table = if header(own) { 0 } else { lines.iter().rposition(|n| n.is_some_and(header)).map_or(0, |i| i + 1) };
    let found = lines.iter().skip(table).position(|n| *n == Some(own))?;
    Some(table + found + 1)
}

/// `[a.b]`, or the key that a line begins with.
fn name(line: &str) -> Option<&str> {
    let line = line.trim();
    match line.starts_with('[') {
        true => line.find(']').and_then(|end| line.get(..=end)),
        false => line.split_once('=').map(|(key, _)| key.trim()),
    }
}
