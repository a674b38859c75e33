//! Filters read but not compiled: what is wrong with them, and what must hold for them to match.

use std::collections::HashMap;
use std::sync::Arc;

use jaq_core::load::Arena;
use jaq_core::load::parse::Term;

use crate::analyse::{Analyst, Definitions, Literal, Node, Paths, Pattern};
use crate::compile::{Text, shared};
use crate::error::CompileError;
use crate::link::{Linker, Modules};
use crate::stack;

/// Places of a filter that are told as not understood.
const UNCLEAR_MAX: usize = 8;

/// A filter as the analysis sees it.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) node: Node,
    /// Terms of it that were looked at, those of functions that it calls included.
    pub(crate) terms: usize,
    /// What was not understood.
    pub(crate) unclear: Vec<Unclear>,
}

/// A part of a filter that says nothing about the events it matches, as far as the engine knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// Line in the filter, from 1; 0 where it lies in a function that the filter calls.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What it does, a lower-case fragment.
    pub why: &'static str,
}

/// Patterns of a set: equal ones are compiled once.
pub(crate) type Patterns = HashMap<(String, String), Option<Arc<Pattern>>>;

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
    let programs: Vec<(usize, Option<Term<&str>>)> =
        texts.iter().map(|(text, _)| linker.program(text.name, text.text)).collect();
    let errors: Vec<_> = (0..)
        .zip(&programs)
        .filter(|(_, (file, term))| term.is_none() || linker.is_broken(*file))
        .map(|(i, (file, _))| (i, CompileError { problems: linker.problems(*file) }))
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let definitions = Definitions::new(shared().iter().chain(&linker.defs));
    let constants: Vec<Option<Literal>> = linker.data.iter().map(|text| constant(text)).collect();
    let data = |place: usize| constants.get(place).cloned().flatten();
    let mut analyst = Analyst::new(paths, patterns, &definitions, &data);
    let read = programs.iter().zip(texts).map(|((file, term), (_, analysed))| {
        let term = term.as_ref().filter(|_| *analysed)?;
        let node = analyst.filter(term);
        let unclear = analyst.unclear.iter().take(UNCLEAR_MAX).map(|(part, why)| {
            let (line, column) = linker.place(*file, part).unwrap_or((0, 0));
            Unclear { line, column, why }
        });
        Some(Read { node, terms: analyst.terms(), unclear: unclear.collect() })
    });
    Ok(read.collect())
}

/// Longest imported data whose values are looked at, in bytes.
const CONSTANT_MAX: usize = 4 << 20;

fn constant(text: &str) -> Option<Literal> {
    if text.len() > CONSTANT_MAX {
        return None;
    }
    Literal::from_val(&crate::data::parse_data(text).ok()?)
}
