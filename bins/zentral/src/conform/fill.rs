//! Placeholders: `{{NAME}}` in a case is filled with a value that its driver found.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::case::{Case, Expect, Request};

/// Values by the names of the placeholders.
pub type Values = BTreeMap<String, String>;

/// Values of fewer letters are not hidden in reports: they would hide half of the text.
const HIDDEN_MIN: usize = 8;

/// The placeholder that every case may use without anybody's help, …
const LONG: &str = "LONG_10K";
/// … and how many letters it stands for.
const LONG_LETTERS: usize = 10 << 10;

/// The values that every case begins with.
pub fn built_in() -> Values {
    [(LONG.to_owned(), "A".repeat(LONG_LETTERS))].into()
}

/// The names of the placeholders in a text.
fn names(text: &str, into: &mut BTreeSet<String>) {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, next)) = after.split_once("}}") else { return };
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
            into.insert(name.to_owned());
            rest = next;
        } else {
            rest = after;
        }
    }
}

/// The placeholders of a case that somebody has to fill: not those that it takes from an answer of its own.
pub fn placeholders(case: &Case) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let of = |request: &Request, expect: &Expect, found: &mut BTreeSet<String>| {
        names(&request.path, found);
        request.headers.values().for_each(|value| names(value, found));
        names(request.body_raw.as_deref().unwrap_or(""), found);
        names(&request.body.as_ref().map(Value::to_string).unwrap_or_default(), found);
        names(&expect.json.as_ref().map(Value::to_string).unwrap_or_default(), found);
        expect.json_has.iter().chain(&expect.json_lacks).for_each(|path| names(path, found));
    };
    of(&case.request, &case.expect, &mut found);
    for step in &case.then {
        if let (Some(request), Some(expect)) = (&step.request, &step.expect) {
            of(request, expect, &mut found);
        }
        step.events.iter().filter_map(|e| e.machine.as_deref()).for_each(|machine| names(machine, &mut found));
        step.events.iter().flat_map(|e| &e.json_has).for_each(|path| names(path, &mut found));
    }
    for name in case.take.keys().chain(case.then.iter().flat_map(|step| step.take.keys())) {
        found.remove(name);
    }
    found.remove(LONG);
    found
}

/// The text with its placeholders filled; the error names one that nobody fills.
pub fn text(text: &str, values: &Values) -> Result<String, String> {
    let mut wanted = BTreeSet::new();
    names(text, &mut wanted);
    let mut filled = text.to_owned();
    for name in wanted {
        let value = values.get(&name).ok_or_else(|| format!("nobody fills in {{{{{name}}}}}"))?;
        filled = filled.replace(&format!("{{{{{name}}}}}"), value);
    }
    Ok(filled)
}

/// The same for all keys and strings of a value.
pub fn value(value: &Value, values: &Values) -> Result<Value, String> {
    Ok(match value {
        Value::String(s) => Value::String(text(s, values)?),
        Value::Array(list) => Value::Array(list.iter().map(|v| self::value(v, values)).collect::<Result<_, _>>()?),
        Value::Object(map) => {
            let filled = map.iter().map(|(k, v)| Ok::<_, String>((text(k, values)?, self::value(v, values)?)));
            Value::Object(filled.collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

/// The text without the values: many of them are secrets.
pub fn hide(text: &str, values: &Values) -> String {
    let mut known: Vec<(&String, &String)> = values.iter().filter(|(_, v)| v.len() >= HIDDEN_MIN).collect();
    // The longest first: one value may hold another.
    known.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(*value, &format!("{{{{{name}}}}}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_filled_or_named() {
        let values: Values =
            [("A".to_owned(), "a\"b".to_owned()), ("KEY".to_owned(), "secret-of-12".to_owned())].into();
        assert_eq!(text("x{{A}}{{KEY}}{{a}}{{", &values).unwrap(), "xa\"bsecret-of-12{{a}}{{");
        assert_eq!(text("{{B}}", &values).unwrap_err(), "nobody fills in {{B}}");
        let filled = value(&json!({"k{{A}}": ["{{A}}", 1, null]}), &values).unwrap();
        assert_eq!(filled, json!({"ka\"b": ["a\"b", 1, null]}));
        assert_eq!(hide("got secret-of-12 and a\"b", &values), "got {{KEY}} and a\"b");
    }
}
