//! What the receiver knows about itself: health, the conservation law of P3, the live feed and drift counts. A leaf:
//! every module may write here, and `admin` shows it.
//!
//! Each module registers its own Prometheus metrics on the registry that `app` hands out; only the counters of the
//! conservation law are here, in [`Ledger`].

mod drift;
mod health;
mod hysteresis;
mod ledger;
mod live;
mod registry;
mod stall;

pub use drift::{DriftCounts, DriftView};
pub use health::{BrokerState, DestinationState, Health, HealthView, JournalState};
pub use ledger::{EventOutcome, Ledger, LedgerCollector, LedgerCounts};
pub use live::{LiveEvent, LiveFeed, LiveStage};
pub use registry::new_registry;
pub use stall::{Stall, StallDetector, StallLimits};
