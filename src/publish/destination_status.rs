//! The status of every destination, for `/readyz` and the metrics.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use strum::VariantArray as _;

use crate::status::{DestinationState, Health};

use super::{broker_object::BrokerObject, metrics::PublishMetrics};

/// The label of all destinations that are not configured: an old journal may contain any number of them.
const OTHER: &str = "other";

/// Writes the states of destinations when they change, and logs the change.
pub(super) struct DestinationStatuses {
    health: Arc<Health>,
    metrics: PublishMetrics,
    configured: HashSet<String>,
    status: HashMap<String, (DestinationState, Option<String>)>,
}

impl DestinationStatuses {
    /// Every configured destination starts as held, until its state is known.
    pub(super) fn new(
        health: Arc<Health>,
        metrics: PublishMetrics,
        broker_objects: &[BrokerObject],
    ) -> Self {
        let configured: HashSet<_> = broker_objects.iter().map(BrokerObject::name).collect();
        for name in configured.iter().map(String::as_str).chain([OTHER]) {
            for state in DestinationState::VARIANTS {
                metrics
                    .destination_state
                    .with_label_values(&[name, state.as_str()])
                    .set(0);
            }
            metrics.confirm_duration.with_label_values(&[name]);
        }
        let mut statuses = Self {
            health,
            metrics,
            configured,
            status: HashMap::new(),
        };
        for object in broker_objects {
            statuses.set(
                &object.name(),
                DestinationState::Held,
                Some("not connected to the broker yet".to_owned()),
            );
        }
        statuses
    }

    pub(super) fn is_configured(&self, name: &str) -> bool {
        self.configured.contains(name)
    }

    /// Sets one destination's state. A destination that left the configuration is `retired`, with its fault as the
    /// reason.
    pub(super) fn set(&mut self, name: &str, state: DestinationState, why: Option<String>) {
        let state = if self.is_configured(name) {
            state
        } else {
            DestinationState::Retired
        };
        let before = self.status.insert(name.to_owned(), (state, why.clone()));
        if before.as_ref() == Some(&(state, why.clone())) {
            return;
        }
        let was = before.map(|(state, _)| state);
        if was != Some(state) {
            if let Some(was) = was {
                self.gauge(name, was).dec();
            }
            self.gauge(name, state).inc();
        }
        let reason = why.as_deref().unwrap_or_default();
        match state {
            DestinationState::Ready => {
                tracing::info!(destination = name, "the destination is ready");
            }
            DestinationState::Missing
            | DestinationState::Mismatched
            | DestinationState::Stalled => {
                tracing::warn!(
                    destination = name,
                    state = state.as_str(),
                    reason,
                    "the destination is held"
                );
            }
            DestinationState::Held | DestinationState::Retired => {
                tracing::debug!(
                    destination = name,
                    state = state.as_str(),
                    reason,
                    "the destination waits"
                );
            }
        }
        self.health.destination(name, state, why);
    }

    /// The current state.
    pub(super) fn state(&self, name: &str) -> Option<DestinationState> {
        self.status.get(name).map(|(state, _)| *state)
    }

    /// Nothing is pending any more for a destination that left the configuration.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some((state, _)) = self.status.remove(name) {
            self.gauge(name, state).dec();
            tracing::info!(
                destination = name,
                "nothing is pending any more for a retired destination"
            );
        }
        self.health.update(|view| {
            view.destinations.remove(name);
        });
    }

    /// The histogram of a destination's confirms.
    pub(super) fn confirm_duration(&self, name: &str) -> prometheus::Histogram {
        self.metrics
            .confirm_duration
            .with_label_values(&[self.label(name)])
    }

    fn gauge(&self, name: &str, state: DestinationState) -> prometheus::IntGauge {
        self.metrics
            .destination_state
            .with_label_values(&[self.label(name), state.as_str()])
    }

    fn label<'a>(&self, name: &'a str) -> &'a str {
        if self.is_configured(name) {
            name
        } else {
            OTHER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::QueueType;

    fn object(name: &str) -> BrokerObject {
        BrokerObject::Queue {
            name: name.into(),
            queue_type: QueueType::Quorum,
        }
    }

    #[test]
    fn a_destination_is_in_one_state_and_strangers_share_a_label() {
        let registry = prometheus::Registry::new();
        let health = Arc::new(Health::default());
        let metrics = PublishMetrics::register(&registry).unwrap();
        let mut statuses =
            DestinationStatuses::new(health.clone(), metrics.clone(), &[object("a")]);
        let gauge = |name: &str, state: DestinationState| {
            metrics
                .destination_state
                .with_label_values(&[name, state.as_str()])
                .get()
        };
        assert_eq!(gauge("queue a", DestinationState::Held), 1);
        statuses.set("queue a", DestinationState::Ready, None);
        statuses.set("queue a", DestinationState::Ready, None);
        assert_eq!(gauge("queue a", DestinationState::Held), 0);
        assert_eq!(gauge("queue a", DestinationState::Ready), 1);
        for old in ["queue old", "queue older"] {
            statuses.set(old, DestinationState::Missing, Some("gone".into()));
        }
        assert_eq!(gauge(OTHER, DestinationState::Retired), 2);
        statuses.confirm_duration("queue a").observe(0.1);
        statuses.confirm_duration("queue old").observe(0.1);
        statuses.confirm_duration("queue older").observe(0.1);
        let confirms = |label: &str| {
            let timed = metrics.confirm_duration.with_label_values(&[label]);
            timed.get_sample_count()
        };
        assert_eq!((confirms("queue a"), confirms(OTHER)), (1, 2));
        statuses.remove("queue old");
        assert_eq!(gauge(OTHER, DestinationState::Retired), 1);
        let view = health.view();
        assert!(!view.destinations.contains_key("queue old"));
        assert_eq!(
            view.destinations["queue older"],
            (DestinationState::Retired, Some("gone".into()))
        );
    }
}
