//! docs/filters.md, done as a reader would: every command runs in order, on a terminal, and prints what the page shows.
//!
//! - A block `sh` is run. It exits with 0, or with N if its last line ends in `# exit N`.
//! - A block without a language behind it is what the terminal shows: `…` stands for anything within a line, a line `…`
//!   for any lines. Without such a block it shows nothing.
//! - A block `json` behind it is the JSON that it printed, drawn in another way.
//! - A block `jq` is a file of `tests/data/guide/filters`, whose examples the page runs.
//! - Of the tables of section 8, the engine says itself which filters run at every event.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::Path;
use std::process::{Command, Stdio};

use probe::{FilterSet, NoModules, Scope, Source, Spec, Standing};

const GUIDE: &str = include_str!("../docs/filters.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A fenced block.
#[derive(Debug)]
struct Block<'g> {
    language: &'g str,
    text: String,
    /// Line of the page.
    line: usize,
    /// Whether nothing but an empty line is between it and the block before.
    follows: bool,
}

fn blocks() -> Vec<Block<'static>> {
    let mut all: Vec<Block> = Vec::new();
    let (mut open, mut follows) = (false, false);
    for (line, text) in (1..).zip(GUIDE.lines()) {
        match (text.strip_prefix("```"), open) {
            (Some(language), false) => {
                all.push(Block { language, text: String::new(), line, follows });
                open = true;
            }
            (Some(_), true) => (open, follows) = (false, true),
            (None, true) => {
                let block = all.last_mut().unwrap();
                block.text.push_str(text);
                block.text.push('\n');
            }
            (None, false) => follows &= text.is_empty(),
        }
    }
    assert!(!open, "the last block is not closed");
    all
}

/// Where the reader is.
struct Reader {
    scratch: tempfile::TempDir,
}

impl Reader {
    /// In an empty folder.
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        std::fs::create_dir(path("bin")).unwrap();
        // A link of its own, so that no small binary of an older build lies beside it.
        let built = env!("CARGO_BIN_EXE_zentral");
        let own = path("bin/zentral");
        std::fs::hard_link(built, &own).or_else(|_| std::fs::copy(built, &own).map(drop)).unwrap();
        std::fs::create_dir(path("work")).unwrap();
        std::fs::write(path("here"), path("work").to_str().unwrap()).unwrap();
        Self { scratch }
    }

    /// Runs commands where the last ones ended; the exit code and what the terminal shows.
    fn types(&self, commands: &str) -> (i32, String) {
        let dir = self.scratch.path().to_str().unwrap();
        let script = format!("set -e\ntrap 'pwd > {dir}/here' EXIT\ncd \"$(cat {dir}/here)\"\n{commands}");
        let file = self.scratch.path().join("typed.sh");
        std::fs::write(&file, script).unwrap();
        let file = file.to_str().unwrap();
        let mut terminal = Command::new("script");
        if cfg!(target_os = "linux") {
            terminal.args(["-qec", &format!("sh {file}"), "/dev/null"]);
        } else {
            terminal.args(["-q", "/dev/null", "sh", file]);
        }
        let path = format!("{dir}/bin:{}", std::env::var("PATH").unwrap());
        terminal.env_clear().env("PATH", path).env("HOME", dir).env("LC_ALL", "C").env("NO_COLOR", "1");
        let out = terminal
            .stdin(Stdio::null())
            .output()
            .expect("the test needs `script` (util-linux), which gives it a terminal");
        let shown = String::from_utf8(out.stdout).unwrap().replace("\r\n", "\n");
        // A progress bar is drawn and goes.
        let lines = shown.lines().map(|line| line.rsplit("\r\u{1b}[K").next().unwrap_or(line));
        (out.status.code().unwrap(), lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Whether lines are as the page has them.
fn fits(want: &[String], got: &[String]) -> bool {
    match want.split_first() {
        None => got.is_empty(),
        Some((line, rest)) if line == "…" => (0..=got.len()).any(|n| fits(rest, &got[n..])),
        Some((line, rest)) => got.split_first().is_some_and(|(first, more)| line_fits(line, first) && fits(rest, more)),
    }
}

fn line_fits(want: &str, got: &str) -> bool {
    let Some((start, rest)) = want.split_once('…') else { return want.trim_end() == got.trim_end() };
    let Some(mut got) = got.strip_prefix(start) else { return false };
    let (between, end) = rest.rsplit_once('…').unwrap_or(("", rest));
    for part in between.split('…') {
        let Some(at) = got.find(part) else { return false };
        got = &got[at + part.len()..];
    }
    got.ends_with(end)
}

#[test]
fn every_command_prints_what_the_page_shows() {
    let reader = Reader::new();
    let blocks = blocks();
    let mut ran = 0;
    for (i, block) in blocks.iter().enumerate().filter(|(_, b)| b.language == "sh") {
        let last = block.text.lines().last().unwrap();
        let want = last.rsplit_once("# exit ").map_or(0, |(_, code)| code.parse().unwrap());
        let (code, shown) = reader.types(&block.text);
        let at = format!("docs/filters.md:{}:\n{}", block.line, block.text);
        assert_eq!(code, want, "{at}\n{shown}");
        ran += 1;
        let output = blocks.get(i + 1).filter(|b| b.follows && b.language != "sh");
        if let Some(output) = output.filter(|b| b.language == "json") {
            let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(json(&shown), json(&output.text), "{at}");
        } else {
            let want = output.map_or("", |b| &b.text);
            let lines = |text: &'_ str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            assert!(fits(&lines(want), &lines(&shown)), "{at}\nshown:\n{shown}\nthe page has:\n{want}");
        }
    }
    assert!(ran >= 15, "{ran} blocks of commands");
}

#[test]
fn outputs_stand_behind_commands() {
    let blocks = blocks();
    for (i, block) in blocks.iter().enumerate().filter(|(_, b)| matches!(b.language, "" | "json")) {
        assert!(block.follows && blocks[i - 1].language == "sh", "docs/filters.md:{}: of which command?", block.line);
    }
    assert!(blocks.iter().all(|b| ["sh", "", "json", "jq"].contains(&b.language)), "a block that nothing looks at");
}

#[test]
fn commands_in_the_text_are_there() {
    let mut fenced = false;
    let text = GUIDE.lines().filter(|line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence && !line.starts_with('|')
    });
    let codes = text.flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|code| code.starts_with("zentral "));
    let mut looked_at = 0;
    for code in codes {
        let words: Vec<&str> = code.split(' ').collect();
        let out = Command::new(env!("CARGO_BIN_EXE_zentral")).args([words[1], "--help"]).output().unwrap();
        let help = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{code}");
        assert!(words.iter().filter(|w| w.starts_with('-')).all(|flag| help.contains(flag)), "{code}\n{help}");
        looked_at += 1;
    }
    assert!(looked_at >= 5, "{looked_at}");
}

#[test]
fn recipes_are_the_files_whose_examples_are_run() {
    let mut shown: Vec<String> = blocks().into_iter().filter(|b| b.language == "jq").map(|b| b.text).collect();
    let folder = Path::new(ROOT).join("tests/data/guide/filters");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<String> = Vec::new();
    for file in names.filter(|p| p.extension().is_some_and(|e| e == "jq")) {
        assert!(file.with_extension("ndjson").exists(), "{}", file.display());
        files.push(std::fs::read_to_string(file).unwrap());
    }
    shown.sort();
    files.sort();
    assert_eq!(shown, files);
}

/// The programs in the cells of the table that has this header, row by row.
fn table(header: &str) -> Vec<[Vec<String>; 2]> {
    let rows = GUIDE.lines().skip_while(|line| *line != header).skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.trim_matches('|').replace("\\|", "\u{0}");
        let (first, second) = row.split_once('|').unwrap();
        [first, second].map(|cell| cell.split('`').skip(1).step_by(2).map(|p| p.replace('\u{0}', "|")).collect())
    };
    rows.map(cells).collect()
}

fn standing(program: &str) -> Standing {
    let spec = Spec {
        name: "p".into(),
        rev: "0".into(),
        filter: Source { name: "p".into(), text: program.into() },
        until: None,
        by: None,
        severity: "info".into(),
        act: Vec::new(),
        scope: Scope::default(),
        query_name: None,
        first_run: false,
        shadow: false,
    };
    let set = FilterSet::build(vec![spec], &NoModules).unwrap_or_else(|e| panic!("{program}: {e:?}"));
    set.standing(0).unwrap()
}

#[test]
fn what_the_page_calls_fast_is_indexed_and_what_it_calls_slow_is_not() {
    let understood = table("| the index understands | for example |");
    let (slow, fast): (Vec<_>, Vec<_>) =
        table("| instead of | write |").into_iter().map(|[slow, fast]| (slow, fast)).unzip();
    assert!(understood.len() >= 8 && slow.len() >= 8, "{} {}", understood.len(), slow.len());
    for program in understood.iter().flat_map(|[_, examples]| examples) {
        assert_eq!(standing(program), Standing::Native, "{program}");
    }
    for program in slow.iter().flatten() {
        assert!(matches!(standing(program), Standing::Always), "{program}: {:?}", standing(program));
    }
    for program in fast.iter().flatten() {
        assert!(!matches!(standing(program), Standing::Always), "{program}: {:?}", standing(program));
    }
}
