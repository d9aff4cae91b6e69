//! The fuzz targets: properties that must hold for any bytes. Each is a plain function that panics if its property does
//! not hold, and exists once: libFuzzer runs it from `fuzz/fuzz_targets/`, a seeded driver from `tests/fuzz.rs` without
//! libFuzzer.
//!
//! They use the library as any other program would: nothing is public only for them.

pub(crate) mod body;
pub(crate) mod configuration;
pub(crate) mod filter;
pub(crate) mod journal;
pub(crate) mod seeds;
pub(crate) mod token;

/// One target.
pub(crate) struct Target {
    /// As in `cargo fuzz run NAME`.
    pub(crate) name: &'static str,
    /// Panics if the bytes break a promise.
    pub(crate) run: fn(&[u8]),
    /// The seeds.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub(crate) const TARGETS: [Target; 5] = [
    Target {
        name: "body",
        run: body::run,
        seeds: body::seeds,
    },
    Target {
        name: "token",
        run: token::run,
        seeds: token::seeds,
    },
    Target {
        name: "filter",
        run: filter::run,
        seeds: filter::seeds,
    },
    Target {
        name: "configuration",
        run: configuration::run,
        seeds: configuration::seeds,
    },
    Target {
        name: "journal",
        run: journal::run,
        seeds: journal::seeds,
    },
];
