//! From a syntax tree to a [`Node`].

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern as Binding, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::{Opt, Part};

use super::names::{Definitions, Meaning, Names};
use super::{ANY, CONTEXT, ERROR, Each, Literal, Mask, NO, NONE, Node, PathRef, Paths, Patterns, Reason, YES};
use crate::value::Num;

/// Parts of a syntax tree that are looked at for one filter, functions that it calls included.
const TERMS_MAX: usize = 4_000;
/// A value made of more parts is not carried along.
const CARRIED_MAX: usize = 48;
/// Constants that are treated one by one.
const SPREAD_MAX: usize = 16;
/// `.[]` within each other.
const EACH_MAX: u8 = 4;

/// Reads filters of one set.
pub(crate) struct Analyst<'a, 't> {
    pub(super) paths: &'a mut Paths,
    pub(super) patterns: &'a mut Patterns,
    pub(super) definitions: &'a Definitions<'t>,
    pub(super) data: &'a dyn Fn(usize) -> Option<Literal>,
    terms_left: usize,
    /// Constants of imported data that jq would go through one by one.
    constants: usize,
    pub(super) calls: usize,
    /// How many `.[]` are around.
    each: u8,
    /// The term that is looked at, and the call in the filter that led to it if it stands elsewhere.
    pub(super) at: Option<&'t Term<&'t str>>,
    pub(super) call: Option<&'t Term<&'t str>>,
    /// It is a part of an object that is built.
    shown: bool,
    /// Where a filter was not understood, and why.
    pub(crate) unclear: Vec<Unclear<'t>>,
    /// What is taken for a value of the event, though it is not understood.
    pub(crate) suppose: Option<&'a dyn Fn(&Unclear<'t>) -> bool>,
}

/// A part that is not understood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unclear<'t> {
    pub(crate) term: Option<&'t Term<&'t str>>,
    /// The call through which it is reached, if it is in a function.
    pub(crate) call: Option<&'t Term<&'t str>>,
    /// It is a part of an object, which is for people to read and seldom decides.
    pub(crate) shown: bool,
    pub(crate) reason: Reason,
}

impl PartialEq for Unclear<'_> {
    /// The same reason at the same place.
    fn eq(&self, other: &Self) -> bool {
        let same = |l: Option<&Term<&str>>, r: Option<&Term<&str>>| match (l, r) {
            (Some(l), Some(r)) => std::ptr::eq(l, r),
            (l, r) => l.is_none() && r.is_none(),
        };
        self.reason == other.reason && same(self.term, other.term) && same(self.call, other.call)
    }
}

impl<'a, 't> Analyst<'a, 't> {
    pub(crate) fn new(
        paths: &'a mut Paths,
        patterns: &'a mut Patterns,
        definitions: &'a Definitions<'t>,
        data: &'a dyn Fn(usize) -> Option<Literal>,
    ) -> Self {
        let (terms_left, constants, calls, each, unclear) = (TERMS_MAX, 0, 0, 0, Vec::new());
        let (at, call, shown, suppose) = (None, None, false, None);
        Self {
            paths,
            patterns,
            definitions,
            data,
            terms_left,
            constants,
            calls,
            each,
            at,
            call,
            shown,
            unclear,
            suppose,
        }
    }

    /// What a whole filter does with an event.
    pub(crate) fn filter(&mut self, term: &'t Term<&'t str>) -> Node {
        (self.terms_left, self.constants, self.calls, self.each) = (TERMS_MAX, 0, 0, 0);
        (self.at, self.call, self.shown) = (None, None, false);
        self.unclear.clear();
        self.term(term, &Node::EVENT, &Names::shared())
    }

    /// Terms of the last filter, a constant of imported data being one.
    pub(crate) fn terms(&self) -> usize {
        TERMS_MAX - self.terms_left + self.constants
    }

    /// Not understood: anything may happen.
    pub(super) fn unknown(&mut self, reason: Reason) -> Node {
        self.no_more_than(ANY, reason)
    }

    /// Of something that is not understood nothing more is said: the first place is the cause.
    pub(super) fn made_of(&mut self, value: &Node, mask: Mask, reason: Reason) -> Node {
        if value.is_unclear() { Node::Unknown(mask) } else { self.no_more_than(mask, reason) }
    }

    /// Not understood, but no more than this happens.
    pub(super) fn no_more_than(&mut self, mask: Mask, reason: Reason) -> Node {
        let unclear = Unclear { term: self.at, call: self.call, shown: self.shown, reason };
        if self.suppose.is_some_and(|suppose| suppose(&unclear)) {
            // A path that no filter can name.
            return self.paths.child(PathRef::EVENT, "\u{0}supposed", true).map_or(Node::NOTHING_KNOWN, Node::Path);
        }
        self.unclear.push(unclear);
        Node::Unknown(mask)
    }

    pub(super) fn term(&mut self, term: &'t Term<&'t str>, dot: &Node, names: &Names<'t>) -> Node {
        let outer = self.at.replace(term);
        let node = self.any_term(term, dot, names);
        self.at = outer;
        node
    }

    fn any_term(&mut self, term: &'t Term<&'t str>, dot: &Node, names: &Names<'t>) -> Node {
        if self.terms_left == 0 {
            return self.unknown(Reason::Long);
        }
        self.terms_left -= 1;
        match term {
            Term::Id => dot.clone(),
            Term::Num(text) => Node::Literal(Literal::number(text)),
            Term::Str(format, parts) => self.string(format.is_some(), parts, dot, names),
            Term::Arr(inner) => self.array(inner.as_deref(), dot, names),
            Term::Obj(members) => {
                let outer = std::mem::replace(&mut self.shown, true);
                let made = self.object(members, dot, names);
                self.shown = outer;
                made
            }
            Term::BinOp(l, op, r) => self.operation(l, op, r, dot, names),
            Term::Label(_, inner) => Node::Label(Box::new(self.term(inner, dot, names))),
            Term::Break(_) => Node::Unknown(ERROR),
            Term::TryCatch(inner, catch) => {
                let inner = self.term(inner, dot, names);
                let catch = catch.as_ref().map(|c| Box::new(self.term(c, &Node::NOTHING_KNOWN, names)));
                match (inner, catch) {
                    (Node::Path(path), None) => Node::Path(path.tried()),
                    (inner, None) if inner.bounds() & ERROR == 0 => inner,
                    // Nothing catches a limit that is exceeded, and whoever is not understood may do that.
                    (inner, catch) if inner.is_unclear() => {
                        let tried = Node::Try(Box::new(inner), catch);
                        Node::Then(Box::new(Node::Unknown(YES | ERROR)), Box::new(tried))
                    }
                    (inner, catch) => Node::Try(Box::new(inner), catch),
                }
            }
            Term::IfThenElse(branches, otherwise) => {
                let last = match otherwise {
                    Some(term) => self.term(term, dot, names),
                    None => dot.clone(),
                };
                branches.iter().rev().fold(last, |otherwise, (condition, then)| {
                    let condition = self.term(condition, dot, names);
                    let then = self.term(then, dot, names);
                    Node::If(Box::new(condition), Box::new(then), Box::new(otherwise))
                })
            }
            Term::Def(defs, inner) => {
                let names = defs.iter().fold(names.clone(), |names, def| names.with(def.name, Meaning::Def(def)));
                self.term(inner, dot, &names)
            }
            Term::Call(name, args) => self.call(name, args, dot, names),
            Term::Var(name) => {
                // Whatever binds a variable has said what is wrong with it.
                names.variable(name).unwrap_or(Node::NOTHING_KNOWN)
            }
            Term::Path(inner, path) => {
                let base = self.term(inner, dot, names);
                path.0.iter().fold(base, |base, (part, opt)| self.part(base, part, *opt, dot, names))
            }
            Term::Neg(inner) => match self.term(inner, dot, names) {
                Node::Literal(Literal::Num(n)) => Node::Literal(Literal::Num(n.negated())),
                value => self.made_of(&value, ANY, Reason::Operator),
            },
            Term::Recurse => self.unknown(Reason::Everywhere),
            Term::Fold(..) => self.unknown(Reason::Fold),
        }
    }

    fn string(
        &mut self,
        format: bool,
        parts: &'t [StrPart<&'t str, Term<&'t str>>],
        dot: &Node,
        names: &Names<'t>,
    ) -> Node {
        let mut text = String::new();
        let mut inner = Vec::new();
        for part in parts {
            match part {
                StrPart::Str(s) => text.push_str(s),
                StrPart::Char(c) => text.push(*c),
                StrPart::Term(term) => inner.push(self.term(term, dot, names)),
            }
        }
        if inner.is_empty() {
            return Node::Literal(Literal::Str(text.into()));
        }
        let mask = if format { YES | ERROR } else { YES };
        let made = match inner.iter().any(Node::is_unclear) {
            true => Node::Unknown(mask),
            false => self.no_more_than(mask, Reason::Text),
        };
        inner.into_iter().rev().fold(made, |made, part| crossed(part, made))
    }

    fn array(&mut self, inner: Option<&'t Term<&'t str>>, dot: &Node, names: &Names<'t>) -> Node {
        let Some(inner) = inner else { return Node::Literal(Literal::Arr(Vec::new().into())) };
        let inner = self.term(inner, dot, names);
        match constants(&inner) {
            Some(all) => Node::Literal(Literal::Arr(all.into())),
            None => self.made_of(&inner, YES | (inner.bounds() & ERROR), Reason::List),
        }
    }

    fn object(&mut self, members: &'t [(Term<&'t str>, Option<Term<&'t str>>)], dot: &Node, names: &Names<'t>) -> Node {
        let mut made = Node::Unknown(CONTEXT);
        for (key, value) in members.iter().rev() {
            let name = self.term(key, dot, names);
            let value = match (value, key) {
                (Some(value), _) => self.term(value, dot, names),
                // `{$x}`
                (None, Term::Var(_)) => Node::Literal(Literal::Null),
                (None, _) => match &name {
                    Node::Literal(Literal::Str(name)) => self.key(dot.clone(), name, Opt::Essential),
                    _ => Node::NOTHING_KNOWN,
                },
            };
            made = crossed(value, made);
            if !matches!((&name, key), (Node::Literal(Literal::Str(_)), _) | (_, Term::Var(_))) {
                made = after(Node::NOTHING_KNOWN, made);
            }
        }
        made
    }

    fn operation(
        &mut self,
        l: &'t Term<&'t str>,
        op: &'t BinaryOp<&'t str>,
        r: &'t Term<&'t str>,
        dot: &Node,
        names: &Names<'t>,
    ) -> Node {
        let both = |s: &mut Self| (Box::new(s.term(l, dot, names)), Box::new(s.term(r, dot, names)));
        match op {
            BinaryOp::Pipe(None) => {
                let left = self.term(l, dot, names);
                self.pipe(left, &mut |s, value| s.term(r, &value, names))
            }
            BinaryOp::Pipe(Some(Binding::Var(name))) => {
                let left = self.term(l, dot, names);
                self.pipe(left, &mut |s, value| s.term(r, dot, &names.with(name, Meaning::Value(value))))
            }
            BinaryOp::Pipe(Some(pattern)) => {
                let left = self.term(l, dot, names);
                let mut names = names.clone();
                self.bind(pattern, &mut names);
                let right = self.term(r, dot, &names);
                after(left, after(Node::NOTHING_KNOWN, right))
            }
            BinaryOp::Comma => {
                let (l, r) = both(self);
                Node::Both(l, r)
            }
            BinaryOp::Alt => {
                let (l, r) = both(self);
                Node::Else(l, r)
            }
            BinaryOp::Or => {
                let (l, r) = both(self);
                Node::Or(l, r)
            }
            BinaryOp::And => {
                let (l, r) = both(self);
                Node::And(l, r)
            }
            BinaryOp::Cmp(op) => {
                let left = self.term(l, dot, names);
                self.crossing(left, |s| s.term(r, dot, names), *op)
            }
            BinaryOp::Math(_) => self.unknown(Reason::Operator),
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                self.unknown(Reason::Change)
            }
        }
    }

    fn part(&mut self, base: Node, part: &'t Part<Term<&'t str>>, opt: Opt, dot: &Node, names: &Names<'t>) -> Node {
        match part {
            Part::Index(index) => match (self.term(index, dot, names), &base) {
                // A path fails where the path before its last key does: nothing else is to be asked first.
                (Node::Literal(Literal::Str(key)), Node::Path(_)) => self.key(base, &key, opt),
                (Node::Literal(Literal::Str(key)), _) => self.pipe(base, &mut |s, value| s.key(value, &key, opt)),
                // Of imported data, which is always an array.
                (Node::Literal(Literal::Num(Num::Int(place))), Node::Literal(Literal::Arr(all))) if place >= 0 => {
                    let item = usize::try_from(place).ok().and_then(|place| all.get(place));
                    Node::Literal(item.cloned().unwrap_or(Literal::Null))
                }
                (Node::Literal(Literal::Num(_)), base) => self.made_of(base, ANY, Reason::Number),
                (_, base) => self.made_of(base, ANY, Reason::Key),
            },
            Part::Range(None, None) => match base {
                Node::Path(_) => self.each(base, opt),
                base => self.pipe(base, &mut |s, value| s.each(value, opt)),
            },
            Part::Range(..) => self.made_of(&base, ANY, Reason::Slice),
        }
    }

    /// `value.key`.
    fn key(&mut self, value: Node, key: &str, opt: Opt) -> Node {
        let optional = matches!(opt, Opt::Optional);
        match value {
            Node::Path(path) => match self.paths.child(path, key, optional) {
                Some(path) => Node::Path(path),
                None => self.unknown(Reason::Paths),
            },
            Node::Literal(Literal::Null) => Node::Literal(Literal::Null),
            value => self.made_of(&value, ANY, Reason::KeyOf),
        }
    }

    /// `value[]`.
    pub(super) fn each(&mut self, value: Node, opt: Opt) -> Node {
        let optional = matches!(opt, Opt::Optional);
        match value {
            Node::Path(over) if self.each < EACH_MAX => {
                let level = self.each + 1;
                let each = Each { level, over, optional, arrays_only: false };
                Node::Each(each, Box::new(Node::Path(PathRef::of(level))))
            }
            Node::Literal(Literal::Arr(all)) => {
                self.constants = self.constants.saturating_add(all.len());
                Node::OneOf(all)
            }
            value => self.made_of(&value, ANY, Reason::Each),
        }
    }

    /// A comparison of each output on the left with each on the right, which is asked for anew.
    pub(super) fn crossing(&mut self, l: Node, mut r: impl FnMut(&mut Self) -> Node, op: Cmp) -> Node {
        let fails = l.bounds() & ERROR != 0;
        let mut empty = false;
        let compared = self.pipe(l, &mut |s, left| {
            let right = r(s);
            empty |= right.bounds() & NONE != 0;
            s.pipe(right, &mut |_, right| Node::Compare(Box::new(left.clone()), op, Box::new(right)))
        });
        if fails && empty { maybe_nothing(compared) } else { compared }
    }

    /// `l | f`, where `f` is told the value.
    pub(super) fn pipe(&mut self, l: Node, f: &mut dyn FnMut(&mut Self, Node) -> Node) -> Node {
        match l {
            Node::Both(a, b) => {
                let a = self.pipe(*a, f);
                Node::Both(Box::new(a), Box::new(self.pipe(*b, f)))
            }
            Node::OneOf(all) if (1..=SPREAD_MAX).contains(&all.len()) => {
                let mut each = all.iter().map(|l| Node::Literal(l.clone()));
                let Some(first) = each.next() else { return Node::Unknown(NONE) };
                let first = f(self, first);
                each.fold(first, |all, l| Node::Both(Box::new(all), Box::new(f(self, l))))
            }
            Node::If(c, t, e) => {
                let t = self.pipe(*t, f);
                Node::If(c, Box::new(t), Box::new(self.pipe(*e, f)))
            }
            Node::When(c, n) => Node::When(c, Box::new(self.pipe(*n, f))),
            Node::Then(l, n) => Node::Then(l, Box::new(self.pipe(*n, f))),
            // An error after the end makes no outputs either.
            Node::Label(n) => Node::Label(Box::new(self.pipe(*n, f))),
            Node::First(n) => {
                let mut always = true;
                let n = self.pipe(*n, &mut |s, value| {
                    let r = f(s, value);
                    always &= r.bounds() & NONE == 0;
                    r
                });
                // The first value may be the one of which nothing comes.
                if always { Node::First(Box::new(n)) } else { Node::Label(Box::new(n)) }
            }
            Node::Each(each, n) => {
                self.each += 1;
                let n = self.pipe(*n, f);
                self.each -= 1;
                Node::Each(each, Box::new(n))
            }
            l if l.is_single() && l.size() <= CARRIED_MAX => {
                let r = f(self, l.clone());
                after(l, r)
            }
            l => {
                let reason = if let Node::Else(..) = l { Reason::Choice } else { Reason::Values };
                let value = self.made_of(&l, ANY, reason);
                let r = f(self, value);
                Node::Then(Box::new(l), Box::new(r))
            }
        }
    }
}

/// `l` for its errors and emptiness, then `r`.
fn after(l: Node, r: Node) -> Node {
    if l.bounds() & (ERROR | NONE) == 0 && l.is_single() { r } else { Node::Then(Box::new(l), Box::new(r)) }
}

/// `l`, then `r`, which is asked for even if `l` fails: of operators, and of the members of an object.
fn crossed(l: Node, r: Node) -> Node {
    let mixed = l.bounds() & ERROR != 0 && r.bounds() & NONE != 0;
    let both = after(l, r);
    if mixed { maybe_nothing(both) } else { both }
}

/// An error that has nothing beside it to be combined with is none.
fn maybe_nothing(node: Node) -> Node {
    Node::Then(Box::new(Node::Unknown(YES | NONE)), Box::new(node))
}

/// The constants that a stream is made of, if it is.
pub(super) fn constants(node: &Node) -> Option<Vec<Literal>> {
    match node {
        Node::Literal(l) => Some(vec![l.clone()]),
        Node::OneOf(all) => Some(all.to_vec()),
        Node::Both(l, r) => {
            let mut all = constants(l)?;
            all.extend(constants(r)?);
            Some(all)
        }
        _ => None,
    }
}

const _: () = assert!(ANY == YES | NO | ERROR | NONE | CONTEXT);
