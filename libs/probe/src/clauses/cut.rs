//! Cuts a parse tree into clauses, and wraps each so that what comes of it is written down.
//!
//! The tree stays the same program: a clause `T` becomes `!seen(N; T)`, which gives what `T` gives. Nothing is wrapped
//! where jaq asks for paths instead of values (left of an assignment, in `path(…)`, `del(…)` and the like), nor within
//! definitions.

use std::mem;

use jaq_core::load::Arena;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::{Opt, Part, Path};

use super::known::{Known, asks_for, assigns, flatten, is_constant, is_end, join};
use super::place::Places;
use super::record::SEEN;
use super::tree::{Tree, children_mut};
use super::{Clause, Kind};

/// The variable of a value that is only looked at; no program can spell it.
const SEEN_VALUE: &str = "$!seen";

/// What the outputs of a term are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// Whether they are true decides.
    Truth,
    /// They go on through the pipe.
    Pipe,
    /// They become part of a value.
    Value,
}

/// What a place in the wrapped program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Clause(usize),
    Operand(usize, usize),
}

impl Slot {
    /// The clause that it is of.
    pub(super) fn clause(self) -> usize {
        let (Self::Clause(clause) | Self::Operand(clause, _)) = self;
        clause
    }
}

pub(super) struct Cutter<'s, 'p> {
    places: Places<'s, 'p>,
    text: &'s str,
    arena: &'s Arena,
    known: Known<'s>,
    clauses: Vec<Clause>,
    slots: Vec<Slot>,
    /// Within something that only makes a value.
    aside: bool,
    /// An odd number of `not` turns round what comes of a condition.
    negated: bool,
}

impl<'s, 'p> Cutter<'s, 'p> {
    pub(super) fn new(places: Places<'s, 'p>, text: &'s str, arena: &'s Arena) -> Self {
        let (known, clauses, slots) = (Known::default(), Vec::new(), Vec::new());
        Self { places, text, arena, known, clauses, slots, aside: false, negated: false }
    }

    /// What was cut.
    pub(super) fn done(self) -> (Vec<Clause>, Vec<Slot>) {
        (self.clauses, self.slots)
    }

    /// The whole program: its outputs decide.
    pub(super) fn program(&mut self, term: &mut Tree<'s>) {
        self.term(term, For::Truth);
    }

    fn term(&mut self, term: &mut Tree<'s>, what: For) {
        let plain = self.known.is_plain(term);
        match term {
            Term::BinOp(_, BinaryOp::Pipe(None), _) if plain && what != For::Truth => self.leaf(term, what),
            Term::BinOp(_, BinaryOp::Pipe(None), _) => self.pipe(term, what),
            Term::BinOp(l, BinaryOp::Pipe(Some(_)), r) => {
                // Where it gives nothing, nothing comes of the rest either.
                self.deep(l, if what == For::Value { For::Value } else { For::Pipe });
                self.term(r, what);
            }
            Term::BinOp(l, BinaryOp::And | BinaryOp::Or, r) => {
                self.term(l, For::Truth);
                self.term(r, For::Truth);
            }
            Term::BinOp(l, BinaryOp::Comma, r) => {
                self.term(l, what);
                self.term(r, what);
            }
            Term::BinOp(l, BinaryOp::Alt, r) if !plain => {
                self.term(l, what);
                self.term(r, what);
            }
            Term::BinOp(_, BinaryOp::Cmp(_), _) => self.condition(term),
            Term::TryCatch(inner, catch) if !plain => {
                self.term(inner, what);
                if let Some(catch) = catch {
                    self.deep(catch, For::Value);
                }
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.apart(condition, For::Truth);
                    self.term(then, what);
                }
                if let Some(otherwise) = otherwise {
                    self.term(otherwise, what);
                }
            }
            Term::Label(_, inner) => self.term(inner, what),
            Term::Def(defs, inner) => {
                let outer = self.known.enter(defs.iter().map(|d| (d.name, d.args.len())));
                self.term(inner, what);
                self.known.leave(outer);
            }
            Term::Call(..) if !plain => self.call(term, what),
            Term::BinOp(_, op, _) if assigns(op) => self.leaf(term, what),
            _ if plain => self.leaf(term, what),
            _ => self.values(term, what),
        }
    }

    /// A term whose value is built of others: it is a clause as a whole, and conditions within it are, too.
    fn values(&mut self, term: &mut Tree<'s>, what: For) {
        let clause = if what == For::Value { None } else { self.clause(term, kind_of(term, what)) };
        for child in children_mut(term) {
            self.deep(child, For::Value);
        }
        self.wrap_clause(term, clause);
    }

    /// As [`Self::term`]; what lies below does not decide by itself.
    fn deep(&mut self, term: &mut Tree<'s>, what: For) {
        let aside = self.aside;
        self.aside = aside || what == For::Value;
        self.apart(term, what);
        self.aside = aside;
    }

    /// As [`Self::term`], for what a `not` further out does not turn round.
    fn apart(&mut self, term: &mut Tree<'s>, what: For) {
        let negated = mem::take(&mut self.negated);
        self.term(term, what);
        self.negated = negated;
    }

    /// A chain `a | b | c`: a condition at its end takes in the plain terms that lead to what it judges.
    fn pipe(&mut self, term: &mut Tree<'s>, what: For) {
        let mut parts = Vec::new();
        flatten(mem::take(term), &mut parts);
        let mut nots = Vec::new();
        while parts.len() > 1 && parts.last().is_some_and(|t| self.known.is_called(t, "not", 0)) {
            nots.extend(parts.pop());
        }
        let what = if nots.is_empty() { what } else { For::Truth };
        let mut last = parts.pop().unwrap_or_default();
        let judges = match &last {
            Term::BinOp(l, BinaryOp::Cmp(_), r) => self.known.is_plain(l) && self.known.is_plain(r),
            Term::Call(name, args) => {
                self.known.is_predicate(name, args) || (what == For::Truth && self.known.is_plain(&last))
            }
            other => what == For::Truth && self.known.is_plain(other) && !is_constant(other),
        };
        let mut leading = Vec::new();
        while judges && parts.last().is_some_and(|t| self.known.is_plain(t) && !self.known.is_guard(t) && !is_end(t)) {
            leading.extend(parts.pop());
        }
        leading.reverse();
        for part in &mut parts {
            self.apart(part, if what == For::Value { For::Value } else { For::Pipe });
        }
        let negated = self.negated;
        self.negated ^= nots.len() % 2 == 1;
        if leading.is_empty() {
            self.term(&mut last, what);
        } else {
            self.led(leading, &mut last);
        }
        self.negated = negated;
        parts.push(last);
        parts.extend(nots.into_iter().rev());
        *term = join(parts);
    }

    /// A condition with the terms that lead to what it judges.
    fn led(&mut self, leading: Vec<Tree<'s>>, last: &mut Tree<'s>) {
        let whole = join(leading.into_iter().chain([mem::take(last)]).collect());
        let clause = self.clause(&whole, Kind::Condition);
        let mut parts = Vec::new();
        flatten(whole, &mut parts);
        let mut judge = parts.pop().unwrap_or_default();
        if let Some(clause) = clause {
            match &mut judge {
                Term::BinOp(l, BinaryOp::Cmp(_), r) => {
                    for side in [l, r] {
                        let text = self.shown(side);
                        self.operand(clause, text, side);
                    }
                }
                Term::Call(..) => {
                    let mut judged = join(mem::take(&mut parts));
                    let text = self.shown(&judged);
                    self.operand(clause, text, &mut judged);
                    self.arguments(clause, &mut judge);
                    parts.push(judged);
                }
                _ => {}
            }
        }
        parts.push(judge);
        *last = join(parts);
        self.wrap_clause(last, clause);
    }

    /// A comparison.
    fn condition(&mut self, term: &mut Tree<'s>) {
        let clause = self.clause(term, Kind::Condition);
        if let Term::BinOp(l, _, r) = term {
            for side in [l, r] {
                let text = self.shown(side);
                self.deep(side, For::Value);
                if let Some(clause) = clause {
                    self.operand(clause, text, side);
                }
            }
        }
        self.wrap_clause(term, clause);
    }

    fn call(&mut self, term: &mut Tree<'s>, what: For) {
        let Term::Call(name, args) = &*term else { return };
        if self.known.is_predicate(name, args) {
            return self.predicate(term);
        }
        if self.known.is_guard(term) {
            let clause = if what == For::Value { None } else { self.clause(term, Kind::Guard) };
            return self.wrap_clause(term, clause);
        }
        match term {
            // What is not selected gives nothing, which no `not` turns round.
            Term::Call("select", args) if args.len() == 1 => {
                args.iter_mut().for_each(|condition| self.apart(condition, For::Truth));
            }
            Term::Call("any" | "all", args) if args.len() == 1 => {
                args.iter_mut().for_each(|condition| self.term(condition, For::Truth));
            }
            Term::Call("any" | "all", args) if args.len() == 2 => {
                if let [from, condition] = args.as_mut_slice() {
                    // Where there is nothing to ask about, no condition is reached.
                    self.deep(from, if what == For::Value { For::Value } else { For::Pipe });
                    self.term(condition, For::Truth);
                }
            }
            _ => self.values(term, what),
        }
    }

    /// `test("…")` by itself: what it judges is its input.
    fn predicate(&mut self, term: &mut Tree<'s>) {
        let clause = self.clause(term, Kind::Condition);
        if let Term::Call("isempty", args) = term {
            args.iter_mut().for_each(|arg| self.deep(arg, For::Value));
        }
        if let Some(clause) = clause {
            self.input(clause, term);
        }
        self.wrap_clause(term, clause);
    }

    /// A call that judges its input: that is shown, and what it is compared with.
    fn input(&mut self, clause: usize, term: &mut Tree<'s>) {
        self.arguments(clause, term);
        let mut input = Term::Id;
        self.operand(clause, Some(".".to_owned()), &mut input);
        *term = join(vec![input, mem::take(term)]);
    }

    /// What a condition compares its input with, where that is not written out. Such functions ask for values alone.
    fn arguments(&mut self, clause: usize, term: &mut Tree<'s>) {
        let Term::Call(name, args) = term else { return };
        if !self.known.is_predicate(name, args) && !self.known.is_helper(name, args.len()) {
            return;
        }
        for arg in args {
            let text = self.shown(arg).filter(|_| self.known.is_plain(arg));
            self.operand(clause, text, arg);
        }
    }

    /// A term that is not looked into.
    fn leaf(&mut self, term: &mut Tree<'s>, what: For) {
        if what == For::Value || is_end(term) || (what == For::Pipe && matches!(term, Term::Call(".", _))) {
            return;
        }
        let clause = self.clause(term, kind_of(term, what));
        if let (Some(clause), For::Truth, Term::Call(name, args)) = (clause, what, &*term) {
            match asks_for(name).filter(|_| self.known.is_helper(name, args.len())) {
                Some(keys) => self.asked(clause, keys, term),
                None if self.known.is_helper(name, args.len()) => self.input(clause, term),
                None => {}
            }
        }
        self.wrap_clause(term, clause);
    }

    /// A helper that is called on the event and looks at one value of it.
    fn asked(&mut self, clause: usize, keys: &[&'static str], term: &mut Tree<'s>) {
        let text: String = keys.iter().flat_map(|key| [".", key]).collect();
        let part = |key: &&'static str| (Part::Index(Term::Str(None, vec![StrPart::Str(*key)])), Opt::Essential);
        let mut value = Term::Path(Box::new(Term::Id), Path(keys.iter().map(part).collect()));
        self.operand(clause, Some(text), &mut value);
        // `(try value catch 0) as $seen | call`: the value is only looked at.
        let value = Term::TryCatch(Box::new(value), Some(Box::new(Term::Num("0"))));
        *term = Term::BinOp(Box::new(value), BinaryOp::Pipe(Some(Pattern::Var(SEEN_VALUE))), Box::new(mem::take(term)));
    }

    /// A new clause; none for a term without a place.
    fn clause(&mut self, term: &Tree<'s>, kind: Kind) -> Option<usize> {
        let range = self.places.of(term)?;
        let text = self.text.get(range.clone())?.to_owned();
        let before = self.text.get(..range.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        self.clauses.push(Clause {
            kind,
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..)?.chars().count() + 1,
            range,
            text,
            operands: Vec::new(),
            decides: !self.aside,
            negated: self.negated && kind == Kind::Condition,
        });
        Some(self.clauses.len() - 1)
    }

    fn wrap_clause(&mut self, term: &mut Tree<'s>, clause: Option<usize>) {
        if let Some(clause) = clause {
            let slot = self.slot(Slot::Clause(clause));
            *term = Term::Call(SEEN, vec![slot, mem::take(term)]);
        }
    }

    /// The text of an operand; none if its value is written there in full.
    fn shown(&self, term: &Tree<'s>) -> Option<String> {
        if is_constant(term) {
            return None;
        }
        self.places.of(term).and_then(|range| self.text.get(range)).map(str::to_owned)
    }

    /// What a condition judges.
    fn operand(&mut self, clause: usize, text: Option<String>, term: &mut Tree<'s>) {
        let (Some(clause_of), Some(text)) = (self.clauses.get_mut(clause), text) else { return };
        clause_of.operands.push(text);
        let slot = Slot::Operand(clause, clause_of.operands.len() - 1);
        let slot = self.slot(slot);
        *term = Term::Call(SEEN, vec![slot, mem::take(term)]);
    }

    fn slot(&mut self, slot: Slot) -> Tree<'s> {
        self.slots.push(slot);
        Term::Num(self.arena.alloc((self.slots.len() - 1).to_string()).as_str())
    }
}

fn kind_of(term: &Tree<'_>, what: For) -> Kind {
    match what {
        For::Truth if is_constant(term) || matches!(term, Term::Obj(_) | Term::Arr(_) | Term::Str(..)) => Kind::Result,
        For::Truth => Kind::Condition,
        For::Pipe | For::Value => Kind::Step,
    }
}
