//! See `src/targets/osquery_body.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zentral_fuzz::targets::osquery_body::run(data));
