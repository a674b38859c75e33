use super::*;

const TOLD: &str = r#"
process_start_time_seconds{stage="one"} 1000
process_start_time_seconds{stage="two"} 2800
zentral_lines_in_total{stage="one"} 150
zentral_lines_in_total{stage="two"} 7
zentral_lines_in_total{stage="two: filter"} 50
zentral_probe_runs_total{probe="usb",stage="one"} 60
zentral_probe_runs_total{probe="usb",stage="two"} 40
zentral_probe_runs_total{probe="loop",stage="one"} 10
zentral_probe_matches_total{probe="usb",stage="one"} 20
zentral_probe_matches_total{probe="plain",stage="one"} 7
zentral_probe_seconds_total{probe="usb",stage="one"} 0.25
zentral_probe_seconds_total{probe="loop",stage="one"} 0.5
zentral_probe_failures_total{probe="loop",reason="steps",stage="one"} 9
zentral_probe_failures_total{probe="loop",reason="error",stage="one"} 1
zentral_probe_failures_total{probe="usb",reason="error",stage="two"} 1
zentral_probe_since_seconds{probe="plain",stage="one"} 2800
"#;

#[test]
fn figures_of_all_stages_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    let text = r#"version = 1
[stage.receive]
listen = "127.0.0.1:0"
tls = { cert = "a", key = "b" }
to = "topic:raw"
[stage.one]
run = "filter"
from = "topic:raw"
to = "topic:ones"
[stage.two]
run = "normalize | filter"
from = "topic:raw"
to = "topic:twos"
[probe.usb]
filter = '.type == "a" and (.n | sqrt) > 2'
[probe.plain]
filter = '.type == "a"'
shadow = true
[probe.loop]
filter = 'def f: f; f'
[probe.idle]
filter = '.type == "b"'
"#;
    std::fs::write(&file, text).unwrap();
    let (config, _) = Config::load(&file, None).unwrap();
    let mut told = Families::default();
    told.add(TOLD);
    let health = Health::of(&config, None).unwrap();
    let all = Probes::told(&config, &health, &told, UNIX_EPOCH + Duration::from_secs(4600));
    assert_eq!((all.events, all.seconds, all.since), (200, 3600.0, Some(Time::from_ms(1_000_000))));
    let names: Vec<&str> = all.probes.iter().map(|p| p.probe.as_str()).collect();
    assert_eq!(names, ["loop", "usb", "plain", "idle"], "the dearest first");
    let [first, usb, plain, idle] = [0, 1, 2, 3].map(|i| &all.probes[i]);
    assert_eq!((first.failures, first.failures_per_run, first.decided), (10, 1.0, Some("jq")));
    assert_eq!(first.failed, [("error".to_owned(), 1), ("steps".to_owned(), 9)].into());
    assert_eq!((usb.runs, usb.matches, usb.matches_per_hour, usb.runs_per_event), (100, 20, 20.0, Some(0.5)));
    assert_eq!((usb.seconds, usb.load, usb.decided, usb.state), (0.25, 0.25 / 3600.0, Some("index_and_jq"), "on"));
    assert_eq!((plain.state, plain.decided, plain.matches, plain.runs), ("shadow", Some("index"), 7, 0));
    assert_eq!((plain.since, plain.matches_per_hour), (Some(Time::from_ms(2_800_000)), 14.0), "half an hour");
    assert_eq!((plain.runs_per_event, idle.since), (None, None));
    assert_eq!((idle.matches, idle.matches_per_hour, idle.failures_per_run), (0, 0.0, 0.0));

    let table = all.for_people();
    assert!(table.starts_with("200 events since 1970-01-01T00:16:40.000Z\nprobe  decided by "), "{table}");
    for words in [
        "loop   jq at every event        0           10   5.0 %    0.500  50000.0 µs  1 error, 9 steps (100.00 %)",
        "usb    index, jq               20     20.0  100  50.0 %    0.250   2500.0 µs  1 error (1.00 %)",
        "shadow",
    ] {
        let words: Vec<&str> = words.split_whitespace().collect();
        let row = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
        assert!(row.into_iter().any(|r| r.ends_with(&words) || r == words), "{words:?}\n{table}");
    }
    let records = all.records();
    assert_eq!((records[0].0, &records[0].1["events"], records.len()), ("probes", &json!(200), 5));
    assert_eq!(records[1].1["failed"], json!({"error": 1, "steps": 9}));
    assert_eq!(records[1].1.get("off"), None);
}

#[test]
fn without_a_filter_that_answers_what_is_known_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    std::fs::write(&file, "version = 1\n[probe.p]\nfilter = '.a == 1'\n").unwrap();
    let (config, _) = Config::load(&file, None).unwrap();
    let all = Probes::of(&config, &Health::of(&config, None).unwrap());
    assert_eq!((all.since, all.probes.len(), all.records().len()), (None, 1, 1));
    let table = all.for_people();
    assert!(table.starts_with("no filter answers\n") && !table.contains('0'), "{table}");
}

#[test]
fn a_query_that_nobody_runs_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    let text = "version = 1\ndata = \"data\"\n[probe.p]\nfilter = '.a == 1'\nquery = { sql = \"select 1\" }\n\
        [probe.q]\nfilter = '.a == 1'\nquery = { sql = \"select 2\" }\n";
    std::fs::write(&file, text).unwrap();
    let (config, _) = Config::load(&file, None).unwrap();
    let state = dir.path().join("data/state");
    std::fs::create_dir_all(&state).unwrap();
    let mut db = Db::open(&state.join("normalize.db"), &[results::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    for (probe, silent) in [("p", true), ("q", false)] {
        let last = Time::from_ms(1_767_686_400_000);
        let run = results::Run { last, heard: last, awake: 0, silent };
        results::put_run(&mut tx, &config.probes[probe].query_name().unwrap(), run).unwrap();
    }
    tx.commit().unwrap();
    let all = Probes::of(&config, &Health::of(&config, None).unwrap());
    let table = all.for_people();
    assert_eq!(table.matches("nobody runs its query since 2026-01-06T08:00:00").count(), 1, "{table}");
    let silent: Vec<_> = all.records().iter().map(|(_, probe)| probe.get("query_silent").is_some()).collect();
    assert_eq!(silent, [true, false]);
}
