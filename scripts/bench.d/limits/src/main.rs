//! What a filter is held against: `limits HOW [FILE]`, events on stdin, on stdout what was chosen.
//!
//! The first three are limits: no filter can be faster that looks at lines, at their bytes, at their fields. They choose
//! what is chosen everywhere in the bench ([`choice`]). The others are engines with the rules in FILE.

mod choice;
mod lazy;
mod lines;
mod literal;
mod naive;
mod pump;
mod sigma;

use std::io;
use std::process::ExitCode;

fn run(how: &str, file: Option<&String>) -> io::Result<()> {
    let file = || file.ok_or_else(|| io::Error::other(format!("{how} needs a file of rules")));
    match how {
        "lines" => lines::run(),
        "literal" => literal::run(),
        "lazy" => lazy::run(),
        "naive" => naive::run(file()?),
        "sigma" => sigma::run(file()?),
        _ => Err(io::Error::other("limits lines|literal|lazy|naive FILE|sigma FILE")),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match run(words.get(1).map_or("", String::as_str), words.get(2)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("limits: {e}");
            ExitCode::from(2)
        }
    }
}
