//! jq 1.6 itself, for the filters that both speak: one process for a filter and many lines.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether jq 1.6 is here. By hand the comparison may be left out; in CI there must be a jq, and where that is a later
/// one there is nothing to compare with.
pub fn is_there() -> bool {
    let version = Command::new("jq").arg("--version").output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    assert!(version.is_ok() || std::env::var("CI").as_deref() != Ok("true"), "jq is not installed");
    let found = version.as_ref().is_ok_and(|v| v.trim() == "jq-1.6");
    if !found {
        let version = version.unwrap_or_else(|_| "none".into());
        eprintln!("SKIPPED: nothing is compared with jq 1.6; installed: {}", version.trim());
    }
    found
}

/// What jq says of some lines.
pub struct Said {
    /// Of each: an output comes that is neither false nor null, before any error.
    pub matches: Vec<bool>,
    /// One of them failed.
    pub failed: bool,
}

/// What jq says of each line of a file. `None` if it cannot compile the program; fewer answers than lines if it died on
/// the way (1.6 does, of `x % 0`).
pub fn decide(program: &str, lines: &Path) -> Option<Said> {
    // A mark for each line, then one for each output that matches; an error goes to stderr and ends the line.
    let whole = format!("0, (({program}\n) | select(.) | 1)");
    let lines = Stdio::from(std::fs::File::open(lines).unwrap());
    let out =
        Command::new("jq").args(["-c", &whole]).env("TZ", "UTC").stdin(lines).stderr(Stdio::null()).output().unwrap();
    if out.status.code() == Some(3) {
        return None;
    }
    let mut said = Vec::new();
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        match (line, said.last_mut()) {
            ("1", Some(last)) => *last = true,
            _ => said.push(false),
        }
    }
    if out.status.code() != Some(0) && out.status.code() != Some(5) {
        // It died at the last of them.
        said.pop();
    }
    Some(Said { matches: said, failed: out.status.code() == Some(5) })
}

/// The value of each of these texts as jq reads and writes it; nothing where it stops.
pub fn read(lines: &[Vec<u8>]) -> Vec<String> {
    let mut child = Command::new("jq")
        .args(["-c", "."])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = lines.join(&b'\n');
    let feed = std::thread::spawn(move || stdin.write_all(&text));
    let out = child.wait_with_output().unwrap();
    let _ = feed.join();
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Names of functions about which jq 1.6 says something else, on purpose or by its faults (`language.rs` lists them
/// too), or which it does not have.
const OTHERWISE: &[&str] = &[
    // Literals of numbers keep their text; jq 1.6 writes 17 digits. The event's clock; numbers that no event holds.
    "tojson",
    "tostring",
    "tonumber",
    "now",
    "todate",
    "fromdate",
    "infinite",
    "nan",
    // Bytes for characters, an index cut to an integer, and what comes of a limit of nothing.
    "index",
    "rindex",
    "indices",
    "limit",
    "nth",
    "implode",
    "split",
    "splits",
    "sub",
    "gsub",
    "match",
    "capture",
    "scan",
    // Its own definitions: `last` of nothing, `with_entries` of keys that are false.
    "with_entries",
    "from_entries",
    "getpath",
    "paths",
    "leaf_paths",
    "error",
    "include",
    "import",
    "machine_key",
    // From 1.8 on an error of anything but strings.
    "ltrimstr",
    "rtrimstr",
];
/// Texts made from numbers, too, what changes values in place, and a class that only one of them knows as one.
const SIGNS: &[&str] = &["\\(", "@", "|=", " = ", " % ", "join(", "[[:D"];

/// What jq 1.6 makes of a label that it leaves from within a `try`: the `try` catches that, too.
const LEAVES: &[&str] = &["first", "any", "all", "isempty", "label", "IN", "last", "until", "limit"];

fn has_word(program: &str, words: &[&str]) -> bool {
    program.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| words.contains(&word))
}

/// Whether it is jq 1.6 that matches by a fault where the filter fails: a `try` also catches an error that is raised
/// after it.
pub fn may_catch_too_much(program: &str) -> bool {
    program.contains('?') || has_word(program, &["try"])
}

/// Whether it is jq 1.6 that fails by a fault: functions that ask for a first output look at the next one too, and an
/// error before `//` is one.
pub fn may_fail_too_soon(program: &str) -> bool {
    program.contains("//") || has_word(program, &["any", "all", "isempty", "IN"])
}

/// Whether it speaks of nothing about which the two differ.
pub fn speaks(program: &str) -> bool {
    // An index is cut to an integer since 1.7.
    let mut indices =
        program.split('[').skip(1).map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-'));
    let cut = indices.any(|rest| rest.starts_with('.') && rest[1..].starts_with(|c: char| c.is_ascii_digit()));
    // A `try` catches what is raised after it, so with another one around it anything may come.
    let tries = program.matches('?').count() + program.matches("try ").count();
    let caught = tries > 1 && has_word(program, &["catch"])
        || tries > 0 && (has_word(program, LEAVES) || program.contains("//"));
    // The words of an error are nobody's business.
    let told = program.contains("catch .");
    !cut && !caught && !told && !has_word(program, OTHERWISE) && !SIGNS.iter().any(|sign| program.contains(sign))
}
