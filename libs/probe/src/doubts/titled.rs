//! `{titel: "x"}`: a match whose context has no title, or one that is no text.

use jaq_core::load::parse::Term;

use super::assigned::end;
use super::known::near;
use super::{Doubted, Found};
use crate::literals;

/// What people read.
const READ: [&str; 2] = ["title", "body"];

pub(super) fn find<'s>(program: &Term<&'s str>, found: &mut Found<'s>) {
    match end(program) {
        Term::Obj(members) => context(members, found),
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().map(|(_, then)| then).chain(otherwise.as_deref()).for_each(|inner| find(inner, found));
        }
        _ => {}
    }
}

fn context<'s>(members: &[(Term<&'s str>, Option<Term<&'s str>>)], found: &mut Found<'s>) {
    let names: Vec<(String, Option<&'s str>)> = members.iter().filter_map(|(key, _)| literals::text(key)).collect();
    for (name, place) in &names {
        if let (Some(near), Some(place)) = (near(name, &READ), place)
            && names.iter().all(|(other, _)| other != near)
        {
            let message = format!("people read `title` and `body`; did you mean `{near}`?");
            found.push((Doubted::Unread, place, message));
        }
    }
    for (key, value) in members {
        if let Some((name, Some(place))) = literals::text(key)
            && READ.contains(&name.as_str())
            && value.as_ref().is_some_and(is_no_text)
        {
            found.push((Doubted::Unread, place, format!("people read `{name}` only if it is a text")));
        }
    }
}

fn is_no_text(value: &Term<&str>) -> bool {
    match value {
        Term::Num(_) | Term::Neg(_) | Term::Arr(_) | Term::Obj(_) => true,
        Term::Call(name, args) => args.is_empty() && matches!(*name, "true" | "false" | "null"),
        _ => false,
    }
}
