//! One table of the configuration, read key by key: wrong types and unknown keys become findings with their place.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Secret;
use super::finding::{Finding, Shared, SourceFile};
use super::words::{parse_duration, parse_size};

#[derive(Debug, Clone)]
enum Item {
    Text(String),
    Int(i64),
    Bool(bool),
    List(Vec<Spot>),
    Table(Vec<Entry>),
    Other(&'static str),
}

#[derive(Debug, Clone)]
struct Spot {
    span: Range<usize>,
    item: Item,
}

impl Spot {
    /// Where this word stands last.
    fn last(&self, word: &str) -> Option<Range<usize>> {
        match &self.item {
            Item::Text(text) => (text == word).then(|| self.span.clone()),
            Item::List(items) => items.iter().rev().find_map(|item| item.last(word)),
            Item::Table(entries) => entries.iter().rev().find_map(|entry| entry.value.last(word)),
            _ => None,
        }
    }
}

impl Entry {
    /// Adds the environment variables that are named here: `{ env = "A" }` and `env = ["A", "B"]`.
    fn variables<'a>(&'a self, names: &mut Vec<&'a str>) {
        match (&self.value.item, self.key == "env") {
            (Item::Text(name), true) => names.push(name),
            (Item::List(items), is_env) => items.iter().for_each(|item| match &item.item {
                Item::Text(name) if is_env => names.push(name),
                Item::Table(entries) => entries.iter().for_each(|entry| entry.variables(names)),
                _ => {}
            }),
            (Item::Table(entries), _) => entries.iter().for_each(|entry| entry.variables(names)),
            _ => {}
        }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    key: String,
    key_span: Range<usize>,
    value: Spot,
}

/// One table with its place. Each question marks its key as known; [`Settings::finish`] reports the rest.
#[derive(Debug, Clone)]
pub struct Settings {
    file: Shared,
    path: String,
    name: String,
    span: Range<usize>,
    entries: Vec<Entry>,
    known: Vec<String>,
    /// Keys that were read as secrets: no finding shows their values.
    secrets: Vec<String>,
    findings: Vec<Finding>,
}

/// Where a table begins. Its line is counted when it is told: of thousands of tables in a file hardly one ever is.
pub(super) struct Begin {
    file: Shared,
    at: usize,
}

/// `probes/a.toml:3`
impl std::fmt::Display for Begin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let before = self.file.text.get(..self.at).unwrap_or_default();
        write!(f, "{}:{}", self.file.path.display(), before.matches('\n').count() + 1)
    }
}

impl Settings {
    /// The whole file as a table.
    pub(crate) fn parse(file: Shared) -> Result<Self, Finding> {
        let entries = match DeTable::parse(&file.text) {
            Ok(table) => entries(table.get_ref()),
            Err(e) => return Err(super::syntax::finding(&file, e.span().unwrap_or(0..0), e.message())),
        };
        Ok(Self::new(file, String::new(), String::new(), 0..0, entries))
    }

    /// A table made of words given at the shell (`--set key=value`); values that are no TOML are text, and so is what
    /// begins with `+`, such as a telephone number.
    pub fn from_words(path: &str, name: &str, words: &[(String, String)]) -> Result<Self, Finding> {
        let mut text = String::new();
        for (key, value) in words {
            let line = format!("{key} = {value}\n");
            if !value.starts_with('+') && DeTable::parse(&line).is_ok() {
                text.push_str(&line);
            } else {
                text.push_str(&format!("{key} = {}\n", toml::Value::String(value.clone())));
            }
        }
        let file = super::SourceFile { path: "--set".into(), text };
        let mut whole = Self::parse(file.into())?;
        whole.path = path.to_owned();
        whole.name = name.to_owned();
        Ok(whole)
    }

    fn new(file: Shared, path: String, name: String, span: Range<usize>, entries: Vec<Entry>) -> Self {
        Self { file, path, name, span, entries, known: Vec::new(), secrets: Vec::new(), findings: Vec::new() }
    }

    /// The last part of the table's name: `slack` of `[action.slack]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds the table.
    pub fn file(&self) -> &Path {
        &self.file.path
    }

    /// Where it begins.
    pub(super) fn begin(&self) -> Begin {
        Begin { file: self.file.clone(), at: self.span.start }
    }

    /// The folder that relative paths of this table count from.
    pub fn base(&self) -> PathBuf {
        match self.file.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    fn find(&mut self, key: &str) -> Option<Spot> {
        if !self.known.iter().any(|k| k == key) {
            self.known.push(key.to_owned());
        }
        self.entries.iter().find(|e| e.key == key).map(|e| e.value.clone())
    }

    /// The key with its table.
    pub(super) fn full(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    /// Notes what is wrong at `span`, which belongs to `key` (or to a key of the table that `key` is).
    fn push(&mut self, key: &str, span: Range<usize>, text: impl Into<String>) {
        let full = self.full(key);
        let secret =
            self.secrets.iter().any(|s| key.strip_prefix(s).is_some_and(|k| k.is_empty() || k.starts_with('.')));
        self.findings.push(match secret {
            true => Finding::hidden(&self.file, span, full, text),
            false => Finding::at(&self.file, span, full, text),
        });
    }

    fn wrong(&mut self, key: &str, spot: &Spot, want: &str) {
        let text = format!("expected {want}, found {}", kind(&spot.item));
        self.push(key, spot.span.clone(), text);
    }

    /// Whether the key is there; does not count as reading it.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|e| e.key == key)
    }

    /// The string that a key has, if it has one; does not count as reading it.
    pub fn peek(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|e| e.key == key).and_then(|e| match &e.value.item {
            Item::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The keys that are there, in order.
    pub fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|e| e.key.clone()).collect()
    }

    /// A string.
    pub fn str(&mut self, key: &str) -> Option<String> {
        let spot = self.find(key)?;
        match spot.item {
            Item::Text(text) => Some(text),
            _ => {
                self.wrong(key, &spot, "a string");
                None
            }
        }
    }

    /// A string that must be there.
    pub fn required_str(&mut self, key: &str) -> Option<String> {
        if !self.has(key) {
            self.find(key);
            let text = format!("needs the key `{key}`");
            self.findings.push(Finding::at(&self.file, self.span.clone(), self.path.clone(), text));
            return None;
        }
        self.str(key)
    }

    /// One of a list of words.
    pub fn word(&mut self, key: &str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.str(key)?;
        let hit = words.iter().find(|w| **w == text).copied();
        if hit.is_none() {
            self.fail(
                key,
                format!("`{text}` is none of {}{}", words.join(", "), nearest(&text, words.iter().copied())),
            );
        }
        hit
    }

    /// A path; a relative one counts from the folder of the file.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.str(key)?;
        Some(self.base().join(text))
    }

    /// A truth value.
    pub fn bool(&mut self, key: &str) -> Option<bool> {
        let spot = self.find(key)?;
        match spot.item {
            Item::Bool(b) => Some(b),
            _ => {
                self.wrong(key, &spot, "true or false");
                None
            }
        }
    }

    /// A whole number.
    pub fn int(&mut self, key: &str) -> Option<i64> {
        let spot = self.find(key)?;
        match spot.item {
            Item::Int(n) => Some(n),
            _ => {
                self.wrong(key, &spot, "a whole number");
                None
            }
        }
    }

    /// A time with its unit: `"30s"`, `"10m"`, `"1h"`, `"7d"`, `"250ms"`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let text = self.str(key)?;
        let parsed = parse_duration(&text);
        if parsed.is_none() {
            self.fail(key, format!("`{text}` is no time; write it as \"250ms\", \"30s\", \"10m\", \"1h\" or \"7d\""));
        }
        parsed
    }

    /// A size with its unit, in bytes: `"64 MiB"`, `"2 GiB"`.
    pub fn size(&mut self, key: &str) -> Option<u64> {
        let text = self.str(key)?;
        let parsed = parse_size(&text);
        if parsed.is_none() {
            self.fail(key, format!("`{text}` is no size; write it as \"512 KiB\", \"64 MiB\" or \"2 GiB\""));
        }
        parsed
    }

    /// A list of strings; a single string counts as a list of one.
    pub fn strings(&mut self, key: &str) -> Vec<String> {
        let Some(spot) = self.find(key) else { return Vec::new() };
        match &spot.item {
            Item::Text(text) => vec![text.clone()],
            Item::List(items) => {
                let mut all = Vec::new();
                for item in items {
                    match &item.item {
                        Item::Text(text) => all.push(text.clone()),
                        _ => self.wrong(key, item, "a string"),
                    }
                }
                all
            }
            _ => {
                self.wrong(key, &spot, "a list of strings");
                Vec::new()
            }
        }
    }

    /// The environment variables that the table names, as secrets or for programs.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> {
        let mut names = Vec::new();
        self.entries.iter().for_each(|entry| entry.variables(&mut names));
        names.into_iter().map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    /// Where a secret of this table stands that is kept elsewhere and cannot be read, and why.
    pub fn unreadable(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        self.entries.iter().for_each(|entry| self.look_up(entry, &self.full(&entry.key), &mut found));
        found
    }

    fn look_up(&self, entry: &Entry, key: &str, found: &mut Vec<Finding>) {
        match self.as_secret(&entry.value) {
            Some(Secret::Literal(_)) => {}
            Some(kept) => {
                let wrong = kept.resolve().err();
                found.extend(wrong.map(|why| Finding::at(&self.file, entry.value.span.clone(), key, why)));
            }
            None => {
                if let Item::Table(entries) = &entry.value.item {
                    entries.iter().for_each(|inner| self.look_up(inner, &format!("{key}.{}", inner.key), found));
                }
            }
        }
    }

    /// A secret: a string, `{ env = "…" }` or `{ file = "…" }`. Not looked up here.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        let spot = self.find(key)?;
        self.secrets.push(key.to_owned());
        let secret = self.as_secret(&spot);
        if secret.is_none() {
            self.wrong(key, &spot, "a string, { env = \"NAME\" } or { file = \"PATH\" }");
        }
        secret
    }

    /// A table of name = secret (headers).
    pub fn secrets(&mut self, key: &str) -> Vec<(String, Secret)> {
        let Some(spot) = self.find(key) else { return Vec::new() };
        self.secrets.push(key.to_owned());
        let Item::Table(entries) = &spot.item else {
            self.wrong(key, &spot, "a table");
            return Vec::new();
        };
        let mut all = Vec::new();
        for entry in entries {
            match self.as_secret(&entry.value) {
                Some(secret) => all.push((entry.key.clone(), secret)),
                None => self.wrong(
                    &format!("{key}.{}", entry.key),
                    &entry.value,
                    "a string, { env = \"NAME\" } or { file = \"PATH\" }",
                ),
            }
        }
        all
    }

    fn as_secret(&self, spot: &Spot) -> Option<Secret> {
        match &spot.item {
            Item::Text(text) => Some(Secret::Literal(text.clone())),
            Item::Table(entries) => match entries.as_slice() {
                [Entry { key, value: Spot { item: Item::Text(text), .. }, .. }] => match key.as_str() {
                    "env" => Some(Secret::Env(text.clone())),
                    "file" => Some(Secret::File(self.base().join(text))),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// A table inside this one. Its findings come back with [`Settings::absorb`].
    pub fn table(&mut self, key: &str) -> Option<Self> {
        let spot = self.find(key)?;
        match spot.item {
            Item::Table(entries) => {
                Some(Self::new(self.file.clone(), self.full(key), key.to_owned(), spot.span, entries))
            }
            _ => {
                self.wrong(key, &spot, "a table");
                None
            }
        }
    }

    /// All tables inside this one, by name: `[action.*]`. Names must match `[a-z0-9][a-z0-9-]{0,62}`.
    pub fn tables(&mut self, key: &str) -> Vec<Self> {
        let Some(mut outer) = self.table(key) else { return Vec::new() };
        let mut all = Vec::new();
        for name in outer.keys() {
            if !super::words::is_name(&name) {
                outer.fail(&name, "a name is [a-z0-9][a-z0-9-]{0,62}");
            }
            all.extend(outer.table(&name));
        }
        self.findings.append(&mut outer.findings);
        all
    }

    /// A list of tables inside this one: `rules = [ {…}, {…} ]` or `[[rules]]`; each is called by its number, from 1 on.
    /// Their findings come back with [`Settings::absorb`].
    pub fn list(&mut self, key: &str) -> Vec<Self> {
        let Some(spot) = self.find(key) else { return Vec::new() };
        let Item::List(items) = &spot.item else {
            self.wrong(key, &spot, "a list of tables");
            return Vec::new();
        };
        let mut all = Vec::new();
        for (number, item) in (1..).zip(items) {
            match &item.item {
                Item::Table(entries) => {
                    let (path, name) = (format!("{}.{number}", self.full(key)), format!("{number}"));
                    all.push(Self::new(self.file.clone(), path, name, item.span.clone(), entries.clone()));
                }
                _ => self.wrong(key, item, "a table"),
            }
        }
        all
    }

    /// Says that something is wrong with the value of `key` (with the table itself if `key` is not in it).
    pub fn fail(&mut self, key: &str, text: impl Into<String>) {
        let found = self.entries.iter().find(|e| e.key == key).map(|e| e.value.span.clone());
        self.push(key, found.unwrap_or_else(|| self.span.clone()), text);
    }

    /// Says that something is wrong with this word of `key`: a string, or one in a list or a table of lists.
    pub fn fail_word(&mut self, key: &str, word: &str, text: impl Into<String>) {
        let value = self.entries.iter().find(|e| e.key == key).map(|e| &e.value);
        match value.and_then(|value| value.last(word)) {
            Some(span) => self.push(key, span, text),
            None => self.fail(key, text),
        }
    }

    /// What is wrong with a program that stands in the value of `key`, at a line and column of the program. Where the
    /// value is written with escapes the place within it cannot be told.
    pub fn within(&self, key: &str, program: &str, line: usize, column: usize, text: impl Into<String>) -> Finding {
        let found = self.entries.iter().find(|e| e.key == key).map(|e| e.value.span.clone());
        let span = found.unwrap_or_else(|| self.span.clone());
        let written = self.file.text.get(span.clone()).unwrap_or_default();
        let place = written.find(program).filter(|_| !program.is_empty()).map(|start| {
            let above: usize = program.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
            let rest = program.get(above..).unwrap_or_default();
            let left: usize = rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
            let at = span.start + start + above + left;
            at..at + 1
        });
        Finding::at(&self.file, place.unwrap_or(span), self.full(key), text)
    }

    /// The text of the whole file with another string as the value of `key`; everything else stays as it is written.
    /// None where the key has no string, or where that would not be read back as it is.
    pub fn rewritten(&self, key: &str, value: &str) -> Option<String> {
        let entry = self.entries.iter().find(|e| e.key == key && matches!(e.value.item, Item::Text(_)))?;
        let span = entry.value.span.clone();
        let (before, after) = (self.file.text.get(..span.start)?, self.file.text.get(span.end..)?);
        // As people write programs: line by line and without escapes, where that can be.
        let plain = value.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
        let literal = plain && !value.contains("'''") && !value.ends_with('\'');
        let written = match value.contains('\n') {
            true if literal => format!("'''\n{value}'''"),
            false if literal && !value.contains('\'') => format!("'{value}'"),
            _ => toml::Value::String(value.to_owned()).to_string(),
        };
        let text = format!("{before}{written}{after}");
        let whole = Self::parse(SourceFile { path: self.file.path.clone(), text: text.clone() }.into()).ok()?;
        let mut table = whole;
        for part in self.path.split('.') {
            table = table.table(part)?;
        }
        (table.peek(key) == Some(value)).then_some(text)
    }

    /// Takes over the findings of a table inside, unknown keys included.
    pub fn absorb(&mut self, inner: Self) {
        self.findings.extend(inner.finish());
    }

    /// One thing that is to be said of a key, whatever else is wrong with the table.
    pub fn finding(&self, key: &str, text: impl Into<String>) -> Option<Finding> {
        let (mut table, text) = (self.clone(), text.into());
        table.fail(key, text.clone());
        table.finish().into_iter().find(|finding| finding.text == text)
    }

    /// Itself without what was asked and found, to be kept for findings that others make: there may be many.
    pub(crate) fn places(&self) -> Self {
        let Self { file, path, name, span, entries, secrets, .. } = self;
        let places = Self::new(file.clone(), path.clone(), name.clone(), span.clone(), entries.clone());
        Self { secrets: secrets.clone(), ..places }
    }

    /// What was found wrong so far, without looking for unknown keys.
    pub(crate) fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// All that is wrong, unknown keys included; empty if nothing is.
    pub fn finish(mut self) -> Vec<Finding> {
        for entry in &self.entries {
            if !self.known.contains(&entry.key) {
                let near = nearest(&entry.key, self.known.iter().map(String::as_str));
                let full = self.full(&entry.key);
                self.findings.push(Finding::at(&self.file, entry.key_span.clone(), full, format!("unknown key{near}")));
            }
        }
        self.findings
    }
}

/// `; did you mean …` if a known word is close.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let close = known.map(|k| (strsim::damerau_levenshtein(word, k), k)).min_by_key(|(d, _)| *d);
    match close {
        Some((distance, k)) if distance <= 1 + word.chars().count() / 3 => format!("; did you mean `{k}`?"),
        _ => String::new(),
    }
}

fn entries(table: &DeTable<'_>) -> Vec<Entry> {
    let mut all: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry { key: key.get_ref().to_string(), key_span: key.span(), value: spot(value) })
        .collect();
    // In the order of the file, which the parser's own map does not keep.
    all.sort_by_key(|entry| entry.key_span.start);
    all
}

fn spot(value: &Spanned<DeValue<'_>>) -> Spot {
    let item = match value.get_ref() {
        DeValue::String(text) => Item::Text(text.to_string()),
        DeValue::Integer(n) => {
            i64::from_str_radix(n.as_str(), n.radix()).map_or(Item::Other("a number that is too large"), Item::Int)
        }
        DeValue::Boolean(b) => Item::Bool(*b),
        DeValue::Array(items) => Item::List(items.iter().map(spot).collect()),
        DeValue::Table(table) => Item::Table(entries(table)),
        DeValue::Float(_) => Item::Other("a fraction"),
        DeValue::Datetime(_) => Item::Other("a date"),
    };
    Spot { span: value.span(), item }
}

fn kind(item: &Item) -> &'static str {
    match item {
        Item::Text(_) => "a string",
        Item::Int(_) => "a number",
        Item::Bool(_) => "a truth value",
        Item::List(_) => "a list",
        Item::Table(_) => "a table",
        Item::Other(what) => what,
    }
}
