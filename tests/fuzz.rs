//! The fuzz targets of `fuzz/targets/` without libFuzzer: a seeded driver that changes their seeds at random.
//! `dev/fuzz` runs the same functions under libFuzzer where that can be built.
//!
//! `HOOKSWITCH_FUZZ_SECONDS` (default 1) is how long each target runs, `HOOKSWITCH_SEED` repeats a run of the same length.
#![expect(
    clippy::indexing_slicing,
    reason = "places are drawn from within the length"
)]

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// What a change may insert: tokens that the readers of all targets treat specially.
const WORDS: [&str; 24] = [
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "1e999",
    "-0",
    "\n",
    "\n\n",
    "@",
    "=",
    "specversion",
    "eventType",
    "data",
    "not",
    "alg",
    "exp",
    "[[apps]]\n",
];

/// Longest input.
const LIMIT_BYTES: usize = 64 * 1024;

fn changed(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let pick = |random: &mut StdRng| &corpus[random.random_range(0..corpus.len())];
    let mut input = pick(random).clone();
    for _ in 0..random.random_range(1..=6) {
        let at = random.random_range(0..=input.len());
        let end = (at + random.random_range(1..=16)).min(input.len());
        match random.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = random.random(),
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => {
                let word = WORDS[random.random_range(0..WORDS.len())];
                input.splice(at..at, word.bytes());
            }
            5 => {
                let other = pick(random);
                let from = random.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.insert(at, random.random()),
        }
    }
    input.truncate(LIMIT_BYTES);
    input
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var_os(name).map_or(default, |value| {
        let value = value.to_str().and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("{name} must be a number"))
    })
}

fn drive(name: &str) {
    let target = targets::TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("a target");
    let seconds = setting("HOOKSWITCH_FUZZ_SECONDS", 1);
    let seed = setting("HOOKSWITCH_SEED", 1);
    let mut random = StdRng::seed_from_u64(seed);
    let corpus = (target.seeds)();
    assert!(corpus.len() >= 5, "{} seeds", corpus.len());
    let run = |input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("fuzz/artifacts")
                .join(name);
            std::fs::create_dir_all(&folder).expect("a folder for what was found");
            let file = folder.join(format!("driver-{:016x}", xxhash_rust::xxh3::xxh3_64(input)));
            std::fs::write(&file, input).expect("written");
            panic!(
                "target {name} fails for the {} bytes in {}",
                input.len(),
                file.display()
            );
        }
    };
    let started = Instant::now();
    for input in &corpus {
        run(input);
    }
    let mut executions = corpus.len();
    while started.elapsed() < Duration::from_secs(seconds) {
        run(&changed(&corpus, &mut random));
        executions += 1;
    }
    println!(
        "fuzz {name}: {executions} executions, {} s, corpus {}, 0 crashes (seeded driver, seed {seed})",
        started.elapsed().as_secs(),
        corpus.len()
    );
}

#[test]
fn every_accepted_body_is_published_byte_for_byte() {
    drive("body");
}

/// They are also seeds of the target above: this test makes sure that each of them is tried.
#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn whatever_published_body_is_accepted_is_published_byte_for_byte() {
    let published = targets::seeds::published();
    assert!(published.len() > 100, "only {} payloads", published.len());
    for body in published {
        targets::body::run(&body);
    }
}

#[test]
fn only_tokens_that_the_rules_allow_are_accepted() {
    drive("token");
}

#[test]
fn a_filter_is_refused_or_the_same_after_being_printed() {
    drive("filter");
}

#[test]
fn a_configuration_is_refused_or_the_same_after_being_printed() {
    drive("configuration");
}

#[test]
fn a_journal_always_opens_and_changes_no_event() {
    drive("journal");
}

/// `cargo fuzz` finds each of them, and nothing else.
#[test]
fn every_target_is_a_program_of_the_fuzz_package() {
    let root = targets::seeds::root();
    let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("fuzz/Cargo.toml");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let programs: BTreeSet<&str> = manifest["bin"]
        .as_array()
        .expect("[[bin]]")
        .iter()
        .map(|program| {
            let name = program["name"].as_str().expect("a name");
            let path = program["path"].as_str().expect("a path");
            assert_eq!(path, format!("fuzz_targets/{name}.rs"));
            assert!(root.join("fuzz").join(path).is_file(), "{path}");
            name
        })
        .collect();
    assert_eq!(
        programs,
        targets::TARGETS.iter().map(|target| target.name).collect()
    );
}
