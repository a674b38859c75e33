//! An event for a probe that has no log yet: rows of `osqueryi --json` are to its filter what osqueryd would send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const PIPELINE: &str = r#"
version = 1
[unit.berlin]
tags = ["office"]
[probe.usb]
scope = { platforms = ["macos"], units = ["berlin"], tags = ["vip"], not_tags = ["lab"] }
query = { sql = "select vendor from usb_devices" }
filter = 'is_new and column("vendor") == "C-Media"'
[probe.disks]
query = { sql = "select name, encrypted from disk_encryption", snapshot = true }
filter = 'any(rows; .encrypted == "0")'
[probe.all]
filter = 'true'
"#;

const ROWS: &str = "[\n  {\"vendor\":\"Apple\"},\n  {\"vendor\":\"C-Media\"}\n]\n";

struct Shell(tempfile::TempDir);

impl Shell {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pipeline.toml"), PIPELINE).unwrap();
        Self(dir)
    }

    /// Exit code, stdout and stderr of `zentral` with these words.
    fn zentral(&self, words: &str, input: &[u8]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.args(words.split(' ')).current_dir(self.0.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        // It may end without having read all of it.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let out = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }
}

fn events(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_filter_of_the_probe_takes_its_rows_for_results() {
    let shell = Shell::new();
    let words = "normalize osquery --probe usb --platform macos --unit berlin --tags vip --hostname ada-mbp";
    let (code, lines, said) = shell.zentral(words, ROWS.as_bytes());
    assert_eq!((code, said.as_str()), (0, ""));
    let machine = json!({"hostname": "ada-mbp", "platform": "macos", "unit": "berlin", "tags": ["vip", "office"]});
    assert!(events(&lines).iter().all(|event| event["machine"] == machine), "{lines}");
    let (code, chosen, _) = shell.zentral("filter usb", lines.as_bytes());
    let chosen = events(&chosen);
    assert_eq!((code, chosen.len(), &chosen[0]["payload"]["columns"]), (0, 1, &json!({"vendor": "C-Media"})));

    let disks = br#"[{"name": "sda", "encrypted": "1"}, {"name": "sdb", "encrypted": "0"}]"#;
    let (code, snapshot, said) = shell.zentral("normalize osquery --probe disks", disks);
    assert_eq!((code, said.as_str(), events(&snapshot).len()), (0, "", 1), "no scope, no warning");
    assert_eq!(shell.zentral("filter disks", snapshot.as_bytes()).0, 0);
    assert_eq!(shell.zentral("filter usb", snapshot.as_bytes()).0, 1, "another probe's");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let shell = Shell::new();
    let rows = format!("[{}{{}}]", "{\"vendor\":\"x\"},".repeat(20_000));
    std::fs::write(shell.0.path().join("rows.json"), rows).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.args(["normalize", "osquery", "--probe", "disks"]).current_dir(shell.0.path());
    let rows = std::fs::File::open(shell.0.path().join("rows.json")).unwrap();
    let mut child = command.stdin(rows).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8(out.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn who_will_not_see_it_is_said() {
    let shell = Shell::new();
    for (flags, seen) in [
        ("--platform macos --unit berlin --tags vip", true),
        ("--platform linux --unit berlin --tags vip", false),
        ("--platform macos --tags vip", false),
        ("--platform macos --unit berlin", false),
        ("--platform macos --unit berlin --tags vip,lab", false),
    ] {
        let (code, lines, said) = shell.zentral(&format!("normalize osquery --probe usb {flags}"), ROWS.as_bytes());
        assert_eq!((code, events(&lines).len()), (0, 2), "{flags}");
        assert_eq!(said.contains("probe `usb` sees no event of such a machine"), !seen, "{flags}: {said}");
        assert_eq!(shell.zentral("filter usb", lines.as_bytes()).0 == 0, seen, "{flags}");
    }
    let (code, lines, said) = shell.zentral("normalize osquery --probe usb", b"[]");
    assert!(code == 0 && lines.is_empty() && said.contains("there are no rows"), "{said}");
}

#[test]
fn what_is_wrong_ends_with_2_and_prints_nothing() {
    let shell = Shell::new();
    let long = format!("[{}]", " ".repeat(16 << 20));
    for (words, input, want) in [
        ("normalize osquery --probe usb", &b""[..], "stdin is empty"),
        ("normalize osquery --probe usb", b"Error: no such table\n", "stdin:1:1: no list of rows"),
        ("normalize osquery --probe usb", b"[{},\n  7]", "stdin:2:3: a row that is no object"),
        ("normalize osquery --probe usb", b"[{\"a\":\"\xff\"}]", "stdin is not UTF-8"),
        ("normalize osquery --probe usb", long.as_bytes(), "stdin is longer than 16777216 bytes"),
        ("normalize osquery --probe nosuch", b"[]", "the configuration has no probe `nosuch`"),
        ("normalize osquery --probe ubs", b"[]", "no probe `ubs`; did you mean `usb`?"),
        ("normalize osquery --probe all", b"[]", "probe `all` has no query"),
        ("normalize osquery --probe usb --unit paris", b"[]", "the configuration has no unit `paris`"),
        ("normalize osquery --probe usb --tags A", b"[]", "`A` is no name"),
        ("normalize osquery --probe usb --platform darwin", b"[]", "possible values: macos"),
        ("normalize osquery --probe usb --to topic:raw", b"[]", "cannot be used with"),
        ("normalize --probe usb", b"[]", "<SOURCE>"),
        ("normalize --platform macos", b"", "<SOURCE>"),
    ] {
        let (code, lines, said) = shell.zentral(words, input);
        assert!(code == 2 && lines.is_empty() && said.contains(want), "{words}: {code} {said}");
    }
}

#[test]
fn the_flags_complete_what_a_log_does_not_say() {
    let shell = Shell::new();
    let log = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guide/osqueryd.results.log");
    let log = std::fs::read(log).unwrap();
    let (_, plain, _) = shell.zentral("normalize osquery", &log);
    let words = "normalize osquery --hostname other --platform linux --unit berlin --tags vip";
    let (code, given, said) = shell.zentral(words, &log);
    assert_eq!((code, said.as_str()), (0, ""));
    let (plain, given) = (events(&plain), events(&given));
    assert_eq!((plain.len(), given.len()), (8, 8));
    for (mut event, given) in plain.into_iter().zip(given) {
        let machine = event["machine"].as_object_mut().unwrap();
        assert!(machine["hostname"] != "other", "the line says it");
        machine.extend(
            json!({"platform": "linux", "unit": "berlin", "tags": ["vip", "office"]}).as_object().unwrap().clone(),
        );
        assert_eq!(event, given);
    }
}
