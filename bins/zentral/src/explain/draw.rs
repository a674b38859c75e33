//! A filter's source with its clauses drawn below it, in the colours of a terminal.

use probe::clauses::draw::{self, Tone};
pub use probe::clauses::draw::{came, cut, negation, one_line, words};

use super::verdict::Look;

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn odd(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }
}

/// The source lines that hold clauses, each clause underlined below.
pub fn draw(source: &str, look: &Look, paint: Paint) -> String {
    let piece = |(tone, text): (Tone, String)| match tone {
        Tone::Plain => text,
        Tone::Dim => paint.dim(&text),
        Tone::Good => paint.good(&text),
        Tone::Bad => paint.bad(&text),
        Tone::Odd => paint.odd(&text),
    };
    let lines = draw::draw(source, &look.clauses, &look.explained).into_iter();
    lines.map(|line| format!("  {}\n", line.into_iter().map(piece).collect::<String>())).collect()
}
