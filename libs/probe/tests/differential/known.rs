//! The filters of the repository as trees, read with jaq's own parser.

use std::path::Path as File;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Opt, Part};

use super::tree::{HOLE, Style, Tree, lit, path, quoted, text};
use super::value::J;

/// A filter that ships, and the events of its examples.
pub struct Known {
    pub name: String,
    pub source: String,
    pub tree: Tree,
    pub events: Vec<J>,
}

/// All of them.
pub fn shipped() -> Vec<Known> {
    let folder = File::new(env!("CARGO_MANIFEST_DIR")).join("../../filters");
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|p| p.extension().is_some_and(|e| e == "jq"));
    names.sort();
    // A module has no examples beside it, and one that imports would need its module here.
    let known = names.iter().filter_map(|file| {
        let source = std::fs::read_to_string(file).unwrap();
        let examples = std::fs::read_to_string(file.with_extension("ndjson")).ok()?;
        let tree = tree(&source)?;
        let events = examples.lines().filter_map(|l| J::parse(l.as_bytes())?.get("event").cloned()).collect();
        Some(Known { name: file.file_name().unwrap().to_string_lossy().into_owned(), source, tree, events })
    });
    known.collect()
}

/// A program without imports as a tree.
pub fn tree(source: &str) -> Option<Tree> {
    jaq_core::load::parse(source, |p| p.term()).map(|t| term(&t))
}

/// A template under construction.
#[derive(Default)]
struct Made {
    template: String,
    kids: Vec<Tree>,
}

impl Made {
    fn say(&mut self, words: &str) -> &mut Self {
        self.template.push_str(words);
        self
    }

    fn kid(&mut self, kid: Tree) -> &mut Self {
        self.template.push(HOLE);
        self.kids.push(kid);
        self
    }

    fn done(&mut self) -> Tree {
        text(std::mem::take(&mut self.template), std::mem::take(&mut self.kids))
    }
}

fn term(t: &Term<&str>) -> Tree {
    let mut made = Made::default();
    match t {
        Term::Id => return path(Vec::new(), Style::Dots),
        Term::Recurse => return text("..", Vec::new()),
        Term::Num(n) => return lit(J::Num((*n).to_owned())),
        Term::Var(v) => return text((*v).to_owned(), Vec::new()),
        Term::Break(l) => return text(format!("break {l}"), Vec::new()),
        Term::Str(None, parts) if !parts.iter().any(|p| matches!(p, StrPart::Term(_))) => {
            return lit(J::Str(plain(parts)));
        }
        Term::Str(format, parts) => {
            made.say(format.unwrap_or("")).say(if format.is_some() { " \"" } else { "\"" });
            for part in parts {
                match part {
                    StrPart::Term(inner) => made.say("\\(").kid(term(inner)).say(")"),
                    StrPart::Str(s) => made.say(&inside(s)),
                    StrPart::Char(c) => made.say(&inside(&c.to_string())),
                };
            }
            made.say("\"");
        }
        Term::Arr(None) => return text("[]", Vec::new()),
        Term::Arr(Some(inner)) => {
            made.say("[").kid(term(inner)).say("]");
        }
        Term::Obj(members) => {
            made.say("{");
            for (i, (key, value)) in members.iter().enumerate() {
                made.say(if i > 0 { ", " } else { "" });
                match (key, value) {
                    (Term::Str(None, parts), Some(value)) if !parts.iter().any(|p| matches!(p, StrPart::Term(_))) => {
                        made.say(&format!("\"{}\": ", inside(&plain(parts)))).kid(term(value))
                    }
                    (key, Some(value)) => made.say("(").kid(term(key)).say("): ").kid(term(value)),
                    (key, None) => made.say(&term(key).program()),
                };
            }
            made.say("}");
        }
        Term::Neg(inner) => {
            made.say("-").kid(term(inner));
        }
        Term::BinOp(l, op, r) => {
            made.kid(term(l));
            match op {
                BinaryOp::Pipe(None) => made.say(" | "),
                BinaryOp::Pipe(Some(pattern)) => {
                    made.say(" as ");
                    in_pattern(pattern, &mut made);
                    made.say(" | ")
                }
                BinaryOp::Comma => made.say(", "),
                BinaryOp::Alt => made.say(" // "),
                BinaryOp::Or => made.say(" or "),
                BinaryOp::And => made.say(" and "),
                BinaryOp::Math(op) => made.say(&format!(" {} ", op.as_str())),
                BinaryOp::Cmp(op) => made.say(&format!(" {} ", op.as_str())),
                BinaryOp::Assign => made.say(" = "),
                BinaryOp::Update => made.say(" |= "),
                BinaryOp::UpdateMath(op) => made.say(&format!(" {}= ", op.as_str())),
                BinaryOp::UpdateAlt => made.say(" //= "),
            };
            made.kid(term(r));
        }
        Term::Label(name, inner) => {
            made.say(&format!("label {name} | ")).kid(term(inner));
        }
        Term::Fold(kind, over, pattern, args) => {
            made.say(kind).say(" ").kid(term(over)).say(" as ");
            in_pattern(pattern, &mut made);
            made.say(" (");
            arguments(args, &mut made);
        }
        Term::TryCatch(inner, None) => {
            made.kid(term(inner)).say("?");
        }
        Term::TryCatch(inner, Some(catch)) => {
            made.say("try ").kid(term(inner)).say(" catch ").kid(term(catch));
        }
        Term::IfThenElse(branches, otherwise) => {
            for (i, (condition, then)) in branches.iter().enumerate() {
                made.say(if i == 0 { "if " } else { " elif " }).kid(term(condition));
                made.say(" then ").kid(term(then));
            }
            if let Some(otherwise) = otherwise {
                made.say(" else ").kid(term(otherwise));
            }
            made.say(" end");
        }
        Term::Def(defs, inner) => {
            defs.iter().for_each(|def| definition(def, &mut made));
            made.kid(term(inner));
        }
        Term::Call(name, args) if args.is_empty() => return text((*name).to_owned(), Vec::new()),
        Term::Call(name, args) => {
            made.say(name).say("(");
            arguments(args, &mut made);
        }
        Term::Path(inner, parts) => return chain(inner, &parts.0),
    }
    made.done()
}

fn arguments(args: &[Term<&str>], made: &mut Made) {
    for (i, arg) in args.iter().enumerate() {
        made.say(if i > 0 { "; " } else { "" }).kid(term(arg));
    }
    made.say(")");
}

fn definition(def: &Def<&str>, made: &mut Made) {
    let args = if def.args.is_empty() { String::new() } else { format!("({})", def.args.join("; ")) };
    made.say(&format!("def {}{args}: ", def.name)).kid(term(&def.body)).say("; ");
}

fn chain(inner: &Term<&str>, parts: &[(Part<Term<&str>>, Opt)]) -> Tree {
    let keys = parts.iter().map(|(part, _)| match part {
        Part::Index(Term::Str(None, parts)) if !parts.iter().any(|p| matches!(p, StrPart::Term(_))) => {
            Some(plain(parts))
        }
        _ => None,
    });
    let keys = match (inner, keys.collect::<Option<Vec<_>>>()) {
        (Term::Id, Some(keys)) => Some(keys),
        _ => None,
    };
    let optional = parts.iter().filter(|(_, opt)| matches!(opt, Opt::Optional)).count();
    match keys {
        Some(keys) if optional == 0 => return path(keys, Style::Dots),
        Some(keys) if optional == parts.len() => return path(keys, Style::Optional),
        _ => {}
    }
    let mut made = Made::default();
    made.kid(term(inner));
    for (part, opt) in parts {
        match part {
            Part::Index(i) => made.say("[").kid(term(i)),
            Part::Range(None, None) => made.say("["),
            Part::Range(from, to) => {
                made.say("[");
                if let Some(from) = from {
                    made.kid(term(from));
                }
                made.say(":");
                if let Some(to) = to {
                    made.kid(term(to));
                }
                &mut made
            }
        };
        made.say(if matches!(opt, Opt::Optional) { "]?" } else { "]" });
    }
    made.done()
}

fn in_pattern(pattern: &Pattern<&str>, made: &mut Made) {
    match pattern {
        Pattern::Var(v) => {
            made.say(v);
        }
        Pattern::Arr(items) => {
            made.say("[");
            for (i, item) in items.iter().enumerate() {
                made.say(if i > 0 { ", " } else { "" });
                in_pattern(item, made);
            }
            made.say("]");
        }
        Pattern::Obj(members) => {
            made.say("{");
            for (i, (key, item)) in members.iter().enumerate() {
                made.say(if i > 0 { ", (" } else { "(" }).kid(term(key)).say("): ");
                in_pattern(item, made);
            }
            made.say("}");
        }
    }
}

fn plain(parts: &[StrPart<&str, Term<&str>>]) -> String {
    let part = |part: &StrPart<&str, Term<&str>>| match part {
        StrPart::Str(s) => (*s).to_owned(),
        StrPart::Char(c) => c.to_string(),
        StrPart::Term(_) => String::new(),
    };
    parts.iter().map(part).collect()
}

/// A text as it stands between quotes.
fn inside(s: &str) -> String {
    let mut out = String::new();
    quoted(s, &mut out);
    out[1..out.len() - 1].to_owned()
}
