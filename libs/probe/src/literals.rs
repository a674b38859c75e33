//! Arguments of helpers that are written out in a filter: one that will never fit is an error of the filter, found when
//! it is read, and not one of every event.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};

use crate::natives;
use crate::value::Val;

/// What is wrong with the arguments of a call, and where; a text without a word of its own has no place.
pub(crate) fn wrong<'s>(name: &str, args: &[Term<&'s str>]) -> Vec<(Option<&'s str>, String)> {
    let mut found = Vec::new();
    let Some(judge) = natives::judge(name, args.len()) else { return found };
    for arg in args {
        each(arg, &mut |value, place| {
            if let Err(e) = judge(&value) {
                let text = e.into_val();
                found.push((place, text.as_str().map_or_else(|| text.to_string(), str::to_owned)));
            }
        });
    }
    found
}

/// The constants of `a, b, c`.
fn each<'s>(term: &Term<&'s str>, look: &mut dyn FnMut(Val, Option<&'s str>)) {
    match term {
        Term::BinOp(l, BinaryOp::Comma, r) => {
            each(l, look);
            each(r, look);
        }
        Term::Num(text) => look(Val::literal(text), Some(text)),
        term => {
            if let Some((text, place)) = text(term) {
                look(Val::from(text), place);
            }
        }
    }
}

/// The text of a string that is written out, and its place if it has a part without escapes.
pub(crate) fn text<'s>(term: &Term<&'s str>) -> Option<(String, Option<&'s str>)> {
    let Term::Str(None, parts) = term else { return None };
    let mut text = String::new();
    let mut place = None;
    for part in parts {
        match part {
            StrPart::Str(s) => {
                text.push_str(s);
                place = place.or(Some(*s));
            }
            StrPart::Char(c) => text.push(*c),
            StrPart::Term(_) => return None,
        }
    }
    Some((text, place))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use crate::{NoModules, compile};

    #[test]
    fn arguments_that_never_fit_are_found_where_they_stand() {
        for (filter, want) in [
            (r#".a | in_cidr("10.0.0.0/33")"#, r#"1:15 "10.0.0.0/33" is no network such as "10.0.0.0/8""#),
            (r#".a | in_cidr("10.0.0.0/8", "x")"#, r#"1:29 "x" is no network such as "10.0.0.0/8""#),
            (r#".a | in_domain("a.example", ".")"#, r#"1:30 "." is no domain"#),
            (r#".a | older_than("7")"#, r#"1:18 "7" is no length of time such as "15m" or "7d""#),
            (r#".a | expires_within("2 months")"#, r#"1:22 "2 months" is no length of time such as "15m" or "7d""#),
            (r#".a | between("22:00"; "6:00")"#, r#"1:24 "6:00" is no time of day such as "22:00""#),
            (r#".a | version_lt("latest")"#, r#"1:18 "latest" is no version: it has no number"#),
            (".a | version_ge(15.1)", "1:17 cannot use 15.1 as string"),
            (".a | under(5, \"/tmp\")", "1:12 cannot use 5 as string"),
            (".a | select(version_lt(\"\"))", r#"1:13 "" is no version: it has no number"#),
        ] {
            let problems = compile(filter, "t", &NoModules).map(|_| ()).unwrap_err().problems;
            let said: Vec<String> = problems.iter().map(|p| format!("{}:{} {}", p.line, p.column, p.message)).collect();
            assert_eq!(said, [want], "{filter}");
        }
        for filter in [
            r#".a | in_cidr("10.0.0.0/8", .b) and older_than(30) and within("7d") and version_lt("1", .c)"#,
            r#"def in_cidr($x): $x; .a | in_cidr("any")"#,
            r#"def version_lt(f): f; version_lt("any")"#,
            r#".a | between("22:00"; "24:00")"#,
            r#"in_cidr("\(.a)")"#,
        ] {
            compile(filter, "t", &NoModules).unwrap_or_else(|e| panic!("{filter}: {e}"));
        }
    }
}
