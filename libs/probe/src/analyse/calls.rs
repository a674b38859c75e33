//! Functions whose meaning is known, so that their definitions need not be read.

use std::sync::Arc;

use jaq_core::load::parse::Term;
use jaq_core::ops::Cmp;
use jaq_core::path::Opt;

use super::names::Names;
use super::term::constants;
use super::{
    Analyst, ERROR, Literal, Making, Mask, NO, NONE, Node, Pattern, Reason, Set, Text, YES, between_quotes, kinds,
};

/// What a condition on a constant does when the constant is none.
const UNCLEAR: Mask = YES | NO | ERROR | NONE;

impl<'t> Analyst<'_, 't> {
    /// `None`: it is not one of these.
    pub(super) fn known(
        &mut self,
        name: &'t str,
        args: &'t [Term<&'t str>],
        dot: &Node,
        names: &Names<'t>,
    ) -> Option<Node> {
        let making = match (name, args) {
            ("type", []) => Some(Making::Type),
            ("ascii_downcase", []) => Some(Making::Lower),
            ("ascii_upcase", []) => Some(Making::Upper),
            ("tostring", []) => Some(Making::ToString),
            ("tonumber", []) => Some(Making::ToNumber),
            ("length", []) => Some(Making::Length),
            ("isboolean", []) => Some(Making::IsKind(kinds::BOOLEAN)),
            ("isnumber", []) => Some(Making::IsKind(kinds::NUMBER)),
            ("isstring", []) => Some(Making::IsKind(kinds::STRING)),
            ("isarray", []) => Some(Making::IsKind(kinds::ARRAY)),
            ("isobject", []) => Some(Making::IsKind(kinds::OBJECT)),
            _ => None,
        };
        if let Some(how) = making {
            return Some(self.pipe(dot.clone(), &mut |_, value| value.made(how)));
        }
        Some(match (name, args) {
            ("true", []) => Node::Literal(Literal::Bool(true)),
            ("false", []) => Node::FALSE,
            ("null", []) => Node::Literal(Literal::Null),
            ("not", []) => dot.clone().not(),
            ("empty", []) => Node::Unknown(NONE),
            ("error", []) => Node::Unknown(ERROR),
            ("error", [_]) => Node::Unknown(ERROR | NONE),
            ("select", [condition]) => {
                let condition = self.term(condition, dot, names);
                Node::When(Box::new(condition), Box::new(dot.clone()))
            }
            // Which of its outputs is the first is not looked at.
            ("first", [f]) => Node::First(Box::new(self.term(f, dot, names))),
            ("any", []) => self.any(dot, None, None, false, names),
            ("any", [condition]) => self.any(dot, None, Some(condition), false, names),
            ("any", [each, condition]) => self.any(dot, Some(each), Some(condition), false, names),
            ("all", []) => self.any(dot, None, None, true, names),
            ("all", [condition]) => self.any(dot, None, Some(condition), true, names),
            ("all", [each, condition]) => self.any(dot, Some(each), Some(condition), true, names),
            ("IN", [of]) => self.within(dot, of, names),
            ("IN", [from, of]) => {
                let from = self.term(from, dot, names);
                // Both are asked of the input of `IN`, not of what comes out of `from`.
                let of = self.term(of, dot, names);
                let found =
                    match constants(&of).filter(|all| !all.is_empty()).and_then(|all| Set::new(&all)).map(Arc::new) {
                        Some(set) => self.pipe(from, &mut |_, value| Node::In(Box::new(value), Arc::clone(&set))),
                        _ => self.crossing(from, |_| of.clone(), Cmp::Eq),
                    };
                Node::Any(Box::new(found))
            }
            ("startswith", [part]) => self.text(dot, part, names, |part| Text::Starts(part.into())),
            ("endswith", [part]) => self.text(dot, part, names, |part| Text::Ends(part.into())),
            ("test", [pattern]) => self.test(dot, pattern, None, names),
            ("test", [pattern, flags]) => self.test(dot, pattern, Some(flags), names),
            ("contains", [part]) => {
                self.with_literal(dot, part, names, |value, part| Some(Node::Contains(Box::new(value), part)))
            }
            ("index" | "rindex", [part]) => self.with_literal(dot, part, names, |value, part| match &part {
                Literal::Str(s) if s.is_empty() => None,
                Literal::Str(_) | Literal::Num(_) | Literal::Bool(_) | Literal::Null => {
                    Some(Node::Index(Box::new(value), part))
                }
                Literal::Arr(_) => None,
            }),
            ("has", [key]) => self.with_literal(dot, key, names, |value, key| match key {
                Literal::Str(key) => Some(Node::Has(Box::new(value), between_quotes(&key))),
                _ => None,
            }),
            _ => return None,
        })
    }

    /// `any` and `all`, which is not any that is not.
    fn any(
        &mut self,
        dot: &Node,
        each: Option<&'t Term<&'t str>>,
        condition: Option<&'t Term<&'t str>>,
        all: bool,
        names: &Names<'t>,
    ) -> Node {
        let stream = match each {
            Some(each) => self.term(each, dot, names),
            None => self.pipe(dot.clone(), &mut |s, value| s.each(value, Opt::Essential)),
        };
        let stream = self.pipe(stream, &mut |s, value| {
            let holds = match condition {
                Some(condition) => s.term(condition, &value, names),
                None => value,
            };
            if all { holds.not() } else { holds }
        });
        let any = Node::Any(Box::new(stream));
        if all { any.not() } else { any }
    }

    fn within(&mut self, dot: &Node, of: &'t Term<&'t str>, names: &Names<'t>) -> Node {
        self.pipe(dot.clone(), &mut |s, value| {
            let of = s.term(of, &value, names);
            s.equal_to(value, &of)
        })
    }

    /// Whether `value` equals an output of `of`.
    fn equal_to(&mut self, value: Node, of: &Node) -> Node {
        if let Some(set) = constants(of).and_then(|all| Set::new(&all)) {
            return Node::In(Box::new(value), Arc::new(set));
        }
        let each = self.pipe(of.clone(), &mut |_, one| Node::Compare(Box::new(value.clone()), Cmp::Eq, Box::new(one)));
        Node::Any(Box::new(each))
    }

    /// A condition on a value that takes a constant; `make` says which constants.
    fn with_literal(
        &mut self,
        dot: &Node,
        arg: &'t Term<&'t str>,
        names: &Names<'t>,
        make: impl Fn(Node, Literal) -> Option<Node>,
    ) -> Node {
        let arg = self.term(arg, dot, names);
        self.pipe(arg, &mut |s, arg| match arg {
            Node::Literal(arg) => s.pipe(dot.clone(), &mut |s, value| {
                make(value, arg.clone()).unwrap_or_else(|| s.no_more_than(UNCLEAR, Reason::Argument))
            }),
            _ => s.no_more_than(UNCLEAR, Reason::Argument),
        })
    }

    fn text(&mut self, dot: &Node, part: &'t Term<&'t str>, names: &Names<'t>, make: impl Fn(&str) -> Text) -> Node {
        self.with_literal(dot, part, names, |value, part| match part {
            Literal::Str(part) => Some(Node::Text(Box::new(value), make(&part))),
            _ => Some(Node::Unknown(ERROR)),
        })
    }

    fn test(
        &mut self,
        dot: &Node,
        pattern: &'t Term<&'t str>,
        flags: Option<&'t Term<&'t str>>,
        names: &Names<'t>,
    ) -> Node {
        let flags = flags.map_or(Node::Literal(Literal::Null), |flags| self.term(flags, dot, names));
        let pattern = self.term(pattern, dot, names);
        let (pattern, flags) = match (pattern, flags) {
            (Node::Literal(Literal::Str(pattern)), Node::Literal(Literal::Null)) => (pattern, "".into()),
            (Node::Literal(Literal::Str(pattern)), Node::Literal(Literal::Str(flags))) => (pattern, flags),
            _ => return self.no_more_than(UNCLEAR, Reason::Argument),
        };
        match self.pattern(&pattern, &flags) {
            Some(pattern) => {
                self.pipe(dot.clone(), &mut |_, value| Node::Text(Box::new(value), Text::Matches(Arc::clone(&pattern))))
            }
            None => self.no_more_than(UNCLEAR, Reason::Argument),
        }
    }

    fn pattern(&mut self, text: &str, flags: &str) -> Option<Arc<Pattern>> {
        self.patterns.get(text, flags)
    }
}
