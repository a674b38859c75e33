//! What keeps a probe's filter from seeing an event: its query, its scope, the first run. As [`crate::FilterSet`] decides
//! it, in words.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::spec::Spec;

/// What keeps a filter from seeing an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// It is no result of the probe's query.
    OtherQuery {
        /// The query's name.
        wanted: String,
        /// That of the query that it is a result of.
        seen: Option<String>,
    },
    /// These lists of the scope fail.
    OutOfScope(Vec<Outside>),
    /// The first run of a query, which is not asked for.
    FirstRun,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstRun => f.write_str(
                "the first run of its query, when everything is \"added\" (first_run = true would match it)",
            ),
            Self::OtherQuery { wanted, seen: Some(seen) } => {
                // zentral/PROBE/REV: of the same probe, but of other SQL.
                let probe = |query: &str| query.rsplit_once('/').map(|(probe, _)| probe.to_owned());
                let changed = if probe(seen) == probe(wanted) { ": its query has changed" } else { "" };
                write!(f, "not its query: {seen}, not {wanted}{changed}")
            }
            Self::OtherQuery { wanted, seen: None } => write!(f, "not a result of its query {wanted}"),
            Self::OutOfScope(lists) => {
                f.write_str("out of scope: ")?;
                for (i, list) in lists.iter().enumerate() {
                    let is = if list.is.is_empty() { "nothing".to_owned() } else { list.is.join(" ") };
                    let between = if i == 0 { "" } else { "; " };
                    write!(f, "{between}{} = {}, the machine has {is}", list.list, list.wanted.join(" "))?;
                }
                Ok(())
            }
        }
    }
}

/// What keeps the filter of a probe from seeing an event, if anything does.
pub fn kept(spec: &Spec, event: &Value) -> Option<Kept> {
    let seen = query(event);
    if let Some(wanted) = spec.query_name.as_ref().filter(|name| seen != Some(name.as_str())) {
        return Some(Kept::OtherQuery { wanted: wanted.clone(), seen: seen.map(str::to_owned) });
    }
    let outside = outside(spec, event);
    if !outside.is_empty() {
        return Some(Kept::OutOfScope(outside));
    }
    (spec.query_name.is_some() && !spec.first_run && is_first_run(event)).then_some(Kept::FirstRun)
}

/// A list of a scope that the event's machine does not fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outside {
    /// The key of the list.
    pub list: &'static str,
    /// What stands there.
    pub wanted: Vec<String>,
    /// What the machine is or has.
    pub is: Vec<String>,
}

/// Whichever a machine has first is its key.
const KEYS: [&str; 3] = ["serial_number", "hardware_uuid", "hostname"];

/// The lists that fail; none: in scope.
fn outside(spec: &Spec, event: &Value) -> Vec<Outside> {
    let machine = event.get("machine");
    let texts = |key: &str| -> Vec<String> {
        let value = machine.and_then(|m| m.get(key));
        let several = ["tags", "groups"].contains(&key);
        let items = value.and_then(Value::as_array).filter(|_| several).into_iter().flatten();
        let one = value.filter(|_| !several);
        items.chain(one).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let said = |key: &str| machine?.get(key).filter(|value| !matches!(value, Value::Null | Value::Bool(false)));
    let key = KEYS.into_iter().find(|key| said(key).is_some()).unwrap_or_default();
    let scope = &spec.scope;
    let lists: [(&'static str, &Vec<String>, &str, bool); 10] = [
        ("platforms", &scope.platforms, "platform", true),
        ("units", &scope.units, "unit", true),
        ("tags", &scope.tags, "tags", true),
        ("groups", &scope.groups, "groups", true),
        ("machines", &scope.machines, key, true),
        ("not_platforms", &scope.not_platforms, "platform", false),
        ("not_units", &scope.not_units, "unit", false),
        ("not_tags", &scope.not_tags, "tags", false),
        ("not_groups", &scope.not_groups, "groups", false),
        ("not_machines", &scope.not_machines, key, false),
    ];
    let failing = lists.into_iter().filter_map(|(list, wanted, key, within)| {
        let is = texts(key);
        let holds = wanted.iter().any(|w| is.contains(w)) == within;
        (!wanted.is_empty() && !holds).then(|| Outside { list, wanted: wanted.clone(), is })
    });
    failing.collect()
}

/// The query that an event is a result of.
fn query(event: &Value) -> Option<&str> {
    let result = event.get("type").and_then(Value::as_str) == Some("osquery_result");
    event.pointer("/payload/name").and_then(Value::as_str).filter(|_| result)
}

/// Whether it comes from the first run of a differential query, when everything is "added".
fn is_first_run(event: &Value) -> bool {
    let at = |key: &str| event.get("payload").and_then(|p| p.get(key));
    let counter = at("counter");
    let zero = counter.and_then(Value::as_str) == Some("0") || counter.and_then(Value::as_f64) == Some(0.0);
    zero && at("snapshot").is_none() && at("action").and_then(Value::as_str) != Some("snapshot")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use crate::{FilterSet, NoModules, Quiet, Scope};
    use serde_json::json;

    use super::*;

    fn spec(scope: Scope, query_name: Option<&str>, first_run: bool) -> Spec {
        Spec { scope, query_name: query_name.map(str::to_owned), first_run, ..Spec::bare("p", "true") }
    }

    /// What is told here is what the engine does.
    #[test]
    fn gates_are_those_of_the_engine() {
        let list = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let scopes = [
            Scope::default(),
            Scope { platforms: list("macos linux"), ..Scope::default() },
            Scope { units: list("berlin"), not_tags: list("lab"), ..Scope::default() },
            Scope { tags: list("vip lab"), not_platforms: list("windows"), ..Scope::default() },
            Scope { not_units: list("berlin"), ..Scope::default() },
            Scope { groups: list("dev"), not_machines: list("C02"), ..Scope::default() },
            Scope { machines: list("C02 h 5"), not_groups: list("ops"), ..Scope::default() },
        ];
        let machines = [
            json!(null),
            json!({"platform": "macos", "unit": "berlin", "tags": ["vip"]}),
            json!({"platform": "windows", "tags": ["lab", 3]}),
            json!({"platform": "linux", "unit": 7, "tags": "vip"}),
            json!({"serial_number": "C02", "hostname": "h", "groups": ["dev"]}),
            json!({"serial_number": null, "hardware_uuid": false, "hostname": "h", "groups": ["dev", "ops"]}),
            json!({"serial_number": 5, "hostname": "h", "groups": "dev"}),
        ];
        let payloads = [
            json!({"name": "q", "action": "added", "counter": 0}),
            json!({"name": "q", "action": "added", "counter": "0"}),
            json!({"name": "q", "action": "added", "counter": 1}),
            json!({"name": "q", "counter": 0, "snapshot": []}),
            json!({"name": "q", "counter": 0, "action": "snapshot"}),
            json!({"name": "other"}),
        ];
        let (mut passed, mut stopped) = (0, 0);
        for scope in &scopes {
            for (query_name, first_run) in [(None, false), (Some("q"), false), (Some("q"), true)] {
                let spec = spec(scope.clone(), query_name, first_run);
                let set = FilterSet::build(vec![spec.clone()], &NoModules).unwrap();
                for (machine, payload) in machines.iter().flat_map(|m| payloads.iter().map(move |p| (m, p))) {
                    for kind in ["osquery_result", "osquery_status"] {
                        let event = json!({"type": kind, "machine": machine, "payload": payload});
                        let found = set.run(event.to_string().as_bytes(), 0, &mut Quiet).unwrap().found.len() == 1;
                        assert_eq!(kept(&spec, &event).is_none(), found, "{spec:?} {event}");
                        *(if found { &mut passed } else { &mut stopped }) += 1;
                    }
                }
            }
        }
        assert!(passed > 50 && stopped > 50, "{passed} {stopped}");
    }
}
