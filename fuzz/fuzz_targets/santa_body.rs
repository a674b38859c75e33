//! See `src/targets/santa_body.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zentral_fuzz::targets::santa_body::run(data));
