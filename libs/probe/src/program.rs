//! Compiled filters, and running one over a value within its limits.

use std::sync::Arc;

use jaq_core::compile::TermId;
use jaq_core::data::HasLut;
use jaq_core::{Ctx, DataT, Lut, Vars};

use crate::budget::{self, Limit, Limits, Stop};
use crate::value::Val;
use crate::{context, stack};

/// Ties our values and our bounds to jaq.
pub(crate) struct Engine;

#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub(crate) bundle: &'a Bundle,
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
    pub(crate) lut: Lut<Engine>,
    pub(crate) ids: Vec<TermId>,
    pub(crate) data: Vec<String>,
    /// Names this bundle in the threads' caches of parsed data.
    pub(crate) unique: u64,
}

/// What a filter says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// No output, or none but `false` and `null`.
    No,
    /// A match; if the output that decided is an object, its JSON text (of a long one what people read of it).
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
    pub(crate) bundle: Arc<Bundle>,
}

impl Program {
    /// Decides about `event`: outputs are read until one is neither `false` nor `null`.
    pub fn decide(&self, event: &Val, now_ms: i64, limits: &Limits) -> Decision {
        on_big_stack(event, |event| self.bundle.decide(0, event, now_ms, limits)).unwrap_or_else(Decision::Failed)
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
pub(crate) fn on_big_stack<T: Send>(input: &Val, work: impl Fn(&Val) -> T + Sync) -> Result<T, String> {
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
            v @ Val::Obj(_) => Some(context::text(&v).map(Some)),
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
