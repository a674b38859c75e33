//! A walk over a filter's syntax tree, before it is compiled.
//!
//! It gives names of imported modules their places in the one program, makes `//` hide errors on its left and a
//! parameter `$x` a function `x` as jq does, judges patterns, networks, versions and times that are literals, and finds
//! every name that means nothing: what passes here compiles.

use std::mem;

use jaq_core::compile::Undefined;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::Part;

use crate::literals;
use crate::regex::{self, Flags};

/// The native that gives imported data; no program can spell it.
pub(crate) const DATA: &str = "!data";

/// A function that a file can call: name, arity, name in the program.
pub(crate) type Known<'s> = (&'s str, usize, &'s str);

/// What a file's terms may refer to.
#[derive(Default)]
pub(crate) struct Names<'s> {
    /// Of included modules and of the file itself; the last one wins.
    pub(crate) plain: Vec<Known<'s>>,
    /// Of modules imported under a name.
    pub(crate) prefixed: Vec<(&'s str, Vec<Known<'s>>)>,
}

struct Local<'s> {
    name: &'s str,
    arity: usize,
    called: bool,
}

pub(crate) struct Walk<'s, 'n> {
    pub(crate) names: &'n Names<'s>,
    /// Definitions and function arguments in scope.
    local: Vec<Local<'s>>,
    /// Variables in scope, with their `$`.
    pub(crate) vars: Vec<&'s str>,
    labels: Vec<&'s str>,
    /// Place and text of what is wrong.
    pub(crate) errors: Vec<(&'s str, String)>,
    /// Walking the left side of an assignment, where `try` cannot stand.
    target: bool,
}

impl<'s, 'n> Walk<'s, 'n> {
    pub(crate) fn new(names: &'n Names<'s>) -> Self {
        Self { names, local: Vec::new(), vars: Vec::new(), labels: Vec::new(), errors: Vec::new(), target: false }
    }

    pub(crate) fn def(&mut self, def: &mut Def<&'s str>) {
        self.local.push(Local { name: def.name, arity: def.args.len(), called: false });
        self.body(def);
    }

    /// `def f($x): …` is `def f(x): x as $x | …`, where the body calls `x`.
    fn body(&mut self, def: &mut Def<&'s str>) {
        let (outer, vars) = (self.local.len(), self.vars.len());
        let params = def.args.iter().map(|a| a.strip_prefix('$').unwrap_or(a));
        self.local.extend(params.map(|name| Local { name, arity: 0, called: false }));
        self.vars.extend(def.args.iter().filter(|a| a.starts_with('$')));
        let target = mem::replace(&mut self.target, false);
        self.term(&mut def.body);
        self.target = target;
        self.vars.truncate(vars);
        for (param, local) in def.args.iter_mut().zip(self.local.drain(outer..)).rev() {
            if local.called && param.starts_with('$') {
                let (var, body) = (mem::replace(param, local.name), mem::take(&mut def.body));
                let argument = Box::new(Term::Call(local.name, Vec::new()));
                def.body = Term::BinOp(argument, BinaryOp::Pipe(Some(Pattern::Var(var))), Box::new(body));
            }
        }
    }

    fn all<'t>(&mut self, terms: impl IntoIterator<Item = &'t mut Term<&'s str>>)
    where
        's: 't,
    {
        terms.into_iter().for_each(|t| self.term(t));
    }

    pub(crate) fn term(&mut self, term: &mut Term<&'s str>) {
        match term {
            Term::Id | Term::Recurse | Term::Num(_) => {}
            Term::Var(name) => self.known(name, &Undefined::Var, self.vars.contains(name)),
            Term::Break(name) => self.known(name, &Undefined::Label, self.labels.contains(name)),
            Term::Str(format, parts) => {
                if let Some(name) = format {
                    self.known(name, &Undefined::Filter(0), crate::compile::is_known(name, 0));
                }
                self.parts(parts);
            }
            Term::Arr(inner) => self.all(inner.as_deref_mut()),
            Term::Obj(members) => {
                for (key, value) in members {
                    self.term(key);
                    self.all(value);
                }
            }
            Term::Neg(inner) => self.term(inner),
            Term::Label(name, inner) => {
                self.labels.push(*name);
                self.term(inner);
                self.labels.pop();
            }
            Term::BinOp(l, op, r) => self.operation(l, op, r),
            Term::Fold(name, over, pattern, args) => {
                let arity = args.len();
                let fits = matches!((*name, arity), ("reduce", 2) | ("foreach", 2 | 3));
                self.known(name, &Undefined::Filter(arity), fits);
                self.term(over);
                self.pattern(pattern);
                // What it begins with is calculated before anything is bound.
                if let Some((init, rest)) = args.split_first_mut() {
                    self.term(init);
                    self.within(pattern, |walk| walk.all(rest));
                }
            }
            Term::TryCatch(inner, catch) => {
                self.term(inner);
                self.all(catch.as_deref_mut());
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition);
                    self.term(then);
                }
                self.all(otherwise.as_deref_mut());
            }
            Term::Def(defs, inner) => {
                let outer = self.local.len();
                defs.iter_mut().for_each(|def| self.def(def));
                self.term(inner);
                self.local.truncate(outer);
            }
            Term::Call(name, args) => {
                self.call(name, args);
                let target = mem::replace(&mut self.target, false);
                self.all(args);
                self.target = target;
            }
            Term::Path(inner, path) => {
                self.term(inner);
                for (part, _) in &mut path.0 {
                    match part {
                        Part::Index(i) => self.term(i),
                        Part::Range(from, to) => {
                            self.all(from);
                            self.all(to);
                        }
                    }
                }
            }
        }
    }

    fn parts(&mut self, parts: &mut [StrPart<&'s str, Term<&'s str>>]) {
        for part in parts {
            if let StrPart::Term(inner) = part {
                self.term(inner);
            }
        }
    }

    fn pattern(&mut self, pattern: &mut Pattern<&'s str>) {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(items) => items.iter_mut().for_each(|p| self.pattern(p)),
            Pattern::Obj(members) => {
                for (key, value) in members {
                    self.term(key);
                    self.pattern(value);
                }
            }
        }
    }

    /// Walks where the variables of `pattern` are bound.
    fn within(&mut self, pattern: &Pattern<&'s str>, walk: impl FnOnce(&mut Self)) {
        let outer = self.vars.len();
        bound(pattern, &mut self.vars);
        walk(self);
        self.vars.truncate(outer);
    }

    fn known(&mut self, name: &'s str, what: &Undefined, known: bool) {
        if !known {
            self.errors.push((name, crate::compile::undefined(name, what)));
        }
    }

    fn operation(&mut self, l: &mut Term<&'s str>, op: &mut BinaryOp<&'s str>, r: &mut Term<&'s str>) {
        let assigns = matches!(op, BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt);
        let target = self.target;
        self.target = target || assigns;
        self.term(l);
        self.target = target;
        if let BinaryOp::Pipe(Some(pattern)) = op {
            self.pattern(pattern);
            self.within(pattern, |walk| walk.term(r));
        } else {
            self.term(r);
        }
        if matches!(op, BinaryOp::Alt) && !self.target {
            let inner = mem::take(l);
            *l = Term::TryCatch(Box::new(inner), None);
        }
    }

    fn call(&mut self, name: &mut &'s str, args: &[Term<&'s str>]) {
        // What no program can spell was put there by the engine.
        if name.starts_with('!') {
            return;
        }
        if let Some(local) = self.local.iter_mut().rfind(|l| l.name == *name && l.arity == args.len()) {
            local.called = true;
            return;
        }
        let find = |known: &[Known<'s>], name: &str| {
            known.iter().rev().find(|(n, arity, _)| *n == name && *arity == args.len()).map(|(_, _, full)| *full)
        };
        if let Some((module, function)) = name.split_once("::") {
            match self.names.prefixed.iter().rev().find(|(prefix, _)| *prefix == module) {
                None => self.errors.push((*name, format!("unknown module `{module}`"))),
                Some((_, known)) => match find(known, function) {
                    Some(full) => *name = full,
                    None => {
                        let text = format!("module `{module}` has no function `{function}/{}`", args.len());
                        self.errors.push((*name, text));
                    }
                },
            }
        } else if let Some(full) = find(&self.names.plain, name) {
            *name = full;
        } else if *name == crate::clauses::SEEN {
            // No program can spell it: it was wrapped around a clause.
        } else if crate::compile::is_known(name, args.len()) {
            self.regex(name, args);
            let wrong = literals::wrong(name, args);
            self.errors.extend(wrong.into_iter().map(|(place, text)| (place.unwrap_or(name), text)));
        } else {
            self.known(name, &Undefined::Filter(args.len()), false);
        }
    }

    /// A literal pattern that will never compile is an error now, not a filter that never matches.
    fn regex(&mut self, name: &'s str, args: &[Term<&'s str>]) {
        let flags = match (name, args.len()) {
            ("test" | "match" | "capture" | "scan" | "splits", 1) | ("sub" | "gsub", 2) => None,
            ("test" | "match" | "capture" | "scan" | "splits" | "split", 2) => args.get(1),
            ("sub" | "gsub", 3) => args.get(2),
            _ => return,
        };
        let Some((pattern, place)) = args.first().and_then(literals::text) else { return };
        let flags = match flags.map(literals::text) {
            None => String::new(),
            Some(Some((flags, _))) => flags,
            // Flags that are calculated: the pattern is judged without them.
            Some(None) => String::new(),
        };
        let judged = Flags::parse(&flags).and_then(|flags| regex::judge(&pattern, flags));
        if let Err(text) = judged {
            self.errors.push((place.unwrap_or(name), text));
        }
    }
}

/// The variables of a pattern.
fn bound<'s>(pattern: &Pattern<&'s str>, vars: &mut Vec<&'s str>) {
    match pattern {
        Pattern::Var(name) => vars.push(*name),
        Pattern::Arr(items) => items.iter().for_each(|p| bound(p, vars)),
        Pattern::Obj(members) => members.iter().for_each(|(_, p)| bound(p, vars)),
    }
}
