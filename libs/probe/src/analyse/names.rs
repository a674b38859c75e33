//! What the names in a filter mean: functions, their arguments, variables.

use std::collections::HashMap;
use std::rc::Rc;

use jaq_core::load::parse::{Def, Pattern as Binding, Term};

use super::{ANY, Analyst, Node, Reason};

/// Functions that call each other.
const CALLS_MAX: usize = 24;

/// The functions that every filter may call, those of modules included.
pub(crate) struct Definitions<'t> {
    all: Vec<&'t Def<&'t str>>,
    places: HashMap<(&'t str, usize), Vec<usize>>,
}

impl<'t> Definitions<'t> {
    /// In the order in which they are defined: each sees those before it.
    pub(crate) fn new(all: impl Iterator<Item = &'t Def<&'t str>>) -> Self {
        let all: Vec<&Def<&str>> = all.collect();
        let mut places: HashMap<_, Vec<usize>> = HashMap::new();
        for (i, def) in all.iter().enumerate() {
            places.entry((def.name, def.args.len())).or_default().push(i);
        }
        Self { all, places }
    }

    /// The last one of this name among the first `seen`, with its place.
    fn find(&self, name: &str, arity: usize, seen: usize) -> Option<(usize, &'t Def<&'t str>)> {
        let places = self.places.get(&(name, arity))?;
        let place = *places.iter().rev().find(|i| **i < seen)?;
        self.all.get(place).map(|def| (place, *def))
    }
}

/// What names mean at a place.
#[derive(Clone)]
pub(super) struct Names<'t> {
    /// How many of the shared definitions are seen.
    seen: usize,
    local: Option<Rc<Local<'t>>>,
}

struct Local<'t> {
    name: &'t str,
    meaning: Meaning<'t>,
    next: Names<'t>,
}

pub(super) enum Meaning<'t> {
    /// A function; it sees itself and what was before it.
    Def(&'t Def<&'t str>),
    /// The argument of a function, with the names where it stands.
    Argument(&'t Term<&'t str>, Names<'t>),
    Value(Node),
}

impl<'t> Names<'t> {
    /// Those of a whole filter.
    pub(super) fn shared() -> Self {
        Self { seen: usize::MAX, local: None }
    }

    pub(super) fn variable(&self, name: &str) -> Option<Node> {
        self.each().find_map(|local| match &local.meaning {
            Meaning::Value(value) if local.name == name => Some(value.clone()),
            _ => None,
        })
    }

    pub(super) fn with(&self, name: &'t str, meaning: Meaning<'t>) -> Self {
        Self { seen: self.seen, local: Some(Rc::new(Local { name, meaning, next: self.clone() })) }
    }

    fn each(&self) -> impl Iterator<Item = &Rc<Local<'t>>> {
        std::iter::successors(self.local.as_ref(), |local| local.next.local.as_ref())
    }
}

impl<'t> Analyst<'_, 't> {
    pub(super) fn call(&mut self, name: &'t str, args: &'t [Term<&'t str>], dot: &Node, names: &Names<'t>) -> Node {
        let local = names.each().find(|local| match &local.meaning {
            Meaning::Def(def) => local.name == name && def.args.len() == args.len(),
            Meaning::Argument(..) => local.name == name && args.is_empty(),
            Meaning::Value(_) => false,
        });
        if let Some(local) = local.cloned() {
            return match &local.meaning {
                Meaning::Argument(term, names) => self.term(term, dot, names),
                Meaning::Def(def) => {
                    let seen = Names { seen: names.seen, local: Some(local.clone()) };
                    self.inline(def, args, dot, names, seen)
                }
                Meaning::Value(_) => Node::NOTHING_KNOWN,
            };
        }
        if name == crate::walk::DATA {
            let place = args.first().and_then(|a| if let Term::Num(n) = a { n.parse().ok() } else { None });
            return match place.and_then(|place| (self.data)(place)) {
                Some(value) => Node::Literal(value),
                None => self.unknown(Reason::Data),
            };
        }
        if let Some(known) = self.known(name, args, dot, names) {
            return known;
        }
        match self.definitions.find(name, args.len(), names.seen) {
            Some((place, def)) => {
                // A definition sees itself and those before it.
                let seen = Names { seen: place + 1, local: None };
                self.inline(def, args, dot, names, seen)
            }
            None => self.made_of(dot, ANY, Reason::Function),
        }
    }

    /// The body of a function in place of its call; `body` is what names mean in it.
    fn inline(
        &mut self,
        def: &'t Def<&'t str>,
        args: &'t [Term<&'t str>],
        dot: &Node,
        names: &Names<'t>,
        body: Names<'t>,
    ) -> Node {
        if self.calls >= CALLS_MAX {
            return self.unknown(Reason::Recursion);
        }
        self.calls += 1;
        let outer = self.call;
        self.call = outer.or(self.at);
        let node = self.bound(def, &def.args, args, dot, names, body);
        self.call = outer;
        self.calls -= 1;
        node
    }

    /// Binds the arguments one after the other, then reads the body.
    fn bound(
        &mut self,
        def: &'t Def<&'t str>,
        params: &'t [&'t str],
        args: &'t [Term<&'t str>],
        dot: &Node,
        names: &Names<'t>,
        body: Names<'t>,
    ) -> Node {
        let (Some((param, params)), Some((arg, args))) = (params.split_first(), args.split_first()) else {
            return self.term(&def.body, dot, &body);
        };
        if param.starts_with('$') {
            let value = self.term(arg, dot, names);
            return self.pipe(value, &mut |s, value| {
                let body = body.with(param, Meaning::Value(value));
                s.bound(def, params, args, dot, names, body)
            });
        }
        let body = body.with(param, Meaning::Argument(arg, names.clone()));
        self.bound(def, params, args, dot, names, body)
    }

    /// What a pattern takes apart is not known.
    pub(super) fn bind(&mut self, pattern: &'t Binding<&'t str>, names: &mut Names<'t>) {
        match pattern {
            Binding::Var(name) => *names = names.with(name, Meaning::Value(self.unknown(Reason::Pattern))),
            Binding::Arr(items) => items.iter().for_each(|item| self.bind(item, names)),
            Binding::Obj(members) => {
                for (key, value) in members {
                    if let Term::Var(name) = key {
                        *names = names.with(name, Meaning::Value(self.unknown(Reason::Pattern)));
                    }
                    self.bind(value, names);
                }
            }
        }
    }
}
