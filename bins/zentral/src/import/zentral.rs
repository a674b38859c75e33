//! Zentral's probes: of 2016 (YAML, everything in one body), of 2017 (a model and a body) and of today's API (filters
//! in lists of their own). They are told apart by their keys, not by a version, which none of them names.

mod filters;
mod osquery;
mod santa;

use self::filters::Filters;
use super::cond::{Cond, path};
use super::draft::{Draft, Import, Refusal, line, no};
use super::node::Spot;

/// Keys of a body that say what a probe is about, beside its filters.
const SUBJECTS: [&str; 10] = [
    "osquery",
    "santa",
    "filters",
    "actions",
    "body",
    "model",
    "metadata_filters",
    "payload_filters",
    "inventory_filters",
    "incident_severity",
];
/// Every key that is read, or that says nothing that a probe could.
const KNOWN: [&str; 31] = [
    "osquery",
    "santa",
    "filters",
    "actions",
    "body",
    "model",
    "metadata_filters",
    "payload_filters",
    "inventory_filters",
    "incident_severity",
    "id",
    "pk",
    "name",
    "slug",
    "key",
    "description",
    "status",
    "active",
    "created_at",
    "updated_at",
    "event_types",
    "queries",
    "discovery",
    "preference_files",
    "file_checksums",
    "file_paths",
    "rules",
    "install_types",
    "installed_item_names",
    "unattended_installs",
    "distributed_query",
];

/// Whether a document is a probe.
pub fn is_one(at: &Spot<'_>) -> bool {
    let has = |key: &str| at.get(key).is_some();
    (has("name") || has("body")) && SUBJECTS.iter().any(|key| has(key))
}

/// Imports a probe: an event probe, or one for each of its queries.
pub fn probe(at: &Spot<'_>, import: &mut Import) {
    match read(at, import) {
        Ok(drafts) => import.drafts.extend(drafts),
        Err(refusal) => import.refused.push(refusal),
    }
}

fn read(at: &Spot<'_>, import: &mut Import) -> Result<Vec<Draft>, Refusal> {
    let inactive = at.get("status").filter(|s| s.text().is_some_and(|text| text.eq_ignore_ascii_case("inactive")));
    if let Some(off) = inactive.or(at.get("active").filter(|active| active.truth() == Some(false))) {
        return no(&off, "the probe is inactive: not imported");
    }
    let body = at.get("body").unwrap_or_else(|| at.clone());
    if !body.is_map() {
        return no(&body, "is no body of a probe; one that is a text belongs into a file of its own");
    }
    let name = at.get("name").or(at.get("slug")).and_then(|name| name.word()).unwrap_or("probe");
    let mut base = Draft::new(name, at);
    base.explain(at, &["description"]);
    base.severity = severity(at)?;

    let forced = forced_type(&body);
    let filters = Filters::read(at, &body, forced, import)?;
    let mut drafts = osquery::drafts(&base, &body, &filters, import)?;
    let rules = body.get("santa").is_some_and(|rules| !rules.is_empty());
    if drafts.is_empty() || rules {
        let name = if drafts.is_empty() { base.name.clone() } else { format!("{} santa", base.name) };
        drafts.push(event_probe(Draft { name, ..base }, at, &body, filters, import)?);
    }
    let act = actions(at.get("actions").or(body.get("actions")).as_ref(), import);
    for draft in &mut drafts {
        (draft.act, draft.lacking) = act.clone();
    }
    import.rest(at, &KNOWN);
    if at.get("body").is_some() {
        import.rest(&body, &KNOWN);
    }
    Ok(drafts)
}

/// The one type of event that a probe of this kind is about, whatever its filters say.
fn forced_type(body: &Spot<'_>) -> Option<&'static str> {
    let has = |key| body.get(key).is_some();
    if has("install_types") {
        Some("munki_event")
    } else if has("rules") {
        Some("santa_event")
    } else if has("queries") || has("preference_files") || has("file_checksums") {
        Some("osquery_result")
    } else {
        None
    }
}

fn event_probe(
    mut draft: Draft,
    at: &Spot<'_>,
    body: &Spot<'_>,
    filters: Filters,
    import: &mut Import,
) -> Result<Draft, Refusal> {
    for (key, why) in [
        ("file_paths", "paths to watch are no probe's: they belong into `file_paths` of [source.osquery]"),
        ("distributed_query", "a live query is no probe: `zentral query` asks agents now"),
    ] {
        if let Some(subject) = body.get(key) {
            return no(&subject, why);
        }
    }
    if let Some(model) = at.get("model") {
        let kind = model.text().unwrap_or_default();
        if !["BaseProbe", "SantaProbe", "MunkiInstallProbe"].contains(&kind) {
            return no(&model, format!("a probe of the kind `{}` that says nothing of it", line(kind)));
        }
    }
    let mut cond = filters.metadata.clone();
    if let Some(santa) = santa::cond(body, import)? {
        cond = cond.and(santa);
    }
    if body.get("install_types").is_some() {
        cond = cond.and(munki(body)?);
    }
    (draft.scope, draft.cond) = filters.machines(cond.and(filters.payload()));
    Ok(draft)
}

/// What Munki installed or removed.
fn munki(body: &Spot<'_>) -> Result<Cond, Refusal> {
    let mut all = Vec::new();
    for (key, attribute) in [("install_types", "type"), ("installed_item_names", "name")] {
        if let Some(said) = body.get(key).filter(|said| !said.is_empty()) {
            let Some(words) = said.words() else { return no(&said, "is no list of words") };
            all.push(Cond::Is(path("payload", attribute), words.into_iter().map(Into::into).collect()));
        }
    }
    if let Some(said) = body.get("unattended_installs") {
        let Some(truth) = said.truth() else { return no(&said, "is neither true nor false") };
        all.push(Cond::Is(path("payload", "unattended"), vec![truth.into()]));
    }
    Ok(Cond::All(all))
}

fn severity(at: &Spot<'_>) -> Result<&'static str, Refusal> {
    let Some(said) = at.get("incident_severity") else { return Ok("info") };
    match said.whole() {
        Some(100) => Ok("minor"),
        Some(200) => Ok("major"),
        Some(300) => Ok("critical"),
        _ => no(&said, "is none of 100, 200 and 300"),
    }
}

/// The actions of a probe: those that the configuration has, and those that it lacks.
fn actions(at: Option<&Spot<'_>>, import: &mut Import) -> (Vec<String>, Vec<String>) {
    let (mut act, mut lacking) = (Vec::new(), Vec::new());
    let Some(at) = at else { return (act, lacking) };
    let by_name = at.members().into_iter();
    let by_number = at.items().into_iter().map(|item| (item.word().unwrap_or_default(), item));
    for (name, one) in by_name.chain(by_number) {
        let known = name.to_ascii_lowercase().replace('_', "-");
        if !import.actions.contains(&known) {
            import.refuse(&one, format!("the configuration has no action `{}`: the probe does nothing", line(name)));
            lacking.push(line(name));
            continue;
        }
        if one.is_map() && !one.is_empty() {
            import.refuse(&one, format!("options of an action stand in [action.{known}], not in the probe; left out"));
        }
        act.push(known);
    }
    (act, lacking)
}

#[cfg(test)]
mod tests;
