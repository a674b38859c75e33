//! See `src/targets/search.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zentral_fuzz::targets::search::run(data));
