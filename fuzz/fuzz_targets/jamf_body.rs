//! See `src/targets/jamf_body.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zentral_fuzz::targets::jamf_body::run(data));
