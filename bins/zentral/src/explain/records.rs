//! An explanation as programs read it: one JSON object a line.

use probe::Kept;
use probe::clauses::{Clause, Seen};
use serde_json::{Map, Value, json};

use super::draw::came;
use super::find::RawLine;
use super::text::reason;
use super::verdict::{Look, Says, Verdict};

/// Where the event comes from.
pub fn way(event: &Value, place: &str, raw: Option<&RawLine>) -> Value {
    let mut all = Map::new();
    for key in ["id", "type", "time", "received", "source", "machine", "request", "cause"] {
        if let Some(value) = event.get(key) {
            all.insert(key.to_owned(), value.clone());
        }
    }
    all.insert("found".into(), place.into());
    all.insert("raw".into(), json!(raw));
    Value::Object(all)
}

/// What one probe says.
pub fn probe(verdict: &Verdict) -> Value {
    let Verdict { spec, says, look, until, then, deeds, held, incident, outlook } = verdict;
    let mut all = Map::new();
    let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
    put("probe", spec.name.clone().into());
    put("rev", spec.rev.clone().into());
    put("filter", (*spec.filter.name).into());
    put("severity", spec.severity.clone().into());
    put("shadow", spec.shadow.into());
    put("verdict", says.word().into());
    match says {
        Says::Matched { key, context, closes } => {
            put("key", json!(key));
            if *closes {
                put("closes", true.into());
            }
            put("context", context.as_ref().and_then(|c| serde_json::from_str(c).ok()).unwrap_or(Value::Null));
        }
        Says::No => {}
        Says::Failed(text) => {
            put("error", text.clone().into());
        }
        Says::Off(off) => {
            put("off", json!(off));
        }
        Says::Kept(Kept::FirstRun) => {}
        Says::Kept(Kept::OtherQuery { wanted, seen }) => {
            put("query", json!({"wanted": wanted, "seen": seen}));
        }
        Says::Kept(Kept::OutOfScope(lists)) => {
            put("scope", json!(lists));
        }
    }
    if !matches!(says, Says::Matched { .. }) {
        put("why", reason(says).into());
    }
    if let Some(rev) = then {
        put("matched_as", rev.clone().into());
    }
    if let Some(look) = look {
        put("filter_says", look.says_yes().into());
        put("decided", decided(look).unwrap_or(Value::Null));
        put("clauses", clauses(look));
    }
    if let (Some(look), Some(program)) = (until, &spec.until) {
        let decided = decided(look).unwrap_or(Value::Null);
        let says = look.says_yes();
        put("until", json!({"filter": *program.name, "says": says, "decided": decided, "clauses": clauses(look)}));
    }
    if let Some(why) = held {
        put("held", why.clone().into());
    }
    if let Some(incident) = incident {
        put("incident", json!(incident));
    }
    if let Some(outlook) = outlook {
        put("would", outlook.record());
    }
    put("actions", json!(deeds));
    Value::Object(all)
}

fn clauses(look: &Look) -> Value {
    look.clauses.clauses().iter().zip(&look.explained.seen).map(|(c, s)| clause(c, s)).collect()
}

/// The clause after which it was decided.
pub fn decided(look: &Look) -> Option<Value> {
    let i = look.explained.decided?;
    Some(clause(look.clauses.clauses().get(i)?, look.explained.seen.get(i)?))
}

fn clause(clause: &Clause, seen: &Seen) -> Value {
    let operands: Vec<Value> = clause
        .operands
        .iter()
        .zip(&seen.operands)
        .map(|(text, values)| json!({"text": text, "values": values}))
        .collect();
    json!({
        "line": clause.line, "column": clause.column, "text": clause.text, "kind": clause.kind.as_str(),
        "negated": clause.negated, "came": came(clause, seen).word(), "runs": seen.runs, "true": seen.truthy, "false": seen.falsy,
        "empty": seen.empty, "errors": seen.errors, "error": seen.error, "values": seen.values, "operands": operands,
    })
}
