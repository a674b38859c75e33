//! Versions: which of two is the older one.
//!
//! A version is cut at its hyphens into parts (epoch, release, revision), and each part into runs of digits and runs of
//! letters. Parts and runs are compared from the left, and what one version lacks counts as 0.

use std::cmp::Ordering;

use jaq_core::native::{unary, v};

use super::{Run, fail, string};
use crate::budget;
use crate::value::{Error, Val};

pub(super) fn natives() -> Vec<Run> {
    vec![("version_cmp", v(1), |cv| unary(cv, |x, other| Ok(Val::from(compare(&x, &other)? as isize))))]
}

/// A run of digits or letters. The order of the variants is the order of versions that differ at this place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    /// `~`: before everything, as in Debian's and Fedora's packages.
    Tilde,
    /// A word of a release to come, by rank.
    Early(u8),
    /// 0, or nothing.
    Zero,
    /// Any other word, in lower case.
    Word(String),
    /// Digits without leading zeros: the longer number is the bigger one.
    Number(usize, String),
}

/// Longest version, in bytes.
const VERSION_MAX: usize = 1_000;

fn compare(left: &Val, right: &Val) -> Result<Ordering, Error> {
    let (left, right) = (version(left)?, version(right)?);
    Ok(by_place(&left, &right, &Vec::new(), |l, r| by_place(l, r, &Piece::Zero, Piece::cmp)))
}

/// The first difference; where one list is at its end, `none` stands for what it lacks.
fn by_place<T>(left: &[T], right: &[T], none: &T, compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    let at = |i| compare(left.get(i).unwrap_or(none), right.get(i).unwrap_or(none));
    (0..left.len().max(right.len())).map(at).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The parts of a version, its epoch (`2:1.0`) as the first one.
fn version(value: &Val) -> Result<Vec<Vec<Piece>>, Error> {
    let text = string(value)?.as_str();
    if text.len() > VERSION_MAX {
        return fail(format_args!("a version is no longer than {VERSION_MAX} bytes"));
    }
    budget::work(text.len());
    // `v1.2`, `go1.21.3`, `OpenSSL 3.0.2`: a name is no part of the version.
    let Some(text) = text.find(|c: char| c.is_ascii_digit()).and_then(|start| text.get(start..)) else {
        return fail(format_args!("{value} is no version: it has no number"));
    };
    let (epoch, text) = match text.split_once(':') {
        Some((epoch, rest)) if !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit()) => (epoch, rest),
        _ => ("", text),
    };
    let mut parts = vec![vec![number(epoch)], Vec::new()];
    cut(without_brackets(text), &mut parts);
    Ok(parts)
}

/// Whether this may be a version.
pub(super) fn judge(value: &Val) -> Result<(), Error> {
    version(value).map(drop)
}

/// `15.1 (24B83)` is 15.1: what stands in brackets tells builds apart, not versions.
fn without_brackets(text: &str) -> &str {
    text.split_once('(').map_or(text, |(version, _)| version)
}

/// Adds the pieces of a text to the last part, and parts where it has hyphens.
fn cut(text: &str, parts: &mut Vec<Vec<Piece>>) {
    let mut rest = text;
    // What stands directly before `rest`.
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let same = |c: char| c.is_ascii_digit() == first.is_ascii_digit() && c.is_alphanumeric();
        let end = if first.is_alphanumeric() { rest.find(|c| !same(c)) } else { Some(first.len_utf8()) };
        let (run, after) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""));
        let piece = if first.is_ascii_digit() {
            Some(number(run))
        } else if first.is_alphanumeric() {
            let letter = before.is_ascii_digit() && after.starts_with(|c: char| c.is_ascii_digit());
            Some(word(&run.to_lowercase(), letter))
        } else {
            (first == '~').then_some(Piece::Tilde)
        };
        let early = matches!(piece, Some(Piece::Early(_) | Piece::Tilde));
        // `1.0-rc1` is `1.0rc1`: the hyphen before such a word starts no revision.
        if before == '-' && piece.is_some() && !early {
            parts.push(Vec::new());
        }
        if let (Some(piece), Some(part)) = (piece, parts.last_mut()) {
            // Neither do the zeros before it say anything: `1.0.0rc1` is `1.0rc1`.
            while early && part.last() == Some(&Piece::Zero) {
                part.pop();
            }
            part.push(piece);
        }
        before = first;
        rest = after;
    }
}

fn number(digits: &str) -> Piece {
    match digits.trim_start_matches('0') {
        "" => Piece::Zero,
        digits => Piece::Number(digits.len(), digits.to_owned()),
    }
}

/// `letter`: between two digits, where `a`, `b` and `c` stand for alpha, beta and candidate (`1.0b2`).
fn word(word: &str, letter: bool) -> Piece {
    Piece::Early(match word {
        "dev" | "snapshot" | "nightly" | "canary" => 0,
        "alpha" => 1,
        "beta" => 2,
        "pre" | "preview" | "ea" => 3,
        "rc" | "cr" | "candidate" => 4,
        "a" if letter => 1,
        "b" if letter => 2,
        "c" if letter => 4,
        _ => return Piece::Word(word.to_owned()),
    })
}
