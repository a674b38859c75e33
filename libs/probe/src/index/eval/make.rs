//! Values made of values.

use std::borrow::Cow;

use super::super::text::{Elements, Members};
use super::Eval;
use super::value::{Seen, Value};
use crate::analyse::{ERROR, Literal, Making, YES};
use crate::value::Num;

impl<'e> Eval<'e> {
    pub(super) fn make(&mut self, value: Value<'e>, how: Making) -> Value<'e> {
        let seen = self.see(&value);
        match how {
            Making::Type => Value::Text(Cow::Borrowed(seen.kind().0)),
            Making::IsKind(kind) => Value::Bool(seen.kind().1 & kind != 0),
            Making::Lower | Making::Upper => match seen {
                Seen::Str(text) => {
                    self.counted.bytes += text.len();
                    let made = if how == Making::Lower { text.to_ascii_lowercase() } else { text.to_ascii_uppercase() };
                    Value::Text(Cow::Owned(made))
                }
                _ => Value::Not(ERROR),
            },
            Making::ToString => match seen {
                Seen::Str(_) => value,
                Seen::Null => Value::Text(Cow::Borrowed(b"null")),
                Seen::Bool(true) => Value::Text(Cow::Borrowed(b"true")),
                Seen::Bool(false) => Value::Text(Cow::Borrowed(b"false")),
                Seen::Num(Num::Int(i)) => Value::Text(Cow::Owned(i.to_string().into_bytes())),
                _ => Value::Not(YES),
            },
            Making::ToNumber => match seen {
                Seen::Num(n) => Value::Num(n),
                Seen::Str(text) => plain_integer(&text).map_or(Value::Not(YES | ERROR), |i| Value::Num(Num::Int(i))),
                _ => Value::Not(ERROR),
            },
            Making::Length => self.length(&seen, &value),
        }
    }

    fn length(&mut self, seen: &Seen<'_>, value: &Value<'e>) -> Value<'e> {
        let count = match (seen, value) {
            (Seen::Null, _) => 0,
            (Seen::Str(text), _) => {
                self.counted.bytes += text.len();
                text.iter().filter(|b| !(0x80..0xc0).contains(*b)).count()
            }
            (Seen::Arr, Value::Raw(array)) => {
                self.counted.looked += array.len();
                Elements::new(array).count()
            }
            (Seen::Arr, Value::Literal(Literal::Arr(all))) => all.len(),
            (Seen::Obj, Value::Raw(object)) => {
                self.counted.looked += object.len();
                Members::new(object).count()
            }
            (Seen::Bool(_), _) => return Value::Not(ERROR),
            _ => return Value::Not(YES),
        };
        i64::try_from(count).map_or(Value::Not(YES), |count| Value::Num(Num::Int(count)))
    }
}

/// Digits that everybody reads alike.
fn plain_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => digits.len() <= 15 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}
