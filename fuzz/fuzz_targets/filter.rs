//! `cargo fuzz run filter`; the property is in `fuzz/targets/filter.rs`.
#![no_main]

mod corpus;
#[path = "../targets/mod.rs"]
#[expect(dead_code, reason = "each program runs one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(
    init: corpus::begin_with(&targets::filter::seeds()),
    |input: &[u8]| targets::filter::run(input)
);
