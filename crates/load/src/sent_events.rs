//! What was sent and what became of it: 32 bytes an event, and never the bytes themselves.

use std::collections::HashMap;

use super::{
    generation::Generation,
    generator::Made,
    identity::{EventName, RunId},
};

/// What the sender knows of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SendStatus {
    /// It was never sent.
    #[default]
    Unsent,
    /// Sent, without a final answer: the run was stopped.
    Unanswered,
    /// Answered 2xx.
    Accepted,
    /// Never answered 2xx within the attempts.
    Refused,
}

/// One event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentEvent {
    /// XXH3-128 of the bytes sent.
    pub(super) digest: u128,
    /// When it was to be sent, Unix time in microseconds.
    pub(super) sent_us: u64,
    /// From then to the answer that counted.
    pub(super) answered_after_us: u32,
    /// The status of that answer; 0: none.
    pub(super) status: u16,
    pub(super) send_status: SendStatus,
    /// Whether it came out of any queue.
    pub(super) seen: bool,
}

/// All events of a run.
pub(super) struct SentEvents {
    run: RunId,
    entries: Vec<SentEvent>,
    /// Where the events of each call begin in `entries`, and where the last call's end.
    starts: Vec<usize>,
    generations: Vec<Generation>,
    /// Digests of the events that are not CloudEvents, as CloudEvents; by index in `entries`.
    mapped: HashMap<usize, u128>,
    accepted: u64,
    delivered: u64,
    accepted_delivered: u64,
}

impl SentEvents {
    /// An empty table for calls of these generations and lengths.
    pub(super) fn new(run: RunId, calls: impl IntoIterator<Item = (Generation, u32)>) -> Self {
        let (mut starts, mut generations) = (vec![0], Vec::new());
        let mut end = 0_usize;
        for (generation, events) in calls {
            end += events as usize;
            starts.push(end);
            generations.push(generation);
        }
        Self {
            run,
            entries: vec![SentEvent::default(); end],
            starts,
            generations,
            mapped: HashMap::new(),
            accepted: 0,
            delivered: 0,
            accepted_delivered: 0,
        }
    }

    pub(super) fn run(&self) -> RunId {
        self.run
    }

    /// How many events it can hold.
    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn generation(&self, call: u32) -> Option<Generation> {
        self.generations.get(call as usize).copied()
    }

    /// The index of an event in the table, if it has one.
    pub(super) fn place(&self, call: u32, index: u32) -> Option<usize> {
        let start = *self.starts.get(call as usize)?;
        let end = *self.starts.get(call as usize + 1)?;
        let place = start.checked_add(index as usize)?;
        (place < end).then_some(place)
    }

    pub(super) fn entry(&self, place: usize) -> Option<&SentEvent> {
        self.entries.get(place)
    }

    pub(super) fn mapped(&self, place: usize) -> Option<u128> {
        self.mapped.get(&place).copied()
    }

    /// Records an event before its first byte is sent: the message may be faster than the answer.
    pub(super) fn sent(&mut self, call: u32, index: u32, made: &Made, sent_us: u64) {
        let Some(place) = self.place(call, index) else {
            return;
        };
        if let Some(mapped) = made.mapped {
            self.mapped.insert(place, mapped);
        }
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = SentEvent {
                digest: made.digest,
                sent_us,
                send_status: SendStatus::Unanswered,
                ..SentEvent::default()
            };
        }
    }

    /// Records the answer that settles an event.
    pub(super) fn answered(
        &mut self,
        call: u32,
        index: u32,
        send_status: SendStatus,
        status: u16,
        after_us: u64,
    ) {
        let Some(entry) = self
            .place(call, index)
            .and_then(|place| self.entries.get_mut(place))
        else {
            return;
        };
        entry.send_status = send_status;
        entry.status = status;
        entry.answered_after_us = u32::try_from(after_us).unwrap_or(u32::MAX);
        if send_status == SendStatus::Accepted {
            self.accepted += 1;
            self.accepted_delivered += u64::from(entry.seen);
        }
    }

    /// Records that an event came out of a queue.
    pub(super) fn came_out(&mut self, place: usize) {
        let Some(entry) = self.entries.get_mut(place) else {
            return;
        };
        if !entry.seen {
            entry.seen = true;
            self.delivered += 1;
            self.accepted_delivered += u64::from(entry.send_status == SendStatus::Accepted);
        }
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Distinct events that came out.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Whether every event that was answered 2xx came out somewhere.
    pub(super) fn nothing_is_missing(&self) -> bool {
        self.accepted == self.accepted_delivered
    }

    /// Every event that was sent, in order of calls.
    pub(super) fn sent_events(
        &self,
    ) -> impl Iterator<Item = (EventName, Generation, &SentEvent, Option<u128>)> {
        let calls = self.starts.windows(2).zip(&self.generations).zip(0_u32..);
        calls.flat_map(move |((ends, generation), call)| {
            let start = ends.first().copied().unwrap_or_default();
            let end = ends.last().copied().unwrap_or_default();
            (start..end).zip(0_u32..).filter_map(move |(place, index)| {
                let entry = self.entries.get(place)?;
                let name = EventName {
                    run: self.run,
                    call,
                    index,
                };
                (entry.send_status != SendStatus::Unsent)
                    .then(|| (name, *generation, entry, self.mapped.get(&place).copied()))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: Made = Made {
        digest: 1,
        mapped: None,
    };

    #[test]
    fn each_event_of_a_call_has_its_own_place_and_others_have_none() {
        let sent_events = SentEvents::new(RunId(1), [(Generation::Ga, 2), (Generation::Ga, 3)]);
        let places: Vec<_> = [(0, 0), (0, 1), (1, 0), (1, 2), (0, 2), (1, 3), (2, 0)]
            .into_iter()
            .map(|(call, index)| sent_events.place(call, index))
            .collect();
        assert_eq!(
            places,
            [Some(0), Some(1), Some(2), Some(4), None, None, None]
        );
    }

    #[test]
    fn a_message_may_come_before_the_answer() {
        let mut sent_events = SentEvents::new(RunId(1), [(Generation::Ga, 2)]);
        sent_events.sent(0, 0, &MADE, 5);
        sent_events.came_out(0);
        assert!(sent_events.nothing_is_missing());
        sent_events.answered(0, 0, SendStatus::Accepted, 202, 7);
        assert!(sent_events.nothing_is_missing());
        sent_events.sent(0, 1, &MADE, 6);
        sent_events.answered(0, 1, SendStatus::Accepted, 202, 7);
        assert!(!sent_events.nothing_is_missing());
        sent_events.came_out(1);
        sent_events.came_out(1);
        assert!(sent_events.nothing_is_missing());
        assert_eq!((sent_events.accepted(), sent_events.delivered()), (2, 2));
        assert_eq!(sent_events.sent_events().count(), 2);
    }
}
