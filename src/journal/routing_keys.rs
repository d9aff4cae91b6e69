//! Prevents the routing keys of one app from filling the table of destinations for all.

use std::{collections::HashSet, sync::Arc};

use prometheus::IntCounter;

use crate::{
    event::AppName,
    route::{Destination, DestinationId, UNROUTED},
    status::Health,
};

use super::handles::{Destinations, Interning};

/// Finds the ids of destinations that events name, and tells the operator about an app that names too many.
#[derive(Debug)]
pub(super) struct RoutingKeys {
    destinations: Destinations,
    health: Arc<Health>,
    diverted: IntCounter,
    told: HashSet<AppName>,
}

impl RoutingKeys {
    pub(super) fn new(
        destinations: Destinations,
        health: Arc<Health>,
        diverted: IntCounter,
    ) -> Self {
        Self {
            destinations,
            health,
            diverted,
            told: HashSet::new(),
        }
    }

    pub(super) fn id(&mut self, app: &AppName, destination: Destination) -> DestinationId {
        match self.destinations.intern_bounded(app, destination) {
            Interning::Own(id) => id,
            Interning::Diverted(id) => {
                self.diverted.inc();
                if self.told.insert(app.clone()) {
                    let notice = format!(
                        "app {app} has too many different routing keys: its events with new ones go to {UNROUTED} until the next \
                         start"
                    );
                    tracing::warn!("{notice}");
                    self.health.update(|view| view.notices.push(notice));
                }
                id
            }
        }
    }
}
