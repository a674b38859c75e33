//! Compiling filters, and running one over a value.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jaq_core::compile::{Compiler, TermId, Undefined};
use jaq_core::data::HasLut;
use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Ctx, DataT, Lut, Vars};
use sha2::{Digest, Sha256};

use crate::budget::{self, Limit, Limits, Stop};
use crate::error::{CompileError, Problem};
use crate::link::{Linker, Modules};
use crate::natives;
use crate::stack;
use crate::value::{Val, ValR};

/// The native that hands a filter to the compiler; no program can spell it.
pub(crate) const REGISTER: &str = "!register";
/// The program that is compiled; it only calls the definition that registers every filter.
const MAIN: &str = "zentral_filters";

/// Ties our values and our bounds to jaq.
pub(crate) struct Engine;

#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    bundle: &'a Bundle,
}

impl DataT for Engine {
    type V<'a> = Val;
    type Data<'a> = Data<'a>;
}

impl<'a> HasLut<'a, Engine> for Data<'a> {
    /// jaq asks once for every term that it evaluates: that is a step.
    #[inline]
    fn lut(&self) -> &'a Lut<Engine> {
        budget::tick();
        &self.bundle.lut
    }
}

/// Filters compiled together, sharing one table of terms.
pub(crate) struct Bundle {
    lut: Lut<Engine>,
    ids: Vec<TermId>,
    data: Vec<String>,
    /// Names this bundle in the threads' caches of parsed data.
    unique: u64,
}

/// A text to compile.
pub(crate) struct Text<'t> {
    pub(crate) name: &'t str,
    pub(crate) text: &'t str,
}

/// What a filter says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// No output, or none but `false` and `null`.
    No,
    /// A match; if the output that decided is an object, its JSON text.
    Yes(Option<String>),
    /// A runtime error of jq: no match, to be counted.
    Failed(String),
    /// A limit was exceeded: no match, to be said aloud.
    Exceeded(Limit),
}

/// Why [`Program::eval`] has no outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalError {
    /// A runtime error of jq, or an output that is no JSON.
    Failed(String),
    /// A limit was exceeded.
    Exceeded(Limit),
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(text) => f.write_str(text),
            Self::Exceeded(limit) => write!(f, "exceeded its limit of {limit}"),
        }
    }
}

impl std::error::Error for EvalError {}

/// A compiled filter. Cheap to clone, and may be used by any thread.
#[derive(Clone)]
pub struct Program {
    bundle: Arc<Bundle>,
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

impl Program {
    /// Decides about `event`: outputs are read until one is neither `false` nor `null`.
    pub fn decide(&self, event: &Val, now_ms: i64, limits: &Limits) -> Decision {
        on_big_stack(event, |event| self.bundle.decide(0, event, now_ms, limits))
            .unwrap_or_else(Decision::Failed)
    }

    /// All outputs as canonical JSON texts.
    ///
    /// # Errors
    /// A runtime error, an output that is no JSON, or a limit.
    pub fn eval(&self, input: &Val, now_ms: i64, limits: &Limits) -> Result<Vec<String>, EvalError> {
        on_big_stack(input, |input| self.bundle.eval(0, input, now_ms, limits))
            .unwrap_or_else(|e| Err(EvalError::Failed(e)))
    }
}

/// Runs `work` here if the stack is big, else hands it the value as text on a thread where it is.
fn on_big_stack<T: Send>(input: &Val, work: impl Fn(&Val) -> T + Sync) -> Result<T, String> {
    if stack::is_big() {
        return Ok(work(input));
    }
    let text = input.to_json()?;
    let done = stack::with_stack(|| {
        let input = crate::value::parse(text.as_bytes()).map_err(|e| e.to_string())?;
        Ok(work(&input))
    });
    done.unwrap_or_else(|e| Err(format!("cannot start a thread: {e}")))
}

/// Longest message of a runtime error, in characters.
const MESSAGE_MAX: usize = 300;

/// A bounded text of an error.
fn message(text: impl ToString) -> String {
    let text = text.to_string();
    match text.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

impl Bundle {
    /// Runs the filter and folds its outputs until `fold` has a result.
    fn run<T>(
        &self,
        filter: usize,
        input: &Val,
        now_ms: i64,
        limits: &Limits,
        mut fold: impl FnMut(Val) -> Option<T>,
    ) -> Result<Option<T>, EvalError> {
        let Some(id) = self.ids.get(filter) else { return Ok(None) };
        let run = || {
            let mut outputs = 0;
            for output in id.run((Ctx::<Engine>::new(Data { bundle: self }, Vars::new([])), input.clone())) {
                outputs += 1;
                if outputs > limits.outputs {
                    budget::too_many_outputs();
                }
                let value = output.map_err(|e| match e.get_err() {
                    Ok(e) => match e.into_val() {
                        Val::Str(s) => message(s.as_str()),
                        v => message(v),
                    },
                    Err(_) => "break without a label".to_owned(),
                })?;
                if let Some(result) = fold(value) {
                    return Ok(Some(result));
                }
            }
            Ok(None)
        };
        match budget::guard(limits, now_ms, run) {
            Ok(done) => done.map_err(EvalError::Failed),
            Err(Stop::Limit(limit)) => Err(EvalError::Exceeded(limit)),
            Err(Stop::Fault) => Err(EvalError::Failed("internal fault of the engine".into())),
        }
    }

    pub(crate) fn decide(&self, filter: usize, event: &Val, now_ms: i64, limits: &Limits) -> Decision {
        let decided = self.run(filter, event, now_ms, limits, |value| match value {
            v if !v.as_bool() => None,
            v @ Val::Obj(_) => Some(v.to_json().map(Some)),
            _ => Some(Ok(None)),
        });
        match decided {
            Ok(None) => Decision::No,
            Ok(Some(Ok(context))) => Decision::Yes(context),
            Ok(Some(Err(text))) | Err(EvalError::Failed(text)) => Decision::Failed(text),
            Err(EvalError::Exceeded(limit)) => Decision::Exceeded(limit),
        }
    }

    pub(crate) fn eval(
        &self,
        filter: usize,
        input: &Val,
        now_ms: i64,
        limits: &Limits,
    ) -> Result<Vec<String>, EvalError> {
        let mut texts = Vec::new();
        let failed = self.run(filter, input, now_ms, limits, |value| match value.to_json() {
            Ok(text) => {
                texts.push(text);
                None
            }
            Err(text) => Some(text),
        })?;
        failed.map_or(Ok(texts), |text| Err(EvalError::Failed(text)))
    }

    /// The first output as a word: strings as they are, the rest as JSON; nothing for null.
    pub(crate) fn word(
        &self,
        filter: usize,
        event: &Val,
        now_ms: i64,
        limits: &Limits,
    ) -> Result<Option<String>, EvalError> {
        let word = self.run(filter, event, now_ms, limits, |value| {
            Some(match value {
                Val::Null => Ok(None),
                Val::Str(s) => Ok(Some(s.as_str().to_owned())),
                v => v.to_json().map(Some),
            })
        })?;
        word.unwrap_or(Ok(None)).map_err(EvalError::Failed)
    }
}

// --- imported data -----------------------------------------------------------------------------------------

thread_local! {
    static PARSED: RefCell<HashMap<(u64, usize), Val>> = RefCell::default();
}

/// Parsed data of this many imports is kept by a thread; beyond that all of it is read again.
const PARSED_MAX: usize = 256;

impl Data<'_> {
    /// The data at `place`: an array of the file's values.
    pub(crate) fn data(self, place: &Val) -> ValR {
        let Val::Int(place) = place else { return Ok(Val::Null) };
        let place = usize::try_from(*place).unwrap_or(usize::MAX);
        let key = (self.bundle.unique, place);
        if let Some(known) = PARSED.with(|parsed| parsed.borrow().get(&key).cloned()) {
            return Ok(known);
        }
        let text = self.bundle.data.get(place).map_or("[]", String::as_str);
        let value = budget::exempt(|| {
            let value = parse_data(text).unwrap_or_default();
            PARSED.with(|parsed| {
                let mut parsed = parsed.borrow_mut();
                if parsed.len() >= PARSED_MAX {
                    parsed.clear();
                }
                parsed.insert(key, value.clone());
            });
            value
        });
        Ok(value)
    }
}

/// One JSON value, or one a line: always an array, as jq makes of an imported file.
fn parse_data(text: &str) -> Result<Val, String> {
    let whole = crate::value::parse_text(text);
    if let Ok(value) = whole {
        return Ok(Val::arr(vec![value]));
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let values: Result<Vec<Val>, _> = lines.map(crate::value::parse_text).collect();
    values.map(Val::arr).map_err(|e| whole.err().map_or(e.to_string(), |e| e.to_string()))
}

pub(crate) fn check_data(text: &str) -> Result<(), String> {
    parse_data(text).map(drop)
}

// --- compiling -----------------------------------------------------------------------------------------------

thread_local! {
    static REGISTERED: RefCell<Vec<TermId>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn register(id: TermId) {
    REGISTERED.with(|ids| ids.borrow_mut().push(id));
}

/// Compiles `texts` into one bundle; errors come with the place of their text.
pub(crate) fn bundle(texts: &[Text<'_>], modules: &dyn Modules) -> Result<Bundle, Vec<(usize, CompileError)>> {
    let compiled = stack::with_stack(|| {
        let arena = Arena::default();
        compile_all(&arena, texts, modules)
    });
    compiled.unwrap_or_else(|e| {
        let first = texts.first().map_or("", |t| t.name);
        let problem = Problem::new(first, "", "", format!("cannot start a thread to compile: {e}"));
        Err(vec![(0, CompileError { problems: vec![problem] })])
    })
}

fn compile_all(
    arena: &Arena,
    texts: &[Text<'_>],
    modules: &dyn Modules,
) -> Result<Bundle, Vec<(usize, CompileError)>> {
    let mut linker = Linker::new(arena, modules);
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
            let problem = Problem::new(name, "", "", format!("fault in the engine's own definitions: {unplaced:?}"));
            Err(vec![(0, CompileError { problems: vec![problem] })])
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
    "stderr", "debug", "halt", "halt_error", "capture_of_match", "scan_", "test", "match", "capture", "scan", "split",
    "splits", "sub", "gsub", "todate", "fromdate", "gamma",
];

/// The definitions that every program has: jaq's, without those that ours or a native replace, then ours.
fn shared() -> &'static [Def<&'static str>] {
    static SHARED: OnceLock<Vec<Def<&'static str>>> = OnceLock::new();
    SHARED.get_or_init(|| {
        let own: Vec<Def<&str>> =
            jaq_core::load::parse(include_str!("prelude.jq"), |p| p.defs()).unwrap_or_default();
        let native: Vec<(&str, usize)> = natives::all().iter().map(|(name, args, _)| (*name, args.len())).collect();
        let base = jaq_core::defs().chain(jaq_std::defs());
        let kept = base.filter(|d| !LEFT_OUT.contains(&d.name) && !native.contains(&(d.name, d.args.len())));
        kept.chain(own).collect()
    })
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

fn undefined(name: &str, what: &Undefined) -> String {
    if let Some(reason) = natives::denied(name) {
        return format!("`{name}` is not available in filters: {reason}");
    }
    let Undefined::Filter(arity) = what else { return format!("unknown {} `{name}`", what.as_str()) };
    let arities: Vec<String> =
        known().iter().filter(|(n, _)| *n == name).map(|(_, arity)| arity.to_string()).collect();
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

/// 8 hex digits of SHA-256 over a filter's text and options: the `rev` of a probe.
pub fn rev(text: &str, options: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
    hash.update(options);
    hash.finalize().iter().take(4).map(|b| format!("{b:02x}")).collect()
}

