//! From a difference in a crowd to one that a person can read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use probe::{Scope, Scratch};

use super::check::{self, Build, Said, Tally};
use super::naive::Naive;
use super::stock::Plan;
use super::tree::{Form, Tree, string, text};
use super::value::J;

/// Probes and a line about which the engine and the naive way differ.
#[derive(Clone, Debug)]
pub struct Case {
    pub plans: Vec<Plan>,
    /// Lines that the engine has to see before.
    pub before: Vec<Vec<u8>>,
    pub line: Vec<u8>,
    pub asked: Asked,
    pub off: Vec<usize>,
    /// What each of them says.
    pub text: String,
}

/// How the engine was asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked {
    /// About a line in canonical form.
    Canonical,
    /// About a line as it came.
    AsItCame,
    /// Only which probes match.
    Which,
}

/// More tries are not made.
const TRIES: usize = 4000;

impl Case {
    /// The same with what each says now, if they still differ. The engine is a new one.
    fn differs(mut self, build: Build) -> Option<Self> {
        let naives: Vec<Naive> = self.plans.iter().map(Plan::naive).collect::<Option<_>>()?;
        let engine = catch_unwind(AssertUnwindSafe(|| build(self.plans.iter().map(Plan::spec).collect()))).ok()?;
        let scratch = &mut Scratch::default();
        let before = self.before.iter().chain([&self.line]).map(Vec::as_slice).collect::<Vec<_>>();
        let mut ask = |carried| engine.ask(&before, &self.off, carried, scratch).pop();
        let judge = |said: &Said| {
            let refs: Vec<&Naive> = naives.iter().collect();
            check::judge(said, &refs, &self.line, &self.off, &mut Tally::default()).err()
        };
        self.text = match self.asked {
            Asked::Canonical => judge(&ask(true)?)?,
            Asked::AsItCame => judge(&engine.ask_any(&self.line, &self.off, scratch))?,
            Asked::Which => check::same_probes(&ask(true)?, &ask(false)?).err()?,
        };
        Some(self)
    }

    /// Something smaller that still differs. A difference that a new engine does not show stays as it is.
    pub fn shrunk(self, build: Build) -> Self {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let alone = Self { before: Vec::new(), ..self.clone() }.differs(build);
        let small = match alone.or_else(|| self.clone().differs(build)) {
            Some(case) => case.minimal(build),
            None => Self { text: format!("{}\n(a new engine says nothing of the kind)", self.text), ..self },
        };
        std::panic::set_hook(hook);
        small
    }

    fn minimal(mut self, build: Build) -> Self {
        let mut tries = 0;
        loop {
            let mut better = None;
            for smaller in self.smaller() {
                tries += 1;
                better = smaller.differs(build);
                if better.is_some() || tries > TRIES {
                    break;
                }
            }
            match better {
                Some(case) => self = case,
                None => return self,
            }
        }
    }

    /// Smaller cases, the boldest first.
    fn smaller(&self) -> impl Iterator<Item = Self> {
        let with = |change: &dyn Fn(&mut Self)| {
            let mut case = self.clone();
            change(&mut case);
            case
        };
        let mut all = Vec::new();
        let n = self.plans.len();
        if n > 1 {
            all.extend(
                (0..n.min(400)).map(|i| with(&|c| (c.plans, c.off) = (vec![self.plans[i].clone()], Vec::new()))),
            );
            all.push(with(&|c| (c.plans, c.off) = (self.plans[..n / 2].to_vec(), Vec::new())));
            all.push(with(&|c| (c.plans, c.off) = (self.plans[n / 2..].to_vec(), Vec::new())));
            // Of a few, each may be left out; of those that are off, places would shift.
            all.extend(
                (0..if n <= 20 && self.off.is_empty() { n } else { 0 }).map(|i| with(&|c| drop(c.plans.remove(i)))),
            );
        } else {
            all.extend(self.simpler_probe().into_iter().map(|plan| with(&|c| c.plans[0] = plan.clone())));
        }
        let n = self.before.len();
        if n > 0 {
            all.push(with(&|c| c.before.truncate(n / 2)));
            all.push(with(&|c| drop(c.before.drain(..n.div_ceil(2)))));
        }
        if let Some(event) = J::parse(&self.line) {
            let lines = simpler_values(&event).into_iter().map(|e| e.text().into_bytes()).filter(|l| *l != self.line);
            all.extend(lines.map(|line| with(&|c| c.line.clone_from(&line))));
        }
        all.into_iter()
    }

    fn simpler_probe(&self) -> Vec<Plan> {
        let plan = &self.plans[0];
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Plan)| {
            let mut new = plan.clone();
            change(&mut new);
            if new != *plan {
                all.push(new);
            }
        };
        with(&|p| p.until = None);
        with(&|p| p.rest.by = None);
        with(&|p| p.rest.scope = Scope::default());
        with(&|p| (p.rest.query_name, p.rest.first_run) = (None, false));
        with(&|p| p.rest.first_run = false);
        if let Some(until) = &plan.until {
            with(&|p| (p.tree, p.until) = (until.clone(), None));
            simpler_trees(until).into_iter().for_each(|t| with(&|p| p.until = Some(t.clone())));
        }
        simpler_trees(&plan.tree).into_iter().for_each(|t| with(&|p| p.tree = t.clone()));
        all
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for plan in self.plans.iter().take(5) {
            let spec = plan.spec();
            writeln!(f, "{}: {}", spec.name, spec.filter.text)?;
            let until = spec.until.as_ref().map(|u| &u.text);
            let rest = (until, &spec.by, &spec.query_name, spec.first_run);
            if rest != (None, &None, &None, false) || !spec.scope.is_empty() {
                writeln!(
                    f,
                    "    until={:?} by={:?} query={:?} first_run={} {:?}",
                    rest.0, rest.1, rest.2, rest.3, spec.scope
                )?;
            }
        }
        if self.plans.len() > 5 {
            writeln!(f, "and {} more", self.plans.len() - 5)?;
        }
        let line = String::from_utf8_lossy(&self.line);
        let shown: String = line.chars().take(4000).collect();
        writeln!(f, "line: {shown}{}", if shown.len() < line.len() { "…" } else { "" })?;
        if !self.before.is_empty() {
            writeln!(f, "after {} other lines", self.before.len())?;
        }
        if !self.off.is_empty() {
            writeln!(f, "off: {:?}", self.off)?;
        }
        let text: String = self.text.chars().take(4000).collect();
        write!(f, "asked: {:?}\n{text}{}", self.asked, if text.len() < self.text.len() { "…" } else { "" })
    }
}

/// The tree with one node made simpler, outer nodes first.
pub fn simpler_trees(tree: &Tree) -> Vec<Tree> {
    let mut all = Vec::new();
    for n in 0..tree.count() {
        let mut probe = tree.clone();
        let Some(node) = probe.nth(n) else { continue };
        let mut new: Vec<Tree> = node.kids.clone();
        if !node.kids.is_empty() {
            new.extend(["true", "false", "null"].map(|word| text(word, Vec::new())));
        }
        match &node.form {
            Form::Lit(J::Str(s)) if !s.is_empty() => {
                let half = s.floor_char_boundary(s.len() / 2);
                new.extend([string(""), string("a"), string(&s[..half]), string(&s[half..])]);
                let last = s.char_indices().last().map_or(0, |(at, _)| at);
                new.push(string(&s[..last]));
            }
            Form::Lit(J::Arr(_) | J::Obj(_)) => new.push(Tree { form: Form::Lit(J::Null), kids: Vec::new() }),
            Form::Path(keys, style) if keys.len() > 1 => {
                new.push(super::tree::path(keys[..1].to_vec(), *style));
                new.push(super::tree::path(keys[1..].to_vec(), *style));
            }
            _ => {}
        }
        for simple in new {
            let mut copy = tree.clone();
            if let Some(node) = copy.nth(n)
                && *node != simple
                && simple.program().len() < node.program().len()
            {
                *node = simple;
                all.push(copy);
            }
        }
    }
    all
}

/// The value with a part left out or made simpler.
pub fn simpler_values(value: &J) -> Vec<J> {
    let mut all = Vec::new();
    for n in 0..value.count().min(300) {
        let mut here = value.clone();
        let Some(node) = here.nth(n) else { continue };
        let mut new = Vec::new();
        match &*node {
            J::Obj(members) => new.extend((0..members.len()).map(|i| {
                let mut rest = members.clone();
                rest.remove(i);
                J::Obj(rest)
            })),
            J::Arr(items) => {
                new.extend((0..items.len()).map(|i| {
                    let mut rest = items.clone();
                    rest.remove(i);
                    J::Arr(rest)
                }));
                new.extend(items.first().cloned());
            }
            J::Str(s) if s.len() > 1 => {
                let half = s.floor_char_boundary(s.len() / 2);
                new.extend([J::Str(s[..half].to_owned()), J::Str(s[half..].to_owned())]);
            }
            J::Num(text) if text.len() > 1 => new.push(J::Num("1".into())),
            _ => {}
        }
        if n > 0 && !matches!(node, J::Null) && node.text().len() > 4 {
            new.push(J::Null);
        }
        for simple in new {
            let mut copy = value.clone();
            if let Some(node) = copy.nth(n) {
                *node = simple;
                all.push(copy);
            }
        }
    }
    all
}
