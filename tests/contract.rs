//! The promised command line: every command and flag is in `--help`, except those that name the issue bringing them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::process::Command;

const PROMISED: &str = include_str!("data/commands.tsv");

/// The help of this very command: a word that an argument swallows (`act mute`, if `mute` is the name of an action) gives
/// the help of the command before it.
fn help(words: &[&str]) -> Option<String> {
    let out = Command::new(env!("CARGO_BIN_EXE_zentral")).args(words).arg("--help").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let usage = ["Usage: zentral"].iter().chain(words).copied().collect::<Vec<_>>().join(" ");
    let own =
        text.lines().any(|line| line.strip_prefix(&usage).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')));
    (out.status.code() == Some(0) && own).then_some(text)
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
            (_, true) => missing.push(format!("{command}: is there; strike issue {issue}")),
            (_, false) => {}
        }
    }
    assert!(missing.is_empty(), "--help lacks:\n{}", missing.join("\n"));
}

#[test]
fn a_word_that_is_taken_for_a_name_is_no_command() {
    for words in [&["act", "silence"][..], &["status", "probes"], &["store", "setup"], &["nosuch"]] {
        assert_eq!(help(words), None, "{words:?}");
    }
    assert!(help(&["act", "try"]).is_some());
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
