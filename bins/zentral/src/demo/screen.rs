//! What the demo shows: whole lines on stdout, with colours on a terminal. A reader who leaves ends the show politely.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ColorChoice;

/// A colour or face of letters, as the number of ANSI's SGR sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Face(&'static str);

/// As the terminal has it.
pub const PLAIN: Face = Face("0");
/// Headings.
pub const BOLD: Face = Face("1");
/// What matters less.
pub const DIM: Face = Face("2");
/// What goes well.
pub const GREEN: Face = Face("32");
/// What is wrong.
pub const RED: Face = Face("1;31");
/// Deliveries.
pub const BLUE: Face = Face("34");

/// The face of a severity.
pub fn severity(word: &str) -> Face {
    match word {
        "critical" => RED,
        "major" => Face("33"),
        "minor" => Face("36"),
        _ => DIM,
    }
}

/// The screen; clones are the same one.
#[derive(Debug, Clone)]
pub struct Screen {
    color: bool,
    closed: Arc<AtomicBool>,
}

impl Screen {
    /// As the flags, the environment and the terminal have it.
    pub fn new(choice: ColorChoice) -> Self {
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Self { color, closed: Arc::default() }
    }

    /// One line. What came from a machine may hold anything: control characters go no further.
    pub fn line(&self, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() && c != '\u{1b}' { ' ' } else { c }).collect();
        if pipe::write_stdout(format!("{text}\n").as_bytes()).is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    /// A heading with an empty line before it.
    pub fn heading(&self, text: &str) {
        self.line("");
        self.line(&self.paint(BOLD, text));
    }

    /// The text in a face. Its own escape characters are taken out.
    pub fn paint(&self, face: Face, text: &str) -> String {
        let text = text.replace('\u{1b}', " ");
        if self.color { format!("\u{1b}[{}m{text}\u{1b}[0m", face.0) } else { text }
    }

    /// Whether nobody reads any more.
    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}
