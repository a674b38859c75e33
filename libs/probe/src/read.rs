//! Filters read but not compiled: what is wrong with them, and what must hold for them to match.

use jaq_core::load::Arena;
use jaq_core::load::parse::Term;

use crate::analyse::{Analyst, Definitions, Literal, Node, Paths, Patterns};
use crate::compile::{Text, shared};
use crate::error::CompileError;
use crate::link::{Linker, Modules};
use crate::stack;

/// A filter as the analysis sees it.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) node: Node,
    /// Terms of it that were looked at, those of functions that it calls included.
    pub(crate) terms: usize,
}

/// Programs whose syntax trees are held at the same time.
const AT_ONCE: usize = 256;

/// Reads programs. With `analysed` false for one, only its errors are looked for.
///
/// # Errors
/// Everything that is wrong with each of them, by its place among `texts`.
pub(crate) fn read(
    texts: &[(Text<'_>, bool)],
    modules: &dyn Modules,
    paths: &mut Paths,
    patterns: &mut Patterns,
) -> Result<Vec<Option<Read>>, Vec<(usize, CompileError)>> {
    let done = stack::with_stack(|| read_all(texts, modules, paths, patterns));
    done.unwrap_or_else(|e| {
        let first = texts.first().map_or("", |(t, _)| t.name);
        Err(vec![(0, CompileError::general(first, format!("cannot start a thread to read filters: {e}")))])
    })
}

fn read_all(
    texts: &[(Text<'_>, bool)],
    modules: &dyn Modules,
    paths: &mut Paths,
    patterns: &mut Patterns,
) -> Result<Vec<Option<Read>>, Vec<(usize, CompileError)>> {
    let arena = Arena::default();
    let mut linker = Linker::new(&arena, modules);
    let (mut all, mut errors, mut constants) = (Vec::with_capacity(texts.len()), Vec::new(), Vec::new());
    for (first, texts) in (0..).step_by(AT_ONCE).zip(texts.chunks(AT_ONCE)) {
        let programs: Vec<(usize, Option<Term<&str>>)> =
            texts.iter().map(|(text, _)| linker.program(text.name, text.text)).collect();
        let wrong = (first..).zip(&programs).filter(|(_, (file, term))| term.is_none() || linker.is_broken(*file));
        errors.extend(wrong.map(|(i, (file, _))| (i, CompileError { problems: linker.problems(*file) })));
        if !errors.is_empty() {
            // What is wrong with the others is still to be said.
            continue;
        }
        constants.extend(linker.data.iter().skip(constants.len()).map(|text| constant(text)));
        let definitions = Definitions::new(shared().iter().chain(&linker.defs));
        let data = |place: usize| constants.get(place).cloned().flatten();
        let mut analyst = Analyst::new(paths, patterns, &definitions, &data);
        all.extend(programs.iter().zip(texts).map(|((_, term), (_, analysed))| {
            let term = term.as_ref().filter(|_| *analysed)?;
            let node = analyst.filter(term);
            Some(Read { node, terms: analyst.terms() })
        }));
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// Longest imported data whose values are looked at, in bytes.
const CONSTANT_MAX: usize = 4 << 20;

/// Imported data as constants, where it is.
pub(crate) fn constants(data: &[String]) -> Vec<Option<Literal>> {
    data.iter().map(|text| constant(text)).collect()
}

fn constant(text: &str) -> Option<Literal> {
    if text.len() > CONSTANT_MAX {
        return None;
    }
    Literal::from_val(&crate::data::parse_data(text).ok()?)
}
