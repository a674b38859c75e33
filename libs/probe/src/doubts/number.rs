//! `column("port") > 1000`: a column is text, and text is greater than any number.

use jaq_core::ops::Cmp;

use super::shape::{Constant, Seen, Shape, What};
use super::{Doubted, Found};

const UNLESS: &str = "(a number only with osquery's `logger_numerics`)";

pub(super) fn find<'s>(seen: &[Seen<'s>], found: &mut Found<'s>) {
    // Who tells kinds apart knows that there are several.
    if seen.iter().any(|s| s.what == What::Kind) {
        return;
    }
    for one in seen {
        if let What::Compared(Shape::Column(name), op, constant) = &one.what
            && let Some(message) = message(*op, constant)
            && !seen.iter().any(|other| is_text(other, name))
            && found.iter().all(|(_, place, _)| !std::ptr::eq(*place, one.place))
        {
            found.push((Doubted::Number, one.place, message));
        }
    }
}

/// Whether a column is compared with a text as well: `. == 1 or . == "1"`.
fn is_text(one: &Seen<'_>, column: &Option<String>) -> bool {
    matches!(&one.what, What::Compared(Shape::Column(name), _, Constant::Text(_)) if name == column)
}

fn message(op: Cmp, constant: &Constant) -> Option<String> {
    let sign = match op {
        Cmp::Lt => "<",
        Cmp::Le => "<=",
        Cmp::Gt => ">",
        Cmp::Ge => ">=",
        Cmp::Eq => "==",
        Cmp::Ne => "!=",
    };
    Some(match constant {
        Constant::Text(_) => return None,
        Constant::Number(n) if matches!(op, Cmp::Eq | Cmp::Ne) => {
            format!("a column is text {UNLESS}, which is equal to no number; write `{sign} \"{n}\"`")
        }
        Constant::Number(n) => {
            format!("a column is text {UNLESS}, which is greater than any number; write `tonumber {sign} {n}`")
        }
        Constant::Truth(truth) => {
            let way = if *truth { "is_on" } else { "is_off" };
            format!("a column is text {UNLESS}, and neither true nor false; `{way}` says whether it means that")
        }
    })
}
