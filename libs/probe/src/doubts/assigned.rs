//! `.a = 1` where a condition stands: it gives the changed value, which is always true.

use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::path::Part;

use super::{At, Doubted, Found};
use crate::clauses::tree::children;
use crate::literals;

const MESSAGE: &str = "`=` changes a value and is always true; did you mean `==`?";

/// Keys of an event. What is given to any other is made for people (`.title = …`).
const EVENT: [&str; 11] =
    ["v", "id", "type", "time", "received", "source", "tags", "machine", "request", "objects", "payload"];

pub(super) fn find<'s>(program: &Term<&'s str>, at: &At<'s, '_>, found: &mut Found<'s>) {
    outcome(program, at, found);
    everywhere(program, at, found);
}

/// The term whose outputs are those of a program.
pub(super) fn end<'a, 's>(term: &'a Term<&'s str>) -> &'a Term<&'s str> {
    match term {
        Term::BinOp(_, BinaryOp::Pipe(_), r) => end(r),
        Term::Def(_, inner) | Term::Label(_, inner) => end(inner),
        term => term,
    }
}

/// The event itself, changed: what the whole filter gives.
fn outcome<'s>(program: &Term<&'s str>, at: &At<'s, '_>, found: &mut Found<'s>) {
    let last = end(program);
    if let Term::BinOp(l, BinaryOp::Assign, _) = last {
        let alone = std::ptr::eq(last, program);
        let of_event = first_key(l).is_some_and(|key| EVENT.contains(&key.as_str()));
        if alone || (of_event && passes_on(program)) {
            tell(last, at, found);
        }
    }
}

/// Whether what comes before the end only lets the event pass, or not.
fn passes_on(term: &Term<&str>) -> bool {
    match term {
        Term::BinOp(l, BinaryOp::Pipe(None), r) => {
            matches!(&**l, Term::Id | Term::Call("select" | "objects" | "values", _)) && passes_on(r)
        }
        Term::BinOp(_, BinaryOp::Pipe(Some(_)), r) => passes_on(r),
        Term::Def(_, inner) => passes_on(inner),
        _ => true,
    }
}

/// Every condition of the program, those of its own functions too.
fn everywhere<'s>(term: &Term<&'s str>, at: &At<'s, '_>, found: &mut Found<'s>) {
    match term {
        Term::Call("select", args) => args.iter().for_each(|condition| tested(condition, at, found)),
        Term::Call("any" | "all", args) => args.last().into_iter().for_each(|condition| tested(condition, at, found)),
        Term::IfThenElse(branches, _) => branches.iter().for_each(|(condition, _)| tested(condition, at, found)),
        Term::BinOp(l, BinaryOp::And | BinaryOp::Or, r) => {
            tested(l, at, found);
            tested(r, at, found);
        }
        Term::BinOp(l, BinaryOp::Pipe(None), r) => {
            let negated = |term: &Term<&str>| matches!(term, Term::Call("not", args) if args.is_empty());
            let next = if let Term::BinOp(next, BinaryOp::Pipe(None), _) = &**r { next } else { r };
            if negated(next) {
                tested(l, at, found);
            }
        }
        _ => {}
    }
    children(term).into_iter().for_each(|inner| everywhere(inner, at, found));
}

fn tested<'s>(condition: &Term<&'s str>, at: &At<'s, '_>, found: &mut Found<'s>) {
    let last = end(condition);
    if let Term::BinOp(_, BinaryOp::Assign, _) = last {
        tell(last, at, found);
    }
}

fn tell<'s>(assignment: &Term<&'s str>, at: &At<'s, '_>, found: &mut Found<'s>) {
    let Term::BinOp(l, _, r) = assignment else { return };
    let whole = at.range(assignment).unwrap_or_default();
    let from = at.range(l).map_or(whole.start, |left| left.end);
    let to = at.range(r).map_or(whole.end, |right| right.start);
    let sign =
        at.text.get(from..to).and_then(|between| between.find('=')).and_then(|i| at.text.get(from + i..=from + i));
    let part = sign.or_else(|| at.text.get(whole)).unwrap_or(at.text);
    // A condition may be found by two ways.
    if found.iter().all(|(_, told, _)| !std::ptr::eq(*told, part)) {
        found.push((Doubted::Assigned, part, MESSAGE.to_owned()));
    }
}

/// `a` of `.a.b`.
fn first_key(target: &Term<&str>) -> Option<String> {
    match target {
        Term::Path(inner, path) => match (&**inner, path.0.first()) {
            (Term::Id, Some((Part::Index(key), _))) => literals::text(key).map(|(key, _)| key),
            (inner, _) => first_key(inner),
        },
        _ => None,
    }
}
