//! Compiling filters: many texts into one program, whose parts run on their own.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jaq_core::compile::{Compiler, TermId, Undefined};
use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Ctx, Vars};
use sha2::{Digest, Sha256};

use crate::error::CompileError;
use crate::link::{Edit, Linker, Modules};
use crate::natives;
use crate::program::{Bundle, Data, Engine, Program};
use crate::stack;
use crate::value::Val;

/// The native that hands a filter to the compiler; no program can spell it.
pub(crate) const REGISTER: &str = "!register";
/// The program that is compiled; it only calls the definition that registers every filter.
const MAIN: &str = "zentral_filters";

/// A text to compile.
pub(crate) struct Text<'t> {
    pub(crate) name: &'t str,
    pub(crate) text: &'t str,
}

/// Compiles one filter; `name` is its file's name or `probe NAME`.
///
/// # Errors
/// Everything that is wrong with it and the modules it imports.
pub fn compile(source: &str, name: &str, modules: &dyn Modules) -> Result<Program, CompileError> {
    let texts = [Text { name, text: source }];
    match bundle(&texts, modules) {
        Ok(bundle) => Ok(Program { bundle: Arc::new(bundle) }),
        Err(mut errors) => Err(errors.pop().map_or(CompileError { problems: Vec::new() }, |(_, error)| error)),
    }
}

thread_local! {
    static REGISTERED: RefCell<Vec<TermId>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn register(id: TermId) {
    REGISTERED.with(|ids| ids.borrow_mut().push(id));
}

/// Compiles `texts` into one bundle; errors come with the place of their text.
pub(crate) fn bundle(texts: &[Text<'_>], modules: &dyn Modules) -> Result<Bundle, Vec<(usize, CompileError)>> {
    edited(texts, modules, None)
}

/// As [`bundle`], each program changed by `edit` on its way.
pub(crate) fn edited(
    texts: &[Text<'_>],
    modules: &dyn Modules,
    edit: Option<&dyn Edit>,
) -> Result<Bundle, Vec<(usize, CompileError)>> {
    let compiled = stack::with_stack(|| {
        let arena = Arena::default();
        compile_all(&arena, texts, modules, edit)
    });
    compiled.unwrap_or_else(|e| {
        let first = texts.first().map_or("", |t| t.name);
        Err(vec![(0, CompileError::general(first, format!("cannot start a thread to compile: {e}")))])
    })
}

fn compile_all(
    arena: &Arena,
    texts: &[Text<'_>],
    modules: &dyn Modules,
    edit: Option<&dyn Edit>,
) -> Result<Bundle, Vec<(usize, CompileError)>> {
    let mut linker = Linker::new(arena, modules);
    linker.edit = edit;
    let mut terms = Vec::with_capacity(texts.len());
    let mut files = Vec::with_capacity(texts.len());
    for text in texts {
        let (file, term) = linker.program(text.name, text.text);
        files.push(file);
        // A broken program is compiled as `.`, so that what is wrong with the others is found too.
        terms.push(Term::Call(REGISTER, vec![term.unwrap_or_default()]));
    }
    let all = Def { name: MAIN, args: Vec::new(), body: comma(terms) };
    let defs = shared().iter().cloned().chain(std::mem::take(&mut linker.defs)).chain([all]);
    let mut unplaced = Vec::new();
    let lut = match Loader::new(defs).load(arena, File { code: MAIN, path: () }) {
        Ok(loaded) => match Compiler::default().with_funs(natives::all()).compile(loaded) {
            Ok(filter) => Some(filter),
            Err(errors) => {
                for (part, what) in errors.into_iter().flat_map(|(_, errors)| errors) {
                    if !linker.blame(part, undefined(part, &what)) {
                        unplaced.push(part.to_owned());
                    }
                }
                None
            }
        },
        // The text is ours.
        Err(_) => None,
    };
    let errors: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(i, file)| (i, CompileError { problems: linker.problems(*file) }))
        .filter(|(_, error)| !error.problems.is_empty())
        .collect();
    match lut {
        Some(filter) if errors.is_empty() => Ok(finish(filter, linker.data)),
        _ if errors.is_empty() => {
            let name = texts.first().map_or("", |t| t.name);
            let text = format!("fault in the engine's own definitions: {unplaced:?}");
            Err(vec![(0, CompileError::general(name, text))])
        }
        _ => Err(errors),
    }
}

/// Runs the program once, which registers every filter.
fn finish(filter: jaq_core::Filter<Engine>, data: Vec<String>) -> Bundle {
    static UNIQUE: AtomicU64 = AtomicU64::new(0);
    let jaq_core::compile::Filter { lut, id } = filter;
    let unique = UNIQUE.fetch_add(1, Ordering::Relaxed);
    let mut bundle = Bundle { lut, ids: Vec::new(), data, unique };
    REGISTERED.with(|ids| ids.borrow_mut().clear());
    id.run((Ctx::<Engine>::new(Data { bundle: &bundle }, Vars::new([])), Val::Null)).for_each(drop);
    bundle.ids = REGISTERED.with(|ids| std::mem::take(&mut *ids.borrow_mut()));
    bundle
}

/// `a, b, …` as a balanced tree, so that its depth is the logarithm of its length.
fn comma(mut terms: Vec<Term<&str>>) -> Term<&str> {
    while terms.len() > 1 {
        let mut pairs = Vec::with_capacity(terms.len().div_ceil(2));
        let mut rest = terms.into_iter();
        while let Some(l) = rest.next() {
            pairs.push(match rest.next() {
                Some(r) => Term::BinOp(Box::new(l), BinaryOp::Comma, Box::new(r)),
                None => l,
            });
        }
        terms = pairs;
    }
    terms.pop().unwrap_or_default()
}

/// Definitions of jaq's that would let a filter see the machine, or that stand on functions we replace.
const LEFT_OUT: [&str; 17] = [
    "stderr",
    "debug",
    "halt",
    "halt_error",
    "capture_of_match",
    "scan_",
    "test",
    "match",
    "capture",
    "scan",
    "split",
    "splits",
    "sub",
    "gsub",
    "todate",
    "fromdate",
    "gamma",
];

/// The definitions that every program has: jaq's, without those that ours or a native replace, then ours.
pub(crate) fn shared() -> &'static [Def<&'static str>] {
    static SHARED: OnceLock<Vec<Def<&'static str>>> = OnceLock::new();
    SHARED.get_or_init(|| {
        let own: Vec<Def<&str>> = jaq_core::load::parse(include_str!("prelude.jq"), |p| p.defs()).unwrap_or_default();
        let native: Vec<(&str, usize)> = natives::all().iter().map(|(name, args, _)| (*name, args.len())).collect();
        let base = jaq_core::defs().chain(jaq_std::defs());
        let kept = base.filter(|d| !LEFT_OUT.contains(&d.name) && !native.contains(&(d.name, d.args.len())));
        kept.chain(own).collect()
    })
}

/// Whether every filter can call this.
pub(crate) fn is_known(name: &str, arity: usize) -> bool {
    static KNOWN: OnceLock<HashSet<(&'static str, usize)>> = OnceLock::new();
    KNOWN.get_or_init(|| known().iter().copied().collect()).contains(&(name, arity))
}

/// Names and arities that a filter can call.
fn known() -> &'static [(&'static str, usize)] {
    static KNOWN: OnceLock<Vec<(&'static str, usize)>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let defs = shared().iter().map(|d| (d.name, d.args.len()));
        let natives = natives::all().into_iter().map(|(name, args, _)| (name, args.len()));
        defs.chain(natives).filter(|(name, _)| !name.starts_with('!')).collect()
    })
}

pub(crate) fn undefined(name: &str, what: &Undefined) -> String {
    if let Some(reason) = natives::denied(name) {
        return format!("`{name}` is not available in filters: {reason}");
    }
    let Undefined::Filter(arity) = what else { return format!("unknown {} `{name}`", what.as_str()) };
    let arities: Vec<String> = known().iter().filter(|(n, _)| *n == name).map(|(_, arity)| arity.to_string()).collect();
    if !arities.is_empty() {
        return format!("`{name}` takes {} arguments, not {arity}", arities.join(" or "));
    }
    let near = known().iter().map(|(n, _)| (strsim::damerau_levenshtein(n, name), *n)).min();
    match near {
        Some((distance, near)) if distance * 3 <= name.len() => {
            format!("unknown function `{name}/{arity}`; did you mean `{near}`?")
        }
        _ => format!("unknown function `{name}/{arity}`"),
    }
}

/// A hash of all that a program imports, for the options of [`rev`]: a filter whose module or data was corrected is
/// another filter. Empty if it imports nothing.
pub fn imports(source: &str, modules: &dyn Modules) -> String {
    // A program without these words need not be parsed.
    if !source.contains("import") && !source.contains("include") {
        return String::new();
    }
    let hashed = stack::with_stack(|| {
        let arena = Arena::default();
        let mut linker = Linker::new(&arena, modules);
        let (file, _) = linker.program("", source);
        let texts = linker.imported(file);
        if texts.is_empty() { String::new() } else { short_hash(&texts) }
    });
    hashed.unwrap_or_default()
}

/// 8 hex digits of SHA-256 over a filter's text and options: the `rev` of a probe.
pub fn rev(text: &str, options: &str) -> String {
    short_hash(&[text, options])
}

/// 8 hex digits of SHA-256 over texts that cannot run into each other.
fn short_hash(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(4).map(|b| format!("{b:02x}")).collect()
}
