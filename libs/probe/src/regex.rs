//! Regular expressions of jq on the `regex` crate: linear in the text, patterns compiled once per thread.
//!
//! Differences from Oniguruma that remain: no look-around, no back-references, no `\Z` and `\h`; such a pattern is
//! refused, and where it is a literal already when the filter is compiled.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::Hir;

use crate::budget;

/// Compiled patterns that a thread keeps, and the bytes that they may hold (known with the counting allocator).
const CACHED: usize = 256;
const CACHED_BYTES: isize = 64 << 20;
/// Bytes of a compiled pattern: enough for `\w{128}`, as a class of Unicode is big.
const SIZE_MAX: usize = 8 << 20;
/// Bytes of the automaton that it builds as it runs.
const DFA_MAX: usize = 1 << 20;
/// Longest pattern, in bytes.
const PATTERN_MAX: usize = 64 << 10;

/// jq's flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// All matches, not only the first.
    pub(crate) global: bool,
    ignore_case: bool,
    extended: bool,
    /// `.` matches a newline too.
    dot_all: bool,
    /// Matches of nothing do not count.
    not_empty: bool,
}

impl Flags {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        for c in text.chars() {
            match c {
                'g' => flags.global = true,
                'i' => flags.ignore_case = true,
                'x' => flags.extended = true,
                'n' => flags.not_empty = true,
                // The manual says more of it, jq does no more.
                'p' => flags.dot_all = true,
                // `^` and `$` mean the ends of the text anyway, and the longest match is what a pattern asks for.
                's' | 'l' => {}
                c => return Err(format!("{c} is no flag of a regular expression (g i x s n p l)")),
            }
        }
        Ok(flags)
    }
}

/// What a pattern is made of.
pub(crate) fn syntax(pattern: &str, flags: Flags) -> Result<Hir, String> {
    if pattern.len() > PATTERN_MAX {
        return Err(format!("regular expression is longer than {PATTERN_MAX} bytes"));
    }
    let parsed = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .case_insensitive(flags.ignore_case)
        .ignore_whitespace(flags.extended)
        .dot_matches_new_line(flags.dot_all)
        .build()
        .parse(&literal_angles(pattern));
    parsed.map_err(|e| format!("regular expression is refused: {}", last_line(&e.to_string())))
}

/// Bytes that a pattern compiles to at least; below it nobody need look whether it is too big.
const SMALL: usize = 4 << 10;

/// Says why a literal pattern will never compile.
pub(crate) fn judge(pattern: &str, flags: Flags) -> Result<(), String> {
    let hir = syntax(pattern, flags)?;
    if size(&hir) <= SMALL { Ok(()) } else { compile(pattern, flags).map(drop) }
}

/// A measure of what a pattern compiles to: repetitions multiply, a class of Unicode is long.
pub(crate) fn size(hir: &Hir) -> usize {
    use regex_syntax::hir::{Class, HirKind};
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Unicode(class)) => class.ranges().len().saturating_mul(4),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            size(&repetition.sub).saturating_mul(times as usize)
        }
        HirKind::Capture(capture) => size(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(0, |sum: usize, part| sum.saturating_add(size(part)))
        }
    }
}

/// Compiles without the cache.
pub(crate) fn compile(pattern: &str, flags: Flags) -> Result<Regex, String> {
    if pattern.len() > PATTERN_MAX {
        return Err(format!("regular expression is longer than {PATTERN_MAX} bytes"));
    }
    let built = RegexBuilder::new(&literal_angles(pattern))
        .case_insensitive(flags.ignore_case)
        .ignore_whitespace(flags.extended)
        .dot_matches_new_line(flags.dot_all)
        .size_limit(SIZE_MAX)
        .dfa_size_limit(DFA_MAX)
        .build();
    built.map_err(|e| format!("regular expression is refused: {}", reason(&e)))
}

/// `\<` and `\>` are plain characters to jq, and borders of words to the crate.
fn literal_angles(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains("\\<") && !pattern.contains("\\>") {
        return Cow::Borrowed(pattern);
    }
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        // Whatever follows a backslash belongs to it, another backslash too.
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(angle @ ('<' | '>'))) => text.push(angle),
            (c, next) => {
                text.push(c);
                text.extend(next);
            }
        }
    }
    Cow::Owned(text)
}

/// The last line of the crate's report says what is wrong; the lines before draw it.
fn reason(e: &regex::Error) -> String {
    if matches!(e, regex::Error::CompiledTooBig(_)) {
        format!("it compiles to more than {} MiB", SIZE_MAX >> 20)
    } else {
        last_line(&e.to_string())
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// `$` also matches before a newline that ends the text: the text to search is then without it, if only so it matches.
fn searched<'t>(regex: &Regex, text: &'t [u8]) -> &'t [u8] {
    match text.strip_suffix(b"\n") {
        Some(line) if regex.as_str().contains('$') && !regex.is_match(text) => line,
        _ => text,
    }
}

/// Whether the pattern matches somewhere in the text.
pub(crate) fn is_match(regex: &Regex, flags: Flags, text: &[u8]) -> bool {
    let text = searched(regex, text);
    if flags.not_empty { regex.find_iter(text).any(|m| !m.is_empty()) } else { regex.is_match(text) }
}

struct Entry {
    flags: Flags,
    regex: Rc<Regex>,
    used: u64,
    bytes: isize,
}

#[derive(Default)]
struct Cache {
    patterns: HashMap<Box<str>, Vec<Entry>>,
    count: usize,
    bytes: isize,
    clock: u64,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

impl Cache {
    /// The pattern compiled, and the nanoseconds of CPU that this took now, also if it is refused.
    fn get(&mut self, pattern: &str, flags: Flags) -> (Result<Rc<Regex>, String>, u64) {
        self.clock += 1;
        let found = self.patterns.get_mut(pattern).and_then(|e| e.iter_mut().find(|e| e.flags == flags));
        if let Some(entry) = found {
            entry.used = self.clock;
            return (Ok(Rc::clone(&entry.regex)), 0);
        }
        let start = budget::cpu_now();
        let made = self.make(pattern, flags);
        (made, budget::cpu_now().saturating_sub(start).max(1))
    }

    fn make(&mut self, pattern: &str, flags: Flags) -> Result<Rc<Regex>, String> {
        let before = crate::alloc::live();
        let regex = Rc::new(compile(pattern, flags)?);
        // A first search makes the room that later ones work in; it belongs to the cache, not to the run.
        regex.captures(b"");
        let bytes = crate::alloc::live() - before;
        while self.count >= CACHED || (self.count > 0 && self.bytes + bytes > CACHED_BYTES) {
            self.evict();
        }
        self.count += 1;
        self.bytes += bytes;
        let entry = Entry { flags, regex: Rc::clone(&regex), used: self.clock, bytes };
        self.patterns.entry(pattern.into()).or_default().push(entry);
        Ok(regex)
    }

    /// Takes out what was used longest ago.
    fn evict(&mut self) {
        let oldest = self.patterns.iter().min_by_key(|(_, e)| e.iter().map(|e| e.used).min());
        let Some(pattern) = oldest.map(|(pattern, _)| pattern.clone()) else { return };
        if let Some(entries) = self.patterns.remove(&pattern) {
            self.count -= entries.len();
            self.bytes -= entries.iter().map(|e| e.bytes).sum::<isize>();
        }
    }
}

/// A compiled pattern with its flags.
pub(crate) struct Matcher {
    regex: Rc<Regex>,
    flags: Flags,
}

impl Matcher {
    pub(crate) fn new(pattern: &str, flags: &str) -> Result<Self, String> {
        let flags = Flags::parse(flags)?;
        // Which run compiles and which finds it done depends on history; the count of bytes must not.
        let (regex, took) = budget::exempt(|| CACHE.with(|cache| cache.borrow_mut().get(pattern, flags)));
        if took > 0 {
            budget::compiled(took);
        }
        Ok(Self { regex: regex?, flags })
    }

    pub(crate) fn global(mut self) -> Self {
        self.flags.global = true;
        self
    }

    /// Counts a search through `text`.
    fn count(&self, text: &[u8]) {
        budget::work_bytes(text.len());
    }

    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        self.count(text);
        if self.flags.not_empty {
            return self.matches(text).next().is_some();
        }
        let found = budget::exempt(|| is_match(&self.regex, self.flags, text));
        budget::searched(text.len());
        found
    }

    /// The matches, only the first without the flag `g`.
    pub(crate) fn matches<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Captures<'t>> {
        self.count(text);
        let most = if self.flags.global { usize::MAX } else { 1 };
        let wanted = |c: &Captures<'t>| !self.flags.not_empty || c.get(0).is_some_and(|m| !m.is_empty());
        let mut all = self.regex.captures_iter(searched(&self.regex, text));
        let mut rest = text.len();
        let each = std::iter::from_fn(move || {
            let found = all.next();
            budget::searched(rest);
            // Also where the match is not wanted: there may be one at every byte.
            budget::work(1);
            rest = found.as_ref().and_then(|c| c.get(0)).map_or(0, |m| text.len().saturating_sub(m.end()));
            found
        });
        each.filter(wanted).take(most)
    }

    /// Names of the groups, the whole match left out.
    pub(crate) fn names(&self) -> impl Iterator<Item = Option<&str>> {
        self.regex.capture_names().skip(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let kept = Matcher::new("kept", "").unwrap().regex;
        for i in 0..CACHED * 2 {
            Matcher::new(&format!("p{i}"), "").unwrap();
            assert!(Rc::ptr_eq(&kept, &Matcher::new("kept", "").unwrap().regex));
        }
        CACHE.with(|c| assert_eq!(c.borrow().count, CACHED));
        assert!(!Rc::ptr_eq(&kept, &Matcher::new("kept", "i").unwrap().regex));
    }

    #[test]
    fn refusals_say_why() {
        for (pattern, word) in
            [("(?=a)", "look-around"), ("(a)\\1", "backreference"), ("(", "unclosed"), ("\\w{1000}{1000}", "MiB")]
        {
            let e = compile(pattern, Flags::default()).unwrap_err();
            assert!(e.contains(word), "{pattern}: {e}");
        }
        for pattern in ["\\w{32}", "\\p{L}{2,40}", "\\w{128}"] {
            assert_eq!(compile(pattern, Flags::default()).err(), None, "{pattern}");
        }
        assert!(Flags::parse("gq").unwrap_err().contains('q'));
    }
}
