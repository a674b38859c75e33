//! What a set of events makes of the clauses of a filter, and what none of them does.

use super::{Clause, Clauses, Explained, Kind};

/// What no event did to a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// None reached it.
    Reached,
    /// None made it true, or let it give something.
    True,
    /// None made it false, or let it give nothing.
    False,
}

impl Missing {
    /// As the end of a sentence that begins with `no example`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reached => "reaches",
            Self::True => "makes true",
            Self::False => "makes false",
        }
    }
}

/// A clause that is not exercised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap<'c> {
    /// The clause.
    pub clause: &'c Clause,
    /// What is missing.
    pub missing: Missing,
}

/// Counts over events. What is wanted of a condition or guard is that it was true and that it was false; of any other
/// clause that it was reached.
pub struct Coverage<'c> {
    clauses: &'c Clauses,
    /// Of each clause: reached, true, false.
    came: Vec<(bool, bool, bool)>,
}

impl<'c> Coverage<'c> {
    /// Nothing yet.
    pub fn new(clauses: &'c Clauses) -> Self {
        Self { clauses, came: vec![(false, false, false); clauses.clauses().len()] }
    }

    /// One event more.
    pub fn add(&mut self, explained: &Explained) {
        for ((reached, yes, no), seen) in self.came.iter_mut().zip(&explained.seen) {
            *reached |= seen.runs > 0;
            *yes |= seen.truthy > 0;
            *no |= seen.falsy + seen.empty + seen.errors > 0;
        }
    }

    /// What is missing, in the order of the source.
    pub fn gaps(&self) -> Vec<Gap<'c>> {
        let each = |(clause, came): (&'c Clause, &(bool, bool, bool))| match *came {
            (false, ..) => Some(Gap { clause, missing: Missing::Reached }),
            _ if outcomes(clause) < 2 => None,
            // A `break` left it each time.
            (_, false, false) => Some(Gap { clause, missing: Missing::Reached }),
            (_, false, _) => Some(Gap { clause, missing: Missing::True }),
            (_, _, false) => Some(Gap { clause, missing: Missing::False }),
            _ => None,
        };
        self.clauses.clauses().iter().zip(&self.came).filter_map(each).collect()
    }

    /// Outcomes that came, and all that are wanted.
    pub fn share(&self) -> (usize, usize) {
        let clauses = self.clauses.clauses();
        let wanted = clauses.iter().map(outcomes).sum();
        let missing = |g: Gap<'_>| if g.missing == Missing::Reached { outcomes(g.clause) } else { 1 };
        let missing: usize = self.gaps().into_iter().map(missing).sum();
        (usize::saturating_sub(wanted, missing), wanted)
    }
}

/// How many outcomes of a clause are wanted.
fn outcomes(clause: &Clause) -> usize {
    if matches!(clause.kind, Kind::Condition | Kind::Guard) { 2 } else { 1 }
}
