//! Text that every match of a regular expression contains.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Alternatives that are followed; beyond it nothing is needed.
const ALTERNATIVES_MAX: usize = 64;

/// One of these texts is in whatever matches; without any nothing matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) texts: Vec<Box<[u8]>>,
    /// Texts are lower-case ASCII, and stand for themselves in any case.
    pub(crate) folded: bool,
}

impl Needed {
    /// Of a string itself.
    pub(crate) fn text(text: &str) -> Self {
        Self { texts: vec![text.as_bytes().into()], folded: false }
    }

    /// Of a pattern; `None` if nothing is.
    pub(crate) fn of(hir: &Hir) -> Option<Self> {
        let exact = texts(hir, false).filter(|t| t.iter().all(|t| !t.is_empty()));
        let folded = texts(hir, true).filter(|t| t.iter().all(|t| !t.is_empty()));
        match (exact, folded) {
            (Some(exact), Some(folded)) if shortest(&exact) >= shortest(&folded) => Some(Self::new(exact, false)),
            (_, Some(folded)) => Some(Self::new(folded, true)),
            (Some(exact), None) => Some(Self::new(exact, false)),
            (None, None) => None,
        }
    }

    fn new(texts: Vec<Vec<u8>>, folded: bool) -> Self {
        let mut texts: Vec<Box<[u8]>> = texts.into_iter().map(Vec::into_boxed_slice).collect();
        texts.sort_unstable();
        texts.dedup();
        Self { texts, folded }
    }

    /// Length of the shortest: the longer the rarer.
    pub(crate) fn weight(&self) -> usize {
        self.texts.iter().map(|t| t.len()).min().unwrap_or(0)
    }
}

fn shortest(texts: &[Vec<u8>]) -> usize {
    texts.iter().map(Vec::len).min().unwrap_or(usize::MAX)
}

/// One of these is in every match. `folded`: ASCII letters in either case count as lower-case ones.
fn texts(hir: &Hir, folded: bool) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) if folded => Some(vec![literal.0.to_ascii_lowercase()]),
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Class(class) => one(class, folded).map(|c| vec![vec![c]]),
        HirKind::Capture(capture) => texts(&capture.sub, folded),
        HirKind::Repetition(repetition) if repetition.min > 0 => texts(&repetition.sub, folded),
        HirKind::Concat(parts) => concat(parts, folded),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(texts(part, folded)?);
            }
            (all.len() <= ALTERNATIVES_MAX).then_some(all)
        }
        _ => None,
    }
}

/// Of the runs of plain characters and of the other parts, the best.
fn concat(parts: &[Hir], folded: bool) -> Option<Vec<Vec<u8>>> {
    let mut best: Option<Vec<Vec<u8>>> = None;
    let mut run = Vec::new();
    let mut offer = |texts: Vec<Vec<u8>>| {
        if best.as_ref().is_none_or(|b| shortest(&texts) > shortest(b)) {
            best = Some(texts);
        }
    };
    for part in parts {
        let plain = match part.kind() {
            HirKind::Literal(literal) => Some(literal.0.to_vec()),
            HirKind::Class(class) => one(class, folded).map(|c| vec![c]),
            // A border between characters takes no room.
            HirKind::Look(_) | HirKind::Empty => Some(Vec::new()),
            _ => None,
        };
        match plain {
            Some(text) if folded => run.extend(text.to_ascii_lowercase()),
            Some(text) => run.extend(text),
            None => {
                if !run.is_empty() {
                    offer(vec![std::mem::take(&mut run)]);
                }
                if let Some(inner) = texts(part, folded) {
                    offer(inner);
                }
            }
        }
    }
    if !run.is_empty() {
        offer(vec![run]);
    }
    best
}

/// The one character of a class; `folded`: of both cases of an ASCII letter, and nothing beside them.
fn one(class: &Class, folded: bool) -> Option<u8> {
    let mut chars: Vec<char> = Vec::new();
    match class {
        Class::Unicode(class) => {
            for range in class.iter() {
                chars.extend((range.start()..=range.end()).take(3));
            }
        }
        Class::Bytes(class) => {
            for range in class.iter() {
                chars.extend((range.start()..=range.end()).take(3).map(char::from));
            }
        }
    }
    match chars.as_slice() {
        [c] if c.is_ascii() => u8::try_from(*c).ok().map(|c| if folded { c.to_ascii_lowercase() } else { c }),
        [upper, lower] if folded && upper.is_ascii_uppercase() && upper.to_ascii_lowercase() == *lower => {
            u8::try_from(*lower).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_every_match_contains() {
        for (pattern, want) in [
            ("^/Users/[^/]+/Downloads/", "/Downloads/"),
            ("(TeamViewer|Slack)[.]app", "Slack TeamViewer"),
            ("/evil[^/]*/Contents", "/Contents"),
            ("(?i)teamviewer", "~teamviewer"),
            ("(?i)skype", "~ype"),
            ("a|b", "-"),
            ("ab|cd", "ab cd"),
            ("a|b*", "-"),
            ("x?", "-"),
            ("[0-9]{3}", "-"),
            (".*\\.plist$", ".plist"),
            ("(abc)+d", "abc"),
            ("", "-"),
            ("\\bsudo\\b", "sudo"),
        ] {
            let needed = Needed::of(&regex_syntax::parse(pattern).unwrap());
            let got = needed.map_or("-".to_owned(), |n| {
                let texts: Vec<_> = n.texts.iter().map(|t| String::from_utf8_lossy(t).into_owned()).collect();
                format!("{}{}", if n.folded { "~" } else { "" }, texts.join(" "))
            });
            assert_eq!(got, want, "{pattern}");
        }
    }
}
