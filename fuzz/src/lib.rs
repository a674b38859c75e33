//! What the fuzz targets do. `tests/fuzz_seeds.rs` of the house replays the seeds through the same functions on stable.

pub mod targets;
