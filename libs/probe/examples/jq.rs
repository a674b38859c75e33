//! Runs jq programs as a filter would, for `scripts/jqcompat`: lines of program, tab, JSON input on stdin; for each a
//! line on stdout: the outputs as a JSON array, `!` and the words of a runtime error, or `?` and those of a compile error.

use std::io::{self, BufRead, Write};

use probe::{EvalError, Limits, NoModules, compile, parse, with_stack};

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
    let program = match compile(program, "program", &NoModules) {
        Ok(program) => program,
        Err(e) => return format!("?{}", e.problems.first().map_or("", |p| &p.message)),
    };
    let input = match parse(input.as_bytes()) {
        Ok(input) => input,
        Err(e) => return format!("!{e}"),
    };
    match program.eval(&input, 0, &Limits::default()) {
        Ok(outputs) => format!("[{}]", outputs.join(",")),
        Err(EvalError::Failed(text)) => format!("!{text}"),
        Err(EvalError::Exceeded(limit)) => format!("!exceeded its limit of {limit}"),
    }
}
