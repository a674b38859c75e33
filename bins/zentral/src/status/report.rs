//! The sums and what surrounds them, as a table or as lines.

use serde_json::{Value, json};

use super::sums::Sums;
use super::table::{lines, size, table};

/// The sums for people.
pub fn for_people(sums: &Sums) -> String {
    let mut topics = Vec::new();
    for t in &sums.topics {
        let tail = t.held_by.clone().filter(|_| t.readers.len() > 1).unwrap_or_default();
        let full = if t.full { "FULL" } else { "" };
        let [written, gone] = [t.written, t.gone].map(|n| n.map_or("?".to_owned(), |n| n.to_string()));
        let mut row = vec![t.topic.clone(), written, gone, size(t.disk), full.into()];
        if t.readers.is_empty() {
            topics.push(row.clone());
        }
        for r in &t.readers {
            let held = if tail == r.reader { " (holds the tail)" } else { "" };
            let sum = [r.start, r.read, r.skipped, r.lag].map(|n| n.to_string());
            row.push(format!("{}{held}", r.reader));
            row.extend(sum);
            row.push(verdict(r.ok, r.why.as_deref()));
            topics.push(std::mem::replace(&mut row, vec![String::new(); 5]));
        }
    }
    let head = ["topic", "written", "gone", "disk", "", "reader", "before", "read", "skipped", "lag", "sum"];
    let mut out = table(&head, &topics);
    let by_reason = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(reason, n)| format!("{reason} {n}")).collect::<Vec<_>>().join(", ")
    };
    let stages: Vec<Vec<String>> = sums
        .stages
        .iter()
        .map(|s| {
            vec![
                s.stage.clone(),
                s.taken.to_string(),
                s.done.to_string(),
                by_reason(&s.ignored),
                by_reason(&s.refused),
                verdict(s.ok, s.why.as_deref()),
            ]
        })
        .collect();
    out.push('\n');
    out.push_str(&table(&["stage", "in", "done", "ignored", "refused", "sum"], &stages));
    out
}

/// The sums as records.
pub fn records(sums: &Sums) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for topic in &sums.topics {
        let mut value = json!(topic);
        let readers = value.as_object_mut().and_then(|v| v.remove("readers"));
        all.push(("topic", value));
        for reader in readers.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let mut whole = serde_json::Map::new();
            whole.insert("topic".into(), topic.topic.clone().into());
            whole.extend(reader.as_object().cloned().unwrap_or_default());
            all.push(("reader", whole.into()));
        }
    }
    all.extend(sums.stages.iter().map(|s| ("sum", json!(s))));
    all
}

/// The sums, whoever reads.
pub fn sums_text(sums: &Sums, people: bool) -> String {
    if people { for_people(sums) } else { lines(&records(sums)) }
}

fn verdict(ok: bool, why: Option<&str>) -> String {
    if ok { "ok".into() } else { format!("OFF: {}", why.unwrap_or("")) }
}
