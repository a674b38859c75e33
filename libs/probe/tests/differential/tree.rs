//! Filters as trees that can be grown, changed and shrunk without knowing much of the language: a template with holes,
//! or one of the leaves that matter to an analysis.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::value::J;

/// A hole in a template; no jq program has that sign outside of strings.
pub const HOLE: char = '§';

#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Program text; each [`HOLE`] stands for a child.
    Text(Cow<'static, str>),
    /// A literal.
    Lit(J),
    /// A path of keys from `.`, and the way it is written.
    Path(Vec<String>, Style),
}

/// Ways to write a path; all of them mean nearly the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    Dots,
    Brackets,
    Optional,
    LastOptional,
    FirstOptional,
    Pipes,
    GetPath,
    Strings,
}

pub const STYLES: [Style; 14] = [
    Style::Dots,
    Style::Dots,
    Style::Dots,
    Style::Dots,
    Style::Dots,
    Style::Dots,
    Style::Optional,
    Style::LastOptional,
    Style::LastOptional,
    Style::FirstOptional,
    Style::Brackets,
    Style::Pipes,
    Style::GetPath,
    Style::Strings,
];

#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    pub form: Form,
    pub kids: Vec<Tree>,
}

pub fn text(template: impl Into<Cow<'static, str>>, kids: Vec<Tree>) -> Tree {
    let template = template.into();
    debug_assert_eq!(template.matches(HOLE).count(), kids.len(), "{template}");
    Tree { form: Form::Text(template), kids }
}

pub fn lit(value: J) -> Tree {
    Tree { form: Form::Lit(value), kids: Vec::new() }
}

pub fn string(s: &str) -> Tree {
    lit(J::Str(s.to_owned()))
}

pub fn path(keys: Vec<String>, style: Style) -> Tree {
    Tree { form: Form::Path(keys, style), kids: Vec::new() }
}

impl Tree {
    /// The program.
    pub fn program(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }

    fn print(&self, out: &mut String) {
        match &self.form {
            Form::Lit(value) => literal(value, out),
            Form::Path(keys, style) => print_path(keys, *style, out),
            Form::Text(template) => {
                let mut kids = self.kids.iter();
                for c in template.chars() {
                    match (c, c == HOLE) {
                        (_, true) => kids.next().unwrap().print_inner(out),
                        (c, false) => out.push(c),
                    }
                }
            }
        }
    }

    fn print_inner(&self, out: &mut String) {
        let mut inner = String::new();
        self.print(&mut inner);
        let plain = match &self.form {
            Form::Lit(J::Num(text)) => !text.starts_with('-'),
            Form::Lit(_) => true,
            Form::Path(_, style) => *style != Style::Pipes,
            Form::Text(t) => {
                self.kids.is_empty() && t.chars().all(|c| c.is_ascii_alphanumeric() || c == '$' || c == '_') || t == "."
            }
        };
        if plain {
            out.push_str(&inner);
        } else {
            let _ = write!(out, "({inner})");
        }
    }

    /// How many nodes it has.
    pub fn count(&self) -> usize {
        1 + self.kids.iter().map(Tree::count).sum::<usize>()
    }

    /// The node that is the `n`th, itself being 0.
    pub fn nth(&mut self, n: usize) -> Option<&mut Tree> {
        if n == 0 {
            return Some(self);
        }
        let mut left = n - 1;
        for kid in &mut self.kids {
            let count = kid.count();
            if left < count {
                return kid.nth(left);
            }
            left -= count;
        }
        None
    }

    /// Calls `f` for every node.
    pub fn each<'t>(&'t self, f: &mut dyn FnMut(&'t Tree)) {
        f(self);
        self.kids.iter().for_each(|kid| kid.each(f));
    }

    /// Places beside literals: what an event should say so that the filter has something to decide.
    pub fn meetings(&self) -> Vec<(Vec<String>, J)> {
        let mut found = Vec::new();
        self.each(&mut |node| {
            let (mut paths, mut literals) = (Vec::new(), Vec::new());
            let near = node.kids.iter().chain(node.kids.iter().flat_map(|k| &k.kids));
            near.for_each(|kid| match &kid.form {
                Form::Path(keys, _) if !keys.is_empty() => paths.push(keys),
                Form::Lit(value) => literals.push(value),
                _ => {}
            });
            for keys in paths.into_iter().take(2) {
                found.extend(literals.iter().take(3).map(|value| (keys.clone(), (*value).clone())));
            }
        });
        found
    }

    /// Every literal.
    pub fn literals(&self) -> Vec<&J> {
        let mut all = Vec::new();
        self.each(&mut |node| {
            if let Form::Lit(value) = &node.form {
                all.push(value);
            }
        });
        all
    }
}

/// A literal as jq reads it. What has no other way is escaped; a filter may as well hold the character itself.
fn literal(value: &J, out: &mut String) {
    match value {
        J::Str(s) => quoted(s, out),
        J::Arr(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                literal(item, out);
            }
            out.push(']');
        }
        J::Obj(members) => {
            out.push('{');
            for (i, (key, item)) in members.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                quoted(key, out);
                out.push_str(": ");
                // `{a: -1}` is no program of every jq.
                if matches!(item, J::Num(n) if n.starts_with('-')) {
                    out.push('(');
                    literal(item, out);
                    out.push(')');
                } else {
                    literal(item, out);
                }
            }
            out.push('}');
        }
        other => out.push_str(&other.text()),
    }
}

/// A string with escapes that jq and jaq know.
pub fn quoted(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{e9}' => out.push_str("\\u00e9"),
            HOLE => out.push_str("\\u00a7"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn is_word(key: &str) -> bool {
    let start = key.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    start && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn print_path(keys: &[String], style: Style, out: &mut String) {
    if keys.is_empty() {
        out.push('.');
        return;
    }
    if style == Style::GetPath {
        out.push_str("getpath(");
        literal(&J::Arr(keys.iter().map(|k| J::Str(k.clone())).collect()), out);
        out.push(')');
        return;
    }
    for (i, key) in keys.iter().enumerate() {
        let last = i + 1 == keys.len();
        if style == Style::Pipes && i > 0 {
            out.push_str(" | ");
        }
        let begins = i == 0 || style == Style::Pipes;
        match style {
            Style::Brackets => {
                out.push_str(if begins { ".[" } else { "[" });
                quoted(key, out);
                out.push(']');
            }
            Style::Strings => {
                out.push('.');
                quoted(key, out);
            }
            _ if is_word(key) => {
                out.push('.');
                out.push_str(key);
            }
            _ => {
                out.push_str(if begins { ".[" } else { "[" });
                quoted(key, out);
                out.push(']');
            }
        }
        let optional = match style {
            Style::Optional => true,
            Style::LastOptional => last,
            Style::FirstOptional => i == 0,
            _ => false,
        };
        if optional {
            out.push('?');
        }
    }
}
