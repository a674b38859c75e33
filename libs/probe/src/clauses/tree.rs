//! jaq's parse tree: what lies below a term, and `.` with a place.
//!
//! The tree keeps slices of the text for names, numbers and strings, but none for `.` and `..`. So before it is parsed
//! each of these that begins a term is turned into a call of that name, which no program can spell, and back after it.

use jaq_core::load::lex::{StrPart, Tok, Token};
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::Part;

pub(crate) type Tree<'s> = Term<&'s str>;

/// Words after which a term begins.
const BEFORE_TERM: [&str; 12] =
    ["and", "or", "if", "then", "elif", "else", "try", "catch", "reduce", "foreach", "as", "def"];

/// Turns each `.` and `..` that begins a term into a word.
pub(super) fn mark(tokens: &mut [Token<&str>]) {
    let mut begins = true;
    for i in 0..tokens.len() {
        // A string after it is the name of a key: `."key"`.
        let keyed = matches!(tokens.get(i + 1), Some(Token(_, Tok::Str(_) | Tok::Fmt)));
        let Some(Token(text, token)) = tokens.get_mut(i) else { return };
        match token {
            Tok::Sym if begins && (*text == ".." || (*text == "." && !keyed)) => *token = Tok::Word,
            Tok::Block(inner) => mark(inner),
            Tok::Str(parts) => parts.iter_mut().for_each(mark_part),
            _ => {}
        }
        begins = match token {
            Tok::Sym => *text != "?" && !text.starts_with('.'),
            Tok::Word => BEFORE_TERM.contains(text),
            _ => false,
        };
    }
}

fn mark_part(part: &mut StrPart<&str, Token<&str>>) {
    if let StrPart::Term(Token(_, Tok::Block(inner))) = part {
        mark(inner);
    }
}

/// Turns the words back into `.` and `..`.
pub(super) fn unmark(term: &mut Tree<'_>) {
    match term {
        Term::Call(".", args) if args.is_empty() => *term = Term::Id,
        Term::Call("..", args) if args.is_empty() => *term = Term::Recurse,
        _ => children_mut(term).into_iter().for_each(unmark),
    }
}

/// The terms right below one, in the order of the text.
pub(crate) fn children<'t, 's>(term: &'t Tree<'s>) -> Vec<&'t Tree<'s>> {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => Vec::new(),
        Term::Str(_, parts) => {
            parts.iter().filter_map(|p| if let StrPart::Term(t) = p { Some(t) } else { None }).collect()
        }
        Term::Arr(inner) => inner.as_deref().into_iter().collect(),
        Term::Obj(members) => members.iter().flat_map(|(k, v)| std::iter::once(k).chain(v)).collect(),
        Term::Neg(inner) | Term::Label(_, inner) => vec![inner],
        Term::BinOp(l, op, r) => {
            let keys = if let BinaryOp::Pipe(Some(pattern)) = op { keys(pattern) } else { Vec::new() };
            std::iter::once(&**l).chain(keys).chain([&**r]).collect()
        }
        Term::Fold(_, over, pattern, args) => std::iter::once(&**over).chain(keys(pattern)).chain(args).collect(),
        Term::TryCatch(inner, catch) => std::iter::once(&**inner).chain(catch.as_deref()).collect(),
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().flat_map(|(c, t)| [c, t]).chain(otherwise.as_deref()).collect()
        }
        Term::Def(defs, inner) => defs.iter().map(|d| &d.body).chain([&**inner]).collect(),
        Term::Call(_, args) => args.iter().collect(),
        Term::Path(inner, path) => std::iter::once(&**inner).chain(path.0.iter().flat_map(|(p, _)| part(p))).collect(),
    }
}

fn part<T>(part: &Part<T>) -> Vec<&T> {
    match part {
        Part::Index(i) => vec![i],
        Part::Range(from, to) => from.iter().chain(to).collect(),
    }
}

/// The terms among the keys of a pattern.
fn keys<'t, 's>(pattern: &'t Pattern<&'s str>) -> Vec<&'t Tree<'s>> {
    match pattern {
        Pattern::Var(_) => Vec::new(),
        Pattern::Arr(items) => items.iter().flat_map(keys).collect(),
        Pattern::Obj(members) => members.iter().flat_map(|(k, p)| std::iter::once(k).chain(keys(p))).collect(),
    }
}

/// As [`children`], to be changed.
pub(crate) fn children_mut<'t, 's>(term: &'t mut Tree<'s>) -> Vec<&'t mut Tree<'s>> {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => Vec::new(),
        Term::Str(_, parts) => {
            parts.iter_mut().filter_map(|p| if let StrPart::Term(t) = p { Some(t) } else { None }).collect()
        }
        Term::Arr(inner) => inner.as_deref_mut().into_iter().collect(),
        Term::Obj(members) => members.iter_mut().flat_map(|(k, v)| std::iter::once(k).chain(v)).collect(),
        Term::Neg(inner) | Term::Label(_, inner) => vec![inner],
        Term::BinOp(l, op, r) => {
            let keys = if let BinaryOp::Pipe(Some(pattern)) = op { keys_mut(pattern) } else { Vec::new() };
            std::iter::once(&mut **l).chain(keys).chain([&mut **r]).collect()
        }
        Term::Fold(_, over, pattern, args) => {
            std::iter::once(&mut **over).chain(keys_mut(pattern)).chain(args).collect()
        }
        Term::TryCatch(inner, catch) => std::iter::once(&mut **inner).chain(catch.as_deref_mut()).collect(),
        Term::IfThenElse(branches, otherwise) => {
            branches.iter_mut().flat_map(|(c, t)| [c, t]).chain(otherwise.as_deref_mut()).collect()
        }
        Term::Def(defs, inner) => defs.iter_mut().map(|d| &mut d.body).chain([&mut **inner]).collect(),
        Term::Call(_, args) => args.iter_mut().collect(),
        Term::Path(inner, path) => {
            std::iter::once(&mut **inner).chain(path.0.iter_mut().flat_map(|(p, _)| part_mut(p))).collect()
        }
    }
}

fn part_mut<T>(part: &mut Part<T>) -> Vec<&mut T> {
    match part {
        Part::Index(i) => vec![i],
        Part::Range(from, to) => from.iter_mut().chain(to).collect(),
    }
}

fn keys_mut<'t, 's>(pattern: &'t mut Pattern<&'s str>) -> Vec<&'t mut Tree<'s>> {
    match pattern {
        Pattern::Var(_) => Vec::new(),
        Pattern::Arr(items) => items.iter_mut().flat_map(keys_mut).collect(),
        Pattern::Obj(members) => members.iter_mut().flat_map(|(k, p)| std::iter::once(k).chain(keys_mut(p))).collect(),
    }
}

/// The variables that a pattern binds.
pub(super) fn variables<'s>(pattern: &Pattern<&'s str>) -> Vec<&'s str> {
    match pattern {
        Pattern::Var(name) => vec![name],
        Pattern::Arr(items) => items.iter().flat_map(variables).collect(),
        Pattern::Obj(members) => members.iter().flat_map(|(_, p)| variables(p)).collect(),
    }
}
