//! Queues across routes: one name must have one meaning, or two routes would declare it in two ways.

use std::collections::BTreeMap;

use crate::route::{Address, QUARANTINE, Sink, Target, UNROUTED};

use super::section::Section;

/// Prefix of the queues that fence connections (docs/src/internals/delivery.md, "The fence").
const FENCE: &str = "hookswitch.fence.";

/// One publishing connection carries a channel per queue, and RabbitMQ's default `channel_max` is 2,047.
const MOST_QUEUES: usize = 2_000;

/// The meaning of every queue of the routes read so far.
#[derive(Default)]
pub(super) struct Queues {
    /// By full name: the sink that named it.
    known: BTreeMap<String, Sink>,
    /// So that the limit is reported once.
    too_many: bool,
}

impl Queues {
    /// Checks the queues of one more route.
    pub(super) fn add(&mut self, section: &mut Section<'_>, sink: &Sink) {
        let Sink::Queue {
            name,
            partitions,
            queue_type,
        } = sink
        else {
            return;
        };
        let target = Target::Queue {
            name: name.as_str().into(),
            partitions: *partitions,
            queue_type: *queue_type,
        };
        for address in target.addresses() {
            let Address::Queue { name: full, .. } = address else {
                continue;
            };
            if let Some(problem) = reserved(&full).or_else(|| name_problem(&full)) {
                section.refuse("queue", problem);
                return;
            }
            match self.known.get(&full) {
                Some(other) if other != sink => {
                    section.refuse("queue", quarrel(&full, sink, other));
                    return;
                }
                _ => {}
            }
            self.known.insert(full, sink.clone());
        }
        // A queue `q` beside partitions `q.0` … shares no name with them, but it shares the family within which a call
        // keeps its order.
        let same_stem = self.known.values().find(
            |other| matches!(other, Sink::Queue { name: stem, .. } if stem == name && *other != sink),
        );
        if let Some(other) = same_stem {
            section.refuse("queue", quarrel(name, sink, other));
        }
        if self.known.len() > MOST_QUEUES && !self.too_many {
            self.too_many = true;
            section.refuse(
                "queue",
                format!(
                    "makes more than {MOST_QUEUES} queues: one connection has a channel for each"
                ),
            );
        }
    }
}

fn quarrel(full: &str, mine: &Sink, other: &Sink) -> String {
    let describe = |sink: &Sink| match sink {
        Sink::Queue {
            name,
            partitions,
            queue_type,
        } => {
            let partitions = partitions.map_or_else(
                || "no partitions".to_owned(),
                |count| format!("{count} partitions"),
            );
            format!("{name:?} with {partitions}, {}", queue_type.as_str())
        }
        Sink::Exchange { exchange, .. } => format!("exchange {exchange:?}"),
    };
    format!(
        "queue {full:?} is {} here and {} in a route above: make them the same or rename one",
        describe(mine),
        describe(other)
    )
}

fn reserved(name: &str) -> Option<String> {
    let ours = name == UNROUTED || name == QUARANTINE || name.starts_with(FENCE);
    if ours {
        Some(format!(
            "{name:?} is a queue of hookswitch itself: choose another name"
        ))
    } else if name.starts_with("amq.") {
        Some(format!(
            "{name:?}: the broker keeps names that begin with \"amq.\" to itself"
        ))
    } else {
        None
    }
}

/// Why an AMQP name cannot be used.
pub(super) fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("is empty".to_owned())
    } else if name.len() > 255 {
        Some(format!(
            "is {} bytes long, an AMQP name (with its partition) has at most 255",
            name.len()
        ))
    } else {
        None
    }
}
