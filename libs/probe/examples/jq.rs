//! Runs jq programs with the language and the bounds of filters, for `scripts/jqcompat`: lines of program, tab, JSON
//! input on stdin; for each a line on stdout: its outputs as a JSON array, `!` and the words of a runtime error, or `?` and
//! those of a compile error.

use std::io::{self, BufRead, Write};
use std::time::SystemTime;

use probe::{EvalError, Limits, NoModules, Program, compile, parse, with_stack};

fn main() -> io::Result<()> {
    with_stack(|| {
        let mut out = io::stdout().lock();
        for line in io::stdin().lock().lines() {
            let line = line?;
            let (program, input) = line.split_once('\t').unwrap_or((&line, "null"));
            writeln!(out, "{}", answer(program, input).replace('\n', " "))?;
        }
        Ok(())
    })?
}

fn answer(program: &str, input: &str) -> String {
    let bare = match compile(program, "program", &NoModules) {
        Ok(program) => program,
        Err(e) => return format!("?{}", e.problems.first().map_or("", |p| &p.message)),
    };
    // jq writes a number that JSON has not as null, a filter must not have one in its context: here the language counts,
    // so each output is written by the program itself. An empty program cannot be wrapped.
    let written = compile(&format!("({program}\n) | tojson"), "program", &NoModules);
    let outputs = match written {
        Ok(written) => run(&written, input).map(|texts| {
            texts.iter().filter_map(|text| Some(parse(text.as_bytes()).ok()?.as_str()?.to_owned())).collect()
        }),
        Err(_) => run(&bare, input),
    };
    outputs.map_or_else(|e| format!("!{e}"), |outputs: Vec<String>| format!("[{}]", outputs.join(",")))
}

fn run(program: &Program, input: &str) -> Result<Vec<String>, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let input = parse(input.as_bytes()).map_err(|e| e.to_string())?;
    let outputs = program.eval(&input, i64::try_from(now).unwrap_or(0), &Limits::default());
    outputs.map_err(|e| match e {
        EvalError::Failed(text) => text,
        EvalError::Exceeded(limit) => format!("exceeded its limit of {limit}"),
    })
}
