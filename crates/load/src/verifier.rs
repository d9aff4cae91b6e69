//! Judges every message of every queue against what was sent. Pure: no clock, no network.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

use super::{
    form,
    generation::Form,
    identity::EventName,
    lane::{Lane, LaneStep},
    latency::Latency,
    redelivery::Redeliveries,
    sent_events::{SendStatus, SentEvents},
};

/// One queue to verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedQueue {
    /// The queue's name.
    pub name: String,
    /// The family within which order is promised: the partitions of one queue share it.
    pub destination: String,
    /// Whether it is for events that could not be understood; then none of our events may be in it.
    pub quarantine: bool,
}

/// One message as received.
pub(super) struct Message<'m> {
    /// Index of its queue among the watched ones.
    pub(super) queue: usize,
    pub(super) body: &'m [u8],
    pub(super) redelivered: bool,
    /// `hookswitch-delivery`: identifies this attempt to publish.
    pub(super) delivery: Option<&'m [u8]>,
    /// `hookswitch-sequence`.
    pub(super) sequence: Option<i64>,
    /// `hookswitch-instance`.
    pub(super) instance: Option<&'m [u8]>,
    /// When it was received, Unix time in microseconds.
    pub(super) at_us: u64,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageOrigin {
    /// Of this run: acknowledge it.
    Ours,
    /// Foreign.
    Foreign,
}

/// Kinds of breaches, in the order in which they are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Breach {
    ConnectionLost,
    Unknown,
    Altered,
    Misplaced,
    Inverted,
    RepeatsApart,
    SequenceGaps,
    Quarantined,
}

impl Breach {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionLost => "lost",
            Self::Unknown => "unknown",
            Self::Altered => "altered",
            Self::Misplaced => "misplaced",
            Self::Inverted => "inverted",
            Self::RepeatsApart => "repeats_apart",
            Self::SequenceGaps => "sequence_gaps",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Examples of each kind that are kept.
const EXAMPLES: usize = 5;

/// How often a breach occurred, with examples.
#[derive(Clone, Debug, Default)]
pub(super) struct BreachCount {
    pub(super) count: u64,
    pub(super) examples: Vec<String>,
}

impl BreachCount {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// One queue as far as it was read.
pub(super) struct QueueProgress {
    pub(super) watched: WatchedQueue,
    destination: usize,
    pub(super) messages: u64,
    pub(super) latency: Latency,
    redeliveries: Redeliveries,
}

/// Gets every message once.
pub(super) struct Verifier {
    pub(super) queues: Vec<QueueProgress>,
    /// The events of each destination: one bit per event.
    present: Vec<Vec<u64>>,
    lanes: HashMap<(usize, u32), Lane>,
    /// Numbers of lanes that more than one receiver counts, by destination, call and receiver.
    numbers: HashMap<(usize, u32, u128), i64>,
    found: HashMap<Breach, BreachCount>,
    pub(super) latency: Latency,
    pub(super) messages: u64,
    pub(super) repeats: u64,
    pub(super) foreign: u64,
    /// Messages that the broker redelivered.
    pub(super) redelivered: u64,
    pub(super) last_message_us: u64,
    first_message_us: u64,
}

impl Verifier {
    pub(super) fn new(watched: &[WatchedQueue], events: usize, prefetch: u16) -> Self {
        let mut destinations: Vec<&str> = Vec::new();
        let queues = watched
            .iter()
            .map(|watched| {
                let known = destinations
                    .iter()
                    .position(|name| *name == watched.destination);
                let destination = known.unwrap_or_else(|| {
                    destinations.push(&watched.destination);
                    destinations.len() - 1
                });
                QueueProgress {
                    watched: watched.clone(),
                    destination,
                    messages: 0,
                    latency: Latency::default(),
                    redeliveries: Redeliveries::new(prefetch),
                }
            })
            .collect();
        Self {
            queues,
            present: vec![vec![0; events.div_ceil(64)]; destinations.len()],
            lanes: HashMap::new(),
            numbers: HashMap::new(),
            found: HashMap::new(),
            latency: Latency::default(),
            messages: 0,
            repeats: 0,
            foreign: 0,
            redelivered: 0,
            last_message_us: 0,
            first_message_us: 0,
        }
    }

    /// Judges one message.
    pub(super) fn take(
        &mut self,
        sent_events: &mut SentEvents,
        message: &Message<'_>,
    ) -> MessageOrigin {
        let Some(queue) = self.queues.get_mut(message.queue) else {
            return MessageOrigin::Foreign;
        };
        self.last_message_us = message.at_us;
        if self.first_message_us == 0 {
            self.first_message_us = message.at_us;
        }
        let name = EventName::find(message.body);
        let Some(name) = name.filter(|name| name.run == sent_events.run()) else {
            self.foreign += 1;
            return MessageOrigin::Foreign;
        };
        let digest = xxh3_128(message.body);
        let fingerprint = message.delivery.map_or(digest, xxh3_128);
        if queue
            .redeliveries
            .is_known(fingerprint, message.redelivered)
        {
            self.redelivered += 1;
            return MessageOrigin::Ours;
        }
        self.messages += 1;
        queue.messages += 1;
        let place = sent_events.place(name.call, name.index);
        let entry = place.and_then(|place| sent_events.entry(place));
        let (Some(place), Some(entry)) = (place, entry) else {
            self.note(Breach::Unknown, message.queue, name);
            return MessageOrigin::Ours;
        };
        if entry.send_status == SendStatus::Unsent {
            self.note(Breach::Unknown, message.queue, name);
            return MessageOrigin::Ours;
        }
        if queue.watched.quarantine {
            sent_events.came_out(place);
            self.note(Breach::Quarantined, message.queue, name);
            return MessageOrigin::Ours;
        }
        let destination = queue.destination;
        let first_time = set(&mut self.present, destination, place);
        if first_time {
            let taken_us = message.at_us.saturating_sub(entry.sent_us);
            self.latency.record(taken_us);
            queue.latency.record(taken_us);
        }
        let intact =
            digest == entry.digest || is_mapped(sent_events, place, name.call, message.body);
        sent_events.came_out(place);
        if !intact {
            self.note(Breach::Altered, message.queue, name);
        }
        self.follow(message, name, destination, first_time);
        MessageOrigin::Ours
    }

    /// Checks order, repeats, queue and number within the call.
    fn follow(
        &mut self,
        message: &Message<'_>,
        name: EventName,
        destination: usize,
        first_time: bool,
    ) {
        let lane = self
            .lanes
            .entry((destination, name.call))
            .or_insert_with(|| Lane::new(message.queue, name.index));
        let misplaced = lane.queue != message.queue;
        let step = lane.step(name.index, first_time);
        let numbers = &mut self.numbers;
        let numbered = message.sequence.is_none_or(|sequence| {
            let instance = message.instance.map_or(1, xxh3_128);
            lane.number(instance, sequence, step, |next, left| {
                if let Some((instance, sequence)) = left {
                    numbers.insert((destination, name.call, instance), sequence);
                }
                let known = numbers.get(&(destination, name.call, next));
                known.copied().unwrap_or_default()
            })
        });
        if misplaced {
            self.note(Breach::Misplaced, message.queue, name);
        }
        match step {
            LaneStep::Forward => {}
            LaneStep::RepeatInARow => self.repeats += 1,
            LaneStep::RepeatApart => self.note(Breach::RepeatsApart, message.queue, name),
            LaneStep::Inverted => self.note(Breach::Inverted, message.queue, name),
        }
        if !numbered {
            self.note(Breach::SequenceGaps, message.queue, name);
        }
    }

    /// From the first message to the last.
    pub(super) fn span_us(&self) -> u64 {
        self.last_message_us.saturating_sub(self.first_message_us)
    }

    fn note(&mut self, breach: Breach, queue: usize, name: EventName) {
        let queues = &self.queues;
        self.found.entry(breach).or_default().add(|| {
            let queue = queues
                .get(queue)
                .map_or("", |queue| queue.watched.name.as_str());
            format!(
                "call {} event {} id {} in {queue}",
                name.call,
                name.index,
                name.text()
            )
        });
    }

    /// The consuming connection is gone: messages may be redelivered.
    pub(super) fn connection_lost(&mut self) {
        for queue in &mut self.queues {
            queue.redeliveries.connection_lost();
        }
    }

    /// The breaches, once no more messages arrive: what is missing is known only now.
    pub(super) fn verdict(&self, sent_events: &SentEvents) -> HashMap<Breach, BreachCount> {
        let mut found = self.found.clone();
        let lost = sent_events
            .sent_events()
            .filter(|(_, _, entry, _)| entry.send_status == SendStatus::Accepted && !entry.seen);
        for (name, ..) in lost {
            found
                .entry(Breach::ConnectionLost)
                .or_default()
                .add(|| format!("call {} event {} id {}", name.call, name.index, name.text()));
        }
        found
    }
}

/// Sets the bit of an event and says whether it was not set before.
fn set(present: &mut [Vec<u64>], destination: usize, place: usize) -> bool {
    let Some(word) = present
        .get_mut(destination)
        .and_then(|bits| bits.get_mut(place / 64))
    else {
        return false;
    };
    let bit = 1_u64 << (place % 64);
    let before = *word & bit;
    *word |= bit;
    before == 0
}

/// Whether the body is the CloudEvent that the mapping of an older form makes of the event.
fn is_mapped(sent_events: &SentEvents, place: usize, call: u32, body: &[u8]) -> bool {
    let form = sent_events
        .generation(call)
        .map_or(Form::CloudEvent, |generation| generation.form());
    sent_events
        .mapped(place)
        .is_some_and(|expected| form::message_digest(form, body) == Some(expected))
}
