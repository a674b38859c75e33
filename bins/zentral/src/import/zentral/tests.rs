#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::import::draft::Query;
use crate::import::{json, yaml};

/// Drafts and refusals of a probe.
fn of(text: &str) -> (Vec<Draft>, Vec<Refusal>) {
    let read = if text.starts_with('{') { json::read(text) } else { yaml::read(text) };
    let mut import = Import {
        tags: [("4".to_owned(), "vip".to_owned())].into(),
        units: [("2".to_owned(), "berlin".to_owned()), ("3".to_owned(), "paris".to_owned())].into(),
        known_units: ["berlin".to_owned()].into(),
        actions: ["slack".to_owned(), "json-file".to_owned()].into(),
        ..Import::default()
    };
    probe(&Spot::root(&"f".into(), &read.unwrap().roots[0]), &mut import);
    (import.drafts, import.refused)
}

/// The one probe, of which nothing is refused.
fn one(text: &str) -> Draft {
    let (mut drafts, refused) = of(text);
    assert_eq!((drafts.len(), refused.as_slice()), (1, &[][..]), "{text}");
    drafts.remove(0)
}

fn program(text: &str) -> String {
    one(text).cond.program().trim_end().to_owned()
}

#[test]
fn of_2016() {
    let text = "
name: USB
description: removable media
filters:
  inventory: [{tags: [4], business_units: [2]}]
  metadata:  [{type: osquery_result}]
  payload:   [{action: added, name: usb_0}, {name: usb_1}]
osquery:
  schedule:
    - {query: select 1, interval: 60, value: stick}
    - {query: select 2, interval: 60, description: other}
    - {query: select 3}
actions:
  slack: null
  json_file: {sub_dir: x}
  email: {groups: [secops]}
";
    let (drafts, refused) = of(text);
    let programs: Vec<String> = drafts.iter().map(|d| d.cond.program()).collect();
    let [first, second] = drafts.as_slice() else { panic!("{drafts:?}") };
    assert_eq!(
        programs,
        [".type == \"osquery_result\"\nand .payload.action == \"added\"\n", ".type == \"osquery_result\"\n"]
    );
    assert_eq!((first.name.as_str(), first.title.as_str()), ("USB 0", "USB: stick"));
    assert_eq!((second.title.as_str(), second.why[0].as_str()), ("USB: other", "removable media"));
    assert_eq!((first.scope.tags[0].as_str(), first.scope.units[0].as_str()), ("vip", "berlin"));
    assert_eq!(
        (&first.act, &first.lacking),
        (&vec!["slack".to_owned(), "json-file".into()], &vec!["email".to_owned()])
    );
    assert!(first.first_run && first.query.as_ref().is_some_and(|q| q.sql == "select 1" && q.interval_s == 60));
    let places: Vec<&str> = refused.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["f:7: filters.payload", "f:15: actions.json_file", "f:16: actions.email"]);
}

#[test]
fn of_2016_values_are_equal_or_lists_hold_them() {
    let probe = |payload: &str| program(&format!("name: p\nfilters: {{payload: [{payload}]}}"));
    assert_eq!(probe("{a: 1, b: x}"), ".payload.a == 1\nand .payload.b == \"x\"");
    assert_eq!(probe("{a.b: true}"), ".payload[\"a.b\"] == true");
    assert_eq!(probe("{a: [x, y]}"), r#"(.payload.a | type == "array" and (["x", "y"] - . == []))"#);
    assert_eq!(probe("{a: x}, {b: y, c: z}"), r#".payload.a == "x" or (.payload.b == "y" and .payload.c == "z")"#);
    // As its author meant it: Zentral looked at `filters` only and let everything pass.
    let top = "name: p\nmetadata_filters:\n - type: munki_event\npayload_filters:\n - type: install\n";
    assert_eq!(program(top), ".type == \"munki_event\"\nand .payload.type == \"install\"");
    assert_eq!(program("name: p\nfilters: {}\nactions: {}\nsanta: []\nstatus: ACTIVE\nosquery: {}"), "true");
}

#[test]
fn of_2017() {
    let probe = |body: &str| format!(r#"{{"name": "p", "model": "OsqueryProbe", "body": {body}}}"#);
    let filters = r#"{"filters": {"metadata": [{"event_types": ["a", "b"], "event_tags": ["t"]}],
        "payload": [{"x.y": ["1", "True"]}]}}"#;
    let (drafts, _) = of(&probe(filters));
    assert!(drafts.is_empty(), "a model that is not known");
    let text = program(&probe(filters).replace("OsqueryProbe", "BaseProbe"));
    assert!(text.contains("(.type | IN(\"a\", \"b\"))"), "{text}");
    assert!(text.contains("any(.tags | each; IN(\"t\"))"), "{text}");
    assert!(text.contains("any(.payload.x | each | objects | .y | each; IN(\"1\", 1, \"True\", true))"), "{text}");

    let query = one(&probe(
        r#"{"queries": [{"query": "select 1", "platform": ["darwin", "linux"], "interval": 60, "removed": false}],
            "filters": {"metadata": [{"event_types": ["ignored"]}], "payload": [{"columns.n": ["5"]}],
                        "inventory": [{"platforms": ["MACOS"], "tag_ids": [4]}]}}"#,
    ));
    assert_eq!(query.cond.program().trim_end(), ".type == \"osquery_result\"\nand (.payload.columns.n | IN(\"5\", 5))");
    assert_eq!((query.scope.platforms.as_slice(), query.name.as_str()), (&["macos".to_owned()][..], "p"));

    let munki =
        r#"{"install_types": ["install"], "installed_item_names": ["Firefox", "Zoom"], "unattended_installs": true}"#;
    let want = ".type == \"munki_event\"\nand .payload.type == \"install\"\nand (.payload.name | IN(\"Firefox\", \"Zoom\"))\nand .payload.unattended == true";
    assert_eq!(program(&probe(munki).replace("OsqueryProbe", "MunkiInstallProbe")), want);

    let santa = r#"{"rules": [{"policy": "BLACKLIST", "rule_type": "BINARY", "sha256": "AB"},
                              {"policy": "WHITELIST", "rule_type": "CERTIFICATE", "sha256": "cd"}]}"#;
    let (drafts, refused) = of(&probe(santa).replace("OsqueryProbe", "SantaProbe"));
    let text = drafts[0].cond.program();
    assert!(text.contains("(.payload.file_sha256 == \"ab\" and .payload.decision == \"BLOCK_BINARY\")"), "{text}");
    assert!(text.contains(".payload.decision == \"ALLOW_CERTIFICATE\""), "{text}");
    assert_eq!(refused[0].0, "f:1: body.rules");
}

#[test]
fn compliance_checks_of_2017_are_queries_for_what_is_wrong() {
    let (drafts, refused) = of(r#"{"name": "c", "body": {"preference_files": [
        {"type": "USERS", "rel_path": "com.apple.x.plist", "interval": 60,
         "keys": [{"key": "idle'Time", "min_value": 1, "max_value": 600}, {"key": "ask", "value": "1"}]},
        {"type": "GLOBAL", "rel_path": "a%.plist", "keys": [{"key": "k", "value": 2}]},
        {"type": "OTHER", "rel_path": "x", "keys": [{"key": "k", "value": 2}]}],
        "file_checksums": [{"path": "/etc/hosts", "sha256": "ab"}]}}"#);
    let sql: Vec<&str> = drafts.iter().filter_map(|d| Some(d.query.as_ref()?.sql.as_str())).collect();
    let tests = "(p.key = 'idle''Time' AND (CAST(p.value AS INTEGER) < 1 OR CAST(p.value AS INTEGER) > 600))";
    assert!(sql[0].contains(tests) && sql[0].contains("u.directory || '/Library/Preferences/' || 'com.apple.x.plist'"));
    assert!(sql[1].contains("p.path LIKE '/Library/Preferences/' || '%/' || 'a%.plist'"), "{}", sql[1]);
    assert_eq!(sql[2], "SELECT path, sha256 FROM hash WHERE path = '/etc/hosts' AND sha256 <> 'ab'");
    assert_eq!(refused[0].0, "f:5: body.preference_files[2]");
    assert!(drafts.iter().all(|d| d.query.as_ref().is_some_and(|q: &Query| !q.removed)));
}

#[test]
fn of_today() {
    let text = one(
        r#"{"id": 1, "name": "Today's", "slug": "todays", "description": "why", "active": true, "incident_severity": 300,
        "inventory_filters": [{"tag_ids": [4]}, {"tag_ids": [4]}],
        "metadata_filters": [{"event_types": ["osquery_result"]}],
        "payload_filters": [[{"attribute": "name", "operator": "IN", "values": ["a", "b"]},
                             {"attribute": "columns.x", "operator": "NOT_IN", "values": ["1"]}],
                            [{"attribute": "decorations.l", "operator": "NOT_IN", "values": ["q"]}]],
        "actions": [], "created_at": "x", "updated_at": "y"}"#,
    );
    let program = text.cond.program();
    let parts = [
        "(.payload.name | IN(\"a\", \"b\")) and (.payload.columns.x | IN(\"1\", 1) | not)",
        "(any(.payload.decorations | each | objects | .l | each; IN(\"q\")) | not)",
    ];
    assert!(parts.iter().all(|part| program.contains(part)), "{program}");
    assert_eq!((text.severity, text.scope.tags.len(), text.why[0].as_str()), ("critical", 2, "why"));

    let (_, refused) = of(r#"{"name": "p", "actions": ["0b9c-uuid"], "metadata_filters": [],
        "payload_filters": [[{"attribute": "a", "values": []}]]}"#);
    let places: Vec<&str> = refused.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["f:2: payload_filters[0][0]", "f:1: actions[0]"]);
}

#[test]
fn several_kinds_of_machines() {
    let probe =
        |inventory: &str, more: &str| format!(r#"{{"name": "p", "filters": {{"inventory": {inventory}}}{more}}}"#);
    let two = r#"[{"platforms": ["MACOS"], "tag_ids": [4]}, {"meta_business_unit_ids": [2]}]"#;
    let text = program(&probe(two, ""));
    assert!(
        text.ends_with(
            "(.machine.platform == \"macos\" and any(.machine.tags | each; IN(\"vip\"))) or .machine.unit == \"berlin\""
        ),
        "{text}"
    );
    let (drafts, refused) = of(&probe(two, r#", "osquery": {"schedule": [{"query": "q"}]}"#));
    assert_eq!((drafts.len(), refused[0].0.as_str()), (0, "f:1: filters.inventory"));
    for bad in [
        r#"[{"tag_ids": [9]}]"#,
        r#"[{"meta_business_unit_ids": [2, 3]}]"#,
        r#"[{"types": ["SERVER"]}]"#,
        r#"[{"platforms": ["ANDROID"]}]"#,
        r#"[{"tags": ["A b"]}]"#,
    ] {
        let (drafts, refused) = of(&probe(bad, ""));
        assert!(drafts.is_empty() && refused[0].0.starts_with("f:1: filters.inventory[0]."), "{bad}: {refused:?}");
    }
}

#[test]
fn what_cannot_be_said_has_its_place() {
    for (text, place) in [
        ("name: p\nactions: {}\nstatus: INACTIVE", "f:3: status"),
        ("name: p\nfilters: {metadata: [{event_routing_keys: [x]}]}", "f:2: filters.metadata[0].event_routing_keys"),
        ("name: p\nincident_severity: 400", "f:2: incident_severity"),
        (r#"{"name": "p", "body": "filters: {}"}"#, "f:1: body"),
        (r#"{"name": "p", "body": {"file_paths": [{"file_path": "/x"}]}}"#, "f:1: body.file_paths"),
        (r#"{"name": "p", "body": {"distributed_query": "select 1"}}"#, "f:1: body.distributed_query"),
        (r#"{"name": "p", "body": {"queries": [{"query": "q"}], "discovery": ["d"]}}"#, "f:1: body.discovery"),
        (
            r#"{"name": "p", "payload_filters": [[{"attribute": "a", "operator": "GT", "values": ["1"]}]]}"#,
            "f:1: payload_filters[0][0]",
        ),
        (r#"{"name": "p", "payload_filters": ["x"]}"#, "f:1: payload_filters[0]"),
        (
            r#"{"name": "p", "body": {"queries": [{"query": "q"}], "filters": {"payload": [{"name": ["q"]}]}}}"#,
            "f:1: body.filters.payload",
        ),
    ] {
        let (drafts, refused) = of(text);
        assert!(drafts.is_empty() && refused.iter().any(|(at, _)| at == place), "{text}: {refused:?}");
    }
    let (drafts, refused) =
        of("name: p\nodd: 1\nosquery: {schedule: [{query: q}], file_paths: {a: [b]}}\nsanta: [{sha256: a}]");
    assert_eq!(drafts.len(), 2);
    let places: Vec<&str> = refused.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["f:3: osquery.file_paths", "f:4: santa", "f:2: odd"]);
}
