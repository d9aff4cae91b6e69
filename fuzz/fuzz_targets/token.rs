//! `cargo fuzz run token`; the property is in `fuzz/targets/token.rs`.
#![no_main]

mod corpus;
#[path = "../targets/mod.rs"]
#[expect(dead_code, reason = "each program runs one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(
    init: corpus::begin_with(&targets::token::seeds()),
    |input: &[u8]| targets::token::run(input)
);
