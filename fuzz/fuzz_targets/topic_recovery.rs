//! See `src/targets/topic_recovery.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zentral_fuzz::targets::topic_recovery::run(data));
