//! `cargo fuzz run journal`; the property is in `fuzz/targets/journal.rs`.
#![no_main]

mod corpus;
#[path = "../targets/mod.rs"]
#[expect(dead_code, reason = "each program runs one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(
    init: corpus::begin_with(&targets::journal::seeds()),
    |input: &[u8]| targets::journal::run(input)
);
