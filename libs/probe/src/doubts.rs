//! Filters that are right by the language and most likely not what is meant: `=` where `==` is meant, a condition that
//! nothing asks, a filter that never says no, wildcards where there are none. Only what is certain is told; whether it is meant is for people to say.

mod always;
mod assigned;
mod dropped;
mod known;
mod listed;
mod number;
mod shape;
mod titled;
mod wildcard;

use jaq_core::load::Arena;
use jaq_core::load::lex::Token;
use jaq_core::load::parse::Term;

use crate::analyse::{Analyst, Definitions, Paths, Patterns};
use crate::clauses::place::Places;
use crate::compile::shared;
use crate::error::Problem;
use crate::link::{Linker, Modules};
use crate::read::constants;
use crate::spec::Source;
use crate::{source, stack};

pub use known::Asked;

/// What is doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubted {
    /// A condition that is an assignment, and so always true.
    Assigned,
    /// A condition whose answer goes nowhere.
    Dropped,
    /// The filter matches whatever it is asked about.
    Always,
    /// A wildcard that is none.
    Wildcard,
    /// A comparison of a column with what is no text.
    Number,
    /// What the probe's query never gives.
    Never,
    /// A context whose title people will not read.
    Unread,
    /// Imported data among which nothing will be found.
    Listed,
}

/// A doubt and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Which one.
    pub what: Doubted,
    /// Where, with what is to be said.
    pub place: Problem,
}

/// Text of the filter that is doubtful, and why.
type Found<'s> = Vec<(Doubted, &'s str, String)>;

/// What is doubtful about a filter that sees the results of a query, or (without one) all events; nothing if it is wrong
/// or there is no thread to read it on.
pub fn doubts(filter: &Source, modules: &dyn Modules, asked: Option<&Asked>) -> Vec<Doubt> {
    stack::with_stack(|| read(filter, modules, asked)).ok().flatten().unwrap_or_default()
}

fn read(filter: &Source, modules: &dyn Modules, asked: Option<&Asked>) -> Option<Vec<Doubt>> {
    let arena = Arena::default();
    let mut linker = Linker::new(&arena, modules);
    let (file, term) = linker.program(&filter.name, &filter.text);
    let mut term = term.filter(|_| !linker.is_broken(file))?;
    let text = linker.text(file);
    let words = source::tokens(text).ok()?;
    let at = At { text, words: &words };
    let mut found = Found::new();
    assigned::find(&term, &at, &mut found);
    dropped::find(&term, &at, &mut found);
    wildcard::find(&term, &mut found);
    titled::find(&term, &mut found);
    let seen = shape::seen(&term, &at);
    number::find(&seen, &mut found);
    known::find(&seen, asked, &mut found);
    listed::find(&seen, &|place| linker.imported_data(place), &mut found);
    // What is always true for a reason that was named is not named again.
    if found.iter().all(|(what, ..)| !matches!(what, Doubted::Assigned | Doubted::Dropped)) {
        always::simplify(&mut term);
        let definitions = Definitions::new(shared().iter().chain(&linker.defs));
        let constants = constants(&linker.data);
        let data = |place: usize| constants.get(place).cloned().flatten();
        let (mut paths, mut patterns) = (Paths::default(), Patterns::default());
        let node = Analyst::new(&mut paths, &mut patterns, &definitions, &data).filter(&term);
        if let Some(message) = always::says(&node) {
            found.push((Doubted::Always, at.last(&term), message.to_owned()));
        }
    }
    let doubt = |(what, part, message)| Doubt { what, place: Problem::new(&filter.name, text, part, message) };
    Some(found.into_iter().map(doubt).collect())
}

/// Where terms stand.
struct At<'s, 't> {
    text: &'s str,
    words: &'t [Token<&'s str>],
}

impl<'s> At<'s, '_> {
    /// Bytes of the text from which on a term stands, and up to which.
    fn range(&self, term: &Term<&'s str>) -> Option<std::ops::Range<usize>> {
        Places::new(self.text, self.words).of(term)
    }

    /// The end of a program, which makes its outputs; its first word where that has no place.
    fn last(&self, term: &Term<&'s str>) -> &'s str {
        let first = || self.words.first().map_or(self.text, |word| word.0);
        self.range(assigned::end(term)).and_then(|range| self.text.get(range)).unwrap_or_else(first)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests;
