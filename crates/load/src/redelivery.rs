//! Tells a message that the broker redelivered, because our connection was lost before the broker got the
//! acknowledgement, from a copy that the receiver published twice.

use std::collections::HashMap;

/// One queue's messages that were judged and may be redelivered.
///
/// The broker redelivers only what it has not seen acknowledged, and marks it as redelivered. Each of those was judged
/// already, or it was lost on the way to us and is new. So what was judged on a connection is remembered until the next
/// connection is lost as well, and each copy is taken for a redelivery once. The broker lets at most `prefetch`
/// messages be unacknowledged, so remembering that many is enough.
pub(super) struct Redeliveries {
    judged: std::collections::VecDeque<u128>,
    expected: HashMap<u128, u32>,
    prefetch: usize,
}

impl Redeliveries {
    pub(super) fn new(prefetch: u16) -> Self {
        Self {
            judged: std::collections::VecDeque::new(),
            expected: HashMap::new(),
            prefetch: prefetch.into(),
        }
    }

    /// Whether this is a message that was judged before. `fingerprint` is of the attempt where a header names it, else of
    /// the body.
    pub(super) fn is_known(&mut self, fingerprint: u128, redelivered: bool) -> bool {
        let known = redelivered && self.take_expected(fingerprint);
        // It is unacknowledged again, and may be redelivered again.
        self.judged.push_back(fingerprint);
        if self.judged.len() > self.prefetch {
            self.judged.pop_front();
        }
        known
    }

    fn take_expected(&mut self, fingerprint: u128) -> bool {
        let Some(left) = self.expected.get_mut(&fingerprint) else {
            return false;
        };
        *left -= 1;
        if *left == 0 {
            self.expected.remove(&fingerprint);
        }
        true
    }

    /// The connection is gone: what was judged on it may be redelivered. What was expected and has not been redelivered
    /// yet still may be.
    pub(super) fn connection_lost(&mut self) {
        for fingerprint in self.judged.drain(..) {
            *self.expected.entry(fingerprint).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_checked_before_the_loss_and_marked_redelivered_is_known() {
        let mut queue = Redeliveries::new(10);
        assert!(!queue.is_known(1, false));
        assert!(!queue.is_known(2, false));
        // A second copy by the receiver is not a redelivery.
        assert!(!queue.is_known(2, false));
        queue.connection_lost();
        assert!(!queue.is_known(1, false));
        assert!(queue.is_known(1, true));
        assert!(queue.is_known(2, true));
        assert!(queue.is_known(2, true));
        assert!(!queue.is_known(2, true));
        // Lost on its way to us: marked, and new.
        assert!(!queue.is_known(3, true));
    }

    #[test]
    fn a_redelivered_message_may_be_redelivered_again() {
        let mut queue = Redeliveries::new(10);
        assert!(!queue.is_known(1, false));
        for _ in 0..5 {
            queue.connection_lost();
            assert!(queue.is_known(1, true));
        }
    }

    #[test]
    fn no_more_is_remembered_than_can_be_unacknowledged() {
        let mut queue = Redeliveries::new(2);
        for fingerprint in 1..=3 {
            assert!(!queue.is_known(fingerprint, false));
        }
        queue.connection_lost();
        assert!(!queue.is_known(1, true));
        assert!(queue.is_known(2, true));
        assert!(queue.is_known(3, true));
    }
}
