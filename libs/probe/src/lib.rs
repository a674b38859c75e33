//! The jq engine: compiles filters, runs them within bounds, tests them. No I/O, no async.
//!
//! Language and evaluation are jaq's; values, bounds, regular expressions, modules and error reports are ours, so that
//! a filter can neither read the machine it runs on nor hold up the events behind it.

mod advice;
pub mod alloc;
mod analyse;
mod budget;
pub mod clauses;
mod compile;
mod context;
mod data;
mod describe;
mod doubts;
mod error;
pub mod examples;
mod gate;
mod index;
mod kept;
mod link;
mod literals;
mod measure;
mod natives;
mod program;
mod read;
mod regex;
mod scope;
mod segment;
mod set;
mod source;
mod spec;
mod stack;
mod value;
mod walk;

pub use advice::{Advice, Unclear};
pub use analyse::Reason;
pub use budget::{Limit, Limits};
pub use compile::{compile, imports, rev};
pub use context::{CONTEXT_MAX, CONTEXTS_MAX};
pub use describe::describe;
pub use doubts::{Asked, Doubt, Doubted, doubts};
pub use error::{CompileError, Problem};
pub use index::Scratch;
pub use kept::{Kept, Outside, kept};
pub use link::{Modules, NoModules};
pub use measure::Cost;
pub use program::{Decision, EvalError, Program};
pub use scope::Scope;
pub use set::{FilterSet, NO_OBJECT, Need, Runner, Standing};
pub use spec::{Failure, Found, Note, Outcome, Quiet, Source, Spec, Why};
pub use stack::{STACK, with_stack};
pub use value::{ParseError, Val, parse};

#[cfg(test)]
#[global_allocator]
static ALLOC: alloc::Counting = alloc::Counting;
