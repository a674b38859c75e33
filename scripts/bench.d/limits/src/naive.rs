//! Every filter over every event, by jaq: FILE has a filter a line, `NAME<tab>JQ`.
//!
//! All are compiled into one program, so that they share jaq's own definitions; a native that is called with each of them
//! remembers where it lies. Without that each filter would carry its own copy (1 ms and 100 KB), which nobody is to blame for.

use std::cell::RefCell;
use std::io;

use jaq_core::compile::{Compiler, Filter, TermId};
use jaq_core::data::JustLut;
use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Bind, Ctx, Vars, native};
use jaq_json::Val;

use crate::pump::{lines, pump, put};

type Engine = JustLut<Val>;

/// No program can spell it.
const REGISTER: &str = "!register";
const MAIN: &str = "all_filters";
/// jq has it, jaq has not.
const OURS: &str = "def IN(s): any(s == .; .);";

thread_local! {
    static REGISTERED: RefCell<Vec<TermId>> = const { RefCell::new(Vec::new()) };
}

pub fn run(file: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let rules: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    let (filter, ids) = compile(&rules)?;
    let mut names = Vec::new();
    pump(|block, out| {
        for line in lines(block) {
            let event = jaq_json::read::parse_single(line).map_err(io::Error::other)?;
            names.clear();
            for (id, (name, _)) in ids.iter().zip(&rules) {
                let ctx = Ctx::<Engine>::new(&filter.lut, Vars::new([]));
                // Until one output is neither false nor null; an error is no match.
                let mut outputs = id.run((ctx, event.clone())).map_while(Result::ok);
                if outputs.any(|value| !matches!(value, Val::Null | Val::Bool(false))) {
                    names.push(*name);
                }
            }
            if !names.is_empty() {
                out.extend_from_slice(names.join(",").as_bytes());
                out.push(b'\t');
                put(out, line);
            }
        }
        Ok(())
    })
}

fn compile(rules: &[(&str, &str)]) -> io::Result<(Filter<jaq_core::Native<Engine>>, Vec<TermId>)> {
    let mut terms = Vec::with_capacity(rules.len());
    for (name, rule) in rules {
        let term = parse(rule).ok_or_else(|| io::Error::other(format!("{name} is no jq")))?;
        terms.push(Term::Call(REGISTER, vec![term]));
    }
    let ours = jaq_core::load::parse(OURS, |p| p.defs()).unwrap_or_default();
    let mut defs: Vec<Def<&str>> =
        jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(ours).collect();
    defs.push(Def { name: MAIN, args: Vec::new(), body: comma(terms) });
    let register: native::Filter<jaq_core::RunPtr<Engine>> = (REGISTER, Box::new([Bind::Fun(())]), |mut cv| {
        let id = cv.0.pop_fun().0;
        REGISTERED.with(|ids| ids.borrow_mut().push(id));
        Box::new(std::iter::empty())
    });
    let funs = jaq_core::funs::<Engine>()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .chain([native::run::<Engine>(register)]);
    let arena = Arena::default();
    let loaded = Loader::new(defs)
        .load(&arena, File { code: MAIN, path: () })
        .map_err(|e| io::Error::other(format!("{e:?}")))?;
    let filter = Compiler::default().with_funs(funs).compile(loaded).map_err(|e| io::Error::other(format!("{e:?}")))?;
    filter.id.run((Ctx::<Engine>::new(&filter.lut, Vars::new([])), Val::Null)).for_each(drop);
    let ids = REGISTERED.take();
    if ids.len() != rules.len() {
        return Err(io::Error::other("not every filter was registered"));
    }
    Ok((filter, ids))
}

fn parse(rule: &str) -> Option<Term<&str>> {
    jaq_core::load::parse(rule, |p| p.term())
}

/// `a, b, …` as a balanced tree: compiling recurses.
fn comma(mut terms: Vec<Term<&str>>) -> Term<&str> {
    while terms.len() > 1 {
        let mut rest = terms.into_iter();
        let mut pairs = Vec::new();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => Term::BinOp(Box::new(left), BinaryOp::Comma, Box::new(right)),
                None => left,
            });
        }
        terms = pairs;
    }
    terms.pop().unwrap_or_default()
}
