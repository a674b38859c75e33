//! Changes of one list of names in a manifest's text. Comments, order and the way it is written stay; nothing outside
//! of the list moves.

use std::ops::Range;

use super::plist::{self, Entry, Kind, Node};

/// What a change makes of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// The text.
    pub text: String,
    /// The names that were put in or taken away: what is as it should be already is not among them.
    pub names: Vec<String>,
}

/// Puts names at the end of the list `key` of the dictionary that the text holds; a list that is not there is made.
pub fn add(text: &str, key: &str, names: &[String]) -> Result<Edited, String> {
    let root = root(text)?;
    let list = list(&root, key)?;
    let mut fresh: Vec<String> = Vec::new();
    for name in names {
        if !list.is_some_and(|list| holds(list, name)) && !fresh.contains(name) {
            fresh.push(name.clone());
        }
    }
    if fresh.is_empty() {
        return Ok(Edited { text: text.to_owned(), names: fresh });
    }
    let style = Style::of(text, &root);
    let (at, with) = match list {
        Some(list) => style.in_list(list, &fresh),
        None => style.new_list(&root, key, &fresh),
    };
    let edited = spliced(text, at, &with)?;
    let after = self::root(&edited)?;
    let mut want: Vec<&str> = root.texts(key).collect();
    want.extend(fresh.iter().map(String::as_str));
    checked(&root, &after, key, &want)?;
    Ok(Edited { text: edited, names: fresh })
}

/// Takes names out of the list `key`; all of the same name go.
pub fn remove(text: &str, key: &str, names: &[String]) -> Result<Edited, String> {
    let root = root(text)?;
    let Some(list) = list(&root, key)? else { return Ok(Edited { text: text.to_owned(), names: Vec::new() }) };
    let mut gone: Vec<String> = Vec::new();
    let mut edited = text.to_owned();
    // From the end, so that what stands before keeps its place.
    for item in list.items().iter().rev() {
        let Some(name) = item.text().filter(|text| names.iter().any(|name| name == text)) else { continue };
        if !gone.iter().any(|known| known == name) {
            gone.insert(0, name.to_owned());
        }
        edited = spliced(&edited, line_of(text, &item.span, &list.inner), "")?;
    }
    if gone.is_empty() {
        return Ok(Edited { text: edited, names: gone });
    }
    let after = self::root(&edited)?;
    let want: Vec<&str> = root.texts(key).filter(|text| !names.iter().any(|name| name == text)).collect();
    checked(&root, &after, key, &want)?;
    if let Some(list) = after.get(key)
        && edited.get(list.inner.clone()).is_some_and(|inner| inner.trim().is_empty())
    {
        edited = spliced(&edited, list.span.clone(), "<array/>")?;
    }
    Ok(Edited { text: edited, names: gone })
}

/// The dictionary that a manifest is.
pub fn root(text: &str) -> Result<Node, String> {
    let root = plist::parse(text)?;
    if matches!(root.kind, Kind::Dict(_)) { Ok(root) } else { Err("it is no dictionary".to_owned()) }
}

fn list<'a>(root: &'a Node, key: &str) -> Result<Option<&'a Node>, String> {
    match root.get(key) {
        None => Ok(None),
        Some(list) if matches!(list.kind, Kind::Array(_)) => Ok(Some(list)),
        Some(_) => Err(format!("its `{key}` is no list")),
    }
}

fn holds(list: &Node, name: &str) -> bool {
    list.items().iter().any(|item| item.text() == Some(name))
}

/// That a change did what it should and nothing else: read again, everything but the list says the same.
fn checked(before: &Node, after: &Node, key: &str, want: &[&str]) -> Result<(), String> {
    let others = |node: &'_ Node| node.entries().iter().filter(|entry| entry.key != key).count();
    let same = before.entries().iter().filter(|entry| entry.key != key);
    let same = same.zip(after.entries().iter().filter(|entry| entry.key != key));
    let got: Vec<&str> = after.texts(key).collect();
    if others(before) == others(after) && same.into_iter().all(|(a, b)| says(a, b)) && got == want {
        Ok(())
    } else {
        Err("it is written in a way that cannot be changed safely".to_owned())
    }
}

fn says(a: &Entry, b: &Entry) -> bool {
    a.key == b.key && a.value.says(&b.value)
}

fn spliced(text: &str, at: Range<usize>, with: &str) -> Result<String, String> {
    match (text.get(..at.start), text.get(at.end..)) {
        (Some(before), Some(after)) => Ok([before, with, after].concat()),
        _ => Err("it is written in a way that cannot be changed safely".to_owned()),
    }
}

/// How a text is written.
struct Style<'a> {
    text: &'a str,
    newline: &'static str,
    /// One step of indentation.
    step: String,
    /// Whether values stand on lines of their own at all.
    lines: bool,
}

impl<'a> Style<'a> {
    fn of(text: &'a str, root: &Node) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let outer = indent(text, root.span.start).unwrap_or("");
        let first = root.entries().first().and_then(|entry| indent(text, entry.span.start));
        let step = match first {
            Some(first) => first.strip_prefix(outer).unwrap_or(first).to_owned(),
            None => "\t".to_owned(),
        };
        let within = text.get(root.span.clone()).unwrap_or_default();
        let lines = within.contains('\n') || (root.entries().is_empty() && text.trim_end().contains('\n'));
        Self { text, newline, step, lines }
    }

    /// A new line, indented; nothing in a text without lines.
    fn line(&self, indent: &str) -> String {
        if self.lines { format!("{}{indent}", self.newline) } else { String::new() }
    }

    fn strings(&self, names: &[String], line: &str) -> String {
        names.iter().map(|name| format!("{line}<string>{}</string>", plist::escaped(name))).collect()
    }

    /// Where names go in a list that is there, and what is written there.
    fn in_list(&self, list: &Node, names: &[String]) -> (Range<usize>, String) {
        let outer = line_indent(self.text, list.span.start);
        let line = self.line(&format!("{outer}{}", self.step));
        if let Some(last) = list.items().last() {
            let line = match indent(self.text, last.span.start) {
                Some(own) => self.line(own),
                None => String::new(),
            };
            let at = past_comments(self.text, last.span.end, list.inner.end);
            return (at..at, self.strings(names, &line));
        }
        let inner = self.text.get(list.inner.clone()).unwrap_or_default();
        if inner.trim().is_empty() {
            let strings = self.strings(names, &line);
            return (list.span.clone(), format!("<array>{strings}{}</array>", self.line(outer)));
        }
        // Comments only: they stay before.
        let at = list.inner.start + inner.trim_end().len();
        (at..at, self.strings(names, &line))
    }

    /// Where a list that is not there yet goes, and what is written there.
    fn new_list(&self, root: &Node, key: &str, names: &[String]) -> (Range<usize>, String) {
        let entries = root.entries();
        let outer = line_indent(self.text, root.span.start);
        let first = entries.first().and_then(|entry| indent(self.text, entry.span.start));
        let own = first.map_or_else(|| format!("{outer}{}", self.step), str::to_owned);
        let line = self.line(&own);
        let between = entries.iter().find_map(|entry| {
            let between = self.text.get(entry.span.end..entry.value.span.start)?;
            (matches!(entry.value.kind, Kind::Array(_)) && between.trim().is_empty()).then(|| between.to_owned())
        });
        let between = between.unwrap_or_else(|| line.clone());
        let strings = self.strings(names, &self.line(&format!("{own}{}", self.step)));
        let made = format!("{line}<key>{key}</key>{between}<array>{strings}{line}</array>");
        if entries.is_empty() {
            let inner = self.text.get(root.inner.clone()).unwrap_or_default();
            if inner.trim().is_empty() {
                return (root.span.clone(), format!("<dict>{made}{}</dict>", self.line(outer)));
            }
            let at = root.inner.start + inner.trim_end().len();
            return (at..at, made);
        }
        // Keys that are in order stay so.
        let sorted = entries.is_sorted_by(|a, b| a.key <= b.key);
        let before = entries.iter().take_while(|entry| !sorted || entry.key.as_str() < key).last();
        let at = match before {
            Some(entry) => past_comments(self.text, entry.value.span.end, root.inner.end),
            None => root.inner.start,
        };
        (at..at, made)
    }
}

/// What stands before `at` on its line, if that is nothing but spaces.
fn indent(text: &str, at: usize) -> Option<&str> {
    let before = text.get(..at)?;
    let line = before.get(before.rfind('\n')? + 1..)?;
    line.trim().is_empty().then_some(line)
}

/// The indentation of the line on which `at` is.
fn line_indent(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    let line = before.get(before.rfind('\n').map_or(0, |n| n + 1)..).unwrap_or_default();
    line.get(..line.len() - line.trim_start().len()).unwrap_or_default()
}

/// Behind the comments that begin on the same line, as they belong to what stands before them.
fn past_comments(text: &str, mut at: usize, end: usize) -> usize {
    while let Some(rest) = text.get(at..end) {
        let trimmed = rest.trim_start_matches([' ', '\t']);
        if !trimmed.starts_with("<!--") {
            break;
        }
        let Some(length) = trimmed.find("-->") else { break };
        at += rest.len() - trimmed.len() + length + "-->".len();
    }
    at
}

/// The whole line of a value that stands alone on it, else the value.
fn line_of(text: &str, span: &Range<usize>, within: &Range<usize>) -> Range<usize> {
    let Some(own) = indent(text, span.start) else { return span.clone() };
    let rest = text.get(span.end..within.end).unwrap_or_default();
    let blank = rest.split('\n').next().unwrap_or_default();
    if !blank.trim().is_empty() || !rest.contains('\n') {
        return span.clone();
    }
    let start = span.start - own.len();
    if start < within.start { span.clone() } else { start..span.end + blank.len() + 1 }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
