//! See `src/targets/munki_body.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zentral_fuzz::targets::munki_body::run(data));
