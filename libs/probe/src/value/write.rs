//! Values as JSON text.

use std::fmt;

use super::{Str, Val, num};
use crate::budget::{room, work, work_bytes};

/// Who reads the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Another program: what is no JSON, or deeper than a line may be, is an error.
    Strict,
    /// The filter itself (`tojson`): as jq, NaN is null and infinity the biggest number.
    Lenient,
}

/// Why a value has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteError {
    Number,
    Depth,
    Length,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "output holds a number that JSON has not (nan or infinite)",
            Self::Depth => "output is nested too deeply",
            Self::Length => "output is longer than a line may be",
        })
    }
}

impl Val {
    /// JSON text of at most about `most` bytes.
    pub(crate) fn json(&self, mode: Mode, most: usize) -> Result<String, WriteError> {
        let mut out = Vec::new();
        write(self, mode, most, 0, &mut out)?;
        // Only ASCII and valid strings were written.
        Ok(String::from_utf8(out).unwrap_or_default())
    }
}

fn write(v: &Val, mode: Mode, most: usize, depth: usize, out: &mut Vec<u8>) -> Result<(), WriteError> {
    work(1);
    if out.len() > most {
        return Err(WriteError::Length);
    }
    match v {
        Val::Null => out.extend_from_slice(b"null"),
        Val::Bool(true) => out.extend_from_slice(b"true"),
        Val::Bool(false) => out.extend_from_slice(b"false"),
        Val::Int(i) => out.extend_from_slice(i.to_string().as_bytes()),
        Val::Float(f) => match num::format(*f) {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None if mode == Mode::Strict => return Err(WriteError::Number),
            None if f.is_nan() => out.extend_from_slice(b"null"),
            None if *f > 0.0 => out.extend_from_slice(b"1.7976931348623157e+308"),
            None => out.extend_from_slice(b"-1.7976931348623157e+308"),
        },
        Val::Dec(text) => out.extend_from_slice(text.as_bytes()),
        Val::Str(s) => string(s, out),
        Val::Arr(_) | Val::Obj(_) if mode == Mode::Strict && depth >= event::DEPTH_MAX => {
            return Err(WriteError::Depth);
        }
        Val::Arr(items) => {
            out.push(b'[');
            for (i, item) in items.as_slice().iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, mode, most, depth + 1, out)?;
            }
            out.push(b']');
        }
        Val::Obj(map) => {
            out.push(b'{');
            for (i, (key, value)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                write(value, mode, most, depth + 1, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn string(s: &Str, out: &mut Vec<u8>) {
    work_bytes(s.len());
    room(s.len());
    event::json::write_str(s.as_str(), out);
}

/// Longest text of a value in a message, in bytes.
const SHOWN: usize = 60;

impl fmt::Display for Val {
    /// JSON text for messages, cut after some characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        if let Self::Str(s) = self
            && s.len() > SHOWN
        {
            let start: String = s.as_str().chars().take(SHOWN).collect();
            event::json::write_str(&start, &mut out);
        } else {
            let _ = write(self, Mode::Lenient, SHOWN, 0, &mut out);
        }
        let text = String::from_utf8_lossy(&out);
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{}…", text.get(..end).unwrap_or_default()),
            None => f.write_str(&text),
        }
    }
}
