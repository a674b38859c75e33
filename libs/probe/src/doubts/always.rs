//! A filter that cannot say no: whatever it is asked about, it gives something that is true.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::{Opt, Part};

use crate::analyse::{ERROR, NO, NONE, Node, TRUE};
use crate::clauses::tree::children_mut;

/// Functions that give one value, or fail. Of the prelude those that make text for people.
const ONE: [&str; 18] = [
    "machine_name",
    "machine_key",
    "column",
    "columns",
    "line",
    "text",
    "basename",
    "dirname",
    "length",
    "tostring",
    "tojson",
    "ascii_downcase",
    "ascii_upcase",
    "join",
    "ltrimstr",
    "rtrimstr",
    "split",
    "now",
];

/// Puts some truth value for each value of an object, text or variable that is there in any case: the analysis does not
/// follow most functions that make one.
pub(super) fn simplify(term: &mut Term<&str>) {
    match term {
        // Its functions may have names of ours.
        Term::Def(..) => return,
        Term::Obj(members) => members.iter_mut().filter_map(|(_, value)| value.as_mut()).for_each(settle),
        Term::Str(_, parts) => {
            for part in parts {
                if let StrPart::Term(value) = part {
                    settle(value);
                }
            }
        }
        Term::BinOp(value, BinaryOp::Pipe(Some(Pattern::Var(_))), _) => settle(value),
        _ => {}
    }
    children_mut(term).into_iter().for_each(simplify);
}

fn settle(value: &mut Term<&str>) {
    if gives_one(value) {
        *value = Term::BinOp(Box::new(Term::Num("0")), BinaryOp::Cmp(Cmp::Eq), Box::new(Term::Num("1")));
    }
}

/// Whether it has an output or fails.
pub(super) fn gives_one(term: &Term<&str>) -> bool {
    match term {
        Term::Id | Term::Num(_) | Term::Var(_) => true,
        Term::Str(_, parts) => parts.iter().all(|part| match part {
            StrPart::Term(inner) => gives_one(inner),
            _ => true,
        }),
        Term::Path(inner, path) => {
            let key = |(part, opt): &(Part<Term<&str>>, Opt)| matches!((part, opt), (Part::Index(key), Opt::Essential) if gives_one(key));
            gives_one(inner) && path.0.iter().all(key)
        }
        Term::Call(name, args) => ONE.contains(name) && args.iter().all(gives_one),
        Term::BinOp(l, BinaryOp::Pipe(None) | BinaryOp::Math(_), r) => gives_one(l) && gives_one(r),
        Term::BinOp(_, BinaryOp::Alt, r) => gives_one(r),
        _ => false,
    }
}

/// What to say of a filter that never says no; nothing if it may, or if nobody knows.
pub(super) fn says(node: &Node) -> Option<&'static str> {
    let bounds = node.bounds();
    // An author may say no with `error`.
    if bounds & TRUE == 0 || bounds & (NO | NONE) != 0 || may_raise(node) {
        return None;
    }
    Some(if bounds & ERROR == 0 {
        "nothing here says no: this is always true"
    } else {
        "nothing here says no: this is always true, or fails"
    })
}

/// Whether a part that is not a plain value of the event may fail.
fn may_raise(node: &Node) -> bool {
    let own = matches!(node, Node::Unknown(mask) if mask & ERROR != 0);
    own || node.parts().into_iter().flatten().any(may_raise)
}
