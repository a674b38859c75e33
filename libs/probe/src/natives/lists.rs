//! Functions of arrays and objects.

use jaq_core::box_iter::box_once;
use jaq_core::native::{bome, unary, v};
use jaq_core::{Cv, Exn, ValX};

use super::{Run, f, fail};
use crate::budget;
use crate::program::Engine;
use crate::value::{Error, Items, Str, Val, ValR, copying, sort_total};

pub(super) fn natives() -> Vec<Run> {
    vec![
        ("keys", v(0), |cv| bome(keys(&cv.1))),
        ("add", v(0), |cv| bome(add(cv.1))),
        ("reverse", v(0), |cv| bome(reverse(cv.1))),
        ("sort", v(0), |cv| bome(array(cv.1).map(|items| Val::arr(sorted(items))))),
        ("unique", v(0), |cv| bome(array(cv.1).map(unique))),
        ("min", v(0), |cv| bome(array(cv.1).map(|a| a.into_iter().reduce(smaller).unwrap_or_default()))),
        ("max", v(0), |cv| bome(array(cv.1).map(|a| a.into_iter().reduce(bigger).unwrap_or_default()))),
        ("sort_by", f(), |cv| box_once(keyed(cv).map(|rows| rows.into_iter().map(|(_, v)| v).collect()))),
        ("group_by", f(), |cv| box_once(keyed(cv).map(groups))),
        ("min_by", f(), |cv| box_once(keyed(cv).map(|rows| rows.into_iter().next().map(|r| r.1).unwrap_or_default()))),
        ("max_by", f(), |cv| box_once(keyed(cv).map(|mut rows| rows.pop().map(|r| r.1).unwrap_or_default()))),
        ("has", v(1), |cv| unary(cv, |x, key| has(&x, &key))),
        ("contains", v(1), |cv| unary(cv, |x, part| contains(&x, &part).map(Val::Bool))),
        ("indices", v(1), |cv| unary(cv, |x, part| indices(&x, &part))),
        ("bsearch", v(1), |cv| unary(cv, bsearch)),
        ("delpaths", v(1), |cv| unary(cv, delpaths)),
        ("join", v(1), |cv| unary(cv, join)),
    ]
}

fn array(value: Val) -> Result<Vec<Val>, Error> {
    match value {
        Val::Arr(items) => Ok(Items::take(items)),
        v => Err(Error::typ(v, "array")),
    }
}

fn keys(value: &Val) -> ValR {
    match value {
        Val::Arr(items) => {
            copying(items.len());
            Ok((0..items.len()).map(Val::from).collect())
        }
        Val::Obj(map) => {
            copying(map.len());
            Ok(map.sorted().into_iter().map(|(key, _)| Val::Str(key.clone())).collect())
        }
        v => Err(Error::typ(v.clone(), "array or object")),
    }
}

fn add(value: Val) -> ValR {
    let values = match value {
        Val::Arr(items) => Items::take(items),
        Val::Obj(map) => map.iter().map(|(_, v)| v.clone()).collect(),
        v => return Err(Error::typ(v, "array or object")),
    };
    values.into_iter().try_fold(Val::Null, |sum, v| {
        budget::work(1);
        sum + v
    })
}

fn reverse(value: Val) -> ValR {
    match value {
        Val::Null => Ok(Val::arr(Vec::new())),
        // jq goes from its length down, which is 0.
        v if v.num().is_some_and(|n| n.f64() == 0.0) => Ok(Val::arr(Vec::new())),
        Val::Str(s) => {
            budget::work_bytes(s.len());
            Ok(Val::from(s.as_str().chars().rev().collect::<String>()))
        }
        v => array(v).map(|mut items| {
            budget::work(items.len());
            items.reverse();
            Val::arr(items)
        }),
    }
}

/// Counts a sort of `n` values: about log n looks at each.
fn sorting(n: usize) {
    budget::work(n.saturating_mul(n.checked_ilog2().unwrap_or(0) as usize + 1));
}

fn sorted(mut items: Vec<Val>) -> Vec<Val> {
    sorting(items.len());
    sort_total(&mut items);
    items
}

fn unique(items: Vec<Val>) -> Val {
    let mut items = sorted(items);
    items.dedup_by(|l, r| Ord::cmp(&*l, &*r).is_eq());
    Val::arr(items)
}

fn smaller(l: Val, r: Val) -> Val {
    if r.cmp(&l).is_lt() { r } else { l }
}

fn bigger(l: Val, r: Val) -> Val {
    if r.cmp(&l).is_lt() { l } else { r }
}

/// The input's elements with what the argument gives for each, sorted by that (equal ones in their order).
fn keyed<'a>(mut cv: Cv<'a, Engine>) -> Result<Vec<(Val, Val)>, Exn<'a, Val>> {
    let (f, ctx) = cv.0.pop_fun();
    let items = array(cv.1)?;
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let key: Val = f.run((ctx.clone(), item.clone())).collect::<ValX<'a, Val>>()?;
        rows.push((key, item));
    }
    sorting(rows.len());
    rows.sort_by(|l, r| l.0.cmp(&r.0));
    Ok(rows)
}

fn groups(rows: Vec<(Val, Val)>) -> Val {
    let mut groups: Vec<(Val, Vec<Val>)> = Vec::new();
    for (key, item) in rows {
        match groups.last_mut() {
            Some((last, group)) if Ord::cmp(&*last, &key).is_eq() => group.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    groups.into_iter().map(|(_, group)| Val::arr(group)).collect()
}

fn has(value: &Val, key: &Val) -> ValR {
    match (value, key) {
        (Val::Null, _) => Ok(Val::Bool(false)),
        (Val::Obj(map), Val::Str(key)) => Ok(Val::Bool(map.get(key.as_bytes()).is_some())),
        (Val::Arr(items), n) if n.num().is_some() => {
            let n = n.num().map_or(f64::NAN, crate::value::Num::f64);
            #[expect(clippy::cast_precision_loss, reason = "an array has fewer than 2^53 elements")]
            Ok(Val::Bool(n >= 0.0 && n < items.len() as f64))
        }
        _ => fail(format_args!("cannot check whether {} has a {} key", value.kind(), key.kind())),
    }
}

/// Of different kinds (`true` and `false` are two) it is an error, but further within only no.
fn contains(value: &Val, part: &Val) -> Result<bool, Error> {
    match (value, part) {
        (Val::Bool(l), Val::Bool(r)) if l != r => fail(format_args!("cannot check whether {l} contains {r}")),
        (l, r) if l.kind() == r.kind() => Ok(holds(l, r)),
        (l, r) => fail(format_args!("cannot check whether {} contains {}", l.kind(), r.kind())),
    }
}

fn holds(value: &Val, part: &Val) -> bool {
    budget::work(1);
    match (value, part) {
        (Val::Obj(l), Val::Obj(r)) => {
            r.iter().all(|(key, part)| l.get(key.as_bytes()).is_some_and(|value| holds(value, part)))
        }
        (Val::Arr(l), Val::Arr(r)) => {
            r.as_slice().iter().all(|part| l.as_slice().iter().any(|value| holds(value, part)))
        }
        (Val::Str(l), Val::Str(r)) => {
            budget::work_bytes(l.len());
            l.as_str().contains(r.as_str())
        }
        (l, r) => l == r,
    }
}

fn indices(value: &Val, part: &Val) -> ValR {
    match (value, part) {
        (Val::Null, _) => Ok(Val::Null),
        (Val::Str(s), Val::Str(part)) => Ok(places(s, part)),
        (Val::Arr(items), Val::Arr(part)) => {
            budget::work(items.len());
            Ok(crate::value::sublists(items.as_slice(), part.as_slice()).collect())
        }
        (Val::Arr(items), part) => {
            budget::work(items.len());
            Ok(items.as_slice().iter().enumerate().filter(|(_, v)| *v == part).map(|(i, _)| Val::from(i)).collect())
        }
        (v, part) => Err(Error::index(v.clone(), part.clone())),
    }
}

/// Where `part` stands in `s`, in characters, overlapping places too.
fn places(s: &Str, part: &Str) -> Val {
    let (text, part) = (s.as_str(), part.as_bytes());
    budget::work(text.len());
    if part.is_empty() {
        return Val::Null;
    }
    let starts = text.char_indices().enumerate();
    let found = starts.filter(|(_, (at, _))| text.as_bytes().get(*at..).is_some_and(|rest| rest.starts_with(part)));
    found.map(|(i, _)| Val::from(i)).collect()
}

fn bsearch(value: Val, wanted: Val) -> ValR {
    let Val::Arr(items) = value else { return Err(Error::typ(value, "array")) };
    Ok(match items.as_slice().binary_search(&wanted) {
        Ok(at) => Val::from(at),
        Err(at) => Val::Int(-1 - i64::try_from(at).unwrap_or(i64::MAX - 1)),
    })
}

/// Deletes the last path first, so that no deletion moves what another path means.
fn delpaths(value: Val, paths: Val) -> ValR {
    let mut paths = sorted(array(paths)?);
    paths.dedup();
    paths.into_iter().rev().try_fold(value, |value, path| {
        let path = array(path)?;
        budget::tick();
        delete(value, &path)
    })
}

fn delete(value: Val, path: &[Val]) -> ValR {
    budget::work(1);
    let Some((key, rest)) = path.split_first() else { return Ok(Val::Null) };
    if matches!(value, Val::Null) || (!rest.is_empty() && matches!(value.at(key)?, Val::Null)) {
        return Ok(value);
    }
    let change = |old: Val| {
        let new = if rest.is_empty() { None } else { Some(delete(old, rest).map_err(Exn::from)) };
        new.into_iter()
    };
    let changed = value.change_at(key, jaq_core::path::Opt::Essential, change);
    changed.map_err(|e| e.get_err().unwrap_or_else(|_| Error::str("cannot delete")))
}

fn join(value: Val, by: Val) -> ValR {
    let items = array(value)?;
    let mut text = String::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            text.push_str(super::string(&by)?.as_str());
        }
        match item {
            Val::Null => {}
            Val::Str(s) => text.push_str(s.as_str()),
            Val::Arr(_) | Val::Obj(_) => return Err(Error::typ(item.clone(), "string")),
            v => text.push_str(v.text().as_str()),
        }
        budget::work(1 + item.as_str().map_or(0, str::len) / 16);
        budget::room(0);
    }
    Ok(Val::from(text))
}
