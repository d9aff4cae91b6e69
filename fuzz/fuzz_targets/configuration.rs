//! `cargo fuzz run configuration`; the property is in `fuzz/targets/configuration.rs`.
#![no_main]

mod corpus;
#[path = "../targets/mod.rs"]
#[expect(dead_code, reason = "each program runs one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(
    init: corpus::begin_with(&targets::configuration::seeds()),
    |input: &[u8]| targets::configuration::run(input)
);
