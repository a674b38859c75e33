//! Formats (`@csv` …) that jaq has not or does otherwise.

use jaq_core::native::{bome, v};

use super::{Run, fail};
use crate::budget::{room, work_bytes};
use crate::value::{Error, Str, Val, ValR};

pub(super) fn natives() -> Vec<Run> {
    vec![
        ("@csv", v(0), |cv| {
            bome(row(&cv.1, ",", |s, out| {
                out.push('"');
                out.push_str(&s.replace('"', "\"\""));
                out.push('"');
            }))
        }),
        ("@tsv", v(0), |cv| bome(row(&cv.1, "\t", |s, out| replace(s, tab, out)))),
        ("@html", v(0), |cv| bome(Ok(escaped(&cv.1, markup)))),
        ("@base32", v(0), |cv| bome(Ok(Val::from(base32(cv.1.text().as_bytes()))))),
        ("@base32d", v(0), |cv| bome(base32d(&cv.1.text()))),
    ]
}

fn tab(c: char) -> Option<&'static str> {
    Some(match c {
        '\t' => "\\t",
        '\n' => "\\n",
        '\r' => "\\r",
        '\\' => "\\\\",
        _ => return None,
    })
}

fn markup(c: char) -> Option<&'static str> {
    Some(match c {
        '<' => "&lt;",
        '>' => "&gt;",
        '&' => "&amp;",
        '\'' => "&apos;",
        '"' => "&quot;",
        _ => return None,
    })
}

fn replace(s: &str, by: fn(char) -> Option<&'static str>, out: &mut String) {
    work_bytes(s.len());
    for c in s.chars() {
        match by(c) {
            Some(text) => out.push_str(text),
            None => out.push(c),
        }
    }
}

fn escaped(value: &Val, by: fn(char) -> Option<&'static str>) -> Val {
    let mut out = String::new();
    replace(value.text().as_str(), by, &mut out);
    Val::from(out)
}

/// An array of scalars as one line; `quote` writes strings.
fn row(value: &Val, between: &str, quote: impl Fn(&str, &mut String)) -> ValR {
    let Val::Arr(cells) = value else { return fail(format_args!("{value} cannot be a row, only an array can")) };
    let mut out = String::new();
    for (i, cell) in cells.as_slice().iter().enumerate() {
        if i > 0 {
            out.push_str(between);
        }
        match cell {
            Val::Null => {}
            Val::Str(s) => {
                work_bytes(s.len());
                room(s.len() * 2);
                quote(s.as_str(), &mut out);
            }
            Val::Arr(_) | Val::Obj(_) => return Err(Error::typ(cell.clone(), "cell of a row")),
            v => out.push_str(v.text().as_str()),
        }
    }
    Ok(Val::from(out))
}

/// RFC 4648, section 6.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bytes: &[u8]) -> String {
    room(bytes.len() * 2);
    work_bytes(bytes.len());
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut word = [0u8; 8];
        for (to, from) in word.iter_mut().skip(3).zip(chunk) {
            *to = *from;
        }
        let bits = u64::from_be_bytes(word);
        let digits = (chunk.len() * 8).div_ceil(5);
        for i in 0..8 {
            let digit = usize::try_from(bits >> (35 - i * 5) & 31).unwrap_or(0);
            let char = ALPHABET.get(digit).copied().filter(|_| i < digits).unwrap_or(b'=');
            out.push(char::from(char));
        }
    }
    out
}

fn base32d(text: &Str) -> ValR {
    let digits = text.as_str().trim_end_matches('=');
    work_bytes(digits.len());
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for b in digits.bytes() {
        let Some(digit) = ALPHABET.iter().position(|c| *c == b) else {
            return fail(format_args!("{} is no base32", Val::Str(text.clone())));
        };
        bits = bits << 5 & 0xfff | u32::try_from(digit).unwrap_or(0);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap_or(0));
        }
    }
    Ok(Val::from(String::from_utf8_lossy(&out).into_owned()))
}
