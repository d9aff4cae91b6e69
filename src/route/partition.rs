//! The partition hash: part of the contract with consumers (design 8), so it never changes.

use std::{hash::Hasher, num::NonZeroU32};

use crate::event::CallKey;

/// Unkeyed events have no order to keep; they all go here, so that a consumer knows where to find them.
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
