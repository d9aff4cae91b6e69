//! The seeds of a target as files, as libFuzzer needs them.

use std::{fs, path::Path};

/// Adds the seeds to the corpus that `HOOKSWITCH_FUZZ_CORPUS` names, before libFuzzer reads it.
pub(crate) fn begin_with(seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("HOOKSWITCH_FUZZ_CORPUS") else {
        return;
    };
    for (number, seed) in seeds.iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number:04}"));
        fs::write(path, seed).expect("the corpus can be written");
    }
}
