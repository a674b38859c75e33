//! The jq engine: compiles filters, runs them within bounds, tests them. No I/O, no async.
//!
//! Language and evaluation are jaq's; values, bounds, regular expressions, modules and error reports are ours, so that
//! a filter can neither read the machine it runs on nor hold up the events behind it.

pub mod alloc;
mod budget;
mod compile;
mod describe;
mod error;
pub mod examples;
mod link;
mod natives;
mod regex;
mod scope;
mod set;
mod stack;
mod value;
mod walk;

pub use budget::{Limit, Limits};
pub use compile::{Decision, EvalError, Program, compile, rev};
pub use describe::describe;
pub use error::{CompileError, Problem};
pub use link::{Modules, NoModules};
pub use scope::Scope;
pub use set::{Failure, FilterSet, Found, Note, Outcome, Quiet, Source, Spec, Why};
pub use stack::{STACK, with_stack};
pub use value::{ParseError, Val, parse};

#[cfg(test)]
#[global_allocator]
static ALLOC: alloc::Counting = alloc::Counting;
