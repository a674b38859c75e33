//! Who looks into topics without being a stage, and a pipeline that is only tried: on disk and in Kafka the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use support::lines::{LINES, STAGES, by_id, command, raw, settings, zentral, zentral_any};
use support::services::address;

/// A pipeline whose topics are such places, after these stages.
fn ran(place: &str, kafka: &str, stages: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("version = 1\n{kafka}{}", STAGES.replace("PLACE", place));
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    zentral(dir.path(), &["filter", "-e", "true", "--to", &format!("{place}:raw")], &raw(0..LINES));
    for stage in stages {
        zentral(dir.path(), &["run", stage, "--once"], b"");
    }
    dir
}

#[test]
fn a_pipeline_is_tried_without_its_brokers() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there, and nobody is asked.
    let kafka = "[kafka]\nbrokers = [\"127.0.0.1:9\"]\n";
    let text = format!("version = 1\n{kafka}{}", STAGES.replace("PLACE", "kafka"));
    std::fs::write(dir.path().join("pipeline.toml"), &text).unwrap();
    std::fs::write(dir.path().join("raw.ndjson"), raw(0..LINES)).unwrap();
    let said = zentral(dir.path(), &["up", "--test", "raw.ndjson", "--data", "tried"], b"");
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("\"probe\":\"usb\",\"matches\":667"), "{said}");
    // Two topics would be one.
    std::fs::write(dir.path().join("pipeline.toml"), text.replace("kafka:matches", "topic:annotated")).unwrap();
    let words = ["up", "--test", "raw.ndjson", "--data", "again"];
    let out = command(dir.path(), &words).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("`kafka:annotated` would lie on disk here"), "{said}");
}

/// What is said of a hub whose topics are such places, by all who only look; places and folders have the same names.
fn looks(place: &str, kafka: &str) -> Vec<(String, String)> {
    let dir = ran(place, kafka, &["normalize", "filter"]);
    let old = dir.path().join("old.toml");
    let before =
        "version = 1\n[probe.usb]\nfilter = '.payload.name == \"usb_devices\" and .payload.columns.n > \"5\"'\n";
    std::fs::write(old, before).unwrap();
    let [raw_topic, events, annotated] = ["raw", "events", "annotated"].map(|name| format!("{place}:{name}"));
    let id = by_id(&zentral(dir.path(), &["cat", &annotated], b"")).into_keys().nth(700).unwrap();
    let window = ["--since", "2026-11-23T01:10:00Z", "--until", "2026-11-23T01:19:59Z"];
    let all: [&[&str]; 13] = [
        &["cat", &raw_topic],
        &["cat", &events, "--count"],
        &["cat", "annotated", "--count"],
        &[&["cat", raw_topic.as_str(), "--count"], &window[..]].concat(),
        &["cat", &annotated, "--where", ".probes and .payload.columns.n == \"33\""],
        &["replay"],
        &[&["replay", "--raw"], &window[..]].concat(),
        &["replay", "--events"],
        &[&["replay", "--events"], &window[..]].concat(),
        &["plan", "old.toml", "--since", "2026-11-23", "--json", "--samples", "0"],
        &[&["plan", "old.toml", "--json", "--samples", "0"], &window[..]].concat(),
        &["explain", &id, "usb", "--json"],
        &["explain", &id],
    ];
    let said = |words: &[&str]| {
        let text = zentral_any(dir.path(), words);
        assert!(!text.is_empty(), "{words:?}");
        // Across partitions there is no order.
        let mut lines: Vec<&str> = text.lines().collect();
        if words[0] == "cat" || words[0] == "replay" {
            lines.sort_unstable();
        }
        let text = lines.join("\n").replace(&format!("{place}:"), "PLACE:");
        // Where a raw line lies is said of each in its own way.
        let text = [("\"offset\":", ","), ("\"partition\":", ","), ("PLACE:raw ", "{")].iter().fold(
            text,
            |text, (from, to)| {
                let Some(at) = text.find(from) else { return text };
                let end = at + text[at..].find(to).unwrap();
                format!("{}{}", &text[..at], text[end..].trim_start_matches(','))
            },
        );
        (words.join(" ").replace(place, "PLACE"), text)
    };
    let mut all: Vec<_> = all.into_iter().map(said).collect();
    // Lines of one machine come in their order.
    let machine = zentral(dir.path(), &["cat", &raw_topic, "--where", ".machine.serial_number == \"C3\""], b"");
    all.push(("one machine".into(), String::from_utf8(machine).unwrap()));
    let last = zentral(dir.path(), &["cat", &raw_topic, "-n", "5"], b"");
    all.push(("last".into(), last.iter().filter(|b| **b == b'\n').count().to_string()));
    all
}

#[test]
fn who_looks_sees_the_same_on_disk_and_in_kafka() {
    let Some(broker) = address("ZENTRAL_TEST_KAFKA") else { return };
    let kafka = settings(&broker, "looks", "");
    let (disk, kafka) = (looks("topic", ""), looks("kafka", &kafka));
    let of = |words: &str| disk.iter().find(|(said, _)| said == words).map(|(_, text)| text.as_str()).unwrap();
    assert_eq!(of("cat PLACE:raw").lines().count(), 2000);
    assert_eq!(of("cat PLACE:raw --count --since 2026-11-23T01:10:00Z --until 2026-11-23T01:19:59Z"), "600");
    assert_eq!(of("one machine").lines().count(), 118);
    assert_eq!(of("last"), "5");
    for (disk, kafka) in disk.iter().zip(&kafka) {
        assert!(disk == kafka, "{}: {:.3000}\nis in Kafka\n{:.3000}", disk.0, disk.1, kafka.1);
    }
}

#[test]
fn a_topic_is_followed_and_one_that_is_not_there_is_said() {
    let Some(broker) = address("ZENTRAL_TEST_KAFKA") else { return };
    let kafka = settings(&broker, "follow", "");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), format!("version = 1\n{kafka}")).unwrap();
    let run = |words: &[&str]| command(dir.path(), words).output();
    let none = run(&["cat", "kafka:lines"]).unwrap();
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(none.status.code() == Some(2) && said.contains("there is no topic `kafka:lines` yet"), "{said}");
    let put = |n: usize| {
        let line = format!("{{\"source\":\"s\",\"n\":{n}}}\n");
        zentral(dir.path(), &["filter", "-e", "true", "--to", "kafka:lines"], line.as_bytes());
    };
    put(1);
    let mut follower = Command::new(env!("CARGO_BIN_EXE_zentral"))
        .args(["cat", "kafka:lines", "-f", "-n", "1"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "{\"source\":\"s\",\"n\":1}");
    for n in 2..5 {
        put(n);
        assert_eq!(lines.next().unwrap().unwrap(), format!("{{\"source\":\"s\",\"n\":{n}}}"));
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    // Where nobody answers that is said, in time.
    std::fs::write(dir.path().join("pipeline.toml"), "version = 1\n[kafka]\nbrokers = [\"127.0.0.1:9\"]\n").unwrap();
    let begun = std::time::Instant::now();
    let nobody = run(&["cat", "kafka:lines"]).unwrap();
    assert!(nobody.status.code() == Some(4) && begun.elapsed().as_secs() < 10, "{nobody:?}");
}
