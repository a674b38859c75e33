//! Whether an answer is the one that was expected.

use serde_json::Value;

use super::case::Expect;
use super::client::Answer;
use super::fill::{self, Values};

/// Letters of an answer that are shown.
const SHOWN: usize = 400;
/// Keys whose values are secrets, whoever made them.
const SECRET_KEYS: [&str; 6] = ["node_key", "token", "secret", "session_id", "password", "cursor"];

/// Says what is not as expected.
pub fn judge(expect: &Expect, answer: &Answer, values: &Values) -> Result<(), String> {
    if answer.status != expect.status && !expect.status_any.contains(&answer.status) {
        return Err(format!("status {} was expected, {} came", expect.status, answer.status));
    }
    for (name, want) in &expect.headers {
        let mut got: Vec<String> = answer.header(name).split(',').map(|w| w.trim().to_ascii_lowercase()).collect();
        let mut want: Vec<String> = want.iter().map(|w| w.to_ascii_lowercase()).collect();
        got.sort();
        want.sort();
        if got != want {
            return Err(format!("header {name}: `{}` was expected, `{}` came", want.join(", "), got.join(", ")));
        }
    }
    if expect.json.is_none() && expect.json_has.is_empty() && expect.json_lacks.is_empty() {
        return Ok(());
    }
    let body = answer.json.as_ref().ok_or("the answer is no JSON")?;
    if let Some(json) = &expect.json {
        let want = fill::value(json, values)?;
        if want != *body {
            return Err(format!("the body {want} was expected"));
        }
    }
    expect.json_has.iter().try_for_each(|path| has(body, &fill::text(path, values)?))?;
    for path in &expect.json_lacks {
        let path = fill::text(path, values)?;
        if at(body, &path).is_some() {
            return Err(format!("`{path}` must not be there"));
        }
    }
    Ok(())
}

/// Whether `path` is there, or has the value in `path=value`, or is a list that holds it.
pub fn has(body: &Value, path: &str) -> Result<(), String> {
    let (path, want) = path.split_once('=').map_or((path, None), |(path, want)| (path, Some(want)));
    match (at(body, path), want) {
        (None, _) => Err(format!("`{path}` is not there")),
        (Some(_), None) => Ok(()),
        (Some(got), Some(want)) if word(got) == want => Ok(()),
        (Some(Value::Array(list)), Some(want)) if list.iter().any(|item| word(item) == want) => Ok(()),
        (Some(got), Some(want)) => Err(format!("`{path}` is {got}, not `{want}`")),
    }
}

/// A value as text: a string without its quotes.
pub fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What lies at a dotted path. Keys may hold dots themselves: the longest that is there is taken.
pub fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    if let Value::Object(map) = value
        && let Some(found) = map.get(path)
    {
        return Some(found);
    }
    let mut cut = path.len();
    while let Some(dot) = path.get(..cut)?.rfind('.') {
        let (key, rest) = (path.get(..dot)?, path.get(dot + 1..)?);
        let next = match value {
            Value::Object(map) => map.get(key),
            Value::Array(list) => key.parse::<usize>().ok().and_then(|i| list.get(i)),
            _ => None,
        };
        if let Some(found) = next.and_then(|next| at(next, rest)) {
            return Some(found);
        }
        cut = dot;
    }
    match value {
        Value::Array(list) => path.parse::<usize>().ok().and_then(|i| list.get(i)),
        _ => None,
    }
}

/// What came, for people: without the secrets in it.
pub fn shown(answer: &Answer, values: &Values) -> String {
    let text = match &answer.json {
        Some(json) => without_secrets(json).to_string(),
        None => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    let text = fill::hide(&text, values);
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{} {cut}{more}", answer.status)
}

fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(without_secrets).collect(),
        Value::Object(map) => {
            let plain = |(k, v): (&String, &Value)| {
                let secret = SECRET_KEYS.contains(&k.as_str()) && v.is_string();
                (k.clone(), if secret { "(secret)".into() } else { without_secrets(v) })
            };
            Value::Object(map.iter().map(plain).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn says(expect: Value, status: u16, body: Value) -> Result<(), String> {
        let answer = Answer::of(status, vec![("Allow".into(), "OPTIONS,  post".into())], body.to_string().into_bytes());
        judge(&serde_json::from_value(expect).unwrap(), &answer, &[("A".to_owned(), "1".to_owned())].into())
    }

    #[test]
    fn what_is_expected_is_looked_at_in_all_its_parts() {
        let body = json!({"rules": [{"policy": "CEL", "n": 1}], "a.b": {"c": true}, "x": null, "tags": ["a", "vip"]});
        for (expect, met) in [
            (json!({"status": 200}), true),
            (json!({"status": 400}), false),
            (json!({"status": 400, "status_any": [200]}), true),
            (json!({"status": 200, "headers": {"allow": ["POST", "OPTIONS"]}}), true),
            (json!({"status": 200, "headers": {"allow": ["POST"]}}), false),
            (json!({"status": 200, "headers": {"etag": ["POST"]}}), false),
            (json!({"status": 200, "json_has": ["rules.0.policy=CEL", "rules.0.n={{A}}", "a.b.c=true", "x"]}), true),
            (json!({"status": 200, "json_has": ["tags=vip"]}), true),
            (json!({"status": 200, "json_has": ["tags=vi"]}), false),
            (json!({"status": 200, "json_has": ["rules.1"]}), false),
            (json!({"status": 200, "json_has": ["rules.0.policy=cel"]}), false),
            (json!({"status": 200, "json_lacks": ["rules.1", "y", "a.b.d"]}), true),
            (json!({"status": 200, "json_lacks": ["rules.0"]}), false),
            (json!({"status": 200, "json": {"rules": []}}), false),
            (json!({"status": 200, "json": body}), true),
            (json!({"status": 200, "json_has": ["{{B}}"]}), false),
        ] {
            assert_eq!(says(expect.clone(), 200, body.clone()).is_ok(), met, "{expect}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let values = [("KEY".to_owned(), "abcdefgh12".to_owned())].into();
        let answer = Answer::of(200, vec![], br#"{"a":[{"node_key":"n0"}],"b":"x abcdefgh12"}"#.to_vec());
        assert_eq!(shown(&answer, &values), r#"200 {"a":[{"node_key":"(secret)"}],"b":"x {{KEY}}"}"#);
    }
}
