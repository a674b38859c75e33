//! The promised command line: every command and flag is in `--help`, except those that name the issue bringing them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::process::Command;

const PROMISED: &str = include_str!("data/commands.tsv");

fn help(words: &[&str]) -> Option<String> {
    let out = Command::new(env!("CARGO_BIN_EXE_zentral")).args(words).arg("--help").output().unwrap();
    (out.status.code() == Some(0)).then(|| String::from_utf8(out.stdout).unwrap())
}

/// Whether a flag or a subcommand stands in the help as a word of its own.
fn has(help: &str, word: &str) -> bool {
    help.split(|c: char| c.is_whitespace() || ",[]=<>|.".contains(c)).any(|w| w == word)
}

#[test]
fn every_promised_command_and_flag_is_there() {
    let mut missing = Vec::new();
    for line in PROMISED.lines().filter(|l| !l.starts_with('#')) {
        let [command, words, issue] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let path: Vec<&str> = command.split(' ').filter(|w| *w != "(global)").collect();
        let text = help(&path);
        let lacking: Vec<&str> = match &text {
            None => vec!["(the command)"],
            Some(help) => words.split(' ').filter(|w| !w.is_empty() && !has(help, w)).collect(),
        };
        match (issue, lacking.is_empty()) {
            ("-", false) => missing.push(format!("{command}: {}", lacking.join(" "))),
            ("-", true) => {}
            // A line that waits for an issue and is whole already belongs to the promised ones.
            (_, true) if !words.is_empty() => missing.push(format!("{command}: is there; strike issue {issue}")),
            _ => {}
        }
    }
    assert!(missing.is_empty(), "--help lacks:\n{}", missing.join("\n"));
}

#[test]
fn usage_errors_are_two_and_say_so() {
    for words in [&["nosuch"][..], &["filter", "--nosuch"], &["cat"], &["-c", "nosuch.toml", "filter"]] {
        let out = Command::new(env!("CARGO_BIN_EXE_zentral")).args(words).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{words:?}");
        assert!(out.stdout.is_empty() && !out.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn manual_and_completions_come_from_the_same_words() {
    let print = |words: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_zentral")).args(words).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{words:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let man = print(&["man"]);
    assert!(man.contains(".TH zentral") && man.contains("zentral\\-filter"), "{}", &man[..400]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(print(&["completions", shell]).contains("zentral"));
    }
}
