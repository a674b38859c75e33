//! Functions of strings: trimming, code points, regular expressions.

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::native::{bome, unary, v};
use jaq_core::{Cv, Exn, ValX, ValXs};

use super::{Run, fail, string};
use crate::budget;
use crate::program::Engine;
use crate::regex::Matcher;
use crate::value::{Error, Map, Str, Val, ValR, copying, split};
use regex::bytes::Captures;

pub(super) fn natives() -> Vec<Run> {
    vec![
        ("ltrimstr", v(1), |cv| unary(cv, |x, start| trimmed(&x, &start, true, false))),
        ("rtrimstr", v(1), |cv| unary(cv, |x, end| trimmed(&x, &end, false, true))),
        ("trimstr", v(1), |cv| unary(cv, |x, part| trimmed(&x, &part, true, true))),
        ("line", v(0), |cv| bome(Ok(line(&cv.1)))),
        ("explode", v(0), |cv| bome(explode(&cv.1))),
        ("implode", v(0), |cv| bome(implode(&cv.1))),
        ("split", v(1), |cv| unary(cv, |x, by| Ok(split(string(&x)?, string(&by)?)))),
        ("test", v(1), |cv| bome(with(cv, 1, |m, s| Ok(Val::Bool(m.is_match(s.as_bytes())))))),
        ("test", v(2), |cv| bome(with(cv, 2, |m, s| Ok(Val::Bool(m.is_match(s.as_bytes())))))),
        ("match", v(1), |cv| stream(with(cv, 1, all_matches))),
        ("match", v(2), |cv| stream(with(cv, 2, all_matches))),
        ("capture", v(1), |cv| stream(with(cv, 1, all_captures))),
        ("capture", v(2), |cv| stream(with(cv, 2, all_captures))),
        ("scan", v(1), |cv| stream(with(cv, 1, |m, s| scan(m.global(), s)))),
        ("scan", v(2), |cv| stream(with(cv, 2, |m, s| scan(m.global(), s)))),
        ("split", v(2), |cv| bome(with(cv, 2, |m, s| pieces(&m.global(), s, false)))),
        // What `sub` is made of: text between matches as strings, each match as the object of its named groups.
        ("pieces", v(2), |cv| bome(with(cv, 2, |m, s| pieces(&m, s, true)))),
    ]
}

/// Both must be strings, as from jq 1.8 on.
fn trimmed(value: &Val, part: &Val, left: bool, right: bool) -> ValR {
    let s = string(value)?;
    let (text, part) = (s.as_str(), string(part)?.as_str());
    let cut = if left { text.strip_prefix(part).unwrap_or(text) } else { text };
    let cut = if right { cut.strip_suffix(part).unwrap_or(cut) } else { cut };
    Ok(Val::Str(s.slice_at(cut.as_bytes())))
}

/// Longest line that [`line`] makes, and how far it looks for one, in characters.
const LINE: usize = 200;
const LOOKED_AT: usize = 2 * LINE;

/// One short line of a string or number, for people: white space, control characters and marks that turn the direction
/// of writing are a space. Anything else is the empty line.
fn line(value: &Val) -> Val {
    let text = match value {
        Val::Str(s) => s.clone(),
        number if number.num().is_some() => number.text(),
        _ => Str::EMPTY,
    };
    budget::work_bytes(text.len().min(4 * LOOKED_AT));
    let (mut line, mut length, mut gap) = (String::new(), 0, false);
    for c in text.as_str().chars().take(LOOKED_AT) {
        if c.is_whitespace() || event::steers(c) {
            gap = length > 0;
            continue;
        }
        if length + usize::from(gap) >= LINE {
            line.push('…');
            break;
        }
        length += 1 + usize::from(gap);
        line.extend(gap.then_some(' '));
        line.push(c);
        gap = false;
    }
    Val::from(line)
}

fn explode(value: &Val) -> ValR {
    let text = string(value)?.as_str();
    copying(text.len());
    Ok(text.chars().map(|c| Val::Int(i64::from(u32::from(c)))).collect())
}

fn implode(value: &Val) -> ValR {
    let Val::Arr(codes) = value else { return Err(Error::typ(value.clone(), "array")) };
    budget::work(codes.len());
    let mut text = String::new();
    for code in codes.as_slice() {
        let char = code.num().and_then(|n| u32::try_from(n.floor()).ok()).and_then(char::from_u32);
        match char {
            Some(char) => text.push(char),
            None => return fail(format_args!("{code} is no code point")),
        }
    }
    Ok(Val::from(text))
}

/// Pops pattern and (of two arguments) flags, and applies `work` to them and the input.
fn with<'a>(mut cv: Cv<'a, Engine>, args: usize, work: impl FnOnce(Matcher, &Str) -> ValR) -> ValR {
    let flags = if args > 1 { cv.0.pop_var() } else { Val::Null };
    let pattern = cv.0.pop_var();
    let Val::Str(text) = &cv.1 else {
        return fail(format_args!("{} cannot be matched, as it is not a string", cv.1));
    };
    work(matcher(&pattern, &flags)?, text)
}

/// The pattern may also be `[pattern, flags]`.
fn matcher(pattern: &Val, flags: &Val) -> Result<Matcher, Error> {
    let (pattern, flags) = match pattern {
        Val::Arr(pair) => match pair.as_slice() {
            [pattern] => (pattern, flags),
            [pattern, flags] => (pattern, flags),
            _ => return fail("a regular expression is a string or [string, flags]"),
        },
        pattern => (pattern, flags),
    };
    let flags = match flags {
        Val::Null => "",
        flags => string(flags)?.as_str(),
    };
    Matcher::new(string(pattern)?.as_str(), flags).map_err(Error::str)
}

fn stream<'a>(results: ValR) -> ValXs<'a, Val> {
    let each: BoxIter<'a, ValX<'a, Val>> = match results {
        Ok(Val::Arr(items)) => Box::new(crate::value::Items::take(items).into_iter().map(Ok)),
        Ok(value) => box_once(Ok(value)),
        Err(e) => box_once(Err(Exn::from(e))),
    };
    each
}

/// Offsets of bytes as offsets of characters; asked in rising order of matches.
struct Chars<'a> {
    text: &'a str,
    byte: usize,
    char: usize,
}

impl<'a> Chars<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, byte: 0, char: 0 }
    }

    /// Groups of one match may come in any order, so a place before the last one is counted from the start.
    fn of(&mut self, byte: usize) -> i64 {
        if byte < self.byte {
            (self.byte, self.char) = (0, 0);
        }
        let between = self.text.as_bytes().get(self.byte..byte).unwrap_or_default();
        budget::work_bytes(between.len());
        self.char += between.iter().filter(|b| !(0x80..0xc0).contains(*b)).count();
        self.byte = byte;
        i64::try_from(self.char).unwrap_or(i64::MAX)
    }
}

fn object<const N: usize>(members: [(&str, Val); N]) -> Val {
    Val::obj(Map::new(members.into_iter().map(|(k, v)| (Str::from(k), v)).collect(), true))
}

fn part(s: &Str, found: Option<regex::bytes::Match<'_>>) -> Val {
    found.map_or(Val::Null, |m| Val::Str(s.slice(m.start(), m.end())))
}

fn all_matches(m: Matcher, s: &Str) -> ValR {
    let mut chars = Chars::new(s.as_str());
    let mut place = |found: Option<regex::bytes::Match<'_>>| match found {
        Some(m) => {
            let start = chars.of(m.start());
            (Val::Int(start), Val::Int(chars.of(m.end()) - start))
        }
        None => (Val::Int(-1), Val::Int(0)),
    };
    let mut found = Vec::new();
    for captures in m.matches(s.as_bytes()) {
        budget::tick();
        let (offset, length) = place(captures.get(0));
        let groups = captures.iter().skip(1).zip(m.names()).map(|(group, name)| {
            let (offset, length) = place(group);
            let name = name.map_or(Val::Null, Val::str);
            object([("offset", offset), ("length", length), ("string", part(s, group)), ("name", name)])
        });
        let groups = groups.collect();
        found.push(object([
            ("offset", offset),
            ("length", length),
            ("string", part(s, captures.get(0))),
            ("captures", groups),
        ]));
    }
    Ok(Val::arr(found))
}

/// The named groups of a match as an object.
fn named(m: &Matcher, s: &Str, captures: &Captures<'_>) -> Val {
    budget::tick();
    let mut map = Map::default();
    for (group, name) in captures.iter().skip(1).zip(m.names()) {
        if let Some(name) = name {
            map.insert(Str::from(name), part(s, group));
        }
    }
    Val::obj(map)
}

fn all_captures(m: Matcher, s: &Str) -> ValR {
    Ok(m.matches(s.as_bytes()).map(|captures| named(&m, s, &captures)).collect())
}

/// Each match, or the array of its groups if the pattern has any.
fn scan(m: Matcher, s: &Str) -> ValR {
    let each = |captures: Captures<'_>| {
        budget::tick();
        if captures.len() > 1 {
            captures.iter().skip(1).map(|group| part(s, group)).collect()
        } else {
            part(s, captures.get(0))
        }
    };
    Ok(m.matches(s.as_bytes()).map(each).collect())
}

fn pieces(m: &Matcher, s: &Str, matches_too: bool) -> ValR {
    let mut pieces = Vec::new();
    let mut last = 0;
    for captures in m.matches(s.as_bytes()) {
        budget::tick();
        let Some(whole) = captures.get(0) else { continue };
        pieces.push(Val::Str(s.slice(last, whole.start())));
        if matches_too {
            pieces.push(named(m, s, &captures));
        }
        last = whole.end();
    }
    pieces.push(Val::Str(s.slice(last, s.len())));
    Ok(Val::arr(pieces))
}
