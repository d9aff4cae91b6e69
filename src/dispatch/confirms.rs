//! Which publishes of a channel were confirmed and which messages were returned. A returned message is attributed here to
//! its publish, by its `hookswitch-delivery` header (read in `src/publish/publish_request.rs`) and not by the confirmation that
//! carries it.
//!
//! The broker returns an unroutable message and then acks it. The library (lapin 4.12, `acknowledgement.rs` and
//! `returned_messages.rs`) queues the returned messages, and every ack or nack that it processes, of whatever tag,
//! takes the oldest queued one along with its own confirmation. So a confirmation may carry the return of another
//! message, and one without a return may belong to a message that was returned. These rules hold:
//!
//! - A return is queued before the ack of its own message is processed.
//! - A confirmation without a return proves that no return was queued when it was processed: all returns until then are
//!   attached to confirmations that are already resolved, so polling every outstanding one finds them.
//! - A returned message's own ack takes one queued return, its own or another's. So there are never more queued returns
//!   than there are returned messages without their ack, and none is queued when no confirmation is outstanding.
//!
//! Confirmations are polled in rounds, because a poll says nothing about the order in which they were resolved.

use std::collections::BTreeSet;

use super::AttemptId;

/// The broker's answer to a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerReply {
    /// `basic.ack`.
    Ack,
    /// `basic.nack`.
    Nack,
}

/// The returned message attached to a confirmation; nearly always of another publish, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnedMessage {
    /// None.
    Nothing,
    /// The message of this publish, by its `hookswitch-delivery` header.
    Return(AttemptId),
    /// A message whose header cannot be read. It may be any message, so none of those without an outcome counts as
    /// delivered.
    Unreadable,
}

/// How a publish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The broker took responsibility.
    Confirmed,
    /// The broker did not.
    Nacked,
    /// The broker had no queue for it.
    Returned,
}

/// The publishes of one channel from sending to outcome. Created anew for each channel that is opened.
#[derive(Debug, Default)]
pub struct UnconfirmedPublishes {
    /// Sent, with confirmations that are not resolved yet.
    unresolved: BTreeSet<AttemptId>,
    /// Named by a return, and without an outcome yet.
    returned: BTreeSet<AttemptId>,
    /// Acked, and perhaps returned.
    acked: Vec<AckedPublish>,
    /// Rounds that were completed.
    round: u64,
    /// A confirmation without a return was seen in the present round.
    seen_bare: bool,
    /// A confirmation failed: the channel is gone, and there may be queued returns that will never be taken.
    broken: bool,
    /// Disables the rule that this file is for; the property test shows that it notices.
    #[cfg(test)]
    pub(super) skips_polling: bool,
}

#[derive(Clone, Copy, Debug)]
struct AckedPublish {
    attempt: AttemptId,
    /// The round in which this was seen.
    seen: u64,
    /// The round in which it became certain that its return, if there is one, is attached to a resolved confirmation.
    certain: Option<u64>,
}

impl UnconfirmedPublishes {
    /// A publish is about to be handed to the library. Must be called before that: from then on its confirmation may
    /// carry another's return, so that no outcome is certain without it.
    pub fn sent(&mut self, attempt: AttemptId) {
        self.unresolved.insert(attempt);
    }

    /// A poll found this confirmation resolved. [`Self::round_over`] reports every outcome, even one that is certain at
    /// once.
    pub fn resolved(
        &mut self,
        attempt: AttemptId,
        verdict: BrokerReply,
        attached: ReturnedMessage,
        out: &mut Vec<(AttemptId, PublishOutcome)>,
    ) {
        if !self.unresolved.remove(&attempt) {
            return;
        }
        #[cfg(test)]
        if self.skips_polling
            && (verdict, attached) == (BrokerReply::Ack, ReturnedMessage::Nothing)
            && !self.returned.contains(&attempt)
        {
            return out.push((attempt, PublishOutcome::Confirmed));
        }
        match verdict {
            BrokerReply::Nack => {
                self.returned.remove(&attempt);
                out.push((attempt, PublishOutcome::Nacked));
            }
            BrokerReply::Ack => self.acked.push(AckedPublish {
                attempt,
                seen: self.round,
                certain: (attached == ReturnedMessage::Nothing).then_some(self.round),
            }),
        }
        match attached {
            ReturnedMessage::Nothing => self.seen_bare = true,
            ReturnedMessage::Return(named) => {
                if self.waits(named) {
                    self.returned.insert(named);
                }
            }
            ReturnedMessage::Unreadable => {
                self.returned.extend(self.unresolved.iter());
                self.returned
                    .extend(self.acked.iter().map(|acked| acked.attempt));
            }
        }
    }

    /// A poll found that this confirmation will never arrive, because the channel is gone. The dispatcher judges the
    /// publishes that stay without an outcome, by [`super::DispatcherInput::ChannelLost`].
    pub fn failed(&mut self, attempt: AttemptId) {
        self.unresolved.remove(&attempt);
        self.broken = true;
    }

    /// This publish was never handed to the library: there will be no confirmation of it.
    pub fn not_sent(&mut self, attempt: AttemptId) {
        self.unresolved.remove(&attempt);
    }

    /// Every confirmation that was outstanding when this round began has been polled once. Appends the outcomes that
    /// are certain now. True: poll all of them again without waiting, because that will make more of them certain.
    #[must_use]
    pub fn round_over(&mut self, out: &mut Vec<(AttemptId, PublishOutcome)>) -> bool {
        let round = self.round;
        self.round += 1;
        let seen_bare = std::mem::take(&mut self.seen_bare);
        let all_seen = self.unresolved.is_empty() && !self.broken;
        let returned = &mut self.returned;
        let mut again = false;
        self.acked.retain_mut(|acked| {
            // A bare confirmation that a whole round after this ack was seen found unresolved was processed after it.
            if acked.certain.is_none() && seen_bare && round >= acked.seen + 2 {
                acked.certain = Some(round);
            }
            if returned.remove(&acked.attempt) {
                out.push((acked.attempt, PublishOutcome::Returned));
                return false;
            }
            if all_seen || acked.certain.is_some_and(|certain| certain < round) {
                out.push((acked.attempt, PublishOutcome::Confirmed));
                return false;
            }
            again |= acked.certain.is_some();
            true
        });
        again
    }

    /// Publishes that have no outcome yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.unresolved.len() + self.acked.len()
    }

    /// True where every publish has its outcome.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn waits(&self, attempt: AttemptId) -> bool {
        self.unresolved.contains(&attempt)
            || self.acked.iter().any(|acked| acked.attempt == attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AttemptId = AttemptId(1);
    const B: AttemptId = AttemptId(2);
    const C: AttemptId = AttemptId(3);

    struct ModelConfirms(UnconfirmedPublishes, Vec<(AttemptId, PublishOutcome)>);

    impl ModelConfirms {
        fn with(attempts: &[AttemptId]) -> Self {
            let mut outstanding = UnconfirmedPublishes::default();
            for attempt in attempts {
                outstanding.sent(*attempt);
            }
            Self(outstanding, Vec::new())
        }

        /// One round of polls that finds these resolved; what it made certain, and whether to poll again.
        fn round(
            &mut self,
            resolved: &[(AttemptId, BrokerReply, ReturnedMessage)],
        ) -> (Vec<(AttemptId, PublishOutcome)>, bool) {
            for (attempt, verdict, attached) in resolved {
                self.0.resolved(*attempt, *verdict, *attached, &mut self.1);
            }
            let again = self.0.round_over(&mut self.1);
            (std::mem::take(&mut self.1), again)
        }
    }

    #[test]
    fn the_only_publish_is_confirmed_at_once() {
        let mut channel = ModelConfirms::with(&[A]);
        assert_eq!(
            channel.round(&[(A, BrokerReply::Ack, ReturnedMessage::Nothing)]),
            (vec![(A, PublishOutcome::Confirmed)], false)
        );
        assert!(channel.0.is_empty());
    }

    #[test]
    fn an_ack_without_a_return_waits_until_all_others_were_polled_once_more() {
        let mut channel = ModelConfirms::with(&[A, B]);
        assert_eq!(
            channel.round(&[(A, BrokerReply::Ack, ReturnedMessage::Nothing)]),
            (vec![], true)
        );
        assert_eq!(
            channel.round(&[]),
            (vec![(A, PublishOutcome::Confirmed)], false)
        );
        assert_eq!(channel.0.len(), 1);
    }

    #[test]
    fn a_return_that_hangs_on_another_confirmation_is_found_in_the_next_round() {
        // B took the return of A; both were resolved while this round had already passed B.
        let mut channel = ModelConfirms::with(&[A, B, C]);
        assert_eq!(
            channel.round(&[(A, BrokerReply::Ack, ReturnedMessage::Nothing)]),
            (vec![], true)
        );
        assert_eq!(
            channel.round(&[(B, BrokerReply::Ack, ReturnedMessage::Return(A))]),
            (vec![(A, PublishOutcome::Returned)], false)
        );
    }

    #[test]
    fn an_ack_with_the_return_of_another_says_nothing_yet_about_its_own_message() {
        let mut channel = ModelConfirms::with(&[A, B, C]);
        let (outcomes, again) = channel.round(&[(B, BrokerReply::Ack, ReturnedMessage::Return(A))]);
        assert_eq!((outcomes, again), (vec![], false));
        // C was resolved without a return, but perhaps before B: nothing is certain of B.
        let (outcomes, _) = channel.round(&[(C, BrokerReply::Ack, ReturnedMessage::Nothing)]);
        assert_eq!(outcomes, vec![]);
        // Now A, after a whole round in which it was unresolved: no return can be queued any more.
        let (outcomes, _) = channel.round(&[(A, BrokerReply::Ack, ReturnedMessage::Return(B))]);
        assert_eq!(
            outcomes,
            vec![
                (B, PublishOutcome::Returned),
                (C, PublishOutcome::Confirmed),
                (A, PublishOutcome::Returned)
            ]
        );
    }

    #[test]
    fn a_later_ack_without_a_return_clears_those_that_carried_one() {
        let mut channel = ModelConfirms::with(&[A, B, C, AttemptId(4)]);
        assert_eq!(
            channel.round(&[(B, BrokerReply::Ack, ReturnedMessage::Return(A))]),
            (vec![], false)
        );
        assert_eq!(channel.round(&[]), (vec![], false));
        assert_eq!(
            channel.round(&[(C, BrokerReply::Ack, ReturnedMessage::Nothing)]),
            (vec![], true)
        );
        let (mut outcomes, again) = channel.round(&[]);
        outcomes.sort_by_key(|(attempt, _)| *attempt);
        assert_eq!(
            outcomes,
            vec![
                (B, PublishOutcome::Confirmed),
                (C, PublishOutcome::Confirmed)
            ]
        );
        assert!(!again);
    }

    #[test]
    fn a_nack_is_certain_at_once_and_its_return_is_kept_for_whom_it_names() {
        let mut channel = ModelConfirms::with(&[A, B]);
        assert_eq!(
            channel.round(&[(B, BrokerReply::Nack, ReturnedMessage::Return(A))]),
            (vec![(B, PublishOutcome::Nacked)], false)
        );
        assert_eq!(
            channel.round(&[(A, BrokerReply::Ack, ReturnedMessage::Nothing)]),
            (vec![(A, PublishOutcome::Returned)], false)
        );
    }

    #[test]
    fn a_return_that_cannot_be_read_counts_against_everyone_without_an_outcome() {
        let mut channel = ModelConfirms::with(&[A, B]);
        let (outcomes, _) = channel.round(&[(A, BrokerReply::Ack, ReturnedMessage::Unreadable)]);
        assert_eq!(outcomes, vec![(A, PublishOutcome::Returned)]);
        let (outcomes, _) = channel.round(&[(B, BrokerReply::Ack, ReturnedMessage::Nothing)]);
        assert_eq!(outcomes, vec![(B, PublishOutcome::Returned)]);
    }

    #[test]
    fn a_lost_channel_confirms_what_was_certain_and_nothing_else() {
        let mut channel = ModelConfirms::with(&[A, B, C]);
        assert_eq!(
            channel.round(&[
                (A, BrokerReply::Ack, ReturnedMessage::Nothing),
                (B, BrokerReply::Ack, ReturnedMessage::Return(AttemptId(99))),
            ]),
            (vec![], true)
        );
        channel.0.failed(C);
        assert_eq!(
            channel.round(&[]),
            (vec![(A, PublishOutcome::Confirmed)], false)
        );
        assert_eq!(channel.0.len(), 1, "B is for the dispatcher to judge");
    }

    #[test]
    fn answers_for_publishes_that_are_not_known_change_nothing() {
        let mut channel = ModelConfirms::with(&[]);
        assert_eq!(
            channel.round(&[(A, BrokerReply::Ack, ReturnedMessage::Return(B))]),
            (vec![], false)
        );
        assert!(channel.0.is_empty());
    }
}
