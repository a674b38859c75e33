//! `zentral import`: real files become probes that `check` and `test` find nothing wrong with, and what cannot be said
//! is refused with its place. Origin and licences of the files: `tests/data/import/README.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn zentral(dir: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.current_dir(dir).args(args).env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
    let out = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: out.status.code(), out: text(out.stdout), err: text(out.stderr) }
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(file)
}

/// All files that are there, as an admin's shell would name them.
fn all() -> Vec<String> {
    let manifest = std::fs::read_to_string(data("MANIFEST.tsv")).unwrap();
    let files = manifest.lines().skip(1).filter_map(|line| line.split('\t').next());
    files.map(|file| data(file).display().to_string()).collect()
}

fn hub(actions: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("version = 1\ninclude = [\"probes/*.toml\"]\n{actions}");
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    dir
}

const DEBUG: &str = "[action.debug]\nkind = \"file\"\npath = \"debug.ndjson\"\n[stage.act]\nfrom = \"topic:m\"\nto = \"topic:o\"\n[stage.filter]\nfrom = \"topic:o\"\nto = \"topic:e\"\nmatches = \"topic:m\"\n";

#[test]
fn every_probe_passes_check_and_its_examples_hold() {
    let dir = hub("");
    let files = all();
    let mut args = vec!["import", "-o", "."];
    args.extend(files.iter().map(String::as_str));
    let ran = zentral(dir.path(), &args);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    let written: Vec<serde_json::Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let probes: Vec<&str> = written.iter().map(|w| w["probe"].as_str().unwrap()).collect();
    // it-compliance 31 (the 32nd is for a platform that osquery does not know), osquery-monitoring 3, an inline pack 1,
    // a schedule 1, ATT&CK 3, Fleet 4 of Palantir's, Zentral 2.
    assert_eq!(probes.len(), 3 * 45, "{}", ran.err);
    assert!(ran.err.contains("zentral import: 45 probes, "), "{}", ran.err);
    for (name, file) in [
        ("it-compliance-kernel-modules", "it-compliance.conf:189: queries.kernel_modules"),
        ("munki-install", "munki_install.yml:1"),
        ("dropbox-alert", "dropbox_notify.yml:4: osquery.schedule[0]"),
    ] {
        let found = written.iter().find(|w| w["probe"] == name).unwrap_or_else(|| panic!("{name}: {probes:?}"));
        assert!(found["from"].as_str().unwrap().ends_with(file), "{found}");
    }

    let check = zentral(dir.path(), &["check"]);
    assert_eq!((check.code, check.out.as_str()), (Some(0), ""), "{}", check.err);
    let test = zentral(dir.path(), &["test"]);
    assert_eq!(test.code, Some(0), "{}", test.out);
    // Each filter has an example that matches and one that does not.
    assert!(test.out.matches("\nok ").count() + 1 >= 2 * 45, "{}", test.out);

    // Once more: everything is there already, and nothing is written.
    let again = zentral(dir.path(), &args);
    assert_eq!((again.code, again.out.as_str()), (Some(3), ""), "{}", again.err);
    assert!(
        again.err.contains("zentral import: 45 probes, 0 files written (all are there already), "),
        "{}",
        again.err
    );
    assert!(!again.err.contains("`include`"), "the configuration has it: {}", again.err);

    // Where `include` does not name them, what is missing is said as it has to stand there.
    let other = zentral(
        dir.path(),
        &["import", "-o", "more", files.iter().find(|f| f.ends_with("munki_install.yml")).unwrap()],
    );
    assert!(other.err.contains("zentral import: 1 probe, 3 files written, "), "{}", other.err);
    assert!(other.err.contains("add to `include` in pipeline.toml: \"more/probes/*.toml\""), "{}", other.err);
}

#[test]
fn what_cannot_be_said_is_named_with_its_place() {
    let dir = hub("");
    let refused = |file: &str| {
        let ran = zentral(dir.path(), &["import", data(file).to_str().unwrap()]);
        assert_eq!(ran.code, Some(3), "{}", ran.err);
        let lines = ran.err.lines().filter_map(|line| line.split_once(&format!("{file}:")));
        lines.map(|(_, rest)| rest.to_owned()).collect::<Vec<_>>()
    };
    for (file, places) in [
        ("osquery-packs/it-compliance.conf", &["184: queries.portage_packages.platform: `gentoo`"][..]),
        (
            "osquery-configs/test_inline_pack.conf",
            &[
                "9: packs.unrestricted_pack.queries.process_events.version: ",
                "15: packs.unrestricted_pack.queries.process_heartbeat.denylist: ",
                "18: packs.unrestricted_pack.file_paths: ",
                "28: packs.discovery_pack.discovery: ",
                "51: packs.valid_discovery_pack.discovery: ",
                "64: packs.restricted_pack.shard: ",
            ],
        ),
        ("zentral-probes/munki_install.yml", &["8: actions.debug: the configuration has no action `debug`"]),
        ("osquery-defense-kit/osquery.conf", &["14: packs.detection: ", "15: packs.", "16: packs.", "17: packs."]),
        ("kolide-fleet/osquery-monitoring.yml", &["7: spec.queries[0]: ", "11: ", "14: ", "17: ", "20: "]),
    ] {
        let found = refused(file);
        assert_eq!(found.len(), places.len(), "{file}: {found:#?}");
        for (found, place) in found.iter().zip(places) {
            assert!(found.starts_with(place), "{file}: {found} is not {place}");
        }
    }
}

#[test]
fn toml_on_stdout_is_a_configuration() {
    let dir = hub(DEBUG);
    let file = data("zentral-probes/munki_install.yml");
    let ran = zentral(dir.path(), &["import", file.to_str().unwrap()]);
    // Options of an action stand in its own table.
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(ran.err.contains("8: actions.debug: options of an action"), "{}", ran.err);
    let table: toml::Table = ran.out.parse().unwrap();
    let probe = &table["probe"]["munki-install"];
    assert_eq!(probe["act"].as_array().unwrap()[0].as_str(), Some("debug"));
    assert!(
        probe["filter"].as_str().unwrap().ends_with("\n.type == \"munki_event\"\nand .payload.type == \"install\"\n")
    );

    std::fs::create_dir(dir.path().join("probes")).unwrap();
    std::fs::write(dir.path().join("probes/own.toml"), &ran.out).unwrap();
    let check = zentral(dir.path(), &["check"]);
    assert_eq!((check.code, check.out.as_str()), (Some(0), ""), "{}", check.err);

    let event = r#"{"type":"munki_event","payload":{"type":"install"}}"#;
    std::fs::write(dir.path().join("events"), format!("{event}\n{}\n", event.replace("install", "removal"))).unwrap();
    let mut filter = Command::new(env!("CARGO_BIN_EXE_zentral"));
    filter.current_dir(dir.path()).args(["filter", "--count"]).env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
    let out = filter.stdin(std::fs::File::open(dir.path().join("events")).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), "1");
}

#[test]
fn files_of_others_are_left_alone() {
    let dir = hub("");
    let file = data("osquery-packs/osquery-monitoring.conf");
    let import =
        |force: &[&str]| zentral(dir.path(), &[&["import", "-o", ".", file.to_str().unwrap()][..], force].concat());
    assert_eq!(import(&[]).out.lines().count(), 9);
    let own = dir.path().join("filters/osquery-monitoring-events.jq");
    std::fs::write(&own, "# mine\ntrue\n").unwrap();
    let ran = import(&[]);
    assert!(ran.code == Some(3) && ran.out.is_empty(), "{}", ran.out);
    assert!(ran.err.contains("osquery-monitoring-events.jq is there and says something else"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "# mine\ntrue\n");
    assert_eq!(import(&["--force"]).out.lines().count(), 1);
    assert!(std::fs::read_to_string(&own).unwrap().starts_with("# osquery-monitoring: events\n"));
}

#[test]
fn hostile_files_are_refused() {
    let dir = hub("");
    let whole = std::fs::read(data("osquery-packs/it-compliance.conf")).unwrap();
    let files: [(&str, Vec<u8>, &str); 9] = [
        ("long.conf", vec![b' '; 10 << 20], "is longer than 4194304 bytes"),
        ("latin.conf", b"{\"queries\":\n{\"\xe9\": {}}}".to_vec(), "line 2 is not UTF-8"),
        ("deep.json", b"[".repeat(1 << 20), "nested deeper than 64 levels"),
        ("deep.yml", b"- ".repeat(1 << 20), "nested deeper than 64 levels"),
        ("bomb.yml", b"a: &a [x]\nb: [*a, *a]\n".to_vec(), "anchors and aliases are not read"),
        ("cut.conf", whole[..whole.len() / 2].to_vec(), "line "),
        ("empty.yml", Vec::new(), "is empty"),
        ("nul.json", br#"{"queries": {"a": {"query": "\u0000"}}}"#.to_vec(), "without NUL"),
        ("other.json", b"{\"a\": 1}".to_vec(), "is neither a probe"),
    ];
    for (name, bytes, why) in &files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let ran = zentral(dir.path(), &["import", name]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{name}: {}", ran.err);
        assert!(
            ran.err.starts_with(&format!("zentral import: {name}:")) && ran.err.contains(why),
            "{name}: {}",
            ran.err
        );
    }
    // One that is broken does not keep the others out.
    let good = data("zentral-probes/dropbox_notify.yml");
    let ran = zentral(dir.path(), &["import", "nosuch.conf", "deep.json", good.to_str().unwrap()]);
    assert!(ran.code == Some(3) && ran.out.contains("[probe.dropbox-alert]"), "{}", ran.err);
}

#[test]
fn a_file_cut_anywhere_is_no_panic() {
    let dir = hub("");
    let text = std::fs::read(data("osquery-configs/test_inline_pack.conf")).unwrap();
    for cut in (0..text.len()).step_by(97) {
        std::fs::write(dir.path().join("cut.conf"), &text[..cut]).unwrap();
        let ran = zentral(dir.path(), &["import", "cut.conf"]);
        assert_eq!(ran.code, Some(3), "{cut}: {}", ran.err);
    }
}
