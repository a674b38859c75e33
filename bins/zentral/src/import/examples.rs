//! Examples of an imported filter, made of its own conditions and held against the engine: an event that matches, and
//! events that differ from it in one thing and do not.

use probe::examples::{Example, Want};
use probe::{Limits, NoModules};
use serde_json::{Map, Value as Json, json};

use super::cond::Cond;
use super::draft::Draft;

/// How many ways to fulfil a condition are tried.
const TRIES: usize = 256;
/// How many examples must not match.
const NEGATIVES: usize = 2;
const RECEIVED: &str = "2026-11-02T09:00:01.000Z";

/// Compiles the program and makes its examples. The error says what is wrong.
pub fn make(draft: &Draft, name: &str, program: &str) -> Result<Vec<Json>, String> {
    let compiled = probe::compile(program, name, &NoModules).map_err(|e| format!("the filter is wrong: {e}"))?;
    let decide = |event: &Json, want: bool| {
        let example = Example { line: 1, want: Want::Match(want), why: String::new(), event: event.to_string() };
        probe::examples::run(&compiled, &[example], &Limits::default()).iter().all(|result| result.ok)
    };
    let base = skeleton(draft, name);
    let matching = (0..TRIES).find_map(|n| {
        let mut event = base.clone();
        fulfil(&draft.cond, &mut event, &mut { n });
        finish(&mut event);
        decide(&event, true).then_some(event)
    });
    let Some(matching) = matching else {
        return Err("no event was found that its conditions let pass: they contradict each other".into());
    };
    let mut lines = vec![line(true, "made of the conditions", &matching)];
    for (event, why) in broken(&draft.cond, &matching) {
        if lines.len() <= NEGATIVES && decide(&event, false) {
            lines.push(line(false, &why, &event));
        }
    }
    match lines.len() {
        1 if !draft.cond.is_always() => Err("no event was found that its conditions stop: is it meant so?".into()),
        _ => Ok(lines),
    }
}

fn line(matches: bool, why: &str, event: &Json) -> Json {
    json!({"match": matches, "why": why, "event": event})
}

/// An event as `zentral cat` prints it, before the conditions are fulfilled.
fn skeleton(draft: &Draft, name: &str) -> Json {
    let first = |list: &[String], default: &str| list.first().map_or(default, String::as_str).to_owned();
    let scope = &draft.scope;
    let payload = match &draft.query {
        None => json!({}),
        Some(query) => {
            let mut payload = json!({
                "name": query.name(name), "hostIdentifier": "host-7", "unixTime": 1_793_610_000, "epoch": 0, "counter": 1,
                "numerics": false,
            });
            let (key, rows) = match query.snapshot {
                true => ("snapshot", json!([{"column": "value"}])),
                false => ("columns", json!({"column": "value"})),
            };
            set(&mut payload, &[key.to_owned()], rows);
            let action = if query.snapshot { "snapshot" } else { "added" };
            set(&mut payload, &["action".to_owned()], action.into());
            payload
        }
    };
    let kind = if draft.query.is_some() { "osquery_result" } else { "example" };
    let mut machine = json!({
        "serial_number": "C02XL0AAJGH5", "hostname": "host-7", "platform": first(&scope.platforms, "macos"),
        "unit": first(&scope.units, "default"),
    });
    if !scope.tags.is_empty() {
        set(&mut machine, &["tags".to_owned()], json!(scope.tags));
    }
    json!({
        "v": 1, "id": "01a4a2f3-3400-8000-8000-000000000001", "type": kind, "time": "2026-11-02T09:00:00.000Z",
        "received": RECEIVED, "source": "example", "tags": [], "machine": machine, "payload": payload,
    })
}

/// The source follows the type, as in the events that `normalize` makes.
fn finish(event: &mut Json) {
    let kind = event.get("type").and_then(Json::as_str).unwrap_or_default();
    let source = kind.split('_').next().unwrap_or_default().to_owned();
    if event.get("tags").and_then(Json::as_array).is_some_and(Vec::is_empty) {
        set(event, &["tags".to_owned()], json!([source]));
    }
    set(event, &["source".to_owned()], source.into());
}

/// Makes the event fulfil the condition; `choice` picks among the ways to do it.
fn fulfil(cond: &Cond, event: &mut Json, choice: &mut usize) {
    match cond {
        Cond::Is(path, values) => {
            if let Some(value) = pick(values, choice) {
                set(event, path, value.clone());
            }
        }
        Cond::Within(path, values) => {
            if let Some(value) = pick(values, choice) {
                let list = matches!(path.last().map(String::as_str), Some("tags"));
                set(event, path, if list { json!([value]) } else { value.clone() });
            }
        }
        Cond::Holds(path, values) => set(event, path, json!(values)),
        Cond::Any(list) => {
            if let Some(one) = pick(list, choice) {
                fulfil(one, event, choice);
            }
        }
        Cond::All(list) => list.iter().for_each(|one| fulfil(one, event, choice)),
        Cond::IsNot(..) | Cond::Without(..) | Cond::Rows => {}
    }
}

fn pick<'a, T>(list: &'a [T], choice: &mut usize) -> Option<&'a T> {
    let n = list.len().max(1);
    let picked = list.get(*choice % n);
    *choice /= n;
    picked
}

/// Events that break one condition each, the most telling first: what stands last in a filter is its point.
fn broken(cond: &Cond, event: &Json) -> Vec<(Json, String)> {
    let mut all = Vec::new();
    breaks(cond, event, &mut all);
    all.reverse();
    all
}

fn breaks(cond: &Cond, event: &Json, all: &mut Vec<(Json, String)>) {
    let mut push = |path: &[String], value: Json, why: String| {
        let mut other = event.clone();
        set(&mut other, path, value);
        all.push((other, why));
    };
    let last = |path: &[String]| path.last().cloned().unwrap_or_default();
    match cond {
        Cond::Is(path, _) if last(path) == "action" => push(path, "removed".into(), "a row that went away".into()),
        Cond::Is(path, _) | Cond::Within(path, _) => {
            push(path, "another".into(), format!("another {}", path.join(".")));
        }
        Cond::Holds(path, _) => push(path, json!([]), format!("nothing in {}", path.join("."))),
        Cond::IsNot(path, values) | Cond::Without(path, values) => {
            if let Some(value) = values.first() {
                push(path, value.clone(), format!("{} is what it must not be", path.join(".")));
            }
        }
        Cond::Rows => {
            push(&["payload".to_owned(), "snapshot".to_owned()], json!([]), "a snapshot without rows".into());
        }
        Cond::All(list) | Cond::Any(list) => list.iter().for_each(|one| breaks(one, event, all)),
    }
}

/// Puts a value where the path leads; maps are made on the way, rows of a snapshot are lists.
fn set(event: &mut Json, path: &[String], value: Json) {
    match path {
        [] => *event = value,
        [key, rest @ ..] => {
            if let Json::Array(items) = event {
                if let Some(first) = items.first_mut() {
                    set(first, path, value);
                }
                return;
            }
            if !event.is_object() {
                *event = Json::Object(Map::new());
            }
            if let Json::Object(members) = event {
                set(members.entry(key.clone()).or_insert(Json::Null), rest, value);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::import::cond::path;
    use crate::import::node::{Node, Spot, Value};

    fn of(cond: Cond) -> Result<Vec<Json>, String> {
        let node = Node { line: 1, value: Value::Null };
        let mut draft = Draft::new("p", &Spot::root(&"f".into(), &node));
        draft.cond = cond;
        let program = draft.cond.program();
        probe::with_stack(|| make(&draft, "p", &program)).unwrap()
    }

    #[test]
    fn one_that_matches_and_two_that_do_not() {
        let p = |dotted| path("payload", dotted);
        let cond = Cond::event_type("munki_event")
            .and(Cond::Is(p("type"), vec!["install".into(), "removal".into()]))
            .and(Cond::Without(p("items.name"), vec!["Firefox".into()]));
        let lines = of(cond).unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["event"]["payload"], json!({"type": "install"}));
        assert_eq!((&lines[0]["match"], &lines[0]["event"]["source"]), (&json!(true), &json!("munki")));
        assert_eq!(lines[1]["event"]["payload"]["items"], json!({"name": "Firefox"}));
        assert_eq!(lines[2]["event"]["payload"]["type"], "another");
    }

    #[test]
    fn conditions_on_one_value_find_the_one_that_fits() {
        let name = path("payload", "columns.name");
        let cond = Cond::Is(name.clone(), vec!["a".into(), "b".into(), "c".into()])
            .and(Cond::IsNot(name.clone(), vec!["a".into(), "b".into()]));
        assert_eq!(of(cond).unwrap()[0]["event"]["payload"]["columns"]["name"], "c");
        let never = Cond::Is(name.clone(), vec!["a".into()]).and(Cond::IsNot(name, vec!["a".into()]));
        assert!(of(never).unwrap_err().contains("contradict"));
        assert_eq!(of(Cond::All(vec![])).unwrap().len(), 1);
    }

    #[test]
    fn lists_and_alternatives() {
        let tags = vec!["tags".to_owned()];
        let cond = Cond::Any(vec![
            Cond::Holds(tags.clone(), vec!["a".into(), "b".into()]).and(Cond::event_type("x_y")),
            Cond::Within(tags, vec!["c".into()]),
        ]);
        let lines = of(cond).unwrap();
        assert_eq!((lines.len(), &lines[0]["event"]["tags"]), (3, &json!(["a", "b"])));
    }
}
