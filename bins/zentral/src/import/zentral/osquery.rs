//! The probes of Zentral that bring queries: schedules of 2016, queries and compliance checks of 2017.

use super::filters::Filters;
use crate::import::cond::Cond;
use crate::import::draft::{Draft, Import, Query, Refusal, no};
use crate::import::node::Spot;
use crate::import::query::{self, Around};

/// A probe for each query; none if the probe brings no queries.
pub fn drafts(base: &Draft, body: &Spot<'_>, filters: &Filters, import: &mut Import) -> Result<Vec<Draft>, Refusal> {
    if let Some(discovery) = body.get("discovery").filter(|discovery| !discovery.is_empty()) {
        return no(
            &discovery,
            "discovery queries cannot be said of a probe; the queries of this probe are not imported",
        );
    }
    let osquery = body.get("osquery");
    let schedule = osquery.as_ref().and_then(|osquery| osquery.get("schedule"));
    if let Some(paths) = osquery.as_ref().and_then(|osquery| osquery.get("file_paths")).filter(|p| !p.is_empty()) {
        import.refuse(
            &paths,
            "paths to watch are no probe's: they belong into `file_paths` of [source.osquery]; left out",
        );
    }
    let list = schedule.clone().or(body.get("queries")).map(|list| list.items()).unwrap_or_default();
    let slug = base.name.to_ascii_lowercase().replace([' ', '.'], "-");
    let mut found = Vec::new();
    for (i, at) in list.iter().enumerate() {
        // In 2016 the key of a query was the probe's slug and the query's place; since then it ends in a hash.
        let key = schedule.as_ref().map(|_| format!("{slug}_{i}"));
        let read = query::read(at, None, &Around::default(), import)
            .and_then(|(query, platforms)| Ok((query, platforms, filters.payload_of(key.as_deref())?)));
        match read {
            Ok((query, platforms, payload)) => {
                let mut draft = base.clone();
                draft.origin = at.place();
                draft.scope.platforms = platforms;
                draft.query = Some(query);
                draft.cond = payload;
                if list.len() > 1 {
                    draft.name = format!("{} {i}", base.name);
                    let said = at.get("value").or(at.get("description")).and_then(|said| said.text());
                    draft.title = format!("{}: {}", base.name, said.unwrap_or(&format!("query {i}")));
                }
                draft.explain(at, &["value", "description"]);
                found.push(draft);
            }
            Err(refusal) => import.refused.push(refusal),
        }
    }
    for (at, query) in checks(body, import) {
        let mut draft = base.clone();
        draft.name = format!("{} {}", base.name, found.len());
        draft.origin = at.place();
        draft.explain(&at, &["description"]);
        draft.scope.platforms = vec!["macos".into()];
        draft.query = Some(query);
        draft.cond = filters.payload_of(None)?;
        found.push(draft);
    }
    let asked = !list.is_empty() || body.get("preference_files").is_some() || body.get("file_checksums").is_some();
    if found.is_empty() && asked {
        return no(body, "none of its queries could be imported");
    }
    for draft in &mut found {
        whole(draft, filters, body)?;
    }
    Ok(found)
}

/// What holds for each probe of a query.
fn whole(draft: &mut Draft, filters: &Filters, body: &Spot<'_>) -> Result<(), Refusal> {
    let scope = filters.query_scope()?;
    (draft.scope.units, draft.scope.tags) = (scope.units, scope.tags);
    if !scope.platforms.is_empty() {
        let own = std::mem::take(&mut draft.scope.platforms);
        draft.scope.platforms = scope.platforms.into_iter().filter(|p| own.is_empty() || own.contains(p)).collect();
        if draft.scope.platforms.is_empty() {
            return no(body, "the platforms of a query and those of the inventory's filters have none in common");
        }
    }
    let cond = filters.metadata.clone().and(draft.cond.clone());
    draft.cond = if cond.is_always() { Cond::event_type("osquery_result") } else { cond };
    // Zentral takes what the first run finds for news as well.
    draft.first_run = true;
    Ok(())
}

/// Compliance checks: queries for what differs from what is wanted.
fn checks<'a>(body: &Spot<'a>, import: &mut Import) -> Vec<(Spot<'a>, Query)> {
    let mut found = Vec::new();
    let files = body.get("preference_files").map(|files| files.items()).unwrap_or_default();
    let sums = body.get("file_checksums").map(|sums| sums.items()).unwrap_or_default();
    let read = files.into_iter().map(|at| (preferences(&at), at)).chain(sums.into_iter().map(|at| (sum(&at), at)));
    for (sql, at) in read {
        let interval = at.get("interval").map_or(Some(3600), |interval| interval.whole());
        match (sql, interval.filter(|s| (1..=604_800).contains(s))) {
            (Err(refusal), _) => import.refused.push(refusal),
            (_, None) => import.refuse(&at, "`interval`: osquery takes whole seconds from 1 to 604800"),
            (Ok(sql), Some(interval_s)) => {
                found.push((at, Query { sql, interval_s, snapshot: false, removed: false, version: None }));
            }
        }
    }
    found
}

/// A file whose SHA-256 is another.
fn sum(at: &Spot<'_>) -> Result<String, Refusal> {
    let (path, sha256) = (text(at, "path")?, text(at, "sha256")?);
    Ok(format!("SELECT path, sha256 FROM hash WHERE path = {path} AND sha256 <> {sha256}"))
}

/// Keys of a property list whose values are others, or out of bounds.
fn preferences(at: &Spot<'_>) -> Result<String, Refusal> {
    let file = text(at, "rel_path")?;
    let mut tests = Vec::new();
    for key in at.get("keys").map(|keys| keys.items()).unwrap_or_default() {
        let mut wrong = Vec::new();
        if key.get("value").is_some() {
            wrong.push(format!("p.value <> {}", text(&key, "value")?));
        }
        for (bound, than) in [("min_value", "<"), ("max_value", ">")] {
            if let Some(said) = key.get(bound) {
                let Some(number) = said.word().and_then(|word| word.parse::<i64>().ok()) else {
                    return no(&said, "is no whole number");
                };
                wrong.push(format!("CAST(p.value AS INTEGER) {than} {number}"));
            }
        }
        if wrong.is_empty() {
            return no(&key, "has neither `value` nor a bound");
        }
        tests.push(format!("(p.key = {} AND ({}))", text(&key, "key")?, wrong.join(" OR ")));
    }
    if tests.is_empty() {
        return no(at, "has no `keys`");
    }
    let tests = tests.join("\n  OR ");
    // A pattern is looked for in the folder and one level below it.
    let paths = |folder: &str| match file.contains('%') {
        true => format!("(p.path LIKE {folder} || {file} OR p.path LIKE {folder} || '%/' || {file})"),
        false => format!("p.path = {folder} || {file}"),
    };
    match at.get("type").and_then(|kind| kind.text()) {
        Some("USERS") => Ok(format!(
            "SELECT u.username, p.path, p.key, p.value FROM users u JOIN plist p\n\
             ON {}\n\
             WHERE u.directory LIKE '/Users/%' AND ({tests})",
            paths("u.directory || '/Library/Preferences/'")
        )),
        Some("GLOBAL") => Ok(format!(
            "SELECT p.path, p.key, p.value FROM plist p\nWHERE {} AND ({tests})",
            paths("'/Library/Preferences/'")
        )),
        _ => no(at, "`type` is neither USERS nor GLOBAL"),
    }
}

/// A word as SQL says it.
fn text(at: &Spot<'_>, key: &str) -> Result<String, Refusal> {
    match at.get(key).as_ref().and_then(Spot::word).filter(|word| !word.trim().is_empty() && !word.contains('\0')) {
        Some(word) => Ok(format!("'{}'", word.replace('\'', "''"))),
        None => no(at, format!("has no `{key}`")),
    }
}
