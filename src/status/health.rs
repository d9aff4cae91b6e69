//! The health status, from which `/livez`, `/readyz` and `/startupz` are answered (P7).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

use super::{hysteresis::Hysteresis, stall::StallDetector};

/// The state of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum DestinationState {
    /// Its channel is open and its topology is good.
    Ready,
    /// It waits: for the connection, after a nack, for permission.
    Held,
    /// Its queue or exchange does not exist.
    Missing,
    /// It exists with other arguments.
    Mismatched,
    /// A publish stays unconfirmed beyond `stall_timeout`.
    Stalled,
    /// It left the configuration and is served until nothing is pending for it.
    Retired,
}

impl DestinationState {
    /// The word in metrics and `/readyz`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether a callback accepted now would be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalState {
    /// Being opened or recovered.
    #[default]
    Opening,
    /// It accepts records.
    Writable,
    /// At `limit_bytes` or `limit_deliveries`.
    Full,
    /// The disk is full; resumes by itself.
    DiskFull,
    /// A commit has been open for `journal.stall_timeout`, or another program holds a write lock; resumes by itself.
    Stalled,
    /// Its files were removed or replaced: nothing is accepted; pending deliveries are still delivered, then it has
    /// failed.
    FilesGone,
    /// A write or fsync failed: nothing is accepted until restart, and `/livez` fails.
    Failed,
}

/// The status of the publishing connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BrokerState {
    /// Open and fenced.
    pub connected: bool,
    /// `connection.blocked` is in force.
    pub blocked: bool,
}

/// A snapshot of the status.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HealthView {
    /// Start-up is over: config and schemas loaded, journal open and recovered, listeners bound.
    pub started: bool,
    /// Shutting down.
    pub draining: bool,
    pub journal: JournalState,
    /// More about the journal's state, as text for the operator.
    pub journal_why: Option<String>,
    /// A stall has lasted for `journal.liveness_timeout`.
    pub journal_dead: bool,
    /// True in `confirm` mode, where readiness follows the broker.
    pub needs_broker: bool,
    pub broker: BrokerState,
    /// Each destination's state and why, by channel name.
    pub destinations: BTreeMap<String, (DestinationState, Option<String>)>,
    /// Things that an operator should know and that do not affect readiness (an app without auth, …).
    pub notices: Vec<String>,
}

/// Where modules write their status. Cheap enough to write on every change.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<HealthState>,
    stall: OnceLock<Arc<StallDetector>>,
}

#[derive(Debug, Default)]
struct HealthState {
    view: HealthView,
    broker: Hysteresis,
}

impl Health {
    pub fn update(&self, change: impl FnOnce(&mut HealthView)) {
        let mut state = self.state();
        change(&mut state.view);
        let usable = state.view.broker.connected && !state.view.broker.blocked;
        state.broker.tell(usable, Instant::now());
    }

    /// Sets one destination's state, with a reason for the operator.
    pub fn destination(&self, name: &str, state: DestinationState, why: Option<String>) {
        self.update(|view| {
            view.destinations.insert(name.to_owned(), (state, why));
        });
    }

    /// Asks `detector` from now on whether the journal is stalled. The first detector stays.
    pub fn watch(&self, detector: Arc<StallDetector>) {
        self.stall.get_or_init(|| detector);
    }

    /// The current status.
    #[must_use]
    pub fn view(&self) -> HealthView {
        let mut view = self.state().view.clone();
        let takes_records = matches!(
            view.journal,
            JournalState::Writable | JournalState::Full | JournalState::DiskFull
        );
        let stall = self
            .stall
            .get()
            .and_then(|detector| detector.stall(Instant::now()));
        if let Some(stall) = stall.filter(|_| takes_records) {
            view.journal = JournalState::Stalled;
            view.journal_why = Some(stall.why());
            view.journal_dead = stall.dead;
        }
        view
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the broker counts as available at `now`, ignoring short absences: readiness follows this in `confirm`
    /// mode.
    #[must_use]
    pub fn broker_counts(&self, now: Instant) -> bool {
        self.state().broker.says(now)
    }
}
