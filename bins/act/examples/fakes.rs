//! Runs one of the services that the tests of actions speak with, by hand: `scripts/fakes`.
#![allow(clippy::print_stdout, reason = "it is for a terminal")]

#[path = "../tests/fakes/mod.rs"]
mod fakes;

use std::process::ExitCode;

use fakes::by_hand;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (name, port) = (words.next(), words.next().map_or(Ok(0), |port| port.parse::<u16>()));
    let Some(name) = name else {
        println!("{}", by_hand::names().join("\n"));
        return ExitCode::SUCCESS;
    };
    let Ok(port) = port else {
        eprintln!("fakes: the port is a number");
        return ExitCode::from(2);
    };
    match by_hand::start(&name, port) {
        Ok(Some(started)) => println!("# {name} at {}, until it is ended\n{}", started.url, started.toml),
        Ok(None) => {
            eprintln!("fakes: `{name}` is none of {}", by_hand::names().join(", "));
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("fakes: {error}");
            return ExitCode::FAILURE;
        }
    }
    loop {
        std::thread::park();
    }
}
