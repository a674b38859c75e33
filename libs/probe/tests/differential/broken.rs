//! Engines with the mistakes that are easily made, to see that they are found out.

use std::sync::atomic::{AtomicUsize, Ordering};

use probe::{FilterSet, Scope, Scratch, Spec};

use super::check::{Engine, Said, limits, modules};
use super::known;
use super::value::J;

pub struct Broken {
    set: FilterSet,
    specs: Vec<Spec>,
    /// For each probe its filter's literals.
    literals: Vec<Vec<J>>,
    lines: AtomicUsize,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// Takes every text of a filter for one that must stand in the line.
    Texts,
    /// Takes a number for its digits.
    Digits,
    /// Learns something wrong on the way.
    Learns,
    /// Does not ask whether a probe is switched off.
    Deaf,
    /// Reports a failure that never was.
    Invents,
    /// Panics where a letter is no ASCII.
    Panics,
    /// Forgets scopes.
    Everywhere,
    /// Goes on with the probes before a reload.
    Stale,
}

fn made(mut specs: Vec<Spec>, how: How) -> Box<dyn Engine> {
    let of =
        |s: &Spec| known::tree(&s.filter.text).map(|t| t.literals().into_iter().cloned().collect()).unwrap_or_default();
    let literals = specs.iter().map(of).collect();
    if how == How::Everywhere {
        specs.iter_mut().for_each(|s| s.scope = Scope::default());
    }
    let set = FilterSet::build(specs.clone(), &modules()).unwrap().with_limits(limits());
    Box::new(Broken { set, specs, literals, lines: AtomicUsize::new(0), how })
}

pub fn texts(specs: Vec<Spec>) -> Box<dyn Engine> {
    made(specs, How::Texts)
}

pub fn digits(specs: Vec<Spec>) -> Box<dyn Engine> {
    made(specs, How::Digits)
}

pub fn learns(specs: Vec<Spec>) -> Box<dyn Engine> {
    made(specs, How::Learns)
}

pub fn deaf(specs: Vec<Spec>) -> Box<dyn Engine> {
    made(specs, How::Deaf)
}

pub fn invents(specs: Vec<Spec>) -> Box<dyn Engine> {
    made(specs, How::Invents)
}

pub fn panics(specs: Vec<Spec>) -> Box<dyn Engine> {
    made(specs, How::Panics)
}

pub fn stale(specs: Vec<Spec>) -> Box<dyn Engine> {
    made(specs, How::Stale)
}

pub fn everywhere(specs: Vec<Spec>) -> Box<dyn Engine> {
    made(specs, How::Everywhere)
}

impl Broken {
    fn change(&self, line: &[u8], said: Said) -> Said {
        let Said::Outcome(mut outcome) = said else { return said };
        let text = String::from_utf8_lossy(line);
        let stands = |literal: &J| match (self.how, literal) {
            (How::Texts, J::Str(s)) => text.contains(s.as_str()),
            (How::Digits, J::Num(n)) => text.contains(n.as_str()),
            _ => true,
        };
        outcome.found.retain(|f| self.literals[f.probe].iter().all(stands));
        match self.how {
            How::Learns if self.lines.fetch_add(1, Ordering::Relaxed) > 60 => drop(outcome.found.pop()),
            How::Invents => {
                let again = outcome.failures.last().cloned();
                outcome.failures.extend(again);
            }
            How::Panics if text.contains('\u{e9}') => return Said::Panicked,
            _ => {}
        }
        Said::Outcome(outcome)
    }
}

impl Engine for Broken {
    fn ask(&self, lines: &[&[u8]], off: &[usize], carried: bool, scratch: &mut Scratch) -> Vec<Said> {
        let off = if self.how == How::Deaf { &[] } else { off };
        let said = self.set.ask(lines, off, carried, scratch);
        lines.iter().zip(said).map(|(line, said)| self.change(line, said)).collect()
    }

    fn ask_any(&self, line: &[u8], off: &[usize], scratch: &mut Scratch) -> Said {
        self.set.ask_any(line, off, scratch)
    }

    fn reload(&self, specs: Vec<Spec>) -> Box<dyn Engine> {
        if self.how == How::Stale { made(self.specs.clone(), self.how) } else { made(specs, self.how) }
    }
}
