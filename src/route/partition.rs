//! The partition hash: part of the contract with consumers (docs/src/consumer/partitions.md), so it never changes.

use std::{hash::Hasher, num::NonZeroU32};

use crate::event::CallKey;

/// Unkeyed events have no order to keep; all of them go here, so that a consumer knows where to find them.
const UNKEYED_PARTITION: u32 = 0;

/// The partition of a call, 0 to `partitions` - 1: jump consistent hash of the 64-bit FNV-1a of the call key's UTF-8
/// bytes. Unkeyed events are in partition 0.
#[must_use]
pub fn partition(call: Option<&CallKey>, partitions: NonZeroU32) -> u32 {
    call.map_or(UNKEYED_PARTITION, |call| {
        jump(fnv1a(call.as_str().as_bytes()), partitions)
    })
}

fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

/// "A Fast, Minimal Memory, Consistent Hash Algorithm" (Lamping and Veach 2014), figure 1, line by line. When the
/// number of buckets grows, a key stays where it is or moves to one of the new buckets.
fn jump(mut key: u64, buckets: NonZeroU32) -> u32 {
    let buckets = i64::from(buckets.get());
    let mut bucket: i64 = 0;
    let mut next: i64 = 0;
    while next < buckets {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // The paper's double arithmetic: (b + 1) * (2^31 / ((key >> 33) + 1)). Every operand is below 2^33 and so
        // exact; the quotient is at most 2^31 and the product below 2^63, which is truncated as C does.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "the algorithm is defined by this arithmetic, and every operand is exact"
        )]
        {
            next = ((bucket + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as i64;
        }
    }
    u32::try_from(bucket).expect("a bucket is below the number of buckets, which is a u32")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    /// The table of docs/src/consumer/partitions.md: call key, FNV-1a, and the partitions for n = 1, 2, 4, 16, 100,
    /// computed by another program. These never change: consumers find a call's queue by them.
    const VECTORS: [(&str, u64, [u32; 5]); 13] = [
        ("a", 0xaf63dc4c8601ec8c, [0, 1, 2, 12, 31]),
        ("hello", 0xa430d84680aabd0b, [0, 1, 2, 2, 25]),
        ("call-1", 0x9582b8995d76b867, [0, 0, 0, 15, 97]),
        ("call-2", 0x9582b9995d76ba1a, [0, 0, 3, 3, 3]),
        ("call-3", 0x9582ba995d76bbcd, [0, 1, 1, 1, 26]),
        (
            "c0ffee00-0000-4000-8000-000000000001",
            0x38ec3e2613046d03,
            [0, 0, 3, 14, 81],
        ),
        (
            "c0ffee00-0000-4000-8000-000000000002",
            0x38ec3f2613046eb6,
            [0, 1, 1, 1, 66],
        ),
        (
            "c0ffee00-0000-4000-8000-000000000003",
            0x38ec402613047069,
            [0, 1, 1, 1, 71],
        ),
        (
            "C0FFEE00-0000-4000-8000-000000000001",
            0x48d2e874cd8cd0e3,
            [0, 1, 1, 8, 42],
        ),
        (
            "aHR0cHM6Ly9jb252LmV4YW1wbGUvY29udi9hYmM/aT0x",
            0x426ce44e0fc60e18,
            [0, 0, 2, 9, 9],
        ),
        ("room 7", 0xbf9e3424f836dd1b, [0, 1, 1, 12, 90]),
        ("Anruf-ä", 0x7c7905c4ca694889, [0, 1, 1, 1, 1]),
        ("通話/1", 0x94000d4d611d0898, [0, 0, 0, 13, 82]),
    ];

    #[test]
    fn the_partitions_of_the_readme_hold() {
        for (key, hash, partitions) in VECTORS {
            assert_eq!(fnv1a(key.as_bytes()), hash, "{key}");
            let call = CallKey::new(key);
            let found = [1, 2, 4, 16, 100].map(|n| partition(call.as_ref(), count(n)));
            assert_eq!(found, partitions, "{key}");
        }
    }

    #[test]
    fn the_jump_hash_agrees_with_the_papers_own_code() {
        // From figure 1 of the paper, compiled as C.
        let sizes = [1, 2, 3, 10, 100, 1_000, 1 << 20];
        for (key, buckets) in [
            (0, [0, 0, 0, 0, 0, 0, 0]),
            (1, [0, 0, 0, 6, 55, 549, 985_611]),
            (10, [0, 1, 2, 7, 73, 751, 32_509]),
            (256, [0, 1, 2, 3, 16, 520, 86_422]),
            (0xdead_beef, [0, 1, 2, 5, 87, 285, 479_362]),
            (0x0ddc_0ffe_ebad_f00d, [0, 1, 2, 2, 72, 113, 86_737]),
            (u64::MAX, [0, 1, 2, 9, 92, 313, 589_430]),
        ] {
            assert_eq!(sizes.map(|n| jump(key, count(n))), buckets, "{key:#x}");
        }
    }

    #[test]
    fn unkeyed_events_are_in_partition_0() {
        assert_eq!(partition(None, count(16)), 0);
    }

    #[test]
    fn calls_spread_evenly() {
        let mut held = [0_u32; 16];
        for call in 0..16_000 {
            let key = CallKey::new(format!("c0ffee00-0000-4000-8000-{call:012x}"));
            held[partition(key.as_ref(), count(16)) as usize] += 1;
        }
        assert!(
            held.iter().all(|held| (800..1_200).contains(held)),
            "{held:?}"
        );
    }

    proptest! {
        #[test]
        fn a_partition_is_below_their_number(key in ".{1,40}", n in 1..=u32::MAX) {
            prop_assert!(partition(CallKey::new(key).as_ref(), count(n)) < n);
        }

        #[test]
        fn more_partitions_move_calls_only_to_the_new_ones(key: u64, n in 1..5_000_u32, more in 1..100_u32) {
            let before = jump(key, count(n));
            let after = jump(key, count(n + more));
            prop_assert!(after == before || after >= n, "{} of {} to {}", before, n, after);
        }
    }
}
