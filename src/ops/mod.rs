//! What operators see: the boards that other rooms write their state on, and the admin listener that shows them.
//!
//! The boards know no other room, so every room may hold one. Each room registers its own Prometheus metrics on the
//! registry that `app` hands out; only the conservation law of P3 has its one place here, in [`Ledger`].

mod admin;
mod drift;
mod follow;
mod health;
mod hysteresis;
mod ledger;
mod listener;
mod live;
mod metrics;
mod probe;
mod problem;
mod stall;

pub use admin::{Admin, serve};
pub use drift::{DriftBoard, DriftView};
pub use health::{BrokerState, DestinationState, Health, HealthView, JournalState};
pub use ledger::{Counts, Ledger, LedgerCollector, Outcome};
pub use listener::{Listening, threads_for_two_cores};
pub use live::{LiveEvent, LiveFeed, LiveStage};
pub use metrics::new_registry;
pub use probe::{Probe, livez, readyz, startupz};
pub use problem::{Problem, ProblemError};
pub use stall::{Stall, StallDetector, StallLimits};
