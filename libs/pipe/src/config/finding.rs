//! What is wrong with a configuration, and where: file, line, key and a caret under the word.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::mask::{self, Show};

/// A file of the configuration as it was read.
#[derive(Debug)]
pub struct SourceFile {
    /// Where it lies, as people write it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It is wrong: nothing starts with it.
    Error,
    /// It works, and is most likely not what is meant.
    Warning,
    /// It works, and could be better.
    Note,
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that is wrong, with its place.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Whether anything is wrong.
    pub level: Level,
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 if the whole file is meant.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key, with its table: `stage.act.from`.
    pub key: String,
    /// What is wrong, a lower-case fragment.
    pub text: String,
    /// The line of the file and a caret, if there is one.
    shown: Option<String>,
}

impl Finding {
    /// A finding at `span` (bytes) of `file`. Of the values on the line only the one at `span` is shown, unless the key is
    /// a probe's.
    pub fn at(file: &SourceFile, span: Range<usize>, key: impl Into<String>, text: impl Into<String>) -> Self {
        let key = key.into();
        // The whole line is the probe's: on a line of TOML stands one key, with all that it holds.
        let show = if key.starts_with("probe.") { Show::Plain } else { Show::Meant };
        Self::draw(file, span, key, text, show)
    }

    /// A finding about a secret: no value on its line is shown.
    pub(super) fn hidden(file: &SourceFile, span: Range<usize>, key: String, text: impl Into<String>) -> Self {
        Self::draw(file, span, key, text, Show::Keys)
    }

    /// A finding about a file that is no TOML.
    pub(super) fn syntax(file: &SourceFile, span: Range<usize>, text: impl Into<String>) -> Self {
        let show = if mask::is_line_of_probe(&file.text, span.start) { Show::Plain } else { Show::Before };
        Self::draw(file, span, "", text, show)
    }

    fn draw(
        file: &SourceFile,
        span: Range<usize>,
        key: impl Into<String>,
        text: impl Into<String>,
        show: Show,
    ) -> Self {
        let before = file.text.get(..span.start.min(file.text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let (whole, caret) = mask::draw(&file.text, span, show);
        // Behind what is not shown the caret stands elsewhere than in the file.
        let moved = caret.chars().take_while(|c| *c != '^').count() + 1 != column;
        let there = if moved { format!(" column {column}") } else { String::new() };
        let shown = format!("{line:>5} | {whole}\n      | {caret}{there}");
        let (file, key, text, level) = (file.path.clone(), key.into(), text.into(), Level::Error);
        Self { level, file, line, column, key, text, shown: Some(shown) }
    }

    /// A finding about a file as a whole.
    pub fn file(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let (file, key, text, level) = (path.into(), String::new(), text.into(), Level::Error);
        Self { level, file, line: 0, column: 0, key, text, shown: None }
    }

    /// A finding whose picture was drawn elsewhere (a filter's compile error).
    pub fn drawn(path: impl Into<PathBuf>, line: usize, column: usize, key: &str, text: &str, shown: String) -> Self {
        let (file, key, text, level) = (path.into(), key.to_owned(), text.to_owned(), Level::Error);
        Self { level, file, line, column, key, text, shown: Some(shown) }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(self) -> Self {
        Self { level: Level::Warning, ..self }
    }

    /// The same as a note.
    #[must_use]
    pub fn note(self) -> Self {
        Self { level: Level::Note, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if self.level != Level::Error {
            write!(f, "{}: ", self.level.word())?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.text)?;
        match &self.shown {
            Some(shown) => write!(f, "\n{shown}"),
            None => Ok(()),
        }
    }
}

/// Findings as one text.
pub fn render(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}

/// The same findings, each place and text once: several stages may meet the same mistake.
pub fn once(findings: Vec<Finding>) -> Vec<Finding> {
    let mut seen = HashSet::new();
    findings.into_iter().filter(|f| seen.insert((f.file.clone(), f.line, f.column, f.text.clone()))).collect()
}

/// What a table is read from: the file and the tree of its values.
pub(crate) type Shared = Arc<SourceFile>;
