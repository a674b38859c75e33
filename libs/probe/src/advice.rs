//! What to change in a filter that jq runs at every event, so that the index can be asked about it.
//!
//! A place is to blame if the filter were in the index, or else decided without jq, were that place a plain value of the
//! event: the filter is read again with just that supposed.

use std::ops::Range;

use jaq_core::load::Arena;
use jaq_core::load::lex::{StrPart, Tok, Token};
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::ops::Math;

use crate::analyse::{self, Analyst, Definitions, NONE, Node, Paths, Patterns, Reason, TRUE};
use crate::clauses::place::Places;
use crate::compile::shared;
use crate::error::Problem;
use crate::index::clauses;
use crate::link::{Linker, Modules};
use crate::read::constants;
use crate::spec::Source;
use crate::walk::DATA;
use crate::{source, stack};

/// Places of a filter that are looked at.
const PLACES_MAX: usize = 16;

/// Which places are taken for plain values.
type Supposed<'f> = dyn Fn(&analyse::Unclear<'_>) -> bool + 'f;

/// What is known of a filter that is asked at every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Nothing about it rules out any event; otherwise jq runs only where its other conditions may hold.
    pub everywhere: bool,
    /// What must be rewritten for it to be indexed, all of it; what hides behind that is told after it. Never empty.
    pub unclear: Vec<Unclear>,
}

/// A part of a filter that says nothing about the events it matches, as far as the engine knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// Why.
    pub reason: Reason,
    /// The function or operator that it is, if it is one.
    pub word: String,
    /// Where it stands, with [`Unclear::text`] as its message.
    pub place: Problem,
}

impl Unclear {
    /// What it does, a lower-case fragment.
    pub fn why(&self) -> String {
        self.reason.why(&self.word)
    }

    /// What to write instead, with an example.
    pub fn advice(&self) -> String {
        let way = self.reason.rewriting(&self.word);
        match way.before {
            _ if way.after.contains('…') => format!("{}: `{}`", way.what, way.after),
            before => format!("{}: `{}` instead of `{before}`", way.what, way.after),
        }
    }
}

/// Reads a filter once more; `None` if it is wrong or there is no thread to do it on.
pub(crate) fn advice(filter: &Source, modules: &dyn Modules) -> Option<Advice> {
    stack::with_stack(|| read(filter, modules)).ok().flatten()
}

fn read(filter: &Source, modules: &dyn Modules) -> Option<Advice> {
    let arena = Arena::default();
    let mut linker = Linker::new(&arena, modules);
    let (file, term) = linker.program(&filter.name, &filter.text);
    let term = term.filter(|_| !linker.is_broken(file))?;
    let text = linker.text(file);
    let words = source::tokens(text).ok()?;
    let definitions = Definitions::new(shared().iter().chain(&linker.defs));
    let constants = constants(&linker.data);
    let data = |place: usize| constants.get(place).cloned().flatten();

    let (mut paths, mut patterns) = (Paths::default(), Patterns::default());
    let mut asked = Analyst::new(&mut paths, &mut patterns, &definitions, &data);
    let node = asked.filter(&term);
    let mut found: Vec<analyse::Unclear<'_>> = Vec::new();
    for unclear in &asked.unclear {
        if found.len() < PLACES_MAX && !found.contains(unclear) {
            found.push(*unclear);
        }
    }
    let supposed = |suppose: &Supposed<'_>| {
        let (mut paths, mut patterns) = (Paths::default(), Patterns::default());
        let mut asked = Analyst::new(&mut paths, &mut patterns, &definitions, &data);
        asked.suppose = Some(suppose);
        asked.filter(&term)
    };
    let mut blamed = blame(&found, &|suppose| !clauses(&supposed(suppose)).is_empty());
    if blamed.is_empty() {
        found.retain(|one| !one.shown);
        blamed = blame(&found, &|suppose| !supposed(&|one| !one.shown && suppose(one)).is_unclear());
    }
    let place = Place { name: &filter.name, text, words: &words };
    let mut unclear: Vec<Unclear> = blamed.iter().map(|one| place.unclear(one)).collect();
    if unclear.is_empty() {
        let reason = if clauses(&node).is_empty() { Reason::NoKey } else { Reason::Paths };
        unclear.push(place.unclear(&analyse::Unclear { term: Some(&term), call: None, shown: false, reason }));
    }
    Some(Advice { everywhere: !may_rule_out(&node), unclear })
}

/// The places without which all would be well; `well` says whether it is if some were plain values.
fn blame<'t>(found: &[analyse::Unclear<'t>], well: &dyn Fn(&Supposed<'_>) -> bool) -> Vec<analyse::Unclear<'t>> {
    if !well(&|_| true) {
        return Vec::new();
    }
    if let Some(one) = found.iter().find(|one| well(&|other| other == *one)) {
        return vec![*one];
    }
    found.iter().filter(|one| !well(&|other| other != *one)).copied().collect()
}

/// Whether there are events that are decided without jq.
fn may_rule_out(node: &Node) -> bool {
    match node {
        Node::And(l, r) | Node::When(l, r) => may_rule_out(l) || may_rule_out(r),
        // A path that leads nowhere is not meant as a condition.
        Node::Then(l, r) => {
            let condition = !matches!(**l, Node::Path(_)) && !l.is_unclear() && l.bounds() & NONE != 0;
            condition || may_rule_out(r)
        }
        Node::Or(l, r) | Node::Both(l, r) | Node::Else(l, r) => may_rule_out(l) && may_rule_out(r),
        Node::If(c, t, e) if c.is_unclear() => may_rule_out(t) && may_rule_out(e),
        Node::If(_, t, e) => may_rule_out(t) || may_rule_out(e),
        Node::Try(n, catch) => may_rule_out(n) && catch.as_ref().is_none_or(|c| may_rule_out(c)),
        Node::Each(..) => true,
        Node::Any(n) | Node::Label(n) | Node::First(n) => may_rule_out(n),
        node => node.bounds() & !TRUE != 0 && !node.is_unclear(),
    }
}

/// Where things stand in a filter.
struct Place<'t> {
    name: &'t str,
    text: &'t str,
    words: &'t [Token<&'t str>],
}

impl Place<'_> {
    fn unclear(&self, one: &analyse::Unclear<'_>) -> Unclear {
        let places = Places::new(self.text, self.words);
        let own = one.term.filter(|term| one.call.is_none() || places.of(term).is_some());
        let term = own.or(one.call);
        let word = term.map(word).unwrap_or_default();
        let reason = match one.reason {
            reason if own.is_some() || one.call.is_none() => reason,
            // What a function asks of what it is given is asked by whoever calls it.
            reason @ (Reason::Argument | Reason::Key | Reason::Recursion) => reason,
            _ => Reason::Function,
        };
        let range = term.and_then(|term| places.of(term)).or_else(|| self.named(&word));
        let part = self.text.get(range.unwrap_or_else(|| self.start())).unwrap_or_default();
        let place = Problem::new(self.name, self.text, part, String::new());
        let mut unclear = Unclear { reason, word, place };
        unclear.place.message = format!("{}; {}", unclear.why(), unclear.advice());
        unclear
    }

    /// A call of a module's function, which has another name by now, or `..`, of which the tree has no place.
    fn named(&self, word: &str) -> Option<Range<usize>> {
        self.range(find(self.words, &|text| text == word || text.ends_with(&format!("::{word}")))?)
    }

    /// The first word of the filter.
    fn start(&self) -> Range<usize> {
        self.words.first().and_then(|w| self.range(w.0)).unwrap_or_default()
    }

    fn range(&self, part: &str) -> Option<Range<usize>> {
        let start = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        Some(start..start + part.len())
    }
}

fn find<'t>(words: &[Token<&'t str>], wanted: &dyn Fn(&str) -> bool) -> Option<&'t str> {
    words.iter().find_map(|Token(text, token)| match token {
        Tok::Word | Tok::Sym if wanted(text) => Some(*text),
        Tok::Block(inner) => find(inner, wanted),
        Tok::Str(parts) => parts.iter().find_map(|part| match part {
            StrPart::Term(inner) => find(std::slice::from_ref(inner), wanted),
            _ => None,
        }),
        _ => None,
    })
}

/// What a reader would call a term.
fn word(term: &Term<&str>) -> String {
    match term {
        // A module's function is called after its file and a `!`.
        Term::Call(DATA, _) => "",
        Term::Call(name, _) => name.rsplit('!').next().unwrap_or_default(),
        Term::Recurse => "..",
        Term::Fold(name, ..) => name,
        Term::Neg(_) => "-",
        Term::BinOp(_, BinaryOp::Math(op), _) => math(*op),
        Term::BinOp(_, BinaryOp::Assign, _) => "=",
        Term::BinOp(_, BinaryOp::Update, _) => "|=",
        Term::BinOp(_, BinaryOp::UpdateAlt, _) => "//=",
        _ => "",
    }
    .to_owned()
}

fn math(op: Math) -> &'static str {
    match op {
        Math::Add => "+",
        Math::Sub => "-",
        Math::Mul => "*",
        Math::Div => "/",
        Math::Rem => "%",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
