//! jq's order: null, false, true, numbers, strings, arrays, objects.

use std::cmp::Ordering;

use super::{Num, Val};
use crate::budget::work;

fn rank(v: &Val) -> u8 {
    match v {
        Val::Null => 0,
        Val::Bool(_) => 1,
        Val::Int(_) | Val::Float(_) | Val::Dec(_) => 2,
        Val::Str(_) => 3,
        Val::Arr(_) => 4,
        Val::Obj(_) => 5,
    }
}

/// A total order of numbers; NaN is the smallest and equals itself, which sorting needs.
fn numbers(l: &Val, r: &Val) -> Ordering {
    match (l.num(), r.num()) {
        (Some(Num::Int(l)), Some(Num::Int(r))) => l.cmp(&r),
        (Some(l), Some(r)) => {
            let (l, r) = (l.f64(), r.f64());
            l.partial_cmp(&r).unwrap_or_else(|| r.is_nan().cmp(&l.is_nan()))
        }
        _ => Ordering::Equal,
    }
}

/// Sorts by `Ord`. The slice's own `sort` goes by `<`, which is not total: NaN is smaller than itself.
pub(crate) fn sort_total<T: std::borrow::Borrow<Val>>(items: &mut [T]) {
    items.sort_by(|l, r| l.borrow().cmp(r.borrow()));
}

impl Ord for Val {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(l), Self::Bool(r)) => l.cmp(r),
            (Self::Str(l), Self::Str(r)) => {
                crate::budget::work_bytes(l.len().min(r.len()));
                l.cmp(r)
            }
            (Self::Arr(l), Self::Arr(r)) => {
                work(1);
                let pairs = l.as_slice().iter().zip(r.as_slice());
                let first = pairs.map(|(l, r)| l.cmp(r)).find(|o| o.is_ne());
                first.unwrap_or_else(|| l.len().cmp(&r.len()))
            }
            (Self::Obj(l), Self::Obj(r)) => {
                let (l, r) = (l.sorted(), r.sorted());
                let keys = l.iter().map(|(k, _)| k).cmp(r.iter().map(|(k, _)| k));
                keys.then_with(|| l.iter().map(|(_, v)| v).cmp(r.iter().map(|(_, v)| v)))
            }
            (l, r) if rank(l) == 2 && rank(r) == 2 => numbers(l, r),
            (l, r) => rank(l).cmp(&rank(r)),
        }
    }
}

#[expect(clippy::non_canonical_partial_ord_impl, reason = "in jq NaN is smaller than anything, itself included")]
impl PartialOrd for Val {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Float(l), Self::Float(r)) if l.is_nan() && r.is_nan() => Some(Ordering::Less),
            _ => Some(self.cmp(other)),
        }
    }
}

impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(l), Self::Bool(r)) => l == r,
            (Self::Int(l), Self::Int(r)) => l == r,
            (Self::Str(l), Self::Str(r)) => {
                crate::budget::work_bytes(if l.len() == r.len() { l.len() } else { 0 });
                l == r
            }
            (Self::Arr(l), Self::Arr(r)) => {
                work(1);
                l.len() == r.len() && l.as_slice().iter().zip(r.as_slice()).all(|(l, r)| l == r)
            }
            (Self::Obj(l), Self::Obj(r)) => {
                work(1);
                l.len() == r.len() && l.iter().all(|(k, v)| r.get(k.as_bytes()).is_some_and(|w| v == w))
            }
            (l, r) if rank(l) == 2 && rank(r) == 2 => {
                let (l, r) = (l.num().map(Num::f64), r.num().map(Num::f64));
                l == r
            }
            _ => false,
        }
    }
}

impl Eq for Val {}
