//! Each kind of breach, and what is not one, on messages made by hand.

use crate::{
    Content, Generation, RunId, WatchedQueue,
    generator::Generator,
    sent_events::{SendStatus, SentEvents},
    verifier::{Breach, Message, MessageOrigin, Verifier},
};

const RUN: RunId = RunId(77);

/// Two calls of six events, all sent and accepted, and three queues: two partitions of one destination, and another.
struct Fixture {
    generator: Generator,
    sent_events: SentEvents,
    verifier: Verifier,
    at_us: u64,
}

const FIRST: usize = 0;
const SECOND: usize = 1;
const DIGITS: usize = 2;
const QUARANTINE: usize = 3;

fn content(generation: Generation) -> Content {
    Content {
        calls: 2,
        events: 6,
        batch: 1,
        generations: vec![generation],
        bytes: 700,
        duplicates: 0.0,
        seed: 1,
        run: RUN,
    }
}

impl Fixture {
    fn new() -> Self {
        Self::of(Generation::Ga)
    }

    fn of(generation: Generation) -> Self {
        let mut court = Self::before_answers(generation);
        for call in 0..2 {
            for index in 0..6 {
                court
                    .sent_events
                    .answered(call, index, SendStatus::Accepted, 202, 10);
            }
        }
        court
    }

    fn before_answers(generation: Generation) -> Self {
        let generator = Generator::new(content(generation));
        let mut sent_events = SentEvents::new(RUN, [(generation, 6), (generation, 6)]);
        for call in 0..2 {
            for index in 0..6 {
                let callback = generator.callback(call, index);
                for made in &callback.events {
                    sent_events.sent(call, index, made, 1_000);
                }
            }
        }
        let queue = |name: &str, destination: &str| WatchedQueue {
            name: name.into(),
            destination: destination.into(),
            quarantine: name == "quarantine",
        };
        let queues = [
            queue("calls.0", "calls"),
            queue("calls.1", "calls"),
            queue("digits", "digits"),
            queue("quarantine", "quarantine"),
        ];
        let verifier = Verifier::new(&queues, sent_events.capacity(), 10);
        Self {
            generator,
            sent_events,
            verifier,
            at_us: 2_000,
        }
    }

    /// The event as it was sent, without the array around it.
    fn body(&self, call: u32, index: u32) -> Vec<u8> {
        let body = self.generator.callback(call, index).body;
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .as_bytes()
            .to_vec()
    }

    fn take(&mut self, queue: usize, body: &[u8]) -> MessageOrigin {
        self.take_message(queue, body, None, None, false)
    }

    fn take_message(
        &mut self,
        queue: usize,
        body: &[u8],
        sequence: Option<(&str, i64)>,
        delivery: Option<&str>,
        redelivered: bool,
    ) -> MessageOrigin {
        self.at_us += 1;
        let message = Message {
            queue,
            body,
            redelivered,
            delivery: delivery.map(str::as_bytes),
            sequence: sequence.map(|(_, number)| number),
            instance: sequence.map(|(instance, _)| instance.as_bytes()),
            at_us: self.at_us,
        };
        self.verifier.take(&mut self.sent_events, &message)
    }

    /// Takes events of a call out of a queue in this order.
    fn events(&mut self, queue: usize, call: u32, indices: &[u32]) -> &mut Self {
        for index in indices {
            let body = self.body(call, *index);
            assert_eq!(self.take(queue, &body), MessageOrigin::Ours);
        }
        self
    }

    /// The same with the number that the receiver gave each.
    fn numbered(&mut self, call: u32, events: &[(u32, &str, i64)]) -> &mut Self {
        for (index, instance, number) in events {
            let body = self.body(call, *index);
            self.take_message(FIRST, &body, Some((instance, *number)), None, false);
        }
        self
    }

    /// Call 0 as expected.
    fn call_0(&mut self) -> &mut Self {
        self.events(FIRST, 0, &[0, 1, 2, 3, 4, 5])
    }

    /// Call 1 as expected.
    fn call_1(&mut self) -> &mut Self {
        self.events(SECOND, 1, &[0, 1, 2, 3, 4, 5])
    }

    #[track_caller]
    fn finds(&self, expected: &[(Breach, u64)]) {
        let mut found: Vec<(Breach, u64)> = self
            .verifier
            .verdict(&self.sent_events)
            .into_iter()
            .map(|(breach, findings)| (breach, findings.count))
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn events_in_order_are_good_in_every_generation() {
    for generation in Generation::ALL {
        let mut court = Fixture::of(generation);
        court.call_0().call_1();
        // A second destination gets some of them.
        court.events(DIGITS, 0, &[1, 4]);
        court.finds(&[]);
        assert!(court.sent_events.nothing_is_missing());
        assert_eq!(court.verifier.messages, 14);
        assert_eq!(court.sent_events.delivered(), 12);
        assert_eq!(court.verifier.repeats, 0);
    }
}

#[test]
fn an_accepted_event_that_is_missing_is_lost() {
    let mut court = Fixture::new();
    court.call_1().events(FIRST, 0, &[0, 1, 2, 3, 5]);
    assert!(!court.sent_events.nothing_is_missing());
    court.finds(&[(Breach::ConnectionLost, 1)]);
    let found = court.verifier.verdict(&court.sent_events);
    let example = &found.get(&Breach::ConnectionLost).unwrap().examples[0];
    assert!(example.contains("call 0 event 4"), "{example}");
    // It may be in any destination.
    court.events(DIGITS, 0, &[4]);
    court.finds(&[]);
}

#[test]
fn an_event_that_was_never_answered_may_be_there_or_not() {
    let mut court = Fixture::before_answers(Generation::Ga);
    court.events(FIRST, 0, &[0, 1, 2]);
    court
        .sent_events
        .answered(0, 1, SendStatus::Refused, 503, 1);
    court.sent_events.answered(0, 5, SendStatus::Refused, 0, 1);
    court.finds(&[]);
    assert!(court.sent_events.nothing_is_missing());
}

#[test]
fn an_event_that_was_never_sent_is_unknown() {
    let mut court = Fixture::new();
    court.call_0().call_1();
    // An index beyond the call, and a call beyond the run.
    let longer = Generator::new(Content {
        events: 8,
        ..content(Generation::Ga)
    });
    for (call, index) in [(0, 6), (2, 0)] {
        let body = longer.callback(call, index).body;
        assert_eq!(court.take(FIRST, &body), MessageOrigin::Ours);
    }
    court.finds(&[(Breach::Unknown, 2)]);
    let mut court = Fixture::new();
    court.sent_events = SentEvents::new(RUN, [(Generation::Ga, 6)]);
    court.events(FIRST, 0, &[0]);
    court.finds(&[(Breach::Unknown, 1)]);
}

#[test]
fn a_changed_byte_is_seen_whatever_the_generation() {
    for generation in Generation::ALL {
        let mut court = Fixture::of(generation);
        court.call_1().events(FIRST, 0, &[0, 1, 2, 3, 4]);
        let body = String::from_utf8(court.body(0, 5)).unwrap();
        let changed = body.replacen("Communication", "communication", 1);
        assert_ne!(body, changed);
        court.take(FIRST, changed.as_bytes());
        court.finds(&[(Breach::Altered, 1)]);
    }
}

#[test]
fn the_same_json_in_other_bytes_is_altered_too() {
    let mut court = Fixture::new();
    court.call_1().events(FIRST, 0, &[0, 1, 2, 3, 4]);
    let mut body = court.body(0, 5);
    body.push(b'\n');
    court.take(FIRST, &body);
    court.finds(&[(Breach::Altered, 1)]);
}

#[test]
fn an_event_grid_event_may_come_as_the_cloud_event_it_stands_for() {
    let mut court = Fixture::of(Generation::EventGrid);
    court.call_1().events(FIRST, 0, &[0, 1, 2, 3, 4]);
    let body = court.body(0, 5);
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Grid<'g> {
        id: &'g str,
        topic: &'g str,
        subject: &'g str,
        event_type: &'g str,
        event_time: &'g str,
        #[serde(borrow)]
        data: &'g serde_json::value::RawValue,
    }
    let grid: Grid<'_> = serde_json::from_slice(&body).unwrap();
    let mapped = format!(
        r#"{{"specversion":"1.0","id":"{}","source":"{}","type":"{}","subject":"{}","time":"{}","dataversion":"1.0","data":{}}}"#,
        grid.id,
        grid.topic,
        grid.event_type,
        grid.subject,
        grid.event_time,
        grid.data.get()
    );
    court.take(FIRST, mapped.as_bytes());
    court.finds(&[]);
    let wrong = mapped.replace("durationOfCall\":61.5", "durationOfCall\":61.50");
    assert_ne!(wrong, mapped);
    court.take(FIRST, wrong.as_bytes());
    court.finds(&[(Breach::Altered, 1)]);
}

#[test]
fn a_call_in_two_partitions_of_one_destination_is_misplaced() {
    let mut court = Fixture::new();
    court.call_1().events(FIRST, 0, &[0, 1, 2]);
    court.events(SECOND, 0, &[3, 4]).events(FIRST, 0, &[5]);
    court.finds(&[(Breach::Misplaced, 2)]);
}

#[test]
fn an_older_event_after_a_newer_one_is_inverted() {
    let mut court = Fixture::new();
    court.call_1().events(FIRST, 0, &[0, 2, 1, 3, 5, 4]);
    court.finds(&[(Breach::Inverted, 2)]);
}

#[test]
fn each_destination_and_each_call_has_an_order_of_its_own() {
    let mut court = Fixture::new();
    court.events(FIRST, 0, &[0, 1, 2]);
    court.events(DIGITS, 0, &[0]).events(FIRST, 1, &[0, 1]);
    court.events(DIGITS, 0, &[2]).events(FIRST, 0, &[3, 4, 5]);
    court.events(FIRST, 1, &[2, 3, 4, 5]);
    court.finds(&[]);
}

#[test]
fn a_repeat_in_a_row_is_counted_and_one_further_back_is_a_breach() {
    let mut court = Fixture::new();
    court
        .call_1()
        .events(FIRST, 0, &[0, 0, 1, 2, 2, 2, 3, 4, 5]);
    court.finds(&[]);
    assert_eq!(court.verifier.repeats, 3);
    court.events(FIRST, 0, &[4]);
    court.finds(&[(Breach::RepeatsApart, 1)]);
    assert_eq!(court.sent_events.delivered(), 12);
}

#[test]
fn messages_of_other_calls_do_not_separate_a_repeat() {
    let mut court = Fixture::new();
    court.events(FIRST, 0, &[0]).events(FIRST, 1, &[0]);
    court.events(FIRST, 0, &[0]);
    assert_eq!(court.verifier.repeats, 1);
    assert!(
        !court
            .verifier
            .verdict(&court.sent_events)
            .contains_key(&Breach::RepeatsApart)
    );
}

#[test]
fn numbers_without_a_gap_are_good_with_repeats_in_a_row() {
    let mut court = Fixture::new();
    court.call_1().numbered(
        0,
        &[
            (0, "a", 1),
            (1, "a", 2),
            (1, "a", 2),
            (2, "a", 3),
            (3, "a", 4),
            (4, "a", 5),
            (5, "a", 6),
        ],
    );
    court.finds(&[]);
}

#[test]
fn a_number_that_is_missing_or_comes_twice_is_a_gap() {
    for numbers in [[2, 3, 4, 5, 6, 7], [1, 2, 4, 5, 6, 7], [1, 2, 2, 3, 4, 5]] {
        let mut court = Fixture::new();
        court.call_1();
        for (index, number) in (0..).zip(numbers) {
            court.numbered(0, &[(index, "a", number)]);
        }
        court.finds(&[(Breach::SequenceGaps, 1)]);
    }
    let mut court = Fixture::new();
    court.call_1().call_0();
    court.numbered(0, &[(5, "a", 1), (5, "a", 2)]);
    // The first copies had no number; the second numbered one counts on where a repeat may not.
    court.finds(&[(Breach::SequenceGaps, 2)]);
}

#[test]
fn every_receiver_counts_for_itself() {
    let mut court = Fixture::new();
    court.call_1().numbered(
        0,
        &[
            (0, "a", 1),
            (1, "b", 1),
            (2, "b", 2),
            (3, "a", 2),
            (4, "b", 3),
            (5, "a", 3),
        ],
    );
    court.finds(&[]);
    let mut court = Fixture::new();
    court.call_1().events(FIRST, 0, &[3, 4, 5]).numbered(1, &[]);
    court.finds(&[(Breach::ConnectionLost, 3)]);
}

#[test]
fn messages_of_another_run_are_only_foreign() {
    let mut court = Fixture::new();
    court.call_0().call_1();
    let other = Generator::new(Content {
        run: RunId(78),
        ..content(Generation::Ga)
    });
    let body = other.callback(0, 0).body;
    assert_eq!(court.take(FIRST, &body), MessageOrigin::Foreign);
    assert_eq!(court.take(FIRST, b"{}"), MessageOrigin::Foreign);
    court.finds(&[]);
    assert_eq!(court.verifier.foreign, 2);
    assert_eq!(court.verifier.messages, 12);
}

#[test]
fn an_event_in_quarantine_is_a_breach_and_not_lost_as_well() {
    let mut court = Fixture::new();
    court.call_1().events(FIRST, 0, &[0, 1, 2, 3, 4]);
    court.events(QUARANTINE, 0, &[5]);
    court.finds(&[(Breach::Quarantined, 1)]);
    assert!(court.sent_events.nothing_is_missing());
}

/// Takes event `index` of call 0 as the attempt `delivery`.
fn attempt(court: &mut Fixture, index: u32, delivery: Option<&str>, redelivered: bool) {
    let body = court.body(0, index);
    let ruling = court.take_message(FIRST, &body, None, delivery, redelivered);
    assert_eq!(ruling, MessageOrigin::Ours);
}

#[test]
fn a_redelivery_after_our_connection_was_lost_is_not_a_repeat() {
    for named in [true, false] {
        let name = |name: &'static str| named.then_some(name);
        let mut court = Fixture::new();
        court.call_1();
        attempt(&mut court, 0, name("d0"), false);
        attempt(&mut court, 1, name("d1"), false);
        attempt(&mut court, 2, name("d2"), false);
        court.verifier.connection_lost();
        // None of the three was acknowledged in time; the fourth was lost on its way to us.
        attempt(&mut court, 0, name("d0"), true);
        attempt(&mut court, 1, name("d1"), true);
        attempt(&mut court, 2, name("d2"), true);
        attempt(&mut court, 3, name("d3"), true);
        attempt(&mut court, 4, name("d4"), false);
        court.verifier.connection_lost();
        attempt(&mut court, 3, name("d3"), true);
        attempt(&mut court, 4, name("d4"), true);
        attempt(&mut court, 5, name("d5"), false);
        court.finds(&[]);
        assert_eq!(court.verifier.repeats, 0);
        assert_eq!(court.verifier.redelivered, 5);
        assert_eq!(court.verifier.messages, 12);
    }
}

#[test]
fn a_second_copy_by_the_receiver_is_a_repeat_even_if_redelivered() {
    let mut court = Fixture::new();
    court.call_1();
    attempt(&mut court, 0, Some("d0"), false);
    attempt(&mut court, 1, Some("d1"), false);
    court.verifier.connection_lost();
    // Another attempt of the receiver at event 0, first seen by us after the loss.
    attempt(&mut court, 0, Some("d0 again"), true);
    court.events(FIRST, 0, &[2, 3, 4, 5]);
    court.finds(&[(Breach::RepeatsApart, 1)]);
}

#[test]
fn latencies_count_each_event_once_a_destination() {
    let mut court = Fixture::new();
    court.call_0().events(FIRST, 0, &[5]);
    court.events(DIGITS, 0, &[1]);
    let all: u64 = court
        .verifier
        .queues
        .iter()
        .map(|queue| queue.messages)
        .sum();
    assert_eq!(all, 8);
    let slowest = court.verifier.latency.percentiles().unwrap().max;
    assert!((0.9..1.1).contains(&slowest), "{slowest}");
}
