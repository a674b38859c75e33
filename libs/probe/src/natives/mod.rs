//! The functions that are not written in jq: ours, and of jaq's those that neither look at the machine nor grow.

mod format;
mod lists;
mod net;
mod path;
mod text;
mod time;
mod version;

use jaq_core::native::{Filter, Fun, bome, run, v};
use jaq_core::{Bind, Cv, RunPtr, ValX, ValXs};

use crate::budget;
use crate::program::Engine;
use crate::value::{Error, Num, Str, Val, ValR};

type Run = Filter<RunPtr<Engine>>;

/// Functions of jaq that a filter must not have: they look outside, end the process or write to its logs.
/// The last ones stand behind functions of jaq's that ours replace.
const DENIED: [&str; 12] = [
    "env",
    "halt",
    "now",
    "debug_empty",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "matches",
    "split_matches",
    "split_",
    "min_by_or_empty",
    "max_by_or_empty",
];

/// Names that jq has and filters have not, with the reason.
pub(crate) fn denied(name: &str) -> Option<&'static str> {
    Some(match name {
        "env" | "$ENV" => "a filter sees the event, not the environment",
        "input" | "inputs" | "input_filename" | "input_line_number" => "a filter sees one event at a time",
        "debug" | "stderr" => "a filter only decides; `zentral explain` shows what it sees",
        "halt" | "halt_error" => "a filter cannot end the process",
        "modulemeta" => "modules are found in the folder of filters only",
        "$__prog_args" | "$__loc__" | "builtins" => "it is not supported",
        _ => return None,
    })
}

/// Every native function, ours first; a definition of the same name and arity is to be left out.
pub(crate) fn all() -> Vec<Fun<Engine>> {
    let core = [basic(), lists::natives(), text::natives(), format::natives()];
    let helpers = [net::natives(), path::natives(), time::natives(), version::natives()];
    let ours: Vec<Run> = core.into_iter().chain(helpers).flatten().collect();
    let mut funs: Vec<Fun<Engine>> = ours.into_iter().map(|fun| run::<Engine>(fun)).collect();
    for fun in jaq_core::funs::<Engine>().chain(jaq_std::funs::<Engine>()) {
        let known = funs.iter().any(|(name, args, _)| *name == fun.0 && args.len() == fun.1.len());
        if !known && !DENIED.contains(&fun.0) {
            funs.push(fun);
        }
    }
    funs
}

/// What says whether a constant will do as an argument of a helper.
pub(crate) type Judge = fn(&Val) -> Result<(), Error>;

/// The judge of a helper's arguments, by its name and how many it has.
pub(crate) fn judge(name: &str, arity: usize) -> Option<Judge> {
    Some(match (name, arity) {
        ("in_cidr", 1) => net::judge_net,
        ("in_domain", 1) => net::judge_domain,
        ("under" | "has_extension", 1) => |value| string(value).map(drop),
        ("older_than" | "within" | "expires_within", 1) => time::judge_length,
        ("between", 2) => time::judge_clock,
        ("version_cmp" | "version_eq" | "version_lt" | "version_le" | "version_gt" | "version_ge", 1) => version::judge,
        _ => return None,
    })
}

/// A function argument.
fn f() -> Box<[Bind]> {
    [Bind::Fun(())].into()
}

/// Whether `judge` says yes to the input and any of the argument's outputs; the first yes ends it.
fn any_of<'a>(mut cv: Cv<'a, Engine>, judge: impl Fn(&Val, &Val) -> Result<bool, Error>) -> ValX<'a, Val> {
    let (outputs, ctx) = cv.0.pop_fun();
    for output in outputs.run((ctx, cv.1.clone())) {
        if judge(&cv.1, &output?)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

fn one<'a>(value: Val) -> ValXs<'a, Val> {
    bome(Ok(value))
}

fn fail<T>(text: impl ToString) -> Result<T, Error> {
    Err(Error::str(text))
}

fn string(value: &Val) -> Result<&Str, Error> {
    match value {
        Val::Str(s) => Ok(s),
        v => Err(Error::typ(v.clone(), "string")),
    }
}

fn float(value: &Val) -> Option<f64> {
    value.num().map(Num::f64)
}

fn basic() -> Vec<Run> {
    vec![
        ("null", v(0), |_| one(Val::Null)),
        ("true", v(0), |_| one(Val::Bool(true))),
        ("false", v(0), |_| one(Val::Bool(false))),
        ("not", v(0), |cv| one(Val::Bool(!cv.1.as_bool()))),
        ("nan", v(0), |_| one(Val::Float(f64::NAN))),
        ("infinite", v(0), |_| one(Val::Float(f64::INFINITY))),
        ("now", v(0), |_| one(Val::Float(budget::now()))),
        ("type", v(0), |cv| one(Val::str(cv.1.kind()))),
        ("isboolean", v(0), |cv| one(Val::Bool(matches!(cv.1, Val::Bool(_))))),
        ("isnumber", v(0), |cv| one(Val::Bool(cv.1.num().is_some()))),
        ("isstring", v(0), |cv| one(Val::Bool(matches!(cv.1, Val::Str(_))))),
        ("isarray", v(0), |cv| one(Val::Bool(matches!(cv.1, Val::Arr(_))))),
        ("isobject", v(0), |cv| one(Val::Bool(matches!(cv.1, Val::Obj(_))))),
        ("isnan", v(0), |cv| one(Val::Bool(float(&cv.1).is_some_and(f64::is_nan)))),
        ("isinfinite", v(0), |cv| one(Val::Bool(float(&cv.1).is_some_and(f64::is_infinite)))),
        ("isnormal", v(0), |cv| one(Val::Bool(float(&cv.1).is_some_and(f64::is_normal)))),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("tojson", v(0), |cv| one(Val::from(cv.1.to_text()))),
        ("fromjson", v(0), |cv| bome(fromjson(&cv.1))),
        ("tonumber", v(0), |cv| bome(tonumber(cv.1))),
        ("range", v(3), |mut cv| {
            let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
            Box::new(range(from, to, by))
        }),
        // Data that an `import … as $name` named; the argument is its place among the program's data.
        (crate::walk::DATA, v(1), |mut cv| {
            let place = cv.0.pop_var();
            bome(cv.0.data().data(&place))
        }),
        // Hands the filter that is its argument to the compiler: see `compile`.
        (crate::compile::REGISTER, f(), |mut cv| {
            crate::compile::register(cv.0.pop_fun().0);
            Box::new(std::iter::empty())
        }),
        // Runs the filter that is its second argument and writes down what comes of it: see `clauses`.
        (crate::clauses::SEEN, [Bind::Var(()), Bind::Fun(())].into(), |mut cv| {
            let (id, context) = cv.0.pop_fun();
            let place = cv.0.pop_var();
            crate::clauses::seen(&place, move || id.run((context, cv.1)))
        }),
    ]
}

fn length(value: Val) -> ValR {
    Ok(match &value {
        Val::Null => Val::Int(0),
        Val::Str(s) => {
            budget::work_bytes(s.len());
            Val::from(s.as_str().chars().count())
        }
        Val::Arr(items) => Val::from(items.len()),
        Val::Obj(map) => Val::from(map.len()),
        Val::Bool(_) => return fail(format_args!("{value} has no length")),
        v => match v.num() {
            Some(Num::Int(i)) => i.checked_abs().map_or(Val::Float(9_223_372_036_854_775_808.0), Val::Int),
            n => Val::Float(n.map_or(0.0, |n| n.f64().abs())),
        },
    })
}

fn fromjson(value: &Val) -> ValR {
    let text = string(value)?;
    crate::value::parse_str_value(text).map_err(|e| Error::str(format_args!("{value} is no JSON: {e}")))
}

fn tonumber(value: Val) -> ValR {
    let Val::Str(text) = &value else {
        return if value.num().is_some() { Ok(value) } else { Err(Error::typ(value, "number")) };
    };
    // As from jq 1.8 on, a number has no white space around it.
    let bare = !text.as_str().starts_with(BLANK) && !text.as_str().ends_with(BLANK);
    match crate::value::parse_str_value(text) {
        Ok(number) if bare && number.num().is_some() => Ok(number),
        Err(_) if let Some(number) = loose_number(text.as_str()) => Ok(number),
        _ => fail(format_args!("{value} cannot be parsed as a number")),
    }
}

/// White space of JSON.
const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// A number as jq reads it though JSON does not: `+5`, `007`, `.5`, `5.`.
fn loose_number(text: &str) -> Option<Val> {
    // What Rust reads beyond that (`inf`, `nan`) is no number in a filter.
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(plain) {
        return None;
    }
    budget::work_bytes(text.len());
    let number: f64 = text.parse().ok()?;
    Some(text.parse().map_or(Val::Float(number), Val::Int))
}

/// Numbers from `from` up (or down) to `to`, each one a step.
fn range<'a>(from: Val, to: Val, by: Val) -> impl Iterator<Item = jaq_core::ValX<'a, Val>> {
    let up = float(&by).unwrap_or(0.0);
    let mut next = Some(Ok(from));
    std::iter::from_fn(move || {
        budget::tick();
        let here: Val = match next.take()? {
            Ok(v) => v,
            Err(e) => return Some(Err(jaq_core::Exn::from(e))),
        };
        if here.num().is_none() || to.num().is_none() {
            return Some(Err(jaq_core::Exn::from(Error::str("range bounds must be numbers"))));
        }
        let goes_on = if up > 0.0 {
            here < to
        } else if up < 0.0 {
            here > to
        } else {
            here != to
        };
        if !goes_on {
            return None;
        }
        next = Some(here.clone() + by.clone());
        Some(Ok(here))
    })
}
