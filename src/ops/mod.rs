//! What operators see: the boards that other rooms write their state on, and the admin listener that shows them.
//!
//! The boards know no other room, so every room may hold one. Each room registers its own Prometheus metrics on the
//! registry that `app` hands out; only the conservation law of P3 has its one place here, in [`Ledger`].

mod drift;
mod health;
mod ledger;
mod live;

pub use drift::DriftBoard;
pub use health::{BrokerState, DestinationState, Health, HealthView, JournalState};
pub use ledger::{Counts, Ledger, LedgerCollector, Outcome};
pub use live::{LiveEvent, LiveFeed, LiveStage};
