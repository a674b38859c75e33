//! What jaq asks of a value: conversions, arithmetic, iteration.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::ops::Math;
use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{ValT, ValX};

use super::{Error, Items, Map, Num, Str, Val, ValR, copying, sort_total};
use crate::budget::{room, work, work_bytes};

impl From<bool> for Val {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<isize> for Val {
    fn from(i: isize) -> Self {
        // No target has more than 64 bits.
        Self::Int(i64::try_from(i).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Val {
    fn from(i: usize) -> Self {
        Self::Int(i64::try_from(i).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Val {
    fn from(f: f64) -> Self {
        Self::Float(f)
    }
}

impl From<String> for Val {
    fn from(s: String) -> Self {
        Self::Str(Str::from(s))
    }
}

impl From<Range<Val>> for Val {
    fn from(range: Range<Val>) -> Self {
        let mut map = Map::default();
        map.insert(Str::from("start"), range.start.unwrap_or_default());
        map.insert(Str::from("end"), range.end.unwrap_or_default());
        Self::obj(map)
    }
}

impl FromIterator<Val> for Val {
    fn from_iter<T: IntoIterator<Item = Val>>(iter: T) -> Self {
        Self::arr(iter.into_iter().collect())
    }
}

/// Units of work of an element that is handed to jaq: as much as a term.
const ELEMENT: usize = 16;

impl ValT for Val {
    fn from_num(n: &str) -> ValR {
        Ok(Self::literal(n))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(iter: I) -> ValR {
        let mut map = Map::default();
        for (key, value) in iter {
            match key {
                Self::Str(key) => map.insert(key, value),
                key => return Err(Error::typ(key, "object key")),
            }
        }
        Ok(Self::obj(map))
    }

    fn key_values(self) -> BoxIter<'static, Result<(Self, Self), Error>> {
        match self {
            Self::Arr(items) => Box::new((0..items.len()).map(move |i| {
                work(ELEMENT);
                Ok((Self::from(i), items.as_slice().get(i).cloned().unwrap_or_default()))
            })),
            Self::Obj(map) => Box::new((0..map.len()).map(move |i| {
                work(ELEMENT);
                let (key, value) = map.at(i).unwrap_or((&Str::EMPTY, &Val::Null));
                Ok((Self::Str(key.clone()), value.clone()))
            })),
            v => box_once(Err(Error::typ(v, "array or object"))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR>> {
        match self {
            Self::Arr(items) => Box::new((0..items.len()).map(move |i| {
                work(ELEMENT);
                Ok(items.as_slice().get(i).cloned().unwrap_or_default())
            })),
            Self::Obj(map) => Box::new((0..map.len()).map(move |i| {
                work(ELEMENT);
                Ok(map.at(i).map(|(_, v)| v.clone()).unwrap_or_default())
            })),
            v => box_once(Err(Error::typ(v, "array or object"))),
        }
    }

    fn index(self, index: &Self) -> ValR {
        self.at(index)
    }

    fn range(self, range: Range<&Self>) -> ValR {
        self.part(range)
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        self.change_each(opt, f)
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        self.change_at(index, opt, f)
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        self.change_part(range, opt, f)
    }

    fn as_bool(&self) -> bool {
        Val::as_bool(self)
    }

    fn into_string(self) -> Self {
        Self::Str(self.text())
    }
}

impl jaq_std::ValT for Val {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self {
            Self::Arr(items) => Ok(Items::take(items).into_iter().collect()),
            v => Err(v),
        }
    }

    fn is_int(&self) -> bool {
        matches!(self, Self::Int(_))
    }

    fn as_isize(&self) -> Option<isize> {
        match self.num()? {
            Num::Int(i) => isize::try_from(i).ok(),
            // Times and the like are often doubles without a fraction.
            n @ Num::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => isize::try_from(n.floor()).ok(),
            Num::Float(_) => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        self.num().map(Num::f64)
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Self::Str(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Str(s) => Some(s.as_bytes()),
            _ => None,
        }
    }

    fn as_sub_str(&self, sub: &[u8]) -> Self {
        match self {
            Self::Str(s) => Self::Str(s.slice_at(sub)),
            _ => Self::Null,
        }
    }

    fn from_utf8_bytes(b: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::from(String::from_utf8_lossy(b.as_ref()).into_owned())
    }
}

impl Add for Val {
    type Output = ValR;

    fn add(self, other: Self) -> ValR {
        match (self, other) {
            (Self::Null, v) | (v, Self::Null) => Ok(v),
            (Self::Str(l), Self::Str(r)) => {
                work_bytes(r.len());
                Ok(Self::Str(l.push(&r)))
            }
            (Self::Arr(mut l), Self::Arr(r)) => {
                copying(r.len());
                Items::make_mut(&mut l).extend_from_slice(r.as_slice());
                Ok(Self::Arr(l))
            }
            (Self::Obj(mut l), Self::Obj(r)) => {
                work(r.len());
                let members = Map::make_mut(&mut l);
                r.iter().for_each(|(k, v)| members.insert(k.clone(), v.clone()));
                Ok(Self::Obj(l))
            }
            (l, r) => match (l.num(), r.num()) {
                (Some(x), Some(y)) => Ok(x.both(y, i64::checked_add, |x, y| x + y)),
                _ => Err(Error::math(l, Math::Add, r)),
            },
        }
    }
}

impl Sub for Val {
    type Output = ValR;

    fn sub(self, other: Self) -> ValR {
        match (self, other) {
            (Self::Arr(l), Self::Arr(r)) => {
                let mut gone: Vec<&Val> = r.as_slice().iter().collect();
                sort_total(&mut gone);
                let mut left = Items::take(l);
                left.retain(|v| {
                    work(1);
                    gone.binary_search(&v).is_err()
                });
                Ok(Self::arr(left))
            }
            (l, r) => match (l.num(), r.num()) {
                (Some(x), Some(y)) => Ok(x.both(y, i64::checked_sub, |x, y| x - y)),
                _ => Err(Error::math(l, Math::Sub, r)),
            },
        }
    }
}

/// A string `n` times, rounded down; null if that is less than none, as from jq 1.8 on.
fn repeat(s: &Str, n: Num) -> Val {
    if n.f64().is_nan() || n.f64() < 0.0 {
        return Val::Null;
    }
    let times = usize::try_from(n.floor()).unwrap_or(usize::MAX);
    let bytes = s.len().saturating_mul(times);
    room(bytes);
    work_bytes(bytes);
    Val::from(s.as_str().repeat(times))
}

fn merge(l: &mut Rc<Map>, r: &Map) {
    work(r.len());
    let members = Map::make_mut(l);
    for (key, value) in r.iter() {
        match (members.get_mut(key.as_bytes()), value) {
            (Some(Val::Obj(l)), Val::Obj(r)) => merge(l, r),
            (Some(l), r) => *l = r.clone(),
            (None, r) => members.insert(key.clone(), r.clone()),
        }
    }
}

impl Mul for Val {
    type Output = ValR;

    fn mul(self, other: Self) -> ValR {
        match (self, other) {
            (Self::Obj(mut l), Self::Obj(r)) => {
                merge(&mut l, &r);
                Ok(Self::Obj(l))
            }
            (l, r) => match (l.num(), &l, r.num(), &r) {
                (Some(x), _, Some(y), _) => Ok(x.both(y, i64::checked_mul, |x, y| x * y)),
                (Some(n), _, _, Self::Str(s)) | (_, Self::Str(s), Some(n), _) => Ok(repeat(s, n)),
                _ => Err(Error::math(l, Math::Mul, r)),
            },
        }
    }
}

/// The pieces of `s` between `by`; its characters if `by` is empty.
pub(crate) fn split(s: &Str, by: &Str) -> Val {
    let (text, sep) = (s.as_str(), by.as_str());
    work_bytes(text.len());
    let pieces = if sep.is_empty() { text.len() } else { text.matches(sep).count() };
    copying(pieces);
    if text.is_empty() {
        Val::arr(Vec::new())
    } else if sep.is_empty() {
        text.char_indices().map(|(at, c)| Val::Str(s.slice(at, at + c.len_utf8()))).collect()
    } else {
        text.split(sep).map(|part| Val::Str(s.slice_at(part.as_bytes()))).collect()
    }
}

impl Div for Val {
    type Output = ValR;

    fn div(self, other: Self) -> ValR {
        match (self, other) {
            (Self::Str(l), Self::Str(r)) => Ok(split(&l, &r)),
            (l, r) => match (l.num(), r.num()) {
                (Some(_), Some(y)) if y.f64() == 0.0 => Err(Error::str(format_args!("cannot divide {l} by zero"))),
                (Some(x), Some(y)) => Ok(x.both(
                    y,
                    |x, y| if x.checked_rem(y) == Some(0) { x.checked_div(y) } else { None },
                    |x, y| x / y,
                )),
                _ => Err(Error::math(l, Math::Div, r)),
            },
        }
    }
}

impl Rem for Val {
    type Output = ValR;

    /// As jq: both sides are cut to integers first, the result has the sign of the left one.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is meant")]
    fn rem(self, other: Self) -> ValR {
        let (Some(x), Some(y)) = (self.num(), other.num()) else { return Err(Error::math(self, Math::Rem, other)) };
        let whole = |n: Num| match n {
            Num::Int(i) => i,
            Num::Float(f) => f as i64,
        };
        match whole(y) {
            _ if x.f64().is_nan() || y.f64().is_nan() => Ok(Self::Float(f64::NAN)),
            0 => Err(Error::str(format_args!("cannot divide {self} by zero"))),
            y => Ok(Self::Int(whole(x).wrapping_rem(y))),
        }
    }
}

impl Neg for Val {
    type Output = ValR;

    fn neg(self) -> ValR {
        match self.num().map(Num::negated) {
            Some(Num::Int(i)) => Ok(Self::Int(i)),
            Some(Num::Float(f)) => Ok(Self::Float(f)),
            None => Err(Error::typ(self, "number")),
        }
    }
}
