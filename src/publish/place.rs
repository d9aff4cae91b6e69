//! The places on the broker that the configuration or the journal names: what is declared, checked and watched.

use std::collections::HashSet;

use crate::route::{Address, Destination, QUARANTINE, QueueType, Route, Sink, UNROUTED};

/// What one channel serves: a queue (one partition), or an exchange with all its routing keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// One queue.
    Queue { name: String, queue_type: QueueType },
    /// One exchange of the operator's.
    Exchange { name: String },
}

impl Place {
    /// Where this destination's messages go.
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

    /// The name on the boards: the same words as [`Destination::channel_name`].
    pub(super) fn name(&self) -> String {
        match self {
            Self::Queue { name, .. } => format!("queue {name}"),
            Self::Exchange { name } => format!("exchange {name}"),
        }
    }
}

/// Every place a route can lead to, and the two queues of our own.
pub(super) fn places(routes: &[Route]) -> Vec<Place> {
    let own = [UNROUTED, QUARANTINE].map(|name| Place::Queue {
        name: name.to_owned(),
        queue_type: QueueType::default(),
    });
    let mut seen = HashSet::new();
    own.into_iter()
        .chain(routes.iter().flat_map(|route| of_sink(&route.sink)))
        // Two routes may name one queue; config refuses them if they disagree about it.
        .filter(|place| seen.insert(place.name()))
        .collect()
}

fn of_sink(sink: &Sink) -> Vec<Place> {
    match sink {
        Sink::Queue {
            name,
            partitions: None,
            queue_type,
        } => vec![Place::Queue {
            name: name.clone(),
            queue_type: *queue_type,
        }],
        Sink::Queue {
            name,
            partitions: Some(count),
            queue_type,
        } => (0..count.get())
            .map(|partition| Place::Queue {
                name: format!("{name}.{partition}"),
                queue_type: *queue_type,
            })
            .collect(),
        Sink::Exchange { exchange, .. } => vec![Place::Exchange {
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
        let places = of_sink(&Sink::Queue {
            name: "calls".into(),
            partitions: NonZeroU32::new(3),
            queue_type: QueueType::Classic,
        });
        let names: Vec<_> = places.iter().map(Place::name).collect();
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
            assert_eq!(Place::of(&destination).name(), destination.channel_name());
        }
    }
}
