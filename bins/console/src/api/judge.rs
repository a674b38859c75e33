//! What a program asks is held against what stands beside the route: a word that is not known, said twice or no such thing
//! is refused, by its name. People's forms are not: a page makes the best of what they type.

use pipe::config::parse_duration;
use serde_json::Value;

use super::{Kind, Told, Word};
use crate::answer::Wrong;
use crate::ask::{Asked, Sent};
use crate::text;

/// What the form of a page carries, whoever sends it.
const CSRF: &str = "csrf";
/// Bytes of an age: nine digits and a unit.
const AGE_MAX: usize = 11;

/// Whether this may be asked of a route so. The error names the word.
pub fn judge(told: &Told, asked: &Asked) -> Result<(), Wrong> {
    pairs(told.asks, &asked.words)?;
    match &asked.sent {
        Sent::Nothing => needed(told.takes, |_| false),
        Sent::Form(all) => {
            let ours: Vec<_> = all.iter().filter(|(name, _)| name != CSRF).cloned().collect();
            pairs(told.takes, &ours)
        }
        Sent::Object(all) => {
            for (name, value) in all.iter().filter(|(name, _)| *name != CSRF) {
                value_is(find(told.takes, name)?, value)?;
            }
            needed(told.takes, |name| all.contains_key(name))
        }
        Sent::Broken(why) => Err(wrong(format!("The body is no JSON object: {why}."))),
    }
}

fn wrong(text: String) -> Wrong {
    Wrong::new(400, text, "`/openapi.json` says what is taken.")
}

fn find<'w>(known: &'w [Word], name: &str) -> Result<&'w Word, Wrong> {
    let names = || known.iter().map(|word| word.name).collect::<Vec<_>>().join(", ");
    let unknown = || match known {
        [] => wrong(format!("There is no word `{}` here, nor any other.", text::short(name))),
        _ => wrong(format!("There is no word `{}` here; there are {}.", text::short(name), names())),
    };
    known.iter().find(|word| word.name == name).ok_or_else(unknown)
}

fn needed(known: &[Word], said: impl Fn(&str) -> bool) -> Result<(), Wrong> {
    match known.iter().find(|word| word.needed && !said(word.name)) {
        Some(word) => Err(wrong(format!("{} is missing.", word.name))),
        None => Ok(()),
    }
}

/// Words as they stand in a query or a form.
fn pairs(known: &[Word], said: &[(String, String)]) -> Result<(), Wrong> {
    for (at, (name, value)) in said.iter().enumerate() {
        let word = find(known, name)?;
        if said.iter().take(at).any(|(before, _)| before == name) {
            return Err(wrong(format!("{name} is said twice.")));
        }
        text_is(word, value)?;
    }
    needed(known, |name| said.iter().any(|(word, value)| word == name && !value.is_empty()))
}

fn text_is(word: &Word, value: &str) -> Result<(), Wrong> {
    let holds = match word.kind {
        Kind::Text(most) => is_text(value, most),
        Kind::List => is_text(value, usize::MAX),
        Kind::OneOf(all) => all.contains(&value),
        Kind::Order(all) => all.iter().any(|(one, _)| *one == value.strip_prefix('-').unwrap_or(value)),
        Kind::Number(least, most) => value.parse().is_ok_and(|n: i64| (least..=most).contains(&n)),
        Kind::Age => value.len() <= AGE_MAX && !value.contains(' ') && parse_duration(value).is_some(),
        Kind::Flag => ["true", "false"].contains(&value),
    };
    if holds { Ok(()) } else { Err(wrong(format!("{}: {}.", word.name, want(word.kind)))) }
}

fn value_is(word: &Word, value: &Value) -> Result<(), Wrong> {
    let holds = match (word.kind, value) {
        (Kind::Number(least, most), Value::Number(n)) => {
            crate::ask::whole(n).is_some_and(|n| (least..=most).contains(&n))
        }
        (Kind::Flag, Value::Bool(_)) => true,
        (Kind::List, Value::Array(all)) => {
            all.iter().all(|one| one.as_str().is_some_and(|one| is_text(one, usize::MAX)))
        }
        (Kind::Number(..) | Kind::Flag | Kind::List, _) => false,
        (_, Value::String(text)) => return text_is(word, text),
        _ => false,
    };
    if holds { Ok(()) } else { Err(wrong(format!("{}: {}.", word.name, want(word.kind)))) }
}

/// No text that people write holds a NUL, and not every database keeps one.
fn is_text(value: &str, most: usize) -> bool {
    !value.contains('\0') && value.chars().nth(most).is_none()
}

fn want(kind: Kind) -> String {
    match kind {
        Kind::Text(most) => format!("a text of at most {most} characters"),
        Kind::OneOf(all) => format!("one of {}", all.join(", ")),
        Kind::Order(all) => {
            let words = all.iter().map(|(word, _)| *word).collect::<Vec<_>>();
            format!("one of {}, or with a - before it", words.join(", "))
        }
        Kind::Number(least, most) => format!("a whole number from {least} to {most}"),
        Kind::Age => "a time such as 90d or 12h".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::List => "texts".to_owned(),
    }
}
