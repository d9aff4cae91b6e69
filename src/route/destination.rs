//! Where deliveries go: what a route names, and the concrete address that admission derives from it.

use std::{num::NonZeroU32, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::event::CallKey;

use super::partition::partition;

/// The queue of events without a matching route.
pub const UNROUTED: &str = "hookswitch.unrouted";

/// The queue of events that could not be understood or sent.
pub const QUARANTINE: &str = "hookswitch.quarantine";

/// RabbitMQ queue type, as in `x-queue-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    /// Replicated; the default.
    #[default]
    Quorum,
    /// One node.
    Classic,
}

impl QueueType {
    /// The value of `x-queue-type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

/// What a route gives for one event, before admission picks the partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A queue, or with `partitions` the queues `name.0` … `name.{n-1}`.
    Queue {
        /// The queue's name, or the stem of the partitions' names.
        name: Arc<str>,
        /// `None`: one queue called `name`.
        partitions: Option<NonZeroU32>,
        queue_type: QueueType,
    },
    /// An exchange of the operator's with a rendered routing key.
    Exchange {
        exchange: Arc<str>,
        /// The routing key of this event.
        routing_key: Arc<str>,
    },
}

impl Target {
    /// The target of events without a matching route: [`UNROUTED`].
    #[must_use]
    pub fn unrouted() -> Self {
        Self::plain(UNROUTED)
    }

    /// The target of events that could not be understood or sent: [`QUARANTINE`].
    #[must_use]
    pub fn quarantine() -> Self {
        Self::plain(QUARANTINE)
    }

    fn plain(name: &str) -> Self {
        Self::Queue {
            name: name.into(),
            partitions: None,
            queue_type: QueueType::default(),
        }
    }

    /// The partition of a call's events, 0 to n - 1; `None` where the target has no partitions. Unkeyed events are in
    /// partition 0. With it a caller can look up a destination without building its name.
    #[must_use]
    pub fn partition(&self, call: Option<&CallKey>) -> Option<u32> {
        match self {
            Self::Queue { partitions, .. } => partitions.map(|count| partition(call, count)),
            Self::Exchange { .. } => None,
        }
    }

    /// The concrete destination of one call's events.
    #[must_use]
    pub fn place(&self, call: Option<&CallKey>) -> Destination {
        Destination {
            address: self.address(self.partition(call)),
            family: self.family(),
        }
    }

    /// The family within which order is kept: `queue q`, whatever the partition, or `exchange x key`.
    #[must_use]
    pub fn family(&self) -> String {
        match self {
            Self::Queue { name, .. } => format!("queue {name}"),
            Self::Exchange {
                exchange,
                routing_key,
            } => format!("exchange {exchange} {routing_key}"),
        }
    }

    /// Every address that [`Target::place`] can return, in the order of the partitions: these are declared and checked.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Queue {
                partitions: Some(count),
                ..
            } => (0..count.get())
                .map(|index| self.address(Some(index)))
                .collect(),
            Self::Queue {
                partitions: None, ..
            }
            | Self::Exchange { .. } => vec![self.address(None)],
        }
    }

    fn address(&self, partition: Option<u32>) -> Address {
        match self {
            Self::Queue {
                name, queue_type, ..
            } => Address::Queue {
                name: partition.map_or_else(|| name.to_string(), |index| format!("{name}.{index}")),
                queue_type: *queue_type,
            },
            Self::Exchange {
                exchange,
                routing_key,
            } => Address::Exchange {
                exchange: exchange.to_string(),
                routing_key: routing_key.to_string(),
            },
        }
    }
}

/// A concrete address at the broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// One queue (one partition).
    Queue { name: String, queue_type: QueueType },
    /// One exchange with a routing key.
    Exchange {
        exchange: String,
        routing_key: String,
    },
}

/// A concrete destination and the family within which order is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// Where the message goes.
    pub address: Address,
    /// All partitions of a queue share one family, so that a call that moves to another partition waits until its old
    /// partition has confirmed.
    pub family: String,
}

/// Names a [`Destination`] within one journal: its row there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DestinationId(pub u32);

impl Destination {
    /// The channel of this destination: one per queue, or per whole exchange.
    #[must_use]
    pub fn channel_name(&self) -> String {
        match &self.address {
            Address::Queue { name, .. } => format!("queue {name}"),
            Address::Exchange { exchange, .. } => format!("exchange {exchange}"),
        }
    }

    /// The unit of a share of the journal: a queue with all its partitions, or an exchange with all its routing keys. A
    /// fault that stops one of them stops the others too, and counted separately they could fill the whole journal.
    #[must_use]
    pub fn share_name(&self) -> String {
        match &self.address {
            Address::Queue { .. } => self.family.clone(),
            Address::Exchange { .. } => self.channel_name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn queue(name: &str, partitions: Option<u32>) -> Target {
        Target::Queue {
            name: name.into(),
            partitions: partitions.map(|count| NonZeroU32::new(count).unwrap()),
            queue_type: QueueType::Classic,
        }
    }

    fn names(target: &Target) -> Vec<String> {
        target
            .addresses()
            .into_iter()
            .map(|address| match address {
                Address::Queue { name, queue_type } => {
                    assert_eq!(queue_type, QueueType::Classic);
                    name
                }
                Address::Exchange { .. } => panic!("{address:?}"),
            })
            .collect()
    }

    #[test]
    fn a_queue_without_partitions_keeps_its_name() {
        let target = queue("q", None);
        assert_eq!(names(&target), ["q"]);
        let placed = target.place(CallKey::new("c").as_ref());
        assert_eq!(placed.family, "queue q");
        assert_eq!(placed.channel_name(), "queue q");
        assert_eq!(target.partition(CallKey::new("c").as_ref()), None);
    }

    #[test]
    fn one_partition_is_still_a_numbered_queue() {
        assert_eq!(names(&queue("q", Some(1))), ["q.0"]);
    }

    #[test]
    fn every_partition_is_one_that_is_declared_and_all_are_one_family() {
        let target = queue("q", Some(3));
        assert_eq!(names(&target), ["q.0", "q.1", "q.2"]);
        let declared: HashSet<_> = target.addresses().into_iter().collect();
        let mut used = HashSet::new();
        for call in 0..100 {
            let placed = target.place(CallKey::new(format!("c{call}")).as_ref());
            assert_eq!(placed.family, "queue q");
            used.insert(placed.address);
        }
        assert_eq!(used, declared);
        assert_eq!(target.place(None).channel_name(), "queue q.0");
        assert_eq!(target.place(None).share_name(), "queue q");
    }

    #[test]
    fn an_exchange_is_a_family_per_routing_key_and_one_channel() {
        let target = Target::Exchange {
            exchange: "calls".into(),
            routing_key: "contoso.CallState.CallConnected".into(),
        };
        let placed = target.place(CallKey::new("c").as_ref());
        assert_eq!(
            placed.family,
            "exchange calls contoso.CallState.CallConnected"
        );
        assert_eq!(placed.channel_name(), "exchange calls");
        assert_eq!(placed.share_name(), "exchange calls");
        assert_eq!(target.addresses(), [placed.address]);
    }

    #[test]
    fn our_own_queues_are_quorum_queues_without_partitions() {
        for (target, name) in [
            (Target::unrouted(), "hookswitch.unrouted"),
            (Target::quarantine(), "hookswitch.quarantine"),
        ] {
            let address = Address::Queue {
                name: name.to_owned(),
                queue_type: QueueType::Quorum,
            };
            assert_eq!(target.addresses(), [address]);
        }
    }
}
