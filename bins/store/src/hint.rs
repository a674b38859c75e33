//! What to say of a search that found nothing since it asks for what no event has: most often a field goes by another
//! name (`severity:` for `probes.severity:`), or is compared as in another language (`type=x`).

use crate::query::Query;
use crate::search::SearchError;

/// Parts of a query that are looked at.
const PARTS_MAX: usize = 16;
/// Names that are proposed for one field.
const NAMES_MAX: usize = 3;

/// Fields of the event's own shape (`libs/event/schemas/event.json`), whether an event has them now or not.
const SHAPE: [&str; 32] = [
    "id",
    "type",
    "time",
    "received",
    "source",
    "tags",
    "objects",
    "v",
    "machine",
    "machine.serial_number",
    "machine.hardware_uuid",
    "machine.hostname",
    "machine.platform",
    "machine.os_version",
    "machine.unit",
    "machine.tags",
    "machine.groups",
    "machine.user",
    "request",
    "request.ip",
    "request.user_agent",
    "cause",
    "cause.event",
    "cause.probe",
    "cause.action",
    "probes",
    "probes.name",
    "probes.rev",
    "probes.severity",
    "probes.act",
    "probes.key",
    "payload",
];

/// Below what a field may stand that is named by its last part.
const BELOW: [&str; 6] = ["payload", "payload.columns", "machine", "probes", "probes.context", "request"];

/// Says what is odd about a query that found nothing. `has` tells whether any event has a field, whenever it was.
pub fn of_query(query: &Query, has: impl Fn(&str) -> Result<bool, SearchError>) -> Result<Option<String>, SearchError> {
    let mut parts = Vec::new();
    gather(query, &mut parts);
    for part in parts {
        let said = match part {
            Query::Match { field: None, text } => compared(text, &has)?,
            Query::Match { field: Some(field), .. }
            | Query::Wild { field: Some(field), .. }
            | Query::Range { field, .. }
            | Query::Exists(field) => of_field(field, &has)?,
            _ => None,
        };
        if said.is_some() {
            return Ok(said);
        }
    }
    Ok(None)
}

/// Says that no event has this field, and how it may be called.
pub fn of_field(field: &str, has: &impl Fn(&str) -> Result<bool, SearchError>) -> Result<Option<String>, SearchError> {
    if SHAPE.contains(&field) || has(field)? {
        return Ok(None);
    }
    let names = names(field, has)?;
    let advice = match names.as_slice() {
        [] => pipe::config::nearest(field, SHAPE.into_iter()),
        names => format!("; did you mean {}?", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")),
    };
    Ok(Some(format!("no event has a field `{field}`{advice}")))
}

/// The parts of a query that say something of an event; what is under NOT takes nothing away that is not there.
fn gather<'q>(query: &'q Query, parts: &mut Vec<&'q Query>) {
    match query {
        Query::And(all) | Query::Or(all) => all.iter().for_each(|one| gather(one, parts)),
        Query::All | Query::Not(_) => {}
        one if parts.len() < PARTS_MAX => parts.push(one),
        _ => {}
    }
}

/// Whole names of a field that is given by its last part, or most of it: those of the shape, and those that events have.
fn names(field: &str, has: &impl Fn(&str) -> Result<bool, SearchError>) -> Result<Vec<String>, SearchError> {
    let low = field.to_lowercase();
    let last = |name: &&str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = SHAPE.iter().filter(|name| last(name) == low).map(|name| (*name).to_owned()).collect();
    for above in BELOW {
        let name = format!("{above}.{field}");
        if !names.contains(&name) && has(&name)? {
            names.push(name);
        }
    }
    if names.is_empty() {
        let partly = |name: &&&str| last(name).starts_with(&low) || last(name).ends_with(&low);
        names.extend(SHAPE.iter().filter(partly).map(|name| (*name).to_owned()));
    }
    names.truncate(NAMES_MAX);
    Ok(names)
}

/// `payload.user=root`, `received>1h`: words to this language.
fn compared(text: &str, has: &impl Fn(&str) -> Result<bool, SearchError>) -> Result<Option<String>, SearchError> {
    let sign = |c: char| "=<>!".contains(c);
    let Some((field, value)) = text.find(sign).and_then(|at| text.split_at_checked(at)) else { return Ok(None) };
    let sign: String = value.chars().take_while(|c| sign(*c)).collect();
    let value = value.get(sign.len()..).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if value.is_empty() || field.is_empty() || !field.chars().all(plain) || sign.starts_with('!') {
        return Ok(None);
    }
    let whole = SHAPE.contains(&field) || has(field)?;
    let Some(field) = (if whole { Some(field.to_owned()) } else { names(field, has)?.into_iter().next() }) else {
        return Ok(None);
    };
    let time = matches!(field.as_str(), "time" | "received");
    let (field, bound) = (Some(field), Some(value.to_owned()));
    let asked = match (sign.chars().next(), field) {
        (Some('<' | '>'), _) if time && pipe::config::parse_duration(value).is_some() => {
            format!("an age is not part of a query but given beside it, `--since {value}` or `--until {value}`")
        }
        (Some('>'), Some(field)) => format!("a range is `{}`", Query::Range { field, from: bound, to: None }),
        (Some('<'), Some(field)) => format!("a range is `{}`", Query::Range { field, from: None, to: bound }),
        (_, field) => format!("a field is `{}`", Query::Match { field, text: value.to_owned() }),
    };
    Ok(Some(format!("`{text}` was looked for as words; {asked}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    /// Events have these, beside the shape.
    const STORED: [&str; 4] = ["payload.user", "payload.columns.vendor", "payload.name", "payload.columns.user"];

    #[track_caller]
    fn check(query: &str, want: &str) {
        let query = crate::query::parse(query).unwrap();
        let said = of_query(&query, |field| Ok(STORED.contains(&field))).unwrap();
        assert_eq!(said.unwrap_or_default(), want, "{query}");
    }

    #[test]
    fn fields_that_go_by_another_name() {
        check("severity:critical", "no event has a field `severity`; did you mean `probes.severity`?");
        check("* AND hostname:web-1", "no event has a field `hostname`; did you mean `machine.hostname`?");
        check("vendor:x", "no event has a field `vendor`; did you mean `payload.columns.vendor`?");
        check("name:x", "no event has a field `name`; did you mean `probes.name` or `payload.name`?");
        check(
            "user:[a TO b]",
            "no event has a field `user`; did you mean `machine.user` or `payload.user` or `payload.columns.user`?",
        );
        check("serial:C02*", "no event has a field `serial`; did you mean `machine.serial_number`?");
        check("_exists_:machine.hostnme", "no event has a field `machine.hostnme`; did you mean `machine.hostname`?");
        check("payload.nosuch:x", "no event has a field `payload.nosuch`");
    }

    #[test]
    fn comparisons_of_other_languages() {
        check("payload.user=root", "`payload.user=root` was looked for as words; a field is `payload.user:root`");
        check("severity==major", "`severity==major` was looked for as words; a field is `probes.severity:major`");
        check("payload.user>5", "`payload.user>5` was looked for as words; a range is `payload.user:[5 TO *]`");
        check("time<=2026-11", "`time<=2026-11` was looked for as words; a range is `time:[* TO 2026-11]`");
        check(
            "received>1h",
            "`received>1h` was looked for as words; an age is not part of a query but given beside it, `--since 1h` or \
             `--until 1h`",
        );
    }

    #[test]
    fn nothing_is_said_of_what_only_was_not_there() {
        for query in ["", "*", "web-1", "probes.severity:critical", "machine.user:x", "payload.user:x", "NOT nosuch:x"]
        {
            check(query, "");
        }
        // Words of commands are words.
        check("PATH=/bin", "");
        check("aGk=", "");
        check("a!=b", "");
    }

    #[test]
    fn a_store_that_fails_says_so() {
        let query = crate::query::parse("nosuch:x").unwrap();
        assert_eq!(of_query(&query, |_| Err(SearchError::Deadline)), Err(SearchError::Deadline));
    }

    #[test]
    fn the_shape_is_that_of_events() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../../libs/event/schemas/event.json")).unwrap();
        let mut names = Vec::new();
        for (name, value) in schema["properties"].as_object().unwrap() {
            names.push(name.clone());
            let place = value["anyOf"][0]["$ref"].as_str().or_else(|| value["items"]["$ref"].as_str());
            let below =
                place.and_then(|place| schema.pointer(&format!("{}/properties", place.trim_start_matches('#'))));
            names.extend(below.and_then(|b| b.as_object()).into_iter().flatten().map(|(k, _)| format!("{name}.{k}")));
        }
        // What a filter returned may be anything, and is looked up.
        names.retain(|name| name != "probes.context");
        let mut known = SHAPE.map(str::to_owned).to_vec();
        names.sort();
        known.sort();
        assert_eq!(names, known);
    }
}
