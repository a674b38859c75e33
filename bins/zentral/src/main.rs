//! `zentral`, the command on PATH.

use std::process::ExitCode;

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn main() -> ExitCode {
    zentral::main().into()
}
