//! Order of arrival (docs/src/internals/journal.md, "Order of arrival"): the instant at which a request's head was
//! read, as a number.

use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The next number in the order of arrival: lower came first. One counter for the whole process, so that everything
/// that offers callbacks to the journal is in one order.
pub(crate) fn next() -> u64 {
    // Each caller gets a number of its own; no other memory is published by it.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_later_request_gets_a_higher_number() {
        let first = super::next();
        assert!(super::next() > first);
    }
}
