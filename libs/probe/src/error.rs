//! What is wrong with a filter's text, and where.

use std::fmt;

/// One thing wrong in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Name of the text: a file's path or `probe NAME`.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, a lower-case fragment.
    pub message: String,
    /// The line's text, cut around the place if it is long.
    source: String,
    /// Where in `source` the place is, and how many characters it has.
    mark: (usize, usize),
}

/// Longest source line drawn, in characters.
const DRAWN: usize = 120;

impl Problem {
    /// The place is the slice `part` of `text`, found by its address; a slice from elsewhere means the start.
    pub(crate) fn new(file: &str, text: &str, part: &str, message: impl Into<String>) -> Self {
        let offset = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize).filter(|at| *at <= text.len());
        let (before, after) = text.split_at_checked(offset.unwrap_or(0)).unwrap_or((text, ""));
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let word = part.lines().next().unwrap_or_default().chars().count();
        let rest = after.lines().next().unwrap_or_default().chars().count();
        let skipped = if column > DRAWN * 3 / 4 { column - DRAWN / 2 } else { 0 };
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: column + 1,
            message: message.into(),
            source: line.chars().skip(skipped).take(DRAWN).map(|c| if c == '\t' { ' ' } else { c }).collect(),
            mark: (column - skipped, word.min(rest).clamp(1, DRAWN)),
        }
    }
}

impl fmt::Display for Problem {
    /// `file:line:column: message`, then the line and a caret under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gap = " ".repeat(number.len());
        let (at, width) = self.mark;
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        writeln!(f, "{gap} |")?;
        writeln!(f, "{number} | {}", self.source)?;
        write!(f, "{gap} | {}{}", " ".repeat(at), "^".repeat(width))
    }
}

/// Everything wrong with one filter and the modules it uses; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// In order of appearance.
    pub problems: Vec<Problem>,
}

impl CompileError {
    /// Something wrong that has no place in the text.
    pub(crate) fn general(file: &str, message: String) -> Self {
        Self { problems: vec![Problem::new(file, "", "", message)] }
    }

    /// For a person at a terminal: each problem with its source line and a caret.
    pub fn render(&self) -> String {
        self.problems.iter().map(|p| format!("{p}\n")).collect()
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render().trim_end())
    }
}

impl std::error::Error for CompileError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_under_the_place() {
        let text = "# ü\n\t. | \u{fc}b(1)\n";
        let part = text.get(text.find("b(").unwrap_or(0)..).unwrap_or_default().get(..1).unwrap_or_default();
        let problem = Problem::new("a.jq", text, part, "no");
        assert_eq!(problem.to_string(), "a.jq:2:7: no\n  |\n2 |  . | üb(1)\n  |       ^");
        let end = Problem::new("a.jq", "[1", "[1".get(2..).unwrap_or_default(), "no");
        assert_eq!((end.line, end.column), (1, 3));
        let long = "x".repeat(1000) + "!";
        let far = Problem::new("a.jq", &long, long.get(1000..).unwrap_or_default(), "no").to_string();
        assert!(far.len() < 400 && far.ends_with('^'));
    }
}
