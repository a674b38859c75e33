//! See `src/targets/engine.rs`.
#![no_main]

/// The limit on bytes counts only with it.
#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

libfuzzer_sys::fuzz_target!(|data: &[u8]| zentral_fuzz::targets::engine::run(data));
