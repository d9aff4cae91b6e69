//! One test per scheduling rule.

use std::time::Duration;

use crate::route::DestinationId;

use super::{
    AttemptId, ChannelId, ChannelLoss, DeliveryId, Dispatcher, DispatcherInput, DispatcherOutput,
    DispatcherSettings, HeldReason, Lane, PendingDelivery, Refused,
};

const CHANNEL: ChannelId = ChannelId(1);
const OTHER: ChannelId = ChannelId(2);

/// A dispatcher, its clock, and answers for what it sends.
struct Fixture {
    dispatcher: Dispatcher,
    now: Duration,
    next: u64,
}

impl Fixture {
    fn with(settings: DispatcherSettings) -> Self {
        Self {
            dispatcher: Dispatcher::new(settings),
            now: Duration::ZERO,
            next: 0,
        }
    }

    fn open() -> Self {
        let mut fixture = Self::with(DispatcherSettings::default());
        fixture.tell(DispatcherInput::Opened { channel: CHANNEL });
        fixture
    }

    fn tell(&mut self, input: DispatcherInput) -> Vec<DispatcherOutput> {
        let mut out = Vec::new();
        self.dispatcher.step(self.now, input, &mut out);
        out
    }

    /// One more delivery to destination `to` on `channel`, in the lane of `call`.
    fn owe_to(&mut self, to: u32, channel: ChannelId, call: Option<u64>) -> Vec<DispatcherOutput> {
        self.owe_from(to, channel, call, false)
    }

    fn owe_from(
        &mut self,
        to: u32,
        channel: ChannelId,
        call: Option<u64>,
        unknown: bool,
    ) -> Vec<DispatcherOutput> {
        self.next += 1;
        self.tell(DispatcherInput::Accepted(PendingDelivery {
            delivery: DeliveryId(self.next),
            destination: DestinationId(to),
            channel,
            lane: call.map(|call| Lane { family: 0, call }),
            unknown,
        }))
    }

    fn owe(&mut self, call: u64) -> Vec<DispatcherOutput> {
        self.owe_to(1, CHANNEL, Some(call))
    }

    /// Lets time pass to the dispatcher's next deadline.
    fn wait(&mut self) -> Vec<DispatcherOutput> {
        self.now = self.dispatcher.deadline().expect("something is timed");
        self.tell(DispatcherInput::Tick)
    }
}

/// Delivery, attempt and `alone` of everything that is published.
fn sent(out: &[DispatcherOutput]) -> Vec<(u64, u64, bool)> {
    out.iter()
        .filter_map(|output| match output {
            DispatcherOutput::Publish {
                attempt,
                delivery,
                alone,
                ..
            } => Some((delivery.0, attempt.0, *alone)),
            _ => None,
        })
        .collect()
}

fn confirmed(attempt: u64) -> DispatcherInput {
    DispatcherInput::Confirmed {
        attempt: AttemptId(attempt),
    }
}

fn returned(attempt: u64) -> DispatcherInput {
    DispatcherInput::Returned {
        attempt: AttemptId(attempt),
    }
}

fn nacked(attempt: u64) -> DispatcherInput {
    DispatcherInput::Nacked {
        attempt: AttemptId(attempt),
    }
}

fn lost(loss: ChannelLoss) -> DispatcherInput {
    DispatcherInput::ChannelLost {
        channel: CHANNEL,
        loss,
    }
}

fn opened() -> DispatcherInput {
    DispatcherInput::Opened { channel: CHANNEL }
}

fn done(delivery: u64) -> DispatcherOutput {
    DispatcherOutput::Done {
        delivery: DeliveryId(delivery),
    }
}

fn forgotten(delivery: u64) -> DispatcherOutput {
    DispatcherOutput::Forgotten {
        delivery: DeliveryId(delivery),
    }
}

fn withdraw(delivery: u64) -> DispatcherInput {
    DispatcherInput::Withdraw {
        delivery: DeliveryId(delivery),
    }
}

fn refused() -> Refused {
    Refused {
        code: 406,
        text: "PRECONDITION_FAILED".to_owned(),
    }
}

#[test]
fn the_next_of_a_call_goes_out_when_the_one_before_it_is_confirmed() {
    let mut fixture = Fixture::open();
    assert_eq!(sent(&fixture.owe(7)), [(1, 1, false)]);
    assert_eq!(sent(&fixture.owe(7)), []);
    let out = fixture.tell(confirmed(1));
    assert_eq!(out.first(), Some(&done(1)));
    assert_eq!(sent(&out), [(2, 2, false)]);
    assert_eq!(fixture.dispatcher.pending(), 1);
}

#[test]
fn different_calls_and_unkeyed_events_do_not_wait() {
    let mut fixture = Fixture::open();
    assert_eq!(sent(&fixture.owe(1)).len(), 1);
    assert_eq!(sent(&fixture.owe(2)).len(), 1);
    assert_eq!(sent(&fixture.owe_to(1, CHANNEL, None)).len(), 1);
    assert_eq!(sent(&fixture.owe_to(1, CHANNEL, None)).len(), 1);
}

#[test]
fn a_call_that_moves_to_another_partition_waits_for_its_old_one() {
    let mut fixture = Fixture::open();
    fixture.tell(DispatcherInput::Opened { channel: OTHER });
    fixture.owe(7);
    assert_eq!(sent(&fixture.owe_to(2, OTHER, Some(7))), []);
    assert_eq!(sent(&fixture.tell(confirmed(1))), [(2, 2, false)]);
}

#[test]
fn with_a_journal_a_call_goes_on_only_when_the_journal_knows_of_the_confirm() {
    let mut fixture = Fixture::with(DispatcherSettings {
        await_settled: true,
        ..DispatcherSettings::default()
    });
    fixture.tell(opened());
    fixture.owe(7);
    fixture.owe(7);
    assert_eq!(fixture.tell(confirmed(1)), [done(1)]);
    assert_eq!(fixture.dispatcher.pending(), 1);
    let settled = DispatcherInput::Settled {
        delivery: DeliveryId(1),
    };
    assert_eq!(sent(&fixture.tell(settled.clone())), [(2, 2, false)]);
    assert_eq!(fixture.tell(settled), []);
}

#[test]
fn the_window_bounds_what_is_unconfirmed_on_a_channel() {
    let mut fixture = Fixture::with(DispatcherSettings {
        window: 2,
        ..DispatcherSettings::default()
    });
    for call in 0..5 {
        fixture.owe(call);
    }
    assert_eq!(sent(&fixture.tell(opened())).len(), 2);
    assert_eq!(sent(&fixture.tell(confirmed(1))).len(), 1);
}

#[test]
fn nothing_is_sent_before_the_channel_is_open_or_while_blocked() {
    let mut fixture = Fixture::with(DispatcherSettings::default());
    assert_eq!(fixture.owe(1), []);
    fixture.tell(DispatcherInput::Blocked(true));
    assert_eq!(fixture.tell(opened()), []);
    assert_eq!(
        sent(&fixture.tell(DispatcherInput::Blocked(false))),
        [(1, 1, false)]
    );
}

#[test]
fn after_a_settled_loss_the_unconfirmed_are_sent_again_in_their_order() {
    let mut fixture = Fixture::open();
    for call in 0..3 {
        fixture.owe(call);
    }
    assert_eq!(fixture.tell(lost(ChannelLoss::Settled)), []);
    fixture.owe(3);
    let again: Vec<_> = sent(&fixture.tell(opened()))
        .into_iter()
        .map(|(delivery, ..)| delivery)
        .collect();
    assert_eq!(again, [1, 2, 3, 4]);
}

#[test]
fn after_a_loss_without_a_word_the_unknown_wait_for_the_fence_and_others_do_not() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.tell(lost(ChannelLoss::Unfenced));
    fixture.owe(1);
    fixture.owe(2);
    assert_eq!(sent(&fixture.tell(opened())), [(3, 2, false)]);
    assert_eq!(
        sent(&fixture.tell(DispatcherInput::Fenced)),
        [(1, 3, false)]
    );
}

#[test]
fn a_loss_after_a_fence_waits_for_the_next_fence() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.tell(lost(ChannelLoss::Unfenced));
    fixture.tell(opened());
    assert_eq!(
        sent(&fixture.tell(DispatcherInput::Fenced)),
        [(1, 2, false)]
    );
    fixture.tell(lost(ChannelLoss::Unfenced));
    assert_eq!(fixture.tell(opened()), []);
    assert_eq!(
        sent(&fixture.tell(DispatcherInput::Fenced)),
        [(1, 3, false)]
    );
}

#[test]
fn what_an_earlier_process_may_have_sent_waits_for_the_first_fence_only() {
    let mut fixture = Fixture::open();
    assert_eq!(fixture.owe_from(1, CHANNEL, Some(1), true), []);
    assert_eq!(
        sent(&fixture.tell(DispatcherInput::Fenced)),
        [(1, 1, false)]
    );
    assert_eq!(
        sent(&fixture.owe_from(1, CHANNEL, Some(2), true)),
        [(2, 2, false)]
    );
}

#[test]
fn a_confirm_before_the_loss_counts_and_one_after_it_does_not() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.owe(2);
    assert_eq!(fixture.tell(confirmed(1)), [done(1)]);
    fixture.tell(lost(ChannelLoss::Settled));
    assert_eq!(fixture.tell(confirmed(2)), []);
    assert_eq!(fixture.dispatcher.pending(), 1);
}

#[test]
fn after_a_refusal_each_suspect_is_sent_alone_one_at_a_time_and_the_poison_is_found() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.owe(1);
    fixture.owe(2);
    fixture.tell(lost(ChannelLoss::Refused { settled: true }));
    fixture.owe(3);
    assert_eq!(
        sent(&fixture.tell(opened())),
        [(1, 3, true), (4, 4, false)],
        "one suspect alone, and others beside it"
    );
    let out = fixture.tell(DispatcherInput::AloneRefused {
        attempt: AttemptId(3),
        refused: refused(),
    });
    assert_eq!(
        out.first(),
        Some(&DispatcherOutput::Poisoned {
            delivery: DeliveryId(1),
            refused: refused()
        })
    );
    assert_eq!(
        sent(&out),
        [(3, 5, true), (2, 6, false)],
        "the next suspect, and the next of the poison's call"
    );
    assert_eq!(fixture.tell(confirmed(5)), [done(3)]);
}

#[test]
fn a_suspect_of_an_unsettled_refusal_waits_for_the_fence() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.tell(lost(ChannelLoss::Refused { settled: false }));
    assert_eq!(fixture.tell(opened()), []);
    assert_eq!(sent(&fixture.tell(DispatcherInput::Fenced)), [(1, 2, true)]);
}

#[test]
fn a_suspect_without_an_outcome_goes_alone_again_after_a_wait() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.tell(lost(ChannelLoss::Refused { settled: true }));
    fixture.tell(opened());
    let unknown = DispatcherInput::AloneUnknown {
        attempt: AttemptId(2),
    };
    assert_eq!(fixture.tell(unknown), []);
    assert_eq!(sent(&fixture.wait()), [(1, 3, true)]);
    assert_eq!(fixture.tell(nacked(3)), []);
    assert_eq!(sent(&fixture.wait()), [(1, 4, true)]);
}

#[test]
fn a_suspect_that_is_sent_alone_outlives_the_loss_of_its_channel() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.tell(lost(ChannelLoss::Refused { settled: true }));
    fixture.tell(opened());
    fixture.owe(2);
    assert_eq!(fixture.dispatcher.in_flight_on(CHANNEL), 1);
    fixture.tell(lost(ChannelLoss::Unfenced));
    assert_eq!(fixture.dispatcher.in_flight_on(CHANNEL), 0);
    let delivery = |attempt| Some(fixture.dispatcher.in_flight(AttemptId(attempt))?.delivery.0);
    assert_eq!([1, 2, 3].map(delivery), [None, Some(1), None]);
    assert_eq!(fixture.tell(confirmed(2)), [done(1)]);
    assert_eq!(fixture.dispatcher.in_flight(AttemptId(2)), None);
}

#[test]
fn after_nacks_one_probe_goes_first_and_its_confirm_frees_the_rest() {
    let mut fixture = Fixture::open();
    for call in 0..3 {
        fixture.owe(call);
    }
    for attempt in 1..=3 {
        assert_eq!(fixture.tell(nacked(attempt)), []);
    }
    let probe = fixture.wait();
    assert!(
        fixture.now <= Duration::from_millis(100),
        "a burst counts once"
    );
    assert_eq!(sent(&probe), [(1, 4, false)]);
    assert_eq!(sent(&fixture.tell(confirmed(4))).len(), 2);
}

#[test]
fn the_wait_grows_with_each_failure_and_a_confirm_resets_it() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    let mut waits = Vec::new();
    for attempt in 1..=9 {
        let before = fixture.now;
        fixture.tell(nacked(attempt));
        fixture.wait();
        waits.push(fixture.now - before);
    }
    assert!(waits[4] > waits[0] * 4, "{waits:?}");
    assert!(
        waits[8] <= DispatcherSettings::default().backoff_max,
        "{waits:?}"
    );
    fixture.tell(confirmed(10));
    fixture.owe(1);
    let before = fixture.now;
    fixture.tell(nacked(11));
    fixture.wait();
    assert!(fixture.now - before <= Duration::from_millis(100));
}

#[test]
fn a_return_holds_its_destination_and_not_the_others_of_the_exchange() {
    let mut fixture = Fixture::open();
    fixture.owe_to(1, CHANNEL, Some(1));
    fixture.owe_to(2, CHANNEL, Some(2));
    fixture.tell(returned(1));
    assert_eq!(fixture.owe_to(1, CHANNEL, Some(3)), []);
    assert_eq!(sent(&fixture.owe_to(2, CHANNEL, Some(4))), [(4, 3, false)]);
    let view = fixture.dispatcher.channels().next().expect("one channel");
    assert_eq!(view.held, [(DestinationId(1), HeldReason::Return)]);
    assert_eq!((view.owed, view.in_flight), (4, 2));
}

#[test]
fn a_held_destination_is_looked_at_again_ever_more_rarely_until_it_is_there() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.owe(2);
    fixture.tell(returned(1));
    fixture.tell(returned(2));
    let recheck = DispatcherOutput::Recheck {
        destination: DestinationId(1),
    };
    let answer = |usable| DispatcherInput::Rechecked {
        destination: DestinationId(1),
        usable,
    };
    let mut last = Duration::ZERO;
    for _ in 0..4 {
        let before = fixture.now;
        assert_eq!(fixture.wait(), std::slice::from_ref(&recheck));
        assert!(fixture.now - before > last / 2);
        last = fixture.now - before;
        assert_eq!(fixture.tell(answer(false)), []);
    }
    fixture.wait();
    assert_eq!(
        sent(&fixture.tell(answer(true))),
        [(1, 3, false)],
        "a probe"
    );
    assert_eq!(sent(&fixture.tell(confirmed(3))), [(2, 4, false)]);
}

#[test]
fn a_delivery_that_could_not_be_sent_waits_alone() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    assert_eq!(
        fixture.tell(DispatcherInput::NotSent {
            attempt: AttemptId(1)
        }),
        []
    );
    assert_eq!(sent(&fixture.owe(2)), [(2, 2, false)]);
    let out = fixture.wait();
    assert_eq!(sent(&out), [(1, 3, false)]);
    assert!(
        matches!(out[..], [DispatcherOutput::Publish { count: 2, .. }]),
        "{out:?}"
    );
}

#[test]
fn a_stalled_channel_is_closed_once_and_then_its_connection_is_cut_once() {
    let mut fixture = Fixture::open();
    fixture.tell(DispatcherInput::Opened { channel: OTHER });
    fixture.owe(1);
    fixture.owe_to(2, OTHER, Some(2));
    let close = |channel| DispatcherOutput::CloseChannel { channel };
    assert_eq!(fixture.wait(), [close(CHANNEL), close(OTHER)]);
    assert_eq!(fixture.now, DispatcherSettings::default().stall_timeout);
    assert_eq!(
        fixture.owe(3),
        [],
        "nothing is sent on a channel that closes"
    );
    assert_eq!(fixture.wait(), [DispatcherOutput::CutConnection]);
    assert_eq!(fixture.dispatcher.deadline(), None);
}

#[test]
fn a_stuck_queue_is_tried_with_one_message_and_stays_stalled_until_it_answers() {
    let mut fixture = Fixture::open();
    for call in 1..=3 {
        fixture.owe(call);
    }
    fixture.wait();
    assert!(fixture.dispatcher.is_stalled(CHANNEL));
    fixture.tell(lost(ChannelLoss::Settled));
    assert_eq!(sent(&fixture.tell(opened())), [(1, 4, false)]);
    assert_eq!(fixture.owe(4), [], "one is enough to see whether it moves");
    assert!(
        fixture.dispatcher.is_stalled(CHANNEL),
        "a channel that opens shows nothing"
    );
    assert_eq!(
        sent(&fixture.tell(confirmed(4))),
        [(2, 5, false), (3, 6, false), (4, 7, false)]
    );
    assert!(!fixture.dispatcher.is_stalled(CHANNEL));
}

#[test]
fn the_stall_clock_stands_still_while_blocked() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.now = Duration::from_secs(100);
    fixture.tell(DispatcherInput::Blocked(true));
    assert_eq!(fixture.dispatcher.deadline(), None);
    fixture.now = Duration::from_secs(1_000);
    assert_eq!(fixture.tell(DispatcherInput::Blocked(false)), []);
    assert_eq!(
        fixture.dispatcher.deadline(),
        Some(Duration::from_secs(1_020))
    );
}

#[test]
fn what_was_not_sent_is_forgotten_at_once_when_withdrawn() {
    let mut fixture = Fixture::open();
    for _ in 0..3 {
        fixture.owe(1);
    }
    assert_eq!(fixture.tell(withdraw(2)), [forgotten(2)]);
    assert_eq!(sent(&fixture.tell(confirmed(1))), [(3, 2, false)]);
    let mut closed = Fixture::with(DispatcherSettings::default());
    closed.owe(1);
    assert_eq!(closed.tell(withdraw(1)), [forgotten(1)]);
    assert_eq!(closed.tell(opened()), []);
    assert_eq!(closed.dispatcher.pending(), 0);
}

#[test]
fn what_was_sent_is_withdrawn_only_when_it_failed() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.owe(2);
    assert_eq!(fixture.tell(withdraw(1)), []);
    assert_eq!(fixture.tell(withdraw(2)), []);
    assert_eq!(fixture.tell(confirmed(1)), [done(1)]);
    assert_eq!(fixture.tell(nacked(2)), [forgotten(2)]);
}

#[test]
fn a_withdrawn_delivery_of_which_a_copy_may_land_holds_its_call_until_the_fence() {
    let mut fixture = Fixture::open();
    fixture.owe(1);
    fixture.owe(1);
    fixture.tell(withdraw(1));
    fixture.tell(lost(ChannelLoss::Unfenced));
    assert_eq!(fixture.tell(opened()), []);
    let out = fixture.tell(DispatcherInput::Fenced);
    assert_eq!(out.first(), Some(&forgotten(1)));
    assert_eq!(sent(&out), [(2, 2, false)]);
}

#[test]
fn those_that_wait_are_not_looked_through() {
    let mut fixture = Fixture::with(DispatcherSettings::default());
    for call in 0..100_000 {
        fixture.owe(call % 10_000);
    }
    let out = fixture.tell(opened());
    assert_eq!(sent(&out).len(), 128);
    // If each of these 50,000 steps visited 100,000 deliveries, this would take minutes.
    for _ in 0..25_000 {
        assert_eq!(fixture.tell(DispatcherInput::Tick), []);
        assert_eq!(fixture.tell(DispatcherInput::Blocked(true)), []);
    }
    assert_eq!(fixture.dispatcher.pending(), 100_000);
}

#[test]
fn what_an_earlier_process_may_have_sent_is_forgotten_in_its_turn_when_withdrawn() {
    let mut fixture = Fixture::open();
    for _ in 0..2 {
        fixture.owe_from(1, CHANNEL, Some(1), true);
    }
    fixture.owe(1);
    assert_eq!(fixture.tell(withdraw(2)), []);
    assert_eq!(
        sent(&fixture.tell(DispatcherInput::Fenced)),
        [(1, 1, false)]
    );
    let out = fixture.tell(confirmed(1));
    assert_eq!(out.get(..2), Some(&[done(1), forgotten(2)][..]));
    assert_eq!(sent(&out), [(3, 2, false)]);
}
