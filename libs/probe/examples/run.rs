//! `run FILTER < lines`: prints the lines that match; with `-o` each output of the filter instead, like `jq -c`.
//!
//! For measuring and for comparing with other jqs.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a tool for developers")]

use std::io::{BufWriter, Read, Write};

use probe::{Decision, Limits, NoModules, compile, parse, with_stack};

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let outputs = args.first().is_some_and(|a| a == "-o");
    if outputs {
        args.remove(0);
    }
    let filter = args.first().expect("a filter").clone();
    with_stack(move || work(&filter, outputs)).unwrap();
}

fn work(filter: &str, outputs: bool) {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout());
    let program = match compile(filter, "filter", &NoModules) {
        Ok(program) => program,
        Err(e) => {
            writeln!(out, "{e}").unwrap();
            return;
        }
    };
    let limits = Limits::default();
    let mut input = std::io::stdin();
    let mut buf = vec![0; 1 << 18];
    let mut kept = 0;
    loop {
        let n = input.read(buf.get_mut(kept..).unwrap()).unwrap();
        if n == 0 {
            break;
        }
        let filled = buf.get(..kept + n).unwrap();
        let mut rest = filled;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            one(&program, line, outputs, &limits, &mut out);
        }
        let (from, to) = (filled.len() - rest.len(), filled.len());
        kept = rest.len();
        buf.copy_within(from..to, 0);
        if kept == buf.len() {
            buf.resize(kept * 2, 0);
        }
    }
}

fn one(program: &probe::Program, line: &[u8], outputs: bool, limits: &Limits, out: &mut impl Write) {
    let event = match parse(line) {
        Ok(event) => event,
        Err(e) => return writeln!(out, "PARSE {e}").unwrap(),
    };
    if outputs {
        match program.eval(&event, 1_700_000_000_000, limits) {
            Ok(texts) => texts.iter().for_each(|t| writeln!(out, "{t}").unwrap()),
            Err(e) => writeln!(out, "ERR {e}").unwrap(),
        }
    } else if let Decision::Yes(_) = program.decide(&event, 0, limits) {
        out.write_all(line).unwrap();
    }
}
