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

/// What jq says of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Yes,
    No,
    /// A runtime error before any output that matches.
    Failed,
}

/// What jq says of each line of a file: the first output that is neither false nor null decides. `None` if it cannot
/// compile the program; fewer answers than lines if it died on the way (1.6 does, of `x % 0`).
pub fn decide(program: &str, lines: &Path) -> Option<Vec<Said>> {
    let whole = format!("try (([label $zentral | ({program}\n) | select(.) | (1, break $zentral)] | length)) catch \"!\"");
    let out = run(&["-c", &whole], Stdio::from(std::fs::File::open(lines).unwrap()))?;
    let said = out.lines().map(|line| match line {
        "1" => Said::Yes,
        "0" => Said::No,
        _ => Said::Failed,
    });
    Some(said.collect())
}

/// The value of each of these texts as jq reads and writes it; nothing where it stops.
pub fn read(lines: &[Vec<u8>]) -> Vec<String> {
    let mut child = Command::new("jq").args(["-c", "."]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = lines.join(&b'\n');
    let feed = std::thread::spawn(move || stdin.write_all(&text));
    let out = child.wait_with_output().unwrap();
    let _ = feed.join();
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn run(args: &[&str], stdin: Stdio) -> Option<String> {
    let out = Command::new("jq").args(args).env("TZ", "UTC").stdin(stdin).stderr(Stdio::null()).output().unwrap();
    (out.status.code() != Some(3)).then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Words of filters about which jq 1.6 says something else on purpose or by its faults (`language.rs` lists them too).
const OTHERWISE: &[&str] = &[
    // An error before `//` is no output since 1.7; `?` after `//` is about the same.
    "//",
    // Texts of numbers: literals keep theirs, jq 1.6 writes 17 digits.
    "tojson", "tostring", "tonumber", "\\(", "@", "join(", "explode",
    // The event's clock.
    "now", "date",
    // Bytes for characters; an index before the start; numbers that no event holds.
    "index(", "indices(", "infinite", "nan", "limit(", "nth(", "getpath(", "paths", "del(", "with_entries", "to_entries", "input_", "fold",
    // Outputs of `sub`, `gsub`, `splits`; captures that took no part.
    "sub(", "splits(", "capture(", "scan(", "match(", "split(",
    // Not in 1.6, or another definition there.
    "include ", "import ", "machine_key", "isstring", "isarray", "isobject", "isnumber", "isboolean", "error(", "ltrimstr", "rtrimstr", "implode", "|=", " = ", "% ", "reverse", "utf8bytelength", "min", "max", "group_by", "sort", "unique", "flatten", "@text", "add",
];

pub fn speaks(program: &str) -> bool {
    !OTHERWISE.iter().any(|word| program.contains(word))
}
