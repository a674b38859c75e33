//! What a filter asks of an event: keys that are looked for, and what values are compared with, as far as the path of a
//! value can be followed. What cannot be followed is not seen.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::Cmp;
use jaq_core::path::{Opt, Part};

use super::At;
use super::dropped::{Own, is_own, names};
use crate::clauses::tree::children;
use crate::literals;
use crate::walk::DATA;

/// What a value is, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Event,
    /// `.type`.
    Type,
    Payload,
    /// `.payload.action`.
    Action,
    /// `.payload.columns`, or a row of a snapshot.
    Row,
    /// `.payload.snapshot`.
    Rows,
    /// A value of a row; without a name if it is any of them.
    Column(Option<String>),
    /// Another value of the event, or a text made of one.
    Value,
    /// Imported data, by its place.
    Data(usize),
    /// Its values one by one.
    Listed(usize),
    /// Anything.
    Other,
}

/// A constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Constant {
    Text(String),
    /// As it is written.
    Number(String),
    Truth(bool),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A key of a value that may be missing.
    Key(Shape, String),
    /// A comparison of a value with a constant.
    Compared(Shape, Cmp, Constant),
    /// `IN` of a value among imported data.
    Among(usize),
    /// A function of the event.
    Call(String),
    /// A function that tells kinds of values apart.
    Kind,
}

/// Something that is asked.
#[derive(Debug)]
pub(super) struct Seen<'s> {
    pub(super) what: What,
    /// Where.
    pub(super) place: &'s str,
    /// The filter matches only if it is true.
    pub(super) must: bool,
    /// It is hidden from what follows if it fails or is missing.
    pub(super) soft: bool,
}

/// What a filter needs of a term in order to match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// An output.
    Output,
    /// A true output.
    Truth,
}

impl Need {
    fn output(self) -> Self {
        if self == Self::Nothing { self } else { Self::Output }
    }
}

/// Everything that a program asks of an event.
pub(super) fn seen<'s>(program: &Term<&'s str>, at: &At<'s, '_>) -> Vec<Seen<'s>> {
    let mut own = Own::new();
    names(program, &mut own);
    let mut walk = Walk { at, own, vars: Vec::new(), soft: false, seen: Vec::new() };
    walk.term(program, &Shape::Event, Need::Truth);
    walk.seen
}

struct Walk<'s, 'a> {
    at: &'a At<'s, 'a>,
    /// Names of the filter's own functions.
    own: Own<'s>,
    vars: Vec<(&'s str, Shape)>,
    soft: bool,
    seen: Vec<Seen<'s>>,
}

impl<'s> Walk<'s, '_> {
    fn note(&mut self, what: What, place: &'s str, must: bool) {
        self.seen.push(Seen { what, place, must, soft: self.soft });
    }

    fn place(&self, term: &Term<&'s str>) -> &'s str {
        self.at.range(term).and_then(|range| self.at.text.get(range)).unwrap_or_default()
    }

    fn all<'t>(&mut self, terms: impl IntoIterator<Item = &'t Term<&'s str>>, input: &Shape)
    where
        's: 't,
    {
        for term in terms {
            self.term(term, input, Need::Nothing);
        }
    }

    /// What a term gives of such an input.
    fn term(&mut self, term: &Term<&'s str>, input: &Shape, need: Need) -> Shape {
        match term {
            Term::Id => input.clone(),
            Term::Var(name) => {
                self.vars.iter().rev().find(|(known, _)| known == name).map_or(Shape::Other, |(_, shape)| shape.clone())
            }
            Term::Str(_, parts) => {
                self.all(parts.iter().filter_map(|p| if let StrPart::Term(t) = p { Some(t) } else { None }), input);
                Shape::Value
            }
            Term::Obj(members) => {
                for (key, value) in members {
                    self.term(key, input, Need::Nothing);
                    match value {
                        Some(value) => drop(self.term(value, input, Need::Nothing)),
                        // `{path}` is `{path: .path}`.
                        None => self.key(input, key, Opt::Essential),
                    }
                }
                Shape::Other
            }
            Term::BinOp(l, op, r) => self.operation(term, (l, op, r), input, need),
            Term::TryCatch(inner, catch) => {
                let soft = std::mem::replace(&mut self.soft, true);
                let need = if catch.is_none() { need } else { Need::Nothing };
                let shape = self.term(inner, input, need);
                self.soft = soft;
                self.all(catch.as_deref(), &Shape::Other);
                shape
            }
            Term::IfThenElse(branches, otherwise) => {
                let none = match otherwise.as_deref() {
                    Some(Term::Call("empty", _)) => true,
                    Some(Term::Call("false" | "null", _)) => need == Need::Truth,
                    _ => false,
                };
                let single = if none && branches.len() == 1 { need } else { Need::Nothing };
                for (condition, then) in branches {
                    let truth = if single == Need::Nothing { single } else { Need::Truth };
                    self.term(condition, input, truth);
                    self.term(then, input, single);
                }
                self.all(otherwise.as_deref(), input);
                Shape::Other
            }
            Term::Def(defs, inner) => {
                // Of what they are asked is not known.
                self.all(defs.iter().map(|def| &def.body), &Shape::Other);
                self.term(inner, input, need)
            }
            Term::Label(_, inner) => self.term(inner, input, need),
            Term::Call(name, args) => self.call(term, name, args, input, need),
            Term::Path(inner, path) => {
                let mut shape = self.term(inner, input, need.output());
                for (part, opt) in &path.0 {
                    shape = self.step(&shape, part, *opt, input);
                }
                shape
            }
            Term::Fold(_, over, pattern, args) => {
                let each = self.term(over, input, Need::Nothing);
                let bound = self.bind(pattern, each);
                self.all(args, &Shape::Other);
                self.vars.truncate(bound);
                Shape::Other
            }
            term => {
                self.all(children(term), input);
                Shape::Other
            }
        }
    }

    fn operation(
        &mut self,
        whole: &Term<&'s str>,
        (l, op, r): (&Term<&'s str>, &BinaryOp<&'s str>, &Term<&'s str>),
        input: &Shape,
        need: Need,
    ) -> Shape {
        match op {
            BinaryOp::Pipe(None) => {
                let between = self.term(l, input, need.output());
                self.term(r, &between, need)
            }
            BinaryOp::Pipe(Some(pattern)) => {
                let value = match l {
                    Term::Call(DATA, args) => data(args),
                    l => self.term(l, input, need.output()),
                };
                let bound = self.bind(pattern, value);
                let shape = self.term(r, input, need);
                self.vars.truncate(bound);
                shape
            }
            BinaryOp::Cmp(op) => {
                let (left, right) = (self.term(l, input, Need::Nothing), self.term(r, input, Need::Nothing));
                let place = self.place(whole);
                let must = need == Need::Truth;
                match (constant(l), constant(r)) {
                    (None, Some(value)) => self.note(What::Compared(left, *op, value), place, must),
                    (Some(value), None) => self.note(What::Compared(right, turned(*op), value), place, must),
                    _ => {}
                }
                Shape::Other
            }
            BinaryOp::And => {
                let need = if need == Need::Truth { need } else { Need::Nothing };
                self.term(l, input, need);
                self.term(r, input, need);
                Shape::Other
            }
            BinaryOp::Alt => {
                let left = self.term(l, input, Need::Nothing);
                let right = self.term(r, input, Need::Nothing);
                let same = left == right || matches!(r, Term::Str(..));
                if same { left } else { Shape::Other }
            }
            BinaryOp::Comma => {
                let (left, right) = (self.term(l, input, Need::Nothing), self.term(r, input, Need::Nothing));
                if left == right { left } else { Shape::Other }
            }
            // What is written to need not be there.
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                self.term(r, &Shape::Other, Need::Nothing);
                Shape::Other
            }
            _ => {
                self.all([l, r], input);
                Shape::Other
            }
        }
    }

    fn bind(&mut self, pattern: &Pattern<&'s str>, value: Shape) -> usize {
        let bound = self.vars.len();
        match pattern {
            Pattern::Var(name) => self.vars.push((name, value)),
            Pattern::Arr(items) => {
                for item in items {
                    self.bind(item, Shape::Other);
                }
            }
            Pattern::Obj(members) => {
                for (key, item) in members {
                    if let Term::Var(name) = key {
                        self.vars.push((name, Shape::Other));
                    }
                    self.bind(item, Shape::Other);
                }
            }
        }
        bound
    }

    fn call(
        &mut self,
        whole: &Term<&'s str>,
        name: &'s str,
        args: &[Term<&'s str>],
        input: &Shape,
        need: Need,
    ) -> Shape {
        if is_own(name, &self.own) {
            self.all(args, &Shape::Other);
            return Shape::Other;
        }
        let truth = if need == Need::Nothing { need } else { Need::Truth };
        match (name, args) {
            ("select", [condition]) => {
                self.term(condition, input, truth);
                input.clone()
            }
            ("objects" | "values" | "arrays" | "strings" | "scalars" | "iterables", []) => input.clone(),
            ("text" | "line" | "ascii_downcase" | "ascii_upcase" | "tostring" | "basename" | "dirname", []) => {
                Shape::Value
            }
            ("first", [inner]) => self.term(inner, input, need),
            ("any" | "all", [.., condition]) => {
                let each = match args {
                    [over, _] => self.term(over, input, Need::Nothing),
                    _ => each(input),
                };
                let must = name == "any" && need == Need::Truth;
                self.term(condition, &each, if must { Need::Truth } else { Need::Nothing });
                Shape::Other
            }
            ("map", [inner]) => {
                let made = self.term(inner, &each(input), Need::Nothing);
                if made == Shape::Row { Shape::Rows } else { Shape::Other }
            }
            ("IN", [list]) => {
                self.among(whole, list, input, need);
                Shape::Other
            }
            ("column", [key]) => {
                self.note(What::Call(name.to_owned()), name, false);
                let Some((key, place)) = literals::text(key) else { return Shape::Column(None) };
                self.note(What::Key(Shape::Row, key.clone()), place.unwrap_or(name), false);
                Shape::Column(Some(key))
            }
            ("columns" | "rows", []) => {
                self.note(What::Call(name.to_owned()), name, false);
                Shape::Row
            }
            ("is_new" | "is_removed" | "is_first_run", []) => {
                self.note(What::Call(name.to_owned()), name, need == Need::Truth);
                Shape::Other
            }
            _ => {
                if matches!(name, "type" | "isnumber" | "isstring" | "numbers") {
                    self.note(What::Kind, name, false);
                }
                self.all(args, &Shape::Other);
                Shape::Other
            }
        }
    }

    /// `IN` of some constants, or of imported data.
    fn among(&mut self, whole: &Term<&'s str>, list: &Term<&'s str>, input: &Shape, need: Need) {
        let mut each = Vec::new();
        listed(list, &mut each);
        let single = each.len() == 1;
        for item in each {
            if let Some(value) = constant(item) {
                let place = self.place(whole);
                self.note(What::Compared(input.clone(), Cmp::Eq, value), place, single && need == Need::Truth);
            } else if let Shape::Listed(data) = self.term(item, &Shape::Other, Need::Nothing)
                && matches!(input, Shape::Type | Shape::Action | Shape::Column(_) | Shape::Value)
            {
                let place = self.place(item);
                self.note(What::Among(data), place, false);
            }
        }
    }

    fn step(&mut self, shape: &Shape, part: &Part<Term<&'s str>>, opt: Opt, input: &Shape) -> Shape {
        match part {
            Part::Index(key) => {
                if let Some((name, _)) = literals::text(key) {
                    self.key(shape, key, opt);
                    return below(shape, name);
                }
                self.term(key, input, Need::Nothing);
                if *shape == Shape::Rows { Shape::Row } else { Shape::Other }
            }
            Part::Range(None, None) => each(shape),
            Part::Range(..) => shape.clone(),
        }
    }

    /// That a key is looked for.
    fn key(&mut self, of: &Shape, key: &Term<&'s str>, opt: Opt) {
        if let Some((key, Some(place))) = literals::text(key)
            && matches!(of, Shape::Event | Shape::Payload | Shape::Row)
        {
            let soft = self.soft || matches!(opt, Opt::Optional);
            self.seen.push(Seen { what: What::Key(of.clone(), key), place, must: false, soft });
        }
    }
}

/// What a key leads to.
fn below(shape: &Shape, key: String) -> Shape {
    match (shape, key.as_str()) {
        (Shape::Event, "payload") => Shape::Payload,
        (Shape::Event, "type") => Shape::Type,
        (Shape::Payload, "action") => Shape::Action,
        (Shape::Payload, "columns") => Shape::Row,
        (Shape::Payload, "snapshot") => Shape::Rows,
        (Shape::Row, _) => Shape::Column(Some(key)),
        (Shape::Event | Shape::Payload | Shape::Value, _) => Shape::Value,
        _ => Shape::Other,
    }
}

/// What `.[]` gives.
fn each(shape: &Shape) -> Shape {
    match shape {
        Shape::Rows => Shape::Row,
        Shape::Row => Shape::Column(None),
        Shape::Data(place) => Shape::Listed(*place),
        _ => Shape::Other,
    }
}

fn data(args: &[Term<&str>]) -> Shape {
    match args {
        [Term::Num(place)] => place.parse().map_or(Shape::Other, Shape::Data),
        _ => Shape::Other,
    }
}

fn listed<'t, 's>(term: &'t Term<&'s str>, each: &mut Vec<&'t Term<&'s str>>) {
    match term {
        Term::BinOp(l, BinaryOp::Comma, r) => {
            listed(l, each);
            listed(r, each);
        }
        term => each.push(term),
    }
}

fn constant(term: &Term<&str>) -> Option<Constant> {
    match term {
        Term::Num(text) => Some(Constant::Number((*text).to_owned())),
        Term::Neg(inner) => match &**inner {
            Term::Num(text) => Some(Constant::Number(format!("-{text}"))),
            _ => None,
        },
        Term::Call(word @ ("true" | "false"), _) => Some(Constant::Truth(*word == "true")),
        term => literals::text(term).map(|(text, _)| Constant::Text(text)),
    }
}

fn turned(op: Cmp) -> Cmp {
    match op {
        Cmp::Lt => Cmp::Gt,
        Cmp::Le => Cmp::Ge,
        Cmp::Gt => Cmp::Lt,
        Cmp::Ge => Cmp::Le,
        Cmp::Eq | Cmp::Ne => op,
    }
}
