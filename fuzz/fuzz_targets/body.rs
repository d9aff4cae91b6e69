//! `cargo fuzz run body`; the property is in `fuzz/targets/body.rs`.
#![no_main]

mod corpus;
#[path = "../targets/mod.rs"]
#[expect(dead_code, reason = "each program runs one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(
    init: corpus::begin_with(&targets::body::seeds()),
    |input: &[u8]| targets::body::run(input)
);
