//! Where a term stands in its text.
//!
//! The tree has slices for names, numbers and strings only; brackets, operators and keywords are found among the words
//! around them. Ranges are in bytes and always whole words.

use std::ops::Range;

use jaq_core::load::lex::{StrPart, Tok, Token};
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::path::Part;

use super::tree::{Tree, children, variables};

type Place = Range<usize>;

pub(crate) struct Places<'s, 't> {
    text: &'s str,
    tokens: &'t [Token<&'s str>],
}

/// Words of one bracket (or of the whole text) that a place covers.
struct Level<'s, 't> {
    tokens: &'t [Token<&'s str>],
    first: usize,
    last: usize,
    around: Option<&'t Token<&'s str>>,
}

impl<'s, 't> Places<'s, 't> {
    pub(crate) fn new(text: &'s str, tokens: &'t [Token<&'s str>]) -> Self {
        Self { text, tokens }
    }

    /// The place of a term; none for the few that have no word of their own (`[]`, `{}`, `""`).
    pub(crate) fn of(&self, term: &Tree<'s>) -> Option<Place> {
        match term {
            Term::Id | Term::Recurse => return None,
            Term::Num(text) | Term::Var(text) => return self.slice(text),
            Term::Break(text) => return Some(self.with_word_before(self.slice(text)?, "break")),
            Term::Call(name, args) => {
                let name = self.slice(name)?;
                return Some(if args.is_empty() { name } else { self.with_next(name) });
            }
            Term::Str(format, parts) => return self.string(*format, parts),
            _ => {}
        }
        let inner: Vec<Option<Place>> = children(term).into_iter().map(|t| self.of(t)).collect();
        let place = self.below(term, &inner)?;
        Some(match term {
            Term::Arr(_) => self.bracket(place, '[')?,
            Term::Obj(_) => self.bracket(place, '{')?,
            Term::Neg(_) => self.with_word_before(place, "-"),
            Term::Label(..) => self.with_word_before(place, "label"),
            Term::Def(..) => self.with_word_before(place, "def"),
            Term::Fold(..) => {
                let block = self.next(&place).filter(|(_, t)| t.0.starts_with('('));
                block.map_or(place.clone(), |(wide, t)| hull(wide, self.token(t)))
            }
            Term::BinOp(_, BinaryOp::Pipe(Some(_)), _) => place,
            Term::BinOp(..) => match inner.as_slice() {
                [Some(_), None] => self.with_next(self.with_next(place)),
                [None, Some(_)] => self.with_before(self.with_before(place)),
                _ => place,
            },
            Term::TryCatch(_, None) => match self.next(&place) {
                Some((wide, token @ Token("?", _))) => hull(wide, self.token(token)),
                _ => self.with_word_before(place, "try"),
            },
            Term::TryCatch(_, Some(_)) => {
                let whole =
                    if let [Some(_), None] = inner.as_slice() { self.with_next(self.with_next(place)) } else { place };
                self.with_word_before(whole, "try")
            }
            Term::IfThenElse(..) => self.branches(place)?,
            Term::Path(from, path) => {
                let parts = path.0.iter().map(|(p, _)| p);
                // Parts without a word of their own, `[]`: they stand behind the parentheses if nowhere else.
                let hop =
                    !parts.clone().all(|p| matches!(p, Part::Index(_))) || inner.iter().skip(1).any(Option::is_none);
                let place = self.with_path(place, hop);
                // `."key"` begins with a `.` that is no term.
                if let Term::Id = **from { self.with_word_before(place, ".") } else { place }
            }
            _ => place,
        })
    }

    /// What the slices of a term and the places of its parts cover, in whole words.
    fn below(&self, term: &Tree<'s>, inner: &[Option<Place>]) -> Option<Place> {
        let own: Vec<&'s str> = match term {
            Term::Label(name, _) => vec![name],
            Term::Fold(word, _, pattern, _) => std::iter::once(*word).chain(variables(pattern)).collect(),
            Term::BinOp(_, BinaryOp::Pipe(Some(pattern)), _) => variables(pattern),
            Term::Def(defs, _) => defs.iter().map(|d| d.name).collect(),
            _ => Vec::new(),
        };
        let own = own.into_iter().filter_map(|text| self.slice(text));
        self.words(&own.chain(inner.iter().flatten().cloned()).reduce(hull)?)
    }

    fn string(&self, format: Option<&'s str>, parts: &[StrPart<&'s str, Tree<'s>>]) -> Option<Place> {
        let literal = parts.iter().find_map(|p| if let StrPart::Str(s) = p { self.slice(s) } else { None });
        let inner = match literal {
            // The string itself, or the word that is the name of a key.
            Some(literal) => self.words(&literal)?,
            None => {
                let term = parts.iter().find_map(|p| if let StrPart::Term(t) = p { self.of(t) } else { None })?;
                self.around(&term, |t| matches!(t.1, Tok::Str(_)))?
            }
        };
        let format = format.and_then(|f| self.slice(f));
        Some(format.map_or(inner.clone(), |format| hull(format, inner)))
    }

    /// The innermost bracket of this kind around a place.
    fn bracket(&self, place: Place, open: char) -> Option<Place> {
        self.around(&place, |t| matches!(t.1, Tok::Block(_)) && t.0.starts_with(open))
    }

    /// `if` … `end` around a place that covers what is between them.
    fn branches(&self, place: Place) -> Option<Place> {
        let Level { tokens, first, last, .. } = self.level(&place)?;
        let (mut from, mut open) = (first, 0usize);
        loop {
            match tokens.get(from)?.0 {
                "if" if open <= 1 && from < first => break,
                "if" => open = open.saturating_sub(1),
                // What lies in the place itself is balanced but for a branch that has no words.
                "end" if from < first => open += 1,
                _ => {}
            }
            match from.checked_sub(1) {
                Some(before) => from = before,
                None => return self.outside(&place).and_then(|wide| self.branches(wide)),
            }
        }
        let (mut to, mut open) = (from, 0usize);
        loop {
            match tokens.get(to)?.0 {
                "if" => open += 1,
                "end" if open <= 1 && to >= last => break,
                "end" => open = open.saturating_sub(1),
                _ => {}
            }
            to += 1;
        }
        Some(hull(self.token(tokens.get(from)?), self.token(tokens.get(to)?)))
    }

    /// With the brackets, keys and `?` that follow; `hop`: there are some, behind the parentheses if nowhere else.
    fn with_path(&self, mut place: Place, hop: bool) -> Place {
        let follows = |t: &Token<&str>| t.0 == "?" || t.0.starts_with('[') || (t.0.starts_with('.') && t.0 != "..");
        let mut hop = hop;
        loop {
            let Some((wide, token)) = self.next(&place) else { return place };
            if !follows(token) || (wide != place && !hop) {
                return place;
            }
            hop = false;
            place = hull(wide, self.token(token));
        }
    }

    /// With this word, if it stands before the place or the parentheses around it.
    fn with_word_before(&self, place: Place, word: &str) -> Place {
        match self.before(&place) {
            Some((wide, token)) if token.0 == word => hull(wide, self.token(token)),
            _ => place,
        }
    }

    fn with_next(&self, place: Place) -> Place {
        self.next(&place).map_or(place, |(wide, token)| hull(wide, self.token(token)))
    }

    fn with_before(&self, place: Place) -> Place {
        self.before(&place).map_or(place, |(wide, token)| hull(wide, self.token(token)))
    }

    /// The word after a place, or after the parentheses that hold nothing else; and the place that it is next to.
    fn next(&self, place: &Place) -> Option<(Place, &'t Token<&'s str>)> {
        let level = self.level(place)?;
        match level.tokens.get(level.last + 1) {
            Some(token) if !matches!(token.0, ")" | "]" | "}") => Some((place.clone(), token)),
            _ => self.outside(place).and_then(|wide| self.next(&wide)),
        }
    }

    fn before(&self, place: &Place) -> Option<(Place, &'t Token<&'s str>)> {
        let level = self.level(place)?;
        match level.first.checked_sub(1).and_then(|i| level.tokens.get(i)) {
            Some(token) => Some((place.clone(), token)),
            None => self.outside(place).and_then(|wide| self.before(&wide)),
        }
    }

    /// The parentheses that hold this place and nothing else.
    fn outside(&self, place: &Place) -> Option<Place> {
        let level = self.level(place)?;
        let alone = level.first == 0 && level.last + 2 >= level.tokens.len();
        level.around.filter(|t| alone && t.0.starts_with('(')).map(|t| self.token(t))
    }

    /// Widened to whole words.
    fn words(&self, place: &Place) -> Option<Place> {
        let level = self.level(place)?;
        Some(hull(self.token(level.tokens.get(level.first)?), self.token(level.tokens.get(level.last)?)))
    }

    /// The innermost word of a kind that holds a place and more.
    fn around(&self, place: &Place, kind: impl Fn(&Token<&'s str>) -> bool) -> Option<Place> {
        let (mut tokens, mut found) = (self.tokens, None);
        while let Some(token) = tokens.get(tokens.partition_point(|t| self.token(t).end <= place.start)) {
            let whole = self.token(token);
            if whole.start >= place.start || whole.end < place.end {
                break;
            }
            if kind(token) {
                found = Some(whole);
            }
            let Some(inner) = self.inner(token, place) else { break };
            if let Tok::Str(_) = token.1
                && kind(inner)
            {
                found = Some(self.token(inner));
            }
            let Tok::Block(words) = &inner.1 else { break };
            tokens = words;
        }
        found
    }

    /// The words among which a place lies: the innermost bracket that holds all of it.
    fn level(&self, place: &Place) -> Option<Level<'s, 't>> {
        let (mut tokens, mut around) = (self.tokens, None);
        loop {
            let first = tokens.partition_point(|t| self.token(t).end <= place.start);
            let last =
                tokens.partition_point(|t| self.token(t).start < place.end.max(place.start + 1)).checked_sub(1)?;
            let token = tokens.get(first)?;
            if first == last
                && place.start > self.token(token).start
                && let Some(inner) = self.inner(token, place)
                && let Tok::Block(words) = &inner.1
                && words.first().is_some_and(|w| self.token(w).start <= place.start)
            {
                (tokens, around) = (words, Some(inner));
                continue;
            }
            return (first <= last).then_some(Level { tokens, first, last, around });
        }
    }

    /// The bracket that a word is, or that lies in the string that it is and holds the place.
    fn inner(&self, token: &'t Token<&'s str>, place: &Place) -> Option<&'t Token<&'s str>> {
        match &token.1 {
            Tok::Block(_) => Some(token),
            Tok::Str(parts) => parts.iter().find_map(|part| match part {
                StrPart::Term(t) => {
                    let whole = self.token(t);
                    (whole.start < place.start && place.end < whole.end).then_some(t)
                }
                _ => None,
            }),
            _ => None,
        }
    }

    fn token(&self, token: &Token<&'s str>) -> Place {
        self.slice(token.0).unwrap_or(0..0)
    }

    fn slice(&self, part: &str) -> Option<Place> {
        let start = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        (start + part.len() <= self.text.len() && !part.is_empty()).then_some(start..start + part.len())
    }
}

fn hull(l: Place, r: Place) -> Place {
    l.start.min(r.start)..l.end.max(r.end)
}
