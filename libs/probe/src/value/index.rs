//! Reading and changing parts of values: what paths do.

use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{Exn, ValX};

use super::{Error, Items, Map, Str, Val, ValR, copying};
use crate::budget::{room, work};

/// An index beyond this is refused when it would make an array grow.
const INDEX_MAX: usize = 1 << 29;

/// The elements `start..end` of something of `len` elements, by jq's rules for negative and fractional bounds.
fn bounds(range: Range<&Val>, len: usize) -> Result<(usize, usize), Error> {
    let place = |bound: Option<&Val>, default: usize, up: bool| match bound {
        None | Some(Val::Null) => Ok(default),
        Some(v) => {
            let n = v.num().ok_or_else(|| Error::str("start and end of a slice must be numbers"))?;
            let n = if up { n.ceil() } else { n.floor() };
            let size = i64::try_from(len).unwrap_or(i64::MAX);
            Ok(usize::try_from(if n < 0 { n.saturating_add(size).max(0) } else { n.min(size) }).unwrap_or(0))
        }
    };
    let start = place(range.start, 0, false)?;
    let end = place(range.end, len, true)?;
    Ok((start, end.max(start)))
}

/// The bounds that `{start, end}` as an index gives; it must have both.
fn object_bounds(map: &Map) -> Result<Range<&Val>, Error> {
    match (map.get(b"start"), map.get(b"end")) {
        (start @ Some(_), end @ Some(_)) => Ok(start..end),
        _ => Err(Error::str("start and end of a slice must be numbers")),
    }
}

impl Str {
    /// Characters `start..end`.
    fn chars(&self, range: Range<&Val>) -> Result<Str, Error> {
        let text = self.as_str();
        crate::budget::work_bytes(text.len());
        let (start, end) = bounds(range, text.chars().count())?;
        let byte = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
        Ok(self.slice(byte(start), byte(end)))
    }
}

/// Places where `part` begins in `items`.
pub(crate) fn sublists<'a>(items: &'a [Val], part: &'a [Val]) -> impl Iterator<Item = Val> + 'a {
    let all = if part.is_empty() { &[] } else { items };
    all.windows(part.len().max(1)).enumerate().filter(move |(_, w)| *w == part).map(|(i, _)| Val::from(i))
}

impl Val {
    /// `.[index]`.
    pub(crate) fn at(&self, index: &Val) -> ValR {
        Ok(match (self, index) {
            (Self::Obj(map), Self::Str(key)) => map.get(key.as_bytes()).cloned().unwrap_or_default(),
            (Self::Null, Self::Str(_) | Self::Int(_) | Self::Float(_) | Self::Dec(_) | Self::Obj(_)) => Self::Null,
            (Self::Arr(items), Self::Arr(part)) => sublists(items.as_slice(), part.as_slice()).collect(),
            (Self::Arr(_) | Self::Str(_), Self::Obj(map)) => self.part(object_bounds(map)?)?,
            (Self::Arr(items), n) => {
                let n = n.num().ok_or_else(|| Error::index(self.clone(), index.clone()))?;
                if n.f64().is_nan() {
                    return Ok(Self::Null);
                }
                place(n.floor(), items.len()).and_then(|i| items.as_slice().get(i)).cloned().unwrap_or_default()
            }
            _ => return Err(Error::index(self.clone(), index.clone())),
        })
    }

    /// `.[start:end]`.
    pub(crate) fn part(&self, range: Range<&Val>) -> ValR {
        match self {
            Self::Null => Ok(Self::Null),
            Self::Str(s) => s.chars(range).map(Self::Str),
            Self::Arr(items) => {
                let (start, end) = bounds(range, items.len())?;
                let part = items.as_slice().get(start..end).unwrap_or_default();
                copying(part.len());
                Ok(Self::arr(part.to_vec()))
            }
            v => Err(Error::typ(v.clone(), "array or string")),
        }
    }

    /// `.[] |= f`.
    pub(crate) fn change_each<'a, I: Iterator<Item = ValX<'a, Val>>>(
        self,
        opt: Opt,
        f: impl Fn(Val) -> I,
    ) -> ValX<'a, Val> {
        match self {
            Self::Arr(items) => {
                let changed = Items::take(items).into_iter().flat_map(|v| {
                    work(1);
                    f(v)
                });
                Ok(Self::arr(changed.collect::<Result<_, _>>()?))
            }
            Self::Obj(map) => Map::take(map).map(|v| f(v).next().transpose()).map(Self::obj),
            v => opt.fail(v, |v| Exn::from(Error::typ(v, "array or object"))),
        }
    }

    /// `.[index] |= f`; no output of `f` deletes.
    pub(crate) fn change_at<'a, I: Iterator<Item = ValX<'a, Val>>>(
        self,
        index: &Val,
        opt: Opt,
        f: impl Fn(Val) -> I,
    ) -> ValX<'a, Val> {
        match (self, index) {
            (Self::Null, Self::Str(key)) => change_member(Rc::new(Map::default()), key, f),
            (Self::Obj(map), Self::Str(key)) => change_member(map, key, f),
            (v @ (Self::Null | Self::Arr(_)), Self::Obj(map)) => match object_bounds(map) {
                Ok(range) => v.change_part(range, opt, f),
                Err(e) => opt.fail(v, |_| Exn::from(e)),
            },
            (Self::Null, n) if n.num().is_some() => change_element(Rc::default(), n, opt, f),
            (Self::Arr(items), n) if n.num().is_some() => change_element(items, n, opt, f),
            (v, _) => opt.fail(v, |v| Exn::from(Error::index(v, index.clone()))),
        }
    }

    /// `.[start:end] |= f`.
    pub(crate) fn change_part<'a, I: Iterator<Item = ValX<'a, Val>>>(
        self,
        range: Range<&Val>,
        opt: Opt,
        f: impl Fn(Val) -> I,
    ) -> ValX<'a, Val> {
        let mut items = match self {
            Self::Null => Rc::default(),
            Self::Arr(items) => items,
            v => return opt.fail(v, |v| Exn::from(Error::typ(v, "array"))),
        };
        let (start, end) = match bounds(range, items.len()) {
            Ok(place) => place,
            Err(e) => return opt.fail(Self::Arr(items), |_| Exn::from(e)),
        };
        let part = items.as_slice().get(start..end).unwrap_or_default();
        copying(part.len());
        let new = match f(Self::arr(part.to_vec())).next().transpose()? {
            None => Vec::new(),
            Some(Self::Arr(new)) => Items::take(new),
            Some(v) => return Err(Exn::from(Error::typ(v, "array"))),
        };
        copying(items.len());
        Items::make_mut(&mut items).splice(start..end, new);
        Ok(Self::Arr(items))
    }
}

fn place(n: i64, len: usize) -> Option<usize> {
    if n >= 0 { usize::try_from(n).ok() } else { len.checked_sub(usize::try_from(n.unsigned_abs()).ok()?) }
}

fn change_member<'a, I: Iterator<Item = ValX<'a, Val>>>(
    mut map: Rc<Map>,
    key: &Str,
    f: impl Fn(Val) -> I,
) -> ValX<'a, Val> {
    let members = Map::make_mut(&mut map);
    let old = members.get_mut(key.as_bytes()).map(std::mem::take);
    match f(old.unwrap_or_default()).next().transpose()? {
        Some(new) => members.insert(key.clone(), new),
        None => members.remove(key.as_bytes()),
    }
    Ok(Val::Obj(map))
}

fn change_element<'a, I: Iterator<Item = ValX<'a, Val>>>(
    mut items: Rc<Items>,
    index: &Val,
    opt: Opt,
    f: impl Fn(Val) -> I,
) -> ValX<'a, Val> {
    let n = index.num().map_or(0, super::Num::floor);
    let Some(i) = place(n, items.len()).filter(|i| *i <= INDEX_MAX) else {
        return opt
            .fail(Val::Arr(items), |_| Exn::from(Error::str(format_args!("array index {index} is out of bounds"))));
    };
    let list = Items::make_mut(&mut items);
    let old = list.get_mut(i).map(std::mem::take);
    match f(old.unwrap_or_default()).next().transpose()? {
        Some(new) => {
            if i >= list.len() {
                room((i + 1).saturating_mul(size_of::<Val>()));
                work(i - list.len());
                list.resize(i + 1, Val::Null);
            }
            if let Some(old) = list.get_mut(i) {
                *old = new;
            }
        }
        None if i < list.len() => {
            work(list.len() / 16);
            list.remove(i);
        }
        None => {}
    }
    Ok(Val::Arr(items))
}
