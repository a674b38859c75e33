//! osquery's own files: packs and configurations.

use std::collections::BTreeSet;

use super::cond::Cond;
use super::draft::{Draft, Import, Refusal, no};
use super::node::Spot;
use super::query::{self, Around};

/// Keys by which a configuration is known.
pub const CONFIGURATION: [&str; 12] = [
    "schedule",
    "packs",
    "options",
    "decorators",
    "file_paths",
    "exclude_paths",
    "file_accesses",
    "additional_monitoring",
    "auto_table_construction",
    "views",
    "yara",
    "events",
];
/// Keys of a pack or configuration that are read, or say nothing that a probe could.
const KNOWN: [&str; 20] = [
    "schedule",
    "packs",
    "queries",
    "platform",
    "version",
    "shard",
    "discovery",
    "discovery_queries",
    "name",
    "slug",
    "id",
    "description",
    "oncall",
    "created_at",
    "updated_at",
    "options",
    "decorators",
    "targets",
    "disabled",
    "event_routing_key",
];

/// A configuration: its schedule and the packs that it holds. `given` are the names of all files that are imported.
pub fn configuration(at: &Spot<'_>, given: &BTreeSet<String>, import: &mut Import) {
    let around = match Around::default().within(at) {
        Ok(around) => around,
        Err(refusal) => return import.refused.push(refusal),
    };
    if let Some(schedule) = at.get("schedule") {
        queries(&schedule, None, &around, import);
    }
    for (name, pack) in at.get("packs").map(|packs| packs.members()).unwrap_or_default() {
        let file = pack.text().and_then(|path| path.rsplit(['/', '\\']).next());
        match file {
            Some(file) if given.contains(file) => {}
            Some(_) => import.refuse(&pack, "this pack is a file of its own: import that file as well"),
            None if pack.is_map() => self::pack(&pack, name, &around, import),
            None => import.refuse(&pack, "is no pack"),
        }
    }
    sections(at, import);
}

/// A pack.
pub fn pack(at: &Spot<'_>, name: &str, around: &Around, import: &mut Import) {
    let around = match around.within(at) {
        Ok(around) => around,
        Err(refusal) => return import.refused.push(refusal),
    };
    if let Some(all) = at.get("queries") {
        queries(&all, Some(name), &around, import);
    }
    if let Some(key) = at.get("event_routing_key").filter(|key| !key.is_empty()) {
        import.refuse(&key, "events have no routing keys here; it was left out");
    }
    sections(at, import);
}

/// What stands beside the queries.
fn sections(at: &Spot<'_>, import: &mut Import) {
    for key in ["options", "decorators"] {
        if let Some(section) = at.get(key).filter(|section| !section.is_empty()) {
            import.refuse(&section, format!("belongs into `{key}` of [source.osquery] in pipeline.toml"));
        }
    }
    for (key, section) in at.members() {
        if !KNOWN.contains(&key) && !section.is_empty() {
            import.refuse(&section, "cannot be said in this version; it was left out");
        }
    }
}

fn queries(at: &Spot<'_>, pack: Option<&str>, around: &Around, import: &mut Import) {
    if !at.is_map() {
        return import.refuse(at, "expected queries by their names");
    }
    for (name, one) in at.members() {
        scheduled(&one, None, pack, name, around, import);
    }
}

/// A query of a schedule or of a pack becomes a probe that marks its news.
pub fn scheduled(
    at: &Spot<'_>,
    sql: Option<&Spot<'_>>,
    pack: Option<&str>,
    name: &str,
    around: &Around,
    import: &mut Import,
) {
    match draft(at, sql, pack, name, around, import) {
        Ok(draft) => import.drafts.push(draft),
        Err(refusal) => import.refused.push(refusal),
    }
}

fn draft(
    at: &Spot<'_>,
    sql: Option<&Spot<'_>>,
    pack: Option<&str>,
    name: &str,
    around: &Around,
    import: &mut Import,
) -> Result<Draft, Refusal> {
    if !at.is_map() {
        return no(at, "is no query");
    }
    if let Some(tag) = at.get("tag").filter(|tag| !tag.is_empty()) {
        return no(&tag, "a query that tags machines cannot be said of a probe");
    }
    let (mut query, platforms) = query::read(at, sql, around, import)?;
    let mut draft = Draft::new(&pack.map_or(name.to_owned(), |pack| format!("{pack} {name}")), at);
    draft.title = pack.map_or(name.to_owned(), |pack| format!("{pack}: {name}"));
    draft.explain(at, &["description", "value"]);
    draft.scope.platforms = platforms;
    let checks = |key| at.get(key).is_some_and(|said| said.truth() == Some(true));
    draft.cond = if checks("compliance_check") || checks("compliance_check_enabled") {
        // The rows of a compliance check say how it went; Zentral runs it as a snapshot in any case.
        query.snapshot = true;
        let status = super::cond::path("payload", "snapshot.ztl_status");
        Cond::Within(status, vec!["FAILED".into()])
    } else if query.snapshot {
        Cond::action("snapshot").and(Cond::Rows)
    } else {
        Cond::action("added")
    };
    draft.query = Some(query);
    Ok(draft)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::import::json;

    fn of(text: &str) -> Import {
        let (read, mut import) = (json::read(text).unwrap(), Import::default());
        read.roots.iter().for_each(|root| {
            pack(&Spot::root(&"f".into(), root), "p", &Around::default(), &mut import);
        });
        import
    }

    #[test]
    fn news_are_marked_and_nothing_is_done() {
        let import = of(r#"{"platform": "linux", "version": "5.1", "queries": {
            "New_rows": {"query": "select 1", "value": "v", "description": "d"},
            "snap": {"query": "select 2", "snapshot": true},
            "check": {"query": "select 'OK' as ztl_status", "compliance_check": true, "version": 3}}}"#);
        let programs: Vec<String> = import.drafts.iter().map(|draft| draft.cond.program()).collect();
        let [rows, snapshot, check] = programs.as_slice() else { panic!("{programs:?}") };
        assert_eq!(rows, ".payload.action == \"added\"\n");
        assert_eq!(snapshot, ".payload.action == \"snapshot\"\nand .payload.snapshot != []\n");
        assert!(
            check.ends_with("any(.payload.snapshot | each | objects | .ztl_status | each; IN(\"FAILED\"))\n"),
            "{check}"
        );
        for draft in &import.drafts {
            let query = draft.query.as_ref().unwrap();
            assert_eq!(
                (draft.scope.platforms.as_slice(), query.version.as_deref()),
                (&["linux".to_owned()][..], Some("5.1"))
            );
            assert!(draft.act.is_empty() && !draft.first_run && query.snapshot == (draft.name != "p New_rows"));
        }
        assert!(import.refused.is_empty(), "{:?}", import.refused);
    }

    #[test]
    fn what_a_pack_holds_beside_queries_is_named() {
        let import = of(r#"{"event_routing_key": "edr", "file_paths": {"a": ["b"]}, "yara": {}, "options": {"x": 1},
            "queries": {"a": "select 1", "t": {"query": "select 1", "tag": 4}}}"#);
        let places: Vec<&str> = import.refused.iter().map(|(place, _)| place.as_str()).collect();
        let want =
            ["f:2: queries.a", "f:2: queries.t.tag", "f:1: event_routing_key", "f:1: options", "f:1: file_paths"];
        assert_eq!(places, want);
        assert!(import.drafts.is_empty());
        assert_eq!(of(r#"{"queries": [1]}"#).refused[0].0, "f:1: queries");
    }
}
