//! `--update`: what the filter says goes into the `match` of an example; every other byte stays.

use std::collections::BTreeMap;

use event::json;
use pipe::StageError;
use probe::examples::{Example, ExampleResult, Want};

/// The new value of `match`: an object where one was asked for, else yes or no. None if the filter failed: no example
/// can ask for that.
pub fn change(example: &Example, result: &ExampleResult) -> Option<String> {
    let said = match result.got.as_str() {
        "no match" => return Some("false".into()),
        "match" => return Some("true".into()),
        context => context,
    };
    match &example.want {
        _ if !said.starts_with('{') => None,
        Want::Context(_) => Some(said.to_owned()),
        Want::Match(_) => Some("true".into()),
    }
}

/// The text with these values of `match` or `acts`, by line number.
pub fn apply(text: &str, changes: &BTreeMap<usize, (&str, String)>) -> Result<String, StageError> {
    let mut out = String::with_capacity(text.len());
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        match changes.get(&number) {
            None => out.push_str(line),
            Some((key, value)) => {
                let (before, after) = around(line, key).ok_or_else(|| {
                    StageError::usage(format!("line {number}: its `{key}` is written in a way that cannot be updated"))
                })?;
                out.push_str(before);
                out.push_str(value);
                out.push_str(after);
            }
        }
    }
    Ok(out)
}

/// What stands before and after the value of a key.
fn around<'l>(line: &'l str, key: &str) -> Option<(&'l str, &'l str)> {
    let value = json::get(line.as_bytes(), key)?;
    let start = (value.as_ptr() as usize).checked_sub(line.as_ptr() as usize)?;
    Some((line.get(..start)?, line.get(start + value.len()..)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use probe::{Limits, NoModules, examples};

    use super::*;

    #[test]
    fn only_the_value_changes() {
        let filter =
            r#"if .n == 1 then {title: "one"} elif .n == 2 then true elif .n == 3 then error("x") else empty end"#;
        let program = probe::compile(filter, "t.jq", &NoModules).unwrap();
        let text = "\r\n{ \"why\": \"match\",  \"match\" :false , \"event\":{\"n\":1}}  \r\n\
                    {\"match\": {\"title\": \"zwei\"}, \"event\": {\"n\": 1, \"match\": 1}}\n\n\
                    {\"event\": {\"n\": 2}, \"match\": false, \"why\": \"ü\"}\n\
                    {\"match\": true, \"event\": {\"n\": 3}}\n\
                    {\"match\": false, \"event\": {}}\n\
                    {\"match\": {\"a\":{}}, \"event\": {}}";
        let parsed = examples::parse(text).unwrap();
        let results = examples::run(&program, &parsed, &Limits::default());
        let failing = parsed.iter().zip(&results).filter(|(_, r)| !r.ok);
        let changes: BTreeMap<usize, (&str, String)> =
            failing.filter_map(|(e, r)| change(e, r).map(|value| (e.line, ("match", value)))).collect();
        let want = "\r\n{ \"why\": \"match\",  \"match\" :true , \"event\":{\"n\":1}}  \r\n\
                    {\"match\": {\"title\":\"one\"}, \"event\": {\"n\": 1, \"match\": 1}}\n\n\
                    {\"event\": {\"n\": 2}, \"match\": true, \"why\": \"ü\"}\n\
                    {\"match\": true, \"event\": {\"n\": 3}}\n\
                    {\"match\": false, \"event\": {}}\n\
                    {\"match\": false, \"event\": {}}";
        assert_eq!(apply(text, &changes).unwrap(), want);
        let again = examples::run(&program, &examples::parse(want).unwrap(), &Limits::default());
        assert_eq!(again.iter().filter(|r| !r.ok).map(|r| r.line).collect::<Vec<_>>(), [6], "the error stays");
    }
}
