//! What is known of the language: which terms are conditions, which only give values.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};

use super::tree::{Tree, children};

/// Definitions in scope: what they are called is no function of the language.
#[derive(Default)]
pub(super) struct Known<'s> {
    local: Vec<(&'s str, usize)>,
}

impl<'s> Known<'s> {
    /// More definitions; how many there were goes to [`Self::leave`].
    pub(super) fn enter(&mut self, defs: impl Iterator<Item = (&'s str, usize)>) -> usize {
        let before = self.local.len();
        self.local.extend(defs);
        before
    }

    pub(super) fn leave(&mut self, before: usize) {
        self.local.truncate(before);
    }

    /// Nothing in it is a condition of its own.
    pub(super) fn is_plain(&self, term: &Tree<'s>) -> bool {
        match term {
            Term::BinOp(_, BinaryOp::Cmp(_) | BinaryOp::And | BinaryOp::Or, _) | Term::IfThenElse(..) => false,
            Term::BinOp(_, op, _) if assigns(op) => true,
            Term::Fold(..) => true,
            Term::Def(_, inner) => self.is_plain(inner),
            Term::Call(name, args) => {
                let language = !self.is_local(name, args.len());
                let opens = language && matches!((*name, args.len()), ("select", 1) | ("any" | "all", 1 | 2));
                let cut = self.is_predicate(name, args) || self.is_guard(term) || self.is_called(term, "not", 0);
                let walked = language && is_transparent(name, args.len());
                !opens && !cut && (!walked || args.iter().all(|a| self.is_plain(a)))
            }
            _ => children(term).into_iter().all(|t| self.is_plain(t)),
        }
    }

    pub(super) fn is_local(&self, name: &str, arity: usize) -> bool {
        self.local.iter().any(|(n, a)| *n == name && *a == arity)
    }

    pub(super) fn is_called(&self, term: &Tree<'s>, name: &str, arity: usize) -> bool {
        matches!(term, Term::Call(n, args) if *n == name && args.len() == arity) && !self.is_local(name, arity)
    }

    /// A function of the language that only gives true or false.
    pub(super) fn is_predicate(&self, name: &str, args: &[Tree<'s>]) -> bool {
        let known = match args.len() {
            0 => matches!(
                name,
                "any"
                    | "all"
                    | "isboolean"
                    | "isnumber"
                    | "isstring"
                    | "isarray"
                    | "isobject"
                    | "isnan"
                    | "isinfinite"
                    | "isfinite"
                    | "isnormal"
            ),
            1 => matches!(
                name,
                "test"
                    | "startswith"
                    | "endswith"
                    | "contains"
                    | "inside"
                    | "has"
                    | "in"
                    | "IN"
                    | "isvalid"
                    | "isempty"
            ),
            2 => matches!(name, "test" | "IN"),
            _ => false,
        };
        known && !self.is_local(name, args.len())
    }

    /// A helper of the prelude that says yes or no.
    pub(super) fn is_helper(&self, name: &str, arity: usize) -> bool {
        let known = match arity {
            0 => HELPERS.contains(&name) || asks_for(name).is_some(),
            1 => JUDGES.contains(&name),
            2 => name == "between",
            _ => false,
        };
        known && !self.is_local(name, arity)
    }

    /// A function of the language that lets its input pass, or not.
    pub(super) fn is_guard(&self, term: &Tree<'s>) -> bool {
        let Term::Call(name, args) = term else { return false };
        let known = matches!(
            *name,
            "values"
                | "nulls"
                | "booleans"
                | "numbers"
                | "strings"
                | "arrays"
                | "objects"
                | "iterables"
                | "scalars"
                | "finites"
                | "normals"
        );
        known && args.is_empty() && !self.is_local(name, 0)
    }
}

/// Helpers of the prelude that judge their input.
const HELPERS: [&str; 10] = [
    "is_on",
    "is_off",
    "is_ip",
    "is_private_ip",
    "is_public_ip",
    "is_loopback_ip",
    "in_home",
    "in_temp",
    "in_downloads",
    "is_hidden",
];
/// Those that compare it with an argument.
const JUDGES: [&str; 12] = [
    "version_eq",
    "version_lt",
    "version_le",
    "version_gt",
    "version_ge",
    "in_cidr",
    "in_domain",
    "under",
    "has_extension",
    "older_than",
    "within",
    "expires_within",
];

/// The value that a helper looks at which is called on the event itself, by its keys.
pub(super) fn asks_for(helper: &str) -> Option<&'static [&'static str]> {
    match helper {
        "is_new" | "is_removed" => Some(&["payload", "action"]),
        "is_first_run" => Some(&["payload", "counter"]),
        _ => None,
    }
}

/// Functions whose arguments run as they stand, over values.
pub(super) fn is_transparent(name: &str, arity: usize) -> bool {
    match arity {
        1 => matches!(
            name,
            "map"
                | "map_values"
                | "with_entries"
                | "first"
                | "last"
                | "add"
                | "sort_by"
                | "group_by"
                | "unique_by"
                | "min_by"
                | "max_by"
                | "isempty"
        ),
        2 => matches!(name, "limit" | "skip" | "nth" | "until" | "while"),
        _ => false,
    }
}

pub(super) fn assigns(op: &BinaryOp<&str>) -> bool {
    matches!(op, BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt)
}

/// Its value is written there in full.
pub(super) fn is_constant(term: &Tree<'_>) -> bool {
    match term {
        Term::Num(_) => true,
        Term::Str(None, parts) => !parts.iter().any(|p| matches!(p, StrPart::Term(_))),
        Term::Neg(inner) => is_constant(inner),
        Term::Call("true" | "false" | "null", args) => args.is_empty(),
        Term::Arr(None) => true,
        Term::Arr(Some(inner)) => is_constant(inner),
        Term::BinOp(l, BinaryOp::Comma, r) => is_constant(l) && is_constant(r),
        Term::Obj(members) => members.is_empty(),
        _ => false,
    }
}

/// Nothing comes after it.
pub(super) fn is_end(term: &Tree<'_>) -> bool {
    matches!(term, Term::Call("empty", args) if args.is_empty()) || matches!(term, Term::Break(_))
}

/// The terms of `a | b | c`.
pub(super) fn flatten<'s>(term: Tree<'s>, into: &mut Vec<Tree<'s>>) {
    match term {
        Term::BinOp(l, BinaryOp::Pipe(None), r) => {
            flatten(*l, into);
            flatten(*r, into);
        }
        other => into.push(other),
    }
}

pub(super) fn join<'s>(parts: Vec<Tree<'s>>) -> Tree<'s> {
    let mut parts = parts.into_iter().rev();
    let last = parts.next().unwrap_or_default();
    parts.fold(last, |rest, part| Term::BinOp(Box::new(part), BinaryOp::Pipe(None), Box::new(rest)))
}
