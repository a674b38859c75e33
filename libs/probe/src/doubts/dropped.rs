//! `is_new | {title: "x"}`: whatever the condition says goes nowhere, since the object is made of `false` as well.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::path::{Opt, Part};

use super::assigned::end;
use super::{At, Doubted, Found};
use crate::clauses::tree::children;

const PIPED: &str =
    "this condition decides nothing, for what comes behind its `|` does not ask what it says: put it into `select(…)`";
const LISTED: &str = "this condition decides nothing, for what comes behind its `,` matches in any case: put it into \
                      `select(…)` and write `|`";
const NO_ELSE: &str = "without `else` what came in comes out, which is a match; write `else empty end`";

/// Functions whose answer is true or false, by name and arguments.
const TESTS: [(&str, usize); 44] = [
    ("not", 0),
    ("any", 0),
    ("any", 1),
    ("any", 2),
    ("all", 0),
    ("all", 1),
    ("all", 2),
    ("has", 1),
    ("in", 1),
    ("inside", 1),
    ("IN", 1),
    ("IN", 2),
    ("contains", 1),
    ("startswith", 1),
    ("endswith", 1),
    ("test", 1),
    ("test", 2),
    ("is_new", 0),
    ("is_removed", 0),
    ("is_first_run", 0),
    ("is_on", 0),
    ("is_off", 0),
    ("is_ip", 0),
    ("in_cidr", 1),
    ("is_private_ip", 0),
    ("is_public_ip", 0),
    ("is_loopback_ip", 0),
    ("in_domain", 1),
    ("under", 1),
    ("has_extension", 1),
    ("in_home", 0),
    ("in_downloads", 0),
    ("in_temp", 0),
    ("is_hidden", 0),
    ("older_than", 1),
    ("within", 1),
    ("expires_within", 1),
    ("between", 2),
    ("version_eq", 1),
    ("version_lt", 1),
    ("version_le", 1),
    ("version_gt", 1),
    ("version_ge", 1),
    ("isvalid", 1),
];

/// Functions of an event, which fail on true and false.
const OF_EVENT: [(&str, usize); 8] = [
    ("machine_key", 0),
    ("machine_name", 0),
    ("column", 1),
    ("columns", 0),
    ("rows", 0),
    ("is_new", 0),
    ("is_removed", 0),
    ("is_first_run", 0),
];

/// Names that the filter gives to functions of its own, and whether these are conditions.
pub(super) type Own<'s> = Vec<(&'s str, bool)>;

pub(super) fn find<'s>(program: &Term<&'s str>, at: &At<'s, '_>, found: &mut Found<'s>) {
    let mut own = Own::new();
    names(program, &mut own);
    piped(program, &own, at, found);
    match end(program) {
        Term::BinOp(l, BinaryOp::Comma, r) if decides(l, &own) && matches!(**r, Term::Obj(_)) && is_made(r) => {
            tell(l, LISTED, at, found);
        }
        last @ Term::IfThenElse(branches, None)
            if branches.iter().all(|(_, then)| is_match(end(then))) && lets_in(program, true, false) =>
        {
            tell(last, NO_ELSE, at, found);
        }
        _ => {}
    }
}

pub(super) fn names<'s>(term: &Term<&'s str>, own: &mut Own<'s>) {
    if let Term::Def(defs, _) = term {
        for def in defs {
            let test = def.args.is_empty() && is_test(&def.body, own);
            own.push((def.name, test));
            // What is handed to a function may have a helper's name too.
            own.extend(def.args.iter().map(|arg| (*arg, false)));
        }
    }
    children(term).into_iter().for_each(|inner| names(inner, own));
}

pub(super) fn is_own(name: &str, own: &Own<'_>) -> bool {
    own.iter().any(|(known, _)| *known == name)
}

/// Every `condition | …` whose right side would say the same of true and false, or fail on both.
fn piped<'s>(term: &Term<&'s str>, own: &Own<'s>, at: &At<'s, '_>, found: &mut Found<'s>) {
    if let Term::BinOp(l, BinaryOp::Pipe(None), r) = term
        && is_test(l, own)
    {
        let next = if let Term::BinOp(next, BinaryOp::Pipe(_), _) = &**r { next } else { r };
        if ignores(next, own) {
            tell(end(l), PIPED, at, found);
        }
    }
    children(term).into_iter().for_each(|inner| piped(inner, own, at, found));
}

fn is_test(term: &Term<&str>, own: &Own<'_>) -> bool {
    match term {
        Term::BinOp(_, BinaryOp::Cmp(_) | BinaryOp::And | BinaryOp::Or, _) => true,
        Term::BinOp(_, BinaryOp::Pipe(_), r) => is_test(r, own),
        Term::BinOp(l, BinaryOp::Alt, r) => is_test(l, own) && (is_test(r, own) || is_truth(r)),
        Term::TryCatch(inner, None) => is_test(inner, own),
        Term::Call(name, _) if is_own(name, own) => own.iter().all(|(known, test)| known != name || *test),
        Term::Call(name, args) => TESTS.contains(&(*name, args.len())),
        _ => false,
    }
}

/// A condition, or a `select` with nothing behind it.
fn decides(term: &Term<&str>, own: &Own<'_>) -> bool {
    is_test(term, own) || matches!(end(term), Term::Call("select", args) if args.len() == 1)
}

fn is_truth(term: &Term<&str>) -> bool {
    matches!(term, Term::Call("true" | "false", args) if args.is_empty())
}

/// Whether true and false, given to it, come to the same.
fn ignores(term: &Term<&str>, own: &Own<'_>) -> bool {
    match term {
        Term::Num(_) | Term::Var(_) | Term::Arr(None) => true,
        Term::Str(_, parts) => parts.iter().all(|part| match part {
            StrPart::Term(inner) => ignores(inner, own),
            _ => true,
        }),
        // `{path}` is `.path`, which fails.
        Term::Obj(members) => members
            .iter()
            .all(|(key, value)| ignores(key, own) && value.as_ref().is_none_or(|value| ignores(value, own))),
        Term::Path(inner, path) => {
            let asks = matches!(path.0.first(), Some((Part::Index(Term::Str(..)), Opt::Essential)));
            (matches!(**inner, Term::Id) && asks) || (ignores(inner, own) && children(term).len() == 1)
        }
        Term::Call(name, args) if !is_own(name, own) => {
            is_truth(term) || (*name == "null" && args.is_empty()) || OF_EVENT.contains(&(*name, args.len()))
        }
        Term::BinOp(l, BinaryOp::Pipe(None), _) => ignores(l, own),
        Term::Arr(Some(_)) | Term::Neg(_) | Term::BinOp(..) | Term::IfThenElse(..) | Term::TryCatch(_, None) => {
            children(term).into_iter().all(|inner| ignores(inner, own))
        }
        _ => false,
    }
}

/// An object that there is in any case.
fn is_made(term: &Term<&str>) -> bool {
    let Term::Obj(members) = term else { return super::always::gives_one(term) };
    members.iter().all(|(key, value)| matches!(key, Term::Str(..)) && value.as_ref().is_none_or(is_made))
}

/// What stands for a match: an object, a text, `true`.
fn is_match(term: &Term<&str>) -> bool {
    matches!(term, Term::Obj(_) | Term::Str(..) | Term::Num(_)) || matches!(term, Term::Call("true", _))
}

/// Whether what reaches the end of a program is the event itself, or a part of it that nothing was asked about.
fn lets_in(term: &Term<&str>, event: bool, asked: bool) -> bool {
    match term {
        Term::BinOp(l, BinaryOp::Pipe(None), r) => match &**l {
            Term::Id | Term::Call("objects" | "values", _) => lets_in(r, event, asked),
            Term::Call("select", _) => lets_in(r, event, true),
            Term::Path(..) | Term::Call("column" | "columns", _) => lets_in(r, false, asked),
            _ => false,
        },
        Term::BinOp(_, BinaryOp::Pipe(Some(_)), r) => lets_in(r, event, asked),
        Term::Def(_, inner) => lets_in(inner, event, asked),
        _ => event || !asked,
    }
}

fn tell<'s>(term: &Term<&'s str>, message: &str, at: &At<'s, '_>, found: &mut Found<'s>) {
    let part = at.range(term).and_then(|range| at.text.get(range)).unwrap_or(at.text);
    found.push((Doubted::Dropped, part, message.to_owned()));
}
