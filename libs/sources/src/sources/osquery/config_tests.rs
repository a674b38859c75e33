#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::sources::osquery::FileCategory;

fn spec(probe: &str) -> QuerySpec {
    let query = Query { sql: "select vendor from usb_devices".into(), interval_s: 30, ..Query::default() };
    QuerySpec { probe: probe.into(), rev: "1f6c09aa".into(), query }
}

fn settings(options: &str) -> Settings {
    Settings { options: serde_json::from_str(options).unwrap(), ..Settings::default() }
}

fn with(change: impl FnOnce(&mut Query)) -> QuerySpec {
    let mut spec = spec("a");
    change(&mut spec.query);
    spec
}

fn told<'a>(queries: &[&'a QuerySpec]) -> Told<'a> {
    Told { queries: queries.to_vec(), ..Told::default() }
}

#[test]
fn same_bytes_in_any_order() {
    let a = with(|query| {
        query.snapshot = true;
        query.version = Some("5.12.1".into());
    });
    let mut b = spec("b");
    b.query.removed = false;
    let mut one = settings(r#"{"x":1,"a":"b"}"#);
    one.decorators.load.push("select 1".into());
    let mut two = settings(r#"{"a":"b","x":1}"#);
    two.decorators.load.push("select 1".into());
    let one = build_config(&told(&[&a, &b]), &one);
    assert_eq!(one, build_config(&told(&[&b, &a]), &two));
    let want = r#"{"options":{"a":"b","distributed_interval":60,"logger_tls_period":10,"pack_delimiter":"/","x":1},"schedule":{"zentral/a/1f6c09aa":{"query":"select vendor from usb_devices","interval":30,"snapshot":true,"version":"5.12.1"},"zentral/b/1f6c09aa":{"query":"select vendor from usb_devices","interval":30,"removed":false}},"packs":{},"decorators":{"load":["select 1"]}}"#;
    assert_eq!(String::from_utf8(one.unwrap()).unwrap(), want);
    let own = build_config(&Told::default(), &settings(r#"{"pack_delimiter":"_","logger_tls_period":4}"#)).unwrap();
    let own: Value = serde_json::from_slice(&own).unwrap();
    assert_eq!(own["options"], json!({"distributed_interval": 60, "logger_tls_period": 4, "pack_delimiter": "_"}));
}

#[test]
fn every_section_is_in_its_place() {
    let mut settings = settings("{}");
    settings.decorators.always.push("select 2".into());
    settings.decorators.interval.insert(3600, vec!["select 3".into()]);
    let category = FileCategory { paths: vec!["/etc/%%".into()], exclude: vec!["/etc/a".into()], ..Default::default() };
    let read = FileCategory { queries: vec!["select path from x".into()], accesses: true, ..Default::default() };
    settings.file_paths.0.extend([("etc".to_owned(), category), ("read".to_owned(), read)]);
    settings.tables.insert("t".into(), json!({"query": "select a from b", "path": "/x", "columns": ["a"]}));
    let pack = Pack::read(r#"{"queries": {"q": {"query": "select 1", "interval": 60}}}"#).unwrap();
    let inventory = Inventory::default();
    let told = Told { packs: vec![("it", &pack)], inventory: Some((&inventory, Some("macos"))), ..Told::default() };
    let config: Value = serde_json::from_slice(&build_config(&told, &settings).unwrap()).unwrap();
    assert_eq!(config["packs"], json!({"it": {"queries": {"q": {"query": "select 1", "interval": 60}}}}));
    assert_eq!(config["decorators"], json!({"always": ["select 2"], "interval": {"3600": ["select 3"]}}));
    assert_eq!(config["file_paths"], json!({"etc": ["/etc/%%"]}));
    assert_eq!(config["exclude_paths"], json!({"etc": ["/etc/a"]}));
    assert_eq!(config["file_paths_query"], json!({"read": ["select path from x"]}));
    assert_eq!(config["file_accesses"], json!(["read"]));
    assert_eq!(config["auto_table_construction"]["t"]["path"], "/x");
    let sql = config["schedule"]["ztl-inv"]["query"].as_str().unwrap();
    assert_eq!((&config["schedule"]["ztl-inv"]["snapshot"], sql.contains("from apps")), (&json!(true), true));
    let before = inventory.query(None).sql;
    assert!(before.contains("from system_info") && !before.contains("from apps") && !before.contains("from users"));
    assert!(!inventory.query(Some("linux")).sql.contains("ec2"));
    assert!(Inventory { ec2: true, ..inventory }.query(Some("linux")).sql.contains("from ec2_instance_metadata"));
}

#[test]
fn refuses_what_an_agent_would_not_take() {
    let check = |probes: &[&QuerySpec], settings: &Settings, word: &str| {
        let error = build_config(&told(probes), settings).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    let none = settings("{}");
    check(&[&with(|query| query.interval_s = 0)], &none, "probe a: interval 0");
    check(&[&with(|query| query.interval_s = 604_801)], &none, "interval");
    check(&[&with(|query| query.sql = " ".into())], &none, "empty");
    check(&[&with(|query| query.version = Some("1.x-y".into()))], &none, "1.x-y");
    check(&[&spec("a"), &spec("a")], &none, "twice");
    check(&[], &settings(r#"{"x":{"a":1}}"#), "option x");
    check(&[], &settings(r#"{"x":1.5}"#), "option x");
    let mut decorated = settings("{}");
    decorated.decorators.load.push(String::new());
    check(&[], &decorated, "decorator");
    let mut often = settings("{}");
    often.decorators.interval.insert(61, vec!["select 1".into()]);
    check(&[], &often, "61");
    check(&[&with(|query| query.sql = "x".repeat(CONFIG_MAX))], &none, "bytes");
}
