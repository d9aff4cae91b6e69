//! How long to wait after a failure: exponential, with a ceiling, and spread so that destinations that fail together
//! are not retried together.

use std::time::Duration;

use super::DispatcherSettings;

/// The wait after the `failures`-th failure in a row (1 is the first). `seed` spreads it over the upper half of its
/// length: from an id and not from a random source, so that the state machine stays a function of its inputs.
pub(super) fn backoff(settings: &DispatcherSettings, seed: u64, failures: u32) -> Duration {
    // 2^20 times any first back-off is above every sensible ceiling.
    let doublings = failures.saturating_sub(1).min(20);
    let whole = settings
        .backoff_initial
        .saturating_mul(1 << doublings)
        .min(settings.backoff_max);
    let spread = scramble(
        seed.wrapping_mul(0x1_0000_01b3)
            .wrapping_add(u64::from(failures)),
    );
    whole.mul_f64(0.5 + f64::from(spread) / f64::from(u16::MAX) * 0.5)
}

/// SplitMix64's finaliser, of which the upper 16 bits are used.
fn scramble(value: u64) -> u16 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [high, low, ..] = (value ^ (value >> 31)).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_ceiling_and_keeps_to_its_upper_half() {
        let settings = DispatcherSettings::default();
        for seed in 0..200 {
            for failures in 1..40 {
                let whole =
                    Duration::from_millis(100 << (failures - 1).min(20)).min(settings.backoff_max);
                let wait = backoff(&settings, seed, failures);
                assert!(wait >= whole / 2 && wait <= whole, "{failures}: {wait:?}");
            }
        }
    }

    #[test]
    fn destinations_that_fail_together_try_again_apart() {
        let settings = DispatcherSettings::default();
        let mut waits: Vec<_> = (0..50).map(|seed| backoff(&settings, seed, 4)).collect();
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 45, "{} different waits of 50", waits.len());
    }
}
