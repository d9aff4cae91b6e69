//! The queues and exchanges that the configuration or the journal names: declared, checked and watched.

use std::collections::HashSet;

use crate::route::{Address, Destination, QUARANTINE, QueueType, Route, Sink, UNROUTED};

/// The object that one channel serves: a queue (one partition), or an exchange with all its routing keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum BrokerObject {
    /// One queue.
    Queue { name: String, queue_type: QueueType },
    /// One exchange of the operator's.
    Exchange { name: String },
}

impl BrokerObject {
    /// The object that this destination's messages are published to.
    pub(super) fn of(destination: &Destination) -> Self {
        match &destination.address {
            Address::Queue { name, queue_type } => Self::Queue {
                name: name.clone(),
                queue_type: *queue_type,
            },
            Address::Exchange { exchange, .. } => Self::Exchange {
                name: exchange.clone(),
            },
        }
    }

    /// The name in status and metrics: the same as [`Destination::channel_name`].
    pub(super) fn name(&self) -> String {
        match self {
            Self::Queue { name, .. } => format!("queue {name}"),
            Self::Exchange { name } => format!("exchange {name}"),
        }
    }
}

/// Every object that a route can lead to, and our own two queues.
pub(super) fn broker_objects(routes: &[Route]) -> Vec<BrokerObject> {
    let own = [UNROUTED, QUARANTINE].map(|name| BrokerObject::Queue {
        name: name.to_owned(),
        queue_type: QueueType::default(),
    });
    let mut seen = HashSet::new();
    own.into_iter()
        .chain(routes.iter().flat_map(|route| of_sink(&route.sink)))
        // Two routes may name one queue; config refuses them if they disagree about it.
        .filter(|object| seen.insert(object.name()))
        .collect()
}

fn of_sink(sink: &Sink) -> Vec<BrokerObject> {
    match sink {
        Sink::Queue {
            name,
            partitions: None,
            queue_type,
        } => vec![BrokerObject::Queue {
            name: name.clone(),
            queue_type: *queue_type,
        }],
        Sink::Queue {
            name,
            partitions: Some(count),
            queue_type,
        } => (0..count.get())
            .map(|partition| BrokerObject::Queue {
                name: format!("{name}.{partition}"),
                queue_type: *queue_type,
            })
            .collect(),
        Sink::Exchange { exchange, .. } => vec![BrokerObject::Exchange {
            name: exchange.clone(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn every_partition_is_a_place_of_its_own() {
        let broker_objects = of_sink(&Sink::Queue {
            name: "calls".into(),
            partitions: NonZeroU32::new(3),
            queue_type: QueueType::Classic,
        });
        let names: Vec<_> = broker_objects.iter().map(BrokerObject::name).collect();
        assert_eq!(names, ["queue calls.0", "queue calls.1", "queue calls.2"]);
    }

    #[test]
    fn a_place_has_the_name_that_the_journal_gives_its_channel() {
        for address in [
            Address::Queue {
                name: "q".into(),
                queue_type: QueueType::Quorum,
            },
            Address::Exchange {
                exchange: "x".into(),
                routing_key: "a.b".into(),
            },
        ] {
            let destination = Destination {
                address,
                family: "f".into(),
            };
            assert_eq!(
                BrokerObject::of(&destination).name(),
                destination.channel_name()
            );
        }
    }
}
