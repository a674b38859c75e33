//! `under("/Users/%/Downloads")`: wildcards of other languages are plain characters here.

use jaq_core::load::parse::{BinaryOp, Term};

use super::{Doubted, Found};
use crate::clauses::tree::children;
use crate::literals;

pub(super) fn find<'s>(term: &Term<&'s str>, found: &mut Found<'s>) {
    if let Term::Call("under" | "has_extension", args) = term
        && let [arg] = args.as_slice()
    {
        let folders = matches!(term, Term::Call("under", _));
        argument(arg, folders, found);
    }
    children(term).into_iter().for_each(|inner| find(inner, found));
}

fn argument<'s>(arg: &Term<&'s str>, folders: bool, found: &mut Found<'s>) {
    match arg {
        Term::BinOp(l, BinaryOp::Comma, r) => {
            argument(l, folders, found);
            argument(r, folders, found);
        }
        arg => {
            if let Some((text, Some(place))) = literals::text(arg)
                && let Some(message) = message(&text, folders)
            {
                found.push((Doubted::Wildcard, place, message));
            }
        }
    }
}

fn message(text: &str, folders: bool) -> Option<String> {
    let plain = |sign: &str| format!("`{sign}` is a plain character here");
    let whole = |sign: &str| text.split(['/', '\\']).any(|name| name == sign);
    if !folders {
        let sign = ["*", "?"].into_iter().find(|sign| text.contains(sign))?;
        return Some(format!("{}; write the extension alone, such as \"exe\"", plain(sign)));
    }
    if text.contains("**") {
        return Some("`**` is `*` here and stands for one name; what lies below is meant, however deep".to_owned());
    }
    // `%` is no rare character in names, so only those that are nothing else count.
    let sign = if text.contains('?') { "?" } else { ["%", "%%"].into_iter().find(|sign| whole(sign))? };
    Some(format!("{}; `*` stands for any characters of one name", plain(sign)))
}
